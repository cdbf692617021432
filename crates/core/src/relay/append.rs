//! Taking messages: updates wait for their turn, the sequencer numbers them, the journal stores them, and only then is
//! anything acknowledged (I1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::api::{ConnectionId, DeviceRow, JournalAnswer, JournalQuestion, Key, MemberRow, StoredEntry};
use super::clocks::behind_of;
use super::context::{Context, Purpose, refusal};
use super::groups::Regrouped;
use super::names::{is_in_place, name_key};
use super::sequencer::Sequencer;
use super::session::{Session, TailEntry};
use super::update::{Draft, Knowledge, Update};
use crate::conflict::concurrent_messages;
use crate::entry::Entry;
use crate::epochs::Epochs;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ConflictReport, ErrorBody, SyncAck, SyncConflict};
use crate::ids::{DeviceId, WalletAddress, parse_message_id};
use crate::limits::{BATCH_MESSAGES_MAX, FRAME_BYTES_MAX, UPDATE_QUEUE_MESSAGES_MAX};
use crate::log::{DeviceHead, Log};
use crate::message::Kind;
use crate::time::Now;

/// Entries that are looked for in one append because clocks do not know them: what is found is in memory for a moment, and
/// may be as long as entries may be.
const BEHIND_MAX: usize = 256;

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
    Storing(Box<Numbered>),
}

/// What the sequencer made of the updates.
pub(super) struct Numbered {
    pub entries: Vec<TailEntry>,
    /// The log with them.
    log: Log,
    /// The wallets that are stored with them.
    members: Vec<MemberRow>,
    /// What they make of a group, where they say anything of it.
    regrouped: Option<Regrouped>,
    /// The epochs with them, where they are others.
    epochs: Option<Arc<Epochs>>,
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
        // One without messages takes its place too.
        let waiting: usize = self.updates.iter().map(|update| update.messages.len().max(1)).sum();
        if waiting + update.messages.len().max(1) > UPDATE_QUEUE_MESSAGES_MAX {
            self.refuse_rest(&update);
            return Err(SyncError::new(ErrorCode::RelayBusy, "too many messages wait to be stored; send them again"));
        }
        if self.is_unbegun()
            && !update.messages.is_empty()
            && let Err(error) = ctx.begin_session(update.connection)
        {
            self.refuse_rest(&update);
            return Err(error);
        }
        self.learn_domains(ctx, update.connection);
        self.updates.push_back(update);
        self.start_append(ctx);
        Ok(())
    }

    /// Takes the updates that wait, unless an append is under way.
    pub(super) fn start_append(&mut self, ctx: &mut Context) {
        if self.append.is_some() || self.updates.is_empty() || !self.has_accounts(ctx) {
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
        let places = self.places_seen(&updates);
        if counters.is_empty() && keys.is_empty() && places.is_empty() {
            self.number(ctx, updates, refused, Vec::new());
        } else {
            self.append = Some(Append { updates, refused, step: Step::Finding });
            let session_id = self.log.session_id.clone();
            ctx.ask(&self.log.session_id, Purpose::Find, JournalQuestion::Find { session_id, counters, keys, places });
        }
    }

    /// The journal has looked for repeats, or stored, or neither.
    pub(super) fn on_append_answer(&mut self, ctx: &mut Context, answer: JournalAnswer) {
        match (self.append.take(), answer) {
            (Some(Append { updates, refused, step: Step::Finding }), JournalAnswer::Entries(found)) => {
                match found.into_iter().map(TailEntry::read).collect::<Option<Vec<TailEntry>>>() {
                    Some(found) => self.number(ctx, updates, refused, found),
                    None => self.append_failed(ctx, updates, &JournalAnswer::Failed { reason: "an entry cannot be read".into() }),
                }
            }
            (Some(Append { updates, step: Step::Storing(numbered), .. }), JournalAnswer::Appended) => self.stored(ctx, updates, *numbered),
            (append, answer) => self.append_failed(ctx, append.map(|append| append.updates).unwrap_or_default(), &answer),
        }
    }

    fn append_failed(&mut self, ctx: &mut Context, updates: Vec<Update>, answer: &JournalAnswer) {
        let error = ctx.journal_failed(&self.log.session_id, answer);
        for update in updates {
            self.refuse_rest(&update);
            ctx.refuse(update.connection, refusal(&error, &update.head));
        }
        self.start_append(ctx);
    }

    /// Nothing of what waits is taken.
    pub(super) fn refuse_waiting(&mut self, ctx: &mut Context, error: &SyncError) {
        while let Some(update) = self.updates.pop_front() {
            self.refuse_rest(&update);
            ctx.refuse(update.connection, refusal(error, &update.head));
        }
    }

    /// Gives the new messages their sequence numbers and has them stored.
    fn number(&mut self, ctx: &mut Context, mut updates: Vec<Update>, refused: BTreeSet<ConnectionId>, found: Vec<TailEntry>) {
        let mut sequencer = Sequencer::new(self, found, refused.clone(), self.sealing(ctx));
        let outcomes = updates.iter_mut().map(|update| sequencer.take(ctx.now, update)).collect();
        let newly_refused: BTreeSet<ConnectionId> = sequencer.refused.difference(&refused).copied().collect();
        let regrouped = sequencer.regrouped();
        let mut members = self.members.unstored();
        members.extend(regrouped.iter().flat_map(|regrouped| regrouped.rows(&self.members)));
        let group = regrouped.as_ref().map(Regrouped::row);
        let log = sequencer.log().clone();
        let epochs = sequencer.epochs().filter(|epochs| self.sealed.as_ref().is_some_and(|sealed| sealed.epochs != *epochs));
        let epochs_row = epochs.as_ref().map(|epochs| epochs.to_bytes());
        let numbered = Numbered { log, entries: sequencer.entries, members: members.clone(), regrouped, epochs, outcomes };
        let entries: Vec<StoredEntry> = numbered.entries.iter().map(|entry| entry.stored.clone()).collect();
        let devices = self.rows_after(&updates, &numbered, ctx.now).into_iter().map(DeviceRow::without_clock).collect();
        for connection in newly_refused {
            self.refuse_rest_of(connection);
        }
        if entries.is_empty() {
            return self.stored(ctx, updates, numbered);
        }
        self.append = Some(Append { updates, refused, step: Step::Storing(Box::new(numbered)) });
        let session_id = self.log.session_id.clone();
        ctx.ask(
            &self.log.session_id,
            Purpose::Append,
            JournalQuestion::Append { session_id, entries, devices, members, group, epochs: epochs_row },
        );
    }

    /// What was numbered is on disk: it becomes visible, then it is acknowledged, then everybody is served.
    fn stored(&mut self, ctx: &mut Context, updates: Vec<Update>, numbered: Numbered) {
        for row in self.rows_after(&updates, &numbered, ctx.now) {
            self.devices.insert(row);
        }
        self.has_keys |= numbered.entries.iter().any(|entry| entry.stored.key.is_some());
        let hears_conflicts = self.attachments.values().any(|attachment| attachment.dialect.hears_conflicts());
        let reports = if hears_conflicts { self.reports(&numbered.entries) } else { Vec::new() };
        ctx.totals.entries += numbered.entries.len() as u64;
        let (before, writer) = (self.log.head(), updates.first().map(|update| update.connection));
        self.log.state = numbered.log;
        if let (Some(sealed), Some(epochs)) = (&mut self.sealed, numbered.epochs) {
            sealed.epochs = epochs;
        }
        let written = numbered.entries.iter().rfind(|entry| entry.entry.message.kind.has_status()).map(|entry| entry.stored.sequence);
        self.log.last_written = written.unwrap_or(self.log.last_written);
        self.log.extend_tail(numbered.entries);
        for (update, outcome) in updates.into_iter().zip(numbered.outcomes) {
            self.answer(ctx, update, outcome);
        }
        self.tell_conflicts(ctx, reports);
        let steps = numbered.regrouped.map(|regrouped| self.regroup(ctx, regrouped)).unwrap_or_default();
        self.serve_all(ctx);
        if let Some(writer) = writer.filter(|_| self.log.head() > before) {
            self.members.are_stored(numbered.members);
            if self.group.is_none() {
                self.tell_of_entries(ctx, writer, before == 0, written.is_some());
            }
            self.tell_added(ctx, writer, &steps);
            self.note_members(ctx);
        }
        self.start_append(ctx);
    }

    fn answer(&mut self, ctx: &mut Context, update: Update, outcome: Outcome) {
        // Who has left has nothing to skip, and the context sends it nothing.
        if let Some(attachment) = self.attachments.get_mut(&update.connection) {
            attachment.skip_own(update.acknowledge, &outcome.ack.acknowledged_sequences);
        }
        if update.acknowledge && (!outcome.ack.acknowledged_sequences.is_empty() || outcome.errors.is_empty()) {
            let ack = if update.by_names {
                let vector_clock = self.log.state.clock().informing();
                SyncAck { vector_clock, acknowledged_counters: Vec::new(), ..outcome.ack }
            } else {
                let (log, log_signature) = (Some(self.log.state.log_head()), self.log.signed_head(ctx));
                SyncAck { acknowledged_message_ids: Vec::new(), log, log_signature, ..outcome.ack }
            };
            ctx.transmit(update.connection, &self.log.session_id, Body::SyncAck(ack));
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

    /// What may have been stored before: messages at or below their device's counter, and messages that are found by their
    /// names; and for those whose authors say what they knew as a clock, the first ones that they did not know.
    fn possible_repeats(&self, updates: &[Update]) -> (Vec<(DeviceId, u64)>, Vec<Key>) {
        let (mut counters, mut keys, mut behind) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let log = &self.log.state;
        for Update { device_id, head, messages, .. } in updates {
            for Draft { entry: Entry { message, counter, .. }, knowledge, .. } in messages {
                let in_place = match knowledge {
                    Knowledge::Clock { key, clock } => {
                        keys.extend(*key);
                        if behind.len() < BEHIND_MAX {
                            behind.extend(behind_of(log, device_id, clock));
                        }
                        false
                    }
                    Knowledge::Prefix => {
                        if *counter <= log.counter(device_id) {
                            counters.insert((device_id.clone(), *counter));
                        }
                        is_in_place(message, device_id, *counter)
                    }
                };
                if in_place && !self.has_keys || message.id.is_empty() {
                    continue;
                }
                keys.insert(name_key(message));
                // Where another device has its natural place.
                if let Some((session, device, counter)) = parse_message_id(&message.id)
                    && session == head.session_id
                    && (1..=log.counter(device)).contains(&counter)
                {
                    counters.insert((device.to_owned(), counter));
                }
            }
        }
        counters.extend(behind.into_iter().take(BEHIND_MAX));
        (counters.into_iter().collect(), keys.into_iter().collect())
    }

    /// The places of which devices say that they have seen the log up to there, and whose hash memory does not have.
    fn places_seen(&self, updates: &[Update]) -> Vec<u64> {
        let seen = updates.iter().filter_map(|update| update.signature.as_ref()).map(|signature| signature.seen.sequence);
        let unknown = seen.filter(|place| *place <= self.log.head() && self.log.hash_at(*place).is_none());
        unknown.collect::<BTreeSet<u64>>().into_iter().collect()
    }

    /// The rows of the devices that wrote these entries, with their last ones. Only who writes by our rules has a wallet there,
    /// that of its messages.
    fn rows_after(&self, updates: &[Update], Numbered { entries, log, .. }: &Numbered, now: Now) -> Vec<DeviceRow> {
        let v1: BTreeSet<&str> = updates.iter().filter(|update| update.is_chain).map(|update| &*update.device_id).collect();
        let wallets: BTreeMap<&str, &WalletAddress> =
            entries.iter().map(|TailEntry { entry, .. }| (&*entry.device_id, &entry.message.sender_wallet)).collect();
        let row = |(head, wallet): (&DeviceHead, &WalletAddress)| {
            let DeviceHead { device_id, counter, sequence, digest } = head;
            let known = self.devices.get(device_id).cloned();
            DeviceRow {
                device_id: (**device_id).to_owned(),
                wallet: v1.contains(&**device_id).then(|| wallet.clone()),
                last_counter: *counter,
                last_sequence: *sequence,
                last_digest: *digest,
                last_seen_ms: now.wall_ms,
                ..known.unwrap_or_default()
            }
        };
        wallets.into_iter().filter_map(|(device, wallet)| Some((log.head(device)?, wallet))).map(row).collect()
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

    /// The conflicts among new entries, before these are in the log.
    fn reports(&self, entries: &[TailEntry]) -> Vec<ConflictReport> {
        let mut log = self.log.state.clone();
        let mut reports = Vec::new();
        for TailEntry { entry, .. } in entries {
            if reports.len() == REPORTS_MAX {
                break;
            }
            let is_concurrent = entry.message.kind == Kind::MESSAGE && log.is_concurrent(entry);
            // The sequencer has taken it.
            let _ = log.take(entry);
            if is_concurrent {
                let others = self.log.tail().rev().chain(entries.iter().map(|other| &other.entry));
                let conflict = concurrent_messages(entry, others, |version| log.clock_of(version));
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
