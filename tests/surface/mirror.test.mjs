// What getters answer in a tab that follows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './modules.mjs';

const { Mirror } = await load('mirror');

const session = (id, more = {}) => ({ view: { session_id: id, isActive: true, vectorClock: {}, ...more }, devices: [{ deviceId: id }], stats: { pendingMessages: 1 } });
const state = (more = {}) => ({
  status: { syncInProgress: false, queuedMessageCount: 0, lastSyncAt: new Date(5) }, connection: 'connected', deviceId: 'd', invitations: [],
  sessions: { b: session('b'), a: session('a', { isActive: false }) }, wishes: { offline: false, autoSync: {} }, ...more,
});
const ids = ({ data }) => data.map(({ session_id }) => session_id);

test('sessions come in the order of their ids, ended ones among the stored alone', () => {
  const mirror = new Mirror(state());
  assert.deepEqual(ids(mirror.getStoredSessions()), ['a', 'b']);
  assert.deepEqual(ids(mirror.getActiveSessions()), ['b']);
  assert.deepEqual(mirror.getDevices('a').data, [{ deviceId: 'a' }]);
});

test('news change what they name and nothing else', () => {
  const mirror = new Mirror(state());
  mirror.take(state({ connection: 'waiting', sessions: { c: session('c') } }));
  assert.deepEqual(ids(mirror.getActiveSessions()), ['b', 'c']);
  assert.equal(mirror.getConnectionStatus().data, 'waiting');
});

test('what a caller does to an answer changes no other answer', () => {
  const mirror = new Mirror(state());
  mirror.getStoredSessions().data[0].session_id = 'broken';
  mirror.getSyncStatus().data.lastSyncAt.setTime(0);
  mirror.getInvitations().data.push('broken');
  assert.deepEqual(ids(mirror.getStoredSessions()), ['a', 'b']);
  assert.equal(mirror.getSyncStatus().data.lastSyncAt.getTime(), 5);
  assert.deepEqual(mirror.getInvitations().data, []);
});

test('an owner of an earlier version tells of no devices of the wallet', () => {
  const devices = [{ id: 'a', isThisDevice: true, isApproved: true, addedAt: 5 }];
  assert.deepEqual(new Mirror(state({ accountDevices: devices })).getAccountDevices().data, devices);
  assert.deepEqual(new Mirror(state()).getAccountDevices().data, []);
});

test('errors are those of the engine', () => {
  const mirror = new Mirror(state());
  for (const getter of ['getDevices', 'getSyncStats']) {
    for (const [id, code] of [['no', 'UNKNOWN_SESSION'], ['constructor', 'UNKNOWN_SESSION'], [undefined, 'INVALID_ARGUMENT'], [5, 'INVALID_ARGUMENT']]) {
      const { success, error } = mirror[getter](id);
      assert.deepEqual([success, error?.code], [false, code]);
    }
  }
});
