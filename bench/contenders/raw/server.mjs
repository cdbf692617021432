// The server of the hand-written client: every session is a list in memory. With `durable` nothing is acknowledged or passed on
// before it is in a file on the disk.
import { once } from 'node:events';
import { fdatasync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { WebSocketServer } from 'ws';
import { grouped } from '../../grouped.mjs';
import { historyRecord } from '../../records.mjs';

const batchMessages = 500;

export async function start(folder, { durable }) {
  const sessions = new Map();
  const keep = durable ? openLog(join(folder, 'messages.jsonl')) : null;
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('connection', (socket) => {
    let session = null;
    socket.on('error', () => {});
    socket.on('close', () => session?.sockets.delete(socket));
    socket.on('message', async (data) => {
      const frame = JSON.parse(data);
      if (frame.session) {
        session = sessions.get(frame.session);
        session.sockets.add(socket);
        for (let start = frame.from; start < session.messages.length; start += batchMessages) {
          socket.send(JSON.stringify({ messages: session.messages.slice(start, start + batchMessages) }));
        }
      } else {
        const messages = await append(session, frame.messages, socket);
        socket.send(JSON.stringify({ taken: messages.map(({ id, place }) => ({ id, place })) }));
      }
    });
  });
  await once(server, 'listening');

  /** Nobody sees the messages, which have their places now, before they are kept. */
  async function append(session, unplaced, sender) {
    const messages = unplaced.map((message, index) => ({ ...message, place: session.lastPlace + index + 1 }));
    session.lastPlace += messages.length;
    if (keep) await keep(messages);
    session.messages.push(...messages);
    const frame = JSON.stringify({ messages });
    for (const socket of session.sockets) if (socket !== sender) socket.send(frame);
    return messages;
  }

  return {
    port: server.address().port,
    async prepare(name, texts) {
      const session = { messages: [], lastPlace: 0, sockets: new Set() };
      sessions.set(name, session);
      await append(session, texts.map((text, index) => historyRecord(index, text)), null);
      return name;
    },
    async append(name, text) {
      const session = sessions.get(name);
      await append(session, [historyRecord(session.messages.length, text)], null);
    },
  };
}

/** A function that appends messages to a file, and resolves when they are on the disk. Calls during a sync share the next one. */
function openLog(path) {
  const file = openSync(path, 'a');
  const sync = grouped(() => promisify(fdatasync)(file));
  return (messages) => {
    writeSync(file, `${JSON.stringify(messages)}\n`);
    return sync();
  };
}
