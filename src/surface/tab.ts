// One tab of those that share a wallet's database: the lock, the channel, the clock and the page's events, for the rules of
// crates/core/src/tab. It decides nothing itself.

import { TabMachine, type TabAction, type TabInput, type TabMessage } from '../solconnect_sync.js';

/** The version of what tabs say to each other (PROTOCOL.md, section 11), and the oldest one of others that is understood. */
const PROTOCOL = { protocol: 1, speaks: 1 };

/**
 * Whether this is the code of the service worker, which is no page: nobody sees it, it takes the lock only where no tab holds or wants
 * it, and no tab is to be refused because of it. The build says so, and pages have nothing of it.
 */
declare const IS_BACKGROUND: boolean;

/** What the machine asks of who has the engine. */
export type PortAction = Exclude<TabAction, { type: 'lock' | 'steal' | 'unlock' | 'say' }>;

export interface TabOptions {
  /** Of the database. */
  readonly name: string;
  /** What all its tabs must have in common. */
  readonly settings: string;
  /** Does what the machine asks for. */
  readonly act: (action: PortAction) => void;
  /** What all getters show, to be told with `owner`. Where somebody follows, the role has said so before. */
  readonly mirror: () => unknown;
  /** The page may have been away: the connection is to be looked at. */
  readonly awake: () => void;
  /** The page is back: whether it is still to take part. */
  readonly returns: () => Promise<boolean>;
}

/** The longest wait that timers take. */
const TIMER_MS_MAX = 0x7fffffff;

/** How long tabs that are told to leave are waited for. One that lives leaves at once; a frozen one would keep the database anyway. */
const LEAVE_MS_MAX = 5_000;

export class Tab {
  readonly #machine: TabMachine;
  readonly #options: TabOptions;
  readonly #inputs: TabInput[] = [];
  #isRunning = false;
  /** The page is there: neither left nor frozen. */
  #isOpen = false;
  #channel: BroadcastChannel | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueMs: number | undefined;
  /** Gives the lock back, or the place in its queue. */
  #unlock = (): void => {};
  /** Ends the listening to the page. */
  readonly #watching = new AbortController();

  constructor(options: TabOptions) {
    this.#options = options;
    // Without locks tabs find out by asking each other. One that cannot ask anybody is alone.
    const hasLocks = locks() !== undefined || typeof BroadcastChannel === 'undefined';
    this.#machine = new TabMachine({ ...PROTOCOL, id: randomId(), hasLocks, settings: options.settings });
    this.#watch();
    this.#open();
  }

  /** Tells the machine what happened, and does all that follows at once. */
  feed(input: TabInput): void {
    this.#inputs.push(input);
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let next; (next = this.#inputs.shift());) {
      for (const action of this.#machine.handle(performance.now(), next)) {
        try {
          this.#do(action);
        } catch (thrown) {
          // What another tab says may be of no form that this one knows. The next message is.
          console.error(thrown);
        }
      }
    }
    this.#isRunning = false;
    this.#arm();
  }

  /** Gives everything up for good. */
  end(): void {
    this.#watching.abort();
    this.#close('end');
  }

  #do(action: TabAction): void {
    switch (action.type) {
      case 'lock':
      case 'steal':
        this.#lock(action.type === 'steal');
        break;
      case 'unlock':
        this.#unlock();
        break;
      case 'say':
        if (action.message.kind === 'owner') action.message.body = this.#options.mirror();
        this.#channel?.postMessage(action.message);
        break;
      default:
        this.#options.act(action);
    }
  }

  #lock(steal: boolean): void {
    this.#unlock();
    const waiting = new AbortController();
    let isOver = false;
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#unlock = () => {
      isOver = true;
      waiting.abort();
      release();
    };
    const granted = (): Promise<void> => {
      if (!isOver) this.feed({ type: 'locked' });
      return held;
    };
    const lost = (): void => {
      if (!isOver) this.feed({ type: 'unlocked' });
    };
    const manager = locks();
    if (!manager) return void granted();
    const name = nameOf(this.#options.name);
    if (IS_BACKGROUND) return void manager.request(name, { ifAvailable: true }, (lock) => lock ? granted() : undefined).catch(lost);
    manager.request(name, steal ? { steal } : { signal: waiting.signal }, granted).catch(lost);
  }

  #open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    if (typeof BroadcastChannel !== 'undefined') {
      this.#channel = new BroadcastChannel(nameOf(this.#options.name));
      this.#channel.onmessage = ({ data }: MessageEvent) => {
        if (IS_BACKGROUND && !isLike(data, this.#options.settings)) this.#options.act({ type: 'gone', body: null });
        else this.feed({ type: 'heard', message: data });
      };
    }
    this.feed({ type: 'open', visible: isVisible() });
  }

  /** Gives everything up, for a while or for good. A page that still listened would not be kept for going back to it (P23). */
  #close(input: 'close' | 'end'): void {
    this.feed({ type: input });
    this.#isOpen = false;
    this.#channel?.close();
    this.#channel = null;
  }

  #watch(): void {
    const { signal } = this.#watching;
    const on = (target: EventTarget | undefined, names: readonly string[], react: () => unknown): void => {
      for (const name of names) target?.addEventListener?.(name, react, { signal });
    };
    const reopen = async (): Promise<void> => {
      if (!this.#isOpen && (await this.#options.returns()) && !signal.aborted) this.#open();
      this.#options.awake();
    };
    on(globalThis as unknown as EventTarget, ['pagehide'], () => this.#close('close'));
    on(globalThis as unknown as EventTarget, ['pageshow'], reopen);
    on(globalThis as unknown as EventTarget, ['online'], this.#options.awake);
    on(globalThis.document, ['freeze'], () => this.#close('close'));
    on(globalThis.document, ['resume'], reopen);
    on(globalThis.document, ['visibilitychange'], () => {
      this.feed({ type: 'visible', visible: isVisible() });
      if (isVisible()) this.#options.awake();
    });
  }

  #arm(): void {
    const dueMs = this.#machine.nextTimeoutMs();
    if (dueMs === this.#dueMs) return;
    this.#dueMs = dueMs;
    clearTimeout(this.#timer);
    if (dueMs === undefined) return;
    this.#timer = setTimeout(() => {
      this.#dueMs = undefined;
      this.feed({ type: 'timeout' });
    }, Math.min(Math.max(dueMs - performance.now(), 0), TIMER_MS_MAX));
  }
}

/** Whether a message is of a tab with the same settings and version. Not all messages have settings. */
const isLike = (message: Partial<TabMessage> | null, settings: string): boolean =>
  (message?.settings ?? settings) === settings && (message?.protocol ?? PROTOCOL.protocol) === PROTOCOL.protocol;

/** The name of its lock, and of its channel. */
const nameOf = (database: string): string => `solconnect-sync:${database}`;

/** Has the tabs of a database leave it for good that hear of it; the wallet was logged out. */
export function tellGone(database: string): void {
  if (typeof BroadcastChannel === 'undefined') return;
  const channel = new BroadcastChannel(nameOf(database));
  channel.postMessage({
    ...PROTOCOL, from: randomId(), kind: 'gone', claim: 0, number: 0, doneThrough: 0, isKeyed: false, visible: false, body: null,
  } satisfies Partial<TabMessage>);
  channel.close();
}

/**
 * Keeps other tabs from a database from when those that have it now have let go of it: tabs that come after this call wait. Gives what
 * ends that. Where the browser has no Web Locks, or a tab does not let go in time, it keeps nobody away.
 */
export function reserve(database: string): Promise<() => void> {
  return new Promise((resolve) => {
    const giveUp = (): void => resolve(() => {});
    const manager = locks();
    if (!manager) return giveUp();
    // Held until that is called which this gives.
    const hold = (): Promise<void> => new Promise(resolve);
    manager.request(nameOf(database), { signal: AbortSignal.timeout(LEAVE_MS_MAX) }, hold).catch(giveUp);
  });
}

const locks = (): LockManager | undefined => (globalThis.navigator as Navigator | undefined)?.locks;

/** Workers have no document, and work for one that may be seen. */
const isVisible = (): boolean => !IS_BACKGROUND && globalThis.document?.visibilityState !== 'hidden';

function randomId(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2)) as unknown as [number, number];
  return (high >>> 11) * 2 ** 32 + low;
}
