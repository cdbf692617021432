// Subscriptions outlive engines: over all of them each message is told once and in order.
import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { coded, load } from './modules.mjs';

const { Subscriptions } = await load('subscriptions');

/** What all engines of a wallet store. */
class Log {
  entries = [];
  /** Puts a message of another device into it; returns it. */
  put(deviceId = 'theirs') {
    const sequenceNumber = this.entries.length + 1;
    const view = {
      id: `m${sequenceNumber}`, session_id: 's', sender_wallet: 'bob', deviceId, sequenceNumber, text: '', timestamp: '', vectorClock: {}, status: 'sent',
      edited: false, deleted: false, versions: [],
    };
    this.entries.push(view);
    return view;
  }
}

class Engine {
  #log;
  #handler = () => {};
  listening = 0;
  isFreed = false;
  fails = false;
  isUnknown = false;
  constructor(log) {
    this.#log = log;
  }
  #check() {
    if (this.isFreed) throw new Error('null pointer passed to rust');
  }
  async subscribeToMessages(_, handler) {
    this.#check();
    if (this.isUnknown) return { success: false, error: { code: 'UNKNOWN_SESSION', message: 'no', userMessage: '' } };
    this.#handler = handler;
    this.listening += 1;
    return { success: true, data: { unsubscribe: () => {
      this.#handler = () => {};
      this.listening -= 1;
    } } };
  }
  getDeviceId() {
    this.#check();
    return { success: true, data: 'ours' };
  }
  async getStoredMessages(_, limit, before) {
    this.#check();
    const data = this.#log.entries.filter(({ sequenceNumber }) => sequenceNumber < before).slice(-limit);
    await turn();
    return this.fails ? { success: false, error: { code: 'STORAGE_ERROR', message: 'no', userMessage: '' } } : { success: true, data };
  }
  arrive(view = this.#log.put()) {
    this.#handler(view);
  }
}

function setUp(stored = 0) {
  const log = new Log();
  for (let count = 0; count < stored; count += 1) log.put();
  const warnings = [];
  const changes = new Set();
  const add = (handler) => {
    changes.add(handler);
    return () => changes.delete(handler);
  };
  const subscriptions = new Subscriptions({ add }, ({ code }) => warnings.push(code));
  const start = () => {
    const account = { address: 'alice', engine: new Engine(log) };
    subscriptions.attach(account);
    return account;
  };
  const stop = ({ engine }) => {
    subscriptions.attach(null);
    engine.isFreed = true;
  };
  const heard = [];
  const handler = ({ sequenceNumber }) => heard.push(sequenceNumber);
  return { log, warnings, subscriptions, start, stop, heard, handler, changes };
}

const settled = async () => {
  for (let count = 0; count < 20; count += 1) await turn();
};

describe('a subscription', () => {
  for (const [from, first] of [['stored', 1], ['now', 3], [1, 2]]) {
    test(`from ${from} tells what was stored between two engines`, async () => {
      const { log, subscriptions, start, stop, heard, handler } = setUp(2);
      const account = start();
      await subscriptions.add(account, 's', handler, from);
      // It is stored, and the engine stops before it tells it.
      log.put();
      log.put('ours');
      stop(account);
      const { engine } = start();
      log.put();
      await settled();
      engine.arrive();
      assert.deepEqual(heard, [1, 2, 3, 5, 6].filter((place) => place >= first));
    });
  }

  test('tells nothing again that comes to another place', async () => {
    const { log, subscriptions, start, stop, heard, handler } = setUp(3);
    const account = start();
    await subscriptions.add(account, 's', handler, 'stored');
    subscriptions.goBack('s', 1);
    const [first, second, third] = log.entries;
    log.entries = [first, { ...third, sequenceNumber: 2 }, { ...second, sequenceNumber: 3 }];
    stop(account);
    const { engine } = start();
    await settled();
    engine.arrive();
    assert.deepEqual(heard, [1, 2, 3, 4]);
  });

  test('tells what arrives while the past is read after it', async () => {
    const { subscriptions, start, heard, handler } = setUp(450);
    const account = start();
    const adding = subscriptions.add(account, 's', handler, 'stored');
    await turn();
    account.engine.arrive();
    await adding;
    account.engine.arrive();
    assert.deepEqual(heard, Array.from({ length: 452 }, (_, place) => place + 1));
  });

  test('whose wallet leaves meanwhile is refused, and silent', async () => {
    for (const turns of [0, 1, 2, 3]) {
      const { subscriptions, start, stop, heard, handler } = setUp(450);
      const account = start();
      const adding = subscriptions.add(account, 's', handler, 'stored');
      adding.catch(() => {});
      for (let count = 0; count < turns; count += 1) await turn();
      stop(account);
      await assert.rejects(adding, coded('CALL_SUPERSEDED'));
      const before = heard.length;
      start().engine.arrive();
      await settled();
      assert.equal(heard.length, before);
    }
  });

  test('whose engines change quickly misses nothing', async () => {
    const { log, subscriptions, start, stop, heard, handler, warnings } = setUp(300);
    let account = start();
    await subscriptions.add(account, 's', handler, 'stored');
    for (let count = 0; count < 5; count += 1) {
      stop(account);
      for (let more = 0; more < 250; more += 1) log.put();
      account = start();
      await turn();
      account.engine.arrive();
    }
    await settled();
    assert.deepEqual(heard, log.entries.map(({ sequenceNumber }) => sequenceNumber));
    assert.deepEqual(warnings, []);
  });

  test('that is ended while another engine is read is over', async () => {
    const { log, subscriptions, start, stop, heard, handler } = setUp();
    const first = start();
    const { unsubscribe } = await subscriptions.add(first, 's', handler, 'stored');
    stop(first);
    log.put();
    const { engine } = start();
    unsubscribe();
    await settled();
    engine.arrive();
    assert.deepEqual(heard, []);
  });

  test('that is ended leaves nothing in the engine', async () => {
    const { subscriptions, start, handler } = setUp(1);
    const account = start();
    for (const from of ['now', 'stored']) (await subscriptions.add(account, 's', handler, from)).unsubscribe();
    account.engine.fails = true;
    await assert.rejects(subscriptions.add(account, 's', handler, 'stored'), coded('STORAGE_ERROR'));
    assert.equal(account.engine.listening, 0);
  });

  test('warns where it cannot read what it missed', async () => {
    const { log, subscriptions, start, stop, heard, handler, warnings } = setUp();
    const first = start();
    await subscriptions.add(first, 's', handler, 'stored');
    stop(first);
    log.put();
    const { engine } = start();
    engine.fails = true;
    await settled();
    engine.arrive();
    assert.deepEqual([warnings, heard], [['STORAGE_ERROR'], [2]]);
  });

  test('whose session was wiped waits until it is started again', async () => {
    const { log, subscriptions, start, stop, heard, handler, warnings, changes } = setUp(2);
    const first = start();
    await subscriptions.add(first, 's', handler, 'stored');
    const other = await subscriptions.add(first, 's', () => assert.fail('it was ended'), 'now');
    stop(first);
    const account = { address: 'alice', engine: new Engine(log) };
    account.engine.isUnknown = true;
    subscriptions.attach(account);
    await settled();
    assert.deepEqual([warnings, changes.size, account.engine.listening], [[], 1, 0]);
    const tell = (change) => [...changes].forEach((handler) => handler(change));
    other.unsubscribe();
    tell({ type: 'session', sessionId: 'another' });
    tell({ type: 'session', sessionId: 's' });
    await settled();
    assert.equal(changes.size, 1, 'it is not there yet');
    account.engine.isUnknown = false;
    log.put();
    tell({ type: 'session', sessionId: 's' });
    await settled();
    account.engine.arrive();
    assert.deepEqual([heard, warnings, changes.size], [[1, 2, 3, 4], [], 0], 'nothing is told twice');
  });

  test('hears on although its handler throws', async () => {
    const report = mock.method(console, 'error', () => {});
    const { subscriptions, start } = setUp(2);
    let calls = 0;
    await subscriptions.add(start(), 's', () => {
      calls += 1;
      throw new Error('a bug of the application');
    }, 'stored');
    assert.deepEqual([calls, report.mock.callCount()], [2, 2]);
    report.mock.restore();
  });
});
