// The application leaves a message queued, and its service worker delivers it.
import { initializeSDK } from 'solconnect-sync';
import { deliverAfterClosing } from 'solconnect-sync/background';
import { story } from './story.js';

const databaseName = 'left';
const somebody = 'So11111111111111111111111111111111111111112';

function must(result) {
  if (result.success) return result.data;
  throw new Error(`${result.error.code}: ${result.error.message}`);
}

async function open(relayEndpoint) {
  const sdk = await initializeSDK({ relayEndpoint, databaseName, domains: [location.host] });
  must(await sdk.initialize());
  must(sdk.setOffline(true));
  must(await sdk.connectWallet());
  return { sdk, sessionId: must(await sdk.startSession({ peerWallet: somebody })).sessionId };
}

async function leave(relayEndpoint) {
  const registration = await navigator.serviceWorker.register(`./sw.js?${new URLSearchParams({ relay: relayEndpoint, databaseName })}`, { type: 'module' });
  const { sdk, sessionId } = await open(relayEndpoint);
  if (!await deliverAfterClosing(sdk, registration)) throw new Error('there is no Background Sync');
  const { status } = must(await sdk.sendMessage(sessionId, 'Hello!'));
  must(await sdk.cleanup());
  const { active } = await navigator.serviceWorker.ready;
  const outcome = await new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data);
    active.postMessage('the network is back', [port2]);
  });
  if (outcome !== 'delivered') return outcome;
  const again = await open(relayEndpoint);
  const [message] = must(await again.sdk.getStoredMessages(again.sessionId, 10));
  must(await again.sdk.cleanup());
  return `${status}, then ${message.status} as ${message.sequenceNumber}: ${message.text}`;
}

const relay = new URLSearchParams(location.search).get('relay');
globalThis.told = { page: await story(relay, 'page'), worker: await leave(relay).catch((error) => String(error.stack)) };
