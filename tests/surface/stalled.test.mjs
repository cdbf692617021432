// The module of encrypted sessions does not come.
import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import init, { SolConnectSDK } from '../../pkg/index.js';

test('a module of encrypted sessions that never comes is given up', async (t) => {
  let ask;
  const asked = new Promise((resolve) => {
    ask = resolve;
  });
  await init({
    vaultBytes: () => {
      ask();
      return new Promise(() => {});
    },
  });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const sdk = new SolConnectSDK({ relayEndpoint: 'ws://localhost:9', databaseName: 'stalled', domains: ['app.example'] });
  const started = sdk.initialize();
  await asked;
  t.mock.timers.tick(20_000);
  const { error } = await started;
  assert.equal(error.code, 'SDK_INITIALIZATION_FAILED');
  assert.match(error.message, /encrypted sessions.*20 seconds/);
});
