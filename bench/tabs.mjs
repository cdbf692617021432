// npm run bench:tabs: what several tabs of one device cost, and how long the others wait when the one that owns ends.
import { setTimeout as delay } from 'node:timers/promises';
import { commandLine } from '../scripts/options.mjs';
import { main, progress } from '../scripts/shell.mjs';
import { machine, prepare, printTimes } from './pages.mjs';

const about = `Measures in Chromium, with two tabs of one device, of which one is seen: how long a second tab takes to be usable, how much later than
the owner a follower hears of a message, and the longest time without an answer in a tab that asks on and on, when the owner is closed, crashes, is
kept for going back, is frozen, or is frozen without notice.`;

/** How the owner ends. */
const endings = {
  'is closed': (owner) => owner.close(),
  'crashes': (owner) => owner.crash(),
  'goes to the bfcache': (owner) => owner.navigate('data:text/html,elsewhere'),
  'is frozen': (owner) => owner.freeze(),
  'is frozen without notice': async (owner) => {
    // The driver alone hears of it.
    await owner.evaluate(() => addEventListener('freeze', (event) => {
      globalThis[Symbol.for('is frozen')] = true;
      event.stopImmediatePropagation();
    }, { capture: true }));
    await owner.freeze();
  },
};

main(import.meta.url, async () => {
  const { tries } = commandLine('npm run bench:tabs --', about, { tries: { value: 'N', from: 1, default: 50, means: 'how often' } });
  await prepare();
  // What these import may only now be installed.
  const { launch } = await import('../tests/e2e/harness/engines.mjs');
  const { startRelay } = await import('../tests/e2e/harness/relay.mjs');
  const { newWallet } = await import('../tests/e2e/harness/wallet.mjs');
  const { until } = await import('../tests/e2e/harness/wait.mjs');
  const relay = await startRelay({ auth: 'open' });
  const browser = await launch('chromium');
  const start = machine();
  const rows = { 'a second tab is usable': [], 'a follower hears later by': [] };
  for (const how of Object.keys(endings)) rows[`no answer when the owner ${how}`] = [];
  let count = 0;

  /** Opens a tab; gives it, and how long the SDK took. */
  async function open(wallet, peer, databaseName) {
    const tab = await browser.open(relay.url);
    await until('the page is there', () => tab.evaluate('!!globalThis.device'));
    const config = { relayEndpoint: relay.endpoint, databaseName };
    const ms = await tab.evaluate(async (options) => {
      const start = performance.now();
      await globalThis.device.open(options);
      return performance.now() - start;
    }, { config, wallet, peer: peer.address, joins: true });
    return { tab, ms };
  }

  const role = (tab, role) => until(role, () => tab.evaluate((role) => globalThis.device.sdk.getTabRole().data === role, role));

  async function takeover(end) {
    const [wallet, peer] = [newWallet(), newWallet()];
    const databaseName = `bench-${(count += 1)}`;
    const { tab: follower } = await open(wallet, peer, databaseName);
    const { tab: owner, ms } = await open(wallet, peer, databaseName);
    rows['a second tab is usable'].push(ms);
    await role(owner, 'owner');
    await follower.evaluate(() => {
      const { sdk, sessionId } = globalThis.device;
      globalThis.longestMs = 0;
      const ask = async () => {
        for (let last = performance.now(); !globalThis.isOver;) {
          await sdk.getStoredMessages(sessionId, 1);
          globalThis.longestMs = Math.max(globalThis.longestMs, performance.now() - last);
          last = performance.now();
        }
      };
      void ask();
    });
    await delay(100);
    await follower.evaluate('globalThis.longestMs = 0');
    await end(owner);
    await follower.show();
    await role(follower, 'owner');
    await delay(100);
    const gap = await follower.evaluate('globalThis.isOver = true, globalThis.longestMs');
    for (const tab of [owner, follower]) if (!tab.isGone) await tab.close();
    return gap;
  }

  async function live(messages) {
    const [wallet, peer] = [newWallet(), newWallet()];
    const tabs = [await open(wallet, peer, 'bench-live'), await open(wallet, peer, 'bench-live')].map(({ tab }) => tab);
    const { tab: sender } = await open(peer, wallet, 'bench-peer');
    await role(tabs[0], 'follower').catch(() => role(tabs[1], 'follower'));
    for (const tab of tabs) {
      await tab.evaluate(() => {
        globalThis.times = [];
        const { sdk, sessionId } = globalThis.device;
        return sdk.subscribeToMessages(sessionId, () => globalThis.times.push(performance.timeOrigin + performance.now())).then(() => null);
      });
    }
    await sender.evaluate(async (messages) => {
      const { sdk, sessionId } = globalThis.device;
      for (let place = 0; place < messages; place += 1) {
        await sdk.sendMessage(sessionId, `message ${place}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }, messages);
    for (const tab of tabs) await until('all has come', () => tab.evaluate((messages) => globalThis.times.length === messages, messages));
    const isOwner = await tabs[0].evaluate(() => globalThis.device.sdk.getTabRole().data === 'owner');
    const [owner, follower] = await Promise.all((isOwner ? tabs : [...tabs].reverse()).map((tab) => tab.evaluate('globalThis.times')));
    rows['a follower hears later by'].push(...follower.map((time, place) => time - owner[place]));
    for (const tab of [...tabs, sender]) await tab.close();
  }

  try {
    await live(tries * 4);
    for (const [how, end] of Object.entries(endings)) {
      for (let place = 0; place < tries; place += 1) {
        rows[`no answer when the owner ${how}`].push(await takeover(end));
        progress(`${how}: ${place + 1} of ${tries}`, place + 1 === tries);
      }
    }
  } finally {
    await browser.stop();
    await relay.stop();
  }
  printTimes(start, rows, { median: 0.5, p99: 0.99 });
});
