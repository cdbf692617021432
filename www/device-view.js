// What a device shows around its conversation: connection, progress, outbox, composer, and what went wrong.

import { count, el, icon, snippet, bdi } from './dom.js';
import { createChat } from './chat.js';

const MANY = 200;
const WAITING_SHOWN = 5;
const UNREACHABLE_AFTER_MS = 1500;
const CONNECTION = { connected: 'Connected', connecting: 'Connecting…', waiting: 'No relay, trying again', offline: 'Offline' };
const PHASE = { starting: 'Starting…', stopped: 'Stopped', frozen: 'Frozen' };

const ADVICE = {
  PROFILE_IN_USE: [
    'Open somewhere else',
    'This device is open in another tab or window. A device has one database and one owner at a time. Close the other tab, then try again.',
  ],
  STORAGE_REFUSED: [
    'This browser stores nothing',
    'Private windows and strict cookie settings can forbid databases. Allow storage for this site or use a normal window, then try again.',
  ],
  STORAGE_FULL: ['No space left', 'The disk or this site’s share of it is full. Free some space, then try again. What was confirmed is safe.'],
  LOAD_FAILED: ['The SDK did not load', 'Check that the relay is running and that the package was built, then try again.'],
  SDK_INITIALIZATION_FAILED: ['The SDK did not start', 'WebAssembly may be switched off in this browser, or the download broke off. Try again.'],
};

export function createView(state, act) {
  const $ = (id) => document.getElementById(id);
  const chat = createChat(state, act, startEdit);
  let editing = null;
  let unreachableSince = null;
  let noticed; // what the notice says
  let shown = state;

  document.title = `${state.me.label} · SolConnect Sync`;
  document.documentElement.dataset.wallet = state.me.wallet;
  $('title').textContent = state.me.label;
  $('text-label').textContent = `Message from ${state.me.label}`;
  $('outbox')
    .querySelector('#write-many')
    .addEventListener('click', () => act('writeMany', MANY));
  $('offline').addEventListener('click', () => act('setOffline', !state.offline));
  // A module that failed to load stays failed for the life of its page.
  $('retry').addEventListener('click', () => location.reload());
  $('cancel-edit').addEventListener('click', () => endEdit());

  const text = $('text');
  const fit = () => {
    text.style.setProperty('height', 'auto');
    text.style.setProperty('height', `${Math.min(text.scrollHeight + 2, 120)}px`);
  };
  text.addEventListener('input', fit);
  text.addEventListener('keydown', (event) => {
    // While an input method composes, Enter chooses a character.
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $('composer').requestSubmit();
    } else if (event.key === 'Escape' && editing) {
      endEdit();
    }
  });
  $('composer').addEventListener('submit', async (event) => {
    event.preventDefault();
    const written = text.value;
    if (written.trim() === '') return;
    const wasEditing = editing;
    const result = wasEditing ? await act('edit', wasEditing, written) : await act('send', written);
    $('composer-error').hidden = result.success;
    $('composer-error').textContent = result.success ? '' : `${result.error.userMessage} Your text is still here.`;
    if (!result.success) return;
    if (text.value === written) text.value = '';
    if (wasEditing) endEdit();
    chat.toEnd();
    fit();
  });

  function startEdit(message) {
    editing = message.id;
    $('editing').hidden = false;
    $('editing-text').replaceChildren('Editing ', bdi(snippet(message.text, 40)));
    $('send').textContent = 'Save';
    text.value = message.text;
    fit();
    text.focus();
  }
  function endEdit() {
    editing = null;
    $('editing').hidden = true;
    $('send').textContent = 'Send';
    text.value = '';
    fit();
    text.focus();
  }

  function renderConnection() {
    const { connection, phase, isFrozen } = shown;
    const now = isFrozen ? 'frozen' : phase === 'ready' ? connection : phase;
    $('connection').className = `connection is-${now}`;
    $('connection').replaceChildren(icon(now === connection ? connection : 'queued'), CONNECTION[now] ?? PHASE[now]);
    $('offline').setAttribute('aria-checked', String(shown.offline));
  }

  function renderProgress() {
    const { progress, queued, queuedPeak, connection } = shown;
    let bar = null;
    if (progress) bar = ['Catching up', progress.messagesSynced, progress.totalMessages];
    else if (connection === 'connected' && queued > 0 && queuedPeak > 10) bar = ['Sending', queuedPeak - queued, queuedPeak];
    $('progress').hidden = bar === null;
    if (!bar) return;
    const [doing, done, of] = bar;
    $('progress-text').textContent = `${doing}: ${done.toLocaleString('en')} of ${of.toLocaleString('en')}`;
    Object.assign($('progress-bar'), { max: of, value: done });
  }

  function renderNotice() {
    const { warning, connection, offline, queued, durability } = shown;
    const unreachable = !offline && (connection === 'waiting' || (connection === 'connecting' && unreachableSince !== null));
    if (!unreachable) unreachableSince = null;
    else if (unreachableSince === null) {
      unreachableSince = performance.now();
      setTimeout(() => renderNotice(), UNREACHABLE_AFTER_MS);
    }
    let says = null;
    if (warning) says = warning.userMessage ?? warning.message;
    else if (unreachable && performance.now() - unreachableSince >= UNREACHABLE_AFTER_MS - 50) {
      says =
        queued > 0
          ? `The relay cannot be reached. ${count(queued, 'message is', 'messages are')} kept here and will be sent when it is back.`
          : 'The relay cannot be reached. What you write is kept here and sent when it is back.';
    } else if (durability === 'memory' || durability === 'session-only') says = 'This browser forgets messages when the window closes.';
    if (noticed === says) return;
    noticed = says;
    if ($('notice').contains(document.activeElement)) text.focus();
    $('notice').hidden = says === null;
    $('notice').classList.toggle('is-warning', warning !== null);
    $('notice').replaceChildren(
      says ?? '',
      ...(warning ? [' ', el('button', { type: 'button', class: 'quiet', onclick: () => act('dismissWarning') }, 'Dismiss')] : []),
    );
  }

  function renderOutbox() {
    const { waiting, queued, connection, offline, busy } = shown;
    $('outbox').classList.toggle('has-waiting', queued > 0);
    $('outbox-count').textContent = queued.toLocaleString('en');
    $('outbox-says').textContent =
      busy ?? (queued === 0 ? 'Empty' : connection === 'connected' ? 'Sending' : offline ? 'Waits for you to come back' : 'Waits for the relay');
    const changes = queued - waiting.length;
    const rest = waiting.length - WAITING_SHOWN;
    $('waiting').hidden = queued === 0;
    $('waiting').replaceChildren(
      ...waiting
        .slice(0, WAITING_SHOWN)
        .map((message) =>
          el(
            'li',
            { class: message.status === 'failed' ? 'is-failed' : null },
            icon(message.status === 'failed' ? 'failed' : 'queued'),
            bdi(snippet(message.text, 80) || '(deleted)'),
            el('span', { class: 'sr' }, ` ${message.status}`),
          ),
        ),
      ...(rest > 0 ? [el('li', { class: 'rest' }, `and ${rest.toLocaleString('en')} more`)] : []),
      ...(changes > 0 ? [el('li', { class: 'rest' }, count(changes, 'change to an earlier message', 'changes to earlier messages'))] : []),
    );
  }

  function renderStopped() {
    const stopped = shown.phase === 'stopped';
    document.body.classList.toggle('is-stopped', stopped);
    $('stopped').hidden = !stopped;
    if (!stopped) return;
    const { code, userMessage, message } = shown.error;
    const [title, says] = ADVICE[code] ?? ['This device could not start', userMessage ?? message];
    $('stopped-title').textContent = title;
    $('stopped-says').textContent = says;
    $('stopped-code').textContent = `${code}: ${snippet(message ?? '', 160)}`;
  }

  return {
    render(next) {
      shown = next;
      const ready = next.phase === 'ready';
      for (const id of ['offline', 'text', 'send']) $(id).disabled = !ready;
      $('write-many').disabled = !ready || next.busy !== null;
      renderConnection();
      renderProgress();
      renderNotice();
      renderOutbox();
      renderStopped();
      chat.render(next);
    },
    /** Told once for many messages, and only in the device that the reader is in. */
    announce(messages) {
      if (!document.hasFocus() || messages.length === 0) return;
      const last = snippet(messages.at(-1).text, 80);
      $('announcer').textContent = messages.length === 1 ? `New message: ${last}` : `${messages.length} new messages. The last: ${last}`;
    },
  };
}
