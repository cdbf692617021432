//! A message as a person wrote it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{ErrorCode, SyncError};
use crate::ids::{MessageId, SessionId, WalletAddress, check_id};
use crate::limits::{NAME_BYTES_MAX, TEXT_BYTES_MAX};
use crate::time::{iso_from_ms, ms_from_iso};

/// A time as its writer gave it: ISO 8601 text or milliseconds since 1970. Passed on as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stamp {
    /// ISO 8601 text, exactly as [`iso_from_ms`] writes these milliseconds since 1970.
    Iso(u64),
    /// Milliseconds since 1970.
    Millis(u64),
    /// Any other text.
    Text(String),
}

impl Default for Stamp {
    fn default() -> Self {
        Stamp::Millis(0)
    }
}

impl Stamp {
    /// Milliseconds since 1970, 0 where the text is no such time.
    pub fn ms(&self) -> u64 {
        match self {
            Stamp::Iso(ms) | Stamp::Millis(ms) => *ms,
            Stamp::Text(text) => ms_from_iso(text).unwrap_or(0),
        }
    }

    /// ISO 8601 text, whichever form it came in.
    pub fn to_iso(&self) -> String {
        match self {
            Stamp::Iso(ms) | Stamp::Millis(ms) => iso_from_ms(*ms),
            Stamp::Text(text) => text.clone(),
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
            Stamp::Iso(_) | Stamp::Text(_) => serializer.serialize_str(&self.to_iso()),
        }
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Millis(u64),
            Text(String),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Millis(ms) => Stamp::Millis(ms),
            Written::Text(text) => text.into(),
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

#[cfg(feature = "json")]
impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Text that is no object, which only a client that lies sends, is nothing.
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.0).unwrap_or_default().serialize(serializer)
    }
}

#[cfg(not(feature = "json"))]
impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::empty::<(&str, &str)>())
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

    /// Whether it is a version of another message.
    pub fn is_version(self) -> bool {
        self == Kind::EDIT || self == Kind::DELETION
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
    #[serde(flatten)]
    pub extra: Extra,
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
        // Empty where a seed client does not know it.
        if !self.sender_wallet.is_empty() {
            check_id("sender_wallet", &self.sender_wallet)?;
        }
        Ok(())
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
