// The page: connects, and passes between the SDK and what is shown. The SDK's lists are the only truth; the page keeps none of its own.

import { count, el, icon, snippet, throttled } from '../dom.js';
import { createAccount } from './account.js';
import { createComposer } from './composer.js';
import { copy } from './copy.js';
import { createGroup } from './group.js';
import { createInbox } from './inbox.js';
import { createLock } from './lock.js';
import { createPeople } from './people.js';
import { act, ask, notice, say } from './speak.js';
import { testWallet } from './test-wallet.js';
import { createThread } from './thread.js';
import { isGroup, membersOf, OUT, pictureOf, short, titleOf } from './words.js';

const ANNOUNCE_MS = 2_000;
/** How long somebody who accepts may wait for what was written before. */
const ACCEPT_WAIT_MS = 3_000;

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const named = (name) => /^[a-z0-9-]{1,32}$/.exec(query.get(name) ?? '')?.[0] ?? null;
/** Who uses this window: each profile has a database of its own, and a wallet where none is named. */
const profile = named('profile');
/** The test wallet of this name: profiles that name it are devices of one person. */
const wallet = named('wallet');
/** Where it stands that this profile is offline by wish. */
const offlineKey = `solconnect-chat-offline-${profile ?? ''}`;
const databaseName = profile ? `solconnect-chat-${profile}` : 'solconnect-chat';

let sdk = null;
let conversations = null; // the last snapshot
let current = null; // { conversation, list, end } of the open one
let wanted = null; // what the address names and is not there yet
let waiting = []; // messages to announce
let isRemoved = false; // this device is out of the account
const accepting = new Map(); // invitations that are being accepted, by session: they stay as they are until their messages are there

const thread = createThread({
  edit: (message) => composer.startEdit(message),
  remove,
  // Nobody asked for it: what is being shown stays.
  read: async (message) => {
    const { error } = await sdk.markMessageAsRead(message.id);
    if (error) notice(error.userMessage);
  },
  retry: (message) => act(sdk.retryMessage(message.id)),
  discard: (message) => act(sdk.cancelMessage(message.id)),
  resolve: (message, version) => act(version.deleted ? sdk.deleteMessage(message.sessionId, message.id) : sdk.resolveConflict(message.sessionId, message.id, version.text)),
  older: () => current?.list.loadOlder(),
  announce(messages) {
    waiting.push(...messages);
    announceSoon();
  },
});
const composer = createComposer({
  send: (text) => sdk.sendMessage(current.conversation.sessionId, text),
  edit: (message, text) => sdk.editMessage(message.sessionId, message.id, text),
  lastOwn: () => thread.lastOwn(),
  sent: () => thread.toEnd(),
});
const inbox = createInbox({ open: choose, answer, own });
const people = createPeople({ known });
const group = createGroup({ sdk: () => sdk, own, add: addPeople });
const lock = createLock({ sdk: () => sdk, own, lacks: (what) => thread.lacks(what) });

// Starting.

async function start() {
  document.title = 'Chat · SolConnect Sync';
  if (profile && !wallet) document.body.dataset.wallet = 'bob';
  if (profile) $('title').replaceChildren(el('span', { class: 'title-chat' }, 'Chat · '), profile);
  try {
    // Not at the top: where the package is missing, the page says so.
    const [{ connect, findWallets }] = await Promise.all([import('/pkg/index.js'), import('/pkg/status.js')]);
    const relayEndpoint = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/`;
    const test = wallet && (await testWallet(wallet));
    // Who has switched it off expects it to stay so.
    const startOffline = localStorage.getItem(offlineKey) !== null;
    sdk = await connect({ relayEndpoint, databaseName, domains: [location.host], startOffline, ...(test && { wallet: test }) });
    $('offline').setAttribute('aria-checked', String(startOffline));
    lock.start();
    createAccount({ sdk, profile, test, findWallets, left, removed });
  } catch (error) {
    fail(error);
    return;
  }
  // Short, for phones; the notice has the whole.
  $('status').texts = { storage: () => 'Storage trouble', conflict: ({ conflictCount }) => count(conflictCount, 'conflict') };
  $('status').sdk = sdk;
  $('status').classList.remove('waits');
  // Whose conversation is of the other kind, only the message says.
  const says = ({ code, userMessage, message }) => (code === 'ENCRYPTION_MISMATCH' ? `${userMessage} (${message})` : userMessage);
  sdk.on('warning', ({ error }) => notice(says(error)));
  // Also where another tab has switched it: all tabs are one device.
  sdk.on('connectionChanged', ({ state }) => {
    // A device that the relay does not serve is not offline by wish.
    const { data } = sdk.getSyncStatus();
    if (data) $('offline').setAttribute('aria-checked', String(state === 'offline' && !data.signInNeeded));
  });
  for (const id of ['offline', 'new', 'new-group', 'copy', 'sign-out']) $(id).disabled = false;
  const list = sdk.conversations();
  list.subscribe(() => takeConversations(list.getSnapshot()));
  const peer = query.get('peer');
  if (peer) {
    query.delete('peer');
    history.replaceState(null, '', `${location.pathname}${query.size > 0 ? `?${query}` : ''}`);
    await begin(peer, notice);
  } else {
    route();
  }
  takeConversations(list.getSnapshot());
}

function fail(error) {
  $('failure').hidden = false;
  $('panes').inert = true;
  $('failure-says').textContent = error?.userMessage ?? 'The SDK could not be loaded. Is the relay running, and was the package built?';
  $('failure-code').textContent = `${error?.code ?? 'LOAD_FAILED'}: ${snippet(String(error?.message ?? error), 200)}`;
  $('failure-title').focus();
}

/** Nothing of who was here stays in the page. */
function left() {
  history.replaceState(null, '', `${location.pathname}${location.search}`);
  if (current) hide();
  composer.forget();
}

/** Who is out of the account writes nothing. */
function removed(isIt) {
  isRemoved = isIt;
  thread.removed(isIt);
  if (current) showConversation(current.conversation);
}

function own() {
  return sdk.getCurrentWallet().data;
}

// Conversations.

function takeConversations(snapshot) {
  const before = conversations;
  const { isLoading, error } = snapshot;
  const items = accepting.size === 0 ? snapshot.items : snapshot.items.map((one) => accepting.get(one.sessionId) ?? one);
  conversations = { items, isLoading, error };
  inbox.render(items, current?.conversation.sessionId ?? null);
  $('conversations').setAttribute('aria-busy', String(isLoading));
  $('list-loading').hidden = !isLoading || items.length > 0;
  $('list-empty').hidden = isLoading || items.length > 0;
  if (error && error !== before?.error) notice(error.userMessage);
  if (!current) $('nothing-says').textContent = isLoading && items.length === 0 ? 'Opening…' : items.length > 0 ? 'Choose a conversation.' : 'Start a conversation.';
  const unread = items.reduce((sum, conversation) => sum + conversation.unreadCount, 0);
  document.title = `${unread > 0 ? `(${unread}) ` : ''}Chat${profile ? ` · ${profile}` : ''} · SolConnect Sync`;
  if (before && !before.isLoading) tellNews(before.items, items);
  const open = items.find((conversation) => conversation.sessionId === current?.conversation.sessionId);
  if (open) showConversation(open);
  if (wanted) route();
}

/** Says what came into conversations that are not open. */
function tellNews(before, items) {
  const known = new Map(before.map((conversation) => [conversation.sessionId, conversation]));
  for (const conversation of items) {
    const old = known.get(conversation.sessionId);
    if (conversation === old) continue;
    const { peerWallet, sessionId, state, unreadCount } = conversation;
    if (state === 'invited' && old?.state !== 'invited') say(isGroup(conversation) ? `${short(peerWallet)} invites you to ${titleOf(conversation, own())}.` : `${short(peerWallet)} wants to talk to you.`);
    else if (sessionId !== current?.conversation.sessionId && unreadCount > (old?.unreadCount ?? 0)) say(`New message ${isGroup(conversation) ? 'in' : 'from'} ${titleOf(conversation, own())}.`);
  }
}

/** Who is talked to, and whether one can write. */
function showConversation(conversation) {
  current.conversation = conversation;
  const { state, membership } = conversation;
  const isOpen = state === 'active';
  const hadFocus = $('composer').contains(document.activeElement);
  $('composer').hidden = !isOpen || isRemoved;
  $('ended').hidden = isOpen;
  $('ended-says').textContent = state === 'invited' ? 'You are invited again: answer in the list.' : (OUT[membership] ?? 'This conversation was ended.');
  $('start-again').hidden = state === 'invited' || isGroup(conversation);
  // The field that had it is gone.
  if (hadFocus && $('composer').hidden) $('peer').focus();
  const name = titleOf(conversation, own());
  if ($('peer').textContent !== name) $('peer').textContent = name;
  $('peer').title = conversation.peerWallet;
  $('peer-says').hidden = $('open-group').hidden = !isGroup(conversation) || state === 'invited';
  $('copy-peer').hidden = isGroup(conversation);
  if (isGroup(conversation)) $('peer-says').textContent = membersOf(conversation);
  else $('copy-peer').setAttribute('aria-label', `Copy the address of ${name}`);
  group.update(conversation);
  lock.show(conversation);
}

async function answer(conversation, what) {
  const { sessionId, peerWallet } = conversation;
  if (what === 'block' && !(await ask(`Block ${short(peerWallet)}?`, 'Nothing that this address sends is shown to you any more. It is not told.', 'Block'))) return;
  if (what === 'accept') {
    if (accepting.has(sessionId)) return;
    accepting.set(sessionId, conversation);
    await accept(conversation).finally(() => {
      accepting.delete(sessionId);
      takeConversations(sdk.conversations().getSnapshot());
    });
    return;
  }
  const result = await { decline: () => sdk.declineSession(sessionId), block: () => sdk.blockWallet(peerWallet) }[what]();
  if (result.error) notice(result.error.userMessage);
  else inbox.focus(null);
}

async function accept(conversation) {
  const { sessionId } = conversation;
  const result = await sdk.acceptSession(sessionId);
  if (result.error) {
    notice(result.error.userMessage);
    return;
  }
  // What was written before comes with the first sync. It is not waited for where there is no connection.
  await Promise.race([sdk.syncMessages(sessionId), new Promise((resolve) => setTimeout(resolve, ACCEPT_WAIT_MS))]);
  choose({ ...conversation, state: 'active' });
}

/** Starts the conversation with an address; what goes wrong is told to `tell`. */
async function begin(peerWallet, tell) {
  const result = await sdk.startSession({ peerWallet });
  if (result.error) {
    tell(result.error.userMessage);
    return;
  }
  // It gives the focus back, before the conversation takes it.
  $('new-dialog').close();
  choose({ ...result.data, state: 'active' });
}

/** The wallets that one has to do with, but for these: in the order of the conversations. */
function known(without) {
  const wallets = (conversations?.items ?? []).flatMap(({ peerWallet, members = [] }) => [peerWallet, ...members.map((member) => member.wallet)]);
  return [...new Set(wallets)].filter((wallet) => wallet && wallet !== own() && !without.includes(wallet));
}

function beginGroup() {
  people.open({ title: 'New group', yes: 'Create', isNamed: true, without: [], work: async (members, name) => {
    const result = await sdk.startSession({ members, name });
    if (result.error) return result.error.userMessage;
    people.close();
    choose({ ...result.data, state: 'active' });
    return '';
  } });
}

function addPeople({ sessionId, members }) {
  people.open({ title: 'Add people', yes: 'Add', isNamed: false, without: members.map((member) => member.wallet), work: async (wallets) => {
    const result = await sdk.addMembers(sessionId, wallets);
    if (result.error) return result.error.userMessage;
    people.close();
    say(`${count(wallets.length, 'person', 'people')} added. What is written from now on can be read by them too.`);
    return '';
  } });
}

// Which conversation is open stands in the address, so that the browser's own way back works: the peer, or the group's session.

const placeOf = (conversation) => (isGroup(conversation) ? conversation.sessionId : conversation.peerWallet);

function choose(conversation) {
  const hash = `#${placeOf(conversation)}`;
  if (location.hash !== hash) history[current ? 'replaceState' : 'pushState']({ isInside: !current || history.state?.isInside === true }, '', hash);
  show(conversation);
}

function route() {
  wanted = location.hash.slice(1) || null;
  if (wanted === (current ? placeOf(current.conversation) : null)) {
    wanted = null;
    return;
  }
  if (!wanted) {
    hide();
    return;
  }
  const found = conversations?.items.find((one) => placeOf(one) === wanted && one.state !== 'invited');
  if (found) {
    wanted = null;
    show(found);
  } else if (conversations && !conversations.isLoading) {
    wanted = null;
    history.replaceState(null, '', `${location.pathname}${location.search}`);
    hide();
  }
}

function back() {
  if (history.state?.isInside) history.back();
  else {
    history.replaceState(null, '', `${location.pathname}${location.search}`);
    route();
  }
}

function show(conversation) {
  const { sessionId } = conversation;
  if (current?.conversation.sessionId !== sessionId) {
    current?.end();
    const listed = conversations?.items.find((one) => one.sessionId === sessionId);
    const list = sdk.messages(sessionId);
    thread.open(listed?.unreadCount ?? 0, isGroup(conversation));
    composer.open(sessionId);
    current = { conversation, list, end: list.subscribe(() => thread.take(list.getSnapshot())) };
    $('peer-picture').replaceChildren(pictureOf(conversation));
    showConversation(listed?.state === 'invited' ? conversation : listed ?? conversation);
  }
  $('nothing').hidden = true;
  $('thread').hidden = false;
  document.body.dataset.screen = 'thread';
  thread.take(current.list.getSnapshot());
  if (conversations) inbox.render(conversations.items, sessionId);
  // A keyboard on the screen would hide what one came to read.
  if (matchMedia('(pointer: coarse)').matches || $('composer').hidden) $('peer').focus({ preventScroll: true });
  else composer.focus();
}

function hide() {
  const was = current;
  was?.end();
  current = null;
  lock.show(null);
  thread.close();
  $('thread').hidden = true;
  $('nothing').hidden = false;
  document.body.dataset.screen = 'list';
  if (!conversations) return;
  inbox.render(conversations.items, null);
  if (was) inbox.focus(was.conversation.sessionId);
}

// What one does.

/** What a deletion does. */
function lossOf(conversation) {
  if (isGroup(conversation)) return 'It disappears for everybody.';
  return conversation.peerWallet === own() ? 'It disappears on all your devices.' : 'It disappears for both of you.';
}

async function remove(message) {
  const isUnsent = message.sequenceNumber === undefined;
  if (!(await ask('Delete this message?', isUnsent ? 'It was not sent yet.' : lossOf(current.conversation), 'Delete'))) return;
  composer.gone(message.id);
  // One that is on its way already can only be deleted.
  if (isUnsent && (await sdk.cancelMessage(message.id)).success) return;
  await act(sdk.deleteMessage(message.sessionId, message.id));
}

const announceSoon = throttled(() => {
  const last = snippet(waiting.at(-1)?.text ?? '', 120);
  say(waiting.length === 1 ? `New message: ${last}` : `${count(waiting.length, 'new message')}. The last: ${last}`);
  waiting = [];
}, ANNOUNCE_MS);

// The frame.

$('back').append(icon('back'));
$('back').addEventListener('click', back);
// A module that failed to load stays failed for the life of its page.
$('failure-retry').addEventListener('click', () => location.reload());
$('offline').addEventListener('click', () => {
  setOffline($('offline').getAttribute('aria-checked') !== 'true');
});

/** What a person wishes is kept for the next time that the page is opened. */
function setOffline(offline) {
  const result = sdk.setOffline(offline);
  if (result.error) return void notice(result.error.userMessage);
  $('offline').setAttribute('aria-checked', String(offline));
  if (offline) localStorage.setItem(offlineKey, 'yes');
  else localStorage.removeItem(offlineKey);
}

$('copy-peer').addEventListener('click', () => {
  const { peerWallet } = current.conversation;
  void copy($('copy-peer'), peerWallet, () => {
    $('peer').textContent = peerWallet;
    return $('peer');
  });
});
$('new').addEventListener('click', () => {
  $('new-address').value = '';
  $('new-error').textContent = '';
  $('new-dialog').showModal();
});
$('new-cancel').addEventListener('click', () => $('new-dialog').close());
$('new-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const field = $('new-address');
  const peer = field.value.trim();
  const refuse = (says) => {
    $('new-error').textContent = says;
    field.setAttribute('aria-invalid', 'true');
    field.focus();
  };
  field.removeAttribute('aria-invalid');
  if (peer === '') refuse('An address is needed.');
  else await begin(peer, refuse);
});
$('new-group').addEventListener('click', beginGroup);
$('open-group').addEventListener('click', () => group.open(current.conversation));
$('start-again').addEventListener('click', () => begin(current.conversation.peerWallet, notice));
addEventListener('popstate', route);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !event.defaultPrevented && current && !document.querySelector('dialog[open]')) back();
});

start();
