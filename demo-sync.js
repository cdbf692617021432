// npm run demo, or node demo-sync.js: the seed's scenarios. Exit code 1 if any device ends with a different list.
import { buildRelay, buildSdk } from './scripts/build.mjs';
import { commandLine } from './scripts/options.mjs';
import { setup } from './scripts/setup.mjs';
import { main } from './scripts/shell.mjs';

const about = `Tells four scenarios in the terminal, with real pages in a headless Chromium and a relay of their own: all are online, one goes
offline and writes, it returns, a new device gets the history. Exit code 1 if any device ends with a different list.`;

main(import.meta.url, async () => {
  commandLine('npm run demo --', about);
  await setup('npm', 'wasm', 'browser');
  await buildSdk();
  await buildRelay();
  // Loaded now: it needs a package that the set-up may just have installed.
  const { demo } = await import('./scripts/demo.mjs');
  process.exitCode = (await demo()) ? 0 : 1;
});
