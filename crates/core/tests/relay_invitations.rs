//! Whom the relay tells of sessions that others begin, rule by rule.

use crate::rooms;
use crate::rooms::{ROOM, Rooms, WALLETS, seed, the_error, v1};
use serde_json::{Value, json};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Digest, Entry, first_digest};
use solconnect_sync_core::ids::{session_of, wallet_address};
use solconnect_sync_core::limits::LISTED_SESSIONS_MAX;
use solconnect_sync_core::message::Message;
use solconnect_sync_core::relay::{Input, MemberRow, Reading, StoredEntry};

const ALICE: &str = WALLETS[0];
const BOB: &str = WALLETS[1];

fn session() -> String {
    session_of(ALICE, BOB)
}

/// A frame of a v1 device in the session of both wallets.
fn in_session(device: &str, kind: &str, fields: Value) -> Value {
    let mut frame = v1(device, kind, fields);
    frame["sessionId"] = json!(session());
    frame
}

fn announce(device: &str, wallet: &str, peer_wallet: &str) -> Value {
    in_session(device, "device_announce", json!({ "wallet": wallet, "peerWallet": peer_wallet }))
}

fn wallet_announce(wallet: &str) -> Value {
    let mut frame = v1("any", "wallet_announce", json!({ "wallet": wallet }));
    frame["sessionId"] = json!("");
    frame
}

/// The first message of a device.
fn first_update(device: &str, wallet: &str) -> Value {
    next_update(device, wallet, 1, &mut first_digest(&session(), device))
}

/// A message of a device, which follows the one with this digest.
fn next_update(device: &str, wallet: &str, counter: u64, digest: &mut Digest) -> Value {
    let id = format!("{}:{device}:start0:{counter}", session());
    let message = json!({ "id": id, "sender_wallet": wallet, "ciphertext": "hi", "session_id": session() });
    let entry = json!({ "message": message, "originalDeviceId": device, "counter": counter, "knows": 0, "serverTimestamp": 7 });
    *digest = serde_json::from_value::<Entry>(entry.clone()).unwrap().digest(digest);
    in_session(device, "sync_update", json!({ "messages": [entry], "lastDigest": rooms::hex(digest) }))
}

/// A connection of a wallet that takes part in nothing; what it is told at once.
fn arrive(rooms: &mut Rooms, connection: u64, wallet: &str) -> Value {
    rooms.open(connection);
    rooms.say(connection, &wallet_announce(wallet));
    rooms.hear_only(connection, "session_list").remove(0)
}

/// The sessions that a connection was told of: the other wallet, the end of the log, whether its own has taken part.
fn told(rooms: &mut Rooms, connection: u64) -> Vec<(String, u64, bool)> {
    let lists = rooms.hear_only(connection, "session_list");
    lists.iter().flat_map(listed).collect()
}

fn listed(list: &Value) -> Vec<(String, u64, bool)> {
    let sessions = list["sessions"].as_array().unwrap();
    let of = |listed: &Value| {
        let peer = listed["peerWallet"].as_str().unwrap().to_owned();
        (peer, listed["latestSequence"].as_u64().unwrap(), listed["joined"].as_bool().unwrap())
    };
    sessions.iter().map(of).collect()
}

#[test]
fn an_announcement_is_told_once_and_not_kept() {
    let mut rooms = Rooms::new();
    assert_eq!(listed(&arrive(&mut rooms, 1, BOB)), []);
    rooms.open(2);
    rooms.say(2, &announce("a", ALICE, BOB));
    assert_eq!(told(&mut rooms, 1), [(ALICE.to_owned(), 0, false)]);
    rooms.say(2, &announce("a", ALICE, BOB));
    assert_eq!(told(&mut rooms, 1), [], "once");
    assert!(!rooms.asked.contains(&"note") && !rooms.asked.contains(&"append"), "{:?}", rooms.asked);
    assert_eq!(listed(&arrive(&mut rooms, 3, BOB)), [], "and who comes later hears of it with its first entry");
    rooms.say(2, &first_update("a", ALICE));
    assert_eq!([1, 3].map(|connection| told(&mut rooms, connection)), [(); 2].map(|()| vec![(ALICE.to_owned(), 1, false)]));
}

#[test]
fn an_invitation_is_kept_from_the_first_entry_through_restarts() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &announce("a", ALICE, BOB));
    rooms.say(1, &first_update("a", ALICE));
    for _ in 0..2 {
        rooms.restart();
        let list = arrive(&mut rooms, 7, BOB);
        assert_eq!(listed(&list), [(ALICE.to_owned(), 1, false)]);
        assert_eq!((list["inReplyTo"].as_str(), list["sessions"][0]["sessionId"].as_str()), (Some("wallet_announce-1"), Some(&*session())));
        assert_eq!(listed(&arrive(&mut rooms, 8, ALICE)), [(BOB.to_owned(), 1, true)], "it is its writer's too");
    }
}

#[test]
fn a_wallet_that_accepted_is_told_no_more() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &announce("a", ALICE, BOB));
    rooms.say(1, &first_update("a", ALICE));
    arrive(&mut rooms, 2, BOB);
    arrive(&mut rooms, 3, BOB);
    rooms.say(2, &announce("b", BOB, ALICE));
    assert_eq!(told(&mut rooms, 3), [(ALICE.to_owned(), 1, true)], "its other devices take part now");
    assert_eq!(told(&mut rooms, 2), [], "who takes part needs no telling");
    rooms.say(2, &wallet_announce(BOB));
    assert_eq!(told(&mut rooms, 2), [], "nor a list");
    rooms.restart();
    assert_eq!(listed(&arrive(&mut rooms, 4, BOB)), [(ALICE.to_owned(), 1, true)], "that is kept");
}

#[test]
fn who_takes_part_is_listed_so_though_the_journal_lost_it() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &announce("a", ALICE, BOB));
    rooms.say(1, &first_update("a", ALICE));
    rooms.open(2);
    rooms.say(2, &announce("b", BOB, ALICE));
    rooms.journal.get_mut(&session()).unwrap().members.get_mut(BOB).unwrap().joined = false;
    assert_eq!(listed(&arrive(&mut rooms, 3, BOB)), [(ALICE.to_owned(), 1, true)]);
    let mut digest = first_digest(&session(), "b");
    rooms.say(2, &next_update("b", BOB, 1, &mut digest));
    assert_eq!(told(&mut rooms, 3), [], "as a session that it takes part in");
}

#[test]
fn later_messages_are_told_to_who_takes_no_part() {
    let mut rooms = Rooms::new();
    arrive(&mut rooms, 1, BOB);
    arrive(&mut rooms, 2, ALICE);
    rooms.open(3);
    rooms.say(3, &announce("a", ALICE, BOB));
    [1, 2].iter().for_each(|connection| drop(told(&mut rooms, *connection)));
    let mut digest = first_digest(&session(), "a");
    rooms.say(3, &next_update("a", ALICE, 1, &mut digest));
    assert_eq!(told(&mut rooms, 1), [(ALICE.to_owned(), 1, false)]);
    assert_eq!(told(&mut rooms, 2), [(BOB.to_owned(), 1, true)], "it is kept from now on");
    for counter in 2..=400 {
        rooms.say(3, &next_update("a", ALICE, counter, &mut digest));
        assert_eq!(told(&mut rooms, 1), [(ALICE.to_owned(), counter, false)]);
    }
    assert_eq!(told(&mut rooms, 2), [], "its wallet takes part");
    assert_eq!(rooms.reading(3), Reading::Now, "only a session that begins is dear");
}

#[test]
fn a_connection_is_one_wallets_at_a_time() {
    let mut rooms = Rooms::new();
    arrive(&mut rooms, 1, BOB);
    rooms.say(1, &wallet_announce(ALICE));
    rooms.hear(1);
    rooms.open(2);
    rooms.say(2, &announce("a", ALICE, BOB));
    assert_eq!(told(&mut rooms, 1), [(BOB.to_owned(), 0, true)]);
}

#[test]
fn a_session_of_other_wallets_is_refused() {
    let mut rooms = Rooms::new();
    arrive(&mut rooms, 1, BOB);
    rooms.open(2);
    let nobody = wallet_address(&[7; 32]);
    for (wallet, peer_wallet, code) in [
        (ALICE, &*nobody, "INVALID_MESSAGE_FORMAT"),
        (&nobody, BOB, "INVALID_MESSAGE_FORMAT"),
        (ALICE, "nobody", "INVALID_WALLET_ADDRESS"),
        ("nobody", BOB, "INVALID_WALLET_ADDRESS"),
    ] {
        rooms.say(2, &announce("a", wallet, peer_wallet));
        assert_eq!(the_error(&mut rooms, 2)["code"], code);
    }
    rooms.say(2, &wallet_announce("nobody"));
    assert_eq!(the_error(&mut rooms, 2)["code"], "INVALID_WALLET_ADDRESS");
    assert_eq!(told(&mut rooms, 1), []);
}

#[test]
fn seed_clients_neither_invite_nor_are_invited() {
    let mut rooms = Rooms::new();
    arrive(&mut rooms, 1, BOB);
    rooms.open(2);
    rooms.say(2, &seed("s", "wallet_announce", json!({ "wallet": ALICE })));
    assert_eq!(the_error(&mut rooms, 2)["code"], "INVALID_MESSAGE_FORMAT");
    let mut announcement = seed("s", "device_announce", json!({ "wallet": ALICE, "peerWallet": BOB }));
    announcement["sessionId"] = json!(session());
    rooms.say(2, &announcement);
    assert_eq!(rooms.hear(2).iter().map(|frame| frame["type"].clone()).collect::<Vec<_>>(), ["device_list"]);
    rooms.say(2, &json!({ "roomId": ROOM, "message": "m", "sender": ALICE, "timestamp": 5 }));
    assert_eq!(told(&mut rooms, 1), []);
}

#[test]
fn who_could_not_be_told_is_made_to_ask() {
    let mut rooms = Rooms::new();
    arrive(&mut rooms, 1, BOB);
    rooms.stuck.push(1);
    rooms.say(1, &v1("x", "nonsense", json!({ "filling": "x".repeat(300) })));
    let mut bytes = 0;
    while bytes < 64 * 1024 {
        rooms.say(1, &v1("x", "sync_heartbeat", json!({})));
        bytes = rooms.lengths(1).iter().sum();
    }
    rooms.hear(1);
    rooms.open(2);
    rooms.say(2, &announce("a", ALICE, BOB));
    rooms.say(2, &first_update("a", ALICE));
    assert_eq!(told(&mut rooms, 1), [], "its socket has no room");
    rooms.stuck.clear();
    rooms.feed(Input::Sent { connection: 1, bytes });
    let lists = rooms.hear_only(1, "session_list");
    assert_eq!((lists.len(), lists[0]["next"].as_str(), listed(&lists[0])), (1, Some(""), vec![]));
    rooms.say(1, &wallet_announce(BOB));
    assert_eq!(told(&mut rooms, 1), [(ALICE.to_owned(), 1, false)]);
}

/// A relay that has so many sessions of a wallet.
fn with_sessions(count: usize) -> Rooms {
    let mut rooms = Rooms::new();
    for number in 0..count {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let peer = wallet_address(&key);
        let session_id = session_of(BOB, &peer);
        let message = Message { id: "m".into(), session_id: session_id.clone(), ..Message::default() };
        let body = Batch::of(&[Entry { message, sequence_number: 1, counter: 1, device_id: "d".into(), ..Entry::default() }]).unwrap();
        let rows = rooms.journal.entry(session_id).or_default();
        rows.entries.push(StoredEntry {
            sequence: 1,
            device_id: "d".into(),
            counter: 1,
            key: None,
            log_hash: [0; 32],
            signature: None,
            body,
        });
        rows.members.insert(BOB.into(), MemberRow { wallet: BOB.into(), peer_wallet: peer, ..MemberRow::default() });
    }
    rooms
}

#[test]
fn a_long_list_comes_in_parts() {
    let count = LISTED_SESSIONS_MAX + 3;
    let mut rooms = with_sessions(count);
    let first = arrive(&mut rooms, 1, BOB);
    let mut next = wallet_announce(BOB);
    next["after"] = first["next"].clone();
    rooms.say(1, &next);
    let second = rooms.hear_only(1, "session_list").remove(0);
    assert_eq!((listed(&first).len(), listed(&second).len()), (LISTED_SESSIONS_MAX, 3));
    assert!(second.get("next").is_none());
    let ids = |list: &Value| list["sessions"].as_array().unwrap().iter().map(|listed| listed["sessionId"].to_string()).collect::<Vec<_>>();
    let mut all = [ids(&first), ids(&second)].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "each once");
}

#[test]
fn a_list_that_is_whole_names_no_next_part() {
    let list = arrive(&mut with_sessions(LISTED_SESSIONS_MAX), 1, BOB);
    assert_eq!((listed(&list).len(), list.get("next")), (LISTED_SESSIONS_MAX, None));
}

#[test]
fn one_list_at_a_time_and_each_is_paid_for() {
    let mut rooms = Rooms::new();
    rooms.held = Some(Default::default());
    rooms.open(1);
    rooms.say(1, &wallet_announce(BOB));
    rooms.say(1, &wallet_announce(BOB));
    assert_eq!(the_error(&mut rooms, 1)["code"], "RELAY_BUSY");
    rooms.answer(true);
    let error = the_error(&mut rooms, 1);
    assert_eq!((error["code"].as_str(), error["inReplyTo"].as_str()), (Some("RELAY_STORAGE_FAILED"), Some("wallet_announce-1")));
    rooms.held = None;
    let mut asked = 0;
    while rooms.reading(1) == Reading::Now {
        rooms.say(1, &wallet_announce(BOB));
        asked += 1;
        assert!(asked < 1_000, "without an end");
    }
    assert!(asked > 100, "{asked}: who is honest asks once");
}

#[test]
fn strangers_begin_sessions_slowly_and_store_nothing_by_announcements() {
    let mut rooms = Rooms::new();
    let peer = |number: u64| {
        let mut key = [8; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        wallet_address(&key)
    };
    rooms.open(1);
    for number in 0..50 {
        let mut frame = announce("a", &peer(number), BOB);
        frame["sessionId"] = json!(session_of(&peer(number), BOB));
        rooms.say(1, &frame);
    }
    assert!(rooms.asked.iter().all(|asked| *asked == "load"), "announcements are not stored");
    let mut begun = 0;
    while rooms.reading(1) == Reading::Now {
        let (session_id, wallet) = (session_of(&peer(1_000 + begun), BOB), peer(1_000 + begun));
        let mut frame = announce("a", &wallet, BOB);
        frame["sessionId"] = json!(session_id);
        rooms.say(1, &frame);
        let text: String = first_update("a", &wallet).to_string().replace(&session(), &session_id);
        let mut update: Value = serde_json::from_str(&text).unwrap();
        let entry: Entry = serde_json::from_value(update["messages"][0].clone()).unwrap();
        update["lastDigest"] = json!(rooms::hex(&entry.digest(&first_digest(&session_id, "a"))));
        rooms.say(1, &update);
        begun += 1;
    }
    assert!((150..=250).contains(&begun), "{begun} at once");
}
