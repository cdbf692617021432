// One replay with tabs: several tabs of one profile and two other devices write, while the tabs are opened, shown, frozen, killed,
// reloaded, closed and left for "back" at random. In the end all must show the same, and every call must have been answered truly.
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { launch } from '../tests/e2e/harness/engines.mjs';
import { duplicates, hashOf } from '../tests/e2e/harness/lists.mjs';
import { startRelay } from '../tests/e2e/harness/relay.mjs';
import { TabDevice } from '../tests/e2e/harness/tab-device.mjs';
import { until } from '../tests/e2e/harness/wait.mjs';
import { newWallet } from '../tests/e2e/harness/wallet.mjs';
import { pick } from './corpus.mjs';
import { signing } from './replay-run.mjs';
import { elapsed, progress, say } from './shell.mjs';

const turnMessages = 25;
/** A turn waits so long for its answers. Those of a tab that is frozen come when it is thawed. */
const turnMs = 3_000;
/** A call may wait 120 s for an owner, and so may a tab that opens. */
const [answersDeadlineMs, openDeadlineMs] = [150_000, 150_000];
const convergeDeadlineMs = 90_000;
/** So many of the newest messages stand in each tab's live list. */
const shownMessages = 100;

/** Engines that tell a page before they freeze it: in them it can also happen without notice. */
const enginesWithNotice = ['chromium'];

/** Replays `messages` {from, text} with that many tabs; the report, and whether nothing went wrong (`ok`). */
export async function replayTabs(messages, { tabs, engine, auth, random }) {
  const start = performance.now();
  const world = await openWorld(tabs, engine, auth);
  try {
    const counts = await play(world, messages, random, start);
    const converged = await heal(world);
    const writers = [...world.tabs, ...world.others];
    const views = await Promise.all(writers.filter(({ state }) => state === 'live').map((writer) => writer.view()));
    const lives = writers.flatMap((writer) => writer.lives);
    const verdict = judgeTabs(lives, views);
    const seconds = Number(((performance.now() - start) / 1000).toFixed(1));
    return { ok: converged && isClean(verdict), engine, ...verdict, converged, ...slowness(lives), disturbances: counts, seconds };
  } catch (error) {
    await tellStates(world);
    throw error;
  } finally {
    await Promise.all(world.browsers.map((browser) => browser.stop()));
    await world.relay.stop();
  }
}

/** Tabs that share a profile, and two devices in another browser: one of the same wallet and one of the other. */
async function openWorld(tabCount, engine, auth) {
  const relay = await startRelay({ auth });
  const config = signing(relay, auth);
  const [alice, bob] = [newWallet(), newWallet()];
  const [browser, elsewhere] = [await launch(engine), await launch(engine)];
  const shared = { browser, relay, name: 'shared', wallet: alice, peer: bob, joins: true, openDeadlineMs, config };
  const tab = (name) => new Writer(name, new TabDevice(shared));
  const tabs = Array.from({ length: tabCount }, (_, index) => tab(`tab-${index + 1}`));
  const others = [
    new Writer('laptop', new TabDevice({ browser: elsewhere, relay, name: 'laptop', wallet: alice, peer: bob, config })),
    new Writer('peer', new TabDevice({ browser: elsewhere, relay, name: 'peer', wallet: bob, peer: alice, config })),
  ];
  for (const writer of [...tabs, ...others]) await writer.open();
  return { relay, browsers: [browser, elsewhere], tabs, others, deeds: [], story: [], withNotice: enginesWithNotice.includes(engine) };
}

/** A tab, or another device, through all its lives: a page that is loaded anew is another life. */
class Writer {
  /** 'live', 'frozen', 'left' (for "back") or 'closed'. */
  state = 'closed';
  /** Something that was done to it is not over. */
  isBusy = false;
  lives = [];
  #device;
  /** Messages written in this life. */
  #count = 0;
  /** Counts what was done to it: an answer that it did not wait through is no measure of time. */
  #deeds = 0;

  constructor(name, device) {
    this.name = name;
    this.#device = device;
  }

  get #page() {
    return this.#device.page;
  }

  get #life() {
    return this.lives.at(-1);
  }

  async open() {
    await this.#device.open();
    await this.#begin();
  }

  /** The page is new, and its SDK runs. */
  async #begin() {
    this.lives.push({ name: `${this.name}.${this.lives.length + 1}`, isOver: false, calls: [] });
    this.#count = 0;
    this.state = 'live';
    await this.#page.evaluate(prepare, this.#life.name, shownMessages);
  }

  /** What was not answered never will be. */
  #end(state) {
    this.#life.isOver = true;
    this.state = state;
  }

  /** Sends these texts, under the name and the number by which they are judged. Resolves when all are answered, or the page is gone. */
  async send(texts, isBurst) {
    const life = this.#life;
    const calls = texts.map((text) => {
      this.#count += 1;
      return { text: `${life.name} #${this.#count} ${text}`, answer: null };
    });
    life.calls.push(...calls);
    const deeds = this.#deeds;
    try {
      const answers = await this.#page.evaluate((texts, isBurst) => globalThis.replay.send(texts, isBurst), calls.map(({ text }) => text), isBurst);
      answers.forEach(({ answer, ms }, index) => Object.assign(calls[index], { answer }, deeds === this.#deeds && { ms }));
    } catch {
      // The page is gone or left; where it comes back it is asked again.
    }
  }

  ask(method) {
    return this.#page.evaluate((method) => globalThis.device.sdk[method](), method);
  }

  async isOwner() {
    return (await this.ask('getTabRole').catch(() => null)) === 'owner';
  }

  deviceState() {
    return this.#device.state();
  }

  /** Learns the answers that this life's page has; whether all are there. */
  async collect() {
    const life = this.#life;
    const answers = await this.#page.evaluate('globalThis.replay.calls');
    answers.forEach(({ answer }, index) => Object.assign(life.calls[index], { answer }));
    // What is not called yet is not answered.
    return life.calls.every(({ answer }) => answer);
  }

  /** What it says of itself, as far as it can say anything. */
  async situation() {
    if (this.state === 'closed' && this.#page.isGone) return null;
    const asked = this.#page.evaluate(async () => ({
      role: globalThis.device?.sdk?.getTabRole(),
      visibility: document.visibilityState,
      locks: await navigator.locks?.query(),
      told: globalThis.device?.events.filter(([name]) => ['onTabChanged', 'onWarning', 'onConnectionChanged'].includes(name)).slice(-12),
      calls: globalThis.replay?.calls.filter(({ answer }) => !answer).length,
    }));
    return Promise.race([asked.catch((error) => error.message), delay(2_000, 'it does not answer')]);
  }

  /** Whether its list shows all that its device sent as delivered. */
  showsDelivered() {
    return this.#page.evaluate((id) => globalThis.replay.view().shown.every(({ deviceId, status }) => deviceId !== id || status === 'delivered'), this.#device.id);
  }

  /** What there is to see in it. */
  async view() {
    const list = await this.#device.list();
    const heard = await this.#device.heardHere();
    const { shown, sessions, unread } = await this.#page.evaluate('globalThis.replay.view()');
    return { name: this.#life.name, device: this.#device.name, id: this.#device.id, list, heard, shown, sessions, unread };
  }

  /** Something happens to it, by the name of a method below. */
  async happen(deed) {
    this.#deeds += 1;
    this.isBusy = true;
    await this[deed]();
    this.isBusy = false;
  }

  show() {
    return this.#page.show();
  }

  async freeze() {
    this.state = 'frozen';
    await this.#page.freeze();
  }

  /** Frozen without notice. */
  async halt() {
    await this.#page.evaluate('globalThis.replay.isWithoutNotice = true');
    await this.freeze();
  }

  async thaw() {
    await this.#page.thaw();
    await this.#page.evaluate('globalThis.replay.isWithoutNotice = false');
    this.state = 'live';
  }

  async crash() {
    this.#end('closed');
    await this.#device.crash();
  }

  async close() {
    this.#end('closed');
    await this.#device.close();
  }

  async reload() {
    this.#end('closed');
    await this.#device.reload();
    await this.#begin();
  }

  async leave() {
    this.state = 'left';
    await this.#page.navigate('data:text/html,elsewhere');
  }

  /** It comes back as it was left, or is loaded anew. */
  async back() {
    await this.#page.back();
    if (await this.#page.evaluate('Boolean(globalThis.replay)')) {
      this.state = 'live';
      return;
    }
    this.#end('closed');
    await this.#device.start();
    await this.#begin();
  }
}

/** In the page: keeps what was called and answered, and a live list. */
function prepare(name, shownMessages) {
  const { sdk, sessionId } = globalThis.device;
  const calls = [];
  const unread = [];
  const list = sdk.messages(sessionId, { limit: shownMessages });
  list.subscribe(() => {});
  addEventListener('freeze', (event) => {
    if (!globalThis.replay.isWithoutNotice) return;
    // The driver alone hears of it.
    globalThis[Symbol.for('is frozen')] = true;
    event.stopImmediatePropagation();
  }, { capture: true });
  const call = async (text) => {
    const made = { text, answer: null };
    calls.push(made);
    const start = performance.now();
    const result = await sdk.sendMessage(sessionId, text).catch((error) => ({ error: { code: `thrown: ${error.message}` } }));
    made.ms = performance.now() - start;
    made.answer = result.success ? { id: result.data.messageId } : { code: result.error.code };
    return made;
  };
  const send = async (texts, isBurst) => {
    const made = [];
    if (isBurst) made.push(...(await Promise.all(texts.map(call))));
    else for (const text of texts) made.push(await call(text));
    // What was confirmed is there for who confirmed it.
    const last = made.findLast(({ answer }) => answer.id);
    const read = last && (await sdk.getMessage(last.answer.id));
    if (read && read.data?.text !== last.text) unread.push([last.text, read.data?.text ?? read.error?.code ?? null]);
    return made;
  };
  let sending = Promise.resolve();
  globalThis.replay = {
    calls,
    isWithoutNotice: false,
    /** In turn, so that calls are made in the order of their numbers. */
    send(texts, isBurst) {
      sending = sending.then(() => send(texts, isBurst));
      return sending;
    },
    view: () => ({
      shown: list.getSnapshot().items.map(({ id, deviceId, text, sequenceNumber, status }) => ({ id, deviceId, text, sequenceNumber, status })),
      sessions: sdk.getActiveSessions().data,
      unread,
    }),
  };
}

/** What is known of tabs where something went wrong. */
async function tellStates({ tabs, story }) {
  for (const line of story.slice(-40)) say(line);
  for (const tab of tabs) say(`${tab.name} is ${tab.state}: ${JSON.stringify(await tab.situation())}`);
}

/** Sends everything, in turns; in each the tabs are disturbed while they send. */
async function play(world, messages, random, start) {
  const counts = {};
  const writers = [...world.tabs, ...world.others];
  const writerOf = new Map();
  const turns = Math.ceil(messages.length / turnMessages);
  for (let turn = 0; turn < turns; turn += 1) {
    const live = writers.filter(({ state }) => state === 'live');
    const outgoing = new Map(live.map((writer) => [writer, []]));
    for (const { from, text } of messages.slice(turn * turnMessages, (turn + 1) * turnMessages)) {
      // Somebody writes where he wrote before, if he can.
      if (!outgoing.has(writerOf.get(from)) || random() < 0.05) writerOf.set(from, pick(random, live));
      outgoing.get(writerOf.get(from)).push(text);
    }
    const deeds = await drawDeeds(world, random);
    const sent = [...outgoing].map(([writer, texts]) => writer.send(texts, random() < 0.5));
    const done = deeds.map(async ({ tab, deed, afterMs }) => {
      counts[deed] = (counts[deed] ?? 0) + 1;
      await delay(afterMs);
      world.story.push(`${elapsed(start)} turn ${turn}: ${tab.name} ${deed}`);
      await tab.happen(deed);
      world.story.push(`${elapsed(start)} turn ${turn}: ${tab.name} ${deed} is done`);
    });
    world.deeds.push(...done);
    await Promise.race([Promise.all([...sent, ...done]), delay(turnMs)]);
    const count = Math.min((turn + 1) * turnMessages, messages.length);
    progress(`${count} of ${messages.length} messages, ${elapsed(start)}`, count === messages.length);
  }
  return counts;
}

/** What happens to tabs in this turn: for each at most one thing. */
async function drawDeeds(world, random) {
  const tabs = world.tabs.filter(({ isBusy }) => !isBusy);
  const deeds = new Map();
  const draw = (tab, ...choices) => deeds.set(tab, { tab, deed: pick(random, choices), afterMs: random() * random() * 200 });
  for (const tab of tabs) {
    if (tab.state === 'closed' && random() < 0.3) draw(tab, 'open');
    if (tab.state === 'frozen' && random() < 0.25) draw(tab, 'thaw', 'thaw', 'thaw', 'crash');
    if (tab.state === 'left' && random() < 0.25) draw(tab, 'back', 'back', 'back', 'close');
  }
  const live = tabs.filter(({ state }) => state === 'live');
  if (live.length > 0 && random() < 0.6) {
    // Half of the time it is the owner's turn.
    const [wantsOwner, any] = [random() < 0.5, pick(random, live)];
    const owners = wantsOwner ? await Promise.all(live.map((tab) => tab.isOwner())) : [];
    const freezes = world.withNotice ? ['freeze', 'halt', 'halt'] : ['freeze', 'freeze', 'freeze'];
    draw(live[owners.indexOf(true)] ?? any, ...freezes, 'crash', 'crash', 'close', 'reload', 'reload', 'leave', 'leave', 'leave');
  }
  const calm = live.filter((tab) => !deeds.has(tab));
  if (calm.length > 0 && random() < 0.15) draw(pick(random, calm), 'show');
  return [...deeds.values()];
}

/** Ends every disturbance, and waits until every call is answered and all have everything; false where that does not come about. */
async function heal({ tabs, others, deeds }) {
  await Promise.all(deeds);
  const endings = { frozen: 'thaw', left: 'back', closed: 'open' };
  for (const tab of tabs) {
    // Some stay closed.
    if (tab.state === 'frozen' || tab.state === 'left' || tab === tabs[0] && tab.state === 'closed') await tab.happen(endings[tab.state]);
  }
  const writers = [...tabs, ...others].filter(({ state }) => state === 'live');
  let states;
  try {
    for (const writer of writers) await until(`all calls of ${writer.name} are answered`, () => writer.collect(), answersDeadlineMs);
    await until('all are at the same place, with nothing to send', async () => {
      states = await Promise.all(writers.map((writer) => writer.deviceState()));
      return states.every(({ queued, cursor }) => queued === 0 && cursor === states[0].cursor);
    }, convergeDeadlineMs);
    // The others' word that they have it comes behind it.
    await until('all is delivered', async () => (await Promise.all(writers.map((writer) => writer.showsDelivered()))).every(Boolean), convergeDeadlineMs);
    return true;
  } catch (error) {
    say(`${error.message}: ${JSON.stringify(states)}`);
    return false;
  }
}

/**
 * Compares what was answered with what all show in the end.
 *
 * `lives` are pages: {name, isOver, calls: [{text, answer}]}, where an answer is {id}, {code}, or null for none; `views` are what is
 * open: {name, device, id, list, heard, shown, sessions, unread}. Each text is there once among all calls.
 */
export function judgeTabs(lives, views) {
  const calls = lives.flatMap((life) => life.calls.map((call, number) => ({ ...call, life, number })));
  const byText = new Map(calls.map((call) => [call.text, call]));
  const confirmed = calls.filter(({ answer }) => answer?.id);
  const failed = calls.filter(({ answer }) => answer?.code);
  const [{ list: reference }] = views;
  const placeOf = new Map(reference.map(({ id }, place) => [id, place]));
  const faults = [];
  const fault = (kind, ...what) => faults.push([kind, ...what]);

  for (const { text, answer } of confirmed) {
    for (const { name, list } of views) if (!list.some((message) => message.id === answer.id && message.text === text)) fault('lost', name, text);
  }
  for (const { name, list, heard } of views) {
    for (const id of duplicates(list.map(({ id }) => id))) fault('duplicated', name, id);
    for (const text of duplicates(list.map(({ text }) => text))) fault('duplicated', name, text);
    for (const id of duplicates(heard)) fault('duplicated', `${name} heard`, id);
    for (const { text } of list) if (!byText.has(text)) fault('foreign', name, text);
  }
  for (const { name, list } of views) {
    for (let place = 0; place < Math.max(list.length, reference.length); place += 1) {
      if (list[place]?.id !== reference[place]?.id) fault('out_of_order', name, place, list[place]?.text, reference[place]?.text);
    }
  }
  // Each page's messages stand in the order of its calls.
  const lastOf = new Map();
  for (const { text } of reference) {
    const call = byText.get(text);
    if (!call) continue;
    const before = lastOf.get(call.life);
    if (before && before.number > call.number) fault('out_of_order', text, 'after', before.text);
    lastOf.set(call.life, call);
  }
  for (const { text, answer, life } of calls) {
    if (answer?.code && reference.some((message) => message.text === text)) fault('untrue', text, answer.code);
    if (!answer && !life.isOver) fault('unanswered', text);
  }
  // From where it began, a page hears all messages of other devices, in order.
  for (const { name, id, heard } of views) {
    const places = heard.map((each) => placeOf.get(each));
    places.forEach((place, index) => {
      if (index > 0 && !(place > places[index - 1])) fault('out_of_order', `${name} heard`, heard[index]);
    });
    const known = new Set(heard);
    const first = Math.min(...places);
    reference.forEach((message, place) => {
      if (place >= first && message.deviceId !== id && !known.has(message.id)) fault('unheard', name, message.text);
    });
  }
  for (const { name, id, list, shown, unread } of views) {
    const row = ({ id, text, sequenceNumber }) => ({ id, text, sequenceNumber });
    if (!isDeepStrictEqual(shown.map(row), list.slice(-shown.length).map(row))) fault('unequal', name, 'the live list');
    const own = new Set(list.filter(({ deviceId }) => deviceId === id).map(({ id }) => id));
    for (const message of shown) if (own.has(message.id) && message.status !== 'delivered') fault('unequal', name, message.text, message.status);
    for (const each of unread) fault('unread', name, ...each);
  }
  // Tabs of one device say the same of it.
  for (const view of views) {
    const first = views.find(({ device }) => device === view.device);
    if (!isDeepStrictEqual(view.sessions, first.sessions)) fault('unequal', view.name, JSON.stringify(view.sessions), first.name, JSON.stringify(first.sessions));
  }

  const count = (kind) => faults.filter(([each]) => each === kind).length;
  for (const each of faults.slice(0, 20)) say(JSON.stringify(each));
  return {
    sent: calls.length,
    confirmed: confirmed.length,
    failed: failed.length,
    unknown: calls.length - confirmed.length - failed.length,
    delivered: reference.length,
    open: views.map(({ name }) => name),
    ...Object.fromEntries(faultKinds.map((kind) => [kind, count(kind)])),
    codes: [...new Set(failed.map(({ answer }) => answer.code))],
    lists: [...new Set(views.map(({ list }) => hashOf(list)))],
  };
}

/**
 * Everything that may be wrong: a confirmed message that somebody lacks; one that is there or heard twice; places that differ, or are
 * not in the order of the calls; a text that nobody wrote; a message of a call that has failed; a call without an answer in a page
 * that lives; a message that a page was not told of; a message that cannot be read where it was confirmed; tabs that say otherwise.
 */
const faultKinds = ['lost', 'duplicated', 'out_of_order', 'foreign', 'untrue', 'unanswered', 'unheard', 'unread', 'unequal'];

export const isClean = (verdict) => faultKinds.every((kind) => verdict[kind] === 0);

/** How long calls of pages that nothing happened to took. */
function slowness(lives) {
  const times = lives.flatMap(({ calls }) => calls.map(({ ms }) => ms).filter((ms) => ms !== undefined)).sort((one, other) => one - other);
  const at = (share) => Math.round(times[Math.min(times.length - 1, Math.floor(times.length * share))]);
  return { answer_ms: { p50: at(0.5), p99: at(0.99), most: at(1) } };
}
