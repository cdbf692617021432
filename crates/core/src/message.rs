//! A message, and the entry that it becomes in a session's log.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, MessageId, SessionId, WalletAddress, check_id};
use crate::limits::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, TEXT_BYTES_MAX};
use crate::time::{iso_from_ms, ms_from_iso};
use crate::vector_clock::VectorClock;

/// A time as seed clients write it: ISO 8601 text or milliseconds since 1970. Kept as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stamp {
    /// Milliseconds since 1970.
    Millis(u64),
    /// Text, ISO 8601 where its writer kept to the protocol.
    Text(String),
}

impl Default for Stamp {
    fn default() -> Self {
        Stamp::Millis(0)
    }
}

impl Stamp {
    /// ISO 8601 text of a moment.
    pub fn iso(ms: u64) -> Self {
        Stamp::Text(iso_from_ms(ms))
    }

    /// Milliseconds since 1970, 0 where the text is no such time.
    pub fn ms(&self) -> u64 {
        match self {
            Stamp::Millis(ms) => *ms,
            Stamp::Text(text) => ms_from_iso(text).unwrap_or(0),
        }
    }

    /// ISO 8601 text, whichever form it came in.
    pub fn to_iso(&self) -> String {
        match self {
            Stamp::Millis(ms) => iso_from_ms(*ms),
            Stamp::Text(text) => text.clone(),
        }
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
    /// With `replaces`: the new version is no message at all.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Fields that we know nothing of are kept and passed on.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
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
        Ok(())
    }

    /// SHA-256 over what a device's counter stands for: every field. Tells a repeat from a counter used twice (I4).
    pub fn digest(&self) -> [u8; 32] {
        digest_of(self)
    }

    /// SHA-256 over what was written and by whom, without times: seed clients repeat a message with other times.
    pub fn content_digest(&self) -> [u8; 32] {
        digest_of(&(&self.sender_wallet, &self.ciphertext, &self.content_type, &self.replaces, self.deleted))
    }
}

fn digest_of<T: Serialize>(value: &T) -> [u8; 32] {
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

    /// The JSON form, as it stands in frames and stores.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an entry is strings, numbers and maps with text keys")
    }

    /// Checks that it fits a frame with all that stands in it.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE`.
    pub fn check_size(&self) -> Result<(), SyncError> {
        let bytes = self.to_json().len();
        if bytes > MESSAGE_BYTES_MAX {
            let message = format!("the message takes {bytes} bytes in a frame, the limit is {MESSAGE_BYTES_MAX}");
            return Err(SyncError::new(ErrorCode::MessageTooLarge, message));
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
