//! One session as the client machine holds it: what is stored and what is under way.

use std::collections::VecDeque;

use super::api::{MessageStatus, SyncStats};
use super::operation::{Operation, Totals};
use super::records::{OutboxRecord, SessionRecord};
use super::sorted::Sorted;
use crate::error::SyncError;
use crate::frame::DeviceState;
use crate::ids::MessageId;
use crate::message::Entry;

/// Messages of this wallet whose receipts are still awaited, kept to tell the application of each. Older ones are found by
/// reading the log again.
const AWAITED_RECEIPTS_MAX: usize = 1_000;

pub(super) struct Session {
    pub record: SessionRecord,
    /// By counter.
    pub outbox: Sorted<u64, Entry>,
    /// The records that the outbox is stored in: first and last counter of each. One is swept from the store when all its
    /// messages are in the log; what of it is there by then is known by the log's heads.
    pub outbox_records: VecDeque<(u64, u64)>,
    /// When to look for such records.
    pub sweep_at_ms: Option<u64>,
    /// By the id of the edited message.
    pub versions: Sorted<MessageId, Vec<Entry>>,
    /// Counters up to this one are on disk: only those are transmitted and shown.
    pub stored_counter: u64,
    /// The relay has this device's messages up to this counter, those of the outbox included whose place in the log
    /// is not stored yet.
    pub acknowledged_counter: u64,
    pub flow: Flow,
    pub operation: Option<Operation>,
    pub auto_sync: Option<AutoSync>,
    /// In the order of their ids.
    pub devices: Vec<DeviceState>,
    pub stats: SyncStats,
    pub completed_syncs: u64,
    pub totals: Totals,
    /// Entries of this wallet, by sequence, that others have not read yet.
    pub awaited_receipts: Sorted<u64, MessageId>,
    /// Why it no longer syncs, until the application starts it again.
    pub halted: Option<SyncError>,
    /// How many messages of it wait, as stored: what it was counted for when the application was last told.
    pub told_queue: u64,
}

/// What is under way on the present connection.
#[derive(Default)]
pub(super) struct Flow {
    /// The relay was told that this device is in the session.
    pub joined: bool,
    /// Update frames that are not acknowledged, oldest first.
    pub updates: VecDeque<Update>,
    /// The relay could not take messages: the next attempt.
    pub retry_at_ms: Option<u64>,
    /// Refusals in a row.
    pub refusals: u32,
    /// The `sync_request` that is not fully answered.
    pub request: Option<Request>,
    /// The cursor when it first joined on this connection: a relay that has less was set back. What is imported since does
    /// not count, because the relay may have spoken before.
    pub floor: Option<u64>,
}

pub(super) struct Update {
    pub last_counter: u64,
    pub deadline_ms: u64,
}

pub(super) struct Request {
    pub frame_id: String,
    pub deadline_ms: u64,
    /// The relay's head when it answered first.
    pub head: Option<u64>,
}

pub(super) struct AutoSync {
    pub interval_ms: u64,
    pub next_ms: u64,
}

impl Session {
    pub fn new(record: SessionRecord) -> Self {
        Session {
            stored_counter: record.counter,
            acknowledged_counter: 0,
            record,
            outbox: Sorted::default(),
            outbox_records: VecDeque::new(),
            sweep_at_ms: None,
            versions: Sorted::default(),
            flow: Flow::default(),
            operation: None,
            auto_sync: None,
            devices: Vec::new(),
            stats: SyncStats::default(),
            completed_syncs: 0,
            totals: Totals::default(),
            awaited_receipts: Sorted::default(),
            halted: None,
            told_queue: 0,
        }
    }

    pub fn queued_count(&self) -> u64 {
        self.outbox.count_through(&self.stored_counter) as u64
    }

    /// Takes in stored unsent messages, but for those that are in the stored log already.
    pub fn load_outbox(&mut self, record: OutboxRecord) {
        let (device, logged) = (self.record.device_id.clone(), self.logged_counter());
        let (first, last) = (record.first(), record.entries.last().map_or(0, Entry::counter));
        self.outbox_records.push_back((first, last));
        for entry in record.entries.into_iter().filter(|entry| entry.original_device_id == device && entry.counter() > logged) {
            self.record.counter = self.record.counter.max(entry.counter());
            self.outbox.insert(entry.counter(), entry);
        }
        self.stored_counter = self.record.counter;
        self.sweep_at_ms = self.has_logged_records().then_some(0);
    }

    /// The highest counter of this device in the stored log.
    pub fn logged_counter(&self) -> u64 {
        self.record.heads.get(&self.record.device_id)
    }

    /// Whether the outbox has a record whose messages are all in the log.
    pub fn has_logged_records(&self) -> bool {
        self.outbox_records.front().is_some_and(|(_, last)| *last <= self.logged_counter())
    }

    /// How far a message of the outbox is.
    pub fn queued_status(&self, counter: u64) -> MessageStatus {
        if counter <= self.acknowledged_counter {
            MessageStatus::Sent
        } else if self.flow.updates.back().is_some_and(|update| counter <= update.last_counter) {
            MessageStatus::Sending
        } else {
            MessageStatus::Queued
        }
    }

    /// How far an entry of the log is: by what the wallets that did not write it have.
    pub fn logged_status(&self, sequence: u64, sender_wallet: &str) -> MessageStatus {
        let others = self.record.watermarks.iter().filter(|(wallet, _)| *wallet != sender_wallet);
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

    pub fn await_receipts(&mut self, sequence: u64, id: MessageId) {
        self.awaited_receipts.insert(sequence, id);
        if self.awaited_receipts.len() > AWAITED_RECEIPTS_MAX {
            self.awaited_receipts.pop_first();
        }
    }

    /// What was said on this connection may not have been taken: all of it is to be said again, and asked again.
    pub fn start_over(&mut self) {
        self.flow = Flow { floor: self.flow.floor, ..Flow::default() };
        if let Some(operation) = &mut self.operation {
            operation.head = None;
        }
    }

    /// What another wallet has read is not waited for any more.
    pub fn forget_read(&mut self) {
        let others = self.record.watermarks.iter().filter(|(wallet, _)| *wallet != self.record.wallet);
        let read = others.map(|(_, watermark)| watermark.read).max().unwrap_or(0);
        self.awaited_receipts.remove_through(&read);
    }
}
