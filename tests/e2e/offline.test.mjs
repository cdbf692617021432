// Writing without a network, and what becomes of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { converge, duplicates, texts } from './harness/lists.mjs';
import { until } from './harness/wait.mjs';

const stage = scene();

for (const enableCompression of [true, false]) {
  const options = { config: { enableCompression } };
  test(`messages written offline arrive once after a reload (I2, I3, I6, I8), compression ${enableCompression ? 'on' : 'off'}`, { timeout: 60_000 }, async (t) => {
    const { device } = cast(t, stage);
    const bob = await device('bob', options);
    const alice = await device('alice', { ...options, offline: true });
    const written = texts('written offline', 30);
    const ids = await alice.sendAtOnce(written);
    assert.equal((await alice.state()).queued, 30);

    await alice.reload();
    assert.equal((await alice.state()).queued, 30, 'the queue count is true after a reload (I13)');
    assert.deepEqual((await alice.list()).map(({ id, text, status }) => ({ id, text, status })), written.map((text, index) => ({ id: ids[index], text, status: 'queued' })));

    await alice.setOffline(false);
    const list = await converge([alice, bob], 30);
    assert.deepEqual(list.map(({ text }) => text), written, 'in the order they were written (I8)');
    assert.deepEqual(list.map(({ id }) => id), ids, 'under the ids that sendMessage gave');
    assert.deepEqual(bob.heard, ids, 'each heard once, in order (I6)');
    assert.deepEqual(alice.heard, [], 'own messages are not heard');

    for (const each of [alice, bob]) await each.reload();
    await converge([alice, bob], 30);
    assert.deepEqual(bob.heard, ids, 'not heard again after a reload (I6)');
  });
}

test('the queue count falls steadily to zero while messages drain (I13)', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { offline: true, config: { maxBatchSize: 10 } });
  await alice.send(...texts('note', 25));
  assert.deepEqual((await alice.events('onQueueChanged')).at(-1), [25]);
  await alice.setOffline(false);
  await converge([alice], 25);
  const counts = (await alice.events('onQueueChanged')).flat();
  assert.equal(counts.at(-1), 0);
  assert.deepEqual(counts.slice(counts.indexOf(25)), [...counts.slice(counts.indexOf(25))].sort((a, b) => b - a), 'it only falls while nothing is written');
});

test('a page that starts offline connects to nothing', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const bob = await device('bob');
  const alice = await device('alice');
  await until('it is online', async () => (await alice.state()).connection === 'connected');
  // As the page of an application has it: it says nothing more of being offline.
  Object.assign(alice, { joins: true, config: { ...alice.config, startOffline: true } });
  const sockets = [];
  alice.page.on('websocket', (socket) => sockets.push(socket.url()));
  await alice.reload();
  await alice.send('written offline');
  assert.equal((await alice.state()).connection, 'offline');
  assert.deepEqual(sockets, []);
  await alice.setOffline(false);
  await converge([alice, bob], 1);
});

test('syncMessages and processQueuedMessages resolve with the acknowledged count', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const bob = await device('bob');
  const alice = await device('alice', { offline: true });
  await alice.send('one', 'two', 'three');
  // In one go: a moment later they may be sent already.
  const sent = await alice.page.evaluate(async () => {
    const { sdk, must } = globalThis.device;
    must(sdk.setOffline(false));
    return must(await sdk.processQueuedMessages());
  });
  assert.equal(sent, 3);
  assert.equal((await alice.state()).queued, 0);
  assert.ok((await bob.call('syncMessages')) <= 3);
  assert.equal((await bob.state()).cursor, 3);
  assert.equal(await bob.call('syncMessages', bob.sessionId), 0, 'nothing is left to sync');
  const status = await bob.page.evaluate(() => {
    const { syncInProgress, lastSyncAt, queuedMessageCount } = globalThis.device.must(globalThis.device.sdk.getSyncStatus());
    return { syncInProgress, isDate: lastSyncAt instanceof Date, recent: Math.abs(Date.now() - lastSyncAt) < 60_000, queuedMessageCount };
  });
  assert.deepEqual(status, { syncInProgress: false, isDate: true, recent: true, queuedMessageCount: 0 });
});

test('a status goes from queued to read and never back (I15)', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { offline: true });
  const [id] = await alice.send('do you read me');
  assert.equal(await alice.call('getMessageStatus', id), 'queued');
  await alice.setOffline(false);
  await until('the relay has it', async () => (await alice.call('getMessageStatus', id)) === 'sent');

  const bob = await device('bob');
  await until('a device of the other wallet has it', async () => (await alice.call('getMessageStatus', id)) === 'delivered');
  assert.deepEqual(bob.heard, [id]);

  await bob.call('markMessageAsRead', id);
  await until('the other one saw it', async () => (await alice.call('getMessageStatus', id)) === 'read');
  await bob.call('updateMessageStatus', id, 'delivered');
  const told = (await alice.events('onStatusChanged')).filter(([, messageId]) => messageId === id).map(([, , status]) => status);
  const rank = ['queued', 'sending', 'sent', 'delivered', 'read'];
  assert.deepEqual(told, [...told].sort((a, b) => rank.indexOf(a) - rank.indexOf(b)));
  assert.deepEqual(duplicates(told), []);
  assert.equal(told.at(-1), 'read');

  await alice.reload();
  assert.equal(await alice.call('getMessageStatus', id), 'read', 'known after a reload');
});

test('the stored log can be read without a relay', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const bob = await device('bob');
  const alice = await device('alice');
  await alice.send(...texts('kept', 12));
  const list = await converge([alice, bob], 12);
  bob.offline = true;
  await bob.reload();
  assert.deepEqual((await bob.list()).map(({ id }) => id), list.map(({ id }) => id));
});
