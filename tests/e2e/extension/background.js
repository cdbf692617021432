// The wallet's own process: its keys, and the person before it, who does what a test says through `person`.

const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

function base58(bytes) {
  let number = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  let text = '';
  for (; number > 0n; number /= 58n) text = alphabet[Number(number % 58n)] + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros) + text;
}

async function newAccount() {
  const keys = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
  const bytes = [...new Uint8Array(await crypto.subtle.exportKey('raw', keys.publicKey))];
  return { keys, bytes, address: base58(bytes) };
}

const accounts = Promise.all([newAccount(), newAccount()]);
const state = { answer: 'accept', chosen: 0, prompts: 0 };

const refused = { code: 4001, message: 'User rejected the request.' };

/** What the page's requests are answered with. */
async function answer({ method, message }) {
  const { bytes, keys } = (await accounts)[state.chosen];
  state.prompts += 1;
  if (state.answer === 'reject') return { error: refused };
  if (state.answer === 'lock') return { error: { code: 4100, message: 'The requested method and/or account has not been authorized by the user.' } };
  if (method === 'connect') return { bytes };
  return { signature: [...new Uint8Array(await crypto.subtle.sign('Ed25519', keys.privateKey, new Uint8Array(message)))] };
}

chrome.runtime.onMessage.addListener((request, _sender, reply) => {
  // Not even the channel is closed then: the person has not looked at the prompt.
  if (state.answer !== 'never') answer(request).then(reply);
  return true;
});

async function tell(news) {
  for (const { id } of await chrome.tabs.query({})) await chrome.tabs.sendMessage(id, news).catch(() => {});
}

/** What the test does in the person's place. */
globalThis.person = {
  will(answer) {
    state.answer = answer;
  },
  addresses: async () => (await accounts).map(({ address }) => address),
  /** How often something was asked since this was asked last. */
  prompts() {
    const { prompts } = state;
    state.prompts = 0;
    return prompts;
  },
  async choose(index) {
    state.chosen = index;
    await tell({ event: 'accountChanged', bytes: (await accounts)[index].bytes });
  },
  lock: () => tell({ event: 'accountChanged', bytes: null }),
  /** Another wallet registers itself only now. */
  registerLate: () => tell({ event: 'registerLate' }),
};
