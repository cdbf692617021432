// Comparing what devices show.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { until } from './wait.mjs';

/** A short name for a list: equal exactly when ids, texts and places are. */
export function hashOf(list) {
  const rows = list.map(({ id, text, sequenceNumber, deleted }) => [id, text, sequenceNumber ?? null, deleted]);
  return createHash('sha256').update(JSON.stringify(rows)).digest('hex').slice(0, 12);
}

/** Waits until each device has sent everything and stored `count` messages; asserts that they show the same list (I9), and gives it. */
export async function converge(devices, count, deadlineMs = 30_000) {
  for (const device of devices) {
    let state;
    await until(`${device.name} has ${count} messages and an empty outbox`, async () => {
      state = await device.state();
      return state.queued === 0 && state.cursor >= count;
    }, deadlineMs).catch((error) => {
      throw new Error(`${error.message}; it is at ${JSON.stringify(state)}`);
    });
  }
  const lists = [];
  for (const device of devices) lists.push(await device.list());
  const [first, ...others] = lists;
  for (const list of others) assert.deepEqual(list.map(({ id, text }) => ({ id, text })), first.map(({ id, text }) => ({ id, text })));
  assert.deepEqual(first.map(({ sequenceNumber }) => sequenceNumber), Array.from({ length: count }, (_, index) => index + 1));
  return first;
}

export const idsOf = (list) => list.map(({ id }) => id);

/** All tabs (tab-device.mjs) and the peer have these messages and show the same, also in their live lists; each was heard once by the peer, in the order in which it was sent. */
export async function agree(tabs, peer, ids) {
  const list = await converge([...tabs, peer], ids.length);
  assert.deepEqual(idsOf(list).sort(), [...ids].sort());
  assert.deepEqual(duplicates(await peer.heardHere()), []);
  for (const tab of tabs) {
    let shown;
    await until('the list shows it', async () => {
      shown = await tab.shown();
      return shown.length === ids.length && shown.every(({ status }) => status === 'delivered');
    }).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify(shown?.slice(-5))} of ${shown?.length}`);
    });
    assert.deepEqual(idsOf(shown), idsOf(list));
  }
  return list;
}

export function duplicates(ids) {
  const seen = new Set();
  return ids.filter((id) => seen.size === seen.add(id).size);
}

/** Numbered texts: what is expected is seen at a glance. */
export function texts(prefix, count) {
  return Array.from({ length: count }, (_, index) => `${prefix} ${index + 1}`);
}
