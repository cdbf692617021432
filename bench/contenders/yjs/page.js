// Yjs with y-indexeddb and y-websocket: a Y.Array of messages.
import { IndexeddbPersistence } from 'y-indexeddb';
import { WebsocketProvider } from 'y-websocket';
import * as Y from 'yjs';
import { grouped } from '../../grouped.mjs';

export async function open({ port, access: session }) {
  const doc = new Y.Doc();
  const messages = doc.getArray('messages');
  const persistence = new IndexeddbPersistence('yjs', doc);
  const provider = new WebsocketProvider(`ws://127.0.0.1:${port}`, session, doc, { connect: false });
  await persistence.whenSynced;

  /** y-indexeddb does not tell when an update is stored; what reads the same store waits for the writes before it. */
  const stored = grouped(() => new Promise((resolve, reject) => {
    const request = persistence.db.transaction('updates').objectStore('updates').getKey(0);
    request.onsuccess = resolve;
    request.onerror = () => reject(request.error);
  }));

  return {
    connect: () => provider.connect(),
    async append(record) {
      messages.push([record]);
      await stored();
    },
    async has(count) {
      if (messages.length < count) {
        await new Promise((resolve) => {
          doc.on('update', function check() {
            if (messages.length < count) return;
            doc.off('update', check);
            resolve();
          });
        });
      }
      await stored();
    },
    count: () => messages.length,
    read: (index) => messages.get(index).text,
    listen(listener) {
      let length = messages.length;
      messages.observe(({ transaction }) => {
        if (!transaction.local) listener.received(messages.length - length);
      });
      // After y-indexeddb's own handler of the update.
      doc.on('update', async (_update, _origin, _doc, transaction) => {
        const added = messages.length - length;
        length = messages.length;
        if (transaction.local) return;
        await stored();
        listener.stored(added);
      });
    },
  };
}
