// What the live lists are told and what they may ask for. They decide nothing themselves: order, delivery and conflicts are the engine's.

import type { Change as EngineChange, MessageView, SdkError, SessionView } from '../solconnect_sync.js';
import type { Result } from './errors.js';

/** A message as the engine gives it; of one that failed, with the reason, which is never read back into the engine's own type. */
export type StoredMessage = MessageView & { readonly error?: SdkError };

/** A session as the engine gives it, or an invitation. */
export type StoredSession = SessionView & { readonly state: SessionState };

/** Whether a session is started (`active`), waits to be accepted (`invited`) or was ended. */
export type SessionState = 'active' | 'invited' | 'ended';

/** One thing that changed: what the engine tells, or that another wallet is connected, or none; then nothing of the former one may be shown. */
export type Change = EngineChange | { readonly type: 'wallet' };

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
