// The seed's document, example by example, and what an application may bring of its own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { converge, texts } from './harness/lists.mjs';
import { until } from './harness/wait.mjs';

const stage = scene();

test('the flow of the seed\'s document works completely', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const bob = await device('bob', { offline: true });
  const peer = await bob.page.evaluate(async ({ relayEndpoint, peerWallet }) => {
    const { sync, must } = globalThis.device;
    const sdk = await sync.initializeSDK({ relayEndpoint, databaseName: 'complete-flow' });
    must(await sdk.initialize());
    const { kind, address } = must(await sdk.connectWallet());
    const session = must(await sdk.startSession({ peerWallet }));
    must(await sdk.enableAutoSync(session.session_id));
    must(await sdk.sendMessage(session.session_id, 'Hello!'));
    must(await sdk.syncMessages(session.session_id));
    const status = must(sdk.getSyncStatus());
    const processed = must(await sdk.processQueuedMessages());
    const same = sync.getSDK() === sdk && session.session_id === sync.sessionIdOf(address, peerWallet) && must(sdk.getCurrentWallet()) === address;
    must(await sdk.disableAutoSync(session.session_id));
    must(await sdk.disableAutoSync(session.session_id));
    must(await sdk.endSession(session.session_id));
    must(await sdk.disconnectWallet());
    await sync.cleanupSDK();
    return { kind, address, peer: session.peer_wallet, queued: status.queuedMessageCount, processed, same, gone: sync.getSDK() === null };
  }, { relayEndpoint: stage.relay.endpoint, peerWallet: wallets.bob.address });
  assert.deepEqual({ ...peer, address: undefined }, { kind: 'local', address: undefined, peer: wallets.bob.address, queued: 0, processed: 0, same: true, gone: true });

  const heardFrom = await bob.page.evaluate(async (peerWallet) => {
    const { sdk, must } = globalThis.device;
    must(sdk.setOffline(false));
    const session = must(await sdk.startSession({ peerWallet }));
    must(await sdk.syncMessages(session.session_id));
    return must(await sdk.getStoredMessages(session.session_id)).map(({ text, sender_wallet }) => [text, sender_wallet]);
  }, peer.address);
  assert.deepEqual(heardFrom, [['Hello!', peer.address]]);
});

test('auto-sync fetches by itself, at its interval', { timeout: 60_000 }, async (t) => {
  const alice = await cast(t, stage).device('alice');
  await alice.call('enableAutoSync', alice.sessionId, 250);
  await until('three syncs', async () => (await alice.events('onSyncCompleted')).length >= 3);
  await alice.call('disableAutoSync', alice.sessionId);
  const [, stats] = (await alice.events('onSyncCompleted')).at(-1);
  const names = ['averageSyncDuration', 'lastSyncDuration', 'pendingMessages', 'syncFailures', 'totalConflictsResolved', 'totalMessagesSynced'];
  assert.deepEqual(Object.keys(stats).sort(), names);
});

test('auto-sync keeps to the configured interval where none is given', { timeout: 60_000 }, async (t) => {
  const alice = await cast(t, stage).device('alice', { config: { syncIntervalMs: 250 } });
  await alice.call('enableAutoSync', alice.sessionId);
  // At the default interval they take longer than `until` waits.
  await until('five syncs', async () => (await alice.events('onSyncCompleted')).length >= 5);
});

test('SyncManager works as the seed\'s document shows', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const bob = await device('bob');
  const outcome = await bob.page.evaluate(async ({ endpoint, wallet, peer, database }) => {
    const { sync, must, walletProvider } = globalThis.device;
    await sync.default();
    const syncManager = sync.getSyncManager();
    const transport = new sync.WebSocketSyncTransport(endpoint);
    await syncManager.initialize({ name: database }, transport);
    await syncManager.connectWallet(await walletProvider(wallet));
    const completed = [];
    syncManager.on('onSyncCompleted', (sessionId, stats) => completed.push([sessionId, stats.totalMessagesSynced]));
    const chatSession = { session_id: sync.sessionIdOf(wallet.address, peer), peer_wallet: peer };
    const message = { sender_wallet: wallet.address, ciphertext: 'stored while offline', timestamp: new Date().toISOString(), session_id: chatSession.session_id };
    await syncManager.startSync(chatSession);
    await syncManager.storage.storeMessage(chatSession.session_id, message, 'queued');
    const queued = await syncManager.storage.getQueuedMessages();
    const sent = await syncManager.sendQueuedMessages(queued);
    await syncManager.syncNow(chatSession.session_id);
    const result = {
      shared: sync.getSyncManager() === syncManager,
      sent,
      left: (await syncManager.storage.getQueuedMessages()).length,
      completed: completed.some(([sessionId, total]) => sessionId === chatSession.session_id && typeof total === 'number'),
      pending: (await syncManager.getStats(chatSession.session_id)).pendingMessages,
    };
    await syncManager.stopSync(chatSession.session_id);
    await syncManager.dispose();
    return result;
  }, { endpoint: stage.relay.endpoint, wallet: wallets.alice, peer: wallets.bob.address, database: `${bob.name}-manager` });
  assert.ok(outcome.sent <= 1);
  assert.deepEqual({ ...outcome, sent: undefined }, { shared: true, sent: undefined, left: 0, completed: true, pending: 0 });
  const list = await converge([bob], 1);
  assert.equal(list[0].text, 'stored while offline');
});

test('MessageBus starts to sync with the subscription', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const bob = await device('bob');
  await bob.send('before the bus');
  await converge([bob], 1);
  const outcome = await bob.page.evaluate(async ({ relayEndpoint, wallet, peer, database }) => {
    const { sync, walletProvider } = globalThis.device;
    await sync.default();
    const messageBus = new sync.MessageBus({ relayEndpoint });
    await messageBus.initialize(database);
    await messageBus.connectWallet(await walletProvider(wallet));
    const sessionId = sync.sessionIdOf(wallet.address, peer);
    await messageBus.startSession?.({ peerWallet: peer });
    const heard = [];
    const subscription = await messageBus.subscribe(sessionId, (message) => heard.push(message.text));
    await messageBus.syncMessages(sessionId);
    await messageBus.syncMessages();
    const receipt = await messageBus.sendMessage(sessionId, 'from the bus');
    await messageBus.syncMessages(sessionId);
    subscription.unsubscribe();
    await messageBus.dispose();
    return { heard, hasId: typeof (receipt.data ?? receipt).messageId === 'string' };
  }, { relayEndpoint: stage.relay.endpoint, wallet: wallets.alice, peer: wallets.bob.address, database: `${bob.name}-bus` });
  assert.deepEqual(outcome, { heard: ['before the bus'], hasId: true });
  const list = await converge([bob], 2);
  assert.equal(list[1].text, 'from the bus');
});

test('a transport that the application supplies carries everything', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const bob = await device('bob');
  const sent = await bob.page.evaluate(async ({ endpoint, wallet, peer, database }) => {
    const { sync, must, walletProvider } = globalThis.device;
    const socket = new WebSocket(endpoint);
    const frames = [];
    const transport = {
      sendSyncMessage(frame) {
        frames.push(frame.type);
        socket.send(JSON.stringify(frame));
      },
      onSyncMessage(handler) {
        socket.onmessage = ({ data }) => handler(JSON.parse(data));
      },
      isConnected: () => socket.readyState === WebSocket.OPEN,
    };
    const sdk = await sync.initializeSDK({ transport, databaseName: database });
    must(await sdk.initialize());
    must(await sdk.connectWallet(await walletProvider(wallet)));
    const session = must(await sdk.startSession({ peerWallet: peer }));
    must(await sdk.sendMessage(session.session_id, 'over my own transport'));
    must(await sdk.syncMessages(session.session_id));
    must(await sdk.cleanup());
    socket.close();
    return frames;
  }, { endpoint: stage.relay.endpoint, wallet: wallets.alice, peer: wallets.bob.address, database: `${bob.name}-transport` });
  for (const type of ['device_announce', 'sync_request', 'sync_update']) assert.ok(sent.includes(type), `${type} among ${sent}`);
  const list = await converge([bob], 1);
  assert.equal(list[0].text, 'over my own transport');
});

test('VectorClock ticks, merges, compares, parses and prints', { timeout: 60_000 }, async (t) => {
  const alice = await cast(t, stage).device('alice', { offline: true });
  const outcome = await alice.page.evaluate(async () => {
    const { VectorClock } = globalThis.device.sync;
    const one = new VectorClock({ a: 1 });
    const other = new VectorClock({ b: 1 });
    const before = one.compare(other);
    const ticked = one.tick('a');
    one.merge(other);
    const copy = VectorClock.parse(one.toString());
    const refused = [];
    for (const record of [{ a: -1 }, { a: 1.5 }, { a: 2 ** 60 }, { a: '1' }]) {
      refused.push((await globalThis.device.thrown(() => new VectorClock(record)))?.code);
    }
    return { before, ticked, got: one.get('a'), none: one.get('z'), after: one.compare(other), reverse: other.compare(one), equal: one.compare(copy), json: one.toJSON(), refused };
  });
  assert.deepEqual(outcome, {
    before: 'concurrent', ticked: 2, got: 2, none: 0, after: 'after', reverse: 'before', equal: 'equal', json: { a: 2, b: 1 },
    refused: Array(4).fill('INVALID_VECTOR_CLOCK'),
  });
});

test('throwing handlers break nothing and removed ones hear nothing', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  await bob.page.evaluate(async () => {
    const { sdk, sessionId, must } = globalThis.device;
    globalThis.stray = [];
    const thrower = () => {
      throw new Error('a bug of the application');
    };
    must(await sdk.subscribeToMessages(sessionId, thrower));
    sdk.on('onMessageSynced', thrower);
    sdk.on('onSyncCompleted', thrower);
    const taken = (...args) => globalThis.stray.push(args);
    sdk.on('onQueueChanged', taken);
    sdk.off('onQueueChanged', taken);
    const subscription = must(await sdk.subscribeToMessages(sessionId, taken));
    subscription.unsubscribe();
  });
  await alice.send('one');
  await bob.send('two');
  await converge([alice, bob], 2);
  assert.equal(bob.heard.length, 1);
  assert.deepEqual(await bob.page.evaluate(() => globalThis.stray), []);
});

test('hostile text stays text, byte for byte (T18)', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  const hostile = [
    '<script>globalThis.owned = true</script>', '"><img src=x onerror=alert(1)>', '</textarea><svg onload=alert(1)>', 'javascript:alert(1)',
    '{"type":"sync_ack"}', '\u0000\u0001\u001f', '\u202eright to left', 'a\u0301\u0323', '👩‍👩‍👧‍👦', '\\u0041 \\n', '𝕏'.repeat(1_000), '"; DROP TABLE messages; --',
    '__proto__', '\ufeff bom', 'line\r\nbreak\u2028separator',
  ];
  await alice.send(...hostile);
  const list = await converge([alice, bob], hostile.length);
  assert.deepEqual(list.map(({ text }) => text), hostile);
  assert.equal(await bob.page.evaluate(() => globalThis.owned), undefined);
});

test('a device imports an export and continues from there', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const phone = await device('alice');
  await phone.send(...texts('kept', 5));
  await converge([phone], 5);
  const data = await phone.call('exportMessages');
  assert.equal(typeof data, 'string');
  const laptop = await device('alice', { offline: true });
  assert.equal(await laptop.call('importMessages', data), 5);
  assert.equal((await laptop.list()).length, 5);
  assert.equal(await laptop.call('importMessages', data), 0, 'a second time adds nothing');
  await laptop.setOffline(false);
  await converge([phone, laptop], 5);

  await laptop.call('clearStoredMessages', laptop.sessionId);
  const [id] = await phone.send('after');
  await until('it hears what comes after', () => laptop.heard.includes(id));
});
