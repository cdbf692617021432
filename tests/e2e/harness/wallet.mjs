// Wallets made by the test, so that several devices in several browsers can hold the same one.
import { generateKeyPairSync } from 'node:crypto';

const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

export function newWallet() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
  // WebKitGTK does not import it (P31).
  if (pkcs8.at(-32) === 0) return newWallet();
  const bytes = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  return { address: base58(bytes), publicKey: bytes.toString('base64'), pkcs8: pkcs8.toString('base64') };
}

export function base58(bytes) {
  let number = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  let text = '';
  for (; number > 0n; number /= 58n) text = alphabet[Number(number % 58n)] + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros === -1 ? bytes.length : zeros) + text;
}
