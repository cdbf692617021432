//! What is shown of a session: what is stored of it, also while a transaction is under way that changes it (I21).

use super::Session;
use super::groups::reached;
use crate::client::records::SessionRecord;
use crate::client::views::{MemberView, MessageStatus, MessageView, SessionKind, SessionView, SyncStats, VersionView};
use crate::conflict::{Strategy, add_version, ranked};
use crate::entry::Entry;
use crate::frame::ReceiptStatus;
use crate::group::Group;
use crate::message::{Kind, Message};
use crate::vector_clock::VectorClock;

impl Session {
    /// Whether it is on disk.
    pub fn is_stored(&self) -> bool {
        !self.is_new
    }

    pub fn is_open(&self) -> bool {
        self.stored.open
    }

    pub fn cursor(&self) -> u64 {
        self.stored.log.end()
    }

    pub fn stats(&self) -> SyncStats {
        SyncStats { pending_messages: self.told_queue, total_conflicts_resolved: self.totals.conflicts_resolved, ..self.stats }
    }

    pub fn view(&self) -> SessionView {
        self.view_of(&self.stored, self.stored_group(), &self.stored_device, self.outbox.counter_on_disk())
    }

    /// How it will be shown when the transaction is on disk.
    pub fn next_view(&self) -> SessionView {
        self.view_of(&self.next, self.next_group(), &self.device, self.outbox.stored_counter())
    }

    fn view_of(&self, record: &SessionRecord, group: Option<Group>, device: &str, counter: u64) -> SessionView {
        let mut vector_clock = record.log.clock();
        // Full only where 1,024 other devices are: then the clock without this device is still what it knows.
        let _ = vector_clock.raise(device, counter);
        let pair = || if record.wallet == record.peer_wallet { vec![&record.wallet] } else { vec![&record.wallet, &record.peer_wallet] };
        let members = match &group {
            Some(group) => {
                group.members().iter().map(|member| MemberView { wallet: member.wallet.clone(), is_admin: member.is_admin }).collect()
            }
            None => pair().into_iter().map(|wallet| MemberView { wallet: wallet.clone(), is_admin: false }).collect(),
        };
        SessionView {
            kind: if group.is_some() { SessionKind::Group } else { SessionKind::Pair },
            name: group.map(|group| group.name().to_owned()),
            members,
            membership: record.membership,
            session_id: record.session_id.clone(),
            wallet: record.wallet.clone(),
            peer_wallet: record.peer_wallet.clone(),
            device_id: device.to_owned(),
            last_synced_sequence: record.log.end(),
            queued_message_count: self.told_queue,
            read_through: record.watermarks.iter().find(|(wallet, _)| *wallet == record.wallet).map_or(0, |(_, watermark)| watermark.read),
            is_active: record.open,
            vector_clock,
        }
    }

    /// What has no place in the log: what failed, then what waits in the outbox, oldest first.
    pub fn unsent(&self) -> Vec<&Entry> {
        self.failed.iter().map(|record| &record.entry).chain(self.outbox.on_disk()).collect()
    }

    /// The list to show: the entries as they are given, then, where asked, what failed and the outbox. New versions stand in the
    /// place of the message that they replace.
    pub fn show(&self, entries: Vec<(Entry, Option<VectorClock>)>, with_outbox: bool, strategy: Strategy) -> Vec<MessageView> {
        let outbox = self.outbox.on_disk();
        // An outbox may be long: it is walked through once, and not for each message.
        let mut edits: Vec<&Entry> = Vec::new();
        for edit in outbox.iter().copied().filter(|entry| entry.message.kind.is_version()) {
            edits.insert(edits.partition_point(|other| other.message.replaces <= edit.message.replaces), edit);
        }
        let mut shown: Vec<MessageView> = Vec::new();
        let failed = self.failed.iter().filter(|_| with_outbox).map(|record| (record.entry.clone(), None));
        for (entry, clock) in entries.into_iter().chain(failed) {
            let failed = self.failed.iter().find(|record| entry.sequence_number == 0 && record.entry.message.id == entry.message.id);
            let status = match entry.sequence_number {
                0 if failed.is_some() => MessageStatus::Failed,
                0 => self.status_of(&entry),
                sequence => logged_status(&self.stored, sequence, &entry.message.sender_wallet),
            };
            let error = failed.map(|record| record.error.clone());
            let view = self.message_view(entry, clock, status, &edits, strategy);
            shown.extend(view.map(|view| MessageView { error, ..view }));
        }
        for entry in outbox.iter().filter(|_| with_outbox) {
            let status = self.status_of(entry);
            shown.extend(self.message_view(Entry::clone(entry), None, status, &edits, strategy));
        }
        shown
    }

    /// `None` for an entry that is no message.
    fn message_view(
        &self,
        entry: Entry,
        clock: Option<VectorClock>,
        status: MessageStatus,
        edits: &[&Entry],
        strategy: Strategy,
    ) -> Option<MessageView> {
        if entry.message.kind != Kind::MESSAGE || entry.is_unopened() || self.stored.uncounted.binary_search(&entry.sequence_number).is_ok()
        {
            return None;
        }
        let read_by = self.read_by(&entry);
        let vector_clock = clock.unwrap_or_else(|| self.stored.log.clock_of(&entry));
        let Entry { message, sequence_number, server_timestamp, device_id, .. } = entry;
        let edits = edits_of(&message, edits);
        let versions = self.versions_of(&message, edits);
        let ranked = ranked(&versions, &message.sender_wallet, strategy);
        let winner = ranked.first();
        Some(MessageView {
            edited: winner.is_some(),
            deleted: winner.is_some_and(|version| version.message.kind == Kind::DELETION),
            pending_edit: !edits.is_empty(),
            text: match winner {
                Some(version) if version.message.kind == Kind::DELETION => String::new(),
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
            read_by,
            error: None,
        })
    }

    /// The open versions of a message, its unsent `edits` included.
    fn versions_of(&self, message: &Message, edits: &[&Entry]) -> Vec<Entry> {
        let mut versions = self.versions.get(&message.id).cloned().unwrap_or_default();
        for edit in edits {
            add_version(&mut versions, Entry::clone(edit));
        }
        versions
    }

    /// How far a message of the outbox is.
    pub(super) fn status_of(&self, entry: &Entry) -> MessageStatus {
        if entry.message.kind == Kind::VOID {
            MessageStatus::Failed
        } else if self.outbox.is_sent_on_disk(entry.counter) {
            MessageStatus::Sent
        } else if self.flow.updates.iter().any(|update| (update.first_counter..=update.last_counter).contains(&entry.counter)) {
            MessageStatus::Sending
        } else {
            MessageStatus::Queued
        }
    }
}

/// How far an entry of the log is: by what the wallets that did not write it have. In a group, what others wrote is as far as this
/// wallet is, and what this wallet wrote as far as all others are.
pub(super) fn logged_status(record: &SessionRecord, sequence: u64, sender_wallet: &str) -> MessageStatus {
    if record.group.is_some() {
        let of = |status| {
            if sender_wallet == record.wallet { reached(record, status) } else { record.watermarks.get(&record.wallet).of(status) }
        };
        return match () {
            () if of(ReceiptStatus::Read) >= sequence => MessageStatus::Read,
            () if of(ReceiptStatus::Delivered) >= sequence => MessageStatus::Delivered,
            () => MessageStatus::Sent,
        };
    }
    let others = record.watermarks.iter().filter(|(wallet, _)| *wallet != sender_wallet);
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

/// The versions of a message among unsent ones, which are given in the order of what they replace.
fn edits_of<'a, 'b>(message: &Message, edits: &'a [&'b Entry]) -> &'a [&'b Entry] {
    let replaces = Some(&message.id);
    let first = edits.partition_point(|edit| edit.message.replaces.as_ref() < replaces);
    let end = edits.partition_point(|edit| edit.message.replaces.as_ref() <= replaces);
    &edits[first..end]
}

fn version_view(version: &Entry) -> VersionView {
    let Message { id, ciphertext, kind, timestamp, .. } = &version.message;
    let deleted = *kind == Kind::DELETION;
    VersionView {
        id: id.clone(),
        device_id: version.device_id.clone(),
        text: if deleted { String::new() } else { ciphertext.clone() },
        deleted,
        timestamp: timestamp.to_iso(version.server_timestamp),
    }
}
