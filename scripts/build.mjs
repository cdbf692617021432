// Builds the npm package into pkg/, and the relay. Does only what is out of date.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { main, output, root, say, step } from './shell.mjs';
import { setup } from './setup.mjs';

const pkg = join(root, 'pkg');
const name = 'solconnect_sync';
const self = fileURLToPath(import.meta.url);

// What rustc emits for wasm32-unknown-unknown. `--all-features` would let wasm-opt write what browsers refuse.
const wasmFeatures = ['bulk-memory', 'nontrapping-float-to-int', 'sign-ext', 'mutable-globals', 'reference-types', 'multivalue'];

export const relayBinary = () => join(targetFolder(), 'release', process.platform === 'win32' ? 'solconnect-relay.exe' : 'solconnect-relay');

function targetFolder() {
  return JSON.parse(output('cargo', ['metadata', '--format-version', '1', '--no-deps'])).target_directory;
}

export async function buildRelay() {
  await step('building the relay', 'cargo', ['build', '--release', '-p', 'solconnect-relay']);
}

export async function buildSdk() {
  const args = ['build', '--profile', 'wasm', '--target', 'wasm32-unknown-unknown', '-p', 'solconnect-sync'];
  // The wasm names source files, for panics: not by where they are on the machine that builds it.
  const cargoHome = process.env.CARGO_HOME || join(homedir(), '.cargo');
  const remap = [`--remap-path-prefix=${root}=.`, `--remap-path-prefix=${cargoHome}=cargo`].join('\x1f');
  await step('building the SDK', 'cargo', args, { env: { CARGO_ENCODED_RUSTFLAGS: remap } });
  mkdirSync(pkg, { recursive: true });
  await bindWasm(join(targetFolder(), 'wasm32-unknown-unknown', 'wasm', `${name}.wasm`));
  await compileTypeScript();
  writeInline();
}

/** The wasm and its generated JavaScript. Made elsewhere and copied when complete: an interrupted build never looks finished. */
async function bindWasm(built) {
  const wasm = join(pkg, `${name}_bg.wasm`);
  if (isNewer([wasm, join(pkg, `${name}.js`), join(pkg, `${name}.d.ts`)], [built, self])) return;
  const staging = join(targetFolder(), 'pkg-staging');
  rmSync(staging, { recursive: true, force: true });
  await step('wasm-bindgen', 'wasm-bindgen', [built, '--target', 'web', '--out-dir', staging, '--out-name', name]);
  const bound = join(staging, `${name}_bg.wasm`);
  await step('wasm-opt', 'wasm-opt', [bound, '-Oz', ...wasmFeatures.map((feature) => `--enable-${feature}`), '-o', bound]);
  // The generated classes have a `[Symbol.dispose]`, which is in no released `lib` that applications name.
  const types = `/// <reference lib="esnext.disposable" />\n${readFileSync(join(staging, `${name}.d.ts`), 'utf8')}`;
  writeFileSync(join(pkg, `${name}.d.ts`), types);
  for (const file of [`${name}.js`, `${name}_bg.wasm`]) copyFileSync(join(staging, file), join(pkg, file));
}

async function compileTypeScript() {
  const sources = readdirSync(join(root, 'src')).filter((file) => file.endsWith('.ts')).map((file) => join(root, 'src', file));
  if (isNewer([join(pkg, 'index.js'), join(pkg, 'index.d.ts')], [...sources, join(root, 'tsconfig.json'), join(pkg, `${name}.d.ts`)])) return;
  await step('tsc', 'tsc', ['-p', root]);
}

/** The same package with the wasm inside the JavaScript, for bundlers that leave `new URL(…, import.meta.url)` alone. */
function writeInline() {
  const wasm = join(pkg, `${name}_bg.wasm`);
  if (isNewer([join(pkg, 'inline.js'), join(pkg, 'inline.d.ts')], [wasm, self])) return;
  const base64 = readFileSync(wasm).toString('base64');
  const code = `import init, { initializeSDK as initialize, createLocalWallet as localWallet } from './index.js';
export * from './index.js';
const wasm = '${base64}';
let loading = null;
export default function load() {
  loading ??= init({ bytes: Uint8Array.from(atob(wasm), (char) => char.charCodeAt(0)) }).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}
export async function initializeSDK(config) {
  await load();
  return initialize(config);
}
export async function createLocalWallet(databaseName) {
  await load();
  return localWallet(databaseName);
}
`;
  const types = `export * from './index.js';
/** Loads the wasm, which is part of this file. A second call is a no-op; after a failure it may be called again. */
export default function load(): Promise<void>;
`;
  writeFileSync(join(pkg, 'inline.js'), code);
  writeFileSync(join(pkg, 'inline.d.ts'), types);
}

function isNewer(results, sources) {
  if (!results.every(existsSync)) return false;
  const oldest = Math.min(...results.map((path) => statSync(path).mtimeMs));
  return sources.every((path) => statSync(path).mtimeMs <= oldest);
}

function printSizes() {
  const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`.padStart(10);
  const loaded = [`${name}_bg.wasm`, `${name}.js`, 'index.js'];
  let raw = 0;
  let packed = 0;
  for (const file of loaded) {
    const bytes = readFileSync(join(pkg, file));
    const brotli = brotliCompressSync(bytes);
    raw += bytes.length;
    packed += brotli.length;
    say(`  ${file.padEnd(26)}${kib(bytes.length)}   brotli ${kib(brotli.length)}`);
  }
  say(`  ${'what a page loads'.padEnd(26)}${kib(raw)}   brotli ${kib(packed)}`);
}

main(import.meta.url, async () => {
  await setup('npm', 'wasm');
  await buildSdk();
  say(`The package is in pkg/`);
  printSizes();
});
