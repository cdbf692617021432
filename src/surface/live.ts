// What the live lists have in common: who listens, when they are told, and that a list belongs to one wallet.

import { functionOf } from './arguments.js';
import type { Change, Source } from './source.js';

/** How long a list that nobody listens to keeps what it has read. Going back to a view within it reads nothing again. */
const KEEP_MS = 5_000;

/**
 * A value that changes, with a stable snapshot. Its functions are bound: they may be handed over as they are, for instance to
 * React's `useSyncExternalStore`.
 *
 * @example
 * ```ts
 * const end = list.subscribe(() => render(list.getSnapshot()));
 * ```
 */
export interface LiveList<T> {
  /**
   * Calls the listener after each change of the snapshot, at most once for all changes of one turn of the event loop. The first
   * listener makes the list read; the last one that ends lets it forget after 5 seconds. Returns the function that ends it. A
   * listener that throws is reported with `console.error` and disturbs nobody.
   *
   * Errors, thrown: `INVALID_ARGUMENT` where the listener is no function.
   */
  readonly subscribe: (listener: () => void) => () => void;
  /** How it is now: the same object as long as nothing changed. It and all that it holds are frozen. */
  readonly getSnapshot: () => T;
  /**
   * Ends all subscriptions and forgets what was read, for all who hold this list: a view that shares it ends its own subscription
   * instead. A later `subscribe` begins anew.
   */
  readonly close: () => void;
}

/** What a list has read and keeps up to date, of one wallet. It is made when it is needed, and thrown away. */
export interface Content<T> {
  snapshot(): T;
  /** Reads what is not there yet, also what could not be read before. */
  start(): void;
  /** Takes in a change. */
  take(change: Change): void;
  /** Nothing is read or told any more. */
  end(): void;
}

export abstract class Live<T extends { readonly isLoading: boolean }, C extends Content<T>> implements LiveList<T> {
  readonly #listeners = new Set<{ readonly listener: () => void }>();
  #isTelling = false;
  #told: T;
  #leaving: ReturnType<typeof setTimeout> | undefined;
  #content: C | null = null;
  /** What takes its place when it has been read. */
  #next: C | null = null;
  /** The wallet whose content it is. */
  #wallet: string | null = null;
  #unobserve: (() => void) | undefined;

  /** `empty` is what there is to see before anything was read. */
  constructor(protected readonly source: Source, readonly empty: T) {
    this.#told = empty;
  }

  /** `former`: what it takes the place of. */
  protected abstract make(changed: () => void, former: C | null): C;

  readonly subscribe = (listener: () => void): (() => void) => {
    functionOf('the listener', listener);
    // The same function may listen twice, and ends twice.
    const entry = { listener };
    this.#listeners.add(entry);
    clearTimeout(this.#leaving);
    this.content().start();
    return () => {
      if (this.#listeners.delete(entry)) this.leaveSoon();
    };
  };

  readonly getSnapshot = (): T => {
    this.#checkWallet();
    if (this.#next?.snapshot().isLoading === false) {
      this.#content?.end();
      [this.#content, this.#next] = [this.#next, null];
    }
    return this.#content?.snapshot() ?? this.empty;
  };

  readonly close = (): void => {
    this.#listeners.clear();
    this.#leave();
  };

  /** The content, which is observed from now on. */
  protected content(): C {
    this.#checkWallet();
    this.#unobserve ??= this.source.onChange((change) => this.#take(change));
    if (!this.#content) {
      this.#wallet = this.source.wallet();
      this.#content = this.make(this.#changed, null);
    }
    return this.#next ?? this.#content;
  }

  /** Forgets in a while, if nobody listens by then. */
  protected leaveSoon(): void {
    clearTimeout(this.#leaving);
    if (this.#listeners.size > 0) return;
    this.#leaving = setTimeout(() => this.#leave(), KEEP_MS);
    // Node does not stay for it.
    (this.#leaving as { unref?: () => void }).unref?.();
  }

  #leave(): void {
    clearTimeout(this.#leaving);
    this.#unobserve?.();
    this.#unobserve = undefined;
    this.#drop();
  }

  #take(change: Change): void {
    this.#checkWallet();
    if (change.type !== 'wallet' && change.type !== 'missed') {
      this.#content?.take(change);
      this.#next?.take(change);
      return;
    }
    if (change.type === 'missed' && this.#content && this.#listeners.size > 0) {
      // What there is to see stays until all is read again.
      this.#next?.end();
      this.#next = this.make(this.#changed, this.#content);
      this.#next.start();
      return;
    }
    this.#drop();
    if (this.#listeners.size > 0) this.content().start();
  }

  /** Nothing of a former wallet is shown, also where its going has not been told yet. */
  #checkWallet(): void {
    if (this.#content && this.source.wallet() !== this.#wallet) this.#drop();
  }

  #drop(): void {
    this.#content?.end();
    this.#next?.end();
    this.#content = this.#next = null;
    this.#changed();
  }

  /** Tells the listeners, soon and once, that there may be another snapshot. */
  readonly #changed = (): void => {
    if (this.#isTelling) return;
    this.#isTelling = true;
    queueMicrotask(() => {
      this.#isTelling = false;
      const snapshot = this.getSnapshot();
      if (snapshot === this.#told) return;
      this.#told = snapshot;
      for (const entry of [...this.#listeners]) {
        // One that was told before may have ended this one.
        if (!this.#listeners.has(entry)) continue;
        try {
          entry.listener();
        } catch (thrown) {
          console.error(thrown);
        }
      }
    });
  };
}
