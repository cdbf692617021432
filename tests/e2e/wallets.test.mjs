// Wallets and the directory in a real browser, with an extension that injects wallets. tests/surface has every hostile case.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import { join } from 'node:path';
import { root } from '../../scripts/shell.mjs';
import { bundled } from '../surface/modules.mjs';
import { startBrowser } from './harness/browser.mjs';
import { until } from './harness/wait.mjs';

const page = `<!doctype html><title>wallets</title><script type="module">
import * as surface from './surface.js';
const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
function addressOf(bytes) {
  let number = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  let text = '';
  for (; number > 0n; number /= 58n) text = alphabet[Number(number % 58n)] + text;
  return '1'.repeat(bytes.findIndex((byte) => byte !== 0)) + text;
}
function check(address) {
  if (!/^[1-9A-HJ-NP-Za-km-z]{32,44}$/.test(address)) throw new TypeError('no address');
}
const codes = (promise) => promise.then((value) => ({ value }), (error) => ({ code: error.code, cause: error.cause?.message, isError: error instanceof Error }));
globalThis.surface = {
  ...surface, addressOf, check, codes,
  open: (given, options) => surface.openWallet(given, { addressOf, check, timeoutMs: 10_000, ...options }),
  /** The wallet's address, or the code of the error. */
  address: (given, options) => codes(globalThis.surface.open(given, options).then(({ address }) => address)),
  directory: (name = 'solconnect-sync') => new surface.Directory(name, addressOf),
};
</script>`;

let server;
let browser;
let url;
let worker;

before(async () => {
  const code = await bundled({}, 'wallets', 'directory');
  server = createServer((request, response) => {
    const isCode = request.url === '/surface.js';
    response.setHeader('content-type', isCode ? 'text/javascript' : 'text/html');
    response.end(isCode ? code : page);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${server.address().port}/`;
  browser = await startBrowser({ extension: join(root, 'tests', 'e2e', 'extension') });
  worker = await until('the extension runs', () => browser.context.serviceWorkers()[0]);
});

after(async () => {
  await browser?.stop();
  server?.close();
});

/** The person before the wallet. */
const person = (method, ...given) => worker.evaluate(({ method, given }) => globalThis.person[method](...given), { method, given });

let [first, second] = [];

beforeEach(async () => {
  [first, second] = await person('addresses');
  await person('will', 'accept');
  await person('choose', 0);
  await person('prompts');
});

/** A new tab, closed after the test. */
async function open(t, address = url) {
  const tab = await browser.newPage();
  t.after(() => tab.close());
  await tab.goto(address);
  await tab.waitForFunction(() => globalThis.surface);
  return tab;
}

const kinds = {
  'a provider that an extension injects': () => globalThis.phantom.solana,
  'a wallet of the Wallet Standard': () => globalThis.surface.findWallets().wallets[0],
};
for (const [kind, find] of Object.entries(kinds)) {
  describe(kind, { timeout: 60_000 }, () => {
    const given = `(${find})()`;

    test('connects and signs', async (t) => {
      const tab = await open(t);
      const opened = await tab.evaluate(async (given) => {
        const wallet = await globalThis.surface.open(eval(given));
        const message = new TextEncoder().encode('a message');
        const signature = await wallet.signMessage(message);
        return { address: wallet.address, signature: [...signature] };
      }, given);
      assert.equal(opened.address, first);
      assert.equal(opened.signature.length, 64);
      assert.equal(await person('prompts'), 2);
    });

    test('is refused, locked, or not answered', async (t) => {
      const tab = await open(t);
      const answers = { reject: 'WALLET_REJECTED', lock: 'WALLET_LOCKED', never: 'WALLET_TIMEOUT' };
      for (const [answer, code] of Object.entries(answers)) {
        await person('will', answer);
        const failed = await tab.evaluate(({ given, timeoutMs }) => globalThis.surface.address(eval(given), { timeoutMs }), { given, timeoutMs: answer === 'never' ? 200 : 10_000 });
        assert.deepEqual([failed.code, failed.isError], [code, true]);
        assert.equal(failed.cause !== undefined, answer !== 'never', 'what the wallet said');
      }
      await person('will', 'accept');
      assert.deepEqual(await tab.evaluate((given) => globalThis.surface.address(eval(given)), given), { value: first });
    });

    test('a refused signature is an error, and the next one works', async (t) => {
      const tab = await open(t);
      await tab.evaluate(async (given) => (globalThis.wallet = await globalThis.surface.open(eval(given))), given);
      const sign = () => tab.evaluate(() => globalThis.surface.codes(globalThis.wallet.signMessage(new Uint8Array(3)).then(({ length }) => length)));
      await person('will', 'reject');
      assert.equal((await sign()).code, 'WALLET_REJECTED');
      await person('will', 'accept');
      assert.deepEqual(await sign(), { value: 64 });
    });

    test('tells of another account, and of a lock', async (t) => {
      const tab = await open(t);
      await tab.evaluate(async (given) => {
        const wallet = await globalThis.surface.open(eval(given));
        globalThis.told = [];
        globalThis.end = wallet.onAccountChanged((address) => globalThis.told.push(address));
      }, given);
      const told = (count) => until(`${count} are told`, async () => {
        const told = await tab.evaluate(() => globalThis.told);
        return told.length >= count && told;
      });
      await person('choose', 1);
      assert.deepEqual(await told(1), [second]);
      await person('lock');
      assert.deepEqual(await told(2), [second, null]);
      assert.equal(await tab.evaluate(() => {
        globalThis.end();
        return globalThis.phantom.solana.listeners() + globalThis.surface.findWallets().wallets[0].listeners.size;
      }), 0);
    });
  });
}

test('wallets that register later are found too', { timeout: 60_000 }, async (t) => {
  const tab = await open(t);
  const early = await tab.evaluate(() => {
    globalThis.search = globalThis.surface.findWallets(() => (globalThis.found = globalThis.search.wallets.map(({ name }) => name)));
    return globalThis.search.wallets.map(({ name }) => name);
  });
  assert.deepEqual(early, ['Test']);
  await person('registerLate');
  assert.deepEqual(await until('it is found', () => tab.evaluate(() => globalThis.found)), ['Test', 'Late']);
});

test('an account of the Wallet Standard signs by its wallet', { timeout: 60_000 }, async (t) => {
  const tab = await open(t);
  const opened = await tab.evaluate(async () => {
    const [standard] = globalThis.surface.findWallets().wallets;
    const { accounts } = await standard.features['standard:connect'].connect();
    const wallet = await globalThis.surface.open(accounts[0]);
    return [wallet.address, (await wallet.signMessage(new Uint8Array(3))).length];
  });
  assert.deepEqual(opened, [first, 64]);
});

describe('another realm', { timeout: 60_000 }, () => {
  /** A tab with a frame of the same origin. */
  async function framed(t) {
    const tab = await open(t);
    await tab.evaluate(async (url) => {
      const frame = Object.assign(document.createElement('iframe'), { src: url });
      document.body.append(frame);
      await new Promise((resolve) => (frame.onload = resolve));
      globalThis.realm = frame.contentWindow;
    }, url);
    return tab;
  }

  test('a frame\'s provider connects and signs', async (t) => {
    const tab = await framed(t);
    const opened = await tab.evaluate(async () => {
      const wallet = await globalThis.surface.open(globalThis.realm.phantom.solana);
      const signature = await wallet.signMessage(new Uint8Array(3));
      return [wallet.address, signature.length, signature instanceof Uint8Array];
    });
    assert.deepEqual(opened, [first, 64, true]);
  });

  test('keys, errors, promises and signals of a frame are as our own', async (t) => {
    const tab = await framed(t);
    const codes = await tab.evaluate(async () => {
      const { realm, surface } = globalThis;
      const bytes = realm.eval('new Uint8Array(32).fill(7)');
      const expected = surface.addressOf(new Uint8Array(32).fill(7));
      const aborted = realm.eval('AbortSignal.abort()');
      return [
        (await surface.address({ publicKey: bytes, connect: realm.eval('() => Promise.resolve()') })).value === expected,
        (await surface.address({ connect: realm.eval('() => Promise.reject(Object.assign(new Error("no"), { code: 4001 }))') })).code,
        (await surface.address({ connect: realm.eval('() => new Promise(() => {})') }, { timeoutMs: 50 })).code,
        (await surface.address({ publicKey: bytes }, { signal: aborted })).code,
        (await surface.address(realm)).code,
      ];
    });
    assert.deepEqual(codes, [true, 'WALLET_REJECTED', 'WALLET_TIMEOUT', 'CALL_ABORTED', 'WALLET_UNSUPPORTED']);
  });

  test('a frame that is gone answers nothing, and that is told', async (t) => {
    const tab = await framed(t);
    const code = await tab.evaluate(async () => {
      const provider = globalThis.realm.phantom.solana;
      document.querySelector('iframe').remove();
      return (await globalThis.surface.address(provider, { timeoutMs: 200 })).code;
    });
    assert.ok(['WALLET_TIMEOUT', 'WALLET_CONNECTION_FAILED'].includes(code), code);
  });

  test('a frame of another origin cannot be looked into, and that is told', async (t) => {
    const tab = await open(t);
    const failed = await tab.evaluate(async (url) => {
      const frame = Object.assign(document.createElement('iframe'), { src: url });
      document.body.append(frame);
      await new Promise((resolve) => (frame.onload = resolve));
      return globalThis.surface.address(frame.contentWindow);
    }, url.replace('127.0.0.1', 'localhost'));
    assert.equal(failed.code, 'WALLET_CONNECTION_FAILED');
    assert.match(failed.cause, /cross-origin/);
  });
});

describe('the directory', { timeout: 60_000 }, () => {
  test('two tabs that make the local wallet at the same time get the same', async (t) => {
    const tabs = [await open(t), await open(t)];
    const addresses = await Promise.all(tabs.map((tab) => tab.evaluate(() => globalThis.surface.directory('twice').localWallet().then(({ address }) => address))));
    assert.equal(addresses[0], addresses[1]);
    await tabs[0].reload();
    await tabs[0].waitForFunction(() => globalThis.surface);
    const again = await tabs[0].evaluate(async () => {
      const wallet = await globalThis.surface.directory('twice').localWallet();
      const database = await new Promise((resolve) => (indexedDB.open('twice').onsuccess = ({ target }) => resolve(target.result)));
      const { keys } = await new Promise((resolve) => (database.transaction('wallets').objectStore('wallets').get(wallet.address).onsuccess = ({ target }) => resolve(target.result)));
      database.close();
      const message = new Uint8Array([1, 2, 3]);
      return [wallet.address, keys.privateKey.extractable, await crypto.subtle.verify('Ed25519', keys.publicKey, await wallet.signMessage(message), message)];
    });
    assert.deepEqual(again, [addresses[0], false, true]);
  });

  test('a database of another application is untouched, while another tab has it open', async (t) => {
    const [holder, tab] = [await open(t), await open(t)];
    await holder.evaluate(async () => {
      const request = indexedDB.open('theirs', 1);
      request.onupgradeneeded = () => request.result.createObjectStore('todos').put('theirs', 1);
      globalThis.held = await new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
      globalThis.asked = 0;
      globalThis.held.onversionchange = () => (globalThis.asked += 1);
    });
    const failed = await tab.evaluate(async () => {
      const own = globalThis.surface.directory('theirs');
      const calls = [own.last(), own.remember('a', 'provider'), own.forgetLast(), own.localWallet(), own.wipe('a')];
      return Promise.all(calls.map((call) => globalThis.surface.codes(call).then(({ code }) => code)));
    });
    assert.deepEqual(failed, Array(5).fill('STORAGE_FOREIGN'));
    assert.deepEqual(await holder.evaluate(async () => {
      const stored = globalThis.held.transaction('todos').objectStore('todos').getAll();
      await new Promise((resolve) => (stored.onsuccess = resolve));
      return [globalThis.asked, globalThis.held.version, stored.result];
    }), [0, 1, ['theirs']]);
  });

  test('wiping deletes a database that another tab has open and lets go', async (t) => {
    const [holder, tab] = [await open(t), await open(t)];
    await holder.evaluate(async () => {
      const request = indexedDB.open('wiped/a', 4);
      request.onupgradeneeded = () => ['meta', 'sessions', 'outbox', 'log'].forEach((store) => request.result.createObjectStore(store));
      const held = await new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
      held.onversionchange = () => held.close();
      localStorage.setItem('wiped/a.stored', '1');
    });
    const left = await tab.evaluate(async () => {
      await globalThis.surface.directory('wiped').remember('a', 'provider');
      await globalThis.surface.directory('wiped').wipe('a', (name) => new Promise((resolve, reject) => {
        const request = indexedDB.deleteDatabase(name);
        request.onsuccess = resolve;
        request.onerror = () => reject(request.error);
      }));
      const names = (await indexedDB.databases()).map(({ name }) => name).filter((name) => name.startsWith('wiped'));
      return [names, localStorage.getItem('wiped/a.stored'), await globalThis.surface.directory('wiped').last()];
    });
    assert.deepEqual(left, [['wiped'], null, null]);
  });

  test('a sandboxed frame is refused its storage', async (t) => {
    const tab = await open(t);
    await tab.evaluate((url) => document.body.append(Object.assign(document.createElement('iframe'), { sandbox: 'allow-scripts', src: url })), `${url}sandboxed`);
    const frame = await until('the frame is there', () => tab.frames().find((frame) => frame.url().endsWith('sandboxed')));
    // Modules are fetched with CORS, which an opaque origin does not have here.
    await frame.addScriptTag({ content: (await bundled({ format: 'iife', globalName: 'plain' }, 'directory')) });
    const code = await frame.evaluate(() => new plain.Directory('x', String).last().catch(({ code }) => code));
    assert.equal(code, 'STORAGE_REFUSED');
  });

  test('a page from plain http has no local wallet', async (t) => {
    const tab = await browser.newPage();
    t.after(() => tab.close());
    await tab.route('http://insecure.test/**', async (route) => {
      const answer = await fetch(url + new URL(route.request().url()).pathname.slice(1));
      await route.fulfill({ contentType: answer.headers.get('content-type'), body: await answer.text() });
    });
    await tab.goto('http://insecure.test/');
    await tab.waitForFunction(() => globalThis.surface);
    const found = await tab.evaluate(async () => {
      const own = globalThis.surface.directory();
      await own.remember('a', 'provider');
      return [globalThis.isSecureContext, (await globalThis.surface.codes(own.localWallet())).code, (await own.last()).address];
    });
    assert.deepEqual(found, [false, 'INSECURE_CONTEXT', 'a']);
  });
});
