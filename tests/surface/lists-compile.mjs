// TypeScript of the package as a module that Node can import.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { root } from '../../scripts/shell.mjs';

const folder = mkdtempSync(join(tmpdir(), 'solconnect-lists-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Compiles `export`s of sources, such as `export * from './src/surface/messages.ts'`, into one module and imports it. */
export async function compile(name, contents) {
  const outfile = join(folder, `${name}.mjs`);
  await build({ stdin: { contents, resolveDir: root, loader: 'ts' }, outfile, bundle: true, format: 'esm', target: 'es2022', logLevel: 'silent' });
  return import(pathToFileURL(outfile));
}
