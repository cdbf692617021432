// The devices of the one who is signed in here: a list in a dialog, in which they are approved and removed.

import { el } from '../dom.js';
import { roving } from './roving.js';
import { act, ask, tell } from './speak.js';
import { dateTimeOf, deviceName, LEFTOVER, spaced, thisBrowser } from './words.js';

const $ = (id) => document.getElementById(id);

const stateOf = ({ isApproved }) => (isApproved ? 'Approved' : 'Waits for approval');

/** `wallet` has it sign. */
export function createDevices(sdk, wallet) {
  let shown = '';
  let isApproved = false; // this device
  const keys = roving($('devices-list'), '.device');

  function row(device, mayManage) {
    const { id, isThisDevice, isApproved, addedAt, number } = device;
    const [browser, added, shows] = [isThisDevice ? thisBrowser() : '', `Added ${dateTimeOf(addedAt)}`, number ? `Shows ${spaced(number)}` : ''];
    const name = deviceName(device);
    const button = (text, does, kind) => el('button', { type: 'button', class: `${kind} small`, 'aria-label': `${text}: ${name}`, onclick: does }, text);
    const isWaiting = !isApproved && !isThisDevice && mayManage;
    return el(
      'li', { class: 'device', 'data-id': id, 'aria-label': [name, stateOf(device).toLowerCase(), `added${added.slice(5)}`, browser, shows.toLowerCase()].filter(Boolean).join(', ') },
      el('p', {}, el('strong', {}, name), ' ', el('span', { class: isApproved ? 'device-state is-approved' : 'device-state' }, stateOf(device))),
      el('p', { class: 'device-facts' }, ...[browser, added, shows].filter(Boolean).map((fact) => el('span', {}, fact))),
      el(
        'div', { class: 'device-buttons' },
        isWaiting && button('Approve', () => approves(device), 'secondary'),
        mayManage && !isThisDevice && button('Remove', () => removes(device), 'danger'),
      ),
    );
  }

  async function approves(device) {
    if ((await act(sdk.approveDevice(device.id))).success) tell(`${deviceName(device)} is approved.`);
  }

  /** Does what a passkey may fall by: what keeps it does not hear of that. */
  async function drops(work, done) {
    const had = sdk.getRecovery().data?.passkey;
    if (!(await act(work())).success) return;
    tell(had && !sdk.getRecovery().data?.passkey ? `${done} ${LEFTOVER}` : done);
  }

  async function removes(device) {
    const name = deviceName(device);
    const says = 'It reads and writes nothing new from now on, and neither do devices that it approved. One that is offline is signed out when it is back. A recovery code or passkey that was made on it is of no use then. What is stored there stays there. It can come back only as a new device.';
    if (!(await ask(`Remove device ${device.id.slice(0, 6)}?`, says, 'Remove'))) return;
    await drops(() => sdk.removeDevice(device.id), `${name} is removed.`);
  }

  $('devices-reset').addEventListener('click', async () => {
    const says = [
      'Your wallet signs that this device is your only one. All others are signed out, and come back only as new devices. A recovery code or passkey is of no use any more.',
      !isApproved && 'Do this only when no other device is left or somebody else has one: this device was not approved, so what was written before can be read on no device of yours any more.',
    ].filter(Boolean).join(' ');
    if (!(await ask('Sign out all other devices?', says, 'Sign out'))) return;
    await drops(() => wallet.having(() => sdk.signOutOtherDevices()), 'All other devices are signed out.');
  });

  /** On a device that waits it is the last way back, and stands where the others are. */
  function showReset(own, hasOthers) {
    const button = $('devices-reset');
    const hadFocus = document.activeElement === button;
    const waits = own?.isApproved === false;
    const place = waits ? $('recovery-reset') : $('devices-close').parentElement;
    if (button.parentElement !== place) place.insertBefore(button, waits ? null : $('devices-close'));
    button.hidden = !own || !hasOthers;
    $('recovery-reset').hidden = !waits || button.hidden;
    if (hadFocus && document.activeElement !== button) $('devices-close').focus();
  }

  return {
    approve: approves,
    remove: removes,
    /** Shows the devices as they are now; where there are none, nobody signs in here. */
    render(devices) {
      $('devices').hidden = devices.length === 0;
      if (devices.length === 0 && $('devices-dialog').open) $('devices-dialog').close();
      const own = devices.find(({ isThisDevice }) => isThisDevice);
      showReset(own, devices.length > 1);
      isApproved = devices.some((device) => device.isThisDevice && device.isApproved);
      const key = JSON.stringify([devices, isApproved]);
      if (shown === key) return;
      shown = key;
      const had = document.activeElement?.closest?.('#devices-list') ? document.activeElement.closest('li')?.dataset.id : null;
      $('devices-list').replaceChildren(...devices.map((device) => row(device, isApproved)));
      keys.update();
      // What had the focus may be gone.
      if (had !== null) ($('devices-list').querySelector(`[data-id="${CSS.escape(had)}"]`) ?? $('devices-close')).focus();
      $('devices-says').textContent = isApproved
        ? 'Whoever has one of these reads and writes in your name. Remove what you do not know.'
        : own ? 'This device waits to be approved: open the chat on another one, and approve it there. Then it has all earlier texts too, and manages your devices.' : 'As this device last heard.';
    },
  };
}

$('devices').addEventListener('click', () => $('devices-dialog').showModal());
$('devices-close').addEventListener('click', () => $('devices-dialog').close());
