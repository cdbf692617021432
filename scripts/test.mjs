// npm test: runs everything, or what `--only` names, and ends with the line "N passed, N failed".
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { buildSdk, relayBinary, targetFolder } from './build.mjs';
import { denyRuns } from './deny.mjs';
import { checkNumbers } from './numbers.mjs';
import { commandLine } from './options.mjs';
import { packedForTests, packRelay } from './pack-relay.mjs';
import { buildReference } from './reference.mjs';
import { checkSansIo } from './sans-io.mjs';
import { setup } from './setup.mjs';
import { buildSim, simBinary } from './sim.mjs';
import { checkBudget } from './size.mjs';
import { elapsed, main, Problem, root, run, step } from './shell.mjs';
import { relayTarget } from './tools.mjs';
import { webkit } from './webkit.mjs';

const minutes = 60_000;
const denyWarnings = ['--', '-D', 'warnings'];
// Private items are documented too, so links to them are no dead ends.
const docFlags = { RUSTDOCFLAGS: '-D warnings -A rustdoc::private_intra_doc_links' };

/**
 * Runs of one program each; a suite passes when all of its runs do. `counts` finds the number of cases in what a runner prints.
 * `build` makes what they need. `compiles`: they are cargo's, and so run among the builds. `lanes`: so many runs at a time, where they
 * mostly wait for their browsers.
 */
const suites = {
  core: cargoTests(['core']),
  lint: {
    needs: ['wasm', 'lint'],
    compiles: true,
    runs: () => [
      check('fmt', 'cargo', ['fmt', '--all', '--check']),
      check('fmt of the fuzz targets', 'cargo', ['fmt', '--manifest-path', 'fuzz/Cargo.toml', '--check']),
      check('the fuzz targets compile', 'cargo', ['check', '--quiet', '--locked', '--manifest-path', 'fuzz/Cargo.toml', '--all-targets'], withoutLibFuzzer),
      check('clippy', 'cargo', ['clippy', '--quiet', '--workspace', '--exclude', 'solconnect-sync', '--all-targets', ...denyWarnings]),
      check('clippy wasm', 'cargo', ['clippy', '--quiet', '-p', 'solconnect-sync', '--all-targets', '--target', 'wasm32-unknown-unknown', ...denyWarnings]),
      check('docs', 'cargo', ['doc', '--quiet', '--workspace', '--exclude', 'solconnect-sync', '--no-deps', '--document-private-items'], docFlags),
      check('docs wasm', 'cargo', ['doc', '--quiet', '-p', 'solconnect-sync', '--no-deps', '--document-private-items', '--target', 'wasm32-unknown-unknown'], docFlags),
      { title: 'the core is sans-I/O', work: checkSansIo },
      { title: 'numbers that are cited', work: checkNumbers },
      ...denyRuns(),
    ],
  },
  vault: cargoTests(['vault', 'model']),
  sim: {
    needs: [],
    build: [buildSim],
    runs: () => [check('2,000 seeds', simBinary(), ['--seeds', '2000']), check('40 encrypted seeds', simBinary(), ['--seeds', '40', '--encryption', 'required'])],
  },
  world: cargoTests(['sim']),
  scripts: { needs: [], runs: () => nodeTests('scripts') },
  relay: cargoTests(['relay']),
  size: { needs: ['npm', 'wasm'], build: [buildSdk], runs: () => [{ title: 'what a page loads', work: checkBudget }] },
  surface: { needs: ['npm', 'wasm'], build: [buildSdk], lanes: 2, runs: () => nodeTests('surface') },
  types: { needs: ['npm', 'wasm'], build: [buildSdk], runs: () => nodeTests('types') },
  bundlers: {
    needs: ['npm', 'wasm', 'browser', 'staticRelay'],
    build: [buildSdk, packRelayForTests],
    runs: () => [{ title: 'bundlers', env: packedRelay(), command: process.execPath, args: [join('scripts', 'bundlers.mjs'), '--everyday'], counts: plainCounts }],
  },
  examples: {
    needs: ['npm', 'wasm', 'browser', 'staticRelay'],
    build: [buildSdk, packRelayForTests],
    // The one that needs no tools is part of everyday.
    runs: ({ isEveryday }) => nodeTests('examples', packedRelay()).filter(({ title }) => !isEveryday || title === 'examples/plain'),
  },
  e2e: { needs: ['npm', 'wasm', 'browser', 'engines', 'staticRelay'], build: [buildSdk, packRelayForTests], lanes: 2, runs: () => nodeTests('e2e', packedRelay()) },
  deploy: {
    needs: ['npm', 'wasm', 'browser', 'staticRelay', 'proxy', 'reference'],
    build: [buildSdk, packRelayForTests],
    runs: () => [{ title: 'the API reference', work: buildReference }, ...nodeTests('deploy')],
  },
  browser: { needs: ['wasm', 'browserTests', 'browser', 'engines'], build: [buildBrowserTests], lanes: 2, runs: async () => [inBrowser('chrome'), inBrowser('firefox'), await inWebKit()] },
};

/** libFuzzer is C++, and nothing is linked where code is only checked: a library of this name is never looked for. */
const withoutLibFuzzer = { CUSTOM_LIBFUZZER_PATH: '/nowhere/libfuzzer.a' };

function check(title, command, args, env) {
  return { title, command, args, env, counts: () => null };
}

/** The tests of these crates: cargo builds their programs, which run while it builds what comes next. They have no examples in their documentation. */
function cargoTests(names) {
  const packages = names.map((name) => (['relay', 'sim'].includes(name) ? `solconnect-${name}` : `solconnect-sync-${name}`));
  let programs = [];
  const build = async () => {
    const args = ['test', '--no-run', '--message-format=json-render-diagnostics', ...packages.flatMap((name) => ['-p', name])];
    const text = await step(`building the tests of ${names.join(' and ')}`, 'cargo', args).catch((error) => {
      throw new Problem(error.message.split('\n').filter((line) => !line.startsWith('{')).join('\n'));
    });
    const told = text.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
    programs = told.filter(({ reason, executable, profile }) => reason === 'compiler-artifact' && executable && profile.test);
  };
  const runs = () => programs.map(({ executable, manifest_path: manifest, target }) => {
    const place = dirname(manifest);
    return { title: `${basename(place)}/${target.name}`, command: executable, args: [], cwd: place, counts: cargoCounts };
  });
  return { needs: [], build: [build], runs };
}

/** All tests have the relay of the package: it is built once. Its profile is the one that takes less time. */
function packRelayForTests() {
  return packRelay(packedForTests(), relayTarget(), 'release');
}

const packedRelay = () => ({ SOLCONNECT_RELAY: relayBinary('release', relayTarget()) });

function buildBrowserTests() {
  return step('building the tests for browsers', 'cargo', ['build', '--tests', '--target', 'wasm32-unknown-unknown']);
}

// A busy machine takes longer than the 20 seconds (and 5, for a driver to start) that are usual.
const patience = { WASM_BINDGEN_TEST_TIMEOUT: '180', WASM_BINDGEN_TEST_DRIVER_TIMEOUT: '60' };

function inBrowser(browser) {
  const args = ['test', '--headless', `--${browser}`, '--mode', 'no-install'];
  return { title: `the SDK in ${browser}`, command: 'wasm-pack', args, env: patience, counts: cargoCounts };
}

/** wasm-pack knows no WebKitGTK; what it runs takes its driver for Safari's. */
async function inWebKit() {
  const { driver, capabilities, env } = await webkit();
  const wanted = join(targetFolder(), 'webdriver-webkit.json');
  mkdirSync(targetFolder(), { recursive: true });
  writeFileSync(wanted, JSON.stringify(capabilities));
  return {
    title: 'the SDK in webkit',
    command: 'cargo',
    args: ['test', '--target', 'wasm32-unknown-unknown'],
    env: { ...env, ...patience, SAFARIDRIVER: driver, WASM_BINDGEN_TEST_WEBDRIVER_JSON: wanted },
    counts: cargoCounts,
  };
}

/** One run a file, so that a crash of one is no silence of others. */
function nodeTests(folder, env) {
  const files = readdirSync(join(root, 'tests', folder)).filter((file) => file.endsWith('.test.mjs')).sort();
  return files.map((file) => ({
    title: `${folder}/${file.replace('.test.mjs', '')}`,
    env,
    command: process.execPath,
    args: ['--test', '--test-reporter=spec', join('tests', folder, file)],
    counts: nodeCounts,
  }));
}

function cargoCounts(text) {
  return sum(text, /test result: \w+\. (\d+) passed; (\d+) failed/g);
}

function nodeCounts(text) {
  const count = (word) => Number(new RegExp(`^\\S+ ${word} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  return { passed: count('pass'), failed: count('fail') + count('cancelled') };
}

function plainCounts(text) {
  return sum(text, /^(\d+) passed, (\d+) failed$/gm);
}

function sum(text, pattern) {
  const rows = [...text.matchAll(pattern)];
  return { passed: rows.reduce((total, row) => total + Number(row[1]), 0), failed: rows.reduce((total, row) => total + Number(row[2]), 0) };
}

/** Runs one; gives its counts. What fails without saying so in its counts is one failure, and what is skipped says why. */
async function runOne({ title, command, args, env, cwd, counts, work, skipped }) {
  if (skipped) {
    console.log(`SKIPPED ${title}: ${skipped}`);
    return { passed: 0, failed: 0 };
  }
  const start = performance.now();
  const { ok, text } = work
    ? await work().then(() => ({ ok: true, text: '' }), (error) => ({ ok: false, text: String(error.message) }))
    : await run(command, args, { env, cwd, timeoutMs: 10 * minutes });
  const found = counts?.(text) ?? { passed: ok ? 1 : 0, failed: 0 };
  if (!ok && found.failed === 0) found.failed = 1;
  const count = counts && found.passed + found.failed > 1 ? `  ${found.passed} passed, ${found.failed} failed` : '';
  if (!ok) console.log(`\n${text.trim()}\n`);
  console.log(`${ok ? 'ok    ' : 'FAILED'}  ${title.padEnd(24)}${elapsed(start).padStart(12)}${count}`);
  return found;
}

main(import.meta.url, async () => {
  const { only } = commandLine('npm test --', 'Installs what is missing and runs the tests. Ends with the line "N passed, N failed".', {
    only: { value: 'SUITE', many: true, means: `a suite to run; without it all: ${Object.keys(suites).join(', ')}` },
  });
  const names = only ?? Object.keys(suites);
  for (const name of names) {
    if (!suites[name]) throw new Problem(`There is no suite ${name}. There are: ${Object.keys(suites).join(', ')}`);
  }
  const start = performance.now();
  await setup(...names.flatMap((name) => suites[name].needs));
  const total = { passed: 0, failed: 0 };
  const take = async (one) => {
    const { passed, failed } = await runOne(one);
    total.passed += passed;
    total.failed += failed;
  };
  const built = buildAhead(names, !only, take);
  for (const [place, name] of names.entries()) {
    const waiting = await built[place];
    const lane = async () => {
      for (let one; (one = waiting.shift()); ) await take(one);
    };
    await Promise.all(Array.from({ length: suites[name].lanes ?? 1 }, lane));
  }
  console.log(`\nin ${elapsed(start)}\n${total.passed} passed, ${total.failed} failed`);
  process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
});

/** Builds what the suites need, in their order and one after the other, as cargo does; what is built runs meanwhile. */
function buildAhead(names, isEveryday, take) {
  let before = Promise.resolve();
  return names.map((name) => {
    before = before.then(async () => {
      const runs = await prepare(suites[name], isEveryday);
      if (!suites[name].compiles) return runs;
      for (const one of runs) await take(one);
      return [];
    });
    return before;
  });
}

/** The runs of a suite, `isEveryday` where it was not asked for by name; what cannot be built is one run that fails. */
async function prepare(suite, isEveryday) {
  try {
    for (const build of suite.build ?? []) await build();
    return await suite.runs({ isEveryday });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [{ title: 'build', work: () => Promise.reject(error) }];
  }
}
