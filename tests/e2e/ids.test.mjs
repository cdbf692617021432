// Ids are for ever: those that an application gives, and those of a device that has to begin anew.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { converge } from './harness/lists.mjs';
import { until } from './harness/wait.mjs';

const stage = scene();

const sendAs = (device, id, text) => device.call('sendMessage', device.sessionId, text, { id });

test('a message sent again under its id arrives once, also after a reload', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  const first = await sendAs(alice, 'order-7', 'pay 5');
  assert.equal(first.messageId, 'order-7');
  await converge([alice, bob], 1);
  assert.deepEqual(await sendAs(alice, 'order-7', 'pay 5'), first);
  await alice.reload();
  assert.deepEqual(await sendAs(alice, 'order-7', 'pay 5'), first);
  const { code, category } = await alice.failure('sendMessage', alice.sessionId, 'pay 6', { id: 'order-7' });
  assert.deepEqual({ code, category }, { code: 'MESSAGE_ID_TAKEN', category: 'validation' });

  const [after] = await alice.send('after');
  const list = await converge([alice, bob], 2);
  assert.deepEqual(list.map(({ id, text }) => [id, text]), [['order-7', 'pay 5'], [after, 'after']]);
  assert.deepEqual(bob.heard, ['order-7', after], 'each once (I6)');
  await until('it has its status under this id', async () => (await alice.call('getMessageStatus', 'order-7')) === 'delivered');
});

test('two devices of a wallet send the same message under one id: it is there once', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const phone = await device('alice');
  const laptop = await device('alice');
  const bob = await device('bob');
  for (const each of [phone, laptop]) {
    await each.setOffline(true);
    await sendAs(each, 'order-7', 'pay 5');
    await each.send('and more');
  }
  for (const each of [phone, laptop]) await each.setOffline(false);
  const list = await converge([phone, laptop, bob], 3);
  assert.equal(list.filter(({ id }) => id === 'order-7').length, 1);
});

test('another message under an id of the same wallet is refused by name, and what is behind it arrives', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const phone = await device('alice');
  const laptop = await device('alice');
  const bob = await device('bob');
  await laptop.setOffline(true);
  await sendAs(phone, 'order-7', 'pay 5');
  await converge([phone, bob], 1);
  await sendAs(laptop, 'order-7', 'pay 6');
  await laptop.send('behind it');
  await laptop.setOffline(false);
  await until('what is behind it arrives', async () => (await bob.list()).length === 2);
  const failed = (await laptop.events('onStatusChanged')).filter(([, , status]) => status === 'failed');
  assert.deepEqual(failed.map(([, id, , error]) => [id, error.code]), [['order-7', 'MESSAGE_ID_TAKEN']]);
  for (const each of [phone, laptop, bob]) {
    await until(`${each.name} has all of it`, async () => (await each.state()).queued === 0 && (await each.state()).cursor === 3);
    // What was refused stays where it was written, to be sent again or given up.
    const expected = ['pay 5', 'behind it', ...(each === laptop ? ['pay 6'] : [])];
    const list = await each.list();
    assert.deepEqual(list.map(({ text }) => text), expected);
    assert.deepEqual(list.filter(({ status }) => status === 'failed').map(({ text }) => text), expected.slice(2));
  }
});

/** Copies a database of a page's origin, record by record, over what the other one holds. */
async function copyDatabase(page, from, to) {
  await page.evaluate(async ({ from, to }) => {
    const done = (request) => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    await done(indexedDB.deleteDatabase(to));
    const source = await done(indexedDB.open(from));
    const stores = [...source.objectStoreNames];
    const opening = indexedDB.open(to, source.version);
    opening.onupgradeneeded = () => stores.forEach((store) => opening.result.createObjectStore(store));
    const target = await done(opening);
    for (const name of stores) {
      const store = source.transaction(name).objectStore(name);
      const [keys, values] = await Promise.all([done(store.getAllKeys()), done(store.getAll())]);
      const transaction = target.transaction(name, 'readwrite');
      keys.forEach((key, index) => transaction.objectStore(name).put(values[index], key));
      await new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
    }
    source.close();
    target.close();
  }, { from, to });
}

test('a database that was set back goes on under a new device id, and messages keep theirs (B26)', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  await alice.send('one');
  await converge([alice, bob], 1);
  const oldId = alice.id;
  const older = `${alice.database}-older`;

  // A page of its own, without the SDK.
  await alice.page.goto(stage.relay.url);
  await copyDatabase(alice.page, alice.database, older);
  await alice.close();
  await alice.open();
  await alice.send('two');
  await converge([alice, bob], 2);
  await alice.page.goto(stage.relay.url);
  await copyDatabase(alice.page, older, alice.database);
  await alice.close();

  alice.offline = true;
  await alice.open();
  const [id] = await alice.send('three');
  await alice.setOffline(false);
  const list = await converge([alice, bob], 3);
  assert.deepEqual(list.map(({ text }) => text), ['one', 'two', 'three']);
  assert.equal(list[2].id, id);
  const newId = await alice.call('getDeviceId');
  assert.notEqual(newId, oldId);
  assert.deepEqual(await alice.events('onDeviceReplaced'), [[oldId, newId]]);
  assert.deepEqual(list.map(({ deviceId }) => deviceId), [oldId, oldId, newId]);
});

test('every device shows what the author of a message knew, also after a reload', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  await alice.send('one');
  await converge([alice, bob], 1);
  await bob.setOffline(true);
  await bob.send('not knowing two');
  await alice.send('two');
  await converge([alice], 2);
  const clocks = (each) => each.page.evaluate(async () => {
    const { sdk, must, sessionId } = globalThis.device;
    return must(await sdk.getStoredMessages(sessionId)).map(({ vectorClock }) => vectorClock);
  });
  const queued = { [alice.id]: 1, [bob.id]: 1 };
  assert.deepEqual((await clocks(bob)).at(-1), queued);
  await bob.reload();
  assert.deepEqual((await clocks(bob)).at(-1), queued);
  await bob.setOffline(false);
  await converge([alice, bob], 3);
  const expected = [{ [alice.id]: 1 }, { [alice.id]: 2 }, queued];
  for (const each of [alice, bob]) {
    assert.deepEqual(await clocks(each), expected);
    await each.reload();
    assert.deepEqual(await clocks(each), expected);
  }
});
