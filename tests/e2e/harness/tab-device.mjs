// A device in a tab of any engine (engines.mjs).
import { Device } from './device.mjs';
import { until } from './wait.mjs';

export async function openTabDevice(options) {
  const device = new TabDevice(options);
  await device.open();
  return device;
}

export class TabDevice extends Device {
  #url;
  #without;

  /**
   * As a `Device`, with a browser of engines.mjs. Over a `wire` the page comes too: its policy lets it reach where it came from. `without`
   * names what the browser shall not have: `locks`, `channel`.
   */
  constructor({ wire, without = [], ...options }) {
    super({ ...options, config: { ...options.config, ...(wire && { relayEndpoint: wire.endpoint }) } });
    this.#without = without;
    this.#url = this.config.relayEndpoint.replace(/^ws/, 'http');
  }

  async open() {
    await this.load();
    await this.start();
  }

  /** Its page, in which nothing runs before `start`. */
  async load() {
    this.page = await this.browser.open(this.#url);
  }

  async start() {
    await this.page.evaluate((without) => {
      if (without.includes('locks')) Object.defineProperty(Navigator.prototype, 'locks', { value: undefined });
      if (without.includes('channel')) delete globalThis.BroadcastChannel;
      globalThis.heardHere = [];
      globalThis.tell = (kind, ids) => kind === 'heard' && globalThis.heardHere.push(...ids);
    }, this.#without);
    await super.start();
  }

  /** Ids that its page has heard of since it was loaded. */
  heardHere() {
    return this.page.evaluate('globalThis.heardHere');
  }

  async crash() {
    await this.page.crash();
  }

  role() {
    return this.call('getTabRole');
  }

  becomes(role, deadlineMs) {
    return until(`the tab is ${role}`, async () => (await this.role()) === role, deadlineMs).catch(async (error) => {
      throw new Error(`${error.message}; it was ${JSON.stringify(await this.events('onTabChanged'))}`);
    });
  }

  /** Sends all at once, and does not wait for it: `sent` does. */
  begin(texts) {
    return this.page.evaluate((texts) => {
      globalThis.sending = globalThis.device.sendAtOnce(texts);
      globalThis.sending.catch(() => {});
    }, texts);
  }

  sendings() {
    return this.page.evaluate('globalThis.sending');
  }

  /** From now on its freezing comes without notice, as in browsers that give none; but for the driver, which waits for it. */
  freezesSilently() {
    return this.page.evaluate(() => addEventListener('freeze', (event) => {
      globalThis[Symbol.for('is frozen')] = true;
      event.stopImmediatePropagation();
    }, { capture: true }));
  }

  /** What its list shows. */
  shown() {
    return this.page.evaluate(() => {
      const { sdk, sessionId } = globalThis.device;
      globalThis.list ??= sdk.messages(sessionId, { limit: 1_000 });
      globalThis.endList ??= globalThis.list.subscribe(() => {});
      return globalThis.list.getSnapshot().items.map(({ id, text, status, sequenceNumber }) => ({ id, text, status, sequenceNumber }));
    });
  }
}
