// The part of an application's service worker that delivers what its tabs left queued: one more tab, which nobody sees.

import { walletAddress, type SdkConfig } from '../solconnect_sync.js';
import { abortable, invalid } from '../surface/arguments.js';
import { checkEnvironment, type Config, configOf } from '../surface/config.js';
import { Directory } from '../surface/directory.js';
import { adopt, unwrap } from '../surface/errors.js';
import { checkValues } from '../surface/lifecycle.js';
import { type InitOptions, load, loadVault } from '../surface/load.js';
import { Port } from '../surface/port.js';
import { SYNC_TAG } from './sync-tag.js';

/**
 * The options of the page's SDK, the same as there, and where the wasm comes from, where it is not the files `solconnect_sync_bg.wasm`
 * and, for encrypted sessions, `vault/solconnect_sync_vault_bg.wasm` beside the worker's code.
 */
export interface BackgroundConfig extends Omit<SdkConfig, 'transport' | 'startOffline'>, Pick<InitOptions, 'wasmUrl' | 'module' | 'bytes' | 'vaultBytes'> {}

interface ServiceWorkerScope {
  readonly registration?: object;
  addEventListener(name: 'sync', handle: (event: { readonly tag: string; waitUntil(work: Promise<unknown>): void }) => void): void;
}

/** Chromium ends the work for an event after 180 seconds (P30). Closing needs a moment. */
const DELIVERY_MS_MAX = 150_000;

const WASM_OPTIONS = ['wasmUrl', 'module', 'bytes', 'vaultBytes'] as const;

/**
 * Delivers what is queued of the wallet of the last visit when the browser wakes this service worker, which pages ask for with
 * `deliverAfterClosing`. Call it when the worker's script runs, not later. The wasm is loaded when there is something to deliver.
 *
 * The worker is one more tab. Where a tab of the wallet is open, that one delivers, and the worker only waits for it: each message is
 * delivered once. What takes longer than 150 seconds, or fails, is left to the browser's next try, and to the next visit.
 *
 * Returns whether this browser has Background Sync: `false` in Firefox and Safari, where nothing happens.
 *
 * Errors, thrown: `INVALID_ARGUMENT`, naming the option, or where this is no service worker.
 *
 * @example
 * ```ts
 * import { deliverInBackground } from 'solconnect-sync/sw';
 * deliverInBackground({ relayEndpoint: 'wss://relay.example.org', domains: ['chat.example.org'] });
 * ```
 */
export function deliverInBackground(options?: BackgroundConfig): boolean {
  const { config, rest } = configOf(options, WASM_OPTIONS);
  if (config.transport) throw invalid('a service worker has no transport of the application');
  const scope = globalThis as unknown as ServiceWorkerScope;
  if (!scope.registration) throw invalid('deliverInBackground() is for service workers; pages call deliverAfterClosing()');
  scope.addEventListener('sync', (event) => {
    if (event.tag === SYNC_TAG) event.waitUntil(deliver(config, rest));
  });
  return 'sync' in scope.registration;
}

/** Rejects where something is left: then the browser tries again later. */
async function deliver(config: Config, wasm: InitOptions): Promise<void> {
  const signal = AbortSignal.timeout(DELIVERY_MS_MAX);
  checkEnvironment(config);
  await abortable(load(wasm), signal);
  if (config.encryption === 'required') await abortable(loadVault(), signal);
  checkValues(config);
  const last = await abortable(new Directory(config.databaseName, walletAddress).last(), signal);
  // It was logged out: what is queued waits for it to come back.
  if (!last) return;
  // Only a page can ask for what locks and unlocks it, and delivers then. Who owned it here unlocked would have a page believe that it is locked.
  if (config.lockWith) return;
  const port: Port = new Port(config, last.address, false, {
    tabChanged: () => {},
    warn: (error) => console.warn(error),
    renewed: () => {},
    // It was logged out, or a tab is there that could not follow.
    gone: () => void port.cleanup(),
    returns: async () => true,
  }, null);
  try {
    const { error } = adopt(await abortable(port.initialize(), signal));
    // It is locked, and the worker was not told so.
    if (error?.code === 'DEVICE_LOCKED') return;
    if (error) throw error;
    unwrap(adopt(await abortable(port.processQueuedMessages(), signal)));
  } finally {
    await port.cleanup();
  }
}
