// What a test file has around it: a relay, a browser, wallets. Everything is taken down afterwards, whatever happened.
import { after, before } from 'node:test';
import { startBrowser } from './browser.mjs';
import { openDevice } from './device.mjs';
import { startRelay } from './relay.mjs';
import { newWallet } from './wallet.mjs';

/** For the whole file: `scene.relay`, started with these options, and `scene.browser` stand before its first test. */
export function scene(options) {
  const stage = { relay: null, browser: null };
  before(async () => {
    stage.relay = await startRelay(options);
    stage.browser = await startBrowser();
  });
  after(async () => {
    await stage.browser?.stop();
    await stage.relay?.stop();
  });
  return stage;
}

let cases = 0;

/**
 * For one test `t`: new wallets, alice, bob and carol, and `device(owner, options)`, which opens a device of one of them
 * with a database of its own. All of them are in one session that no other test has; with `peer: null` only when it is invited.
 */
export function cast(t, { relay, browser }) {
  cases += 1;
  const wallets = { alice: newWallet(), bob: newWallet(), carol: newWallet() };
  const devices = [];
  t.after(async () => {
    for (const device of devices) await device.close().catch(() => {});
  });
  return {
    wallets,
    async device(owner, options = {}) {
      const other = owner === 'alice' ? 'bob' : 'alice';
      const name = `case-${cases}-${owner}-${devices.length + 1}`;
      const device = await openDevice({ browser, relay, name, wallet: wallets[owner], peer: wallets[other], ...options });
      devices.push(device);
      return device;
    },
  };
}
