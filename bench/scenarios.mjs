// What is measured: the same steps for every contender. A scenario calls `result(row, value)` as it goes, so that what was
// measured before a step failed is kept.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startBrowser } from './browser.mjs';
import { startProxy } from './proxy.mjs';
import { liveMessages, median, quantile, warmStarts } from './rows.mjs';
import { within } from './wait.mjs';

const unsentMessages = 1_000;
const historyMessages = 10_000;
const liveWarmUpMessages = 20;
const burstMessages = 2_000;
/** The others' messages that are there before this device writes: with its own, its clocks have five entries. */
const othersMessages = 4;
const checkedMessages = 50;

export const scenarios = { outbox, history, live, burst };

/** Appends to an empty device offline, then goes online. */
async function outbox({ stage, result, texts }) {
  const access = await stage.server.call('prepare', stage.session('outbox'), texts(0, othersMessages));
  const options = { ...stage.options, port: stage.server.port, access, device: 'A', strict: true };
  const first = await stage.openPage('A');
  await first.call('open', options);
  await first.call('connect', othersMessages);
  await first.close();

  const page = await stage.openPage('A');
  await page.call('open', options);
  const written = texts(othersMessages, unsentMessages);
  const appendMs = await page.profiled('append', () => page.call('appendOneByOne', written));
  result('append', unsentMessages / (appendMs / 1_000));
  const { start, end } = await page.profiled('drain', () => page.call('drain'));
  const total = othersMessages + unsentMessages;
  result('drain', (end ?? (await stage.server.call('has', stage.session('outbox'), total))) - start);
}

/** A new device gets a long history; later it starts again, some times, and gets one more message each time. */
async function history({ stage, result, texts }) {
  const { session, access } = await stage.history(() => texts(0, historyMessages));
  const count = session.length;
  const proxy = await startProxy(stage.server.port, stage.options);
  try {
    const options = { ...stage.options, host: proxy.host, port: proxy.port, access, device: 'A' };
    const page = await stage.openPage('A');
    await page.call('open', options);
    proxy.take();
    result('catch-up', await page.profiled('catch-up', () => page.call('catchUp', count)));
    const bytes = proxy.take();
    result('catch-up-down', bytes.down);
    result('catch-up-up', bytes.up);
    result('memory', (await page.heapBytes()) + (await page.call('wasmBytes')));
    await check(page, count, texts);
    await page.close();

    // The second load finds the files in the cache, the third what the browser compiled of them.
    for (let load = 0; load < 2; load += 1) {
      const again = await stage.openPage('A', { options, count });
      await again.call('finished');
      await again.close();
    }
    const starts = [];
    for (let start = 0; start < warmStarts; start += 1) starts.push(await warmStart(stage, session, options, proxy, texts));
    for (const row of ['warm', 'warm-down', 'warm-up']) result(row, median(starts.map((each) => each[row])));
  } finally {
    proxy.close();
  }
}

/** One message more, and a page that opens itself to get it. */
async function warmStart(stage, session, options, proxy, texts) {
  const [text] = texts(session.length, 1);
  await stage.server.call('append', session.name, text);
  session.length += 1;
  proxy.take();
  const page = await stage.openPage('A', { options, count: session.length }, 'warm');
  const finished = await page.profiled(null, () => page.call('finished'));
  if (finished.text !== text) throw new Error(`the new message says ${JSON.stringify(finished.text)}`);
  const { down, up } = proxy.take();
  await page.close();
  return { warm: finished.ms, 'warm-down': down, 'warm-up': up };
}

/** Wrong texts are no fast ones. */
async function check(page, count, texts) {
  const stored = await page.call('count');
  if (stored !== count) throw new Error(`${stored} messages are stored, not ${count}`);
  const indexes = Array.from({ length: checkedMessages }, (_, number) => Math.floor((number * (count - 1)) / (checkedMessages - 1)));
  const read = await page.call('read', indexes);
  const wrong = indexes.find((index, number) => read[number] !== texts(index, 1)[0]);
  if (wrong !== undefined) throw new Error(`message ${wrong} says something else than was written`);
}

/** Two devices that are online, the second listening. */
async function twoDevices(stage, name, texts) {
  const access = await stage.server.call('prepare', stage.session(name), texts(0, othersMessages));
  const pages = [];
  for (const device of ['A', 'B']) {
    const page = await stage.openPage(device);
    await page.call('open', { ...stage.options, port: stage.server.port, access, device });
    await page.call('connect', othersMessages);
    pages.push(page);
  }
  await pages[1].call('listen');
  return pages;
}

async function live({ stage, result, texts }) {
  const [a, b] = await twoDevices(stage, 'live', texts);
  const written = texts(othersMessages, liveWarmUpMessages + liveMessages);
  const [received, stored] = [[], []];
  const exchange = async () => {
    for (const [index, text] of written.entries()) {
      const [start, heard] = await Promise.all([a.call('appendOne', index + 1, text), b.call('heard', index + 1)]);
      if (index < liveWarmUpMessages) continue;
      received.push(heard.received - start);
      stored.push(heard.stored - start);
    }
  };
  await a.profiled('live-A', () => b.profiled('live-B', exchange));
  result('live', median(received));
  result('live-p99', quantile(received, 0.99));
  result('live-durable', median(stored));
  result('live-durable-p99', quantile(stored, 0.99));
}

async function burst({ stage, result, texts }) {
  const [a, b] = await twoDevices(stage, 'burst', texts);
  const written = texts(othersMessages, burstMessages);
  const run = () => Promise.all([a.call('appendAll', written), b.call('heard', burstMessages)]);
  const [start, { stored }] = await a.profiled('burst-A', () => b.profiled('burst-B', run));
  result('burst', burstMessages / ((stored - start) / 1_000));
}

/** What a scenario has around it: a contender's server, and a browser with a new profile. */
export async function openStage({ name, options, round, server, web, history, deadlineMs, profiles }) {
  const browser = await startBrowser();
  const script = readFileSync(join(import.meta.dirname, 'before-page.js'), 'utf8');
  // Two sites, so that the devices share no storage, no channel and no process.
  const hosts = { A: 'localhost', B: '127.0.0.1' };
  return {
    options,
    server,
    history,
    session: (scenario) => `${scenario}-${round}`,
    /** A tab of that device; with `selfStart` the page opens itself. */
    async openPage(device, selfStart, profile) {
      const page = await browser.newPage(script);
      const save = ({ profile: found }, title) => writeFileSync(join(profiles, `${name}-${title}-${round}.cpuprofile`), JSON.stringify(found));
      const begin = async () => {
        await page.command('Profiler.enable');
        await page.command('Profiler.setSamplingInterval', { interval: 200 });
        await page.command('Profiler.start');
      };
      if (profiles && profile) await begin();
      const hash = selfStart ? `#${encodeURIComponent(JSON.stringify(selfStart))}` : '';
      await page.navigate(`http://${hosts[device]}:${web.port}/${name}/${hash}`);
      return {
        call: (method, ...args) => within(`${name}: ${method} of ${device}`, page.call(method, ...args), deadlineMs),
        command: (...args) => page.command(...args),
        heapBytes: () => page.heapBytes(),
        close: () => page.close(),
        /** Does `work`, and keeps a CPU profile of it where one was asked for; without a title, of what began with the page. */
        async profiled(title, work) {
          if (!profiles) return work();
          if (title) await begin();
          const result = await work();
          save(await page.command('Profiler.stop'), title ?? profile);
          return result;
        },
      };
    },
    browserVersion: () => browser.version(),
    close: () => browser.stop(),
  };
}
