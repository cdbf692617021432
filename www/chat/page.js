// The page: connects, and passes between the SDK and what is shown. The SDK's lists are the only truth; the page keeps none of its own.

import { count, icon, snippet, throttled } from '../dom.js';
import { createComposer } from './composer.js';
import { createDevices } from './devices.js';
import { createInbox } from './inbox.js';
import { createThread } from './thread.js';
import { picture, short } from './words.js';

const ANNOUNCE_MS = 2_000;
const COPIED_MS = 2_000;
/** How long somebody who accepts may wait for what was written before. */
const ACCEPT_WAIT_MS = 3_000;

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
/** Who uses this window: each profile has a wallet and a database of its own. */
const profile = /^[a-z0-9-]{1,32}$/.exec(query.get('profile') ?? '')?.[0] ?? null;
const databaseName = profile ? `solconnect-chat-${profile}` : 'solconnect-chat';

let sdk = null;
let conversations = null; // the last snapshot
let current = null; // { sessionId, peerWallet, list, end } of the open conversation
let wanted = null; // the peer that the address names and whose conversation is not there yet
let waiting = []; // messages to announce
const accepting = new Map(); // invitations that are being accepted, by session: they stay as they are until their messages are there

const thread = createThread({
  edit: (message) => composer.startEdit(message),
  remove,
  read: (message) => act(sdk.markMessageAsRead(message.id)),
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
  send: (text) => sdk.sendMessage(current.sessionId, text),
  edit: (message, text) => sdk.editMessage(message.sessionId, message.id, text),
  lastOwn: () => thread.lastOwn(),
  sent: () => thread.toEnd(),
});
const inbox = createInbox({ open: choose, answer });
const devices = createDevices({ approve: (id) => sdk.approveDevice(id), remove: (id) => sdk.removeDevice(id), reset: () => sdk.signOutOtherDevices(), ask, act, say });

// Starting.

async function start() {
  document.title = 'Chat · SolConnect Sync';
  if (profile) document.body.dataset.wallet = 'bob';
  if (profile) $('title').textContent = `Chat · ${profile}`;
  try {
    // Not at the top: where the package is missing, the page says so.
    const [{ connect }] = await Promise.all([import('/pkg/index.js'), import('/pkg/status.js')]);
    const relayEndpoint = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/`;
    sdk = await connect({ relayEndpoint, databaseName, domains: [location.host] });
  } catch (error) {
    fail(error);
    return;
  }
  // Short, for phones; the notice has the whole.
  $('status').texts = { storage: () => 'Storage trouble', conflict: ({ conflictCount }) => count(conflictCount, 'conflict') };
  $('status').sdk = sdk;
  $('status').classList.remove('waits');
  sdk.on('warning', ({ error }) => notice(error.userMessage));
  sdk.on('walletChanged', showWallet);
  showWallet();
  for (const event of ['deviceAdded', 'deviceApproved', 'deviceRemoved', 'walletChanged']) sdk.on(event, showDevices);
  sdk.on('deviceRequest', () => notice('A new device of yours waits to be approved. If you do not know it, remove it: Devices.'));
  sdk.on('signInNeeded', ({ error }) => {
    $('sign-again').hidden = false;
    if (error) notice(error.userMessage);
  });
  showDevices();
  // Also where another tab has switched it: all tabs are one device.
  sdk.on('connectionChanged', ({ state }) => {
    if (sdk.getCurrentWallet().data) $('offline').setAttribute('aria-checked', String(state === 'offline'));
  });
  for (const id of ['offline', 'new', 'copy', 'sign-out']) $(id).disabled = false;
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

function showWallet() {
  const address = sdk.getCurrentWallet().data;
  if (!address) return;
  $('me-picture').replaceChildren(picture(address));
  $('me-address').textContent = address;
  $('me-address').dataset.address = address;
  const other = profile === 'bob' ? null : 'bob';
  const there = new URLSearchParams({ ...(other && { profile: other }), peer: address });
  $('second').href = `${location.pathname}?${there}`;
  $('second').textContent = profile ? 'Open the first person in another window' : 'Open a second person in another window';
  $('second').classList.remove('waits');
}

function showDevices() {
  devices.render(sdk.getDevices().data ?? []);
}

async function signAgain() {
  $('sign-again').disabled = true;
  const result = await act(sdk.signIn());
  $('sign-again').disabled = false;
  if (result.success) $('sign-again').hidden = true;
}

async function signOut(wipe) {
  $('sign-out-dialog').close();
  const result = await sdk.logout({ wipe });
  history.replaceState(null, '', `${location.pathname}${location.search}`);
  if (current) hide();
  composer.forget();
  $('me-picture').replaceChildren();
  $('me-address').textContent = '…';
  $('signed-out-says').textContent = result.error
    ? `${result.error.userMessage} What is stored here could not be deleted.`
    : wipe
      ? 'Nothing of you is left in this browser. Who signs in here next is somebody new.'
      : 'What you wrote and received is kept in this browser.';
  $('panes').inert = true;
  $('signed-out').hidden = false;
  $('signed-out-title').focus();
}

async function signIn() {
  $('sign-in').disabled = true;
  const result = await sdk.connectWallet();
  $('sign-in').disabled = false;
  if (result.error) {
    $('signed-out-says').textContent = result.error.userMessage;
    return;
  }
  $('signed-out').hidden = true;
  $('panes').inert = false;
  $('side-title').focus();
}

// Conversations.

function takeConversations(snapshot) {
  const before = conversations;
  const { isLoading, error } = snapshot;
  const items = accepting.size === 0 ? snapshot.items : snapshot.items.map((one) => accepting.get(one.sessionId) ?? one);
  conversations = { items, isLoading, error };
  inbox.render(items, current?.sessionId ?? null);
  $('conversations').setAttribute('aria-busy', String(isLoading));
  $('list-loading').hidden = !isLoading || items.length > 0;
  $('list-empty').hidden = isLoading || items.length > 0;
  if (error && error !== before?.error) notice(error.userMessage);
  if (!current) $('nothing-says').textContent = isLoading && items.length === 0 ? 'Opening…' : items.length > 0 ? 'Choose a conversation.' : 'Start a conversation.';
  const unread = items.reduce((sum, conversation) => sum + conversation.unreadCount, 0);
  document.title = `${unread > 0 ? `(${unread}) ` : ''}Chat${profile ? ` · ${profile}` : ''} · SolConnect Sync`;
  if (before && !before.isLoading) tellNews(before.items, items);
  if (current) showState(items.find((conversation) => conversation.sessionId === current.sessionId));
  if (wanted) route();
}

/** Says what came into conversations that are not open. */
function tellNews(before, items) {
  const known = new Map(before.map((conversation) => [conversation.sessionId, conversation]));
  for (const conversation of items) {
    const old = known.get(conversation.sessionId);
    if (conversation === old) continue;
    if (conversation.state === 'invited' && old?.state !== 'invited') say(`${short(conversation.peerWallet)} wants to talk to you.`);
    else if (conversation.sessionId !== current?.sessionId && conversation.unreadCount > (old?.unreadCount ?? 0)) say(`New message from ${short(conversation.peerWallet)}.`);
  }
}

/** Writing is possible in what was not ended. */
function showState(conversation) {
  const isEnded = conversation?.state === 'ended';
  $('composer').hidden = isEnded;
  $('ended').hidden = !isEnded;
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

async function accept({ sessionId, peerWallet }) {
  const result = await sdk.acceptSession(sessionId);
  if (result.error) {
    notice(result.error.userMessage);
    return;
  }
  // What was written before comes with the first sync. It is not waited for where there is no connection.
  await Promise.race([sdk.syncMessages(sessionId), new Promise((resolve) => setTimeout(resolve, ACCEPT_WAIT_MS))]);
  choose({ sessionId, peerWallet });
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
  choose(result.data);
}

// Which conversation is open stands in the address, so that the browser's own way back works.

function choose(conversation) {
  const hash = `#${conversation.peerWallet}`;
  if (location.hash !== hash) history[current ? 'replaceState' : 'pushState']({ isInside: !current || history.state?.isInside === true }, '', hash);
  show(conversation);
}

function route() {
  wanted = location.hash.slice(1) || null;
  if (wanted === (current?.peerWallet ?? null)) {
    wanted = null;
    return;
  }
  if (!wanted) {
    hide();
    return;
  }
  const found = conversations?.items.find((one) => one.peerWallet === wanted && one.state !== 'invited');
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

function show({ sessionId, peerWallet }) {
  if (current?.sessionId !== sessionId) {
    current?.end();
    const known = conversations?.items.find((conversation) => conversation.sessionId === sessionId);
    const list = sdk.messages(sessionId);
    thread.open(known?.unreadCount ?? 0);
    composer.open(sessionId);
    current = { sessionId, peerWallet, list, end: list.subscribe(() => thread.take(list.getSnapshot())) };
    $('peer').textContent = short(peerWallet);
    $('peer').title = peerWallet;
    $('copy-peer').setAttribute('aria-label', `Copy the address of ${short(peerWallet)}`);
    $('peer-picture').replaceChildren(picture(peerWallet));
    showState(known);
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
  thread.close();
  $('thread').hidden = true;
  $('nothing').hidden = false;
  document.body.dataset.screen = 'list';
  if (!conversations) return;
  inbox.render(conversations.items, null);
  if (was) inbox.focus(was.sessionId);
}

// What one does.

async function act(promise) {
  const result = await promise;
  if (result.error) notice(result.error.userMessage);
  return result;
}

async function remove(message) {
  const isUnsent = message.sequenceNumber === undefined;
  if (!(await ask('Delete this message?', isUnsent ? 'It was not sent yet.' : 'It disappears for both of you.', 'Delete'))) return;
  composer.gone(message.id);
  // One that is on its way already can only be deleted.
  if (isUnsent && (await sdk.cancelMessage(message.id)).success) return;
  await act(sdk.deleteMessage(message.sessionId, message.id));
}

/** Asks before something that cannot be undone; resolves with the answer. */
function ask(title, says, yes) {
  const dialog = $('ask');
  $('ask-title').textContent = title;
  $('ask-says').textContent = says;
  $('ask-yes').textContent = yes;
  return new Promise((resolve) => {
    let answer = false;
    $('ask-yes').onclick = () => {
      answer = true;
      dialog.close();
    };
    $('ask-no').onclick = () => dialog.close();
    dialog.addEventListener('close', function closed() {
      // That of the question before may come when this one is on the screen.
      if (dialog.open) return;
      dialog.removeEventListener('close', closed);
      resolve(answer);
    });
    dialog.showModal();
    $('ask-no').focus();
  });
}

function notice(says) {
  $('notice').hidden = false;
  $('notice-says').textContent = says;
}

let spoken = [];
const sayAll = throttled(() => {
  const says = spoken.join(' ');
  // The same again would be no change, and not be read out.
  $('announcer').textContent = says === $('announcer').textContent ? `${says}\u00a0` : says;
  spoken = [];
}, ANNOUNCE_MS);
function say(text) {
  spoken.push(text);
  sayAll();
}
const announceSoon = throttled(() => {
  const last = snippet(waiting.at(-1)?.text ?? '', 120);
  say(waiting.length === 1 ? `New message: ${last}` : `${count(waiting.length, 'new message')}. The last: ${last}`);
  waiting = [];
}, ANNOUNCE_MS);

// The frame.

$('back').append(icon('back'));
$('back').addEventListener('click', back);
$('notice-close').append(icon('cross'));
$('notice-close').addEventListener('click', () => {
  $('notice').hidden = true;
});
// A module that failed to load stays failed for the life of its page.
$('failure-retry').addEventListener('click', () => location.reload());
$('offline').addEventListener('click', () => {
  const offline = $('offline').getAttribute('aria-checked') !== 'true';
  const result = sdk.setOffline(offline);
  if (result.error) notice(result.error.userMessage);
  else $('offline').setAttribute('aria-checked', String(offline));
});
async function copy(button, address, showIt) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(address);
    say('The address is copied.');
    if (before === 'Copied') return;
    button.textContent = 'Copied';
    setTimeout(() => {
      button.textContent = before;
    }, COPIED_MS);
  } catch {
    // Browsers forbid it without a secure connection: then it can be copied by hand.
    const node = showIt();
    getSelection().selectAllChildren(node);
  }
}
$('copy').addEventListener('click', () => copy($('copy'), $('me-address').dataset.address, () => $('me-address')));
$('copy-peer').addEventListener('click', () => {
  const { peerWallet } = current;
  void copy($('copy-peer'), peerWallet, () => {
    $('peer').textContent = peerWallet;
    return $('peer');
  });
});
$('sign-out').addEventListener('click', () => $('sign-out-dialog').showModal());
$('sign-out-no').addEventListener('click', () => $('sign-out-dialog').close());
$('sign-out-yes').addEventListener('click', () => signOut(false));
$('sign-out-wipe').addEventListener('click', () => signOut(true));
$('sign-in').addEventListener('click', signIn);
$('sign-again').addEventListener('click', signAgain);
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
$('start-again').addEventListener('click', () => begin(current.peerWallet, notice));
addEventListener('popstate', route);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !event.defaultPrevented && current && !document.querySelector('dialog[open]')) back();
});

start();
