//! A relay with its journal in memory, and connections that say and hear frames in JSON: single steps, nothing by chance.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Digest, Entry, first_digest};
use solconnect_sync_core::frame::{Encoding, Frame, ListedSession, Payload};
use solconnect_sync_core::ids::is_sealed_id;
use solconnect_sync_core::limits::CLOCK_DEVICES_MAX;
use solconnect_sync_core::log::{DeviceHead, Log};
use solconnect_sync_core::message::Message;
use solconnect_sync_core::relay::{
    Action, ConnectionId, Counts, DeviceRow, GroupRow, Input, JournalAnswer, JournalQuestion, MemberRow, Reading, Relay, Source,
    StoredEntry, StoredSession, Ticket, WatermarkRow,
};
use solconnect_sync_core::time::Now;
use solconnect_sync_core::vector_clock::VectorClock;

pub const ROOM: &str = "room";
pub const WALLETS: [&str; 2] = ["So11111111111111111111111111111111111111112", "11111111111111111111111111111111"];

/// What the journal has of a session.
#[derive(Default, Clone)]
pub struct Rows {
    pub entries: Vec<StoredEntry>,
    pub devices: BTreeMap<String, DeviceRow>,
    pub watermarks: BTreeMap<String, WatermarkRow>,
    pub members: BTreeMap<String, MemberRow>,
    pub group: Option<GroupRow>,
    pub epochs: Option<Vec<u8>>,
    /// Counts sessions in the order in which they were stored.
    number: usize,
}

impl Rows {
    /// The last entry that a person wrote, 0 for none.
    fn last_written(&self) -> u64 {
        self.entries.iter().rfind(|entry| entry.is_written()).map_or(0, |entry| entry.sequence)
    }

    /// The highest counter of each device up to a place.
    fn clock(&self, place: u64) -> VectorClock {
        let mut clock = VectorClock::new();
        for entry in self.entries.iter().filter(|entry| entry.sequence <= place) {
            clock.raise(&entry.device_id, entry.counter).expect("a counter");
        }
        clock
    }

    /// The journal is told of nothing that it has.
    fn keep_members(&mut self, members: Vec<MemberRow>) {
        for row in members {
            assert_ne!(self.members.get(&row.wallet), Some(&row), "it is stored already");
            self.members.insert(row.wallet.clone(), row);
        }
    }

    /// The log that they are.
    fn log(&self) -> Log {
        let Some(last) = self.entries.last() else { return Log::new(ROOM) };
        let head = |row: &DeviceRow| DeviceHead {
            device_id: row.device_id.as_str().into(),
            counter: row.last_counter,
            sequence: row.last_sequence,
            digest: row.last_digest,
        };
        Log::restore(last.sequence, last.log_hash, self.devices.values().map(head).collect())
    }
}

pub struct Rooms {
    relay: Relay,
    /// How one begins.
    make: fn() -> Relay,
    pub now: Now,
    pub journal: BTreeMap<String, Rows>,
    /// Questions that wait for `answer`; others are answered at once.
    pub held: Option<VecDeque<(Ticket, JournalQuestion)>>,
    /// Every question, by its kind.
    pub asked: Vec<&'static str>,
    binary: Vec<ConnectionId>,
    heard: BTreeMap<ConnectionId, Vec<Payload>>,
    pub closed: Vec<(ConnectionId, u16)>,
    /// Sockets that take nothing.
    pub stuck: Vec<ConnectionId>,
    pub logged: Vec<String>,
    /// The digests of what v1 devices said last, by device and counter.
    said: BTreeMap<(String, u64), Digest>,
}

impl Rooms {
    pub fn new() -> Rooms {
        Rooms::over(Relay::new)
    }

    /// The same over another relay.
    pub fn over(make: fn() -> Relay) -> Rooms {
        Rooms {
            relay: make(),
            make,
            now: Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 },
            journal: BTreeMap::new(),
            held: None,
            asked: Vec::new(),
            binary: Vec::new(),
            heard: BTreeMap::new(),
            closed: Vec::new(),
            stuck: Vec::new(),
            logged: Vec::new(),
            said: BTreeMap::new(),
        }
    }

    /// The relay dies and starts again over the same journal.
    pub fn restart(&mut self) {
        self.relay = (self.make)();
        self.heard.clear();
    }

    pub fn open(&mut self, connection: ConnectionId) {
        self.feed(Input::Opened { connection, encoding: Encoding::Json, source: None });
    }

    /// The same from an address that is counted.
    pub fn open_from(&mut self, connection: ConnectionId, source: u128) {
        self.feed(Input::Opened { connection, encoding: Encoding::Json, source: Some(Source(source)) });
    }

    /// A connection that speaks the binary form; what it says and hears is shown as JSON all the same.
    pub fn open_binary(&mut self, connection: ConnectionId) {
        self.binary.push(connection);
        self.feed(Input::Opened { connection, encoding: Encoding::Binary, source: None });
    }

    pub fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.relay.handle(self.now, input) {
                match action {
                    Action::Transmit { connection, payload } => {
                        let bytes = payload.len();
                        self.heard.entry(connection).or_default().push(payload);
                        if !self.stuck.contains(&connection) {
                            inputs.push_back(Input::Sent { connection, bytes });
                        }
                    }
                    Action::Disconnect { connection, code, .. } => self.closed.push((connection, code)),
                    Action::Journal { ticket, question } => match &mut self.held {
                        Some(held) if !matches!(question, JournalQuestion::Note { .. }) => held.push_back((ticket, question)),
                        _ => inputs.extend(self.ask(question).map(|answer| Input::Journal { ticket, answer })),
                    },
                    Action::Log { text } => self.logged.push(text),
                }
            }
        }
    }

    /// The journal answers the oldest question that it holds, or fails.
    pub fn answer(&mut self, fails: bool) {
        let (ticket, question) = self.held.as_mut().and_then(VecDeque::pop_front).expect("a question waits");
        let answer = if fails { Some(JournalAnswer::Failed { reason: "disk".into() }) } else { self.ask(question) };
        self.feed(Input::Journal { ticket, answer: answer.expect("questions that are held have answers") });
    }

    pub fn ask(&mut self, question: JournalQuestion) -> Option<JournalAnswer> {
        self.asked.push(match &question {
            JournalQuestion::Load { .. } => "load",
            JournalQuestion::Append { .. } => "append",
            JournalQuestion::Read { .. } => "read",
            JournalQuestion::Find { .. } => "find",
            JournalQuestion::Clocks { .. } => "clocks",
            JournalQuestion::Sessions { .. } => "sessions",
            JournalQuestion::Note { .. } => "note",
        });
        Some(match question {
            JournalQuestion::Load { session_id } => {
                let rows = self.journal.entry(session_id).or_default();
                JournalAnswer::Session(StoredSession {
                    head: rows.entries.len() as u64,
                    log_hash: rows.entries.last().map(|entry| entry.log_hash).unwrap_or_default(),
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
                let number = self.journal.len();
                let rows = self.journal.entry(session_id).or_default();
                if rows.entries.is_empty() {
                    rows.number = number;
                }
                rows.keep_members(members);
                rows.group = group.or_else(|| rows.group.take());
                rows.epochs = epochs.or_else(|| rows.epochs.take());
                for entry in entries {
                    assert_eq!(entry.sequence, rows.entries.len() as u64 + 1, "I5");
                    rows.entries.push(entry);
                }
                rows.devices.extend(devices.into_iter().map(|row| (row.device_id.clone(), row)));
                JournalAnswer::Appended
            }
            JournalQuestion::Read { session_id, from, count_max, bytes_max } => {
                let rows = self.journal.entry(session_id).or_default();
                let mut bytes = 0;
                let fits = |entry: &&StoredEntry| {
                    bytes += entry.body.bytes().len();
                    bytes == entry.body.bytes().len() || bytes <= bytes_max
                };
                let read = rows.entries.iter().filter(|entry| entry.sequence >= from).take(count_max).take_while(fits);
                JournalAnswer::Entries(read.cloned().collect())
            }
            JournalQuestion::Find { session_id, counters, keys, places } => {
                let rows = self.journal.entry(session_id).or_default();
                let wanted = |entry: &&StoredEntry| {
                    counters.contains(&(entry.device_id.clone(), entry.counter))
                        || entry.key.as_ref().is_some_and(|key| keys.contains(key))
                        || places.contains(&entry.sequence)
                };
                JournalAnswer::Entries(rows.entries.iter().filter(wanted).cloned().collect())
            }
            JournalQuestion::Clocks { session_id, at } => {
                let rows = self.journal.entry(session_id).or_default();
                JournalAnswer::Clocks(at.into_iter().map(|place| rows.clock(place)).collect())
            }
            JournalQuestion::Sessions { wallet, after, count_max, account_id, sealed } => {
                let mut found: Vec<_> = self.journal.iter().filter_map(|(id, rows)| Some((id, rows, rows.members.get(&wallet)?))).collect();
                found.retain(|(id, _, member)| !member.left && member.account_id == account_id && is_sealed_id(id) == sealed);
                found.sort_by_key(|(_, rows, member)| std::cmp::Reverse((member.joined, rows.number)));
                let start = after.map_or(0, |after| found.iter().position(|(id, ..)| **id == after).map_or(usize::MAX, |place| place + 1));
                let listed = |(id, rows, member): (&String, &Rows, &MemberRow)| ListedSession {
                    session_id: id.clone(),
                    peer_wallet: member.peer_wallet.clone(),
                    latest_sequence: if member.since > 0 { member.since } else { rows.last_written() },
                    joined: member.joined,
                    name: rows.group.as_ref().map(|group| group.name.clone()),
                };
                JournalAnswer::Sessions(found.into_iter().skip(start).take(count_max).map(listed).collect())
            }
            JournalQuestion::Note { session_id, devices, watermarks, members } => {
                let rows = self.journal.entry(session_id).or_default();
                rows.keep_members(members);
                for row in devices {
                    let DeviceRow { last_counter, last_sequence, last_digest, .. } =
                        rows.devices.get(&row.device_id).cloned().unwrap_or_default();
                    rows.devices.insert(row.device_id.clone(), DeviceRow { last_counter, last_sequence, last_digest, ..row });
                }
                rows.watermarks.extend(watermarks.into_iter().map(|row| (row.wallet.clone(), row)));
                return None;
            }
        })
    }

    pub fn timeout(&mut self, after_ms: u64) {
        self.now.monotonic_ms += after_ms;
        self.now.wall_ms += after_ms;
        self.feed(Input::Timeout);
    }

    /// Time passes until members have been told who came and left.
    pub fn lists(&mut self) {
        self.timeout(50 + 1_024);
    }

    pub fn reading(&self, connection: ConnectionId) -> Reading {
        self.relay.reading(connection)
    }

    pub fn counts(&self) -> Counts {
        self.relay.counts()
    }

    pub fn next_timeout_ms(&self) -> Option<u64> {
        self.relay.next_timeout_ms()
    }

    /// Says a frame, which is JSON. An update of a v1 device that names no digest gets the right one.
    pub fn say(&mut self, connection: ConnectionId, frame: &Value) {
        let mut frame = frame.clone();
        if frame["type"] == "sync_update" && !frame["protocolVersion"].is_null() && frame.get("lastDigest").is_none() {
            frame["lastDigest"] = json!(self.last_digest(&frame["messages"]));
        }
        let text = frame.to_string();
        let payload = if self.binary.contains(&connection) {
            Payload::Binary(Frame::parse(&text).expect("a frame").to_bytes().expect("a frame of a v1 client").into())
        } else {
            Payload::Text(text.into())
        };
        self.feed(Input::Received { connection, payload });
    }

    /// The digest of the last message of an update in hex: of the chain that the journal has, or of what was said before it.
    pub fn last_digest(&mut self, messages: &Value) -> String {
        let entries: Vec<Entry> = serde_json::from_value(messages.clone()).unwrap_or_default();
        let mut digest = Digest::default();
        for (place, entry) in entries.iter().enumerate() {
            let device = &entry.device_id;
            if place == 0 {
                let stored = self.journal.get(ROOM).and_then(|rows| rows.devices.get(device));
                let stored = stored.filter(|row| row.last_counter + 1 == entry.counter && row.last_counter > 0).map(|row| row.last_digest);
                let said = || self.said.get(&(device.clone(), entry.counter.wrapping_sub(1))).copied();
                digest = stored.or_else(said).unwrap_or_else(|| first_digest(ROOM, device));
            }
            digest = entry.digest(&digest);
            self.said.insert((device.clone(), entry.counter), digest);
        }
        hex(&digest)
    }

    /// As many devices as a session may have, each of which has written a message.
    pub fn fill(&mut self) {
        let rows = self.journal.entry(ROOM.into()).or_default();
        let mut log = rows.log();
        for device in (0..CLOCK_DEVICES_MAX).map(|number| format!("d{number}")) {
            if log.counter(&device) > 0 || log.heads().len() >= CLOCK_DEVICES_MAX {
                continue;
            }
            let message = Message { id: format!("{ROOM}:{device}:{START}:1"), session_id: ROOM.into(), ..Message::default() };
            let sequence = log.end() + 1;
            let entry = Entry { message, device_id: device.clone(), counter: 1, sequence_number: sequence, ..Entry::default() };
            log.take(&entry).expect("it follows");
            let head = log.head(&device).expect("it has written");
            let row = DeviceRow {
                device_id: device.clone(),
                last_counter: 1,
                last_sequence: sequence,
                last_digest: head.digest,
                ..DeviceRow::default()
            };
            let body = Batch::of(&[entry]).expect("a batch");
            rows.devices.insert(device.clone(), row);
            rows.entries.push(StoredEntry {
                sequence,
                device_id: device,
                counter: 1,
                key: None,
                log_hash: log.hash(),
                signature: None,
                body,
            });
        }
    }

    /// How many bytes each frame has that a connection has heard since it was last asked.
    pub fn lengths(&self, connection: ConnectionId) -> Vec<usize> {
        self.heard.get(&connection).map(|heard| heard.iter().map(Payload::len).collect()).unwrap_or_default()
    }

    /// What a connection has heard since it was last asked.
    pub fn hear(&mut self, connection: ConnectionId) -> Vec<Value> {
        let heard = self.heard.remove(&connection).unwrap_or_default();
        let json = |payload: Payload| match payload {
            Payload::Text(text) => serde_json::from_str(&text).expect("the relay says JSON"),
            Payload::Binary(bytes) => serde_json::from_str(&Frame::from_bytes(&bytes).expect("a frame").to_json()).expect("JSON"),
        };
        heard.into_iter().map(json).collect()
    }

    /// The same as it was transmitted.
    pub fn take(&mut self, connection: ConnectionId) -> Vec<Payload> {
        self.heard.remove(&connection).unwrap_or_default()
    }

    /// The frames of one type that a connection has heard; `error` and `chat` for those that have none.
    pub fn hear_only(&mut self, connection: ConnectionId, kind: &str) -> Vec<Value> {
        let kind_of = |frame: &Value| match &frame["type"] {
            Value::String(kind) => kind.clone(),
            _ if frame.get("error").is_some() => "error".into(),
            _ => "chat".into(),
        };
        self.hear(connection).into_iter().filter(|frame| kind_of(frame) == kind).collect()
    }

    /// Opens a connection of a v1 device, which announces itself and asks for all.
    pub fn join(&mut self, connection: ConnectionId, device: &str, wallet: &str) {
        self.open(connection);
        self.say(connection, &announce(device, wallet));
        self.say(connection, &v1(device, "sync_request", json!({ "lastSyncedSequence": 0 })));
        self.hear(connection);
    }

    /// The entries of the journal.
    pub fn log(&self) -> Vec<Entry> {
        let rows = self.journal.get(ROOM).map(|rows| rows.entries.as_slice()).unwrap_or_default();
        rows.iter().map(|stored| stored.body.entries().expect("a body").remove(0)).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        self.log().into_iter().map(|entry| entry.message.ciphertext).collect()
    }
}

/// Two v1 devices of two wallets, who are there.
pub fn two() -> Rooms {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    rooms.join(2, "b", WALLETS[1]);
    rooms.hear(1);
    rooms
}

/// The one error that a connection has heard.
pub fn the_error(rooms: &mut Rooms, connection: u64) -> Value {
    let mut errors = rooms.hear_only(connection, "error");
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

/// A frame of a seed client.
pub fn seed(device: &str, kind: &str, fields: Value) -> Value {
    let mut frame = json!({ "type": kind, "sessionId": ROOM, "deviceId": device, "timestamp": 5, "messageId": format!("{kind}-1") });
    frame.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
    frame
}

/// A frame of a v1 client.
pub fn v1(device: &str, kind: &str, fields: Value) -> Value {
    let mut frame = seed(device, kind, fields);
    frame["protocolVersion"] = json!(1);
    frame
}

pub fn announce(device: &str, wallet: &str) -> Value {
    v1(device, "device_announce", json!({ "deviceInfo": { "platform": "web", "version": "1" }, "wallet": wallet }))
}

/// The start in the ids of all messages of v1 devices.
pub const START: &str = "start0";

/// The id of a v1 device's message.
pub fn id_of(device: &str, counter: u64) -> String {
    format!("{ROOM}:{device}:{START}:{counter}")
}

/// A digest as it stands in JSON.
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An unsent message of a v1 device that knows the log up to `knows`.
pub fn unsent(device: &str, wallet: &str, counter: u64, text: &str, knows: u64) -> Value {
    let message = json!({ "id": id_of(device, counter), "sender_wallet": wallet, "ciphertext": text, "session_id": ROOM,
        "timestamp": "2023-11-14T22:13:20.000Z" });
    json!({ "message": message, "originalDeviceId": device, "counter": counter, "knows": knows, "serverTimestamp": 7 })
}

/// An update with one message.
pub fn update(device: &str, wallet: &str, counter: u64, text: &str) -> Value {
    v1(device, "sync_update", json!({ "messages": [unsent(device, wallet, counter, text, 0)] }))
}

/// A chat frame of a seed client.
pub fn chat(sender: &str, text: &str) -> Value {
    json!({ "roomId": ROOM, "message": text, "sender": sender, "timestamp": "2020-02-20T20:20:20.020Z" })
}

/// The one acknowledgement that a connection has heard.
pub fn the_ack(rooms: &mut Rooms, connection: u64) -> Value {
    let mut acks = rooms.hear_only(connection, "sync_ack");
    assert_eq!(acks.len(), 1, "{acks:?}");
    acks.remove(0)
}

/// A message of a seed client's update.
pub fn seed_unsent(number: u64, text: &str) -> Value {
    let message = json!({ "id": format!("m{number}"), "sender_wallet": "w", "ciphertext": text, "timestamp": number });
    json!({ "message": message, "sequenceNumber": number, "vectorClock": { "s": number }, "localTimestamp": number })
}
