// Waiting on conditions, never on luck.
import { setTimeout as delay } from 'node:timers/promises';

/** Waits until `condition` gives something true, and gives that. Says what was awaited when the time is over. */
export async function until(what, condition, deadlineMs = 15_000) {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`not within ${deadlineMs / 1000} s: ${what}`);
    await delay(15);
  }
}

/** The promise, or an error that says what took too long. */
export async function within(what, promise, deadlineMs = 15_000) {
  const over = new AbortController();
  const timeout = delay(deadlineMs, null, { signal: over.signal }).then(
    () => {
      throw new Error(`not within ${deadlineMs / 1000} s: ${what}`);
    },
    () => {},
  );
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    over.abort();
  }
}
