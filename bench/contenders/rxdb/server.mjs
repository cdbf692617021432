// The server of RxDB's WebSocket replication, with its storage in memory.
import { createServer } from 'node:net';
import { once } from 'node:events';
import { createRxDatabase } from 'rxdb/plugins/core';
import { startWebsocketServer } from 'rxdb/plugins/replication-websocket';
import { getRxStorageMemory } from 'rxdb/plugins/storage-memory';
import { historyRecord } from '../../records.mjs';
import { schema } from './schema.mjs';

export async function start() {
  const database = await createRxDatabase({ name: 'server', storage: getRxStorageMemory() });
  const port = await freePort();
  const { server } = startWebsocketServer({ database, port, host: '127.0.0.1' });
  if (!server.address()) await once(server, 'listening');
  const lengths = new Map();
  return {
    port,
    async prepare(session, texts) {
      // Names of collections have no hyphens.
      const name = session.replace('-', '');
      // There may be sixteen collections without a licence: an earlier round's is not needed again.
      const scenario = name.replace(/\d+$/, '');
      for (const [other, collection] of Object.entries(database.collections)) if (other.replace(/\d+$/, '') === scenario) await collection.close();
      const { [name]: collection } = await database.addCollections({ [name]: { schema } });
      await collection.bulkInsert(texts.map((text, index) => historyRecord(index, text)));
      lengths.set(name, texts.length);
      return name;
    },
    async append(name, text) {
      await database.collections[name].insert(historyRecord(lengths.get(name), text));
      lengths.set(name, lengths.get(name) + 1);
    },
  };
}

/** RxDB keeps the server's port to itself, so it is chosen before. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
