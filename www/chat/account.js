// Who is here: the wallet, its devices, signing in and out.

import { el } from '../dom.js';
import { copy } from './copy.js';
import { createDevices } from './devices.js';
import { createRequest } from './request.js';
import { createRecovery } from './recovery.js';
import { createNeed } from './need.js';
import { once, tell } from './speak.js';
import { createWallet } from './wallet.js';
import { picture } from './words.js';

const $ = (id) => document.getElementById(id);

/**
 * `test` is the wallet that the address asked for, or `null`; `findWallets` looks for those that extensions offer. `left()` is called when the
 * person has signed out, `removed(isIt)` with whether this device is out of the account.
 */
export function createAccount({ sdk, profile, test, findWallets, left, removed }) {
  const wallet = createWallet({ sdk, found: () => search.wallets });
  const devices = createDevices(sdk, wallet);
  const request = createRequest(devices);
  const recovery = createRecovery(sdk);

  function showWallet() {
    const address = sdk.getCurrentWallet().data;
    if (!address) return;
    $('me-picture').replaceChildren(picture(address));
    $('me-address').textContent = address;
    $('me-address').dataset.address = address;
    const other = profile === 'bob' ? null : 'bob';
    const there = new URLSearchParams({ ...(other && { profile: other }), peer: address });
    $('second').href = `${location.pathname}?${there}`;
    $('second').textContent = other ? 'Open a second person in another window' : 'Open the first person in another window';
    $('second').classList.remove('waits');
    // Another profile is another device, where both have the same wallet.
    const here = new URLSearchParams(location.search);
    if (profile) here.delete('profile');
    else here.set('profile', 'phone');
    $('other-device').hidden = !test;
    $('other-device').href = `${location.pathname}?${here}`;
  }

  function showDevices() {
    const all = sdk.getDevices().data ?? [];
    devices.render(all);
    request.render(all, sdk.getRecovery().data);
    recovery.render(all.find(({ isThisDevice }) => isThisDevice));
  }

  const search = findWallets(showWallets);
  function showWallets() {
    wallet.update();
    $('wallets').replaceChildren(
      ...search.wallets.map((wallet) => el('button', { type: 'button', class: 'secondary', onclick: () => once($('signed-out'), () => signIn(wallet)) }, `Sign in with ${wallet.name}`)),
    );
  }
  showWallets();

  async function signOut(wipe) {
    $('sign-out-dialog').close();
    const result = await sdk.logout({ wipe });
    left();
    $('me-picture').replaceChildren();
    $('me-address').textContent = '…';
    $('signed-out-says').textContent = result.error
      ? `${result.error.userMessage} What is stored here could not be deleted.`
      : wipe
        ? test ? 'Nothing that you wrote is left here. The test wallet is.' : 'Nothing of you is left in this browser. Who signs in here next is somebody new.'
        : 'What you wrote and received is kept in this browser.';
    $('panes').inert = true;
    $('signed-out').hidden = false;
    $('signed-out-title').focus();
  }

  /** Without a wallet, with the one that this browser makes and keeps. */
  async function signIn(...wallet) {
    const result = await sdk.connectWallet(...wallet);
    if (result.error) {
      $('signed-out-says').textContent = result.error.userMessage;
      return;
    }
    $('signed-out').hidden = true;
    $('panes').inert = false;
    $('side-title').focus();
  }

  sdk.on('walletChanged', showWallet);
  for (const event of ['deviceAdded', 'deviceNumber', 'deviceApproved', 'deviceRemoved', 'recoveryChanged', 'walletChanged']) sdk.on(event, showDevices);
  sdk.on('deviceApproved', ({ deviceId }) => deviceId === sdk.getDeviceId().data && tell('This device is approved, and reads everything that was written.'));
  createNeed({ sdk, wallet, removed });
  showWallet();
  showDevices();
  $('copy').addEventListener('click', () => copy($('copy'), $('me-address').dataset.address, () => $('me-address')));
  $('sign-out').addEventListener('click', () => $('sign-out-dialog').showModal());
  $('sign-out-no').addEventListener('click', () => $('sign-out-dialog').close());
  $('sign-out-yes').addEventListener('click', () => signOut(false));
  $('sign-out-wipe').addEventListener('click', () => signOut(true));
  if (test) $('sign-in').textContent = 'Sign in with the test wallet';
  $('sign-in').addEventListener('click', () => once($('signed-out'), () => (test ? signIn(test) : signIn())));
}
