// An application in TypeScript that uses every method, type and event of the package, and some wrong uses that must not compile.
import init, {
  cleanupSDK, connect, createLocalWallet, findWallets, getSDK, getSyncManager, initializeSDK, MessageBus, sessionIdOf, setWasmSource, SolConnectSDK, SyncError, SyncManager,
  unwrap, VectorClock, version, WebSocketSyncTransport,
} from 'solconnect-sync';
import type {
  Abortable, Conflict, ConflictKind, ConnectConfig, ConnectionState, Conversation, ConversationList, ConversationsSnapshot, DeliveryReceipt, DeviceId, DeviceState, DeviceView, RecoveryKeyView, RecoveryView, Durability, EncryptionMode, EncryptionView, EpochMemberView, EpochView,
  ErrorCategory, ErrorCode, InitOptions, Invitation, InvitationView, LiveList, LockWith, LogRange, Membership, MemberView, Message, MessageId, MessageList, MessageListOptions, MessagesSnapshot,
  MessageStatus, MessageView, OpenWallet, PublicKeyLike, Result, SdkConfig, SdkError, SdkEvents, Session, SessionId, SessionKind, SessionState, SessionView, StandardWallet, Strategy, Subscription,
  SyncEvents, SyncFrame, SyncProgress, SyncStats, SyncStatus, SyncStorage, SyncTransport, TabRole, TabState, VersionView, WalletAddress, WalletInfo, WalletSearch, WalletSource,
} from 'solconnect-sync';
import { useConversations, useMessages, useSyncStatus } from 'solconnect-sync/react';
import { deliverAfterClosing } from 'solconnect-sync/background';
import type { SolconnectSyncStatus } from 'solconnect-sync/status';
import { type BackgroundConfig, deliverInBackground } from 'solconnect-sync/sw';
import initInline, { initializeSDK as initializeInline } from 'solconnect-sync/inline';

function must<T>(result: Result<T>): T {
  if (result.success) return result.data;
  const { code, category, message, userMessage, recoverable }: SdkError = result.error;
  const [stable, about]: [ErrorCode, ErrorCategory] = [code, category];
  throw new Error([stable, about, message, userMessage, recoverable].join(' '));
}

const transport: SyncTransport = {
  sendSyncMessage: async (frame: SyncFrame): Promise<void> => console.log(frame['type']),
  onSyncMessage: (handler: (frame: SyncFrame) => void): void => handler({ type: 'sync_heartbeat' }),
  isConnected: (): boolean => true,
};

// What an extension puts there.
const { phantom } = globalThis as { phantom?: { solana?: WalletSource } };
export const injected = (): Promise<unknown> => connect({ wallet: phantom?.solana });
const provider: WalletSource = {
  publicKey: new Uint8Array(32),
  connect: async () => undefined,
};

const strategy: Strategy = 'manual';
const lockWith: LockWith = {
  async passphrase({ isNew, error, signal }) {
    signal.throwIfAborted();
    const code: ErrorCode | undefined = error?.code;
    return isNew ? null : `${code}: ${error?.userMessage}`;
  },
};
const config: SdkConfig = {
  relayEndpoint: 'ws://localhost:8080', databaseName: 'solconnect-sync', maxBatchSize: 100, syncIntervalMs: 5000, heartbeatIntervalMs: 30000,
  conflictResolutionStrategy: strategy, maxRetries: 3, retryDelayMs: 1000, enableCompression: true, startOffline: true, domains: ['localhost:8080'], encryption: 'required', deviceApproval: 'ask', lockWith, relayKey: '4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM',
};

export async function useConnect(signal: AbortSignal): Promise<string> {
  const options: ConnectConfig = { ...config, wallet: provider, signal };
  const sdk: SolConnectSDK = await connect(options);
  await connect({ wallet: 'local' });
  await connect();
  const session: Session = unwrap(await sdk.startSession({ peerWallet: 'peer' }));
  const sent = await sdk.sendMessage(session.sessionId, 'Hello!');
  // It narrows by its error too.
  if (sent.error) {
    const error: SyncError = sent.error;
    return `${error.code} ${error.userMessage} ${String(error.cause)} ${error.stack ?? ''}`;
  }
  const subscribed: Result<Subscription> = await sdk.subscribeToMessages(session.sessionId, ({ isOwn, senderWallet }: Message) => console.log(isOwn, senderWallet), { from: 'stored' });
  await sdk.subscribeToMessages(session.sessionId, () => {}, { from: 7 });
  const stop: () => void = sdk.on('statusChanged', ({ sessionId, messageId, status, error }: SdkEvents['statusChanged']) => console.log(sessionId, messageId, status, error?.cause));
  stop();
  sdk.on('walletChanged', ({ address }) => console.log(address ?? 'none'));
  const list: MessageList = sdk.messages(session.sessionId, { limit: 20 });
  const end: () => void = list.subscribe(() => list.getSnapshot().items.forEach(show));
  if (list.hasMore) console.log((await list.loadOlder()).data);
  end();
  for (const { peerWallet, unreadCount, lastMessage } of sdk.conversations().getSnapshot().items) console.log(peerWallet, unreadCount, lastMessage?.text);
  const { sendMessage } = sdk;
  await sendMessage(session.sessionId, 'detached');
  await sdk.syncMessages(undefined, { signal });
  await sdk.logout({ wipe: true });
  const search = findWallets(() => console.log(search.wallets.length));
  return sent.data.messageId + String(subscribed.success);
}

/** A group, from its beginning to its end. */
export async function useGroup(sdk: SolConnectSDK, anna: WalletAddress, ben: WalletAddress): Promise<string> {
  const { sessionId, kind, name, members, membership }: Session = unwrap(await sdk.startSession({ members: [anna], name: 'Walkers' }));
  const [isGroup, isIn]: [SessionKind, Membership] = [kind, membership];
  unwrap(await sdk.addMembers(sessionId, [ben]));
  unwrap(await sdk.setAdmin(sessionId, ben, true));
  unwrap(await sdk.renameSession(sessionId, 'Runners'));
  unwrap(await sdk.removeMembers(sessionId, [anna]));
  const now: MemberView[] = unwrap(sdk.getMembers(sessionId));
  for (const { wallet, isAdmin } of [...members, ...now]) console.log(wallet, isAdmin ? 'admin' : '');
  const list: ConversationList = sdk.conversations();
  const { items, isLoading }: ConversationsSnapshot = list.getSnapshot();
  const open: Conversation | undefined = items.find((one) => one.kind === 'group' && one.membership === 'member');
  const state: SessionState | undefined = open?.state;
  const invitation: Invitation | undefined = unwrap(sdk.getInvitations()).find((one) => one.name !== undefined);
  const snapshot: MessagesSnapshot = sdk.messages(sessionId).getSnapshot();
  const readers: readonly string[] = snapshot.items.flatMap(({ readBy }) => readBy ?? []);
  unwrap(await sdk.leaveSession(sessionId));
  const { encryption, epoch, members: sealedFor, unreadEpochCount, lostEpochCount, missing }: EncryptionView = unwrap(await sdk.getEncryption(sessionId));
  const [mode, current]: [EncryptionMode, EpochView | undefined] = [encryption, epoch];
  const without: EpochMemberView[] = sealedFor.filter(({ generation, approvedDeviceCount }) => generation === 0 && approvedDeviceCount === undefined);
  console.log(mode, current?.number, current?.beganAt, without.length, unreadEpochCount + lostEpochCount, missing === 'DEVICE_NOT_APPROVED');
  const evidence: string = unwrap(await sdk.exportEvidence(sessionId));
  const offeredCount: number = unwrap(await sdk.acceptRelayLog());
  sdk.on('logReplaced', ({ sessionId: id, keptThrough, offeredCount: count }) => console.log(id, keptThrough + count));
  return [isGroup, isIn, name, isLoading, open?.name, open?.members.length, state, invitation?.peerWallet, readers.length, evidence.length, offeredCount].join();
}

export function useBindings(sdk: SolConnectSDK, element: SolconnectSyncStatus): void {
  element.sdk = sdk;
  const { connection, queuedMessageCount } = useSyncStatus(sdk);
  const { items } = useMessages(sdk, 'id');
  console.log(connection, queuedMessageCount, items.length, useConversations(sdk).items.length);
}

export function useParts(wallet: OpenWallet, live: LiveList<MessagesSnapshot>, storage: SyncStorage, view: MessageView, key: PublicKeyLike): string {
  const source: InitOptions = { bytes: new Uint8Array() };
  void init(source);
  setWasmSource(async () => new Uint8Array());
  const search: WalletSearch = findWallets();
  const first: StandardWallet | undefined = search.wallets[0];
  search.stop();
  const [options, abortable]: [MessageListOptions, Abortable] = [{ limit: 20 }, { signal: AbortSignal.timeout(1_000) }];
  const [message, session, device]: [MessageId, SessionId, DeviceId] = [view.id, view.session_id, view.deviceId];
  const [conflict, durability]: [ConflictKind, Durability] = ['concurrent_messages', 'persistent'];
  return [wallet.address, live.getSnapshot().items.length, typeof storage, typeof key, first?.name, options.limit, abortable.signal?.aborted, message, session, device, conflict, durability].join();
}

export function useServiceWorker(): boolean {
  const background: BackgroundConfig = { ...config, wasmUrl: new URL('https://example.org/x.wasm') };
  // @ts-expect-error a transport cannot be handed to a service worker
  deliverInBackground({ transport });
  return deliverInBackground(background) && deliverInBackground();
}

export async function useBackground(sdk: SolConnectSDK, registration: ServiceWorkerRegistration): Promise<boolean> {
  return deliverAfterClosing(sdk, registration);
}

export async function useSdk(): Promise<void> {
  await init();
  await init({ wasmUrl: '/solconnect_sync_bg.wasm' });
  await init({ wasmUrl: new URL('https://example.org/x.wasm'), bytes: new Uint8Array() });
  const sdk: SolConnectSDK = await initializeSDK(config);
  await initializeSDK();
  await initializeSDK({ transport });
  const same: SolConnectSDK | null = getSDK();
  must(await sdk.initialize());
  const wallet: WalletInfo = must(await sdk.connectWallet());
  const kind: 'provider' | 'local' = must(await sdk.connectWallet(provider)).kind;
  must(await sdk.connectWallet(await createLocalWallet('another')));
  const session: SessionView = must(await sdk.startSession({ peerWallet: wallet.address }));
  const { session_id, peer_wallet, lastSyncedSequence, queuedMessageCount, vectorClock } = session;
  const clock: Record<string, number> = vectorClock;

  const receipt: DeliveryReceipt = must(await sdk.sendMessage(session_id, 'Hello!', { contentType: 'text/markdown', id: 'order-7' }));
  must(await sdk.editMessage(session_id, receipt.messageId, 'Hello, you!'));
  must(await sdk.resolveConflict(session_id, receipt.messageId, 'Hello, both!'));
  must(await sdk.deleteMessage(session_id, receipt.messageId));
  const subscription: Subscription = must(await sdk.subscribeToMessages(session_id, (message: Message) => show(message)));
  subscription.unsubscribe();
  must(await sdk.getStoredMessages(session_id, 50, lastSyncedSequence)).forEach(show);
  const synced: number = must(await sdk.syncMessages()) + must(await sdk.syncMessages(session_id)) + must(await sdk.processQueuedMessages());
  must(await sdk.enableAutoSync(session_id));
  must(await sdk.enableAutoSync(session_id, 1000));
  must(await sdk.disableAutoSync(session_id));

  const status: SyncStatus = must(sdk.getSyncStatus());
  const lastSyncAt: Date | undefined = status.lastSyncAt;
  const durability: 'persistent' | 'best-effort' | 'session-only' | 'memory' = status.durability;
  const connection: ConnectionState = must(sdk.getConnectionStatus());
  const address: string | null = must(sdk.getCurrentWallet());
  const sessions: SessionView[] = must(sdk.getActiveSessions());
  const invitations: InvitationView[] = must(sdk.getInvitations());
  for (const { session_id, peer_wallet, receivedAt } of invitations) console.log(session_id, peer_wallet, new Date(receivedAt));
  const accepted: SessionView = must(await sdk.acceptSession(session_id));
  must(await sdk.declineSession(accepted.session_id));
  must(await sdk.blockWallet(accepted.peer_wallet));
  must(await sdk.unblockWallet(accepted.peer_wallet));
  must(await sdk.retryMessage(receipt.messageId));
  must(await sdk.cancelMessage(receipt.messageId));
  const stored: Message = must(await sdk.getMessage(receipt.messageId));
  const role: TabRole = must(sdk.getTabRole());
  const deviceId: string = must(sdk.getDeviceId());
  const devices: DeviceState[] = must(sdk.getDevices(session_id));
  const own: DeviceView[] = must(sdk.getDevices());
  for (const { id, isThisDevice, isApproved, addedAt } of own) {
    if (isThisDevice) continue;
    must(isApproved ? await sdk.removeDevice(id) : await sdk.approveDevice(id));
    console.log(new Date(addedAt));
  }
  const code: string = must(await sdk.createRecoveryCode());
  must(await sdk.recover(code));
  must(await sdk.createPasskey());
  must(await sdk.recoverWithPasskey());
  const { code: kept, passkey }: RecoveryView = must(sdk.getRecovery());
  const newest: RecoveryKeyView | undefined = passkey ?? kept;
  console.log(new Date(newest?.createdAt ?? 0));
  must(await sdk.signIn());
  must(await sdk.signOutOtherDevices());
  const stats: SyncStats = must(sdk.getSyncStats(session_id));
  must(sdk.setOffline(true));
  must(await sdk.updateMessageStatus(receipt.messageId, 'read'));
  must(await sdk.markMessageAsRead(receipt.messageId));
  const state: MessageStatus = must(await sdk.getMessageStatus(receipt.messageId));
  const exported: string = must(await sdk.exportMessages());
  const imported: number = must(await sdk.importMessages(exported));
  must(await sdk.clearStoredMessages(session_id));
  must(await sdk.endSession(session_id));
  must(await sdk.disconnectWallet());
  must(await sdk.cleanup());
  await cleanupSDK();
  console.log(same, kind, peer_wallet, queuedMessageCount, clock, synced, status.syncInProgress, status.queuedMessageCount, lastSyncAt, durability, connection,
    address, sessions.length, deviceId, devices[0]?.deviceId, stats.totalMessagesSynced, state, imported, sessionIdOf('a', 'b'), version(), stored.text, role);
}

function show(message: Message): void {
  const versions: readonly VersionView[] = message.versions;
  const place: number | undefined = message.sequenceNumber;
  console.log(message.id, message.text, message.sender_wallet, message.deviceId, message.timestamp, message.status, message.edited, message.deleted, place, versions.length);
}

function range(concurrentWith: LogRange | undefined): number {
  return concurrentWith ? concurrentWith.to - concurrentWith.from + 1 : 0;
}

export function listen(sdk: SolConnectSDK): void {
  sdk.on('onSyncStarted', (sessionId: string) => console.log(sessionId));
  sdk.on('onSyncProgress', (_sessionId, { messagesSynced, totalMessages }: SyncProgress) => console.log(messagesSynced / totalMessages));
  sdk.on('onSyncCompleted', (_sessionId, stats: SyncStats) => console.log(stats.totalConflictsResolved, stats.lastSyncDuration, stats.averageSyncDuration, stats.syncFailures, stats.pendingMessages));
  sdk.on('onSyncFailed', (_sessionId, error: SdkError) => console.log(error.code));
  sdk.on('onConflictDetected', (_sessionId, conflicts: Conflict[]) => conflicts.forEach(({ kind, messageId, concurrentWith, conflictingVersions, resolution }) => console.log(kind, messageId, range(concurrentWith), conflictingVersions.length, resolution)));
  sdk.on('onMessageSynced', (_sessionId, messageId: string) => console.log(messageId));
  sdk.on('onStatusChanged', (_sessionId, _messageId, status: MessageStatus, error?: SdkError) => console.log(status, error));
  sdk.on('onMessageChanged', (_sessionId, messageId: string) => console.log(messageId));
  sdk.on('onSessionInvited', (sessionId: string, peerWallet: string, name?: string) => console.log(sessionId, peerWallet, name));
  sdk.on('sessionInvited', ({ sessionId, peerWallet, name }) => console.log(sessionId, peerWallet, name?.length));
  sdk.on('onMembersChanged', (sessionId: string) => console.log(sessionId));
  sdk.on('membersChanged', ({ sessionId }) => console.log(must(sdk.getMembers(sessionId)).length));
  sdk.on('onEncryptionChanged', (sessionId: string) => console.log(sessionId));
  sdk.on('encryptionChanged', ({ sessionId }) => void sdk.getEncryption(sessionId));
  sdk.on('onDevicesChanged', (_sessionId, devices: DeviceState[]) => console.log(devices.length));
  sdk.on('onConnectionChanged', (state: ConnectionState) => console.log(state));
  const onQueue: SyncEvents['onQueueChanged'] = (count: number) => console.log(count);
  sdk.on('onQueueChanged', onQueue);
  sdk.off('onQueueChanged', onQueue);
  sdk.on('onDeviceReplaced', (oldId: string, newId: string) => console.log(oldId, newId));
  sdk.on('onDeviceAdded', ({ id }: DeviceView) => console.log(id));
  sdk.on('onDeviceRequest', ({ id, isApproved }: DeviceView) => isApproved || void sdk.approveDevice(id));
  sdk.on('deviceNumber', ({ device: { id, number } }) => console.log(id, number?.slice(0, 3)));
  sdk.on('onDeviceNumber', ({ number }: DeviceView) => console.log(number));
  sdk.on('onDeviceApproved', (deviceId: string) => console.log(deviceId));
  sdk.on('onDeviceRemoved', (deviceId: string) => console.log(deviceId));
  sdk.on('onRecoveryChanged', (recovery: RecoveryView) => console.log(recovery.code?.createdAt));
  sdk.on('recoveryChanged', ({ recovery }) => console.log(recovery.passkey?.createdAt));
  sdk.on('deviceAdded', ({ device }) => console.log(device.addedAt));
  sdk.on('onSignInNeeded', (error?: SdkError) => console.log(error?.code));
  sdk.on('onStorageLost', (lost) => console.log(lost.map(({ text }) => text)));
  sdk.on('tabChanged', ({ role, waitingCallCount }: TabState) => console.log(role, waitingCallCount));
  sdk.on('onWarning', (error: SdkError) => console.log(error.userMessage));
}

export async function useManager(): Promise<void> {
  const manager: SyncManager = getSyncManager();
  const socket = new WebSocketSyncTransport('ws://localhost:8080');
  await socket.connect();
  await manager.initialize('database', socket);
  await new SyncManager().initialize({ name: 'database' }, 'ws://localhost:8080');
  await manager.connectWallet(provider);
  await manager.startSync({ session_id: 'id', peer_wallet: 'wallet' });
  manager.on('onSyncCompleted', (sessionId, stats) => console.log(sessionId, stats.totalMessagesSynced));
  manager.on('onConflictDetected', (sessionId, conflicts) => console.log(sessionId, conflicts.length));
  await manager.storage.storeMessage('id', { ciphertext: 'text' }, 'queued');
  const sent: number = await manager.sendQueuedMessages(await manager.storage.getQueuedMessages());
  const synced: number = await manager.syncNow('id');
  console.log(sent, synced, manager.getStats('id')?.pendingMessages);
  await manager.stopSync('id');
  socket.disconnect();
  await manager.dispose();
}

export async function useBus(): Promise<void> {
  const bus = new MessageBus(config);
  await bus.initialize('database');
  const subscription = await bus.subscribe('id', (message) => console.log(message.text));
  const receipt: DeliveryReceipt = await bus.sendMessage('id', 'text');
  const synced: number = (await bus.syncMessages('id')) + (await bus.syncMessages());
  bus.on('onQueueChanged', (count) => console.log(count, receipt.messageId, synced));
  subscription.unsubscribe();
  await bus.dispose();
}

export function useClock(): void {
  const clock = new VectorClock({ a: 1 });
  const next: number = clock.tick('a') + clock.get('b');
  const relation: 'before' | 'after' | 'equal' | 'concurrent' = clock.compare(VectorClock.parse('{}'));
  clock.merge(new VectorClock());
  const record: Record<string, number> = clock.toJSON();
  console.log(next, relation, record, clock.toString());
}

export async function useInline(): Promise<SolConnectSDK> {
  await initInline();
  return initializeInline({ relayEndpoint: 'wss://relay.example.org' });
}

export async function wrong(sdk: SolConnectSDK): Promise<void> {
  // @ts-expect-error: no such strategy
  await initializeSDK({ conflictResolutionStrategy: 'coin_toss' });
  // @ts-expect-error: a number is wanted
  await initializeSDK({ syncIntervalMs: '5000' });
  // @ts-expect-error: no such option
  await initializeSDK({ relayUrl: 'ws://localhost:8080' });
  // @ts-expect-error: a Result has to be looked at before its data
  (await sdk.syncMessages()).data.toFixed();
  // @ts-expect-error: a text is wanted
  await sdk.sendMessage('id', 42);
  // @ts-expect-error: the text is missing
  await sdk.sendMessage('id');
  // @ts-expect-error: the peer is missing
  await sdk.startSession({});
  // @ts-expect-error: a group has a name
  await sdk.startSession({ members: ['wallet'] });
  // @ts-expect-error: wallets are a list
  await sdk.addMembers('id', 'wallet');
  // @ts-expect-error: an admin, or not
  await sdk.setAdmin('id', 'wallet');
  // @ts-expect-error: no such event
  sdk.on('onEverything', () => {});
  // @ts-expect-error: the first argument of this event is a text
  sdk.on('onSyncStarted', (sessionId: number) => console.log(sessionId));
  // @ts-expect-error: the id of a device is a text
  await sdk.removeDevice(7);
  // @ts-expect-error: no such status
  await sdk.updateMessageStatus('id', 'eaten');
  // @ts-expect-error: a transport needs isConnected
  await initializeSDK({ transport: { sendSyncMessage() {}, onSyncMessage() {} } });
  // @ts-expect-error: counters are numbers
  new VectorClock({ a: '1' });
  // @ts-expect-error: no wallet has neither a key nor a way to connect
  await sdk.connectWallet({ name: 'x' });
  // @ts-expect-error: no such event of the new names
  sdk.on('statusGone', () => {});
  // @ts-expect-error: the data of a failure is undefined
  console.log((await sdk.syncMessages()).data.toFixed());
  // @ts-expect-error: an engine's insides do not show
  sdk.free();
}
