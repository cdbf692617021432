// The judge of the replay with tabs sees every kind of wrong, and a short replay is clean.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomFrom } from '../../scripts/corpus.mjs';
import { isClean, judgeTabs, replayTabs } from '../../scripts/replay-tabs.mjs';

/** Two pages of one device and another device, with three calls that were confirmed, one that failed and one that nobody knows of. */
function scene() {
  const call = (text, answer) => ({ text, answer });
  const lives = [
    { name: 'tab-1.1', isOver: false, calls: [call('one', { id: 'a1' }), call('refused', { code: 'STORAGE_BLOCKED' }), call('three', { id: 'a3' })] },
    { name: 'tab-2.1', isOver: true, calls: [call('unknown', null)] },
    { name: 'peer.1', isOver: false, calls: [call('theirs', { id: 'b1' })] },
  ];
  const rows = [['a1', 'one', 'alice'], ['b1', 'theirs', 'bob'], ['a3', 'three', 'alice']];
  const list = () => rows.map(([id, text, deviceId], index) => ({ id, text, deviceId, sequenceNumber: index + 1 }));
  const shown = () => list().map((message) => ({ ...message, status: 'delivered' })).slice(-2);
  const view = (name, device, id, heard) => ({ name, device, id, heard, list: list(), shown: shown(), sessions: [3], unread: [] });
  const views = [view('tab-1.1', 'shared', 'alice', ['b1']), view('tab-2.2', 'shared', 'alice', []), view('peer.1', 'peer', 'bob', ['a1', 'a3'])];
  return { lives, views };
}

/** What the judge counts of a scene after `change`. */
function verdict(change = () => {}) {
  const { lives, views } = scene();
  change(views, lives);
  const found = judgeTabs(lives, views);
  const { lost, duplicated, out_of_order, foreign, untrue, unanswered, unheard, unread, unequal } = found;
  const counts = { lost, duplicated, out_of_order, foreign, untrue, unanswered, unheard, unread, unequal };
  assert.equal(isClean(found), Object.values(counts).every((count) => count === 0));
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

/** The same for all that are open. */
const everywhere = (change) => (views) => {
  for (const view of views) change(view);
};

test('everything answered, once, in order, and equal is clean', () => {
  assert.deepEqual(verdict(), {});
  const { lives, views } = scene();
  const { sent, confirmed, failed, unknown, delivered } = judgeTabs(lives, views);
  assert.deepEqual({ sent, confirmed, failed, unknown, delivered }, { sent: 5, confirmed: 3, failed: 1, unknown: 1, delivered: 3 });
});

test('a confirmed message that one view lacks is lost', () => {
  assert.deepEqual(verdict(([, second]) => second.list.pop()), { lost: 1, out_of_order: 1, unequal: 1 });
});

test('a message that is there twice, or heard twice, is duplicated', () => {
  const again = (view) => {
    view.list.splice(1, 0, { ...view.list[0], id: 'a2', sequenceNumber: 1.5 });
    view.heard = view.heard.filter((id) => id !== 'a1');
  };
  assert.deepEqual(verdict(everywhere(again)), { duplicated: 3 });
  assert.deepEqual(verdict(([first]) => first.heard.push('b1')), { duplicated: 1, out_of_order: 1 });
});

test('another order than that of the calls, or of others, is wrong', () => {
  assert.deepEqual(verdict(everywhere((view) => {
    view.list.reverse();
    view.shown = view.list.slice(-2).map((message) => ({ ...message, status: 'delivered' }));
    view.heard.reverse();
  })), { out_of_order: 1 });
  assert.deepEqual(verdict(([, , peer]) => peer.heard.reverse()), { out_of_order: 1 });
});

test('a text that nobody wrote, and one whose call failed, are seen', () => {
  const more = (text) => everywhere((view) => {
    view.list.push({ id: 'x', text, deviceId: 'carol', sequenceNumber: 4 });
    view.shown = view.list.slice(-2).map((message) => ({ ...message, status: 'delivered' }));
    view.heard.push('x');
  });
  // The second tab heard nothing of what came before it began.
  assert.deepEqual(verdict(more('never written')), { foreign: 3 });
  assert.deepEqual(verdict(more('refused')), { untrue: 1, out_of_order: 1 });
});

test('a call without an answer in a page that lives is seen', () => {
  assert.deepEqual(verdict((views, [first]) => first.calls.push({ text: 'silence', answer: null })), { unanswered: 1 });
});

test('a message that a page was not told of is seen', () => {
  assert.deepEqual(verdict(([, , peer]) => peer.heard.pop()), { unheard: 1 });
});

test('a live list, a status, a session or a reading that differs is seen', () => {
  assert.deepEqual(verdict(([first]) => first.shown.shift()), {});
  assert.deepEqual(verdict(([first]) => (first.shown[0].text = 'other')), { unequal: 1 });
  assert.deepEqual(verdict(([first]) => (first.shown[1].status = 'sending')), { unequal: 1 });
  assert.deepEqual(verdict(([, second]) => second.sessions.push(4)), { unequal: 1 });
  assert.deepEqual(verdict(([first]) => first.unread.push(['one', null])), { unread: 1 });
});

for (const [engine, count] of [['chromium', 500], ['firefox', 200]]) {
  test(`tabs in ${engine} that are disturbed at random agree`, { timeout: 300_000 }, async () => {
    const messages = Array.from({ length: count }, (_, index) => ({ from: `writer ${index % 9}`, text: `text ${index}` }));
    const { ok, ...report } = await replayTabs(messages, { tabs: 5, engine, auth: 'wallet', random: randomFrom(15) });
    assert.ok(ok, JSON.stringify(report));
  });
}
