//! Of an update, what is good is taken and what is broken is refused by name.

use crate::rooms::{ROOM, Rooms, WALLETS, announce, chat, seed, seed_unsent, the_ack, the_error, two, unsent, update, v1};
use proptest::prelude::*;
use serde_json::{Value, json};
use solconnect_sync_core::frame::{Body, Frame, Payload};
use solconnect_sync_core::log::Log;
use solconnect_sync_core::relay::Input;

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
        log.accept(response.messages.entries().unwrap(), |_, _| Ok(())).unwrap();
        assert_eq!(log.compare(response.log), Ok(()), "{name}");
    }
}
