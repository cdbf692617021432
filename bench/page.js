// What every contender's page does. The contender is a module with `open`, which gives a client of these methods:
//   connect()            goes online; until then the client is offline
//   append(record)       stores a message of this device, and sends it where there is a connection; resolves when it is stored
//   allSent()            resolves when the server has all that was appended (absent where a client cannot know: its server is asked)
//   has(count)           resolves when that many messages are stored here
//   count()              how many are
//   read(index)          the text of one message, by its place
//   listen(listener)     from now on `received(count)` is called as messages of others come, and `stored(count)` once they are stored
import { ownRecord } from './records.mjs';

const clockMs = () => performance.timeOrigin + performance.now();

export function drive({ open }) {
  let client;
  const received = [];
  const stored = [];
  let awaited = null;

  const bench = {
    async open(options) {
      client = await open(options);
    },

    async connect(count) {
      await client.connect();
      await client.has(count);
    },

    /** Appends one after the other; milliseconds. */
    async appendOneByOne(texts) {
      const start = performance.now();
      for (let index = 0; index < texts.length; index += 1) await client.append(ownRecord(index + 1, texts[index]));
      return performance.now() - start;
    },

    /** Goes online with what was appended before; when it did, and when the server had all, where the client knows. */
    async drain() {
      const start = clockMs();
      await client.connect();
      await client.allSent?.();
      return { start, end: client.allSent ? clockMs() : null };
    },

    /** Goes online without anything; milliseconds until all of the history is stored and can be read one by one. */
    async catchUp(count) {
      const start = performance.now();
      await client.connect();
      await client.has(count);
      for (const index of [0, count >> 1, count - 1]) await client.read(index);
      return performance.now() - start;
    },

    count: () => client.count(),

    async read(indexes) {
      const texts = [];
      for (const index of indexes) texts.push(await client.read(index));
      return texts;
    },

    async listen() {
      await client.listen({
        received: (count) => note(received, count),
        stored(count) {
          note(stored, count);
          if (awaited && stored.length >= awaited.count) awaited.resolve();
        },
      });
    },

    /** When message number `count` was received, and when it was stored. Waits for it. */
    async heard(count) {
      if (stored.length < count) {
        await new Promise((resolve) => {
          awaited = { count, resolve };
        });
      }
      return { received: received[count - 1], stored: stored[count - 1] };
    },

    /** Appends one; when it was called. */
    async appendOne(counter, text) {
      const start = clockMs();
      await client.append(ownRecord(counter, text));
      return start;
    },

    /** Appends all at once; when it began. */
    async appendAll(texts) {
      const records = texts.map((text, index) => ownRecord(index + 1, text));
      const start = clockMs();
      await Promise.all(records.map((record) => client.append(record)));
      return start;
    },

    /** For pages that start by themselves: milliseconds since the navigation began, and the last message's text. */
    finished: () => finished,
  };

  // A page whose address says what to open starts at once, as an application's would.
  const start = location.hash && JSON.parse(decodeURIComponent(location.hash.slice(1)));
  const finished = start && selfStart(start);
  finished?.catch?.(() => {});
  globalThis.benchIsReady(bench);

  async function selfStart({ options, count }) {
    await bench.open(options);
    await bench.connect(count);
    const text = await client.read(count - 1);
    return { ms: performance.now(), text };
  }
}

function note(times, count) {
  const now = clockMs();
  for (let each = 0; each < count; each += 1) times.push(now);
}
