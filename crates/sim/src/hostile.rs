//! Members that keep no rules (F47), and one that never reads (F49), on binary and on JSON connections.

use std::sync::Arc;

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Digest, Entry, Extensions};
use solconnect_sync_core::frame::{
    Body, Chat, DeviceAnnounce, DeviceInfo, Encoding, Frame, Head, PROTOCOL_VERSION, Payload, ReadReceipt, Receipt, ReceiptStatus,
    SeedUpdate, SequenceRange, SyncAck, SyncHeartbeat, SyncRequest, SyncState, SyncUpdate, Unsent, WalletAnnounce,
};
use solconnect_sync_core::ids::{message_id, parse_message_id, start_of};
use solconnect_sync_core::limits::{
    ALSO_MAX, BATCH_MESSAGES_MAX, EXTENSIONS_BYTES_MAX, FRAME_BYTES_MAX, ID_BYTES_MAX, INTEGER_MAX, TEXT_BYTES_MAX,
};
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::message::{Kind, Message, Stamp};
use solconnect_sync_core::vector_clock::VectorClock;

use crate::faults::Fault;
use crate::network::{ConnectionId, Parcel, Peer, Side};
use crate::world::{Context, Happening, World};

/// A session that only hostile members are in: what floods it costs nobody else.
const FLOODED_SESSION: &str = "flooded";

/// The beginning of texts that must stand in a log only once, under whatever message id.
pub const QUEUED_AGAIN: &str = "queued again ";

/// A number that fits or not: one that no frame may have is refused before anything else is looked at.
fn any_number(random: &mut fastrand::Rng) -> u64 {
    match random.u8(0..12) {
        0 => random.u64(..),
        1..4 => random.u64(0..=INTEGER_MAX),
        _ => random.u64(0..300),
    }
}

/// One hostile member.
pub struct Hostile {
    wallet: &'static str,
    device_id: String,
    encoding: Encoding,
    connection: Option<ConnectionId>,
    /// It never takes anything from its socket.
    deaf: bool,
    /// It speaks our rules where it likes to, and is a seed client otherwise.
    v1: bool,
    /// A message that it has queued again under another device, and its first device has not sent yet.
    given_up: Option<Message>,
}

impl World {
    /// A hostile member of the sessions of this wallet.
    pub fn add_hostile(&mut self, wallet: &'static str) {
        let index = self.hostiles.len();
        let random = &mut self.ctx.random;
        let deaf = random.u8(0..4) == 0;
        let encoding = if random.bool() { Encoding::Binary } else { Encoding::Json };
        let v1 = encoding == Encoding::Binary || random.bool();
        let device_id = format!("hostile-{index}");
        self.hostiles.push(Hostile { wallet, device_id, encoding, connection: None, deaf, v1, given_up: None });
        self.checker.expect_lies();
        self.ctx.agenda.after(0, Happening::Hostile(index));
    }

    /// A hostile member acts: one of its bad deeds, drawn at random.
    pub fn hostile_acts(&mut self, index: usize) {
        if !self.ctx.faults.active() {
            return;
        }
        let wait_ms = self.ctx.random.u64(10..1_500);
        self.ctx.agenda.after(wait_ms, Happening::Hostile(index));
        let Some(connection) = self.hostiles[index].connection else {
            if self.relay.is_up() {
                let (encoding, life) = (self.hostiles[index].encoding, self.relay.life());
                let connection = self.network.open(&mut self.ctx, Peer::Hostile(index), encoding, life);
                self.hostiles[index].connection = Some(connection);
            }
            return;
        };
        let session_id = self.victim();
        self.ctx.faults.count(Fault::HostileFrame);
        let payloads = match self.ctx.random.u8(0..20) {
            0..3 => vec![self.garbage(index, &session_id)],
            3 => vec![self.hostiles[index].oversized()],
            4..7 => vec![self.announcement(index, &session_id)],
            7..9 => vec![self.update(index, &session_id)],
            9..11 => vec![self.announcement(index, &session_id), self.update(index, &session_id)],
            11..14 => vec![self.receipt(index, &session_id)],
            14 if self.ctx.random.bool() => vec![self.wallet(index)],
            14..16 => vec![self.request(index, &session_id)],
            16 => vec![self.acknowledgement(index, &session_id)],
            17 => vec![self.chat(index, &session_id)],
            18 if self.ctx.random.u8(0..16) == 0 => self.flood(index),
            19 if self.hostiles[index].v1 => self.queue_again(index, &session_id),
            _ => vec![self.heartbeat(index, &session_id)],
        };
        let payloads = if self.hostiles[index].deaf { self.ask_for_all(index, &session_id, payloads) } else { payloads };
        for payload in payloads {
            self.network.send(&mut self.ctx, connection, Side::Relay, payload);
        }
    }

    /// Something arrives at it.
    pub fn hostile_hears(&mut self, index: usize, connection: ConnectionId, parcel: Parcel) {
        if let Parcel::Closed(_) = parcel
            && self.hostiles[index].connection == Some(connection)
        {
            self.hostiles[index].connection = None;
            self.network.end(&mut self.ctx, connection, Side::Relay, "1000");
        }
    }

    fn victim(&mut self) -> String {
        let sessions: Vec<String> = self.checker.ledger.sessions().map(|(session_id, _)| session_id.clone()).collect();
        match self.ctx.random.u8(0..8) {
            0 => FLOODED_SESSION.into(),
            1 => "nowhere".into(),
            2 if self.ctx.random.u8(0..4) == 0 => "x".repeat(ID_BYTES_MAX + 1),
            _ if sessions.is_empty() => FLOODED_SESSION.into(),
            _ => self.ctx.pick(&sessions).clone(),
        }
    }

    fn garbage(&mut self, index: usize, session_id: &str) -> Payload {
        let valid = self.announcement(index, session_id);
        let random = &mut self.ctx.random;
        match (valid, random.u8(0..4)) {
            (Payload::Text(_), 0) => Payload::Binary(Arc::from(&[0xff, 0x00, 0x80][..])),
            (Payload::Text(_), 1) => Payload::Text(format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)).into()),
            (Payload::Text(text), 2) => Payload::Text(text.chars().take(random.usize(0..text.len())).collect::<String>().into()),
            (Payload::Text(text), _) => Payload::Text(text.replace("\"type\":\"device_announce\"", "\"type\":\"sync_response\"").into()),
            (Payload::Binary(_), 0) => Payload::Text("{}".into()),
            (Payload::Binary(bytes), 1) => Payload::Binary(bytes[..random.usize(0..bytes.len())].into()),
            (Payload::Binary(bytes), _) => {
                let mut bytes = bytes.to_vec();
                for _ in 0..random.u8(1..5) {
                    let place = random.usize(0..bytes.len());
                    bytes[place] = random.u8(..);
                }
                Payload::Binary(bytes.into())
            }
        }
    }

    fn announcement(&mut self, index: usize, session_id: &str) -> Payload {
        let hostile = &self.hostiles[index];
        let platform = if self.ctx.random.u8(0..6) == 0 { "p".repeat(200) } else { "web".into() };
        let announce = DeviceAnnounce {
            device_info: DeviceInfo { platform, version: "9".into() },
            sync_state: SyncState { last_synced_sequence: any_number(&mut self.ctx.random), vector_clock: VectorClock::new() },
            wallet: self.ctx.random.bool().then(|| hostile.wallet.into()),
            peer_wallet: (self.ctx.random.u8(0..4) == 0).then(|| self.ctx.pick(&self.profiles).wallet.into()),
            group_nonce: None,
            compression: self.ctx.random.bool().then(|| "deflate".into()),
        };
        hostile.frame(&mut self.ctx, session_id, Body::DeviceAnnounce(announce))
    }

    /// Whose connection it is: anybody's.
    fn wallet(&mut self, index: usize) -> Payload {
        let hostile = &self.hostiles[index];
        let wallet = if self.ctx.random.bool() { hostile.wallet.into() } else { "nobody".into() };
        let after = self.ctx.random.bool().then(|| "x".repeat(self.ctx.random.usize(0..300)));
        hostile.frame(&mut self.ctx, "", Body::WalletAnnounce(WalletAnnounce { wallet, after, sealed: false }))
    }

    /// Messages with counters, clocks, ids, kinds, digests and texts that are wrong in one way or another, and some that are
    /// right.
    fn update(&mut self, index: usize, session_id: &str) -> Payload {
        let log = self.checker.ledger.log(session_id);
        let hostile = &self.hostiles[index];
        let random = &mut self.ctx.random;
        let next = log.head_of(&hostile.device_id, log.head()) + 1;
        let counter = match random.u8(0..8) {
            0 => next + random.u64(1..1_000),
            1 => next.saturating_sub(random.u64(0..3)),
            2 => u64::MAX,
            _ => next,
        };
        let mut clock = VectorClock::new();
        for device in log.devices().filter(|device| **device != hostile.device_id) {
            let beyond = if random.u8(0..6) == 0 { random.u64(1..100) } else { 0 };
            if random.bool() {
                let _ = clock.raise(device, random.u64(0..=log.head_of(device, log.head())) + beyond);
            }
        }
        if random.u8(0..20) == 0 {
            for number in 0..if hostile.v1 { ALSO_MAX + 1 } else { 1_100 } {
                let _ = clock.raise(&format!("nobody-{number}"), 1);
            }
        }
        let knows = match random.u8(0..8) {
            0 => log.head() + random.u64(1..3),
            1 => any_number(random),
            2..5 => random.u64(0..=log.head()),
            _ => log.head(),
        };
        let known: Vec<&Entry> = log.entries().iter().rev().take(5).collect();
        let long = random.u8(0..12) == 0;
        let text: String = if long { "h".repeat(TEXT_BYTES_MAX + random.usize(0..2)) } else { format!("hostile {}", random.u32(..)) };
        let any_id = |random: &mut fastrand::Rng| known.get(random.usize(0..known.len().max(1))).map(|entry| entry.message.id.clone());
        let id = match random.u8(0..12) {
            0 => String::new(),
            1 => "i".repeat(ID_BYTES_MAX + 1),
            2 => any_id(random).unwrap_or_default(),
            // The id that another device is about to give, as far as one can tell from its last.
            3 => known.first().map_or_else(String::new, |entry| {
                let start = start_of(&entry.message.id, session_id, &entry.device_id, entry.counter).unwrap_or_default();
                message_id(session_id, &entry.device_id, start, entry.counter + 1)
            }),
            4 => format!("app-{}", random.u8(..)),
            5 => message_id(session_id, &hostile.device_id, "", counter),
            _ => message_id(session_id, &hostile.device_id, "h0st1l", counter),
        };
        let message = Message {
            id,
            sender_wallet: if random.u8(0..8) == 0 { "someone else".into() } else { hostile.wallet.into() },
            ciphertext: text,
            timestamp: match random.u8(0..6) {
                0 => Stamp::Text("soon".into()),
                1 => Stamp::from(random.u64(..) as f64 / 128.0 - 1e16),
                2 => Stamp::Millis(random.u64(0..=INTEGER_MAX)),
                _ => Stamp::Iso(random.u64(0..2_000_000_000_000)),
            },
            session_id: if random.u8(0..8) == 0 { "elsewhere".into() } else { session_id.into() },
            content_type: (random.u8(0..8) == 0).then(|| "t".repeat(200)),
            replaces: if random.u8(0..4) == 0 { any_id(random) } else { None },
            kind: Kind(if random.bool() { 0 } else { random.u32(0..7) }),
            ..Message::default()
        };
        let extensions = match random.u8(0..8) {
            0 => vec![1, 2, 7, 7],
            1 if random.bool() => vec![0; EXTENSIONS_BYTES_MAX + 1],
            _ => Vec::new(),
        };
        let also = if random.bool() { clock.clone() } else { VectorClock::new() };
        let device_id = if random.u8(0..10) == 0 { "somebody".into() } else { hostile.device_id.clone() };
        let entry = Entry { message, device_id, counter, knows, also, extensions: Extensions::from(&*extensions), ..Entry::default() };
        let body = if hostile.v1 {
            let chain = log.chain_at(session_id, &hostile.device_id, next - 1).unwrap_or_default();
            let digest = if random.u8(0..8) == 0 { [7; 32] } else { entry.digest(&chain) };
            update_of(&[entry], digest)
        } else {
            let _ = clock.raise(&hostile.device_id, counter);
            let unsent = Unsent { message: entry.message, sequence_number: counter, vector_clock: clock, ..Unsent::default() };
            Body::SeedUpdate(SeedUpdate { messages: vec![unsent] })
        };
        self.hostiles[index].frame(&mut self.ctx, session_id, body)
    }

    /// A receipt for a message that is not there, or stands elsewhere.
    fn receipt(&mut self, index: usize, session_id: &str) -> Payload {
        let log = self.checker.ledger.log(session_id);
        let random = &mut self.ctx.random;
        let somewhere = log.entry(random.u64(0..=log.head())).map(|entry| entry.message.id.clone());
        let receipt = Receipt {
            message_id: somewhere.filter(|_| random.u8(0..4) > 0).unwrap_or_else(|| "nothing".into()),
            status: if random.bool() { ReceiptStatus::Read } else { ReceiptStatus::Delivered },
            timestamp: Stamp::Millis(0),
            reader_wallet: random.bool().then(|| "someone".into()),
            device_id: None,
            sequence_number: match random.u8(0..5) {
                0 => None,
                1 => Some(any_number(random)),
                _ => Some(random.u64(0..=log.head() + 2)),
            },
        };
        self.hostiles[index].frame(
            &mut self.ctx,
            session_id,
            Body::ReadReceipt(ReadReceipt { receipts: vec![receipt], ..ReadReceipt::default() }),
        )
    }

    fn request(&mut self, index: usize, session_id: &str) -> Payload {
        let random = &mut self.ctx.random;
        let count = if random.u8(0..6) == 0 { BATCH_MESSAGES_MAX } else { random.usize(0..3) };
        let request = SyncRequest {
            last_synced_sequence: any_number(random),
            sync_vector: VectorClock::new(),
            log: random.bool().then(|| LogHead { sequence: any_number(random), hash: [random.u8(..); 32] }),
            missing_ranges: (0..count).map(|_| SequenceRange { start: any_number(random), end: any_number(random) }).collect(),
            max_batch_size: random.bool().then(|| any_number(random)),
        };
        self.hostiles[index].frame(&mut self.ctx, session_id, Body::SyncRequest(request))
    }

    fn acknowledgement(&mut self, index: usize, session_id: &str) -> Payload {
        let sequence = any_number(&mut self.ctx.random);
        let ack = SyncAck { acknowledged_sequences: vec![sequence], ..SyncAck::default() };
        self.hostiles[index].frame(&mut self.ctx, session_id, Body::SyncAck(ack))
    }

    fn heartbeat(&mut self, index: usize, session_id: &str) -> Payload {
        let heartbeat = SyncHeartbeat { sequence_number: any_number(&mut self.ctx.random), ..SyncHeartbeat::default() };
        self.hostiles[index].frame(&mut self.ctx, session_id, Body::SyncHeartbeat(heartbeat))
    }

    /// A live message as the original's clients write it; only in JSON.
    fn chat(&mut self, index: usize, session_id: &str) -> Payload {
        if self.hostiles[index].encoding == Encoding::Binary {
            return self.heartbeat(index, session_id);
        }
        let random = &mut self.ctx.random;
        let chat = Chat {
            room_id: random.bool().then(|| session_id.into()),
            session_id: Some(session_id.into()),
            message: format!("hostile {}", random.u32(..)),
            sender: self.hostiles[index].wallet.into(),
            message_id: random.bool().then(|| format!("chat-{}", random.u8(..))),
            ..Chat::default()
        };
        Payload::Text(Frame { head: Head::default(), body: Body::Chat(chat) }.to_json().into())
    }

    /// More messages than the relay may hold, and then the same again and again, to be acknowledged again and again.
    fn flood(&mut self, index: usize) -> Vec<Payload> {
        let announce = self.announcement(index, FLOODED_SESSION);
        // Now and then more than the relay may hold at all.
        let count = if self.ctx.random.u8(0..6) == 0 { 30 } else { 10 };
        let Hostile { wallet, ref device_id, .. } = self.hostiles[index];
        let log = self.checker.ledger.log(FLOODED_SESSION);
        let flooded = log.head_of(device_id, log.head());
        let v1 = self.hostiles[index].v1;
        let mut chain = log.chain_at(FLOODED_SESSION, device_id, flooded).unwrap_or_default();
        let mut frame = |frame: u64| {
            let counters = flooded + frame * 200 + 1..=flooded + frame * 200 + 200;
            let entry = |counter| Entry {
                message: Message {
                    id: message_id(FLOODED_SESSION, device_id, "f100d5", counter),
                    sender_wallet: wallet.into(),
                    ciphertext: "f".into(),
                    session_id: FLOODED_SESSION.into(),
                    ..Message::default()
                },
                device_id: device_id.clone(),
                counter,
                ..Entry::default()
            };
            let entries: Vec<Entry> = counters.map(entry).collect();
            if v1 {
                chain = entries.iter().fold(chain, |chain, entry| entry.digest(&chain));
                update_of(&entries, chain)
            } else {
                let unsent = |entry: Entry| Unsent { message: entry.message, sequence_number: entry.counter, ..Unsent::default() };
                Body::SeedUpdate(SeedUpdate { messages: entries.into_iter().map(unsent).collect() })
            }
        };
        let frames: Vec<Body> = (0..count).map(&mut frame).collect();
        let again = if self.hostiles[index].deaf { 60 } else { frames.len() };
        let updates = frames.iter().cycle().take(again).cloned();
        let hostile = &self.hostiles[index];
        let updates = updates.map(|update| hostile.frame(&mut self.ctx, FLOODED_SESSION, update));
        let mut payloads: Vec<Payload> = std::iter::once(announce).chain(updates).collect();
        // And all of it is asked for, and never acknowledged.
        let request = hostile.frame(&mut self.ctx, FLOODED_SESSION, Body::SyncRequest(SyncRequest::default()));
        payloads.push(request);
        payloads
    }

    /// A message by another device than it had first, under its name, and later by its first one, though it was given up.
    fn queue_again(&mut self, index: usize, session_id: &str) -> Vec<Payload> {
        if let Some(message) = self.hostiles[index].given_up.take() {
            return self.announced(index, message);
        }
        let log = self.checker.ledger.log(session_id);
        let Hostile { wallet, ref device_id, .. } = self.hostiles[index];
        let next = log.head_of(device_id, log.head()) + 1;
        let named = self.ctx.random.bool();
        let message = Message {
            id: if named { format!("again-{}", self.ctx.random.u32(..)) } else { message_id(session_id, device_id, "aga1n0", next) },
            sender_wallet: wallet.into(),
            ciphertext: format!("{QUEUED_AGAIN}{}", self.ctx.random.u64(..)),
            session_id: session_id.into(),
            ..Message::default()
        };
        let other_id = format!("{device_id}-{}", self.ctx.random.u32(..));
        let own_id = std::mem::replace(&mut self.hostiles[index].device_id, other_id);
        let mut payloads = self.announced(index, message.clone());
        self.hostiles[index].device_id = own_id;
        if self.ctx.random.bool() {
            payloads.extend(self.announced(index, message));
        } else {
            self.hostiles[index].given_up = Some(message);
        }
        payloads
    }

    /// A message of its own, with all that the relay wants to know before.
    fn announced(&mut self, index: usize, message: Message) -> Vec<Payload> {
        let session_id = message.session_id.clone();
        let log = self.checker.ledger.log(&session_id);
        let Hostile { wallet, ref device_id, .. } = self.hostiles[index];
        let announce = DeviceAnnounce { wallet: Some(wallet.into()), ..DeviceAnnounce::default() };
        let last = log.head_of(device_id, log.head());
        // Its own id says which of its device's it is, if it is one of its device's.
        let own = parse_message_id(&message.id).filter(|(_, device, _)| device == device_id);
        let counter = own.map_or(last + 1, |(.., counter)| counter);
        let entry = Entry { message, device_id: device_id.clone(), counter, knows: log.head(), ..Entry::default() };
        let digest = entry.digest(&log.chain_at(&session_id, device_id, last).unwrap_or_default());
        let bodies = [Body::DeviceAnnounce(announce), update_of(&[entry], digest)];
        bodies.map(|body| self.hostiles[index].frame(&mut self.ctx, &session_id, body)).into()
    }

    /// What never reads asks for as much as it can get.
    fn ask_for_all(&mut self, index: usize, session_id: &str, mut payloads: Vec<Payload>) -> Vec<Payload> {
        if let Some(connection) = self.hostiles[index].connection {
            self.ctx.faults.count(Fault::NeverReads);
            self.network.block(connection, Side::Peer, u64::MAX);
        }
        let hostile = &self.hostiles[index];
        for _ in 0..4 {
            let request = SyncRequest { missing_ranges: vec![SequenceRange { start: 1, end: u64::MAX }], ..SyncRequest::default() };
            payloads.push(hostile.frame(&mut self.ctx, session_id, Body::SyncRequest(request)));
        }
        payloads
    }
}

impl Hostile {
    fn frame(&self, ctx: &mut Context, session_id: &str, body: Body) -> Payload {
        let head = Head {
            session_id: session_id.into(),
            device_id: self.device_id.clone(),
            timestamp: Stamp::Millis(1),
            message_id: format!("h{}", ctx.random.u16(..)),
            protocol_version: self.v1.then_some(PROTOCOL_VERSION),
        };
        let is_readable = if let Body::SyncUpdate(update) = &body { update.messages.entries().is_ok() } else { true };
        let frame = Frame { head, body };
        match self.encoding {
            // What no batch holds has no form in JSON.
            Encoding::Json if !is_readable => self.oversized(),
            Encoding::Json => Payload::Text(frame.to_json().into()),
            Encoding::Binary => Payload::Binary(frame.to_bytes().unwrap_or_default().into()),
        }
    }

    fn oversized(&self) -> Payload {
        match self.encoding {
            Encoding::Json => Payload::Text(format!("{{\"type\":\"sync_heartbeat\",\"x\":\"{}\"}}", "x".repeat(FRAME_BYTES_MAX)).into()),
            Encoding::Binary => Payload::Binary(vec![1; FRAME_BYTES_MAX + 1].into()),
        }
    }
}

/// An update of messages that may be such as no batch takes: then one that cannot be read.
fn update_of(entries: &[Entry], last_digest: Digest) -> Body {
    let messages = Batch::of(entries).unwrap_or_else(|_| Batch::from_bytes(b"no batch"));
    Body::SyncUpdate(SyncUpdate { messages, last_digest, ..SyncUpdate::default() })
}
