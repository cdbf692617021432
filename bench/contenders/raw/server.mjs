// The server of the hand-written client: every session is a list in memory.
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { historyRecord } from '../../records.mjs';

const batchMessages = 500;

export async function start() {
  const sessions = new Map();
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('connection', (socket) => {
    let session = null;
    socket.on('error', () => {});
    socket.on('close', () => session?.sockets.delete(socket));
    socket.on('message', (data) => {
      const frame = JSON.parse(data);
      if (frame.session) {
        session = sessions.get(frame.session);
        session.sockets.add(socket);
        for (let start = frame.from; start < session.messages.length; start += batchMessages) {
          socket.send(JSON.stringify({ messages: session.messages.slice(start, start + batchMessages) }));
        }
      } else {
        const messages = take(session, frame.messages, socket);
        socket.send(JSON.stringify({ taken: messages.map(({ id, place }) => ({ id, place })) }));
      }
    });
  });
  await once(server, 'listening');

  function take(session, messages, sender) {
    const placed = messages.map((message, index) => ({ ...message, place: session.messages.length + index + 1 }));
    session.messages.push(...placed);
    const frame = JSON.stringify({ messages: placed });
    for (const socket of session.sockets) if (socket !== sender) socket.send(frame);
    return placed;
  }

  return {
    port: server.address().port,
    prepare(name, texts) {
      const session = { messages: [], sockets: new Set() };
      sessions.set(name, session);
      take(session, texts.map((text, index) => historyRecord(index, text)), null);
      return name;
    },
    append(name, text) {
      const session = sessions.get(name);
      take(session, [historyRecord(session.messages.length, text)], null);
    },
  };
}
