// Builds the npm package into pkg/, and the relay. Does only what is out of date.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { main, output, root, say, step } from './shell.mjs';
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { cutLoading, shrink } from './shrink.mjs';
import { sweepPanics } from './sweep.mjs';
import { relayTarget } from './tools.mjs';

const pkg = join(root, 'pkg');
const name = 'solconnect_sync';
// What makes the package: it is made again when they change.
const scripts = ['build.mjs', 'order.mjs', 'shrink.mjs', 'sweep.mjs', 'wasm.mjs'].map((script) => fileURLToPath(new URL(script, import.meta.url)));

// A rough life of four devices in one page takes 7 KiB of stack, deeply nested JSON 26 KiB. An overflow traps.
const stackBytes = 128 * 1024;

/** What a page loads. */
export const loadedFiles = [`${name}_bg.wasm`, 'index.js'].map((file) => join(pkg, file));

// More than eight bytes are copied by one instruction, not in up to four loads and stores; and nothing is computed twice, or counted
// twice in a loop, to be quicker. These are LLVM's own options: where a later compiler has one no longer, the build says so.
const smallCode = ['-max-store-memcpy=1', '-enable-pre=false', '-enable-load-pre=false', '-disable-lsr'];

const minified = ['--minify', '--format=esm', '--target=es2022'];

/** `profile` is cargo's: `dist` for what is measured or handed out, which takes twice as long to build. `target`: for which machines, where not this one. */
export const relayBinary = (profile = 'release', target = '') => join(targetFolder(), target, profile, process.platform === 'win32' ? 'solconnect-relay.exe' : 'solconnect-relay');

export function targetFolder() {
  return JSON.parse(output('cargo', ['metadata', '--format-version', '1', '--no-deps'])).target_directory;
}

export async function buildRelay(profile = 'release') {
  await step('building the relay', 'cargo', ['build', '--profile', profile, '-p', 'solconnect-relay']);
}

/** The relay for machines of this target (Rust's name of them); gives its file. */
export async function buildRelayFor(target, profile) {
  const env = { CARGO_ENCODED_RUSTFLAGS: [...remap(), '-Cstrip=symbols'].join('\x1f') };
  // SQLite is C: it must be compiled against the same C library.
  const compiler = `CC_${target.replaceAll('-', '_')}`;
  if (target === relayTarget() && target.endsWith('-musl') && !process.env[compiler]) env[compiler] = 'musl-gcc';
  await step(`building the relay for ${target}`, 'cargo', ['build', '--profile', profile, '--locked', '-p', 'solconnect-relay', '--target', target], { env });
  return relayBinary(profile, target);
}

/** The wasm modules of the package: the SDK, and what it loads only for an application's own transport, or for encrypted sessions. */
const sdk = { crate: 'solconnect-sync', name, folder: pkg };
const json = { crate: 'solconnect-sync-json', name: `${name}_json`, folder: join(pkg, 'json') };

const vault = { crate: 'solconnect-sync-vault', name: `${name}_vault`, folder: join(pkg, 'vault'), features: ['wasm'] };

/** The wasm of encrypted sessions, once the SDK is built. */
export const vaultWasm = () => join(vault.folder, `${vault.name}_bg.wasm`);

export async function buildSdk() {
  for (const module of [sdk, json, vault]) {
    await buildModule(module);
    writeInlined(module);
  }
  await compileTypeScript();
}

async function buildModule(module) {
  // Only as what is loaded: cargo optimizes across crates where a library is built as nothing else.
  const only = ['--lib', '--crate-type', 'cdylib'];
  // What the sweep reads.
  const relocations = module === sdk ? ['--', '-Clink-arg=--emit-relocs'] : [];
  const features = module.features ? ['--features', module.features.join(',')] : [];
  const args = ['rustc', ...only, '--profile', 'wasm', '--target', 'wasm32-unknown-unknown', '-p', module.crate, ...features, ...relocations];
  // Names of functions tell what they are made for: `npm run size` reads them. The package has none.
  // SHA-256 of a few lines at a time: its loop need not be unrolled.
  const flags = [...remap(), '-Csymbol-mangling-version=v0', `-Cllvm-args=${smallCode.join(' ')}`, `-Clink-arg=-zstack-size=${stackBytes}`, '--cfg=sha2_backend_soft="compact"'];
  await step(`building ${module.crate}`, 'cargo', args, { env: { CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f') } });
  mkdirSync(module.folder, { recursive: true });
  await bindWasm(module);
}

/**
 * What is built names source files, for panics: not by where they are on the machine that builds it. Rust's own sources, where they are
 * installed, have the name that they have elsewhere.
 */
function remap() {
  const cargoHome = process.env.CARGO_HOME || join(homedir(), '.cargo');
  const sources = join(output('rustc', ['--print', 'sysroot']), 'lib', 'rustlib', 'src', 'rust');
  const commit = /commit-hash: (\w+)/.exec(output('rustc', ['-vV']))?.[1];
  return [`${root}=.`, `${cargoHome}=cargo`, `${sources}=/rustc/${commit}`].map((names) => `--remap-path-prefix=${names}`);
}

// Cargo names it by its crate.
const builtWasm = (module) => join(targetFolder(), 'wasm32-unknown-unknown', 'wasm', `${module.crate.replaceAll('-', '_')}.wasm`);
const staging = (module) => join(targetFolder(), 'pkg-staging', module.name);

/** The JavaScript of another module, which the package's root has in it. */
const codeOf = (module) => join(staging(module), `${module.name}.js`);
export const jsonCode = () => codeOf(json);

/** The wasm and its types. Made elsewhere and copied when complete: an interrupted build never looks finished. */
async function bindWasm(module) {
  const { name, folder } = module;
  const made = (file) => join(staging(module), file);
  if (isNewer([join(folder, `${name}_bg.wasm`), join(folder, `${name}.d.ts`), made(`${name}.js`)], [builtWasm(module), ...scripts])) return;
  await bindAndShrink(module, staging(module));
  // The generated classes have a `[Symbol.dispose]`, which is in no released `lib` that applications name.
  const types = `/// <reference lib="esnext.disposable" />\n${readFileSync(made(`${name}.d.ts`), 'utf8')}`;
  writeFileSync(join(folder, `${name}.d.ts`), types);
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
  mkdirSync(folder, { recursive: true });
  const linked = join(folder, 'linked.wasm');
  // The other module says with `Debug` what is wrong with a frame.
  if (module === sdk) sweepPanics(builtWasm(module), linked);
  else copyFileSync(builtWasm(module), linked);
  await step('wasm-bindgen', 'wasm-bindgen', [linked, '--target', 'web', '--out-dir', folder, '--out-name', module.name, '--omit-default-module-path']);
  await shrink(join(folder, `${module.name}_bg.wasm`), join(folder, `${module.name}.js`), ...options);
  cutLoading(join(folder, `${module.name}.js`));
}

/** Entries of the package beside its root, in `src/bindings`. */
export const bindings = ['background', 'react', 'status', 'svelte', 'sw', 'vue'];

/** What the package's JavaScript imports where the files of its wasm are not there. */
const inlinedFiles = ['inlined.js', join('vault', 'inlined.js')];

/** The package's root and the generated JavaScript in one file, so that a page waits for one; each binding as a file of its own; types. */
async function compileTypeScript() {
  const folder = staging(sdk);
  const sources = ['.', 'surface', 'bindings'].flatMap((room) => namesOf(join(root, 'src', room), '.ts').map((file) => join(root, 'src', room, `${file}.ts`)));
  const needs = [...sources, ...scripts, join(root, 'tsconfig.json'), join(pkg, `${name}.d.ts`), join(folder, `${name}.js`), codeOf(json), codeOf(vault)];
  const results = ['index', 'inline', ...bindings].map((file) => join(pkg, `${file}.js`));
  if (isNewer(results, needs)) return;
  for (const room of ['surface', 'bindings']) {
    rmSync(join(folder, room), { recursive: true, force: true });
    rmSync(join(pkg, room), { recursive: true, force: true });
  }
  // Bindings that there were.
  for (const file of namesOf(pkg, '.js')) if (file !== 'inlined') rmSync(join(pkg, `${file}.js`));
  await step('tsc', 'tsc', ['-p', root, '--outDir', folder]);
  for (const [room, module] of [['json', json], ['vault', vault]]) {
    mkdirSync(join(folder, room), { recursive: true });
    copyFileSync(codeOf(module), join(folder, room, `${module.name}.js`));
  }
  await bundle(join(folder, 'index.js'), 'index', inlinedFiles, '--define:IS_BACKGROUND=false');
  for (const binding of bindings) {
    const entry = join(folder, 'bindings', `${binding}.js`);
    // The service worker has the engine and not what pages show; and it may not have the `import()` that a build of Vite is without.
    if (binding === 'sw') await bundle(entry, binding, inlinedFiles, '--define:import.meta.env.PROD=true', '--define:IS_BACKGROUND=true');
    else await bundle(entry, binding, ['index.js'], '--packages=external');
  }
  copyTypes(folder, pkg);
  for (const room of ['surface', 'bindings']) copyTypes(join(folder, room), join(pkg, room));
  writeFileSync(join(pkg, 'inline.js'), inlineRoot);
  writeFileSync(join(pkg, 'inline.d.ts'), inlineTypes);
}

/** Bundles all but these files of the package, which stand beside the result. */
async function bundle(entry, title, others, ...options) {
  const folder = staging(sdk);
  // Made beside what it imports, because the addresses in it are written from there.
  const result = join(folder, `${title}.bundle.js`);
  const external = others.map((file) => `--external:${join(folder, file)}`);
  await step(`esbuild ${title}`, 'esbuild', [entry, '--bundle', ...external, ...options, ...minified, `--outfile=${result}`]);
  copyFileSync(result, join(pkg, `${title}.js`));
}

function copyTypes(from, to) {
  for (const file of namesOf(from, '.d.ts')) {
    // The engine's own are in the package already.
    if (file.startsWith(name)) continue;
    mkdirSync(to, { recursive: true });
    copyFileSync(join(from, `${file}.d.ts`), join(to, `${file}.d.ts`));
  }
}

/** The files of that kind in a folder, without their ending; none where there is no such folder. */
function namesOf(folder, ending) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((file) => file.endsWith(ending) && (ending !== '.ts' || !file.endsWith('.d.ts'))).map((file) => file.slice(0, -ending.length));
}

/** The wasm as JavaScript, for where it cannot be a file beside it: compressed, because base64 hardly is by a server. */
function writeInlined({ name, folder }) {
  const wasm = join(folder, `${name}_bg.wasm`);
  const results = [join(folder, 'inlined.js'), join(folder, 'inlined.d.ts')];
  if (isNewer(results, [wasm, ...scripts])) return;
  const base64 = gzipSync(readFileSync(wasm), { level: 9 }).toString('base64');
  writeFileSync(results[0], `const gzipped = '${base64}';
export function bytes() {
  const compressed = Uint8Array.from(atob(gzipped), (char) => char.charCodeAt(0));
  return new Response(new Response(compressed).body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
}
`);
  writeFileSync(results[1], `/** The wasm, which is part of this file. */
export function bytes(): Promise<ArrayBuffer>;
`);
}

const inlineRoot = `import { setWasmSource } from './index.js';
import { bytes } from './inlined.js';
setWasmSource(bytes);
export * from './index.js';
export { default } from './index.js';
`;

const inlineTypes = `export * from './index.js';
export { default } from './index.js';
`;

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
