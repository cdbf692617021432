// Wallets of every kind that pages meet, as one: an address, perhaps a signature, and news of another account.
//
// What comes from a wallet is another party's: its getters may throw, its promises may never settle, and it may come from
// another realm. So nothing here asks `instanceof`, all that it throws becomes a `SyncError`, and every wait for it ends.

import { functionOf } from './arguments.js';
import { describe, SyncError } from './errors.js';

/** A wallet's public key: 32 bytes, base58, or what prints as that, like a `PublicKey` of web3.js. */
export type PublicKeyLike = string | Uint8Array | {
  /** The base58. */
  toString(): string;
};

/**
 * What connects as a wallet: a provider that an extension injects (`window.phantom.solana`), an adapter of wallet-adapter or
 * what its `useWallet()` gives, a wallet or an account of the Wallet Standard.
 */
export type WalletSource =
  | {
    readonly publicKey: PublicKeyLike | null | undefined;
    /** Asks the person, where the wallet does. */
    connect?(): unknown;
  }
  | {
    readonly publicKey?: PublicKeyLike | null | undefined;
    /** Asks the person, where the wallet does. */
    connect(): unknown;
  }
  | { readonly chains: readonly string[]; readonly features: object; readonly accounts: readonly object[] };

/** A wallet of the Wallet Standard, as far as a list of wallets shows it. */
export interface StandardWallet {
  readonly name: string;
  /** A `data:` URL. */
  readonly icon: string;
  readonly chains: readonly string[];
  readonly features: object;
  readonly accounts: readonly object[];
}

/** What a wallet has signed, as it signed it. */
export interface Signed {
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

/** A connected wallet. */
export interface OpenWallet {
  /** The account that it was opened with. */
  readonly address: string;
  readonly kind: 'provider' | 'local';
  /**
   * The Ed25519 signature of a message, 64 bytes. Absent where the wallet cannot.
   *
   * Errors, rejected with: those of `openWallet` but INVALID_WALLET_ADDRESS; CRYPTO_ERROR of the local wallet.
   */
  signMessage?(message: Uint8Array): Promise<Uint8Array>;
  /**
   * Signs this text of Sign-In With Solana, and compares its domain with the page. Absent where the wallet cannot.
   *
   * Errors, rejected with: as of `signMessage`.
   */
  signIn?(text: string): Promise<Signed>;
  /**
   * Calls the handler when the wallet has another account; with `null` when it has none any more: it was locked or disconnected, or
   * shows this page no account. Also when that was so before this call. Returns a function that ends it.
   *
   * Errors, thrown: WALLET_CONNECTION_FAILED where the wallet refuses listeners.
   */
  onAccountChanged(handler: (address: string | null) => void): () => void;
}

/** How a wallet is opened. */
export interface OpenOptions {
  /** Gives up waiting, with CALL_ABORTED. */
  signal?: AbortSignal | undefined;
  /** How long the wallet, and the person before it, may take for one answer [120,000]. */
  timeoutMs?: number | undefined;
  /** The base58 of 32 bytes. */
  addressOf(bytes: Uint8Array): string;
  /** Throws where an address is not valid. */
  check(address: string): void;
}

const ANSWER_TIMEOUT_MS = 120_000;

type Code = ConstructorParameters<typeof SyncError>[0];

/** What wallets say when they refuse: `code name message`. There is no list of it; these are of the wallets in use. */
const SIGNS: readonly (readonly [Code, RegExp])[] = [
  ['WALLET_REJECTED', /^4001(000)? |WindowClosed|(user|approval|request|connection).{0,20}(reject|denied|declin|cancel|disapprov)|(rejected|denied|declined|cancell?ed) by|user closed|plugin closed/i],
  ['WALLET_LOCKED', /^4100 |\b(un)?lock|not been authorized|WalletAccount/i],
  ['WALLET_NOT_FOUND', /WalletNot(Ready|Selected)|not (installed|detected)/i],
  ['WALLET_TIMEOUT', /WalletTimeout/],
];

/** The first of an error, and of those that it wraps, that says what it means. */
function codeOf(thrown: unknown): Code {
  try {
    let inner = thrown;
    for (let depth = 0; depth < 5 && inner; depth += 1) {
      const { code, context, name, message, error, cause } = inner as { [field: string]: unknown };
      const numbered = code ?? (context as { __code?: unknown } | undefined)?.__code;
      const said = isObject(inner) ? `${numbered} ${name} ${message}` : String(inner);
      const sign = SIGNS.find(([, pattern]) => pattern.test(said));
      if (sign) return sign[0];
      inner = error ?? cause;
    }
  } catch {
    // An error that throws when it is looked at says nothing.
  }
  return 'WALLET_CONNECTION_FAILED';
}

/** Anything that was thrown while a wallet was used. */
function errorOf(thrown: unknown): SyncError {
  try {
    if (thrown instanceof SyncError) return thrown;
  } catch {
    // A proxy whose traps throw is none of ours.
  }
  return new SyncError(codeOf(thrown), `the wallet: ${describe(thrown)}`, { cause: thrown });
}

const unsupported = (what: string): SyncError => new SyncError('WALLET_UNSUPPORTED', `${what}; give a provider, an adapter, or a wallet or account of the Wallet Standard, for Solana`);

const isObject = (value: unknown): value is object => (typeof value === 'object' && value !== null) || typeof value === 'function';

const get = (object: unknown, name: string): unknown => (isObject(object) ? Reflect.get(object, name) : undefined);

const listOf = (object: unknown, name: string): readonly unknown[] => {
  const list = get(object, name);
  return Array.isArray(list) ? Array.from(list as ArrayLike<unknown>) : [];
};

/** A method that can be called alone; `undefined` where there is none. */
const method = (object: unknown, name: string): ((...given: unknown[]) => unknown) | undefined => {
  const found = get(object, name);
  return typeof found === 'function' ? (...given) => Reflect.apply(found, object, given) : undefined;
};

/** A copy of bytes, which may be of another realm. */
const bytesOf = (value: unknown): Uint8Array | undefined =>
  ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice() : undefined;

function addressFrom(key: unknown, { addressOf, check }: OpenOptions): string {
  try {
    const bytes = bytesOf(key);
    if (bytes && bytes.length !== 32) throw new RangeError(`it has ${bytes.length} bytes, not 32`);
    const address = bytes ? addressOf(bytes) : String(key);
    check(address);
    return address;
  } catch (cause) {
    throw new SyncError('INVALID_WALLET_ADDRESS', `the wallet's public key: ${describe(cause)}`, { cause });
  }
}

const aborted = (signal: AbortSignal | undefined): SyncError => new SyncError('CALL_ABORTED', 'the signal was aborted', { cause: signal?.reason });

function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

/** What the wallet answers, in a box: what looks like a promise in it is none. */
async function ask(call: () => unknown, { signal, timeoutMs = ANSWER_TIMEOUT_MS }: Pick<OpenOptions, 'signal' | 'timeoutMs'>): Promise<{ readonly answer: unknown }> {
  checkSignal(signal);
  let end = (): void => {};
  const over = new Promise<never>((_, reject) => {
    const late = (): void => reject(new SyncError('WALLET_TIMEOUT', `the wallet did not answer within ${timeoutMs} ms`));
    const abort = (): void => reject(aborted(signal));
    // Timers take no more than 31 bits.
    const timer = setTimeout(late, Math.min(timeoutMs, 2 ** 31 - 1));
    signal?.addEventListener('abort', abort);
    end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
  });
  try {
    return await Promise.race([over, (async () => ({ answer: await call() }))()]);
  } finally {
    end();
  }
}

/**
 * Opens a wallet, of whatever kind, and asks the person where the wallet does.
 *
 * Errors, rejected with; `cause` is what the wallet threw, where it threw something:
 * - WALLET_NOT_FOUND: `undefined` or `null` was given, the adapter's wallet is not installed, none is selected.
 * - WALLET_REJECTED: the person said no.
 * - WALLET_LOCKED: the wallet is locked, or has no account for this page.
 * - WALLET_UNSUPPORTED: this is no wallet of a kind that is known here, or one of another chain.
 * - WALLET_TIMEOUT: the wallet did not answer.
 * - INVALID_WALLET_ADDRESS: what it has as its public key is none, or changes while it is read.
 * - CALL_ABORTED: the signal was aborted. The wallet's prompt stays; what comes of it changes nothing.
 * - WALLET_CONNECTION_FAILED: anything else.
 *
 * @example
 * ```ts
 * const wallet = await openWallet(window.phantom?.solana, { addressOf, check });
 * const end = wallet.onAccountChanged((address) => (address === null ? signOut() : signIn(address)));
 * ```
 */
export async function openWallet(given: unknown, options: OpenOptions): Promise<OpenWallet> {
  try {
    return await open(given, options);
  } catch (thrown) {
    throw errorOf(thrown);
  }
}

async function open(given: unknown, options: OpenOptions): Promise<OpenWallet> {
  checkSignal(options.signal);
  if (given === undefined || given === null) throw new SyncError('WALLET_NOT_FOUND', `the wallet is ${given}: it may not be installed, or not be there yet`);
  if (!isObject(given)) throw unsupported(`a ${typeof given} is no wallet`);
  const wallet = adapterOf(given) ?? given;
  if (Array.isArray(get(wallet, 'accounts'))) return openStandard(wallet, undefined, options);
  if (typeof get(wallet, 'address') === 'string' && Array.isArray(get(wallet, 'chains'))) return openStandard(ownerOf(wallet), wallet, options);
  return openProvider(wallet, options);
}

/** The adapter in what `useWallet()` gives, which is a picture of one render: the adapter lives on. */
function adapterOf(given: object): object | undefined {
  const isContext = method(given, 'select') !== undefined;
  const adapter = get(isContext ? get(given, 'wallet') : given, 'adapter');
  if (isObject(adapter)) return adapter;
  if (isContext) throw new SyncError('WALLET_NOT_FOUND', 'no wallet is selected');
  return undefined;
}

/** Providers that extensions inject, and adapters: they have the same calls and events. */
async function openProvider(provider: object, options: OpenOptions): Promise<OpenWallet> {
  const connect = method(provider, 'connect');
  if (!connect && !Reflect.has(provider, 'publicKey')) throw unsupported(method(provider, 'then') ? 'this is a promise: await it first' : 'this object is no wallet');
  const ready = get(provider, 'readyState');
  if (ready === 'NotDetected' || ready === 'Unsupported') throw new SyncError('WALLET_NOT_FOUND', `the adapter's wallet is ${ready}`);
  const { answer } = connect ? await ask(connect, options) : { answer: undefined };
  const ownKey = (): unknown => get(provider, 'publicKey') ?? undefined;
  // An adapter that is being connected by somebody else answers before it is.
  if (ownKey() === undefined && get(provider, 'connecting') === true) await ask(() => connected(provider), options);
  const hasKey = ownKey() !== undefined;
  const key = hasKey ? ownKey() : get(answer, 'publicKey');
  if (key === undefined || key === null) throw new SyncError('WALLET_LOCKED', 'the wallet has no publicKey: it may be locked');
  const address = addressFrom(key, options);
  if (hasKey && addressFrom(ownKey(), options) !== address) throw new SyncError('INVALID_WALLET_ADDRESS', 'the publicKey changes while it is read');
  const sign = method(provider, 'signMessage');
  const signIn = method(provider, 'signIn');
  return opened(address, { message: sign && ((message) => sign(message)), in: signIn }, options, {
    now: () => (hasKey ? ownKey() : address),
    listen: (tell) => listen(provider, { accountChanged: tell, connect: (key) => tell(ownKey() ?? key), disconnect: () => tell(null) }),
  });
}

async function connected(provider: object): Promise<void> {
  let end = (): void => {};
  try {
    await new Promise((resolve, reject) => {
      end = listen(provider, { connect: () => resolve(undefined), error: reject });
    });
  } finally {
    end();
  }
}

function listen(emitter: object, handlers: { [event: string]: (value: unknown) => void }): () => void {
  const on = method(emitter, 'on');
  const off = method(emitter, 'off') ?? method(emitter, 'removeListener');
  for (const event in handlers) on?.(event, handlers[event]);
  return () => {
    for (const event in handlers) off?.(event, handlers[event]);
  };
}

const isSolana = (object: unknown): boolean => listOf(object, 'chains').some((chain) => String(chain).startsWith('solana:'));

/** A wallet of the Wallet Standard with its first account, or with the one that was given: then the wallet may not be known. */
async function openStandard(wallet: object | undefined, given: object | undefined, options: OpenOptions): Promise<OpenWallet> {
  if (!isSolana(given ?? wallet)) throw unsupported('this wallet is for another chain');
  const feature = (name: string, call: string) => method(get(get(wallet, 'features'), name), call);
  const first = (holder: unknown): unknown => listOf(holder, 'accounts').find(isSolana);
  let account = given ?? first(wallet);
  if (!account) {
    const connect = feature('standard:connect', 'connect');
    const signIn = feature('solana:signIn', 'signIn');
    if (!connect && !signIn) throw unsupported('this wallet can neither connect nor sign in');
    const { answer } = await ask(() => (connect ? connect() : signIn?.({})), options);
    account = first(answer) ?? first(wallet) ?? get(get(answer, '0'), 'account');
  }
  if (!account) throw new SyncError('WALLET_LOCKED', 'the wallet shares no account: it may be locked');
  const keyOf = (account: unknown): unknown => bytesOf(get(account, 'publicKey')) ?? get(account, 'address');
  const address = addressFrom(keyOf(account), options);
  if (get(account, 'address') !== address) throw new SyncError('INVALID_WALLET_ADDRESS', "the account's address is not that of its public key");
  const sign = listOf(account, 'features').includes('solana:signMessage') ? feature('solana:signMessage', 'signMessage') : undefined;
  const signIn = feature('solana:signIn', 'signIn');
  const signs: Signs = {
    message: sign && (async (message) => get(await sign({ account, message }), '0')),
    in: signIn && (async (parts) => get(await signIn(parts), '0')),
  };
  return opened(address, signs, options, {
    // An account that was chosen stays, for as long as the wallet shares it.
    now: () => (!wallet || (given && listOf(wallet, 'accounts').some((one) => get(one, 'address') === address)) ? address : keyOf(first(wallet))),
    listen: (tell) => {
      const off = feature('standard:events', 'on')?.('change', () => tell(undefined));
      return () => void (typeof off === 'function' && Reflect.apply(off, undefined, []));
    },
  });
}

/** The wallet that shares an account: an account does not name it. */
function ownerOf(account: object): object | undefined {
  const { wallets, stop } = findWallets();
  stop();
  const having = (test: (one: unknown) => boolean) => wallets.filter((wallet) => listOf(wallet, 'accounts').some(test));
  const alike = having((one) => get(one, 'address') === get(account, 'address'));
  return having((one) => one === account)[0] ?? (alike.length === 1 ? alike[0] : undefined);
}

/** Where news of the account comes from. */
interface Source {
  /** The public key of now. */
  now(): unknown;
  /** `tell` takes the public key that the news names; with `undefined`, that of now counts. */
  listen(tell: (key: unknown) => void): () => void;
}

/** What a wallet makes such a text of again. */
function partsOf(text: string): object {
  const [first = '', address, , statement, , ...fields] = text.split('\n');
  const field = (label: string): string | undefined => fields.find((line) => line.startsWith(`${label}: `))?.slice(label.length + 2);
  return {
    domain: first.split(' ')[0],
    address,
    statement,
    version: field('Version'),
    issuedAt: field('Issued At'),
    expirationTime: field('Expiration Time'),
    resources: fields.filter((line) => line.startsWith('- ')).map((line) => line.slice(2)),
  };
}

/** How a wallet signs. */
interface Signs {
  readonly message: ((message: Uint8Array) => unknown) | undefined;
  readonly in: ((parts: object) => unknown) | undefined;
}

function opened(address: string, signs: Signs, options: OpenOptions, source: Source): OpenWallet {
  // What a handler was told last.
  let current: string | null = address;
  const wallet: OpenWallet = {
    address,
    kind: 'provider',
    onAccountChanged(handler) {
      let isOver = false;
      const tell = (key: unknown): void => {
        let told: string | null = null;
        try {
          const named = key === undefined ? source.now() : key;
          told = named === undefined || named === null ? null : addressFrom(named, options);
        } catch {
          // An account that cannot be read is not the one that was connected.
        }
        if (isOver || told === current) return;
        current = told;
        handler(told);
      };
      try {
        const end = source.listen(tell);
        // What happened before anybody listened.
        queueMicrotask(() => tell(undefined));
        return () => {
          isOver = true;
          try {
            end();
          } catch {
            // A wallet that keeps its listeners is not heard any more.
          }
        };
      } catch (thrown) {
        isOver = true;
        throw errorOf(thrown);
      }
    },
  };
  const signed = async (call: () => unknown): Promise<{ readonly answer: unknown; readonly signature: Uint8Array }> => {
    try {
      const { answer } = await ask(call, { timeoutMs: options.timeoutMs });
      const signature = bytesOf(answer) ?? bytesOf(get(answer, 'signature'));
      if (signature?.length !== 64) throw new SyncError('WALLET_CONNECTION_FAILED', 'the wallet gave no signature of 64 bytes');
      return { answer, signature };
    } catch (thrown) {
      throw errorOf(thrown);
    }
  };
  const { message: sign, in: signIn } = signs;
  if (sign) wallet.signMessage = async (message) => (await signed(() => sign(message))).signature;
  if (signIn) {
    wallet.signIn = async (text) => {
      const { answer, signature } = await signed(() => signIn(partsOf(text)));
      return { message: bytesOf(get(answer, 'signedMessage')) ?? new TextEncoder().encode(text), signature };
    };
  }
  return wallet;
}

/** A search for wallets, which goes on until it is stopped. */
export interface WalletSearch {
  /** Those that are there now: the same list while nothing changed. */
  readonly wallets: readonly StandardWallet[];
  /** Ends it. */
  stop(): void;
}

/**
 * Finds the wallets of the Wallet Standard that are for Solana and sign messages. `onChange` is called when others come, also
 * later, or some of them leave; when it throws, that is reported with `console.error`. There are none where there is no window.
 *
 * Errors, thrown: INVALID_ARGUMENT where `onChange` is no function.
 *
 * @example
 * ```ts
 * const search = findWallets(() => show(search.wallets));
 * show(search.wallets);
 * // … the person chooses one
 * await sdk.connectWallet(search.wallets[0]);
 * search.stop();
 * ```
 */
export function findWallets(onChange?: () => void): WalletSearch {
  if (onChange !== undefined) functionOf('onChange', onChange);
  const event = 'wallet-standard:register-wallet';
  let isListening = false;
  const set = (wallets: readonly StandardWallet[]): void => {
    search.wallets = wallets;
    try {
      if (isListening) onChange?.();
    } catch (thrown) {
      // The wallet that registers has done nothing wrong.
      console.error(thrown);
    }
  };
  const api = Object.freeze({
    register(...given: unknown[]) {
      const added = [...new Set(given)].filter(isUsable).filter((wallet) => !search.wallets.includes(wallet));
      if (added.length > 0) set([...search.wallets, ...added]);
      return () => {
        const left = search.wallets.filter((wallet) => !added.includes(wallet));
        if (left.length < search.wallets.length) set(left);
      };
    },
  });
  const onRegister = (announced: Event): void => void method(announced, 'detail')?.(api);
  const search = {
    wallets: [] as readonly StandardWallet[],
    stop() {
      isListening = false;
      globalThis.window?.removeEventListener(event, onRegister);
    },
  };
  // Wallets that came before the page's code answer at once; later ones announce themselves.
  globalThis.window?.addEventListener(event, onRegister);
  globalThis.window?.dispatchEvent(new CustomEvent('wallet-standard:app-ready', { detail: api }));
  isListening = true;
  return search;
}

function isUsable(wallet: unknown): wallet is StandardWallet {
  try {
    return isSolana(wallet) && isObject(get(get(wallet, 'features'), 'solana:signMessage'));
  } catch {
    // Its getters throw: it would not connect either.
    return false;
  }
}
