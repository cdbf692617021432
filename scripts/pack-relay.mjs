// Builds the npm package `solconnect-relay`: the relay's program for one kind of machine, and no code around it.
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildRelayFor, targetFolder } from './build.mjs';
import { commandLine } from './options.mjs';
import { setup } from './setup.mjs';
import { main, output, Problem, root, say } from './shell.mjs';
import { relayTarget } from './tools.mjs';

const source = join(root, 'npm', 'relay');
const cpus = { x86_64: 'x64', aarch64: 'arm64' };

/** Where the tests find this machine's package, and nothing else. */
export const packedForTests = () => join(targetFolder(), 'npm-packed');

/** Builds and packs it into `folder`; gives the file. `profile` is cargo's: tests take one that is built in less time. */
export async function packRelay(folder, target, profile = 'dist') {
  const system = npmSystem(target);
  const binary = await buildRelayFor(target, profile);
  const staging = join(targetFolder(), 'npm-staging', target);
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
  writeFileSync(join(staging, 'package.json'), `${JSON.stringify({ ...manifest, os: [system.os], cpu: [system.cpu] }, null, 2)}\n`);
  copyFileSync(join(source, 'README.md'), join(staging, 'README.md'));
  for (const licence of ['LICENSE-MIT', 'LICENSE-APACHE']) copyFileSync(join(root, licence), join(staging, licence));
  copyFileSync(binary, join(staging, 'solconnect-relay'));
  mkdirSync(folder, { recursive: true });
  const packed = output('npm', ['pack', '--json', '--pack-destination', resolve(folder)], { cwd: staging });
  if (packed === null) throw new Problem(`npm pack failed in ${staging}`);
  const made = join(resolve(folder), JSON.parse(packed)[0].filename);
  // A package is of one kind of machine, and npm's own name does not say which.
  const named = made.replace(/\.tgz$/, `-${system.os}-${system.cpu}.tgz`);
  renameSync(made, named);
  return named;
}

/** How npm calls the machines of this target. */
function npmSystem(target) {
  const cpu = cpus[target.split('-')[0]];
  const os = /-(linux|darwin)\b/.exec(target)?.[1];
  if (cpu && os) return { cpu, os };
  throw new Problem(`There is no package for ${target}: the relay is built for Linux and macOS, on x86_64 and aarch64.`);
}

main(import.meta.url, async () => {
  const { target, out } = commandLine('npm run pack:relay --', 'Builds the npm package solconnect-relay: the relay\'s program for one kind of machine.', {
    target: { value: 'TARGET', means: 'Rust\'s name of the machines, such as aarch64-unknown-linux-gnu; without it this machine\'s, on Linux linked statically' },
    out: { value: 'DIR', default: root, means: 'where the package is put' },
  });
  await setup('staticRelay');
  say(`The package is ${await packRelay(out, target ?? relayTarget())}`);
});
