// What the small benches of pages share: what they need, and how they tell what they measured.
import { cpus, loadavg } from 'node:os';
import { buildRelay, buildSdk } from '../scripts/build.mjs';
import { setup } from '../scripts/setup.mjs';

/** Installs what is missing, and builds. A bench imports what needs installed packages only after it. */
export async function prepare() {
  await setup('npm', 'wasm', 'browser');
  await buildSdk();
  await buildRelay();
}

export const load = () => loadavg()[0].toFixed(1);

/** The machine, and how busy it is now. */
export const machine = () => `${cpus().length} cores (${cpus()[0].model}), load ${load()}`;

/** The time below which this share of them lies; the longest for 1. */
export function timeAt(times, share) {
  const sorted = [...times].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/** Prints a line for each title: the times in milliseconds at these shares, which have names. `start` is the machine as the bench began. */
export function printTimes(start, rows, shares) {
  console.log(`\nChromium, ${start} at the start; ms\n`);
  const width = Math.max(...Object.keys(rows).map((title) => title.length));
  for (const [title, times] of Object.entries(rows)) {
    const cells = Object.entries(shares).map(([name, share]) => `${name} ${timeAt(times, share).toFixed(1).padStart(9)}`);
    console.log(`${title.padEnd(width)}  ${cells.join('  ')}  of ${times.length}`);
  }
}
