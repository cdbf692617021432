//! The sessions of a wallet: its devices hear of those in which they take no part, because another wallet began them, or
//! another device of their own.
//!
//! The id of a session of two is made of both wallets, so an announcement that names both is checked by it. What was announced is
//! told to who is there, and nothing of it is kept. With the session's first entry the journal keeps it for both wallets.

use std::collections::{BTreeMap, BTreeSet};

use super::api::{ConnectionId, JournalAnswer, JournalQuestion, MemberRow};
use super::budget::{LIST_US, MEMBER_US, SESSION_US};
use super::context::{Context, Purpose, refusal};
use super::door::Guest;
use super::session::Session;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ErrorBody, Head, ListedSession, SessionList, WalletAnnounce};
use crate::group::{Role, not_in_it};
use crate::ids::{WalletAddress, check_wallet, public_key};
use crate::limits::LISTED_SESSIONS_MAX;

/// The wallets of a session, or none where no announcement has named them.
#[derive(Default)]
pub(super) struct Members {
    rows: BTreeMap<WalletAddress, MemberRow>,
    /// Those of which the journal has another row, or none.
    unstored: BTreeSet<WalletAddress>,
}

impl Members {
    pub fn new(stored: Vec<MemberRow>) -> Self {
        Members { rows: stored.into_iter().map(|row| (row.wallet.clone(), row)).collect(), unstored: BTreeSet::new() }
    }

    pub fn get(&self, wallet: &str) -> Option<&MemberRow> {
        self.rows.get(wallet)
    }

    /// The wallets that are known.
    pub fn wallets(&self) -> impl Iterator<Item = &WalletAddress> {
        self.rows.keys()
    }

    /// The other wallet of the session, for this one.
    pub fn peer_of(&self, wallet: &str) -> Option<&WalletAddress> {
        self.get(wallet).map(|row| &row.peer_wallet)
    }

    /// A row is another now.
    pub fn put(&mut self, row: MemberRow) {
        self.unstored.insert(row.wallet.clone());
        self.rows.insert(row.wallet.clone(), row);
    }

    /// A wallet left a group.
    pub fn forget(&mut self, wallet: &str) {
        self.rows.remove(wallet);
        self.unstored.remove(wallet);
    }

    /// A device of a wallet takes part, and names the other one; says whether that is news.
    fn join(&mut self, wallet: &str, peer_wallet: &str) -> bool {
        for (wallet, peer_wallet) in [(wallet, peer_wallet), (peer_wallet, wallet)] {
            if !self.rows.contains_key(wallet) {
                let (wallet, peer_wallet) = (wallet.to_owned(), peer_wallet.to_owned());
                self.put(MemberRow { wallet, peer_wallet, ..MemberRow::default() });
            }
        }
        self.take_part(wallet)
    }

    /// A device of a wallet takes part; says whether that is news.
    pub fn take_part(&mut self, wallet: &str) -> bool {
        let row = self.rows.get(wallet).filter(|row| !row.joined).cloned();
        row.map(|row| self.put(MemberRow { joined: true, ..row })).is_some()
    }

    /// A device that has signed in is about to begin the session of its wallet and another one in its application.
    pub fn found(&mut self, guest: &Guest, peer_wallet: &str) {
        if self.admit(Some(guest)) {
            return;
        }
        *self = Members::default();
        for (wallet, peer_wallet) in [(&*guest.wallet, peer_wallet), (peer_wallet, &guest.wallet)] {
            let account_id = public_key(wallet).map(|key| guest.domains.account_id(&key));
            let (wallet, peer_wallet) = (wallet.to_owned(), peer_wallet.to_owned());
            self.put(MemberRow { wallet, peer_wallet, account_id, ..MemberRow::default() });
        }
    }

    /// Whether a connection may take part that has signed in so, or has not. Devices with keys are in sessions of their own.
    pub fn admit(&self, guest: Option<&Guest>) -> bool {
        match guest {
            Some(guest) => self.get(&guest.wallet).is_some_and(|row| row.account_id.as_ref() == Some(&guest.account_id)),
            None => self.rows.values().all(|row| row.account_id.is_none()),
        }
    }

    /// Whether a device of a wallet has taken part.
    pub fn has_joined(&self, wallet: &str) -> bool {
        self.get(wallet).is_some_and(|row| row.joined)
    }

    /// What the journal does not have of them.
    pub fn unstored(&self) -> Vec<MemberRow> {
        self.unstored.iter().filter_map(|wallet| self.rows.get(wallet)).cloned().collect()
    }

    /// The journal has these.
    pub fn are_stored(&mut self, rows: Vec<MemberRow>) {
        for row in rows {
            if self.rows.get(&row.wallet) == Some(&row) {
                self.unstored.remove(&row.wallet);
            }
        }
    }
}

impl Session {
    /// A device announces itself for one of two wallets. Those of their devices that take no part hear of it, once.
    pub(super) fn join(&mut self, ctx: &mut Context, connection: ConnectionId, wallet: &str, peer_wallet: &str) {
        if self.members.join(wallet, peer_wallet) {
            self.tell_members(ctx, connection, |_| true);
        }
        self.note_members(ctx);
    }

    /// Who is no member hears nothing of a session any more that is one of devices with keys.
    pub(super) fn send_away_strangers(&mut self, ctx: &mut Context) {
        let role = |connection: &ConnectionId| self.role(ctx.guest(*connection));
        let strangers: Vec<(ConnectionId, Role)> = self.attachments.keys().map(|connection| (*connection, role(connection))).collect();
        for (stranger, role) in strangers.into_iter().filter(|(_, role)| !matches!(role, Role::Member | Role::Admin)) {
            let device_id = self.attachments.get(&stranger).map(|attachment| attachment.device_id.clone());
            self.on_leave(ctx, stranger);
            device_id.iter().for_each(|device_id| self.devices.forget_visitor(device_id));
            ctx.left(stranger, &self.log.session_id);
            let head = Head { session_id: self.log.session_id.clone(), ..Head::default() };
            ctx.refuse(stranger, refusal(&not_in_it(role), &head));
        }
    }

    /// The log has grown. Who has not taken part hears of what a person wrote, and of the first entry everybody: from now on the
    /// journal has the session.
    pub(super) fn tell_of_entries(&mut self, ctx: &mut Context, writer: ConnectionId, is_first: bool, is_written: bool) {
        if is_first && !self.members.rows.is_empty() {
            ctx.charge(writer, SESSION_US);
        }
        self.tell_members(ctx, writer, |row| is_first || is_written && !row.joined);
    }

    /// What the journal does not know of the wallets of a session that it has.
    pub(super) fn note_members(&mut self, ctx: &mut Context) {
        let unstored = self.members.unstored();
        if self.log.head() > 0 && !unstored.is_empty() {
            ctx.note_members(&self.log.session_id, unstored.clone());
            self.members.are_stored(unstored);
        }
    }

    /// Tells of the session whoever of these wallets is there and takes no part, at the cost of one connection.
    pub(super) fn tell_members(&self, ctx: &mut Context, by: ConnectionId, hears: impl Fn(&MemberRow) -> bool) {
        for MemberRow { wallet, peer_wallet, joined, since, .. } in self.members.rows.values().filter(|row| hears(row)).cloned() {
            let connections = ctx.wallets.get(&wallet).into_iter().flatten().copied();
            let is_in = |connection: &ConnectionId| matches!(self.role(ctx.guest(*connection)), Role::Member | Role::Admin);
            let connections = connections.filter(is_in);
            let absent: Vec<ConnectionId> = connections.filter(|connection| !self.attachments.contains_key(connection)).collect();
            if absent.is_empty() {
                continue;
            }
            ctx.charge(by, absent.len() as u64 * MEMBER_US);
            let session_id = self.log.session_id.clone();
            let name = self.group.as_ref().map(|group| group.name().to_owned());
            let latest_sequence = if name.is_some() { since } else { self.log.last_written };
            let session = ListedSession { session_id, peer_wallet, latest_sequence, joined, name };
            let list = SessionList { sessions: vec![session], ..SessionList::default() };
            for connection in ctx.inform_all(&absent, "", Body::SessionList(list)) {
                if let Some(socket) = ctx.sockets.get_mut(&connection) {
                    socket.missed_session = true;
                }
            }
        }
    }
}

impl Context {
    /// A connection says whose it is, and asks for a part of the wallet's sessions.
    pub(super) fn ask_sessions(&mut self, connection: ConnectionId, head: &Head, said: &WalletAnnounce) -> Result<(), SyncError> {
        let WalletAnnounce { wallet, after, sealed } = said.clone();
        check_wallet(&wallet)?;
        // It is being heard, so it is open.
        let Some(socket) = self.sockets.get_mut(&connection) else { return Ok(()) };
        if socket.is_listing {
            return Err(SyncError::new(ErrorCode::RelayBusy, "the list that was asked for before is not sent yet"));
        }
        socket.is_listing = true;
        socket.budget.charge(LIST_US);
        if socket.wallet.as_ref() != Some(&wallet) {
            self.leave_wallet(connection);
            self.wallets.entry(wallet.clone()).or_default().insert(connection);
            if let Some(socket) = self.sockets.get_mut(&connection) {
                socket.wallet = Some(wallet.clone());
            }
        }
        let account_id = self.guest(connection).map(|guest| guest.account_id.clone());
        // One more tells whether that is all.
        let question = JournalQuestion::Sessions { wallet, after, count_max: LISTED_SESSIONS_MAX + 1, account_id, sealed };
        self.ask("", Purpose::Sessions(connection, head.message_id.clone()), question);
        Ok(())
    }

    /// The journal has found sessions of a connection's wallet, or not. `has_joined` tells of a session whether a wallet has taken
    /// part, as is known here: the journal may have lost it.
    pub(super) fn list_sessions(
        &mut self,
        connection: ConnectionId,
        frame_id: String,
        answer: JournalAnswer,
        has_joined: impl Fn(&str, &str) -> bool,
    ) {
        // It may have left meanwhile.
        let Some(socket) = self.sockets.get_mut(&connection) else { return };
        socket.is_listing = false;
        let (attached, wallet) = (socket.attached.clone(), socket.wallet.clone().unwrap_or_default());
        let in_reply_to = Some(frame_id).filter(|id| !id.is_empty());
        match answer {
            JournalAnswer::Sessions(mut sessions) => {
                let has_more = sessions.len() > LISTED_SESSIONS_MAX;
                sessions.truncate(LISTED_SESSIONS_MAX);
                let next = sessions.last().filter(|_| has_more).map(|session| session.session_id.clone());
                sessions.retain(|session| !attached.contains(&session.session_id));
                sessions.iter_mut().for_each(|session| session.joined |= has_joined(&session.session_id, &wallet));
                self.transmit(connection, "", Body::SessionList(SessionList { sessions, next, in_reply_to }));
            }
            other => {
                let error = self.journal_failed("", &other);
                self.refuse(connection, ErrorBody { in_reply_to, ..ErrorBody::new(&error) });
            }
        }
    }

    /// A connection that has room again, and could not take what it was to hear, is to ask for the list.
    pub(super) fn tell_missed_sessions(&mut self, connection: ConnectionId) {
        let has_room = self.has_room(connection);
        let Some(socket) = self.sockets.get_mut(&connection) else { return };
        if has_room && std::mem::take(&mut socket.missed_session) {
            let list = SessionList { next: Some(String::new()), ..SessionList::default() };
            self.transmit(connection, "", Body::SessionList(list));
        }
    }

    /// A connection is no longer one of its wallet's.
    pub(super) fn leave_wallet(&mut self, connection: ConnectionId) {
        let Some(wallet) = self.sockets.get_mut(&connection).and_then(|socket| socket.wallet.take()) else { return };
        if let Some(connections) = self.wallets.get_mut(&wallet) {
            connections.remove(&connection);
            if connections.is_empty() {
                self.wallets.remove(&wallet);
            }
        }
    }
}
