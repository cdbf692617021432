// npm test: runs everything, or what `--only` names, and ends with the line "N passed, N failed".
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildRelay, buildSdk, targetFolder } from './build.mjs';
import { denyRuns } from './deny.mjs';
import { checkNumbers } from './numbers.mjs';
import { commandLine } from './options.mjs';
import { packRelay } from './pack-relay.mjs';
import { buildReference } from './reference.mjs';
import { checkSansIo } from './sans-io.mjs';
import { setup } from './setup.mjs';
import { buildSim, runSim } from './sim.mjs';
import { checkBudget } from './size.mjs';
import { elapsed, main, Problem, root, run } from './shell.mjs';
import { webkit } from './webkit.mjs';

const minutes = 60_000;
const denyWarnings = ['--', '-D', 'warnings'];
// Private items are documented too, so links to them are no dead ends.
const docFlags = { RUSTDOCFLAGS: '-D warnings -A rustdoc::private_intra_doc_links' };

/**
 * Runs of one program each; a suite passes when all of its runs do. `counts` finds the number of cases in what a runner prints.
 * `lanes`: so many runs at a time, where they mostly wait for their browsers.
 */
const suites = {
  lint: {
    needs: ['wasm', 'lint'],
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
  core: { needs: [], runs: () => [cargoTest('core', ['-p', 'solconnect-sync-core'])] },
  vault: { needs: [], runs: () => [cargoTest('vault', ['-p', 'solconnect-sync-vault']), cargoTest('its model', ['-p', 'solconnect-sync-model'])] },
  sim: { needs: [], build: [buildSim], runs: () => [check('2,000 seeds', 'cargo', [...runSim, '--seeds', '2000']), check('40 encrypted seeds', 'cargo', [...runSim, '--seeds', '40', '--encryption', 'required']), cargoTest('the world itself', ['-p', 'solconnect-sim'])] },
  scripts: { needs: [], runs: () => nodeTests('scripts') },
  relay: { needs: [], runs: () => [cargoTest('relay', ['-p', 'solconnect-relay'])] },
  size: { needs: ['npm', 'wasm'], build: [buildSdk], runs: () => [{ title: 'what a page loads', work: checkBudget }] },
  surface: { needs: ['npm', 'wasm'], build: [buildSdk], lanes: 2, runs: () => nodeTests('surface') },
  types: { needs: ['npm', 'wasm'], build: [buildSdk], runs: () => nodeTests('types') },
  bundlers: {
    needs: ['npm', 'wasm', 'browser'],
    build: [buildSdk, buildRelay],
    runs: () => [{ title: 'bundlers', command: process.execPath, args: [join('scripts', 'bundlers.mjs'), '--everyday'], counts: plainCounts }],
  },
  examples: {
    needs: ['npm', 'wasm', 'browser'],
    build: [buildSdk, buildRelay],
    // The one that needs no tools is part of everyday.
    runs: ({ isEveryday }) => nodeTests('examples').filter(({ title }) => !isEveryday || title === 'examples/plain'),
  },
  e2e: { needs: ['npm', 'wasm', 'browser', 'engines'], build: [buildSdk, buildRelay], lanes: 2, runs: () => nodeTests('e2e') },
  deploy: {
    needs: ['npm', 'wasm', 'browser', 'staticRelay', 'proxy', 'reference'],
    build: [buildSdk, () => packRelay()],
    runs: () => [{ title: 'the API reference', work: buildReference }, ...nodeTests('deploy')],
  },
  browser: { needs: ['wasm', 'browserTests', 'browser', 'engines'], lanes: 2, runs: async () => [inBrowser('chrome'), inBrowser('firefox'), await inWebKit()] },
};

/** libFuzzer is C++, and nothing is linked where code is only checked: a library of this name is never looked for. */
const withoutLibFuzzer = { CUSTOM_LIBFUZZER_PATH: '/nowhere/libfuzzer.a' };

function check(title, command, args, env) {
  return { title, command, args, env, counts: () => null };
}

function cargoTest(title, args) {
  return { title, command: 'cargo', args: ['test', ...args], counts: cargoCounts };
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
function nodeTests(folder) {
  const files = readdirSync(join(root, 'tests', folder)).filter((file) => file.endsWith('.test.mjs')).sort();
  return files.map((file) => ({
    title: `${folder}/${file.replace('.test.mjs', '')}`,
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
async function runOne({ title, command, args, env, counts, work, skipped }) {
  if (skipped) {
    console.log(`SKIPPED ${title}: ${skipped}`);
    return { passed: 0, failed: 0 };
  }
  const start = performance.now();
  const { ok, text } = work
    ? await work().then(() => ({ ok: true, text: '' }), (error) => ({ ok: false, text: String(error.message) }))
    : await run(command, args, { env, timeoutMs: 10 * minutes });
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
  for (const name of names) {
    const waiting = await prepare(suites[name], !only);
    const lane = async () => {
      for (let one; (one = waiting.shift()); ) {
        const { passed, failed } = await runOne(one);
        total.passed += passed;
        total.failed += failed;
      }
    };
    await Promise.all(Array.from({ length: suites[name].lanes ?? 1 }, lane));
  }
  console.log(`\nin ${elapsed(start)}\n${total.passed} passed, ${total.failed} failed`);
  process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
});

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
