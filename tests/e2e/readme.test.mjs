// The README's Quickstart as it is printed, in a page and against a relay that only devices which sign in may use.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { serve } from '../bundlers/serve.mjs';
import { codeBlocks, replaced } from '../deploy/harness/document.mjs';
import { scene } from './harness/scene.mjs';
import { until } from './harness/wait.mjs';

const stage = scene({ auth: 'wallet' });

test('the Quickstart sends encrypted messages to oneself', { timeout: 60_000 }, async (t) => {
  const { relay, browser } = stage;
  assert.match(readFileSync(join(root, 'README.md'), 'utf8'), /^npm run relay -- --auth wallet$/m, 'it starts such a relay');
  const [connects, sends] = codeBlocks('README.md', 'ts', 5);
  // The page's relay and package are at another address.
  const script = [
    replaced(replaced(connects, "'solconnect-sync'", "'/pkg/index.js'"), 'ws://localhost:8080', relay.endpoint),
    "const render = (items) => { globalThis.shown = items.map(({ text, status }) => `${status}: ${text}`).join(', '); };",
    sends,
    'globalThis.encryption = async () => unwrap(await sdk.getEncryption(sessionId)).encryption;',
  ].join('\n');
  // An application's own server: the relay has none of its pages.
  const server = await serve(root, (path) => ({
    '/index.html': { type: 'text/html', body: '<!doctype html><script type="module" src="reader.js"></script>' },
    '/reader.js': { type: 'text/javascript', body: script },
  })[path]);
  t.after(() => server.close());
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  await page.goto(server.url);
  await until('both are sent', async () => /^(sent|delivered|read): Hello!, (sent|delivered|read): Pay 5$/.test(await page.evaluate(() => globalThis.shown)), 20_000);
  assert.equal(await page.evaluate(() => globalThis.encryption()), 'required');
  assert.deepEqual(faults, []);
});
