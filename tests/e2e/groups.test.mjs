// Groups: sessions of several wallets, between pages and the real relay.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { until } from './harness/wait.mjs';

const stage = scene({ auth: 'wallet' });

const options = () => ({ config: { domains: [new URL(stage.relay.url).host], encryption: 'off' }, peer: null });

/** What a method of the page's SDK answers: `{ success, data }`, or the code of its error. */
const ask = (device, method, ...args) => device.page.evaluate(async ([method, args]) => {
  const result = await globalThis.device.sdk[method](...args);
  return result.success ? { data: result.data } : { code: result.error.code };
}, [method, args]);

const texts = async (device, session) => ((await ask(device, 'getStoredMessages', session, 50)).data ?? []).map(({ text }) => text);

test('a group of three talks, and knows who has read', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const [alice, bob, carol] = [await device('alice', options()), await device('bob', options()), await device('carol', options())];
  const others = [wallets.bob.address, wallets.carol.address];
  const { data: group } = await ask(alice, 'startSession', { members: others, name: 'Walkers' });
  const { data: sent } = await ask(alice, 'sendMessage', group.sessionId, 'Hello all');
  for (const invited of [bob, carol]) {
    await until('it is invited', async () => (await invited.events('onSessionInvited')).some(([id, , name]) => id === group.sessionId && name === 'Walkers'));
    assert.deepEqual(Object.keys(await ask(invited, 'acceptSession', group.sessionId)), ['data']);
    await until('it has the message', async () => (await texts(invited, group.sessionId)).includes('Hello all'));
    await ask(invited, 'sendMessage', group.sessionId, 'I am here');
    await ask(invited, 'markMessageAsRead', sent.messageId);
  }
  await until('both have read', async () => (await ask(alice, 'getMessage', sent.messageId)).data?.readBy?.length === 2);
  assert.deepEqual((await ask(alice, 'getMessage', sent.messageId)).data.readBy.toSorted(), others.toSorted());
  const lists = async () => Promise.all([alice, bob, carol].map((one) => texts(one, group.sessionId)));
  await until('all have all', async () => (await lists()).every((list) => list.length === 3));
  const [first, ...rest] = await lists();
  for (const list of rest) assert.deepEqual(list, first);
});

test('who is removed hears nothing more, and the others go on', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const [alice, bob, carol] = [await device('alice', options()), await device('bob', options()), await device('carol', options())];
  const { data: { sessionId } } = await ask(alice, 'startSession', { members: [wallets.bob.address, wallets.carol.address], name: 'Walkers' });
  await ask(alice, 'sendMessage', sessionId, 'Before');
  for (const invited of [bob, carol]) {
    await until('it is invited', async () => (await invited.events('onSessionInvited')).length > 0);
    await ask(invited, 'acceptSession', sessionId);
    await until('it has the message', async () => (await texts(invited, sessionId)).includes('Before'));
  }
  assert.equal((await ask(bob, 'removeMembers', sessionId, [wallets.carol.address])).code, 'NOT_AN_ADMIN');
  assert.deepEqual(Object.keys(await ask(alice, 'removeMembers', sessionId, [wallets.carol.address])), ['data']);
  await until('carol knows', async () => (await ask(carol, 'sendMessage', sessionId, 'I am still here')).code === 'MEMBER_REMOVED');
  await ask(alice, 'renameSession', sessionId, 'Two walkers');
  await ask(bob, 'sendMessage', sessionId, 'After');
  await until('alice has it', async () => (await texts(alice, sessionId)).includes('After'));
  assert.deepEqual((await texts(carol, sessionId)).filter((text) => text !== 'I am still here'), ['Before'], 'what she has stays readable');

  await ask(alice, 'leaveSession', sessionId);
  await until('bob is all that is left', async () => (await ask(bob, 'getMembers', sessionId)).data.length === 1);
  assert.deepEqual((await ask(bob, 'getMembers', sessionId)).data, [{ wallet: wallets.bob.address, isAdmin: true }], 'the longest member is admin');
  const [session] = (await ask(bob, 'getActiveSessions')).data;
  assert.deepEqual([session.name, session.kind], ['Two walkers', 'group']);
});

test('a group that cannot be is refused by name', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const alice = await device('alice', options());
  const nobody = await device('bob', { peer: null });
  const fine = [wallets.bob.address];
  for (const [members, name] of [[['x'], 'A'], [fine, 5], ['x', 'A'], [[5], 'A'], [fine, ''], [null, 'A']]) {
    const { code } = await ask(alice, 'startSession', { members, name });
    assert.ok(['INVALID_ARGUMENT', 'INVALID_WALLET_ADDRESS', 'INVALID_ADDRESS', 'LIMIT_REACHED'].includes(code), `${JSON.stringify([members, name])}: ${code}`);
  }
  assert.ok((await ask(nobody, 'startSession', { members: [wallets.alice.address], name: 'A' })).code, 'without sign-in there are no groups');
  assert.equal((await ask(alice, 'addMembers', 'no such session', fine)).code, 'UNKNOWN_SESSION');
});

test('a list knows who has read, also when somebody is removed', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const [alice, bob] = [await device('alice', options()), await device('bob', options())];
  const { data: { sessionId } } = await ask(alice, 'startSession', { members: [wallets.bob.address, wallets.carol.address], name: 'Walkers' });
  await alice.page.evaluate((sessionId) => {
    globalThis.list = globalThis.device.sdk.messages(sessionId);
    globalThis.list.subscribe(() => {});
  }, sessionId);
  const shown = () => alice.page.evaluate(() => globalThis.list.getSnapshot().items.map(({ status, readBy }) => [status, ...(readBy ?? [])].join())[0]);
  const { data: { messageId } } = await ask(alice, 'sendMessage', sessionId, 'Hello');
  await until('bob is invited', async () => (await bob.events('onSessionInvited')).length > 0);
  await ask(bob, 'acceptSession', sessionId);
  await until('bob has the message', async () => (await texts(bob, sessionId)).includes('Hello'));
  await ask(bob, 'markMessageAsRead', messageId);
  await until('bob has read it', async () => (await shown()) === `sent,${wallets.bob.address}`);
  await ask(alice, 'removeMembers', sessionId, [wallets.carol.address]);
  await until('all that are left have read it', async () => (await shown()) === `read,${wallets.bob.address}`);
  const { status, readBy } = (await ask(alice, 'getMessage', messageId)).data;
  assert.deepEqual([status, readBy], ['read', [wallets.bob.address]], 'as read anew');
});

test('an export has no group, and one that has is refused by name', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const alice = await device('alice', { ...options(), peer: wallets.bob });
  const { data: { sessionId } } = await ask(alice, 'startSession', { members: [wallets.bob.address], name: 'Walkers' });
  await ask(alice, 'sendMessage', sessionId, 'In the group');
  await ask(alice, 'sendMessage', alice.sessionId, 'Between two');
  await until('both are in the log', async () => (await ask(alice, 'getSyncStatus')).data.queuedMessageCount === 0);
  const { data } = await ask(alice, 'exportMessages');
  const exported = JSON.parse(data);
  assert.deepEqual(exported.sessions.map((session) => session.session_id), [alice.sessionId]);
  assert.ok(!data.includes('In the group') && data.includes('Between two'));
  exported.sessions.push({ ...exported.sessions[0], session_id: sessionId, peer_wallet: '' });
  const other = await device('alice', { ...options(), offline: true });
  const { code, message } = await other.failure('importMessages', JSON.stringify(exported));
  assert.deepEqual([code, message.includes(sessionId)], ['INVALID_ARGUMENT', true], message);
  assert.deepEqual((await ask(other, 'getActiveSessions')).data, [], 'nothing of it is taken');
});
