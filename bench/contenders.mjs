// Who is compared. `folder` has the contender's page.js and server.mjs, and `options` are given to both; `packages` are named
// with their versions in the report, `assets` are files that a page fetches beside its bundle, and `note` says what the
// contender's figures mean.
import { join } from 'node:path';
import { root } from '../scripts/shell.mjs';

const folderOf = (name) => join(import.meta.dirname, 'contenders', name);

export const contenders = [
  {
    name: 'raw',
    title: 'hand-written (in memory)',
    folder: folderOf('raw'),
    options: { durable: false },
    packages: ['ws'],
    assets: [],
    note: 'a good client without a library: WebSocket, batches of JSON, one indexed IndexedDB record per message. A message is stored '
      + 'before it is sent, with strict durability in the rows of appending and draining and relaxed durability elsewhere. Its server '
      + 'keeps everything in memory and acknowledges and passes on at once, and a receiver shows a message before it stores it: a crash '
      + 'can lose what was acknowledged or shown.',
  },
  {
    name: 'raw-durable',
    title: 'hand-written (same promises)',
    folder: folderOf('raw'),
    options: { durable: true },
    packages: ['ws'],
    assets: [],
    note: 'the same code, keeping the promises that ours keeps: the sender stores a message with strict durability before it sends it, '
      + 'the server appends it to a file and syncs that to the disk before it acknowledges and before it passes it on (messages that '
      + 'wait share one sync), and a receiver stores it (relaxed: the server has it) before it shows it.',
  },
  {
    name: 'solconnect',
    title: 'SolConnect Sync',
    folder: folderOf('solconnect'),
    options: { keepsPort: true },
    packages: [],
    assets: [join(root, 'pkg', 'solconnect_sync_bg.wasm')],
    note: 'devices have keys, sign in, and sign what they write. Own messages are stored with strict durability in every row; the relay '
      + 'acknowledges and passes on only what is synced to its journal. Received messages are stored, with relaxed durability (the relay has them), before they are shown.',
  },
  {
    name: 'yjs',
    title: 'Yjs',
    folder: folderOf('yjs'),
    options: {},
    packages: ['yjs', 'y-indexeddb', 'y-websocket', '@y/websocket-server'],
    assets: [],
    note: 'a Y.Array of plain objects. The whole document is in memory and reading is from there; y-indexeddb stores updates with relaxed '
      + 'durability and does not tell when, so it is found by reading behind the write. The server keeps documents in memory. Draining ends '
      + 'when the server process has the messages: a client is not told.',
  },
  {
    name: 'automerge',
    title: 'Automerge',
    folder: folderOf('automerge'),
    options: {},
    packages: ['@automerge/automerge', '@automerge/automerge-repo', '@automerge/automerge-repo-storage-indexeddb', '@automerge/automerge-repo-network-websocket'],
    assets: [join(import.meta.dirname, 'node_modules', '@automerge', 'automerge', 'dist', 'automerge.wasm')],
    note: 'a document with a list of objects whose texts are ImmutableString. The whole document is in memory and reading is from there; '
      + 'durable means that `repo.flush()` has resolved (relaxed). automerge-repo gathers changes for 100 ms before it sends them. The '
      + 'server stores in files, without syncing them to disk. Draining ends when the server process has the messages.',
  },
  {
    name: 'rxdb',
    title: 'RxDB',
    folder: folderOf('rxdb'),
    options: {},
    packages: ['rxdb', 'rxjs'],
    assets: [],
    note: 'Dexie storage (relaxed durability) and the WebSocket replication, batches of 500; the server stores in memory. Draining ends '
      + 'with `awaitInSync()`. Its events come after the storage has written, so the callback and durable are one moment.',
  },
  {
    name: 'pouchdb',
    title: 'PouchDB',
    folder: folderOf('pouchdb'),
    options: {},
    packages: ['pouchdb-browser', 'express-pouchdb', 'pouchdb-node'],
    assets: [],
    note: 'its IndexedDB adapter (relaxed durability) and live replication over HTTP, with the default batches of 100; the server stores '
      + 'in LevelDB files. Its changes come after the storage has written, so the callback and durable are one moment.',
  },
];
