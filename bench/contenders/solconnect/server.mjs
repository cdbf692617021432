// The relay with its journal on disk, and devices that write histories through it by the JSON of PROTOCOL.md.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { relayBinary } from '../../../scripts/build.mjs';
import { Account, SignedDevice } from '../../../tests/e2e/harness/signed-device.mjs';
import { newWallet } from '../../../tests/e2e/harness/wallet.mjs';
import { devices, historyRecord } from '../../records.mjs';
import { domainsAt } from './domains.mjs';

export async function start(folder, { webPort }) {
  const relay = spawn(relayBinary('dist'), ['--listen', '127.0.0.1:0', '--journal', join(folder, 'journal.db'), '--log', 'warn'], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => relay.kill('SIGKILL'));
  const port = await new Promise((resolve, reject) => {
    createInterface({ input: relay.stdout }).on('line', (line) => {
      const found = /^listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (found) resolve(Number(found));
    });
    relay.on('error', reject);
    relay.on('exit', (code) => reject(new Error(`the relay ended with code ${code}`)));
  });
  const sessions = new Map();

  /** Writes these messages in their order: each knows those before it, so each waits for the one before. */
  async function write(session, texts) {
    for (const text of texts) {
      const { device, clock, time } = historyRecord(session.length, text);
      const writer = session.writers.get(device) ?? await takePart(session, device);
      await writer.write({ counter: clock[device], knows: session.length, time, said: text });
      session.length += 1;
    }
  }

  /** Every other device is the second wallet's. */
  async function takePart(session, device) {
    const [own, peer] = devices.indexOf(device) % 2 === 0 ? session.wallets : session.wallets.toReversed();
    const writer = new SignedDevice(new Account(own, domainsAt(webPort)));
    await writer.join(port, peer.address);
    session.writers.set(device, writer);
    return writer;
  }

  return {
    port,
    async prepare(name, texts) {
      const wallets = [newWallet(), newWallet()];
      const session = { wallets, length: 0, writers: new Map() };
      sessions.set(name, session);
      await write(session, texts);
      return wallets;
    },
    append: (name, text) => write(sessions.get(name), [text]),
    async stop() {
      relay.kill('SIGTERM');
      await once(relay, 'exit');
    },
  };
}
