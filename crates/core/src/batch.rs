//! The batch: messages of one session in their one binary form, on the wire, in the stores of both sides and in the
//! relay's answers. What arrives is checked and kept as the bytes it came in.
//!
//! Chat is short, and what stands around a message is long: ids, clocks, times. In a batch devices and wallets stand in
//! a table, sequence numbers are implied, clocks and times are differences, an id that follows from device and counter
//! is left out, and base64 (what ciphertext is written in) is stored as the bytes that it means. PROTOCOL.md has the
//! layout.

use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};

use crate::ids::{message_id, parse_message_id};
use crate::limits::{BATCH_MESSAGES_MAX, CLOCK_DEVICES_MAX, CLOCK_ENTRIES_MAX, ID_BYTES_MAX, INFLATED_BYTES_MAX, INTEGER_MAX};
use crate::list::list;
use crate::message::{Entry, Message, Stamp};
use crate::vector_clock::VectorClock;
use crate::wire::{Malformed, Reader, put_bytes, put_signed, put_varint, text};

/// The first byte: another layout would have another.
const LAYOUT: u8 = 1;

/// The highest sequence number of a batch's first message: all that may follow it are below 2^53.
const FIRST_MAX: u64 = INTEGER_MAX - BATCH_MESSAGES_MAX as u64;

/// Of the second byte: the rows are compressed.
const DEFLATED: u8 = 1;

/// What a row says of itself, beside the times and the text that every row has.
mod row {
    /// Another device than in the row before.
    pub const DEVICE: u64 = 1;
    /// Its clock is not what the rows before let expect.
    pub const CLOCK: u64 = 1 << 1;
    /// The text is base64 of what is stored.
    pub const BASE64: u64 = 1 << 2;
    /// An id of another form than our own.
    pub const ID: u64 = 1 << 3;
    pub const CONTENT_TYPE: u64 = 1 << 4;
    pub const REPLACES: u64 = 1 << 5;
    /// Another wallet than the device's.
    pub const WALLET: u64 = 1 << 7;
    /// The stamp is a number of milliseconds, not text.
    pub const MILLIS: u64 = 1 << 8;
    /// The stamp is a text of another form than ours.
    pub const STAMP: u64 = 1 << 9;
    pub const DELETED: u64 = 1 << 10;
    /// Fields that we know nothing of, as JSON.
    pub const EXTRA: u64 = 1 << 11;
    pub const FIRST_ID: u64 = 1 << 12;
    /// All of them; another bit is of a layout that we do not know.
    pub const KNOWN: u64 = DEVICE | CLOCK | BASE64 | ID | CONTENT_TYPE | REPLACES | WALLET | MILLIS | STAMP | DELETED | EXTRA | FIRST_ID;
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

    /// Every message, in order.
    ///
    /// # Errors
    /// For anything that no encoder writes, and for what would grow above the limits (`limits.rs`): a count above
    /// [`BATCH_MESSAGES_MAX`], rows above [`INFLATED_BYTES_MAX`], clocks above [`CLOCK_ENTRIES_MAX`].
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
        let sample = &rows[rows.len() - rows.len().min(SAMPLE_BYTES)..];
        if !pays(sample, &miniz_oxide::deflate::compress_to_vec(sample, 1)) {
            return self.clone();
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
#[derive(Default)]
struct Table<'a> {
    names: Vec<&'a str>,
    /// Places in `names`, in the order of the names.
    sorted: Vec<usize>,
}

impl<'a> Table<'a> {
    fn place(&mut self, name: &'a str) -> usize {
        match self.sorted.binary_search_by(|place| self.names[*place].cmp(name)) {
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

    fn bytes(&self) -> usize {
        self.names.iter().map(|name| name.len() + 3).sum()
    }
}

/// Makes a batch, message by message.
pub struct Encoder<'a> {
    session: &'a str,
    first: u64,
    bytes_max: usize,
    count: usize,
    clock_entries: usize,
    wallets: Table<'a>,
    devices: Table<'a>,
    /// The wallet that each device first wrote for, where it has written.
    wallet_of: Vec<usize>,
    /// The highest counters seen, by device.
    known: Vec<u64>,
    rows: Vec<u8>,
    texts: Vec<u8>,
    before: Before,
}

/// What a row is a difference to.
#[derive(Default, Clone, Copy)]
struct Before {
    device: usize,
    stamp_ms: u64,
    server_ms: u64,
}

impl<'a> Encoder<'a> {
    /// A batch that begins with this entry (which is not pushed yet), of about `bytes_max` at most.
    pub fn new(first: &'a Entry, bytes_max: usize) -> Self {
        Encoder {
            session: &first.message.session_id,
            first: first.sequence_number,
            bytes_max,
            count: 0,
            clock_entries: 0,
            wallets: Table::default(),
            devices: Table::default(),
            wallet_of: Vec::new(),
            known: Vec::new(),
            rows: Vec::new(),
            texts: Vec::new(),
            before: Before::default(),
        }
    }

    /// Adds an entry. `false`, and nothing has changed: it does not follow the one before, no reader would take it, or
    /// the batch would have more than [`BATCH_MESSAGES_MAX`] messages, [`CLOCK_ENTRIES_MAX`] clock entries, or the bytes
    /// it may have (the first message fits in any case).
    #[must_use]
    pub fn push(&mut self, entry: &'a Entry) -> bool {
        let message = &entry.message;
        let sequence = if self.first == 0 { 0 } else { self.first + self.count as u64 };
        let follows = entry.sequence_number == sequence && message.session_id == self.session;
        let clock_entries = self.clock_entries + entry.vector_clock.len();
        if !follows || !is_readable(entry) || self.count >= BATCH_MESSAGES_MAX || clock_entries > CLOCK_ENTRIES_MAX {
            return false;
        }
        let (wallets, devices, rows, texts) = (self.wallets.names.len(), self.devices.names.len(), self.rows.len(), self.texts.len());
        let before = self.before;
        self.put(entry);
        let bytes = self.wallets.bytes() + self.devices.bytes() + self.rows.len() + self.texts.len();
        let devices_max = 2 * CLOCK_DEVICES_MAX;
        if self.count > 0 && (bytes > self.bytes_max || self.devices.names.len() > devices_max) {
            self.wallets.truncate(wallets);
            self.devices.truncate(devices);
            self.wallet_of.truncate(devices);
            self.wallet_of.iter_mut().filter(|wallet| **wallet >= wallets).for_each(|wallet| *wallet = usize::MAX);
            self.known.truncate(devices);
            self.rows.truncate(rows);
            self.texts.truncate(texts);
            self.before = before;
            return false;
        }
        // Only now: what was put and taken back must leave no trace.
        for (device, counter) in entry.vector_clock.iter() {
            let place = self.devices.place(device);
            self.known[place] = self.known[place].max(counter);
        }
        self.clock_entries = clock_entries;
        self.count += 1;
        true
    }

    fn put(&mut self, entry: &'a Entry) {
        let message = &entry.message;
        let wallet = self.wallets.place(&message.sender_wallet);
        let device = self.devices.place(&entry.original_device_id);
        for (device, _) in entry.vector_clock.iter() {
            self.devices.place(device);
        }
        self.known.resize(self.devices.names.len(), 0);
        self.wallet_of.resize(self.devices.names.len(), usize::MAX);
        if self.wallet_of[device] == usize::MAX {
            self.wallet_of[device] = wallet;
        }

        let mut kind = 0;
        let mut rest = Vec::new();
        if device != self.before.device {
            kind |= row::DEVICE;
            put_varint(&mut rest, device as u64);
        }
        let changes = self.clock_changes(device, &entry.vector_clock);
        if !changes.is_empty() {
            kind |= row::CLOCK;
            put_varint(&mut rest, changes.len() as u64);
            for (place, change) in changes {
                put_varint(&mut rest, place as u64);
                put_signed(&mut rest, change);
            }
        }
        let own = parse_message_id(&message.id);
        if own != Some((self.session, &entry.original_device_id, entry.counter())) {
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
        if let Some(first_id) = &message.first_id {
            kind |= row::FIRST_ID;
            put_bytes(&mut rest, first_id.as_bytes());
        }
        if wallet != self.wallet_of[device] {
            kind |= row::WALLET;
            put_varint(&mut rest, wallet as u64);
        }
        if message.deleted {
            kind |= row::DELETED;
        }
        if !message.extra.is_empty() {
            kind |= row::EXTRA;
            put_bytes(&mut rest, message.extra.as_str().as_bytes());
        }
        match &message.timestamp {
            Stamp::Text(stamp) => {
                kind |= row::STAMP;
                put_bytes(&mut rest, stamp.as_bytes());
            }
            Stamp::Millis(ms) | Stamp::Iso(ms) => {
                if matches!(message.timestamp, Stamp::Millis(_)) {
                    kind |= row::MILLIS;
                }
                put_signed(&mut rest, ms.wrapping_sub(self.before.stamp_ms).cast_signed());
                self.before.stamp_ms = *ms;
            }
        }
        put_signed(&mut rest, entry.server_timestamp.wrapping_sub(self.before.server_ms).cast_signed());
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
        self.before.device = device;
        self.before.server_ms = entry.server_timestamp;
    }

    /// Where a clock differs from what is expected: that its device knows all that the rows before it knew, and has
    /// counted one further.
    fn clock_changes(&mut self, device: usize, clock: &'a VectorClock) -> Vec<(usize, i64)> {
        let mut counters = vec![0; self.known.len()];
        for (device, counter) in clock.iter() {
            let place = self.devices.place(device);
            counters[place] = counter;
        }
        let expected = self.known.iter().enumerate().map(|(place, known)| known + u64::from(place == device));
        let changes = counters.iter().zip(expected).enumerate();
        changes
            .filter(|(_, (counter, expected))| *counter != expected)
            .map(|(place, (counter, expected))| (place, counter.cast_signed() - expected.cast_signed()))
            .collect()
    }

    /// The batch of what was pushed.
    pub fn finish(self) -> Batch {
        let mut bytes = vec![LAYOUT, 0];
        put_name(&mut bytes, self.session);
        put_varint(&mut bytes, self.first);
        put_varint(&mut bytes, self.count as u64);
        put_varint(&mut bytes, self.wallets.names.len() as u64);
        for wallet in &self.wallets.names {
            put_name(&mut bytes, wallet);
        }
        put_varint(&mut bytes, self.devices.names.len() as u64);
        for (device, wallet) in self.devices.names.iter().zip(&self.wallet_of) {
            put_bytes(&mut bytes, device.as_bytes());
            put_varint(&mut bytes, if *wallet == usize::MAX { 0 } else { *wallet as u64 });
        }
        put_bytes(&mut bytes, &self.rows);
        bytes.extend_from_slice(&self.texts);
        Batch(bytes.into())
    }
}

/// Whether a reader takes what stands around the message.
pub(crate) fn is_readable(entry: &Entry) -> bool {
    let names = [&entry.message.session_id, &entry.message.sender_wallet];
    names.into_iter().all(|name| name.len() <= ID_BYTES_MAX)
        && short(&entry.original_device_id).is_ok()
        && entry.server_timestamp <= INTEGER_MAX
        && entry.sequence_number <= FIRST_MAX
}

/// The parts of a batch's bytes.
struct Layout<'a> {
    flags: u8,
    session: String,
    first: u64,
    count: usize,
    wallets: Vec<String>,
    devices: Vec<(Arc<str>, usize)>,
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
        if first > FIRST_MAX && count > 0 {
            return Err(Malformed("a sequence number is above 2^53 - 1"));
        }
        let wallets = reader.below(BATCH_MESSAGES_MAX + 1)?;
        let wallets = (0..wallets).map(|_| take_name(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        let devices = reader.below(2 * CLOCK_DEVICES_MAX + 1)?;
        let mut device = || -> Result<(Arc<str>, usize), Malformed> {
            let name = short(reader.text()?)?;
            Ok((name.into(), reader.below(wallets.len())?))
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
        return decode_rows(&layout, layout.rows);
    }
    let mut reader = Reader(layout.rows);
    let size = reader.below(INFLATED_BYTES_MAX + 1)?;
    let mut rows = vec![0; size];
    let inflated = miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut rows, std::iter::once(reader.0), false, true);
    if inflated != Ok(size) {
        return Err(Malformed("the rows of a batch do not inflate to the size they name"));
    }
    decode_rows(&layout, &rows)
}

fn decode_rows(layout: &Layout<'_>, rows: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let Layout { session, first, count, wallets, devices, .. } = layout;
    let mut texts = Reader(rows);
    let mut reader = Reader(texts.bytes()?);
    // Clocks list their devices in order; the table does not.
    let mut table = Table::default();
    if devices.iter().enumerate().any(|(place, (device, _))| table.place(device) != place) {
        return Err(Malformed("a device stands twice in the table"));
    }
    let sorted = table.sorted;
    let mut known = vec![0u64; devices.len()];
    let mut clock_entries = 0;
    let mut before = Before::default();
    let mut entries = Vec::with_capacity(*count);
    for number in 0..*count as u64 {
        let kind = reader.varint()?;
        if kind & !row::KNOWN != 0 {
            return Err(Malformed("a row of a kind that this version does not know"));
        }
        let has = |bit| kind & bit != 0;
        let device = if has(row::DEVICE) { reader.below(devices.len())? } else { before.device };
        let (device_id, device_wallet) = devices.get(device).ok_or(Malformed("a row names no device"))?;
        let mut counters = known.clone();
        counters[device] += 1;
        if has(row::CLOCK) {
            for _ in 0..reader.below(devices.len() + 1)? {
                let place = reader.below(devices.len())?;
                let counter = counters[place].checked_add_signed(reader.signed()?);
                counters[place] = counter.filter(|counter| *counter <= INTEGER_MAX).ok_or(Malformed("a counter is out of range"))?;
            }
        }
        for (known, counter) in known.iter_mut().zip(&counters) {
            *known = (*known).max(*counter);
        }
        let vector_clock = VectorClock::of_sorted(sorted.iter().map(|place| (devices[*place].0.clone(), counters[*place])));
        clock_entries += vector_clock.len();
        if clock_entries > CLOCK_ENTRIES_MAX || vector_clock.len() > CLOCK_DEVICES_MAX || counters[device] > INTEGER_MAX {
            return Err(Malformed("the clocks of a batch are larger than the limit"));
        }
        let id = if has(row::ID) { reader.text()?.to_owned() } else { message_id(session, device_id, counters[device]) };
        let content_type = if has(row::CONTENT_TYPE) { Some(reader.text()?.to_owned()) } else { None };
        let replaces = if has(row::REPLACES) { Some(reader.text()?.to_owned()) } else { None };
        let first_id = if has(row::FIRST_ID) { Some(reader.text()?.to_owned()) } else { None };
        let wallet = if has(row::WALLET) { reader.below(wallets.len())? } else { *device_wallet };
        let extra = if has(row::EXTRA) { reader.text()? } else { "" };
        let timestamp = if has(row::STAMP) {
            Stamp::Text(reader.text()?.to_owned())
        } else {
            before.stamp_ms = before.stamp_ms.wrapping_add(reader.signed()?.cast_unsigned());
            if has(row::MILLIS) { Stamp::Millis(before.stamp_ms) } else { Stamp::Iso(before.stamp_ms) }
        };
        before.server_ms = before.server_ms.wrapping_add(reader.signed()?.cast_unsigned());
        if before.server_ms > INTEGER_MAX {
            return Err(Malformed("a time is above 2^53 - 1"));
        }
        let length = reader.below(rows.len() + 1)?;
        let written = texts.take(length)?;
        let ciphertext = if has(row::BASE64) { Base64::encode_string(written) } else { text(written)?.to_owned() };
        before.device = device;
        entries.push(Entry {
            message: Message {
                id,
                sender_wallet: wallets[wallet].clone(),
                ciphertext,
                timestamp,
                session_id: session.clone(),
                content_type,
                replaces,
                first_id,
                deleted: has(row::DELETED),
                extra: extra.into(),
            },
            sequence_number: if *first == 0 { 0 } else { first + number },
            vector_clock,
            server_timestamp: before.server_ms,
            original_device_id: (**device_id).to_owned(),
        });
    }
    if !reader.0.is_empty() || !texts.0.is_empty() {
        return Err(Malformed("a batch goes on after its last row"));
    }
    Ok(entries)
}

/// What base64 stands for, where encoding it gives the very same text and it is long enough to gain by it.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    if text.len() < 8 || !text.len().is_multiple_of(4) {
        return None;
    }
    let bytes = Base64::decode_vec(text).ok()?;
    (Base64::encode_string(&bytes) == text).then_some(bytes)
}

/// Names that have a shorter form: 0 stands before the 32 bytes of a wallet, 1 before the 16 of a UUID, and the length
/// + 2 before any other.
fn put_name(out: &mut Vec<u8>, name: &str) {
    let mut wallet = [0; 32];
    if name.len() >= 32 && bs58::decode(name).onto(&mut wallet) == Ok(32) && bs58::encode(wallet).into_string() == name {
        out.push(0);
        out.extend_from_slice(&wallet);
    } else if let Some(uuid) = uuid_bytes(name) {
        out.push(1);
        out.extend_from_slice(&uuid);
    } else {
        put_varint(out, name.len() as u64 + 2);
        out.extend_from_slice(name.as_bytes());
    }
}

fn take_name(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(match reader.below(usize::MAX)? {
        0 => bs58::encode(reader.take(32)?).into_string(),
        1 => uuid_text(reader.take(16)?),
        // Every row has its session and wallet: a long one would stand for a thousand times its length.
        length if length - 2 <= ID_BYTES_MAX => text(reader.take(length - 2)?)?.to_owned(),
        _ => return Err(Malformed("a session id or wallet is too long")),
    })
}

fn short(name: &str) -> Result<&str, Malformed> {
    if name.is_empty() || name.len() > ID_BYTES_MAX { Err(Malformed("a device id is empty or too long")) } else { Ok(name) }
}

/// Where the hyphens of a UUID stand, after so many bytes.
const HYPHENS_AFTER: [usize; 4] = [4, 6, 8, 10];

pub(crate) fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if HYPHENS_AFTER.contains(&place) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

pub(crate) fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| char::from(byte).to_digit(16));
    for byte in &mut bytes {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    (uuid_text(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "a3bb189e-8bf9-8888-9912-ace4e6543002";

    /// A log in which `devices` take turns and know all that came before.
    fn log(devices: usize, texts: &[&str]) -> Vec<Entry> {
        let mut heads = VectorClock::new();
        let entry = |(number, text): (usize, &&str)| {
            let device = format!("device-{:010}", number * 7 % devices);
            let counter = heads.tick(&device).unwrap();
            let ms = 1_700_000_000_000 + number as u64 * 30_000;
            let message = Message {
                id: message_id(SESSION, &device, counter),
                sender_wallet: "So11111111111111111111111111111111111111112".into(),
                ciphertext: (*text).to_owned(),
                timestamp: Stamp::Iso(ms),
                session_id: SESSION.into(),
                ..Message::default()
            };
            let sequence_number = number as u64 + 1;
            Entry { message, sequence_number, vector_clock: heads.clone(), server_timestamp: ms + 20, original_device_id: device }
        };
        texts.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn a_message_costs_few_bytes_beside_its_text() {
        let texts: Vec<&str> = std::iter::repeat_n("does a subversion gnome client exist?", 100).collect();
        let batch = Batch::of(&log(5, &texts)).unwrap();
        let beside = batch.bytes().len() - texts.iter().map(|text| text.len()).sum::<usize>();
        assert!(beside <= 24 * texts.len(), "{} bytes for each message", beside / texts.len());
    }

    #[test]
    fn ciphertext_in_base64_is_stored_as_the_bytes_that_it_means() {
        let text = Base64::encode_string(&[7; 150]);
        let batch = Batch::of(&log(1, &[&text])).unwrap();
        assert!(batch.bytes().len() < 150 + 110, "{}", batch.bytes().len());
        assert_eq!(batch.entries().unwrap()[0].message.ciphertext, text);
        assert_eq!(from_base64("AAAAAAB="), None, "bits that no encoder sets");
    }

    #[test]
    fn a_batch_is_compressed_only_where_that_pays() {
        let chat: Vec<String> = (0..100).map(|number| format!("{number}: does a subversion gnome client exist?")).collect();
        let chat = Batch::of(&log(3, &chat.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        let deflated = chat.deflate();
        assert!(deflated.bytes().len() * 2 < chat.bytes().len());
        assert_eq!(deflated.entries(), chat.entries());
        assert_eq!(deflated.deflate(), deflated, "once");
        let mut random = fastrand::Rng::with_seed(1);
        let cipher: Vec<String> = (0..50).map(|_| Base64::encode_string(&std::array::from_fn::<u8, 150, _>(|_| random.u8(..)))).collect();
        let cipher = Batch::of(&log(3, &cipher.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        assert_eq!(cipher.deflate(), cipher);
    }

    #[test]
    fn a_batch_is_compressed_from_a_kibibyte_on_and_where_it_saves_a_tenth() {
        let of_bytes = |bytes: usize| {
            let batch = |length: usize| Batch::of(&log(1, &["~".repeat(length).as_str()])).unwrap();
            let rows_bytes = |batch: &Batch| Layout::of(batch.bytes()).unwrap().rows.len();
            let batch = batch(500 + bytes - rows_bytes(&batch(500)));
            assert_eq!(rows_bytes(&batch), bytes);
            batch
        };
        assert_eq!(of_bytes(1_023).deflate(), of_bytes(1_023));
        assert!(of_bytes(1_024).deflate().bytes().len() < 200);
        // Letters of which each is one of sixteen take half a byte.
        let mut random = fastrand::Rng::with_seed(1);
        let texts: Vec<String> = (0..50).map(|_| (0..100).map(|_| char::from(b"aeiou nrtsldhcm~"[random.usize(..16)])).collect()).collect();
        let half = Batch::of(&log(1, &texts.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        let saved = half.bytes().len() - half.deflate().bytes().len();
        assert!((half.bytes().len() / 4..half.bytes().len() / 2).contains(&saved), "{saved}");
        assert_eq!(half.deflate().entries(), half.entries());
    }

    #[test]
    fn a_batch_of_which_the_end_does_not_shrink_is_not_tried_further() {
        let mut random = fastrand::Rng::with_seed(1);
        let cipher: Vec<String> = (0..30).map(|_| Base64::encode_string(&std::array::from_fn::<u8, 150, _>(|_| random.u8(..)))).collect();
        let words = "does a subversion gnome client exist? ".repeat(20);
        let texts: Vec<&str> = std::iter::repeat_n(words.as_str(), 30).chain(cipher.iter().map(String::as_str)).collect();
        let batch = Batch::of(&log(1, &texts)).unwrap();
        assert_eq!(batch.deflate(), batch);
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        let texts: Vec<&str> = std::iter::repeat_n("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 100).collect();
        let batch = Batch::of(&log(1, &texts)).unwrap();
        let tables_end = Layout::of(batch.bytes()).unwrap().tables_end;
        let mut bytes = batch.bytes()[..tables_end].to_vec();
        bytes[1] = DEFLATED;
        put_varint(&mut bytes, INFLATED_BYTES_MAX as u64 + 1);
        bytes.extend(miniz_oxide::deflate::compress_to_vec(&vec![0; INFLATED_BYTES_MAX + 1], 5));
        assert_eq!(Batch(bytes.into()).entries(), Err(Malformed("a count or place is out of range")));
    }

    #[test]
    fn clocks_grow_no_further_than_the_limit() {
        // Rows without a difference stand for clocks of a thousand devices each.
        let mut heads = VectorClock::new();
        for number in 0..CLOCK_DEVICES_MAX {
            heads.raise(&format!("device-{number}"), 5).unwrap();
        }
        let entry = |number: u64| {
            let mut vector_clock = heads.clone();
            vector_clock.raise("device-0", 5 + number).unwrap();
            let message = Message { id: message_id("s", "device-0", 5 + number), session_id: "s".into(), ..Message::default() };
            Entry { message, sequence_number: number, vector_clock, server_timestamp: 0, original_device_id: "device-0".into() }
        };
        let entries: Vec<Entry> = (1..=200).map(entry).collect();
        let sizes: Vec<usize> = Batch::split(&entries, INFLATED_BYTES_MAX).map(|(taken, _)| taken.len()).collect();
        assert_eq!(sizes, [64, 64, 64, 8]);
        let (_, batch) = Batch::split(&entries, INFLATED_BYTES_MAX).next().unwrap();
        let mut bytes = batch.bytes().to_vec();
        let count_at = 2 + 2 + 1;
        assert_eq!(bytes[count_at], 64);
        bytes[count_at] = 65;
        assert!(Batch(bytes.into()).entries().is_err());
    }

    #[test]
    fn what_was_pushed_and_did_not_fit_leaves_no_trace() {
        let long = "x".repeat(400);
        let mut entries = log(2, &["a", &long, "b"]);
        entries[1].message.sender_wallet = "another".into();
        let mut encoder = Encoder::new(&entries[0], 200);
        assert!(encoder.push(&entries[0]));
        assert!(!encoder.push(&entries[1]));
        assert_eq!(encoder.finish(), Batch::of(&entries[..1]).unwrap());
        // What is pushed instead is written as if nothing had been.
        let shorter = Entry { message: Message { ciphertext: "b".into(), ..entries[1].message.clone() }, ..entries[1].clone() };
        let mut encoder = Encoder::new(&entries[0], 200);
        assert!(encoder.push(&entries[0]) && !encoder.push(&entries[1]) && encoder.push(&shorter));
        assert_eq!(encoder.finish(), Batch::of(&[entries[0].clone(), shorter.clone()]).unwrap());
    }

    #[test]
    fn entries_of_one_batch_are_of_one_session_and_follow_each_other() {
        let twisted: [fn(&mut Entry); 3] =
            [|entry| entry.message.session_id = "another".into(), |entry| entry.sequence_number = 3, |entry| entry.sequence_number = 1];
        for twist in twisted {
            let mut entries = log(2, &["a", "b"]);
            assert!(Batch::of(&entries).is_ok());
            twist(&mut entries[1]);
            assert!(Batch::of(&entries).is_err(), "{:?}", entries[1]);
        }
    }

    #[test]
    fn a_batch_is_as_long_as_it_may_be_with_all_its_names() {
        let mut entries = log(1, &["~"; 300]);
        for (number, entry) in entries.iter_mut().enumerate() {
            entry.original_device_id = format!("{number:0>100}");
            entry.message.sender_wallet = format!("{:0>80}", number / 10);
            entry.vector_clock = VectorClock::new();
            entry.vector_clock.tick(&entry.original_device_id).unwrap();
        }
        let batches: Vec<(usize, usize)> =
            Batch::split(&entries, 10_000).map(|(taken, batch)| (taken.len(), batch.bytes().len())).collect();
        let (_, whole) = batches.split_last().unwrap();
        assert!(whole.len() >= 2 && whole.iter().all(|(_, bytes)| (9_500..=10_200).contains(bytes)), "{batches:?}");
        let each = Batch::split(&entries, 0).map(|(taken, batch)| (taken.len(), batch.entries().unwrap().len()));
        assert!(each.eq(std::iter::repeat_n((1, 1), 300)), "one fits in any case");
    }

    #[test]
    fn a_batch_names_so_many_devices_and_no_more() {
        let of = |counts: &[usize]| {
            let mut devices = (0..).map(|number| format!("device-{number}"));
            let entry = |(sequence_number, count): (u64, &usize)| {
                let mut vector_clock = VectorClock::new();
                devices.by_ref().take(*count).for_each(|device| vector_clock.raise(&device, 1).unwrap());
                let original_device_id = vector_clock.iter().next().unwrap().0.to_owned();
                let message = Message { session_id: "s".into(), ..Message::default() };
                Entry { message, sequence_number, vector_clock, server_timestamp: 0, original_device_id }
            };
            let entries: Vec<Entry> = (1..).zip(counts).map(entry).collect();
            Batch::of(&entries).map(|batch| assert_eq!(batch.entries().as_ref(), Ok(&entries)))
        };
        assert_eq!(of(&[CLOCK_DEVICES_MAX, CLOCK_DEVICES_MAX]), Ok(()));
        assert!(of(&[CLOCK_DEVICES_MAX, CLOCK_DEVICES_MAX, 1]).is_err());
        assert!(of(&[CLOCK_DEVICES_MAX, CLOCK_DEVICES_MAX, 2]).is_err());
    }

    /// What no encoder writes: so many wallets and devices, and these rows, of which each tells what it is.
    struct Raw {
        first: u64,
        count: u64,
        wallets: usize,
        devices: usize,
        rows: Vec<u8>,
        texts: &'static [u8],
    }

    /// A row that tells nothing: the next message of the same device, without a text.
    const PLAIN: [u8; 4] = [0, 0, 0, 0];

    impl Raw {
        fn of(rows: &[u8]) -> Raw {
            Raw { first: 1, count: 1, wallets: 1, devices: 1, rows: rows.to_vec(), texts: &[] }
        }

        fn entries(&self) -> Result<Vec<Entry>, Malformed> {
            let mut bytes = vec![LAYOUT, 0];
            put_name(&mut bytes, "s");
            put_varint(&mut bytes, self.first);
            put_varint(&mut bytes, self.count);
            put_varint(&mut bytes, self.wallets as u64);
            (0..self.wallets).for_each(|_| put_name(&mut bytes, "w"));
            put_varint(&mut bytes, self.devices as u64);
            for number in 0..self.devices {
                put_bytes(&mut bytes, format!("d{number}").as_bytes());
                put_varint(&mut bytes, 0);
            }
            put_bytes(&mut bytes, &self.rows);
            bytes.extend_from_slice(self.texts);
            Batch(bytes.into()).entries()
        }

        fn is_read(&self) -> bool {
            self.entries().is_ok()
        }
    }

    /// A row whose clock has these differences, at these places.
    fn clock_row(changes: &[(u64, i64)]) -> Vec<u8> {
        let mut row = vec![row::CLOCK as u8];
        put_varint(&mut row, changes.len() as u64);
        for (place, change) in changes {
            put_varint(&mut row, *place);
            put_signed(&mut row, *change);
        }
        [&row[..], &PLAIN[1..]].concat()
    }

    #[test]
    fn a_batch_is_read_up_to_its_limits_and_no_further() {
        let plain = |count: u64| Raw { count, ..Raw::of(&PLAIN.repeat(count as usize)) };
        assert!(plain(BATCH_MESSAGES_MAX as u64).is_read() && !plain(BATCH_MESSAGES_MAX as u64 + 1).is_read());
        let first = |first| Raw { first, ..Raw::of(&PLAIN) };
        let last_first = INTEGER_MAX - BATCH_MESSAGES_MAX as u64;
        assert!(first(last_first).is_read() && !first(last_first + 1).is_read() && !first(last_first + 2).is_read());
        let wallets = |wallets| Raw { wallets, ..Raw::of(&PLAIN) };
        assert!(wallets(BATCH_MESSAGES_MAX).is_read() && !wallets(BATCH_MESSAGES_MAX + 1).is_read() && !wallets(0).is_read());
        let devices = |devices| Raw { devices, ..Raw::of(&PLAIN) };
        assert!(devices(2 * CLOCK_DEVICES_MAX).is_read() && !devices(2 * CLOCK_DEVICES_MAX + 1).is_read() && !devices(0).is_read());
    }

    #[test]
    fn a_clock_is_read_up_to_its_limits_and_no_further() {
        let changed = |changes: &[(u64, i64)]| Raw { devices: 3, ..Raw::of(&clock_row(changes)) };
        let clock = |raw: Raw| raw.entries().unwrap()[0].vector_clock.to_string();
        assert_eq!(clock(changed(&[(0, 4), (1, 2), (2, 0)])), r#"{"d0":5,"d1":2}"#);
        assert!(!changed(&[(0, 1), (1, 1), (2, 1), (2, 1)]).is_read(), "more changes than devices");
        assert!(!changed(&[(3, 1)]).is_read() && !changed(&[(1, -1)]).is_read());
        let max = INTEGER_MAX.cast_signed();
        assert!(changed(&[(0, max - 1), (1, max)]).is_read());
        assert!(!changed(&[(0, max)]).is_read() && !changed(&[(1, max + 1)]).is_read());
        let last = clock_row(&[(0, max - 1)]);
        assert!(!Raw { count: 2, ..Raw::of(&[&last[..], &PLAIN].concat()) }.is_read(), "no counter follows the last");
        let all = |devices: usize| {
            let changes: Vec<(u64, i64)> = (1..devices as u64).map(|place| (place, 1)).collect();
            Raw { devices, ..Raw::of(&clock_row(&changes)) }
        };
        assert!(all(CLOCK_DEVICES_MAX).is_read() && !all(CLOCK_DEVICES_MAX + 1).is_read());
        // Rows that tell nothing stand for clocks that are as long as the first.
        let repeated = |count: usize| {
            let Raw { rows, .. } = all(CLOCK_DEVICES_MAX);
            let rows = [&rows[..], &PLAIN.repeat(count - 1)].concat();
            Raw { count: count as u64, devices: CLOCK_DEVICES_MAX, ..Raw::of(&rows) }
        };
        let most = CLOCK_ENTRIES_MAX / CLOCK_DEVICES_MAX;
        assert!(repeated(most).is_read() && !repeated(most + 1).is_read());
    }

    #[test]
    fn a_row_says_what_it_may_and_no_more() {
        assert!(Raw::of(&PLAIN).is_read());
        for unknown in [6, 12, 13] {
            let mut row = Vec::new();
            put_varint(&mut row, 1 << unknown);
            assert!(!Raw::of(&[&row[..], &PLAIN[1..]].concat()).is_read(), "bit {unknown}");
        }
        let device = |place: u8| Raw { devices: 2, ..Raw::of(&[row::DEVICE as u8, place, 0, 0, 0]) };
        assert!(device(1).is_read() && !device(2).is_read());
        let wallet = |place: u8| Raw { wallets: 2, ..Raw::of(&[row::WALLET as u8 | 0x80, 1, place, 0, 0, 0]) };
        assert!(wallet(1).is_read() && !wallet(2).is_read());
        let time = |ms: u64| {
            let mut row = vec![0, 0];
            put_signed(&mut row, ms.cast_signed());
            Raw::of(&[&row[..], &[0]].concat())
        };
        assert!(time(INTEGER_MAX).is_read() && !time(INTEGER_MAX + 1).is_read() && !time(INTEGER_MAX + 2).is_read());
        let text = |length: u8, texts| Raw { texts, ..Raw::of(&[0, 0, 0, length]) };
        assert!(text(2, b"hi").is_read());
        assert!(!text(1, b"hi").is_read() && !text(3, b"hi").is_read(), "the texts end where the last one does");
        assert!(!Raw::of(&PLAIN.repeat(2)).is_read() && !Raw::of(&PLAIN[1..]).is_read(), "and so do the rows");
    }

    #[test]
    fn a_batch_of_another_layout_or_kind_is_refused() {
        let batch = Batch::of(&log(1, &["a"])).unwrap();
        for (at, byte) in [(0, 0), (0, 2), (1, 2), (1, 3)] {
            let mut bytes = batch.bytes().to_vec();
            bytes[at] = byte;
            assert!(Batch(bytes.into()).entries().is_err(), "{byte} at {at}");
        }
        // The same device twice in the table.
        let mut bytes = Batch::of(&log(2, &["a", "b"])).unwrap().bytes().to_vec();
        let at = bytes.windows(10).rposition(|name| name == b"0000000001").unwrap();
        bytes[at + 9] = b'0';
        assert!(Batch(bytes.into()).entries().is_err());
    }

    #[test]
    fn compressed_rows_have_the_size_that_they_name() {
        let batch = Batch::of(&log(1, &["~".repeat(2_000).as_str()])).unwrap();
        let Layout { tables_end, rows, .. } = Layout::of(batch.bytes()).unwrap();
        let deflated = |size: usize, rows: &[u8]| {
            let mut bytes = batch.bytes()[..tables_end].to_vec();
            bytes[1] = DEFLATED;
            put_varint(&mut bytes, size as u64);
            bytes.extend(miniz_oxide::deflate::compress_to_vec(rows, 5));
            Batch(bytes.into()).entries()
        };
        assert_eq!(deflated(rows.len(), rows), batch.entries());
        assert!(deflated(rows.len() + 1, rows).is_err() && deflated(rows.len() - 1, rows).is_err());
        // The largest that there may be is only wrong in what follows the rows.
        let largest = [rows, &vec![0; INFLATED_BYTES_MAX - rows.len()]].concat();
        assert_eq!(deflated(INFLATED_BYTES_MAX, &largest), Err(Malformed("a batch goes on after its last row")));
    }

    #[test]
    fn names_have_a_short_form_and_come_back() {
        for (name, bytes) in [
            ("So11111111111111111111111111111111111111112", 33),
            (SESSION, 17),
            ("room", 5),
            ("", 1),
            ("A3BB189E-8BF9-8888-9912-ACE4E6543002", 37),
        ] {
            let mut out = Vec::new();
            put_name(&mut out, name);
            assert_eq!((out.len(), take_name(&mut Reader(&out))), (bytes, Ok(name.to_owned())));
        }
    }
}
