// One call, last call wins: whatever overlaps ends in what the last call asked for, and every promise settles.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scene } from './harness/scene.mjs';
import { within } from './harness/wait.mjs';

const stage = scene();

/** A page with the package, and a wallet of the page that answers when the test says so. */
async function open(t) {
  const page = await stage.browser.newPage();
  t.after(() => page.close());
  await page.goto(stage.relay.url);
  await page.evaluate(async () => {
    const { sync } = globalThis.device;
    await sync.default();
    globalThis.wallets = (count) => Array.from({ length: count }, (_, place) => {
      const key = new Uint8Array(32).fill(place + 1);
      const wallet = { publicKey: null, prompts: 0, connect: () => new Promise((resolve, reject) => {
        wallet.prompts += 1;
        wallet.accept = () => {
          wallet.publicKey = key;
          resolve();
        };
        wallet.decline = () => reject(Object.assign(new Error('User rejected the request.'), { code: 4001 }));
      }) };
      return wallet;
    });
    globalThis.codeOf = ({ success, error }) => (success ? 'ok' : error.code);
    globalThis.turn = () => new Promise((resolve) => setTimeout(resolve, 0));
  });
  return page;
}

const run = (page, work) => within('every promise settles', page.evaluate(work, { relayEndpoint: stage.relay.endpoint, databaseName: `life-${Math.random()}` }));

test('an old prompt that is answered late changes nothing', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await run(page, async (config) => {
    const { sync, must } = globalThis.device;
    const [slow, quick] = globalThis.wallets(2);
    const sdk = await sync.initializeSDK(config);
    must(await sdk.initialize());
    const first = sdk.connectWallet(slow);
    const second = sdk.connectWallet(quick);
    await globalThis.turn();
    quick.accept();
    const answered = globalThis.codeOf(await second);
    const address = must(sdk.getCurrentWallet());
    slow.accept();
    const late = globalThis.codeOf(await first);
    return { answered, late, stays: must(sdk.getCurrentWallet()) === address && address !== null };
  });
  assert.deepEqual(outcome, { answered: 'ok', late: 'CALL_SUPERSEDED', stays: true });
});

test('a wallet that is asked twice asks the person once', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await run(page, async (config) => {
    const { sync, must } = globalThis.device;
    const [wallet] = globalThis.wallets(1);
    const sdk = await sync.initializeSDK(config);
    must(await sdk.initialize());
    const calls = [sdk.connectWallet(wallet), sdk.connectWallet(wallet)];
    await globalThis.turn();
    wallet.accept();
    return { codes: (await Promise.all(calls)).map(globalThis.codeOf), prompts: wallet.prompts };
  });
  assert.deepEqual(outcome, { codes: ['ok', 'ok'], prompts: 1 });
});

test('disconnecting while a wallet asks leaves no wallet', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await run(page, async (config) => {
    const { sync, must } = globalThis.device;
    const [wallet] = globalThis.wallets(1);
    const sdk = await sync.initializeSDK(config);
    must(await sdk.initialize());
    const connecting = sdk.connectWallet(wallet);
    await globalThis.turn();
    must(await sdk.disconnectWallet());
    wallet.accept();
    return { code: globalThis.codeOf(await connecting), wallet: must(sdk.getCurrentWallet()) };
  });
  assert.deepEqual(outcome, { code: 'CALL_SUPERSEDED', wallet: null });
});

test('an account left again at once is not followed', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await run(page, async (config) => {
    const { sync, must } = globalThis.device;
    const [one, two] = [8, 9].map((byte) => new Uint8Array(32).fill(byte));
    let changed = () => {};
    const wallet = { publicKey: one, on: (event, handler) => event === 'accountChanged' && (changed = handler), off() {} };
    const sdk = await sync.initializeSDK(config);
    must(await sdk.initialize());
    const { address } = must(await sdk.connectWallet(wallet));
    const heard = [];
    sdk.on('walletChanged', (event) => heard.push(event.address));
    for (const key of [two, one]) {
      wallet.publicKey = key;
      changed(key);
    }
    await globalThis.turn();
    // It waits for its turn behind what was followed.
    must(await sdk.connectWallet(wallet));
    return { heard, stays: must(sdk.getCurrentWallet()) === address };
  });
  assert.deepEqual(outcome, { heard: [], stays: true });
});

test('mounting twice, as StrictMode does, ends connected', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await run(page, async (config) => {
    const { sync } = globalThis.device;
    const sdk = new sync.SolConnectSDK(config);
    const mount = () => [sdk.initialize(), sdk.connectWallet()];
    const first = mount();
    const left = sdk.cleanup();
    const second = mount();
    const codes = (await Promise.all([...first, left, ...second])).map(globalThis.codeOf);
    const works = globalThis.codeOf(await sdk.startSession({ peerWallet: '1'.repeat(32) }));
    const status = sdk.getSyncStatus();
    await sdk.cleanup();
    return { last: codes.slice(2), works, queued: status.data.queuedMessageCount, after: globalThis.codeOf(sdk.getSyncStatus()) };
  });
  assert.deepEqual(outcome, { last: ['ok', 'ok', 'ok'], works: 'ok', queued: 0, after: 'SDK_NOT_INITIALIZED' });
});

test('connect twice at once, as StrictMode does, connects both', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await run(page, async (config) => {
    const { sync } = globalThis.device;
    const outcome = [];
    for (const [place, wallet] of [{}, { wallet: 'local' }].entries()) {
      const options = { ...config, ...wallet, databaseName: `${config.databaseName}-${place}` };
      const connected = await Promise.allSettled([1, 2, 3].map(() => sync.connect(options)));
      const sdk = connected[2].value;
      outcome.push(...connected.map(({ value, reason }) => reason?.code ?? (value === sdk && value.getCurrentWallet().data !== null)));
      await sdk.cleanup();
    }
    return outcome;
  });
  assert.deepEqual(outcome, Array(6).fill(true));
});

test('any order of overlapping calls ends as the last one says', { timeout: 120_000 }, async (t) => {
  const page = await open(t);
  const wrong = await run(page, async (config) => {
    const { sync } = globalThis.device;
    const wrong = [];
    let state = 7;
    const random = (bound) => {
      state = (state * 1103515245 + 12345) % 2 ** 31;
      return Math.floor((state / 2 ** 31) * bound);
    };
    for (let round = 0; round < 12; round += 1) {
      const sdk = new sync.SolConnectSDK({ ...config, databaseName: `${config.databaseName}-${round}` });
      const wallets = globalThis.wallets(2);
      const calls = [];
      let goal = { running: false, wallet: null };
      const steps = [
        () => (calls.push(sdk.initialize()), { ...goal, running: true }),
        () => (calls.push(sdk.cleanup()), { running: false, wallet: null }),
        () => (calls.push(sdk.connectWallet(wallets[0])), goal.running ? { running: true, wallet: 0 } : goal),
        () => (calls.push(sdk.connectWallet(wallets[1])), goal.running ? { running: true, wallet: 1 } : goal),
        () => (calls.push(sdk.disconnectWallet()), goal.running ? { running: true, wallet: null } : goal),
      ];
      const done = [];
      for (let step = 0; step < 8; step += 1) {
        const choice = random(steps.length);
        done.push(choice);
        goal = steps[choice]();
        if (random(3) === 0) await globalThis.turn();
        if (random(2) === 0) for (const wallet of wallets) wallet.accept?.();
      }
      const accepting = setInterval(() => wallets.forEach((wallet) => wallet.accept?.()), 5);
      await Promise.all(calls);
      clearInterval(accepting);
      const wallet = sdk.getCurrentWallet();
      const expected = !goal.running ? 'SDK_NOT_INITIALIZED' : goal.wallet === null ? null : sync.SolConnectSDK && String(goal.wallet);
      const shown = wallet.error ? wallet.error.code : wallet.data === null ? null : String(wallets.findIndex(({ publicKey }) => publicKey && addressOf(publicKey) === wallet.data));
      if (shown !== expected) wrong.push({ done, shown, expected });
      await sdk.cleanup();
    }
    function addressOf(key) {
      // The base58 of 32 equal bytes is told apart by its first letters alone.
      const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
      let number = key.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
      let text = '';
      for (; number > 0n; number /= 58n) text = alphabet[Number(number % 58n)] + text;
      return text;
    }
    return wrong;
  });
  assert.deepEqual(wrong, []);
});

test('connect gives one SDK for one configuration, and resumes the last wallet', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const config = { relayEndpoint: stage.relay.endpoint, databaseName: `life-${Math.random()}` };
  const first = await within('connect', page.evaluate(async (config) => {
    const { sync, must } = globalThis.device;
    const wallet = { publicKey: new Uint8Array(32).fill(9) };
    const [one, two] = await Promise.all([sync.connect({ ...config, wallet }), sync.connect({ ...config, wallet })]);
    const { sessionId } = must(await one.startSession({ peerWallet: '1'.repeat(32) }));
    must(one.setOffline(true));
    must(await one.sendMessage(sessionId, 'kept'));
    const { sendMessage } = one;
    must(await sendMessage(sessionId, 'detached'));
    return { same: one === two, sessionId, wallet: must(one.getCurrentWallet()), keys: Object.keys(one).filter((key) => key.startsWith('__')), free: typeof one.free };
  }, config));
  assert.deepEqual({ ...first, sessionId: undefined, wallet: undefined }, { same: true, sessionId: undefined, wallet: undefined, keys: [], free: 'undefined' });
  await page.reload();
  const again = await within('connect', page.evaluate(async ({ config, sessionId }) => {
    const { sync, must } = globalThis.device;
    const sdk = await sync.connect({ ...config, relayEndpoint: 'ws://127.0.0.1:9' });
    return { wallet: must(sdk.getCurrentWallet()), texts: must(await sdk.getStoredMessages(sessionId)).map(({ text }) => text) };
  }, { config, sessionId: first.sessionId }));
  assert.deepEqual(again, { wallet: first.wallet, texts: ['kept', 'detached'] });
});

test('overlapping calls for one wallet all succeed', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const codes = await run(page, async (config) => {
    const { sync } = globalThis.device;
    const codes = [];
    const settled = (connecting) => connecting.then(() => 'ok', ({ code }) => code);
    for (const options of [{ wallet: 'local' }, {}, { wallet: { publicKey: new Uint8Array(32).fill(9) } }]) {
      for (let round = 0; round < 5; round += 1) {
        const databaseName = `${config.databaseName}-${codes.length}`;
        codes.push(...await Promise.all(Array.from({ length: 3 }, () => settled(sync.connect({ ...config, databaseName, ...options })))));
      }
    }
    return codes;
  });
  assert.deepEqual(codes, Array(45).fill('ok'));
});

test('connect takes its turn when it is called', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await run(page, async (config) => {
    const { sync, must } = globalThis.device;
    const [one, two] = [8, 9].map((byte) => ({ publicKey: new Uint8Array(32).fill(byte) }));
    const sdk = await sync.connect({ ...config, wallet: one });
    const address = must(sdk.getCurrentWallet());
    const settled = (connecting) => connecting.then(() => 'ok', ({ code }) => code);
    const left = settled(sync.connect({ ...config, wallet: two }));
    must(await sdk.disconnectWallet());
    const afterLeaving = [await left, must(sdk.getCurrentWallet())];
    const { signal } = new AbortController();
    // A signal takes a call some turns more.
    const codes = await Promise.all([settled(sync.connect({ ...config, wallet: two, signal })), settled(sync.connect({ ...config, wallet: one }))]);
    return { afterLeaving, codes, last: must(sdk.getCurrentWallet()) === address };
  });
  assert.deepEqual(outcome, { afterLeaving: ['CALL_SUPERSEDED', null], codes: ['CALL_SUPERSEDED', 'ok'], last: true });
});

test('what is aborted answers CALL_ABORTED, and does not happen later', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const outcome = await run(page, async (config) => {
    const { sync, must } = globalThis.device;
    const [wallet] = globalThis.wallets(1);
    const sdk = await sync.initializeSDK({ ...config, relayEndpoint: 'ws://127.0.0.1:9', maxRetries: 100 });
    must(await sdk.initialize());
    const prompt = new AbortController();
    const connecting = sdk.connectWallet(wallet, { signal: prompt.signal });
    await globalThis.turn();
    prompt.abort();
    const codes = [globalThis.codeOf(await connecting)];
    wallet.accept();
    await globalThis.turn();
    const after = must(sdk.getCurrentWallet());
    must(await sdk.connectWallet());
    const { sessionId } = must(await sdk.startSession({ peerWallet: '1'.repeat(32) }));
    const sync1 = new AbortController();
    const syncing = sdk.syncMessages(sessionId, { signal: sync1.signal });
    sync1.abort();
    codes.push(globalThis.codeOf(await syncing));
    codes.push(globalThis.codeOf(await sdk.syncMessages(sessionId, { signal: AbortSignal.abort() })));
    codes.push((await globalThis.device.thrown(() => sync.connect({ ...config, databaseName: 'aborted', signal: AbortSignal.abort() })))?.code);
    return { codes, after };
  });
  assert.deepEqual(outcome, { codes: Array(4).fill('CALL_ABORTED'), after: null });
});

test('an unknown option is refused with the likely name', { timeout: 60_000 }, async (t) => {
  const page = await open(t);
  const messages = await run(page, async () => {
    const { sync, thrown } = globalThis.device;
    const uses = [
      () => sync.connect({ relayUrl: 'ws://x' }), () => new sync.SolConnectSDK({ databasename: 'x' }), () => sync.initializeSDK({ colour: 'red' }),
      () => sync.default({ wasmURL: '/x.wasm' }),
    ];
    const messages = [];
    for (const use of uses) messages.push((await thrown(use))?.message);
    return messages;
  });
  assert.match(messages[0], /did you mean .*relayEndpoint/);
  assert.match(messages[1], /did you mean databaseName\?/);
  assert.match(messages[2], /no option colour/);
  assert.match(messages[3], /did you mean wasmUrl\?/);
});
