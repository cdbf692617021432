// Who is told of arriving messages, from where on, over the lives of engines and over takeovers between tabs.

import type { EngineError, Subscription } from '../solconnect_sync.js';
import { invalid, textOf } from './arguments.js';
import type { Changes } from './changes.js';
import { adopt, errorOf, SyncError, unwrap } from './errors.js';
import type { Account } from './lifecycle.js';
import { type Message, messageOf } from './message.js';
import type { Port } from './port.js';
import { sessionOf } from './source.js';

/** Messages that are read at once where a subscription begins in the past. */
const PAGE_MESSAGES = 200;

/** Messages that a subscriber remembers to have been told: more than devices offer again of what a backup forgot, but for long ones. */
const TOLD_MAX = 1_000;

type EngineResult<T> = { success: true; data: T } | { success: false; error: EngineError };

class Subscriber {
  readonly wallet: string;
  readonly sessionId: string;
  readonly handler: (message: Message) => void;
  isEnded = false;
  /** The sequence number of the last one told. */
  position = 0;
  /** What is stored through this sequence number is not to be told. */
  start = 0;
  /** The last ones told: where the relay's log takes the place of the stored one, they come again at other places. */
  #told = new Set<string>();
  /** Ends what the engine was asked for. */
  leave: () => void = () => {};

  constructor(wallet: string, sessionId: string, handler: (message: Message) => void) {
    this.wallet = wallet;
    this.sessionId = sessionId;
    this.handler = handler;
  }

  tell(message: Message): void {
    const place = message.sequenceNumber ?? Infinity;
    if (this.isEnded || place <= this.position) return;
    this.position = message.sequenceNumber ?? this.position;
    const name = `${message.senderWallet} ${message.id}`;
    if (this.#told.has(name)) return;
    this.#told.add(name);
    const [oldest = name] = this.#told;
    if (this.#told.size > TOLD_MAX) this.#told.delete(oldest);
    try {
      this.handler(message);
    } catch (thrown) {
      console.error(thrown);
    }
  }
}

export class Subscriptions {
  #subscribers = new Set<Subscriber>();
  /** The one that runs: one that was freed may not be called. */
  #engine: Port | null = null;
  /** Counts how often all began to follow anew: what an earlier one hears comes too late. */
  #life = 0;
  /** Those whose session is not stored: what was stored of it is wiped. They hear it when it is started again. */
  #waiting = new Set<Subscriber>();
  #stopWaiting: (() => void) | null = null;
  #changes: Pick<Changes, 'add'>;
  #warn: (error: SyncError) => void;

  /** `changes` tell of sessions that are started; `warn` is told what goes wrong where nobody waits for it. */
  constructor(changes: Pick<Changes, 'add'>, warn: (error: SyncError) => void) {
    this.#changes = changes;
    this.#warn = warn;
  }

  /** Subscribes; resolves when the past is told as far as it was asked for. */
  async add(account: Account, sessionId: string, handler: (message: Message) => void, from: unknown): Promise<Subscription> {
    if (from !== 'now' && from !== 'stored' && !(Number.isSafeInteger(from) && (from as number) >= 0)) {
      throw invalid("from must be 'now', 'stored' or a sequence number");
    }
    const subscriber = new Subscriber(account.address, textOf('sessionId', sessionId), handler);
    for (let life = -1; life !== this.#life;) {
      life = this.#life;
      await this.#follow(account, subscriber, placeOf(subscriber) || (from === 'stored' ? 0 : (from as 'now' | number)));
      this.#checkRuns(account);
    }
    this.#subscribers.add(subscriber);
    return {
      unsubscribe: () => {
        subscriber.isEnded = true;
        this.#subscribers.delete(subscriber);
        this.#wait(subscriber, false);
        subscriber.leave();
      },
    };
  }

  /** Another engine runs, or other tabs' news were missed: those of its wallet hear it, and first what was stored since they heard the one before. */
  attach(account: Account | null): void {
    this.#engine = account?.engine ?? null;
    this.#life += 1;
    for (const subscriber of this.#subscribers) {
      this.#wait(subscriber, false);
      if (account?.address === subscriber.wallet) this.#resume(account, subscriber);
    }
  }

  /** What was stored of a session behind this place has left: other messages come to stand there. */
  goBack(sessionId: string, place: number): void {
    for (const subscriber of this.#subscribers) {
      if (subscriber.sessionId !== sessionId) continue;
      subscriber.position = Math.min(subscriber.position, place);
      subscriber.start = Math.min(subscriber.start, place);
    }
  }

  #resume(account: Account, subscriber: Subscriber): void {
    this.#follow(account, subscriber, placeOf(subscriber)).catch((thrown: unknown) => {
      const error = errorOf(thrown);
      // Where this engine has gone too, the next one tells it.
      if (this.#engine !== account.engine || subscriber.isEnded) return;
      if (error.code === 'UNKNOWN_SESSION') this.#wait(subscriber, account);
      else this.#warn(error);
    });
  }

  /** Has a subscriber wait for its session in an account, or no longer. */
  #wait(subscriber: Subscriber, account: Account | false): void {
    if (account) this.#waiting.add(subscriber);
    else this.#waiting.delete(subscriber);
    if (this.#waiting.size === 0) {
      this.#stopWaiting?.();
      this.#stopWaiting = null;
    } else if (account) {
      this.#stopWaiting ??= this.#changes.add((change) => {
        for (const one of [...this.#waiting]) {
          if (change.type !== 'missed' && sessionOf(change) !== one.sessionId) continue;
          this.#wait(one, false);
          this.#resume(account, one);
        }
      });
    }
  }

  #checkRuns({ engine }: Account): void {
    if (this.#engine !== engine) throw new SyncError('CALL_SUPERSEDED', 'the wallet was disconnected meanwhile');
  }

  /** Tells what is stored after a sequence number, and then what arrives. */
  async #follow(account: Account, subscriber: Subscriber, from: 'now' | number): Promise<void> {
    const { engine, address } = account;
    const life = this.#life;
    const ask = async <T>(call: () => EngineResult<T> | Promise<EngineResult<T>>): Promise<T> => {
      this.#checkRuns(account);
      return unwrap(adopt(await call()));
    };
    const { sessionId } = subscriber;
    // What arrives while the past is being read.
    let waiting: Message[] | null = from === 'now' ? null : [];
    subscriber.leave();
    const subscription = await ask(() => engine.subscribeToMessages(sessionId, (view) => {
      const message = messageOf(view, address);
      if (life !== this.#life) return;
      if (waiting) waiting.push(message);
      else subscriber.tell(message);
    }));
    const leave = (): void => subscription.unsubscribe();
    // It may have been ended meanwhile, or have begun anew.
    if (subscriber.isEnded || life !== this.#life) leave();
    else subscriber.leave = leave;
    try {
      const newest = (await ask(() => engine.getStoredMessages(sessionId, 1, Number.MAX_SAFE_INTEGER)))[0]?.sequenceNumber ?? 0;
      if (from === 'now') {
        subscriber.start = newest;
      } else {
        const own = await ask(() => engine.getDeviceId());
        subscriber.position = from;
        for (let place = from; place < newest && !subscriber.isEnded && life === this.#life; place += PAGE_MESSAGES) {
          // At most so many entries are behind `place`, so the last ones before its end are all of them.
          const page = await ask(() => engine.getStoredMessages(sessionId, PAGE_MESSAGES, place + PAGE_MESSAGES + 1));
          for (const view of page) {
            if (view.deviceId !== own && (view.sequenceNumber ?? 0) > place && life === this.#life) subscriber.tell(messageOf(view, address));
          }
        }
      }
      this.#checkRuns(account);
    } catch (thrown) {
      // Nobody subscribed, where the call that was to do it fails.
      if (!this.#subscribers.has(subscriber)) {
        subscriber.isEnded = true;
        subscriber.leave();
      }
      throw thrown;
    } finally {
      // What another engine heard is told with all that was stored before it.
      if (life === this.#life) for (const message of waiting ?? []) subscriber.tell(message);
      waiting = null;
    }
  }
}

/** The sequence number that it has heard all before. */
const placeOf = ({ position, start }: Subscriber): number => Math.max(position, start);
