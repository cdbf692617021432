//! Taking messages: repeats are told from new ones, new ones get the next sequence numbers, the journal stores them,
//! and only then is anything acknowledged (I1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::api::{Action, ConnectionId, DeviceRow, JournalAnswer, JournalQuestion, StoredEntry};
use super::session::{Session, TailEntry};
use super::{Purpose, Relay, refusal};
use crate::conflict::{concurrent_messages, unknown_to};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Chat, ConflictReport, ErrorBody, Frame, Head, SyncAck, SyncConflict, SyncUpdate, Unsent};
use crate::ids::{DeviceId, check_id, message_id};
use crate::limits::{BATCH_MESSAGES_MAX, CLOCK_DEVICES_MAX, FRAME_BYTES_MAX, INTEGER_MAX, UPDATE_QUEUE_MESSAGES_MAX};
use crate::message::{Entry, Message, Stamp};
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// How far a seed client's own counter may jump; beyond it the relay counts for it (T5).
const SEED_COUNTER_JUMP_MAX: u64 = 1 << 20;

/// Messages of one client that wait to be stored.
pub(super) struct Update {
    connection: ConnectionId,
    head: Head,
    device_id: DeviceId,
    v1: bool,
    /// Chat frames are not acknowledged: seed clients do not expect it.
    acknowledge: bool,
    messages: Vec<Unsent>,
}

/// What the journal is asked to store, and for whom.
#[derive(Default)]
pub(super) struct Append {
    updates: Vec<Update>,
    entries: Vec<TailEntry>,
    outcomes: Vec<Outcome>,
}

/// What one update is answered.
#[derive(Default)]
struct Outcome {
    ack: SyncAck,
    error: Option<ErrorBody>,
}

/// The log as it will be with the entries that are being numbered.
struct Draft<'a> {
    session: &'a Session,
    found: Vec<StoredEntry>,
    heads: VectorClock,
    entries: Vec<TailEntry>,
    /// Connections of v1 devices that were refused a message.
    refused: BTreeSet<ConnectionId>,
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
            attachment.learn_wallet(update.messages.first().map(|unsent| &unsent.message.sender_wallet));
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
        attachment.live.get_or_insert(next);
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
        let mut append = Append::default();
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
        let refused = session.attachments.iter().filter(|(_, attachment)| attachment.refused).map(|(connection, _)| *connection).collect();
        let mut draft = Draft { session, found, heads: session.heads.clone(), entries: Vec::new(), refused };
        append.outcomes = append.updates.iter_mut().map(|update| draft.take(now, update)).collect();
        let refused = draft.refused;
        append.entries = draft.entries;
        let entries: Vec<StoredEntry> = append.entries.iter().map(|entry| entry.stored.clone()).collect();
        let devices = session.rows_after(&append.entries, now);
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
        let rows = session.rows_after(&append.entries, now);
        for row in rows {
            let _ = session.heads.raise(&row.device_id, row.last_counter);
            session.devices.insert(row.device_id.clone(), row);
        }
        session.head += append.entries.len() as u64;
        let reports = if session.has_seed_clients() { session.reports(&append.entries, heads_before) } else { Vec::new() };
        session.extend_tail(append.entries);

        for (update, outcome) in append.updates.into_iter().zip(append.outcomes) {
            let Some(session) = self.sessions.get_mut(session_id) else { return };
            session.skip_acknowledged(update.connection, &outcome.ack.acknowledged_sequences);
            if update.acknowledge && (!outcome.ack.acknowledged_sequences.is_empty() || outcome.error.is_none()) {
                let ack = SyncAck { vector_clock: session.informing_clock(), ..outcome.ack };
                self.transmit(now, update.connection, session_id, Body::SyncAck(ack), actions);
            }
            if let Some(error) = outcome.error {
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
        let frame = Frame { head: Head::default(), body: Body::SyncConflict(SyncConflict { conflicts: reports.clone() }) };
        let fits = frame.to_json().len() + 1_024 <= FRAME_BYTES_MAX;
        let conflicts: Vec<ConflictReport> = reports
            .into_iter()
            .map(|report| if fits { report } else { ConflictReport { conflicting_versions: Vec::new(), ..report } })
            .take(100)
            .collect();
        for connection in seeds {
            self.transmit(now, connection, session_id, Body::SyncConflict(SyncConflict { conflicts: conflicts.clone() }), actions);
        }
    }
}

impl Session {
    /// What may have been stored before: v1 messages at or below their device's counter, and seed messages with a key.
    fn possible_repeats(&self, updates: &[Update]) -> (Vec<(DeviceId, u64)>, Vec<String>) {
        let mut counters = Vec::new();
        let mut keys = Vec::new();
        for update in updates {
            for unsent in &update.messages {
                if !update.v1 {
                    keys.extend(seed_key(update, unsent));
                } else if unsent.sequence_number <= self.heads.get(&update.device_id) {
                    counters.push((update.device_id.clone(), unsent.sequence_number));
                }
            }
        }
        (counters, keys)
    }

    /// The rows of the devices that wrote these entries, with their new counters.
    fn rows_after(&self, entries: &[TailEntry], now: Now) -> Vec<DeviceRow> {
        let mut rows: BTreeMap<&DeviceId, DeviceRow> = BTreeMap::new();
        for TailEntry { stored, .. } in entries {
            let row = rows.entry(&stored.device_id).or_insert_with(|| {
                let known = self.devices.get(&stored.device_id).cloned();
                known.unwrap_or_else(|| DeviceRow { device_id: stored.device_id.clone(), ..DeviceRow::default() })
            });
            row.last_counter = stored.counter;
            row.last_seen_ms = now.wall_ms;
        }
        rows.into_values().collect()
    }

    /// A message of a v1 device was not taken: neither is what it sent behind it, until it announces itself again.
    fn refuse_rest(&mut self, connection: ConnectionId) {
        if let Some(attachment) = self.attachments.get_mut(&connection).filter(|attachment| attachment.v1) {
            attachment.refused = true;
        }
    }

    /// Senders are not sent their own messages. A v1 device that has everything before them learns their places from
    /// the acknowledgement alone; seed clients hear only of others' messages.
    fn skip_acknowledged(&mut self, connection: ConnectionId, sequences: &[u64]) {
        let Some(attachment) = self.attachments.get_mut(&connection) else { return };
        let Some(live) = attachment.live else { return };
        if !attachment.v1 {
            attachment.own.extend(sequences.iter().filter(|sequence| **sequence >= live));
        } else if attachment.answers.is_empty() {
            for sequence in sequences {
                if attachment.live == Some(*sequence) {
                    attachment.live = Some(sequence + 1);
                    attachment.sent_through = attachment.sent_through.max(*sequence);
                }
            }
        }
    }

    /// The conflicts among new entries, before these are in the tail.
    fn reports(&self, entries: &[TailEntry], heads_before: VectorClock) -> Vec<ConflictReport> {
        let mut heads = heads_before;
        let mut reports = Vec::new();
        for TailEntry { entry, .. } in entries {
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

impl Draft<'_> {
    fn take(&mut self, now: Now, update: &mut Update) -> Outcome {
        let mut outcome = Outcome::default();
        for unsent in std::mem::take(&mut update.messages) {
            let id = unsent.message.id.clone();
            let taken = if update.v1 { self.take_v1(now, update, unsent) } else { self.take_seed(now, update, unsent) };
            match taken {
                Ok(place) => {
                    outcome.ack.acknowledged_sequences.push(place.sequence);
                    outcome.ack.acknowledged_message_ids.push(place.id);
                    outcome.ack.server_timestamps.push(place.server_timestamp);
                }
                Err(error) => {
                    let expected_counter = (error.code == ErrorCode::CounterGap).then(|| self.heads.get(&update.device_id) + 1);
                    let refused_message_id = Some(id).filter(|id| !id.is_empty());
                    outcome.error.get_or_insert(ErrorBody { expected_counter, refused_message_id, ..refusal(&error, &update.head) });
                    // What follows has a counter that follows the refused one. Seed clients' messages stand alone.
                    if update.v1 {
                        if error.code != ErrorCode::CounterGap {
                            self.refused.insert(update.connection);
                        }
                        break;
                    }
                }
            }
        }
        outcome
    }

    /// A device that keeps our rules: exactly its next counter, and a clock that knows nothing that is not in the log.
    fn take_v1(&mut self, now: Now, update: &Update, unsent: Unsent) -> Result<Place, SyncError> {
        let (device_id, counter) = (&update.device_id, unsent.sequence_number);
        let message = unsent.message;
        if self.refused.contains(&update.connection) {
            return Err(refused_before());
        }
        message.check()?;
        check_id("message.id", &message.id)?;
        if counter == 0 || counter > INTEGER_MAX || unsent.vector_clock.get(device_id) != counter {
            let message = format!("sequenceNumber {counter} is not the device's own entry of the message's clock");
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
        }
        if message.session_id != update.head.session_id {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the message belongs to another session"));
        }
        if let Some(wallet) = self.session.attachments.get(&update.connection).and_then(|attachment| attachment.wallet.as_ref())
            && message.sender_wallet != *wallet
        {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "sender_wallet is not the wallet that the device announced"));
        }
        let last = self.heads.get(device_id);
        let digest = message.digest();
        if counter <= last {
            let known = self.known(|stored| stored.device_id == *device_id && stored.counter == counter);
            return match known {
                Some(place) if place.digest == digest => Ok(place),
                _ => Err(SyncError::new(ErrorCode::CounterReused, format!("counter {counter} of this device stands for another message"))),
            };
        }
        if counter != last + 1 {
            return Err(SyncError::new(ErrorCode::CounterGap, format!("counter {counter} does not follow {last}")));
        }
        let ahead = unsent.vector_clock.iter().find(|(other, known)| other != device_id && *known > self.heads.get(other));
        if let Some((other, known)) = ahead {
            let message = format!("the message knows message {known} of device {other:?}, which this relay does not have");
            return Err(SyncError::new(ErrorCode::RelayRolledBack, message));
        }
        self.append(now, device_id, counter, None, digest, message, unsent.vector_clock)
    }

    /// A client of the seed's protocol: its counters are its own affair, so the relay keeps ours for it.
    fn take_seed(&mut self, now: Now, update: &Update, unsent: Unsent) -> Result<Place, SyncError> {
        let key = seed_key(update, &unsent);
        let mut message = unsent.message;
        message.check()?;
        let digest = message.content_digest();
        if let Some(key) = &key
            && let Some(place) = self.known(|stored| stored.key.as_ref() == Some(key))
        {
            if place.digest == digest {
                return Ok(place);
            }
            return Err(SyncError::new(ErrorCode::CounterReused, "this message id stands for another message"));
        }
        let device_id = &update.device_id;
        let last = self.heads.get(device_id);
        let own = unsent.vector_clock.get(device_id);
        let counter = if own > last && own - last <= SEED_COUNTER_JUMP_MAX { own } else { last + 1 };
        let mut clock = VectorClock::new();
        if unsent.vector_clock.is_empty() {
            // It makes no claim about what it knew: nothing it might contradict.
            clock = self.heads.clone();
        }
        for (other, known) in unsent.vector_clock.iter().filter(|(other, _)| other != device_id) {
            clock.raise(other, known.min(self.heads.get(other)))?;
        }
        clock.raise(device_id, counter)?;
        if message.id.is_empty() {
            message.id = message_id(&update.head.session_id, device_id, counter);
        }
        check_id("message.id", &message.id)?;
        message.session_id.clone_from(&update.head.session_id);
        message.timestamp = stamp_or_now(message.timestamp, now);
        self.append(now, device_id, counter, key, digest, message, clock)
    }

    #[allow(clippy::too_many_arguments)]
    fn append(
        &mut self,
        now: Now,
        device_id: &str,
        counter: u64,
        key: Option<String>,
        digest: [u8; 32],
        message: Message,
        vector_clock: VectorClock,
    ) -> Result<Place, SyncError> {
        let sequence = self.session.head + 1 + self.entries.len() as u64;
        if sequence > INTEGER_MAX {
            return Err(SyncError::new(ErrorCode::LimitReached, "the session has 2^53 - 1 messages"));
        }
        if self.heads.get(device_id) == 0 && self.heads.len() >= CLOCK_DEVICES_MAX {
            return Err(SyncError::new(ErrorCode::LimitReached, format!("a session has at most {CLOCK_DEVICES_MAX} devices")));
        }
        let entry = Entry {
            message,
            sequence_number: sequence,
            vector_clock,
            server_timestamp: now.wall_ms,
            original_device_id: device_id.to_owned(),
        };
        entry.check_size()?;
        self.heads.raise(device_id, counter)?;
        let body: Arc<str> = entry.to_json().into();
        let stored = StoredEntry { sequence, device_id: device_id.to_owned(), counter, key, digest, body };
        let place = Place { sequence, id: entry.message.id.clone(), server_timestamp: now.wall_ms, digest };
        self.entries.push(TailEntry { stored, entry });
        Ok(place)
    }

    /// An entry that the journal found, or one that is being numbered.
    fn known(&self, matches: impl Fn(&StoredEntry) -> bool) -> Option<Place> {
        let stored = self.found.iter().chain(self.entries.iter().map(|entry| &entry.stored)).find(|stored| matches(stored))?;
        let entry: Entry = serde_json::from_str(&stored.body).ok()?;
        Some(Place { sequence: stored.sequence, id: entry.message.id, server_timestamp: entry.server_timestamp, digest: stored.digest })
    }
}

fn refused_before() -> SyncError {
    SyncError::new(ErrorCode::NotAnnounced, "a message before it was not taken; announce the device again")
}

/// Where a message stands.
struct Place {
    sequence: u64,
    id: String,
    server_timestamp: u64,
    digest: [u8; 32],
}

/// What a seed client's repeat is known by: its id, or the device's own count with the content (a client that counts
/// from 1 again writes other messages). Chat frames without an id cannot be repeats.
fn seed_key(update: &Update, unsent: &Unsent) -> Option<String> {
    if !unsent.message.id.is_empty() {
        return Some(format!("i:{}:{}", unsent.message.sender_wallet, unsent.message.id));
    }
    if !update.acknowledge {
        return None;
    }
    let digest: String = unsent.message.content_digest()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("n:{}:{}:{digest}", update.device_id, unsent.sequence_number))
}

/// The stamp of entries whose writer gave none.
fn stamp_or_now(stamp: Stamp, now: Now) -> Stamp {
    match stamp {
        Stamp::Millis(0) => Stamp::iso(now.wall_ms),
        Stamp::Text(text) if text.is_empty() => Stamp::iso(now.wall_ms),
        stamp => stamp,
    }
}
