// npm run test:bundlers: the packed package in applications of every bundler and runtime, in dev servers and production builds,
// each driven in a real browser against the real relay. Ends with a table and the line "N passed, N failed".
import { projects } from '../tests/bundlers/projects.mjs';
import { buildRelay, buildSdk } from './build.mjs';
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { main, Problem } from './shell.mjs';

main(import.meta.url, async () => {
  const { only, everyday } = commandLine('npm run test:bundlers --', 'Builds an application with each bundler from the packed package and drives it in Chromium.', {
    only: { value: 'NAME', many: true, means: `an application; without it all: ${Object.keys(projects).join('; ')}` },
    everyday: { means: 'only those that are part of npm test' },
  });
  const names = only ?? Object.keys(projects).filter((name) => !everyday || projects[name].isEveryday);
  for (const name of names) {
    if (!projects[name]) throw new Problem(`There is no application ${name}. There are: ${Object.keys(projects).join('; ')}`);
  }
  await setup('npm', 'wasm', 'browser');
  await buildSdk();
  if (!process.env.SOLCONNECT_RELAY) await buildRelay();
  // What it imports may only now be installed.
  const { runAll } = await import('../tests/bundlers/run.mjs');
  const rows = await runAll(names);
  const failed = rows.filter(({ error }) => error);
  for (const { name, way, error } of failed) console.log(`\n${name}, ${way}:\n${error.message}`);
  console.log(`\n${'application'.padEnd(26)}${'way'.padEnd(12)}${'result'.padEnd(10)}${'wasm from'.padEnd(12)}time`);
  for (const { name, way, error, source, time } of rows) {
    console.log(`${name.padEnd(26)}${way.padEnd(12)}${(error ? 'FAILED' : 'ok').padEnd(10)}${(source ?? '').padEnd(12)}${time}`);
  }
  console.log(`\n${rows.length - failed.length} passed, ${failed.length} failed`);
  process.exit(failed.length === 0 && rows.length > 0 ? 0 : 1);
});
