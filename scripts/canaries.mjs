// npm run sim -- --canaries: breaks one rule of the machines at a time, as crates/sim/canaries.json says, and has the
// simulated world find it. Proves that the checker sees what it should.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { elapsed, Problem, root, run } from './shell.mjs';

/** Each gets so long to be found. */
const secondsMax = 60;

const folder = join(root, 'target', 'canaries');
const originalOf = (file) => join(root, 'crates', 'core', 'src', file);
const sourceOf = (file) => join(folder, 'crates', 'core', 'src', file);

export async function runCanaries(wanted = '1') {
  const all = JSON.parse(readFileSync(join(root, 'crates', 'sim', 'canaries.json'), 'utf8'));
  const first = Number(wanted);
  const canaries = all.filter(({ name }, index) => (first ? index + 1 >= first : name.includes(wanted)));
  if (canaries.length === 0) throw new Problem(`No canary is called ${JSON.stringify(wanted)}.`);
  const edits = canaries.flatMap(({ edits }) => edits);
  const misplaced = edits.filter(({ file, old }) => readFileSync(originalOf(file), 'utf8').split(old).length !== 2);
  if (misplaced.length > 0) {
    throw new Problem(misplaced.map(({ file, old }) => `${file} does not have exactly once: ${old}`).join('\n'));
  }
  copy();
  const clean = await attempt(20);
  if (!clean.built || clean.found) throw new Problem(`${clean.text}\nThe machines are not clean even unbroken.`);
  console.log(`unbroken: clean, ${clean.seeds} seeds`);
  const missed = [];
  for (const [index, canary] of canaries.entries()) {
    const start = performance.now();
    const before = canary.edits.map(({ file }) => [file, readFileSync(sourceOf(file))]);
    for (const { file, old, new: broken } of canary.edits) replace(file, old, broken);
    const { built, found, text } = await attempt(secondsMax);
    for (const [file, source] of before) writeFileSync(sourceOf(file), source);
    const verdict = !built ? `does not build:\n${text}` : found ?? 'NOT FOUND';
    if (!built || !found) missed.push(canary.name);
    console.log(`${String(index + 1).padStart(3)}/${canaries.length}  ${canary.name}: ${verdict}  (${elapsed(start)})`);
  }
  console.log(`${canaries.length - missed.length} of ${canaries.length} canaries found`);
  if (missed.length > 0) throw new Problem(`Not found:\n  ${missed.join('\n  ')}`);
}

/** A workspace of the core and the world alone, so that a build is quick and the real one is left alone. */
function copy() {
  mkdirSync(join(folder, 'crates'), { recursive: true });
  for (const crate of ['core', 'sim']) {
    const to = join(folder, 'crates', crate);
    rmSync(to, { recursive: true, force: true });
    cpSync(join(root, 'crates', crate), to, { recursive: true });
  }
  const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8');
  const workspace = manifest.slice(manifest.indexOf('[workspace]')).replace(/members = \[[^\]]*\]/, 'members = ["crates/core", "crates/sim"]');
  writeFileSync(join(folder, 'Cargo.toml'), workspace);
  cpSync(join(root, 'Cargo.lock'), join(folder, 'Cargo.lock'));
}

function replace(file, old, broken) {
  writeFileSync(sourceOf(file), readFileSync(sourceOf(file), 'utf8').replace(old, () => broken));
}

/** Builds the world over the machines as they are now, and runs it until something is found or the time is over. */
async function attempt(seconds) {
  // Quick to build again rather than fast.
  const profile = { OPT_LEVEL: '1', LTO: 'off', CODEGEN_UNITS: '16', INCREMENTAL: 'true' };
  const options = Object.entries(profile).map(([name, value]) => [`CARGO_PROFILE_RELEASE_${name}`, value]);
  const env = { CARGO_TARGET_DIR: join(folder, 'target'), RUSTFLAGS: '-A warnings', ...Object.fromEntries(options) };
  const program = ['--quiet', '--release', '-p', 'solconnect-sim'];
  const build = await run('cargo', ['build', ...program], { cwd: folder, env });
  if (!build.ok) return { built: false, text: build.text };
  const args = ['--seeds', '1000000', '--seconds', String(seconds), '--lines', '0'];
  const { text } = await run('cargo', ['run', ...program, '--', ...args], { cwd: folder, env, timeoutMs: (seconds + 60) * 1_000 });
  return { built: true, found: /^seed \d+, step .*/m.exec(text)?.[0], seeds: /^(\d+) seeds in/m.exec(text)?.[1], text };
}
