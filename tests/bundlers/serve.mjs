// A server of files, which knows no more than what they are.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';

const types = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.css': 'text/css' };

/** Serves a folder. `answer(path)` may answer otherwise, with `{ status, type, body, headers }`. */
export async function serve(folder, answer = () => undefined) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const path = pathname.endsWith('/') ? `${pathname}index.html` : pathname;
    const { status, type, body, headers } = answer(path) ?? await read(join(folder, path));
    response.writeHead(status ?? 200, { 'content-type': type, ...headers }).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function read(path) {
  const type = types[extname(path)] ?? 'application/octet-stream';
  return readFile(path).then((body) => ({ type, body }), () => ({ status: 404, type: 'text/plain', body: 'not found' }));
}
