// npm run size: what a page loads, what each part of the wasm adds to it, and whether all of it is within the budget.
import { readFileSync } from 'node:fs';
import { brotliCompressSync } from 'node:zlib';
import { buildNamedWasm, buildSdk, loadedFiles, printSizes, vaultWasm } from './build.mjs';
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { main, output, Problem, say } from './shell.mjs';

/** What a page may load, in bytes of brotli: wasm and JavaScript. The aim is 160 KiB; this is what is reached. */
const BUDGET_BYTES = 274 * 1024;

/** What a page with an encrypted session will load besides. */
const VAULT_BUDGET_BYTES = 50 * 1024;

/** Fails above its budget. */
function checkVault() {
  const bytes = brotliCompressSync(readFileSync(vaultWasm())).length;
  const kib = (bytes / 1024).toFixed(1);
  say(`  the module of encrypted sessions, which is loaded where there are some: brotli ${kib} KiB`);
  if (bytes > VAULT_BUDGET_BYTES) throw new Problem(`The module of encrypted sessions has ${kib} KiB, more than the ${VAULT_BUDGET_BYTES / 1024} KiB of its budget.`);
}

/** Fails above the budget. */
export async function checkBudget() {
  const bytes = printSizes();
  const kib = (bytes / 1024).toFixed(1);
  if (bytes > BUDGET_BYTES) throw new Problem(`A page loads ${kib} KiB, more than the ${BUDGET_BYTES / 1024} KiB of the budget.`);
}

/** A function belongs to the first of these that its name fits. Names of generic functions name what they are made for. */
const parts = [
  [/^data segment/, 'texts and tables'],
  [/serde|\bSerialize/, 'views as JavaScript objects (serde)'],
  [/solconnect_sync_core(?:\[\w+\])?::(\w+)/, 'core: '],
  [/solconnect_sync(?:\[\w+\])?::(\w+)/, 'shell: '],
  [/\b(?:idb|rexie)\b/, 'IndexedDB (idb, rexie)'],
  [/\b(?:lz4_flex|sha2|bs58|humantime|miniz_oxide|base64ct|fastrand|digest|block_buffer)\b/, 'compression, hashes, encodings'],
  [/wasm_bindgen|js_sys|web_sys|gloo|futures|externref shim|multivalue shim|^__wb|^__externref/, 'wasm-bindgen, promises'],
  [/dlmalloc|__rust_(?:alloc|dealloc|realloc)|__rdl_/, 'allocator'],
  [/\b(?:std|core|alloc|compiler_builtins|hashbrown|rustc_demangle)\b|^mem(?:cpy|set|move|cmp)/, 'Rust\'s standard library'],
];

function partOf(name) {
  for (const [pattern, part] of parts) {
    const match = pattern.exec(name);
    if (match) return match[1] && part.endsWith(': ') ? part + match[1] : part;
  }
  return 'everything else';
}

/** Sizes of the parts in the wasm, with its function names but not counting them. */
function measureParts(named) {
  const rows = JSON.parse(output('twiggy', ['top', '-n', '1000000', '-f', 'json', named]));
  const sizes = new Map();
  for (const { name, shallow_size: bytes } of rows) {
    if (/names" subsection|^custom section/.test(name)) continue;
    const part = partOf(name);
    sizes.set(part, (sizes.get(part) ?? 0) + bytes);
  }
  return [...sizes].sort(([, one], [, other]) => other - one);
}

main(import.meta.url, async () => {
  commandLine('npm run size --', `Builds the SDK and prints what a page loads and what each part of the wasm adds. Fails above ${BUDGET_BYTES / 1024} KiB of brotli.`);
  await setup('npm', 'wasm', 'size');
  await buildSdk();
  const measured = measureParts(await buildNamedWasm());
  const wasm = readFileSync(loadedFiles[0]);
  const ratio = brotliCompressSync(wasm).length / wasm.length;
  console.log(`${'part of the wasm'.padEnd(40)}${'bytes'.padStart(10)}${'about, in brotli'.padStart(20)}`);
  for (const [part, bytes] of measured) console.log(`${part.padEnd(40)}${String(bytes).padStart(10)}${String(Math.round(bytes * ratio)).padStart(20)}`);
  say('');
  await checkBudget();
  checkVault();
});
