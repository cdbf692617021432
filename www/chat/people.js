// The dialog in which one says who is to be in a group: people one knows, and addresses that are pasted.

import { el } from '../dom.js';
import { once } from './speak.js';
import { isAddress, picture, short } from './words.js';

/** What a group may be called, in UTF-8. */
const NAME_BYTES_MAX = 128;

const $ = (id) => document.getElementById(id);

/** `known(without)` gives the wallets that one has to do with, but for these. */
export function createPeople({ known }) {
  let done = null; // does what one came for, and resolves with the words of what went wrong

  function choice(wallet) {
    return el(
      'label', { class: 'person' },
      el('input', { type: 'checkbox', value: wallet }),
      picture(wallet),
      el('span', { title: wallet }, short(wallet)),
    );
  }

  function open({ title, yes, isNamed, without, work }) {
    done = work;
    $('people-title').textContent = title;
    $('people-yes').textContent = yes;
    $('people-named').hidden = !isNamed;
    refuse('');
    const wallets = known(without);
    $('people-known').hidden = wallets.length === 0;
    $('people-choices').replaceChildren(...wallets.map(choice));
    $('people-dialog').showModal();
  }

  function refuse(says, field = null) {
    $('people-error').textContent = says;
    for (const id of ['people-name', 'people-addresses']) $(id).setAttribute('aria-invalid', String(field === id));
    if (field) $(field).focus();
  }

  $('people-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const name = nameOf($('people-name').value);
    const pasted = $('people-addresses').value.split(/[\s,;]+/).filter(Boolean);
    const wrong = pasted.find((address) => !isAddress(address));
    const chosen = [...$('people-choices').querySelectorAll(':checked')].map((box) => box.value);
    const wallets = [...new Set([...chosen, ...pasted])];
    const fault = $('people-named').hidden ? '' : faultOf(name);
    if (fault) return refuse(fault, 'people-name');
    if (wrong) return refuse(`“${short(wrong)}” is no address.`, 'people-addresses');
    if (wallets.length === 0) return refuse('Choose somebody, or paste an address.', 'people-addresses');
    refuse('');
    await once($('people-yes'), async () => {
      const says = await done(wallets, name);
      if (says) refuse(says, 'people-addresses');
    });
  });
  $('people-cancel').addEventListener('click', () => $('people-dialog').close());
  // Whoever comes next finds nothing of it in the page.
  $('people-dialog').addEventListener('close', () => {
    $('people-name').value = $('people-addresses').value = '';
    $('people-choices').replaceChildren();
  });

  return {
    open,
    close: () => $('people-dialog').close(),
  };
}

/** A name as it is written down: on one line. */
export const nameOf = (text) => text.replace(/\p{Cc}+/gu, ' ').trim();

/** Why a group cannot be called so; empty where it can. */
export function faultOf(name) {
  if (name === '') return 'A group needs a name.';
  return new TextEncoder().encode(name).length > NAME_BYTES_MAX ? 'The name is too long.' : '';
}
