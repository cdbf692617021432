// A button that copies a text.

import { say } from './speak.js';

const COPIED_MS = 2_000;

/** Where the browser forbids it, `showIt()` gives the node with the text, which is selected. */
export async function copy(button, text, showIt, says = 'The address is copied.') {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    say(says);
    if (before === 'Copied') return;
    button.textContent = 'Copied';
    setTimeout(() => {
      button.textContent = before;
    }, COPIED_MS);
  } catch {
    // Browsers forbid it without a secure connection: then it can be copied by hand.
    const node = showIt();
    getSelection().selectAllChildren(node);
  }
}
