// docs/deploy.md with real programs: nginx as it is configured there, the page with exactly its headers, the packed relay behind it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { get } from 'node:https';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { startBrowser } from '../e2e/harness/browser.mjs';
import { Device } from '../e2e/harness/device.mjs';
import { converge } from '../e2e/harness/lists.mjs';
import { startRelay } from '../e2e/harness/relay.mjs';
import { until } from '../e2e/harness/wait.mjs';
import { newWallet } from '../e2e/harness/wallet.mjs';
import { replaced } from './harness/document.mjs';
import { serverOf, startNginx } from './harness/nginx.mjs';
import { installRelay, programIn } from './harness/packed.mjs';

const relayEndpoint = 'wss://relay.example.org';
const pageServer = serverOf('chat.example.org');

/** The page under other names, each with one thing less in its headers. */
const variants = {
  'no-wasm': [" 'wasm-unsafe-eval'", ''],
  'no-self': ["connect-src 'self'", 'connect-src'],
  'no-relay': [' wss://relay.example.org https://relay.example.org', ''],
  'no-https': [' https://relay.example.org', ''],
};

let project;
let relay;
let nginx;
let browser;

before(async () => {
  project = installRelay();
  const origins = ['chat', ...Object.keys(variants)].flatMap((name) => ['--allow-origin', `https://${name}.example.org`]);
  const options = ['--public-url', relayEndpoint, '--trusted-proxy', '127.0.0.1', ...origins];
  relay = await startRelay({ www: null, program: programIn(project), auth: 'wallet', options });
  const pages = Object.entries(variants).map(([name, [from, to]]) => replaced(replaced(pageServer, 'server_name chat.', `server_name ${name}.`), from, to));
  const refused = replaced(pageServer, 'server_name chat.', 'server_name refused.');
  nginx = await startNginx(relay.port, [...pages, refused].join('\n'));
  // The names and the port are the real ones to the page; only the browser's way to them is ours.
  browser = await startBrowser({ moreFlags: ['--ignore-certificate-errors', `--host-resolver-rules=MAP *.example.org 127.0.0.1:${nginx.port}`] });
});

after(async () => {
  await browser?.stop();
  await nginx?.stop();
  await relay?.stop();
  rmSync(project, { recursive: true, force: true });
});

/** Not the harness's own pages: those switch the policy off, which is under test here. */
const strict = { newPage: () => browser.context.newPage() };

/** A page that was refused something; `refused` has the directives of its policy that did. */
async function open(name) {
  const page = await browser.context.newPage();
  await page.addInitScript(() => {
    globalThis.refused = [];
    document.addEventListener('securitypolicyviolation', (event) => globalThis.refused.push([event.effectiveDirective, event.blockedURI]));
  });
  await page.goto(`https://${name}.example.org/`);
  await page.waitForFunction(() => globalThis.device);
  return page;
}

/** Starts the SDK up to its local wallet; the code of the error that ends that, or null. */
const start = (page) => page.evaluate(async (relayEndpoint) => {
  try {
    globalThis.sdk = await globalThis.device.sync.initializeSDK({ relayEndpoint, retryDelayMs: 50, domains: [location.host] });
  } catch (error) {
    return error.code;
  }
  const { device, sdk } = globalThis;
  device.must(await sdk.initialize());
  device.must(await sdk.connectWallet());
  device.must(await sdk.startSession({ peerWallet: 'So11111111111111111111111111111111111111112' }));
  return null;
}, relayEndpoint);

const connection = (page) => page.evaluate(() => globalThis.device.must(globalThis.sdk.getConnectionStatus()));
const refusals = (page) => page.evaluate(() => globalThis.refused);

/** What the relay says of the page's origin. */
const ask = (page) => page.evaluate(async () => {
  const response = await fetch(`https://relay.example.org/?solconnect-origin=${encodeURIComponent(self.origin)}`);
  return response.json();
});

test('devices sign in and sync through the proxy under the printed headers', { timeout: 120_000 }, async () => {
  const at = { url: 'https://chat.example.org/', endpoint: relayEndpoint };
  const [alice, bob] = [newWallet(), newWallet()];
  const config = { domains: ['chat.example.org'], encryption: 'off' };
  const a = new Device({ browser: strict, relay: at, name: 'a', wallet: alice, peer: bob, config });
  const b = new Device({ browser: strict, relay: at, name: 'b', wallet: bob, peer: alice, config });
  await a.open();
  await b.open();
  assert.equal(await a.page.evaluate(() => isSecureContext), true);
  await a.send('one', 'two');
  await b.send('three');
  await converge([a, b], 3);
  await b.setOffline(true);
  await a.send('four');
  await b.setOffline(false);
  await converge([a, b], 4);
  await a.close();
  await b.close();
});

test('a relay that restarts behind the proxy is found again', { timeout: 60_000 }, async () => {
  const page = await open('chat');
  assert.equal(await start(page), null);
  await until('it is connected', async () => (await connection(page)) === 'connected');
  await relay.kill();
  await until('it is not', async () => (await connection(page)) !== 'connected');
  await relay.start();
  await until('it is again', async () => (await connection(page)) === 'connected');
  assert.deepEqual(await refusals(page), []);
  await page.close();
});

test('without wasm-unsafe-eval the SDK does not start', async () => {
  const page = await open('no-wasm');
  assert.equal(await start(page), 'SDK_INITIALIZATION_FAILED');
  await page.close();
});

test('without the page itself in connect-src the wasm comes from the JavaScript', async () => {
  const page = await open('no-self');
  assert.equal(await start(page), null);
  assert.deepEqual((await refusals(page))[0][0], 'connect-src');
  await page.close();
});

test('without the relay in connect-src no socket opens', async () => {
  const page = await open('no-relay');
  assert.equal(await start(page), null);
  await until('the policy refuses the socket', async () => (await refusals(page)).some(([, uri]) => uri.startsWith(relayEndpoint)));
  assert.notEqual(await connection(page), 'connected');
  await page.close();
});

test('without https for the relay only the reason is missing', async () => {
  const page = await open('no-https');
  assert.equal(await start(page), null);
  await until('it is connected', async () => (await connection(page)) === 'connected');
  await assert.rejects(ask(page), /Failed to fetch/);
  assert.deepEqual((await refusals(page)).map(([directive]) => directive), ['connect-src']);
  await page.close();
});

test('a refused page learns the reason and the log names it', async () => {
  const page = await open('refused');
  assert.equal(await start(page), null);
  await until('the log names the origin', () => /WARN.*origin=https:\/\/refused\.example\.org/.test(relay.log.replaceAll(/\x1b\[\d*m/g, '')));
  assert.notEqual(await connection(page), 'connected');
  assert.deepEqual(await ask(page), { relay: 'solconnect', protocolVersion: 1, originAllowed: false });
  await page.close();
  const served = await open('chat');
  assert.deepEqual(await ask(served), { relay: 'solconnect', protocolVersion: 1, originAllowed: true });
  await served.close();
});

test('the page\'s wasm comes compressed', async () => {
  const page = await open('chat');
  const sizes = await page.evaluate(async () => {
    const response = await fetch('/pkg/solconnect_sync_bg.wasm', { cache: 'reload' });
    const bytes = (await response.arrayBuffer()).byteLength;
    const { encodedBodySize } = performance.getEntriesByName(response.url).at(-1);
    return { type: response.headers.get('content-type'), bytes, encodedBodySize };
  });
  assert.equal(sizes.type, 'application/wasm');
  assert.ok(sizes.encodedBodySize < 0.6 * sizes.bytes, JSON.stringify(sizes));
  await page.close();
});

test('the proxy passes on nothing but the path of the WebSocket', async () => {
  const status = async (path) => {
    const request = get({ host: '127.0.0.1', port: nginx.port, path, servername: 'relay.example.org', headers: { host: 'relay.example.org' }, rejectUnauthorized: false });
    const [response] = await once(request, 'response');
    response.resume();
    return response.statusCode;
  };
  assert.deepEqual([await status('/?solconnect-origin=null'), await status('/healthz')], [200, 404]);
  assert.equal((await fetch(`${relay.url}healthz`)).status, 200, 'inside it is there');
});

/** Opens a WebSocket through the proxy from an address of this machine; the status that it is refused with, or the socket. */
function socketFrom(localAddress, headers = {}) {
  const socket = new WebSocket(`wss://127.0.0.1:${nginx.port}/`, 'solconnect.sync.v1', {
    localAddress, servername: 'relay.example.org', headers: { host: 'relay.example.org', ...headers }, rejectUnauthorized: false,
  });
  return new Promise((resolve, reject) => {
    socket.on('open', () => resolve(socket));
    socket.on('unexpected-response', (request, response) => {
      response.resume();
      resolve(response.statusCode);
    });
    socket.on('error', reject);
  });
}

test('addresses behind the proxy have their own limits', { timeout: 60_000 }, async () => {
  const sockets = [];
  // Who has not signed in is sent away after five seconds: they come as fast as they can.
  let refused;
  while (refused === undefined && sockets.length < 1_000) {
    const opened = await Promise.all(Array.from({ length: 32 }, () => socketFrom('127.0.0.2')));
    sockets.push(...opened.filter((one) => one instanceof WebSocket));
    refused = opened.find((one) => typeof one === 'number');
  }
  assert.equal(refused, 429);
  assert.equal(sockets.length, 256);
  // Neither header gives a client another address than the one that the proxy saw.
  for (const headers of [{ 'x-forwarded-for': '203.0.113.7' }, { forwarded: 'for=203.0.113.7' }]) {
    assert.equal(await socketFrom('127.0.0.2', headers), 429, JSON.stringify(headers));
  }
  const other = await socketFrom('127.0.0.3');
  assert.ok(other instanceof WebSocket, 'another address is served');
  for (const socket of [other, ...sockets]) socket.terminate();
});
