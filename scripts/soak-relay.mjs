// SIGKILLs the relay under load, and compares what it acknowledged with what its journal holds in the end.
import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises';
import { PlainDevice, readLog } from '../tests/e2e/harness/plain-device.mjs';
import { startRelay } from '../tests/e2e/harness/relay.mjs';
import { until } from '../tests/e2e/harness/wait.mjs';
import { newWallet } from '../tests/e2e/harness/wallet.mjs';
import { duplicates } from '../tests/e2e/harness/lists.mjs';
import { elapsed, progress } from './shell.mjs';

const sessionCount = 3;
const unacknowledgedMax = 60;
const writeMsMax = 15;
const lifeMs = { min: 30, max: 400 };

export async function soakRelay(kills, random) {
  const start = performance.now();
  const relay = await startRelay({ auth: 'open', www: null });
  const sessions = Array.from({ length: sessionCount }, (_, index) => openSession(relay, index));
  const devices = sessions.flatMap((session) => session.devices);
  const ended = new AbortController();
  try {
    for (const device of devices) device.connect();
    const writing = devices.map((device) => write(device, random, ended.signal));
    for (let kill = 1; kill <= kills; kill += 1) {
      await until('every device is connected', () => devices.every((device) => device.isConnected));
      await delay(lifeMs.min + random() * (lifeMs.max - lifeMs.min));
      // At a moment at which something is on its way or being stored.
      while (!devices.some((device) => device.outbox.length > 0)) await immediate();
      await relay.kill();
      await relay.start();
      progress(`${kill} of ${kills} kills, ${devices.reduce((sum, device) => sum + device.acknowledged.size, 0)} messages acknowledged, ${elapsed(start)}`, kill === kills);
    }
    ended.abort();
    const written = (await Promise.all(writing)).flat();
    await until('everything is acknowledged', () => devices.every((device) => device.outbox.length === 0), 60_000);
    const read = (sessionId) => readLog({ relay, sessionId, wallet: newWallet().address });
    const verdict = await judge(sessions, written, read);
    const { lost, twice, moved, altered, refused } = verdict;
    const ok = lost + twice + moved + altered + refused === 0;
    return { ok, relay_kills: kills, written: written.length, ...verdict, seconds: Math.round((performance.now() - start) / 1000) };
  } finally {
    ended.abort();
    for (const device of devices) device.close();
    await relay.stop();
  }
}

/** Two v1 devices of two wallets and a seed client, all of which write. */
function openSession(relay, index) {
  const sessionId = `soak-${index}`;
  const device = (name, isSeed) => new PlainDevice({ relay, sessionId, deviceId: `${name}-${index}`, wallet: newWallet().address, isSeed });
  return { sessionId, devices: [device('one', false), device('two', false), device('seed', true)] };
}

/** Writes until it is told to end; what it wrote. */
async function write(device, random, signal) {
  const written = [];
  while (!signal.aborted) {
    await delay(random() * writeMsMax);
    for (let count = Math.ceil(random() * 3); count > 0 && device.outbox.length < unacknowledgedMax; count -= 1) {
      const text = `${device.deviceId} writes ${written.length + 1}`;
      written.push({ id: device.write(text), text });
    }
  }
  return written;
}

/** Compares what was acknowledged, and all that was written, with what `read` gives of each session's log. */
export async function judge(sessions, written, read) {
  const texts = new Map(written.map(({ id, text }) => [id, text]));
  const found = new Set();
  const counts = { acknowledged: 0, lost: 0, twice: 0, moved: 0, altered: 0, refused: 0 };
  for (const { sessionId, devices } of sessions) {
    const log = await read(sessionId);
    counts.twice += duplicates(log.map(({ id }) => id)).length + duplicates(log.map(({ text }) => text)).length;
    for (const { id, text } of log) {
      found.add(id);
      counts.altered += texts.get(id) === text ? 0 : 1;
    }
    for (const device of devices) {
      counts.acknowledged += device.acknowledged.size;
      for (const [id, sequence] of device.acknowledged) counts.lost += log[sequence - 1]?.id === id ? 0 : 1;
      counts.moved += device.moved + device.log.filter(({ id }, index) => log[index]?.id !== id).length;
      counts.refused += device.refusals.length;
    }
  }
  // Everything was acknowledged in the end, so all that was written is there.
  counts.lost += written.filter(({ id }) => !found.has(id)).length;
  return counts;
}
