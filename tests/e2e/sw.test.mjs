// What the last tab left queued is delivered by the application's service worker, once, whoever else is there.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { launch } from './harness/engines.mjs';
import { converge, duplicates, texts } from './harness/lists.mjs';
import { startRelay } from './harness/relay.mjs';
import { TabDevice } from './harness/tab-device.mjs';
import { until, within } from './harness/wait.mjs';
import { newWallet } from './harness/wallet.mjs';

let relay;
/** Alice's, and what is to know of the service workers in it. */
let browser;
let workers;
/** Bob's. */
let elsewhere;

before(async () => {
  relay = await startRelay();
  browser = await launch('chromium');
  workers = await ServiceWorkers.of(browser);
  elsewhere = await launch('chromium');
});

after(async () => {
  await elsewhere?.stop();
  await browser?.stop();
  await relay?.stop();
});

/** The service workers of a Chromium, whether or not any of its pages belongs to them. */
class ServiceWorkers {
  /** By scope, the id of each registration; by that, its version. */
  registrations = new Map();
  versions = new Map();

  static async of({ rpc, first }) {
    const workers = new ServiceWorkers();
    workers.rpc = rpc;
    ({ sessionId: workers.sessionId } = await rpc.call('Target.attachToTarget', { targetId: first, flatten: true }));
    void rpc.event(({ method, params }) => {
      if (method === 'ServiceWorker.workerRegistrationUpdated') for (const one of params.registrations) workers.registrations.set(one.scopeURL, one.registrationId);
      if (method === 'ServiceWorker.workerVersionUpdated') for (const one of params.versions) workers.versions.set(one.registrationId, one);
      return false;
    });
    await workers.call('ServiceWorker.enable');
    return workers;
  }

  call(method, params) {
    return this.rpc.call(method, params, { sessionId: this.sessionId });
  }

  #version(scope) {
    return this.versions.get(this.registrations.get(scope));
  }

  /** The browser's event for it, as when the network is back. */
  async sync(scope) {
    const registrationId = await until('the browser knows the worker', () => this.registrations.get(scope));
    await this.call('ServiceWorker.dispatchSyncEvent', { origin: new URL(scope).origin, registrationId, tag: 'solconnect-sync', lastChance: false });
  }

  /** As the browser ends it. It may start it again at once. */
  async stop(scope) {
    const id = this.#version(scope).registrationId;
    const stopped = this.rpc.event(({ method, params }) => method === 'ServiceWorker.workerVersionUpdated'
      && params.versions.some(({ registrationId, runningStatus }) => registrationId === id && runningStatus === 'stopped'));
    await this.call('ServiceWorker.stopWorker', { versionId: this.#version(scope).versionId });
    // A browser that more programs wait for than there are cores takes its time.
    await within('the worker has stopped', stopped, 60_000);
  }

  /** The value of an expression in the worker that runs. */
  async evaluate(scope, expression) {
    const targetId = await until('the worker runs', () => this.#version(scope)?.runningStatus === 'running' && this.#version(scope).targetId);
    const { sessionId } = await this.rpc.call('Target.attachToTarget', { targetId, flatten: true });
    const { result } = await this.rpc.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, { sessionId });
    await this.rpc.call('Target.detachFromTarget', { sessionId });
    return result.value;
  }
}

class LeavingTab extends TabDevice {
  get scope() {
    return `${this.relay.url}${this.name}/`;
  }

  /** Installs the service worker, and has it deliver what is queued later, `limitMs` at most. */
  async install(options) {
    // The policy of the relay's pages forbids workers.
    await this.page.call('Page.setBypassCSP', { enabled: true });
    await this.reload();
    return this.page.evaluate(async (name, options) => {
      const { deliverAfterClosing } = await import('/pkg/background.js');
      const address = `/sw.js?${new URLSearchParams({ database: name, ...options })}`;
      globalThis.registration = await navigator.serviceWorker.register(address, { type: 'module', scope: `/${name}/` });
      return deliverAfterClosing(globalThis.device.sdk, globalThis.registration);
    }, this.name, options);
  }

  /** What its page has asked the browser to wake the worker for. */
  tags() {
    return this.page.evaluate(() => globalThis.registration.sync.getTags());
  }

  outcomes() {
    return workers.evaluate(this.scope, 'globalThis.outcomes');
  }
}

let cases = 0;

/** Alice's device, of which `open` opens one more tab, and Bob's, with this configuration at this relay; `options` are the worker's. */
async function scene(t, options, { config = {}, at = relay } = {}) {
  cases += 1;
  const [alice, bob] = [newWallet(), newWallet()];
  const opened = [];
  t.after(async () => {
    for (const { page } of opened) if (page && !page.isGone) await page.close();
  });
  const openTab = async (options) => {
    const tab = new LeavingTab({ relay: at, config: { retryDelayMs: 50, maxRetries: 50, ...config }, ...options });
    opened.push(tab);
    await tab.open();
    return tab;
  };
  const name = `leaving-${cases}`;
  const open = () => openTab({ browser, name, wallet: alice, peer: bob, joins: true });
  const peer = await openTab({ browser: elsewhere, name: `peer-${cases}`, wallet: bob, peer: alice });
  const tab = await open();
  assert.equal(await tab.install(options), true);
  await until('it is connected', async () => (await tab.state()).connection === 'connected');
  return { tab, peer, open };
}

/** The tab queues these, and is closed. */
async function leave(tab, texts) {
  await tab.call('setOffline', true);
  const ids = await tab.sendAtOnce(texts);
  await tab.page.close();
  return ids;
}

/** Bob has heard all of them once, in the order in which they were sent. */
async function heardOnce(peer, ids) {
  await until('Bob has them', async () => (await peer.heardHere()).length >= ids.length, 60_000);
  assert.deepEqual(await peer.heardHere(), ids);
}

test('the service worker delivers what the last tab left', { timeout: 120_000 }, async (t) => {
  const { tab, peer, open } = await scene(t);
  assert.deepEqual(await tab.tags(), []);
  await relay.kill();
  const ids = await tab.sendAtOnce(texts('left', 20));
  await browser.rpc.call('Target.activateTarget', { targetId: browser.first });
  await until('the browser is asked', async () => (await tab.tags()).includes('solconnect-sync'));
  await tab.page.close();
  await relay.start();
  await workers.sync(tab.scope);
  await heardOnce(peer, ids);
  assert.equal(await workers.evaluate(tab.scope, 'globalThis.isPossible'), true);
  // Another event finds nothing.
  await workers.sync(tab.scope);
  await until('the worker is done', async () => (await tab.outcomes()).at(-1) === 'done');
  const again = await open();
  assert.deepEqual((await converge([again, peer], 20)).map(({ id }) => id), ids);
  assert.deepEqual(await peer.heardHere(), ids);
});

test('the service worker delivers what is encrypted', { timeout: 120_000 }, async (t) => {
  const strict = await startRelay({ auth: 'wallet' });
  t.after(() => strict.stop());
  const domain = new URL(strict.url).host;
  const config = { domains: [domain], deviceApproval: 'auto' };
  const { tab, peer, open } = await scene(t, { domain }, { config, at: strict });
  const ids = await leave(tab, texts('secret', 30));
  await workers.sync(tab.scope);
  await heardOnce(peer, ids);
  await until('the worker is done', async () => (await tab.outcomes()).at(-1) === 'done');
  const again = await open();
  for (const one of [again, peer]) {
    const shown = await one.list();
    assert.deepEqual(shown.map(({ id, text }) => ({ id, text })), texts('secret', 30).map((text, index) => ({ id: ids[index], text })));
    assert.equal(shown[0].sequenceNumber, 2, 'behind the epoch that the worker began');
  }
});

test('the worker leaves a locked wallet to who unlocks it', { timeout: 120_000 }, async (t) => {
  const strict = await startRelay({ auth: 'wallet' });
  t.after(() => strict.stop());
  const domain = new URL(strict.url).host;
  const config = { domains: [domain], deviceApproval: 'auto', passphrases: ['correct horse', 'correct horse'] };
  const { tab, peer, open } = await scene(t, { domain, isLocked: true }, { config, at: strict });
  const ids = await leave(tab, texts('secret', 3));
  await workers.sync(tab.scope);
  await until('the worker is done', async () => (await tab.outcomes()).at(-1) === 'done');
  assert.deepEqual(await peer.heardHere(), []);
  // A tab has what unlocks it, and delivers for the worker.
  const again = await open();
  assert.equal(await again.role(), 'owner');
  await again.call('setOffline', false);
  await heardOnce(peer, ids);
});

test('the worker opens no wallet that is to be locked', { timeout: 120_000 }, async (t) => {
  const strict = await startRelay({ auth: 'wallet' });
  t.after(() => strict.stop());
  const domain = new URL(strict.url).host;
  // The application has the option since today, and no page has asked anybody yet.
  const { tab, peer } = await scene(t, { domain, isLocked: true }, { config: { domains: [domain], deviceApproval: 'auto' }, at: strict });
  await leave(tab, texts('secret', 3));
  await workers.sync(tab.scope);
  await until('the worker is done', async () => (await tab.outcomes()).at(-1) === 'done');
  assert.deepEqual(await peer.heardHere(), []);
});

test('a tab that is open delivers, and stays the owner', { timeout: 120_000 }, async (t) => {
  const { tab, peer } = await scene(t);
  await workers.sync(tab.scope);
  await until('the worker has started', async () => (await tab.outcomes()).at(-1) === 'done');
  const [events, outcomes] = [(await tab.events('onTabChanged')).length, (await tab.outcomes()).length];
  // A page that is hidden for a second gives way to one that is seen, and the worker is none.
  await browser.rpc.call('Target.activateTarget', { targetId: browser.first });
  await relay.kill();
  const ids = await tab.sendAtOnce(texts('not left', 200));
  await workers.sync(tab.scope);
  await delay(2_500);
  await relay.start();
  await heardOnce(peer, ids);
  await until('the worker is done', async () => (await tab.outcomes()).slice(outcomes).at(-1) === 'done');
  assert.equal(await tab.call('getTabRole'), 'owner');
  assert.deepEqual((await tab.events('onTabChanged')).slice(events), []);
  await converge([tab, peer], 200);
  assert.deepEqual(await peer.heardHere(), ids);
});

/** A tab that is frozen without notice, with these queued. */
async function freeze(tab, texts) {
  await relay.kill();
  const ids = await tab.sendAtOnce(texts);
  // The driver alone hears of it.
  await tab.page.evaluate(() => addEventListener('freeze', (event) => {
    globalThis[Symbol.for('is frozen')] = true;
    event.stopImmediatePropagation();
  }, { capture: true }));
  await tab.page.freeze();
  await relay.start();
  return ids;
}

test('the worker takes nothing from a frozen tab, and gives up in time', { timeout: 120_000 }, async (t) => {
  // In that time another tab would have taken it (a second until it asks, and one for the answer).
  const { tab, peer } = await scene(t, { limitMs: 5_000 });
  const ids = await freeze(tab, texts('frozen', 20));
  await workers.sync(tab.scope);
  await until('the worker gives up', async () => /^CALL_ABORTED/.test((await tab.outcomes()).at(-1)));
  assert.deepEqual(await peer.heardHere(), []);
  await tab.page.thaw();
  await heardOnce(peer, ids);
  assert.equal(await tab.call('getTabRole'), 'owner');
});

test('a tab that thaws when the worker has delivered sends nothing twice', { timeout: 120_000 }, async (t) => {
  const { tab, peer } = await scene(t);
  const ids = await freeze(tab, texts('frozen', 200));
  await workers.sync(tab.scope);
  // The lock is nobody's. What the tab has in memory is what it was about to send.
  await workers.evaluate(tab.scope, `navigator.locks.request('solconnect-sync:${tab.database}', { steal: true }, () => {})`);
  await heardOnce(peer, ids);
  await tab.page.thaw();
  ids.push(...(await tab.send('thawed')));
  await heardOnce(peer, ids);
  assert.deepEqual((await converge([tab, peer], ids.length)).map(({ id }) => id), ids);
  assert.deepEqual(await peer.heardHere(), ids);
});

test('a worker that is killed in the middle goes on at the next event', { timeout: 180_000 }, async (t) => {
  const { tab, peer, open } = await scene(t);
  const ids = await leave(tab, texts('many', 4_000));
  let kills = 0;
  for (let heard = 0; heard < ids.length && kills < 5;) {
    await workers.sync(tab.scope);
    await until('Bob hears more', async () => (await peer.heardHere()).length > heard, 60_000);
    await workers.stop(tab.scope);
    heard = (await peer.heardHere()).length;
    if (heard < ids.length) kills += 1;
  }
  t.diagnostic(`${kills} kills in the middle`);
  assert.ok(kills > 0, 'it was killed in the middle');
  await workers.sync(tab.scope);
  await heardOnce(peer, ids);
  const again = await open();
  assert.deepEqual((await converge([again, peer], ids.length)).map(({ id }) => id), ids);
  assert.deepEqual(duplicates(await peer.heardHere()), []);
});

test('a tab that opens while the worker delivers takes over', { timeout: 180_000 }, async (t) => {
  const { tab, peer, open } = await scene(t);
  const ids = await leave(tab, texts('many', 4_000));
  await workers.sync(tab.scope);
  await until('Bob hears something', async () => (await peer.heardHere()).length > 0, 60_000);
  const again = await open();
  ids.push(...(await again.send('from the tab')));
  await until('the tab owns', async () => (await again.call('getTabRole')) === 'owner');
  await heardOnce(peer, ids);
  await until('the worker is done', async () => (await tab.outcomes()).at(-1) === 'done');
  assert.deepEqual((await converge([again, peer], ids.length)).map(({ id }) => id), ids);
});

test('a tab with other options is not refused because of the worker', { timeout: 180_000 }, async (t) => {
  const { tab, peer, open } = await scene(t, { relay: relay.endpoint.replace('127.0.0.1', 'localhost') });
  const ids = await leave(tab, texts('many', 1_000));
  // It is stopped in the midst of what it delivers.
  await workers.evaluate(tab.scope, `{
    const { send } = WebSocket.prototype;
    let bytes = 0;
    WebSocket.prototype.send = function (data) {
      bytes += data.byteLength ?? data.length;
      globalThis.isHeld = bytes > 5_000;
      if (!globalThis.isHeld) send.call(this, data);
    };
  }`);
  await workers.sync(tab.scope);
  await until('the worker is at it', () => workers.evaluate(tab.scope, 'globalThis.isHeld'), 60_000);
  await until('Bob hears something', async () => (await peer.heardHere()).length > 0);
  assert.ok((await peer.heardHere()).length < ids.length, 'the worker is in the midst of it');
  const again = await open();
  ids.push(...(await again.send('from the tab')));
  assert.equal(await again.call('getTabRole'), 'owner');
  await heardOnce(peer, ids);
  await converge([again, peer], ids.length);
});

test('without the relay everything stays queued, and the browser is to try again', { timeout: 120_000 }, async (t) => {
  const { tab, peer, open } = await scene(t);
  await workers.sync(tab.scope);
  await until('the worker is done', async () => (await tab.outcomes()).at(-1) === 'done');
  await relay.kill();
  try {
    const ids = await tab.sendAtOnce(texts('kept', 10));
    await tab.page.close();
    await workers.sync(tab.scope);
    await until('the worker gives up', async () => (await tab.outcomes()).at(-1).startsWith('CONNECTION_FAILED'), 60_000);
    await relay.start();
    const again = await open();
    await heardOnce(peer, ids);
    await converge([again, peer], ids.length);
  } finally {
    if (!(await fetch(relay.url).then(() => true, () => false))) await relay.start();
  }
});

test('what a logged-out wallet left waits until it is back', { timeout: 120_000 }, async (t) => {
  const { tab, peer, open } = await scene(t);
  await tab.call('setOffline', true);
  const ids = await tab.sendAtOnce(texts('kept', 10));
  await tab.call('logout');
  await tab.page.close();
  await workers.sync(tab.scope);
  await until('the worker is done', async () => (await tab.outcomes()).at(-1) === 'done');
  assert.deepEqual(await peer.heardHere(), []);
  await open();
  await heardOnce(peer, ids);
});

test('Firefox has no Background Sync, and says so', { timeout: 120_000 }, async () => {
  const firefox = await launch('firefox');
  try {
    const page = await firefox.open(relay.url);
    const isPossible = await within('the worker is installed', page.evaluate(async () => {
      // The policy of the relay's pages forbids plain addresses of workers.
      const policy = trustedTypes.createPolicy('tests', { createScriptURL: (url) => url });
      const registration = await navigator.serviceWorker.register(policy.createScriptURL('/sw.js?database=none'), { type: 'module', scope: '/none/' });
      const { deliverAfterClosing } = await import('/pkg/background.js');
      return deliverAfterClosing(globalThis.device.sync, registration);
    }), 60_000);
    assert.equal(isPossible, false);
  } finally {
    await firefox.stop();
  }
});
