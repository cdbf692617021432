// Signing in: a relay that serves only devices whose wallets have signed for them, and wallets that do or do not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { converge } from './harness/lists.mjs';
import { cast, scene } from './harness/scene.mjs';
import { until } from './harness/wait.mjs';

const stage = scene({ auth: 'wallet' });

const config = () => ({ domains: [new URL(stage.relay.url).host] });
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
  for (const one of [alice, bob, laptop]) assert.equal(await signatures(one), 1, one.name);

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
  const alice = await device('alice', { config: { domains: ['elsewhere.example'] } });
  await alice.send('Kept');
  await until('the application is told', async () => (await needed(alice)).length > 0);
  assert.equal(await signatures(alice), 0);
});
