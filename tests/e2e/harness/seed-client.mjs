// A client of the seed's protocol: plain JSON frames, no subprotocol, none of our newer fields.
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { until, within } from './wait.mjs';

export class SeedClient {
  /** Every frame that the relay sent, in order. */
  frames = [];
  #socket;
  #count = 0;

  constructor(sessionId, deviceId) {
    this.sessionId = sessionId;
    this.deviceId = deviceId;
  }

  async connect(endpoint) {
    this.#socket = new WebSocket(endpoint);
    this.#socket.on('message', (data) => this.frames.push(JSON.parse(String(data))));
    await within('the seed client connects', once(this.#socket, 'open'));
  }

  /** Sends a frame with a type: what every one has, and these fields. */
  send(type, fields) {
    this.#count += 1;
    const head = { type, sessionId: this.sessionId, deviceId: this.deviceId, timestamp: Date.now(), messageId: `${this.deviceId}-${this.#count}` };
    this.sendRaw({ ...head, ...fields });
  }

  /** Sends a frame as it is; text goes unchanged. */
  sendRaw(frame) {
    this.#socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  announce() {
    this.send('device_announce', { deviceInfo: { platform: 'seed', version: '1.0.0' }, syncState: { lastSyncedSequence: 0, vectorClock: {} } });
  }

  /** The first frame, arrived or still to come, that fits. */
  frame(what, fits) {
    return until(`the relay sends ${what}`, () => this.frames.find(fits));
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  close() {
    this.#socket.close();
  }
}
