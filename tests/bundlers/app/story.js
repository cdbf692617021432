// What each application does: it starts the SDK, queues a message of an encrypted session while offline, comes back, and syncs it.
import { initializeSDK } from 'solconnect-sync';

const somebody = 'So11111111111111111111111111111111111111112';

function must(result) {
  if (result.success) return result.data;
  throw new Error(`${result.error.code}: ${result.error.message}`);
}

/** Says how it went. */
export async function story(relayEndpoint, databaseName) {
  try {
    const domains = [globalThis.location?.host || 'app.example'];
    const sdk = await initializeSDK({ relayEndpoint, databaseName, domains });
    must(await sdk.initialize());
    must(await sdk.connectWallet());
    const { session_id } = must(await sdk.startSession({ peerWallet: somebody }));
    must(sdk.setOffline(true));
    const { status } = must(await sdk.sendMessage(session_id, 'Hello!'));
    must(sdk.setOffline(false));
    must(await sdk.syncMessages(session_id));
    const [message] = must(await sdk.getStoredMessages(session_id, 10));
    must(await sdk.cleanup());
    return `${status}, then ${message.status} as ${message.sequenceNumber}: ${message.text}`;
  } catch (error) {
    return String(error.stack ?? error);
  }
}
