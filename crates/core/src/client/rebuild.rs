//! A store that is gone is made anew: of what the machine has in memory, or of the copy of the outbox that its shell keeps
//! elsewhere. The relay has all else.
//!
//! This device goes on under another id, because the counters of the old one are in no store any more. What is unsent keeps its
//! names, so what the relay has of it already is not stored twice.

use super::Client;
use super::api::{Action, Change, Event, Input, Snapshot};
use super::records::{DeviceRecord, OutboxRecord, SessionRecord, SpareRecord};
use super::session::Session;
use super::sessions::Sessions;
use super::transaction::Transaction;
use super::views::MessageView;
use crate::backoff::delay_ms;
use crate::entry::Entry;
use crate::error::SyncError;
use crate::ids::{SessionId, new_device_id};
use crate::limits::{INTEGER_MAX, REBUILD_FAILURES_MAX, REBUILD_WAIT_MS_MAX};
use crate::time::Now;

/// The store is gone, and is not made anew yet.
#[derive(Default)]
pub(super) struct Rebuild {
    retry_at_ms: u64,
    /// In a row.
    failures: u32,
}

impl Client {
    /// What a copy of the outbox keeps of these messages; `None` where the relay has all of them already, or their session is not
    /// known.
    pub fn spare_of(&self, record: &OutboxRecord) -> Option<SpareRecord> {
        let session = self.sessions.get(&record.session_id)?;
        let is_answered = |entry: &Entry| entry.device_id == self.device.device_id && entry.counter <= session.answered_counter();
        if record.entries.iter().all(is_answered) {
            return None;
        }
        let (wallet, peer_wallet) = (session.wallet().to_owned(), session.peer_wallet().to_owned());
        Some(SpareRecord { wallet, peer_wallet, is_group: session.is_group(), open: session.is_open(), outbox: record.clone() })
    }

    /// Whether the store is gone: a commit that it asks for now is all that shall be stored.
    pub fn is_rebuilding(&self) -> bool {
        self.rebuild.is_some()
    }

    /// What a new store begins with where there is such a copy.
    pub(super) fn load_spare(snapshot: &mut Snapshot, sessions: &mut Sessions) -> Option<Rebuild> {
        if snapshot.device.is_some() || snapshot.spare.is_empty() {
            return None;
        }
        let mut device_id = String::new();
        for SpareRecord { wallet, peer_wallet, is_group, open, outbox } in std::mem::take(&mut snapshot.spare) {
            device_id = outbox.entries.last().map_or(device_id, |entry| entry.device_id.clone());
            if sessions.get(&outbox.session_id).is_none() {
                // Nobody knows what of it was on its way to the relay.
                let id = outbox.session_id.clone();
                let new = if is_group { SessionRecord::of_group(id, wallet, "") } else { SessionRecord::new(id, wallet, peer_wallet) };
                let record = SessionRecord { open, sent_through: INTEGER_MAX, ..new };
                sessions.insert(Session::load(record, device_id.clone()));
            }
            if let Some(mut session) = sessions.visit(&outbox.session_id) {
                session.load_spare(outbox);
            }
        }
        snapshot.device = Some(DeviceRecord::new(device_id));
        Some(Rebuild::default())
    }

    /// The store is gone: nothing that was stored is there.
    pub(super) fn store_lost(&mut self, now: Now, error: &SyncError, actions: &mut Vec<Action>) {
        if self.rebuild.is_some() || self.fenced.is_some() {
            return;
        }
        self.rebuild = Some(Rebuild::default());
        self.device_stored = false;
        self.drop_connection(now, "the store is made anew", actions);
        self.fail_syncs(now, error, actions);
        self.waiting.retain(|input| !matches!(input, Input::Received { .. }));
        self.sessions.visit_all().for_each(Session::lose_log);
        actions.push(Action::Notify(Event::Warning { error: error.clone() }));
    }

    /// Makes it anew when that is due.
    pub(super) fn check_rebuild(&mut self, now: Now, actions: &mut Vec<Action>) {
        let is_due = self.rebuild.as_ref().is_some_and(|rebuild| now.monotonic_ms >= rebuild.retry_at_ms);
        if !is_due || self.under_way.is_some() {
            return;
        }
        let mut transaction = Transaction::new(self.observed);
        transaction.new_device_id = Some(new_device_id(&mut self.random));
        self.sessions.visit_all().for_each(|session| session.write_anew(&mut transaction));
        self.invitations.write_anew(&mut transaction);
        self.answers.write_anew(&mut transaction);
        self.accounts.write_anew(&mut transaction);
        transaction.change(|| Change::Missed);
        self.write(now, transaction, actions);
    }

    /// It could not be made anew. After some failures the application is told which messages nobody keeps any more.
    pub(super) fn rebuild_failed(&mut self, now: Now, error: &SyncError, actions: &mut Vec<Action>) {
        let Some(rebuild) = &mut self.rebuild else { return };
        let wait_ms = delay_ms(self.config.retry_delay_ms, rebuild.failures, &mut self.random).min(REBUILD_WAIT_MS_MAX);
        rebuild.failures = rebuild.failures.saturating_add(1);
        rebuild.retry_at_ms = now.monotonic_ms + wait_ms;
        let gives_up = rebuild.failures == REBUILD_FAILURES_MAX;
        actions.push(Action::Notify(Event::Warning { error: error.clone() }));
        if gives_up {
            let strategy = self.config.conflict_resolution_strategy;
            let lost: Vec<MessageView> = self.sessions.visit_all().flat_map(|session| session.give_up(strategy)).collect();
            if self.observed {
                actions.push(Action::Notify(Event::Changed(Change::Missed)));
            }
            if !lost.is_empty() {
                actions.push(Action::Notify(Event::StorageLost { lost }));
            }
            let session_ids: Vec<SessionId> = self.sessions.values().map(|session| session.id().to_owned()).collect();
            self.tell_queue(&session_ids, actions);
        }
        // Nothing of what was asked meanwhile can be stored.
        for input in std::mem::take(&mut self.waiting) {
            match Client::writing_request(&input) {
                Some(request) => actions.push(Action::Reply { request, result: Err(error.clone()) }),
                None => self.run_call(now, input, actions),
            }
        }
    }

    /// When it is tried again.
    pub(super) fn rebuild_at_ms(&self) -> Option<u64> {
        self.rebuild.as_ref().filter(|_| self.under_way.is_none()).map(|rebuild| rebuild.retry_at_ms)
    }
}

/// Messages of a copy as those of one device, behind so many others.
pub(super) fn renumbered(entries: Vec<Entry>, device: &str, behind: u64) -> Vec<Entry> {
    let numbered = entries.into_iter().zip(behind + 1..);
    numbered.map(|(entry, counter)| Entry { device_id: device.to_owned(), counter, ..entry }).collect()
}
