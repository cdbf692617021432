// Every npm script says what it does and which options it has, before it installs or builds anything.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const scripts = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts;
// Those that begin with another command in the table, and micro-benchmarks, whose options are those of Criterion.
const others = (name) => name === 'prepack' || name === 'lint' || name.startsWith('test:') || name === 'bench:native';

/** What each must name beside its own command. */
const options = {
  start: ['--port', '--journal'],
  test: ['--only', 'core', 'scripts'],
  build: [],
  setup: [],
  relay: ['--listen', '--journal', '--allow-origin'],
  demo: [],
  replay: ['--corpus', 'without it one is made up', '--messages', '--devices', '--seed', '--kills', '--auth', '--encryption', '--changes'],
  sim: ['--seeds', '--seed', '--canaries', '--check'],
  model: ['--traces'],
  size: ['274 KiB'],
  soak: ['--relay-kills', '--browser-kills', '--seed'],
  fuzz: ['--seconds', '--runs', '--jobs', '--only', 'client_machine'],
  bench: ['--corpus', '--against', '--only', '--rows', 'catch-up'],
  'bench:long': ['--messages'],
  'bench:encryption': ['--corpus', '--messages', '--live', '--rounds'],
  'bench:first': ['--tries'],
  'bench:growth': ['--quick'],
  'bench:tabs': ['--tries'],
  'bench:wake': ['--tries', '--asleep', '--hidden'],
  'pack:relay': ['--target', '--out'],
  docs: ['docs/api'],
};

/** Runs a script with these arguments where there is neither cargo nor npm, nor anything that they have installed. */
function runBare(name, ...args) {
  const [, file] = /^node (\S+)$/.exec(scripts[name]);
  const empty = mkdtempSync(join(tmpdir(), 'solconnect-help-'));
  try {
    const env = { PATH: empty, HOME: empty, XDG_CACHE_HOME: empty };
    return spawnSync(process.execPath, [join(root, file), ...args], { cwd: empty, env, encoding: 'utf8' });
  } finally {
    rmSync(empty, { recursive: true });
  }
}

test('the table has every script', () => {
  assert.deepEqual(Object.keys(scripts).filter((name) => !others(name)).sort(), Object.keys(options).sort());
});

for (const [name, words] of Object.entries(options)) {
  const command = ['start', 'test'].includes(name) ? `npm ${name}` : `npm run ${name}`;

  test(`${command} -- --help answers at once`, () => {
    for (const flag of ['--help', '-h']) {
      const { status, stdout, stderr } = runBare(name, flag);
      assert.deepEqual([status, stderr], [0, '']);
      for (const word of [command, ...words]) assert.ok(stdout.includes(word), `${word} in:\n${stdout}`);
    }
  });

  // These two hand their options to a Rust program, which refuses them.
  if (name === 'relay' || name === 'sim') continue;
  test(`${command} refuses an unknown option and names its help`, () => {
    const { status, stderr } = runBare(name, '--nonsense');
    assert.equal(status, 1);
    assert.match(stderr, /--nonsense/);
    assert.ok(stderr.includes(`${command} -- --help`), stderr);
  });
}

test('a number out of its range is refused with the range', () => {
  for (const [name, option, value, range] of [
    ['replay', '--devices', '1', 'from 2 to 16'],
    ['replay', '--messages', 'many', 'from 1 to 1000000'],
    ['start', '--port', '65536', 'from 0 to 65535'],
    ['soak', '--relay-kills', '', 'from 0'],
    ['fuzz', '--seconds', '0.5', 'from 1'],
    ['bench:long', '--messages', '999', 'from 1000'],
  ]) {
    const { status, stderr } = runBare(name, option, value);
    assert.equal(status, 1);
    assert.ok(stderr.includes(`${option} must be a whole number ${range}`), stderr);
  }
});
