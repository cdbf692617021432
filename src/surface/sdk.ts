// The class SolConnectSDK: checks what it is given, and hands it to the engine of the wallet that is connected.

import type * as wasm from '../solconnect_sync.js';
import type {
  ConnectionState, DeliveryReceipt, DeviceState, DeviceView, EncryptionView, EngineError, MemberView, MessageStatus, RecoveryView, SdkConfig, SessionView, Subscription, SyncEvents, SyncStats,
  SyncStatus, WalletInfo,
} from '../solconnect_sync.js';
import { abortable, flagOf, functionOf, optionsOf, signalOf, textOf } from './arguments.js';
import { configOf } from './config.js';
import { adopt, errorOf, failed, type Result, settle, SyncError, unkept, unwrap } from './errors.js';
import { Listeners, type SdkEvents } from './events.js';
import { type Choice, Lifecycle, notInitialized } from './lifecycle.js';
import { Changes } from './changes.js';
import { Conversations, type ConversationList } from './conversations.js';
import { type Message, messageOf } from './message.js';
import { type MessageList, type MessageListOptions, MessageLists } from './messages.js';
import { makePasskey, usePasskey } from './passkey.js';
import type { Port as Engine, TabRole } from './port.js';
import { Reasons } from './reasons.js';
import { type Invitation, invitationOf, type Session, sessionOf } from './session.js';
import type { Source, StoredSession } from './source.js';
import { Subscriptions } from './subscriptions.js';
import type { WalletSource } from './wallets.js';

type EngineResult<T> = { success: true; data: T } | { success: false; error: EngineError };

/** What calls take that can be long. When the signal is aborted, the call answers `CALL_ABORTED`; what it had begun may still happen. */
export interface Abortable {
  signal?: AbortSignal;
}

/** Connects what is no argument of `connectWallet`: the wallet of the last visit. */
export let connectChoice: (sdk: SolConnectSDK, choice: Choice, signal: AbortSignal | undefined) => Promise<Result<WalletInfo>>;

/** What waits in the outboxes, oldest first in each session. */
export let queuedMessages: (sdk: SolConnectSDK) => Promise<Result<Message[]>>;

/** Changes options for the next `initialize`. Errors, thrown: `INVALID_ARGUMENT`. */
export let configure: (sdk: SolConnectSDK, options: SdkConfig) => void;

/**
 * One device of a wallet: messages written offline wait in this browser and are delivered exactly once.
 *
 * Asynchronous methods resolve with a `Result` and never reject; what a method calls its errors are the `code`s of `error`
 * there. Every method that needs a wallet answers `SDK_NOT_INITIALIZED` before `initialize` and `WALLET_NOT_CONNECTED` before
 * a wallet is connected and where the wallet leaves before the answer, and `STORAGE_BLOCKED` where no tab could open the storage for
 * two minutes: then nothing of it was done.
 *
 * All tabs and workers of an origin that connect a wallet are one device: whatever the methods below say of this device holds in
 * each of them, and events, lists and getters tell the same everywhere. Methods may be taken off the object (`const { sendMessage } = sdk`). Overlapping calls of
 * `initialize`, `cleanup`, `connectWallet`, `disconnectWallet` and `logout` end in what the last one asked for; the others
 * answer `CALL_SUPERSEDED`. All times are in milliseconds, unless a name says otherwise.
 *
 * @example
 * ```ts
 * const { phantom } = globalThis as { phantom?: { solana?: WalletSource } };  // what the wallet's extension puts there
 * const sdk = await connect({ relayEndpoint: 'wss://relay.example.org', domains: ['chat.example.org'], wallet: phantom?.solana });
 * ```
 */
export class SolConnectSDK {
  static {
    connectChoice = (sdk, choice, signal) => settle(() => sdk.#lifecycle.connect(choice, signal));
    queuedMessages = (sdk) => sdk.#messages((engine) => engine.getQueuedMessages());
    configure = (sdk, options) => sdk.#lifecycle.configure(options);
  }

  #listeners = new Listeners((name) => {
    if (name === 'sessionInvited') return this.getInvitations().data ?? [];
    if (name === 'deviceRequest') {
      const devices = this.getDevices().data ?? [];
      return devices.some(({ isThisDevice, isApproved }) => isThisDevice && isApproved) ? devices.filter(({ isApproved }) => !isApproved).map((device) => ({ device })) : [];
    }
    if (name === 'warning') return this.#reasons.standing;
    const code = name === 'signInNeeded' ? this.getSyncStatus().data?.signInNeeded : undefined;
    if (!code) return [];
    return [code === 'DEVICE_REMOVED' ? { error: new SyncError(code, 'this device was removed from the account: call signIn()') } : {}];
  });
  #changes = new Changes();
  #subscriptions = new Subscriptions(this.#changes, (error) => this.#listeners.emit('warning', { error }));
  #lifecycle: Lifecycle;
  #reasons: Reasons;
  #lists: MessageLists;
  #conversations: Conversations;

  /**
   * Checks the configuration; nothing is opened. Every option has a default.
   *
   * Errors, thrown: `INVALID_ARGUMENT`, naming the option. What values it may have is told by `initialize`.
   */
  constructor(config?: SdkConfig) {
    this.#reasons = new Reasons(() => this.#lifecycle.relay, (error) => this.#listeners.emit('warning', { error }));
    this.#lifecycle = new Lifecycle(configOf(config).config, [this.#listeners, this.#changes, this.#reasons], (account, isRenewed) => {
      if (!isRenewed) this.#changes.tellWallet();
      this.#subscriptions.attach(account);
      if (isRenewed) return;
      this.#listeners.emit('walletChanged', { address: account?.address ?? null });
    }, () => this.#changes.tellWallet());
    this.on('connectionChanged', ({ state }) => this.#reasons.take(state));
    this.on('logReplaced', ({ sessionId, keptThrough }) => this.#subscriptions.goBack(sessionId, keptThrough));
    const source: Source = {
      storedMessages: (sessionId, limit, beforeSequence) => this.#call((engine) => engine.getStoredMessages(sessionId, limit, beforeSequence)),
      getMessage: (messageId) => this.#call((engine) => engine.getMessage(messageId)),
      sessions: () => this.#sessions(),
      wallet: () => this.#lifecycle.account?.address ?? null,
      onChange: (handler) => this.#changes.add(handler),
    };
    this.#lists = new MessageLists(source);
    this.#conversations = new Conversations(source);
    // So that methods can be taken off.
    for (const name of Object.getOwnPropertyNames(SolConnectSDK.prototype) as (keyof SolConnectSDK)[]) {
      if (name !== ('constructor' as string)) Object.defineProperty(this, name, { value: this[name].bind(this) });
    }
  }

  /**
   * Loads the wasm and checks the configuration and the environment. A second call does nothing.
   *
   * Errors: `INVALID_ARGUMENT`, naming the option; `SDK_INITIALIZATION_FAILED` where the wasm cannot be loaded, with the
   * reason; `STORAGE_MISSING`, `CONNECTION_BLOCKED`, `CALL_SUPERSEDED`, `CALL_ABORTED`.
   */
  initialize(options?: Abortable): Promise<Result<null>> {
    return settle(async () => {
      await this.#lifecycle.initialize(abortSignalOf(options));
      return null;
    });
  }

  /**
   * Closes the socket and the database and gives up the profile. `initialize` may be called again. Handlers and subscriptions
   * stay. No errors.
   */
  cleanup(): Promise<Result<null>> {
    return settle(async () => {
      await this.#lifecycle.cleanup();
      return null;
    });
  }

  /**
   * Connects a wallet, and opens what this browser stores of it. Without an argument the local wallet: a key pair that this
   * browser makes and keeps. The same wallet again does nothing; another one takes its place. With the option `lockWith` the person is
   * asked for a passphrase or a passkey, and the wallet that was connected before has left by then.
   *
   * Errors: `SDK_NOT_INITIALIZED`; of the wallet `WALLET_NOT_FOUND` (also for `undefined` and `null`), `WALLET_REJECTED`,
   * `WALLET_LOCKED`, `WALLET_UNSUPPORTED`, `WALLET_TIMEOUT`, `WALLET_CONNECTION_FAILED`, `INVALID_WALLET_ADDRESS`, with the
   * wallet's own error as `cause`; of the local wallet `CRYPTO_ERROR`, `INSECURE_CONTEXT`; of the lock
   * `DEVICE_LOCKED` where the person declines, or the option is not as it was when the wallet was locked, `PASSKEY_UNSUPPORTED`,
   * `KEY_DERIVATION_FAILED`; of the database `STORAGE_FOREIGN`,
   * `STORAGE_VERSION`, `STORAGE_REFUSED`, `STORAGE_FULL`, `STORAGE_ERROR`; of other tabs `CONFIG_MISMATCH` where one has the wallet
   * open with another relay, transport, strategy, kind of lock or other domains, `TAB_OUTDATED` where one runs a newer version that does not understand this
   * one; `CALL_SUPERSEDED`, `CALL_ABORTED`.
   *
   * @example
   * ```ts
   * const { phantom } = globalThis as { phantom?: { solana?: WalletSource } };  // what the wallet's extension puts there
   * const connected = await sdk.connectWallet(phantom?.solana);
   * if (connected.error?.code === 'WALLET_REJECTED') show('You declined.');
   * ```
   */
  connectWallet(...wallet: [] | [wallet: WalletSource, options?: Abortable]): Promise<Result<WalletInfo>> {
    return settle(() => {
      const signal = abortSignalOf(wallet[1]);
      return this.#lifecycle.connect(wallet.length === 0 ? 'local' : { given: wallet[0] }, signal);
    });
  }

  /**
   * Has the wallet sign for this device, so that it can sign in to the relay: once in the device's life. `connectWallet` asks by
   * itself; this asks again where the person declined, or `signInNeeded` says so. A device that was removed goes on as a new one. Does
   * nothing where the wallet has signed.
   *
   * Errors: `INVALID_ARGUMENT` without the option `domains`, `WRONG_DOMAIN` where it does not have this page's host; `SDK_NOT_INITIALIZED`, `WALLET_NOT_CONNECTED`, also where only the address is known since the last visit;
   * `WALLET_CANNOT_SIGN`, `WALLET_REJECTED`, `WALLET_LOCKED`, `WALLET_TIMEOUT`, `WALLET_CONNECTION_FAILED`; `CERTIFICATE_EXPIRED` where this
   * device's clock is wrong; `STORAGE_FULL`, `STORAGE_ERROR`, `CRYPTO_ERROR`.
   *
   * @example
   * ```ts
   * sdk.on('signInNeeded', () => (button.hidden = false));
   * button.onclick = () => sdk.signIn();
   * ```
   */
  signIn(): Promise<Result<null>> {
    return settle(async () => {
      await this.#lifecycle.signIn(this.#account(), true);
      return null;
    });
  }

  /**
   * Has the wallet sign that this device is its only one in this application: all others are removed, whatever they do meanwhile, and
   * this one goes on as a new, approved one (`deviceReplaced`). The way on where no device that is left is approved, and where somebody else may
   * have one. Resolves when the wallet has signed; the relay removes them when it is reached (`deviceRemoved`).
   *
   * Errors: as `signIn`.
   */
  signOutOtherDevices(): Promise<Result<null>> {
    return settle(async () => {
      await this.#lifecycle.signOutOthers(this.#account());
      return null;
    });
  }

  /**
   * Disconnects it in this tab: from the call on nothing can be read or written until the next, and lists are empty. What is stored stays.
   *
   * Errors: `SDK_NOT_INITIALIZED`, `STORAGE_ERROR`.
   */
  disconnectWallet(): Promise<Result<null>> {
    return settle(async () => {
      await this.#lifecycle.disconnect(false, false);
      return null;
    });
  }

  /**
   * Disconnects the wallet in all tabs of this browser. With `wipe`, everything that this browser stores of it is deleted: messages, what is queued and
   * was not sent, and of a local wallet the keys, which nobody can make again. Where none is connected any more (the person
   * left it in the wallet itself, or a wipe failed), that is the wallet that was connected last, or that was to be unlocked and was not
   * (`DEVICE_LOCKED`): so who has forgotten the passphrase begins anew.
   *
   * Errors: `SDK_NOT_INITIALIZED`, `INVALID_ARGUMENT`, `STORAGE_ERROR`; with `wipe`, `WALLET_NOT_CONNECTED` where no wallet was.
   *
   * @example
   * ```ts
   * await sdk.logout({ wipe: true }); // on a computer that others use
   * ```
   */
  logout(options?: { wipe?: boolean }): Promise<Result<null>> {
    return settle(async () => {
      const { wipe = false } = optionsOf('the options', options, ['wipe']);
      await this.#lifecycle.disconnect(flagOf('wipe', wipe), true);
      return null;
    });
  }

  /**
   * Starts the session with a peer, new or stored. Its id is the same for both peers and all their devices. The wallet itself
   * may be the peer: a session of notes.
   *
   * With `members` and a `name` it starts a new group, also offline: of these wallets and this one, which is its admin, 256 at
   * most. Who is added is invited (`sessionInvited`). Groups are of devices that sign in (option `domains`).
   *
   * Errors: `INVALID_ARGUMENT` (also for a name that is empty or has more than 128 bytes, and a wallet that is named twice),
   * `INVALID_WALLET_ADDRESS`, `SESSION_CREATION_FAILED`, `LIMIT_REACHED` at 1,000 sessions and at 256 members, `MEMBER_REMOVED`,
   * `SIGN_IN_REQUIRED` for a group without the option `domains`, `DEVICE_REMOVED`, `STORAGE_FULL`, `STORAGE_ERROR`.
   *
   * @example
   * ```ts
   * const { sessionId } = unwrap(await sdk.startSession({ peerWallet }));
   * const group = unwrap(await sdk.startSession({ members: [anna, ben], name: 'Walkers' }));
   * ```
   */
  async startSession(options: { peerWallet: string } | { members: readonly string[]; name: string }): Promise<Result<Session>> {
    return map(await this.#call((engine) => engine.startSession(options)), sessionOf);
  }

  /**
   * Adds wallets to a group: they are invited, and read all of it from the beginning, or, where it is encrypted, what is written from
   * then on. Who is in it already stays. As `sendMessage` it
   * is done when it is stored here, also offline. What the relay refuses later, because another admin was quicker, is told by
   * `warning`, and `getMembers` has what is so.
   *
   * Errors: `INVALID_ARGUMENT` (also for a session of two wallets), `INVALID_WALLET_ADDRESS`, `UNKNOWN_SESSION`, `NOT_AN_ADMIN`,
   * `MEMBER_REMOVED` where this wallet is in it no more, `LIMIT_REACHED` at 256 members, `OUTBOX_FULL`, `DEVICE_REMOVED`,
   * `STORAGE_FULL`, `STORAGE_ERROR`.
   */
  addMembers(sessionId: string, wallets: readonly string[]): Promise<Result<null>> {
    return this.#call((engine) => engine.regroup(sessionId, 'add', wallets));
  }

  /**
   * Removes wallets from a group: they read nothing that comes behind that, and keep what they have. Who is not in it is left out.
   *
   * Errors: as `addMembers`.
   */
  removeMembers(sessionId: string, wallets: readonly string[]): Promise<Result<null>> {
    return this.#call((engine) => engine.regroup(sessionId, 'remove', wallets));
  }

  /**
   * Leaves a group. What is stored here can still be read. Where its last admin leaves, the wallet that has been in it longest is one.
   *
   * Errors: as `addMembers`, but for `NOT_AN_ADMIN`.
   */
  leaveSession(sessionId: string): Promise<Result<null>> {
    return this.#call((engine) => engine.regroup(sessionId, 'leave'));
  }

  /**
   * Calls a group otherwise: 1 to 128 bytes, no control characters.
   *
   * Errors: as `addMembers`.
   */
  renameSession(sessionId: string, name: string): Promise<Result<null>> {
    return this.#call((engine) => engine.regroup(sessionId, 'rename', name));
  }

  /**
   * Makes a member of a group one of its admins, or no longer. A group always has one: where the last admin gives that up, the wallet
   * that has been in it longest follows.
   *
   * Errors: as `addMembers`, and `NOT_A_MEMBER` for a wallet that is not in it.
   */
  setAdmin(sessionId: string, wallet: string, isAdmin: boolean): Promise<Result<null>> {
    return settle(async () => unwrap(await this.#call((engine) => engine.regroup(sessionId, flagOf('isAdmin', isAdmin) ? 'promote' : 'demote', wallet))));
  }

  /**
   * The wallets of a session in the order in which they came, as far as is known here; of a group with who may change it. What this
   * device has queued counts. No further errors than `INVALID_ARGUMENT` and `UNKNOWN_SESSION`.
   */
  getMembers(sessionId: string): Result<MemberView[]> {
    return this.#read((engine) => {
      const id = textOf('sessionId', sessionId);
      const found = unwrap(adopt(engine.getStoredSessions())).find((session) => session.session_id === id);
      if (!found) throw new SyncError('UNKNOWN_SESSION', `session ${id} is not stored here`);
      return { success: true, data: found.members };
    });
  }

  /**
   * What holds of a session's encryption, for a lock and what stands behind it: whether it is encrypted, the epoch and since when, for
   * whom it is sealed, whether earlier texts wait for a key (`unreadEpochCount`) or have none any more (`lostEpochCount`), and what this
   * device lacks to read (`missing`, by a code). `encryptionChanged` tells when it changes.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`.
   *
   * @example
   * ```ts
   * const { encryption, epoch, members, missing } = unwrap(await sdk.getEncryption(sessionId));
   * if (missing === 'DEVICE_NOT_APPROVED') show('Approve this device on another one of yours.');
   * else if (encryption === 'required' && epoch) show(`Encrypted since ${new Date(epoch.beganAt).toLocaleTimeString()}`);
   * const without = members.filter(({ generation }) => generation === 0);   // they read nothing of this epoch
   * ```
   */
  getEncryption(sessionId: string): Promise<Result<EncryptionView>> {
    return this.#call((engine) => engine.getEncryption(sessionId));
  }

  /**
   * Ends a session and its auto-sync. What is queued is still sent.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`, `STORAGE_FULL`, `STORAGE_ERROR`.
   */
  endSession(sessionId: string): Promise<Result<null>> {
    return this.#call((engine) => engine.endSession(sessionId));
  }

  /**
   * Starts a session that another wallet has begun with this one (`sessionInvited`), and syncs its history. An invitation that
   * was declined may be accepted too, and a session that is active already stays so.
   *
   * Errors: as `startSession`, and `UNKNOWN_SESSION` where there is no such invitation.
   *
   * @example
   * ```ts
   * sdk.on('sessionInvited', async ({ sessionId, peerWallet }) => {
   *   if (confirm(`${peerWallet} wants to talk.`)) await sdk.acceptSession(sessionId);
   *   else await sdk.declineSession(sessionId);
   * });
   * ```
   */
  async acceptSession(sessionId: string): Promise<Result<Session>> {
    return map(await this.#call((engine) => engine.acceptSession(sessionId)), sessionOf);
  }

  /**
   * Forgets an invitation on this device, until its peer writes more. The peer is not told.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION` where there is no such invitation, `STORAGE_FULL`, `STORAGE_ERROR`.
   */
  declineSession(sessionId: string): Promise<Result<null>> {
    return this.#call((engine) => engine.declineSession(sessionId));
  }

  /**
   * Blocks a wallet on this device: its invitations are not told, a session with it ends, and `startSession` with it is refused
   * (`WALLET_BLOCKED`), until `unblockWallet`. What is stored stays. The wallet is not told.
   *
   * Errors: `INVALID_ARGUMENT`, `INVALID_WALLET_ADDRESS`, `LIMIT_REACHED` at 1,000 blocked wallets, `STORAGE_FULL`,
   * `STORAGE_ERROR`.
   */
  blockWallet(wallet: string): Promise<Result<null>> {
    return this.#call((engine) => engine.blockWallet(wallet));
  }

  /**
   * Unblocks a wallet; also one that is not blocked. What it wrote meanwhile invites again. A session with it is started by
   * `startSession` or `acceptSession`.
   *
   * Errors: as `blockWallet`.
   */
  unblockWallet(wallet: string): Promise<Result<null>> {
    return this.#call((engine) => engine.unblockWallet(wallet));
  }

  /** The invitations that wait for an answer, oldest first: at most 1,000. No further errors. */
  getInvitations(): Result<Invitation[]> {
    return map(this.#read((engine) => engine.getInvitations()), (views) => views.map(invitationOf));
  }

  /**
   * Queues a message of up to 8 KiB. Resolves when it is stored here; the relay gets it as soon as there is a connection.
   * `contentType` is a media type.
   *
   * With `id`, a name of the application's own of 1 to 200 bytes, the call may be repeated, also after a reload: the same
   * content under the same id is the same message, and resolves with the first receipt. Without it, each call sends one more
   * message.
   *
   * Errors: `INVALID_ARGUMENT` (also for an `id` of the form that the SDK gives in this session), `UNKNOWN_SESSION`,
   * `INVALID_MESSAGE_FORMAT` (an empty text, an id or media type of the wrong length), `MESSAGE_TOO_LARGE`, `MESSAGE_ID_TAKEN`
   * where other content has this id, `OUTBOX_FULL` at 10,000 waiting messages, `LIMIT_REACHED`, `DEVICE_REMOVED`, `STORAGE_FULL`,
   * `STORAGE_ERROR`. What the relay refuses later is told by `statusChanged`, as `failed` with the error.
   *
   * @example
   * ```ts
   * const sent = await sdk.sendMessage(sessionId, 'Hello!');
   * const order = await sdk.sendMessage(sessionId, 'Pay 5', { id: `order-${orderId}` });
   * if (order.error?.code === 'MESSAGE_ID_TAKEN') console.log('this order says something else');
   * ```
   */
  sendMessage(sessionId: string, text: string, options?: { contentType?: string; id?: string }): Promise<Result<DeliveryReceipt>> {
    return this.#call((engine) => engine.sendMessage(sessionId, text, optionsOf('the options', options, ['contentType', 'id'])));
  }

  /**
   * Queues a new version of an own message.
   *
   * Errors: as `sendMessage`, and `UNKNOWN_MESSAGE`, `NOT_YOUR_MESSAGE`.
   */
  editMessage(sessionId: string, messageId: string, text: string): Promise<Result<DeliveryReceipt>> {
    return this.#call((engine) => engine.editMessage(sessionId, messageId, text));
  }

  /**
   * Queues the deletion of an own message. One that was refused for good (`failed`) is only on this device, and is taken away there:
   * the receipt then says `failed` again.
   *
   * Errors: as `editMessage`.
   */
  deleteMessage(sessionId: string, messageId: string): Promise<Result<DeliveryReceipt>> {
    return this.#call((engine) => engine.deleteMessage(sessionId, messageId));
  }

  /**
   * Takes back a message that was never sent, with its queued edits; also one that failed. It leaves for good, and its `id` may be
   * used again.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_MESSAGE`, `MESSAGE_SENT` for what is sent or on its way (delete it instead), `STORAGE_FULL`,
   * `STORAGE_ERROR`.
   */
  cancelMessage(messageId: string): Promise<Result<null>> {
    return this.#call((engine) => engine.cancelMessage(messageId));
  }

  /**
   * Queues a message again that failed. It keeps its id, but for one that another message has (`MESSAGE_ID_TAKEN`): then the
   * receipt names a new one.
   *
   * Errors: as `sendMessage`, and `UNKNOWN_MESSAGE`.
   */
  retryMessage(messageId: string): Promise<Result<DeliveryReceipt>> {
    return this.#call((engine) => engine.retryMessage(messageId));
  }

  /**
   * Settles a conflict of versions with one that supersedes all that this device knows.
   *
   * Errors: as `editMessage`.
   *
   * @example
   * ```ts
   * sdk.on('conflictDetected', ({ sessionId, conflicts }) => {
   *   for (const { kind, messageId, conflictingVersions } of conflicts) {
   *     if (kind === 'concurrent_versions') void sdk.resolveConflict(sessionId, messageId, merge(conflictingVersions));
   *   }
   * });
   * ```
   */
  resolveConflict(sessionId: string, messageId: string, text: string): Promise<Result<DeliveryReceipt>> {
    return this.#call((engine) => engine.resolveConflict(sessionId, messageId, text));
  }

  /**
   * Tells the handler of each message of other devices, once and in order. `from` says where it begins: `'now'` (default)
   * with what arrives after the call; `'stored'` with the first message that is stored; a number with the first one after
   * that sequence number. A subscription lasts until it is ended, also over `cleanup`, another wallet and a wipe; then it is
   * silent until its wallet is back and the session is started there, and tells first what was stored meanwhile.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`, `STORAGE_ERROR`; `CALL_SUPERSEDED` where the wallet leaves before it is told
   * all of the past.
   *
   * @example
   * ```ts
   * const subscription = unwrap(await sdk.subscribeToMessages(sessionId, (message) => {
   *   list.append(Object.assign(document.createElement('li'), { textContent: message.text }));
   * }, { from: 'stored' }));
   * subscription.unsubscribe();
   * ```
   */
  subscribeToMessages(
    sessionId: string,
    handler: (message: Message) => void,
    options?: { from?: 'now' | 'stored' | number },
  ): Promise<Result<Subscription>> {
    return settle(() => {
      const { from = 'now' } = optionsOf('the options', options, ['from']);
      return this.#subscriptions.add(this.#account(), sessionId, functionOf('the handler', handler), from);
    });
  }

  /**
   * The messages of a session as they are now, for a view that follows them: what is stored, what is queued, what arrives, edits,
   * deletions, statuses. See `MessageList`.
   *
   * Errors, thrown: `INVALID_ARGUMENT`. What reading gives is told in the snapshot.
   *
   * @example
   * ```ts
   * const list = sdk.messages(sessionId, { limit: 50 });
   * const end = list.subscribe(() => render(list.getSnapshot().items));
   * if (list.hasMore) await list.loadOlder();
   * ```
   */
  messages(sessionId: string, options?: MessageListOptions): MessageList {
    return this.#lists.open(sessionId, options);
  }

  /**
   * The conversations of the connected wallet as they are now, the newest first, each with its last message and the number of
   * unread ones. See `ConversationList`. No errors; what reading gives is told in the snapshot.
   */
  conversations(): ConversationList {
    return this.#conversations;
  }

  /**
   * A message that is stored here. The id is enough, as for `markMessageAsRead`.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_MESSAGE` (also for the id of an edit or a deletion, and of a message that this device cannot
   * read yet), `STORAGE_ERROR`.
   */
  async getMessage(messageId: string): Promise<Result<Message>> {
    const wallet = this.#lifecycle.account?.address ?? null;
    return map(await this.#call((engine) => engine.getMessage(messageId)), (view) => messageOf(view, wallet));
  }

  /**
   * The last messages, oldest first: `limit` of them (100 by default), before a place in the log (`beforeSequence`) or of all
   * with the queued ones. For a list that follows what happens, see `messages`.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`, `STORAGE_ERROR`.
   *
   * @example
   * ```ts
   * const page = unwrap(await sdk.getStoredMessages(sessionId, 50));
   * const first = page[0]?.sequenceNumber;
   * if (first) await sdk.getStoredMessages(sessionId, 50, first); // the page before
   * ```
   */
  async getStoredMessages(sessionId: string, limit?: number, beforeSequence?: number): Promise<Result<Message[]>> {
    return this.#messages((engine) => engine.getStoredMessages(sessionId, limit, beforeSequence));
  }

  /**
   * Sends what is queued and fetches what is missing, of one session or all. Resolves when all of it is sent and stored, with
   * the number of entries that came into the stored log since the call: messages, edits and deletions of this device and of
   * all others, whether this call or something else brought them. 0 where nothing was missing. Where the relay was not reached, an
   * attempt is made at once, and the waits between those that follow begin anew.
   *
   * A message that the relay refuses for good does not make the sync fail: `statusChanged` tells of it with `failed` and the
   * error. Where one of several sessions fails, the others are synced all the same, and the call resolves with its error when
   * they are done; `syncCompleted` and `syncFailed` tell of each session.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`; after one failed attempt and `maxRetries` more `CONNECTION_FAILED`,
   * `RELAY_DISCONNECTED` (at once after `setOffline(true)`), `RELAY_MISBEHAVED`, `RELAY_BUSY`, `RELAY_STORAGE_FAILED`,
   * `NOT_ANNOUNCED`; at once where the reason is known `CONNECTION_BLOCKED`, `ORIGIN_REFUSED`; where the session has stopped
   * `RELAY_ROLLED_BACK`, `RELAY_FORKED`, `ENTRY_FORGED`, `NOT_A_MEMBER`, `LIMIT_REACHED`; where the relay is told nothing
   * `SIGN_IN_REQUIRED`, `DEVICE_REMOVED`, `RELAY_KEY_CHANGED`; where this device took a new id meanwhile
   * `COUNTER_REUSED`; and `STORAGE_FULL`, `STORAGE_ERROR`, `CALL_ABORTED`. What is queued stays queued.
   */
  syncMessages(sessionId?: string, options?: Abortable): Promise<Result<number>> {
    return this.#sync((engine) => abortable(engine.syncMessages(sessionId), abortSignalOf(options)));
  }

  /**
   * Sends what is queued, of all sessions. Resolves as `syncMessages` does, but counts only entries of this device.
   *
   * Errors: as `syncMessages`.
   */
  processQueuedMessages(options?: Abortable): Promise<Result<number>> {
    return this.#sync((engine) => abortable(engine.processQueuedMessages(), abortSignalOf(options)));
  }

  /**
   * Syncs a session every `intervalMs`: 250 milliseconds to a day, by default the `syncIntervalMs` of the configuration.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`.
   */
  enableAutoSync(sessionId: string, intervalMs?: number): Promise<Result<null>> {
    return this.#call((engine) => engine.enableAutoSync(sessionId, intervalMs));
  }

  /**
   * Ends that; also where it was off.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`.
   */
  disableAutoSync(sessionId: string): Promise<Result<null>> {
    return this.#call((engine) => engine.disableAutoSync(sessionId));
  }

  /** Where syncing stands. No further errors. */
  getSyncStatus(): Result<SyncStatus> {
    return this.#read((engine) => engine.getSyncStatus());
  }

  /** The connection to the relay. No further errors. */
  getConnectionStatus(): Result<ConnectionState> {
    return this.#read((engine) => engine.getConnectionStatus());
  }

  /**
   * What this tab is among those of the connected wallet, whose API is the same: `owner` has the storage and the connection,
   * `follower` works through the owner, `joining` waits for one, `blocked` is to own and waits for the storage, which a frozen
   * tab holds, `refused` cannot follow the owner (a warning says why). `tabChanged` tells of the next one.
   *
   * No further errors.
   */
  getTabRole(): Result<TabRole> {
    return this.#read(({ tabState }) => ({ success: true, data: tabState.role }));
  }

  /**
   * The address of the connected wallet; `null` where none is.
   *
   * Errors: `SDK_NOT_INITIALIZED`.
   */
  getCurrentWallet(): Result<string | null> {
    if (!this.#lifecycle.isRunning) return failed(notInitialized());
    return { success: true, data: this.#lifecycle.account?.address ?? null };
  }

  /** The sessions of the connected wallet that are started. No further errors. */
  getActiveSessions(): Result<Session[]> {
    return map(this.#read((engine) => engine.getActiveSessions()), (sessions) => sessions.map(sessionOf));
  }

  /**
   * Who this browser is for the connected wallet: one id in all sessions. Another takes its place where the database was copied
   * or set back (`deviceReplaced`). No further errors.
   */
  getDeviceId(): Result<string> {
    return this.#read((engine) => engine.getDeviceId());
  }

  /**
   * Without an argument, the devices of the connected wallet in this application, those that were added first before the others; also
   * offline, as this device last heard. None before it has signed in (option `domains`). With a session, the devices that take part in
   * it, as the relay last told.
   *
   * Of two devices, of which one is approved and the other one waits, both have the same `number`, six digits, on the view of the other one,
   * once they were online at the same time: show it on both, and a person sees that it is the device in their hand (`deviceNumber`).
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`.
   *
   * @example
   * ```ts
   * for (const { id, isThisDevice, isApproved, addedAt } of unwrap(sdk.getDevices())) console.log(id, isThisDevice, isApproved, new Date(addedAt));
   * ```
   */
  getDevices(): Result<DeviceView[]>;
  getDevices(sessionId: string): Result<DeviceState[]>;
  getDevices(...session: [] | [sessionId: string]): Result<DeviceView[] | DeviceState[]> {
    return this.#read<DeviceView[] | DeviceState[]>((engine) => (session.length === 0 ? engine.getAccountDevices() : engine.getDevices(session[0])));
  }

  /**
   * Removes a device of the connected wallet, and with it all that it certified or approved. The relay cuts it at once and takes nothing
   * of it any more; its key never returns. What it has stored it keeps. Resolves when the account says so; a device that was removed
   * before is removed. Only an approved device may. This one may remove itself.
   *
   * Errors: `INVALID_ARGUMENT` (also without the option `domains`), `UNKNOWN_DEVICE`, `DEVICE_NOT_APPROVED`; it needs the relay, and is not
   * queued: `CONNECTION_FAILED`, `RELAY_DISCONNECTED` (then it may be done or not: `getDevices` tells), `SIGN_IN_REQUIRED`, `DEVICE_REMOVED`,
   * `RELAY_KEY_CHANGED`, `RELAY_ROLLED_BACK`, `RELAY_FORKED`, `RELAY_BUSY`, `RELAY_STORAGE_FAILED`, `ACCOUNT_MOVED` where others are quicker
   * each time; with `encryption`, `ACCOUNT_KEY_MISSING` where another device has the account's newest key and this one has not.
   *
   * @example
   * ```ts
   * const removed = await sdk.removeDevice(device.id);
   * if (removed.error) alert(removed.error.userMessage);
   * ```
   */
  removeDevice(deviceId: string): Promise<Result<null>> {
    return this.#now((engine) => engine.removeDevice(deviceId));
  }

  /**
   * Approves a device of the connected wallet that waits for it (`deviceRequest`): from then on it may approve and remove others too. The
   * first device is approved by itself, and only an approved one may approve. One that is approved already stays so. Show one request at a
   * time, with its `number` where there is one; that both devices are online is not needed.
   *
   * Errors: as `removeDevice`, and `LIMIT_REACHED` at 20 changes a day.
   */
  approveDevice(deviceId: string): Promise<Result<null>> {
    return this.#now((engine) => engine.approveDevice(deviceId));
  }

  /**
   * Makes a recovery code for the connected wallet and resolves with it: 28 characters in groups of four. With it, a new device of the
   * wallet reads the whole history, with no other device there (`recover`). Show it once, and have the person write it down: it is
   * neither stored nor sent, and nobody can give it again. A new code takes the place of the one before it, which is of no use then.
   * An account lists some 10 codes in a day (`LIMIT_REACHED`): the rest of what it may change is kept for devices.
   * Only an approved device makes one. A code falls with the device that made it, when that is removed: `recoveryChanged` tells.
   * A passkey (`createPasskey`) stays beside it.
   *
   * Errors: as `approveDevice`, without `UNKNOWN_DEVICE`; `INVALID_ARGUMENT` without the option `encryption`, `ACCOUNT_KEY_MISSING`,
   * `CRYPTO_ERROR`. After one of the relay's the account may name a code that nobody has seen: make another one.
   *
   * @example
   * ```ts
   * const made = await sdk.createRecoveryCode();
   * if (made.success) alert(`Write this down: ${made.data}`);
   * ```
   */
  createRecoveryCode(): Promise<Result<string>> {
    return this.#now((engine) => engine.createRecoveryCode());
  }

  /**
   * Makes a passkey for the connected wallet, which brings a person back as a recovery code does (`recoverWithPasskey`), on pages of this
   * host alone. Call it where the person has just pressed something. The browser asks them to unlock it, and keeps it where it keeps
   * passkeys: in a password manager, which has it on all devices of the person, or on this machine or a key. The SDK stores nothing of
   * it. A new passkey takes the place of the one before it: what keeps passkeys may list both, each with when it was made, and the
   * earlier one opens nothing: tell the person to delete it there. A recovery code stays beside it. Only an approved device makes one, and it falls with that device, when that is
   * removed: `recoveryChanged` tells.
   *
   * Errors: those of `createRecoveryCode`, before the person is asked: nobody makes a passkey that the account cannot take. Then
   * `PASSKEY_UNSUPPORTED` (no page over https, or a browser or authenticator without passkeys or their extension PRF: offer a recovery
   * code) and `PASSKEY_CANCELLED` (the person declined or took too long). Where the relay was lost or the account changed meanwhile, an
   * error comes behind that, and the account may not know the passkey: make another one.
   *
   * @example
   * ```ts
   * const made = await sdk.createPasskey();
   * if (made.error) alert(made.error.userMessage);
   * ```
   */
  createPasskey(): Promise<Result<null>> {
    return this.#withPasskey(true, async (address) => (await makePasskey('recover', address)).output);
  }

  /**
   * Approves this device by the wallet's recovery code, with no other device there: from then on it reads everything and may do all that
   * approved devices may. How the person groups the code, and capitals, do not matter. A code with a wrong or missing character is
   * refused before anything is said to the relay. On a device that is approved and lacks the account's newest key it brings that key.
   *
   * Errors: `INVALID_RECOVERY_CODE`, `UNKNOWN_RECOVERY_CODE`, `INVALID_ARGUMENT` (also without the option `encryption`), `CRYPTO_ERROR`
   * where what is sealed to the code does not open; it needs the relay, and is not queued: those of `removeDevice`.
   *
   * @example
   * ```ts
   * const recovered = await sdk.recover(field.value);
   * if (recovered.error) alert(recovered.error.userMessage);
   * ```
   */
  recover(code: string): Promise<Result<null>> {
    return this.#now((engine) => engine.recover(code));
  }

  /**
   * The same by a passkey of the wallet, on a page of the host where it was made. Call it where the person has just pressed something:
   * the browser asks them which passkey it is, and to unlock it. On a device that lacks nothing it asks nobody, and resolves at once.
   *
   * Errors: before the person is asked, those of `recover` that are known, and `UNKNOWN_RECOVERY_CODE` where the account has no passkey.
   * Then `PASSKEY_UNSUPPORTED`, `PASSKEY_CANCELLED` (also where the browser finds none), `UNKNOWN_RECOVERY_CODE` where it is another
   * wallet's, was replaced, or locks a device.
   *
   * @example
   * ```ts
   * const recovered = await sdk.recoverWithPasskey();
   * if (recovered.error) alert(recovered.error.userMessage);
   * ```
   */
  recoverWithPasskey(): Promise<Result<null>> {
    return this.#withPasskey(false, async () => (await usePasskey('recover')).output);
  }

  /**
   * Whether the connected wallet has a recovery code (`code`) and a passkey (`passkey`), and since when. Also offline, as this device last
   * heard; `recoveryChanged` tells of changes. No further errors.
   */
  getRecovery(): Result<RecoveryView> {
    return this.#read((engine) => engine.getRecovery());
  }

  /**
   * How syncing a session went, since the wallet was connected.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`.
   */
  getSyncStats(sessionId: string): Result<SyncStats> {
    return this.#read((engine) => engine.getSyncStats(sessionId));
  }

  /**
   * Works offline by wish, or no longer; also for wallets that are connected later. The option `startOffline` begins so.
   *
   * Errors: `SDK_NOT_INITIALIZED`, `INVALID_ARGUMENT`.
   */
  setOffline(offline: boolean): Result<null> {
    try {
      if (!this.#lifecycle.isRunning) throw notInitialized();
      this.#lifecycle.setOffline(flagOf('offline', offline));
      return { success: true, data: null };
    } catch (thrown) {
      return failed(errorOf(thrown));
    }
  }

  /**
   * Forgets the stored log of a session, not what is queued. The relay is not asked for it again.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION`, `STORAGE_FULL`, `STORAGE_ERROR`.
   */
  clearStoredMessages(sessionId: string): Promise<Result<null>> {
    return this.#call((engine) => engine.clearStoredMessages(sessionId));
  }

  /**
   * All stored messages of the connected wallet as JSON text, of sessions of two wallets: groups come from the relay. What is queued is
   * not among them.
   *
   * Errors: `STORAGE_ERROR`, `UNKNOWN_ERROR` where the export is too long for one text.
   */
  exportMessages(): Promise<Result<string>> {
    return this.#call((engine) => engine.exportMessages());
  }

  /**
   * What the relay has signed of a session, as the text of a file: where the session stopped with `RELAY_FORKED` or
   * `RELAY_ROLLED_BACK`, `solconnect-relay verify-evidence FILE` shows anybody what the relay did, in some cases with the file of
   * another device of the session beside it. It has digests and no content.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_SESSION` (also where the relay has signed nothing that this device knows), `STORAGE_ERROR`.
   */
  exportEvidence(sessionId: string): Promise<Result<string>> {
    return this.#call((engine) => engine.exportEvidence(sessionId));
  }

  /**
   * The way on when a relay was restored from an older backup (`RELAY_ROLLED_BACK`), or shows another log than before
   * (`RELAY_FORKED`, `ENTRY_FORGED`): the relay's logs count as they are now, in all sessions of the wallet that stopped, and in the list of the wallet's
   * devices. Ask the person first, and keep `exportEvidence` and `exportMessages` where they matter: what was stored beyond the
   * relay's log leaves. What this device wrote of it is queued again, with its ids, under a new device id (`deviceReplaced`,
   * `logReplaced`), and resolves with how many messages that are; what others wrote comes when their devices do the same. A device that
   * was listed after the backup is asked for its wallet's signature again, and one that was removed after it is listed again: see
   * `getDevices()`. Resolves with 0 where nothing has stopped. A session that stops later has its own warning, and goes on with the next call.
   *
   * Errors: `WALLET_NOT_CONNECTED`, `OUTBOX_FULL` where more than 10,000 messages of a session would wait (nothing has changed then),
   * `STORAGE_FULL`, `STORAGE_ERROR`.
   *
   * @example
   * ```ts
   * let goesOn: boolean | undefined;                          // asked once, and told for each session
   * sdk.on('warning', ({ error }) => {
   *   if (error.code !== 'RELAY_ROLLED_BACK') return;
   *   goesOn ??= confirm('The server was restored from a backup. Go on?');
   *   if (goesOn) void sdk.acceptRelayLog();
   * });
   * ```
   */
  acceptRelayLog(): Promise<Result<number>> {
    return this.#call((engine) => engine.acceptRelayLog());
  }

  /**
   * Takes in what another device of a session exported; resolves with the number of entries that were new: messages, edits and
   * deletions. Sessions of other wallets are skipped.
   *
   * Errors: `INVALID_ARGUMENT` (no export, one of another version, or one with a group or an encrypted session: then nothing of it is taken), `INVALID_MESSAGE_FORMAT` where the messages do not follow
   * what is stored, `MESSAGE_TOO_LARGE`, `LIMIT_REACHED`, `STORAGE_FULL`, `STORAGE_ERROR`, `CALL_ABORTED`.
   *
   * @example
   * ```ts
   * await other.importMessages(unwrap(await sdk.exportMessages()));
   * ```
   */
  importMessages(data: string, options?: Abortable): Promise<Result<number>> {
    return this.#call((engine) => abortable(engine.importMessages(data), abortSignalOf(options)));
  }

  /**
   * `read` as `markMessageAsRead`; `delivered` is told by itself, so it changes nothing.
   *
   * Errors: as `markMessageAsRead`.
   */
  updateMessageStatus(messageId: string, status: 'delivered' | 'read'): Promise<Result<null>> {
    return this.#call((engine) => engine.updateMessageStatus(messageId, status));
  }

  /**
   * The user saw this message and all before it in its session. One that is still queued is left as it is. What counts is the place in
   * the session: messages before it that this device cannot read yet count as read too. They are told as new when they can be read.
   *
   * The id is enough: an id that the SDK gave has its session in it, and others are looked for in all stored sessions, the
   * newest messages of each first. Where several messages have the same id (in different sessions, or of the two wallets of
   * one), which only applications and other clients can give, one of them is meant, and which one is not promised: give ids
   * that nobody else gives.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_MESSAGE` (also for one that this device cannot read yet), `UNKNOWN_SESSION`, `STORAGE_FULL`,
   * `STORAGE_ERROR`.
   */
  markMessageAsRead(messageId: string): Promise<Result<null>> {
    return this.#call((engine) => engine.markMessageAsRead(messageId));
  }

  /**
   * How far a message is: `failed` where the relay refused it for good. Of an edit or a deletion at most `sent`.
   *
   * The id is enough, as for `markMessageAsRead`; where several messages have it, one that is queued goes first.
   *
   * Errors: `INVALID_ARGUMENT`, `UNKNOWN_MESSAGE` (also for one that this device cannot read yet), `STORAGE_ERROR`.
   */
  getMessageStatus(messageId: string): Promise<Result<MessageStatus>> {
    return this.#call((engine) => engine.getMessageStatus(messageId));
  }

  /**
   * Adds a handler, also before `initialize`; returns what removes it. Handlers of the old names (`onStatusChanged`) get the
   * values one by one. A handler that throws is reported with `console.error` and disturbs nothing.
   *
   * Errors, thrown: `INVALID_ARGUMENT` for an event that there is not, or a handler that is no function.
   *
   * @example
   * ```ts
   * const stop = sdk.on('statusChanged', ({ messageId, status }) => mark(messageId, status));
   * stop();
   * ```
   */
  on<E extends keyof SdkEvents>(event: E, handler: (event: SdkEvents[E]) => void): () => void;
  on<E extends keyof SyncEvents>(event: E, handler: SyncEvents[E]): () => void;
  on(event: string, handler: (...values: never[]) => void): () => void {
    return this.#listeners.add(event, handler);
  }

  /** Removes a handler; also one that was not added. No errors. */
  off<E extends keyof SdkEvents>(event: E, handler: (event: SdkEvents[E]) => void): void;
  off<E extends keyof SyncEvents>(event: E, handler: SyncEvents[E]): void;
  off(event: string, handler: (...values: never[]) => void): void {
    this.#listeners.remove(event, handler);
  }

  #account(): NonNullable<Lifecycle['account']> {
    const { isRunning, account } = this.#lifecycle;
    if (!isRunning) throw notInitialized();
    if (!account) throw new SyncError('WALLET_NOT_CONNECTED', 'call connectWallet() first');
    return account;
  }

  /** A call of the connected wallet's engine. */
  async #call<T>(call: (engine: Engine) => Promise<EngineResult<T>>): Promise<Result<T>> {
    try {
      const result = adopt(await call(this.#account().engine));
      // The engine knows that it has ended, and not that the wallet has left.
      if (result.error?.code !== 'SDK_NOT_INITIALIZED' || !this.#lifecycle.isRunning) return result;
      return failed(new SyncError('WALLET_NOT_CONNECTED', `the wallet left before the answer: ${result.error.message}`));
    } catch (thrown) {
      return failed(errorOf(thrown));
    }
  }

  /** What the list of conversations has: sessions, also those that were ended, and invitations. */
  #sessions(): StoredSession[] {
    const stored = this.#read((engine) => engine.getStoredSessions()).data ?? [];
    const invited = this.#read((engine) => engine.getInvitations()).data ?? [];
    return [
      ...stored.map((session) => ({ ...session, state: session.isActive ? ('active' as const) : ('ended' as const) })),
      ...invited.map((invitation) => invitedSession(invitation, this.#lifecycle.account?.address ?? '')),
    ];
  }

  /** A call that needs the relay: where it cannot be reached, with the reason. */
  async #sync(call: (engine: Engine) => Promise<EngineResult<number>>): Promise<Result<number>> {
    const result = await this.#reasons.unlessKnown(this.#call(call));
    if (result instanceof SyncError) return failed(result);
    return result.success ? result : failed(await this.#reasons.explain(result.error));
  }

  /** A call that needs the relay at once. */
  async #now<T>(call: (engine: Engine) => Promise<EngineResult<T>>): Promise<Result<T>> {
    const result = await this.#call(call);
    return result.error ? failed(unkept(result.error)) : result;
  }

  /** Nobody is asked in vain: otherwise a passkey would be made that the account never knows. */
  #withPasskey(makes: boolean, ask: (address: string) => Promise<Uint8Array>): Promise<Result<null>> {
    return this.#now(async (engine) => {
      const { address } = this.#account();
      return unwrap(adopt(await engine.needsPasskey(makes))) ? engine.givePasskey(makes, await ask(address)) : { success: true, data: null };
    });
  }

  #read<T>(read: (engine: Engine) => EngineResult<T>): Result<T> {
    try {
      return adopt(read(this.#account().engine));
    } catch (thrown) {
      return failed(errorOf(thrown));
    }
  }

  /** A call that gives messages. */
  async #messages(call: (engine: Engine) => Promise<EngineResult<wasm.MessageView[]>>): Promise<Result<Message[]>> {
    const wallet = this.#lifecycle.account?.address ?? null;
    return map(await this.#call(call), (views) => views.map((view) => messageOf(view, wallet)));
  }
}

/** A session of which nothing is stored yet. */
function invitedSession({ session_id, peer_wallet, name }: wasm.InvitationView, wallet: string): StoredSession {
  const nothing = { deviceId: '', lastSyncedSequence: 0, queuedMessageCount: 0, vectorClock: {}, readThrough: 0, isActive: false };
  const group = name === undefined ? { kind: 'pair' as const } : { kind: 'group' as const, name };
  return { session_id, wallet, peer_wallet, ...group, members: [], membership: 'member', ...nothing, state: 'invited' };
}

function map<T, U>(result: Result<T>, of: (data: T) => U): Result<U> {
  return result.success ? { success: true, data: of(result.data) } : result;
}

const abortSignalOf = (options: Abortable | undefined): AbortSignal | undefined => signalOf(optionsOf('the options', options, ['signal'])['signal']);
