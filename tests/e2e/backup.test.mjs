// A relay whose journal was restored from an older backup, and pages that have more than it.
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { until } from './harness/wait.mjs';

const stage = scene({ auth: 'wallet' });

const options = () => ({ config: { domains: [new URL(stage.relay.url).host], encryption: 'off' } });

const texts = async (device) => (await device.list()).map(({ text }) => text);
const have = (devices, count) => until(`all have ${count}`, async () => (await Promise.all(devices.map(texts))).every((list) => list.length === count));
const isTold = (device) => until('it is told', async () => (await device.events('onWarning')).some(([{ code }]) => code === 'RELAY_ROLLED_BACK'));

/** Runs `work`, and then goes on with the journal as it was before. */
async function forgetting({ relay }, work) {
  const backup = `${relay.journal}-backup`;
  await relay.pause();
  cpSync(relay.journal, backup);
  await relay.start();
  await work();
  await relay.pause();
  for (const suffix of ['-wal', '-shm']) rmSync(relay.journal + suffix, { force: true });
  cpSync(backup, relay.journal);
  await relay.start();
}

test('what a restored backup forgot comes back, once', { timeout: 90_000 }, async (t) => {
  const { device } = cast(t, stage);
  const [alice, bob] = [await device('alice', options()), await device('bob', options())];
  // A second tab of bob's: it works through the first.
  const follower = await device('bob', { ...options(), config: { ...options().config, databaseName: bob.config.databaseName }, joins: true });
  const all = [alice, bob, follower];
  await alice.send('one');
  await have(all, 1);
  const [{ id }] = await alice.list();
  await alice.call('editMessage', alice.sessionId, id, 'one, edited');
  await until('the edit is there', async () => (await texts(bob)).includes('one, edited'));
  await forgetting(stage, async () => {
    await alice.send('two', 'three');
    await have(all, 3);
    await bob.send('four');
    await have(all, 4);
    // What was acknowledged is stored a little later; until then it is in the outbox, and not offered again but sent again.
    await until('all is stored', async () => (await Promise.all(all.map((one) => one.state()))).every(({ cursor }) => cursor === 5));
  });
  await Promise.all(all.map(isTold));
  assert.equal(await alice.call('acceptRelayLog'), 2);
  assert.equal(await follower.call('acceptRelayLog'), 1, 'a tab asks the one that owns');
  await have(all, 4);
  await alice.send('five');
  await bob.send('six');
  await have(all, 6);
  const [first, ...rest] = await Promise.all(all.map(texts));
  assert.deepEqual(first.toSorted(), ['five', 'four', 'one, edited', 'six', 'three', 'two']);
  for (const list of rest) assert.deepEqual(list, first);
  for (const [one, other] of [[alice, ['four', 'six']], [bob, ['one, edited', 'two', 'three', 'five']], [follower, ['one, edited', 'two', 'three', 'five']]]) {
    const names = (await one.list()).filter(({ text }) => other.includes(text)).map(({ id }) => id);
    assert.deepEqual(one.heard.filter((id) => names.includes(id)).toSorted(), names.toSorted(), 'each was told of once');
  }
  assert.equal(await alice.call('acceptRelayLog'), 0);
  await alice.reload();
  assert.deepEqual(await texts(alice), first, 'what is stored opens again');
});
