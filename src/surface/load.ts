// Loads the wasm when asked to, and never before.

import * as json from '../json/solconnect_sync_json.js';
import instantiate, { setFrameCodecLoader, setVault } from '../solconnect_sync.js';
import * as vault from '../vault/solconnect_sync_vault.js';
import { optionsOf } from './arguments.js';
import { describe, SyncError } from './errors.js';

/** Where the wasm comes from, where it shall not come from the package itself. */
export interface InitOptions {
  /** An address to fetch it from. Nothing else is tried where that fails. */
  wasmUrl?: string | URL;
  module?: WebAssembly.Module;
  bytes?: BufferSource;
  /**
   * Where the second module comes from, which is loaded for an application's own transport alone: `bytes` of
   * `solconnect-sync/json`, for bundlers that do not find the file by themselves.
   */
  jsonBytes?: () => Promise<BufferSource>;
  /** The same of the module that is loaded for encrypted sessions alone (option `encryption`): `bytes` of `solconnect-sync/vault`. */
  vaultBytes?: () => Promise<BufferSource>;
}

type Wasm = WebAssembly.Module | BufferSource;

// Bundlers look for these very expressions: they copy the file and put its new address here. The paths start in the package's
// folder `pkg`, where this code ends up.
const besideThis = (): Promise<Wasm> => fetchWasm(new URL('./solconnect_sync_bg.wasm', import.meta.url));
const jsonBesideThis = (): Promise<Wasm> => fetchWasm(new URL('./json/solconnect_sync_json_bg.wasm', import.meta.url));
const vaultBesideThis = (): Promise<Wasm> => fetchWasm(new URL('./vault/solconnect_sync_vault_bg.wasm', import.meta.url));

// Some bundlers leave such an expression alone (esbuild, Bun, Deno, Rollup; Vite below 8 when it prepares dependencies for its
// dev server), and then there is no file at that address. All of them follow an import. Production builds of Vite (`PROD`) copy
// the file, and are without this import: below 8 they cannot build a worker with one. So is our service worker, which may not import.
const inlined = (): Promise<Wasm> => import('../inlined.js').then(({ bytes }) => bytes());
const vaultInlined = (): Promise<Wasm> => import('../vault/inlined.js').then(({ bytes }) => bytes());

type Sources = (() => Promise<Wasm>)[];
// Bundlers leave one side of these away, and look for this very expression.
let sources: Sources = (import.meta as { env?: { PROD?: boolean } }).env?.PROD ? [besideThis] : [besideThis, inlined];
let vaultSources: Sources = (import.meta as { env?: { PROD?: boolean } }).env?.PROD ? [vaultBesideThis] : [vaultBesideThis, vaultInlined];

/** Where `load` takes the wasm from in place of the package's file, and no other file is asked for: `solconnect-sync/inline` calls it. */
export function setWasmSource(source: () => Promise<BufferSource>): void {
  sources = [source];
  vaultSources = [vaultInlined];
}

let loading: Promise<void> | null = null;
let isLoaded = false;

/**
 * Loads the wasm. A second call does nothing; after a failure it may be called again.
 *
 * Errors, rejected with: `SDK_INITIALIZATION_FAILED`, `INVALID_ARGUMENT` for an option that there is not.
 */
export async function load(options?: InitOptions): Promise<void> {
  const given: InitOptions = optionsOf('the options', options, ['wasmUrl', 'module', 'bytes', 'jsonBytes', 'vaultBytes']);
  loading ??= start(given).catch((cause: unknown) => {
    loading = null;
    throw new SyncError('SDK_INITIALIZATION_FAILED', `the wasm could not be loaded: ${describe(cause)}`, { cause });
  });
  await loading;
}

/** The module has 85 KiB: where it is not there by then, something else than a slow network keeps it. */
const VAULT_WAIT_MS = 20_000;

/** What does not come in time is given up: the next source is tried, or the call says why nothing happens. */
async function inTime<T>(coming: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not come within ${VAULT_WAIT_MS / 1_000} seconds`)), VAULT_WAIT_MS);
  });
  return Promise.race([coming, late]).finally(() => clearTimeout(timer));
}

let loadingVault: Promise<void> | null = null;

/**
 * Loads the module of encrypted sessions beside the other one, for every tab: one that took over later might be offline then. A second
 * call does nothing.
 *
 * Errors, rejected with: `SDK_INITIALIZATION_FAILED`, 20 seconds after the call at the latest for each place that it comes from.
 */
export async function loadVault(): Promise<void> {
  const startVault = (): Promise<void> => firstThatWorks(vaultSources.map((source) => () => inTime(source())), (wasm) => vault.default({ module_or_path: wasm })).catch((cause: unknown) => {
    throw new SyncError('SDK_INITIALIZATION_FAILED', `the module of encrypted sessions could not be loaded (the option vaultBytes hands it over): ${describe(cause)}`, { cause });
  });
  loadingVault ??= Promise.all([load(), startVault()]).then(() => setVault(vault), (error: unknown) => {
    loadingVault = null;
    throw error;
  });
  await loadingVault;
}

/** Throws SDK_NOT_INITIALIZED where the wasm is not loaded. */
export function checkLoaded(): void {
  if (!isLoaded) throw new SyncError('SDK_NOT_INITIALIZED', 'call init() first');
}

async function start({ wasmUrl, module, bytes, jsonBytes = jsonBesideThis as () => Promise<BufferSource>, vaultBytes }: InitOptions): Promise<void> {
  const given = module ?? bytes;
  if (vaultBytes) vaultSources = [vaultBytes];
  if (given) await instantiate({ module_or_path: given });
  else if (wasmUrl) await instantiate({ module_or_path: await fetchWasm(wasmUrl) });
  else await firstThatWorks(sources, (wasm) => instantiate({ module_or_path: wasm }));
  setFrameCodecLoader(async () => {
    await json.default({ module_or_path: await jsonBytes() });
    return json;
  });
  isLoaded = true;
}

async function firstThatWorks(from: Sources, start: (wasm: Wasm) => Promise<unknown>): Promise<void> {
  const reasons: string[] = [];
  for (const source of from) {
    try {
      await start(await source());
      return;
    } catch (error) {
      const reason = String(error);
      // The page forbids all WebAssembly, from wherever it comes.
      if (/content security policy|blocked by csp/i.test(reason)) {
        throw new Error(`the page's Content-Security-Policy forbids WebAssembly: its script-src needs 'wasm-unsafe-eval' (${reason})`, { cause: error });
      }
      reasons.push(reason);
    }
  }
  throw new Error(reasons.join('; nor from the JavaScript: '));
}

/** Reads wasm from an address, and says what is wrong with an answer that is none. */
async function fetchWasm(address: string | URL): Promise<Wasm> {
  const file = await readFile(address);
  if (file) return file;
  const response = await fetch(address).catch((cause: unknown) => {
    const why = "no connection, or the page's Content-Security-Policy forbids it (connect-src)";
    throw new Error(`${address} could not be fetched: ${why}`, { cause });
  });
  if (!response.ok) throw new Error(`${address} answered with status ${response.status}: the file is not there`);
  const type = response.headers.get('content-type') ?? '';
  if (type.startsWith('application/wasm')) return WebAssembly.compileStreaming(response);
  const bytes = new Uint8Array(await response.arrayBuffer());
  // Every wasm begins with these four characters.
  if (String.fromCharCode(...bytes.subarray(0, 4)) === '\0asm') return bytes;
  throw new Error(`${address} answered with ${type.includes('html') ? 'HTML' : `something else (${type || 'of no type'})`} in place of wasm: the file is not there`);
}

interface NodeProcess {
  getBuiltinModule?(name: 'node:fs/promises'): { readFile(path: URL): Promise<Uint8Array<ArrayBuffer>> };
}

/** The file of a `file:` address, where this is no browser: `fetch` of Node.js reads none. No import, which bundlers would follow. */
async function readFile(address: string | URL): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (!String(address).startsWith('file:')) return undefined;
  const { process } = globalThis as { process?: NodeProcess };
  return process?.getBuiltinModule?.('node:fs/promises').readFile(new URL(address));
}
