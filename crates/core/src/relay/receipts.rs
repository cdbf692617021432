//! Receipts: how far each wallet has received and read the log, and who is told of it.

use std::collections::BTreeMap;

use super::api::{ConnectionId, WatermarkRow};
use super::context::Context;
use super::session::{Attachment, Log};
use crate::frame::{Body, ReadReceiptSync, Receipt, ReceiptStatus};
use crate::group::Group;
use crate::ids::{DeviceId, WalletAddress};
use crate::limits::{RECEIPT_WALLETS_MAX, SOCKET_QUEUE_BYTES_MAX};
use crate::message::Stamp;
use crate::time::Now;
use crate::watermark::Watermark;

/// How long the relay waits with telling that messages arrived, so that those of a conversation share a frame. Short
/// enough that nobody sees it.
const RECEIPTS_LINGER_MS: u64 = 50;

/// What a stored receipt takes beside its names, in the binary form.
const STORED_RECEIPT_BYTES: usize = 24;

/// Receipts in one frame: with ids of the longest kind, and what JSON makes of them, they fit it.
const RECEIPTS_MAX: usize = 16;

type Attachments = BTreeMap<ConnectionId, Attachment>;

/// Whose receipts these are.
pub(super) struct Reader {
    connection: ConnectionId,
    device_id: DeviceId,
    wallet: WalletAddress,
}

impl Reader {
    /// Of a seed client that has written nothing no wallet is known: its device stands for it.
    pub fn of(connection: ConnectionId, attachment: &Attachment) -> Self {
        let device_id = attachment.device_id.clone();
        Reader { connection, wallet: attachment.wallet.clone().unwrap_or_else(|| device_id.clone()), device_id }
    }

    fn receipt(&self, now: Now, message_id: String, status: ReceiptStatus, sequence: Option<u64>) -> Receipt {
        Receipt {
            message_id,
            status,
            timestamp: Stamp::Iso(now.wall_ms),
            reader_wallet: Some(self.wallet.clone()),
            device_id: Some(self.device_id.clone()),
            sequence_number: sequence,
        }
    }
}

/// The receipts of a session.
pub(super) struct Receipts {
    watermarks: BTreeMap<WalletAddress, Watermark>,
    /// Wallets whose devices have stored messages of others which is not told yet: where and by which device.
    untold: BTreeMap<WalletAddress, (ConnectionId, DeviceId)>,
    /// When it will be.
    due_ms: Option<u64>,
}

impl Receipts {
    /// Those of a journal. Of a group, those of its members: who left has no part in them.
    pub fn new(rows: Vec<WatermarkRow>, group: Option<&Group>) -> Self {
        let rows = rows.into_iter().filter(|row| group.is_none_or(|group| group.member(&row.wallet).is_some()));
        let watermarks = rows.map(|row| (row.wallet, row.watermark)).collect();
        Receipts { watermarks, untold: BTreeMap::new(), due_ms: None }
    }

    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// A wallet left the group.
    pub fn forget(&mut self, wallet: &str) {
        self.watermarks.remove(wallet);
        self.untold.remove(wallet);
    }

    /// A device has stored the entries after `before` up to `through`: so has its wallet.
    pub fn delivered(&mut self, now: Now, log: &Log, connection: ConnectionId, device: &Attachment, (before, through): (u64, u64)) {
        let Some(wallet) = &device.wallet else { return };
        let foreign = log.has_foreign(before + 1, through, wallet);
        if self.raise(log, wallet, ReceiptStatus::Delivered, through) && foreign {
            self.untold.insert(wallet.clone(), (connection, device.device_id.clone()));
            self.due_ms.get_or_insert(now.monotonic_ms + RECEIPTS_LINGER_MS);
        }
    }

    /// Tells how far messages have arrived, where the time for it has come.
    pub fn tell_delivered(&mut self, ctx: &mut Context, log: &Log, attachments: &mut Attachments) {
        if self.due_ms.is_none_or(|due_ms| due_ms > ctx.now.monotonic_ms) {
            return;
        }
        self.due_ms = None;
        let (mut rows, mut told) = (Vec::new(), Vec::new());
        for (wallet, (connection, device_id)) in std::mem::take(&mut self.untold) {
            // Only who has a watermark is among the untold.
            let Some(watermark) = self.watermarks.get(&wallet).copied() else { continue };
            let sequence = watermark.delivered;
            let reader = Reader { connection, device_id, wallet: wallet.clone() };
            rows.push(WatermarkRow { wallet, watermark });
            let message_id = log.id_at(sequence).unwrap_or_default();
            told.push((connection, reader.receipt(ctx.now, message_id, ReceiptStatus::Delivered, Some(sequence))));
        }
        ctx.note(&log.session_id, Vec::new(), rows);
        // Seed clients send their own. In a full group they are as many as its wallets: all share the frames.
        for told in told.chunks(RECEIPTS_MAX) {
            let receipts: Vec<Receipt> = told.iter().map(|(_, receipt)| without_unknown_id(log, receipt.clone())).collect();
            let hears = |connection: &ConnectionId, other: &Attachment| {
                other.dialect.hears_derived_receipts() && told.iter().any(|(from, _)| from != connection)
            };
            let hearing: Vec<ConnectionId> =
                attachments.iter().filter(|(connection, other)| hears(connection, other)).map(|(connection, _)| *connection).collect();
            let missed = ctx.inform_all(&hearing, &log.session_id, Body::ReadReceiptSync(ReadReceiptSync { receipts }));
            for connection in missed {
                if let Some(attachment) = attachments.get_mut(&connection) {
                    attachment.missed.receipts = true;
                }
            }
        }
    }

    /// A member says what it received and read.
    pub fn take(&mut self, ctx: &mut Context, log: &Log, attachments: &mut Attachments, reader: Reader, receipts: Vec<Receipt>) {
        let mut told = Vec::new();
        for receipt in receipts {
            // One that is ahead of the log would stand for messages that nobody has written.
            let sequence = receipt.sequence_number.map(|sequence| sequence.min(log.head()));
            let sequence = sequence.or_else(|| log.sequence_of(&receipt.message_id));
            if let Some(sequence) = sequence {
                self.raise(log, &reader.wallet, receipt.status, sequence);
            }
            // What stands at that place, where that is known: the sender may name another message.
            let message_id = sequence.and_then(|sequence| log.id_at(sequence)).unwrap_or(receipt.message_id);
            told.push(Receipt { timestamp: receipt.timestamp, ..reader.receipt(ctx.now, message_id, receipt.status, sequence) });
        }
        if let Some(watermark) = self.watermarks.get(&reader.wallet).copied() {
            ctx.note(&log.session_id, Vec::new(), vec![WatermarkRow { wallet: reader.wallet, watermark }]);
        }
        tell(ctx, log, attachments, reader.connection, &told, |_| true);
    }

    /// The receipts of the other wallets and what its own has read elsewhere, for a device that arrives; says whether it could
    /// take them. What was read was delivered.
    pub fn tell_stored(&self, ctx: &mut Context, log: &Log, connection: ConnectionId, own: Option<&WalletAddress>) -> bool {
        // Its name is of use to who wrote it, before it has read its own log.
        let own_id = |sequence| log.own_id_at(sequence, own.map(String::as_str)).unwrap_or_default();
        let receipt = |wallet: &String, status, sequence: u64| Receipt {
            message_id: own_id(sequence),
            status,
            timestamp: Stamp::default(),
            reader_wallet: Some(wallet.clone()),
            device_id: None,
            sequence_number: Some(sequence),
        };
        let both = self.watermarks.iter().flat_map(|(wallet, Watermark { delivered, read })| {
            let delivered = (delivered > read && own != Some(wallet)).then(|| receipt(wallet, ReceiptStatus::Delivered, *delivered));
            let read = (*read > 0).then(|| receipt(wallet, ReceiptStatus::Read, *read));
            delivered.into_iter().chain(read)
        });
        let mut bytes = 0;
        let fits = |receipt: &Receipt| {
            bytes += STORED_RECEIPT_BYTES + receipt.message_id.len() + receipt.reader_wallet.as_ref().map_or(0, String::len);
            bytes <= SOCKET_QUEUE_BYTES_MAX
        };
        let receipts: Vec<Receipt> = both.take_while(fits).collect();
        if receipts.is_empty() {
            return true;
        }
        let has_room = ctx.has_room(connection);
        for receipts in receipts.chunks(RECEIPTS_MAX).filter(|_| has_room) {
            let body = Body::ReadReceiptSync(ReadReceiptSync { receipts: receipts.to_vec() });
            ctx.transmit(connection, &log.session_id, body);
        }
        has_room
    }

    /// Takes in a receipt; says whether it was news.
    fn raise(&mut self, log: &Log, wallet: &str, status: ReceiptStatus, sequence: u64) -> bool {
        if log.head() == 0 {
            // A session exists once it has an entry.
            return false;
        }
        if self.watermarks.len() >= RECEIPT_WALLETS_MAX && !self.watermarks.contains_key(wallet) {
            return false;
        }
        self.watermarks.entry(wallet.to_owned()).or_default().raise(status, sequence.min(log.head()))
    }
}

/// Passes receipts on to everybody else who hears them.
fn tell(
    ctx: &mut Context,
    log: &Log,
    attachments: &mut Attachments,
    from: ConnectionId,
    receipts: &[Receipt],
    hears: fn(&Attachment) -> bool,
) {
    let farthest = farthest(log, receipts);
    for (connection, other) in attachments.iter_mut().filter(|(connection, other)| **connection != from && hears(other)) {
        let receipts = if other.dialect.goes_by_places() { &farthest } else { receipts };
        for receipts in receipts.chunks(RECEIPTS_MAX) {
            let body = Body::ReadReceiptSync(ReadReceiptSync { receipts: receipts.to_vec() });
            other.missed.receipts |= !ctx.inform(*connection, &log.session_id, body);
        }
    }
}

/// What receipts say to one that goes by places: of each status the farthest, and those whose place nobody knows. They are
/// without the name of a message that nobody has looked up at its place: it may be another's (I15).
fn farthest(log: &Log, receipts: &[Receipt]) -> Vec<Receipt> {
    let mut farthest: BTreeMap<ReceiptStatus, Receipt> = BTreeMap::new();
    let mut told = Vec::new();
    for receipt in receipts {
        let Some(sequence) = receipt.sequence_number else {
            told.push(receipt.clone());
            continue;
        };
        if farthest.get(&receipt.status).is_none_or(|other| other.sequence_number < Some(sequence)) {
            farthest.insert(receipt.status, without_unknown_id(log, receipt.clone()));
        }
    }
    farthest.into_values().chain(told).collect()
}

/// The name of a message that nobody has looked up at its place may be another's.
fn without_unknown_id(log: &Log, receipt: Receipt) -> Receipt {
    let is_known = receipt.sequence_number.is_none_or(|sequence| log.id_at(sequence).is_some());
    if is_known { receipt } else { Receipt { message_id: String::new(), ..receipt } }
}
