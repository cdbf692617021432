// Errors and results, as an application gets them.

import type { EngineError, ErrorCategory, ErrorCode, SdkError } from '../solconnect_sync.js';

/**
 * Why something failed. Results carry it, events tell it, and what rejects or throws does so with it.
 *
 * `code` is stable, `message` is for developers, `userMessage` says to a person what happened and what to do, `cause` is
 * what another party threw (a wallet, the browser), where it did.
 */
export class SyncError extends Error implements SdkError {
  override readonly name = 'SyncError';
  readonly code: ErrorCode;
  readonly category: ErrorCategory;
  readonly userMessage: string;
  readonly recoverable: boolean;

  /** `options` may have a `cause`. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    [this.category, this.recoverable, this.userMessage] = FACTS[code];
  }
}

// What follows from each code: what it is about, whether trying again unchanged can succeed, and what to tell a person. Codes that no
// application gets any more have the text of the one that took their place.
const FACTS: Readonly<Record<ErrorCode, readonly [ErrorCategory, boolean, string]>> = {
  CONNECTION_FAILED: ['network', true, 'The relay cannot be reached. Your messages are kept and will be sent when it is.'],
  NETWORK_TIMEOUT: ['network', true, 'The relay cannot be reached. Your messages are kept and will be sent when it is.'],
  RELAY_DISCONNECTED: ['network', true, 'There is no connection to the relay. What you write is kept, and sent when there is one.'],
  MESSAGE_DELIVERY_FAILED: ['relay', false, 'This message was refused and will not be sent.'],
  CRYPTO_ERROR: ['crypto', false, 'A cryptographic operation failed in this browser.'],
  ENCRYPTION_FAILED: ['crypto', false, 'A cryptographic operation failed in this browser.'],
  DECRYPTION_FAILED: ['crypto', false, 'A cryptographic operation failed in this browser.'],
  INVALID_KEY: ['crypto', false, 'The wallet or the server has a key that cannot be used here.'],
  KEY_DERIVATION_FAILED: ['crypto', false, 'A cryptographic operation failed in this browser.'],
  SESSION_CREATION_FAILED: ['validation', false, 'The conversation could not be started.'],
  UNKNOWN_SESSION: ['validation', false, 'This conversation is not open on this device. If you were invited to it, accept first; otherwise start it.'],
  UNKNOWN_MESSAGE: ['validation', false, 'This message is not known on this device.'],
  MESSAGE_SENT: ['validation', false, 'This message was sent already. Delete it instead.'],
  NOT_YOUR_MESSAGE: ['validation', false, 'Only the person who wrote a message can change it.'],
  INVALID_MESSAGE_FORMAT: ['validation', false, 'This message cannot be sent as it is. It may be empty.'],
  INVALID_WALLET_ADDRESS: ['validation', false, 'This is not a wallet address.'],
  INVALID_ARGUMENT: ['validation', false, 'This app made a mistake. If it happens again, tell those who make it.'],
  INVALID_VECTOR_CLOCK: ['validation', false, 'This app made a mistake. If it happens again, tell those who make it.'],
  MESSAGE_TOO_LARGE: ['validation', false, 'The message is too long.'],
  FRAME_TOO_LARGE: ['validation', false, 'Too much was sent at once.'],
  OUTBOX_FULL: ['validation', true, 'Too many messages are waiting. Go online to send them first.'],
  LIMIT_REACHED: ['validation', false, 'There are too many here: of conversations, members, devices or blocked people. Remove some, or try again in a day.'],
  WALLET_NOT_CONNECTED: ['auth', true, 'Connect a wallet first.'],
  WALLET_BLOCKED: ['validation', false, 'You have blocked this person. Unblock them first.'],
  WALLET_CONNECTION_FAILED: ['auth', true, 'The wallet could not be connected.'],
  INVALID_SIGNATURE: ['auth', false, 'A signature is not right. Sign in again with your wallet.'],
  SESSION_EXPIRED: ['auth', true, 'Connect a wallet first.'],
  NOT_A_MEMBER: ['auth', false, 'You are not part of this conversation.'],
  MEMBER_REMOVED: ['auth', false, 'You are no longer part of this conversation. You can still read it.'],
  NOT_AN_ADMIN: ['auth', false, 'Only an admin of the group can do this.'],
  STORAGE_ERROR: ['system', true, "The browser's storage failed. Nothing that was confirmed is lost."],
  STORAGE_FULL: ['system', true, 'There is no space left to store messages. Free some and try again.'],
  STORAGE_REFUSED: ['system', false, 'The browser does not let this page store anything.'],
  STORAGE_LOST: ['system', false, 'The browser has deleted what was stored here. What was sent comes back from the relay, and what was not is sent where a copy of it is left.'],
  STORAGE_FOREIGN: ['system', false, 'What is stored in this browser under this name belongs to something else. Nothing was changed.'],
  STORAGE_VERSION: ['system', false, 'What is stored in this browser belongs to another version of this app. Nothing was changed.'],
  STORAGE_BLOCKED: ['system', true, "The browser's storage is kept by another tab that does not answer. Close the other tabs of this app."],
  CONFIG_MISMATCH: ['system', false, 'This account is open in another tab with other settings. Close that one first.'],
  TAB_OUTDATED: ['system', false, 'This app was updated in another tab. Reload this one.'],
  PROFILE_IN_USE: ['system', true, 'This account is open in another tab. Close it there or use it there.'],
  SDK_NOT_INITIALIZED: ['system', true, 'This app is not ready yet. Try again in a moment.'],
  SDK_INITIALIZATION_FAILED: ['system', true, 'This app could not start. Reload the page.'],
  RELAY_ROLLED_BACK: ['relay', false, 'The relay has lost messages that it had confirmed. Ask its operator to restore them.'],
  RELAY_FORKED: ['relay', false, 'The relay shows another history than before. Nothing more is sent to it here.'],
  ENTRY_FORGED: ['relay', false, 'The relay shows messages that their author did not write so. They are not shown, and nothing more is sent to it here.'],
  RELAY_MISBEHAVED: ['relay', true, 'The relay sent something that makes no sense. It will be tried again.'],
  RELAY_BUSY: ['relay', true, 'The relay is busy. Your messages will be sent shortly.'],
  RELAY_STORAGE_FAILED: ['relay', true, 'The relay could not store your messages. They are kept and sent again.'],
  NOT_ANNOUNCED: ['relay', true, 'The connection is being set up again.'],
  COUNTER_GAP: ['relay', true, 'Messages arrived out of order and will be sent again.'],
  COUNTER_REUSED: ['relay', false, 'This device was copied or restored. It goes on under a new name.'],
  MESSAGE_ID_TAKEN: ['validation', false, 'Another message was sent under the same name. Send this one again.'],
  ALREADY_STORED: ['relay', true, 'This message has arrived already.'],
  UNKNOWN_FRAME: ['relay', false, 'The other side uses a newer version of this app. Reload the page.'],
  INVALID_CERTIFICATE: ['auth', false, 'The wallet signed something else than it was asked for. Try again.'],
  WRONG_KEY: ['auth', false, 'The signature is that of another wallet or device.'],
  WRONG_DOMAIN: ['auth', false, 'The wallet signed for another website, or this page is at an address that the app does not name as its own.'],
  WRONG_PURPOSE: ['auth', false, 'The wallet signed for something else.'],
  CERTIFICATE_EXPIRED: ['auth', false, 'Your wallet must sign again for this device. Check that its clock is right.'],
  ACCOUNT_MOVED: ['auth', true, 'Your account was changed on another device. It will be tried again.'],
  ENCRYPTION_MISMATCH: ['crypto', false, 'This conversation is encrypted differently from what this app allows. Start a new one.'],
  EPOCH_MOVED: ['relay', true, 'Who can read this conversation has just changed. Your message is encrypted anew and sent by itself.'],
  ACCOUNT_KEY_MISSING: ['auth', true, 'Your messages wait, because this device is without the newest key of your account. Open this page on another of your devices.'],
  DEVICE_LOCKED: ['auth', true, 'This device is locked. Unlock it, or delete what is stored here and sign in again.'],
  DEVICE_REMOVED: ['auth', false, 'This device was removed from your account. What is stored here can still be read. To write, sign in again.'],
  SIGN_IN_REQUIRED: ['auth', true, 'Sign in with your wallet first.'],
  NONCE_EXPIRED: ['auth', true, 'Signing in took too long. It will be tried again.'],
  WRONG_RELAY: ['relay', false, 'The server is not the one that it says it is. Nothing was sent to it.'],
  RELAY_KEY_CHANGED: ['relay', false, 'The server is another one than before. Nothing was sent to it.'],
  UNKNOWN_DEVICE: ['validation', false, 'There is no such device any more.'],
  INVALID_RECOVERY_CODE: ['validation', false, 'This is no recovery code. Check each character: one is wrong or missing.'],
  UNKNOWN_RECOVERY_CODE: ['auth', false, 'This recovery code or passkey is not valid any more, is for another wallet, or unlocks a device.'],
  DEVICE_NOT_APPROVED: ['auth', false, 'Approve this device on another one of yours first.'],
  UNKNOWN_ERROR: ['system', true, 'Something unexpected happened.'],
  STORAGE_MISSING: ['system', false, 'This environment has no storage for messages.'],
  INSECURE_CONTEXT: ['system', false, 'This page must be opened over a secure connection (https).'],
  CONNECTION_BLOCKED: ['network', false, "This page's own rules do not let it reach the relay. Your messages are kept."],
  ORIGIN_REFUSED: ['relay', false, 'The relay does not serve this website. Your messages are kept.'],
  WALLET_NOT_FOUND: ['auth', true, 'No wallet was found in this browser. Install one, or unlock it, and try again.'],
  WALLET_REJECTED: ['auth', true, 'You declined in the wallet.'],
  WALLET_LOCKED: ['auth', true, 'The wallet is locked. Unlock it and try again.'],
  WALLET_CANNOT_SIGN: ['auth', false, 'This wallet cannot sign messages. Messages are kept; connect another wallet to send them.'],
  WALLET_UNSUPPORTED: ['auth', false, 'This kind of wallet cannot be used here.'],
  WALLET_TIMEOUT: ['auth', true, 'The wallet did not answer. Open it and try again.'],
  PASSKEY_UNSUPPORTED: ['auth', false, 'Passkeys cannot be used for this here. Use another browser or another way.'],
  WRONG_PASSPHRASE: ['auth', true, 'This is not the passphrase. Try again.'],
  PASSPHRASE_TOO_SHORT: ['validation', false, 'The passphrase is too short. Take at least 8 characters.'],
  PASSKEY_CANCELLED: ['auth', true, 'No passkey was given. Try again; a recovery code does the same.'],
  CALL_SUPERSEDED: ['system', true, 'Something else was asked for meanwhile.'],
  CALL_ABORTED: ['system', true, 'This was cancelled.'],
};

/**
 * What asynchronous methods of the SDK resolve with; they never reject. It narrows by `success` or by `error`.
 *
 * @example
 * ```ts
 * const sent = await sdk.sendMessage(sessionId, 'Hello!');
 * if (sent.error) show(sent.error.userMessage);
 * else console.log(sent.data.messageId);
 * ```
 */
export type Result<T> =
  | { success: true; data: T; error?: undefined }
  | { success: false; error: SyncError; data?: undefined };

/**
 * The data of a result. Throws its error.
 *
 * @example
 * ```ts
 * const { messageId } = unwrap(await sdk.sendMessage(sessionId, 'Hello!'));
 * ```
 */
export function unwrap<T>(result: Result<T>): T {
  if (result.success) return result.data;
  throw result.error;
}

export const done = <T>(data: T): Result<T> => ({ success: true, data });

export const failed = (error: SyncError): Result<never> => ({ success: false, error });

/** Anything that was thrown, as an error of ours. */
export function errorOf(thrown: unknown): SyncError {
  if (thrown instanceof SyncError) return thrown;
  if (isOfEngine(thrown)) return new SyncError(thrown.code, thrown.message);
  return new SyncError('UNKNOWN_ERROR', describe(thrown), { cause: thrown });
}

/** The error of a call that needs the relay at once: unlike messages, nothing of it is kept for later. */
export function unkept(error: SyncError): SyncError {
  const { category, recoverable } = error;
  const userMessage = category === 'network'
    ? 'The relay cannot be reached, and this needs it. Try again when you are online.'
    : category === 'relay' && recoverable && 'The relay could not do this now. Try again in a moment.';
  return userMessage ? Object.assign(error, { userMessage }) : error;
}

/** Whether it is an error of the engine: nothing else has codes of ours. */
function isOfEngine(value: unknown): value is EngineError {
  return typeof value === 'object' && value !== null && 'code' in value && typeof value.code === 'string' && Object.hasOwn(FACTS, value.code);
}

/** What anything thrown says of itself, whatever it does when it is asked. */
export function describe(thrown: unknown): string {
  try {
    return String((thrown as { message?: unknown } | null)?.message ?? thrown) || 'it gave no reason';
  } catch {
    return 'it gave no reason';
  }
}

/** The engine's result as ours. */
export function adopt<T>(result: { success: true; data: T } | { success: false; error: EngineError }): Result<T> {
  return result.success ? done(result.data) : failed(errorOf(result.error));
}

/** The `Result` of some work. */
export async function settle<T>(work: () => T | Promise<T>): Promise<Result<T>> {
  try {
    return done(await work());
  } catch (thrown) {
    return failed(errorOf(thrown));
  }
}
