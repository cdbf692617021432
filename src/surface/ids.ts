// What the engine tells without a device: names that are made of others, and its version.

import * as wasm from '../solconnect_sync.js';
import { reading, textOf } from './arguments.js';
import { errorOf } from './errors.js';
import { checkLoaded } from './load.js';

/**
 * The session of two wallets: the same for both, on every device. Where devices sign in, `domains` is the option of that name.
 * Errors, thrown: `INVALID_WALLET_ADDRESS`, `INVALID_ARGUMENT`; `SDK_NOT_INITIALIZED` before `init`.
 */
export function sessionIdOf(walletA: string, walletB: string, domains?: readonly string[]): string {
  checkLoaded();
  const [one, other] = [textOf('walletA', walletA), textOf('walletB', walletB)];
  const hosts = domains && reading('domains', () => Array.from(domains, (domain) => textOf('each of the domains', domain)));
  try {
    return wasm.sessionIdOf(one, other, hosts);
  } catch (thrown) {
    throw errorOf(thrown);
  }
}

/** The version of this package. Errors, thrown: `SDK_NOT_INITIALIZED` before `init`. */
export function version(): string {
  checkLoaded();
  return wasm.version();
}
