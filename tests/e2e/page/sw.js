// The service worker of the devices under test. It notes how its deliveries ended.
import { deliverInBackground } from '/pkg/sw.js';

globalThis.outcomes = [];
const { waitUntil } = ExtendableEvent.prototype;
ExtendableEvent.prototype.waitUntil = function (work) {
  work.then(() => globalThis.outcomes.push('done'), (error) => globalThis.outcomes.push(`${error.code}: ${error.message}`));
  return waitUntil.call(this, work);
};

const { database, limitMs, domain, isLocked, relay = `ws://${location.host}/` } = Object.fromEntries(new URL(location).searchParams);
if (limitMs) {
  const { timeout } = AbortSignal;
  AbortSignal.timeout = () => timeout.call(AbortSignal, Number(limitMs));
}

// Updates are small, so that it can be stopped in the midst of them.
const encrypted = domain ? { domains: [domain], encryption: 'required' } : {};
// Nobody asks a person here.
const lock = isLocked ? { lockWith: { passphrase: () => Promise.reject(new Error('asked in a worker')) } } : {};
const config = { relayEndpoint: relay, databaseName: database, maxBatchSize: 100, retryDelayMs: 50, maxRetries: 2, ...encrypted, ...lock };
globalThis.isPossible = deliverInBackground(config);
