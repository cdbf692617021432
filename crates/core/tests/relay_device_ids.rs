//! Under which device ids clients of both dialects speak, and whose an id is.

use crate::rooms::{Rooms, WALLETS, announce, chat, seed, seed_unsent, the_error, two, update, v1};
use serde_json::json;
use solconnect_sync_core::limits::VISITORS_MAX;
use solconnect_sync_core::relay::Input;

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
