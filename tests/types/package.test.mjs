// The package as it would be published: packed, installed into an empty project, compiled against and imported.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { root } from '../../scripts/shell.mjs';

const project = mkdtempSync(join(tmpdir(), 'solconnect-consumer-'));
let packed;

const run = (command, ...args) => execFileSync(command, args, { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

before(() => {
  [packed] = JSON.parse(run('npm', 'pack', root, '--json', '--ignore-scripts', '--pack-destination', project));
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
  run('npm', 'install', '--offline', '--no-audit', '--no-fund', join(project, packed.filename));
});

after(() => rmSync(project, { recursive: true, force: true }));

test('npm pack has wasm, types and licences and nothing else', (t) => {
  const files = packed.files.map(({ path }) => path).sort();
  assert.deepEqual(files, [
    'LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json', 'pkg/index.d.ts', 'pkg/index.js', 'pkg/inline.d.ts', 'pkg/inline.js',
    'pkg/json/inline.d.ts', 'pkg/json/inline.js', 'pkg/json/solconnect_sync_json.d.ts', 'pkg/json/solconnect_sync_json.js',
    'pkg/json/solconnect_sync_json_bg.wasm', 'pkg/solconnect_sync.d.ts', 'pkg/solconnect_sync_bg.wasm',
  ]);
  const wasm = packed.files.find(({ path }) => path.endsWith('.wasm'));
  assert.ok(wasm.size > 50_000, 'a real one');
  t.diagnostic(`packed ${packed.size} bytes, unpacked ${packed.unpackedSize}`);
});

test('nothing in the package names this machine', () => {
  for (const file of packed.files) {
    const text = readFileSync(join(project, 'node_modules', 'solconnect-sync', file.path), 'latin1');
    assert.ok(!text.includes(root), `${file.path} names ${root}`);
    assert.ok(!/\/home\/|\/root\/|\.cargo\/registry/.test(text), `${file.path} names a folder of the machine that built it`);
  }
});

for (const moduleResolution of ['bundler', 'nodenext']) {
  test(`a strict TypeScript application compiles against the package (${moduleResolution})`, () => {
    copyFileSync(join(root, 'tests', 'types', 'consumer.ts'), join(project, 'consumer.ts'));
    const module = moduleResolution === 'bundler' ? 'ES2022' : 'NodeNext';
    const flags = ['--strict', '--noEmit', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--types', '', '--lib', 'ES2022,DOM', '--target', 'ES2022'];
    try {
      run(join(root, 'node_modules', '.bin', 'tsc'), ...flags, '--module', module, '--moduleResolution', moduleResolution, 'consumer.ts');
    } catch (error) {
      assert.fail(error.stdout);
    }
  });
}

for (const entry of ['solconnect-sync', 'solconnect-sync/inline']) {
  test(`importing ${entry} does no work`, () => {
    const code = `
      const before = Object.getOwnPropertyNames(globalThis).sort().join();
      for (const name of ['fetch', 'setTimeout', 'setInterval']) globalThis[name] = () => { throw new Error(name + ' at import'); };
      for (const name of ['instantiate', 'compile', 'instantiateStreaming', 'Module', 'Instance']) WebAssembly[name] = () => { throw new Error(name + ' at import'); };
      const sync = await import('${entry}');
      if (Object.getOwnPropertyNames(globalThis).sort().join() !== before) throw new Error('it added globals');
      try { new sync.VectorClock(); throw new Error('it worked without init'); } catch (error) { if (error.code !== 'SDK_NOT_INITIALIZED') throw error; }
      console.log(Object.keys(sync).sort().join());`;
    const names = run(process.execPath, '--input-type=module', '--eval', code).trim().split(',');
    assert.deepEqual(names, [
      'MessageBus', 'SolConnectSDK', 'SyncManager', 'VectorClock', 'WebSocketSyncTransport', 'cleanupSDK', 'createLocalWallet', 'default',
      'getSDK', 'getSyncManager', 'initializeSDK', 'sessionIdOf', 'version',
    ]);
  });
}

test('the inline entry brings its own wasm', () => {
  const code = `
    import init, { sessionIdOf, VectorClock, version } from 'solconnect-sync/inline';
    await init();
    await init();
    const [one, other] = ['1'.repeat(32), 'So11111111111111111111111111111111111111112'];
    console.log(new VectorClock({ a: 1 }).compare(new VectorClock({ b: 1 })), sessionIdOf(one, other) === sessionIdOf(other, one), version());`;
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.equal(run(process.execPath, '--input-type=module', '--eval', code).trim(), `concurrent true ${version}`);
});

test('init may be called again after a failure', () => {
  const code = `
    import { readFileSync } from 'node:fs';
    import { createRequire } from 'node:module';
    import init, { VectorClock } from 'solconnect-sync';
    const failed = await init({ bytes: new Uint8Array([1, 2, 3]) }).then(() => 'no error', (error) => error.code);
    await init({ bytes: readFileSync(createRequire(import.meta.url).resolve('solconnect-sync/solconnect_sync_bg.wasm')) });
    console.log(failed, new VectorClock({ a: 1 }).tick('a'));`;
  writeFileSync(join(project, 'retry.mjs'), code);
  assert.equal(run(process.execPath, 'retry.mjs').trim(), 'SDK_INITIALIZATION_FAILED 2');
});

test('the module of JSON frames says which value is wrong', async () => {
  const installed = join(project, 'node_modules', 'solconnect-sync', 'pkg', 'json');
  const codec = await import(pathToFileURL(join(installed, 'solconnect_sync_json.js')));
  await codec.default({ module_or_path: readFileSync(join(installed, 'solconnect_sync_json_bg.wasm')) });
  const frame = JSON.stringify({ type: 'sync_request', sessionId: 's', missingRanges: [{ start: 'forty-two', end: 43 }] });
  assert.throws(() => codec.fromJson(frame), /INVALID_MESSAGE_FORMAT.*"forty-two"/);
});
