// Numbered calls over a WebSocket, as the DevTools protocol and WebDriver BiDi have them.
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { within } from '../wait.mjs';

export async function connectRpc(address) {
  const socket = new WebSocket(address, { perMessageDeflate: false, maxPayload: 256 << 20 });
  await within('the browser takes the connection', once(socket, 'open'));
  return new Rpc(socket);
}

class Rpc {
  #socket;
  #count = 0;
  #calls = new Map();
  #listeners = new Set();

  constructor(socket) {
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('message', (data) => this.#take(JSON.parse(String(data))));
    socket.on('close', () => {
      for (const { reject, method } of this.#calls.values()) reject(new Error(`${method}: the browser is gone`));
      this.#calls.clear();
    });
  }

  /** Calls a method; `more` stands beside its name. */
  call(method, params = {}, more = {}) {
    return new Promise((resolve, reject) => {
      this.#count += 1;
      this.#calls.set(this.#count, { resolve, reject, method });
      this.#socket.send(JSON.stringify({ id: this.#count, method, params, ...more }), (error) => {
        if (error) reject(new Error(`${method}: the browser is gone`));
      });
    });
  }

  /** The first event from now on that `fits`. */
  event(fits) {
    return new Promise((resolve) => {
      const listener = (event) => {
        if (!fits(event)) return;
        this.#listeners.delete(listener);
        resolve(event);
      };
      this.#listeners.add(listener);
    });
  }

  #take(message) {
    if (message.id === undefined || message.id === null) {
      for (const listener of [...this.#listeners]) listener(message);
      return;
    }
    const call = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    const error = message.error?.message ?? (message.error && `${message.error}: ${message.message}`);
    if (error) call.reject(new Error(`${call.method}: ${error}`));
    else call.resolve(message.result);
  }
}
