// The recovery code of the one who is signed in here: made and shown once, or typed on a device that waits to be approved.

import { copy } from './copy.js';
import { act, ask, once, say } from './speak.js';
import { wholeTimeOf } from './words.js';

const $ = (id) => document.getElementById(id);

export function createRecovery(sdk) {
  async function makes() {
    const says = 'The code that you have is of no use then.';
    if (sdk.getRecovery().data && !(await ask('Make a new recovery code?', says, 'Make a new one'))) return;
    const result = await act(sdk.createRecoveryCode());
    if (!result.success) return;
    $('recovery-code').textContent = result.data;
    $('recovery-dialog').showModal();
    shows(true);
  }

  /** The code, or the question how it ends: who has not written it down finds out while it is still there. */
  function shows(isCode) {
    $('recovery-code-says').textContent = isCode
      ? 'Write it down and keep it where nobody else finds it. It is shown only now, and nobody can give it to you again. Whoever has it can read everything.'
      : 'Is it written down? Then you know how it ends.';
    for (const id of ['recovery-code', 'recovery-shown']) $(id).hidden = !isCode;
    $('recovery-check').hidden = isCode;
    $('recovery-last').value = '';
    $('recovery-last-error').textContent = '';
    $(isCode ? 'recovery-done' : 'recovery-last').focus();
  }

  function checks(event) {
    event.preventDefault();
    // As a code is read: capitals do not matter, nor what looks alike.
    const typed = $('recovery-last').value.toUpperCase().replace(/[\s-]/g, '').replace(/[IL]/g, '1').replaceAll('O', '0');
    if (typed !== $('recovery-code').textContent.slice(-4)) {
      $('recovery-last-error').textContent = 'The code ends otherwise. Look at it again.';
      return;
    }
    $('recovery-dialog').close();
    say('Your recovery code is right.');
  }

  async function recovers() {
    $('recovery-error').textContent = '';
    const result = await sdk.recover($('recovery-typed').value.replace(/\s/g, ' '));
    if (result.error) {
      // What is wrong with it, only the message says: how many characters it has, or that one is another.
      const { code, userMessage, message } = result.error;
      $('recovery-error').textContent = code === 'INVALID_RECOVERY_CODE' ? `${message[0].toUpperCase()}${message.slice(1)}.` : userMessage;
      $('recovery-typed').focus();
      return;
    }
    $('recovery-typed').value = '';
    say('This device is approved, and reads everything that was written.');
  }

  const recoversOnce = (event) => {
    event.preventDefault();
    void once($('recovery-recover'), recovers);
  };
  $('recovery-make').addEventListener('click', () => once($('recovery-make'), makes));
  $('recovery-form').addEventListener('submit', recoversOnce);
  // It is one line, however long.
  $('recovery-typed').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.isComposing) recoversOnce(event);
  });
  $('recovery-copy').addEventListener('click', () => copy($('recovery-copy'), $('recovery-code').textContent, () => $('recovery-code'), 'The recovery code is copied.'));
  $('recovery-done').addEventListener('click', () => shows(false));
  $('recovery-again').addEventListener('click', () => shows(true));
  $('recovery-check').addEventListener('submit', checks);
  /** It is shown once: who leaves is asked for its end first, and then whether it is to be left at that. */
  async function leaves(event) {
    event.preventDefault();
    if (!$('recovery-code').hidden) shows(false);
    else if (await ask('Close without checking?', 'The code is not shown again. If it is not written down, make a new one.', 'Close')) $('recovery-dialog').close();
  }
  $('recovery-dialog').addEventListener('cancel', leaves);
  // Of two presses in a row browsers take the second as the last word.
  $('recovery-dialog').addEventListener('keydown', (event) => event.key === 'Escape' && leaves(event));
  $('recovery-dialog').addEventListener('close', () => $('recovery-code').replaceChildren());

  return {
    /** Shows what is to be done with a code on this device; where it is none of the wallet's, nothing. */
    render(own) {
      const since = sdk.getRecovery().data?.createdAt;
      $('recovery').hidden = own === undefined;
      const hadForm = $('recovery-form').contains(document.activeElement);
      $('recovery-form').hidden = own?.isApproved !== false;
      if (hadForm && $('recovery-form').hidden) $('devices-close').focus();
      $('recovery-make').hidden = own?.isApproved !== true;
      $('recovery-make').textContent = since ? 'Make a new recovery code' : 'Make a recovery code';
      $('recovery-says').textContent = own?.isApproved === false
        ? 'With your recovery code this device reads everything, also where no other device is left.'
        : since
          ? `You have a recovery code since ${wholeTimeOf(since)}. Who loses all devices comes back with it.`
          : 'You have no recovery code. Who loses all devices loses everything that was written.';
    },
  };
}
