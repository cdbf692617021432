/** The browser's own event comes when it pleases: the page asks for one. */
export function deliverWhenAsked() {
  addEventListener('message', ({ ports: [port] }) => {
    const waitUntil = (work) => work.then(() => port.postMessage('delivered'), (error) => port.postMessage(String(error.stack ?? error)));
    dispatchEvent(Object.assign(new Event('sync'), { tag: 'solconnect-sync', waitUntil }));
  });
}
