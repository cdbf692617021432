// npm run soak: real processes that are killed, over and over.
import { buildRelay, buildSdk } from './build.mjs';
import { newSeed, randomFrom } from './corpus.mjs';
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { main, Problem } from './shell.mjs';

const about = `Kills real processes with SIGKILL, over and over. Each kind ends with one JSON line; the exit code is 0 only if nothing that was
acknowledged or confirmed is lost, and nothing is there twice. Say at least one of the two kinds.`;

const options = {
  'relay-kills': { value: 'N', from: 0, default: 0, means: 'kills of the relay, under load from plain WebSocket clients' },
  'browser-kills': { value: 'N', from: 0, default: 0, means: 'kills of Chromium, while a page writes and syncs' },
  seed: { value: 'N', from: 0, means: 'decides every random choice; without it a new one, which is printed' },
};

main(import.meta.url, async () => {
  const { 'relay-kills': relayKills, 'browser-kills': browserKills, seed = newSeed() } = commandLine('npm run soak --', about, options);
  if (relayKills + browserKills === 0) throw new Problem('Say what to kill and how often: --relay-kills 200, --browser-kills 50, or both.');
  const random = randomFrom(seed);
  await setup('npm', ...(browserKills > 0 ? ['wasm', 'browser'] : []));
  if (browserKills > 0) await buildSdk();
  await buildRelay();
  // Loaded now: they need packages that the set-up may just have installed.
  const soaks = [];
  if (relayKills > 0) soaks.push(async () => (await import('./soak-relay.mjs')).soakRelay(relayKills, random));
  if (browserKills > 0) soaks.push(async () => (await import('./soak-browser.mjs')).soakBrowser(browserKills, random));
  for (const soak of soaks) {
    const { ok, ...report } = await soak();
    console.log(JSON.stringify({ seed, ...report }));
    if (!ok) process.exitCode = 1;
  }
});
