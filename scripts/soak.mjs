// npm run soak: real processes that are killed, over and over. `-- --relay-kills 200` kills the relay under load from plain WebSocket
// clients; `-- --browser-kills 50` kills Chromium while a page writes and syncs. Each ends with one JSON line; the exit code is 0 only
// if nothing that was acknowledged or confirmed is lost, and nothing is there twice.
import { parseArgs } from 'node:util';
import { buildRelay, buildSdk } from './build.mjs';
import { randomFrom } from './corpus.mjs';
import { setup } from './setup.mjs';
import { main, Problem } from './shell.mjs';

function options() {
  const { values } = parseArgs({
    options: { 'relay-kills': { type: 'string' }, 'browser-kills': { type: 'string' }, seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) } },
  });
  const number = (name) => {
    const value = Number(values[name] ?? 0);
    if (!Number.isInteger(value) || value < 0) throw new Problem(`--${name} must be a whole number, not ${values[name]}`);
    return value;
  };
  const wanted = { relayKills: number('relay-kills'), browserKills: number('browser-kills'), seed: number('seed') };
  if (wanted.relayKills + wanted.browserKills === 0) throw new Problem('Say what to kill and how often: --relay-kills 200, --browser-kills 50, or both.');
  return wanted;
}

main(import.meta.url, async () => {
  const wanted = options();
  const random = randomFrom(wanted.seed);
  await setup('npm', ...(wanted.browserKills > 0 ? ['wasm', 'browser'] : []));
  if (wanted.browserKills > 0) await buildSdk();
  await buildRelay();
  // Loaded now: they need packages that the set-up may just have installed.
  const soaks = [];
  if (wanted.relayKills > 0) soaks.push(async () => (await import('./soak-relay.mjs')).soakRelay(wanted.relayKills, random));
  if (wanted.browserKills > 0) soaks.push(async () => (await import('./soak-browser.mjs')).soakBrowser(wanted.browserKills, random));
  for (const soak of soaks) {
    const { ok, ...report } = await soak();
    console.log(JSON.stringify({ seed: wanted.seed, ...report }));
    if (!ok) process.exitCode = 1;
  }
});
