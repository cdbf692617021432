//! What devices store, commit by commit.

use std::collections::{BTreeMap, BTreeSet};

use solconnect_sync_core::client::{Answer, LogRecord, Membership, SessionRecord, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::ids::{DeviceId, MessageId, SessionId, is_sealed_id};
use solconnect_sync_core::message::Kind;

use crate::checker::{Checker, Mark};
use crate::client_disk::{ClientDisk, Records, State};
use crate::ledger::{Fate, number_of};
use crate::world::{ProfileId, TabId};

/// What was stored before a commit, to compare with what is stored after it.
pub struct Before {
    /// What the device was called.
    device_id: DeviceId,
    /// The cursor, by session.
    sessions: BTreeMap<SessionId, u64>,
    /// The numbers of the unsent messages, where the commit may take some of them.
    pub unsent: Vec<u64>,
    /// The ids of those of them whose calls were done twice, because their database was deleted.
    done_again: BTreeSet<(u64, MessageId)>,
    /// The unsent messages of sessions whose outbox is made anew, by id.
    entries: BTreeMap<(SessionId, MessageId), Entry>,
    /// How much of the log the newest of them knows, by session.
    known: BTreeMap<SessionId, u64>,
    voids: BTreeSet<(SessionId, MessageId)>,
    /// Groups that the wallet leaves in the commit, with messages that waited.
    left: BTreeSet<SessionId>,
    /// Groups of which what waited leaves: new versions go silently where it is because the wallet is out.
    swept_groups: BTreeSet<SessionId>,
    /// The database was deleted: it is made anew.
    is_anew: bool,
    /// What was in it, where its tab has that in memory.
    pub lost: Option<Records>,
    /// The sessions whose wallets are blocked, where the commit writes invitations.
    pub(crate) blocked: BTreeSet<SessionId>,
}

impl Checker {
    /// A commit is about to be stored; with one that makes a database anew, the unsent messages that its tab remembers.
    pub fn commit_begins(&self, writes: &[Write], disk: &ClientDisk, remembered: Option<Vec<Entry>>) -> Before {
        let state = disk.state();
        let touched = writes.iter().filter_map(|write| match write {
            Write::Session(record) => Some(&record.session_id),
            Write::Outbox(record) => Some(&record.session_id),
            _ => None,
        });
        let sessions = touched.map(|id| (id.clone(), state.cursor(id))).collect();
        let takes = writes.iter().any(|write| matches!(write, Write::DeleteOutbox { .. } | Write::Log(_)));
        let unsent = if takes { disk.unsent().keys().copied().collect() } else { Vec::new() };
        let is_done_again = |number: &u64| self.ledger.sent[*number as usize].forgotten;
        let mut done_again = BTreeSet::new();
        if unsent.iter().any(is_done_again) {
            for entry in state.records.sessions.keys().flat_map(|id| state.unsent(id)) {
                let number = number_of(&entry.message.ciphertext).filter(is_done_again);
                done_again.extend(number.map(|number| (number, entry.message.id.clone())));
            }
        }
        let swept = writes.iter().filter_map(swept_by);
        // What has the name of one whose name is forgotten here is another message, which the application has sent since.
        let forgotten = forgotten_names(writes);
        let is_anew = remembered.is_some();
        let mut kept: Vec<Entry> = swept.flat_map(|id| state.unsent(id)).cloned().collect();
        kept.extend(remembered.into_iter().flatten());
        let remembered_voids = kept.iter().filter(|entry| is_anew && entry.message.kind == Kind::VOID);
        let remembered_voids = remembered_voids.map(|entry| (entry.message.session_id.clone(), entry.message.id.clone()));
        let voids = voids(state).into_iter().chain(remembered_voids).collect();
        let mut known = BTreeMap::new();
        for entry in &kept {
            let most: &mut u64 = known.entry(entry.message.session_id.clone()).or_default();
            *most = entry.knows.max(*most);
        }
        let entries = kept
            .into_iter()
            .filter(|entry| !forgotten.contains(&(&entry.message.session_id, &entry.message.id)))
            .map(|entry| ((entry.message.session_id.clone(), entry.message.id.clone()), entry))
            .collect();
        let invites = writes.iter().any(|write| matches!(write, Write::Invitation(_)));
        let blocked = state.records.invitations.values().filter(|record| invites && record.answer == Answer::Blocked);
        let blocked = blocked.map(|record| record.session_id.clone()).collect();
        let left = writes.iter().filter_map(left_by).cloned().collect();
        let is_group = |id: &&SessionId| state.records.sessions.get(*id).is_some_and(|session| session.group.is_some());
        let swept_groups = writes.iter().filter_map(swept_by).filter(is_group).cloned().collect();
        Before {
            left,
            swept_groups,
            device_id: state.device_id().to_owned(),
            sessions,
            unsent,
            done_again,
            entries,
            known,
            voids,
            is_anew,
            lost: None,
            blocked,
        }
    }

    /// It is stored.
    pub fn committed(&mut self, tab: TabId, profile: ProfileId, writes: &[Write], before: &Before, disk: &ClientDisk) {
        let state = disk.state();
        if !self.device_ids.contains(state.device_id()) {
            self.device_ids.insert(state.device_id().to_owned());
        }
        self.require(22, state.records.device.is_some(), || format!("tab {tab} stores what it does without who it is"));
        let claimed_by = self.profiles[profile].claimed_by;
        self.require(23, claimed_by == tab, || format!("tab {tab} writes, and tab {claimed_by} has claimed profile {profile} since"));
        let queued = writes.iter().filter_map(|write| if let Write::Outbox(record) = write { Some(&record.entries) } else { None });
        let staged: Vec<u64> = queued.flatten().filter_map(|entry| number_of(&entry.message.ciphertext)).collect();
        let forgotten = forgotten_names(writes);
        for write in writes {
            if let Write::Log(record) = write {
                let entries = record.entries().unwrap_or_default();
                self.read_late(tab, profile, &record.session_id, &entries, before);
                self.stored_unread(profile, &record.session_id, &entries);
            }
        }
        for (id, cursor_before) in &before.sessions {
            let Some(record) = state.records.sessions.get(id) else { continue };
            let (cursor, last) = (record.log.end(), state.last_logged(id));
            self.require(7, cursor == last, || format!("the cursor of {id} is stored as {cursor}, the log ends at {last}"));
            self.require(7, cursor >= *cursor_before, || format!("the cursor of {id} fell from {cursor_before} to {cursor}"));
            let reach = self.delivered.entry((id.clone(), record.wallet.clone())).or_default();
            *reach = (reach.0.max(cursor), reach.1.max(record.read_mark.sequence_number));
            self.stored_as_member(id, &record.wallet, cursor);
            self.stored_epochs(id, record.sealed.as_ref(), cursor);
            let hash = self.ledger.log(id).hash_at(id, cursor);
            self.require_where(9, !self.set_back, hash == Some(record.log.hash()), || {
                format!("the log of {id} is stored with another hash at {cursor} than the relay's")
            });
            let log = self.ledger.log(id);
            let heard_before = self.tabs.get(&tab).and_then(|view| view.heard_before.get(id)).copied().unwrap_or(0);
            let (mut due, mut tellable) = (Vec::new(), Vec::new());
            let mut conflicts = Vec::new();
            for sequence in cursor_before + 1..=cursor {
                let Some(entry) = log.entry(sequence) else { continue };
                if entry.message.kind == Kind::MESSAGE && sequence > heard_before && !self.is_unread(profile, id, sequence) {
                    // What was in the outbox is its own, whatever it is called in the log.
                    let number = number_of(&entry.message.ciphertext);
                    // What was queued in the same transaction and waits still was queued behind it.
                    // One that left in it as well is known by its name alone.
                    let is_named = |write: &Write| match write {
                        Write::Name(name) => {
                            (&name.session_id, &name.message_id) == (id, &entry.message.id)
                                && name.fingerprint == entry.message.fingerprint()
                        }
                        _ => false,
                    };
                    let is_own = entry.message.sender_wallet == record.wallet;
                    // In an encrypted session names are stored of what other devices of the wallet wrote, too.
                    let is_named = is_own && writes.iter().any(is_named);
                    let was_queued = |number: &u64| staged.contains(number) || (is_named && !is_sealed_id(id));
                    let may_be_queued = is_named && is_sealed_id(id) && number.is_some_and(|number| self.is_being_sent(tab, number));
                    let is_staged = |number: &u64| was_queued(number) && !disk.unsent().contains_key(number);
                    // What the application took back before the log brought it, which a copy had sent, is no longer its own.
                    let is_same = |number: &u64| {
                        let mut names = before.done_again.iter().filter(|(again, _)| again == number).peekable();
                        names.peek().is_none() || names.any(|(_, name)| *name == entry.message.id)
                    };
                    let is_forgotten = forgotten.contains(&(id, &entry.message.id));
                    let was_unsent = |number: &u64| before.unsent.contains(number) && is_same(number) && !is_forgotten;
                    if may_be_queued {
                        tellable.push((id.clone(), sequence));
                    } else if !number.is_some_and(|number| was_unsent(&number) || is_staged(&number)) {
                        due.push((id.clone(), sequence));
                    }
                    if log.is_concurrent(entry) {
                        conflicts.push((id.clone(), sequence));
                    }
                }
            }
            if let Some(view) = self.tabs.get_mut(&tab) {
                view.unheard.extend(due);
                view.tellable.extend(tellable);
                view.untold.extend(conflicts);
            }
        }
        for write in writes {
            match write {
                Write::Log(record) => self.stored_batch(tab, record, state),
                Write::ClearLog { session_id } => {
                    if let Some(view) = self.tabs.get_mut(&tab) {
                        let cleared = view.cleared.entry(session_id.clone()).or_default();
                        *cleared = state.last_logged(session_id).max(*cleared);
                    }
                }
                Write::Outbox(record) => self.stored_unsent(&record.session_id, &record.entries, before, state),
                write => self.stored_invitation(tab, write, before, writes),
            }
        }
        if let Some(lost) = &before.lost {
            self.made_anew(tab, lost, &state.records);
        }
        // Of what was said of a group only a warning tells that it does not count.
        let is_said = |void: &&(SessionId, MessageId)| before.entries.get(*void).is_some_and(|entry| entry.message.kind == Kind::GROUP);
        let new_voids = voids(state).difference(&before.voids).filter(|void| !is_said(void)).count();
        // What waits when its wallet leaves a group has failed, and no void stands for it; nor for what was refused just before.
        let has_left = |write: &&Write| matches!(write, Write::Failed(record) if is_out(state, &record.session_id));
        let left = if before.is_anew { 0 } else { writes.iter().filter(|write| left_by(write).is_some() || has_left(write)).count() };
        if writes.iter().any(|write| matches!(write, Write::Device(_) | Write::Outbox(_) | Write::DeleteOutbox { .. })) {
            self.outboxes_follow(state);
        }
        if before.is_anew || writes.iter().any(|write| matches!(write, Write::DeleteOutbox { .. } | Write::Log(_))) {
            self.left_with_their_places(before, new_voids, disk);
            for number in std::mem::take(&mut self.excused) {
                self.profiles[profile].pending.remove(&number);
                self.ledger.sent[number as usize].fate = Fate::Excused;
            }
            let pending = self.profiles[profile].pending.difference(&self.cancelled);
            let missing = pending.copied().filter(|number| !disk.unsent().contains_key(number));
            let kept =
                |number: &u64| state.records.failed.values().any(|record| number_of(&record.entry.message.ciphertext) == Some(*number));
            let (failed, missing): (BTreeSet<u64>, BTreeSet<u64>) = missing.partition(kept);
            // They are kept: a tab that ends before it tells of that leaves them to be seen in the list.
            failed.into_iter().for_each(|number| self.has_failed(profile, number));
            if let Some(view) = self.tabs.get_mut(&tab) {
                view.missing = missing;
            } else if !missing.is_empty() {
                self.violate(2, format!("messages {missing:?} left the store, and no log has them"));
            }
        }
        if before.is_anew && disk.unsent_count() > 0 {
            self.mark(Mark::MadeAnew);
        }
        if let Some(view) = self.tabs.get_mut(&tab) {
            if before.is_anew {
                view.lost_store = None;
            }
            view.disk_ahead = true;
            (view.new_voids, view.told_failed) = (new_voids + left, 0);
            let kept =
                writes.iter().filter_map(|write| if let Write::Failed(record) = write { Some(record.refused_id.clone()) } else { None });
            view.kept_failed = kept.collect();
        }
    }

    /// What a tab had in memory of its database is in the new one, beside what waits: answers to calls, messages that failed,
    /// what is known of invitations, and that a session goes on.
    fn made_anew(&mut self, tab: TabId, lost: &Records, stored: &Records) {
        let call = lost.calls.iter().find(|(key, record)| stored.calls.get(key) != Some(record)).map(|(key, _)| *key);
        self.require_none(30, lost.calls.len(), call, |call| format!("tab {tab} makes its database anew without the answer to {call:?}"));
        let failed = lost.failed.iter().find(|(key, record)| stored.failed.get(key) != Some(record)).map(|(key, _)| key.clone());
        self.require_none(2, lost.failed.len(), failed, |key| format!("tab {tab} makes its database anew without failed message {key:?}"));
        let invitation = lost.invitations.iter().find(|(id, record)| stored.invitations.get(*id) != Some(record)).map(|(id, _)| id);
        self.require_none(32, lost.invitations.len(), invitation, |id| {
            format!("tab {tab} makes its database anew without invitation {id}")
        });
        let is_other = |id: &SessionId, record: &SessionRecord| {
            stored.sessions.get(id).is_none_or(|stored| (stored.open, &stored.read_mark) != (record.open, &record.read_mark))
        };
        let session = lost.sessions.iter().find(|(id, record)| is_other(id, record)).map(|(id, _)| id);
        self.require_none(22, lost.sessions.len(), session, |id| format!("tab {tab} makes its database anew with another state of {id}"));
    }

    /// All that waits is written by the one device that this is, in every session, and its counters follow what is in the
    /// log.
    fn outboxes_follow(&mut self, state: &State) {
        let device_id = state.device_id();
        for (id, record) in &state.records.sessions {
            let waiting = state.records.outbox.range((id.clone(), 0)..=(id.clone(), u64::MAX)).flat_map(|(_, record)| &record.entries);
            let other = waiting.clone().find(|entry| entry.device_id != device_id).map(|entry| entry.device_id.clone());
            self.require_none(11, waiting.count(), other, |other| format!("a message of {other} waits in {id}, of device {device_id}"));
            let counters: Vec<u64> = state.unsent(id).map(|entry| entry.counter).collect();
            let follow = counters.iter().copied().eq((record.log.counter(device_id) + 1..).take(counters.len()));
            self.require_where(11, !counters.is_empty(), follow, || {
                format!("{counters:?} wait in {id} behind counter {}", record.log.counter(device_id))
            });
        }
    }

    /// Messages leave the outbox in the transaction that stores their places, or in which a void takes their place.
    fn left_with_their_places(&mut self, before: &Before, new_voids: usize, disk: &ClientDisk) {
        for number in before.unsent.iter().filter(|number| !disk.unsent().contains_key(number)) {
            let sent = &self.ledger.sent[*number as usize];
            let cursor = disk.state().cursor(&sent.session_id);
            let placed = sent.places.iter().find(|(sequence, _)| *sequence <= cursor);
            // It may have come back in the same commit.
            let is_out = is_out(disk.state(), &sent.session_id) || before.left.contains(&sent.session_id);
            let is_version = sent.replaces.is_some();
            let is_out = is_out || is_version && before.swept_groups.contains(&sent.session_id);
            let (is_placed, elsewhere) = (placed.is_some(), placed.is_some_and(|(_, device)| *device != before.device_id));
            if elsewhere {
                self.mark(Mark::KnownAgain);
            }
            let is_cancelled = self.cancelled.contains(number);
            if is_out && is_version {
                // A new version goes with the membership, and nobody is told where its tab ends now.
                self.excused.push(*number);
            }
            self.require(2, is_placed || new_voids > 0 || is_cancelled || is_out, || {
                format!("s{number} left the outbox, and its place in the log is not stored")
            });
        }
    }

    fn stored_batch(&mut self, tab: TabId, record: &LogRecord, state: &State) {
        let (id, first, last) = (&record.session_id, record.first, record.last);
        let Ok(entries) = record.entries() else {
            return self.violate(22, format!("the stored batch {first} to {last} of {id} cannot be read"));
        };
        // An import may tell of own messages too.
        if let Some(view) = self.tabs.get_mut(&tab) {
            view.settled_by(id, &entries);
        }
        let follow = (first..=last).eq(entries.iter().map(|entry| entry.sequence_number));
        self.require(7, follow, || format!("the stored batch {first} to {last} of {id} does not hold these"));
        let wrong = entries.iter().find(|entry| !self.is_as_logged(id, entry)).map(|entry| entry.sequence_number);
        self.require_where(9, !self.set_back, wrong.is_none(), || {
            format!("entry {wrong:?} of {id} is stored other than it stands in the log")
        });
        let keys: Vec<(u64, u64)> = state
            .records
            .log
            .range((id.clone(), 0)..=(id.clone(), u64::MAX))
            .rev()
            .take(3)
            .map(|(_, record)| (record.first, record.last))
            .collect();
        let hole = keys.windows(2).find(|pair| pair[1].1 + 1 != pair[0].0).map(<[_]>::to_vec);
        let pairs = keys.len().saturating_sub(1);
        self.require_none(7, pairs, hole, |hole| format!("the stored log of {id} has a hole or an overlap at {hole:?}"));
    }

    /// All that is stored of a session's log: what the relay has, from where it was cleared up to the cursor.
    pub fn stored(&mut self, profile: ProfileId, session: &SessionRecord, cleared: u64, stored: &[Entry]) {
        let SessionRecord { session_id, log: stored_log, .. } = session;
        let log = self.ledger.log(session_id).entries();
        let through = (stored_log.end() as usize).min(log.len());
        let is_whole = (cleared as usize).min(through) + stored.len() == through;
        let places = (cleared + 1..).zip(stored);
        let same = is_whole && places.clone().all(|(place, entry)| entry.sequence_number == place && self.is_as_logged(session_id, entry));
        self.require_where(9, !self.set_back, same, || format!("profile {profile} holds another log of {session_id} than the relay"));
    }

    /// A new message knows the log that its device had stored, no more and no less. One that was made anew is what it was,
    /// but for its counter and its device; or it is a void.
    fn stored_unsent(&mut self, id: &str, entries: &[Entry], before: &Before, state: &State) {
        let reached = state.cursor(id);
        let cursor = before.sessions.get(id).copied().unwrap_or(0);
        for entry in entries {
            let knows = entry.knows;
            let name = &entry.message.id;
            if let Some(number) = number_of(&entry.message.ciphertext) {
                let is_denied = self.denied.contains(&number);
                self.require(30, !is_denied, || format!("s{number} is stored, and its application was told that it is not"));
                let sent = &mut self.ledger.sent[number as usize];
                sent.seen.get_or_insert(cursor);
                let forgotten = sent.forgotten;
                let told = sent.id.get_or_insert_with(|| name.clone()).clone();
                self.require_where(3, !forgotten, told == *name, || format!("s{number} is stored as {name}, and was {told}"));
            }
            let kept = before.entries.get(&(id.to_owned(), name.clone()));
            if let Some(kept) = kept.filter(|_| entry.message.kind != Kind::VOID) {
                let Entry { device_id, counter, .. } = entry.clone();
                let same = *entry == Entry { device_id, counter, ..kept.clone() };
                // Or the one before left with its place in the log, and the application has sent it again since.
                let log = self.ledger.log(id);
                let place = log.place_of_name(&kept.message.sender_wallet, name).filter(|place| (cursor + 1..=reached).contains(place));
                let has_left = place.and_then(|place| log.entry(place)).is_some_and(|logged| kept.says_the_same(logged));
                let is_again = has_left && knows == cursor;
                // A copy of an outbox may have two messages that the application sent under one name: it lacks the names.
                let is_one = !self.ledger.contested.contains(name) || kept.says_the_same(entry);
                // Or one message as it was first sent, and as it was sent again.
                let number = number_of(&entry.message.ciphertext);
                let was_again = number.is_some_and(|number| self.ledger.sent[number as usize].again) && kept.says_the_same(entry);
                self.require_where(3, is_one, same || is_again || was_again, || {
                    format!("{name} was made anew, and is another message: {entry:?}")
                });
            } else if entry.message.kind == Kind::VOID {
                // Its message may know what its device has lost since.
                let known = cursor.max(before.known.get(id).copied().unwrap_or(0));
                self.voided.insert((id.to_owned(), entry.device_id.clone(), entry.counter));
                self.require(11, knows <= known, || format!("void {name} knows {knows} entries, {known} were known"));
            } else {
                self.require(11, knows == cursor, || format!("unsent {name} knows {knows} entries, {cursor} were stored"));
            }
        }
    }

    /// Whether a commit is stored that the tab has not heard of.
    pub fn is_disk_ahead(&self, tab: TabId) -> bool {
        self.tabs.get(&tab).is_some_and(|view| view.disk_ahead)
    }

    /// A tab hears how its commit went.
    pub fn disk_is_known(&mut self, tab: TabId) {
        if let Some(view) = self.tabs.get_mut(&tab) {
            view.disk_ahead = false;
        }
    }
}

/// The group that a message waited in which has failed because its wallet left it.
fn left_by(write: &Write) -> Option<&SessionId> {
    match write {
        Write::Failed(record) if record.error.code == ErrorCode::MemberRemoved => Some(&record.session_id),
        _ => None,
    }
}

/// The session of which what waited leaves.
fn swept_by(write: &Write) -> Option<&SessionId> {
    if let Write::DeleteOutbox { session_id, .. } = write { Some(session_id) } else { None }
}

/// Whether the wallet of a session, a group, is no member of it any more.
pub(crate) fn is_out(state: &State, session_id: &str) -> bool {
    state.records.sessions.get(session_id).is_some_and(|session| session.membership != Membership::Member)
}

/// The voids that wait, by session and id, which they keep where they are made anew.
fn voids(state: &State) -> BTreeSet<(SessionId, MessageId)> {
    let unsent = state.records.sessions.keys().flat_map(|id| state.unsent(id).map(move |entry| (id, &entry.message)));
    unsent.filter(|(_, message)| message.kind == Kind::VOID).map(|(id, message)| (id.clone(), message.id.clone())).collect()
}

/// The names that a commit makes free, of messages that left unsent.
fn forgotten_names(writes: &[Write]) -> BTreeSet<(&SessionId, &MessageId)> {
    let mut names = BTreeSet::new();
    for write in writes {
        if let Write::ForgetName { session_id, message_id } = write {
            names.insert((session_id, message_id));
        }
    }
    names
}
