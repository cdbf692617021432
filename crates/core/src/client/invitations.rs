//! Sessions that others have begun with this wallet: told once, until the user accepts or declines them. And who is blocked.
//!
//! What is stored goes through the transaction like a session: `stored` is on disk, and `next` is what the transaction makes
//! of it. What the relay lists is judged by that alone, so that a list may come again at any time.

use super::Client;
use super::api::{Action, Change, Event, Reply, Write};
use super::records::{Answer, InvitationRecord};
use super::transaction::Transaction;
use super::views::InvitationView;
use crate::backoff::delay_ms;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ErrorBody, Frame, Head, ListedSession, PROTOCOL_VERSION, SessionList, SyncHeartbeat, WalletAnnounce};
use crate::ids::{SessionId, WalletAddress, check_wallet};
use crate::limits::{INVITATIONS_MAX, SESSION_LISTS_MAX, SESSIONS_MAX};
use crate::message::Stamp;
use crate::sorted::Sorted;
use crate::time::Now;

/// The invitations of a database, and what is under way to hear of more.
#[derive(Default)]
pub(super) struct Invitations {
    stored: Sorted<SessionId, InvitationRecord>,
    /// What the transaction makes of some; `None`: it leaves.
    next: Sorted<SessionId, Option<InvitationRecord>>,
    /// Where the logs of those that are stored end, as the relay last said.
    heads: Sorted<SessionId, u64>,
    /// Those that the application knows of since the machine started.
    told: Sorted<SessionId, ()>,
    flow: Flow,
}

/// What is under way on the present connection.
#[derive(Default)]
struct Flow {
    /// The frame that asked for a list, and is not answered.
    request: Option<String>,
    /// The list is to be asked for from its beginning when that is answered.
    again: bool,
    /// Parts of the list that were asked for.
    lists: usize,
    /// The relay could not answer: the next attempt.
    retry_at_ms: Option<u64>,
    /// Refusals in a row.
    refusals: u32,
    /// It was told that sessions are left out.
    leaves_out: bool,
}

impl Invitations {
    /// Those of a database.
    pub fn load(records: Vec<InvitationRecord>) -> Invitations {
        let mut stored = Sorted::default();
        for record in records {
            stored.insert(record.session_id.clone(), record);
        }
        Invitations { stored, ..Invitations::default() }
    }

    /// As the transaction leaves it.
    fn get(&self, session_id: &str) -> Option<&InvitationRecord> {
        self.next.get(session_id).map_or_else(|| self.stored.get(session_id), Option::as_ref)
    }

    /// All of them, as the transaction leaves them.
    fn records(&self) -> impl Iterator<Item = &InvitationRecord> {
        let stored = self.stored.values().filter(|record| !self.next.contains_key(&record.session_id));
        stored.chain(self.next.values().flatten())
    }

    fn put(&mut self, record: InvitationRecord, transaction: &mut Transaction) {
        transaction.write(Write::Invitation(record.clone()), true);
        self.next.insert(record.session_id.clone(), Some(record));
    }

    /// It is accepted, or no longer blocked.
    fn forget(&mut self, session_id: &str, transaction: &mut Transaction) {
        transaction.write(Write::ForgetInvitation { session_id: session_id.to_owned() }, true);
        self.next.insert(session_id.to_owned(), None);
    }

    /// All of them are written to a store that has none.
    pub fn write_anew(&self, transaction: &mut Transaction) {
        self.stored.values().for_each(|record| transaction.write(Write::Invitation(record.clone()), true));
    }

    /// The transaction is on disk.
    pub fn commit(&mut self) {
        for (session_id, record) in std::mem::take(&mut self.next).into_iter() {
            // Also one that was declined and came again in this transaction.
            self.told.remove(&session_id);
            match record {
                Some(record) => self.stored.insert(session_id, record),
                None => {
                    self.heads.remove(&session_id);
                    self.stored.remove(&session_id)
                }
            };
        }
    }

    /// Nothing of the transaction is on disk.
    pub fn roll_back(&mut self) {
        for (session_id, _) in std::mem::take(&mut self.next).into_iter() {
            if !self.stored.contains_key(&session_id) {
                self.heads.remove(&session_id);
            }
        }
    }

    /// The connection is lost: the next one asks anew.
    pub fn on_disconnect(&mut self) {
        self.flow = Flow::default();
    }

    /// When the list is asked for again, where the relay could not answer.
    pub fn retry_at_ms(&self) -> Option<u64> {
        self.flow.retry_at_ms
    }

    /// Whether a wallet blocks another, with which it has this session.
    pub fn is_blocked(&self, session_id: &str) -> bool {
        self.get(session_id).is_some_and(|record| record.answer == Answer::Blocked)
    }

    /// Those of a wallet that wait for an answer, as stored.
    pub fn pending<'a>(&'a self, wallet: &'a str) -> impl Iterator<Item = &'a InvitationRecord> {
        self.stored.values().filter(move |record| record.wallet == wallet && record.answer == Answer::None)
    }

    fn count(&self, answer: Answer) -> usize {
        self.records().filter(|record| record.answer == answer).count()
    }

    /// The wallet is written to, or has not answered yet; says whether that is news.
    fn invite(&mut self, now: Now, wallet: &str, listed: &ListedSession, transaction: &mut Transaction) -> bool {
        let ListedSession { session_id, peer_wallet, latest_sequence, name, .. } = listed;
        let is_new = match self.get(session_id) {
            None => true,
            Some(InvitationRecord { answer: Answer::Declined, declined_through, .. }) => latest_sequence > declined_through,
            Some(_) => false,
        };
        // One that there is no room for is told when there is some.
        if is_new && self.count(Answer::None) >= INVITATIONS_MAX {
            return false;
        }
        if self.heads.get(session_id).is_none_or(|head| head < latest_sequence) {
            self.heads.insert(session_id.clone(), *latest_sequence);
        }
        if !is_new {
            return false;
        }
        let record = InvitationRecord {
            session_id: session_id.clone(),
            wallet: wallet.to_owned(),
            peer_wallet: peer_wallet.clone(),
            received_ms: now.wall_ms,
            answer: Answer::None,
            declined_through: 0,
            name: name.clone().unwrap_or_default(),
        };
        self.put(record, transaction);
        true
    }

    /// The oldest of those that were declined gives way, where there are too many.
    fn make_room(&mut self, transaction: &mut Transaction) {
        if self.count(Answer::Declined) >= INVITATIONS_MAX {
            let declined = self.records().filter(|record| record.answer == Answer::Declined);
            let oldest = declined.min_by_key(|record| record.received_ms).map(|record| record.session_id.clone());
            if let Some(oldest) = oldest {
                self.forget(&oldest, transaction);
            }
        }
    }
}

impl Client {
    /// Invitations of the connected wallet that wait for an answer, oldest first.
    pub fn invitations(&self) -> Vec<InvitationView> {
        let mut pending: Vec<InvitationView> = Vec::new();
        for record in self.wallet().into_iter().flat_map(|wallet| self.invitations.pending(wallet)) {
            let place = pending.partition_point(|earlier| earlier.received_at <= record.received_ms);
            pending.insert(place, InvitationView::of(record));
        }
        pending
    }

    /// The wallet is connected: what waits for an answer is told, where it was not told before.
    pub(super) fn tell_invitations(&mut self, actions: &mut Vec<Action>) {
        let Some(wallet) = self.wallet.clone() else { return };
        let told = &self.invitations.told;
        let untold = self.invitations.pending(&wallet).filter(|record| !told.contains_key(&record.session_id));
        let untold: Vec<InvitationRecord> = untold.cloned().collect();
        for record in untold {
            self.invitations.told.insert(record.session_id.clone(), ());
            actions.push(Action::Notify(invited(&record)));
        }
    }

    /// `acceptSession`. An invitation that was declined may be accepted all the same.
    pub(super) fn accept(
        &mut self,
        now: Now,
        session_id: &str,
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) -> Result<Reply, SyncError> {
        let (peer_wallet, name) = match self.invitation(session_id)? {
            Some(record) => (record.peer_wallet.clone(), Some(record.name.clone()).filter(|name| !name.is_empty())),
            // Accepted before, here or on another device of the wallet.
            None => {
                let (session, _) = self.session_for_call(now, session_id, actions)?;
                (session.peer_wallet().to_owned(), session.is_group().then(String::new))
            }
        };
        match name {
            Some(name) => self.join_group(now, session_id, &name, transaction, actions),
            None => self.open(now, &peer_wallet, transaction, actions),
        }
    }

    /// Opens the session with a peer, new or stored. It is no invitation any more.
    pub(super) fn open(
        &mut self,
        now: Now,
        peer_wallet: &str,
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) -> Result<Reply, SyncError> {
        if let Some(wallet) = &self.wallet
            && self.invitations.is_blocked(&self.session_of(wallet, peer_wallet))
        {
            return Err(blocked(peer_wallet));
        }
        let session_id = self.session_with(peer_wallet, transaction)?;
        self.open_stored(now, &session_id, transaction, actions)
    }

    /// Opens a session that is stored, or is with this transaction. It is no invitation any more.
    pub(super) fn open_stored(
        &mut self,
        now: Now,
        session_id: &str,
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) -> Result<Reply, SyncError> {
        if self.invitations.get(session_id).is_some() {
            self.invitations.forget(session_id, transaction);
        }
        let (mut session, mut context) = self.session_for_call(now, session_id, actions)?;
        session.open(&mut context, transaction)
    }

    /// `declineSession`.
    pub(super) fn decline(&mut self, session_id: &str, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        let Some(record) = self.invitation(session_id)?.cloned() else {
            let shown: String = session_id.chars().take(80).collect();
            return Err(SyncError::new(ErrorCode::UnknownSession, format!("there is no invitation to session {shown}")));
        };
        if record.answer == Answer::None {
            self.invitations.make_room(transaction);
            let declined_through = self.invitations.heads.get(session_id).copied().unwrap_or(0);
            let record = InvitationRecord { answer: Answer::Declined, declined_through, ..record };
            transaction.change(|| Change::Session { session_id: session_id.to_owned() });
            self.invitations.put(record, transaction);
        }
        Ok(Reply::Done)
    }

    /// `blockWallet`: its invitation is answered, and a session with it ends.
    pub(super) fn block(&mut self, now: Now, peer_wallet: &str, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        let wallet = self.wallet_for_call()?.clone();
        check_wallet(peer_wallet)?;
        if wallet == peer_wallet {
            return Err(SyncError::new(ErrorCode::InvalidArgument, "a wallet cannot block itself"));
        }
        let session_id = self.session_of(&wallet, peer_wallet);
        if self.invitations.is_blocked(&session_id) {
            return Ok(Reply::Done);
        }
        if self.invitations.count(Answer::Blocked) >= INVITATIONS_MAX {
            return Err(SyncError::new(ErrorCode::LimitReached, format!("a device blocks at most {INVITATIONS_MAX} wallets")));
        }
        let record = InvitationRecord {
            session_id: session_id.clone(),
            wallet,
            peer_wallet: peer_wallet.to_owned(),
            received_ms: now.wall_ms,
            answer: Answer::Blocked,
            declined_through: 0,
            name: String::new(),
        };
        self.invitations.put(record, transaction);
        if let Some(mut session) = self.sessions.visit(&session_id) {
            session.close(transaction);
        }
        transaction.change(|| Change::Session { session_id });
        Ok(Reply::Done)
    }

    /// `unblockWallet`. What it wrote meanwhile is told when the relay lists it.
    pub(super) fn unblock(&mut self, peer_wallet: &str, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        let wallet = self.wallet_for_call()?.clone();
        check_wallet(peer_wallet)?;
        let session_id = self.session_of(&wallet, peer_wallet);
        if self.invitations.is_blocked(&session_id) {
            self.invitations.forget(&session_id, transaction);
            transaction.lists_sessions = true;
            transaction.change(|| Change::Session { session_id });
        }
        Ok(Reply::Done)
    }

    /// The invitation of a call, which must be of the connected wallet.
    fn invitation(&self, session_id: &str) -> Result<Option<&InvitationRecord>, SyncError> {
        let wallet = self.wallet_for_call()?;
        Ok(self.invitations.get(session_id).filter(|record| record.wallet == *wallet))
    }

    /// The relay lists sessions of the wallet in which this connection takes no part.
    pub(super) fn take_list(&mut self, now: Now, list: SessionList, transaction: &mut Transaction, actions: &mut Vec<Action>) {
        let Some(wallet) = self.wallet.clone() else { return };
        for listed in &list.sessions {
            // Of a group the first entry proves it.
            let ids = || self.sessions_of(&wallet, &listed.peer_wallet);
            if check_wallet(&listed.peer_wallet).is_err() || listed.name.is_none() && !ids().contains(&listed.session_id) {
                return transaction.distrust("a session of another wallet is listed".into());
            }
            if self.invitations.is_blocked(&self.session_of(&wallet, &listed.peer_wallet)) {
                continue;
            }
            if let Err(error) = self.check_encryption_with(&listed.session_id, &listed.peer_wallet) {
                // Anybody can begin one: the first on each connection is told of.
                if !std::mem::replace(&mut self.invitations.flow.leaves_out, true) {
                    transaction.tell(Event::Warning { error });
                }
                continue;
            }
            if let Err(error) = self.take_listed(now, &wallet, listed, transaction, actions) {
                return transaction.tell(Event::Warning { error });
            }
        }
        let answers = list.in_reply_to.is_some() && list.in_reply_to == self.invitations.flow.request;
        if answers {
            self.invitations.flow.request = None;
            self.invitations.flow.refusals = 0;
        }
        match list.next {
            Some(after) if answers => self.ask_sessions(now, Some(after).filter(|after| !after.is_empty()), actions),
            Some(_) => self.list_again(now, actions),
            None if answers && self.invitations.flow.again => self.list_again(now, actions),
            None => {}
        }
    }

    fn take_listed(
        &mut self,
        now: Now,
        wallet: &WalletAddress,
        listed: &ListedSession,
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) -> Result<(), SyncError> {
        let ListedSession { session_id, peer_wallet, joined, name, .. } = listed;
        // One that was ended here stays so, but for a group that this wallet was out of and is in again.
        if self.sessions.get(session_id).is_some_and(|session| !session.is_out()) {
            return Ok(());
        }
        if let (true, Some(name)) = (*joined, name) {
            if self.sessions.len() < SESSIONS_MAX || self.sessions.get(session_id).is_some() {
                self.join_group(now, session_id, name, transaction, actions)?;
            }
        } else if *joined {
            // Another device of the wallet has begun or accepted it. One more than there is room for is left out.
            if self.sessions.len() < SESSIONS_MAX {
                self.open(now, peer_wallet, transaction, actions)?;
            }
        } else if self.invitations.invite(now, wallet, listed, transaction) {
            transaction.invited.push(session_id.clone());
            transaction.change(|| Change::Session { session_id: session_id.clone() });
        }
        Ok(())
    }

    /// New invitations are stored: the application is told.
    pub(super) fn tell_invited(&mut self, session_ids: Vec<SessionId>, actions: &mut Vec<Action>) {
        for session_id in session_ids {
            // Another call of the same transaction may have answered it already.
            let waiting = self.invitations.stored.get(&session_id).filter(|record| record.answer == Answer::None);
            let Some(event) = waiting.filter(|_| self.wallet.is_some()).map(invited) else { continue };
            if self.invitations.told.insert(session_id, ()).is_none() {
                actions.push(Action::Notify(event));
            }
        }
    }

    /// The list is asked for from its beginning, now or when what was asked for is answered.
    pub(super) fn list_again(&mut self, now: Now, actions: &mut Vec<Action>) {
        if !self.link.is_open() {
            return;
        }
        self.invitations.flow.again = self.invitations.flow.request.is_some();
        if !self.invitations.flow.again {
            self.ask_sessions(now, None, actions);
        }
    }

    /// Says whose connection this is, and asks for a part of the wallet's sessions.
    pub(super) fn ask_sessions(&mut self, now: Now, after: Option<SessionId>, actions: &mut Vec<Action>) {
        let Some(wallet) = self.wallet.clone() else { return };
        self.invitations.flow.retry_at_ms = None;
        if self.invitations.flow.lists >= SESSION_LISTS_MAX {
            return;
        }
        self.invitations.flow.lists += 1;
        let frame_id = self.transmit(now, Body::WalletAnnounce(WalletAnnounce { wallet, after, sealed: self.vault.is_some() }), actions);
        self.invitations.flow.request = Some(frame_id);
    }

    /// A heartbeat of the connection itself, where there is no session that it could be about.
    pub(super) fn send_bare_heartbeat(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.transmit(now, Body::SyncHeartbeat(SyncHeartbeat::default()), actions);
    }

    /// Sends a frame of no session; its id.
    pub(super) fn transmit(&mut self, now: Now, body: Body, actions: &mut Vec<Action>) -> String {
        self.transmit_in(now, "", body, actions)
    }

    /// Sends a frame of this session; its id.
    pub(super) fn transmit_in(&mut self, now: Now, session_id: &str, body: Body, actions: &mut Vec<Action>) -> String {
        let head = Head {
            session_id: session_id.to_owned(),
            device_id: self.device.device_id.clone(),
            timestamp: Stamp::Millis(now.wall_ms),
            message_id: self.link.next_frame_id(),
            protocol_version: Some(PROTOCOL_VERSION),
        };
        let frame = Frame { head, body };
        // Only frames that clients never send have no binary form.
        let bytes = frame.to_bytes().unwrap_or_default();
        actions.push(Action::Transmit { generation: self.link.generation(), frame: bytes.into() });
        frame.head.message_id
    }

    /// The relay refuses to list sessions; says whether that is what it refuses.
    pub(super) fn take_list_refusal(&mut self, now: Now, refusal: &ErrorBody) -> bool {
        let flow = &mut self.invitations.flow;
        let is_meant = refusal.in_reply_to.is_some() && refusal.in_reply_to == flow.request;
        if is_meant {
            flow.request = None;
            flow.lists -= 1;
            let wait_ms = delay_ms(self.config.retry_delay_ms, flow.refusals, &mut self.random);
            flow.retry_at_ms = refusal.code.recoverable().then_some(now.monotonic_ms + wait_ms);
            flow.refusals = flow.refusals.saturating_add(1);
        }
        is_meant
    }
}

fn invited(record: &InvitationRecord) -> Event {
    let InvitationView { session_id, peer_wallet, name, .. } = InvitationView::of(record);
    Event::SessionInvited { session_id, peer_wallet, name }
}

fn blocked(peer_wallet: &str) -> SyncError {
    SyncError::new(ErrorCode::WalletBlocked, format!("{peer_wallet} is blocked; unblock it first"))
}
