// `npm start` names the page as the documents do.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { pageOf } from '../../scripts/start.mjs';

test('npm start names the page as the documents do', () => {
  const page = pageOf('listening on http://127.0.0.1:8080');
  assert.equal(page, 'http://localhost:8080/');
  assert.ok(readFileSync(join(root, 'docs', 'guide.md'), 'utf8').includes(page));
  assert.equal(pageOf('something else'), undefined);
});
