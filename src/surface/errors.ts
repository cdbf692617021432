// Errors and results, as an application gets them.

import type { ErrorCategory, ErrorCode, SdkError } from '../solconnect_sync.js';

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

  /** Errors of the surface: what follows from the code stands in its table. `plain` are the fields of one of the engine's. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; plain?: SdkError }) {
    super(message, options && 'cause' in options ? { cause: options.cause } : undefined);
    const [category, recoverable, userMessage] = FACTS[code] ?? ['system', true, 'Something unexpected happened.'];
    this.code = code;
    this.category = options?.plain?.category ?? category;
    this.userMessage = options?.plain?.userMessage ?? userMessage;
    this.recoverable = options?.plain?.recoverable ?? recoverable;
  }
}

// What follows from the codes that the surface raises itself. Those of the engine come with these facts.
const FACTS: { readonly [code in ErrorCode]?: readonly [ErrorCategory, boolean, string] } = {
  INVALID_ARGUMENT: ['validation', false, 'This app made a mistake. If it happens again, tell those who make it.'],
  INVALID_WALLET_ADDRESS: ['validation', false, 'This is not a wallet address.'],
  SESSION_CREATION_FAILED: ['validation', false, 'The conversation could not be started.'],
  SDK_NOT_INITIALIZED: ['system', true, 'This app is not ready yet. Try again in a moment.'],
  SDK_INITIALIZATION_FAILED: ['system', true, 'This app could not start. Reload the page.'],
  CONNECTION_FAILED: ['network', true, 'The relay cannot be reached. Your messages are kept and will be sent when it is.'],
  RELAY_DISCONNECTED: ['network', true, 'The connection to the relay was lost. It will be made again by itself.'],
  CRYPTO_ERROR: ['crypto', false, 'A cryptographic operation failed in this browser.'],
  STORAGE_ERROR: ['system', true, "The browser's storage failed. Nothing that was confirmed is lost."],
  STORAGE_REFUSED: ['system', false, 'The browser does not let this page store anything.'],
  STORAGE_FOREIGN: ['system', false, 'What is stored in this browser under this name belongs to something else. Nothing was changed.'],
  STORAGE_MISSING: ['system', false, 'This environment has no storage for messages.'],
  INSECURE_CONTEXT: ['system', false, 'This page must be opened over a secure connection (https).'],
  CONNECTION_BLOCKED: ['network', false, "This page's own rules do not let it reach the relay. Your messages are kept."],
  ORIGIN_REFUSED: ['relay', false, 'The relay does not serve this website. Your messages are kept.'],
  WALLET_NOT_CONNECTED: ['auth', true, 'Connect a wallet first.'],
  WALLET_CONNECTION_FAILED: ['auth', true, 'The wallet could not be connected.'],
  WALLET_NOT_FOUND: ['auth', true, 'No wallet was found in this browser. Install one, or unlock it, and try again.'],
  WALLET_REJECTED: ['auth', true, 'You declined in the wallet.'],
  WALLET_LOCKED: ['auth', true, 'The wallet is locked. Unlock it and try again.'],
  WALLET_UNSUPPORTED: ['auth', false, 'This kind of wallet cannot be used here.'],
  WALLET_TIMEOUT: ['auth', true, 'The wallet did not answer. Open it and try again.'],
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
  if (isPlain(thrown)) return new SyncError(thrown.code, thrown.message, { plain: thrown });
  return new SyncError('UNKNOWN_ERROR', describe(thrown), { cause: thrown });
}

/** Whether it has the fields of an error of the engine. */
function isPlain(value: unknown): value is SdkError {
  return typeof value === 'object' && value !== null && 'code' in value && 'userMessage' in value && typeof value.code === 'string';
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
export function adopt<T>(result: { success: true; data: T } | { success: false; error: SdkError }): Result<T> {
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
