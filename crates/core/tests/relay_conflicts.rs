//! Conflicts that the relay tells seed clients of: v1 devices find them in the log.

use crate::rooms::{Rooms, WALLETS, seed, two, unsent, update, v1};
use serde_json::{Value, json};

#[test]
fn seed_clients_are_told_of_concurrent_messages() {
    let mut rooms = two();
    rooms.open(3);
    rooms.say(3, &seed("s", "device_announce", json!({})));
    rooms.say(1, &update("a", WALLETS[0], 1, "from a"));
    assert!(rooms.hear_only(3, "sync_conflict").is_empty());
    rooms.hear(2);
    rooms.say(2, &update("b", WALLETS[1], 1, "from b"));
    let conflict = rooms.hear_only(3, "sync_conflict").remove(0)["conflicts"][0].clone();
    assert_eq!((conflict["messageId"].as_str(), conflict["resolution"].as_str()), (Some("room:b:start0:1"), Some("log_order")));
    let texts: Vec<&str> = conflict["conflictingVersions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["message"]["ciphertext"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["from b", "from a"]);
    assert!(rooms.hear_only(2, "sync_conflict").is_empty(), "v1 devices find them in the log");
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": [unsent("a", WALLETS[0], 2, "knows", 2)] })));
    assert!(rooms.hear_only(3, "sync_conflict").is_empty());
}

#[test]
fn conflicts_too_large_for_a_frame_are_told_without_texts() {
    let mut rooms = two();
    rooms.open(3);
    rooms.say(3, &seed("s", "device_announce", json!({})));
    let long = "x".repeat(3_000);
    for counter in 1..=3 {
        rooms.say(1, &update("a", WALLETS[0], counter, &long));
    }
    rooms.hear(3);
    let messages: Vec<Value> = (1..=120).map(|counter| unsent("b", WALLETS[1], counter, "short", 0)).collect();
    rooms.say(2, &v1("b", "sync_update", json!({ "messages": messages })));
    let conflicts = rooms.hear_only(3, "sync_conflict").remove(0)["conflicts"].clone();
    assert_eq!(conflicts.as_array().map(Vec::len), Some(100));
    assert!(conflicts.as_array().unwrap().iter().all(|conflict| conflict["conflictingVersions"] == json!([])));
}

#[test]
fn seed_clients_are_told_of_conflicts_among_themselves() {
    let mut rooms = Rooms::new();
    for (connection, device) in [(1, "s"), (2, "t")] {
        rooms.open(connection);
        let message = json!({ "id": device, "sender_wallet": device, "ciphertext": "x" });
        rooms.say(connection, &seed(device, "sync_update", json!({ "messages": [{ "message": message, "vectorClock": { device: 1 } }] })));
    }
    assert_eq!(rooms.hear_only(2, "sync_conflict")[0]["conflicts"][0]["messageId"], "t");
}
