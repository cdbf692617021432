// Being written to: a wallet that never heard of another is told, accepts, reads and answers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { converge } from './harness/lists.mjs';
import { until } from './harness/wait.mjs';

const stage = scene();

const invitations = (device) => device.events('onSessionInvited');

test('a wallet that was away is told who wrote first, accepts, reads and answers (I32)', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const alice = await device('alice');
  await alice.send('Hello?', 'Are you there?');
  await until('the relay has them', async () => (await alice.state()).queued === 0);
  await alice.close();
  await stage.relay.kill();
  await stage.relay.start();

  const bob = await device('bob', { peer: null });
  await until('bob is told', async () => (await invitations(bob)).length > 0);
  const [[sessionId, peerWallet]] = await invitations(bob);
  assert.deepEqual([sessionId, peerWallet], [alice.sessionId, wallets.alice.address]);
  assert.deepEqual(await bob.call('getActiveSessions'), []);
  assert.equal((await bob.failure('sendMessage', sessionId, 'too soon')).code, 'UNKNOWN_SESSION');

  await bob.setOffline(true);
  await bob.reload();
  assert.deepEqual(await invitations(bob), [[sessionId, peerWallet]], 'and at the next start, offline too');
  const [waiting] = await bob.call('getInvitations');
  assert.deepEqual([waiting.session_id, waiting.peer_wallet], [sessionId, peerWallet]);
  assert.ok(Math.abs(Date.now() - waiting.receivedAt) < 60_000);

  await bob.setOffline(false);
  await bob.accept(sessionId);
  assert.deepEqual(await bob.call('getInvitations'), []);
  assert.equal((await bob.call('getActiveSessions')).length, 1);
  await bob.send('I am.');
  await alice.open();
  const list = await converge([alice, bob], 3);
  assert.deepEqual(list.map(({ text }) => text), ['Hello?', 'Are you there?', 'I am.']);
  assert.equal((await invitations(bob)).length, 1, 'told once');
  assert.deepEqual(await invitations(alice), [], 'who wrote first is not invited');
});

test('who listens late is told of what waits for an answer', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const alice = await device('alice');
  await alice.send('Hello?');
  const bob = await device('bob', { peer: null });
  await until('bob is told', async () => (await invitations(bob)).length > 0);
  const late = () => bob.page.evaluate(async () => {
    const told = [];
    const end = globalThis.device.sdk.on('sessionInvited', (event) => told.push({ ...event }));
    const inTheSameTurn = told.length;
    await Promise.resolve();
    end();
    return [inTheSameTurn, told];
  });
  assert.deepEqual(await late(), [0, [{ sessionId: alice.sessionId, peerWallet: wallets.alice.address }]]);
  await bob.accept(alice.sessionId);
  assert.deepEqual(await late(), [0, []]);
});

test('an invitation comes live, and another device of the wallet has what one accepted', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const phone = await device('bob', { peer: null });
  const laptop = await device('bob', { peer: null });
  for (const each of [phone, laptop]) await until('it is connected', async () => (await each.state()).connection === 'connected');
  const alice = await device('alice');
  for (const each of [phone, laptop]) await until('it is told', async () => (await invitations(each)).length > 0);
  await phone.accept(alice.sessionId);
  await alice.send('Hello');
  await until('the laptop has the session', async () => (await laptop.call('getActiveSessions')).length === 1);
  assert.deepEqual(await laptop.call('getInvitations'), []);
  await until('and its message', async () => (await laptop.call('getStoredMessages', alice.sessionId)).length === 1);
});

test('a declined invitation comes again with the next message, a blocked wallet is silent', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const alice = await device('alice');
  await alice.send('one');
  // What is declined before its first entry is there comes again with that one.
  await until('the relay has it', async () => (await alice.state()).queued === 0);
  const bob = await device('bob', { peer: null });
  await until('bob is told', async () => (await invitations(bob)).length === 1);
  await bob.call('declineSession', alice.sessionId);
  assert.deepEqual(await bob.call('getInvitations'), []);
  await alice.send('two');
  await until('bob is told again', async () => (await invitations(bob)).length === 2);

  await bob.call('blockWallet', wallets.alice.address);
  await alice.send('three');
  await until('the relay has it', async () => (await alice.state()).queued === 0);
  await bob.reload();
  assert.equal((await bob.failure('acceptSession', alice.sessionId)).code, 'WALLET_BLOCKED');
  assert.equal((await bob.failure('startSession', { peerWallet: wallets.alice.address })).code, 'WALLET_BLOCKED');
  assert.deepEqual([await invitations(bob), await bob.call('getInvitations')], [[], []]);
  await bob.call('unblockWallet', wallets.alice.address);
  await until('bob is told of what came meanwhile', async () => (await invitations(bob)).length === 1);
});

test('no argument of the invitation methods makes the wasm trap', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const bob = await device('bob', { peer: null });
  const refused = await bob.page.evaluate(async () => {
    const values = [undefined, null, 5, NaN, true, {}, [], () => {}, Symbol('x'), '', 'x'.repeat(1e6), '\ud800', new Proxy({}, {})];
    const codes = [];
    for (const method of ['acceptSession', 'declineSession', 'blockWallet', 'unblockWallet']) {
      for (const value of values) {
        const result = await globalThis.device.sdk[method](value);
        codes.push(result.success ? 'succeeded' : result.error.code);
      }
    }
    return [...new Set(codes)].sort();
  });
  assert.deepEqual(refused, ['INVALID_ARGUMENT', 'INVALID_WALLET_ADDRESS', 'UNKNOWN_SESSION']);
  assert.deepEqual(await bob.call('getInvitations'), []);
});
