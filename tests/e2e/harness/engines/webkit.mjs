import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { webkit } from '../../../../scripts/webkit.mjs';
import { until, within } from '../wait.mjs';
import { Browser, Tab } from './program.mjs';

export class WebKit extends Browser {
  #address = null;
  #session = null;
  /** Commands go to the one window that was chosen last: who chooses has his turn. */
  #turn = Promise.resolve();
  /** The window that it begins with, which stays: there must be one that a new one can be asked of. */
  #first = null;

  async start() {
    const { driver, capabilities, env } = await webkit();
    const port = await freePort();
    this.#address = `http://127.0.0.1:${port}`;
    const child = this.spawn(driver, [`--port=${port}`], env);
    child.stdout.resume();
    child.stderr.resume();
    await until('WebKit\'s driver answers', () => this.#request('GET', '/status').then(() => true, () => false), 60_000);
    const { sessionId } = await within('WebKit starts', this.#request('POST', '/session', { capabilities: { alwaysMatch: capabilities } }), 60_000);
    this.#session = `/session/${sessionId}`;
    await this.command('POST', '/timeouts', { script: 600_000, pageLoad: 60_000, implicit: 0 });
    this.#first = await this.command('GET', '/window');
  }

  async open(url) {
    const { handle } = await this.inWindow({ handle: this.#first }, () => this.command('POST', '/window/new', { type: 'window' }));
    const tab = new WebKitTab(this, handle);
    await tab.navigate(url);
    // The driver may take the end of the new window's own first load for the end of this one.
    const isThere = `${url === 'about:blank'} || location.href !== 'about:blank' && document.readyState === 'complete'`;
    await until(`${url} loads`, () => tab.evaluate(isThere).catch(() => false), 60_000);
    return tab;
  }

  /** A command of the session. */
  command(method, path, body) {
    return this.#request(method, `${this.#session}${path}`, body);
  }

  /** Does something while commands go to the window of a tab. */
  inWindow(tab, work) {
    const done = this.#turn.then(async () => {
      // It would not answer, and keep all others waiting.
      if (tab.isFrozen) throw new Error('the tab is frozen');
      await this.command('POST', '/window', { handle: tab.handle });
      return work();
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  async #request(method, path, body) {
    const response = await fetch(`${this.#address}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (value?.error) throw new Error(`${path.replace(this.#session, '')}: ${value.error}: ${value.message}`);
    return value;
  }

  /** Processes of pages, and the processor time in ns that each has taken. */
  contentProcesses() {
    const found = new Map();
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const [, name, rest] = /\((.*)\) (.*)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'));
        const group = Number(rest.split(' ')[2]);
        if (name === 'WebKitWebProces' && group === this.pid) found.set(Number(pid), Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]));
      } catch {
        // It has ended meanwhile.
      }
    }
    return found;
  }
}

class WebKitTab extends Tab {
  /** Its content process while that is stopped. */
  #stopped = null;
  #isMinimized = false;

  constructor(browser, handle) {
    super(browser);
    this.handle = handle;
  }

  get isFrozen() {
    return this.#stopped !== null;
  }

  #do(work) {
    return this.unlessGone(this.browser.inWindow(this, work));
  }

  #script(script) {
    return this.#do(() => this.browser.command('POST', '/execute/sync', { script, args: [] }));
  }

  /** Others have their turn while its promise is not settled: a command that waits for it would keep them waiting. */
  async run(expression) {
    const answers = 'globalThis[Symbol.for("answers")]';
    const start = `const answers = ${answers} ??= []; const place = answers.push(null) - 1; ${expression}.then((text) => { answers[place] = text; }); return place;`;
    const place = await this.#script(start);
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, 16)) {
      await this.unlessGone(delay(pauseMs));
      const take = `const answers = ${answers}; if (!answers) return ''; const text = answers[${place}]; if (text) answers[${place}] = ''; return text;`;
      if (this.isFrozen) continue;
      const text = await this.#script(take).catch((error) => {
        if (this.isFrozen) return null;
        throw error;
      });
      if (text === '') throw new Error('the page navigated before it answered');
      if (text !== null) return text;
    }
  }

  async navigate(url) {
    await this.#do(() => this.browser.command('POST', '/url', { url }));
  }

  async reload() {
    await this.#do(() => this.browser.command('POST', '/refresh', {}));
  }

  async back() {
    await this.#do(() => this.browser.command('POST', '/back', {}));
  }

  /** Without a window manager windows do not cover each other: the others are minimized. */
  async show() {
    // One that is frozen would not answer; it sees nothing either.
    for (const tab of this.browser.tabs) if (!tab.isFrozen) await tab.#minimize(tab !== this);
  }

  async #minimize(isMinimized) {
    if (this.#isMinimized === isMinimized) return;
    this.#isMinimized = isMinimized;
    await this.#do(() => this.browser.command('POST', `/window/${isMinimized ? 'minimize' : 'maximize'}`, {}));
  }

  async freeze() {
    const pid = await this.#process();
    // In its turn: nothing is being asked then.
    await this.#do(() => {
      process.kill(pid, 'SIGSTOP');
      this.#stopped = pid;
    });
  }

  async thaw() {
    process.kill(this.#stopped, 'SIGCONT');
    this.#stopped = null;
  }

  /** Its content process: the one that works while the page works. */
  async #process() {
    for (let ms = 50; ms <= 800; ms *= 2) {
      const before = this.browser.contentProcesses();
      await this.#script(`const end = performance.now() + ${ms}; while (performance.now() < end);`);
      const [first, second] = [...this.browser.contentProcesses()]
        .map(([pid, ns]) => ({ pid, ns: ns - (before.get(pid) ?? ns) }))
        .sort((one, other) => other.ns - one.ns);
      if (first.ns > 5 * (second?.ns ?? 0)) return first.pid;
    }
    throw new Error('which process a tab has is not known');
  }

  async crash() {
    if (this.isFrozen) await this.thaw();
    const pid = await this.#process();
    await this.#closeWindow('it crashed', () => process.kill(pid, 'SIGSTOP'));
    process.kill(pid, 'SIGKILL');
  }

  async close() {
    if (this.isFrozen) await this.thaw();
    await this.#closeWindow('it was closed');
  }

  async #closeWindow(why, first) {
    await this.browser.inWindow(this, () => {
      first?.();
      this.end(why);
      return this.browser.command('DELETE', '/window');
    });
  }
}

/** The driver does not say which port it took, if it is let choose. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
