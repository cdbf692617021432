import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFirefox } from '../../../../scripts/tools.mjs';
import { until, within } from '../wait.mjs';
import { Browser, Tab } from './program.mjs';
import { connectRpc } from './rpc.mjs';

const preferences = {
  // Each tab has a content process of its own, also where several are of one origin.
  'dom.ipc.processCount': 64,
  'dom.ipc.processCount.webIsolated': 64,
  // After a kill it starts with what it is told to, not with what was open.
  'browser.sessionstore.resume_from_crash': false,
  'toolkit.startup.max_resumed_crashes': -1,
  'browser.aboutwelcome.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'app.update.auto': false,
};

export class Firefox extends Browser {
  rpc = null;
  /** The browser's own window: code runs there with all rights. */
  #window = null;

  async start() {
    const path = findFirefox();
    if (!path) throw new Error('no Firefox: run `npm run setup`');
    const lines = Object.entries(preferences).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`);
    writeFileSync(join(this.profile, 'user.js'), lines.join('\n'));
    const args = ['--headless', '--no-remote', '--profile', this.profile, '--remote-debugging-port', '0', '--remote-allow-system-access', 'about:blank'];
    const address = await this.run(path, args, /WebDriver BiDi listening on (ws:\S+)/, { MOZ_CRASHREPORTER_DISABLE: '1' });
    this.rpc = await connectRpc(`${address}/session`);
    await this.rpc.call('session.new', { capabilities: {} });
    const { contexts } = await this.rpc.call('browsingContext.getTree', { 'moz:scope': 'chrome' });
    this.#window = contexts[0].context;
  }

  async open(url) {
    const create = () => this.rpc.call('browsingContext.create', { type: 'tab' });
    // It fails where a tab is closed meanwhile.
    const { context } = await create().catch(create);
    const tab = new FirefoxTab(this, context);
    await tab.navigate(url);
    return tab;
  }

  /** The content process that a tab's page is in now. */
  async processOf(context) {
    const expression = `ChromeUtils.importESModule('chrome://remote/content/shared/NavigableManager.sys.mjs')
      .NavigableManager.getBrowsingContextById(${JSON.stringify(context)}).currentWindowGlobal.osPid`;
    const { result, exceptionDetails } = await this.rpc.call('script.evaluate', { expression, target: { context: this.#window }, awaitPromise: false });
    if (!(result?.value > 0)) throw new Error(`which process a tab has is not known: ${exceptionDetails?.text}`);
    return result.value;
  }
}

class FirefoxTab extends Tab {
  #context;
  /** Its content process while that is stopped. */
  #stopped = null;

  constructor(browser, context) {
    super(browser);
    this.#context = context;
  }

  #call(method, params = {}) {
    return this.unlessGone(this.browser.rpc.call(method, { context: this.#context, ...params }));
  }

  async run(expression) {
    const params = { expression, target: { context: this.#context }, awaitPromise: true };
    const { result, exceptionDetails } = await this.browser.rpc.call('script.evaluate', params);
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value;
  }

  async navigate(url) {
    await within(`${url} loads`, this.#call('browsingContext.navigate', { url, wait: 'complete' }), 30_000);
  }

  async reload() {
    await within('the page loads again', this.#call('browsingContext.reload', { wait: 'complete' }), 30_000);
  }

  async back() {
    const left = await this.evaluate('location.href');
    await this.#call('browsingContext.traverseHistory', { delta: -1 });
    // In between there may be an empty document, where the page gets another process.
    const isElsewhere = `![${JSON.stringify(left)}, 'about:blank'].includes(location.href)`;
    const isThere = () => this.evaluate(`${isElsewhere} && document.readyState === 'complete'`).catch(() => false);
    await until('the page before is there', isThere, 30_000);
  }

  async show() {
    // Where the one in front is stopped, the answer does not come, but the change does.
    this.#call('browsingContext.activate').catch(() => {});
    await until('the tab is shown', () => this.evaluate('document.visibilityState === "visible"'));
  }

  async freeze() {
    this.#stopped = await this.browser.processOf(this.#context);
    process.kill(this.#stopped, 'SIGSTOP');
  }

  async thaw() {
    process.kill(this.#stopped, 'SIGCONT');
    this.#stopped = null;
  }

  async crash() {
    const pid = this.#stopped ?? (await this.browser.processOf(this.#context));
    process.kill(pid, 'SIGKILL');
    this.end('it crashed');
    await this.browser.rpc.call('browsingContext.close', { context: this.#context });
  }

  async close() {
    if (this.#stopped) await this.thaw();
    this.end('it was closed');
    await this.browser.rpc.call('browsingContext.close', { context: this.#context });
  }
}
