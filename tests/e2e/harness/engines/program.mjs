// What browsers of all engines have in common.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { within } from '../wait.mjs';

/** Those whose programs run: they end with this process. */
const running = new Set();
process.once('exit', () => running.forEach((browser) => browser.killGroup()));

/** A browser with all its processes, and a profile that outlives them. */
export class Browser {
  profile = mkdtempSync(join(tmpdir(), 'solconnect-engine-'));
  tabs = new Set();
  #child = null;

  get pid() {
    return this.#child.pid;
  }

  /** Starts the program in a group of its own: its children die with it. */
  spawn(path, args, env = {}) {
    const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: { ...process.env, ...env } });
    this.#child = child;
    running.add(this);
    return child;
  }

  /** Starts the program; gives what `pattern` finds in what it prints. */
  async run(path, args, pattern, env) {
    const child = this.spawn(path, args, env);
    let said = '';
    const found = new Promise((resolve, reject) => {
      child.stdout.resume();
      child.stderr.on('data', (chunk) => {
        if (said.length > 100_000) return;
        said += chunk;
        const match = pattern.exec(said);
        if (match) resolve(match[1]);
      });
      child.on('error', reject);
      child.on('exit', (code) => reject(new Error(`${path} ended with code ${code}:\n${said}`)));
    });
    return within(`${path} starts`, found, 60_000);
  }

  /** SIGKILL of the whole browser. Start it again with `start`. */
  async kill() {
    for (const tab of this.tabs) tab.end('its browser was killed');
    const hasEnded = this.#child.exitCode !== null || this.#child.signalCode !== null;
    const exit = hasEnded ? null : once(this.#child, 'exit');
    this.killGroup();
    await within('the browser ends on SIGKILL', exit);
    running.delete(this);
    this.#child = null;
  }

  suspend() {
    process.kill(-this.pid, 'SIGSTOP');
  }

  resume() {
    process.kill(-this.pid, 'SIGCONT');
  }

  /** Kills it and removes its profile. */
  async stop() {
    if (this.#child) await this.kill();
    // Its children may still be letting go of their files.
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }

  killGroup() {
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

/** A tab. Its kinds have `run`, which gives what the promise of an expression comes to, and what the driver's interface names. */
export class Tab {
  isGone = false;
  #fail;
  #gone = new Promise((resolve, reject) => {
    this.#fail = reject;
  });

  constructor(browser) {
    this.browser = browser;
    browser.tabs.add(this);
    // Nobody need be waiting for it.
    this.#gone.catch(() => {});
  }

  async evaluate(what, ...args) {
    const answer = JSON.parse(await this.unlessGone(this.run(expressionOf(what, args))));
    if (!answer.error) return answer.value;
    const { name, message, code, stack } = answer.error;
    throw Object.assign(new Error(message), { name, code, pageStack: stack });
  }

  /** The promise, or an error as soon as the tab is gone. */
  unlessGone(promise) {
    return Promise.race([promise, this.#gone]);
  }

  /** From now on nothing can be asked. */
  end(why) {
    this.isGone = true;
    this.browser.tabs.delete(this);
    this.#fail(new Error(`the tab is gone: ${why}`));
  }
}

/** An expression whose value is a promise of text, so that every engine answers alike. */
function expressionOf(what, args) {
  const value = typeof what === 'function' ? `(${what})(...${JSON.stringify(args)})` : what;
  return `(async () => {
    try {
      return JSON.stringify({ value: await (${value}) });
    } catch (error) {
      const { name, message, code, stack } = error instanceof Object ? error : new Error(String(error));
      return JSON.stringify({ error: { name, message, code, stack } });
    }
  })()`;
}
