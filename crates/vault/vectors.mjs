// Another implementation of docs/encryption.md, written from its text, without the crate: prints the values of vectors.json.
//   node crates/vault/vectors.mjs > crates/vault/vectors.json
import { createCipheriv, createHash, createHmac, createPrivateKey, createPublicKey, diffieHellman, sign } from 'node:crypto';

const utf8 = (text) => Buffer.from(text, 'utf8');
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const unhex = (text) => Buffer.from(text, 'hex');
const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest();
const hmac = (key, ...parts) => createHmac('sha256', key).update(Buffer.concat(parts)).digest();
/** 32 bytes, or as many as are asked for, that look random and are always the same. */
const bytes = (name, length = 32) => Buffer.concat([sha256(utf8(name)), sha256(utf8(`${name}, more`))]).subarray(0, length);

function varint(number) {
  const out = [];
  let rest = BigInt(number);
  for (; rest >= 0x80n; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...out, Number(rest)]);
}
const text = (value) => Buffer.concat([varint(utf8(value).length), utf8(value)]);

const extract = (salt, secret) => hmac(salt, secret);
function expand(key, info, length = 32) {
  let [out, block] = [Buffer.alloc(0), Buffer.alloc(0)];
  for (let counter = 1; out.length < length; counter += 1) {
    block = hmac(key, block, info, Buffer.from([counter]));
    out = Buffer.concat([out, block]);
  }
  return out.subarray(0, length);
}

// X25519
const asPrivate = (secret) => createPrivateKey({ key: Buffer.concat([unhex('302e020100300506032b656e04220420'), secret]), format: 'der', type: 'pkcs8' });
const asPublic = (key) => createPublicKey({ key: Buffer.concat([unhex('302a300506032b656e032100'), key]), format: 'der', type: 'spki' });
const publicOf = (secret) => createPublicKey(asPrivate(secret)).export({ format: 'der', type: 'spki' }).subarray(-32);
const shared = (secret, key) => diffieHellman({ privateKey: asPrivate(secret), publicKey: asPublic(key) });

// RFC 9180
const kem = Buffer.concat([utf8('KEM'), unhex('0020')]);
const suite = Buffer.concat([utf8('HPKE'), unhex('002000010003')]);
const labeledExtract = (id, salt, label, material) => extract(salt, Buffer.concat([utf8('HPKE-v1'), id, utf8(label), material]));
function labeledExpand(id, key, label, info, length) {
  const size = Buffer.from([length >> 8, length & 0xff]);
  return expand(key, Buffer.concat([size, utf8('HPKE-v1'), id, utf8(label), info]), length);
}
const none = Buffer.alloc(0);

function encrypt(key, nonce, aad, plain) {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  cipher.setAAD(aad, { plaintextLength: plain.length });
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

export function hpkeSeal(to, info, plain, material, aad = none) {
  const ephemeral = labeledExpand(kem, labeledExtract(kem, none, 'dkp_prk', material), 'sk', none, 32);
  const enc = publicOf(ephemeral);
  const prk = labeledExtract(kem, none, 'eae_prk', shared(ephemeral, to));
  const secret = labeledExpand(kem, prk, 'shared_secret', Buffer.concat([enc, to]), 32);
  const context = Buffer.concat([Buffer.from([0]), labeledExtract(suite, none, 'psk_id_hash', none), labeledExtract(suite, none, 'info_hash', info)]);
  const schedule = labeledExtract(suite, secret, 'secret', none);
  const key = labeledExpand(suite, schedule, 'key', context, 32);
  const nonce = labeledExpand(suite, schedule, 'base_nonce', context, 12);
  return Buffer.concat([enc, encrypt(key, nonce, aad, plain)]);
}

// docs/encryption.md
const label = (name) => utf8(`solconnect.${name}.v1\0`);
const seal = (to, info, plain, random) => hpkeSeal(to, info, plain, expand(extract(random, plain), Buffer.concat([label('ephemeral'), to, info])));

function epochOf({ after, number, author, recipients, random }) {
  const [secret, rest] = [random.subarray(0, 32), random.subarray(32)];
  const parts = [Buffer.from([1]), after, varint(number), varint(recipients.length)];
  for (const { wallet, sequence, hash, generation, accountKey } of recipients) {
    parts.push(wallet, varint(sequence), sequence > 0 ? hash : none, varint(generation));
    if (generation === 0) continue;
    const info = Buffer.concat([label('epoch-secret'), after, varint(number), text(author), wallet, varint(generation)]);
    parts.push(seal(accountKey, info, secret, rest));
  }
  const transcript = sha256(label('epoch'), text(author), ...parts);
  const key = extract(transcript, secret);
  const tag = expand(key, label('confirm'));
  return { entry: Buffer.concat([...parts, tag]), transcript, secret, key, tag };
}

function paddedBytes(length) {
  for (let size = 32; ; size += size < 512 ? 32 : 2 ** Math.floor(Math.log2(size)) / 8) if (size > length) return size;
}
function pad(content) {
  const padded = Buffer.alloc(paddedBytes(content.length));
  content.copy(padded);
  padded[content.length] = 0x80;
  return padded;
}

function encryptedText({ epoch, key, device, previous, counter, knows, kind, id, content }) {
  const keys = expand(key, Buffer.concat([label('text-key'), text(device)]), 64);
  const aad = Buffer.concat([previous, varint(counter), varint(knows), varint(kind), text(id)]);
  const padded = pad(content);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(aad.length));
  const nonce = hmac(keys.subarray(32), size, aad, padded).subarray(0, 12);
  return Buffer.concat([Buffer.from([1]), varint(epoch), nonce, encrypt(keys.subarray(0, 32), nonce, aad, padded)]);
}

function resealOf({ author, wallet, generation, accountKey, epochs, random }) {
  const head = Buffer.concat([label('reseal'), text(author), wallet, varint(generation), varint(epochs.length)]);
  const info = Buffer.concat([head, ...epochs.map(({ transcript }) => transcript)]);
  const sealed = seal(accountKey, info, Buffer.concat(epochs.map(({ secret }) => secret)), random);
  const numbers = Buffer.concat([varint(epochs.length), ...epochs.map(({ number }) => varint(number))]);
  return Buffer.concat([Buffer.from([1]), varint(1), wallet, varint(generation), numbers, sealed]);
}

function generationOf({ account, number, to, earlierSecret, random }) {
  const [secret, rest] = [random.subarray(0, 32), random.subarray(32)];
  const key = publicOf(secret);
  const info = Buffer.concat([label('account-key'), text(account), varint(number), key]);
  const parts = [varint(number), key, Buffer.from([earlierSecret ? 1 : 0])];
  if (earlierSecret) parts.push(seal(key, Buffer.concat([label('earlier-key'), text(account), varint(number), publicOf(earlierSecret)]), earlierSecret, rest));
  parts.push(varint(to.length), ...to.map((one) => seal(one, info, secret, rest)));
  return { generation: Buffer.concat(parts), secret };
}

// The recovery code, with tables.
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const powers = [1];
while (powers.length < 31) powers.push((powers.at(-1) << 1) ^ (powers.at(-1) & 16 ? 0b100101 : 0));
const times = (one, other) => (one && other ? powers[(powers.indexOf(one) + powers.indexOf(other)) % 31] : 0);

function codeOf(random) {
  const bits = [...random].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const values = Array.from({ length: 26 }, (_, place) => parseInt(bits.slice(5 * place, 5 * place + 5), 2));
  const isGood = (all) => all.reduce((sum, value) => sum ^ value, 0) === 0 && all.reduce((sum, value, place) => sum ^ times(powers[place], value), 0) === 0;
  for (let first = 0; first < 32; first += 1) {
    for (let second = 0; second < 32; second += 1) {
      const all = [...values, first, second];
      if (isGood(all)) return all.map((value) => alphabet[value]).join('').match(/..../g).join('-');
    }
  }
  throw new Error('There are always two checks that fit.');
}
function recoveryKeys(name, secret, account) {
  const both = expand(extract(label(name), secret), text(account), 64);
  return { sealKey: hex(publicOf(both.subarray(0, 32))), signingSecret: hex(both.subarray(32)) };
}
/** The key of a lock, and its record. */
function lockOf(kind, begin, secret) {
  const [key, proof] = ['key', 'proof'].map((info) => expand(extract(label(`lock-by-${kind}`), secret), utf8(info)));
  return { lock: begin, key, record: Buffer.concat([begin, proof]) };
}
function packed(random) {
  const out = Buffer.from(random);
  out[16] &= 0b1100_0000;
  return out;
}

// Ed25519
const asSigning = (secret) => createPrivateKey({ key: Buffer.concat([unhex('302e020100300506032b657004220420'), secret]), format: 'der', type: 'pkcs8' });
const verifyingOf = (secret) => createPublicKey(asSigning(secret)).export({ format: 'der', type: 'spki' }).subarray(-32);

// Claims of the account log.
function claimsOf({ account, devices, kept, sealKey, generation, sealed, recoverySecret, head, deviceKey }) {
  const claim = (number, ...parts) => Buffer.concat([Buffer.from([number]), ...parts]);
  const ids = (list) => Buffer.concat([varint(list.length), ...list.map(text)]);
  const recoveryKey = verifyingOf(recoverySecret);
  const signed = Buffer.concat([label('recover'), text(account), varint(head.sequence), head.hash, deviceKey]);
  return {
    recoveryKey,
    sealKeyClaim: claim(6, sealKey),
    generationClaim: claim(7, generation),
    removeClaim: claim(8, ids(devices), ids(kept), generation),
    approveClaim: claim(9, varint(devices.length), ...devices.flatMap((id) => [text(id), sealed])),
    codeClaim: claim(10, Buffer.from([1]), recoveryKey, sealKey, sealed),
    passkeyClaim: claim(10, Buffer.from([2]), recoveryKey, sealKey, sealed),
    recoverClaim: claim(11, recoveryKey, sign(null, signed, asSigning(recoverySecret))),
  };
}

/** Byte strings in hex, at any depth. */
const written = (value) => {
  if (Buffer.isBuffer(value)) return hex(value);
  if (Array.isArray(value)) return value.map(written);
  return value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, written(one)])) : value;
};

export function vectors() {
  const session = '8c9a1f8e-4c11-8a55-9d10-0f6f0b1d2e3f';
  const account = 'account:a8bf3f61-bda3-8a6f-8c17-ae2833d0f008';
  const [author, device] = ['9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu', 'DeTSfmxgv4Z92NiMDHRi3h'];
  const accountSecrets = [bytes('account one'), bytes('account two')];
  const wallets = [bytes('wallet one'), bytes('wallet two'), bytes('wallet three')].sort(Buffer.compare);
  const first = sha256(label('transcript'), text(session));
  const digest = bytes('digest of an entry that adds a wallet');
  const afterMembership = sha256(label('membership'), first, digest);

  const seals = ['', 'info', 'a longer info that has more than one block of the hash, which is 64 bytes'].map((info, index) => {
    const [secret, plain, random] = [bytes(`secret ${index}`), bytes(`plain ${index}`, 32 + index), bytes(`random ${index}`)];
    const to = publicOf(secret);
    return { secret, public: to, info: utf8(info), plain, random, sealed: seal(to, utf8(info), plain, random) };
  });

  const member = (index, sequence, generation) => ({
    wallet: wallets[index], sequence, hash: sequence > 0 ? bytes(`head ${index} ${sequence}`) : Buffer.alloc(32), generation,
    accountKey: generation > 0 ? publicOf(accountSecrets[index % 2]) : none, accountSecret: generation > 0 ? accountSecrets[index % 2] : none,
  });
  const inputs = [
    { after: first, number: 1, author, recipients: [member(0, 3, 1), member(1, 0, 0)], random: bytes('epoch one', 64) },
    { after: afterMembership, number: 300, author: device, recipients: [member(0, 128, 2), member(1, 1, 1), member(2, 5, 0)], random: bytes('epoch two', 64) },
  ];
  const epochs = inputs.map((input) => ({ ...input, ...epochOf(input) }));

  const contents = ['', 'Hello', 'x'.repeat(31), 'x'.repeat(32), 'ä'.repeat(300), 'x'.repeat(8192)];
  const texts = contents.map((content, index) => {
    const input = {
      epoch: epochs[index % 2].number, key: epochs[index % 2].key, device: index % 3 ? device : author, previous: bytes(`previous ${index}`), counter: 1 + 127 * index,
      knows: 200 * index, kind: index % 3, id: `${session}:${device}:abc123:${index}`, content: utf8(content),
    };
    return { ...input, text: encryptedText(input) };
  });

  const reseals = [epochs.slice(0, 1), epochs].map((some, index) => {
    const input = {
      author: device, wallet: wallets[1], generation: 1 + index, accountKey: publicOf(accountSecrets[1]), random: bytes(`reseal ${index}`),
      epochs: some.map(({ number, transcript, secret, tag }) => ({ number, transcript, secret, tag })),
    };
    return { ...input, accountSecret: accountSecrets[1], entry: resealOf(input) };
  });

  const sealKeys = [bytes('seal key one'), bytes('seal key two')];
  const generations = [
    { account, number: 1, to: sealKeys.slice(0, 1).map(publicOf), earlierSecret: null, random: bytes('generation one', 64) },
    { account, number: 2, to: sealKeys.map(publicOf), earlierSecret: bytes('generation one', 64).subarray(0, 32), random: bytes('generation two', 64) },
    { account, number: 3, to: [], earlierSecret: null, random: bytes('generation three', 64) },
  ].map((input) => ({ ...input, toSecrets: sealKeys.slice(0, input.to.length), ...generationOf(input) }));

  const claimed = {
    account, devices: [device, author], kept: [device], sealKey: publicOf(sealKeys[0]), generation: generations[1].generation, sealed: seals[0].sealed,
    recoverySecret: bytes('recovery'), head: { sequence: 300, hash: bytes('head') }, deviceKey: bytes('key of a device'),
  };
  const claims = { ...claimed, ...claimsOf(claimed) };

  const codes = ['code one', 'code two'].map((name) => {
    const random = bytes(name, 17);
    return { random, code: codeOf(random), account, ...recoveryKeys('recovery', packed(random), account) };
  });
  const output = bytes('passkey');
  const passkey = { output, account, ...recoveryKeys('passkey', output, account) };

  const salt = bytes('lock salt', 16);
  // Argon2id of the passphrase 'correct horse battery' and this salt, as OpenSSL 3.5 gives it: Node.js has none before 24.7.
  const stretched = unhex('336413f8e9c420ed44239c946fa36838493719b91a921401b9cbfff4e0e2b018');
  const passphraseLock = Buffer.concat([Buffer.from([1]), salt, varint(65_536), varint(3), varint(4)]);
  const credential = bytes('credential', 20);
  const locks = [
    { salt, input: utf8('correct horse battery'), ...lockOf('passphrase', passphraseLock, stretched) },
    { credential, input: output, ...lockOf('passkey', Buffer.concat([Buffer.from([2]), credential]), output) },
  ];

  const [sealKey, deviceRandom, approverRandom] = [publicOf(sealKeys[0]), bytes('of the device'), bytes('of the approver')];
  const commitment = sha256(label('approval-commitment'), text(account), text(device), sealKey, deviceRandom);
  const number = sha256(label('approval-number'), text(account), text(author), commitment, deviceRandom, approverRandom).readBigUInt64BE() % 1_000_000n;
  const approval = { account, device, approver: author, sealKey, deviceRandom, approverRandom, commitment, number: Number(number) };

  const padded = [0, 1, 30, 31, 32, 255, 256, 511, 512, 575, 576, 1023, 1024, 4000, 8191, 8192, 20_000].map((length) => [length, paddedBytes(length)]);
  const asks = [[1], [1, 127, 128, 16384]].map((numbers) => ({ epochs: numbers, entry: Buffer.concat([Buffer.from([1]), varint(numbers.length), ...numbers.map(varint)]) }));
  const transcripts = { session, first, digest, afterMembership };
  return written({ seals, transcripts, epochs, texts, padded, reseals, asks, generations, claims, codes, passkey, locks, approval });
}

if (process.argv[1]?.endsWith('vectors.mjs')) console.log(JSON.stringify(vectors(), null, 1));
