// What the wallet puts into every page: a provider as Phantom has it, and a wallet of the Wallet Standard.
{
  const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

  class PublicKey {
    #bytes;
    constructor(bytes) {
      this.#bytes = Uint8Array.from(bytes);
    }
    toBytes() {
      return this.#bytes.slice();
    }
    toString() {
      let number = this.#bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
      let text = '';
      for (; number > 0n; number /= 58n) text = alphabet[Number(number % 58n)] + text;
      return '1'.repeat(this.#bytes.findIndex((byte) => byte !== 0)) + text;
    }
  }

  const pending = new Map();
  const request = async (request) => {
    const id = crypto.randomUUID();
    const answered = new Promise((resolve) => pending.set(id, resolve));
    window.postMessage({ to: 'test-wallet', id, request }, '*');
    const { error, ...answer } = await answered;
    if (error) throw Object.assign(new Error(error.message), { code: error.code });
    return answer;
  };

  class Provider {
    isPhantom = true;
    isConnected = false;
    publicKey = null;
    #listeners = new Map();
    on(event, listener) {
      this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
      return this;
    }
    off(event, listener) {
      this.#listeners.set(event, (this.#listeners.get(event) ?? []).filter((one) => one !== listener));
      return this;
    }
    emit(event, ...values) {
      for (const listener of this.#listeners.get(event) ?? []) listener(...values);
    }
    listeners() {
      return [...this.#listeners.values()].flat().length;
    }
    async connect() {
      const { bytes } = await request({ method: 'connect' });
      this.publicKey = new PublicKey(bytes);
      this.isConnected = true;
      this.emit('connect', this.publicKey);
      return { publicKey: this.publicKey };
    }
    async signMessage(message) {
      const { signature } = await request({ method: 'sign', message: [...message] });
      return { signature: Uint8Array.from(signature), publicKey: this.publicKey };
    }
  }

  class Standard {
    version = '1.0.0';
    icon = 'data:image/svg+xml;base64,';
    chains = ['solana:mainnet'];
    accounts = [];
    listeners = new Set();
    constructor(name) {
      this.name = name;
    }
    share(bytes) {
      const account = bytes && { address: String(new PublicKey(bytes)), publicKey: Uint8Array.from(bytes), chains: this.chains, features: ['solana:signMessage'] };
      this.accounts = account ? [Object.freeze(account)] : [];
      for (const listener of this.listeners) listener({ accounts: this.accounts });
    }
    get features() {
      return {
        'standard:connect': {
          version: '1.0.0',
          connect: async () => {
            this.share((await request({ method: 'connect' })).bytes);
            return { accounts: this.accounts };
          },
        },
        'standard:events': {
          version: '1.0.0',
          on: (_event, listener) => {
            this.listeners.add(listener);
            return () => this.listeners.delete(listener);
          },
        },
        'solana:signMessage': {
          version: '1.0.0',
          signMessage: async (...inputs) =>
            Promise.all(inputs.map(async ({ message }) => {
              const { signature } = await request({ method: 'sign', message: [...message] });
              return { signedMessage: message, signature: Uint8Array.from(signature) };
            })),
        },
      };
    }
  }

  const register = (wallet) => {
    const callback = ({ register }) => register(wallet);
    window.dispatchEvent(new CustomEvent('wallet-standard:register-wallet', { detail: callback }));
    window.addEventListener('wallet-standard:app-ready', ({ detail }) => callback(detail));
  };

  const provider = new Provider();
  const standard = new Standard('Test');
  window.phantom = { solana: provider };
  register(standard);

  window.addEventListener('message', ({ source, data }) => {
    if (source !== window || data?.to !== 'test-page') return;
    if (data.answer) {
      pending.get(data.id)?.(data.answer);
      pending.delete(data.id);
    } else if (data.news.event === 'registerLate') {
      register(new Standard('Late'));
    } else {
      const { bytes } = data.news;
      provider.publicKey = bytes && new PublicKey(bytes);
      provider.emit('accountChanged', provider.publicKey);
      if (standard.accounts.length > 0 || !bytes) standard.share(bytes);
    }
  });
}
