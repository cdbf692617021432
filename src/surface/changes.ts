// What changes in what is stored and shown, told to the live lists. The engine is asked to tell only while somebody listens.

import type { Port } from './port.js';
import type { Change } from './source.js';

export class Changes {
  #handlers = new Set<(change: Change) => void>();
  #engine: Port | null = null;

  /** Tells every change from now on. Returns what ends it. */
  add(handler: (change: Change) => void): () => void {
    this.#handlers.add(handler);
    this.#observe();
    return () => {
      this.#handlers.delete(handler);
      this.#observe();
    };
  }

  /** From now on changes come from this engine, or from none. */
  attach(engine: Port | null): void {
    this.#engine = engine;
    this.#observe();
  }

  /** Another wallet is connected, or none, or the one that is leaves soon. */
  tellWallet(): void {
    this.#tell({ type: 'wallet' });
  }

  #observe(): void {
    const engine = this.#engine;
    engine?.observe(this.#handlers.size > 0 ? (change: Change) => this.#engine === engine && this.#tell(change) : undefined);
  }

  #tell(change: Change): void {
    for (const handler of this.#handlers) handler(change);
  }
}
