// Runs the relay in the foreground: signals reach it, and its exit code is ours.
import { spawn } from 'node:child_process';
import { relayBinary } from './build.mjs';

/** Starts it with these arguments; `stdout` as for `spawn`. */
export function runRelay(args, stdout = 'inherit') {
  const relay = spawn(relayBinary(), args, { stdio: ['ignore', stdout, 'inherit'] });
  // Ctrl-C reaches both by itself where they belong to a terminal; a signal to this process alone does not.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => relay.kill(signal));
  relay.on('error', (error) => {
    console.error(`The relay did not start: ${error.message}`);
    process.exitCode = 1;
  });
  relay.on('exit', (code) => {
    process.exitCode = code ?? 1;
  });
  return relay;
}
