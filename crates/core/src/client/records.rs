//! What a device stores, and the bytes that it is stored as. Keys stand in the store's description (ARCHITECTURE.md).

use crate::batch::Batch;
use crate::error::SyncError;
use crate::ids::{DeviceId, MessageId, SessionId, WalletAddress};
use crate::limits::RECEIPT_WALLETS_MAX;
use crate::message::Entry;
use crate::vector_clock::VectorClock;
use crate::watermark::Watermark;
use crate::wire::{Field, Malformed, Record, Value, bytes_of, nested, record};

/// Bytes of a stored batch: few enough to be read for one message, enough to make few records.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Who this database is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceRecord {
    /// Its id.
    pub device_id: DeviceId,
}

/// A session as one device has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionRecord {
    /// Its id.
    pub session_id: SessionId,
    /// The wallet of this device.
    pub wallet: WalletAddress,
    /// The other one.
    pub peer_wallet: WalletAddress,
    /// What this device is called here: as its database is, or otherwise since another was found to write under that name.
    pub device_id: DeviceId,
    /// Between `startSession` and `endSession`.
    pub open: bool,
    /// Every entry up to this one is stored (I7).
    pub cursor: u64,
    /// The last counter that this device has used.
    pub counter: u64,
    /// The highest counter of each device among the stored entries.
    pub heads: VectorClock,
    /// What other wallets have delivered and read.
    pub watermarks: Watermarks,
    /// The last message that the user has seen here: told to the relay at every connection.
    pub read_mark: ReadMark,
    /// When the last sync was complete, by the wall clock; 0 for never.
    pub last_sync_ms: u64,
    /// The small batches at the end of the log that are not joined yet: the first sequence number, and how many.
    pub small_first: u64,
    /// See `small_first`.
    pub small_count: u64,
}

/// A message that the user has seen, and its place; nothing where the place is 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadMark {
    /// The message.
    pub message_id: MessageId,
    /// Its place in the log.
    pub sequence_number: u64,
}

/// Receipts by wallet. A session has two and is kept from having many, so a list will do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watermarks(Vec<(WalletAddress, Watermark)>);

impl Watermarks {
    /// Those of a wallet, made where there are none.
    pub fn of(&mut self, wallet: &str) -> &mut Watermark {
        let place = self.0.iter().position(|(other, _)| other == wallet).unwrap_or_else(|| {
            self.0.push((wallet.to_owned(), Watermark::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    /// Whether one more wallet may be kept, or this one is.
    pub(super) fn has_room_for(&self, wallet: &str) -> bool {
        self.0.len() < RECEIPT_WALLETS_MAX || self.0.iter().any(|(other, _)| other == wallet)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Watermark)> {
        self.0.iter().map(|(wallet, watermark)| (wallet.as_str(), *watermark))
    }
}

/// Messages that were queued in one commit, and that the relay has not acknowledged or whose places in the log are not
/// stored yet, at least the last of them. They have no sequence numbers; `server_timestamp` is when they were queued.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRecord {
    /// Their session.
    pub session_id: SessionId,
    /// The messages, one counter after the other.
    pub entries: Vec<Entry>,
}

/// A batch of the log: entries `first` to `last` without holes.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// Its session.
    pub session_id: SessionId,
    /// The first sequence number.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The highest counter of each device before `first`: finds a message by (device, counter) without an index.
    pub heads_before: VectorClock,
    /// The entries, as they came.
    pub batch: Batch,
}

/// The versions of one edited message that no other version supersedes: more than one is a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionsRecord {
    /// Its session.
    pub session_id: SessionId,
    /// The message that was edited.
    pub message_id: MessageId,
    /// The versions.
    pub versions: Vec<Entry>,
}

impl DeviceRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR` for bytes that were not written by `to_bytes`; so for all records.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        Self::decode(bytes).map_err(Malformed::in_store)
    }
}

impl SessionRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        Self::decode(bytes).map_err(Malformed::in_store)
    }
}

impl LogRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        StoredLog { first: self.first, last: self.last, heads_before: self.heads_before.clone(), batch: self.batch.clone() }.encode()
    }

    /// Reads that. The entries stay as they are.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(session_id: &str, bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredLog { first, last, heads_before, batch } = StoredLog::decode(bytes).map_err(Malformed::in_store)?;
        Ok(LogRecord { session_id: session_id.to_owned(), first, last, heads_before, batch })
    }

    /// The entries, in order.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn entries(&self) -> Result<Vec<Entry>, SyncError> {
        self.batch.entries().map_err(Malformed::in_store)
    }

    /// One batch, or as few as may be, of batches that follow each other.
    ///
    /// # Errors
    /// `STORAGE_ERROR` where they do not, or cannot be read: they stay as they are then.
    pub fn join(records: &[LogRecord]) -> Result<Vec<LogRecord>, SyncError> {
        let mut entries = Vec::new();
        for record in records {
            entries.extend(record.entries()?);
        }
        let Some(first) = records.first() else { return Ok(Vec::new()) };
        if !entries.iter().zip(first.first..).all(|(entry, sequence)| entry.sequence_number == sequence) {
            return Err(Malformed("batches do not follow each other").in_store());
        }
        Ok(LogRecord::of(&entries, first.heads_before.clone()))
    }

    /// As few batches as may be of entries that follow each other.
    pub(super) fn of(entries: &[Entry], mut heads: VectorClock) -> Vec<LogRecord> {
        let mut records = Vec::new();
        for (taken, batch) in Batch::split(entries, BATCH_BYTES_MAX) {
            let (Some(first), Some(last)) = (taken.first(), taken.last()) else { continue };
            let heads_before = heads.clone();
            for entry in taken {
                // They were checked when they came, so their counters fit.
                let _ = heads.raise(&entry.original_device_id, entry.counter());
            }
            let session_id = first.message.session_id.clone();
            records.push(LogRecord { session_id, first: first.sequence_number, last: last.sequence_number, heads_before, batch });
        }
        records
    }
}

impl VersionsRecord {
    /// Its stored form. The versions lose their places in the log, which play no part in a conflict.
    pub fn to_bytes(&self) -> Vec<u8> {
        let versions = self.versions.iter().map(|version| Entry { sequence_number: 0, ..version.clone() });
        let versions: Vec<Entry> = versions.collect();
        let batches = Batch::split(&versions, BATCH_BYTES_MAX).map(|(_, batch)| batch).collect();
        StoredVersions { message_id: self.message_id.clone(), batches }.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredVersions { message_id, batches } = StoredVersions::decode(bytes).map_err(Malformed::in_store)?;
        let (session_id, versions) = entries_of(batches)?;
        Ok(VersionsRecord { session_id, message_id, versions })
    }
}

impl OutboxRecord {
    /// The counter of its first message.
    pub fn first(&self) -> u64 {
        self.entries.first().map_or(0, Entry::counter)
    }

    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let batches = Batch::split(&self.entries, BATCH_BYTES_MAX).map(|(_, batch)| batch).collect();
        StoredOutbox { batches }.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredOutbox { batches } = StoredOutbox::decode(bytes).map_err(Malformed::in_store)?;
        let (session_id, entries) = entries_of(batches)?;
        Ok(OutboxRecord { session_id, entries })
    }
}

/// The entries of some batches, and their session.
fn entries_of(batches: Vec<Batch>) -> Result<(SessionId, Vec<Entry>), SyncError> {
    let mut entries = Vec::new();
    for batch in batches {
        entries.extend(batch.entries().map_err(Malformed::in_store)?);
    }
    let first = entries.first().ok_or(Malformed("it is empty").in_store())?;
    Ok((first.message.session_id.clone(), entries))
}

#[derive(Default)]
struct StoredLog {
    first: u64,
    last: u64,
    heads_before: VectorClock,
    batch: Batch,
}

#[derive(Default)]
struct StoredOutbox {
    batches: Vec<Batch>,
}

#[derive(Default)]
struct StoredVersions {
    message_id: MessageId,
    batches: Vec<Batch>,
}

#[derive(Default)]
struct StoredWatermark {
    wallet: WalletAddress,
    delivered: u64,
    read: u64,
}

record!(DeviceRecord { 1 => device_id });
record!(SessionRecord {
    1 => session_id,
    2 => wallet,
    3 => peer_wallet,
    4 => open,
    5 => cursor,
    6 => counter,
    7 => heads,
    8 => watermarks,
    9 => read_mark,
    10 => last_sync_ms,
    11 => small_first,
    12 => small_count,
    13 => device_id,
});
record!(ReadMark { 1 => message_id, 2 => sequence_number });
record!(StoredLog { 1 => first, 2 => last, 3 => heads_before, 4 => batch });
record!(StoredOutbox { 1 => batches });
record!(StoredVersions { 1 => message_id, 2 => batches });
record!(StoredWatermark { 1 => wallet, 2 => delivered, 3 => read });
nested!(ReadMark);

impl Field for Vec<Batch> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        self.iter().for_each(|batch| batch.put(number, out));
    }

    fn take(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        self.push(Batch::from_bytes(bytes_of(value)?));
        Ok(())
    }
}

impl Field for Watermarks {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for (wallet, Watermark { delivered, read }) in self.iter() {
            crate::wire::put_block(number, &StoredWatermark { wallet: wallet.to_owned(), delivered, read }.encode(), out);
        }
    }

    fn take(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let StoredWatermark { wallet, delivered, read } = StoredWatermark::decode(bytes_of(value)?)?;
        *self.of(&wallet) = Watermark { delivered, read };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    #[test]
    fn stored_versions_lose_their_places_in_the_log() {
        let version = |device: &str, sequence_number| {
            let mut vector_clock = VectorClock::new();
            vector_clock.tick(device).unwrap();
            let message = Message { id: device.into(), session_id: "s".into(), replaces: Some("m".into()), ..Message::default() };
            Entry { message, sequence_number, vector_clock, server_timestamp: 7, original_device_id: device.into() }
        };
        let record = |versions| VersionsRecord { session_id: "s".into(), message_id: "m".into(), versions };
        let stored = record(vec![version("a", 5), version("b", 3)]).to_bytes();
        assert_eq!(VersionsRecord::from_bytes(&stored), Ok(record(vec![version("a", 0), version("b", 0)])));
    }
}
