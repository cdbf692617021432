// One call to a connected SDK, and one SDK for each database of a page.

import type { SdkConfig } from '../solconnect_sync.js';
import { reading, signalOf } from './arguments.js';
import { type Config, configOf } from './config.js';
import { unwrap } from './errors.js';
import { connectChoice, SolConnectSDK } from './sdk.js';
import type { WalletSource } from './wallets.js';

/** What `connect` takes: the options of an SDK, and which wallet. */
export interface ConnectConfig extends SdkConfig {
  /**
   * The wallet to connect, or `'local'` for a key pair of this browser. Left out: the wallet of the last visit, without asking
   * the person, or else the local one. `undefined` and `null` are no wallet (`WALLET_NOT_FOUND`).
   */
  wallet?: WalletSource | 'local' | null | undefined;
  /** Gives up with `CALL_ABORTED` when it is aborted. */
  signal?: AbortSignal;
}

interface Instance {
  readonly config: Config;
  readonly sdk: SolConnectSDK;
}

/** By database. */
const instances = new Map<string, Instance>();

/**
 * Loads everything and connects a wallet. What this browser stores of the wallet can be read at once, also offline; the relay
 * is reached in the background.
 *
 * Calls with the same options give the same SDK, however often a page makes them (hot reload, React's StrictMode). Calls with
 * other options for the same database clean the earlier SDK up and take its place.
 *
 * Errors, rejected with: `INVALID_ARGUMENT`, those of `initialize`, and those of `connectWallet`.
 *
 * @example
 * ```ts
 * const { phantom } = globalThis as { phantom?: { solana?: WalletSource } };  // what the wallet's extension puts there
 * const sdk = await connect({ relayEndpoint: 'wss://relay.example.org', domains: ['chat.example.org'], wallet: phantom?.solana });
 * const { sessionId } = unwrap(await sdk.startSession({ peerWallet }));
 * unwrap(await sdk.sendMessage(sessionId, 'Hello!'));
 * ```
 */
export async function connect(options?: ConnectConfig): Promise<SolConnectSDK> {
  const { config, rest } = configOf(options, ['wallet', 'signal']);
  const signal = signalOf(rest['signal']);
  const sdk = instanceOf(config);
  const wallet = rest['wallet'];
  // An option that is there and undefined is a wallet that was looked for and not found.
  const isLeftOut = !options || !reading('the configuration', () => Object.hasOwn(options, 'wallet'));
  // Both at once: the wallet has its turn now, and calls that come while everything loads are later ones.
  const ready = sdk.initialize(signal && { signal });
  const connected = connectChoice(sdk, isLeftOut ? 'last' : wallet === 'local' ? wallet : { given: wallet }, signal);
  unwrap(await ready);
  unwrap(await connected);
  return sdk;
}

function instanceOf(config: Config): SolConnectSDK {
  const known = instances.get(config.databaseName);
  if (known && isSame(known.config, config)) return known.sdk;
  void known?.sdk.cleanup();
  const sdk = new SolConnectSDK(config);
  instances.set(config.databaseName, { config, sdk });
  return sdk;
}

function isSame(one: Config, other: Config): boolean {
  const names = Object.keys({ ...one, ...other }) as (keyof Config)[];
  // Calls make the list of domains anew, and the function that asks for a passphrase.
  const says = (config: Config, name: keyof Config): unknown => (name === 'domains' && config.domains ? String(config.domains) : name === 'lockWith' ? typeof config.lockWith : config[name]);
  // One that runs has started.
  return names.every((name) => name === 'startOffline' || Object.is(says(one, name), says(other, name)));
}
