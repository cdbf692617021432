// Builds the npm package into pkg/, and the relay. Does only what is out of date.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { main, output, root, say, step } from './shell.mjs';
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { cutPanics, shrink } from './shrink.mjs';

const pkg = join(root, 'pkg');
const name = 'solconnect_sync';
// What makes the package: it is made again when they change.
const scripts = [import.meta.url, new URL('shrink.mjs', import.meta.url)].map((url) => fileURLToPath(url));

// A rough life of four devices in one page takes 7 KiB of stack, deeply nested JSON 26 KiB. An overflow traps.
const stackBytes = 128 * 1024;

/** What a page loads. */
export const loadedFiles = [`${name}_bg.wasm`, 'index.js'].map((file) => join(pkg, file));

const minified = ['--minify', '--format=esm', '--target=es2022'];

export const relayBinary = () => join(targetFolder(), 'release', process.platform === 'win32' ? 'solconnect-relay.exe' : 'solconnect-relay');

function targetFolder() {
  return JSON.parse(output('cargo', ['metadata', '--format-version', '1', '--no-deps'])).target_directory;
}

export async function buildRelay() {
  await step('building the relay', 'cargo', ['build', '--release', '-p', 'solconnect-relay']);
}

/** The two wasm modules of the package: the SDK, and what it loads only for an application's own transport. */
const sdk = { crate: 'solconnect-sync', name, folder: pkg };
const json = { crate: 'solconnect-sync-json', name: `${name}_json`, folder: join(pkg, 'json') };

export async function buildSdk() {
  for (const module of [sdk, json]) await buildModule(module);
  await compileTypeScript();
  for (const module of [sdk, json]) writeInline(module);
}

async function buildModule(module) {
  // Only as what is loaded: cargo optimizes across crates where a library is built as nothing else.
  const only = ['--lib', '--crate-type', 'cdylib'];
  const args = ['rustc', ...only, '--profile', 'wasm', '--target', 'wasm32-unknown-unknown', '-p', module.crate];
  // The wasm names source files, for panics: not by where they are on the machine that builds it. Rust's own sources, where
  // they are installed, have the name that they have elsewhere.
  const cargoHome = process.env.CARGO_HOME || join(homedir(), '.cargo');
  const sources = join(output('rustc', ['--print', 'sysroot']), 'lib', 'rustlib', 'src', 'rust');
  const commit = /commit-hash: (\w+)/.exec(output('rustc', ['-vV']))?.[1];
  const remap = [`${root}=.`, `${cargoHome}=cargo`, `${sources}=/rustc/${commit}`].map((names) => `--remap-path-prefix=${names}`);
  // Names of functions tell what they are made for: `npm run size` reads them. The package has none.
  // SHA-256 of a few lines at a time: its loop need not be unrolled.
  const flags = [...remap, '-Csymbol-mangling-version=v0', `-Clink-arg=-zstack-size=${stackBytes}`, '--cfg=sha2_backend_soft="compact"'];
  await step(`building ${module.crate}`, 'cargo', args, { env: { CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f') } });
  mkdirSync(module.folder, { recursive: true });
  await bindWasm(module);
}

const builtWasm = (module) => join(targetFolder(), 'wasm32-unknown-unknown', 'wasm', `${module.name}.wasm`);
const staging = (module) => join(targetFolder(), 'pkg-staging', module.name);

/** The wasm and its types. Made elsewhere and copied when complete: an interrupted build never looks finished. */
async function bindWasm(module) {
  const { name, folder } = module;
  const made = (file) => join(staging(module), file);
  if (isNewer([join(folder, `${name}_bg.wasm`), join(folder, `${name}.d.ts`), made(`${name}.js`)], [builtWasm(module), ...scripts])) return;
  await bindAndShrink(module, staging(module));
  // The generated classes have a `[Symbol.dispose]`, which is in no released `lib` that applications name.
  const types = `/// <reference lib="esnext.disposable" />\n${readFileSync(made(`${name}.d.ts`), 'utf8')}`;
  writeFileSync(join(folder, `${name}.d.ts`), types);
  // The SDK's own is bundled with the package's root.
  if (module === json) await step('esbuild', 'esbuild', [made(`${name}.js`), ...minified, `--outfile=${join(folder, `${name}.js`)}`]);
  copyFileSync(made(`${name}_bg.wasm`), join(folder, `${name}_bg.wasm`));
}

/** The SDK's wasm with the names of its functions. */
export async function buildNamedWasm() {
  const folder = join(targetFolder(), 'named-staging');
  await bindAndShrink(sdk, folder, '-g');
  return join(folder, `${name}_bg.wasm`);
}

async function bindAndShrink(module, folder, ...options) {
  rmSync(folder, { recursive: true, force: true });
  await step('wasm-bindgen', 'wasm-bindgen', [builtWasm(module), '--target', 'web', '--out-dir', folder, '--out-name', module.name]);
  // The other module says with `Debug` what is wrong with a frame.
  if (module === sdk) await cutPanics(join(folder, `${module.name}_bg.wasm`));
  await shrink(join(folder, `${module.name}_bg.wasm`), join(folder, `${module.name}.js`), ...options);
}

/** The package's root and the generated JavaScript in one file, so that a page waits for one, and its types. */
async function compileTypeScript() {
  const sources = readdirSync(join(root, 'src')).filter((file) => file.endsWith('.ts')).map((file) => join(root, 'src', file));
  const folder = staging(sdk);
  const needs = [...sources, ...scripts, join(root, 'tsconfig.json'), join(pkg, `${name}.d.ts`), join(folder, `${name}.js`)];
  if (isNewer([join(pkg, 'index.js'), join(pkg, 'index.d.ts')], needs)) return;
  await step('tsc', 'tsc', ['-p', root, '--outDir', folder]);
  await step('esbuild', 'esbuild', [join(folder, 'index.js'), '--bundle', '--external:./json/*', ...minified, `--outfile=${join(pkg, 'index.js')}`]);
  copyFileSync(join(folder, 'index.d.ts'), join(pkg, 'index.d.ts'));
}

/** The same with the wasm inside the JavaScript, for bundlers that leave `new URL(…, import.meta.url)` alone. */
function writeInline({ name, folder }) {
  const wasm = join(folder, `${name}_bg.wasm`);
  const results = [join(folder, 'inline.js'), join(folder, 'inline.d.ts')];
  if (isNewer(results, [wasm, ...scripts])) return;
  const base64 = readFileSync(wasm).toString('base64');
  const bytes = `Uint8Array.from(atob('${base64}'), (char) => char.charCodeAt(0))`;
  const [code, types] = folder === pkg ? inlineRoot(bytes) : [`export const bytes = ${bytes};\n`, 'export const bytes: Uint8Array;\n'];
  writeFileSync(results[0], code);
  writeFileSync(results[1], types);
}

const inlineRoot = (bytes) => [`import init, { initializeSDK as initialize, createLocalWallet as localWallet } from './index.js';
export * from './index.js';
let loading = null;
export default function load() {
  const jsonBytes = async () => (await import('./json/inline.js')).bytes;
  loading ??= init({ bytes: ${bytes}, jsonBytes }).catch((error) => {
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
`, `export * from './index.js';
/** Loads the wasm, which is part of this file. A second call is a no-op; after a failure it may be called again. */
export default function load(): Promise<void>;
`];

function isNewer(results, sources) {
  if (!results.every(existsSync)) return false;
  const oldest = Math.min(...results.map((path) => statSync(path).mtimeMs));
  return sources.every((path) => statSync(path).mtimeMs <= oldest);
}

/** Prints what a page loads; returns how many bytes that is in brotli, as a server would send it. */
export function printSizes() {
  const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`.padStart(10);
  const sizes = loadedFiles.map((path) => {
    const bytes = readFileSync(path);
    return { file: basename(path), raw: bytes.length, brotli: brotliCompressSync(bytes).length };
  });
  const sum = (key) => sizes.reduce((total, size) => total + size[key], 0);
  const total = { file: 'what a page loads', raw: sum('raw'), brotli: sum('brotli') };
  for (const { file, raw, brotli } of [...sizes, total]) say(`  ${file.padEnd(26)}${kib(raw)}   brotli ${kib(brotli)}`);
  return total.brotli;
}

main(import.meta.url, async () => {
  commandLine('npm run build --', 'Builds the npm package into pkg/ and prints its sizes. Builds only what is out of date.');
  await setup('npm', 'wasm');
  await buildSdk();
  say(`The package is in pkg/`);
  printSizes();
});
