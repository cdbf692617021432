// A model of the engine for the live lists: what is true, what changes, and reads that take their time.
export const OWN = 'OwnWallet';
export const PEER = 'PeerWallet';
const STEPS = ['sent', 'delivered', 'read'];

/** Random numbers that a seed gives again (mulberry32). */
export function randomOf(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, below: (end) => Math.floor(next() * end), chance: (share) => next() < share, pick: (list) => list[Math.floor(next() * list.length)] };
}

const failure = (code) => ({ success: false, error: Object.assign(new Error(code), { code, category: 'system', userMessage: code, recoverable: true }) });
const plain = (code) => ({ code, category: 'relay', message: code, userMessage: code, recoverable: false });

/** One session: a log of entries, some of which are versions and not shown, and an outbox. Of a group, who is in it and since when. */
class Session {
  constructor(id, peer, members = null) {
    Object.assign(this, { id, peer, members: null, log: [], end: 0, queue: [], watermarks: {}, kept: { delivered: 0, read: 0 }, state: 'active' });
    for (const wallet of members ?? [OWN, peer]) this.watermarks[wallet] = { delivered: 0, read: 0 };
    if (members) this.members = members.map((wallet) => ({ wallet, since: 1 }));
  }

  get others() {
    return this.members.filter(({ wallet }) => wallet !== OWN);
  }

  /** Up to where all others have what this wallet wrote; who came later counts for what was written since. */
  reached(status) {
    const first = this.others[0]?.since ?? 0;
    const marks = this.others.map(({ wallet, since }) => Math.max(this.watermarks[wallet][status], since > first ? since : 0));
    return Math.max(this.kept[status], marks.length > 0 ? Math.min(...marks) : 0);
  }

  /** What all had stays so, whoever comes or goes. */
  keep() {
    this.kept = { delivered: this.reached('delivered'), read: this.reached('read') };
  }

  /** As the engine shows it now. Each time another object. */
  view(message, wallet = OWN) {
    const { id, sender, device, sequenceNumber, error } = message;
    const queuedEdits = message.edits.filter((edit) => !edit.isLogged);
    const winner = message.edits.at(-1);
    return {
      id, session_id: this.id, sender_wallet: sender, timestamp: '2026-01-01T00:00:00.000Z', text: winner ? winner.text : message.text, deviceId: device,
      ...(sequenceNumber !== undefined && { sequenceNumber }), vectorClock: { [device]: 1 }, status: this.statusOf(message), ...(error && { error }),
      ...(this.members && sender === OWN && sequenceNumber !== undefined && { readBy: this.others.map((other) => other.wallet).filter((other) => this.watermarks[other].read >= sequenceNumber) }),
      edited: !!winner, deleted: winner?.text === '', pendingEdit: queuedEdits.length > 0 && sender === wallet,
      versions: winner ? [{ id: `${id}:v${message.edits.length}`, deviceId: device, text: winner.text, deleted: winner.text === '', timestamp: '' }] : [],
    };
  }

  statusOf(message) {
    if (message.sequenceNumber === undefined) return message.status;
    if (this.members) {
      const of = (status) => (message.sender === OWN ? this.reached(status) : this.watermarks[OWN][status]);
      return STEPS[of('read') >= message.sequenceNumber ? 2 : of('delivered') >= message.sequenceNumber ? 1 : 0];
    }
    const others = Object.entries(this.watermarks).filter(([wallet]) => wallet !== message.sender);
    return STEPS[Math.max(...others.map(([, { delivered, read }]) => (read >= message.sequenceNumber ? 2 : delivered >= message.sequenceNumber ? 1 : 0)))];
  }

  /** All that is to be shown, as views. */
  shown() {
    return [...this.log, ...this.queue].map((message) => this.view(message));
  }
}

/** What the lists see of the SDK. `step` lets one read go on; nothing happens by itself. */
export class Model {
  sessions_ = new Map();
  handlers = new Set();
  reads = [];
  currentWallet = OWN;
  told = 0;
  counts = { pages: 0, newest: 0, messages: 0 };
  failNext = 0;
  lastId = 0;

  constructor(...ids) {
    for (const [place, id] of ids.entries()) this.sessions_.set(id, new Session(id, place ? `${PEER}${place}` : PEER));
  }

  /** One more session: a group of this wallet and these. */
  group(id, ...wallets) {
    this.sessions_.set(id, new Session(id, '', [OWN, ...wallets]));
    return this.session(id);
  }

  session(id) {
    return this.sessions_.get(id);
  }

  // Source.

  wallet = () => this.currentWallet;

  sessions = () => (this.currentWallet === OWN ? [...this.sessions_.values()] : []).map((session) => ({
    session_id: session.id, wallet: OWN, peer_wallet: session.peer, deviceId: 'd', lastSyncedSequence: session.end,
    queuedMessageCount: session.queue.length, vectorClock: {}, readThrough: session.watermarks[OWN].read, state: session.state,
    ...(session.members && { kind: 'group', name: session.id, members: session.members.map(({ wallet }) => ({ wallet, isAdmin: wallet === OWN })), membership: 'member' }),
  }));

  onChange = (handler) => {
    this.handlers.add(handler);
    return () => this.handlers.delete(handler);
  };

  storedMessages = (sessionId, limit, before) => {
    this.counts.pages += 1;
    if (before === undefined) this.counts.newest += 1;
    return this.#read(
      () => {
        const session = this.currentWallet === OWN && this.session(sessionId);
        if (!session) return null;
        const log = session.log.filter((message) => before === undefined || message.sequenceNumber < before);
        // As the engine does: which entries, now; how they are shown, later.
        const entries = [...log, ...(before === undefined ? session.queue : [])].map((message) => [message, message.sequenceNumber]);
        return { session, entries: limit === 0 ? [] : entries.slice(-limit) };
      },
      (taken) => (taken ? { success: true, data: taken.entries.map(([message, sequenceNumber]) => {
        const view = taken.session.view(message);
        if (sequenceNumber === undefined) delete view.sequenceNumber;
        return view;
      }) } : failure('UNKNOWN_SESSION')),
    );
  };

  getMessage = (id) => {
    this.counts.messages += 1;
    return this.#read(() => null, () => {
      for (const session of this.sessions_.values()) {
        const message = [...session.queue, ...session.log].find((one) => one.id === id);
        if (message) return { success: true, data: session.view(message) };
      }
      return failure('UNKNOWN_MESSAGE');
    });
  };

  #read(take, show) {
    return new Promise((resolve) => this.reads.push({ phase: 0, take, show, resolve }));
  }

  /** Lets the read at a place go on: it takes its entries, then shows them and resolves. */
  step(place = 0) {
    const read = this.reads[place];
    if (read.phase === 0) {
      read.taken = read.take();
      read.phase = 1;
      return;
    }
    this.reads.splice(place, 1);
    if (this.failNext > 0) {
      this.failNext -= 1;
      read.resolve(failure('STORAGE_ERROR'));
    } else read.resolve(read.show(read.taken));
  }

  /** Lets all reads end, and those that they lead to. */
  async settle() {
    await turn();
    while (this.reads.length > 0) {
      this.step();
      await turn();
    }
  }

  tell(change) {
    this.told += 1;
    for (const handler of [...this.handlers]) handler(change);
  }

  // What happens.

  tellMessage(session, message) {
    this.tell({ type: 'message', message: session.view(message) });
  }

  receive(sessionId, { sender, text, skip = 0 } = {}) {
    const session = this.session(sessionId);
    session.end += 1 + skip;
    const message = { id: `m${(this.lastId += 1)}`, sender: sender ?? session.peer, device: 'other', text: text ?? `text ${session.end}`, edits: [], sequenceNumber: session.end };
    session.log.push(message);
    this.tellMessage(session, message);
    return message;
  }

  queue(sessionId, text = 'queued', id = `q${(this.lastId += 1)}`) {
    const session = this.session(sessionId);
    const message = { id, sender: OWN, device: 'd', text, edits: [], status: 'queued' };
    session.queue.push(message);
    this.tellMessage(session, message);
    return message;
  }

  setStatus(sessionId, message, status) {
    message.status = status;
    this.tell({ type: 'status', sessionId, messageId: message.id, status });
  }

  /** Those that failed are before those that wait. */
  fail(sessionId, message, isRemovedFirst = false) {
    const session = this.session(sessionId);
    if (isRemovedFirst) this.remove(sessionId, message);
    else session.queue.splice(session.queue.indexOf(message), 1);
    Object.assign(message, { status: 'failed', error: plain('MESSAGE_TOO_LARGE') });
    session.queue.splice(session.queue.filter(({ status }) => status === 'failed').length, 0, message);
    this.tellMessage(session, message);
  }

  log(sessionId, message, skip = 0) {
    const session = this.session(sessionId);
    session.queue.splice(session.queue.indexOf(message), 1);
    session.end += 1 + skip;
    message.sequenceNumber = session.end;
    session.log.push(message);
    this.tellMessage(session, message);
  }

  remove(sessionId, message) {
    const session = this.session(sessionId);
    session.queue.splice(session.queue.indexOf(message), 1);
    this.tell({ type: 'removed', sessionId, messageId: message.id });
  }

  retry(sessionId, message) {
    this.remove(sessionId, message);
    return this.queue(sessionId, message.text, message.id);
  }

  edit(sessionId, message, text, isLogged = true) {
    const session = this.session(sessionId);
    message.edits.push({ text, isLogged });
    if (isLogged) session.end += 1;
    this.tell({ type: 'stale', sessionId, messageId: message.id });
  }

  logEdit(sessionId, message) {
    const edit = message.edits.find((one) => !one.isLogged);
    edit.isLogged = true;
    this.session(sessionId).end += 1;
    this.tell({ type: 'stale', sessionId, messageId: message.id });
  }

  receipt(sessionId, wallet, status, through) {
    const watermark = this.session(sessionId).watermarks[wallet];
    if (through <= watermark[status]) return;
    watermark[status] = through;
    this.#tellReceipt(this.session(sessionId), wallet, status);
  }

  #tellReceipt(session, wallet, status) {
    const through = session.watermarks[wallet][status];
    const others = Object.entries(session.watermarks).filter(([other]) => other !== OWN);
    const allThrough = session.members ? session.reached(status) : Math.max(...others.map(([, marks]) => marks[status]));
    this.tell({ type: 'receipt', sessionId: session.id, wallet, status, through, allThrough });
  }

  /** A wallet comes into a group. */
  join(sessionId, wallet) {
    const session = this.session(sessionId);
    session.keep();
    session.end += 1;
    session.watermarks[wallet] = { delivered: 0, read: 0 };
    session.members.push({ wallet, since: session.end });
    this.#regrouped(session);
  }

  /** A wallet leaves a group. */
  leave(sessionId, wallet) {
    const session = this.session(sessionId);
    session.keep();
    session.end += 1;
    session.members = session.members.filter((member) => member.wallet !== wallet);
    delete session.watermarks[wallet];
    this.#regrouped(session);
  }

  #regrouped(session) {
    for (const status of ['delivered', 'read']) this.#tellReceipt(session, OWN, status);
    this.tell({ type: 'session', sessionId: session.id });
  }

  clear(sessionId) {
    this.session(sessionId).log = [];
    this.tell({ type: 'cleared', sessionId });
  }

  setWallet(wallet) {
    this.currentWallet = wallet;
    this.tell({ type: 'wallet' });
  }

  /** Something that may happen to a session, at random. */
  happen(sessionId, random) {
    const session = this.session(sessionId);
    const { queue, log } = session;
    const skip = random.chance(0.2) ? 1 : 0;
    const message = random.chance(0.5) ? log.at(-1 - random.below(4)) : random.pick(log);
    const queued = random.pick(queue);
    const what = random.below(session.members ? 16 : 15);
    const writer = random.pick(session.members ? session.others.map(({ wallet }) => wallet) : [session.peer]);
    if (what < 3) this.receive(sessionId, { skip, sender: random.chance(0.2) ? OWN : writer });
    else if (what < 5) this.queue(sessionId);
    else if (what === 5 && queued && queued.status !== 'failed') this.setStatus(sessionId, queued, random.pick(['sending', 'queued', 'sent']));
    else if (what === 6 && queued && queued.status !== 'failed') this.fail(sessionId, queued, random.chance(0.5));
    else if (what === 7 && queue.some(({ status }) => status !== 'failed')) this.log(sessionId, queue.find(({ status }) => status !== 'failed'), skip);
    else if (what === 8 && queued) this.remove(sessionId, queued);
    else if (what === 9 && queued?.status === 'failed') this.retry(sessionId, queued);
    else if (what === 10 && message) this.edit(sessionId, message, random.chance(0.3) ? '' : `edit ${session.end}`, message.sender !== OWN || random.chance(0.5));
    else if (what === 11 && queued) this.edit(sessionId, queued, `edit ${session.end}`, false);
    else if (what === 12) {
      const edited = [...log, ...queue].find((one) => one.edits.some((edit) => !edit.isLogged));
      if (edited) this.logEdit(sessionId, edited);
    } else if (what === 13) this.receipt(sessionId, random.pick([OWN, writer]), random.pick(['delivered', 'read']), random.below(session.end + 1));
    else if (what === 14 && random.chance(0.1)) this.clear(sessionId);
    // The first one counts for all messages: where it leaves, the next one must have been there as long.
    else if (what === 15 && session.others.length > 1 && random.chance(0.4) && (writer !== session.others[0].wallet || session.others[1].since === 1)) this.leave(sessionId, writer);
    else if (what === 15 && session.others.length < 5 && random.chance(0.4)) this.join(sessionId, `Other${(this.lastId += 1)}`);
  }
}

/** One turn of the event loop: all microtasks have run. */
export const turn = () => new Promise((resolve) => (globalThis.setImmediate ?? setTimeout)(resolve));
