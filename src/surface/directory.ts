// The index beside the wallets' databases: which wallets were used here, which one last, and the local wallet's keys.
//
// Every call opens the database, runs one transaction and closes it: nothing here keeps another tab from deleting or upgrading
// anything. The database is opened without a version and made within that same request, so there is no moment between looking
// and making: one that somebody else made is neither raised, nor asked to close, nor deleted.

import { describe, SyncError } from './errors.js';
import type { OpenWallet } from './wallets.js';

/** A wallet that was used here. */
export interface KnownWallet {
  address: string;
  kind: OpenWallet['kind'];
}

interface StoredWallet extends KnownWallet {
  /** How often it was logged out, once it was remembered: a page that comes back asks whether it was while it was away. */
  logouts?: number;
  /** Of a local wallet. The private one cannot be read by scripts. */
  keys?: CryptoKeyPair;
}

/** By address. */
const WALLETS = 'wallets';
/** The last wallet's address, and the mark. */
const STATE = 'state';
const LAST = 'last';
/** Tells our database from another with stores of the same names. */
const MARK = 'format';
const FORMATS = 'solconnect-sync directory ';
const FORMAT = `${FORMATS}1`;

/** Stores that every format of the engine has had. */
const ENGINE_STORES = ['meta', 'sessions', 'outbox', 'log'];

/** How long a call may take before it is tried once more (B9, B11). */
const CALL_TIMEOUT_MS = 5_000;

const ALGORITHM = 'Ed25519';

/** How often a key pair is tried for: each try fails once in 170 in WebKitGTK (P31). */
const KEY_ATTEMPTS = 5;

type Code = ConstructorParameters<typeof SyncError>[0];
type Stores = { readonly wallets: IDBObjectStore; readonly state: IDBObjectStore };

/**
 * The wallets of this profile under a database name. Calls may overlap; tabs that call at the same time get the same answers.
 *
 * Errors, rejected with by every method: STORAGE_MISSING where there is no IndexedDB, STORAGE_REFUSED where the browser does not
 * let the page store, STORAGE_FOREIGN for a database of this name that something else made and STORAGE_VERSION for one of
 * another version of the SDK, which are left as they are, STORAGE_FULL, STORAGE_ERROR.
 *
 * @example
 * ```ts
 * const directory = new Directory('solconnect-sync', addressOf);
 * const wallet = (await directory.last()) ?? (await directory.localWallet());
 * await directory.remember(wallet.address, wallet.kind);
 * ```
 */
export class Directory {
  readonly #name: string;
  readonly #addressOf: (bytes: Uint8Array) => string;

  /** `addressOf` gives the base58 of 32 bytes. */
  constructor(name: string, addressOf: (bytes: Uint8Array) => string) {
    this.#name = name;
    this.#addressOf = addressOf;
  }

  /** The wallet that was used last; `null` where there was none, or it was forgotten. */
  last(): Promise<KnownWallet | null> {
    return this.#run(async ({ wallets, state }) => {
      const address: unknown = await result(state.get(LAST));
      if (address === undefined) return null;
      const known = await result<StoredWallet | undefined>(wallets.get(address as string));
      return known ? { address: known.address, kind: known.kind } : null;
    });
  }

  /** This wallet is the last one now. Gives how often it was logged out. */
  remember(address: string, kind: KnownWallet['kind']): Promise<number> {
    return this.#run(async ({ wallets, state }) => {
      const known = await result<StoredWallet | undefined>(wallets.get(address));
      // Whoever hands the local wallet over.
      const wallet: StoredWallet = { ...known, address, kind: known?.keys ? 'local' : kind, logouts: known?.logouts ?? 0 };
      wallets.put(wallet, address);
      state.put(address, LAST);
      return wallet.logouts as number;
    });
  }

  /** How often a wallet was logged out; `undefined` for one that is not known, or no longer. */
  logouts(address: string): Promise<number | undefined> {
    return this.#run(async ({ wallets }) => (await result<StoredWallet | undefined>(wallets.get(address)))?.logouts);
  }

  /** No wallet is the last one any more, and one may be logged out. What is stored of them stays. */
  forgetLast(loggedOut = ''): Promise<void> {
    return this.#run(async ({ wallets, state }) => {
      state.delete(LAST);
      const known = await result<StoredWallet | undefined>(wallets.get(loggedOut));
      if (known) wallets.put({ ...known, logouts: (known.logouts as number) + 1 }, loggedOut);
    });
  }

  /**
   * Deletes all that is stored here of a wallet: its database, the mark beside it, and, of the local wallet, its keys.
   *
   * Also rejects with STORAGE_ERROR where another tab keeps the database open for too long. The browser deletes it as soon as
   * that tab lets go; call it again to be told.
   */
  async wipe(address: string, deleteDatabase: (name: string) => Promise<unknown>): Promise<void> {
    const name = `${this.#name}/${address}`;
    await patiently((isOver) => deleteData(name, isOver, deleteDatabase));
    await this.#run(async ({ wallets, state }) => {
      const last: unknown = await result(state.get(LAST));
      if (last === address) state.delete(LAST);
      wallets.delete(address);
    });
  }

  /**
   * The local wallet: an Ed25519 key pair that this profile makes once and no script can read.
   *
   * Also rejects with INSECURE_CONTEXT where the page is served neither over https nor from localhost, and CRYPTO_ERROR where
   * the browser has no Ed25519.
   */
  async localWallet(): Promise<OpenWallet> {
    const kept = async ({ wallets }: Stores) => (await result<StoredWallet[]>(wallets.getAll())).find(({ keys }) => keys);
    const subtle = subtleCrypto();
    let wallet = await this.#run(kept);
    if (!wallet) {
      const made = await this.#makeLocal(subtle);
      // Whoever comes first wins: other tabs may have made one meanwhile.
      wallet = await this.#run(async (stores) => {
        const first = await kept(stores);
        if (!first) stores.wallets.put(made, made.address);
        return first ?? made;
      });
    }
    const { address, keys } = wallet;
    return {
      address,
      kind: 'local',
      async signMessage(message) {
        const signature = subtle.sign(ALGORITHM, (keys as CryptoKeyPair).privateKey, message as BufferSource);
        return new Uint8Array(await signature.catch(cryptoFailed));
      },
      // It is this one for ever.
      onAccountChanged: () => () => {},
    };
  }

  async #makeLocal(subtle: SubtleCrypto): Promise<StoredWallet> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const keys = (await subtle.generateKey(ALGORITHM, false, ['sign', 'verify'])) as CryptoKeyPair;
        const address = this.#addressOf(new Uint8Array(await subtle.exportKey('raw', keys.publicKey)));
        return { address, kind: 'local', keys };
      } catch (thrown) {
        const isChance = (thrown as { name?: unknown } | null)?.name === 'OperationError';
        if (!isChance || attempt === KEY_ATTEMPTS) return cryptoFailed(thrown);
      }
    }
  }

  #run<T>(work: (stores: Stores) => Promise<T>): Promise<T> {
    return patiently(async (isOver) => {
      const database = await openDirectory(this.#name);
      try {
        if (isOver()) throw late();
        return await transact(database, work);
      } finally {
        database.close();
      }
    });
  }
}

const late = (): SyncError => new SyncError('STORAGE_ERROR', `IndexedDB did not answer within ${CALL_TIMEOUT_MS} ms; another tab may hold it`);

/**
 * Does it once more after a failure that may lie in the connection, and after no answer: all here can be done twice. A request that
 * waits cannot be taken back, so the work asks whether it `isOver` before it changes anything.
 */
async function patiently<T>(work: (isOver: () => boolean) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(late()), CALL_TIMEOUT_MS);
    });
    try {
      return await Promise.race([work(() => isOver), over]);
    } catch (thrown) {
      const error = storageError(thrown);
      if (attempt === 2 || error.code !== 'STORAGE_ERROR') throw error;
    } finally {
      isOver = true;
      clearTimeout(timer);
    }
  }
}

/** A database as it is; `make` gets one that is not there, and may abort its transaction. */
async function open(name: string, make: (database: IDBDatabase, transaction: IDBTransaction) => void): Promise<IDBDatabase> {
  let factory: IDBFactory | undefined;
  try {
    factory = globalThis.indexedDB;
    if (!factory) throw new SyncError('STORAGE_MISSING', 'there is no IndexedDB here');
    const request = factory.open(name);
    request.onupgradeneeded = () => make(request.result, request.transaction as IDBTransaction);
    const database = await result(request);
    // Whoever wants to upgrade or delete it need not wait for us.
    database.onversionchange = () => database.close();
    return database;
  } catch (thrown) {
    throw storageError(thrown, 'STORAGE_REFUSED');
  }
}

async function openDirectory(name: string): Promise<IDBDatabase> {
  const database = await open(name, (made) => {
    made.createObjectStore(WALLETS);
    made.createObjectStore(STATE).put(FORMAT, MARK);
  });
  try {
    const stores = [...database.objectStoreNames];
    if (isEngine(stores)) throw otherVersion(name);
    const mark: unknown = stores.includes(STATE) && stores.includes(WALLETS) && (await result(database.transaction(STATE).objectStore(STATE).get(MARK)));
    if (mark !== FORMAT) throw String(mark).startsWith(FORMATS) ? otherVersion(name) : foreign(name);
    return database;
  } catch (thrown) {
    database.close();
    throw thrown;
  }
}

const isEngine = (stores: readonly string[]): boolean => ENGINE_STORES.every((store) => stores.includes(store));

const otherVersion = (name: string): SyncError => new SyncError('STORAGE_VERSION', `the database "${name}" is of another version of this SDK. It is left as it is`);

const foreign = (name: string): SyncError => new SyncError('STORAGE_FOREIGN', `the database "${name}" is none of this SDK. It is left as it is: choose another databaseName`);

/** Deletes a wallet's database, and nothing else that has its name. */
async function deleteData(name: string, isOver: () => boolean, deleteDatabase: (name: string) => Promise<unknown>): Promise<void> {
  let isAbsent = false;
  const database = await open(name, (_, transaction) => {
    isAbsent = true;
    transaction.abort();
  }).catch((thrown: unknown) => {
    if (!isAbsent) throw thrown;
  });
  if (!database) return deleteSpare(name);
  try {
    if (!isEngine([...database.objectStoreNames])) throw foreign(name);
    if (isOver()) throw late();
    // First: without the mark it is not looked for, and where the database is gone nobody would delete it.
    await deleteSpare(name);
    if (isOver()) throw late();
    // Asked for while it is open, so that nobody can put another one in its place before. It closes when it hears of it.
    await deleteDatabase(name);
    // A tab that was told to leave may have set it once more, with what it was writing.
    unmark(name);
  } finally {
    database.close();
  }
}

/** The engine's copy of the outbox (`src/spare.rs`), and its mark. */
async function deleteSpare(name: string): Promise<void> {
  unmark(name);
  const browser = globalThis.navigator as { storageBuckets?: { open(name: string): Promise<{ indexedDB: IDBFactory }> } } | undefined;
  const { indexedDB } = (await browser?.storageBuckets?.open('solconnect-sync')) ?? globalThis;
  await result(indexedDB.deleteDatabase(`${name}.spare`));
}

/** The engine's mark that something is stored: a database that is gone without it was not lost. */
function unmark(name: string): void {
  try {
    globalThis.localStorage?.removeItem(`${name}.stored`);
  } catch {
    // Where the page may not use it, the engine could not set it.
  }
}

/** Does all of it, or nothing. What is written need not be waited for: a request that fails aborts the transaction. */
async function transact<T>(database: IDBDatabase, work: (stores: Stores) => Promise<T>): Promise<T> {
  const transaction = database.transaction([WALLETS, STATE], 'readwrite', { durability: 'strict' });
  const ended = new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error('the transaction was aborted'));
  });
  ended.catch(() => {});
  try {
    const value = await work({ wallets: transaction.objectStore(WALLETS), state: transaction.objectStore(STATE) });
    await ended;
    return value;
  } catch (thrown) {
    // The transaction knows why, where it fell by itself. Else it falls now: whole or nothing.
    if (transaction.error) throw transaction.error;
    abort(transaction);
    throw thrown;
  }
}

function abort(transaction: IDBTransaction): void {
  try {
    transaction.abort();
  } catch {
    // It has ended.
  }
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function storageError(thrown: unknown, refused: Code = 'STORAGE_ERROR'): SyncError {
  if (thrown instanceof SyncError) return thrown;
  const name = (thrown as { name?: unknown } | null)?.name;
  const code = name === 'QuotaExceededError' ? 'STORAGE_FULL' : name === 'SecurityError' || name === 'InvalidStateError' ? refused : 'STORAGE_ERROR';
  return new SyncError(code, `IndexedDB: ${describe(thrown)}`, { cause: thrown });
}

function subtleCrypto(): SubtleCrypto {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (subtle) return subtle;
  if (globalThis.isSecureContext === false) throw new SyncError('INSECURE_CONTEXT', 'a local wallet needs a page from https or localhost');
  throw new SyncError('CRYPTO_ERROR', 'there is no WebCrypto here');
}

function cryptoFailed(thrown: unknown): never {
  throw new SyncError('CRYPTO_ERROR', `${ALGORITHM}: ${describe(thrown)}`, { cause: thrown });
}
