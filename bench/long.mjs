// npm run bench:long: what a long history costs a page: paging backward through it, and starting over it. Real pages, the real relay.
import { buildRelay, buildSdk } from '../scripts/build.mjs';
import { commandLine } from '../scripts/options.mjs';
import { setup } from '../scripts/setup.mjs';
import { main, say } from '../scripts/shell.mjs';

const messagesAtOnce = 5_000;
const pageMessages = 50;
const rounds = 9;

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

/** Milliseconds to read a page of messages before each of these places. */
const readPages = async ({ places, pageMessages, rounds }) => {
  const { sdk, sessionId, must } = globalThis.device;
  const times = [];
  for (const place of places) {
    for (let round = 0; round < rounds; round += 1) {
      const start = performance.now();
      const { length } = must(await sdk.getStoredMessages(sessionId, pageMessages, place - round));
      times.push({ place, ms: performance.now() - start });
      if (length !== pageMessages) throw new Error(`a page has ${length} messages`);
    }
  }
  return times;
};

/** Milliseconds from nothing to `initialize`, and to the newest page, on a page that was just loaded. */
const start = async ({ config, wallet, peer, pageMessages }) => {
  const { must, sync, walletProvider } = globalThis.device;
  const begin = performance.now();
  const sdk = await sync.initializeSDK(config);
  must(await sdk.initialize());
  const initialized = performance.now() - begin;
  must(sdk.setOffline(true));
  must(await sdk.connectWallet(await walletProvider(wallet)));
  const { session_id: sessionId } = must(await sdk.startSession({ peerWallet: peer }));
  must(await sdk.getStoredMessages(sessionId, pageMessages));
  return { initialized, shown: performance.now() - begin };
};

main(import.meta.url, async () => {
  const about = 'Measures what a long history costs a page: paging backward through it, and starting over it. Real pages, the real relay.';
  const { messages: count } = commandLine('npm run bench:long --', about, {
    messages: { value: 'N', from: 1_000, default: 100_000, means: 'messages in the history' },
  });
  await setup('npm', 'wasm', 'browser');
  const { startBrowser } = await import('../tests/e2e/harness/browser.mjs');
  const { openDevice } = await import('../tests/e2e/harness/device.mjs');
  const { startRelay } = await import('../tests/e2e/harness/relay.mjs');
  const { newWallet } = await import('../tests/e2e/harness/wallet.mjs');
  const { until } = await import('../tests/e2e/harness/wait.mjs');
  await buildSdk();
  await buildRelay();
  const relay = await startRelay({ auth: 'open' });
  const browser = await startBrowser();
  try {
    const [wallet, peer] = [newWallet(), newWallet()];
    const phone = await openDevice({ browser, relay, name: 'phone', wallet, peer });
    for (let written = 0; written < count; written += messagesAtOnce) {
      const texts = Array.from({ length: Math.min(messagesAtOnce, count - written) }, (_, index) => `message ${written + index}: see you there at eight`);
      await phone.sendAtOnce(texts);
      await phone.call('processQueuedMessages');
    }
    const laptop = await openDevice({ browser, relay, name: 'laptop', wallet, peer });
    await until('the second device has caught up', async () => (await laptop.state()).cursor >= count, 120_000);

    const places = [100, count >> 2, count >> 1, count];
    const times = await laptop.page.evaluate(readPages, { places, pageMessages, rounds });
    const starts = [];
    for (let round = 0; round < rounds; round += 1) {
      await laptop.page.reload();
      await laptop.page.waitForLoadState('load');
      starts.push(await laptop.page.evaluate(start, { config: laptop.config, wallet, peer: peer.address, pageMessages }));
    }
    say(`Over ${count} stored messages, medians of ${rounds}:`);
    for (const place of places) {
      const ms = median(times.filter((time) => time.place === place).map((time) => time.ms));
      say(`  ${pageMessages} messages before place ${place}: ${ms.toFixed(1)} ms`);
    }
    say(`  start to initialize: ${Math.round(median(starts.map(({ initialized }) => initialized)))} ms; to the newest ${pageMessages}: ${Math.round(median(starts.map(({ shown }) => shown)))} ms`);
  } finally {
    await browser.stop();
    await relay.stop();
  }
});
