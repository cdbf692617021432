// The recovery code and the passkey of the one who is signed in here: made, the code shown once, or used on a device that waits to be
// approved.

import { copy } from './copy.js';
import { act, ask, once, tell } from './speak.js';
import { dateTimeOf, HAS_PASSKEYS, LEFTOVER, waysBack } from './words.js';

const $ = (id) => document.getElementById(id);

export function createRecovery(sdk) {
  async function makes() {
    const says = 'The code that you have is of no use then.';
    if (sdk.getRecovery().data?.code && !(await ask('Make a new recovery code?', says, 'Make a new one'))) return;
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
    tell('Your recovery code is made, and what you wrote down is right.');
  }

  async function makesPasskey() {
    const says = 'The passkey that you have is of no use then.';
    const had = sdk.getRecovery().data?.passkey;
    if (had && !(await ask('Make a new passkey?', says, 'Make a new one'))) return;
    if ((await act(sdk.createPasskey())).success) tell(['Your passkey is made.', had && LEFTOVER].filter(Boolean).join(' '));
  }

  /** Comes back by what this button or field gives. */
  async function recovers(from, recover) {
    $('recovery-error').textContent = '';
    const result = await recover();
    if (result.error) {
      // What is wrong with a code, only the message says: how many characters it has, or that one is another.
      const { code, userMessage, message } = result.error;
      $('recovery-error').textContent = code === 'INVALID_RECOVERY_CODE' ? `${message[0].toUpperCase()}${message.slice(1)}.` : userMessage;
      from.focus();
      return;
    }
    $('recovery-typed').value = '';
  }

  const recoversOnce = (event) => {
    event.preventDefault();
    const typed = $('recovery-typed');
    void once($('recovery-recover'), () => recovers(typed, () => sdk.recover(typed.value.replace(/\s/g, ' '))));
  };
  $('recovery-make').addEventListener('click', () => once($('recovery-make'), makes));
  $('passkey-make').addEventListener('click', () => once($('passkey-make'), makesPasskey));
  $('passkey-use').addEventListener('click', () => once($('passkey-use'), () => recovers($('passkey-use'), () => sdk.recoverWithPasskey())));
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

  /** What there is to come back by, and what is to be done about it. */
  function says(isApproved, { code, passkey }) {
    if (!isApproved) {
      const ways = waysBack({ code, passkey });
      if (ways !== '') return `With your ${ways} this device reads everything, also where no other device is left.`;
      return 'You have nothing to come back by here, so only another device of yours can approve this one.';
    }
    const has = [code && `a recovery code since ${dateTimeOf(code.createdAt)}`, passkey && `a passkey since ${dateTimeOf(passkey.createdAt)}`].filter(Boolean);
    if (has.length > 0) return `You have ${has.join(', and ')}. Who loses all devices comes back with ${has.length > 1 ? 'either' : 'it'}.`;
    const lacks = HAS_PASSKEYS ? 'neither a recovery code nor a passkey' : 'no recovery code';
    return `You have ${lacks}. Who loses all devices loses everything that was written.`;
  }

  return {
    /** Shows what is to be done on this device to come back; where it is none of the wallet's, nothing. */
    render(own) {
      const recovery = sdk.getRecovery().data ?? {};
      const [isApproved, waits] = [own?.isApproved === true, own?.isApproved === false];
      const focused = document.activeElement;
      $('recovery').hidden = own === undefined;
      $('recovery-form').hidden = !waits || !recovery.code;
      $('recovery-make').hidden = !isApproved;
      $('recovery-make').textContent = recovery.code ? 'Make a new recovery code' : 'Make a recovery code';
      $('passkey-make').hidden = !isApproved || !HAS_PASSKEYS;
      $('passkey-make').textContent = recovery.passkey ? 'Make a new passkey' : 'Make a passkey';
      $('passkey-use').hidden = !waits || !HAS_PASSKEYS || !recovery.passkey;
      $('recovery-says').textContent = says(isApproved, recovery);
      $('passkey-says').hidden = $('passkey-make').hidden || recovery.passkey !== undefined;
      if ($('recovery').contains(focused) && focused.closest('[hidden]')) $('devices-close').focus();
    },
  };
}
