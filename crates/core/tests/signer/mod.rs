//! A device that signs in to a relay: the machines of both, over stores in memory. Needs the modules `account`, `memory` and `rooms`
//! beside it.

use std::collections::VecDeque;

use solconnect_sync_core::client::{
    Action, Client, ClientConfig, Commit, ConnectionState, DeviceView, Event, Input, MessageStatus, Native, Reply, StoredLog, Vault,
};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Frame, Payload};
use solconnect_sync_core::identity::{Certificate, DeviceKey, Purpose};
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::limits::FRAME_BYTES_MAX;
use solconnect_sync_core::relay::{Doorkeeper, Input as RelayInput, Relay};
use solconnect_sync_core::time::Now;

use crate::account::{self, DOMAIN, wallet};
use crate::memory::Records;
use crate::rooms::{self, Rooms};

pub const RELAY: &str = "relay.example";
pub const PEER: &str = rooms::WALLETS[0];

pub fn config() -> ClientConfig {
    ClientConfig { domains: vec![DOMAIN.into()], relay_name: RELAY.into(), ..ClientConfig::default() }
}

pub fn relay(is_required: bool) -> Relay {
    Relay::with_sign_in(Doorkeeper { key: account::key(100), earlier: Vec::new(), names: vec![RELAY.into()], is_required, secret: [3; 32] })
}

/// Records whose machine makes its keys of this.
pub fn drawing(records: Records, number: u8) -> Records {
    let mut records = records;
    records.entropy = Some([number; 32]);
    records
}

pub fn strict() -> Rooms {
    Rooms::over(|| relay(true))
}

/// What becomes of a frame.
pub type Bend = Box<dyn Fn(&mut Frame)>;

/// A device whose commits are written at once, or fail, and its socket.
pub struct Device {
    pub client: Client,
    pub wallet: DeviceKey,
    pub records: Records,
    pub now: Now,
    /// The connection at the relay; none before the socket is opened.
    pub connection: u64,
    pub generation: u64,
    pub wants_socket: bool,
    pub is_connected: bool,
    pub sent: VecDeque<Vec<u8>>,
    pub events: Vec<Event>,
    pub replies: Vec<Result<Reply, SyncError>>,
    pub fails: bool,
    /// What becomes of each frame on its way from the relay.
    pub bends: Option<fn(&mut Frame)>,
    /// What becomes of each frame on its way to the relay.
    pub says: Option<Bend>,
    /// The frames that it has heard.
    pub heard: Vec<Frame>,
    /// Commits take time: they are not written before `write`.
    pub is_slow: bool,
    pub unwritten: Vec<Commit>,
    /// What was read of the store, where the test says when it arrives.
    pub reading: Option<Vec<Input>>,
}

impl Device {
    pub fn new(number: u8) -> Device {
        Device::over(drawing(Records::default(), number), config(), number)
    }

    pub fn over(records: Records, config: ClientConfig, number: u8) -> Device {
        let mut device = Device::of(wallet(), records, config, number);
        device.feed(Input::OpenSession { request: 2, peer_wallet: PEER.into() });
        device
    }

    /// A device of this wallet, in no session.
    pub fn of(wallet: DeviceKey, records: Records, config: ClientConfig, number: u8) -> Device {
        let client = Client::new(config, records.snapshot(), u64::from(number));
        Device::with(client, wallet, records, number)
    }

    /// The same where its application encrypts.
    pub fn encrypting(wallet: DeviceKey, records: Records, config: ClientConfig, number: u8) -> Device {
        Device::with_vault(wallet, records, config, number, Box::new(Native))
    }

    /// The same with cryptography of another making.
    pub fn with_vault(wallet: DeviceKey, records: Records, config: ClientConfig, number: u8, vault: Box<dyn Vault>) -> Device {
        let client = Client::new(config, records.snapshot(), u64::from(number)).with_vault(vault);
        Device::with(client, wallet, records, number)
    }

    fn with(client: Client, wallet: DeviceKey, records: Records, number: u8) -> Device {
        let now = Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 };
        let mut device = Device {
            client,
            wallet,
            records,
            now,
            connection: u64::from(number) * 100,
            generation: 0,
            wants_socket: false,
            is_connected: false,
            sent: VecDeque::new(),
            events: Vec::new(),
            replies: Vec::new(),
            fails: false,
            bends: None,
            says: None,
            heard: Vec::new(),
            is_slow: false,
            unwritten: Vec::new(),
            reading: None,
        };
        let wallet = device.address();
        device.feed(Input::ConnectWallet { request: 1, wallet });
        device
    }

    pub fn address(&self) -> String {
        wallet_address(&self.wallet.public())
    }

    pub fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.client.handle(self.now, input) {
                match action {
                    Action::Persist(commit) if self.is_slow => self.unwritten.push(commit),
                    Action::Persist(Commit { id, writes, .. }) => {
                        if self.fails {
                            let error = SyncError::new(ErrorCode::StorageFull, "full");
                            inputs.push_back(Input::PersistFailed { commit: id, error });
                            continue;
                        }
                        writes.iter().for_each(|write| self.records.apply(write).unwrap());
                        inputs.push_back(Input::Persisted { commit: id });
                    }
                    Action::Connect { generation } => {
                        (self.generation, self.wants_socket) = (generation, true);
                    }
                    Action::Disconnect { .. } => self.is_connected = false,
                    Action::Transmit { frame, .. } => self.sent.push_back(frame.to_vec()),
                    Action::ReadLog { session_id, place } => {
                        let record = self.records.log(&session_id).into_iter().rfind(|record| record.first <= place);
                        let read = Input::LogRead { session_id, place, record: Ok(record) };
                        match &mut self.reading {
                            Some(reading) => reading.push(read),
                            None => inputs.push_back(read),
                        }
                    }
                    Action::Reply { result, .. } => self.replies.push(result),
                    Action::Notify(event) => self.events.push(event),
                }
            }
        }
    }

    /// What is under way is written.
    pub fn write(&mut self) {
        self.is_slow = false;
        for Commit { id, writes, .. } in std::mem::take(&mut self.unwritten) {
            writes.iter().for_each(|write| self.records.apply(write).unwrap());
            self.feed(Input::Persisted { commit: id });
        }
    }

    /// Until nobody has anything to say. What the relay closes is closed.
    pub fn talk(&mut self, rooms: &mut Rooms) {
        loop {
            if self.wants_socket {
                (self.wants_socket, self.is_connected) = (false, true);
                self.connection += 1;
                self.sent.clear();
                rooms.open_binary(self.connection);
                self.feed(Input::Connected { generation: self.generation });
            }
            if !self.is_connected {
                return;
            }
            let (connection, generation) = (self.connection, self.generation);
            let said: Vec<Vec<u8>> = self.sent.drain(..).collect();
            let is_silent = said.is_empty();
            for mut said in said {
                if let Some(says) = &self.says {
                    let mut frame = Frame::from_bytes(&said).unwrap();
                    says(&mut frame);
                    said = frame.to_bytes().unwrap();
                }
                assert!(said.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", said.len());
                rooms.feed(RelayInput::Received { connection, payload: Payload::Binary(said.into()) });
            }
            let heard = rooms.take(connection);
            if heard.is_empty() && is_silent {
                return;
            }
            for payload in heard {
                let Payload::Binary(bytes) = payload else { panic!("binary") };
                let mut frame = Frame::from_bytes(&bytes).unwrap();
                self.bends.iter().for_each(|bend| bend(&mut frame));
                let bytes = frame.to_bytes().unwrap();
                self.heard.push(frame);
                self.feed(Input::Received { generation, frame: bytes.into() });
            }
            if rooms.closed.iter().any(|(closed, _)| *closed == connection) {
                self.is_connected = false;
                self.feed(Input::Disconnected { generation, reason: "closed".into() });
            }
        }
    }

    /// The socket is lost, and time passes until it is tried again.
    pub fn again(&mut self, rooms: &mut Rooms) {
        if self.is_connected {
            rooms.feed(RelayInput::Closed { connection: self.connection });
            self.is_connected = false;
            self.feed(Input::Disconnected { generation: self.generation, reason: "lost".into() });
        }
        self.now.monotonic_ms += 70_000;
        self.now.wall_ms += 70_000;
        rooms.timeout(70_000);
        self.feed(Input::Timeout);
        self.talk(rooms);
    }

    pub fn signed(&self, purpose: Purpose) -> Certificate {
        let offer = self.client.offer(self.now, DOMAIN, purpose).expect("it is asked for");
        Certificate { text: offer.text(), signature: self.wallet.sign(offer.text().as_bytes()) }
    }

    /// The wallet signs.
    pub fn sign(&mut self) {
        let certificate = self.signed(Purpose::Join);
        self.feed(Input::Certify { request: 3, certificate });
        assert_eq!(self.replies.pop(), Some(Ok(Reply::Done)));
    }

    pub fn send(&mut self, text: &str) {
        let session_id = self.client.sessions()[0].session_id.clone();
        let (content_type, message_id, known) = (None, None, None);
        self.feed(Input::Send { request: 4, session_id, text: text.into(), content_type, message_id, known });
    }

    /// What a shell reads of the sessions that stopped, before it asks to go on.
    pub fn parted_logs(&self) -> Vec<StoredLog> {
        let stored = |session_id: String| {
            let end = self.client.session(&session_id).expect("a session").last_synced_sequence;
            let entries = self.records.log(&session_id).into_iter().flat_map(|record| record.entries().unwrap()).collect();
            StoredLog { session_id, end, entries }
        };
        self.client.parted().into_iter().map(stored).collect()
    }

    /// Its person says that the relay's logs count, where these were stored; how many messages it offers again.
    pub fn accept(&mut self, stored: Vec<StoredLog>) -> u64 {
        self.feed(Input::AcceptRelayLog { request: 10, stored });
        match self.replies.pop() {
            Some(Ok(Reply::Count(count))) => count,
            _ => 0,
        }
    }

    pub fn queued(&self) -> usize {
        // What is acknowledged leaves the outbox with the next commit.
        self.client.queued().iter().filter(|message| message.status < MessageStatus::Sent).count()
    }

    pub fn needed(&mut self) -> Vec<Option<ErrorCode>> {
        let events = std::mem::take(&mut self.events);
        let code = |event| if let Event::SignInNeeded { error } = event { Some(error.map(|error: SyncError| error.code)) } else { None };
        events.into_iter().filter_map(code).collect()
    }

    pub fn warnings(&self) -> Vec<ErrorCode> {
        self.events.iter().filter_map(|event| if let Event::Warning { error } = event { Some(error.code) } else { None }).collect()
    }

    pub fn state(&self) -> ConnectionState {
        self.client.connection()
    }

    /// A new device for which the wallet signs, connected.
    pub fn joined(number: u8, rooms: &mut Rooms) -> Device {
        let mut device = Device::new(number);
        device.talk(rooms);
        device.sign();
        device.talk(rooms);
        assert_eq!(device.state(), ConnectionState::Connected);
        device.events.retain(|event| !matches!(event, Event::SignInNeeded { .. }));
        device
    }

    /// A device and a copy of its database, which both went on: the copy has taken another key.
    pub fn copied(rooms: &mut Rooms) -> [Device; 2] {
        let mut device = Device::joined(1, rooms);
        device.send("one");
        device.talk(rooms);
        let records = drawing(device.records.clone(), 9);
        device.send("two");
        device.talk(rooms);
        let mut copy = Device::over(records, config(), 2);
        copy.send("two of the copy");
        copy.talk(rooms);
        copy.again(rooms);
        [device, copy]
    }

    pub fn id(&self) -> String {
        self.client.device_id().to_owned()
    }

    /// The devices of the wallet as this one knows them: `me` or the place in `others`, with an exclamation mark where approved.
    pub fn listed(&self, others: &[&Device]) -> String {
        let shown = |device: DeviceView| {
            let place = others.iter().position(|other| other.id() == device.id).map_or("?".into(), |place| place.to_string());
            let name = if device.is_this_device { "me".into() } else { place };
            format!("{name}{}", if device.is_approved { "!" } else { "" })
        };
        self.client.account_devices().into_iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    pub fn approve(&mut self, device_id: &str) {
        self.feed(Input::ApproveDevice { request: 5, device_id: device_id.into() });
    }

    pub fn remove(&mut self, device_id: &str) {
        self.feed(Input::RemoveDevice { request: 6, device_id: device_id.into() });
    }

    /// The last answer: `None` where it is done.
    pub fn refused(&mut self) -> Option<ErrorCode> {
        self.replies.pop().expect("an answer").err().map(|error| error.code)
    }

    /// What was told of devices.
    pub fn told(&mut self) -> Vec<String> {
        let told = |event| match event {
            Event::DeviceAdded { device } => Some(format!("added {}", device.id)),
            Event::DeviceRequest { device } => Some(format!("request {}", device.id)),
            Event::DeviceApproved { device_id } => Some(format!("approved {device_id}")),
            Event::DeviceRemoved { device_id } => Some(format!("removed {device_id}")),
            _ => None,
        };
        std::mem::take(&mut self.events).into_iter().filter_map(told).collect()
    }
}

/// Until none of them has anything to say.
pub fn all_talk(rooms: &mut Rooms, devices: &mut [&mut Device]) {
    // What one says reaches another that had nothing to say.
    for _ in 0..4 {
        devices.iter_mut().for_each(|device| device.talk(rooms));
    }
}
