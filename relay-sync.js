// The relay, as `npm run relay -- <options>` or `node relay-sync.js <options>`: built when it is not up to date, then run with these options.
// It takes the place of the seed's relay, whose clients cannot sign in: where nothing is said of `--auth`, it is open.
import { readFileSync } from 'node:fs';
import { buildRelay } from './scripts/build.mjs';
import { helpOnly } from './scripts/options.mjs';
import { runRelay } from './scripts/relay.mjs';
import { setup } from './scripts/setup.mjs';
import { main } from './scripts/shell.mjs';

main(import.meta.url, async () => {
  helpOnly(readFileSync(new URL('crates/relay/src/help.txt', import.meta.url), 'utf8'));
  await setup();
  await buildRelay();
  const options = process.argv.slice(2);
  const saysAuth = options.some((option) => option === '--auth' || option.startsWith('--auth=') || option === 'erase');
  runRelay(saysAuth ? options : ['--auth', 'open', ...options]);
});
