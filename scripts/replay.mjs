// npm run replay: real browsers and the real relay replay a conversation, while devices go offline, reload and are killed at random.
// Ends with one JSON line, and with exit code 0 only if every device shows the same list with everything in it, once, in order.
import { parseArgs } from 'node:util';
import { buildRelay, buildSdk } from './build.mjs';
import { conversation, randomFrom } from './corpus.mjs';
import { setup } from './setup.mjs';
import { main, Problem } from './shell.mjs';

function options() {
  const { values } = parseArgs({
    options: {
      corpus: { type: 'string' },
      messages: { type: 'string', default: '3000' },
      devices: { type: 'string', default: '4' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
      kills: { type: 'string', default: '6' },
    },
  });
  const number = (name, min, max) => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < min || value > max) throw new Problem(`--${name} must be a whole number from ${min} to ${max}, not ${values[name]}`);
    return value;
  };
  return {
    corpus: values.corpus,
    messages: number('messages', 1, 1_000_000),
    devices: number('devices', 2, 16),
    seed: number('seed', 0, 4_294_967_295),
    kills: number('kills', 0, 1_000),
  };
}

main(import.meta.url, async () => {
  const wanted = options();
  console.log(`seed ${wanted.seed}`);
  const random = randomFrom(wanted.seed);
  const messages = conversation(wanted.corpus, wanted.messages, random);
  await setup('npm', 'wasm', 'browser');
  await buildSdk();
  await buildRelay();
  // Loaded now: it needs a package that the set-up may just have installed.
  const { replay } = await import('./replay-run.mjs');
  const { ok, ...report } = await replay(messages, wanted.devices, wanted.kills, random);
  console.log(JSON.stringify({ seed: wanted.seed, ...report }));
  process.exitCode = ok ? 0 : 1;
});
