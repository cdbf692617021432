//! The way on where the relay's log is not the stored one: the application says that the relay's counts, as it is now.
//!
//! A backup that was restored has forgotten what came after it, and so everybody's devices have more than the relay. Each offers
//! again what it has written itself. It does so under another id, because under its own it has signed other entries at these
//! counters; the messages keep their names, so none is stored twice.

use std::collections::BinaryHeap;

use super::Session;
use crate::client::api::{Change, Event, StoredLog, Write};
use crate::client::context::Context;
use crate::client::records::{DeviceRecord, HeadsRecord, ReadMark, SessionRecord};
use crate::client::transaction::Transaction;
use crate::client::views::MessageStatus;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::group::Group;
use crate::ids::{MessageId, new_device_id};
use crate::limits::{ALSO_MAX, OUTBOX_MESSAGES_MAX};
use crate::log::Log;
use crate::message::Kind;
use crate::sorted::Sorted;

impl Session {
    /// Whether it has stopped because the relay's log is another than the stored one, and is not about to go on. Who is in the group no
    /// more keeps what is stored: the relay gives it to nobody else.
    pub fn has_parted(&self) -> bool {
        let parts = |error: &SyncError| matches!(error.code, ErrorCode::RelayRolledBack | ErrorCode::RelayForked | ErrorCode::EntryForged);
        self.halted.as_ref().is_some_and(parts) && !self.accepts_log && !self.is_out()
    }

    /// Whether that is all that is stored now.
    pub fn has_stored(&self, stored: &StoredLog) -> bool {
        stored.end == self.next.log.end()
    }

    /// Up to where the relay's log is known to be the stored one: where the relay said that it ends, if the stored entries make the same
    /// hash there. A log that was set back may have grown again.
    pub fn agreed_through(&self, stored: &StoredLog) -> u64 {
        let Some(relays) = self.parted_at else { return 0 };
        if relays == self.next.log.log_head() {
            return relays.sequence;
        }
        let mut log = Log::new(self.id());
        // Where its beginning was cleared, nobody knows.
        let mut known = stored.entries.iter().take_while(|entry| entry.sequence_number <= relays.sequence);
        let is_whole = known.all(|entry| log.take(entry).is_ok());
        if is_whole && relays == log.log_head() { relays.sequence } else { 0 }
    }

    /// Those of the stored entries that are offered again: what this device wrote, under whatever id, behind the place where the logs
    /// part.
    ///
    /// # Errors
    /// `OUTBOX_FULL`.
    pub fn offer_again(&self, device: &DeviceRecord, agreed: u64, stored: &StoredLog) -> Result<Vec<Entry>, SyncError> {
        let is_lost = |entry: &&Entry| {
            let says_something = entry.message.kind == Kind::MESSAGE || entry.message.kind.is_version();
            // What this device could not open again is nobody's text.
            let says_something = says_something && !entry.is_unopened();
            device.is_this(&entry.device_id) && entry.sequence_number > agreed && says_something
        };
        let offered: Vec<Entry> =
            stored.entries.iter().filter(is_lost).map(|entry| again(entry, agreed, self.next.sealed.is_some())).collect();
        let count = self.outbox.len() + offered.len();
        if count > OUTBOX_MESSAGES_MAX {
            let error = format!("{count} messages of a session would wait, and at most {OUTBOX_MESSAGES_MAX} may");
            return Err(SyncError::new(ErrorCode::OutboxFull, error));
        }
        Ok(offered)
    }

    /// The stored log leaves, the relay's is asked for from the beginning, and these entries are queued, before what waits already.
    pub fn accept_log(
        &mut self,
        context: &mut Context<'_>,
        agreed: u64,
        offered: Vec<Entry>,
        stored: &StoredLog,
        transaction: &mut Transaction,
    ) {
        // Others offer theirs again, and each is told of once. A heap puts them in order: a page loads a tenth of the code of `sort`.
        let behind = stored.entries.iter().filter(|entry| entry.sequence_number > agreed);
        let names: BinaryHeap<MessageId> = behind.map(|entry| entry.message.id.clone()).collect();
        for name in names.into_sorted_vec() {
            self.told_names.insert(name, ());
        }
        self.accepts_log = true;
        self.start_over(context);
        self.flow.floor = None;
        self.forget_log(agreed, transaction);
        let (session_id, offered_count) = (self.id().to_owned(), offered.len() as u64);
        for entry in offered.iter().filter(|entry| entry.message.kind.has_status()) {
            let (session_id, message_id, status) = (session_id.clone(), entry.message.id.clone(), MessageStatus::Queued);
            transaction.tell(Event::StatusChanged { session_id, message_id, status, error: None });
        }
        self.make_anew(0, 0, offered, |_| true, transaction);
        // The relay was set back: it may not have what it had taken.
        self.outbox.forget_sent();
        transaction.change(|| Change::Missed);
        transaction.tell(Event::LogReplaced { session_id, kept_through: agreed, offered_count });
        // Also where it offers nothing: its counters and digests are unknown until the log is there again.
        transaction.replace_device(new_device_id(context.random));
    }

    /// Nothing of the log is stored any more, nor what was found out by it. What comes again up to this place was told of.
    fn forget_log(&mut self, told_through: u64, transaction: &mut Transaction) {
        self.own_log = None;
        self.keep_untold();
        self.told_through = told_through;
        self.join_batches();
        self.awaited_receipts = Sorted::default();
        let session_id = self.id().to_owned();
        let edited: Vec<String> = self.versions.keys().cloned().collect();
        edited.iter().for_each(|message_id| self.set_versions(message_id, Vec::new(), transaction));
        transaction.clear_log(&session_id);
        transaction.write(Write::Heads(HeadsRecord { session_id: session_id.clone(), heads: Vec::new() }), false);
        let next = self.change(transaction, true);
        let SessionRecord { wallet, peer_wallet, open, counter, sent_through, read_mark, last_sync_ms, .. } = next.clone();
        // What is in the log says it again.
        let group = next.group.as_ref().map(|group| Group::named(&session_id, group.name()));
        *next = SessionRecord {
            group,
            log: Log::new(&session_id),
            open,
            counter,
            sent_through,
            read_mark: if read_mark.sequence_number > told_through { ReadMark::default() } else { read_mark },
            last_sync_ms,
            ..SessionRecord::new(session_id, wallet, peer_wallet)
        };
    }
}

/// An entry that is offered again. Its author knows what it wrote before, also where that has another device's id now: otherwise an edit
/// would be at odds with the one that it changed.
fn again(entry: &Entry, agreed: u64, is_sealed: bool) -> Entry {
    let mut also = entry.also.clone();
    // What is encrypted has nothing beside it.
    if !is_sealed && also.len() < ALSO_MAX && entry.counter > 1 {
        // One that cannot be named is not known.
        let _ = also.raise(&entry.device_id, entry.counter - 1);
    }
    Entry { sequence_number: 0, knows: entry.knows.min(agreed), also, ..entry.clone() }
}
