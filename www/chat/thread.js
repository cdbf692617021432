// One conversation: a window of rows over the messages of the list, so that ten thousand of them cost as much as a hundred.

import { bdi, count, el, icon, snippet } from '../dom.js';
import { roving } from './roving.js';
import { clockOf, dayKeyOf, dayOf, hueOf, short, STATUS, wholeTimeOf } from './words.js';

/** Rows in the page at most: some screens above and below of what is seen, also with one-line messages. */
const ROWS_MAX = 180;
/** Rows that come with each move of the window; and so many go at once where new ones come at the end. */
const ROWS_STEP = 60;
/** So near to an end of the rows (in pixels) the window moves. */
const NEAR = 600;
/** Nearer than this to the end (in pixels), new messages are followed. */
const AT_END = 40;
/** Messages of one writer within this time stand together. */
const TOGETHER_MS = 5 * 60_000;

/** In the order in which they stand in a row. */
const PARTS = ['day', 'line', 'author', 'bubble', 'meta', 'readers', 'trouble', 'conflict'];

const NOTHING = 'No messages yet. What you write is stored here first, then sent.';
const LOST = 'What was written before can be read on no device of yours any more.';

/** Of what a device has not sent that was removed since. */
const OUT_OF_IT = 'Not sent: goes out when you sign in again';

const keyOf = (message) => `${message.senderWallet} ${message.id}`;

/**
 * `actions` are edit(message), remove(message), retry(message), discard(message), resolve(message, version), read(message),
 * older(), announce(messages).
 */
export function createThread(actions) {
  const $ = (id) => document.getElementById(id);
  const [list, scroller, newer, older, empty] = ['messages', 'scroller', 'newer', 'older', 'thread-empty'].map($);
  const rows = new Map(); // key to { node, message, …what else it was made from }
  // Who comes into the list comes to the newest message.
  const rover = roving(list, '.row', { step: stepTo, entry: () => list.lastElementChild });
  let serial = 0;
  let snapshot = null;
  let items = [];
  let start = 0; // the rows show items[start..end)
  let end = 0;
  let isFollowing = true; // the end of the conversation stays in view until the reader scrolls up
  let scrolledTo = 0;
  let unreadAtOpening = 0;
  let lineKey = null; // the first message that was unread when the conversation was opened
  let seenThrough = 0; // the last place that was on screen with the end of the list
  let announcedThrough = null;
  let readThrough = 0; // what was told as read, by place
  let isOpen = false;
  let gap = null; // what this device cannot read of the conversation: { waits, isLost, blank, earlier }
  let isOut = false; // this device is out of the account: it sends nothing
  let isGroup = false; // then it is shown who wrote a message, and who has read one's own
  let pendingFrame = 0;
  let pendingSnapshot = null;

  const atEnd = () => end === items.length && scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END;
  const lastPlace = () => items.findLast((message) => message.sequenceNumber !== undefined)?.sequenceNumber ?? 0;

  function windowToEnd() {
    end = items.length;
    start = Math.max(0, end - ROWS_MAX + ROWS_STEP);
  }

  function toEnd() {
    isFollowing = true;
    if (end !== items.length) {
      windowToEnd();
      draw();
    }
    scroller.scrollTop = scroller.scrollHeight;
    scrolledTo = scroller.scrollTop;
  }

  newer.addEventListener('click', () => {
    toEnd();
    drawNewer();
    look();
    (list.lastElementChild ?? scroller).focus({ preventScroll: true });
  });
  scroller.addEventListener(
    'scroll',
    () => {
      // Only a reader scrolls up: rows that change their height do not.
      if (atEnd()) isFollowing = true;
      else if (scroller.scrollTop < scrolledTo - 1) isFollowing = false;
      scrolledTo = scroller.scrollTop;
      soon();
    },
    { passive: true },
  );
  new ResizeObserver(() => {
    if (!isOpen) return;
    if (isFollowing) toEnd();
    soon();
  }).observe(scroller);
  document.addEventListener('visibilitychange', soon);
  addEventListener('focus', soon);

  function soon() {
    pendingFrame ||= requestAnimationFrame(() => {
      pendingFrame = 0;
      if (!isOpen) return;
      takePending();
      moveWindow();
      drawNewer();
      look();
    });
  }

  /** Brings rows where the reader comes near to an end of them. */
  function moveWindow() {
    // At the end there is no need for more, unless the screen is higher than what is there.
    if (items.length === 0 || (isFollowing && scroller.scrollTop > 0)) return;
    if (scroller.scrollTop < NEAR) {
      if (start > 0) {
        start = Math.max(0, start - ROWS_STEP);
        if (end - start > ROWS_MAX) end = start + ROWS_MAX;
        keepingPlace(draw);
      } else if (snapshot.hasMore && !snapshot.isLoading && !snapshot.error) {
        actions.older();
      }
    } else if (end < items.length && scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR) {
      end = Math.min(items.length, end + ROWS_STEP);
      start = Math.max(start, end - ROWS_MAX);
      keepingPlace(draw);
    }
  }

  /** Does something to the rows; what the reader looks at stays where it is. */
  function keepingPlace(work) {
    const top = scroller.getBoundingClientRect().top;
    // Of the text, not of the row: a row loses its day where an earlier one of that day comes before it.
    const placeOf = (node) => node.querySelector('.bubble-line').getBoundingClientRect().top;
    const visible = [...list.children].filter((node) => node.getBoundingClientRect().bottom > top).slice(0, 40);
    const places = visible.map(placeOf);
    work();
    const kept = visible.findIndex((node) => node.isConnected);
    if (kept < 0) return;
    const moved = placeOf(visible[kept]) - places[kept];
    if (moved !== 0) scroller.scrollTop += moved;
    scrolledTo = scroller.scrollTop;
  }

  /** Tells what was really on the screen of a page that is really seen. */
  function look() {
    if (!isOpen || document.visibilityState !== 'visible' || scroller.offsetParent === null) return;
    const bottom = scroller.getBoundingClientRect().bottom;
    if (isFollowing) seenThrough = Math.max(seenThrough, lastPlace());
    for (let index = end - 1; index >= start; index -= 1) {
      const message = items[index];
      if (message.isOwn || message.sequenceNumber === undefined) continue;
      if (message.sequenceNumber <= readThrough) return;
      const node = rows.get(keyOf(message))?.node;
      if (!node || node.getBoundingClientRect().top > bottom - 12) continue;
      readThrough = message.sequenceNumber;
      seenThrough = Math.max(seenThrough, message.sequenceNumber);
      actions.read(message);
      drawNewer();
      return;
    }
  }

  function drawNewer() {
    let unseen = 0;
    for (let index = items.length - 1; index >= 0 && !(items[index].sequenceNumber <= seenThrough); index -= 1) {
      if (!items[index].isOwn) unseen += 1;
    }
    const isAway = !isFollowing && (end < items.length || scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight > scroller.clientHeight);
    newer.hidden = isFollowing || (unseen === 0 && !isAway);
    const says = unseen > 0 ? count(unseen, 'new message') : 'Newest messages';
    if (newer.textContent !== says) newer.replaceChildren(icon('down'), says);
  }

  /** Many changes of one frame are drawn once. */
  function take(next) {
    pendingSnapshot = next;
    // There is nothing to see yet: what is there is shown without a frame of emptiness.
    if (snapshot === null || items.length === 0) takePending();
    soon();
  }

  function takePending() {
    if (!pendingSnapshot) return;
    const next = pendingSnapshot;
    pendingSnapshot = null;
    const isFirst = snapshot === null || (items.length === 0 && next.items.length > 0);
    const before = items;
    snapshot = next;
    items = next.items;
    if (isFirst && items.length > 0) {
      lineKey = firstUnread();
      windowToEnd();
      announcedThrough = lastPlace();
    } else if (items !== before) {
      if (!isFollowing) keepWindow(before);
      else if (items[start]?.id === before[start]?.id && items.length - start <= ROWS_MAX) end = items.length;
      else windowToEnd();
    }
    const needsAnchor = !isFirst && !isFollowing;
    if (needsAnchor) keepingPlace(draw);
    else draw();
    if (isFirst && items.length > 0) toBeginning();
    else if (isFollowing) toEnd();
    announceNew();
  }

  /** Where the conversation is opened: at what is unread, otherwise at the end. */
  function toBeginning() {
    toEnd();
    const line = rows.get(lineKey)?.node;
    if (!line) return;
    const above = line.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
    if (above >= 0) return;
    scroller.scrollTop += above - 12;
    scrolledTo = scroller.scrollTop;
    isFollowing = atEnd();
    seenThrough = readThrough;
  }

  function firstUnread() {
    let left = unreadAtOpening;
    let key = null;
    for (let index = items.length - 1; index >= 0 && left > 0; index -= 1) {
      const message = items[index];
      if (message.isOwn || message.deleted) continue;
      left -= 1;
      key = keyOf(message);
    }
    // With more unread ones than are here, the line would say something wrong.
    return left === 0 ? key : null;
  }

  /** The same rows, wherever they are in the new list. */
  function keepWindow(before) {
    const length = end - start;
    const wasAtEnd = end === before.length;
    for (let index = start; index < end; index += 1) {
      const { id, senderWallet } = before[index];
      const place = items.findLastIndex((message) => message.id === id && message.senderWallet === senderWallet);
      if (place < 0) continue;
      start = Math.max(0, place - (index - start));
      end = Math.min(items.length, start + (wasAtEnd ? Math.max(length, ROWS_MAX) : length));
      return;
    }
    windowToEnd();
  }

  /** Makes the rows say what the window holds. Rows of unchanged messages are left alone. */
  function draw() {
    const shown = items.slice(start, end);
    const lastOwn = items.findLast((message) => message.isOwn && !message.deleted);
    const kept = new Set();
    let place = list.firstChild;
    shown.forEach((message, index) => {
      let key = keyOf(message);
      while (kept.has(key)) key += '+';
      kept.add(key);
      const before = items[start + index - 1];
      const isNewDay = !before || dayKeyOf(before.timestamp) !== dayKeyOf(message.timestamp);
      const isLine = key === lineKey;
      const isApart = isNewDay || before.senderWallet !== message.senderWallet || Math.abs(new Date(message.timestamp) - new Date(before.timestamp)) > TOGETHER_MS;
      const node = rowOf(key, message, { isNewDay, isFirst: isLine || isApart, isLine, isLastOwn: message === lastOwn });
      if (node === place) place = place.nextSibling;
      else list.insertBefore(node, place);
    });
    for (const [key, row] of rows) {
      if (kept.has(key)) continue;
      row.node.remove();
      rows.delete(key);
    }
    rover.update();
    drawEnds();
  }

  function drawEnds() {
    if (!snapshot) return;
    empty.hidden = items.length > 0 || snapshot.isLoading;
    const hint = gap?.blank ? gap.blank : gap?.waits ? 'Nothing of this conversation can be read here yet.' : gap?.isLost ? LOST : NOTHING;
    if (empty.textContent !== hint) empty.textContent = hint;
    const isBusy = String(snapshot.isLoading);
    if (list.getAttribute('aria-busy') !== isBusy) list.setAttribute('aria-busy', isBusy);
    const says = snapshot.error
      ? snapshot.error.userMessage
      : snapshot.isLoading
        ? 'Loading…'
        : snapshot.hasMore || start > 0 || items.length === 0
          ? ''
          : gap?.blank ? gap.earlier : gap?.waits ? 'More was written before, and waits for its key.' : gap?.isLost ? LOST : 'The beginning of this conversation';
    if (older.dataset.says === says) return;
    older.dataset.says = says;
    const had = older.contains(document.activeElement);
    older.replaceChildren(says, ...(snapshot.error ? [' ', el('button', { type: 'button', class: 'quiet', onclick: () => actions.older() }, 'Try again')] : []));
    if (had) (older.querySelector('button') ?? list.firstElementChild)?.focus({ preventScroll: true });
  }

  /** The parts of a row are changed one by one: a press that began on a button ends on the same one. */
  function rowOf(key, message, place) {
    let row = rows.get(key);
    if (!row) {
      serial += 1;
      const ids = ['author', 'text', 'meta'].map((part) => `message-${serial}-${part}`);
      row = { node: el('li', { class: 'row', tabindex: '-1', 'aria-labelledby': ids.join(' ') }), ids, parts: {}, made: {} };
      rows.set(key, row);
    }
    if (row.message === message && Object.entries(place).every(([name, value]) => row[name] === value)) return row.node;
    Object.assign(row, { message, ...place });
    fill(row);
    return row.node;
  }

  function fill(row) {
    const { node, ids, message, ...place } = row;
    const { isOwn, text, deleted, status, versions } = message;
    const focused = node !== document.activeElement && node.contains(document.activeElement) ? document.activeElement.dataset.does : null;
    node.className = `row ${isOwn ? 'is-mine' : 'is-theirs'}${place.isFirst ? ' is-first' : ''} is-${status}`;
    node.dataset.messageId = message.id;
    const hasTools = isOwn && !deleted && status !== 'failed';
    const day = place.isNewDay ? dayOf(message.timestamp) : null;
    const reason = status === 'failed' ? (message.error?.userMessage ?? '') : null;
    put(row, 'day', day, () => el('h3', { class: 'day' }, day));
    put(row, 'line', place.isLine || null, () => el('p', { class: 'line' }, 'New messages'));
    const isNamed = isGroup && !isOwn && place.isFirst;
    put(row, 'author', `${isOwn} ${isNamed}`, () => author(message, ids[0], isNamed));
    put(row, 'bubble', `${hasTools} ${deleted} ${text}`, () => el('div', { class: 'bubble-line' }, bubble(message, ids[1]), hasTools ? tools(row) : null));
    put(row, 'meta', `${message.timestamp} ${status} ${message.edited} ${deleted} ${message.pendingEdit} ${place.isLastOwn} ${message.readBy?.length} ${row.showsReaders} ${isOut}`, () => meta(row));
    const readers = row.showsReaders && isGroup && message.readBy ? message.readBy.map(short).join(', ') : null;
    put(row, 'readers', readers, () => el('p', { class: 'readers' }, `Read by ${readers}`));
    put(row, 'trouble', reason, () => trouble(row, reason));
    put(row, 'conflict', versions.length > 1 ? JSON.stringify(versions) : null, () => conflict(row));
    if (focused && !node.contains(document.activeElement)) (node.querySelector(`[data-does="${focused}"]`) ?? node).focus({ preventScroll: true });
  }

  /** Seen in a group, where another one begins to write; otherwise heard. */
  function author({ isOwn, senderWallet }, id, isNamed) {
    if (isNamed) return el('p', { class: `author ${hueOf(senderWallet)}`, title: senderWallet, id }, short(senderWallet));
    return el('span', { class: 'sr', id }, isOwn ? 'You: ' : `${short(senderWallet)}: `);
  }

  /** Makes a part of a row anew where what it is made `from` is another than before; `null` is no such part. */
  function put(row, name, from, make) {
    if (row.made[name] === from) return;
    row.made[name] = from;
    const old = row.parts[name];
    const fresh = from === null ? null : make();
    row.parts[name] = fresh;
    if (old && fresh) old.replaceWith(fresh);
    else if (old) old.remove();
    else if (fresh) row.node.insertBefore(fresh, PARTS.slice(PARTS.indexOf(name) + 1).map((next) => row.parts[next]).find(Boolean) ?? null);
  }

  function bubble(message, id) {
    if (message.deleted) return el('div', { class: 'bubble is-deleted' }, el('em', { id }, 'Deleted'));
    return el('div', { class: 'bubble' }, el('p', { class: 'text', dir: 'auto', id }, message.text));
  }

  function meta(row) {
    const { timestamp, isOwn, edited, deleted, pendingEdit, status, readBy } = row.message;
    const isRead = isGroup && readBy?.length > 0;
    const says = isOut && (status === 'queued' || status === 'sending') ? OUT_OF_IT : STATUS[status];
    const hasWord = !isRead && (row.isLastOwn || status === 'queued' || status === 'sending' && isOut || status === 'failed');
    return el(
      'p',
      { class: 'meta', id: row.ids[2] },
      el('time', { datetime: timestamp, title: wholeTimeOf(timestamp) }, clockOf(timestamp)),
      edited && !deleted ? el('span', {}, 'Edited') : null,
      pendingEdit ? el('span', { class: 'status is-queued' }, icon('queued'), 'Change waiting') : null,
      isOwn ? el('span', { class: `status is-${status}`, title: says }, icon(status), el('span', { class: hasWord ? null : 'sr' }, says)) : null,
      isRead ? whoRead(row) : null,
    );
  }

  /** How many have read it; pressed, it says who. */
  function whoRead(row) {
    const { status, readBy } = row.message;
    const toggle = () => {
      row.showsReaders = !row.showsReaders;
      fill(row);
      if (isFollowing) toEnd();
    };
    const says = status === 'read' ? 'Read by all' : `Read by ${readBy.length}`;
    return el('button', { type: 'button', class: 'quiet', 'data-does': 'readers', 'aria-expanded': String(row.showsReaders === true), onclick: toggle }, says);
  }

  function tools(row) {
    const button = (does, label, work) =>
      el('button', { type: 'button', class: 'square', 'data-does': does, 'aria-label': label, title: label, onclick: () => work(row.message) }, icon(does));
    return el('span', { class: 'tools' }, button('pencil', 'Edit', actions.edit), button('bin', 'Delete', actions.remove));
  }

  /** Of a message that the relay refused: why, and what can be done. */
  function trouble(row, reason) {
    const button = (does, label, work) => el('button', { type: 'button', class: 'quiet', 'data-does': does, onclick: () => work(row.message) }, label);
    return el('p', { class: 'trouble' }, reason, button('retry', 'Send again', actions.retry), button('discard', 'Discard', actions.discard));
  }

  function conflict(row) {
    const { isOwn, versions } = row.message;
    const keep = (version, place) =>
      el(
        'button',
        { type: 'button', class: 'quiet', 'data-does': `keep-${place}`, 'aria-label': `Keep version ${place}`, onclick: () => actions.resolve(row.message, version) },
        'Keep',
      );
    return el(
      'div',
      { class: 'versions' },
      el('p', {}, icon('fork'), isOwn ? 'Changed in two places. Which one stays?' : 'Changed in two places by its author.'),
      ...versions.map((version, index) =>
        el(
          'div',
          { class: 'version' },
          el('p', {}, version.deleted ? el('em', {}, 'Deleted') : bdi(snippet(version.text, 200)), index === 0 ? el('small', {}, ' shown now') : null),
          isOwn ? keep(version, index + 1) : null,
        ),
      ),
    );
  }

  function announceNew() {
    const through = lastPlace();
    if (announcedThrough === null) return;
    const fresh = items.slice(-50).filter((message) => !message.isOwn && !message.deleted && message.sequenceNumber > announcedThrough);
    announcedThrough = Math.max(announcedThrough, through);
    if (fresh.length > 0) actions.announce(fresh);
  }

  /** The next row for the keyboard, which may not be in the page yet. */
  async function stepTo(row, way) {
    if (way === Infinity) {
      toEnd();
      return list.lastElementChild;
    }
    if (way === -1 && row === list.firstElementChild && (start > 0 || snapshot.hasMore)) {
      isFollowing = false;
      if (start === 0) await actions.older();
      takePending();
      keepingPlace(() => {
        start = Math.max(0, start - ROWS_STEP);
        end = Math.min(end, start + ROWS_MAX);
        draw();
      });
      return row.previousElementSibling;
    }
    if (way === 1 && row === list.lastElementChild && end < items.length) {
      keepingPlace(() => {
        end = Math.min(items.length, end + ROWS_STEP);
        start = Math.max(start, end - ROWS_MAX);
        draw();
      });
      return row.nextElementSibling;
    }
    return null;
  }

  return {
    /** Begins with a conversation of which so many messages are unread, which may be a group. */
    open(unreadCount, isOfGroup) {
      isOpen = true;
      isGroup = isOfGroup;
      snapshot = pendingSnapshot = null;
      items = [];
      start = end = 0;
      isFollowing = true;
      unreadAtOpening = unreadCount;
      lineKey = null;
      seenThrough = 0;
      announcedThrough = null;
      readThrough = 0;
      rows.clear();
      list.replaceChildren();
      newer.hidden = true;
    },
    /** Nothing of it stays in the page. */
    close() {
      isOpen = false;
      rows.clear();
      list.replaceChildren();
      items = [];
      start = end = 0;
      snapshot = pendingSnapshot = null;
    },
    take,
    /** What this device keeps of it and cannot read: what waits for a key, and whether some is lost for good. */
    lacks(now) {
      gap = now;
      drawEnds();
    },
    /** Whether this device is out of the account. */
    removed(isIt) {
      if (isOut === isIt) return;
      isOut = isIt;
      for (const row of rows.values()) fill(row);
    },
    toEnd,
    lastOwn: () => (pendingSnapshot?.items ?? items).findLast((message) => message.isOwn && !message.deleted && message.status !== 'failed'),
  };
}
