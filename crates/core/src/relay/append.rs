//! Taking messages: updates wait for their turn, are numbered (draft), the journal stores them, and only then is anything
//! acknowledged (I1).

use std::collections::{BTreeMap, BTreeSet};

use super::api::{Action, ConnectionId, DeviceRow, JournalAnswer, JournalQuestion, StoredEntry};
use super::draft::{Draft, first_key, first_place, refused_before, seed_key};
use super::session::{Session, TailEntry};
use super::{Purpose, Relay, refusal};
use crate::conflict::{concurrent_messages, unknown_to};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Chat, ConflictReport, ErrorBody, Head, SyncAck, SyncConflict, SyncUpdate, Unsent};
use crate::ids::{DeviceId, check_id};
use crate::limits::{BATCH_MESSAGES_MAX, FRAME_BYTES_MAX, UPDATE_QUEUE_MESSAGES_MAX};
use crate::message::Message;
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// Conflicts that seed clients are told of in one frame.
const REPORTS_MAX: usize = 100;

/// Messages of an update that are refused by name: what is 13 bytes there must not stand for an error frame a thousand times.
pub(super) const REFUSALS_MAX: usize = 100;

/// Messages of one client that wait to be stored.
pub(super) struct Update {
    pub connection: ConnectionId,
    pub head: Head,
    pub device_id: DeviceId,
    pub v1: bool,
    /// Chat frames are not acknowledged: seed clients do not expect it.
    pub acknowledge: bool,
    pub messages: Vec<Unsent>,
}

/// What the journal is asked to store, and for whom.
#[derive(Default)]
pub(super) struct Append {
    updates: Vec<Update>,
    entries: Vec<TailEntry>,
    /// Devices under whose names nothing more is taken.
    retired: BTreeSet<DeviceId>,
    /// Connections that had been refused a message when this began. They may leave before it is numbered.
    refused: BTreeSet<ConnectionId>,
    outcomes: Vec<Outcome>,
}

/// What one update is answered.
#[derive(Default)]
pub(super) struct Outcome {
    pub ack: SyncAck,
    /// The messages that were refused, the first [`REFUSALS_MAX`] by name.
    pub errors: Vec<ErrorBody>,
}

impl Relay {
    pub(super) fn update(
        &mut self,
        now: Now,
        connection: ConnectionId,
        head: &Head,
        update: SyncUpdate,
        actions: &mut Vec<Action>,
    ) -> Result<(), SyncError> {
        if head.device_id.is_empty() {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the update names no device"));
        }
        let attachment = self.attachment(connection, head, &head.device_id)?;
        let v1 = attachment.v1;
        if attachment.refused {
            return Err(refused_before());
        }
        if !v1 {
            let mut wallets = update.messages.iter().map(|unsent| &unsent.message.sender_wallet);
            attachment.learn_wallet(wallets.find(|wallet| !wallet.is_empty()));
        }
        // A device speaks for itself: v1 devices under the name that they announced.
        let device_id = if v1 { attachment.device_id.clone() } else { head.device_id.clone() };
        let update = Update { connection, head: head.clone(), device_id, v1, acknowledge: true, messages: update.messages };
        self.enqueue(now, update, actions)
    }

    pub(super) fn chat(
        &mut self,
        now: Now,
        connection: ConnectionId,
        head: &Head,
        chat: Chat,
        actions: &mut Vec<Action>,
    ) -> Result<(), SyncError> {
        let writer = if chat.sender.is_empty() { "anonymous" } else { &chat.sender };
        check_id("sender", writer)?;
        let next = self.sessions.get(&head.session_id).map_or(1, |session| session.head + 1);
        let attachment = self.attachment(connection, head, writer)?;
        // A v1 device asks for what it wants to hear.
        if !attachment.v1 {
            attachment.live.get_or_insert(next);
        }
        attachment.learn_wallet(Some(&chat.sender));
        let device_id = attachment.device_id.clone();
        let message = Message {
            id: chat.message_id.unwrap_or_default(),
            sender_wallet: chat.sender,
            ciphertext: chat.message,
            timestamp: chat.timestamp,
            session_id: head.session_id.clone(),
            extra: chat.extra,
            ..Message::default()
        };
        let unsent = Unsent { message, vector_clock: chat.vector_clock.unwrap_or_default(), ..Unsent::default() };
        let update = Update { connection, head: head.clone(), device_id, v1: false, acknowledge: false, messages: vec![unsent] };
        self.enqueue(now, update, actions)
    }

    fn enqueue(&mut self, now: Now, update: Update, actions: &mut Vec<Action>) -> Result<(), SyncError> {
        let session_id = update.head.session_id.clone();
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return Ok(());
        };
        let waiting: usize = session.updates.iter().map(|update| update.messages.len()).sum();
        if waiting + update.messages.len() > UPDATE_QUEUE_MESSAGES_MAX {
            session.refuse_rest(update.connection);
            return Err(SyncError::new(ErrorCode::RelayBusy, "too many messages wait to be stored; send them again"));
        }
        session.updates.push_back(update);
        self.start_append(now, &session_id, actions);
        Ok(())
    }

    /// Takes the updates that wait, unless an append is under way.
    fn start_append(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        if session.append.is_some() || session.updates.is_empty() {
            return;
        }
        let refused = session.attachments.iter().filter(|(_, attachment)| attachment.refused).map(|(connection, _)| *connection).collect();
        let mut append = Append { refused, ..Append::default() };
        let mut count = 0;
        while let Some(update) = session.updates.pop_front_if(|update| count == 0 || count + update.messages.len() <= BATCH_MESSAGES_MAX) {
            count += update.messages.len();
            append.updates.push(update);
        }
        let (counters, keys) = session.possible_repeats(&append.updates);
        session.append = Some(append);
        if counters.is_empty() && keys.is_empty() {
            self.number(now, session_id, Vec::new(), actions);
        } else {
            let question = JournalQuestion::Find { session_id: session_id.to_owned(), counters, keys };
            self.ask(session_id, Purpose::Find, question, actions);
        }
    }

    /// The journal has looked for repeats.
    pub(super) fn found(&mut self, now: Now, session_id: &str, answer: JournalAnswer, actions: &mut Vec<Action>) {
        match answer {
            JournalAnswer::Entries(found) => self.number(now, session_id, found, actions),
            other => self.append_failed(now, session_id, &other, actions),
        }
    }

    /// Gives the new messages their sequence numbers and has them stored.
    fn number(&mut self, now: Now, session_id: &str, found: Vec<StoredEntry>, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let Some(mut append) = session.append.take() else { return };
        let refused = append.refused.clone();
        let mut draft = Draft { session, found, heads: session.heads.clone(), entries: Vec::new(), retired: BTreeSet::new(), refused };
        append.outcomes = append.updates.iter_mut().map(|update| draft.take(now, update)).collect();
        let refused: Vec<ConnectionId> = draft.refused.difference(&append.refused).copied().collect();
        append.entries = draft.entries;
        append.retired = draft.retired;
        let entries: Vec<StoredEntry> = append.entries.iter().map(|entry| entry.stored.clone()).collect();
        let devices = session.rows_after(&append.entries, &append.retired, now);
        session.append = Some(append);
        for connection in refused {
            session.refuse_rest(connection);
        }
        if entries.is_empty() {
            self.settle(now, session_id, actions);
        } else {
            let question = JournalQuestion::Append { session_id: session_id.to_owned(), entries, devices };
            self.ask(session_id, Purpose::Append, question, actions);
        }
    }

    /// The journal has stored them, or not.
    pub(super) fn appended(&mut self, now: Now, session_id: &str, answer: JournalAnswer, actions: &mut Vec<Action>) {
        match answer {
            JournalAnswer::Appended => self.settle(now, session_id, actions),
            other => self.append_failed(now, session_id, &other, actions),
        }
    }

    fn append_failed(&mut self, now: Now, session_id: &str, answer: &JournalAnswer, actions: &mut Vec<Action>) {
        let error = self.journal_failed(session_id, answer, actions);
        let append = self.sessions.get_mut(session_id).and_then(|session| session.append.take());
        for update in append.map(|append| append.updates).unwrap_or_default() {
            if let Some(session) = self.sessions.get_mut(session_id) {
                session.refuse_rest(update.connection);
            }
            self.refuse(now, update.connection, refusal(&error, &update.head), actions);
        }
        self.start_append(now, session_id, actions);
    }

    /// What was numbered is on disk: it becomes visible, then it is acknowledged, then everybody is served.
    fn settle(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let Some(append) = session.append.take() else { return };
        let heads_before = session.heads.clone();
        let rows = session.rows_after(&append.entries, &append.retired, now);
        for row in rows {
            let _ = session.heads.raise(&row.device_id, row.last_counter);
            session.devices.insert(row.device_id.clone(), row);
        }
        session.head += append.entries.len() as u64;
        let reports = if session.has_seed_clients() { session.reports(&append.entries, heads_before) } else { Vec::new() };
        session.extend_tail(append.entries);

        for (update, outcome) in append.updates.into_iter().zip(append.outcomes) {
            let Some(session) = self.sessions.get_mut(session_id) else { return };
            session.skip_own(update.connection, update.acknowledge, &outcome.ack.acknowledged_sequences);
            if update.acknowledge && (!outcome.ack.acknowledged_sequences.is_empty() || outcome.errors.is_empty()) {
                let vector_clock = if update.v1 { VectorClock::new() } else { session.heads.informing() };
                let ack = SyncAck { vector_clock, ..outcome.ack };
                self.transmit(now, update.connection, session_id, Body::SyncAck(ack), actions);
            }
            for error in outcome.errors {
                self.refuse(now, update.connection, error, actions);
            }
        }
        self.tell_conflicts(now, session_id, reports, actions);
        let connections: Vec<ConnectionId> =
            self.sessions.get(session_id).map(|session| session.attachments.keys().copied().collect()).unwrap_or_default();
        for connection in connections {
            self.serve(now, session_id, connection, actions);
        }
        self.start_append(now, session_id, actions);
    }

    /// Seed clients are told of conflicts; v1 devices find them in the log.
    fn tell_conflicts(&mut self, now: Now, session_id: &str, reports: Vec<ConflictReport>, actions: &mut Vec<Action>) {
        if reports.is_empty() {
            return;
        }
        let Some(session) = self.sessions.get(session_id) else { return };
        let seeds: Vec<ConnectionId> =
            session.attachments.iter().filter(|(_, attachment)| !attachment.v1).map(|(connection, _)| *connection).collect();
        let mut bytes = 1_024;
        let fits = reports.iter().all(|report| {
            bytes += serde_json::to_string(report).map_or(0, |json| json.len() + 1);
            bytes <= FRAME_BYTES_MAX
        });
        let conflicts: Vec<ConflictReport> = reports
            .into_iter()
            .map(|report| if fits { report } else { ConflictReport { conflicting_versions: Vec::new(), ..report } })
            .collect();
        self.broadcast(now, seeds, session_id, Body::SyncConflict(SyncConflict { conflicts }), actions);
    }
}

impl Session {
    /// What may have been stored before: v1 messages at or below their device's counter, also under the name that they had
    /// first, and messages with a key.
    fn possible_repeats(&self, updates: &[Update]) -> (Vec<(DeviceId, u64)>, Vec<String>) {
        let mut counters = Vec::new();
        let mut keys = Vec::new();
        for update in updates {
            for unsent in &update.messages {
                if !update.v1 {
                    keys.extend(seed_key(update, unsent));
                    continue;
                }
                let own = (update.device_id.as_str(), unsent.sequence_number);
                let places = std::iter::once(own).chain(first_place(&unsent.message));
                let taken = places.filter(|(device, counter)| *counter <= self.heads.get(device));
                counters.extend(taken.map(|(device, counter)| (device.to_owned(), counter)));
                keys.extend(first_key(&unsent.message));
            }
        }
        (counters, keys)
    }

    /// The rows of the devices that wrote these entries, with their new counters, and of those that are retired by them.
    fn rows_after(&self, entries: &[TailEntry], retired: &BTreeSet<DeviceId>, now: Now) -> Vec<DeviceRow> {
        let mut rows: BTreeMap<&str, DeviceRow> = BTreeMap::new();
        let row = |device: &str| {
            let known = self.devices.get(device).cloned();
            known.unwrap_or_else(|| DeviceRow { device_id: device.to_owned(), ..DeviceRow::default() })
        };
        for TailEntry { stored, .. } in entries {
            let writer = rows.entry(&stored.device_id).or_insert_with(|| row(&stored.device_id));
            writer.last_counter = stored.counter;
            writer.last_seen_ms = now.wall_ms;
        }
        for device in retired {
            rows.entry(device).or_insert_with(|| row(device)).retired = true;
        }
        rows.into_values().collect()
    }

    /// A message of a v1 device was not taken: neither is what it sent behind it, until it announces itself again.
    pub(super) fn refuse_rest(&mut self, connection: ConnectionId) {
        match self.attachments.get_mut(&connection) {
            Some(attachment) => attachment.refused |= attachment.v1,
            // It has left, and what it sent still waits here.
            None => self.updates.retain(|update| update.connection != connection || !update.v1),
        }
    }

    /// Senders are not sent their own messages. A v1 device that has everything before them learns their places from
    /// the acknowledgement alone, where there is one; seed clients hear only of others' messages.
    fn skip_own(&mut self, connection: ConnectionId, is_acknowledged: bool, sequences: &[u64]) {
        let Some(attachment) = self.attachments.get_mut(&connection) else { return };
        let Some(live) = attachment.live else { return };
        if !attachment.v1 {
            attachment.own.extend(sequences.iter().filter(|sequence| **sequence >= live));
        } else if is_acknowledged && attachment.answers.is_empty() {
            for sequence in sequences {
                if attachment.live == Some(*sequence) {
                    attachment.live = Some(sequence + 1);
                    attachment.sent_through = attachment.sent_through.max(*sequence);
                    if attachment.acknowledged_through + 1 == *sequence {
                        attachment.acknowledged_through = *sequence;
                    }
                }
            }
        }
    }

    /// The conflicts among new entries, before these are in the tail.
    fn reports(&self, entries: &[TailEntry], heads_before: VectorClock) -> Vec<ConflictReport> {
        let mut heads = heads_before;
        let mut reports = Vec::new();
        for TailEntry { entry, .. } in entries {
            if reports.len() == REPORTS_MAX {
                break;
            }
            let unknown = unknown_to(entry, &heads);
            let _ = heads.raise(&entry.original_device_id, entry.counter());
            if !unknown.is_empty() {
                let others = self.tail.iter().rev().map(|other| &other.entry).chain(entries.iter().map(|other| &other.entry));
                let conflict = concurrent_messages(entry, unknown, others);
                reports.push(ConflictReport {
                    message_id: conflict.message_id,
                    conflicting_versions: conflict.conflicting_versions,
                    resolution: conflict.resolution,
                });
            }
        }
        reports
    }
}
