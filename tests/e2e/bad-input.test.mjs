// Bad input of every kind: a stable code, and nothing lost.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { startBrowser } from './harness/browser.mjs';
import { startFakeRelay } from './harness/fake-relay.mjs';
import { cast, scene } from './harness/scene.mjs';
import { converge, texts } from './harness/lists.mjs';
import { until } from './harness/wait.mjs';
import { startWire } from './harness/wire.mjs';

const stage = scene();

test('every bad argument has its code', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { offline: true });
  const { sessionId } = alice;
  const [id] = await alice.send('a good one');
  const cases = [
    [['sendMessage', 'no-such-session', 'hello'], 'UNKNOWN_SESSION'],
    [['getStoredMessages', 'no-such-session'], 'UNKNOWN_SESSION'],
    [['syncMessages', 'no-such-session'], 'UNKNOWN_SESSION'],
    [['enableAutoSync', 'no-such-session'], 'UNKNOWN_SESSION'],
    [['subscribeToMessages', 'no-such-session', null], 'INVALID_ARGUMENT'],
    [['endSession', 'no-such-session'], 'UNKNOWN_SESSION'],
    [['startSession', { peerWallet: 'peer123' }], 'INVALID_WALLET_ADDRESS'],
    [['startSession', { peerWallet: '0'.repeat(44) }], 'INVALID_WALLET_ADDRESS'],
    [['startSession', {}], 'INVALID_ARGUMENT'],
    [['startSession', null], 'INVALID_ARGUMENT'],
    [['sendMessage', sessionId, 'x'.repeat(8 * 1024 + 1)], 'MESSAGE_TOO_LARGE'],
    [['sendMessage', sessionId, 'x'.repeat(10_000_000)], 'MESSAGE_TOO_LARGE'],
    [['sendMessage', sessionId, ''], 'INVALID_MESSAGE_FORMAT'],
    [['sendMessage', sessionId, 42], 'INVALID_ARGUMENT'],
    [['sendMessage', sessionId, { text: 'hello' }], 'INVALID_ARGUMENT'],
    [['sendMessage', 42, 'hello'], 'INVALID_ARGUMENT'],
    [['enableAutoSync', sessionId, 0], 'INVALID_ARGUMENT'],
    [['enableAutoSync', sessionId, 249], 'INVALID_ARGUMENT'],
    [['enableAutoSync', sessionId, -5], 'INVALID_ARGUMENT'],
    [['enableAutoSync', sessionId, '5000'], 'INVALID_ARGUMENT'],
    [['editMessage', sessionId, 'no-such-message', 'text'], 'UNKNOWN_MESSAGE'],
    [['markMessageAsRead', 'no-such-message'], 'UNKNOWN_MESSAGE'],
    [['getMessageStatus', 'no-such-message'], 'UNKNOWN_MESSAGE'],
    [['updateMessageStatus', id, 'eaten'], 'INVALID_ARGUMENT'],
    [['importMessages', 'not json'], 'INVALID_ARGUMENT'],
    [['importMessages', '['.repeat(200) + ']'.repeat(200)], 'INVALID_ARGUMENT'],
    [['getStoredMessages', sessionId, -1], 'INVALID_ARGUMENT'],
  ];
  const wrong = [];
  for (const [[method, ...args], code] of cases) {
    const error = await alice.failure(method, ...args).catch((thrown) => ({ code: `threw ${thrown.message}` }));
    if (error.code !== code) wrong.push(`${method}(${JSON.stringify(args).slice(0, 60)}): ${error.code} instead of ${code}`);
    else if (!error.message || !error.userMessage || typeof error.recoverable !== 'boolean' || !error.category) wrong.push(`${method}: ${JSON.stringify(error)} lacks a field`);
  }
  assert.deepEqual(wrong, []);
  assert.equal((await alice.state()).queued, 1, 'the good one is still there');
});

test('a message of exactly the limit arrives, however escaped', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  const written = ['x'.repeat(8 * 1024), '\u0001'.repeat(8 * 1024), 'é'.repeat(4 * 1024)];
  await alice.send(...written);
  const list = await converge([alice, bob], 3);
  assert.deepEqual(list.map(({ text }) => text), written);
});

test('a bad configuration is refused by initializeSDK', { timeout: 60_000 }, async (t) => {
  const alice = await cast(t, stage).device('alice', { offline: true });
  const configs = [
    { conflictResolutionStrategy: 'coin_toss' }, { syncIntervalMs: 249 }, { heartbeatIntervalMs: 249 }, { maxBatchSize: 0 }, { maxBatchSize: 1.5 },
    { maxRetries: -1 }, { retryDelayMs: 9 }, { relayEndpoint: 'not a url' }, { relayEndpoint: 'http://localhost:8080' }, { relayEndpoint: 7 },
    { databaseName: '' }, { enableCompression: 'yes' }, { transport: {} },
  ];
  const outcomes = await alice.page.evaluate(async (configs) => {
    const { sync, thrown } = globalThis.device;
    const outcomes = [];
    for (const config of configs) outcomes.push(await thrown(() => sync.initializeSDK(config)));
    return outcomes;
  }, configs);
  const wrong = configs.filter((_config, index) => outcomes[index]?.code !== 'INVALID_ARGUMENT' || !outcomes[index].isError);
  assert.deepEqual(wrong, []);
});

test('calls before initialize and after cleanup say SDK_NOT_INITIALIZED', { timeout: 60_000 }, async (t) => {
  const alice = await cast(t, stage).device('alice', { offline: true });
  const codes = await alice.page.evaluate(async () => {
    const { sync } = globalThis.device;
    const sdk = await sync.initializeSDK({ databaseName: 'never-initialized' });
    const calls = () => [
      sdk.connectWallet(), sdk.startSession({ peerWallet: '1'.repeat(32) }), sdk.sendMessage('s', 'x'), sdk.syncMessages(),
      sdk.processQueuedMessages(), sdk.getStoredMessages('s'), sdk.endSession('s'), sdk.getSyncStatus(), sdk.exportMessages(),
    ];
    const before = await Promise.all(calls());
    globalThis.device.must(await sdk.initialize());
    const early = await sdk.startSession({ peerWallet: '1'.repeat(32) });
    await sdk.cleanup();
    const after = await Promise.all(calls());
    return { codes: [...new Set([...before, ...after].map(({ success, error }) => (success ? 'success' : error.code)))], early: early.error?.code };
  });
  assert.deepEqual(codes, { codes: ['SDK_NOT_INITIALIZED'], early: 'WALLET_NOT_CONNECTED' });
});

test('what counts without init() throws SDK_NOT_INITIALIZED', { timeout: 60_000 }, async (t) => {
  const page = await stage.browser.newPage();
  t.after(() => page.close());
  await page.goto(stage.relay.url);
  const codes = await page.evaluate(async () => {
    const { sync, thrown } = globalThis.device;
    const uses = [() => sync.sessionIdOf('a', 'b'), () => sync.version()];
    const errors = [];
    for (const use of uses) errors.push(await thrown(use));
    return errors.map((error) => error?.isError && error.code);
  });
  assert.deepEqual(codes, Array(2).fill('SDK_NOT_INITIALIZED'));
});

test('syncMessages without a relay fails and leaves messages queued', { timeout: 60_000 }, async (t) => {
  const wire = await startWire(stage.relay.port);
  const endpoint = wire.endpoint;
  wire.close();
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: { relayEndpoint: endpoint, maxRetries: 2, retryDelayMs: 20 } });
  await alice.send('patience');
  assert.equal((await alice.failure('syncMessages')).code, 'CONNECTION_FAILED');
  assert.equal((await alice.failure('processQueuedMessages')).code, 'CONNECTION_FAILED');
  assert.equal((await alice.state()).queued, 1);
  const failed = await until('onSyncFailed', async () => (await alice.events('onSyncFailed'))[0]);
  assert.equal(failed[0], alice.sessionId);
  assert.equal(failed[1].code, 'CONNECTION_FAILED');
});

const garbage = {
  'text that is no JSON': 'Welcome to the captive portal!',
  'bytes of no known kind': new Uint8Array([0xff, 0x00, 0x13, 0x37]),
  '200 levels of JSON': `{"type":"sync_response","messages":${'['.repeat(200)}${']'.repeat(200)}}`,
  'a frame of 10 MB': JSON.stringify({ type: 'sync_response', messages: [], padding: 'x'.repeat(10_000_000) }),
};

for (const [what, answer] of Object.entries(garbage)) {
  test(`a relay sending ${what} loses nothing (F9)`, { timeout: 60_000 }, async (t) => {
    const fake = await startFakeRelay((send) => send(answer));
    const wire = await startWire(fake.port);
    t.after(() => {
      wire.close();
      fake.close();
    });
    const { device } = cast(t, stage);
    const alice = await device('alice', { config: { relayEndpoint: wire.endpoint, maxRetries: 1, retryDelayMs: 20 } });
    const ids = await alice.send(...texts('kept', 3));
    const { code } = await alice.failure('syncMessages');
    assert.ok(['RELAY_MISBEHAVED', 'FRAME_TOO_LARGE', 'RELAY_DISCONNECTED', 'NETWORK_TIMEOUT'].includes(code), code);
    assert.equal((await alice.state()).queued, 3);

    wire.targetPort = stage.relay.port;
    wire.cut();
    const list = await converge([alice], 3);
    assert.deepEqual(list.map(({ id }) => id), ids);
  });
}

test('a false acknowledgement by the relay is not believed', { timeout: 60_000 }, async (t) => {
  const fake = await startFakeRelay((send, data) => {
    let frame;
    try {
      frame = JSON.parse(String(data));
    } catch {
      return;
    }
    const head = { sessionId: frame.sessionId, deviceId: 'server', timestamp: 1, messageId: 'm' };
    send(JSON.stringify({ type: 'sync_ack', ...head, acknowledgedSequences: [9_007_199_254_740_993], acknowledgedMessageIds: ['never-sent'], vectorClock: {} }));
    send(JSON.stringify({ type: 'sync_response', ...head, messages: [], latestSequence: -1, serverVectorClock: { x: -1 } }));
  });
  const wire = await startWire(fake.port);
  t.after(() => {
    wire.close();
    fake.close();
  });
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: { relayEndpoint: wire.endpoint, maxRetries: 1, retryDelayMs: 20, enableCompression: false } });
  const ids = await alice.send(...texts('kept', 3));
  await alice.failure('syncMessages');
  assert.equal((await alice.state()).queued, 3);
  wire.targetPort = stage.relay.port;
  wire.cut();
  const list = await converge([alice], 3);
  assert.deepEqual(list.map(({ id }) => id), ids);
});

test('full storage refuses messages and loses no confirmed one (F27, B4, I21)', { timeout: 60_000 }, async (t) => {
  // A browser of its own: Chromium remembers for a while how much room it once saw.
  const browser = await startBrowser();
  t.after(() => browser.stop());
  const session = await browser.context.newCDPSession(await browser.newPage());
  const { origin } = new URL(stage.relay.url);
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1_000_000 });

  const { device } = cast(t, stage);
  const alice = await device('alice', { browser, offline: true });
  const filling = texts('x'.repeat(8_000), 200);
  const refused = await alice.send(...filling).then(() => null, (error) => error);
  assert.match(String(refused), /STORAGE_FULL/);
  const count = alice.sent.length;
  assert.ok(count > 0 && count < filling.length, `${count} found room`);
  assert.equal((await alice.state()).queued, count, 'what was refused does not count (I13)');

  await session.send('Storage.overrideQuotaForOrigin', { origin });
  await until('there is room again', () => alice.send('room again').then(() => true, () => false));
  await alice.reload();
  assert.equal((await alice.state()).queued, count + 1);
  await alice.setOffline(false);
  const list = await converge([alice], count + 1);
  assert.deepEqual(list.map(({ text }) => text), [...filling.slice(0, count), 'room again']);
});

test('a page that may store nothing gets STORAGE_REFUSED (B5)', { timeout: 60_000 }, async (t) => {
  // A sandboxed document has no origin of its own: browsers refuse it all storage.
  const server = createServer(async (request, response) => {
    if (request.url === '/') {
      response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Security-Policy': 'sandbox allow-scripts' }).end('<title>sandboxed</title>');
      return;
    }
    const file = join(root, 'pkg', basename(request.url));
    const type = file.endsWith('.wasm') ? 'application/wasm' : 'text/javascript';
    const content = await readFile(file).catch(() => null);
    response.writeHead(content ? 200 : 404, { 'Content-Type': type, 'Access-Control-Allow-Origin': '*' }).end(content);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  // With its policy in force: the harness's own pages go without.
  const page = await stage.browser.context.newPage();
  t.after(() => page.close());
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const code = await page.evaluate(async () => {
    const { initializeSDK } = await import('/index.js');
    const sdk = await initializeSDK({ databaseName: 'refused' });
    await sdk.initialize();
    const outcome = await sdk.connectWallet();
    return outcome.success ? 'it was not' : outcome.error.code;
  });
  assert.equal(code, 'STORAGE_REFUSED');
});
