// The types of the surface's own modules, against those of the wallets' packages.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';
import { root } from '../../scripts/shell.mjs';
import { bundled } from './modules.mjs';

test('applications compile with the wallets\' own types', () => {
  const { status, stdout } = spawnSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', join(root, 'tests', 'surface')], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('wallets, their signing and the directory take at most 4.5 KiB of a page', async (t) => {
  // The errors are all of the surface's.
  const bytes = brotliCompressSync(await bundled({ minify: true, external: ['./errors.js'] }, 'wallets', 'directory')).length;
  t.diagnostic(`${bytes} bytes of brotli`);
  assert.ok(bytes <= 4608, `${bytes} bytes`);
});
