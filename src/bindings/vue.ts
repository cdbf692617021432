// solconnect-sync/vue: the live lists as composables, for Vue 3.3 and later.

import { computed, shallowRef, toRaw, toValue, watch, type ComputedRef, type MaybeRefOrGetter, type ShallowRef } from 'vue';
import type { Conversation, ConversationsSnapshot } from '../surface/conversations.js';
import type { Result, SyncError } from '../surface/errors.js';
import type { Message, MessageListOptions } from '../surface/messages.js';
import { NO_CONVERSATIONS, NO_MESSAGES, NO_SESSION, type ConversationsSdk, type MessagesSdk, type StatusSdk } from './sdk.js';
import { IDLE, syncStateOf, type Live, type SyncState } from './sync-status.js';

export type { SyncState } from './sync-status.js';

/** What `useMessages` gives. */
export interface Messages {
  /** Oldest first, then what is queued. */
  readonly items: ComputedRef<readonly Message[]>;
  /** Whether `loadOlder` brings more. */
  readonly hasMore: ComputedRef<boolean>;
  readonly isLoading: ComputedRef<boolean>;
  /** Why the last read failed. */
  readonly error: ComputedRef<SyncError | undefined>;
  /** Reads the page before. Resolves with the number of messages that came; calls while it is read share that read. */
  readonly loadOlder: () => Promise<Result<number>>;
}

/** What `useConversations` gives. */
export interface Conversations {
  /** Newest first. */
  readonly items: ComputedRef<readonly Conversation[]>;
  readonly isLoading: ComputedRef<boolean>;
  /** Why a session could not be read. */
  readonly error: ComputedRef<SyncError | undefined>;
}

// An SDK in a `ref` would be a proxy, which has none of its private fields.
const raw = <T>(value: MaybeRefOrGetter<T>): T => toRaw(toValue(value));

function useLive<T>(list: () => Live<T> | null | undefined, empty: () => T): ShallowRef<T> {
  const snapshot = shallowRef(empty()) as ShallowRef<T>;
  // On a server nothing is read.
  if (typeof document === 'undefined') return snapshot;
  // Both: without a list, what there is to see may be something else for another reason.
  watch([list, empty], ([list, empty], _, onCleanup) => {
    const update = (): void => {
      snapshot.value = (list as Live<T> | null | undefined)?.getSnapshot() ?? (empty as T);
    };
    if (list) onCleanup(list.subscribe(update));
    update();
  }, { immediate: true, flush: 'sync' });
  return snapshot;
}

/**
 * The messages of a session, oldest first, as they are now. Each argument may be a value, a ref or a getter. While there is no
 * SDK, and on a server, the list is empty and loading; without a session it is empty. `limit` is the number of messages of a page,
 * 1 to 1,000 [50].
 *
 * @example
 * ```ts
 * const { items, hasMore, loadOlder } = useMessages(sdk, () => props.sessionId);
 * ```
 */
export function useMessages(
  sdk: MaybeRefOrGetter<MessagesSdk | null | undefined>, sessionId: MaybeRefOrGetter<string | null | undefined>, options?: MaybeRefOrGetter<MessageListOptions | undefined>,
): Messages {
  const list = computed(() => {
    const [from, id] = [raw(sdk), toValue(sessionId)];
    return from && id != null ? from.messages(id, toRaw(toValue(options))) : null;
  });
  const snapshot = useLive(() => list.value, () => (toValue(sessionId) == null ? NO_SESSION : NO_MESSAGES));
  return {
    items: computed(() => snapshot.value.items),
    hasMore: computed(() => snapshot.value.hasMore),
    isLoading: computed(() => snapshot.value.isLoading),
    error: computed(() => snapshot.value.error),
    loadOlder: async () => list.value?.loadOlder() ?? { success: true, data: 0 },
  };
}

/**
 * The conversations of the connected wallet, newest first, as they are now.
 *
 * @example
 * ```ts
 * const { items } = useConversations(sdk);
 * ```
 */
export function useConversations(sdk: MaybeRefOrGetter<ConversationsSdk | null | undefined>): Conversations {
  const snapshot = useLive<ConversationsSnapshot>(() => raw(sdk)?.conversations(), () => NO_CONVERSATIONS);
  return {
    items: computed(() => snapshot.value.items),
    isLoading: computed(() => snapshot.value.isLoading),
    error: computed(() => snapshot.value.error),
  };
}

/**
 * Where syncing stands: the connection, what is queued, progress, conflicts, storage.
 *
 * @example
 * ```ts
 * const status = useSyncStatus(sdk); // status.value.connection
 * ```
 */
export function useSyncStatus(sdk: MaybeRefOrGetter<StatusSdk | null | undefined>): Readonly<ShallowRef<SyncState>> {
  return useLive(() => {
    const from = raw(sdk);
    return from && syncStateOf(from);
  }, () => IDLE);
}
