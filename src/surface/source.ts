// What the live lists are told and what they may ask for. They decide nothing themselves: order, delivery and conflicts are the engine's.

import type { MessageStatus, MessageView, SdkError, SessionView } from '../solconnect_sync.js';
import type { Result } from './errors.js';

/** A message as the engine gives it. */
export type StoredMessage = MessageView & {
  /** Whether a version of it waits in the outbox. */
  readonly pendingEdit?: boolean;
  /** Of one that failed: why. */
  readonly error?: SdkError;
};

/** A session as the engine gives it. */
export type StoredSession = SessionView & {
  /** Up to which sequence number the own wallet has read. */
  readonly readThrough?: number;
  /** Whether it was started and not ended. */
  readonly isActive?: boolean;
  /** Where there are invitations: whether it is started, waits for an answer, or was ended. */
  readonly state?: SessionState;
};

/** Whether a session is started (`active`), waits to be accepted (`invited`) or was ended. */
export type SessionState = 'active' | 'invited' | 'ended';

/** One thing that changed, told after the commit that changed it, in the order of commits. */
export type Change =
  /**
   * A message is new or changed, and whole. One without a sequence number takes the place of the one without that has its id, or
   * comes last of those that failed or of those that wait behind them; one with it has its place in the log, and the one
   * without leaves.
   */
  | { readonly type: 'message'; readonly message: StoredMessage }
  /** Its text or its versions changed: it is to be read again. */
  | { readonly type: 'stale'; readonly sessionId: string; readonly messageId: string }
  /** An own message moved on. */
  | { readonly type: 'status'; readonly sessionId: string; readonly messageId: string; readonly status: MessageStatus; readonly error?: SdkError }
  /** `wallet` has everything through this sequence number, or has read it. */
  | { readonly type: 'receipt'; readonly sessionId: string; readonly wallet: string; readonly status: 'delivered' | 'read'; readonly through: number }
  /** The own message of this id that has no place in the log is no longer there. */
  | { readonly type: 'removed'; readonly sessionId: string; readonly messageId: string }
  /** The stored log was forgotten; what is queued stays. */
  | { readonly type: 'cleared'; readonly sessionId: string }
  /** A session began, ended, was invited, accepted or declined. */
  | { readonly type: 'session'; readonly sessionId: string }
  /** What was stored meanwhile was not told: what was read may lack it. */
  | { readonly type: 'missed' }
  /** Another wallet is connected, or none: nothing of the former one may be shown. */
  | { readonly type: 'wallet' };

/** The session that a change is about; `undefined` where it is about all. */
export const sessionOf = (change: Change): string | undefined =>
  change.type === 'message' ? change.message.session_id : 'sessionId' in change ? change.sessionId : undefined;

/** Where the lists come from: the SDK. Calls never reject. */
export interface Source {
  /** The last `limit` messages, oldest first: before a sequence number, or of all with the queued ones last. */
  storedMessages(sessionId: string, limit: number, beforeSequence?: number): Promise<Result<readonly StoredMessage[]>>;
  /** One message, by its id. */
  getMessage(messageId: string): Promise<Result<StoredMessage>>;
  /** The sessions of the connected wallet, also invitations and those that were ended. */
  sessions(): readonly StoredSession[];
  /** The address of the connected wallet; `null` where none is. */
  wallet(): string | null;
  /** Tells every change from now on. Returns the function that ends it. */
  onChange(handler: (change: Change) => void): () => void;
}
