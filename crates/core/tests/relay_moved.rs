//! Messages that a device had to queue again under another name: the relay knows them by the one they had first.

mod rooms;

use rooms::{ROOM, Rooms, WALLETS, announce, seed, the_error, two, unsent, update, v1};
use serde_json::{Value, json};

/// A message of `device`, its `counter`th, that had the name `<ROOM>:<first>` first.
fn moved(device: &str, counter: u64, first: &str, text: &str) -> Value {
    let mut unsent = unsent(device, WALLETS[0], counter, text, json!({}));
    unsent["message"]["first_id"] = json!(format!("{ROOM}:{first}"));
    unsent
}

fn say_moved(rooms: &mut Rooms, connection: u64, device: &str, messages: &[Value]) {
    rooms.say(connection, &v1(device, "sync_update", json!({ "messages": messages })));
}

/// Device `a` has sent two messages and goes on as `n`, over another connection.
fn renamed() -> Rooms {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "one"));
    rooms.join(3, "n", WALLETS[0]);
    rooms.hear(1);
    rooms.hear(3);
    rooms
}

/// All connections come again, as new ones, to a relay that has only its journal.
fn restarted(mut rooms: Rooms) -> Rooms {
    rooms.restart();
    for (connection, device) in [(11, "a"), (13, "n"), (14, "m")] {
        rooms.join(connection, device, WALLETS[0]);
        rooms.hear(connection);
    }
    rooms
}

#[test]
fn a_message_that_is_in_the_log_under_its_first_name_is_not_taken_under_another_i3() {
    let mut rooms = renamed();
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "a:1", "one"), moved("n", 2, "a:2", "two")]);
    let error = the_error(&mut rooms, 3);
    assert_eq!((error["code"].as_str(), error["refusedMessageId"].as_str()), (Some("ALREADY_STORED"), Some("room:n:1")));
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "a:2", "two")]);
    assert_eq!(the_error(&mut rooms, 3)["code"], "NOT_ANNOUNCED", "what stood behind it comes again");
    assert_eq!(rooms.texts(), ["one"]);
    let mut rooms = restarted(rooms);
    say_moved(&mut rooms, 13, "n", &[moved("n", 1, "a:1", "one")]);
    assert_eq!(the_error(&mut rooms, 13)["code"], "ALREADY_STORED", "for ever");
}

#[test]
fn a_message_that_is_in_the_log_under_a_second_name_is_not_taken_under_a_third_i3() {
    let mut rooms = renamed();
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "a:2", "two"), moved("n", 2, "a:3", "three")]);
    assert_eq!(rooms.hear_only(3, "sync_ack").len(), 1);
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "a:2", "two")]);
    assert_eq!(rooms.hear_only(3, "sync_ack")[0]["acknowledgedSequences"], json!([2]), "I4: under its own it is acknowledged again");
    rooms.join(4, "m", WALLETS[0]);
    say_moved(&mut rooms, 4, "m", &[moved("m", 1, "a:3", "three")]);
    assert_eq!(the_error(&mut rooms, 4)["code"], "ALREADY_STORED");
    let mut rooms = restarted(rooms);
    say_moved(&mut rooms, 14, "m", &[moved("m", 1, "a:2", "two")]);
    assert_eq!(the_error(&mut rooms, 14)["code"], "ALREADY_STORED");
    assert_eq!(rooms.texts(), ["one", "two", "three"]);
}

#[test]
fn two_copies_of_one_message_in_one_append_are_one_i3() {
    let mut rooms = renamed();
    rooms.join(4, "m", WALLETS[0]);
    rooms.hear(4);
    rooms.held = Some(Default::default());
    // The first append is under way while both come.
    rooms.say(2, &update("b", WALLETS[1], 1, "first"));
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "a:2", "two")]);
    say_moved(&mut rooms, 4, "m", &[moved("m", 1, "a:2", "two")]);
    rooms.say(1, &update("a", WALLETS[0], 2, "two"));
    while rooms.held.as_ref().is_some_and(|held| !held.is_empty()) {
        rooms.answer(false);
    }
    assert_eq!(rooms.texts(), ["one", "first", "two"]);
    assert_eq!(the_error(&mut rooms, 4)["code"], "ALREADY_STORED");
    assert_eq!(the_error(&mut rooms, 1)["code"], "COUNTER_REUSED");
}

#[test]
fn nothing_more_is_taken_under_a_name_whose_message_has_another_i3() {
    let mut rooms = renamed();
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "a:2", "two")]);
    // It was on its way over an older connection.
    rooms.say(1, &update("a", WALLETS[0], 2, "two"));
    assert_eq!(the_error(&mut rooms, 1)["code"], "COUNTER_REUSED");
    let mut rooms = restarted(rooms);
    rooms.say(11, &update("a", WALLETS[0], 2, "two"));
    assert_eq!(the_error(&mut rooms, 11)["code"], "COUNTER_REUSED", "for ever");
    rooms.join(12, "a", WALLETS[0]);
    rooms.hear(12);
    rooms.say(12, &update("a", WALLETS[0], 1, "one"));
    assert_eq!(rooms.hear_only(12, "sync_ack").len(), 1, "I4: what it had stored is acknowledged again");
    assert_eq!(rooms.texts(), ["one", "two"]);
}

#[test]
fn a_device_that_was_not_seen_before_takes_nothing_more_either() {
    let mut rooms = renamed();
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "late:1", "late")]);
    let mut rooms = restarted(rooms);
    rooms.join(15, "late", WALLETS[0]);
    rooms.hear(15);
    rooms.say(15, &update("late", WALLETS[0], 1, "late"));
    assert_eq!(the_error(&mut rooms, 15)["code"], "COUNTER_REUSED");
}

#[test]
fn copies_write_other_messages_under_one_first_name_and_each_is_taken_f41() {
    let mut rooms = renamed();
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "a:1", "another one")]);
    assert_eq!(rooms.hear_only(3, "sync_ack").len(), 1);
    rooms.say(1, &update("a", WALLETS[0], 2, "two"));
    assert_eq!(rooms.hear_only(1, "sync_ack").len(), 1, "whose name it is goes on under it");
    rooms.join(4, "m", WALLETS[0]);
    say_moved(&mut rooms, 4, "m", &[moved("m", 1, "a:1", "a third")]);
    assert_eq!(rooms.texts(), ["one", "another one", "two", "a third"]);
}

#[test]
fn a_first_name_that_cannot_be_is_refused_and_retires_nobody() {
    let mut rooms = renamed();
    let foreign = |first: &str| {
        let mut message = moved("n", 1, "a:2", "x");
        message["message"]["first_id"] = json!(first);
        message
    };
    for first in ["room:n:1", "other:a:2", "nonsense", "", &"x".repeat(201), "room:b:1"] {
        rooms.join(3, "n", WALLETS[0]);
        rooms.hear(3);
        say_moved(&mut rooms, 3, "n", &[foreign(first)]);
        assert_eq!(the_error(&mut rooms, 3)["code"], "INVALID_MESSAGE_FORMAT", "{first}");
    }
    rooms.say(1, &update("a", WALLETS[0], 2, "two"));
    rooms.say(2, &update("b", WALLETS[1], 1, "theirs"));
    assert_eq!(rooms.texts(), ["one", "two", "theirs"]);
}

#[test]
fn seed_clients_have_no_first_names_to_give() {
    let mut rooms = renamed();
    rooms.open(5);
    let message = json!({ "id": "x", "sender_wallet": WALLETS[0], "ciphertext": "seed", "first_id": "room:a:2", "session_id": ROOM });
    rooms.say(5, &seed("s", "sync_update", json!({ "messages": [{ "message": message, "sequenceNumber": 1, "vectorClock": {} }] })));
    assert_eq!(rooms.log().last().map(|entry| entry.message.first_id.clone()), Some(None));
    rooms.say(1, &update("a", WALLETS[0], 2, "two"));
    assert_eq!(rooms.texts(), ["one", "seed", "two"]);
}

#[test]
fn a_device_that_was_given_up_is_listed_no_more() {
    let mut rooms = renamed();
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "a:2", "two")]);
    let rooms = &mut restarted(rooms);
    let listed = |rooms: &mut Rooms, connection| -> Vec<String> {
        rooms.open(connection);
        rooms.say(connection, &announce("new", WALLETS[1]));
        let lists = rooms.hear_only(connection, "device_list");
        let devices = lists[0]["devices"].as_array().unwrap().iter();
        devices.map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect()
    };
    assert!(listed(rooms, 16).contains(&"a".to_owned()), "while it is there it is");
    rooms.feed(solconnect_sync_core::relay::Input::Closed { connection: 11 });
    assert!(!listed(rooms, 17).contains(&"a".to_owned()));
}

#[test]
fn names_that_are_given_up_count_among_the_devices_of_a_session() {
    let mut rooms = Rooms::new();
    rooms.fill(1);
    let devices = &mut rooms.journal.get_mut(ROOM).unwrap().devices;
    assert!(devices.remove("d0").is_some() && devices.remove("d1").is_some());
    rooms.join(3, "n", WALLETS[0]);
    say_moved(&mut rooms, 3, "n", &[moved("n", 1, "x:1", "one"), moved("n", 2, "y:1", "two")]);
    let error = the_error(&mut rooms, 3);
    assert_eq!((error["code"].as_str(), error["refusedMessageId"].as_str()), (Some("LIMIT_REACHED"), Some("room:n:2")));
    assert_eq!(rooms.texts(), ["one"]);
}
