// The lock of a conversation: what holds of its encryption, in a word in its head and whole in a dialog. It is what the SDK tells.

import { count, el, icon } from '../dom.js';
import { roving } from './roving.js';
import { briefTimeOf, isGroup, picture, short, waysBack, wholeTimeOf } from './words.js';

/** Events after which something else may hold. */
const EVENTS = ['encryptionChanged', 'deviceAdded', 'deviceApproved', 'deviceRemoved', 'signInNeeded', 'connectionChanged', 'recoveryChanged'];

/** What this device lacks, and how to get it. */
const MISSING = {
  SIGN_IN_REQUIRED: ['Not signed in', 'Your wallet has not signed for this device, so it reads nothing new. Choose “Sign in again” at the top of the page.'],
  DEVICE_REMOVED: ['This device was removed', 'This device was removed from your account, so it reads nothing more. To come back as a new one choose “Sign in again” at the top of the page.'],
  DEVICE_NOT_APPROVED: ['Waits for approval', 'This device waits to be approved. Open the chat on another device of yours, and choose “Approve” there.'],
  MEMBER_REMOVED: ['Not a member', 'You are not in this group any more. What you could read here stays on this device, and nothing new comes.'],
  ACCOUNT_KEY_MISSING: ['Cannot read yet', 'This device has not got the key of your account yet. It comes by itself when the relay is reached; where that takes long, open the chat on another device of yours.'],
};

/** Behind what a device that waits to be approved is told, with what its person can come back by. */
const APPROVED = (ways) => `${ways === '' ? '' : `Or use your ${ways} under Devices. `}Then it reads all of this conversation. Until then you can write here, and it shows what is written from now on as far as it has the key.`;

/** What stands in a conversation of which this device has nothing. */
const BLANK = {
  SIGN_IN_REQUIRED: 'What was written comes when your wallet has signed for this device.',
  DEVICE_REMOVED: 'This device has nothing of this conversation.',
  DEVICE_NOT_APPROVED: 'Earlier texts come when this device is approved.',
  MEMBER_REMOVED: 'This device has nothing of this conversation.',
  ACCOUNT_KEY_MISSING: 'Nothing of this conversation can be read here yet.',
};

/** What stands above the page, whatever is open. */
const ABOVE = ['SIGN_IN_REQUIRED', 'DEVICE_REMOVED', 'DEVICE_NOT_APPROVED'];

/** Behind “Sign out all others”. */
const LOST = 'What was written before can be read on no device of yours any more: its key was lost with the devices that you had then.';

const $ = (id) => document.getElementById(id);

/**
 * `sdk()` gives the SDK, `own()` the wallet that is connected; `lacks({ waits, isLost, blank, earlier })` hears what this device keeps and
 * cannot read, and where it may read nothing, what is said in the place of texts and above them.
 */
export function createLock({ sdk, own, lacks }) {
  let conversation = null; // the open one
  let shown = '';
  let asked = 0;
  const keys = roving($('lock-members'), '.holder');

  /** What holds: of which kind it is, in a word, since when, and in whole. */
  function stateOf(state) {
    const { encryption, epoch, members, missing } = state;
    if (encryption === 'off') return { kind: 'off', brief: 'Not encrypted', says: 'The relay can read this conversation. It was begun without encryption, and nothing more is written in it: begin a new one, which is encrypted.' };
    if (missing) {
      const [brief, says] = MISSING[missing];
      return { kind: 'waits', brief, says: missing === 'DEVICE_NOT_APPROVED' ? `${says} ${APPROVED(waysBack(sdk().getRecovery().data))}` : says };
    }
    const earlier = [waitsOf(state), state.lostEpochCount > 0 ? LOST : ''].filter(Boolean).map((says) => ` ${says}`).join('');
    const without = members.filter(({ wallet, generation }) => wallet !== own() && generation === 0);
    if (without.length > 0) {
      const who = without.length === 1 ? `${short(without[0].wallet)} has` : `${count(without.length, 'member')} have`;
      const says = `${who} no key yet, because no device was here when this began. What is written now can be read there once there is one, and a device of somebody who can read it is online.${earlier}`;
      return { kind: 'partial', brief: isGroup(conversation) ? `${without.length} cannot read` : 'Encrypted, cannot be read yet', says };
    }
    const whose = conversation.peerWallet === own() ? 'Your devices' : 'The devices of these people';
    if (!epoch) return { kind: 'on', brief: 'Encrypted', says: `${whose} alone will read what is written. The first text makes the key.` };
    const says = `${whose} alone can read what is written. The relay cannot.${earlier}`;
    return { kind: 'on', brief: 'Encrypted', since: ` since ${briefTimeOf(epoch.beganAt)}`, says };
  }

  /** What is said in the place of texts, and above those that there are, where this device may not read. */
  function blankOf({ missing }) {
    if (missing !== 'DEVICE_NOT_APPROVED') return { blank: BLANK[missing] ?? '', earlier: '' };
    const ways = waysBack(sdk().getRecovery().data);
    const how = `Open the chat on another device of yours, and choose “Approve” there${ways === '' ? '' : `, or use your ${ways} under Devices`}. You can write already.`;
    return { blank: `${BLANK[missing]} ${how}`, earlier: BLANK[missing] };
  }

  /** What waits for a key, and what can be done. */
  function waitsOf({ unreadEpochCount }) {
    if (!(unreadEpochCount > 0)) return '';
    const what = unreadEpochCount === 1 ? '1 part of this conversation waits for a key, and comes by itself.' : `${unreadEpochCount} parts of this conversation wait for a key, and come by themselves.`;
    const others = conversation.peerWallet === own() ? '' : `, or ask ${isGroup(conversation) ? 'a member who can read it' : short(conversation.peerWallet)} to open theirs`;
    return `${what} Where that takes long, open the chat on another device of yours${others}.`;
  }

  function row({ wallet, generation, approvedDeviceCount }) {
    const isOwn = wallet === own();
    const name = isOwn ? 'You' : short(wallet);
    const devices = approvedDeviceCount === undefined ? 'Devices not known yet' : count(approvedDeviceCount, 'approved device');
    const mark = generation === 0 ? 'No key yet' : '';
    return el(
      'li', { class: 'holder', 'aria-label': [name, devices, mark].filter(Boolean).join(', ') },
      picture(wallet),
      el('p', {}, el('strong', {}, name), ' ', mark ? el('span', { class: 'device-state' }, mark) : null),
      el('p', { class: 'holder-devices' }, devices),
    );
  }

  function render(encryption) {
    const { kind, brief, since = '', says } = stateOf(encryption);
    const key = JSON.stringify([conversation.sessionId, encryption, since, says]);
    if (shown === key) return;
    shown = key;
    const { epoch, members } = encryption;
    $('lock').className = `lock is-${kind}`;
    $('lock').replaceChildren(icon(kind === 'off' ? 'unlock' : 'lock'), el('span', {}, brief, el('span', { class: 'lock-since' }, since)));
    $('lock').setAttribute('aria-label', `${brief}${since}: details`);
    $('lock').hidden = false;
    const waits = kind === 'waits' ? '' : waitsOf(encryption);
    const strip = kind !== 'waits' ? waits : ABOVE.includes(encryption.missing) ? '' : says;
    $('lock-strip').hidden = strip === '';
    $('lock-strip').textContent = strip;
    lacks({ waits: waits !== '', isLost: encryption.lostEpochCount > 0, ...blankOf(encryption) });
    $('lock-title').textContent = brief + since;
    $('lock-says').textContent = says;
    $('lock-facts').hidden = !epoch;
    $('lock-since').textContent = epoch ? wholeTimeOf(epoch.beganAt) : '';
    $('lock-epoch').textContent = epoch ? String(epoch.number) : '';
    $('lock-who').hidden = members.length === 0;
    $('lock-members').replaceChildren(...members.map(row));
    keys.update();
    $('lock-relay').textContent = kind === 'off'
      ? 'Every text, who writes to whom, when, and what was read.'
      : `Who writes to whom, when, how much in steps of 32 bytes or more, and what was read${isGroup(conversation) ? ', and what the group is called' : ''}. Of the texts it sees bytes.`;
  }

  async function refresh() {
    if (!conversation) return;
    const { sessionId } = conversation;
    asked += 1;
    const mine = asked;
    const { data } = await sdk().getEncryption(sessionId);
    // Another one may be open by now, or was asked for later.
    if (data && mine === asked && conversation?.sessionId === sessionId) render(data);
  }

  function forget() {
    shown = '';
    lacks({ waits: false, isLost: false });
    $('lock').hidden = $('lock-strip').hidden = true;
    if ($('lock-dialog').open) $('lock-dialog').close();
    for (const id of ['lock-title', 'lock-says', 'lock-since', 'lock-epoch', 'lock-relay', 'lock-strip']) $(id).textContent = '';
    $('lock-members').replaceChildren();
  }

  $('lock').addEventListener('click', () => {
    // How many devices others have is told by no event.
    void refresh();
    $('lock-dialog').showModal();
  });
  $('lock-close').addEventListener('click', () => $('lock-dialog').close());

  return {
    /** The SDK is there. */
    start: () => EVENTS.forEach((event) => sdk().on(event, refresh)),
    /** This conversation is open, as it is now; `null`: none is. */
    show(now) {
      const isOther = now?.sessionId !== conversation?.sessionId;
      conversation = now;
      if (!isOther) return;
      forget();
      void refresh();
    },
  };
}
