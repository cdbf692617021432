// Runs in the page, in the place of the package: an SDK that shows what a test wants, for what is rare or long to come to.

const listOf = (empty) => {
  const listeners = new Set();
  let snapshot = empty;
  return {
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    getSnapshot: () => snapshot,
    loadOlder: async () => ({ success: true, data: 0 }),
    set(next) {
      snapshot = next;
      for (const listener of listeners) listener();
    },
  };
};

const conversations = listOf({ items: [], isLoading: true });
const messages = listOf({ items: [], hasMore: false, isLoading: true });
const handlers = [];
const calls = [];
/** Errors that methods answer with, by name. */
const failures = {};
/** What methods do besides, by name. */
const effects = {};
/** The wallets that extensions offer. */
let wallets = [];
/** The devices of the wallet. */
let devices = [];
/** What it can come back by. */
let recovery = {};

/** What holds of a session's encryption. */
let encryption = { encryption: 'off', members: [], unreadEpochCount: 0 };

const done = (data) => ({ success: true, data });
const asked = (name) => async (...args) => {
  calls.push([name, ...args]);
  effects[name]?.();
  return failures[name] ? { success: false, error: failures[name] } : done(null);
};

const sdk = {
  getCurrentWallet: () => done('Me11111111111111111111111111111111111111111'),
  getConnectionStatus: () => done('connected'),
  getDevices: () => done(devices),
  getDeviceId: () => done(devices.find(({ isThisDevice }) => isThisDevice)?.id ?? ''),
  getRecovery: () => done(recovery),
  getSyncStatus: () => done({ syncInProgress: false, queuedMessageCount: 0, durability: 'persistent' }),
  getEncryption: async () => done(encryption),
  conversations: () => conversations,
  messages: () => messages,
  on(event, handler) {
    handlers.push([event, handler]);
    return () => {};
  },
};
const methods = [
  'acceptSession', 'declineSession', 'blockWallet', 'startSession', 'sendMessage', 'editMessage', 'deleteMessage', 'resolveConflict', 'cancelMessage', 'retryMessage',
  'markMessageAsRead', 'getMessage', 'syncMessages', 'logout', 'connectWallet',
  'approveDevice', 'removeDevice', 'createPasskey', 'recover', 'recoverWithPasskey', 'signOutOtherDevices', 'signIn', 'addMembers', 'removeMembers', 'renameSession', 'setAdmin', 'leaveSession',
];
for (const name of methods) sdk[name] = asked(name);
sdk.createRecoveryCode = async () => done('0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV');

globalThis.standIn = {
  conversations,
  messages,
  calls,
  failures,
  effects,
  setWallets(now) {
    wallets = now;
    walletsChanged();
  },
  setRecovery(now) {
    recovery = now;
    this.emit('recoveryChanged', { recovery });
  },
  setDevices(now) {
    devices = now;
    this.emit('deviceAdded', {});
  },
  setEncryption(now) {
    encryption = now;
    this.emit('encryptionChanged', {});
  },
  emit(event, value) {
    for (const [name, handler] of handlers) if (name === event) handler(value);
  },
};

let walletsChanged = () => {};

export const connect = async () => sdk;

export function findWallets(onChange) {
  walletsChanged = onChange;
  return { get wallets() { return wallets; }, stop() {} };
}
