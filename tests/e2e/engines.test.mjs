// What must hold in every engine, in each of them. Chromium has many more tests: all others in this folder.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { engines, launch } from './harness/engines.mjs';
import { startGate } from './harness/gate.mjs';
import { agree, converge, idsOf, texts } from './harness/lists.mjs';
import { PlainDevice } from './harness/plain-device.mjs';
import { startRelay } from './harness/relay.mjs';
import { TabDevice } from './harness/tab-device.mjs';
import { until, within } from './harness/wait.mjs';
import { newWallet } from './harness/wallet.mjs';
import { startWire } from './harness/wire.mjs';

const limit = { timeout: 120_000 };

let relay;
before(async () => {
  relay = await startRelay();
});
after(() => relay?.stop());

for (const engine of engines) {
  describe(engine, () => {
    let browser;
    before(async () => {
      browser = await launch(engine);
    });
    after(() => browser?.stop());

    /** As `cast` of scene.mjs. A device that is made is not open yet. */
    function cast(t) {
      const wallets = { alice: newWallet(), bob: newWallet() };
      const made = [];
      t.after(async () => {
        for (const { page } of made) if (page && !page.isGone) await page.close();
      });
      const make = (owner, options = {}) => {
        const other = owner === 'alice' ? 'bob' : 'alice';
        const device = new TabDevice({ browser, relay, name: `${owner}-${made.length}-${t.name}`, wallet: wallets[owner], peer: wallets[other], ...options });
        made.push(device);
        return device;
      };
      const device = async (owner, options) => {
        const device = make(owner, options);
        await device.open();
        return device;
      };
      return { make, device };
    }

    async function cable(t) {
      const wire = await startWire(relay.port);
      t.after(() => wire.close());
      return wire;
    }

    /** Alice has written 300 messages offline, and hangs on a cable that holds when some are acknowledged and some are not. */
    async function midway(t) {
      const wire = await cable(t);
      const { device } = cast(t);
      const bob = await device('bob');
      const alice = await device('alice', { wire, offline: true, config: { maxBatchSize: 20, enableCompression: false } });
      const ids = await alice.sendAtOnce(texts('message', 300));
      const held = wire.holdAfter('down', 1_000);
      await alice.setOffline(false);
      await within('acknowledgements are held back', held);
      await until('the device knows of some', async () => (await alice.state()).queued < 300);
      assert.ok((await alice.state()).queued > 0, 'not of all');
      return { wire, alice, bob, ids };
    }

    async function deliveredOnce(alice, bob, ids) {
      const list = await converge([alice, bob], ids.length);
      assert.deepEqual(list.map(({ id }) => id), ids, 'all of them, once, in the order they were written (I2, I3, I8)');
      assert.deepEqual(await bob.heardHere(), ids, 'each heard once (I6)');
    }

    /** A tab that is no device yet. */
    async function blank(t) {
      const tab = await browser.open(relay.url);
      t.after(() => tab.isGone || tab.close());
      return tab;
    }

    test('a frozen tab keeps its lock, and a killed one does not (P2, P4, P21)', limit, async (t) => {
      const owner = await blank(t);
      const waiter = await blank(t);
      await owner.evaluate(() => new Promise((held) => {
        navigator.locks.request('owned', () => new Promise(() => held()));
      }));
      await waiter.evaluate(() => {
        globalThis.isGranted = navigator.locks.request('owned', () => true);
      });
      const seen = [];
      await owner.evaluate(() => {
        globalThis.isAnswered = new Promise((resolve) => {
          new BroadcastChannel('calls').onmessage = () => setTimeout(resolve, 0);
        });
      });
      const answer = owner.evaluate('globalThis.isAnswered').then(() => seen.push('answered'));
      await owner.freeze();
      await waiter.evaluate(() => {
        new BroadcastChannel('calls').postMessage('are you there');
        return new Promise((resolve) => setTimeout(resolve, 500));
      });
      seen.push('waited');
      await owner.thaw();
      await answer;
      assert.deepEqual(seen, ['waited', 'answered']);
      const { held, pending } = await waiter.evaluate(async () => navigator.locks.query());
      assert.deepEqual([held.length, pending.length], [1, 1]);
      await owner.crash();
      assert.equal(await within('the lock is free', waiter.evaluate('globalThis.isGranted')), true);
    });

    test('a page comes back as it was left (P24)', limit, async (t) => {
      const tab = await blank(t);
      await tab.evaluate(() => {
        globalThis.seen = [];
        addEventListener('pagehide', ({ persisted }) => globalThis.seen.push(['pagehide', persisted]));
        addEventListener('pageshow', ({ persisted }) => globalThis.seen.push(['pageshow', persisted]));
      });
      await tab.navigate(`${relay.url}?another`);
      assert.equal(await tab.evaluate('globalThis.seen'), undefined);
      await tab.back();
      assert.deepEqual(await tab.evaluate('globalThis.seen'), [['pagehide', true], ['pageshow', true]]);
    });

    test('a tab comes in front of a frozen one', limit, async (t) => {
      const frozen = await blank(t);
      const other = await blank(t);
      await frozen.show();
      await frozen.freeze();
      await other.show();
      assert.equal(await other.evaluate('document.visibilityState'), 'visible');
      await frozen.thaw();
      assert.equal(await frozen.evaluate('1 + 1'), 2);
    });

    test('one tab is shown at a time (P25)', limit, async (t) => {
      const tabs = [await blank(t), await blank(t)];
      for (const shown of [...tabs, tabs[0]]) {
        await shown.show();
        for (const tab of tabs) {
          const state = tab === shown ? 'visible' : 'hidden';
          await until(`a tab is ${state}`, async () => (await tab.evaluate('document.visibilityState')) === state);
        }
      }
    });

    test('messages written offline arrive once after a reload (I2, I3, I6, I8)', limit, async (t) => {
      const { device } = cast(t);
      const bob = await device('bob');
      const alice = await device('alice', { offline: true });
      const ids = await alice.sendAtOnce(texts('written offline', 30));
      await alice.reload();
      assert.equal((await alice.state()).queued, 30);
      await alice.setOffline(false);
      await deliveredOnce(alice, bob, ids);
      await bob.reload();
      await converge([alice, bob], 30);
      assert.deepEqual(await bob.heardHere(), [], 'not heard again after a reload (I6)');
    });

    test('a tab killed while sending delivers each message once (F36, F1, I3)', limit, async (t) => {
      const { wire, alice, bob, ids } = await midway(t);
      await alice.crash();
      wire.cut();
      await alice.open();
      await deliveredOnce(alice, bob, ids);
    });

    // WebKitGTK keeps storage in memory under WebDriver.
    test('a browser killed while sending delivers each message once (F36, B14)', { ...limit, skip: engine === 'webkit' }, async (t) => {
      const { wire, alice, bob, ids } = await midway(t);
      await browser.kill();
      wire.cut();
      await browser.start();
      await alice.open();
      await bob.open();
      const list = await converge([alice, bob], ids.length);
      assert.deepEqual(list.map(({ id }) => id), ids);
    });

    const endings = {
      'is closed': (owner) => owner.close(),
      'crashes': (owner) => owner.crash(),
      'is stopped': (owner) => owner.page.freeze(),
    };
    // Those of Chromium are in tabs.test.mjs.
    for (const [how, end] of engine === 'chromium' ? [] : Object.entries(endings)) {
      test(`when the owner ${how}, a follower's calls are done once (I2, I3, I23)`, limit, async (t) => {
        const { device } = cast(t);
        const bob = await device('bob');
        const first = await device('alice', { joins: true });
        const second = await device('alice', { joins: true, name: first.name });
        // All windows of WebKitGTK are seen: who came first owns. In a browser with tabs the last one is seen, and is given way to.
        const [owner, follower] = engine === 'webkit' ? [first, second] : [second, first];
        await owner.becomes('owner');
        await follower.becomes('follower');
        const ids = await follower.sendAtOnce(texts('before', 20));
        await agree([owner, follower], bob, ids);
        const isStopped = how === 'is stopped';
        if (isStopped) {
          await end(owner);
          await follower.page.show();
        }
        await follower.begin(texts('meanwhile', 50));
        if (!isStopped) await end(owner);
        ids.push(...(await follower.sendings()));
        await follower.becomes('owner');
        const list = await agree([follower], bob, ids);
        assert.deepEqual(idsOf(list), ids, 'in the order of the calls');
        if (!isStopped) return;
        await owner.page.thaw();
        ids.push(...(await owner.send('after')));
        await agree([owner, follower], bob, ids);
      });
    }

    test('a locked device opens by its passphrase alone', limit, async (t) => {
      const { device } = cast(t);
      const alice = await device('alice', { config: { domains: [new URL(relay.url).host], passphrases: ['correct horse'] } });
      await alice.send('kept');
      const { id } = alice;
      alice.config.passphrases = ['a wrong one', 'correct horse'];
      await alice.reload();
      assert.deepEqual(await alice.page.evaluate('globalThis.device.asked'), [{ isNew: false }, { isNew: false, error: 'WRONG_PASSPHRASE' }]);
      assert.deepEqual([alice.id, await alice.page.evaluate('globalThis.device.signatures')], [id, 0]);
      assert.deepEqual((await alice.list()).map(({ text }) => text), ['kept']);
    });

    test('catching up on 1,000 messages gives the same list (I26)', limit, async (t) => {
      const { device } = cast(t);
      const phone = await device('alice');
      const written = texts('history', 1_000);
      await phone.sendAtOnce(written.slice(0, 500));
      await phone.sendAtOnce(written.slice(500));
      await phone.call('processQueuedMessages');
      const laptop = await device('alice');
      const start = performance.now();
      const list = await converge([laptop, phone], 1_000);
      t.diagnostic(`${Math.round(performance.now() - start)} ms`);
      assert.deepEqual(list.map(({ text }) => text), written);
      assert.deepEqual(await laptop.heardHere(), list.map(({ id }) => id), 'each heard once, in order (I6)');
    });

    test('devices that write at the same time show one list (I9)', limit, async (t) => {
      const { device } = cast(t);
      const devices = [await device('alice'), await device('bob')];
      const ids = await Promise.all(devices.map((each, index) => each.send(...texts(`device ${index}`, 40))));
      const list = await converge(devices, 80);
      for (const [index, each] of devices.entries()) {
        const own = list.filter(({ id }) => ids[index].includes(id)).map(({ id }) => id);
        assert.deepEqual(own, ids[index], 'in the order of their writer (I8)');
        assert.deepEqual((await each.heardHere()).sort(), list.filter(({ id }) => !ids[index].includes(id)).map(({ id }) => id).sort(), 'each of the other heard once (I6)');
      }
    });

    test('a conflict is shown everywhere until it is resolved', limit, async (t) => {
      const { device } = cast(t);
      const options = { config: { conflictResolutionStrategy: 'manual' } };
      const phone = await device('alice', options);
      const laptop = await device('alice', options);
      const [id] = await phone.send('draft');
      await converge([phone, laptop], 1);
      const both = [phone, laptop];
      for (const each of both) await each.setOffline(true);
      await phone.call('editMessage', phone.sessionId, id, 'from the phone');
      await laptop.call('editMessage', laptop.sessionId, id, 'from the laptop');
      for (const each of both) await each.setOffline(false);
      const shown = (each) => each.page.evaluate(async () => {
        const { sdk, must, sessionId } = globalThis.device;
        return must(await sdk.getStoredMessages(sessionId))[0];
      });
      for (const each of both) {
        await until(`${each.name} holds both versions`, async () => (await shown(each)).versions.length === 2);
        assert.deepEqual((await shown(each)).versions.map(({ text }) => text).sort(), ['from the laptop', 'from the phone']);
      }
      await laptop.call('resolveConflict', laptop.sessionId, id, 'from both');
      for (const each of both) await until(`${each.name} shows the resolution`, async () => (await shown(each)).text === 'from both');
    });

    test('an owner stopped at any point of a commit writes all or nothing (P22, I23)', limit, async (t) => {
      const gate = await startGate(relay.port);
      t.after(() => gate.close());
      const { device, make } = cast(t);
      const places = [];
      for (;;) {
        const options = { wire: gate, offline: true, without: ['locks', 'channel'], name: `fence-${places.length}-${t.name}` };
        const owner = await device('alice', options);
        await owner.send('before');
        const thief = make('alice', options);
        await thief.load();
        await owner.page.evaluate(stopAt, places.length, owner.database);
        assert.equal(await gate.next(), 'ready');
        gate.open();
        const place = await gate.next();
        if (place === 'over') break;
        places.push(place);
        // Its code stands still; but Firefox goes on with other things meanwhile.
        if (engine === 'firefox') await owner.page.freeze();
        const taken = thief.start().then(() => thief.send('from the other'));
        taken.catch(() => {});
        if (keepsNobody(place)) await within(`the other writes while one stands ${place}`, taken);
        if (engine === 'firefox') await owner.page.thaw();
        gate.open();
        await taken;
        const { end, code } = await until('its call is answered', () => owner.page.evaluate('globalThis.stopped'));
        assert.equal(code, undefined, 'it is the owner again in the end, because nobody is to know of the other');
        await thief.reload();
        const list = (await thief.list()).map(({ text }) => text);
        const isFenced = place === 'before the transaction';
        assert.equal(end, isFenced ? 'abort' : 'complete', place);
        assert.deepEqual(list, isFenced ? ['before', 'from the other', 'stopped'] : ['before', 'stopped', 'from the other'], place);
        for (const { page } of [owner, thief]) await page.close();
      }
      gate.open();
      t.diagnostic(places.join(', '));
      const requests = ['before the transaction', 'before put in claims', 'before put in outbox'];
      const ends = places.includes('before commit()') ? ['before commit()', 'after commit()', 'before it hears that it is complete'] : ['before it hears that it is complete'];
      assert.deepEqual(places, [...requests, ...ends]);
    });

    test('a browser that slept past the end of its connection catches up (F6)', limit, async (t) => {
      const { device } = cast(t);
      const alice = await device('alice');
      const peer = new PlainDevice({ relay, sessionId: alice.sessionId, deviceId: 'peer', wallet: alice.peer.address });
      t.after(() => peer.close());
      peer.connect();
      browser.suspend();
      try {
        await relay.kill();
        await relay.start();
        for (const text of texts('meanwhile', 20)) peer.write(text);
        await until('the relay has them', () => peer.isConnected && peer.outbox.length === 0);
      } finally {
        browser.resume();
      }
      const list = await converge([alice], 20);
      assert.deepEqual(await alice.heardHere(), idsOf(list));
    });

    test('a tab that was frozen catches up when it is thawed (F6)', limit, async (t) => {
      const { device } = cast(t);
      const alice = await device('alice');
      const bob = await device('bob');
      await alice.send('before');
      await converge([alice, bob], 1);
      await alice.page.freeze();
      const ids = await bob.sendAtOnce(texts('meanwhile', 20));
      await bob.call('processQueuedMessages');
      await alice.page.thaw();
      await converge([alice, bob], 21);
      assert.deepEqual(await alice.heardHere(), ids);
    });
  });
}

/** Whether a page that stands there keeps the storage from nobody. */
const keepsNobody = (place) => ['before the transaction', 'after commit()', 'before it hears that it is complete'].includes(place);

/**
 * In a page: makes a call, and stands at the gate at that point of its first transaction that writes to this database. Where there are
 * not so many, the gate hears that it is over.
 */
function stopAt(place, database) {
  let [passed, watched] = [0, null];
  const ends = [];
  const pass = (what) => {
    passed += 1;
    if (passed !== place + 1) return;
    const gate = new XMLHttpRequest();
    gate.open('GET', `/gate?${what}`, false);
    gate.send();
  };
  const wrap = (prototype, method, around) => {
    const original = prototype[method];
    prototype[method] = function (...args) {
      return around.call(this, () => original.apply(this, args), args);
    };
  };
  wrap(IDBDatabase.prototype, 'transaction', function (begin, [, mode]) {
    if (watched || this.name !== database || mode !== 'readwrite') return begin();
    pass('before the transaction');
    watched = begin();
    watched.addEventListener('complete', () => pass('before it hears that it is complete'));
    for (const end of ['complete', 'abort']) watched.addEventListener(end, () => ends.push(end));
    return watched;
  });
  for (const method of ['add', 'put', 'delete']) {
    wrap(IDBObjectStore.prototype, method, function (issue) {
      if (this.transaction === watched) pass(`before ${method} in ${this.name}`);
      return issue();
    });
  }
  wrap(IDBTransaction.prototype, 'commit', function (commit) {
    if (this !== watched) return commit();
    pass('before commit()');
    commit();
    pass('after commit()');
  });
  void fetch('/gate?ready').then(async () => {
    const { error } = await globalThis.device.call('sendMessage', globalThis.device.sessionId, 'stopped');
    globalThis.stopped = { end: ends[0], code: error?.code };
    if (passed <= place) void fetch('/gate?over');
  });
}
