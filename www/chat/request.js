// A device of one's own waits to be approved: said at the top of the page, and asked for where it can be answered, until somebody does.

import { count } from '../dom.js';
import { once, say } from './speak.js';
import { wholeTimeOf } from './words.js';

const $ = (id) => document.getElementById(id);

/** `approve(device)` and `remove(device)` answer. */
export function createRequest({ approve, remove }) {
  let device = null;

  const answer = (work) => once($('request'), () => work(device));
  $('request-yes').addEventListener('click', () => answer(approve));
  $('request-no').addEventListener('click', () => answer(remove));

  return {
    /** The devices as they are now. */
    render(devices) {
      const own = devices.find(({ isThisDevice }) => isThisDevice);
      const waiting = devices.filter(({ isApproved }) => !isApproved);
      const before = device;
      device = (own && !own.isApproved ? own : own && waiting[0]) || null;
      const isOwn = device !== null && device === own;
      const hadFocus = $('request').contains(document.activeElement);
      $('request').hidden = device === null;
      $('request-yes').hidden = $('request-no').hidden = isOwn;
      if (hadFocus && (device === null || isOwn)) $('side-title').focus();
      if (device === null) return;
      $('request-title').textContent = isOwn ? 'This device waits to be approved' : 'A new device of yours waits to be approved';
      const more = waiting.length > 1 ? ` ${count(waiting.length - 1, 'more waits', 'more wait')} behind it.` : '';
      $('request-says').textContent = isOwn
        ? 'Open the chat on another device of yours, and choose “Approve” there. If no other is left, enter your recovery code under Devices. Until then you can write here and read what is written from now on; all earlier texts come with the approval.'
        : `Device ${device.id.slice(0, 6)} has signed in with your wallet, ${wholeTimeOf(device.addedAt)}. Approve it only if you have it before you: it will read everything.${more}`;
      if (device.id !== before?.id) say(`${$('request-title').textContent}.`);
    },
  };
}
