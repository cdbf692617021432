// What a page does so that its service worker (sw.ts) delivers what is queued when no tab is open any more.

import type { ConnectionState } from '../solconnect_sync.js';
import type { Result } from '../surface/errors.js';
import { SYNC_TAG } from './sync-tag.js';

/** What `deliverAfterClosing` needs of the SDK. */
export interface BackgroundSdk {
  on(event: 'queueChanged' | 'connectionChanged', handler: () => void): () => void;
  getConnectionStatus(): Result<ConnectionState>;
  getSyncStatus(): Result<{ queuedMessageCount: number }>;
}

/** Of Background Sync, which is in no `lib` of TypeScript. */
interface SyncManager {
  register(tag: string): Promise<void>;
}

const watched = new WeakSet<BackgroundSdk>();

/**
 * From now on the browser is asked to wake this service worker when there is a network, whenever messages are left queued: when the
 * page is hidden or closed, and when they are written without a connection in a hidden page or without a network. The worker
 * delivers them (`deliverInBackground` of `solconnect-sync/sw`), also when no tab is open any more. A second call for the same SDK
 * does nothing.
 *
 * Resolves with whether this browser can: `false` where it has no Background Sync (Firefox, Safari) or a person has switched it
 * off. Then nothing happens, and what is queued goes out when the app is opened next. No errors; what the browser refuses later is
 * reported with `console.error`.
 *
 * @example
 * ```ts
 * const registration = await navigator.serviceWorker.register('/sw.js', { type: 'module' });
 * const isPossible = await deliverAfterClosing(sdk, registration);
 * ```
 */
export async function deliverAfterClosing(sdk: BackgroundSdk, registration: ServiceWorkerRegistration): Promise<boolean> {
  const { sync } = registration as { sync?: SyncManager };
  if (!sync) return false;
  const { state } = await navigator.permissions.query({ name: 'background-sync' as PermissionName });
  if (state === 'denied') return false;
  if (watched.has(sdk)) return true;
  watched.add(sdk);

  const isQueued = (): boolean => (sdk.getSyncStatus().data?.queuedMessageCount ?? 0) > 0;
  const isHidden = (): boolean => document.visibilityState === 'hidden';
  const ask = (): void => {
    activation(registration).then(() => sync.register(SYNC_TAG)).catch((thrown: unknown) => console.error(thrown));
  };
  // A page that is seen and has a network delivers by itself. Once for each such time: where the relay stays away, the browser would
  // wake the worker for nothing again and again.
  let wasLeft = false;
  const look = (): void => {
    const isLeft = isQueued() && sdk.getConnectionStatus().data !== 'connected' && (isHidden() || !navigator.onLine);
    if (isLeft && !wasLeft) ask();
    wasLeft = isLeft;
  };
  sdk.on('queueChanged', look);
  sdk.on('connectionChanged', look);
  addEventListener('offline', look);
  document.addEventListener('visibilitychange', () => {
    // It may be the last that this page hears.
    if (isHidden() && isQueued()) ask();
    wasLeft &&= isHidden();
  });
  look();
  return true;
}

/** A worker can be woken once it is activated; one that was just registered is not yet. */
function activation({ active, waiting, installing }: ServiceWorkerRegistration): Promise<void> {
  return new Promise((resolve) => {
    const worker = active ?? waiting ?? installing;
    const check = (): void => {
      if (!worker || ['activating', 'activated', 'redundant'].includes(worker.state)) resolve();
    };
    worker?.addEventListener('statechange', check);
    check();
  });
}
