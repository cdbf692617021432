// Who is compared. `packages` are named with their versions in the report, `assets` are files that a page fetches beside its
// bundle, and `note` says what the contender's figures mean.
import { join } from 'node:path';
import { root } from '../scripts/shell.mjs';

export const contenders = [
  {
    name: 'raw',
    title: 'raw',
    packages: ['ws'],
    assets: [],
    note: 'hand-written: WebSocket, batches of JSON, one indexed IndexedDB record per message; a message is stored before it is sent. '
      + 'Strict durability in the row of appending, relaxed elsewhere. Its server keeps everything in memory and syncs nothing to disk.',
  },
  {
    name: 'solconnect',
    title: 'SolConnect Sync',
    packages: [],
    assets: [join(root, 'pkg', 'solconnect_sync_bg.wasm')],
    note: 'own messages are stored with strict durability in every row; the relay acknowledges and passes on only what is synced to its '
      + 'journal. Received messages are stored with relaxed durability: the relay has them.',
  },
  {
    name: 'yjs',
    title: 'Yjs',
    packages: ['yjs', 'y-indexeddb', 'y-websocket', '@y/websocket-server'],
    assets: [],
    note: 'a Y.Array of plain objects. The whole document is in memory and reading is from there; y-indexeddb stores updates with relaxed '
      + 'durability and does not tell when, so it is found by reading behind the write. The server keeps documents in memory. Draining ends '
      + 'when the server process has the messages: a client is not told.',
  },
  {
    name: 'automerge',
    title: 'Automerge',
    packages: ['@automerge/automerge', '@automerge/automerge-repo', '@automerge/automerge-repo-storage-indexeddb', '@automerge/automerge-repo-network-websocket'],
    assets: [join(import.meta.dirname, 'node_modules', '@automerge', 'automerge', 'dist', 'automerge.wasm')],
    note: 'a document with a list of objects whose texts are ImmutableString. The whole document is in memory and reading is from there; '
      + 'durable means that `repo.flush()` has resolved (relaxed). automerge-repo gathers changes for 100 ms before it sends them. The '
      + 'server stores in files, without syncing them to disk. Draining ends when the server process has the messages.',
  },
  {
    name: 'rxdb',
    title: 'RxDB',
    packages: ['rxdb', 'rxjs'],
    assets: [],
    note: 'Dexie storage (relaxed durability) and the WebSocket replication, batches of 500; the server stores in memory. Draining ends '
      + 'with `awaitInSync()`. Its events come after the storage has written, so the callback and durable are one moment.',
  },
  {
    name: 'pouchdb',
    title: 'PouchDB',
    packages: ['pouchdb-browser', 'express-pouchdb', 'pouchdb-node'],
    assets: [],
    note: 'its IndexedDB adapter (relaxed durability) and live replication over HTTP, with the default batches of 100; the server stores '
      + 'in LevelDB files. Its changes come after the storage has written, so the callback and durable are one moment.',
  },
];
