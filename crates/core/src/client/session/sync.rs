//! Syncs: sending what is queued and asking for what is missing, with progress, results and retries.

use super::Session;
use super::flow::{Request, Update};
use crate::batch::{Batch, Encoder};
use crate::client::ClientConfig;
use crate::client::api::{Event, RequestId, SyncScope};
use crate::client::context::Context;
use crate::client::vault::Fault;
use crate::client::views::MessageStatus;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, DeviceAnnounce, DeviceInfo, SyncRequest, SyncState, SyncUpdate};
use crate::identity::UpdateSignature;
use crate::limits::{ANSWER_TIMEOUT_MS, FRAME_BYTES_MAX, UPDATES_IN_FLIGHT_MAX};
use crate::time::Now;

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
    /// What that was before the transaction under way numbered the outbox anew.
    target_before: Option<u64>,
    queued_at_start: u64,
    /// The relay's head, once it has answered.
    head: Option<u64>,
    start_totals: Totals,
    failures: u32,
    told_progress: Option<u64>,
    /// The most that was told.
    most_synced: u64,
}

impl Operation {
    /// What it has asked the relay must be asked again.
    pub fn ask_again(&mut self) {
        self.head = None;
    }

    /// The relay answers: its log ends here.
    pub fn answered(&mut self, head: u64) {
        self.head.get_or_insert(head);
    }

    /// Whether all that the relay had when it answered is stored up to here.
    pub fn has_caught_up(&self, cursor: u64) -> bool {
        self.head.is_some_and(|head| cursor >= head)
    }

    /// Up to which counter it waits for messages.
    pub fn target_counter(&self) -> u64 {
        self.target_counter
    }

    /// The messages that it waits for are numbered anew, up to this counter.
    pub fn move_target(&mut self, counter: u64) {
        self.target_before.get_or_insert(self.target_counter);
        self.target_counter = counter;
    }

    /// The transaction is on disk.
    pub fn keep_target(&mut self) {
        self.target_before = None;
    }

    /// Nothing of the transaction is.
    pub fn restore_target(&mut self) {
        self.target_counter = self.target_before.take().unwrap_or(self.target_counter);
    }

    /// Whether calls wait for it.
    pub fn is_awaited(&self) -> bool {
        !self.calls.is_empty() || !self.late_calls.is_empty()
    }
}

/// What reached the stored log of a session since the machine started.
#[derive(Default, Clone, Copy)]
pub(in crate::client) struct Totals {
    /// Own messages.
    pub sent: u64,
    /// Messages of other devices.
    pub received: u64,
    /// What arrived in conflict and was settled.
    pub conflicts_resolved: u64,
}

/// A call that waits for a sync, and what had been synced when it was made: it is told of what came after.
pub(in crate::client) struct Waiter {
    request: RequestId,
    scope: SyncScope,
    totals: Totals,
}

impl Session {
    /// A call waits for a sync of all that is there now.
    pub fn sync(&mut self, context: &mut Context<'_>, request: RequestId, scope: SyncScope) {
        self.resume(context);
        let waiter = Waiter { request, scope, totals: self.totals };
        if let Some(operation) = &mut self.operation {
            operation.late_calls.push(waiter);
        } else {
            self.begin_for(context, vec![waiter]);
        }
    }

    /// Starts a sync, unless one is under way.
    pub(super) fn begin(&mut self, context: &mut Context<'_>) {
        if self.operation.is_none() {
            self.begin_for(context, Vec::new());
        }
    }

    /// Something turned out to be missing: the sync under way asks again, or a new one does.
    pub fn ask_again(&mut self, context: &mut Context<'_>) {
        self.begin(context);
        if let Some(operation) = &mut self.operation {
            operation.ask_again();
        }
        self.advance(context);
    }

    fn begin_for(&mut self, context: &mut Context<'_>, calls: Vec<Waiter>) {
        // An answer to what was asked earlier may name an older head.
        self.flow.request = None;
        // It waits for what is in the log to be stored.
        self.flow.store_at_ms = self.flow.store_at_ms.map(|_| context.now.monotonic_ms);
        self.operation = Some(Operation {
            calls,
            late_calls: Vec::new(),
            started_ms: context.now.monotonic_ms,
            start_cursor: self.next.log.end(),
            target_counter: self.outbox.stored_counter(),
            target_before: None,
            // What the relay has taken already comes with the log.
            queued_at_start: self.outbox.stored_count_through(u64::MAX).saturating_sub(self.flow.acknowledged.len() as u64),
            head: None,
            // What a transaction under way counts may come to nothing.
            start_totals: self.stored_totals,
            failures: 0,
            told_progress: None,
            most_synced: 0,
        });
        context.tell(Event::SyncStarted { session_id: self.id().to_owned() });
        self.advance(context);
    }

    /// Does all that the present state allows: announces, asks, sends, reports.
    pub fn advance(&mut self, context: &mut Context<'_>) {
        // What was given to it a wallet reads also where it has left meanwhile.
        if context.link.is_open() {
            self.prepare_opening(context);
            self.begin_rereading(context);
        }
        if !self.is_linked(context.wallet) {
            return self.end_sync(context);
        }
        if !context.link.is_open() || self.flow.retry_at_ms.is_some() {
            return;
        }
        if let Err(error) = self.check_reader(context) {
            // Where somebody has to do something first, nobody waits for it.
            error.iter().for_each(|error| self.fail_sync(context, error));
            return;
        }
        if !self.flow.joined {
            // What is said first is what is stored: it is said when what is on its way to disk is there.
            if self.in_transaction {
                return;
            }
            self.join(context);
            self.begin(context);
        }
        self.request_log(context);
        self.prepare_reseal(context);
        self.prepare_waiting(context);
        let prepared = self.prepare_epoch(context);
        if let Err(fault) = prepared.and_then(|()| self.send_updates(context)) {
            self.doubt_vault(context, fault);
        }
        self.report(context);
    }

    /// The session takes no part any more: a sync that nobody waits for ends, and says whether it was complete.
    fn end_sync(&mut self, context: &mut Context<'_>) {
        self.report(context);
        if !self.in_transaction && self.operation.as_ref().is_some_and(|operation| !operation.is_awaited()) {
            let ended = || SyncError::new(ErrorCode::UnknownSession, "the session ended before its log was complete");
            let error = self.halted.clone().unwrap_or_else(ended);
            self.fail_sync(context, &error);
        }
    }

    /// Says that this device is in the session, and what it has.
    fn join(&mut self, context: &mut Context<'_>) {
        self.flow.joined = true;
        self.flow.floor.get_or_insert(self.next.log.end());
        let announce = DeviceAnnounce {
            device_info: DeviceInfo { platform: "web".into(), version: env!("CARGO_PKG_VERSION").into() },
            sync_state: SyncState { last_synced_sequence: self.next.log.end(), ..SyncState::default() },
            wallet: Some(self.next.wallet.clone()),
            peer_wallet: Some(self.next.peer_wallet.clone()).filter(|_| !self.is_group()),
            group_nonce: self.founding_nonce(),
            compression: context.config.enable_compression.then(|| "deflate".into()),
        };
        self.transmit(context, Body::DeviceAnnounce(announce));
        self.flow.announced_frame = context.link.last_frame();
        if self.next.read_mark.sequence_number > 0 {
            let receipt = self.read_receipt(context.now);
            self.transmit(context, receipt);
        }
    }

    /// Asks for all that follows the cursor, where a sync has not done so on this connection.
    fn request_log(&mut self, context: &mut Context<'_>) {
        let answered = self.operation.as_ref().is_none_or(|operation| operation.head.is_some());
        if answered || self.flow.request.is_some() {
            return;
        }
        let request = SyncRequest {
            last_synced_sequence: self.cursor(),
            max_batch_size: Some(context.config.max_batch_size as u64),
            log: Some(self.stored.log.log_head()),
            ..SyncRequest::default()
        };
        let frame_id = self.transmit(context, Body::SyncRequest(request));
        let deadline_ms = context.now.monotonic_ms + ANSWER_TIMEOUT_MS;
        self.flow.request = Some(Request { frame_id, deadline_ms, head: None });
    }

    /// Goes on sending while a transaction is under way.
    pub fn send_stored(&mut self, context: &mut Context<'_>) {
        let may_send = self.flow.joined && self.flow.retry_at_ms.is_none();
        if context.link.is_open()
            && self.is_linked(context.wallet)
            && may_send
            && let Err(fault) = self.send_updates(context)
        {
            self.doubt_vault(context, fault);
        }
    }

    /// Sends what is stored and not yet sent, in the order of `sendMessage` (I8).
    ///
    /// # Errors
    /// [`Fault`].
    fn send_updates(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        if self.flow.epoch.is_open() || self.flow.fault.is_some() {
            return Ok(());
        }
        self.seal_waiting(context)?;
        while self.flow.updates.len() < UPDATES_IN_FLIGHT_MAX {
            let sent = self.sent_through();
            let (messages, last_counter) = self.next_batch(sent, context.config);
            let Some(last_digest) = self.outbox.digest(last_counter).filter(|_| !messages.is_empty()) else { return Ok(()) };
            if last_counter > self.stored.sent_through {
                // Once, and not again while that waits for the disk.
                if last_counter > self.next.sent_through && !std::mem::replace(&mut self.flow.marks_sent, true) {
                    self.flow.store_at_ms = Some(context.now.monotonic_ms);
                }
                return Ok(());
            }
            self.outbox.transmit(last_counter);
            let is_told = |entry: &&Entry| !entry.message.kind.has_status() || self.outbox.is_sent(entry.counter);
            for entry in self.outbox.between(sent, last_counter).filter(|entry| !is_told(entry)) {
                context.tell(Event::StatusChanged {
                    session_id: self.id().to_owned(),
                    message_id: entry.message.id.clone(),
                    status: MessageStatus::Sending,
                    error: None,
                });
            }
            let key = context.identity.and_then(|identity| identity.key_of(&self.device));
            let seen = self.stored.log.log_head();
            let signature = key.map(|key| UpdateSignature::sign(key, self.id(), last_counter, &last_digest, seen));
            self.transmit(context, Body::SyncUpdate(SyncUpdate { messages, last_digest, signature }));
            let deadline_ms = context.now.monotonic_ms + ANSWER_TIMEOUT_MS;
            self.flow.updates.push_back(Update { first_counter: sent + 1, last_counter, deadline_ms });
        }
        Ok(())
    }

    /// What was sent, up to this counter.
    pub(super) fn sent_through(&self) -> u64 {
        self.flow.updates.back().map_or(0, |update| update.last_counter).max(self.outbox.acknowledged_counter())
    }

    /// The next messages after counter `sent`, at most `maxBatchSize` and as many as fit a frame, and the counter of the
    /// last.
    fn next_batch(&self, sent: u64, config: &ClientConfig) -> (Batch, u64) {
        let mut last_counter = sent;
        let is_sealed = self.stored.sealed.is_some();
        let Some(first) = self.outbox.sendable(sent, is_sealed).next() else { return (Batch::default(), sent) };
        let bytes_max = FRAME_BYTES_MAX - FRAME_OVERHEAD_BYTES;
        let mut encoder = Encoder::new(first, bytes_max);
        let mut json_bytes = 0;
        for entry in self.outbox.sendable(sent, is_sealed).take(config.max_batch_size) {
            json_bytes += entry.json_bytes_max();
            let fits_json = !config.frames_in_json || json_bytes <= bytes_max || last_counter == sent;
            if !fits_json || !encoder.push(entry) {
                break;
            }
            last_counter = entry.counter;
        }
        (encoder.finish(), last_counter)
    }

    /// Tells progress, and ends a sync that is complete.
    fn report(&mut self, context: &mut Context<'_>) {
        // What is on its way to disk is reported when it is there (I21).
        if self.in_transaction {
            return;
        }
        let cursor = self.next.log.end();
        self.flow.request.take_if(|request| request.head.is_some_and(|head| cursor >= head));
        let Some(operation) = &mut self.operation else { return };
        let Some(head) = operation.head else { return };
        let queued = self.outbox.stored_count_through(operation.target_counter);
        let total_messages = head.saturating_sub(operation.start_cursor) + operation.queued_at_start;
        let messages_synced = cursor.min(head).saturating_sub(operation.start_cursor) + operation.queued_at_start.saturating_sub(queued);
        // An epoch that must begin first waits with the messages, which have not come any less far.
        let messages_synced = messages_synced.max(operation.most_synced).min(total_messages);
        operation.most_synced = messages_synced;
        if total_messages > 0 && operation.told_progress != Some(messages_synced) {
            operation.told_progress = Some(messages_synced);
            let session_id = self.next.session_id.clone();
            context.tell(Event::SyncProgress { session_id, messages_synced, total_messages });
        }
        if cursor < head || queued > 0 {
            return;
        }
        let Some(operation) = self.operation.take() else { return };
        self.complete(context.now, &operation);
        context.tell(Event::SyncCompleted { session_id: self.id().to_owned(), stats: self.stats() });
        for Waiter { request, scope, totals: before } in operation.calls {
            let sent = self.totals.sent - before.sent;
            let count = if scope == SyncScope::Outbox { sent } else { sent + self.totals.received - before.received };
            context.answer(request, Ok(count));
        }
        if !operation.late_calls.is_empty() {
            self.begin_for(context, operation.late_calls);
        }
    }

    /// The sync under way fails now.
    pub fn fail_sync(&mut self, context: &mut Context<'_>, error: &SyncError) {
        let Some(operation) = self.operation.take() else { return };
        self.stats.sync_failures += 1;
        self.stats.last_sync_duration = context.now.monotonic_ms.saturating_sub(operation.started_ms);
        context.tell(Event::SyncFailed { session_id: self.id().to_owned(), error: error.clone() });
        for Waiter { request, .. } in operation.calls.into_iter().chain(operation.late_calls) {
            context.answer(request, Err(error.clone()));
        }
    }

    /// An attempt of the sync under way failed; says whether that was one too many.
    pub fn fail_attempt(&mut self, max_retries: u32) -> bool {
        let Some(operation) = &mut self.operation else { return false };
        operation.failures += 1;
        // What was asked before must be asked again.
        operation.head = None;
        operation.told_progress = None;
        operation.failures > max_retries
    }

    fn complete(&mut self, now: Now, operation: &Operation) {
        let duration_ms = now.monotonic_ms.saturating_sub(operation.started_ms);
        self.last_sync_ms = now.wall_ms;
        self.completed_syncs += 1;
        let before = operation.start_totals;
        self.stats.total_messages_synced += self.totals.sent - before.sent + self.totals.received - before.received;
        self.stats.last_sync_duration = duration_ms;
        let mean = &mut self.stats.average_sync_duration;
        *mean += (duration_ms as f64 - *mean) / self.completed_syncs as f64;
    }
}
