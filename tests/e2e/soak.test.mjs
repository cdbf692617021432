// The judges of the soaks see every kind of wrong: what they call clean is clean.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare } from '../../scripts/soak-browser.mjs';
import { judge } from '../../scripts/soak-relay.mjs';

const rows = (...ids) => ids.map((id) => ({ id, text: `text of ${id}` }));
const written = rows('a1', 'a2', 'b1');
const clean = { acknowledged: 3, lost: 0, twice: 0, moved: 0, altered: 0, refused: 0 };

/** Two devices, whose messages were acknowledged at places 1, 2 and 3, and a journal with these entries. */
function verdict(log, { heard = rows('a1'), refusals = [] } = {}) {
  const devices = [
    { acknowledged: new Map([['a1', 1], ['a2', 3]]), log: heard, moved: 0, refusals },
    { acknowledged: new Map([['b1', 2]]), log: [], moved: 0, refusals: [] },
  ];
  return judge([{ sessionId: 'room', devices }], written, async () => log);
}

test('a journal with everything once at its place is clean', async () => {
  assert.deepEqual(await verdict(rows('a1', 'b1', 'a2')), clean);
});

test('an acknowledged message missing from its place counts as lost', async () => {
  assert.equal((await verdict(rows('a1', 'b1'))).lost, 2, 'not at its place, and nowhere');
  assert.equal((await verdict(rows('a1', 'a2', 'b1'))).lost, 2);
});

test('a repeated id or text counts as stored twice', async () => {
  assert.equal((await verdict(rows('a1', 'b1', 'a2', 'a2'))).twice, 2);
  assert.equal((await verdict([...rows('a1', 'b1', 'a2'), { id: 'a3', text: 'text of a2' }])).twice, 1);
});

test('altered texts, moved entries and refusals are counted', async () => {
  assert.equal((await verdict([...rows('a1', 'b1'), { id: 'a2', text: 'another' }])).altered, 1);
  assert.equal((await verdict(rows('a1', 'b1', 'a2'), { heard: rows('a1', 'a2') })).moved, 1);
  assert.equal((await verdict(rows('a1', 'b1', 'a2'), { refusals: ['COUNTER_GAP'] })).refused, 1);
});

test('lost, altered and doubled messages on a page are counted', () => {
  const texts = new Map(written.map(({ id, text }) => [id, text]));
  const counted = (list) => {
    const counts = { lost: 0, twice: 0, altered: 0 };
    compare(list, texts, counts);
    return counts;
  };
  assert.deepEqual(counted(rows('a1', 'a2', 'b1', 'unconfirmed')), { lost: 0, twice: 0, altered: 0 });
  assert.deepEqual(counted(rows('a1', 'b1')), { lost: 1, twice: 0, altered: 0 });
  assert.deepEqual(counted([...rows('a1', 'a2', 'b1'), { id: 'a3', text: 'text of a2' }]), { lost: 0, twice: 1, altered: 0 });
  assert.deepEqual(counted([...rows('a1', 'a2'), { id: 'b1', text: 'another' }]), { lost: 0, twice: 0, altered: 1 });
});
