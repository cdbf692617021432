// npm run replay: real browsers and the real relay replay a conversation, while devices go offline, reload and are killed at random.
// Ends with one JSON line, and with exit code 0 only if every device shows the same list with everything in it, once, in order.
import { buildRelay, buildSdk } from './build.mjs';
import { conversation, newSeed, randomFrom } from './corpus.mjs';
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { main, Problem } from './shell.mjs';

const about = `Real browsers and the real relay replay a conversation, while devices go offline, reload and are killed at random. Ends with one
JSON line, and with exit code 0 only if every device shows the same list with everything in it, once, in order.

With --encryption required the session is encrypted, and devices come, are approved, removed, and come back by a recovery code alone while
it is replayed; no member may lack a text, no removed device read a later one, and none may stand in the relay's journal or memory.

With --tabs that many tabs of one profile and two other devices replay it, while the tabs are opened, shown, frozen, killed, reloaded, closed
and left for "back". Every call must have been answered truly, too.`;

const engines = ['chromium', 'firefox', 'webkit'];
const auths = ['wallet', 'open'];
const encryptions = ['off', 'required'];

const options = {
  corpus: { value: 'FILE', means: 'a conversation to replay: one JSON object with "from" and "text" on each line; without it one is made up' },
  messages: { value: 'N', from: 1, to: 1_000_000, means: 'messages to send; without it 3,000, with tabs 5,000' },
  devices: { value: 'N', from: 2, to: 16, default: 4, means: 'devices, of two wallets, each in a browser of its own' },
  seed: { value: 'N', from: 0, to: 4_294_967_295, means: 'decides every random choice; without it a new one, which is printed' },
  tabs: { value: 'N', from: 1, to: 16, means: 'tabs of one profile; --devices and --kills are for a replay without' },
  engine: { value: 'NAME', default: 'chromium', means: 'with tabs: chromium, firefox or webkit' },
  kills: { value: 'N', from: 0, to: 1_000, default: 6, means: 'kills of a tab, a browser or the relay, at random moments' },
  auth: { value: 'HOW', default: 'wallet', means: 'wallet: each device has its wallet sign, and signs in with its own key; open: nobody does' },
  encryption: { value: 'HOW', default: 'off', means: 'off, or required, where devices sign in' },
  changes: { value: 'N', from: 0, to: 10, default: 6, means: 'changes of the devices of an encrypted replay, at random moments' },
};

// Each browser is ended with this program.
process.setMaxListeners(100);

main(import.meta.url, async () => {
  const wanted = commandLine('npm run replay --', about, options);
  if (!engines.includes(wanted.engine)) throw new Problem(`--engine: there is no ${wanted.engine}; there are ${engines.join(', ')}.`);
  if (!auths.includes(wanted.auth)) throw new Problem(`--auth is ${auths.join(' or ')}, not ${JSON.stringify(wanted.auth)}.`);
  if (!encryptions.includes(wanted.encryption)) throw new Problem(`--encryption is ${encryptions.join(' or ')}, not ${JSON.stringify(wanted.encryption)}.`);
  if (wanted.encryption === 'required' && wanted.auth === 'open') throw new Problem('--encryption required is of devices that sign in: leave --auth out.');
  const seed = wanted.seed ?? newSeed();
  console.log(`seed ${seed}`);
  const random = randomFrom(seed);
  const messages = conversation(wanted.corpus, wanted.messages ?? (wanted.tabs ? 5_000 : 3_000), random);
  await setup('npm', 'wasm', 'browser', ...(wanted.engine === 'chromium' ? [] : ['engines']));
  await buildSdk();
  await buildRelay();
  // Loaded now: they need packages that the set-up may just have installed.
  const { replay } = await import('./replay-run.mjs');
  const { replayTabs } = await import('./replay-tabs.mjs');
  const { auth, encryption } = wanted;
  const replayed = wanted.tabs ? replayTabs(messages, { ...wanted, random }) : replay(messages, { ...wanted, random });
  const { ok, ...report } = await replayed;
  console.log(JSON.stringify({ seed, auth, encryption, ...report }));
  process.exitCode = ok ? 0 : 1;
});
