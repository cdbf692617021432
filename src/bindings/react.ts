// solconnect-sync/react: the live lists as hooks, for React 18 and later.

import { useMemo, useSyncExternalStore, type DetailedHTMLProps, type HTMLAttributes } from 'react';
import type { ConversationsSnapshot } from '../surface/conversations.js';
import type { Result } from '../surface/errors.js';
import type { MessageListOptions, MessagesSnapshot } from '../surface/messages.js';
import { NO_CONVERSATIONS, NO_MESSAGES, NO_SESSION, type ConversationsSdk, type MessagesSdk, type StatusSdk } from './sdk.js';
import { IDLE, syncStateOf, type Live, type SyncState } from './sync-status.js';

import type { SolconnectSyncStatus, StatusTexts } from './status.js';

export type { SyncState } from './sync-status.js';

/** What `<solconnect-sync-status>` takes in JSX. React 19 sets `sdk` and `texts`; with React 18 set them in a `ref`. */
export type SyncStatusProps = DetailedHTMLProps<HTMLAttributes<SolconnectSyncStatus>, SolconnectSyncStatus> & {
  sdk?: StatusSdk | null | undefined;
  texts?: Partial<StatusTexts>;
};

// TypeScript finds it in JSX wherever this file is imported; `solconnect-sync/status` defines it.
declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      /** Says where syncing stands. */
      'solconnect-sync-status': SyncStatusProps;
    }
  }
}

/** What `useMessages` gives. */
export interface Messages extends MessagesSnapshot {
  /** Reads the page before. Resolves with the number of messages that came; calls while it is read share that read. */
  readonly loadOlder: () => Promise<Result<number>>;
}

const never = (): (() => void) => () => {};
const nothing = async (): Promise<Result<number>> => ({ success: true, data: 0 });

function useLive<T>(list: Live<T> | null | undefined, empty: T): T {
  const atFirst = (): T => empty;
  return useSyncExternalStore(list?.subscribe ?? never, list?.getSnapshot ?? atFirst, atFirst);
}

/**
 * The messages of a session, oldest first, and again whenever something changes. While there is no SDK, and on a server, it is
 * empty and loading; without a session it is empty. `limit` is the number of messages of a page, 1 to 1,000 [50].
 *
 * Errors: `error` says why the last read failed. Thrown while rendering: `INVALID_ARGUMENT` for a wrong option.
 *
 * @example
 * ```tsx
 * const { items, hasMore, loadOlder } = useMessages(sdk, sessionId);
 * return <>{hasMore && <button onClick={loadOlder}>Older</button>}{items.map((message) => <p key={message.id}>{message.text}</p>)}</>;
 * ```
 */
export function useMessages(sdk: MessagesSdk | null | undefined, sessionId: string | null | undefined, options?: MessageListOptions): Messages {
  const list = sdk && sessionId != null ? sdk.messages(sessionId, options) : null;
  const snapshot = useLive(list, sessionId == null ? NO_SESSION : NO_MESSAGES);
  return useMemo(() => ({ ...snapshot, loadOlder: list?.loadOlder ?? nothing }), [snapshot, list]);
}

/**
 * The conversations of the connected wallet, newest first, and again whenever something changes.
 *
 * @example
 * ```tsx
 * return useConversations(sdk).items.map(({ sessionId, peerWallet, unreadCount }) => <li key={sessionId}>{peerWallet} {unreadCount}</li>);
 * ```
 */
export function useConversations(sdk: ConversationsSdk | null | undefined): ConversationsSnapshot {
  return useLive(sdk?.conversations(), NO_CONVERSATIONS);
}

/**
 * Where syncing stands: the connection, what is queued, progress, conflicts, storage.
 *
 * @example
 * ```tsx
 * const { connection, queuedMessageCount } = useSyncStatus(sdk);
 * return <p>{connection === 'connected' ? 'Online' : `Offline, ${queuedMessageCount} waiting`}</p>;
 * ```
 */
export function useSyncStatus(sdk: StatusSdk | null | undefined): SyncState {
  return useLive(sdk && syncStateOf(sdk), IDLE);
}
