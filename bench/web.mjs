// The contenders' pages: bundled as an application's would be, and served to all of them alike.
import { build } from 'esbuild';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, extname, join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

const here = import.meta.dirname;
const built = join(here, 'build');
const html = '<!doctype html><html lang="en"><meta charset="utf-8"><title>bench</title><script type="module" src="page.js"></script></html>';
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.wasm': 'application/wasm' };

/** Bundles a contender's page, with the files beside it that it fetches; what it loads without the driver, in bytes of brotli. */
export async function buildPage({ name, folder: source, assets }) {
  const contender = JSON.stringify(join(source, 'page.js'));
  const folder = join(built, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await bundle(`import { open } from ${contender}; import { drive } from './page.js'; drive({ open });`, folder);
  writeFileSync(join(folder, 'index.html'), html);
  for (const asset of assets) copyFileSync(asset, join(folder, basename(asset)));
  const loaded = await bundle(`export * from ${contender};`, join(built, `${name}-alone`));
  return Object.fromEntries([...loaded, ...assets].map((file) => [basename(file), brotliBytes(readFileSync(file))]));
}

/** Bundles a script as `page.js`, in parts as applications do, so that what is imported on demand is in another; the files that it loads at once. */
async function bundle(contents, outdir) {
  const { metafile } = await build({
    stdin: { contents, resolveDir: here },
    outdir,
    entryNames: 'page',
    splitting: true,
    metafile: true,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
    logLevel: 'error',
  });
  const isEntry = ([, { entryPoint }]) => entryPoint === '<stdin>';
  const loaded = new Set([Object.entries(metafile.outputs).find(isEntry)[0]]);
  for (const file of loaded) {
    for (const { path, kind } of metafile.outputs[file].imports) if (kind === 'import-statement') loaded.add(path);
  }
  return [...loaded];
}

const brotliBytes = (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length;

/** Serves what was built. Browsers may keep it, and get the finer clock of isolated pages. */
export async function startWeb() {
  const files = new Map();
  for (const name of readdirSync(built, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name)) {
    for (const file of readdirSync(join(built, name))) {
      files.set(`/${name}/${file === 'index.html' ? '' : file}`, { body: readFileSync(join(built, name, file)), type: types[extname(file)] });
    }
  }
  const server = createServer((request, response) => {
    const file = files.get(request.url);
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, {
      'content-type': file.type,
      'content-length': file.body.length,
      'cache-control': 'public, max-age=86400',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    });
    return response.end(file.body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: server.address().port, close: () => server.close() };
}
