// The types that no Rust type stands for. Becomes part of the generated solconnect_sync.d.ts, where the other names come from.

/** 32 bytes in base58. */
export type WalletAddress = string;
/** The same for both peers and all their devices. */
export type SessionId = string;
/** One database of one browser profile. */
export type DeviceId = string;
/** `<session>:<device>:<start>:<counter>` where the SDK gave it, or what the application gave `sendMessage`. It never changes. */
export type MessageId = string;

/** What the engine answers; the surface makes its own `Result` of it. */
type Result<T> = { success: true; data: T } | { success: false; error: EngineError };

/** What the engine says of an error. What follows from the code, the surface knows. */
export interface EngineError {
  code: ErrorCode;
  /** For developers: which value, which limit. */
  message: string;
}

/** The fields of every error. */
export interface SdkError extends EngineError {
  category: ErrorCategory;
  /** For the user: what to do. */
  userMessage: string;
  /** Whether trying again, unchanged, can succeed. */
  recoverable: boolean;
}

/** What part of the world an error comes from. */
export type ErrorCategory = 'network' | 'crypto' | 'validation' | 'system' | 'auth' | 'relay';

/** What went wrong, by a stable name. The methods say which of them they have. */
export type ErrorCode =
  | 'CONNECTION_FAILED' | 'NETWORK_TIMEOUT' | 'RELAY_DISCONNECTED' | 'MESSAGE_DELIVERY_FAILED'
  | 'CRYPTO_ERROR' | 'ENCRYPTION_FAILED' | 'DECRYPTION_FAILED' | 'INVALID_KEY' | 'KEY_DERIVATION_FAILED'
  | 'SESSION_CREATION_FAILED' | 'UNKNOWN_SESSION' | 'UNKNOWN_MESSAGE' | 'MESSAGE_SENT' | 'NOT_YOUR_MESSAGE' | 'INVALID_MESSAGE_FORMAT'
  | 'INVALID_WALLET_ADDRESS' | 'INVALID_ARGUMENT' | 'INVALID_VECTOR_CLOCK' | 'MESSAGE_TOO_LARGE'
  | 'FRAME_TOO_LARGE' | 'OUTBOX_FULL' | 'LIMIT_REACHED' | 'WALLET_NOT_CONNECTED' | 'WALLET_BLOCKED' | 'WALLET_CONNECTION_FAILED'
  | 'INVALID_SIGNATURE' | 'SESSION_EXPIRED' | 'NOT_A_MEMBER' | 'MEMBER_REMOVED' | 'NOT_AN_ADMIN' | 'STORAGE_ERROR' | 'STORAGE_FULL'
  | 'STORAGE_REFUSED' | 'STORAGE_LOST' | 'STORAGE_FOREIGN' | 'STORAGE_VERSION' | 'STORAGE_BLOCKED' | 'CONFIG_MISMATCH' | 'TAB_OUTDATED'
  | 'PROFILE_IN_USE' | 'SDK_NOT_INITIALIZED' | 'SDK_INITIALIZATION_FAILED'
  | 'RELAY_ROLLED_BACK' | 'RELAY_FORKED' | 'ENTRY_FORGED' | 'RELAY_MISBEHAVED' | 'RELAY_BUSY' | 'RELAY_STORAGE_FAILED' | 'COUNTER_GAP' | 'NOT_ANNOUNCED'
  | 'INVALID_CERTIFICATE' | 'WRONG_KEY' | 'WRONG_DOMAIN' | 'WRONG_PURPOSE' | 'CERTIFICATE_EXPIRED' | 'ACCOUNT_MOVED' | 'ENCRYPTION_MISMATCH' | 'EPOCH_MOVED' | 'ACCOUNT_KEY_MISSING' | 'DEVICE_LOCKED' | 'DEVICE_REMOVED'
  | 'SIGN_IN_REQUIRED' | 'NONCE_EXPIRED' | 'WRONG_RELAY' | 'RELAY_KEY_CHANGED' | 'UNKNOWN_DEVICE' | 'DEVICE_NOT_APPROVED'
  | 'INVALID_RECOVERY_CODE' | 'UNKNOWN_RECOVERY_CODE'
  | 'COUNTER_REUSED' | 'MESSAGE_ID_TAKEN' | 'ALREADY_STORED' | 'UNKNOWN_FRAME' | 'UNKNOWN_ERROR'
  | 'STORAGE_MISSING' | 'INSECURE_CONTEXT' | 'CONNECTION_BLOCKED' | 'ORIGIN_REFUSED' | 'WALLET_NOT_FOUND' | 'WALLET_REJECTED'
  | 'WALLET_LOCKED' | 'WALLET_CANNOT_SIGN' | 'WALLET_UNSUPPORTED' | 'WALLET_TIMEOUT' | 'PASSKEY_UNSUPPORTED' | 'PASSKEY_CANCELLED'
  | 'WRONG_PASSPHRASE' | 'PASSPHRASE_TOO_SHORT' | 'CALL_SUPERSEDED' | 'CALL_ABORTED';

/** Options; what is left out has the value in brackets. Intervals and delays are in milliseconds. */
export interface SdkConfig {
  /**
   * The hosts that the application's pages are served from, as `location.host` has them. With it, every device proves to the relay
   * that it is its wallet's: the wallet signs once for each. Applications with other domains have other accounts. A program that is no
   * page (Node.js) signs in for the first of them. Not set, nobody signs in, and a relay that requires it does not serve the application.
   */
  domains?: readonly string[];
  /**
   * The relay's key, which it tells when it starts. Not set, it is the first that the relay shows to this device. With `domains`, a relay
   * of another key is told nothing (`RELAY_KEY_CHANGED`) until this option names that one.
   */
  relayKey?: string;
  /**
   * 'required': sessions are encrypted from device to device, and others are neither started nor joined nor written in. Needs `domains`, and a second
   * module that is loaded then. 'off': the relay can read them ['required' with `domains`, 'off' without].
   */
  encryption?: 'required' | 'off';
  /**
   * Who says that a new device of the wallet may read what is encrypted: 'ask' a person, by `approveDevice`, or 'auto', this device by
   * itself where the wallet has signed for it ['ask'].
   */
  deviceApproval?: 'ask' | 'auto';
  /**
   * What locks this device's keys beside the browser's own storage, for computers that several people use: a passphrase or a passkey, which
   * the person is asked for in each page that connects the wallet. Needs `domains`. Once a wallet is locked in a browser, it stays so. Not
   * set, whoever opens the browser is the device [not set].
   */
  lockWith?: LockWith;
  /** Where the relay listens ['ws://localhost:8080']. */
  relayEndpoint?: string;
  /** The application's own way to the relay, instead of a WebSocket to `relayEndpoint`. */
  transport?: SyncTransport;
  /** The IndexedDB database: one device ['solconnect-sync']. */
  databaseName?: string;
  /** Messages in one batch, 1 to 1000 [500]. Each batch has one signature of each device that wrote in it. */
  maxBatchSize?: number;
  /** How often a session with auto-sync asks the relay, in milliseconds, 250 to a day [5000]. */
  syncIntervalMs?: number;
  /** How long a silent connection is trusted, in milliseconds, 250 to a day [15000]. */
  heartbeatIntervalMs?: number;
  /** Which of several concurrent versions of a message is shown ['vector_clock']. */
  conflictResolutionStrategy?: Strategy;
  /**
   * How many attempts a sync gets after its first one, 0 to 100 [3]: a number, not a time. When the last of them has failed too, the sync is
   * reported as failed (`onSyncFailed`, and the result of `syncMessages`). An attempt fails where the connection cannot be opened or is
   * lost, and where the relay refuses for now (such as `RELAY_BUSY`). What is queued stays queued, and attempts go on without end.
   */
  maxRetries?: number;
  /** The base of the exponential backoff, in milliseconds, 10 to a day [1000]. */
  retryDelayMs?: number;
  /** Whether batches of the log may come compressed, where that pays [true]. */
  enableCompression?: boolean;
  /** Whether it begins offline by wish, until `setOffline(false)`: nothing is connected to. Of one that runs it changes nothing [false]. */
  startOffline?: boolean;
}

/**
 * How a device's keys are locked: by a passkey of this host, or by a passphrase, for which `passphrase` asks the person. `isNew`: nothing is
 * locked yet, and the passphrase is to be chosen, with at least 8 characters; show a field to type it twice, and say that nobody can
 * restore it. `error`: why the one before was not taken (`WRONG_PASSPHRASE`, `PASSPHRASE_TOO_SHORT`). `null` says that the person declines:
 * `connectWallet` has the error `DEVICE_LOCKED` then. `signal`: aborted when nobody wants the answer any more, because of a logout, `cleanup`,
 * another wallet or a call that was given up; take the question away then, for what it gives is not looked at.
 */
export type LockWith = 'passkey' | {
  /** Asks the person for the passphrase, as often as what they give is not taken. */
  passphrase(asked: { isNew: boolean; error?: SdkError; signal: AbortSignal }): Promise<string | null>;
};

/** A frame of the sync protocol (PROTOCOL.md) as an object. */
export type SyncFrame = { [field: string]: unknown };

/** A way to the relay that the application supplies. Frames must arrive whole and in order, or not at all. */
export interface SyncTransport {
  /** Sends a frame. Throwing or rejecting counts as a lost connection. */
  sendSyncMessage(frame: SyncFrame): void | Promise<void>;
  /** Registers the one handler of arriving frames. */
  onSyncMessage(handler: (frame: SyncFrame) => void): void;
  /** Whether a frame can be sent now. */
  isConnected(): boolean;
  /** Where present, called when a connection is wanted and there is none. */
  connect?(): Promise<void>;
  /** Where present, called when the connection is given up. */
  disconnect?(): void;
}

/** The wallet that is connected. */
export interface WalletInfo {
  address: string;
  /** `local`: a key pair of this browser, made by the SDK. */
  kind: 'provider' | 'local';
}

/** What waits to be sent, and how well it is kept meanwhile. */
export interface SyncStatus {
  syncInProgress: boolean;
  lastSyncAt?: Date;
  /** Messages that the relay has not acknowledged. */
  queuedMessageCount: number;
  /** Why the relay does not serve this device until its wallet signs (`signIn`): it has not, or the device was removed. */
  signInNeeded?: 'SIGN_IN_REQUIRED' | 'DEVICE_REMOVED';
  /** Whether the browser may evict what is stored. */
  durability: Durability;
}

/** Whether the browser may evict what is stored. */
export type Durability = 'persistent' | 'best-effort' | 'session-only' | 'memory';

/** How far a sync is. */
export interface SyncProgress {
  messagesSynced: number;
  totalMessages: number;
}

/** What ends a subscription. */
export interface Subscription {
  /** Ends it. A second call does nothing. */
  unsubscribe(): void;
}

/**
 * What changed in what is stored and shown, for `observe`. Places are sequence numbers.
 *
 * - `message`: it is new, or another than before, and whole. One without a sequence number takes the place of the one without that has
 *   its id, or comes last, of those that failed or of those that wait behind them; one with it stands at its place, and the one without that has its id leaves.
 * - `stale`: its text or its versions are others: ask `getMessage` for it.
 * - `status`: the message of this id that has no sequence number is so far. How far others are, receipts tell.
 * - `receipt`: a wallet has everything up to a place, or has read it, which raises the status of what other wallets wrote up to there.
 *   That of the own wallet tells what is read on any of its devices. In a group own messages are so far up to `allThrough`, which all
 *   others have; elsewhere the two are one.
 * - `removed`: the message of this id that has no sequence number is no longer there.
 * - `cleared`: nothing that had a sequence number is there any more.
 * - `missed`: what was on its way to disk when the handler was set is stored: what was read before may lack it, and is to be read again.
 * - `session`: the session is new, or began or ended.
 */
export type Change =
  | { type: 'message'; sessionId: string; message: MessageView }
  | { type: 'stale'; sessionId: string; messageId: string }
  | { type: 'status'; sessionId: string; messageId: string; status: MessageStatus; error?: EngineError }
  | { type: 'receipt'; sessionId: string; wallet: string; status: 'delivered' | 'read'; through: number; allThrough: number }
  | { type: 'removed'; sessionId: string; messageId: string }
  | { type: 'cleared'; sessionId: string }
  | { type: 'session'; sessionId: string }
  | { type: 'missed' };

/**
 * The handlers of `on` and `off`, by event.
 *
 * @example
 * ```ts
 * sdk.on('onStatusChanged', (sessionId, messageId, status, error) => mark(messageId, status, error?.userMessage));
 * ```
 */
export interface SyncEvents {
  /** A sync of a session began. */
  onSyncStarted(sessionId: string): void;
  /** It went on. `messagesSynced` never falls. */
  onSyncProgress(sessionId: string, progress: SyncProgress): void;
  /** All is sent and stored. */
  onSyncCompleted(sessionId: string, stats: SyncStats): void;
  /** It failed for now, with one of the codes of `syncMessages`; what is queued stays queued. */
  onSyncFailed(sessionId: string, error: SdkError): void;
  /** Messages, or versions of one message, were written without knowing of each other. */
  onConflictDetected(sessionId: string, conflicts: Conflict[]): void;
  /** An own message is in the stored log. */
  onMessageSynced(sessionId: string, messageId: string): void;
  /**
   * A message of this wallet moved on. With `failed`, `error` says why the relay refused it for good: `MESSAGE_ID_TAKEN`,
   * `MESSAGE_TOO_LARGE`, `INVALID_MESSAGE_FORMAT`, or another refusal of the relay.
   */
  onStatusChanged(sessionId: string, messageId: string, status: MessageStatus, error?: SdkError): void;
  /** A message has another winning version, or its versions are in conflict. */
  onMessageChanged(sessionId: string, messageId: string): void;
  /**
   * Another wallet has begun a session with this one, or added it to a group, which has a name. Told once in each page until it is answered (`acceptSession`,
   * `declineSession`, `blockWallet`), from when the wallet is connected, also offline; `getInvitations` lists them. A session
   * that another device of the wallet began or accepted is no invitation: it is simply among `getActiveSessions`.
   */
  onSessionInvited(sessionId: string, peerWallet: string, name?: string): void;
  /** Who is in a group, who may change it, or what it is called is otherwise: `getMembers` tells. */
  onMembersChanged(sessionId: string): void;
  /** An epoch began in an encrypted session, somebody came or left, or this device can read more: `getEncryption` tells. */
  onEncryptionChanged(sessionId: string): void;
  /** Devices of a session came, left or went on. */
  onDevicesChanged(sessionId: string, devices: DeviceState[]): void;
  /** The connection to the relay changed. */
  onConnectionChanged(state: ConnectionState): void;
  /** So many messages wait now. */
  onQueueChanged(queuedMessageCount: number): void;
  /**
   * This device goes on under a new id in all sessions, because its storage was copied or set back, or because it was removed from the
   * account. Messages keep their ids.
   */
  onDeviceReplaced(oldId: string, newId: string): void;
  /**
   * The relay's log of a session has taken the place of the stored one (`acceptRelayLog`). What was stored behind the entry `keptThrough`
   * left, and comes again from the relay or from who wrote it; so many messages of it are this device's, and are queued.
   */
  onLogReplaced(sessionId: string, keptThrough: number, offeredCount: number): void;
  /** The connected wallet has one more device; also this one, when it has signed in for the first time. */
  onDeviceAdded(device: DeviceView): void;
  /** That device waits to be approved, and this one may do it (`approveDevice`). */
  onDeviceRequest(device: DeviceView): void;
  /** This device and that one show another number than before (`device.number`), or none any more. */
  onDeviceNumber(device: DeviceView): void;
  /** A device of the connected wallet was approved. */
  onDeviceApproved(deviceId: string): void;
  /** A device is none of the connected wallet's any more. */
  onDeviceRemoved(deviceId: string): void;
  /** The connected wallet has another recovery code or passkey, or one of them no longer. */
  onRecoveryChanged(recovery: RecoveryView): void;
  /**
   * The relay serves this device only when its wallet has signed: it has not, or the relay did not take what it signed, or the device
   * was removed (`DEVICE_REMOVED`), for this reason. `signIn` asks the wallet.
   */
  onSignInNeeded(error?: SdkError): void;
  /**
   * The browser has deleted what was stored, it could not be made again, and nobody keeps these messages any more: keep their
   * texts. They were not sent, as far as this device knows. An edit that was not sent is told as its message with the new text.
   */
  onStorageLost(lost: MessageView[]): void;
  /**
   * Something is wrong that no call can be blamed for. `STORAGE_LOST`; where a session has stopped `RELAY_ROLLED_BACK`,
   * `RELAY_FORKED`, `ENTRY_FORGED`, `NOT_A_MEMBER` or `LIMIT_REACHED`, of which the first two are also told where the relay's log of the
   * wallet's devices is not that of before; `RELAY_KEY_CHANGED`; where what the relay sent cannot be read or stored `RELAY_MISBEHAVED`,
   * `STORAGE_FULL` or `STORAGE_ERROR`; `STORAGE_BLOCKED` where another tab keeps the storage from opening; where this tab can no
   * longer follow another `CONFIG_MISMATCH` or `TAB_OUTDATED`; and other refusals of the relay, such as `RELAY_BUSY` and
   * `RELAY_STORAGE_FAILED`.
   */
  onWarning(error: SdkError): void;
}

/** What emits `SyncEvents`. A handler that throws is reported with `console.error` and disturbs nothing. */
export interface SyncEmitter {
  /** Has the handler called at each such event from now on. */
  on<E extends keyof SyncEvents>(event: E, handler: SyncEvents[E]): void;
  /** Ends that. */
  off<E extends keyof SyncEvents>(event: E, handler: SyncEvents[E]): void;
}

export interface SolConnectSDK extends SyncEmitter {}
