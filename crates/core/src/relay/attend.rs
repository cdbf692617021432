//! What clients say of themselves and ask for: announcements, requests, acknowledgements, heartbeats, receipts.

use super::api::{Action, ConnectionId, DeviceRow};
use super::session::{Answer, Attachment, Session};
use super::{Relay, refusal};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{
    Body, DeviceAnnounce, DeviceList, DeviceState, Frame, Head, PROTOCOL_VERSION, ReadReceipt, ReadReceiptSync, Receipt, ReceiptStatus,
    SyncAck, SyncHeartbeat, SyncRequest, SyncState,
};
use crate::ids::{WalletAddress, check_id};
use crate::limits::{BATCH_MESSAGES_DEFAULT, BATCH_MESSAGES_MAX, CLOCK_DEVICES_MAX, FRAME_BYTES_MAX};
use crate::message::Stamp;
use crate::time::Now;
use crate::vector_clock::VectorClock;
use crate::watermark::Watermark;

/// How long the relay waits with telling that messages arrived, so that those of a conversation share a frame. Short
/// enough that nobody sees it.
const RECEIPTS_LINGER_MS: u64 = 50;

/// Receipts in one frame: with ids of the longest kind, and what JSON makes of them, they fit it.
const RECEIPTS_MAX: usize = 16;

impl Relay {
    /// A frame of a session that is loaded.
    pub(super) fn attend(&mut self, now: Now, connection: ConnectionId, frame: Frame, actions: &mut Vec<Action>) {
        let head = frame.head.clone();
        let result = match frame.body {
            Body::DeviceAnnounce(announce) => self.announce(now, connection, &head, announce, actions),
            Body::SyncRequest(request) => self.request(now, connection, &head, request, actions),
            Body::SyncUpdate(update) => self.update(now, connection, &head, update, actions),
            Body::Chat(chat) => self.chat(now, connection, &head, chat, actions),
            Body::SyncAck(ack) => {
                self.acknowledge(now, connection, &head, &ack, actions);
                Ok(())
            }
            Body::SyncHeartbeat(heartbeat) => {
                self.heartbeat(now, connection, &head, heartbeat, actions);
                Ok(())
            }
            Body::ReadReceipt(receipt) => self.receipt(now, connection, &head, receipt, actions),
            // What only the relay says.
            Body::DeviceList(_) | Body::SyncResponse(_) | Body::SyncStatus(_) | Body::SyncConflict(_) | Body::ReadReceiptSync(_) => {
                Err(SyncError::new(ErrorCode::InvalidMessageFormat, "only the relay sends this frame"))
            }
            Body::Error(_) => Ok(()),
        };
        if let Err(error) = result {
            self.refuse(now, connection, refusal(&error, &head), actions);
        }
    }

    /// The attachment of a connection, made where there is none: seed clients need not announce themselves. Our own
    /// do, and are not taken for seed clients where their announcement failed.
    pub(super) fn attachment(&mut self, connection: ConnectionId, head: &Head, device_id: &str) -> Result<&mut Attachment, SyncError> {
        self.attach(connection, &head.session_id)?;
        let Some(session) = self.sessions.get_mut(&head.session_id) else {
            return Err(SyncError::new(ErrorCode::UnknownSession, "the session is not loaded"));
        };
        if speaks_v1(head) && !session.attachments.get(&connection).is_some_and(|attachment| attachment.v1) {
            return Err(SyncError::new(ErrorCode::NotAnnounced, "announce the device in this session first"));
        }
        Ok(session.attachments.entry(connection).or_insert_with(|| Attachment::new(device_id)))
    }

    fn announce(
        &mut self,
        now: Now,
        connection: ConnectionId,
        head: &Head,
        announce: DeviceAnnounce,
        actions: &mut Vec<Action>,
    ) -> Result<(), SyncError> {
        if head.device_id.is_empty() {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the announcement names no device"));
        }
        if let Some(session) = self.sessions.get(&head.session_id)
            && session.devices.len() >= CLOCK_DEVICES_MAX
            && !session.devices.contains_key(&head.device_id)
        {
            return Err(SyncError::new(ErrorCode::LimitReached, format!("a session has at most {CLOCK_DEVICES_MAX} devices")));
        }
        self.attach(connection, &head.session_id)?;
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.deflate = announce.compression.as_deref() == Some("deflate");
        }
        let Some(session) = self.sessions.get_mut(&head.session_id) else {
            return Ok(());
        };
        let next = session.head + 1;
        let attachment = session.attachments.entry(connection).or_insert_with(|| Attachment::new(&head.device_id));
        attachment.device_id.clone_from(&head.device_id);
        if announce.wallet.is_some() {
            attachment.wallet.clone_from(&announce.wallet);
        }
        let v1 = speaks_v1(head);
        if v1 && !attachment.v1 {
            // It asks for what it wants to hear, whatever it was as a seed client.
            attachment.live = None;
        }
        attachment.v1 = v1;
        attachment.announced = true;
        attachment.refused = false;
        if !v1 {
            attachment.live.get_or_insert(next);
        }
        let row = session.devices.entry(head.device_id.clone()).or_default();
        *row = DeviceRow {
            device_id: head.device_id.clone(),
            wallet: announce.wallet.or_else(|| row.wallet.take()),
            platform: announce.device_info.platform,
            last_counter: row.last_counter,
            retired: row.retired,
            last_seen_ms: now.wall_ms,
            sync_state: announce.sync_state,
        };
        let row = row.clone();
        let receipts = if v1 { session.stored_receipts(row.wallet.as_ref()) } else { Vec::new() };
        self.note(&head.session_id, vec![row], Vec::new(), actions);
        self.tell_devices(now, &head.session_id, connection, &head.device_id, actions);
        if !receipts.is_empty() {
            self.transmit(now, connection, &head.session_id, Body::ReadReceiptSync(ReadReceiptSync { receipts }), actions);
        }
        Ok(())
    }

    /// A device came or left. It is told of all devices if it came; the others hear of it: v1 devices of it alone,
    /// because whole lists to everybody would be devices times devices; seed clients get the list when one comes.
    fn tell_devices(&mut self, now: Now, session_id: &str, connection: ConnectionId, device_id: &str, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get(session_id) else { return };
        let came = session.attachments.contains_key(&connection);
        let told: Vec<(ConnectionId, bool)> =
            session.attachments.iter().map(|(connection, attachment)| (*connection, attachment.v1)).collect();
        let changed = session.device_states(Some(device_id), false);
        let all = |with_clocks: bool| {
            let mut bytes = 1_024;
            let mut devices = session.device_states(None, with_clocks);
            let fits = devices.iter().take_while(|device| {
                bytes += serde_json::to_string(device).map_or(0, |json| json.len() + 1);
                bytes <= FRAME_BYTES_MAX
            });
            let count = fits.count();
            devices.truncate(count);
            devices
        };
        let newcomer = told.iter().find(|(to, _)| *to == connection).map(|(to, v1)| (*to, all(!v1)));
        let seeds = if came && told.iter().any(|(to, v1)| !v1 && *to != connection) { all(true) } else { Vec::new() };
        let others =
            told.into_iter().filter(|(to, _)| *to != connection).map(|(to, v1)| (to, if v1 { changed.clone() } else { seeds.clone() }));
        let lists: Vec<(ConnectionId, Vec<DeviceState>)> = newcomer.into_iter().chain(others).collect();
        for (to, devices) in lists.into_iter().filter(|(_, devices)| !devices.is_empty()) {
            self.transmit(now, to, session_id, Body::DeviceList(DeviceList { devices }), actions);
        }
    }

    fn request(
        &mut self,
        now: Now,
        connection: ConnectionId,
        head: &Head,
        request: SyncRequest,
        actions: &mut Vec<Action>,
    ) -> Result<(), SyncError> {
        self.attachment(connection, head, &head.device_id)?;
        let Some(session) = self.sessions.get_mut(&head.session_id) else {
            return Ok(());
        };
        let log_head = session.head;
        let Some(attachment) = session.attachments.get_mut(&connection) else {
            return Ok(());
        };
        let cursor = request.last_synced_sequence.min(log_head);
        let batch_max = request.max_batch_size.unwrap_or(BATCH_MESSAGES_DEFAULT as u64);
        attachment.batch_max = usize::try_from(batch_max).unwrap_or(BATCH_MESSAGES_MAX).clamp(1, BATCH_MESSAGES_MAX);
        let ranges: Vec<(u64, u64)> = match request.missing_ranges.as_slice() {
            ranges @ [_, ..] => ranges.iter().map(|range| (range.start.max(1), range.end.min(log_head))).collect(),
            [] => {
                if attachment.v1 {
                    // All earlier answers are superseded: the device says where it stands.
                    attachment.answers.clear();
                    attachment.live = Some(log_head + 1);
                    attachment.sent_through = cursor;
                    attachment.acknowledged_through = cursor;
                }
                vec![(cursor + 1, log_head)]
            }
        };
        let ranges: Vec<(u64, u64)> = ranges.into_iter().filter(|(start, end)| start <= end).collect();
        let total = ranges.iter().map(|(start, end)| end - start + 1).sum();
        attachment.answers.push_back(Answer { request_id: head.message_id.clone(), ranges: ranges.into(), sent: 0, total, begun: false });
        if attachment.answers.len() > BATCH_MESSAGES_MAX {
            attachment.answers.pop_back();
            return Err(SyncError::new(ErrorCode::RelayBusy, "too many requests at once"));
        }
        self.serve(now, &head.session_id, connection, actions);
        Ok(())
    }

    /// A v1 device has stored everything up to here: more may be sent, and its wallet has these messages.
    fn acknowledge(&mut self, now: Now, connection: ConnectionId, head: &Head, ack: &SyncAck, actions: &mut Vec<Action>) {
        let Some(sequence) = ack.acknowledged_sequences.iter().copied().max() else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&head.session_id) else {
            return;
        };
        let log_head = session.head;
        let Some(attachment) = session.attachments.get_mut(&connection).filter(|attachment| attachment.v1) else {
            return;
        };
        let sequence = sequence.min(log_head);
        let before = attachment.acknowledged_through;
        attachment.acknowledged_through = before.max(sequence);
        let (device_id, wallet) = (attachment.device_id.clone(), attachment.wallet.clone());
        if let Some(row) = session.devices.get_mut(&device_id) {
            row.last_seen_ms = now.wall_ms;
            row.sync_state.last_synced_sequence = row.sync_state.last_synced_sequence.max(sequence);
        }
        if let Some(wallet) = wallet {
            let foreign = session.has_foreign(before + 1, sequence, &wallet);
            if session.raise_watermark(&wallet, ReceiptStatus::Delivered, sequence) && foreign {
                session.untold_receipts.insert(wallet, (connection, device_id));
                if session.receipts_due_ms.is_none() {
                    let due_ms = now.monotonic_ms + RECEIPTS_LINGER_MS;
                    session.receipts_due_ms = Some(due_ms);
                    self.lingering.push_back((due_ms, head.session_id.clone()));
                }
            }
        }
        self.serve(now, &head.session_id, connection, actions);
    }

    /// Tells how far messages have arrived, of every session whose time has come.
    pub(super) fn tell_delivered(&mut self, now: Now, actions: &mut Vec<Action>) {
        while let Some((_, session_id)) = self.lingering.pop_front_if(|(due_ms, _)| *due_ms <= now.monotonic_ms) {
            let Some(session) = self.sessions.get_mut(&session_id) else { continue };
            session.receipts_due_ms = None;
            let untold = std::mem::take(&mut session.untold_receipts);
            let (mut rows, mut told) = (Vec::new(), Vec::new());
            for (wallet, (connection, device_id)) in untold {
                let Some(row) = session.watermark_row(&wallet) else { continue };
                let sequence = row.watermark.delivered;
                let message_id = session.id_at(sequence).unwrap_or_default();
                rows.push(row);
                told.push((connection, receipt_sync(now, message_id, ReceiptStatus::Delivered, wallet, device_id, Some(sequence))));
            }
            self.note(&session_id, Vec::new(), rows, actions);
            for (connection, receipt) in told {
                self.tell_receipts(now, &session_id, connection, vec![receipt], true, actions);
            }
            self.release(&session_id);
        }
    }

    fn heartbeat(&mut self, now: Now, connection: ConnectionId, head: &Head, heartbeat: SyncHeartbeat, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(&head.session_id) else {
            return;
        };
        if let Some(attachment) = session.attachments.get(&connection)
            && let Some(row) = session.devices.get_mut(&attachment.device_id)
        {
            row.last_seen_ms = now.wall_ms;
            row.sync_state = SyncState { last_synced_sequence: heartbeat.sequence_number, vector_clock: heartbeat.vector_clock };
        }
        let vector_clock = if speaks_v1(head) { VectorClock::new() } else { session.heads.informing() };
        let answer = SyncHeartbeat { sequence_number: session.head, vector_clock };
        self.transmit(now, connection, &head.session_id, Body::SyncHeartbeat(answer), actions);
    }

    fn receipt(
        &mut self,
        now: Now,
        connection: ConnectionId,
        head: &Head,
        receipt: ReadReceipt,
        actions: &mut Vec<Action>,
    ) -> Result<(), SyncError> {
        let attachment = self.attachment(connection, head, &head.device_id)?;
        let device_id = attachment.device_id.clone();
        // Of a seed client that has written nothing no wallet is known: its device stands for it.
        let wallet = attachment.wallet.clone().unwrap_or_else(|| device_id.clone());
        let Some(session) = self.sessions.get_mut(&head.session_id) else {
            return Ok(());
        };
        let mut told = Vec::new();
        for receipt in receipt.receipts {
            let sequence = receipt.sequence_number.or_else(|| session.sequence_of(&receipt.message_id));
            if let Some(sequence) = sequence {
                session.raise_watermark(&wallet, receipt.status, sequence);
            }
            // What stands at that place, where that is known: the sender may name another message.
            let message_id = sequence.and_then(|sequence| session.id_at(sequence)).unwrap_or(receipt.message_id);
            told.push(Receipt {
                timestamp: receipt.timestamp,
                ..receipt_sync(now, message_id, receipt.status, wallet.clone(), device_id.clone(), sequence)
            });
        }
        if let Some(row) = session.watermark_row(&wallet) {
            self.note(&head.session_id, Vec::new(), vec![row], actions);
        }
        self.tell_receipts(now, &head.session_id, connection, told, false, actions);
        Ok(())
    }

    /// Passes receipts on to everybody else. Those that the relay derives from acknowledgements go to v1 devices only:
    /// seed clients send their own. v1 devices go by the place, and are not told the name of a message that nobody has
    /// looked up there: it may be another's (I15).
    fn tell_receipts(
        &mut self,
        now: Now,
        session_id: &str,
        from: ConnectionId,
        receipts: Vec<Receipt>,
        v1_only: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.sessions.get(session_id) else { return };
        let others = session.attachments.iter().filter(|(connection, attachment)| **connection != from && (attachment.v1 || !v1_only));
        let others: Vec<(ConnectionId, bool)> = others.map(|(connection, attachment)| (*connection, attachment.v1)).collect();
        let mut sure = receipts.clone();
        for receipt in &mut sure {
            if receipt.sequence_number.is_some_and(|sequence| session.id_at(sequence).is_none()) {
                receipt.message_id.clear();
            }
        }
        for (connection, v1) in others {
            for receipts in (if v1 { &sure } else { &receipts }).chunks(RECEIPTS_MAX) {
                let receipts = receipts.to_vec();
                self.transmit(now, connection, session_id, Body::ReadReceiptSync(ReadReceiptSync { receipts }), actions);
            }
        }
    }

    /// A connection is gone.
    pub(super) fn leave(&mut self, now: Now, session_id: &str, connection: ConnectionId, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let Some(attachment) = session.attachments.remove(&connection) else {
            return;
        };
        if attachment.refused {
            // Now nothing says any more that what it sent behind the refused message is not to be taken.
            session.refuse_rest(connection);
        }
        if let Some(row) = session.devices.get_mut(&attachment.device_id) {
            row.last_seen_ms = now.wall_ms;
            let row = row.clone();
            self.note(session_id, vec![row], Vec::new(), actions);
        }
        self.tell_devices(now, session_id, connection, &attachment.device_id, actions);
    }
}

pub(super) fn speaks_v1(head: &Head) -> bool {
    head.protocol_version.is_some_and(|version| version >= PROTOCOL_VERSION)
}

fn receipt_sync(now: Now, message_id: String, status: ReceiptStatus, wallet: String, device_id: String, sequence: Option<u64>) -> Receipt {
    Receipt {
        message_id,
        status,
        timestamp: Stamp::Iso(now.wall_ms),
        reader_wallet: Some(wallet),
        device_id: Some(device_id),
        sequence_number: sequence,
    }
}

impl Attachment {
    /// Seed clients name their wallet only in messages.
    pub(super) fn learn_wallet(&mut self, wallet: Option<&WalletAddress>) {
        if self.wallet.is_none() {
            self.wallet = wallet.filter(|wallet| check_id("sender_wallet", wallet).is_ok()).cloned();
        }
    }

    fn new(device_id: &str) -> Self {
        Attachment {
            device_id: device_id.to_owned(),
            wallet: None,
            v1: false,
            announced: false,
            own: Default::default(),
            live: None,
            answers: Default::default(),
            sent_through: 0,
            acknowledged_through: 0,
            batch_max: BATCH_MESSAGES_DEFAULT,
            reading: false,
            refused: false,
        }
    }
}

impl Session {
    /// The receipts of the other wallets, for a device that arrives. What was read was delivered.
    fn stored_receipts(&self, own: Option<&WalletAddress>) -> Vec<Receipt> {
        let receipt = |wallet: &String, status, sequence: u64| Receipt {
            message_id: self.id_at(sequence).unwrap_or_default(),
            status,
            timestamp: Stamp::default(),
            reader_wallet: Some(wallet.clone()),
            device_id: None,
            sequence_number: Some(sequence),
        };
        let others = self.watermarks.iter().filter(|(wallet, _)| own != Some(*wallet));
        let both = others.flat_map(|(wallet, Watermark { delivered, read })| {
            let delivered = (delivered > read).then(|| receipt(wallet, ReceiptStatus::Delivered, *delivered));
            let read = (*read > 0).then(|| receipt(wallet, ReceiptStatus::Read, *read));
            delivered.into_iter().chain(read)
        });
        both.take(BATCH_MESSAGES_MAX / 8).collect()
    }

    /// Whether any of these entries was written by another wallet; the tail tells, and beyond it one is assumed.
    fn has_foreign(&self, from: u64, through: u64, wallet: &str) -> bool {
        let first = self.tail.front().map_or(u64::MAX, |entry| entry.stored.sequence);
        from < first
            || self
                .tail
                .iter()
                .any(|entry| (from..=through).contains(&entry.stored.sequence) && entry.entry.message.sender_wallet != wallet)
    }

    fn id_at(&self, sequence: u64) -> Option<String> {
        self.tail.iter().find(|entry| entry.stored.sequence == sequence).map(|entry| entry.entry.message.id.clone())
    }

    fn sequence_of(&self, message_id: &str) -> Option<u64> {
        self.tail.iter().rev().find(|entry| entry.entry.message.id == message_id).map(|entry| entry.stored.sequence)
    }
}
