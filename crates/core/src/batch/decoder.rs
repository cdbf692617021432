//! The bytes of a batch read as entries, and checked.

use base64ct::{Base64, Encoding as _};

use super::{Before, DEFLATED, LAYOUT, row};
use crate::entry::{Entry, Extensions};
use crate::ids::{is_start, message_id};
use crate::limits::{ALSO_MAX, BATCH_MESSAGES_MAX, EXTENSIONS_BYTES_MAX, ID_BYTES_MAX, INFLATED_BYTES_MAX, INTEGER_MAX, SEQUENCE_MAX};
use crate::message::{Kind, Message, Stamp};
use crate::vector_clock::VectorClock;
use crate::wire::{Malformed, Reader, take_name, text};

/// A device of a batch's table, as it is read.
struct Device {
    id: String,
    start: String,
    wallet: usize,
    /// Of its last row so far.
    counter: u64,
}

/// The parts of a batch's bytes.
pub(super) struct Layout<'a> {
    pub(super) flags: u8,
    session: String,
    first: u64,
    count: usize,
    wallets: Vec<String>,
    devices: Vec<Device>,
    /// Where the rows begin, as they are.
    #[cfg(feature = "relay")]
    pub(super) tables_end: usize,
    pub(super) rows: &'a [u8],
}

impl<'a> Layout<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        if reader.byte()? != LAYOUT {
            return Err(Malformed(&"a batch of a layout that this version does not know"));
        }
        let flags = reader.byte()?;
        if flags & !DEFLATED != 0 {
            return Err(Malformed(&"a batch of a kind that this version does not know"));
        }
        let session = take_name(&mut reader)?;
        let first = reader.varint()?;
        let count = reader.below(BATCH_MESSAGES_MAX + 1)?;
        if first > SEQUENCE_MAX && count > 0 {
            return Err(Malformed(&"a sequence number is above 2^53 - 1"));
        }
        let wallets = reader.below(BATCH_MESSAGES_MAX + 1)?;
        let wallets = (0..wallets).map(|_| take_name(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        let devices = reader.below(BATCH_MESSAGES_MAX + 1)?;
        let mut device = || -> Result<Device, Malformed> {
            let id = short(reader.text()?)?.to_owned();
            let start = reader.text()?;
            if !start.is_empty() && !is_start(start) {
                return Err(Malformed(&"a start is not six letters and digits"));
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

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Entry>, Malformed> {
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
        return Err(Malformed(&"the rows of a batch do not inflate to the size they name"));
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
            return Err(Malformed(&"a row of a kind that this version does not know"));
        }
        let has = |bit| kind & bit != 0;
        let sequence_number = if first == 0 { 0 } else { first + number };
        let place = if has(row::DEVICE) { reader.below(devices.len())? } else { before.device };
        let device = devices.get_mut(place).ok_or(Malformed(&"a row names no device"))?;
        let change = if has(row::COUNTER) { reader.signed()? } else { 0 };
        let counter = device.counter.checked_add(1).and_then(|next| next.checked_add_signed(change));
        let counter = counter.filter(|counter| (1..=INTEGER_MAX).contains(counter)).ok_or(Malformed(&"a counter is out of range"))?;
        device.counter = counter;
        let knows = if has(row::KNOWS) {
            let said = reader.varint()?;
            if first == 0 { Some(said) } else { (sequence_number - 1).checked_sub(said) }
        } else if has(row::KNOWS_SAME) || first == 0 {
            Some(before.knows)
        } else {
            Some(sequence_number - 1)
        };
        let knows = knows.filter(|knows| *knows <= INTEGER_MAX).ok_or(Malformed(&"an entry knows what is out of range"))?;
        let mut also = VectorClock::new();
        if has(row::ALSO) {
            for _ in 0..reader.below(ALSO_MAX + 1)? {
                let device = short(reader.text()?)?;
                also.raise(device, reader.varint()?).map_err(|_| Malformed(&"a counter is out of range"))?;
            }
        }
        let entry_kind =
            if has(row::KIND) { u32::try_from(reader.varint()?).map_err(|_| Malformed(&"a kind is out of range"))? } else { 0 };
        let id = if has(row::ID) { reader.text()?.to_owned() } else { message_id(&session, &device.id, &device.start, counter) };
        let content_type = if has(row::CONTENT_TYPE) { Some(reader.text()?.to_owned()) } else { None };
        let replaces = if has(row::REPLACES) { Some(reader.text()?.to_owned()) } else { None };
        let wallet = if has(row::WALLET) { reader.below(wallets.len())? } else { device.wallet };
        let extra = if has(row::EXTRA) { reader.text()? } else { "" };
        let extensions = if has(row::EXTENSIONS) { reader.bytes()? } else { &[] };
        if extensions.len() > EXTENSIONS_BYTES_MAX {
            return Err(Malformed(&"the extensions of an entry are larger than the limit"));
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
            return Err(Malformed(&"a time is above 2^53 - 1"));
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
        return Err(Malformed(&"a batch goes on after its last row"));
    }
    Ok(entries)
}

fn short(name: &str) -> Result<&str, Malformed> {
    if name.is_empty() || name.len() > ID_BYTES_MAX { Err(Malformed(&"a device id is empty or too long")) } else { Ok(name) }
}
