//! Syncs: sending what is queued and asking for what is missing, with progress, results and retries.

use super::api::{Action, Event, MessageStatus, Reply, RequestId, SyncScope, SyncStats};
use super::session::{Request, Update};
use super::view::Stored;
use super::{Client, ClientConfig, Session};
use crate::batch::{Batch, Encoder};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Frame, SyncRequest};
use crate::ids::SessionId;
use crate::limits::{ANSWER_TIMEOUT_MS, FRAME_BYTES_MAX, UPDATES_IN_FLIGHT_MAX};
use crate::message::Entry;
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// What a frame takes beside its messages: names, ids of the longest kind, punctuation.
const FRAME_OVERHEAD_BYTES: usize = 1_024;

/// One sync of one session: from its start until what was queued then is in the log, and the log is stored up to the
/// head that the relay then named.
pub(super) struct Operation {
    /// Who waits for it.
    calls: Vec<Waiter>,
    /// Who asked too late to be served by what it has already asked of the relay: the next one is theirs.
    late_calls: Vec<Waiter>,
    started_ms: u64,
    start_cursor: u64,
    target_counter: u64,
    queued_at_start: u64,
    /// The relay's head, once it has answered.
    pub head: Option<u64>,
    start_totals: Totals,
    failures: u32,
    told_progress: Option<u64>,
}

impl Operation {
    /// Whether calls wait for it.
    pub fn is_awaited(&self) -> bool {
        !self.calls.is_empty() || !self.late_calls.is_empty()
    }
}

/// What reached the stored log of a session since the machine started.
#[derive(Default, Clone, Copy)]
pub(super) struct Totals {
    /// Own messages.
    pub sent: u64,
    /// Messages of other devices.
    pub received: u64,
    /// What arrived in conflict and was settled.
    pub conflicts_resolved: u64,
}

/// A call that waits for a sync, and what had been synced when it was made: it is told of what came after.
struct Waiter {
    request: RequestId,
    scope: SyncScope,
    totals: Totals,
}

/// A call that waits for one sync or several.
#[derive(Default)]
pub(super) struct Call {
    syncs: usize,
    count: u64,
    error: Option<SyncError>,
}

impl Client {
    /// `syncMessages` and `processQueuedMessages`.
    pub(super) fn sync(
        &mut self,
        now: Now,
        request: RequestId,
        session_id: Option<SessionId>,
        scope: SyncScope,
        actions: &mut Vec<Action>,
    ) {
        let targets = match self.sync_targets(session_id) {
            Ok(targets) => targets,
            Err(error) => {
                return actions.push(Action::Reply { request, result: Err(error) });
            }
        };
        if targets.is_empty() {
            return actions.push(Action::Reply { request, result: Ok(Reply::Count(0)) });
        }
        self.link.hurry(now);
        self.sessions_due_ms = 0;
        self.calls.insert(request, Call { syncs: targets.len(), ..Call::default() });
        for session_id in targets {
            let Some(session) = self.sessions.get_mut(&session_id) else {
                continue;
            };
            session.halted = None;
            let waiter = Waiter { request, scope, totals: session.totals };
            if let Some(operation) = &mut session.operation {
                operation.late_calls.push(waiter);
            } else {
                self.begin_for(now, &session_id, vec![waiter], actions);
            }
        }
    }

    fn sync_targets(&mut self, session_id: Option<SessionId>) -> Result<Vec<SessionId>, SyncError> {
        let targets = match session_id {
            Some(session_id) => {
                self.session_for_call(&session_id)?;
                vec![session_id]
            }
            None => {
                if let Some(error) = &self.fenced {
                    return Err(error.clone());
                }
                if self.wallet.is_none() {
                    return Err(SyncError::new(ErrorCode::WalletNotConnected, "connectWallet has not been called"));
                }
                let mine = self.sessions.iter().filter(|(_, session)| self.owns(session));
                mine.filter(|(_, session)| session.record.open || !session.outbox.is_empty()).map(|(id, _)| id.clone()).collect()
            }
        };
        if !targets.is_empty() && self.link.is_offline_by_wish() {
            return Err(SyncError::new(ErrorCode::RelayDisconnected, "the application works offline (setOffline)"));
        }
        Ok(targets)
    }

    /// Starts a sync, unless one is under way.
    pub(super) fn begin(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        if self.sessions.get(session_id).is_some_and(|session| session.operation.is_none()) {
            self.begin_for(now, session_id, Vec::new(), actions);
        }
    }

    /// Something turned out to be missing: the sync under way asks again, or a new one does.
    pub(super) fn ask_again(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        self.begin(now, session_id, actions);
        if let Some(operation) = self.sessions.get_mut(session_id).and_then(|session| session.operation.as_mut()) {
            operation.head = None;
        }
        self.pump(now, session_id, actions);
    }

    fn begin_for(&mut self, now: Now, session_id: &str, calls: Vec<Waiter>, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        // An answer to what was asked earlier may name an older head.
        session.flow.request = None;
        session.operation = Some(Operation {
            calls,
            late_calls: Vec::new(),
            started_ms: now.monotonic_ms,
            start_cursor: session.record.cursor,
            target_counter: session.stored_counter,
            queued_at_start: session.queued_count(),
            head: None,
            start_totals: session.totals,
            failures: 0,
            told_progress: None,
        });
        actions.push(Action::Notify(Event::SyncStarted { session_id: session_id.to_owned() }));
        self.pump(now, session_id, actions);
    }

    /// Does all that the present state of a session allows: announces, asks, sends, reports.
    pub(super) fn pump(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get(session_id) else { return };
        if !self.link.is_open() || !self.is_linked(session) || session.flow.retry_at_ms.is_some() {
            return;
        }
        if !session.flow.joined {
            // What is said first is what is stored: it is said when what is on its way to disk is there.
            if self.group.as_ref().is_some_and(|group| group.concerns(session_id)) {
                return;
            }
            self.join(now, session_id, actions);
            self.begin(now, session_id, actions);
        }
        self.request_log(now, session_id, actions);
        self.send_updates(now, session_id, actions);
        self.report(now, session_id, actions);
    }

    /// Asks for all that follows the cursor, where a sync has not done so on this connection.
    fn request_log(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get(session_id) else { return };
        let answered = session.operation.as_ref().is_none_or(|operation| operation.head.is_some());
        if answered || session.flow.request.is_some() {
            return;
        }
        let request = SyncRequest {
            last_synced_sequence: Stored { session, group: self.group.as_ref() }.cursor(),
            // For relays that compare clocks; ours goes by the sequence number.
            sync_vector: VectorClock::new(),
            missing_ranges: Vec::new(),
            max_batch_size: Some(self.config.max_batch_size as u64),
        };
        let frame_id = self.transmit(now, session_id, Body::SyncRequest(request), actions);
        if let Some(session) = self.sessions.get_mut(session_id) {
            let deadline_ms = now.monotonic_ms + ANSWER_TIMEOUT_MS;
            session.flow.request = Some(Request { frame_id, deadline_ms, head: None });
            self.sessions_due_ms = self.sessions_due_ms.min(deadline_ms);
        }
    }

    /// Goes on sending while a commit is under way.
    pub(super) fn send_stored(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get(session_id) else { return };
        if self.link.is_open() && self.is_linked(session) && session.flow.joined && session.flow.retry_at_ms.is_none() {
            self.send_updates(now, session_id, actions);
        }
    }

    /// Sends what is stored and not yet sent, in the order of `sendMessage` (I8).
    fn send_updates(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        loop {
            let Some(session) = self.sessions.get(session_id) else { return };
            let flow = &session.flow;
            if flow.updates.len() >= UPDATES_IN_FLIGHT_MAX {
                return;
            }
            let sent = flow.updates.back().map_or(0, |update| update.last_counter).max(session.acknowledged_counter);
            let (messages, last_counter) = next_batch(session, sent, &self.config);
            if messages.is_empty() {
                return;
            }
            let update = Update { last_counter, deadline_ms: now.monotonic_ms + ANSWER_TIMEOUT_MS };
            for entry in unsent(session, sent).take_while(|entry| entry.counter() <= last_counter) {
                actions.push(Action::Notify(Event::StatusChanged {
                    session_id: session_id.to_owned(),
                    message_id: entry.message.id.clone(),
                    status: MessageStatus::Sending,
                    error: None,
                }));
            }
            let frame = Frame::update_bytes(&self.head(now, session_id), &messages).into();
            actions.push(Action::Transmit { generation: self.link.generation(), frame });
            if let Some(session) = self.sessions.get_mut(session_id) {
                self.sessions_due_ms = self.sessions_due_ms.min(update.deadline_ms);
                session.flow.updates.push_back(update);
            }
        }
    }

    /// Tells progress, and ends a sync that is complete.
    fn report(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        // What is on its way to disk is reported when it is there (I21).
        if self.group.as_ref().is_some_and(|group| group.concerns(session_id)) {
            return;
        }
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let cursor = session.record.cursor;
        session.flow.request.take_if(|request| request.head.is_some_and(|head| cursor >= head));
        let Some(operation) = &mut session.operation else { return };
        let Some(head) = operation.head else { return };
        let queued = session.outbox.count_through(&operation.target_counter) as u64;
        let total_messages = head.saturating_sub(operation.start_cursor) + operation.queued_at_start;
        let messages_synced = cursor.min(head).saturating_sub(operation.start_cursor) + operation.queued_at_start.saturating_sub(queued);
        if total_messages > 0 && operation.told_progress != Some(messages_synced) {
            operation.told_progress = Some(messages_synced);
            let session_id = session_id.to_owned();
            actions.push(Action::Notify(Event::SyncProgress { session_id, messages_synced, total_messages }));
        }
        if cursor < head || queued > 0 {
            return;
        }
        let Some(operation) = session.operation.take() else { return };
        session.complete(now, &operation);
        let totals = session.totals;
        let stats = session.stats();
        actions.push(Action::Notify(Event::SyncCompleted { session_id: session_id.to_owned(), stats }));
        for Waiter { request, scope, totals: before } in operation.calls {
            let sent = totals.sent - before.sent;
            let count = if scope == SyncScope::Outbox { sent } else { sent + totals.received - before.received };
            self.answer(request, Ok(count), actions);
        }
        if !operation.late_calls.is_empty() {
            self.begin_for(now, session_id, operation.late_calls, actions);
        }
    }

    /// One sync of a call has ended.
    fn answer(&mut self, request: RequestId, result: Result<u64, SyncError>, actions: &mut Vec<Action>) {
        let Some(call) = self.calls.get_mut(&request) else { return };
        call.syncs -= 1;
        match result {
            Ok(count) => call.count += count,
            Err(error) => call.error = Some(error),
        }
        if call.syncs == 0
            && let Some(call) = self.calls.remove(&request)
        {
            let result = call.error.map_or(Ok(Reply::Count(call.count)), Err);
            actions.push(Action::Reply { request, result });
        }
    }

    /// An attempt failed: syncs that have had `maxRetries` of them are reported as failed.
    pub(super) fn fail_attempts(&mut self, now: Now, error: &SyncError, actions: &mut Vec<Action>) {
        let max_retries = self.config.max_retries;
        let mut failed = Vec::new();
        for session in self.sessions.values_mut() {
            if session.fail_attempt(max_retries) {
                failed.push(session.record.session_id.clone());
            }
        }
        for session_id in failed {
            self.fail_operation(now, &session_id, error, actions);
        }
    }

    /// Every sync under way fails now.
    pub(super) fn fail_operations(&mut self, now: Now, error: &SyncError, actions: &mut Vec<Action>) {
        let all: Vec<SessionId> = self.sessions.keys().cloned().collect();
        for session_id in all {
            self.fail_operation(now, &session_id, error, actions);
        }
    }

    pub(super) fn fail_operation(&mut self, now: Now, session_id: &str, error: &SyncError, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let Some(operation) = session.operation.take() else { return };
        session.stats.sync_failures += 1;
        session.stats.last_sync_duration = now.monotonic_ms.saturating_sub(operation.started_ms);
        actions.push(Action::Notify(Event::SyncFailed { session_id: session_id.to_owned(), error: error.clone() }));
        for Waiter { request, .. } in operation.calls.into_iter().chain(operation.late_calls) {
            self.answer(request, Err(error.clone()), actions);
        }
    }
}

impl Session {
    /// An attempt of the sync under way failed; says whether that was one too many.
    pub fn fail_attempt(&mut self, max_retries: u32) -> bool {
        let Some(operation) = &mut self.operation else { return false };
        operation.failures += 1;
        // What was asked before must be asked again.
        operation.head = None;
        operation.told_progress = None;
        operation.failures > max_retries
    }

    pub fn stats(&self) -> SyncStats {
        SyncStats { pending_messages: self.told_queue, total_conflicts_resolved: self.totals.conflicts_resolved, ..self.stats }
    }

    fn complete(&mut self, now: Now, operation: &Operation) {
        let duration_ms = now.monotonic_ms.saturating_sub(operation.started_ms);
        self.record.last_sync_ms = now.wall_ms;
        self.completed_syncs += 1;
        let before = operation.start_totals;
        self.stats.total_messages_synced += self.totals.sent - before.sent + self.totals.received - before.received;
        self.stats.last_sync_duration = duration_ms;
        let mean = &mut self.stats.average_sync_duration;
        *mean += (duration_ms as f64 - *mean) / self.completed_syncs as f64;
    }
}

/// What is stored and was not sent yet, after counter `sent`.
fn unsent(session: &Session, sent: u64) -> impl Iterator<Item = &Entry> {
    session.outbox.between(&sent, &session.stored_counter).map(|(_, entry)| entry)
}

/// The next messages after counter `sent`, at most `count_max` and as many as fit a frame, and the counter of the last.
fn next_batch(session: &Session, sent: u64, config: &ClientConfig) -> (Batch, u64) {
    let mut last_counter = sent;
    let Some(first) = unsent(session, sent).next() else { return (Batch::default(), sent) };
    let bytes_max = FRAME_BYTES_MAX - FRAME_OVERHEAD_BYTES;
    let mut encoder = Encoder::new(first, bytes_max);
    let mut json_bytes = 0;
    for entry in unsent(session, sent).take(config.max_batch_size) {
        json_bytes += entry.json_bytes_max();
        let fits_json = !config.frames_in_json || json_bytes <= bytes_max || last_counter == sent;
        if !fits_json || !encoder.push(entry) {
            break;
        }
        last_counter = entry.counter();
    }
    (encoder.finish(), last_counter)
}
