//! Being written to: what devices tell and store of invitations, and what the relay lists.

use solconnect_sync_core::client::{Answer, Write};
use solconnect_sync_core::frame::SessionList;

use crate::checker::{Checker, Mark};
use crate::client_disk::ClientDisk;
use crate::network::ConnectionId;
use crate::signers::session_of;
use crate::store_rules::Before;
use crate::world::{ProfileId, TabId};

impl Checker {
    /// A tab tells of an invitation: it is stored, and was not told since it was answered last.
    pub(crate) fn told_invitation(&mut self, tab: TabId, session_id: &str, disk: &ClientDisk) {
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        let knows_disk = view.lost_store.is_none() && !view.disk_ahead;
        let is_first = view.invited.insert(session_id.to_owned());
        let records = &disk.state().records;
        let waits = records.invitations.get(session_id).is_some_and(|record| record.answer == Answer::None);
        // What was imported is no answer yet.
        let is_session = records.sessions.get(session_id).is_some_and(|session| session.open);
        self.require(32, is_first, || format!("tab {tab} tells of the invitation to {session_id} again, and nobody has answered it"));
        self.require_where(32, knows_disk, waits && !is_session, || {
            format!("tab {tab} tells of an invitation to {session_id}, where none waits for an answer")
        });
    }

    /// A commit is stored: what it answers may be told again when the peer writes more.
    pub(crate) fn stored_invitation(&mut self, tab: TabId, write: &Write, before: &Before, writes: &[Write]) {
        let (session_id, mark) = match write {
            Write::Invitation(record) if record.answer == Answer::None => {
                let id = &record.session_id;
                let is_freed = || writes.iter().any(|write| matches!(write, Write::ForgetInvitation { session_id } if session_id == id));
                let holds = !before.blocked.contains(id) || is_freed();
                return self.require(32, holds, || format!("tab {tab} stores an invitation to {id}, whose wallet is blocked"));
            }
            Write::Invitation(record) => (&record.session_id, Mark::Declined),
            Write::ForgetInvitation { session_id } => (session_id, Mark::Accepted),
            _ => return,
        };
        if self.tabs.get_mut(&tab).is_some_and(|view| view.invited.remove(session_id)) {
            self.mark(mark);
        }
    }

    /// What is wrong, once faults have stopped, with how a profile stands to a session that it does not have; `None` where
    /// nothing is.
    pub fn invitation_missed(&self, profile: ProfileId, tab: TabId, session_id: &str, disk: &ClientDisk) -> Option<String> {
        let log = self.ledger.log(session_id);
        // Sessions that only hostile members wrote in are nobody's invitation.
        if !log.devices().any(|device| self.device_ids.contains(device)) {
            return None;
        }
        let told = self.tabs.get(&tab).is_some_and(|view| view.invited.contains(session_id));
        let head = self.groups.get(session_id).map_or(log.last_written(), |book| book.invites_through(&self.profiles[profile].wallet));
        match disk.state().records.invitations.get(session_id).map(|record| (record.answer, record.declined_through)) {
            None => Some(format!("profile {profile} knows nothing of {session_id}, in which {head} messages wait for it")),
            Some((Answer::None, _)) if !told => Some(format!("profile {profile} has not told of the invitation to {session_id}")),
            Some((Answer::Declined, through)) if through < head => {
                Some(format!("profile {profile} declined {session_id} at {through}, and does not tell of {head} messages"))
            }
            Some(_) => None,
        }
    }

    /// The relay lists sessions: only those of a wallet that the connection has named, and nothing that is not stored.
    pub(crate) fn listed(&mut self, connection: ConnectionId, list: &SessionList) {
        let wallets = self.connections.entry(connection).or_default().wallets.clone();
        for session in &list.sessions {
            let id = &session.session_id;
            let is_of = |wallet: &String| match self.groups.get(id) {
                // It may have left while the journal was read.
                Some(book) => book.readable(wallet) > 0,
                None => session_of(wallet, &session.peer_wallet, self.encrypts) == *id,
            };
            let own = wallets.iter().any(is_of);
            self.require(16, own, || format!("connection {connection} is told of {id}, which is not a session of its wallet"));
            // Of a group that is where the wallet was added.
            let log = self.ledger.log(id);
            let last = if self.groups.contains_key(id) { log.head() } else { log.last_written() };
            self.require(32, session.latest_sequence <= last, || {
                format!("{id} is listed up to {}, people wrote up to {last}", session.latest_sequence)
            });
        }
    }
}
