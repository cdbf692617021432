//! Receipts: to whom the relay tells what was received and read, what it keeps, and of whom.

use crate::rooms::{ROOM, WALLETS, announce, seed, two, unsent, update, v1};
use serde_json::json;
use solconnect_sync_core::limits::RECEIPT_WALLETS_MAX;

#[test]
fn receipts_are_forwarded_stored_and_told_to_latecomers() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.say(1, &update("a", WALLETS[0], 2, "y"));
    rooms.lists();
    rooms.hear(1);
    rooms.say(2, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [1] })));
    assert!(rooms.hear(1).is_empty(), "what arrives soon after is told with it");
    rooms.timeout(50);
    let delivered = rooms.hear_only(1, "read_receipt_sync").remove(0)["receipts"][0].clone();
    assert_eq!(
        (delivered["status"].as_str(), delivered["messageId"].as_str(), delivered["sequenceNumber"].as_u64()),
        (Some("delivered"), Some("room:a:start0:1"), Some(1))
    );
    assert_eq!((delivered["readerWallet"].as_str(), delivered["deviceId"].as_str()), (Some(WALLETS[1]), Some("b")));
    rooms.say(2, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [1] })));
    rooms.timeout(50);
    assert!(rooms.hear(1).is_empty(), "nothing new");
    rooms.say(2, &v1("b", "read_receipt", json!({ "receipts": [{ "messageId": "room:a:start0:1", "status": "read", "timestamp": 9 }] })));
    let read = rooms.hear_only(1, "read_receipt_sync").remove(0)["receipts"][0].clone();
    assert_eq!(
        (read["status"].as_str(), read["sequenceNumber"].as_u64(), read["timestamp"].as_u64()),
        (Some("read"), Some(1), Some(9)),
        "its place is found"
    );
    assert!(rooms.hear_only(2, "read_receipt_sync").is_empty(), "not told to the one who says it");
    let watermark = &rooms.journal[ROOM].watermarks[WALLETS[1]].watermark;
    assert_eq!((watermark.delivered, watermark.read), (1, 1));
    rooms.say(2, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [99] })));
    rooms.timeout(50);
    rooms.restart();
    rooms.open(3);
    rooms.say(3, &announce("late", WALLETS[0]));
    let told = rooms.hear_only(3, "read_receipt_sync").remove(0);
    let told: Vec<(&str, u64)> = told["receipts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|receipt| (receipt["status"].as_str().unwrap(), receipt["sequenceNumber"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("delivered", 2), ("read", 1)], "no further than the log");
    rooms.open(4);
    rooms.say(4, &announce("b2", WALLETS[1]));
    let told = rooms.hear_only(4, "read_receipt_sync").remove(0)["receipts"].clone();
    let told: Vec<_> = told.as_array().unwrap().iter().map(|told| (told["readerWallet"].as_str(), told["status"].as_str())).collect();
    assert_eq!(told, [(Some(WALLETS[1]), Some("read"))], "what its own wallet has read elsewhere, and no more of it");
}

#[test]
fn receipts_are_kept_for_a_limited_number_of_wallets() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    for number in 0..2 * RECEIPT_WALLETS_MAX {
        rooms.say(2, &announce("b", &format!("wallet {number}")));
        rooms.say(2, &v1("b", "read_receipt", json!({ "receipts": [{ "messageId": "room:a:start0:1", "status": "read" }] })));
    }
    assert_eq!(rooms.hear_only(1, "read_receipt_sync").len(), 2 * RECEIPT_WALLETS_MAX, "all are passed on");
    assert_eq!(rooms.journal[ROOM].watermarks.len(), RECEIPT_WALLETS_MAX);
    rooms.open(3);
    rooms.say(3, &announce("late", WALLETS[0]));
    let told = rooms.hear_only(3, "read_receipt_sync");
    assert_eq!(told.iter().filter_map(|told| told["receipts"].as_array()).map(Vec::len).sum::<usize>(), RECEIPT_WALLETS_MAX);
}

#[test]
fn seed_clients_hear_sent_receipts_but_no_derived_ones() {
    let mut rooms = two();
    rooms.open(3);
    rooms.say(3, &seed("s", "device_announce", json!({})));
    for counter in 1..=2 {
        rooms.say(1, &update("a", WALLETS[0], counter, "x"));
    }
    rooms.hear(1);
    rooms.hear(3);
    rooms.say(2, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [1] })));
    rooms.timeout(50);
    assert_eq!((rooms.hear_only(3, "read_receipt_sync").len(), rooms.hear_only(1, "read_receipt_sync").len()), (0, 1));
    let receipts = json!([{ "messageId": "room:a:start0:2", "status": "read" }, { "messageId": "nobody's", "status": "read" }]);
    rooms.say(2, &v1("b", "read_receipt", json!({ "receipts": receipts })));
    let told = rooms.hear_only(3, "read_receipt_sync").remove(0)["receipts"].clone();
    assert_eq!((told[0]["sequenceNumber"].as_u64(), told[1].get("sequenceNumber")), (Some(2), None), "its place, where it is known");
    rooms.restart();
    rooms.join(4, "b", WALLETS[1]);
    rooms.join(5, "late", WALLETS[0]);
    rooms.open(6);
    rooms.say(6, &announce("later", WALLETS[0]));
    let told = rooms.hear_only(6, "read_receipt_sync").remove(0);
    let told: Vec<_> = told["receipts"].as_array().unwrap().iter().map(|receipt| receipt["status"].as_str().unwrap()).collect();
    assert_eq!(told, ["read"], "what was read was delivered");
    rooms.say(5, &v1("late", "sync_update", json!({ "messages": [unsent("late", WALLETS[0], 1, "y", 2)] })));
    rooms.say(4, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [3] })));
    rooms.timeout(50);
    assert_eq!(rooms.hear_only(5, "read_receipt_sync").len(), 1, "also of what is no longer in memory");
}

#[test]
fn an_own_device_does_not_make_a_message_delivered() {
    let mut rooms = two();
    rooms.join(3, "a2", WALLETS[0]);
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.hear(1);
    rooms.say(3, &v1("a2", "sync_ack", json!({ "acknowledgedSequences": [1] })));
    rooms.timeout(50);
    assert!(rooms.hear_only(1, "read_receipt_sync").is_empty());
}

#[test]
fn delivery_is_reported_even_of_messages_out_of_memory() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.restart();
    for (connection, device, wallet) in [(3, "a", WALLETS[0]), (4, "b", WALLETS[1])] {
        rooms.join(connection, device, wallet);
    }
    rooms.say(4, &v1("b", "sync_update", json!({ "messages": [unsent("b", WALLETS[1], 1, "own", 1)] })));
    rooms.hear(3);
    rooms.say(4, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [1] })));
    rooms.timeout(50);
    assert_eq!(rooms.hear_only(3, "read_receipt_sync").len(), 1, "only its own message is in memory");
    rooms.open(5);
    rooms.say(5, &announce("late", WALLETS[0]));
    let told = rooms.hear_only(5, "read_receipt_sync").remove(0);
    let told: Vec<_> = told["receipts"].as_array().unwrap().iter().map(|receipt| receipt["status"].as_str().unwrap()).collect();
    assert_eq!(told, ["delivered"]);
}

#[test]
fn a_receipt_beyond_the_log_counts_for_its_end() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.hear(1);
    let far = json!([{ "messageId": "nothing", "status": "read", "sequenceNumber": 9_007_199_254_740_991_u64 }]);
    rooms.say(2, &v1("b", "read_receipt", json!({ "receipts": far })));
    let told = rooms.hear_only(1, "read_receipt_sync").remove(0);
    assert_eq!((told["receipts"][0]["sequenceNumber"].as_u64(), &told["receipts"][0]["messageId"]), (Some(1), &json!("room:a:start0:1")));
}

#[test]
fn a_thousand_receipts_reach_v1_devices_as_two() {
    let mut rooms = two();
    let messages: Vec<_> = (1..=200).map(|counter| unsent("a", WALLETS[0], counter, "x", 0)).collect();
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    rooms.hear(1);
    let receipts: Vec<_> = (1..=1_000)
        .map(|number| json!({ "messageId": "m", "status": if number % 2 == 0 { "read" } else { "delivered" }, "sequenceNumber": number }))
        .collect();
    rooms.say(2, &v1("b", "read_receipt", json!({ "receipts": receipts })));
    let told = rooms.hear_only(1, "read_receipt_sync");
    assert_eq!((told.len(), told[0]["receipts"].as_array().unwrap().len()), (1, 2));
}
