// The live list of a wallet's sessions: of each the last message and how many are unread.
//
// The newest page of each session is read once, and as much before it as it takes to count the unread messages. From then on
// changes are enough. Where reads and changes cross, the same holds as for one session (thread.ts).

import type { Membership, MemberView, SessionKind } from '../solconnect_sync.js';
import { errorOf, type Result, type SyncError } from './errors.js';
import { Live, type Content, type LiveList } from './live.js';
import { furthest, isOneMessage, isSame, keyOf, membersOf, messageOf, Receipts, withReaders, withStatus, type Message } from './message.js';
import { sessionOf, type Change, type SessionState, type Source, type StoredMessage, type StoredSession } from './source.js';
import { Unsent } from './unsent.js';

/** One session, with another wallet or of a group. It is frozen: a change makes another object. */
export interface Conversation {
  /** The session. */
  readonly sessionId: string;
  /** The other wallet; of an invitation to a group the one that invites, and empty in a group. */
  readonly peerWallet: string;
  /** The newest message: of those that are queued the last one, otherwise the last one of the log; also one that was deleted. */
  readonly lastMessage?: Message;
  /** How many messages of others the wallet has not read; deleted ones do not count. 1,000 stands for 1,000 or more. */
  readonly unreadCount: number;
  /** Whether it is started, waits to be accepted, or was ended. */
  readonly state: SessionState;
  /** Whether it is a session of two wallets or a group. */
  readonly kind: SessionKind;
  /** What a group is called. */
  readonly name?: string;
  /** The wallets that are in it, as far as is known here; of an invitation to a group none are. */
  readonly members: readonly Readonly<MemberView>[];
  /** Whether this wallet is in it, has left it, or was removed. */
  readonly membership: Membership;
  /** How many own messages are not in the log yet. Those that failed do not count. */
  readonly queuedMessageCount: number;
}

/** What a conversation list shows at one moment. It is frozen. */
export interface ConversationsSnapshot {
  /** Newest first: by the time of the last message. Those without a message come last. */
  readonly items: readonly Conversation[];
  /** Whether there are sessions that were not read yet. They come into the list when they are. */
  readonly isLoading: boolean;
  /** Why a session could not be read. The next `subscribe` tries again. */
  readonly error?: SyncError;
}

/**
 * The sessions of the connected wallet, as they are now.
 *
 * @example
 * ```ts
 * const list = sdk.conversations();
 * const end = list.subscribe(() => {
 *   for (const { peerWallet, lastMessage, unreadCount } of list.getSnapshot().items) row(peerWallet, lastMessage?.text, unreadCount);
 * });
 * ```
 */
export interface ConversationList extends LiveList<ConversationsSnapshot> {}

/** What a list shows before anything was read, also on a server. */
export const NO_CONVERSATIONS: ConversationsSnapshot = Object.freeze({ items: Object.freeze([]), isLoading: true });

/** Unread messages are counted up to this number. */
const UNREAD_MAX = 1_000;

/** Sessions that are read at the same time: one waits for the disk while the others are worked on. */
const READS_MAX = 4;

/** One session of the list. */
class Row {
  /** The last message of the log. */
  #last: Message | undefined;
  readonly #unsent = new Unsent();
  /** Who wrote what was known here; also who is out of a group since. */
  readonly #writers = new Set<string>();
  /** The newest unread messages, at most `UNREAD_MAX` and deleted ones: their sequence numbers, by key, oldest first. */
  #unread = new Map<string, number>();
  /** Which of them are deleted: another version may win later. */
  readonly #deleted = new Set<string>();
  /** From here on all unread messages are known. */
  #from = Infinity;
  #readThrough: number;
  readonly #receipts = new Receipts();
  readonly #stale = new Map<string, StaleMessage>();
  #journal: Change[] | null = null;
  #shown: Conversation | null = null;
  #isDirty = true;
  #error: SyncError | undefined;

  constructor(readonly source: Source, public session: StoredSession) {
    this.#readThrough = session.readThrough ?? 0;
  }

  get isRead(): boolean {
    return this.#from !== Infinity;
  }

  /** Whether something is to be read. Of an invitation nothing is stored before it is accepted. */
  get isWaiting(): boolean {
    return !this.#isInvitation && (this.#isUncounted || this.#stale.size > 0);
  }

  /** Whether it can be shown. An accepted invitation stays while its messages are read. */
  get isKnown(): boolean {
    return this.isRead || this.#isInvitation || this.error !== undefined || this.#shown !== null;
  }

  get #isInvitation(): boolean {
    return this.session.state === 'invited';
  }

  /** Why something could not be read that is still to be read. */
  get error(): SyncError | undefined {
    return this.isWaiting ? this.#error : undefined;
  }

  /** Whether unread messages are not known that are to be counted. */
  get #isUncounted(): boolean {
    return this.#from > this.#readThrough + 1 && this.#unreadCount < UNREAD_MAX;
  }

  get #unreadCount(): number {
    return this.#unread.size - this.#deleted.size;
  }

  update(session: StoredSession): void {
    this.session = session;
    this.#readUpTo(session.readThrough ?? 0);
    const members = membersOf(session);
    if (members) this.#receipts.keep(members);
    if (members && this.#last) this.#last = withReaders(this.#last, members);
    this.#isDirty = true;
  }

  take(change: Change): void {
    if (this.#journal) {
      this.#journal.push(change);
      this.#unsent.note(change);
    }
    if (this.isRead || change.type === 'receipt') this.#apply(change);
  }

  conversation(): Conversation {
    if (this.#shown && !this.#isDirty) return this.#shown;
    this.#isDirty = false;
    let newest = this.#last;
    let queuedMessageCount = 0;
    for (const message of this.#unsent) {
      newest = message;
      if (message.status !== 'failed') queuedMessageCount += 1;
    }
    const before = this.#shown?.lastMessage;
    const lastMessage = before && isSame(before, newest) ? before : newest;
    const conversation: Conversation = Object.freeze({
      sessionId: this.session.session_id,
      peerWallet: this.session.peer_wallet,
      ...(lastMessage && { lastMessage }),
      unreadCount: this.#unreadCount,
      kind: this.session.kind ?? 'pair',
      ...(this.session.name !== undefined && { name: this.session.name }),
      members: Object.freeze((this.session.members ?? []).map((member) => Object.freeze({ ...member }))),
      membership: this.session.membership ?? 'member',
      state: this.session.state ?? (this.session.isActive === false ? 'ended' : 'active'),
      queuedMessageCount,
    });
    if (!this.#shown || !isSame(conversation, this.#shown)) this.#shown = conversation;
    return this.#shown;
  }

  // Reads.

  /** Reads what is to be read; ends at the first error. */
  async read(): Promise<void> {
    let result: Result<unknown> | null = null;
    while (this.isWaiting && !result?.error) {
      this.#journal = [];
      this.#unsent.beginRead();
      result = this.#isUncounted ? await this.#readNewest() : await this.#readStale();
      this.#journal = null;
    }
    this.#error = result?.error;
    this.#isDirty = true;
  }

  /** Reads from the newest message on, until the last one is known and all that are unread, or enough of them. */
  async #readNewest(): Promise<Result<unknown>> {
    const { session_id, lastSyncedSequence, queuedMessageCount } = this.session;
    let limit = Math.min(Math.max(lastSyncedSequence - this.#readThrough, 1), UNREAD_MAX) + queuedMessageCount;
    let before: number | undefined;
    let views: readonly StoredMessage[] = [];
    const unread = new Set<string>();
    for (;;) {
      const result = await this.source.storedMessages(session_id, limit, before);
      if (!result.success) return result;
      const isWhole = result.data.length < limit;
      const oldest = result.data.find((view) => view.sequenceNumber !== undefined)?.sequenceNumber;
      if (oldest === undefined && !isWhole) {
        // More are queued than were counted.
        limit *= 2;
        continue;
      }
      // Of the log only what counts is kept: it may be long, and none of it unread.
      const fresh = result.data.filter((view) => this.#isUnread(view));
      views = [...before === undefined ? result.data : fresh, ...views];
      for (const view of fresh) if (!view.deleted) unread.add(keyOf(view.sender_wallet, view.id));
      before = isWhole ? 0 : oldest ?? 0;
      if (before > this.#readThrough + 1 && unread.size < UNREAD_MAX) {
        limit = UNREAD_MAX;
        continue;
      }
      this.#last = undefined;
      this.#unsent.clear();
      this.#unread = new Map();
      this.#deleted.clear();
      this.#from = before;
      this.#takeRead(views);
      return result;
    }
  }

  /** Takes in what was read, and at once what changed meanwhile. */
  #takeRead(views: readonly StoredMessage[]): void {
    const since = this.#journal ?? [];
    this.#journal = null;
    for (const view of views) this.#put(view);
    for (const change of since) {
      this.#unsent.noteAgain(change);
      this.#apply(change);
    }
  }

  /** Reads one message again. */
  async #readStale(): Promise<Result<unknown>> {
    const [next] = this.#stale;
    if (!next) return { success: true, data: null };
    const [key, { id, sequenceNumber }] = next;
    this.#stale.delete(key);
    const result = sequenceNumber === undefined ? await this.source.getMessage(id) : await this.source.storedMessages(this.session.session_id, 1, sequenceNumber + 1);
    // It may have been cancelled meanwhile.
    if (result.error?.code === 'UNKNOWN_MESSAGE') return { success: true, data: null };
    if (!result.success) this.#stale.set(key, { id, sequenceNumber });
    else this.#takeRead([result.data].flat().filter((view) => this.#knows(keyOf(view.sender_wallet, view.id))));
    return result;
  }

  // Changes.

  #apply(change: Change): void {
    this.#isDirty = true;
    switch (change.type) {
      case 'message':
        this.#put(change.message);
        break;
      case 'stale':
        for (const wallet of this.#writers) {
          const key = keyOf(wallet, change.messageId);
          if (this.#knows(key)) this.#stale.set(key, { id: change.messageId, sequenceNumber: this.#placeOf(key) });
        }
        break;
      case 'status':
        this.#setStatus(change);
        break;
      case 'receipt':
        this.#receipts.take(change);
        if (this.#last) this.#last = this.#receipts.raise(this.#last, this.session.wallet);
        if (change.wallet === this.session.wallet && change.status === 'read') this.#readUpTo(change.through);
        break;
      case 'removed':
        this.#unsent.delete(this.#ownKey(change.messageId));
        break;
      case 'cleared':
        this.#last = undefined;
        this.#unread.clear();
        this.#deleted.clear();
        this.#from = 0;
        break;
      case 'session':
      case 'missed':
      case 'wallet':
        break;
    }
  }

  #put(view: StoredMessage): void {
    const message = this.#receipts.raise(messageOf(view, this.session.wallet), this.session.wallet);
    this.#writers.add(message.senderWallet);
    const key = keyOf(message.senderWallet, message.id);
    const { sequenceNumber } = message;
    if (sequenceNumber === undefined) {
      this.#unsent.set(key, message);
      return;
    }
    const unsent = this.#unsent.get(key);
    if (unsent && isOneMessage(unsent, message)) this.#unsent.delete(key);
    if (sequenceNumber >= (this.#last?.sequenceNumber ?? 0)) this.#last = message;
    if (!this.#isUnread(view) || sequenceNumber < this.#from) return;
    this.#unread.set(key, sequenceNumber);
    if (view.deleted) this.#deleted.add(key);
    else this.#deleted.delete(key);
    for (const oldest of this.#unread.keys()) {
      if (this.#unreadCount <= UNREAD_MAX) break;
      this.#forgetUnread(oldest);
      this.#from = this.#unread.values().next().value ?? 0;
    }
  }

  #forgetUnread(key: string): void {
    this.#unread.delete(key);
    this.#deleted.delete(key);
  }

  #isUnread({ sender_wallet, sequenceNumber }: StoredMessage): boolean {
    return sender_wallet !== this.session.wallet && sequenceNumber !== undefined && sequenceNumber > this.#readThrough;
  }

  #readUpTo(through: number): void {
    if (through <= this.#readThrough) return;
    this.#readThrough = through;
    for (const [key, sequenceNumber] of this.#unread) if (sequenceNumber <= through) this.#forgetUnread(key);
  }

  #setStatus({ messageId, status, error }: Change & { type: 'status' }): void {
    const key = this.#ownKey(messageId);
    const unsent = this.#unsent.get(key);
    if (unsent) this.#unsent.set(key, withStatus(unsent, status, error && errorOf(error)));
    else if (this.#last && keyOf(this.#last.senderWallet, this.#last.id) === key) {
      this.#last = withStatus(this.#last, furthest(this.#last.status, status), error && errorOf(error));
    }
  }

  #ownKey(messageId: string): string {
    return keyOf(this.session.wallet, messageId);
  }

  /** Where a message of the log is that is known here; `undefined` for one that is queued. */
  #placeOf(key: string): number | undefined {
    if (this.#unsent.get(key)) return undefined;
    return this.#isLast(key) ? this.#last?.sequenceNumber : this.#unread.get(key);
  }

  #knows(key: string): boolean {
    return this.#unsent.get(key) !== undefined || this.#unread.has(key) || this.#isLast(key);
  }

  #isLast(key: string): boolean {
    return this.#last !== undefined && keyOf(this.#last.senderWallet, this.#last.id) === key;
  }
}

interface StaleMessage {
  readonly id: string;
  readonly sequenceNumber: number | undefined;
}

/** The sessions of one wallet. */
class Inbox implements Content<ConversationsSnapshot> {
  #rows = new Map<string, Row>();
  /** Rows that wait to be read, and those that are being read. */
  readonly #waiting = new Set<Row>();
  readonly #reading = new Set<Row>();
  #isOver = false;
  #snapshot = NO_CONVERSATIONS;
  #isDirty = false;

  constructor(readonly source: Source, readonly changed: () => void) {}

  start(): void {
    this.#updateSessions();
    for (const row of this.#rows.values()) this.#want(row);
    this.#dirty();
  }

  take(change: Change): void {
    const sessionId = sessionOf(change);
    if (this.#isOver || sessionId === undefined) return;
    if (change.type === 'session' || !this.#rows.has(sessionId)) this.#updateSessions();
    const row = this.#rows.get(sessionId);
    if (!row) return;
    row.take(change);
    // What could not be read is tried again when it is asked for.
    if (!row.error) this.#want(row);
    this.#dirty();
  }

  end(): void {
    this.#isOver = true;
  }

  snapshot(): ConversationsSnapshot {
    if (!this.#isDirty) return this.#snapshot;
    this.#isDirty = false;
    const last = this.#snapshot;
    const rows = [...this.#rows.values()];
    const all = rows.filter((row) => row.isKnown).map((row) => row.conversation()).sort(newestFirst);
    const items = all.length === last.items.length && all.every((item, place) => item === last.items[place]) ? last.items : Object.freeze(all);
    const isLoading = rows.some((row) => !row.isKnown);
    const error = rows.find((row) => row.error)?.error;
    if (this.#snapshot === NO_CONVERSATIONS || items !== last.items || isLoading !== last.isLoading || error !== last.error) {
      this.#snapshot = Object.freeze({ items, isLoading, ...(error && { error }) });
    }
    return this.#snapshot;
  }

  #dirty(): void {
    if (this.#isOver) return;
    this.#isDirty = true;
    this.changed();
  }

  #updateSessions(): void {
    const rows = new Map<string, Row>();
    for (const session of this.source.sessions()) {
      const row = this.#rows.get(session.session_id) ?? new Row(this.source, session);
      row.update(session);
      rows.set(session.session_id, row);
      if (!row.error) this.#want(row);
    }
    for (const row of this.#waiting) if (rows.get(row.session.session_id) !== row) this.#waiting.delete(row);
    this.#rows = rows;
    this.#dirty();
  }

  #want(row: Row): void {
    if (!row.isWaiting || this.#reading.has(row)) return;
    this.#waiting.add(row);
    this.#readNext();
  }

  #readNext(): void {
    const [row] = this.#waiting;
    if (!row || this.#reading.size >= READS_MAX || this.#isOver) return;
    this.#waiting.delete(row);
    this.#reading.add(row);
    void row.read().finally(() => {
      this.#reading.delete(row);
      this.#dirty();
      this.#readNext();
    });
  }
}

const timeOf = ({ lastMessage }: Conversation): string => lastMessage?.timestamp ?? '';

/** Times are ISO 8601 in UTC: they are in the order of their texts. */
const newestFirst = (one: Conversation, other: Conversation): number =>
  timeOf(one) > timeOf(other) ? -1 : timeOf(one) < timeOf(other) ? 1 : one.sessionId < other.sessionId ? -1 : 1;

/** The conversation list of an SDK: one for all who ask. */
export class Conversations extends Live<ConversationsSnapshot, Inbox> implements ConversationList {
  constructor(source: Source) {
    super(source, NO_CONVERSATIONS);
  }

  protected make(changed: () => void): Inbox {
    return new Inbox(this.source, changed);
  }
}
