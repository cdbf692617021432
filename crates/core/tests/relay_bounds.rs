//! What the relay keeps and takes up to its bounds, and what stands in all that it says.

mod rooms;

use rooms::{ROOM, Rooms, WALLETS, announce, seed, the_error, two, unsent, update, v1};
use serde_json::{Value, json};
use solconnect_sync_core::limits::{FRAME_BYTES_MAX, SOCKET_QUEUE_BYTES_CUT, SOCKET_QUEUE_BYTES_MAX, UNACKNOWLEDGED_MESSAGES_MAX};
use solconnect_sync_core::relay::Input;

/// The relay answers it with as much.
fn long_heartbeat() -> Value {
    let clock: serde_json::Map<String, Value> = (0..250).map(|number| (format!("{number:0>190}"), json!(1))).collect();
    json!({ "type": "sync_heartbeat", "vectorClock": clock })
}

#[test]
fn a_socket_is_cut_at_once_where_far_too_much_waits_for_it() {
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
fn a_full_seed_socket_gets_no_device_list_per_join_and_one_later() {
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
    assert_eq!((rooms.hear(1), rooms.closed.len()), (vec![], 0), "it is full, and it is not cut for what others do");
    rooms.stuck.clear();
    rooms.feed(Input::Sent { connection: 1, bytes: queued });
    let lists = rooms.hear_only(1, "device_list");
    assert_eq!(lists.iter().map(|list| list["devices"].as_array().map(Vec::len)).collect::<Vec<_>>(), [Some(20)]);
}

#[test]
fn live_messages_wait_in_the_log_for_a_full_seed_socket() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &seed("reader", "device_announce", json!({})));
    rooms.join(2, "a", WALLETS[0]);
    rooms.hear(1);
    rooms.stuck.push(1);
    let text = "x".repeat(8_000);
    for first in (1..=100).step_by(5) {
        let messages: Vec<Value> = (first..first + 5).map(|counter| unsent("a", WALLETS[0], counter, &text, json!({}))).collect();
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
fn every_frame_of_the_relay_says_where_it_belongs_when_it_was_sent_and_which_it_is() {
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
fn a_binary_frame_is_of_a_client_that_keeps_these_rules_or_later_ones() {
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
fn a_device_that_writes_much_hears_others_although_it_acknowledges_nothing_of_its_own() {
    let mut rooms = two();
    for first in (1..=UNACKNOWLEDGED_MESSAGES_MAX).step_by(100) {
        let messages: Vec<Value> = (first..first + 100).map(|counter| unsent("a", WALLETS[0], counter, "x", json!({}))).collect();
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    }
    rooms.hear(1);
    rooms.say(2, &update("b", WALLETS[1], 1, "theirs"));
    assert_eq!(rooms.hear_only(1, "sync_response")[0]["messages"][0]["message"]["ciphertext"], "theirs");
}

#[test]
fn a_push_names_the_head_of_the_log_as_it_is_then() {
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
fn what_was_delivered_is_stored_although_everybody_has_left() {
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
    rooms.feed(Input::Closed { connection: 1 });
    rooms.open(2);
    rooms.say(2, &announce("b", WALLETS[0]));
    let devices = rooms.hear_only(2, "device_list")[0]["devices"].clone();
    assert_eq!((&devices[0]["deviceId"], &devices[1]["deviceId"]), (&json!("b"), &json!("a")));
}
