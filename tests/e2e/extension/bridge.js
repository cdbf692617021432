// Between the page and the wallet's process, as in every wallet extension.
window.addEventListener('message', ({ source, data }) => {
  if (source !== window || data?.to !== 'test-wallet') return;
  chrome.runtime.sendMessage(data.request).then((answer) => window.postMessage({ to: 'test-page', id: data.id, answer }, '*'));
});
chrome.runtime.onMessage.addListener((news) => window.postMessage({ to: 'test-page', news }, '*'));
