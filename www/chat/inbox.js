// The list of conversations. A row is made anew only when its conversation is another object than before.

import { bdi, count, el, icon, snippet } from '../dom.js';
import { roving } from './roving.js';
import { briefTimeOf, isGroup, OUT, pictureOf, short, STATUS, titleOf } from './words.js';

const SNIPPET = 90;
const UNREAD_SHOWN = 99;

/** `open(conversation)` shows one; `answer(conversation, 'accept' | 'decline' | 'block')` answers an invitation; `own()` is the wallet that is connected. */
export function createInbox({ open, answer, own }) {
  const list = document.getElementById('conversations');
  const rows = new Map(); // session id to { node, conversation, isCurrent }
  const rover = roving(list, '.row-main, .answers button:first-child');
  let current = null;

  function rowOf(conversation) {
    const isCurrent = conversation.sessionId === current;
    let row = rows.get(conversation.sessionId);
    if (!row) rows.set(conversation.sessionId, (row = { node: el('li', { class: 'conversation-row' }) }));
    if (row.conversation === conversation && row.isCurrent === isCurrent) return row.node;
    Object.assign(row, { conversation, isCurrent });
    const focused = row.node.contains(document.activeElement) ? document.activeElement.dataset.does : null;
    row.node.className = `conversation-row is-${conversation.state}`;
    if (conversation.state === 'invited') {
      row.entry = null;
      row.node.replaceChildren(...invitation(conversation));
    } else {
      if (!row.entry) row.node.replaceChildren((row.entry = el('button', { type: 'button', 'data-does': 'open', onclick: () => open(row.conversation) })));
      // The button stays: a press that began on it ends on it.
      fillEntry(row.entry, conversation, isCurrent);
    }
    if (focused && !row.node.contains(document.activeElement)) row.node.querySelector(`[data-does="${focused}"]`)?.focus();
    return row.node;
  }

  function fillEntry(entry, conversation, isCurrent) {
    const { peerWallet, lastMessage, unreadCount } = conversation;
    const isUnread = unreadCount > 0;
    entry.className = `row-main${isUnread ? ' is-unread' : ''}`;
    if (isCurrent) entry.setAttribute('aria-current', 'true');
    else entry.removeAttribute('aria-current');
    entry.replaceChildren(
      pictureOf(conversation),
      el('span', { class: 'row-name', title: peerWallet }, bdi(titleOf(conversation, own()))),
      el('span', { class: 'row-time' }, el('span', { class: 'sr' }, ', '), lastMessage ? briefTimeOf(lastMessage.timestamp) : ''),
      el('span', { class: 'row-last' }, el('span', { class: 'sr' }, '. '), ...lastOf(lastMessage, conversation)),
      isUnread
        ? el(
            'span',
            { class: 'badge' },
            el('span', { 'aria-hidden': 'true' }, unreadCount > UNREAD_SHOWN ? `${UNREAD_SHOWN}+` : String(unreadCount)),
            el('span', { class: 'sr' }, `. ${count(unreadCount, 'unread message')}`),
          )
        : '',
    );
  }

  function lastOf(message, conversation) {
    if (conversation.state === 'ended') return [el('em', {}, OUT[conversation.membership] ?? 'Ended')];
    if (!message) return [el('em', {}, 'Nothing to read yet')];
    return [
      message.isOwn ? icon(message.status) : null,
      message.isOwn ? el('span', { class: 'sr' }, `You (${STATUS[message.status]}): `) : null,
      !message.isOwn && isGroup(conversation) ? el('span', { class: 'row-author' }, `${short(message.senderWallet)}: `) : null,
      message.deleted ? el('em', {}, 'Deleted') : bdi(snippet(message.text, SNIPPET)),
    ].filter((child) => child !== null);
  }

  function invitation(conversation) {
    const { peerWallet } = conversation;
    const name = titleOf(conversation, own());
    const button = (what, label, kind) =>
      el('button', { type: 'button', class: `${kind} small`, 'data-does': what, 'aria-label': `${label} ${name}`, onclick: () => answer(conversation, what) }, label);
    return [
      el(
        'p',
        { class: 'invited' },
        pictureOf(conversation),
        el('span', {}, el('span', { class: 'row-name', title: peerWallet }, short(peerWallet)), ...(isGroup(conversation) ? [' invites you to ', bdi(name), '.'] : [' wants to talk to you.'])),
      ),
      el(
        'p',
        { class: 'answers', role: 'group', 'aria-label': `Invitation of ${name}` },
        button('accept', 'Accept', 'primary'),
        button('decline', 'Decline', 'secondary'),
        button('block', 'Block', 'secondary'),
      ),
    ];
  }

  return {
    render(conversations, currentSession) {
      current = currentSession;
      // Who waits for an answer comes first.
      const items = [...conversations].sort((one, other) => (other.state === 'invited') - (one.state === 'invited'));
      const kept = new Set(items.map((conversation) => conversation.sessionId));
      for (const [sessionId, row] of rows) {
        if (kept.has(sessionId)) continue;
        row.node.remove();
        rows.delete(sessionId);
      }
      let place = list.firstChild;
      for (const conversation of items) {
        const node = rowOf(conversation);
        if (node === place) place = place.nextSibling;
        else moveBefore(list, node, place);
      }
      rover.update();
    },
    focus(sessionId) {
      const row = rows.get(sessionId)?.node ?? list.firstChild;
      const target = row?.querySelector('button') ?? document.getElementById('side-title');
      target.focus();
    },
  };
}

/** Moves a node and keeps the focus in it. */
function moveBefore(parent, node, place) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  parent.insertBefore(node, place);
  focused?.focus({ preventScroll: true });
}
