// Why the relay cannot be reached, told to the application.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { startBrowser } from './harness/browser.mjs';
import { startRelay } from './harness/relay.mjs';
import { within } from './harness/wait.mjs';

let browser;
let relay;
before(async () => {
  relay = await startRelay({ www: null });
  // The relay serves every page of this machine's own names.
  browser = await startBrowser({ moreFlags: ['--host-resolver-rules=MAP app.example.org 127.0.0.1'] });
});
after(async () => {
  await browser?.stop();
  await relay?.stop();
});

/** A page of another origin than the relay's, with these headers. */
async function open(t, headers, host = '127.0.0.1') {
  const server = createServer(async (request, response) => {
    if (request.url === '/') return response.writeHead(200, { 'Content-Type': 'text/html', ...headers }).end('<!doctype html><title>another origin</title>');
    const file = join(root, 'pkg', basename(request.url));
    const content = await readFile(file).catch(() => null);
    const type = file.endsWith('.wasm') ? 'application/wasm' : 'text/javascript';
    return response.writeHead(content ? 200 : 404, { 'Content-Type': type }).end(content ?? 'none');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const page = await browser.context.newPage();
  t.after(() => page.close());
  await page.goto(`http://${host}:${server.address().port}/`);
  return page;
}

const syncing = (page) => within('the reason', page.evaluate(async (relayEndpoint) => {
  const { connect, unwrap } = await import('/index.js');
  const sdk = await connect({ relayEndpoint, databaseName: `reasons-${Math.random()}`, wallet: { publicKey: new Uint8Array(32).fill(5) } });
  const warned = new Promise((resolve) => sdk.on('warning', ({ error }) => resolve(error)));
  const { sessionId } = unwrap(await sdk.startSession({ peerWallet: '1'.repeat(32) }));
  unwrap(await sdk.sendMessage(sessionId, 'kept'));
  const { error } = await sdk.syncMessages(sessionId);
  const warning = await warned;
  return { code: error.code, warning: warning.code, message: warning.message, queued: unwrap(sdk.getSyncStatus()).queuedMessageCount };
}, relay.endpoint));

test('a refused origin is told as such, with what to do', { timeout: 60_000 }, async (t) => {
  const page = await open(t, {}, 'app.example.org');
  const { message, ...outcome } = await syncing(page);
  assert.deepEqual(outcome, { code: 'ORIGIN_REFUSED', warning: 'ORIGIN_REFUSED', queued: 1 });
  assert.match(message, /--allow-origin http:\/\/app\.example\.org:\d+/);
});

test("a page's own policy in the way is told as such", { timeout: 60_000 }, async (t) => {
  const page = await open(t, { 'Content-Security-Policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'" });
  const { message, ...outcome } = await syncing(page);
  assert.deepEqual(outcome, { code: 'CONNECTION_BLOCKED', warning: 'CONNECTION_BLOCKED', queued: 1 });
  assert.match(message, /connect-src/);
});

test('a policy without wasm-unsafe-eval is named where the SDK does not start', { timeout: 60_000 }, async (t) => {
  const page = await open(t, { 'Content-Security-Policy': "default-src 'self'" });
  const error = await within('the reason', page.evaluate(async () => {
    const { connect } = await import('/index.js');
    return connect().then(() => null, ({ code, message, userMessage, cause }) => ({ code, message, userMessage, hasCause: cause !== undefined }));
  }));
  assert.equal(error.code, 'SDK_INITIALIZATION_FAILED');
  assert.match(error.message, /wasm-unsafe-eval/);
  assert.ok(error.hasCause && error.userMessage);
});
