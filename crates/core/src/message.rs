//! A message, and the entry that it becomes in a session's log.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, MessageId, SessionId, WalletAddress, check_id};
use crate::limits::{ID_BYTES_MAX, INTEGER_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, SEQUENCE_MAX, TEXT_BYTES_MAX};
use crate::scalar::{Scalar, whole_of};
use crate::time::{ISO_MS_MAX, iso_from_ms, ms_from_iso};
use crate::vector_clock::VectorClock;

/// A time as its writer gave it: ISO 8601 text, milliseconds since 1970, or whatever else it takes for one. Passed on as it
/// came: it is shown and breaks ties, and nothing is refused for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Stamp {
    /// ISO 8601 text, exactly as [`iso_from_ms`] writes these milliseconds since 1970.
    Iso(u64),
    /// Milliseconds since 1970.
    Millis(u64),
    /// Any other number: a fraction, before 1970, or huge. It is finite.
    Number(f64),
    /// Any other text.
    Text(String),
}

impl Default for Stamp {
    fn default() -> Self {
        Stamp::Millis(0)
    }
}

impl Stamp {
    /// Milliseconds since 1970, 0 where it is no such time.
    pub fn ms(&self) -> u64 {
        match self {
            Stamp::Iso(ms) | Stamp::Millis(ms) => *ms,
            Stamp::Number(number) => number.clamp(0.0, INTEGER_MAX as f64) as u64,
            Stamp::Text(text) => ms_from_iso(text).unwrap_or(0),
        }
    }

    /// ISO 8601 text to show, whatever form it came in: of the relay's time, `server_ms`, where the writer's is none that can
    /// be read, or none from 1970 to 9999.
    pub fn to_iso(&self, server_ms: u64) -> String {
        let is_time = match self {
            Stamp::Text(text) => ms_from_iso(text).is_some(),
            Stamp::Number(number) => *number >= 0.0,
            Stamp::Iso(_) | Stamp::Millis(_) => true,
        };
        let ms = self.ms();
        iso_from_ms(if is_time && ms <= ISO_MS_MAX { ms } else { server_ms })
    }
}

impl From<f64> for Stamp {
    fn from(number: f64) -> Self {
        match whole_of(number) {
            Some(ms) => Stamp::Millis(ms),
            None if number.is_finite() => Stamp::Number(number),
            None => Stamp::default(),
        }
    }
}

impl From<String> for Stamp {
    fn from(text: String) -> Self {
        match ms_from_iso(&text) {
            Some(ms) if iso_from_ms(ms) == text => Stamp::Iso(ms),
            _ => Stamp::Text(text),
        }
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Stamp::Millis(ms) => serializer.serialize_u64(*ms),
            Stamp::Iso(ms) => serializer.serialize_str(&iso_from_ms(*ms)),
            // -5 as it came, and not -5.0.
            Stamp::Number(number) if whole_of(-number).is_some() => serializer.serialize_i64(*number as i64),
            Stamp::Number(number) => serializer.serialize_f64(*number),
            Stamp::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Scalar::deserialize(deserializer)? {
            Scalar::Whole(ms) => Stamp::Millis(ms),
            Scalar::Real(number) => number.into(),
            Scalar::Text(text) => text.into(),
            Scalar::Null | Scalar::Other => Stamp::default(),
        })
    }
}

/// Fields of a message that we know nothing of: kept and passed on. A JSON object as text, or nothing; only who speaks
/// JSON looks inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra(String);

impl Extra {
    /// The JSON object, or nothing.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there are no such fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Extra {
    fn from(json: &str) -> Self {
        Extra(json.to_owned())
    }
}

impl Extra {
    /// The fields but for those names, under which what holds these fields says something itself: written twice, a field
    /// would mean one thing to one reader and another to the next.
    #[cfg(feature = "json")]
    pub(crate) fn serialize_without<S: Serializer>(&self, names: &[&str], serializer: S) -> Result<S::Ok, S::Error> {
        // Text that is no object, which only a client that lies sends, is nothing. That of the SDK's imports may have halves
        // of characters in it.
        let json = crate::surrogates::without_lone_surrogates(&self.0);
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap_or_default();
        serializer.collect_map(fields.iter().filter(|(name, _)| !names.contains(&name.as_str())))
    }

    #[cfg(not(feature = "json"))]
    pub(crate) fn serialize_without<S: Serializer>(&self, _: &[&str], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::empty::<(&str, &str)>())
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize_without(&[], serializer)
    }
}

#[cfg(feature = "json")]
impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = serde_json::Map::deserialize(deserializer)?;
        if fields.is_empty() {
            return Ok(Extra::default());
        }
        serde_json::to_string(&fields).map(Extra).map_err(serde::de::Error::custom)
    }
}

#[cfg(not(feature = "json"))]
impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Extra::default())
    }
}

/// What a person wrote: `message` of the seed's frames, and three fields of ours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Unique. Seed clients may leave it out; the relay then gives one.
    #[serde(default, deserialize_with = "null_as_default")]
    pub id: MessageId,
    /// Who wrote it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sender_wallet: WalletAddress,
    /// The text, or what the application encrypted it to.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ciphertext: String,
    /// When it was written, by its writer's clock.
    #[serde(default, deserialize_with = "null_as_default")]
    pub timestamp: Stamp,
    /// Where it belongs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub session_id: SessionId,
    /// A media type, `text/plain` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The message of the same wallet that this one is a new version of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<MessageId>,
    /// The id that it was queued under first, where its device has had to queue it again under another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_id: Option<MessageId>,
    /// With `replaces`: the new version is no message at all.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Fields that we know nothing of are kept and passed on.
    #[serde(flatten, serialize_with = "unknown_of_message")]
    pub extra: Extra,
}

/// The fields of a message: those of a chat frame that is stored, or of a lying client, may bear the same names.
pub const MESSAGE_FIELDS: [&str; 9] =
    ["id", "sender_wallet", "ciphertext", "timestamp", "session_id", "content_type", "replaces", "first_id", "deleted"];

fn unknown_of_message<S: Serializer>(extra: &Extra, serializer: S) -> Result<S::Ok, S::Error> {
    extra.serialize_without(&MESSAGE_FIELDS, serializer)
}

impl Message {
    /// Checks every limit of a message on its own.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE`, `INVALID_MESSAGE_FORMAT`.
    pub fn check(&self) -> Result<(), SyncError> {
        if self.ciphertext.len() > TEXT_BYTES_MAX {
            let message = format!("the text has {} bytes, the limit is {TEXT_BYTES_MAX}", self.ciphertext.len());
            return Err(SyncError::new(ErrorCode::MessageTooLarge, message));
        }
        let content_type = self.content_type.as_deref().unwrap_or("text/plain");
        if content_type.len() > NAME_BYTES_MAX {
            let message = format!("content_type has {} bytes, the limit is {NAME_BYTES_MAX}", content_type.len());
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
        }
        if let Some(replaces) = &self.replaces {
            check_id("replaces", replaces)?;
        }
        if let Some(first_id) = &self.first_id {
            check_id("first_id", first_id)?;
        }
        // Empty where a seed client does not know it.
        if !self.sender_wallet.is_empty() {
            check_id("sender_wallet", &self.sender_wallet)?;
        }
        Ok(())
    }

    /// Whether both are one message, sent by one call of the application, whatever names it has since: the first name and
    /// what was written are the same. The first name alone does not say it, because copies of a profile give out the same
    /// ones. The message that it replaces may have been queued again too, under another id.
    pub fn is_same(&self, other: &Message) -> bool {
        let written = |message: &Message| Message { id: String::new(), first_id: None, replaces: None, ..message.clone() };
        let alike = self.first_name() == other.first_name() && self.replaces.is_some() == other.replaces.is_some();
        alike && written(self) == written(other)
    }

    /// The id that it was queued under first.
    pub fn first_name(&self) -> &str {
        self.first_id.as_deref().unwrap_or(&self.id)
    }
}

#[cfg(feature = "relay")]
impl Message {
    /// SHA-256 over what a device's counter stands for: every field. Tells a repeat from a counter used twice (I4).
    pub fn digest(&self) -> [u8; 32] {
        digest_of(self)
    }

    /// SHA-256 over what was written and by whom, without times: seed clients repeat a message with other times.
    pub fn content_digest(&self) -> [u8; 32] {
        digest_of(&(&self.sender_wallet, &self.ciphertext, &self.content_type, &self.replaces, self.deleted))
    }

    /// SHA-256 over what [`Message::is_same`] compares beside the first name and fields that nobody knows.
    pub fn written_digest(&self) -> [u8; 32] {
        let Message { sender_wallet, ciphertext, timestamp, content_type, deleted, .. } = self;
        digest_of(&(sender_wallet, ciphertext, timestamp, content_type, self.replaces.is_some(), deleted))
    }
}

#[cfg(feature = "relay")]
fn digest_of<T: Serialize>(value: &T) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let bytes = serde_json::to_vec(value).expect("strings, numbers and maps with text keys are JSON");
    Sha256::digest(bytes).into()
}

/// A message at its place in the log: what every device of the session holds alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What was written.
    pub message: Message,
    /// Its place: 1, 2, 3 ... without holes, given by the relay.
    pub sequence_number: u64,
    /// What its device knew, itself included.
    pub vector_clock: VectorClock,
    /// When the relay took it, in milliseconds since 1970.
    pub server_timestamp: u64,
    /// The device that wrote it.
    pub original_device_id: DeviceId,
}

impl Entry {
    /// Which of its device's messages this is: the device's own entry of the clock.
    pub fn counter(&self) -> u64 {
        self.vector_clock.get(&self.original_device_id)
    }

    /// Checks that it can be written: into a batch, and into a frame with all that stands in it, in JSON too.
    ///
    /// # Errors
    /// `INVALID_MESSAGE_FORMAT`, `MESSAGE_TOO_LARGE`.
    pub fn check(&self) -> Result<(), SyncError> {
        if !self.is_readable() {
            let message = "a name of the message is too long, or one of its numbers above 2^53 - 1";
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
        }
        let bytes = self.json_bytes_max();
        if bytes > MESSAGE_BYTES_MAX {
            let message = format!("the message takes up to {bytes} bytes in a frame, the limit is {MESSAGE_BYTES_MAX}");
            return Err(SyncError::new(ErrorCode::MessageTooLarge, message));
        }
        Ok(())
    }

    /// Whether a reader of batches takes what stands around the message.
    pub(crate) fn is_readable(&self) -> bool {
        let names = [&self.message.session_id, &self.message.sender_wallet];
        names.into_iter().all(|name| name.len() <= ID_BYTES_MAX)
            && (1..=ID_BYTES_MAX).contains(&self.original_device_id.len())
            && self.server_timestamp <= INTEGER_MAX
            && self.sequence_number <= SEQUENCE_MAX
    }

    /// How many bytes it takes in JSON at most.
    pub fn json_bytes_max(&self) -> usize {
        /// Names of fields, punctuation, numbers.
        const FIELDS_BYTES: usize = 400;
        const COUNTER_BYTES: usize = 16 + 4;
        let message = &self.message;
        let optional = [&message.content_type, &message.replaces, &message.first_id].into_iter().flatten();
        let names = [&message.id, &message.sender_wallet, &message.session_id, &self.original_device_id, &message.ciphertext];
        let texts: usize = names.into_iter().chain(optional).map(|text| json_bytes(text)).sum();
        let clock: usize = self.vector_clock.iter().map(|(device, _)| json_bytes(device) + COUNTER_BYTES).sum();
        let stamp = if let Stamp::Text(text) = &message.timestamp { json_bytes(text) } else { 0 };
        FIELDS_BYTES + texts + clock + stamp + message.extra.as_str().len()
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

/// Seed clients send `null` for what they do not know.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
