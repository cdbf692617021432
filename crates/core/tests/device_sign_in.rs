//! A device and a relay that find out who they are: the machines of both, over stores in memory.

use crate::account;
use crate::account::{DOMAIN, certificate, key, owner};
use crate::memory::Records;
use crate::rooms::Rooms;
use crate::signer::{Device, config, drawing, relay, strict};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{ClientConfig, ConnectionState, Event, IdentityRecord, Input};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, ErrorBody, Frame, Head, Hello, Payload, SignedIn, SyncResponse};
use solconnect_sync_core::identity::{Purpose, greet, said_digest};
use solconnect_sync_core::limits::OFFER_MS;
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::relay::Input as RelayInput;

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
fn also_where_sign_in_is_not_required_a_device_says_nothing_before() {
    let mut rooms = Rooms::over(|| relay(false));
    let mut device = Device::new(1);
    device.send("one");
    device.talk(&mut rooms);
    assert_eq!((device.state(), device.queued(), device.needed()), (ConnectionState::Offline, 1, vec![None]));
    assert_eq!(device.client.sign_in_needed(), Some(ErrorCode::SignInRequired));
    device.sign();
    device.talk(&mut rooms);
    assert_eq!((device.state(), device.queued(), device.needed()), (ConnectionState::Connected, 0, vec![]));
    assert_eq!(device.client.sign_in_needed(), None);
    assert!(device.records.identity.as_ref().is_some_and(|identity| identity.is_listed));
}

#[test]
fn who_signs_while_the_relay_says_hello_signs_in() {
    let mut rooms = Rooms::over(|| relay(false));
    let mut device = Device::new(1);
    device.is_slow = true;
    device.send("one");
    // Both wait for the message, and share the next transaction.
    let certificate = device.signed(Purpose::Join);
    device.feed(Input::Certify { request: 3, certificate });
    device.talk(&mut rooms);
    device.write();
    device.talk(&mut rooms);
    assert_eq!(device.state(), ConnectionState::Connected, "it signs in at once");
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
fn a_device_that_another_reset_leaves_keeps_what_it_has() {
    let mut rooms = strict();
    let (mut old, mut new) = (Device::joined(1, &mut rooms), Device::new(2));
    old.feed(Input::SetOffline { offline: true });
    old.send("kept");
    new.now.wall_ms += 1;
    rooms.timeout(1);
    let certificate = new.signed(Purpose::Reset);
    new.feed(Input::Certify { request: 3, certificate });
    new.talk(&mut rooms);
    assert_eq!(new.state(), ConnectionState::Connected);
    old.feed(Input::SetOffline { offline: false });
    old.talk(&mut rooms);
    assert_eq!((old.state(), old.needed()), (ConnectionState::Offline, vec![Some(ErrorCode::DeviceRemoved)]));
    old.again(&mut rooms);
    assert_eq!((old.state(), old.queued()), (ConnectionState::Offline, 1));
}

#[test]
fn a_copied_database_goes_on_under_a_key_that_the_old_one_names() {
    let mut rooms = strict();
    let [device, mut copy] = Device::copied(&mut rooms);
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
    device.sign();
    device.again(&mut open);
    assert_ne!(device.client.device_id(), before.client.device_id());
    assert!(device.records.identity.as_ref().is_some_and(|identity| identity.is_listed));
    assert_eq!((device.state(), device.queued()), (ConnectionState::Connected, 1), "what it wrote for devices without keys waits");
    assert_eq!(device.client.sessions().len(), 2, "the session with keys is another one");
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

/// The relay says something by itself.
fn hear(device: &mut Device, body: Body) {
    let frame = Frame { head: Head::default(), body }.to_bytes().unwrap().into();
    device.feed(Input::Received { generation: device.generation, frame });
}

#[test]
fn who_has_not_asked_is_not_signed_in() {
    let mut device = Device::new(1);
    device.wants_socket = false;
    device.feed(Input::Connected { generation: device.generation });
    hear(&mut device, Body::SignedIn(SignedIn::default()));
    assert_eq!(device.state(), ConnectionState::Waiting);
    assert!(device.records.identity.as_ref().is_some_and(|identity| !identity.is_listed));
    assert!(device.client.offer(device.now, DOMAIN, Purpose::Join).is_some(), "the wallet can still sign");
}

#[test]
fn the_word_of_a_stranger_removes_nobody() {
    let mut rooms = strict();
    let mut device = Device::joined(1, &mut rooms);
    let (before, stored) = (device.id(), device.records.identity.clone());
    let removed = || Body::Error(ErrorBody::new(&SyncError::new(ErrorCode::DeviceRemoved, "no")));
    hear(&mut device, removed());
    assert_eq!((device.state(), device.warnings()), (ConnectionState::Waiting, vec![]), "an honest relay may be quicker than its log");
    // Also of who says it before it has shown a key, and of who shows a log of its own.
    device.now.monotonic_ms += 70_000;
    device.feed(Input::Timeout);
    device.wants_socket = false;
    device.feed(Input::Connected { generation: device.generation });
    let messages = rooms.journal[&owner(DOMAIN).account_id].entries[0].body.clone();
    let forged =
        SyncResponse { messages, latest_sequence: 2, log: Some(LogHead { sequence: 1, hash: [9; 32] }), ..SyncResponse::default() };
    let head = Head { session_id: owner(DOMAIN).account_id, ..Head::default() };
    let frame = Frame { head, body: Body::SyncResponse(forged) }.to_bytes().unwrap().into();
    device.feed(Input::Received { generation: device.generation, frame });
    hear(&mut device, removed());
    assert_eq!((device.state(), device.warnings()), (ConnectionState::Waiting, vec![ErrorCode::RelayMisbehaved]));
    device.is_connected = false;
    device.again(&mut rooms);
    assert_eq!((device.id(), device.state(), device.needed()), (before, ConnectionState::Connected, vec![]));
    assert_eq!(device.records.identity, stored);
}

#[test]
fn only_the_relays_own_refusal_has_the_wallet_sign_again() {
    let codes = [
        ErrorCode::InvalidCertificate,
        ErrorCode::WrongKey,
        ErrorCode::WrongDomain,
        ErrorCode::WrongPurpose,
        ErrorCode::CertificateExpired,
        ErrorCode::InvalidKey,
        ErrorCode::InvalidSignature,
    ];
    let (relay, stranger) = (key(100), key(99));
    let hello = Hello { nonce: [1; 16], relay_key: relay.public(), time: account::NOW_MS, ..Hello::default() };
    for code in codes {
        let mut device = Device::new(1);
        device.sign();
        for (greeter, is_believed) in [(None, false), (Some(&stranger), false), (Some(&relay), true)] {
            while !std::mem::take(&mut device.wants_socket) {
                device.now.monotonic_ms += 70_000;
                device.feed(Input::Timeout);
            }
            device.feed(Input::Connected { generation: device.generation });
            hear(&mut device, Body::Hello(hello.clone()));
            let Body::SignIn(said) = Frame::from_bytes(&device.sent.pop_back().unwrap()).unwrap().body else { panic!("it signs in") };
            if let Some(greeter) = greeter {
                let entry = said.messages.entries().unwrap().pop();
                let greeting = greet(greeter, &said.proof, None, Some((code.as_str(), &said_digest(entry.as_ref()))));
                hear(&mut device, Body::SignedIn(SignedIn { greeting, refused: Some(code.as_str().into()), ..SignedIn::default() }));
            }
            hear(&mut device, Body::Error(ErrorBody::new(&SyncError::new(code, "no"))));
            let has_to_sign = device.records.identity.as_ref().is_none_or(|identity| identity.claim.is_empty());
            assert_eq!(has_to_sign, is_believed, "{code:?}");
        }
        assert_eq!((device.warnings(), device.needed()), (vec![ErrorCode::RelayMisbehaved; 2], vec![Some(code)]));
    }
}

/// What the relay last said of this kind.
fn last_heard<T>(device: &Device, find: fn(&Body) -> Option<&T>) -> T
where
    T: Clone,
{
    device.heard.iter().rev().find_map(|frame| find(&frame.body)).expect("it was said").clone()
}

fn last_hello(device: &Device) -> Hello {
    last_heard(device, |body| if let Body::Hello(hello) = body { Some(hello) } else { None })
}

fn last_signed_in(device: &Device) -> SignedIn {
    last_heard(device, |body| if let Body::SignedIn(said) = body { Some(said) } else { None })
}

/// The connection is lost, and on the next one somebody else speaks in the relay's place.
fn meet_somebody_else(device: &mut Device, rooms: &mut Rooms) {
    rooms.feed(RelayInput::Closed { connection: device.connection });
    device.is_connected = false;
    device.feed(Input::Disconnected { generation: device.generation, reason: "lost".into() });
    device.now.monotonic_ms += 70_000;
    device.feed(Input::Timeout);
    device.wants_socket = false;
    device.feed(Input::Connected { generation: device.generation });
}

#[test]
fn what_the_relay_said_before_refuses_nobody() {
    let mut rooms = strict();
    let mut device = Device::joined(1, &mut rooms);
    let greeted = last_signed_in(&device);
    // Somebody has heard that, and says it again, to a device that has something to be refused.
    let said_again = Hello { account: greeted.account, ..last_hello(&device) };
    meet_somebody_else(&mut device, &mut rooms);
    hear(&mut device, Body::Hello(said_again));
    hear(&mut device, Body::SignedIn(SignedIn { refused: Some("INVALID_CERTIFICATE".into()), ..greeted }));
    hear(&mut device, Body::Error(ErrorBody::new(&SyncError::new(ErrorCode::InvalidCertificate, "no"))));
    assert_eq!((device.needed(), device.state()), (vec![], ConnectionState::Waiting));
    assert!(device.records.identity.as_ref().is_some_and(|identity| identity.is_listed && !identity.claim.is_empty()));
}

#[test]
fn a_sign_in_that_was_heard_is_not_played_again() {
    let mut rooms = strict();
    let mut device = Device::joined(1, &mut rooms);
    let (hello, greeted) = (last_hello(&device), last_signed_in(&device));
    meet_somebody_else(&mut device, &mut rooms);
    hear(&mut device, Body::Hello(hello));
    hear(&mut device, Body::SignedIn(greeted));
    assert_eq!((device.state(), device.warnings()), (ConnectionState::Waiting, vec![ErrorCode::RelayMisbehaved]));
    device.again(&mut rooms);
    assert_eq!(device.state(), ConnectionState::Connected);
}

#[test]
fn an_account_that_was_set_back_on_the_way_stops_nothing() {
    let mut rooms = strict();
    let mut device = Device::joined(1, &mut rooms);
    device.bends = Some(|frame| {
        if let Body::SignedIn(said) = &mut frame.body {
            said.account = None;
        }
    });
    device.again(&mut rooms);
    assert_eq!((device.state(), device.warnings()), (ConnectionState::Waiting, vec![ErrorCode::RelayMisbehaved]));
    device.bends = None;
    device.again(&mut rooms);
    assert_eq!((device.state(), device.warnings().len()), (ConnectionState::Connected, 1));
}

#[test]
fn a_reason_that_was_swapped_on_the_way_drops_no_certificate() {
    let swaps: [fn(&mut Frame); 2] = [
        |frame| {
            if let Body::Error(error) = &mut frame.body {
                error.code = ErrorCode::CertificateExpired;
            }
        },
        |frame| match &mut frame.body {
            Body::Error(error) => error.code = ErrorCode::CertificateExpired,
            Body::SignedIn(said) => said.refused = Some("CERTIFICATE_EXPIRED".into()),
            _ => {}
        },
    ];
    for swap in swaps {
        let mut rooms = strict();
        let mut device = Device::new(1);
        device.sign();
        let stored = device.records.identity.clone();
        device.bends = Some(swap);
        // The relay cannot read its journal, and says so with its key.
        rooms.held = Some(Default::default());
        device.talk(&mut rooms);
        rooms.answer(true);
        device.talk(&mut rooms);
        let claim = |identity: &Option<IdentityRecord>| identity.as_ref().map(|identity| identity.claim.clone());
        assert_eq!((device.warnings(), device.needed()), (vec![ErrorCode::RelayMisbehaved], vec![]));
        assert_eq!(claim(&device.records.identity), claim(&stored));
        (device.bends, rooms.held) = (None, None);
        device.again(&mut rooms);
        assert_eq!(device.state(), ConnectionState::Connected);
    }
}

#[test]
fn a_reason_of_a_later_version_is_told_and_tried_again() {
    let relay = key(100);
    let mut device = Device::new(1);
    device.sign();
    let stored = device.records.identity.clone();
    device.wants_socket = false;
    device.feed(Input::Connected { generation: device.generation });
    hear(&mut device, Body::Hello(Hello { nonce: [1; 16], relay_key: relay.public(), time: account::NOW_MS, ..Hello::default() }));
    let Body::SignIn(said) = Frame::from_bytes(&device.sent.pop_back().unwrap()).unwrap().body else { panic!("it signs in") };
    let entry = said.messages.entries().unwrap().pop();
    let greeting = greet(&relay, &said.proof, None, Some(("WALLET_ASLEEP", &said_digest(entry.as_ref()))));
    hear(&mut device, Body::SignedIn(SignedIn { greeting, refused: Some("WALLET_ASLEEP".into()), ..SignedIn::default() }));
    assert_eq!((device.state(), device.warnings()), (ConnectionState::Connecting, vec![]));
    hear(&mut device, Body::Error(ErrorBody::new(&SyncError::new(ErrorCode::UnknownError, "the wallet is asleep"))));
    assert_eq!((device.state(), device.warnings()), (ConnectionState::Waiting, vec![ErrorCode::UnknownError]));
    let claim = |identity: &Option<IdentityRecord>| identity.as_ref().map(|identity| identity.claim.clone());
    assert_eq!(claim(&device.records.identity), claim(&stored));
}

#[test]
fn a_certificate_that_was_changed_on_the_way_is_not_dropped() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.sign();
    let stored = device.records.identity.clone();
    device.says = Some(Box::new(|frame| {
        if let Body::SignIn(said) = &mut frame.body
            && let Some(mut entry) = said.messages.entries().unwrap().pop()
        {
            let at = entry.message.ciphertext.len() / 2;
            let other = if entry.message.ciphertext.as_bytes()[at] == b'A' { "B" } else { "A" };
            entry.message.ciphertext.replace_range(at..=at, other);
            said.messages = Batch::of(&[entry]).unwrap();
        }
    }));
    device.talk(&mut rooms);
    let claim = |identity: &Option<IdentityRecord>| identity.as_ref().map(|identity| identity.claim.clone());
    assert_eq!((device.warnings(), device.needed()), (vec![ErrorCode::RelayMisbehaved], vec![]));
    assert_eq!(claim(&device.records.identity), claim(&stored));
    device.says = None;
    device.again(&mut rooms);
    assert_eq!(device.state(), ConnectionState::Connected);
}

#[test]
fn a_relay_that_says_any_time_breaks_no_clock() {
    for time in [0, 1, u64::MAX >> 11, i64::MAX as u64, u64::MAX] {
        let mut device = Device::new(1);
        device.feed(Input::Connected { generation: device.generation });
        let hello = Hello { nonce: [1; 16], relay_key: [2; 32], time, sign_in_required: true, account: None, earlier: Vec::new() };
        (0..200).for_each(|_| hear(&mut device, Body::Hello(hello.clone())));
        assert!(device.client.offer(device.now, DOMAIN, Purpose::Join).is_some());
        let asked = device.needed().len();
        assert!(asked <= 1, "it asks once, however often the relay says hello: {asked} times at {time}");
    }
}

#[test]
fn who_cannot_sign_in_is_told_so_once() {
    let mut rooms = strict();
    let mut device = Device::over(drawing(Records::default(), 1), ClientConfig { domains: vec![], ..config() }, 1);
    for _ in 0..3 {
        device.again(&mut rooms);
    }
    assert_eq!(device.warnings(), [ErrorCode::SignInRequired]);
    let told = device.events.iter().find_map(|event| if let Event::Warning { error } = event { Some(error.message.clone()) } else { None });
    assert!(told.expect("a warning").contains("`domains`"));
}

#[test]
fn a_key_that_nobody_has_proved_is_not_kept() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.sign();
    device.wants_socket = false;
    device.feed(Input::Connected { generation: device.generation });
    // Somebody between, once: a key that it does not even have.
    hear(&mut device, Body::Hello(Hello { nonce: [1; 16], relay_key: key(99).public(), time: account::NOW_MS, ..Hello::default() }));
    device.feed(Input::Disconnected { generation: device.generation, reason: "lost".into() });
    device.events.clear();
    device.again(&mut rooms);
    assert_eq!((device.state(), device.warnings()), (ConnectionState::Connected, vec![]));
}

#[test]
fn a_head_in_hello_costs_a_listed_device_nothing() {
    let mut rooms = strict();
    let mut device = Device::joined(1, &mut rooms);
    let stored = device.records.identity.clone();
    device.bends = Some(|frame| {
        if let Body::Hello(hello) = &mut frame.body {
            hello.account = Some(LogHead { sequence: 7, hash: [9; 32] });
        }
    });
    device.again(&mut rooms);
    assert_eq!((device.state(), device.needed(), device.warnings()), (ConnectionState::Connected, vec![], vec![]));
    let claim = |identity: &Option<IdentityRecord>| identity.as_ref().map(|identity| identity.claim.clone());
    assert_eq!(claim(&device.records.identity), claim(&stored));
}
