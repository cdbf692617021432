// What an SDK asks of the page around it, and that it lets go of it. tests/e2e/reasons.test.mjs has the reasons in a browser.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { load } from './modules.mjs';

const { Reasons } = await load('reasons');

const relay = 'wss://relay.example.org/';
const page = new EventTarget();

beforeEach(() => {
  for (const name of ['addEventListener', 'removeEventListener']) globalThis[name] = page[name].bind(page);
});
afterEach(() => {
  for (const name of ['addEventListener', 'removeEventListener']) delete globalThis[name];
});

const socket = Object.getOwnPropertyDescriptor(globalThis, 'WebSocket');

const violate = () => page.dispatchEvent(Object.assign(new Event('securitypolicyviolation'), { effectiveDirective: 'connect-src', blockedURI: relay }));

test('a page is heard only while an engine runs', () => {
  const warnings = [];
  const make = () => new Reasons(() => relay, ({ code }) => warnings.push(code));
  make();
  violate();
  assert.deepEqual(warnings, []);
  const reasons = make();
  reasons.attach({});
  violate();
  violate();
  assert.deepEqual(warnings, ['CONNECTION_BLOCKED']);
  const other = make();
  other.attach({});
  other.attach(null);
  violate();
  assert.deepEqual(warnings, ['CONNECTION_BLOCKED']);
});

test('where there is no WebSocket, that is said once in an outage', (t) => {
  delete globalThis.WebSocket;
  t.after(() => socket && Object.defineProperty(globalThis, 'WebSocket', socket));
  const warnings = [];
  const reasons = new Reasons(() => relay, ({ code, message }) => warnings.push(`${code}: ${message}`));
  for (const state of ['waiting', 'connecting', 'waiting']) reasons.take(state);
  assert.equal(warnings.length, 1);
  assert.deepEqual(reasons.standing.map(({ error }) => error.code), ['CONNECTION_FAILED'], 'also to who comes later');
  reasons.take('connected');
  assert.deepEqual(reasons.standing, []);
  assert.match(warnings[0], /^CONNECTION_FAILED: there is no WebSocket here: .*--experimental-websocket/);
  new Reasons(() => null, ({ code }) => warnings.push(code)).take('waiting');
  assert.equal(warnings.length, 1, 'a transport of the application needs none');
});
