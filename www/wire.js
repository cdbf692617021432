// What a device says to the relay, read from the bytes as they leave: nothing else shows what a relay sees. PROTOCOL.md, section 9, has
// the form.

const SYNC_UPDATE = 21;
const BATCH = 1;
const MESSAGE = 0;
const [NONCE_BYTES, TAG_BYTES] = [12, 16];

/** Reads bytes one after the other. */
class Reader {
  #at = 0;

  constructor(bytes) {
    this.bytes = bytes;
  }

  get at() {
    return this.#at;
  }

  get isOver() {
    return this.#at >= this.bytes.length;
  }

  take(count) {
    if (this.#at + count > this.bytes.length) throw new RangeError('the bytes end too early');
    this.#at += count;
    return this.bytes.subarray(this.#at - count, this.#at);
  }

  /** Below 2^53: nothing here is more. */
  varint() {
    let number = 0;
    for (let factor = 1; ; factor *= 128) {
      const [byte] = this.take(1);
      number += (byte % 128) * factor;
      if (byte < 128) return number;
    }
  }

  zigzag() {
    const number = this.varint();
    return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
  }

  block() {
    return this.take(this.varint());
  }

  text() {
    return new TextDecoder().decode(this.block());
  }

  /** A session or a wallet. */
  name() {
    const kind = this.varint();
    return this.take(kind === 0 ? 32 : kind === 1 ? 16 : kind - 2);
  }
}

/** The last field of this number of a message of Protocol Buffers. */
function fieldOf(bytes, wanted) {
  const reader = new Reader(bytes);
  let found = null;
  while (!reader.isOver) {
    const tag = reader.varint();
    const [field, kind] = [Math.floor(tag / 8), tag % 8];
    const value = kind === 0 ? reader.varint() : kind === 2 ? reader.block() : reader.take(kind === 1 ? 8 : 4);
    if (field === wanted) found = value;
  }
  return found;
}

/** The entries of a batch as it is sent: the device, its counter, the kind, and the bytes of the text. */
function entriesOf(batch) {
  const reader = new Reader(batch);
  const [layout, flags] = reader.take(2);
  if (layout !== 2 || flags !== 0) throw new RangeError('the batch has another layout');
  reader.name();
  reader.varint();
  const count = reader.varint();
  for (let rest = reader.varint(); rest > 0; rest -= 1) reader.name();
  const devices = Array.from({ length: reader.varint() }, () => {
    const deviceId = reader.text();
    reader.text();
    reader.varint();
    return { deviceId, counter: reader.varint() };
  });
  const rows = new Reader(reader.block());
  let place = 0;
  return Array.from({ length: count }, () => {
    const bits = rows.varint();
    const has = (bit) => Math.floor(bits / 2 ** bit) % 2 === 1;
    if (has(0)) place = rows.varint();
    const device = devices[place];
    device.counter += 1 + (has(7) ? rows.zigzag() : 0);
    if (has(3)) rows.varint();
    for (let rest = has(8) ? rows.varint() : 0; rest > 0; rest -= 1) [rows.text(), rows.varint()];
    const kind = has(9) ? rows.varint() : 0;
    for (const bit of [5, 10, 11]) if (has(bit)) rows.block();
    if (has(4)) rows.varint();
    for (const bit of [13, 14]) if (has(bit)) rows.block();
    if (!has(12)) rows.zigzag();
    else if (has(6)) rows.take(8);
    else rows.block();
    rows.zigzag();
    return { deviceId: device.deviceId, counter: device.counter, kind, length: rows.varint() };
  }).map(({ length, ...entry }) => ({ ...entry, bytes: reader.take(length).slice() }));
}

/** The bytes of an encrypted text: its epoch, and how many of them are what. */
export function partsOf(bytes) {
  const reader = new Reader(bytes);
  reader.take(1);
  const epoch = reader.varint();
  return { epoch, head: reader.at, nonce: NONCE_BYTES, padded: bytes.length - reader.at - NONCE_BYTES - TAG_BYTES, tag: TAG_BYTES };
}

/** From now on tells of the messages in each frame that this page sends to the relay. */
export function listenToWire(tell) {
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (data) {
    try {
      const update = fieldOf(new Uint8Array(data.buffer ?? data, data.byteOffset, data.byteLength), SYNC_UPDATE);
      const batch = update && fieldOf(update, BATCH);
      const messages = batch ? entriesOf(batch).filter(({ kind }) => kind === MESSAGE) : [];
      if (messages.length > 0) tell(messages);
    } catch (error) {
      // What cannot be read here is sent all the same.
      console.error(error);
    }
    return send.call(this, data);
  };
}
