// Passkeys: 32 bytes that a person's authenticator gives to pages of this host alone, each time the same (WebAuthn with the PRF extension).

import { describe, SyncError } from './errors.js';

/** What the 32 bytes are made for, in each application: other bytes would open nothing. Some authenticators take 32 bytes alone. */
const first = new TextEncoder().encode('solconnect.recover-by-passkey.v1');

/** To hold the authenticator is not enough. */
const userVerification = 'required';

// Nobody checks what an authenticator has signed: what it gives opens the account, or does not.
const asking = () => ({ challenge: crypto.getRandomValues(new Uint8Array(32)), extensions: { prf: { eval: { first } } } });

/**
 * Makes a passkey for a wallet, and has the person unlock it. Those that there are stay: the account may not come to know of this one.
 *
 * Errors, rejected with: `PASSKEY_UNSUPPORTED`, `PASSKEY_CANCELLED`.
 */
export async function makePasskey(address: string): Promise<Uint8Array> {
  // A person who has several sees which wallet each is for, and which is the newest: also of two that were made on one day.
  const name = `${address.slice(0, 4)}…${address.slice(-4)}, ${new Date().toLocaleString()}`;
  const made = await asked((credentials) => credentials.create({
    publicKey: {
      ...asking(),
      rp: { name: location.hostname },
      user: { id: crypto.getRandomValues(new Uint8Array(32)), name, displayName: name },
      // ES256 and RS256: every authenticator has one of them.
      pubKeyCredParams: [-7, -257].map((alg) => ({ type: 'public-key', alg })),
      authenticatorSelection: { residentKey: 'required', userVerification },
    },
  }));
  // Some give it only to who asks again.
  const { prf } = made.getClientExtensionResults();
  return outputOf(prf?.enabled && !prf.results ? await used([{ type: 'public-key', id: made.rawId }]) : made);
}

/**
 * Has the person choose and unlock a passkey of this host.
 *
 * Errors, rejected with: `PASSKEY_UNSUPPORTED`, `PASSKEY_CANCELLED`.
 */
export async function usePasskey(): Promise<Uint8Array> {
  return outputOf(await used([]));
}

const used = (allowCredentials: PublicKeyCredentialDescriptor[]) => asked((credentials) => credentials.get({ publicKey: { ...asking(), userVerification, allowCredentials } }));

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
