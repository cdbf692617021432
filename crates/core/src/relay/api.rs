//! What goes into the relay machine, what comes out, and what its journal keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::entry::Digest;
use crate::error::ErrorCode;
use crate::frame::{Encoding, ListedSession, Payload, SyncState};
use crate::identity::{DeviceKey, EarlierKey, UpdateSignature};
use crate::ids::{DeviceId, SessionId, WalletAddress};
use crate::limits::{
    ADDRESS_ATTACHMENTS_MAX, ADDRESS_CONVERSATIONS_PER_HOUR, ADDRESS_DEVICES_PER_HOUR, WALLET_ATTACHMENTS_MAX, WALLET_CONNECTIONS_MAX,
    WALLET_CONVERSATIONS_PER_HOUR,
};
use crate::vector_clock::VectorClock;
use crate::watermark::Watermark;

/// Names one connection. Never used twice in the life of a process.
pub type ConnectionId = u64;

/// Names one question to the journal; its answer has the same number.
pub type Ticket = u64;

/// How a relay knows its devices.
#[derive(Clone, PartialEq)]
pub struct Doorkeeper {
    /// The relay's key: what devices sign names it, and the relay signs heads of logs with it.
    pub key: DeviceKey,
    /// The keys that it had before, oldest first, each of which names the next one:
    /// [`RELAY_KEYS_MAX`](crate::limits::RELAY_KEYS_MAX) at most.
    pub earlier: Vec<EarlierKey>,
    /// The relay's public names: host, and port where it is not the scheme's own.
    pub names: Vec<String>,
    /// Whether nothing is served before sign-in.
    pub is_required: bool,
    /// 32 bytes that nobody can guess, new in each life of the process: nonces are made of them.
    pub secret: [u8; 32],
}

/// Where connections come from, as the shell tells places apart: all from one share what an address may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub u128);

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum Input {
    /// A socket is open, and its frames are written so. It comes from there, where that counts.
    Opened { connection: ConnectionId, encoding: Encoding, source: Option<Source> },
    /// A frame arrived.
    Received { connection: ConnectionId, payload: Payload },
    /// The socket took `bytes` of what was transmitted.
    Sent { connection: ConnectionId, bytes: usize },
    /// The socket is gone.
    Closed { connection: ConnectionId },
    /// The journal's answer.
    Journal { ticket: Ticket, answer: JournalAnswer },
    /// The time that `next_timeout_ms` named has come. Harmless at any other time.
    Timeout,
}

/// What the shell is asked to do, in this order.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum Action {
    /// Queue a frame for this socket, and say `Sent` when the socket has taken it.
    Transmit { connection: ConnectionId, payload: Payload },
    /// Close this socket with this code, after what was transmitted.
    Disconnect { connection: ConnectionId, code: u16, reason: String },
    /// Ask the journal. Questions of one session are answered in their order.
    Journal { ticket: Ticket, question: JournalQuestion },
    /// Something an operator wants to know. Never the content of a message.
    Log { text: String },
}

/// What a wallet or an address has so much of, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cap {
    /// Connections that have signed in as one wallet.
    WalletConnections,
    /// Sessions that those take part in.
    WalletAttachments,
    /// Sessions that a wallet begins in an hour.
    WalletConversations,
    /// Sessions that connections from one address take part in.
    AddressAttachments,
    /// Sessions that are begun from an address in an hour.
    AddressConversations,
    /// Devices that are listed from an address in an hour.
    AddressDevices,
}

impl Cap {
    /// All of them.
    pub const ALL: [Cap; 6] = [
        Cap::WalletConnections,
        Cap::WalletAttachments,
        Cap::WalletConversations,
        Cap::AddressAttachments,
        Cap::AddressConversations,
        Cap::AddressDevices,
    ];

    /// Its name among the numbers of a relay.
    pub fn name(self) -> &'static str {
        match self {
            Cap::WalletConnections => "wallet_connections",
            Cap::WalletAttachments => "wallet_attachments",
            Cap::WalletConversations => "wallet_conversations_per_hour",
            Cap::AddressAttachments => "address_attachments",
            Cap::AddressConversations => "address_conversations_per_hour",
            Cap::AddressDevices => "address_devices_per_hour",
        }
    }
}

/// In words, for whoever reaches it.
impl std::fmt::Display for Cap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cap::WalletConnections => write!(f, "a wallet has at most {WALLET_CONNECTIONS_MAX} connections"),
            Cap::WalletAttachments => write!(f, "the connections of a wallet take part in at most {WALLET_ATTACHMENTS_MAX} sessions"),
            Cap::WalletConversations => write!(f, "a wallet begins at most {WALLET_CONVERSATIONS_PER_HOUR} sessions in an hour"),
            Cap::AddressAttachments => write!(f, "the connections of an address take part in at most {ADDRESS_ATTACHMENTS_MAX} sessions"),
            Cap::AddressConversations => {
                write!(f, "from an address at most {ADDRESS_CONVERSATIONS_PER_HOUR} sessions are begun in an hour")
            }
            Cap::AddressDevices => write!(f, "from an address at most {ADDRESS_DEVICES_PER_HOUR} devices are listed in an hour"),
        }
    }
}

/// What a relay is doing and has done since it began, in numbers: no names and no content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open connections.
    pub connections: usize,
    /// Those that have signed in.
    pub signed_in: usize,
    /// Sessions in memory.
    pub sessions: usize,
    /// Sessions that connections take part in, each counted as often as it is.
    pub attachments: usize,
    /// What is counted up.
    pub totals: Totals,
    /// How often a wallet or an address was at its limit.
    pub capped: BTreeMap<Cap, u64>,
}

/// What a relay has done since it began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that were opened.
    pub connections: u64,
    /// Connections that signed in.
    pub sign_ins: u64,
    /// Frames that arrived.
    pub frames_received: u64,
    /// Frames that were queued for sockets.
    pub frames_sent: u64,
    /// Entries that were stored, those of account logs included.
    pub entries: u64,
    /// Error frames, by their codes.
    pub errors: BTreeMap<ErrorCode, u64>,
    /// Connections that the relay ended.
    pub cut: u64,
}

/// The beginning of a SHA-256: what the journal finds an entry by.
pub type Key = [u8; 16];

/// Whether the shell shall read more of a connection: what is not read waits in its sender's own buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As much as there is.
    Now,
    /// Nothing before this time on the monotonic clock: it has cost what it may for now.
    NotBefore(u64),
    /// Nothing before the socket has taken more of what was transmitted ([`Input::Sent`]).
    NotBeforeSent,
}

/// A question to the journal.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum JournalQuestion {
    /// What is known of a session. Answered with `Session`, empty for one never seen.
    Load { session_id: SessionId },
    /// Entries to store, all or none, with the devices that wrote them. `entries[0].sequence` must be the session's
    /// head + 1 and the rest follow without holes; otherwise it fails. With them those of its wallets of which the journal
    /// does not know yet, and what the entries make of a group, or of the epochs of an encrypted session. Answered with `Appended` once it is on disk.
    Append {
        session_id: SessionId,
        entries: Vec<StoredEntry>,
        devices: Vec<DeviceRow>,
        members: Vec<MemberRow>,
        group: Option<GroupRow>,
        epochs: Option<Vec<u8>>,
    },
    /// Entries from `from` on: at most `count_max`, and at most `bytes_max` of bodies (but at least one).
    /// Answered with `Entries`.
    Read { session_id: SessionId, from: u64, count_max: usize, bytes_max: usize },
    /// Entries of `(device, counter)` pairs, of keys and of places, those that exist, in any order. Answered with `Entries`.
    Find { session_id: SessionId, counters: Vec<(DeviceId, u64)>, keys: Vec<Key>, places: Vec<u64> },
    /// The highest counter of each device up to each of these sequence numbers. Answered with `Clocks`.
    Clocks { session_id: SessionId, at: Vec<u64> },
    /// Sessions of a wallet, at most `count_max`: those in which it has taken part first, and of both kinds the newest
    /// first; from the beginning, or after this one; of devices that have signed in to this account, or of those that have no keys;
    /// `sealed`: encrypted ones alone, or the others alone. Answered with `Sessions`, empty where there is no such session.
    Sessions { wallet: WalletAddress, after: Option<SessionId>, count_max: usize, account_id: Option<SessionId>, sealed: bool },
    /// State that may be lost in a crash: devices as last seen, receipts, and who has taken part. May wait for the next append, and never
    /// changes what the log says of a device: `last_counter`, `last_sequence`, `last_digest`. Not answered.
    Note { session_id: SessionId, devices: Vec<DeviceRow>, watermarks: Vec<WatermarkRow>, members: Vec<MemberRow> },
}

/// The journal's answer.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after their types")]
pub enum JournalAnswer {
    /// To `Load`.
    Session(StoredSession),
    /// To `Append`: every entry is on disk.
    Appended,
    /// To `Read` and `Find`.
    Entries(Vec<StoredEntry>),
    /// To `Clocks`, in the order of the question.
    Clocks(Vec<VectorClock>),
    /// To `Sessions`, in their order.
    Sessions(Vec<ListedSession>),
    /// To any: it did not happen, nothing of it, and this is why.
    Failed { reason: String },
}

/// What the journal knows of a session.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoredSession {
    /// The last sequence number, 0 for none.
    pub head: u64,
    /// The running hash of the log up to there; anything where there is none.
    pub log_hash: Digest,
    /// The last entry that a person wrote ([`StoredEntry::is_written`]), 0 for none.
    pub last_written: u64,
    /// Whether any of its entries has a key.
    pub has_keys: bool,
    /// Every device.
    pub devices: Vec<DeviceRow>,
    /// Every wallet's receipts.
    pub watermarks: Vec<WatermarkRow>,
    /// Its wallets, where an announcement has named them; of a group, those that are in it.
    pub members: Vec<MemberRow>,
    /// What its log makes of it, where it is a group.
    pub group: Option<GroupRow>,
    /// The epochs of its log, where it is encrypted ([`Epochs::to_bytes`](crate::epochs::Epochs::to_bytes)).
    pub epochs: Option<Vec<u8>>,
}

/// A group as its log makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRow {
    /// What it is called, for lists.
    pub name: String,
    /// All of it ([`Group::to_bytes`](crate::group::Group::to_bytes)).
    pub state: Vec<u8>,
}

/// An entry as the journal stores it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEntry {
    /// Its place.
    pub sequence: u64,
    /// Who wrote it.
    pub device_id: DeviceId,
    /// Which of that device's it is; unique with the device.
    pub counter: u64,
    /// What a repeat is known by, beside device and counter, where its name does not tell its place. Unique in the session
    /// where present.
    pub key: Option<Key>,
    /// The running hash of the log up to this entry.
    pub log_hash: Digest,
    /// Its device's signature under it, where it is the last of an update of a device that signs.
    pub signature: Option<UpdateSignature>,
    /// The entry, as a batch of one.
    pub body: Batch,
}

impl StoredEntry {
    /// Whether a person wrote it. So is taken what cannot be read.
    pub fn is_written(&self) -> bool {
        self.body.entries().map_or(true, |entries| entries.iter().all(|entry| entry.message.kind.has_status()))
    }
}

/// A device of a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRow {
    /// Its id.
    pub device_id: DeviceId,
    /// Whose it is, where it said so.
    pub wallet: Option<WalletAddress>,
    /// Such as `web`.
    pub platform: String,
    /// The counter of its last entry in the log, 0 where it has none.
    pub last_counter: u64,
    /// The place of that entry.
    pub last_sequence: u64,
    /// The digest of that entry.
    pub last_digest: Digest,
    /// When it was last heard of, in milliseconds since 1970.
    pub last_seen_ms: u64,
    /// What it had then.
    pub sync_state: SyncState,
}

/// A wallet's receipts in a session.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkRow {
    /// The wallet.
    pub wallet: WalletAddress,
    /// Up to where.
    pub watermark: Watermark,
}

/// A wallet of a session whose wallets are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemberRow {
    /// The wallet.
    pub wallet: WalletAddress,
    /// The other one; the same in a session of a wallet with itself. In a group, the one that added it.
    pub peer_wallet: WalletAddress,
    /// Whether a device of it has taken part. That is never taken back, but for who comes again.
    pub joined: bool,
    /// The wallet's account log in the session's application: only devices that have signed in to it are the wallet's here. `None` in
    /// the sessions of those that have no keys.
    pub account_id: Option<SessionId>,
    /// In a group: the place of the entry that added it. 0 in a session of two wallets.
    pub since: u64,
    /// It left the group. It is not listed, and not loaded.
    pub left: bool,
}

impl MemberRow {
    /// The row that a journal keeps which has `known` and is told this one, in whatever order: notes may be late.
    #[must_use]
    pub fn behind(self, known: &MemberRow) -> MemberRow {
        match self.since.cmp(&known.since) {
            std::cmp::Ordering::Less => known.clone(),
            std::cmp::Ordering::Equal => MemberRow { joined: self.joined || known.joined, left: self.left || known.left, ..self },
            std::cmp::Ordering::Greater => self,
        }
    }
}
