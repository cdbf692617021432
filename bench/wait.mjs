// Every step of a measurement has a deadline: what hangs is a failed row, not a hung run.
import { setTimeout as delay } from 'node:timers/promises';

/** The promise, or an error that says what took too long. */
export async function within(what, promise, deadlineMs = 30_000) {
  const over = new AbortController();
  const timeout = delay(deadlineMs, null, { signal: over.signal }).then(
    () => {
      throw new Error(`${what}: not within ${deadlineMs / 1000} s`);
    },
    () => {},
  );
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    over.abort();
  }
}
