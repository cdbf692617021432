// A device with a key, without the SDK: it signs in and signs what it writes as docs/security.md says, in the JSON of PROTOCOL.md. Its
// wallet signs for it on the way.
import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { digestOf, firstDigest, sha256, text, varint, walletKey } from './digest.mjs';
import { base58 } from './wallet.mjs';

const statement = 'Adds this device to your account. It can read your messages and write in your name.';
const dayMs = 86_400_000;
const joinByte = 1;
const layoutByte = 1;
const accountKind = 5;

const label = (name) => Buffer.from(`${name}\0`);
const fromHex = (hex) => Buffer.from(hex, 'hex');
const publicBytes = (privateKey) => Buffer.from(privateKey.export({ format: 'jwk' }).x, 'base64url');

/** A version 8 UUID of a hash. */
function uuidOf(hash) {
  const bytes = Buffer.from(hash.subarray(0, 16));
  bytes[6] = 0x80 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** What a wallet (of wallet.mjs) is in the application of these domains. */
export class Account {
  #key;
  /** The domains as they are hashed. */
  #names;

  constructor(wallet, domains) {
    this.#key = createPrivateKey({ key: Buffer.from(wallet.pkcs8, 'base64'), format: 'der', type: 'pkcs8' });
    this.wallet = wallet.address;
    this.domains = [...domains].sort();
    this.#names = [varint(this.domains.length), ...this.domains.map((domain) => text(domain))];
    this.id = `account:${uuidOf(sha256(label('solconnect.account-id.v1'), publicBytes(this.#key), ...this.#names))}`;
  }

  /** The id of the session with another wallet. */
  sessionWith(address) {
    const keys = [publicBytes(this.#key), walletKey(address)].sort(Buffer.compare);
    return uuidOf(sha256(label('solconnect.pair-id.v1'), ...this.#names, ...keys));
  }

  /** Of the device that has this key, as it stands in a statement. */
  certificate(deviceKey) {
    const nowMs = Date.now();
    const said = [
      `${this.domains[0]} wants you to sign in with your Solana account:`, this.wallet, '', statement, '',
      'Version: 1', `Issued At: ${new Date(nowMs).toISOString()}`, `Expiration Time: ${new Date(nowMs + dayMs).toISOString()}`,
      'Resources:', `- solconnect:join:${base58(deviceKey)}`, `- solconnect:${this.id}`,
    ].join('\n');
    return Buffer.concat([text(said), sign(null, Buffer.from(said), this.#key)]);
  }
}

/** One that writes into one session, and waits for the relay each time. Throws what the relay refuses. */
export class SignedDevice {
  #account;
  #key = generateKeyPairSync('ed25519').privateKey;
  #public = publicBytes(this.#key);
  #socket;
  #frames = [];
  #waiting = null;
  #sent = 0;
  #digest;
  id = base58(sha256(this.#public).subarray(0, 16));

  constructor(account) {
    this.#account = account;
  }

  /** Connects to the relay on that port of this machine, signs in, and takes part in the session with that wallet. */
  async join(port, peerWallet) {
    this.sessionId = this.#account.sessionWith(peerWallet);
    this.#digest = firstDigest(this.sessionId, this.id);
    this.#socket = new WebSocket(`ws://127.0.0.1:${port}/`, 'solconnect.sync.v1.json');
    this.#socket.on('message', (data) => this.#take(JSON.parse(data)));
    this.#socket.on('error', (error) => this.#take({ code: 'CONNECTION', error: error.message }));
    await once(this.#socket, 'open');
    // The second one has the head of the account, behind which it is to be listed.
    for (let said = await this.#next('hello'); said.type === 'hello'; said = await this.#next('hello', 'signed_in')) this.#signIn(said, `127.0.0.1:${port}`);
    this.#send('device_announce', this.sessionId, { deviceInfo: { platform: 'plain', version: '1' }, syncState: { lastSyncedSequence: 0, vectorClock: {} }, wallet: this.#account.wallet, peerWallet });
  }

  #signIn({ nonce, relayKey, account }, relay) {
    const { id, wallet, domains } = this.#account;
    const own = randomBytes(16);
    const challenge = Buffer.concat([label('solconnect.sign-in.v1'), text(relay), fromHex(relayKey), fromHex(nonce), own, text(id), this.#public]);
    this.#send('sign_in', '', {
      wallet, domains, key: this.#public.toString('hex'), relay, nonce, deviceNonce: own.toString('hex'),
      proof: sign(null, challenge, this.#key).toString('hex'),
      messages: account ? [this.#joining(account)] : [],
    });
  }

  /** The entry that lists it, right behind this log head of the account. */
  #joining({ sequence, hash }) {
    const { id, wallet } = this.#account;
    const claim = Buffer.concat([Buffer.from([layoutByte]), varint(sequence), fromHex(hash), this.#public, Buffer.from([joinByte]), this.#account.certificate(this.#public)]);
    const signature = sign(null, Buffer.concat([label('solconnect.account-entry.v1'), text(id), claim]), this.#key);
    const message = {
      id: `${id}:${this.id}:1`, sender_wallet: wallet, ciphertext: Buffer.concat([claim, signature]).toString('base64'),
      timestamp: new Date().toISOString(), session_id: id, kind: accountKind,
    };
    return { message, originalDeviceId: this.id, counter: 1, knows: sequence, sequenceNumber: 0, serverTimestamp: Date.now() };
  }

  /** Writes a message that knows the first `knows` entries of the log; where it stands. */
  async write({ counter, knows, time, said }) {
    const message = { id: `${this.sessionId}:${this.id}:${counter}`, sender_wallet: this.#account.wallet, ciphertext: said, timestamp: time, session_id: this.sessionId };
    const entry = { message, originalDeviceId: this.id, counter, knows, sequenceNumber: 0, serverTimestamp: Date.now() };
    this.#digest = digestOf(entry, this.#digest);
    // It stores no log, so it says that it has seen none.
    const seen = { sequence: 0, hash: sha256(label('solconnect.log.v1'), text(this.sessionId)).toString('hex') };
    const covered = Buffer.concat([label('solconnect.update.v1'), text(this.sessionId), this.#digest, varint(seen.sequence), fromHex(seen.hash)]);
    const signature = { key: this.#public.toString('hex'), counter, seen, signature: sign(null, covered, this.#key).toString('hex') };
    this.#send('sync_update', this.sessionId, { messages: [entry], lastDigest: this.#digest.toString('hex'), signature });
    const { acknowledgedSequences } = await this.#next('sync_ack');
    return acknowledgedSequences[0];
  }

  close() {
    this.#socket.close();
  }

  #send(type, sessionId, fields) {
    this.#sent += 1;
    const head = { type, sessionId, deviceId: this.id, timestamp: Date.now(), messageId: `${this.#sent}`, protocolVersion: 1 };
    this.#socket.send(JSON.stringify({ ...head, ...fields }));
  }

  #take(frame) {
    this.#frames.push(frame);
    this.#waiting?.();
  }

  /** The next frame of one of these types. */
  async #next(...types) {
    for (;;) {
      for (let frame = this.#frames.shift(); frame; frame = this.#frames.shift()) {
        if (frame.error) throw new Error(`${frame.code}: ${frame.error}`);
        if (types.includes(frame.type)) return frame;
      }
      await new Promise((resolve) => {
        this.#waiting = resolve;
      });
    }
  }
}
