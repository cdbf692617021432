// The lock of a device's keys, for computers that several people use: by a passphrase or a passkey, in real pages.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authenticator } from './harness/authenticator.mjs';
import { cast, scene } from './harness/scene.mjs';
import { until } from './harness/wait.mjs';

const stage = scene({ auth: 'wallet' });

/** The pages are of a host that has a name: no passkey is for a number. */
const named = () => ({ url: stage.relay.url.replace('127.0.0.1', 'localhost'), endpoint: stage.relay.endpoint });

const RIGHT = 'correct horse battery';

/** Devices of one test on pages of that host; `lock` goes to their configuration. */
function devices(t) {
  const { device } = cast(t, stage);
  return (owner, lock = {}, options = {}) => device(owner, { relay: named(), config: { domains: [new URL(named().url).host], ...lock }, ...options });
}

/** The device's page is loaded again, and has this in place of its former lock. */
async function reload(device, lock) {
  const { passphrases, lockWith, ...config } = device.config;
  device.config = { ...config, ...lock };
  await device.reload();
}

/** The same where the wallet does not come: why. */
async function refused(device, lock) {
  await assert.rejects(reload(device, lock), /DEVICE_LOCKED/);
  return device.page.evaluate(async (wallet) => {
    const { sdk, plain, walletProvider } = globalThis.device;
    return plain((await sdk.connectWallet(await walletProvider(wallet))).error);
  }, device.wallet);
}

const asked = (device) => device.page.evaluate(() => globalThis.device.asked);
const signatures = (device) => device.page.evaluate(() => globalThis.device.signatures);
const delivered = (device) => until(`all of ${device.name} is sent`, async () => (await device.state()).queued === 0);

/** All that the database has, as text; and whether the key that it keeps opens the device's secret. */
const stored = (device) => device.page.evaluate(async (name) => {
  const result = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const shown = (value) => ArrayBuffer.isView(value) ? [...value].join() : value instanceof CryptoKey ? 'a key' : JSON.stringify(value);
  const database = await result(indexedDB.open(name));
  const texts = [];
  for (const store of database.objectStoreNames) {
    const all = database.transaction(store).objectStore(store);
    const [keys, values] = await Promise.all([result(all.getAllKeys()), result(all.getAll())]);
    keys.forEach((key, place) => texts.push(`${store} ${JSON.stringify(key)}: ${shown(values[place])}`));
  }
  const meta = database.transaction('meta').objectStore('meta');
  const [vault, identity] = await Promise.all([result(meta.get('vault')), result(meta.get('identity'))]);
  database.close();
  // The record's first field: its tag, its length in one byte or two, the nonce, what is sealed.
  const begin = identity[1] < 0x80 ? 2 : 3;
  const sealed = identity.subarray(begin, begin + (begin === 2 ? identity[1] : identity[1] - 0x80 + identity[2] * 0x80));
  const opened = await crypto.subtle.decrypt({ name: 'AES-GCM', iv: sealed.subarray(0, 12) }, vault, sealed.subarray(12)).catch(() => null);
  return { text: texts.join('\n'), opens: opened !== null, isExtractable: vault.extractable };
}, device.database);

/** What the database has of its lock, after `given` was put there. */
const lockRecord = (device, given) => device.page.evaluate(({ name, given }) => new Promise((resolve, reject) => {
  const opening = indexedDB.open(name);
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const meta = opening.result.transaction('meta', 'readwrite').objectStore('meta');
    if (given) meta.put(Uint8Array.from(given), 'lock');
    meta.get('lock').onsuccess = ({ target }) => {
      opening.result.close();
      resolve([...target.result]);
    };
  };
}), { name: device.database, given });

test('a locked device opens by its passphrase, without the wallet', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice', { passphrases: ['short', '1234567', RIGHT] });
  await alice.send('before');
  await delivered(alice);
  assert.equal(await signatures(alice), 1);
  const again = { isNew: true, error: 'PASSPHRASE_TOO_SHORT' };
  assert.deepEqual(await asked(alice), [{ isNew: true }, again, again]);
  const { id } = alice;
  await reload(alice, { passphrases: ['correct horse batterz', RIGHT] });
  assert.deepEqual(await asked(alice), [{ isNew: false }, { isNew: false, error: 'WRONG_PASSPHRASE' }]);
  await alice.send('behind');
  await delivered(alice);
  assert.deepEqual([alice.id, await signatures(alice)], [id, 0]);
  assert.deepEqual(await alice.events('onWarning'), []);
});

test('the key that IndexedDB keeps opens no locked device', { timeout: 60_000 }, async (t) => {
  const device = devices(t);
  const [alice, bob] = [await device('alice'), await device('bob', { passphrases: [RIGHT] })];
  await Promise.all([delivered(alice), delivered(bob)]);
  for (const [one, opens] of [[alice, true], [bob, false]]) {
    await until('it has signed in', async () => (await one.call('getDevices')).length === 1);
    const found = await stored(one);
    assert.deepEqual([found.opens, found.isExtractable], [opens, false]);
  }
});

test('who does not unlock a device changes nothing and may wipe it', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice', { passphrases: [RIGHT] }, { peer: null });
  await until('it has signed in', async () => (await alice.call('getDevices')).length === 1);
  await alice.call('cleanup');
  const { text } = await stored(alice);
  const declined = await refused(alice, { passphrases: ['a wrong one', 'another one'] });
  assert.deepEqual([declined.code, declined.recoverable, (await asked(alice)).length], ['DEVICE_LOCKED', true, 4], 'asked again with each call');
  assert.equal((await refused(alice, {})).code, 'DEVICE_LOCKED');
  assert.match((await refused(alice, { lockWith: 'passkey' })).message, /the other way/);
  assert.equal((await stored(alice)).text, text);
  await alice.call('logout', { wipe: true });
  const names = await alice.page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name));
  assert.equal(names.includes(alice.database), false);
});

test('a device that was open to all is locked from then on', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice');
  await alice.send('kept');
  const { id } = alice;
  await reload(alice, { passphrases: [RIGHT] });
  assert.deepEqual([alice.id, await asked(alice), (await stored(alice)).opens], [id, [{ isNew: true }], false]);
  await refused(alice, {});
  await reload(alice, { passphrases: [RIGHT] });
  await delivered(alice);
  assert.deepEqual((await alice.list()).map(({ text }) => text), ['kept']);
});

test('of two tabs that choose at once one locks it', { timeout: 60_000 }, async (t) => {
  const device = devices(t);
  const alice = await device('alice', {}, { peer: null });
  const tabs = [alice, await device('alice', {}, { name: alice.name, joins: true, peer: null })];
  const choices = ['chosen in the first', 'chosen in the other'];
  for (const { page, wallet, config } of tabs) {
    await page.evaluate(async ({ wallet, config }) => {
      const { sdk, must, sync, walletProvider, asked } = globalThis.device;
      must(await sdk.cleanup());
      const passphrase = ({ isNew, error }) => {
        asked.push([isNew, error?.code]);
        return new Promise((resolve) => Object.assign(globalThis, { answer: resolve }));
      };
      const other = await sync.initializeSDK({ ...config, databaseName: 'chosen-at-once', lockWith: { passphrase } });
      must(await other.initialize());
      Object.assign(globalThis, { other, connected: other.connectWallet(await walletProvider(wallet)) });
    }, { wallet, config });
  }
  const answer = ({ page }, passphrase) => page.evaluate((passphrase) => globalThis.answer(passphrase), passphrase);
  for (const tab of tabs) await until('it asks', async () => (await asked(tab)).length === 1);
  await Promise.all(tabs.map((tab, place) => answer(tab, choices[place])));
  const times = () => Promise.all(tabs.map(async (tab) => (await asked(tab)).length));
  await until('one is asked again', async () => (await times()).includes(2));
  const loser = (await times()).indexOf(2);
  assert.deepEqual((await asked(tabs[loser]))[1], [false, 'WRONG_PASSPHRASE']);
  await answer(tabs[loser], choices[1 - loser]);
  for (const { page } of tabs) assert.equal(await page.evaluate(async () => (await globalThis.connected).error?.code), undefined);
  await tabs[1 - loser].close();
  await until('it owns', () => tabs[loser].page.evaluate(() => globalThis.other.getTabRole().data === 'owner'));
  assert.equal((await asked(tabs[loser])).length, 2);
});

test('a page that has no key does not claim what is locked meanwhile', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice', {}, { peer: null });
  await until('it has signed in', async () => (await alice.call('getDevices')).length === 1);
  await alice.call('cleanup');
  const claims = async () => (await stored(alice)).text.split('\n').filter((line) => line.startsWith('claims'));
  const before = await claims();
  const code = await alice.page.evaluate(async ({ wallet, config }) => {
    const { sync, must, walletProvider } = globalThis.device;
    const { transaction } = IDBDatabase.prototype;
    // Another tab locks it right before this one claims it.
    IDBDatabase.prototype.transaction = function begin(stores, mode, ...rest) {
      if (mode === 'readwrite' && stores.includes('claims') && stores.includes('meta')) {
        IDBDatabase.prototype.transaction = transaction;
        this.transaction('meta', 'readwrite').objectStore('meta').put(new Uint8Array(50), 'lock');
      }
      return transaction.call(this, stores, mode, ...rest);
    };
    const other = await sync.initializeSDK(config);
    must(await other.initialize());
    return (await other.connectWallet(await walletProvider(wallet))).error.code;
  }, { wallet: alice.wallet, config: alice.config });
  assert.equal(code, 'DEVICE_LOCKED');
  assert.deepEqual(await claims(), before);
});

test('a lock that was chosen in a page that ended locks all the same', { timeout: 60_000 }, async (t) => {
  const device = devices(t);
  const [alice, bob] = [await device('alice'), await device('bob', { passphrases: [RIGHT] })];
  await Promise.all([delivered(alice), delivered(bob)]);
  await alice.call('cleanup');
  // What it had chosen is written, and its secrets are as they were.
  await lockRecord(alice, await lockRecord(bob));
  const { id } = alice;
  assert.equal((await stored(alice)).opens, true);
  await reload(alice, { passphrases: [RIGHT] });
  await delivered(alice);
  assert.deepEqual([alice.id, (await stored(alice)).opens, await alice.events('onWarning')], [id, false, []]);
  await reload(alice, { passphrases: [RIGHT] });
  assert.deepEqual([alice.id, await signatures(alice)], [id, 0]);
});

test('each tab asks once, and none that takes over', { timeout: 60_000 }, async (t) => {
  const device = devices(t);
  const alice = await device('alice', { passphrases: [RIGHT] });
  const tab = await device('alice', { passphrases: [RIGHT] }, { name: alice.name, joins: true });
  await tab.send('through the owner');
  await alice.crash();
  await tab.send('by itself');
  await until('it owns', async () => (await tab.call('getTabRole')) === 'owner');
  await delivered(tab);
  assert.deepEqual([tab.id, await asked(tab), await signatures(tab)], [alice.id, [{ isNew: false }], 0]);
  const other = await device('alice', {}, { name: alice.name, joins: true, peer: null }).catch((error) => error);
  assert.match(other.message, /CONFIG_MISMATCH: .* There: .*, lockWith passphrase\. Here: (?!.*lockWith)/);
  assert.equal(await tab.call('getTabRole'), 'owner');
});

test('an account that is chosen in the wallet is asked for too', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice', { passphrases: [RIGHT] }, { peer: null });
  const outcome = await alice.page.evaluate(async (config) => {
    const { sdk, must, sync, asked } = globalThis.device;
    must(await sdk.cleanup());
    const [first, second] = await Promise.all(['first', 'second'].map((name) => sync.createLocalWallet(`${config.databaseName}-${name}`)));
    const passphrases = [...config.passphrases];
    const lockWith = { passphrase: async ({ isNew }) => (asked.push(isNew), passphrases.shift() ?? null) };
    let choose;
    const provider = {
      publicKey: first.publicKey,
      signMessage: first.signMessage,
      on: (event, tell) => {
        if (event === 'accountChanged') choose = tell;
      },
      off: () => {},
    };
    delete config.passphrases;
    const other = await sync.initializeSDK({ ...config, lockWith });
    must(await other.initialize());
    const warned = new Promise((resolve) => other.on('warning', ({ error }) => resolve(error.code)));
    must(await other.connectWallet(provider));
    asked.length = 0;
    choose(second.publicKey);
    const left = must(other.getCurrentWallet());
    return { left, code: await warned, wallet: must(other.getCurrentWallet()), asked };
  }, alice.config);
  assert.deepEqual(outcome, { left: null, code: 'DEVICE_LOCKED', wallet: null, asked: [true] });
});

test('connect asks once, also where its function is made anew', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice', { passphrases: [RIGHT] }, { peer: null });
  await alice.call('cleanup');
  const outcome = await alice.page.evaluate(async ({ wallet, config: { passphrases: [passphrase], ...config } }) => {
    const { sync, walletProvider } = globalThis.device;
    const provider = await walletProvider(wallet);
    let count = 0;
    const connect = () => sync.connect({ ...config, wallet: provider, lockWith: { passphrase: async () => (count += 1, passphrase) } });
    const [one, other] = await Promise.all([connect(), connect()]);
    return { isSame: one === other && one === await connect(), count };
  }, { wallet: alice.wallet, config: alice.config });
  assert.deepEqual(outcome, { isSame: true, count: 1 });
});

test('calls meanwhile wait for no person who unlocks', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice', { passphrases: [RIGHT] }, { peer: null });
  const outcome = await alice.page.evaluate(async ({ wallet, config: { passphrases: [passphrase], ...config } }) => {
    const { sdk, must, sync, walletProvider } = globalThis.device;
    must(await sdk.cleanup());
    let count = 0;
    let answer;
    const answered = new Promise((resolve) => {
      answer = resolve;
    });
    const asking = new Promise((resolve) => {
      config.lockWith = { passphrase: ({ signal }) => (signal.onabort = () => {}, count += 1, resolve(signal), answered) };
    });
    const other = await sync.initializeSDK(config);
    must(await other.initialize());
    const provider = await walletProvider(wallet);
    const calls = [other.connectWallet(provider), other.connectWallet(provider)];
    const signal = await asking;
    const { aborted } = signal;
    const wiped = await other.logout({ wipe: true });
    const codes = (await Promise.all(calls)).map(({ error }) => error?.code);
    answer(passphrase);
    return { count, wiped: wiped.success, codes, signal: [aborted, signal.aborted, signal.reason.code] };
  }, { wallet: alice.wallet, config: alice.config });
  assert.deepEqual(outcome, { count: 1, wiped: true, codes: ['CALL_SUPERSEDED', 'CALL_SUPERSEDED'], signal: [false, true, 'CALL_SUPERSEDED'] });
});

test('a passkey that is listed nowhere locks a device', { timeout: 60_000 }, async (t) => {
  const alice = await devices(t)('alice', {}, { peer: null });
  const keys = await authenticator(alice.page, { hasResidentKey: false });
  alice.config.databaseName = 'locked-by-a-small-key';
  await reload(alice, { lockWith: 'passkey' });
  const { id } = alice;
  assert.deepEqual((await keys.list()).map(({ isResidentCredential }) => isResidentCredential), [false]);
  await reload(alice, { lockWith: 'passkey' });
  assert.equal(alice.id, id);
});

test('a passkey locks a device, and another one opens nothing', { timeout: 60_000 }, async (t) => {
  const device = devices(t);
  const page = await device('bob', {}, { peer: null });
  const keys = await authenticator(page.page);
  page.wallet = (await device('alice', {}, { peer: null })).wallet;
  page.config.databaseName = 'locked-by-passkey';
  await page.page.bringToFront();
  await reload(page, { lockWith: 'passkey' });
  await until('it has signed in', async () => (await page.call('getDevices')).some(({ isThisDevice }) => isThisDevice));
  const { id } = page;
  const [{ credentialId, userName }, ...others] = await keys.list();
  assert.deepEqual([userName.endsWith(', lock'), others], [true, []]);
  assert.equal((await stored(page)).opens, false);
  await reload(page, { lockWith: 'passkey' });
  assert.deepEqual([page.id, await signatures(page)], [id, 0]);
  const output = (purpose) => page.page.evaluate(async (purpose) => {
    const first = new TextEncoder().encode(`solconnect.${purpose}-by-passkey.v1`);
    const used = await navigator.credentials.get({ publicKey: { challenge: new Uint8Array(32), extensions: { prf: { eval: { first } } } } });
    return [...new Uint8Array(used.getClientExtensionResults().prf.results.first)].join();
  }, purpose);
  assert.notEqual(await output('locking'), await output('recover'));
  await refused(page, { passphrases: [RIGHT] });
  assert.deepEqual(await asked(page), []);
  await keys.forget(credentialId);
  const { code, message } = await refused(page, { lockWith: 'passkey' });
  assert.equal(code, 'DEVICE_LOCKED');
  assert.match(message, /no passkey was given/);
});
