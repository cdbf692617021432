// Something at the relay's address that is no relay.
import { once } from 'node:events';
import { WebSocketServer } from 'ws';

/** Accepts connections and calls `onFrame(send, frame)` with each frame that arrives. */
export async function startFakeRelay(onFrame) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('message', (data) => onFrame((answer) => socket.send(answer), data));
  });
  await once(server, 'listening');
  return {
    port: server.address().port,
    close() {
      for (const socket of server.clients) socket.terminate();
      server.close();
    },
  };
}
