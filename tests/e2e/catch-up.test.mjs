// A device that has nothing comes to a session that has much.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { converge, texts } from './harness/lists.mjs';

const stage = scene();

/** Asserts that the progress of each sync never falls and is 100% exactly at its end (I14); gives the largest total. */
async function soundProgress(device, head) {
  const events = await device.page.evaluate(() =>
    globalThis.device.events.filter(([name]) => ['onSyncStarted', 'onSyncProgress', 'onSyncCompleted', 'onSyncFailed'].includes(name)));
  let last = null;
  let largestTotal = 0;
  for (const [name, sessionId, progress] of events) {
    assert.equal(sessionId, device.sessionId);
    assert.notEqual(name, 'onSyncFailed', JSON.stringify(progress));
    if (name === 'onSyncStarted') last = null;
    if (name === 'onSyncProgress') {
      const { messagesSynced, totalMessages } = progress;
      assert.ok(messagesSynced <= totalMessages, `${messagesSynced} of ${totalMessages}`);
      if (last) assert.ok(messagesSynced >= last.messagesSynced, `fell from ${last.messagesSynced} to ${messagesSynced}`);
      last = progress;
      largestTotal = Math.max(largestTotal, totalMessages);
    }
    if (name === 'onSyncCompleted' && last) assert.equal(last.messagesSynced, last.totalMessages, 'complete means 100%');
  }
  assert.equal((await device.state()).cursor, head);
  return { largestTotal, count: events.filter(([name]) => name === 'onSyncProgress').length };
}

test('catching up on 5,000 messages shows rising progress to 100% (I14, I26)', { timeout: 180_000 }, async (t) => {
  const { device } = cast(t, stage);
  const phone = await device('alice');
  const written = texts('history', 5_000);
  for (let start = 0; start < written.length; start += 500) await phone.sendAtOnce(written.slice(start, start + 500));
  await phone.call('processQueuedMessages');

  const laptop = await device('alice');
  const start = performance.now();
  const list = await converge([laptop, phone], 5_000, 60_000);
  t.diagnostic(`caught up on 5,000 messages in ${Math.round(performance.now() - start)} ms`);
  assert.deepEqual(list.map(({ text }) => text), written);
  assert.deepEqual(laptop.heard, list.map(({ id }) => id), 'each heard once, in order (I6)');

  const { largestTotal, count } = await soundProgress(laptop, 5_000);
  assert.equal(largestTotal, 5_000);
  assert.ok(count > 2, `progress was told on the way, not only at its ends: ${count} times`);
});

test('catching up continues after a reload and repeats nothing (I6, I7)', { timeout: 90_000 }, async (t) => {
  const { device } = cast(t, stage);
  const phone = await device('alice');
  await phone.sendAtOnce(texts('history', 1_500));
  await phone.call('processQueuedMessages');

  const laptop = await device('alice', { offline: true, config: { maxBatchSize: 20 } });
  await laptop.page.evaluate(() => {
    const { sdk, must, sessionId } = globalThis.device;
    return new Promise((resolve) => {
      sdk.on('onSyncProgress', (session, { messagesSynced }) => {
        if (session !== sessionId || messagesSynced < 300) return;
        must(sdk.setOffline(true));
        resolve();
      });
      must(sdk.setOffline(false));
    });
  });
  const { cursor } = await laptop.state();
  assert.ok(cursor >= 300 && cursor < 1_500, `in the middle: ${cursor}`);
  await laptop.reload();
  const heardBefore = laptop.heard.length;
  const { cursor: stored } = await laptop.state();
  assert.ok(stored >= cursor, 'what was stored is still there (I7)');
  await laptop.setOffline(false);
  const ids = (await converge([laptop, phone], 1_500)).map(({ id }) => id);
  // The page may have gone between a commit and its being told: that batch is found in the list, and not told again.
  assert.ok(heardBefore <= stored, `${heardBefore} were heard, ${stored} are stored`);
  assert.deepEqual(laptop.heard, [...ids.slice(0, heardBefore), ...ids.slice(stored)]);
});
