// The live list of a session's messages.

import { invalid, optionsOf, textOf } from './arguments.js';
import type { Result } from './errors.js';
import { Live, type LiveList } from './live.js';
import type { Source } from './source.js';
import { NO_MESSAGES, Thread, type MessagesSnapshot } from './thread.js';

export type { Message } from './message.js';
export { NO_MESSAGES, type MessagesSnapshot } from './thread.js';

/** Messages of a page where nothing else is asked for. */
const PAGE_MESSAGES = 50;

/** So many messages are read in a few milliseconds. */
const PAGE_MESSAGES_MAX = 1_000;

/** Options of `messages`. */
export interface MessageListOptions {
  /** How many messages of the log the first page and each further one have: 1 to 1,000 [50]. */
  readonly limit?: number;
}

/**
 * The messages of a session, own ones and those of others, as they are now: what is stored, what is queued, what arrives, edits,
 * deletions, statuses. Nothing is missing between two of them, and nothing is there twice.
 *
 * All who ask for the same session with the same options get the same list: it reads each page once however many listen.
 *
 * @example
 * ```ts
 * const list = sdk.messages(sessionId);
 * const end = list.subscribe(() => render(list.getSnapshot().items));
 * if (list.hasMore) await list.loadOlder();
 * ```
 */
export interface MessageList extends LiveList<MessagesSnapshot> {
  /**
   * Reads the page before what is there; the first page where there is none. Calls while a page is being read share that read.
   * Resolves with the number of messages that came: 0 at the beginning of what is stored.
   *
   * Errors: those of `getStoredMessages`. The list keeps what it has, tells the error in its snapshot, and may be asked again.
   */
  readonly loadOlder: () => Promise<Result<number>>;
  /** As in the snapshot. */
  readonly hasMore: boolean;
}

class Messages extends Live<MessagesSnapshot, Thread> implements MessageList {
  constructor(source: Source, readonly sessionId: string, readonly limit: number) {
    super(source, NO_MESSAGES);
  }

  protected make(changed: () => void, former: Thread | null): Thread {
    return new Thread(this.source, this.sessionId, this.limit, changed, former?.length);
  }

  get hasMore(): boolean {
    return this.getSnapshot().hasMore;
  }

  readonly loadOlder = (): Promise<Result<number>> => {
    const loaded = this.content().load();
    this.leaveSoon();
    return loaded;
  };
}

/** The message lists of an SDK: one for each session and number of messages, for as long as somebody holds or follows it. */
export class MessageLists {
  readonly #lists = new Map<string, WeakRef<Messages>>();
  readonly #gone = new FinalizationRegistry<string>((key) => {
    // Another one may have taken its place.
    if (!this.#lists.get(key)?.deref()) this.#lists.delete(key);
  });

  constructor(readonly source: Source) {}

  /** How many there are. */
  get size(): number {
    return this.#lists.size;
  }

  /**
   * The list of a session. Nothing is read before somebody listens.
   *
   * Errors, thrown: `INVALID_ARGUMENT`.
   */
  open(sessionId: string, options?: MessageListOptions): MessageList {
    const { limit = PAGE_MESSAGES } = optionsOf('options', options, ['limit']);
    if (typeof limit !== 'number' || !Number.isInteger(limit) || limit < 1 || limit > PAGE_MESSAGES_MAX) {
      throw invalid(`limit must be a whole number from 1 to ${PAGE_MESSAGES_MAX}`);
    }
    const key = `${limit} ${textOf('sessionId', sessionId)}`;
    let list = this.#lists.get(key)?.deref();
    if (!list) {
      list = new Messages(this.source, sessionId, limit);
      this.#lists.set(key, new WeakRef(list));
      this.#gone.register(list, key);
    }
    return list;
  }
}
