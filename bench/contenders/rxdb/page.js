// RxDB with its Dexie storage and its WebSocket replication: a collection of messages.
import { createRxDatabase } from 'rxdb/plugins/core';
import { replicateWithWebsocketServer } from 'rxdb/plugins/replication-websocket';
import { getRxStorageDexie } from 'rxdb/plugins/storage-dexie';
import { grouped } from '../../grouped.mjs';
import { historyId } from '../../records.mjs';
import { schema } from './schema.mjs';

export async function open({ port, access: session }) {
  const database = await createRxDatabase({ name: 'rxdb', storage: getRxStorageDexie(), multiInstance: false });
  const { [session]: collection } = await database.addCollections({ [session]: { schema } });
  let replication = null;

  return {
    async connect() {
      replication = await replicateWithWebsocketServer({
        collection, url: `ws://127.0.0.1:${port}`, replicationIdentifier: session, live: true, batchSize: 500,
      });
    },
    append: (record) => collection.insert(record),
    allSent: () => replication.awaitInSync(),
    async has(count) {
      // Counting would read the whole collection; documents do not come in the order of their places.
      let reached;
      const isReached = new Promise((resolve, reject) => {
        reached = { resolve, reject };
      });
      const look = grouped(async () => {
        if (await collection.findOne(historyId(count - 1)).exec()) reached.resolve();
      });
      // Events are told after the storage has written.
      const looking = collection.eventBulks$.subscribe(() => look().catch(reached.reject));
      look().catch(reached.reject);
      await isReached;
      looking.unsubscribe();
      await replication.awaitInSync();
    },
    count: () => collection.count().exec(),
    read: async (index) => (await collection.findOne(historyId(index)).exec()).text,
    listen(listener) {
      collection.insert$.subscribe(() => {
        listener.received(1);
        listener.stored(1);
      });
    },
  };
}
