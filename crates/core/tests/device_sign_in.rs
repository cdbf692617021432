//! A device and a relay that find out who they are: the machines of both, over stores in memory.

mod account;
#[allow(dead_code, reason = "each test binary uses what it needs")]
#[path = "conformance/memory.rs"]
mod memory;
mod rooms;

use std::collections::VecDeque;

use account::{DOMAIN, certificate, owner, wallet};
use memory::Records;
use rooms::Rooms;
use solconnect_sync_core::client::{Action, Client, ClientConfig, Commit, ConnectionState, Event, Input, MessageStatus, Reply};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Frame, Payload};
use solconnect_sync_core::identity::{Certificate, Purpose};
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::limits::OFFER_MS;
use solconnect_sync_core::relay::{Doorkeeper, Input as RelayInput, Relay};
use solconnect_sync_core::time::Now;

const RELAY: &str = "relay.example";
const PEER: &str = rooms::WALLETS[0];

fn config() -> ClientConfig {
    ClientConfig { domains: vec![DOMAIN.into()], relay_name: RELAY.into(), ..ClientConfig::default() }
}

fn relay(is_required: bool) -> Relay {
    Relay::with_sign_in(Doorkeeper { key: account::key(100).public(), names: vec![RELAY.into()], is_required, secret: [3; 32] })
}

/// Records whose machine makes its keys of this.
fn drawing(records: Records, number: u8) -> Records {
    let mut records = records;
    records.entropy = Some([number; 32]);
    records
}

fn strict() -> Rooms {
    Rooms::over(|| relay(true))
}

/// A device whose commits are written at once, or fail, and its socket.
struct Device {
    client: Client,
    records: Records,
    now: Now,
    /// The connection at the relay; none before the socket is opened.
    connection: u64,
    generation: u64,
    wants_socket: bool,
    is_connected: bool,
    sent: VecDeque<Vec<u8>>,
    events: Vec<Event>,
    replies: Vec<Result<Reply, SyncError>>,
    fails: bool,
}

impl Device {
    fn new(number: u8) -> Device {
        Device::over(drawing(Records::default(), number), config(), number)
    }

    fn over(records: Records, config: ClientConfig, number: u8) -> Device {
        let now = Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 };
        let client = Client::new(config, records.snapshot(), u64::from(number));
        let mut device = Device {
            client,
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
        };
        device.feed(Input::ConnectWallet { request: 1, wallet: wallet_address(&wallet().public()) });
        device.feed(Input::OpenSession { request: 2, peer_wallet: PEER.into() });
        device
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.client.handle(self.now, input) {
                match action {
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
                    Action::Reply { result, .. } => self.replies.push(result),
                    Action::Notify(event) => self.events.push(event),
                }
            }
        }
    }

    /// Until nobody has anything to say. What the relay closes is closed.
    fn talk(&mut self, rooms: &mut Rooms) {
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
            for frame in said {
                rooms.feed(RelayInput::Received { connection, payload: Payload::Binary(frame.into()) });
            }
            let heard = rooms.take(connection);
            if heard.is_empty() && is_silent {
                return;
            }
            for payload in heard {
                let Payload::Binary(frame) = payload else { panic!("binary") };
                self.feed(Input::Received { generation, frame });
            }
            if rooms.closed.iter().any(|(closed, _)| *closed == connection) {
                self.is_connected = false;
                self.feed(Input::Disconnected { generation, reason: "closed".into() });
            }
        }
    }

    /// The socket is lost, and time passes until it is tried again.
    fn again(&mut self, rooms: &mut Rooms) {
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

    fn signed(&self, purpose: Purpose) -> Certificate {
        let offer = self.client.offer(self.now, DOMAIN, purpose).expect("it is asked for");
        Certificate { text: offer.text(), signature: wallet().sign(offer.text().as_bytes()) }
    }

    /// The wallet signs.
    fn sign(&mut self) {
        let certificate = self.signed(Purpose::Join);
        self.feed(Input::Certify { request: 3, certificate });
        assert_eq!(self.replies.pop(), Some(Ok(Reply::Done)));
    }

    fn send(&mut self, text: &str) {
        let session_id = self.client.sessions()[0].session_id.clone();
        let (content_type, message_id, known) = (None, None, None);
        self.feed(Input::Send { request: 4, session_id, text: text.into(), content_type, message_id, known });
    }

    fn queued(&self) -> usize {
        // What is acknowledged leaves the outbox with the next commit.
        self.client.queued().iter().filter(|message| message.status < MessageStatus::Sent).count()
    }

    fn needed(&mut self) -> Vec<Option<ErrorCode>> {
        let events = std::mem::take(&mut self.events);
        let code = |event| if let Event::SignInNeeded { error } = event { Some(error.map(|error: SyncError| error.code)) } else { None };
        events.into_iter().filter_map(code).collect()
    }

    fn warnings(&self) -> Vec<ErrorCode> {
        self.events.iter().filter_map(|event| if let Event::Warning { error } = event { Some(error.code) } else { None }).collect()
    }

    fn state(&self) -> ConnectionState {
        self.client.connection()
    }
}

#[test]
fn a_new_device_asks_the_wallet_once_and_never_again() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.talk(&mut rooms);
    assert_eq!((device.needed(), device.state()), (vec![None], ConnectionState::Offline));
    device.send("before");
    device.sign();
    device.talk(&mut rooms);
    assert_eq!((device.state(), device.queued(), device.needed()), (ConnectionState::Connected, 0, vec![]));
    assert!(device.records.identity.as_ref().is_some_and(|identity| identity.is_listed));
    assert_eq!(device.client.offer(device.now, DOMAIN, Purpose::Join), None);
    let id = device.client.device_id().to_owned();

    let mut device = Device::over(drawing(device.records, 77), config(), 2);
    device.talk(&mut rooms);
    device.send("after");
    device.talk(&mut rooms);
    assert_eq!((device.needed(), device.queued(), device.client.device_id()), (vec![], 0, &*id));
    assert_eq!(rooms.journal[&owner(DOMAIN).account_id].entries.len(), 1);
}

#[test]
fn without_a_signature_what_is_written_waits() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.talk(&mut rooms);
    device.send("one");
    device.again(&mut rooms);
    assert_eq!((device.state(), device.queued()), (ConnectionState::Offline, 1));
    assert_eq!(device.connection, 101, "the relay is not asked again and again");
}

#[test]
fn a_second_device_enters_behind_the_first() {
    let mut rooms = strict();
    let mut devices = [Device::new(1), Device::new(2)];
    for device in &mut devices {
        device.talk(&mut rooms);
        device.sign();
        device.talk(&mut rooms);
        assert_eq!(device.state(), ConnectionState::Connected);
    }
    assert_eq!(rooms.journal[&owner(DOMAIN).account_id].entries.len(), 2);
    let [one, other] = &devices;
    assert_ne!(one.client.device_id(), other.client.device_id());
}

#[test]
fn where_sign_in_is_not_required_a_device_goes_on_without() {
    let mut rooms = Rooms::over(|| relay(false));
    let mut device = Device::new(1);
    device.send("one");
    device.talk(&mut rooms);
    assert_eq!((device.state(), device.queued(), device.needed()), (ConnectionState::Connected, 0, vec![]));
    device.sign();
    device.again(&mut rooms);
    assert_eq!(device.state(), ConnectionState::Connected);
    assert!(device.records.identity.as_ref().is_some_and(|identity| identity.is_listed));
}

#[test]
fn a_device_without_domains_waits_for_no_hello() {
    let mut rooms = Rooms::new();
    let mut device = Device::over(Records::default(), ClientConfig::default(), 1);
    device.talk(&mut rooms);
    assert_eq!((device.state(), device.client.offer(device.now, DOMAIN, Purpose::Join)), (ConnectionState::Connected, None));
    let certificate = certificate(&owner(DOMAIN), &account::key(1), Purpose::Join, device.now.wall_ms);
    device.feed(Input::Certify { request: 3, certificate });
    assert_eq!(device.replies.pop().unwrap().unwrap_err().code, ErrorCode::InvalidArgument);
}

#[test]
fn a_relay_that_says_nothing_is_given_up() {
    let mut rooms = Rooms::new();
    let mut device = Device::new(1);
    device.talk(&mut rooms);
    assert_eq!((device.state(), device.connection), (ConnectionState::Connecting, 101));
    device.now.monotonic_ms += 10_000;
    device.feed(Input::Timeout);
    assert_eq!(device.state(), ConnectionState::Waiting);
}

#[test]
fn what_the_wallet_signed_wrongly_is_refused_at_once() {
    let mut device = Device::new(1);
    let mut wrong = device.signed(Purpose::Join);
    wrong.signature[0] ^= 1;
    device.feed(Input::Certify { request: 3, certificate: wrong });
    let mut other_text = device.signed(Purpose::Join);
    other_text.text.push('\n');
    device.feed(Input::Certify { request: 3, certificate: other_text });
    let codes: Vec<_> = device.replies.drain(2..).map(|reply| reply.unwrap_err().code).collect();
    assert_eq!(codes, [ErrorCode::InvalidSignature, ErrorCode::InvalidCertificate]);
    assert!(device.client.offer(device.now, DOMAIN, Purpose::Join).is_some(), "it may try again");
    assert_eq!(device.client.offer(device.now, "evil.example", Purpose::Join), None);
}

#[test]
fn a_certificate_that_the_relay_finds_late_is_asked_for_again() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    // The relay cannot be reached for long; or the device's clock was wrong.
    device.sign();
    rooms.now.wall_ms += OFFER_MS + 1;
    device.talk(&mut rooms);
    assert_eq!((device.needed(), device.state()), (vec![Some(ErrorCode::CertificateExpired)], ConnectionState::Offline));
    assert!(device.records.identity.as_ref().is_some_and(|identity| identity.claim.is_empty()));
    device.sign();
    device.talk(&mut rooms);
    assert_eq!(device.state(), ConnectionState::Connected, "the relay's time is known by now");
}

#[test]
fn a_refusal_that_could_not_be_stored_is_heard_again() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.sign();
    rooms.now.wall_ms += OFFER_MS + 1;
    device.fails = true;
    device.talk(&mut rooms);
    assert_eq!((device.needed(), device.state()), (vec![], ConnectionState::Waiting));
    device.fails = false;
    device.again(&mut rooms);
    assert_eq!((device.needed(), device.state()), (vec![Some(ErrorCode::CertificateExpired)], ConnectionState::Offline));
}

#[test]
fn an_open_relay_serves_whose_certificate_it_refused() {
    let mut rooms = Rooms::over(|| relay(false));
    let mut device = Device::new(1);
    device.sign();
    rooms.now.wall_ms += OFFER_MS + 1;
    device.talk(&mut rooms);
    assert_eq!(device.needed(), [Some(ErrorCode::CertificateExpired)]);
    device.again(&mut rooms);
    assert_eq!(device.state(), ConnectionState::Connected);
}

#[test]
fn a_device_that_another_reset_leaves_keeps_what_it_has() {
    let mut rooms = strict();
    let (mut old, mut new) = (Device::new(1), Device::new(2));
    old.talk(&mut rooms);
    old.sign();
    old.talk(&mut rooms);
    new.now.wall_ms += 1;
    rooms.timeout(1);
    let certificate = new.signed(Purpose::Reset);
    new.feed(Input::Certify { request: 3, certificate });
    new.talk(&mut rooms);
    assert_eq!(new.state(), ConnectionState::Connected);
    old.talk(&mut rooms);
    assert_eq!((old.state(), old.warnings()), (ConnectionState::Offline, vec![ErrorCode::DeviceRemoved]));
    old.send("kept");
    old.again(&mut rooms);
    assert_eq!((old.state(), old.queued()), (ConnectionState::Offline, 1));
}

#[test]
fn a_copied_database_goes_on_under_a_key_that_the_old_one_names() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.talk(&mut rooms);
    device.sign();
    device.send("one");
    device.talk(&mut rooms);
    let copy = drawing(device.records.clone(), 9);
    device.send("two");
    device.talk(&mut rooms);
    let mut copy = Device::over(copy, config(), 2);
    copy.send("two of the copy");
    copy.talk(&mut rooms);
    copy.again(&mut rooms);
    assert_ne!(copy.client.device_id(), device.client.device_id());
    assert_eq!((copy.state(), copy.queued(), copy.needed()), (ConnectionState::Connected, 0, vec![]));
    assert_eq!(rooms.journal[&owner(DOMAIN).account_id].entries.len(), 2, "nobody was asked");
    let again = Device::over(copy.records.clone(), config(), 3);
    assert_eq!(again.client.device_id(), copy.client.device_id());
}

#[test]
fn a_database_without_a_key_goes_on_under_a_new_id() {
    let mut open = Rooms::over(|| relay(false));
    let mut before = Device::over(Records::default(), ClientConfig::default(), 1);
    before.send("sent");
    before.talk(&mut open);
    before.is_connected = false;
    before.feed(Input::SetOffline { offline: true });
    before.send("kept");
    let mut device = Device::over(drawing(before.records, 7), config(), 2);
    device.talk(&mut open);
    device.again(&mut open);
    assert_ne!(device.client.device_id(), before.client.device_id());
    assert_eq!((device.state(), device.queued()), (ConnectionState::Connected, 0));
    device.sign();
    device.again(&mut open);
    assert!(device.records.identity.as_ref().is_some_and(|identity| identity.is_listed));
    assert_eq!(device.state(), ConnectionState::Connected);
}

#[test]
fn a_key_that_could_not_be_stored_is_not_used() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.talk(&mut rooms);
    device.fails = true;
    let certificate = device.signed(Purpose::Join);
    device.feed(Input::Certify { request: 3, certificate });
    assert_eq!(device.replies.pop().unwrap().unwrap_err().code, ErrorCode::StorageFull);
    assert!(device.client.offer(device.now, DOMAIN, Purpose::Join).is_some());
    device.fails = false;
    device.sign();
    device.talk(&mut rooms);
    assert_eq!(device.state(), ConnectionState::Connected);
}

#[test]
fn a_relay_of_another_name_is_told_and_tried_again() {
    let mut rooms = strict();
    let mut device = Device::over(drawing(Records::default(), 1), ClientConfig { relay_name: "other.example".into(), ..config() }, 1);
    device.sign();
    device.talk(&mut rooms);
    assert_eq!((device.state(), device.warnings()), (ConnectionState::Waiting, vec![ErrorCode::WrongRelay]));
    assert!(device.records.identity.as_ref().is_some_and(|identity| !identity.claim.is_empty()), "the certificate stays");
}

#[test]
fn a_relay_that_lost_the_account_is_given_the_device_again() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.sign();
    device.talk(&mut rooms);
    rooms.feed(RelayInput::Closed { connection: device.connection });
    rooms.journal.clear();
    rooms.restart();
    device.is_connected = false;
    device.feed(Input::Disconnected { generation: device.generation, reason: "lost".into() });
    device.again(&mut rooms);
    assert_eq!((device.state(), rooms.journal[&owner(DOMAIN).account_id].entries.len()), (ConnectionState::Connected, 1));
}

#[test]
fn the_secret_is_in_no_frame_and_no_debug_text() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.sign();
    let secret = device.records.identity.as_ref().unwrap().secret.clone();
    device.wants_socket = false;
    rooms.open_binary(1);
    device.feed(Input::Connected { generation: device.generation });
    for payload in rooms.take(1) {
        let Payload::Binary(frame) = payload else { panic!("binary") };
        device.feed(Input::Received { generation: device.generation, frame });
    }
    assert_eq!(device.sent.len(), 1);
    let frame = device.sent.pop_front().unwrap();
    assert!(!frame.windows(32).any(|window| window == secret));
    let shown = format!("{:?} {:?}", device.records.identity, Frame::from_bytes(&frame));
    assert!(!shown.contains(&format!("{:?}", secret)));
}
