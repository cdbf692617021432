// One device: the SDK as an application would use it, driven from outside through `globalThis.device`.
import * as sync from '/pkg/index.js';

const eventNames = [
  'onSyncStarted', 'onSyncProgress', 'onSyncCompleted', 'onSyncFailed', 'onConflictDetected', 'onMessageSynced', 'onStatusChanged',
  'onMessageChanged', 'onSessionInvited', 'onMembersChanged', 'onEncryptionChanged', 'onDevicesChanged', 'onConnectionChanged', 'onQueueChanged', 'onDeviceReplaced', 'onLogReplaced', 'onDeviceAdded', 'onDeviceRequest', 'onDeviceNumber', 'onDeviceApproved',
  'onDeviceRemoved', 'onRecoveryChanged', 'onSignInNeeded', 'onStorageLost', 'onWarning',
  'onTabChanged', 'onWalletChanged',
];

const events = [];
let sdk = null;
let sessionId = null;

// Errors do not cross to the test as they are.
const plain = (value) => (value instanceof Error ? fields(value) : value);
const fields = ({ code, category, message, userMessage, recoverable }) => ({ code, category, message, userMessage, recoverable });

/** The data of a Result; its error is thrown with the code in front, so that a failing test names it. */
function must(result) {
  if (result.success) return result.data;
  throw new Error(`${result.error.code}: ${result.error.message}`);
}

/** A wallet as an extension would offer it, over a key that the test made. */
async function walletProvider({ address, pkcs8 }) {
  const bytes = Uint8Array.from(atob(pkcs8), (char) => char.charCodeAt(0));
  const key = await crypto.subtle.importKey('pkcs8', bytes, 'Ed25519', false, ['sign']);
  return {
    publicKey: address,
    signMessage: async (message) => {
      const { answer } = globalThis.device;
      if (answer === 'declines') throw Object.assign(new Error('User rejected the request.'), { code: 4001 });
      if (answer === 'cannot') throw new Error('the hardware wallet signs no messages');
      globalThis.device.signatures += 1;
      const signed = answer === 'another text' ? Uint8Array.of(0xff, ...message) : message;
      return new Uint8Array(await crypto.subtle.sign('Ed25519', key, signed));
    },
  };
}

// What this page heard, told in one go for all that arrives in one turn.
let heard = [];
function hear(message) {
  if (heard.length === 0) {
    queueMicrotask(() => {
      globalThis.tell?.('heard', heard);
      heard = [];
    });
  }
  heard.push(message.id);
}

/** Every stored message, in shown order, read page by page as an application would scroll. */
async function allMessages() {
  const pageSize = 500;
  let messages = must(await sdk.getStoredMessages(sessionId, pageSize));
  for (;;) {
    const first = messages.find((message) => message.sequenceNumber !== undefined)?.sequenceNumber ?? 1;
    if (first <= 1) return messages;
    const earlier = must(await sdk.getStoredMessages(sessionId, pageSize, first));
    if (earlier.length === 0) return messages;
    messages = [...earlier, ...messages];
  }
}

globalThis.device = {
  sync,
  events,
  eventNames,
  must,
  plain,
  /** The names of all methods of an SDK. */
  methods: Object.getOwnPropertyNames(sync.SolConnectSDK.prototype).filter((name) => name !== 'constructor'),
  /** What the person and the wallet answer, and how often they signed. */
  answer: 'signs',
  signatures: 0,
  /** What the person was asked to unlock with, in turn. */
  asked: [],
  walletProvider,
  get sdk() {
    return sdk;
  },
  get sessionId() {
    return sessionId;
  },

  /**
   * Starts the SDK, offline until the handlers stand, so that nothing arrives unheard; as one more tab of a device (`joins`) it leaves that as it is.
   * `passphrases`: what the person types, in turn, where the device is locked; then they decline.
   */
  async open({ config: { ownTransport, passphrases, ...config }, wallet, peer, offline, joins, answer = 'signs' }) {
    this.answer = answer;
    if (passphrases) {
      const passphrase = async ({ isNew, error }) => {
        this.asked.push(error ? { isNew, error: error.code } : { isNew });
        return passphrases.shift() ?? null;
      };
      config.lockWith = { passphrase };
    }
    if (ownTransport) {
      config.transport = new sync.WebSocketSyncTransport(config.relayEndpoint);
      delete config.relayEndpoint;
    }
    sdk = await sync.initializeSDK(config);
    for (const name of eventNames) sdk.on(name, (...args) => events.push([name, ...args.map(plain)]));
    must(await sdk.initialize());
    if (!joins) must(sdk.setOffline(true));
    must(await sdk.connectWallet(await walletProvider(wallet)));
    if (peer) await this.enter(must(await sdk.startSession({ peerWallet: peer })));
    if (!offline && !joins) must(sdk.setOffline(false));
    return { sessionId, deviceId: must(sdk.getDeviceId()) };
  },

  /** All that follows is about this session. */
  async enter(session) {
    sessionId = session.session_id;
    must(await sdk.subscribeToMessages(sessionId, hear));
  },

  /** Accepts an invitation. */
  async accept(id) {
    await this.enter(must(await sdk.acceptSession(id)));
  },

  /** Calls a method and answers with its Result, in a form that crosses to the test. */
  async call(method, ...args) {
    const result = await sdk[method](...args);
    return result.success ? result : { success: false, error: fields(result.error) };
  },

  /** Calls `work` and answers with the fields of the error that it throws, or null. */
  async thrown(work) {
    try {
      await work();
      return null;
    } catch (error) {
      return { isError: error instanceof Error, ...fields(error) };
    }
  },

  /** Sends texts one after the other, telling of each as soon as it is confirmed. */
  async send(texts) {
    const ids = [];
    for (const text of texts) {
      const { messageId } = must(await sdk.sendMessage(sessionId, text));
      globalThis.tell?.('sent', [messageId]);
      ids.push(messageId);
    }
    return ids;
  },

  /** Sends texts all at once, as a burst: calls are made in this order. */
  async sendAtOnce(texts) {
    const receipts = await Promise.all(texts.map((text) => sdk.sendMessage(sessionId, text)));
    const ids = receipts.map((receipt) => must(receipt).messageId);
    globalThis.tell?.('sent', ids);
    return ids;
  },

  async list() {
    const messages = await allMessages();
    return messages.map(({ id, text, deviceId, sequenceNumber, status, edited, deleted }) => ({ id, text, deviceId, sequenceNumber, status, edited, deleted }));
  },

  state() {
    const session = must(sdk.getActiveSessions()).find((session) => session.session_id === sessionId);
    return {
      cursor: session?.lastSyncedSequence ?? 0,
      queued: must(sdk.getSyncStatus()).queuedMessageCount,
      connection: must(sdk.getConnectionStatus()),
    };
  },
};
