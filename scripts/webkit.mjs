// WebKitGTK, which needs a screen: one that nobody sees.
import { spawn } from 'node:child_process';
import { Problem } from './shell.mjs';
import { find, findMiniBrowser } from './tools.mjs';

let screen = null;

/** How to drive it: the `driver`'s path, the `capabilities` that a session asks for, and the driver's environment. */
export async function webkit() {
  const [driver, binary] = [find('WebKitWebDriver'), findMiniBrowser()];
  if (!driver || !binary) throw new Problem('no WebKitGTK with its driver: run `npm run setup`');
  screen ??= startScreen();
  const capabilities = { browserName: 'MiniBrowser', 'webkitgtk:browserOptions': { binary, args: ['--automation'] } };
  // Its sandbox needs what containers do not give. The pages are our own.
  const env = { DISPLAY: await screen, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1', WEBKIT_DISABLE_COMPOSITING_MODE: '1' };
  return { driver, capabilities, env };
}

/** Starts a screen, which ends with this process; gives its name for $DISPLAY. */
function startScreen() {
  const path = find('Xvfb');
  if (!path) throw new Problem('no Xvfb: run `npm run setup`');
  // It takes the first number that is free, and tells it.
  const child = spawn(path, ['-displayfd', '3', '-screen', '0', '1280x800x24', '-nolisten', 'tcp'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  process.once('exit', () => child.kill('SIGKILL'));
  return new Promise((resolve, reject) => {
    let number = '';
    child.stdio[3].on('data', (chunk) => {
      number += chunk;
      if (!number.endsWith('\n')) return;
      // It keeps nobody from ending.
      child.unref();
      child.stdio[3].unref();
      resolve(`:${number.trim()}`);
    });
    child.on('error', reject);
    child.on('exit', (code) => reject(new Problem(`Xvfb ended with code ${code}`)));
  });
}
