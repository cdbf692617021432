// Digests of PROTOCOL.md, section 10, for the plain messages that a test's own devices write: without `also`, content type, unknown
// fields and extensions.
import { createHash } from 'node:crypto';

const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

export const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest();

export function varint(number) {
  const bytes = [];
  let rest = BigInt(number);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

export function text(value) {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(bytes.length), bytes]);
}

/** A wallet address as its 32 bytes. */
export function walletKey(address) {
  let number = 0n;
  for (const character of address) number = number * 58n + BigInt(alphabet.indexOf(character));
  return Buffer.from(number.toString(16).padStart(64, '0'), 'hex');
}

const walletName = (address) => Buffer.concat([Buffer.from([0]), walletKey(address)]);

/** Where the chain of a device's digests in a session begins. */
export function firstDigest(sessionId, deviceId) {
  return sha256(Buffer.from('solconnect.chain.v1\0'), text(sessionId), text(deviceId));
}

/** The digest of an entry, given that of the device's entry before it. Its id is `<session>:<device>:<counter>`, its time ISO 8601. */
export function digestOf(entry, previous) {
  const { message, counter, knows } = entry;
  const [kind, fields] = [0, 0];
  return sha256(
    previous,
    varint(counter), varint(knows), varint(kind), varint(fields),
    walletName(message.sender_wallet),
    text(''),
    varint(Date.parse(message.timestamp)),
    Buffer.from(message.ciphertext),
  );
}
