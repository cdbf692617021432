// What of a session has no place in the log.

import { keyOf, type Message } from './message.js';
import type { Change } from './source.js';

/** The messages that failed, then those that wait, each in their order. A map keeps the order in which its keys came. */
export class Unsent implements Iterable<Message> {
  readonly #failed = new Map<string, Message>();
  readonly #waiting = new Map<string, Message>();
  /** Those changes since a read began that put a message at an end: applied again, they put it there again. */
  readonly #appended = new Set<Change>();

  get size(): number {
    return this.#failed.size + this.#waiting.size;
  }

  *[Symbol.iterator](): Iterator<Message> {
    yield* this.#failed.values();
    yield* this.#waiting.values();
  }

  get(key: string): Message | undefined {
    return this.#waiting.get(key) ?? this.#failed.get(key);
  }

  /** Puts a message in its own place, or at the end of those that failed or wait as it does. */
  set(key: string, message: Message): void {
    const [group, other] = message.status === 'failed' ? [this.#failed, this.#waiting] : [this.#waiting, this.#failed];
    other.delete(key);
    group.set(key, message);
  }

  delete(key: string): boolean {
    return this.#waiting.delete(key) || this.#failed.delete(key);
  }

  clear(): void {
    this.#failed.clear();
    this.#waiting.clear();
  }

  /** A read begins. */
  beginRead(): void {
    this.#appended.clear();
  }

  /** A change while something is read, before it is applied. */
  note(change: Change): void {
    if (change.type !== 'message' || change.message.sequenceNumber !== undefined) return;
    const { sender_wallet, id, status } = change.message;
    if (!(status === 'failed' ? this.#failed : this.#waiting).has(keyOf(sender_wallet, id))) this.#appended.add(change);
  }

  /** Before a change is applied again. */
  noteAgain(change: Change): void {
    if (change.type === 'message' && this.#appended.has(change)) this.delete(keyOf(change.message.sender_wallet, change.message.id));
  }
}
