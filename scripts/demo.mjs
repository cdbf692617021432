// The seed's scenarios, told on a terminal: real pages in a headless Chromium, and a relay of their own.
import { startBrowser } from '../tests/e2e/harness/browser.mjs';
import { openDevice } from '../tests/e2e/harness/device.mjs';
import { hashOf } from '../tests/e2e/harness/lists.mjs';
import { startRelay } from '../tests/e2e/harness/relay.mjs';
import { until } from '../tests/e2e/harness/wait.mjs';
import { newWallet } from '../tests/e2e/harness/wallet.mjs';
import { elapsed } from './shell.mjs';

const [bold, dim, plain] = process.stdout.isTTY ? ['\x1b[1m', '\x1b[2m', '\x1b[0m'] : ['', '', ''];

/** Tells the story; true if every device ends with the same list. */
export async function demo() {
  const relay = await startRelay({ auth: 'open' });
  const browser = await startBrowser();
  try {
    return await tell(relay, browser);
  } finally {
    await browser.stop();
    await relay.stop();
  }
}

async function tell(relay, browser) {
  const alice = newWallet();
  const bob = newWallet();
  const start = performance.now();
  const open = (name, wallet) => openDevice({ browser, relay, name, wallet, peer: wallet === alice ? bob : alice });
  const reach = (devices, count) => until(`${count} messages on every device`, async () => {
    const states = await Promise.all(devices.map((device) => device.state()));
    return states.every(({ cursor, queued }) => cursor === count && queued === 0);
  });

  console.log(`${bold}SolConnect Sync${plain}: two people, three devices, one relay at ${relay.endpoint}`);
  const phone = await open("Alice's phone", alice);
  const laptop = await open("Alice's laptop", alice);
  const tablet = await open("Bob's tablet", bob);
  const three = [phone, laptop, tablet];

  step(1, 'All devices are online');
  await says(phone, 'Hi Bob, are you there?');
  await reach(three, 1);
  await says(tablet, 'I am. What a quiet morning.');
  await reach(three, 2);
  await says(laptop, 'Same person, other device.');
  await reach(three, 3);
  await show(three);

  step(2, "Alice's phone goes offline, and everybody writes");
  await phone.setOffline(true);
  await says(phone, 'Written in a tunnel.');
  await says(phone, 'Still in the tunnel.');
  await says(tablet, 'Alice? Did we lose you?');
  await reach([laptop, tablet], 4);
  await says(laptop, 'My phone is on the train.');
  await reach([laptop, tablet], 5);
  await show(three);
  console.log(`   ${dim}the page on the phone is reloaded: its outbox is on its disk${plain}`);
  await phone.reload();
  await show([phone]);

  step(3, 'It returns and syncs');
  await phone.setOffline(false);
  await reach(three, 7);
  await show(three);
  const conflicts = (await tablet.events('onConflictDetected')).flatMap(([, conflicts]) => conflicts);
  console.log(`   ${dim}${conflicts.length} messages did not know of others when they were written; all are kept, in one order${plain}`);

  step(4, 'Bob buys a new device: it gets the history');
  const watch = await open("Bob's watch", bob);
  const four = [...three, watch];
  await reach(four, 7);
  const hashes = await show(four);

  console.log(`\n${bold}The list, on every device${plain}`);
  const names = new Map(four.map((device) => [device.id, device.name]));
  for (const { sequenceNumber, text, deviceId } of await watch.list()) console.log(`   ${String(sequenceNumber).padStart(2)}  ${names.get(deviceId).padEnd(16)}${text}`);
  const agreed = new Set(hashes).size === 1;
  console.log(agreed ? `\nAll ${four.length} devices show the same list (${elapsed(start)}).` : '\nThe devices do NOT show the same list.');
  return agreed;
}

function step(number, title) {
  console.log(`\n${bold}${number}  ${title}${plain}`);
}

async function says(device, text) {
  await device.send(text);
  console.log(`   ${device.name.padEnd(16)}says  ${text}`);
}

/** One line a device: how much it has, how much waits, and a name for its list. Gives those names. */
async function show(devices) {
  const hashes = [];
  for (const device of devices) {
    const list = await device.list();
    const { cursor, queued, connection } = await device.state();
    hashes.push(hashOf(list));
    console.log(`   ${device.name.padEnd(16)}${connection.padEnd(11)}${cursor} synced, ${queued} waiting   list ${hashes.at(-1)}`);
  }
  return hashes;
}
