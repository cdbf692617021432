//! The batch: entries of one session in their one binary form, on the wire, in the stores of both sides and in the
//! relay's answers. What arrives is checked and kept as the bytes it came in.
//!
//! Chat is short, and what stands around a message is long: ids, times. In a batch devices and wallets stand in a table,
//! sequence numbers and counters are implied, times are differences, an id that follows from device and counter is left
//! out, and base64 (what ciphertext is written in) is stored as the bytes that it means. A row may have a block of
//! extensions, which later versions fill and this one keeps. PROTOCOL.md has the layout.

mod decoder;
mod encoder;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::limits::INFLATED_BYTES_MAX;
use crate::list::list;
#[cfg(feature = "relay")]
use crate::wire::put_varint;
use crate::wire::{Malformed, Reader, take_name};
#[cfg(feature = "relay")]
use decoder::Layout;
use decoder::decode;
pub use encoder::Encoder;
pub(crate) use encoder::from_base64;

/// The first byte: another layout would have another.
const LAYOUT: u8 = 2;

/// Of the second byte: the rows are compressed.
const DEFLATED: u8 = 1;

/// What a row says of itself, beside the times and the text that every row has. The frequent ones fit one byte.
mod row {
    /// Another device than in the row before.
    pub const DEVICE: u64 = 1;
    /// The text is base64 of what is stored.
    pub const BASE64: u64 = 1 << 1;
    /// It knows what the row before knows. Only in a log; elsewhere that is what is expected.
    pub const KNOWS_SAME: u64 = 1 << 2;
    /// It says what it knows: it is not what is expected.
    pub const KNOWS: u64 = 1 << 3;
    /// Another wallet than the device's.
    pub const WALLET: u64 = 1 << 4;
    /// An id of another form than our own.
    pub const ID: u64 = 1 << 5;
    /// The stamp is a number of milliseconds, not text.
    pub const MILLIS: u64 = 1 << 6;
    /// The counter is not the next of its device.
    pub const COUNTER: u64 = 1 << 7;
    /// Its author knew something beside the log.
    pub const ALSO: u64 = 1 << 8;
    /// It is no message but an entry of another kind.
    pub const KIND: u64 = 1 << 9;
    pub const CONTENT_TYPE: u64 = 1 << 10;
    pub const REPLACES: u64 = 1 << 11;
    /// The stamp is a text of another form than ours; with `MILLIS` another number, in decimal.
    pub const STAMP: u64 = 1 << 12;
    /// Fields that we know nothing of, as JSON.
    pub const EXTRA: u64 = 1 << 13;
    /// A block of what later versions say.
    pub const EXTENSIONS: u64 = 1 << 14;
    /// All of them; another bit is of a layout that we do not know.
    pub const KNOWN: u64 = (1 << 15) - 1;
}

/// A batch, possibly empty. Its bytes are shared, not copied, when it is cloned.
///
/// In a log the sequence numbers follow each other from the first. Messages that have none yet are numbered 0, all of
/// them, and their `server_timestamp` is when they were queued.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch(Arc<[u8]>);

impl Batch {
    /// All of `entries`, which are of one session.
    ///
    /// # Errors
    /// Where they are not, or do not fit (see [`Encoder::push`]).
    pub fn of(entries: &[Entry]) -> Result<Batch, Malformed> {
        let Some(first) = entries.first() else { return Ok(Batch::default()) };
        let mut encoder = Encoder::new(first, INFLATED_BYTES_MAX);
        for entry in entries {
            if !encoder.push(entry) {
                return Err(Malformed(&"entries of one batch do not follow each other, or are too many"));
            }
        }
        Ok(encoder.finish())
    }

    /// As few batches as may be of entries that follow each other, each of about `bytes_max` at most, with the entries
    /// that it holds.
    pub fn split(mut entries: &[Entry], bytes_max: usize) -> impl Iterator<Item = (&[Entry], Batch)> {
        std::iter::from_fn(move || {
            let mut encoder = Encoder::new(entries.first()?, bytes_max);
            let count = entries.iter().take_while(|entry| encoder.push(entry)).count();
            let taken = entries.split_off(..count.max(1))?;
            Some((taken, encoder.finish()))
        })
    }

    /// Takes bytes that came from outside; they are read with [`Batch::entries`].
    pub fn from_bytes(bytes: &[u8]) -> Batch {
        Batch(bytes.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no message in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The session that it names; `None` for bytes that are no batch, or an empty one.
    pub fn session(&self) -> Option<String> {
        let mut reader = Reader(self.0.get(2..)?);
        take_name(&mut reader).ok()
    }

    /// Every entry, in order.
    ///
    /// # Errors
    /// For anything that no encoder writes, and for what would grow above the limits (`limits.rs`): a count above
    /// [`BATCH_MESSAGES_MAX`](crate::limits::BATCH_MESSAGES_MAX), rows above [`INFLATED_BYTES_MAX`].
    pub fn entries(&self) -> Result<Vec<Entry>, Malformed> {
        if self.is_empty() { Ok(Vec::new()) } else { decode(&self.0) }
    }

    /// The same with its rows compressed, where that makes it smaller by a tenth at least.
    #[cfg(feature = "relay")]
    #[must_use]
    pub fn deflate(&self) -> Batch {
        /// Shorter ones fit one network packet either way.
        const ROWS_BYTES_MIN: usize = 1_024;
        /// Rows that do not begin to shrink are not tried further: ciphertext does not.
        const SAMPLE_BYTES: usize = 4_096;
        /// Of `deflate`: beyond it little is won on chat, for much more time.
        const LEVEL: u8 = 5;
        let pays = |rows: &[u8], deflated: &[u8]| deflated.len() * 10 <= rows.len() * 9;
        let Ok(Layout { tables_end, flags: 0, rows, .. }) = Layout::of(&self.0) else { return self.clone() };
        if rows.len() < ROWS_BYTES_MIN {
            return self.clone();
        }
        if rows.len() > SAMPLE_BYTES {
            let sample = &rows[rows.len() - SAMPLE_BYTES..];
            if !pays(sample, &miniz_oxide::deflate::compress_to_vec(sample, 1)) {
                return self.clone();
            }
        }
        let deflated = miniz_oxide::deflate::compress_to_vec(rows, LEVEL);
        if !pays(rows, &deflated) {
            return self.clone();
        }
        let mut bytes = self.0[..tables_end].to_vec();
        bytes[1] |= DEFLATED;
        put_varint(&mut bytes, rows.len() as u64);
        bytes.extend_from_slice(&deflated);
        Batch(bytes.into())
    }
}

/// In JSON a batch is the list of its entries.
impl Serialize for Batch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.entries().map_err(|Malformed(what)| serde::ser::Error::custom(what))?;
        entries.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: Vec<Entry> = list(deserializer)?;
        Batch::of(&entries).map_err(|Malformed(what)| serde::de::Error::custom(what))
    }
}

/// What a row is a difference to.
#[derive(Default, Clone, Copy)]
struct Before {
    device: usize,
    knows: u64,
    stamp_ms: u64,
    server_ms: Option<u64>,
}

#[cfg(test)]
mod tests;
