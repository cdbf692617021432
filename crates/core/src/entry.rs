//! The entry: a message at its place in a session's log, with what its author knew when writing it.
//!
//! The relay gives a session one total order. So what an author knew is always "the log up to here, and my own messages",
//! and one number says it ([`Entry::knows`]). A vector clock says the same in one pair for each device; it is computed
//! where somebody asks for one ([`Log::clock_of`](crate::log::Log::clock_of)).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, is_sealed_id, start_of};
use crate::limits::{ALSO_MAX, EXTENSIONS_BYTES_MAX, ID_BYTES_MAX, INTEGER_MAX, MESSAGE_BYTES_MAX, SEQUENCE_MAX};
use crate::message::{Kind, Message, Stamp};
use crate::vector_clock::VectorClock;
use crate::wire::{put_bytes, put_name, put_varint};

/// Numbered fields that a reader may skip: for each a varint with its number and its bytes, behind a varint with their
/// length. One has a meaning yet, that of erased entries; whoever meets others keeps them and passes them on. In JSON they
/// are in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions(Vec<u8>);

impl Extensions {
    /// The block as it is written.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How the extensions of an entry begin whose content was erased: the field's number and its length. Its bytes are the digest.
const ERASED: [u8; 2] = [1, 32];

/// How the extensions of an entry begin that is stored as it came, because it could not be opened: the digest before it follows.
const UNOPENED: [u8; 2] = [2, 32];

impl From<&[u8]> for Extensions {
    fn from(block: &[u8]) -> Self {
        Extensions(block.to_vec())
    }
}

impl Serialize for Extensions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64ct::{Base64, Encoding};
        serializer.serialize_str(&Base64::encode_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Extensions {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64ct::{Base64, Encoding};
        let text = String::deserialize(deserializer)?;
        Base64::decode_vec(&text).map(Extensions).map_err(|_| serde::de::Error::custom("extensions must be base64"))
    }
}

/// SHA-256 of an entry and of all that its device wrote before it, or of a log up to an entry.
pub type Digest = [u8; 32];

/// A message with what its author fixed when writing it, and its place in the log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What was written.
    pub message: Message,
    /// The device that wrote it.
    #[serde(rename = "originalDeviceId")]
    pub device_id: DeviceId,
    /// Which of that device's entries in this session it is. Counters ascend; those of our own devices are 1, 2, 3 ...
    pub counter: u64,
    /// Its author had seen the log up to this sequence number, and its own earlier entries.
    #[serde(default)]
    pub knows: u64,
    /// What its author knew beside that: for some devices a counter up to which it had seen their entries. At most
    /// [`ALSO_MAX`]; pairs that are not before the entry in the log have no meaning.
    #[serde(default, skip_serializing_if = "VectorClock::is_empty")]
    pub also: VectorClock,
    /// What later versions say of it.
    #[serde(default, skip_serializing_if = "Extensions::is_empty")]
    pub extensions: Extensions,
    /// Its place: 1, 2, 3 ... without holes, given by the relay. 0: none yet.
    #[serde(default)]
    pub sequence_number: u64,
    /// When the relay took it, in milliseconds since 1970; before that, when it was queued.
    #[serde(default)]
    pub server_timestamp: u64,
}

/// Which of an entry's optional fields its canonical form has.
mod field {
    /// Its id is not the one that [`crate::ids::message_id`] makes.
    pub const ID: u64 = 1;
    pub const ALSO: u64 = 1 << 1;
    pub const CONTENT_TYPE: u64 = 1 << 2;
    pub const REPLACES: u64 = 1 << 3;
    pub const EXTRA: u64 = 1 << 4;
    pub const EXTENSIONS: u64 = 1 << 5;
    /// The author's time was written as a number.
    pub const MILLIS: u64 = 1 << 6;
    /// The author's time was written as some other text; with `MILLIS` as some other number.
    pub const STAMP: u64 = 1 << 7;
}

impl Entry {
    /// The same place without what was written there: a void that keeps its digest, so that the chains of its device and of the
    /// log go on as they are. Only who holds the log can make one: nothing proves that its digest was the entry's.
    pub fn erased(&self, digest: &Digest) -> Entry {
        Entry {
            message: Message { kind: Kind::VOID, session_id: self.message.session_id.clone(), ..Message::default() },
            also: VectorClock::new(),
            extensions: Extensions([&ERASED[..], digest].concat()),
            ..self.clone()
        }
    }

    /// The digest that an entry had before its content was erased.
    pub fn erased_digest(&self) -> Option<Digest> {
        let field = self.extensions.0.strip_prefix(&ERASED).filter(|_| self.message.kind == Kind::VOID)?;
        field.try_into().ok()
    }

    /// An encrypted entry of which this device has no key yet, with what it takes to open it later. Only stores have it so.
    pub(crate) fn unopened(self, previous: &Digest) -> Entry {
        Entry { extensions: Extensions([&UNOPENED[..], previous].concat()), ..self }
    }

    /// The entry as it came, and the digest before it, where it is one.
    pub(crate) fn as_it_came(&self) -> Option<(Entry, Digest)> {
        let previous = self.extensions.0.strip_prefix(&UNOPENED[..]).filter(|_| self.is_unopened())?;
        Some((Entry { extensions: Extensions::default(), ..self.clone() }, previous.try_into().ok()?))
    }

    /// Whether it is one. What comes so in other sessions is what it says.
    pub fn is_unopened(&self) -> bool {
        self.extensions.0.starts_with(&UNOPENED) && is_sealed_id(&self.message.session_id)
    }

    /// The digest of this entry, given that of the entry which its device wrote before it in this session, or
    /// [`first_digest`]. It covers all that the author fixed, in the canonical form of PROTOCOL.md, and so by the chain all
    /// that the device wrote before. Neither the order of a struct's fields nor JSON has a part in it.
    pub fn digest(&self, previous: &Digest) -> Digest {
        if let Some(digest) = self.erased_digest() {
            return digest;
        }
        let message = &self.message;
        let start = start_of(&message.id, &message.session_id, &self.device_id, self.counter);
        let mut fields = 0;
        let mut set = |field: u64, is_there: bool| fields |= if is_there { field } else { 0 };
        set(field::ID, start.is_none());
        set(field::ALSO, !self.also.is_empty());
        set(field::CONTENT_TYPE, message.content_type.is_some());
        set(field::REPLACES, message.replaces.is_some());
        set(field::EXTRA, !message.extra.is_empty());
        set(field::EXTENSIONS, !self.extensions.is_empty());
        set(field::MILLIS, matches!(message.timestamp, Stamp::Millis(_) | Stamp::Number(_)));
        set(field::STAMP, matches!(message.timestamp, Stamp::Text(_) | Stamp::Number(_)));

        let mut out = Vec::with_capacity(message.ciphertext.len() + 256);
        out.extend_from_slice(previous);
        put_varint(&mut out, self.counter);
        put_varint(&mut out, self.knows);
        put_varint(&mut out, u64::from(message.kind.0));
        put_varint(&mut out, fields);
        put_name(&mut out, &message.sender_wallet);
        put_bytes(&mut out, start.unwrap_or(&message.id).as_bytes());
        match &message.timestamp {
            Stamp::Iso(ms) | Stamp::Millis(ms) => put_varint(&mut out, *ms),
            Stamp::Text(text) => put_bytes(&mut out, text.as_bytes()),
            Stamp::Number(number) => out.extend_from_slice(&number.to_be_bytes()),
        }
        if !self.also.is_empty() {
            put_varint(&mut out, self.also.len() as u64);
            for (device, counter) in self.also.iter() {
                put_bytes(&mut out, device.as_bytes());
                put_varint(&mut out, counter);
            }
        }
        for text in [&message.content_type, &message.replaces].into_iter().flatten() {
            put_bytes(&mut out, text.as_bytes());
        }
        if !message.extra.is_empty() {
            put_bytes(&mut out, message.extra.as_str().as_bytes());
        }
        if !self.extensions.is_empty() {
            put_bytes(&mut out, self.extensions.bytes());
        }
        out.extend_from_slice(message.ciphertext.as_bytes());
        Sha256::digest(&out).into()
    }

    /// Whether both are the same entry, as its author fixed it: what a repeat must be (I4).
    pub fn is_repeat_of(&self, other: &Entry) -> bool {
        let position = |entry: &Entry| (entry.counter, entry.knows);
        position(self) == position(other)
            && (&self.message, &self.device_id) == (&other.message, &other.device_id)
            && (&self.also, &self.extensions) == (&other.also, &other.extensions)
    }

    /// Whether both say the same under the same name, whichever device wrote them and when: a message that was queued
    /// again under another device says what it said before. A wallet has one message of a name.
    pub fn says_the_same(&self, other: &Entry) -> bool {
        fn said(entry: &Entry) -> [&str; 5] {
            let Message { id, sender_wallet, ciphertext, content_type, replaces, .. } = &entry.message;
            [id, sender_wallet, ciphertext, content_type.as_deref().unwrap_or_default(), replaces.as_deref().unwrap_or_default()]
        }
        self.message.kind == other.message.kind && said(self) == said(other)
    }

    /// Checks that it can be written: into a batch, and into a frame with all that it has, in JSON too.
    ///
    /// # Errors
    /// `INVALID_MESSAGE_FORMAT`, `MESSAGE_TOO_LARGE`.
    pub fn check(&self) -> Result<(), SyncError> {
        if !self.is_readable() {
            let message = "a name of the message is too long, it has too many extra fields, or one of its numbers is above 2^53 - 1";
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
        }
        let bytes = self.json_bytes_max();
        if bytes > MESSAGE_BYTES_MAX {
            let message = format!("the message takes up to {bytes} bytes in a frame, the limit is {MESSAGE_BYTES_MAX}");
            return Err(SyncError::new(ErrorCode::MessageTooLarge, message));
        }
        Ok(())
    }

    /// Whether a reader takes what stands around the message.
    pub(crate) fn is_readable(&self) -> bool {
        let names = [&self.message.session_id, &self.message.sender_wallet, &self.device_id];
        let numbers = [self.server_timestamp, self.counter, self.knows];
        names.into_iter().all(|name| name.len() <= ID_BYTES_MAX)
            && numbers.into_iter().all(|number| number <= INTEGER_MAX)
            && !self.device_id.is_empty()
            && self.counter > 0
            && self.sequence_number <= SEQUENCE_MAX
            && (self.sequence_number == 0 || self.knows < self.sequence_number)
            && self.also.len() <= ALSO_MAX
            && self.extensions.bytes().len() <= EXTENSIONS_BYTES_MAX
    }

    /// How many bytes it takes in JSON at most.
    pub fn json_bytes_max(&self) -> usize {
        /// Names of fields, punctuation, numbers.
        const FIELDS_BYTES: usize = 400;
        const COUNTER_BYTES: usize = 16 + 4;
        let message = &self.message;
        let optional = [&message.content_type, &message.replaces].into_iter().flatten();
        let names = [&message.id, &message.sender_wallet, &message.session_id, &self.device_id, &message.ciphertext];
        let texts: usize = names.into_iter().chain(optional).map(|text| json_bytes(text)).sum();
        let also: usize = self.also.iter().map(|(device, _)| json_bytes(device) + COUNTER_BYTES).sum();
        let stamp = if let Stamp::Text(text) = &message.timestamp { json_bytes(text) } else { 0 };
        let extensions = self.extensions.bytes().len().div_ceil(3) * 4;
        FIELDS_BYTES + texts + also + stamp + message.extra.as_str().len() + extensions
    }
}

/// How long a text is as a JSON string.
fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | 8 | 9 | 10 | 12 | 13 => 2,
        0..32 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum::<usize>() + 2
}

/// Where the chain of a device's digests in a session begins.
pub fn first_digest(session: &str, device: &str) -> Digest {
    let mut out = b"solconnect.chain.v1\0".to_vec();
    put_bytes(&mut out, session.as_bytes());
    put_bytes(&mut out, device.as_bytes());
    Sha256::digest(&out).into()
}

/// Where the running hash of a session's log begins.
pub fn first_log_hash(session: &str) -> Digest {
    let mut out = b"solconnect.log.v1\0".to_vec();
    put_bytes(&mut out, session.as_bytes());
    Sha256::digest(&out).into()
}

/// The running hash of a log after one more entry, of this digest, that the relay took at this time.
pub fn next_log_hash(before: &Digest, digest: &Digest, server_timestamp: u64) -> Digest {
    let mut out = Vec::with_capacity(2 * before.len() + 10);
    out.extend_from_slice(before);
    out.extend_from_slice(digest);
    put_varint(&mut out, server_timestamp);
    Sha256::digest(&out).into()
}

/// The first characters of a digest in hex: enough to tell two apart in a message for people.
pub fn short_hex(digest: &Digest) -> String {
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::log::Log;

    fn entry(sequence_number: u64, device: &str, counter: u64, text: &str) -> Entry {
        let message = Message {
            id: format!("named-{sequence_number}"),
            session_id: "s".into(),
            sender_wallet: format!("wallet of {device}"),
            ciphertext: text.into(),
            ..Message::default()
        };
        Entry { message, device_id: device.into(), counter, sequence_number, server_timestamp: sequence_number, ..Entry::default() }
    }

    #[test]
    fn a_log_with_erased_entries_has_the_same_hash_and_goes_on() {
        let mut entries = vec![entry(1, "a", 1, "one"), entry(2, "b", 1, "two"), entry(3, "a", 2, "three"), entry(4, "b", 2, "four")];
        let mut log = Log::new("s");
        for entry in &entries {
            log.take(entry).unwrap();
        }
        let mut walked = Log::new("s");
        for entry in &mut entries {
            walked.take(entry).unwrap();
            if entry.device_id == "a" {
                *entry = entry.erased(&walked.digest("s", "a"));
                assert_eq!(entry.erased_digest(), Some(walked.digest("s", "a")));
                assert!(entry.message.ciphertext.is_empty() && entry.message.sender_wallet.is_empty() && entry.message.id.is_empty());
            }
        }
        // As it is stored and sent.
        let read = Batch::of(&entries).unwrap().entries().unwrap();
        assert_eq!(read, entries);
        let mut again = Log::new("s");
        read.iter().for_each(|entry| again.take(entry).unwrap());
        assert_eq!(again, log);
        assert_eq!(entry(5, "a", 3, "five").digest(&again.digest("s", "a")), entry(5, "a", 3, "five").digest(&log.digest("s", "a")));
    }

    #[test]
    fn what_only_looks_erased_has_a_digest_of_its_own() {
        let erased = entry(1, "a", 1, "one").erased(&[7; 32]);
        assert_eq!(erased.digest(&[0; 32]), [7; 32]);
        let said = Entry { message: Message { kind: Kind::MESSAGE, ..erased.message.clone() }, ..erased.clone() };
        let longer = Entry { extensions: Extensions([erased.extensions.bytes(), &[2, 0]].concat()), ..erased.clone() };
        let shorter = Entry { extensions: Extensions(erased.extensions.bytes()[..33].to_vec()), ..erased.clone() };
        for other in [said, longer, shorter] {
            assert_eq!(other.erased_digest(), None);
            assert_ne!(other.digest(&[0; 32]), [7; 32]);
        }
    }
}
