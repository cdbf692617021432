// The options of an SDK, read once.

import type { LockWith, SdkConfig } from '../solconnect_sync.js';
import { flagOf, functionOf, invalid, optionsOf, reading, textOf } from './arguments.js';
import { SyncError } from './errors.js';

/** Every option, in the order of the documentation. */
const NAMES = [
  'relayEndpoint', 'transport', 'databaseName', 'maxBatchSize', 'syncIntervalMs', 'heartbeatIntervalMs', 'conflictResolutionStrategy',
  'maxRetries', 'retryDelayMs', 'enableCompression', 'domains', 'relayKey', 'encryption', 'deviceApproval', 'lockWith', 'startOffline',
] as const satisfies readonly (keyof SdkConfig)[];

const DATABASE_NAME = 'solconnect-sync';
const RELAY_ENDPOINT = 'ws://localhost:8080';

/** A configuration that nobody changes any more. */
export interface Config extends SdkConfig {
  readonly databaseName: string;
}

/**
 * Reads a configuration. What the values must be, the engine checks.
 *
 * Errors, thrown: `INVALID_ARGUMENT`, naming the option.
 */
export function configOf(given: unknown, more: readonly string[] = []): { config: Config; rest: { [name: string]: unknown } } {
  const { databaseName = DATABASE_NAME, ...options } = optionsOf('the configuration', given, [...NAMES, ...more]);
  if (textOf('databaseName', databaseName) === '') throw invalid('the database needs a name');
  const rest = Object.fromEntries(more.filter((name) => name in options).map((name) => [name, options[name]]));
  for (const name of more) delete options[name];
  flagOf('startOffline', options.startOffline ?? false);
  // Who signs in encrypts, where the application does not say otherwise.
  if (Array.isArray(options.domains) && options.domains.length > 0) {
    options.encryption ??= 'required';
    // Devices sign for a relay by its name, which no transport tells.
    if (options.transport && !options.relayEndpoint) throw invalid('with `domains`, a `transport` needs `relayEndpoint` too: devices sign in to the relay of that name');
  }
  if (options.lockWith !== undefined) options.lockWith = lockOf(options.lockWith, options.domains);
  return { config: { ...options, databaseName: databaseName as string }, rest };
}

function lockOf(given: unknown, domains: unknown): LockWith {
  if (!domains) throw invalid('lockWith locks the keys of devices that sign in: set the option `domains`');
  if (given === 'passkey') return given;
  const { passphrase } = optionsOf("lockWith, where it is not 'passkey',", given, ['passphrase']);
  return { passphrase: functionOf('lockWith.passphrase', passphrase) as Exclude<LockWith, string>['passphrase'] };
}

/**
 * A database as the first protocol names it: by its name, or an object that has one.
 *
 * Errors, thrown: `INVALID_ARGUMENT`.
 */
export function databaseOf(given: unknown): SdkConfig {
  if (given === undefined) return {};
  const what = 'the name of the database';
  return { databaseName: textOf(what, typeof given === 'object' && given !== null ? reading(what, () => (given as { name?: unknown }).name) : given) };
}

/** The relay's address; `null` where the application brings its own transport. */
export function relayOf(config: Config): string | null {
  return config.transport ? null : config.relayEndpoint ?? RELAY_ENDPOINT;
}

/**
 * What can be known before anything is opened to be in the way of working here.
 *
 * Errors, thrown: `STORAGE_MISSING`, `INSECURE_CONTEXT`, `CONNECTION_BLOCKED`.
 */
export function checkEnvironment(config: Config): void {
  if (typeof indexedDB === 'undefined' || indexedDB === null) {
    const message = 'there is no IndexedDB: in Node, import fake-indexeddb/auto first; during server-side rendering, call this in the browser only';
    throw new SyncError('STORAGE_MISSING', message);
  }
  if (config.domains && !(globalThis.crypto?.subtle as SubtleCrypto | undefined)) {
    throw new SyncError('INSECURE_CONTEXT', "a device's key is kept by WebCrypto, which only pages from https or localhost have: with `domains`, the page must be one");
  }
  const relay = relayOf(config);
  if (relay?.startsWith('ws:') && globalThis.location?.protocol === 'https:' && !isLoopback(relay)) {
    throw new SyncError('CONNECTION_BLOCKED', `a page that was opened over https may not connect to ${relay}: use wss://, see docs/deploy.md`);
  }
}

function isLoopback(url: string): boolean {
  return URL.canParse(url) && /^(localhost|.*\.localhost|127\.[0-9.]+|\[::1\])$/.test(new URL(url).hostname);
}
