// The unit of docs/deploy.md, as systemd reads it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { find } from '../../scripts/tools.mjs';
import { codeBlock, replaced } from './harness/document.mjs';
import { installRelay, programIn } from './harness/packed.mjs';

test('systemd finds nothing wrong with the unit', { skip: !find('systemd-analyze') && 'there is no systemd here' }, () => {
  const project = installRelay();
  const folder = mkdtempSync(join(tmpdir(), 'solconnect-unit-'));
  const unit = join(folder, 'solconnect-relay.service');
  // It must be there, and may be run.
  writeFileSync(unit, replaced(codeBlock('docs/deploy.md', 'ini'), '/usr/local/bin/solconnect-relay', programIn(project)));
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  rmSync(project, { recursive: true });
  assert.equal(stderr.split('\n').filter((line) => line.includes('solconnect-relay')).join('\n'), '');
  assert.equal(status, 0, stderr);
});
