// The class VectorClock, for applications: what the engine knows of clocks, it knows itself.

import { reading, textOf } from './arguments.js';
import { SyncError } from './errors.js';

const DEVICES_MAX = 1024;
const DEVICE_BYTES_MAX = 200;

/**
 * For each device the highest counter known.
 *
 * @example
 * ```ts
 * const one = new VectorClock({ phone: 2 });
 * const two = VectorClock.parse('{"laptop":1}');
 * one.compare(two); // 'concurrent': neither knows of the other
 * ```
 */
export class VectorClock {
  #counters: ReadonlyMap<string, number>;

  /**
   * A clock with these counters, or one that knows nothing.
   *
   * Errors, thrown: `INVALID_VECTOR_CLOCK`.
   */
  constructor(record?: Record<string, number>) {
    this.#counters = raised(new Map(), countersOf(record));
  }

  /**
   * Reads what `toString` wrote.
   *
   * Errors, thrown: `INVALID_VECTOR_CLOCK`, `INVALID_ARGUMENT`.
   */
  static parse(text: string): VectorClock {
    let record;
    try {
      record = JSON.parse(textOf('text', text));
    } catch (thrown) {
      throw thrown instanceof SyncError ? thrown : invalid('it is no JSON');
    }
    if (record === null) throw invalid('it is no object');
    return new VectorClock(record);
  }

  /**
   * Counts one event of a device and returns its new counter.
   *
   * Errors, thrown: `INVALID_VECTOR_CLOCK` at 1,024 devices or 2^53 - 1 and for a device id that is empty or above 200 bytes,
   * `INVALID_ARGUMENT`.
   */
  tick(deviceId: string): number {
    const counter = this.get(deviceId) + 1;
    this.#counters = raised(this.#counters, [[deviceId, counter]]);
    return counter;
  }

  /**
   * The counter of a device, 0 where it is absent.
   *
   * Errors, thrown: `INVALID_ARGUMENT`.
   */
  get(deviceId: string): number {
    return this.#counters.get(mended(textOf('deviceId', deviceId))) ?? 0;
  }

  /**
   * Takes the higher counter of both, device by device.
   *
   * Errors, thrown: `INVALID_VECTOR_CLOCK` at 1,024 devices, `INVALID_ARGUMENT` for what is no clock.
   */
  merge(other: VectorClock): void {
    this.#counters = raised(this.#counters, VectorClock.#of(other));
  }

  /**
   * How this clock relates to another.
   *
   * Errors, thrown: `INVALID_ARGUMENT` for what is no clock.
   */
  compare(other: VectorClock): 'before' | 'after' | 'equal' | 'concurrent' {
    const [ours, theirs] = [this.#counters, VectorClock.#of(other)];
    if (covers(ours, theirs)) return covers(theirs, ours) ? 'equal' : 'after';
    return covers(theirs, ours) ? 'before' : 'concurrent';
  }

  /** The counters, by device. No errors. */
  toJSON(): Record<string, number> {
    return Object.fromEntries([...this.#counters].sort(([one], [other]) => (one < other ? -1 : 1)));
  }

  /** The JSON form. No errors. */
  toString(): string {
    return JSON.stringify(this);
  }

  static #of(other: unknown): ReadonlyMap<string, number> {
    if (typeof other === 'object' && other !== null && #counters in other) return other.#counters;
    throw new SyncError('INVALID_ARGUMENT', 'the other must be a VectorClock');
  }
}

function countersOf(record: unknown): [string, unknown][] {
  if (record === undefined || record === null) return [];
  return reading('the counters', () => {
    if (typeof record !== 'object' || Array.isArray(record)) throw invalid('it is no object');
    return Object.entries(record);
  });
}

/** These counters with others, of each device the higher. */
function raised(counters: ReadonlyMap<string, number>, others: Iterable<[string, unknown]>): ReadonlyMap<string, number> {
  const all = new Map(counters);
  for (const [name, counter] of others) {
    const device = mended(name);
    if (!device || new TextEncoder().encode(device).length > DEVICE_BYTES_MAX) throw invalid('a device id is empty or too long');
    if (!Number.isSafeInteger(counter) || (counter as number) < 0) throw invalid('a counter is no whole number from 0 to 2^53 - 1');
    if (counter === 0) continue;
    if (!all.has(device) && all.size >= DEVICES_MAX) throw invalid('it has more than 1,024 devices');
    all.set(device, Math.max(all.get(device) ?? 0, counter as number));
  }
  return all;
}

function covers(counters: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>): boolean {
  return [...others].every(([device, counter]) => (counters.get(device) ?? 0) >= counter);
}

/** A text as the engine gets it: half a character is U+FFFD. */
function mended(text: string): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(new TextEncoder().encode(text));
}

function invalid(why: string): SyncError {
  return new SyncError('INVALID_VECTOR_CLOCK', `vector clock: ${why}`);
}
