//! What a device stores; `bytes` has what it is stored as. Keys stand in the store's description (ARCHITECTURE.md).

mod bytes;
mod sealed;

pub use sealed::{EpochSeal, SealedState, UnreadEpoch};

use crate::client::views::Membership;
use crate::entry::{Digest, Entry};
use crate::error::SyncError;
use crate::group::Group;
use crate::identity::SignedHead;
use crate::ids::{DeviceId, MessageId, SessionId, WalletAddress, is_sealed_id};
use crate::limits::{EARLIER_IDS_MAX, RECEIPT_WALLETS_MAX};
use crate::log::{DeviceHead, Log};
use crate::watermark::Watermark;

/// Bytes of a stored batch: few enough to be read for one message, enough to make few records.
pub(super) const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Who this database is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceRecord {
    /// Its id.
    pub device_id: DeviceId,
    /// Those that it had before, oldest first: what it wrote under them is its own too.
    pub earlier: Vec<DeviceId>,
}

impl DeviceRecord {
    /// That of a device that has had no other id.
    pub fn new(device_id: DeviceId) -> DeviceRecord {
        DeviceRecord { device_id, earlier: Vec::new() }
    }

    /// The same device under another id.
    pub fn renamed(&self, device_id: DeviceId) -> DeviceRecord {
        let mut earlier = self.earlier.clone();
        earlier.push(self.device_id.clone());
        earlier.drain(..earlier.len().saturating_sub(EARLIER_IDS_MAX));
        DeviceRecord { device_id, earlier }
    }

    /// Whether a device of this id is this one.
    pub fn is_this(&self, device_id: &str) -> bool {
        self.device_id == device_id || self.earlier.iter().any(|earlier| earlier == device_id)
    }
}

/// The key of a device, and what makes it a device of its wallet.
#[derive(Clone, Default, PartialEq)]
pub struct IdentityRecord {
    /// What the key is made of, or what a shell made of that to keep it: 32 bytes in the machine.
    pub secret: Vec<u8>,
    /// What lists the device in its account; empty where the wallet has not signed.
    pub claim: Vec<u8>,
    /// Whether the account lists it, as far as is known.
    pub is_listed: bool,
    /// The account, as far as its log is known here; empty where it is not.
    pub account: Vec<u8>,
    /// The device before this one was removed from the account, and the wallet has not signed since.
    pub was_removed: bool,
    /// The key of the relay that this device knows; empty where it knows none.
    pub relay_key: Vec<u8>,
    /// The short numbers that it has with other devices of its account.
    pub numbers: Vec<NumberRecord>,
}

/// The short number of this device and another one, as far as they have come with it: a page that begins anew shows the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NumberRecord {
    /// The other one.
    pub device_id: DeviceId,
    /// What the one that waits has bound itself to last; zeroes: to nothing yet.
    pub commitment: Digest,
    /// This device's random bytes for that.
    pub own: Digest,
    /// Those of the approved device, where this one waits; zeroes before its answer.
    pub answer: Digest,
    /// What people see, once it is known.
    pub number: Option<u64>,
    /// Commitments that there were.
    pub tries: u64,
}

/// The account of another wallet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccountRecord {
    /// The wallet.
    pub wallet: WalletAddress,
    /// Its account, as far as its log is known here.
    pub account: Vec<u8>,
}

/// Nobody shall find the secret in a log.
impl std::fmt::Debug for IdentityRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityRecord").field("claim", &self.claim.len()).field("is_listed", &self.is_listed).finish_non_exhaustive()
    }
}

/// A session as one device has it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    /// Its id.
    pub session_id: SessionId,
    /// The wallet of this device.
    pub wallet: WalletAddress,
    /// The other one; empty for a group.
    pub peer_wallet: WalletAddress,
    /// What the log makes of it, where it is a group.
    pub group: Option<Group>,
    /// Who can read it, where it is encrypted.
    pub sealed: Option<SealedState>,
    /// Whether this wallet is in it.
    pub membership: Membership,
    /// Entries of a group's log that did not count at their place: no honest relay takes any.
    pub uncounted: Vec<u64>,
    /// Between `startSession` and `endSession`.
    pub open: bool,
    /// The log up to its last stored entry (I7). In a stored record it has only the heads of the devices that wrote behind
    /// `heads_through`.
    pub log: Log,
    /// The other heads are in the session's [`HeadsRecord`], as they were at this place. 0: there is none.
    pub heads_through: u64,
    /// The last counter that this device has used.
    pub counter: u64,
    /// Messages up to this counter may be on their way to the relay, or were: they cannot be cancelled. `INTEGER_MAX` while a
    /// message is sent as soon as it is stored.
    pub sent_through: u64,
    /// What other wallets have delivered and read.
    pub watermarks: Watermarks,
    /// In a group: up to where all other wallets had what this one wrote, when its members last changed. No message goes back.
    pub all_reached: Watermark,
    /// The last message that the user has seen here: told to the relay at every connection.
    pub read_mark: ReadMark,
    /// The newest head of its log that the relay has signed, of those that this log agrees with: what proves that it had it.
    pub proven: Option<SignedHead>,
    /// The first head that the relay has signed and that this log, or `proven`, contradicts.
    pub contradiction: Option<Box<SignedHead>>,
    /// When the last sync was complete, by the wall clock; 0 for never.
    pub last_sync_ms: u64,
    /// The small batches at the end of the log that are not joined yet: the first sequence number, and how many.
    pub small_first: u64,
    /// See `small_first`.
    pub small_count: u64,
}

impl SessionRecord {
    /// A session that is new.
    pub fn new(session_id: SessionId, wallet: WalletAddress, peer_wallet: WalletAddress) -> Self {
        SessionRecord {
            log: Log::new(&session_id),
            sealed: is_sealed_id(&session_id).then(|| SealedState::new(&session_id)),
            heads_through: 0,
            session_id,
            wallet,
            peer_wallet,
            group: None,
            membership: Membership::Member,
            uncounted: Vec::new(),
            open: false,
            counter: 0,
            sent_through: 0,
            watermarks: Watermarks::default(),
            all_reached: Watermark::default(),
            read_mark: ReadMark::default(),
            proven: None,
            contradiction: None,
            last_sync_ms: 0,
            small_first: 0,
            small_count: 0,
        }
    }
}

impl SessionRecord {
    /// A group of which the log is not known here.
    pub fn of_group(session_id: SessionId, wallet: WalletAddress, name: &str) -> Self {
        let mut record = SessionRecord::new(session_id, wallet, WalletAddress::new());
        record.group = Some(Group::named(&record.session_id, name));
        record
    }
}

/// A message that the user has seen, and its place; nothing where the place is 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadMark {
    /// The message.
    pub message_id: MessageId,
    /// Its place in the log.
    pub sequence_number: u64,
}

/// Receipts by wallet. A session has two, or those of a group, and is kept from having more, so a list will do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watermarks(Vec<(WalletAddress, Watermark)>);

impl Watermarks {
    /// Those of a wallet, made where there are none.
    pub fn of(&mut self, wallet: &str) -> &mut Watermark {
        let place = self.0.iter().position(|(other, _)| other == wallet).unwrap_or_else(|| {
            self.0.push((wallet.to_owned(), Watermark::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    /// Those of a wallet, where there are any.
    pub fn get(&self, wallet: &str) -> Watermark {
        self.0.iter().find(|(other, _)| other == wallet).map_or_else(Watermark::default, |(_, watermark)| *watermark)
    }

    /// A wallet left the group.
    pub fn forget(&mut self, wallet: &str) {
        self.0.retain(|(other, _)| other != wallet);
    }

    /// Whether one more wallet may be kept, or this one is.
    pub(super) fn has_room_for(&self, wallet: &str) -> bool {
        self.0.len() < RECEIPT_WALLETS_MAX || self.0.iter().any(|(other, _)| other == wallet)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Watermark)> {
        self.0.iter().map(|(wallet, watermark)| (wallet.as_str(), *watermark))
    }
}

/// The last entry of each device in a session's log, as it was when this was last written. A session of few devices has no
/// such record; in one of many, a message costs the heads of some devices and not of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeadsRecord {
    /// Its session.
    pub session_id: SessionId,
    /// In the order of the device ids.
    pub heads: Vec<DeviceHead>,
}

/// Messages that were queued in one commit, and that the relay has not acknowledged or whose places in the log are not
/// stored yet, at least the last of them. They have no sequence numbers; `server_timestamp` is when they were queued.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRecord {
    /// Their session.
    pub session_id: SessionId,
    /// The messages, one counter after the other.
    pub entries: Vec<Entry>,
}

impl OutboxRecord {
    /// The counter of its first message.
    pub fn first(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.counter)
    }
}

/// An [`OutboxRecord`] as a copy of the outbox keeps it, with what it takes to begin its session in a new store.
#[derive(Debug, Clone, PartialEq)]
pub struct SpareRecord {
    /// The wallet of this device.
    pub wallet: WalletAddress,
    /// The other one.
    pub peer_wallet: WalletAddress,
    /// Whether it is a group.
    pub is_group: bool,
    /// Between `startSession` and `endSession`.
    pub open: bool,
    /// The messages.
    pub outbox: OutboxRecord,
}

/// A message that the relay refused for good. It stays until it is tried again or given up.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedRecord {
    /// Its session.
    pub session_id: SessionId,
    /// In the order in which they were refused.
    pub number: u64,
    /// The message, under the id that it is shown with.
    pub entry: Entry,
    /// The id that it was refused with: another one where that belongs to another message.
    pub refused_id: MessageId,
    /// Why.
    pub error: SyncError,
}

/// What the application named a message of this wallet: sent again under this name it is the same message, or it is
/// refused.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NameRecord {
    /// Its session.
    pub session_id: SessionId,
    /// The name.
    pub message_id: MessageId,
    /// The beginning of a SHA-256 over what it says.
    pub fingerprint: Vec<u8>,
    /// When it was sent first, in milliseconds since 1970.
    pub sent_ms: u64,
}

/// A session that another wallet began with this one, and what the user said to it; or a wallet that is blocked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InvitationRecord {
    /// The session.
    pub session_id: SessionId,
    /// The wallet of this device.
    pub wallet: WalletAddress,
    /// The other one.
    pub peer_wallet: WalletAddress,
    /// When it was stored, in milliseconds since 1970.
    pub received_ms: u64,
    /// What the user said.
    pub answer: Answer,
    /// Where its log ended when it was declined: what is behind that invites again. Of a group, where the wallet was added.
    pub declined_through: u64,
    /// What it is called, where it is a group; empty otherwise.
    pub name: String,
}

/// What the user said to an invitation. One that is accepted is a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    #[default]
    None,
    /// Not this one.
    Declined,
    /// None of this wallet.
    Blocked,
}

/// The versions of one edited message that no other version supersedes: more than one is a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionsRecord {
    /// Its session.
    pub session_id: SessionId,
    /// The message that was edited.
    pub message_id: MessageId,
    /// The versions.
    pub versions: Vec<Entry>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::message::Message;

    pub fn entry(sequence_number: u64, device_id: &str, counter: u64, knows: u64) -> Entry {
        let message = Message { id: format!("m{sequence_number}"), session_id: "s".into(), ..Message::default() };
        Entry { message, sequence_number, device_id: device_id.into(), counter, knows, server_timestamp: 7, ..Entry::default() }
    }

    #[test]
    fn stored_versions_keep_their_places_in_the_log() {
        let versions = vec![entry(5, "a", 2, 1), entry(3, "b", 1, 1), entry(0, "c", 1, 4)];
        let record = VersionsRecord { session_id: "s".into(), message_id: "m".into(), versions };
        assert_eq!(VersionsRecord::from_bytes(&record.to_bytes()), Ok(record));
    }

    #[test]
    fn a_stored_session_comes_back_with_its_log() {
        let mut record = SessionRecord::new("s".into(), "w".into(), "p".into());
        for entry in [entry(1, "a", 1, 0), entry(2, "b", 1, 0), entry(3, "a", 2, 2)] {
            record.log.take(&entry).unwrap();
        }
        (record.open, record.counter) = (true, 2);
        record.watermarks.of("p").read = 2;
        assert_eq!(SessionRecord::from_bytes(&record.to_bytes()), Ok(record));
    }
}
