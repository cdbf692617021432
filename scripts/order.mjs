// Puts functions that are alike beside each other: a wasm compresses better then.
import { readFileSync, writeFileSync } from 'node:fs';
import { Wasm } from './wasm.mjs';

// Functions are alike by how many runs of so many bytes they share, of so many that are drawn from each.
const RUN_BYTES = 4;
const RUNS_MAX = 256;

/** Names the functions of a wasm that has no names, so that wasm-opt's `--reorder-functions-by-name` puts them into this order. */
export function nameInOrder(path) {
  const bytes = readFileSync(path);
  const wasm = new Wasm(bytes);
  const imported = wasm.importedFunctions();
  const drawn = wasm.bodies().map(({ start, end }) => draw(bytes.subarray(start, end)));
  const names = new Array(drawn.length);
  const waiting = new Set(drawn.keys());
  let last = drawn[0];
  while (waiting.size > 0) {
    const next = mostLike(last, waiting, drawn);
    names[next] = String(drawn.length - waiting.size).padStart(6, '0');
    waiting.delete(next);
    last = drawn[next];
  }
  const functions = [number(names.length), ...names.flatMap((name, place) => [number(imported + place), text(name)])];
  writeFileSync(path, Buffer.concat([bytes, sized(0, [text('name'), sized(1, functions)])]));
}

/** The lowest of the hashes of all runs of bytes, in order: the same ones wherever they stand. */
function draw(body) {
  const hashes = new Set();
  for (let place = 0; place + RUN_BYTES <= body.length; place++) {
    let hash = Math.imul(body.readUInt32LE(place), 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
    hashes.add((hash ^ (hash >>> 13)) >>> 0);
  }
  return Uint32Array.from(hashes).sort().subarray(0, RUNS_MAX);
}

function mostLike(one, waiting, drawn) {
  let [best, likenessMax] = [-1, -1];
  for (const place of waiting) {
    const likeness = sharedCount(one, drawn[place]) / Math.sqrt(drawn[place].length + 1);
    if (likeness > likenessMax) [best, likenessMax] = [place, likeness];
  }
  return best;
}

function sharedCount(one, other) {
  let [count, here, there] = [0, 0, 0];
  while (here < one.length && there < other.length) {
    const difference = one[here] - other[there];
    if (difference === 0) count++;
    if (difference <= 0) here++;
    if (difference >= 0) there++;
  }
  return count;
}

function number(value) {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return Buffer.from([...bytes, value]);
}

const text = (value) => Buffer.concat([number(value.length), Buffer.from(value)]);

function sized(id, parts) {
  const content = Buffer.concat(parts);
  return Buffer.concat([number(id), number(content.length), content]);
}
