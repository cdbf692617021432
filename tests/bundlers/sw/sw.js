import { deliverInBackground } from 'solconnect-sync/sw';

const options = new URL(location.href).searchParams;
deliverInBackground({ relayEndpoint: options.get('relay'), databaseName: options.get('databaseName'), domains: [location.host] });

// The browser's own event comes when it pleases: the page asks for one.
addEventListener('message', ({ ports: [port] }) => {
  const waitUntil = (work) => work.then(() => port.postMessage('delivered'), (error) => port.postMessage(String(error.stack ?? error)));
  dispatchEvent(Object.assign(new Event('sync'), { tag: 'solconnect-sync', waitUntil }));
});
