// The bindings and the status element in a real browser, over a model of the SDK, under a strict policy.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { build } from 'esbuild';
import { root } from '../../scripts/shell.mjs';
import { startBrowser } from './harness/browser.mjs';

const policy = "default-src 'none'; script-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'";
let browser;
let server;

before(async () => {
  const entry = join(root, 'tests', 'e2e', 'page', 'lists-bindings.js');
  const define = { 'process.env.NODE_ENV': '"development"', __VUE_OPTIONS_API__: 'true', __VUE_PROD_DEVTOOLS__: 'false', __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false' };
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'esm', target: 'es2022', conditions: ['browser'], define, write: false });
  server = createServer((request, response) => {
    const isScript = request.url === '/page.js';
    response.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html', 'content-security-policy': policy });
    response.end(isScript ? outputFiles[0].contents : '<!doctype html><html lang="en"><title>Bindings</title><body><main id="app"></main><script type="module" src="/page.js"></script>');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  browser = await startBrowser();
});

after(async () => {
  server?.close();
  await browser?.stop();
});

/** A tab that fails the test when something goes wrong in it. */
async function open(t) {
  // Not `newPage` of the harness: the page's policy counts here.
  const page = await browser.context.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && !message.text().includes('favicon') && problems.push(message.text()));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => globalThis.page);
  t.after(async () => {
    await page.close();
    assert.deepEqual(problems, []);
  });
  return page;
}

const run = (page, work, value) => page.evaluate(work, value);

test('React: StrictMode, two views of one list, paging, another session', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const state = () => run(page, async () => {
    await globalThis.page.model.settle();
    await new Promise((resolve) => setTimeout(resolve));
    const { textContent, dataset } = document.querySelector('#one');
    return { one: textContent, two: document.querySelector('#two').textContent, more: dataset.more, list: document.querySelector('#list').textContent, pages: globalThis.page.model.counts.pages };
  });
  await run(page, () => {
    globalThis.page.scene();
    globalThis.page.root = globalThis.page.react(globalThis.page.sdk);
  });
  await page.waitForSelector('#one', { state: 'attached' });
  const first = 'text 3 sent|text 4 sent|text 5 sent';
  // One page of the thread, one of each of two conversations.
  assert.deepEqual(await state(), { one: first, two: first, more: 'true', list: 's 5|other 0', pages: 3 });
  await page.click('#two');
  const all = `text 1 sent|text 2 sent|${first}`;
  assert.deepEqual(await state(), { one: all, two: all, more: 'false', list: 's 5|other 0', pages: 4 });
  const renders = await run(page, () => globalThis.page.renders.one);
  await run(page, () => {
    for (let count = 0; count < 100; count += 1) globalThis.page.model.receive('s');
    const queued = globalThis.page.model.queue('s', 'mine');
    globalThis.page.model.setStatus('s', queued, 'sending');
  });
  const { one, list } = await state();
  assert.deepEqual([one.split('|').length, one.split('|').at(-1), list], [106, 'mine sending', 's 105|other 0']);
  // StrictMode renders twice.
  assert.equal(await run(page, () => globalThis.page.renders.one) - renders, 2, 'one rendering for all changes of a turn');
  await page.click('#switch');
  assert.equal((await state()).one, '');
  await run(page, () => {
    globalThis.page.root.unmount();
    for (let count = 0; count < 2; count += 1) globalThis.page.model.receive('s');
  });
  assert.equal(await run(page, () => globalThis.page.sdk.handlerCount), 0);
});

test('a group has its name, its members and its readers in React, Vue and Svelte', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  await run(page, () => {
    globalThis.page.shown = globalThis.page.group();
  });
  const shows = async (expected) => {
    const shown = await run(page, async () => {
      await globalThis.page.model.settle();
      await new Promise((resolve) => setTimeout(resolve));
      return globalThis.page.shown();
    });
    assert.deepEqual(shown, Array(3).fill(expected));
  };
  await shows('g, member: OwnWallet! Anna Ben; ');
  await run(page, () => {
    const { model } = globalThis.page;
    model.log('g', model.queue('g', 'Hello'));
    model.receipt('g', 'Anna', 'read', 1);
  });
  await shows('g, member: OwnWallet! Anna Ben; Hello Anna');
  await run(page, () => globalThis.page.model.leave('g', 'Anna'));
  await shows('g, member: OwnWallet! Ben; Hello ');
});

test('React: hydration finds what the server made', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const errors = await run(page, async () => {
    globalThis.page.scene();
    const errors = globalThis.page.hydrate(globalThis.page.sdk);
    for (let count = 0; count < 20; count += 1) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      await globalThis.page.model.settle();
    }
    return errors;
  });
  assert.deepEqual(errors, []);
  assert.equal(await page.textContent('#one'), 'text 3 sent|text 4 sent|text 5 sent');
});

test('Vue: refs of the SDK and of the session, paging, unmounting', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const state = () => run(page, async () => {
    await globalThis.page.model.settle();
    await new Promise((resolve) => setTimeout(resolve));
    return [document.querySelector('#one').textContent, document.querySelector('#one').dataset.more];
  });
  await run(page, () => {
    globalThis.page.scene();
    globalThis.page.mounted = globalThis.page.vue(globalThis.page.sdk);
  });
  assert.deepEqual(await state(), ['text 3 sent|text 4 sent|text 5 sent', 'true']);
  await page.click('#one');
  assert.deepEqual(await state(), ['text 1 sent|text 2 sent|text 3 sent|text 4 sent|text 5 sent', 'false']);
  await run(page, () => {
    globalThis.page.model.receive('other', { text: 'elsewhere' });
    globalThis.page.mounted.id.value = 'other';
  });
  assert.deepEqual(await state(), ['elsewhere sent', 'false']);
  await run(page, () => {
    globalThis.page.mounted.from.value = null;
  });
  assert.deepEqual(await state(), ['', 'false']);
  await run(page, () => globalThis.page.mounted.app.unmount());
});

test('Svelte: a store that ends', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const values = await run(page, async () => {
    const { sdk, model } = globalThis.page.scene();
    const { values, loadOlder, end } = globalThis.page.svelte(sdk);
    await model.settle();
    const older = loadOlder();
    await model.settle();
    await older;
    end();
    model.receive('s');
    await model.settle();
    return [values[0], values.at(-1)];
  });
  assert.deepEqual(values, ['', 'text 1 sent|text 2 sent|text 3 sent|text 4 sent|text 5 sent']);
});

test('the status element: every state, accessible, themed, under a strict policy', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const shown = () => run(page, async () => {
    await new Promise((resolve) => setTimeout(resolve));
    const element = document.querySelector('solconnect-sync-status');
    const part = (name) => element.shadowRoot.querySelector(`[part=${name}]`);
    const { hidden, value, max } = part('progress');
    return [element.getAttribute('state'), part('text').textContent, hidden ? null : `${value}/${max}`];
  });
  await run(page, () => {
    globalThis.page.scene();
    document.body.append(document.createElement('solconnect-sync-status'));
  });
  assert.deepEqual(await shown(), ['signed-out', 'Not signed in', null]);
  const change = (work) => run(page, work);
  await change(() => {
    document.querySelector('solconnect-sync-status').sdk = globalThis.page.sdk;
  });
  assert.deepEqual(await shown(), ['synced', 'Up to date', null]);
  await change(() => {
    globalThis.page.sdk.queued = 3;
    globalThis.page.sdk.emit('queueChanged');
  });
  assert.deepEqual(await shown(), ['queued', '3 waiting', null]);
  await change(() => globalThis.page.sdk.emit('syncStarted', { sessionId: 's' }));
  assert.deepEqual(await shown(), ['syncing', 'Syncing…', null]);
  await change(() => globalThis.page.sdk.emit('syncProgress', { sessionId: 's', progress: { messagesSynced: 20, totalMessages: 80 } }));
  assert.deepEqual(await shown(), ['syncing', 'Syncing…', '20/80']);
  await page.waitForTimeout(1_100);
  const tree = await page.locator('solconnect-sync-status').ariaSnapshot();
  assert.match(tree, /status: Syncing…/);
  assert.match(tree, /progressbar "Syncing…"/);
  for (const [connection, state] of [['connecting', ['connecting', 'Connecting…', null]], ['waiting', ['offline', 'Offline, 3 waiting', null]]]) {
    await run(page, (connection) => {
      globalThis.page.sdk.connection = connection;
      globalThis.page.sdk.emit('connectionChanged');
    }, connection);
    assert.deepEqual(await shown(), state);
  }
  await change(() => globalThis.page.sdk.emit('conflictDetected', { sessionId: 's', conflicts: [{ kind: 'concurrent_versions', messageId: 'm' }] }));
  assert.deepEqual(await shown(), ['conflict', '1 message was changed in two places', null]);
  await change(() => globalThis.page.sdk.emit('warning', { error: { code: 'STORAGE_FULL', userMessage: '<img src=x onerror=alert(1)>' } }));
  assert.deepEqual(await shown(), ['storage', '<img src=x onerror=alert(1)>', null]);
  const look = () => run(page, () => {
    const element = document.querySelector('solconnect-sync-status');
    const dot = element.shadowRoot.querySelector('[part=dot]');
    return [getComputedStyle(dot).backgroundColor, getComputedStyle(element).color, getComputedStyle(dot).animationName];
  });
  assert.deepEqual(await look(), ['rgb(207, 34, 46)', 'rgb(31, 35, 40)', 'none']);
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.deepEqual(await look(), ['rgb(248, 81, 73)', 'rgb(230, 237, 243)', 'none']);
  await change(() => {
    const element = document.querySelector('solconnect-sync-status');
    element.style.setProperty('--solconnect-storage', 'rgb(1, 2, 3)');
    element.texts = { storage: () => 'Speicher voll' };
  });
  assert.deepEqual([(await look())[0], (await shown())[1]], ['rgb(1, 2, 3)', 'Speicher voll']);
  await change(() => {
    const { sdk } = globalThis.page;
    sdk.connection = 'connecting';
    for (const event of ['walletChanged', 'connectionChanged']) sdk.emit(event);
  });
  await page.locator('solconnect-sync-status[state=connecting]').waitFor();
  assert.equal((await look())[2], 'pulse');
  await page.emulateMedia({ reducedMotion: 'reduce' });
  assert.equal((await look())[2], 'none');
  // Moved and removed: it listens once, and no longer.
  await change(() => document.querySelector('#app').append(document.querySelector('solconnect-sync-status')));
  const handlers = await run(page, () => globalThis.page.sdk.handlerCount);
  await change(() => document.querySelector('solconnect-sync-status').remove());
  assert.deepEqual([handlers, await run(page, () => globalThis.page.sdk.handlerCount)], [12, 0]);
});

test('the status element holds a state before a less important one, and says only what lasts', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await run(page, async () => {
    const { sdk } = globalThis.page.scene();
    const element = document.createElement('solconnect-sync-status');
    element.sdk = sdk;
    document.body.append(element);
    const { shadowRoot } = element;
    const said = [];
    const status = shadowRoot.querySelector('[role=status]');
    new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true, characterData: true, subtree: true });
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const shown = [];
    const start = performance.now();
    new MutationObserver(() => shown.push([element.getAttribute('state'), performance.now() - start])).observe(element, { attributeFilter: ['state'] });
    // A message that is sent at once: 3 ms of waiting, 3 ms of syncing, many times.
    for (let times = 0; times < 5; times += 1) {
      sdk.queued = 1;
      sdk.emit('queueChanged');
      await wait(3);
      sdk.emit('syncStarted', { sessionId: 's' });
      await wait(3);
      sdk.queued = 0;
      sdk.emit('queueChanged');
      sdk.emit('syncCompleted', { sessionId: 's' });
      await wait(50);
    }
    const quick = shown.map(([state]) => state);
    await wait(1_500);
    const settled = shown.map(([state]) => state).slice(quick.length);
    const saidOfMessages = [...said];
    // What is more important comes at once, and what waits meanwhile too.
    sdk.connection = 'waiting';
    sdk.emit('connectionChanged');
    await wait(10);
    const offline = element.getAttribute('state');
    sdk.queued = 7;
    sdk.emit('queueChanged');
    await wait(10);
    const text = shadowRoot.querySelector('[part=text]').textContent;
    sdk.connection = 'connected';
    sdk.emit('connectionChanged');
    const back = performance.now();
    while (element.getAttribute('state') !== 'queued') await wait(5);
    const heldMs = performance.now() - back;
    await wait(1_100);
    sdk.connection = undefined;
    sdk.emit('walletChanged', { address: null });
    await wait(10);
    return { quick, settled, saidOfMessages, offline, text, heldMs, said, last: element.getAttribute('state'), hidden: shadowRoot.querySelector('[part=text]').getAttribute('aria-hidden') };
  });
  assert.deepEqual(outcome.quick, ['queued', 'syncing'], 'no flicker while messages go out');
  assert.deepEqual(outcome.settled, ['synced']);
  assert.deepEqual(outcome.saidOfMessages, [], 'nothing of it is read out');
  assert.deepEqual([outcome.offline, outcome.text], ['offline', 'Offline, 7 waiting']);
  assert.ok(outcome.heldMs > 300 && outcome.heldMs < 600, `${outcome.heldMs} ms`);
  assert.deepEqual(outcome.said, ['7 waiting'], 'only what lasted');
  assert.deepEqual([outcome.last, outcome.hidden], ['signed-out', 'true']);
});

test('the status element takes what was set before it was defined', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const text = await run(page, async () => {
    const { sdk } = globalThis.page.scene();
    const element = document.createElement('solconnect-sync-status');
    Object.defineProperty(element, 'sdk', { value: sdk, writable: true, configurable: true, enumerable: true });
    document.body.append(element);
    return element.shadowRoot.querySelector('[part=text]').textContent;
  });
  assert.equal(text, 'Up to date');
});
