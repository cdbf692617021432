// docs/errors.md against the types, and what errors say to people.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { load } from './modules.mjs';

const read = (...path) => readFileSync(join(root, ...path), 'utf8');
const { SyncError } = await load('errors');

const namesOf = (text, type) => [...new RegExp(`export type ${type} =([^;]+);`).exec(text)[1].matchAll(/['"](\w+)['"]/g)].map(([, name]) => name);
const codes = namesOf(read('src', 'types.d.ts'), 'ErrorCode');
const rows = [...read('docs', 'errors.md').matchAll(/^\| (`[^|]+`) \| ([^|]*) \|/gm)].flatMap(([, names, second]) => [...names.matchAll(/`(\w+)`/g)].map(([, name]) => [name, second]));
/** What the engine says of its codes. */
const engine = new Map([...read('crates', 'core', 'src', 'error.rs').matchAll(/= "([A-Z_]+)", (\w+), (true|false), "([^"]+)";/g)]
  .map(([, code, category, recoverable, userMessage]) => [code, { category: category.toLowerCase(), recoverable: recoverable === 'true', userMessage }]));
/** What the surface says of its own. */
const surface = new Map([...read('src', 'surface', 'errors.ts').matchAll(/^ {2}([A-Z_]+): \[/gm)].map(([, code]) => {
  const { category, recoverable, userMessage } = new SyncError(code, '');
  return [code, { category, recoverable, userMessage }];
}));

test('the document has every code once, and says whether trying again can help', () => {
  const documented = rows.filter(([name]) => /^[A-Z_]+$/.test(name));
  assert.deepEqual(documented.map(([name]) => name).sort(), [...codes].sort());
  for (const [code, again] of documented) assert.equal(again, (surface.get(code) ?? engine.get(code)).recoverable ? 'yes' : 'no', code);
});

test('the document has every status of a message, in their order', () => {
  const statuses = namesOf(read('pkg', 'solconnect_sync.d.ts'), 'MessageStatus');
  assert.deepEqual(rows.map(([name]) => name).filter((name) => statuses.includes(name)), statuses);
});

test('the document has the fields of an error', () => {
  const fields = rows.map(([name]) => name);
  for (const field of [...Object.keys(new SyncError('UNKNOWN_ERROR', '')).filter((name) => name !== 'name'), 'message', 'cause']) assert.ok(fields.includes(field), field);
});

test('the engine and the surface say the same of a code', () => {
  assert.ok(engine.size > 40 && surface.size > 20, `${engine.size} and ${surface.size}`);
  for (const [code, facts] of surface) if (engine.has(code)) assert.deepEqual(facts, engine.get(code), code);
  assert.deepEqual(codes.filter((code) => !engine.has(code) && !surface.has(code)), []);
});

test('what errors say to people is written for people', () => {
  for (const [code, { userMessage }] of [...engine, ...surface]) {
    assert.match(userMessage, /^[A-Z].*\.$/, code);
    assert.doesNotMatch(userMessage, /\b(SDK|API|wasm|argument|parameter|vector clock|frame|null|undefined|range|options?|sessions?)\b/i, code);
  }
});
