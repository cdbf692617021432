//! What is shown of the client: sessions, messages, devices and how syncing goes.

use serde::{Deserialize, Serialize};

use super::records::InvitationRecord;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, MessageId, SessionId, WalletAddress};
use crate::vector_clock::VectorClock;

/// What `sendMessage` resolves with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct DeliveryReceipt {
    /// The message's id.
    pub message_id: MessageId,
    /// When it was written, ISO 8601.
    pub timestamp: String,
    /// How far it is: `queued`.
    pub status: MessageStatus,
}

/// A session as the application sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct SessionView {
    /// Its id: the same for both peers and all their devices.
    pub session_id: SessionId,
    /// The wallet of this device.
    pub wallet: WalletAddress,
    /// The other one; empty for a group.
    pub peer_wallet: WalletAddress,
    /// Whether it is of two wallets, or a group.
    pub kind: SessionKind,
    /// What a group is called, as far as is known here: what this device has queued included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub name: Option<String>,
    /// The wallets that are in it, in the order in which they came, as far as is known here.
    pub members: Vec<MemberView>,
    /// Whether this wallet is one of them.
    pub membership: Membership,
    /// This device. It changes where a copy of its database was found (`DeviceReplaced`).
    #[serde(rename = "deviceId")]
    pub device_id: DeviceId,
    /// Entries stored here.
    #[serde(rename = "lastSyncedSequence")]
    pub last_synced_sequence: u64,
    /// Messages waiting in the outbox.
    #[serde(rename = "queuedMessageCount")]
    pub queued_message_count: u64,
    /// The user has read the messages up to this sequence number, on any device; 0 for none.
    #[serde(rename = "readThrough")]
    pub read_through: u64,
    /// Whether it was started and not ended.
    #[serde(rename = "isActive")]
    pub is_active: bool,
    /// What this device knows.
    #[serde(rename = "vectorClock")]
    #[cfg_attr(feature = "ts", tsify(type = "Record<string, number>"))]
    pub vector_clock: VectorClock,
}

/// What a session is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub enum SessionKind {
    /// Of two wallets, or of one with itself.
    #[default]
    Pair,
    /// Of wallets that its admins name.
    Group,
}

/// A wallet of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct MemberView {
    /// Its address.
    pub wallet: WalletAddress,
    /// Whether it may add, remove and rename. In a session of two nobody may.
    pub is_admin: bool,
}

/// Whether a wallet is in a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub enum Membership {
    /// It is.
    #[default]
    Member,
    /// It left. What is stored here can be read.
    Left,
    /// It was removed. What is stored here can be read.
    Removed,
}

/// An invitation as the application sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct InvitationView {
    /// The session.
    pub session_id: SessionId,
    /// The wallet that began it, or added this one to a group.
    pub peer_wallet: WalletAddress,
    /// What it is called, where it is a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub name: Option<String>,
    /// When this device heard of it, in milliseconds since 1970.
    #[serde(rename = "receivedAt")]
    pub received_at: u64,
}

impl InvitationView {
    pub(super) fn of(record: &InvitationRecord) -> InvitationView {
        let InvitationRecord { session_id, peer_wallet, received_ms, name, .. } = record.clone();
        InvitationView { session_id, peer_wallet, name: Some(name).filter(|name| !name.is_empty()), received_at: received_ms }
    }
}

/// A device of the connected wallet as the application sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct DeviceView {
    /// Its id.
    pub id: DeviceId,
    /// Whether it is this one.
    pub is_this_device: bool,
    /// Whether it may approve and remove devices. The first one may; the others are approved by one that may.
    pub is_approved: bool,
    /// When it was added, by the relay's time, in milliseconds since 1970.
    pub added_at: u64,
    /// Six digits that this device and that one show each other while one of them is approved and the other one waits: where a person sees
    /// the same on both, it is the device in their hand. Absent while it is not known: both must be online at once, and encrypt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub number: Option<String>,
}

/// What holds of a session's encryption as the application sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct EncryptionView {
    /// Whether the session is encrypted. It is so from its beginning or never.
    pub encryption: EncryptionMode,
    /// The last epoch that began; absent before the first. Where somebody has come or left since, nothing more is written in it, and
    /// the next text begins another.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub epoch: Option<EpochView>,
    /// The wallets of the session, in the order of their keys; none where it is not encrypted.
    pub members: Vec<EpochMemberView>,
    /// How many epochs have texts that this device keeps and cannot read yet, because it has not got the key, or this wallet had none
    /// then: whoever can read them gives it when it is online.
    #[serde(rename = "unreadEpochCount")]
    pub unread_epoch_count: u64,
    /// How many epochs have texts that this device keeps and never reads: their key was lost with the devices that this wallet had before
    /// `signOutOtherDevices`, and nobody gives it again.
    #[serde(rename = "lostEpochCount")]
    pub lost_epoch_count: u64,
    /// What this device lacks to read all that is written now; absent where it lacks nothing. `SIGN_IN_REQUIRED` and `DEVICE_REMOVED`:
    /// `signIn()`. `DEVICE_NOT_APPROVED`: an approved device of this wallet calls `approveDevice`; until then this one writes, and reads what
    /// is written since it has begun an epoch itself. `ACCOUNT_KEY_MISSING`: the key comes by itself when the relay is reached, or when
    /// another device of this wallet is online.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "ts",
        tsify(optional, type = "'SIGN_IN_REQUIRED' | 'DEVICE_REMOVED' | 'DEVICE_NOT_APPROVED' | 'ACCOUNT_KEY_MISSING'")
    )]
    pub missing: Option<ErrorCode>,
}

/// Whether a session is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub enum EncryptionMode {
    /// The relay can read it.
    Off,
    /// Its members alone can read it.
    Required,
}

/// An epoch of an encrypted session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct EpochView {
    /// Its number, from 1.
    pub number: u64,
    /// When it began, by the relay's time, in milliseconds since 1970.
    pub began_at: u64,
}

/// A wallet of an encrypted session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct EpochMemberView {
    /// Its address.
    pub wallet: WalletAddress,
    /// The number of the account key that the epoch is sealed to; 0: it had none, and reads nothing of this epoch before it has one and
    /// somebody who can read gives it the secret. Absent where no epoch
    /// has named the wallet since it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub generation: Option<u64>,
    /// How many approved devices it has, as this device last heard; absent where it has heard nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub approved_device_count: Option<u64>,
}

/// What the person of the connected wallet can come back by where no other device is, as the application sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct RecoveryView {
    /// The recovery code. Absent where the account has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub code: Option<RecoveryKeyView>,
    /// The passkey. Absent where the account has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub passkey: Option<RecoveryKeyView>,
}

/// A recovery code or a passkey as the application sees it. What it is nobody keeps but its person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct RecoveryKeyView {
    /// When it was made, by the relay's time, in milliseconds since 1970.
    pub created_at: u64,
}

/// How far a message is. Only moves forward, except from `sending` back to `queued`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub enum MessageStatus {
    /// In the outbox.
    Queued,
    /// On its way to the relay.
    Sending,
    /// In the relay's log.
    Sent,
    /// On a device of the other wallet.
    Delivered,
    /// Seen there.
    Read,
    /// Refused for good.
    Failed,
}

/// A message as the application sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct MessageView {
    /// Its id.
    pub id: MessageId,
    /// Its session.
    pub session_id: SessionId,
    /// Who wrote it.
    pub sender_wallet: WalletAddress,
    /// When, by the writer's clock, ISO 8601.
    pub timestamp: String,
    /// A media type, where the writer gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub content_type: Option<String>,
    /// What to show: the text of the winning version, empty where the message was deleted. Text, never HTML.
    pub text: String,
    /// The device that wrote it.
    #[serde(rename = "deviceId")]
    pub device_id: DeviceId,
    /// Its place in the log; absent while it is queued.
    #[serde(rename = "sequenceNumber", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub sequence_number: Option<u64>,
    /// What its device knew.
    #[serde(rename = "vectorClock")]
    #[cfg_attr(feature = "ts", tsify(type = "Record<string, number>"))]
    pub vector_clock: VectorClock,
    /// How far it is. In a group an own message is delivered, and read, when all other members have it.
    pub status: MessageStatus,
    /// Of an own message in a group: the members that have read it.
    #[serde(rename = "readBy", skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "ts", tsify(optional))]
    pub read_by: Option<Vec<WalletAddress>>,
    /// Why it failed.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", tsify(optional, type = "SdkError"))]
    pub error: Option<SyncError>,
    /// Whether a later version is shown.
    pub edited: bool,
    /// Whether the winning version deleted it.
    pub deleted: bool,
    /// Whether an own version of it, an edit or its deletion, is not in the log yet.
    #[serde(rename = "pendingEdit")]
    pub pending_edit: bool,
    /// More than one where versions are in conflict: the winner first. Their ids, for a resolution by the application.
    pub versions: Vec<VersionView>,
}

/// One version of an edited message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct VersionView {
    /// The version's own id.
    pub id: MessageId,
    /// The device that wrote it.
    pub device_id: DeviceId,
    /// Its text, empty where it deletes.
    pub text: String,
    /// Whether it deletes.
    pub deleted: bool,
    /// When, ISO 8601.
    pub timestamp: String,
}

/// The connection to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub enum ConnectionState {
    /// None is wanted: no wallet, or offline by wish.
    Offline,
    /// Waiting for the next attempt.
    Waiting,
    /// A socket is being opened.
    Connecting,
    /// A socket is open.
    Connected,
}

/// Of one session, since the machine started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "ts", derive(tsify::Tsify))]
pub struct SyncStats {
    /// Messages stored or acknowledged by completed syncs.
    pub total_messages_synced: u64,
    /// Conflicts that a strategy settled.
    pub total_conflicts_resolved: u64,
    /// The last one, in milliseconds.
    pub last_sync_duration: u64,
    /// The mean, in milliseconds.
    pub average_sync_duration: f64,
    /// Syncs that failed.
    pub sync_failures: u64,
    /// Messages in the outbox.
    pub pending_messages: u64,
}

/// What `getSyncStatus` tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncStatusView {
    /// Whether any session is catching up or sending.
    pub sync_in_progress: bool,
    /// When the last sync was complete, by the wall clock; `None` for never.
    pub last_sync_ms: Option<u64>,
    /// Messages in the outbox.
    pub queued_message_count: u64,
}
