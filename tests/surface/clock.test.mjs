// The class VectorClock.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coded, load } from './modules.mjs';

const { VectorClock } = await load('clock');
const refused = coded('INVALID_VECTOR_CLOCK');

test('clocks tell all four relations', () => {
  const one = new VectorClock({ a: 1 });
  const two = VectorClock.parse('{"b":1}');
  assert.equal(one.compare(two), 'concurrent');
  two.merge(one);
  assert.deepEqual([one.compare(two), two.compare(one), two.compare(two)], ['before', 'after', 'equal']);
  assert.deepEqual([one.tick('a'), one.get('a'), String(one), String(two)], [2, 2, '{"a":2}', '{"a":1,"b":1}']);
  assert.equal(new VectorClock({ a: 0 }).compare(new VectorClock()), 'equal');
});

test('counters that are no whole numbers are refused', () => {
  for (const bad of ['{"a":-1}', '{"a":1.5}', '{"a":"1"}', '{"a":9007199254740992}', '{"a":null}', '{"":1}', `{"${'é'.repeat(101)}":1}`, '[]', 'null', '7', '{']) {
    assert.throws(() => VectorClock.parse(bad), refused, bad);
    if (bad !== '{' && bad !== 'null') assert.throws(() => new VectorClock(JSON.parse(bad)), refused, bad);
  }
});

test('a clock that refuses stays as it was', () => {
  const full = new VectorClock(Object.fromEntries(Array.from({ length: 1024 }, (_, place) => [`d${place}`, 1])));
  const before = String(full);
  assert.throws(() => full.tick('another'), refused);
  assert.throws(() => full.merge(new VectorClock({ d0: 2, another: 1 })), refused);
  assert.equal(String(full), before);
  const last = new VectorClock({ a: 2 ** 53 - 1 });
  assert.throws(() => last.tick('a'), refused);
  assert.equal(last.get('a'), 2 ** 53 - 1);
});

test('devices may be named like builtins, or in half characters', () => {
  const json = '{"__proto__":7,"constructor":7,"toString":7}';
  assert.equal(String(VectorClock.parse(json)), json);
  assert.equal(new VectorClock().get('toString'), 0);
  const half = new VectorClock({ '\ud83d': 1 });
  assert.deepEqual([half.get('\ufffd'), half.get('\ud83d'), half.toJSON()], [1, 1, { '\ufffd': 1 }]);
});

test('what is no clock is no argument', () => {
  for (const other of [null, {}, 'a', new Map()]) assert.throws(() => new VectorClock().compare(other), coded('INVALID_ARGUMENT'));
});
