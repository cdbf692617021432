//! The encoding of Protocol Buffers, as far as our frames and records need it: tagged fields, so that what a newer
//! version adds is skipped, and what was stored months ago is read.
//!
//! Written by hand because the types of the core are the types of the wire: no second set of structs, and a third of
//! the code in the wasm. The schema stands in PROTOCOL.md; the tests read our bytes with `prost`.

use crate::error::{ErrorCode, SyncError};
use crate::ids::{public_key, uuid_bytes, uuid_text, wallet_address};
use crate::limits::{BATCH_MESSAGES_MAX, ID_BYTES_MAX, INTEGER_MAX};
use crate::vector_clock::VectorClock;

/// Bytes that are not what they must be; says what is wrong. Behind a pointer: a page loads less code where reading gives back a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static &'static str);

impl Malformed {
    /// As an error of the wire.
    pub fn in_frame(self) -> SyncError {
        SyncError::new(ErrorCode::InvalidMessageFormat, ["a binary frame: ", *self.0].concat())
    }

    /// As an error of a store.
    pub fn in_store(self) -> SyncError {
        SyncError::new(ErrorCode::StorageError, ["a stored record: ", *self.0].concat())
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a kind that no field of ours has.
    Foreign,
}

/// Appends a base-128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number: small ones of either sign are short.
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
}

/// Appends bytes with their length before them.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes from the front of bytes.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed(&"it ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed(&"a number has more than 64 bits"))
    }

    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A number of things that follow or a place among them, which must be below `limit`.
    pub fn below(&mut self, limit: usize) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).ok().filter(|number| *number < limit).ok_or(Malformed(&"a count or place is out of range"))
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed(&"it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const COUNT: usize>(&mut self) -> Result<&'a [u8; COUNT], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed(&"it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.below(usize::MAX)?;
        self.take(length)
    }

    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        text(self.bytes()?)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Foreign)?,
            2 => Value::Bytes(self.bytes()?),
            5 => self.take(4).map(|_| Value::Foreign)?,
            _ => return Err(Malformed(&"a field is of an unknown kind")),
        };
        Ok((tag >> 3, value))
    }
}

pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed(&"a text is not UTF-8"))
}

/// Names that have a shorter form: 0 stands before the 32 bytes of a wallet, 1 before the 16 of a UUID, and the length
/// + 2 before any other.
pub(crate) fn put_name(out: &mut Vec<u8>, name: &str) {
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

pub(crate) fn take_name(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(match reader.below(usize::MAX)? {
        0 => wallet_address(reader.array()?),
        1 => uuid_text(reader.array()?),
        // Every row has its session and wallet: a long one would stand for a thousand times its length.
        length if length - 2 <= ID_BYTES_MAX => text(reader.take(length - 2)?)?.to_owned(),
        _ => return Err(Malformed(&"a session id or wallet is too long")),
    })
}

/// Most frames and records fit, and do not grow step by step.
pub(crate) const SMALL_BYTES: usize = 256;

/// A message of Protocol Buffers. Fields of other numbers are skipped.
pub(crate) trait Record {
    fn put_fields(&self, out: &mut Vec<u8>);
    fn take_field(&mut self, number: u64, value: &Value<'_>) -> Result<(), Malformed>;

    fn encode(&self) -> Vec<u8>
    where
        Self: Sized,
    {
        encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed>
    where
        Self: Sized + Default,
    {
        let mut record = Self::default();
        merge(&mut record, bytes)?;
        Ok(record)
    }
}

// One function for all records: a page would load one for each.

fn encode(record: &dyn Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(SMALL_BYTES);
    record.put_fields(&mut out);
    out
}

/// Takes the fields that stand in these bytes.
fn merge(record: &mut dyn Record, bytes: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let (number, value) = reader.field()?;
        record.take_field(number, &value)?;
    }
    Ok(())
}

/// A record that is a field.
pub(crate) fn put_record(number: u64, record: &dyn Record, out: &mut Vec<u8>) {
    put_block(number, &encode(record), out);
}

pub(crate) fn take_record(record: &mut dyn Record, value: &Value<'_>) -> Result<(), Malformed> {
    merge(record, bytes_of(value)?)
}

/// A field of a record. What equals nothing is left out; a field that is not there is nothing.
pub(crate) trait Field {
    fn put(&self, number: u64, out: &mut Vec<u8>);
    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed>;
}

pub(crate) fn put_number(number: u64, value: u64, out: &mut Vec<u8>) {
    put_varint(out, number << 3);
    put_varint(out, value);
}

pub(crate) fn put_block(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(out, number << 3 | 2);
    put_bytes(out, bytes);
}

const WRONG_KIND: Malformed = Malformed(&"a field has another kind than it must have");

pub(crate) fn number_of(value: &Value<'_>) -> Result<u64, Malformed> {
    match *value {
        Value::Number(number) if number <= INTEGER_MAX => Ok(number),
        Value::Number(_) => Err(Malformed(&"a number is above 2^53 - 1")),
        _ => Err(WRONG_KIND),
    }
}

pub(crate) fn bytes_of<'a>(value: &Value<'a>) -> Result<&'a [u8], Malformed> {
    if let Value::Bytes(bytes) = value { Ok(bytes) } else { Err(WRONG_KIND) }
}

impl Field for u64 {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if *self != 0 {
            put_number(number, *self, out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        *self = number_of(value)?;
        Ok(())
    }
}

impl Field for bool {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        u64::from(*self).put(number, out);
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        *self = number_of(value)? != 0;
        Ok(())
    }
}

impl Field for String {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_block(number, self.as_bytes(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        text(bytes_of(value)?)?.clone_into(self);
        Ok(())
    }
}

impl Field for Option<u64> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(value) = self {
            put_number(number, *value, out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        *self = Some(number_of(value)?);
        Ok(())
    }
}

impl Field for Option<String> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(text) = self {
            put_block(number, text.as_bytes(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        self.get_or_insert_default().take(value)
    }
}

impl Field for Vec<u64> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        self.iter().for_each(|item| put_number(number, *item, out));
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        self.push(number_of(value)?);
        Ok(())
    }
}

impl Field for Vec<String> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for text in self {
            put_block(number, text.as_bytes(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        if self.len() >= BATCH_MESSAGES_MAX {
            return Err(Malformed(&"a list is longer than the limit"));
        }
        self.push(text(bytes_of(value)?)?.to_owned());
        Ok(())
    }
}

/// Bytes; the length is for their reader to check.
impl Field for Vec<u8> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_block(number, self, out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        bytes_of(value)?.clone_into(self);
        Ok(())
    }
}

/// A digest, which has 32 bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> Result<[u8; 32], Malformed> {
    bytes.try_into().map_err(|_| Malformed(&"a digest has 32 bytes"))
}

/// A `map<string, uint64>`.
impl Field for VectorClock {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for (device, counter) in self.iter() {
            let mut pair = Vec::with_capacity(device.len() + 12);
            put_block(1, device.as_bytes(), &mut pair);
            put_number(2, counter, &mut pair);
            put_block(number, &pair, out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        #[derive(Default)]
        struct Pair {
            device: String,
            counter: u64,
        }
        record!(Pair { 1 => device, 2 => counter });
        let Pair { device, counter } = Pair::decode(bytes_of(value)?)?;
        crate::ids::check_id("device", &device).map_err(|_| Malformed(&"a device id of a vector clock is empty or too long"))?;
        self.raise(&device, counter).map_err(|_| Malformed(&"a vector clock has too many devices"))
    }
}

/// Implements [`Record`]: field numbers and the struct's fields.
macro_rules! record {
    ($record:ty { $($number:literal => $field:ident),+ $(,)? }) => {
        impl $crate::wire::Record for $record {
            fn put_fields(&self, out: &mut Vec<u8>) {
                $($crate::wire::Field::put(&self.$field, $number, out);)+
            }

            fn take_field(&mut self, number: u64, value: &$crate::wire::Value<'_>) -> Result<(), $crate::wire::Malformed> {
                match number {
                    $($number => $crate::wire::Field::take(&mut self.$field, value),)+
                    _ => Ok(()),
                }
            }
        }
    };
}
pub(crate) use record;

/// Lets a [`Record`] be a field: on its own it is always written; in a list once for each.
macro_rules! nested {
    ($($record:ty),+ $(,)?) => {$(
        impl $crate::wire::Field for $record {
            fn put(&self, number: u64, out: &mut Vec<u8>) {
                $crate::wire::put_record(number, self, out);
            }

            fn take(&mut self, value: &$crate::wire::Value<'_>) -> Result<(), $crate::wire::Malformed> {
                $crate::wire::take_record(self, value)
            }
        }

        impl $crate::wire::Field for Vec<$record> {
            fn put(&self, number: u64, out: &mut Vec<u8>) {
                for item in self {
                    $crate::wire::Field::put(item, number, out);
                }
            }

            fn take(&mut self, value: &$crate::wire::Value<'_>) -> Result<(), $crate::wire::Malformed> {
                if self.len() >= $crate::limits::BATCH_MESSAGES_MAX {
                    return Err($crate::wire::Malformed(&"a list is longer than the limit"));
                }
                self.push($crate::wire::Record::decode($crate::wire::bytes_of(value)?)?);
                Ok(())
            }
        }
    )+};
}
pub(crate) use nested;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_long_ones_are_refused() {
        for number in [0, 1, 127, 128, INTEGER_MAX, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            assert_eq!(Reader(&bytes).varint(), Ok(number));
        }
        for number in [0, -1, 1, 63, -64, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, number);
            assert_eq!(Reader(&bytes).signed(), Ok(number));
        }
        assert!(Reader(&[0xff; 11]).varint().is_err());
        assert!(Reader(&[0x80, 0x80]).varint().is_err(), "it ends in the middle");
        let of_65_bits = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2];
        assert!(Reader(&of_65_bits).varint().is_err(), "its highest bit would be lost");
    }

    #[test]
    fn unknown_fields_are_skipped_and_unknown_kinds_refused() {
        #[derive(Default, Debug, PartialEq)]
        struct Small {
            name: String,
            count: u64,
        }
        record!(Small { 1 => name, 2 => count });
        let small = Small { name: "n".into(), count: 7 };
        let mut bytes = small.encode();
        put_number(90, 5, &mut bytes);
        put_block(91, b"later", &mut bytes);
        bytes.extend([92 << 3 & 0x7f | 0x80 | 1, 92 >> 4, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([93 << 3 & 0x7f | 0x80 | 5, 93 >> 4, 0, 0, 0, 0]);
        assert_eq!(Small::decode(&bytes), Ok(small));
        assert!(Small::decode(&[0x0b]).is_err());
        assert!(Small::decode(&[0x12, 0x01, 0x00]).is_err(), "a number that came as bytes");
        let mut huge = Vec::new();
        put_number(2, INTEGER_MAX + 1, &mut huge);
        assert!(Small::decode(&huge).is_err());
    }
}
