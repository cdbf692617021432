// The relay with its journal on disk, and devices that write histories through it by the JSON of PROTOCOL.md.
import { spawn } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';
import { relayBinary } from '../../../scripts/build.mjs';
import { digestOf, firstDigest } from '../../../tests/e2e/harness/digest.mjs';
import { historyRecord } from '../../records.mjs';

export async function start(folder) {
  const relay = spawn(relayBinary(), ['--listen', '127.0.0.1:0', '--journal', join(folder, 'journal.db'), '--log', 'warn', '--auth', 'open'], { stdio: ['ignore', 'pipe', 'inherit'] });
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
  async function write({ id, length, digests }, texts) {
    const writers = new Map();
    for (const [index, text] of texts.entries()) {
      const record = historyRecord(length + index, text);
      if (!writers.has(record.device)) writers.set(record.device, await openWriter(port, id, record, digests));
      await writers.get(record.device).write(record, length + index);
    }
    for (const writer of writers.values()) writer.close();
  }

  return {
    port,
    async prepare(name, texts) {
      const wallets = [newWallet(), newWallet()];
      const session = { id: sessionOf(wallets[0].address, wallets[1].address), length: 0, digests: new Map() };
      await write(session, texts);
      session.length = texts.length;
      sessions.set(name, session);
      return wallets;
    },
    async append(name, text) {
      const session = sessions.get(name);
      await write(session, [text]);
      session.length += 1;
    },
    async stop() {
      relay.kill('SIGTERM');
      await once(relay, 'exit');
    },
  };
}

/** One device on a connection of its own; `digests` has the last of each device of the session. */
async function openWriter(port, sessionId, { device, wallet }, digests) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, 'solconnect.sync.v1.json');
  let frames = 0;
  let acknowledged = null;
  socket.on('message', (data) => {
    const frame = JSON.parse(data);
    if (frame.type === 'sync_ack') acknowledged?.resolve();
    else if (frame.error) acknowledged?.reject(new Error(`${frame.code}: ${frame.error}`));
  });
  const send = (type, fields) => {
    frames += 1;
    const head = { type, sessionId, deviceId: device, timestamp: Date.now(), messageId: `${device}-${frames}`, protocolVersion: 1 };
    socket.send(JSON.stringify({ ...head, ...fields }));
  };
  await once(socket, 'open');
  send('device_announce', { deviceInfo: { platform: 'bench', version: '1.0.0' }, syncState: { lastSyncedSequence: 0, vectorClock: {} }, wallet });
  return {
    write({ clock, time, text }, knows) {
      const counter = clock[device];
      const message = { id: `${sessionId}:${device}:${counter}`, sender_wallet: wallet, ciphertext: text, timestamp: time, session_id: sessionId };
      const entry = { message, originalDeviceId: device, counter, knows, sequenceNumber: 0, serverTimestamp: Date.now() };
      const digest = digestOf(entry, digests.get(device) ?? firstDigest(sessionId, device));
      digests.set(device, digest);
      return new Promise((resolve, reject) => {
        acknowledged = { resolve, reject };
        send('sync_update', { messages: [entry], lastDigest: digest.toString('hex') });
      });
    },
    close: () => socket.close(),
  };
}

const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

function newWallet() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const bytes = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  // A leading zero is written in a way of its own in base58.
  if (bytes[0] === 0) return newWallet();
  let number = BigInt(`0x${bytes.toString('hex')}`);
  let address = '';
  for (; number > 0n; number /= 58n) address = alphabet[Number(number % 58n)] + address;
  return { address, pkcs8: privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64') };
}

/** PROTOCOL.md, section 2. */
function sessionOf(one, other) {
  const [first, second] = one <= other ? [one, other] : [other, one];
  const bytes = createHash('sha256').update(`solconnect.session.v1\0${first}\0${second}`).digest().subarray(0, 16);
  bytes[6] = 0x80 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
