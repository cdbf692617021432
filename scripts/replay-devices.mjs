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

/**
 * Makes one change to the devices of a wallet, at random; `counts` says which. Nothing else happens meanwhile. Wallets take turns, because an
 * account has so many changes a day.
 */
export async function changeDevices(world, counts, random) {
  world.changes += 1;
  const devices = ofWallet(world, world.wallets[world.changes % world.wallets.length]);
  const changes = [[join, 'joined'], [recover, 'recovered'], ...(devices.length > 1 ? [[remove, 'removed']] : [])];
  const [change, name] = pick(random, changes);
  await change(world, devices, random);
  counts[name] += 1;
}

const ofWallet = (world, wallet) => world.devices.filter((device) => device.wallet === wallet);

/** A device as its account lists it. */
const own = async (device) => (await device.call('getDevices')).find(({ isThisDevice }) => isThisDevice);

/** Waits until a device shows everything that others show as delivered; where it does not, says what it lacks. */
async function readsAll(world, device, how) {
  const others = world.devices.filter((other) => other !== device && !other.page.isClosed());
  const reads = async () => {
    const delivered = (await Promise.all(others.map((other) => other.list()))).flat().filter(({ sequenceNumber }) => sequenceNumber !== undefined);
    const shown = new Set((await device.list()).map(({ id }) => id));
    return delivered.every(({ id }) => shown.has(id));
  };
  await until(`${device.name} reads all ${how}`, reads, deadlineMs).catch(async (error) => {
    const told = await Promise.all([device, ...others].map(async (each) => [each.name, await each.call('getEncryption', each.sessionId), await each.events('onWarning')]));
    throw new Error(`${error.message}: ${JSON.stringify(told)}`, { cause: error });
  });
}

/** Another device like this one, in a browser of its own. */
async function newDevice(world, { wallet, peer, config }) {
  world.made += 1;
  const device = await openDevice({ browser: await startBrowser(), relay: world.relay, name: `device-${world.made}`, wallet, peer, config, openDeadlineMs: deadlineMs });
  world.devices.push(device);
  return device;
}

/** A new device, which one that is there approves. */
async function join(world, devices, random) {
  const like = pick(random, devices);
  await like.setOffline(false);
  await readsAll(world, await newDevice(world, like), 'once it is approved');
}

/** A new device, with nobody of its wallet there and a code alone. */
async function recover(world, earlier, random) {
  const like = pick(random, earlier);
  await like.setOffline(false);
  await until(`${like.name} is approved`, () => own(like).then((own) => own?.isApproved), deadlineMs);
  const code = await like.call('createRecoveryCode');
  await Promise.all(earlier.map((device) => device.close()));
  const device = await newDevice(world, like);
  await until(`${device.name} is listed`, () => own(device), deadlineMs);
  await device.call('recover', code);
  await readsAll(world, device, 'by the code alone');
  for (const each of earlier) await each.open();
}

/** A device is removed by another one of its wallet, once all that they wrote is out; with it fall those that it approved. */
async function remove(world, devices, random) {
  const device = pick(random, devices);
  const remover = pick(random, devices.filter((other) => other !== device));
  for (const each of devices) await each.setOffline(false);
  for (const each of devices) await until(`all of ${each.name} is out`, async () => (await each.state()).queued === 0, deadlineMs);
  await remover.call('removeDevice', device.id);
  const listed = new Set((await remover.call('getDevices')).map(({ id }) => id));
  for (const fallen of devices.filter(({ id }) => !listed.has(id))) {
    world.devices.splice(world.devices.indexOf(fallen), 1);
    world.removed.push({ device: fallen, last: (await fallen.state()).cursor });
  }
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
