// Where one writes: new messages, and other texts for earlier ones.

import { bdi, snippet } from '../dom.js';

/** What a message may have at most, in UTF-8. */
const TEXT_BYTES_MAX = 8 * 1024;
/** From here on it is shown how much is left. */
const TEXT_BYTES_NEAR = 7 * 1024;
const HEIGHT_MAX = 160;

const encoder = new TextEncoder();

/** `send(text)` and `edit(message, text)` resolve with a result; `lastOwn()` gives the message that the up arrow edits. */
export function createComposer({ send, edit, lastOwn, sent }) {
  const $ = (id) => document.getElementById(id);
  const [form, field, button, editing, left, error] = ['composer', 'write', 'send', 'editing', 'write-left', 'composer-error'].map($);
  const drafts = new Map(); // what was begun in other conversations
  let session = null;
  let edited = null; // the message whose text is being changed
  let draft = ''; // what was being written before that

  function changed() {
    field.style.setProperty('height', 'auto');
    field.style.setProperty('height', `${Math.min(field.scrollHeight + 2, HEIGHT_MAX)}px`);
    // A character is at most 3 bytes for each of its UTF-16 units.
    const bytes = field.value.length * 3 < TEXT_BYTES_NEAR ? 0 : encoder.encode(field.value).length;
    const isTooLong = bytes > TEXT_BYTES_MAX;
    left.textContent = isTooLong
      ? `${(bytes - TEXT_BYTES_MAX).toLocaleString('en')} bytes too long`
      : bytes > TEXT_BYTES_NEAR
        ? `${(TEXT_BYTES_MAX - bytes).toLocaleString('en')} bytes left`
        : '';
    left.classList.toggle('is-over', isTooLong);
    field.setAttribute('aria-invalid', String(isTooLong));
    button.disabled = isTooLong || field.value.trim() === '';
  }

  function fail(says) {
    error.textContent = says;
  }

  function startEdit(message) {
    if (!edited) draft = field.value;
    edited = message;
    editing.hidden = false;
    $('editing-says').replaceChildren('Editing ', bdi(snippet(message.text, 60)));
    button.textContent = 'Save';
    field.value = message.text;
    fail('');
    changed();
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  function endEdit() {
    edited = null;
    editing.hidden = true;
    button.textContent = 'Send';
    field.value = draft;
    draft = '';
    fail('');
    changed();
  }

  field.addEventListener('input', changed);
  field.addEventListener('keydown', (event) => {
    // While an input method composes, Enter chooses a character.
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      form.requestSubmit();
    } else if (event.key === 'Escape' && edited) {
      event.preventDefault();
      endEdit();
    } else if (event.key === 'ArrowUp' && field.value === '' && !edited) {
      const message = lastOwn();
      if (!message) return;
      event.preventDefault();
      startEdit(message);
    }
  });
  $('cancel-edit').addEventListener('click', () => {
    endEdit();
    field.focus();
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const text = field.value;
    if (button.disabled) return;
    const message = edited;
    const where = session;
    if (message && message.text === text) {
      endEdit();
      return;
    }
    // The button that was pressed is of no use without a text.
    field.focus();
    // The field is free for the next message at once: storing takes a moment.
    if (message) endEdit();
    else {
      field.value = '';
      fail('');
      changed();
    }
    const result = message ? await edit(message, text) : await send(text);
    if (result.success) {
      if (!message && where === session) sent();
      return;
    }
    if (where !== session) {
      if (!message) drafts.set(where, text);
      return;
    }
    // Nothing that was written is lost, also not what was written since.
    if (message) startEdit({ ...message, text });
    else field.value = field.value === '' ? text : `${text}\n${field.value}`;
    changed();
    fail(`${result.error.userMessage} Your text is still here.`);
  });

  return {
    open(sessionId) {
      if (session !== null) {
        if (edited) endEdit();
        drafts.set(session, field.value);
      }
      session = sessionId;
      field.value = drafts.get(sessionId) ?? '';
      fail('');
      changed();
    },
    startEdit,
    /** What was begun anywhere is nobody's any more. */
    forget() {
      if (edited) endEdit();
      drafts.clear();
      session = null;
      field.value = '';
      fail('');
      changed();
    },
    /** The message is no longer there to be edited. */
    gone(messageId) {
      if (edited?.id === messageId) endEdit();
    },
    focus: () => field.focus(),
  };
}
