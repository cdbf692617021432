//! What devices show: replies and frames. What they store is judged in `store_rules`.

use std::collections::{BTreeMap, BTreeSet};

use solconnect_sync_core::client::{
    ConnectionState, Input, Membership, MessageStatus, MessageView, Reply, SessionView, SyncScope, SyncStatusView,
};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, Frame, Payload};
use solconnect_sync_core::ids::{MessageId, SessionId, is_account_id, is_sealed_id};
use solconnect_sync_core::limits::{FRAME_BYTES_MAX, UPDATES_IN_FLIGHT_MAX};
use solconnect_sync_core::message::Kind;

use crate::checker::{Call, CallKind, Checker, Loss, LostStore, Mark, TabView};
use crate::client_disk::ClientDisk;
use crate::ledger::{Fate, Sent, number_of};
use crate::network::ConnectionId;
use crate::page::{AppCall, Terms};
use crate::signers::{account_end, session_of};
use crate::store_rules::is_out;
use crate::world::{PageId, ProfileId, TabId};

impl TabView {
    /// Updates of own messages up to this counter are no longer under way.
    fn settled(&mut self, session_id: &str, through: u64) {
        let answered = self.answered.entry(session_id.to_owned()).or_default();
        *answered = through.max(*answered);
        if let Some(under_way) = self.under_way.get_mut(session_id) {
            under_way.retain(|last| *last > through);
        }
    }

    /// These entries of the log may be own messages.
    pub(crate) fn settled_by(&mut self, session_id: &str, entries: &[Entry]) {
        let device = self.device_ids.get(session_id);
        let own = entries.iter().filter(|entry| Some(&entry.device_id) == device).map(|entry| entry.counter);
        self.settled(session_id, own.max().unwrap_or(0));
    }
}

impl Checker {
    /// A tab was opened over what its profile stores, or with the second copy of an outbox (`is_copied`), which is stored next.
    pub fn tab_started(
        &mut self,
        tab: TabId,
        profile: ProfileId,
        disk: &ClientDisk,
        status: SyncStatusView,
        sessions: &[SessionView],
        is_copied: bool,
    ) {
        self.claimed(profile, tab);
        let unsent_count = status.queued_message_count;
        let lost_store = is_copied.then_some(LostStore { unsent_count, loss: Loss::Remembered });
        self.tabs.insert(tab, TabView { profile, told_queue: unsent_count, lost_store, ..TabView::default() });
        if is_copied {
            return self.mark(Mark::Copied);
        }
        let stored = disk.unsent_count();
        let records = &disk.state().records;
        // It may be older than what was last stored here.
        self.profiles[profile].unread.clear();
        for ((session_id, _), record) in &records.log {
            self.stored_unread(profile, session_id, &record.entries().unwrap_or_default());
        }
        let shown = sessions.iter().map(|view| (&view.session_id, view.last_synced_sequence));
        let read = shown.eq(records.sessions.iter().map(|(id, record)| (id, record.log.end())));
        self.require(22, read, || format!("tab {tab} opens its store and shows other sessions than it holds: {sessions:?}"));
        let unread = records.log.iter().find(|(_, record)| record.entries().is_err()).map(|(key, _)| key);
        self.require_none(22, records.log.len(), unread, |key| format!("tab {tab} opens its store, where batch {key:?} cannot be read"));
        self.require(13, status.queued_message_count == stored, || {
            format!("tab {tab} begins with {} messages queued, {stored} are stored", status.queued_message_count)
        });
    }

    /// A tab is gone; calls that it did not answer never will be.
    pub fn tab_ended(&mut self, tab: TabId) {
        let profile = self.tabs.get(&tab).map(|view| view.profile);
        if let Some(view) = self.tabs.remove(&tab) {
            // They were refused for good, and it had no time to say so.
            for number in view.missing.into_iter().filter(|_| view.new_voids > 0) {
                self.profiles[view.profile].pending.remove(&number);
                self.ledger.sent[number as usize].fate = Fate::Excused;
            }
        }
        for sent in self.ledger.sent.iter_mut().filter(|sent| sent.tab == tab && sent.fate == Fate::Pending) {
            sent.fate = Fate::Excused;
        }
        for call in self.calls.values().filter(|call| call.tab == tab) {
            // Whether they left is not known.
            if let CallKind::Cancel(numbers) = &call.kind {
                for number in numbers {
                    self.ledger.sent[*number as usize].fate = Fate::Excused;
                    if let Some(profile) = profile {
                        self.profiles[profile].pending.remove(number);
                    }
                }
            }
        }
        self.calls.retain(|_, call| call.tab != tab);
    }

    /// Its page has given a tab up: it owes nothing more.
    pub fn tab_abandoned(&mut self, tab: TabId) {
        if let Some(view) = self.tabs.get_mut(&tab) {
            view.is_abandoned = true;
        }
    }

    /// A page is gone; of calls that no machine has had nothing will be heard.
    pub fn page_ended(&mut self, calls: &BTreeMap<u64, AppCall>) {
        for number in calls.values().filter_map(|call| call.number) {
            let sent = &mut self.ledger.sent[number as usize];
            if (sent.tab, sent.fate) == (0, Fate::Pending) {
                sent.fate = Fate::Excused;
            }
        }
    }

    /// A page follows another.
    pub fn follows(&mut self, page: PageId, own: &Terms, owner: &Terms) {
        let fits = own.settings == owner.settings && (owner.speaks..=owner.protocol).contains(&own.protocol);
        self.require(33, fits, || format!("page {page} follows one of other settings, or that does not understand it"));
    }

    /// The database of a page is deleted while these calls are under way.
    pub fn forgot(&mut self, calls: &BTreeMap<u64, AppCall>) {
        for number in calls.values().filter(|call| call.has_run).filter_map(|call| call.number) {
            let sent = &mut self.ledger.sent[number as usize];
            (sent.forgotten, sent.again) = (true, true);
        }
    }

    /// A page answers a call of its application. An error says that nothing has been done, and that stays so.
    pub fn answered(&mut self, page: PageId, call: u64, made: Option<AppCall>, error: Option<&SyncError>) {
        self.require(30, made.is_some(), || format!("page {page} answers call {call}, which was answered or not made"));
        let (Some(AppCall { number: Some(number), has_run, .. }), Some(error)) = (made, error) else { return };
        let leaves_open = [ErrorCode::TabOutdated, ErrorCode::ConfigMismatch, ErrorCode::SdkNotInitialized].contains(&error.code);
        let sent = &self.ledger.sent[number as usize];
        if sent.again || sent.forgotten || (has_run && leaves_open) {
            return;
        }
        self.denied.insert(number);
        let (fate, logged) = (sent.fate, !sent.places.is_empty());
        let code = error.code.as_str();
        self.require(30, fate != Fate::Accepted && !logged, || format!("page {page} says {code} of s{number}, and it is stored"));
    }

    /// A tab has claimed the database of a profile: those that did before can write nothing more.
    pub fn claimed(&mut self, profile: ProfileId, tab: TabId) {
        self.profiles[profile].claimed_by = tab;
    }

    /// Another tab claims the database of this one, or it is deleted.
    pub fn lost_store(&mut self, tab: TabId, disk: &ClientDisk, loss: Loss) {
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        if view.lost_store.is_none() {
            for (id, session) in &disk.state().records.sessions {
                let heard = view.heard_before.entry(id.clone()).or_default();
                let first = std::mem::replace(heard, session.log.end().max(*heard)) + 1;
                let unread = self.profiles[view.profile].unread.get(id).into_iter().flatten();
                view.unread_before.extend(unread.filter(|place| **place >= first).map(|place| (id.clone(), *place)));
            }
        }
        let lost = view.lost_store.get_or_insert(LostStore { unsent_count: disk.unsent_count(), loss });
        // What was deleted stays so, whoever claims what is made in its place.
        lost.loss = if lost.loss == Loss::Remembered && loss == Loss::Claimed { Loss::Deleted } else { lost.loss.min(loss) };
    }

    /// The machine of a tab is given a call. From now on it owes the answer.
    pub fn fed(&mut self, request: u64) {
        if let Some(call) = self.calls.get_mut(&request) {
            call.fed = true;
        }
    }

    /// A fenced tab with no commit under way waits for nothing: it has answered every call (I30).
    pub fn owes_nothing_when_fenced(&mut self, tab: TabId) {
        if !self.tabs.get(&tab).is_some_and(|view| view.fenced) {
            return;
        }
        let owed = self.calls.iter().find(|(_, call)| call.tab == tab && call.fed).map(|(request, call)| (*request, call.name.clone()));
        self.require(30, owed.is_none(), || {
            let (request, name) = owed.unwrap_or_default();
            format!("tab {tab} has lost its database and does not answer call {request}: {name}")
        });
    }

    /// A call that is not answered yet, for people; `None` when no tab that is alive owes an answer.
    pub fn unanswered(&self) -> Option<String> {
        let (request, call) = self.calls.first_key_value()?;
        Some(format!("tab {} has not answered call {request}: {}", call.tab, call.name))
    }

    /// The application of a page makes a call. Gives the number of the message that it sends.
    pub fn made(&mut self, page: PageId, profile: ProfileId, input: &Input) -> Option<u64> {
        match input {
            Input::Send { session_id, text, message_id, .. } => {
                Some(self.registered(page, profile, session_id, text, message_id.as_ref(), None))
            }
            Input::Edit { session_id, message_id, text: Some(text), .. } => {
                Some(self.registered(page, profile, session_id, text, None, Some(message_id)))
            }
            _ => None,
        }
        .flatten()
    }

    /// The application makes a call, and a tab is given it.
    pub fn called(&mut self, tab: TabId, input: &Input, disk: &ClientDisk) {
        if let Some(profile) = self.tabs.get(&tab).map(|view| view.profile) {
            self.made(0, profile, input);
            self.runs(tab, input, disk);
        }
    }

    /// A tab is given a call.
    pub fn runs(&mut self, tab: TabId, input: &Input, disk: &ClientDisk) {
        let Some(view) = self.tabs.get(&tab) else { return };
        let profile = view.profile;
        let wallet = self.profiles[profile].wallet.clone();
        let (request, kind) = match input {
            Input::Send { request, session_id, text, message_id, .. } => {
                (*request, self.sending(tab, session_id, Some(text), message_id.as_ref()))
            }
            Input::Edit { request, session_id, text, .. } => (*request, self.sending(tab, session_id, text.as_ref(), None)),
            Input::OpenSession { request, peer_wallet } => (*request, CallKind::Open(session_of(&wallet, peer_wallet, self.encrypts))),
            Input::Cancel { request, message_id } => (*request, self.cancelling(tab, message_id, disk)),
            Input::Retry { request, message_id } => {
                let mut failed = disk.state().records.failed.values();
                let record = failed.find(|record| record.entry.message.id == *message_id);
                let number = record.and_then(|record| number_of(&record.entry.message.ciphertext));
                if let Some(sent) = number.and_then(|number| self.ledger.sent.get_mut(number as usize)) {
                    // It stands behind all that was sent since, perhaps under another id.
                    (sent.tab, sent.id, sent.again, sent.fate) = (tab, None, true, Fate::Pending);
                }
                number.iter().for_each(|number| {
                    self.denied.remove(number);
                    self.not_cancelled(*number);
                });
                self.ledger.contested.insert(message_id.clone());
                match record.zip(number) {
                    Some((record, number)) => (*request, CallKind::Send(record.session_id.clone(), Some(number), None)),
                    None => (*request, CallKind::Other),
                }
            }
            Input::AcceptSession { request, session_id } => (*request, CallKind::Open(session_id.clone())),
            Input::BlockWallet { request, peer_wallet } => (*request, CallKind::Block(session_of(&wallet, peer_wallet, self.encrypts))),
            Input::CloseSession { request, session_id } => (*request, CallKind::Close(session_id.clone())),
            Input::MarkRead { request, session_id, sequence_number, .. } => {
                // The user has seen it, whether or not that can be stored.
                let reach = self.delivered.entry((session_id.clone(), wallet)).or_default();
                reach.1 = reach.1.max(*sequence_number);
                (*request, CallKind::MarkRead(session_id.clone(), *sequence_number))
            }
            Input::ClearLog { request, session_id } => (*request, CallKind::ClearLog(session_id.clone())),
            Input::Sync { request, session_id, scope } => {
                let wanted = |id: &&SessionId| session_id.as_ref().is_none_or(|only| only == *id);
                // Those that an earlier call is about to close may take no part.
                // A tab that has lost its database does not know what is stored there.
                let owner = disk.owner() == tab;
                let closing = |id: &SessionId| {
                    let closes = |kind: &CallKind| matches!(kind, CallKind::Close(closed) | CallKind::Block(closed) if closed == id);
                    self.calls.values().any(|call| call.tab == tab && closes(&call.kind))
                };
                let open =
                    disk.state().records.sessions.iter().filter(|(id, session)| session.open && session.wallet == wallet && !closing(id));
                let targets = open.map(|(id, _)| id).filter(wanted).filter(|_| owner).map(|id| {
                    let unsent = disk.state().unsent(id).filter_map(|entry| number_of(&entry.message.ciphertext)).collect();
                    let head = if *scope == SyncScope::Everything { self.ledger.log(id).head() } else { 0 };
                    (id.clone(), unsent, head)
                });
                (*request, CallKind::Sync(targets.collect()))
            }
            Input::ConnectWallet { request, .. }
            | Input::DisconnectWallet { request }
            | Input::DeclineSession { request, .. }
            | Input::UnblockWallet { request, .. }
            | Input::AutoSync { request, .. }
            | Input::OpenGroup { request, .. }
            | Input::Regroup { request, .. }
            | Input::Certify { request, .. }
            | Input::RemoveDevice { request, .. }
            | Input::ApproveDevice { request, .. }
            | Input::CreateRecoveryCode { request }
            | Input::CreatePasskey { request, .. }
            | Input::Recover { request, .. }
            | Input::Import { request, .. } => (*request, CallKind::Other),
            Input::RecoverWithPasskey { request, .. } => (*request, CallKind::Recover),
            _ => return,
        };
        self.last_call = self.last_call.max(request);
        let name = format!("{input:?}").chars().take(120).collect();
        self.calls.insert(request, Call { tab, kind, name, fed: false });
    }

    /// A message is to leave the outbox without having been sent, with its versions that wait behind it.
    fn cancelling(&mut self, tab: TabId, message_id: &MessageId, disk: &ClientDisk) -> CallKind {
        let state = disk.state();
        let is_named = |entry: &&Entry| entry.message.id == *message_id && entry.message.kind == Kind::MESSAGE;
        let waiting = state.records.sessions.keys().find_map(|id| Some((id, state.unsent(id).find(is_named)?)));
        // What the tab was called to send before and has not answered: it may be stored by then.
        let sending = |since: u64| {
            let calls = self.calls.range(since..).filter(|(_, call)| call.tab == tab);
            calls.filter_map(|(request, call)| match call.kind {
                CallKind::Send(_, Some(number), _) => Some((*request, number)),
                _ => None,
            })
        };
        // One that failed is given up, unless it is being tried again.
        let retried = || {
            let record = state.records.failed.values().find(|record| record.entry.message.id == *message_id)?;
            let number = number_of(&record.entry.message.ciphertext)?;
            sending(0).find(|(_, sent)| *sent == number)
        };
        // Of a database that was deleted, the tab writes what it remembers into the next one.
        let remembered = || {
            let profile = &self.profiles[self.tabs.get(&tab)?.profile];
            let number = profile.ids.get(message_id).filter(|number| profile.pending.contains(number))?;
            Some((0, *number))
        };
        let found = waiting.and_then(|(_, entry)| Some((0, number_of(&entry.message.ciphertext)?)));
        let found = found.or_else(retried).or_else(remembered);
        let Some((since, number)) = found else { return CallKind::Cancel(BTreeSet::new()) };
        let behind = waiting.into_iter().flat_map(|(id, message)| state.unsent(id).filter(|entry| entry.counter > message.counter));
        let stored = behind.filter_map(|entry| number_of(&entry.message.ciphertext));
        let others = stored.chain(sending(since).map(|(_, number)| number));
        let versions = others.filter(|number| self.ledger.sent[*number as usize].replaces.as_ref() == Some(message_id));
        let numbers: BTreeSet<u64> = std::iter::once(number).chain(versions).collect();
        self.cancelled.extend(&numbers);
        CallKind::Cancel(numbers)
    }

    /// What is sent again, or said to be sent already, is cancelled no more, unless it may be on its way out, of a copy too.
    fn not_cancelled(&mut self, number: u64) {
        let leaves = |call: &Call| matches!(&call.kind, CallKind::Cancel(numbers) if numbers.contains(&number));
        if !self.calls.values().any(leaves) {
            self.cancelled.remove(&number);
        }
    }

    /// The application sends a message, new or once more under its name. `None` for what has no number.
    fn registered(
        &mut self,
        page: PageId,
        profile: ProfileId,
        session_id: &str,
        text: &str,
        name: Option<&MessageId>,
        replaces: Option<&MessageId>,
    ) -> Option<u64> {
        let session_id = session_id.to_owned();
        let number = number_of(text)?;
        let is_new = number as usize >= self.ledger.sent.len();
        if is_new {
            assert_eq!(number as usize, self.ledger.sent.len(), "messages are numbered as they are sent");
            let (session_id, id) = (session_id.clone(), name.cloned());
            self.ledger.sent.push(Sent {
                profile,
                page,
                tab: 0,
                session_id,
                id,
                replaces: replaces.cloned(),
                again: false,
                forgotten: false,
                copied: false,
                seen: None,
                fate: Fate::Pending,
                places: Vec::new(),
            });
        }
        if let Some(name) = name {
            let numbers = self.ledger.names.entry((session_id, name.clone())).or_default();
            numbers.insert(number);
            let (several, sent) = (numbers.len() > 1, &mut self.ledger.sent[number as usize]);
            sent.again |= !is_new;
            if several || !is_new {
                self.ledger.contested.insert(name.clone());
            }
            if !is_new {
                self.denied.remove(&number);
                self.mark(Mark::SentAgain);
            }
        }
        Some(number)
    }

    /// A tab is to send a message, for the first time or again.
    fn sending(&mut self, tab: TabId, session_id: &str, text: Option<&String>, name: Option<&MessageId>) -> CallKind {
        let number = text.and_then(|text| number_of(text));
        if let Some(sent) = number.and_then(|number| self.ledger.sent.get_mut(number as usize)) {
            sent.tab = tab;
            // Its first tab ended before it could say what became of it.
            if sent.fate == Fate::Excused {
                sent.fate = Fate::Pending;
            }
        }
        if let Some(number) = number.filter(|number| self.ledger.sent[*number as usize].again) {
            self.not_cancelled(number);
        }
        CallKind::Send(session_id.to_owned(), number, name.cloned())
    }

    /// A tab answers a call.
    pub fn replied(&mut self, tab: TabId, request: u64, result: &Result<Reply, SyncError>, disk: &ClientDisk) {
        let call = self.calls.remove(&request);
        let due = call.as_ref().is_some_and(|call| call.tab == tab && call.fed);
        let made = request <= self.last_call;
        self.require(30, due, || match made {
            true => format!("tab {tab} answers call {request} a second time, or it is another tab's"),
            false => format!("tab {tab} answers call {request}, which was not made"),
        });
        let Some(call) = call else { return };
        let loss = self.tabs.get(&tab).and_then(|view| view.lost_store).map(|lost| lost.loss);
        if result.is_ok() && loss == Some(Loss::Deleted) {
            // What it says was stored, and has been deleted since.
            if let CallKind::Send(_, Some(number), _) = call.kind {
                self.ledger.sent[number as usize].fate = Fate::Excused;
            }
            return;
        }
        let is_there = loss != Some(Loss::Remembered);
        let state = disk.state();
        let session = |id: &str| state.records.sessions.get(id);
        match (call.kind, result) {
            (CallKind::Send(session_id, Some(number), name), Err(error)) => {
                let sent = &mut self.ledger.sent[number as usize];
                if sent.fate == Fate::Pending {
                    sent.fate = Fate::Refused;
                }
                let others = name.and_then(|name| self.ledger.names.get(&(session_id, name))).map_or(0, BTreeSet::len);
                self.require_where(4, error.code == ErrorCode::MessageIdTaken, others > 1, || {
                    format!("s{number} is refused because of its name, which no other message has")
                });
            }
            (CallKind::Cancel(numbers), Ok(_)) => {
                let is_again = numbers.iter().any(|number| self.ledger.sent[*number as usize].again);
                let unsent = disk.unsent();
                let waits = numbers.iter().find(|number| unsent.contains_key(number));
                self.require_none(2, if is_again { 0 } else { numbers.len() }, waits.filter(|_| !is_again), |number| {
                    format!("s{number} is said to be cancelled, and waits to be sent")
                });
                for number in &numbers {
                    self.ledger.sent[*number as usize].fate = Fate::Cancelled;
                    if let Some(view) = self.tabs.get(&tab) {
                        self.profiles[view.profile].pending.remove(number);
                    }
                }
                // Another device may send one of them again, which syncs that wait here do not wait for.
                for call in self.calls.values_mut().filter(|call| call.tab == tab) {
                    if let CallKind::Sync(targets) = &mut call.kind {
                        targets.iter_mut().for_each(|(_, unsent, _)| unsent.retain(|number| !numbers.contains(number)));
                    }
                }
                if !numbers.is_empty() {
                    self.mark(Mark::Cancelled);
                }
            }
            (CallKind::Cancel(numbers), Err(_)) => numbers.into_iter().for_each(|number| self.not_cancelled(number)),
            // The deletion of a message that has failed: it is there no longer.
            (CallKind::Send(session_id, None, _), Ok(Reply::Receipt(receipt))) if receipt.status == MessageStatus::Failed => {
                let id = &receipt.message_id;
                let is_there =
                    state.records.failed.values().any(|record| record.session_id == session_id && record.entry.message.id == *id);
                self.require(21, !is_there, || format!("failed message {id} is said to be deleted, and is stored"));
            }
            (CallKind::Send(session_id, number, _), Ok(Reply::Receipt(receipt))) => {
                let id = &receipt.message_id;
                match number {
                    Some(number) => self.accepted(tab, number, id, disk),
                    None => {
                        let logged = self.ledger.log(&session_id).place_of_id(id).is_some();
                        // Or its wallet left the group in the commit that it came with, which is told next.
                        let has_left = is_out(state, &session_id);
                        let stored = logged || has_left || state.unsent(&session_id).any(|entry| entry.message.id == *id);
                        self.require_where(21, is_there, stored, || format!("deletion {id} is said to be stored, and is not"));
                    }
                }
                let queued = receipt.status == MessageStatus::Queued;
                self.require(15, queued, || format!("{id} begins as {:?}", receipt.status));
                if let Some(view) = self.tabs.get_mut(&tab) {
                    view.statuses.entry(session_id).or_default().entry(id.clone()).or_insert(receipt.status);
                }
            }
            // Whether it is open may have changed again in the same commit.
            (CallKind::Open(id) | CallKind::Close(id) | CallKind::ClearLog(id), Ok(_)) => {
                let known = session(&id).is_some();
                self.require_where(21, is_there, known, || format!("session {id} is said to be stored and is not"));
            }
            (CallKind::MarkRead(id, sequence), Ok(_)) => {
                let marked = session(&id).is_some_and(|session| session.read_mark.sequence_number >= sequence);
                self.require_where(21, is_there, marked, || format!("{sequence} of {id} is said to be read and is not stored so"));
            }
            (CallKind::Recover, Ok(_)) => self.mark(Mark::Recovered),
            (CallKind::Sync(targets), Ok(_)) => {
                for (id, unsent, head) in targets {
                    let cursor = session(&id).map_or(0, |session| session.log.end());
                    // Who finds out that it was removed from a group reads no further, also where somebody has added it again.
                    let is_in = session(&id).is_none_or(|session| session.membership == Membership::Member);
                    self.require_where(21, !self.set_back && is_there && is_in, cursor >= head, || {
                        format!("a sync of {id} that began when the log ended at {head} is complete at {cursor}")
                    });
                    let count = unsent.len();
                    let lost = unsent.into_iter().find(|number| self.is_unsent(*number));
                    self.require_none(21, count, lost, |number| format!("a sync of {id} is complete, and s{number} is not in the log"));
                }
            }
            _ => {}
        }
    }

    /// Whether a message has not come to the log, and should.
    pub(crate) fn is_unsent(&self, number: u64) -> bool {
        let sent = &self.ledger.sent[number as usize];
        sent.places.is_empty() && sent.fate == Fate::Accepted && !self.set_back
    }

    /// Whether a tab has not answered yet whether it sends a message.
    pub(crate) fn is_being_sent(&self, tab: TabId, number: u64) -> bool {
        self.calls.values().any(|call| call.tab == tab && matches!(call.kind, CallKind::Send(_, Some(sent), _) if sent == number))
    }

    fn accepted(&mut self, tab: TabId, number: u64, id: &str, disk: &ClientDisk) {
        let durable = disk.unsent().get(&number).copied();
        let logged = !self.ledger.sent[number as usize].places.is_empty();
        let Some(view) = self.tabs.get(&tab) else { return };
        // A call that is answered again was stored once, and its message may have been refused for good since.
        let fate = self.ledger.sent[number as usize].fate;
        let has_failed = matches!(fate, Fate::Refused | Fate::Excused) && durable.is_none() && !logged;
        // It may have left in the commit that it came with, or have been refused there: its wallet left the group in it. What becomes of
        // it is told next; of an edit no more is kept.
        let session_id = &self.ledger.sent[number as usize].session_id;
        let is_edit = self.ledger.sent[number as usize].replaces.is_some();
        let has_left = is_edit && is_out(disk.state(), session_id);
        let is_refused_now =
            has_left || disk.state().records.failed.values().any(|record| record.entry.message.id == id || record.refused_id == id);
        let is_kept = durable.is_some() || logged || has_failed || is_refused_now || self.cancelled.contains(&number);
        self.require_where(21, view.lost_store.is_none_or(|lost| lost.loss != Loss::Remembered), is_kept, || {
            format!("s{number} is said to be stored, and is not")
        });
        self.require_where(2, durable.is_some(), durable == Some(true), || {
            format!("s{number} is said to be stored, and a power cut would lose it")
        });
        let Some(view) = self.tabs.get(&tab) else { return };
        let sent = &mut self.ledger.sent[number as usize];
        // One that was frozen says so after another has cancelled it.
        let is_cancelled = sent.fate == Fate::Cancelled && self.cancelled.contains(&number);
        if !is_cancelled && !has_failed {
            sent.fate = Fate::Accepted;
        }
        let forgotten = sent.forgotten;
        let told_before = sent.id.get_or_insert_with(|| id.to_owned()).clone();
        let profile = &mut self.profiles[view.profile];
        profile.ids.insert(id.to_owned(), number);
        if !logged && !is_cancelled && !has_failed {
            profile.pending.insert(number);
        }
        self.require_where(3, !forgotten, told_before == *id, || format!("s{number} is {id} now, and was {told_before}"));
    }

    /// A tab gives a frame to its socket.
    pub fn transmitted(&mut self, tab: TabId, connection: ConnectionId, payload: &Payload, disk: &ClientDisk) {
        let size = payload.len();
        self.require(20, size <= FRAME_BYTES_MAX, || format!("tab {tab} sends a frame of {size} bytes"));
        let Some(reading) = self.reader.read(payload) else {
            return self.violate(22, format!("tab {tab} sends a frame that cannot be read"));
        };
        self.frame_seen_by_others(payload, &reading);
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        if view.fenced {
            return self.violate(23, format!("tab {tab} speaks though another has taken over its profile"));
        }
        if view.connection != Some(connection) {
            view.connection = Some(connection);
            view.under_way.clear();
            view.answered.clear();
        }
        let Frame { head, body } = &reading.frame;
        let id = &head.session_id;
        if view.device_ids.insert(id.clone(), head.device_id.clone()).is_some_and(|before| before != head.device_id) {
            view.answered.remove(id);
        }
        let (said, what) = match body {
            Body::DeviceAnnounce(announce) => (announce.sync_state.last_synced_sequence, "announces"),
            Body::SyncRequest(request) => (request.last_synced_sequence, "asks from"),
            Body::SyncHeartbeat(heartbeat) => (heartbeat.sequence_number, "says that it has"),
            Body::SyncAck(ack) => (ack.acknowledged_sequences.iter().copied().max().unwrap_or(0), "acknowledges"),
            _ => (0, ""),
        };
        let is_owner = disk.owner() == tab;
        let stored = disk.state().records.sessions.get(id);
        let records = &disk.state().records;
        let own = records.identity.iter().map(|identity| &identity.account);
        let accounts = own.chain(records.accounts.values().map(|record| &record.account));
        let account = if is_account_id(id) { account_end(accounts, id) } else { 0 };
        let cursor = stored.map_or(account, |record| record.log.end());
        self.require_where(7, is_owner && !what.is_empty(), said <= cursor, || {
            format!("tab {tab} {what} {said} of {id}, it has stored {cursor}")
        });
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        match body {
            // It joins anew, and says all again.
            Body::DeviceAnnounce(_) => {
                view.under_way.remove(id);
                let (told, device_id) = (&head.device_id, disk.state().device_id());
                let knows_disk = is_owner && !view.disk_ahead;
                self.require_where(11, knows_disk, told == device_id, || {
                    format!("tab {tab} announces itself as {told}, and is {device_id}")
                });
                self.require_where(21, is_owner, stored.is_some(), || format!("tab {tab} announces {id}, which it has not stored"));
            }
            Body::ReadReceipt(receipt) => {
                let read = receipt.receipts.iter().filter_map(|receipt| receipt.sequence_number).max().unwrap_or(0);
                let marked = stored.map_or(0, |record| record.read_mark.sequence_number);
                self.require_where(21, is_owner, read <= marked, || format!("tab {tab} has read {read} of {id}, it has stored {marked}"));
            }
            Body::SyncUpdate(update) if !is_account_id(id) => {
                let entries = reading.entries.as_deref().unwrap_or_default();
                let last = entries.last().map_or(0, |entry| entry.counter);
                let under_way = view.under_way.entry(id.clone()).or_default();
                under_way.push(last);
                let answered = view.answered.get(id).copied().unwrap_or(0);
                let count = under_way.iter().filter(|last| **last > answered).count();
                let knows_disk = is_owner && !view.disk_ahead;
                let unsent: Vec<&Entry> = disk.state().unsent(id).collect();
                let unstored = entries.iter().find(|entry| {
                    let logged = self.ledger.log(id).place_of(&entry.device_id, entry.counter).is_some();
                    let opened = self.ledger.opened(entry);
                    !logged && !unsent.iter().any(|unsent| is_sent_as(unsent, &opened))
                });
                let unstored = unstored.map(|unsent| unsent.message.id.clone());
                self.require_where(21, knows_disk, unstored.is_none(), || format!("{unstored:?} is sent and is not stored"));
                let mut digest = stored.map(|record| record.log.digest(id, disk.state().device_id())).unwrap_or_default();
                let mut waits = unsent.iter().any(|entry| entry.counter == last);
                if is_sealed_id(id) {
                    // What waits is not encrypted yet: only what is sent says how it is.
                    let logged = stored.map_or(0, |record| record.log.counter(disk.state().device_id()));
                    waits &= entries.first().is_some_and(|first| first.counter == logged + 1);
                    entries.iter().for_each(|entry| digest = entry.digest(&digest));
                } else {
                    unsent.iter().take_while(|entry| entry.counter <= last).for_each(|entry| digest = entry.digest(&digest));
                }
                self.require_where(11, knows_disk && waits, digest == update.last_digest, || {
                    format!("tab {tab} sends messages of {id} up to counter {last} with another digest than they have")
                });
                self.require(20, count <= UPDATES_IN_FLIGHT_MAX, || format!("tab {tab} has {count} updates under way"));
            }
            _ => {}
        }
    }

    /// A frame reaches a tab.
    pub fn reached(&mut self, tab: TabId, payload: &Payload) {
        let Some(reading) = self.reader.read(payload) else { return };
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        let session_id = &reading.frame.head.session_id;
        match &reading.frame.body {
            Body::SyncAck(ack) => {
                view.settled(session_id, ack.acknowledged_counters.iter().copied().max().unwrap_or(0));
            }
            // The log itself may tell how far own messages are.
            Body::SyncResponse(_) => {
                if let Some(entries) = &reading.entries {
                    view.settled_by(session_id, entries);
                }
            }
            Body::Error(error) => {
                if let Some(id) = &error.session_id {
                    view.under_way.remove(id);
                }
            }
            _ => {}
        }
    }

    /// What a tab shows when it is asked: never ahead of what is stored.
    pub fn looked(
        &mut self,
        tab: TabId,
        status: SyncStatusView,
        queued: usize,
        sessions: &[SessionView],
        state: ConnectionState,
        disk: &ClientDisk,
    ) {
        let Some(view) = self.tabs.get(&tab) else { return };
        let (fenced, disk_ahead, lost) = (view.fenced, view.disk_ahead, view.lost_store);
        if fenced {
            self.require(23, state == ConnectionState::Offline, || format!("tab {tab} is {state:?} though it is fenced"));
        }
        if disk_ahead {
            return;
        }
        if let Some(LostStore { unsent_count, .. }) = lost {
            let counted: u64 = sessions.iter().map(|session| session.queued_message_count).sum();
            let told = (status.queued_message_count, counted);
            return self.require(13, told == (unsent_count, unsent_count), || {
                format!("tab {tab} shows {told:?} messages queued, it had stored {unsent_count} when it lost its database")
            });
        }
        let stored = disk.unsent_count();
        self.require(13, status.queued_message_count == stored, || {
            format!("tab {tab} shows {} messages queued, {stored} are stored", status.queued_message_count)
        });
        // New versions stand in the place of what they replace.
        let unsent = disk.state().records.sessions.keys().flat_map(|id| disk.state().unsent(id));
        let listed = unsent.filter(|entry| entry.message.kind == Kind::MESSAGE).count();
        let counted: u64 = sessions.iter().map(|session| session.queued_message_count).sum();
        self.require(13, queued == listed && counted == stored, || {
            format!("tab {tab} lists {queued} queued messages of {listed} and counts {counted} in its sessions, {stored} are stored")
        });
        let records = &disk.state().records.sessions;
        let shown = sessions.iter().map(|session| &session.session_id);
        self.require(21, shown.eq(records.keys()), || format!("tab {tab} shows other sessions than are stored"));
        for view in sessions {
            let Some(record) = records.get(&view.session_id) else { continue };
            let (device_id, cursor) = (disk.state().device_id(), record.log.end());
            let mut known = record.log.clock();
            let newest = disk.state().unsent(&view.session_id).map(|entry| entry.counter).max().unwrap_or(0);
            let _ = known.raise(device_id, record.counter.max(newest));
            let told = (view.last_synced_sequence, &*view.device_id, &view.vector_clock);
            self.require(21, told == (cursor, device_id, &known), || {
                format!("tab {tab} shows {told:?} of {}, stored are {cursor} and {known:?} of {device_id}", view.session_id)
            });
        }
    }

    /// A tab has handled an input: nothing that it owes is left.
    pub fn handled(&mut self, tab: TabId, knows: bool, disk: &ClientDisk) {
        self.nonces_are_new();
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        let whole = std::mem::take(&mut view.whole);
        if let Some(id) = whole.first() {
            self.violate(14, format!("the progress of {id} is whole, and the sync goes on"));
            return;
        }
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        if knows {
            let mut unheard = std::mem::take(&mut view.unheard);
            unheard.append(&mut view.read_late);
            let untold = std::mem::take(&mut view.untold);
            let missing = std::mem::take(&mut view.missing);
            let (voids, failed) = (std::mem::take(&mut view.new_voids), std::mem::take(&mut view.told_failed));
            // Those that it told of were tested then.
            self.require_none(6, unheard.len(), unheard.first(), |first| format!("tab {tab} stored {first:?} and did not tell of it"));
            self.require_none(12, untold.len(), untold.first(), |first| {
                format!("tab {tab} stored the conflict {first:?} and did not tell of it")
            });
            self.require_where(2, voids > 0 || failed > 0, voids == failed, || {
                format!("{voids} messages of tab {tab} gave way to voids, {failed} are said to have failed")
            });
            let count = missing.len();
            let lost = missing.into_iter().find(|number| self.is_unsent(*number));
            self.require_none(2, count, lost, |number| format!("s{number} left the store of tab {tab}, and no log has it"));
        }
        let Some(view) = self.tabs.get(&tab) else { return };
        if !view.disk_ahead {
            let (told, stored) = (view.told_queue, view.lost_store.map_or(disk.unsent_count(), |lost| lost.unsent_count));
            self.require(13, told == stored, || format!("tab {tab} has told of {told} queued messages, {stored} are stored"));
        }
    }

    /// What a tab shows of a log that another tab has gone on with, or that is gone: each message stands where it says.
    pub fn shown_without_store(&mut self, tab: TabId, session_id: &str, shown: &[MessageView]) {
        let log = self.ledger.log(session_id);
        let stands = |message: &&MessageView| {
            message.sequence_number.and_then(|sequence| log.entry(sequence)).is_some_and(|entry| entry.message.id == message.id)
        };
        let wrong = shown.iter().find(|message| !stands(message)).map(|message| message.id.clone());
        self.require_none(9, shown.len(), wrong.filter(|_| !self.set_back), |id| {
            format!("tab {tab} shows {id} of {session_id} where it does not stand")
        });
    }

    /// A tab has heard that another tab owns the store.
    pub fn fenced(&mut self, tab: TabId) {
        if let Some(view) = self.tabs.get_mut(&tab) {
            view.fenced = true;
        }
    }
}

/// Whether an unsent message is what is sent, opened where that is encrypted: what it knows beside the log stays outside then.
fn is_sent_as(unsent: &Entry, sent: &Entry) -> bool {
    match is_sealed_id(&sent.message.session_id) {
        true => sent.is_repeat_of(&Entry { also: sent.also.clone(), ..unsent.clone() }),
        false => unsent.is_repeat_of(sent),
    }
}
