//! What the relay says in a session.

use std::collections::BinaryHeap;

use super::groups::reached;
use super::log::Arrived;
use super::signatures::Signers;
use super::view::logged_status;
use super::{STORE_DELAY_MS, Session};
use crate::backoff::delay_ms;
use crate::client::api::{Change, Event};
use crate::client::context::Context;
use crate::client::keys::failed;
use crate::client::records::ReadMark;
use crate::client::transaction::Transaction;
use crate::client::views::{Membership, MessageStatus};
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, DeviceList, ErrorBody, ReadReceipt, Receipt, ReceiptStatus, SyncAck, SyncHeartbeat, SyncResponse};
use crate::group::Statement;
use crate::ids::{new_device_id, parse_message_id};
use crate::limits::{ANSWER_TIMEOUT_MS, BATCH_MESSAGES_MAX, CLOCK_DEVICES_MAX, INTEGER_MAX};
use crate::log::{LogHead, Refusal};
use crate::message::{Kind, Stamp};
use crate::time::Now;
use crate::wire::Malformed;

impl Session {
    pub fn on_frame(&mut self, context: &mut Context<'_>, body: Body, transaction: &mut Transaction) {
        if !matches!(body, Body::SyncAck(_)) {
            self.store_acknowledged(context, transaction);
        }
        match body {
            Body::Error(error) => self.take_refusal(context, error, transaction),
            Body::SyncResponse(response) => self.take_batch(context, response, transaction),
            Body::SyncAck(ack) => self.take_ack(context, ack, transaction),
            Body::SyncHeartbeat(heartbeat) => self.take_heartbeat(context, heartbeat, transaction),
            Body::DeviceList(list) => self.take_devices(list, transaction),
            Body::ReadReceiptSync(receipts) => self.take_receipts(receipts.receipts, transaction),
            // Counted by this side; and frames that only clients send.
            _ => {}
        }
    }

    /// All devices, or those that changed.
    fn take_devices(&mut self, list: DeviceList, transaction: &mut Transaction) {
        for device in list.devices {
            match self.devices.binary_search_by(|known| known.device_id.cmp(&device.device_id)) {
                Ok(place) => self.devices[place] = device,
                Err(place) if self.devices.len() < CLOCK_DEVICES_MAX => self.devices.insert(place, device),
                Err(_) => {}
            }
        }
        transaction.tell(Event::DevicesChanged { session_id: self.id().to_owned() });
    }

    fn take_batch(&mut self, context: &mut Context<'_>, response: SyncResponse, transaction: &mut Transaction) {
        let latest = response.latest_sequence;
        let signed_since = self.flow.proven;
        let proof = response.log_signature.map_or(Ok(()), |signature| self.prove(context, response.log, Some(signature)));
        if !self.check_head(latest, response.log, transaction) {
            return;
        }
        if let Err(refusal) = proof {
            return self.refuse_log(refusal, transaction);
        }
        let signed = self.flow.proven.filter(|signed| Some(signed.head) == response.log);
        // Of a part the relay signs that its log ended there once: what it has signed since stays.
        if let Some(part) = response.log.filter(|log| log.sequence < latest) {
            self.flow.proven = signed_since.filter(|since| since.head.sequence > part.sequence).or(self.flow.proven);
        }
        let mut answers = false;
        if let Some(request) = self.flow.request.as_mut().filter(|request| response.in_reply_to.as_ref() == Some(&request.frame_id)) {
            answers = true;
            request.deadline_ms = context.now.monotonic_ms + ANSWER_TIMEOUT_MS;
            let head = *request.head.get_or_insert(latest);
            if let Some(operation) = &mut self.operation {
                operation.answered(head);
            }
        }
        let entries = match response.messages.entries() {
            Ok(entries) => entries,
            Err(Malformed(what)) => return transaction.distrust(["a batch cannot be read: ", *what].concat()),
        };
        let is_end = response.log.is_some_and(|log| log.sequence == latest);
        if answers
            && is_end
            && response.log_signature.is_none()
            && let Err(refusal) = self.prove(context, response.log, None)
        {
            return self.refuse_log(refusal, transaction);
        }
        let signers = Signers::new(response.signatures);
        let mut arrived = Arrived { entries, batch: Some(response.messages), head: response.log, signed, signers };
        self.hold_back(&mut arrived);
        if let Some(sequence) = self.last_own(&arrived.entries).filter(|sequence| !self.is_proven(context, *sequence)) {
            if !answers {
                // The answer to what is asked for then is signed.
                return self.catch_up(transaction);
            }
            return transaction.distrust(format!("the relay does not sign that it has message {sequence}"));
        }
        // What was signed at once is no more than one update has, and is in the log as a whole.
        let is_last = |entry: &Entry| entry.sequence_number >= latest;
        if self.flow.held.len() >= BATCH_MESSAGES_MAX || self.flow.held.last().is_some_and(is_last) {
            let what = "the relay shows messages that no signature of their device covers".into();
            return self.refuse_log(Refusal::Forged(what), transaction);
        }
        match self.know_authors(context, &arrived.entries) {
            Ok(true) => {}
            Ok(false) => return,
            Err(refusal) => return self.refuse_log(refusal, transaction),
        }
        match self.store_entries(context, arrived, transaction) {
            Ok(_) => {
                let ack = SyncAck { acknowledged_sequences: vec![self.next.log.end()], ..SyncAck::default() };
                let (_, frame) = self.frame(context, Body::SyncAck(ack));
                transaction.transmit(context.link.generation(), frame);
                self.enlist(transaction, false);
            }
            // What is missing was asked for already, or is now: a push is only a hint.
            Err(Refusal::Gap) if !answers => self.catch_up(transaction),
            Err(Refusal::Gap) => transaction.distrust("an answer does not follow what was asked for".into()),
            Err(refusal) => self.refuse_log(refusal, transaction),
        }
    }

    /// Goes on with what was held back, and holds back what no signature covers yet: a batch may end within what a device
    /// has signed at once.
    fn hold_back(&mut self, arrived: &mut Arrived) {
        let Some(first) = arrived.entries.first().map(|entry| entry.sequence_number) else { return };
        let mut entries = std::mem::take(&mut self.flow.held);
        if entries.last().is_some_and(|last| last.sequence_number + 1 == first) {
            arrived.batch = None;
            entries.append(&mut arrived.entries);
            arrived.entries = entries;
        }
        let end = self.next.log.end();
        let known = arrived.entries.iter().take_while(|entry| entry.sequence_number <= end).count();
        let covered = known + arrived.signers.covered(&arrived.entries[known..]);
        if covered < arrived.entries.len() {
            self.flow.held = arrived.entries.split_off(covered);
            arrived.batch = None;
        }
    }

    /// The relay's log is not taken.
    fn refuse_log(&mut self, refusal: Refusal, transaction: &mut Transaction) {
        match refusal {
            Refusal::Gap => transaction.distrust(refusal.to_string()),
            Refusal::Broken(what) => transaction.distrust(what),
            Refusal::Forked(what) => {
                self.keep_contradiction(transaction);
                self.halt(SyncError::new(ErrorCode::RelayForked, what), transaction);
            }
            Refusal::Forged(what) => self.halt(SyncError::new(ErrorCode::EntryForged, what), transaction),
        }
    }

    /// Something is missing: a sync fetches it, unless one is under way.
    fn catch_up(&mut self, transaction: &mut Transaction) {
        if self.flow.request.is_none() {
            transaction.catch_up(self.id());
        }
    }

    fn take_heartbeat(&mut self, context: &Context<'_>, heartbeat: SyncHeartbeat, transaction: &mut Transaction) {
        let SyncHeartbeat { sequence_number: head, log, log_signature, .. } = heartbeat;
        let proof = self.prove(context, log, log_signature);
        if !self.check_head(head, log, transaction) {
            return;
        }
        if let Err(refusal) = proof.and_then(|()| self.next.log.compare(log)) {
            self.refuse_log(refusal, transaction);
        } else if self.next.log.end() < head {
            self.catch_up(transaction);
        }
    }

    /// A relay that has less than this device had when it joined was set back: never renumber (I19).
    fn check_head(&mut self, head: u64, log: Option<LogHead>, transaction: &mut Transaction) -> bool {
        let floor = self.flow.floor.unwrap_or(0);
        if head < floor {
            let message = format!("the relay's log ends at {head}, this device has stored it up to {}", self.next.log.log_head());
            self.keep_contradiction(transaction);
            self.halt(SyncError::new(ErrorCode::RelayRolledBack, message), transaction);
            // Others may have written there since: only the hash tells whether what it has is a part of the stored log.
            self.parted_at = log.filter(|log| log.sequence == head);
            return false;
        }
        true
    }

    /// What the relay has signed now, and what it had signed before, are kept: they show what it did.
    fn keep_contradiction(&mut self, transaction: &mut Transaction) {
        let signed = self.flow.proven.filter(|_| self.next.contradiction.is_none());
        if signed.is_some() {
            self.change(transaction, true).contradiction = signed.map(Box::new);
        }
    }

    /// The session syncs no more until the application starts it again.
    pub(super) fn halt(&mut self, error: SyncError, transaction: &mut Transaction) {
        // What is forged was not stored. Where logs differ it may be from the first entry on.
        self.parted_at = (error.code == ErrorCode::EntryForged).then(|| self.next.log.log_head());
        self.halted = Some(error.clone());
        transaction.halt(self.id(), error);
    }

    /// Own messages are in the relay's log, and so are sent, whenever that is stored here. Where their places follow what
    /// is stored, that is all it takes; otherwise the log brings them in its order.
    fn take_ack(&mut self, context: &mut Context<'_>, ack: SyncAck, transaction: &mut Transaction) {
        let session_id = self.id().to_owned();
        self.flow.refusals = 0;
        if let Err(refusal) = self.prove(context, ack.log, ack.log_signature) {
            return self.refuse_log(refusal, transaction);
        }
        if let Some(sequence) = ack.acknowledged_sequences.iter().max().filter(|sequence| !self.is_proven(context, **sequence)) {
            return transaction.distrust(format!("the relay does not sign that it has message {sequence}"));
        }
        let places = ack.acknowledged_counters.iter().zip(&ack.acknowledged_sequences);
        let is_sealed = self.next.sealed.is_some();
        let (mut begins_epoch, mut is_unknown) = (false, false);
        for (index, (counter, sequence)) in places.enumerate() {
            let is_replaced = self.outbox.is_replaced();
            let is_told = if is_replaced { self.outbox.is_sent(*counter) } else { self.outbox.is_sent_on_disk(*counter) };
            self.outbox.take_ack(*counter);
            // One that the log has brought is sent too, also where that cannot be stored.
            let leaving = || self.outbox.get_leaving(*counter).filter(|_| !is_replaced);
            let Some(entry) = self.outbox.get(*counter).or_else(leaving) else { continue };
            if entry.message.kind.has_status() && !is_told {
                let (session_id, message_id, status) = (session_id.clone(), entry.message.id.clone(), MessageStatus::Sent);
                let event = Event::StatusChanged { session_id, message_id, status, error: None };
                if is_replaced { transaction.tell(event) } else { context.tell(event) }
            }
            let acknowledged = &mut self.flow.acknowledged;
            let follows = acknowledged.last().map_or(self.next.log.end(), |entry| entry.sequence_number) + 1 == *sequence;
            if let (true, Some(server_timestamp)) = (follows, ack.server_timestamps.get(index)) {
                // It was made anew meanwhile, and not encrypted again: the log brings what was sent.
                let Some(sent) = self.outbox.as_sent(*counter, is_sealed).cloned() else {
                    is_unknown = true;
                    continue;
                };
                begins_epoch |= sent.message.kind == Kind::EPOCH;
                acknowledged.push(Entry { sequence_number: *sequence, server_timestamp: *server_timestamp, ..sent });
            }
        }
        // What the log has brought and is not stored is still awaited.
        let acknowledged = self.outbox.answered_counter();
        while self.flow.updates.front().is_some_and(|update| update.last_counter <= acknowledged) {
            self.flow.updates.pop_front();
        }
        self.flow.acknowledged_log = ack.log;
        // What is to be written in an epoch waits for it.
        if self.operation.is_some() || self.flow.is_overdue || begins_epoch {
            self.store_acknowledged(context, transaction);
        } else if !self.flow.acknowledged.is_empty() {
            self.flow.store_at_ms.get_or_insert(context.now.monotonic_ms + STORE_DELAY_MS);
        }
        if is_unknown {
            self.catch_up(transaction);
        }
        // There may be room for more messages.
        self.enlist(transaction, false);
    }

    /// Own messages that the relay has taken enter the stored log. That they are stored need not be told: the relay does
    /// not count what a device wrote itself.
    pub fn store_acknowledged(&mut self, context: &mut Context<'_>, transaction: &mut Transaction) {
        self.flow.store_at_ms = None;
        self.flow.is_overdue = false;
        if let Some(fault) = self.flow.fault.take() {
            return transaction.fail(failed(fault));
        }
        if std::mem::take(&mut self.flow.marks_sent) {
            // Where it cannot be stored, the connection is made anew, after a wait.
            transaction.from_relay = true;
            self.change(transaction, true).sent_through = INTEGER_MAX;
        }
        let (entries, head) = (std::mem::take(&mut self.flow.acknowledged), self.flow.acknowledged_log.take());
        if entries.is_empty() {
            return;
        }
        // Where it cannot be stored, the relay is asked for it again.
        transaction.from_relay = true;
        self.enlist(transaction, false);
        match self.store_entries(context, Arrived { entries, head, ..Arrived::default() }, transaction) {
            Ok(_) => {}
            Err(refusal @ Refusal::Forked(_)) => self.refuse_log(refusal, transaction),
            Err(refusal) => transaction.distrust(format!("an acknowledgement does not fit the log: {refusal}")),
        }
    }

    fn take_receipts(&mut self, receipts: Vec<Receipt>, transaction: &mut Transaction) {
        for receipt in receipts {
            // What is read is delivered too, and in a group lists are told of each by itself.
            if self.is_group() && receipt.status == ReceiptStatus::Read {
                self.take_receipt(&receipt, ReceiptStatus::Delivered, transaction);
            }
            self.take_receipt(&receipt, receipt.status, transaction);
        }
    }

    fn take_receipt(&mut self, receipt: &Receipt, status: ReceiptStatus, transaction: &mut Transaction) {
        let (session_id, own_wallet) = (self.id().to_owned(), self.next.wallet.clone());
        let (Some(wallet), Some(sequence)) = (&receipt.reader_wallet, receipt.sequence_number) else { return };
        if !self.is_member(wallet) && !self.next.watermarks.has_room_for(wallet) {
            return;
        }
        let before = reached(&self.next, status);
        let watermark = self.change(transaction, false).watermarks.of(wallet);
        if !watermark.raise(status, sequence) {
            return;
        }
        let all_through = reached(&self.next, status);
        let (id, reader) = (session_id.clone(), wallet.clone());
        transaction.change(|| Change::Receipt { session_id: id, wallet: reader, status, through: sequence, all_through });
        if *wallet == own_wallet {
            return;
        }
        // Those whose place is stored; the others are told of when theirs is.
        let stored = all_through.min(self.next.log.end());
        let mut moved: Vec<(u64, String)> = Vec::new();
        if before < stored {
            moved.extend(self.awaited_receipts.between(&before, &stored).map(|(place, id)| (*place, id.clone())));
        }
        // One that was written before this page was opened.
        let older = sequence == stored && before < stored && !self.awaited_receipts.contains_key(&sequence);
        let is_own = |(session, owner, _): (&str, &str, u64)| session == session_id && owner == self.device;
        if older && parse_message_id(&receipt.message_id).is_some_and(is_own) {
            moved.push((sequence, receipt.message_id.clone()));
        }
        // Where it waits here, a copy of this profile has sent it, and this device has not stored yet that it knows.
        if !moved.is_empty() {
            // A heap puts them in order: a page loads a tenth of the code of `sort`.
            let waiting = self.outbox.iter().filter(|waiting| waiting.message.kind != Kind::VOID);
            let waiting: BinaryHeap<&str> = waiting.map(|waiting| waiting.message.id.as_str()).collect();
            let waiting = waiting.into_sorted_vec();
            moved.retain(|(_, message_id)| waiting.binary_search(&message_id.as_str()).is_err());
        }
        for (place, message_id) in moved {
            let status = logged_status(&self.next, place, &own_wallet);
            transaction.tell(Event::StatusChanged { session_id: session_id.clone(), message_id, status, error: None });
        }
    }

    /// The relay refused something. Where one message is not taken, neither is what was sent behind it, and each frame is
    /// answered: those answers are of no use when all of it is said again.
    fn take_refusal(&mut self, context: &mut Context<'_>, refusal: ErrorBody, transaction: &mut Transaction) {
        let refused_frame = refusal.in_reply_to.as_deref().and_then(|frame_id| context.link.frame_number(frame_id));
        if refused_frame.is_some_and(|number| !self.flow.joined || number < self.flow.announced_frame) {
            return;
        }
        let error = SyncError::new(refusal.code, refusal.error);
        let refused = refusal.refused_message_id.as_ref().and_then(|id| self.outbox.named(id)).cloned();
        // Its log may be lost here, and what begins it with that.
        let begins = |refused: &Entry| matches!(Statement::of(&refused.message), Ok(Statement::Begin { .. }));
        let is_change = |refused: &&Entry| refused.message.kind == Kind::GROUP && !begins(refused);
        match refusal.code {
            // What was said of the group does not count any more: of a wallet that has left meanwhile, or that has no room.
            ErrorCode::NotAMember | ErrorCode::LimitReached if let Some(said) = refused.as_ref().filter(is_change) => {
                self.void(context, said, error, transaction);
            }
            ErrorCode::CounterGap => {
                let expected = refusal.expected_counter.unwrap_or(0);
                if self.outbox.get(expected).is_some() {
                    // What it may have of those before is found out by sending them again.
                    self.tell_waiting(context);
                    let acknowledged = self.outbox.acknowledged_counter();
                    self.outbox.take_gap(expected - 1);
                    let is_told = |entry: &&Entry| entry.message.kind.has_status() && !self.outbox.is_sent(entry.counter);
                    for entry in self.outbox.between(expected - 1, acknowledged).filter(is_told) {
                        let (session_id, message_id) = (entry.message.session_id.clone(), entry.message.id.clone());
                        context.change(|| Change::Status { session_id, message_id, status: MessageStatus::Queued, error: None });
                    }
                    self.flow.updates.clear();
                    self.enlist(transaction, false);
                } else if expected <= self.logged_counter() {
                    let logged = self.logged_counter();
                    let message = format!("the relay takes message {expected} of this device next, the stored log has them up to {logged}");
                    self.halt(SyncError::new(ErrorCode::RelayRolledBack, message), transaction);
                } else {
                    transaction.replace_device(new_device_id(context.random));
                }
            }
            ErrorCode::CounterReused => transaction.replace_device(new_device_id(context.random)),
            ErrorCode::AlreadyStored
                if let (Some(id), Some(sequence)) = (&refusal.refused_message_id, refusal.stored_sequence)
                    && self.take_stored(context, id, sequence, transaction) => {}
            // Any frame may be the one that was refused, so all is said again, the announcement first. A message that is
            // in the log by another device leaves the outbox when the log brings it.
            ErrorCode::RelayBusy | ErrorCode::RelayStorageFailed | ErrorCode::NotAnnounced | ErrorCode::AlreadyStored => {
                let refusals = self.flow.refusals;
                let wait_ms = delay_ms(context.config.retry_delay_ms, refusals, context.random);
                let retry_at_ms = Some(context.now.monotonic_ms + wait_ms);
                self.start_over(context);
                if self.fail_attempt(context.config.max_retries) {
                    transaction.fail_sync(self.id(), error.clone());
                }
                self.flow.retry_at_ms = retry_at_ms;
                self.flow.refusals = refusals.saturating_add(1);
                if refusal.code == ErrorCode::AlreadyStored {
                    transaction.catch_up(self.id());
                } else {
                    transaction.tell(Event::Warning { error });
                }
            }
            // Something has changed that is not known here: it is asked for before more is said.
            ErrorCode::EpochMoved => self.doubt_epoch(context, refused.as_ref(), &error, transaction),
            ErrorCode::MemberRemoved => self.leave_group(context, Membership::Removed, transaction),
            // Nothing of the group is here, and nothing that begins it waits: it will not come to be one of this wallet's by itself.
            ErrorCode::NotAMember if self.is_group() && self.next.log.end() == 0 && self.founding_nonce().is_none() => {
                self.leave_group(context, Membership::Removed, transaction);
            }
            // The id is that of a key that this store does not have.
            ErrorCode::InvalidSignature if context.identity.is_none() => transaction.replace_device(new_device_id(context.random)),
            ErrorCode::NotAMember
            | ErrorCode::LimitReached
            | ErrorCode::RelayRolledBack
            | ErrorCode::RelayForked
            | ErrorCode::InvalidSignature => self.halt(error, transaction),
            _ => match refused {
                Some(refused) if matches!(refused.message.kind, Kind::RESEAL | Kind::ASKS) => {
                    self.give_nothing(context, transaction);
                    transaction.tell(Event::Warning { error });
                }
                Some(refused) if refused.message.kind.is_of_epochs() => {
                    self.doubt_epoch(context, None, &error, transaction);
                    transaction.tell(Event::Warning { error });
                }
                Some(refused) => self.void(context, &refused, error, transaction),
                None => transaction.tell(Event::Warning { error }),
            },
        }
    }

    /// Tells how far the user has read.
    pub(super) fn read_receipt(&self, now: Now) -> Body {
        let ReadMark { message_id, sequence_number } = self.next.read_mark.clone();
        Body::ReadReceipt(ReadReceipt {
            receipts: vec![Receipt {
                message_id,
                status: ReceiptStatus::Read,
                timestamp: Stamp::Iso(now.wall_ms),
                reader_wallet: None,
                device_id: None,
                sequence_number: Some(sequence_number),
            }],
            ..ReadReceipt::default()
        })
    }
}
