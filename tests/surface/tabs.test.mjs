// Several tabs in one process: each SDK is one. The package as it is, over IndexedDB in memory, without a relay and without Web Locks.
import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as sync from '../../pkg/index.js';
import { newWallet } from '../e2e/harness/wallet.mjs';

const { unwrap } = sync;
let cases = 0;
// A socket that never opens.
globalThis.WebSocket = class extends EventTarget {
  close() {}
};

/** `open` opens one more tab of a device. */
function scene(t) {
  cases += 1;
  const [{ address }, { address: peerWallet }] = [newWallet(), newWallet()];
  const databaseName = `tabs-${cases}`;
  const sdks = [];
  t.after(() => Promise.all(sdks.map((sdk) => sdk.cleanup())));
  const open = async () => {
    const sdk = await sync.initializeSDK({ databaseName });
    sdks.push(sdk);
    sdk.told = [];
    for (const event of ['statusChanged', 'queueChanged', 'tabChanged', 'messageSynced', 'warning']) sdk.on(event, (value) => sdk.told.push([event, value]));
    unwrap(await sdk.initialize());
    unwrap(await sdk.connectWallet({ publicKey: address }));
    return sdk;
  };
  return { open, peerWallet, channel: `solconnect-sync:${databaseName}/${address}` };
}

const rolesOf = (sdks) => sdks.map((sdk) => unwrap(sdk.getTabRole()));

test('getters, reads and events are the same in all tabs', async (t) => {
  const { open, peerWallet } = scene(t);
  const sdks = [await open(), await open(), await open()];
  assert.deepEqual(rolesOf(sdks), ['owner', 'follower', 'follower']);
  const [, second, third] = sdks;
  const { sessionId } = unwrap(await second.startSession({ peerWallet }));
  const { messageId } = unwrap(await second.sendMessage(sessionId, 'one'));
  // Who has an answer finds in the state what it did.
  assert.equal(unwrap(second.getSyncStatus()).queuedMessageCount, 1);
  unwrap(await third.sendMessage(sessionId, 'two'));
  unwrap(await third.editMessage(sessionId, messageId, 'one, edited'));
  unwrap(await third.enableAutoSync(sessionId, 60_000));
  await delay(20);
  const reads = [];
  for (const sdk of sdks) {
    const calls = [sdk.getStoredMessages(sessionId), sdk.getMessage(messageId), sdk.getMessageStatus(messageId), sdk.exportMessages()];
    const getters = [sdk.getSyncStatus(), sdk.getConnectionStatus(), sdk.getActiveSessions(), sdk.getInvitations(), sdk.getDeviceId(), sdk.getDevices(sessionId), sdk.getSyncStats(sessionId)];
    const queue = sdk.told.filter(([event]) => event === 'queueChanged').at(-1);
    reads.push(JSON.stringify([await Promise.all(calls), getters, queue]));
  }
  assert.deepEqual(reads, Array(3).fill(reads[0]));
  assert.match(reads[0], /one, edited/);
});

test('calls that were begun are answered once when the owner leaves', async (t) => {
  const { open, peerWallet } = scene(t);
  const [first, second, third] = [await open(), await open(), await open()];
  const { sessionId } = unwrap(await first.startSession({ peerWallet }));
  const sends = Array.from({ length: 200 }, (_, place) => second.sendMessage(sessionId, `message ${place}`));
  await delay(3);
  await first.cleanup();
  const ids = (await Promise.all(sends)).map((result) => unwrap(result).messageId);
  assert.equal(new Set(ids).size, 200);
  assert.deepEqual(rolesOf([second, third]).sort(), ['follower', 'owner']);
  for (const sdk of [second, third]) {
    const stored = unwrap(await sdk.getStoredMessages(sessionId, 500));
    assert.deepEqual(stored.map(({ id }) => id), ids);
  }
});

test('arguments are as they were at the call, and wrong ones are told alike', async (t) => {
  const { open, peerWallet } = scene(t);
  const sdks = [await open(), await open()];
  for (const sdk of sdks) {
    const options = { peerWallet };
    const started = sdk.startSession(options);
    options.peerWallet = 'changed';
    const { sessionId } = unwrap(await started);
    for (const wrong of [() => {}, Symbol('no'), 5, null, {}]) {
      assert.equal((await sdk.sendMessage(sessionId, wrong)).error?.code, 'INVALID_ARGUMENT');
      assert.equal((await sdk.startSession(wrong)).error?.code, 'INVALID_ARGUMENT');
    }
    const throwing = { get peerWallet() {
      throw new Error('no');
    } };
    assert.equal((await sdk.startSession(throwing)).error?.code, 'INVALID_ARGUMENT');
  }
});

test('what else is said on the channel disturbs nobody', async (t) => {
  const { open, peerWallet, channel: name } = scene(t);
  const sdks = [await open(), await open()];
  const channel = new BroadcastChannel(name);
  t.after(() => channel.close());
  const answers = [];
  channel.onmessage = ({ data }) => data.kind === 'answer' && answers.push(data);
  const { claim } = await new Promise((resolve) => {
    channel.addEventListener('message', ({ data }) => data.kind === 'owner' && resolve(data));
    channel.postMessage({ protocol: 1, speaks: 1, from: 9, kind: 'hello', claim: 0, number: 0, doneThrough: 0, isKeyed: false, visible: false });
  });
  const call = { protocol: 1, speaks: 1, from: 9, kind: 'call', claim, doneThrough: 0, isKeyed: false, visible: false };
  for (const [place, body] of [{ method: 'free', args: [] }, { method: 'nothing', args: [] }, { method: 'getMessage' }, 'text', null, undefined].entries()) {
    channel.postMessage({ ...call, number: place + 1, body });
  }
  for (const rubbish of [null, 5, 'hello', {}, { kind: 'owner' }, { ...call, claim: -1 }]) channel.postMessage(rubbish);
  const { sessionId } = unwrap(await sdks[1].startSession({ peerWallet }));
  unwrap(await sdks[1].sendMessage(sessionId, 'goes on'));
  await delay(20);
  const codes = answers.filter(({ to }) => to === 9).map(({ body }) => body.error.code);
  assert.deepEqual(codes, ['INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'UNKNOWN_ERROR', 'INVALID_ARGUMENT', 'UNKNOWN_ERROR']);
  assert.deepEqual(rolesOf(sdks), ['owner', 'follower']);
});

test('an owner that is alone makes nothing for others', async (t) => {
  const { open, peerWallet, channel: name } = scene(t);
  const first = await open();
  const channel = new BroadcastChannel(name);
  t.after(() => channel.close());
  const said = [];
  channel.onmessage = ({ data }) => said.push(data.kind);
  const { sessionId } = unwrap(await first.startSession({ peerWallet }));
  unwrap(await first.sendMessage(sessionId, 'alone'));
  await delay(20);
  assert.deepEqual(said, []);
});

test('a logout ends the calls of other tabs, and says so', async (t) => {
  const { open, peerWallet } = scene(t);
  const [first, second] = [await open(), await open()];
  const { sessionId } = unwrap(await first.startSession({ peerWallet }));
  const sends = Array.from({ length: 100 }, (_, place) => second.sendMessage(sessionId, `message ${place}`));
  unwrap(await first.logout());
  const errors = (await Promise.all(sends)).flatMap(({ error }) => error ?? []);
  assert.deepEqual([...new Set(errors.map(({ code }) => code))], ['WALLET_NOT_CONNECTED']);
  assert.match(errors[0].message, /another tab had the call, and may have done it/);
});

test('a tab that opens during a logout is told so', async (t) => {
  const { open, channel: name } = scene(t);
  const first = await open();
  const channel = new BroadcastChannel(name);
  t.after(() => channel.close());
  let leaving;
  channel.onmessage = ({ data }) => {
    if (data.kind === 'hello') leaving ??= first.logout();
  };
  await assert.rejects(open(), { code: 'CALL_SUPERSEDED', message: /logout in another tab/ });
  unwrap(await leaving);
});

test('a wipe reaches all tabs, also after its own has left', async (t) => {
  const { open, peerWallet } = scene(t);
  const [first, second] = [await open(), await open()];
  const { sessionId } = unwrap(await second.startSession({ peerWallet }));
  unwrap(await second.sendMessage(sessionId, 'to be wiped'));
  unwrap(await first.disconnectWallet());
  unwrap(await first.logout({ wipe: true }));
  await delay(20);
  assert.equal(unwrap(second.getCurrentWallet()), null);
  assert.deepEqual(second.told.filter(([event]) => event === 'warning'), []);
  const third = await open();
  assert.deepEqual(unwrap(third.getActiveSessions()), []);
  assert.deepEqual(third.told.filter(([event]) => event === 'warning'), []);
});
