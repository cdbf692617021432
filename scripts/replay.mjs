// npm run replay: real browsers and the real relay replay a conversation, while devices go offline, reload and are killed at random.
// Ends with one JSON line, and with exit code 0 only if every device shows the same list with everything in it, once, in order.
import { buildRelay, buildSdk } from './build.mjs';
import { conversation, newSeed, randomFrom } from './corpus.mjs';
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { main } from './shell.mjs';

const about = `Real browsers and the real relay replay a conversation, while devices go offline, reload and are killed at random. Ends with one
JSON line, and with exit code 0 only if every device shows the same list with everything in it, once, in order.`;

const options = {
  corpus: { value: 'FILE', means: 'a conversation to replay: one JSON object with "from" and "text" on each line; without it one is made up' },
  messages: { value: 'N', from: 1, to: 1_000_000, default: 3_000, means: 'messages to send' },
  devices: { value: 'N', from: 2, to: 16, default: 4, means: 'devices, of two wallets, each in a browser of its own' },
  seed: { value: 'N', from: 0, to: 4_294_967_295, means: 'decides every random choice; without it a new one, which is printed' },
  kills: { value: 'N', from: 0, to: 1_000, default: 6, means: 'kills of a tab, a browser or the relay, at random moments' },
};

main(import.meta.url, async () => {
  const wanted = commandLine('npm run replay --', about, options);
  const seed = wanted.seed ?? newSeed();
  console.log(`seed ${seed}`);
  const random = randomFrom(seed);
  const messages = conversation(wanted.corpus, wanted.messages, random);
  await setup('npm', 'wasm', 'browser');
  await buildSdk();
  await buildRelay();
  // Loaded now: it needs a package that the set-up may just have installed.
  const { replay } = await import('./replay-run.mjs');
  const { ok, ...report } = await replay(messages, wanted.devices, wanted.kills, random);
  console.log(JSON.stringify({ seed, ...report }));
  process.exitCode = ok ? 0 : 1;
});
