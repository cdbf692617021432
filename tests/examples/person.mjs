// A person with a browser profile of their own, who uses an example app by what it shows and by the names of its fields and buttons.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { startBrowser } from '../e2e/harness/browser.mjs';
import { until } from '../e2e/harness/wait.mjs';
import { layCable } from './cable.mjs';

/** On a busy machine, with dev servers that compile at the first request. */
const deadlineMs = 60_000;

/** What everybody calls the relay: it signs in only who knows its name. */
export const relayName = 'ws://relay.localhost';

/** Somebody new. To their browser the relay is at the end of a cable of their own. */
export async function newPerson(name, relay) {
  const cable = await layCable(relay.port);
  const browser = await startBrowser({ moreFlags: [`--host-resolver-rules=MAP relay.localhost 127.0.0.1:${cable.port}`] });
  const context = await browser.newContext();
  context.setDefaultTimeout(deadlineMs);
  await context.addInitScript(watchForDuplicates);
  return new Person(name, browser, await context.newPage(), cable);
}

class Person {
  /** What browsers tell developers, and should not. */
  complaints = [];

  constructor(name, browser, page, cable) {
    Object.assign(this, { name, browser, page, cable });
    // Asked for the name of a group.
    page.on('dialog', (dialog) => dialog.accept('Walkers'));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type()) && !this.#isOfTheCable(message)) this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.complaints.push(String(error.stack ?? error)));
    this.thread = page.getByRole('region', { name: 'Thread' });
    this.field = page.getByRole('textbox', { name: 'Message' });
  }

  /** Browsers tell each connection that fails, and nobody can keep them from it. */
  #isOfTheCable(message) {
    const address = relayName.slice('ws'.length);
    return this.cable.wasCut && (message.location().url.includes(address) || message.text().startsWith(`WebSocket connection to 'ws${address}`));
  }

  async open(url) {
    await this.page.goto(`${url}?relay=${encodeURIComponent(relayName)}`);
    await this.#isThere();
  }

  /** Only the address and what is stored are left. */
  async reload() {
    await this.page.reload();
    await this.#isThere();
  }

  async #isThere() {
    this.address = await this.page.getByRole('status', { name: 'My address' }).textContent();
    assert.match(this.address, /^[1-9A-HJ-NP-Za-km-z]{32,44}$/);
  }

  async close() {
    await this.browser.stop();
    this.cable.close();
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true });
  }

  async start(address) {
    await this.page.getByRole('textbox', { name: 'Wallet address' }).fill(address);
    await this.button('Start').click();
  }

  /** The newest. */
  async openConversation() {
    await this.#list('Conversations').getByRole('button').first().click();
    await this.thread.waitFor();
  }

  async write(text) {
    await this.field.fill(text);
    await this.button('Send').click();
  }

  /** As quickly as the app takes them: by hand it would be a long afternoon. */
  async writeAll(texts) {
    await this.field.evaluate(async (field, texts) => {
      const { set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value');
      const turn = () => new Promise((resolve) => setTimeout(resolve));
      for (const text of texts) {
        set.call(field, text);
        field.dispatchEvent(new Event('input', { bubbles: true }));
        await turn();
        field.form.requestSubmit();
        await turn();
      }
    }, texts);
  }

  /** Presses a button of the message with this text. */
  async press(button, text) {
    await this.#list('Messages').getByRole('listitem').filter({ hasText: text }).getByRole('button', { name: button, exact: true }).click();
  }

  async edit(text, next) {
    await this.press('Edit', text);
    assert.equal(await this.field.inputValue(), text);
    await this.field.fill(next);
    await this.button('Save').click();
  }

  async setOffline(isOffline) {
    await this.page.getByRole('checkbox', { name: 'Offline' }).setChecked(isOffline);
  }

  /** Presses "Older messages" until there are none; how often. */
  async pageBack() {
    const older = this.button('Older messages');
    let count = 0;
    for (; await older.isVisible(); count += 1) {
      const before = (await this.#rows()).length;
      await older.click();
      await until('a page comes', async () => (await this.#rows()).length > before || !await older.isVisible(), deadlineMs);
    }
    return count;
  }

  /** Waits until the thread is exactly this: a row is `me: text [notes]` or `they: text`. */
  shows(...rows) {
    return this.#becomes('the thread', () => this.#rows(), rows);
  }

  /** Waits until the conversations are exactly these: their texts and buttons, in order. */
  lists(...rows) {
    const read = () => this.#list('Conversations').getByRole('listitem').evaluateAll((items) => items.map((item) =>
      [...item.querySelectorAll('button')].map(({ textContent }) => textContent.replaceAll(/\s+/g, ' ').trim()).join(' ')));
    return this.#becomes('the conversations', read, rows);
  }

  /** Waits until the status element says this. */
  says(text) {
    return this.#becomes('the status', () => this.page.locator('solconnect-sync-status').getByRole('status').textContent(), text);
  }

  #list(name) {
    return this.page.getByRole('list', { name });
  }

  #rows() {
    return this.#list('Messages').getByRole('listitem').evaluateAll((items) => items.map((item) => {
      const notes = item.querySelector('small').textContent;
      return `${item.classList.contains('own') ? 'me' : 'they'}: ${item.querySelector('.text').textContent}${notes ? ` [${notes}]` : ''}`;
    }));
  }

  async #becomes(what, read, wanted) {
    let last;
    try {
      await until(what, async () => isDeepStrictEqual(last = await read(), wanted), deadlineMs);
    } catch (error) {
      if (!error.message.startsWith('not within')) throw error;
      assert.deepEqual(last, wanted, `${this.name}: ${what}, after ${deadlineMs / 1000} s`);
    }
  }
}

/** In the page: complains when a message is shown twice, were it for one turn. All messages of the story are different. */
function watchForDuplicates() {
  new MutationObserver(() => {
    const texts = [...document.querySelectorAll('[aria-label=Messages] .text')].map(({ textContent }) => textContent).filter((text) => text !== 'Deleted');
    const twice = texts.filter((text, place) => texts.indexOf(text) !== place);
    if (twice.length > 0) console.error(`shown twice: ${twice}`);
  }).observe(document, { subtree: true, childList: true, characterData: true });
}
