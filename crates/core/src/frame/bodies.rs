//! What each kind of frame says.

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::conflict::ConflictingVersion;
use crate::entry::Digest;
use crate::error::{ErrorCode, SyncError};
use crate::group::GroupNonce;
use crate::identity::{EarlierKey, HeadSignature, Nonce, PublicKey, Signature, UpdateSignature};
use crate::ids::{DeviceId, MessageId, SessionId, WalletAddress, check_id};
use crate::limits::NAME_BYTES_MAX;
use crate::list::list;
use crate::log::{LogHead, from_hex, to_hex};
use crate::message::{Extra, Stamp, null_as_default};
use crate::scalar::{floor, text, whole, whole_if_any};
use crate::vector_clock::VectorClock;
use crate::wire::put_bytes;

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
    /// Ours: whom the session is with. The relay checks that the session is that of these two wallets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_wallet: Option<WalletAddress>,
    /// Ours: what the session's id is made of, where it is a group that the wallet is about to begin. The relay checks the id.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "nonce_to_hex", deserialize_with = "nonce_from_hex")]
    pub group_nonce: Option<GroupNonce>,
    /// Ours: `deflate` where the device takes compressed batches (in the binary form).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
}

fn nonce_to_hex<S: serde::Serializer>(nonce: &Option<GroupNonce>, serializer: S) -> Result<S::Ok, S::Error> {
    to_hex(&nonce.unwrap_or_default(), serializer)
}

fn nonce_from_hex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<GroupNonce>, D::Error> {
    from_hex(deserializer).map(Some)
}

/// `wallet_announce`: of no session. Answered with a `session_list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WalletAnnounce {
    /// Whose device the connection is.
    #[serde(default, deserialize_with = "null_as_default")]
    pub wallet: WalletAddress,
    /// Where the list goes on: what the part before it said. Absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SessionId>,
    /// Encrypted sessions alone are listed, as the device writes in no others; or the others alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
}

/// `session_list`: sessions of the announced wallet in which the connection takes no part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionList {
    /// The sessions.
    #[serde(default, deserialize_with = "list")]
    pub sessions: Vec<ListedSession>,
    /// Where to ask on. Absent: that was all. Empty: from the beginning, because something could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SessionId>,
    /// The `messageId` of the `wallet_announce` that it answers; absent where it tells what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
}

/// One session of a `session_list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSession {
    /// Its id.
    pub session_id: SessionId,
    /// The other wallet; of a group, the one that added the announced wallet.
    pub peer_wallet: WalletAddress,
    /// The end of its log; 0 for one that is only announced. Of a group, the place at which the wallet was added.
    #[serde(default, deserialize_with = "null_as_default")]
    pub latest_sequence: u64,
    /// Whether a device of the announced wallet has taken part.
    #[serde(default, deserialize_with = "null_as_default")]
    pub joined: bool,
    /// What it is called, where it is a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
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
    /// Ours: the device's log up to its cursor, for the relay to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogHead>,
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
    /// Ours: the `messageId` of the request it answers; absent in a live push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// Ours: the relay's log up to the last of these entries, and where there are none up to its end, for the device to
    /// compare. Left out in a live push, to keep that short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogHead>,
    /// Ours: the relay's signature under that, where the answer ends or has entries of the device itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_signature: Option<HeadSignature>,
    /// Ours: of each device that signs, its last signature under one of these entries.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<UpdateSignature>,
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
#[serde(rename_all = "camelCase")]
pub struct SyncUpdate {
    /// Unsent entries, oldest first, one counter after the other.
    #[serde(default)]
    pub messages: Batch,
    /// The digest of the last of them, and so of all that the device wrote in the session.
    #[serde(default, serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub last_digest: Digest,
    /// The device's signature under that, where its id is that of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<UpdateSignature>,
}

/// `sync_ack`. The relay's names stored messages, list beside list; a v1 client's names the last entry it stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncAck {
    /// Sequence numbers.
    #[serde(default, deserialize_with = "list")]
    pub acknowledged_sequences: Vec<u64>,
    /// To and from seed clients: message ids, in the same order.
    #[serde(default, deserialize_with = "list")]
    pub acknowledged_message_ids: Vec<MessageId>,
    /// To and from seed clients: what the sender of this frame knows.
    #[serde(default, deserialize_with = "null_as_default")]
    pub vector_clock: VectorClock,
    /// Ours, from the relay: the counters of the messages, in the same order.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub acknowledged_counters: Vec<u64>,
    /// Ours, from the relay: when it took each message, in the same order.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub server_timestamps: Vec<u64>,
    /// Ours, from the relay: its log when it had taken them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogHead>,
    /// Ours, from a relay that has a key: its signature under that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_signature: Option<HeadSignature>,
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
    /// Ours, from the relay: its log up to there, for the device to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogHead>,
    /// Ours, from a relay that has a key: its signature under that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_signature: Option<HeadSignature>,
}

/// `read_receipt`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json", serde(from = "super::items::Receipts"))]
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
    pub(super) fn check(&self) -> Result<(), SyncError> {
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

/// `hello`: what the relay says first. A client that has a device key answers with `sign_in`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// To be signed, once.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub nonce: Nonce,
    /// The relay's key.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub relay_key: PublicKey,
    /// The relay's time, in milliseconds since 1970.
    #[serde(default, deserialize_with = "floor")]
    pub time: u64,
    /// Whether nothing is served before sign-in.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sign_in_required: bool,
    /// The keys that the relay had before, oldest first, where it had others.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierKey>,
    /// Where a `sign_in` was right, but the account does not list the device: its log, behind which the device may enter it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<LogHead>,
}

/// `sign_in`: whose device this is, and the proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    /// The wallet.
    #[serde(default, deserialize_with = "null_as_default")]
    pub wallet: WalletAddress,
    /// The application's domains.
    #[serde(default, deserialize_with = "list")]
    pub domains: Vec<String>,
    /// The device's key.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub key: PublicKey,
    /// The relay's name, as the device knows it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub relay: String,
    /// The nonce of the last `hello`.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub nonce: Nonce,
    /// The device's own, drawn for this frame.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub device_nonce: Nonce,
    /// The device's signature.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub proof: Signature,
    /// The entry of the account log that lists the device, where it may not be listed yet.
    #[serde(default)]
    pub messages: Batch,
    /// Up to where the device has the account's log: where it was removed, it is shown the rest.
    #[serde(default, deserialize_with = "null_as_default")]
    pub known: u64,
}

impl Default for SignIn {
    fn default() -> Self {
        let (wallet, domains, relay, messages, known) = Default::default();
        let (key, nonce, device_nonce) = Default::default();
        SignIn { wallet, domains, key, relay, nonce, device_nonce, proof: [0; 64], messages, known }
    }
}

/// `signed_in`: the relay knows the device, and that it is its wallet's; or refuses it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignedIn {
    /// The relay's signature over the device's proof: it has the key that it shows.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub greeting: Signature,
    /// The account log's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<LogHead>,
    /// The device does not come in: the code of the reason, also one that a newer version has. The error itself follows; before it, where
    /// the account lists the device no longer, what the device lacks of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Default for SignedIn {
    fn default() -> Self {
        SignedIn { greeting: [0; 64], account: None, refused: None }
    }
}

/// `short_number`: what two devices of an account, of which one waits to be approved, say to each other so that both show one number.
/// What is not said is zeroes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShortNumber {
    /// From the relay: the device that says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: DeviceId,
    /// The device that it is for.
    #[serde(default)]
    pub to: DeviceId,
    /// What the device that waits has bound itself to. Without it an approved device says that it is there.
    #[serde(default, skip_serializing_if = "is_unsaid", serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub commitment: Digest,
    /// Random bytes of who says it. Without them a commitment is only made known.
    #[serde(default, skip_serializing_if = "is_unsaid", serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub random: Digest,
    /// The signature of the device that says it.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub signature: Signature,
}

fn is_unsaid(bytes: &Digest) -> bool {
    *bytes == Digest::default()
}

impl Default for ShortNumber {
    fn default() -> Self {
        let (from, to, commitment, random) = Default::default();
        ShortNumber { from, to, commitment, random, signature: [0; 64] }
    }
}

impl ShortNumber {
    /// What a device, `from`, signs of it, as one of this account.
    pub fn signed_bytes(&self, account_id: &str, from: &str) -> Vec<u8> {
        let mut bytes = b"solconnect.short-number.v1\0".to_vec();
        [account_id, from, &self.to].into_iter().for_each(|text| put_bytes(&mut bytes, text.as_bytes()));
        bytes.extend_from_slice(&self.commitment);
        bytes.extend_from_slice(&self.random);
        bytes
    }
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
    /// Ours, with `ALREADY_STORED`: where the message is in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_sequence: Option<u64>,
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
            stored_sequence: None,
        }
    }
}
