//! What the relay takes, what it refuses and with which words, rule by rule.

mod rooms;

use proptest::prelude::*;
use rooms::{ROOM, Rooms, WALLETS, announce, chat, hex, id_of, seed, the_error, two, unsent, update, v1};
use serde_json::{Value, json};
use solconnect_sync_core::entry::{Entry, short_hex};
use solconnect_sync_core::frame::{Body, Frame, Payload};
use solconnect_sync_core::limits::{BATCH_MESSAGES_MAX, CLOCK_DEVICES_MAX, INTEGER_MAX, UPDATE_QUEUE_MESSAGES_MAX, VISITORS_MAX};
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::Kind;
use solconnect_sync_core::relay::Input;

/// The one acknowledgement that a connection has heard.
fn the_ack(rooms: &mut Rooms, connection: u64) -> Value {
    let mut acks = rooms.hear_only(connection, "sync_ack");
    assert_eq!(acks.len(), 1, "{acks:?}");
    acks.remove(0)
}

#[test]
fn an_acknowledgement_names_place_counter_time_and_log() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "hello"));
    let mut heard = rooms.hear(1);
    assert_eq!(heard.len(), 1, "its own message is not sent to it: {heard:?}");
    let ack = heard.remove(0);
    assert_eq!(ack["acknowledgedSequences"], json!([1]));
    assert_eq!((&ack["acknowledgedCounters"], &ack["acknowledgedMessageIds"]), (&json!([1]), &json!([])));
    assert_eq!(ack["log"], json!({ "sequence": 1, "hash": hex(&rooms.journal[ROOM].entries[0].log_hash) }));
    assert_eq!(ack["serverTimestamps"], json!([1_700_000_000_000_u64]));
    let pushed = rooms.hear_only(2, "sync_response");
    assert_eq!(pushed[0]["messages"][0]["message"]["ciphertext"], "hello");
    assert_eq!(pushed[0]["latestSequence"], 1);
    // Also where others wrote before it and it has not heard of that.
    rooms.held = Some(Default::default());
    for (connection, counter, device) in [(2, 1, "b"), (2, 2, "b"), (1, 2, "a")] {
        rooms.say(connection, &update(device, WALLETS[connection as usize - 1], counter, "x"));
    }
    rooms.answer(false);
    rooms.answer(false);
    let heard = rooms.hear_only(1, "sync_response");
    let places =
        heard.iter().flat_map(|frame| frame["messages"].as_array().unwrap()).map(|entry| entry["sequenceNumber"].as_u64().unwrap());
    assert_eq!(places.collect::<Vec<_>>(), [2, 3, 4], "then the log brings it in its order");
}

#[test]
fn an_update_refused_as_a_whole_gets_no_acknowledgement() {
    let mut rooms = two();
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": [] })));
    assert_eq!(the_ack(&mut rooms, 1)["acknowledgedSequences"], json!([]));
    rooms.say(1, &update("a", WALLETS[0], 5, "x"));
    let heard = rooms.hear(1);
    assert_eq!((heard.len(), heard[0]["code"].as_str()), (1, Some("COUNTER_GAP")), "{heard:?}");
    let messages = [unsent("a", WALLETS[0], 1, "x", 0), unsent("a", WALLETS[0], 3, "y", 0)];
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    let heard = rooms.hear(1);
    assert_eq!(
        (&heard[0]["acknowledgedSequences"], heard[1]["code"].as_str()),
        (&json!([1]), Some("COUNTER_GAP")),
        "what was taken, then the rest"
    );
}

/// Seed 19236 of the first simulated world: what a failed frame repeated was queued again, and the frame behind it was
/// taken.
#[test]
fn a_failed_append_blocks_following_updates_until_reannounce_i3() {
    let mut rooms = two();
    rooms.held = Some(Default::default());
    for counter in 1..=2 {
        rooms.say(1, &update("a", WALLETS[0], counter, "from a"));
    }
    rooms.answer(true);
    while !rooms.held.as_ref().unwrap().is_empty() {
        rooms.answer(false);
    }
    rooms.say(1, &update("a", WALLETS[0], 1, "from a"));
    let codes: Vec<Value> = rooms.hear(1).iter().map(|frame| frame["code"].clone()).collect();
    assert_eq!(codes, ["RELAY_STORAGE_FAILED", "NOT_ANNOUNCED", "NOT_ANNOUNCED"]);
    assert!(rooms.texts().is_empty());
    rooms.held = None;
    rooms.join(1, "a", WALLETS[0]);
    rooms.say(1, &update("a", WALLETS[0], 1, "from a"));
    assert_eq!(rooms.texts(), ["from a"]);
}

#[test]
fn a_failed_append_blocks_updates_of_a_device_that_left() {
    let mut rooms = two();
    rooms.held = Some(Default::default());
    for counter in 1..=2 {
        rooms.say(1, &update("a", WALLETS[0], counter, "from a"));
    }
    rooms.say(2, &update("b", WALLETS[1], 1, "from b"));
    rooms.feed(Input::Closed { connection: 1 });
    rooms.answer(true);
    rooms.answer(false);
    assert_eq!(rooms.texts(), ["from b"]);
}

#[test]
fn a_copied_device_leaving_before_its_refusal_stores_nothing_i3() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "the original's"));
    rooms.join(3, "a", WALLETS[0]);
    rooms.held = Some(Default::default());
    for counter in 1..=2 {
        rooms.say(3, &update("a", WALLETS[0], counter, "the copy's"));
    }
    rooms.feed(Input::Closed { connection: 3 });
    while !rooms.held.as_ref().unwrap().is_empty() {
        rooms.answer(false);
    }
    assert_eq!(rooms.texts(), ["the original's"], "its second message would fit, and will come again under another name");
}

/// Seed 168109 of the simulated world: it left when the journal was asked whether its next message was a repeat.
#[test]
fn a_copied_device_leaving_during_a_repeat_check_stores_nothing_i8() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "the original's"));
    rooms.join(3, "a", WALLETS[0]);
    rooms.join(4, "a", WALLETS[0]);
    rooms.held = Some(Default::default());
    rooms.say(3, &update("a", WALLETS[0], 1, "the copy's"));
    rooms.say(3, &update("a", WALLETS[0], 2, "the copy's"));
    rooms.say(4, &update("a", WALLETS[0], 1, "the original's"));
    rooms.answer(false);
    rooms.feed(Input::Closed { connection: 3 });
    while !rooms.held.as_ref().unwrap().is_empty() {
        rooms.answer(false);
    }
    assert_eq!(rooms.texts(), ["the original's"]);
}

#[test]
fn a_copied_device_leaving_during_an_append_stores_nothing_i8() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "the original's"));
    rooms.join(3, "a", WALLETS[0]);
    rooms.held = Some(Default::default());
    rooms.say(2, &update("b", WALLETS[1], 1, "from b"));
    rooms.say(3, &update("a", WALLETS[0], 1, "the copy's"));
    rooms.say(2, &update("b", WALLETS[1], 2, "from b"));
    rooms.answer(false);
    rooms.say(3, &update("a", WALLETS[0], 2, "the copy's"));
    rooms.answer(false);
    rooms.feed(Input::Closed { connection: 3 });
    while !rooms.held.as_ref().unwrap().is_empty() {
        rooms.answer(false);
    }
    assert_eq!(rooms.texts(), ["the original's", "from b", "from b"]);
}

#[test]
fn a_seed_client_does_not_hear_itself_among_others() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.open(2);
    rooms.say(1, &chat("alice", "one"));
    rooms.say(2, &chat("bob", "two"));
    rooms.hear(1);
    rooms.held = Some(Default::default());
    for (connection, text) in [(2, "three"), (2, "four"), (1, "mine"), (2, "five")] {
        rooms.say(connection, &chat(if connection == 1 { "alice" } else { "bob" }, text));
    }
    rooms.answer(false);
    rooms.answer(false);
    let heard: Vec<String> = rooms.hear_only(1, "chat").iter().map(|chat| chat["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(heard, ["three", "four", "five"]);
}

#[test]
fn a_seed_client_is_known_by_its_messages_wallet() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.open(3);
    let message = json!({ "id": "m", "sender_wallet": "w", "ciphertext": "x" });
    rooms.say(3, &seed("s", "sync_update", json!({ "messages": [{ "message": message, "sequenceNumber": 1 }] })));
    let ack = the_ack(&mut rooms, 3);
    assert_eq!(ack["vectorClock"], json!({ "a": 1, "s": 1 }), "its acknowledgement says what the log knows");
    rooms.hear(1);
    rooms.say(3, &seed("s", "read_receipt", json!({ "receipts": [{ "messageId": "room:a:start0:1", "status": "read" }] })));
    let told = rooms.hear_only(1, "read_receipt_sync").remove(0);
    assert_eq!(told["receipts"][0]["readerWallet"], "w");
}

#[test]
fn nothing_is_acknowledged_before_the_journal_has_it_i1() {
    let mut rooms = two();
    rooms.held = Some(Default::default());
    rooms.say(1, &update("a", WALLETS[0], 1, "hello"));
    assert!(rooms.hear(1).is_empty() && rooms.hear(2).is_empty());
    rooms.answer(false);
    assert_eq!((the_ack(&mut rooms, 1)["acknowledgedSequences"][0].as_u64(), rooms.hear(2).len()), (Some(1), 1));
    rooms.say(1, &update("a", WALLETS[0], 2, "again"));
    rooms.answer(true);
    let error = the_error(&mut rooms, 1);
    assert_eq!((error["code"].as_str(), error["inReplyTo"].as_str()), (Some("RELAY_STORAGE_FAILED"), Some("sync_update-1")));
    assert!(rooms.hear(2).is_empty());
    assert_eq!(rooms.logged.len(), 1, "an operator hears of it: {:?}", rooms.logged);
    assert!(rooms.logged[0].contains("disk"));
}

#[test]
fn updates_that_wait_share_the_next_append() {
    let mut rooms = two();
    rooms.held = Some(Default::default());
    for counter in 1..=3 {
        rooms.say(1, &update("a", WALLETS[0], counter, "x"));
    }
    rooms.say(2, &update("b", WALLETS[1], 1, "y"));
    assert_eq!(rooms.held.as_ref().unwrap().len(), 1, "one append at a time");
    rooms.answer(false);
    rooms.answer(false);
    assert!(rooms.held.as_ref().unwrap().is_empty(), "the other three in one");
    assert_eq!(rooms.texts(), ["x", "x", "x", "y"]);
    assert_eq!(rooms.hear_only(1, "sync_ack").len(), 3);
}

#[test]
fn a_counter_gap_is_refused_with_the_expected_counter() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "one"));
    rooms.hear(1);
    let messages = [unsent("a", WALLETS[0], 3, "three", 0), unsent("a", WALLETS[0], 2, "two", 0)];
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    let error = the_error(&mut rooms, 1);
    assert_eq!((error["code"].as_str(), error["expectedCounter"].as_u64()), (Some("COUNTER_GAP"), Some(2)));
    assert_eq!((error["refusedMessageId"].as_str(), error["sessionId"].as_str()), (Some("room:a:start0:3"), Some(ROOM)));
    assert_eq!(rooms.texts(), ["one"], "what follows a refused message is not taken");
    rooms.say(1, &update("a", WALLETS[0], 2, "two"));
    assert_eq!(rooms.texts(), ["one", "two"], "after a gap the device goes on without announcing itself again");
}

#[test]
fn a_repeat_is_acknowledged_again_unless_its_content_differs_i4() {
    let mut rooms = two();
    for counter in 1..=2 {
        rooms.say(1, &update("a", WALLETS[0], counter, "x"));
    }
    rooms.hear(1);
    rooms.now.wall_ms += 5_000;
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    let ack = the_ack(&mut rooms, 1);
    assert_eq!((&ack["acknowledgedSequences"], &ack["serverTimestamps"]), (&json!([1]), &json!([1_700_000_000_000_u64])));
    rooms.say(1, &update("a", WALLETS[0], 1, "another"));
    let error = the_error(&mut rooms, 1);
    assert_eq!((error["code"].as_str(), error.get("expectedCounter")), (Some("COUNTER_REUSED"), None));
    assert_eq!(rooms.texts(), ["x", "x"]);
    rooms.say(1, &update("a", WALLETS[0], 3, "y"));
    assert_eq!(the_error(&mut rooms, 1)["code"], "NOT_ANNOUNCED", "what it sent behind the refused one is refused too");
    rooms.say(1, &announce("a", WALLETS[0]));
    rooms.say(1, &update("a", WALLETS[0], 3, "y"));
    assert_eq!(rooms.texts(), ["x", "x", "y"]);
}

#[test]
fn repeats_of_several_devices_in_one_append_are_told_apart() {
    let mut rooms = two();
    for (connection, device) in [(1, "a"), (2, "b")] {
        for counter in 1..=2 {
            rooms.say(connection, &update(device, WALLETS[connection as usize - 1], counter, &format!("{device} {counter}")));
        }
        rooms.hear(1);
        rooms.hear(2);
    }
    rooms.held = Some(Default::default());
    rooms.say(1, &update("a", WALLETS[0], 3, "a 3"));
    for (connection, device) in [(2, "b"), (1, "a")] {
        for counter in [2, 1] {
            rooms.say(connection, &update(device, WALLETS[connection as usize - 1], counter, &format!("{device} {counter}")));
        }
    }
    while !rooms.held.as_ref().unwrap().is_empty() {
        rooms.answer(false);
    }
    let mut places = |connection| -> Vec<Value> {
        rooms.hear_only(connection, "sync_ack").iter().map(|ack| ack["acknowledgedSequences"][0].clone()).collect()
    };
    assert_eq!((places(1), places(2)), (vec![json!(5), json!(2), json!(1)], vec![json!(4), json!(3)]));
}

#[test]
fn messages_that_contradict_themselves_are_refused() {
    type Twist = fn(&mut Value);
    let twisted: [(&str, Twist); 12] = [
        ("INVALID_MESSAGE_FORMAT", |unsent| unsent["counter"] = json!(0)),
        ("INVALID_MESSAGE_FORMAT", |unsent| unsent["counter"] = json!(-1)),
        ("INVALID_MESSAGE_FORMAT", |unsent| unsent["counter"] = json!(null)),
        ("COUNTER_GAP", |unsent| unsent["counter"] = json!(2)),
        ("INVALID_MESSAGE_FORMAT", |unsent| unsent["originalDeviceId"] = json!("b")),
        ("INVALID_MESSAGE_FORMAT", |unsent| unsent["message"]["session_id"] = json!("another")),
        ("INVALID_MESSAGE_FORMAT", |unsent| unsent["message"]["sender_wallet"] = json!(WALLETS[1])),
        ("INVALID_MESSAGE_FORMAT", |unsent| unsent["message"]["id"] = json!("")),
        ("INVALID_MESSAGE_FORMAT", |unsent| unsent["message"]["replaces"] = json!("")),
        ("INVALID_MESSAGE_FORMAT", |unsent| unsent["extensions"] = json!("no base64!")),
        ("MESSAGE_TOO_LARGE", |unsent| unsent["message"]["ciphertext"] = json!("x".repeat(8 * 1024 + 1))),
        ("RELAY_ROLLED_BACK", |unsent| unsent["knows"] = json!(1)),
    ];
    for (code, twist) in twisted {
        let mut rooms = two();
        let mut message = unsent("a", WALLETS[0], 1, "x", 0);
        twist(&mut message);
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": [message] })));
        assert_eq!(the_error(&mut rooms, 1)["code"], code, "{message}");
        assert!(rooms.texts().is_empty());
    }
}

#[test]
fn what_knows_more_than_the_log_names_both_places() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.hear(1);
    let messages = [unsent("a", WALLETS[0], 2, "y", 1), unsent("a", WALLETS[0], 3, "z", 3)];
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    let error = the_error(&mut rooms, 1);
    assert_eq!((&error["code"], &error["refusedMessageId"]), (&json!("RELAY_ROLLED_BACK"), &json!(id_of("a", 3))));
    let hash = short_hex(&rooms.journal[ROOM].entries[1].log_hash);
    let words = error["error"].as_str().unwrap();
    assert!(words.contains("up to 3") && words.contains(&format!("2 ({hash})")), "{words}");
    assert_eq!(rooms.texts(), ["x", "y"], "what knows the log up to its own device's message before it is taken");
}

#[test]
fn an_update_with_another_digest_is_not_taken_at_all_f41() {
    let mut rooms = two();
    let messages = json!([unsent("a", WALLETS[0], 1, "one", 0), unsent("a", WALLETS[0], 2, "two", 0)]);
    for digest in [json!("00".repeat(32)), json!("1f".repeat(32))] {
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages, "lastDigest": digest })));
        let error = the_error(&mut rooms, 1);
        assert_eq!((&error["code"], &error["refusedMessageId"]), (&json!("COUNTER_REUSED"), &json!(id_of("a", 1))));
        assert!(rooms.texts().is_empty());
        rooms.say(1, &update("a", WALLETS[0], 1, "one"));
        assert_eq!(the_error(&mut rooms, 1)["code"], "NOT_ANNOUNCED", "as behind any refused message");
        rooms.say(1, &announce("a", WALLETS[0]));
        rooms.hear(1);
    }
    for digest in [json!("x"), json!("00"), json!("0g".repeat(32)), json!(7)] {
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages, "lastDigest": digest })));
        assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT", "{digest}");
    }
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    assert_eq!(rooms.texts(), ["one", "two"]);
}

/// A copy of a profile whose original has sent a message that the copy has not.
#[test]
fn a_copy_that_wrote_something_else_before_is_found_by_the_digest_f41() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "the original's"));
    let mut log = Log::new(ROOM);
    let copied: Entry = serde_json::from_value(unsent("a", WALLETS[0], 1, "the copy's", 0)).unwrap();
    log.take(&Entry { sequence_number: 1, ..copied }).unwrap();
    let second = unsent("a", WALLETS[0], 2, "the copy's second", 0);
    let digest = serde_json::from_value::<Entry>(second.clone()).unwrap().digest(&log.digest(ROOM, "a"));
    rooms.join(3, "a", WALLETS[0]);
    rooms.hear(3);
    rooms.say(3, &v1("a", "sync_update", json!({ "messages": [second], "lastDigest": hex(&digest) })));
    assert_eq!(the_error(&mut rooms, 3)["code"], "COUNTER_REUSED");
    assert_eq!(rooms.texts(), ["the original's"]);
}

#[test]
fn v1_devices_announce_themselves_first_and_speak_under_that_name() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    let others = ["sync_request", "sync_ack", "sync_heartbeat", "read_receipt"].map(|kind| v1("a", kind, json!({})));
    for frame in others.into_iter().chain([update("a", WALLETS[0], 1, "x")]) {
        rooms.say(1, &frame);
        assert_eq!(the_error(&mut rooms, 1)["code"], "NOT_ANNOUNCED", "{frame}");
    }
    assert!(rooms.asked.is_empty(), "the session is not even read");
    rooms.say(1, &announce("a", WALLETS[0]));
    let mut frame = update("a", WALLETS[0], 1, "x");
    frame["deviceId"] = json!("another");
    rooms.say(1, &frame);
    assert_eq!(rooms.log()[0].device_id, "a");
}

#[test]
fn frames_that_name_nobody_are_refused() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    let nameless = |kind: &str| json!({ "type": kind, "sessionId": ROOM, "protocolVersion": 1 });
    let update = json!({ "type": "sync_update", "sessionId": ROOM });
    for frame in [nameless("device_announce"), update, json!({ "type": "sync_request" })] {
        rooms.say(1, &frame);
        assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT", "{frame}");
    }
    for kind in ["device_list", "sync_response", "sync_status", "sync_conflict", "read_receipt_sync"] {
        let mut frame = nameless(kind);
        frame["status"] = json!("started");
        rooms.say(1, &frame);
        assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT", "only the relay says {kind}");
    }
    rooms.say(1, &json!({ "type": "sync_heartbeat", "sequenceNumber": 3 }));
    assert_eq!(rooms.hear_only(1, "sync_heartbeat")[0]["sequenceNumber"], 3, "a heartbeat without a session comes back");
    rooms.feed(Input::Received { connection: 1, payload: Payload::Binary([1, 2][..].into()) });
    assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT", "a binary frame on a connection of JSON");
}

#[test]
fn a_seed_clients_repeat_is_recognized_by_its_id() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    let message = |id: &str, text: &str| json!({ "message": { "id": id, "sender_wallet": "w", "ciphertext": text }, "sequenceNumber": 1 });
    let said = |messages: &[Value]| seed("s", "sync_update", json!({ "messages": messages }));
    rooms.say(1, &said(&[message("m1", "one"), message("m2", "two")]));
    assert_eq!(the_ack(&mut rooms, 1)["acknowledgedSequences"], json!([1, 2]));
    rooms.say(1, &said(&[message("m2", "two"), message("m1", "one"), message("m3", "three")]));
    let ack = the_ack(&mut rooms, 1);
    assert_eq!(ack["acknowledgedSequences"], json!([2, 1, 3]));
    assert_eq!(ack["acknowledgedMessageIds"], json!(["m2", "m1", "m3"]));
    rooms.say(1, &said(&[message("m1", "another"), message("m4", "four")]));
    let heard = rooms.hear(1);
    let error = heard.iter().find(|frame| frame.get("error").is_some()).unwrap();
    assert_eq!((error["code"].as_str(), error["refusedMessageId"].as_str()), (Some("MESSAGE_ID_TAKEN"), Some("m1")));
    assert_eq!(rooms.texts(), ["one", "two", "three", "four"], "its messages stand alone: one is refused, the next is taken");
    // The same id of another wallet is another message.
    rooms.say(1, &said(&[json!({ "message": { "id": "m1", "sender_wallet": "v", "ciphertext": "mine" }, "sequenceNumber": 9 })]));
    assert_eq!(rooms.texts().len(), 5);
}

#[test]
fn a_seed_repeat_without_id_matches_by_count_and_content() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    let said = |count: u64, text: &str| {
        seed(
            "s",
            "sync_update",
            json!({ "messages": [{ "message": { "sender_wallet": "w", "ciphertext": text }, "sequenceNumber": count }] }),
        )
    };
    rooms.say(1, &said(1, "one"));
    assert_eq!(the_ack(&mut rooms, 1)["acknowledgedMessageIds"], json!(["room:s:1"]), "the relay gives an id");
    rooms.say(1, &said(1, "one"));
    assert_eq!(the_ack(&mut rooms, 1)["acknowledgedSequences"], json!([1]));
    // A client that counts from 1 again writes other messages.
    rooms.say(1, &said(1, "other"));
    assert_eq!(the_ack(&mut rooms, 1)["acknowledgedSequences"], json!([2]));
    rooms.say(1, &said(2, "one"));
    assert_eq!(the_ack(&mut rooms, 1)["acknowledgedSequences"], json!([3]));
    let mut elsewhere = said(1, "one");
    elsewhere["deviceId"] = json!("t");
    rooms.say(1, &elsewhere);
    assert_eq!(rooms.texts(), ["one", "other", "one", "one"], "another device's first message is its own");
    assert_eq!(json!(rooms.log()[0].message.timestamp), "2023-11-14T22:13:20.000Z", "its time is the relay's where it gave none");
}

#[test]
fn a_chat_frame_keeps_its_time_or_gets_the_relays() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    for (written, stored) in [(json!("soon"), json!("soon")), (json!(""), json!("2023-11-14T22:13:20.000Z")), (json!(5), json!(5))] {
        let mut frame = chat("alice", "hi");
        frame["timestamp"] = written;
        rooms.say(1, &frame);
        assert_eq!(json!(rooms.log().last().unwrap().message.timestamp), stored);
    }
}

#[test]
fn a_seed_clients_counters_are_taken_where_they_make_sense() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    let said = |id: &str, clock: Value| {
        let message = json!({ "id": id, "sender_wallet": "w", "ciphertext": "x", "timestamp": 77 });
        seed("s", "sync_update", json!({ "messages": [{ "message": message, "sequenceNumber": 1, "vectorClock": clock }] }))
    };
    let jump = 1 << 20;
    let clocks = [
        (json!({ "s": 5 }), 5),
        (json!({ "s": 5 }), 6),
        (json!({ "s": 2 }), 7),
        (json!({}), 8),
        (json!({ "s": 8 + jump }), 8 + jump),
        (json!({ "s": 10 + 2 * jump }), 9 + jump),
        (json!({ "s": INTEGER_MAX }), 10 + jump),
    ];
    for (index, (clock, counter)) in clocks.into_iter().enumerate() {
        rooms.say(1, &said(&format!("m{index}"), clock.clone()));
        assert_eq!(rooms.log()[index].counter, counter, "{clock}");
    }
    assert_eq!(rooms.log()[0].message.timestamp.ms(), 77, "its own time is kept");
    rooms.say(1, &said("claims", json!({ "s": 11 + jump, "nobody": 7 })));
    assert_eq!(rooms.log()[7].also.get("nobody"), 0, "a clock knows nothing that is not in the log");
    let mut other = said("other", json!({ "t": 1, "s": 3 }));
    other["deviceId"] = json!("t");
    rooms.say(1, &other);
    assert_eq!(
        (rooms.log()[8].also.get("s"), rooms.log()[8].knows, rooms.log()[8].counter),
        (3, 0, 1),
        "what it claims to know it may know"
    );
    let mut silent = said("silent", json!({}));
    silent["deviceId"] = json!("u");
    rooms.say(1, &silent);
    assert_eq!(rooms.log()[9].knows, 9, "one that claims nothing contradicts nothing");
}

#[test]
fn a_log_accepts_only_a_limited_number_of_writers() {
    let mut rooms = Rooms::new();
    rooms.fill();
    rooms.open(1);
    let write = |device: &str| {
        seed(
            device,
            "sync_update",
            json!({ "messages": [{ "message": { "id": device, "sender_wallet": "w", "ciphertext": "x" }, "vectorClock": { device: 1 } }] }),
        )
    };
    rooms.say(1, &write("one-more"));
    assert_eq!(the_error(&mut rooms, 1)["code"], "LIMIT_REACHED");
    rooms.say(
        1,
        &seed(
            "d0",
            "sync_update",
            json!({ "messages": [{ "message": { "id": "second", "sender_wallet": "w", "ciphertext": "x" }, "vectorClock": { "d0": 2 } }] }),
        ),
    );
    assert_eq!(rooms.log().len(), CLOCK_DEVICES_MAX + 1, "one who has written goes on");
}

#[test]
fn the_queue_of_unstored_messages_is_limited() {
    let mut rooms = two();
    rooms.held = Some(Default::default());
    let mut counter = 0;
    let mut block = |count: u64| {
        let messages: Vec<Value> = (counter + 1..=counter + count).map(|counter| unsent("a", WALLETS[0], counter, "x", 0)).collect();
        counter += count;
        v1("a", "sync_update", json!({ "messages": messages }))
    };
    rooms.say(1, &block(1));
    for _ in 0..UPDATE_QUEUE_MESSAGES_MAX / 256 {
        rooms.say(1, &block(256));
    }
    assert!(rooms.hear(1).is_empty());
    rooms.say(1, &block(1));
    assert_eq!(the_error(&mut rooms, 1)["code"], "RELAY_BUSY");
    rooms.say(1, &block(1));
    assert_eq!(the_error(&mut rooms, 1)["code"], "NOT_ANNOUNCED", "what comes behind the refused one would be a gap");
    while !rooms.held.as_ref().unwrap().is_empty() {
        rooms.answer(false);
    }
    rooms.held = None;
    rooms.say(1, &announce("a", WALLETS[0]));
    let next = rooms.log().len() as u64 + 1;
    rooms.say(1, &update("a", WALLETS[0], next, "again"));
    assert_eq!(rooms.texts().last().map(String::as_str), Some("again"), "after announcing itself the device goes on where the log ends");
}

#[test]
fn more_than_a_batch_is_stored_in_several_appends() {
    let mut rooms = two();
    rooms.held = Some(Default::default());
    for first in (1..=3_000).step_by(200) {
        let messages: Vec<Value> = (first..first + 200).map(|counter| unsent("a", WALLETS[0], counter, "x", 0)).collect();
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    }
    let mut heads = Vec::new();
    while !rooms.held.as_ref().unwrap().is_empty() {
        rooms.answer(false);
        heads.push(rooms.log().len());
    }
    heads.dedup();
    assert_eq!(heads, [200, 1_200, 2_200, 3_000], "as many whole updates as a batch may have");
    assert!(heads.windows(2).all(|pair| pair[1] - pair[0] <= BATCH_MESSAGES_MAX));
}

/// A name that was taken by a device of our rules is not a seed client's to write under.
#[test]
fn a_seed_client_cannot_speak_as_a_v1_device() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "its own"));
    let message = json!({ "messages": [{ "message": { "id": "m", "sender_wallet": WALLETS[0], "ciphertext": "forged" } }] });
    let receipts = json!({ "receipts": [{ "messageId": "room:a:start0:1", "status": "read" }] });
    let forged = [
        seed("a", "sync_update", message),
        seed("a", "device_announce", json!({})),
        seed("a", "read_receipt", receipts),
        chat("a", "forged"),
    ];
    rooms.hear(2);
    for restarted in [false, true] {
        rooms.open(9);
        for frame in &forged {
            rooms.say(9, frame);
            let error = the_error(&mut rooms, 9);
            assert_eq!(error["code"], "INVALID_MESSAGE_FORMAT", "{frame} {restarted}");
            assert!(error["error"].as_str().unwrap().contains("speaks for itself"), "{error}");
        }
        assert_eq!(rooms.texts(), ["its own"]);
        rooms.feed(Input::Closed { connection: 9 });
        rooms.restart();
    }
}

#[test]
fn a_v1_device_cannot_lock_a_seed_client_out() {
    let write = |number: u64| seed("s", "sync_update", json!({ "messages": [seed_unsent(number, "x")] }));
    // One that wrote, whether it is there or not; and one that is there.
    for (writes, leaves) in [(true, false), (true, true), (false, false)] {
        let mut rooms = Rooms::new();
        rooms.open(1);
        rooms.say(1, &if writes { write(1) } else { seed("s", "device_announce", json!({})) });
        if leaves {
            rooms.feed(Input::Closed { connection: 1 });
        }
        rooms.open(2);
        rooms.say(2, &announce("s", WALLETS[1]));
        let error = the_error(&mut rooms, 2);
        assert_eq!((&error["code"], &error["inReplyTo"]), (&json!("COUNTER_REUSED"), &json!("device_announce-1")));
        rooms.say(2, &update("s", WALLETS[1], 2, "forged"));
        assert_eq!(the_error(&mut rooms, 2)["code"], "NOT_ANNOUNCED");
        if leaves {
            rooms.restart();
            rooms.open(1);
        }
        rooms.say(1, &write(2));
        assert_eq!(rooms.hear_only(1, "sync_ack").len(), if writes && !leaves { 2 } else { 1 }, "{writes} {leaves}");
    }
}

#[test]
fn a_visitor_keeps_a_device_id_while_it_is_there() {
    let mut rooms = two();
    let write = seed("a", "sync_update", json!({ "messages": [seed_unsent(1, "x")] }));
    rooms.open(9);
    rooms.say(9, &write);
    assert_eq!(the_error(&mut rooms, 9)["code"], "INVALID_MESSAGE_FORMAT");
    rooms.feed(Input::Closed { connection: 1 });
    rooms.say(9, &write);
    assert_eq!(rooms.hear_only(9, "sync_ack").len(), 1);
    rooms.open(1);
    rooms.say(1, &announce("a", WALLETS[0]));
    assert_eq!(the_error(&mut rooms, 1)["code"], "COUNTER_REUSED");
}

#[test]
fn a_seed_client_may_go_on_as_a_v1_device() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &seed("s", "device_announce", json!({})));
    rooms.say(1, &announce("s", WALLETS[0]));
    assert!(rooms.hear_only(1, "error").is_empty(), "it has written nothing, and nobody else is there under its id");
    rooms.say(1, &update("s", WALLETS[0], 1, "one"));
    assert_eq!(rooms.texts(), ["one"]);
}

#[test]
fn a_v1_device_says_whose_it_is() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &v1("a", "device_announce", json!({})));
    assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT");
    // One that is not listed any more for the many that came after it is known again all the same.
    rooms.say(1, &announce("a", WALLETS[0]));
    for number in 0..=VISITORS_MAX {
        rooms.now.wall_ms += 1;
        rooms.open(2);
        rooms.say(2, &announce(&format!("v{number}"), WALLETS[1]));
        rooms.feed(Input::Closed { connection: 2 });
    }
    rooms.say(1, &update("a", WALLETS[0], 1, "one"));
    rooms.restart();
    rooms.open(1);
    rooms.say(1, &announce("a", WALLETS[0]));
    assert!(rooms.hear_only(1, "error").is_empty());
}

#[test]
fn a_bare_frame_on_a_v1_connection_is_refused() {
    let mut rooms = two();
    for kind in ["device_announce", "sync_request", "sync_update", "sync_ack", "sync_heartbeat", "read_receipt"] {
        rooms.say(1, &seed("a", kind, json!({})));
        assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT", "{kind}");
    }
}

#[test]
fn a_seed_client_cannot_delete_what_v1_devices_wrote() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "stays"));
    rooms.open(9);
    let write = |fields: Value| {
        let mut message = json!({ "sender_wallet": WALLETS[0], "ciphertext": "x" });
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        seed("s", "sync_update", json!({ "messages": [{ "message": message }] }))
    };
    for fields in [json!({ "id": "1", "replaces": id_of("a", 1) }), json!({ "id": "2", "replaces": id_of("a", 1), "kind": 2 })] {
        rooms.say(9, &write(fields));
        assert_eq!(the_error(&mut rooms, 9)["code"], "INVALID_MESSAGE_FORMAT");
    }
    rooms.say(9, &write(json!({ "id": "3", "kind": 2, "extensions": "AQID" })));
    assert_eq!(rooms.texts(), ["stays", "x"], "a wallet may have devices of both kinds");
    assert_eq!(rooms.log()[1].message.kind, Kind::MESSAGE, "and what is ours is not theirs to say");
    assert!(rooms.log()[1].extensions.is_empty());
}

#[test]
fn the_good_messages_of_a_seed_update_are_taken() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    let message = |id: &str, text: &str| json!({ "message": { "id": id, "sender_wallet": "w", "ciphertext": text } });
    let long = "x".repeat(9_000);
    let messages = json!([message("one", "1"), message("two", &long), message("three", "3"), message("four", &long)]);
    rooms.say(1, &seed("s", "sync_update", json!({ "messages": messages })));
    assert_eq!(rooms.texts(), ["1", "3"]);
    let refused: Vec<Value> = rooms.hear_only(1, "error").into_iter().map(|error| error["refusedMessageId"].clone()).collect();
    assert_eq!(refused, ["two", "four"], "each bad one is named");
}

/// A message of a seed client's update.
fn seed_unsent(number: u64, text: &str) -> Value {
    let message = json!({ "id": format!("m{number}"), "sender_wallet": "w", "ciphertext": text, "timestamp": number });
    json!({ "message": message, "sequenceNumber": number, "vectorClock": { "s": number }, "localTimestamp": number })
}

/// What the messages of a `sync_ack` are called, and those that errors name.
fn taken_and_refused(rooms: &mut Rooms, connection: u64) -> (Value, Vec<Value>) {
    let heard = rooms.hear(connection);
    let acks: Vec<&Value> = heard.iter().filter(|frame| frame["type"] == "sync_ack").collect();
    assert!(acks.len() <= 1, "{heard:?}");
    let taken = acks.first().map_or(Value::Null, |ack| ack["acknowledgedMessageIds"].clone());
    (taken, heard.iter().filter(|frame| frame.get("error").is_some()).map(|error| error["refusedMessageId"].clone()).collect())
}

#[test]
fn half_an_emoji_stores_all_three_messages() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    let messages = [seed_unsent(1, "one"), seed_unsent(2, "two HALF"), seed_unsent(3, "three")];
    let text = seed("s", "sync_update", json!({ "messages": messages })).to_string().replace("HALF", r"\ud83d");
    for _ in 0..2 {
        rooms.feed(Input::Received { connection: 1, payload: Payload::Text(text.as_str().into()) });
        let ack = the_ack(&mut rooms, 1);
        assert_eq!(
            (&ack["acknowledgedSequences"], &ack["acknowledgedMessageIds"]),
            (&json!([1, 2, 3]), &json!(["m1", "m2", "m3"])),
            "also when it comes again"
        );
    }
    assert_eq!(rooms.texts(), ["one", "two \u{fffd}", "three"]);
}

#[test]
fn a_v1_device_may_write_half_an_emoji_in_json() {
    let mut rooms = two();
    for counter in 1..=2 {
        let mut frame = update("a", WALLETS[0], counter, "\u{fffd}");
        frame["lastDigest"] = json!(rooms.last_digest(&frame["messages"]));
        let text = frame.to_string().replace('\u{fffd}', r"\uDE00");
        rooms.feed(Input::Received { connection: 1, payload: Payload::Text(text.into()) });
        assert_eq!(the_ack(&mut rooms, 1)["acknowledgedSequences"], json!([counter]));
    }
    assert_eq!(rooms.hear_only(2, "sync_response")[0]["messages"][0]["message"]["ciphertext"], "\u{fffd}");
}

#[test]
fn a_broken_message_is_named_and_costs_no_other() {
    type Break = fn(&mut Value);
    let breaks: [Break; 9] = [
        |unsent| unsent["message"]["ciphertext"] = json!(7),
        |unsent| unsent["message"]["ciphertext"] = json!("x".repeat(8 * 1024 + 1)),
        |unsent| unsent["message"]["content_type"] = json!({}),
        |unsent| unsent["message"]["kind"] = json!("no"),
        |unsent| unsent["message"]["replaces"] = json!(""),
        |unsent| unsent["sequenceNumber"] = json!(-1),
        |unsent| unsent["vectorClock"] = json!({ "s": -1 }),
        |unsent| unsent["vectorClock"] = json!({ "s": 1e300 }),
        |unsent| unsent["vectorClock"] = json!([1]),
    ];
    for change in breaks {
        let mut rooms = Rooms::new();
        rooms.open(1);
        let mut messages = [1, 2, 3, 4].map(|number| seed_unsent(number, "x"));
        change(&mut messages[0]);
        change(&mut messages[2]);
        for _ in 0..2 {
            rooms.say(1, &seed("s", "sync_update", json!({ "messages": messages })));
            let heard = taken_and_refused(&mut rooms, 1);
            assert_eq!(heard, (json!(["m2", "m4"]), vec![json!("m1"), json!("m3")]), "{}", messages[0]);
        }
        assert_eq!(rooms.texts().len(), 2);
        messages = [1, 2, 3, 4].map(|number| seed_unsent(number, "x"));
        rooms.say(1, &seed("s", "sync_update", json!({ "messages": messages })));
        assert_eq!(taken_and_refused(&mut rooms, 1), (json!(["m1", "m2", "m3", "m4"]), vec![]), "mended, they are taken");
    }
}

#[test]
fn an_update_of_a_v1_device_that_cannot_be_read_is_refused_as_a_whole() {
    type Break = fn(&mut Value);
    let breaks: [Break; 5] = [
        |unsent| unsent["message"]["kind"] = json!("no"),
        |unsent| unsent["message"]["ciphertext"] = json!(7),
        |unsent| unsent["knows"] = json!("1"),
        |unsent| unsent["also"] = json!({ "b": -1 }),
        |unsent| *unsent = json!(null),
    ];
    for change in breaks {
        let mut rooms = two();
        let mut messages = [1, 2, 3].map(|counter| unsent("a", WALLETS[0], counter, "x", 0));
        change(&mut messages[1]);
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
        let code = the_error(&mut rooms, 1)["code"].clone();
        assert!(["INVALID_MESSAGE_FORMAT", "INVALID_VECTOR_CLOCK"].contains(&code.as_str().unwrap()), "{code}");
        assert!(rooms.texts().is_empty(), "its batch is one thing");
        rooms.say(1, &update("a", WALLETS[0], 1, "x"));
        assert_eq!(rooms.texts(), ["x"]);
    }
}

#[test]
fn refusals_of_one_update_are_limited_in_number_and_size() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &seed("s", "sync_update", json!({ "messages": vec![json!({ "message": 5 }); 1_000] })));
    assert_eq!(rooms.hear(1).len(), 32);
    let mut message = seed_unsent(1, "x");
    message["message"]["id"] = json!("i".repeat(60_000));
    rooms.say(1, &seed("s", "sync_update", json!({ "messages": [message] })));
    assert_eq!(taken_and_refused(&mut rooms, 1), (Value::Null, vec![Value::Null]));
    let mut message = seed_unsent(1, "x");
    message["sequenceNumber"] = json!("\u{1}".repeat(10_000));
    rooms.say(1, &seed("s", "sync_update", json!({ "messages": [message] })));
    assert!(rooms.lengths(1)[0] < 1_000, "nor does it repeat a wrong value that is long");
    rooms.hear(1);
    rooms.say(1, &seed("s", "sync_update", json!({ "messages": [5, seed_unsent(2, "x")] })));
    assert_eq!(taken_and_refused(&mut rooms, 1).0, json!(["m2"]));
    rooms.say(1, &seed("s", "read_receipt", json!({ "receipts": [{ "messageId": "m2", "status": "read" }, 7] })));
    assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT");
    assert_eq!(rooms.journal[ROOM].watermarks["w"].watermark.read, 1, "the wallet is known of a message that can be read");
}

#[test]
fn times_pass_to_seed_clients_exactly_as_they_came() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.open(2);
    rooms.say(2, &seed("t", "device_announce", json!({})));
    rooms.hear(2);
    let times =
        json!([1732.5, -1, -0.5, 1e300, 1_700_000_000_000_000_000_u64, "yesterday", "2016-12-31T23:59:60Z", "2004-12-25T10:14:00+01:00"]);
    let times = times.as_array().unwrap();
    let messages = (1..).zip(times).map(|(number, time)| {
        let mut message = seed_unsent(number, "x");
        message["message"]["timestamp"] = time.clone();
        message["localTimestamp"] = time.clone();
        message
    });
    let messages: Vec<Value> = messages.collect();
    rooms.say(1, &seed("s", "sync_update", json!({ "messages": messages, "timestamp": -1.5 })));
    assert_eq!(the_ack(&mut rooms, 1)["acknowledgedSequences"].as_array().unwrap().len(), times.len());
    let told: Vec<Value> = rooms.hear_only(2, "chat").iter().map(|chat| chat["timestamp"].clone()).collect();
    assert_eq!(&told, times);
    rooms.restart();
    rooms.open(3);
    rooms.say(3, &seed("u", "sync_request", json!({ "lastSyncedSequence": 0 })));
    let response = rooms.hear_only(3, "sync_response").remove(0);
    let told: Vec<&Value> = response["messages"].as_array().unwrap().iter().map(|entry| &entry["message"]["timestamp"]).collect();
    assert_eq!(told, times.iter().collect::<Vec<_>>(), "out of the journal too");
}

/// Ways in which a message of an update may be broken.
const BREAKS: [fn(&mut Value); 8] = [
    |unsent| *unsent = json!(null),
    |unsent| *unsent = json!("text"),
    |unsent| unsent["message"] = json!([]),
    |unsent| unsent["message"]["id"] = json!(7),
    |unsent| unsent["message"]["ciphertext"] = json!({ "text": "x" }),
    |unsent| unsent["message"]["sender_wallet"] = json!(["w"]),
    |unsent| unsent["sequenceNumber"] = json!(0.5),
    |unsent| unsent["vectorClock"] = json!({ "s": "1" }),
];

proptest! {
    #[test]
    fn exactly_the_good_messages_of_an_update_are_stored(broken in prop::collection::vec(prop::option::of(any::<prop::sample::Index>()), 1..12)) {
        let mut rooms = Rooms::new();
        rooms.open(1);
        let message = |(number, broken): (u64, &Option<prop::sample::Index>)| {
            let mut message = seed_unsent(number, &format!("text {number}"));
            if let Some(kind) = broken {
                BREAKS[kind.index(BREAKS.len())](&mut message);
            }
            message
        };
        let messages: Vec<Value> = (1..).zip(&broken).map(message).collect();
        let good = (1..).zip(&broken).filter(|(_, broken)| broken.is_none()).map(|(number, _): (u64, _)| number);
        let good: Vec<u64> = good.collect();
        rooms.say(1, &seed("s", "sync_update", json!({ "messages": messages })));
        prop_assert_eq!(rooms.texts(), good.iter().map(|number| format!("text {number}")).collect::<Vec<_>>());
        let (taken, refused) = taken_and_refused(&mut rooms, 1);
        let ids: Vec<Value> = good.iter().map(|number| json!(format!("m{number}"))).collect();
        prop_assert_eq!(taken, if ids.is_empty() { Value::Null } else { Value::Array(ids) });
        prop_assert_eq!(refused.len(), broken.len() - good.len());
    }
}

#[test]
fn fields_of_a_chat_named_like_a_messages_leave_one_hash() {
    for name in ["id", "kind", "content_type"] {
        let mut rooms = Rooms::new();
        rooms.open(1);
        let mut frame = chat(WALLETS[1], "hi");
        frame[name] = json!("z");
        frame["mine"] = json!("kept");
        rooms.say(1, &frame);
        rooms.open(2);
        rooms.say(2, &announce("a", WALLETS[0]));
        rooms.say(2, &v1("a", "sync_request", json!({ "lastSyncedSequence": 0 })));
        let heard = rooms.hear_only(2, "sync_response").remove(0);
        assert_eq!(heard["messages"][0]["message"]["mine"], "kept");
        let Body::SyncResponse(response) = Frame::parse(&heard.to_string()).unwrap().body else { panic!("{heard}") };
        let mut log = Log::new(ROOM);
        log.accept(response.messages.entries().unwrap()).unwrap();
        assert_eq!(log.compare(response.log), Ok(()), "{name}");
    }
}
