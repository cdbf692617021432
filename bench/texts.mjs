// What the messages say.
import { readFileSync } from 'node:fs';
import { Problem } from '../scripts/shell.mjs';
import { randomFrom } from '../scripts/corpus.mjs';

const textBytes = 200;

/** Texts by their number: 200 bytes of base64 that are always the same, or those of the corpus, from its beginning and over again. */
export function openTexts(corpus) {
  if (corpus) {
    const texts = readCorpus(corpus);
    return (start, count) => Array.from({ length: count }, (_, index) => texts[(start + index) % texts.length]);
  }
  return (start, count) => Array.from({ length: count }, (_, index) => base64Text(start + index));
}

function base64Text(number) {
  const random = randomFrom(number + 1);
  return Buffer.from(Array.from({ length: (textBytes / 4) * 3 }, () => Math.floor(random() * 256))).toString('base64');
}

function readCorpus(path) {
  let lines;
  try {
    lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch (error) {
    throw new Problem(`The corpus cannot be read: ${error.message}`);
  }
  const texts = lines.map((line, index) => {
    try {
      return JSON.parse(line).text;
    } catch {
      throw new Problem(`${path}:${index + 1} is no JSON`);
    }
  }).filter((text) => typeof text === 'string' && text !== '');
  if (texts.length === 0) throw new Problem(`${path} has no line with a "text".`);
  return texts;
}
