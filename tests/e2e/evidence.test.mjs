// What a relay signed, shown to somebody who was not there: exported by a page, judged by the relay's own program.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { converge } from './harness/lists.mjs';
import { binary, startRelay } from './harness/relay.mjs';
import { cast, scene } from './harness/scene.mjs';
import { until } from './harness/wait.mjs';

const stage = scene({ auth: 'wallet' });

/** What the relay's program says of a file, and its exit code. */
function verify(folder, text) {
  const file = join(folder, 'evidence.txt');
  writeFileSync(file, text);
  const { status, stdout, stderr } = spawnSync(binary, ['verify-evidence', file], { encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

test('the file of one device shows that its relay was set back', { timeout: 60_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'solconnect-evidence-'));
  const relay = await startRelay({ auth: 'wallet' });
  t.after(async () => {
    await relay.stop();
    rmSync(folder, { recursive: true });
  });
  const { device } = cast(t, { relay, browser: stage.browser });
  const alice = await device('alice', { config: { domains: [new URL(relay.url).host], encryption: 'off' } });
  await alice.send('one');
  await converge([alice], 1);
  await relay.kill();
  const backup = join(folder, 'backup');
  cpSync(dirname(relay.journal), backup, { recursive: true });
  await relay.start();
  await alice.send('two', 'three');
  await converge([alice], 3);
  const before = verify(folder, await alice.call('exportEvidence', alice.sessionId));
  assert.deepEqual([before.status, before.said.includes('not guilty')], [0, true], before.said);

  await relay.kill();
  rmSync(dirname(relay.journal), { recursive: true });
  cpSync(backup, dirname(relay.journal), { recursive: true });
  await relay.start();
  await until('the device notices', async () => (await alice.events('onWarning')).some(([{ code }]) => code === 'RELAY_ROLLED_BACK'));
  assert.equal((await alice.failure('syncMessages', alice.sessionId)).code, 'RELAY_ROLLED_BACK');
  const text = await alice.call('exportEvidence', alice.sessionId);
  for (const secret of ['one', 'two', 'three']) assert.ok(!text.split(/\s/).includes(secret), 'it has no content');
  const { status, said } = verify(folder, text);
  assert.deepEqual([status, said.includes('set back')], [3, true], said);
});
