// The live list of messages, against a model of the engine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { compile } from './lists-compile.mjs';
import { Model, OWN, PEER, randomOf, turn } from './lists-model.mjs';

const { MessageLists, NO_MESSAGES } = await compile('messages', `export * from './src/surface/messages.ts';`);

/** Runs of the random test; more by hand. */
const RUNS = Number(process.env.LIST_RUNS ?? 1_000);

/** A model with messages in its session `s`, and a list of it. */
function scene({ messages = 0, limit = 10 } = {}) {
  const model = new Model('s');
  for (let count = 0; count < messages; count += 1) model.receive('s');
  const lists = new MessageLists(model);
  const list = lists.open('s', { limit });
  const ids = () => list.getSnapshot().items.map(({ id }) => id);
  return { model, lists, list, ids, session: model.session('s') };
}

const idsOf = (messages) => messages.map(({ id }) => id);

test('nothing is read before somebody listens', async () => {
  const { model, list } = scene({ messages: 3 });
  assert.equal(list.getSnapshot(), NO_MESSAGES);
  assert.deepEqual(NO_MESSAGES, { items: [], hasMore: false, isLoading: true });
  assert.equal(model.counts.pages, 0);
  list.subscribe(() => {});
  await model.settle();
  assert.equal(model.counts.pages, 1);
  assert.equal(list.getSnapshot().items.length, 3);
});

test('the first page has the last of the log and all that is queued', async () => {
  const { model, list, ids, session } = scene({ messages: 30, limit: 4 });
  for (let count = 0; count < 25; count += 1) model.queue('s');
  list.subscribe(() => {});
  await model.settle();
  assert.deepEqual(ids(), idsOf([...session.log.slice(-4), ...session.queue]));
  assert.equal(list.hasMore, true);
  assert.equal(model.counts.pages, 1);
});

test('more queued ones than the session counts are all read', async () => {
  const { model, list, ids, session } = scene({ messages: 30, limit: 4 });
  const sessions = model.sessions;
  model.sessions = () => sessions().map((view) => ({ ...view, queuedMessageCount: 0 }));
  for (let count = 0; count < 25; count += 1) model.queue('s');
  list.subscribe(() => {});
  await model.settle();
  assert.deepEqual(ids(), idsOf([...session.log.slice(-4), ...session.queue]));
  assert.equal(list.hasMore, true);
});

test('loadOlder goes back to the beginning and says so exactly', async () => {
  for (const messages of [0, 1, 9, 10, 11, 20, 21]) {
    const { model, list, ids, session } = scene({ messages, limit: 10 });
    list.subscribe(() => {});
    await model.settle();
    const counts = [];
    while (list.hasMore) {
      const loading = list.loadOlder();
      await model.settle();
      counts.push((await loading).data);
    }
    assert.deepEqual(ids(), idsOf(session.log));
    assert.equal(counts.length, Math.max(0, Math.ceil(messages / 10) - 1), `${messages} messages: no page is empty`);
    assert.deepEqual(await list.loadOlder(), { success: true, data: 0 });
    assert.equal(model.counts.pages, Math.max(1, Math.ceil(messages / 10)), 'one read a page');
  }
});

test('where changes were missed, what is shown stays until it is read again', async () => {
  const { model, list, ids, session } = scene({ messages: 35, limit: 10 });
  const shown = [];
  list.subscribe(() => shown.push(list.getSnapshot().items.length));
  await model.settle();
  const loading = list.loadOlder();
  await model.settle();
  await loading;
  // Nobody tells of it.
  const { handlers } = model;
  model.handlers = new Set();
  model.receive('s');
  model.handlers = handlers;
  shown.length = 0;
  for (const handler of handlers) handler({ type: 'missed' });
  model.receive('s');
  await turn();
  assert.deepEqual(shown, [21], 'what changes meanwhile is shown');
  await model.settle();
  assert.deepEqual(ids(), idsOf(session.log.slice(-20)));
  assert.deepEqual(shown, [21, 20]);
  model.receive('s');
  await turn();
  assert.deepEqual(ids(), idsOf(session.log.slice(-21)));
});

test('calls of loadOlder and listeners share one read a page', async () => {
  const { model, lists, list, ids } = scene({ messages: 35, limit: 10 });
  for (let count = 0; count < 5; count += 1) lists.open('s', { limit: 10 }).subscribe(() => {});
  const first = list.loadOlder();
  await model.settle();
  assert.equal((await first).data, 10, 'it waits for the first page where that is being read');
  const calls = [list.loadOlder(), list.loadOlder(), list.loadOlder()];
  await model.settle();
  assert.deepEqual((await Promise.all(calls)).map(({ data }) => data), [10, 10, 10]);
  assert.equal(ids().length, 20);
  assert.equal(model.counts.pages, 2);
});

test('what arrives while a page is read is there once', async () => {
  const { model, list, ids, session } = scene({ messages: 5 });
  list.subscribe(() => {});
  await turn();
  model.receive('s'); // before the read takes its entries
  model.step();
  model.receive('s'); // after it
  const queued = model.queue('s');
  model.log('s', queued);
  await model.settle();
  assert.deepEqual(ids(), idsOf(session.log));
});

test('a change during a read is newer than what was read', async () => {
  const { model, list, session } = scene({ messages: 2 });
  const queued = [model.queue('s'), model.queue('s'), model.queue('s')];
  list.subscribe(() => {});
  await turn();
  model.step(); // the entries are taken
  const read = model.reads[0];
  const page = read.show(read.taken); // and shown
  model.remove('s', queued[0]);
  model.setStatus('s', queued[1], 'sending');
  model.receipt('s', OWN, 'read', 1);
  model.edit('s', session.log[1], 'edited');
  read.show = () => page;
  await model.settle();
  const { items } = list.getSnapshot();
  assert.deepEqual(items.map(({ text, status }) => [text, status]), [['text 1', 'read'], ['edited', 'sent'], ['queued', 'sending'], ['queued', 'queued']]);
});

test('a queued message is there in the same turn, and first when nothing was read', async () => {
  const { model, list } = scene({ messages: 3 });
  list.subscribe(() => {});
  const { id } = model.queue('s');
  assert.deepEqual(list.getSnapshot().items.map((message) => [message.id, message.status]), [[id, 'queued']]);
  assert.equal(list.getSnapshot().isLoading, true);
  await model.settle();
  assert.equal(list.getSnapshot().items.at(-1).id, id);
});

test('an older place of an own message is not shown before its page', async () => {
  const { model, list, ids, session } = scene({ messages: 30, limit: 5 });
  const message = model.queue('s', session.log[3].text);
  list.subscribe(() => {});
  await model.settle();
  // Another device of the wallet had sent it.
  session.queue.pop();
  session.log[3] = { ...message, device: 'other', sequenceNumber: 4 };
  model.tellMessage(session, session.log[3]);
  assert.deepEqual(ids(), idsOf(session.log.slice(-5)));
  while (list.hasMore) {
    void list.loadOlder();
    await model.settle();
  }
  assert.deepEqual(ids(), idsOf(session.log));
});

test('a receipt raises what others wrote up to its place and nothing else', async () => {
  const { model, list } = scene();
  for (const sender of [OWN, PEER, OWN, PEER, OWN]) model.receive('s', { sender });
  list.subscribe(() => {});
  await model.settle();
  const before = list.getSnapshot().items;
  model.receipt('s', PEER, 'delivered', 4);
  model.receipt('s', PEER, 'read', 1);
  const { items } = list.getSnapshot();
  assert.deepEqual(items.map(({ status }) => status), ['read', 'sent', 'delivered', 'sent', 'sent']);
  assert.deepEqual(items.map((message, place) => message === before[place]), [false, true, false, true, true]);
  model.receipt('s', PEER, 'read', 2);
  assert.equal(list.getSnapshot().items, items, 'what raises nothing makes no snapshot');
});

test('in the log a status never falls, before it the engine decides', async () => {
  const { model, list } = scene();
  const logged = model.receive('s', { sender: OWN });
  const queued = model.queue('s');
  list.subscribe(() => {});
  await model.settle();
  const statuses = () => list.getSnapshot().items.map(({ status }) => status);
  model.receipt('s', PEER, 'read', 1);
  model.tell({ type: 'status', sessionId: 's', messageId: logged.id, status: 'delivered' });
  model.setStatus('s', queued, 'sending');
  assert.deepEqual(statuses(), ['read', 'sending']);
  model.setStatus('s', queued, 'queued');
  assert.deepEqual(statuses(), ['read', 'queued']);
});

test('failed, retried and cancelled messages', async () => {
  const { model, list } = scene();
  const [first, second] = [model.queue('s'), model.queue('s')];
  list.subscribe(() => {});
  await model.settle();
  const shown = () => list.getSnapshot().items.map(({ id, status, error }) => [id, status, error?.code]);
  model.fail('s', second);
  model.fail('s', first);
  assert.deepEqual(shown(), [[second.id, 'failed', 'MESSAGE_TOO_LARGE'], [first.id, 'failed', 'MESSAGE_TOO_LARGE']]);
  model.retry('s', second);
  assert.deepEqual(shown(), [[first.id, 'failed', 'MESSAGE_TOO_LARGE'], [second.id, 'queued', undefined]]);
  assert.ok(list.getSnapshot().items[0].error instanceof Error);
  model.retry('s', first);
  assert.deepEqual(shown(), [[second.id, 'queued', undefined], [first.id, 'queued', undefined]]);
  model.remove('s', second);
  assert.deepEqual(shown(), [[first.id, 'queued', undefined]]);
});

test('another message under the same id leaves the queued one', async () => {
  const { model, list, session } = scene();
  const queued = model.queue('s', 'mine');
  list.subscribe(() => {});
  await model.settle();
  const view = { ...session.view(queued), sequenceNumber: 1, deviceId: 'other', text: 'another', status: 'sent' };
  model.tell({ type: 'message', message: view });
  model.fail('s', queued);
  assert.deepEqual(list.getSnapshot().items.map(({ text, status }) => [text, status]), [['another', 'sent'], ['mine', 'failed']]);
  model.tell({ type: 'message', message: { ...view, sequenceNumber: 3 } });
  assert.deepEqual(list.getSnapshot().items.map((message) => message.sequenceNumber), [3, undefined], 'and not twice in the log');
});

test('another message under the same id leaves the queued one also during a read', async () => {
  const { model, list, session } = scene({ messages: 1 });
  const queued = model.queue('s', 'mine');
  list.subscribe(() => {});
  await turn();
  session.log.push({ ...queued, device: 'other', text: 'another', sequenceNumber: 2 });
  model.tellMessage(session, session.log[1]);
  await model.settle();
  assert.deepEqual(list.getSnapshot().items.map(({ text }) => text), ['text 1', 'another', 'mine']);
});

test('what leaves the queue because the log has it stays in the log', async () => {
  const { model, list, session } = scene({ messages: 2 });
  const queued = model.queue('s', session.log[1].text, session.log[1].id);
  session.log[1].sender = OWN;
  list.subscribe(() => {});
  await turn();
  model.remove('s', queued);
  await model.settle();
  assert.deepEqual(list.getSnapshot().items.map(({ sequenceNumber }) => sequenceNumber), [1, 2]);
});

test('an edit is read again, one read for many, and pendingEdit while it is queued', async () => {
  const { model, list, session } = scene({ limit: 100 });
  for (let count = 0; count < 60; count += 1) model.receive('s', { sender: OWN });
  list.subscribe(() => {});
  await model.settle();
  assert.equal(model.counts.pages, 1);
  for (const message of session.log) model.edit('s', message, `${message.id} edited`, false);
  await model.settle();
  assert.ok(list.getSnapshot().items.every(({ id, text, edited, pendingEdit }) => text === `${id} edited` && edited && pendingEdit));
  assert.ok(model.counts.pages <= 3, `${model.counts.pages} reads`);
  model.logEdit('s', session.log[7]);
  await model.settle();
  assert.deepEqual(list.getSnapshot().items.filter(({ pendingEdit }) => !pendingEdit).map(({ id }) => id), [session.log[7].id]);
});

test('an edit of a queued message and one during its own read', async () => {
  const { model, list } = scene();
  const queued = model.queue('s');
  list.subscribe(() => {});
  await model.settle();
  model.edit('s', queued, 'once', false);
  await turn();
  model.step();
  const read = model.reads[0];
  const old = read.show();
  read.show = () => old;
  model.edit('s', queued, 'twice', false);
  await model.settle();
  assert.equal(list.getSnapshot().items[0].text, 'twice');
  assert.equal(model.counts.messages, 2);
});

test('snapshots are frozen, and the same objects where nothing changed', async () => {
  const { model, list, session } = scene({ messages: 5 });
  list.subscribe(() => {});
  await model.settle();
  const before = list.getSnapshot();
  assert.equal(list.getSnapshot(), before);
  assert.ok([before, before.items, before.items[0], before.items[0].versions, before.items[0].vectorClock].every(Object.isFrozen));
  model.tellMessage(session, session.log[2]);
  assert.equal(list.getSnapshot(), before, 'told again with the same content');
  model.tell({ type: 'message', message: { ...session.view(session.log[2]), session_id: 'other' } });
  assert.equal(list.getSnapshot(), before, 'of another session');
  model.tell({ type: 'stale', sessionId: 's', messageId: session.log[1].id });
  await model.settle();
  assert.equal(list.getSnapshot(), before, 'read again without a change');
  model.edit('s', session.log[1], 'other');
  await model.settle();
  const after = list.getSnapshot();
  assert.deepEqual(after.items.map((message, place) => message === before.items[place]), [true, false, true, true, true]);
});

test('the seed\'s names have the same values', async () => {
  const { model, list } = scene();
  model.tell({ type: 'message', message: {} }); // nobody listens
  const message = model.receive('s');
  list.subscribe(() => {});
  await model.settle();
  model.tell({ type: 'message', message: { ...model.session('s').view(message), content_type: 'text/plain' } });
  const [shown] = list.getSnapshot().items;
  assert.deepEqual([shown.session_id, shown.sender_wallet, shown.content_type], [shown.sessionId, shown.senderWallet, shown.contentType]);
  assert.deepEqual([shown.sessionId, shown.senderWallet, shown.contentType, shown.isOwn], ['s', PEER, 'text/plain', false]);
});

test('all changes of a turn are one notification, and none where nothing changed', async () => {
  const { model, list, session } = scene({ messages: 3 });
  let told = 0;
  list.subscribe(() => (told += 1));
  await model.settle();
  assert.equal(told, 1, 'the first page is one');
  for (let count = 0; count < 100; count += 1) model.receive('s');
  assert.equal(told, 1, 'not in the midst of the changes');
  await turn();
  assert.equal(told, 2);
  const queued = model.queue('s');
  model.remove('s', queued);
  model.tellMessage(session, session.log[0]);
  await turn();
  assert.equal(told, 2, 'there and gone again');
});

test('listeners may throw, end others and themselves, and listen twice', async (t) => {
  const { model, list } = scene();
  const errors = t.mock.method(console, 'error', () => {});
  const told = [];
  list.subscribe(() => {
    told.push('throws');
    throw new Error('of the application');
  });
  const ends = list.subscribe(() => {
    told.push('ends');
    ends();
    other();
  });
  const other = list.subscribe(() => told.push('ended by the one before'));
  const twice = () => told.push('twice');
  const once = list.subscribe(twice);
  list.subscribe(twice);
  once();
  once();
  await model.settle();
  assert.deepEqual(told, ['throws', 'ends', 'twice']);
  assert.equal(errors.mock.callCount(), 1);
  model.receive('s');
  await turn();
  assert.deepEqual(told, ['throws', 'ends', 'twice', 'throws', 'twice']);
  assert.throws(() => list.subscribe(null), { code: 'INVALID_ARGUMENT' });
});

test('a read that fails is told and tried again by subscribe and loadOlder', async () => {
  const { model, list } = scene({ messages: 25, limit: 10 });
  model.failNext = 1;
  const end = list.subscribe(() => {});
  await model.settle();
  assert.equal(list.getSnapshot().error.code, 'STORAGE_ERROR');
  assert.equal(list.getSnapshot().isLoading, false);
  end();
  list.subscribe(() => {});
  await model.settle();
  assert.equal(list.getSnapshot().items.length, 10);
  assert.equal('error' in list.getSnapshot(), false);
  model.failNext = 1;
  const failing = list.loadOlder();
  await model.settle();
  assert.equal((await failing).error.code, 'STORAGE_ERROR');
  assert.deepEqual([list.getSnapshot().error.code, list.getSnapshot().items.length, list.hasMore], ['STORAGE_ERROR', 10, true]);
  const older = list.loadOlder();
  await model.settle();
  assert.deepEqual([(await older).data, list.getSnapshot().error], [10, undefined]);
  model.failNext = 1;
  model.edit('s', model.session('s').log[20], 'edited');
  await model.settle();
  assert.equal(list.getSnapshot().error.code, 'STORAGE_ERROR');
  list.subscribe(() => {});
  await model.settle();
  assert.deepEqual([list.getSnapshot().error, list.getSnapshot().items[15].text], [undefined, 'edited']);
});

test('what is no longer to be read is no error', async () => {
  const { model, list, session } = scene({ messages: 25, limit: 10 });
  list.subscribe(() => {});
  await model.settle();
  model.failNext = 1;
  void list.loadOlder();
  await model.settle();
  model.failNext = 1;
  model.edit('s', session.log.at(-1), 'edited');
  await model.settle();
  assert.equal(list.getSnapshot().error.code, 'STORAGE_ERROR');
  model.clear('s');
  list.subscribe(() => {});
  await model.settle();
  assert.equal(list.getSnapshot().error, undefined);
});

test('a session that starts after the list is read then', async () => {
  for (const inTheMidst of [false, true]) {
    const model = new Model();
    const list = new MessageLists(model).open('s');
    list.subscribe(() => {});
    if (!inTheMidst) await model.settle();
    else {
      await turn();
      model.step();
    }
    const other = new Model('s');
    model.sessions_ = other.sessions_;
    model.tell({ type: 'session', sessionId: 's' });
    await model.settle();
    assert.deepEqual(list.getSnapshot(), { items: [], hasMore: false, isLoading: false });
  }
});

test('a cleared session keeps what is queued and has no more', async () => {
  const { model, list, ids } = scene({ messages: 30, limit: 10 });
  const queued = model.queue('s');
  list.subscribe(() => {});
  await model.settle();
  const loading = list.loadOlder();
  await turn();
  model.step();
  model.clear('s');
  assert.deepEqual(ids(), [queued.id]);
  await model.settle();
  assert.deepEqual([ids(), list.hasMore], [[queued.id], false]);
  await loading;
  const next = model.receive('s');
  assert.deepEqual(ids(), [next.id, queued.id]);
});

test('nothing of a former wallet survives, also before it is told', async () => {
  const { model, lists, list } = scene({ messages: 30, limit: 10 });
  const other = lists.open('s', { limit: 5 });
  const seen = [];
  let isOther = false;
  list.subscribe(() => seen.push([isOther, other.getSnapshot().items.length]));
  other.subscribe(() => seen.push([isOther, list.getSnapshot().items.length]));
  await model.settle();
  const loading = list.loadOlder();
  await turn();
  model.step();
  isOther = true;
  model.currentWallet = 'AnotherWallet';
  assert.deepEqual([list.getSnapshot(), other.getSnapshot()], [NO_MESSAGES, NO_MESSAGES]);
  model.setWallet('AnotherWallet');
  assert.deepEqual([list.getSnapshot(), other.getSnapshot()], [NO_MESSAGES, NO_MESSAGES]);
  await model.settle();
  assert.deepEqual(await loading, { success: true, data: 0 }, 'it ends');
  assert.ok(seen.filter(([late]) => late).every(([, count]) => count === 0));
  assert.equal(list.getSnapshot().error.code, 'UNKNOWN_SESSION');
  model.setWallet(OWN);
  await model.settle();
  assert.equal(list.getSnapshot().items.length, 10);
});

test('the last listener lets go after a moment, and close at once', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { model, list } = scene({ messages: 3 });
  const settle = async () => {
    for (let count = 0; count < 20; count += 1) {
      if (model.reads.length > 0) model.step();
      await turn();
    }
  };
  const end = list.subscribe(() => {});
  await settle();
  end();
  t.mock.timers.tick(4_000);
  const again = list.subscribe(() => {});
  t.mock.timers.tick(60_000);
  assert.equal(list.getSnapshot().items.length, 3);
  assert.equal(model.counts.pages, 1);
  again();
  t.mock.timers.tick(5_000);
  assert.deepEqual([list.getSnapshot(), model.handlers.size], [NO_MESSAGES, 0]);
  list.subscribe(() => assert.fail('closed'));
  list.close();
  assert.equal(model.handlers.size, 0);
  await settle();
  assert.equal(list.getSnapshot(), NO_MESSAGES);
});

test('wrong options have their code', () => {
  const { lists } = scene();
  for (const options of [{ limit: 0 }, { limit: 1.5 }, { limit: '5' }, { limit: 1_001 }, { limit: NaN }, { page: 5 }, null, 5]) {
    assert.throws(() => lists.open('s', options), { code: 'INVALID_ARGUMENT' });
  }
  for (const id of [undefined, null, 5, {}]) assert.throws(() => lists.open(id), { code: 'INVALID_ARGUMENT' });
  assert.equal(lists.open('s'), lists.open('s', { limit: 50 }), 'the same list');
});

// The model test: whatever happens in whatever order, the list is what is true.

/** What of a message is true at once, and what may wait until it is read again; of views and of items of the list. */
const certain = ({ id, status, sequenceNumber, deviceId, sender_wallet, error }) => [id, status, sequenceNumber, deviceId, sender_wallet, error?.code].join();
const all = (message) => [certain(message), message.text, message.edited, message.deleted, message.pendingEdit, JSON.stringify(message.versions), JSON.stringify(message.readBy?.toSorted())].join();
/** As `deepEqual` for texts, which takes long where nothing differs. */
const same = (one, other, what) => assert.ok(one.join('\n') === other.join('\n'), `${what}:\n${one.join('\n')}\ninstead of\n${other.join('\n')}`);

class Checked {
  constructor(model, list) {
    Object.assign(this, { model, list, last: list.getSnapshot(), told: list.getSnapshot(), isRead: false });
  }

  /** What holds at every moment. */
  check() {
    const snapshot = this.list.getSnapshot();
    const { items, hasMore, isLoading, error } = snapshot;
    const session = this.model.session('s');
    assert.equal(new Set(idsOf(items)).size, items.length, 'nothing twice');
    const before = new Map(this.last.items.map((message) => [message.id, message]));
    for (const message of items) {
      const old = before.get(message.id);
      if (old && old !== message) assert.notEqual(all(old), all(message), 'unchanged ones stay the same object');
    }
    if (snapshot !== this.last) assert.ok(items !== this.last.items || hasMore !== this.last.hasMore || isLoading !== this.last.isLoading || error !== this.last.error, 'another snapshot says something else');
    if (!isLoading && !error) this.isRead = true;
    if (this.isRead) {
      // All but what waits to be read again is true at once.
      const truth = session.shown();
      same(items.map(certain), truth.slice(truth.length - items.length).map(certain), 'the list is');
      assert.equal(hasMore, truth.length > items.length, 'hasMore is exact');
    }
    this.last = snapshot;
  }

  /** What holds when nothing is under way. */
  checkAll() {
    if (this.failure) throw this.failure;
    this.check();
    const truth = this.model.session('s').shown();
    const { items } = this.list.getSnapshot();
    same(items.map(all), truth.slice(truth.length - items.length).map(all), 'at the end the list is');
    assert.equal(this.told, this.list.getSnapshot(), 'the last change was told');
  }
}

async function run(seed) {
  const random = randomOf(seed);
  const model = new Model('s', 'other');
  if (seed % 3 === 0) model.group('s', 'Anna', 'Ben', 'Carla');
  const lists = new MessageLists(model);
  for (let count = random.below(40); count > 0; count -= 1) model.happen('s', random);
  const checked = [2, 7].map((limit) => new Checked(model, lists.open('s', { limit })));
  for (const one of checked) {
    one.list.subscribe(() => {
      one.told = one.list.getSnapshot();
      // What a listener throws does not reach the test.
      try {
        one.check();
      } catch (thrown) {
        one.failure ??= thrown;
      }
    });
  }
  for (let count = 60; count > 0; count -= 1) {
    const what = random.below(10);
    if (what < 4) for (let changes = 1 + random.below(4); changes > 0; changes -= 1) model.happen(random.chance(0.9) ? 's' : 'other', random);
    else if (what < 8 && model.reads.length > 0) model.step(random.below(model.reads.length));
    else if (what === 8) void random.pick(checked).list.loadOlder();
    else if (what === 9 && random.chance(0.1)) model.failNext = 1;
    if (random.chance(0.5)) for (const one of checked) one.check();
    if (random.chance(0.7)) await turn();
  }
  model.failNext = 0;
  await model.settle();
  // What failed is tried again.
  for (const { list } of checked) if (list.getSnapshot().error) list.subscribe(() => {});
  await model.settle();
  for (const one of checked) one.checkAll();
  while (checked.some(({ list }) => list.hasMore)) {
    for (const { list } of checked) void list.loadOlder();
    await model.settle();
  }
  for (const one of checked) one.checkAll();
  assert.equal(checked[0].list.getSnapshot().items.length, model.session('s').shown().length, 'all of it');
  for (const { list } of checked) list.close();
}

test(`the list is what is true, in ${RUNS} random lives`, { timeout: 300_000 }, async () => {
  const first = Number(process.env.LIST_SEED ?? 1);
  for (let seed = first; seed < first + RUNS; seed += 1) {
    await run(seed).catch((cause) => {
      throw new Error(`again with LIST_SEED=${seed} LIST_RUNS=1`, { cause });
    });
  }
});

test('of a group it is known who has read, also when somebody comes or leaves', async () => {
  const model = new Model();
  model.group('s', 'Anna', 'Ben');
  const list = new MessageLists(model).open('s', { limit: 10 });
  list.subscribe(() => {});
  await model.settle();
  const message = model.queue('s');
  model.log('s', message);
  const shown = async () => {
    await model.settle();
    const { status, readBy } = list.getSnapshot().items.find(({ id }) => id === message.id);
    return [status, ...readBy];
  };
  assert.deepEqual(await shown(), ['sent']);
  model.receipt('s', 'Anna', 'read', 1);
  assert.deepEqual(await shown(), ['sent', 'Anna']);
  model.receipt('s', 'Ben', 'delivered', 1);
  model.receipt('s', 'Anna', 'delivered', 1);
  assert.deepEqual(await shown(), ['delivered', 'Anna']);
  model.join('s', 'Carla');
  assert.deepEqual(await shown(), ['delivered', 'Anna']);
  model.leave('s', 'Ben');
  assert.deepEqual(await shown(), ['read', 'Anna'], 'who is out keeps it from nothing');
  model.receipt('s', 'Carla', 'read', 2);
  assert.deepEqual(await shown(), ['read', 'Anna', 'Carla']);
  model.leave('s', 'Carla');
  assert.deepEqual(await shown(), ['read', 'Anna'], 'as read anew');
  assert.deepEqual(list.getSnapshot().items[0].readBy, model.session('s').shown()[0].readBy);
});

test('a list that nobody holds is let go, and one that somebody holds stays the same', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  const model = new Model('s');
  const lists = new MessageLists(model);
  const held = lists.open('s');
  const heard = [];
  // Held by nothing but its subscription.
  lists.open('followed').subscribe(() => heard.push('followed'));
  for (let place = 0; place < 2_000; place += 1) lists.open(`passing ${place}`, { limit: 1 + (place % 1_000) });
  await model.settle();
  for (let tries = 0; tries < 20 && lists.size > 2; tries += 1) {
    await turn();
    collect();
  }
  assert.equal(lists.size, 2);
  assert.equal(lists.open('s'), held);
  const before = heard.length;
  model.setWallet('another');
  await model.settle();
  assert.ok(heard.length > before, 'it is told still');
});
