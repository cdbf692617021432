// Every kind of wallet, and every way in which one can misbehave. The other side is wallet-adapter's and the Wallet Standard's own.
import {
  BaseMessageSignerWalletAdapter, EventEmitter, WalletAccountError, WalletConnectionError, WalletLoadError, WalletNotReadyError, WalletReadyState,
  WalletSignMessageError, WalletTimeoutError, WalletWindowBlockedError, WalletWindowClosedError,
} from '@solana/wallet-adapter-base';
import { getWallets } from '@wallet-standard/app';
import { ReadonlyWalletAccount, registerWallet } from '@wallet-standard/wallet';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import vm from 'node:vm';
import { within } from '../e2e/harness/wait.mjs';
import { addressOf, check, coded, load } from './modules.mjs';

const { findWallets, openWallet } = await load('wallets');

const bytes = new Uint8Array(randomBytes(32));
const address = addressOf(bytes);
const otherBytes = new Uint8Array(randomBytes(32));
const other = addressOf(otherBytes);
const signature = new Uint8Array(randomBytes(64));

/** No wallet may keep anybody waiting: what is not said within the time that is given is a timeout of the wallet. */
const open = (given, options) => within('openWallet settles', openWallet(given, { addressOf, check, timeoutMs: 50, ...options }), 5_000);

/** As web3.js has it. */
class PublicKey {
  #bytes;
  constructor(bytes) {
    this.#bytes = bytes;
  }
  toBytes() {
    return this.#bytes;
  }
  toBase58() {
    return addressOf(this.#bytes);
  }
  toString() {
    return this.toBase58();
  }
}

const key = new PublicKey(bytes);
const otherKey = new PublicKey(otherBytes);

/** As Phantom injects it: without a publicKey until it is connected. */
class Provider extends EventEmitter {
  isPhantom = true;
  publicKey = null;
  answer = async () => {
    this.publicKey = key;
    this.emit('connect', key);
    return { publicKey: key };
  };
  connect() {
    return this.answer();
  }
  async signMessage() {
    return { signature, publicKey: key };
  }
  switchTo(publicKey) {
    this.publicKey = publicKey;
    this.emit('accountChanged', publicKey);
  }
}

const throwing = (error) => () => {
  throw error;
};
const rejecting = (error) => ({ connect: () => Promise.reject(error) });
const accepted = { publicKey: key, connect: async () => ({ publicKey: key }) };
const refused = Object.assign(new Error('User rejected the request.'), { code: 4001 });
const never = () => new Promise(() => {});
const trapped = new Proxy({}, { get: throwing(new Error('a trap')), has: throwing(new Error('a trap')), getPrototypeOf: throwing(new Error('a trap')) });
const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
/** Shows its value to the first that asks, and something else to all later ones. */
const changing = (first, later) => {
  let asked = 0;
  return { get: () => (asked++ === 0 ? first : later) };
};
const withGetter = (name, descriptor, rest = {}) => Object.defineProperty({ ...rest }, name, descriptor);

describe('what works', () => {
  const cases = {
    'a provider that has its key after connect': new Provider(),
    'a key that is a text': { ...accepted, publicKey: address },
    'a key that is 32 bytes': { ...accepted, publicKey: bytes },
    'a key that is a part of a buffer': { ...accepted, publicKey: new Uint8Array([...otherBytes, ...bytes]).subarray(32) },
    'a key of another realm': { ...accepted, publicKey: vm.runInNewContext('Uint8Array.from(bytes)', { bytes: [...bytes] }) },
    'a provider of another realm': vm.runInNewContext(`({ publicKey: { toString: () => '${address}' }, connect: async () => ({}) })`),
    'a key in the answer of connect alone': { connect: async () => ({ publicKey: key }) },
    'connect that gives nothing': { publicKey: key, connect() {} },
    'connect that gives true': { publicKey: key, connect: async () => true },
    'no connect, as a key pair has none': { publicKey: key },
    'a provider that is a function': Object.assign(() => {}, accepted),
    'a frozen provider': Object.freeze({ ...accepted }),
    'a proxy of a provider': new Proxy(accepted, {}),
    'a provider that is thenable itself': { ...accepted, then: never },
    'an answer that is thenable only when it is looked at again': { publicKey: key, connect: () => withGetter('then', changing(undefined, never)) },
    'a key that is thenable': { ...accepted, publicKey: { then: never, toString: () => address } },
    'methods on the prototype that need their object': new (class {
      #key = key;
      connect() {
        return this.#key;
      }
      get publicKey() {
        return this.#key;
      }
    })(),
    'without events': { ...accepted, on: undefined },
  };
  for (const [name, given] of Object.entries(cases)) {
    test(name, async () => {
      const wallet = await open(given);
      assert.deepEqual([wallet.address, wallet.kind], [address, 'provider']);
      wallet.onAccountChanged(() => assert.fail('it has not changed'))();
    });
  }
});

describe('what is refused', () => {
  const noText = (publicKey) => ({ ...accepted, publicKey });
  const cases = {
    WALLET_NOT_FOUND: {
      undefined: undefined,
      null: null,
      'an adapter whose wallet is not installed': { ...accepted, readyState: 'NotDetected' },
      'an adapter for other platforms': { ...accepted, readyState: 'Unsupported' },
      WalletNotReadyError: rejecting(new WalletNotReadyError()),
      'useWallet without a selected wallet': { select() {}, wallet: null, publicKey: null, connect: async () => {} },
    },
    WALLET_REJECTED: {
      'code 4001': rejecting({ code: 4001, message: '' }),
      'code 4001 that is a text': rejecting({ code: '4001' }),
      'the Wallet Standard\'s own error': rejecting({ name: 'WalletStandardError', context: { __code: 4001000 } }),
      'an Error without a code': rejecting(new Error('User rejected the request.')),
      'an Error of another realm': rejecting(vm.runInNewContext('Object.assign(new Error("no"), { code: 4001 })')),
      'a text': rejecting('User denied access'),
      'Backpack\'s words': rejecting(new Error('Approval Denied')),
      'Solflare\'s words': rejecting(new Error('Connection rejected')),
      'words of many': rejecting(new Error('The request was cancelled by the user')),
      'WalletConnectionError around it': rejecting(new WalletConnectionError(refused.message, refused)),
      'WalletConnectionError without words around it': rejecting(new WalletConnectionError(undefined, refused)),
      'WalletSignMessageError around it': rejecting(new WalletSignMessageError(undefined, refused)),
      'an Error whose cause it is': rejecting(new Error('failed', { cause: refused })),
      'a closed window': rejecting(new WalletWindowClosedError()),
      'thrown, not rejected': { connect: throwing(refused) },
    },
    WALLET_LOCKED: {
      'code 4100': rejecting({ code: 4100, message: 'The requested method has not been authorized.' }),
      'words of code 4100 alone': rejecting(new Error('The requested method and/or account has not been authorized by the user.')),
      'WalletAccountError, of adapters that find no account': rejecting(new WalletConnectionError(undefined, new WalletAccountError())),
      'words': rejecting(new Error('Wallet is locked')),
      'other words': rejecting(new WalletConnectionError('Please unlock your wallet', new Error('Please unlock your wallet'))),
      'connect that leaves it without a key': { publicKey: null, connect: async () => {} },
      'no key, and no way to connect': { publicKey: null },
      'an answer without a key': { connect: async () => ({ publicKey: undefined }) },
    },
    WALLET_TIMEOUT: {
      'connect that never answers': { publicKey: null, connect: never },
      'a thenable that never answers': { publicKey: key, connect: () => ({ then() {} }) },
      'a thenable that gives one that never answers': { publicKey: key, connect: () => ({ then: (resolve) => resolve({ then() {} }) }) },
      'an adapter that is connecting for ever': Object.assign(new EventEmitter(), { publicKey: null, connecting: true, connect: async () => {} }),
      WalletTimeoutError: rejecting(new WalletTimeoutError()),
    },
    WALLET_UNSUPPORTED: {
      'a number': 5,
      'a text': 'phantom',
      true: true,
      'a symbol': Symbol('wallet'),
      'a bigint': 5n,
      'an empty object': {},
      'a list': [],
      'a function': () => {},
      'a key': key,
      'its bytes': bytes,
      'a promise of a wallet': Promise.resolve(accepted),
      'an Ethereum provider': { isMetaMask: true, request: async () => [], on() {} },
      'the folder of Phantom\'s providers': { solana: accepted, ethereum: {} },
      'a wallet for another chain': { chains: ['sui:mainnet'], features: {}, accounts: [] },
      'an account of another chain': { address, publicKey: bytes, chains: ['sui:mainnet'], features: [] },
      'a wallet that cannot connect': { chains: ['solana:mainnet'], features: {}, accounts: [] },
      'a handle of a wallet, whose features are names': { chains: ['solana:mainnet'], features: ['standard:connect'], accounts: [] },
    },
    INVALID_WALLET_ADDRESS: {
      'a key without a toString': noText(Object.create(null)),
      'a key whose toString throws': noText({ toString: throwing(new Error('mine')) }),
      'a key whose toString gives an object': noText({ toString: () => ({}), valueOf: () => ({}) }),
      'a key whose toString gives a promise': noText({ toString: async () => address, valueOf: () => ({}) }),
      'a plain object': noText({}),
      'a text that is no address': noText('0xc0ffee'),
      'an empty text': noText(''),
      'a huge text': noText('1'.repeat(1 << 20)),
      'a number': noText(5),
      'a function': noText(() => address),
      'a symbol': noText(Symbol('key')),
      'false': noText(false),
      '31 bytes': noText(bytes.subarray(1)),
      'no bytes': noText(new Uint8Array()),
      'bytes that are detached': noText(detached()),
      'a proxy that throws': noText(trapped),
      'a key that changes while it is read': withGetter('publicKey', (() => {
        let isOdd = false;
        return { get: () => ((isOdd = !isOdd) ? key : otherKey) };
      })(), { connect: async () => {} }),
      'an account whose address is not its key\'s': { address: other, publicKey: bytes, chains: ['solana:mainnet'], features: [] },
    },
    WALLET_CONNECTION_FAILED: {
      'connect that throws': { connect: throwing(new Error('mine')) },
      'connect that throws nothing': { connect: throwing(undefined) },
      'connect that rejects with nothing': rejecting(undefined),
      'connect that rejects with null': rejecting(null),
      'connect that rejects with a number': rejecting(5),
      'connect that rejects with a symbol': rejecting(Symbol('no')),
      'connect that rejects with an object without a prototype': rejecting(Object.create(null)),
      'connect that rejects with a proxy that throws': rejecting(trapped),
      'connect that rejects with an error whose message throws': rejecting(withGetter('message', { get: throwing(new Error('mine')) })),
      'an error that is its own cause': rejecting((() => {
        const error = new Error('round');
        return Object.assign(error, { cause: error });
      })()),
      'a thenable that throws': { publicKey: key, connect: () => withGetter('then', { get: throwing(new Error('mine')) }) },
      'an answer whose publicKey throws': { connect: async () => withGetter('publicKey', { get: throwing(new Error('mine')) }) },
      'a connect that throws when it is looked at': withGetter('connect', { get: throwing(new Error('mine')) }),
      'a publicKey that throws when it is looked at': withGetter('publicKey', { get: throwing(new Error('mine')) }),
      'a proxy whose traps throw': trapped,
      'a proxy that was revoked': revoked(),
      'an account list that was revoked': { chains: ['solana:mainnet'], features: {}, accounts: revoked() },
      'code 4900, no network': rejecting({ code: 4900, message: 'Phantom could not connect to the network.' }),
      'a request that is pending': rejecting({ code: -32002, message: 'Request of type connect already pending' }),
      'a blocked window': rejecting(new WalletWindowBlockedError()),
      'a wallet that does not load': rejecting(new WalletLoadError()),
    },
  };
  for (const [code, givens] of Object.entries(cases)) {
    for (const [name, given] of Object.entries(givens)) test(`${code}: ${name}`, () => assert.rejects(open(given), coded(code)));
  }

  test('what the wallet threw is the cause, whatever it is', async () => {
    for (const thrown of [refused, new WalletConnectionError('no', refused), 'no', 5, undefined, null, trapped, Object.freeze({ code: 4001 })]) {
      for (const given of [rejecting(thrown), { connect: throwing(thrown) }]) {
        const error = await open(given).catch((error) => error);
        assert.ok('cause' in error && Object.is(error.cause, thrown), error.message);
      }
    }
  });
});

function detached() {
  const key = Uint8Array.from(bytes);
  structuredClone(key.buffer, { transfer: [key.buffer] });
  return key;
}

describe('waiting', () => {
  test('an aborted signal asks nobody', async () => {
    const asked = { publicKey: key, connect: () => assert.fail('it was asked') };
    for (const given of [asked, { publicKey: key }]) {
      await assert.rejects(open(given, { signal: AbortSignal.abort(refused) }), (error) => coded('CALL_ABORTED')(error) && error.cause === refused);
    }
  });

  test('a signal ends the wait for a person', async () => {
    const controller = new AbortController();
    const opening = open({ publicKey: null, connect: never }, { signal: controller.signal, timeoutMs: undefined });
    await turn();
    controller.abort();
    await assert.rejects(opening, coded('CALL_ABORTED'));
  });

  test('a timer that is too long for the browser does not end at once', async () => {
    const controller = new AbortController();
    const opening = open({ publicKey: null, connect: never }, { signal: controller.signal, timeoutMs: Infinity });
    await new Promise((resolve) => setTimeout(resolve, 20));
    controller.abort();
    await assert.rejects(opening, coded('CALL_ABORTED'));
  });

  test('nothing stays behind at a signal that lives long', async () => {
    let listeners = 0;
    const signal = { aborted: false, addEventListener: () => (listeners += 1), removeEventListener: () => (listeners -= 1) };
    await open(accepted, { signal });
    await assert.rejects(open(rejecting(refused), { signal }), coded('WALLET_REJECTED'));
    assert.equal(listeners, 0);
  });
});

describe('signing', () => {
  const cases = { 'bytes alone': signature, 'an object': { signature }, 'bytes of another realm': vm.runInNewContext('Uint8Array.from(bytes)', { bytes: [...signature] }) };
  for (const [name, answer] of Object.entries(cases)) {
    test(`a signature may be ${name}`, async () => {
      const message = new Uint8Array([1, 2]);
      const wallet = await open({ ...accepted, signMessage: async (given) => (assert.equal(given, message), answer) });
      const signed = await wallet.signMessage(message);
      assert.deepEqual(signed, signature);
      assert.ok(signed instanceof Uint8Array, 'of this realm');
    });
  }

  test('a signature is a copy, which the wallet cannot change', async () => {
    const own = signature.slice();
    const wallet = await open({ ...accepted, signMessage: async () => own });
    const signed = await wallet.signMessage(bytes);
    own.fill(0);
    assert.deepEqual(signed, signature);
  });

  const refusals = {
    WALLET_REJECTED: async () => Promise.reject(new WalletSignMessageError(refused.message, refused)),
    WALLET_TIMEOUT: never,
    WALLET_CONNECTION_FAILED: async () => ({ signature: new Uint8Array(63) }),
    WALLET_LOCKED: throwing({ code: 4100 }),
  };
  for (const [code, signMessage] of Object.entries(refusals)) {
    test(`signing fails with ${code}`, async () => {
      const wallet = await open({ ...accepted, signMessage });
      await assert.rejects(wallet.signMessage(bytes), coded(code));
    });
  }

  test('a wallet that cannot sign says so by having no method', async () => {
    assert.equal((await open(accepted)).signMessage, undefined);
    assert.equal((await open({ ...accepted, signMessage: null })).signMessage, undefined);
    assert.equal((await open(accepted)).signIn, undefined);
  });
});

describe('signing in', () => {
  const parts = { domain: 'chat.example', address, statement: 'S', version: '1', issuedAt: 'I', expirationTime: 'E', resources: ['a:b'] };
  const offer = `chat.example wants you to sign in with your Solana account:\n${address}\n\nS\n\nVersion: 1\nIssued At: I\nExpiration Time: E\nResources:\n- a:b`;

  test('a provider is given the parts, and what it signed is taken as it signed it', async () => {
    const signedMessage = new Uint8Array([1, 2, 3]);
    const wallet = await open({ ...accepted, signIn: async (given) => (assert.deepEqual(given, parts), { address: key, signedMessage, signature }) });
    assert.deepEqual(await wallet.signIn(offer), { message: signedMessage, signature });
  });

  test('a wallet that does not say what it signed has signed the text', async () => {
    const wallet = await open({ ...accepted, signIn: async () => ({ signature }) });
    assert.equal(new TextDecoder().decode((await wallet.signIn(offer)).message), offer);
  });

  test('a wallet of the Wallet Standard answers with a list', async () => {
    const signedMessage = new Uint8Array([1, 2, 3]);
    const signIn = async (...inputs) => inputs.map((given) => (assert.deepEqual(given, parts), { account: account(bytes), signedMessage, signature }));
    class SigningIn extends Standard {
      get features() {
        return { ...super.features, 'solana:signIn': { version: '1.0.0', signIn } };
      }
    }
    const wallet = await open(new SigningIn());
    assert.deepEqual(await wallet.signIn(offer), { message: signedMessage, signature });
  });

  for (const [code, signIn] of Object.entries({ WALLET_REJECTED: throwing({ code: 4001 }), WALLET_TIMEOUT: never, WALLET_CONNECTION_FAILED: async () => ({}) })) {
    test(`it fails with ${code}`, async () => {
      await assert.rejects((await open({ ...accepted, signIn })).signIn(offer), coded(code));
    });
  }
});

/** The accounts that a wallet tells of, and how to end that. */
function heard(wallet) {
  const told = [];
  const end = wallet.onAccountChanged((address) => told.push(address));
  return { told, end };
}

describe('another account in a provider', () => {
  test('a switch, a lock and an unlock are told once each', async () => {
    const provider = new Provider();
    const { told } = heard(await open(provider));
    provider.switchTo(otherKey);
    provider.emit('accountChanged', otherKey);
    provider.switchTo(null);
    provider.emit('disconnect');
    provider.publicKey = key;
    provider.emit('connect', key);
    assert.deepEqual(told, [other, null, address]);
  });

  test('the key may come as text or bytes, or not at all', async () => {
    const provider = new Provider();
    const { told } = heard(await open(provider));
    provider.switchTo(other);
    provider.switchTo(bytes);
    provider.publicKey = otherKey;
    provider.emit('accountChanged');
    assert.deepEqual(told, [other, address, other]);
  });

  test('an account that cannot be read is none', async () => {
    const provider = new Provider();
    const { told } = heard(await open(provider));
    provider.emit('accountChanged', { toString: throwing(new Error('mine')) });
    assert.deepEqual(told, [null]);
  });

  test('nothing is told after its end', async () => {
    for (const off of ['off', 'removeListener', 'neither']) {
      const provider = new Provider();
      if (off !== 'off') provider.off = undefined;
      if (off === 'neither') provider.removeListener = undefined;
      const { told, end } = heard(await open(provider));
      end();
      end();
      provider.switchTo(otherKey);
      assert.deepEqual(told, []);
      if (off !== 'neither') assert.equal(provider.listenerCount('accountChanged') + provider.listenerCount('connect') + provider.listenerCount('disconnect'), 0);
    }
  });

  test('a switch before anybody listened is told', async () => {
    const provider = new Provider();
    const wallet = await open(provider);
    provider.switchTo(otherKey);
    const { told } = heard(wallet);
    await turn();
    assert.deepEqual(told, [other]);
    const again = heard(wallet);
    await turn();
    assert.deepEqual(again.told, [], 'it is known by then');
  });

  test('a provider that does not let its listeners go is not heard', async () => {
    const provider = Object.assign(new Provider(), { off: throwing(new Error('mine')) });
    const { told, end } = heard(await open(provider));
    end();
    provider.switchTo(otherKey);
    assert.deepEqual(told, []);
  });

  test('a provider that refuses listeners is an error', async () => {
    const wallet = await open({ ...accepted, on: throwing(refused) });
    assert.throws(() => wallet.onAccountChanged(() => {}), (error) => coded('WALLET_REJECTED')(error) && error.cause === refused);
    await turn();
  });
});

/** As the adapters of wallet-adapter are written. */
class Adapter extends BaseMessageSignerWalletAdapter {
  name = 'Test';
  url = 'https://example.com';
  icon = 'data:image/svg+xml;base64,';
  supportedTransactionVersions = null;
  publicKey = null;
  connecting = false;
  readyState = WalletReadyState.Installed;
  asked = 0;
  /** What the person does. */
  person = async () => key;

  async connect() {
    if (this.connected || this.connecting) return;
    try {
      if (this.readyState !== WalletReadyState.Installed) throw new WalletNotReadyError();
      this.connecting = true;
      this.asked += 1;
      try {
        this.publicKey = await this.person();
      } catch (error) {
        throw new WalletConnectionError(error?.message, error);
      }
      this.emit('connect', this.publicKey);
    } catch (error) {
      this.emit('error', error);
      throw error;
    } finally {
      this.connecting = false;
    }
  }
  async disconnect() {
    this.publicKey = null;
    this.emit('disconnect');
  }
  switchTo(publicKey) {
    this.publicKey = publicKey;
    this.emit('connect', publicKey);
  }
  async signTransaction(transaction) {
    return transaction;
  }
  async signMessage() {
    try {
      if (!this.publicKey) throw new Error('not connected');
      return signature;
    } catch (error) {
      throw new WalletSignMessageError(error?.message, error);
    }
  }
}

/** What `useWallet()` gives in one render. */
const useWallet = (adapter) => ({
  autoConnect: false, wallets: [{ adapter, readyState: adapter.readyState }], wallet: { adapter, readyState: adapter.readyState },
  publicKey: adapter.publicKey, connected: adapter.connected, connecting: adapter.connecting, disconnecting: false,
  select() {}, connect: () => adapter.connect(), disconnect: () => adapter.disconnect(), signMessage: (message) => adapter.signMessage(message),
});

const forms = { 'an adapter': (adapter) => adapter, 'what useWallet gives': useWallet, 'a wallet of its list': (adapter) => useWallet(adapter).wallets[0] };
for (const [form, of] of Object.entries(forms)) {
  describe(`${form} of wallet-adapter`, () => {
    test('connects, signs, and tells of another account', async () => {
      const adapter = new Adapter();
      const wallet = await open(of(adapter));
      assert.equal(wallet.address, address);
      assert.deepEqual(await wallet.signMessage(bytes), signature);
      const { told, end } = heard(wallet);
      adapter.switchTo(otherKey);
      await adapter.disconnect();
      await adapter.connect();
      end();
      adapter.switchTo(otherKey);
      assert.deepEqual(told, [other, null, address]);
      assert.equal(adapter.listenerCount('connect') + adapter.listenerCount('disconnect'), 0);
    });

    test('is not asked again where it is connected', async () => {
      const adapter = new Adapter();
      await adapter.connect();
      assert.equal((await open(of(adapter))).address, address);
      assert.equal(adapter.asked, 1);
    });

    test('is waited for where the page itself connects it', async () => {
      const adapter = new Adapter();
      let agree;
      adapter.person = () => new Promise((resolve) => (agree = resolve));
      const connecting = adapter.connect();
      const opening = open(of(adapter), { timeoutMs: 1_000 });
      await turn();
      agree(key);
      await connecting;
      assert.equal((await opening).address, address);
      assert.equal(adapter.asked, 1);
      assert.equal(adapter.listenerCount('connect') + adapter.listenerCount('error'), 0);
    });

    test('is refused to the page that waits for another\'s connect', async () => {
      const adapter = new Adapter();
      adapter.on('error', () => {});
      let refuse;
      adapter.person = () => new Promise((_, reject) => (refuse = reject));
      const connecting = assert.rejects(adapter.connect());
      const opening = assert.rejects(open(of(adapter), { timeoutMs: 1_000 }), coded('WALLET_REJECTED'));
      await turn();
      refuse(refused);
      await Promise.all([connecting, opening]);
    });

    test('says no, is absent, or is not connected any more', async () => {
      const adapter = new Adapter();
      adapter.on('error', () => {});
      adapter.person = () => Promise.reject(refused);
      await assert.rejects(open(of(adapter)), (error) => coded('WALLET_REJECTED')(error) && error.cause instanceof WalletConnectionError && error.cause.error === refused);
      adapter.readyState = WalletReadyState.NotDetected;
      await assert.rejects(open(of(adapter)), coded('WALLET_NOT_FOUND'));
      adapter.readyState = WalletReadyState.Installed;
      adapter.person = async () => key;
      const wallet = await open(of(adapter));
      await adapter.disconnect();
      await assert.rejects(wallet.signMessage(bytes), coded('WALLET_CONNECTION_FAILED'));
    });
  });
}

/** A wallet as its extension registers it, over the Wallet Standard's own account. */
class Standard {
  version = '1.0.0';
  name = 'Test';
  icon = 'data:image/svg+xml;base64,';
  chains = ['solana:mainnet', 'solana:devnet'];
  #accounts = [];
  #events = new EventEmitter();
  asked = 0;
  /** What the person does. */
  person = async () => this.share(account(bytes));
  signed = [];

  get features() {
    return {
      'standard:connect': { version: '1.0.0', connect: () => this.#connect() },
      'standard:events': {
        version: '1.0.0',
        on: (event, listener) => {
          this.#events.on(event, listener);
          return () => this.#events.off(event, listener);
        },
      },
      'solana:signMessage': { version: '1.1.0', signMessage: async (...inputs) => (this.signed.push(...inputs), inputs.map(({ message }) => ({ signedMessage: message, signature }))) },
    };
  }
  get accounts() {
    return this.#accounts;
  }
  get listeners() {
    return this.#events.listenerCount('change');
  }
  share(...accounts) {
    this.#accounts = accounts;
    this.#events.emit('change', { accounts });
  }
  async #connect() {
    this.asked += 1;
    if (this.#accounts.length === 0) await this.person();
    return { accounts: this.#accounts };
  }
}

const account = (publicKey, chains = ['solana:mainnet']) =>
  new ReadonlyWalletAccount({ address: addressOf(publicKey), publicKey, chains, features: ['solana:signMessage'] });

describe('a wallet of the Wallet Standard', () => {
  test('connects, signs with its account, and tells of another one', async () => {
    const standard = new Standard();
    const wallet = await open(standard);
    assert.deepEqual([wallet.address, standard.asked], [address, 1]);
    assert.deepEqual(await wallet.signMessage(bytes), signature);
    assert.deepEqual(standard.signed, [{ account: standard.accounts[0], message: bytes }]);
    const { told, end } = heard(wallet);
    standard.share(account(otherBytes), account(bytes));
    standard.share();
    standard.share(account(bytes));
    end();
    standard.share();
    assert.deepEqual(told, [other, null, address]);
    assert.equal(standard.listeners, 0);
  });

  test('is not asked where it shares an account already', async () => {
    const standard = new Standard();
    standard.share(account(randomBytes(32), ['sui:mainnet']), account(bytes));
    assert.equal((await open(standard)).address, address);
    assert.equal(standard.asked, 0);
  });

  test('signs in where it cannot connect', async () => {
    const standard = new Standard();
    const features = { 'solana:signIn': { signIn: async (...inputs) => inputs.map(() => ({ account: account(bytes), signedMessage: bytes, signature })) } };
    assert.equal((await open({ chains: standard.chains, accounts: [], features })).address, address);
  });

  const refusals = {
    WALLET_REJECTED: () => Promise.reject(refused),
    WALLET_LOCKED: async () => {},
    WALLET_TIMEOUT: never,
    WALLET_CONNECTION_FAILED: () => Promise.reject(new Error('mine')),
  };
  for (const [code, person] of Object.entries(refusals)) {
    test(`fails with ${code}`, async () => {
      await assert.rejects(open(Object.assign(new Standard(), { person })), coded(code));
    });
  }
});

describe('an account of the Wallet Standard', () => {
  beforeEach(() => {
    globalThis.window = new EventTarget();
  });
  afterEach(() => {
    delete globalThis.window;
  });

  test('is its address, also where its wallet is not known', async () => {
    const wallet = await open(account(bytes));
    assert.equal(wallet.address, address);
    assert.equal(wallet.signMessage, undefined);
    const { told } = heard(wallet);
    await turn();
    assert.deepEqual(told, []);
  });

  test('signs by the wallet that shares it, and stays for as long as it does', async () => {
    const [standard, stranger] = [new Standard(), new Standard()];
    registerWallet(stranger);
    registerWallet(standard);
    const chosen = account(bytes);
    standard.share(account(otherBytes), chosen);
    stranger.share(account(bytes));
    const wallet = await open(chosen);
    await wallet.signMessage(bytes);
    assert.deepEqual([standard.signed.length, stranger.signed.length, standard.signed[0].account], [1, 0, chosen]);
    const { told } = heard(wallet);
    standard.share(account(otherBytes), account(bytes));
    standard.share(account(otherBytes));
    standard.share();
    await turn();
    assert.deepEqual(told, [other, null]);
  });

  test('does not sign by a guess', async () => {
    for (const standard of [new Standard(), new Standard()]) {
      registerWallet(standard);
      standard.share(account(bytes));
    }
    assert.equal((await open(account(bytes))).signMessage, undefined);
  });
});

describe('finding wallets', () => {
  beforeEach(() => {
    globalThis.window = new EventTarget();
  });
  afterEach(() => {
    delete globalThis.window;
  });

  test('those before and those after are found, each once', () => {
    const [early, late] = [new Standard(), new Standard()];
    registerWallet(early);
    const seen = [];
    const search = findWallets(() => seen.push(search.wallets.length));
    assert.deepEqual(search.wallets, [early]);
    assert.equal(search.wallets, search.wallets);
    registerWallet(late);
    registerWallet(late);
    registerWallet(early);
    assert.deepEqual([search.wallets, seen], [[early, late], [2]]);
    assert.deepEqual(findWallets().wallets, [early, late], 'a second search finds them too');
    search.stop();
    registerWallet(new Standard());
    assert.deepEqual(seen, [2]);
  });

  test('beside the Wallet Standard\'s own search', () => {
    const standard = new Standard();
    registerWallet(standard);
    const { get } = getWallets();
    const search = findWallets();
    registerWallet(new Standard());
    assert.deepEqual([get().length, search.wallets.length], [2, 2]);
  });

  test('only those for Solana that sign messages', () => {
    const wallets = [
      Object.assign(new Standard(), { chains: ['sui:mainnet'] }),
      { version: '1.0.0', name: 'no signing', icon: '', chains: ['solana:mainnet'], features: {}, accounts: [] },
      trapped, null, 5, revoked(),
    ];
    for (const wallet of wallets) registerWallet(wallet);
    assert.deepEqual(findWallets().wallets, []);
  });

  test('one that leaves is no longer shown', () => {
    let leave;
    globalThis.window.addEventListener('wallet-standard:app-ready', ({ detail }) => (leave = detail.register(new Standard())));
    let changes = 0;
    const search = findWallets(() => (changes += 1));
    assert.equal(search.wallets.length, 1);
    leave();
    leave();
    assert.deepEqual([search.wallets, changes], [[], 1]);
  });

  test('a listener that throws does not disturb the wallet', () => {
    const report = mock.method(console, 'error', () => {});
    const search = findWallets(() => {
      throw new Error('a bug of the application');
    });
    globalThis.window.dispatchEvent(Object.assign(new Event('wallet-standard:register-wallet'), { detail: ({ register }) => register(new Standard()) }));
    assert.deepEqual([search.wallets.length, report.mock.callCount()], [1, 1]);
    report.mock.restore();
  });

  test('a listener that is no function is refused', () => {
    for (const value of [5, null, {}]) assert.throws(() => findWallets(value), coded('INVALID_ARGUMENT'));
  });

  test('there are none without a window', () => {
    delete globalThis.window;
    const search = findWallets();
    search.stop();
    assert.deepEqual(search.wallets, []);
  });
});
