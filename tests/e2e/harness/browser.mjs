// A Chromium with a profile of its own, started by us so that it can be killed like a power cut would.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { findChromium } from '../../../scripts/tools.mjs';
import { within } from './wait.mjs';

const flags = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--mute-audio', '--password-store=basic',
  // Several devices share a screen that nobody looks at: none of them is in the background.
  '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
  '--remote-debugging-port=0',
  // What it says of its storage.
  '--enable-logging=stderr',
];

/** With an unpacked extension, where `extension` is its folder; `moreFlags` go to Chromium. */
export async function startBrowser({ extension, moreFlags = [] } = {}) {
  const browser = new Browser(extension, moreFlags);
  await browser.start();
  return browser;
}

class Browser {
  #profile = mkdtempSync(join(tmpdir(), 'solconnect-browser-'));
  #child = null;
  #connection = null;
  #flags;
  /** How often it found its IndexedDB damaged, and deleted it (B12). */
  deletedDatabases = 0;

  constructor(extension, moreFlags) {
    // Google Chrome has put the first switch behind a feature; Chromium has not.
    const loading = [`--load-extension=${extension}`, `--disable-extensions-except=${extension}`, '--disable-features=DisableLoadExtensionCommandLineSwitch'];
    this.#flags = [...flags, ...moreFlags, ...(extension ? loading : ['--disable-extensions']), `--user-data-dir=${this.#profile}`];
  }

  /** Starts it over the profile as it was left. */
  async start() {
    const path = findChromium();
    if (!path) throw new Error('no Chromium: run `npm run setup`, or set CHROMIUM');
    const child = spawn(path, [...this.#flags, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    this.#child = child;
    process.once('exit', this.#killGroup);
    let said = '';
    const address = new Promise((resolve, reject) => {
      child.stderr.on('data', (chunk) => {
        if (String(chunk).includes('recovering from a corrupted (and deleted) database')) this.deletedDatabases += 1;
        if (said.length > 100_000) return;
        said += chunk;
        const found = /DevTools listening on (ws:\S+)/.exec(said)?.[1];
        if (found) resolve(found);
      });
      child.on('error', reject);
      child.on('exit', (code) => reject(new Error(`Chromium ended with code ${code}:\n${said}`)));
    });
    this.#connection = await chromium.connectOverCDP(await within('Chromium starts', address, 30_000));
  }

  get context() {
    return this.#connection.contexts()[0];
  }

  /** The browser of another person: nothing is shared with it. Its pages are under the policy that they are served with. */
  newContext(options) {
    return this.#connection.newContext(options);
  }

  /** A new tab that may reach every address: which ones the demo page may reach is for the page's own tests. */
  async newPage() {
    const page = await this.context.newPage();
    const session = await this.context.newCDPSession(page);
    await session.send('Page.setBypassCSP', { enabled: true });
    return page;
  }

  /** SIGKILL of the whole browser. Start it again with `start`. */
  async kill() {
    const exit = once(this.#child, 'exit');
    this.#killGroup();
    await within('Chromium ends on SIGKILL', exit);
    process.removeListener('exit', this.#killGroup);
    await this.#connection.close().catch(() => {});
  }

  /** While it is not running: deletes every database of pages, as it does itself where it finds them damaged. */
  deleteDatabases() {
    rmSync(join(this.#profile, 'Default', 'IndexedDB'), { recursive: true, force: true });
    this.deletedDatabases += 1;
  }

  /** Kills it and removes its profile. */
  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill();
    // Its children may still be letting go of their files.
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }

  #killGroup = () => {
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  };
}
