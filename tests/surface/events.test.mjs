// Who hears an event when handlers come and go while it is told: as with an EventTarget. And docs/events.md against the types.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { load } from './modules.mjs';

const { Listeners } = await load('events');
const read = (...path) => readFileSync(join(root, ...path), 'utf8');
const withoutComments = (text) => text.replace(/\/\*[^]*?\*\//g, '');
/** The fields of an interface, in its order: name and type. */
const fieldsOf = (text, name) => [...new RegExp(`export interface ${name} \\{\n([^]*?)\n\\}`).exec(withoutComments(text))[1].matchAll(/^ {2}(\w+): (.+);$/gm)].map(([, field, type]) => [field, type]);

test('the document has every event with its type, once', () => {
  const typed = fieldsOf(read('src', 'surface', 'events.ts'), 'SdkEvents').map(([name, type]) => {
    if (type !== 'TabState') return [name, type];
    return [name, `{ ${fieldsOf(read('src', 'surface', 'port.ts'), type).map(([field, type]) => `${field}: ${type}`).join('; ')} }`];
  });
  assert.ok(typed.length > 15, `${typed.length} events are found`);
  const documented = [...read('docs', 'events.md').matchAll(/^\| `(\w+)` \| `(\{.*?\})` \|/gm)].map(([, name, type]) => [name, type.replaceAll('\\|', '|')]);
  const byName = ([one], [other]) => one.localeCompare(other);
  assert.deepEqual(documented.sort(byName), typed.sort(byName));
});

test('engine, tabs and the page of the tests have every event', () => {
  const names = fieldsOf(read('src', 'surface', 'events.ts'), 'SdkEvents').map(([name]) => `on${name[0].toUpperCase()}${name.slice(1)}`).sort();
  const namesIn = (file, head) => [...new RegExp(`${head}[^=]*= \\[([^]*?)\\]`).exec(file)[1].matchAll(/['"](on\w+)['"]/g)].map(([, name]) => name).sort();
  assert.deepEqual(namesIn(read('tests', 'e2e', 'page', 'device.js'), 'const eventNames'), names);
  // Of the wallet and of tabs the surface tells by itself.
  const ofEngine = names.filter((name) => !['onWalletChanged', 'onTabChanged'].includes(name));
  assert.deepEqual(namesIn(read('src', 'surface', 'port.ts'), 'const EVENTS'), ofEngine);
  assert.deepEqual(namesIn(read('src', 'events.rs'), 'const NAMES'), ofEngine);
});

test('a handler that is removed while an event is told does not hear it', () => {
  const listeners = new Listeners(() => []);
  const heard = [];
  const ends = [];
  listeners.add('queueChanged', () => {
    heard.push('first');
    ends.forEach((end) => end());
    listeners.remove('onQueueChanged', old);
  });
  ends.push(listeners.add('queueChanged', () => heard.push('removed')));
  const old = () => heard.push('removed, by the old name');
  listeners.add('onQueueChanged', old);
  listeners.add('queueChanged', () => heard.push('last'));
  listeners.emit('queueChanged', { queuedMessageCount: 1 });
  assert.deepEqual(heard, ['first', 'last']);
});

test('a handler that is added while an event is told hears the next one', () => {
  const listeners = new Listeners(() => []);
  const heard = [];
  const again = () => heard.push('there before');
  listeners.add('queueChanged', () => {
    listeners.add('queueChanged', later);
    listeners.add('queueChanged', again);
  });
  const later = () => heard.push('added');
  listeners.add('queueChanged', again);
  listeners.emit('queueChanged', { queuedMessageCount: 1 });
  assert.deepEqual(heard, ['there before']);
  listeners.emit('queueChanged', { queuedMessageCount: 2 });
  assert.deepEqual(heard, ['there before', 'there before', 'added'], 'each once');
});

test('why the wallet did not sign is told until it has', async () => {
  const told = [];
  const heard = async (listeners) => {
    listeners.add('signInNeeded', ({ error }) => told.push(error?.code ?? null));
    await Promise.resolve();
  };
  const listeners = new Listeners((name) => (name === 'signInNeeded' ? [{}] : []));
  listeners.emit('signInNeeded', { error: Object.assign(new Error(), { code: 'WALLET_REJECTED' }) });
  await heard(listeners);
  listeners.signed();
  await heard(listeners);
  assert.deepEqual(told, ['WALLET_REJECTED', null]);
});
