//! Parts of the log, encoded once for all who ask for them: what is in the log never changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::session::TailEntry;
use crate::batch::{Batch, Encoder};
use crate::entry::Digest;
use crate::frame::{Encoding, Payload, SeedEntry};
use crate::identity::UpdateSignature;
use crate::ids::{DeviceId, SessionId};
use crate::limits::FRAME_BYTES_MAX;
use crate::log::LogHead;

/// Of the encoded parts that are kept. Enough for many devices to catch up on the same long history.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a kept part takes beside its batch: its key twice, and the frame of a push of a small one.
const PART_BYTES: usize = 1_024;

/// Messages in one frame: the rest is for its own fields.
const MESSAGES_BYTES_MAX: usize = FRAME_BYTES_MAX - 8 * 1024;

/// What a device's signature takes in a frame at most.
const SIGNATURE_BYTES: usize = 160;
const SIGNATURE_JSON_BYTES: usize = 420;

/// Which part, for whom. Parts end at multiples of the batch size, so that devices which began at different places soon
/// ask for the same ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchKey {
    pub session_id: SessionId,
    pub from: u64,
    pub count_max: usize,
    pub form: Form,
}

/// What a connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// In JSON with vector clocks.
    Seed,
    Json,
    Binary,
    Deflated,
}

impl Form {
    pub fn encoding(self) -> Encoding {
        match self {
            Form::Seed | Form::Json => Encoding::Json,
            Form::Binary | Form::Deflated => Encoding::Binary,
        }
    }
}

impl BatchKey {
    /// The last sequence number that this part may have.
    pub fn boundary(&self) -> u64 {
        let size = self.count_max as u64;
        (self.from - 1) / size * size + size
    }

    /// Encodes the part from its entries, of which there may be more than fit. Of each device that signs it has the last
    /// signature, which covers all that the device wrote before.
    pub fn encode<'a>(&self, entries: impl Iterator<Item = &'a TailEntry>, through: u64) -> Option<Part> {
        let mut entries = entries.take_while(|entry| entry.stored.sequence <= through).peekable();
        let mut encoder = Encoder::new(&entries.peek()?.entry, MESSAGES_BYTES_MAX);
        let (mut last, mut time_ms, mut json_bytes) = (None, 0, 0);
        let mut writers: BTreeMap<&str, Option<&UpdateSignature>> = BTreeMap::new();
        for TailEntry { stored, entry } in entries {
            let is_signer = stored.signature.is_some() && writers.get(&*entry.device_id).is_none_or(|signature| signature.is_none());
            if self.form == Form::Json {
                json_bytes += serde_json::to_string(entry).map_or(0, |json| json.len() + 1);
                json_bytes += if is_signer { SIGNATURE_JSON_BYTES } else { 0 };
                if json_bytes > MESSAGES_BYTES_MAX && last.is_some() {
                    break;
                }
            }
            if is_signer {
                encoder.reserve(SIGNATURE_BYTES);
            }
            if !encoder.push(entry) {
                break;
            }
            let signature = writers.entry(&entry.device_id).or_default();
            *signature = stored.signature.as_ref().or(*signature);
            time_ms = entry.server_timestamp;
            last = Some(LogHead { sequence: entry.sequence_number, hash: stored.log_hash });
        }
        let batch = encoder.finish();
        let batch = if self.form == Form::Deflated { batch.deflate() } else { batch };
        let signatures = writers.values().copied().flatten().cloned().collect();
        let writers = writers.into_keys().map(str::to_owned).collect();
        Some(Part { signatures, writers, time_ms, ..self.part(last?, through, Content::Batch(batch)) })
    }

    /// Writes the part in the form of seed clients, from entries that are in it.
    pub fn encode_seed(&self, entries: impl Iterator<Item = (SeedEntry, Digest)>, through: u64) -> Option<Part> {
        let (mut taken, mut last, mut json_bytes) = (Vec::new(), None, 0);
        for (entry, hash) in entries.take_while(|(entry, _)| entry.sequence_number <= through) {
            json_bytes += serde_json::to_string(&entry).map_or(0, |json| json.len() + 1);
            if json_bytes > MESSAGES_BYTES_MAX && last.is_some() {
                break;
            }
            last = Some(LogHead { sequence: entry.sequence_number, hash });
            taken.push(entry);
        }
        Some(self.part(last?, through, Content::Seed(taken.into())))
    }

    fn part(&self, log: LogHead, through: u64, content: Content) -> Part {
        let is_closed = log.sequence < through || log.sequence == self.boundary();
        Part { through: log.sequence, is_closed, content, signatures: [].into(), writers: [].into(), log, time_ms: 0, push: None }
    }
}

/// What a part holds.
#[derive(Clone)]
pub(super) enum Content {
    Batch(Batch),
    Seed(Arc<[SeedEntry]>),
}

/// An encoded part.
#[derive(Clone)]
pub(super) struct Part {
    pub through: u64,
    /// It will not grow with the log: it is as large as it may be.
    pub is_closed: bool,
    pub content: Content,
    /// The last signature of each device that signs.
    pub signatures: Arc<[UpdateSignature]>,
    /// The devices that wrote it.
    pub writers: Arc<[DeviceId]>,
    /// The log up to its last entry.
    pub log: LogHead,
    /// When that was numbered; 0 where nobody is told.
    pub time_ms: u64,
    /// The frame of a live push of it, the same for everybody, and the head of the log that it names.
    pub push: Option<(u64, Payload)>,
}

impl Part {
    fn weight(&self) -> usize {
        let bytes = match &self.content {
            Content::Batch(batch) => batch.bytes().len(),
            Content::Seed(entries) => entries.iter().map(|entry| PART_BYTES / 4 + entry.message.ciphertext.len()).sum(),
        };
        bytes + PART_BYTES + self.signatures.len() * SIGNATURE_BYTES
    }
}

/// The parts that were encoded last.
#[derive(Default)]
pub(super) struct BatchCache {
    parts: BTreeMap<BatchKey, Part>,
    order: VecDeque<BatchKey>,
    bytes: usize,
}

impl BatchCache {
    /// The part, where it is kept, reaches as far as it can, and not beyond `through`.
    pub fn get(&self, key: &BatchKey, through: u64) -> Option<&Part> {
        let is_whole = |part: &&Part| part.through == through || (part.is_closed && part.through < through);
        self.parts.get(key).filter(is_whole)
    }

    /// Keeps the frame of a live push with its part, as long as that is kept.
    pub fn keep_push(&mut self, key: &BatchKey, push: Option<(u64, Payload)>) {
        if let Some(part) = self.parts.get_mut(key) {
            part.push = push;
        }
    }

    pub fn insert(&mut self, key: BatchKey, part: Part) {
        self.bytes += part.weight();
        match self.parts.insert(key.clone(), part) {
            Some(old) => self.bytes -= old.weight(),
            None => self.order.push_back(key),
        }
        while self.bytes > CACHE_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(part) = self.parts.remove(&oldest) {
                self.bytes -= part.weight();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::message::Message;
    use crate::relay::StoredEntry;

    fn key(from: u64, count_max: usize, form: Form) -> BatchKey {
        BatchKey { session_id: "room".into(), from, count_max, form }
    }

    /// The entries of a log that has these texts.
    fn log(texts: &[&str]) -> Vec<Entry> {
        let entry = |(sequence_number, text): (u64, &&str)| Entry {
            message: Message { session_id: "room".into(), ciphertext: (*text).into(), ..Message::default() },
            sequence_number,
            device_id: "d".into(),
            counter: sequence_number,
            ..Entry::default()
        };
        (1..).zip(texts).map(entry).collect()
    }

    /// As they are stored, each with a hash that tells its place.
    fn stored(entries: &[Entry]) -> Vec<TailEntry> {
        let stored = |entry: &Entry| StoredEntry {
            sequence: entry.sequence_number,
            device_id: entry.device_id.clone(),
            counter: entry.counter,
            key: None,
            log_hash: [entry.sequence_number as u8; 32],
            signature: None,
            body: Batch::default(),
        };
        entries.iter().map(|entry| TailEntry { stored: stored(entry), entry: entry.clone() }).collect()
    }

    /// How many entries a part has.
    fn count(part: &Part) -> u64 {
        match &part.content {
            Content::Batch(batch) => batch.entries().unwrap().len() as u64,
            Content::Seed(entries) => entries.len() as u64,
        }
    }

    fn json_bytes(entries: &[Entry]) -> usize {
        entries.iter().map(|entry| serde_json::to_string(entry).unwrap().len() + 1).sum()
    }

    /// A part that takes so many bytes; what they say does not matter.
    fn part(through: u64, is_closed: bool, bytes: usize) -> Part {
        let content = Content::Batch(Batch::from_bytes(&vec![0; bytes.saturating_sub(PART_BYTES)]));
        let log = LogHead { sequence: through, hash: Digest::default() };
        Part { through, is_closed, content, signatures: [].into(), writers: [].into(), log, time_ms: 0, push: None }
    }

    #[test]
    fn parts_end_at_multiples_of_their_size() {
        let boundary = |(from, size)| key(from, size, Form::Json).boundary();
        assert_eq!([(1, 100), (100, 100), (101, 100), (1, 1), (7, 1), (8, 3)].map(boundary), [100, 100, 200, 1, 7, 9]);
    }

    #[test]
    fn a_part_is_closed_once_it_cannot_grow_further() {
        let long: &str = &"~".repeat(8 * 1024);
        let encode = |size: usize, through: u64, texts: &[&str]| {
            let part = key(1, size, Form::Binary).encode(stored(&log(texts)).iter(), through).unwrap();
            assert_eq!(part.log, LogHead { sequence: part.through, hash: [part.through as u8; 32] });
            (part.through, part.is_closed, count(&part))
        };
        assert_eq!(encode(10, 5, &["x"; 5]), (5, false, 5), "the log goes on");
        assert_eq!(encode(10, 3, &["x"; 5]), (3, false, 3), "no more is asked for");
        assert_eq!(encode(5, 5, &["x"; 5]), (5, true, 5), "it has all that it may have");
        assert_eq!(encode(10, 8, &[long; 8]), (6, true, 6), "more do not fit a frame beside its own fields");
        assert!(key(6, 10, Form::Binary).encode(stored(&log(&["x"; 5])).iter().skip(5), 6).is_none(), "there is nothing");
    }

    #[test]
    fn a_json_part_fills_a_frame_up_to_its_limit() {
        let encode = |entries: &[Entry]| {
            let part = key(1, 100, Form::Json).encode(stored(entries).iter(), 9).unwrap();
            assert_eq!(count(&part), part.through);
            part.through
        };
        let mut entries = log(&["\u{1}".repeat(4_000).as_str(), "\u{1}".repeat(4_000).as_str(), "", "x"]);
        entries[2].message.ciphertext = "x".repeat(MESSAGES_BYTES_MAX - json_bytes(&entries[..3]));
        assert_eq!(json_bytes(&entries[..3]), MESSAGES_BYTES_MAX);
        assert_eq!(encode(&entries), 3);
        entries[2].message.ciphertext.push('x');
        assert_eq!(encode(&entries), 2);
        let largest = log(&["\u{1}".repeat(10_000).as_str(), "x"]);
        assert_eq!(encode(&largest), 1, "one goes in any case, or the log would end there");
        let binary = key(1, 100, Form::Binary).encode(stored(&entries).iter(), 9).unwrap();
        assert_eq!(binary.through, 4, "only JSON is so long");
    }

    #[test]
    fn a_part_for_seed_clients_is_as_long_as_a_frame_allows() {
        let entry = |sequence_number, ciphertext: String| SeedEntry {
            message: Message { ciphertext, ..Message::default() },
            sequence_number,
            ..SeedEntry::default()
        };
        let encode = |text_bytes: usize| {
            let entries = [entry(1, "x".repeat(60_000 - text_bytes)), entry(2, "x".repeat(text_bytes)), entry(3, String::new())];
            let part = key(1, 100, Form::Seed).encode_seed(entries.clone().into_iter().map(|entry| (entry, [7; 32])), 3).unwrap();
            let bytes: usize = entries[..count(&part) as usize].iter().map(|entry| serde_json::to_string(entry).unwrap().len() + 1).sum();
            assert!(count(&part) == 1 || bytes <= MESSAGES_BYTES_MAX);
            (count(&part), part.through, part.is_closed)
        };
        assert_eq!(encode(30_000), (1, 1, true), "two do not fit");
        let none = key(4, 100, Form::Seed).encode_seed(std::iter::empty(), 9);
        assert!(none.is_none(), "there is nothing");
        let short = [entry(1, "x".into()), entry(2, "y".into())];
        let part = key(1, 100, Form::Seed).encode_seed(short.into_iter().map(|entry| (entry, [7; 32])), 1).unwrap();
        assert_eq!((count(&part), part.through), (1, 1), "no more than is asked for");
    }

    #[test]
    fn only_parts_in_deflated_form_are_compressed() {
        let texts = ["the same words again and again"; 100];
        let bytes = |form| {
            let part = key(1, 100, form).encode(stored(&log(&texts)).iter(), 100).unwrap();
            let Content::Batch(batch) = part.content else { panic!() };
            batch.bytes().len()
        };
        assert_eq!(bytes(Form::Json), bytes(Form::Binary));
        assert!(bytes(Form::Deflated) * 3 < bytes(Form::Binary));
        assert_eq!([Form::Json, Form::Binary, Form::Deflated].map(Form::encoding), [Encoding::Json, Encoding::Binary, Encoding::Binary]);
    }

    #[test]
    fn a_cached_part_is_used_unless_encoding_would_differ() {
        let kept = |through, is_closed, asked| {
            let mut cache = BatchCache::default();
            cache.insert(key(1, 100, Form::Json), part(through, is_closed, 1));
            cache.get(&key(1, 100, Form::Json), asked).is_some()
        };
        assert!(kept(5, false, 5) && kept(5, true, 5));
        assert!(kept(5, true, 9), "it is full");
        assert!(!kept(5, false, 9), "the log has grown since");
        assert!(!kept(5, false, 4) && !kept(5, true, 4), "it has more than may be sent");
    }

    #[test]
    fn the_oldest_cached_part_makes_room() {
        const MIB: usize = 1024 * 1024;
        let mut cache = BatchCache::default();
        let kept =
            |cache: &mut BatchCache| (1..=20).filter(|from| cache.get(&key(*from, 1, Form::Json), *from).is_some()).collect::<Vec<_>>();
        for from in 1..=16 {
            cache.insert(key(from, 1, Form::Json), part(from, true, MIB));
        }
        assert_eq!(kept(&mut cache), (1..=16).collect::<Vec<_>>(), "16 MiB are kept");
        cache.insert(key(1, 1, Form::Json), part(1, true, MIB));
        assert_eq!(kept(&mut cache), (1..=16).collect::<Vec<_>>(), "a part in the place of another takes no more");
        cache.insert(key(17, 1, Form::Json), part(17, true, PART_BYTES));
        assert_eq!(kept(&mut cache), (2..=17).collect::<Vec<_>>());
        cache.insert(key(18, 1, Form::Json), part(18, true, MIB - PART_BYTES));
        assert_eq!(kept(&mut cache), (2..=18).collect::<Vec<_>>(), "what has left is no longer counted");
        cache.insert(key(19, 1, Form::Json), part(19, true, MIB));
        assert_eq!(kept(&mut cache), (3..=19).collect::<Vec<_>>(), "and all else is");
    }
}
