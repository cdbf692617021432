// A cable between a device and a relay that can be held at an exact byte, cut, or plugged into another relay.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** A cable to that port of this machine. Plug the device in at `endpoint`. */
export async function startWire(targetPort) {
  const wire = new Wire();
  wire.targetPort = targetPort;
  await wire.listen();
  return wire;
}

class Wire {
  #server = createServer((socket) => this.#join(socket));
  #sockets = new Set();
  #gates = { up: new Gate(), down: new Gate() };
  targetPort = 0;

  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get endpoint() {
    return `ws://127.0.0.1:${this.#server.address().port}/`;
  }

  /** Lets that many more bytes through (`up` to the relay, `down` to the device), then holds everything. Resolves when it holds something back. */
  holdAfter(direction, bytes) {
    return this.#gates[direction].holdAfter(bytes);
  }

  /** Lets everything through again, what was held back first. */
  release() {
    for (const gate of Object.values(this.#gates)) gate.release();
  }

  /** From now on nothing comes through the connections that are open, and neither end is told. New ones pass. */
  deaden() {
    for (const socket of this.#sockets) socket.removeAllListeners('data').removeAllListeners('close').resume();
  }

  /** Cuts every connection and forgets what was held back. New ones pass. */
  cut() {
    for (const gate of Object.values(this.#gates)) gate.forget();
    for (const socket of this.#sockets) socket.destroy();
  }

  close() {
    this.cut();
    this.#server.close();
  }

  #join(device) {
    const relay = connect(this.targetPort, '127.0.0.1');
    for (const [socket, other, gate] of [[device, relay, this.#gates.up], [relay, device, this.#gates.down]]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('data', (chunk) => gate.pass(other, chunk));
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }
}

/** One direction. */
class Gate {
  #bytesLeft = Infinity;
  #held = [];
  #onHold = null;

  holdAfter(bytes) {
    this.#bytesLeft = bytes;
    return new Promise((resolve) => {
      this.#onHold = resolve;
    });
  }

  pass(socket, chunk) {
    const passing = chunk.subarray(0, this.#bytesLeft);
    this.#bytesLeft -= passing.length;
    if (passing.length > 0) socket.write(passing);
    if (passing.length < chunk.length) {
      this.#held.push([socket, chunk.subarray(passing.length)]);
      this.#onHold?.();
    }
  }

  release() {
    const held = this.#held;
    this.forget();
    for (const [socket, chunk] of held) if (!socket.destroyed) socket.write(chunk);
  }

  forget() {
    this.#bytesLeft = Infinity;
    this.#held = [];
    this.#onHold = null;
  }
}
