// npm run fuzz: every decoder that meets the network or a disk, and both machines, fed what libFuzzer comes up with.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLine } from './options.mjs';
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

const about = `Feeds every decoder that meets the network or a disk, and both machines, what libFuzzer comes up with. A failure names the file of
its input; the corpora stay for the next run.`;

const options = {
  seconds: { value: 'N', from: 1, means: 'how long each target runs; without it and without --runs 60' },
  runs: { value: 'N', from: 1, means: 'how many executions each target gets at the most' },
  jobs: { value: 'N', from: 1, default: 1, means: 'how many targets run side by side' },
  only: { value: 'TARGET', many: true, means: `a target to run; without it all: ${allTargets().join(', ')}` },
};

function allTargets() {
  const manifest = readFileSync(join(folder, 'Cargo.toml'), 'utf8');
  return [...manifest.matchAll(/^\[\[bin\]\]\nname = "([^"]+)"$/gm)].map((match) => match[1]);
}

function targets(only) {
  const all = allTargets();
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
  const most = runs === undefined ? '' : ` of ${runs}`;
  const show = () => progress([...running].map(([name, executions]) => `${name} ${executions}${most}`).join(', '));
  const timer = setInterval(show, live ? 500 : 30_000);
  return () => clearInterval(timer);
}

/** Runs one target; what libFuzzer says of it. `running` has its executions meanwhile, as of the last time that it said so. */
async function fuzz(name, { runs, seconds = runs ? undefined : 60 }, running) {
  const dictionary = join(folder, 'json.dict');
  const flags = [
    ...inputFlags(name), `-timeout=${hangSeconds}`, '-print_final_stats=1', '-reload=0', `-dict=${dictionary}`,
    ...(seconds === undefined ? [] : [`-max_total_time=${seconds}`]), ...(runs === undefined ? [] : [`-runs=${runs}`]),
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
  const wanted = commandLine('npm run fuzz --', about, options);
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
