// The chat page as people use it, each in a browser of their own, under the strict policy that the relay serves it with.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../../scripts/shell.mjs';
import { scene } from './scene.mjs';

export const desktop = { width: 1280, height: 800 };
export const phone = { width: 390, height: 844 };

/** What is rare or long to come to, with a stand-in for the SDK. */
export const standIn = readFileSync(new URL('stand-in.js', import.meta.url), 'utf8');

/** For a whole file: a relay that serves the page, and `open`, which opens it for one more person; `openTwo` for two who have begun to talk. */
export function chat() {
  const stage = scene({ www: join(root, 'www'), auth: 'wallet' });
  const open = (...args) => Person.open(stage, ...args);
  return {
    stage,
    open,
    async openTwo(t, viewports = [desktop, desktop]) {
      const alice = await open(t, viewports[0]);
      const bob = await open(t, viewports[1], `chat.html?profile=bob&peer=${alice.address}`);
      await bob.page.locator('#thread').waitFor();
      await alice.start(bob.address);
      for (const { page } of [alice, bob]) await page.locator('#lock.is-on').waitFor();
      return [alice, bob];
    },
  };
}

/** A person with the page open, and whatever its console complains of. */
class Person {
  complaints = [];

  /** With a stand-in for the SDK, or the wallet of an extension; `options` are Playwright's. */
  static async open({ relay, browser }, t, viewport, address = 'chat.html', { standIn, wallet, ...options } = {}) {
    const person = new Person();
    person.context = await browser.newContext({ viewport, ...options });
    if (standIn) await person.context.route('**/pkg/index.js', (route) => route.fulfill({ contentType: 'text/javascript', body: standIn }));
    if (wallet) await person.context.addInitScript(registerWallet, wallet);
    t.after(() => person.context.close());
    await person.context.addInitScript(() => {
      globalThis.shifts = [];
      new PerformanceObserver((list) => {
        for (const { value, hadRecentInput, sources } of list.getEntries()) if (!hadRecentInput) globalThis.shifts.push([value, ...sources.map(({ node }) => node?.className ?? '')]);
      }).observe({ type: 'layout-shift', buffered: true });
    });
    person.page = await person.context.newPage();
    person.page.on('pageerror', (error) => person.complaints.push(error.message));
    person.page.on('console', (message) => ['error', 'warning'].includes(message.type()) && person.complaints.push(message.text()));
    await person.page.goto(relay.url + address);
    await person.page.locator('#copy:enabled').waitFor({ state: 'attached', timeout: 30_000 });
    person.address = await person.page.locator('#me-address').getAttribute('data-address');
    return person;
  }

  get field() {
    return this.page.locator('#write');
  }

  async start(peer) {
    await this.page.locator('#new').click();
    await this.page.locator('#new-address').fill(peer);
    await this.page.keyboard.press('Enter');
    await this.page.locator('#thread').waitFor();
  }

  async write(text) {
    await this.field.fill(text);
    await this.field.press('Enter');
  }

  row(text) {
    return this.page.locator('.row', { has: this.page.getByText(text, { exact: true }) });
  }

  /** `status` as the SDK names it: its words may be parts of each other. `part` is anything else that stands in the row. */
  async sees(text, { status, part = '' } = {}) {
    const rows = status ? this.row(text).and(this.page.locator(`.is-${status}`)) : this.row(text);
    await rows.filter({ hasText: part }).first().waitFor({ timeout: 20_000 });
  }

  /** Sends many at once, with the SDK that the page uses. */
  send(texts) {
    return this.page.evaluate(async (texts) => {
      const { connect } = await import('/pkg/index.js');
      const profile = new URLSearchParams(location.search).get('profile');
      const sdk = await connect({ relayEndpoint: `ws://${location.host}/`, databaseName: `solconnect-chat${profile ? `-${profile}` : ''}`, domains: [location.host] });
      const [{ sessionId }] = sdk.getActiveSessions().data;
      const results = await Promise.all(texts.map((text) => sdk.sendMessage(sessionId, text)));
      return results.filter((result) => result.error).length;
    }, texts);
  }

  /** Where a row is on the screen. */
  topOf(text) {
    return this.row(text).first().evaluate((node) => node.getBoundingClientRect().top);
  }
}

/** Runs in each page: a wallet as an extension registers it, with a key that several browsers of a person have. Where it `asks`, it connects to no page without a prompt. */
function registerWallet({ address, publicKey, pkcs8, asks = false }) {
  const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const key = crypto.subtle.importKey('pkcs8', bytesOf(pkcs8), 'Ed25519', false, ['sign']);
  const account = { address, publicKey: bytesOf(publicKey), chains: ['solana:mainnet'], features: ['solana:signMessage'] };
  // A page that is loaded again is given the account when it asks, without a prompt where the person has connected it before.
  let accounts = [];
  const connect = async ({ silent = false } = {}) => {
    if (!silent) localStorage.setItem('pocket', 'trusts');
    if (!silent || (!asks && localStorage.getItem('pocket'))) accounts = [account];
    return { accounts };
  };
  const signMessage = async ({ message }) => [{ signedMessage: message, signature: new Uint8Array(await crypto.subtle.sign('Ed25519', await key, message)) }];
  const features = { 'standard:connect': { version: '1.0.0', connect }, 'solana:signMessage': { version: '1.0.0', signMessage } };
  const wallet = { version: '1.0.0', name: 'Pocket', icon: 'data:image/svg+xml;base64,', chains: account.chains, get accounts() { return accounts; }, features };
  const register = (api) => api.register(wallet);
  window.dispatchEvent(new CustomEvent('wallet-standard:register-wallet', { detail: register }));
  window.addEventListener('wallet-standard:app-ready', ({ detail }) => register(detail));
}
