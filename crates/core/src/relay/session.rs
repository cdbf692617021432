//! One session as the relay holds it while somebody is attached.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::api::{ConnectionId, DeviceRow, StoredEntry, StoredSession, WatermarkRow};
use super::append::{Append, Update};
use super::chunks::ChunkKey;
use crate::frame::{DeviceState, ReceiptStatus, SyncState};
use crate::ids::{DeviceId, WalletAddress};
use crate::limits::{RECEIPT_WALLETS_MAX, TAIL_ENTRIES_MAX};
use crate::message::Entry;
use crate::vector_clock::VectorClock;
use crate::watermark::Watermark;

pub(super) struct Session {
    /// The last sequence number on disk.
    pub head: u64,
    pub devices: BTreeMap<DeviceId, DeviceRow>,
    /// The highest counter of each device on disk.
    pub heads: VectorClock,
    pub watermarks: BTreeMap<WalletAddress, Watermark>,
    /// Wallets whose devices have stored messages of others which is not told yet: where and by which device.
    pub untold_receipts: BTreeMap<WalletAddress, (ConnectionId, DeviceId)>,
    /// When it will be.
    pub receipts_due_ms: Option<u64>,
    pub attachments: BTreeMap<ConnectionId, Attachment>,
    /// The last entries, ending at `head`.
    pub tail: VecDeque<Arc<TailEntry>>,
    /// Updates that wait for their turn. One append is under way at most, and what waits shares the next.
    pub updates: VecDeque<Update>,
    pub append: Option<Append>,
    /// Parts of the log that the journal is reading, and who waits for each.
    pub reads: BTreeMap<ChunkKey, Vec<ConnectionId>>,
}

pub(super) struct TailEntry {
    pub stored: StoredEntry,
    pub entry: Entry,
}

/// A connection that takes part in a session.
pub(super) struct Attachment {
    pub device_id: DeviceId,
    pub wallet: Option<WalletAddress>,
    /// It announced our rules; otherwise it is a seed client.
    pub v1: bool,
    /// It said which device it is. A seed client that has not is known by its wallet, which others may share.
    pub announced: bool,
    /// What a seed client wrote over this connection and live delivery has not passed yet.
    pub own: BTreeSet<u64>,
    /// Where live delivery goes on; `None` for one that has not asked for it.
    pub live: Option<u64>,
    /// Requests that are not fully answered.
    pub answers: VecDeque<Answer>,
    /// The last entry sent to it, and the last that it says it has stored.
    pub sent_through: u64,
    pub acknowledged_through: u64,
    pub batch_max: usize,
    /// The journal is reading for it.
    pub reading: bool,
    /// A message of a v1 device was not taken: what it sent behind that one is not taken either, because it will come
    /// again, and perhaps under other counters.
    pub refused: bool,
}

/// A request under way.
pub(super) struct Answer {
    /// The frame that asked.
    pub request_id: String,
    /// What is left to send, both ends included.
    pub ranges: VecDeque<(u64, u64)>,
    pub sent: u64,
    pub total: u64,
    /// Whether anything was said: also "nothing is missing" has to be.
    pub begun: bool,
}

impl Session {
    pub fn new(stored: StoredSession) -> Self {
        let mut heads = VectorClock::new();
        for device in &stored.devices {
            // What the journal holds was checked when it was appended.
            let _ = heads.raise(&device.device_id, device.last_counter);
        }
        Session {
            head: stored.head,
            devices: stored.devices.into_iter().map(|device| (device.device_id.clone(), device)).collect(),
            heads,
            watermarks: stored.watermarks.into_iter().map(|row| (row.wallet, row.watermark)).collect(),
            untold_receipts: BTreeMap::new(),
            receipts_due_ms: None,
            attachments: BTreeMap::new(),
            tail: VecDeque::new(),
            updates: VecDeque::new(),
            append: None,
            reads: BTreeMap::new(),
        }
    }

    pub fn is_idle(&self) -> bool {
        let works = !self.updates.is_empty() || self.append.is_some() || !self.reads.is_empty() || self.receipts_due_ms.is_some();
        self.attachments.is_empty() && !works
    }

    pub fn has_seed_clients(&self) -> bool {
        self.attachments.values().any(|attachment| !attachment.v1)
    }

    pub fn extend_tail(&mut self, entries: Vec<TailEntry>) {
        self.tail.extend(entries.into_iter().map(Arc::new));
        while self.tail.len() > TAIL_ENTRIES_MAX {
            self.tail.pop_front();
        }
    }

    /// The entries from `from` on, where the tail holds that one.
    pub fn tail_from(&self, from: u64) -> Option<impl Iterator<Item = &Entry>> {
        let first = self.tail.front()?.stored.sequence;
        let start = usize::try_from(from.checked_sub(first)?).ok().filter(|start| *start < self.tail.len())?;
        Some(self.tail.range(start..).map(|entry| &entry.entry))
    }

    /// Takes in a receipt; says whether it was news.
    pub fn raise_watermark(&mut self, wallet: &str, status: ReceiptStatus, sequence: u64) -> bool {
        if self.watermarks.len() >= RECEIPT_WALLETS_MAX && !self.watermarks.contains_key(wallet) {
            return false;
        }
        self.watermarks.entry(wallet.to_owned()).or_default().raise(status, sequence.min(self.head))
    }

    /// What is kept of a wallet's receipts.
    pub fn watermark_row(&self, wallet: &str) -> Option<WatermarkRow> {
        self.watermarks.get(wallet).map(|watermark| WatermarkRow { wallet: wallet.to_owned(), watermark: *watermark })
    }

    /// Devices as `device_list` has them, those that are connected first: one of them, or all. Clocks only where asked:
    /// copies of all would be devices times devices.
    pub fn device_states(&self, one: Option<&str>, with_clocks: bool) -> Vec<DeviceState> {
        let online: BTreeSet<&str> = self.attachments.values().map(|attachment| attachment.device_id.as_str()).collect();
        let present = |row: &&DeviceRow| !row.retired || online.contains(row.device_id.as_str());
        let wanted = self.devices.values().filter(present).filter(|row| one.is_none_or(|device| row.device_id == device));
        let mut states: Vec<DeviceState> = wanted
            .map(|row| DeviceState {
                device_id: row.device_id.clone(),
                platform: row.platform.clone(),
                last_seen_at: row.last_seen_ms,
                is_online: online.contains(row.device_id.as_str()),
                sync_state: SyncState {
                    last_synced_sequence: row.sync_state.last_synced_sequence,
                    vector_clock: if with_clocks { row.sync_state.vector_clock.clone() } else { VectorClock::new() },
                },
                wallet: row.wallet.clone(),
            })
            .collect();
        states.sort_by_key(|state| !state.is_online);
        states
    }
}
