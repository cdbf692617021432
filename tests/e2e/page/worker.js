// A worker that is one more tab: each message is a method of `device` and its arguments.
import './device.js';

addEventListener('message', async ({ data: [number, method, ...args] }) => {
  try {
    postMessage([number, await globalThis.device[method](...args)]);
  } catch (error) {
    postMessage([number, null, String(error.message)]);
  }
});
