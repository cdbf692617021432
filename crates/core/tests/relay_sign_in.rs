//! Signing in, step by step, against a relay whose journal is in memory.

use crate::account;
use crate::rooms;
use std::collections::VecDeque;

use crate::account::{DOMAIN, certificate, key, owner};
use crate::rooms::{Rooms, the_error};
use serde_json::{Value, json};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::{Body, Frame, Head, Hello, PROTOCOL_VERSION, SignIn, SignedIn, SyncUpdate};
use solconnect_sync_core::identity::{Account, Challenge, Claim, DeviceKey, Purpose, Statement, Succession, check_greeting, said_digest};
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::limits::{
    ACCOUNT_READS_MAX, HELLOS_MAX, NONCE_MS, OFFER_MS, SIGN_IN_TIMEOUT_MS, SOCKET_QUEUE_BYTES_CUT, UNSIGNED_FRAME_BYTES_MAX,
};
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_core::relay::{Doorkeeper, Input, JournalAnswer, Relay};

const RELAY: &str = "relay.example";

fn keeper(is_required: bool) -> Doorkeeper {
    Doorkeeper { key: key(100), earlier: Vec::new(), names: vec![RELAY.into(), "localhost:8080".into()], is_required, secret: [3; 32] }
}

fn rooms() -> Rooms {
    Rooms::over(|| Relay::with_sign_in(keeper(true)))
}

/// What the relay says first, or again.
fn hello(rooms: &mut Rooms, connection: u64) -> Hello {
    let mut said = rooms.hear_only(connection, "hello");
    assert_eq!(said.len(), 1, "{said:?}");
    serde_json::from_value(said.remove(0)).unwrap()
}

fn open(rooms: &mut Rooms, connection: u64) -> Hello {
    rooms.open(connection);
    hello(rooms, connection)
}

/// What a device says that answers truly.
fn answer(hello: &Hello, device: &DeviceKey, claim: Option<Claim>) -> SignIn {
    let owner = owner(DOMAIN);
    let challenge = Challenge { relay: RELAY.into(), relay_key: hello.relay_key, nonce: hello.nonce, device_nonce: [7; 16] };
    let after = hello.account.unwrap_or_else(|| Account::new(owner.clone()).head());
    let entry = claim.map(|claim| Statement::sign(device, &owner, after, claim).entry(&owner, 1, account::NOW_MS));
    SignIn {
        wallet: owner.wallet.clone(),
        domains: vec![DOMAIN.into()],
        key: device.public(),
        relay: RELAY.into(),
        nonce: hello.nonce,
        device_nonce: challenge.device_nonce,
        proof: challenge.prove(&owner.account_id, device),
        messages: entry.map(|entry| Batch::of(&[entry]).unwrap()).unwrap_or_default(),
        known: 0,
    }
}

fn join(device: &DeviceKey, now_ms: u64) -> Option<Claim> {
    Some(Claim::Join(certificate(&owner(DOMAIN), device, Purpose::Join, now_ms)))
}

fn frame(device: &DeviceKey, said: SignIn) -> Value {
    let head = Head { device_id: device.device_id(), message_id: "s".into(), protocol_version: Some(PROTOCOL_VERSION), ..Head::default() };
    serde_json::from_str(&Frame { head, body: Body::SignIn(said) }.to_json()).unwrap()
}

fn say(connection: u64, device: &DeviceKey, said: SignIn, rooms: &mut Rooms) {
    rooms.say(connection, &frame(device, said));
}

/// A new device signs in on a new connection.
fn enter(rooms: &mut Rooms, connection: u64, device: &DeviceKey) {
    let said = open(rooms, connection);
    let now_ms = rooms.now.wall_ms;
    say(connection, device, answer(&said, device, join(device, now_ms)), rooms);
    let mut heard = rooms.hear(connection);
    if heard[0]["type"] == "hello" {
        let again: Hello = serde_json::from_value(heard.remove(0)).unwrap();
        say(connection, device, answer(&again, device, join(device, now_ms)), rooms);
        heard = rooms.hear(connection);
    }
    assert_eq!(heard[0]["type"], "signed_in", "{heard:?}");
}

/// What a device hears that is refused, and that its connection ends.
fn refused(rooms: &mut Rooms, connection: u64) -> String {
    let code = the_error(rooms, connection)["code"].as_str().unwrap().to_owned();
    assert_eq!(rooms.closed.pop(), Some((connection, 1008)), "{code}");
    code
}

/// A frame of a session.
fn session_frame(device: &DeviceKey, wallet: &str, kind: &str, fields: Value) -> Value {
    let peer = rooms::WALLETS[0];
    let mut frame = json!({ "type": kind, "sessionId": owner(DOMAIN).domains.session_of(wallet, peer), "deviceId": device.device_id(), "messageId": "f",
        "protocolVersion": 1, "wallet": wallet, "peerWallet": peer });
    frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    frame
}

#[test]
fn a_device_joins_once_and_then_needs_no_certificate() {
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    let account_id = owner(DOMAIN).account_id;
    assert_eq!(rooms.journal[&account_id].entries.len(), 1);
    rooms.feed(Input::Closed { connection: 1 });
    rooms.restart();
    let said = open(&mut rooms, 2);
    say(2, &key(1), answer(&said, &key(1), None), &mut rooms);
    let heard = rooms.hear(2);
    assert_eq!((&heard[0]["type"], &heard[0]["account"]["sequence"]), (&json!("signed_in"), &json!(1)));
    assert_eq!(rooms.journal[&account_id].entries.len(), 1);
}

#[test]
fn a_second_device_is_told_behind_what_to_enter() {
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    let said = open(&mut rooms, 2);
    say(2, &key(2), answer(&said, &key(2), join(&key(2), rooms.now.wall_ms)), &mut rooms);
    let again = hello(&mut rooms, 2);
    assert_eq!(again.account.map(|head| head.sequence), Some(1));
    assert_ne!(again.nonce, said.nonce);
    say(2, &key(2), answer(&again, &key(2), join(&key(2), rooms.now.wall_ms)), &mut rooms);
    assert_eq!(rooms.hear(2)[0]["type"], "signed_in");
    assert_eq!(rooms.journal[&owner(DOMAIN).account_id].entries.len(), 2);
}

#[test]
fn a_device_that_is_not_listed_is_asked_for_its_certificate() {
    let mut rooms = rooms();
    let said = open(&mut rooms, 1);
    say(1, &key(1), answer(&said, &key(1), None), &mut rooms);
    assert_eq!(hello(&mut rooms, 1).account.map(|head| head.sequence), Some(0));
    assert_eq!(rooms.closed, []);
}

#[test]
fn a_connection_is_not_told_for_ever_what_to_sign() {
    let mut rooms = rooms();
    let mut said = open(&mut rooms, 1);
    for _ in 1..HELLOS_MAX {
        say(1, &key(1), answer(&said, &key(1), None), &mut rooms);
        said = hello(&mut rooms, 1);
    }
    say(1, &key(1), answer(&said, &key(1), None), &mut rooms);
    assert_eq!((rooms.hear(1), rooms.closed.pop()), (vec![], Some((1, 1008))));
}

#[test]
fn before_sign_in_nothing_is_served() {
    let mut rooms = rooms();
    open(&mut rooms, 1);
    let wallet = wallet_address(&account::wallet().public());
    let frames = [
        session_frame(&key(1), &wallet, "device_announce", json!({})),
        session_frame(&key(1), &wallet, "sync_request", json!({})),
        session_frame(&key(1), &wallet, "sync_update", json!({ "messages": [], "lastDigest": "00".repeat(32) })),
        session_frame(&key(1), &wallet, "sync_heartbeat", json!({})),
        session_frame(&key(1), &wallet, "read_receipt", json!({ "receipts": [] })),
        session_frame(&key(1), &wallet, "sync_ack", json!({ "acknowledgedSequences": [1] })),
        json!({ "type": "wallet_announce", "deviceId": "d", "messageId": "f", "protocolVersion": 1, "wallet": wallet }),
        json!({ "type": "sync_heartbeat", "deviceId": "d", "messageId": "f", "protocolVersion": 1 }),
        rooms::chat("w", "hello"),
        rooms::seed("s", "device_announce", json!({})),
        rooms::seed("s", "sync_update", json!({ "messages": [rooms::seed_unsent(1, "x")] })),
    ];
    for frame in frames {
        rooms.say(1, &frame);
        assert_eq!(the_error(&mut rooms, 1)["code"], "SIGN_IN_REQUIRED", "{frame}");
    }
    assert!(rooms.journal.is_empty() && rooms.asked.is_empty());
}

#[test]
fn before_sign_in_frames_are_small_and_time_is_short() {
    let mut rooms = rooms();
    open(&mut rooms, 1);
    let said = open(&mut rooms, 2);
    rooms.say(1, &rooms::chat("w", &"x".repeat(UNSIGNED_FRAME_BYTES_MAX)));
    assert_eq!((the_error(&mut rooms, 1)["code"].clone(), rooms.closed.pop()), (json!("FRAME_TOO_LARGE"), Some((1, 1009))));
    assert_eq!(rooms.next_timeout_ms(), Some(rooms.now.monotonic_ms + SIGN_IN_TIMEOUT_MS));
    rooms.timeout(SIGN_IN_TIMEOUT_MS - 1);
    assert_eq!(rooms.closed, []);
    say(2, &key(1), answer(&said, &key(1), join(&key(1), rooms.now.wall_ms)), &mut rooms);
    open(&mut rooms, 3);
    rooms.timeout(SIGN_IN_TIMEOUT_MS);
    assert_eq!(rooms.closed, [(3, 1008)], "who has signed in stays");
}

#[test]
fn the_largest_sign_in_fits_before_sign_in() {
    let said = Hello { nonce: [1; 16], ..Hello::default() };
    let mut certificate = certificate(&owner(DOMAIN), &key(1), Purpose::Reset, account::NOW_MS);
    certificate.text = "x".repeat(solconnect_sync_core::limits::CERTIFICATE_BYTES_MAX);
    let mut largest = answer(&said, &key(1), Some(Claim::Reset(certificate)));
    largest.relay = "r".repeat(100);
    assert!(frame(&key(1), largest).to_string().len() <= UNSIGNED_FRAME_BYTES_MAX);
}

#[test]
fn a_nonce_is_taken_once_on_its_connection_and_in_time() {
    let mut rooms = rooms();
    let said = open(&mut rooms, 1);
    let proof = answer(&said, &key(1), join(&key(1), rooms.now.wall_ms));
    // On another connection.
    open(&mut rooms, 2);
    say(2, &key(1), proof.clone(), &mut rooms);
    let heard = rooms.hear(2);
    assert_eq!((&heard[0]["code"], &heard[1]["type"]), (&json!("NONCE_EXPIRED"), &json!("hello")));
    // Once more on its own: first it is good, and then another frame.
    say(1, &key(1), proof.clone(), &mut rooms);
    assert_eq!(rooms.hear(1)[0]["type"], "signed_in");
    say(1, &key(1), proof, &mut rooms);
    assert_eq!(refused(&mut rooms, 1), "INVALID_MESSAGE_FORMAT");
    // A wrong proof has used it up too.
    let said = open(&mut rooms, 3);
    let again = hello_after_missing_entry(&mut rooms, &said);
    say(3, &key(7), answer(&said, &key(7), None), &mut rooms);
    assert_eq!(rooms.hear(3)[0]["code"], "NONCE_EXPIRED");
    assert_ne!(again.nonce, said.nonce);
}

/// Device 7 signs in without an entry, and is told again.
fn hello_after_missing_entry(rooms: &mut Rooms, said: &Hello) -> Hello {
    say(3, &key(7), answer(said, &key(7), None), rooms);
    hello(rooms, 3)
}

#[test]
fn a_nonce_lives_for_a_minute() {
    let mut rooms = Rooms::over(|| Relay::with_sign_in(keeper(false)));
    let hello_of = |rooms: &mut Rooms, connection| {
        rooms.open_binary(connection);
        hello(rooms, connection)
    };
    let (one, other) = (hello_of(&mut rooms, 1), hello_of(&mut rooms, 2));
    rooms.timeout(NONCE_MS);
    say(1, &key(1), answer(&one, &key(1), join(&key(1), rooms.now.wall_ms)), &mut rooms);
    assert_eq!(rooms.hear(1)[0]["type"], "signed_in");
    rooms.timeout(1);
    say(2, &key(1), answer(&other, &key(1), None), &mut rooms);
    let heard = rooms.hear(2);
    assert_eq!((&heard[0]["code"], &heard[1]["type"]), (&json!("NONCE_EXPIRED"), &json!("hello")));
}

#[test]
fn nonces_are_never_the_same() {
    let mut rooms = rooms();
    let mut nonces: Vec<_> = (1..50).map(|connection| open(&mut rooms, connection).nonce).collect();
    let mut other = Rooms::over(|| Relay::with_sign_in(Doorkeeper { secret: [4; 32], ..keeper(true) }));
    nonces.extend((1..50).map(|connection| open(&mut other, connection).nonce));
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), 98);
}

#[test]
fn a_proof_for_another_relay_is_refused() {
    let mut rooms = rooms();
    // A foreign relay passes on what this one said, under its own name.
    let said = open(&mut rooms, 1);
    let owner = owner(DOMAIN);
    let foreign = Challenge { relay: "evil.example".into(), relay_key: said.relay_key, nonce: said.nonce, device_nonce: [7; 16] };
    let passed_on =
        SignIn { relay: "evil.example".into(), proof: foreign.prove(&owner.account_id, &key(1)), ..answer(&said, &key(1), None) };
    say(1, &key(1), passed_on.clone(), &mut rooms);
    assert_eq!(refused(&mut rooms, 1), "WRONG_RELAY");
    // It lies about the name.
    let said = open(&mut rooms, 2);
    let foreign = Challenge { nonce: said.nonce, ..foreign };
    let lying = SignIn { relay: RELAY.into(), nonce: said.nonce, proof: foreign.prove(&owner.account_id, &key(1)), ..passed_on };
    say(2, &key(1), lying, &mut rooms);
    assert_eq!(refused(&mut rooms, 2), "INVALID_SIGNATURE");
    // The device signed another relay's key.
    let said = open(&mut rooms, 3);
    let other = Hello { relay_key: key(50).public(), ..said };
    say(3, &key(1), answer(&other, &key(1), None), &mut rooms);
    assert_eq!(refused(&mut rooms, 3), "INVALID_SIGNATURE");
}

#[test]
fn a_proof_by_another_key_is_refused() {
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    let said = open(&mut rooms, 2);
    let stolen = SignIn { proof: answer(&said, &key(9), None).proof, ..answer(&said, &key(1), None) };
    say(2, &key(1), stolen, &mut rooms);
    assert_eq!(refused(&mut rooms, 2), "INVALID_SIGNATURE");
    let said = open(&mut rooms, 3);
    let mut neutral = answer(&said, &key(1), None);
    neutral.key = [0; 32];
    neutral.key[0] = 1;
    (neutral.proof, neutral.proof[0]) = ([0; 64], 1);
    say(3, &key(1), neutral, &mut rooms);
    assert_eq!(refused(&mut rooms, 3), "INVALID_KEY", "of low order");
    let said = open(&mut rooms, 4);
    let mut bent = answer(&said, &key(1), None);
    bent.proof[40] ^= 1;
    say(4, &key(1), bent, &mut rooms);
    assert_eq!(refused(&mut rooms, 4), "INVALID_SIGNATURE");
}

#[test]
fn a_proof_in_another_form_is_refused() {
    /// The order of the group, the least byte first: a signature with it added to its second half is one to lenient libraries.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0x10,
    ];
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    let said = open(&mut rooms, 2);
    let mut second = answer(&said, &key(1), None);
    let mut carry = 0;
    for (byte, add) in second.proof[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    say(2, &key(1), second, &mut rooms);
    assert_eq!(refused(&mut rooms, 2), "INVALID_SIGNATURE");
    // A key and a first half of low order, in whatever form.
    for (connection, first) in (3..).zip([0x00, 0x01, 0xec, 0xed, 0xee]) {
        let said = open(&mut rooms, connection);
        let mut low = answer(&said, &key(1), None);
        low.key = [if first > 1 { 0xff } else { 0 }; 32];
        (low.key[0], low.key[31]) = (first, if first > 1 { 0x7f } else { 0 });
        low.proof = [0; 64];
        low.proof[..32].copy_from_slice(&low.key);
        say(connection, &key(1), low, &mut rooms);
        assert_eq!(refused(&mut rooms, connection), "INVALID_KEY", "{first:x}");
    }
}

#[test]
fn a_certificate_with_a_fault_is_refused_by_its_code() {
    let mut rooms = rooms();
    let now_ms = rooms.now.wall_ms;
    let (mine, elsewhere) = (owner(DOMAIN), owner("other.example"));
    let good = |purpose| certificate(&mine, &key(1), purpose, now_ms);
    let mut forged = good(Purpose::Join);
    forged.signature[3] ^= 1;
    let mut other_text = good(Purpose::Join);
    other_text.text.push('\n');
    let faults = [
        (Claim::Join(certificate(&elsewhere, &key(1), Purpose::Join, now_ms)), "WRONG_DOMAIN"),
        (Claim::Join(certificate(&mine, &key(2), Purpose::Join, now_ms)), "WRONG_KEY"),
        (Claim::Join(good(Purpose::Reset)), "WRONG_PURPOSE"),
        (Claim::Reset(good(Purpose::Join)), "WRONG_PURPOSE"),
        (Claim::Join(certificate(&mine, &key(1), Purpose::Join, now_ms - OFFER_MS - 1)), "CERTIFICATE_EXPIRED"),
        (Claim::Join(forged), "INVALID_SIGNATURE"),
        (Claim::Join(other_text), "INVALID_CERTIFICATE"),
        (Claim::Remove { devices: vec![key(1).device_id()], kept: vec![] }, "DEVICE_NOT_APPROVED"),
        (Claim::Succeed(Succession::sign(&key(2), &mine, &key(1).public())), "WRONG_KEY"),
    ];
    for (connection, (claim, code)) in (1..).zip(faults) {
        let said = open(&mut rooms, connection);
        let said = answer(&said, &key(1), Some(claim));
        say(connection, &key(1), said.clone(), &mut rooms);
        let heard = rooms.hear(connection);
        let answered: SignedIn = serde_json::from_value(heard[0].clone()).unwrap();
        assert_eq!((answered.refused.as_deref(), answered.account), (Some(code), None));
        let entry = said_digest(said.messages.entries().unwrap().first());
        check_greeting(&key(100).public(), &said.proof, None, Some((code, &entry)), &answered.greeting)
            .expect("it is the relay that refuses");
        assert_eq!((heard.len(), &heard[1]["code"], rooms.closed.pop()), (2, &json!(code), Some((connection, 1008))));
    }
    assert!(rooms.journal.values().all(|rows| rows.entries.is_empty()), "nothing was stored");
}

#[test]
fn an_entry_that_is_not_the_devices_own_is_refused() {
    let mut rooms = rooms();
    let owner = owner(DOMAIN);
    let statement = |rooms: &Rooms, device: u8| {
        let head = Account::new(owner.clone()).head();
        Statement::sign(&key(device), &owner, head, join(&key(device), rooms.now.wall_ms).unwrap())
    };
    let mut entries = vec![statement(&rooms, 2).entry(&owner, 1, 5), statement(&rooms, 1).entry(&owner, 2, 5)];
    let mut named = statement(&rooms, 1).entry(&owner, 1, 5);
    named.message.id = "other".into();
    let mut foreign = statement(&rooms, 1).entry(&owner, 1, 5);
    foreign.message.session_id = "room".into();
    entries.extend([named, foreign]);
    for (connection, entry) in (1..).zip(entries) {
        let said = open(&mut rooms, connection);
        let wrong = SignIn { messages: Batch::of(&[entry]).unwrap(), ..answer(&said, &key(1), None) };
        say(connection, &key(1), wrong, &mut rooms);
        assert_eq!(refused(&mut rooms, connection), "INVALID_MESSAGE_FORMAT");
    }
}

#[test]
fn a_reset_cuts_the_other_devices_and_they_never_return() {
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    enter(&mut rooms, 2, &key(2));
    rooms.timeout(1);
    let said = open(&mut rooms, 3);
    let reset = |rooms: &Rooms| Some(Claim::Reset(certificate(&owner(DOMAIN), &key(3), Purpose::Reset, rooms.now.wall_ms)));
    let claim = reset(&rooms);
    say(3, &key(3), answer(&said, &key(3), claim), &mut rooms);
    assert_eq!(rooms.hear(3)[0]["type"], "signed_in", "whatever head it names");
    for connection in [1, 2] {
        assert_eq!(the_error(&mut rooms, connection)["code"], "DEVICE_REMOVED");
    }
    rooms.closed.sort_unstable();
    assert_eq!(rooms.closed, [(1, 1008), (2, 1008)]);
    rooms.closed.clear();
    for (connection, claim) in [(4, None), (5, join(&key(1), rooms.now.wall_ms))] {
        let said = open(&mut rooms, connection);
        say(connection, &key(1), answer(&said, &key(1), claim), &mut rooms);
        assert_eq!(refused(&mut rooms, connection), "DEVICE_REMOVED");
    }
}

#[test]
fn a_successor_signs_in_without_the_wallet() {
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    let succeed = || Some(Claim::Succeed(Succession::sign(&key(1), &owner(DOMAIN), &key(2).public())));
    let said = open(&mut rooms, 2);
    say(2, &key(2), answer(&said, &key(2), succeed()), &mut rooms);
    let again = hello(&mut rooms, 2);
    say(2, &key(2), answer(&again, &key(2), succeed()), &mut rooms);
    assert_eq!(rooms.hear(2)[0]["type"], "signed_in");
}

#[test]
fn who_has_signed_in_speaks_for_itself_alone() {
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    let wallet = wallet_address(&account::wallet().public());
    let other = rooms::WALLETS[1];
    for frame in [
        session_frame(&key(2), &wallet, "device_announce", json!({})),
        session_frame(&key(1), other, "device_announce", json!({})),
        json!({ "type": "wallet_announce", "deviceId": key(1).device_id(), "protocolVersion": 1, "wallet": other }),
        rooms::seed("s", "device_announce", json!({})),
    ] {
        rooms.say(1, &frame);
        assert_eq!(the_error(&mut rooms, 1)["code"], "WRONG_KEY", "{frame}");
    }
    rooms.say(1, &session_frame(&key(1), &wallet, "device_announce", json!({})));
    assert_eq!(rooms.hear_only(1, "device_list").len(), 1);
}

/// A frame about the account.
fn of_account(device: &DeviceKey, body: Body) -> Value {
    let head = Head {
        session_id: owner(DOMAIN).account_id,
        device_id: device.device_id(),
        message_id: "f".into(),
        protocol_version: Some(PROTOCOL_VERSION),
        ..Head::default()
    };
    serde_json::from_str(&Frame { head, body }.to_json()).unwrap()
}

/// What a device says of others, behind this place.
fn change(device: &DeviceKey, after: LogHead, counter: u64, claim: Claim) -> Entry {
    Statement::sign(device, &owner(DOMAIN), after, claim).entry(&owner(DOMAIN), counter, account::NOW_MS)
}

fn update(entries: &[Entry]) -> Body {
    Body::SyncUpdate(SyncUpdate { messages: Batch::of(entries).unwrap(), ..SyncUpdate::default() })
}

fn remove(numbers: &[u8]) -> Claim {
    Claim::Remove { devices: account::names(numbers), kept: vec![] }
}

fn account_head(rooms: &Rooms) -> LogHead {
    let last = rooms.journal[&owner(DOMAIN).account_id].entries.last().unwrap();
    LogHead { sequence: last.sequence, hash: last.log_hash }
}

#[test]
fn an_account_is_written_by_its_own_devices_and_read_by_others() {
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    let mut open = Rooms::over(|| Relay::with_sign_in(keeper(false)));
    open.open(1);
    let (mine, others) = (owner(DOMAIN).account_id, owner("other.example").account_id);
    let wallet = wallet_address(&account::wallet().public());
    let request = |session_id: &str, device: &DeviceKey| session_frame(device, &wallet, "sync_request", json!({ "sessionId": session_id }));
    let mut bare = request(&mine, &key(1));
    bare.as_object_mut().unwrap().remove("protocolVersion");
    let mut chat = rooms::chat("w", "x");
    (chat["roomId"], chat["deviceId"]) = (json!(mine), json!(key(1).device_id()));
    // By nobody's id but its own, and nothing is said of another's.
    let written =
        session_frame(&key(1), &wallet, "sync_update", json!({ "sessionId": others, "messages": [], "lastDigest": "00".repeat(32) }));
    let foreign = [request(&mine, &key(2)), written, bare, chat];
    let kinds = ["device_announce", "sync_heartbeat", "sync_ack", "read_receipt"];
    let odd =
        kinds.map(|kind| session_frame(&key(1), &wallet, kind, json!({ "sessionId": mine, "receipts": [], "acknowledgedSequences": [1] })));
    for frame in foreign.iter().chain(&odd) {
        for rooms in [&mut rooms, &mut open] {
            rooms.say(1, frame);
            assert_eq!(the_error(rooms, 1)["code"], "NOT_A_MEMBER", "{frame}");
        }
    }
    rooms.say(1, &request(&mine, &key(1)));
    let heard = rooms.hear_only(1, "sync_response");
    assert_eq!((heard.len(), &heard[0]["latestSequence"], &heard[0]["inReplyTo"]), (1, &json!(1), &json!("f")));
    assert_eq!((heard[0]["messages"].as_array().map(Vec::len), &heard[0]["log"]["sequence"]), (Some(1), &json!(1)));
    rooms.say(1, &session_frame(&key(1), &wallet, "sync_request", json!({ "sessionId": mine, "lastSyncedSequence": 1 })));
    assert_eq!(rooms.hear_only(1, "sync_response")[0]["messages"], json!([]));
    rooms.say(1, &request(&others, &key(1)));
    let heard = rooms.hear_only(1, "sync_response");
    assert_eq!(
        (&heard[0]["latestSequence"], &heard[0]["messages"], &heard[0]["log"]["sequence"]),
        (&json!(0), &json!([]), &json!(0)),
        "{heard:?}"
    );
    open.say(1, &request(&mine, &key(1)));
    assert_eq!(the_error(&mut open, 1)["code"], "NOT_A_MEMBER", "nobody has signed in");
}

#[test]
fn a_connection_has_few_account_logs_read_at_once() {
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    rooms.hear(1);
    let wallet = wallet_address(&account::wallet().public());
    let request = session_frame(&key(1), &wallet, "sync_request", json!({ "sessionId": owner("other.example").account_id }));
    for _ in 0..2 {
        rooms.held = Some(VecDeque::new());
        (0..=ACCOUNT_READS_MAX).for_each(|_| rooms.say(1, &request));
        assert_eq!(the_error(&mut rooms, 1)["code"], "RELAY_BUSY");
        while rooms.held.as_ref().is_some_and(|held| !held.is_empty()) {
            rooms.answer(false);
        }
        rooms.held = None;
        assert_eq!(rooms.hear_only(1, "sync_response").len(), ACCOUNT_READS_MAX);
    }
}

#[test]
fn a_removed_device_is_cut_and_knows_why() {
    let mut rooms = rooms();
    (1..=3).for_each(|number| enter(&mut rooms, u64::from(number), &key(number)));
    (1..=3).for_each(|connection| drop(rooms.hear(connection)));
    let entry = change(&key(1), account_head(&rooms), 2, remove(&[2]));
    rooms.say(1, &of_account(&key(1), update(&[entry])));
    for connection in 1..=3 {
        let heard = rooms.hear(connection);
        let kinds: Vec<_> = heard.iter().map(|frame| frame["type"].as_str().or(frame["code"].as_str()).unwrap().to_owned()).collect();
        let expected: &[&str] = if connection == 2 { &["sync_response", "DEVICE_REMOVED"] } else { &["sync_response"] };
        assert_eq!(kinds, expected);
        assert_eq!((&heard[0]["latestSequence"], &heard[0]["messages"][0]["message"]["kind"]), (&json!(4), &json!(5)));
    }
    assert_eq!(rooms.closed, [(2, 1008)]);
    // What it still says is not heard, and it does not come back.
    let wallet = wallet_address(&account::wallet().public());
    rooms.say(2, &session_frame(&key(2), &wallet, "device_announce", json!({})));
    assert_eq!(rooms.hear(2), [] as [Value; 0]);
    let said = open(&mut rooms, 4);
    say(4, &key(2), answer(&said, &key(2), None), &mut rooms);
    rooms.closed.clear();
}

#[test]
fn a_stranger_who_names_a_removed_device_is_shown_nothing() {
    let mut rooms = rooms();
    enter(&mut rooms, 1, &key(1));
    enter(&mut rooms, 2, &key(2));
    rooms.say(1, &of_account(&key(1), update(&[change(&key(1), account_head(&rooms), 2, remove(&[2]))])));
    let forged = Succession { predecessor: key(2).public(), ..Succession::sign(&key(9), &owner(DOMAIN), &key(9).public()) };
    let truly = Succession::sign(&key(2), &owner(DOMAIN), &key(9).public());
    for (connection, succession, code, types) in [
        (3, forged, "INVALID_SIGNATURE", vec!["signed_in".into(), Value::Null]),
        (4, truly, "DEVICE_REMOVED", vec!["signed_in".into(), "sync_response".into(), Value::Null]),
    ] {
        let said = open(&mut rooms, connection);
        say(connection, &key(9), answer(&said, &key(9), Some(Claim::Succeed(succession.clone()))), &mut rooms);
        let again = hello(&mut rooms, connection);
        say(connection, &key(9), answer(&again, &key(9), Some(Claim::Succeed(succession))), &mut rooms);
        let heard = rooms.hear(connection);
        let heard_types: Vec<Value> = heard.iter().map(|frame| frame["type"].clone()).collect();
        assert_eq!(heard_types, types, "an error has no type");
        assert_eq!((&heard[0]["refused"], heard[0].get("account").is_some()), (&json!(code), types.len() == 3));
    }
}

#[test]
fn a_removed_device_that_takes_nothing_has_nothing_more_read() {
    let mut rooms = rooms();
    (1..=2).for_each(|number| enter(&mut rooms, u64::from(number), &key(number)));
    // A long log: devices that come and go, ten a day.
    for (counter, number) in (2..).zip(2..=99) {
        rooms.now.wall_ms += 24 * 60 * 60 * 1_000 / 10;
        if number > 2 {
            enter(&mut rooms, u64::from(number), &key(number));
        }
        rooms.say(1, &of_account(&key(1), update(&[change(&key(1), account_head(&rooms), counter, remove(&[number]))])));
    }
    let through = account_head(&rooms).sequence;
    rooms.closed.clear();
    rooms.stuck.push(200);
    let said = open(&mut rooms, 200);
    say(200, &key(2), answer(&said, &key(2), None), &mut rooms);
    let mut heard = rooms.hear(200);
    let bytes: usize = heard.iter().map(|frame| frame.to_string().len()).sum();
    assert!(bytes < SOCKET_QUEUE_BYTES_CUT, "{bytes}");
    let last = |heard: &[Value]| heard.iter().filter_map(|frame| frame["log"]["sequence"].as_u64()).max();
    assert!(last(&heard) < Some(through), "{:?} of {through}", last(&heard));
    rooms.stuck.clear();
    rooms.feed(Input::Sent { connection: 200, bytes: SOCKET_QUEUE_BYTES_CUT });
    heard.extend(rooms.hear(200));
    assert_eq!((last(&heard), &heard.last().unwrap()["code"]), (Some(through), &json!("DEVICE_REMOVED")));
    assert_eq!(rooms.closed, [(200, 1008)]);
}

#[test]
fn a_change_that_does_not_count_is_refused_by_its_code() {
    let mut rooms = rooms();
    (1..=2).for_each(|number| enter(&mut rooms, u64::from(number), &key(number)));
    (1..=2).for_each(|connection| drop(rooms.hear(connection)));
    let head = account_head(&rooms);
    let good = change(&key(1), head, 2, remove(&[2]));
    let mut forged = good.clone();
    forged.message.ciphertext = change(&key(2), head, 2, remove(&[2])).message.ciphertext;
    let other_kind = Entry { message: Message { kind: Kind::MESSAGE, ..good.message.clone() }, ..good.clone() };
    let join = Claim::Join(certificate(&owner(DOMAIN), &key(1), Purpose::Join, rooms.now.wall_ms));
    let cases = [
        (2, update(&[change(&key(2), head, 2, remove(&[1]))]), "DEVICE_NOT_APPROVED"),
        (1, update(&[change(&key(1), Account::new(owner(DOMAIN)).head(), 2, remove(&[2]))]), "ACCOUNT_MOVED"),
        (1, update(&[change(&key(1), head, 3, remove(&[2]))]), "ACCOUNT_MOVED"),
        (1, update(&[change(&key(1), head, 2, remove(&[9]))]), "INVALID_ARGUMENT"),
        (1, update(&[change(&key(1), head, 2, join)]), "DEVICE_REMOVED"),
        (1, update(&[change(&key(2), head, 2, remove(&[1]))]), "INVALID_MESSAGE_FORMAT"),
        (1, update(&[good.clone(), change(&key(1), head, 3, remove(&[2]))]), "INVALID_MESSAGE_FORMAT"),
        (1, update(&[]), "INVALID_MESSAGE_FORMAT"),
        (1, update(&[forged]), "WRONG_KEY"),
        (1, update(&[other_kind]), "INVALID_MESSAGE_FORMAT"),
    ];
    for (connection, body, code) in cases {
        rooms.say(connection, &of_account(&key(connection as u8), body));
        let error = the_error(&mut rooms, connection);
        assert_eq!((&error["code"], &error["inReplyTo"]), (&json!(code), &json!("f")));
    }
    assert_eq!((account_head(&rooms), rooms.closed.len()), (head, 0), "who has signed in stays");
    // The same entry twice: the second names a place that is taken.
    let frame = of_account(&key(1), update(&[good]));
    rooms.say(1, &frame);
    rooms.say(1, &frame);
    assert_eq!(the_error(&mut rooms, 1)["code"], "ACCOUNT_MOVED");
}

#[test]
fn what_devices_say_of_keys_is_stored_and_told() {
    let mut rooms = rooms();
    (1..=3).for_each(|number| enter(&mut rooms, u64::from(number), &key(number)));
    let desk = |rooms: &Rooms| {
        let mut desk = account::Desk::new();
        for stored in &rooms.journal[&owner(DOMAIN).account_id].entries {
            desk.account.take(&stored.body.entries().unwrap()[0]).unwrap().expect("the relay takes what counts");
        }
        desk
    };
    type Said = fn(&account::Desk) -> Claim;
    let said: [(u8, Said); 8] = [
        (1, |_| Claim::SealKey(account::seal_key(1).public())),
        (2, |_| Claim::SealKey(account::seal_key(2).public())),
        (1, |desk| Claim::Generation(desk.generation(&[], &[]))),
        (1, |desk| Claim::ApproveWithKey(vec![(key(2).device_id(), desk.sealed(2))])),
        (2, |desk| Claim::RecoveryKey(desk.code(100))),
        (3, |desk| desk.recovery(3, 100)),
        (3, |_| Claim::SealKey(account::seal_key(3).public())),
        (3, |desk| Claim::RemoveAndRenew {
            devices: account::names(&[1]),
            kept: account::names(&[2]),
            generation: desk.generation(&[1], &[2]),
        }),
    ];
    for (number, claim) in said {
        let before = desk(&rooms);
        (1..=3).for_each(|connection| drop(rooms.hear(connection)));
        let (device, head) = (key(number), before.account.head());
        let counter = before.account.log().counter(&device.device_id()) + 1;
        rooms.say(u64::from(number), &of_account(&device, update(&[change(&device, head, counter, claim(&before))])));
        assert_eq!(account_head(&rooms).sequence, head.sequence + 1);
        for connection in 1..=3 {
            assert_eq!(rooms.hear_only(connection, "sync_response")[0]["latestSequence"], json!(head.sequence + 1));
        }
    }
    let desk = desk(&rooms);
    assert_eq!((desk.shown().as_str(), desk.opened(2), desk.opened(3)), ("2! 3!", vec![2, 1], vec![2, 1]));
    assert_eq!(rooms.closed.len(), 1, "who was removed is cut");
}

#[test]
fn where_it_is_not_required_seed_clients_hear_nothing_of_it() {
    let mut rooms = Rooms::over(|| Relay::with_sign_in(keeper(false)));
    rooms.open(1);
    assert_eq!(rooms.hear(1), [] as [Value; 0]);
    rooms.say(1, &rooms::chat("w", "hello"));
    assert_eq!(rooms.texts(), ["hello"]);
    rooms.open_binary(2);
    let said = hello(&mut rooms, 2);
    assert!(!said.sign_in_required);
    rooms.say(2, &rooms::announce("d", rooms::WALLETS[0]));
    assert_eq!(rooms.hear_only(2, "device_list").len(), 1, "it need not sign in");
    assert_eq!(rooms.next_timeout_ms().filter(|at_ms| *at_ms > rooms.now.monotonic_ms + 2_000), None);
}

#[test]
fn a_relay_without_a_key_signs_nobody_in() {
    let mut rooms = Rooms::new();
    rooms.open_binary(1);
    assert_eq!(rooms.hear(1), [] as [Value; 0]);
    say(1, &key(1), answer(&Hello::default(), &key(1), None), &mut rooms);
    assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT");
}

#[test]
fn devices_that_sign_in_while_the_journal_works_take_turns() {
    let mut rooms = rooms();
    rooms.held = Some(Default::default());
    let said: Vec<Hello> = (1..=3).map(|connection| open(&mut rooms, connection)).collect();
    for (connection, said) in (1..).zip(&said) {
        let device = key(connection as u8);
        say(connection, &device, answer(said, &device, join(&device, rooms.now.wall_ms)), &mut rooms);
    }
    rooms.timeout(2 * SIGN_IN_TIMEOUT_MS);
    assert_eq!(rooms.closed, [], "it is not for them to be in time");
    rooms.answer(false);
    rooms.answer(false);
    assert_eq!(rooms.hear(1)[0]["type"], "signed_in");
    for connection in [2, 3] {
        assert_eq!(hello(&mut rooms, connection).account.map(|head| head.sequence), Some(1));
    }
}

#[test]
fn what_the_journal_does_not_store_signs_nobody_in() {
    let mut rooms = rooms();
    rooms.held = Some(Default::default());
    let said = open(&mut rooms, 1);
    say(1, &key(1), answer(&said, &key(1), join(&key(1), rooms.now.wall_ms)), &mut rooms);
    rooms.answer(false);
    rooms.answer(true);
    assert_eq!(refused(&mut rooms, 1), "RELAY_STORAGE_FAILED");
    let said = open(&mut rooms, 2);
    say(2, &key(1), answer(&said, &key(1), join(&key(1), rooms.now.wall_ms)), &mut rooms);
    rooms.answer(true);
    assert_eq!(refused(&mut rooms, 2), "RELAY_STORAGE_FAILED");
    rooms.held = None;
    enter(&mut rooms, 3, &key(1));
}

#[test]
fn who_leaves_while_the_journal_works_is_listed_all_the_same() {
    let mut rooms = rooms();
    rooms.held = Some(Default::default());
    let said = open(&mut rooms, 1);
    say(1, &key(1), answer(&said, &key(1), join(&key(1), rooms.now.wall_ms)), &mut rooms);
    rooms.answer(false);
    rooms.feed(Input::Closed { connection: 1 });
    rooms.answer(false);
    rooms.held = None;
    let said = open(&mut rooms, 2);
    say(2, &key(1), answer(&said, &key(1), None), &mut rooms);
    assert_eq!(rooms.hear(2)[0]["type"], "signed_in");
}

#[test]
fn both_forms_of_the_frames_say_the_same() {
    let hello = Hello {
        earlier: Vec::new(),
        nonce: [1; 16],
        relay_key: [2; 32],
        time: 5,
        sign_in_required: true,
        account: Some(LogHead { sequence: 3, hash: [4; 32] }),
    };
    let said = answer(&hello, &key(1), join(&key(1), account::NOW_MS));
    for body in [Body::Hello(hello.clone()), Body::Hello(Hello { account: None, sign_in_required: false, ..hello }), Body::SignIn(said)] {
        let frame =
            Frame { head: Head { device_id: "d".into(), message_id: "m".into(), protocol_version: Some(1), ..Head::default() }, body };
        assert_eq!(Frame::parse(&frame.to_json()).unwrap(), frame);
        assert_eq!(Frame::from_bytes(&frame.to_bytes().unwrap()).unwrap().body, frame.body);
    }
}

#[test]
fn a_connection_asks_once_at_a_time_who_it_is() {
    let mut rooms = rooms();
    rooms.held = Some(Default::default());
    let said = open(&mut rooms, 1);
    let now_ms = rooms.now.wall_ms;
    say(1, &key(1), answer(&said, &key(1), join(&key(1), now_ms)), &mut rooms);
    // It would be two devices, of which the relay forgets one.
    say(1, &key(1), answer(&said, &key(1), join(&key(1), now_ms)), &mut rooms);
    assert_eq!(refused(&mut rooms, 1), "INVALID_MESSAGE_FORMAT");
    rooms.answer(false);
    rooms.held = None;
    assert_eq!(rooms.counts().signed_in, 0);
    enter(&mut rooms, 2, &key(1));
}

#[test]
fn a_removal_that_was_stored_unknown_to_the_relay_cuts_too() {
    let mut rooms = rooms();
    (1..=2).for_each(|number| enter(&mut rooms, u64::from(number), &key(number)));
    rooms.held = Some(Default::default());
    let entry = change(&key(1), account_head(&rooms), 2, remove(&[2]));
    rooms.say(1, &of_account(&key(1), update(&[entry])));
    let (ticket, question) = rooms.held.as_mut().and_then(|held| held.pop_front()).unwrap();
    rooms.held = None;
    assert_eq!(rooms.ask(question), Some(JournalAnswer::Appended));
    rooms.feed(Input::Journal { ticket, answer: JournalAnswer::Failed { reason: "disk".into() } });
    assert_eq!(rooms.closed, [(2, 1008)], "the relay reads who is listed");
    assert_eq!(rooms.hear(1).last().unwrap()["code"], "RELAY_STORAGE_FAILED");
    rooms.closed.clear();
    let said = open(&mut rooms, 3);
    say(3, &key(2), answer(&said, &key(2), None), &mut rooms);
    assert_eq!(refused(&mut rooms, 3), "DEVICE_REMOVED");
}
