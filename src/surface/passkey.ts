// Passkeys: 32 bytes that a person's authenticator gives to pages of this host alone, each time the same (WebAuthn with the PRF extension).

import { describe, SyncError } from './errors.js';

/** What the 32 bytes are for: a passkey gives others for each, so that the one does not open the other. Seven letters each, see `asking`. */
export type Purpose = 'recover' | 'locking';

/** A passkey, and what it gave. */
interface Passkey {
  readonly id: Uint8Array;
  readonly output: Uint8Array;
}

/** How long `user.id` is: by it one that was made to lock a device is known where it is chosen to come back by. */
const USER_ID_BYTES = { recover: 32, locking: 33 } as const;

/** To hold the authenticator is not enough. */
const userVerification = 'required';

// Nobody checks what an authenticator has signed: what it gives opens the account, or does not.
const asking = (purpose: Purpose) => {
  // The same in each application: other bytes would open nothing. Some authenticators take 32 bytes alone.
  const first = new TextEncoder().encode(`solconnect.${purpose}-by-passkey.v1`);
  return { challenge: crypto.getRandomValues(new Uint8Array(32)), extensions: { prf: { eval: { first } } } };
};

/**
 * Makes a passkey for a wallet, and has the person unlock it. Those that there are stay: the account may not come to know of this one.
 *
 * Errors, rejected with: `PASSKEY_UNSUPPORTED`, `PASSKEY_CANCELLED`.
 */
export async function makePasskey(purpose: Purpose, address: string, signal?: AbortSignal): Promise<Passkey> {
  // A person who has several sees which wallet each is for, and which is the newest, also of two that were made on one day; and what is
  // not for coming back.
  const name = `${address.slice(0, 4)}…${address.slice(-4)}, ${new Date().toLocaleString()}${purpose === 'locking' ? ', lock' : ''}`;
  const made = await asked((credentials) => credentials.create({
    signal: signal as AbortSignal,
    publicKey: {
      ...asking(purpose),
      rp: { name: location.hostname },
      user: { id: crypto.getRandomValues(new Uint8Array(USER_ID_BYTES[purpose])), name, displayName: name },
      // ES256 and RS256: every authenticator has one of them.
      pubKeyCredParams: [-7, -257].map((alg) => ({ type: 'public-key', alg })),
      // A lock knows the name of its passkey. Only preferred, and not discouraged: Android would make one without PRF then.
      authenticatorSelection: { residentKey: purpose === 'locking' ? 'preferred' : 'required', userVerification },
    },
  }));
  // Some give it only to who asks again.
  const { prf } = made.getClientExtensionResults();
  const id = new Uint8Array(made.rawId);
  return prf?.enabled && !prf.results ? usePasskey(purpose, id, signal) : { id, output: outputOf(made) };
}

/**
 * Has the person unlock a passkey of this host: the one with this name, or which they choose.
 *
 * Errors, rejected with: `PASSKEY_UNSUPPORTED`, `PASSKEY_CANCELLED`; `UNKNOWN_RECOVERY_CODE` where they choose one that locks a device, to
 * come back by.
 */
export async function usePasskey(purpose: Purpose, id?: Uint8Array, signal?: AbortSignal): Promise<Passkey> {
  const allowCredentials: PublicKeyCredentialDescriptor[] = id ? [{ type: 'public-key', id: id as BufferSource }] : [];
  const used = await asked((credentials) => credentials.get({ signal: signal as AbortSignal, publicKey: { ...asking(purpose), userVerification, allowCredentials } }));
  if (purpose === 'recover' && (used.response as AuthenticatorAssertionResponse).userHandle?.byteLength === USER_ID_BYTES.locking) throw new SyncError('UNKNOWN_RECOVERY_CODE', 'this passkey locks a device');
  return { id: new Uint8Array(used.rawId), output: outputOf(used) };
}

async function asked(ask: (credentials: CredentialsContainer) => Promise<Credential | null>): Promise<PublicKeyCredential> {
  if (!globalThis.PublicKeyCredential) throw unsupported('this page or browser has none');
  try {
    return await ask(navigator.credentials) as PublicKeyCredential;
  } catch (cause) {
    const reason = describe(cause);
    // Browsers do not say whether the person said no, took too long or has none.
    if (!['NotSupportedError', 'ConstraintError', 'SecurityError'].includes((cause as Error).name)) throw new SyncError('PASSKEY_CANCELLED', `no passkey was given: ${reason}`, { cause });
    throw unsupported(reason, cause);
  }
}

function outputOf(credential: PublicKeyCredential): Uint8Array {
  const output = credential.getClientExtensionResults().prf?.results?.first;
  if (!output) throw unsupported('what keeps it lacks the extension PRF');
  return new Uint8Array(output as ArrayBuffer);
}

const unsupported = (reason: string, cause?: unknown): SyncError => new SyncError('PASSKEY_UNSUPPORTED', `a passkey cannot be used here: ${reason}`, { cause });
