// This project's SDK, as an application uses it.
import { initializeSDK } from '../../../pkg/index.js';
import { domainsAt } from './domains.mjs';

/** The data of a Result; its error is thrown. */
function must(result) {
  if (result.success) return result.data;
  throw new Error(`${result.error.code}: ${result.error.message}`);
}

/** A wallet as a browser extension would offer it. */
function walletProvider({ address, pkcs8 }) {
  return {
    publicKey: address,
    async signMessage(message) {
      const bytes = Uint8Array.from(atob(pkcs8), (char) => char.charCodeAt(0));
      const key = await crypto.subtle.importKey('pkcs8', bytes, 'Ed25519', false, ['sign']);
      return new Uint8Array(await crypto.subtle.sign('Ed25519', key, message));
    },
  };
}

/** The two devices belong to the two wallets of the session. */
export async function open({ host = '127.0.0.1', port, access: wallets, device }) {
  const [wallet, peer] = device === 'B' ? wallets.toReversed() : wallets;
  const sdk = await initializeSDK({ relayEndpoint: `ws://${host}:${port}/`, domains: domainsAt(location.port), encryption: 'off' });
  must(await sdk.initialize());
  must(sdk.setOffline(true));
  must(await sdk.connectWallet(walletProvider(wallet)));
  const sessionId = must(await sdk.startSession({ peerWallet: peer.address })).session_id;
  const cursor = () => must(sdk.getActiveSessions()).find((session) => session.session_id === sessionId).lastSyncedSequence;

  return {
    connect: () => must(sdk.setOffline(false)),
    append: async ({ text }) => must(await sdk.sendMessage(sessionId, text)),
    allSent: async () => must(await sdk.processQueuedMessages()),
    has(count) {
      return new Promise((resolve) => {
        const check = () => {
          if (cursor() < count) return;
          for (const event of ['onSyncProgress', 'onSyncCompleted']) sdk.off(event, check);
          resolve();
        };
        for (const event of ['onSyncProgress', 'onSyncCompleted']) sdk.on(event, check);
        check();
      });
    },
    count: cursor,
    read: async (index) => must(await sdk.getStoredMessages(sessionId, 1, index + 2))[0].text,
    // A subscriber hears of what is stored.
    async listen({ received, stored }) {
      must(await sdk.subscribeToMessages(sessionId, () => {
        received(1);
        stored(1);
      }));
    },
  };
}
