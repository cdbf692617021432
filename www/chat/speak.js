// What the page says and asks: trouble, and what was done, for everybody; news for who hears the page; questions before what cannot be
// undone.

import { icon, throttled } from '../dom.js';

const SAY_MS = 2_000;
/** How long it stands there that something was done: the page shows how things are. */
const DONE_MS = 10_000;

const $ = (id) => document.getElementById(id);

/** Behind an open dialog nothing is heard and nothing can be pressed: what is said goes to the front. */
function toFront(node) {
  const stage = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body;
  if (node.parentElement !== stage) stage.append(node);
}

function show(says, done) {
  toFront($('notice'));
  $('notice').hidden = false;
  $('notice').classList.toggle('is-done', done !== '');
  $('notice-says').textContent = says;
  $('notice-done').textContent = done;
}

export function notice(says) {
  show(says, '');
}

let passing;

/** What one has asked for is done. */
export function tell(done) {
  show('', done);
  say(done);
  clearTimeout(passing);
  passing = setTimeout(() => $('notice').contains(document.activeElement) || pass(), DONE_MS);
}

/** It stands there no longer. Trouble does. */
export function pass() {
  if ($('notice-done').textContent !== '') $('notice').hidden = true;
}

let spoken = [];
const sayAll = throttled(() => {
  const says = spoken.join(' ');
  toFront($('announcer'));
  // The same again would be no change, and not be read out.
  $('announcer').textContent = says === $('announcer').textContent ? `${says}\u00a0` : says;
  spoken = [];
}, SAY_MS);

export function say(text) {
  spoken.push(text);
  sayAll();
}

/** Waits for a result, and says what went wrong. What went wrong before is no news then. */
export async function act(promise) {
  $('notice').hidden = true;
  const result = await promise;
  if (result.error) notice(result.error.userMessage);
  return result;
}

const busy = new WeakSet();

/** Does the work of a button, or of one of several, once at a time. They are not disabled: the one that was pressed would lose the focus. */
export async function once(node, work) {
  if (busy.has(node)) return;
  const buttons = node.matches('button') ? [node] : [...node.querySelectorAll('button')];
  busy.add(node);
  for (const button of buttons) button.setAttribute('aria-disabled', 'true');
  await work().finally(() => {
    busy.delete(node);
    for (const button of buttons) button.removeAttribute('aria-disabled');
  });
}

/** Asks before something that cannot be undone; resolves with the answer. */
export function ask(title, says, yes) {
  const dialog = $('ask');
  $('ask-title').textContent = title;
  $('ask-says').textContent = says;
  $('ask-yes').textContent = yes;
  return new Promise((resolve) => {
    let answer = false;
    $('ask-yes').onclick = () => {
      answer = true;
      dialog.close();
    };
    $('ask-no').onclick = () => dialog.close();
    dialog.addEventListener('close', function closed() {
      // That of the question before may come when this one is on the screen.
      if (dialog.open) return;
      dialog.removeEventListener('close', closed);
      resolve(answer);
    });
    dialog.showModal();
    $('ask-no').focus();
  });
}

$('notice-close').append(icon('cross'));
let left = null; // where the focus was before it came to the notice
$('notice').addEventListener('focusin', ({ relatedTarget }) => {
  if (!$('notice').contains(relatedTarget)) left = relatedTarget;
});
$('notice-close').addEventListener('click', () => {
  $('notice').hidden = true;
  const places = [left, $('notice').parentElement.querySelector('[autofocus]'), $('peer'), $('side-title')];
  places.find((place) => place?.checkVisibility())?.focus();
});
for (const dialog of document.querySelectorAll('dialog')) {
  dialog.addEventListener('close', () => {
    for (const id of ['notice', 'announcer']) if (dialog.contains($(id))) toFront($(id));
  });
}
