// Runs applications one after the other, over one browser and one relay.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { elapsed, say } from '../../scripts/shell.mjs';
import { startBrowser } from '../e2e/harness/browser.mjs';
import { startRelay } from '../e2e/harness/relay.mjs';
import { pack, Project } from './project.mjs';
import { projects } from './projects.mjs';

/** A row for each way to run each of them: `{ name, way, source, error, time }`. */
export async function runAll(names) {
  const folder = mkdtempSync(join(tmpdir(), 'solconnect-packed-'));
  const tarball = pack(folder);
  const browser = await startBrowser();
  const relay = await startRelay({ auth: 'open', www: null });
  const rows = [];
  const tell = async (name, way, work) => {
    const start = performance.now();
    const row = await work().then((source) => ({ name, way, source }), (error) => ({ name, way, error }));
    rows.push({ ...row, time: elapsed(start) });
    say(`  ${row.error ? 'FAILED' : 'ok    '}  ${name}, ${way}: ${elapsed(start)}`);
    return !row.error;
  };
  try {
    for (const name of names) {
      const project = new Project(name, projects[name], tarball);
      if (!await tell(name, 'installs', () => project.install())) continue;
      for (const [way, work] of project.ways(browser, relay)) await tell(name, way, work);
    }
  } finally {
    await browser.stop();
    await relay.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  return rows;
}
