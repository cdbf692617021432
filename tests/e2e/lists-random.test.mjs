// Anything at all done on three devices, in an order that a seed gives: what their lists show stays in order at every moment, and in
// the end all of them show the same, which is what is stored. `LIST_SEED=7 node --test tests/e2e/lists-random.test.mjs` runs another.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../surface/lists-model.mjs';
import { cast, scene } from './harness/scene.mjs';
import { until } from './harness/wait.mjs';

const stage = scene();
const SEEDS = process.env.LIST_SEED ? [Number(process.env.LIST_SEED)] : [1, 2, 3];
const STEPS = 150;

/** Follows both lists, and keeps what is wrong with any snapshot of them. */
function follow(device) {
  return device.page.evaluate(() => {
    const { sdk, sessionId } = globalThis.device;
    const wrong = (globalThis.wrong ??= []);
    const list = sdk.messages(sessionId, { limit: 5 });
    const inbox = sdk.conversations();
    const look = () => {
      const { items } = list.getSnapshot();
      const keys = items.map(({ senderWallet, id }) => `${senderWallet} ${id}`);
      if (new Set(keys).size < keys.length) wrong.push(`twice: ${keys}`);
      const places = items.map(({ sequenceNumber }) => sequenceNumber ?? Infinity);
      if (places.some((place, index) => place < places[index - 1])) wrong.push(`out of order: ${places}`);
      if (items.some(({ isOwn, sequenceNumber }) => !isOwn && sequenceNumber === undefined)) wrong.push('a foreign message without a place');
    };
    globalThis.lists = { list, inbox, ends: [list.subscribe(look), inbox.subscribe(() => {})] };
  });
}

/** One thing that a person may do. What cannot be done any more answers with a code that says so. */
const acts = {
  send: (text) => globalThis.device.sdk.sendMessage(globalThis.device.sessionId, text),
  edit: (text, choice) => {
    const { sdk, sessionId } = globalThis.device;
    const own = globalThis.lists.list.getSnapshot().items.filter((message) => message.isOwn && message.status !== 'failed');
    return own.length > 0 ? sdk.editMessage(sessionId, own[choice % own.length].id, text) : null;
  },
  delete: (_, choice) => {
    const { sdk, sessionId } = globalThis.device;
    const own = globalThis.lists.list.getSnapshot().items.filter((message) => message.isOwn && message.status !== 'failed');
    return own.length > 0 ? sdk.deleteMessage(sessionId, own[choice % own.length].id) : null;
  },
  cancel: (_, choice) => {
    const queued = globalThis.lists.list.getSnapshot().items.filter(({ status }) => status === 'queued');
    return queued.length > 0 ? globalThis.device.sdk.cancelMessage(queued[choice % queued.length].id) : null;
  },
  read: (_, choice) => {
    const foreign = globalThis.lists.list.getSnapshot().items.filter(({ isOwn }) => !isOwn);
    return foreign.length > 0 ? globalThis.device.sdk.markMessageAsRead(foreign[choice % foreign.length].id) : null;
  },
  older: () => globalThis.lists.list.loadOlder(),
  close: () => globalThis.lists.list.close(),
  leave: () => globalThis.lists.ends.forEach((end) => end()),
};
const ALLOWED = ['MESSAGE_SENT', 'UNKNOWN_MESSAGE'];

const act = (device, what, text, choice) => device.page.evaluate(async ({ source, text, choice }) => {
  const result = await (0, eval)(`(${source})`)(text, choice);
  return result?.error?.code ?? null;
}, { source: acts[what].toString(), text, choice });

const shown = (device) => device.page.evaluate(async () => {
  const { sdk, must, sessionId } = globalThis.device;
  const { list, inbox } = globalThis.lists;
  while (list.hasMore) must(await list.loadOlder());
  const fields = ({ id, text, sequenceNumber, status, edited, deleted, pendingEdit }) => JSON.stringify({ id, text, sequenceNumber, status, edited, deleted, pendingEdit });
  const stored = must(await sdk.getStoredMessages(sessionId, 1_000_000));
  const { items } = list.getSnapshot();
  const [conversation] = inbox.getSnapshot().items;
  const { readThrough } = must(sdk.getActiveSessions())[0];
  return {
    live: items.map(fields), stored: stored.map(fields), all: items.map(({ id, text, deleted }) => ({ id, text, deleted })),
    isQuiet: must(sdk.getSyncStatus()).queuedMessageCount === 0 && items.every(({ pendingEdit, sequenceNumber }) => !pendingEdit && sequenceNumber !== undefined),
    inbox: { last: conversation?.lastMessage?.id, text: conversation?.lastMessage?.text, unread: conversation?.unreadCount, queued: conversation?.queuedMessageCount, readThrough },
    foreign: items.filter(({ isOwn }) => !isOwn).map(({ sequenceNumber, deleted }) => `${sequenceNumber}${deleted ? ' deleted' : ''}`),
    wrong: globalThis.wrong,
  };
});

for (const seed of SEEDS) {
  test(`whatever three devices do, their lists agree in the end (seed ${seed})`, { timeout: 120_000 }, async (t) => {
    const { device } = cast(t, stage);
    const devices = [await device('alice'), await device('alice'), await device('bob')];
    await Promise.all(devices.map(follow));
    const random = randomOf(seed);
    const running = [];
    for (let step = 0; step < STEPS; step += 1) {
      const one = random.pick(devices);
      const what = random.pick(['send', 'send', 'send', 'edit', 'delete', 'cancel', 'read', 'older', 'offline', 'close', 'leave', 'reload']);
      if (what === 'offline') await one.setOffline(!one.offline);
      else if (what === 'reload') {
        if (random.chance(0.7)) continue;
        await Promise.all(running.splice(0));
        await one.reload();
        await follow(one);
      } else {
        const done = act(one, what, `step ${step}`, random.below(1_000)).then((code) => {
          if (code !== null && !ALLOWED.includes(code)) throw new Error(`step ${step}: ${what} answered ${code}`);
        });
        // Calls of one step may overlap those of the next.
        if (random.chance(0.5)) await done;
        else running.push(done);
        if (what === 'close' || what === 'leave') {
          await done;
          await follow(one);
        }
      }
    }
    await Promise.all(running);
    for (const one of devices) await one.setOffline(false);
    const states = [];
    await until('all show what is stored, and the same', async () => {
      states.splice(0, 3, ...(await Promise.all(devices.map(shown))));
      const [first] = states;
      return states.every(({ live, stored, all, isQuiet }) => isQuiet && JSON.stringify(live) === JSON.stringify(stored) && JSON.stringify(all) === JSON.stringify(first.all));
    }, 30_000).catch((error) => {
      throw new Error(`${error.message}\n${states.map((state) => JSON.stringify(state)).join('\n').slice(0, 6_000)}`);
    });
    assert.deepEqual(states.flatMap(({ wrong }) => wrong), []);
    assert.ok(states[0].all.length > 10, `${states[0].all.length} messages`);
    // The conversations too: what is read on one device of a wallet is read on the other, and nothing changes with a new start.
    const inboxes = [];
    await until('both devices of a wallet have the same unread', async () => {
      inboxes.splice(0, 3, ...(await Promise.all(devices.map(shown))).map(({ inbox }) => inbox));
      return JSON.stringify(inboxes[0]) === JSON.stringify(inboxes[1]);
    }).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify([inboxes, states[0].foreign])}`);
    });
    for (const [place, one] of devices.entries()) {
      const before = inboxes[place];
      await one.reload();
      await follow(one);
      let after;
      await until(`the conversation of ${one.name} is as before`, async () => {
        after = (await shown(one)).inbox;
        return JSON.stringify(after) === JSON.stringify(before);
      }, 10_000).catch((error) => {
        throw new Error(`${error.message}: ${JSON.stringify({ before, after })}`);
      });
    }
  });
}
