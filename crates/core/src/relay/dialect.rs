//! The two dialects of clients. Frames of both become the same [`Ask`]s here, and what a session has to tell becomes the
//! frames of either; behind this nothing knows of seed clients.

use std::collections::BTreeSet;

use super::api::{ConnectionId, Key};
use super::batch_cache::{BatchKey, Content, Form, Part};
use super::context::{Context, print};
use super::fanout::Answer;
use super::gate::speaks_v1;
use super::javascript;
use super::names::{key_of, name_key};
use super::presence::Announcement;
use super::session::{Ask, Attachment, Fetch, Log};
use super::update::{Draft, Knowledge, Update};
use crate::batch::Batch;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{
    Body, Chat, DeviceAnnounce, Frame, Head, Progress, ReadReceipt, SeedEntry, SeedResponse, SeedUpdate, SyncPhase, SyncRequest,
    SyncResponse, SyncStatus, SyncUpdate, Unsent,
};
use crate::ids::{DeviceId, check_id, check_wallet, session_of};
use crate::limits::{BATCH_MESSAGES_DEFAULT, BATCH_MESSAGES_MAX, UNACKNOWLEDGED_MESSAGES_MAX};
use crate::log::clock_from;
use crate::message::{Kind, Message};
use crate::vector_clock::VectorClock;
use crate::wire::Malformed;

/// The clock of one entry that seed clients are sent, in bytes of JSON at most: it fits a frame beside its message.
const SEED_CLOCK_BYTES_MAX: usize = 32 * 1024;

/// How a member of a session speaks.
#[derive(Debug)]
pub(super) enum Dialect {
    /// By our rules.
    V1,
    /// By those of the seed's protocol.
    Seed {
        /// It said which device it is. One that has not is known by its wallet, which others may share.
        announced: bool,
        /// What it wrote over this connection and live delivery has not passed yet.
        own: BTreeSet<u64>,
    },
}

impl Default for Dialect {
    fn default() -> Self {
        Dialect::Seed { announced: false, own: BTreeSet::new() }
    }
}

/// What a frame asks for.
pub(super) struct Translated {
    /// As which device its sender becomes a member, where it was none.
    pub device_id: DeviceId,
    pub ask: Ask,
    /// Whether its sender becomes one.
    pub joins: bool,
}

/// A frame that the gate let through, of who has signed in or has not.
pub(super) fn translate(
    connection: ConnectionId,
    frame: Frame,
    attachment: Option<&Attachment>,
    has_signed: bool,
) -> Result<Option<Translated>, SyncError> {
    let Frame { head, body } = frame;
    let v1 = speaks_v1(&head);
    let device_id = head.device_id.clone();
    let (ask, joins) = match body {
        Body::DeviceAnnounce(said) => (announcement(&head, said, has_signed)?, true),
        Body::SyncRequest(request) => (fetch(head, request, v1), true),
        Body::SyncUpdate(update) => (v1_update(connection, head, update, attachment)?, true),
        Body::SeedUpdate(update) => (seed_update(connection, head, update)?, true),
        Body::Chat(chat) => return seed_chat(connection, head, chat, attachment).map(Some),
        // One that acknowledges nothing says nothing.
        Body::SyncAck(ack) => match ack.acknowledged_sequences.into_iter().max() {
            Some(through) => (Ask::Acknowledge(through), true),
            None => return Ok(None),
        },
        Body::SyncHeartbeat(heartbeat) => (Ask::Heartbeat { heartbeat, wants_clock: !v1 }, false),
        Body::ReadReceipt(ReadReceipt { receipts, unreadable }) => (Ask::Receipts { receipts, unreadable }, true),
        // The gate has refused them, or they are of no session.
        Body::DeviceList(_)
        | Body::SyncResponse(_)
        | Body::SeedResponse(_)
        | Body::SyncStatus(_)
        | Body::SyncConflict(_)
        | Body::ReadReceiptSync(_)
        | Body::WalletAnnounce(_)
        | Body::SessionList(_)
        | Body::Hello(_)
        | Body::SignIn(_)
        | Body::SignedIn(_)
        | Body::ShortNumber(_)
        | Body::Error(_) => {
            return Ok(None);
        }
    };
    Ok(Some(Translated { device_id, ask, joins }))
}

fn announcement(head: &Head, said: DeviceAnnounce, has_signed: bool) -> Result<Ask, SyncError> {
    if head.device_id.is_empty() {
        return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the announcement names no device"));
    }
    let v1 = speaks_v1(head);
    if v1 && said.wallet.is_none() {
        return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the announcement of a device of protocolVersion 1 names its wallet"));
    }
    if let (true, Some(wallet), Some(peer_wallet)) = (v1, &said.wallet, &said.peer_wallet) {
        check_wallet(wallet)?;
        check_wallet(peer_wallet)?;
        // The gate has checked that of devices with keys.
        if !has_signed && session_of(wallet, peer_wallet) != head.session_id {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the session is not that of the wallet and the peerWallet"));
        }
    }
    Ok(Ask::Announce(Announcement {
        peer_wallet: said.peer_wallet.filter(|_| v1),
        // Only devices of our rules say whose they are.
        wallet: said.wallet.filter(|_| v1),
        platform: said.device_info.platform,
        sync_state: said.sync_state,
        deflate: said.compression.as_deref() == Some("deflate"),
        v1,
        listens: !v1,
    }))
}

fn fetch(head: Head, request: SyncRequest, v1: bool) -> Ask {
    let batch_max = request.max_batch_size.unwrap_or(BATCH_MESSAGES_DEFAULT as u64);
    Ask::Fetch(Fetch {
        request_id: head.message_id,
        cursor: request.last_synced_sequence,
        restarts: v1 && request.missing_ranges.is_empty(),
        ranges: request.missing_ranges.into_iter().map(|range| (range.start, range.end)).collect(),
        log: request.log,
        batch_max: usize::try_from(batch_max).unwrap_or(BATCH_MESSAGES_MAX).clamp(1, BATCH_MESSAGES_MAX),
    })
}

/// A device that keeps our rules speaks under the name that it announced.
fn v1_update(connection: ConnectionId, head: Head, update: SyncUpdate, attachment: Option<&Attachment>) -> Result<Ask, SyncError> {
    check_named(&head)?;
    let device_id = attachment.map_or_else(|| head.device_id.clone(), |attachment| attachment.device_id.clone());
    let entries = update.messages.entries().map_err(Malformed::in_frame)?;
    let draft = |entry: Entry| Draft { entry, knowledge: Knowledge::Prefix, unreadable: None };
    Ok(Ask::Write(Update {
        connection,
        head,
        device_id,
        messages: entries.into_iter().map(draft).collect(),
        last_digest: Some(update.last_digest),
        signature: update.signature.map(Box::new),
        is_chain: true,
        acknowledge: true,
        by_names: false,
        speaks_for: None,
        listens: false,
    }))
}

/// A client of the seed's protocol: its counters are its own affair, so a repeat is known by its id, or else by the
/// device's own count with the content (a client that counts from 1 again writes other messages).
fn seed_update(connection: ConnectionId, head: Head, update: SeedUpdate) -> Result<Ask, SyncError> {
    check_named(&head)?;
    let mut wallets = update.messages.iter().map(|unsent| &unsent.message.sender_wallet);
    let speaks_for = wallets.find(|wallet| !wallet.is_empty()).cloned();
    let draft = |Unsent { message, sequence_number, vector_clock, unreadable, .. }: Unsent| {
        let key = if message.id.is_empty() {
            let Message { sender_wallet, ciphertext, content_type, replaces, .. } = &message;
            let optional = [content_type, replaces].map(|text| text.as_deref().unwrap_or_default());
            key_of(&[&head.device_id, &sequence_number.to_string(), sender_wallet, ciphertext, optional[0], optional[1]])
        } else {
            name_key(&message)
        };
        Draft { unreadable, ..seed_draft(message, vector_clock, Some(key)) }
    };
    let messages = update.messages.into_iter().map(draft).collect();
    Ok(Ask::Write(Update {
        connection,
        device_id: head.device_id.clone(),
        head,
        messages,
        last_digest: None,
        signature: None,
        is_chain: false,
        acknowledge: true,
        by_names: true,
        speaks_for: speaks_for.filter(|wallet| check_id("sender_wallet", wallet).is_ok()),
        listens: false,
    }))
}

/// A chat frame is an update of one message which nobody acknowledges. Without an id a repeat of it cannot be told.
fn seed_chat(connection: ConnectionId, head: Head, chat: Chat, attachment: Option<&Attachment>) -> Result<Translated, SyncError> {
    let writer = if chat.sender.is_empty() { "anonymous" } else { &chat.sender };
    check_id("sender", writer)?;
    let device_id = attachment.map_or(writer, |attachment| attachment.device_id.as_str()).to_owned();
    let message = Message {
        id: chat.message_id.unwrap_or_default(),
        sender_wallet: chat.sender.clone(),
        ciphertext: chat.message,
        timestamp: chat.timestamp,
        session_id: head.session_id.clone(),
        extra: chat.extra,
        ..Message::default()
    };
    let key = (!message.id.is_empty()).then(|| name_key(&message));
    let update = Update {
        connection,
        head,
        device_id: device_id.clone(),
        messages: vec![seed_draft(message, chat.vector_clock.unwrap_or_default(), key)],
        last_digest: None,
        signature: None,
        is_chain: false,
        acknowledge: false,
        by_names: true,
        speaks_for: Some(chat.sender).filter(|wallet| check_id("sender_wallet", wallet).is_ok()),
        listens: true,
    };
    Ok(Translated { device_id, ask: Ask::Write(update), joins: true })
}

/// What is ours is not theirs to give: of the kinds only that of an edit follows from what they write.
fn seed_draft(mut message: Message, clock: VectorClock, key: Option<Key>) -> Draft {
    javascript::normalize(&mut message);
    let kind = if message.replaces.is_some() { Kind::EDIT } else { Kind::MESSAGE };
    let entry = Entry { message: Message { kind, ..message }, ..Entry::default() };
    Draft { entry, knowledge: Knowledge::Clock { key, clock }, unreadable: None }
}

/// An entry as seed clients are sent it, given the clock of the log up to what it knows. A clock that would not fit a frame
/// names only its own device.
pub(super) fn seed_entry(entry: &Entry, known: VectorClock) -> SeedEntry {
    let whole = clock_from(known, entry);
    let bytes: usize = whole.iter().map(|(device, _)| 6 * device.len() + 20).sum();
    let vector_clock = if bytes > SEED_CLOCK_BYTES_MAX { clock_from(VectorClock::new(), entry) } else { whole };
    SeedEntry {
        message: entry.message.clone(),
        sequence_number: entry.sequence_number,
        vector_clock,
        server_timestamp: entry.server_timestamp,
        original_device_id: entry.device_id.clone(),
    }
}

fn check_named(head: &Head) -> Result<(), SyncError> {
    if head.device_id.is_empty() {
        return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the update names no device"));
    }
    Ok(())
}

impl Dialect {
    pub fn is_v1(&self) -> bool {
        matches!(self, Dialect::V1)
    }

    /// Its device announced itself.
    pub fn announce(&mut self, v1: bool) {
        match self {
            _ if v1 => *self = Dialect::V1,
            Dialect::Seed { announced, .. } => *announced = true,
            Dialect::V1 => *self = Dialect::Seed { announced: true, own: BTreeSet::new() },
        }
    }

    /// Messages that it may be sent ahead of its acknowledgement: seed clients acknowledge nothing.
    pub fn window(&self) -> Option<u64> {
        self.is_v1().then_some(UNACKNOWLEDGED_MESSAGES_MAX)
    }

    /// Seed clients are sent lists of all devices, with what each knows.
    pub fn has_whole_lists(&self) -> bool {
        !self.is_v1()
    }

    /// Seed clients are told of conflicts; devices of our rules find them in the log.
    pub fn hears_conflicts(&self) -> bool {
        !self.is_v1()
    }

    /// What the relay derives from acknowledgements: seed clients send their own.
    pub fn hears_derived_receipts(&self) -> bool {
        self.is_v1()
    }

    /// What is stored of the other wallets' receipts.
    pub fn hears_stored_receipts(&self) -> bool {
        self.is_v1()
    }

    /// It takes receipts by the place, whatever message they name.
    pub fn goes_by_places(&self) -> bool {
        self.is_v1()
    }

    /// The form in which it reads parts of the log, on a socket whose frames are written so.
    pub fn form(&self, socket: Form) -> Form {
        if self.is_v1() { socket } else { Form::Seed }
    }
}

impl Attachment {
    /// What it wrote itself is not sent to it. A device of our rules that has everything before learns the places from
    /// the acknowledgement alone, where there is one; seed clients hear only of others' messages.
    pub fn skip_own(&mut self, is_acknowledged: bool, sequences: &[u64]) {
        let Some(live) = self.live else { return };
        match &mut self.dialect {
            Dialect::Seed { own, .. } => own.extend(sequences.iter().filter(|sequence| **sequence >= live)),
            Dialect::V1 if is_acknowledged && self.answers.is_empty() => {
                for sequence in sequences {
                    if self.live == Some(*sequence) {
                        self.live = Some(sequence + 1);
                        self.sent_through = self.sent_through.max(*sequence);
                        if self.acknowledged_through + 1 == *sequence {
                            self.acknowledged_through = *sequence;
                        }
                    }
                }
            }
            Dialect::V1 => {}
        }
    }

    /// A part of an answer. Devices of our rules see by the sequence numbers how far they are.
    pub fn tell_batch(&self, ctx: &mut Context, log: &mut Log, connection: ConnectionId, answer: &Answer, part: &Part, more: bool) {
        let log_signature = if part.through == log.head() {
            log.signed_head(ctx)
        } else if part.writers.contains(&self.device_id) {
            // What a device finds of its own leaves its outbox.
            ctx.sign_earlier(&log.session_id, &part.log, part.time_ms)
        } else {
            None
        };
        let said = SyncResponse {
            log: Some(part.log),
            log_signature,
            signatures: part.signatures.to_vec(),
            in_reply_to: Some(answer.request_id.clone()),
            ..SyncResponse::default()
        };
        tell_content(ctx, log, connection, part.content.clone(), said);
        if more && !self.dialect.is_v1() {
            tell_status(ctx, log, connection, SyncPhase::InProgress, answer);
        }
    }

    /// Nothing is left of an answer; one that had nothing at all still gets an empty batch.
    pub fn tell_end(&self, ctx: &mut Context, log: &mut Log, connection: ConnectionId, answer: &Answer) {
        if !answer.begun {
            let nothing = if self.dialect.is_v1() { Content::Batch(Batch::default()) } else { Content::Seed(Vec::new().into()) };
            let (head, log_signature) = (Some(log.state.log_head()), log.signed_head(ctx));
            let in_reply_to = Some(answer.request_id.clone());
            tell_content(ctx, log, connection, nothing, SyncResponse { log: head, log_signature, in_reply_to, ..SyncResponse::default() });
        }
        if !self.dialect.is_v1() {
            tell_status(ctx, log, connection, SyncPhase::Completed, answer);
        }
    }

    /// What happens live: one frame for all devices of our rules at the same position; to a seed client one chat frame a
    /// message, its own left out.
    pub fn tell_live(&mut self, ctx: &mut Context, log: &Log, connection: ConnectionId, key: &BatchKey, part: &mut Part) {
        let (Dialect::Seed { announced, own }, Content::Seed(entries)) = (&mut self.dialect, &part.content) else {
            return push(ctx, log, connection, key, part);
        };
        for entry in entries.iter() {
            let is_own = own.contains(&entry.sequence_number) || (*announced && self.device_id == entry.original_device_id);
            let sequence = entry.sequence_number;
            if !is_own {
                if !ctx.has_room(connection) {
                    // The rest waits in the log.
                    self.live = Some(sequence);
                    return;
                }
                let SeedEntry { message, vector_clock, server_timestamp, .. } = entry.clone();
                let chat = Chat {
                    room_id: Some(log.session_id.clone()),
                    session_id: Some(log.session_id.clone()),
                    message: message.ciphertext,
                    sender: message.sender_wallet,
                    timestamp: message.timestamp,
                    message_id: Some(message.id),
                    vector_clock: Some(vector_clock),
                    sequence_number: Some(sequence),
                    server_timestamp: Some(server_timestamp),
                    extra: message.extra,
                };
                ctx.transmit(connection, &log.session_id, Body::Chat(chat));
            }
            own.remove(&sequence);
        }
    }
}

/// A part of an answer, which says this beside it.
fn tell_content(ctx: &mut Context, log: &Log, connection: ConnectionId, content: Content, said: SyncResponse) {
    let latest_sequence = log.head();
    let body = match content {
        Content::Batch(messages) => Body::SyncResponse(SyncResponse { messages, latest_sequence, ..said }),
        Content::Seed(messages) => {
            let server_vector_clock = log.state.clock().informing();
            Body::SeedResponse(SeedResponse { messages, latest_sequence, server_vector_clock, in_reply_to: said.in_reply_to })
        }
    };
    ctx.transmit(connection, &log.session_id, body);
}

fn push(ctx: &mut Context, log: &Log, connection: ConnectionId, key: &BatchKey, part: &mut Part) {
    let head = ctx.head(&log.session_id);
    let Content::Batch(messages) = part.content.clone() else { return };
    let payload = part.push.take_if(|(head, _)| *head == log.head()).map(|(_, payload)| payload).or_else(|| {
        let signatures = part.signatures.to_vec();
        let response = SyncResponse { messages, latest_sequence: log.head(), signatures, ..SyncResponse::default() };
        print(key.form.encoding(), &Frame { head, body: Body::SyncResponse(response) })
    });
    part.push = payload.clone().map(|payload| (log.head(), payload));
    if let Some(payload) = payload {
        ctx.transmit_payload(connection, payload);
    }
}

fn tell_status(ctx: &mut Context, log: &Log, connection: ConnectionId, status: SyncPhase, answer: &Answer) {
    let progress = Some(Progress { messages_synced: answer.sent, total_messages: answer.total, conflicts_resolved: 0 });
    // Who has no room for it sees by the batches how far it is.
    ctx.inform(connection, &log.session_id, Body::SyncStatus(SyncStatus { status, progress, error: None }));
}
