//! What the relay keeps and takes up to its bounds, and what stands in all that it says.

use crate::rooms::{ROOM, Rooms, WALLETS, announce, chat, seed, the_error, two, unsent, update, v1};
use serde_json::{Value, json};
use solconnect_sync_core::limits::{
    FRAME_BYTES_MAX, SESSIONS_MAX, SOCKET_QUEUE_BYTES_CUT, SOCKET_QUEUE_BYTES_MAX, UNACKNOWLEDGED_MESSAGES_MAX, UPDATE_QUEUE_MESSAGES_MAX,
};
use solconnect_sync_core::relay::{Input, Reading};

/// The relay answers it with as much.
fn long_heartbeat() -> Value {
    let clock: serde_json::Map<String, Value> = (0..250).map(|number| (format!("{number:0>190}"), json!(1))).collect();
    json!({ "type": "sync_heartbeat", "vectorClock": clock })
}

#[test]
fn an_overlong_socket_queue_cuts_the_socket_at_once() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.stuck.push(1);
    let mut bytes = 0;
    while rooms.closed.is_empty() {
        assert!(bytes <= SOCKET_QUEUE_BYTES_CUT, "{bytes}");
        rooms.say(1, &long_heartbeat());
        bytes = rooms.lengths(1).iter().sum();
    }
    assert!((SOCKET_QUEUE_BYTES_CUT..SOCKET_QUEUE_BYTES_CUT + FRAME_BYTES_MAX).contains(&bytes), "{bytes}");
}

#[test]
fn what_a_cut_connection_still_says_is_dropped() {
    let message = json!({ "id": "late", "sender_wallet": WALLETS[0], "ciphertext": "x" });
    for (cut, stored) in [(false, 1), (true, 0)] {
        let mut rooms = Rooms::new();
        rooms.open(1);
        rooms.stuck.push(1);
        while cut && rooms.closed.is_empty() {
            rooms.say(1, &long_heartbeat());
        }
        rooms.hear(1);
        rooms.say(1, &seed("s", "sync_update", json!({ "messages": [{ "message": message.clone() }] })));
        assert_eq!((rooms.log().len(), rooms.hear(1).is_empty(), rooms.asked.is_empty()), (stored, cut, cut));
    }
}

#[test]
fn a_full_seed_socket_later_gets_one_device_list() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &seed("watcher", "device_announce", json!({})));
    rooms.stuck.push(1);
    (0..2).for_each(|_| rooms.say(1, &long_heartbeat()));
    let queued: usize = rooms.lengths(1).iter().sum();
    rooms.hear(1);
    for connection in 2..=20 {
        rooms.open(connection);
        rooms.say(connection, &seed(&format!("device-{connection}"), "device_announce", json!({})));
    }
    rooms.lists();
    assert_eq!((rooms.hear(1), rooms.closed.len()), (vec![], 0), "it is full, and it is not cut for what others do");
    rooms.stuck.clear();
    rooms.feed(Input::Sent { connection: 1, bytes: queued });
    let lists = rooms.hear_only(1, "device_list");
    assert_eq!(lists.iter().map(|list| list["devices"].as_array().map(Vec::len)).collect::<Vec<_>>(), [Some(20)]);
}

#[test]
fn a_full_seed_socket_misses_no_live_message() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &seed("reader", "device_announce", json!({})));
    rooms.join(2, "a", WALLETS[0]);
    rooms.hear(1);
    rooms.stuck.push(1);
    let text = "x".repeat(8_000);
    for first in (1..=100).step_by(5) {
        let messages: Vec<Value> = (first..first + 5).map(|counter| unsent("a", WALLETS[0], counter, &text, 0)).collect();
        rooms.say(2, &v1("a", "sync_update", json!({ "messages": messages })));
    }
    let queued: usize = rooms.lengths(1).iter().sum();
    assert!((SOCKET_QUEUE_BYTES_MAX..SOCKET_QUEUE_BYTES_MAX + 10_000).contains(&queued), "{queued}");
    rooms.stuck.clear();
    rooms.feed(Input::Sent { connection: 1, bytes: queued });
    let sequences: Vec<u64> = rooms.hear_only(1, "chat").iter().filter_map(|chat| chat["sequenceNumber"].as_u64()).collect();
    assert_eq!(sequences, (1..=100).collect::<Vec<_>>(), "each once and in order");
}

#[test]
fn relay_frames_carry_session_sender_time_and_unique_id() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &seed("s", "device_announce", json!({})));
    rooms.say(1, &seed("s", "sync_request", json!({})));
    let heard = rooms.hear(1);
    assert_eq!(heard.len(), 3, "{heard:?}");
    for frame in &heard {
        assert_eq!((&frame["sessionId"], &frame["deviceId"]), (&json!(ROOM), &json!("server")));
        assert_eq!(frame["timestamp"], json!(rooms.now.wall_ms));
    }
    let mut ids: Vec<&Value> = heard.iter().map(|frame| &frame["messageId"]).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
}

#[test]
fn a_binary_announcement_needs_protocol_version_one_or_later() {
    for (version, taken) in [(json!(null), false), (json!(0), false), (json!(1), true), (json!(2), true)] {
        let mut rooms = Rooms::new();
        rooms.open_binary(1);
        let mut frame = announce("a", WALLETS[0]);
        frame["protocolVersion"] = version.clone();
        rooms.say(1, &frame);
        if taken {
            assert_eq!(rooms.hear_only(1, "device_list").len(), 1, "{version}");
        } else {
            assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT", "{version}");
        }
    }
}

#[test]
fn a_heavy_writer_hears_others_without_acknowledging_its_own() {
    let mut rooms = two();
    for first in (1..=UNACKNOWLEDGED_MESSAGES_MAX).step_by(100) {
        let messages: Vec<Value> = (first..first + 100).map(|counter| unsent("a", WALLETS[0], counter, "x", 0)).collect();
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    }
    rooms.hear(1);
    rooms.say(2, &update("b", WALLETS[1], 1, "theirs"));
    assert_eq!(rooms.hear_only(1, "sync_response")[0]["messages"][0]["message"]["ciphertext"], "theirs");
}

#[test]
fn a_push_names_the_logs_head_when_sent() {
    let mut rooms = two();
    for (connection, device) in [(1, "a"), (2, "b")] {
        rooms.say(connection, &v1(device, "sync_request", json!({ "maxBatchSize": 1 })));
    }
    rooms.join(3, "c", WALLETS[1]);
    rooms.stuck.push(1);
    (0..2).for_each(|_| rooms.say(1, &long_heartbeat()));
    let queued: usize = rooms.lengths(1).iter().sum();
    rooms.hear(1);
    rooms.hear(2);
    rooms.say(3, &update("c", WALLETS[1], 1, "one"));
    rooms.say(3, &update("c", WALLETS[1], 2, "two"));
    rooms.stuck.clear();
    rooms.feed(Input::Sent { connection: 1, bytes: queued });
    let heads = |rooms: &mut Rooms, connection| -> Vec<Value> {
        rooms.hear_only(connection, "sync_response").into_iter().map(|push| push["latestSequence"].clone()).collect()
    };
    assert_eq!((heads(&mut rooms, 2), heads(&mut rooms, 1)), (vec![json!(1), json!(2)], vec![json!(2), json!(2)]));
}

#[test]
fn a_session_is_kept_while_the_journal_works_for_it_i5() {
    let mut rooms = two();
    rooms.held = Some(Default::default());
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.feed(Input::Closed { connection: 1 });
    rooms.feed(Input::Closed { connection: 2 });
    rooms.join(3, "c", WALLETS[0]);
    assert_eq!(rooms.held.as_ref().unwrap().len(), 1, "it is not read again, as it will not be that any more");
    rooms.answer(false);
    rooms.held = None;
    rooms.say(3, &update("c", WALLETS[0], 1, "y"));
    assert_eq!(rooms.texts(), ["x", "y"]);
}

#[test]
fn a_delivery_is_stored_even_after_everybody_left() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.say(2, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [1] })));
    rooms.feed(Input::Closed { connection: 2 });
    rooms.feed(Input::Closed { connection: 1 });
    rooms.timeout(1_000);
    assert_eq!(rooms.journal[ROOM].watermarks[WALLETS[1]].watermark.delivered, 1);
}

#[test]
fn devices_that_are_connected_are_listed_first() {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.feed(Input::Closed { connection: 1 });
    rooms.open(2);
    rooms.say(2, &announce("b", WALLETS[0]));
    let devices = rooms.hear_only(2, "device_list")[0]["devices"].clone();
    assert_eq!((&devices[0]["deviceId"], &devices[1]["deviceId"]), (&json!("b"), &json!("a")));
}

/// The dearest frame of each kind, as a device of our rules or as a seed client.
fn dearest() -> Vec<(&'static str, Value)> {
    let clock: serde_json::Map<String, Value> = (0..290).map(|number| (format!("{number:0>180}"), json!(1))).collect();
    let ranges: Vec<Value> = (0..1_000).map(|_| json!({ "start": 1, "end": 9_000 })).collect();
    let receipts: Vec<Value> = (0..600).map(|number| json!({ "messageId": format!("m{number}"), "status": "read" })).collect();
    let far: Vec<Value> = (0..600).map(|number| json!({ "messageId": "m", "status": "read", "sequenceNumber": number })).collect();
    let repeats: Vec<Value> = (0..400).map(|_| json!({ "message": { "id": "same", "sender_wallet": "w", "ciphertext": "x" } })).collect();
    let bad: Vec<Value> = (0..400).map(|number| json!({ "message": { "id": format!("{number:0>201}"), "ciphertext": "x" } })).collect();
    let mut frames = Vec::new();
    for (kind, fields) in [
        ("device_announce", json!({ "syncState": { "vectorClock": clock } })),
        ("sync_request", json!({ "lastSyncedSequence": 0 })),
        ("sync_request", json!({ "missingRanges": ranges })),
        ("sync_update", json!({ "messages": repeats })),
        ("sync_update", json!({ "messages": bad })),
        ("sync_ack", json!({ "acknowledgedSequences": [1] })),
        ("sync_heartbeat", json!({ "vectorClock": clock })),
        ("read_receipt", json!({ "receipts": receipts })),
        ("read_receipt", json!({ "receipts": far })),
        ("device_list", json!({})),
        ("of_the_future", json!({})),
    ] {
        frames.push((kind, v1("h", kind, fields.clone())));
        frames.push((kind, seed("h", kind, fields)));
    }
    frames.push(("chat", chat("mallory", &"x".repeat(8_000))));
    frames
}

/// A session of twelve members of both dialects with a log, and a connection 99 that has announced itself.
fn busy(speaks_v1: bool) -> Rooms {
    let mut rooms = two();
    for connection in 10..15 {
        rooms.join(connection, &format!("v{connection}"), WALLETS[1]);
        rooms.open(connection + 10);
        rooms.say(connection + 10, &seed(&format!("s{connection}"), "device_announce", json!({})));
    }
    let messages: Vec<Value> = (1..=200).map(|counter| unsent("a", WALLETS[0], counter, "hello there", 0)).collect();
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    rooms.open(99);
    rooms.say(99, &if speaks_v1 { announce("h", WALLETS[1]) } else { seed("h", "device_announce", json!({})) });
    (1..100).for_each(|connection| drop(rooms.hear(connection)));
    rooms
}

#[test]
fn the_cost_of_every_frame_kind_is_bounded() {
    const FRAMES: usize = 40;
    for (kind, frame) in dearest() {
        let mut rooms = busy(frame["protocolVersion"] == json!(1));
        let asked = rooms.asked.len();
        let bytes_in = FRAMES * frame.to_string().len();
        (0..FRAMES).for_each(|_| rooms.say(99, &frame));
        let out: usize = (1..100).flat_map(|connection| rooms.lengths(connection)).sum();
        // Twelve members; beside what it says, each may hear as much as the log of 200 messages and the list of devices.
        assert!(out <= 12 * (4 * bytes_in + FRAMES * 6 * 1_024), "{kind}: {bytes_in} bytes in, {out} out");
        assert!(rooms.asked.len() - asked <= 3 * FRAMES, "{kind}: {} questions to the journal", rooms.asked.len() - asked);
        let rows = &rooms.journal[ROOM];
        assert!(rows.devices.len() <= 3 && rows.watermarks.len() <= 3, "{kind}");
        rooms.say(2, &update("b", WALLETS[1], 1, "honest"));
        assert_eq!(rooms.hear_only(2, "sync_ack").len(), 1, "{kind}: the others go on");
    }
}

#[test]
fn sockets_that_take_nothing_have_bounded_queues() {
    for (kind, frame) in dearest() {
        let mut rooms = busy(frame["protocolVersion"] == json!(1));
        rooms.open_binary(30);
        rooms.say(30, &announce("binary", WALLETS[0]));
        rooms.hear(30);
        rooms.stuck = (1..100).collect();
        for number in 0..60 {
            rooms.say(99, &frame);
            rooms.say(1, &update("a", WALLETS[0], 201 + number, &"y".repeat(8_000)));
        }
        for connection in 1..100 {
            let queued: usize = rooms.lengths(connection).iter().sum();
            assert!(queued <= SOCKET_QUEUE_BYTES_CUT + FRAME_BYTES_MAX, "{kind}: {queued} bytes for {connection}");
        }
    }
}

#[test]
fn a_connection_that_costs_too_much_is_not_read_for_a_while() {
    let mut rooms = two();
    rooms.lists();
    rooms.hear(1);
    let heartbeat = v1("a", "sync_heartbeat", json!({}));
    let mut said = 0;
    while rooms.reading(1) == Reading::Now {
        rooms.say(1, &heartbeat);
        said += 1;
        assert!(said < 50_000, "one connection has all the time");
    }
    assert_eq!(rooms.hear_only(1, "sync_heartbeat").len(), said, "nothing that was read is lost");
    assert_eq!(rooms.reading(2), Reading::Now, "the others go on");
    let Reading::NotBefore(until_ms) = rooms.reading(1) else { panic!("{:?}", rooms.reading(1)) };
    rooms.timeout(until_ms - rooms.now.monotonic_ms);
    (0..2).for_each(|_| rooms.say(1, &heartbeat));
    let Reading::NotBefore(again_ms) = rooms.reading(1) else { panic!("{:?}", rooms.reading(1)) };
    assert!((1..10).contains(&(again_ms - until_ms)), "a little at a time: {again_ms}, {until_ms}");
    rooms.timeout(60_000);
    rooms.say(1, &heartbeat);
    assert_eq!(rooms.reading(1), Reading::Now, "with time it is heard again");
}

#[test]
fn a_socket_that_takes_no_answers_is_not_asked_on() {
    let mut rooms = two();
    rooms.stuck = vec![1];
    let mut said = 0;
    while rooms.reading(1) == Reading::Now {
        rooms.say(1, &long_heartbeat());
        said += 1;
        assert!(said < 10, "its queue grows and grows");
    }
    assert_eq!((rooms.reading(1), rooms.closed.len()), (Reading::NotBeforeSent, 0), "it is not cut for what it asked");
    let queued = rooms.lengths(1).iter().sum();
    rooms.feed(Input::Sent { connection: 1, bytes: queued });
    assert_eq!(rooms.reading(1), Reading::Now);
}

#[test]
fn many_joins_share_one_list_of_devices() {
    let mut rooms = two();
    rooms.open(3);
    rooms.say(3, &seed("watcher", "device_announce", json!({})));
    rooms.lists();
    (1..=3).for_each(|connection| drop(rooms.hear(connection)));
    for connection in 10..60 {
        rooms.open(connection);
        rooms.say(connection, &seed(&format!("s{connection}"), "device_announce", json!({})));
        assert_eq!(rooms.hear_only(connection, "device_list").len(), 1, "its own at once");
    }
    rooms.lists();
    let listed = |list: &Value| list["devices"].as_array().map(Vec::len);
    assert_eq!(rooms.hear_only(1, "device_list").iter().map(listed).collect::<Vec<_>>(), [Some(50)], "those that came");
    assert_eq!(rooms.hear_only(3, "device_list").iter().map(listed).collect::<Vec<_>>(), [Some(53)], "all");
    assert_eq!(rooms.hear_only(10, "device_list").iter().map(listed).collect::<Vec<_>>(), [Some(53)], "those that came later too");
    for connection in 10..60 {
        rooms.feed(Input::Closed { connection });
    }
    rooms.lists();
    assert_eq!(rooms.hear_only(1, "device_list").iter().map(listed).collect::<Vec<_>>(), [Some(50)], "those that left");
    assert!(rooms.hear_only(3, "device_list").is_empty(), "seed clients get lists when one comes");
}

#[test]
fn a_list_of_all_who_came_is_cut_into_frames() {
    let mut rooms = two();
    rooms.lists();
    rooms.hear(1);
    for connection in 10..410 {
        rooms.open(connection);
        rooms.say(connection, &seed(&format!("{connection:0>190}"), "device_announce", json!({})));
    }
    rooms.lists();
    assert!(rooms.lengths(1).iter().all(|bytes| *bytes <= FRAME_BYTES_MAX));
    let lists = rooms.hear_only(1, "device_list");
    assert_eq!(lists.iter().filter_map(|list| list["devices"].as_array()).map(Vec::len).sum::<usize>(), 400);
}

#[test]
fn honest_bursts_and_catching_up_are_not_throttled() {
    let mut rooms = two();
    for counter in 1..=2_000 {
        rooms.say(1, &update("a", WALLETS[0], counter, "a message of a burst"));
        assert_eq!(rooms.reading(1), Reading::Now, "{counter}");
    }
    rooms.feed(Input::Closed { connection: 1 });
    rooms.join(1, "a", WALLETS[0]);
    for first in (2_001..=10_000).step_by(100) {
        let messages: Vec<Value> = (first..first + 100).map(|counter| unsent("a", WALLETS[0], counter, "x", 0)).collect();
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
        assert_eq!(rooms.reading(1), Reading::Now, "{first}");
    }
    assert_eq!(rooms.log().len(), 10_000);
    rooms.open(3);
    rooms.say(3, &announce("c", WALLETS[1]));
    rooms.say(3, &v1("c", "sync_request", json!({})));
    let mut cursor = 0;
    while cursor < 10_000 {
        let heard = rooms.hear(3);
        assert!(heard.iter().all(|frame| frame.get("error").is_none()), "{heard:?}");
        cursor += heard.iter().filter_map(|frame| frame["messages"].as_array()).map(|messages| messages.len() as u64).sum::<u64>();
        rooms.say(3, &v1("c", "sync_ack", json!({ "acknowledgedSequences": [cursor] })));
        assert_eq!(rooms.reading(3), Reading::Now, "{cursor}");
    }
}

#[test]
fn a_device_of_a_thousand_sessions_comes_back_at_full_speed() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    for number in 0..SESSIONS_MAX {
        for mut frame in [announce("a", WALLETS[0]), v1("a", "sync_request", json!({}))] {
            frame["sessionId"] = json!(format!("room {number}"));
            rooms.say(1, &frame);
            assert_eq!(rooms.reading(1), Reading::Now, "{number}");
        }
    }
}

#[test]
fn updates_without_messages_have_a_limit_too() {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    rooms.held = Some(Default::default());
    rooms.say(1, &update("a", WALLETS[0], 1, "one"));
    for _ in 0..2 * UPDATE_QUEUE_MESSAGES_MAX {
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": [], "lastDigest": "0".repeat(64) })));
    }
    assert!(rooms.hear_only(1, "error").iter().any(|error| error["code"] == "RELAY_BUSY"));
}
