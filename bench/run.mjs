// npm run bench: this SDK and its relay beside others that store and sync messages, measured in turns on this machine.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildRelay, buildSdk, relayBinary } from '../scripts/build.mjs';
import { commandLine } from '../scripts/options.mjs';
import { setup } from '../scripts/setup.mjs';
import { elapsed, main, output, Problem, root, say, step } from '../scripts/shell.mjs';
import { contenders } from './contenders.mjs';
import { rowIds, rowsOf } from './rows.mjs';

const here = import.meta.dirname;

/** The values of the command line, checked. */
function options() {
  const contenderNames = contenders.map(({ name }) => name);
  const about = `Measures this SDK and its relay beside others that store and sync messages, in turns, on this machine. Writes bench/results/latest.md
and latest.json. Close other programs first.`;
  const values = commandLine('npm run bench --', about, {
    corpus: { value: 'FILE', means: 'real messages: one JSON object with a "text" on each line; without it texts are made up' },
    rounds: { value: 'N', from: 1, default: 3, means: 'each figure is the median of that many rounds' },
    against: { value: 'FOLDER', means: 'another checkout of this repository, built and measured in turns with this one' },
    only: { value: 'NAME,…', means: `these contenders; without it all: ${contenderNames.join(', ')}` },
    rows: { value: 'ROW,…', means: `these rows; without it all: ${rowIds.join(', ')}` },
    deadline: { value: 'SECONDS', from: 1, default: 120, means: 'how long one step may take' },
    profile: { value: 'FOLDER', means: 'writes a CPU profile of each step there; figures of such a run are not for comparing' },
  });
  const listed = (name, known) => {
    const wanted = values[name]?.split(',') ?? known;
    const unknown = wanted.find((each) => !known.includes(each));
    if (unknown !== undefined) throw new Problem(`--${name}: there is no ${unknown}; there are ${known.join(', ')}.`);
    return known.filter((each) => wanted.includes(each));
  };
  const against = values.against === undefined ? null : resolve(values.against);
  if (against && !existsSync(join(against, 'bench', 'contenders', 'solconnect'))) throw new Problem(`--against: ${against} is no checkout of this repository.`);
  return {
    against,
    corpus: values.corpus,
    rounds: values.rounds,
    deadlineMs: values.deadline * 1_000,
    contenders: listed('only', contenderNames),
    rowIds: listed('rows', rowIds),
    profiles: values.profile,
  };
}

/** A checkout's commit, with `-dirty` where something in it was changed since. */
const commitOf = (folder) => output('git', ['describe', '--always', '--dirty', '--exclude=*'], { cwd: folder });

/**
 * The SDK and the relay of another checkout, as one more contender: built by its own scripts and driven by its own adapter, which
 * knows its API. To be called after the own build, because its tools come first on the PATH from then on.
 */
async function otherCheckout(folder) {
  const script = (...path) => import(pathToFileURL(join(folder, ...path)));
  await (await script('scripts', 'setup.mjs')).setup('npm', 'wasm');
  const build = await script('scripts', 'build.mjs');
  if (build.relayBinary() === relayBinary()) throw new Problem('--against: both checkouts build into one target folder; unset CARGO_TARGET_DIR.');
  await build.buildSdk();
  await build.buildRelay('dist');
  const { contenders } = await script('bench', 'contenders.mjs');
  const theirs = contenders.find(({ name }) => name === 'solconnect');
  return {
    ...theirs,
    name: 'before',
    title: 'ours before',
    folder: join(folder, 'bench', 'contenders', 'solconnect'),
    options: theirs.options,
    note: `SolConnect Sync of another checkout, at commit ${commitOf(folder)}.`,
  };
}

// What was started ends with this program, also by Ctrl-C: browsers and servers listen for its exit.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

main(import.meta.url, async () => {
  const wanted = options();
  await setup('npm', 'wasm', 'browser');
  if (!existsSync(join(here, 'node_modules'))) await step('npm ci (bench)', 'npm', ['ci'], { cwd: here });
  // These need what npm ci has just installed.
  const { measure } = await import('./measure.mjs');
  const { markdown } = await import('./report.mjs');
  await buildSdk();
  await buildRelay('dist');
  const compared = contenders.filter(({ name }) => wanted.contenders.includes(name));
  if (wanted.against) compared.push(await otherCheckout(wanted.against));
  const rows = rowsOf(Boolean(wanted.corpus)).filter(({ id }) => wanted.rowIds.includes(id));
  if (wanted.profiles) mkdirSync(wanted.profiles, { recursive: true });
  const start = performance.now();
  const report = await measure({ ...wanted, contenders: compared, rows, commit: commitOf(root) });
  const table = markdown(report, rows);
  const results = join(here, 'results');
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, 'latest.json'), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(join(results, 'latest.md'), table);
  console.log(table);
  say(`Measured in ${elapsed(start)}. Written to bench/results/latest.md and latest.json.`);
});
