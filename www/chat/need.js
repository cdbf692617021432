// This device is not signed in: said above the page, whatever is open, with the button that has the wallet sign.

import { act, once, pass, say } from './speak.js';

const SAYS = {
  SIGN_IN_REQUIRED: ['Your wallet has not signed for this device', 'What you write waits here, and nothing new is read, until it signs.'],
  DEVICE_REMOVED: ['This device was removed from your account', 'What is here can still be read. To write and to read what is new, sign in again: it comes back as a new device.'],
};

const $ = (id) => document.getElementById(id);

/** `wallet` has it sign; `removed(isIt)` hears whether nothing can be written here. */
export function createNeed({ sdk, wallet, removed }) {
  /** What the account says, or the error that it told of. */
  function render(error) {
    const code = sdk.getSyncStatus().data?.signInNeeded ?? (error && (error.code in SAYS ? error.code : 'SIGN_IN_REQUIRED'));
    const hadFocus = $('need').contains(document.activeElement);
    const isNew = $('need').hidden;
    $('need').hidden = code === undefined;
    removed(code === 'DEVICE_REMOVED');
    if (code === undefined) {
      if (hadFocus) [$('side-title'), $('peer')].find((place) => place.checkVisibility())?.focus();
      return;
    }
    const [title, says] = SAYS[code];
    $('need-title').textContent = title;
    // Why it was not signed, where the wallet or the relay says so.
    $('need-says').textContent = error?.userMessage && error.code !== code ? `${error.userMessage} ${says}` : says;
    if (!isNew) return;
    pass();
    say(`${title}.`);
  }

  async function signAgain() {
    if ((await act(wallet.having(() => sdk.signIn()))).success) render();
  }

  sdk.on('signInNeeded', ({ error }) => render(error ?? { code: 'SIGN_IN_REQUIRED' }));
  // The wallet may have signed meanwhile, also in another tab.
  for (const event of ['deviceAdded', 'walletChanged']) sdk.on(event, () => render());
  sdk.on('connectionChanged', ({ state }) => state === 'connected' && render());
  $('sign-again').addEventListener('click', () => once($('sign-again'), signAgain));
}
