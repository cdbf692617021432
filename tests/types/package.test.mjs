// The package as it would be published: packed, installed into an empty project, compiled against and imported.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { jsonCode } from '../../scripts/build.mjs';
import { bindings } from '../../scripts/build.mjs';
import { root } from '../../scripts/shell.mjs';

const project = mkdtempSync(join(tmpdir(), 'solconnect-consumer-'));
let packed;

const run = (command, ...args) => execFileSync(command, args, { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

before(() => {
  [packed] = JSON.parse(run('npm', 'pack', root, '--json', '--ignore-scripts', '--pack-destination', project));
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
  run('npm', 'install', '--offline', '--no-audit', '--no-fund', join(project, packed.filename));
  // The types of React, which the binding's types name.
  mkdirSync(join(project, 'node_modules', '@types'), { recursive: true });
  for (const name of ['@types/react', 'csstype']) symlinkSync(join(root, 'node_modules', name), join(project, 'node_modules', name));
});

after(() => rmSync(project, { recursive: true, force: true }));

test('every binding is exported', () => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of bindings) {
    assert.deepEqual(exports[`./${name}`], { types: `./pkg/bindings/${name}.d.ts`, default: `./pkg/${name}.js` });
  }
});

test('npm pack has wasm, types and licences and nothing else', (t) => {
  const files = packed.files.map(({ path }) => path).sort();
  const wanted = [
    'CHANGELOG.md', 'LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'docs/deploy.md', 'docs/errors.md', 'docs/events.md', 'docs/guide.md', 'docs/security.md', 'package.json', 'pkg/index.d.ts', 'pkg/index.js', 'pkg/inline.d.ts', 'pkg/inline.js',
    'pkg/inlined.d.ts', 'pkg/inlined.js', 'pkg/json/inlined.d.ts', 'pkg/json/inlined.js', 'pkg/json/solconnect_sync_json_bg.wasm',
    'pkg/solconnect_sync.d.ts', 'pkg/solconnect_sync_bg.wasm', 'pkg/vault/inlined.d.ts',
    'pkg/vault/inlined.js', 'pkg/vault/solconnect_sync_vault_bg.wasm', ...bindings.map((name) => `pkg/${name}.js`),
  ];
  // Types of the rooms that the root's types point into.
  assert.deepEqual(files.filter((file) => !/^pkg\/(surface|bindings)\/[\w-]+\.d\.ts$/.test(file)), wanted.sort());
  const wasm = packed.files.find(({ path }) => path.endsWith('.wasm'));
  assert.ok(wasm.size > 50_000, 'a real one');
  t.diagnostic(`packed ${packed.size} bytes, unpacked ${packed.unpackedSize}`);
});

test('the sizes of the files are as documented', () => {
  const text = readFileSync(join(root, 'docs', 'figures.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(pkg\/\S+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|/gm)];
  const wasm = packed.files.map(({ path }) => path).filter((path) => path.endsWith('.wasm'));
  assert.deepEqual(wasm.filter((path) => !rows.some(([, file]) => file === path)), [], 'each is there');
  for (const [, file, ...documented] of rows) {
    const bytes = readFileSync(join(project, 'node_modules', 'solconnect-sync', file));
    const sizes = [bytes, gzipSync(bytes), brotliCompressSync(bytes)].map(({ length }) => length);
    const isNear = sizes.every((size, place) => Math.abs(size / Number(documented[place].replaceAll(',', '')) - 1) < 0.03);
    assert.ok(isNear, `${file} has ${sizes.join(', ')}, and docs/figures.md says ${documented.join('; ')}`);
  }
});

test('no document in the package links to what is not in it', () => {
  const files = new Set(packed.files.map(({ path }) => path));
  const documents = [...files].filter((file) => file.endsWith('.md'));
  const targets = documents.flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8').replace(/^```[^]*?^```/gm, '').replace(/`[^`\n]*`/g, '');
    return [...text.matchAll(/\]\(([^)#\s]+)/g)].map(([, target]) => [file, target]).filter(([, target]) => !/^[a-z]+:/.test(target));
  });
  assert.ok(targets.length >= 4, 'there are links');
  assert.deepEqual(targets.filter(([file, target]) => !files.has(posix.join(posix.dirname(file), target))), []);
});

test('nothing in the package names this machine', () => {
  for (const file of packed.files) {
    const text = readFileSync(join(project, 'node_modules', 'solconnect-sync', file.path), 'latin1');
    assert.ok(!text.includes(root), `${file.path} names ${root}`);
    assert.ok(!/\/home\/|\/root\/|\.cargo\/registry/.test(text), `${file.path} names a folder of the machine that built it`);
  }
});

test('the application uses every method, event and type that there is', () => {
  const installed = (path) => readFileSync(join(project, 'node_modules', 'solconnect-sync', 'pkg', path), 'utf8').replace(/\/\*[^]*?\*\//g, '');
  const used = readFileSync(join(root, 'tests', 'types', 'consumer.ts'), 'utf8');
  const namesIn = (text, pattern) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))];
  const bodyOf = (text, head) => new RegExp(`${head}[^{]*\\{\\n([^]*?)\\n\\}`).exec(text)[1];
  const methods = namesIn(bodyOf(installed('surface/sdk.d.ts'), 'export declare class SolConnectSDK'), /^ {4}(\w+)\(/gm).filter((name) => name !== 'constructor');
  const events = namesIn(bodyOf(installed('surface/events.d.ts'), 'export interface SdkEvents'), /^ {4}(\w+): /gm);
  const types = namesIn(installed('index.d.ts').replace(/export \{[^}]*as default[^}]*\}[^;]*;/g, ''), /(?:export (?:type )?\{|,)\s*(?:type )?(\w+)/g);
  assert.deepEqual([methods.length > 50, events.length > 20, types.length > 40], [true, true, true], `${methods.length} methods, ${events.length} events, ${types.length} names`);
  const oldName = (event) => `on${event[0].toUpperCase()}${event.slice(1)}`;
  const unused = [
    ...methods.filter((name) => !new RegExp(`\\.${name}\\(`).test(used)),
    ...events.filter((name) => ![name, oldName(name)].some((one) => used.includes(`.on('${one}'`))),
    ...types.filter((name) => used.match(new RegExp(`\\b${name}\\b`, 'g'))?.length < 2 || !new RegExp(`\\b${name}\\b`).test(used)),
  ];
  assert.deepEqual(unused, []);
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

test('the code of the README compiles', () => {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const blocks = [...text.matchAll(/^( *)```(?:tsx?|js)\n([^]*?)^\1```/gm)].map(([, indent, code]) => code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''));
  assert.ok(blocks.length >= 8, `${blocks.length} blocks`);
  copyFileSync(join(root, 'tests', 'types', 'reader.d.ts'), join(project, 'reader.d.ts'));
  // Each is a module of its own.
  const files = blocks.map((code, place) => {
    writeFileSync(join(project, `readme-${place}.tsx`), `${code}\nexport {};\n`);
    return `readme-${place}.tsx`;
  });
  const flags = ['--strict', '--noEmit', '--types', '', '--lib', 'ES2022,DOM', '--target', 'ES2022', '--module', 'ES2022', '--moduleResolution', 'bundler', '--jsx', 'react-jsx'];
  try {
    run(join(root, 'node_modules', '.bin', 'tsc'), ...flags, 'reader.d.ts', ...files);
  } catch (error) {
    assert.fail(error.stdout);
  }
});

test('JSX knows the status element', () => {
  copyFileSync(join(root, 'tests', 'types', 'consumer.tsx'), join(project, 'consumer.tsx'));
  const flags = ['--strict', '--noEmit', '--exactOptionalPropertyTypes', '--types', '', '--lib', 'ES2022,DOM', '--target', 'ES2022', '--module', 'ES2022', '--moduleResolution', 'bundler'];
  try {
    run(join(root, 'node_modules', '.bin', 'tsc'), ...flags, '--jsx', 'react-jsx', 'consumer.tsx');
  } catch (error) {
    assert.fail(error.stdout);
  }
});

for (const entry of ['solconnect-sync', 'solconnect-sync/inline']) {
  test(`importing ${entry} does no work`, () => {
    const code = `
      const before = Object.getOwnPropertyNames(globalThis).sort().join();
      for (const name of ['fetch', 'setTimeout', 'setInterval']) globalThis[name] = () => { throw new Error(name + ' at import'); };
      for (const name of ['instantiate', 'compile', 'instantiateStreaming', 'Module', 'Instance']) WebAssembly[name] = () => { throw new Error(name + ' at import'); };
      const sync = await import('${entry}');
      if (Object.getOwnPropertyNames(globalThis).sort().join() !== before) throw new Error('it added globals');
      try { sync.version(); throw new Error('it worked without init'); } catch (error) { if (error.code !== 'SDK_NOT_INITIALIZED') throw error; }
      console.log(Object.keys(sync).sort().join());`;
    const names = run(process.execPath, '--input-type=module', '--eval', code).trim().split(',');
    assert.deepEqual(names, [
      'MessageBus', 'SolConnectSDK', 'SyncError', 'SyncManager', 'VectorClock', 'WebSocketSyncTransport', 'cleanupSDK', 'connect', 'createLocalWallet',
      'default', 'findWallets', 'getSDK', 'getSyncManager', 'initializeSDK', 'sessionIdOf', 'setWasmSource', 'unwrap', 'version',
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

test('the root finds its wasm in Node.js, and needs no other', () => {
  const code = `
    import init, { version } from 'solconnect-sync';
    globalThis.fetch = () => { throw new Error('a file is not fetched'); };
    globalThis.atob = () => { throw new Error('the copy is not needed'); };
    await init();
    console.log(version());`;
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.equal(run(process.execPath, '--input-type=module', '--eval', code).trim(), version);
});

test('Node.js without a WebSocket says that nothing is sent', () => {
  const code = `
    import 'fake-indexeddb/auto';
    import { connect } from 'solconnect-sync';
    delete globalThis.WebSocket;
    const sdk = await connect({ domains: ['app.example'], wallet: 'local' });
    sdk.on('warning', ({ error }) => {
      console.log(error.code, error.message);
      process.exit();
    });`;
  symlinkSync(join(root, 'node_modules', 'fake-indexeddb'), join(project, 'node_modules', 'fake-indexeddb'));
  assert.match(run(process.execPath, '--input-type=module', '--eval', code), /^CONNECTION_FAILED there is no WebSocket here/);
});

test('the inline entry has not the module of JSON frames', () => {
  const installed = join(project, 'node_modules', 'solconnect-sync', 'pkg');
  const options = ['--bundle', '--format=esm', '--outfile=bundle.js', '--log-level=error'];
  writeFileSync(join(project, 'app.js'), "import init from 'solconnect-sync/inline';\nawait init();\n");
  run(join(root, 'node_modules', '.bin', 'esbuild'), 'app.js', ...options);
  const bundle = readFileSync(join(project, 'bundle.js'), 'utf8');
  const copyOf = (file) => /'([\w+/=]{1000,})'/.exec(readFileSync(join(installed, file), 'utf8'))[1];
  assert.ok(bundle.includes(copyOf('inlined.js')), 'the SDK is in it');
  assert.ok(!bundle.includes(copyOf('json/inlined.js').slice(0, 1000)), 'the other is not');
});

test('init may be called again after a failure', () => {
  const code = `
    import { readFileSync } from 'node:fs';
    import { createRequire } from 'node:module';
    import init, { version } from 'solconnect-sync';
    const failed = await init({ bytes: new Uint8Array([1, 2, 3]) }).then(() => 'no error', (error) => error.code);
    await init({ bytes: readFileSync(createRequire(import.meta.url).resolve('solconnect-sync/solconnect_sync_bg.wasm')) });
    console.log(failed, typeof version());`;
  writeFileSync(join(project, 'retry.mjs'), code);
  assert.equal(run(process.execPath, 'retry.mjs').trim(), 'SDK_INITIALIZATION_FAILED string');
});

test('the module of JSON frames says which value is wrong', async () => {
  const { bytes } = await import(pathToFileURL(join(project, 'node_modules', 'solconnect-sync', 'pkg', 'json', 'inlined.js')));
  const codec = await import(pathToFileURL(jsonCode()));
  await codec.default({ module_or_path: await bytes() });
  const frame = JSON.stringify({ type: 'sync_request', sessionId: 's', missingRanges: [{ start: 'forty-two', end: 43 }] });
  assert.throws(() => codec.fromJson(frame), /INVALID_MESSAGE_FORMAT.*"forty-two"/);
});
