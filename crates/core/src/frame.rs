//! The frames of PROTOCOL.md in both of their forms: JSON, which seed clients speak, and binary.
//!
//! Reading JSON is strict where a wrong value could lose or mix up messages, and refuses nothing for the sake of what only
//! informs. Fields may be missing or `null`, numbers may be written as texts, and messages of an update are read one by
//! one: seed clients repeat a refused frame for ever. The binary form is in `frame/binary.rs`.

mod binary;
#[cfg(feature = "json")]
mod items;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, MessageId, SessionId, WalletAddress, check_id};
use crate::limits::{FRAME_BYTES_MAX, INTEGER_MAX, NAME_BYTES_MAX};
use crate::list::list;
use crate::message::{Extra, Message, Stamp, null_as_default};
use crate::scalar::{floor, text, whole, whole_if_any};
use crate::vector_clock::VectorClock;

/// How frames are written on a connection: chosen by the WebSocket's subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `solconnect.sync.v1.json`, or none: text messages.
    #[default]
    Json,
    /// `solconnect.sync.v1`: binary messages.
    Binary,
}

impl Encoding {
    /// The name of its subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Encoding::Json => "solconnect.sync.v1.json",
            Encoding::Binary => "solconnect.sync.v1",
        }
    }
}

/// A WebSocket message with a frame in it. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// In JSON.
    Text(Arc<str>),
    /// In the binary form.
    Binary(Arc<[u8]>),
}

impl Payload {
    /// How many bytes it takes on the wire.
    pub fn len(&self) -> usize {
        match self {
            Payload::Text(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The `deviceId` of every frame that the relay sends.
pub const RELAY_DEVICE_ID: &str = "server";

/// The rules that our own clients name as `protocolVersion`: counters without holes, batches acknowledged one by
/// one. A device that names none is a seed client.
pub const PROTOCOL_VERSION: u32 = 1;

/// The fields that every frame with a `type` has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The session it is about.
    #[serde(default, deserialize_with = "null_as_default")]
    pub session_id: SessionId,
    /// Who sends it; [`RELAY_DEVICE_ID`] for the relay.
    #[serde(default, deserialize_with = "null_as_default")]
    pub device_id: DeviceId,
    /// When it was sent.
    #[serde(default, deserialize_with = "null_as_default")]
    pub timestamp: Stamp,
    /// The frame's own id; answers name it in `inReplyTo`.
    #[serde(default, deserialize_with = "text")]
    pub message_id: String,
    /// Ours: [`PROTOCOL_VERSION`] in every frame of a client that keeps its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<u32>,
}

/// A frame: what every frame has, and what this one says.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The common fields.
    pub head: Head,
    /// The rest, by type.
    pub body: Body,
}

macro_rules! frames {
    ($($(#[doc = $doc:literal])+ $variant:ident($body:ty) = $kind:literal,)+) => {
        /// What a frame says.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Body {
            $($(#[doc = $doc])+ $variant($body),)+
            /// A live message of a seed client: no `type`. Only in JSON.
            Chat(Chat),
            /// Something was refused: no `type`, but an `error`.
            Error(ErrorBody),
        }

        #[cfg(feature = "json")]
        fn parse_typed(kind: &str, text: &str) -> Result<Body, SyncError> {
            match kind {
                $($kind => serde_json::from_str(text).map(Body::$variant).map_err(|error| malformed(kind, &error)),)+
                _ => {
                    let shown: String = kind.chars().take(40).collect();
                    Err(SyncError::new(ErrorCode::UnknownFrame, format!("no frame has the type {shown:?}")))
                }
            }
        }

        #[cfg(feature = "json")]
        fn print(frame: &Frame) -> serde_json::Result<String> {
            #[derive(Serialize)]
            struct Typed<'a, T> {
                #[serde(rename = "type")]
                kind: &'static str,
                #[serde(flatten)]
                head: &'a Head,
                #[serde(flatten)]
                body: &'a T,
            }
            match &frame.body {
                $(Body::$variant(body) => serde_json::to_string(&Typed { kind: $kind, head: &frame.head, body }),)+
                Body::Chat(chat) => serde_json::to_string(chat),
                Body::Error(error) => serde_json::to_string(error),
            }
        }
    };
}

frames! {
    /// A device says that it is there.
    DeviceAnnounce(DeviceAnnounce) = "device_announce",
    /// Who is in the session, after an announcement.
    DeviceList(DeviceList) = "device_list",
    /// A device asks for what it lacks.
    SyncRequest(SyncRequest) = "sync_request",
    /// A batch of the log.
    SyncResponse(SyncResponse) = "sync_response",
    /// How far an answer is.
    SyncStatus(SyncStatus) = "sync_status",
    /// Unsent messages.
    SyncUpdate(SyncUpdate) = "sync_update",
    /// What was taken.
    SyncAck(SyncAck) = "sync_ack",
    /// Messages that did not know of each other. Only in JSON: who speaks binary finds them in the log.
    SyncConflict(SyncConflict) = "sync_conflict",
    /// Proof that the path is alive.
    SyncHeartbeat(SyncHeartbeat) = "sync_heartbeat",
    /// A device delivered or showed messages.
    ReadReceipt(ReadReceipt) = "read_receipt",
    /// What others delivered or read.
    ReadReceiptSync(ReadReceiptSync) = "read_receipt_sync",
}

/// `device_announce`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceAnnounce {
    /// What kind of device it is.
    #[serde(default, deserialize_with = "null_as_default")]
    pub device_info: DeviceInfo,
    /// What it has.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sync_state: SyncState,
    /// Ours: whose device it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<WalletAddress>,
    /// Ours: `deflate` where the device takes compressed batches (in the binary form).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
}

/// What kind of device it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceInfo {
    /// Such as `web`.
    #[serde(default, deserialize_with = "short_text")]
    pub platform: String,
    /// The version of its software.
    #[serde(default, deserialize_with = "short_text")]
    pub version: String,
}

/// What a device has of a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncState {
    /// It has every entry up to this one.
    #[serde(default, deserialize_with = "floor")]
    pub last_synced_sequence: u64,
    /// What it knows.
    #[serde(default, deserialize_with = "null_as_default")]
    pub vector_clock: VectorClock,
}

/// `device_list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceList {
    /// Every device that was ever in the session.
    #[serde(default, deserialize_with = "list")]
    pub devices: Vec<DeviceState>,
}

/// One device of a `device_list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct DeviceState {
    /// Its id.
    pub device_id: DeviceId,
    /// Such as `web`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub platform: String,
    /// When it was last heard of, in milliseconds since 1970.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_seen_at: u64,
    /// Whether it is connected now.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_online: bool,
    /// What it had when last heard of.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "ts", tsify(type = "{ lastSyncedSequence: number; vectorClock: Record<string, number> }"))]
    pub sync_state: SyncState,
    /// Ours: whose device it is, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<WalletAddress>,
}

/// `sync_request`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncRequest {
    /// The device has every entry up to this one.
    #[serde(default, deserialize_with = "floor")]
    pub last_synced_sequence: u64,
    /// What it knows.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sync_vector: VectorClock,
    /// Instead of all that follows: only these entries, where any are named.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub missing_ranges: Vec<SequenceRange>,
    /// Ours: at most so many messages in a batch.
    #[serde(default, deserialize_with = "whole_if_any", skip_serializing_if = "Option::is_none")]
    pub max_batch_size: Option<u64>,
}

/// Sequence numbers from `start` to `end`, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SequenceRange {
    /// The first.
    #[serde(deserialize_with = "whole")]
    pub start: u64,
    /// The last.
    #[serde(deserialize_with = "whole")]
    pub end: u64,
}

/// `sync_response`: entries in the order of their sequence numbers, without holes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncResponse {
    /// The entries.
    #[serde(default)]
    pub messages: Batch,
    /// The last sequence number that the session has.
    #[serde(default, deserialize_with = "null_as_default")]
    pub latest_sequence: u64,
    /// The highest counter of every device in the log.
    #[serde(default, deserialize_with = "null_as_default")]
    pub server_vector_clock: VectorClock,
    /// Ours: the `messageId` of the request it answers; absent in a live push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
}

/// `sync_status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// Where it is.
    pub status: SyncPhase,
    /// How far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where an answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncPhase {
    /// It begins.
    #[default]
    Started,
    /// More follows.
    InProgress,
    /// All of it was sent.
    Completed,
    /// It ended early; `error` says why.
    Failed,
}

/// How far an answer is, in messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Sent so far.
    #[serde(default, deserialize_with = "null_as_default")]
    pub messages_synced: u64,
    /// To be sent in all.
    #[serde(default, deserialize_with = "null_as_default")]
    pub total_messages: u64,
    /// Conflicts among them.
    #[serde(default, deserialize_with = "null_as_default")]
    pub conflicts_resolved: u64,
}

/// `sync_update`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncUpdate {
    /// Unsent messages, oldest first.
    #[cfg_attr(feature = "json", serde(default, deserialize_with = "items::unsent"))]
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
    /// Why it cannot be read, where it cannot: then there is an id at most, and its place among the others, because a v1
    /// device's messages are taken only up to it.
    #[serde(skip)]
    pub unreadable: Option<SyncError>,
}

/// `sync_ack`. The relay's names stored messages, list beside list; a v1 client's names the last entry it stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncAck {
    /// Sequence numbers.
    #[serde(default, deserialize_with = "list")]
    pub acknowledged_sequences: Vec<u64>,
    /// Message ids, in the same order.
    #[serde(default, deserialize_with = "list")]
    pub acknowledged_message_ids: Vec<MessageId>,
    /// What the sender of this frame knows.
    #[serde(default, deserialize_with = "null_as_default")]
    pub vector_clock: VectorClock,
    /// Ours, from the relay: when it took each message, in the same order.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub server_timestamps: Vec<u64>,
}

/// `sync_conflict`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncConflict {
    /// The conflicts.
    #[serde(default, deserialize_with = "list")]
    pub conflicts: Vec<ConflictReport>,
}

/// One conflict as the wire has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictReport {
    /// The message that met others it did not know.
    pub message_id: MessageId,
    /// It and the others.
    #[serde(default, deserialize_with = "list")]
    pub conflicting_versions: Vec<ConflictingVersion>,
    /// How it was resolved, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
}

/// One side of a conflict.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictingVersion {
    /// What was written.
    pub message: Message,
    /// Where.
    pub device_id: DeviceId,
    /// What was known then.
    pub vector_clock: VectorClock,
    /// When.
    pub timestamp: Stamp,
}

/// `sync_heartbeat`. The relay answers with the session's head, so a heartbeat also finds what was missed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncHeartbeat {
    /// The last sequence number the sender has.
    #[serde(default, deserialize_with = "floor")]
    pub sequence_number: u64,
    /// What the sender knows.
    #[serde(default, deserialize_with = "null_as_default")]
    pub vector_clock: VectorClock,
}

/// `read_receipt`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json", serde(from = "items::Receipts"))]
pub struct ReadReceipt {
    /// Each stands for its message and every earlier one of the session.
    pub receipts: Vec<Receipt>,
    /// Why one of them cannot be read, where one cannot: the others are taken.
    #[serde(skip)]
    pub unreadable: Option<SyncError>,
}

/// `read_receipt_sync`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadReceiptSync {
    /// As in `read_receipt`, with the reader.
    #[serde(default, deserialize_with = "list")]
    pub receipts: Vec<Receipt>,
}

/// A message reached a device of a wallet, or was seen by its owner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The message.
    #[serde(default, deserialize_with = "null_as_default")]
    pub message_id: MessageId,
    /// What happened to it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: ReceiptStatus,
    /// When.
    #[serde(default, deserialize_with = "null_as_default")]
    pub timestamp: Stamp,
    /// From the relay: whose device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader_wallet: Option<WalletAddress>,
    /// From the relay: which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// Ours, from the relay: the message's place.
    #[serde(default, deserialize_with = "whole_if_any", skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<u64>,
}

impl Receipt {
    /// Checks what the relay passes on of it.
    fn check(&self) -> Result<(), SyncError> {
        if matches!(&self.timestamp, Stamp::Text(text) if text.len() > NAME_BYTES_MAX) {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "a receipt's timestamp is too long"));
        }
        if self.message_id.is_empty() { Ok(()) } else { check_id("messageId", &self.message_id) }
    }
}

/// What a receipt says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptStatus {
    /// It is stored on a device of the reader.
    #[default]
    Delivered,
    /// The reader saw it.
    Read,
}

/// A live message of a seed client. The relay sends it on with the last two fields added.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chat {
    /// The session, by one name or the other; where both are given, this one counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<SessionId>,
    /// The session, by its other name. The relay sends both: clients read what they write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The text.
    #[serde(default, deserialize_with = "null_as_default")]
    pub message: String,
    /// The wallet.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sender: WalletAddress,
    /// When it was written.
    #[serde(default, deserialize_with = "null_as_default")]
    pub timestamp: Stamp,
    /// Its id, where its writer gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// What its device knew, where it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_clock: Option<VectorClock>,
    /// From the relay: its place.
    #[serde(default, deserialize_with = "whole_if_any", skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<u64>,
    /// From the relay: when it took the message, in milliseconds since 1970.
    #[serde(default, deserialize_with = "whole_if_any", skip_serializing_if = "Option::is_none")]
    pub server_timestamp: Option<u64>,
    /// Fields that we know nothing of are kept and passed on.
    #[serde(flatten, serialize_with = "unknown_of_chat")]
    pub extra: Extra,
}

/// What a message's unknown fields may not say in a chat frame: that it is another frame, from somebody else.
const CHAT_FIELDS: [&str; 11] = [
    "type",
    "error",
    "roomId",
    "sessionId",
    "message",
    "sender",
    "timestamp",
    "messageId",
    "vectorClock",
    "sequenceNumber",
    "serverTimestamp",
];

fn unknown_of_chat<S: serde::Serializer>(extra: &Extra, serializer: S) -> Result<S::Ok, S::Error> {
    extra.serialize_without(&CHAT_FIELDS, serializer)
}

/// A text that only informs, cut where it is too long: no device stays outside for it.
fn short_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut name = text(deserializer)?;
    let end = (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.truncate(end);
    Ok(name)
}

/// Something was refused. Seed clients know only `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// What, in words.
    pub error: String,
    /// Ours: what, as a code.
    #[serde(default = "unknown_code", deserialize_with = "code_or_unknown")]
    pub code: ErrorCode,
    /// Ours: the session, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Ours: the `messageId` of the frame that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// Ours: the message that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_message_id: Option<MessageId>,
    /// Ours, with `COUNTER_GAP`: the counter that the relay takes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_counter: Option<u64>,
}

fn unknown_code() -> ErrorCode {
    ErrorCode::UnknownError
}

/// A newer relay may have codes that this version does not.
fn code_or_unknown<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
    Ok(ErrorCode::named(&Option::<String>::deserialize(deserializer)?.unwrap_or_default()))
}

impl Default for ErrorBody {
    fn default() -> Self {
        ErrorBody::new(&SyncError::new(ErrorCode::UnknownError, ""))
    }
}

impl ErrorBody {
    /// An error that names nothing but itself.
    pub fn new(error: &SyncError) -> Self {
        ErrorBody {
            error: error.message.clone(),
            code: error.code,
            session_id: None,
            in_reply_to: None,
            refused_message_id: None,
            expected_counter: None,
        }
    }
}

impl Frame {
    /// Reads a frame in JSON.
    ///
    /// # Errors
    /// `FRAME_TOO_LARGE` above [`FRAME_BYTES_MAX`], `UNKNOWN_FRAME` for a `type` that no frame has (skip those: a newer
    /// version may send them), `INVALID_VECTOR_CLOCK`, `INVALID_MESSAGE_FORMAT` for all else.
    #[cfg(feature = "json")]
    pub fn parse(text: &str) -> Result<Frame, SyncError> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: Option<String>,
            error: Option<serde::de::IgnoredAny>,
        }
        check_frame_bytes(text.len())?;
        let text = &*crate::surrogates::without_lone_surrogates(text);
        let kind: Kind = serde_json::from_str(text).map_err(|error| malformed("a frame", &error))?;
        let frame = match (kind.kind, kind.error) {
            (Some(kind), _) => {
                let head = serde_json::from_str(text).map_err(|error| malformed(&kind, &error))?;
                Frame { head, body: parse_typed(&kind, text)? }
            }
            (None, Some(_)) => {
                let body = serde_json::from_str(text).map_err(|error| malformed("an error", &error))?;
                Frame { head: Head::default(), body: Body::Error(body) }
            }
            (None, None) => {
                let chat: Chat = serde_json::from_str(text).map_err(|error| malformed("a chat frame", &error))?;
                let session_id = chat.room_id.clone().or_else(|| chat.session_id.clone()).unwrap_or_default();
                let head = Head { session_id, timestamp: chat.timestamp.clone(), ..Head::default() };
                Frame { head, body: Body::Chat(chat) }
            }
        };
        frame.check()?;
        Ok(frame)
    }

    /// The JSON form.
    ///
    /// # Panics
    /// For a batch that cannot be read: in the binary form one is taken as it comes.
    #[cfg(feature = "json")]
    pub fn to_json(&self) -> String {
        print(self).expect("a frame is strings, numbers, maps with text keys and batches that can be read")
    }

    fn check(&self) -> Result<(), SyncError> {
        let Head { session_id, device_id, message_id, .. } = &self.head;
        let wallet = if let Body::DeviceAnnounce(announce) = &self.body { announce.wallet.as_deref() } else { None };
        let wallet = wallet.unwrap_or_default();
        for (field, id) in [("sessionId", session_id.as_str()), ("deviceId", device_id), ("messageId", message_id), ("wallet", wallet)] {
            if !id.is_empty() {
                check_id(field, id)?;
            }
        }
        // Of what the relay passes on: devices could not read it.
        let largest = match &self.body {
            Body::DeviceAnnounce(announce) => announce.sync_state.last_synced_sequence,
            Body::SyncHeartbeat(heartbeat) => heartbeat.sequence_number,
            Body::ReadReceipt(receipt) => receipt.receipts.iter().filter_map(|receipt| receipt.sequence_number).max().unwrap_or(0),
            _ => 0,
        };
        if largest > INTEGER_MAX {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, format!("{largest} is above 2^53 - 1")));
        }
        let names: Vec<(&str, &str)> = match &self.body {
            Body::DeviceAnnounce(announce) => announce.wallet.iter().map(|wallet| ("wallet", wallet.as_str())).collect(),
            _ => Vec::new(),
        };
        names.into_iter().filter(|(_, name)| !name.is_empty()).try_for_each(|(field, name)| check_id(field, name))?;
        if let Body::ReadReceipt(receipt) = &self.body {
            receipt.receipts.iter().try_for_each(Receipt::check)?;
        }
        if let Body::DeviceAnnounce(announce) = &self.body
            && (announce.device_info.platform.len() > NAME_BYTES_MAX || announce.device_info.version.len() > NAME_BYTES_MAX)
        {
            let message = format!("platform and version may have {NAME_BYTES_MAX} bytes");
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
        }
        Ok(())
    }
}

fn check_frame_bytes(bytes: usize) -> Result<(), SyncError> {
    if bytes > FRAME_BYTES_MAX {
        let message = format!("the frame has {bytes} bytes, the limit is {FRAME_BYTES_MAX}");
        return Err(SyncError::new(ErrorCode::FrameTooLarge, message));
    }
    Ok(())
}

#[cfg(feature = "json")]
fn malformed(what: &str, error: &serde_json::Error) -> SyncError {
    // It shows the wrong value, which may be as long as the frame.
    let text: String = error.to_string().chars().take(200).collect();
    let code = if text.contains("vector clock") { ErrorCode::InvalidVectorClock } else { ErrorCode::InvalidMessageFormat };
    SyncError::new(code, format!("{what}: {text}"))
}

#[cfg(test)]
mod tests;
