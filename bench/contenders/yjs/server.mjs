// The server of y-websocket as it is, with documents in memory.
import { getYDoc, setupWSConnection } from '@y/websocket-server/utils';
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { devices, historyRecord } from '../../records.mjs';

export async function start() {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('connection', setupWSConnection);
  await once(server, 'listening');

  /** Written by the clients that the records name, each in a transaction of its own. */
  function write(doc, texts) {
    const messages = doc.getArray('messages');
    for (const text of texts) {
      const record = historyRecord(messages.length, text);
      doc.clientID = devices.indexOf(record.device) + 1;
      messages.push([record]);
    }
  }

  return {
    port: server.address().port,
    prepare(name, texts) {
      write(getYDoc(name), texts);
      return name;
    },
    append: (name, text) => write(getYDoc(name), [text]),
    /** When the document had that many messages. */
    has(name, count) {
      const messages = getYDoc(name).getArray('messages');
      return new Promise((resolve) => {
        const check = () => {
          if (messages.length < count) return;
          messages.unobserve(check);
          resolve(performance.timeOrigin + performance.now());
        };
        messages.observe(check);
        check();
      });
    },
  };
}
