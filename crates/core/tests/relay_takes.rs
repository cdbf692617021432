//! What the relay takes, what it refuses and with which words, rule by rule.

use crate::rooms;
use crate::rooms::{ROOM, Rooms, WALLETS, announce, chat, hex, id_of, seed, the_ack, the_error, two, unsent, update, v1};
use serde_json::{Value, json};
use solconnect_sync_core::entry::{Entry, short_hex};
use solconnect_sync_core::frame::Payload;
use solconnect_sync_core::limits::{BATCH_MESSAGES_MAX, CLOCK_DEVICES_MAX, INTEGER_MAX, UPDATE_QUEUE_MESSAGES_MAX};
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::Kind;
use solconnect_sync_core::relay::Input;

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
fn only_the_relay_erases() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "one"));
    assert_eq!(rooms.hear_only(1, "sync_ack").len(), 1);
    let written: Entry = serde_json::from_value(unsent("a", WALLETS[0], 2, "two", 0)).unwrap();
    let erased = serde_json::to_value(written.erased(&[7; 32])).unwrap();
    let last_digest = rooms::hex(&[7; 32]);
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": [erased], "lastDigest": last_digest })));
    assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT");
    assert_eq!(rooms.texts(), ["one"]);
}
