//! Numbers and texts as PROTOCOL.md writes them, in one form.

use alloc::vec::Vec;

/// The largest number that JavaScript holds exactly, as everywhere.
pub(crate) const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Bytes that are not what they must be; says what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Takes from the front of bytes.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| *byte)
    }

    /// A number that is written as short as it can be.
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..56).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let is_short = byte > 0 || shift == 0;
                return if is_short && number <= INTEGER_MAX { Ok(number) } else { Err(Malformed("a number in another form")) };
            }
        }
        Err(Malformed("a number above 2^53 - 1"))
    }

    /// How many follow: from 1, at most so many.
    pub fn count(&mut self, most: usize) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).ok().filter(|count| (1..=most).contains(count)).ok_or(Malformed("a count is out of range"))
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const COUNT: usize>(&mut self) -> Result<&'a [u8; COUNT], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("more stands behind its end")) }
    }
}
