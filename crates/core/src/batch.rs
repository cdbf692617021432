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

use crate::ids::{message_id, parse_message_id, public_key, uuid_bytes, uuid_text, wallet_address};
use crate::limits::{
    BATCH_MESSAGES_MAX, CLOCK_DEVICES_MAX, CLOCK_ENTRIES_MAX, ID_BYTES_MAX, INFLATED_BYTES_MAX, INTEGER_MAX, SEQUENCE_MAX,
};
use crate::list::list;
use crate::message::{Entry, Message, Stamp};
use crate::vector_clock::VectorClock;
use crate::wire::{Malformed, Reader, put_bytes, put_signed, put_varint, text};

/// The first byte: another layout would have another.
const LAYOUT: u8 = 1;

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
    wallet_of: Vec<Option<usize>>,
    /// The highest counters seen, by device.
    known: Vec<u64>,
    rows: Vec<u8>,
    texts: Vec<u8>,
    before: Before,
}

/// An entry by the tables: the places of its device and its wallet, and its clock's counters by device.
struct Placed {
    device: usize,
    wallet: usize,
    counters: Vec<u64>,
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
        if !follows || !entry.is_readable() || self.count >= BATCH_MESSAGES_MAX || clock_entries > CLOCK_ENTRIES_MAX {
            return false;
        }
        let (wallets, devices, rows, texts) = (self.wallets.names.len(), self.devices.names.len(), self.rows.len(), self.texts.len());
        let before = self.before;
        let Placed { device, wallet, counters } = self.put(entry);
        let bytes = self.wallets.bytes() + self.devices.bytes() + self.rows.len() + self.texts.len();
        let devices_max = 2 * CLOCK_DEVICES_MAX;
        if self.count > 0 && (bytes > self.bytes_max || self.devices.names.len() > devices_max) {
            self.wallets.truncate(wallets);
            self.devices.truncate(devices);
            self.wallet_of.truncate(devices);
            self.known.truncate(devices);
            self.rows.truncate(rows);
            self.texts.truncate(texts);
            self.before = before;
            return false;
        }
        // Only now: what was put and taken back must leave no trace.
        self.wallet_of[device].get_or_insert(wallet);
        for (known, counter) in self.known.iter_mut().zip(counters) {
            *known = (*known).max(counter);
        }
        self.clock_entries = clock_entries;
        self.count += 1;
        true
    }

    /// Adds its row and its text.
    fn put(&mut self, entry: &'a Entry) -> Placed {
        let message = &entry.message;
        let wallet = self.wallets.place(&message.sender_wallet);
        let device = self.devices.place(&entry.original_device_id);
        let mut counters = vec![0; self.devices.names.len()];
        for (device, counter) in entry.vector_clock.iter() {
            let place = self.devices.place(device);
            counters.resize(self.devices.names.len(), 0);
            counters[place] = counter;
        }
        self.known.resize(self.devices.names.len(), 0);
        self.wallet_of.resize(self.devices.names.len(), None);

        let mut kind = 0;
        let mut rest = Vec::with_capacity(64);
        if device != self.before.device {
            kind |= row::DEVICE;
            put_varint(&mut rest, device as u64);
        }
        let changes = self.clock_changes(device, &counters);
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
        if self.wallet_of[device].is_some_and(|its| its != wallet) {
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
            Stamp::Number(number) => {
                kind |= row::STAMP | row::MILLIS;
                put_bytes(&mut rest, format!("{number:?}").as_bytes());
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
        Placed { device, wallet, counters }
    }

    /// Where a clock differs from what is expected: that its device knows all that the rows before it knew, and has
    /// counted one further.
    fn clock_changes(&self, device: usize, counters: &[u64]) -> Vec<(usize, i64)> {
        let expected = self.known.iter().enumerate().map(|(place, known)| known + u64::from(place == device));
        let changes = counters.iter().zip(expected).enumerate();
        changes
            .filter(|(_, (counter, expected))| *counter != expected)
            .map(|(place, (counter, expected))| (place, counter.cast_signed() - expected.cast_signed()))
            .collect()
    }

    /// The batch of what was pushed.
    pub fn finish(self) -> Batch {
        let tables = self.session.len() + self.wallets.bytes() + self.devices.bytes();
        let mut bytes = Vec::with_capacity(tables + self.rows.len() + self.texts.len() + 16);
        bytes.extend([LAYOUT, 0]);
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
            put_varint(&mut bytes, wallet.unwrap_or(0) as u64);
        }
        put_bytes(&mut bytes, &self.rows);
        bytes.extend_from_slice(&self.texts);
        Batch(bytes.into())
    }
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
        if first > SEQUENCE_MAX && count > 0 {
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
    let mut table = Table { names: Vec::with_capacity(devices.len()), sorted: Vec::with_capacity(devices.len()) };
    if devices.iter().enumerate().any(|(place, (device, _))| table.place(device) != place) {
        return Err(Malformed("a device stands twice in the table"));
    }
    let sorted = table.sorted;
    let mut known = vec![0u64; devices.len()];
    let mut counters = known.clone();
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
        counters.clone_from(&known);
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
            let written = reader.text()?;
            if has(row::MILLIS) {
                written.parse::<f64>().map_err(|_| Malformed("a time is no number"))?.into()
            } else {
                Stamp::Text(written.to_owned())
            }
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

/// What base64 stands for, where it is long enough to gain by it. No two texts stand for the same bytes: what no encoder
/// writes is not decoded.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let may_be = text.len() >= 8 && text.len().is_multiple_of(4) && !text.as_bytes().contains(&b' ');
    if may_be { Base64::decode_vec(text).ok() } else { None }
}

/// Names that have a shorter form: 0 stands before the 32 bytes of a wallet, 1 before the 16 of a UUID, and the length
/// + 2 before any other.
fn put_name(out: &mut Vec<u8>, name: &str) {
    if let Some(public_key) = public_key(name) {
        out.push(0);
        out.extend_from_slice(&public_key);
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
        0 => wallet_address(reader.array()?),
        1 => uuid_text(reader.array()?),
        // Every row has its session and wallet: a long one would stand for a thousand times its length.
        length if length - 2 <= ID_BYTES_MAX => text(reader.take(length - 2)?)?.to_owned(),
        _ => return Err(Malformed("a session id or wallet is too long")),
    })
}

fn short(name: &str) -> Result<&str, Malformed> {
    if name.is_empty() || name.len() > ID_BYTES_MAX { Err(Malformed("a device id is empty or too long")) } else { Ok(name) }
}

#[cfg(test)]
mod tests;
