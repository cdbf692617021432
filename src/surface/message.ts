// One message as applications see it, and what makes two of them the same.

import type { MessageStatus, VersionView } from '../solconnect_sync.js';
import { errorOf, type SyncError } from './errors.js';
import type { Change, StoredMessage, StoredSession } from './source.js';

/**
 * A message of a live list. It is frozen: a change makes another object, and a message that did not change stays the same object.
 *
 * @example
 * ```ts
 * for (const { id, isOwn, text, deleted } of list.getSnapshot().items) show(id, isOwn, deleted ? 'deleted' : text);
 * ```
 */
export interface Message {
  /** Its id, which never changes. */
  readonly id: string;
  /** Its session. */
  readonly sessionId: string;
  /** Who wrote it. */
  readonly senderWallet: string;
  /** Whether the connected wallet wrote it, on this device or on another. */
  readonly isOwn: boolean;
  /** What to show: the text of the winning version, empty where it was deleted. Text, never HTML. */
  readonly text: string;
  /** A media type, where the writer gave one. */
  readonly contentType?: string;
  /** When, by the writer's clock, ISO 8601. */
  readonly timestamp: string;
  /** The device that wrote it. */
  readonly deviceId: string;
  /** Its place in the log; absent while it is queued. */
  readonly sequenceNumber?: number;
  /** What its device knew. */
  readonly vectorClock: Readonly<Record<string, number>>;
  /** How far it is. */
  readonly status: MessageStatus;
  /** Of an own message in a group: the members that have read it. It is `delivered`, and `read`, when all others have it. */
  readonly readBy?: readonly string[];
  /** With `failed`: why. */
  readonly error?: SyncError;
  /** Whether a later version is shown. */
  readonly edited: boolean;
  /** Whether the winning version deleted it. */
  readonly deleted: boolean;
  /** Whether an own version of it, an edit or its deletion, is not in the log yet. */
  readonly pendingEdit: boolean;
  /** Its versions, the winner first; more than one where they are in conflict. */
  readonly versions: readonly Readonly<VersionView>[];
  /** The same as `sessionId`. */
  readonly session_id: string;
  /** The same as `senderWallet`. */
  readonly sender_wallet: string;
  /** The same as `contentType`. */
  readonly content_type?: string;
}

/** A message of the engine as applications see it. */
export function messageOf(view: StoredMessage, wallet: string | null): Message {
  return Object.freeze({
    id: view.id,
    sessionId: view.session_id,
    senderWallet: view.sender_wallet,
    isOwn: view.sender_wallet === wallet,
    text: view.text,
    ...(view.content_type !== undefined && { contentType: view.content_type, content_type: view.content_type }),
    timestamp: view.timestamp,
    deviceId: view.deviceId,
    ...(view.sequenceNumber !== undefined && { sequenceNumber: view.sequenceNumber }),
    vectorClock: Object.freeze({ ...view.vectorClock }),
    status: view.status,
    ...(view.readBy && { readBy: readersOf(view.readBy) }),
    ...(view.error && { error: errorOf(view.error) }),
    edited: view.edited,
    deleted: view.deleted,
    pendingEdit: view.pendingEdit ?? false,
    versions: Object.freeze(view.versions.map((version) => Object.freeze({ ...version }))),
    session_id: view.session_id,
    sender_wallet: view.sender_wallet,
  });
}

/** In one order, however they became known: so a message that did not change is the same. */
const readersOf = (wallets: readonly string[]): readonly string[] => Object.freeze([...wallets].sort());

/** The same message with another status. */
export function withStatus(message: Message, status: MessageStatus, error?: SyncError): Message {
  if (!message.error && !error) return Object.freeze({ ...message, status });
  const { error: _, ...others } = message;
  return Object.freeze({ ...others, status, ...(error && { error }) });
}

/** Ids are the writers' own: two wallets may have given the same. */
export const keyOf = (wallet: string, id: string): string => `${wallet} ${id}`;

/** Whether the queued one is the one that came into the log, and not another to which its writer gave the same id elsewhere. */
export const isOneMessage = (queued: Message, logged: Message): boolean =>
  queued.deviceId === logged.deviceId || queued.text === logged.text || queued.edited || logged.edited;

/** In the log a message only moves on. */
const STEPS: readonly MessageStatus[] = ['sent', 'delivered', 'read'];

/** The later one of two statuses of a message in the log; `failed` stays. */
export const furthest = (one: MessageStatus, other: MessageStatus): MessageStatus =>
  other === 'failed' || STEPS.includes(one) && STEPS.indexOf(other) > STEPS.indexOf(one) ? other : one;

/** Whether two plain values say the same. */
export function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length
    && names.every((name) => Object.hasOwn(other, name) && isSame((one as { [name: string]: unknown })[name], (other as { [name: string]: unknown })[name]));
}

/** What a receipt says, as the engine tells it. */
type Receipt = Change & { type: 'receipt' };

/** How far the wallets of a session are, as receipts told. */
export class Receipts {
  readonly #wallets = new Map<string, Marks>();
  /** How far all other wallets are: what own messages go by. */
  readonly #all: Marks = { delivered: 0, read: 0 };

  /** Takes a receipt; returns the sequence number up to which all that it says was known already. */
  take({ wallet, status, through, allThrough }: Receipt): number {
    const known = this.#wallets.get(wallet) ?? { delivered: 0, read: 0 };
    this.#wallets.set(wallet, known);
    const before = Math.min(known[status], allThrough > this.#all[status] ? this.#all[status] : Infinity);
    known[status] = Math.max(known[status], through);
    this.#all[status] = Math.max(this.#all[status], allThrough);
    return before;
  }

  /** Who is out of a group counts for nothing in it. */
  keep(members: ReadonlySet<string>): void {
    for (const wallet of this.#wallets.keys()) if (!members.has(wallet)) this.#wallets.delete(wallet);
  }

  /** How far a message of the log is at least: an own one by what all others have, another one by what this wallet has. */
  raise(message: Message, own: string | null): Message {
    const { sequenceNumber, isOwn, readBy } = message;
    if (sequenceNumber === undefined) return message;
    const { delivered, read } = isOwn ? this.#all : this.#wallets.get(own ?? '') ?? { delivered: 0, read: 0 };
    let status = message.status;
    if (read >= sequenceNumber) status = furthest(status, 'read');
    else if (delivered >= sequenceNumber) status = furthest(status, 'delivered');
    const raised = status === message.status ? message : withStatus(message, status);
    if (!readBy) return raised;
    const others = [...this.#wallets].filter(([wallet, marks]) => wallet !== own && marks.read >= sequenceNumber && !readBy.includes(wallet));
    return others.length === 0 ? raised : Object.freeze({ ...raised, readBy: readersOf([...readBy, ...others.map(([wallet]) => wallet)]) });
  }
}

/** The wallets of a group; `null` for a session of two. */
export const membersOf = (session: StoredSession | undefined): ReadonlySet<string> | null =>
  session?.kind === 'group' ? new Set(session.members.map(({ wallet }) => wallet)) : null;

/** The message without readers that are none of these any more. */
export function withReaders(message: Message, members: ReadonlySet<string>): Message {
  const readBy = message.readBy?.filter((wallet) => members.has(wallet));
  return readBy?.length === message.readBy?.length ? message : Object.freeze({ ...message, ...(readBy && { readBy: Object.freeze(readBy) }) });
}

interface Marks {
  delivered: number;
  read: number;
}
