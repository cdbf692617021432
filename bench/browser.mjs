// Chromium with a new profile, driven by the few DevTools commands that the measurements need. No automation library: those
// have every WebSocket frame of every page sent to themselves, which would be measured too.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { Problem } from '../scripts/shell.mjs';
import { findChromium } from '../scripts/tools.mjs';
import { within } from './wait.mjs';

const flags = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--disable-extensions', '--mute-audio', '--password-store=basic',
  // Two devices share a screen that nobody looks at: neither of them is in the background.
  '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
  '--remote-debugging-port=0',
];

export async function startBrowser() {
  const browser = new Browser();
  await browser.start();
  return browser;
}

class Browser {
  #profile = mkdtempSync(join(tmpdir(), 'solconnect-bench-browser-'));
  #child = null;
  #socket = null;
  #calls = new Map();
  #lastCall = 0;

  async start() {
    const path = findChromium();
    if (!path) throw new Problem('There is no Chromium: run `npm run setup`, or set CHROMIUM.');
    this.#child = spawn(path, [...flags, `--user-data-dir=${this.#profile}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    process.once('exit', this.#onExit);
    let said = '';
    const address = new Promise((resolve, reject) => {
      this.#child.stderr.on('data', (chunk) => {
        if (said.length < 100_000) said += chunk;
        const found = /DevTools listening on (ws:\S+)/.exec(said)?.[1];
        if (found) resolve(found);
      });
      this.#child.on('error', reject);
      this.#child.on('exit', (code) => reject(new Error(`Chromium ended with code ${code}:\n${said}`)));
    });
    this.#socket = new WebSocket(await within('Chromium starts', address), { perMessageDeflate: false, maxPayload: 1 << 30 });
    this.#socket.on('message', (data) => this.#hear(JSON.parse(String(data))));
    this.#socket.on('close', () => this.#end());
    this.#socket.on('error', () => {});
    await within('Chromium answers', once(this.#socket, 'open'));
  }

  /** Sends a DevTools command, to the browser or to a page. */
  command(method, params = {}, sessionId = undefined) {
    this.#lastCall += 1;
    const id = this.#lastCall;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, method });
      this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    });
  }

  /** A new tab. `script` runs in each of its documents before theirs. */
  async newPage(script) {
    const { targetId } = await this.command('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.command('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, targetId, sessionId);
    await page.command('Page.enable');
    await page.command('Page.addScriptToEvaluateOnNewDocument', { source: script });
    return page;
  }

  async version() {
    return (await this.command('Browser.getVersion')).product;
  }

  /** Kills it and removes its profile. */
  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, 'exit');
      this.#killGroup();
      await within('Chromium ends on SIGKILL', exit);
    }
    process.removeListener('exit', this.#onExit);
    this.#removeProfile();
  }

  #hear({ id, result, error }) {
    const call = this.#calls.get(id);
    if (!call) return;
    this.#calls.delete(id);
    if (error) call.reject(new Error(`${call.method}: ${error.message}`));
    else call.resolve(result);
  }

  #end() {
    for (const { reject, method } of this.#calls.values()) reject(new Error(`${method}: the browser has ended`));
    this.#calls.clear();
  }

  #onExit = () => {
    this.#killGroup();
    this.#removeProfile();
  };

  #removeProfile() {
    // Its children may still be letting go of their files.
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }

  #killGroup() {
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

class Page {
  #browser;
  #targetId;
  #sessionId;

  constructor(browser, targetId, sessionId) {
    this.#browser = browser;
    this.#targetId = targetId;
    this.#sessionId = sessionId;
  }

  command(method, params) {
    return this.#browser.command(method, params, this.#sessionId);
  }

  /** Resolves when the new document has begun; its scripts may not have run yet. */
  async navigate(url) {
    const { errorText } = await this.command('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
  }

  /** Calls a function of the page's `bench`, by its name; what it resolves to, or its error. */
  async call(name, ...args) {
    const list = args.map((arg) => JSON.stringify(arg ?? null)).join(', ');
    const { result, exceptionDetails } = await this.command('Runtime.evaluate', {
      expression: `benchReady.then((bench) => bench.${name}(${list}))`,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(`${name}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  /** The JavaScript heap after a collection, with array buffers and strings that it refers to, in bytes. */
  async heapBytes() {
    // What the first collection finalizes only the second frees.
    for (let times = 0; times < 2; times += 1) await this.command('HeapProfiler.collectGarbage');
    const { usedSize, backingStorageSize } = await this.command('Runtime.getHeapUsage');
    return usedSize + backingStorageSize;
  }

  async close() {
    await this.#browser.command('Target.closeTarget', { targetId: this.#targetId });
  }
}
