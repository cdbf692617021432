//! A session's log up to its end: what has to be known of it to check and place the next entry. The relay and every
//! device hold the same, and whoever holds the same log has the same hash of it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entry::{Digest, Entry, first_digest, first_log_hash, next_log_hash, short_hex};
use crate::ids::DeviceId;
use crate::limits::{CLOCK_DEVICES_MAX, RECENT_ENTRIES_MAX};
use crate::vector_clock::VectorClock;
use crate::wire::{Field, Malformed, Record as _, Value, bytes_of, digest_of, put_block, record};

/// Why entries do not follow what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Entries are missing before them: ask again.
    Gap,
    /// No honest relay sends this.
    Broken(String),
    /// The relay names the hash of another log.
    Forked(String),
    /// An entry is not as its device signed it.
    Forged(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::Gap => "entries are missing before them",
            Refusal::Broken(what) | Refusal::Forked(what) | Refusal::Forged(what) => what,
        })
    }
}

/// A log up to an entry, in short: whoever names the same place and another hash has another log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// The entry's sequence number.
    pub sequence: u64,
    /// The running hash of the log up to it. In JSON in hex.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub hash: Digest,
}

impl std::fmt::Display for LogHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.sequence, short_hex(&self.hash))
    }
}

pub(crate) fn to_hex<S: Serializer, const COUNT: usize>(bytes: &[u8; COUNT], serializer: S) -> Result<S::Ok, S::Error> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&hex)
}

pub(crate) fn from_hex<'de, D: Deserializer<'de>, const COUNT: usize>(deserializer: D) -> Result<[u8; COUNT], D::Error> {
    let text = String::deserialize(deserializer)?;
    let digit = |byte: u8| u8::try_from((byte as char).to_digit(16)?).ok();
    let byte = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| serde::de::Error::custom(format!("it must be {} hex digits", 2 * COUNT)))
}

/// The last entry of a device in a log.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceHead {
    /// The device.
    pub device_id: Arc<str>,
    /// The entry's counter.
    pub counter: u64,
    /// Its place.
    pub sequence: u64,
    /// Its digest, and so that of all that the device wrote.
    pub digest: Digest,
}

/// The heads of a log in a stored record.
#[derive(Default)]
pub(crate) struct StoredHeads(pub Vec<DeviceHead>);

#[derive(Default)]
struct StoredHead {
    device_id: DeviceId,
    counter: u64,
    sequence: u64,
    digest: Vec<u8>,
}

record!(StoredHead { 1 => device_id, 2 => counter, 3 => sequence, 4 => digest });

impl Field for StoredHeads {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for DeviceHead { device_id, counter, sequence, digest } in &self.0 {
            let head = StoredHead { device_id: (**device_id).to_owned(), counter: *counter, sequence: *sequence, digest: digest.to_vec() };
            put_block(number, &head.encode(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        let StoredHead { device_id, counter, sequence, digest } = StoredHead::decode(bytes_of(value)?)?;
        self.0.push(DeviceHead { device_id: device_id.into(), counter, sequence, digest: digest_of(&digest)? });
        Ok(())
    }
}

/// A session's log up to its end. Cheap to clone: what is long is shared until it changes.
#[derive(Debug, Clone)]
pub struct Log {
    end: u64,
    hash: Digest,
    /// In the order of the device ids.
    heads: Arc<Vec<DeviceHead>>,
    /// The device that wrote the last entry, and the place of the last entry that another one wrote: what no message of
    /// a device has to know beside its own is found by these two alone.
    last_device: Arc<str>,
    other_end: u64,
    /// The last entries that were taken, newest last.
    recent: Arc<VecDeque<Recent>>,
}

/// An entry that was taken, to look back.
#[derive(Debug, Clone)]
struct Recent {
    device: Arc<str>,
    /// The device's counter before it.
    before: u64,
    /// The hash of the log before it.
    hash: Digest,
}

/// Two logs are the same where their ends, hashes and heads are: what was taken recently only helps to look back.
impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        (self.end, self.hash, &self.heads) == (other.end, other.hash, &other.heads)
    }
}

impl Log {
    /// The log of a session that has no entries.
    pub fn new(session: &str) -> Log {
        Log { end: 0, hash: first_log_hash(session), heads: Arc::default(), last_device: "".into(), other_end: 0, recent: Arc::default() }
    }

    /// A log that was stored: its end, its hash and the last entry of each device.
    pub fn restore(end: u64, hash: Digest, stored: Vec<DeviceHead>) -> Log {
        let mut heads: Vec<DeviceHead> = Vec::with_capacity(stored.len());
        for head in stored {
            // They are stored in this order: each goes to the end.
            heads.insert(heads.partition_point(|other| other.device_id <= head.device_id), head);
        }
        let last = heads.iter().max_by_key(|head| head.sequence);
        let last_device = last.map_or_else(|| "".into(), |head| head.device_id.clone());
        let other_end = heads.iter().filter(|head| head.device_id != last_device).map(|head| head.sequence).max().unwrap_or(0);
        Log { end, hash, heads: Arc::new(heads), last_device, other_end, recent: Arc::default() }
    }

    /// The same with only the heads of the devices that wrote behind this place.
    pub fn since(&self, sequence: u64) -> Log {
        Log::restore(self.end, self.hash, self.heads.iter().filter(|head| head.sequence > sequence).cloned().collect())
    }

    /// The same with the heads of devices that it has none of.
    pub fn with(&self, mut heads: Vec<DeviceHead>) -> Log {
        heads.retain(|head| self.head(&head.device_id).is_none());
        heads.extend_from_slice(&self.heads);
        Log::restore(self.end, self.hash, heads)
    }

    /// The last sequence number, 0 where there are no entries.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The running hash of all entries.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The log up to its end, in short.
    pub fn log_head(&self) -> LogHead {
        LogHead { sequence: self.end, hash: self.hash }
    }

    /// Compares with what the relay says of its log, where that is about the same place.
    ///
    /// # Errors
    /// [`Refusal::Forked`], with both values.
    pub fn compare(&self, other: Option<LogHead>) -> Result<(), Refusal> {
        match other {
            Some(other) if other.sequence == self.end && other.hash != self.hash => {
                Err(Refusal::Forked(format!("the relay's log up to {other} is another than the stored one, {}", self.log_head())))
            }
            _ => Ok(()),
        }
    }

    /// The running hash up to a sequence number; `None` where that is behind the end, or further back than what was taken
    /// recently ([`RECENT_ENTRIES_MAX`]).
    pub fn hash_at(&self, sequence: u64) -> Option<Digest> {
        match usize::try_from(self.end.checked_sub(sequence)?).ok()? {
            0 => Some(self.hash),
            back => Some(self.recent.get(self.recent.len().checked_sub(back)?)?.hash),
        }
    }

    /// The last entry of each device, in the order of their ids.
    pub fn heads(&self) -> &[DeviceHead] {
        &self.heads
    }

    /// The last entry of a device.
    pub fn head(&self, device: &str) -> Option<&DeviceHead> {
        self.place(device).ok().map(|place| &self.heads[place])
    }

    /// The counter of a device's last entry, 0 where it has none.
    pub fn counter(&self, device: &str) -> u64 {
        self.head(device).map_or(0, |head| head.counter)
    }

    /// The digest that a device's next entry follows.
    pub fn digest(&self, session: &str, device: &str) -> Digest {
        self.head(device).map_or_else(|| first_digest(session, device), |head| head.digest)
    }

    fn place(&self, device: &str) -> Result<usize, usize> {
        self.heads.binary_search_by(|head| (*head.device_id).cmp(device))
    }

    /// Whether entries of other devices are in the log that an entry behind its end did not know. Takes the same time
    /// however long the log is and however many devices it has, unless the entry knows more than the log.
    pub fn is_concurrent(&self, entry: &Entry) -> bool {
        let foreign = if *self.last_device == *entry.device_id { self.other_end } else { self.end };
        let unknown = |head: &DeviceHead| {
            *head.device_id != *entry.device_id && head.sequence > entry.knows && head.counter > entry.also.get(&head.device_id)
        };
        foreign > entry.knows && (entry.also.is_empty() || self.heads.iter().any(unknown))
    }

    /// Takes the next entry. Checks what the relay promises: sequence numbers without holes (I5), ascending counters of a
    /// device (I8), and no entry before what its author knew (I10).
    ///
    /// # Errors
    /// [`Refusal::Broken`]; the log is unchanged then.
    pub fn take(&mut self, entry: &Entry) -> Result<(), Refusal> {
        let Entry { sequence_number: sequence, counter, knows, device_id: device, .. } = entry;
        if *sequence != self.end + 1 {
            return Err(Refusal::Broken(format!("the log goes on with sequence {sequence} after {}", self.end)));
        }
        if knows >= sequence {
            return Err(Refusal::Broken(format!("entry {sequence} knows entry {knows}, which is not before it")));
        }
        let place = self.place(device);
        let before = place.map_or(0, |place| self.heads[place].counter);
        if *counter <= before {
            return Err(Refusal::Broken(format!("counter {counter} of {device} comes after its counter {before}, at {sequence}")));
        }
        if place.is_err() && self.heads.len() >= CLOCK_DEVICES_MAX {
            return Err(Refusal::Broken(format!("the log has more than {CLOCK_DEVICES_MAX} devices")));
        }
        let digest = entry.digest(&self.digest(&entry.message.session_id, device));
        let heads = Arc::make_mut(&mut self.heads);
        let place = match place {
            Ok(place) => {
                let head = &mut heads[place];
                (head.counter, head.sequence, head.digest) = (*counter, *sequence, digest);
                place
            }
            Err(place) => {
                heads.insert(place, DeviceHead { device_id: device.as_str().into(), counter: *counter, sequence: *sequence, digest });
                place
            }
        };
        let device = heads[place].device_id.clone();
        if device != self.last_device {
            (self.last_device, self.other_end) = (device.clone(), self.end);
        }
        let recent = Arc::make_mut(&mut self.recent);
        if recent.len() >= RECENT_ENTRIES_MAX {
            recent.pop_front();
        }
        recent.push_back(Recent { device, before, hash: self.hash });
        self.end = *sequence;
        self.hash = next_log_hash(&self.hash, &digest, entry.server_timestamp);
        Ok(())
    }

    /// Takes the entries that continue the log, and leaves out those that it has. Gives each that is new, and whether it
    /// is concurrent with entries before it. `check` sees each that is new, and the log with it.
    ///
    /// # Errors
    /// [`Refusal`]; the log may have moved on then and must be thrown away.
    pub fn accept(
        &mut self,
        entries: Vec<Entry>,
        mut check: impl FnMut(&Entry, &Log) -> Result<(), Refusal>,
    ) -> Result<Vec<(Entry, bool)>, Refusal> {
        let mut fresh: Vec<(Entry, bool)> = Vec::new();
        let mut last = None;
        for entry in entries {
            let sequence = entry.sequence_number;
            if last.is_some_and(|last| sequence != last + 1) || sequence == 0 {
                return Err(Refusal::Broken(format!("a batch goes on with sequence {sequence}, which does not follow")));
            }
            last = Some(sequence);
            if sequence <= self.end {
                continue;
            }
            if fresh.is_empty() && sequence != self.end + 1 {
                return Err(Refusal::Gap);
            }
            let is_concurrent = self.is_concurrent(&entry);
            self.take(&entry)?;
            check(&entry, self)?;
            fresh.push((entry, is_concurrent));
        }
        Ok(fresh)
    }

    /// The highest counter of each device.
    pub fn clock(&self) -> VectorClock {
        VectorClock::of_sorted(self.heads.iter().map(|head| (head.device_id.clone(), head.counter)))
    }

    /// The highest counter of each device up to a sequence number; `None` where that is further back than what was taken
    /// recently ([`RECENT_ENTRIES_MAX`]).
    pub fn clock_at(&self, sequence: u64) -> Option<VectorClock> {
        let back = usize::try_from(self.end.saturating_sub(sequence)).ok().filter(|back| *back <= self.recent.len())?;
        let mut counters: Vec<u64> = self.heads.iter().map(|head| head.counter).collect();
        for Recent { device, before, .. } in self.recent.iter().rev().take(back) {
            if let Ok(place) = self.place(device) {
                counters[place] = *before;
            }
        }
        Some(VectorClock::of_sorted(self.heads.iter().zip(counters).map(|(head, counter)| (head.device_id.clone(), counter))))
    }

    /// The vector clock of an entry, of this log or behind its end: what its author knew, itself included. Of one that
    /// knew less than what was taken recently, only its own counter and what it knew beside the log.
    pub fn clock_of(&self, entry: &Entry) -> VectorClock {
        clock_from(self.clock_at(entry.knows).unwrap_or_default(), entry)
    }
}

/// The vector clock of an entry, given the clock of the log up to what it knows.
pub fn clock_from(mut known: VectorClock, entry: &Entry) -> VectorClock {
    let also = entry.also.iter().filter(|(device, _)| *device != entry.device_id);
    for (device, counter) in also.chain([(entry.device_id.as_str(), entry.counter)]) {
        // A clock that is full already stays a true one without it.
        let _ = known.raise(device, counter);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn entry(sequence_number: u64, device: &str, counter: u64, knows: u64) -> Entry {
        let message = Message { id: format!("m{sequence_number}"), session_id: "s".into(), ..Message::default() };
        Entry { message, device_id: device.into(), counter, knows, sequence_number, ..Entry::default() }
    }

    fn log(entries: &[Entry]) -> Log {
        let mut log = Log::new("s");
        entries.iter().for_each(|entry| log.take(entry).unwrap());
        log
    }

    #[test]
    fn a_log_accepts_only_entries_that_leave_no_gap() {
        let batch = || vec![entry(2, "a", 2, 1), entry(3, "b", 1, 2)];
        let mut one = log(&[entry(1, "a", 1, 0)]);
        assert_eq!(one.accept(batch(), |_, _| Ok(())).unwrap().len(), 2);
        assert_eq!((one.end(), one.counter("a"), one.counter("b"), one.counter("c")), (3, 2, 1, 0));
        assert_eq!(one.accept(batch(), |_, _| Ok(())).unwrap(), []);
        assert_eq!(Log::new("s").accept(batch(), |_, _| Ok(())), Err(Refusal::Gap));
    }

    #[test]
    fn a_batch_no_honest_relay_sends_is_refused() {
        let broken = [
            vec![entry(1, "a", 1, 0), entry(3, "a", 2, 0)],
            vec![entry(1, "a", 1, 0), entry(2, "a", 1, 0)],
            vec![entry(1, "a", 1, 1)],
            vec![entry(0, "a", 1, 0)],
            vec![entry(1, "a", 0, 0)],
        ];
        for batch in broken {
            assert!(matches!(Log::new("s").accept(batch.clone(), |_, _| Ok(())), Err(Refusal::Broken(_))), "{batch:?}");
        }
    }

    #[test]
    fn an_entry_is_concurrent_with_foreign_entries_it_never_knew() {
        let base = [entry(1, "a", 1, 0), entry(2, "b", 1, 1), entry(3, "a", 2, 2), entry(4, "a", 3, 3)];
        let one = log(&base);
        let concurrent = |device: &str, knows: u64| one.is_concurrent(&entry(5, device, 9, knows));
        assert!(!concurrent("a", 2) && concurrent("a", 1), "a wrote 3 and 4 itself");
        assert!(!concurrent("b", 4) && concurrent("b", 3));
        assert!(!concurrent("c", 4) && concurrent("c", 0));
        let restored = Log::restore(one.end(), one.hash(), one.heads().to_vec());
        for (device, knows) in [("a", 1), ("a", 2), ("b", 3), ("b", 4), ("c", 0), ("c", 4)] {
            assert_eq!(restored.is_concurrent(&entry(5, device, 9, knows)), concurrent(device, knows));
        }
    }

    #[test]
    fn entries_named_in_also_are_not_concurrent() {
        let one = log(&[entry(1, "a", 1, 0), entry(2, "b", 1, 1), entry(3, "a", 2, 2)]);
        let knowing = |pairs: &[(&str, u64)]| {
            let mut also = VectorClock::new();
            pairs.iter().for_each(|(device, counter)| also.raise(device, *counter).unwrap());
            one.is_concurrent(&Entry { also, ..entry(4, "c", 1, 0) })
        };
        assert!(knowing(&[]) && knowing(&[("a", 2)]) && knowing(&[("a", 1), ("b", 1)]));
        assert!(!knowing(&[("a", 2), ("b", 1)]));
    }

    #[test]
    fn an_entrys_clock_covers_exactly_the_log_it_knows() {
        let one = log(&[entry(1, "a", 1, 0), entry(2, "b", 1, 1), entry(3, "a", 2, 2), entry(4, "b", 2, 1)]);
        let clock = |entry: &Entry| one.clock_of(entry).to_string();
        assert_eq!(clock(&entry(5, "c", 1, 4)), r#"{"a":2,"b":2,"c":1}"#);
        assert_eq!(clock(&entry(5, "c", 1, 2)), r#"{"a":1,"b":1,"c":1}"#);
        assert_eq!(clock(&entry(4, "b", 2, 1)), r#"{"a":1,"b":2}"#);
        let restored = Log::restore(one.end(), one.hash(), one.heads().to_vec());
        assert_eq!(restored.clock_at(4), Some(one.clock()));
        assert_eq!(restored.clock_at(3), None, "nothing was taken since it was restored");
    }

    #[test]
    fn logs_that_differ_anywhere_have_other_hashes() {
        let base = [entry(1, "a", 1, 0), entry(2, "b", 1, 1)];
        let one = log(&base);
        assert_eq!(log(&base), one);
        let mut other = base.clone();
        other[0].message.ciphertext = "x".into();
        assert_ne!(log(&other).hash(), one.hash());
        let mut later = base;
        later[1].server_timestamp = 1;
        assert_ne!(log(&later).hash(), one.hash());
        assert_eq!(log(&later).heads(), one.heads(), "the relay's time is no part of what its author fixed");
    }
}
