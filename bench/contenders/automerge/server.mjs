// A sync server as automerge-repo documents it: a Repo with files and WebSockets.
import * as Automerge from '@automerge/automerge';
import { ImmutableString, Repo } from '@automerge/automerge-repo';
import { WebSocketServerAdapter } from '@automerge/automerge-repo-network-websocket';
import { NodeFSStorageAdapter } from '@automerge/automerge-repo-storage-nodefs';
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { devices, historyRecord } from '../../records.mjs';
import { asStored } from './record.mjs';

export async function start(folder) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const repo = new Repo({ network: [new WebSocketServerAdapter(server)], storage: new NodeFSStorageAdapter(folder), sharePolicy: async () => false });
  const handles = new Map();

  return {
    port: server.address().port,
    async prepare(name, texts) {
      const handle = repo.import(write(texts));
      handles.set(name, handle);
      await repo.flush();
      return handle.url;
    },
    append(name, text) {
      handles.get(name).change(({ messages }) => {
        messages.push(asStored(historyRecord(messages.length, text), ImmutableString));
      });
    },
    /** When the document had that many messages. */
    has(name, count) {
      const handle = handles.get(name);
      return new Promise((resolve) => {
        const check = () => {
          if (handle.doc().messages.length < count) return;
          handle.off('change', check);
          resolve(performance.timeOrigin + performance.now());
        };
        handle.on('change', check);
        check();
      });
    },
  };
}

/**
 * A document that five devices have written, each message a change of its own by the one that its record names. By the
 * document behind Automerge's objects: making those anew after each change would take longer the longer the list is.
 */
function write(texts) {
  const first = Automerge.getBackend(Automerge.from({ messages: [] }));
  const docs = devices.map(() => first.fork());
  const missing = docs.map(() => []);
  const catchUp = (writer) => docs[writer].applyChanges(missing[writer].splice(0));
  for (const [index, text] of texts.entries()) {
    const { clock, ...fields } = historyRecord(index, text);
    const writer = devices.indexOf(fields.device);
    catchUp(writer);
    const doc = docs[writer];
    const message = doc.pushObject('/messages', {});
    for (const [name, value] of Object.entries(fields)) doc.put(message, name, value, 'str');
    const counters = doc.putObject(message, 'clock', {});
    for (const [device, counter] of Object.entries(clock)) doc.put(counters, device, counter, 'int');
    doc.commit();
    const change = doc.getLastLocalChange();
    for (const other of docs.keys()) if (other !== writer) missing[other].push(change);
  }
  catchUp(0);
  return docs[0].save();
}
