// Makes the bound wasm small: optimized, and with short names between it and its JavaScript.
import { readFileSync, writeFileSync } from 'node:fs';
import { nameInOrder } from './order.mjs';
import { Problem, step } from './shell.mjs';

// What rustc emits for wasm32-unknown-unknown. `--all-features` would let wasm-opt write what browsers refuse.
const features = ['bulk-memory', 'nontrapping-float-to-int', 'sign-ext', 'mutable-globals', 'reference-types', 'multivalue']
  .map((feature) => `--enable-${feature}`);

// Only a stack that is about to overflow reaches the first KiB of memory, so loads and stores may take up to as much of their
// address as an offset. Zeros between data compress better than the addresses of what is between them.
const passes = [
  '--skip-pass=memory-packing', '--low-memory-unused', '-Oz', '--optimize-added-constants-propagate', '-Oz', '--flatten', '--rereloop', '-Oz', '-Oz',
  '--reorder-locals',
];

/** Shrinks a wasm in place, and the generated JavaScript beside it. `options` are more of wasm-opt's. */
export async function shrink(wasm, glue, ...options) {
  await step('wasm-opt', 'wasm-opt', [wasm, ...passes, ...features, ...options, '-o', wasm]);
  // The names of what has some tell what it is.
  if (!options.includes('-g')) nameInOrder(wasm);
  await shortenNames(wasm, glue, ...options);
}

/** Imports and exports have names with hashes in them, which do not compress: they get short ones, in both files. */
async function shortenNames(path, glue, ...options) {
  const short = ['--reorder-functions-by-name', '--minify-imports-and-exports-and-modules', '--strip-producers', '--strip-target-features'];
  const renamed = JSON.parse(await step('short names', 'wasm-opt', [path, ...short, ...features, ...options, '-o', path]));
  const [imports, exports] = [new Map(renamed.imports.map(([, long, short]) => [long, short])), new Map(renamed.exports)];
  const [[module]] = renamed.imports;
  const code = readFileSync(glue, 'utf8')
    .replace(`"${module}": `, 'a: ')
    // What only served panics is not imported any more.
    .replace(/^ {8}(__wb\w+): function\([^]*?^ {8}\},\n/gm, (whole, name) => (imports.has(name) ? whole : ''))
    .replace(/\b__wb\w+(?=: )/g, (name) => imports.get(name) ?? name)
    .replace(/\bwasm\.(\w+)/g, (whole, name) => (exports.has(name) ? `wasm.${exports.get(name)}` : whole));
  writeFileSync(glue, code);
}

/** The package reads its wasm itself (`src/surface/load.ts`): the generated code need only start it. */
export function cutLoading(glue) {
  const code = readFileSync(glue, 'utf8');
  const from = code.indexOf('async function __wbg_load(');
  if (from < 0) throw new Problem(`${glue} does not load its wasm as wasm-bindgen wrote it before.`);
  writeFileSync(glue, `${code.slice(0, from)}export default async function start({ module_or_path: source }) {
    if (wasm !== undefined) return wasm;
    const made = await WebAssembly.instantiate(source, __wbg_get_imports());
    return __wbg_finalize_init(made.instance ?? made, made.module ?? source);
}
`);
}
