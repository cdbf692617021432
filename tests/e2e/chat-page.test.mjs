// The chat page as two people use it, each in a browser of their own, under the strict policy that the relay serves it with.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barriersOf } from './harness/accessible.mjs';
import { chat, desktop, phone, standIn } from './harness/chat.mjs';
import { until } from './harness/wait.mjs';

const { stage, open, openTwo } = chat();

test('two people write, read, edit, delete, go offline and come back', { timeout: 120_000 }, async (t) => {
  const [alice, bob] = await openTwo(t);
  await alice.write('Hello Bob');
  await bob.sees('Hello Bob');
  await alice.sees('Hello Bob', { status: 'read' });
  await bob.write('Hello Alice');
  await alice.sees('Hello Alice');

  await alice.row('Hello Bob').hover();
  await alice.row('Hello Bob').getByRole('button', { name: 'Edit' }).click();
  assert.equal(await alice.field.inputValue(), 'Hello Bob');
  await alice.write('Hello dear Bob');
  await bob.sees('Hello dear Bob', { part: 'Edited' });
  assert.equal(await bob.row('Hello Bob').count(), 0);

  await bob.row('Hello Alice').hover();
  await bob.row('Hello Alice').getByRole('button', { name: 'Delete' }).click();
  await bob.page.locator('#ask-yes').click();
  await alice.sees('Deleted');

  await alice.page.getByRole('switch', { name: 'Offline' }).click();
  await alice.write('Written offline');
  await alice.sees('Written offline', { status: 'queued' });
  await alice.page.reload();
  await alice.sees('Written offline', { status: 'queued' });
  // It stays offline until its person wishes otherwise.
  await alice.page.locator('#offline[aria-checked="true"]').click();
  await bob.sees('Written offline');
  await alice.sees('Written offline', { status: 'read' });
  await alice.sees('Hello dear Bob', { part: 'Edited' });

  const shifts = await alice.page.evaluate(() => globalThis.shifts);
  assert.ok(shifts.reduce((sum, [value]) => sum + value, 0) < 0.02, `what is there stays where it is: ${JSON.stringify(shifts)}`);

  const hostile = '<img src=x onerror="document.title=\'broken\'">';
  await bob.write(hostile);
  await alice.sees(hostile);
  assert.doesNotMatch(await alice.page.title(), /broken/, 'T18');
  assert.deepEqual([...alice.complaints, ...bob.complaints], [], 'no error, and nothing that the policy forbids (T19)');
});

test('somebody who was written to first accepts, reads and answers, or declines', { timeout: 120_000 }, async (t) => {
  const alice = await open(t, desktop);
  const bob = await open(t, phone, `chat.html?profile=bob&peer=${alice.address}`);
  await bob.page.locator('#thread').waitFor();
  await bob.write('Hello?');
  // With the epoch before it alone there is an invitation already.
  await bob.sees('Hello?', { status: 'sent' });
  const decline = alice.page.getByRole('button', { name: /^Decline/ });
  await decline.click();
  await decline.waitFor({ state: 'detached' });
  assert.deepEqual(await barriersOf(alice.page), []);
  await bob.write('Are you there?');
  await decline.waitFor();
  await alice.page.reload();
  await alice.page.getByRole('button', { name: /^Accept/ }).waitFor();
  await alice.page.evaluate(() => {
    const [empty, rows] = [document.querySelector('#thread-empty'), document.querySelector('#conversations')];
    globalThis.flickers = [];
    const look = () => {
      if (empty.checkVisibility() || rows.textContent.includes('Nothing to read yet')) globalThis.flickers.push(`${!empty.hidden} ${rows.textContent}`);
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
  });
  await alice.page.getByRole('button', { name: /^Accept/ }).click();
  await alice.sees('Hello?');
  assert.deepEqual(await alice.page.evaluate(() => globalThis.flickers), [], 'it is never shown as empty');
  await alice.write('I am');
  await bob.sees('I am');
  await bob.sees('Are you there?', { status: 'read' });
  await alice.page.locator('.row-main').filter({ hasText: 'I am' }).waitFor();

  await alice.page.getByRole('switch', { name: 'Offline' }).click();
  await alice.write('Better not');
  await alice.row('Better not').hover();
  await alice.row('Better not').getByRole('button', { name: 'Delete' }).click();
  await alice.page.locator('#ask-yes').click();
  await alice.row('Better not').waitFor({ state: 'detached' });
  assert.equal(await alice.page.getByText('Deleted').count(), 0, 'it was never sent');
  for (const { complaints, page } of [alice, bob]) {
    assert.deepEqual(complaints, []);
    assert.ok(await page.locator('#notice').isHidden(), 'nothing went wrong on the way');
  }
});

test('who signs out is nobody here, and finds everything again or nothing', { timeout: 120_000 }, async (t) => {
  const [alice, bob] = await openTwo(t, [desktop, phone]);
  await alice.write('For later');
  await bob.sees('For later');
  const signOut = async (how) => {
    await alice.page.getByRole('button', { name: 'Sign out' }).click();
    const dialog = alice.page.getByRole('dialog', { name: 'Sign out?' });
    await dialog.waitFor();
    assert.deepEqual(await barriersOf(alice.page), []);
    await dialog.getByRole('button', { name: how, exact: true }).click();
    await alice.page.getByRole('heading', { name: 'You are signed out' }).waitFor();
  };
  await signOut('Sign out');
  assert.doesNotMatch(await alice.page.locator('body').innerText(), /For later/);
  assert.equal(await alice.page.locator('.row, .row-main').count(), 0, 'also not hidden');
  assert.equal(await alice.page.locator('solconnect-sync-status').getAttribute('state'), 'signed-out');
  assert.deepEqual(await barriersOf(alice.page), []);
  await alice.page.getByRole('button', { name: 'Sign in with this browser’s own wallet' }).click();
  await alice.page.locator('.row-main').click();
  await alice.sees('For later');
  assert.equal(await alice.page.locator('#me-address').textContent(), alice.address);
  await signOut('Delete everything here');
  await alice.page.getByRole('button', { name: 'Sign in with this browser’s own wallet' }).click();
  await alice.page.locator('#signed-out').waitFor({ state: 'hidden' });
  await alice.page.getByText('Nobody here yet.').waitFor();
  assert.notEqual(await alice.page.locator('#me-address').textContent(), alice.address);
  assert.deepEqual(alice.complaints, []);
});

test('addresses are seen and copied whole', { timeout: 60_000 }, async (t) => {
  const [alice, bob] = await openTwo(t, [phone, desktop]);
  await alice.context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const copied = () => alice.page.evaluate(() => navigator.clipboard.readText());
  await alice.page.getByRole('button', { name: 'Copy the address of' }).click();
  assert.equal(await copied(), bob.address);
  await alice.page.getByRole('button', { name: 'Back to the conversations' }).click();
  assert.equal(await alice.page.locator('#me-address').innerText(), alice.address);
  const { x, width } = await alice.page.locator('#me-address').boundingBox();
  assert.ok(x >= 0 && x + width <= phone.width, 'all of it');
  await alice.page.getByRole('button', { name: 'Copy', exact: true }).click();
  assert.equal(await copied(), alice.address);
});

test('what is not on the screen stays unread', { timeout: 120_000 }, async (t) => {
  const [alice, bob] = await openTwo(t, [desktop, phone]);
  await alice.write('Hello');
  await bob.sees('Hello');
  await bob.page.getByRole('button', { name: 'Back to the conversations' }).click();
  await alice.write('Are you there?');
  const row = bob.page.locator('.row-main');
  await row.filter({ hasText: '1 unread message' }).waitFor();
  assert.match(await bob.page.title(), /^\(1\) /);
  await alice.sees('Are you there?', { status: 'delivered' });
  assert.equal(await alice.row('Are you there?').filter({ hasText: 'Read' }).count(), 0);
  await row.click();
  await bob.sees('Are you there?', { part: 'New messages' });
  await alice.sees('Are you there?', { status: 'read' });
  await until('the badge is gone', async () => !/^\(/.test(await bob.page.title()));
  for (const { complaints } of [alice, bob]) assert.deepEqual(complaints, []);
});

test('hundreds of messages are paged through without a jump', { timeout: 180_000 }, async (t) => {
  const [alice, bob] = await openTwo(t);
  const texts = Array.from({ length: 400 }, (_, place) => `Message ${place + 1}`);
  assert.equal(await bob.send(texts), 0);
  await alice.sees('Message 400');
  await alice.page.reload();
  await alice.sees('Message 400');
  const scroller = alice.page.locator('#scroller');
  const rows = alice.page.locator('.row');
  const distance = () => scroller.evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight);
  assert.ok(await distance() < 40, 'it opens at its end');
  assert.ok(await rows.count() <= 60, 'with one page');

  // Up to the first one. What one looks at stays where it is, whatever comes above it.
  let count = 0;
  await until('the first message', async () => {
    const jump = await scroller.evaluate(async (node) => {
      node.scrollTop -= 500;
      const top = node.getBoundingClientRect().top;
      const placeOf = (row) => row.querySelector('.text').getBoundingClientRect().top;
      const visible = [...node.querySelectorAll('.row')].find((row) => placeOf(row) > top);
      const before = placeOf(visible);
      for (let frame = 0; frame < 4; frame += 1) await new Promise((resolve) => requestAnimationFrame(resolve));
      return Math.abs(placeOf(visible) - before);
    });
    assert.ok(jump < 2, `it jumped by ${jump}`);
    count = Math.max(count, await rows.count());
    return await alice.row('Message 1').count() > 0;
  }, 60_000);
  assert.ok(count > 100 && count <= 180, `${count} rows`);

  await alice.page.getByText('The beginning of this conversation').waitFor();
  await scroller.evaluate((node) => {
    node.scrollTop = 0;
  });
  const before = await alice.topOf('Message 3');
  await bob.write('One more');
  await alice.page.getByRole('button', { name: '1 new message' }).click();
  await alice.sees('One more');
  assert.ok(before < 800, 'it was seen');
  assert.ok(await distance() < 40);
  await bob.sees('One more', { status: 'read' });
  assert.ok(await alice.page.locator('#newer').isHidden());
  for (const { complaints } of [alice, bob]) assert.deepEqual(complaints, []);
});

test('new messages do not move what one reads further up', { timeout: 120_000 }, async (t) => {
  const [alice, bob] = await openTwo(t);
  assert.equal(await bob.send(Array.from({ length: 60 }, (_, place) => `Message ${place + 1}`)), 0);
  await alice.sees('Message 60');
  const scroller = alice.page.locator('#scroller');
  await scroller.hover();
  await alice.page.mouse.wheel(0, -1500);
  await alice.page.locator('#newer').waitFor();
  const before = await alice.topOf('Message 20');
  assert.equal(await bob.send(['a', 'b', 'c']), 0);
  await alice.page.getByRole('button', { name: '3 new messages' }).waitFor();
  assert.equal(await alice.topOf('Message 20'), before);
  assert.equal(await bob.row('c').filter({ hasText: 'Read' }).count(), 0, 'nobody has seen it');
  assert.deepEqual(alice.complaints, []);
});

test('a page that nobody sees reads nothing', { timeout: 120_000 }, async (t) => {
  const [alice, bob] = await openTwo(t);
  const setVisibility = (value) => bob.page.evaluate((value) => {
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, value);
  await setVisibility('hidden');
  await alice.write('Hello');
  await bob.sees('Hello');
  await alice.sees('Hello', { status: 'delivered' });
  await bob.page.locator('.row-main').filter({ hasText: '1 unread message' }).waitFor();
  await setVisibility('visible');
  await alice.sees('Hello', { status: 'read' });
});

test('everything can be done with the keyboard alone', { timeout: 120_000 }, async (t) => {
  const [alice, bob] = [await open(t, desktop), await open(t, desktop, 'chat.html?profile=bob')];
  const { page } = alice;
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.dataset.does || document.activeElement.className);
  const tabTo = async (name) => {
    for (let presses = 0; presses < 30; presses += 1) {
      await page.keyboard.press('Tab');
      if (await focused() === name) return;
    }
    assert.fail(`the tab key does not come to ${name}`);
  };
  await tabTo('new');
  await page.keyboard.press('Enter');
  await page.keyboard.type('not an address');
  await page.keyboard.press('Enter');
  await page.locator('#new-error').filter({ hasText: 'address' }).waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await focused(), 'new', 'the focus goes back');
  await page.keyboard.press('Enter');
  await page.keyboard.type(bob.address);
  await page.keyboard.press('Enter');
  await page.locator('#thread').waitFor();
  await until('one can write at once', async () => await focused() === 'write');

  await page.keyboard.type('First');
  await page.keyboard.press('Enter');
  await page.keyboard.type('Second');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('line');
  await page.keyboard.press('Enter');
  await page.getByText('Second\nline').first().waitFor();
  await page.keyboard.press('ArrowUp');
  assert.equal(await alice.field.inputValue(), 'Second\nline');
  await page.keyboard.press('Escape');
  assert.equal(await alice.field.inputValue(), '');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.type('!');
  await page.keyboard.press('Enter');
  await page.getByText('Second\nline!').first().waitFor();

  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Home');
  assert.equal(await page.evaluate(() => document.activeElement.querySelector('.text').textContent), 'First');
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'pencil');
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'bin');
  await page.keyboard.press('Enter');
  assert.equal(await focused(), 'ask-no', 'it asks first');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await alice.row('Deleted').waitFor();

  await page.keyboard.press('Escape');
  assert.equal(await focused(), 'open', 'the list has the focus again');
  await page.keyboard.press('Enter');
  await until('the conversation is open again', async () => await focused() === 'write');
  assert.deepEqual(alice.complaints, []);
});

test('a machine finds no barrier, in light and dark, wide and narrow', { timeout: 120_000 }, async (t) => {
  const [alice, bob] = await openTwo(t, [desktop, phone]);
  assert.equal(await bob.send(['One', 'Two']), 0);
  await alice.write('Three');
  await bob.sees('Three');
  await alice.page.getByRole('switch', { name: 'Offline' }).click();
  await alice.write('Four');
  await alice.sees('Four', { status: 'queued' });
  for (const { page } of [alice, bob]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await barriersOf(page), [], colorScheme);
    }
  }
  await alice.page.locator('#new').click();
  await bob.page.locator('#back').click();
  for (const { page } of [alice, bob]) assert.deepEqual(await barriersOf(page), []);
});

test('on a phone there is one screen at a time, and nothing is wider', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, phone, 'chat.html', { hasTouch: true, isMobile: true });
  const { page } = alice;
  const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(await overflow(), 0);
  await page.locator('#new').tap();
  await page.locator('#new-address').fill(alice.address);
  await page.keyboard.press('Enter');
  await page.locator('#thread').waitFor();
  assert.ok(await page.locator('.side').isHidden());
  await alice.write(`A note ${'that is long '.repeat(40)}${'x'.repeat(300)}`);
  await alice.write('Short');
  await alice.sees('Short');
  assert.equal(await overflow(), 0);
  await alice.row('Short').locator('.text').tap();
  await alice.row('Short').getByRole('button', { name: 'Edit' }).tap();
  await alice.write('Shorter');
  await alice.sees('Shorter', { part: 'Edited' });
  await page.goBack();
  await page.locator('.side').waitFor();
  assert.ok(await page.locator('.main').isHidden());
  await page.locator('.row-main').tap();
  await alice.sees('Shorter');
  await page.locator('#back').tap();
  await page.locator('.side').waitFor();
  assert.deepEqual(alice.complaints, []);
});

test('a text that is too long is counted and cannot be sent', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, desktop);
  await alice.start(alice.address);
  await alice.field.fill('é'.repeat(4000));
  await alice.page.getByText('192 bytes left').waitFor();
  await alice.field.fill('é'.repeat(4100));
  await alice.page.getByText('8 bytes too long').waitFor();
  await alice.field.press('Enter');
  assert.equal(await alice.page.locator('.row').count(), 0);
  await alice.field.fill('é'.repeat(4096));
  await alice.field.press('Enter');
  await alice.page.locator('.row').waitFor();
  assert.deepEqual(alice.complaints, []);
});

test('many windows of one person show the same and all can write', { timeout: 120_000 }, async (t) => {
  const [alice, bob] = [await open(t, desktop), await open(t, desktop)];
  await alice.start(bob.address);
  const windows = [alice.page];
  for (let count = 0; count < 3; count += 1) {
    const page = await alice.context.newPage();
    page.on('pageerror', (error) => alice.complaints.push(error.message));
    await page.goto(`${stage.relay.url}chat.html`);
    await page.locator('#copy:enabled').waitFor({ state: 'attached', timeout: 30_000 });
    await page.locator('#conversations button').first().click();
    windows.push(page);
  }
  const write = async (page, text) => {
    await page.locator('#write').fill(text);
    await page.locator('#write').press('Enter');
  };
  const seenEverywhere = async (text) => {
    for (const page of windows) await page.locator('.row', { has: page.getByText(text, { exact: true }) }).waitFor({ timeout: 20_000 });
  };
  for (const [place, page] of windows.entries()) await write(page, `from window ${place}`);
  for (const place of windows.keys()) await seenEverywhere(`from window ${place}`);
  await windows.shift().close();
  await write(windows[1], 'after the first was closed');
  await seenEverywhere('after the first was closed');
  // They are one device: what one switches, all show, and any can switch back.
  for (const [place, checked] of ['true', 'false'].entries()) {
    await windows[place].locator('#offline').click();
    for (const page of windows) await page.locator(`#offline[aria-checked="${checked}"]`).waitFor({ timeout: 20_000 });
  }
  assert.deepEqual(alice.complaints, []);
});

test('a package that is missing is told', { timeout: 60_000 }, async (t) => {
  const context = await stage.browser.newContext({ viewport: phone });
  t.after(() => context.close());
  await context.route('**/pkg/**', (route) => route.fulfill({ status: 404 }));
  const page = await context.newPage();
  await page.goto(`${stage.relay.url}chat.html`);
  await page.getByText('The SDK could not be loaded.').waitFor();
  assert.deepEqual(await barriersOf(page), []);
});

// What is rare or long to come to, with a stand-in for the SDK.

const me = 'Me11111111111111111111111111111111111111111';
const peerWallet = 'Peer1111111111111111111111111111111111111111';

const messageOf = (place, more = {}) => ({
  id: `m${place}`, sessionId: 's1', senderWallet: place % 3 === 0 ? me : peerWallet, isOwn: place % 3 === 0, text: `Message ${place}`, deviceId: 'd', sequenceNumber: place,
  timestamp: new Date(Date.UTC(2026, 0, 1) + place * 600_000).toISOString(), status: 'read', edited: false, deleted: false, pendingEdit: false, versions: [], ...more,
});

const setConversations = (person, items) => person.page.evaluate((items) => globalThis.standIn.conversations.set({ items, isLoading: false }), items);
const setMessages = (person, items) => person.page.evaluate((items) => globalThis.standIn.messages.set({ items, hasMore: false, isLoading: false }), items);
const callsOf = (person) => person.page.evaluate(() => globalThis.standIn.calls.splice(0));

test('an invitation is accepted, declined or blocked', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, desktop, 'chat.html', { standIn });
  const { page } = alice;
  const invited = { sessionId: 's2', peerWallet: 'Stranger11111111111111111111111111111111111', unreadCount: 0, queuedMessageCount: 0, state: 'invited' };
  await setConversations(alice, []);
  await page.getByText('Nobody here yet.').waitFor();
  await setConversations(alice, [invited]);
  await page.locator('#announcer', { hasText: 'Stra…1111 wants to talk to you.' }).waitFor({ state: 'attached' });
  await page.getByRole('button', { name: 'Decline Stra…1111' }).click();
  await page.getByRole('button', { name: 'Block Stra…1111' }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  assert.deepEqual(await callsOf(alice), [['declineSession', 's2']], 'blocking asks first');
  await page.getByRole('button', { name: 'Block Stra…1111' }).click();
  await page.locator('#ask-yes').click();
  await page.getByRole('button', { name: 'Accept Stra…1111' }).focus();
  assert.deepEqual(await barriersOf(page), []);
  await page.keyboard.press('Enter');
  await page.locator('#thread').waitFor();
  assert.deepEqual(await callsOf(alice), [['blockWallet', invited.peerWallet], ['acceptSession', 's2'], ['syncMessages', 's2']]);
  assert.deepEqual(alice.complaints, []);
});

test('the messages are one stop of the keyboard, at the newest', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, desktop, 'chat.html', { standIn });
  const { page } = alice;
  await setConversations(alice, [{ sessionId: 's1', peerWallet, unreadCount: 0, queuedMessageCount: 0, state: 'active' }]);
  await page.locator('.row-main').click();
  const failed = messageOf(6, { sequenceNumber: undefined, status: 'failed', text: 'Refused', error: { code: 'MESSAGE_TOO_LARGE', userMessage: 'The message is too long.' } });
  for (const through of [1, 2, 5]) await setMessages(alice, Array.from({ length: through }, (_, place) => messageOf(place + 1)));
  await setMessages(alice, [...Array.from({ length: 5 }, (_, place) => messageOf(place + 1)), failed]);
  await alice.row('Refused').waitFor();
  const focused = () => page.evaluate(() => document.activeElement.dataset.messageId ?? (document.activeElement.closest('.row') ? 'in a row' : document.activeElement.id));
  await alice.field.focus();
  await page.keyboard.press('Shift+Tab');
  assert.equal(await focused(), 'm6');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  assert.equal(await focused(), 'm4');
  await page.keyboard.press('Shift+Tab');
  assert.doesNotMatch(await focused(), /^m\d|row/, 'one stop');
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'm6', 'the newest again');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Send again', 'what can be done with it comes next');
});

test('refusals, conflicts, ended conversations and storage trouble can be answered', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, desktop, 'chat.html', { standIn });
  const { page } = alice;
  const conversation = { sessionId: 's1', peerWallet, unreadCount: 0, queuedMessageCount: 1, state: 'active' };
  await setConversations(alice, [conversation]);
  await page.locator('.row-main').click();
  const versions = ['One way', 'Another way'].map((text, place) => ({ id: `v${place}`, deviceId: `d${place}`, text, deleted: false, timestamp: new Date().toISOString() }));
  await setMessages(alice, [
    messageOf(1, { pendingEdit: false, edited: true }),
    messageOf(3, { text: 'One way', versions, edited: true, status: 'delivered' }),
    messageOf(6, { sequenceNumber: undefined, status: 'failed', text: 'Refused', error: { code: 'MESSAGE_TOO_LARGE', userMessage: 'The message is too long.' } }),
    messageOf(9, { sequenceNumber: undefined, status: 'queued', text: 'Waits', pendingEdit: true }),
  ]);
  assert.deepEqual(await barriersOf(page), []);
  await page.getByRole('button', { name: 'Keep version 2' }).click();
  await alice.row('Refused').getByText('The message is too long.').waitFor();
  await alice.row('Refused').getByRole('button', { name: 'Send again' }).click();
  await alice.row('Refused').getByRole('button', { name: 'Discard' }).click();
  await alice.row('Waits').getByText('Change waiting').waitFor();
  await alice.row('Waits').hover();
  await alice.row('Waits').getByRole('button', { name: 'Delete' }).click();
  await page.locator('#ask-yes').click();
  const calls = await until('all was asked', async () => {
    const all = await page.evaluate(() => globalThis.standIn.calls);
    return all.length >= 5 && all;
  });
  assert.deepEqual(calls, [['markMessageAsRead', 'm1'], ['resolveConflict', 's1', 'm3', 'Another way'], ['retryMessage', 'm6'], ['cancelMessage', 'm6'], ['cancelMessage', 'm9']]);

  await page.evaluate(() => {
    globalThis.standIn.failures.sendMessage = { code: 'STORAGE_FULL', userMessage: 'There is no space left.' };
  });
  await alice.write('Precious');
  await page.getByRole('alert').filter({ hasText: 'There is no space left. Your text is still here.' }).waitFor();
  assert.equal(await alice.field.inputValue(), 'Precious');

  await page.evaluate(() => globalThis.standIn.emit('warning', { error: { code: 'STORAGE_FULL', userMessage: 'There is no space left.' } }));
  await page.getByRole('alert').filter({ hasText: /^There is no space left.$/ }).waitFor();
  assert.deepEqual(await barriersOf(page), []);
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await setConversations(alice, [{ ...conversation, state: 'ended' }]);
  await page.getByRole('button', { name: 'Start it again' }).waitFor();
  assert.ok(await alice.field.isHidden());
  assert.deepEqual(alice.complaints, []);
});

test('a press that a change falls into does what it was meant for', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, desktop, 'chat.html', { standIn });
  const { page } = alice;
  const conversation = { sessionId: 's1', peerWallet, unreadCount: 0, queuedMessageCount: 0, state: 'active' };
  await setConversations(alice, [conversation]);
  await page.locator('.row-main').hover();
  await page.mouse.down();
  await setConversations(alice, [{ ...conversation, unreadCount: 1, lastMessage: messageOf(1) }]);
  await page.mouse.up();
  await page.locator('#thread').waitFor();
  await setMessages(alice, [messageOf(3, { status: 'sent' })]);
  await alice.row('Message 3').hover();
  await alice.row('Message 3').getByRole('button', { name: 'Delete' }).hover();
  await page.mouse.down();
  await setMessages(alice, [messageOf(3, { status: 'read' })]);
  await alice.sees('Message 3', { status: 'read' });
  await page.mouse.up();
  await page.getByText('Delete this message?').waitFor();
});

test('the devices of a person are listed, approved and removed', { timeout: 60_000 }, async (t) => {
  for (const viewport of [desktop, phone]) {
    const alice = await open(t, viewport, 'chat.html', { standIn });
    const { page } = alice;
    assert.equal(await page.locator('#devices').isVisible(), false, 'where nobody signs in there is nothing to list');
    const of = (id, more) => ({ id: `${id}`.repeat(22), isThisDevice: false, isApproved: true, addedAt: Date.UTC(2026, 5, id), ...more });
    const show = (devices) => page.evaluate((devices) => globalThis.standIn.setDevices(devices), devices);
    const own = of(1, { isThisDevice: true });
    await show([own, of(2), of(3, { isApproved: false })]);
    await page.locator('#devices').focus();
    await page.keyboard.press('Enter');
    assert.deepEqual(await barriersOf(page), []);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    const names = await page.locator('.device strong').evaluateAll((names) => names.map((name) => name.getClientRects().length));
    assert.deepEqual(names, [1, 1, 1], 'a name is one line');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'devices-close', 'nothing is lost by a press too many');
    await page.getByRole('button', { name: 'Approve: Device 333333' }).focus();
    await page.keyboard.press('Enter');
    await page.locator('#devices-dialog #notice-done', { hasText: 'Device 333333 is approved.' }).waitFor();
    await until('it is read out', async () => (await page.locator('#announcer').textContent()).includes('approved'));
    await page.getByRole('button', { name: 'Remove: Device 222222' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('Remove device 222222?').waitFor();
    await page.keyboard.press('Enter');
    assert.deepEqual(await callsOf(alice), [['approveDevice', '3'.repeat(22)]], 'it asks first, and no is the answer at hand');
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Remove: Device 222222');
    await page.keyboard.press('Enter');
    await page.locator('#ask-yes').click();
    await until('it is removed', async () => (await page.evaluate(() => globalThis.standIn.calls)).length > 0);
    assert.deepEqual(await callsOf(alice), [['removeDevice', '2'.repeat(22)]]);
    await page.locator('#notice-done', { hasText: /^Device 222222 is removed\.$/ }).waitFor();
    await show([own, of(3)]);
    assert.equal(await page.evaluate(() => document.activeElement.closest('dialog')?.id), 'devices-dialog', 'the focus stays in the list');
    await page.getByRole('button', { name: 'Sign out all others' }).click();
    await page.locator('#ask-yes').click();
    await until('the wallet is asked', async () => (await page.evaluate(() => globalThis.standIn.calls)).length > 0);
    assert.deepEqual(await callsOf(alice), [['signOutOtherDevices']]);
    await page.locator('#notice-done', { hasText: 'All other devices are signed out.' }).waitFor();
    await show([{ ...own, isApproved: false }, of(3)]);
    assert.equal(await page.getByRole('button', { name: 'Remove: Device 333333' }).count(), 0, 'only an approved device removes');
    await page.locator('#devices-close').click();
    await page.evaluate(() => globalThis.standIn.emit('signInNeeded', { error: { userMessage: 'This device was removed.' } }));
    await page.getByText('This device was removed.').waitFor();
    await page.locator('#sign-again').click();
    await page.locator('#sign-again').waitFor({ state: 'hidden' });
    assert.deepEqual(await callsOf(alice), [['signIn']]);
    assert.deepEqual(alice.complaints, []);
  }
});

test('a request to approve a device has its number, one request at a time', { timeout: 60_000 }, async (t) => {
  for (const viewport of [desktop, phone]) {
    const alice = await open(t, viewport, 'chat.html', { standIn });
    const { page } = alice;
    const of = (id, more) => ({ id: `${id}`.repeat(22), isThisDevice: false, isApproved: false, addedAt: Date.UTC(2026, 5, id), ...more });
    const show = (devices) => page.evaluate((devices) => globalThis.standIn.setDevices(devices), devices);
    const numbers = () => page.locator('#request-numbers').textContent();
    const own = of(1, { isThisDevice: true, isApproved: true });
    await show([own, of(3)]);
    await page.getByText('Device 333333 has signed in').waitFor();
    assert.equal(await page.locator('#request-numbers').isVisible(), false, 'it is not there now, and can be approved all the same');
    assert.equal(await page.locator('#request-next').isVisible(), false);
    // What would come in its place is approved by a press that was meant for it.
    await show([own, of(2, { number: '000456' }), of(3, { number: '123456' })]);
    assert.equal(await numbers(), 'Compare this number: 123 456. Device 333333 must show the same, with device 111111.');
    await until('it is read out', async () => (await page.locator('#announcer').textContent()).includes('Compare this number: 123 456'));
    assert.deepEqual(await barriersOf(page), []);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    await page.locator('#request-next').focus();
    await page.keyboard.press('Enter');
    await page.getByText('Device 222222 has signed in').waitFor();
    assert.match(await numbers(), /000 456/);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'request-next');
    await page.locator('#request-yes').click();
    await until('it is approved', async () => (await page.evaluate(() => globalThis.standIn.calls)).length > 0);
    assert.deepEqual(await callsOf(alice), [['approveDevice', '2'.repeat(22)]]);
    await page.locator('#request-next').focus();
    await show([own, of(2, { isApproved: true }), of(3, { number: '123456' })]);
    assert.match(await numbers(), /123 456/);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'side-title', 'the button is gone, the focus is not');
    const waits = { ...own, isApproved: false };
    const ways = page.locator('#request-says');
    for (const [recovery, says] of [[{}, /device of yours\. Earlier/], [{ code: { createdAt: 1 } }, /use your recovery code under/], [{ passkey: { createdAt: 1 } }, /use your passkey under/]]) {
      await page.evaluate((recovery) => globalThis.standIn.setRecovery(recovery), recovery);
      await show([waits, of(2, { isApproved: true })]);
      assert.match(await ways.textContent(), says);
    }
    await show([waits, of(2, { isApproved: true, number: '123456' }), of(3)]);
    await page.getByText('This device waits to be approved').first().waitFor();
    assert.equal(await numbers(), 'Compare this number: 123 456 with device 222222.');
    assert.deepEqual(await barriersOf(page), []);
    await show([waits, of(2, { isApproved: true, number: '123456' }), of(3, { isApproved: true, number: '000456' })]);
    assert.equal(await numbers(), 'Compare this number: 123 456 with device 222222, or 000 456 with device 333333.');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    await page.locator('#devices').click();
    await page.getByText('Shows 000 456').waitFor();
    assert.deepEqual(alice.complaints, []);
  }
});

test('a recovery code is shown once, and typed on a device that waits', { timeout: 60_000 }, async (t) => {
  for (const viewport of [desktop, phone]) {
    const alice = await open(t, viewport, 'chat.html', { standIn });
    const { page } = alice;
    const own = { id: '1'.repeat(22), isThisDevice: true, isApproved: true, addedAt: Date.UTC(2026, 5, 1) };
    const show = (devices, recovery) => page.evaluate(([devices, recovery]) => {
      globalThis.standIn.setDevices(devices);
      globalThis.standIn.setRecovery(recovery);
    }, [devices, recovery]);
    await show([own], {});
    await page.locator('#devices').click();
    await page.getByText('You have neither a recovery code nor a passkey.').waitFor();
    await page.locator('#recovery-make').click();
    await page.getByText('0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV').waitFor();
    assert.deepEqual(await barriersOf(page), []);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    await page.locator('#recovery-done').click();
    assert.equal(await page.locator('#recovery-code').isVisible(), false, 'the person says how it ends');
    assert.deepEqual(await barriersOf(page), []);
    await page.keyboard.type('rstx');
    await page.keyboard.press('Enter');
    await page.getByText('The code ends otherwise.').waitFor();
    await page.locator('#recovery-again').click();
    await page.getByText('0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV').waitFor();
    await page.keyboard.press('Enter');
    await page.keyboard.type('rstv');
    await page.keyboard.press('Enter');
    await page.locator('#recovery-dialog').waitFor({ state: 'hidden' });
    await until('it is gone', async () => (await page.locator('#recovery-code').textContent()) === '');
    await show([own], { code: { createdAt: Date.UTC(2026, 5, 2) } });
    await page.getByText('You have a recovery code since').waitFor();
    await page.locator('#recovery-make').click();
    await page.getByText('Make a new recovery code?').waitFor();
    await page.locator('#ask-no').click();
    assert.equal(await page.locator('#recovery-dialog').isVisible(), false, 'the one that there is stays');
    await show([own, { ...own, id: '2'.repeat(22), isThisDevice: false }].map((device) => ({ ...device, isApproved: !device.isThisDevice })), { code: { createdAt: Date.UTC(2026, 5, 2) } });
    assert.equal(await page.locator('#recovery-make').isVisible(), false);
    await page.evaluate(() => {
      const message = 'this is no recovery code: it has 8 characters in place of 28';
      globalThis.standIn.failures.recover = { code: 'INVALID_RECOVERY_CODE', userMessage: 'Look at it again.', message };
    });
    await page.locator('#recovery-typed').fill('0123 4567');
    await page.keyboard.press('Enter');
    await page.locator('#recovery-error').filter({ hasText: 'This is no recovery code: it has 8 characters in place of 28.' }).waitFor();
    assert.equal(await page.locator('#recovery-typed').inputValue(), '0123 4567', 'it can be mended');
    assert.deepEqual(await barriersOf(page), []);
    await page.evaluate(() => delete globalThis.standIn.failures.recover);
    await page.keyboard.press('Enter');
    await until('it is taken', async () => (await page.locator('#recovery-typed').inputValue()) === '');
    assert.deepEqual(await callsOf(alice), [['recover', '0123 4567'], ['recover', '0123 4567']]);
    assert.deepEqual(alice.complaints, []);
  }
});

test('a passkey is made, and used on a device that waits', { timeout: 60_000 }, async (t) => {
  for (const viewport of [desktop, phone]) {
    const alice = await open(t, viewport, 'chat.html', { standIn });
    const { page } = alice;
    const own = { id: '1'.repeat(22), isThisDevice: true, isApproved: true, addedAt: Date.UTC(2026, 5, 1) };
    const other = { ...own, id: '2'.repeat(22), isThisDevice: false };
    const passkey = { createdAt: Date.UTC(2026, 5, 3) };
    const show = (devices, recovery) => page.evaluate(([devices, recovery]) => {
      globalThis.standIn.setDevices(devices);
      globalThis.standIn.setRecovery(recovery);
    }, [devices, recovery]);
    const fits = async () => {
      assert.deepEqual(await barriersOf(page), []);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    };
    await show([own], {});
    await page.locator('#devices').click();
    await page.getByText('Keep it where it outlives this device').waitFor();
    await fits();
    await page.evaluate(() => {
      globalThis.standIn.failures.createPasskey = { userMessage: 'No passkey was used.' };
    });
    await page.getByRole('button', { name: 'Make a passkey' }).click();
    await page.locator('#notice-says', { hasText: 'No passkey was used.' }).waitFor();
    await page.evaluate(() => delete globalThis.standIn.failures.createPasskey);
    await page.getByRole('button', { name: 'Make a passkey' }).click();
    await page.locator('#notice-done', { hasText: /^Your passkey is made\.$/ }).waitFor();
    await show([own], { code: { createdAt: Date.UTC(2026, 5, 2) }, passkey });
    await page.getByText(/You have a recovery code since .*, and a passkey since .* comes back with either/).waitFor();
    await fits();
    await page.getByRole('button', { name: 'Make a new passkey' }).click();
    await page.getByText('Make a new passkey?').waitFor();
    await page.locator('#ask-yes').click();
    await page.locator('#notice-done', { hasText: 'delete it in your password manager' }).waitFor();
    await fits();
    const waiting = [{ ...own, isApproved: false }, other];
    await show(waiting, { code: passkey });
    assert.equal(await page.locator('#passkey-use').isVisible(), false, 'the account has none');
    await show(waiting, { passkey });
    await page.evaluate(() => {
      globalThis.standIn.failures.recoverWithPasskey = { userMessage: 'No passkey was used.' };
    });
    await page.locator('#passkey-use').focus();
    await page.keyboard.press('Enter');
    await page.locator('#recovery-error').filter({ hasText: 'No passkey was used.' }).waitFor();
    await fits();
    await page.evaluate(() => delete globalThis.standIn.failures.recoverWithPasskey);
    await page.keyboard.press('Enter');
    await until('nothing is wrong', async () => (await page.locator('#recovery-error').textContent()) === '');
    await show([own, other], { passkey });
    await until('one goes on from the dialog', () => page.evaluate(() => document.activeElement.id === 'devices-close'));
    const calls = await callsOf(alice);
    assert.deepEqual(calls.map(([name]) => name), ['createPasskey', 'createPasskey', 'createPasskey', 'recoverWithPasskey', 'recoverWithPasskey']);
    await page.evaluate(() => {
      globalThis.standIn.effects.removeDevice = () => globalThis.standIn.setRecovery({});
    });
    await page.getByRole('button', { name: /^Remove/ }).click();
    await page.locator('#ask-yes').click();
    await page.locator('#notice-done', { hasText: 'Device 222222 is removed. The passkey that you had opens nothing any more' }).waitFor();
    await show([own, other], { code: passkey });
    await page.getByText('Keep it where it outlives this device').waitFor();
    assert.deepEqual(alice.complaints, []);
  }
});

test('ten thousand messages keep the page small, and a change touches its row only', { timeout: 60_000 }, async (t) => {
  const alice = await open(t, desktop, 'chat.html', { standIn });
  const { page } = alice;
  await setConversations(alice, [{ sessionId: 's1', peerWallet, unreadCount: 0, queuedMessageCount: 0, state: 'active' }]);
  await page.locator('.row-main').click();
  const all = Array.from({ length: 10_000 }, (_, place) => messageOf(place + 1, { status: 'delivered' }));
  await setMessages(alice, all);
  await alice.sees('Message 10000');
  assert.ok(await page.locator('.row').count() <= 180);
  const touched = await page.evaluate(async () => {
    const { messages } = globalThis.standIn;
    const changed = new Set();
    const observer = new MutationObserver((records) => records.forEach(({ target }) => changed.add(target.closest?.('.row')?.dataset.messageId ?? target.id)));
    observer.observe(document.getElementById('messages'), { childList: true, subtree: true, characterData: true, attributes: true });
    const { items } = messages.getSnapshot();
    messages.set({ ...messages.getSnapshot(), items: items.map((message) => (message.id === 'm9990' ? { ...message, status: 'read' } : message)) });
    for (let frame = 0; frame < 3; frame += 1) await new Promise((resolve) => requestAnimationFrame(resolve));
    observer.disconnect();
    return [...changed];
  });
  assert.deepEqual(touched, ['m9990']);
  for (let place = 0; place < 30; place += 1) {
    await page.locator('#scroller').evaluate(async (node) => {
      node.scrollTop = 0;
      for (let frame = 0; frame < 2; frame += 1) await new Promise((resolve) => requestAnimationFrame(resolve));
    });
    assert.ok(await page.locator('.row').count() <= 180);
  }
  assert.ok(Number((await page.locator('.row').first().getAttribute('data-message-id')).slice(1)) < 9_000, 'it went up');
  const first = page.locator('.row').first();
  const id = await first.getAttribute('data-message-id');
  await first.focus();
  await page.keyboard.press('ArrowUp');
  assert.equal(await page.evaluate(() => document.activeElement.dataset.messageId), `m${Number(id.slice(1)) - 1}`, 'the keyboard goes on where the rows ended');
  await page.getByRole('button', { name: 'Newest messages' }).click();
  await alice.sees('Message 10000');
  assert.deepEqual(alice.complaints, []);
});
