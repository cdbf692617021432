// npm run model: explores the model of encrypted sessions completely, and shows that each of its rules is needed.
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { main, root } from './shell.mjs';
import { spawn } from 'node:child_process';

main(import.meta.url, async () => {
  const { traces } = commandLine('npm run model --', 'Explores the model of encrypted sessions (crates/model): every state of each scene, and what is broken without each rule.', {
    traces: { means: 'what was sent and shown where a promise is broken' },
  });
  await setup();
  const args = ['run', '--quiet', '--release', '-p', 'solconnect-sync-model', '--', ...(traces ? ['--traces'] : [])];
  spawn('cargo', args, { cwd: root, stdio: 'inherit' }).on('exit', (code) => process.exit(code ?? 1));
});
