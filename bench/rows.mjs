// The rows of the table. `goal` is for ours as a ratio to raw's value in the same run, unless it says otherwise.

const per = (unit) => (value) => `${Math.round(value).toLocaleString('en')} ${unit}`;
const ms = (value) => `${value < 20 ? value.toFixed(1) : Math.round(value).toLocaleString('en')} ms`;
const kib = (bytes) => `${bytes < 10_240 ? (bytes / 1024).toFixed(1) : Math.round(bytes / 1024).toLocaleString('en')} KiB`;
const mib = (bytes) => `${(bytes / 1_048_576).toFixed(1)} MiB`;

const ratio = (limit, isMet) => ({ text: `${isMet === atLeast ? 'at least' : 'at most'} ${limit} of raw`, isMet: (ours, raw) => isMet(ours / raw, limit) });
const absolute = (text, limit) => ({ text, isMet: (ours) => atMost(ours, limit) });
const atLeast = (value, limit) => value >= limit;
const atMost = (value, limit) => value <= limit;

export const rows = [
  { id: 'append', scenario: 'outbox', title: 'append offline, each durable before the next', show: per('/s'), goal: ratio(0.9, atLeast) },
  { id: 'drain', scenario: 'outbox', title: 'drain 1,000 unsent until the server has them', show: ms, goal: ratio(0.8, atMost) },
  { id: 'catch-up', scenario: 'history', title: 'catch up 10,000, durable and readable one by one', show: ms, goal: ratio(0.2, atMost) },
  { id: 'catch-up-down', scenario: 'history', title: 'bytes down for them', show: kib, goal: ratio(0.33, atMost) },
  { id: 'catch-up-up', scenario: 'history', title: 'bytes up for them', show: kib },
  { id: 'memory', scenario: 'history', title: 'memory after (JS heap + wasm)', show: mib, goal: absolute('at most 4 MiB', 4 * 1_048_576) },
  { id: 'warm', scenario: 'history', title: 'warm start over 10,000 with 1 new message, page load included', show: ms, goal: ratio(1.3, atMost) },
  { id: 'warm-down', scenario: 'history', title: 'bytes down for it', show: kib, goal: absolute('at most 1 KiB', 1024) },
  { id: 'warm-up', scenario: 'history', title: 'bytes up for it', show: kib, goal: absolute('at most 1 KiB', 1024) },
  { id: 'live', scenario: 'live', title: "live: A's call to B's callback, p50", show: ms, goal: ratio(1.5, atMost) },
  { id: 'live-durable', scenario: 'live', title: "live: A's call to durable at B, p50", show: ms, goal: ratio(1.2, atMost) },
  { id: 'burst', scenario: 'burst', title: 'burst of 2,000 to durable at B', show: per('/s'), goal: ratio(1.0, atLeast) },
  { id: 'size', scenario: null, title: 'what a page loads, brotli 11', show: kib, goal: absolute('at most 90 KiB', 90 * 1024) },
];

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
