// How long the live list of messages works for one change when it holds many. Each change makes a snapshot. Run: node bench/lists.mjs
import { compile } from '../tests/surface/lists-compile.mjs';
import { Model, OWN, PEER } from '../tests/surface/lists-model.mjs';

const MESSAGES = 10_000;
const PAGE = 100;
const TRIES = 1_000;

const { MessageLists } = await compile('bench', `export * from './src/surface/messages.ts';`);
const model = new Model('s');
for (let count = 0; count < MESSAGES; count += 1) model.receive('s', { sender: count % 2 ? OWN : PEER });
const session = model.session('s');
const list = new MessageLists(model).open('s', { limit: PAGE });
list.subscribe(() => {});

/** Lets one read end; gives how long the list worked on what it gave. */
async function endRead() {
  await null;
  while (model.reads[0].phase === 0) model.step();
  const read = model.reads[0];
  const result = read.show(read.taken);
  read.show = () => result;
  return timed(async () => {
    model.step();
    for (let turns = 0; turns < 20; turns += 1) await null;
    list.getSnapshot();
  });
}

/** The processor's time, so that what else the machine does is not counted; the engine's collection of garbage is. */
async function timed(work) {
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1_000;
}

const rows = [];
function row(name, times) {
  const sorted = [...times].sort((one, other) => one - other);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(3);
  rows.push({ change: name, tries: times.length, 'median ms': at(0.5), 'p99 ms': at(0.99), 'most ms': at(1) });
}

async function measure(name, tries, change) {
  const times = [];
  for (let count = 0; count < tries; count += 1) {
    const prepared = change.prepare?.();
    times.push(await timed(() => {
      change.tell(prepared);
      list.getSnapshot();
    }));
    if (model.reads.length > 0) await endRead();
  }
  row(name, times);
}

const pages = [await endRead()];
while (list.hasMore) {
  void list.loadOlder();
  pages.push(await endRead());
}
if (list.getSnapshot().items.length !== MESSAGES) throw new Error('the list is not whole');
row(`a page of ${PAGE} comes`, pages);

// The model makes the views before, so that the list alone is measured.
const message = (make) => ({ prepare: () => ({ type: 'message', message: make() }), tell: (change) => model.tell(change) });
let last = MESSAGES;
const append = (sender) => () => {
  last += 1;
  const one = { id: `n${last}`, sender, device: 'other', text: 'text', edits: [], sequenceNumber: last };
  session.log.push(one);
  return session.view(one);
};
await measure('a message arrives', TRIES, message(append(PEER)));
let queued = 0;
await measure('a message is queued', TRIES, message(() => session.view({ id: `q${(queued += 1)}`, sender: OWN, device: 'd', text: 'text', edits: [], status: 'queued' })));
let place = 0;
await measure('a queued message is sending', TRIES, { tell: () => model.tell({ type: 'status', sessionId: 's', messageId: `q${(place += 1)}`, status: 'sending' }) });
let logged = 0;
await measure('a queued message is logged', TRIES, message(() => {
  last += 1;
  return session.view({ id: `q${(logged += 1)}`, sender: OWN, device: 'd', text: 'text', edits: [], sequenceNumber: last });
}));
let through = 0;
await measure('a receipt of ten messages', MESSAGES / 10, { tell: () => model.tell({ type: 'receipt', sessionId: 's', wallet: PEER, status: 'delivered', through: (through += 10) }) });
const times = [];
for (let count = 0; count < 200; count += 1) {
  const one = session.log[(count * 37) % MESSAGES];
  one.edits.push({ text: `edited ${count}`, isLogged: true });
  const told = await timed(() => {
    model.tell({ type: 'stale', sessionId: 's', messageId: one.id });
    list.getSnapshot();
  });
  for (let turns = 0; turns < 5; turns += 1) await null;
  times.push(told + await endRead());
}
row('an edit is told and read', times);
await measure(`a receipt of ${MESSAGES} messages`, 1, { tell: () => model.tell({ type: 'receipt', sessionId: 's', wallet: PEER, status: 'read', through: MESSAGES }) });
console.log(`A list of ${MESSAGES} messages; of each change, with the snapshot after it:`);
console.table(rows);
