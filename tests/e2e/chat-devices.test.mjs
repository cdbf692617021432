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
  await here.page.getByRole('button', { name: /^Remove/ }).click();
  await here.page.locator('#ask-yes').click();
  await there.getByRole('heading', { name: 'This device was removed from your account' }).waitFor();
  await there.getByRole('button', { name: 'Sign in again' }).click();
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
