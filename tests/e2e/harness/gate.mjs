// A relay's address at which a page can be stopped in the midst of its own code: it asks for `/gate` by a synchronous request, and goes on
// when that is answered. All else is passed on to the relay.
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';

export async function startGate(relayPort) {
  const gate = new Gate(relayPort);
  await gate.listen();
  return gate;
}

class Gate {
  #relayPort;
  #server = createServer((asked, answer) => this.#serve(asked, answer));
  #answers = [];
  #arrived = [];
  #waiting = [];

  constructor(relayPort) {
    this.#relayPort = relayPort;
    this.#server.on('upgrade', (asked, socket, head) => this.#join(asked, socket, head));
  }

  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get endpoint() {
    return `ws://127.0.0.1:${this.#server.address().port}/`;
  }

  /** The next page that comes to the gate: what it says of itself. It waits there. */
  next() {
    if (this.#arrived.length > 0) return this.#arrived.shift();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** All that wait go on. */
  open() {
    for (const answer of this.#answers.splice(0)) answer.end();
  }

  close() {
    this.open();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #serve(asked, answer) {
    const { pathname, search } = new URL(asked.url, 'http://gate');
    if (pathname === '/gate') {
      this.#answers.push(answer);
      const says = decodeURIComponent(search.slice(1));
      if (this.#waiting.length > 0) this.#waiting.shift()(says);
      else this.#arrived.push(says);
      return;
    }
    const { method, url, headers } = asked;
    const passed = request({ host: '127.0.0.1', port: this.#relayPort, method, path: url, headers }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    asked.pipe(passed);
  }

  #join(asked, socket, head) {
    const relay = connect(this.#relayPort, '127.0.0.1', () => {
      const lines = [`${asked.method} ${asked.url} HTTP/1.1`];
      for (let place = 0; place < asked.rawHeaders.length; place += 2) lines.push(`${asked.rawHeaders[place]}: ${asked.rawHeaders[place + 1]}`);
      relay.write(`${lines.join('\r\n')}\r\n\r\n`);
      relay.write(head);
      relay.pipe(socket).pipe(relay);
    });
    for (const [one, other] of [[socket, relay], [relay, socket]]) {
      one.on('error', () => {});
      one.on('close', () => other.destroy());
    }
  }
}
