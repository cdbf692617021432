//! Names of messages: a wallet has one message of a name, whichever device wrote it, and it has that name for ever.

use crate::rooms::{ROOM, Rooms, WALLETS, announce, chat, hex, id_of, seed, the_error, two, unsent, update, v1};
use serde_json::{Value, json};
use solconnect_sync_core::relay::Input;

/// A message of `device`, its `counter`th, of this name.
fn named(device: &str, counter: u64, id: &str, text: &str) -> Value {
    let mut unsent = unsent(device, WALLETS[0], counter, text, 0);
    unsent["message"]["id"] = json!(id);
    unsent
}

/// What `device` says again of the message that `first` queued as its `first_counter`th.
fn again(device: &str, counter: u64, (first, first_counter): (&str, u64), text: &str) -> Value {
    named(device, counter, &id_of(first, first_counter), text)
}

fn say(rooms: &mut Rooms, connection: u64, device: &str, messages: &[Value]) {
    rooms.say(connection, &v1(device, "sync_update", json!({ "messages": messages })));
}

/// Device `a` has sent a message and goes on as `n`, over another connection.
fn replaced() -> Rooms {
    let mut rooms = two();
    rooms.say(1, &update("a", WALLETS[0], 1, "one"));
    rooms.join(3, "n", WALLETS[0]);
    rooms.hear(1);
    rooms.hear(3);
    rooms
}

/// All connections come again, as new ones, to a relay that has only its journal.
fn restarted(mut rooms: Rooms) -> Rooms {
    rooms.restart();
    for (connection, device) in [(11, "a"), (13, "n"), (14, "m")] {
        rooms.join(connection, device, WALLETS[0]);
        rooms.hear(connection);
    }
    rooms
}

/// The code of the one error that a connection has heard, and the place that it names.
fn refused(rooms: &mut Rooms, connection: u64) -> (String, Option<u64>) {
    let error = the_error(rooms, connection);
    (error["code"].as_str().unwrap().to_owned(), error["storedSequence"].as_u64())
}

fn already_stored(sequence: u64) -> (String, Option<u64>) {
    ("ALREADY_STORED".to_owned(), Some(sequence))
}

fn taken() -> (String, Option<u64>) {
    ("MESSAGE_ID_TAKEN".to_owned(), None)
}

#[test]
fn what_one_device_has_stored_another_hears_the_place_of_i3() {
    let mut rooms = replaced();
    say(&mut rooms, 3, "n", &[again("n", 1, ("a", 1), "one"), again("n", 2, ("a", 2), "two")]);
    let error = the_error(&mut rooms, 3);
    assert_eq!((&error["code"], &error["storedSequence"]), (&json!("ALREADY_STORED"), &json!(1)));
    assert_eq!(error["refusedMessageId"], json!(id_of("a", 1)));
    say(&mut rooms, 3, "n", &[again("n", 1, ("a", 2), "two")]);
    assert_eq!(refused(&mut rooms, 3).0, "NOT_ANNOUNCED", "what stood behind it comes again");
    assert_eq!(rooms.texts(), ["one"]);
    let mut rooms = restarted(rooms);
    say(&mut rooms, 13, "n", &[again("n", 1, ("a", 1), "one")]);
    assert_eq!(refused(&mut rooms, 13), already_stored(1), "for ever");
    rooms.say(13, &announce("n", WALLETS[0]));
    rooms.hear(13);
    say(&mut rooms, 13, "n", &[again("n", 1, ("a", 2), "two")]);
    assert_eq!(rooms.texts(), ["one", "two"]);
}

#[test]
fn a_message_that_comes_late_under_its_old_device_is_refused_i3() {
    let mut rooms = replaced();
    say(&mut rooms, 3, "n", &[again("n", 1, ("a", 2), "two"), again("n", 2, ("a", 3), "three")]);
    assert_eq!(rooms.hear_only(3, "sync_ack").len(), 1);
    say(&mut rooms, 1, "a", &[unsent("a", WALLETS[0], 2, "two", 0)]);
    assert_eq!(refused(&mut rooms, 1), already_stored(2));
    let mut rooms = restarted(rooms);
    say(&mut rooms, 11, "a", &[unsent("a", WALLETS[0], 2, "two", 0)]);
    assert_eq!(refused(&mut rooms, 11), already_stored(2), "out of the journal too");
    rooms.say(11, &announce("a", WALLETS[0]));
    rooms.hear(11);
    rooms.say(11, &update("a", WALLETS[0], 1, "one"));
    assert_eq!(rooms.hear_only(11, "sync_ack").len(), 1, "I4: what it had stored is acknowledged again");
    say(&mut rooms, 14, "m", &[again("m", 1, ("a", 3), "three")]);
    assert_eq!(refused(&mut rooms, 14), already_stored(3), "under a third device as well");
    assert_eq!(rooms.texts(), ["one", "two", "three"]);
}

#[test]
fn a_device_whose_name_was_given_away_goes_on_i8() {
    let mut rooms = replaced();
    say(&mut rooms, 3, "n", &[again("n", 1, ("a", 2), "two")]);
    let mut rooms = restarted(rooms);
    say(&mut rooms, 11, "a", &[named("a", 2, &id_of("a", 3), "three"), unsent("a", WALLETS[0], 3, "four", 0)]);
    assert_eq!(refused(&mut rooms, 11), taken(), "the second is of the name that the first has");
    assert_eq!(rooms.texts(), ["one", "two", "three"]);
}

#[test]
fn a_repeat_is_acknowledged_with_its_first_place_i4() {
    let mut rooms = replaced();
    let messages = [again("n", 1, ("a", 2), "two"), named("n", 2, "of the application", "three")];
    for wait_ms in [0, 5_000] {
        rooms.now.wall_ms += wait_ms;
        say(&mut rooms, 3, "n", &messages);
        let ack = rooms.hear_only(3, "sync_ack").remove(0);
        assert_eq!((&ack["acknowledgedSequences"], &ack["acknowledgedCounters"]), (&json!([2, 3]), &json!([1, 2])));
        assert_eq!(ack["serverTimestamps"], json!([1_700_000_000_000_u64, 1_700_000_000_000_u64]));
        assert_eq!(ack["log"]["hash"], hex(&rooms.journal[ROOM].entries[2].log_hash));
    }
    // The same device, counter and name, and yet no repeat.
    for (field, value) in [("knows", json!(1)), ("also", json!({ "b": 1 })), ("extensions", json!("AQE="))] {
        let mut other = messages[0].clone();
        other[field] = value;
        rooms.say(3, &announce("n", WALLETS[0]));
        rooms.hear(3);
        say(&mut rooms, 3, "n", &[other]);
        assert_eq!(refused(&mut rooms, 3).0, "COUNTER_REUSED", "{field}");
    }
}

#[test]
fn other_content_under_a_name_that_is_given_is_refused() {
    for restarts in [false, true] {
        let mut rooms = replaced();
        say(&mut rooms, 3, "n", &[named("n", 1, "mine", "said"), again("n", 2, ("a", 2), "moved")]);
        if restarts {
            rooms = restarted(rooms);
            rooms.feed(Input::Opened { connection: 3, encoding: Default::default(), source: None });
        }
        for id in ["mine".to_owned(), id_of("a", 1), id_of("a", 2)] {
            rooms.say(3, &announce("n", WALLETS[0]));
            rooms.hear(3);
            say(&mut rooms, 3, "n", &[named("n", 3, &id, "something else")]);
            assert_eq!(refused(&mut rooms, 3), taken(), "{id} {restarts}");
        }
        assert_eq!(rooms.texts().len(), 3);
    }
}

#[test]
fn a_name_belongs_to_a_wallet() {
    let mut rooms = two();
    let mine = named("a", 1, "greeting", "mine");
    let mut theirs = unsent("b", WALLETS[1], 1, "theirs", 0);
    theirs["message"]["id"] = json!("greeting");
    say(&mut rooms, 1, "a", &[mine]);
    say(&mut rooms, 2, "b", &[theirs]);
    assert_eq!(rooms.texts(), ["mine", "theirs"]);
    // Nor is anything taken from a device by who names its messages before it does.
    let mut rooms = two();
    let mut squatter = unsent("b", WALLETS[1], 1, "squatter", 0);
    squatter["message"]["id"] = json!(id_of("a", 1));
    say(&mut rooms, 2, "b", &[squatter]);
    say(&mut rooms, 1, "a", &[unsent("a", WALLETS[0], 1, "its own", 0)]);
    assert_eq!(rooms.texts(), ["squatter", "its own"]);
}

#[test]
fn two_of_one_name_in_one_append_are_one_i3() {
    let mut rooms = replaced();
    rooms.join(4, "m", WALLETS[0]);
    rooms.hear(4);
    rooms.held = Some(Default::default());
    // The first append is under way while both come.
    rooms.say(2, &update("b", WALLETS[1], 1, "first"));
    say(&mut rooms, 3, "n", &[again("n", 1, ("a", 2), "two")]);
    say(&mut rooms, 4, "m", &[again("m", 1, ("a", 2), "two")]);
    rooms.say(1, &update("a", WALLETS[0], 2, "two"));
    while rooms.held.as_ref().is_some_and(|held| !held.is_empty()) {
        rooms.answer(false);
    }
    assert_eq!(rooms.texts(), ["one", "first", "two"]);
    assert_eq!((refused(&mut rooms, 4), refused(&mut rooms, 1)), (already_stored(3), already_stored(3)));
}

#[test]
fn two_of_one_name_in_one_update_are_one() {
    let mut rooms = two();
    say(&mut rooms, 1, "a", &[named("a", 1, "same", "x"), named("a", 2, "same", "x"), named("a", 3, "other", "y")]);
    assert_eq!(refused(&mut rooms, 1), already_stored(1));
    assert_eq!(rooms.texts(), ["x"]);
}

#[test]
fn a_void_takes_no_name_from_a_message() {
    let mut rooms = two();
    let mut void = named("a", 1, "given", "");
    void["message"]["kind"] = json!(4);
    say(&mut rooms, 1, "a", &[void.clone(), named("a", 2, "given", "x")]);
    rooms.restart();
    rooms.join(1, "a", WALLETS[0]);
    rooms.hear(1);
    say(&mut rooms, 1, "a", &[void]);
    assert_eq!(rooms.hear_only(1, "sync_ack")[0]["acknowledgedSequences"], json!([1]), "I4");
    say(&mut rooms, 1, "a", &[named("a", 3, "given", "y")]);
    assert_eq!(refused(&mut rooms, 1), taken(), "that of the message");
    assert_eq!(rooms.texts(), ["", "x"]);
}

#[test]
fn a_device_id_with_colons_has_names_that_are_found_too() {
    let mut rooms = Rooms::new();
    for (connection, device) in [(1, "a:b"), (2, "n")] {
        rooms.join(connection, device, WALLETS[0]);
        rooms.hear(connection);
    }
    rooms.say(1, &update("a:b", WALLETS[0], 1, "one"));
    say(&mut rooms, 2, "n", &[again("n", 1, ("a:b", 1), "one")]);
    assert_eq!(refused(&mut rooms, 2), already_stored(1));
}

#[test]
fn a_seed_client_hears_the_first_place_of_what_a_device_wrote() {
    let mut rooms = replaced();
    say(&mut rooms, 3, "n", &[named("n", 1, "given", "two")]);
    rooms.open(9);
    let message = |id: &str, text: &str| json!({ "message": { "id": id, "sender_wallet": WALLETS[0], "ciphertext": text } });
    let messages = [message(&id_of("a", 1), "one"), message("given", "two"), message("new", "three")];
    rooms.say(9, &seed("s", "sync_update", json!({ "messages": messages })));
    let ack = rooms.hear_only(9, "sync_ack").remove(0);
    assert_eq!(ack["acknowledgedSequences"], json!([1, 2, 3]));
    assert_eq!(ack["acknowledgedMessageIds"], json!([id_of("a", 1), "given", "new"]));
    rooms.say(9, &seed("s", "sync_update", json!({ "messages": [message(&id_of("a", 1), "other")] })));
    assert_eq!(refused(&mut rooms, 9), taken());
    // And the other way round.
    say(&mut rooms, 3, "n", &[named("n", 2, "new", "three")]);
    assert_eq!(refused(&mut rooms, 3), already_stored(3));
    assert_eq!(rooms.texts(), ["one", "two", "three"]);
}

#[test]
fn a_seed_client_cannot_take_a_devices_next_name() {
    for wallet in [WALLETS[0], WALLETS[1]] {
        let mut rooms = two();
        rooms.say(1, &update("a", WALLETS[0], 1, "one"));
        rooms.open(9);
        let message = |id: &str| json!({ "message": { "id": id, "sender_wallet": wallet, "ciphertext": "x" } });
        let mut live = chat(wallet, "x");
        live["messageId"] = json!(id_of("a", 2));
        // The relay itself would give the last of them.
        let writes = |device, id: &str| seed(device, "sync_update", json!({ "messages": [message(id)] }));
        for frame in [writes("s", &id_of("a", 2)), live, writes("s", &id_of("a", 3)), writes("s", "room:a:2"), writes("a:start0", "")] {
            rooms.say(9, &frame);
            let error = the_error(&mut rooms, 9);
            assert_eq!(error["code"], "INVALID_MESSAGE_FORMAT", "{frame}");
            assert!(error["error"].as_str().unwrap().contains(r#"one that device "a" gives"#), "{error}");
            rooms.feed(Input::Closed { connection: 9 });
            rooms.open(9);
        }
        rooms.hear(1);
        say(&mut rooms, 1, "a", &[unsent("a", WALLETS[0], 2, "two", 0)]);
        assert_eq!(rooms.hear_only(1, "sync_ack").len(), 1);
        // What only looks like such a name, or is its own, is its affair.
        let own = ["room:s:9", "room:s:start0:9", "elsewhere:a:start0:3", "a:start0:3", "room:a:start0", "room:a:start0:03"];
        rooms.say(9, &seed("s", "sync_update", json!({ "messages": own.map(message) })));
        assert_eq!(rooms.hear_only(9, "sync_ack")[0]["acknowledgedMessageIds"], json!(own));
    }
}

/// A wallet would have the name twice (found by the simulated world).
#[test]
fn a_v1_device_cannot_take_the_relays_next_name() {
    let mut rooms = two();
    let named = |id: &str| {
        let mut message = unsent("a", WALLETS[0], 1, "first", 0);
        message["message"]["id"] = json!(id);
        message
    };
    say(&mut rooms, 1, "a", &[named(&format!("room:{}:1", WALLETS[0]))]);
    let error = the_error(&mut rooms, 1);
    assert_eq!(error["code"], "INVALID_MESSAGE_FORMAT");
    assert!(error["error"].as_str().unwrap().contains("one that the relay gives"), "{error}");
    rooms.open(9);
    rooms.say(9, &chat(WALLETS[0], "without an id"));
    assert_eq!(rooms.log()[0].message.id, format!("room:{}:1", WALLETS[0]));
    // What only looks like such a name is its own affair.
    rooms.say(1, &announce("a", WALLETS[0]));
    rooms.hear(1);
    say(&mut rooms, 1, "a", &[named("elsewhere:b:1")]);
    assert_eq!(rooms.hear_only(1, "sync_ack").len(), 1);
}

#[test]
fn without_given_names_the_journal_is_asked_for_nothing() {
    let mut rooms = two();
    rooms.asked.clear();
    for counter in 1..=3 {
        rooms.say(1, &update("a", WALLETS[0], counter, "x"));
    }
    assert_eq!(rooms.asked, ["append", "append", "append"]);
    assert!(rooms.journal[ROOM].entries.iter().all(|entry| entry.key.is_none()));
    say(&mut rooms, 1, "a", &[named("a", 4, "given", "x")]);
    rooms.say(1, &update("a", WALLETS[0], 5, "x"));
    assert_eq!(rooms.asked[3..], ["find", "append", "find", "append"], "now any name may be given");
}

#[test]
fn what_this_version_does_not_know_is_stored_and_passed_on_as_it_came() {
    let mut rooms = two();
    let mut messages = [1, 2, 3, 4].map(|counter| unsent("a", WALLETS[0], counter, "x", 0));
    messages[0]["message"]["kind"] = json!(4);
    messages[0]["message"]["ciphertext"] = json!("");
    messages[1]["message"]["kind"] = json!(77);
    messages[1]["extensions"] = json!("CQMBAgM=");
    messages[2]["message"]["later"] = json!({ "of": [1.5, "a later version"] });
    messages[3]["also"] = json!({ "b": 9, "nobody": 1 });
    rooms.open_binary(5);
    rooms.say(5, &announce("c", WALLETS[1]));
    rooms.say(5, &v1("c", "sync_request", json!({})));
    rooms.hear(5);
    rooms.hear(2);
    say(&mut rooms, 1, "a", &messages);
    assert_eq!(rooms.hear_only(1, "sync_ack")[0]["acknowledgedCounters"], json!([1, 2, 3, 4]));
    let told =
        |heard: Vec<Value>| -> Vec<Value> { heard.iter().flat_map(|frame| frame["messages"].as_array().unwrap()).cloned().collect() };
    let stored: Vec<Value> = rooms.log().iter().map(|entry| serde_json::to_value(entry).unwrap()).collect();
    for (entry, said) in stored.iter().zip(&messages) {
        for (field, value) in said.as_object().unwrap().iter().filter(|(field, _)| *field != "serverTimestamp") {
            assert_eq!(&entry[field], value, "{field}");
        }
    }
    let live = told(rooms.hear_only(2, "sync_response"));
    assert_eq!(live, stored);
    assert_eq!(told(rooms.hear_only(5, "sync_response")), stored, "in binary");
    rooms.restart();
    rooms.open(6);
    rooms.say(6, &announce("c", WALLETS[1]));
    rooms.say(6, &v1("c", "sync_request", json!({})));
    assert_eq!(told(rooms.hear_only(6, "sync_response")), stored, "out of the journal");
}

#[test]
fn a_log_that_differs_is_told_with_both_values() {
    let mut rooms = replaced();
    rooms.say(1, &update("a", WALLETS[0], 2, "two"));
    let hash = |rooms: &Rooms, sequence: usize| hex(&rooms.journal[ROOM].entries[sequence - 1].log_hash);
    let hashes = [hash(&rooms, 1), hash(&rooms, 2)];
    let ask = |rooms: &mut Rooms, sequence: u64, hash: &str| {
        let request = json!({ "lastSyncedSequence": sequence, "log": { "sequence": sequence, "hash": hash } });
        rooms.hear(3);
        rooms.say(3, &v1("n", "sync_request", request));
        rooms.hear(3)
    };
    for sequence in [1, 2] {
        let answer = ask(&mut rooms, sequence, &hashes[sequence as usize - 1]).remove(0);
        assert_eq!((&answer["type"], &answer["log"]["sequence"]), (&json!("sync_response"), &json!(2)));
        assert_eq!(answer["log"]["hash"], hashes[1]);
        let error = ask(&mut rooms, sequence, &"ab".repeat(32)).remove(0);
        assert_eq!((&error["code"], &error["inReplyTo"]), (&json!("RELAY_FORKED"), &json!("sync_request-1")));
        let own = &hashes[sequence as usize - 1][..16];
        let words = error["error"].as_str().unwrap();
        assert!(words.contains(&format!("{sequence} (abababababababab)")) && words.contains(&format!("{sequence} ({own})")), "{words}");
    }
    let answer = ask(&mut rooms, 7, &"ab".repeat(32)).remove(0);
    assert_eq!(answer["log"], json!({ "sequence": 2, "hash": hashes[1] }), "a device that has more finds that out itself");
}
