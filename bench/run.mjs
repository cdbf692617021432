// npm run bench: this SDK and its relay beside others that store and sync messages, measured in turns on this machine.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildRelay, buildSdk } from '../scripts/build.mjs';
import { setup } from '../scripts/setup.mjs';
import { elapsed, main, Problem, say, step } from '../scripts/shell.mjs';

const here = import.meta.dirname;

function options(contenderNames, rowIds) {
  const { values } = parseArgs({
    options: {
      corpus: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string' },
      rows: { type: 'string' },
      deadline: { type: 'string', default: '120' },
      profile: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    say(`npm run bench -- [options]
  --corpus FILE     real messages: one JSON object with a "text" on each line
  --rounds N        each figure is the median of that many rounds [3]
  --only NAME,…     these contenders: ${contenderNames.join(', ')}
  --rows ROW,…      these rows: ${rowIds.join(', ')}
  --deadline S      seconds that one step may take [120]
  --profile FOLDER  writes a CPU profile of each step there; figures of such a run are not for comparing`);
    process.exit(0);
  }
  const positive = (name) => {
    const number = Number(values[name]);
    if (!(number >= 1)) throw new Problem(`--${name} must be a number from 1 on.`);
    return number;
  };
  const listed = (name, known) => {
    const wanted = values[name]?.split(',') ?? known;
    const unknown = wanted.find((each) => !known.includes(each));
    if (unknown !== undefined) throw new Problem(`--${name}: there is no ${unknown}; there are ${known.join(', ')}.`);
    return known.filter((each) => wanted.includes(each));
  };
  return {
    corpus: values.corpus,
    rounds: Math.floor(positive('rounds')),
    deadlineMs: positive('deadline') * 1_000,
    contenders: listed('only', contenderNames),
    rowIds: listed('rows', rowIds),
    profiles: values.profile,
  };
}

// What was started ends with this program, also by Ctrl-C: browsers and servers listen for its exit.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

main(import.meta.url, async () => {
  await setup('npm', 'wasm', 'browser');
  if (!existsSync(join(here, 'node_modules'))) await step('npm ci (bench)', 'npm', ['ci'], { cwd: here });
  // These need what npm ci has just installed.
  const { contenders } = await import('./contenders.mjs');
  const { rows } = await import('./rows.mjs');
  const { measure } = await import('./measure.mjs');
  const { markdown } = await import('./report.mjs');
  const wanted = options(contenders.map(({ name }) => name), rows.map(({ id }) => id));
  await buildSdk();
  await buildRelay();
  if (wanted.profiles) mkdirSync(wanted.profiles, { recursive: true });
  const start = performance.now();
  const report = await measure({
    ...wanted,
    contenders: contenders.filter(({ name }) => wanted.contenders.includes(name)),
    rows: rows.filter(({ id }) => wanted.rowIds.includes(id)),
  });
  const table = markdown(report);
  const results = join(here, 'results');
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, 'latest.json'), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(join(results, 'latest.md'), table);
  console.log(table);
  say(`Measured in ${elapsed(start)}. Written to bench/results/latest.md and latest.json.`);
});
