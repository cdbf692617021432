// The real relay as a child process that can be killed and comes back on the same port with the same journal.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { relayBinary } from '../../../scripts/build.mjs';
import { root } from '../../../scripts/shell.mjs';
import { within } from './wait.mjs';

/** `npm test` has one that is built for the package, and no other. */
export const binary = process.env.SOLCONNECT_RELAY ?? relayBinary();

/**
 * Starts a relay that also serves the page of the devices under test, or none (`www: null`); `options` are more of its own.
 * Devices sign in to it with `auth: 'wallet'`; most of those under test do not, and neither can seed clients.
 */
export async function startRelay({ www = join(root, 'tests', 'e2e', 'page'), program = binary, auth = 'open', options = [] } = {}) {
  const relay = new Relay(www, program, ['--auth', auth, ...options]);
  await relay.start();
  return relay;
}

class Relay {
  #folder = mkdtempSync(join(tmpdir(), 'solconnect-relay-'));
  #child = null;
  #www;
  #program;
  #options;
  port = 0;
  log = '';

  constructor(www, program, options) {
    this.#www = www;
    this.#program = program;
    this.#options = options;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  get endpoint() {
    return `ws://127.0.0.1:${this.port}/`;
  }

  get pid() {
    return this.#child.pid;
  }

  get journal() {
    return join(this.#folder, 'journal.db');
  }

  /** Starts it, on the port it had before. Resolves when it accepts connections. */
  async start() {
    const pages = this.#www ? ['--www', this.#www, '--pkg', join(root, 'pkg')] : [];
    const child = spawn(this.#program, ['--listen', `127.0.0.1:${this.port}`, '--journal', this.journal, ...pages, ...this.#options], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    child.stderr.on('data', (chunk) => {
      this.log += chunk;
    });
    const listening = new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const port = /^listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1];
        if (port) resolve(Number(port));
      });
      child.on('error', reject);
      child.on('exit', (code) => reject(new Error(`the relay ended with code ${code}:\n${this.log}`)));
    });
    this.port = await within('the relay listens', listening);
  }

  /** SIGKILL: nothing of it gets a chance to tidy up. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** Ends it in order; its journal stays. */
  async pause() {
    await this.#end('SIGTERM');
  }

  /** Ends it and removes its journal; gives its exit code. */
  async stop() {
    const code = await this.#end('SIGTERM');
    rmSync(this.#folder, { recursive: true, force: true });
    return code;
  }

  async #end(signal) {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode;
    const exit = once(child, 'exit');
    child.kill(signal);
    try {
      return (await within(`the relay ends on ${signal}`, exit))[0];
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }
}
