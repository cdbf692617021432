import { findChromium } from '../../../../scripts/tools.mjs';
import { until, within } from '../wait.mjs';
import { Browser, Tab } from './program.mjs';
import { connectRpc } from './rpc.mjs';

const flags = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-extensions',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--mute-audio', '--password-store=basic', '--remote-debugging-port=0',
];

export class Chromium extends Browser {
  rpc = null;
  /** The tab that it begins with. */
  first = null;

  async start() {
    const path = findChromium();
    if (!path) throw new Error('no Chromium: run `npm run setup`, or set CHROMIUM');
    this.rpc = await connectRpc(await this.run(path, [...flags, `--user-data-dir=${this.profile}`, 'about:blank'], /DevTools listening on (ws:\S+)/));
    const { targetInfos } = await this.rpc.call('Target.getTargets');
    this.first = targetInfos.find(({ type }) => type === 'page').targetId;
  }

  async open(url) {
    const { targetId } = await this.rpc.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.rpc.call('Target.attachToTarget', { targetId, flatten: true });
    const tab = new ChromiumTab(this, targetId, sessionId);
    await tab.call('Page.enable');
    await tab.call('Inspector.enable');
    await tab.show();
    await tab.navigate(url);
    return tab;
  }
}

class ChromiumTab extends Tab {
  #targetId;
  #sessionId;
  #wasFrozen = false;

  constructor(browser, targetId, sessionId) {
    super(browser);
    this.#targetId = targetId;
    this.#sessionId = sessionId;
  }

  call(method, params) {
    return this.browser.rpc.call(method, params, { sessionId: this.#sessionId });
  }

  #event(...methods) {
    return this.browser.rpc.event(({ method, sessionId }) => sessionId === this.#sessionId && methods.includes(method));
  }

  async run(expression) {
    const { result } = await this.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    return result.value;
  }

  async navigate(url) {
    const loaded = this.#event('Page.loadEventFired');
    const { errorText, loaderId } = await this.unlessGone(this.call('Page.navigate', { url }));
    if (errorText) throw new Error(`${url}: ${errorText}`);
    // Within a document nothing is loaded.
    if (loaderId) await within(`${url} loads`, this.unlessGone(loaded), 30_000);
  }

  async reload() {
    const loaded = this.#event('Page.loadEventFired');
    await this.unlessGone(this.call('Page.reload'));
    await within('the page loads again', this.unlessGone(loaded), 30_000);
  }

  async back() {
    const { currentIndex, entries } = await this.call('Page.getNavigationHistory');
    const isKept = ({ method, params }) => method === 'Page.frameNavigated' && params.type === 'BackForwardCacheRestore';
    const there = this.browser.rpc.event((event) => event.sessionId === this.#sessionId && (isKept(event) || event.method === 'Page.loadEventFired'));
    await this.call('Page.navigateToHistoryEntry', { entryId: entries[currentIndex - 1].id });
    await within('the page before is there', this.unlessGone(there), 30_000);
  }

  async show() {
    // What was frozen stays hidden, also in front: it has to come there from behind another.
    if (this.#wasFrozen) await this.browser.rpc.call('Target.activateTarget', { targetId: this.browser.first });
    this.#wasFrozen = false;
    await this.call('Page.bringToFront');
  }

  async freeze() {
    const isFrozen = 'globalThis[Symbol.for("is frozen")]';
    await this.evaluate(`${isFrozen} = false, document.addEventListener('freeze', () => { ${isFrozen} = true; }, { once: true })`);
    await this.call('Page.setWebLifecycleState', { state: 'frozen' });
    // The answer comes before the page has heard of it. A frozen page still tells its debugger what it has.
    const ask = () => this.call('Runtime.evaluate', { expression: isFrozen, returnByValue: true });
    await until('the page is frozen', async () => (await ask()).result.value);
  }

  async thaw() {
    await this.call('Page.setWebLifecycleState', { state: 'active' });
    this.#wasFrozen = true;
  }

  async crash() {
    const crashed = this.#event('Inspector.targetCrashed');
    this.call('Page.crash').catch(() => {});
    await within('the tab crashes', crashed);
    this.end('it crashed');
    await this.browser.rpc.call('Target.closeTarget', { targetId: this.#targetId });
  }

  async close() {
    this.end('it was closed');
    await this.browser.rpc.call('Target.closeTarget', { targetId: this.#targetId });
  }
}
