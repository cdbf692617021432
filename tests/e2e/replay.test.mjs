// The judge of the replay sees every kind of wrong: what it calls clean is clean.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from '../../scripts/replay-run.mjs';

const message = (id, sequenceNumber) => ({ id, text: `text of ${id}`, sequenceNumber, deleted: false });
const texts = new Map(['a1', 'a2', 'b1'].map((id) => [id, `text of ${id}`]));
const rows = (...ids) => ids.map((id, index) => message(id, index + 1));

/** Two devices, a and b, that show these lists; b heard these ids. */
async function verdict(listOfA, listOfB, heard = ['a1', 'a2']) {
  const device = (name, sent, list, heard) => ({ name, sent, heard, list: async () => list });
  const { lists, received, ...counts } = await judge({ devices: [device('a', ['a1', 'a2'], listOfA, ['b1']), device('b', ['b1'], listOfB, heard)], texts });
  return counts;
}

const clean = { sent: 3, acknowledged: 3, lost: 0, duplicated: 0, out_of_order: 0, altered: 0, unconfirmed: 0 };
const good = rows('a1', 'b1', 'a2');

test('equal lists with everything once and in order are clean', async () => {
  assert.deepEqual(await verdict(good, good), clean);
});

test('a message that one device lacks is lost', async () => {
  assert.deepEqual(await verdict(good, rows('a1', 'b1')), { ...clean, lost: 1, out_of_order: 1 });
});

test('a message without a sequence number counts as unacknowledged', async () => {
  const waiting = [message('a1', 1), message('b1', 2), message('a2', undefined)];
  assert.deepEqual(await verdict(waiting, good), { ...clean, acknowledged: 2 });
});

test('a message that is shown or heard twice is duplicated', async () => {
  const twice = rows('a1', 'b1', 'a2', 'a2');
  assert.deepEqual(await verdict(twice, twice), { ...clean, duplicated: 2 });
  assert.deepEqual(await verdict(good, good, ['a1', 'a2', 'a1']), { ...clean, duplicated: 1 });
});

test('disagreeing places and swapped messages count as out of order', async () => {
  assert.deepEqual(await verdict(good, rows('b1', 'a1', 'a2')), { ...clean, out_of_order: 2 });
  const swapped = rows('a2', 'b1', 'a1');
  assert.deepEqual(await verdict(swapped, swapped), { ...clean, out_of_order: 1 });
});

test('changed texts count as altered and extra ids as unconfirmed', async () => {
  const altered = good.map((each) => (each.id === 'b1' ? { ...each, text: 'something else' } : each));
  assert.deepEqual(await verdict(altered, altered), { ...clean, altered: 1 });
  const more = rows('a1', 'b1', 'a2', 'a3');
  assert.deepEqual(await verdict(more, more), { ...clean, unconfirmed: 1 });
});
