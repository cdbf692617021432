// The wallet of who is here, found again: a page that was loaded again knows its address, and does not have it at hand.

import { el } from '../dom.js';
import { short } from './words.js';

/** How long a wallet may take that does not ask the person. */
const SILENT_MS = 3_000;

const $ = (id) => document.getElementById(id);

const connectOf = (wallet) => wallet.features['standard:connect']?.connect;

/** The account of this address in what a wallet shares; rejects where it is not there. */
async function accountOf(wallet, address, options) {
  const find = (accounts) => [...(accounts ?? [])].find((account) => account.address === address);
  const account = find(wallet.accounts) ?? find((await connectOf(wallet)?.(options))?.accounts) ?? find(wallet.accounts);
  if (!account) throw new Error('it does not share this account');
  return account;
}

/** `found()` gives the wallets that extensions offer. */
export function createWallet({ sdk, found }) {
  let asked = null; // what the person is asked for: { address, take(account) }

  async function silently(address) {
    const late = new Promise((resolve) => setTimeout(resolve, SILENT_MS));
    const any = Promise.any(found().map((wallet) => accountOf(wallet, address, { silent: true }))).catch(() => undefined);
    return Promise.race([any, late]);
  }

  function ask(address) {
    $('wallet-says').textContent = `This page was loaded again, and your wallet (${short(address)}) is no longer at hand. Connect it, and what you asked for goes on.`;
    $('wallet-error').textContent = '';
    return new Promise((resolve) => {
      let account = null;
      asked = {
        address,
        take(taken) {
          account = taken;
          $('wallet-dialog').close();
        },
      };
      render();
      $('wallet-dialog').addEventListener('close', () => resolve(account), { once: true });
      $('wallet-dialog').showModal();
    });
  }

  async function connects(wallet) {
    const { address, take } = asked;
    $('wallet-error').textContent = '';
    try {
      take(await accountOf(wallet, address));
    } catch {
      $('wallet-error').textContent = `${wallet.name} does not give this page the account ${short(address)}. Unlock it, choose that account there, and try again.`;
    }
  }

  function render() {
    const wallets = found();
    $('wallet-none').hidden = wallets.length > 0;
    $('wallet-choices').replaceChildren(...wallets.map((wallet) => el('button', { type: 'button', class: 'primary', onclick: () => connects(wallet) }, `Connect ${wallet.name}`)));
  }

  $('wallet-cancel').addEventListener('click', () => $('wallet-dialog').close());

  return {
    /** Other wallets are there than before. */
    update() {
      if ($('wallet-dialog').open) render();
    },
    /** Makes a call for which the wallet signs. One that is not at hand is connected before. */
    async having(call) {
      const address = sdk.getCurrentWallet().data;
      const result = await call();
      if (result.error?.code !== 'WALLET_NOT_CONNECTED' || !address) return result;
      const account = (await silently(address)) ?? (await ask(address));
      if (!account) return { success: false };
      const connected = await sdk.connectWallet(account);
      return connected.error ? connected : call();
    },
  };
}
