// Automerge by automerge-repo, with its IndexedDB storage and its WebSocket client: a document with a list of messages.
import { ImmutableString, initializeWasm, Repo } from '@automerge/automerge-repo/slim';
import { WebSocketClientAdapter } from '@automerge/automerge-repo-network-websocket';
import { IndexedDBStorageAdapter } from '@automerge/automerge-repo-storage-indexeddb';
import { grouped } from '../../grouped.mjs';
import { asStored } from './record.mjs';

export async function open({ port, access: url }) {
  await initializeWasm(fetch(new URL('automerge.wasm', import.meta.url)));
  const repo = new Repo({ storage: new IndexedDBStorageAdapter() });
  let handle = null;
  // A new device finds it only once it is connected.
  const find = async () => {
    handle ??= await repo.find(url);
  };
  const stored = grouped(() => repo.flush([handle.documentId]));

  return {
    async connect() {
      const adapter = new WebSocketClientAdapter(`ws://127.0.0.1:${port}/`);
      repo.networkSubsystem.addNetworkAdapter(adapter);
      await adapter.whenReady();
      await find();
    },
    async append(record) {
      if (!handle) await find();
      handle.change(({ messages }) => {
        messages.push(asStored(record, ImmutableString));
      });
      await stored();
    },
    async has(count) {
      await new Promise((resolve) => {
        const check = () => {
          if (handle.doc().messages.length < count) return;
          handle.off('change', check);
          resolve();
        };
        handle.on('change', check);
        check();
      });
      await stored();
    },
    count: () => handle.doc().messages.length,
    read: (index) => handle.doc().messages[index].text.toString(),
    listen(listener) {
      let { length } = handle.doc().messages;
      handle.on('change', async () => {
        const added = handle.doc().messages.length - length;
        length += added;
        listener.received(added);
        await stored();
        listener.stored(added);
      });
    },
  };
}
