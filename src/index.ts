// The package's root. Importing it does nothing.

import { type SdkConfig, walletAddress } from './solconnect_sync.js';
import { textOf } from './surface/arguments.js';
import { configOf } from './surface/config.js';
import { Directory } from './surface/directory.js';
import { checkValues } from './surface/lifecycle.js';
import { load } from './surface/load.js';
import { SyncManager } from './surface/manager.js';
import { SolConnectSDK } from './surface/sdk.js';
import type { OpenWallet } from './surface/wallets.js';

export type {
  Conflict, ConflictKind, ConnectionState, DeliveryReceipt, DeviceId, DeviceState, DeviceView, Durability, EncryptionMode, EncryptionView, EpochMemberView, EpochView, ErrorCategory, ErrorCode,
  InvitationView, LockWith, LogRange, Membership, MemberView, MessageId, MessageStatus, MessageView, RecoveryKeyView, RecoveryView, SdkConfig, SdkError, SessionId, SessionKind, SessionView, Strategy, Subscription,
  SyncEvents, SyncFrame, SyncProgress, SyncStats, SyncStatus, SyncTransport, VersionView, WalletAddress, WalletInfo,
} from './solconnect_sync.js';
export type { InitOptions } from './surface/load.js';
export { MessageBus } from './surface/bus.js';
export { VectorClock } from './surface/clock.js';
export { sessionIdOf, version } from './surface/ids.js';
export { connect, type ConnectConfig } from './surface/connect.js';
export { type Result, SyncError, unwrap } from './surface/errors.js';
export type { SdkEvents } from './surface/events.js';
export type { SyncStorage } from './surface/manager.js';
export type { TabRole, TabState } from './surface/port.js';
export type { Abortable } from './surface/sdk.js';
export { WebSocketSyncTransport } from './surface/transport.js';
export type { Conversation, ConversationList, ConversationsSnapshot } from './surface/conversations.js';
export type { SessionState } from './surface/source.js';
export type { LiveList } from './surface/live.js';
export type { Message } from './surface/message.js';
export type { MessageList, MessageListOptions, MessagesSnapshot } from './surface/messages.js';
export type { Invitation, Session } from './surface/session.js';
export { findWallets, type OpenWallet, type PublicKeyLike, type StandardWallet, type WalletSearch, type WalletSource } from './surface/wallets.js';
export { load as default, setWasmSource } from './surface/load.js';
export { SolConnectSDK, SyncManager };

let sdk: SolConnectSDK | null = null;
let manager: SyncManager | null = null;

/**
 * Loads the wasm and makes an SDK; call its `initialize()` next. `connect` does all of that in one call.
 *
 * Errors, rejected with: `INVALID_ARGUMENT` for a wrong configuration, `SDK_INITIALIZATION_FAILED`.
 */
export async function initializeSDK(config?: SdkConfig): Promise<SolConnectSDK> {
  const made = new SolConnectSDK(config);
  await load();
  checkValues(configOf(config).config);
  sdk = made;
  return made;
}

/** What `initializeSDK` made last, until `cleanupSDK`. */
export function getSDK(): SolConnectSDK | null {
  return sdk;
}

/** Cleans up what `initializeSDK` made last. */
export async function cleanupSDK(): Promise<void> {
  const last = sdk;
  sdk = null;
  await last?.cleanup();
}

/** The one SyncManager that all callers share. */
export function getSyncManager(): SyncManager {
  manager ??= new SyncManager();
  return manager;
}

/**
 * The local wallet of a database, so that several devices can share it: give it to `connectWallet` of each.
 *
 * Errors, rejected with: `INVALID_ARGUMENT`, `CRYPTO_ERROR`, `INSECURE_CONTEXT`, `STORAGE_FOREIGN`, `STORAGE_VERSION`,
 * `STORAGE_REFUSED`, `STORAGE_FULL`, `STORAGE_ERROR`, `STORAGE_MISSING`.
 */
export async function createLocalWallet(databaseName: string): Promise<OpenWallet & { readonly publicKey: string }> {
  const { config } = configOf({ databaseName: textOf('databaseName', databaseName) });
  await load();
  const wallet = await new Directory(config.databaseName, walletAddress).localWallet();
  return { ...wallet, publicKey: wallet.address };
}
