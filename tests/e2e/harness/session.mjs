// PROTOCOL.md, section 2.
import { createHash } from 'node:crypto';
import { uuidOf } from './signed-device.mjs';

/** The id of the session of two wallets. */
export function sessionOf(one, other) {
  const [first, second] = one <= other ? [one, other] : [other, one];
  return uuidOf(createHash('sha256').update(`solconnect.session.v1\0${first}\0${second}`).digest());
}
