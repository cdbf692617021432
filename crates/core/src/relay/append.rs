//! Taking messages: updates wait for their turn, the sequencer numbers them, the journal stores them, and only then is
//! anything acknowledged (I1).

use std::collections::{BTreeMap, BTreeSet};

use super::api::{ConnectionId, DeviceRow, JournalAnswer, JournalQuestion, StoredEntry};
use super::context::{Context, Purpose, refusal};
use super::sequencer::{Sequencer, first_key, first_place};
use super::session::{Session, TailEntry};
use super::update::{Identity, Update};
use crate::conflict::{concurrent_messages, unknown_to};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ConflictReport, ErrorBody, SyncAck, SyncConflict};
use crate::ids::DeviceId;
use crate::limits::{BATCH_MESSAGES_MAX, FRAME_BYTES_MAX, UPDATE_QUEUE_MESSAGES_MAX};
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// Conflicts that seed clients are told of in one frame.
const REPORTS_MAX: usize = 100;

/// What the journal is asked to store, and for whom.
pub(super) struct Append {
    updates: Vec<Update>,
    /// Connections that had been refused a message when this began. They may leave before it is numbered.
    refused: BTreeSet<ConnectionId>,
    step: Step,
}

/// How far an append is.
enum Step {
    /// The journal looks for repeats.
    Finding,
    /// The journal stores.
    Storing(Numbered),
}

/// What the sequencer made of the updates.
pub(super) struct Numbered {
    pub entries: Vec<TailEntry>,
    /// Devices under whose names nothing more is taken.
    pub retired: BTreeSet<DeviceId>,
    /// What each update is answered.
    pub outcomes: Vec<Outcome>,
}

/// What one update is answered.
#[derive(Default)]
pub(super) struct Outcome {
    pub ack: SyncAck,
    /// What was refused of it: the first of a chain, and otherwise so many as are named.
    pub errors: Vec<ErrorBody>,
}

impl Session {
    pub(super) fn enqueue(&mut self, ctx: &mut Context, update: Update) -> Result<(), SyncError> {
        let waiting: usize = self.updates.iter().map(|update| update.messages.len()).sum();
        if waiting + update.messages.len() > UPDATE_QUEUE_MESSAGES_MAX {
            self.refuse_rest(&update);
            return Err(SyncError::new(ErrorCode::RelayBusy, "too many messages wait to be stored; send them again"));
        }
        self.updates.push_back(update);
        self.start_append(ctx);
        Ok(())
    }

    /// Takes the updates that wait, unless an append is under way.
    fn start_append(&mut self, ctx: &mut Context) {
        if self.append.is_some() || self.updates.is_empty() {
            return;
        }
        let refused = self.attachments.iter().filter(|(_, attachment)| attachment.refused).map(|(connection, _)| *connection).collect();
        let mut updates = Vec::new();
        let mut count = 0;
        while let Some(update) = self.updates.pop_front_if(|update| count == 0 || count + update.messages.len() <= BATCH_MESSAGES_MAX) {
            count += update.messages.len();
            updates.push(update);
        }
        let (counters, keys) = self.possible_repeats(&updates);
        if counters.is_empty() && keys.is_empty() {
            self.number(ctx, updates, refused, Vec::new());
        } else {
            self.append = Some(Append { updates, refused, step: Step::Finding });
            let session_id = self.log.session_id.clone();
            ctx.ask(&self.log.session_id, Purpose::Find, JournalQuestion::Find { session_id, counters, keys });
        }
    }

    /// The journal has looked for repeats, or stored, or neither.
    pub(super) fn on_append_answer(&mut self, ctx: &mut Context, answer: JournalAnswer) {
        match (self.append.take(), answer) {
            (Some(Append { updates, refused, step: Step::Finding }), JournalAnswer::Entries(found)) => {
                self.number(ctx, updates, refused, found);
            }
            (Some(Append { updates, step: Step::Storing(numbered), .. }), JournalAnswer::Appended) => self.stored(ctx, updates, numbered),
            (append, answer) => {
                let error = ctx.journal_failed(&self.log.session_id, &answer);
                for update in append.map(|append| append.updates).unwrap_or_default() {
                    self.refuse_rest(&update);
                    ctx.refuse(update.connection, refusal(&error, &update.head));
                }
                self.start_append(ctx);
            }
        }
    }

    /// Gives the new messages their sequence numbers and has them stored.
    fn number(&mut self, ctx: &mut Context, mut updates: Vec<Update>, refused: BTreeSet<ConnectionId>, found: Vec<StoredEntry>) {
        let mut sequencer = Sequencer::new(self, found, refused.clone());
        let outcomes = updates.iter_mut().map(|update| sequencer.take(ctx.now, update)).collect();
        let newly_refused: BTreeSet<ConnectionId> = sequencer.refused.difference(&refused).copied().collect();
        let numbered = Numbered { entries: sequencer.entries, retired: sequencer.retired, outcomes };
        let entries: Vec<StoredEntry> = numbered.entries.iter().map(|entry| entry.stored.clone()).collect();
        let devices = self.rows_after(&numbered, ctx.now).into_iter().map(DeviceRow::without_clock).collect();
        for connection in newly_refused {
            self.refuse_rest_of(connection);
        }
        if entries.is_empty() {
            return self.stored(ctx, updates, numbered);
        }
        self.append = Some(Append { updates, refused, step: Step::Storing(numbered) });
        let session_id = self.log.session_id.clone();
        ctx.ask(&self.log.session_id, Purpose::Append, JournalQuestion::Append { session_id, entries, devices });
    }

    /// What was numbered is on disk: it becomes visible, then it is acknowledged, then everybody is served.
    fn stored(&mut self, ctx: &mut Context, updates: Vec<Update>, numbered: Numbered) {
        let heads_before = self.log.heads.clone();
        for row in self.rows_after(&numbered, ctx.now) {
            // It is within the limits, or the sequencer would have refused it.
            let _ = self.log.heads.raise(&row.device_id, row.last_counter);
            self.devices.insert(row);
        }
        self.log.head += numbered.entries.len() as u64;
        let hears_conflicts = self.attachments.values().any(|attachment| attachment.dialect.hears_conflicts());
        let reports = if hears_conflicts { self.reports(&numbered.entries, heads_before) } else { Vec::new() };
        self.log.extend_tail(numbered.entries);
        for (update, outcome) in updates.into_iter().zip(numbered.outcomes) {
            self.answer(ctx, update, outcome);
        }
        self.tell_conflicts(ctx, reports);
        self.serve_all(ctx);
        self.start_append(ctx);
    }

    fn answer(&mut self, ctx: &mut Context, update: Update, outcome: Outcome) {
        // Who has left has nothing to skip, and the context sends it nothing.
        if let Some(attachment) = self.attachments.get_mut(&update.connection) {
            attachment.skip_own(update.acknowledge, &outcome.ack.acknowledged_sequences);
        }
        if update.acknowledge && (!outcome.ack.acknowledged_sequences.is_empty() || outcome.errors.is_empty()) {
            let vector_clock = if update.wants_clock { self.log.heads.informing() } else { VectorClock::new() };
            ctx.transmit(update.connection, &self.log.session_id, Body::SyncAck(SyncAck { vector_clock, ..outcome.ack }));
        }
        for error in outcome.errors {
            ctx.refuse(update.connection, error);
        }
    }

    /// Tells of conflicts whom nobody else tells of them.
    fn tell_conflicts(&self, ctx: &mut Context, reports: Vec<ConflictReport>) {
        if reports.is_empty() {
            return;
        }
        let mut bytes = 1_024;
        let fits = reports.iter().all(|report| {
            bytes += serde_json::to_string(report).map_or(0, |json| json.len() + 1);
            bytes <= FRAME_BYTES_MAX
        });
        let conflicts: Vec<ConflictReport> = reports
            .into_iter()
            .map(|report| if fits { report } else { ConflictReport { conflicting_versions: Vec::new(), ..report } })
            .collect();
        for (connection, _) in self.attachments.iter().filter(|(_, attachment)| attachment.dialect.hears_conflicts()) {
            let body = Body::SyncConflict(SyncConflict { conflicts: conflicts.clone() });
            ctx.inform(*connection, &self.log.session_id, body);
        }
    }

    /// What may have been stored before: v1 messages at or below their device's counter, also under the name that they had
    /// first, and messages with a key.
    fn possible_repeats(&self, updates: &[Update]) -> (Vec<(DeviceId, u64)>, Vec<String>) {
        let mut counters = Vec::new();
        let mut keys = Vec::new();
        for update in updates {
            for draft in &update.messages {
                match &draft.identity {
                    Identity::Key(key) => keys.extend(key.clone()),
                    Identity::Counter(counter) => {
                        let own = (update.device_id.as_str(), *counter);
                        let places = std::iter::once(own).chain(first_place(&draft.message));
                        let taken = places.filter(|(device, counter)| *counter <= self.log.heads.get(device));
                        counters.extend(taken.map(|(device, counter)| (device.to_owned(), counter)));
                        keys.extend(first_key(&draft.message));
                    }
                }
            }
        }
        (counters, keys)
    }

    /// The rows of the devices that wrote these entries, with their new counters, and of those that are retired by them.
    fn rows_after(&self, Numbered { entries, retired, .. }: &Numbered, now: Now) -> Vec<DeviceRow> {
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

    /// A message of an update was not taken: where it is part of a chain, what its sender sent behind it is not either.
    fn refuse_rest(&mut self, update: &Update) {
        if update.is_chain {
            self.refuse_rest_of(update.connection);
        }
    }

    /// Nothing more is taken of this connection's chain until its device announces itself again.
    pub(super) fn refuse_rest_of(&mut self, connection: ConnectionId) {
        match self.attachments.get_mut(&connection) {
            Some(attachment) => attachment.refused |= attachment.dialect.is_v1(),
            // It has left, and what it sent still waits here.
            None => self.updates.retain(|update| update.connection != connection || !update.is_chain),
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
                let others = self.log.tail().rev().chain(entries.iter().map(|other| &other.entry));
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
