// npm run sim -- --canaries: breaks one rule of the machines at a time, as crates/sim/canaries.json says, and has the
// simulated world find it, or the core's test that it names (`test`). With `sign_in`, devices of the world sign in so; with
// `encryption`, they encrypt so. Proves that the checker sees what it should. `--canaries --check` only looks whether the texts that
// they replace still stand in the core; `--canaries 12` begins at the 12th, `--canaries words` runs those so named.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { elapsed, Problem, root, run } from './shell.mjs';

/** Each gets so long to be found. */
const secondsMax = 60;

const folder = join(root, 'target', 'canaries');
const originalOf = (file) => join(root, 'crates', 'core', 'src', file);
const sourceOf = (file) => join(folder, 'crates', 'core', 'src', file);

const list = () => JSON.parse(readFileSync(join(root, 'crates', 'sim', 'canaries.json'), 'utf8'));

/**
 * `npm run sim -- --canaries --check`: says of every canary whose text no longer stands in the core exactly once what it
 * looked for and where something like it is now. Builds nothing.
 */
export function checkCanaries() {
  const canaries = list();
  const problems = canaries.flatMap(({ name, edits }, index) => edits.flatMap((edit) => misplaced(edit).map((what) => `${index + 1}. ${name}\n${what}`)));
  if (problems.length > 0) throw new Problem(`${problems.join('\n')}\n${problems.length} edits of ${canaries.length} canaries need another text in crates/sim/canaries.json.`);
  console.log(`${canaries.length} canaries: each has its place in the core`);
}

/** What is wrong with the place of an edit, if something is. */
function misplaced({ file, old }) {
  const count = existsSync(originalOf(file)) ? readFileSync(originalOf(file), 'utf8').split(old).length - 1 : 0;
  if (count === 1) return [];
  const what = `     ${count === 0 ? 'not' : `${count} times`} in crates/core/src/${file}: ${inOneLine(old)}`;
  return [[what, ...(count === 0 ? elsewhere(old) : [])].join('\n')];
}

/** The same text in another file, or else the lines that begin as it does. */
function elsewhere(old) {
  const sources = join(root, 'crates', 'core', 'src');
  const files = readdirSync(sources, { recursive: true }).filter((file) => file.endsWith('.rs'));
  const first = old.trim().split('\n')[0].slice(0, 24);
  const found = files.flatMap((file) => {
    const text = readFileSync(join(sources, file), 'utf8');
    if (text.includes(old)) return [`     the same text stands in ${file}`];
    return text.split('\n').flatMap((line, index) => (line.includes(first) ? [`     like it: ${file}:${index + 1}: ${line.trim()}`] : []));
  });
  return found.slice(0, 3);
}

function inOneLine(text) {
  return text.replaceAll('\n', '⏎').slice(0, 160);
}

export async function runCanaries(wanted = '1') {
  checkCanaries();
  const all = list();
  const first = Number(wanted);
  const canaries = all.filter(({ name }, index) => (first ? index + 1 >= first : name.includes(wanted)));
  if (canaries.length === 0) throw new Problem(`No canary is called ${JSON.stringify(wanted)}.`);
  copy();
  const clean = await attempt(20);
  if (!clean.built || clean.found) throw new Problem(`${clean.text}\nThe machines are not clean even unbroken.`);
  console.log(`unbroken: clean, ${clean.seeds} seeds`);
  const missed = [];
  for (const [index, canary] of canaries.entries()) {
    const start = performance.now();
    const before = canary.edits.map(({ file }) => [file, readFileSync(sourceOf(file))]);
    for (const { file, old, new: broken } of canary.edits) replace(file, old, broken);
    const { built, found, text } = canary.test ? await attemptTest(canary.test) : await attempt(secondsMax, canary);
    for (const [file, source] of before) writeFileSync(sourceOf(file), source);
    const verdict = !built ? `does not build:\n${text}` : found ?? 'NOT FOUND';
    if (!built || !found) missed.push(canary.name);
    console.log(`${String(index + 1).padStart(3)}/${canaries.length}  ${canary.name}: ${verdict}  (${elapsed(start)})`);
  }
  console.log(`${canaries.length - missed.length} of ${canaries.length} canaries found`);
  if (missed.length > 0) throw new Problem(`Not found:\n  ${missed.join('\n  ')}`);
}

/** A workspace of the core, what it needs and the world alone, so that a build is quick and the real one is left alone. */
function copy() {
  mkdirSync(join(folder, 'crates'), { recursive: true });
  for (const crate of ['core', 'sim', 'vault']) {
    const to = join(folder, 'crates', crate);
    rmSync(to, { recursive: true, force: true });
    cpSync(join(root, 'crates', crate), to, { recursive: true });
  }
  const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8');
  const workspace = manifest.slice(manifest.indexOf('[workspace]')).replace(/members = \[[^\]]*\]/, 'members = ["crates/core", "crates/sim", "crates/vault"]');
  writeFileSync(join(folder, 'Cargo.toml'), workspace);
  cpSync(join(root, 'Cargo.lock'), join(folder, 'Cargo.lock'));
}

function replace(file, old, broken) {
  writeFileSync(sourceOf(file), readFileSync(sourceOf(file), 'utf8').replace(old, () => broken));
}

/** Quick to build again rather than fast. */
const profile = { OPT_LEVEL: '1', LTO: 'off', CODEGEN_UNITS: '16', INCREMENTAL: 'true' };
const env = {
  CARGO_TARGET_DIR: join(folder, 'target'), RUSTFLAGS: '-A warnings', RUST_BACKTRACE: '0',
  ...Object.fromEntries(Object.entries(profile).map(([name, value]) => [`CARGO_PROFILE_RELEASE_${name}`, value])),
};

/** Has a test of the core find what is broken. */
async function attemptTest(name) {
  const test = ['test', '--quiet', '--release', '-p', 'solconnect-sync-core', '--test', 'all'];
  const build = await run('cargo', [...test, '--no-run'], { cwd: folder, env });
  if (!build.ok) return { built: false, text: build.text };
  const { ok, text } = await run('cargo', [...test, `${name}::`], { cwd: folder, env });
  if (/^running 0 tests$/m.test(text)) throw new Problem(`The core has no tests in a file ${name}.rs.`);
  return { built: true, found: ok ? undefined : /^---- (.*) stdout ----$/m.exec(text)?.[1] };
}

/** Builds the world over the machines as they are now, and runs it until something is found or the time is over. */
async function attempt(seconds, { sign_in: signIn = 'never', encryption = 'off' } = {}) {
  const program = ['--quiet', '--release', '-p', 'solconnect-sim'];
  const build = await run('cargo', ['build', ...program], { cwd: folder, env });
  if (!build.ok) return { built: false, text: build.text };
  const args = ['--seeds', '1000000', '--seconds', String(seconds), '--lines', '0', '--sign-in', signIn, '--encryption', encryption];
  const { text } = await run('cargo', ['run', ...program, '--', ...args], { cwd: folder, env, timeoutMs: (seconds + 60) * 1_000 });
  return { built: true, found: /^seed \d+, step .*/m.exec(text)?.[0], seeds: /^(\d+) seeds in/m.exec(text)?.[1], text };
}
