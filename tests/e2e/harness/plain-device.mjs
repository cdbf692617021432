// A device without the SDK: a plain WebSocket and JSON, as PROTOCOL.md describes a v1 client (or a seed client). It writes, repeats what
// was not acknowledged on every connection, keeps the log that the relay sends, and remembers what it was told: whatever the relay says
// later must agree with that.
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { digestOf, firstDigest } from './digest.mjs';
import { until } from './wait.mjs';

const updateMessagesMax = 50;
const retryMs = 25;
/** Repeated on every connection although they are acknowledged: the answer must be the same (I4). */
const repeatedMessages = 3;

export class PlainDevice {
  /** Messages without an acknowledgement, oldest first. */
  outbox = [];
  /** Where the relay said that each own message stands, by id. */
  acknowledged = new Map();
  /** Entry `sequence - 1` of the session's log. A seed client keeps none. */
  log = [];
  /** Refusals that no kill explains. */
  refusals = [];
  /** Places that were told differently later. */
  moved = 0;
  /** The last sequence number that the relay has named. */
  latest = 0;
  #relay;
  #socket = null;
  #frames = 0;
  #counter = 0;
  /** Of each own entry, by counter: what it and all before it are. */
  #digests;
  #recent = [];
  #isWanted = true;

  constructor({ relay, sessionId, deviceId, wallet, isSeed = false }) {
    this.#relay = relay;
    this.sessionId = sessionId;
    this.deviceId = deviceId;
    this.wallet = wallet;
    this.isSeed = isSeed;
    this.#digests = [firstDigest(sessionId, deviceId)];
  }

  get isConnected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Connects, and again whenever the connection is lost, until it is closed. */
  connect() {
    this.#socket = new WebSocket(this.#relay.endpoint);
    this.#socket.on('error', () => {});
    this.#socket.on('open', () => this.#join());
    this.#socket.on('message', (data) => this.#take(JSON.parse(String(data))));
    this.#socket.on('close', async () => {
      await delay(retryMs);
      if (this.#isWanted) this.connect();
    });
  }

  close() {
    this.#isWanted = false;
    this.#socket?.terminate();
  }

  /** Writes a message, and sends it at once where it can; its id. */
  write(text) {
    this.#counter += 1;
    const id = this.isSeed ? `${this.deviceId}-message-${this.#counter}` : `${this.sessionId}:${this.deviceId}:${this.#counter}`;
    const message = { id, sender_wallet: this.wallet, ciphertext: text, timestamp: new Date().toISOString(), session_id: this.sessionId };
    const unsent = this.isSeed
      ? { message, sequenceNumber: this.#counter, vectorClock: { [this.deviceId]: this.#counter }, localTimestamp: Date.now() }
      : { message, originalDeviceId: this.deviceId, counter: this.#counter, knows: this.log.length, sequenceNumber: 0, serverTimestamp: Date.now() };
    if (!this.isSeed) this.#digests.push(digestOf(unsent, this.#digests.at(-1)));
    this.outbox.push(unsent);
    if (this.isConnected) this.#update([unsent]);
    return id;
  }

  #update(messages) {
    const last = this.isSeed ? {} : { lastDigest: this.#digests[messages.at(-1).counter].toString('hex') };
    this.#send('sync_update', { messages, ...last });
  }

  #join() {
    this.#send('device_announce', {
      deviceInfo: { platform: 'soak', version: '1' },
      syncState: { lastSyncedSequence: this.log.length, vectorClock: {} },
      ...(this.isSeed ? {} : { wallet: this.wallet }),
    });
    if (!this.isSeed) this.#request();
    const messages = [...this.#recent, ...this.outbox];
    for (let from = 0; from < messages.length; from += updateMessagesMax) this.#update(messages.slice(from, from + updateMessagesMax));
  }

  #request() {
    this.#send('sync_request', { lastSyncedSequence: this.log.length, syncVector: {}, maxBatchSize: 100 });
  }

  #send(type, fields) {
    this.#frames += 1;
    const head = { type, sessionId: this.sessionId, deviceId: this.deviceId, timestamp: Date.now(), messageId: `f${this.#frames}` };
    if (!this.isSeed) head.protocolVersion = 1;
    this.#socket.send(JSON.stringify({ ...head, ...fields }));
  }

  #take(frame) {
    if (frame.type === 'sync_ack') this.#takeAck(frame);
    else if (frame.type === 'sync_response' && !this.isSeed) this.#takeBatch(frame);
    else if (frame.error !== undefined) this.refusals.push(frame.code);
  }

  #takeAck({ acknowledgedMessageIds, acknowledgedCounters, acknowledgedSequences }) {
    const ids = this.isSeed ? acknowledgedMessageIds : acknowledgedCounters.map((counter) => `${this.sessionId}:${this.deviceId}:${counter}`);
    ids.forEach((id, index) => {
      const sequence = acknowledgedSequences[index];
      const known = this.acknowledged.get(id);
      if (known !== undefined && known !== sequence) this.moved += 1;
      this.acknowledged.set(id, sequence);
      this.latest = Math.max(this.latest, sequence);
      const place = this.outbox.findIndex((unsent) => unsent.message.id === id);
      if (place < 0) return;
      const [unsent] = this.outbox.splice(place, 1);
      this.#recent = [...this.#recent, unsent].slice(-repeatedMessages);
      // Its place is all that a v1 device is told of its own message, where it has everything before it.
      if (!this.isSeed) this.#store(sequence, id, unsent.message.ciphertext);
    });
  }

  #takeBatch({ messages, latestSequence }) {
    this.latest = Math.max(this.latest, latestSequence);
    const isGap = messages.length > 0 && messages[0].sequenceNumber > this.log.length + 1;
    for (const { message, sequenceNumber } of messages) this.#store(sequenceNumber, message.id, message.ciphertext);
    if (isGap) this.#request();
    else this.#send('sync_ack', { acknowledgedSequences: [this.log.length] });
  }

  #store(sequence, id, text) {
    if (sequence === this.log.length + 1) this.log.push({ id, text });
    else if (sequence <= this.log.length && this.log[sequence - 1].id !== id) this.moved += 1;
  }
}

/** The log of a session as a device reads it that has seen nothing before. */
export async function readLog({ relay, sessionId, wallet }) {
  const reader = new PlainDevice({ relay, sessionId, deviceId: `reader-${Math.random().toString(36).slice(2)}`, wallet });
  let answered = false;
  reader.connect();
  try {
    await until('a fresh device has read the log', () => {
      answered ||= reader.latest > 0;
      return answered && reader.log.length >= reader.latest;
    }, 60_000);
    return reader.log;
  } finally {
    reader.close();
  }
}
