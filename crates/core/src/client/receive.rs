//! What the relay says.

use super::Client;
use super::api::{Event, MessageStatus, Write};
use super::commit::Stage;
use super::records::LogRecord;
use super::session::Session;
use crate::backoff::delay_ms;
use crate::batch::Batch;
use crate::conflict::{add_version, concurrent_messages, concurrent_versions, unknown_to};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ErrorBody, Frame, Receipt, ReceiptStatus, SyncAck, SyncResponse};
use crate::ids::{MessageId, parse_message_id};
use crate::limits::{ANSWER_TIMEOUT_MS, CLOCK_DEVICES_MAX};
use crate::log::{self, Refusal};
use crate::message::Entry;
use crate::time::Now;
use crate::wire::Malformed;

impl Client {
    pub(super) fn receive(&mut self, now: Now, frame: &[u8], stage: &mut Stage) {
        let frame = match Frame::from_bytes(frame) {
            Ok(frame) => frame,
            // Frames that a newer relay adds.
            Err(error) if error.code == ErrorCode::UnknownFrame => return,
            Err(error) => return self.distrust(format!("a frame cannot be read ({error})"), stage),
        };
        let session_id = frame.head.session_id;
        match frame.body {
            Body::Error(error) => return self.refused(now, error, stage),
            _ if self.sessions.get(&session_id).is_none_or(|session| !self.is_linked(session)) => return self.miss(&session_id),
            Body::SyncResponse(response) => self.take_batch(now, &session_id, response, stage),
            Body::SyncAck(ack) => self.acknowledged(&session_id, ack, stage),
            Body::SyncHeartbeat(heartbeat) => self.compare_heads(&session_id, heartbeat.sequence_number, stage),
            Body::DeviceList(list) => {
                if let Some(session) = self.sessions.get_mut(&session_id) {
                    // All of them, or those that changed.
                    for device in list.devices {
                        match session.devices.binary_search_by(|known| known.device_id.cmp(&device.device_id)) {
                            Ok(place) => session.devices[place] = device,
                            Err(place) if session.devices.len() < CLOCK_DEVICES_MAX => session.devices.insert(place, device),
                            Err(_) => {}
                        }
                    }
                    stage.tell(Event::DevicesChanged { session_id });
                }
            }
            Body::ReadReceiptSync(receipts) => self.take_receipts(&session_id, receipts.receipts, stage),
            // Counted by this side; and frames that only clients send.
            _ => {}
        }
        self.link.prove();
    }

    /// A session that takes no part is told something: when it takes part again, it joins and asks anew.
    fn miss(&mut self, session_id: &str) {
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.start_over();
        }
    }

    /// The relay makes no sense: say so, and try again after a wait.
    fn distrust(&mut self, what: String, stage: &mut Stage) {
        let error = SyncError::new(ErrorCode::RelayMisbehaved, what);
        stage.relink = Some(error.message.clone());
        stage.tell(Event::Warning { error });
    }

    fn take_batch(&mut self, now: Now, session_id: &str, response: SyncResponse, stage: &mut Stage) {
        let latest = response.latest_sequence;
        if !self.check_head(session_id, latest, stage) {
            return;
        }
        let mut answers = false;
        if let Some(session) = self.sessions.get_mut(session_id)
            && let Some(request) = session.flow.request.as_mut().filter(|request| response.in_reply_to.as_ref() == Some(&request.frame_id))
        {
            answers = true;
            request.deadline_ms = now.monotonic_ms + ANSWER_TIMEOUT_MS;
            let head = *request.head.get_or_insert(latest);
            if let Some(operation) = &mut session.operation {
                operation.head.get_or_insert(head);
            }
        }
        let entries = match response.messages.entries() {
            Ok(entries) => entries,
            Err(Malformed(what)) => return self.distrust(["a batch cannot be read: ", what].concat(), stage),
        };
        match self.store_entries(session_id, entries, Some(response.messages), stage) {
            Ok(_) => {
                let Some(session) = self.sessions.get(session_id) else { return };
                let ack = SyncAck { acknowledged_sequences: vec![session.record.cursor], ..SyncAck::default() };
                let (_, frame) = self.frame(now, session_id, Body::SyncAck(ack));
                stage.transmit(self.link.generation(), frame);
                stage.wake.insert(session_id.to_owned(), ());
            }
            // What is missing was asked for already, or is now: a push is only a hint.
            Err(Refusal::Gap) if !answers => self.catch_up(session_id, stage),
            Err(Refusal::Gap) => self.distrust("an answer does not follow what was asked for".into(), stage),
            Err(Refusal::Broken(what)) => self.distrust(what, stage),
        }
    }

    /// Something is missing: a sync fetches it, unless one is under way.
    fn catch_up(&mut self, session_id: &str, stage: &mut Stage) {
        let asked = self.sessions.get(session_id).is_some_and(|session| session.flow.request.is_some());
        if !asked {
            stage.catch_up.insert(session_id.to_owned(), ());
        }
    }

    fn compare_heads(&mut self, session_id: &str, head: u64, stage: &mut Stage) {
        if self.check_head(session_id, head, stage) && self.sessions.get(session_id).is_some_and(|session| session.record.cursor < head) {
            self.catch_up(session_id, stage);
        }
    }

    /// A relay that has less than this device had when it joined was set back: never renumber (I19).
    fn check_head(&mut self, session_id: &str, head: u64, stage: &mut Stage) -> bool {
        let Some(session) = self.sessions.get(session_id) else {
            return false;
        };
        let floor = session.flow.floor.unwrap_or(0);
        if head < floor {
            let message = format!("the relay's log ends at {head}, this device has {floor} entries of it");
            self.halt(session_id, SyncError::new(ErrorCode::RelayRolledBack, message), stage);
            return false;
        }
        true
    }

    /// The session syncs no more until the application starts it again.
    pub(super) fn halt(&mut self, session_id: &str, error: SyncError, stage: &mut Stage) {
        if let Some(session) = self.sessions.get_mut(session_id) {
            stage.halt(session, error);
        }
    }

    /// Stores the entries that follow what is stored, and returns how many. Own messages leave the outbox in the same
    /// transaction (I2), and the cursor moves with them (I7). `batch` is the form in which they came.
    pub(super) fn store_entries(
        &mut self,
        session_id: &str,
        entries: Vec<Entry>,
        batch: Option<Batch>,
        stage: &mut Stage,
    ) -> Result<u64, Refusal> {
        let strategy = self.config.conflict_resolution_strategy;
        if batch.is_some() || stage.logs_other_than(session_id) {
            self.flush_log(stage);
        }
        let Some(session) = self.sessions.get_mut(session_id) else {
            return Ok(0);
        };
        if entries.iter().any(|entry| entry.message.session_id != session_id) {
            return Err(Refusal::Broken("a message belongs to another session".into()));
        }
        let heads_before = session.record.heads.clone();
        let mut heads = heads_before.clone();
        let came = entries.len();
        let fresh = log::accept(session.record.cursor, &mut heads, entries)?;
        let (Some(first), Some(last)) = (fresh.first(), fresh.last()) else {
            return Ok(0);
        };
        let (first, last) = (first.sequence_number, last.sequence_number);

        stage.touch(session, false);
        let mut conflicts = Vec::new();
        let mut running = heads_before.clone();
        let mut totals = session.totals;
        // The places of messages that were in the outbox, those of them that stand under another id, and whether another
        // device's message stands under an id of this one.
        let mut own_places = Vec::new();
        let mut renamed = Vec::new();
        let mut forked = false;
        for entry in &fresh {
            let settled = session.settle(entry, stage);
            let own = matches!(settled, Settled::Own | Settled::Renamed(_));
            if own {
                own_places.push(entry.sequence_number);
            }
            match settled {
                Settled::Renamed(queued_id) => renamed.push((queued_id, entry.message.id.clone())),
                Settled::Forked => forked = true,
                Settled::Own | Settled::Foreign => {}
            }
            // Entries were checked by `accept`, so their counters fit.
            let concurrent_with = unknown_to(entry, &running);
            let _ = running.raise(&entry.original_device_id, entry.counter());
            if let Some(target) = entry.message.replaces.clone() {
                // Of names that have no part in the session there may be any number.
                if [&session.record.wallet, &session.record.peer_wallet].contains(&&entry.message.sender_wallet) {
                    let mut versions = session.versions.get(&target).cloned().unwrap_or_default();
                    add_version(&mut versions, entry.clone());
                    conflicts.extend(concurrent_versions(entry, &versions, strategy));
                    stage.set_versions(session, &target, versions);
                    stage.tell(Event::MessageChanged { session_id: session_id.to_owned(), message_id: target });
                }
            } else {
                if !concurrent_with.is_empty() {
                    conflicts.push(concurrent_messages(entry, concurrent_with, fresh.iter()));
                }
                // Every device of a wallet follows how far the wallet's messages are.
                if !own && entry.message.sender_wallet == session.record.wallet {
                    session.await_receipts(entry.sequence_number, entry.message.id.clone());
                }
            }
            let total = if own { &mut totals.sent } else { &mut totals.received };
            *total += 1;
        }
        session.totals = totals;
        session.record.cursor = last;
        session.record.heads = heads;
        session.record.counter = session.record.counter.max(session.logged_counter());
        let count = fresh.len() as u64;
        let is_heard = |entry: &Entry| own_places.binary_search(&entry.sequence_number).is_err() && entry.message.replaces.is_none();
        let heard: Vec<Box<Entry>> = if let Some(batch) = batch.filter(|_| came == fresh.len()) {
            session.log_batch(LogRecord { session_id: session_id.to_owned(), first, last, heads_before, batch }, stage);
            fresh.into_iter().filter(is_heard).map(Box::new).collect()
        } else {
            let heard = fresh.iter().filter(|entry| is_heard(entry)).cloned().map(Box::new).collect();
            stage.log_own(session_id, heads_before, fresh);
            heard
        };
        for entry in heard {
            stage.tell(Event::MessageReceived { session_id: session_id.to_owned(), entry });
        }
        if !conflicts.is_empty() {
            session.totals.conflicts_resolved += conflicts.iter().filter(|conflict| conflict.resolution.is_some()).count() as u64;
            stage.tell(Event::ConflictDetected { session_id: session_id.to_owned(), conflicts });
        }
        if forked || !renamed.is_empty() {
            self.replace_device(session_id, None, renamed, stage);
        }
        Ok(count)
    }

    /// Own messages are in the relay's log. Where their places follow what is stored, that is all it takes; otherwise
    /// the log brings them in its order.
    fn acknowledged(&mut self, session_id: &str, ack: SyncAck, stage: &mut Stage) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let device = session.record.device_id.clone();
        session.flow.refusals = 0;
        let mut entries: Vec<Entry> = Vec::new();
        let places = ack.acknowledged_message_ids.iter().zip(&ack.acknowledged_sequences);
        for (index, (id, sequence)) in places.enumerate() {
            let Some(counter) = own_counter(id, session_id, &device) else {
                continue;
            };
            if counter > session.acknowledged_counter {
                session.acknowledged_counter = counter;
            }
            let Some(record) = session.outbox.get(&counter) else { continue };
            stage.tell(Event::StatusChanged {
                session_id: session_id.to_owned(),
                message_id: id.clone(),
                status: MessageStatus::Sent,
                error: None,
            });
            let follows = entries.last().map_or(session.record.cursor, |entry| entry.sequence_number) + 1 == *sequence;
            if let (true, Some(server_timestamp)) = (follows, ack.server_timestamps.get(index)) {
                entries.push(Entry { sequence_number: *sequence, server_timestamp: *server_timestamp, ..record.clone() });
            }
        }
        let acknowledged = session.acknowledged_counter;
        while session.flow.updates.front().is_some_and(|update| update.last_counter <= acknowledged) {
            session.flow.updates.pop_front();
        }
        stage.wake.insert(session_id.to_owned(), ());
        // That they are stored need not be told: the relay does not count what a device wrote itself.
        if let Err(refusal) = self.store_entries(session_id, entries, None, stage) {
            self.distrust(format!("an acknowledgement does not fit the log: {refusal}"), stage);
        }
    }

    fn take_receipts(&mut self, session_id: &str, receipts: Vec<Receipt>, stage: &mut Stage) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let device = session.record.device_id.clone();
        for receipt in receipts {
            let (Some(wallet), Some(sequence)) = (receipt.reader_wallet, receipt.sequence_number) else {
                continue;
            };
            let is_member = [&session.record.wallet, &session.record.peer_wallet].contains(&&wallet);
            if !is_member && !session.record.watermarks.has_room_for(&wallet) {
                continue;
            }
            stage.touch(session, false);
            let watermark = session.record.watermarks.of(&wallet);
            let before = if receipt.status == ReceiptStatus::Read { watermark.read } else { watermark.delivered };
            if !watermark.raise(receipt.status, sequence) || wallet == session.record.wallet {
                continue;
            }
            // Those whose place is stored; the others are told of when theirs is.
            let stored = sequence.min(session.record.cursor);
            let mut moved: Vec<(u64, String)> = Vec::new();
            if before < stored {
                moved.extend(session.awaited_receipts.between(&before, &stored).map(|(place, id)| (*place, id.clone())));
            }
            // One that was written before this page was opened.
            let older = sequence == stored && !session.awaited_receipts.contains_key(&sequence);
            if older && own_counter(&receipt.message_id, session_id, &device).is_some() {
                moved.push((sequence, receipt.message_id));
            }
            for (place, message_id) in moved {
                let status = session.logged_status(place, &session.record.wallet);
                stage.tell(Event::StatusChanged { session_id: session_id.to_owned(), message_id, status, error: None });
            }
        }
    }

    /// The relay refused something.
    fn refused(&mut self, now: Now, refusal: ErrorBody, stage: &mut Stage) {
        let error = SyncError::new(refusal.code, refusal.error);
        let Some(session_id) = refusal.session_id.filter(|session_id| self.sessions.contains_key(session_id)) else {
            stage.tell(Event::Warning { error });
            return;
        };
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return;
        };
        match refusal.code {
            ErrorCode::CounterGap => {
                let expected = refusal.expected_counter.unwrap_or(0);
                if session.outbox.contains_key(&expected) {
                    // What it may have of those before is found out by sending them again.
                    session.acknowledged_counter = session.acknowledged_counter.min(expected - 1);
                    session.flow.updates.clear();
                    stage.wake.insert(session_id, ());
                } else if expected <= session.logged_counter() {
                    let message = format!("the relay lacks message {expected} of this device, which stands in the stored log");
                    self.halt(&session_id, SyncError::new(ErrorCode::RelayRolledBack, message), stage);
                } else {
                    self.replace_device(&session_id, None, Vec::new(), stage);
                }
            }
            ErrorCode::CounterReused => self.replace_device(&session_id, None, Vec::new(), stage),
            // Any frame may be the one that was refused, so all is said again, the announcement first. A message that is
            // in the log under another name leaves the outbox when the log brings it.
            ErrorCode::RelayBusy | ErrorCode::RelayStorageFailed | ErrorCode::NotAnnounced | ErrorCode::AlreadyStored => {
                let refusals = session.flow.refusals;
                let wait_ms = delay_ms(self.config.retry_delay_ms, refusals, &mut self.random);
                let retry_at_ms = Some(now.monotonic_ms + wait_ms);
                session.start_over();
                if session.fail_attempt(self.config.max_retries) {
                    stage.failed.push((session_id.clone(), error.clone()));
                }
                session.flow.retry_at_ms = retry_at_ms;
                session.flow.refusals = refusals.saturating_add(1);
                self.sessions_due_ms = self.sessions_due_ms.min(now.monotonic_ms + wait_ms);
                if refusal.code == ErrorCode::AlreadyStored {
                    stage.catch_up.insert(session_id, ());
                } else {
                    stage.tell(Event::Warning { error });
                }
            }
            ErrorCode::NotAMember | ErrorCode::LimitReached | ErrorCode::RelayRolledBack => self.halt(&session_id, error, stage),
            _ => match refusal.refused_message_id.and_then(|id| own_counter(&id, &session_id, &session.record.device_id)) {
                Some(counter) => self.replace_device(&session_id, Some((counter, error)), Vec::new(), stage),
                None => stage.tell(Event::Warning { error }),
            },
        }
    }
}

/// A batch of at most so many messages and fewer bytes is small: such ones are joined.
const SMALL_MESSAGES_MAX: usize = 32;
const SMALL_BYTES_MAX: usize = 8 * 1024;

/// Small batches in a row that are joined: as many records as a page of the list may have to read, and 256 KiB at most.
const SMALL_BATCHES_MAX: u64 = 32;

impl Session {
    /// Stores a batch, and joins the small ones before it when they are many, or it is not one of them.
    pub(super) fn log_batch(&mut self, record: LogRecord, stage: &mut Stage) {
        let (first, last) = (record.first, record.last);
        let small = last - first < SMALL_MESSAGES_MAX as u64 && record.batch.bytes().len() < SMALL_BYTES_MAX;
        stage.write(Write::Log(record), false);
        if small {
            if self.record.small_count == 0 {
                self.record.small_first = first;
            }
            self.record.small_count += 1;
        }
        let joined_through = if small { last } else { first - 1 };
        if self.record.small_count >= SMALL_BATCHES_MAX || (!small && self.record.small_count > 1) {
            let session_id = self.record.session_id.clone();
            stage.write(Write::JoinLog { session_id, first: self.record.small_first, last: joined_through }, false);
            self.record.small_count = 0;
        } else if !small {
            self.record.small_count = 0;
        }
    }

    /// Where a message of the outbox is in the log, it leaves the outbox.
    fn settle(&mut self, entry: &Entry, stage: &mut Stage) -> Settled {
        let own_name = entry.original_device_id == self.record.device_id;
        let namesake = self.outbox.get(&entry.counter()).filter(|_| own_name);
        let forked = namesake.is_some_and(|queued| queued.message != entry.message);
        let queued = namesake.filter(|_| !forked).or_else(|| self.same_as(entry));
        let Some((counter, queued_id)) = queued.map(|queued| (queued.counter(), queued.message.id.clone())) else {
            return if forked { Settled::Forked } else { Settled::Foreign };
        };
        stage.remove_outbox(self, counter);
        let (session_id, message_id) = (self.record.session_id.clone(), entry.message.id.clone());
        let renamed = queued_id != message_id;
        let announced = !renamed && counter <= self.acknowledged_counter;
        if renamed {
            let (old_id, new_id) = (queued_id.clone(), message_id.clone());
            stage.tell(Event::MessageRenamed { session_id: session_id.clone(), old_id, new_id });
        } else {
            self.acknowledged_counter = self.acknowledged_counter.max(counter);
        }
        self.await_receipts(entry.sequence_number, message_id.clone());
        let status = self.logged_status(entry.sequence_number, &entry.message.sender_wallet);
        if !announced || status > MessageStatus::Sent {
            stage.tell(Event::StatusChanged { session_id: session_id.clone(), message_id: message_id.clone(), status, error: None });
        }
        stage.tell(Event::MessageSynced { session_id, message_id });
        if renamed { Settled::Renamed(queued_id) } else { Settled::Own }
    }

    /// The message of the outbox that stands in this entry under another name. That can only be where the one or the
    /// other was queued again: then the oldest of the outbox was.
    fn same_as(&self, entry: &Entry) -> Option<&Entry> {
        let queued_again = self.outbox.values().next().is_some_and(|oldest| oldest.message.first_id.is_some());
        let possible = entry.message.sender_wallet == self.record.wallet && (queued_again || entry.message.first_id.is_some());
        self.outbox.values().find(|queued| possible && queued.message.is_same(&entry.message))
    }
}

/// What an entry of the log is to this device.
enum Settled {
    /// It was in the outbox.
    Own,
    /// It was in the outbox under this id.
    Renamed(MessageId),
    /// Another message waits in the outbox under the same name: this device's storage was copied or set back (B26).
    Forked,
    /// A message of another device, or of another that has this one's name.
    Foreign,
}

pub(super) fn own_counter(message_id: &str, session_id: &str, device: &str) -> Option<u64> {
    parse_message_id(message_id).filter(|(session, owner, _)| *session == session_id && *owner == device).map(|(_, _, counter)| counter)
}
