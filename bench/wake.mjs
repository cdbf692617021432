// npm run bench:wake: how soon a browser that slept has caught up, and how soon a path is given up that carries nothing any more.
import { setTimeout as delay } from 'node:timers/promises';
import { commandLine } from '../scripts/options.mjs';
import { main, progress } from '../scripts/shell.mjs';
import { machine, prepare, printTimes } from './pages.mjs';

const about = `Stops the whole of Chromium (SIGSTOP) for longer than the relay keeps a silent connection, and measures how long after it goes on (SIGCONT) a
page has all that was written meanwhile: where it hears that its connection has ended, and where the path is dead and nobody hears anything. Then has the
path die under a running page, and measures how long that takes to give it up: one that is seen, and one that was hidden for a while before.`;

const options = {
  tries: { value: 'N', from: 1, default: 3, means: 'how often each' },
  asleep: { value: 'SECONDS', from: 1, default: 180, means: 'how long the browser sleeps' },
  hidden: { value: 'SECONDS', from: 0, default: 330, means: 'how long a page was hidden before its path dies; after 300 Chromium slows timers down most' },
};

const written = 100;
const deadlineMs = 180_000;

main(import.meta.url, async () => {
  const { tries, asleep, hidden } = commandLine('npm run bench:wake --', about, options);
  await prepare();
  // What these import may only now be installed.
  const { launch } = await import('../tests/e2e/harness/engines.mjs');
  const { PlainDevice } = await import('../tests/e2e/harness/plain-device.mjs');
  const { startRelay } = await import('../tests/e2e/harness/relay.mjs');
  const { TabDevice } = await import('../tests/e2e/harness/tab-device.mjs');
  const { until } = await import('../tests/e2e/harness/wait.mjs');
  const { newWallet } = await import('../tests/e2e/harness/wallet.mjs');
  const { startWire } = await import('../tests/e2e/harness/wire.mjs');
  const relay = await startRelay({ auth: 'open' });
  const start = machine();
  let count = 0;

  /** A page of its own browser, on a cable, and somebody who writes to it. */
  async function withPage(work) {
    const [browser, wire] = [await launch('chromium'), await startWire(relay.port)];
    const [wallet, peer] = [newWallet(), newWallet()];
    // With everything as it is by default.
    const config = { retryDelayMs: undefined };
    const device = new TabDevice({ browser, relay, wire, name: `wake-${(count += 1)}`, wallet, peer, config });
    let writer;
    try {
      await device.open();
      await until('it is connected', async () => (await device.state()).connection === 'connected');
      writer = new PlainDevice({ relay, sessionId: device.sessionId, deviceId: 'writer', wallet: peer.address });
      writer.connect();
      return await work(device, wire, writer);
    } finally {
      writer?.close();
      await browser.stop();
      wire.close();
    }
  }

  /** Milliseconds from waking to having everything. */
  const wake = (isDead) => withPage(async (device, wire, writer) => {
    await device.page.evaluate((count) => {
      const { sdk, sessionId } = globalThis.device;
      let left = count;
      void sdk.subscribeToMessages(sessionId, () => {
        left -= 1;
        if (left === 0) globalThis.caughtUpAt = Date.now();
      });
    }, written);
    if (isDead) wire.deaden();
    device.browser.suspend();
    try {
      for (let place = 0; place < written; place += 1) writer.write(`meanwhile ${place}`);
      await until('the relay has all', () => writer.outbox.length === 0);
      await delay(asleep * 1_000);
    } finally {
      device.browser.resume();
    }
    const wokeAt = Date.now();
    return (await until('it has caught up', () => device.page.evaluate('globalThis.caughtUpAt'), deadlineMs)) - wokeAt;
  });

  /** Milliseconds from when the path dies to when it is given up. */
  const giveUp = (isHidden) => withPage(async (device, wire) => {
    if (isHidden) {
      await device.browser.open('about:blank');
      await delay(hidden * 1_000);
    }
    await device.page.evaluate(() => {
      globalThis.device.sdk.on('onConnectionChanged', (state) => {
        if (state === 'waiting') globalThis.givenUpAt ??= Date.now();
      });
    });
    wire.deaden();
    const diedAt = Date.now();
    return (await until('the path is given up', () => device.page.evaluate('globalThis.givenUpAt'), deadlineMs)) - diedAt;
  });

  const rows = {
    [`caught up after ${asleep} s of sleep, the connection ended`]: () => wake(false),
    [`caught up after ${asleep} s of sleep, the path is dead`]: () => wake(true),
    'a dead path is given up, the page is seen': () => giveUp(false),
    [`a dead path is given up, the page was hidden for ${hidden} s`]: () => giveUp(true),
  };
  // They mostly wait: each kind has all its tries at once.
  const measured = {};
  try {
    for (const [title, measure] of Object.entries(rows)) {
      measured[title] = await Promise.all(Array.from({ length: tries }, measure));
      progress(title, true);
    }
  } finally {
    await relay.stop();
  }
  printTimes(start, measured, { median: 0.5, most: 1 });
});
