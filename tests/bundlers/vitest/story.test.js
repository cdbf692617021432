import 'fake-indexeddb/auto';
import { expect, test } from 'vitest';
import { WebSocket } from 'undici';
import { story } from './story.js';

globalThis.WebSocket ??= WebSocket;

test('a message is queued and synced', async () => {
  expect(await story(process.env.RELAY, 'vitest')).toBe('queued, then sent as 2: Hello!');
});
