// The package's root: loads the wasm when asked to, and never before.

import load, * as wasm from './solconnect_sync.js';
import type { ErrorCode, SdkConfig, SdkError, WalletProvider } from './solconnect_sync.js';

export type {
  Conflict, ConflictKind, ConnectionState, DeliveryReceipt, DeviceId, DeviceState, Durability, ErrorCategory, ErrorCode,
  LocalWallet, LogRange, MessageId, MessageStatus, MessageView, Result, SdkConfig, SdkError, SessionId, SessionView, Strategy, Subscription,
  SyncEmitter, SyncEvents, SyncFrame, SyncProgress, SyncStats, SyncStatus, SyncStorage, SyncTransport, VersionView, WalletAddress,
  WalletInfo, WalletProvider,
} from './solconnect_sync.js';

/** Where the wasm comes from, if not from beside this file. */
export interface InitOptions {
  wasmUrl?: string | URL;
  module?: WebAssembly.Module;
  bytes?: BufferSource;
  /** Where the second module comes from, which is loaded for an application's own transport alone. */
  jsonBytes?: () => Promise<BufferSource>;
}

let loading: Promise<void> | null = null;
let isReady = false;

/** Loads the wasm. A second call does nothing; after a failure it may be called again. Rejects with SDK_INITIALIZATION_FAILED. */
export default function init(options: InitOptions = {}): Promise<void> {
  const source = options.module ?? options.bytes ?? options.wasmUrl;
  loading ??= load(source && { module_or_path: source }).then(
    () => {
      wasm.setFrameCodecLoader(async () => {
        const codec = await import('./json/solconnect_sync_json.js');
        await codec.default(options.jsonBytes && { module_or_path: await options.jsonBytes() });
        return codec;
      });
      isReady = true;
    },
    (cause: unknown) => {
      loading = null;
      throw systemError('SDK_INITIALIZATION_FAILED', `the wasm could not be loaded: ${String(cause)}`, 'The SDK could not start.');
    },
  );
  return loading;
}

// Errors of the time before the wasm, which makes all others.
function systemError(code: ErrorCode, message: string, userMessage: string): Error & SdkError {
  return Object.assign(new Error(message), { name: 'SyncError', code, category: 'system', userMessage, recoverable: true } as const);
}

function checkReady(): void {
  if (!isReady) throw systemError('SDK_NOT_INITIALIZED', 'call init() first', 'The SDK is not ready yet.');
}

/** The class, which throws SDK_NOT_INITIALIZED where it is used before `init`. */
function guarded<C extends abstract new (...args: never[]) => object>(target: C): C {
  return new Proxy(target, {
    construct(constructor, args, newTarget): object {
      checkReady();
      return Reflect.construct(constructor, args, newTarget) as object;
    },
    get(constructor, key, receiver): unknown {
      if (key === 'parse') checkReady();
      return Reflect.get(constructor, key, receiver);
    },
  });
}

export const SolConnectSDK = /* @__PURE__ */ guarded(wasm.SolConnectSDK);
export type SolConnectSDK = wasm.SolConnectSDK;
export const SyncManager = /* @__PURE__ */ guarded(wasm.SyncManager);
export type SyncManager = wasm.SyncManager;
export const MessageBus = /* @__PURE__ */ guarded(wasm.MessageBus);
export type MessageBus = wasm.MessageBus;
export const WebSocketSyncTransport = /* @__PURE__ */ guarded(wasm.WebSocketSyncTransport);
export type WebSocketSyncTransport = wasm.WebSocketSyncTransport;
export const VectorClock = /* @__PURE__ */ guarded(wasm.VectorClock);
export type VectorClock = wasm.VectorClock;

let sdk: wasm.SolConnectSDK | null = null;
let manager: wasm.SyncManager | null = null;

/** Loads the wasm and makes an SDK; call its `initialize()` next. Rejects with INVALID_ARGUMENT for a wrong configuration. */
export async function initializeSDK(config: SdkConfig = {}): Promise<wasm.SolConnectSDK> {
  await init();
  sdk = new wasm.SolConnectSDK(config);
  return sdk;
}

/** What `initializeSDK` made last, until `cleanupSDK`. */
export function getSDK(): wasm.SolConnectSDK | null {
  return sdk;
}

/** Cleans up what `initializeSDK` made last. */
export async function cleanupSDK(): Promise<void> {
  const last = sdk;
  sdk = null;
  await last?.cleanup();
}

/** The one SyncManager that all callers share. */
export function getSyncManager(): wasm.SyncManager {
  checkReady();
  manager ??= new wasm.SyncManager();
  return manager;
}

/** The local wallet of a database, so that several devices can share it: give it to `connectWallet` of each. */
export async function createLocalWallet(databaseName: string): Promise<WalletProvider> {
  await init();
  return wasm.createLocalWallet(databaseName);
}

/** The session of two wallets: the same for both, on every device. */
export function sessionIdOf(walletA: string, walletB: string): string {
  checkReady();
  return wasm.sessionIdOf(walletA, walletB);
}

/** The version of this package. */
export function version(): string {
  checkReady();
  return wasm.version();
}
