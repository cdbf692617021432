// npm run fuzz: every decoder that meets the network or a disk, and both machines, fed what libFuzzer comes up with. `-- --seconds 60`
// or `--runs N` bound each target, `--only NAME` chooses, `--jobs N` runs so many targets side by side. A failure names the file of its
// input; the corpora stay for the next run.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setup } from './setup.mjs';
import { elapsed, main, Problem, progress, root, run, step } from './shell.mjs';

const folder = join(root, 'fuzz');
const corpora = join(folder, 'corpus');
// The features that coverage needs are switched on by name: what is fuzzed is built by the compiler that ships it.
const env = { RUSTC_BOOTSTRAP: '1' };
// No sanitizer: there is no unsafe code to watch, and the targets count allocations and time themselves.
const plain = ['--sanitizer', 'none'];
// Decoders get inputs as long as a frame may be, and those that run quickly more often: seldom does a slow one say more. Machines get
// scripts of some hundred steps, and the slow ones are those where something happens.
const inputFlags = (name) => (name.endsWith('_machine') ? ['-max_len=1024'] : ['-max_len=65536', '-entropic_scale_per_exec_time=1']);
// Of any input, by the wall clock, in seconds: only ends what hangs. The targets fail above 100 ms of processor time.
const hangSeconds = 20;

function options() {
  const text = { type: 'string' };
  const { values } = parseArgs({ options: { seconds: text, runs: text, jobs: text, only: { type: 'string', multiple: true } } });
  const number = (name) => {
    const value = values[name] === undefined ? null : Number(values[name]);
    if (value !== null && (!Number.isInteger(value) || value < 1)) throw new Problem(`--${name} must be a whole number from 1, not ${values[name]}`);
    return value;
  };
  const bounds = { seconds: number('seconds'), runs: number('runs') };
  if (bounds.seconds === null && bounds.runs === null) bounds.seconds = 60;
  return { ...bounds, jobs: number('jobs') ?? 1, only: values.only };
}

function targets(only) {
  const manifest = readFileSync(join(folder, 'Cargo.toml'), 'utf8');
  const all = [...manifest.matchAll(/^\[\[bin\]\]\nname = "([^"]+)"$/gm)].map((match) => match[1]);
  for (const name of only ?? []) if (!all.includes(name)) throw new Problem(`There is no target ${name}. There are: ${all.join(', ')}`);
  return only ?? all;
}

/** What went wrong and which input it was, without the stacks of libFuzzer and cargo-fuzz. */
function failure(text) {
  const lines = text.split('\n').filter((line) => !/^\s+(#?\d+:? |at )|^Stack backtrace/.test(line));
  const from = lines.findIndex((line) => /panicked at|libFuzzer: (timeout|out-of-memory)|^error/.test(line));
  return lines.slice(Math.max(from, 0)).map((line) => line.slice(0, 2_000)).join('\n').trim();
}

/** Tells now and then how far `running` is, a map of targets to executions, until the function that it returns is called. */
function tell(running, runs) {
  const live = process.stderr.isTTY;
  const most = runs === null ? '' : ` of ${runs}`;
  const show = () => progress([...running].map(([name, executions]) => `${name} ${executions}${most}`).join(', '));
  const timer = setInterval(show, live ? 500 : 30_000);
  return () => clearInterval(timer);
}

/** Runs one target; what libFuzzer says of it. `running` has its executions meanwhile, as of the last time that it said so. */
async function fuzz(name, { seconds, runs }, running) {
  const dictionary = join(folder, 'json.dict');
  const flags = [
    ...inputFlags(name), `-timeout=${hangSeconds}`, '-print_final_stats=1', '-reload=0', `-dict=${dictionary}`,
    ...(seconds === null ? [] : [`-max_total_time=${seconds}`]), ...(runs === null ? [] : [`-runs=${runs}`]),
  ];
  const start = performance.now();
  running.set(name, 0);
  const onText = (chunk) => running.set(name, Number([...chunk.matchAll(/^#(\d+)\t/gm)].at(-1)?.[1] ?? running.get(name)));
  const { ok, text } = await run('cargo', ['fuzz', 'run', ...plain, name, '--', ...flags], { cwd: folder, env, onText });
  running.delete(name);
  const stat = (key) => Number(new RegExp(`^stat::${key}:\\s+(\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  const executions = stat('number_of_executed_units');
  const rate = Math.round(executions / Math.max(1e-3, (performance.now() - start) / 1000));
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  if (!ok) console.log(`\n${failure(text)}\n`);
  console.log(`${ok ? 'ok    ' : 'FAILED'}  ${name.padEnd(18)}${elapsed(start).padStart(12)}${String(executions).padStart(14)} executions${String(rate).padStart(10)} /s`);
  return { name, ok, executions };
}

main(import.meta.url, async () => {
  const wanted = options();
  const names = targets(wanted.only);
  await setup('fuzz');
  await step('seeds', 'cargo', ['run', '--example', 'seeds', '--', corpora], { cwd: folder });
  await step('build', 'cargo', ['fuzz', 'build', ...plain], { cwd: folder, env });
  const [queue, results, running] = [[...names], [], new Map()];
  const stopTelling = tell(running, wanted.runs);
  await Promise.all(Array.from({ length: wanted.jobs }, async () => {
    while (queue.length > 0) results.push(await fuzz(queue.shift(), wanted, running));
  }));
  stopTelling();
  console.log(JSON.stringify({ executions: Object.fromEntries(results.map(({ name, executions }) => [name, executions])), failed: results.filter(({ ok }) => !ok).map(({ name }) => name) }));
  process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;
});
