//! A relay with its journal in memory, whose every frame is read as a device would.

use std::collections::{BTreeMap, VecDeque};

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::{
    Body, DeviceAnnounce, Encoding, Frame, Head, ListedSession, PROTOCOL_VERSION, Payload, SyncRequest, SyncUpdate,
};
use solconnect_sync_core::ids::is_sealed_id;
use solconnect_sync_core::limits::FRAME_BYTES_MAX;
use solconnect_sync_core::message::Message;
use solconnect_sync_core::relay::{
    Action, ConnectionId, DeviceRow, GroupRow, Input, JournalAnswer, JournalQuestion, MemberRow, Relay, StoredEntry, StoredSession, Ticket,
    WatermarkRow,
};
use solconnect_sync_core::time::Now;
use solconnect_sync_core::vector_clock::VectorClock;

use crate::bounded;

/// What is stored of one session.
#[derive(Default)]
struct Rows {
    entries: Vec<StoredEntry>,
    devices: BTreeMap<String, DeviceRow>,
    watermarks: BTreeMap<String, WatermarkRow>,
    members: BTreeMap<String, MemberRow>,
    group: Option<GroupRow>,
    epochs: Option<Vec<u8>>,
}

impl Rows {
    fn last_written(&self) -> u64 {
        self.entries.iter().rfind(|entry| entry.is_written()).map_or(0, |entry| entry.sequence)
    }
}

/// The machine, its journal, and the questions that are not answered yet.
pub struct World {
    relay: Relay,
    sessions: BTreeMap<String, Rows>,
    /// Questions without an answer yet, oldest first.
    pub questions: VecDeque<(Ticket, JournalQuestion)>,
    /// Connections that are open.
    pub open: BTreeMap<ConnectionId, Encoding>,
    /// The present moment.
    pub now: Now,
    /// What connections heard, oldest first, until somebody takes it.
    pub heard: Vec<(ConnectionId, Frame)>,
}

impl Default for World {
    fn default() -> Self {
        World::of(Relay::new())
    }
}

impl World {
    /// A relay that knows nobody yet.
    pub fn of(relay: Relay) -> World {
        World {
            relay,
            sessions: BTreeMap::new(),
            questions: VecDeque::new(),
            open: BTreeMap::new(),
            now: Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 },
            heard: Vec::new(),
        }
    }

    /// One input, within the bounds.
    pub fn feed(&mut self, input: Input) {
        let actions = bounded(|| self.relay.handle(self.now, input));
        for action in actions {
            match action {
                Action::Transmit { connection, payload } => {
                    if let Some(encoding) = self.open.get(&connection) {
                        self.heard.push((connection, check_transmitted(*encoding, &payload)));
                    }
                }
                Action::Disconnect { connection, .. } => drop(self.open.remove(&connection)),
                Action::Journal { ticket, question } => self.questions.push_back((ticket, question)),
                Action::Log { .. } => {}
            }
        }
    }

    /// A socket opens.
    pub fn open(&mut self, connection: ConnectionId, encoding: Encoding) {
        if self.open.insert(connection, encoding).is_none() {
            self.feed(Input::Opened { connection, encoding, source: None });
        }
    }

    /// A frame arrives, in the form of its connection.
    pub fn receive(&mut self, connection: ConnectionId, frame: &Frame) {
        let Some(encoding) = self.open.get(&connection) else { return };
        let payload = match encoding {
            Encoding::Json => Payload::Text(frame.to_json().into()),
            Encoding::Binary => Payload::Binary(frame.to_bytes().unwrap_or_default().into()),
        };
        self.feed(Input::Received { connection, payload });
    }

    /// The journal answers the oldest question, or fails.
    pub fn answer(&mut self, fails: bool) {
        let Some((ticket, question)) = self.questions.pop_front() else { return };
        let answer = if fails { Some(JournalAnswer::Failed { reason: "disk".into() }) } else { self.ask(question) };
        if let Some(answer) = answer {
            self.feed(Input::Journal { ticket, answer });
        }
    }

    fn ask(&mut self, question: JournalQuestion) -> Option<JournalAnswer> {
        Some(match question {
            JournalQuestion::Load { session_id } => {
                let rows = self.sessions.entry(session_id).or_default();
                JournalAnswer::Session(StoredSession {
                    head: rows.entries.len() as u64,
                    log_hash: rows.entries.last().map_or([0; 32], |entry| entry.log_hash),
                    last_written: rows.last_written(),
                    has_keys: rows.entries.iter().any(|entry| entry.key.is_some()),
                    devices: rows.devices.values().cloned().collect(),
                    watermarks: rows.watermarks.values().cloned().collect(),
                    members: rows.members.values().filter(|row| !row.left).cloned().collect(),
                    group: rows.group.clone(),
                    epochs: rows.epochs.clone(),
                })
            }
            JournalQuestion::Append { session_id, entries, devices, members, group, epochs } => {
                let rows = self.sessions.entry(session_id).or_default();
                for entry in entries {
                    assert_eq!(entry.sequence, rows.entries.len() as u64 + 1, "sequences follow each other (I5)");
                    let same = |old: &&StoredEntry| {
                        (&old.device_id, old.counter) == (&entry.device_id, entry.counter) || (old.key.is_some() && old.key == entry.key)
                    };
                    assert_eq!(rows.entries.iter().find(same), None, "a counter or key is stored once (I3)");
                    rows.entries.push(entry);
                }
                rows.devices.extend(devices.into_iter().map(|row| (row.device_id.clone(), row)));
                rows.members.extend(members.into_iter().map(|row| (row.wallet.clone(), row)));
                rows.group = group.or_else(|| rows.group.take());
                rows.epochs = epochs.or_else(|| rows.epochs.take());
                JournalAnswer::Appended
            }
            JournalQuestion::Read { session_id, from, count_max, .. } => {
                let rows = self.sessions.entry(session_id).or_default();
                JournalAnswer::Entries(rows.entries.iter().filter(|entry| entry.sequence >= from).take(count_max).cloned().collect())
            }
            JournalQuestion::Find { session_id, counters, keys, places } => {
                let rows = self.sessions.entry(session_id).or_default();
                let wanted = |entry: &&StoredEntry| {
                    counters.contains(&(entry.device_id.clone(), entry.counter))
                        || entry.key.as_ref().is_some_and(|key| keys.contains(key))
                        || places.contains(&entry.sequence)
                };
                JournalAnswer::Entries(rows.entries.iter().filter(wanted).cloned().collect())
            }
            JournalQuestion::Clocks { session_id, at } => {
                let rows = self.sessions.entry(session_id).or_default();
                let clock_at = |sequence: u64| {
                    let mut clock = VectorClock::new();
                    for entry in rows.entries.iter().take_while(|entry| entry.sequence <= sequence) {
                        clock.raise(&entry.device_id, entry.counter).expect("counters that were checked");
                    }
                    clock
                };
                JournalAnswer::Clocks(at.into_iter().map(clock_at).collect())
            }
            JournalQuestion::Sessions { wallet, count_max, account_id, sealed, .. } => {
                let listed = |(id, rows): (&String, &Rows)| {
                    let is_told = |row: &&MemberRow| !row.left && row.account_id == account_id;
                    let MemberRow { peer_wallet, joined, .. } = rows.members.get(&wallet).filter(is_told)?.clone();
                    let name = rows.group.as_ref().map(|group| group.name.clone());
                    Some(ListedSession { session_id: id.clone(), peer_wallet, latest_sequence: rows.last_written(), joined, name })
                };
                JournalAnswer::Sessions(
                    self.sessions.iter().filter(|(id, _)| is_sealed_id(id) == sealed).filter_map(listed).take(count_max).collect(),
                )
            }
            JournalQuestion::Note { session_id, devices, watermarks, members } => {
                let rows = self.sessions.entry(session_id).or_default();
                rows.members.extend(members.into_iter().map(|row| (row.wallet.clone(), row)));
                for row in devices {
                    let old = rows.devices.get(&row.device_id).cloned().unwrap_or_default();
                    let DeviceRow { last_counter, last_sequence, last_digest, .. } = old;
                    rows.devices.insert(row.device_id.clone(), DeviceRow { last_counter, last_sequence, last_digest, ..row });
                }
                rows.watermarks.extend(watermarks.into_iter().map(|row| (row.wallet.clone(), row)));
                return None;
            }
        })
    }
}

/// A device must be able to read it: so it does.
fn check_transmitted(encoding: Encoding, payload: &Payload) -> Frame {
    assert!(payload.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", payload.len());
    let frame = match (encoding, payload) {
        (Encoding::Json, Payload::Text(text)) => Frame::parse(text),
        (Encoding::Binary, Payload::Binary(bytes)) => Frame::from_bytes(bytes),
        _ => panic!("a frame in the form of another connection"),
    };
    let frame = frame.unwrap_or_else(|error| panic!("the relay sends what cannot be read: {error}"));
    if let Body::SyncResponse(response) = &frame.body {
        let entries = response.messages.entries().expect("the relay sends batches that can be read");
        let first = entries.first().map_or(0, |entry| entry.sequence_number);
        assert!(entries.iter().zip(first..).all(|(entry, sequence)| entry.sequence_number == sequence), "a hole in a batch (I5)");
    }
    frame
}

/// The head of a frame of a device that keeps the rules.
pub fn head(session_id: &str, device_id: &str) -> Head {
    Head {
        session_id: session_id.into(),
        device_id: device_id.into(),
        message_id: "1-1".into(),
        protocol_version: Some(PROTOCOL_VERSION),
        ..Head::default()
    }
}

/// A relay whose journal holds this as the body of an entry, and serves it: as part of the log, and to tell a repeat.
pub fn serve_stored(body: Batch) {
    let mut world = World::default();
    let stored = StoredEntry { sequence: 1, device_id: "d".into(), counter: 1, key: None, log_hash: [0; 32], signature: None, body };
    let row = DeviceRow { device_id: "d".into(), last_counter: 1, last_sequence: 1, ..DeviceRow::default() };
    world.sessions.insert("room".into(), Rows { entries: vec![stored], devices: [("d".into(), row)].into(), ..Rows::default() });
    world.open(1, Encoding::Binary);
    let message = Message { id: "room:d:1".into(), session_id: "room".into(), ..Message::default() };
    let unsent = Entry { message, device_id: "d".into(), counter: 1, ..Entry::default() };
    let messages = Batch::of(&[unsent]).expect("a message");
    let bodies = [
        Body::DeviceAnnounce(DeviceAnnounce::default()),
        Body::SyncRequest(SyncRequest::default()),
        Body::SyncUpdate(SyncUpdate { messages, ..SyncUpdate::default() }),
    ];
    for body in bodies {
        world.receive(1, &Frame { head: head("room", "d"), body });
        while !world.questions.is_empty() {
            world.answer(false);
        }
    }
}
