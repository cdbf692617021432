// What the bindings need of the SDK. They take anything that has it, so that applications can test against a stand-in.

import type { ConnectionState, SyncProgress } from '../solconnect_sync.js';
import type { ConversationsSnapshot } from '../surface/conversations.js';
import type { Result, SyncError } from '../surface/errors.js';
import type { LiveList } from '../surface/live.js';
import type { MessageList, MessageListOptions, MessagesSnapshot } from '../surface/messages.js';

/** What `useMessages` needs. */
export interface MessagesSdk {
  messages(sessionId: string, options?: MessageListOptions): MessageList;
}

/** What `useConversations` needs. */
export interface ConversationsSdk {
  conversations(): LiveList<ConversationsSnapshot>;
}

/** The events that `useSyncStatus` listens to. */
export interface StatusEvents {
  connectionChanged: { state: ConnectionState };
  signInNeeded: { error?: SyncError };
  queueChanged: { queuedMessageCount: number };
  syncStarted: { sessionId: string };
  syncProgress: { sessionId: string; progress: SyncProgress };
  syncCompleted: { sessionId: string };
  syncFailed: { sessionId: string };
  conflictDetected: { sessionId: string; conflicts: readonly { readonly kind: string; readonly messageId: string; readonly resolution?: string }[] };
  messageChanged: { sessionId: string; messageId: string };
  walletChanged: { address: string | null };
  tabChanged: { role: string; waitingCallCount: number };
  warning: { error: SyncError };
}

/** What `useSyncStatus` and `<solconnect-sync-status>` need. */
export interface StatusSdk {
  on<E extends keyof StatusEvents>(event: E, handler: (event: StatusEvents[E]) => void): () => void;
  getConnectionStatus(): Result<ConnectionState>;
  getSyncStatus(): Result<{ queuedMessageCount: number; signInNeeded?: string }>;
  getMessage(messageId: string): Promise<Result<{ readonly versions: readonly object[] }>>;
}

/** What there is to see before anything was read, and on a server. */
export const NO_MESSAGES: MessagesSnapshot = Object.freeze({ items: Object.freeze([]), hasMore: false, isLoading: true });
/** What there is to see of no session. */
export const NO_SESSION: MessagesSnapshot = Object.freeze({ ...NO_MESSAGES, isLoading: false });
export const NO_CONVERSATIONS: ConversationsSnapshot = Object.freeze({ items: Object.freeze([]), isLoading: true });
