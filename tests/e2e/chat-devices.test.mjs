// What somebody finds who tries the chat's devices without an extension, on a narrow phone too.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barriersOf } from './harness/accessible.mjs';
import { authenticator } from './harness/authenticator.mjs';
import { chat, desktop, phone, standIn } from './harness/chat.mjs';
import { until } from './harness/wait.mjs';

const { stage, open } = chat();
const narrow = { width: 320, height: 640 };

/** The link of the page to its other device, in a window of the same browser. */
async function otherDevice({ page, context }) {
  const opened = context.waitForEvent('page');
  await page.getByRole('link', { name: 'Open another device of yours in another window' }).click();
  const other = await opened;
  await other.locator('#copy:enabled').waitFor({ state: 'attached', timeout: 30_000 });
  return other;
}

/** What a device calls itself, and what another one calls it. */
async function nameIn(page, label) {
  await page.getByRole('button', { name: 'Devices' }).click();
  const name = await page.locator('.device strong', { hasText: label }).textContent();
  await page.locator('#devices-close').click();
  return name.slice(-6);
}

test('two windows with the test wallet are two devices', { timeout: 120_000 }, async (t) => {
  const here = await open(t, desktop, 'chat.html?wallet=test');
  const bob = await open(t, phone, 'chat.html?profile=bob');
  await here.start(bob.address);
  await here.write('Written before');
  await here.sees('Written before', { status: 'sent' });
  const there = await otherDevice(here);
  assert.equal(await there.locator('#me-address').textContent(), here.address, 'the same wallet');
  await there.getByRole('heading', { name: 'This device waits to be approved' }).waitFor();
  await there.setViewportSize({ width: 375, height: 720 });
  await until('what it says leaves the page to the conversations', async () => (await there.locator('#request').boundingBox()).height <= 0.2 * 720);
  await there.setViewportSize(desktop);
  await here.page.getByRole('heading', { name: 'A new device of yours waits' }).waitFor();
  assert.equal(await nameIn(there, 'This device'), await nameIn(here.page, /^Device/), 'they can be compared');
  await here.page.locator('#request-yes').click();
  await there.locator('#request').waitFor({ state: 'hidden' });
  await there.locator('.row-main').click();
  await there.getByText('Written before', { exact: true }).last().waitFor();
  assert.equal(await there.getByRole('link', { name: 'Open another device of yours' }).getAttribute('href'), '/chat.html?wallet=test');

  await here.page.getByRole('button', { name: 'Devices' }).click();
  await here.page.getByRole('button', { name: 'Make a recovery code' }).click();
  const code = await here.page.locator('#recovery-code:not(:empty)').textContent();
  await here.page.locator('#recovery-done').click();
  await here.page.keyboard.type(code.slice(-4));
  await here.page.keyboard.press('Enter');
  await here.page.locator('#recovery-dialog').waitFor({ state: 'hidden' });
  const statusOf = (text) => there.locator('.row', { hasText: text }).locator('.status').textContent();
  const offline = there.getByRole('switch', { name: 'Offline' });
  await offline.click();
  await there.locator('#write').fill('Written meanwhile');
  await there.keyboard.press('Enter');
  await until('it waits', async () => (await statusOf('Written meanwhile')) === 'Waiting to be sent');
  await here.page.getByRole('button', { name: /^Remove/ }).click();
  await here.page.getByText('One that is offline is signed out when it is back.').waitFor();
  await here.page.locator('#ask-yes').click();
  await until('it is gone', async () => (await here.page.locator('.device').count()) === 1);
  await here.page.locator('#devices-close').click();
  await offline.click();
  await there.getByRole('heading', { name: 'This device was removed from your account' }).waitFor();
  await until('it says what becomes of it', async () => (await statusOf('Written meanwhile')) === 'Not sent: goes out when you sign in again');
  await there.getByRole('button', { name: 'Sign in again' }).click();
  await here.sees('Written meanwhile');
  await there.getByRole('heading', { name: 'This device waits to be approved' }).waitFor();
  await there.getByRole('button', { name: 'Devices' }).click();
  await there.locator('#recovery-typed').fill(code);
  await there.locator('#recovery-recover').click();
  await there.locator('#request').waitFor({ state: 'hidden' });
  assert.deepEqual([...here.complaints, ...bob.complaints], []);
});

test('a passkey of the chat page brings its person back', { timeout: 60_000 }, async (t) => {
  const { page, complaints } = await open(t, desktop);
  // No passkey is for a number.
  const address = stage.relay.url.replace('127.0.0.1', 'localhost') + 'chat.html?wallet=test';
  const devices = page.getByRole('button', { name: 'Devices' });
  await page.goto(address);
  await authenticator(page);
  await devices.click();
  await page.getByRole('button', { name: 'Make a passkey' }).click();
  await page.getByText(/^You have a passkey since/).waitFor();
  await page.goto(`${address}&profile=phone`);
  await page.getByRole('heading', { name: 'This device waits to be approved' }).waitFor();
  await devices.click();
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await page.locator('#request').waitFor({ state: 'hidden' });
  await page.getByText(/^You have a passkey since/).waitFor();
  assert.deepEqual(complaints, []);
});

test('on a narrow phone nothing is wider than the screen', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, narrow, `chat.html?profile=bob`);
  const carol = await open(t, narrow, `chat.html?profile=carol&peer=${alice.address}`);
  const fits = async (what) => {
    for (const { page } of [alice, carol]) {
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), what);
      for (const id of ['send', 'offline', 'copy-peer', 'back', 'lock']) {
        const box = await page.locator(`#${id}`).boundingBox();
        assert.ok(!box || (box.x >= 0 && box.x + box.width <= narrow.width), `${id}, ${what}`);
      }
    }
  };
  await carol.page.locator('#thread').waitFor();
  await carol.page.locator('#lock.is-on').waitFor();
  await fits('with a conversation open');
  await carol.write('Hello');
  await alice.page.getByRole('button', { name: /^Accept/ }).waitFor();
  await fits('with an invitation');
  await alice.page.getByRole('button', { name: /^Accept/ }).click();
  await alice.sees('Hello');
  await fits('with a message');
  await alice.page.getByRole('button', { name: /^Copy the address of / }).waitFor();
  assert.ok(await alice.page.locator('#copy-peer').evaluate((node) => node.scrollHeight < 2 * Number.parseFloat(getComputedStyle(node).lineHeight) + 12), 'on one line');
  // The ring around what has the focus lies over nothing else.
  await alice.page.locator('#lock').click();
  await alice.page.keyboard.press('Escape');
  const ring = await alice.page.locator('#lock').evaluate((node) => {
    const { outlineOffset, outlineWidth } = getComputedStyle(node);
    return node.matches(':focus-visible') ? parseFloat(outlineOffset) + parseFloat(outlineWidth) : null;
  });
  assert.equal(ring, 0);
  for (const { complaints } of [alice, carol]) assert.deepEqual(complaints, []);
});

// With a stand-in for the SDK.

const small = { width: 375, height: 667 };
const peerWallet = 'Peer1111111111111111111111111111111111111111';
const deviceOf = (number, more) => ({ id: String(number).repeat(22), isThisDevice: number === 1, isApproved: true, addedAt: Date.UTC(2026, 8, 22 + number, 12, 34), ...more });

/** A person with these devices, who has opened a conversation. */
async function openWith(t, devices) {
  const alice = await open(t, small, 'chat.html', { standIn });
  const conversation = { sessionId: 's1', peerWallet, kind: 'pair', members: [], membership: 'member', unreadCount: 0, queuedMessageCount: 0, state: 'active' };
  await alice.page.evaluate(([devices, conversation]) => {
    globalThis.standIn.setDevices(devices);
    globalThis.standIn.conversations.set({ items: [conversation], isLoading: false });
    globalThis.standIn.messages.set({ items: [], hasMore: false, isLoading: false });
  }, [devices, conversation]);
  await alice.page.locator('.row-main').click();
  return alice;
}

test('a device that waits says in a conversation what comes, and how', { timeout: 60_000 }, async (t) => {
  const alice = await openWith(t, [deviceOf(1, { isApproved: false }), deviceOf(2)]);
  const { page } = alice;
  const encryption = { encryption: 'required', epoch: { number: 1, beganAt: Date.UTC(2026, 5, 7) }, members: [], missing: 'DEVICE_NOT_APPROVED', unreadEpochCount: 1 };
  await page.evaluate((encryption) => globalThis.standIn.setEncryption(encryption), encryption);
  const empty = page.locator('#thread-empty', { hasText: 'Earlier texts come when this device is approved.' });
  await empty.filter({ hasText: 'choose “Approve” there. You can write already.' }).waitFor();
  await page.evaluate(() => {
    globalThis.standIn.setRecovery({ code: { createdAt: 0 } });
  });
  await empty.filter({ hasText: 'or use your recovery code under Devices' }).waitFor();
  assert.deepEqual(await barriersOf(page), []);
  const own = { id: 'm1', sessionId: 's1', senderWallet: 'Me', isOwn: true, text: 'Written while it waits', timestamp: new Date(0).toISOString(), status: 'sent', sequenceNumber: 1, versions: [] };
  await page.evaluate((own) => globalThis.standIn.messages.set({ items: [own], hasMore: false, isLoading: false }), own);
  await page.locator('#older', { hasText: 'Earlier texts come when this device is approved.' }).waitFor();
  assert.deepEqual(alice.complaints, []);
});

test('a notice in a long dialog covers none of its buttons', { timeout: 60_000 }, async (t) => {
  const alice = await openWith(t, [1, 2, 3, 4, 5, 6].map((number) => deviceOf(number)));
  const { page } = alice;
  await page.locator('#back').click();
  await page.locator('#devices').click();
  await page.getByRole('button', { name: 'Remove: Device 333333' }).click();
  await page.locator('#ask-yes').click();
  // What is read aloud says the same.
  const done = page.locator('#notice-done', { hasText: 'Device 333333 is removed.' });
  await done.waitFor();
  const notice = await done.boundingBox();
  for (const name of ['Sign out all others', 'Close']) {
    const button = await page.locator('#devices-dialog').getByRole('button', { name, exact: true }).boundingBox();
    assert.ok(button.y + button.height <= notice.y && notice.y + notice.height <= small.height, name);
  }
  assert.ok(await page.locator('#devices-dialog .dialog-body').evaluate((body) => body.scrollHeight > body.clientHeight), 'what is long scrolls by itself');
  assert.ok(await page.getByText('Added Sep 24, 2026, 12:34').evaluate((node) => node.getClientRects().length === 1), 'on one line');
  await page.locator('#devices-close').focus();
  assert.deepEqual(await barriersOf(page), []);
});

test('signing out all others is the last way back of a device that waits', { timeout: 60_000 }, async (t) => {
  const alice = await openWith(t, [deviceOf(1), deviceOf(2)]);
  const { page } = alice;
  await page.locator('#back').click();
  await page.locator('#devices').click();
  const reset = page.getByRole('button', { name: 'Sign out all others' });
  const inSection = () => reset.evaluate((button) => button.closest('section')?.id ?? null);
  assert.equal(await inSection(), null);
  await page.evaluate((devices) => globalThis.standIn.setDevices(devices), [deviceOf(1, { isApproved: false }), deviceOf(2)]);
  assert.equal(await inSection(), 'recovery');
  await page.getByText('This device is approved then, and earlier texts are lost.').waitFor();
  await page.evaluate((devices) => globalThis.standIn.setDevices(devices), [deviceOf(2), deviceOf(3)]);
  await reset.waitFor({ state: 'hidden' });
  await page.evaluate((devices) => globalThis.standIn.setDevices(devices), [deviceOf(1), deviceOf(2)]);
  assert.equal(await inSection(), null);
  assert.deepEqual(alice.complaints, []);
});

test('Escape leaves a recovery code only after a question', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, phone, 'chat.html', { standIn });
  const { page } = alice;
  await page.evaluate(() => globalThis.standIn.setDevices([{ id: '1'.repeat(22), isThisDevice: true, isApproved: true, addedAt: Date.UTC(2026, 5, 1) }]));
  await page.locator('#devices').click();
  await page.locator('#recovery-make').click();
  await page.getByText('It is shown only now').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('#recovery-last').waitFor();
  assert.equal(await page.getByText('It is shown only now').isVisible(), false, 'nothing is shown');
  assert.deepEqual(await barriersOf(page), []);
  for (const answer of ['#ask-no', '#ask-yes']) {
    await page.keyboard.press('Escape');
    await page.getByRole('dialog', { name: 'Close without checking?' }).waitFor();
    assert.deepEqual(await barriersOf(page), []);
    await page.locator(answer).click();
    await page.locator('#ask').waitFor({ state: 'hidden' });
    if (answer === '#ask-no') assert.ok(await page.locator('#recovery-last').isVisible());
  }
  await until('the code is gone', async () => (await page.locator('#recovery-code').textContent()) === '');
  assert.deepEqual(alice.complaints, []);
});

test('what was switched off stays so when the page is opened again', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, phone, 'chat.html?profile=bob');
  const isOffline = () => alice.page.locator('#offline').getAttribute('aria-checked');
  for (const wish of ['true', 'false']) {
    await alice.page.locator('#offline').click();
    await until(`it is ${wish}`, async () => (await isOffline()) === wish);
    await alice.page.reload();
    await alice.page.locator('#offline:enabled').waitFor();
    assert.equal(await isOffline(), wish);
    await alice.page.locator('#status').getByRole('status').filter({ hasText: wish === 'true' ? 'Offline' : 'Up to date' }).waitFor();
  }
});
