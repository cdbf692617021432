// The lock of a conversation on the chat page, and the devices that it is about: approved, refused and removed, in browsers of their own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barriersOf } from './harness/accessible.mjs';
import { chat, desktop, phone, standIn } from './harness/chat.mjs';
import { until } from './harness/wait.mjs';
import { newWallet } from './harness/wallet.mjs';

const { open, openTwo } = chat();

const short = (address) => `${address.slice(0, 4)}…${address.slice(-4)}`;
/** From its first word on: “Not encrypted” has “encrypted” in it. */
const lockOf = (person, says) => person.page.locator('#lock', { hasText: new RegExp(`^${says}`) });
const holdersOf = (person) => person.page.locator('.holder').evaluateAll((rows) => rows.map((row) => row.getAttribute('aria-label')));

/** The person of the browser's own wallet becomes the one of the extension's. */
async function enter(person, wallet) {
  await person.page.getByRole('button', { name: 'Sign out' }).click();
  await person.page.locator('#sign-out-yes').click();
  await person.page.getByRole('button', { name: 'Sign in with Pocket' }).click();
  await person.page.locator('#me-address', { hasText: wallet.address }).waitFor();
  await person.page.getByRole('button', { name: 'Devices' }).waitFor();
}

/** The wallet may be asked for first. */
async function signOutOthers({ page }, connect = null) {
  await page.getByRole('button', { name: 'Devices' }).click();
  await page.getByRole('button', { name: 'Sign out all others' }).click();
  await page.locator('#ask-yes').click();
  if (connect) await page.getByRole('button', { name: connect }).click();
  await until('it is alone', async () => (await page.locator('.device').count()) === 1);
}

async function noBarriers({ page }) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await barriersOf(page), [], colorScheme);
  }
}

test('the lock says in both windows that they are encrypted', { timeout: 120_000 }, async (t) => {
  const [alice, bob] = await openTwo(t, [desktop, phone]);
  await lockOf(alice, 'Encrypted').waitFor();
  await alice.write('Hello Bob');
  await bob.sees('Hello Bob');
  for (const [one, other] of [[alice, bob], [bob, alice]]) {
    const { page } = one;
    await lockOf(one, 'Encrypted since').waitFor();
    await page.locator('#lock').focus();
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: /^Encrypted since/ });
    await dialog.getByText('The relay cannot.').waitFor();
    assert.equal(await page.locator('#lock-epoch').textContent(), '1');
    await until('the devices are known', async () => String((await holdersOf(one)).sort()) === String(['You, 1 approved device', `${short(other.address)}, 1 approved device`].sort()));
    await noBarriers(one);
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    assert.equal(await page.evaluate(() => document.activeElement.id), 'lock', 'the focus is where it was');
    assert.deepEqual(one.complaints, []);
  }
});

test('a device is approved on the page, reads the history, and is removed', { timeout: 120_000 }, async (t) => {
  const wallet = newWallet();
  const here = await open(t, desktop, 'chat.html', { wallet });
  const there = await open(t, phone, 'chat.html', { wallet });
  const bob = await open(t, phone, 'chat.html?profile=bob');
  await enter(here, wallet);
  await here.start(bob.address);
  await here.write('Written before');
  await here.sees('Written before', { status: 'sent' });
  await enter(there, wallet);
  await there.page.getByRole('heading', { name: 'This device waits to be approved' }).waitFor();
  await there.page.locator('.row-main').click();
  await lockOf(there, 'Waits for approval').waitFor();
  await there.write('Written while it waits');
  await there.sees('Written while it waits', { status: 'sent' });
  await here.sees('Written while it waits');
  await bob.page.getByRole('button', { name: /^Accept/ }).click();
  await bob.sees('Written while it waits');
  await bob.write('An answer to that');
  await there.sees('An answer to that');
  assert.equal(await there.page.getByText('Written before').count(), 0, 'it has nothing of the history');
  await noBarriers(there);

  await here.page.getByRole('heading', { name: 'A new device of yours waits' }).waitFor();
  const [number, same] = await Promise.all([here, there].map(({ page }) => page.locator('#request-numbers strong').textContent()));
  assert.match(number, /^\d{3} \d{3}$/);
  assert.equal(number, same);
  await noBarriers(here);
  await here.page.getByRole('button', { name: 'Devices' }).click();
  const names = () => here.page.locator('.device').evaluateAll((rows) => rows.map((row) => row.getAttribute('aria-label').replace(/^This device, \w+/, 'This device').replace(/Device \w+/, 'Another').replace(/, added.*/, '')));
  await until('both are listed', async () => String(await names()) === 'This device, approved,Another, waits for approval');
  await here.page.locator('#devices-close').click();
  await here.page.locator('#request-yes').click();
  await here.page.locator('#request').waitFor({ state: 'hidden' });
  await there.page.locator('#request').waitFor({ state: 'hidden' });
  await there.sees('Written before');
  await lockOf(there, 'Encrypted since').waitFor();

  await here.page.getByRole('button', { name: 'Devices' }).click();
  await until('it is approved', async () => String(await names()) === 'This device, approved,Another, approved');
  await here.page.getByRole('button', { name: /^Remove/ }).click();
  await here.page.locator('#ask-yes').click();
  await until('it is gone', async () => String(await names()) === 'This device, approved');
  await here.page.locator('#devices-close').click();
  await lockOf(there, 'This device was removed').waitFor();
  await bob.write('Behind its back');
  await here.sees('Behind its back');
  await here.page.locator('#lock').click();
  assert.ok(Number(await here.page.locator('#lock-epoch').textContent()) > 1, 'a key that it has not got');
  await there.sees('Written before');
  assert.equal(await there.page.getByText('Behind its back').count(), 0);

  await there.page.getByRole('heading', { name: 'This device was removed from your account' }).waitFor();
  assert.deepEqual(await Promise.all(['#composer', '#notice', '#lock-strip'].map((place) => there.page.locator(place).isVisible())), [false, false, false], 'it is said once');
  await noBarriers(there);
  await there.page.getByRole('button', { name: 'Sign in again' }).click();
  await there.page.locator('#composer').waitFor();
  await there.page.getByRole('heading', { name: 'This device waits to be approved' }).waitFor();
  await here.page.locator('#lock-close').click();
  await here.page.locator('#request-no').click();
  await here.page.getByText(/^Remove device \w+\?/).waitFor();
  await here.page.locator('#ask-yes').click();
  await here.page.locator('#request').waitFor({ state: 'hidden' });
  await there.page.getByRole('button', { name: 'Sign in again' }).waitFor();
  for (const { complaints } of [here, there, bob]) assert.deepEqual(complaints, []);
});

test('behind a reset the lock promises nothing of before', { timeout: 120_000 }, async (t) => {
  const wallet = newWallet();
  const here = await open(t, desktop, 'chat.html', { wallet });
  const bob = await open(t, desktop, 'chat.html?profile=bob');
  await enter(here, wallet);
  await here.start(bob.address);
  await here.write('Written before');
  await bob.page.getByRole('button', { name: /^Accept/ }).click();
  await bob.sees('Written before');
  await here.page.context().setOffline(true);
  const there = await open(t, phone, 'chat.html', { wallet });
  await enter(there, wallet);
  await signOutOthers(there);
  await there.page.locator('#devices-close').click();
  await there.page.getByText('Nothing to read yet').waitFor();
  await there.page.locator('.row-main').click();
  const lost = there.page.getByText('What was written before can be read on no device of yours any more');
  await there.page.locator('#thread-empty').and(lost).waitFor();
  await lockOf(there, 'Encrypted').click();
  await there.page.locator('#lock-says').and(lost).waitFor();
  assert.doesNotMatch(await there.page.locator('body').innerText(), /comes? by itself|waits? for/);
  await noBarriers(there);
  await there.page.keyboard.press('Escape');
  await bob.write('Written behind it');
  await there.sees('Written behind it');
  await there.page.locator('#older').and(lost).waitFor();
  await there.write('And answered');
  await bob.sees('And answered');
  assert.equal(await there.page.locator('#lock-strip').isVisible(), false, 'nothing waits');
  for (const { complaints } of [there, bob]) assert.deepEqual(complaints, []);
});

test('a conversation whose texts wait for a key says so', { timeout: 120_000 }, async (t) => {
  const wallet = newWallet();
  const alice = await open(t, desktop);
  await alice.start(wallet.address);
  await alice.write('Before you came');
  await alice.sees('Before you came', { status: 'sent' });
  await alice.page.getByRole('switch', { name: 'Offline' }).click();
  const bob = await open(t, phone, 'chat.html', { wallet });
  await enter(bob, wallet);
  await bob.page.getByRole('button', { name: /^Accept/ }).click();
  await bob.page.locator('#lock-strip', { hasText: '1 part of this conversation waits for a key, and comes by itself.' }).waitFor();
  await bob.page.getByText('Nothing of this conversation can be read here yet.').waitFor();
  await noBarriers(bob);
  await bob.write('Hello?');
  await bob.sees('Hello?', { status: 'sent' });
  await bob.page.getByText('More was written before, and waits for its key.').waitFor();
  await alice.page.getByRole('switch', { name: 'Offline' }).click();
  await bob.sees('Before you came');
  await bob.page.getByText('The beginning of this conversation').waitFor();
  await bob.page.locator('#lock-strip').waitFor({ state: 'hidden' });
  for (const { complaints } of [alice, bob]) assert.deepEqual(complaints, []);
});

test('a page that was loaded again finds its wallet', { timeout: 120_000 }, async (t) => {
  for (const asks of [false, true]) {
    const wallet = { ...newWallet(), asks };
    const here = await open(t, desktop, 'chat.html', { wallet });
    await enter(here, wallet);
    const there = await open(t, phone, 'chat.html', { wallet });
    const { page } = there;
    await enter(there, wallet);
    await page.getByRole('heading', { name: 'This device waits to be approved' }).waitFor();
    await page.reload();
    await page.locator('#copy:enabled').waitFor();
    const refused = await page.evaluate(async () => {
      const { connect } = await import('/pkg/index.js');
      const sdk = await connect({ relayEndpoint: `ws://${location.host}/`, databaseName: 'solconnect-chat', domains: [location.host] });
      const { code, userMessage } = (await sdk.signOutOtherDevices()).error;
      return `${code}: ${userMessage}`;
    });
    assert.equal(refused, 'WALLET_NOT_CONNECTED: Connect your wallet again.');
    const sign = () => signOutOthers(there, asks ? 'Connect Pocket' : null);
    await sign();
    await page.locator('#devices-close').click();
    await here.page.getByRole('button', { name: 'Sign in again' }).waitFor();
    assert.equal(await here.page.getByRole('switch', { name: 'Offline' }).getAttribute('aria-checked'), 'false', 'who was removed has not gone offline');
    await here.page.reload();
    await here.page.getByRole('button', { name: 'Sign in again' }).click();
    if (asks) await here.page.getByRole('button', { name: 'Connect Pocket' }).click();
    await here.page.getByRole('heading', { name: 'This device waits to be approved' }).waitFor();
    await page.getByRole('heading', { name: 'A new device of yours waits' }).waitFor();
    for (const { complaints } of [here, there]) assert.deepEqual(complaints, []);
  }
});

// With a stand-in for the SDK.

const me = 'Me11111111111111111111111111111111111111111';
const peerWallet = 'Peer1111111111111111111111111111111111111111';
const epoch = { number: 3, beganAt: Date.UTC(2026, 5, 7, 12) };
const both = (generation) => [{ wallet: me, generation: 1, approvedDeviceCount: 2 }, { wallet: peerWallet, generation }];

test('each state of the lock is said, and how it ends', { timeout: 60_000 }, async (t) => {
  for (const viewport of [desktop, phone]) {
    const alice = await open(t, viewport, 'chat.html', { standIn });
    const { page } = alice;
    const conversation = { sessionId: 's1', peerWallet, kind: 'pair', members: [], membership: 'member', unreadCount: 0, queuedMessageCount: 0, state: 'active' };
    await page.evaluate((items) => globalThis.standIn.conversations.set({ items, isLoading: false }), [conversation]);
    await page.locator('.row-main').click();
    const states = [
      [{ encryption: 'off', members: [], unreadEpochCount: 0 }, 'Not encrypted', 'The relay can read this conversation.'],
      [{ encryption: 'required', members: both() }, 'Encrypted', 'The first text makes the key.'],
      [{ encryption: 'required', epoch, members: both(1) }, 'Encrypted since Jun 7', 'The relay cannot.'],
      [{ encryption: 'required', epoch, members: both(1), unreadEpochCount: 2 }, 'Encrypted since Jun 7', '2 parts of this conversation wait for a key'],
      [{ encryption: 'required', epoch, members: both(1), unreadEpochCount: 0, lostEpochCount: 1 }, 'Encrypted since Jun 7', 'its key was lost'],
      [{ encryption: 'required', epoch, members: both(0) }, 'Encrypted, cannot be read yet', 'Peer…1111 has no key yet'],
      [{ encryption: 'required', epoch, members: both(1), missing: 'DEVICE_NOT_APPROVED' }, 'Waits for approval', 'choose “Approve” there'],
      [{ encryption: 'required', epoch, members: both(1), missing: 'ACCOUNT_KEY_MISSING' }, 'Cannot read yet', 'It comes by itself'],
      [{ encryption: 'required', epoch, members: both(1), missing: 'SIGN_IN_REQUIRED' }, 'Not signed in', 'Sign in again'],
      [{ encryption: 'required', epoch, members: both(1), missing: 'DEVICE_REMOVED' }, 'This device was removed', 'Sign in again'],
    ];
    for (const [state, brief, says] of states) {
      await page.evaluate((state) => globalThis.standIn.setEncryption(state), state);
      await lockOf(alice, brief).waitFor();
      await page.locator('#lock').click();
      await page.locator('#lock-says', { hasText: says }).waitFor();
      await noBarriers(alice);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, brief);
      await page.locator('#lock-close').click();
    }
    assert.deepEqual(alice.complaints, []);
  }
});
