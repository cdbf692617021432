//! What is shown of a session: what is stored of it, also while a transaction is under way that changes it (I21).

use super::Session;
use crate::client::api::{MessageStatus, MessageView, SessionView, SyncStats, VersionView};
use crate::client::records::SessionRecord;
use crate::conflict::{Strategy, add_version, ranked};
use crate::ids::parse_message_id;
use crate::message::{Entry, Message};

impl Session {
    /// Whether it is on disk.
    pub fn is_stored(&self) -> bool {
        !self.is_new
    }

    pub fn is_open(&self) -> bool {
        self.stored.open
    }

    pub fn cursor(&self) -> u64 {
        self.stored.cursor
    }

    pub fn stats(&self) -> SyncStats {
        SyncStats { pending_messages: self.told_queue, total_conflicts_resolved: self.totals.conflicts_resolved, ..self.stats }
    }

    pub fn view(&self) -> SessionView {
        self.view_of(&self.stored, self.outbox.counter_on_disk())
    }

    /// How it will be shown when the transaction is on disk.
    pub(super) fn next_view(&self) -> SessionView {
        self.view_of(&self.next, self.outbox.stored_counter())
    }

    fn view_of(&self, record: &SessionRecord, counter: u64) -> SessionView {
        let mut vector_clock = record.heads.clone();
        // Full only where 1,024 other devices are: then the clock without this device is still what it knows.
        let _ = vector_clock.raise(&record.device_id, counter);
        SessionView {
            session_id: record.session_id.clone(),
            wallet: record.wallet.clone(),
            peer_wallet: record.peer_wallet.clone(),
            device_id: record.device_id.clone(),
            last_synced_sequence: record.cursor,
            queued_message_count: self.told_queue,
            vector_clock,
        }
    }

    /// How far a message of the outbox is; `None` where it is not there.
    pub fn queued_status(&self, message_id: &str) -> Option<MessageStatus> {
        let (_, _, counter) = parse_message_id(message_id)?;
        self.outbox.on_disk().iter().any(|entry| entry.message.id == message_id).then(|| self.status_of(counter))
    }

    /// The list to show: entries of the log in its order, then, where asked, the outbox. New versions stand in the
    /// place of the message that they replace.
    pub fn show(&self, entries: Vec<Entry>, with_outbox: bool, strategy: Strategy) -> Vec<MessageView> {
        let outbox = self.outbox.on_disk();
        let mut shown: Vec<MessageView> = Vec::new();
        for entry in entries {
            let status = self.logged_status(entry.sequence_number, &entry.message.sender_wallet);
            shown.extend(self.message_view(entry, status, &outbox, strategy));
        }
        for entry in outbox.iter().filter(|_| with_outbox) {
            let status = self.status_of(entry.counter());
            shown.extend(self.message_view(Entry::clone(entry), status, &outbox, strategy));
        }
        shown
    }

    /// `None` for a version of another message.
    fn message_view(&self, entry: Entry, status: MessageStatus, outbox: &[&Entry], strategy: Strategy) -> Option<MessageView> {
        let Entry { message, sequence_number, vector_clock, server_timestamp, original_device_id: device_id } = entry;
        if message.replaces.is_some() {
            return None;
        }
        let versions = self.versions_of(&message, outbox);
        let ranked = ranked(&versions, &message.sender_wallet, strategy);
        let winner = ranked.first();
        Some(MessageView {
            edited: winner.is_some(),
            deleted: winner.map_or(message.deleted, |version| version.message.deleted),
            text: match winner {
                Some(version) if version.message.deleted => String::new(),
                Some(version) => version.message.ciphertext.clone(),
                None => message.ciphertext,
            },
            versions: ranked.iter().map(|version| version_view(version)).collect(),
            timestamp: message.timestamp.to_iso(server_timestamp),
            id: message.id,
            session_id: message.session_id,
            sender_wallet: message.sender_wallet,
            content_type: message.content_type,
            device_id,
            sequence_number: (sequence_number > 0).then_some(sequence_number),
            vector_clock,
            status,
        })
    }

    /// The open versions of a message, own unsent ones included.
    fn versions_of(&self, message: &Message, outbox: &[&Entry]) -> Vec<Entry> {
        let mut versions = self.versions.get(&message.id).cloned().unwrap_or_default();
        for edit in outbox.iter().filter(|entry| entry.message.replaces.as_ref() == Some(&message.id)) {
            add_version(&mut versions, Entry::clone(edit));
        }
        versions
    }

    /// How far a message of the outbox is.
    fn status_of(&self, counter: u64) -> MessageStatus {
        if counter <= self.outbox.acknowledged_counter() {
            MessageStatus::Sent
        } else if self.flow.updates.back().is_some_and(|update| counter <= update.last_counter) {
            MessageStatus::Sending
        } else {
            MessageStatus::Queued
        }
    }

    /// How far an entry of the log is: by what the wallets that did not write it have.
    pub(super) fn logged_status(&self, sequence: u64, sender_wallet: &str) -> MessageStatus {
        let others = self.next.watermarks.iter().filter(|(wallet, _)| *wallet != sender_wallet);
        others.fold(MessageStatus::Sent, |status, (_, watermark)| {
            if watermark.read >= sequence {
                MessageStatus::Read
            } else if watermark.delivered >= sequence {
                status.max(MessageStatus::Delivered)
            } else {
                status
            }
        })
    }
}

fn version_view(version: &Entry) -> VersionView {
    let Message { id, ciphertext, deleted, timestamp, .. } = &version.message;
    VersionView {
        id: id.clone(),
        device_id: version.original_device_id.clone(),
        text: if *deleted { String::new() } else { ciphertext.clone() },
        deleted: *deleted,
        timestamp: timestamp.to_iso(version.server_timestamp),
    }
}
