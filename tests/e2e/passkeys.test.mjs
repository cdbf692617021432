// Passkeys in pages: a virtual authenticator of Chromium keeps them, and a person comes back by one with no other device there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authenticator } from './harness/authenticator.mjs';
import { cast, scene } from './harness/scene.mjs';
import { inJournal, inMemory } from './harness/traces.mjs';
import { until } from './harness/wait.mjs';

const stage = scene({ auth: 'wallet' });

/** The pages are of a host that has a name: no passkey is for a number. */
const named = () => ({ url: stage.relay.url.replace('127.0.0.1', 'localhost'), endpoint: stage.relay.endpoint });

const config = (more) => ({ domains: [new URL(named().url).host], deviceApproval: 'ask', ...more });

/** The devices of one test, on pages of that host. */
function devices(t) {
  const { device } = cast(t, stage);
  return async (owner, options = {}) => {
    const opened = await device(owner, { relay: named(), config: config(), ...options });
    await signedIn(opened);
    return opened;
  };
}

const own = async (device) => (await device.call('getDevices')).find(({ isThisDevice }) => isThisDevice);

const signedIn = (device) => until(`${device.name} has signed in`, async () => Boolean(await own(device)));

/** The page of this device becomes another device of the wallet, which waits to be approved. What keeps its passkeys stays. */
async function becomesNew(device, databaseName) {
  device.joins = false;
  device.config.databaseName = databaseName;
  await device.reload();
  await signedIn(device);
  assert.equal((await own(device)).isApproved, false);
}

const shows = (device, texts) => until(`${device.name} shows ${texts}`, async () => (await device.list()).map(({ text }) => text).join() === texts.join());

test('a passkey alone brings the whole history to a new device', { timeout: 120_000 }, async (t) => {
  const device = devices(t);
  const alice = await device('alice');
  const bob = await device('bob');
  const keys = await authenticator(alice.page);
  const code = await alice.call('createRecoveryCode');
  await bob.call('createRecoveryCode');
  await alice.send('written before the passkey');
  await shows(bob, ['written before the passkey']);
  const earlier = [];
  for (let times = 1; times <= 2; times += 1) {
    await alice.call('createPasskey');
    const kept = await keys.list();
    assert.equal(kept.length, times, 'the first one stays until the account knows the next');
    assert.ok(kept.every(({ rpId, userName }) => rpId === 'localhost' && userName.startsWith(`${alice.wallet.address.slice(0, 4)}…`) && /\d:\d\d:\d\d/.test(userName)));
    earlier.push(...kept.map(({ credentialId }) => credentialId).filter((id) => !earlier.includes(id)));
  }
  // The simulated person does not choose.
  await keys.forget(earlier[0]);
  const recovery = await alice.call('getRecovery');
  assert.ok(Math.abs(recovery.passkey.createdAt - Date.now()) < 60_000);
  assert.ok(recovery.code.createdAt <= recovery.passkey.createdAt, 'the code stays beside it');
  assert.deepEqual((await alice.events('onRecoveryChanged')).at(-1), [recovery]);
  await bob.send('written behind it');
  const said = ['written before the passkey', 'written behind it'];
  await shows(alice, said);
  await bob.close();
  await becomesNew(alice, 'by-passkey');
  assert.deepEqual(await alice.list(), []);
  assert.deepEqual(await alice.call('getRecovery'), recovery);
  await alice.call('recoverWithPasskey');
  await shows(alice, said);
  await alice.reload();
  await shows(alice, said);
  await becomesNew(alice, 'by-code');
  await alice.call('recover', code);
  await shows(alice, said);
  const output = await alice.page.evaluate(async () => {
    const first = new TextEncoder().encode('solconnect.recover-by-passkey.v1');
    const { results } = (await navigator.credentials.get({ publicKey: { challenge: new Uint8Array(32), extensions: { prf: { eval: { first } } } } })).getClientExtensionResults().prf;
    return [...new Uint8Array(results.first)];
  });
  assert.equal(output.length, 32);
  for (const form of ['hex', 'base64']) {
    const text = Buffer.from(output).toString(form);
    for (const traces of [inJournal, inMemory]) assert.deepEqual(traces(stage.relay, [text]), []);
  }
});

test('a passkey that locks a device brings nobody back, and it says so', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice');
  const keys = await authenticator(alice.page);
  await alice.call('createPasskey');
  const [{ credentialId }] = await keys.list();
  await keys.forget(credentialId);
  alice.config.lockWith = 'passkey';
  await becomesNew(alice, 'locked');
  const { code, message } = await alice.failure('recoverWithPasskey');
  assert.deepEqual([code, message], ['UNKNOWN_RECOVERY_CODE', 'this passkey locks a device']);
});

test('a passkey is made and used in any tab of a device', { timeout: 120_000 }, async (t) => {
  const device = devices(t);
  const alice = await device('alice');
  const tab = await device('alice', { name: alice.name, joins: true });
  await authenticator(tab.page);
  await until('it follows', async () => await tab.call('getTabRole') === 'follower');
  await tab.call('createPasskey');
  await until('the owner knows of it', async () => Boolean((await alice.call('getRecovery')).passkey));
  await alice.close();
  const phone = await device('alice');
  Object.assign(tab.config, { databaseName: phone.config.databaseName });
  await tab.page.bringToFront();
  await tab.reload();
  await until('it follows', async () => await tab.call('getTabRole') === 'follower');
  await tab.call('recoverWithPasskey');
  assert.equal((await own(phone)).isApproved, true);
});

test('what keeps a passkey from being made or used has its code', { timeout: 120_000 }, async (t) => {
  const device = devices(t);
  const alice = await device('alice');
  const codeOf = async (method) => (await alice.failure(method)).code;
  const none = await authenticator(alice.page, { hasPrf: false });
  assert.equal(await codeOf('createPasskey'), 'PASSKEY_UNSUPPORTED', 'no PRF');
  await none.remove();
  const declining = await authenticator(alice.page, { isUserVerified: false });
  const declined = await alice.failure('createPasskey');
  assert.deepEqual([declined.code, declined.recoverable, declined.userMessage], ['PASSKEY_CANCELLED', true, 'No passkey was given. Try again; a recovery code does the same.']);
  await declining.remove();
  const keys = await authenticator(alice.page);
  await alice.setOffline(true);
  for (const method of ['createPasskey', 'recoverWithPasskey']) assert.equal(await codeOf(method), 'RELAY_DISCONNECTED');
  await alice.setOffline(false);
  assert.deepEqual([await alice.call('getRecovery'), await keys.list()], [{}, []], 'nothing was made');
  await until('it is online', async () => (await alice.state()).connection === 'connected');
  await alice.call('createPasskey');
  await becomesNew(alice, 'waits');
  assert.equal(await codeOf('createPasskey'), 'DEVICE_NOT_APPROVED');
  const kept = await keys.list();
  assert.equal(kept.length, 1, 'the one that opens is still there');
  await keys.forget(kept[0].credentialId);
  assert.equal(await codeOf('recoverWithPasskey'), 'PASSKEY_CANCELLED', 'there is none');
  await alice.page.evaluate(() => delete globalThis.PublicKeyCredential);
  assert.equal(await codeOf('recoverWithPasskey'), 'PASSKEY_UNSUPPORTED', 'a browser without passkeys');
});

test('nobody is asked for a passkey in vain', { timeout: 120_000 }, async (t) => {
  const device = devices(t);
  const alice = await device('alice');
  const keys = await authenticator(alice.page);
  const codeOf = async (method) => (await alice.failure(method)).code;
  // Of the day's 20 changes 8 are kept for devices, and one was that this device came.
  for (let count = 1; count <= 11; count += 1) await alice.call('createRecoveryCode');
  assert.equal(await codeOf('createPasskey'), 'LIMIT_REACHED');
  assert.deepEqual(await keys.list(), [], 'none was made');
  await keys.remove();
  const declining = await authenticator(alice.page, { isUserVerified: false });
  await alice.call('recoverWithPasskey');
  await becomesNew(alice, 'waits');
  assert.equal(await codeOf('recoverWithPasskey'), 'UNKNOWN_RECOVERY_CODE', 'the account has none');
  await declining.remove();
});

test('a page of a numbered address uses no passkeys', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice', { relay: stage.relay, config: { domains: [new URL(stage.relay.url).host] } });
  await authenticator(alice.page);
  assert.equal((await alice.failure('createPasskey')).code, 'PASSKEY_UNSUPPORTED');
});

test('a passkey of another wallet opens nothing', { timeout: 60_000 }, async (t) => {
  const device = devices(t);
  const alice = await device('alice');
  await authenticator(alice.page);
  await alice.call('createPasskey');
  const bob = await device('bob');
  await authenticator(bob.page);
  await bob.call('createPasskey');
  await bob.close();
  Object.assign(alice, { wallet: bob.wallet, peer: undefined });
  await becomesNew(alice, 'of-bob');
  assert.equal((await alice.failure('recoverWithPasskey')).code, 'UNKNOWN_RECOVERY_CODE');
});
