//! Group commit: one transaction at a time, and memory that goes back where the disk did not follow.

use std::sync::Arc;

use super::api::{Action, Commit, CommitId, Generation, Input, RequestId, Write};
use super::operation::Totals;
use super::records::{LogRecord, OutboxRecord, SessionRecord, VersionsRecord};
use super::session::{AutoSync, Session};
use super::sorted::Sorted;
use super::{Client, Event};
use crate::error::{ErrorCode, SyncError};
use crate::ids::{MessageId, SessionId};
use crate::limits::BATCH_MESSAGES_MAX;
use crate::message::Entry;
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// How long records of the outbox stay after their messages entered the log: long enough that a conversation deletes
/// many at once, short enough that few are there to be read at the next start.
const SWEEP_DELAY_MS: u64 = 1_000;

/// What a group of inputs changed, on its way to disk.
#[derive(Default)]
pub(super) struct Stage {
    writes: Vec<Write>,
    /// Sessions whose record changed: written once, at the end.
    touched: Sorted<SessionId, ()>,
    strict: bool,
    undo: Vec<Undo>,
    /// What may be said once it is on disk.
    after: Vec<Action>,
    /// Sessions to look at again then.
    pub wake: Sorted<SessionId, ()>,
    /// Sessions that miss something.
    pub catch_up: Sorted<SessionId, ()>,
    /// Sessions whose sync fails then, and why.
    pub failed: Vec<(SessionId, SyncError)>,
    /// Sessions that sync no more, and why. That is so whatever becomes of the commit.
    halted: Vec<(SessionId, SyncError)>,
    /// The connection must be made anew then, and why.
    pub relink: Option<String>,
    calls: Vec<Input>,
    from_relay: bool,
    own_log: Option<OwnLog>,
}

/// Own messages that enter the log, by one acknowledgement or several: they become one batch.
struct OwnLog {
    session_id: SessionId,
    heads_before: VectorClock,
    entries: Vec<Entry>,
}

pub(super) struct Group {
    id: CommitId,
    stage: Stage,
}

impl Group {
    /// Whether it changes this session, which is looked at again when it is on disk.
    pub fn concerns(&self, session_id: &str) -> bool {
        self.stage.wake.contains_key(session_id)
    }

    pub fn creates(&self, session_id: &str) -> bool {
        self.stage.undo.iter().any(|undo| matches!(undo, Undo::Created(id) if id == session_id))
    }

    /// The record of a session and its device's highest counter, as they are on disk; `None` where this changes neither.
    pub fn record_before(&self, session_id: &str) -> Option<(&SessionRecord, u64)> {
        self.stage.undo.iter().find_map(|undo| match undo {
            Undo::Record { record, stored_counter, .. } if record.session_id == session_id => Some((&**record, *stored_counter)),
            _ => None,
        })
    }

    /// What leaves a session's outbox.
    pub fn leaving(&self, session_id: &str) -> impl Iterator<Item = &Entry> {
        self.stage.undo.iter().filter_map(move |undo| match undo {
            Undo::Removed(entry) if entry.message.session_id == session_id => Some(&**entry),
            _ => None,
        })
    }

    /// The versions of a message on disk; `None` where this does not change them.
    pub fn versions_before(&self, session_id: &str, message_id: &str) -> Option<Option<&Vec<Entry>>> {
        self.stage.undo.iter().find_map(|undo| match undo {
            Undo::Versions(session, message, before) if session == session_id && message == message_id => Some(before.as_ref()),
            _ => None,
        })
    }
}

enum Undo {
    Created(SessionId),
    Record { record: Box<SessionRecord>, totals: Totals, acknowledged_counter: u64, stored_counter: u64 },
    Inserted(SessionId, u64),
    Removed(Box<Entry>),
    RecordRemoved(SessionId, (u64, u64)),
    Versions(SessionId, MessageId, Option<Vec<Entry>>),
    AutoSync(SessionId, AutoSync),
}

impl Client {
    /// Inputs that may write wait while a commit is under way, and then share the next one.
    pub(super) fn take_turn(&mut self, now: Now, input: Input, actions: &mut Vec<Action>) {
        self.waiting.push_back(input);
        self.next_group(now, actions);
    }

    fn next_group(&mut self, now: Now, actions: &mut Vec<Action>) {
        while self.group.is_none() && !self.waiting.is_empty() {
            let mut stage = Stage::default();
            while stage.writes.len().max(stage.calls.len()) < BATCH_MESSAGES_MAX && stage.relink.is_none() {
                let Some(input) = self.waiting.pop_front() else { break };
                match input {
                    Input::Received { generation, frame } => {
                        if self.link.is_current(generation) {
                            stage.from_relay = true;
                            self.receive(now, &frame, &mut stage);
                        }
                    }
                    call if writing_request(&call).is_some() => {
                        stage.calls.push(call.clone());
                        self.stage_call(now, call, &mut stage);
                    }
                    // It writes nothing but follows what was called before it: that is stored first.
                    call if stage.is_empty() => self.run_call(now, call, actions),
                    call => {
                        self.waiting.push_front(call);
                        break;
                    }
                }
            }
            let sendable: Vec<SessionId> = if stage.from_relay { stage.wake.keys().cloned().collect() } else { Vec::new() };
            self.seal(now, stage, actions);
            // An acknowledgement makes room for what is on disk already: that need not wait for this commit.
            for id in sendable {
                self.send_stored(now, &id, actions);
            }
        }
    }

    fn seal(&mut self, now: Now, mut stage: Stage, actions: &mut Vec<Action>) {
        self.flush_log(&mut stage);
        for id in stage.touched.take_keys() {
            if let Some(session) = self.sessions.get(&id) {
                stage.writes.push(Write::Session(session.record.clone()));
            }
        }
        if stage.writes.is_empty() {
            self.finish(now, stage, actions);
            return;
        }
        if !self.device_stored {
            stage.writes.insert(0, Write::Device(self.device.clone()));
            stage.strict = true;
        }
        self.last_commit += 1;
        let id = self.last_commit;
        actions.push(Action::Persist(Commit { id, strict: stage.strict, writes: std::mem::take(&mut stage.writes) }));
        self.group = Some(Group { id, stage });
    }

    /// Own messages that have entered the log are written as batches, before anything else is written there.
    pub(super) fn flush_log(&mut self, stage: &mut Stage) {
        let Some(OwnLog { session_id, heads_before, entries }) = stage.own_log.take() else { return };
        let Some(session) = self.sessions.get_mut(&session_id) else { return };
        for record in LogRecord::of(&entries, heads_before) {
            session.log_batch(record, stage);
        }
    }

    /// Removes the records of the outbox whose messages are all in the stored log. It is done after a while and not with
    /// the message that leaves, because deleting costs a browser more than all else that an acknowledgement needs.
    pub(super) fn sweep(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        // What is on its way to disk is not there yet: the next time.
        session.sweep_at_ms = self.group.is_some().then_some(now.monotonic_ms + SWEEP_DELAY_MS);
        if session.sweep_at_ms.is_some() {
            return;
        }
        let logged = session.logged_counter();
        let mut stage = Stage::default();
        let mut swept = Vec::new();
        while let Some(record) = session.outbox_records.pop_front_if(|(_, last)| *last <= logged) {
            swept.push(record);
        }
        if let (Some((first, _)), Some((last, _))) = (swept.first(), swept.last()) {
            stage.write(Write::DeleteOutbox { session_id: session_id.to_owned(), first: *first, last: *last }, false);
        }
        stage.undo.extend(swept.into_iter().map(|record| Undo::RecordRemoved(session_id.to_owned(), record)));
        self.seal(now, stage, actions);
    }

    pub(super) fn persisted(&mut self, now: Now, id: CommitId, actions: &mut Vec<Action>) {
        if let Some(group) = self.group.take_if(|group| group.id == id) {
            self.device_stored = true;
            self.storage_failures = 0;
            self.finish(now, group.stage, actions);
            self.next_group(now, actions);
        }
    }

    /// What was staged holds: say so, and go on with what it allows.
    fn finish(&mut self, now: Now, mut stage: Stage, actions: &mut Vec<Action>) {
        actions.extend(stage.after);
        for id in stage.wake.keys() {
            if let Some(session) = self.sessions.get_mut(id) {
                session.stored_counter = session.record.counter;
                session.forget_read();
                if session.sweep_at_ms.is_none() && session.has_logged_records() {
                    let at_ms = now.monotonic_ms + SWEEP_DELAY_MS;
                    session.sweep_at_ms = Some(at_ms);
                    self.sessions_due_ms = self.sessions_due_ms.min(at_ms);
                }
            }
        }
        self.tell_queue(&stage.wake, actions);
        if let Some(reason) = &stage.relink {
            self.drop_link(now, reason, actions);
        }
        for (id, error) in stage.failed {
            self.fail_operation(now, &id, &error, actions);
        }
        self.tell_halted(now, stage.halted, actions);
        for id in stage.catch_up.take_keys() {
            self.ask_again(now, &id, actions);
        }
        for id in stage.wake.take_keys() {
            self.pump(now, &id, actions);
        }
    }

    /// Nothing of the commit is on disk. Calls are answered with the error; what the relay sent is thrown away and
    /// asked for again after a wait. Where both shared the commit, the calls get one of their own first: a log that
    /// does not fit must not cost a message that does.
    pub(super) fn persist_failed(&mut self, now: Now, id: CommitId, error: SyncError, actions: &mut Vec<Action>) {
        let Some(group) = self.group.take_if(|group| group.id == id) else {
            return;
        };
        let stage = group.stage;
        for undo in stage.undo.into_iter().rev() {
            self.undo(undo);
        }
        self.sessions_due_ms = 0;
        if error.code == ErrorCode::ProfileInUse {
            self.fenced = Some(error.clone());
            self.drop_link(now, "another client has taken the store", actions);
            self.fail_operations(now, &error, actions);
        }
        if stage.from_relay {
            self.storage_failures += 1;
            actions.push(Action::Notify(Event::Warning { error: error.clone() }));
            self.waiting.retain(|input| !matches!(input, Input::Received { .. }));
            self.drop_link(now, "what the relay sent could not be stored", actions);
            self.tell_halted(now, stage.halted, actions);
            for call in stage.calls.into_iter().rev() {
                self.waiting.push_front(call);
            }
        } else {
            for call in stage.calls {
                if let Some(request) = writing_request(&call) {
                    actions.push(Action::Reply { request, result: Err(error.clone()) });
                }
            }
        }
        // What waited for this commit waits no longer.
        for id in stage.wake.keys() {
            self.pump(now, id, actions);
        }
        self.next_group(now, actions);
    }

    fn tell_halted(&mut self, now: Now, halted: Vec<(SessionId, SyncError)>, actions: &mut Vec<Action>) {
        for (id, error) in halted {
            actions.push(Action::Notify(Event::Warning { error: error.clone() }));
            self.fail_operation(now, &id, &error, actions);
        }
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Created(id) => {
                self.sessions.remove(&id);
            }
            Undo::Record { record, totals, acknowledged_counter, stored_counter } => {
                if let Some(session) = self.sessions.get_mut(&record.session_id) {
                    session.record = *record;
                    session.stored_counter = stored_counter;
                    session.totals = totals;
                    session.acknowledged_counter = acknowledged_counter;
                }
            }
            Undo::Inserted(id, counter) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.outbox.remove(&counter);
                    session.record.counter = counter - 1;
                    match session.outbox_records.pop_back() {
                        Some((first, last)) if first < last => session.outbox_records.push_back((first, last - 1)),
                        _ => {}
                    }
                }
            }
            Undo::Removed(entry) => {
                if let Some(session) = self.sessions.get_mut(&entry.message.session_id) {
                    session.outbox.insert(entry.counter(), *entry);
                }
            }
            Undo::RecordRemoved(id, record) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.outbox_records.push_front(record);
                }
            }
            Undo::Versions(id, message_id, before) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    match before {
                        Some(versions) => session.versions.insert(message_id, versions),
                        None => session.versions.remove(&message_id),
                    };
                }
            }
            Undo::AutoSync(id, auto_sync) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.auto_sync = Some(auto_sync);
                }
            }
        }
    }
}

/// Every change of what is stored goes through here, so that it is written, and undone where it could not be.
impl Stage {
    fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.touched.is_empty()
            && self.after.is_empty()
            && self.wake.is_empty()
            && self.relink.is_none()
            && self.failed.is_empty()
            && self.halted.is_empty()
            && self.catch_up.is_empty()
    }

    pub fn transmit(&mut self, generation: Generation, frame: Arc<[u8]>) {
        self.after.push(Action::Transmit { generation, frame });
    }

    pub fn tell(&mut self, event: Event) {
        self.after.push(Action::Notify(event));
    }

    pub fn reply(&mut self, request: RequestId, result: Result<super::Reply, SyncError>) {
        self.after.push(Action::Reply { request, result });
    }

    pub fn write(&mut self, write: Write, strict: bool) {
        self.writes.push(write);
        self.strict |= strict;
    }

    /// The log leaves; batches that were to be joined would come back.
    pub fn clear_log(&mut self, session_id: SessionId) {
        self.writes.retain(|write| !matches!(write, Write::JoinLog { session_id: joined, .. } if *joined == session_id));
        self.write(Write::ClearLog { session_id }, false);
    }

    /// The session's record is about to change.
    pub fn touch(&mut self, session: &Session, strict: bool) {
        if self.touched.insert(session.record.session_id.clone(), ()).is_none() {
            self.undo.push(Undo::Record {
                record: Box::new(session.record.clone()),
                totals: session.totals,
                acknowledged_counter: session.acknowledged_counter,
                stored_counter: session.stored_counter,
            });
        }
        self.strict |= strict;
        self.wake.insert(session.record.session_id.clone(), ());
    }

    pub fn created(&mut self, session: &Session) {
        self.undo.push(Undo::Created(session.record.session_id.clone()));
        self.touched.insert(session.record.session_id.clone(), ());
        self.strict = true;
        self.wake.insert(session.record.session_id.clone(), ());
    }

    /// The session's counter becomes the message's. Its record need not be written for that: the counter is at least
    /// that of the newest message in the outbox (`Session::load_outbox`).
    pub fn insert_outbox(&mut self, session: &mut Session, entry: Entry) {
        let (session_id, counter) = (session.record.session_id.clone(), entry.counter());
        self.undo.push(Undo::Inserted(session_id.clone(), counter));
        self.wake.insert(session_id.clone(), ());
        session.record.counter = counter;
        session.outbox.insert(counter, entry.clone());
        // What is queued in one commit is one record.
        match (self.writes.last_mut(), session.outbox_records.back_mut()) {
            (Some(Write::Outbox(record)), Some(place)) if record.session_id == session_id && place.1 + 1 == counter => {
                record.entries.push(entry);
                place.1 = counter;
            }
            _ => {
                session.outbox_records.push_back((counter, counter));
                self.write(Write::Outbox(OutboxRecord { session_id, entries: vec![entry] }), true);
            }
        }
    }

    /// A message is in the log. Its record stays until it is swept.
    pub fn remove_outbox(&mut self, session: &mut Session, counter: u64) {
        self.undo.extend(session.outbox.remove(&counter).map(|entry| Undo::Removed(Box::new(entry))));
    }

    /// Whether own messages of another session wait to be written.
    pub fn logs_other_than(&self, session_id: &str) -> bool {
        self.own_log.as_ref().is_some_and(|log| log.session_id != session_id)
    }

    /// Own messages enter the log.
    pub fn log_own(&mut self, session_id: &str, heads_before: VectorClock, entries: Vec<Entry>) {
        match &mut self.own_log {
            Some(log) if log.session_id == session_id => log.entries.extend(entries),
            _ => self.own_log = Some(OwnLog { session_id: session_id.to_owned(), heads_before, entries }),
        }
    }

    /// All of them leave.
    pub fn take_outbox(&mut self, session: &mut Session) -> Vec<Entry> {
        let counters: Vec<u64> = session.outbox.keys().copied().collect();
        let entries: Vec<Entry> = counters.iter().filter_map(|counter| session.outbox.remove(counter)).collect();
        self.undo.extend(entries.iter().cloned().map(|entry| Undo::Removed(Box::new(entry))));
        let records = std::mem::take(&mut session.outbox_records);
        let id = session.record.session_id.clone();
        if let (Some((first, _)), Some((last, _))) = (records.front().copied(), records.back().copied()) {
            self.write(Write::DeleteOutbox { session_id: id.clone(), first, last }, false);
        }
        self.undo.extend(records.into_iter().map(|record| Undo::RecordRemoved(id.clone(), record)));
        entries
    }

    pub fn halt(&mut self, session: &mut Session, error: SyncError) {
        session.halted = Some(error.clone());
        self.halted.push((session.record.session_id.clone(), error));
    }

    pub fn end_auto_sync(&mut self, session: &mut Session) {
        let ended = session.auto_sync.take();
        self.undo.extend(ended.map(|auto_sync| Undo::AutoSync(session.record.session_id.clone(), auto_sync)));
    }

    pub fn set_versions(&mut self, session: &mut Session, message_id: &str, versions: Vec<Entry>) {
        let session_id = session.record.session_id.clone();
        let record = VersionsRecord { session_id: session_id.clone(), message_id: message_id.to_owned(), versions: versions.clone() };
        self.write(Write::Versions(record), false);
        let before = session.versions.insert(message_id.to_owned(), versions);
        self.undo.push(Undo::Versions(session_id, message_id.to_owned(), before));
    }
}

/// The request of a call that changes what is stored; `None` for all other inputs.
fn writing_request(call: &Input) -> Option<RequestId> {
    match call {
        Input::OpenSession { request, .. }
        | Input::CloseSession { request, .. }
        | Input::Send { request, .. }
        | Input::Edit { request, .. }
        | Input::MarkRead { request, .. }
        | Input::ClearLog { request, .. }
        | Input::Import { request, .. } => Some(*request),
        _ => None,
    }
}
