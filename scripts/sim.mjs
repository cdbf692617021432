// npm run sim: runs seeds of the simulated world, natively and optimized. See crates/sim/src/lib.rs for what is simulated.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { targetFolder } from './build.mjs';
import { checkCanaries, runCanaries } from './canaries.mjs';
import { helpOnly } from './options.mjs';
import { setup } from './setup.mjs';
import { main, root, step } from './shell.mjs';

const program = ['--quiet', '--release', '-p', 'solconnect-sim'];

/** Its program, once it is built. */
export const simBinary = () => join(targetFolder(), 'release', 'solconnect-sim');

export async function buildSim() {
  await step('building the simulated world', 'cargo', ['build', ...program]);
}

main(import.meta.url, async () => {
  helpOnly(readFileSync(join(root, 'crates', 'sim', 'src', 'help.txt'), 'utf8'));
  const args = process.argv.slice(2);
  if (args[0] === '--canaries' && args[1] === '--check') return checkCanaries();
  await setup();
  if (args[0] === '--canaries') return runCanaries(args[1]);
  await buildSim();
  const child = spawn(simBinary(), args, { cwd: root, stdio: 'inherit' });
  child.on('exit', (code) => process.exit(code ?? 1));
});
