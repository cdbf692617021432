// A transport that an application can use as it is, or as an example of its own.

import type { SyncFrame, SyncTransport } from '../solconnect_sync.js';
import { functionOf, invalid } from './arguments.js';
import { describe, SyncError } from './errors.js';

/** The WebSocket subprotocol of frames in JSON. */
const SUBPROTOCOL = 'solconnect.sync.v1.json';

/**
 * A `SyncTransport` over a WebSocket to a relay, with frames in JSON.
 *
 * @example
 * ```ts
 * const transport = new WebSocketSyncTransport('wss://relay.example.org');
 * await transport.connect();
 * ```
 */
export class WebSocketSyncTransport implements SyncTransport {
  #url: string;
  #socket: WebSocket | null = null;
  #connecting: Promise<void> | null = null;
  #handler: (frame: SyncFrame) => void = () => {};

  /**
   * One that is not connected.
   *
   * Errors, thrown: `INVALID_ARGUMENT` where `url` is no ws:// or wss:// URL.
   */
  constructor(url: string) {
    if (typeof url !== 'string' || !URL.canParse(url) || !/^wss?:$/.test(new URL(url).protocol)) {
      throw invalid("the relay's address must be a ws:// or wss:// URL");
    }
    this.#url = url;
  }

  /**
   * Resolves when it is connected.
   *
   * Errors, rejected with: `CONNECTION_FAILED`.
   */
  connect(): Promise<void> {
    this.#connecting ??= new Promise((resolve, reject) => {
      const failed = (message: string, cause?: unknown): void => reject(new SyncError('CONNECTION_FAILED', message, { cause }));
      try {
        const socket = new WebSocket(this.#url, SUBPROTOCOL);
        this.#socket = socket;
        socket.onopen = () => resolve();
        socket.onmessage = ({ data }) => this.#hear(data);
        socket.onclose = ({ code, reason }) => {
          if (this.#socket === socket) this.#forget();
          failed(`the socket closed with code ${code} ${reason}`);
        };
      } catch (thrown) {
        failed(`the socket could not be opened: ${describe(thrown)}`, thrown);
      }
    });
    return this.#connecting;
  }

  /** Closes the connection; also where there is none. No errors. */
  disconnect(): void {
    const socket = this.#socket;
    this.#forget();
    socket?.close();
  }

  #forget(): void {
    this.#socket = null;
    this.#connecting = null;
  }

  /** Whether a frame can be sent now. No errors. */
  isConnected(): boolean {
    return this.#socket?.readyState === 1;
  }

  /**
   * Registers the one handler of arriving frames.
   *
   * Errors, thrown: `INVALID_ARGUMENT` for a handler that is no function.
   */
  onSyncMessage(handler: (frame: SyncFrame) => void): void {
    this.#handler = functionOf('the handler', handler);
  }

  /**
   * Sends a frame.
   *
   * Errors, thrown: `RELAY_DISCONNECTED` where there is no connection, `INVALID_ARGUMENT` for what JSON cannot say.
   */
  sendSyncMessage(frame: SyncFrame): void {
    let text: string | undefined;
    try {
      text = JSON.stringify(frame);
    } catch (thrown) {
      throw invalid(`the frame cannot be written as JSON: ${describe(thrown)}`, thrown);
    }
    if (text === undefined) throw invalid('a frame is an object');
    if (!this.isConnected()) throw new SyncError('RELAY_DISCONNECTED', 'there is no connection');
    this.#socket?.send(text);
  }

  /** What is no JSON is ignored, as is a handler's exception, which is reported. */
  #hear(data: unknown): void {
    try {
      this.#handler(JSON.parse(String(data)) as SyncFrame);
    } catch (thrown) {
      console.error(thrown);
    }
  }
}
