//! What enters the stored log of a session: batches of the relay, acknowledged own messages, imports.

use super::Session;
use crate::batch::Batch;
use crate::client::api::{Event, MessageStatus, Write};
use crate::client::context::Context;
use crate::client::records::{LogRecord, VersionsRecord};
use crate::client::transaction::Transaction;
use crate::conflict::{add_version, concurrent_messages, concurrent_versions, unknown_to};
use crate::ids::MessageId;
use crate::log::{Refusal, accept};
use crate::message::Entry;
use crate::vector_clock::VectorClock;

/// A batch of at most so many messages and fewer bytes is small: such ones are joined.
const SMALL_MESSAGES_MAX: usize = 32;
const SMALL_BYTES_MAX: usize = 8 * 1024;

/// Small batches in a row that are joined: as many records as a page of the list may have to read, and 256 KiB at most.
const SMALL_BATCHES_MAX: u64 = 32;

/// Own messages that enter the log in one transaction.
pub(super) struct OwnLog {
    heads_before: VectorClock,
    entries: Vec<Entry>,
}

impl Session {
    /// Stores the entries that follow what is stored, and returns how many. Own messages leave the outbox in the same
    /// transaction (I2), and the cursor moves with them (I7). `batch` is the form in which they came.
    pub(super) fn store_entries(
        &mut self,
        context: &mut Context<'_>,
        entries: Vec<Entry>,
        batch: Option<Batch>,
        transaction: &mut Transaction,
    ) -> Result<u64, Refusal> {
        let strategy = context.config.conflict_resolution_strategy;
        if batch.is_some() {
            self.flush_own_log(transaction);
        }
        let session_id = self.id().to_owned();
        if entries.iter().any(|entry| entry.message.session_id != session_id) {
            return Err(Refusal::Broken("a message belongs to another session".into()));
        }
        let heads_before = self.next.heads.clone();
        let mut heads = heads_before.clone();
        let came = entries.len();
        let fresh = accept(self.next.cursor, &mut heads, entries)?;
        let (Some(first), Some(last)) = (fresh.first(), fresh.last()) else {
            return Ok(0);
        };
        let (first, last) = (first.sequence_number, last.sequence_number);

        self.enlist(transaction, false);
        let mut conflicts = Vec::new();
        let mut running = heads_before.clone();
        // The places of messages that were in the outbox, those of them that stand under another id, and whether another
        // device's message stands under an id of this one.
        let mut own_places = Vec::new();
        let mut renamed = Vec::new();
        let mut forked = false;
        for entry in &fresh {
            let origin = self.match_outbox(entry, transaction);
            let own = matches!(origin, Origin::Own | Origin::Renamed(_));
            if own {
                own_places.push(entry.sequence_number);
            }
            match origin {
                Origin::Renamed(queued_id) => renamed.push((queued_id, entry.message.id.clone())),
                Origin::Forked => forked = true,
                Origin::Own | Origin::Foreign => {}
            }
            // Entries were checked by `accept`, so their counters fit.
            let concurrent_with = unknown_to(entry, &running);
            let _ = running.raise(&entry.original_device_id, entry.counter());
            if let Some(target) = entry.message.replaces.clone() {
                // Of names that have no part in the session there may be any number.
                if [&self.next.wallet, &self.next.peer_wallet].contains(&&entry.message.sender_wallet) {
                    let mut versions = self.next_versions_of(&target);
                    add_version(&mut versions, entry.clone());
                    conflicts.extend(concurrent_versions(entry, &versions, strategy));
                    self.set_versions(&target, versions, transaction);
                    transaction.tell(Event::MessageChanged { session_id: session_id.clone(), message_id: target });
                }
            } else {
                if !concurrent_with.is_empty() {
                    conflicts.push(concurrent_messages(entry, concurrent_with, fresh.iter()));
                }
                // Every device of a wallet follows how far the wallet's messages are.
                if !own && entry.message.sender_wallet == self.next.wallet {
                    self.await_receipts(entry.sequence_number, entry.message.id.clone());
                }
            }
            let total = if own { &mut self.totals.sent } else { &mut self.totals.received };
            *total += 1;
        }
        let record = self.change(transaction, false);
        record.cursor = last;
        record.heads = heads;
        self.outbox.raise_counter(self.logged_counter());
        let count = fresh.len() as u64;
        let is_heard = |entry: &Entry| own_places.binary_search(&entry.sequence_number).is_err() && entry.message.replaces.is_none();
        let heard: Vec<Box<Entry>> = if let Some(batch) = batch.filter(|_| came == fresh.len()) {
            self.log_batch(LogRecord { session_id: session_id.clone(), first, last, heads_before, batch }, transaction);
            fresh.into_iter().filter(is_heard).map(Box::new).collect()
        } else {
            let heard = fresh.iter().filter(|entry| is_heard(entry)).cloned().map(Box::new).collect();
            self.log_own(heads_before, fresh);
            heard
        };
        for entry in heard {
            transaction.tell(Event::MessageReceived { session_id: session_id.clone(), entry });
        }
        if !conflicts.is_empty() {
            self.totals.conflicts_resolved += conflicts.iter().filter(|conflict| conflict.resolution.is_some()).count() as u64;
            transaction.tell(Event::ConflictDetected { session_id: session_id.clone(), conflicts });
        }
        if forked || !renamed.is_empty() {
            self.replace_device(context, None, renamed, transaction);
        }
        Ok(count)
    }

    /// Own messages enter the log.
    fn log_own(&mut self, heads_before: VectorClock, entries: Vec<Entry>) {
        let log = self.own_log.get_or_insert_with(|| OwnLog { heads_before, entries: Vec::new() });
        log.entries.extend(entries);
    }

    /// Own messages that have entered the log are written as batches, before anything else is written there.
    pub(super) fn flush_own_log(&mut self, transaction: &mut Transaction) {
        let Some(OwnLog { heads_before, entries }) = self.own_log.take() else { return };
        for record in LogRecord::of(&entries, heads_before) {
            self.log_batch(record, transaction);
        }
    }

    fn next_versions_of(&self, message_id: &str) -> Vec<Entry> {
        self.next_versions.get(message_id).or_else(|| self.versions.get(message_id)).cloned().unwrap_or_default()
    }

    fn set_versions(&mut self, message_id: &str, versions: Vec<Entry>, transaction: &mut Transaction) {
        let (session_id, message_id) = (self.id().to_owned(), message_id.to_owned());
        let record = VersionsRecord { session_id, message_id: message_id.clone(), versions: versions.clone() };
        transaction.write(Write::Versions(record), false);
        self.next_versions.insert(message_id, versions);
    }

    /// Stores a batch, and joins the small ones before it when they are many, or it is not one of them.
    fn log_batch(&mut self, record: LogRecord, transaction: &mut Transaction) {
        let (first, last) = (record.first, record.last);
        let small = last - first < SMALL_MESSAGES_MAX as u64 && record.batch.bytes().len() < SMALL_BYTES_MAX;
        transaction.write(Write::Log(record), false);
        let next = self.change(transaction, false);
        if small {
            if next.small_count == 0 {
                next.small_first = first;
            }
            next.small_count += 1;
        }
        let joined_through = if small { last } else { first - 1 };
        if next.small_count >= SMALL_BATCHES_MAX || (!small && next.small_count > 1) {
            let session_id = next.session_id.clone();
            transaction.write(Write::JoinLog { session_id, first: next.small_first, last: joined_through }, false);
            next.small_count = 0;
        } else if !small {
            next.small_count = 0;
        }
    }

    /// Where a message of the outbox is in the log, it leaves the outbox.
    fn match_outbox(&mut self, entry: &Entry, transaction: &mut Transaction) -> Origin {
        let own_name = entry.original_device_id == self.next.device_id;
        let namesake = self.outbox.get(entry.counter()).filter(|_| own_name);
        let forked = namesake.is_some_and(|queued| queued.message != entry.message);
        let queued = namesake.filter(|_| !forked).or_else(|| self.same_as(entry));
        let Some((counter, queued_id)) = queued.map(|queued| (queued.counter(), queued.message.id.clone())) else {
            return if forked { Origin::Forked } else { Origin::Foreign };
        };
        self.outbox.remove(counter);
        let (session_id, message_id) = (self.next.session_id.clone(), entry.message.id.clone());
        let renamed = queued_id != message_id;
        let announced = !renamed && counter <= self.outbox.acknowledged_counter();
        if renamed {
            let (old_id, new_id) = (queued_id.clone(), message_id.clone());
            transaction.tell(Event::MessageRenamed { session_id: session_id.clone(), old_id, new_id });
        } else {
            self.outbox.acknowledge(counter);
        }
        self.await_receipts(entry.sequence_number, message_id.clone());
        let status = self.logged_status(entry.sequence_number, &entry.message.sender_wallet);
        if !announced || status > MessageStatus::Sent {
            transaction.tell(Event::StatusChanged { session_id: session_id.clone(), message_id: message_id.clone(), status, error: None });
        }
        transaction.tell(Event::MessageSynced { session_id, message_id });
        if renamed { Origin::Renamed(queued_id) } else { Origin::Own }
    }

    /// The message of the outbox that stands in this entry under another name. That can only be where the one or the
    /// other was queued again: then the oldest of the outbox was.
    fn same_as(&self, entry: &Entry) -> Option<&Entry> {
        let queued_again = self.outbox.iter().next().is_some_and(|oldest| oldest.message.first_id.is_some());
        let possible = entry.message.sender_wallet == self.next.wallet && (queued_again || entry.message.first_id.is_some());
        self.outbox.iter().find(|queued| possible && queued.message.is_same(&entry.message))
    }
}

/// What an entry of the log is to this device.
enum Origin {
    /// It was in the outbox.
    Own,
    /// It was in the outbox under this id.
    Renamed(MessageId),
    /// Another message waits in the outbox under the same name: this device's storage was copied or set back (B26).
    Forked,
    /// A message of another device, or of another that has this one's name.
    Foreign,
}
