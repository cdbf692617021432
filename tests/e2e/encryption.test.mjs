// Encrypted sessions in pages: the second module is loaded, texts are read by their members, and nowhere at the relay.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, scene } from './harness/scene.mjs';
import { inJournal, inMemory } from './harness/traces.mjs';
import { until } from './harness/wait.mjs';
import { newWallet } from './harness/wallet.mjs';

const stage = scene({ auth: 'wallet' });

const config = (more) => ({ domains: [new URL(stage.relay.url).host], deviceApproval: 'auto', ...more });

/** All of these show the same texts, in one order. */
async function show(devices, texts) {
  for (const one of devices) {
    const shown = async () => (await one.list()).map((message) => message.text);
    await until(`${one.name} shows ${texts}`, async () => (await shown()).length >= texts.length);
    assert.deepEqual(await shown(), texts, one.name);
  }
}

test('what members write is read by them, and by nobody at the relay', { timeout: 90_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config() });
  const bob = await device('bob', { config: config() });
  const said = ['The quick brown fox jumps', 'over the lazy dog by night', 'and comes home at sunrise'];
  await alice.send(said[0]);
  await show([alice, bob], said.slice(0, 1));
  await bob.send(said[1]);
  const laptop = await device('bob', { config: config() });
  await show([alice, bob, laptop], said.slice(0, 2));
  await alice.reload();
  await alice.send(said[2]);
  await show([alice, bob, laptop], said);
  const parts = ['quick brown fox', 'lazy dog by night', 'home at sunrise'];
  const { address } = alice.wallet;
  assert.deepEqual(inJournal(stage.relay, ['sealed:', ...parts]), ['sealed:'], 'what stands there is found, and nothing else');
  assert.deepEqual(inMemory(stage.relay, [address, ...parts]), [address], 'what stands there is found, and nothing else');
  for (const one of [alice, bob, laptop]) assert.deepEqual(await one.events('onWarning'), [], one.name);
});

test('a device that waits to be approved writes, and reads the history then', { timeout: 120_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config({ deviceApproval: 'ask' }) });
  const bob = await device('bob', { config: config() });
  const said = ['before the phone was there', 'written while it waits', 'an answer to that', 'from the first device'];
  const [first] = await bob.send(said[0]);
  await show([alice, bob], said.slice(0, 1));
  const phone = await device('alice', { config: config({ deviceApproval: 'ask' }) });
  await until('the phone is listed', async () => (await alice.events('onDeviceRequest')).length === 1);
  await phone.send(said[1]);
  await show([alice, bob], said.slice(0, 2));
  await bob.send(said[2]);
  await show([phone], said.slice(1, 3));
  // It knows the secret of its epoch again.
  await phone.reload();
  await alice.send(said[3]);
  await show([phone], said.slice(1));
  const { missing, epoch } = await phone.call('getEncryption', phone.sessionId);
  assert.deepEqual([missing, epoch.number], ['DEVICE_NOT_APPROVED', 2]);
  const asks = ['getMessage', 'getMessageStatus', 'markMessageAsRead'];
  const codes = async () => Promise.all(asks.map(async (ask) => (await phone.failure(ask, first)).code));
  assert.deepEqual(await codes(), asks.map(() => 'UNKNOWN_MESSAGE'), 'what it cannot read is not there yet');
  await alice.reload();
  await until('it is asked again', async () => (await alice.events('onDeviceRequest')).length === 1);
  const [[{ id }]] = await alice.events('onDeviceRequest');
  await alice.call('approveDevice', id);
  await show([alice, bob, phone], said);
  assert.equal((await phone.call('getMessage', first)).text, said[0]);
  for (const ask of asks.slice(1)) await phone.call(ask, first);
  for (const traces of [inJournal, inMemory]) assert.deepEqual(traces(stage.relay, said), []);
  for (const one of [alice, bob, phone]) assert.deepEqual(await one.events('onWarning'), [], one.name);
});

test('both devices show the same number, and another device another one', { timeout: 120_000 }, async (t) => {
  const { device } = cast(t, stage);
  const ask = { config: config({ deviceApproval: 'ask' }) };
  const alice = await device('alice', ask);
  const phone = await device('alice', ask);
  const other = await device('alice', ask);
  const tab = await device('alice', { ...ask, name: alice.name, joins: true });
  const shown = async (one, another) => (await one.call('getDevices')).find(({ id }) => id === another.id)?.number;
  const agree = async (one, another) => {
    await until(`${one.id} and ${another.id} show one number`, async () => {
      const number = await shown(one, another);
      return number !== undefined && number === (await shown(another, one));
    });
    return shown(one, another);
  };
  const numbers = [await agree(alice, phone), await agree(alice, other)];
  for (const number of numbers) assert.match(number, /^\d{6}$/);
  assert.notEqual(numbers[0], numbers[1]);
  assert.equal(await shown(phone, other), undefined, 'both wait');
  assert.deepEqual([await shown(tab, phone), await shown(tab, other)], numbers, 'in every tab');
  for (const [one, number] of [[phone, numbers[0]], [other, numbers[1]]]) {
    assert.deepEqual((await one.events('onDeviceNumber')).map(([told]) => [told.id, told.number]), [[alice.id, number]]);
  }
  // A person who reloads a page still compares the same.
  await phone.reload();
  assert.equal(await agree(alice, phone), numbers[0]);
  await alice.reload();
  assert.equal(await agree(alice, phone), numbers[0]);
  const now = await agree(alice, phone);
  await alice.call('approveDevice', phone.id);
  await until('there is nothing to compare any more', async () => (await shown(alice, phone)) === undefined && (await shown(phone, alice)) === undefined);
  assert.notEqual(await agree(phone, other), now, 'who is approved compares with who waits');
  for (const one of [alice, phone, other]) assert.deepEqual(await one.events('onWarning'), [], one.name);
});

test('a device that is removed while it waits reads nothing more', { timeout: 90_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config({ deviceApproval: 'ask' }) });
  const bob = await device('bob', { config: config() });
  const phone = await device('alice', { config: config({ deviceApproval: 'ask' }) });
  await until('the phone is listed', async () => (await alice.events('onDeviceRequest')).length === 1);
  await phone.send('from a phone');
  await show([alice, bob, phone], ['from a phone']);
  await alice.call('removeDevice', phone.id);
  await until('it is told', async () => (await phone.events('onSignInNeeded')).some(([error]) => error?.code === 'DEVICE_REMOVED'));
  await bob.send('behind its back');
  await show([alice, bob], ['from a phone', 'behind its back']);
  assert.equal((await alice.call('getEncryption', alice.sessionId)).epoch.number, 2, 'another epoch');
  await show([phone], ['from a phone']);
});

test('every tab tells what holds of an encrypted session', { timeout: 90_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config({ deviceApproval: 'ask' }) });
  const bob = await device('bob', { config: config() });
  const shown = (one) => one.call('getEncryption', alice.sessionId);
  assert.equal((await shown(alice)).epoch, undefined, 'nothing was written');
  await until('bob has a key', async () => (await shown(bob)).missing === undefined);
  await alice.send('the first text begins an epoch');
  await show([alice, bob], ['the first text begins an epoch']);
  const { encryption, epoch, members, unreadEpochCount, missing } = await shown(alice);
  assert.deepEqual([encryption, epoch.number, unreadEpochCount, missing], ['required', 1, 0, undefined]);
  assert.ok(Math.abs(epoch.beganAt - Date.now()) < 60_000);
  assert.deepEqual(members.map(({ generation, approvedDeviceCount }) => [generation, approvedDeviceCount]), [[1, 1], [1, 1]]);
  assert.deepEqual((await shown(bob)).epoch, epoch);
  const tab = await device('alice', { config: config({ deviceApproval: 'ask' }), name: alice.name, joins: true });
  assert.deepEqual(await shown(tab), await shown(alice), 'the other tab asks the one that owns');
  const phone = await device('alice', { config: config({ deviceApproval: 'ask' }) });
  await until('the phone is listed', async () => (await alice.events('onDeviceRequest')).length === 1);
  await until('it waits', async () => (await shown(phone)).missing === 'DEVICE_NOT_APPROVED');
  await alice.call('approveDevice', phone.id);
  await show([phone], ['the first text begins an epoch']);
  assert.equal((await shown(phone)).missing, undefined);
  for (const one of [bob, phone]) assert.ok((await one.events('onEncryptionChanged')).length > 0, one.name);
});

test('what was written before somebody was ever here is read', { timeout: 90_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config() });
  const said = ['nobody is there yet', 'and I write again'];
  for (const text of said) await alice.send(text);
  await until('the relay has both', async () => (await alice.list()).every((message) => message.sequenceNumber > 0));
  const bob = await device('bob', { config: config() });
  await show([alice, bob], said);
  const ids = (await bob.list()).map((message) => message.id);
  assert.deepEqual(bob.heard, ids, 'each is told once, in order');
  await bob.send('here I am');
  await bob.reload();
  await show([alice, bob], [...said, 'here I am']);
});

test('an encrypted session needs devices that sign in', { timeout: 60_000 }, async (t) => {
  const { device } = cast(t, stage);
  await assert.rejects(device('alice', { config: { encryption: 'required' } }), /encrypted sessions are of devices that sign in/);
});

test('a recovery code alone brings the whole history to a new device', { timeout: 120_000 }, async (t) => {
  const { device } = cast(t, stage);
  const asks = config({ deviceApproval: 'ask' });
  const alice = await device('alice', { config: asks });
  const bob = await device('bob', { config: config() });
  const said = ['written before the code', 'an answer to that', 'written behind the code'];
  assert.deepEqual(await alice.call('getRecovery'), {});
  const earlier = await alice.call('createRecoveryCode');
  // Who has a code has an account key: so the first text is for both.
  await bob.call('createRecoveryCode');
  await alice.send(said[0]);
  await show([bob], said.slice(0, 1));
  await bob.send(said[1]);
  await show([alice, bob], said.slice(0, 2));
  const code = await alice.call('createRecoveryCode');
  assert.match(code, /^([0-9A-Z]{4}-){6}[0-9A-Z]{4}$/);
  const { createdAt } = (await alice.call('getRecovery')).code;
  assert.ok(Math.abs(createdAt - Date.now()) < 60_000);
  await alice.send(said[2]);
  await show([alice, bob], said);
  // Nobody of the wallet is left.
  await alice.close();
  await bob.close();
  const phone = await device('alice', { config: asks });
  await until('it has signed in', async () => (await phone.call('getDevices')).length === 2);
  assert.deepEqual(await phone.call('getRecovery'), { code: { createdAt } });
  assert.equal((await phone.list()).length, 0);
  const mistyped = `${code[0] === '0' ? '1' : '0'}${code.slice(1)}`;
  assert.equal((await phone.failure('recover', mistyped)).code, 'INVALID_RECOVERY_CODE');
  assert.equal((await phone.failure('recover', earlier)).code, 'UNKNOWN_RECOVERY_CODE');
  assert.equal((await phone.failure('createRecoveryCode')).code, 'DEVICE_NOT_APPROVED');
  await phone.setOffline(true);
  for (const call of [['recover', code], ['createRecoveryCode']]) {
    const { code, userMessage } = await phone.failure(...call);
    assert.deepEqual([code, userMessage], ['RELAY_DISCONNECTED', 'The relay cannot be reached, and this needs it. Try again when you are online.'], call[0]);
  }
  await phone.setOffline(false);
  assert.equal((await phone.list()).length, 0);
  await phone.call('recover', code.toLowerCase().replaceAll('-', ' '));
  await show([phone], said);
  await phone.reload();
  await show([phone], said);
  for (const traces of [inJournal, inMemory]) assert.deepEqual(traces(stage.relay, [code, code.replaceAll('-', '')]), []);
});

test('a code is made and typed in any tab of a device', { timeout: 120_000 }, async (t) => {
  const { device } = cast(t, stage);
  const asks = config({ deviceApproval: 'ask' });
  const alice = await device('alice', { config: asks });
  const second = await device('alice', { config: asks, name: alice.name, joins: true });
  const code = await second.call('createRecoveryCode');
  for (const tab of [alice, second]) {
    await until(`${tab.name} knows of it`, async () => Boolean((await tab.call('getRecovery')).code));
    assert.equal((await tab.events('onRecoveryChanged')).length, 1);
  }
  const phone = await device('alice', { config: asks });
  const other = await device('alice', { config: asks, name: phone.name, joins: true });
  await until('it has signed in', async () => (await other.call('getDevices')).length === 2);
  await other.call('recover', code);
  assert.equal((await phone.call('getDevices')).find(({ isThisDevice }) => isThisDevice).isApproved, true);
});

test('a wipe leaves no key of an encrypted profile', { timeout: 60_000 }, async (t) => {
  const { device, wallets } = cast(t, stage);
  const alice = await device('alice', { config: config({ deviceApproval: 'ask' }) });
  await alice.call('createRecoveryCode');
  await alice.call('logout', { wipe: true });
  const left = await alice.page.evaluate(async ([name, address]) => {
    const databases = (await indexedDB.databases()).map((database) => database.name).filter((database) => database.startsWith(name));
    return [databases, Object.keys(localStorage).filter((key) => key.includes(address)), await caches.keys()];
  }, [alice.config.databaseName, wallets.alice.address]);
  assert.deepEqual(left, [[alice.config.databaseName], [], []], 'the list of wallets is empty, and stays');
  const before = alice.id;
  await alice.reload();
  assert.notEqual(alice.id, before);
  await until('it is a new device', async () => (await alice.call('getDevices')).length === 2);
  assert.equal((await alice.call('getDevices')).find(({ isThisDevice }) => isThisDevice).isApproved, false);
});

test('a tab takes over an encrypted profile while the server is away', { timeout: 90_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config() });
  const bob = await device('bob', { config: config() });
  const tab = await device('alice', { config: config(), name: alice.name, joins: true });
  await stage.relay.pause();
  await alice.close();
  await until('the other tab owns it', async () => await tab.call('getTabRole') === 'owner');
  await tab.send('written offline');
  await show([tab], ['written offline']);
  await stage.relay.start();
  await show([bob, tab], ['written offline']);
});

test('who encrypts and who does not leave each other in peace', { timeout: 90_000 }, async (t) => {
  const { device } = cast(t, stage);
  const alice = await device('alice', { config: config() });
  const bob = await device('bob', { config: config() });
  const stranger = await device('stranger', { config: config({ encryption: 'off' }), wallet: newWallet(), peer: alice.wallet });
  await stranger.send('in clear');
  const warned = async () => (await alice.events('onWarning')).map(([{ code }]) => code);
  await until('it is left out', async () => (await warned()).length > 0);
  await bob.send('are you there?');
  await show([alice], ['are you there?']);
  await alice.send('yes');
  await show([alice, bob], ['are you there?', 'yes']);
  assert.deepEqual(await warned(), ['ENCRYPTION_MISMATCH']);
  const [[{ message }]] = await alice.events('onWarning');
  assert.ok(message.includes(stranger.wallet.address), message);
});
