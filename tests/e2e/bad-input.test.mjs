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
import { newWallet } from './harness/wallet.mjs';
import { startWire } from './harness/wire.mjs';

const stage = scene();

/** Methods that take nothing that could be wrong: `off` also leaves a handler alone that was never added. */
const takeNothing = [
  'cleanup', 'signIn', 'signOutOtherDevices', 'disconnectWallet', 'getInvitations', 'conversations', 'exportMessages', 'acceptRelayLog', 'getSyncStatus', 'getConnectionStatus', 'getTabRole',
  'getCurrentWallet', 'getActiveSessions', 'getDeviceId', 'getRecovery', 'off',
];

test('every bad argument of every method has its code', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const alice = await device('alice', { offline: true, config: { domains: [new URL(stage.relay.url).host], encryption: 'off' } });
  const { sessionId } = alice;
  const [id] = await alice.send('a good one');
  const { sessionId: group } = await alice.call('startSession', { members: [wallets.bob.address], name: 'Walkers' });
  const [bob, carol] = [wallets.bob.address, wallets.carol.address];
  const nobody = 'no-such-session';
  const many = Array.from({ length: 256 }, () => newWallet().address);
  const cases = [
    [['initialize', 5], 'INVALID_ARGUMENT'],
    [['initialize', { sginal: null }], 'INVALID_ARGUMENT'],
    [['connectWallet', null], 'WALLET_NOT_FOUND'],
    [['connectWallet', {}], 'WALLET_UNSUPPORTED'],
    [['logout', { wipe: 'yes' }], 'INVALID_ARGUMENT'],
    [['startSession', { peerWallet: 'peer123' }], 'INVALID_WALLET_ADDRESS'],
    [['startSession', { peerWallet: '0'.repeat(44) }], 'INVALID_WALLET_ADDRESS'],
    [['startSession', {}], 'INVALID_ARGUMENT'],
    [['startSession', null], 'INVALID_ARGUMENT'],
    [['startSession', { members: bob, name: 'A' }], 'INVALID_ARGUMENT'],
    [['startSession', { members: [5], name: 'A' }], 'INVALID_ARGUMENT'],
    [['startSession', { members: ['x'], name: 'A' }], 'INVALID_WALLET_ADDRESS'],
    [['startSession', { members: [bob, bob], name: 'A' }], 'INVALID_ARGUMENT'],
    [['startSession', { members: many, name: 'A' }], 'LIMIT_REACHED'],
    [['startSession', { members: [bob] }], 'INVALID_ARGUMENT'],
    [['startSession', { members: [bob], name: 5 }], 'INVALID_ARGUMENT'],
    [['startSession', { members: [bob], name: ' ' }], 'INVALID_ARGUMENT'],
    [['startSession', { members: [bob], name: 'x'.repeat(129) }], 'INVALID_ARGUMENT'],
    [['startSession', { members: [bob], name: 'a\nb' }], 'INVALID_ARGUMENT'],
    [['startSession', { members: [bob], name: 'A', peerWallet: bob }], 'INVALID_ARGUMENT'],
    [['addMembers', nobody, [carol]], 'UNKNOWN_SESSION'],
    [['addMembers', sessionId, [carol]], 'INVALID_ARGUMENT'],
    [['addMembers', group, carol], 'INVALID_ARGUMENT'],
    [['addMembers', group, [null]], 'INVALID_ARGUMENT'],
    [['addMembers', group, ['x']], 'INVALID_WALLET_ADDRESS'],
    [['addMembers', group, many], 'LIMIT_REACHED'],
    [['removeMembers', nobody, [bob]], 'UNKNOWN_SESSION'],
    [['removeMembers', sessionId, [bob]], 'INVALID_ARGUMENT'],
    [['removeMembers', group, { 0: bob }], 'INVALID_ARGUMENT'],
    [['removeMembers', group, ['x']], 'INVALID_WALLET_ADDRESS'],
    [['leaveSession', nobody], 'UNKNOWN_SESSION'],
    [['leaveSession', sessionId], 'INVALID_ARGUMENT'],
    [['leaveSession'], 'INVALID_ARGUMENT'],
    [['renameSession', nobody, 'A'], 'UNKNOWN_SESSION'],
    [['renameSession', sessionId, 'A'], 'INVALID_ARGUMENT'],
    [['renameSession', group, ''], 'INVALID_ARGUMENT'],
    [['renameSession', group, 5], 'INVALID_ARGUMENT'],
    [['renameSession', group, 'é'.repeat(65)], 'INVALID_ARGUMENT'],
    [['setAdmin', nobody, bob, true], 'UNKNOWN_SESSION'],
    [['setAdmin', group, carol, true], 'NOT_A_MEMBER'],
    [['setAdmin', group, bob, 'yes'], 'INVALID_ARGUMENT'],
    [['setAdmin', group, 'x', true], 'INVALID_WALLET_ADDRESS'],
    [['getMembers', nobody], 'UNKNOWN_SESSION'],
    [['getMembers', 5], 'INVALID_ARGUMENT'],
    [['getEncryption', nobody], 'UNKNOWN_SESSION'],
    [['getEncryption', 5], 'INVALID_ARGUMENT'],
    [['endSession', nobody], 'UNKNOWN_SESSION'],
    [['acceptSession', nobody], 'UNKNOWN_SESSION'],
    [['acceptSession', null], 'INVALID_ARGUMENT'],
    [['declineSession', nobody], 'UNKNOWN_SESSION'],
    [['blockWallet', 'x'], 'INVALID_WALLET_ADDRESS'],
    [['unblockWallet', 5], 'INVALID_ARGUMENT'],
    [['sendMessage', nobody, 'hello'], 'UNKNOWN_SESSION'],
    [['sendMessage', sessionId, 'x'.repeat(8 * 1024 + 1)], 'MESSAGE_TOO_LARGE'],
    [['sendMessage', sessionId, 'x'.repeat(10_000_000)], 'MESSAGE_TOO_LARGE'],
    [['sendMessage', sessionId, ''], 'INVALID_MESSAGE_FORMAT'],
    [['sendMessage', sessionId, 42], 'INVALID_ARGUMENT'],
    [['sendMessage', sessionId, { text: 'hello' }], 'INVALID_ARGUMENT'],
    [['sendMessage', 42, 'hello'], 'INVALID_ARGUMENT'],
    [['editMessage', sessionId, 'no-such-message', 'text'], 'UNKNOWN_MESSAGE'],
    [['deleteMessage', sessionId, 'no-such-message'], 'UNKNOWN_MESSAGE'],
    [['resolveConflict', sessionId, 'no-such-message', 'text'], 'UNKNOWN_MESSAGE'],
    [['cancelMessage', 'no-such-message'], 'UNKNOWN_MESSAGE'],
    [['retryMessage', 'no-such-message'], 'UNKNOWN_MESSAGE'],
    [['subscribeToMessages', nobody, null], 'INVALID_ARGUMENT'],
    [['messages', 5], 'INVALID_ARGUMENT'],
    [['messages', sessionId, { limit: 0 }], 'INVALID_ARGUMENT'],
    [['getMessage', 'no-such-message'], 'UNKNOWN_MESSAGE'],
    [['getStoredMessages', nobody], 'UNKNOWN_SESSION'],
    [['getStoredMessages', sessionId, -1], 'INVALID_ARGUMENT'],
    [['syncMessages', nobody], 'UNKNOWN_SESSION'],
    [['processQueuedMessages', { signal: 5 }], 'INVALID_ARGUMENT'],
    [['enableAutoSync', nobody], 'UNKNOWN_SESSION'],
    [['enableAutoSync', sessionId, 0], 'INVALID_ARGUMENT'],
    [['enableAutoSync', sessionId, 249], 'INVALID_ARGUMENT'],
    [['enableAutoSync', sessionId, -5], 'INVALID_ARGUMENT'],
    [['enableAutoSync', sessionId, '5000'], 'INVALID_ARGUMENT'],
    [['disableAutoSync', nobody], 'UNKNOWN_SESSION'],
    [['getDevices', nobody], 'UNKNOWN_SESSION'],
    [['removeDevice', null], 'INVALID_ARGUMENT'],
    [['removeDevice', 'nobody'], 'RELAY_DISCONNECTED'],
    [['approveDevice', 7], 'INVALID_ARGUMENT'],
    [['createRecoveryCode'], 'INVALID_ARGUMENT'],
    [['createPasskey'], 'INVALID_ARGUMENT'],
    [['recoverWithPasskey'], 'INVALID_ARGUMENT'],
    [['recover', 7], 'INVALID_ARGUMENT'],
    [['recover', 'ABCD'], 'INVALID_ARGUMENT'],
    [['getSyncStats', nobody], 'UNKNOWN_SESSION'],
    [['setOffline', 'yes'], 'INVALID_ARGUMENT'],
    [['clearStoredMessages', nobody], 'UNKNOWN_SESSION'],
    [['exportEvidence', nobody], 'UNKNOWN_SESSION'],
    [['exportEvidence', group], 'UNKNOWN_SESSION'],
    [['exportEvidence', 5], 'INVALID_ARGUMENT'],
    [['importMessages', 'not json'], 'INVALID_ARGUMENT'],
    [['importMessages', '['.repeat(200) + ']'.repeat(200)], 'INVALID_ARGUMENT'],
    [['updateMessageStatus', id, 'eaten'], 'INVALID_ARGUMENT'],
    [['markMessageAsRead', 'no-such-message'], 'UNKNOWN_MESSAGE'],
    [['getMessageStatus', 'no-such-message'], 'UNKNOWN_MESSAGE'],
    [['on', 'everything', null], 'INVALID_ARGUMENT'],
  ];
  const errorOf = (call) => alice.page.evaluate(async ([method, ...args]) => {
    const { sdk, plain } = globalThis.device;
    try {
      return plain((await sdk[method](...args)).error) ?? { code: 'no error' };
    } catch (thrown) {
      return plain(thrown);
    }
  }, call);
  const wrong = [];
  for (const [call, code] of cases) {
    const [method, ...args] = call;
    const error = await errorOf(call);
    if (error.code !== code) wrong.push(`${method}(${JSON.stringify(args).slice(0, 120)}): ${error.code} instead of ${code}`);
    else if (!error.message || !error.userMessage || typeof error.recoverable !== 'boolean' || !error.category) wrong.push(`${method}: ${JSON.stringify(error)} lacks a field`);
  }
  assert.deepEqual(wrong, []);
  const methods = await alice.page.evaluate(() => globalThis.device.methods);
  assert.deepEqual([...new Set([...cases.map(([[method]]) => method), ...takeNothing])].sort(), methods.sort(), 'each method is here');
  assert.equal((await alice.call('getStoredMessages', sessionId)).length, 1, 'the good one is still there');
  assert.deepEqual((await alice.call('getMembers', group)).map(({ wallet }) => wallet), [wallets.alice.address, bob]);
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
    { databaseName: '' }, { enableCompression: 'yes' }, { transport: {} }, { encryption: 'required' }, { encryption: 'on', domains: ['a.example'] },
    { deviceApproval: 'never' }, { startOffline: 'yes' }, { lockWith: 'passkey' }, { lockWith: 'pin', domains: ['a.example'] }, { lockWith: {}, domains: ['a.example'] },
    { lockWith: { passphrase: 'a text' }, domains: ['a.example'] }, { lockWith: { passkey: true }, domains: ['a.example'] },
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

/** What works without a wallet, and before `initialize`. */
const alwaysThere = ['initialize', 'cleanup', 'on', 'off', 'messages', 'conversations'];

test('calls before initialize and after cleanup say SDK_NOT_INITIALIZED', { timeout: 60_000 }, async (t) => {
  const alice = await cast(t, stage).device('alice', { offline: true });
  const outcome = await alice.page.evaluate(async (alwaysThere) => {
    const { sync, methods, must } = globalThis.device;
    const sdk = await sync.initializeSDK({ databaseName: 'never-initialized' });
    const codesOf = async (names) => {
      const codes = {};
      for (const name of names) {
        const args = ['connectWallet', 'logout'].includes(name) ? [] : ['s', () => {}];
        (codes[(await sdk[name](...args)).error?.code ?? 'success'] ??= []).push(name);
      }
      return codes;
    };
    const calls = methods.filter((name) => !alwaysThere.includes(name));
    const before = await codesOf(calls);
    must(await sdk.initialize());
    const early = await codesOf(calls.filter((name) => !['connectWallet', 'disconnectWallet', 'logout', 'getCurrentWallet', 'setOffline'].includes(name)));
    await sdk.cleanup();
    return { before, early: Object.keys(early), after: Object.keys(await codesOf(calls)), count: calls.length };
  }, alwaysThere);
  assert.deepEqual([Object.keys(outcome.before), outcome.early, outcome.after], [['SDK_NOT_INITIALIZED'], ['WALLET_NOT_CONNECTED'], ['SDK_NOT_INITIALIZED']], JSON.stringify(outcome));
  assert.ok(outcome.count > 45, `${outcome.count} methods`);
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
