// Where syncing stands, as one value that changes.

import type { ConnectionState, SyncProgress } from '../solconnect_sync.js';
import type { SyncError } from '../surface/errors.js';
import type { LiveList } from '../surface/live.js';
import type { StatusEvents, StatusSdk } from './sdk.js';

/** Where syncing stands at one moment. It is frozen. */
export interface SyncState {
  /** Whether no wallet is connected, or it must sign before the relay serves this device (`signIn`). */
  readonly isSignedOut: boolean;
  /** The connection to the relay. */
  readonly connection: ConnectionState;
  /** Whether some session is being synced. */
  readonly isSyncing: boolean;
  /** While it is known how much there is to sync: how far all sessions are together. */
  readonly progress?: Readonly<SyncProgress>;
  /** Own messages that the relay does not have yet. */
  readonly queuedMessageCount: number;
  /** Messages whose versions are in conflict and wait for `resolveConflict`. */
  readonly conflictCount: number;
  /** What is wrong with the storage of this device, until a sync succeeds. */
  readonly storageError?: SyncError;
  /** While another tab keeps the storage: calls of this one that wait in its memory. */
  readonly waitingCallCount?: number;
}

/** The state before there is an SDK, and on a server. */
export const IDLE: SyncState = Object.freeze({ isSignedOut: true, connection: 'offline', isSyncing: false, queuedMessageCount: 0, conflictCount: 0 });

/** What a live value of the bindings has. */
export type Live<T> = Pick<LiveList<T>, 'subscribe' | 'getSnapshot'>;

const states = new WeakMap<StatusSdk, Live<SyncState>>();

/** The state of an SDK: one for all who ask. It listens to the SDK while somebody listens to it. */
export function syncStateOf(sdk: StatusSdk): Live<SyncState> {
  let state = states.get(sdk);
  if (!state) states.set(sdk, state = makeState(sdk));
  return state;
}

function makeState(sdk: StatusSdk): Live<SyncState> {
  const listeners = new Set<{ readonly listener: () => void }>();
  const syncs = new Map<string, SyncProgress | null>();
  const conflicts = new Set<string>();
  let storageError: SyncError | undefined;
  let waitingCallCount = 0;
  let ends: (() => void)[] = [];
  let snapshot = IDLE;
  let told = IDLE;
  let isTelling = false;

  const read = (): SyncState => {
    const { data: connection = 'offline', success: isSignedIn } = sdk.getConnectionStatus();
    const { queuedMessageCount = 0, signInNeeded } = sdk.getSyncStatus().data ?? {};
    const known = [...syncs.values()].filter((one) => one !== null);
    const sum = (name: keyof SyncProgress): number => known.reduce((total, one) => total + one[name], 0);
    const progress = sum('totalMessages') > 0 ? { messagesSynced: sum('messagesSynced'), totalMessages: sum('totalMessages') } : undefined;
    const state = {
      isSignedOut: !isSignedIn || signInNeeded !== undefined, connection, isSyncing: syncs.size > 0, queuedMessageCount, conflictCount: conflicts.size, ...(progress && { progress }), ...(storageError && { storageError }),
      ...(waitingCallCount > 0 && { waitingCallCount }),
    };
    const isSame = JSON.stringify({ ...state, storageError: 0 }) === JSON.stringify({ ...snapshot, storageError: 0 }) && state.storageError === snapshot.storageError;
    return isSame ? snapshot : Object.freeze(state);
  };

  const update = (): void => {
    if (isTelling) return;
    isTelling = true;
    // Many events are told in one turn.
    queueMicrotask(() => {
      isTelling = false;
      snapshot = read();
      if (snapshot === told) return;
      told = snapshot;
      for (const entry of [...listeners]) {
        if (!listeners.has(entry)) continue;
        try {
          entry.listener();
        } catch (thrown) {
          console.error(thrown);
        }
      }
    });
  };

  const on = <E extends keyof StatusEvents>(event: E, take: (event: StatusEvents[E]) => void): void => {
    ends.push(sdk.on(event, (told) => {
      take(told);
      update();
    }));
  };

  const start = (): void => {
    on('connectionChanged', () => {});
    on('signInNeeded', () => {});
    on('queueChanged', () => {});
    on('syncStarted', ({ sessionId }) => syncs.set(sessionId, null));
    on('syncProgress', ({ sessionId, progress }) => syncs.set(sessionId, progress));
    on('syncFailed', ({ sessionId }) => syncs.delete(sessionId));
    on('syncCompleted', ({ sessionId }) => {
      syncs.delete(sessionId);
      storageError = undefined;
    });
    on('conflictDetected', (event) => {
      for (const { kind, messageId, resolution } of event.conflicts) if (kind === 'concurrent_versions' && resolution === undefined) conflicts.add(messageId);
    });
    on('messageChanged', async ({ messageId }) => {
      if (!conflicts.has(messageId)) return;
      const message = await sdk.getMessage(messageId);
      if (message.success && message.data.versions.length > 1) return;
      conflicts.delete(messageId);
      update();
    });
    on('walletChanged', forget);
    on('tabChanged', ({ role, waitingCallCount: count }) => {
      waitingCallCount = role === 'blocked' ? count : 0;
      if (role !== 'blocked' && storageError?.code === 'STORAGE_BLOCKED') storageError = undefined;
    });
    on('warning', ({ error }) => {
      if (error.code.startsWith('STORAGE_')) storageError = error;
    });
  };

  const forget = (): void => {
    syncs.clear();
    conflicts.clear();
    storageError = undefined;
    waitingCallCount = 0;
  };

  return {
    subscribe: (listener) => {
      const entry = { listener };
      listeners.add(entry);
      if (ends.length === 0) start();
      update();
      return () => {
        if (!listeners.delete(entry) || listeners.size > 0) return;
        for (const end of ends) end();
        ends = [];
        // What nobody follows is not known.
        forget();
      };
    },
    getSnapshot: () => snapshot = read(),
  };
}
