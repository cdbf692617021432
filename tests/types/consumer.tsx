// The status element in JSX, as a React application writes it: compiled, never run.
import { useRef } from 'react';
import type { SolConnectSDK } from 'solconnect-sync';
import { useSyncStatus } from 'solconnect-sync/react';
import type { SolconnectSyncStatus } from 'solconnect-sync/status';

export function Header({ sdk }: { sdk: SolConnectSDK | null }) {
  const { connection, isSignedOut } = useSyncStatus(sdk);
  const element = useRef<SolconnectSyncStatus>(null);
  return (
    <header className={isSignedOut ? 'nobody' : connection}>
      <solconnect-sync-status sdk={sdk} texts={{ offline: () => 'Weg', 'signed-out': () => 'Abgemeldet' }} className="status" ref={element} />
      <solconnect-sync-status ref={(node) => {
        if (node) node.sdk = sdk;
      }} />
      {/* @ts-expect-error A text is no SDK. */}
      <solconnect-sync-status sdk="wss://relay" />
    </header>
  );
}
