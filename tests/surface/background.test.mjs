// When a page asks the browser to wake its service worker.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { compile } from './lists-compile.mjs';

const { deliverAfterClosing } = await compile('background', "export * from './src/bindings/background.ts';");

let page;
let asked;
let permission;

/** A page with a network that is seen, its SDK and its worker. */
beforeEach(() => {
  asked = 0;
  permission = 'granted';
  page = Object.assign(new EventTarget(), { visibilityState: 'visible', isOnline: true, connection: 'connected', queued: 0, handlers: [] });
  globalThis.document = page;
  globalThis.addEventListener = (name, handler) => page.addEventListener(name, handler);
  const navigator = {
    permissions: { query: async ({ name }) => ({ state: name === 'background-sync' ? permission : 'denied' }) },
    get onLine() {
      return page.isOnline;
    },
  };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
});

const makeSdk = () => ({
  on: (_name, handler) => page.handlers.push(handler),
  getConnectionStatus: () => ({ success: true, data: page.connection }),
  getSyncStatus: () => ({ success: true, data: { queuedMessageCount: page.queued } }),
});

const worker = (state) => Object.assign(new EventTarget(), { state });

const makeRegistration = (workers = { active: worker('activated') }) => ({
  active: null, waiting: null, installing: null, ...workers,
  sync: {
    async register(tag) {
      assert.equal(tag, 'solconnect-sync');
      asked += 1;
    },
  },
});

/** The page becomes so; how often the browser was asked by then. */
async function becomes(changes) {
  const { visibilityState } = page;
  Object.assign(page, changes);
  for (const handler of page.handlers) handler();
  if (page.visibilityState !== visibilityState) page.dispatchEvent(new Event('visibilitychange'));
  await turn();
  return asked;
}

test('a page that delivers by itself asks for nothing', async () => {
  assert.equal(await deliverAfterClosing(makeSdk(), makeRegistration()), true);
  assert.equal(await becomes({ queued: 3 }), 0);
  assert.equal(await becomes({ connection: 'connecting' }), 0, 'seen, and with a network');
  assert.equal(await becomes({ connection: 'connected' }), 0);
  assert.equal(await becomes({ queued: 0 }), 0);
  assert.equal(await becomes({ visibilityState: 'hidden' }), 0, 'with nothing queued');
  assert.equal(await becomes({ queued: 1 }), 0, 'hidden, and with a connection');
});

test('a page that is hidden with something queued asks each time', async () => {
  await deliverAfterClosing(makeSdk(), makeRegistration());
  await becomes({ queued: 1 });
  assert.equal(await becomes({ visibilityState: 'hidden' }), 1);
  await becomes({ visibilityState: 'visible' });
  assert.equal(await becomes({ visibilityState: 'hidden' }), 2);
});

test('what is queued without a network is asked for once', async () => {
  await deliverAfterClosing(makeSdk(), makeRegistration());
  await becomes({ isOnline: false, connection: 'disconnected' });
  assert.equal(await becomes({ queued: 1 }), 1);
  for (const connection of ['connecting', 'disconnected', 'connecting']) assert.equal(await becomes({ connection, queued: 2 }), 1);
  await becomes({ isOnline: true, connection: 'connected', queued: 0 });
  await becomes({ isOnline: false, connection: 'disconnected' });
  assert.equal(await becomes({ queued: 1 }), 2);
});

test('what was queued before is asked for at once', async () => {
  Object.assign(page, { queued: 1, connection: 'disconnected', isOnline: false });
  await deliverAfterClosing(makeSdk(), makeRegistration());
  await turn();
  assert.equal(asked, 1);
});

test('a worker that was just registered is waited for', async () => {
  Object.assign(page, { queued: 1, connection: 'disconnected', isOnline: false });
  const installing = worker('installing');
  await deliverAfterClosing(makeSdk(), makeRegistration({ installing }));
  await turn();
  assert.equal(asked, 0);
  for (const state of ['installed', 'activating']) {
    installing.state = state;
    installing.dispatchEvent(new Event('statechange'));
    await turn();
    assert.equal(asked, state === 'activating' ? 1 : 0, state);
  }
});

test('a second call for an SDK does nothing', async () => {
  const [sdk, registration] = [makeSdk(), makeRegistration()];
  assert.equal(await deliverAfterClosing(sdk, registration), true);
  assert.equal(await deliverAfterClosing(sdk, registration), true);
  await becomes({ queued: 1 });
  assert.equal(await becomes({ visibilityState: 'hidden' }), 1);
});

test('a browser that cannot, or may not, is told of', async () => {
  assert.equal(await deliverAfterClosing(makeSdk(), {}), false);
  permission = 'denied';
  assert.equal(await deliverAfterClosing(makeSdk(), makeRegistration()), false);
  assert.equal(page.handlers.length, 0);
});
