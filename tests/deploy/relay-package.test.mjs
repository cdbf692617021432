// The npm package of the relay, as an operator installs and starts it.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { startRelay } from '../e2e/harness/relay.mjs';
import { within } from '../e2e/harness/wait.mjs';
import { installRelay, programIn } from './harness/packed.mjs';

let project;

before(() => {
  project = installRelay();
});

after(() => rmSync(project, { recursive: true, force: true }));

const installed = (...path) => join(project, 'node_modules', 'solconnect-relay', ...path);

test('the package has the program, its licences and nothing else', () => {
  assert.deepEqual(readdirSync(installed()).sort(), ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json', 'solconnect-relay']);
  const { version, os, cpu } = JSON.parse(readFileSync(installed('package.json'), 'utf8'));
  assert.equal(execFileSync(programIn(project), ['--version'], { encoding: 'utf8' }), `solconnect-relay ${version}\n`);
  assert.deepEqual([os, cpu], [[process.platform], [process.arch]]);
});

test('the program runs on every Linux and names no machine', () => {
  const program = readFileSync(installed('solconnect-relay'), 'latin1');
  if (process.platform === 'linux') assert.ok(!/\/lib\w*\/ld-/.test(program), 'it asks for a dynamic linker');
  assert.ok(!program.includes(root), `it names ${root}`);
  assert.ok(!/\/home\/|\/root\/|\/\.cargo\/registry/.test(program), 'it names a folder of the machine that built it');
});

test('npx finds it, and its help is the one in the sources', () => {
  const help = execFileSync('npx', ['--offline', 'solconnect-relay', '--help'], { cwd: project, encoding: 'utf8' });
  assert.equal(help.trim(), readFileSync(join(root, 'crates', 'relay', 'src', 'help.txt'), 'utf8').trim());
});

test('started by npx it answers until it is stopped', { timeout: 60_000 }, async () => {
  const relay = spawn('npx', ['--offline', 'solconnect-relay', '--listen', '127.0.0.1:0'], { cwd: project, stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const exit = once(relay, 'exit');
  try {
    const [line] = await within('it listens', once(createInterface({ input: relay.stdout }), 'line'));
    const address = /^listening on (\S+)$/.exec(line)[1];
    assert.equal(await (await fetch(`${address}/healthz`)).text(), 'ok\n');
    const socket = new (await import('ws')).WebSocket(address.replace('http', 'ws'), 'solconnect.sync.v1');
    await within('a WebSocket opens', once(socket, 'open'));
    socket.terminate();
  } finally {
    // The group: npx, and the relay that it runs.
    process.kill(-relay.pid, 'SIGTERM');
    await within('it ends', exit);
  }
});

test('as a service it ends in order on SIGTERM', async () => {
  const relay = await startRelay({ www: null, program: programIn(project) });
  assert.equal(await relay.stop(), 0);
  assert.match(relay.log, /stopping: SIGTERM/);
});
