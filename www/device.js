// One device: one SDK, one database. Reports its state to the page around it and takes a few commands from there.

// Before all else: it stands between the browser and all other code.
import { freeze, thaw } from './hold.js';
import { listenToWire } from './wire.js';
import { DEVICES, WALLETS, strategyNamed } from './cast.js';
import { counterOf } from './causality.js';
import { snippet, throttled } from './dom.js';
import { createView } from './device-view.js';

const PAGE_MESSAGES = 200;
const REPORTED_MESSAGES = 200;
const REPORTED_TEXT = 400;
const EVENTS = [
  'onSyncStarted',
  'onMessageSynced',
  'onMessageChanged',
  'onDevicesChanged',
  'onEncryptionChanged',
  'onQueueChanged',
  'onDeviceReplaced',
  'onLogReplaced',
];

const query = new URLSearchParams(location.search);
const me = DEVICES.find((device) => device.name === query.get('name')) ?? DEVICES[0];
const strategy = strategyNamed(query.get('strategy')).value;
const peerWallet = query.get('peer') ?? '';

const state = {
  me,
  strategy,
  phase: 'starting', // starting, ready, stopped
  error: null,
  warning: null,
  role: 'joining', // among the tabs of this device
  waitingCalls: 0,
  isFrozen: false,
  deviceId: null,
  wallet: null,
  sessionId: null,
  connection: 'offline',
  offline: query.get('offline') === '1',
  durability: null,
  queued: 0,
  queuedPeak: 0,
  cursor: 0,
  clock: {},
  limit: PAGE_MESSAGES,
  messages: [], // in the log, oldest first
  waiting: [], // in the outbox
  lacksKey: false, // something cannot be read before another device gives a key
  progress: null,
  busy: null,
  names: new Map(),
};
let sdk = null;

const must = (result) => {
  if (!result.success) throw result.error;
  return result.data;
};

async function start() {
  changed();
  try {
    const { createLocalWallet, initializeSDK } = await import('/pkg/index.js');
    const relayEndpoint = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/`;
    sdk = await initializeSDK({ relayEndpoint, databaseName: me.database, conflictResolutionStrategy: strategy, domains: [location.host], deviceApproval: 'auto' });
    listen();
    must(await sdk.initialize());
    // One of several tabs leaves the device as it is.
    if (state.offline) must(sdk.setOffline(true));
    must(await sdk.connectWallet(await createLocalWallet(WALLETS[me.wallet].database)));
    const session = must(await sdk.startSession({ peerWallet }));
    state.sessionId = session.session_id;
    state.wallet = session.wallet;
    state.deviceId = session.deviceId;
    must(await sdk.subscribeToMessages(state.sessionId, received));
    must(await sdk.enableAutoSync(state.sessionId));
    state.phase = 'ready';
    await readAll();
  } catch (error) {
    Object.assign(state, { phase: 'stopped', error: asError(error) });
  }
  changed();
}

function asError(error) {
  if (error?.code) return { code: error.code, message: error.message, userMessage: error.userMessage };
  return {
    code: 'LOAD_FAILED',
    message: String(error?.message ?? error),
    userMessage: 'The SDK could not be loaded. Is the relay running, and was the package built?',
  };
}

function listen() {
  for (const event of EVENTS) sdk.on(event, refresh);
  sdk.on('onConnectionChanged', (connection) => {
    state.connection = connection;
    if (connection !== 'connected') state.progress = null;
    refresh();
  });
  sdk.on('onSyncProgress', (_sessionId, progress) => {
    state.progress = progress.messagesSynced < progress.totalMessages ? progress : null;
    refresh();
  });
  for (const event of ['onSyncCompleted', 'onSyncFailed', 'onConflictDetected']) {
    sdk.on(event, () => {
      state.progress = null;
      refresh();
    });
  }
  sdk.on('onStatusChanged', (_sessionId, _messageId, status, error) => {
    // A refused message is no longer shown: its writer hears why.
    if (status === 'failed') state.warning = asError(error);
    refresh();
  });
  sdk.on('onTabChanged', (role, waitingCalls) => {
    Object.assign(state, { role, waitingCalls });
    report();
  });
  sdk.on('onWarning', (error) => {
    state.warning = asError(error);
    refresh();
  });
}

const announceSoon = throttled(() => {
  view.announce(unheard);
  unheard = [];
}, 2500);
let unheard = [];
function received(message) {
  unheard.push(message);
  announceSoon();
  refresh();
}

let reading = null;
let readAgain = false;
const refresh = throttled(() => {
  readAgain = true;
  reading ??= (async () => {
    while (readAgain) {
      readAgain = false;
      await readAll();
      changed();
    }
    reading = null;
  })();
}, 70);

/** Everything shown is read anew from the SDK: its database is the only truth, this page keeps none. */
async function readAll() {
  if (state.phase !== 'ready') return;
  const sessions = sdk.getActiveSessions();
  const session = sessions.success ? sessions.data.find((one) => one.session_id === state.sessionId) : undefined;
  if (!session) return;
  const status = sdk.getSyncStatus();
  const connection = sdk.getConnectionStatus();
  const stored = await sdk.getStoredMessages(state.sessionId, state.limit + session.queuedMessageCount);
  if (!stored.success) {
    state.warning = asError(stored.error);
    return;
  }
  const { missing, unreadEpochCount } = (await sdk.getEncryption(state.sessionId)).data ?? {};
  state.lacksKey = missing !== undefined || unreadEpochCount > 0;
  state.queued = session.queuedMessageCount;
  state.queuedPeak = state.queued === 0 ? 0 : Math.max(state.queuedPeak, state.queued);
  state.cursor = session.lastSyncedSequence;
  state.clock = session.vectorClock;
  if (status.success) state.durability = status.data.durability;
  if (connection.success) state.connection = connection.data;
  // Another tab of this device may have set it.
  state.offline = state.connection === 'offline' && !status.data?.signInNeeded;
  state.deviceId = session.deviceId;
  state.messages = stored.data.filter((message) => message.sequenceNumber !== undefined).slice(-state.limit);
  state.waiting = stored.data.filter((message) => message.sequenceNumber === undefined);
}

function changed() {
  view.render(state);
  report();
}

/** For the page around it, which asks this as it kills the device. */
globalThis.queuedMessageCount = () => sdk?.getSyncStatus().data?.queuedMessageCount ?? 0;

const report = throttled(() => {
  const messages = [...state.messages.slice(-REPORTED_MESSAGES), ...state.waiting.slice(0, 60)].map((message) => ({
    id: message.id,
    deviceId: message.deviceId,
    wallet: message.sender_wallet,
    counter: counterOf(message.vectorClock, message.deviceId),
    sequence: message.sequenceNumber,
    clock: message.vectorClock,
    timestamp: message.timestamp,
    text: snippet(message.text, REPORTED_TEXT),
    status: message.status,
    edited: message.edited,
    deleted: message.deleted,
    versions: message.versions.map((version) => ({ ...version, text: snippet(version.text, REPORTED_TEXT) })),
  }));
  const { phase, error, role, waitingCalls, deviceId, wallet, connection, offline, queued, cursor, clock } = state;
  const isWhole = state.messages.length < Math.min(REPORTED_MESSAGES, state.limit);
  const says = { from: 'device', name: me.name, phase, error, role, waitingCalls, deviceId, wallet, connection, offline, queued, cursor, clock, messages, isWhole };
  parent.postMessage(says, location.origin);
}, 100);

const actions = {
  send: (text) => sdk.sendMessage(state.sessionId, text),
  edit: (messageId, text) => sdk.editMessage(state.sessionId, messageId, text),
  remove: (messageId) => sdk.deleteMessage(state.sessionId, messageId),
  resolve(messageId, versionId) {
    const message = state.messages.find((one) => one.id === messageId);
    const version = message?.versions.find((one) => one.id === versionId);
    if (!version) return { success: true, data: null };
    return version.deleted ? sdk.deleteMessage(state.sessionId, messageId) : sdk.resolveConflict(state.sessionId, messageId, version.text);
  },
  setOffline(offline) {
    state.offline = offline;
    return sdk.setOffline(offline);
  },
  async writeMany(count) {
    actions.setOffline(true);
    state.busy = `Writing ${count} messages…`;
    changed();
    // All at once: the SDK stores what arrives together in one transaction.
    const results = await Promise.all(Array.from({ length: count }, (_, i) => actions.send(`Message ${i + 1} of ${count}, written offline`)));
    state.busy = null;
    return results.find((result) => !result.success) ?? { success: true, data: null };
  },
  read: (messageId) => sdk.markMessageAsRead(messageId),
  older() {
    state.limit += PAGE_MESSAGES;
    return { success: true, data: null };
  },
  dismissWarning() {
    state.warning = null;
    return { success: true, data: null };
  },
};

/** Does one thing and says how it went; the view shows what failed. */
async function act(name, ...args) {
  if (state.phase !== 'ready') return { success: false, error: { code: 'SDK_NOT_INITIALIZED', userMessage: 'This device is not ready yet.' } };
  const result = await actions[name](...args);
  refresh();
  return result;
}

addEventListener('message', async (event) => {
  if (event.origin !== location.origin || event.source !== parent) return;
  const { command, args = [] } = event.data ?? {};
  if (command === 'freeze') {
    // Drawn before: once it stands still, nothing is.
    state.isFrozen = true;
    changed();
    freeze(...args);
  } else if (command === 'thaw') {
    state.isFrozen = false;
    changed();
    thaw(...args);
  } else if (command === 'names') {
    state.names = args[0];
    changed();
  } else if (Object.hasOwn(actions, command)) {
    const result = await act(command, ...args);
    if (!result.success) {
      state.warning = asError(result.error);
      changed();
    }
  }
});

listenToWire((messages) => parent.postMessage({ from: 'wire', messages }, location.origin));

const view = createView(state, act);
start();
