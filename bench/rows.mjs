// The rows of the table. `tries` are measured in each round, whose value is their median (or the percentile that the title
// names). `aim` is for ours: as a ratio to the value of another contender in the same run, or an absolute one.

/** Tries in each round. */
export const warmStarts = 17;
export const liveMessages = 300;

const per = (unit) => (value) => `${Math.round(value).toLocaleString('en')} ${unit}`;
const ms = (value) => `${value < 20 ? value.toFixed(1) : Math.round(value).toLocaleString('en')} ms`;
const kib = (bytes) => `${bytes < 10_240 ? (bytes / 1024).toFixed(1) : Math.round(bytes / 1024).toLocaleString('en')} KiB`;
const mib = (bytes) => `${(bytes / 1_048_576).toFixed(1)} MiB`;

const atLeast = (value, limit) => value >= limit;
const atMost = (value, limit) => value <= limit;
const words = (isMet) => (isMet === atLeast ? 'at least' : 'at most');

const ratio = (of, name) => (limit, isMet) => ({ of, text: `${words(isMet)} ${limit} of ${name}`, isMet: (ours, theirs) => isMet(ours / theirs, limit) });
const ofInMemory = ratio('raw', 'in memory');
const ofSamePromises = ratio('raw-durable', 'same promises');
const absolute = (text, limit) => ({ of: 'solconnect', text, isMet: (ours) => atMost(ours, limit) });

/** `isChat`: whether the texts are those of real chat, which are shorter and compress. */
export const rowsOf = (isChat) => [
  { id: 'append', scenario: 'outbox', tries: 1, title: 'append 1,000 offline, each durable before the next', show: per('/s'), aim: ofInMemory(0.95, atLeast) },
  { id: 'drain', scenario: 'outbox', tries: 1, title: 'drain 1,000 unsent until the server has them', show: ms, aim: ofInMemory(0.8, atMost) },
  { id: 'catch-up', scenario: 'history', tries: 1, title: 'catch up 10,000, durable and readable one by one', show: ms, aim: ofInMemory(0.2, atMost) },
  { id: 'catch-up-down', scenario: 'history', tries: 1, title: 'bytes down for them', show: kib, aim: ofInMemory(isChat ? 0.05 : 0.33, atMost) },
  { id: 'catch-up-up', scenario: 'history', tries: 1, title: 'bytes up for them', show: kib },
  { id: 'memory', scenario: 'history', tries: 1, title: 'memory after (JS heap + wasm)', show: mib, aim: absolute('at most 4 MiB', 4 * 1_048_576) },
  { id: 'warm', scenario: 'history', tries: warmStarts, title: 'warm start over 10,000 with 1 new message, page load included', show: ms, aim: ofInMemory(1.3, atMost) },
  { id: 'warm-down', scenario: 'history', tries: warmStarts, title: 'bytes down for it', show: kib, aim: absolute('at most 1 KiB', 1024) },
  { id: 'warm-up', scenario: 'history', tries: warmStarts, title: 'bytes up for it', show: kib, aim: absolute('at most 1 KiB', 1024) },
  { id: 'live', scenario: 'live', tries: liveMessages, title: "live: A's call to B's callback, p50", show: ms, aim: ofSamePromises(1.2, atMost) },
  { id: 'live-p99', scenario: 'live', tries: liveMessages, title: "live: A's call to B's callback, p99", show: ms, aim: ofSamePromises(1.2, atMost) },
  { id: 'live-durable', scenario: 'live', tries: liveMessages, title: "live: A's call to durable at B, p50", show: ms, aim: ofSamePromises(1.2, atMost) },
  { id: 'live-durable-p99', scenario: 'live', tries: liveMessages, title: "live: A's call to durable at B, p99", show: ms, aim: ofSamePromises(1.2, atMost) },
  { id: 'burst', scenario: 'burst', tries: 1, title: 'burst of 2,000 to durable at B', show: per('/s'), aim: ofInMemory(1.0, atLeast) },
  { id: 'size', scenario: null, tries: 1, title: 'what a page loads, brotli 11', show: kib, aim: absolute('at most 125 KiB', 125 * 1024) },
];

export const rowIds = rowsOf(false).map(({ id }) => id);

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The smallest of the values that at least that part of them does not exceed. */
export function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(part * sorted.length) - 1];
}
