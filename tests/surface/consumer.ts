// What an application writes, with the types of the wallets' own packages: compiled, never run.
import type { Adapter, MessageSignerWalletAdapter } from '@solana/wallet-adapter-base';
import type { Wallet, WalletAccount } from '@wallet-standard/base';
import { Directory } from '../../src/surface/directory.js';
import { findWallets, openWallet, type OpenWallet, type StandardWallet, type WalletSource } from '../../src/surface/wallets.js';

declare const adapter: Adapter;
declare const signer: MessageSignerWalletAdapter;
declare const wallet: Wallet;
declare const account: WalletAccount;
declare const context: { publicKey: { toBase58(): string } | null; connect(): Promise<void>; select(name: string | null): void };
declare const injected: { isPhantom?: boolean; publicKey?: { toBytes(): Uint8Array }; connect(options?: { onlyIfTrusted?: boolean }): Promise<{ publicKey: object }> };
declare const options: { addressOf(bytes: Uint8Array): string; check(address: string): void };

// Nothing that cannot sign is refused where nothing is signed.
export const sources: WalletSource[] = [
  adapter, signer, wallet, account, context, injected, { publicKey: 'text' }, { publicKey: new Uint8Array(32) }, { publicKey: null }, { connect() {} },
];
// @ts-expect-error A key alone is no wallet.
export const noKey: WalletSource = 'text';
// @ts-expect-error Neither is an object with nothing of one.
export const nothing: WalletSource = {};

export const standard: StandardWallet = wallet;
export const name: string | undefined = findWallets(() => {}).wallets[0]?.name;

export async function use(): Promise<OpenWallet> {
  const opened = await openWallet(adapter, { ...options, signal: AbortSignal.timeout(1_000) });
  const signed: Uint8Array | undefined = await opened.signMessage?.(new Uint8Array());
  const end: () => void = opened.onAccountChanged((address) => console.log(address?.length, signed));
  end();
  const directory = new Directory('name', options.addressOf);
  return (await directory.last())?.kind === 'local' ? directory.localWallet() : opened;
}
