//! What is shown of a session: what is stored of it, also while a commit is on its way that changes it (I21).

use super::api::{MessageStatus, MessageView, SessionView, VersionView};
use super::commit::Group;
use super::records::SessionRecord;
use super::session::Session;
use crate::conflict::{Strategy, add_version, ranked};
use crate::ids::parse_message_id;
use crate::message::{Entry, Message};

/// A session as it is on disk. `group` is the commit that is under way.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub session: &'a Session,
    pub group: Option<&'a Group>,
}

impl Stored<'_> {
    pub fn exists(self) -> bool {
        self.group.is_none_or(|group| !group.creates(&self.session.record.session_id))
    }

    /// The record, and the highest counter of the device.
    #[inline(never)] // Smaller in wasm.
    fn record(&self) -> (&SessionRecord, u64) {
        let Session { record, stored_counter, .. } = self.session;
        self.group.and_then(|group| group.record_before(&record.session_id)).unwrap_or((record, *stored_counter))
    }

    pub fn cursor(self) -> u64 {
        self.record().0.cursor
    }

    pub fn is_open(self) -> bool {
        self.record().0.open
    }

    pub fn view(self) -> SessionView {
        let (record, counter) = self.record();
        let mut vector_clock = record.heads.clone();
        // Full only where 1,024 other devices are: then the clock without this device is still what it knows.
        let _ = vector_clock.raise(&record.device_id, counter);
        SessionView {
            session_id: record.session_id.clone(),
            wallet: record.wallet.clone(),
            peer_wallet: record.peer_wallet.clone(),
            device_id: record.device_id.clone(),
            last_synced_sequence: record.cursor,
            queued_message_count: self.session.told_queue,
            vector_clock,
        }
    }

    /// The outbox: what is about to enter the log is still in it.
    #[inline(never)] // Smaller in wasm.
    fn outbox(&self) -> Vec<&Entry> {
        let mut outbox: Vec<&Entry> = self.session.outbox.between(&0, &self.session.stored_counter).map(|(_, entry)| entry).collect();
        let (record, counter) = self.record();
        let leaving = self.group.into_iter().flat_map(|group| group.leaving(&record.session_id));
        // What came and left in the same commit was never stored.
        for entry in leaving.filter(|entry| entry.counter() <= counter && entry.original_device_id == record.device_id) {
            outbox.insert(outbox.partition_point(|other| other.counter() < entry.counter()), entry);
        }
        outbox
    }

    /// How far a message of the outbox is; `None` where it is not there.
    pub fn queued_status(self, message_id: &str) -> Option<MessageStatus> {
        let (_, _, counter) = parse_message_id(message_id)?;
        self.outbox().iter().any(|entry| entry.message.id == message_id).then(|| self.session.queued_status(counter))
    }

    /// The list to show: entries of the log in its order, then, where asked, the outbox. New versions stand in the
    /// place of the message that they replace.
    pub fn show(self, entries: Vec<Entry>, with_outbox: bool, strategy: Strategy) -> Vec<MessageView> {
        let outbox = self.outbox();
        let mut shown: Vec<MessageView> = Vec::new();
        for entry in entries {
            let status = self.session.logged_status(entry.sequence_number, &entry.message.sender_wallet);
            shown.extend(self.message_view(entry, status, &outbox, strategy));
        }
        for entry in outbox.iter().filter(|_| with_outbox) {
            let status = self.session.queued_status(entry.counter());
            shown.extend(self.message_view(Entry::clone(entry), status, &outbox, strategy));
        }
        shown
    }

    /// `None` for a version of another message.
    fn message_view(self, entry: Entry, status: MessageStatus, outbox: &[&Entry], strategy: Strategy) -> Option<MessageView> {
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
        let before = self.group.and_then(|group| group.versions_before(&self.session.record.session_id, &message.id));
        let mut versions = before.unwrap_or_else(|| self.session.versions.get(&message.id)).cloned().unwrap_or_default();
        for edit in outbox.iter().filter(|entry| entry.message.replaces.as_ref() == Some(&message.id)) {
            add_version(&mut versions, Entry::clone(edit));
        }
        versions
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
