// The directory of a profile's wallets, over a small IndexedDB in memory. tests/e2e/wallets.test.mjs has it in a browser.
import { forceCloseDatabase, IDBDatabase, IDBFactory, IDBObjectStore } from 'fake-indexeddb';
import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { newWallet } from '../e2e/harness/wallet.mjs';
import { addressOf, check, coded, load } from './modules.mjs';

const { Directory } = await load('directory');

const name = 'solconnect-sync';
const [alice, bob] = [newWallet().address, newWallet().address];
const directory = () => new Directory(name, addressOf);
const engineStores = ['meta', 'sessions', 'heads', 'outbox', 'log', 'versions', 'names'];

const settled = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** A database that something else makes, with one record in its first store. It stays open. */
function make(database, version, stores, value = 'theirs') {
  const request = indexedDB.open(database, version);
  request.onupgradeneeded = () => {
    for (const store of stores) request.result.createObjectStore(store);
    if (stores.length > 0) request.transaction.objectStore(stores[0]).put(value, 'format');
  };
  return settled(request);
}

const deleteDatabase = (name) => settled(indexedDB.deleteDatabase(name));

/** All that can be seen of a database. */
async function contents(database) {
  const open = await settled(indexedDB.open(database));
  const stores = [...open.objectStoreNames];
  const records = [];
  for (const store of stores) records.push([store, await settled(open.transaction(store).objectStore(store).getAll())]);
  open.close();
  return { version: open.version, records };
}

const names = async () => (await indexedDB.databases()).map(({ name }) => name).sort();

/** Puts something in place of a global, for one test: a `value`, or a getter. */
function put(global, descriptor) {
  const own = Object.getOwnPropertyDescriptor(globalThis, global);
  Object.defineProperty(globalThis, global, { configurable: true, ...descriptor });
  restored.push(() => (own ? Object.defineProperty(globalThis, global, own) : delete globalThis[global]));
}
const restored = [];

beforeEach(() => put('indexedDB', { value: new IDBFactory() }));
afterEach(() => {
  mock.restoreAll();
  mock.timers.reset();
  while (restored.length > 0) restored.pop()();
});

describe('wallets that were used', () => {
  test('the last one is known, until it is forgotten', async () => {
    assert.equal(await directory().last(), null);
    await directory().remember(alice, 'provider');
    await directory().remember(bob, 'local');
    assert.deepEqual(await directory().last(), { address: bob, kind: 'local' });
    await directory().remember(alice, 'provider');
    assert.deepEqual(await directory().last(), { address: alice, kind: 'provider' });
    await directory().forgetLast();
    await directory().forgetLast();
    assert.equal(await directory().last(), null);
    await directory().wipe(alice, deleteDatabase);
  });

  test('calls that overlap are done in their order', async () => {
    const own = directory();
    await Promise.all([own.remember(alice, 'provider'), own.forgetLast(), own.remember(bob, 'provider')]);
    assert.deepEqual(await own.last(), { address: bob, kind: 'provider' });
  });

  test('no connection stays open, whatever becomes of the call', async () => {
    (await make(`${name}/${bob}`, 1, ['todos'])).close();
    let open = 0;
    const { close } = IDBDatabase.prototype;
    mock.method(IDBDatabase.prototype, 'close', function () {
      if (!this.isCounted) open -= 1;
      this.isCounted = true;
      return close.apply(this);
    });
    const opening = IDBFactory.prototype.open;
    mock.method(IDBFactory.prototype, 'open', function (...args) {
      const request = opening.apply(this, args);
      request.addEventListener('success', () => (open += 1));
      return request;
    });
    await directory().localWallet();
    await directory().remember(alice, 'provider');
    await assert.rejects(directory().remember(alice, () => {}), coded('STORAGE_ERROR'));
    await directory().wipe(alice, deleteDatabase);
    await assert.rejects(directory().wipe(bob, deleteDatabase), coded('STORAGE_FOREIGN'));
    assert.equal(open, 0);
  });

  test('each name has a directory of its own', async () => {
    await directory().remember(alice, 'provider');
    assert.equal(await new Directory('other', addressOf).last(), null);
  });
});

describe('the local wallet', () => {
  test('is made once, for all tabs that ask at the same time', async () => {
    const wallets = await Promise.all(Array.from({ length: 8 }, () => directory().localWallet()));
    assert.equal(new Set(wallets.map(({ address }) => address)).size, 1);
    const [{ address, kind }] = wallets;
    check(address);
    assert.equal(kind, 'local');
    await directory().remember(address, kind);
    assert.equal((await directory().localWallet()).address, address);
  });

  test('signs with a key that no script can read', async () => {
    const wallet = await directory().localWallet();
    const message = new TextEncoder().encode('a message');
    const [, [stored]] = (await contents(name)).records.find(([store]) => store === 'wallets');
    assert.equal(stored.keys.privateKey.extractable, false);
    await assert.rejects(webcrypto.subtle.exportKey('pkcs8', stored.keys.privateKey));
    for (const signer of [wallet, await directory().localWallet()]) {
      assert.ok(await webcrypto.subtle.verify('Ed25519', stored.keys.publicKey, await signer.signMessage(message), message));
    }
    await assert.rejects(wallet.signMessage('text'), coded('CRYPTO_ERROR'));
    wallet.onAccountChanged(() => {})();
  });

  test('stays the local one, also where the page hands it over as its own', async () => {
    const { address } = await directory().localWallet();
    await directory().remember(address, 'provider');
    assert.deepEqual(await directory().last(), { address, kind: 'local' });
    assert.equal((await directory().localWallet()).address, address);
  });

  test('is another one after it was wiped', async () => {
    const first = await directory().localWallet();
    await directory().remember(first.address, 'local');
    await directory().wipe(first.address, deleteDatabase);
    assert.equal(await directory().last(), null);
    assert.notEqual((await directory().localWallet()).address, first.address);
  });

  test('is made at another try where the first fails by chance', async (t) => {
    const byChance = async () => Promise.reject(new DOMException('by chance', 'OperationError'));
    t.mock.method(webcrypto.subtle, 'generateKey', byChance, { times: 2 });
    check((await directory().localWallet()).address);
  });

  const without = {
    'CRYPTO_ERROR always by chance': { crypto: { subtle: { generateKey: async () => Promise.reject(new DOMException('by chance', 'OperationError')) } } },
    'CRYPTO_ERROR no Ed25519': { crypto: { subtle: { generateKey: async () => Promise.reject(new DOMException('no such algorithm', 'NotSupportedError')) } } },
    'CRYPTO_ERROR a generateKey that throws': { crypto: { subtle: { generateKey: () => { throw new TypeError('no'); } } } },
    'CRYPTO_ERROR no WebCrypto': { crypto: {} },
    'CRYPTO_ERROR no crypto': { crypto: undefined },
    'INSECURE_CONTEXT neither https nor localhost': { crypto: {}, isSecureContext: false },
  };
  for (const [what, globals] of Object.entries(without)) {
    test(what, async () => {
      for (const [global, value] of Object.entries(globals)) put(global, { value });
      await assert.rejects(directory().localWallet(), coded(what.split(' ')[0]));
      await directory().remember(alice, 'provider');
    });
  }
});

describe('what is not ours', () => {
  const cases = {
    'STORAGE_FOREIGN another application\'s, of version 1': [1, ['todos']],
    'STORAGE_FOREIGN of a high version': [4_000_000, ['todos']],
    'STORAGE_FOREIGN without stores': [1, []],
    'STORAGE_FOREIGN with stores of our names': [1, ['state', 'wallets']],
    'STORAGE_FOREIGN with stores of our names in another order': [3, ['wallets', 'state', 'more']],
    'STORAGE_VERSION of the engine, before there was a directory': [4, engineStores],
    'STORAGE_VERSION of the engine\'s first format': [2, ['meta', 'sessions', 'outbox', 'log', 'versions']],
    'STORAGE_VERSION a directory of a later format': [2, ['state', 'wallets', 'more'], 'solconnect-sync directory 2'],
  };
  for (const [what, [version, stores, value]] of Object.entries(cases)) {
    test(`${what} is refused and untouched, whoever holds it open`, async () => {
      const holder = await make(name, version, stores, value);
      holder.onversionchange = () => assert.fail('it was asked to close');
      const before = await contents(name);
      const calls = [(own) => own.last(), (own) => own.remember(alice, 'local'), (own) => own.forgetLast(), (own) => own.localWallet(), (own) => own.wipe(alice, deleteDatabase)];
      for (const call of calls) await assert.rejects(call(directory()), coded(what.split(' ')[0]));
      assert.deepEqual(await contents(name), before);
      assert.deepEqual(await names(), [name]);
      holder.close();
      // Nothing of ours keeps it from being upgraded.
      (await settled(indexedDB.open(name, version + 1))).close();
    });
  }

  test('a wallet\'s database that something else made is not wiped', async () => {
    await directory().remember(alice, 'provider');
    const holder = await make(`${name}/${alice}`, 1, ['todos']);
    holder.onversionchange = () => assert.fail('it was asked to close');
    await assert.rejects(directory().wipe(alice, deleteDatabase), coded('STORAGE_FOREIGN'));
    assert.deepEqual(await contents(`${name}/${alice}`), { version: 1, records: [['todos', ['theirs']]] });
    assert.deepEqual(await directory().last(), { address: alice, kind: 'provider' });
  });

  test('whoever makes it at the same moment, one of both keeps it', async () => {
    for (const isOursFirst of [true, false]) {
      put('indexedDB', { value: new IDBFactory() });
      const ours = () => directory().remember(alice, 'provider').then(() => 'ours', (error) => error.code);
      const theirs = () => make(name, 1, ['todos']).then((database) => [...database.objectStoreNames].join());
      const [first, second] = isOursFirst ? [ours(), theirs()] : [theirs(), ours()];
      assert.deepEqual(await Promise.all([first, second]), isOursFirst ? ['ours', 'state,wallets'] : ['todos', 'STORAGE_FOREIGN']);
    }
  });
});

describe('wiping', () => {
  test('removes the database, its mark and what is known of the wallet, and nothing of others', async () => {
    const marks = new Map([[`${name}/${alice}.stored`, '1'], [`${name}/${bob}.stored`, '1']]);
    put('localStorage', { value: { removeItem: (key) => marks.delete(key) } });
    await directory().remember(alice, 'provider');
    await directory().remember(bob, 'provider');
    for (const wallet of [alice, bob]) (await make(`${name}/${wallet}`, 4, engineStores)).close();
    await directory().wipe(alice, deleteDatabase);
    assert.deepEqual(await names(), [name, `${name}/${bob}`].sort());
    assert.deepEqual([...marks.keys()], [`${name}/${bob}.stored`]);
    assert.deepEqual(await directory().last(), { address: bob, kind: 'provider' });
    await directory().wipe(bob, deleteDatabase);
    assert.deepEqual(await directory().last(), null);
    assert.deepEqual(await contents(name), { version: 1, records: [['state', ['solconnect-sync directory 1']], ['wallets', []]] });
  });

  test('makes nothing of a wallet that is not there', async () => {
    await directory().wipe(alice, deleteDatabase);
    assert.deepEqual(await names(), [name]);
  });

  test('works where the page has no localStorage, or may not use it', async () => {
    const refuse = () => {
      throw new DOMException('no', 'SecurityError');
    };
    for (const storage of [{ value: undefined }, { value: null }, { get: refuse }, { value: { removeItem: refuse } }]) {
      put('localStorage', storage);
      (await make(`${name}/${alice}`, 4, engineStores)).close();
      await directory().wipe(alice, deleteDatabase);
      assert.deepEqual(await names(), [name]);
    }
  });

  test('asks tabs that hold the database open to close it', async () => {
    const holder = await make(`${name}/${alice}`, 4, engineStores);
    holder.onversionchange = () => holder.close();
    await directory().wipe(alice, deleteDatabase);
    assert.deepEqual(await names(), [name]);
  });

  test('fails where a tab does not let go, and can be done again', async () => {
    const holder = await make(`${name}/${alice}`, 4, engineStores);
    await directory().remember(alice, 'provider');
    mock.timers.enable({ apis: ['setTimeout'] });
    const failing = assert.rejects(directory().wipe(alice, deleteDatabase), coded('STORAGE_ERROR'));
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      for (let turns = 0; turns < 20; turns += 1) await turn();
      mock.timers.tick(5_000);
    }
    await failing;
    mock.timers.reset();
    assert.deepEqual(await names(), [name, `${name}/${alice}`]);
    holder.close();
    await directory().wipe(alice, deleteDatabase);
    assert.deepEqual(await names(), [name]);
  });
});

describe('IndexedDB that is not as it should be', () => {
  const throwing = (name) => () => {
    throw new DOMException('no', name);
  };
  const failing = (name) => () => {
    const request = { error: new DOMException('no', name) };
    queueMicrotask(() => request.onerror());
    return request;
  };
  const cases = {
    'STORAGE_MISSING absent': { value: undefined },
    'STORAGE_MISSING null': { value: null },
    'STORAGE_REFUSED to a sandboxed frame': { get: throwing('SecurityError') },
    'STORAGE_REFUSED when it is opened': { value: { open: throwing('SecurityError') } },
    'STORAGE_REFUSED in a private window': { value: { open: failing('InvalidStateError') } },
    'STORAGE_FULL full': { value: { open: failing('QuotaExceededError') } },
    'STORAGE_ERROR broken': { value: { open: failing('UnknownError') } },
  };
  for (const [what, global] of Object.entries(cases)) {
    test(what, async () => {
      put('indexedDB', global);
      const calls = [(own) => own.last(), (own) => own.remember(alice, 'local'), (own) => own.forgetLast(), (own) => own.localWallet(), (own) => own.wipe(alice, deleteDatabase)];
      for (const call of calls) await assert.rejects(call(directory()), coded(what.split(' ')[0]));
    });
  }

  test('STORAGE_ERROR it never answers', async () => {
    put('indexedDB', { value: { open: () => ({}) } });
    mock.timers.enable({ apis: ['setTimeout'] });
    const failing = assert.rejects(directory().last(), coded('STORAGE_ERROR'));
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      await turn();
      mock.timers.tick(5_000);
    }
    await failing;
  });

  test('a request that is answered too late changes nothing', async () => {
    await directory().remember(bob, 'provider');
    const { open } = IDBFactory.prototype;
    const held = [];
    mock.method(IDBFactory.prototype, 'open', function (...args) {
      const request = {};
      held.push(() => Object.assign(open.apply(this, args), { onsuccess: (event) => Object.assign(request, { result: event.target.result }).onsuccess() }));
      return request;
    });
    mock.timers.enable({ apis: ['setTimeout'] });
    const failing = assert.rejects(directory().remember(alice, 'provider'), coded('STORAGE_ERROR'));
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      await turn();
      mock.timers.tick(5_000);
    }
    await failing;
    mock.restoreAll();
    mock.timers.reset();
    for (const answer of held) answer();
    for (let turns = 0; turns < 20; turns += 1) await turn();
    assert.equal(held.length, 2);
    assert.deepEqual(await directory().last(), { address: bob, kind: 'provider' });
  });

  test('a connection that is lost once is replaced', async () => {
    await directory().remember(alice, 'provider');
    const { transaction } = IDBDatabase.prototype;
    let lost = 0;
    mock.method(IDBDatabase.prototype, 'transaction', function (...args) {
      if (lost++ === 0) forceCloseDatabase(this);
      return transaction.apply(this, args);
    });
    assert.deepEqual(await directory().last(), { address: alice, kind: 'provider' });
    assert.ok(lost > 1);
  });

  test('a full disk writes all or nothing', async () => {
    await directory().remember(alice, 'provider');
    const { put } = IDBObjectStore.prototype;
    mock.method(IDBObjectStore.prototype, 'put', function (...args) {
      if (this.name === 'state') throw new DOMException('full', 'QuotaExceededError');
      return put.apply(this, args);
    });
    await assert.rejects(directory().remember(bob, 'provider'), coded('STORAGE_FULL'));
    mock.restoreAll();
    const { records } = await contents(name);
    assert.deepEqual(records.find(([store]) => store === 'wallets')[1].map(({ address }) => address), [alice]);
  });
});
