// npm run bench:encryption: what encryption costs, beside the same without it: catching up, what is sent for it, live delivery.
import { commandLine } from '../scripts/options.mjs';
import { main, progress } from '../scripts/shell.mjs';
import { machine, prepare } from './pages.mjs';
import { median } from './rows.mjs';
import { openTexts } from './texts.mjs';

const about = `Measures in Chromium, in turns with encryption and without: a new device that signs in and catches up, what it is sent for that, and the time
from one device's call until another one's subscriber hears. With encryption a device that is online approves the new one meanwhile.`;

const kinds = ['off', 'required'];
const messagesAtOnce = 500;
const liveWarmUpMessages = 10;
const catchUpDeadlineMs = 120_000;

main(import.meta.url, async () => {
  const wanted = commandLine('npm run bench:encryption --', about, {
    corpus: { value: 'FILE', means: 'real messages: one JSON object with a "text" on each line; without it texts of 200 bytes are made up' },
    messages: { value: 'N', from: 100, default: 10_000, means: 'messages in the history' },
    live: { value: 'N', from: 10, default: 100, means: 'live messages in each round' },
    rounds: { value: 'N', from: 1, default: 5, means: 'each figure is the median of that many rounds' },
  });
  await prepare();
  // What these import may only now be installed.
  const { startBrowser } = await import('../tests/e2e/harness/browser.mjs');
  const { openDevice } = await import('../tests/e2e/harness/device.mjs');
  const { startRelay } = await import('../tests/e2e/harness/relay.mjs');
  const { until } = await import('../tests/e2e/harness/wait.mjs');
  const { newWallet } = await import('../tests/e2e/harness/wallet.mjs');
  const texts = openTexts(wanted.corpus)(0, wanted.messages);
  const start = machine();
  const figures = Object.fromEntries(kinds.map((kind) => [kind, { catchUpMs: [], bytesDown: [], liveMs: [] }]));

  /** One round: a history of two devices, a third that catches up, and messages that go live. */
  async function measure(encryption, into) {
    const relay = await startRelay({ auth: 'wallet' });
    const browsers = [await startBrowser(), await startBrowser()];
    try {
      const config = { domains: [new URL(relay.url).host], encryption, deviceApproval: 'auto' };
      const [alice, bob] = [newWallet(), newWallet()];
      const phone = await openDevice({ browser: browsers[0], relay, name: 'phone', wallet: alice, peer: bob, config });
      const other = await openDevice({ browser: browsers[0], relay, name: 'other', wallet: bob, peer: alice, config });
      await phone.send('the first one');
      await until('both are there', async () => (await other.list()).length === 1);
      for (let written = 0; written < texts.length; written += messagesAtOnce) {
        const writer = [phone, other][(written / messagesAtOnce) % 2];
        await writer.sendAtOnce(texts.slice(written, written + messagesAtOnce));
        await writer.call('processQueuedMessages');
      }
      const total = texts.length + 1;
      const { laptop, ms, bytes } = await catchUp({ browser: browsers[1], relay, name: 'laptop', wallet: alice, peer: bob, config }, total);
      into.catchUpMs.push(ms);
      into.bytesDown.push(bytes);
      into.liveMs.push(...(await live(other, laptop)));
    } finally {
      for (const browser of browsers) await browser.stop();
      await relay.stop();
    }
  }

  /** A device in a browser of its own: from its first call until it has all, and the bytes of what its socket was sent. */
  async function catchUp(options, total) {
    const laptop = await openDevice({ ...options, offline: true });
    const session = await laptop.page.context().newCDPSession(laptop.page);
    let bytes = 0;
    session.on('Network.webSocketFrameReceived', ({ response: { opcode, payloadData } }) => {
      bytes += opcode === 2 ? Buffer.from(payloadData, 'base64').length : Buffer.byteLength(payloadData);
    });
    await session.send('Network.enable');
    const ms = await laptop.page.evaluate(async ({ total, deadlineMs }) => {
      const { sdk, sessionId, must } = globalThis.device;
      const start = performance.now();
      must(sdk.setOffline(false));
      for (;;) {
        const [last] = must(await sdk.getStoredMessages(sessionId, 1));
        const { lastSyncedSequence } = must(sdk.getActiveSessions()).find((one) => one.session_id === sessionId);
        if (last && lastSyncedSequence >= total && last.sequenceNumber === lastSyncedSequence) return performance.now() - start;
        if (performance.now() - start > deadlineMs) throw new Error(`it has not caught up within ${deadlineMs} ms`);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }, { total, deadlineMs: catchUpDeadlineMs });
    const { length } = await laptop.list();
    if (length !== total) throw new Error(`it shows ${length} messages, not ${total}`);
    return { laptop, ms, bytes };
  }

  async function live(writer, reader) {
    // The clock of one page is that of all on this machine, once its beginning is added.
    await reader.page.evaluate(async () => {
      const { sdk, sessionId, must } = globalThis.device;
      globalThis.heardMs = new Map();
      must(await sdk.subscribeToMessages(sessionId, ({ id }) => globalThis.heardMs.set(id, performance.timeOrigin + performance.now())));
    });
    const sent = [];
    for (let index = 0; index < liveWarmUpMessages + wanted.live; index += 1) {
      const one = await writer.page.evaluate(async (text) => {
        const { sdk, sessionId, must } = globalThis.device;
        const start = performance.timeOrigin + performance.now();
        return { start, id: must(await sdk.sendMessage(sessionId, text)).messageId };
      }, texts[index % texts.length]);
      await until('it is heard', () => reader.page.evaluate((id) => globalThis.heardMs.has(id), one.id));
      sent.push(one);
    }
    const heard = new Map(await reader.page.evaluate(() => [...globalThis.heardMs]));
    return sent.slice(liveWarmUpMessages).map(({ id, start }) => heard.get(id) - start);
  }

  for (let round = 0; round < wanted.rounds; round += 1) {
    for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) await measure(kind, figures[kind]);
    progress(`${round + 1} of ${wanted.rounds} rounds`, round + 1 === wanted.rounds);
  }
  console.log(`\nChromium, ${start} at the start; ${wanted.messages} messages ${wanted.corpus ? 'of real chat' : 'of 200 bytes of base64'}; medians\n`);
  const rows = { catchUpMs: 'sign in and catch up, ms', bytesDown: 'bytes down for it', liveMs: "a call to another device's subscriber, p50, ms" };
  for (const [name, title] of Object.entries(rows)) {
    const [plain, encrypted] = kinds.map((kind) => median(figures[kind][name]));
    const digits = name === 'liveMs' ? 2 : 0;
    console.log(`${title.padEnd(50)} without ${plain.toFixed(digits).padStart(10)}  encrypted ${encrypted.toFixed(digits).padStart(10)}  ratio ${(encrypted / plain).toFixed(2)}`);
  }
});
