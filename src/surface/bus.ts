// The class MessageBus of the first protocol: subscribing is all it takes to be in sync.

import type { DeliveryReceipt, SdkConfig, Subscription, WalletInfo } from '../solconnect_sync.js';
import { databaseOf } from './config.js';
import { unwrap } from './errors.js';
import { configure, SolConnectSDK } from './sdk.js';
import type { Message } from './message.js';
import type { Session } from './session.js';
import type { WalletSource } from './wallets.js';

/**
 * Sends and receives messages. Methods reject with a `SyncError`, with the codes that the methods of `SolConnectSDK` of the same
 * name have; the local wallet is connected where none was.
 *
 * @example
 * ```ts
 * const bus = new MessageBus({ relayEndpoint: 'wss://relay.example.org', domains: ['chat.example.org'] });
 * await bus.initialize();
 * const { sessionId } = await bus.startSession({ peerWallet });
 * await bus.subscribe(sessionId, (message) => show(message.text));
 * ```
 */
export class MessageBus {
  #sdk: SolConnectSDK;
  /** As `on` of `SolConnectSDK`. */
  readonly on: SolConnectSDK['on'];
  /** As `off` of `SolConnectSDK`. */
  readonly off: SolConnectSDK['off'];

  /**
   * Checks the configuration; nothing is opened.
   *
   * Errors, thrown: `INVALID_ARGUMENT`, naming the option.
   */
  constructor(config?: SdkConfig) {
    this.#sdk = new SolConnectSDK(config);
    this.on = this.#sdk.on;
    this.off = this.#sdk.off;
  }

  /** Uses this database, or the configuration's. Errors: as `initialize` of `SolConnectSDK`. */
  async initialize(database?: string | { name: string }): Promise<void> {
    configure(this.#sdk, databaseOf(database));
    unwrap(await this.#sdk.initialize());
  }

  /** Connects a wallet; without a provider the local one. Errors: as `connectWallet` of `SolConnectSDK`. */
  async connectWallet(...wallet: [] | [wallet: WalletSource]): Promise<WalletInfo> {
    return unwrap(await this.#sdk.connectWallet(...wallet));
  }

  /** Starts the session with a peer, new or stored. */
  async startSession(options: { peerWallet: string }): Promise<Session> {
    await haveWallet(this.#sdk);
    return unwrap(await this.#sdk.startSession(options));
  }

  /**
   * Tells the handler of each message of other devices, once, and starts the session's auto-sync, every `syncIntervalMs` of the
   * configuration. Errors: as `subscribeToMessages` and `enableAutoSync`.
   */
  async subscribe(sessionId: string, handler: (message: Message) => void): Promise<Subscription> {
    await haveWallet(this.#sdk);
    // First, so that the sync that follows is heard.
    const subscription = unwrap(await this.#sdk.subscribeToMessages(sessionId, handler));
    unwrap(await this.#sdk.enableAutoSync(sessionId));
    return subscription;
  }

  /** Queues a message; resolves when it is stored here. Each call sends one more message. */
  async sendMessage(sessionId: string, text: string): Promise<DeliveryReceipt> {
    await haveWallet(this.#sdk);
    return unwrap(await this.#sdk.sendMessage(sessionId, text));
  }

  /** Syncs a session or all; resolves with the number of entries. */
  async syncMessages(sessionId?: string): Promise<number> {
    await haveWallet(this.#sdk);
    return unwrap(await this.#sdk.syncMessages(sessionId));
  }

  /** Closes everything. `initialize` may be called again. No errors. */
  async dispose(): Promise<void> {
    unwrap(await this.#sdk.cleanup());
  }
}

/** The local wallet is connected where none was. Errors, rejected with: `SDK_NOT_INITIALIZED`, and those of `connectWallet`. */
export async function haveWallet(sdk: SolConnectSDK): Promise<void> {
  if (unwrap(sdk.getCurrentWallet()) === null) unwrap(await sdk.connectWallet());
}
