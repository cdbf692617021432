// What the replay says, and the chance that it is ruled by.
import { readFileSync } from 'node:fs';
import { Problem } from './shell.mjs';

/** A seed for who names none. */
export const newSeed = () => Math.floor(Math.random() * 1e9);

/** Numbers from 0 to below 1, always the same for one seed (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export const pick = (random, list) => list[Math.floor(random() * list.length)];

/** `count` messages {from, text} in their order: from a random place of the corpus on, or made up where there is none. */
export function conversation(path, count, random) {
  if (!path) return Array.from({ length: count }, () => madeUp(random));
  let lines;
  try {
    lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch (error) {
    throw new Problem(`The corpus cannot be read: ${error.message}`);
  }
  const start = Math.floor(random() * lines.length);
  const messages = [];
  for (let index = 0; index < lines.length && messages.length < count; index += 1) {
    const place = (start + index) % lines.length;
    messages.push(...parseLine(lines[place], `${path}:${place + 1}`));
  }
  if (messages.length < count) throw new Problem(`The corpus has only ${messages.length} messages with a text.`);
  return messages;
}

/** One message, or none where its text is empty. */
function parseLine(line, where) {
  let message;
  try {
    message = JSON.parse(line);
  } catch {
    throw new Problem(`${where} is no JSON`);
  }
  if (typeof message?.from !== 'string' || typeof message.text !== 'string') throw new Problem(`${where} lacks "from" or "text"`);
  return message.text === '' ? [] : [{ from: message.from, text: message.text }];
}

const words = 'the a it is not I you we this that what how why try again first then later kernel driver disk works fails boot never always please thanks sudo file'.split(' ');

function madeUp(random) {
  const length = 1 + Math.floor(random() * random() * 30);
  const text = Array.from({ length }, () => pick(random, words)).join(' ');
  return { from: `nick${Math.floor(random() * 20)}`, text };
}
