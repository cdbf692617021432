// The nginx of docs/deploy.md: its configuration as it is printed, but for the port and the places of files.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../../scripts/shell.mjs';
import { findNginx } from '../../../scripts/tools.mjs';
import { until } from '../../e2e/harness/wait.mjs';
import { codeBlock, replaced } from './document.mjs';

export const printed = codeBlock('docs/deploy.md', 'nginx');

/** The server of that name in the configuration. */
export function serverOf(name, text = printed) {
  const found = text.match(/^server \{.*?^\}/gms).find((server) => server.includes(`server_name ${name};`));
  if (!found) throw new Error(`docs/deploy.md configures no ${name}`);
  return found;
}

/** Starts nginx before a relay at `relayPort`: the printed configuration, and more servers. Gives {port, stop}. */
export async function startNginx(relayPort, moreServers = '') {
  const folder = mkdtempSync(join(tmpdir(), 'solconnect-nginx-'));
  const site = join(folder, 'site');
  mkdirSync(site);
  for (const file of ['index.html', 'device.js']) symlinkSync(join(root, 'tests', 'e2e', 'page', file), join(site, file));
  symlinkSync(join(root, 'pkg'), join(site, 'pkg'));
  makeCertificate(folder);
  const port = await freePort();
  let servers = `${printed}\n${moreServers}`;
  for (const name of ['chat.example.org', 'relay.example.org']) {
    servers = replaced(servers, `/etc/ssl/${name}/fullchain.pem`, join(folder, 'certificate.pem'));
    servers = replaced(servers, `/etc/ssl/${name}/privkey.pem`, join(folder, 'key.pem'));
  }
  servers = replaced(servers, 'listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`);
  servers = replaced(servers, 'root /srv/chat;', `root ${site};`);
  servers = replaced(servers, 'http://127.0.0.1:8080', `http://127.0.0.1:${relayPort}`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${join(folder, kind)};`);
  // Only root may change to another user, and does where nothing else is said: to one who cannot read this folder.
  const user = process.getuid() === 0 ? 'user root;' : '';
  const main = `${user} daemon off; pid ${join(folder, 'pid')}; error_log stderr notice; events { worker_connections 2048; }`;
  writeFileSync(join(folder, 'nginx.conf'), `${main}\nhttp {\naccess_log off;\n${temporary.join('\n')}\n${servers}\n}\n`);
  const child = spawn(findNginx(), ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const kill = () => child.kill('SIGTERM');
  process.once('exit', kill);
  let log = '';
  child.stderr.on('data', (chunk) => {
    log += chunk;
  });
  const exit = once(child, 'exit');
  await until('nginx listens', async () => {
    if (child.exitCode !== null) throw new Error(`nginx ended:\n${log}`);
    return accepts(port);
  });
  const stop = async () => {
    process.removeListener('exit', kill);
    kill();
    await exit;
    rmSync(folder, { recursive: true, force: true });
  };
  return { port, stop };
}

function makeCertificate(folder) {
  const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'certificate.pem')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=example.org'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...files], { stdio: ['ignore', 'ignore', 'pipe'] });
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}
