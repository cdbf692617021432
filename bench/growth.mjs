// npm run bench:growth: how cost grows. See crates/growth/src/main.rs for what is measured.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { commandLine } from '../scripts/options.mjs';
import { setup } from '../scripts/setup.mjs';
import { main, root, step } from '../scripts/shell.mjs';

const about = `Measures how cost grows with messages, devices, sessions and what waits, by the real machines and the real journal, natively.
Writes growth.md, growth.json and growth.svg into bench/results. Takes some minutes.`;

const program = ['--quiet', '--profile', 'dist', '-p', 'solconnect-growth'];

main(import.meta.url, async () => {
  const { quick } = commandLine('npm run bench:growth --', about, { quick: { means: 'leaves out the largest size of each, for a first look' } });
  await setup();
  await step('building', 'cargo', ['build', ...program]);
  const args = ['run', ...program, '--', join(root, 'bench', 'results'), ...(quick ? ['--quick'] : [])];
  const child = spawn('cargo', args, { cwd: root, stdio: 'inherit' });
  child.on('exit', (code) => process.exit(code ?? 1));
});
