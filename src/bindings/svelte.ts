// solconnect-sync/svelte: the live lists as readable stores, for Svelte 4 and 5.

import { readable, type Readable } from 'svelte/store';
import type { ConversationsSnapshot } from '../surface/conversations.js';
import type { Result } from '../surface/errors.js';
import type { MessageListOptions, MessagesSnapshot } from '../surface/messages.js';
import { NO_CONVERSATIONS, NO_MESSAGES, NO_SESSION, type ConversationsSdk, type MessagesSdk, type StatusSdk } from './sdk.js';
import { IDLE, syncStateOf, type Live, type SyncState } from './sync-status.js';

export type { SyncState } from './sync-status.js';

/** What `useMessages` gives. */
export interface Messages extends Readable<MessagesSnapshot> {
  /** Reads the page before. Resolves with the number of messages that came; calls while it is read share that read. */
  readonly loadOlder: () => Promise<Result<number>>;
}

const storeOf = <T>(list: Live<T> | null | undefined, empty: T): Readable<T> =>
  readable(empty, (set) => {
    // A component on a server subscribes too; nothing is read there.
    if (!list || typeof document === 'undefined') return;
    const end = list.subscribe(() => set(list.getSnapshot()));
    set(list.getSnapshot());
    return end;
  });

/**
 * The messages of a session, oldest first, as a store. While there is no SDK, and on a server, it is empty and loading; without a
 * session it is empty. `limit` is the number of messages of a page, 1 to 1,000 [50].
 *
 * Errors: the store's `error` says why the last read failed. Thrown: `INVALID_ARGUMENT` for a wrong option.
 *
 * @example
 * ```svelte
 * <script>
 *   let { sdk, sessionId } = $props();
 *   const messages = $derived(useMessages(sdk, sessionId));
 * </script>
 * {#each $messages.items as message (message.id)}<p>{message.text}</p>{/each}
 * ```
 */
export function useMessages(sdk: MessagesSdk | null | undefined, sessionId: string | null | undefined, options?: MessageListOptions): Messages {
  const list = sdk && sessionId != null ? sdk.messages(sessionId, options) : null;
  return { ...storeOf(list, sessionId == null ? NO_SESSION : NO_MESSAGES), loadOlder: async () => list?.loadOlder() ?? { success: true, data: 0 } };
}

/**
 * The conversations of the connected wallet, newest first, as a store.
 *
 * @example
 * ```svelte
 * {#each $conversations.items as { sessionId, peerWallet, unreadCount } (sessionId)}<li>{peerWallet} {unreadCount}</li>{/each}
 * ```
 */
export const useConversations = (sdk: ConversationsSdk | null | undefined): Readable<ConversationsSnapshot> => storeOf(sdk?.conversations(), NO_CONVERSATIONS);

/**
 * Where syncing stands, as a store: the connection, what is queued, progress, conflicts, storage.
 *
 * @example
 * ```svelte
 * <p>{$status.connection}, {$status.queuedMessageCount} waiting</p>
 * ```
 */
export const useSyncStatus = (sdk: StatusSdk | null | undefined): Readable<SyncState> => storeOf(sdk && syncStateOf(sdk), IDLE);
