//! Entries made into a batch, one by one.

use base64ct::{Base64, Encoding as _};

use super::{Batch, Before, LAYOUT, row};
use crate::entry::Entry;
use crate::ids::start_of;
use crate::limits::BATCH_MESSAGES_MAX;
use crate::message::{Kind, Stamp};
use crate::wire::{put_bytes, put_name, put_signed, put_varint};

/// Names in the order in which they were met.
struct Table<K> {
    names: Vec<K>,
    /// Places in `names`, in the order of the names.
    sorted: Vec<usize>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Table { names: Vec::new(), sorted: Vec::new() }
    }
}

impl<K: Ord> Table<K> {
    fn place(&mut self, name: K) -> usize {
        match self.sorted.binary_search_by(|place| self.names[*place].cmp(&name)) {
            Ok(found) => self.sorted[found],
            Err(gap) => {
                self.names.push(name);
                self.sorted.insert(gap, self.names.len() - 1);
                self.names.len() - 1
            }
        }
    }

    fn truncate(&mut self, count: usize) {
        if self.names.len() > count {
            self.names.truncate(count);
            self.sorted.retain(|place| *place < count);
        }
    }
}

/// A device of the table, and what its next row is expected to say.
struct Writer {
    /// Its wallet: that of its first row.
    wallet: usize,
    /// The counter before its first row.
    before_first: u64,
    /// The counter of its last row.
    counter: u64,
}

/// Makes a batch, entry by entry.
pub struct Encoder<'a> {
    session: &'a str,
    first: u64,
    bytes_max: usize,
    count: usize,
    wallets: Table<&'a str>,
    /// A device and the start in the ids of its messages.
    devices: Table<(&'a str, &'a str)>,
    /// By their places in `devices`.
    writers: Vec<Writer>,
    tables_bytes: usize,
    rows: Vec<u8>,
    texts: Vec<u8>,
    before: Before,
}

impl<'a> Encoder<'a> {
    /// A batch that begins with this entry (which is not pushed yet), of about `bytes_max` at most.
    pub fn new(first: &'a Entry, bytes_max: usize) -> Self {
        Encoder {
            session: &first.message.session_id,
            first: first.sequence_number,
            bytes_max,
            count: 0,
            wallets: Table::default(),
            devices: Table::default(),
            writers: Vec::new(),
            tables_bytes: 0,
            rows: Vec::new(),
            texts: Vec::new(),
            before: Before::default(),
        }
    }

    /// So many bytes of the frame are for something else.
    #[cfg(feature = "relay")]
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes_max = self.bytes_max.saturating_sub(bytes);
    }

    /// Adds an entry. `false`, and nothing has changed: it does not follow the one before, no reader would take it, or
    /// the batch would have more than [`BATCH_MESSAGES_MAX`] entries or the bytes it may have (the first entry fits in any
    /// case).
    #[must_use]
    pub fn push(&mut self, entry: &'a Entry) -> bool {
        let message = &entry.message;
        let sequence = if self.first == 0 { 0 } else { self.first + self.count as u64 };
        let follows = entry.sequence_number == sequence && message.session_id == self.session;
        if !follows || !entry.is_readable() || self.count >= BATCH_MESSAGES_MAX {
            return false;
        }
        let (wallets, devices) = (self.wallets.names.len(), self.devices.names.len());
        let (rows, texts, tables_bytes, before) = (self.rows.len(), self.texts.len(), self.tables_bytes, self.before);
        let device = self.put(entry);
        if self.count > 0 && self.tables_bytes + self.rows.len() + self.texts.len() > self.bytes_max {
            self.wallets.truncate(wallets);
            self.devices.truncate(devices);
            self.writers.truncate(devices);
            self.rows.truncate(rows);
            self.texts.truncate(texts);
            (self.tables_bytes, self.before) = (tables_bytes, before);
            return false;
        }
        // Only now: what was put and taken back must leave no trace.
        self.writers[device].counter = entry.counter;
        self.count += 1;
        true
    }

    /// Adds its row and its text; gives the place of its device.
    fn put(&mut self, entry: &'a Entry) -> usize {
        let message = &entry.message;
        let wallets = self.wallets.names.len();
        let wallet = self.wallets.place(&message.sender_wallet);
        if wallet == wallets {
            self.tables_bytes += message.sender_wallet.len() + 3;
        }
        let start = start_of(&message.id, self.session, &entry.device_id, entry.counter);
        let device = self.devices.place((&entry.device_id, start.unwrap_or_default()));
        if device == self.writers.len() {
            let before_first = entry.counter - 1;
            self.writers.push(Writer { wallet, before_first, counter: before_first });
            self.tables_bytes += entry.device_id.len() + start.map_or(0, str::len) + 6;
        }
        let writer = &self.writers[device];

        let mut kind = 0;
        let mut rest = Vec::with_capacity(64);
        if device != self.before.device {
            kind |= row::DEVICE;
            put_varint(&mut rest, device as u64);
        }
        if entry.counter != writer.counter + 1 {
            kind |= row::COUNTER;
            put_signed(&mut rest, entry.counter.wrapping_sub(writer.counter + 1).cast_signed());
        }
        match self.expected_knows(entry.sequence_number) {
            expected if expected == entry.knows => {}
            _ if self.first > 0 && entry.knows == self.before.knows => kind |= row::KNOWS_SAME,
            _ => {
                kind |= row::KNOWS;
                put_varint(&mut rest, if self.first == 0 { entry.knows } else { entry.sequence_number - 1 - entry.knows });
            }
        }
        if !entry.also.is_empty() {
            kind |= row::ALSO;
            put_varint(&mut rest, entry.also.len() as u64);
            for (device, counter) in entry.also.iter() {
                put_bytes(&mut rest, device.as_bytes());
                put_varint(&mut rest, counter);
            }
        }
        if message.kind != Kind::MESSAGE {
            kind |= row::KIND;
            put_varint(&mut rest, u64::from(message.kind.0));
        }
        if start.is_none() {
            kind |= row::ID;
            put_bytes(&mut rest, message.id.as_bytes());
        }
        if let Some(content_type) = &message.content_type {
            kind |= row::CONTENT_TYPE;
            put_bytes(&mut rest, content_type.as_bytes());
        }
        if let Some(replaces) = &message.replaces {
            kind |= row::REPLACES;
            put_bytes(&mut rest, replaces.as_bytes());
        }
        if writer.wallet != wallet {
            kind |= row::WALLET;
            put_varint(&mut rest, wallet as u64);
        }
        if !message.extra.is_empty() {
            kind |= row::EXTRA;
            put_bytes(&mut rest, message.extra.as_str().as_bytes());
        }
        if !entry.extensions.is_empty() {
            kind |= row::EXTENSIONS;
            put_bytes(&mut rest, entry.extensions.bytes());
        }
        match &message.timestamp {
            Stamp::Text(stamp) => {
                kind |= row::STAMP;
                put_bytes(&mut rest, stamp.as_bytes());
            }
            Stamp::Number(number) => {
                kind |= row::STAMP | row::MILLIS;
                rest.extend_from_slice(&number.to_be_bytes());
            }
            Stamp::Millis(ms) | Stamp::Iso(ms) => {
                if matches!(message.timestamp, Stamp::Millis(_)) {
                    kind |= row::MILLIS;
                }
                put_signed(&mut rest, ms.wrapping_sub(self.before.stamp_ms).cast_signed());
                self.before.stamp_ms = *ms;
            }
        }
        let server_before = self.before.server_ms.unwrap_or(self.before.stamp_ms);
        put_signed(&mut rest, entry.server_timestamp.wrapping_sub(server_before).cast_signed());
        let texts = self.texts.len();
        match from_base64(&message.ciphertext) {
            Some(bytes) => {
                kind |= row::BASE64;
                self.texts.extend_from_slice(&bytes);
            }
            None => self.texts.extend_from_slice(message.ciphertext.as_bytes()),
        }
        put_varint(&mut rest, (self.texts.len() - texts) as u64);
        put_varint(&mut self.rows, kind);
        self.rows.extend_from_slice(&rest);
        self.before = Before { device, knows: entry.knows, server_ms: Some(entry.server_timestamp), ..self.before };
        device
    }

    /// What an entry is expected to know: in a log all that is before it, elsewhere what the one before it knows.
    fn expected_knows(&self, sequence: u64) -> u64 {
        sequence.checked_sub(1).unwrap_or(self.before.knows)
    }

    /// The batch of what was pushed.
    pub fn finish(self) -> Batch {
        let mut bytes = Vec::with_capacity(self.session.len() + self.tables_bytes + self.rows.len() + self.texts.len() + 16);
        bytes.extend([LAYOUT, 0]);
        put_name(&mut bytes, self.session);
        put_varint(&mut bytes, self.first);
        put_varint(&mut bytes, self.count as u64);
        put_varint(&mut bytes, self.wallets.names.len() as u64);
        for wallet in &self.wallets.names {
            put_name(&mut bytes, wallet);
        }
        put_varint(&mut bytes, self.devices.names.len() as u64);
        for ((device, start), writer) in self.devices.names.iter().zip(&self.writers) {
            put_bytes(&mut bytes, device.as_bytes());
            put_bytes(&mut bytes, start.as_bytes());
            put_varint(&mut bytes, writer.wallet as u64);
            put_varint(&mut bytes, writer.before_first);
        }
        put_bytes(&mut bytes, &self.rows);
        bytes.extend_from_slice(&self.texts);
        Batch(bytes.into())
    }
}

/// What base64 stands for, where it is long enough to gain by it. No two texts stand for the same bytes: what no encoder
/// writes is not decoded.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let may_be = text.len() >= 8 && text.len().is_multiple_of(4) && !text.as_bytes().contains(&b' ');
    if may_be { Base64::decode_vec(text).ok() } else { None }
}
