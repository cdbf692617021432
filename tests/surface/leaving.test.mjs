// A wallet that leaves, and one that comes badly: over the real engine and a database in memory, without a relay.
import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { connect, unwrap } from '../../pkg/index.js';

const PEER = 'So11111111111111111111111111111111111111112';
const walletOf = (byte) => ({ publicKey: new Uint8Array(32).fill(byte) });
let scenes = 0;
// Node.js 20 has none, which the SDK warns of: here it is a relay that never answers.
globalThis.WebSocket ??= class { close() {} };

/** An SDK of a wallet that has written a message, and both lists, which show it. */
async function scene(t) {
  scenes += 1;
  const sdk = await connect({ relayEndpoint: 'ws://127.0.0.1:9', databaseName: `leaving-${scenes}`, wallet: walletOf(1) });
  t.after(() => sdk.cleanup());
  const { sessionId } = unwrap(await sdk.startSession({ peerWallet: PEER }));
  unwrap(await sdk.sendMessage(sessionId, 'the secret'));
  const lists = [sdk.messages(sessionId), sdk.conversations()];
  for (const list of lists) list.subscribe(() => {});
  const shown = () => lists.filter((list) => JSON.stringify(list.getSnapshot()).includes('the secret')).length;
  while (shown() < 2) await turn();
  return { sdk, sessionId, lists, shown };
}

const ways = {
  'disconnectWallet': (sdk) => sdk.disconnectWallet(),
  'logout': (sdk) => sdk.logout(),
  'logout with wipe': (sdk) => sdk.logout({ wipe: true }),
  'cleanup': (sdk) => sdk.cleanup(),
};
for (const [name, leave] of Object.entries(ways)) {
  test(`lists are empty as soon as ${name} is called`, async (t) => {
    const { sdk, sessionId, shown } = await scene(t);
    // Its turn comes later: something else is being done before it.
    const earlier = sdk.connectWallet(walletOf(2));
    const left = leave(sdk);
    assert.equal(shown(), 0);
    assert.equal((await sdk.getStoredMessages(sessionId)).success, false);
    await turn();
    assert.equal(shown(), 0, 'and stay so');
    unwrap(await left);
    assert.equal((await earlier).error?.code, 'CALL_SUPERSEDED');
    assert.equal(shown(), 0);
  });
}

for (const [name, leave] of Object.entries(ways)) {
  test(`calls that ${name} ends say what ended them`, async (t) => {
    const { sdk, sessionId } = await scene(t);
    const sends = Array.from({ length: 100 }, (_, place) => sdk.sendMessage(sessionId, `message ${place}`));
    unwrap(await leave(sdk));
    const errors = (await Promise.all(sends)).flatMap(({ error }) => error ?? []);
    const codes = new Set(errors.map(({ code }) => code));
    assert.deepEqual([...codes], [name === 'cleanup' ? 'SDK_NOT_INITIALIZED' : 'WALLET_NOT_CONNECTED']);
    if (name !== 'cleanup') assert.match(errors[0].message, /the wallet left before the answer/);
  });
}

test('lists are empty as soon as another wallet is known to come', async (t) => {
  const { sdk, shown } = await scene(t);
  let answer;
  const other = { publicKey: null, connect: () => new Promise((resolve) => {
    answer = () => {
      other.publicKey = new Uint8Array(32).fill(2);
      resolve();
    };
  }) };
  const connecting = sdk.connectWallet(other);
  await turn();
  assert.equal(shown(), 2, 'the person may still decline');
  answer();
  let isOver = false;
  void connecting.then(() => (isOver = true));
  while (shown() > 0) await turn();
  assert.equal(isOver, false, 'before its engine runs');
  while (!isOver) {
    await turn();
    assert.equal(shown(), 0);
  }
  unwrap(await connecting);
  assert.equal(shown(), 0);
});

test('lists go on where another wallet does not come after all', async (t) => {
  const { sdk, shown } = await scene(t);
  const declined = await sdk.connectWallet({ publicKey: null, connect: () => Promise.reject(Object.assign(new Error('no'), { code: 4001 })) });
  assert.equal(declined.error?.code, 'WALLET_REJECTED');
  assert.equal(shown(), 2);
  // Another one, and at once the first again.
  const [other, back] = await Promise.all([sdk.connectWallet(walletOf(2)), sdk.connectWallet(walletOf(1))]);
  assert.deepEqual([other.error?.code, back.error?.code], ['CALL_SUPERSEDED', undefined]);
  for (let steps = 0; steps < 1_000 && shown() < 2; steps += 1) await turn();
  assert.equal(shown(), 2);
});

test('a wallet that refuses listeners is connected, with a warning', async (t) => {
  const { sdk } = await scene(t);
  const warnings = [];
  sdk.on('warning', ({ error }) => warnings.push(error));
  const deaf = { ...walletOf(3), on() {
    throw new Error('no listeners here');
  } };
  const { address } = unwrap(await sdk.connectWallet(deaf));
  assert.equal(unwrap(sdk.getCurrentWallet()), address);
  assert.deepEqual(warnings.map(({ code }) => code), ['WALLET_CONNECTION_FAILED']);
  assert.match(warnings[0].message, /another account/);
  unwrap(await sdk.startSession({ peerWallet: PEER }));
});

test('a subscription outlives a wipe and warns of nothing', async (t) => {
  const { sdk, sessionId } = await scene(t);
  const warnings = [];
  sdk.on('warning', ({ error }) => warnings.push(error.code));
  const heard = [];
  unwrap(await sdk.subscribeToMessages(sessionId, ({ text }) => heard.push(text), { from: 'stored' }));
  unwrap(await sdk.logout({ wipe: true }));
  unwrap(await sdk.connectWallet(walletOf(1)));
  for (let steps = 0; steps < 50; steps += 1) await turn();
  unwrap(await sdk.startSession({ peerWallet: PEER }));
  for (let steps = 0; steps < 50; steps += 1) await turn();
  assert.deepEqual([heard, warnings], [[], []]);
});
