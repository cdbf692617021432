// A chat without a framework: conversations, one thread, write, edit, delete, read, page back, offline. `?relay=` and `?device=` choose the relay and the device.
import { connect } from 'solconnect-sync';
import 'solconnect-sync/status';

const find = (selector) => document.querySelector(selector);
const query = new URLSearchParams(location.search);

/** Shows what went wrong in a result; whether it went well. */
function tell({ error }) {
  find('[role=alert]').hidden = !error;
  find('[role=alert]').textContent = error?.userMessage ?? '';
  return !error;
}

/** An element with children: elements, texts, and what is left out (`false`). */
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== false));
  return made;
}

const button = (text, onclick) => element('button', { onclick }, text);

/** Shows items in a list. One that did not change is the same object, and its element stays untouched and keeps the focus. */
function shownIn(list, make) {
  let shown = new Map();
  return (items) => {
    shown = new Map(items.map((item) => [item, shown.get(item) ?? make(item)]));
    const elements = new Set(shown.values());
    for (const child of [...list.children]) if (!elements.has(child)) child.remove();
    [...elements].forEach((element, place) => element !== list.children[place] && list.insertBefore(element, list.children[place] ?? null));
  };
}

/** Calls with the text of the form's field, and empties it. */
function onSubmit(form, send) {
  form.onsubmit = async (event) => {
    event.preventDefault();
    const field = form.querySelector('input');
    const text = field.value.trim();
    field.value = '';
    if (text) tell(await send(text));
  };
}

/** What one starts: a session with one wallet, or a group of several with a name. */
function wantedOf(addresses) {
  const members = addresses.split(/\s+/);
  return members.length === 1 ? { peerWallet: addresses } : { members, name: prompt('Name of the group') ?? '' };
}

function conversationOf(sdk, { sessionId, peerWallet, name, lastMessage, unreadCount, state, kind, membership }) {
  const isInvited = state === 'invited';
  const open = button(name ?? peerWallet.slice(0, 8), () => openThread(sdk, sessionId));
  open.disabled = isInvited;
  if (unreadCount > 0) open.append(' ', element('b', {}, String(unreadCount)));
  if (lastMessage) open.append(' ', lastMessage.text);
  return element('li', {}, open,
    isInvited && button('Accept', async () => tell(await sdk.acceptSession(sessionId))),
    isInvited && button('Decline', async () => tell(await sdk.declineSession(sessionId))),
    kind === 'group' && !isInvited && membership === 'member' && button('Leave', async () => tell(await sdk.leaveSession(sessionId))));
}

function messageOf(sdk, message, edit) {
  const { id, sessionId, senderWallet, isOwn, readBy, deleted, edited, pendingEdit, status, error, text } = message;
  const readers = readBy && readBy.length > 0 && `read by ${readBy.length}`;
  const notes = [isOwn && status, readers, edited && !deleted && 'edited', pendingEdit && 'sending the change'].filter(Boolean).join(', ');
  const mayChange = isOwn && !deleted && status !== 'failed';
  return element('li', { className: isOwn ? 'own' : '' },
    !isOwn && element('b', {}, senderWallet.slice(0, 4)), ' ',
    element('span', { className: 'text' }, deleted ? 'Deleted' : text), ' ', element('small', { title: error?.userMessage ?? '' }, notes),
    mayChange && button('Edit', () => edit(message)),
    mayChange && button('Delete', async () => tell(await sdk.deleteMessage(sessionId, id))),
    status === 'failed' && button('Retry', async () => tell(await sdk.retryMessage(id))),
    ['failed', 'queued'].includes(status) && button('Cancel', async () => tell(await sdk.cancelMessage(id))));
}

let closeThread = () => {};

function openThread(sdk, sessionId) {
  closeThread();
  const [section, older, list, form] = ['section', 'section > button', 'ol', 'section form'].map(find);
  const messages = sdk.messages(sessionId, { limit: 20 });
  let [last, lastForeign, editing] = [];
  const edit = (message) => {
    editing = message;
    form.querySelector('input').value = message?.text ?? '';
    form.querySelector('button').textContent = message ? 'Save' : 'Send';
  };
  const show = shownIn(list, (message) => messageOf(sdk, message, edit));
  const update = () => {
    const { items, hasMore, isLoading, error } = messages.getSnapshot();
    if (error) tell({ error });
    older.hidden = !hasMore;
    older.disabled = isLoading;
    show(items);
    if (last !== items.at(-1)?.id) list.lastElementChild?.scrollIntoView();
    last = items.at(-1)?.id;
    const foreign = items.findLast(({ isOwn }) => !isOwn)?.id;
    if (foreign && foreign !== lastForeign) void sdk.markMessageAsRead(foreign);
    lastForeign = foreign;
  };
  older.onclick = () => messages.loadOlder();
  onSubmit(form, (text) => {
    const changed = editing;
    edit(undefined);
    return changed ? sdk.editMessage(sessionId, changed.id, text) : sdk.sendMessage(sessionId, text);
  });
  edit(undefined);
  section.hidden = false;
  closeThread = messages.subscribe(update);
  update();
}

connect({ relayEndpoint: query.get('relay') ?? 'ws://localhost:8080', databaseName: query.get('device') ?? 'chat', domains: [location.host], wallet: 'local' }).then((sdk) => {
  find('.chat').hidden = false;
  find('output').textContent = sdk.getCurrentWallet().data;
  find('solconnect-sync-status').sdk = sdk;
  find('[type=checkbox]').onchange = ({ target }) => sdk.setOffline(target.checked);
  onSubmit(find('nav form'), async (addresses) => {
    const session = await sdk.startSession(wantedOf(addresses));
    if (session.success) openThread(sdk, session.data.sessionId);
    return session;
  });
  const [conversations, show] = [sdk.conversations(), shownIn(find('ul'), (conversation) => conversationOf(sdk, conversation))];
  conversations.subscribe(() => show(conversations.getSnapshot().items));
}, (error) => tell({ error }));
