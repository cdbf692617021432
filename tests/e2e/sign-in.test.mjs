// Signing in: a relay that serves only devices whose wallets have signed for them, and wallets that do or do not.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { converge } from './harness/lists.mjs';
import { startRelay } from './harness/relay.mjs';
import { cast, scene } from './harness/scene.mjs';
import { Account, SignedDevice } from './harness/signed-device.mjs';
import { until } from './harness/wait.mjs';

const stage = scene({ auth: 'wallet' });

const config = () => ({ domains: [new URL(stage.relay.url).host], encryption: 'off' });
const signatures = (device) => device.page.evaluate(() => globalThis.device.signatures);
const needed = async (device) => (await device.events('onSignInNeeded')).map(([error]) => error?.code ?? null);
const state = async (device) => (await device.state()).connection;

test('each device has its wallet sign once, and talks', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config() });
  const bob = await device('bob', { config: config() });
  const laptop = await device('bob', { config: config() });
  await alice.send('Hello');
  await bob.send('Hello back');
  await converge([alice, bob, laptop], 2);
  for (const one of [alice, bob, laptop]) assert.deepEqual([await signatures(one), await needed(one)], [1, []], 'the wallet was asked, and nobody else');

  const { id } = alice;
  await alice.reload();
  await alice.send('Again');
  await converge([alice, bob, laptop], 3);
  assert.deepEqual([await signatures(alice), alice.id], [0, id], 'it is the same device, and nobody was asked');
});

test('who declines reads and writes here, and may sign later', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config(), answer: 'declines' });
  await alice.send('Kept');
  await until('the application is told', async () => (await needed(alice)).includes('WALLET_REJECTED'));
  assert.equal((await alice.list()).length, 1);
  await until('nothing is sent', async () => (await state(alice)) === 'offline');
  await alice.page.evaluate(() => {
    globalThis.device.answer = 'signs';
  });
  await alice.call('signIn');
  await converge([alice], 1);
});

test('who listens late is told that the wallet must sign', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const late = (one) => one.page.evaluate(async () => {
    const told = [];
    const end = globalThis.device.sdk.on('signInNeeded', ({ error }) => told.push(error?.code ?? null));
    await Promise.resolve();
    end();
    return [told, globalThis.device.must(globalThis.device.sdk.getSyncStatus()).signInNeeded ?? null];
  });
  const alice = await device('alice', { config: config(), answer: 'declines' });
  await until('the relay does not serve it', async () => (await late(alice))[1] === 'SIGN_IN_REQUIRED');
  assert.deepEqual(await late(alice), [['WALLET_REJECTED'], 'SIGN_IN_REQUIRED'], 'with the reason');
  await until('the relay has said so', async () => (await needed(alice)).length > 1);
  assert.deepEqual([...new Set(await needed(alice))], ['WALLET_REJECTED'], 'no second word takes the reason away');
  await alice.page.evaluate(() => {
    globalThis.device.answer = 'signs';
  });
  await alice.call('signIn');
  await until('it is served', async () => (await state(alice)) === 'connected');
  assert.deepEqual(await late(alice), [[], null]);
});

test('signing in where nobody can is refused with the reason', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const elsewhere = await device('alice', { config: { domains: ['chat.example.org'], encryption: 'off' } });
  const refused = await elsewhere.failure('signIn');
  assert.equal(refused.code, 'WRONG_DOMAIN');
  assert.ok(refused.message.includes('chat.example.org') && refused.message.includes(new URL(stage.relay.url).host), refused.message);
  assert.ok((await needed(elsewhere)).includes('WRONG_DOMAIN'));
  const nobody = await device('bob', { config: {} });
  assert.equal((await nobody.failure('signIn')).code, 'INVALID_ARGUMENT');
});

test('a wallet that cannot sign is told apart', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  for (const answer of ['cannot', 'another text']) {
    const alice = await device('alice', { config: config(), answer });
    assert.equal((await alice.failure('signIn')).code, 'WALLET_CANNOT_SIGN', answer);
    await alice.send('Kept');
    assert.equal((await alice.state()).queued, 1);
    await alice.close();
  }
});

test('the key of a device is nowhere in clear', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config() });
  await alice.send('Hello');
  await converge([alice], 1);
  const stored = await alice.page.evaluate(async (name) => {
    const result = (request) => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const database = await result(indexedDB.open(name));
    const meta = database.transaction('meta').objectStore('meta');
    const [vault, identity] = await Promise.all([result(meta.get('vault')), result(meta.get('identity'))]);
    database.close();
    // The record's first field is what was sealed: 12 bytes, 32 of the key, 16 that prove it.
    return { extractable: vault.extractable, usages: vault.usages, first: [...new Uint8Array(identity)].slice(0, 2) };
  }, alice.database);
  assert.deepEqual(stored, { extractable: false, usages: ['encrypt', 'decrypt'], first: [0x0a, 60] });
});

test('a page of another domain than the application has is asked for nothing', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: { domains: ['elsewhere.example'], encryption: 'off' } });
  await alice.send('Kept');
  await until('the application is told', async () => (await needed(alice)).length > 0);
  assert.equal(await signatures(alice), 0);
});

test('another application at the same relay has sessions of its own', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const [alice, bob] = [await device('alice', { config: config() }), await device('bob', { config: config() })];
  const elsewhere = await device('bob', { config: { domains: [...config().domains, 'other.example'], encryption: 'off' } });
  assert.equal(alice.sessionId, bob.sessionId);
  assert.notEqual(elsewhere.sessionId, bob.sessionId);
  await alice.send('For Bob here');
  await elsewhere.send('For Alice there');
  await until('it is sent', async () => (await elsewhere.state()).queued === 0);
  await bob.send('It came');
  await converge([alice, bob], 2);
  assert.deepEqual((await elsewhere.list()).map(({ text }) => text), ['For Alice there']);
});

const devices = (device) => device.call('getDevices');
const listed = async (device) => (await devices(device)).map(({ id, isApproved }) => `${id}${isApproved ? '!' : ''}`).sort();
const same = (one, others) => JSON.stringify(one) === JSON.stringify(others);
const knows = (device, expected) => until(`${device.name} knows the devices`, async () => same(await listed(device), [...expected].sort()));
const reads = (device) => until(`${device.name} is not connected`, async () => (await state(device)) === 'offline');

test('a device of another program signs in by the documents alone', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const bob = await device('bob', { config: config() });
  const alice = new SignedDevice(new Account(wallets.alice, config().domains));
  t.after(() => alice.close());
  await alice.join(stage.relay.port, wallets.bob.address);
  assert.equal(alice.sessionId, bob.sessionId);
  assert.equal(await alice.write({ counter: 1, knows: 0, time: new Date().toISOString(), said: 'Hello' }), 1);
  await converge([bob], 1);
  await bob.send('Hello back');
  assert.equal(await alice.write({ counter: 2, knows: 2, time: new Date().toISOString(), said: 'And again' }), 3);
  await converge([bob], 3);
  assert.deepEqual((await bob.list()).map(({ text }) => text), ['Hello', 'Hello back', 'And again']);
});

test('a device removes another, from any of its tabs', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const phone = await device('alice', { config: config() });
  await knows(phone, [`${phone.id}!`]);
  const laptop = await device('alice', { config: config() });
  const bob = await device('bob', { config: config() });
  await laptop.send('From the laptop');
  await converge([phone, laptop, bob], 1);
  for (const one of [phone, laptop]) await knows(one, [`${phone.id}!`, laptop.id]);
  const [first, second] = await devices(phone);
  assert.deepEqual([first.isThisDevice, second.isThisDevice, Math.abs(Date.now() - second.addedAt) < 60_000], [true, false, true]);
  assert.deepEqual((await phone.events('onDeviceRequest')).map(([{ id }]) => id), [laptop.id]);
  assert.equal((await laptop.failure('removeDevice', phone.id)).code, 'DEVICE_NOT_APPROVED');
  assert.equal((await phone.failure('removeDevice', 'nobody')).code, 'UNKNOWN_DEVICE');
  assert.equal((await phone.failure('approveDevice', 7)).code, 'INVALID_ARGUMENT');

  const tab = await device('alice', { config: config(), name: phone.name, joins: true });
  assert.equal(await tab.call('getTabRole'), 'follower');
  await tab.call('approveDevice', laptop.id);
  for (const one of [phone, tab, laptop]) await knows(one, [`${phone.id}!`, `${laptop.id}!`]);
  assert.deepEqual(await tab.events('onDeviceApproved'), [[laptop.id]]);
  const removed = laptop.id;
  await tab.call('removeDevice', removed);
  for (const one of [phone, tab]) await knows(one, [`${phone.id}!`]);
  await until('the laptop is told', async () => (await needed(laptop)).includes('DEVICE_REMOVED'));
  await reads(laptop);
  assert.deepEqual(await laptop.events('onDeviceRemoved'), [[removed]]);
  assert.equal((await laptop.failure('sendMessage', laptop.sessionId, 'No')).code, 'DEVICE_REMOVED');
  assert.equal((await laptop.failure('syncMessages')).code, 'DEVICE_REMOVED');
  assert.equal((await laptop.list()).length, 1);

  // Nobody is asked before the person wants it; then once, and it is a new device with all that it had.
  await laptop.reload();
  await until('the laptop is told again', async () => (await needed(laptop)).includes('DEVICE_REMOVED'));
  assert.deepEqual([await signatures(laptop), (await laptop.list()).length], [0, 1]);
  await laptop.call('signIn');
  await laptop.send('Back');
  await converge([phone, laptop, bob], 2);
  assert.equal(await signatures(laptop), 1);
  const now = await laptop.call('getDeviceId');
  assert.notEqual(now, removed);
  await knows(phone, [`${phone.id}!`, now]);
  const queued = await bob.failure('removeDevice', now);
  assert.equal(queued.code, 'UNKNOWN_DEVICE', 'of another wallet');
});

test('devices are known offline, and changed only with the relay', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const phone = await device('alice', { config: config() });
  const laptop = await device('alice', { config: config() });
  await knows(phone, [`${phone.id}!`, laptop.id]);
  phone.offline = true;
  await phone.reload();
  assert.deepEqual(await listed(phone), [`${phone.id}!`, laptop.id].sort());
  for (const [method, ...args] of [['removeDevice', laptop.id], ['approveDevice', laptop.id]]) {
    const { code, userMessage } = await phone.failure(method, ...args);
    assert.deepEqual([code, userMessage], ['RELAY_DISCONNECTED', 'The relay cannot be reached, and this needs it. Try again when you are online.']);
  }
  await phone.setOffline(false);
  await phone.call('removeDevice', laptop.id);
  await reads(laptop);
});

test('the wallet signs all other devices out', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const lost = await device('alice', { config: config() });
  const laptop = await device('alice', { config: config() });
  await knows(laptop, [`${lost.id}!`, laptop.id]);
  await laptop.page.evaluate(() => {
    globalThis.device.answer = 'declines';
  });
  assert.equal((await laptop.failure('signOutOtherDevices')).code, 'WALLET_REJECTED');
  await laptop.send('Still here');
  await converge([lost, laptop], 1);
  await laptop.page.evaluate(() => {
    globalThis.device.answer = 'signs';
  });
  await laptop.call('signOutOtherDevices');
  await reads(lost);
  const now = await laptop.call('getDeviceId');
  assert.notEqual(now, laptop.id);
  await knows(laptop, [`${now}!`]);
  await laptop.send('Alone');
  await converge([laptop], 2);
});

test('a relay of another key is told nothing until the application says so', { timeout: 60_000 }, async (t) => {
  const relay = await startRelay({ auth: 'wallet' });
  t.after(() => relay.stop());
  const { device } = cast(t, { relay, browser: stage.browser });
  const alice = await device('alice', { config: { domains: [new URL(relay.url).host], encryption: 'off' } });
  await alice.send('Hello');
  await converge([alice], 1);
  await relay.kill();
  rmSync(`${relay.journal}-key`);
  await relay.start();
  await until('it is told', async () => (await alice.events('onWarning')).some(([{ code }]) => code === 'RELAY_KEY_CHANGED'));
  await reads(alice);
  await alice.send('Kept');
  assert.equal((await alice.failure('syncMessages')).code, 'RELAY_KEY_CHANGED');
  const { message } = (await alice.events('onWarning')).map(([error]) => error).find(({ code }) => code === 'RELAY_KEY_CHANGED');
  const relayKey = /relayKey to (\w+)/.exec(message)[1];
  assert.ok(relay.log.includes(relayKey), 'the relay tells its operator the same key');
  alice.config = { ...alice.config, relayKey };
  await alice.reload();
  await converge([alice], 2);
});
