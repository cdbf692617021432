// Node.js with storage in memory. It has a WebSocket of its own from version 22 on.
import 'fake-indexeddb/auto';
import { story } from './story.js';

globalThis.WebSocket ??= (await import('undici')).WebSocket;
console.log(JSON.stringify({ page: await story(process.env.RELAY, 'node') }));
