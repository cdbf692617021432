// Who hears an event when handlers come and go while it is told: as with an EventTarget.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './modules.mjs';

const { Listeners } = await load('events');

test('a handler that is removed while an event is told does not hear it', () => {
  const listeners = new Listeners();
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
  const listeners = new Listeners();
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
