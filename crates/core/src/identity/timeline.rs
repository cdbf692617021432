//! What an account was at each place of its log. An epoch of an encrypted session names such a place, which may be an old one.

use super::account::Account;
use crate::entry::{Digest, first_log_hash};
use crate::ids::DeviceId;
use crate::wire::{Field, Malformed, Record, Value, bytes_of, nested, put_block, record};

/// The places of an account's log, and who was listed from where to where.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Timeline {
    places: Places,
    /// Every device and recovery key that ever was: none is listed twice. A list, because there are few and a page loads less code
    /// for it.
    keys: Keys,
    last_cut: u64,
    last_reset: u64,
}

/// The log hash behind each entry.
#[derive(Debug, Clone, PartialEq, Default)]
struct Places(Vec<Digest>);

#[derive(Debug, Clone, PartialEq, Default)]
struct Keys(Vec<Key>);

/// A device or recovery key that was ever listed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Key {
    pub id: DeviceId,
    /// The entry that listed it.
    from: u64,
    /// The entry that removed it; 0: it is listed.
    until: u64,
    pub is_recovery_key: bool,
}

impl Timeline {
    /// The log has one more entry.
    pub fn extend(&mut self, hash: Digest) {
        self.places.0.push(hash);
    }

    /// How many entries the log has.
    pub fn end(&self) -> u64 {
        self.places.0.len() as u64
    }

    /// The log hash behind the last entry; `None` where there is none.
    pub fn last(&self) -> Option<Digest> {
        self.places.0.last().copied()
    }

    /// The last entry lists somebody.
    pub fn list(&mut self, id: DeviceId, is_recovery_key: bool) {
        let from = self.end();
        self.keys.0.push(Key { id, from, until: 0, is_recovery_key });
    }

    /// The last entry removes these.
    pub fn remove(&mut self, leaving: &[DeviceId]) {
        let until = self.end();
        for key in self.keys.0.iter_mut().filter(|key| leaving.contains(&key.id)) {
            key.until = until;
        }
        self.cut();
    }

    /// The last entry changes who may read.
    pub fn cut(&mut self) {
        self.last_cut = self.end();
    }

    /// The last entry is a reset.
    pub fn reset(&mut self) {
        self.last_reset = self.end();
    }

    /// How many were ever listed.
    pub fn count(&self) -> usize {
        self.keys.0.len()
    }

    /// A device or recovery key that was ever listed.
    pub fn key(&self, id: &str) -> Option<&Key> {
        self.keys.0.iter().find(|key| key.id == id)
    }

    fn device(&self, id: &str) -> Option<&Key> {
        self.key(id).filter(|key| !key.is_recovery_key)
    }
}

/// What was at a place. Of a place that is behind the end of the log nothing is known: who asks looks for that first.
impl Account {
    /// The log hash behind an entry, or that of a log without entries for 0; `None` for an entry that is not known here.
    pub fn place(&self, sequence: u64) -> Option<Digest> {
        match sequence.checked_sub(1) {
            None => Some(first_log_hash(&self.owner().account_id)),
            Some(index) => self.timeline.places.0.get(usize::try_from(index).ok()?).copied(),
        }
    }

    /// Whether a device was listed behind the entry with this number.
    pub fn was_listed_at(&self, id: &str, sequence: u64) -> bool {
        let is_there = |key: &Key| key.from <= sequence && (key.until == 0 || sequence < key.until);
        sequence <= self.timeline.end() && self.timeline.device(id).is_some_and(is_there)
    }

    /// Whether a device was listed once and is no longer.
    pub fn was_removed(&self, id: &str) -> bool {
        self.timeline.device(id).is_some_and(|key| key.until > 0)
    }

    /// Whether a device is listed, or was once.
    pub fn was_listed(&self, id: &str) -> bool {
        self.timeline.device(id).is_some()
    }

    /// The last entry that removed somebody or made a generation, 0 for none. An epoch that names an earlier place is over.
    pub fn last_cut(&self) -> u64 {
        self.timeline.last_cut
    }

    /// The last reset, 0 for none.
    pub fn last_reset(&self) -> u64 {
        self.timeline.last_reset
    }

    /// How much of it is kept for ever: devices, recovery keys and generations. The log has at most some entries for each.
    pub fn weight(&self) -> usize {
        self.timeline.count() + self.generations().len()
    }
}

record!(Timeline { 1 => places, 2 => keys, 3 => last_cut, 4 => last_reset });
record!(Key { 1 => id, 2 => from, 3 => until, 4 => is_recovery_key });
nested!(Timeline);

/// One hash behind the other.
impl Field for Places {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            put_block(number, self.0.as_flattened(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        let (hashes, rest) = bytes_of(value)?.as_chunks();
        self.0 = hashes.to_vec();
        if rest.is_empty() { Ok(()) } else { Err(Malformed(&"a digest has 32 bytes")) }
    }
}

impl Field for Keys {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        self.0.iter().for_each(|key| put_block(number, &key.encode(), out));
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        self.0.push(Key::decode(bytes_of(value)?)?);
        Ok(())
    }
}
