//! One session as a device has it: a state machine of its own.
//!
//! It has two states, what is stored and what comes next, and a transaction leads from the one to the other.

mod accept_log;
mod asks;
mod authors;
mod calls;
mod encryption;
mod failed;
mod flow;
mod frames;
mod groups;
mod log;
mod opening;
mod outbox;
mod requeue;
mod reread;
mod reseal;
mod sealing;
mod signatures;
mod sync;
mod timers;
mod view;
mod waiting;

use std::sync::Arc;

use crate::client::api::{Change, Write};
use crate::client::rebuild::renumbered;
use crate::client::records::{FailedRecord, HeadsRecord, OutboxRecord, SealedState, SessionRecord, VersionsRecord};
use crate::client::transaction::Transaction;
use crate::client::views::SyncStats;
use crate::entry::Entry;
use crate::error::SyncError;
use crate::frame::{DeviceState, ReceiptStatus};
use crate::group::Group;
use crate::identity::SignedHead;
use crate::ids::{DeviceId, MessageId, is_sealed_id};
use crate::log::{DeviceHead, Log, LogHead};
use crate::sorted::Sorted;
use crate::time::Now;
use flow::Flow;
use groups::reached;
use opening::Reading;
use outbox::Outbox;
use reread::Rereading;
use sync::Operation;
use sync::Totals;

/// How long records of the outbox stay after their messages entered the log: long enough that a conversation deletes
/// many at once, short enough that few are there to be read at the next start.
const SWEEP_DELAY_MS: u64 = 1_000;

/// Devices that the session's record, and a small batch behind others, may name. Of 1,000 that write in turn each message
/// costs half as many heads in the record, and an equal part of all heads when they are written (I7).
const RECORD_HEADS_MAX: usize = 32;

/// How long own messages that the relay has taken wait for their places to be stored. Nobody waits for that, unless a sync
/// does: the next acknowledgements and receipts share the transaction then, and the next message finds the store free.
const STORE_DELAY_MS: u64 = 50;

/// Messages of this wallet whose receipts are still awaited, kept to tell the application of each. Older ones are found by
/// reading the log again.
const AWAITED_RECEIPTS_MAX: usize = 1_000;

/// Names that are remembered to be forgotten: more than calls are ever under way that may have read a record of one.
const FORGOTTEN_NAMES_MAX: usize = 1_000;

pub(super) struct Session {
    /// The record on disk.
    stored: Arc<SessionRecord>,
    /// What the transaction makes of it: the same, or another. The counter is the outbox's, and the time of the last sync
    /// stands beside.
    next: Arc<SessionRecord>,
    /// This device: its id on disk, and the one that the transaction gives it.
    stored_device: DeviceId,
    device: DeviceId,
    last_sync_ms: u64,
    /// No record of it is on disk.
    is_new: bool,
    /// The transaction under way, or being collected, may change it.
    in_transaction: bool,
    outbox: Outbox,
    /// What was opened of an encrypted session, to read on.
    reading: Reading,
    /// What was stored as it came is read again.
    rereading: Option<Rereading>,
    /// How often stored batches were joined, or left, in this life: once when it is to be stored, and once when it is.
    joined_count: u64,
    /// The transaction joins batches, or has them leave.
    joins: bool,
    /// The relay has refused for good what was given to who lacks secrets.
    gives_nothing: bool,
    /// Who asked for secrets, and who gave some.
    asked: asks::Asked,
    /// From when on it may begin an epoch only because the last one is long: where the relay takes none, not again at once.
    renews_from_ms: u64,
    /// When the application is told that texts wait for an account key, where that goes on; never again once it was.
    keyless_at_ms: Option<u64>,
    /// When to look for records of the outbox that may leave.
    sweep_at_ms: Option<u64>,
    /// Names that are not their messages' any more: a record of one may have been read before it left.
    forgotten_names: Vec<MessageId>,
    /// Those that the transaction adds.
    next_forgotten_names: Vec<MessageId>,
    /// Those that the transaction gives again: once it is stored, so are their new records.
    names_given_again: Vec<MessageId>,
    /// On disk, by the id of the edited message.
    versions: Sorted<MessageId, Vec<Entry>>,
    /// Those that the transaction changes.
    next_versions: Sorted<MessageId, Vec<Entry>>,
    /// On disk, in the order in which they failed.
    failed: Vec<FailedRecord>,
    /// What the transaction makes of them, where it changes them.
    next_failed: Option<Vec<FailedRecord>>,
    /// Own messages that enter the log, by one acknowledgement or several: they become one batch.
    own_log: Option<log::OwnLog>,
    totals: Totals,
    stored_totals: Totals,
    flow: Flow,
    operation: Option<Operation>,
    auto_sync: Option<AutoSync>,
    /// The transaction ends the session, and its auto-sync.
    ends_auto_sync: bool,
    /// In the order of their ids.
    devices: Vec<DeviceState>,
    stats: SyncStats,
    completed_syncs: u64,
    /// Entries of this wallet, by sequence, that others have not read yet.
    awaited_receipts: Sorted<u64, MessageId>,
    /// Why it no longer syncs, until the application starts it again.
    halted: Option<SyncError>,
    /// The transaction lets it go on with the relay's log.
    accepts_log: bool,
    /// Where it stopped because the relay's log is another: what the relay says of where it ends, or where it was still the stored one.
    parted_at: Option<LogHead>,
    /// Messages up to this place were told of, before their store was lost.
    told_through: u64,
    /// But of these epochs none from a place on, because they could not be read then.
    untold: Vec<(u64, u64)>,
    /// And messages of these names, before their places were lost.
    told_names: Sorted<MessageId, ()>,
    /// How many messages of it wait, as stored: what it was counted for when the application was last told.
    told_queue: u64,
}

struct AutoSync {
    interval_ms: u64,
    next_ms: u64,
}

impl Session {
    /// One that is stored.
    pub fn load(record: SessionRecord, device: DeviceId) -> Session {
        let record = Arc::new(record);
        Session {
            last_sync_ms: record.last_sync_ms,
            is_new: false,
            in_transaction: false,
            outbox: Outbox::new(record.counter),
            reading: Reading::default(),
            rereading: None,
            joined_count: 0,
            joins: false,
            gives_nothing: false,
            asked: asks::Asked::default(),
            renews_from_ms: 0,
            keyless_at_ms: None,
            stored: record.clone(),
            next: record,
            stored_device: device.clone(),
            device,
            sweep_at_ms: None,
            forgotten_names: Vec::new(),
            next_forgotten_names: Vec::new(),
            names_given_again: Vec::new(),
            versions: Sorted::default(),
            next_versions: Sorted::default(),
            failed: Vec::new(),
            next_failed: None,
            own_log: None,
            totals: Totals::default(),
            stored_totals: Totals::default(),
            flow: Flow::default(),
            operation: None,
            auto_sync: None,
            ends_auto_sync: false,
            devices: Vec::new(),
            stats: SyncStats::default(),
            completed_syncs: 0,
            awaited_receipts: Sorted::default(),
            halted: None,
            accepts_log: false,
            parted_at: None,
            told_through: 0,
            untold: Vec::new(),
            told_names: Sorted::default(),
            told_queue: 0,
        }
    }

    /// One that a transaction makes.
    pub fn create(record: SessionRecord, device: DeviceId, transaction: &mut Transaction) -> Session {
        let mut session = Session::load(record, device);
        session.is_new = true;
        session.enlist(transaction, true);
        transaction.change(|| Change::Session { session_id: session.id().to_owned() });
        session
    }

    /// The heads that its record does not have. Before its outbox, whose digests follow them.
    pub fn load_heads(&mut self, heads: Vec<DeviceHead>) {
        let next = Arc::make_mut(&mut self.next);
        next.log = next.log.with(heads);
        self.stored = self.next.clone();
    }

    pub fn load_outbox(&mut self, record: OutboxRecord) {
        self.outbox.load(record, &self.device, self.logged_counter(), self.next.log.digest(self.id(), &self.device));
        self.outbox.transmit(self.stored.sent_through.min(self.outbox.counter()));
        self.sweep_at_ms = self.outbox.has_logged_records(self.logged_counter()).then_some(0);
    }

    /// Messages of a copy of the outbox, behind those that are there. It may have a message as it was first sent and as it was
    /// sent again under its name.
    pub fn load_spare(&mut self, mut record: OutboxRecord) {
        record.entries.retain(|entry| self.outbox.named(&entry.message.id).is_none());
        if record.entries.is_empty() {
            return;
        }
        let entries = renumbered(record.entries, &self.device, self.outbox.counter());
        self.load_outbox(OutboxRecord { entries, ..record });
    }

    /// What was stored of it is gone: what is in memory is left, and its log is empty.
    pub fn lose_log(&mut self) {
        self.keep_untold();
        self.told_through = self.told_through.max(self.stored.log.end());
        self.joined_count += 1;
        let log = Log::new(self.id());
        // What is in the log says it again.
        let group = self.stored.group.as_ref().map(|group| Group::named(self.id(), group.name()));
        let sealed = is_sealed_id(self.id()).then(|| SealedState::new(self.id()));
        let stored = Arc::make_mut(&mut self.stored);
        (stored.group, stored.sealed, stored.log) = (group, sealed, log);
        stored.uncounted.clear();
        (stored.heads_through, stored.small_first, stored.small_count) = (0, 0, 0);
        self.next = self.stored.clone();
        // Secrets that are not on disk any more are taken of the log again.
        self.reading = Reading::default();
        self.versions = Sorted::default();
        self.sweep_at_ms = None;
    }

    /// The stored log leaves: what could not be read yet was not told of, nor what was to come again since an earlier loss.
    fn keep_untold(&mut self) {
        let unread = self.stored.sealed.iter().flat_map(|state| &state.unread).filter(|unread| unread.unread_at.is_some());
        // What was told of before an earlier loss, and could not be read since, still was told.
        let untold_from = |number: u64| self.untold.iter().find(|(untold, _)| *untold == number).map_or(self.told_through + 1, |old| old.1);
        let unread = unread.map(|unread| {
            let number = unread.epoch.number;
            (number, self.unread_from(&unread.epoch).max(untold_from(number)))
        });
        let (last, end) = (self.stored.sealed.as_ref().map_or(0, |state| state.epochs.last()), self.stored.log.end());
        let to_come = self.untold.iter().filter(|(number, _)| *number >= last);
        let to_come = to_come.map(|(number, from)| (*number, if *number == last { (*from).max(end + 1) } else { *from }));
        self.untold = unread.chain(to_come).collect();
    }

    /// Whether the text of an epoch at this place could not be read before the log was lost.
    fn is_untold(&self, number: u64, place: u64) -> bool {
        self.untold.iter().any(|(untold, from)| *untold == number && place >= *from)
    }

    /// All of it is written to a store that has nothing of it; its outbox is when the device takes another id.
    pub fn write_anew(&mut self, transaction: &mut Transaction) {
        self.change(transaction, true);
        self.failed.iter().for_each(|record| transaction.write(Write::Failed(record.clone()), true));
    }

    pub fn load_failed(&mut self, record: FailedRecord) {
        self.failed.push(record);
    }

    pub fn load_versions(&mut self, record: VersionsRecord) {
        self.versions.insert(record.message_id, record.versions);
    }

    pub fn id(&self) -> &str {
        &self.stored.session_id
    }

    /// What the relay has signed of its log, as far as it is kept.
    pub fn signed_heads(&self) -> Vec<SignedHead> {
        [self.stored.proven, self.stored.contradiction.as_deref().copied()].into_iter().flatten().collect()
    }

    pub fn wallet(&self) -> &str {
        &self.stored.wallet
    }

    pub fn peer_wallet(&self) -> &str {
        &self.stored.peer_wallet
    }

    /// The relay has said of all own messages up to this counter that it has them.
    pub fn answered_counter(&self) -> u64 {
        self.outbox.answered_counter()
    }

    pub fn devices(&self) -> &[DeviceState] {
        &self.devices
    }

    pub fn last_sync_ms(&self) -> u64 {
        self.last_sync_ms
    }

    pub fn is_syncing(&self) -> bool {
        self.operation.is_some()
    }

    /// How many stored messages, edits and deletions wait.
    pub fn queued_count(&self) -> u64 {
        self.outbox.written_count()
    }

    /// How many messages the application knows to wait; `count_queue` brings it up to date.
    pub fn told_queue(&self) -> u64 {
        self.told_queue
    }

    pub fn count_queue(&mut self) {
        self.told_queue = self.queued_count();
    }

    /// Whether `syncMessages` without a session means this one too.
    pub fn has_work(&self) -> bool {
        self.next.open || !self.outbox.is_empty()
    }

    /// Whether it takes part in what the connection does: also when it has ended, while it sends, or while its sync is
    /// awaited by a call or by what is on its way to disk.
    pub fn is_linked(&self, wallet: Option<&str>) -> bool {
        let is_awaited = self.operation.as_ref().is_some_and(|operation| operation.is_awaited() || self.in_transaction);
        wallet == Some(self.wallet()) && self.halted.is_none() && !self.is_out() && (self.has_work() || is_awaited)
    }

    /// The session's part in a transaction begins.
    fn enlist(&mut self, transaction: &mut Transaction, strict: bool) {
        self.in_transaction = true;
        transaction.enlist(self.id(), strict);
    }

    /// The next record, to be changed.
    fn change(&mut self, transaction: &mut Transaction, strict: bool) -> &mut SessionRecord {
        self.enlist(transaction, strict);
        Arc::make_mut(&mut self.next)
    }

    /// Writes what the transaction made of the record, at its end.
    pub fn write_record(&mut self, transaction: &mut Transaction) {
        self.flush_own_log(transaction);
        if self.is_new || !Arc::ptr_eq(&self.stored, &self.next) {
            let is_new = |head: &&DeviceHead| head.sequence > self.next.heads_through;
            if self.next.log.heads().iter().filter(is_new).count() > RECORD_HEADS_MAX {
                let (session_id, heads) = (self.id().to_owned(), self.next.log.heads().to_vec());
                transaction.write(Write::Heads(HeadsRecord { session_id, heads }), false);
                let next = Arc::make_mut(&mut self.next);
                next.heads_through = next.log.end();
            }
            let mut record = SessionRecord::clone(&self.next);
            record.log = record.log.since(record.heads_through);
            (record.counter, record.last_sync_ms) = (self.outbox.counter(), self.last_sync_ms);
            transaction.write(Write::Session(record), false);
        }
    }

    /// The transaction is on disk.
    pub fn on_commit(&mut self, now: Now) {
        self.in_transaction = false;
        self.is_new = false;
        let transcript = |record: &SessionRecord| record.sealed.as_ref().map(|sealed| sealed.epochs.transcript());
        if transcript(&self.stored) != transcript(&self.next) {
            // What the relay has not taken in the epoch before is encrypted anew.
            self.outbox.unseal();
        }
        self.stored = self.next.clone();
        self.stored_device.clone_from(&self.device);
        self.stored_totals = self.totals;
        self.outbox.commit();
        self.operation.iter_mut().for_each(Operation::keep_target);
        for (message_id, versions) in std::mem::take(&mut self.next_versions).into_iter() {
            self.versions.insert(message_id, versions);
        }
        self.failed = self.next_failed.take().unwrap_or_else(|| std::mem::take(&mut self.failed));
        let given_again = std::mem::take(&mut self.names_given_again);
        self.forgotten_names.append(&mut self.next_forgotten_names);
        self.forgotten_names.drain(..self.forgotten_names.len().saturating_sub(FORGOTTEN_NAMES_MAX));
        self.forgotten_names.retain(|name| !given_again.contains(name));
        if std::mem::take(&mut self.ends_auto_sync) {
            self.auto_sync = None;
        }
        if std::mem::take(&mut self.accepts_log) {
            self.halted = None;
        }
        if std::mem::take(&mut self.joins) {
            // What was asked for meanwhile may have been read before.
            self.joined_count += 1;
        }
        self.forget_read();
        if self.sweep_at_ms.is_none() && self.outbox.has_logged_records(self.logged_counter()) {
            self.sweep_at_ms = Some(now.monotonic_ms + SWEEP_DELAY_MS);
        }
    }

    /// Nothing of the transaction is on disk. Says whether the session is there at all.
    pub fn on_drop(&mut self) -> bool {
        self.in_transaction = false;
        // What was read again may be lost: all of it is read again.
        (self.rereading, self.joins) = (None, false);
        self.next = self.stored.clone();
        self.device.clone_from(&self.stored_device);
        self.totals = self.stored_totals;
        self.outbox.roll_back();
        self.operation.iter_mut().for_each(Operation::restore_target);
        self.next_versions = Sorted::default();
        self.own_log = None;
        self.next_failed = None;
        self.names_given_again.clear();
        self.next_forgotten_names.clear();
        self.ends_auto_sync = false;
        self.accepts_log = false;
        !self.is_new
    }

    /// The highest counter of this device in the log.
    fn logged_counter(&self) -> u64 {
        self.next.log.counter(&self.device)
    }

    fn await_receipts(&mut self, sequence: u64, id: MessageId) {
        self.awaited_receipts.insert(sequence, id);
        if self.awaited_receipts.len() > AWAITED_RECEIPTS_MAX {
            self.awaited_receipts.pop_first();
        }
    }

    /// What another wallet has read is not waited for any more.
    fn forget_read(&mut self) {
        let read = reached(&self.next, ReceiptStatus::Read);
        self.awaited_receipts.remove_through(&read);
    }
}
