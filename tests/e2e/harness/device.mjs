// A device: one tab with one database, and what is known of it from outside through all its reloads and deaths.
import { within } from './wait.mjs';

/** Opens a device in `browser`, on the page that `relay` serves. */
export async function openDevice(options) {
  const device = new Device(options);
  await device.open();
  return device;
}

export class Device {
  /** Ids in the order in which its subscribers heard them, over all its lives. */
  heard = [];
  /** Ids in the order in which its sends were confirmed, over all its lives. */
  sent = [];
  /** When this process heard of each, in milliseconds of its monotonic clock. */
  sentAt = [];
  page = null;
  id = null;
  sessionId = null;

  /** `endpoint` and `config` go to the SDK; `relay` serves the page. Without a `peer` it starts no session. `joins`: it is one more tab of a device. */
  constructor({ browser, relay, name, wallet, peer, config = {}, offline = false, joins = false, answer, openDeadlineMs = 15_000 }) {
    this.name = name;
    this.browser = browser;
    this.relay = relay;
    this.wallet = wallet;
    this.peer = peer;
    this.offline = offline;
    this.joins = joins;
    this.answer = answer;
    this.openDeadlineMs = openDeadlineMs;
    this.config = { relayEndpoint: relay.endpoint, databaseName: name, retryDelayMs: 50, ...config };
  }

  /** Where the SDK keeps this wallet's messages. */
  get database() {
    return `${this.config.databaseName}/${this.wallet.address}`;
  }

  /** A new tab with this device's database. */
  async open() {
    this.page = await this.browser.newPage();
    await this.page.exposeBinding('tell', (_source, kind, ids) => {
      this[kind].push(...ids);
      if (kind === 'sent') this.sentAt.push(...ids.map(() => performance.now()));
    });
    await this.page.goto(this.relay.url);
    await this.start();
  }

  /** Starts the SDK in the page, which is loaded. */
  async start() {
    const options = { config: this.config, wallet: this.wallet, peer: this.peer?.address, offline: this.offline, joins: this.joins, answer: this.answer };
    const opened = await within(`${this.name} opens`, this.page.evaluate((options) => globalThis.device.open(options), options), this.openDeadlineMs);
    this.id = opened.deviceId;
    this.sessionId = opened.sessionId;
  }

  async reload() {
    await this.page.reload();
    await this.start();
  }

  /** Kills the tab's process, as a crash or the system's memory killer does. `open` brings it back. */
  async crash() {
    const page = this.page;
    const crashed = new Promise((resolve) => page.once('crash', resolve));
    const session = await page.context().newCDPSession(page);
    session.send('Page.crash').catch(() => {});
    await within(`the tab of ${this.name} dies`, crashed);
    await page.close();
  }

  async close() {
    await this.page.close();
  }

  /** Calls an SDK method; its data, or an error whose message begins with the code. */
  call(method, ...args) {
    return this.page.evaluate(async ({ method, args }) => globalThis.device.must(await globalThis.device.call(method, ...args)), { method, args });
  }

  /** Calls an SDK method that should fail; its error. */
  async failure(method, ...args) {
    const result = await this.page.evaluate(({ method, args }) => globalThis.device.call(method, ...args), { method, args });
    if (result.success) throw new Error(`${method} succeeded with ${JSON.stringify(result.data)}`);
    return result.error;
  }

  /** Accepts an invitation: from then on the device is about that session. */
  async accept(sessionId) {
    await this.page.evaluate((sessionId) => globalThis.device.accept(sessionId), sessionId);
    this.sessionId = sessionId;
  }

  async setOffline(offline) {
    this.offline = offline;
    await this.call('setOffline', offline);
  }

  send(...texts) {
    return this.page.evaluate((texts) => globalThis.device.send(texts), texts);
  }

  sendAtOnce(texts) {
    return this.page.evaluate((texts) => globalThis.device.sendAtOnce(texts), texts);
  }

  /** Every message it shows, in order. */
  list() {
    return this.page.evaluate(() => globalThis.device.list());
  }

  /** {cursor, queued, connection} */
  state() {
    return this.page.evaluate(() => globalThis.device.state());
  }

  /** The arguments of every event of that name, in order, since the page was loaded. */
  events(name) {
    return this.page.evaluate((name) => globalThis.device.events.filter((event) => event[0] === name).map((event) => event.slice(1)), name);
  }
}
