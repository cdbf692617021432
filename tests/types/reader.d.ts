// What the README's code leaves to its reader's application, and what an earlier block of it has made.
type Sync = typeof import('solconnect-sync');
declare const connect: Sync['connect'];
declare const findWallets: Sync['findWallets'];
declare const unwrap: Sync['unwrap'];
declare const sdk: import('solconnect-sync').SolConnectSDK;
declare const peerWallet: string;
declare function render(items: readonly import('solconnect-sync').Message[]): void;
declare function show(text: string): void;
declare function showNumber(number: string | undefined): void;
declare function showSignIn(why: string | undefined): void;
declare function showTab(role: import('solconnect-sync').TabRole, waitingCallCount: number): void;
declare function askPerson(question: string): Promise<boolean>;
declare function askPassphrase(asked: { isNew: boolean; why: string | undefined; signal: AbortSignal }): Promise<string | null>;
declare function choose<T>(all: readonly T[]): Promise<T>;
