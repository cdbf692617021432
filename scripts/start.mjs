// npm start: installs what is missing, builds, and runs the relay with the demo page until Ctrl-C.
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { main, Problem, QUIET_MS, root, say } from './shell.mjs';
import { buildRelay, buildSdk } from './build.mjs';
import { commandLine } from './options.mjs';
import { runRelay } from './relay.mjs';
import { setup } from './setup.mjs';

main(import.meta.url, async () => {
  const about = 'Installs what is missing, builds, and runs the relay with the demo page until Ctrl-C.';
  const { port, journal } = commandLine('npm start --', about, {
    port: { value: 'N', from: 0, to: 65_535, default: 8080, means: 'where the page and the relay are; 0 takes any free port' },
    journal: { value: 'FILE', default: join(root, 'solconnect-relay.db'), means: 'what the relay stores messages in; one relay at a time can use it' },
  });
  // Asked first: nobody wants to hear of it after minutes of building.
  await checkPort(port);
  const telling = setTimeout(() => say('Installing what is missing, and building: that takes some minutes the first time …'), QUIET_MS);
  await setup('npm', 'wasm');
  await buildSdk();
  await buildRelay();
  clearTimeout(telling);
  // The pages sign in, and other machines do not reach it.
  const args = ['--auth', 'wallet', '--listen', `127.0.0.1:${port}`, '--journal', journal, '--www', join(root, 'www'), '--pkg', join(root, 'pkg')];
  const relay = runRelay(args, 'pipe');
  createInterface({ input: relay.stdout }).on('line', (line) => {
    const address = pageOf(line);
    console.log(address ? `\nSolConnect Sync is ready. Open  ${address}\n\nCtrl-C ends it. Messages stay in ${journal}.\n` : line);
  });
});

/** Where the page is, from the line that the relay prints. By the name that the documents have: to a browser the number is another site, with other wallets. */
export function pageOf(line) {
  const port = /^listening on http:\S+:(\d+)$/.exec(line)?.[1];
  return port && `http://localhost:${port}/`;
}

function checkPort(port) {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error) => {
      const taken = `Port ${port} is taken by another program. Choose another one; where it is a demo of yours, another journal too: npm start -- --port ${port + 1} --journal other.db`;
      reject(new Problem(error.code === 'EADDRINUSE' ? taken : `Port ${port} cannot be used: ${error.message}`));
    });
    probe.listen(port, '127.0.0.1', () => probe.close(resolve));
  });
}
