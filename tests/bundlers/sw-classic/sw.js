// A worker that is bundled to a classic script has no address to look beside.
import { deliverInBackground } from 'solconnect-sync/sw';
import { bytes as vaultBytes } from 'solconnect-sync/vault';
import { deliverWhenAsked } from './asked.js';

const options = new URL(location.href).searchParams;
deliverInBackground({
  relayEndpoint: options.get('relay'), databaseName: options.get('databaseName'), domains: [location.host], wasmUrl: '/solconnect_sync_bg.wasm', vaultBytes,
});
deliverWhenAsked();
