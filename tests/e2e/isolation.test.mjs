// One wallet never sees another's data, and no argument makes the SDK trap or hang. Both by going through every method that there is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scene } from './harness/scene.mjs';
import { within } from './harness/wait.mjs';
import { newWallet } from './harness/wallet.mjs';

const stage = scene();

async function open(t) {
  const page = await stage.browser.newPage();
  t.after(() => page.close());
  await page.goto(stage.relay.url);
  await page.evaluate(async () => {
    await globalThis.device.sync.default();
    globalThis.methodsOf = (sdk) => Object.getOwnPropertyNames(Object.getPrototypeOf(sdk)).filter((name) => name !== 'constructor' && typeof sdk[name] === 'function');
    /** What a call gives, as text; what does not settle is said. */
    globalThis.outcomeOf = async (call) => {
      try {
        const value = await Promise.race([call(), new Promise((resolve) => setTimeout(resolve, 20_000, 'HANGS'))]);
        if (value instanceof Error || value?.error instanceof Error) return { code: (value.error ?? value).code, trap: false };
        const shown = typeof value?.getSnapshot === 'function' ? value.getSnapshot() : value;
        return { text: typeof shown === 'function' ? 'function' : JSON.stringify(shown) ?? String(shown) };
      } catch (thrown) {
        return { code: thrown?.code, thrown: `${thrown?.name}: ${thrown?.message}` };
      }
    };
  });
  return page;
}

test('after another wallet signs in, no method gives anything of the first', { timeout: 120_000 }, async (t) => {
  const page = await open(t);
  const outcome = await within('all methods answer', page.evaluate(async (config) => {
    const { sync, must, walletProvider } = globalThis.device;
    // They sign, so that there can be groups.
    const [first, second] = await Promise.all(config.wallets.map(walletProvider));
    delete config.wallets;
    const peerWallet = 'So11111111111111111111111111111111111111112';
    const sdk = await sync.connect({ ...config, wallet: first });
    must(sdk.setOffline(true));
    const wallet = must(sdk.getCurrentWallet());
    const { sessionId } = must(await sdk.startSession({ peerWallet }));
    const { messageId } = must(await sdk.sendMessage(sessionId, 'the secret'));
    const group = must(await sdk.startSession({ members: [peerWallet], name: 'the secret circle' })).sessionId;
    const groupMessage = must(await sdk.sendMessage(group, 'the secret')).messageId;
    const heard = [];
    must(await sdk.subscribeToMessages(sessionId, (message) => heard.push(message), { from: 'stored' }));
    const lists = [sdk.messages(sessionId), sdk.messages(group), sdk.conversations()];
    // All lists show it before the wallet changes.
    await Promise.all(lists.map((list) => new Promise((resolve) => {
      const look = () => JSON.stringify(list.getSnapshot()).includes('the secret') && resolve();
      list.subscribe(look);
      look();
    })));
    must(await sdk.connectWallet(second));
    const own = must(sdk.getCurrentWallet());
    const traces = (value) => [wallet, sessionId, messageId, group, groupMessage, 'the secret'].filter((trace) => value?.includes(trace));
    const leaks = [];
    const looked = [];
    const events = [];
    for (const event of globalThis.device.eventNames) sdk.on(event, (...values) => events.push(JSON.stringify([event, ...values])));
    const quiet = ['cleanup', 'disconnectWallet', 'logout', 'connectWallet', 'initialize', 'setOffline', 'on', 'off'];
    for (const method of globalThis.methodsOf(sdk)) {
      if (quiet.includes(method)) continue;
      looked.push(method);
      const ofGroup = [[group], [group, groupMessage], [group, 'x'], [group, [own]], [group, peerWallet, true], [groupMessage]];
      for (const args of [[], [sessionId], [sessionId, messageId], [sessionId, messageId, 'x'], [messageId], [messageId, 'read'], [sessionId, 100], ...ofGroup]) {
        const { text } = await globalThis.outcomeOf(() => sdk[method](...args));
        // A list names the session that it was asked for nowhere.
        for (const trace of traces(text)) leaks.push({ method, args, trace });
      }
    }
    for (const told of events) for (const trace of traces(told)) leaks.push({ told, trace });
    for (const list of lists) for (const trace of traces(JSON.stringify(list.getSnapshot()))) leaks.push({ list: true, trace });
    const exported = must(await sdk.exportMessages());
    const counts = must(sdk.getSyncStatus()).queuedMessageCount;
    must(await sdk.connectWallet(first));
    const back = [...must(await sdk.getStoredMessages(sessionId)), ...must(await sdk.getStoredMessages(group))].map(({ text }) => text);
    return { own: own !== wallet, leaks, looked: looked.length, events: events.length > 0, exported: exported.includes('secret'), counts, back, heard: heard.length };
  }, { relayEndpoint: 'ws://127.0.0.1:9', databaseName: `iso-${Math.random()}`, domains: [new URL(stage.relay.url).host], wallets: [newWallet(), newWallet()] }), 60_000);
  assert.ok(outcome.looked >= 40, `${outcome.looked} methods`);
  assert.deepEqual({ ...outcome, looked: 0 }, { own: true, leaks: [], looked: 0, events: true, exported: false, counts: 0, back: ['the secret', 'the secret'], heard: 0 });
});

test('logout with wipe leaves nothing of the wallet in this browser', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const databaseName = `iso-${Math.random()}`;
  const outcome = await within('wiped', page.evaluate(async (config) => {
    const { sync, must } = globalThis.device;
    const wallet = { publicKey: new Uint8Array(32).fill(3) };
    const sdk = await sync.connect({ ...config, wallet });
    const address = must(sdk.getCurrentWallet());
    const { sessionId } = must(await sdk.startSession({ peerWallet: 'So11111111111111111111111111111111111111112' }));
    must(await sdk.sendMessage(sessionId, 'the secret'));
    must(await sdk.logout({ wipe: true }));
    const code = sdk.getSyncStatus().error?.code;
    const names = (await indexedDB.databases()).map(({ name }) => name).filter((name) => name.startsWith(config.databaseName));
    const marks = Object.keys(localStorage).filter((key) => key.includes(address));
    const directory = await new Promise((resolve) => {
      const opening = indexedDB.open(config.databaseName);
      opening.onsuccess = () => {
        const wallets = opening.result.transaction('wallets').objectStore('wallets').getAllKeys();
        wallets.onsuccess = () => resolve(wallets.result);
      };
    });
    return { code, names: names.length, marks, directory };
  }, { relayEndpoint: 'ws://127.0.0.1:9', databaseName }));
  assert.deepEqual(outcome, { code: 'WALLET_NOT_CONNECTED', names: 1, marks: [], directory: [] });
});

test('a wipe after the wallet has left wipes that wallet', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await within('wiped', page.evaluate(async (config) => {
    const { sync, must } = globalThis.device;
    const names = async () => (await indexedDB.databases()).map(({ name }) => name).filter((name) => name.startsWith(`${config.databaseName}/`)).length;
    const handlers = {};
    const wallet = { publicKey: new Uint8Array(32).fill(3), on: (event, handler) => (handlers[event] = handler) };
    const sdk = await sync.initializeSDK(config);
    must(await sdk.initialize());
    const codes = [(await sdk.logout({ wipe: true })).error?.code];
    must(await sdk.connectWallet(wallet));
    const left = new Promise((resolve) => sdk.on('walletChanged', resolve));
    handlers.disconnect();
    await left;
    const before = await names();
    for (let time = 0; time < 2; time += 1) codes.push((await sdk.logout({ wipe: true })).error?.code ?? 'ok');
    return { before, codes, after: await names() };
  }, { relayEndpoint: 'ws://127.0.0.1:9', databaseName: `iso-${Math.random()}` }));
  assert.deepEqual(outcome, { before: 1, codes: ['WALLET_NOT_CONNECTED', 'ok', 'ok'], after: 0 });
});

test('a directory that something else made refuses every wallet', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await within('refused', page.evaluate(async (config) => {
    const { sync, must } = globalThis.device;
    const theirs = await new Promise((resolve) => {
      const opening = indexedDB.open(config.databaseName, 3);
      opening.onupgradeneeded = () => opening.result.createObjectStore('todos');
      opening.onsuccess = () => resolve(opening.result);
    });
    const sdk = await sync.initializeSDK(config);
    must(await sdk.initialize());
    const codes = [];
    for (const wallet of [[], [{ publicKey: new Uint8Array(32).fill(3) }]]) codes.push((await sdk.connectWallet(...wallet)).error?.code);
    const names = (await indexedDB.databases()).filter(({ name }) => name.startsWith(config.databaseName)).map(({ version }) => version);
    return { codes, names, stores: [...theirs.objectStoreNames] };
  }, { relayEndpoint: 'ws://127.0.0.1:9', databaseName: `iso-${Math.random()}` }));
  assert.deepEqual(outcome, { codes: ['STORAGE_FOREIGN', 'STORAGE_FOREIGN'], names: [3], stores: ['todos'] });
});

test('no argument of any method traps, hangs or goes unanswered', { timeout: 180_000 }, async (t) => {
  const page = await open(t);
  const outcome = await within('all calls answer', page.evaluate(async (config) => {
    const { sync, must, walletProvider } = globalThis.device;
    const wallet = await walletProvider(config.own);
    delete config.own;
    const frame = document.body.appendChild(document.createElement('iframe')).contentWindow;
    const hostile = () => ({
      nothing: undefined, null: null, number: 5, fraction: 0.5, negative: -1, huge: 2 ** 60, infinite: Infinity, nan: NaN, bigint: 10n, boolean: true,
      empty: '', text: 'x', long: 'y'.repeat(100_000), symbol: Symbol('s'), list: [], object: {}, function: () => {}, date: new Date(NaN),
      proxy: new Proxy({}, { get() { throw new Error('a trap of a proxy'); }, ownKeys() { throw new Error('a trap of a proxy'); }, has() { throw new Error('a trap of a proxy'); } }),
      getter: { get sessionId() { throw new Error('a getter'); }, get from() { throw new Error('a getter'); } },
      realm: frame.eval('({})'), realmFunction: frame.eval('(() => {})'), none: Object.create(null), loop: (() => { const loop = {}; loop.loop = loop; return loop; })(),
      thenable: { then() { throw new Error('a thenable'); } }, half: '\ud83d', proto: '__proto__',
    });
    const wrong = [];
    let calls = 0;
    const judge = (what, outcome) => {
      calls += 1;
      if (outcome.text === '"HANGS"') wrong.push(`${what} hangs`);
      else if (outcome.thrown && !outcome.code) wrong.push(`${what} throws ${outcome.thrown}`);
      else if (outcome.code === 'UNKNOWN_ERROR') wrong.push(`${what}: ${JSON.stringify(outcome)}`);
    };
    const sdk = await sync.connect({ ...config, wallet });
    const peerWallet = 'So11111111111111111111111111111111111111112';
    const { sessionId } = must(await sdk.startSession({ peerWallet }));
    const { sessionId: group } = must(await sdk.startSession({ members: [peerWallet], name: 'Walkers' }));
    must(sdk.setOffline(true));
    const { messageId } = must(await sdk.sendMessage(sessionId, 'kept'));
    const quiet = ['cleanup', 'disconnectWallet', 'logout', 'syncMessages', 'processQueuedMessages'];
    for (const method of globalThis.methodsOf(sdk)) {
      if (quiet.includes(method)) continue;
      for (const [kind, value] of Object.entries(hostile())) {
        if (method === 'connectWallet' && ['function', 'realmFunction'].includes(kind)) continue;
        // The calls that follow are to find them as they are.
        const ends = ['endSession', 'leaveSession'].includes(method);
        const ofGroup = [[group, value], [group, [value]], [group, peerWallet, value], [{ members: value, name: 'A' }], [{ members: [value], name: 'A' }], [{ members: [peerWallet], name: value }], [{ peerWallet: value }]];
        for (const args of [[value], [sessionId, value], [messageId, value], [sessionId, messageId, value], [sessionId, 'text', value], ['syncStarted', value], [sessionId, () => {}, value], ...ofGroup]) {
          if (ends && [sessionId, group].includes(args[0])) continue;
          judge(`${method}(${args.length === 1 ? '' : '…, '}${kind})`, await globalThis.outcomeOf(() => sdk[method](...args)));
          if (method === 'connectWallet') break;
        }
      }
    }
    for (const method of ['syncMessages', 'processQueuedMessages', 'logout']) {
      for (const [kind, value] of Object.entries(hostile())) {
        if (method === 'logout' && (value === undefined || ['object', 'realm', 'none', 'list'].includes(kind))) continue;
        judge(`${method}(${kind})`, await globalThis.outcomeOf(() => sdk[method](value)));
        if (method === 'syncMessages') judge(`${method}(…, ${kind})`, await globalThis.outcomeOf(() => sdk[method](sessionId, value)));
      }
    }
    const clock = new sync.VectorClock();
    const functions = {
      connect: (value) => sync.connect(value), connectOption: (value) => sync.connect({ signal: value }), SolConnectSDK: (value) => new sync.SolConnectSDK(value),
      initializeSDK: (value) => sync.initializeSDK(value), init: (value) => sync.default(value), MessageBus: (value) => new sync.MessageBus(value), createLocalWallet: (value) => sync.createLocalWallet(value),
      sessionIdOf: (value) => sync.sessionIdOf(value, value), tick: (value) => clock.tick(value), get: (value) => clock.get(value), compare: (value) => clock.compare(value),
      merge: (value) => clock.merge(value), parse: (value) => sync.VectorClock.parse(value), VectorClock: (value) => new sync.VectorClock(value),
      connectSignal: (value) => sync.connect({ signal: { aborted: value, addEventListener: value, removeEventListener: value } }),
      transport: (value) => new sync.WebSocketSyncTransport(value), frame: (value) => new sync.WebSocketSyncTransport('ws://127.0.0.1:9').sendSyncMessage(value),
      handler: (value) => new sync.WebSocketSyncTransport('ws://127.0.0.1:9').onSyncMessage(value), findWallets: (value) => sync.findWallets(value),
      manager: (value) => new sync.SyncManager().initialize(value, value), startSync: (value) => new sync.SyncManager().startSync(value),
      storeMessage: (value) => new sync.SyncManager().storage.storeMessage(value, value, value), subscribe: (value) => new sync.MessageBus().subscribe(value, value),
    };
    for (const [name, call] of Object.entries(functions)) {
      for (const [kind, value] of Object.entries(hostile())) {
        // These are right, and would open something.
        if (['connect', 'connectOption'].includes(name) && (value === undefined || ['object', 'realm', 'none', 'list'].includes(kind))) continue;
        judge(`${name}(${kind})`, await globalThis.outcomeOf(() => call(value)));
      }
    }
    must(await sdk.connectWallet(wallet));
    const texts = must(await sdk.getStoredMessages(sessionId)).map(({ text }) => text);
    const { isAdmin } = must(sdk.getMembers(group)).find((member) => member.wallet === String(wallet.publicKey));
    return { wrong: [...new Set(wrong)], calls, kept: texts[0] !== undefined, isAdmin };
  }, { relayEndpoint: 'ws://127.0.0.1:9', databaseName: `args-${Math.random()}`, domains: [new URL(stage.relay.url).host], own: newWallet() }), 150_000);
  assert.deepEqual(outcome.wrong, []);
  assert.ok(outcome.calls > 1_000 && outcome.kept && outcome.isAdmin, JSON.stringify(outcome));
});
