// A contender's server, in a process of its own so that it shares no thread with anything else that is measured.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { within } from './wait.mjs';

/** Starts it; its `call(method, ...args)` calls what the module's `start` gave. */
export async function startServer({ name, folder: source, options }, deadlineMs) {
  const folder = mkdtempSync(join(tmpdir(), `solconnect-bench-${name}-`));
  const child = fork(join(import.meta.dirname, 'host.mjs'), [source], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  const removeFolder = () => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  process.once('exit', removeFolder);
  const calls = new Map();
  let lastCall = 0;
  let said = '';
  child.stderr.on('data', (chunk) => {
    said = (said + chunk).slice(-4_000);
  });
  child.on('message', ({ id, result, error }) => {
    const call = calls.get(id);
    calls.delete(id);
    if (error) call.reject(new Error(error));
    else call.resolve(result);
  });
  child.on('exit', (code) => {
    for (const { reject } of calls.values()) reject(new Error(`the server of ${name} ended with code ${code}: ${said}`));
    calls.clear();
  });
  const call = (method, ...args) => {
    lastCall += 1;
    const id = lastCall;
    const answer = new Promise((resolve, reject) => {
      if (child.exitCode !== null) reject(new Error(`the server of ${name} ended with code ${child.exitCode}: ${said}`));
      calls.set(id, { resolve, reject });
      child.send({ id, method, args });
    });
    return within(`${name}'s server: ${method}`, answer, deadlineMs);
  };
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      await call('stop').catch(() => {});
      // It ends by itself when its parent is gone, and takes what it started with it.
      child.disconnect();
      await within(`${name}'s server ends`, exit, 10_000).catch(() => child.kill('SIGKILL'));
    }
    process.removeListener('exit', removeFolder);
    removeFolder();
  };
  try {
    return { ...(await call('start', folder, options)), call, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
