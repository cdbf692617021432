// Who is in a group: a list in a dialog, in which its admins say who is, and what it is called, and from which everybody can leave.

import { el } from '../dom.js';
import { faultOf, nameOf } from './people.js';
import { roving } from './roving.js';
import { act, ask, say } from './speak.js';
import { picture, short } from './words.js';

const $ = (id) => document.getElementById(id);

/** `sdk()` gives the SDK, `own()` the wallet that is connected; `add(group)` asks for more people. */
export function createGroup({ sdk, own, add }) {
  let group = null; // the conversation that is shown
  let shown = '';
  const keys = roving($('members'), '.member');

  function row({ wallet, isAdmin }, mayManage) {
    const isOwn = wallet === own();
    const name = isOwn ? 'You' : short(wallet);
    const button = (text, does, kind) => el('button', { type: 'button', class: `${kind} small`, 'data-does': text, 'aria-label': `${text}: ${name}`, onclick: does }, text);
    return el(
      'li', { class: 'member', 'data-wallet-is': wallet, 'aria-label': `${name}${isAdmin ? ', admin' : ''}` },
      picture(wallet),
      el('p', {}, el('strong', {}, name), ' ', isAdmin ? el('span', { class: 'mark' }, 'Admin') : null),
      el('code', { class: 'member-address' }, wallet),
      el(
        'div', { class: 'member-buttons' },
        mayManage && button(isAdmin ? 'Remove as admin' : 'Make admin', () => setAdmin(wallet, name, !isAdmin), 'secondary'),
        mayManage && !isOwn && button('Remove', () => removes(wallet, name), 'danger'),
      ),
    );
  }

  async function setAdmin(wallet, name, isAdmin) {
    const { sessionId } = group;
    const says = 'You can no longer add, remove and rename.';
    if (wallet === own() && !isAdmin && !(await ask('Stop being an admin?', says, 'Stop being admin'))) return;
    const result = await act(sdk().setAdmin(sessionId, wallet, isAdmin));
    if (result.success) say(isAdmin ? `${name} can add, remove and rename now.` : `${name} is no longer an admin.`);
  }

  async function removes(wallet, name) {
    const { sessionId } = group;
    if (!(await ask(`Remove ${name}?`, 'What was written so far stays with this person. What comes now does not.', 'Remove'))) return;
    const result = await act(sdk().removeMembers(sessionId, [wallet]));
    if (result.success) say(`${name} is removed.`);
  }

  $('group-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const name = nameOf($('group-name').value);
    const fault = faultOf(name);
    $('group-error').textContent = fault;
    $('group-name').setAttribute('aria-invalid', String(fault !== ''));
    if (fault) return $('group-name').focus();
    const result = await act(sdk().renameSession(group.sessionId, name));
    if (result.success) say(`The group is called ${name}.`);
  });
  $('group-leave').addEventListener('click', async () => {
    const { sessionId, name } = group;
    const says = 'You read nothing more of it, and can come back only when somebody adds you. What is here stays.';
    if (!(await ask(`Leave ${name}?`, says, 'Leave'))) return;
    const result = await act(sdk().leaveSession(sessionId));
    if (result.success) $('group-dialog').close();
  });
  $('group-add').addEventListener('click', () => add(group));
  $('group-close').addEventListener('click', () => $('group-dialog').close());
  // Whoever comes next finds nothing of it in the page.
  $('group-dialog').addEventListener('close', () => {
    group = null;
    $('group-title').textContent = $('group-name').value = '';
    $('members').replaceChildren();
  });

  function render() {
    const { name, members, membership } = group;
    const isIn = membership === 'member';
    const mayManage = isIn && members.some(({ wallet, isAdmin }) => isAdmin && wallet === own());
    const key = JSON.stringify([group.sessionId, name, members, membership]);
    if (shown === key) return;
    shown = key;
    $('group-title').textContent = name;
    $('group-form').hidden = $('group-add').hidden = !mayManage;
    $('group-leave').hidden = !isIn;
    if (document.activeElement !== $('group-name')) $('group-name').value = name;
    const focused = document.activeElement?.closest?.('#members') ? document.activeElement : null;
    const [had, does] = [focused?.closest('li')?.dataset.walletIs, focused?.dataset.does];
    $('members').replaceChildren(...members.map((member) => row(member, mayManage)));
    keys.update();
    if (!focused) return;
    // What had the focus may be gone.
    const place = [...$('members').children].find((node) => node.dataset.walletIs === had);
    (place?.querySelector(`[data-does="${does}"]`) ?? place ?? $('group-close')).focus();
  }

  return {
    open(conversation) {
      group = conversation;
      shown = '';
      $('group-error').textContent = '';
      $('group-name').setAttribute('aria-invalid', 'false');
      render();
      $('group-dialog').showModal();
    },
    /** The group as it is now. */
    update(conversation) {
      if (!$('group-dialog').open || conversation.sessionId !== group.sessionId) return;
      group = conversation;
      render();
    },
  };
}
