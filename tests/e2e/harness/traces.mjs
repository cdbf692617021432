// What a relay has of a text: in the files of its journal, and in its memory.
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const chunkBytes = 1 << 20;

/** As it is, in UTF-16, in hex, and in base64 wherever it begins in there. */
function formsOf(text) {
  const bytes = Buffer.from(text);
  return [bytes, Buffer.from(text, 'utf16le'), Buffer.from(bytes.toString('hex')), ...[0, 1, 2].map((offset) => base64At(bytes, offset))];
}

/** What base64 has of bytes that stand behind `offset` others, without what it shares with its neighbours. */
function base64At(bytes, offset) {
  const coded = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
  return Buffer.from(coded.slice(Math.ceil((offset * 4) / 3), Math.floor(((offset + bytes.length) * 4) / 3) - 1));
}

/** Those of these texts that stand in the journal's files, in any form. */
export function inJournal({ journal }, texts) {
  const files = readdirSync(dirname(journal)).filter((file) => file.startsWith(basename(journal)));
  const contents = files.map((file) => readFileSync(join(dirname(journal), file)));
  return texts.filter((text) => formsOf(text).some((form) => contents.some((bytes) => bytes.includes(form))));
}

/** Those of these texts that stand in the memory of the running relay, in any form. Linux only. */
export function inMemory({ pid }, texts) {
  const forms = texts.map(formsOf);
  const overlap = Math.max(...forms.flat().map((form) => form.length));
  const found = new Set();
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    for (const [from, to] of writableRegions(pid)) {
      for (let at = from; at < to; at += chunkBytes) {
        const bytes = readAt(memory, at, Math.min(chunkBytes + overlap, to - at));
        texts.forEach((text, index) => {
          if (!found.has(text) && forms[index].some((form) => bytes.includes(form))) found.add(text);
        });
      }
    }
  } finally {
    closeSync(memory);
  }
  return texts.filter((text) => found.has(text));
}

function writableRegions(pid) {
  const rows = readFileSync(`/proc/${pid}/maps`, 'latin1').matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw/gm);
  return [...rows].map(([, from, to]) => [Number.parseInt(from, 16), Number.parseInt(to, 16)]);
}

/** Nothing where the region has been given back meanwhile. */
function readAt(memory, position, length) {
  const bytes = Buffer.alloc(length);
  try {
    return bytes.subarray(0, readSync(memory, bytes, 0, length, position));
  } catch (error) {
    if (error.code === 'EIO' || error.code === 'EFAULT') return Buffer.alloc(0);
    throw error;
  }
}
