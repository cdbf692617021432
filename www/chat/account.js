// Who is here: the wallet, its devices, signing in and out.

import { el } from '../dom.js';
import { copy } from './copy.js';
import { createDevices } from './devices.js';
import { createRequest } from './request.js';
import { createRecovery } from './recovery.js';
import { act, notice, once } from './speak.js';
import { createWallet } from './wallet.js';
import { picture } from './words.js';

const $ = (id) => document.getElementById(id);

/** `findWallets` looks for those that extensions offer; `left()` is called when the person has signed out. */
export function createAccount({ sdk, profile, findWallets, left }) {
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
    $('second').textContent = profile ? 'Open the first person in another window' : 'Open a second person in another window';
    $('second').classList.remove('waits');
  }

  function showDevices() {
    const all = sdk.getDevices().data ?? [];
    devices.render(all);
    request.render(all);
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
        ? 'Nothing of you is left in this browser. Who signs in here next is somebody new.'
        : 'What you wrote and received is kept in this browser.';
    $('panes').inert = true;
    $('signed-out').hidden = false;
    $('signed-out-title').focus();
  }

  /** Without a wallet of an extension, with the one that this browser keeps. */
  async function signIn(...wallet) {
    const result = await sdk.connectWallet(...wallet);
    if (result.error) {
      $('signed-out-says').textContent = result.error.userMessage;
      return;
    }
    $('signed-out').hidden = true;
    $('panes').inert = false;
    showNeed();
    $('side-title').focus();
  }

  /** The wallet may have signed meanwhile. */
  function showNeed() {
    $('sign-again').hidden = sdk.getSyncStatus().data?.signInNeeded === undefined;
  }

  async function signAgain() {
    const result = await act(wallet.having(() => sdk.signIn()));
    if (!result.success) return;
    $('sign-again').hidden = true;
    $('side-title').focus();
  }

  sdk.on('walletChanged', showWallet);
  for (const event of ['deviceAdded', 'deviceNumber', 'deviceApproved', 'deviceRemoved', 'recoveryChanged', 'walletChanged']) sdk.on(event, showDevices);
  sdk.on('signInNeeded', ({ error }) => {
    $('sign-again').hidden = false;
    if (error) notice(error.userMessage);
  });
  sdk.on('deviceAdded', showNeed);
  sdk.on('connectionChanged', ({ state }) => state === 'connected' && showNeed());
  showWallet();
  showDevices();
  $('copy').addEventListener('click', () => copy($('copy'), $('me-address').dataset.address, () => $('me-address')));
  $('sign-out').addEventListener('click', () => $('sign-out-dialog').showModal());
  $('sign-out-no').addEventListener('click', () => $('sign-out-dialog').close());
  $('sign-out-yes').addEventListener('click', () => signOut(false));
  $('sign-out-wipe').addEventListener('click', () => signOut(true));
  $('sign-in').addEventListener('click', () => once($('signed-out'), signIn));
  $('sign-again').addEventListener('click', () => once($('sign-again'), signAgain));
}
