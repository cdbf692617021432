//! What a device stores, and the bytes that it is stored as. Keys stand in the store's description (ARCHITECTURE.md).

use super::answers::{CallRecord, StoredReply};
use super::api::{DeliveryReceipt, MessageStatus};
use crate::batch::Batch;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, MessageId, SessionId, WalletAddress};
use crate::limits::RECEIPT_WALLETS_MAX;
use crate::log::{DeviceHead, Log};
use crate::watermark::Watermark;
use crate::wire::{Field, Malformed, Record, Value, bytes_of, digest_of, nested, number_of, put_block, record};

/// Bytes of a stored batch: few enough to be read for one message, enough to make few records.
pub(super) const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Who this database is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceRecord {
    /// Its id.
    pub device_id: DeviceId,
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
}

/// Nobody shall find the secret in a log.
impl std::fmt::Debug for IdentityRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityRecord").field("claim", &self.claim.len()).field("is_listed", &self.is_listed).finish_non_exhaustive()
    }
}

impl IdentityRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        Self::decode(bytes).map_err(Malformed::in_store)
    }
}

/// A session as one device has it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    /// Its id.
    pub session_id: SessionId,
    /// The wallet of this device.
    pub wallet: WalletAddress,
    /// The other one.
    pub peer_wallet: WalletAddress,
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
    /// The last message that the user has seen here: told to the relay at every connection.
    pub read_mark: ReadMark,
    /// When the last sync was complete, by the wall clock; 0 for never.
    pub last_sync_ms: u64,
    /// The small batches at the end of the log that are not joined yet: the first sequence number, and how many.
    pub small_first: u64,
    /// See `small_first`.
    pub small_count: u64,
}

/// A message that the user has seen, and its place; nothing where the place is 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadMark {
    /// The message.
    pub message_id: MessageId,
    /// Its place in the log.
    pub sequence_number: u64,
}

/// Receipts by wallet. A session has two and is kept from having many, so a list will do.
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

/// An [`OutboxRecord`] as a copy of the outbox keeps it, with what it takes to begin its session in a new store.
#[derive(Debug, Clone, PartialEq)]
pub struct SpareRecord {
    /// The wallet of this device.
    pub wallet: WalletAddress,
    /// The other one.
    pub peer_wallet: WalletAddress,
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
    /// Where its log ended when it was declined: what is behind that invites again.
    pub declined_through: u64,
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

impl DeviceRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR` for bytes that were not written by `to_bytes`; so for all records.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        Self::decode(bytes).map_err(Malformed::in_store)
    }
}

impl SessionRecord {
    /// A session that is new.
    pub fn new(session_id: SessionId, wallet: WalletAddress, peer_wallet: WalletAddress) -> Self {
        SessionRecord {
            log: Log::new(&session_id),
            heads_through: 0,
            session_id,
            wallet,
            peer_wallet,
            open: false,
            counter: 0,
            sent_through: 0,
            watermarks: Watermarks::default(),
            read_mark: ReadMark::default(),
            last_sync_ms: 0,
            small_first: 0,
            small_count: 0,
        }
    }

    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let SessionRecord { session_id, wallet, peer_wallet, open, log, counter, .. } = self.clone();
        let SessionRecord { watermarks, read_mark, last_sync_ms, small_first, small_count, sent_through, .. } = self.clone();
        let (end, hash, heads) = (log.end(), log.hash().to_vec(), StoredHeads(log.heads().to_vec()));
        let heads_through = self.heads_through;
        StoredSession {
            session_id,
            wallet,
            peer_wallet,
            open,
            end,
            hash,
            heads,
            heads_through,
            counter,
            watermarks,
            read_mark,
            last_sync_ms,
            small_first,
            small_count,
            sent_through,
        }
        .encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let stored = StoredSession::decode(bytes).map_err(Malformed::in_store)?;
        let hash = digest_of(&stored.hash).map_err(Malformed::in_store)?;
        Ok(SessionRecord {
            log: Log::restore(stored.end, hash, stored.heads.0),
            heads_through: stored.heads_through,
            open: stored.open,
            counter: stored.counter,
            sent_through: stored.sent_through,
            watermarks: stored.watermarks,
            read_mark: stored.read_mark,
            last_sync_ms: stored.last_sync_ms,
            small_first: stored.small_first,
            small_count: stored.small_count,
            ..SessionRecord::new(stored.session_id, stored.wallet, stored.peer_wallet)
        })
    }
}

impl HeadsRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        StoredSession { session_id: self.session_id.clone(), heads: StoredHeads(self.heads.clone()), ..StoredSession::default() }.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredSession { session_id, heads, .. } = StoredSession::decode(bytes).map_err(Malformed::in_store)?;
        Ok(HeadsRecord { session_id, heads: heads.0 })
    }
}

impl NameRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        Self::decode(bytes).map_err(Malformed::in_store)
    }
}

impl InvitationRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        Self::decode(bytes).map_err(Malformed::in_store)
    }
}

impl CallRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut stored = StoredCall { tab: self.tab, call: self.call, number: self.number, ..StoredCall::default() };
        match self.reply.clone() {
            StoredReply::Done => {}
            StoredReply::Count(count) => (stored.kind, stored.count) = (1, count),
            StoredReply::Session(session_id) => (stored.kind, stored.id) = (2, session_id),
            StoredReply::Receipt(DeliveryReceipt { message_id, timestamp, status }) => {
                // Only one that failed and was deleted is not queued.
                let has_failed = status == MessageStatus::Failed;
                stored = StoredCall { kind: 3, id: message_id, timestamp, has_failed, ..stored };
            }
        }
        stored.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredCall { tab, call, number, kind, count, id, timestamp, has_failed } =
            StoredCall::decode(bytes).map_err(Malformed::in_store)?;
        let status = if has_failed { MessageStatus::Failed } else { MessageStatus::Queued };
        let reply = match kind {
            0 => StoredReply::Done,
            1 => StoredReply::Count(count),
            2 => StoredReply::Session(id),
            3 => StoredReply::Receipt(DeliveryReceipt { message_id: id, timestamp, status }),
            _ => return Err(Malformed("an answer is of an unknown kind").in_store()),
        };
        Ok(CallRecord { tab, call, number, reply })
    }
}

impl VersionsRecord {
    /// Its stored form. Versions seldom follow each other in the log, so most are a batch of their own.
    pub fn to_bytes(&self) -> Vec<u8> {
        let batches = Batch::split(&self.versions, BATCH_BYTES_MAX).map(|(_, batch)| batch).collect();
        StoredVersions { message_id: self.message_id.clone(), batches }.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredVersions { message_id, batches } = StoredVersions::decode(bytes).map_err(Malformed::in_store)?;
        let (session_id, versions) = entries_of(batches)?;
        Ok(VersionsRecord { session_id, message_id, versions })
    }
}

impl OutboxRecord {
    /// The counter of its first message.
    pub fn first(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.counter)
    }

    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let batches = Batch::split(&self.entries, BATCH_BYTES_MAX).map(|(_, batch)| batch).collect();
        StoredOutbox { batches }.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredOutbox { batches } = StoredOutbox::decode(bytes).map_err(Malformed::in_store)?;
        let (session_id, entries) = entries_of(batches)?;
        Ok(OutboxRecord { session_id, entries })
    }
}

impl SpareRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let batches = Batch::split(&self.outbox.entries, BATCH_BYTES_MAX).map(|(_, batch)| batch).collect();
        StoredSpare { wallet: self.wallet.clone(), peer_wallet: self.peer_wallet.clone(), open: self.open, batches }.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredSpare { wallet, peer_wallet, open, batches } = StoredSpare::decode(bytes).map_err(Malformed::in_store)?;
        let (session_id, entries) = entries_of(batches)?;
        Ok(SpareRecord { wallet, peer_wallet, open, outbox: OutboxRecord { session_id, entries } })
    }
}

impl FailedRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let entry = std::slice::from_ref(&self.entry);
        StoredFailed {
            number: self.number,
            refused_id: self.refused_id.clone(),
            code: self.error.code.as_str().to_owned(),
            message: self.error.message.clone(),
            batches: Batch::split(entry, BATCH_BYTES_MAX).map(|(_, batch)| batch).collect(),
        }
        .encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredFailed { number, refused_id, code, message, batches } = StoredFailed::decode(bytes).map_err(Malformed::in_store)?;
        let (session_id, entries) = entries_of(batches)?;
        let entry = entries.into_iter().next().ok_or(Malformed("it is empty").in_store())?;
        Ok(FailedRecord { session_id, number, entry, refused_id, error: SyncError::new(ErrorCode::named(&code), message) })
    }
}

/// The entries of some batches, and their session.
fn entries_of(batches: Vec<Batch>) -> Result<(SessionId, Vec<Entry>), SyncError> {
    let mut entries = Vec::new();
    for batch in batches {
        entries.extend(batch.entries().map_err(Malformed::in_store)?);
    }
    let first = entries.first().ok_or(Malformed("it is empty").in_store())?;
    Ok((first.message.session_id.clone(), entries))
}

#[derive(Default)]
struct StoredSession {
    session_id: SessionId,
    wallet: WalletAddress,
    peer_wallet: WalletAddress,
    open: bool,
    end: u64,
    hash: Vec<u8>,
    heads: StoredHeads,
    heads_through: u64,
    counter: u64,
    watermarks: Watermarks,
    read_mark: ReadMark,
    last_sync_ms: u64,
    small_first: u64,
    small_count: u64,
    sent_through: u64,
}

#[derive(Default)]
struct StoredHeads(Vec<DeviceHead>);

#[derive(Default)]
struct StoredHead {
    device_id: DeviceId,
    counter: u64,
    sequence: u64,
    digest: Vec<u8>,
}

#[derive(Default)]
struct StoredOutbox {
    batches: Vec<Batch>,
}

#[derive(Default)]
struct StoredSpare {
    wallet: WalletAddress,
    peer_wallet: WalletAddress,
    open: bool,
    batches: Vec<Batch>,
}

#[derive(Default)]
struct StoredFailed {
    number: u64,
    refused_id: MessageId,
    code: String,
    message: String,
    batches: Vec<Batch>,
}

#[derive(Default)]
struct StoredCall {
    tab: u64,
    call: u64,
    number: u64,
    kind: u64,
    count: u64,
    id: String,
    timestamp: String,
    has_failed: bool,
}

#[derive(Default)]
struct StoredVersions {
    message_id: MessageId,
    batches: Vec<Batch>,
}

#[derive(Default)]
struct StoredWatermark {
    wallet: WalletAddress,
    delivered: u64,
    read: u64,
}

record!(DeviceRecord { 1 => device_id });
record!(IdentityRecord { 1 => secret, 2 => claim, 3 => is_listed });
record!(StoredSession {
    1 => session_id,
    2 => wallet,
    3 => peer_wallet,
    4 => open,
    5 => end,
    6 => hash,
    7 => heads,
    8 => counter,
    9 => watermarks,
    10 => read_mark,
    11 => last_sync_ms,
    12 => small_first,
    13 => small_count,
    14 => heads_through,
    15 => sent_through,
});
record!(StoredHead { 1 => device_id, 2 => counter, 3 => sequence, 4 => digest });
record!(NameRecord { 1 => session_id, 2 => message_id, 3 => fingerprint, 4 => sent_ms });
record!(InvitationRecord {
    1 => session_id,
    2 => wallet,
    3 => peer_wallet,
    4 => received_ms,
    5 => answer,
    6 => declined_through,
});
record!(ReadMark { 1 => message_id, 2 => sequence_number });
record!(StoredOutbox { 1 => batches });
record!(StoredSpare { 1 => wallet, 2 => peer_wallet, 3 => open, 4 => batches });
record!(StoredFailed { 1 => number, 2 => refused_id, 3 => code, 4 => message, 5 => batches });
record!(StoredCall { 1 => tab, 2 => call, 3 => number, 4 => kind, 5 => count, 6 => id, 7 => timestamp, 8 => has_failed });
record!(StoredVersions { 1 => message_id, 2 => batches });
record!(StoredWatermark { 1 => wallet, 2 => delivered, 3 => read });
nested!(ReadMark);

impl Field for Vec<Batch> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        self.iter().for_each(|batch| batch.put(number, out));
    }

    fn take(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        self.push(Batch::from_bytes(bytes_of(value)?));
        Ok(())
    }
}

impl Field for Answer {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        (*self as u64).put(number, out);
    }

    fn take(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        *self = match number_of(value)? {
            0 => Answer::None,
            1 => Answer::Declined,
            _ => Answer::Blocked,
        };
        Ok(())
    }
}

impl Field for StoredHeads {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for DeviceHead { device_id, counter, sequence, digest } in &self.0 {
            let head = StoredHead { device_id: (**device_id).to_owned(), counter: *counter, sequence: *sequence, digest: digest.to_vec() };
            put_block(number, &head.encode(), out);
        }
    }

    fn take(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let StoredHead { device_id, counter, sequence, digest } = StoredHead::decode(bytes_of(value)?)?;
        self.0.push(DeviceHead { device_id: device_id.into(), counter, sequence, digest: digest_of(&digest)? });
        Ok(())
    }
}

impl Field for Watermarks {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for (wallet, Watermark { delivered, read }) in self.iter() {
            put_block(number, &StoredWatermark { wallet: wallet.to_owned(), delivered, read }.encode(), out);
        }
    }

    fn take(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let StoredWatermark { wallet, delivered, read } = StoredWatermark::decode(bytes_of(value)?)?;
        *self.of(&wallet) = Watermark { delivered, read };
        Ok(())
    }
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
