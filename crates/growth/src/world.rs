//! The real machines and the real journal in one process: what one side transmits the other takes next. There is no
//! network, and a device's store is a map of the bytes that a browser would write.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use cpu_time::{ProcessTime, ThreadTime};
use serde_json::json;
use solconnect_relay::journal::{Answer, Journal};
use solconnect_sync_core::client::{
    self, Client, ClientConfig, DeviceRecord, Event, Generation, HeadsRecord, OutboxRecord, RequestId, SessionRecord, Snapshot, Write,
};
use solconnect_sync_core::frame::{Encoding, Payload};
use solconnect_sync_core::relay::{self, ConnectionId, DeviceRow, JournalQuestion, MemberRow, Relay, StoredEntry, WatermarkRow};
use solconnect_sync_core::time::Now;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::ALLOCATOR;

/// A device's place among the devices of its world.
pub type Place = usize;

/// Frames and their bytes, without what a WebSocket adds.
#[derive(Default, Clone, Copy)]
pub struct Traffic {
    pub frames: u64,
    pub bytes: u64,
}

impl Traffic {
    fn count(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    fn since(self, before: Traffic) -> Traffic {
        Traffic { frames: self.frames - before.frames, bytes: self.bytes - before.bytes }
    }
}

/// What something cost, with one device in view.
pub struct Cost {
    /// From beginning to end.
    pub elapsed_ms: f64,
    /// Of the processor, for all: devices, relay and journal. What else the machine does counts for little.
    pub work_ms: f64,
    /// Of it for that device.
    pub device_ms: f64,
    /// From that device.
    pub up: Traffic,
    /// To that device.
    pub down: Traffic,
    /// To all devices.
    pub all_down: Traffic,
    /// What that device wrote to its store, in bytes of records.
    pub stored: u64,
    /// What all devices wrote.
    pub all_stored: u64,
    /// What the journal was given to write: entries, devices and receipts.
    pub journaled: u64,
}

/// What a browser would hold, but for the log: that is written and never read here.
#[derive(Default)]
struct Store {
    device: Option<Vec<u8>>,
    sessions: BTreeMap<String, Vec<u8>>,
    heads: BTreeMap<String, Vec<u8>>,
    outbox: BTreeMap<(String, u64), Vec<u8>>,
}

impl Store {
    /// Returns the bytes of the record that was written; none for what only leaves or is joined.
    fn write(&mut self, write: Write) -> u64 {
        let bytes = match &write {
            Write::Device(record) => record.to_bytes(),
            // No device signs in here.
            Write::Identity(record) => record.to_bytes(),
            Write::Account(record) => record.to_bytes(),
            Write::Session(record) => record.to_bytes(),
            Write::Heads(record) => record.to_bytes(),
            Write::Outbox(record) => record.to_bytes(),
            Write::Log(record) => record.to_bytes(),
            Write::Versions(record) => record.to_bytes(),
            Write::Name(record) => record.to_bytes(),
            Write::Failed(record) => record.to_bytes(),
            Write::Invitation(record) => record.to_bytes(),
            Write::Call(record) => record.to_bytes(),
            Write::ForgetAccount { .. }
            | Write::DeleteOutbox { .. }
            | Write::JoinLog { .. }
            | Write::ClearLog { .. }
            | Write::DeleteFailed { .. }
            | Write::ForgetName { .. }
            | Write::ForgetInvitation { .. }
            | Write::ForgetCall { .. }
            | Write::ForgetCalls { .. } => Vec::new(),
        };
        let written = bytes.len() as u64;
        match write {
            Write::Device(_) => self.device = Some(bytes),
            Write::Session(record) => {
                self.sessions.insert(record.session_id, bytes);
            }
            Write::Heads(record) => {
                self.heads.insert(record.session_id, bytes);
            }
            Write::Outbox(record) => {
                self.outbox.insert((record.session_id.clone(), record.first()), bytes);
            }
            Write::DeleteOutbox { session_id, first, last } => {
                let range = (session_id.clone(), first)..=(session_id, last);
                self.outbox.retain(|key, _| !range.contains(key));
            }
            Write::Identity(_)
            | Write::Account(_)
            | Write::ForgetAccount { .. }
            | Write::Log(_)
            | Write::JoinLog { .. }
            | Write::ClearLog { .. }
            | Write::Versions(_)
            | Write::Name(_)
            | Write::Failed(_)
            | Write::DeleteFailed { .. }
            | Write::ForgetName { .. }
            | Write::Invitation(_)
            | Write::ForgetInvitation { .. }
            | Write::Call(_)
            | Write::ForgetCall { .. }
            | Write::ForgetCalls { .. } => {}
        }
        written
    }
}

struct Device {
    client: Client,
    store: Store,
    connection: Option<(ConnectionId, Generation)>,
    up: Traffic,
    down: Traffic,
    stored: u64,
    busy: Duration,
    received: u64,
}

enum Happening {
    Device(Place, client::Input),
    Relay(relay::Input),
}

pub struct World {
    relay: Relay,
    journal: Journal,
    answers: UnboundedReceiver<Answer>,
    /// Asked of the journal and not answered.
    questions: usize,
    devices: Vec<Device>,
    places: BTreeMap<ConnectionId, Place>,
    last_connection: ConnectionId,
    last_request: RequestId,
    queue: VecDeque<Happening>,
    /// Only the wall clock goes on: nothing is ever late here.
    now: Now,
    all_down: Traffic,
    all_stored: u64,
    journaled: u64,
    folder: TempDir,
}

impl World {
    /// A world with an empty journal on the disk that the program is on: a temporary folder of the system may be memory.
    pub fn new() -> World {
        let program = std::env::current_exe().expect("the program is a file");
        let folder = tempfile::tempdir_in(program.parent().expect("it is in a folder")).expect("a temporary folder");
        let (sender, answers) = unbounded_channel();
        let journal = Journal::open(&folder.path().join("journal.db"), sender).expect("a new journal");
        World {
            relay: Relay::new(),
            journal,
            answers,
            questions: 0,
            devices: Vec::new(),
            places: BTreeMap::new(),
            last_connection: 0,
            last_request: 0,
            queue: VecDeque::new(),
            now: Now { monotonic_ms: 1_000, wall_ms: 1_767_603_600_000 },
            all_down: Traffic::default(),
            all_stored: 0,
            journaled: 0,
            folder,
        }
    }

    /// Adds a device over what it has stored, with its wallet connected. It connects where a session of its is open.
    pub fn add(&mut self, snapshot: Snapshot, wallet: &str) -> Place {
        let place = self.devices.len();
        let mut store = Store::default();
        if let Some(record) = &snapshot.device {
            store.write(Write::Device(record.clone()));
        }
        let sessions = snapshot.sessions.iter().cloned().map(Write::Session);
        for write in sessions.chain(snapshot.heads.iter().cloned().map(Write::Heads)) {
            store.write(write);
        }
        let client = Client::new(ClientConfig::default(), snapshot, place as u64);
        let (up, down) = (Traffic::default(), Traffic::default());
        self.devices.push(Device { client, store, connection: None, up, down, stored: 0, busy: Duration::ZERO, received: 0 });
        self.call(place, |request| client::Input::ConnectWallet { request, wallet: wallet.to_owned() });
        place
    }

    /// What a device has stored, read from its bytes as at a start of the page.
    pub fn stored(&self, place: Place) -> Snapshot {
        let Store { device, sessions, heads, outbox } = &self.devices[place].store;
        Snapshot {
            device: device.as_ref().map(|bytes| DeviceRecord::from_bytes(bytes).expect("it was written so")),
            identity: None,
            entropy: None,
            accounts: Vec::new(),
            sessions: sessions.values().map(|bytes| SessionRecord::from_bytes(bytes).expect("it was written so")).collect(),
            heads: heads.values().map(|bytes| HeadsRecord::from_bytes(bytes).expect("it was written so")).collect(),
            outbox: outbox.values().map(|bytes| OutboxRecord::from_bytes(bytes).expect("it was written so")).collect(),
            versions: Vec::new(),
            failed: Vec::new(),
            invitations: Vec::new(),
            calls: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Messages of others that the application of a device was told of.
    pub fn received(&self, place: Place) -> u64 {
        self.devices[place].received
    }

    /// Bytes of the journal's files.
    pub fn journal_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path()).expect("the folder is there");
        files.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Calls a device; nothing happens before the next [`World::run`].
    pub fn call(&mut self, place: Place, input: impl FnOnce(RequestId) -> client::Input) {
        self.last_request += 1;
        self.queue.push_back(Happening::Device(place, input(self.last_request)));
    }

    pub fn open_session(&mut self, place: Place, peer_wallet: &str) {
        let peer_wallet = peer_wallet.to_owned();
        self.call(place, |request| client::Input::OpenSession { request, peer_wallet });
    }

    pub fn send(&mut self, place: Place, session_id: &str, text: String) {
        self.now.wall_ms += 17_321;
        // The relay hears a connection only as fast as it can be heard (relay/budget.rs): this is a thousand messages a second.
        self.now.monotonic_ms += 1;
        let session_id = session_id.to_owned();
        self.call(place, |request| client::Input::Send { request, session_id, text, content_type: None, message_id: None, known: None });
    }

    /// A device's socket breaks. It comes back when it is told to.
    pub fn disconnect(&mut self, place: Place) {
        let Some((connection, generation)) = self.devices[place].connection.take() else { return };
        self.places.remove(&connection);
        self.queue.push_back(Happening::Relay(relay::Input::Closed { connection }));
        self.queue.push_back(Happening::Device(place, client::Input::Disconnected { generation, reason: "cut".into() }));
        self.run();
    }

    pub fn reconnect(&mut self, place: Place) {
        self.queue.push_back(Happening::Device(place, client::Input::Awake));
    }

    /// The relay goes down and comes back with nothing but its journal; all devices stay away. Returns the bytes that it
    /// held.
    pub fn restart_relay(&mut self) -> u64 {
        let before = ALLOCATOR.current_usage();
        self.relay = Relay::new();
        let held = before.saturating_sub(ALLOCATOR.current_usage());
        for place in 0..self.devices.len() {
            self.disconnect(place);
        }
        held as u64
    }

    /// Replaces a device by an empty one and returns the bytes that its machine held.
    pub fn forget(&mut self, place: Place) -> u64 {
        self.disconnect(place);
        let before = ALLOCATOR.current_usage();
        self.devices[place].client = Client::new(ClientConfig::default(), Snapshot::default(), 0);
        before.saturating_sub(ALLOCATOR.current_usage()) as u64
    }

    /// Does something, runs the world until nothing happens any more, and tells what that cost.
    pub fn measure(&mut self, place: Place, work: impl FnOnce(&mut World)) -> Cost {
        self.run();
        let Device { up, down, stored, busy, .. } = self.devices[place];
        let World { all_down, all_stored, journaled, .. } = *self;
        let (start, worked) = (Instant::now(), ProcessTime::now());
        work(self);
        self.settle(place);
        let device = &self.devices[place];
        Cost {
            elapsed_ms: ms(start.elapsed()),
            work_ms: ms(worked.elapsed()),
            device_ms: ms(device.busy - busy),
            up: device.up.since(up),
            down: device.down.since(down),
            all_down: self.all_down.since(all_down),
            stored: device.stored - stored,
            all_stored: self.all_stored - all_stored,
            journaled: self.journaled - journaled,
        }
    }

    /// Runs until nothing happens any more, also of what a device does a little later: it stores what was acknowledged.
    pub fn settle(&mut self, place: Place) {
        self.run();
        self.now.monotonic_ms += 50;
        self.queue.push_back(Happening::Device(place, client::Input::Timeout));
        self.run();
    }

    /// Runs until nothing happens any more.
    pub fn run(&mut self) {
        loop {
            match self.queue.pop_front() {
                Some(Happening::Device(place, input)) => self.device(place, input),
                Some(Happening::Relay(input)) => self.relay(input),
                None if self.questions > 0 => {
                    let (ticket, answer) = self.answers.blocking_recv().expect("the journal answers");
                    self.questions -= 1;
                    self.relay(relay::Input::Journal { ticket, answer });
                }
                None => return,
            }
        }
    }

    fn device(&mut self, place: Place, input: client::Input) {
        let device = &mut self.devices[place];
        let start = ThreadTime::now();
        let actions = device.client.handle(self.now, input);
        // A shell asks after every input.
        std::hint::black_box(device.client.next_timeout_ms());
        for action in actions {
            match action {
                client::Action::Persist(commit) => {
                    let written: u64 = commit.writes.into_iter().map(|write| device.store.write(write)).sum();
                    device.stored += written;
                    self.all_stored += written;
                    self.queue.push_back(Happening::Device(place, client::Input::Persisted { commit: commit.id }));
                }
                client::Action::Connect { generation } => {
                    self.last_connection += 1;
                    let connection = self.last_connection;
                    device.connection = Some((connection, generation));
                    self.places.insert(connection, place);
                    self.queue.push_back(Happening::Relay(relay::Input::Opened { connection, encoding: Encoding::Binary, source: None }));
                    self.queue.push_back(Happening::Device(place, client::Input::Connected { generation }));
                }
                client::Action::Transmit { frame, .. } => {
                    let Some((connection, _)) = device.connection else { continue };
                    device.up.count(frame.len());
                    self.queue.push_back(Happening::Relay(relay::Input::Received { connection, payload: Payload::Binary(frame) }));
                }
                client::Action::Reply { result, .. } => assert!(result.is_ok(), "a call failed: {result:?}"),
                client::Action::Notify(Event::MessageReceived { .. }) => device.received += 1,
                client::Action::Notify(Event::Warning { error }) => panic!("a device warns: {error}"),
                client::Action::ReadLog { .. } => panic!("no session is encrypted here"),
                client::Action::Notify(_) => {}
                client::Action::Disconnect { .. } => panic!("a device gave up its connection"),
            }
        }
        device.busy += start.elapsed();
    }

    fn relay(&mut self, input: relay::Input) {
        for action in self.relay.handle(self.now, input) {
            match action {
                relay::Action::Transmit { connection, payload } => {
                    self.queue.push_back(Happening::Relay(relay::Input::Sent { connection, bytes: payload.len() }));
                    let Some(place) = self.places.get(&connection).copied() else { continue };
                    let device = &mut self.devices[place];
                    device.down.count(payload.len());
                    self.all_down.count(payload.len());
                    if let (Payload::Binary(frame), Some((_, generation))) = (payload, device.connection) {
                        self.queue.push_back(Happening::Device(place, client::Input::Received { generation, frame }));
                    }
                }
                relay::Action::Journal { ticket, question } => {
                    self.questions += usize::from(!matches!(question, JournalQuestion::Note { .. }));
                    self.journaled += journal_bytes(&question);
                    self.journal.ask(ticket, question);
                }
                relay::Action::Disconnect { reason, .. } => panic!("the relay cut a connection: {reason}"),
                relay::Action::Log { text } => panic!("the relay complains: {text}"),
            }
        }
    }
}

/// What the rows that a question writes take, but for the numbers of entries.
fn journal_bytes(question: &JournalQuestion) -> u64 {
    let entry = |StoredEntry { device_id, key, log_hash, body, .. }: &StoredEntry| {
        device_id.len() + key.map_or(0, |key| key.len()) + log_hash.len() + body.bytes().len()
    };
    // It is kept as text, in part.
    let device = |row: &DeviceRow| json!(row).to_string().len();
    let receipts = |row: &WatermarkRow| row.wallet.len() + size_of_val(&row.watermark);
    let member = |row: &MemberRow| row.wallet.len() + row.peer_wallet.len() + 1;
    let bytes: usize = match question {
        JournalQuestion::Append { entries, devices, members, .. } => {
            entries.iter().map(entry).chain(devices.iter().map(device)).chain(members.iter().map(member)).sum()
        }
        JournalQuestion::Note { devices, watermarks, members, .. } => {
            devices.iter().map(device).chain(watermarks.iter().map(receipts)).chain(members.iter().map(member)).sum()
        }
        JournalQuestion::Load { .. }
        | JournalQuestion::Read { .. }
        | JournalQuestion::Find { .. }
        | JournalQuestion::Clocks { .. }
        | JournalQuestion::Sessions { .. } => 0,
    };
    bytes as u64
}

pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
