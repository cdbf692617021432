// A good hand-written client: a plain WebSocket, batches of JSON, one IndexedDB record per message. With `durable` its own
// messages are on the disk before they are sent, and those of others are stored before the application hears of them.

export async function open({ port, access: session, strict, durable }) {
  const client = new Raw(await openDatabase(), `ws://127.0.0.1:${port}/`, session, strict || durable ? 'strict' : 'relaxed', durable);
  await client.load();
  return client;
}

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

function openDatabase() {
  const request = indexedDB.open('raw', 1);
  request.onupgradeneeded = () => {
    const messages = request.result.createObjectStore('messages', { keyPath: 'id' });
    messages.createIndex('place', 'place');
    messages.createIndex('unsent', 'unsent');
  };
  return done(request);
}

class Raw {
  /** Messages of this device that the server has not acknowledged. */
  #unsent = new Map();
  #cursor = 0;
  #socket = null;
  #outgoing = [];
  #listener = null;
  #waiting = [];

  constructor(database, url, session, ownDurability, storeFirst) {
    Object.assign(this, { database, url, session, ownDurability, storeFirst });
  }

  async load() {
    const messages = this.#read();
    const [last, unsent] = await Promise.all([done(messages.index('place').openKeyCursor(null, 'prev')), done(messages.index('unsent').getAll())]);
    this.#cursor = last?.key ?? 0;
    for (const record of unsent) this.#unsent.set(record.id, record);
  }

  connect() {
    const socket = new WebSocket(this.url);
    socket.onopen = () => {
      this.#socket = socket;
      socket.send(JSON.stringify({ session: this.session, from: this.#cursor }));
      this.#send([...this.#unsent.values()]);
    };
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
  }

  /** What is appended in one turn shares a transaction and a frame. */
  append(record) {
    return new Promise((resolve, reject) => {
      this.#outgoing.push({ record: { ...record, unsent: 1 }, resolve, reject });
      if (this.#outgoing.length === 1) queueMicrotask(() => this.#flush());
    });
  }

  async #flush() {
    const group = this.#outgoing;
    this.#outgoing = [];
    const records = group.map(({ record }) => record);
    try {
      await this.#store(records, this.ownDurability);
    } catch (error) {
      for (const { reject } of group) reject(error);
      return;
    }
    for (const record of records) this.#unsent.set(record.id, record);
    this.#send(records);
    for (const { resolve } of group) resolve();
  }

  #send(records) {
    if (!this.#socket) return;
    for (let start = 0; start < records.length; start += 500) {
      const messages = records.slice(start, start + 500).map(({ unsent, ...message }) => message);
      this.#socket.send(JSON.stringify({ messages }));
    }
  }

  async #hear({ messages, taken }) {
    if (messages && !this.storeFirst) this.#listener?.received(messages.length);
    // An acknowledgement gives own messages their places.
    const records = messages ?? taken.map(({ id, place }) => {
      const { unsent, ...message } = this.#unsent.get(id);
      return { ...message, place };
    });
    if (taken) for (const { id } of taken) this.#unsent.delete(id);
    if (this.#unsent.size === 0) this.#wake();
    // The server has them.
    await this.#store(records, 'relaxed');
    this.#cursor = Math.max(this.#cursor, records.at(-1)?.place ?? 0);
    if (messages && this.storeFirst) this.#listener?.received(messages.length);
    if (messages) this.#listener?.stored(messages.length);
    this.#wake();
  }

  #store(records, durability) {
    const transaction = this.database.transaction('messages', 'readwrite', { durability });
    const messages = transaction.objectStore('messages');
    for (const record of records) messages.put(record);
    transaction.commit();
    return new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
  }

  #read() {
    return this.database.transaction('messages').objectStore('messages');
  }

  allSent() {
    return this.#until(() => this.#unsent.size === 0);
  }

  has(count) {
    return this.#until(() => this.#cursor >= count);
  }

  #until(condition) {
    if (condition()) return undefined;
    return new Promise((resolve) => this.#waiting.push({ condition, resolve }));
  }

  #wake() {
    this.#waiting = this.#waiting.filter(({ condition, resolve }) => {
      if (!condition()) return true;
      resolve();
      return false;
    });
  }

  count() {
    return done(this.#read().count());
  }

  async read(index) {
    return (await done(this.#read().index('place').get(index + 1))).text;
  }

  listen(listener) {
    this.#listener = listener;
  }
}
