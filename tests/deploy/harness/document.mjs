// Documents whose code is run as it is printed.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../../scripts/shell.mjs';

/** The blocks of code in this language, which are so many. */
export function codeBlocks(file, language, count) {
  const blocks = [...readFileSync(join(root, file), 'utf8').matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))];
  if (blocks.length !== count) throw new Error(`${file} has ${blocks.length} blocks of ${language}, not ${count}`);
  return blocks.map(([, code]) => code);
}

/** The one block of code in this language. */
export const codeBlock = (file, language) => codeBlocks(file, language, 1)[0];

/** The text with `from` replaced everywhere; a text without it is an error, because then something else would be tested. */
export function replaced(text, from, to) {
  if (!text.includes(from)) throw new Error(`there is no ${JSON.stringify(from)} any more`);
  return text.replaceAll(from, to);
}
