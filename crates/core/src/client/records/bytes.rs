//! The bytes that records are stored as.

use super::{
    AccountRecord, Answer, BATCH_BYTES_MAX, DeviceRecord, FailedRecord, HeadsRecord, IdentityRecord, InvitationRecord, NameRecord,
    NumberRecord, OutboxRecord, ReadMark, SealedState, SessionRecord, SpareRecord, VersionsRecord, Watermarks,
};
use crate::batch::Batch;
use crate::client::answers::{CallRecord, StoredReply};
use crate::client::views::{DeliveryReceipt, Membership, MessageStatus};
use crate::entry::{Digest, Entry};
use crate::error::{ErrorCode, SyncError};
use crate::group::Group;
use crate::identity::{HeadSignature, SignedHead};
use crate::ids::{MessageId, SessionId, WalletAddress};
use crate::log::{Log, LogHead, StoredHeads};
use crate::watermark::Watermark;
use crate::wire::{Field, Malformed, Record, SMALL_BYTES, Value, bytes_of, digest_of, nested, number_of, put_block, record};

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
        let mut out = Vec::with_capacity(SMALL_BYTES);
        self.session_id.put(1, &mut out);
        self.wallet.put(2, &mut out);
        self.peer_wallet.put(3, &mut out);
        self.open.put(4, &mut out);
        self.log.end().put(5, &mut out);
        put_block(6, &self.log.hash(), &mut out);
        StoredHeads(self.log.heads().to_vec()).put(7, &mut out);
        self.counter.put(8, &mut out);
        self.watermarks.put(9, &mut out);
        self.read_mark.put(10, &mut out);
        self.last_sync_ms.put(11, &mut out);
        self.small_first.put(12, &mut out);
        self.small_count.put(13, &mut out);
        self.heads_through.put(14, &mut out);
        self.sent_through.put(15, &mut out);
        self.proven.put(16, &mut out);
        self.contradiction.as_deref().copied().put(17, &mut out);
        self.group.as_ref().map(Group::to_bytes).unwrap_or_default().put(18, &mut out);
        self.membership.put(19, &mut out);
        self.uncounted.put(20, &mut out);
        self.all_reached.delivered.put(21, &mut out);
        self.all_reached.read.put(22, &mut out);
        self.sealed.as_ref().map(SealedState::to_bytes).unwrap_or_default().put(23, &mut out);
        out
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let ReadSession { mut record, end, hash, heads, group, sealed } = ReadSession::decode(bytes).map_err(Malformed::in_store)?;
        record.log = Log::restore(end, digest_of(&hash).map_err(Malformed::in_store)?, heads.0);
        if !group.is_empty() {
            record.group = Some(Group::from_bytes(&group).map_err(Malformed::in_store)?);
        }
        record.sealed = SealedState::from_bytes(&sealed).map_err(Malformed::in_store)?;
        Ok(record)
    }
}

/// A session as it is read: its log is made of several fields, and what its group is made of is checked when all is read.
struct ReadSession {
    record: SessionRecord,
    end: u64,
    hash: Vec<u8>,
    heads: StoredHeads,
    group: Vec<u8>,
    sealed: Vec<u8>,
}

impl Default for ReadSession {
    fn default() -> Self {
        let record = SessionRecord::new(SessionId::new(), WalletAddress::new(), WalletAddress::new());
        ReadSession { record, end: 0, hash: Vec::new(), heads: StoredHeads::default(), group: Vec::new(), sealed: Vec::new() }
    }
}

impl Record for ReadSession {
    fn put_fields(&self, _: &mut Vec<u8>) {}

    fn take_field(&mut self, number: u64, value: &Value<'_>) -> Result<(), Malformed> {
        let record = &mut self.record;
        match number {
            1 => record.session_id.take(value),
            2 => record.wallet.take(value),
            3 => record.peer_wallet.take(value),
            4 => record.open.take(value),
            5 => self.end.take(value),
            6 => self.hash.take(value),
            7 => self.heads.take(value),
            8 => record.counter.take(value),
            9 => record.watermarks.take(value),
            10 => record.read_mark.take(value),
            11 => record.last_sync_ms.take(value),
            12 => record.small_first.take(value),
            13 => record.small_count.take(value),
            14 => record.heads_through.take(value),
            15 => record.sent_through.take(value),
            16 => Field::take(&mut record.proven, value),
            17 => {
                let mut contradiction: Option<SignedHead> = None;
                Field::take(&mut contradiction, value)?;
                record.contradiction = contradiction.map(Box::new);
                Ok(())
            }
            18 => self.group.take(value),
            19 => record.membership.take(value),
            20 => record.uncounted.take(value),
            21 => record.all_reached.delivered.take(value),
            22 => record.all_reached.read.take(value),
            23 => self.sealed.take(value),
            _ => Ok(()),
        }
    }
}

impl HeadsRecord {
    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        StoredHeadsRecord { session_id: self.session_id.clone(), heads: StoredHeads(self.heads.clone()) }.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SyncError> {
        let StoredHeadsRecord { session_id, heads } = StoredHeadsRecord::decode(bytes).map_err(Malformed::in_store)?;
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
            _ => return Err(Malformed(&"an answer is of an unknown kind").in_store()),
        };
        Ok(CallRecord { tab, call, number, reply })
    }
}

impl VersionsRecord {
    /// Its stored form. Versions seldom follow each other in the log, so most are a batch of their own.
    pub fn to_bytes(&self) -> Vec<u8> {
        StoredVersions { message_id: self.message_id.clone(), batches: batches_of(&self.versions) }.encode()
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
        StoredOutbox { batches: batches_of(&self.entries) }.encode()
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
        let batches = batches_of(&self.outbox.entries);
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
        StoredFailed {
            number: self.number,
            refused_id: self.refused_id.clone(),
            code: self.error.code.as_str().to_owned(),
            message: self.error.message.clone(),
            batches: batches_of(std::slice::from_ref(&self.entry)),
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
        let entry = entries.into_iter().next().ok_or(Malformed(&"it is empty").in_store())?;
        Ok(FailedRecord { session_id, number, entry, refused_id, error: SyncError::new(ErrorCode::named(&code), message) })
    }
}

/// Entries as they are stored.
fn batches_of(entries: &[Entry]) -> Vec<Batch> {
    Batch::split(entries, BATCH_BYTES_MAX).map(|(_, batch)| batch).collect()
}

/// The entries of some batches, and their session.
fn entries_of(batches: Vec<Batch>) -> Result<(SessionId, Vec<Entry>), SyncError> {
    let mut entries = Vec::new();
    for batch in batches {
        entries.extend(batch.entries().map_err(Malformed::in_store)?);
    }
    let first = entries.first().ok_or(Malformed(&"it is empty").in_store())?;
    Ok((first.message.session_id.clone(), entries))
}

#[derive(Default)]
struct StoredHeadsRecord {
    session_id: SessionId,
    heads: StoredHeads,
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

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
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
record!(IdentityRecord { 1 => secret, 2 => claim, 3 => is_listed, 4 => account, 5 => was_removed, 6 => relay_key, 7 => numbers });
record!(NumberRecord { 1 => device_id, 2 => commitment, 3 => own, 4 => answer, 5 => number, 6 => tries });
record!(AccountRecord { 1 => wallet, 2 => account });
// The numbers are those of a session's record.
record!(StoredHeadsRecord { 1 => session_id, 7 => heads });
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

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        self.push(Batch::from_bytes(bytes_of(value)?));
        Ok(())
    }
}

impl Field for Vec<NumberRecord> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        self.iter().for_each(|record| put_block(number, &record.encode(), out));
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        self.push(NumberRecord::decode(bytes_of(value)?)?);
        Ok(())
    }
}

impl Field for Answer {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        (*self as u64).put(number, out);
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
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

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
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

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        let StoredWatermark { wallet, delivered, read } = StoredWatermark::decode(bytes_of(value)?)?;
        *self.of(&wallet) = Watermark { delivered, read };
        Ok(())
    }
}
