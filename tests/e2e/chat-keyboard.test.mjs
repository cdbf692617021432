// The dialogs of the chat page by the keyboard alone, in a wide window and on a phone; with a stand-in for the SDK.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barriersOf } from './harness/accessible.mjs';
import { chat, desktop, phone, standIn } from './harness/chat.mjs';
import { until } from './harness/wait.mjs';

const { open } = chat();

const me = 'Me11111111111111111111111111111111111111111';
const peerWallet = 'Peer1111111111111111111111111111111111111111';
const device = { id: 'a1', isThisDevice: true, isApproved: true, addedAt: Date.UTC(2026, 5, 7) };
const both = [{ wallet: me, isAdmin: true }, { wallet: peerWallet, isAdmin: false }];
const group = { sessionId: 's1', peerWallet, kind: 'group', name: 'Runners', members: both, membership: 'member', unreadCount: 0, queuedMessageCount: 0, state: 'active' };

const focusOf = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.localName);

/** The page with a group, two devices and a wallet that must sign. */
async function opened(t, viewport) {
  const person = await open(t, viewport, 'chat.html', { standIn, reducedMotion: 'reduce' });
  const { page } = person;
  await page.evaluate(({ group, devices, members }) => {
    const { standIn } = globalThis;
    standIn.conversations.set({ items: [group], isLoading: false });
    standIn.messages.set({ items: [], hasMore: false, isLoading: false });
    standIn.setDevices(devices);
    standIn.setEncryption({ encryption: 'required', epoch: { number: 1, beganAt: 0 }, members, unreadEpochCount: 1, lostEpochCount: 0 });
    standIn.emit('signInNeeded', {});
    standIn.failures.signIn = standIn.failures.signOutOtherDevices = { code: 'WALLET_NOT_CONNECTED', userMessage: 'Connect a wallet first.' };
    standIn.setWallets([{ name: 'Pocket', accounts: [], features: {} }]);
  }, { group, devices: [device, { ...device, id: 'b2', isThisDevice: false }], members: both.map(({ wallet }) => ({ wallet, generation: 1 })) });
  return person;
}

test('each dialog keeps the focus and gives it back', { timeout: 120_000 }, async (t) => {
  for (const viewport of [desktop, phone]) {
    const { page, complaints } = await opened(t, viewport);
    const inList = ['new', 'new-group', 'sign-out', 'devices', 'sign-again'];
    const dialogOf = { new: 'new-dialog', 'new-group': 'people-dialog', 'sign-out': 'sign-out-dialog', devices: 'devices-dialog', 'sign-again': 'wallet-dialog', 'open-group': 'group-dialog', lock: 'lock-dialog', 'group-add': 'people-dialog', 'devices-reset': 'ask' };
    /** Presses a button; with the dialog open, does something and leaves by Escape. */
    const visit = async (opener, within = async () => {}) => {
      const dialog = page.locator(`#${dialogOf[opener]}`);
      await page.locator(`#${opener}`).focus();
      await page.keyboard.press('Enter');
      await dialog.waitFor();
      assert.ok(await dialog.evaluate((node) => node.contains(document.activeElement)), `${opener}: the focus is in it`);
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await barriersOf(page), [], `${opener}, ${colorScheme}`);
      }
      for (let presses = 0; presses < 12; presses += 1) {
        await page.keyboard.press('Tab');
        // Behind the last place the browser's own come.
        assert.ok(await dialog.evaluate((node) => node.contains(document.activeElement) || document.activeElement === document.body), `${opener}: it stays in it`);
      }
      const { x, y, width, height } = await dialog.boundingBox();
      assert.ok(x >= 0 && y >= 0 && x + width <= viewport.width && y + height <= viewport.height, `${opener}: all of it is on the screen`);
      await within();
      await page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'hidden' });
      await until(`${opener} has the focus again`, async () => (await focusOf(page)) === opener);
    };
    for (const opener of inList) await visit(opener, opener === 'devices' ? () => visit('devices-reset') : undefined);
    await page.locator('.row-main').click();
    await visit('open-group', () => visit('group-add'));
    await visit('lock');
    assert.deepEqual(complaints, []);
  }
});

test('a finished dialog leaves the focus where one goes on', { timeout: 60_000 }, async (t) => {
  const { page, complaints } = await opened(t, phone);
  const focused = (id) => until(`${id} has the focus`, async () => (await focusOf(page)) === id);
  await page.locator('#devices').focus();
  await page.keyboard.press('Enter');
  await page.locator('#recovery-make', { hasText: 'Make a recovery code' }).focus();
  await page.keyboard.press('Enter');
  await focused('recovery-done');
  await page.keyboard.press('Enter');
  await focused('recovery-last');
  await page.keyboard.type('rstv');
  await page.keyboard.press('Enter');
  await focused('recovery-make');
  await page.evaluate(() => globalThis.standIn.setRecovery({ code: { createdAt: 1 } }));
  await page.getByRole('button', { name: 'Make a new recovery code' }).waitFor();

  // The wallet has the account now, and signs; then there is one device.
  await page.locator('#devices-reset').focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.locator('#wallet-dialog').waitFor();
  await page.getByRole('button', { name: 'Connect Pocket' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('#wallet-error', { hasText: 'Pocket does not give this page the account Me11…1111.' }).waitFor();
  await page.evaluate(({ me, device }) => {
    const { standIn } = globalThis;
    standIn.failures.signOutOtherDevices = null;
    standIn.setWallets([{ name: 'Pocket', accounts: [{ address: me }], features: {} }]);
  }, { me });
  await page.getByRole('button', { name: 'Connect Pocket' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('#wallet-dialog').waitFor({ state: 'hidden' });
  await page.evaluate((device) => globalThis.standIn.setDevices([device]), device);
  await focused('devices-close');
  await page.keyboard.press('Enter');
  await focused('devices');

  // Trouble is said where it covers nothing, and left to where one was.
  await page.locator('.row-main').click();
  await page.locator('#write').focus();
  await page.evaluate(() => globalThis.standIn.emit('warning', { error: { code: 'RELAY_ROLLED_BACK', userMessage: 'The relay has lost messages that it had confirmed. Ask its operator to restore them.' } }));
  await page.locator('#notice').waitFor();
  for (const id of ['lock', 'back', 'peer', 'open-group', 'write', 'send']) {
    const hit = await page.locator(`#${id}`).evaluate((node) => {
      const { left, top, width, height } = node.getBoundingClientRect();
      const found = document.elementFromPoint(left + width / 2, top + height / 2);
      return node === found || node.contains(found);
    });
    assert.ok(hit, `${id} is covered`);
  }
  await page.keyboard.press('Tab');
  await page.locator('#notice-close').focus();
  await page.keyboard.press('Enter');
  await until('the focus is in the composer again', async () => ['write', 'send'].includes(await focusOf(page)));
  assert.deepEqual(complaints, []);
});
