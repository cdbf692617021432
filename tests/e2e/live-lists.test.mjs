// Lists that live, over the real engine, database and relay: what a list shows is what reading anew would give.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { converge, texts } from './harness/lists.mjs';
import { until } from './harness/wait.mjs';

const stage = scene();

/** Opens a list in the device's page and keeps how often it was told. */
async function openList(device, limit) {
  await device.page.evaluate(({ limit }) => {
    const { sdk, sessionId } = globalThis.device;
    globalThis.list = sdk.messages(sessionId, limit && { limit });
    globalThis.told = 0;
    globalThis.list.subscribe(() => {
      globalThis.told += 1;
    });
  }, { limit });
}

const shown = (device) => device.page.evaluate(() => globalThis.list.getSnapshot().items.map(({ id, text, status, sequenceNumber, edited, deleted, isOwn }) => ({ id, text, status, sequenceNumber, edited, deleted, isOwn })));

/** Waits until the list shows the same as reading anew. */
async function agrees(device, count) {
  let pair;
  await until(`the list of ${device.name} is what is stored`, async () => {
    pair = await device.page.evaluate(async () => {
      const { sdk, must, sessionId } = globalThis.device;
      const fields = ({ id, text, status, sequenceNumber, edited, deleted }) => JSON.stringify({ id, text, status, sequenceNumber, edited, deleted });
      const { items, hasMore } = globalThis.list.getSnapshot();
      const stored = must(await sdk.getStoredMessages(sessionId, hasMore ? items.length : 1_000_000));
      return { live: items.map(fields), stored: stored.map(fields) };
    });
    return pair.live.length === (count ?? pair.live.length) && JSON.stringify(pair.live) === JSON.stringify(pair.stored);
  }).catch((error) => {
    throw new Error(`${error.message}\n${JSON.stringify(pair, null, 1).slice(0, 2_000)}`);
  });
}

test('a list shows queued, sent, received, edited and deleted messages as they are', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { offline: true });
  const bob = await device('bob');
  await openList(alice);
  await openList(bob);
  const [first] = await alice.send('one');
  await until('it is there at once, queued', async () => (await shown(alice))[0]?.status === 'queued');
  await alice.send('two');
  await alice.setOffline(false);
  await converge([alice, bob], 2);
  await bob.send('three');
  await converge([alice, bob], 3);
  await Promise.all([agrees(alice, 3), agrees(bob, 3)]);
  await alice.call('editMessage', alice.sessionId, first, 'one, edited');
  await until('bob sees the edit', async () => (await shown(bob))[0].text === 'one, edited');
  await alice.call('deleteMessage', alice.sessionId, first);
  await until('bob sees the deletion', async () => (await shown(bob))[0].deleted);
  const last = (await shown(bob)).at(-2).id;
  await bob.call('markMessageAsRead', last);
  await until('alice sees the receipt', async () => (await shown(alice))[1].status === 'read');
  await Promise.all([agrees(alice, 3), agrees(bob, 3)]);
});

test('a list that opens while messages arrive misses none and shows none twice', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  await alice.sendAtOnce(texts('before', 60));
  const sending = alice.sendAtOnce(texts('meanwhile', 100));
  await openList(bob, 20);
  await sending;
  await converge([alice, bob], 160);
  await until('the newest is there', async () => (await shown(bob)).at(-1)?.text === 'meanwhile 100');
  const older = () => bob.page.evaluate(async () => {
    while (globalThis.list.hasMore) globalThis.device.must(await globalThis.list.loadOlder());
  });
  await older();
  await agrees(bob, 160);
  await bob.reload();
  await openList(bob, 20);
  await until('the newest page', async () => (await shown(bob)).length === 20);
  await older();
  await agrees(bob, 160);
});

test('unchanged messages keep their identity, and a quiet list its snapshot', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  await alice.send('one', 'two');
  await converge([alice], 2);
  await openList(alice);
  await agrees(alice, 2);
  const before = await alice.page.evaluate(() => {
    globalThis.before = globalThis.list.getSnapshot();
    return globalThis.list.getSnapshot() === globalThis.before;
  });
  await alice.send('three');
  await converge([alice], 3);
  await agrees(alice, 3);
  const same = await alice.page.evaluate(() => {
    const { items } = globalThis.list.getSnapshot();
    return [items[0] === globalThis.before.items[0], items[1] === globalThis.before.items[1], globalThis.list.getSnapshot() === globalThis.before];
  });
  assert.deepEqual([before, ...same], [true, true, true, false]);
});

test('conversations tell the last message and what is unread', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  await bob.page.evaluate(() => globalThis.device.sdk.conversations().subscribe(() => {}));
  const [, second] = await alice.send('one', 'two', 'three');
  const conversation = () => bob.page.evaluate(() => {
    const [first] = globalThis.device.sdk.conversations().getSnapshot().items;
    return first && { unread: first.unreadCount, last: first.lastMessage?.text, peer: first.peerWallet, state: first.state };
  });
  const peer = alice.wallet.address;
  await until('three are unread', async () => (await conversation())?.unread === 3);
  assert.deepEqual(await conversation(), { unread: 3, last: 'three', peer, state: 'active' });
  await bob.call('markMessageAsRead', second);
  await until('one is left', async () => (await conversation()).unread === 1);
  await bob.reload();
  await bob.page.evaluate(() => globalThis.device.sdk.conversations().subscribe(() => {}));
  await until('also after a reload', async () => (await conversation())?.unread === 1);
});

test('a subscription from what is stored misses nothing that came before it', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  await bob.send(...texts('early', 40));
  await converge([alice, bob], 40);
  const sending = bob.send(...texts('late', 20));
  await alice.page.evaluate(async () => {
    const { sdk, sessionId, must } = globalThis.device;
    globalThis.all = [];
    globalThis.some = [];
    must(await sdk.subscribeToMessages(sessionId, ({ text }) => globalThis.all.push(text), { from: 'stored' }));
    must(await sdk.subscribeToMessages(sessionId, ({ text }) => globalThis.some.push(text), { from: 30 }));
  });
  await sending;
  await converge([alice, bob], 60);
  const expected = [...texts('early', 40), ...texts('late', 20)];
  await until('all of it', async () => (await alice.page.evaluate(() => globalThis.all.length)) >= 60);
  const heard = await alice.page.evaluate(() => [globalThis.all, globalThis.some]);
  assert.deepEqual(heard, [expected, expected.slice(30)]);
});

test('a subscription hears each message once, also over a wipe', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice');
  const bob = await device('bob');
  await bob.send('one', 'two');
  await converge([alice, bob], 2);
  const heard = () => alice.page.evaluate(() => globalThis.heard);
  await alice.page.evaluate(async () => {
    const { sdk, sessionId, must } = globalThis.device;
    globalThis.heard = [];
    must(await sdk.subscribeToMessages(sessionId, ({ text }) => globalThis.heard.push(text), { from: 'stored' }));
  });
  assert.deepEqual(await heard(), ['one', 'two']);
  await alice.page.evaluate(async ({ wallet, peerWallet }) => {
    const { sdk, must, walletProvider } = globalThis.device;
    must(await sdk.logout({ wipe: true }));
    must(await sdk.connectWallet(await walletProvider(wallet)));
    must(await sdk.startSession({ peerWallet }));
  }, { wallet: alice.wallet, peerWallet: bob.wallet.address });
  await bob.send('three');
  await until('the next one is heard', async () => (await heard()).length > 2);
  await converge([alice, bob], 3);
  assert.deepEqual(await heard(), ['one', 'two', 'three']);
  assert.deepEqual(await alice.events('onWarning'), []);
});
