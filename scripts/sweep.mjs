// Takes out of a linked wasm what only panics lead to.
import { readFileSync, writeFileSync } from 'node:fs';
import { FUNCTION, Wasm } from './wasm.mjs';

// Of symbols.
const [DATA, SECTION] = [1, 3];
const [UNDEFINED, EXPLICIT_NAME] = [0x10, 0x40];

// Relocations that name a type and no symbol, and those with an addend.
const TYPE_INDEX = 6;
const WITH_ADDEND = [3, 4, 5, 8, 9, 11, 14, 15, 16, 17, 21, 23];

// Mangled names (v0).
const PANIC = /^_RI?(N\w)+Cs[0-9A-Za-z]+_(4core|3std|5alloc)[0-9a-z_]*(panic|_fail|rust_oom)|___rustc17rust_begin_unwind$/;
const DEBUG = /^_RNv[XY].*3fmt5Debug3fmt/;

const [UNREACHABLE, NOP, END, CALL, LOCAL_GET, I32_CONST, I32_ADD, I32] = [0x00, 0x01, 0x0b, 0x10, 0x20, 0x41, 0x6a, 0x7f];

// Where a relocation stands in code, its number has as many bytes as it may have.
const PADDED_BYTES = 5;

/**
 * A panic ends in a trap, and its text goes nowhere: a browser has no stderr. So whatever leads to one traps at once, and
 * `Debug`, which nothing else here writes with, writes nothing. The compiler would do the same with an option that is not
 * stable (`-Cpanic=immediate-abort`). What nothing else leads to is then as good as gone: its functions trap, and its data (texts,
 * places in sources, tables of Unicode) is zero. The linker's own relocations (`--emit-relocs`) say what leads to what.
 */
export function sweepPanics(from, to) {
  const wasm = new LinkedWasm(readFileSync(from));
  const alive = new Set();
  const waiting = wasm.exported();
  while (waiting.length > 0) {
    const range = waiting.pop();
    if (alive.has(range)) continue;
    alive.add(range);
    if (range.isCut) continue;
    for (const { at, target } of wasm.namedIn(range)) {
      if (target && !wasm.isPlaceInSource(target) && !wasm.isSaidInPanic(at)) waiting.push(target);
    }
  }
  for (const range of wasm.functions.values()) if (range.isCut || !alive.has(range)) wasm.cut(range);
  const isUsed = new Uint8Array(wasm.bytes.length);
  for (const { start, end } of alive) isUsed.fill(1, start, end);
  for (const { start, end } of wasm.data) for (let at = start; at < end; at++) if (!isUsed[at]) wasm.bytes[at] = 0;
  writeFileSync(to, wasm.withoutRelocations());
}

/** A wasm with the linker's symbols and relocations. Ranges are places in its bytes. */
class LinkedWasm extends Wasm {
  /** The bodies, by the functions' numbers. */
  functions = new Map();
  /** The data of every symbol. */
  data = [];
  /** Where something is named, and what. */
  relocations = [];

  constructor(bytes) {
    super(bytes);
    this.#readFunctions();
    const symbols = this.#readSymbols();
    for (const name of ['reloc.CODE', 'reloc.DATA']) this.#readRelocations(name, symbols);
    this.relocations.sort((one, other) => one.at - other.at);
  }

  /** What JavaScript calls. */
  exported() {
    this.enter(7);
    const exports = this.list(() => [this.text(), this.byte(), this.number()]);
    return exports.filter(([, kind, index]) => kind === FUNCTION && this.functions.has(index)).map(([, , index]) => this.functions.get(index));
  }

  /** The relocations in a range. They are in order. */
  namedIn({ start, end }) {
    let [low, high] = [0, this.relocations.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.relocations[middle].at < start) low = middle + 1;
      else high = middle;
    }
    const found = [];
    for (let place = low; this.relocations[place]?.at < end; place++) found.push(this.relocations[place]);
    return found;
  }

  /** Whether it is a `core::panic::Location`, which only panics read: the name of a file, its length, a line and a column. */
  isPlaceInSource(range) {
    if (range.end - range.start !== 16) return false;
    const [name, ...others] = this.namedIn(range);
    if (name?.at !== range.start || !name.target || others.length > 0) return false;
    const size = this.bytes.readUInt32LE(range.start + 4);
    return name.target.end - name.target.start >= size && this.bytes.toString('latin1', name.target.start, name.target.start + size).endsWith('.rs');
  }

  /** Whether what is named here is handed to a panic: behind it stand its other arguments, and the call. */
  isSaidInPanic(at) {
    for (this.at = at + PADDED_BYTES; ;) {
      const instruction = this.byte();
      if (instruction === CALL) return this.functions.get(this.number())?.isCut ?? false;
      if (instruction === I32_CONST || instruction === LOCAL_GET) this.number();
      else if (instruction !== I32_ADD) return false;
    }
  }

  /** Puts a body of the same length in place of one: it traps, or answers that nothing went wrong. */
  cut({ start, end, isDebug }) {
    this.bytes.fill(NOP, start, end);
    // No locals.
    this.bytes[start] = 0;
    const code = isDebug ? [I32_CONST, 0, END] : [UNREACHABLE, END];
    this.bytes.set(code, end - code.length);
  }

  withoutRelocations() {
    const kept = this.sections.filter(({ name }) => !/^(linking$|reloc\.)/.test(name));
    return Buffer.concat([this.bytes.subarray(0, 8), ...kept.map(({ header, end }) => this.bytes.subarray(header, end))]);
  }

  #readFunctions() {
    this.enter(1);
    const resultsOfTypes = this.list(() => {
      this.byte();
      this.list(() => this.byte());
      return this.list(() => this.byte());
    });
    const imported = this.importedFunctions();
    this.enter(3);
    const results = this.list(() => resultsOfTypes[this.number()]);
    const names = this.#readNames();
    this.bodies().forEach((range, place) => {
      const name = names.get(imported + place) ?? '';
      const isPanic = PANIC.test(name);
      const isDebug = DEBUG.test(name) && results[place][0] === I32;
      this.functions.set(imported + place, { ...range, isDebug, isCut: isPanic || isDebug });
    });
  }

  #readNames() {
    const { end } = this.enter('name');
    const names = new Map();
    while (this.at < end) {
      const part = this.byte();
      const partEnd = this.number() + this.at;
      if (part === 1) this.list(() => names.set(this.number(), this.text()));
      this.at = partEnd;
    }
    return names;
  }

  /** What each symbol stands for: a body, data, or nothing of both. */
  #readSymbols() {
    const segments = this.#readSegments();
    const { end } = this.enter('linking');
    // The version.
    this.number();
    while (this.at < end) {
      const part = this.byte();
      const partEnd = this.number() + this.at;
      if (part === 8) return this.list(() => this.#readSymbol(segments));
      this.at = partEnd;
    }
    throw new Error('the linked wasm has no symbols');
  }

  #readSymbol(segments) {
    const [kind, flags] = [this.byte(), this.number()];
    if (kind === DATA) {
      this.text();
      if (flags & UNDEFINED) return null;
      const [segment, offset, size] = [this.number(), this.number(), this.number()];
      const range = { start: segments[segment] + offset, end: segments[segment] + offset + size };
      this.data.push(range);
      return range;
    }
    const index = this.number();
    // Symbols of sections have no names.
    if (kind !== SECTION && (!(flags & UNDEFINED) || flags & EXPLICIT_NAME)) this.text();
    return kind === FUNCTION ? this.functions.get(index) ?? null : null;
  }

  /** Where each segment of the data begins. */
  #readSegments() {
    this.enter(11);
    return this.list(() => {
      if (this.number() !== 0) throw new Error('the linked wasm has data that is not there from the start');
      // The address: a constant.
      const [, , , size] = [this.byte(), this.number(), this.byte(), this.number()];
      const start = this.at;
      this.at += size;
      return start;
    });
  }

  #readRelocations(name, symbols) {
    this.enter(name);
    const { start } = this.sections[this.number()];
    this.list(() => {
      const [kind, at, index] = [this.byte(), start + this.number(), this.number()];
      if (WITH_ADDEND.includes(kind)) this.number();
      if (kind !== TYPE_INDEX) this.relocations.push({ at, target: symbols[index] });
    });
  }
}
