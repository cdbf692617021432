// An SDK for the bindings: the real lists over a model of the engine, and events by hand.
import { Conversations } from '../../src/surface/conversations.ts';
import { MessageLists } from '../../src/surface/messages.ts';
import { Model } from './lists-model.mjs';

export class ModelSdk {
  connection = 'connected';
  queued = 0;
  versions = 2;
  #handlers = new Map();

  constructor(...sessions) {
    this.model = new Model(...sessions);
    const [lists, conversations] = [new MessageLists(this.model), new Conversations(this.model)];
    this.messages = (...args) => lists.open(...args);
    this.conversations = () => conversations;
  }

  /** Without a connection no wallet is connected. */
  getConnectionStatus = () => (this.connection ? { success: true, data: this.connection } : { success: false, error: { code: 'WALLET_NOT_CONNECTED' } });
  getSyncStatus = () => ({ success: true, data: { queuedMessageCount: this.queued } });
  getMessage = async () => ({ success: true, data: { versions: Array(this.versions).fill({}) } });

  on(event, handler) {
    const handlers = this.#handlers.get(event) ?? new Set();
    this.#handlers.set(event, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  emit(event, value = {}) {
    for (const handler of [...(this.#handlers.get(event) ?? [])]) handler(value);
  }

  get handlerCount() {
    return [...this.#handlers.values()].reduce((sum, handlers) => sum + handlers.size, 0);
  }
}
