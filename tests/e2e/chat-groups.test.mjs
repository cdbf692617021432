// Groups and wallets on the chat page: several people, each in a browser of their own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barriersOf } from './harness/accessible.mjs';
import { chat, desktop, phone, standIn } from './harness/chat.mjs';
import { until } from './harness/wait.mjs';

const { open, openTwo } = chat();

/** Three people, of whom the first two know each other. */
async function openThree(t, viewports = [desktop, desktop, desktop]) {
  const [alice, bob] = await openTwo(t, viewports);
  return [alice, bob, await open(t, viewports[2], 'chat.html?profile=carol')];
}

const dialogOf = (person, name) => person.page.getByRole('dialog', { name });
const membersOf = (person) => person.page.locator('.member').evaluateAll((rows) => rows.map((row) => row.getAttribute('aria-label')));
const short = (address) => `${address.slice(0, 4)}…${address.slice(-4)}`;

test('three people begin a group, talk in it, and see who has read', { timeout: 120_000 }, async (t) => {
  const [alice, bob, carol] = await openThree(t, [desktop, phone, desktop]);
  const { page } = alice;
  await page.locator('#new-group').click();
  const dialog = dialogOf(alice, 'New group');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.getByText('A group needs a name.').waitFor();
  await dialog.getByLabel('Name').fill('Walkers <b>');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.getByText('Choose somebody, or paste an address.').waitFor();
  await dialog.getByLabel('Addresses of others').fill(`${carol.address}\nnobody`);
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.getByText('“nobody” is no address.').waitFor();
  assert.deepEqual(await barriersOf(page), []);
  await dialog.getByLabel('Addresses of others').fill(` ${carol.address} `);
  await dialog.getByRole('checkbox', { name: short(bob.address) }).check();
  await dialog.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('heading', { name: 'Walkers <b>' }).waitFor();
  await page.getByText('3 members').waitFor();
  await alice.write('Hello all');
  await alice.sees('Hello all', { status: 'sent' });
  await page.locator('.row-main', { hasText: 'Walkers <b>' }).waitFor();

  await bob.page.getByRole('button', { name: 'Back to the conversations' }).click();
  for (const { page } of [bob, carol]) {
    await page.getByText(`${short(alice.address)} invites you to Walkers <b>.`).first().waitFor();
    assert.deepEqual(await barriersOf(page), []);
    await page.getByRole('button', { name: 'Accept Walkers <b>' }).click();
    await page.getByRole('heading', { name: 'Walkers <b>' }).waitFor();
  }
  await bob.sees('Hello all');
  await carol.sees('Hello all');
  await carol.write('Hello from Carol');
  await bob.row('Hello from Carol').locator('.author').getByText(short(carol.address)).waitFor();
  const readers = alice.row('Hello all').getByRole('button', { name: 'Read by all' });
  await readers.focus();
  await page.keyboard.press('Enter');
  assert.equal(await readers.getAttribute('aria-expanded'), 'true');
  const says = await alice.row('Hello all').locator('.readers').textContent();
  for (const { address } of [bob, carol]) assert.ok(says.includes(short(address)), says);
  assert.equal(await alice.row('Hello from Carol').locator('.readers').count(), 0);
  // In a row that has the focus, its buttons are stops too.
  await alice.field.focus();
  for (const { page } of [alice, bob, carol]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await barriersOf(page), [], colorScheme);
    }
  }
  // The address of the page names it, also for who comes back.
  await page.reload();
  await page.getByRole('heading', { name: 'Walkers <b>' }).waitFor();
  await alice.sees('Hello from Carol');
  for (const { complaints, page } of [alice, bob, carol]) {
    assert.deepEqual(complaints, []);
    assert.ok(await page.locator('#notice').isHidden(), 'nothing went wrong on the way');
  }
});

test('an admin renames, adds, removes and shares; others leave', { timeout: 120_000 }, async (t) => {
  const [alice, bob, carol] = await openThree(t, [desktop, desktop, phone]);
  await alice.page.locator('#new-group').click();
  await dialogOf(alice, 'New group').getByLabel('Name').fill('Walkers');
  await dialogOf(alice, 'New group').getByRole('checkbox', { name: short(bob.address) }).check();
  await alice.page.keyboard.press('Enter');
  await alice.page.getByRole('heading', { name: 'Walkers' }).waitFor();
  await alice.write('Before');
  await bob.page.getByRole('button', { name: 'Accept Walkers' }).click();
  await bob.sees('Before');
  await bob.page.getByRole('button', { name: 'Members' }).click();
  assert.equal(await bob.page.getByRole('button', { name: 'Add people' }).count(), 0, 'only an admin may');
  assert.deepEqual(await membersOf(bob), [`${short(alice.address)}, admin`, 'You']);
  await bob.page.locator('#group-close').click();

  await alice.page.getByRole('button', { name: 'Members' }).click();
  const group = () => alice.page.locator('#group-dialog');
  await group().getByLabel('Name').fill('Runners');
  await group().getByLabel('Name').press('Enter');
  await bob.page.getByRole('heading', { name: 'Runners' }).waitFor();
  await group().getByRole('button', { name: 'Add people' }).click();
  await dialogOf(alice, 'Add people').getByLabel('Addresses of others').fill(carol.address);
  await dialogOf(alice, 'Add people').getByRole('button', { name: 'Add' }).click();
  await until('Carol is in the list', async () => (await membersOf(alice)).includes(short(carol.address)));
  await carol.page.getByRole('button', { name: 'Accept Runners' }).click();
  await bob.write('With Carol');
  await carol.sees('With Carol');
  assert.equal(await carol.row('Before').count(), 0, 'who is added reads what is written from then on');

  await group().getByRole('button', { name: `Make admin: ${short(bob.address)}` }).focus();
  await alice.page.keyboard.press('Enter');
  await until('Bob is an admin', async () => (await membersOf(alice)).includes(`${short(bob.address)}, admin`));
  assert.equal(await alice.page.evaluate(() => document.activeElement.closest('dialog')?.id), 'group-dialog', 'the focus stays in the list');
  await alice.page.locator('#group-close').focus();
  assert.deepEqual(await barriersOf(alice.page), []);
  await bob.page.getByRole('button', { name: 'Members' }).click();
  await bob.page.getByRole('button', { name: `Remove: ${short(carol.address)}` }).click();
  await bob.page.locator('#ask-yes').click();
  await bob.page.locator('#group-close').click();
  await bob.write('After');
  await alice.page.locator('#group-close').click();
  await alice.sees('After');
  await carol.page.locator('#ended-says', { hasText: 'You were removed from this group.' }).waitFor();
  assert.ok(await carol.field.isHidden(), 'nothing can be written');
  await carol.sees('With Carol');
  assert.equal(await carol.row('After').count(), 0);
  await carol.page.getByRole('button', { name: 'Members' }).click();
  assert.equal(await carol.page.locator('#group-leave').isVisible(), false);
  await carol.page.locator('#group-close').click();

  // Who is added again is invited again.
  await alice.page.getByRole('button', { name: 'Members' }).click();
  await group().getByRole('button', { name: 'Add people' }).click();
  await dialogOf(alice, 'Add people').getByRole('checkbox', { name: short(carol.address) }).count();
  await dialogOf(alice, 'Add people').getByLabel('Addresses of others').fill(carol.address);
  await dialogOf(alice, 'Add people').getByRole('button', { name: 'Add' }).click();
  await carol.page.getByText('You are invited again').waitFor();
  await carol.page.getByRole('button', { name: 'Back to the conversations' }).click();
  await carol.page.getByRole('button', { name: 'Accept Runners' }).click();
  await carol.page.locator('#lock').waitFor();
  await carol.write('Back again');
  await bob.sees('Back again');

  await group().getByRole('button', { name: 'Leave' }).click();
  await alice.page.getByText('Leave Runners?').waitFor();
  await alice.page.locator('#ask-yes').click();
  await alice.page.locator('#ended-says', { hasText: 'You left this group.' }).waitFor();
  assert.equal(await alice.page.locator('.member, .person').count(), 0, 'a closed dialog has nobody in it');
  await alice.row('Before').hover();
  assert.equal(await alice.row('Before').getByRole('button', { name: 'Edit' }).count(), 0, 'what one left cannot be changed');
  await bob.page.getByText('2 members').waitFor();
  for (const { complaints } of [alice, bob, carol]) assert.deepEqual(complaints, []);
});

// With a stand-in for the SDK.

const me = 'Me11111111111111111111111111111111111111111';
const peerWallet = 'Peer1111111111111111111111111111111111111111';
const callsOf = (person) => person.page.evaluate(() => globalThis.standIn.calls.splice(0));

test('what goes wrong in a dialog is said in front of it', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, phone, 'chat.html', { standIn });
  const { page } = alice;
  const members = [{ wallet: me, isAdmin: true }, { wallet: peerWallet, isAdmin: false }];
  const walkers = { sessionId: 'g1', peerWallet: '', kind: 'group', name: 'Walkers', members, membership: 'member', unreadCount: 0, queuedMessageCount: 0, state: 'active' };
  await page.evaluate((items) => globalThis.standIn.conversations.set({ items, isLoading: false }), [walkers]);
  await page.locator('.row-main').click();
  await page.getByRole('button', { name: 'Members' }).click();
  await page.evaluate(() => {
    globalThis.standIn.failures.setAdmin = { code: 'NOT_AN_ADMIN', userMessage: 'Only an admin of the group can do this.' };
    globalThis.standIn.failures.removeMembers = { code: 'MEMBER_REMOVED', userMessage: 'You are no longer part of this conversation.' };
    globalThis.standIn.failures.addMembers = { code: 'LIMIT_REACHED', userMessage: 'There are too many.' };
  });
  const isInFront = () => page.evaluate(() => {
    const { left, top, width, height } = document.getElementById('notice-says').getBoundingClientRect();
    return document.getElementById('notice').contains(document.elementFromPoint(left + width / 2, top + height / 2));
  });
  await page.getByRole('button', { name: 'Make admin: Peer…1111' }).click();
  await page.getByRole('alert').filter({ hasText: 'Only an admin' }).waitFor();
  assert.ok(await isInFront());
  await page.locator('#group-close').focus();
  assert.deepEqual(await barriersOf(page), []);
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page.getByRole('button', { name: 'Remove: Peer…1111' }).click();
  await page.locator('#ask-yes').click();
  await page.getByRole('alert').filter({ hasText: 'no longer part' }).waitFor();
  assert.ok(await isInFront());
  await page.getByRole('button', { name: 'Add people' }).click();
  await page.getByLabel('Addresses of others').fill('So11111111111111111111111111111111111111112');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'too many' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await page.getByRole('alert').filter({ hasText: 'no longer part' }).waitFor();
  assert.ok(await isInFront(), 'it stays until it is dismissed');
  assert.deepEqual((await callsOf(alice)).map(([name]) => name), ['setAdmin', 'removeMembers', 'addMembers']);
  assert.deepEqual(alice.complaints, []);
});

test('who signed out may come back with the wallet of an extension', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, desktop, 'chat.html', { standIn });
  const { page } = alice;
  await page.evaluate(() => globalThis.standIn.setWallets([{ name: 'Phantom <i>', features: {} }]));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.locator('#sign-out-yes').click();
  await page.evaluate(() => {
    globalThis.standIn.failures.connectWallet = { code: 'WALLET_REJECTED', userMessage: 'You declined.' };
  });
  await page.getByRole('button', { name: 'Sign in with Phantom <i>' }).click();
  await page.getByText('You declined.').waitFor();
  assert.deepEqual(await barriersOf(page), []);
  await page.evaluate(() => delete globalThis.standIn.failures.connectWallet);
  await page.getByRole('button', { name: 'Sign in with Phantom <i>' }).click();
  await page.locator('#signed-out').waitFor({ state: 'hidden' });
  const [, first, second] = await callsOf(alice);
  assert.deepEqual([first[1].name, second[1].name], ['Phantom <i>', 'Phantom <i>']);
  assert.deepEqual(alice.complaints, []);
});
