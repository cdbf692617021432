//! A message as a person wrote it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{ErrorCode, SyncError};
use crate::ids::{MessageId, SessionId, WalletAddress, check_id, is_sealed_id};
use crate::limits::{EPOCH_TEXT_BYTES_MAX, GROUP_TEXT_BYTES_MAX, INTEGER_MAX, NAME_BYTES_MAX, SEALED_TEXT_BYTES_MAX, TEXT_BYTES_MAX};
use crate::scalar::{Scalar, whole_of};
use crate::time::{ISO_MS_MAX, iso_from_ms, ms_from_iso};

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

/// What an entry is. Open: an entry of a kind that this version does not know is stored, passed on and not shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(pub u32);

impl Kind {
    /// A message.
    pub const MESSAGE: Kind = Kind(0);
    /// A new version of the message that it `replaces`.
    pub const EDIT: Kind = Kind(1);
    /// A new version of the message that it `replaces`: there is no message any more.
    pub const DELETION: Kind = Kind(2);
    /// In the place of a message that was refused for good: the messages behind it go on.
    pub const VOID: Kind = Kind(4);
    /// What a device says of the devices of its wallet, in an account log.
    pub const ACCOUNT: Kind = Kind(5);
    /// What a member of a group says of who is in it.
    pub const GROUP: Kind = Kind(6);
    /// An epoch of an encrypted session begins.
    pub const EPOCH: Kind = Kind(7);
    /// Secrets of earlier epochs, for who lacks them.
    pub const RESEAL: Kind = Kind(8);
    /// Whose author lacks secrets.
    pub const ASKS: Kind = Kind(9);

    /// Whether people are told how far it is: they wrote it.
    pub fn has_status(self) -> bool {
        !matches!(self, Kind::VOID | Kind::GROUP) && !self.is_of_epochs()
    }

    /// Whether it says who can read an encrypted session, and nothing that people wrote.
    pub fn is_of_epochs(self) -> bool {
        matches!(self, Kind::EPOCH | Kind::RESEAL | Kind::ASKS)
    }

    /// Whether it is a version of another message.
    pub fn is_version(self) -> bool {
        self == Kind::EDIT || self == Kind::DELETION
    }

    /// The longest text of an entry of this kind, in bytes, in an encrypted session or another.
    pub fn text_bytes_max(self, is_sealed: bool) -> usize {
        match self {
            Kind::GROUP => GROUP_TEXT_BYTES_MAX,
            Kind::EPOCH if is_sealed => EPOCH_TEXT_BYTES_MAX,
            _ if is_sealed => SEALED_TEXT_BYTES_MAX,
            _ => TEXT_BYTES_MAX,
        }
    }

    /// Whether it is a message, as it is left out in JSON.
    pub fn is_message(&self) -> bool {
        *self == Kind::MESSAGE
    }
}

/// What a person wrote: `message` of the seed's frames, and two fields of ours.
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
    /// The message of the same wallet that this one is about: of an edit or a deletion, the one that it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<MessageId>,
    /// What it is.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Kind::is_message")]
    pub kind: Kind,
    /// Fields that we know nothing of are kept and passed on.
    #[serde(flatten, serialize_with = "unknown_of_message")]
    pub extra: Extra,
}

/// The fields of a message: those of a chat frame that is stored, or of a lying client, may bear the same names.
pub const MESSAGE_FIELDS: [&str; 8] = ["id", "sender_wallet", "ciphertext", "timestamp", "session_id", "content_type", "replaces", "kind"];

fn unknown_of_message<S: Serializer>(extra: &Extra, serializer: S) -> Result<S::Ok, S::Error> {
    extra.serialize_without(&MESSAGE_FIELDS, serializer)
}

impl Message {
    /// Checks every limit of a message on its own.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE`, `INVALID_MESSAGE_FORMAT`.
    pub fn check(&self) -> Result<(), SyncError> {
        let bytes_max = self.kind.text_bytes_max(is_sealed_id(&self.session_id));
        if self.ciphertext.len() > bytes_max {
            let message = format!("the text has {} bytes, the limit is {bytes_max}", self.ciphertext.len());
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
        // Empty where a seed client does not know it.
        if !self.sender_wallet.is_empty() {
            check_id("sender_wallet", &self.sender_wallet)?;
        }
        Ok(())
    }
}

impl Message {
    /// The beginning of a SHA-256 over what it says, whoever says it and when: what tells the same message from another
    /// of the same name.
    pub fn fingerprint(&self) -> Vec<u8> {
        use sha2::{Digest, Sha256};
        let content_type = self.content_type.as_deref().unwrap_or_default();
        let kind = self.kind.0.to_be_bytes();
        let mut hash = Sha256::new();
        hash.update(kind);
        for text in [content_type, self.replaces.as_deref().unwrap_or_default(), &self.ciphertext] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize()[..16].to_vec()
    }
}

/// Seed clients send `null` for what they do not know.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
