//! Clocks of seed clients: what they say in the log's terms, and what they are sent.

use crate::rooms::{ROOM, Rooms, WALLETS, seed, two, unsent, update, v1};
use serde_json::{Value, json};
use solconnect_sync_core::limits::{ALSO_MAX, CLOCK_PLACES_MAX, FRAME_BYTES_MAX, TAIL_ENTRIES_MAX};
use solconnect_sync_core::relay::{JournalAnswer, JournalQuestion};

/// A seed client's update with one message, whose clock is this.
fn seed_update(device: &str, id: &str, clock: &Value) -> Value {
    let message = json!({ "id": id, "sender_wallet": device, "ciphertext": id });
    seed(device, "sync_update", json!({ "messages": [{ "message": message, "sequenceNumber": 1, "vectorClock": clock }] }))
}

/// Devices `a` and `b` have written a1 b1 a2 b2, and a seed client is there, on connection 9.
fn four() -> Rooms {
    let mut rooms = two();
    for (connection, device, counter) in [(1, "a", 1), (2, "b", 1), (1, "a", 2), (2, "b", 2)] {
        rooms.say(connection, &update(device, WALLETS[connection as usize - 1], counter, "x"));
    }
    rooms.open(9);
    rooms
}

/// The log's messages as a seed client is sent them when it asks for all: their clocks.
fn clocks(rooms: &mut Rooms, connection: u64) -> Vec<Value> {
    rooms.open(connection);
    rooms.say(connection, &seed("asking", "sync_request", json!({ "lastSyncedSequence": 0, "maxBatchSize": 1_000 })));
    let heard = rooms.hear(connection);
    assert!(heard.iter().all(|frame| frame["status"] != "failed"), "{heard:?}");
    let entries = heard.iter().filter_map(|frame| frame["messages"].as_array()).flatten();
    entries.map(|entry| entry["vectorClock"].clone()).collect()
}

#[test]
fn a_seeds_clock_becomes_what_it_knows_and_also_knows() {
    let said = [
        (json!({}), 4, json!({})),
        (json!({ "a": 2, "b": 2 }), 4, json!({})),
        (json!({ "a": 2, "b": 1 }), 3, json!({})),
        (json!({ "a": 1, "b": 1 }), 2, json!({})),
        (json!({ "a": 1, "b": 2 }), 2, json!({ "b": 2 })),
        (json!({ "a": 2 }), 1, json!({ "a": 2 })),
        (json!({ "b": 1 }), 0, json!({ "b": 1 })),
        (json!({ "s": 1 }), 0, json!({})),
        (json!({ "a": 99, "b": 99, "nobody": 99 }), 4, json!({})),
        (json!({ "a": 99, "nobody": 5 }), 1, json!({ "a": 2 })),
    ];
    for restarts in [false, true] {
        for (clock, knows, also) in &said {
            let mut rooms = four();
            if restarts {
                rooms.restart();
                rooms.open(9);
            }
            rooms.say(9, &seed_update("s", "m", clock));
            assert_eq!(rooms.hear_only(9, "sync_ack").len(), 1, "{clock}");
            let entry = rooms.log().pop().unwrap();
            assert_eq!(entry.knows, *knows, "{clock} {restarts}");
            // After a restart memory does not know that it is before that place, and says it again.
            assert!(restarts || &json!(entry.also) == also, "{clock} {entry:?}");
        }
    }
}

#[test]
fn a_clock_comes_out_as_it_was_said_where_it_names_the_log() {
    for clock in [json!({ "a": 1, "b": 2, "s": 1 }), json!({ "a": 2, "s": 1 }), json!({ "b": 1, "s": 1 }), json!({ "s": 1 })] {
        let mut rooms = four();
        rooms.say(9, &seed_update("s", "m", &clock));
        assert_eq!(clocks(&mut rooms, 10).pop(), Some(clock.clone()));
        rooms.restart();
        assert_eq!(clocks(&mut rooms, 11).pop(), Some(clock), "from the journal too");
    }
    let mut rooms = four();
    rooms.say(9, &seed_update("s", "m", &json!({ "a": 2, "b": 7, "nobody": 3, "s": 1 })));
    assert_eq!(clocks(&mut rooms, 10).pop(), Some(json!({ "a": 2, "b": 2, "s": 1 })), "it knows nothing that is not in the log");
}

#[test]
fn a_counter_that_a_seed_client_left_out_costs_no_other_knowledge() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &seed_update("s", "m1", &json!({ "s": 5 })));
    rooms.say(1, &seed_update("s", "m2", &json!({ "s": 9 })));
    rooms.open(2);
    rooms.say(2, &seed_update("t", "m3", &json!({ "s": 5, "t": 1 })));
    let entry = rooms.log().pop().unwrap();
    assert_eq!((entry.knows, json!(entry.also)), (0, json!({ "s": 5 })), "its sixth is not in the log");
    assert_eq!(clocks(&mut rooms, 3), [json!({ "s": 5 }), json!({ "s": 9 }), json!({ "s": 5, "t": 1 })]);
}

#[test]
fn two_seed_clients_that_know_of_each_other_are_in_no_conflict() {
    let mut rooms = Rooms::new();
    for (connection, device) in [(1, "s"), (2, "t")] {
        rooms.open(connection);
        rooms.say(connection, &seed(device, "device_announce", json!({})));
    }
    for (connection, device, id, clock) in [
        (1, "s", "m1", json!({ "s": 1 })),
        (2, "t", "m2", json!({ "s": 1, "t": 1 })),
        (1, "s", "m3", json!({ "s": 2, "t": 1 })),
        (2, "t", "m4", json!({ "s": 2, "t": 2 })),
    ] {
        rooms.say(connection, &seed_update(device, id, &clock));
        assert!(rooms.hear_only(1, "sync_conflict").is_empty(), "{id}");
    }
    rooms.say(1, &seed_update("s", "m5", &json!({ "s": 3, "t": 1 })));
    assert_eq!(rooms.hear_only(2, "sync_conflict")[0]["conflicts"][0]["messageId"], "m5");
}

#[test]
fn a_clock_behind_more_devices_than_may_be_asked_for_keeps_what_it_knows() {
    let mut rooms = Rooms::new();
    rooms.fill();
    let devices = &mut rooms.journal.get_mut(ROOM).unwrap().devices;
    devices.remove("d1023").unwrap();
    rooms.open(1);
    let clock: serde_json::Map<String, Value> = (0..100).map(|number| (format!("d{number}"), json!(1))).collect();
    rooms.say(1, &seed_update("d5", "m", &json!(clock)));
    let entry = rooms.log().pop().unwrap();
    assert_eq!((entry.knows, entry.also.len()), (0, ALSO_MAX));
    assert!(rooms.asked.iter().filter(|asked| **asked == "find").count() <= 1);
}

#[test]
fn the_journal_is_asked_for_a_bounded_number_of_entries() {
    let mut rooms = Rooms::new();
    let names: Vec<String> = (0..20).map(|number| format!("d{number}")).collect();
    rooms.open(1);
    for device in &names {
        (1..=20).for_each(|counter| rooms.say(1, &seed_update(device, &format!("{device} {counter}"), &json!({ device: counter }))));
    }
    let log = rooms.log().len();
    let message = |known: u64| {
        let clock: serde_json::Map<String, Value> = names.iter().map(|device| (device.clone(), json!(known))).collect();
        json!({ "message": { "id": format!("m{known}"), "sender_wallet": "w", "ciphertext": "x" }, "vectorClock": clock })
    };
    let messages: Vec<Value> = (0..20).map(message).collect();
    rooms.held = Some(Default::default());
    rooms.say(1, &seed("d7", "sync_update", json!({ "messages": messages })));
    let held = &rooms.held.as_ref().unwrap()[0].1;
    let JournalQuestion::Find { counters, keys, .. } = held else { panic!("it is asked first") };
    assert!((200..=256).contains(&counters.len()), "{}", counters.len());
    assert_eq!(keys.len(), 20);
    rooms.answer(false);
    rooms.answer(false);
    assert_eq!(rooms.log().len(), log + 20, "all are taken");
}

/// A log in which every message of `b` knew nothing, longer than what memory has.
fn long() -> Rooms {
    let mut rooms = two();
    for first in (1..=TAIL_ENTRIES_MAX as u64).step_by(64) {
        let messages: Vec<Value> = (first..first + 64).map(|counter| unsent("a", WALLETS[0], counter, "x", counter - 1)).collect();
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    }
    rooms
}

#[test]
fn clocks_of_old_knowledge_are_exact_live_and_later() {
    let mut rooms = long();
    rooms.open(9);
    rooms.say(9, &seed("s", "device_announce", json!({})));
    rooms.hear(9);
    let messages = json!([unsent("b", WALLETS[1], 1, "knew nothing", 0), unsent("b", WALLETS[1], 2, "knew a little", 3)]);
    rooms.asked.clear();
    rooms.say(2, &v1("b", "sync_update", json!({ "messages": messages })));
    let told: Vec<Value> = rooms.hear_only(9, "chat").iter().map(|chat| chat["vectorClock"].clone()).collect();
    let expected = [json!({ "b": 1 }), json!({ "a": 3, "b": 2 })];
    assert_eq!(told, expected);
    assert_eq!(rooms.asked.iter().filter(|asked| **asked == "clocks").count(), 1, "{:?}", rooms.asked);
    assert_eq!(clocks(&mut rooms, 10)[TAIL_ENTRIES_MAX..], expected);
    rooms.restart();
    let all = clocks(&mut rooms, 11);
    assert_eq!(all[TAIL_ENTRIES_MAX..], expected, "from the journal alone");
    assert_eq!(all[..TAIL_ENTRIES_MAX], (1..=TAIL_ENTRIES_MAX).map(|counter| json!({ "a": counter })).collect::<Vec<_>>());
}

#[test]
fn what_was_read_is_sent_although_the_log_has_gone_on() {
    let mut rooms = long();
    rooms.open(9);
    rooms.say(9, &seed("s", "device_announce", json!({})));
    rooms.hear(9);
    rooms.held = Some(Default::default());
    rooms.say(2, &update("b", WALLETS[1], 1, "knew nothing"));
    rooms.answer(false);
    for counter in 2..=4 {
        rooms.say(2, &update("b", WALLETS[1], counter, "knew nothing"));
        let asked = |rooms: &Rooms| rooms.held.as_ref().unwrap().iter().map(|(_, question)| format!("{question:.6?}")).collect::<Vec<_>>();
        assert_eq!(rooms.held.as_ref().unwrap().len(), 2, "what was read, and an append: {:?}", asked(&rooms));
        // The part, its clocks behind the append, the append, the clocks.
        (0..3).for_each(|_| rooms.answer(false));
        let told: Vec<Value> = rooms.hear_only(9, "chat").iter().map(|chat| chat["vectorClock"].clone()).collect();
        assert_eq!(told, [json!({ "b": counter - 1 })], "each in its turn");
    }
}

#[test]
fn entries_that_come_while_clocks_are_looked_up_change_nothing() {
    let mut rooms = long();
    rooms.restart();
    rooms.join(1, "a", WALLETS[0]);
    // Memory can look back over these 30, and after the next 256 it cannot any more.
    let next = TAIL_ENTRIES_MAX as u64 + 1;
    let messages: Vec<Value> = (next..next + 30).map(|counter| unsent("a", WALLETS[0], counter, "y", counter - 1)).collect();
    rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    rooms.open(9);
    rooms.held = Some(Default::default());
    let request = json!({ "missingRanges": [{ "start": next - 9, "end": next + 9 }], "maxBatchSize": 1_000 });
    rooms.say(9, &seed("s", "sync_request", request));
    rooms.answer(false);
    let (ticket, question) = rooms.held.as_mut().unwrap().pop_front().unwrap();
    assert!(format!("{question:?}").starts_with("Clocks"), "{question:?}");
    rooms.held = None;
    let next = next + 30;
    for first in (next..next + 320).step_by(64) {
        let messages: Vec<Value> = (first..first + 64).map(|counter| unsent("a", WALLETS[0], counter, "z", counter - 1)).collect();
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    }
    rooms.hear(9);
    let answer = rooms.ask(question).unwrap();
    rooms.feed(solconnect_sync_core::relay::Input::Journal { ticket, answer });
    let heard = rooms.hear(9);
    assert_eq!(heard[0]["messages"].as_array().map(Vec::len), Some(19), "{heard:?}");
    assert_eq!(heard.last().unwrap()["status"], "completed");
}

#[test]
fn the_journal_is_asked_for_so_many_clocks_at_once_and_no_more() {
    let mut rooms = long();
    rooms.restart();
    rooms.open(9);
    rooms.asked.clear();
    rooms.say(9, &seed("s", "sync_request", json!({ "lastSyncedSequence": 0, "maxBatchSize": 1_000 })));
    let answers = rooms.hear_only(9, "sync_response");
    let lengths: Vec<usize> = answers.iter().map(|answer| answer["messages"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [CLOCK_PLACES_MAX, CLOCK_PLACES_MAX, TAIL_ENTRIES_MAX - 2 * CLOCK_PLACES_MAX]);
}

#[test]
fn a_journal_that_answers_something_else_fails_the_answer_alone() {
    for wrong in [JournalAnswer::Clocks(Vec::new()), JournalAnswer::Entries(Vec::new()), JournalAnswer::Appended] {
        let mut rooms = long();
        rooms.restart();
        rooms.open(9);
        rooms.held = Some(Default::default());
        rooms.say(9, &seed("s", "sync_request", json!({ "lastSyncedSequence": 0 })));
        rooms.answer(false);
        rooms.answer(false);
        let (ticket, _) = rooms.held.as_mut().unwrap().pop_front().unwrap();
        rooms.feed(solconnect_sync_core::relay::Input::Journal { ticket, answer: wrong });
        assert_eq!(rooms.hear(9)[0]["status"], "failed");
        rooms.held = None;
        assert_eq!(clocks(&mut rooms, 10).len(), TAIL_ENTRIES_MAX, "it asks again");
    }
}

#[test]
fn a_clock_that_would_not_fit_a_frame_names_only_its_own_device() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    for number in 0..200 {
        rooms.say(1, &seed_update(&format!("{number:0>190}"), &format!("m{number}"), &json!({})));
    }
    rooms.hear(1);
    let all = clocks(&mut rooms, 2);
    let sizes: Vec<usize> = all.iter().map(|clock| clock.as_object().unwrap().len()).collect();
    let largest = sizes.iter().max().unwrap();
    assert!((20..200).contains(largest), "{largest}");
    assert_eq!(sizes[..*largest], (1..=*largest).collect::<Vec<_>>());
    assert!(sizes[*largest..].iter().all(|size| *size == 1));
    rooms.open(3);
    rooms.say(3, &seed("r", "sync_request", json!({ "lastSyncedSequence": 0 })));
    assert!(rooms.lengths(3).iter().all(|bytes| *bytes <= FRAME_BYTES_MAX));
}
