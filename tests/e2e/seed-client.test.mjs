// A client that knows only the seed's frames, in one session with devices of the SDK.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { converge, texts } from './harness/lists.mjs';
import { SeedClient } from './harness/seed-client.mjs';
import { until } from './harness/wait.mjs';

const stage = scene({ auth: 'open' });

/** A seed client in the session of `device`. */
async function seedClient(t, device, deviceId) {
  const client = new SeedClient(device.sessionId, deviceId);
  await client.connect(stage.relay.endpoint);
  t.after(() => client.close());
  return client;
}

test('a seed client catches up in its own frames', { timeout: 60_000 }, async (t) => {
  const alice = await cast(t, stage).device('alice');
  const ids = await alice.send('one', 'two', 'three');
  await converge([alice], 3);

  const seed = await seedClient(t, alice, 'seed-device');
  seed.announce();
  const { devices } = await seed.frame('a device_list', ({ type }) => type === 'device_list');
  assert.deepEqual(devices.filter(({ isOnline }) => isOnline).map(({ deviceId }) => deviceId).sort(), [alice.id, 'seed-device'].sort());

  seed.send('sync_request', { lastSyncedSequence: 1, syncVector: {} });
  const response = await seed.frame('a sync_response', ({ type }) => type === 'sync_response');
  assert.equal(response.deviceId, 'server');
  assert.equal(response.latestSequence, 3);
  assert.deepEqual(response.serverVectorClock, { [alice.id]: 3 });
  assert.deepEqual(response.messages.map(({ message, sequenceNumber, originalDeviceId }) => [message.id, message.ciphertext, sequenceNumber, originalDeviceId]), [
    [ids[1], 'two', 2, alice.id],
    [ids[2], 'three', 3, alice.id],
  ]);
  assert.equal(response.messages[0].message.sender_wallet, alice.wallet.address);
  await seed.frame('a completed sync_status', ({ type, status }) => type === 'sync_status' && status === 'completed');

  await until('the SDK lists the seed client', async () => {
    const listed = await alice.call('getDevices', alice.sessionId);
    return listed.some(({ deviceId, platform, isOnline }) => deviceId === 'seed-device' && platform === 'seed' && isOnline);
  });
});

test('messages a seed client sends twice reach the SDK once (I3)', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const alice = await device('alice');
  const seed = await seedClient(t, alice, 'seed-device');
  seed.announce();
  const messages = texts('from the seed', 3).map((ciphertext, index) => ({
    message: { id: `seed-message-${index}`, sender_wallet: wallets.bob.address, ciphertext, timestamp: new Date().toISOString(), session_id: alice.sessionId },
    sequenceNumber: index + 1,
    vectorClock: { 'seed-device': index + 1 },
    localTimestamp: Date.now(),
  }));
  seed.send('sync_update', { messages });
  const first = await seed.frame('a sync_ack', ({ type }) => type === 'sync_ack');
  assert.deepEqual(first.acknowledgedSequences, [1, 2, 3]);
  assert.deepEqual(first.acknowledgedMessageIds, messages.map(({ message }) => message.id));
  seed.send('sync_update', { messages });
  await until('the repeat is acknowledged', () => seed.frames.filter(({ type }) => type === 'sync_ack').length === 2);
  const second = seed.frames.filter(({ type }) => type === 'sync_ack')[1];
  assert.deepEqual(second.acknowledgedSequences, [1, 2, 3], 'as before (I4)');
  const list = await converge([alice], 3);
  assert.deepEqual(list.map(({ text }) => text), texts('from the seed', 3));
  assert.deepEqual(alice.heard, list.map(({ id }) => id));
});

test('live chat frames without a type go both ways', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const alice = await device('alice');
  const seed = await seedClient(t, alice, 'seed-device');
  seed.sendRaw({ roomId: alice.sessionId, message: 'typed live', sender: wallets.bob.address, timestamp: Date.now(), messageId: 'chat-1' });
  await until('the SDK shows it', async () => (await alice.list()).some(({ text }) => text === 'typed live'));
  const [id] = await alice.send('answered by the SDK');
  const chat = await seed.frame('the answer', ({ message }) => message === 'answered by the SDK');
  assert.equal(chat.type, undefined);
  assert.equal(chat.roomId, alice.sessionId);
  assert.equal(chat.sender, alice.wallet.address);
  assert.equal(chat.messageId, id);
  assert.equal(chat.sequenceNumber, 2);
});

test('the relay answers bad frames with errors and keeps serving', { timeout: 60_000 }, async (t) => {
  const alice = await cast(t, stage).device('alice');
  const bad = [
    'not json', '[]', '{"type":"no_such_type"}', '{"type":7}',
    `{"type":"sync_update","messages":${'['.repeat(200)}${']'.repeat(200)}}`,
    JSON.stringify({ type: 'sync_request', sessionId: alice.sessionId, deviceId: 'd', lastSyncedSequence: 0, syncVector: { d: -1 } }),
    JSON.stringify({ type: 'sync_request', sessionId: alice.sessionId, deviceId: 'd', lastSyncedSequence: 0, syncVector: { d: 1.5 } }),
    JSON.stringify({ type: 'sync_request', sessionId: alice.sessionId, deviceId: 'd', lastSyncedSequence: 0, syncVector: { d: 1e300 } }),
    JSON.stringify({ type: 'sync_request', sessionId: alice.sessionId, deviceId: 'd', lastSyncedSequence: 1, missingRanges: [{ start: 0.5, end: 1 }] }),
  ];
  const seed = await seedClient(t, alice, 'seed-device');
  for (const [index, frame] of bad.entries()) {
    seed.sendRaw(frame);
    await until(`an error for ${frame.slice(0, 60)}`, () => seed.frames.filter(({ error }) => error !== undefined).length > index);
    assert.equal(typeof seed.frames.at(-1).error, 'string');
  }
  seed.announce();
  await seed.frame('a device_list on the same socket', ({ type }) => type === 'device_list');

  // 10 MB are more than a frame may be: whoever sends them is cut off before they are held in memory (T9).
  const flood = await seedClient(t, alice, 'flooding-device');
  flood.sendRaw(JSON.stringify({ roomId: alice.sessionId, message: 'x'.repeat(10_000_000), sender: 'x', timestamp: 1 }));
  await until('the flood ends', () => !flood.isOpen || flood.frames.some(({ error }) => error !== undefined));
  await alice.send('still served');
  await converge([alice], 1);
});
