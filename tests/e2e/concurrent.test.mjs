// Devices that write without knowing of each other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { converge, texts } from './harness/lists.mjs';
import { until } from './harness/wait.mjs';

const stage = scene();

/** What a device was told of conflicts, in a form that does not depend on when. */
async function conflictsOf(device, kind) {
  const told = (await device.events('onConflictDetected')).flatMap(([, conflicts]) => conflicts).filter((conflict) => conflict.kind === kind);
  return told
    .map(({ messageId, sequenceNumber, concurrentWith, resolution }) => ({ messageId, sequenceNumber, concurrentWith, resolution }))
    .sort((a, b) => a.sequenceNumber - b.sequenceNumber);
}

/** Waits until that many conflicts of that kind were told on each device; asserts that all were told the same (I12). */
async function agreeOnConflicts(devices, kind, count) {
  const all = [];
  for (const device of devices) {
    await until(`${device.name} reports ${count} conflicts`, async () => (await conflictsOf(device, kind)).length >= count);
    all.push(await conflictsOf(device, kind));
  }
  for (const conflicts of all.slice(1)) assert.deepEqual(conflicts, all[0]);
  assert.equal(all[0].length, count);
  return all[0];
}

test('concurrent offline messages give equal lists and conflicts everywhere (I9, I12)', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  const witness = await device('bob');
  await alice.send('hello');
  await converge([alice, bob, witness], 1);

  await alice.setOffline(true);
  await bob.setOffline(true);
  await alice.send(...texts('alice', 3));
  await bob.send(...texts('bob', 2));
  await alice.setOffline(false);
  await converge([alice, witness], 4);
  await bob.setOffline(false);
  const list = await converge([alice, bob, witness], 6);

  for (const writer of [alice, bob]) {
    assert.deepEqual(list.filter(({ id }) => writer.sent.includes(id)).map(({ id }) => id), writer.sent, 'in the order of their writer (I8)');
  }
  const conflicts = await agreeOnConflicts([alice, bob, witness], 'concurrent_messages', 2);
  assert.deepEqual(conflicts.map(({ messageId }) => messageId), bob.sent, 'reported for those that did not know of what stood before them');
  assert.deepEqual(conflicts.map(({ concurrentWith }) => concurrentWith), [{ from: 2, to: 4 }, { from: 2, to: 5 }], 'the part of the log that they did not know');
});

test('devices that write at the same time show one list (I9)', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const devices = [await device('alice'), await device('bob'), await device('alice'), await device('bob')];
  await Promise.all(devices.map((each, index) => each.send(...texts(`device ${index}`, 40))));
  const list = await converge(devices, 160);
  for (const each of devices) {
    const own = new Set(each.sent);
    assert.deepEqual(list.filter(({ id }) => own.has(id)).map(({ id }) => id), each.sent, 'in the order of their writer (I8)');
    assert.deepEqual([...each.heard].sort(), list.filter(({ id }) => !own.has(id)).map(({ id }) => id).sort(), 'each of the others heard once (I6)');
  }
});

for (const [strategy, winner] of [['vector_clock', 'later'], ['latest', 'later']]) {
  test(`${strategy} picks the same winner of concurrent edits everywhere (I12)`, { timeout: 60_000 }, async (t) => {
    const { device } = cast(t, stage);
    const options = { config: { conflictResolutionStrategy: strategy } };
    const phone = await device('alice', options);
    const laptop = await device('alice', options);
    const bob = await device('bob', options);
    const [id] = await phone.send('draft');
    await converge([phone, laptop, bob], 1);

    await phone.setOffline(true);
    await laptop.setOffline(true);
    await phone.call('editMessage', phone.sessionId, id, 'earlier');
    // Both know the same: the timestamp decides, and it must differ.
    const writtenMs = await phone.page.evaluate(() => Date.now());
    await laptop.page.waitForFunction((writtenMs) => Date.now() > writtenMs + 1, writtenMs);
    await laptop.call('editMessage', laptop.sessionId, id, 'later');
    await laptop.setOffline(false);
    await until('one version is everywhere it can be', async () => (await bob.list())[0].text === 'later');
    await phone.setOffline(false);

    for (const each of [phone, laptop, bob]) {
      await until(`${each.name} shows the winner`, async () => {
        const { cursor } = await each.state();
        return cursor === 3 && (await each.list())[0].text === winner;
      });
      const [message, ...rest] = await each.list();
      assert.deepEqual({ id: message.id, text: message.text, edited: message.edited, rest }, { id, text: winner, edited: true, rest: [] });
    }
    await agreeOnConflicts([phone, laptop, bob], 'concurrent_versions', 1);
  });
}

test('a manual conflict stays open everywhere until it is resolved', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const options = { config: { conflictResolutionStrategy: 'manual' } };
  const phone = await device('alice', options);
  const laptop = await device('alice', options);
  const bob = await device('bob', options);
  const everyone = [phone, laptop, bob];
  const [id] = await phone.send('draft');
  await converge(everyone, 1);
  for (const each of [phone, laptop]) await each.setOffline(true);
  await phone.call('editMessage', phone.sessionId, id, 'from the phone');
  await laptop.call('editMessage', laptop.sessionId, id, 'from the laptop');
  for (const each of [phone, laptop]) await each.setOffline(false);

  const shown = (each) => each.page.evaluate(async () => {
    const { sdk, must, sessionId } = globalThis.device;
    return must(await sdk.getStoredMessages(sessionId))[0];
  });
  for (const each of everyone) {
    await until(`${each.name} holds both versions`, async () => (await shown(each)).versions.length === 2);
    assert.deepEqual((await shown(each)).versions.map(({ text }) => text).sort(), ['from the laptop', 'from the phone']);
  }
  const [conflict] = await agreeOnConflicts(everyone, 'concurrent_versions', 1);
  assert.equal(conflict.resolution, undefined, 'open');

  await laptop.call('resolveConflict', laptop.sessionId, id, 'from both');
  for (const each of everyone) {
    await until(`${each.name} shows the resolution`, async () => (await shown(each)).text === 'from both');
    assert.ok((await shown(each)).versions.length <= 1, 'no conflict is left');
  }
});

test('a deleted message is deleted on every device', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  const [id] = await alice.send('never mind');
  await converge([alice, bob], 1);
  await alice.call('deleteMessage', alice.sessionId, id);
  await until('it is deleted at the other one', async () => (await bob.list())[0].deleted);
  assert.equal((await bob.list())[0].text, '');
});
