// Numbers that comments, tests and documents cite (I3, E2, F12, B4, T9, P20) stand in docs/numbers.md, each once, and links
// of documents lead to files of this repository.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { main, output, Problem, root } from './shell.mjs';

const table = 'docs/numbers.md';

/** Letters that begin a row of the table. */
const cited = /(?<![\w#'"$&.-])([IEFBTP])([1-9][0-9]?)(?![\w'"])(?!\.\d)/g;

export async function checkNumbers() {
  const files = output('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.rs', '*.mjs', '*.md']);
  if (files === null) throw new Problem('git ls-files failed: the numbers are looked for in the files that git knows.');
  const rows = [...readFileSync(join(root, table), 'utf8').matchAll(/^\| ([IEFBTP][0-9]+) \|/gm)].map((row) => row[1]);
  const twice = rows.filter((number, index) => rows.indexOf(number) !== index).map((number) => `${table}: ${number} stands twice`);
  const known = new Set(rows);
  const wrong = files.split('\n').filter((file) => existsSync(join(root, file))).flatMap((file) => [...unknown(file, known), ...deadLinks(file)]);
  if (twice.length + wrong.length > 0) throw new Problem([...twice, ...wrong].join('\n'));
}

function unknown(file, known) {
  return readFileSync(join(root, file), 'utf8').split('\n').flatMap((line, index) => {
    const numbers = [...line.matchAll(cited)].map((match) => match[0]).filter((number) => !known.has(number));
    return numbers.map((number) => `${file}:${index + 1}: ${number} does not stand in ${table}: ${line.trim().slice(0, 100)}`);
  });
}

/** Links of a document, but for those to the web and within itself. */
function deadLinks(file) {
  if (!file.endsWith('.md')) return [];
  const targets = [...readFileSync(join(root, file), 'utf8').matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map((match) => match[1]);
  const isHere = (path) => !relative(root, path).startsWith('..') && existsSync(path);
  return targets.filter((target) => !isHere(join(root, dirname(file), target))).map((target) => `${file}: links to ${target}, which is not in this repository`);
}

main(import.meta.url, checkNumbers);
