import { story } from './story.js';

/** The story in this page, and in a module worker. The test reads `told`. */
export async function run() {
  const relay = new URLSearchParams(location.search).get('relay');
  globalThis.told = { page: await story(relay, 'page'), worker: await inWorker(relay).catch(String) };
}

async function inWorker(relay) {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => resolve(`the worker failed: ${message}`);
    worker.postMessage(relay);
  });
}
