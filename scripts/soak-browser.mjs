// SIGKILLs Chromium while a page writes and syncs, starts it again over the same profile, and looks for everything that was confirmed.
//
// A kill may strike Chromium between two writes of one record of its own database (LevelDB). It goes on behind the half record at the
// next start, finds a checksum wrong at the start after that, and deletes all that the page had stored (B12). Its own log says when.
// Then everything that the relay had must come back, and what was confirmed and not sent from the second copy of the outbox, which is
// written behind the messages: only what was confirmed within the last moment before the kill may be gone, and is counted apart.
import { setTimeout as delay } from 'node:timers/promises';
import { startBrowser } from '../tests/e2e/harness/browser.mjs';
import { openDevice } from '../tests/e2e/harness/device.mjs';
import { duplicates } from '../tests/e2e/harness/lists.mjs';
import { PlainDevice, readLog } from '../tests/e2e/harness/plain-device.mjs';
import { startRelay } from '../tests/e2e/harness/relay.mjs';
import { until } from '../tests/e2e/harness/wait.mjs';
import { newWallet } from '../tests/e2e/harness/wallet.mjs';
import { elapsed, progress } from './shell.mjs';

const burstMessages = 400;
const lifeMs = { min: 20, max: 600 };
const peerMs = 10;
// In each life of the browser: otherwise a slow machine has more of them to read at each start, and is slower still.
const peerMessages = 60;
// It does so once in some 60 kills; we do it more often.
const killsPerDeletion = 5;
// How far behind the copy may be.
const copyLagMs = 50;

export async function soakBrowser(kills, random) {
  const start = performance.now();
  const relay = await startRelay({ auth: 'open' });
  const browser = await startBrowser();
  const wallets = [newWallet(), newWallet()];
  let peer = null;
  const ended = new AbortController();
  try {
    const device = await openDevice({ browser, relay, name: 'soak', wallet: wallets[0], peer: wallets[1], config: { maxBatchSize: 20 } });
    peer = new PlainDevice({ relay, sessionId: device.sessionId, deviceId: 'peer', wallet: wallets[1].address });
    peer.connect();
    const counts = { confirmed: 0, lost: 0, lost_from_last_moment: 0, twice: 0, altered: 0 };
    const texts = new Map();
    const confirmedAt = new Map();
    let struck = 0;
    const peerMay = { write: 0 };
    const writing = writeAsPeer(peer, peerMay, ended.signal);
    for (let kill = 1; kill <= kills; kill += 1) {
      peerMay.write = peerMessages;
      const written = Array.from({ length: burstMessages }, (_, index) => `life ${kill}, message ${index + 1}`);
      const before = device.sent.length;
      // Ends in an error when the browser dies; what was confirmed until then is in `sent`.
      const sending = device.send(...written).then(() => false, () => true);
      await until('the first is confirmed', () => device.sent.length > before, 60_000);
      await delay(lifeMs.min + random() * (lifeMs.max - lifeMs.min));
      const killedAt = performance.now();
      await browser.kill();
      struck += (await sending) ? 1 : 0;
      device.sent.slice(before).forEach((id, index) => {
        texts.set(id, written[index]);
        confirmedAt.set(id, device.sentAt[before + index]);
      });
      const deleted = browser.deletedDatabases;
      if (kill % killsPerDeletion === 0) browser.deleteDatabases();
      await browser.start();
      await device.open();
      if (browser.deletedDatabases > deleted) {
        for (const id of await refill({ relay, device, wallet: wallets[1], texts })) {
          if (confirmedAt.get(id) < killedAt - copyLagMs) continue;
          counts.lost_from_last_moment += 1;
          texts.delete(id);
        }
      }
      compare(await device.list(), texts, counts);
      progress(`${kill} of ${kills} kills, ${texts.size} messages confirmed, ${elapsed(start)}`, kill === kills);
    }
    ended.abort();
    const fromPeer = await writing;
    await until('everything is sent', async () => (await device.state()).queued === 0 && peer.outbox.length === 0, 60_000);
    await device.call('syncMessages');
    for (const { id, text } of fromPeer) texts.set(id, text);
    const log = await readLog({ relay, sessionId: device.sessionId, wallet: wallets[1].address });
    const shown = await device.list();
    compare(log, texts, counts);
    compare(shown, texts, counts);
    const unequal = shown.length === log.length && shown.every(({ id }, index) => id === log[index].id) ? 0 : 1;
    counts.confirmed = texts.size - fromPeer.length;
    const { lost, twice, altered } = counts;
    const ok = lost + twice + altered + unequal + peer.moved === 0 && struck > 0;
    const seconds = Math.round((performance.now() - start) / 1000);
    return { ok, browser_kills: kills, kills_while_sending: struck, databases_deleted: browser.deletedDatabases, ...counts, received: fromPeer.length, in_log: log.length, lists_that_differ: unequal, moved: peer.moved, seconds };
  } finally {
    ended.abort();
    peer?.close();
    await browser.stop();
    await relay.stop();
  }
}

/** After the browser has deleted the database: waits until all is sent and all that the relay has is back; what it never had. */
async function refill({ relay, device, wallet, texts }) {
  await until('what was left is sent', async () => (await device.state()).queued === 0, 60_000);
  const log = await readLog({ relay, sessionId: device.sessionId, wallet: wallet.address });
  const known = new Set(log.map(({ id }) => id));
  await until('what the relay has is back', async () => (await device.state()).cursor >= log.length, 60_000);
  return [...texts.keys()].filter((id) => !known.has(id));
}

/** The other wallet writes what it may, so that the page also stores what arrives; what it wrote. */
async function writeAsPeer(peer, may, signal) {
  const written = [];
  while (!signal.aborted) {
    await delay(peerMs);
    if (may.write === 0 || peer.outbox.length > 20) continue;
    may.write -= 1;
    const text = `peer writes ${written.length + 1}`;
    written.push({ id: peer.write(text), text });
  }
  return written;
}

/** Every confirmed message must be in the list once, as it was written; and no text twice, confirmed or not. */
export function compare(list, texts, counts) {
  const found = new Map(list.map(({ id, text }) => [id, text]));
  for (const [id, text] of texts) {
    if (!found.has(id)) counts.lost += 1;
    else if (found.get(id) !== text) counts.altered += 1;
  }
  counts.twice += duplicates(list.map(({ id }) => id)).length + duplicates(list.map(({ text }) => text)).length;
}
