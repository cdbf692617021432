// A session as an application sees it.

import type { InvitationView, SessionView } from '../solconnect_sync.js';

/** A session. The names with an underscore are the first protocol's; both have the same values. */
export interface Session extends SessionView {
  sessionId: string;
  peerWallet: string;
}

/** Adds the names to what the engine has just made, which nobody else holds. */
export function sessionOf(view: SessionView): Session {
  return Object.assign(view, { sessionId: view.session_id, peerWallet: view.peer_wallet });
}

/** A session that another wallet has begun with this one, and that waits for an answer. */
export interface Invitation extends InvitationView {
  sessionId: string;
  peerWallet: string;
}

/** As `sessionOf`. */
export function invitationOf(view: InvitationView): Invitation {
  return Object.assign(view, { sessionId: view.session_id, peerWallet: view.peer_wallet });
}
