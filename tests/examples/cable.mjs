// A cable between one person and the relay, which can be cut.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** A cable to that port of this machine. */
export async function layCable(targetPort) {
  const sockets = new Set();
  let isCut = false;
  let wasCut = false;
  const join = (socket, other) => {
    sockets.add(socket);
    socket.pipe(other);
    socket.on('error', () => {});
    socket.on('close', () => {
      sockets.delete(socket);
      other.destroy();
    });
  };
  const server = createServer((socket) => {
    if (isCut) return void socket.resetAndDestroy();
    const target = connect(targetPort, '127.0.0.1');
    join(socket, target);
    join(target, socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: server.address().port,
    /** Whether it ever was: connections that broke are told late. */
    get wasCut() {
      return wasCut;
    },
    cut() {
      isCut = true;
      wasCut = true;
      drop();
    },
    mend() {
      isCut = false;
    },
    close() {
      server.close();
      drop();
    },
  };
}
