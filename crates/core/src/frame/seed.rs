//! Frames that only clients of the seed's protocol send or are sent, beside chat frames and `sync_conflict`. Only in JSON.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::SyncError;
use crate::ids::DeviceId;
use crate::list::list;
use crate::message::{Message, Stamp, null_as_default};
use crate::scalar::whole;
use crate::vector_clock::VectorClock;

/// `sync_update` of a seed client.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SeedUpdate {
    /// Unsent messages, oldest first.
    #[cfg_attr(feature = "json", serde(default, deserialize_with = "super::items::unsent"))]
    pub messages: Vec<Unsent>,
}

/// One unsent message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unsent {
    /// What was written.
    pub message: Message,
    /// The device's own count.
    #[serde(default, deserialize_with = "whole")]
    pub sequence_number: u64,
    /// What the device knew, this message included.
    #[serde(default, deserialize_with = "null_as_default")]
    pub vector_clock: VectorClock,
    /// When it was queued, in milliseconds since 1970.
    #[serde(default, deserialize_with = "null_as_default")]
    pub local_timestamp: Stamp,
    /// Why it cannot be read, where it cannot: then there is an id at most.
    #[serde(skip)]
    pub unreadable: Option<SyncError>,
}

/// `sync_response` to a seed client: entries in the order of their sequence numbers, without holes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeedResponse {
    /// The entries. Shared by all who are sent them.
    #[serde(serialize_with = "shared", deserialize_with = "unshared")]
    pub messages: Arc<[SeedEntry]>,
    /// The last sequence number that the session has.
    #[serde(default)]
    pub latest_sequence: u64,
    /// The highest counter of every device in the log.
    #[serde(default)]
    pub server_vector_clock: VectorClock,
    /// Ours: the `messageId` of the request it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
}

fn shared<S: Serializer>(entries: &Arc<[SeedEntry]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter())
}

fn unshared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[SeedEntry]>, D::Error> {
    list(deserializer).map(Into::into)
}

/// An entry of the log as seed clients are sent it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeedEntry {
    /// What was written.
    pub message: Message,
    /// Its place.
    pub sequence_number: u64,
    /// What its device knew, itself included: computed by the relay.
    pub vector_clock: VectorClock,
    /// When the relay took it, in milliseconds since 1970.
    pub server_timestamp: u64,
    /// The device that wrote it.
    pub original_device_id: DeviceId,
}
