//! A stored batch of the log: how far one can look back from it, and how small ones become one.

use super::records::BATCH_BYTES_MAX;
use crate::batch::Batch;
use crate::entry::Entry;
use crate::error::SyncError;
use crate::ids::SessionId;
use crate::log::clock_from;
use crate::vector_clock::VectorClock;
use crate::wire::{Malformed, Record, record};

/// A batch of the log: entries `first` to `last` without holes.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// Its session.
    pub session_id: SessionId,
    /// The first sequence number.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The highest counter of each device before `first`: finds a message by (device, counter) without an index. `None`
    /// where it was not stored: then the batch before tells it ([`follow`](LogRecord::follow)).
    pub heads_before: Option<VectorClock>,
    /// The entries, as they came.
    pub batch: Batch,
}

impl LogRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (first, last, batch, follows) = (self.first, self.last, self.batch.clone(), self.heads_before.is_none());
        StoredLog { first, last, heads_before: self.heads_before.clone().unwrap_or_default(), batch, follows }.encode()
    }

    /// Reads that. The entries stay as they are.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(session_id: &str, bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredLog { first, last, heads_before, batch, follows } = StoredLog::decode(bytes).map_err(Malformed::in_store)?;
        Ok(LogRecord { session_id: session_id.to_owned(), first, last, heads_before: (!follows).then_some(heads_before), batch })
    }

    /// Finds its heads, where they were not stored, by the batch before it.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn follow(&mut self, before: &LogRecord) -> Result<(), SyncError> {
        if self.heads_before.is_none() {
            let mut heads = before.heads_before.clone();
            for entry in before.entries()? {
                // They were checked when they came, so their counters fit.
                let _ = heads.as_mut().map(|heads| heads.raise(&entry.device_id, entry.counter));
            }
            self.heads_before = heads;
        }
        Ok(())
    }

    /// The entries, in order.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn entries(&self) -> Result<Vec<Entry>, SyncError> {
        self.batch.entries().map_err(Malformed::in_store)
    }

    /// The vector clocks of entries that know as much as this batch lets one look back, in their order; `None` for others.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn clocks_of<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Result<Vec<Option<VectorClock>>, SyncError> {
        let own = self.entries()?;
        let clock = |entry: &Entry| {
            let mut known = self.heads_before.clone()?;
            let back = entry.knows.checked_sub(self.first.saturating_sub(1)).filter(|_| entry.knows <= self.last)?;
            for before in own.iter().take(usize::try_from(back).ok()?) {
                // They were checked when they came, so their counters fit.
                let _ = known.raise(&before.device_id, before.counter);
            }
            Some(clock_from(known, entry))
        };
        Ok(entries.map(clock).collect())
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
        let heads_before = first.heads_before.clone().ok_or(Malformed(&"a batch has no heads").in_store())?;
        if !entries.iter().zip(first.first..).all(|(entry, sequence)| entry.sequence_number == sequence) {
            return Err(Malformed(&"batches do not follow each other").in_store());
        }
        Ok(LogRecord::of(&entries, heads_before))
    }

    /// As few batches as may be of entries that follow each other.
    pub(super) fn of(entries: &[Entry], mut heads: VectorClock) -> Vec<LogRecord> {
        let mut records = Vec::new();
        for (taken, batch) in Batch::split(entries, BATCH_BYTES_MAX) {
            let (Some(first), Some(last)) = (taken.first(), taken.last()) else { continue };
            let heads_before = Some(heads.clone());
            for entry in taken {
                // They were checked when they came, so their counters fit.
                let _ = heads.raise(&entry.device_id, entry.counter);
            }
            let session_id = first.message.session_id.clone();
            records.push(LogRecord { session_id, first: first.sequence_number, last: last.sequence_number, heads_before, batch });
        }
        records
    }
}

#[derive(Default)]
struct StoredLog {
    first: u64,
    last: u64,
    heads_before: VectorClock,
    batch: Batch,
    follows: bool,
}

record!(StoredLog { 1 => first, 2 => last, 3 => heads_before, 4 => batch, 5 => follows });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::records::tests::entry;

    #[test]
    fn a_log_record_gives_clocks_only_within_its_range() {
        let entries = [entry(4, "a", 2, 3), entry(5, "b", 2, 3), entry(6, "a", 3, 5)];
        let heads_before: VectorClock = r#"{"a":1,"b":1}"#.parse().unwrap();
        let record = LogRecord::of(&entries, heads_before).pop().unwrap();
        let clock = |knows: u64| {
            let clocks = record.clocks_of([entry(0, "c", 1, knows)].iter()).unwrap();
            clocks[0].as_ref().map(ToString::to_string)
        };
        assert_eq!((clock(2), clock(7)), (None, None));
        assert_eq!(clock(3).as_deref(), Some(r#"{"a":1,"b":1,"c":1}"#));
        assert_eq!(clock(5).as_deref(), Some(r#"{"a":2,"b":2,"c":1}"#));
        assert_eq!(clock(6).as_deref(), Some(r#"{"a":3,"b":2,"c":1}"#));
    }
}
