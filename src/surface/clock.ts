// The class VectorClock over the engine's.

import * as wasm from '../solconnect_sync.js';
import { reading, textOf } from './arguments.js';
import { errorOf, SyncError } from './errors.js';
import { checkLoaded } from './load.js';

/**
 * For each device the highest counter known. Needs `init`.
 *
 * @example
 * ```ts
 * const one = new VectorClock({ phone: 2 });
 * const two = VectorClock.parse('{"laptop":1}');
 * one.compare(two); // 'concurrent': neither knows of the other
 * ```
 */
export class VectorClock {
  #clock: wasm.VectorClock;

  /**
   * A clock with these counters, or one that knows nothing.
   *
   * Errors, thrown: `INVALID_VECTOR_CLOCK`; `SDK_NOT_INITIALIZED` before `init`.
   */
  constructor(record?: Record<string, number>) {
    checkLoaded();
    this.#clock = ours(() => new wasm.VectorClock(reading('the counters', () => (typeof record === 'object' && record !== null && !Array.isArray(record) ? { ...record } : record))));
  }

  /**
   * Reads what `toString` wrote.
   *
   * Errors, thrown: `INVALID_VECTOR_CLOCK`, `INVALID_ARGUMENT`; `SDK_NOT_INITIALIZED` before `init`.
   */
  static parse(text: string): VectorClock {
    const clock = new VectorClock();
    clock.#clock = ours(() => wasm.VectorClock.parse(textOf('text', text)));
    return clock;
  }

  /**
   * Counts one event of a device and returns its new counter.
   *
   * Errors, thrown: `INVALID_VECTOR_CLOCK` at 1,024 devices or 2^53 - 1, `INVALID_ARGUMENT`.
   */
  tick(deviceId: string): number {
    return ours(() => this.#clock.tick(textOf('deviceId', deviceId)));
  }

  /**
   * The counter of a device, 0 where it is absent.
   *
   * Errors, thrown: `INVALID_ARGUMENT`.
   */
  get(deviceId: string): number {
    return this.#clock.get(textOf('deviceId', deviceId));
  }

  /**
   * Takes the higher counter of both, device by device.
   *
   * Errors, thrown: `INVALID_VECTOR_CLOCK` at 1,024 devices or 2^53 - 1, `INVALID_ARGUMENT` for what is no clock.
   */
  merge(other: VectorClock): void {
    ours(() => this.#clock.merge(VectorClock.#of(other)));
  }

  /**
   * How this clock relates to another.
   *
   * Errors, thrown: `INVALID_ARGUMENT` for what is no clock.
   */
  compare(other: VectorClock): 'before' | 'after' | 'equal' | 'concurrent' {
    return this.#clock.compare(VectorClock.#of(other));
  }

  /** The counters, by device. No errors. */
  toJSON(): Record<string, number> {
    return this.#clock.toJSON();
  }

  /** The JSON form. No errors. */
  toString(): string {
    return this.#clock.toString();
  }

  static #of(other: unknown): wasm.VectorClock {
    if (typeof other === 'object' && other !== null && #clock in other) return other.#clock;
    throw new SyncError('INVALID_ARGUMENT', 'the other must be a VectorClock');
  }
}

/** The session of two wallets: the same for both, on every device. Errors, thrown: `INVALID_WALLET_ADDRESS`, `INVALID_ARGUMENT`; `SDK_NOT_INITIALIZED` before `init`. */
export function sessionIdOf(walletA: string, walletB: string): string {
  checkLoaded();
  return ours(() => wasm.sessionIdOf(textOf('walletA', walletA), textOf('walletB', walletB)));
}

/** The version of this package. Errors, thrown: `SDK_NOT_INITIALIZED` before `init`. */
export function version(): string {
  checkLoaded();
  return wasm.version();
}

/** What the engine throws, as an error of ours. */
function ours<T>(work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw errorOf(thrown);
  }
}
