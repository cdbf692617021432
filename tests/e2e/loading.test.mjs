// How the package's root loads its wasm where a server or the page's own rules are in the way.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { serve } from '../bundlers/serve.mjs';
import { startBrowser } from './harness/browser.mjs';

const wasm = '/pkg/solconnect_sync_bg.wasm';
const copy = '/pkg/inlined.js';
const html = { type: 'text/html', body: '<!doctype html><title>Every address is this page</title>' };
const missing = { status: 404, type: 'text/plain', body: 'not found' };

let browser;

before(async () => {
  browser = await startBrowser();
});

after(() => browser.stop());

/** Loads the package in a page of its own; its version, or the error's code and message. `answers` are by path. */
async function load({ answers = {}, options, policy = "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'" }) {
  const headers = { 'content-security-policy': policy };
  const page = { type: 'text/html', headers, body: `<!doctype html><link rel="icon" href="data:,"><script type="module">
    import init, { version } from '/pkg/index.js';
    globalThis.told = await init(${JSON.stringify(options) ?? ''}).then(version, ({ code, message }) => ({ code, message }));
  </script>` };
  const server = await serve(root, (path) => (path === '/index.html' ? page : answers[path]));
  const tab = await browser.context.newPage();
  try {
    await tab.goto(server.url);
    return await (await tab.waitForFunction(() => globalThis.told)).jsonValue();
  } finally {
    await tab.close();
    server.close();
  }
}

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

for (const [what, answer] of [['HTML', html], ['404', missing], ['a truncated wasm', { type: 'application/wasm', body: '\0asm' }]]) {
  test(`${what} in place of the wasm: the copy is loaded`, async () => {
    assert.equal(await load({ answers: { [wasm]: answer } }), version);
  });
}

test('without file and copy both reasons are told', async () => {
  const { code, message } = await load({ answers: { [wasm]: html, [copy]: missing } });
  assert.equal(code, 'SDK_INITIALIZATION_FAILED');
  assert.match(message, /solconnect_sync_bg\.wasm answered with HTML in place of wasm.*nor from the JavaScript.*inlined\.js/);
});

test('an address that answers with HTML is named', async () => {
  const { code, message } = await load({ answers: { '/my.wasm': html }, options: { wasmUrl: '/my.wasm' } });
  assert.equal(code, 'SDK_INITIALIZATION_FAILED');
  assert.match(message, /\/my\.wasm answered with HTML in place of wasm/);
});

test('an address that answers with 404 is named', async () => {
  const { code, message } = await load({ options: { wasmUrl: '/my.wasm' } });
  assert.equal(code, 'SDK_INITIALIZATION_FAILED');
  assert.match(message, /\/my\.wasm answered with status 404/);
});

test('a policy without wasm-unsafe-eval is named', async () => {
  const { code, message } = await load({ policy: "default-src 'self'; script-src 'self' 'unsafe-inline'" });
  assert.equal(code, 'SDK_INITIALIZATION_FAILED');
  assert.match(message, /Content-Security-Policy forbids WebAssembly: its script-src needs 'wasm-unsafe-eval'/);
});

test('a policy that forbids the request is named', async () => {
  const policy = "connect-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'";
  assert.equal(await load({ policy }), version, 'the copy needs no request');
  const { code, message } = await load({ policy, options: { wasmUrl: '/pkg/solconnect_sync_bg.wasm' } });
  assert.equal(code, 'SDK_INITIALIZATION_FAILED');
  assert.match(message, /could not be fetched.*Content-Security-Policy forbids it \(connect-src\)/);
});

test('a wasm of another content type is loaded', async () => {
  const body = readFileSync(join(root, 'pkg', 'solconnect_sync_bg.wasm'));
  assert.equal(await load({ answers: { [wasm]: { type: 'application/octet-stream', body }, [copy]: missing } }), version);
});
