// The class SyncManager of the first protocol.

import type { DeliveryReceipt, SyncStats, SyncTransport, WalletInfo } from '../solconnect_sync.js';
import { invalid, reading, textOf } from './arguments.js';
import { haveWallet } from './bus.js';
import { databaseOf } from './config.js';
import { SyncError, unwrap } from './errors.js';
import { configure, queuedMessages, SolConnectSDK } from './sdk.js';
import type { Message } from './message.js';
import type { Session } from './session.js';
import type { WalletSource } from './wallets.js';

/**
 * Keeps sessions in sync. Methods reject with a `SyncError`; the local wallet is connected where none was.
 *
 * @example
 * ```ts
 * const manager = getSyncManager();
 * await manager.initialize('messages', 'wss://relay.example.org');
 * const session = await manager.startSync({ peer_wallet });
 * await manager.storage.storeMessage(session.session_id, 'Hello!');
 * ```
 */
export class SyncManager {
  #sdk = new SolConnectSDK();
  /** As `on` of `SolConnectSDK`. */
  readonly on = this.#sdk.on;
  /** As `off` of `SolConnectSDK`. */
  readonly off = this.#sdk.off;
  /** The outbox. */
  readonly storage = new SyncStorage(this.#sdk);

  /**
   * Opens a database, and syncs through a transport or with the relay at a URL. Errors: as `initialize` of `SolConnectSDK`.
   */
  async initialize(database: string | { name: string }, transport: SyncTransport | string): Promise<void> {
    const way = typeof transport === 'string' ? { relayEndpoint: transport } : { transport };
    configure(this.#sdk, { ...databaseOf(database), ...way });
    unwrap(await this.#sdk.initialize());
  }

  /** Connects a wallet; without a provider the local one. Errors: as `connectWallet` of `SolConnectSDK`. */
  async connectWallet(...wallet: [] | [wallet: WalletSource]): Promise<WalletInfo> {
    return unwrap(await this.#sdk.connectWallet(...wallet));
  }

  /**
   * Starts a session with a peer and its auto-sync, at the configured `syncIntervalMs`. Errors: as `startSession`, and
   * `SESSION_CREATION_FAILED` where `session_id` is not that of the two wallets.
   */
  async startSync(session: { session_id?: string; peer_wallet: string }): Promise<Session> {
    await haveWallet(this.#sdk);
    const { session_id: named, peer_wallet: peerWallet } = fieldsOf(session);
    const view = unwrap(await this.#sdk.startSession({ peerWallet: peerWallet as string }));
    if (named !== undefined && named !== view.sessionId) {
      throw new SyncError('SESSION_CREATION_FAILED', 'session_id is not the session of these two wallets; see sessionIdOf');
    }
    unwrap(await this.#sdk.enableAutoSync(view.sessionId));
    return view;
  }

  /** Ends the auto-sync of a session. Errors: as `disableAutoSync`. */
  async stopSync(sessionId: string): Promise<void> {
    unwrap(await this.#sdk.disableAutoSync(sessionId));
  }

  /** Syncs a session or all; resolves with the number of entries. Errors: as `syncMessages`. */
  async syncNow(sessionId?: string): Promise<number> {
    await haveWallet(this.#sdk);
    return unwrap(await this.#sdk.syncMessages(sessionId));
  }

  /**
   * Sends what is queued: all of it, in order, whichever messages are named. Resolves with the number of entries. Errors: as
   * `processQueuedMessages`.
   */
  async sendQueuedMessages(_messages?: Message[]): Promise<number> {
    await haveWallet(this.#sdk);
    return unwrap(await this.#sdk.processQueuedMessages());
  }

  /** How syncing a session went; `null` for one that is not known. Errors, thrown: those of `getSyncStats` but `UNKNOWN_SESSION`. */
  getStats(sessionId: string): SyncStats | null {
    const stats = this.#sdk.getSyncStats(sessionId);
    return stats.error?.code === 'UNKNOWN_SESSION' ? null : unwrap(stats);
  }

  /** Closes everything. `initialize` may be called again. No errors. */
  async dispose(): Promise<void> {
    unwrap(await this.#sdk.cleanup());
  }
}

/** The outbox of a `SyncManager`. */
export class SyncStorage {
  #sdk: SolConnectSDK;

  constructor(sdk: SolConnectSDK) {
    this.#sdk = sdk;
  }

  /** Queues a message; resolves when it is stored. Errors: as `sendMessage`. */
  async storeMessage(
    sessionId: string,
    message: string | { ciphertext: string; content_type?: string },
    status: 'queued' = 'queued',
  ): Promise<DeliveryReceipt> {
    if (status !== 'queued') throw invalid('a message is stored as queued');
    await haveWallet(this.#sdk);
    if (typeof message === 'string') return unwrap(await this.#sdk.sendMessage(sessionId, message));
    const { ciphertext, content_type: contentType } = fieldsOf(message);
    const options = contentType === undefined ? {} : { contentType: textOf('content_type', contentType) };
    return unwrap(await this.#sdk.sendMessage(sessionId, textOf('ciphertext', ciphertext), options));
  }

  /** The messages that the relay has not acknowledged, oldest first in each session. Errors: those of every method, `STORAGE_ERROR`. */
  async getQueuedMessages(): Promise<Message[]> {
    return unwrap(await queuedMessages(this.#sdk));
  }
}

function fieldsOf(value: object): { [name: string]: unknown } {
  return reading('the object', () => ({ ...value }));
}
