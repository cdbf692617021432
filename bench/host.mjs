// The process of one contender's server: carries out what its parent asks for.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { start } = await import(pathToFileURL(join(process.argv[2], 'server.mjs')));
let server = null;

process.on('message', async ({ id, method, args }) => {
  try {
    let result;
    if (method === 'start') {
      server = await start(...args);
      result = { port: server.port };
    } else {
      result = await server[method]?.(...args);
    }
    process.send({ id, result });
  } catch (error) {
    process.send({ id, error: error.stack ?? String(error) });
  }
});
// Its parent has ended, or wants it to.
process.on('disconnect', () => process.exit(0));
