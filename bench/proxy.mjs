// A cable between pages and a server that counts the bytes of each direction: the payload of TCP, headers of HTTP included.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * A cable to that port of this machine. With `keepsPort` it has the same port, at IPv6: a server that knows its own name, where devices sign
 * in to that, is called so behind it too.
 */
export async function startProxy(targetPort, { keepsPort }) {
  const counted = { up: 0, down: 0 };
  const sockets = new Set();
  const server = createServer((page) => {
    const target = connect(targetPort, '127.0.0.1');
    for (const [socket, other, direction] of [[page, target, 'up'], [target, page, 'down']]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('data', (chunk) => {
        counted[direction] += chunk.length;
        other.write(chunk);
      });
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(keepsPort ? targetPort : 0, keepsPort ? '::1' : '127.0.0.1');
  await once(server, 'listening');
  return {
    host: keepsPort ? '[::1]' : '127.0.0.1',
    port: server.address().port,
    /** What has passed since it was last asked. */
    take() {
      const taken = { ...counted };
      Object.assign(counted, { up: 0, down: 0 });
      return taken;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
