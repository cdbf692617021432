// What the rest of the surface calls its engine: the one of this tab while the tab owns the wallet's database, that of the owning
// tab otherwise. It stays the same object over all takeovers.

import * as wasm from '../solconnect_sync.js';
import type { Change, MessageView, SdkConfig, EngineError, Subscription, SyncEvents, TabAction } from '../solconnect_sync.js';
import { invalid } from './arguments.js';
import { relayOf, type Config } from './config.js';
import { describe, errorOf, SyncError } from './errors.js';
import type { Lock } from './lock.js';
import { GETTERS, Mirror, stateOf, type Readable, type State, type Wishes } from './mirror.js';
import { Tab, type PortAction } from './tab.js';

type Engine = wasm.SolConnectSDK;
type EngineResult<T> = { success: true; data: T } | { success: false; error: EngineError };

/** Methods with effects that are stored: called again after a takeover, they answer what they answered first. */
const KEYED = [
  'startSession', 'regroup', 'endSession', 'acceptSession', 'declineSession', 'blockWallet', 'unblockWallet', 'sendMessage', 'editMessage',
  'deleteMessage', 'resolveConflict', 'cancelMessage', 'retryMessage', 'clearStoredMessages', 'updateMessageStatus', 'markMessageAsRead',
] as const;

/** Methods with effects that may be called twice. */
const REPEATABLE = ['certify', 'removeDevice', 'approveDevice', 'createRecoveryCode', 'recover', 'givePasskey', 'importMessages', 'acceptRelayLog', 'enableAutoSync', 'disableAutoSync', 'setOffline'] as const;

/** Methods that change nothing, or tell by events what they change. */
const READING = [
  'getMessage', 'getStoredMessages', 'getQueuedMessages', 'getMessageStatus', 'exportMessages', 'exportEvidence', 'syncMessages', 'processQueuedMessages', 'getDeviceId',
  'getOffer', 'getEncryption', 'needsPasskey',
] as const;

const METHODS = [...KEYED, ...REPEATABLE, ...READING];

type Method = (typeof METHODS)[number];

const EVENTS: readonly (keyof SyncEvents)[] = [
  'onSyncStarted', 'onSyncProgress', 'onSyncCompleted', 'onSyncFailed', 'onConflictDetected', 'onMessageSynced', 'onStatusChanged',
  'onMessageChanged', 'onSessionInvited', 'onMembersChanged', 'onEncryptionChanged', 'onDevicesChanged', 'onConnectionChanged', 'onQueueChanged', 'onDeviceReplaced',
  'onLogReplaced',  'onDeviceAdded', 'onDeviceRequest', 'onDeviceNumber', 'onDeviceApproved', 'onDeviceRemoved', 'onRecoveryChanged', 'onSignInNeeded', 'onStorageLost', 'onWarning',
];

type Handler = (...values: unknown[]) => void;

type Role = TabAction & { type: 'role' };

const ROLES: { readonly [role in Role['role']]: TabRole } = { owning: 'owner', following: 'follower', joining: 'joining', blocked: 'blocked', refused: 'refused' };

type CallKey = (PortAction & { type: 'run' })['key'];

/** A call as it goes from tab to tab. */
interface Body {
  readonly method: Method;
  readonly args: readonly unknown[];
}

/** What an owner told in one turn: how things are now, and what happened, in order: events by their names, changes under none. */
interface News {
  readonly state: State;
  readonly told: readonly (readonly [event: string, ...values: unknown[]])[];
}

/**
 * What this tab is among those of its wallet: it owns the storage and the connection, works through the tab that does, waits for one,
 * is to own but finds the storage blocked, or can take no part.
 */
export type TabRole = 'owner' | 'follower' | 'joining' | 'blocked' | 'refused';

/** How this tab stands to the others. */
export interface TabState {
  role: TabRole;
  /** Calls of this tab that have no answer yet. While no tab owns the storage they wait in this tab's memory. */
  waitingCallCount: number;
}

/** Who is told of what is not the engine's. */
export interface PortHost {
  /** The role, or the number of calls that wait for an owner, is another. */
  tabChanged(state: TabState): void;
  warn(error: SyncError): void;
  /** News may be missing: what is shown is to be read again. */
  renewed(): void;
  /** The wallet was logged out in another tab. */
  gone(): void;
  /** The page is back: whether it is still to be about this wallet. */
  returns(): Promise<boolean>;
}

/** As the methods of the engine; which of them are called here does not depend on who runs it. */
export interface Port extends Omit<Pick<Engine, Method>, 'getDeviceId' | 'setOffline'>, Readable {
  setOffline(isOffline: boolean): unknown;
}

export class Port {
  readonly #config: Config;
  readonly #address: string;
  readonly #host: PortHost;
  readonly #lock: Lock | null;
  readonly #tab: Tab;
  #role: TabRole = 'joining';
  /** The one of this tab, while it runs or starts. */
  #engine: Engine | null = null;
  /** Whether it is what the getters answer from, in place of the mirror. */
  #isOwner = false;
  #mirror: Mirror | null = null;
  #wishes: Wishes;
  /** Whether some tab has had the wallet connected. */
  #isReady = false;
  /** Ends when the engines that were stopped have closed the database. */
  #stopped: Promise<void> = Promise.resolve();
  /** Invitations that this page was told by an owner before. */
  #invited = new Set<string>();
  readonly #handlers = new Map<string, Handler>();
  #observer: ((change: Change) => void) | undefined;
  /** Subscribers while another tab owns. */
  readonly #subscribers = new Set<{ readonly sessionId: string; readonly handler: (message: MessageView) => void }>();
  /** Calls that wait for their answer. */
  readonly #calls = new Map<number, (result: EngineResult<never>) => void>();
  #lastCall = 0;
  #toldCount = 0;
  /** Of this turn, for the other tabs. */
  #news: [event: string, ...values: unknown[]][] = [];
  #touched = new Set<string>();
  /** What collects for them all that the engine tells; none where there are no other tabs. */
  #collectors: [event: keyof SyncEvents, handler: Handler][] = [];

  static {
    for (const method of METHODS) {
      Object.defineProperty(Port.prototype, method, {
        value(this: Port, ...args: unknown[]) {
          return this.#call(method, args);
        },
        configurable: true,
      });
    }
    for (const getter of GETTERS) {
      Object.defineProperty(Port.prototype, getter, {
        value(this: Port, sessionId?: string) {
          return (this.#source[getter] as (sessionId?: string) => unknown)(sessionId);
        },
      });
    }
  }

  /** Joins the tabs of a wallet. `lock`: where the configuration has one; without it, only the tabs that have it open the database. */
  constructor(config: Config, address: string, isOffline: boolean, host: PortHost, lock: Lock | null) {
    this.#config = { ...config, databaseName: `${config.databaseName}/${address}` };
    this.#address = address;
    this.#host = host;
    this.#lock = lock;
    this.#wishes = { offline: isOffline, autoSync: {} };
    this.#tab = new Tab({
      name: this.#config.databaseName,
      settings: settingsOf(config),
      act: (action) => this.#act(action),
      mirror: () => stateOf(this.#engine as Engine, this.#wishes),
      awake: () => this.#engine?.awake(),
      returns: () => host.returns(),
    });
    if (isOffline) this.setOffline(true);
  }

  get tabState(): TabState {
    return { role: this.#role, waitingCallCount: this.#calls.size };
  }

  /** Resolves when some tab's engine has the wallet connected. */
  async initialize(): Promise<EngineResult<unknown>> {
    const result = await this.#call('getDeviceId', []);
    this.#isReady = result.success;
    return result;
  }

  /** As the engine's. */
  on(event: keyof SyncEvents, handler: Handler): void {
    this.#handlers.set(event, handler);
    if (this.#engine) this.#forward(this.#engine, event, handler);
  }

  /** As the engine's. */
  observe(handler: ((change: Change) => void) | undefined): void {
    this.#observer = handler;
    this.#observeEngine();
  }

  /** As the engine's. The handler is not told any more when another tab becomes the owner, or this one (`renewed`). */
  async subscribeToMessages(sessionId: string, handler: (message: MessageView) => void): Promise<EngineResult<Subscription>> {
    if (this.#isOwner) return (this.#source as Engine).subscribeToMessages(sessionId, handler);
    const known = this.#source.getDevices(sessionId);
    if (!known.success) return known;
    const subscriber = { sessionId, handler };
    this.#subscribers.add(subscriber);
    return { success: true, data: { unsubscribe: () => this.#subscribers.delete(subscriber) } };
  }

  /** The wallet is logged out in all tabs. */
  tellGone(): void {
    this.#tab.feed({ type: 'gone', body: null });
  }

  /** Leaves the other tabs. Calls that wait fail. */
  async cleanup(): Promise<void> {
    this.#tab.end();
    await this.#stopped;
  }

  get #source(): Readable {
    const source = this.#isOwner ? this.#engine : this.#mirror;
    if (!source) throw new SyncError('SDK_NOT_INITIALIZED', 'no tab has opened this wallet yet');
    return source;
  }

  // Calls.

  #call(method: Method, args: readonly unknown[]): Promise<EngineResult<unknown>> {
    return new Promise((resolve) => {
      let body: Body;
      try {
        body = { method, args: structuredClone(args) };
      } catch (thrown) {
        resolve({ success: false, error: invalid(`an argument of ${method} is nothing that can be sent: ${describe(thrown)}`, thrown) });
        return;
      }
      this.#lastCall += 1;
      this.#calls.set(this.#lastCall, resolve);
      this.#tab.feed({ type: 'call', call: this.#lastCall, isKeyed: (KEYED as readonly string[]).includes(method), body });
      this.#tellCount();
    });
  }

  /** Calls that wait for an owner are told of; those that one works on are not. */
  #tellCount(): void {
    if (this.#role === 'owner' || this.#role === 'follower' || this.#toldCount === this.#calls.size) return;
    this.#toldCount = this.#calls.size;
    this.#host.tabChanged(this.tabState);
  }

  async #run({ from, call, key, body }: PortAction & { type: 'run' }): Promise<void> {
    const engine = this.#engine;
    let result = engine && (await this.#ask(engine, key, body as Body));
    // Who called shall find what it did in the state.
    this.#tellNews();
    // Nothing of it was done.
    if (result?.success === false && ['PROFILE_IN_USE', 'SDK_NOT_INITIALIZED'].includes(result.error.code)) result = null;
    this.#tab.feed({ type: 'ran', from, call, isDone: result !== null, result });
  }

  /** What other tabs ask comes from other versions of the application too. */
  async #ask(engine: Engine, key: CallKey, body: Body): Promise<EngineResult<unknown>> {
    try {
      const { method, args } = body;
      if (!METHODS.includes(method)) throw invalid(`the tab that owns the storage has no ${method}: reload it`);
      if (key) engine.keyed(key.tab, key.call, key.doneThrough);
      const result = await (engine[method] as (...args: readonly unknown[]) => EngineResult<unknown> | Promise<EngineResult<unknown>>)(...args);
      if (result.success) this.#wish(method, args);
      if (!(READING as readonly string[]).includes(method)) this.#touched.add(typeof args[0] === 'string' ? args[0] : '');
      return result;
    } catch (thrown) {
      // Another tab gets the fields of an error alone.
      const error = errorOf(thrown);
      return { success: false, error: { ...error, message: error.message } };
    }
  }

  #wish(method: Method, [first, second]: readonly unknown[]): void {
    const { offline, autoSync } = this.#wishes;
    if (method === 'setOffline') this.#wishes = { autoSync, offline: first as boolean };
    if (method === 'enableAutoSync') this.#wishes = { offline, autoSync: { ...autoSync, [first as string]: second as number | undefined } };
    if (method === 'disableAutoSync' || method === 'endSession') {
      const { [first as string]: _, ...others } = autoSync;
      this.#wishes = { offline, autoSync: others };
    }
  }

  // What the machine asks for.

  #act(action: PortAction): void {
    switch (action.type) {
      case 'start':
        void this.#start(action.above);
        break;
      case 'stop':
        this.#stop();
        break;
      case 'run':
        void this.#run(action);
        break;
      case 'answer':
        this.#calls.get(action.call)?.((action.error ? { success: false, error: action.error } : action.result) as EngineResult<never>);
        this.#calls.delete(action.call);
        break;
      case 'mirror':
        this.#reflect(action.body as State);
        break;
      case 'tell':
        this.#hear(action.body as News);
        break;
      case 'role':
        this.#setRole(action);
        break;
      case 'renewed':
        this.#renew();
        break;
      case 'gone':
        // At once, so that it does not open what is to be wiped.
        this.#tab.end();
        this.#host.gone();
        break;
    }
  }

  #setRole(now: Role): void {
    if (now.role === 'owning') this.#collect(now.followerCount > 0);
    const role = ROLES[now.role];
    if (role === this.#role) return;
    this.#role = role;
    this.#toldCount = this.#calls.size;
    this.#host.tabChanged(this.tabState);
    if (role === 'blocked') this.#host.warn(new SyncError('STORAGE_BLOCKED', 'the database does not open: another tab, perhaps a frozen one, is in the midst of a write'));
    // Where nothing worked before, the call that waits is told.
    if (now.role === 'refused' && this.#isReady) this.#host.warn(errorOf(now.error));
  }

  // Owning.

  async #start(above: number): Promise<void> {
    const engine = new wasm.SolConnectSDK(this.#config as SdkConfig);
    this.#engine = engine;
    this.#invited = new Set(this.#mirror?.state.invitations.map(({ session_id }) => session_id));
    this.#collectors = [];
    for (const event of ['onWarning', 'onSyncFailed'] as const) {
      engine.on(event, (...values: unknown[]) => {
        if (this.#engine === engine && values.some(isFence)) this.#tab.feed({ type: 'fenced' });
      });
    }
    // It has something to tell of its start.
    for (const [event, handler] of this.#handlers) this.#forward(engine, event as keyof SyncEvents, handler);
    this.#observeEngine();
    try {
      if (this.#lock) engine.lock(this.#lock.key, this.#lock.record);
      const claim = must(await engine.initialize(above));
      if (this.#wishes.offline) engine.setOffline(true);
      must(await engine.connectWallet(this.#address));
      if (this.#engine !== engine) return;
      for (const [sessionId, intervalMs] of Object.entries(this.#wishes.autoSync)) void engine.enableAutoSync(sessionId, intervalMs);
      this.#isOwner = true;
      this.#tab.feed({ type: 'started', claim });
      this.#renew();
      const count = must(engine.getSyncStatus()).queuedMessageCount;
      if (this.#mirror && this.#mirror.state.status.queuedMessageCount !== count) this.#handlers.get('onQueueChanged')?.(count);
    } catch (thrown) {
      if (this.#engine !== engine) return;
      this.#stop();
      const error = errorOf(thrown);
      // What went well before may go well again.
      const isFinal = error.code !== 'PROFILE_IN_USE' && (!this.#isReady || !['STORAGE_ERROR', 'STORAGE_FULL'].includes(error.code));
      this.#tab.feed({ type: 'startFailed', error: { code: error.code, message: error.message }, isFinal });
    }
  }

  /** At once: a page that goes away has no later. What was committed is answered for all the same. */
  #stop(): void {
    const engine = this.#engine;
    if (!engine) return;
    if (this.#isOwner) {
      this.#tellNews();
      this.#mirror = new Mirror(stateOf(engine, this.#wishes));
    }
    this.#isOwner = false;
    this.#engine = null;
    engine.abandon();
    const before = this.#stopped;
    this.#stopped = engine.cleanup().then(() => engine.free()).then(() => before);
  }

  /** Has the page told of an event, as long as the engine runs. */
  #forward(engine: Engine, event: keyof SyncEvents, handler: Handler): void {
    engine.on(event, (...values: unknown[]) => {
      if (this.#engine !== engine) return;
      if (event !== 'onSessionInvited' || !this.#invited.delete(values[0] as string)) handler(...values);
    });
  }

  #observeEngine(): void {
    const engine = this.#engine;
    const tell = (change: Change): void => {
      if (this.#engine !== engine) return;
      if (this.#collectors.length > 0) this.#note('', change);
      this.#observer?.(change);
    };
    engine?.observe(this.#observer || this.#collectors.length > 0 ? tell : undefined);
  }

  /** From now on everything is told to the other tabs, or no longer. */
  #collect(isWanted: boolean): void {
    const engine = this.#engine;
    if (!engine || isWanted === this.#collectors.length > 0) return;
    for (const [event, handler] of this.#collectors) engine.off(event, handler);
    this.#collectors = isWanted ? EVENTS.map((event) => [event, (...values) => this.#engine === engine && this.#note(event, ...values)]) : [];
    for (const [event, handler] of this.#collectors) engine.on(event, handler);
    this.#observeEngine();
  }

  #note(event: string, ...values: unknown[]): void {
    if (this.#news.push([event, ...values]) === 1) queueMicrotask(() => this.#tellNews());
    const [first] = values as [{ sessionId?: string; message?: MessageView } | string | undefined];
    const sessionId = typeof first === 'string' ? first : first?.message?.session_id ?? first?.sessionId;
    if (sessionId !== undefined) this.#touched.add(sessionId);
  }

  #tellNews(): void {
    const engine = this.#engine;
    const [told, touched] = [this.#news, this.#touched];
    this.#news = [];
    this.#touched = new Set();
    if (!engine || !this.#isOwner || this.#collectors.length === 0 || (told.length === 0 && touched.size === 0)) return;
    this.#tab.feed({ type: 'told', body: { state: stateOf(engine, this.#wishes, touched), told } satisfies News });
  }

  // Following.

  #hear({ state, told }: News): void {
    this.#wishes = state.wishes;
    this.#mirror?.take(state);
    for (const [event, ...values] of told) {
      if (event === '') this.#take(values[0] as Change);
      else this.#handlers.get(event)?.(...values);
    }
  }

  /** The state of another owner. Events that this page has missed are told where they can be known. */
  #reflect(state: State): void {
    const before = this.#mirror?.state;
    this.#mirror = new Mirror(state);
    this.#wishes = state.wishes;
    if (before?.connection !== state.connection) this.#handlers.get('onConnectionChanged')?.(state.connection);
    const count = state.status.queuedMessageCount;
    if (before?.status.queuedMessageCount !== count) this.#handlers.get('onQueueChanged')?.(count);
    const known = new Set(before?.invitations.map(({ session_id }) => session_id));
    for (const { session_id, peer_wallet, name } of state.invitations) {
      if (!known.has(session_id)) this.#handlers.get('onSessionInvited')?.(session_id, peer_wallet, name);
    }
  }

  #take(change: Change): void {
    if (change.type === 'missed') return this.#renew();
    this.#observer?.(change);
    if (change.type !== 'message') return;
    const { message } = change;
    if (message.sequenceNumber === undefined || message.deviceId === this.#mirror?.state.deviceId) return;
    for (const { sessionId, handler } of this.#subscribers) if (sessionId === message.session_id) handler(message);
  }

  #renew(): void {
    if (!this.#isReady) return;
    this.#observer?.({ type: 'missed' });
    this.#host.renewed();
  }
}

/** What all tabs of a wallet have alike, as a person reads it where it differs. */
function settingsOf({ conflictResolutionStrategy, domains, encryption, deviceApproval, lockWith, ...config }: Config): string {
  const relay = relayOf(config);
  return [
    relay ? new URL(relay).href : 'application', conflictResolutionStrategy ?? 'vector_clock', ...[...(domains ?? [])].sort(),
    encryption === 'required' && `encrypted, ${deviceApproval ?? 'ask'}`, lockWith && `lockWith ${lockWith === 'passkey' ? lockWith : 'passphrase'}`,
  ].filter(Boolean).join(', ');
}

/** Another tab has taken the store. */
const isFence = (value: unknown): boolean => (value as EngineError | undefined)?.code === 'PROFILE_IN_USE';

function must<T>(result: EngineResult<T>): T {
  if (result.success) return result.data;
  throw errorOf(result.error);
}
