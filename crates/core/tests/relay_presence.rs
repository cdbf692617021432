//! Who is in a session, and who is told of it, rule by rule.

use crate::rooms::{ROOM, Rooms, WALLETS, announce, seed, the_error, two, update, v1};
use serde_json::json;
use solconnect_sync_core::limits::{ATTACHMENTS_MAX, CLOCK_DEVICES_MAX, FRAME_BYTES_MAX};
use solconnect_sync_core::relay::Input;

#[test]
fn a_session_is_forgotten_when_the_last_one_leaves() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.feed(Input::Closed { connection: 1 });
    rooms.asked.clear();
    rooms.join(3, "a", WALLETS[0]);
    assert!(!rooms.asked.contains(&"load"), "somebody is still there");
    rooms.feed(Input::Closed { connection: 2 });
    rooms.feed(Input::Closed { connection: 3 });
    rooms.lists();
    rooms.asked.clear();
    rooms.join(4, "a", WALLETS[0]);
    assert!(rooms.asked.contains(&"load"));
    rooms.say(4, &update("a", WALLETS[0], 2, "y"));
    assert_eq!(rooms.texts(), ["x", "y"], "the journal knows how far the device has counted");
}

#[test]
fn everybody_is_told_who_is_there() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &announce("a", WALLETS[0]));
    let list = rooms.hear_only(1, "device_list").remove(0);
    assert_eq!(list["devices"].as_array().map(Vec::len), Some(1));
    let device = &list["devices"][0];
    assert_eq!(
        (device["deviceId"].as_str(), device["platform"].as_str(), device["wallet"].as_str()),
        (Some("a"), Some("web"), Some(WALLETS[0]))
    );
    assert_eq!((device["isOnline"].as_bool(), device["lastSeenAt"].as_u64()), (Some(true), Some(1_700_000_000_000)));
    rooms.open(2);
    rooms.say(2, &announce("b", WALLETS[1]));
    assert_eq!(rooms.hear_only(2, "device_list")[0]["devices"].as_array().map(Vec::len), Some(2), "who comes is told of all");
    assert!(rooms.hear_only(1, "device_list").is_empty(), "the others a little later");
    rooms.lists();
    let told = rooms.hear_only(1, "device_list").remove(0);
    assert_eq!(
        (told["devices"].as_array().map(Vec::len), told["devices"][0]["deviceId"].as_str()),
        (Some(1), Some("b")),
        "the others of the new one"
    );
    rooms.open(3);
    rooms.say(3, &seed("s", "device_announce", json!({ "syncState": { "lastSyncedSequence": 3, "vectorClock": { "s": 2 } } })));
    assert_eq!(rooms.hear_only(3, "device_list")[0]["devices"].as_array().map(Vec::len), Some(3));
    rooms.lists();
    rooms.hear(1);
    rooms.hear(3);
    let left_ms = rooms.now.wall_ms;
    rooms.feed(Input::Closed { connection: 2 });
    rooms.lists();
    let left = rooms.hear_only(1, "device_list").remove(0);
    assert_eq!((left["devices"][0]["deviceId"].as_str(), left["devices"][0]["isOnline"].as_bool()), (Some("b"), Some(false)));
    assert_eq!(left["devices"][0]["lastSeenAt"], left_ms);
    assert!(rooms.hear_only(3, "device_list").is_empty(), "seed clients get lists when one comes");
    rooms.join(2, "b", WALLETS[1]);
    rooms.lists();
    let list = rooms.hear_only(3, "device_list").remove(0);
    let seeds = list["devices"].as_array().unwrap().iter().find(|device| device["deviceId"] == "s").unwrap();
    assert_eq!(seeds["syncState"], json!({ "lastSyncedSequence": 3, "vectorClock": { "s": 2 } }), "with what each has");
}

#[test]
fn a_session_full_of_writers_can_still_be_read() {
    let mut rooms = Rooms::new();
    rooms.join(2, "d0", WALLETS[0]);
    rooms.say(2, &update("d0", WALLETS[0], 1, "x"));
    rooms.feed(Input::Closed { connection: 2 });
    rooms.fill();
    rooms.open(1);
    rooms.say(1, &announce("one-more", WALLETS[0]));
    rooms.say(1, &v1("one-more", "sync_request", json!({})));
    assert_eq!(rooms.hear_only(1, "sync_response")[0]["messages"].as_array().unwrap().len(), 100);
    rooms.say(1, &update("one-more", WALLETS[0], 1, "y"));
    assert_eq!(the_error(&mut rooms, 1)["code"], "LIMIT_REACHED", "it may not write");
}

#[test]
fn invented_devices_shut_nobody_out() {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    let mut connection = 10;
    for number in 0..CLOCK_DEVICES_MAX + 100 {
        rooms.now.monotonic_ms += 1_000;
        rooms.now.wall_ms += 1_000;
        connection += 1;
        rooms.open(connection);
        rooms.say(connection, &announce(&format!("invented-{number}"), WALLETS[1]));
        rooms.feed(Input::Closed { connection });
    }
    rooms.join(2, "b", WALLETS[1]);
    rooms.say(2, &update("b", WALLETS[1], 1, "y"));
    assert_eq!(rooms.texts(), ["x", "y"]);
    let stored: Vec<&String> = rooms.journal[ROOM].devices.keys().collect();
    assert_eq!(stored, ["a", "b"], "the journal has those that wrote");
}

#[test]
fn an_announcement_alone_is_not_stored() {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    rooms.say(1, &v1("a", "read_receipt", json!({ "receipts": [{ "messageId": "m", "status": "read", "sequenceNumber": 9 }] })));
    rooms.say(1, &v1("a", "sync_ack", json!({ "acknowledgedSequences": [7] })));
    rooms.timeout(1_000);
    rooms.feed(Input::Closed { connection: 1 });
    assert_eq!(rooms.asked, ["load"]);
}

#[test]
fn long_clocks_of_announcements_are_kept_nowhere() {
    let clock = |names: usize| (0..names).map(|number| (format!("n{number}"), json!(1))).collect::<serde_json::Map<_, _>>();
    for (names, kept) in [(16, 16), (17, 0)] {
        let mut rooms = Rooms::new();
        rooms.open(1);
        rooms.say(1, &seed("s", "device_announce", json!({ "syncState": { "vectorClock": clock(names) } })));
        let list = rooms.hear_only(1, "device_list").remove(0);
        assert_eq!(list["devices"][0]["syncState"]["vectorClock"].as_object().unwrap().len(), kept);
        rooms.say(1, &seed("s", "sync_heartbeat", json!({ "vectorClock": clock(names) })));
        rooms.say(1, &seed("s", "sync_update", json!({ "messages": [{ "message": { "ciphertext": "x", "sender_wallet": "w" } }] })));
        rooms.feed(Input::Closed { connection: 1 });
        assert!(rooms.journal[ROOM].devices["s"].sync_state.vector_clock.is_empty(), "a session with many would be dear to read");
    }
}

#[test]
fn a_connection_joins_only_a_limited_number_of_sessions() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    let elsewhere = |number: usize| {
        let mut frame = announce("a", WALLETS[0]);
        frame["sessionId"] = json!(format!("room {number}"));
        frame
    };
    for number in 0..ATTACHMENTS_MAX {
        rooms.say(1, &elsewhere(number));
    }
    assert!(rooms.hear_only(1, "error").is_empty());
    rooms.say(1, &elsewhere(ATTACHMENTS_MAX));
    assert_eq!(the_error(&mut rooms, 1)["code"], "LIMIT_REACHED");
    rooms.say(1, &elsewhere(0));
    assert!(rooms.hear_only(1, "error").is_empty());
}

#[test]
fn a_list_of_devices_fits_a_frame() {
    let mut rooms = Rooms::new();
    rooms.fill();
    rooms.open(1);
    rooms.say(1, &announce("reader", WALLETS[0]));
    let bytes = rooms.lengths(1)[0];
    assert!((FRAME_BYTES_MAX - 2_048..=FRAME_BYTES_MAX).contains(&bytes), "{bytes}");
}
