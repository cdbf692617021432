// docs/errors.md against the types, and what errors say to people.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { load } from './modules.mjs';

const read = (...path) => readFileSync(join(root, ...path), 'utf8');
const { errorOf, SyncError, unkept } = await load('errors');

const namesOf = (text, type) => [...new RegExp(`export type ${type} =([^;]+);`).exec(text)[1].matchAll(/['"](\w+)['"]/g)].map(([, name]) => name);
const codes = namesOf(read('src', 'types.d.ts'), 'ErrorCode');
const rows = [...read('docs', 'errors.md').matchAll(/^\| (`[^|]+`) \| ([^|]*) \|/gm)].flatMap(([, names, second]) => [...names.matchAll(/`(\w+)`/g)].map(([, name]) => [name, second]));
/** What the engine knows of its codes: whether trying again can help. */
const engine = new Map([...read('crates', 'core', 'src', 'error.rs').matchAll(/^ {4}\w+ = "([A-Z_]+)", (true|false);$/gm)].map(([, code, recoverable]) => [code, recoverable === 'true']));

test('the document has every code once, and says whether trying again can help', () => {
  const documented = rows.filter(([name]) => /^[A-Z_]+$/.test(name));
  assert.deepEqual(documented.map(([name]) => name).sort(), [...codes].sort());
  for (const [code, again] of documented) assert.equal(again, new SyncError(code, '').recoverable ? 'yes' : 'no', code);
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
  assert.ok(engine.size > 40, `${engine.size} codes are found`);
  for (const [code, recoverable] of engine) {
    const error = errorOf({ code, message: 'why' });
    assert.deepEqual([error.code, error.message, error.recoverable], [code, 'why', recoverable]);
    assert.ok(codes.includes(code), code);
  }
});

test('codes of others are none of ours', () => {
  for (const code of ['ENOENT', 'toString', '__proto__', 4001, null]) {
    const thrown = Object.assign(new Error('not ours'), { code });
    const error = errorOf(thrown);
    assert.deepEqual([error.code, error.message, error.cause], ['UNKNOWN_ERROR', 'not ours', thrown]);
  }
});

test('a call that is not queued promises to keep nothing', () => {
  for (const code of codes) {
    const { userMessage, category, recoverable } = unkept(new SyncError(code, ''));
    if (category === 'network' || (category === 'relay' && recoverable)) assert.match(userMessage, /Try again/, code);
    if (category === 'network') assert.doesNotMatch(userMessage, /kept|sent/, code);
    else if (category !== 'relay') assert.equal(userMessage, new SyncError(code, '').userMessage, code);
  }
});

test('what errors say to people is written for people', () => {
  for (const code of codes) {
    const { userMessage } = new SyncError(code, '');
    assert.match(userMessage, /^[A-Z].*\.$/, code);
    assert.doesNotMatch(userMessage, /\b(SDK|API|wasm|argument|parameter|vector clock|frame|null|undefined|range|options?|sessions?)\b/i, code);
  }
});
