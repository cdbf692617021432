// The messages of one session as far as they were read, kept up to date by what changes.
//
// What is read and what changes cross each other. A read gives how things stood at some moment after it began; so all changes since
// it began are kept, and applied again to what it gave. Each of them says how something is from then on, so that it does no harm
// where the read had it already. Reads of a session follow one another: then no older read comes after a newer one.

import { done, errorOf, type Result, type SyncError } from './errors.js';
import type { Content } from './live.js';
import { furthest, isOneMessage, isSame, keyOf, membersOf, messageOf, Receipts, withReaders, withStatus, type Message } from './message.js';
import { sessionOf, type Change, type Source, type StoredMessage } from './source.js';
import { Unsent } from './unsent.js';

/** What a message list shows at one moment. It is frozen. */
export interface MessagesSnapshot {
  /** Oldest first: the log in its order, then what failed, then what is queued in the order in which it was written. */
  readonly items: readonly Message[];
  /** Whether there are older messages on this device, which `loadOlder` brings. */
  readonly hasMore: boolean;
  /** Whether a page is being read, or the first one has not been asked for. */
  readonly isLoading: boolean;
  /** Why the last read failed. The next `subscribe` or `loadOlder` tries again. */
  readonly error?: SyncError;
}

/** What a list shows before anything was read, also on a server. */
export const NO_MESSAGES: MessagesSnapshot = Object.freeze({ items: Object.freeze([]), hasMore: false, isLoading: true });

/** Messages that were changed and lie within so many of each other are read again with one read. */
const REREAD_MESSAGES = 100;

export class Thread implements Content<MessagesSnapshot> {
  /** The part of the log that was read, oldest first. It has everything from `#from` on. */
  #log: Message[] = [];
  #from = Infinity;
  /** Where the messages of `#log` are: sequence numbers, by key. */
  readonly #places = new Map<string, number>();
  readonly #unsent = new Unsent();
  readonly #receipts = new Receipts();
  /** Keys of messages to read again. */
  readonly #stale = new Set<string>();
  /** Who wrote something here. */
  readonly #wallets = new Set<string>();
  /** What changed since the read under way began. */
  #journal: Change[] | null = null;
  /** Ends when all reads that were asked for have ended. */
  #reads: Promise<unknown> = Promise.resolve();
  #paging: Promise<Result<number>> | null = null;
  #isLoading = false;
  #isRereading = false;
  /** Whether the session changed while the first page was read, so that another try may succeed. */
  #isSessionNew = false;
  #pageError: SyncError | undefined;
  #rereadError: SyncError | undefined;
  #isOver = false;
  #snapshot = NO_MESSAGES;
  #isDirty = false;
  /** How those messages were in the last snapshot that may be others now, by key. */
  readonly #before = new Map<string, Message | undefined>();

  /** `changed` is called when there may be another snapshot. `limit` is the number of messages of a page, `first` of the first one, where it is more. */
  constructor(readonly source: Source, readonly sessionId: string, readonly limit: number, readonly changed: () => void, readonly first = 0) {}

  /** So many messages of the log were read. */
  get length(): number {
    return this.#log.length;
  }

  /** Reads the first page where it is not there, and what is to be read again. */
  start(): void {
    if (this.#from === Infinity) void this.load();
    this.#reread();
  }

  /** Reads the page before; the first one where there is none. While one is read, the same. */
  load(): Promise<Result<number>> {
    this.#reread();
    if (this.#paging) return this.#paging;
    if (this.#from === 0) return Promise.resolve(done(0));
    this.#isLoading = true;
    this.#dirty();
    this.#paging = this.#inTurn(() => this.#readPage()).finally(() => {
      this.#paging = null;
    });
    return this.#paging;
  }

  end(): void {
    this.#isOver = true;
  }

  take(change: Change): void {
    if (this.#isOver || sessionOf(change) !== this.sessionId) return;
    this.#journal?.push(change);
    if (this.#journal) this.#unsent.note(change);
    this.#apply(change);
    if (change.type === 'stale') this.#reread();
    this.#dirty();
  }

  snapshot(): MessagesSnapshot {
    if (!this.#isDirty) return this.#snapshot;
    this.#isDirty = false;
    this.#keepUnchanged();
    const last = this.#snapshot;
    const all = [...this.#log, ...this.#unsent];
    const items = all.length === last.items.length && all.every((message, place) => message === last.items[place]) ? last.items : Object.freeze(all);
    const hasMore = this.#hasMore;
    const error = this.#error;
    const isLoading = this.#isLoading || this.#from === Infinity && error === undefined;
    if (items !== last.items || hasMore !== last.hasMore || isLoading !== last.isLoading || error !== last.error) {
      this.#snapshot = Object.freeze({ items, hasMore, isLoading, ...(error && { error }) });
    }
    return this.#snapshot;
  }

  get #hasMore(): boolean {
    return this.#from > 0 && this.#from !== Infinity;
  }

  /** Why something could not be read that is still to be read. */
  get #error(): SyncError | undefined {
    return (this.#from > 0 ? this.#pageError : undefined) ?? (this.#stale.size > 0 ? this.#rereadError : undefined);
  }

  #dirty(): void {
    if (this.#isOver) return;
    this.#isDirty = true;
    this.changed();
  }

  /** What was changed and changed back, or told twice, is the same object again. */
  #keepUnchanged(): void {
    for (const [key, before] of this.#before) {
      const now = this.#find(key);
      if (before && now && now !== before && isSame(now, before)) this.#replace(key, before);
    }
    this.#before.clear();
  }

  // Reads.

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#reads.then(work);
    this.#reads = turn;
    return turn;
  }

  /** Reads; what changed meanwhile is applied once more when `take` has taken in what was read. */
  async #read<T>(ask: () => Promise<Result<T>>, take: (data: T) => void): Promise<Result<T>> {
    this.#journal = [];
    this.#unsent.beginRead();
    const result = await ask();
    const since = this.#journal;
    this.#journal = null;
    if (this.#isOver || !result.success) return result;
    take(result.data);
    for (const change of since) {
      if (change.type === 'message') this.#touch(keyOf(change.message.sender_wallet, change.message.id));
      this.#unsent.noteAgain(change);
      this.#apply(change);
    }
    this.#reread();
    this.#dirty();
    return result;
  }

  async #readPage(): Promise<Result<number>> {
    const isFirst = this.#from === Infinity;
    if (this.#isOver || this.#from === 0) return done(0);
    const { source, sessionId } = this;
    const before = isFirst ? undefined : this.#from;
    // With one more it is known whether there are more. All that is queued is part of the first page.
    const wanted = isFirst ? Math.max(this.limit, this.first) : this.limit;
    let limit = wanted + 1;
    if (isFirst) limit += source.sessions().find((session) => session.session_id === sessionId)?.queuedMessageCount ?? 0;
    for (;;) {
      let count = 0;
      let isCut = false;
      this.#isSessionNew = false;
      const result = await this.#read(() => source.storedMessages(sessionId, limit, before), (views) => {
        const logged = views.filter((view) => view.sequenceNumber !== undefined);
        // There may be more queued ones than were counted.
        isCut = views.length >= limit && logged.length <= wanted;
        if (isCut) limit += views.length;
        else count = this.#takePage(views, logged.slice(-wanted), logged.length > wanted, isFirst);
        this.#isLoading = isCut;
        this.#pageError = undefined;
      });
      if (this.#isOver) return done(0);
      if (result.success && !isCut) return done(count);
      if (result.success || this.#isSessionNew) continue;
      this.#isLoading = false;
      this.#pageError = result.error;
      this.#dirty();
      return result;
    }
  }

  #takePage(views: readonly StoredMessage[], page: readonly StoredMessage[], hasMore: boolean, isFirst: boolean): number {
    this.#from = hasMore ? page[0]?.sequenceNumber ?? 0 : 0;
    const before = this.#log.length + this.#unsent.size;
    // They are put at the end of an empty log, which is quicker than before a long one.
    const log = this.#log;
    this.#log = [];
    for (const view of page) if (!this.#places.has(keyOf(view.sender_wallet, view.id))) this.#put(view);
    this.#log = this.#log.concat(log);
    if (isFirst) {
      for (const message of this.#unsent) this.#touch(keyOf(message.senderWallet, message.id));
      this.#unsent.clear();
      for (const view of views) if (view.sequenceNumber === undefined) this.#put(view);
    }
    return this.#log.length + this.#unsent.size - before;
  }

  /** Reads again what is to be read again, one read after the other, until nothing is. */
  #reread(): void {
    if (this.#isRereading || this.#stale.size === 0 || this.#isOver) return;
    this.#isRereading = true;
    void this.#inTurn(() => this.#rereadAll()).finally(() => {
      this.#isRereading = false;
      this.#dirty();
    });
  }

  async #rereadAll(): Promise<void> {
    while (this.#stale.size > 0 && !this.#isOver) {
      const places = [...this.#stale].map((key) => this.#places.get(key)).filter((place) => place !== undefined).sort((one, other) => other - one);
      const newest = places[0];
      const result = newest === undefined ? await this.#rereadQueued() : await this.#rereadLogged(newest, places);
      if (!result.success) return;
    }
  }

  /** Reads the newest of some messages of the log, and as many before it as are near. */
  #rereadLogged(newest: number, places: readonly number[]): Promise<Result<unknown>> {
    const end = this.#indexOf(newest);
    const oldest = Math.min(...places.filter((place) => end - this.#indexOf(place) < REREAD_MESSAGES));
    const limit = end - this.#indexOf(oldest) + 1;
    const keys = this.#log.slice(end - limit + 1, end + 1).map((message) => keyOf(message.senderWallet, message.id)).filter((key) => this.#stale.delete(key));
    return this.#again(keys, () => this.source.storedMessages(this.sessionId, limit, newest + 1));
  }

  /** Reads one of those that are queued. */
  async #rereadQueued(): Promise<Result<unknown>> {
    for (const key of this.#stale) {
      this.#stale.delete(key);
      const message = this.#unsent.get(key);
      if (!message) continue;
      return this.#again([key], async () => {
        const result = await this.source.getMessage(message.id);
        // It may have been cancelled meanwhile.
        if (result.error?.code === 'UNKNOWN_MESSAGE') return done([]);
        return result.success ? done([result.data]) : result;
      });
    }
    return done(null);
  }

  async #again(keys: readonly string[], ask: () => Promise<Result<readonly StoredMessage[]>>): Promise<Result<unknown>> {
    const result = await this.#read(ask, (views) => {
      for (const view of views) {
        // Others that came with it are as new as what is shown, or newer.
        if (view.session_id === this.sessionId && this.#find(keyOf(view.sender_wallet, view.id))) this.#put(view);
      }
    });
    this.#rereadError = result.error;
    if (!result.success) for (const key of keys) this.#stale.add(key);
    this.#dirty();
    return result;
  }

  // Changes.

  #apply(change: Change): void {
    switch (change.type) {
      case 'message':
        this.#put(change.message);
        break;
      case 'stale':
        for (const wallet of this.#wallets) {
          const key = keyOf(wallet, change.messageId);
          if (this.#find(key)) this.#stale.add(key);
        }
        break;
      case 'status':
        this.#setStatus(change);
        break;
      case 'receipt':
        this.#raise(change);
        break;
      case 'removed':
        this.#touch(this.#ownKey(change.messageId));
        this.#unsent.delete(this.#ownKey(change.messageId));
        break;
      case 'cleared':
        for (const key of this.#places.keys()) this.#touch(key);
        this.#log = [];
        this.#places.clear();
        // Before the first page it is not known what is queued.
        if (this.#from !== Infinity) this.#from = 0;
        break;
      case 'session':
        this.#isSessionNew = true;
        this.#keepReaders();
        if (this.#from === Infinity) void this.load();
        break;
      case 'missed':
      case 'wallet':
        break;
    }
  }

  #put(view: StoredMessage): void {
    const message = this.#messageOf(view);
    const key = keyOf(message.senderWallet, message.id);
    const { sequenceNumber } = message;
    this.#touch(key);
    if (sequenceNumber === undefined) {
      this.#unsent.set(key, message);
      return;
    }
    const unsent = this.#unsent.get(key);
    if (unsent && isOneMessage(unsent, message)) this.#unsent.delete(key);
    const place = this.#places.get(key);
    if (place === sequenceNumber) {
      this.#log[this.#indexOf(place)] = message;
      return;
    }
    if (sequenceNumber < this.#from) return;
    this.#leaveLog(key);
    const index = this.#indexOf(sequenceNumber);
    if (index === this.#log.length) this.#log.push(message);
    else this.#log.splice(index, 0, message);
    this.#places.set(key, sequenceNumber);
  }

  #setStatus({ messageId, status, error }: Change & { type: 'status' }): void {
    const key = this.#ownKey(messageId);
    const message = this.#find(key);
    if (!message) return;
    const next = message.sequenceNumber === undefined ? status : furthest(message.status, status);
    if (next === message.status && !error) return;
    this.#touch(key);
    this.#replace(key, withStatus(message, next, error && errorOf(error)));
  }

  #raise(change: Change & { type: 'receipt' }): void {
    const own = this.source.wallet();
    const known = this.#receipts.take(change);
    const end = this.#indexOf(Math.max(change.through, change.allThrough) + 1);
    for (let index = this.#indexOf(known + 1); index < end; index += 1) {
      const message = this.#log[index];
      if (!message) continue;
      // Elsewhere than in a group, a message never comes back to what it was.
      if (message.readBy) this.#touch(keyOf(message.senderWallet, message.id));
      this.#log[index] = this.#receipts.raise(message, own);
    }
  }

  /** Of a group, who is in it may be otherwise. */
  #keepReaders(): void {
    const members = membersOf(this.source.sessions().find((session) => session.session_id === this.sessionId));
    if (!members) return;
    this.#receipts.keep(members);
    this.#log = this.#log.map((message) => {
      const kept = withReaders(message, members);
      if (kept !== message) this.#touch(keyOf(message.senderWallet, message.id));
      return kept;
    });
  }

  /** Takes a message out of the log, where it is there. */
  #leaveLog(key: string): void {
    const place = this.#places.get(key);
    if (place === undefined) return;
    this.#log.splice(this.#indexOf(place), 1);
    this.#places.delete(key);
  }

  // Finding.

  #messageOf(view: StoredMessage): Message {
    this.#wallets.add(view.sender_wallet);
    return this.#receipts.raise(messageOf(view, this.source.wallet()), this.source.wallet());
  }

  #ownKey(messageId: string): string {
    return keyOf(this.source.wallet() ?? '', messageId);
  }

  /** The message of a key: where the writer gave the same id twice, the one that is queued. */
  #find(key: string): Message | undefined {
    const place = this.#places.get(key);
    return this.#unsent.get(key) ?? (place === undefined ? undefined : this.#log[this.#indexOf(place)]);
  }

  /** Puts another object in the place of the one that `#find` gives. */
  #replace(key: string, message: Message): void {
    const place = this.#places.get(key);
    if (this.#unsent.get(key)) this.#unsent.set(key, message);
    else if (place !== undefined) this.#log[this.#indexOf(place)] = message;
  }

  #touch(key: string): void {
    if (!this.#before.has(key)) this.#before.set(key, this.#find(key));
  }

  /** Where a sequence number is in `#log`, or would be. */
  #indexOf(sequenceNumber: number): number {
    let [low, high] = [0, this.#log.length];
    // Most of what changes is at the end.
    if ((this.#log[high - 1]?.sequenceNumber ?? 0) < sequenceNumber) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#log[middle]?.sequenceNumber ?? 0) < sequenceNumber) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
