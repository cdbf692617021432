// Who is told of arriving messages, from where on, over the lives of engines.

import type { Subscription } from '../solconnect_sync.js';
import { invalid, textOf } from './arguments.js';
import { adopt, unwrap } from './errors.js';
import type { Account } from './lifecycle.js';
import { type Message, messageOf } from './message.js';

/** Messages that are read at once where a subscription begins in the past. */
const PAGE_MESSAGES = 200;

class Subscriber {
  readonly wallet: string;
  readonly sessionId: string;
  readonly handler: (message: Message) => void;
  /** What arrives while the past is being read. `null`: nothing is. */
  waiting: Message[] | null = null;
  isEnded = false;
  /** The sequence number of the last one told. */
  position = 0;

  constructor(wallet: string, sessionId: string, handler: (message: Message) => void) {
    this.wallet = wallet;
    this.sessionId = sessionId;
    this.handler = handler;
  }

  tell(message: Message): void {
    const place = message.sequenceNumber ?? Infinity;
    if (this.isEnded || place <= this.position) return;
    this.position = message.sequenceNumber ?? this.position;
    try {
      this.handler(message);
    } catch (thrown) {
      console.error(thrown);
    }
  }
}

export class Subscriptions {
  #subscribers = new Set<Subscriber>();

  /** Subscribes; resolves when the past is told as far as it was asked for. */
  async add(account: Account, sessionId: string, handler: (message: Message) => void, from: unknown): Promise<Subscription> {
    if (from !== 'now' && from !== 'stored' && !(Number.isSafeInteger(from) && (from as number) >= 0)) {
      throw invalid("from must be 'now', 'stored' or a sequence number");
    }
    const subscriber = new Subscriber(account.address, textOf('sessionId', sessionId), handler);
    if (from !== 'now') subscriber.waiting = [];
    await this.#listen(account, subscriber);
    this.#subscribers.add(subscriber);
    const unsubscribe = (): void => {
      subscriber.isEnded = true;
      this.#subscribers.delete(subscriber);
    };
    try {
      if (subscriber.waiting) await this.#catchUp(account, subscriber, from === 'stored' ? 0 : (from as number));
    } catch (thrown) {
      unsubscribe();
      throw thrown;
    }
    return { unsubscribe };
  }

  /** Another engine runs: those of its wallet hear it. */
  attach(account: Account | null): void {
    for (const subscriber of this.#subscribers) {
      if (account?.address === subscriber.wallet) void this.#listen(account, subscriber).catch(() => this.#subscribers.delete(subscriber));
    }
  }

  async #listen({ engine, address }: Account, subscriber: Subscriber): Promise<void> {
    const subscription = unwrap(adopt(await engine.subscribeToMessages(subscriber.sessionId, (view) => {
      if (subscriber.isEnded) return subscription.unsubscribe();
      const message = messageOf(view, address);
      if (subscriber.waiting) subscriber.waiting.push(message);
      else subscriber.tell(message);
    })));
  }

  /** Tells what is stored after a sequence number, then what arrived meanwhile. */
  async #catchUp({ engine, address }: Account, subscriber: Subscriber, from: number): Promise<void> {
    const own = unwrap(adopt(engine.getDeviceId()));
    const newest = unwrap(adopt(await engine.getStoredMessages(subscriber.sessionId, 1, Number.MAX_SAFE_INTEGER)));
    const end = newest[0]?.sequenceNumber ?? 0;
    subscriber.position = from;
    for (let place = from; place < end && !subscriber.isEnded; place += PAGE_MESSAGES) {
      // At most so many entries are behind `place`, so the last ones before its end are all of them.
      const page = unwrap(adopt(await engine.getStoredMessages(subscriber.sessionId, PAGE_MESSAGES, place + PAGE_MESSAGES + 1)));
      for (const view of page) {
        if (view.deviceId !== own && (view.sequenceNumber ?? 0) > place) subscriber.tell(messageOf(view, address));
      }
    }
    for (const message of subscriber.waiting ?? []) subscriber.tell(message);
    subscriber.waiting = null;
  }
}
