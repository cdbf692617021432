// One replay: devices that write, are disturbed at random, and must agree in the end.
import { startBrowser } from '../tests/e2e/harness/browser.mjs';
import { openDevice } from '../tests/e2e/harness/device.mjs';
import { duplicates, hashOf } from '../tests/e2e/harness/lists.mjs';
import { startRelay } from '../tests/e2e/harness/relay.mjs';
import { until } from '../tests/e2e/harness/wait.mjs';
import { newWallet } from '../tests/e2e/harness/wallet.mjs';
import { pick } from './corpus.mjs';
import { changeDevices, judgeReaders } from './replay-devices.mjs';
import { elapsed, progress, say } from './shell.mjs';

const turnMessages = 20;
const convergeDeadlineMs = 180_000;

/**
 * Replays `messages` {from, text} on that many devices with that many kills and, where it is encrypted, changes of devices; the report, and
 * whether nothing went wrong (`ok`).
 */
export async function replay(messages, { devices, kills, changes, auth, encryption, random }) {
  const start = performance.now();
  const isEncrypted = encryption === 'required';
  const world = await openWorld(devices, auth, encryption);
  try {
    const counts = await play(world, messages, { kills, changes: isEncrypted ? changes : 0 }, random, start);
    const converged = await heal(world);
    const verdict = await judge(world);
    const readers = isEncrypted ? await judgeReaders(world) : {};
    const { lost, duplicated, out_of_order, altered } = verdict;
    const { unreadable = 0, readable_by_removed = 0, readable_at_relay = 0 } = readers;
    const wrong = lost + duplicated + out_of_order + altered + unreadable + readable_by_removed + readable_at_relay;
    const seconds = Number(((performance.now() - start) / 1000).toFixed(1));
    return { ok: converged && wrong === 0, ...verdict, ...readers, converged, ...counts, seconds };
  } finally {
    await Promise.all([...world.devices, ...world.removed.map(({ device }) => device)].map(({ browser }) => browser.stop()));
    await world.relay.stop();
  }
}

/** A relay and devices of two wallets, each in a browser of its own. */
async function openWorld(count, auth, encryption) {
  const relay = await startRelay({ auth });
  const config = { ...signing(relay, auth), ...(encryption === 'required' ? { encryption, deviceApproval: 'auto' } : {}) };
  const wallets = [newWallet(), newWallet()];
  const devices = [];
  for (let index = 0; index < count; index += 1) {
    const browser = await startBrowser();
    devices.push(await openDevice({ browser, relay, name: `device-${index + 1}`, wallet: wallets[index % 2], peer: wallets[(index + 1) % 2], config }));
  }
  return { relay, wallets, devices, made: count, changes: 0, removed: [], texts: new Map() };
}

/** What devices are told so that they sign in to a relay where they must. */
export const signing = (relay, auth) => (auth === 'wallet' ? { domains: [new URL(relay.url).host], encryption: 'off' } : {});

/** Sends everything, in turns; each turn disturbs some devices while they send. */
async function play(world, messages, { kills, changes }, random, start) {
  const counts = { reloads: 0, went_offline: 0, killed_tabs: 0, killed_browsers: 0, killed_relays: 0, interrupted_sends: 0 };
  if (changes > 0) Object.assign(counts, { joined: 0, recovered: 0, removed: 0 });
  const deviceOf = new Map();
  const turns = Math.ceil(messages.length / turnMessages);
  const spread = (count) => Array.from({ length: count }, (_, index) => Math.floor(((index + random()) * turns) / count));
  const killTurns = spread(kills);
  const changeTurns = spread(changes);
  for (let turn = 0; turn < turns; turn += 1) {
    for (const _change of changeTurns.filter((each) => each === turn)) await changeDevices(world, counts, random);
    const outgoing = new Map(world.devices.map((device) => [device, []]));
    for (const { from, text } of messages.slice(turn * turnMessages, (turn + 1) * turnMessages)) {
      if (!world.devices.includes(deviceOf.get(from))) deviceOf.set(from, pick(random, world.devices));
      outgoing.get(deviceOf.get(from)).push(text);
    }
    const { relayDies, disturbances } = drawDisturbances(world, killTurns.filter((each) => each === turn).length, random);
    const deeds = world.devices.map((device) => takeTurn(world, device, outgoing.get(device), disturbances.get(device), counts));
    await Promise.all(relayDies ? [...deeds, killRelay(world, counts)] : deeds);
    const done = Math.min((turn + 1) * turnMessages, messages.length);
    progress(`${done} of ${messages.length} messages, ${elapsed(start)}`, done === messages.length);
  }
  return counts;
}

/** Which devices are disturbed in this turn, and how. Where the relay is killed nothing else is: pages could not be loaded. */
function drawDisturbances(world, kills, random) {
  const disturbances = new Map();
  for (const device of world.devices) {
    if (random() < 0.2) disturbances.set(device, pick(random, ['network', 'network', 'reload']));
  }
  for (let kill = 0; kill < kills; kill += 1) {
    const kind = pick(random, ['tab', 'browser', 'relay']);
    if (kind === 'relay') return { relayDies: true, disturbances: new Map() };
    disturbances.set(pick(random, world.devices), kind);
  }
  return { relayDies: false, disturbances };
}

/** Sends these texts while the disturbance strikes; what was not confirmed is sent again, as its writer would. */
async function takeTurn(world, device, texts, disturbance, counts) {
  const confirmedBefore = device.sent.length;
  const sending = texts.length === 0 ? Promise.resolve([]) : device.send(...texts);
  const outcome = sending.then((ids) => ids, () => null);
  if (disturbance) await disturb(device, disturbance, counts);
  const ids = await outcome;
  const confirmed = device.sent.slice(confirmedBefore);
  confirmed.forEach((id, index) => world.texts.set(id, texts[index]));
  if (ids) return;
  counts.interrupted_sends += 1;
  await takeTurn(world, device, texts.slice(confirmed.length), null, counts);
}

async function disturb(device, disturbance, counts) {
  if (disturbance === 'network') {
    counts.went_offline += device.offline ? 0 : 1;
    await device.setOffline(!device.offline);
  } else if (disturbance === 'reload') {
    counts.reloads += 1;
    await device.reload();
  } else if (disturbance === 'tab') {
    counts.killed_tabs += 1;
    await device.crash();
    await device.open();
  } else {
    counts.killed_browsers += 1;
    await device.browser.kill();
    await device.browser.start();
    await device.open();
  }
}

async function killRelay(world, counts) {
  counts.killed_relays += 1;
  await world.relay.kill();
  await world.relay.start();
}

/** Ends every disturbance and waits until all have everything; false where they do not within the deadline. */
async function heal(world) {
  for (const device of world.devices) await device.setOffline(false);
  let states;
  const settled = async () => {
    states = await Promise.all(world.devices.map((device) => device.state()));
    return states.every(({ queued }) => queued === 0);
  };
  try {
    await until('all outboxes are empty', settled, convergeDeadlineMs);
    // Everything is in the relay's log now; a last sync brings each device to its head.
    await Promise.all(world.devices.map((device) => device.call('syncMessages')));
    await until('all devices are at the same place', async () => (await settled()) && states.every(({ cursor }) => cursor === states[0].cursor), convergeDeadlineMs);
    return true;
  } catch (error) {
    say(`${error.message}: ${JSON.stringify(states)}`);
    return false;
  }
}

/**
 * Compares what was confirmed to its writers with what every device shows; `texts` maps ids to what was written. Devices that were
 * `removed` wrote, and show nothing more.
 * `unconfirmed` are shown messages whose `sendMessage` was cut off by a reload or a kill before it could answer: they were stored, and sent again.
 */
export async function judge({ devices, removed = [], texts }) {
  const lists = await Promise.all(devices.map((device) => device.list()));
  const shown = lists.map((list) => new Map(list.map((message) => [message.id, message])));
  const writers = [...devices, ...removed.map(({ device }) => device)];
  const answers = writers.flatMap((device) => device.sent);
  const sent = new Set(answers);
  // A device that was removed had all of its own delivered before.
  const acknowledged = writers.flatMap((device, index) => device.sent.filter((id) => (shown[index] ?? shown[0]).get(id)?.sequenceNumber !== undefined));
  const places = Math.max(...lists.map((list) => list.length));
  let outOfOrder = 0;
  for (let place = 0; place < places; place += 1) {
    if (lists.some((list) => list[place]?.id !== lists[0][place]?.id)) outOfOrder += 1;
  }
  devices.forEach((device, index) => {
    const place = new Map(lists[index].map(({ id }, position) => [id, position]));
    for (let own = 1; own < device.sent.length; own += 1) {
      if (place.get(device.sent[own]) < place.get(device.sent[own - 1])) outOfOrder += 1;
    }
  });
  const count = (list, fits) => list.filter(fits).length;
  return {
    sent: answers.length,
    acknowledged: acknowledged.length,
    received: Object.fromEntries(devices.map((device, index) => [device.name, lists[index].length])),
    lost: count([...sent], (id) => shown.some((messages) => !messages.has(id))),
    duplicated: [answers, ...lists.map((list) => list.map(({ id }) => id)), ...writers.map(({ heard }) => heard)].flatMap(duplicates).length,
    out_of_order: outOfOrder,
    altered: count([...sent], (id) => texts.has(id) && shown.some((messages) => messages.has(id) && messages.get(id).text !== texts.get(id))),
    unconfirmed: count(lists[0], ({ id }) => !sent.has(id)),
    lists: [...new Set(lists.map(hashOf))],
  };
}
