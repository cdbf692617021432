// Ends without warning, each at a moment that a held cable makes certain: some messages are acknowledged, some are not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startBrowser } from './harness/browser.mjs';
import { cast, scene } from './harness/scene.mjs';
import { converge, duplicates, texts } from './harness/lists.mjs';
import { startWire } from './harness/wire.mjs';
import { until, within } from './harness/wait.mjs';

const stage = scene();

// Small batches, so that 500 messages are many frames: some 500 bytes up and 150 bytes down for each 20.
const overCable = (wire) => ({ relayEndpoint: wire.endpoint, maxBatchSize: 20, enableCompression: false });
const written = texts('message', 500);

async function cable(t) {
  const wire = await startWire(stage.relay.port);
  t.after(() => wire.close());
  return wire;
}

/** A device that has written 500 messages offline and hangs on a cable, and a peer that waits for them. */
async function fiveHundredQueued(t, browser = stage.browser) {
  const wire = await cable(t);
  const { device } = cast(t, stage);
  const bob = await device('bob');
  const alice = await device('alice', { offline: true, config: overCable(wire), browser });
  const ids = await alice.sendAtOnce(written);
  return { wire, alice, bob, ids };
}

/** Asserts that the cable holds at a moment that is worth a kill: some are acknowledged to the device, and some are not. */
async function midway(alice) {
  // What has come through is stored before it counts.
  await until('the device knows of some', async () => (await alice.state()).queued < 500);
  const { queued } = await alice.state();
  assert.ok(queued > 0 && queued < 500, `${queued} of 500 are still queued`);
}

async function deliveredOnce(alice, bob, ids) {
  const list = await converge([alice, bob], 500);
  assert.deepEqual(list.map(({ id }) => id), ids, 'all of them, once, in the order they were written (I2, I3, I8)');
  assert.deepEqual(list.map(({ text }) => text), written);
  assert.deepEqual(bob.heard, ids, 'each heard once (I6)');
}

test('a tab killed with acknowledgements outstanding delivers each message once (F36, F1, I3)', { timeout: 90_000 }, async (t) => {
  const { wire, alice, bob, ids } = await fiveHundredQueued(t);
  const held = wire.holdAfter('down', 1_500);
  await alice.setOffline(false);
  await within('acknowledgements are held back', held);
  await midway(alice);
  await alice.crash();
  wire.cut();
  await alice.open();
  await deliveredOnce(alice, bob, ids);
});

test('a tab killed in mid-frame delivers each message once (F36, F7)', { timeout: 90_000 }, async (t) => {
  const { wire, alice, bob, ids } = await fiveHundredQueued(t);
  const held = wire.holdAfter('up', 7_000);
  await alice.setOffline(false);
  await within('the updates are held back', held);
  await midway(alice);
  await alice.crash();
  wire.cut();
  alice.offline = true;
  await alice.open();
  const { queued, cursor } = await alice.state();
  assert.ok(queued > 0 && queued <= 500 - cursor, `what is not in the log is still queued: ${queued} queued, ${cursor} in the log (I2)`);
  await alice.setOffline(false);
  await deliveredOnce(alice, bob, ids);
});

test('a browser killed while sending delivers each message once (F36, B14)', { timeout: 90_000 }, async (t) => {
  const browser = await startBrowser();
  t.after(() => browser.stop());
  const { wire, alice, bob, ids } = await fiveHundredQueued(t, browser);
  const held = wire.holdAfter('down', 1_500);
  await alice.setOffline(false);
  await within('acknowledgements are held back', held);
  await midway(alice);
  await browser.kill();
  wire.cut();
  await browser.start();
  await alice.open();
  await deliveredOnce(alice, bob, ids);
});

test('a relay killed while receiving gets each message once (F10, I1, I25)', { timeout: 90_000 }, async (t) => {
  const { wire, alice, bob, ids } = await fiveHundredQueued(t);
  const held = wire.holdAfter('down', 1_500);
  await alice.setOffline(false);
  await within('acknowledgements are held back', held);
  await midway(alice);
  await stage.relay.kill();
  wire.cut();
  const known = (await alice.list()).filter((message) => message.sequenceNumber !== undefined);
  await stage.relay.start();
  await deliveredOnce(alice, bob, ids);
  const list = await bob.list();
  for (const { id, sequenceNumber } of known) assert.equal(list[sequenceNumber - 1].id, id, 'what was acknowledged stands where it stood (I1)');
});

test('acknowledged messages outlive an immediate SIGKILL of the relay (I1)', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const ids = await alice.sendAtOnce(texts('safe', 50));
  await alice.call('processQueuedMessages');
  await stage.relay.kill();
  await stage.relay.start();
  const bob = await device('bob');
  const list = await converge([bob, alice], 50);
  assert.deepEqual(list.map(({ id }) => id), ids);
});

test('a silently dead path is found and messages arrive once (F6, B20)', { timeout: 90_000 }, async (t) => {
  const wire = await cable(t);
  const { device } = cast(t, stage);
  const bob = await device('bob');
  const alice = await device('alice', { config: { ...overCable(wire), heartbeatIntervalMs: 500 } });
  await alice.send('before');
  await converge([alice, bob], 1);
  // Both ends stay open and hear nothing.
  wire.holdAfter('up', 0);
  wire.holdAfter('down', 0);
  await alice.send('into the black hole');
  await alice.page.waitForFunction(() => globalThis.device.events.some(([name, state]) => name === 'onConnectionChanged' && state === 'waiting'), null, { timeout: 30_000 });
  wire.cut();
  const list = await converge([alice, bob], 2);
  assert.deepEqual(list.map(({ text }) => text), ['before', 'into the black hole']);
  assert.deepEqual(duplicates(bob.heard), []);
});

test('messages return after the browser deletes the database, also unsent ones (B3, B12, F32)', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const bob = await device('bob');
  const alice = await device('alice');
  const warnings = async () => (await alice.events('onWarning')).map(([{ code }]) => code);
  assert.deepEqual(await warnings(), [], 'a new database is no loss');
  const sent = await alice.send('one', 'two');
  await converge([alice, bob], 2);
  await alice.setOffline(true);
  sent.push(...(await alice.send('not sent yet')));
  alice.offline = false;
  await copied(alice, 'not sent yet');
  await deleteDatabase(alice);
  await alice.reload();
  assert.deepEqual(await warnings(), ['STORAGE_LOST']);
  assert.deepEqual((await converge([alice, bob], 3)).map(({ id }) => id), sent);
  await alice.send('four');
  await converge([alice, bob], 4);
  await alice.reload();
  assert.deepEqual(await warnings(), []);
  await converge([alice, bob], 4);
});

for (const [what, clear] of [
  ['deleted', (alice) => deleteDatabase(alice)],
  ['cleared by the person (P26)', async (alice) => {
    const session = await alice.page.context().newCDPSession(alice.page);
    await session.send('Storage.clearDataForOrigin', { origin: new URL(alice.page.url()).origin, storageTypes: 'all' });
    // It is found out at once, and not with the next write.
    await until('the page knows', async () => (await alice.events('onWarning')).length > 0);
  }],
]) {
  test(`a database that is ${what} under an open tab costs nothing`, { timeout: 60_000 }, async (t) => {
    const { device } = cast(t, stage);
    const bob = await device('bob');
    const alice = await device('alice');
    const sent = await alice.send('one', 'two');
    await converge([alice, bob], 2);
    await alice.setOffline(true);
    sent.push(...(await alice.send('waits in memory')));
    await clear(alice);
    sent.push(...(await alice.send('finds it gone')));
    await alice.setOffline(false);
    assert.deepEqual((await converge([alice, bob], 4)).map(({ id }) => id), sent);
    assert.deepEqual((await alice.events('onWarning')).map(([{ code }]) => code), ['STORAGE_LOST']);
    assert.deepEqual(await alice.events('onStorageLost'), []);
    assert.deepEqual(duplicates(bob.heard), []);
    await alice.reload();
    await converge([alice, bob], 4);
  });
}

/** Waits until the copy of the outbox has this message. */
async function copied(device, text) {
  await device.page.evaluate(async ([name, text]) => {
    const { indexedDB } = (await navigator.storageBuckets?.open('solconnect-sync')) ?? globalThis;
    const done = (request) => new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));
    const database = await done(indexedDB.open(name));
    const holds = (bytes) => new TextDecoder().decode(bytes).includes(text);
    while (!(await done(database.transaction('outbox').objectStore('outbox').getAll())).some(holds));
    database.close();
  }, [`${device.database}.spare`, text]);
}

/** As a browser does that finds it damaged: without a word to the page, whose connection it closes. */
function deleteDatabase(device) {
  const deleted = device.page.evaluate((name) => new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = () => resolve();
    request.onerror = () => reject(request.error);
  }), device.database);
  return within('the database is deleted', deleted);
}
