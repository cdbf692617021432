// A device in a tab of any engine (engines.mjs).
import { Device } from './device.mjs';

export async function openTabDevice(options) {
  const device = new TabDevice(options);
  await device.open();
  return device;
}

export class TabDevice extends Device {
  #url;

  /** As a `Device`, with a browser of engines.mjs. Over a `wire` the page comes too: its policy lets it reach where it came from. */
  constructor({ wire, ...options }) {
    super({ ...options, config: { ...options.config, ...(wire && { relayEndpoint: wire.endpoint }) } });
    this.#url = this.config.relayEndpoint.replace(/^ws/, 'http');
  }

  async open() {
    this.page = await this.browser.open(this.#url);
    await this.start();
  }

  async start() {
    await this.page.evaluate(() => {
      globalThis.heardHere = [];
      globalThis.tell = (kind, ids) => kind === 'heard' && globalThis.heardHere.push(...ids);
    });
    await super.start();
  }

  /** Ids that its page has heard of since it was loaded. */
  heardHere() {
    return this.page.evaluate('globalThis.heardHere');
  }

  async crash() {
    await this.page.crash();
  }
}
