// The demo page as a visitor uses it, under the strict policy that the relay serves it with.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { root } from '../../scripts/shell.mjs';
import { barriersOf } from './harness/accessible.mjs';
import { startBrowser } from './harness/browser.mjs';
import { startRelay } from './harness/relay.mjs';
import { until } from './harness/wait.mjs';

let relay;
let browser;

before(async () => {
  relay = await startRelay({ www: join(root, 'www'), auth: 'wallet' });
  browser = await startBrowser();
});

after(async () => {
  await browser?.stop();
  await relay?.stop();
});

/** The page with its three devices connected, and whatever its console complains of. */
async function openDemo(viewport) {
  // Not the harness's own page: that one switches the policy off, which is what is under test here.
  const page = await browser.context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.setViewportSize(viewport);
  await page.goto(relay.url);
  await until('three devices are there', () => page.frames().length === 4, 30_000);
  const device = (name) => page.frameLocator(`[data-device="${name}"] iframe`);
  for (const name of ['alice-phone', 'alice-laptop', 'bob-phone']) {
    await device(name).getByText('Connected', { exact: true }).waitFor({ timeout: 30_000 });
  }
  return { page, device, complaints };
}

test('the demo survives offline writing, a kill and hostile text', { timeout: 120_000 }, async (t) => {
  const { page, device, complaints } = await openDemo({ width: 1440, height: 900 });
  t.after(() => page.close());
  const step = (name) => page.locator('.steps').getByRole('button', { name, exact: true }).click({ timeout: 20_000 });
  await step('Go offline');
  await step('Write both');
  await device('alice-phone').locator('#outbox-count').getByText('1', { exact: true }).waitFor({ timeout: 20_000 });
  await step('Come back');
  await step('Compare');
  await page.getByText('in the same order on 3 of 3 devices').first().waitFor({ timeout: 20_000 });
  assert.ok(await page.getByText('messages, written apart').first().isVisible(), 'the conflict is shown');

  const hostile = '<img src=x onerror="document.title=\'broken\'">';
  await device('bob-phone').locator('#text').fill(hostile);
  await device('bob-phone').locator('#text').press('Enter');
  await device('alice-laptop').getByText(hostile, { exact: true }).waitFor({ timeout: 20_000 });
  assert.notEqual(await page.title(), 'broken', 'T18');

  await device('bob-phone').getByRole('switch', { name: 'Offline' }).click();
  for (const text of ['Kept', 'Kept too']) {
    await device('bob-phone').locator('#text').fill(text);
    await device('bob-phone').locator('#text').press('Enter');
    await device('bob-phone').getByText(text, { exact: true }).first().waitFor();
  }
  await page.getByRole('button', { name: 'Kill Bob’s phone' }).click();
  await until('its frame is gone', () => page.frames().length === 3);
  await page.getByText('and 2 messages that wait to be sent').waitFor();
  await device('alice-phone').locator('#text').fill('Written while Bob was away');
  await device('alice-phone').locator('#text').press('Enter');
  await page.getByRole('button', { name: 'Restore Bob’s phone' }).click();
  // It was away by wish, and still is.
  await device('bob-phone').getByText('Kept too', { exact: true }).first().waitFor({ timeout: 30_000 });
  await device('bob-phone').getByRole('switch', { name: 'Offline', checked: true }).click();
  await device('bob-phone').getByText('Written while Bob was away', { exact: true }).waitFor({ timeout: 30_000 });
  await device('bob-phone').getByText(hostile, { exact: true }).waitFor({ timeout: 20_000 });
  assert.deepEqual(complaints, [], 'no error, and nothing that the policy forbids (T19)');
});

test('two more tabs of a device go on when their owner is frozen or closed', { timeout: 120_000 }, async (t) => {
  const { page, device, complaints } = await openDemo({ width: 1440, height: 900 });
  t.after(() => page.close());
  await page.getByRole('button', { name: 'Open two more tabs of Alice’s laptop' }).click();
  const pane = (number) => page.locator(`[data-pane="${number}"]`);
  const inside = (number) => page.frameLocator(`[data-pane="${number}"] iframe`);
  for (const number of [1, 2]) await pane(number).getByText('Works through tab 1').waitFor({ timeout: 20_000 });
  await page.getByText('Alice’s laptop above is tab 1: owns storage and connection.').waitFor();
  const say = async (where, text) => {
    await where.locator('#text').fill(text);
    await where.locator('#text').press('Enter');
  };
  await say(inside(1), 'from the second tab');
  await inside(2).getByText('from the second tab', { exact: true }).waitFor({ timeout: 20_000 });
  await device('bob-phone').getByText('from the second tab', { exact: true }).waitFor({ timeout: 20_000 });

  // The first one goes, one of the others owns.
  await page.getByRole('button', { name: 'Kill Alice’s laptop' }).click();
  const owner = page.locator('[data-pane]', { has: page.getByText('Owns storage and connection') });
  const silently = page.getByLabel('Freeze without notice');
  let number;
  for (const notice of ['with notice', 'without notice']) {
    await owner.waitFor({ timeout: 20_000 });
    number = Number(await owner.getAttribute('data-pane'));
    await silently.setChecked(notice === 'without notice');
    await pane(number).getByRole('button', { name: /^Freeze/ }).click();
    await pane(3 - number).getByText('Owns storage and connection').waitFor({ timeout: 20_000 });
    // Where the button is it is said too, because the other one may be out of sight.
    await pane(number).getByText(`Frozen${notice === 'without notice' ? ' without notice' : ''}; tab ${4 - number} owns`).waitFor();
    assert.equal(await inside(number).locator('#connection').textContent(), 'Frozen');
    const text = `while the other is frozen ${notice}`;
    await say(inside(3 - number), text);
    await device('bob-phone').getByText(text, { exact: true }).waitFor({ timeout: 20_000 });
    await inside(3 - number).getByText(text, { exact: true }).waitFor({ timeout: 20_000 });
    assert.equal(await inside(number).getByText(text, { exact: true }).count(), 0);
    await pane(number).getByRole('button', { name: /^Thaw/ }).click();
    await inside(number).getByText(text, { exact: true }).waitFor({ timeout: 20_000 });
    await inside(number).getByText('Connected', { exact: true }).waitFor({ timeout: 20_000 });
  }
  await pane(3 - number).getByRole('button', { name: /^Close/ }).click();
  await pane(number).getByText('Owns storage and connection').waitFor({ timeout: 20_000 });
  assert.deepEqual(complaints, []);
});

test('the laboratory shows the bytes that the relay is sent', { timeout: 120_000 }, async (t) => {
  const { page, device, complaints } = await openDemo({ width: 1440, height: 900 });
  t.after(() => page.close());
  const sent = [];
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => sent.push(Buffer.from(payload))));
  await device('bob-phone').getByRole('switch', { name: 'Offline' }).click();
  await device('bob-phone').getByRole('switch', { name: 'Offline', checked: true }).waitFor();
  const text = 'the walls have ears and no key';
  await device('bob-phone').locator('#text').fill(text);
  await device('bob-phone').locator('#text').press('Enter');
  await device('bob-phone').getByRole('switch', { name: 'Offline' }).click();
  await device('alice-laptop').getByText(text, { exact: true }).waitFor({ timeout: 20_000 });
  await page.locator('#seen-devices').getByText(text, { exact: true }).waitFor({ timeout: 20_000 });
  const shown = Buffer.from((await page.locator('.bytes').textContent()).split('…')[0].replaceAll(' ', ''), 'hex');
  assert.equal(shown.length, 64);
  assert.ok(sent.some((frame) => frame.includes(shown)), 'they are what left the page');
  assert.ok(sent.every((frame) => !frame.includes(text)));
  assert.match(await page.locator('#seen-relay').innerText(), /\d+ bytes: 2 of layout and epoch, 12 of nonce, 64 of text with its padding, 16 of tag/);
  assert.deepEqual(complaints, []);
});

test('the laboratory has no barrier and keeps the focus', { timeout: 120_000 }, async (t) => {
  const { page, device, complaints } = await openDemo({ width: 1440, height: 900 });
  t.after(() => page.close());
  const has = (where, says) => until(says, () => where.evaluate((node) => node.ownerDocument.activeElement !== node.ownerDocument.body), 10_000);
  for (const name of ['Go offline', 'Write both', 'Come back', 'Compare']) {
    await page.locator('.steps').getByRole('button', { name, exact: true }).focus({ timeout: 20_000 });
    await page.keyboard.press('Enter');
    await has(page.locator('main'), `the focus after ${name}`);
  }
  const phone = device('alice-phone');
  const writes = phone.locator('main');
  await phone.locator('#text').fill('To be deleted');
  await phone.locator('#text').press('Enter');
  await phone.locator('.row', { hasText: 'To be deleted' }).getByRole('button', { name: 'Delete: To be deleted' }).press('Enter');
  await phone.getByText('Deleted', { exact: true }).waitFor();
  await has(writes, 'the focus after a deletion');
  const opener = page.getByRole('button', { name: /^Open two more tabs/ });
  await opener.focus();
  await page.keyboard.press('Enter');
  await has(page.locator('main'), 'the focus in the bar of the tabs');
  const address = page.frames().find((frame) => frame.url().includes('device.html')).url();
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await barriersOf(page), [], colorScheme);
  }
  const alone = await browser.context.newPage();
  t.after(() => alone.close());
  await alone.goto(address);
  await alone.locator('#text:enabled').waitFor();
  await alone.getByText('Connected', { exact: true }).waitFor();
  assert.deepEqual(await barriersOf(alone), []);
  assert.deepEqual(complaints, []);
});

test('many messages of a laboratory device are one tab stop', { timeout: 60_000 }, async (t) => {
  const { page, device, complaints } = await openDemo({ width: 1440, height: 900 });
  t.after(() => page.close());
  const phone = device('alice-phone');
  await phone.locator('#write-many').click();
  await phone.getByText('Waits for you to come back').waitFor({ timeout: 20_000 });
  await phone.getByRole('switch', { name: 'Offline' }).click();
  await until('they are in the log', async () => (await phone.locator('.row.is-mine').count()) >= 100, 20_000);
  const stops = () => phone.locator('#messages').evaluate((list) => [...list.querySelectorAll('li, button')].filter((node) => node.tabIndex >= 0).length);
  assert.equal(await stops(), 1);
  await phone.locator('#older').focus();
  await page.keyboard.press('Tab');
  const focused = () => phone.locator('#messages').evaluate(() => document.activeElement.getAttribute('aria-label'));
  const last = await focused();
  await page.keyboard.press('ArrowUp');
  const before = await focused();
  assert.match(before, /^This device, #\d+, .+, (Sent|Delivered|Read)$/);
  assert.notEqual(before, last);
  await page.keyboard.press('Tab');
  assert.ok(before.includes((await focused()).replace(/^Edit: /, '')), 'the buttons are in the message, and named after it');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  assert.equal(await phone.locator('#messages').evaluate((list) => list.contains(document.activeElement)), false, 'and nothing but those');
  assert.equal(await stops(), 1);
  assert.deepEqual(complaints, []);
});

test('on a phone nothing is wider than the screen', { timeout: 60_000 }, async (t) => {
  const { page, complaints } = await openDemo({ width: 360, height: 740 });
  t.after(() => page.close());
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wide, 0);
  assert.deepEqual(complaints, []);
});
