//! The way on where the relay's log is not the stored one: the application says that the relay's counts, as it is now.
//!
//! A backup that was restored has forgotten what came after it, and so everybody's devices have more than the relay. Each offers
//! again what it has written itself. It does so under another id, because under its own it has signed other entries at these
//! counters; the messages keep their names, so none is stored twice.

use super::Session;
use crate::client::api::{Change, Event, Membership, MessageStatus, Write};
use crate::client::context::Context;
use crate::client::records::{HeadsRecord, ReadMark, SessionRecord};
use crate::client::transaction::Transaction;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::group::Group;
use crate::ids::{MessageId, new_device_id};
use crate::limits::OUTBOX_MESSAGES_MAX;
use crate::log::Log;
use crate::message::Kind;
use crate::sorted::Sorted;
use crate::vector_clock::VectorClock;

impl Session {
    /// Where the relay's log may begin to be another than the stored one; `None` where the session has not stopped because of that.
    pub fn parted_at(&self) -> Option<u64> {
        let parts = |error: &SyncError| matches!(error.code, ErrorCode::RelayRolledBack | ErrorCode::RelayForked | ErrorCode::EntryForged);
        self.halted.as_ref().filter(|error| parts(error)).map(|_| self.agreed_through)
    }

    /// Those of the stored entries that are offered again: what this device wrote behind the place where the logs part.
    ///
    /// # Errors
    /// `OUTBOX_FULL`.
    pub fn offer_again(&self, agreed: u64, stored: &[Entry]) -> Result<Vec<Entry>, SyncError> {
        let is_lost = |entry: &&Entry| {
            let says_something = entry.message.kind == Kind::MESSAGE || entry.message.kind.is_version();
            let is_own = entry.message.session_id == self.id() && entry.device_id == self.device;
            is_own && entry.sequence_number > agreed && says_something
        };
        let again = |entry: &Entry| Entry { sequence_number: 0, knows: entry.knows.min(agreed), also: VectorClock::new(), ..entry.clone() };
        let offered: Vec<Entry> = stored.iter().filter(is_lost).map(again).collect();
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
        stored: &[Entry],
        transaction: &mut Transaction,
    ) {
        // Others offer theirs again, and each is told of once.
        let of_it = stored.iter().filter(|entry| entry.message.session_id == self.id());
        let mut names: Vec<MessageId> = of_it.map(|entry| entry.message.id.clone()).collect();
        names.sort_unstable();
        for name in names {
            self.told_names.insert(name, ());
        }
        self.halted = None;
        self.start_over(context);
        self.flow.floor = None;
        self.forget_log(agreed, transaction);
        let (session_id, offered_count) = (self.id().to_owned(), offered.len() as u64);
        for entry in offered.iter().filter(|entry| entry.message.kind.has_status()) {
            let (session_id, message_id, status) = (session_id.clone(), entry.message.id.clone(), MessageStatus::Queued);
            transaction.tell(Event::StatusChanged { session_id, message_id, status, error: None });
        }
        self.make_anew(0, 0, offered, |_| true, transaction);
        transaction.change(|| Change::Missed);
        transaction.tell(Event::LogReplaced { session_id, kept_through: agreed, offered_count });
        // Also where it offers nothing: its counters and digests are unknown until the log is there again.
        transaction.replace_device(new_device_id(context.random));
    }

    /// Nothing of the log is stored any more, nor what was found out by it. What comes again up to this place was told of.
    fn forget_log(&mut self, told_through: u64, transaction: &mut Transaction) {
        self.own_log = None;
        self.told_through = told_through;
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
            membership: Membership::Member,
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
