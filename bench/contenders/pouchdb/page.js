// PouchDB with its IndexedDB adapter, in live replication with a server: one document per message.
import PouchDB from 'pouchdb-browser';
import { grouped } from '../../grouped.mjs';
import { historyId } from '../../records.mjs';

export async function open({ port, access: session }) {
  const database = new PouchDB('pouchdb');
  await database.info();
  let sync = null;
  let appended = 0;
  let pushed = 0;
  const count = async () => (await database.info()).doc_count;

  return {
    connect() {
      sync = database.sync(`http://127.0.0.1:${port}/${session}`, { live: true, retry: true });
      sync.on('change', ({ direction, change }) => {
        if (direction === 'push') pushed += change.docs_written;
      });
    },
    async append({ id, ...fields }) {
      await database.put({ _id: id, ...fields });
      appended += 1;
    },
    allSent() {
      return new Promise((resolve) => {
        sync.on('change', () => {
          if (pushed >= appended) resolve();
        });
      });
    },
    async has(wanted) {
      let reached;
      const isReached = new Promise((resolve, reject) => {
        reached = { resolve, reject };
      });
      const look = grouped(async () => {
        if ((await count()) >= wanted) reached.resolve();
      });
      const changes = database.changes({ since: 'now', live: true });
      const change = () => look().catch(reached.reject);
      changes.on('change', change);
      change();
      await isReached;
      changes.cancel();
    },
    count,
    read: async (index) => (await database.get(historyId(index))).text,
    async listen(listener) {
      const { update_seq: since } = await database.info();
      database.changes({ since, live: true, include_docs: true }).on('change', () => {
        listener.received(1);
        listener.stored(1);
      });
    },
  };
}
