// The page around the devices: starts them, gathers what they report, and passes it to the parts that draw it.

import { DATABASES, DEVICES, STRATEGIES, WALLETS, strategyNamed } from './cast.js';
import { createClocks } from './clocks.js';
import { createConflicts } from './conflicts.js';
import { el, throttled } from './dom.js';
import { createFrames } from './frames.js';
import { createGuide } from './guide.js';
import { modelOf } from './model.js';
import { createPanes } from './panes.js';
import { createSeen } from './seen.js';

const PAGE_LOCK = 'solconnect-demo-page';
const LEAVE_MS = 2500; // for the page that was here before a reload
const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const strategy = strategyNamed(query.get('strategy'));
const remembered = new Map();
let reachable = true;

const announce = (() => {
  let lines = [];
  const say = throttled(() => {
    $('announcer').textContent = lines.join(' ');
    lines = [];
  }, 1500);
  return (line) => {
    if (!lines.includes(line)) lines.push(line);
    say();
  };
})();

const update = throttled(() => {
  const model = modelOf(frames.all, remembered);
  frames.name(new Map(model.devices.filter((device) => device.deviceId).map((device) => [device.deviceId, device.label])));
  frames.update(model);
  clocks.update(model);
  seen.update(model);
  conflicts.update(model);
  guide.update(model);
  panes.update();
  hearRelay(model);
}, 60);

const frames = createFrames({ host: $('devices'), tabs: $('tabs'), changed: update, announce });
const clocks = createClocks({ lanes: $('lanes'), detail: $('lanes-detail'), matrix: $('matrix') });
const seen = createSeen({ choice: $('seen-choice'), relay: $('seen-relay'), devices: $('seen-devices') });
const conflicts = createConflicts({ says: $('conflicts-says'), cards: $('cards'), more: $('cards-more'), strategy, command: frames.command, announce });
const panes = createPanes({ host: $('panes'), opener: $('open-panes'), frames, announce });
const guide = createGuide({ steps: $('steps'), more: $('more'), frames, announce });

/** Every device says on its own screen that the relay is away; aloud it is said once for all. */
function hearRelay(model) {
  const wanting = model.devices.filter((device) => device.ready && !device.offline);
  if (wanting.length === 0) return;
  const now = wanting.some((device) => device.connection === 'connected')
    ? true
    : wanting.every((device) => device.connection === 'waiting')
      ? false
      : reachable;
  if (now === reachable) return;
  reachable = now;
  announce(reachable ? 'The relay is reachable again.' : 'The relay cannot be reached. Every device keeps its messages and sends them when it is back.');
}

async function start() {
  try {
    if (!isSecureContext) throw Object.assign(new Error(location.origin), { code: 'INSECURE_CONTEXT' });
    if (query.has('start-over')) await deleteDatabases();
    // Held as long as the page is open: see deleteDatabases.
    navigator.locks.request(PAGE_LOCK, { mode: 'shared' }, () => new Promise(() => {}));
    const { default: init, createLocalWallet } = await import('/pkg/index.js');
    await init();
    const addresses = {};
    for (const [wallet, { database }] of Object.entries(WALLETS)) addresses[wallet] = String((await createLocalWallet(database)).publicKey);
    frames.start({ addresses, strategy: strategy.value });
    panes.start();
  } catch (error) {
    fail(error);
  }
}

const FAILURES = {
  STORAGE_REFUSED: [
    'This browser does not let the page store anything',
    'The devices of this page live in IndexedDB. Private windows and strict cookie settings can forbid it: allow storage for this site or use a normal window, then try again.',
  ],
  START_OVER_BLOCKED: [
    'Another tab still uses these devices',
    'Their databases can only be deleted when nobody has them open. Close the other tab with this page, then try again.',
  ],
  INSECURE_CONTEXT: [
    'This address is not secure enough for keys',
    'Browsers give pages keys and locks only over https or from this machine itself. Open the page as http://localhost with the same port, or serve it over https.',
  ],
  LOAD_FAILED: [
    'The SDK did not load',
    'Nothing is lost: what the devices stored is still there. Check that the relay is running, that the package was built (npm run build), and that this browser allows WebAssembly. Then try again.',
  ],
};
FAILURES.SDK_INITIALIZATION_FAILED = FAILURES.LOAD_FAILED;

function fail(error) {
  const code = error?.code ?? 'LOAD_FAILED';
  const [title, says] = FAILURES[code] ?? ['The page could not start', error.userMessage ?? 'Something unexpected happened. Try again.'];
  $('stage').hidden = true;
  $('failure').hidden = false;
  $('failure-title').textContent = title;
  $('failure-says').textContent = says;
  $('failure-code').textContent = `${code}: ${error?.message ?? error}`;
  $('failure-retry').focus();
}

/** Runs in a fresh page, before anything of it has opened them, and only while no other tab shows this page. */
async function deleteDatabases() {
  try {
    await navigator.locks.request(PAGE_LOCK, { signal: AbortSignal.timeout(LEAVE_MS) }, async () => {
      // Of each device one for its wallets and one for each wallet's messages.
      const names = (await indexedDB.databases()).map(({ name }) => name);
      await Promise.all(names.filter((name) => DATABASES.includes(name.split('/')[0])).map(deleteDatabase));
    });
  } catch (error) {
    throw error.name === 'TimeoutError' ? Object.assign(new Error('another tab shows this page'), { code: 'START_OVER_BLOCKED' }) : error;
  }
  query.delete('start-over');
  history.replaceState(null, '', `${location.pathname}${query.size > 0 ? `?${query}` : ''}`);
}

function deleteDatabase(name) {
  // On purpose: the SDK is not to report it as a loss.
  localStorage.removeItem(`${name}.stored`);
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = resolve;
    request.onerror = () => reject(Object.assign(new Error(String(request.error)), { code: 'STORAGE_REFUSED' }));
  });
}

function reloadWith(name, value) {
  query.set(name, value);
  location.search = query;
}

addEventListener('message', ({ origin, data }) => {
  if (origin === location.origin && data?.from === 'wire') seen.take(data.messages);
});
for (const { value, label, says } of STRATEGIES) $('strategy').append(el('option', { value, title: `${says} In code: ${value}` }, label));
$('strategy').value = strategy.value;
$('strategy').addEventListener('change', () => {
  query.set('strategy', $('strategy').value);
  history.replaceState(null, '', `${location.pathname}?${query}`);
  location.reload();
});
$('start-over').addEventListener('click', () => {
  if (confirm('Delete the databases of all three devices and both wallets, and begin with new ones?')) reloadWith('start-over', '1');
});
// A module that failed to load stays failed for the life of its page.
$('failure-retry').addEventListener('click', () => location.reload());
start();
