// The process of one contender's server: carries out what its parent asks for.
const [name, folder] = process.argv.slice(2);
const { start } = await import(`./contenders/${name}/server.mjs`);
let server = null;

process.on('message', async ({ id, method, args }) => {
  try {
    let result;
    if (method === 'start') {
      server = await start(folder);
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
