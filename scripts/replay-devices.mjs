// Devices come, are removed, and come back by a code alone, while an encrypted conversation is replayed.
import { startBrowser } from '../tests/e2e/harness/browser.mjs';
import { openDevice } from '../tests/e2e/harness/device.mjs';
import { inJournal, inMemory } from '../tests/e2e/harness/traces.mjs';
import { until } from '../tests/e2e/harness/wait.mjs';
import { pick } from './corpus.mjs';

const deadlineMs = 120_000;
/** So many texts are looked for at the relay, in six forms each. */
const soughtTexts = 100;
/** A shorter text stands by chance in so many bytes. */
const soughtLength = 16;

/** Makes one change to the devices of a world, at random; `counts` says which. Nothing else happens meanwhile. */
export async function changeDevices(world, counts, random) {
  const changes = [[join, 'joined'], [recover, 'recovered'], ...(removable(world).length > 0 ? [[remove, 'removed']] : [])];
  const [change, name] = pick(random, changes);
  await change(world, random);
  counts[name] += 1;
}

const ofWallet = (world, wallet) => world.devices.filter((device) => device.wallet === wallet);

/** Those whose wallet keeps another device. */
const removable = (world) => world.devices.filter((device) => ofWallet(world, device.wallet).length > 1);

/** Another device like this one, in a browser of its own. */
async function newDevice(world, { wallet, peer, config }) {
  world.made += 1;
  const device = await openDevice({ browser: await startBrowser(), relay: world.relay, name: `device-${world.made}`, wallet, peer, config, openDeadlineMs: deadlineMs });
  world.devices.push(device);
  return device;
}

/** A new device, which one that is there approves. */
async function join(world, random) {
  const like = pick(random, world.devices);
  await like.setOffline(false);
  const device = await newDevice(world, like);
  await until(`${device.name} reads all`, () => readsAll(world, device), deadlineMs);
}

/** A new device, with nobody of its wallet there and a code alone. */
async function recover(world, random) {
  const like = pick(random, world.devices);
  await like.setOffline(false);
  const code = await like.call('createRecoveryCode');
  const earlier = ofWallet(world, like.wallet);
  await Promise.all(earlier.map((device) => device.close()));
  const device = await newDevice(world, like);
  await until(`${device.name} is listed`, async () => (await device.call('getDevices')).some(({ isThisDevice }) => isThisDevice), deadlineMs);
  await device.call('recover', code);
  await until(`${device.name} reads all by the code alone`, () => readsAll(world, device), deadlineMs);
  for (const each of earlier) await each.open();
}

/** A device is removed by another one of its wallet, once all that it wrote is out. */
async function remove(world, random) {
  const device = pick(random, removable(world));
  const remover = pick(random, ofWallet(world, device.wallet).filter((other) => other !== device));
  for (const each of [device, remover]) await each.setOffline(false);
  await until(`all of ${device.name} is out`, async () => (await device.state()).queued === 0, deadlineMs);
  await remover.call('removeDevice', device.id);
  world.devices.splice(world.devices.indexOf(device), 1);
  world.removed.push({ device, last: (await device.state()).cursor });
}

/** Whether a device shows everything that others of it show as delivered. */
async function readsAll(world, device) {
  const others = world.devices.filter((other) => other !== device && other.page && !other.page.isClosed());
  const delivered = (await Promise.all(others.map((other) => other.list()))).flat().filter(({ sequenceNumber }) => sequenceNumber !== undefined);
  const shown = new Set((await device.list()).map(({ id }) => id));
  return delivered.every(({ id }) => shown.has(id));
}

/** What members could not read, what removed devices read of later messages, and which texts stand at the relay. */
export async function judgeReaders({ devices, removed, relay, texts }) {
  const states = await Promise.all(devices.map((device) => device.call('getEncryption', device.sessionId)));
  const later = await Promise.all(removed.map(async ({ device, last }) => (await device.list()).filter(({ sequenceNumber }) => sequenceNumber > last).length));
  const long = [...new Set(texts.values())].filter((text) => text.length >= soughtLength);
  const every = Math.max(1, Math.floor(long.length / soughtTexts));
  const sought = long.filter((_, index) => index % every === 0).slice(0, soughtTexts);
  const atRelay = new Set([...inJournal(relay, sought), ...inMemory(relay, sought)]);
  return {
    unreadable: states.reduce((sum, { unreadEpochCount }) => sum + unreadEpochCount, 0),
    readable_by_removed: later.reduce((sum, count) => sum + count, 0),
    readable_at_relay: atRelay.size,
    sought_at_relay: sought.length,
    epochs: states[0].epoch?.number ?? 0,
  };
}
