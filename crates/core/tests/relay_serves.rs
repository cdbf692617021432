//! What the relay sends to whom: live messages and what each lacks, rule by rule.

use crate::rooms::{ROOM, Rooms, WALLETS, announce, chat, hex, seed, the_error, two, unsent, update, v1};
use serde_json::{Value, json};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::limits::{
    REQUESTS_WAITING_MAX, SOCKET_QUEUE_BYTES_MAX, SOCKET_STALL_MS_MAX, TAIL_ENTRIES_MAX, UNACKNOWLEDGED_MESSAGES_MAX,
};
use solconnect_sync_core::relay::{Input, JournalQuestion};

#[test]
fn chat_frames_reach_everybody_else_as_they_came() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.open(2);
    rooms.say(2, &chat("bob", "first"));
    rooms.join(3, "v", WALLETS[0]);
    rooms.hear(2);
    let mut frame = chat("alice", "hi");
    frame["messageId"] = json!("m1");
    frame["nonce"] = json!("abc");
    frame["vectorClock"] = json!({ "alice": 4 });
    rooms.say(1, &frame);
    let answers = rooms.hear(1).into_iter().filter(|frame| frame["type"] != "sync_conflict" && frame["type"] != "device_list").count();
    assert_eq!(answers, 0, "seed clients expect no acknowledgement, and do not hear themselves");
    let heard = rooms.hear_only(2, "chat");
    assert_eq!(heard.len(), 1);
    for (field, value) in frame.as_object().unwrap() {
        if field != "vectorClock" {
            assert_eq!(&heard[0][field], value, "{field}");
        }
    }
    assert_eq!(heard[0]["sessionId"], ROOM);
    assert_eq!((heard[0]["sequenceNumber"].as_u64(), heard[0]["serverTimestamp"].as_u64()), (Some(2), Some(1_700_000_000_000)));
    assert_eq!(heard[0]["vectorClock"]["alice"], 4);
    let pushed = rooms.hear_only(3, "sync_response");
    assert_eq!(pushed[0]["messages"][0]["message"]["ciphertext"], "hi");
    let entry = &rooms.log()[1];
    assert_eq!((entry.message.id.as_str(), entry.message.sender_wallet.as_str()), ("m1", "alice"));
    assert_eq!((entry.device_id.as_str(), entry.message.session_id.as_str()), ("alice", ROOM));
    rooms.say(1, &chat("alice", "hi"));
    rooms.say(1, &chat("alice", "hi"));
    assert_eq!(rooms.texts(), ["first", "hi", "hi", "hi"], "chat frames without an id are no repeats of each other");
    rooms.say(1, &chat("", "who am I"));
    assert_eq!(rooms.log()[4].device_id, "alice", "one connection is one writer");
    rooms.say(1, &chat(&"x".repeat(201), "too long a name"));
    assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT");
}

#[test]
fn a_chat_frame_from_a_v1_device_is_refused() {
    let mut rooms = Rooms::new();
    rooms.join(1, "v", WALLETS[0]);
    rooms.hear(1);
    rooms.say(1, &chat("alice", "hi"));
    assert_eq!(the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT", "it would write in its own name by other rules");
    assert!(rooms.texts().is_empty());
}

/// Seed 141991 of the simulated world: a chat frame made the relay serve a v1 device that had asked for nothing.
#[test]
fn a_v1_device_gets_no_entries_before_it_asks() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &chat("bob", "as a seed client"));
    rooms.say(1, &announce("w", WALLETS[1]));
    rooms.hear(1);
    rooms.open(2);
    rooms.say(2, &chat("alice", "again"));
    assert!(rooms.hear_only(1, "sync_response").is_empty(), "it does not inherit what was live when it spoke as a seed client");
    rooms.say(1, &v1("w", "sync_request", json!({ "lastSyncedSequence": 0 })));
    assert_eq!(rooms.hear_only(1, "sync_response")[0]["messages"].as_array().unwrap().len(), 2);
}

#[test]
fn a_nameless_writer_is_stored_as_anonymous() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &chat("", "who am I"));
    assert_eq!(rooms.log()[0].device_id, "anonymous");
}

#[test]
fn a_seed_client_hears_only_messages_after_its_first_frame() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.say(1, &chat("alice", "before"));
    rooms.open(2);
    rooms.say(2, &chat("bob", "mine"));
    assert!(rooms.hear(2).is_empty());
    rooms.say(1, &chat("alice", "after"));
    let heard: Vec<Value> = rooms.hear_only(2, "chat").iter().map(|chat| chat["message"].clone()).collect();
    assert_eq!(heard, ["after"]);
    let heard: Vec<Value> = rooms.hear_only(1, "chat").iter().map(|chat| chat["message"].clone()).collect();
    assert_eq!(heard, ["mine"]);
    // Announcing itself is enough to hear what happens.
    rooms.open(3);
    rooms.say(3, &seed("carol", "device_announce", json!({})));
    rooms.hear(3);
    rooms.say(1, &chat("alice", "more"));
    assert_eq!(rooms.hear_only(3, "chat").len(), 1);
}

#[test]
fn sockets_of_one_announced_device_do_not_hear_each_other() {
    let mut rooms = Rooms::new();
    for connection in [1, 2] {
        rooms.open(connection);
        rooms.say(connection, &seed("d", "device_announce", json!({})));
    }
    rooms.hear(2);
    rooms.say(1, &chat("w", "hi"));
    assert!(rooms.hear_only(2, "chat").is_empty());
}

#[test]
fn an_answer_comes_in_batches_with_its_progress() {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    for counter in 1..=5 {
        rooms.say(1, &update("a", WALLETS[0], counter, "x"));
    }
    rooms.open(2);
    rooms.say(2, &seed("s", "sync_request", json!({ "lastSyncedSequence": 1, "maxBatchSize": 2 })));
    let heard = rooms.hear(2);
    let kinds: Vec<&str> = heard.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["sync_response", "sync_status", "sync_response", "sync_status", "sync_response", "sync_status"]);
    let places: Vec<Vec<u64>> = heard
        .iter()
        .filter_map(|frame| frame["messages"].as_array())
        .map(|messages| messages.iter().map(|entry| entry["sequenceNumber"].as_u64().unwrap()).collect())
        .collect();
    assert_eq!(places, [vec![2], vec![3, 4], vec![5]], "parts of the log end at multiples of their size");
    let progress: Vec<(&str, u64, u64)> = heard
        .iter()
        .filter(|frame| frame["type"] == "sync_status")
        .map(|frame| {
            let progress = &frame["progress"];
            (frame["status"].as_str().unwrap(), progress["messagesSynced"].as_u64().unwrap(), progress["totalMessages"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(progress, [("in_progress", 1, 4), ("in_progress", 3, 4), ("completed", 4, 4)]);
    assert_eq!((heard[0]["latestSequence"].as_u64(), heard[0]["inReplyTo"].as_str()), (Some(5), Some("sync_request-1")));
    assert_eq!(heard[0]["serverVectorClock"], json!({ "a": 5 }));
    rooms.say(
        2,
        &seed(
            "s",
            "sync_request",
            json!({ "missingRanges": [{ "start": 4, "end": 9 }, { "start": 0, "end": 1 }, { "start": 3, "end": 2 }] }),
        ),
    );
    let answers = rooms.hear_only(2, "sync_response");
    let ranges: Vec<u64> = answers
        .iter()
        .flat_map(|frame| frame["messages"].as_array().unwrap())
        .map(|entry| entry["sequenceNumber"].as_u64().unwrap())
        .collect();
    assert_eq!(ranges, [4, 5, 1], "only what is asked for, in that order");
    rooms.say(2, &seed("s", "sync_request", json!({ "lastSyncedSequence": 5 })));
    let heard = rooms.hear(2);
    assert_eq!(
        (heard[0]["messages"].as_array().map(Vec::len), heard[1]["status"].as_str()),
        (Some(0), Some("completed")),
        "nothing is missing"
    );
    rooms.say(2, &seed("s", "sync_request", json!({ "lastSyncedSequence": 4, "maxBatchSize": 0 })));
    assert_eq!(rooms.hear_only(2, "sync_response").len(), 1, "a batch has one message at least");
}

#[test]
fn unacknowledged_entries_for_a_v1_device_are_limited() {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    let total = UNACKNOWLEDGED_MESSAGES_MAX + 300;
    for first in (1..=total).step_by(100) {
        let messages: Vec<Value> = (first..first + 100).map(|counter| unsent("a", WALLETS[0], counter, "x", 0)).collect();
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    }
    rooms.open(2);
    rooms.say(2, &announce("b", WALLETS[1]));
    rooms.hear(2);
    rooms.say(2, &v1("b", "sync_request", json!({ "lastSyncedSequence": 0 })));
    let last = |heard: &[Value]| heard.last().unwrap()["messages"].as_array().unwrap().last().unwrap()["sequenceNumber"].as_u64().unwrap();
    let heard = rooms.hear(2);
    assert!(heard.iter().all(|frame| frame["type"] == "sync_response"), "it sees by the numbers how far it is");
    assert_eq!(last(&heard), UNACKNOWLEDGED_MESSAGES_MAX);
    assert_eq!(heard[0].get("serverVectorClock"), None);
    let log = heard.last().unwrap()["log"].clone();
    assert_eq!(log["hash"], hex(&rooms.journal[ROOM].entries[UNACKNOWLEDGED_MESSAGES_MAX as usize - 1].log_hash));
    assert_eq!(log["sequence"], UNACKNOWLEDGED_MESSAGES_MAX, "it compares its log with that of the relay");
    rooms.say(2, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [100] })));
    assert_eq!(last(&rooms.hear_only(2, "sync_response")), UNACKNOWLEDGED_MESSAGES_MAX + 100);
    rooms.say(2, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [7, UNACKNOWLEDGED_MESSAGES_MAX] })));
    assert_eq!(last(&rooms.hear_only(2, "sync_response")), total, "the highest counts");
    rooms.say(2, &v1("b", "sync_ack", json!({ "acknowledgedSequences": [] })));
    assert!(rooms.hear(2).is_empty());
}

#[test]
fn one_journal_read_serves_all_waiting_devices() {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    let total = TAIL_ENTRIES_MAX as u64 + 44;
    for first in (1..=total).step_by(100) {
        let messages: Vec<Value> = (first..first + 100).map(|counter| unsent("a", WALLETS[0], counter, "x", 0)).collect();
        rooms.say(1, &v1("a", "sync_update", json!({ "messages": messages })));
    }
    for connection in [2, 3] {
        rooms.open(connection);
        rooms.say(connection, &announce(&format!("b{connection}"), WALLETS[1]));
        rooms.hear(connection);
    }
    rooms.asked.clear();
    rooms.held = Some(Default::default());
    for connection in [2, 3] {
        rooms.say(connection, &v1(&format!("b{connection}"), "sync_request", json!({ "lastSyncedSequence": 0 })));
    }
    let held = rooms.held.as_ref().unwrap();
    assert!(matches!(&held[0].1, JournalQuestion::Read { from: 1, count_max: 100, .. }) && held.len() == 1, "{held:?}");
    rooms.answer(false);
    for connection in [2, 3] {
        let heard = rooms.hear_only(connection, "sync_response");
        let entries: Vec<u64> = heard
            .iter()
            .flat_map(|frame| frame["messages"].as_array().unwrap())
            .map(|entry| entry["sequenceNumber"].as_u64().unwrap())
            .collect();
        assert_eq!(entries, (1..=total).collect::<Vec<_>>(), "the rest is in memory");
    }
    assert_eq!(rooms.asked, ["read"]);
}

#[test]
fn a_failed_journal_read_is_answered_with_status_failed() {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.restart();
    rooms.open(2);
    rooms.say(2, &announce("b", WALLETS[1]));
    rooms.hear(2);
    rooms.held = Some(Default::default());
    rooms.say(2, &v1("b", "sync_request", json!({ "lastSyncedSequence": 0 })));
    rooms.answer(true);
    let heard = rooms.hear(2);
    assert_eq!((heard.len(), heard[0]["status"].as_str()), (1, Some("failed")), "{heard:?}");
    assert!(heard[0]["error"].as_str().is_some_and(|error| !error.is_empty()));
    rooms.say(2, &v1("b", "sync_request", json!({ "lastSyncedSequence": 0 })));
    rooms.answer(false);
    assert_eq!(rooms.hear_only(2, "sync_response")[0]["messages"].as_array().map(Vec::len), Some(1));
}

/// Bit rot in the journal: nothing is served or taken for what it cannot be, and all else goes on.
#[test]
fn an_entry_that_cannot_be_read_costs_no_other() {
    let mut rooms = two();
    for counter in 1..=2 {
        rooms.say(1, &update("a", WALLETS[0], counter, "x"));
    }
    rooms.journal.get_mut(ROOM).unwrap().entries[0].body = Batch::from_bytes(b"rotten");
    rooms.restart();
    rooms.join(1, "a", WALLETS[0]);
    rooms.open(2);
    rooms.say(2, &seed("s", "sync_request", json!({ "lastSyncedSequence": 0 })));
    assert_eq!(rooms.hear(2)[0]["status"], "failed");
    rooms.say(1, &v1("a", "sync_request", json!({ "lastSyncedSequence": 0 })));
    assert_eq!(rooms.hear(1)[0]["status"], "failed");
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    assert_eq!(the_error(&mut rooms, 1)["code"], "RELAY_STORAGE_FAILED", "whether it is a repeat cannot be told");
    rooms.say(1, &announce("a", WALLETS[0]));
    rooms.say(1, &v1("a", "sync_request", json!({ "lastSyncedSequence": 1 })));
    rooms.say(1, &update("a", WALLETS[0], 3, "y"));
    let heard = rooms.hear(1);
    assert!(heard.iter().any(|frame| frame["messages"].as_array().is_some_and(|messages| messages.len() == 1)), "{heard:?}");
    assert!(heard.iter().any(|frame| frame["type"] == "sync_ack"), "{heard:?}");
}

/// Seed 8472 of the simulated world.
#[test]
fn waiting_empty_answers_leave_gradually_when_a_socket_drains() {
    let mut rooms = two();
    rooms.stuck.push(2);
    for _ in 0..2_500 {
        rooms.say(2, &v1("b", "sync_request", json!({ "lastSyncedSequence": 0 })));
    }
    let filled: usize = rooms.lengths(2).iter().sum();
    assert!((SOCKET_QUEUE_BYTES_MAX..SOCKET_QUEUE_BYTES_MAX + 1_000).contains(&filled), "{filled}");
    rooms.feed(Input::Sent { connection: 2, bytes: 1_000 });
    let more = rooms.lengths(2).iter().sum::<usize>() - filled;
    assert!((1..2_000).contains(&more), "{more} bytes where 1,000 were taken");
}

#[test]
fn frames_wait_for_their_session_to_load_or_are_refused() {
    let mut rooms = Rooms::new();
    rooms.held = Some(Default::default());
    rooms.open(1);
    rooms.open(2);
    rooms.say(1, &announce("a", WALLETS[0]));
    rooms.say(2, &announce("b", WALLETS[1]));
    assert_eq!(rooms.held.as_ref().unwrap().len(), 1, "asked once");
    rooms.feed(Input::Closed { connection: 2 });
    rooms.answer(false);
    assert_eq!(rooms.hear_only(1, "device_list").len(), 1);
    assert!(rooms.hear(2).is_empty(), "who has left by then is not attended");
    let mut elsewhere = announce("a", WALLETS[0]);
    elsewhere["sessionId"] = json!("another");
    rooms.say(1, &elsewhere);
    rooms.answer(true);
    let error = the_error(&mut rooms, 1);
    assert_eq!((error["code"].as_str(), error["sessionId"].as_str()), (Some("RELAY_STORAGE_FAILED"), Some("another")));
    assert_eq!(error["inReplyTo"], "device_announce-1");
    rooms.say(1, &elsewhere);
    rooms.answer(false);
    assert_eq!(rooms.hear_only(1, "device_list").len(), 1, "the next frame asks again");
}

#[test]
fn frames_waiting_for_sessions_are_limited_per_connection() {
    let mut rooms = Rooms::new();
    rooms.held = Some(Default::default());
    rooms.open(1);
    rooms.open(2);
    let messages: Vec<Value> = (1..=7).map(|counter| unsent("a", WALLETS[0], counter, &"x".repeat(8_000), 0)).collect();
    let mut frame = seed("a", "sync_update", json!({ "messages": messages }));
    let mut say = |rooms: &mut Rooms, connection: u64, number: usize| {
        frame["sessionId"] = json!(format!("room {number}"));
        rooms.say(connection, &frame);
        rooms.hear_only(connection, "error").first().map(|error| error["code"].as_str().unwrap_or_default().to_owned())
    };
    let busy = Some("RELAY_BUSY".to_owned());
    let waiting = (0..100).take_while(|number| say(&mut rooms, 1, *number).is_none()).count();
    assert!((60..80).contains(&waiting), "4 MiB of frames of 56 KiB: {waiting}");
    assert_eq!(rooms.held.as_ref().unwrap().len(), waiting, "what is refused asks the journal for nothing");
    assert_eq!(say(&mut rooms, 2, 0), None, "another connection has room of its own");
    rooms.answer(true);
    rooms.hear(1);
    assert_eq!((say(&mut rooms, 1, 200), say(&mut rooms, 1, 201)), (None, busy), "one has been read");
    rooms.feed(Input::Closed { connection: 1 });
    rooms.open(1);
    assert_eq!(say(&mut rooms, 1, 202), None);
}

#[test]
fn only_a_socket_that_takes_nothing_is_cut() {
    for takes in [false, true] {
        let mut rooms = two();
        rooms.lists();
        rooms.hear(2);
        rooms.stuck = vec![2];
        let text = "x".repeat(8 * 1024);
        for counter in 1..=2 * SOCKET_QUEUE_BYTES_MAX as u64 / 8_192 {
            rooms.say(1, &update("a", WALLETS[0], counter, &text));
        }
        let queued: usize = rooms.hear(2).iter().map(|frame| frame.to_string().len()).sum();
        assert!(
            (SOCKET_QUEUE_BYTES_MAX..SOCKET_QUEUE_BYTES_MAX + 65_536).contains(&queued),
            "{queued} bytes: what waits stays in the log (I20)"
        );
        assert_eq!(rooms.next_timeout_ms(), Some(rooms.now.monotonic_ms + SOCKET_STALL_MS_MAX));
        rooms.timeout(SOCKET_STALL_MS_MAX - 1);
        assert!(rooms.closed.is_empty());
        if takes {
            rooms.feed(Input::Sent { connection: 2, bytes: 1 });
        }
        rooms.timeout(1);
        assert_eq!(rooms.closed, if takes { vec![] } else { vec![(2, 1013)] });
        if takes {
            rooms.stuck.clear();
            rooms.feed(Input::Sent { connection: 2, bytes: queued });
            assert_eq!(rooms.next_timeout_ms(), None);
            assert!(!rooms.hear_only(2, "sync_response").is_empty(), "it is served what it lacks");
        }
    }
}

#[test]
fn requests_that_wait_are_bounded() {
    let mut rooms = Rooms::new();
    rooms.held = Some(Default::default());
    rooms.open(1);
    rooms.say(1, &seed("s", "sync_heartbeat", json!({})));
    rooms.answer(false);
    rooms.held = None;
    let text = "x".repeat(8 * 1024);
    rooms.join(2, "a", WALLETS[0]);
    for counter in 1..=TAIL_ENTRIES_MAX as u64 + 1 {
        rooms.say(2, &update("a", WALLETS[0], counter, &text));
    }
    rooms.stuck = vec![1];
    rooms.hear(1);
    let request = seed("s", "sync_request", json!({ "lastSyncedSequence": 0 }));
    let mut answered = 0;
    while rooms.hear_only(1, "error").is_empty() {
        rooms.say(1, &request);
        answered += 1;
        assert!(answered <= 2 * REQUESTS_WAITING_MAX, "somewhere it must end");
    }
    assert_eq!(answered, REQUESTS_WAITING_MAX + 1, "one more than may wait");
}

#[test]
fn devices_that_announce_deflate_get_compressed_batches() {
    let mut rooms = Rooms::new();
    rooms.join(1, "a", WALLETS[0]);
    for counter in 1..=60 {
        rooms.say(1, &update("a", WALLETS[0], counter, "the same words again and again, as people do"));
    }
    let mut answer_bytes = |connection, compression| {
        rooms.open_binary(connection);
        let mut announce = announce(&format!("b{connection}"), WALLETS[1]);
        announce["compression"] = compression;
        rooms.say(connection, &announce);
        rooms.hear(connection);
        rooms.say(connection, &v1("b", "sync_request", json!({ "lastSyncedSequence": 0 })));
        let bytes: usize = rooms.lengths(connection).iter().sum();
        let heard = rooms.hear_only(connection, "sync_response");
        assert_eq!(heard.iter().map(|frame| frame["messages"].as_array().unwrap().len()).sum::<usize>(), 60);
        bytes
    };
    let (plain, unknown, deflated) = (answer_bytes(2, Value::Null), answer_bytes(3, json!("zstd")), answer_bytes(4, json!("deflate")));
    assert!(plain == unknown && deflated * 3 < plain, "{plain} {unknown} {deflated}");
}

#[test]
fn a_heartbeat_is_answered_with_the_head_of_the_log() {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "x"));
    rooms.hear(2);
    rooms.now.wall_ms += 50;
    rooms.say(2, &v1("b", "sync_heartbeat", json!({ "sequenceNumber": 1 })));
    let answer = rooms.hear_only(2, "sync_heartbeat").remove(0);
    assert_eq!((answer["sequenceNumber"].as_u64(), &answer["vectorClock"]), (Some(1), &json!({})));
    assert_eq!(answer["log"], json!({ "sequence": 1, "hash": hex(&rooms.journal[ROOM].entries[0].log_hash) }));
    rooms.open(3);
    rooms.say(3, &seed("s", "sync_heartbeat", json!({ "sequenceNumber": 0 })));
    assert_eq!(rooms.hear_only(3, "sync_heartbeat")[0]["vectorClock"], json!({ "a": 1 }));
    rooms.say(3, &seed("s", "device_announce", json!({})));
    let list = rooms.hear_only(3, "device_list").remove(0);
    let seen = list["devices"].as_array().unwrap().iter().find(|device| device["deviceId"] == "b").unwrap();
    assert_eq!((seen["lastSeenAt"].as_u64(), seen["syncState"]["lastSyncedSequence"].as_u64()), (Some(1_700_000_000_050), Some(1)));
}
