// All tabs of a device are one client: each has the whole API, whichever of them owns the storage, and whatever becomes of that one.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { launch } from './harness/engines.mjs';
import { agree, converge, duplicates, idsOf, texts } from './harness/lists.mjs';
import { startRelay } from './harness/relay.mjs';
import { TabDevice } from './harness/tab-device.mjs';
import { until, within } from './harness/wait.mjs';
import { newWallet } from './harness/wallet.mjs';

let relay;
/** Alice's: only one of its tabs is seen at a time. */
let browser;
/** Bob's. */
let elsewhere;

before(async () => {
  relay = await startRelay();
  browser = await launch('chromium');
  elsewhere = await launch('chromium');
});

after(async () => {
  await elsewhere?.stop();
  await browser?.stop();
  await relay?.stop();
});

let cases = 0;

/** Alice's device, of which `another` makes one more tab and `open` opens it, and Bob's. */
function scene(t) {
  cases += 1;
  const [alice, bob] = [newWallet(), newWallet()];
  const opened = [];
  t.after(async () => {
    for (const { page } of opened) if (page && !page.isGone) await page.close();
  });
  const make = (options) => {
    const tab = new TabDevice(options);
    opened.push(tab);
    return tab;
  };
  const open = async (tab) => {
    await tab.open();
    return tab;
  };
  const name = `tabs-${cases}`;
  const another = (more = {}) => make({ browser, relay, name, wallet: alice, peer: bob, joins: true, ...more });
  return {
    another,
    open: (more) => open(another(more)),
    /** Two tabs, of which the one that is seen owns. */
    openTwo: async () => {
      const [follower, owner] = [await open(another()), await open(another())];
      await owner.becomes('owner');
      await follower.becomes('follower');
      return { follower, owner };
    },
    openPeer: () => open(make({ browser: elsewhere, relay, name: `peer-${cases}`, wallet: bob, peer: alice })),
  };
}

test('a second tab has the same API, lists and events', { timeout: 60_000 }, async (t) => {
  const { open, openPeer } = scene(t);
  const peer = await openPeer();
  const first = await open();
  assert.equal(await first.role(), 'owner');
  const second = await open();
  assert.equal(second.id, first.id);
  // The first one is hidden now, and gives way.
  await second.becomes('owner');
  await first.becomes('follower');
  const { messageId } = await second.call('sendMessage', second.sessionId, 'from the second');
  await second.call('editMessage', second.sessionId, messageId, 'edited in the second');
  await first.call('sendMessage', first.sessionId, 'from the first');
  await until('Bob has both', async () => (await peer.heardHere()).length === 2);
  const [theirs] = await peer.send('from Bob');
  for (const tab of [first, second]) {
    await until('all has come', async () => (await tab.state()).cursor === 4 && (await tab.state()).queued === 0);
    assert.deepEqual((await tab.list()).map(({ text }) => text), ['edited in the second', 'from the first', 'from Bob']);
    assert.deepEqual(await tab.heardHere(), [theirs]);
    await until('its status is told', async () => (await tab.events('onStatusChanged')).some(([, id, status]) => id === messageId && status === 'delivered'));
    const statuses = (await tab.events('onStatusChanged')).filter(([, id, status]) => id === messageId && status === 'sent');
    assert.equal(statuses.length, 1);
    assert.equal((await tab.state()).connection, 'connected');
    assert.equal((await tab.failure('sendMessage', 'no such session', 'text')).code, 'UNKNOWN_SESSION');
    for (const getter of ['getDevices', 'getSyncStats']) {
      assert.equal((await tab.failure(getter, 'no such session')).code, 'UNKNOWN_SESSION');
      assert.equal((await tab.failure(getter, 5)).code, 'INVALID_ARGUMENT');
    }
  }
  for (const [getter, ...args] of [['getActiveSessions'], ['getSyncStatus'], ['getDevices', first.sessionId], ['getSyncStats', first.sessionId], ['getInvitations']]) {
    assert.deepEqual(await second.call(getter, ...args), await first.call(getter, ...args), getter);
  }
});

test('a tab that is seen owns, also where its request for the lock comes late', { timeout: 60_000 }, async (t) => {
  const { another, open } = scene(t);
  const hidden = await open();
  const seen = another();
  await seen.load();
  await seen.page.evaluate(() => {
    const { request } = LockManager.prototype;
    const { postMessage } = BroadcastChannel.prototype;
    let late = null;
    LockManager.prototype.request = function (name, options, granted) {
      if (!name.startsWith('solconnect-sync:') || late?.isOver) return request.call(this, name, options, granted);
      return new Promise((resolve, reject) => {
        late = { isOver: false, begin: () => request.call(this, name, options, granted).then(resolve, reject) };
      });
    };
    // By its answer to who owns again it has been given way to in vain: now the request is there.
    BroadcastChannel.prototype.postMessage = async function (message) {
      if (message.kind === 'seen' && message.to !== undefined && late && !late.isOver) {
        late.isOver = true;
        late.begin();
        while ((await navigator.locks.query()).pending.length === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      }
      postMessage.call(this, message);
    };
  });
  await seen.start();
  await seen.becomes('owner');
  await hidden.becomes('follower');
});

test('five tabs that write at once show one list', { timeout: 120_000 }, async (t) => {
  const { open, openPeer } = scene(t);
  const peer = await openPeer();
  const tabs = [];
  for (let count = 0; count < 5; count += 1) tabs.push(await open());
  const sent = await Promise.all(tabs.map((tab, place) => tab.sendAtOnce(texts(`tab ${place}`, 20))));
  const theirs = await peer.sendAtOnce(texts('Bob', 20));
  const list = await converge([...tabs, peer], 120);
  for (const ids of sent) assert.deepEqual(idsOf(list).filter((id) => ids.includes(id)), ids, 'each tab\'s in the order of its calls');
  for (const tab of tabs) {
    assert.deepEqual(await tab.heardHere(), theirs);
    await until('the list shows it', async () => (await tab.shown()).filter(({ sequenceNumber }) => sequenceNumber).length === 120);
  }
  assert.deepEqual(duplicates(await peer.heardHere()), []);
});

const endings = {
  'is closed': (owner) => owner.page.close(),
  'crashes': (owner) => owner.crash(),
  'is frozen': (owner) => owner.page.freeze(),
  'goes to the bfcache': (owner) => owner.page.navigate('data:text/html,elsewhere'),
  'is frozen without notice': async (owner) => {
    await owner.freezesSilently();
    await owner.page.freeze();
  },
};
for (const [how, end] of Object.entries(endings)) {
  test(`when the owner ${how}, a follower's calls are done once`, { timeout: 120_000 }, async (t) => {
    const { openTwo, openPeer } = scene(t);
    const peer = await openPeer();
    const { follower, owner } = await openTwo();
    const before = await follower.sendAtOnce(texts('before', 20));
    await follower.begin(texts('meanwhile', 100));
    await end(owner);
    const ids = [...before, ...(await follower.sendings())];
    // One that is hidden notices a frozen owner by its own calls alone.
    ids.push(...(await follower.sendAtOnce(texts('after', 20))));
    await follower.becomes('owner');
    const list = await agree([follower], peer, ids);
    assert.deepEqual(idsOf(list), ids);
    assert.deepEqual(await peer.heardHere(), ids);

    if (owner.page.isGone) return;
    if (how.includes('frozen')) await owner.page.thaw();
    else await owner.page.back();
    await owner.page.show();
    // It comes back as it was left, with its handlers and lists.
    ids.push(...(await peer.send('to all')));
    for (const tab of [owner, follower]) {
      await until('it has heard of it', async () => (await tab.heardHere()).includes(ids.at(-1)));
      await until('its list shows it', async () => (await tab.shown()).length === ids.length);
      assert.deepEqual(await tab.heardHere(), ids.slice(-1));
    }
    assert.deepEqual(await owner.shown(), await follower.shown());
  });
}

for (const notice of ['', ' without notice']) {
  test(`a tab that is frozen${notice} while it reads keeps nobody waiting`, { timeout: 120_000 }, async (t) => {
    const { open } = scene(t);
    const reader = await open();
    // In batches of their own, which stand one after the other.
    for (const text of texts('message', 10)) {
      await reader.send(text);
      await reader.call('syncMessages');
    }
    await reader.page.evaluate(() => {
      // One that goes from record to record is frozen in the midst of that.
      IDBCursor.prototype.continue = function () {
        const { source } = this;
        const hold = () => {
          source.get('nothing').onsuccess = hold;
        };
        hold();
        globalThis.isReading = true;
      };
      const { sdk, sessionId } = globalThis.device;
      const read = async () => {
        await sdk.getStoredMessages(sessionId, 50);
        globalThis.isReading = true;
        void read();
      };
      for (let count = 0; count < 4; count += 1) void read();
    });
    await until('it reads', () => reader.page.evaluate('globalThis.isReading'));
    if (notice) await reader.freezesSilently();
    // Nothing of ours, which would have the frozen tab give the database up.
    const other = await browser.open(relay.url);
    t.after(() => other.close());
    await reader.page.freeze();
    // The browser itself ends what a frozen page reads, after a minute.
    await within('another page writes', other.evaluate(async (name) => {
      const database = await new Promise((resolve) => {
        indexedDB.open(name).onsuccess = ({ target }) => resolve(target.result);
      });
      const transaction = database.transaction('log', 'readwrite');
      transaction.objectStore('log').delete('nothing');
      await new Promise((resolve) => {
        transaction.oncomplete = resolve;
      });
    }, reader.database), 20_000);
  });
}

test('what is written while another tab keeps the storage waits, and is told to', { timeout: 120_000 }, async (t) => {
  const { openTwo, openPeer } = scene(t);
  const peer = await openPeer();
  const { follower, owner } = await openTwo();
  // It is frozen in the midst of a transaction that it never ends (P5).
  await owner.page.evaluate(async (name) => {
    const database = await new Promise((resolve) => {
      indexedDB.open(name).onsuccess = ({ target }) => resolve(target.result);
    });
    const store = database.transaction(database.objectStoreNames, 'readwrite').objectStore('meta');
    const hold = () => {
      store.get('nothing').onsuccess = hold;
    };
    hold();
  }, owner.database);
  await owner.freezesSilently();
  await owner.page.freeze();
  await follower.page.show();
  await follower.begin(texts('while it is kept', 10));
  await follower.becomes('blocked');
  const [role, waitingCount] = (await follower.events('onTabChanged')).at(-1);
  assert.equal(role, 'blocked');
  // Lists that read wait too.
  assert.ok(waitingCount >= 10, `${waitingCount} calls wait`);
  assert.ok((await follower.events('onWarning')).some(([{ code, userMessage }]) => code === 'STORAGE_BLOCKED' && userMessage));
  await owner.page.close();
  const ids = await follower.sendings();
  await agree([follower], peer, ids);
});

test('clearing what the site stores in the midst of writing loses nothing (P26)', { timeout: 120_000 }, async (t) => {
  const { openTwo, openPeer } = scene(t);
  const peer = await openPeer();
  const { follower, owner } = await openTwo();
  await owner.call('setOffline', true);
  const ids = await follower.sendAtOnce(texts('kept', 20));
  await owner.page.evaluate(() => {
    const { sdk, sessionId } = globalThis.device;
    globalThis.written = [];
    const write = async () => {
      while (globalThis.written.length < 400) {
        const { data, error } = await sdk.sendMessage(sessionId, `written ${globalThis.written.length}`);
        if (error) throw error;
        globalThis.written.push(data.messageId);
      }
    };
    globalThis.writing = write();
    globalThis.writing.catch(() => {});
  });
  await until('it writes', () => owner.page.evaluate('globalThis.written.length > 20'));
  await owner.page.call('Storage.clearDataForOrigin', { origin: new URL(relay.url).origin, storageTypes: 'all' });
  await within('every call is answered', owner.page.evaluate('globalThis.writing'), 60_000);
  ids.push(...(await owner.page.evaluate('globalThis.written')));
  await owner.call('setOffline', false);
  await until('Bob has all', async () => (await peer.heardHere()).length >= ids.length, 60_000);
  assert.deepEqual(duplicates(await peer.heardHere()), []);
  assert.deepEqual(new Set(await peer.heardHere()), new Set(ids));
});

test('what the application wished holds for the next owner', { timeout: 60_000 }, async (t) => {
  const { openTwo } = scene(t);
  const { follower, owner } = await openTwo();
  await follower.call('setOffline', true);
  await follower.call('enableAutoSync', follower.sessionId, 250);
  await until('it is offline', async () => (await owner.state()).connection === 'offline');
  await owner.page.close();
  await follower.becomes('owner');
  await follower.send('kept');
  assert.deepEqual(await follower.state(), { cursor: 0, queued: 1, connection: 'offline' });
  await follower.call('setOffline', false);
  const isSynced = async () => (await follower.events('onSyncCompleted')).length >= 3;
  await until('it syncs by itself', isSynced);
});

for (const without of [['locks'], ['channel'], ['locks', 'channel']]) {
  test(`without ${without.join(' and ')} nothing is lost and nothing is there twice`, { timeout: 120_000 }, async (t) => {
    const { open, openPeer } = scene(t);
    const peer = await openPeer();
    const first = await open({ without });
    const ids = await first.sendAtOnce(texts('first', 20));
    const opening = open({ without });
    if (without.length === 1 && without[0] === 'channel') {
      // It waits for its turn.
      await delay(1_000);
      await first.page.close();
    }
    const second = await opening;
    ids.push(...(await second.sendAtOnce(texts('second', 20))));
    if (!without.includes('channel')) {
      ids.push(...(await first.sendAtOnce(texts('first again', 20))));
      await agree([first], peer, ids);
      await first.crash();
    }
    ids.push(...(await second.sendAtOnce(texts('at last', 20))));
    await agree([second], peer, ids);
    assert.deepEqual(await peer.heardHere(), ids);
  });
}

test('a tab with other settings is refused and disturbs nobody', { timeout: 60_000 }, async (t) => {
  const { open } = scene(t);
  const first = await open();
  for (const config of [{ conflictResolutionStrategy: 'latest' }, { relayEndpoint: `${relay.endpoint}?other` }]) {
    await assert.rejects(open({ config }), /CONFIG_MISMATCH/);
  }
  await first.becomes('owner');
  assert.equal((await first.send('undisturbed')).length, 1);
});

test('a tab that does not understand a newer one says so', { timeout: 60_000 }, async (t) => {
  const { open } = scene(t);
  const tab = await open();
  // What a newer version would say.
  await tab.page.evaluate((database) => {
    const channel = new BroadcastChannel(`solconnect-sync:${database}`);
    const word = { protocol: 9, speaks: 9, from: 7, kind: 'hello', claim: 0, number: 0, doneThrough: 0, isKeyed: false, visible: true };
    let known;
    channel.onmessage = ({ data }) => {
      if (data.kind === 'owner') known = data;
    };
    navigator.locks.request(`solconnect-sync:${database}`, () => {
      channel.postMessage({ ...word, kind: 'owner', claim: known.claim + 1, settings: known.settings });
      return new Promise(() => {});
    });
    // With other settings it is told what they are, and not given way to.
    channel.postMessage({ ...word, settings: 'other' });
    channel.postMessage(word);
  }, tab.database);
  await tab.becomes('refused');
  const warnings = await tab.events('onWarning');
  assert.ok(warnings.some(([{ code, userMessage }]) => code === 'TAB_OUTDATED' && userMessage), JSON.stringify(warnings));
  assert.equal((await tab.failure('sendMessage', tab.sessionId, 'text')).code, 'TAB_OUTDATED');
});

test('leaving in one tab leaves all, disconnecting only this one', { timeout: 60_000 }, async (t) => {
  const { open } = scene(t);
  const [first, second, third] = [await open(), await open(), await open()];
  await third.send('stored here');
  await third.call('disconnectWallet');
  assert.equal(await third.call('getCurrentWallet'), null);
  await second.send('the others go on');
  await second.call('logout', { wipe: true });
  for (const tab of [first, second]) {
    await until('its wallet is gone', async () => (await tab.call('getCurrentWallet')) === null);
    assert.deepEqual(await tab.events('onWalletChanged').then((events) => events.at(-1)), [null]);
  }
  const names = await first.page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name));
  assert.ok(!names.includes(first.database), String(names));
});

test('a tab that opens while another wipes finds nothing and warns of nothing', { timeout: 60_000 }, async (t) => {
  const { another, open, openPeer } = scene(t);
  const peer = await openPeer();
  const first = await open();
  await first.call('setOffline', true);
  await first.send('never sent');
  const late = another();
  await late.load();
  // Wiping waits where it is about to delete.
  await first.page.evaluate(() => {
    const { open } = StorageBucketManager.prototype;
    const going = new Promise((resolve) => {
      globalThis.goOn = resolve;
    });
    StorageBucketManager.prototype.open = async function (...args) {
      globalThis.isWiping = true;
      await going;
      return open.apply(this, args);
    };
  });
  const wiping = first.call('logout', { wipe: true });
  await until('it is about to delete', () => first.page.evaluate('globalThis.isWiping'));
  const starting = late.start();
  const isWaiting = () => late.page.evaluate(async () => (await navigator.locks.query()).pending.length > 0);
  await Promise.race([starting, until('it waits', isWaiting)]);
  await first.page.evaluate('globalThis.goOn()');
  await wiping;
  await starting;
  assert.deepEqual(await late.list(), []);
  const ids = await late.send('after it');
  await until('Bob has it', async () => (await peer.heardHere()).length > 0);
  assert.deepEqual(await peer.heardHere(), ids);
  assert.deepEqual(await late.events('onWarning'), []);
});

/** In a page: how many records the copy of a database's outbox has; `null` where there is no copy. */
const copied = async (database) => {
  const bucket = await navigator.storageBuckets.open('solconnect-sync');
  return new Promise((resolve, reject) => {
    const request = bucket.indexedDB.open(`${database}.spare`);
    request.onupgradeneeded = () => request.transaction.abort();
    request.onerror = () => resolve(null);
    request.onsuccess = () => {
      const count = request.result.transaction('outbox').objectStore('outbox').count();
      count.onsuccess = () => resolve(count.result);
      count.onerror = () => reject(count.error);
      request.result.close();
    };
  });
};

test('what a tab is about to copy while another wipes stays gone (B3)', { timeout: 60_000 }, async (t) => {
  const { openTwo } = scene(t);
  const { follower, owner } = await openTwo();
  await owner.call('setOffline', true);
  await owner.page.evaluate(() => {
    const { open } = StorageBucketManager.prototype;
    const going = new Promise((resolve) => {
      globalThis.goOn = resolve;
    });
    StorageBucketManager.prototype.open = async function (...args) {
      globalThis.isCopying = true;
      await going;
      return open.apply(this, args);
    };
  });
  await owner.send('wiped');
  await until('it is about to be copied', () => owner.page.evaluate('globalThis.isCopying'));
  await follower.call('logout', { wipe: true });
  await owner.page.evaluate('globalThis.goOn()');
  // Asked for after what it would be copied with.
  assert.equal(await owner.page.evaluate(copied, owner.database), null);
});

test('what was sent as its page goes away is copied (B3)', { timeout: 60_000 }, async (t) => {
  const { another, open } = scene(t);
  const watching = another();
  await watching.load();
  // The one that is seen: another does not wait.
  const tab = await open();
  const count = () => watching.page.evaluate(copied, tab.database);
  await tab.call('setOffline', true);
  await tab.send('before');
  await until('it is copied', async () => (await count()) === 1);
  // At once: what is sent is copied 20 ms later.
  await tab.page.evaluate(async (sessionId) => {
    await globalThis.device.sdk.sendMessage(sessionId, 'at last');
    globalThis.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: false }));
  }, tab.sessionId);
  await until('it is copied too', async () => (await count()) === 2);
});

test('a page that comes back finds out that it was logged out', { timeout: 60_000 }, async (t) => {
  const { open } = scene(t);
  const [away, frozen, here] = [await open(), await open(), await open()];
  await away.page.navigate('data:text/html,elsewhere');
  await frozen.page.freeze();
  await here.call('logout');
  await frozen.page.thaw();
  await away.page.back();
  for (const tab of [away, frozen]) await until('its wallet is gone', async () => (await tab.call('getCurrentWallet')) === null);
});

test('with a transport of its own each tab is enough for all', { timeout: 60_000 }, async (t) => {
  const { open, openPeer } = scene(t);
  const peer = await openPeer();
  const [first, second] = [await open({ config: { ownTransport: true } }), await open({ config: { ownTransport: true } })];
  await second.becomes('owner');
  const ids = await first.send('through the other tab');
  await agree([first, second], peer, ids);
  await second.page.close();
  ids.push(...(await first.send('through its own')));
  await agree([first], peer, ids);
  await assert.rejects(open(), /CONFIG_MISMATCH/);
});

test('a worker is one more tab', { timeout: 60_000 }, async (t) => {
  const { open, openPeer } = scene(t);
  const peer = await openPeer();
  const tab = await open();
  // The page's policy forbids workers.
  await tab.page.call('Page.setBypassCSP', { enabled: true });
  await tab.reload();
  const inWorker = (method, ...args) => tab.page.evaluate((method, args) => {
    globalThis.worker ??= new Worker('worker.js', { type: 'module' });
    globalThis.calls ??= 0;
    const number = (globalThis.calls += 1);
    return new Promise((resolve, reject) => {
      const hear = ({ data: [answered, result, error] }) => {
        if (answered !== number) return;
        globalThis.worker.removeEventListener('message', hear);
        if (error) reject(new Error(error));
        else resolve(result);
      };
      globalThis.worker.addEventListener('message', hear);
      globalThis.worker.postMessage([number, method, ...args]);
    });
  }, method, args);
  await inWorker('open', { config: tab.config, wallet: tab.wallet, peer: tab.peer.address, joins: true });
  const ids = await inWorker('sendAtOnce', ['from the worker']);
  ids.push(...(await tab.send('from the page')));
  await agree([tab], peer, ids);
  assert.deepEqual((await inWorker('list')).map(({ id }) => id), ids);
  await tab.call('cleanup');
  const more = await inWorker('sendAtOnce', ['the worker owns']);
  await until('Bob has it', async () => (await peer.heardHere()).includes(more[0]));
});
