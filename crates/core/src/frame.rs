//! The frames of PROTOCOL.md in both of their forms: JSON, which seed clients speak, and binary.
//!
//! Reading JSON is strict where a wrong value could lose or mix up messages, and refuses nothing for the sake of what only
//! informs. Fields may be missing or `null`, numbers may be written as texts, and messages of an update are read one by
//! one: seed clients repeat a refused frame for ever. What each kind of frame says is in `frame/bodies.rs`, the binary
//! form in `frame/binary.rs`.

mod binary;
mod bodies;
#[cfg(feature = "json")]
mod items;
mod seed;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use bodies::{
    Chat, ConflictReport, DeviceAnnounce, DeviceInfo, DeviceList, DeviceState, ErrorBody, Hello, ListedSession, Progress, ReadReceipt,
    ReadReceiptSync, Receipt, ReceiptStatus, SequenceRange, SessionList, ShortNumber, SignIn, SignedIn, SyncAck, SyncConflict,
    SyncHeartbeat, SyncPhase, SyncRequest, SyncResponse, SyncState, SyncStatus, SyncUpdate, WalletAnnounce,
};
pub use seed::{SeedEntry, SeedResponse, SeedUpdate, Unsent};

use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, SessionId, check_id};
use crate::limits::{FRAME_BYTES_MAX, INTEGER_MAX, NAME_BYTES_MAX};
use crate::message::{Stamp, null_as_default};
use crate::scalar::text;

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
            /// `sync_update` of a seed client. Only in JSON.
            SeedUpdate(SeedUpdate),
            /// `sync_response` to a seed client. Only in JSON.
            SeedResponse(SeedResponse),
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
                Body::SeedUpdate(body) => serde_json::to_string(&Typed { kind: "sync_update", head: &frame.head, body }),
                Body::SeedResponse(body) => serde_json::to_string(&Typed { kind: "sync_response", head: &frame.head, body }),
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
    /// A connection says whose it is, and asks for the wallet's sessions.
    WalletAnnounce(WalletAnnounce) = "wallet_announce",
    /// Sessions of the wallet in which the connection takes no part.
    SessionList(SessionList) = "session_list",
    /// The relay says what is to be signed.
    Hello(Hello) = "hello",
    /// A device proves who it is.
    SignIn(SignIn) = "sign_in",
    /// The relay knows it.
    SignedIn(SignedIn) = "signed_in",
    /// Two devices of an account find the number that both show.
    ShortNumber(ShortNumber) = "short_number",
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
            /// Only answers to seed clients have one.
            #[serde(rename = "serverVectorClock")]
            clock: Option<serde::de::IgnoredAny>,
        }
        check_frame_bytes(text.len())?;
        let text = &*crate::surrogates::without_lone_surrogates(text);
        let kind: Kind = serde_json::from_str(text).map_err(|error| malformed("a frame", &error))?;
        let is_for_seeds = kind.clock.is_some();
        let frame = match (kind.kind, kind.error) {
            (Some(kind), _) => {
                let head: Head = serde_json::from_str(text).map_err(|error| malformed(&kind, &error))?;
                let body = match kind.as_str() {
                    "sync_update" if head.protocol_version.is_none() => serde_json::from_str(text).map(Body::SeedUpdate),
                    "sync_response" if is_for_seeds => serde_json::from_str(text).map(Body::SeedResponse),
                    _ => Ok(parse_typed(&kind, text)?),
                };
                Frame { head, body: body.map_err(|error| malformed(&kind, &error))? }
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
        for (field, id) in [("sessionId", session_id.as_str()), ("deviceId", device_id), ("messageId", message_id)] {
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
            Body::DeviceAnnounce(announce) => {
                let named = [("wallet", &announce.wallet), ("peerWallet", &announce.peer_wallet)];
                named.into_iter().filter_map(|(field, name)| name.as_deref().map(|name| (field, name))).collect()
            }
            Body::SignIn(said) => vec![("wallet", &said.wallet), ("relay", &said.relay)],
            Body::ShortNumber(said) => vec![("from", &said.from), ("to", &said.to)],
            Body::WalletAnnounce(said) => vec![("wallet", &said.wallet), ("after", said.after.as_deref().unwrap_or_default())],
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
