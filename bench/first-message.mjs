// npm run bench:first: how long somebody new waits for the first message, in the example app with React as its production build.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commandLine } from '../scripts/options.mjs';
import { main, output, progress } from '../scripts/shell.mjs';
import { load, machine, prepare, timeAt } from './pages.mjs';

const about = `Measures the time from navigation to the first message that the relay has, in the example app with React, as its production
build, from the packed package: each try in a new profile, which has no wallet, no database and nothing in its cache.`;

const somebody = 'So11111111111111111111111111111111111111112';
const aimMs = 2_000;

main(import.meta.url, async () => {
  const { tries } = commandLine('npm run bench:first --', about, { tries: { value: 'N', from: 1, default: 50, means: 'how often' } });
  await prepare();
  // What these import may only now be installed.
  const { Example } = await import('../tests/examples/apps.mjs');
  const { pack } = await import('../tests/bundlers/project.mjs');
  const { startBrowser } = await import('../tests/e2e/harness/browser.mjs');
  const { startRelay } = await import('../tests/e2e/harness/relay.mjs');
  const folder = mkdtempSync(join(tmpdir(), 'solconnect-packed-'));
  const relay = await startRelay({ auth: 'open', www: null });
  const browser = await startBrowser();
  try {
    const times = [];
    const app = new Example('react', pack(folder), async (url) => {
      for (let count = 0; count < tries; count += 1) {
        times.push(await once(browser, `${url}?relay=${encodeURIComponent(relay.endpoint)}`));
        progress(`${count + 1} of ${tries}`, count + 1 === tries);
      }
    });
    await app.install();
    const start = machine();
    await new Map(app.ways(browser, relay)).get('build')();
    report(times, start, browser.context.browser().version(), app.settings.packages);
  } finally {
    await browser.stop();
    await relay.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

async function once(browser, url) {
  const context = await browser.context.browser().newContext();
  try {
    const page = await context.newPage();
    await page.addInitScript(writeFirst, somebody);
    await page.goto(url, { waitUntil: 'commit' });
    const told = await page.waitForFunction(() => globalThis.sentAfterMs, undefined, { timeout: 60_000, polling: 50 });
    return await told.jsonValue();
  } finally {
    await context.close();
  }
}

/** In the page: starts a conversation and writes as soon as there are the fields for it. */
function writeFirst(somebody) {
  const waiting = [['Wallet address', somebody], ['Message', 'Hello!']];
  const { set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value');
  new MutationObserver(() => {
    const field = waiting.length > 0 && document.querySelector(`[aria-label="${waiting[0][0]}"]`);
    if (field) {
      const [, text] = waiting.shift();
      set.call(field, text);
      field.dispatchEvent(new Event('input', { bubbles: true }));
      setTimeout(() => field.form.requestSubmit());
    }
    // Since the navigation began.
    if (document.querySelector('[aria-label=Messages] small')?.textContent === 'sent') globalThis.sentAfterMs ??= performance.now();
  }).observe(document, { subtree: true, childList: true, characterData: true });
}

function report(times, start, chromium, packages) {
  const at = (share) => `${Math.round(timeAt(times, share))} ms`;
  const versions = ['react', 'vite'].map((name) => `${name} ${packages[name]}`).join(', ');
  console.log(`from navigation to the first message that the relay has, ${times.length} tries, each in a new profile`);
  console.log(`median ${at(0.5)}, p90 ${at(0.9)}, most ${at(1)}   aim: a median of less than ${aimMs} ms`);
  console.log(`commit ${output('git', ['rev-parse', '--short', 'HEAD']) ?? 'unknown'}, ${versions}, Chromium ${chromium}, Node.js ${process.version}`);
  console.log(`${start} before and ${load()} after`);
}
