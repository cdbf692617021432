//! The bytes that records are stored as.

use super::{
    AccountRecord, Answer, BATCH_BYTES_MAX, DeviceRecord, EpochSeal, FailedRecord, HeadsRecord, IdentityRecord, InvitationRecord,
    NameRecord, OutboxRecord, ReadMark, SealedState, SessionRecord, SpareRecord, VersionsRecord, Watermarks,
};
use crate::batch::Batch;
use crate::client::answers::{CallRecord, StoredReply};
use crate::client::views::{DeliveryReceipt, Membership, MessageStatus};
use crate::entry::{Digest, Entry};
use crate::epochs::Epochs;
use crate::error::{ErrorCode, SyncError};
use crate::group::Group;
use crate::identity::{HeadSignature, SignedHead};
use crate::ids::{MessageId, SessionId, WalletAddress};
use crate::log::{Log, LogHead, StoredHeads};
use crate::watermark::Watermark;
use crate::wire::{
    Field, Malformed, Reader, Record, Value, bytes_of, digest_of, nested, number_of, put_block, put_bytes, put_varint, record,
};

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

impl AccountRecord {
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

impl SessionRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let SessionRecord { session_id, wallet, peer_wallet, open, log, counter, .. } = self.clone();
        let SessionRecord { watermarks, read_mark, last_sync_ms, small_first, small_count, sent_through, .. } = self.clone();
        let (end, hash, heads) = (log.end(), log.hash().to_vec(), StoredHeads(log.heads().to_vec()));
        let heads_through = self.heads_through;
        let group = self.group.as_ref().map(Group::to_bytes).unwrap_or_default();
        let (membership, uncounted) = (self.membership, self.uncounted.clone());
        StoredSession {
            group,
            sealed: self.sealed.as_ref().map(SealedState::to_bytes).unwrap_or_default(),
            membership,
            uncounted,
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
            all_delivered: self.all_reached.delivered,
            all_read: self.all_reached.read,
            read_mark,
            last_sync_ms,
            small_first,
            small_count,
            sent_through,
            proven: self.proven,
            contradiction: self.contradiction.as_deref().copied(),
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
        let group = if stored.group.is_empty() { None } else { Some(Group::from_bytes(&stored.group).map_err(Malformed::in_store)?) };
        let sealed = SealedState::from_bytes(&stored.sealed).map_err(Malformed::in_store)?;
        Ok(SessionRecord {
            group,
            sealed,
            membership: stored.membership,
            uncounted: stored.uncounted,
            log: Log::restore(stored.end, hash, stored.heads.0),
            heads_through: stored.heads_through,
            open: stored.open,
            counter: stored.counter,
            sent_through: stored.sent_through,
            proven: stored.proven,
            contradiction: stored.contradiction.map(Box::new),
            watermarks: stored.watermarks,
            all_reached: Watermark { delivered: stored.all_delivered, read: stored.all_read },
            read_mark: stored.read_mark,
            last_sync_ms: stored.last_sync_ms,
            small_first: stored.small_first,
            small_count: stored.small_count,
            ..SessionRecord::new(stored.session_id, stored.wallet, stored.peer_wallet)
        })
    }
}

impl SealedState {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, &self.epochs.to_bytes());
        if let Some(EpochSeal { number, after, transcript, tag, author, sealed }) = &self.last {
            put_varint(&mut out, *number);
            [after, transcript, tag].into_iter().for_each(|bytes| out.extend_from_slice(bytes));
            put_bytes(&mut out, author.as_bytes());
            if let Some((generation, sealed)) = sealed {
                put_varint(&mut out, *generation);
                out.extend_from_slice(sealed);
            }
        }
        out
    }

    /// Nothing where there is none.
    fn from_bytes(bytes: &[u8]) -> Result<Option<SealedState>, Malformed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader(bytes);
        let epochs = Epochs::from_bytes(reader.bytes()?)?;
        if reader.0.is_empty() {
            return Ok(Some(SealedState { epochs, last: None }));
        }
        let number = reader.varint()?;
        let (after, transcript, tag) = (*reader.array()?, *reader.array()?, *reader.array()?);
        let author = reader.text()?.to_owned();
        let sealed = if reader.0.is_empty() { None } else { Some((reader.varint()?, *reader.array()?)) };
        Ok(Some(SealedState { epochs, last: Some(EpochSeal { number, after, transcript, tag, author, sealed }) }))
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
        let (wallet, peer_wallet) = (self.wallet.clone(), self.peer_wallet.clone());
        StoredSpare { wallet, peer_wallet, open: self.open, batches, is_group: self.is_group }.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredSpare { wallet, peer_wallet, open, batches, is_group } = StoredSpare::decode(bytes).map_err(Malformed::in_store)?;
        let (session_id, entries) = entries_of(batches)?;
        Ok(SpareRecord { wallet, peer_wallet, is_group, open, outbox: OutboxRecord { session_id, entries } })
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
    group: Vec<u8>,
    membership: Membership,
    uncounted: Vec<u64>,
    proven: Option<SignedHead>,
    contradiction: Option<SignedHead>,
    all_delivered: u64,
    all_read: u64,
    sealed: Vec<u8>,
}

#[derive(Default)]
struct StoredHead {
    sequence: u64,
    hash: Digest,
    signature: HeadSignature,
}

impl Field for Option<SignedHead> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(SignedHead { head: LogHead { sequence, hash }, signature }) = *self {
            StoredHead { sequence, hash, signature }.put(number, out);
        }
    }

    fn take(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let StoredHead { sequence, hash, signature } = StoredHead::decode(bytes_of(value)?)?;
        *self = Some(SignedHead { head: LogHead { sequence, hash }, signature });
        Ok(())
    }
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
    is_group: bool,
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

record!(DeviceRecord { 1 => device_id, 2 => earlier });
record!(IdentityRecord { 1 => secret, 2 => claim, 3 => is_listed, 4 => account, 5 => was_removed, 6 => relay_key });
record!(AccountRecord { 1 => wallet, 2 => account });
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
    16 => proven,
    17 => contradiction,
    18 => group,
    19 => membership,
    20 => uncounted,
    21 => all_delivered,
    22 => all_read,
    23 => sealed,
});
record!(NameRecord { 1 => session_id, 2 => message_id, 3 => fingerprint, 4 => sent_ms });
record!(InvitationRecord {
    1 => session_id,
    2 => wallet,
    3 => peer_wallet,
    4 => received_ms,
    5 => answer,
    6 => declined_through,
    7 => name,
});
record!(ReadMark { 1 => message_id, 2 => sequence_number });
record!(StoredHead { 1 => sequence, 2 => hash, 3 => signature });
record!(StoredOutbox { 1 => batches });
record!(StoredSpare { 1 => wallet, 2 => peer_wallet, 3 => open, 4 => batches, 5 => is_group });
record!(StoredFailed { 1 => number, 2 => refused_id, 3 => code, 4 => message, 5 => batches });
record!(StoredCall { 1 => tab, 2 => call, 3 => number, 4 => kind, 5 => count, 6 => id, 7 => timestamp, 8 => has_failed });
record!(StoredVersions { 1 => message_id, 2 => batches });
record!(StoredWatermark { 1 => wallet, 2 => delivered, 3 => read });
nested!(ReadMark, StoredHead);

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

impl Field for Membership {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        (*self as u64).put(number, out);
    }

    fn take(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        *self = match number_of(value)? {
            0 => Membership::Member,
            1 => Membership::Left,
            _ => Membership::Removed,
        };
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
