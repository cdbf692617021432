// What locks a wallet's keys in this browser: a key that only a person's passphrase or passkey gives. Each page makes it once, and
// keeps it as long as it has the wallet connected: so no tab that takes over asks anybody.

import type { LockWith } from '../solconnect_sync.js';
import * as wasm from '../solconnect_sync.js';
import * as vault from '../vault/solconnect_sync_vault.js';
import { textOf } from './arguments.js';
import { adopt, describe, errorOf, SyncError, unwrap } from './errors.js';
import { makePasskey, usePasskey } from './passkey.js';

/** A key that no script can read, and what is stored of it. */
export interface Lock {
  readonly key: CryptoKey;
  readonly record: Uint8Array;
}

/** How the record of a lock by a passkey begins; then come the passkey's name and a proof of 32 bytes. */
const PASSKEY = 2;

/** What Argon2id makes of fewer can be guessed by who has copied the disk. NIST SP 800-63B asks for as many. */
const PASSPHRASE_CHARACTERS_MIN = 8;

/**
 * Has the person unlock a database, or choose what locks it. Nothing is written: a new lock is stored when the database is opened with it.
 * `error`: why what they gave before was not taken.
 *
 * Errors, rejected with: `DEVICE_LOCKED` where the person declines, or it is locked the other way; `PASSKEY_UNSUPPORTED`; those of what
 * opens databases; `INVALID_ARGUMENT` for a passphrase that is no text; `KEY_DERIVATION_FAILED`; the reason of `signal` where nobody wants
 * it any more.
 */
export async function unlock(lockWith: LockWith, address: string, database: string, signal: AbortSignal, error?: SyncError): Promise<Lock> {
  for (;;) {
    const before = await storedLock(database);
    if (before && (before[0] === PASSKEY) !== (lockWith === 'passkey')) throw locked('it was locked the other way: set lockWith as it was then');
    const input = lockWith === 'passkey' ? await byPasskey(address, before, signal) : await byPassphrase(lockWith, { isNew: !before, ...(error && { error }), signal });
    signal.throwIfAborted();
    if (input instanceof SyncError) {
      error = input;
      continue;
    }
    // Another tab may have locked it meanwhile.
    const lock = await lockOf(before ?? await storedLock(database), input);
    if (lock) return lock;
    if (before && lockWith === 'passkey') throw locked('the passkey gave another key than before');
    error = new SyncError('WRONG_PASSPHRASE', 'this is not what locked it');
  }
}

/** Whether another lock than this one is stored: another tab was quicker with it. */
export async function isOtherStored({ record }: Lock, database: string): Promise<boolean> {
  return String(await storedLock(database) ?? record) !== String(record);
}

const storedLock = async (database: string): Promise<Uint8Array | undefined> => unwrap(adopt(await wasm.storedLock(database)));

type ByPassphrase = Exclude<LockWith, 'passkey'>;

interface Input {
  /** How a new record begins. */
  readonly begin: () => Uint8Array;
  readonly secret: Uint8Array;
}

async function byPasskey(address: string, record: Uint8Array | undefined, signal: AbortSignal): Promise<Input> {
  try {
    const { id, output } = await (record ? usePasskey('locking', record.slice(1, -32), signal) : makePasskey('locking', address, signal));
    return { begin: () => vault.passkeyLock(id), secret: output };
  } catch (thrown) {
    const { code, message, cause } = errorOf(thrown);
    throw code === 'PASSKEY_CANCELLED' ? locked(message, cause) : thrown;
  }
}

async function byPassphrase(lockWith: ByPassphrase, asked: Parameters<ByPassphrase['passphrase']>[0]): Promise<Input | SyncError> {
  const given = await lockWith.passphrase(asked);
  if (given === null) throw locked('the person declined');
  // What two keyboards type for one letter is the same.
  const passphrase = textOf('the passphrase', given).normalize('NFKC');
  if (asked.isNew && [...passphrase].length < PASSPHRASE_CHARACTERS_MIN) return new SyncError('PASSPHRASE_TOO_SHORT', `a passphrase has at least ${PASSPHRASE_CHARACTERS_MIN} characters`);
  return { begin: () => vault.passphraseLock(crypto.getRandomValues(new Uint8Array(16))), secret: new TextEncoder().encode(passphrase) };
}

/** `null` where it is another passphrase. */
async function lockOf(record: Uint8Array | undefined, { begin, secret }: Input): Promise<Lock | null> {
  try {
    const made = record ? vault.openLock(record, secret) : vault.closeLock(begin(), secret);
    if (!made) return null;
    const key = await crypto.subtle.importKey('raw', made.subarray(0, 32) as BufferSource, 'AES-GCM', false, ['encrypt', 'decrypt']);
    made.fill(0, 0, 32);
    return { key, record: record ?? made.slice(32) };
  } catch (cause) {
    throw new SyncError('KEY_DERIVATION_FAILED', `the key of the lock could not be made: ${describe(cause)}`, { cause });
  } finally {
    secret.fill(0);
  }
}

const locked = (why: string, cause?: unknown): SyncError => new SyncError('DEVICE_LOCKED', `the wallet is locked in this browser: ${why}`, { cause });
