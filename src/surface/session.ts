// A session as an application sees it.

import type { SessionView } from '../solconnect_sync.js';

/** A session. The names with an underscore are the first protocol's; both have the same values. */
export interface Session extends SessionView {
  sessionId: string;
  peerWallet: string;
}

/** Adds the names to what the engine has just made, which nobody else holds. */
export function sessionOf(view: SessionView): Session {
  return Object.assign(view, { sessionId: view.session_id, peerWallet: view.peer_wallet });
}
