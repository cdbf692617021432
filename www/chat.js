// The conversation of one device: bubbles in the log's order.

import { concurrentGroups, counterOf } from './causality.js';
import { roving } from './chat/roving.js';
import { bdi, count, el, icon, snippet } from './dom.js';

const LONG_TEXT = 900;
const STATUS = { queued: 'Waiting', sending: 'Sending', sent: 'Sent', delivered: 'Delivered', read: 'Read', failed: 'Refused' };
const timeFormat = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hour12: false });

export function createChat(state, act, startEdit) {
  const list = document.getElementById('messages');
  const scroller = document.getElementById('scroller');
  const older = document.getElementById('older');
  const newer = document.getElementById('newer');
  const empty = document.getElementById('empty');
  // However many messages there are, they are one stop of the tab key: who comes to them comes to the newest.
  const keys = roving(list, '.row', { entry: () => list.lastElementChild });
  const rows = new Map(); // message id to { node, signature }
  const opened = new Set(); // long texts shown whole
  let lastSeen = 0; // highest sequence number that was scrolled to
  let lastRead = 0;
  let following = true; // the end of the list stays in view until the reader scrolls up
  let scrolledTo = 0;

  const atEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  const toEnd = () => scroller.scrollTo({ top: scroller.scrollHeight });
  newer.addEventListener('click', () => {
    following = true;
    toEnd();
    scroller.focus();
  });
  older.addEventListener('click', () => act('older'));
  scroller.addEventListener('scroll', () => {
    if (atEnd()) following = true;
    else if (scroller.scrollTop < scrolledTo) following = false;
    scrolledTo = scroller.scrollTop;
    if (following) seenAll();
  });
  new ResizeObserver(() => following && toEnd()).observe(scroller);
  // The wallet has read what was really on screen: in a frame that is in view, at the end of the list.
  const reader = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) markRead();
  });
  document.addEventListener('visibilitychange', markRead);
  let observed = null;

  function newestIncoming() {
    return state.messages.findLast((message) => message.sender_wallet !== state.wallet);
  }
  function markRead() {
    const newest = newestIncoming();
    if (!newest || document.hidden || newest.sequenceNumber <= lastRead) return;
    lastRead = newest.sequenceNumber;
    act('read', newest.id);
  }
  function seenAll() {
    lastSeen = state.messages.at(-1)?.sequenceNumber ?? 0;
    newer.hidden = true;
  }

  function render(next) {
    const { messages, phase, lacksKey } = next;
    const before = scroller.scrollHeight - scroller.scrollTop;
    const grewAtTop = rows.size > 0 && messages.length > 0 && !rows.has(messages[0].id) && rows.has(messages.at(-1).id);
    const marks = new Set(
      concurrentGroups(
        messages.map((one) => ({ id: one.id, deviceId: one.deviceId, counter: counterOf(one.vectorClock, one.deviceId), clock: one.vectorClock })),
      ).flatMap((group) => group.map((one) => one.id)),
    );

    const kept = new Set(messages.map((message) => message.id));
    for (const [id, row] of rows) {
      if (kept.has(id)) continue;
      row.node.remove();
      rows.delete(id);
    }
    let place = list.firstChild;
    messages.forEach((message, i) => {
      const first = messages[i - 1]?.deviceId !== message.deviceId;
      const node = rowFor(message, first, marks.has(message.id), next).node;
      if (node === place) place = place.nextSibling;
      else list.insertBefore(node, place);
    });
    keys.update();

    const hadOlder = document.activeElement === older;
    older.hidden = messages.length < next.limit;
    if (hadOlder && older.hidden) scroller.focus({ preventScroll: true });
    empty.hidden = messages.length > 0;
    empty.textContent =
      phase === 'starting'
        ? 'Opening the database…'
        : phase !== 'ready'
          ? ''
          : lacksKey
            ? 'Nothing can be read here yet: the key comes from a device that has it, when both are online.'
            : 'No messages yet. Say something: it is stored here first, then sent.';
    if (following) {
      toEnd();
      seenAll();
    } else {
      if (grewAtTop) scroller.scrollTop = scroller.scrollHeight - before;
      const unseen = messages.filter((message) => message.sequenceNumber > lastSeen).length;
      newer.hidden = unseen === 0;
      newer.textContent = `${count(unseen, 'new message')} below`;
    }
    const target = rows.get(newestIncoming()?.id)?.node ?? null;
    if (target !== observed) {
      if (observed) reader.unobserve(observed);
      if (target) reader.observe(target);
      observed = target;
    }
  }

  function rowFor(message, first, concurrent, { names, wallet, deviceId, strategy }) {
    const name =
      message.deviceId === deviceId
        ? 'This device'
        : (names.get(message.deviceId) ?? (message.sender_wallet === wallet ? 'Another device of yours' : 'The other wallet'));
    const open = opened.has(message.id);
    const signature = JSON.stringify([
      message.text,
      message.status,
      message.sequenceNumber,
      message.edited,
      message.deleted,
      message.versions,
      first,
      concurrent,
      name,
      open,
    ]);
    let row = rows.get(message.id);
    if (!row) {
      row = { node: el('li'), signature: '' };
      rows.set(message.id, row);
    }
    if (row.signature === signature) return row;
    row.signature = signature;
    const mine = message.sender_wallet === wallet;
    const focused = row.node.contains(document.activeElement) ? document.activeElement.dataset.does : null;
    row.node.className = `row ${mine ? 'is-mine' : 'is-theirs'}${message.deviceId === deviceId ? ' is-here' : ''}${first ? ' is-first' : ''}`;
    row.node.dataset.messageId = message.id;
    const brief = message.deleted ? 'a deleted message' : snippet(message.text, 60);
    row.node.setAttribute('aria-label', [name, `#${message.sequenceNumber}`, brief, mine && STATUS[message.status], concurrent && 'concurrent'].filter(Boolean).join(', '));
    row.node.replaceChildren(
      ...(first ? [el('p', { class: 'author' }, name)] : [el('span', { class: 'sr' }, name)]),
      el('div', { class: `bubble${message.deleted ? ' is-deleted' : ''}` }, ...body(message, open)),
      meta(message, mine, concurrent, brief),
      ...(message.versions.length > 1 ? [choice(message, strategy, mine, names, deviceId)] : []),
    );
    // What had the focus may be gone.
    if (focused) (row.node.querySelector(`[data-does="${focused}"]`) ?? row.node).focus({ preventScroll: true });
    return row;
  }

  function body(message, open) {
    if (message.deleted) return [el('em', {}, 'Deleted')];
    const long = message.text.length > LONG_TEXT;
    const text = el('p', { class: 'text', dir: 'auto' }, long && !open ? snippet(message.text, LONG_TEXT / 2) : message.text);
    if (!long) return [text];
    const toggle = () => {
      if (open) opened.delete(message.id);
      else opened.add(message.id);
      render(state);
    };
    return [
      text,
      el(
        'button',
        { type: 'button', class: 'quiet', 'data-does': 'open', onclick: toggle },
        open ? 'Show less' : `Show all ${message.text.length.toLocaleString('en')} characters`,
      ),
    ];
  }

  function meta(message, mine, concurrent, brief) {
    const edit = () => startEdit(message);
    return el(
      'p',
      { class: 'meta' },
      el('span', { class: 'sequence', title: 'Its place in the log, the same on every device. Keys, edits and deletions have places too: the first key has the first.' }, `#${message.sequenceNumber}`),
      el('time', { datetime: message.timestamp }, timeOf(message.timestamp)),
      message.edited && !message.deleted ? el('span', {}, 'Edited') : null,
      concurrent
        ? el('span', { class: 'concurrent', title: 'Written without knowing of a message written at the same time' }, icon('fork'), 'Concurrent')
        : null,
      mine ? el('span', { class: `status is-${message.status}` }, icon(message.status), STATUS[message.status]) : null,
      mine && !message.deleted
        ? el(
            'span',
            { class: 'tools' },
            el('button', { type: 'button', class: 'quiet', 'data-does': 'edit', 'aria-label': `Edit: ${brief}`, onclick: edit }, 'Edit'),
            el('button', { type: 'button', class: 'quiet', 'data-does': 'delete', 'aria-label': `Delete: ${brief}`, onclick: () => act('remove', message.id) }, 'Delete'),
          )
        : null,
    );
  }

  function choice(message, strategy, mine, names, deviceId) {
    const says =
      strategy === 'manual' && mine
        ? 'Changed in two places. Which one stays?'
        : strategy === 'manual'
          ? 'Changed in two places. Its author decides.'
          : 'Changed in two places; the rule chosen above says which one is shown.';
    return el(
      'div',
      { class: 'versions' },
      el('p', {}, icon('fork'), says),
      ...message.versions.map((version, i) =>
        el(
          'div',
          { class: 'version' },
          el(
            'p',
            {},
            version.deleted ? el('em', {}, 'Delete it') : bdi(snippet(version.text, 200)),
            el('small', {}, ` ${version.deviceId === deviceId ? 'This device' : (names.get(version.deviceId) ?? 'Another device')}${i === 0 ? ', shown now' : ''}`),
          ),
          mine && (i > 0 || strategy === 'manual')
            ? el('button', { type: 'button', class: 'quiet', 'data-does': `keep-${i}`, 'aria-label': version.deleted ? 'Keep the deletion' : `Keep: ${snippet(version.text, 60)}`, onclick: () => act('resolve', message.id, version.id) }, 'Keep')
            : null,
        ),
      ),
    );
  }

  return {
    render,
    toEnd() {
      following = true;
      toEnd();
    },
  };
}

function timeOf(timestamp) {
  const time = new Date(timestamp);
  return Number.isNaN(time.getTime()) ? '' : timeFormat.format(time);
}
