// Checks of arguments that the engine does not check itself: it takes everything that passes here, and never traps.

import { describe, SyncError } from './errors.js';

/** An error that names a wrong argument. */
export const invalid = (message: string, cause?: unknown): SyncError =>
  new SyncError('INVALID_ARGUMENT', message, cause === undefined ? undefined : { cause });

/** A function, also of another realm. */
export function functionOf<F>(name: string, value: F): F {
  if (typeof value !== 'function') throw invalid(`${name} must be a function`);
  return value;
}

/** A text. */
export function textOf(name: string, value: unknown): string {
  if (typeof value !== 'string') throw invalid(`${name} must be a text`);
  return value;
}

/** True or false. */
export function flagOf(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalid(`${name} must be true or false`);
  return value;
}

/** An object's fields, read once: what its getters or a proxy do later changes nothing. Those that are `undefined` are left out. */
export function optionsOf(what: string, given: unknown, names: readonly string[]): { [name: string]: unknown } {
  if (given === undefined) return {};
  if (typeof given !== 'object' || given === null) throw invalid(`${what} must be an object`);
  return reading(what, () => {
    const options: { [name: string]: unknown } = {};
    for (const name of Reflect.ownKeys(given)) {
      if (typeof name !== 'string' || !names.includes(name)) throw unknownName(what, 'option', String(name), names);
      const value: unknown = Reflect.get(given, name);
      if (value !== undefined) options[name] = value;
    }
    return options;
  });
}

/** Reads something of a given object: its getters, or a proxy, may throw. */
export function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (thrown instanceof SyncError) throw thrown;
    throw invalid(`${what} cannot be read: ${describe(thrown)}`, thrown);
  }
}

/** An error that suggests up to three likely names: the nearest one, and those that begin with the same word. */
export function unknownName(what: string, kind: string, name: string, names: readonly string[]): SyncError {
  const near = names.map((known) => ({ known, distance: distance(name.toLowerCase(), known.toLowerCase()) }))
    .sort((one, other) => one.distance - other.distance);
  const isLikely = ({ known, distance }: { known: string; distance: number }, place: number): boolean =>
    (place === 0 && distance <= Math.max(2, name.length / 2)) || (distance > 0 && firstWord(known) === firstWord(name));
  const likely = near.filter(isLikely).slice(0, 3).map(({ known }) => known);
  const advice = likely.length > 0 ? `did you mean ${likely.join(' or ')}?` : `there are ${names.join(', ')}`;
  return invalid(`${what} has no ${kind} ${name.slice(0, 100)}; ${advice}`);
}

const firstWord = (name: string): string => /^[a-z]*/.exec(name)?.[0] ?? '';

/** How many letters one must insert, remove or change (Levenshtein, row by row). */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, place) => place);
  for (const [place, letter] of [...one.slice(0, 100)].entries()) {
    const next = [place + 1];
    for (let column = 1; column <= other.length; column += 1) {
      const change = (row[column - 1] ?? 0) + (other[column - 1] === letter ? 0 : 1);
      next.push(Math.min(change, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}

/** Fails with CALL_ABORTED when the signal says so, whatever becomes of the work. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new SyncError('CALL_ABORTED', 'the signal was aborted', { cause: signal.reason }));
    // A signal that throws when it is left keeps nobody waiting.
    work.then(resolve, reject).then(() => signal.removeEventListener('abort', abort)).catch(() => {});
    reading('signal', () => {
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
    });
  });
}

/** A signal, also of another realm; `undefined` where it is left out. */
export function signalOf(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  return reading('signal', () => {
    const { addEventListener, removeEventListener } = Object(value) as AbortSignal;
    if (typeof addEventListener !== 'function' || typeof removeEventListener !== 'function') throw invalid('signal must be an AbortSignal');
    return value as AbortSignal;
  });
}
