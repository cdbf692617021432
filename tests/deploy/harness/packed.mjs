// The relay as its npm package brings it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packedForTests } from '../../../scripts/pack-relay.mjs';

/** Installs the packed package into an empty project; gives the project's folder. */
export function installRelay() {
  const packed = readdirSync(packedForTests()).filter((file) => file.endsWith('.tgz'));
  if (packed.length !== 1) throw new Error(`${packedForTests()} has ${packed.length} packages: run npm test -- --only deploy`);
  const project = mkdtempSync(join(tmpdir(), 'solconnect-operator-'));
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'operator', private: true }));
  const install = ['install', '--offline', '--no-audit', '--no-fund', join(packedForTests(), packed[0])];
  execFileSync('npm', install, { cwd: project, stdio: ['ignore', 'pipe', 'pipe'] });
  return project;
}

/** The program in such a project. */
export const programIn = (project) => join(project, 'node_modules', '.bin', 'solconnect-relay');
