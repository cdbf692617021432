// Installs what is missing, and only that; says what it installs and why. With nothing missing it takes well under a second.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLine } from './options.mjs';
import { main, output, Problem, root, say, step, toolsRoot } from './shell.mjs';
import { find, findChromium, findFirefox, findMiniBrowser, findNginx, hasVersion, relayTarget } from './tools.mjs';

const wasmPackVersion = '0.15.1';
const geckodriverVersion = '0.37.1';
const cargoDenyVersion = '0.20.2';
const twiggyVersion = '0.8.0';
const cargoFuzzVersion = '0.13.2';

/** What can be asked for. Each is a function that makes it so. */
const parts = {
  rust,
  wasm,
  npm: () => npm(),
  // In a folder of their own: TypeDoc reads types with a TypeScript that is written in JavaScript, and the build's is not.
  reference: () => npm(join(root, 'docs', 'reference'), 'to make the API reference'),
  lint: async () => {
    for (const [command, component] of [['cargo-fmt', 'rustfmt'], ['cargo-clippy', 'clippy']]) {
      if (!output(command, ['--version'])) await rustup(['component', 'add', component], `${component}, to check the code`);
    }
    if (process.env.CI) await cargoTool('cargo-deny', cargoDenyVersion, 'to check licences and sources of all dependencies');
  },
  size: () => cargoTool('twiggy', twiggyVersion, 'to see what the wasm is made of'),
  fuzz: () => cargoTool('cargo-fuzz', cargoFuzzVersion, 'to feed the decoders what nobody would think of'),
  browser: async () => {
    if (!findChromium()) await debian('chromium', 'the browser that the devices run in (or set CHROMIUM to one that you have)');
  },
  engines: async () => {
    if (!findFirefox()) await debian('firefox-esr', 'the second browser that everything is tested in');
    if (!find('WebKitWebDriver') || !findMiniBrowser()) await debian('webkit2gtk-driver', 'the third browser that everything is tested in, with its driver');
    if (!find('Xvfb')) await debian('xvfb', 'a screen that nobody sees, for the third browser');
  },
  staticRelay: async () => {
    const target = relayTarget();
    await rustTarget(target, 'Rust\'s standard library for the packed relay');
    if (target.endsWith('-musl') && !find('musl-gcc')) await debian('musl-tools', 'a C compiler for a program that runs on every Linux');
  },
  proxy: async () => {
    if (!findNginx()) await debian('nginx-light', 'the proxy that docs/deploy.md configures');
    if (!find('openssl')) await debian('openssl', 'to make the certificate of a test');
  },
  browserTests: async () => {
    await cargoTool('wasm-pack', wasmPackVersion, 'to run the SDK\'s own tests inside browsers');
    await cargoTool('geckodriver', geckodriverVersion, 'to drive Firefox in those tests');
    if (!find('chromedriver')) await debian('chromium-driver', 'to drive Chromium in the SDK\'s own tests');
  },
};

/** Makes sure of these parts (names of `parts`), in this order. Rust is always among them. */
export async function setup(...names) {
  for (const name of new Set(['rust', ...names])) await parts[name]();
}

async function rust() {
  if (!find('cargo')) throw new Problem('Rust is missing: install it with rustup (https://rustup.rs), then run this again.');
  if (!find('cc')) await debian('build-essential', 'a C compiler and linker, which Rust and SQLite need');
}

async function wasm() {
  await rustTarget('wasm32-unknown-unknown', 'Rust\'s standard library for WebAssembly');
  const version = /name = "wasm-bindgen"\nversion = "([^"]+)"/.exec(readFileSync(join(root, 'Cargo.lock'), 'utf8'))?.[1];
  if (!version) throw new Problem('Cargo.lock names no wasm-bindgen: which version of its command is wanted is not known.');
  // Its command must be of exactly the library's version. `--locked` fails where a registry's index lags behind.
  await cargoTool('wasm-bindgen', version, 'to join the wasm and JavaScript', { crate: 'wasm-bindgen-cli', exact: true, locked: false });
}

async function npm(folder = root, why = 'for building and testing') {
  const wanted = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')).packages;
  const installedPath = join(folder, 'node_modules', '.package-lock.json');
  const installed = existsSync(installedPath) ? JSON.parse(readFileSync(installedPath, 'utf8')).packages : {};
  const missing = Object.entries(wanted).filter(([path, { version, optional }]) => path && !optional && installed[path]?.version !== version);
  if (missing.length === 0) return;
  say(`Installing npm packages (${missing.length} are missing), ${why}`);
  await step('npm ci', 'npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], { cwd: folder });
}

async function rustTarget(target, why) {
  const sysroot = output('rustc', ['--print', 'sysroot']);
  if (!existsSync(join(sysroot, 'lib', 'rustlib', target))) await rustup(['target', 'add', target], why);
}

async function rustup(args, why) {
  if (!find('rustup')) throw new Problem(`Missing: ${why}. Install it with your Rust distribution (rustup would do: rustup ${args.join(' ')}).`);
  say(`Installing ${why}`);
  await step(`rustup ${args.join(' ')}`, 'rustup', args);
}

/** A command on the PATH, of any version unless it must be `exact`; else built into our own folder: nothing outside it is touched. */
async function cargoTool(command, version, why, { crate = command, exact = false, locked = true } = {}) {
  if (exact ? hasVersion(command, version) : find(command)) return;
  say(`Installing ${crate} ${version}, ${why}, into ${toolsRoot} (about a minute on two cores)`);
  const args = ['install', crate, '--version', version, '--root', toolsRoot, '--debug', '--force', ...(locked ? ['--locked'] : [])];
  // Unoptimised tools are built in a third of the time and are quick enough for what they do here.
  await step(`cargo install ${crate}`, 'cargo', args, { env: { CARGO_PROFILE_DEV_DEBUG: '0' } });
}

let aptIsFresh = false;

async function debian(name, why) {
  const mayInstall = process.getuid?.() === 0 && find('apt-get');
  if (!mayInstall) throw new Problem(`Missing: ${why}. Install it first; Debian and Ubuntu call the package ${name}: sudo apt-get install ${name}`);
  say(`Installing ${name}, ${why}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  if (!aptIsFresh) await step('apt-get update', 'apt-get', ['update'], { env });
  aptIsFresh = true;
  await step(`apt-get install ${name}`, 'apt-get', ['install', '-y', '--no-install-recommends', name], { env });
}

main(import.meta.url, async () => {
  commandLine('npm run setup --', 'Installs everything that any command of this repository needs, and only what is missing.');
  const start = performance.now();
  await setup(...Object.keys(parts));
  say(`Everything that the commands need is installed (${Math.round(performance.now() - start)} ms).`);
});
