//! The batch: entries of one session in their one binary form, on the wire, in the stores of both sides and in the
//! relay's answers. What arrives is checked and kept as the bytes it came in.
//!
//! Chat is short, and what stands around a message is long: ids, times. In a batch devices and wallets stand in a table,
//! sequence numbers and counters are implied, times are differences, an id that follows from device and counter is left
//! out, and base64 (what ciphertext is written in) is stored as the bytes that it means. A row may have a block of
//! extensions, which later versions fill and this one keeps. PROTOCOL.md has the layout.

use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Extensions};
use crate::ids::{is_start, message_id, start_of};
use crate::limits::{ALSO_MAX, BATCH_MESSAGES_MAX, EXTENSIONS_BYTES_MAX, ID_BYTES_MAX, INFLATED_BYTES_MAX, INTEGER_MAX, SEQUENCE_MAX};
use crate::list::list;
use crate::message::{Kind, Message, Stamp};
use crate::vector_clock::VectorClock;
use crate::wire::{Malformed, Reader, put_bytes, put_name, put_signed, put_varint, take_name, text};

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
                return Err(Malformed("entries of one batch do not follow each other, or are too many"));
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
    /// [`BATCH_MESSAGES_MAX`], rows above [`INFLATED_BYTES_MAX`].
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

/// What a row is a difference to.
#[derive(Default, Clone, Copy)]
struct Before {
    device: usize,
    knows: u64,
    stamp_ms: u64,
    server_ms: Option<u64>,
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

/// A device of a batch's table, as it is read.
struct Device {
    id: String,
    start: String,
    wallet: usize,
    /// Of its last row so far.
    counter: u64,
}

/// The parts of a batch's bytes.
struct Layout<'a> {
    flags: u8,
    session: String,
    first: u64,
    count: usize,
    wallets: Vec<String>,
    devices: Vec<Device>,
    /// Where the rows begin, as they are.
    #[cfg(feature = "relay")]
    tables_end: usize,
    rows: &'a [u8],
}

impl<'a> Layout<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        if reader.byte()? != LAYOUT {
            return Err(Malformed("a batch of a layout that this version does not know"));
        }
        let flags = reader.byte()?;
        if flags & !DEFLATED != 0 {
            return Err(Malformed("a batch of a kind that this version does not know"));
        }
        let session = take_name(&mut reader)?;
        let first = reader.varint()?;
        let count = reader.below(BATCH_MESSAGES_MAX + 1)?;
        if first > SEQUENCE_MAX && count > 0 {
            return Err(Malformed("a sequence number is above 2^53 - 1"));
        }
        let wallets = reader.below(BATCH_MESSAGES_MAX + 1)?;
        let wallets = (0..wallets).map(|_| take_name(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        let devices = reader.below(BATCH_MESSAGES_MAX + 1)?;
        let mut device = || -> Result<Device, Malformed> {
            let id = short(reader.text()?)?.to_owned();
            let start = reader.text()?;
            if !start.is_empty() && !is_start(start) {
                return Err(Malformed("a start is not six letters and digits"));
            }
            Ok(Device { id, start: start.to_owned(), wallet: reader.below(wallets.len())?, counter: reader.varint()? })
        };
        let devices = (0..devices).map(|_| device()).collect::<Result<Vec<_>, _>>()?;
        Ok(Layout {
            flags,
            session,
            first,
            count,
            wallets,
            devices,
            #[cfg(feature = "relay")]
            tables_end: bytes.len() - reader.0.len(),
            rows: reader.0,
        })
    }
}

fn decode(bytes: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let layout = Layout::of(bytes)?;
    if layout.flags & DEFLATED == 0 {
        let rows = layout.rows;
        return decode_rows(layout, rows);
    }
    let mut reader = Reader(layout.rows);
    let size = reader.below(INFLATED_BYTES_MAX + 1)?;
    let mut rows = vec![0; size];
    let inflated = miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut rows, std::iter::once(reader.0), false, true);
    if inflated != Ok(size) {
        return Err(Malformed("the rows of a batch do not inflate to the size they name"));
    }
    decode_rows(layout, &rows)
}

fn decode_rows(layout: Layout<'_>, rows: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let Layout { session, first, count, wallets, mut devices, .. } = layout;
    let mut texts = Reader(rows);
    let mut reader = Reader(texts.bytes()?);
    let mut before = Before::default();
    let mut entries = Vec::with_capacity(count);
    for number in 0..count as u64 {
        let kind = reader.varint()?;
        if kind & !row::KNOWN != 0 {
            return Err(Malformed("a row of a kind that this version does not know"));
        }
        let has = |bit| kind & bit != 0;
        let sequence_number = if first == 0 { 0 } else { first + number };
        let place = if has(row::DEVICE) { reader.below(devices.len())? } else { before.device };
        let device = devices.get_mut(place).ok_or(Malformed("a row names no device"))?;
        let change = if has(row::COUNTER) { reader.signed()? } else { 0 };
        let counter = device.counter.checked_add(1).and_then(|next| next.checked_add_signed(change));
        let counter = counter.filter(|counter| (1..=INTEGER_MAX).contains(counter)).ok_or(Malformed("a counter is out of range"))?;
        device.counter = counter;
        let knows = if has(row::KNOWS) {
            let said = reader.varint()?;
            if first == 0 { Some(said) } else { (sequence_number - 1).checked_sub(said) }
        } else if has(row::KNOWS_SAME) || first == 0 {
            Some(before.knows)
        } else {
            Some(sequence_number - 1)
        };
        let knows = knows.filter(|knows| *knows <= INTEGER_MAX).ok_or(Malformed("an entry knows what is out of range"))?;
        let mut also = VectorClock::new();
        if has(row::ALSO) {
            for _ in 0..reader.below(ALSO_MAX + 1)? {
                let device = short(reader.text()?)?;
                also.raise(device, reader.varint()?).map_err(|_| Malformed("a counter is out of range"))?;
            }
        }
        let entry_kind =
            if has(row::KIND) { u32::try_from(reader.varint()?).map_err(|_| Malformed("a kind is out of range"))? } else { 0 };
        let id = if has(row::ID) { reader.text()?.to_owned() } else { message_id(&session, &device.id, &device.start, counter) };
        let content_type = if has(row::CONTENT_TYPE) { Some(reader.text()?.to_owned()) } else { None };
        let replaces = if has(row::REPLACES) { Some(reader.text()?.to_owned()) } else { None };
        let wallet = if has(row::WALLET) { reader.below(wallets.len())? } else { device.wallet };
        let extra = if has(row::EXTRA) { reader.text()? } else { "" };
        let extensions = if has(row::EXTENSIONS) { reader.bytes()? } else { &[] };
        if extensions.len() > EXTENSIONS_BYTES_MAX {
            return Err(Malformed("the extensions of an entry are larger than the limit"));
        }
        let timestamp = if has(row::STAMP) {
            if has(row::MILLIS) { f64::from_be_bytes(*reader.array()?).into() } else { Stamp::Text(reader.text()?.to_owned()) }
        } else {
            before.stamp_ms = before.stamp_ms.wrapping_add(reader.signed()?.cast_unsigned());
            if has(row::MILLIS) { Stamp::Millis(before.stamp_ms) } else { Stamp::Iso(before.stamp_ms) }
        };
        let server_before = before.server_ms.unwrap_or(before.stamp_ms);
        let server_timestamp = server_before.wrapping_add(reader.signed()?.cast_unsigned());
        if server_timestamp > INTEGER_MAX {
            return Err(Malformed("a time is above 2^53 - 1"));
        }
        let length = reader.below(rows.len() + 1)?;
        let written = texts.take(length)?;
        let ciphertext = if has(row::BASE64) { Base64::encode_string(written) } else { text(written)?.to_owned() };
        before = Before { device: place, knows, server_ms: Some(server_timestamp), ..before };
        entries.push(Entry {
            message: Message {
                id,
                sender_wallet: wallets[wallet].clone(),
                ciphertext,
                timestamp,
                session_id: session.clone(),
                content_type,
                replaces,
                kind: Kind(entry_kind),
                extra: extra.into(),
            },
            device_id: device.id.clone(),
            counter,
            knows,
            also,
            extensions: Extensions::from(extensions),
            sequence_number,
            server_timestamp,
        });
    }
    if !reader.0.is_empty() || !texts.0.is_empty() {
        return Err(Malformed("a batch goes on after its last row"));
    }
    Ok(entries)
}

/// What base64 stands for, where it is long enough to gain by it. No two texts stand for the same bytes: what no encoder
/// writes is not decoded.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let may_be = text.len() >= 8 && text.len().is_multiple_of(4) && !text.as_bytes().contains(&b' ');
    if may_be { Base64::decode_vec(text).ok() } else { None }
}

fn short(name: &str) -> Result<&str, Malformed> {
    if name.is_empty() || name.len() > ID_BYTES_MAX { Err(Malformed("a device id is empty or too long")) } else { Ok(name) }
}

#[cfg(test)]
mod tests;
