// Running other programs, and telling a person what goes on. Everything said here goes to stderr: stdout belongs to results.
import { spawn, spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { homedir } from 'node:os';

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/[\\/]$/, '');
export const toolsRoot = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'solconnect-sync', 'tools');

// Our own tools come first: they have the versions that the project wants.
process.env.PATH = [join(toolsRoot, 'bin'), join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter);

/** Trouble that a person can do something about: told without a stack. */
export class Problem extends Error {}

/** Runs `work` if this module is the program, and turns what it throws into a message and exit code 1. */
export function main(moduleUrl, work) {
  if (!process.argv[1] || realpathSync(process.argv[1]) !== fileURLToPath(moduleUrl)) return;
  work().catch((error) => {
    const plain = error instanceof Problem || error.code?.startsWith('ERR_PARSE_ARGS');
    console.error(plain ? `\n${error.message}` : error);
    process.exit(1);
  });
}

export function say(text) {
  process.stderr.write(`${text}\n`);
}

export function elapsed(startMs) {
  const seconds = (performance.now() - startMs) / 1000;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** What a quick program prints, or null where it is missing or fails. */
export function output(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20, ...options });
  return result.status === 0 ? result.stdout.trim() : null;
}

/**
 * Runs a program to its end and resolves to {ok, text}: all it printed. Its own children end with it when `timeoutMs` is over.
 * `onText` sees the output as it comes.
 */
export function run(command, args, { cwd = root, env = {}, timeoutMs, onText } = {}) {
  return new Promise((resolve) => {
    // A group of its own where there is a time limit, so that a hung test takes its browser with it.
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: Boolean(timeoutMs) });
    let text = '';
    const take = (chunk) => {
      text += chunk;
      onText?.(String(chunk));
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    const endGroup = () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    };
    const onSignal = () => {
      endGroup();
      process.exit(130);
    };
    const timer = timeoutMs && setTimeout(() => {
      take(`\nstopped: not finished after ${timeoutMs / 1000} s\n`);
      endGroup();
    }, timeoutMs);
    if (timeoutMs) for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, onSignal);
    const finish = (ok) => {
      clearTimeout(timer);
      for (const signal of ['SIGINT', 'SIGTERM']) process.removeListener(signal, onSignal);
      resolve({ ok, text });
    };
    child.on('error', (error) => {
      take(`${error.message}\n`);
      finish(false);
    });
    child.on('close', (code) => finish(code === 0));
  });
}

/** What takes no longer is not told: cargo looks for a moment whether anything is to be built. */
export const QUIET_MS = 3_000;

let toldAt = 0;

/** One line that says how far it is: written over on a terminal, and elsewhere told every ten seconds. */
export function progress(text, isLast) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K  ${text}${isLast ? '\n' : ''}`);
  else if (isLast || performance.now() - toldAt > 10_000) {
    say(`  ${text}`);
    toldAt = performance.now();
  }
}

/** Runs a program with one line that tells how long it takes and what it is at; shows its output only if it fails. */
export async function step(title, command, args, options = {}) {
  const start = performance.now();
  const live = process.stderr.isTTY;
  let last = '';
  const show = () => {
    const line = `  ${title} … ${elapsed(start)}  ${last}`;
    process.stderr.write(live ? `\r\x1b[K${line.slice(0, (process.stderr.columns || 80) - 1)}` : `${line}\n`);
  };
  const timer = setInterval(() => performance.now() - start > QUIET_MS && show(), live ? 500 : 30_000);
  const { ok, text } = await run(command, args, {
    ...options,
    onText: (chunk) => {
      // Cargo's messages are for programs.
      last = chunk.trim().split('\n').filter((line) => !line.startsWith('{')).pop()?.trim() || last;
    },
  });
  clearInterval(timer);
  if (live) process.stderr.write('\r\x1b[K');
  if (!ok) throw new Problem(`${text}\n${title} failed: ${command} ${args.join(' ')}`);
  if (performance.now() - start > QUIET_MS) say(`  ${title}: ${elapsed(start)}`);
  return text;
}
