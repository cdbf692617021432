// What of the dependencies was not checked is said, and never left out in silence.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { advisoryFolder, denyRuns } from '../../scripts/deny.mjs';

/** Each run as its arguments, or why there are none. */
const shown = (runs) => runs.map(({ args, skipped }) => skipped ?? args.slice(3).join(' '));

test('without the tool both steps are named as skipped', () => {
  assert.deepEqual(shown(denyRuns({ tool: null })), ['cargo-deny is not installed', 'cargo-deny is not installed']);
});

test('advisories are checked where their database is, and only there', (t) => {
  const home = mkdtempSync(join(tmpdir(), 'deny-'));
  t.after(() => rmSync(home, { recursive: true }));
  const folder = advisoryFolder({ CARGO_HOME: home });
  const skipped = `there is no advisory database in ${folder}: \`cargo deny fetch\` gets it`;
  assert.deepEqual(shown(denyRuns({ tool: 'cargo-deny', folder })), ['bans licenses sources', skipped]);
  mkdirSync(folder);
  assert.deepEqual(shown(denyRuns({ tool: 'cargo-deny', folder })), ['bans licenses sources', skipped], 'it is empty');
  mkdirSync(join(folder, 'advisory-db-3157b0e258782691'));
  assert.deepEqual(shown(denyRuns({ tool: 'cargo-deny', folder })), ['bans licenses sources', '--disable-fetch advisories']);
});
