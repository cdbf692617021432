// Links between the repository's documents lead somewhere.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { cwd: root, encoding: 'utf8' });
const documents = listed.trim().split('\n').filter((file) => existsSync(join(root, file)));

const withoutCode = (text) => text.replace(/^```[^]*?^```/gm, '').replace(/`[^`\n]*`/g, '');

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(text) {
  const seen = new Map();
  return new Set([...text.replace(/^```[^]*?^```/gm, '').matchAll(/^#+ +(.+?)\s*$/gm)].map(([, heading]) => {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-');
    const count = seen.get(plain) ?? 0;
    seen.set(plain, count + 1);
    return count === 0 ? plain : `${plain}-${count}`;
  }));
}

/** What is wrong with the links of a document, whose text this is. */
function deadLinks(document, text) {
  const targets = [...withoutCode(text).matchAll(/\[[^\]]*\]\(([^)\s]+)[^)]*\)|^\[[^\]]+\]: (\S+)/gm)].map(([, inline, reference]) => inline ?? reference);
  return targets.filter((target) => !/^[a-z]+:/.test(target)).flatMap((target) => {
    const [path, anchor] = target.split('#');
    const file = path ? join(root, dirname(document), decodeURIComponent(path)) : join(root, document);
    if (relative(root, file).startsWith('..') || !existsSync(file)) return [`${document} links to ${target}: there is no such file`];
    if (!anchor || !file.endsWith('.md')) return [];
    const there = path ? readFileSync(file, 'utf8') : text;
    return anchorsOf(there).has(anchor) ? [] : [`${document} links to ${target}: there is no such heading`];
  });
}

test('every relative link of a document leads somewhere', () => {
  assert.ok(documents.includes('README.md'));
  assert.deepEqual(documents.flatMap((document) => deadLinks(document, readFileSync(join(root, document), 'utf8'))), []);
});

test('a dead link is found', () => {
  const text = '# One two\n[a](#one-two) [b](#three) [c](CONTRIBUTING.md) [d](no.md) [e](https://example.org/no.md) `[f](no.md)`';
  assert.deepEqual(deadLinks('README.md', text), [
    'README.md links to #three: there is no such heading', 'README.md links to no.md: there is no such file',
  ]);
});
