// The bindings without a browser: on a server, as stores, and how much a page loads for them.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';
import { build } from 'esbuild';
import { root } from '../../scripts/shell.mjs';
import { compile } from './lists-compile.mjs';

const external = ['react', 'vue', 'svelte/store'];

test('each binding is below 2 KiB, the status element below 5 KiB', async (t) => {
  for (const [name, limit] of [['react', 2], ['vue', 2], ['svelte', 2], ['status', 5]]) {
    const entry = join(root, 'src', 'bindings', `${name}.ts`);
    const { outputFiles } = await build({ entryPoints: [entry], bundle: true, minify: true, format: 'esm', target: 'es2022', external, write: false });
    const size = brotliCompressSync(outputFiles[0].contents).length;
    t.diagnostic(`${name}: ${size} bytes`);
    assert.ok(size < limit * 1024, `${name}: ${size} bytes`);
  }
});

const { react, vue, svelte, ModelSdk, syncStateOf, createElement, renderToString, createSSRApp, renderVue, h, get } = await compile('bindings', `
  export * as react from './src/bindings/react.ts';
  export * as vue from './src/bindings/vue.ts';
  export * as svelte from './src/bindings/svelte.ts';
  export { syncStateOf } from './src/bindings/sync-status.ts';
  export { ModelSdk } from './tests/surface/lists-sdk.mjs';
  export { createElement } from 'react';
  export { renderToString } from 'react-dom/server.edge';
  export { createSSRApp, h } from 'vue';
  export { renderToString as renderVue } from 'vue/server-renderer';
  export { get } from 'svelte/store';
`);

test('on a server all of them are empty and nothing is read', async () => {
  const sdk = new ModelSdk('s');
  sdk.model.receive('s');
  const show = (messages, conversations, status) => JSON.stringify([messages.items ?? messages, messages.isLoading, conversations.items, status.connection]);
  const App = () => createElement('p', null, show(react.useMessages(sdk, 's'), react.useConversations(sdk), react.useSyncStatus(sdk)));
  assert.match(renderToString(createElement(App)), /\[\[\],true,\[\],&quot;offline&quot;\]/);
  const app = createSSRApp(() => {
    const [messages, conversations, status] = [vue.useMessages(sdk, 's'), vue.useConversations(sdk), vue.useSyncStatus(sdk)];
    return h('p', JSON.stringify([messages.items.value, messages.isLoading.value, conversations.items.value, status.value.connection]));
  });
  assert.match(await renderVue(app), /\[\[\],true,\[\],&quot;offline&quot;\]/);
  assert.deepEqual(get(svelte.useMessages(sdk, 's')), { items: [], hasMore: false, isLoading: true });
  assert.deepEqual(get(svelte.useConversations(null)).items, []);
  assert.equal(get(svelte.useSyncStatus(undefined)).connection, 'offline');
  assert.deepEqual([sdk.model.counts.pages, sdk.model.handlers.size, sdk.handlerCount], [0, 0, 0]);
});

test('without a session there is nothing to load', async () => {
  const sdk = new ModelSdk('s');
  for (const id of [null, undefined]) {
    const App = () => createElement('p', null, JSON.stringify(react.useMessages(sdk, id)));
    const nothing = { items: [], hasMore: false, isLoading: false };
    assert.equal(renderToString(createElement(App)), `<p>${JSON.stringify(nothing).replaceAll('"', '&quot;')}</p>`);
    assert.deepEqual(get(svelte.useMessages(sdk, id)), nothing);
    const app = createSSRApp(() => h('p', String(vue.useMessages(sdk, id).isLoading.value)));
    assert.equal(await renderVue(app), '<p>false</p>');
  }
  assert.equal(get(svelte.useMessages(null, 's')).isLoading, true, 'the SDK is still being connected');
});

test('the state of syncing: progress of all sessions, conflicts, storage', async () => {
  const sdk = new ModelSdk('s');
  const state = syncStateOf(sdk);
  assert.equal(syncStateOf(sdk), state, 'one for all');
  let told = 0;
  const end = state.subscribe(() => (told += 1));
  const other = state.subscribe(() => state.getSnapshot());
  const now = async () => {
    await new Promise(setImmediate);
    const { connection, isSyncing, progress, queuedMessageCount, conflictCount, storageError } = state.getSnapshot();
    return [connection, isSyncing, progress && `${progress.messagesSynced}/${progress.totalMessages}`, queuedMessageCount, conflictCount, storageError?.code];
  };
  assert.deepEqual(await now(), ['connected', false, undefined, 0, 0, undefined]);
  for (const sessionId of ['a', 'b']) sdk.emit('syncStarted', { sessionId });
  assert.deepEqual(await now(), ['connected', true, undefined, 0, 0, undefined]);
  for (const sessionId of ['a', 'b']) sdk.emit('syncProgress', { sessionId, progress: { messagesSynced: 3, totalMessages: 10 } });
  assert.equal(state.getSnapshot(), state.getSnapshot(), 'the same object');
  assert.deepEqual(await now(), ['connected', true, '6/20', 0, 0, undefined]);
  assert.equal(told, 3, 'once a turn, also where somebody looked before');
  sdk.emit('syncFailed', { sessionId: 'a' });
  sdk.emit('warning', { error: { code: 'STORAGE_FULL' } });
  sdk.emit('conflictDetected', { sessionId: 'a', conflicts: [{ kind: 'concurrent_messages', messageId: 'm' }, { kind: 'concurrent_versions', messageId: 'n', resolution: 'latest' }] });
  sdk.emit('conflictDetected', { sessionId: 'a', conflicts: [{ kind: 'concurrent_versions', messageId: 'o' }] });
  assert.deepEqual(await now(), ['connected', true, '3/10', 0, 1, 'STORAGE_FULL']);
  sdk.emit('messageChanged', { sessionId: 'a', messageId: 'o' });
  assert.equal((await now())[4], 1, 'it still has two versions');
  sdk.versions = 1;
  sdk.emit('messageChanged', { sessionId: 'a', messageId: 'o' });
  await now();
  sdk.emit('syncCompleted', { sessionId: 'b' });
  assert.deepEqual(await now(), ['connected', false, undefined, 0, 0, undefined]);
  end();
  end();
  other();
  assert.equal(sdk.handlerCount, 0);
});
