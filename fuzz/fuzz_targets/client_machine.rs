//! Frames into a device with a store in memory: what a relay would say, what none would, and any bytes.
#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_fuzz::script::Script;
use solconnect_fuzz::store::{self, Records};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Action, Client, ClientConfig, Commit, Input, SyncScope};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{
    Body, DeviceList, DeviceState, ErrorBody, Frame, Head, ReadReceiptSync, Receipt, ReceiptStatus, SyncAck, SyncHeartbeat, SyncResponse,
};
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::limits::FRAME_BYTES_MAX;
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_core::time::Now;
use solconnect_sync_core::vector_clock::VectorClock;

const WALLET: &str = "So11111111111111111111111111111111111111112";
const PEER: &str = "11111111111111111111111111111111";
const REFUSALS: [ErrorCode; 12] = [
    ErrorCode::CounterGap,
    ErrorCode::CounterReused,
    ErrorCode::RelayBusy,
    ErrorCode::RelayStorageFailed,
    ErrorCode::NotAnnounced,
    ErrorCode::NotAMember,
    ErrorCode::RelayRolledBack,
    ErrorCode::RelayForked,
    ErrorCode::AlreadyStored,
    ErrorCode::MessageIdTaken,
    ErrorCode::InvalidMessageFormat,
    ErrorCode::MessageTooLarge,
];

fuzz_target!(|bytes: &[u8]| {
    let mut device = Device::new();
    let mut script = Script(bytes);
    while let Some(step) = script.step() {
        device.take_step(step, &mut script);
    }
});

struct Device {
    client: Client,
    store: Records,
    commits: VecDeque<Commit>,
    session_id: String,
    generation: u64,
    request: u64,
    now: Now,
    /// What the relay would have; devices of it that write in turn.
    log: Vec<Entry>,
    heads: VectorClock,
}

impl Device {
    fn new() -> Device {
        let config = ClientConfig { max_batch_size: 4, ..ClientConfig::default() };
        let mut device = Device {
            client: Client::new(config, Records::default().snapshot(), 1),
            store: Records::default(),
            commits: VecDeque::new(),
            session_id: session_of(WALLET, PEER),
            generation: 0,
            request: 0,
            now: Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 },
            log: Vec::new(),
            heads: VectorClock::new(),
        };
        device.open();
        device
    }

    fn open(&mut self) {
        self.call(|request| Input::ConnectWallet { request, wallet: WALLET.into() });
        self.call(|request| Input::OpenSession { request, peer_wallet: PEER.into() });
        self.persist();
        self.feed(Input::Connected { generation: self.generation });
    }

    fn call(&mut self, input: impl FnOnce(u64) -> Input) {
        self.request += 1;
        self.feed(input(self.request));
    }

    fn persist(&mut self) {
        while let Some(commit) = self.commits.pop_front() {
            let id = commit.id;
            store::write(&mut self.store, &commit);
            self.feed(Input::Persisted { commit: id });
        }
    }

    fn feed(&mut self, input: Input) {
        let actions = bounded(|| self.client.handle(self.now, input));
        for action in actions {
            match action {
                Action::Persist(commit) => self.commits.push_back(commit),
                Action::Connect { generation } => self.generation = generation,
                Action::Transmit { frame, .. } => {
                    assert!(frame.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", frame.len());
                    let frame = Frame::from_bytes(&frame).expect("a device sends what can be read");
                    if let Body::SyncUpdate(update) = frame.body {
                        let entries = update.messages.entries().expect("a device sends batches that can be read");
                        entries.into_iter().for_each(|entry| self.sequence(entry));
                    }
                }
                Action::ReadLog { .. } => panic!("no session is encrypted here"),
                Action::Disconnect { .. } | Action::Reply { .. } | Action::Notify(_) => {}
            }
        }
    }

    /// The relay takes a message, where it would.
    fn sequence(&mut self, entry: Entry) {
        let sequence_number = self.log.len() as u64 + 1;
        let follows = entry.counter == self.heads.get(&entry.device_id) + 1 && entry.knows < sequence_number;
        if follows && self.heads.raise(&entry.device_id, entry.counter).is_ok() {
            self.log.push(Entry { sequence_number, server_timestamp: self.now.wall_ms, ..entry });
        }
    }

    fn take_step(&mut self, step: u8, script: &mut Script<'_>) {
        let session_id = self.session_id.clone();
        match step & 31 {
            0 => {
                let text = "x".repeat(1 + script.below(200));
                let message_id = script.one_of(&[None, None, Some("m1"), Some("m2")]).map(str::to_owned);
                let name = message_id.clone().map(|message_id| (session_id.clone(), message_id));
                let known = name.and_then(|name| self.store.names.get(&name).cloned());
                self.call(|request| Input::Send { request, session_id, text, content_type: None, message_id, known });
            }
            1 => {
                let message_id = self.some_id(script);
                let text = script.one_of(&[None, Some("edited")]).map(str::to_owned);
                self.call(|request| Input::Edit { request, session_id, message_id, text });
            }
            2 => {
                let (message_id, sequence_number) = (self.some_id(script), script.below(32) as u64);
                self.call(|request| Input::MarkRead { request, session_id, message_id, sequence_number });
            }
            3 => self.call(|request| Input::Sync { request, session_id: None, scope: SyncScope::Everything }),
            4 => self.call(|request| Input::CloseSession { request, session_id }),
            5 => self.open(),
            6 => self.call(|request| Input::ClearLog { request, session_id }),
            7 => self.call(|request| Input::AutoSync { request, session_id, interval_ms: Some(5_000) }),
            8 => self.feed(Input::Connected { generation: self.generation }),
            9 => self.feed(Input::Disconnected { generation: self.generation, reason: "lost".into() }),
            10 => self.feed(Input::SetOffline { offline: script.below(2) == 1 }),
            11 => self.feed(Input::Awake),
            12 | 13 => self.persist(),
            14 => {
                if let Some(commit) = self.commits.pop_front() {
                    let code = script.one_of(&[ErrorCode::StorageFull, ErrorCode::StorageError, ErrorCode::ProfileInUse]);
                    self.feed(Input::PersistFailed { commit: commit.id, error: SyncError::new(code, "disk") });
                }
            }
            15 => {
                let ms = script.number();
                self.now = Now { monotonic_ms: self.now.monotonic_ms + ms, wall_ms: self.now.wall_ms + ms };
                self.feed(Input::Timeout);
            }
            16 => {
                self.commits.clear();
                self.client = Client::new(ClientConfig::default(), self.store.snapshot(), u64::from(step));
                self.generation = 0;
                self.open();
            }
            17 => {
                let (device, known) = (script.one_of(&["phone", "other"]), script.below(2) == 1);
                let counter = self.heads.get(device) + 1;
                let knows = if known { self.log.len() as u64 } else { 0 };
                let id = script
                    .one_of(&[None, None, None, Some("m1")])
                    .map_or_else(|| message_id(&session_id, device, "", counter), str::to_owned);
                let replaces = script.one_of(&[false, true]).then(|| self.some_id(script));
                let kind = if replaces.is_some() { script.one_of(&[Kind::EDIT, Kind::DELETION, Kind(77)]) } else { Kind::MESSAGE };
                let sender_wallet = script.one_of(&[PEER, WALLET]).to_owned();
                let message = Message { id, sender_wallet, session_id, ciphertext: "hello".into(), replaces, kind, ..Message::default() };
                self.sequence(Entry { message, device_id: device.to_owned(), counter, knows, ..Entry::default() });
            }
            18 => {
                let entries = self.some_entries(script);
                self.call(|request| Input::Import { request, peer_wallet: PEER.into(), entries });
            }
            19 => {
                let frame = script.bytes().into();
                self.feed(Input::Received { generation: self.generation, frame });
            }
            kind => {
                let body = self.relay_says(kind, script);
                let head = Head { session_id, device_id: "server".into(), ..Head::default() };
                let frame = Frame { head, body }.to_bytes().unwrap_or_default().into();
                self.feed(Input::Received { generation: self.generation, frame });
            }
        }
    }

    fn relay_says(&mut self, kind: u8, script: &mut Script<'_>) -> Body {
        let latest = self.log.len() as u64;
        match kind {
            20..=23 => {
                let entries = self.some_entries(script);
                let latest_sequence = script.one_of(&[latest, latest, latest + 3, 0]);
                let request = format!("{}-{}", self.generation, script.below(32));
                let in_reply_to = script.one_of(&[false, true]).then_some(request);
                let messages = Batch::of(&entries).unwrap_or_default();
                let log = self.some_head(script);
                Body::SyncResponse(SyncResponse { messages, latest_sequence, in_reply_to, log, ..SyncResponse::default() })
            }
            24 | 25 => {
                let entries = self.some_entries(script);
                Body::SyncAck(SyncAck {
                    acknowledged_sequences: entries.iter().map(|entry| entry.sequence_number).collect(),
                    acknowledged_counters: entries.iter().map(|entry| entry.counter).collect(),
                    log: self.some_head(script),
                    server_timestamps: entries.iter().map(|entry| entry.server_timestamp).collect(),
                    ..SyncAck::default()
                })
            }
            26 => {
                let (sequence_number, log) = (script.one_of(&[latest, 0, latest + 1]), self.some_head(script));
                Body::SyncHeartbeat(SyncHeartbeat { sequence_number, log, ..SyncHeartbeat::default() })
            }
            27 => {
                let device = DeviceState { device_id: script.one_of(&["phone", "other"]).into(), ..DeviceState::default() };
                Body::DeviceList(DeviceList { devices: vec![device] })
            }
            28 | 29 => Body::ReadReceiptSync(ReadReceiptSync {
                receipts: vec![Receipt {
                    message_id: self.some_id(script),
                    status: script.one_of(&[ReceiptStatus::Delivered, ReceiptStatus::Read]),
                    reader_wallet: Some(script.one_of(&[PEER, WALLET, "w"]).into()),
                    sequence_number: Some(script.below(32) as u64),
                    ..Receipt::default()
                }],
            }),
            _ => Body::Error(ErrorBody {
                session_id: Some(self.session_id.clone()),
                refused_message_id: script.one_of(&[false, true]).then(|| self.some_id(script)),
                stored_sequence: script.one_of(&[None, Some(0), Some(1), Some(9)]),
                expected_counter: script.one_of(&[None, Some(0), Some(1), Some(2), Some(9)]),
                ..ErrorBody::new(&SyncError::new(script.one_of(&REFUSALS), "no"))
            }),
        }
    }

    /// A part of the log; now and then with a byte of it changed.
    fn some_entries(&self, script: &mut Script<'_>) -> Vec<Entry> {
        let (from, count, twist) = (script.below(64), script.below(8), script.below(16));
        let mut entries: Vec<Entry> = self.log[from.min(self.log.len())..].iter().take(count).cloned().collect();
        if let Some(entry) = entries.last_mut() {
            match twist {
                1 => entry.sequence_number += 1,
                2 => entry.device_id = "another".into(),
                3 => drop(entry.also.raise("phone", 9)),
                5 => entry.counter += 1,
                6 => entry.knows = 0,
                4 => entry.message.ciphertext.push('!'),
                _ => {}
            }
        }
        entries
    }

    /// What the relay says of its log: nothing, or that of another.
    fn some_head(&self, script: &mut Script<'_>) -> Option<LogHead> {
        let sequence = self.client.stored_sessions().first().map_or(0, |session| session.last_synced_sequence);
        script.one_of(&[None, None, None, Some(LogHead { sequence, hash: [7; 32] })])
    }

    /// The id of a message of this device or another, that may exist.
    fn some_id(&self, script: &mut Script<'_>) -> String {
        let queued: Vec<String> = self.client.queued().into_iter().map(|view| view.id).collect();
        match script.below(4) {
            0 if !queued.is_empty() => queued[script.below(queued.len().min(256))].clone(),
            1 => "m1".into(),
            _ => message_id(&self.session_id, script.one_of(&[self.client.device_id(), "phone"]), "", 1 + script.below(8) as u64),
        }
    }
}
