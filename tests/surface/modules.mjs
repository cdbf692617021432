// The surface's own modules, bundled as the package bundles them, without the wasm: what it gives them is given here.
import { build } from 'esbuild';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../scripts/shell.mjs';
import { base58 } from '../e2e/harness/wallet.mjs';

/** Modules of `src/surface` and all that they import, as one text; `options` are esbuild's. */
export async function bundled(options, ...names) {
  const contents = names.map((name) => `export * from './${name}';`).join('\n');
  const stdin = { contents, resolveDir: join(root, 'src', 'surface') };
  const { outputFiles } = await build({ bundle: true, write: false, format: 'esm', target: 'es2022', logLevel: 'error', define: { IS_BACKGROUND: 'false' }, ...options, stdin });
  return outputFiles[0].text;
}

/** The same, imported. */
export async function load(...names) {
  const folder = mkdtempSync(join(tmpdir(), 'solconnect-surface-'));
  try {
    const file = join(folder, 'bundled.mjs');
    writeFileSync(file, await bundled({}, ...names));
    return await import(pathToFileURL(file));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const addressOf = base58;

/** Throws where an address is not 32 bytes of base58. */
export function check(address) {
  if (!/^[1-9A-HJ-NP-Za-km-z]{32,44}$/.test(address)) throw new TypeError(`no address: ${address.slice(0, 50)}`);
}

/** What an error should be: its code, and that it is one of ours. */
export const coded = (code) => (error) => {
  if (error?.name === 'SyncError' && error instanceof Error && error.code === code && error.message) return true;
  throw new Error(`not ${code} but ${error?.code}`, { cause: error });
};
