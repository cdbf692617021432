// express-pouchdb over PouchDB's own storage on disk.
import express from 'express';
import expressPouchdb from 'express-pouchdb';
import { once } from 'node:events';
import { join } from 'node:path';
import PouchDB from 'pouchdb-node';
import { historyRecord } from '../../records.mjs';

const cors = {
  'access-control-allow-methods': 'GET, HEAD, POST, PUT, DELETE',
  'access-control-allow-headers': 'content-type',
  'access-control-allow-credentials': 'true',
  'access-control-max-age': '600',
};

export async function start(folder) {
  const Server = PouchDB.defaults({ prefix: `${join(folder, 'data')}-` });
  const app = express();
  app.use((request, response, next) => {
    response.set({ ...cors, 'access-control-allow-origin': request.get('origin') ?? '*' });
    if (request.method === 'OPTIONS') response.status(204).end();
    else next();
  });
  app.use('/', expressPouchdb(Server, { mode: 'minimumForPouchDB', inMemoryConfig: true, logPath: join(folder, 'log.txt') }));
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const document = (index, text) => {
    const { id, ...fields } = historyRecord(index, text);
    return { _id: id, ...fields };
  };
  return {
    port: server.address().port,
    async prepare(name, texts) {
      await new Server(name).bulkDocs(texts.map((text, index) => document(index, text)));
      return name;
    },
    async append(name, text) {
      const database = new Server(name);
      const { doc_count: length } = await database.info();
      await database.put(document(length, text));
    },
  };
}
