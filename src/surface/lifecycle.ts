// Which wallet's engine runs. The last call wins: what an earlier one was waiting for changes nothing any more.

import * as wasm from '../solconnect_sync.js';
import type { LockWith, SdkConfig, WalletInfo } from '../solconnect_sync.js';
import { abortable } from './arguments.js';
import { checkEnvironment, type Config, configOf, relayOf } from './config.js';
import { Directory } from './directory.js';
import { adopt, errorOf, SyncError, unwrap } from './errors.js';
import type { Listeners } from './events.js';
import { load, loadVault } from './load.js';
import { isOtherStored, type Lock, unlock } from './lock.js';
import { Port, type PortHost } from './port.js';
import { reserve, tellGone } from './tab.js';
import { openWallet, type OpenWallet, type Signed } from './wallets.js';

/** A wallet with its engine, in this tab or another. */
export interface Account {
  readonly address: string;
  readonly kind: WalletInfo['kind'];
  readonly engine: Port;
  /** What can sign; `null` where only the address is known, since the last visit. */
  readonly wallet: OpenWallet | null;
  /** Ends with the wallet's own news. */
  unwatch: () => void;
}

/** A wallet that the application gave, the local one, or the one of the last visit. */
export type Choice = { readonly given: unknown } | 'local' | 'last';

/** Who is told which engine runs. */
type Audience = readonly [Listeners, ...{ attach(engine: Port | null): void }[]];

/** No wallet that an application gives is one of these. */
const KEYS = { local: Symbol('local'), last: Symbol('last') } as const;

export class Lifecycle {
  isRunning = false;
  /** The one that runs. */
  #account: Account | null = null;
  /** How many calls wait for their turn that take the wallet away: from when that is known, nothing of it is given any more. */
  #departures = 0;
  #config: Config;
  /** What the last `initialize` makes ready. */
  #ready: Promise<Directory> | null = null;
  /** Counts `initialize` and `cleanup`. */
  #run = 0;
  /** Counts what was asked for of the wallet: an answer that belongs to an older number is too late. */
  #turn = 0;
  /** The last call of `connect`. */
  #latest: { readonly turn: number; readonly choice: Choice; readonly isOver: Promise<void> } = { turn: 0, choice: 'last', isOver: Promise.resolve() };
  /** Starts and stops of engines, one after the other. */
  #queue: Promise<unknown> = Promise.resolve();
  /** Wallets that are asking the person, so that the same one is asked once. */
  #prompts = new Map<unknown, Promise<OpenWallet>>();
  /** Wallets that are being opened. */
  #opening: { readonly directory: Directory | null; readonly calls: Map<unknown, Promise<Opened>> } = { directory: null, calls: new Map() };
  /** Signatures that persons are asked for. */
  #signatures = new Map<Port, Promise<void>>();
  #isOffline = false;
  /** The wallet that the person is asked to unlock. */
  #unlocking: Unlocking | null = null;
  /** How often the wallet that is connected was logged out before. */
  #logouts: Promise<number> = Promise.resolve(0);
  /** The address of the wallet that was connected last or is to be unlocked, also where it has left. */
  #last: string | null = null;
  #audience: Audience;
  #onAccount: (account: Account | null, isRenewed: boolean) => void;
  #onDeparture: () => void;

  /**
   * `onAccount` is told which account runs, or, with `isRenewed`, that of the one that runs news may have been missed; `onDeparture` that
   * it is about to leave, or stays after all.
   */
  constructor(config: Config, audience: Audience, onAccount: (account: Account | null, isRenewed: boolean) => void, onDeparture: () => void) {
    this.#config = config;
    this.#audience = audience;
    this.#onAccount = onAccount;
    this.#onDeparture = onDeparture;
  }

  /** The wallet that is connected and stays so. */
  get account(): Account | null {
    return this.#departures > 0 ? null : this.#account;
  }

  /** What goes wrong where nobody waits for it. */
  #warn(thrown: unknown): void {
    this.#audience[0].emit('warning', { error: errorOf(thrown) });
  }

  /** The relay's address; `null` where the application brings its own transport. */
  get relay(): string | null {
    return relayOf(this.#config);
  }

  /** Changes options for the next `initialize`. */
  configure(options: SdkConfig): void {
    this.#config = configOf({ ...this.#config, ...options }).config;
  }

  /** Loads what is needed. While it runs, a second call does nothing more. */
  async initialize(signal?: AbortSignal): Promise<void> {
    if (!this.isRunning || !this.#ready) {
      this.isRunning = true;
      const run = (this.#run += 1);
      this.#isOffline ||= this.#config.startOffline === true;
      this.#ready = this.#enqueue(async () => {
        checkEnvironment(this.#config);
        await (this.#config.encryption === 'required' || this.#config.lockWith ? loadVault() : load());
        checkValues(this.#config);
        return new Directory(this.#config.databaseName, wasm.walletAddress);
      });
      this.#ready.catch(() => {
        if (run === this.#run) this.isRunning = false;
      });
    }
    await abortable(this.#ready, signal);
    if (!this.isRunning) throw superseded('cleanup');
  }

  /** Stops everything. */
  async cleanup(): Promise<void> {
    this.isRunning = false;
    this.#ready = null;
    this.#run += 1;
    this.#turn += 1;
    this.#stopAsking();
    await this.#leave((leave) => this.#enqueue(leave));
  }

  /** Works offline by wish, or no longer; also for wallets that come later. */
  setOffline(isOffline: boolean): void {
    this.#isOffline = isOffline;
    this.#account?.engine.setOffline(isOffline);
  }

  /** Connects a wallet, asking the person where the wallet does. */
  async connect(choice: Choice, signal?: AbortSignal): Promise<WalletInfo> {
    if (!this.isRunning || !this.#ready) throw notInitialized();
    const turn = (this.#turn += 1);
    const connected = this.#connect(turn, choice, this.#ready, signal);
    this.#latest = { turn, choice, isOver: connected.then(() => {}, () => {}) };
    return connected;
  }

  async #connect(turn: number, choice: Choice, ready: Promise<Directory>, signal: AbortSignal | undefined): Promise<WalletInfo> {
    try {
      const directory = await abortable(ready, signal);
      const opened = await abortable(this.#open(choice, directory), signal);
      await abortable(this.#switchInTurn(turn, opened, directory), signal);
      // A later call may ask for the same: all are right when the last one is.
      for (let known = turn; this.#latest.turn > known && isSameChoice(this.#latest.choice, choice);) {
        known = this.#latest.turn;
        await abortable(this.#latest.isOver, signal);
      }
      // Or for another that is the same wallet, whose turn is next.
      if (turn !== this.#turn) await abortable(this.#queue, signal);
      if (this.#account?.address !== opened.address) throw superseded('another call');
      return { address: opened.address, kind: opened.kind };
    } catch (thrown) {
      // What was given up must not come about when the wallet or the person answers after all.
      if (turn === this.#turn) {
        this.#turn += 1;
        this.#stopAsking();
      }
      throw thrown;
    }
  }

  /** Disconnects the wallet; with `wipe`, all that is stored of it here is deleted, also where it left by itself. */
  async disconnect(wipe: boolean, inAllTabs: boolean): Promise<void> {
    if (!this.isRunning || !this.#ready) throw notInitialized();
    this.#turn += 1;
    this.#stopAsking();
    const ready = this.#ready;
    await this.#leave(async (leave) => {
      const directory = await ready;
      await this.#enqueue(async () => {
        const account = inAllTabs ? this.#account : null;
        const wiped = wipe ? this.#last : null;
        const database = this.#databaseOf(wiped);
        // Asked for before the others leave: a tab that comes meanwhile waits behind it, and takes nothing up that is to be deleted.
        const reserved = wiped === null ? null : reserve(database);
        if (account) account.engine.tellGone();
        else if (wiped !== null) tellGone(database);
        try {
          await leave();
          await directory.forgetLast(account?.address);
          if (!wipe) return;
          if (wiped === null) throw new SyncError('WALLET_NOT_CONNECTED', 'nothing was deleted: connect the wallet to be wiped first');
          await reserved;
          await directory.wipe(wiped, async (name) => unwrap(adopt(await wasm.deleteDatabase(name))));
        } finally {
          void reserved?.then((release) => release());
        }
      });
    });
  }

  /** From now on nothing of the wallet is given; in its turn the work has it leave. */
  async #leave(work: (leave: () => Promise<void>) => Promise<void>): Promise<void> {
    const arrive = this.#depart();
    try {
      await work(async () => {
        const replaced = this.#replace(null);
        arrive();
        await replaced;
      });
    } finally {
      arrive();
    }
  }

  /** Returns what ends it, once. */
  #depart(): () => void {
    let isOver = false;
    const change = (by: 1 | -1): void => {
      const shown = this.account;
      this.#departures += by;
      if (this.account !== shown) this.#onDeparture();
    };
    change(1);
    return () => {
      if (!isOver) change(-1);
      isOver = true;
    };
  }

  /** Calls that ask for the same wallet at the same time have their answer at the same time: none of them supersedes another. */
  #open(choice: Choice, directory: Directory): Promise<Opened> {
    if (this.#opening.directory !== directory) this.#opening = { directory, calls: new Map() };
    const { calls } = this.#opening;
    const key = typeof choice === 'string' ? KEYS[choice] : choice.given;
    let call = calls.get(key);
    if (!call) {
      call = this.#openNow(choice, directory).finally(() => calls.delete(key));
      calls.set(key, call);
    }
    return call;
  }

  async #openNow(choice: Choice, directory: Directory): Promise<Opened> {
    const local = async (): Promise<Opened> => {
      const wallet = await directory.localWallet();
      return { address: wallet.address, kind: 'local', wallet };
    };
    if (choice === 'local') return local();
    if (choice === 'last') {
      const last = await directory.last();
      return !last || last.kind === 'local' ? local() : { ...last, wallet: null };
    }
    let prompt = this.#prompts.get(choice.given);
    if (!prompt) {
      prompt = openWallet(choice.given, { addressOf: wasm.walletAddress, check: wasm.checkWallet })
        .finally(() => this.#prompts.delete(choice.given));
      this.#prompts.set(choice.given, prompt);
    }
    // A database of this name that is not ours is refused also where the wallet is known.
    const [wallet] = await Promise.all([prompt, directory.last()]);
    return { address: wallet.address, kind: wallet.kind, wallet };
  }

  /** As `#switch`, in its turn. It is known which wallet comes: nothing of another one is given from now on. */
  async #switchInTurn(turn: number, opened: Opened, directory: Directory): Promise<void> {
    const isSame = turn !== this.#turn || this.#account?.address === opened.address;
    const arrive = isSame ? () => {} : this.#depart();
    try {
      const { lockWith } = this.#config;
      for (let wrong: SyncError | undefined;;) {
        const lock = lockWith ? await this.#unlock(turn, opened.address, lockWith, wrong) : null;
        try {
          return await this.#enqueue(() => {
            const switched = this.#switch(turn, opened, directory, lock);
            arrive();
            return switched;
          });
        } catch (thrown) {
          wrong = errorOf(thrown);
          if (wrong.code !== 'WRONG_PASSPHRASE') throw thrown;
        }
      }
    } finally {
      arrive();
    }
  }

  /** Has the person unlock a wallet that is not open yet. They take their time: nothing else waits, and who was there before has left. */
  async #unlock(turn: number, address: string, lockWith: LockWith, wrong: SyncError | undefined): Promise<Lock | null> {
    const isAsked = await this.#enqueue(async () => {
      if (turn !== this.#turn || this.#account?.address === address) return false;
      await this.#replace(null);
      // Who has logged out meanwhile is asked nothing, and what an answer would open stays closed.
      return turn === this.#turn;
    });
    if (!isAsked) return null;
    // Who has forgotten what unlocks it can wipe it.
    this.#last = address;
    if (this.#unlocking?.address !== address) {
      this.#stopAsking();
      const controller = new AbortController();
      const lock = new Promise<Lock>((resolve, reject) => {
        // Not as `onabort`, of which there is one, and which is for who asks the person.
        controller.signal.addEventListener('abort', () => reject(controller.signal.reason));
        unlock(lockWith, address, this.#databaseOf(address), controller.signal, wrong).then(resolve, reject);
      });
      const unlocking: Unlocking = { address, lock, controller };
      this.#unlocking = unlocking;
      lock.catch(() => {
        if (this.#unlocking === unlocking) this.#unlocking = null;
      });
    }
    return this.#unlocking.lock;
  }

  #databaseOf(address: string | null): string {
    return `${this.#config.databaseName}/${address}`;
  }

  /** Nobody wants the person's answer any more, where they are asked to unlock a wallet. */
  #stopAsking(): void {
    this.#unlocking?.controller.abort(superseded('another call'));
    this.#unlocking = null;
  }

  /** Has this wallet's engine run, unless its turn is over. */
  async #switch(turn: number, { address, kind, wallet }: Opened, directory: Directory, lock: Lock | null): Promise<void> {
    if (turn !== this.#turn) return;
    this.#unlocking = null;
    const isSame = this.#account?.address === address;
    if (isSame && wallet && this.#account?.wallet === wallet) return;
    if (!isSame) await this.#replace(null);
    const engine = this.#account?.engine ?? (await this.#start(address, directory, lock));
    this.#account?.unwatch();
    const account: Account = { address, kind, engine, wallet, unwatch: () => {} };
    await this.#replace(account);
    try {
      if (wallet) account.unwatch = wallet.onAccountChanged((now) => this.#follow(wallet, now, directory));
    } catch (thrown) {
      const { code, message, cause } = errorOf(thrown);
      this.#warn(new SyncError(code, `another account that is chosen in the wallet will not be noticed: ${message}`, { cause }));
    }
    this.#logouts = directory.remember(address, kind);
    this.#logouts.catch((thrown: unknown) => this.#warn(thrown));
    // Nobody waits for it: what is stored can be read and written to meanwhile.
    if (wallet) {
      this.signIn(account, false).catch((thrown: unknown) => {
        if (this.#account === account) this.#audience[0].emit('signInNeeded', { error: errorOf(thrown) });
      });
    }
  }

  /**
   * Has the wallet sign for this device, where that is needed and was not done yet. Asks the person once at a time; where the device was
   * removed, only who wants it.
   */
  signIn(account: Account, isWanted: boolean): Promise<void> {
    const under = this.#signatures.get(account.engine);
    if (under) return under;
    this.#audience[0].asking(true);
    const asked = this.#signIn(account, isWanted).finally(() => {
      this.#audience[0].asking(false);
      this.#signatures.delete(account.engine);
    });
    this.#signatures.set(account.engine, asked);
    return asked;
  }

  /** Has the wallet sign that this device is the only one. */
  async signOutOthers(account: Account): Promise<void> {
    if (!this.#config.domains) throw nobodySignsIn();
    await this.#signatures.get(account.engine)?.catch(() => {});
    await this.#signIn(account, true, true);
  }

  async #signIn({ engine, wallet }: Account, isWanted: boolean, resets = false): Promise<void> {
    const { domains } = this.#config;
    if (!domains) {
      if (isWanted) throw nobodySignsIn();
      return;
    }
    // A program that is no page is of no host: it is the application's all the same.
    const host = globalThis.location ? globalThis.location.host : domains[0] ?? '';
    if (!domains.includes(host)) {
      throw new SyncError('WRONG_DOMAIN', `this page is at ${host || 'no host'}, and the option \`domains\` has ${domains.join(', ')}: name all hosts of the application's pages`);
    }
    const offer = unwrap(adopt(await engine.getOffer(host, isWanted, resets)));
    if (offer === null) return;
    const { message, signature } = await signed(wallet, offer);
    const certified = adopt(await engine.certify(new TextDecoder().decode(message), signature));
    // It did not sign what it was asked for.
    const { error } = certified;
    if (error?.code === 'INVALID_CERTIFICATE' || error?.code === 'INVALID_SIGNATURE') throw cannotSign(error);
    unwrap(certified);
    this.#audience[0].signed();
  }

  async #start(address: string, directory: Directory, lock: Lock | null): Promise<Port> {
    const ofPort = (work: () => void) => (): void => {
      if (this.#account?.engine === port) work();
    };
    // What is stored is for the tab to forget that was told to.
    const gone = ofPort(() => {
      this.#turn += 1;
      this.#leave((leave) => this.#enqueue(leave)).catch((thrown: unknown) => this.#warn(thrown));
    });
    const host: PortHost = {
      tabChanged: (state) => this.#audience[0].emit('tabChanged', state),
      warn: (error) => this.#warn(error),
      renewed: ofPort(() => this.#onAccount(this.#account, true)),
      gone,
      returns: async () => {
        const isOut = await Promise.all([this.#logouts, directory.logouts(address)]).then(([before, now]) => before !== now, () => false);
        if (isOut) gone();
        return !isOut;
      },
    };
    const port = new Port(this.#config, address, this.#isOffline, host, lock);
    // First: it may have something to tell of its start.
    this.#attach(port);
    try {
      const { error } = adopt(await port.initialize());
      if (lock && await isOtherStored(lock, this.#databaseOf(address))) throw new SyncError('WRONG_PASSPHRASE', 'another tab has locked it meanwhile');
      if (error) throw error;
      return port;
    } catch (thrown) {
      this.#attach(null);
      await port.cleanup();
      // It ends by itself where it hears of a logout.
      throw errorOf(thrown).code === 'SDK_NOT_INITIALIZED' ? superseded('logout in another tab') : thrown;
    }
  }

  #attach(engine: Port | null): void {
    for (const listening of this.#audience) listening.attach(engine);
  }

  /** Puts an account in the place of the one that runs. What is asked of the former is answered before. */
  async #replace(account: Account | null): Promise<void> {
    const former = this.#account;
    this.#account = account;
    if (account) this.#last = account.address;
    if (former?.address !== account?.address) this.#onAccount(account, false);
    if (former && former.engine !== account?.engine) {
      this.#attach(null);
      former.unwatch();
      await former.engine.cleanup();
    }
  }

  /** The person switched to another account in the wallet, or left it. */
  #follow(wallet: OpenWallet, address: string | null, directory: Directory): void {
    if (this.#account?.wallet !== wallet) return;
    // Also where it is back at the account that is connected: another one may wait for its turn.
    const turn = (this.#turn += 1);
    const followed = address === null
      ? this.#leave((leave) => this.#enqueue(async () => {
        if (turn === this.#turn) await leave();
      }))
      : this.#switchInTurn(turn, { address, kind: wallet.kind, wallet }, directory);
    followed.catch((thrown: unknown) => this.#warn(thrown));
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#queue.then(work);
    this.#queue = next.catch(() => {});
    return next;
  }
}

/**
 * The engine says what is wrong with the values of options.
 *
 * Errors, thrown: `INVALID_ARGUMENT`.
 */
export function checkValues(config: Config): void {
  try {
    new wasm.SolConnectSDK(config).free();
  } catch (thrown) {
    throw errorOf(thrown);
  }
}

/** The wallet's signature under an offer: by `signIn`, which knows the page; else under the text. */
async function signed(wallet: OpenWallet | null, text: string): Promise<Signed> {
  if (!wallet) {
    const error = new SyncError('WALLET_NOT_CONNECTED', 'only the address of the wallet is known: connect it, so that it can sign');
    // The person sees their address, so to them a wallet is connected.
    throw Object.assign(error, { userMessage: 'Connect your wallet again.' });
  }
  const message = new TextEncoder().encode(text);
  try {
    if (wallet.signIn) return await wallet.signIn(text);
  } catch (thrown) {
    // Some have the method and cannot.
    if (!wallet.signMessage || errorOf(thrown).code !== 'WALLET_CONNECTION_FAILED') throw thrown;
  }
  if (!wallet.signMessage) throw cannotSign(undefined);
  try {
    return { message, signature: await wallet.signMessage(message) };
  } catch (thrown) {
    throw errorOf(thrown).code === 'WALLET_CONNECTION_FAILED' ? cannotSign(thrown) : thrown;
  }
}

const cannotSign = (cause: unknown): SyncError => new SyncError('WALLET_CANNOT_SIGN', 'the wallet does not sign the text of Sign-In With Solana', { cause });

interface Unlocking {
  readonly address: string;
  readonly lock: Promise<Lock>;
  readonly controller: AbortController;
}

interface Opened {
  readonly address: string;
  readonly kind: WalletInfo['kind'];
  readonly wallet: OpenWallet | null;
}

const isSameChoice = (one: Choice, other: Choice): boolean =>
  one === other || typeof one === 'object' && typeof other === 'object' && one.given === other.given;

export const notInitialized = (): SyncError => new SyncError('SDK_NOT_INITIALIZED', 'call initialize() first');

const superseded = (by: string): SyncError => new SyncError('CALL_SUPERSEDED', `${by} came meanwhile, and the last one wins`);

const nobodySignsIn = (): SyncError => new SyncError('INVALID_ARGUMENT', 'nobody signs in here: the option `domains` is missing');
