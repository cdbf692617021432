//! Frames in their binary form: messages of Protocol Buffers (see `wire.rs`), whose messages stand in batches.

use super::{
    Body, DeviceAnnounce, DeviceInfo, DeviceList, DeviceState, ErrorBody, Frame, Head, Hello, ListedSession, Progress, RELAY_DEVICE_ID,
    ReadReceipt, ReadReceiptSync, Receipt, ReceiptStatus, SequenceRange, SessionList, ShortNumber, SignIn, SignedIn, SyncAck,
    SyncHeartbeat, SyncPhase, SyncRequest, SyncResponse, SyncState, SyncStatus, SyncUpdate, WalletAnnounce, check_frame_bytes,
};
use crate::batch::Batch;
use crate::entry::Digest;
use crate::error::{ErrorCode, SyncError};
use crate::group::GroupNonce;
use crate::identity::{EarlierKey, HeadSignature, UpdateSignature};
use crate::ids::{DeviceId, WalletAddress, uuid_bytes, uuid_text};
use crate::limits::{BATCH_MESSAGES_MAX, INTEGER_MAX};
use crate::log::LogHead;
use crate::message::Stamp;
use crate::wire::{Field, Malformed, Reader, Record, SMALL_BYTES, Value, bytes_of, nested, number_of, put_block, put_signed, record};

impl Frame {
    /// Reads a frame in the binary form.
    ///
    /// # Errors
    /// As [`Frame::parse`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Frame, SyncError> {
        check_frame_bytes(bytes.len())?;
        let envelope = Envelope::decode(bytes).map_err(Malformed::in_frame)?;
        let unknown = || SyncError::new(ErrorCode::UnknownFrame, "a binary frame of a kind that this version does not know");
        let mut frame = Frame { head: envelope.head, body: envelope.body.ok_or_else(unknown)? };
        if let Body::SyncResponse(body) = &frame.body
            && frame.head.session_id.is_empty()
        {
            frame.head.session_id = body.messages.session().unwrap_or_default();
        }
        frame.check()?;
        Ok(frame)
    }

    /// The binary form; `None` for the frames of seed clients, which are only in JSON.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let (head, mut out) = (&self.head, Vec::with_capacity(SMALL_BYTES));
        // A batch names its session itself.
        let names_session = matches!(&self.body, Body::SyncResponse(body) if body.messages.session().as_ref() == Some(&head.session_id));
        if !names_session {
            put_session(head, &mut out);
        }
        put_sender(head, &mut out);
        match &self.body {
            Body::DeviceAnnounce(body) => body.put(number::DEVICE_ANNOUNCE, &mut out),
            Body::DeviceList(body) => ListedDevices::from(body).put(number::DEVICE_LIST, &mut out),
            Body::SyncRequest(body) => body.put(number::SYNC_REQUEST, &mut out),
            Body::SyncResponse(body) => body.put(number::SYNC_RESPONSE, &mut out),
            Body::SyncStatus(body) => body.put(number::SYNC_STATUS, &mut out),
            Body::SyncUpdate(body) => body.put(number::SYNC_UPDATE, &mut out),
            Body::SyncAck(body) => body.put(number::SYNC_ACK, &mut out),
            Body::SyncHeartbeat(body) => body.put(number::SYNC_HEARTBEAT, &mut out),
            Body::ReadReceipt(body) => body.put(number::READ_RECEIPT, &mut out),
            Body::ReadReceiptSync(body) => body.put(number::READ_RECEIPT_SYNC, &mut out),
            Body::Error(body) => body.put(number::ERROR, &mut out),
            Body::WalletAnnounce(body) => body.put(number::WALLET_ANNOUNCE, &mut out),
            Body::SessionList(body) => body.put(number::SESSION_LIST, &mut out),
            Body::Hello(body) => body.put(number::HELLO, &mut out),
            Body::SignIn(body) => body.put(number::SIGN_IN, &mut out),
            Body::SignedIn(body) => body.put(number::SIGNED_IN, &mut out),
            Body::ShortNumber(body) => body.put(number::SHORT_NUMBER, &mut out),
            Body::SyncConflict(_) | Body::Chat(_) | Body::SeedUpdate(_) | Body::SeedResponse(_) => return None,
        }
        Some(out)
    }
}

/// The numbers of a binary frame's fields. Those of the head are below 16.
mod number {
    pub const SESSION_ID: u64 = 1;
    pub const DEVICE_ID: u64 = 2;
    pub const TIMESTAMP: u64 = 3;
    pub const MESSAGE_ID: u64 = 4;
    pub const PROTOCOL_VERSION: u64 = 5;
    pub const SESSION_UUID: u64 = 6;
    pub const DEVICE_ANNOUNCE: u64 = 16;
    pub const DEVICE_LIST: u64 = 17;
    pub const SYNC_REQUEST: u64 = 18;
    pub const SYNC_RESPONSE: u64 = 19;
    pub const SYNC_STATUS: u64 = 20;
    pub const SYNC_UPDATE: u64 = 21;
    pub const SYNC_ACK: u64 = 22;
    pub const SYNC_HEARTBEAT: u64 = 23;
    pub const READ_RECEIPT: u64 = 24;
    pub const READ_RECEIPT_SYNC: u64 = 25;
    pub const ERROR: u64 = 26;
    pub const WALLET_ANNOUNCE: u64 = 27;
    pub const SESSION_LIST: u64 = 28;
    pub const HELLO: u64 = 29;
    pub const SIGN_IN: u64 = 30;
    pub const SIGNED_IN: u64 = 31;
    pub const SHORT_NUMBER: u64 = 32;
}

fn put_session(head: &Head, out: &mut Vec<u8>) {
    match uuid_bytes(&head.session_id) {
        Some(uuid) => put_block(number::SESSION_UUID, &uuid, out),
        None => head.session_id.put(number::SESSION_ID, out),
    }
}

fn put_sender(head: &Head, out: &mut Vec<u8>) {
    // Who speaks for the relay, when and in which frame is of no use to anybody.
    if head.device_id != RELAY_DEVICE_ID {
        head.device_id.put(number::DEVICE_ID, out);
        head.timestamp.put(number::TIMESTAMP, out);
        head.message_id.put(number::MESSAGE_ID, out);
        head.protocol_version.map(u64::from).put(number::PROTOCOL_VERSION, out);
    }
}

/// What is read of a binary frame.
#[derive(Default)]
struct Envelope {
    head: Head,
    body: Option<Body>,
}

impl Record for Envelope {
    fn put_fields(&self, _: &mut Vec<u8>) {}

    fn take_field(&mut self, number: u64, value: &Value<'_>) -> Result<(), Malformed> {
        let Envelope { head, body } = self;
        if (number::DEVICE_ANNOUNCE..=number::SHORT_NUMBER).contains(&number) && body.is_some() {
            // Reading a short frame must not be the work of many.
            return Err(Malformed(&"a frame says two things"));
        }
        match number {
            number::SESSION_ID => head.session_id.take(value)?,
            number::SESSION_UUID => head.session_id = uuid_text(bytes_of(value)?.first_chunk().ok_or(Malformed(&"a UUID has 16 bytes"))?),
            number::DEVICE_ID => head.device_id.take(value)?,
            number::TIMESTAMP => head.timestamp = Stamp::Millis(number_of(value)?),
            number::MESSAGE_ID => head.message_id.take(value)?,
            number::PROTOCOL_VERSION => head.protocol_version = u32::try_from(number_of(value)?).ok(),
            number::DEVICE_ANNOUNCE => *body = Some(Body::DeviceAnnounce(record_of(value)?)),
            number::DEVICE_LIST => *body = Some(Body::DeviceList(record_of::<ListedDevices>(value)?.into())),
            number::SYNC_REQUEST => *body = Some(Body::SyncRequest(record_of(value)?)),
            number::SYNC_RESPONSE => *body = Some(Body::SyncResponse(record_of(value)?)),
            number::SYNC_STATUS => *body = Some(Body::SyncStatus(record_of(value)?)),
            number::SYNC_UPDATE => *body = Some(Body::SyncUpdate(record_of(value)?)),
            number::SYNC_ACK => *body = Some(Body::SyncAck(record_of(value)?)),
            number::SYNC_HEARTBEAT => *body = Some(Body::SyncHeartbeat(record_of(value)?)),
            number::READ_RECEIPT => *body = Some(Body::ReadReceipt(record_of(value)?)),
            number::READ_RECEIPT_SYNC => *body = Some(Body::ReadReceiptSync(record_of(value)?)),
            number::ERROR => *body = Some(Body::Error(record_of(value)?)),
            number::WALLET_ANNOUNCE => *body = Some(Body::WalletAnnounce(record_of(value)?)),
            number::SESSION_LIST => *body = Some(Body::SessionList(record_of(value)?)),
            number::HELLO => *body = Some(Body::Hello(record_of(value)?)),
            number::SIGN_IN => *body = Some(Body::SignIn(record_of(value)?)),
            number::SIGNED_IN => *body = Some(Body::SignedIn(record_of(value)?)),
            number::SHORT_NUMBER => *body = Some(Body::ShortNumber(record_of(value)?)),
            _ => {}
        }
        Ok(())
    }
}

fn record_of<T: Record + Default>(value: &Value<'_>) -> Result<T, Malformed> {
    T::decode(bytes_of(value)?)
}

record!(DeviceAnnounce { 1 => device_info, 2 => sync_state, 3 => wallet, 4 => compression, 5 => peer_wallet, 6 => group_nonce });
record!(DeviceInfo { 1 => platform, 2 => version });
record!(SyncState { 1 => last_synced_sequence, 2 => vector_clock });
record!(ListedDevices { 1 => wallets, 2 => devices });
record!(ListedDevice { 1 => device_id, 2 => platform, 3 => last_seen_at, 4 => is_online, 5 => sync_state, 6 => wallet });
record!(SyncRequest { 1 => last_synced_sequence, 3 => missing_ranges, 4 => max_batch_size, 5 => log });
record!(SequenceRange { 1 => start, 2 => end });
record!(SyncResponse { 1 => messages, 2 => latest_sequence, 3 => in_reply_to, 5 => log, 6 => log_signature, 7 => signatures });
record!(SyncUpdate { 1 => messages, 2 => last_digest, 3 => signature });
record!(SyncStatus { 1 => status, 2 => progress, 3 => error });
record!(Progress { 1 => messages_synced, 2 => total_messages, 3 => conflicts_resolved });
record!(SyncHeartbeat { 1 => sequence_number, 3 => log, 4 => log_signature });
record!(HeadSignature { 1 => time, 2 => signature });
record!(ReadReceipt { 1 => receipts });
record!(ReadReceiptSync { 1 => receipts });
record!(Receipt { 1 => message_id, 2 => status, 3 => timestamp, 4 => reader_wallet, 5 => device_id, 6 => sequence_number });
record!(WalletAnnounce { 1 => wallet, 2 => after, 3 => sealed });
record!(SessionList { 1 => sessions, 2 => next, 3 => in_reply_to });
record!(ListedSession { 1 => session_id, 2 => peer_wallet, 3 => latest_sequence, 4 => joined, 5 => name });
record!(Hello { 1 => nonce, 2 => relay_key, 3 => time, 4 => sign_in_required, 5 => account, 6 => earlier });
record!(EarlierKey { 1 => key, 2 => signature });
record!(SignIn { 1 => wallet, 2 => domains, 3 => key, 4 => relay, 5 => nonce, 6 => device_nonce, 7 => proof, 8 => messages, 9 => known });
record!(SignedIn { 1 => account, 2 => greeting, 3 => refused });
record!(ShortNumber { 1 => from, 2 => to, 3 => commitment, 4 => random, 5 => signature });
record!(ErrorBody {
    1 => error,
    2 => code,
    3 => session_id,
    4 => in_reply_to,
    5 => refused_message_id,
    6 => expected_counter,
    7 => stored_sequence,
});
nested!(
    DeviceAnnounce,
    DeviceInfo,
    SyncState,
    ListedDevices,
    ListedDevice,
    SyncRequest,
    SequenceRange,
    SyncResponse,
    SyncStatus,
    Progress,
    SyncUpdate,
    SyncAck,
    SyncHeartbeat,
    HeadSignature,
    UpdateSignature,
    ReadReceipt,
    ReadReceiptSync,
    Receipt,
    WalletAnnounce,
    SessionList,
    ListedSession,
    Hello,
    EarlierKey,
    SignIn,
    SignedIn,
    ShortNumber,
    ErrorBody,
);

/// A device as it stands in a list.
#[derive(Default)]
struct ListedDevice {
    device_id: DeviceId,
    platform: String,
    last_seen_at: u64,
    is_online: bool,
    sync_state: SyncState,
    /// The place of its wallet among those of the list, from 1; 0 where it has none.
    wallet: u64,
}

/// `device_list` as it is written: many devices are of few wallets.
#[derive(Default)]
struct ListedDevices {
    wallets: Vec<WalletAddress>,
    devices: Vec<ListedDevice>,
}

impl From<&DeviceList> for ListedDevices {
    fn from(list: &DeviceList) -> Self {
        let mut listed = ListedDevices::default();
        for DeviceState { device_id, platform, last_seen_at, is_online, sync_state, wallet } in list.devices.iter().cloned() {
            let place = wallet.map(|wallet| {
                let known = listed.wallets.iter().position(|other| *other == wallet);
                known.unwrap_or_else(|| {
                    listed.wallets.push(wallet);
                    listed.wallets.len() - 1
                })
            });
            let wallet = place.map_or(0, |place| place as u64 + 1);
            listed.devices.push(ListedDevice { device_id, platform, last_seen_at, is_online, sync_state, wallet });
        }
        listed
    }
}

impl From<ListedDevices> for DeviceList {
    fn from(ListedDevices { wallets, devices }: ListedDevices) -> Self {
        let state = |listed: ListedDevice| {
            let ListedDevice { device_id, platform, last_seen_at, is_online, sync_state, wallet } = listed;
            let place = usize::try_from(wallet).ok().and_then(|wallet| wallet.checked_sub(1));
            let wallet = place.and_then(|place| wallets.get(place)).cloned();
            DeviceState { device_id, platform, last_seen_at, is_online, sync_state, wallet }
        };
        DeviceList { devices: devices.into_iter().map(state).collect() }
    }
}

impl Field for Batch {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_block(number, self.bytes(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        if !self.is_empty() {
            return Err(Malformed(&"a frame has two batches"));
        }
        *self = Batch::from_bytes(bytes_of(value)?);
        Ok(())
    }
}

/// Milliseconds since 1970; on this way the form that they were written in is not kept. Larger ones would not be read.
impl Field for Stamp {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        self.ms().min(INTEGER_MAX).put(number, out);
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        *self = match number_of(value)? {
            0 => Stamp::default(),
            ms => Stamp::Iso(ms),
        };
        Ok(())
    }
}

impl Field for SyncPhase {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        (*self as u64).put(number, out);
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        *self = match number_of(value)? {
            0 => SyncPhase::Started,
            1 => SyncPhase::InProgress,
            2 => SyncPhase::Completed,
            _ => SyncPhase::Failed,
        };
        Ok(())
    }
}

impl Field for ReceiptStatus {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        (*self as u64).put(number, out);
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        *self = if number_of(value)? == 0 { ReceiptStatus::Delivered } else { ReceiptStatus::Read };
        Ok(())
    }
}

impl Field for ErrorCode {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        put_block(number, self.as_str().as_bytes(), out);
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        *self = ErrorCode::named(crate::wire::text(bytes_of(value)?)?);
        Ok(())
    }
}

/// A record that may be missing.
macro_rules! optional {
    ($($record:ty),+) => {$(
        impl Field for Option<$record> {
            fn put(&self, number: u64, out: &mut Vec<u8>) {
                if let Some(record) = self {
                    record.put(number, out);
                }
            }

            fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
                self.get_or_insert_default().take(value)
            }
        }
    )+};
}

optional!(Progress, HeadSignature, UpdateSignature);

/// A digest, a key, a signature or a nonce; all of its bytes 0 where there is none.
impl<const COUNT: usize> Field for [u8; COUNT] {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if *self != [0; COUNT] {
            put_block(number, self, out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        *self = bytes_of(value)?.try_into().map_err(|_| Malformed(&"a digest, key, signature or nonce has another length"))?;
        Ok(())
    }
}

impl Field for Option<GroupNonce> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(nonce) = self {
            put_block(number, nonce, out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        let nonce = bytes_of(value)?.try_into().map_err(|_| Malformed(&"a group's nonce has another length"))?;
        *self = Some(nonce);
        Ok(())
    }
}

impl Field for Option<LogHead> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(LogHead { sequence, hash }) = self {
            let mut head = Vec::with_capacity(hash.len() + 12);
            sequence.put(1, &mut head);
            put_block(2, hash, &mut head);
            put_block(number, &head, out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        #[derive(Default)]
        struct Head {
            sequence: u64,
            hash: Digest,
        }
        record!(Head { 1 => sequence, 2 => hash });
        let Head { sequence, hash } = Head::decode(bytes_of(value)?)?;
        *self = Some(LogHead { sequence, hash });
        Ok(())
    }
}

/// Lists of numbers are differences, each to the one before: `repeated sint64`, packed. What only seed clients are told
/// has no form here.
impl Record for SyncAck {
    fn put_fields(&self, out: &mut Vec<u8>) {
        put_differences(3, self.acknowledged_counters.iter().copied(), out);
        put_differences(5, self.acknowledged_sequences.iter().copied(), out);
        put_differences(6, self.server_timestamps.iter().copied(), out);
        self.log.put(8, out);
        self.log_signature.put(9, out);
    }

    fn take_field(&mut self, number: u64, value: &Value<'_>) -> Result<(), Malformed> {
        match number {
            3 => self.acknowledged_counters = take_differences(value)?,
            5 => self.acknowledged_sequences = take_differences(value)?,
            6 => self.server_timestamps = take_differences(value)?,
            8 => Field::take(&mut self.log, value)?,
            9 => Field::take(&mut self.log_signature, value)?,
            _ => {}
        }
        Ok(())
    }
}

fn put_differences(number: u64, numbers: impl Iterator<Item = u64>, out: &mut Vec<u8>) {
    let (mut packed, mut before) = (Vec::new(), 0);
    for number in numbers {
        put_signed(&mut packed, number.wrapping_sub(before).cast_signed());
        before = number;
    }
    if !packed.is_empty() {
        put_block(number, &packed, out);
    }
}

fn take_differences(value: &Value<'_>) -> Result<Vec<u64>, Malformed> {
    let mut reader = Reader(bytes_of(value)?);
    let (mut numbers, mut before) = (Vec::new(), 0u64);
    while !reader.0.is_empty() {
        before = before.wrapping_add(reader.signed()?.cast_unsigned());
        if numbers.len() >= BATCH_MESSAGES_MAX || before > INTEGER_MAX {
            return Err(Malformed(&"a list of numbers is out of range"));
        }
        numbers.push(before);
    }
    Ok(numbers)
}
