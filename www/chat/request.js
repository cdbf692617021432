// A device of one's own waits to be approved: said at the top of the page, and asked for where it can be answered, until somebody does. One
// request at a time: another that came in its place would be approved by a press that was meant for it.

import { count, el } from '../dom.js';
import { once, say } from './speak.js';
import { deviceName, spaced, waysBack, wholeTimeOf } from './words.js';

const $ = (id) => document.getElementById(id);

/** A device as another one names it, in a sentence. */
const deviceNamed = ({ id }) => `device ${id.slice(0, 6)}`;

/** `approve(device)` and `remove(device)` answer. */
export function createRequest({ approve, remove }) {
  let all = [];
  let ways = ''; // what this device can come back by
  let device = null;
  let told = '';

  const answer = (work) => once($('request'), () => work(device));
  $('request-yes').addEventListener('click', () => answer(approve));
  $('request-no').addEventListener('click', () => answer(remove));
  $('request-next').addEventListener('click', () => {
    const waiting = all.filter(({ isApproved }) => !isApproved);
    show(waiting[(waiting.indexOf(device) + 1) % waiting.length]);
  });

  function show(now) {
    const own = all.find(({ isThisDevice }) => isThisDevice);
    const isOwn = now !== null && now === own;
    const focused = document.activeElement;
    const hadFocus = $('request').contains(focused);
    device = now;
    const more = all.filter(({ isApproved }) => !isApproved).length - 1;
    $('request').hidden = device === null;
    $('request-yes').hidden = $('request-no').hidden = isOwn;
    $('request-next').hidden = isOwn || more < 1;
    if (hadFocus && (device === null || isOwn || focused.hidden)) $('side-title').focus();
    if (device === null) return void (told = '');
    $('request-title').textContent = isOwn ? 'This device waits to be approved' : 'A new device of yours waits to be approved';
    $('request-says').textContent = isOwn
      ? `Approve it in the chat on another device of yours${ways === '' ? '' : `, or use your ${ways} under Devices`}. Earlier texts come then; you can write already.`
      : `${deviceName(device)} has signed in with your wallet, ${wholeTimeOf(device.addedAt)}. Approve it only if you have it before you: it will read everything.${more < 1 ? '' : ` ${count(more, 'more waits', 'more wait')} behind it.`}`;
    // Each of the devices that may approve this one shows its own, and both sides say whose it is.
    const others = isOwn ? all.filter(({ isApproved, number }) => isApproved && number) : [device].filter(({ number }) => number);
    $('request-numbers').hidden = others.length === 0;
    $('request-numbers').replaceChildren(
      'Compare this number: ',
      ...others.flatMap((other, place) => [place > 0 ? ', or ' : '', el('strong', {}, spaced(other.number)), isOwn ? ` with ${deviceNamed(other)}` : '']),
      isOwn ? '.' : `. ${deviceName(device)} must show the same, with ${deviceNamed(own)}.`,
    );
    const tells = `${$('request-title').textContent}. ${others.length > 0 ? $('request-numbers').textContent : ''}`.trim();
    const key = `${device.id} ${tells}`;
    if (key !== told) say(tells);
    told = key;
  }

  return {
    /** The devices, and what they can come back by, as they are now. */
    render(devices, recovery) {
      all = devices;
      ways = waysBack(recovery);
      const own = all.find(({ isThisDevice }) => isThisDevice);
      const waiting = own ? all.filter(({ isApproved }) => !isApproved) : [];
      const same = waiting.find(({ id }) => id === device?.id);
      show(own && !own.isApproved ? own : same ?? waiting[0] ?? null);
    },
  };
}
