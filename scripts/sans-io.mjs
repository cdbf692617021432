// Checks that crates/core is kept from clocks, OS randomness, async and hash order, and that what keeps it is really in force.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { main, output, Problem, root, run } from './shell.mjs';

const core = join(root, 'crates', 'core');

/** Each line breaks one rule of crates/core/clippy.toml. */
const canary = {
  'std::time::Instant::now': 'pub fn a() { let _ = std::time::Instant::now(); }',
  'std::time::SystemTime::now': 'pub fn b() { let _ = std::time::SystemTime::now(); }',
  'std::thread::sleep': 'pub fn c() { std::thread::sleep(std::time::Duration::ZERO); }',
  'std::thread::spawn': 'pub fn d() { std::thread::spawn(|| ()); }',
  'std::collections::HashMap': 'pub fn e(_: &std::collections::HashMap<u8, u8>) {}',
  'std::collections::HashSet': 'pub fn f(_: &std::collections::HashSet<u8>) {}',
  'std::future::Future': 'pub fn g() -> Box<dyn std::future::Future<Output = ()>> { Box::new(std::future::ready(())) }',
};

const forbiddenText = [
  [/\basync\s+(fn|move|\{)/, 'the core never waits'],
  [/\.await\b/, 'the core never waits'],
  [/allow\([^)]*clippy::disallowed_/, 'the rules of clippy.toml have no exceptions'],
];

const forbiddenPackages = ['getrandom', 'rand', 'tokio', 'futures', 'futures-util', 'async-trait', 'wasm-bindgen', 'js-sys', 'web-sys', 'chrono'];

export async function checkSansIo() {
  const wrong = [...(await missingRules()), ...wrongText(), ...circles(), ...wrongPackages()];
  if (wrong.length > 0) throw new Problem(`crates/core is not sans-I/O:\n  ${wrong.join('\n  ')}`);
}

/** Clippy finds its configuration from the package's folder: run so, over the canary, it must object to every line. */
async function missingRules() {
  const folder = mkdtempSync(join(tmpdir(), 'solconnect-canary-'));
  try {
    const file = join(folder, 'canary.rs');
    writeFileSync(file, Object.values(canary).join('\n'));
    const args = ['--edition', '2024', '--crate-type', 'lib', '--emit', 'metadata', '--out-dir', folder, file];
    const lints = ['-W', 'clippy::disallowed_methods', '-W', 'clippy::disallowed_types'];
    const { text } = await run('clippy-driver', [...args, ...lints], { env: { CARGO_MANIFEST_DIR: core } });
    const lines = text.split('\n').filter((line) => line.includes('use of a disallowed')).join('\n');
    return Object.keys(canary).filter((path) => !lines.includes(`\`${path}\``)).map((path) => `clippy does not object to ${path}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function wrongText() {
  const files = readdirSync(join(core, 'src'), { recursive: true }).filter((file) => file.endsWith('.rs')).map((file) => join(core, 'src', file));
  return files.flatMap((file) => readFileSync(file, 'utf8').split('\n').flatMap((line, index) => {
    const code = line.replace(/\/\/.*/, '');
    return forbiddenText.filter(([pattern]) => pattern.test(code)).map(([, why]) => `${relative(root, file)}:${index + 1}: ${why}: ${line.trim()}`);
  }));
}

/** Top-level modules may not use each other in a circle: what is below can be read without what is above. */
function circles() {
  const source = join(core, 'src');
  const files = readdirSync(source, { recursive: true }).filter((file) => file.endsWith('.rs') && !/(^lib|tests)\.rs$/.test(file));
  const uses = new Map();
  for (const file of files) {
    const name = file.split(/[\\/.]/)[0];
    const code = readFileSync(join(source, file), 'utf8').split('#[cfg(test)]')[0].replace(/\/\/.*/g, '');
    const used = uses.get(name) ?? uses.set(name, new Set()).get(name);
    for (const [, other] of code.matchAll(/\bcrate::(\w+)/g)) if (other !== name) used.add(other);
  }
  const found = [];
  const reach = (path) => {
    for (const next of uses.get(path.at(-1)) ?? []) {
      if (next === path[0]) found.push(`modules use each other in a circle: ${[...path, next].join(' -> ')}`);
      else if (next > path[0] && !path.includes(next)) reach([...path, next]);
    }
  };
  for (const name of uses.keys()) reach([name]);
  return found;
}

function wrongPackages() {
  const tree = output('cargo', ['tree', '-p', 'solconnect-sync-core', '--edges', 'normal', '--prefix', 'none', '--format', '{p}']);
  if (tree === null) return ['cargo tree failed'];
  const names = new Set(tree.split('\n').map((line) => line.split(' ')[0]));
  return forbiddenPackages.filter((name) => names.has(name)).map((name) => `it depends on ${name}`);
}

main(import.meta.url, checkSansIo);
