// The relay, as `npm run relay -- <options>` or `node relay-sync.js <options>`: built when it is not up to date, then run with these options.
import { buildRelay } from './scripts/build.mjs';
import { runRelay } from './scripts/relay.mjs';
import { setup } from './scripts/setup.mjs';
import { main } from './scripts/shell.mjs';

main(import.meta.url, async () => {
  await setup();
  await buildRelay();
  runRelay(process.argv.slice(2));
});
