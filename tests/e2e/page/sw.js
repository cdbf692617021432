// The service worker of the devices under test. It notes how its deliveries ended.
import { deliverInBackground } from '/pkg/sw.js';

globalThis.outcomes = [];
const { waitUntil } = ExtendableEvent.prototype;
ExtendableEvent.prototype.waitUntil = function (work) {
  work.then(() => globalThis.outcomes.push('done'), (error) => globalThis.outcomes.push(`${error.code}: ${error.message}`));
  return waitUntil.call(this, work);
};

const { database, limitMs, relay = `ws://${location.host}/` } = Object.fromEntries(new URL(location).searchParams);
if (limitMs) {
  const { timeout } = AbortSignal;
  AbortSignal.timeout = () => timeout.call(AbortSignal, Number(limitMs));
}

globalThis.isPossible = deliverInBackground({ relayEndpoint: relay, databaseName: database, retryDelayMs: 50, maxRetries: 2 });
