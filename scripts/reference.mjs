// npm run docs: the API reference, made from the package's types.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildSdk } from './build.mjs';
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { main, root, say, step } from './shell.mjs';

const folder = join(root, 'docs', 'reference');
const result = join(root, 'docs', 'api');

/** Makes it from pkg/index.d.ts. What is exported without a description, or described with a dead link, makes it fail. */
export async function buildReference() {
  rmSync(result, { recursive: true, force: true });
  await step('TypeDoc', join(folder, 'node_modules', '.bin', 'typedoc'), ['--options', join(folder, 'typedoc.json')]);
}

main(import.meta.url, async () => {
  commandLine('npm run docs --', 'Builds the package, and the API reference from its types: HTML in docs/api.');
  await setup('npm', 'wasm', 'reference');
  await buildSdk();
  await buildReference();
  say(`The API reference is ${join(result, 'index.html')}`);
});
