//! What devices sign, and what the relay signs: nothing is taken that they did not.

use crate::account;
use crate::memory;
use crate::memory::Records;
use crate::people;
use crate::rooms;
use std::collections::VecDeque;

use serde_json::{Value, json};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{ClientConfig, Event, Input};
use solconnect_sync_core::entry::{Digest, Entry, first_digest, first_log_hash};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Frame, Head, SyncHeartbeat, SyncResponse};
use solconnect_sync_core::identity::{EarlierKey, Evidence, HeadSignature, Verdict, judge};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::log::{Log, LogHead};
use solconnect_sync_core::relay::{Doorkeeper, Input as RelayInput, Relay, StoredEntry};

use crate::people::{Person, closed_relay, person};
use crate::rooms::Rooms;
use crate::signer::{Device, RELAY, all_talk, config, drawing, strict};

fn session(device: &Device) -> String {
    device.client.sessions()[0].session_id.clone()
}

/// What a device has stored of the log, in order.
fn texts(device: &Device) -> Vec<String> {
    let entries = device.records.log(&session(device)).into_iter().flat_map(|record| record.entries().unwrap());
    entries.map(|entry| entry.message.ciphertext).collect()
}

/// What is acknowledged is stored.
fn settle(device: &mut Device) {
    device.now.monotonic_ms += 1_000;
    device.feed(Input::Timeout);
}

/// A device of this number that takes part, and what it has written.
fn written(rooms: &mut Rooms, number: u8, texts: &[&str]) -> Device {
    let mut device = Device::joined(number, rooms);
    for text in texts {
        device.send(text);
        device.talk(rooms);
    }
    device
}

/// The answers to what a device has asked for.
fn answers(device: &Device) -> Vec<&SyncResponse> {
    let mut answers = Vec::new();
    for frame in &device.heard {
        if let Body::SyncResponse(response) = &frame.body
            && !response.signatures.is_empty()
        {
            answers.push(response);
        }
    }
    answers
}

/// The stored entries of a session, made anew by a relay that changes them, with hashes that fit.
fn rewrite(rooms: &mut Rooms, session: &str, change: impl FnOnce(&mut Vec<StoredEntry>)) {
    let rows = rooms.journal.get_mut(session).unwrap();
    change(&mut rows.entries);
    let mut log = Log::new(session);
    for (place, stored) in rows.entries.iter_mut().enumerate() {
        let mut entry = stored.body.entries().unwrap().remove(0);
        entry.sequence_number = place as u64 + 1;
        log.take(&entry).unwrap();
        (stored.sequence, stored.log_hash, stored.body) = (entry.sequence_number, log.hash(), Batch::of(&[entry]).unwrap());
    }
}

fn bend(stored: &mut StoredEntry, change: impl FnOnce(&mut Entry)) {
    let mut entry = stored.body.entries().unwrap().remove(0);
    change(&mut entry);
    stored.body = Batch::of(&[entry]).unwrap();
}

#[test]
fn devices_take_what_others_signed() {
    let mut rooms = strict();
    let mut one = written(&mut rooms, 1, &["one", "two"]);
    let mut two = written(&mut rooms, 2, &["three"]);
    all_talk(&mut rooms, &mut [&mut one, &mut two]);
    settle(&mut two);
    assert_eq!(texts(&one), ["one", "two", "three"]);
    assert_eq!(texts(&two), texts(&one));
    assert_eq!((one.warnings(), two.warnings()), (vec![], vec![]));
    let signed =
        |entry: &StoredEntry| entry.signature.as_ref().map(|signature| (signature.device_id() == entry.device_id, signature.seen.sequence));
    let stored: Vec<_> = rooms.journal[&session(&one)].entries.iter().map(signed).collect();
    assert_eq!(stored, [Some((true, 0)), Some((true, 0)), Some((true, 2))], "a place is stored after a while");
}

#[test]
fn a_changed_cut_or_spliced_entry_stops_the_session() {
    type Change = fn(&mut Vec<StoredEntry>);
    let changes: [(&str, Change); 5] = [
        ("changed", |entries| bend(&mut entries[1], |entry| entry.message.ciphertext = "forged".into())),
        ("cut", |entries| {
            entries.remove(0);
            entries.pop();
        }),
        ("in another order", |entries| {
            bend(&mut entries[0], |entry| entry.counter = 2);
            bend(&mut entries[1], |entry| (entry.counter, entry.knows) = (1, 0));
            entries.swap(0, 1);
        }),
        ("of another's text", |entries| {
            let text = entries[2].body.entries().unwrap()[0].message.ciphertext.clone();
            bend(&mut entries[0], |entry| entry.message.ciphertext = text);
        }),
        ("by another device", |entries| {
            let (key, signature) = {
                let other = entries[2].signature.clone().unwrap();
                (other.key, other.signature)
            };
            let own = entries[1].signature.as_mut().unwrap();
            (own.key, own.signature) = (key, signature);
        }),
    ];
    for (what, change) in changes {
        let mut rooms = strict();
        let mut one = written(&mut rooms, 1, &["one", "two"]);
        let other = written(&mut rooms, 2, &["three"]);
        one.talk(&mut rooms);
        let id = session(&other);
        rewrite(&mut rooms, &id, change);
        rooms.restart();
        let mut reader = Device::joined(3, &mut rooms);
        reader.again(&mut rooms);
        assert_eq!(reader.warnings(), [ErrorCode::EntryForged], "{what}");
        assert_eq!(texts(&reader), Vec::<String>::new(), "{what}: nothing is stored");
        let shown = |event: &Event| matches!(event, Event::MessageReceived { .. });
        assert!(!reader.events.iter().any(shown), "{what}: nothing is shown");
    }
}

#[test]
fn what_no_signature_covers_is_not_shown() {
    let mut rooms = strict();
    let one = written(&mut rooms, 1, &["one", "two"]);
    rewrite(&mut rooms, &session(&one), |entries| entries[1].signature = None);
    rooms.restart();
    let mut reader = Device::joined(3, &mut rooms);
    reader.again(&mut rooms);
    assert_eq!((texts(&reader), reader.warnings()), (vec![], vec![ErrorCode::EntryForged]));
}

/// Five messages in one update.
fn five(rooms: &mut Rooms) -> Device {
    let mut one = Device::joined(1, rooms);
    one.feed(Input::SetOffline { offline: true });
    for text in ["1", "2", "3", "4", "5"] {
        one.send(text);
    }
    one.feed(Input::SetOffline { offline: false });
    one.talk(rooms);
    one
}

#[test]
fn a_batch_that_ends_within_an_update_waits_for_its_signature() {
    let mut rooms = strict();
    let one = five(&mut rooms);
    let signed: Vec<bool> = rooms.journal[&session(&one)].entries.iter().map(|entry| entry.signature.is_some()).collect();
    assert_eq!(signed, [false, false, false, false, true], "it is one update");
    let narrow = ClientConfig { max_batch_size: 2, ..config() };
    let mut reader = Device::over(drawing(memory::Records::default(), 3), narrow, 3);
    reader.talk(&mut rooms);
    reader.sign();
    reader.talk(&mut rooms);
    assert_eq!(texts(&reader), ["1", "2", "3", "4", "5"]);
    assert_eq!(reader.warnings(), []);
    let stored: Vec<usize> = reader.records.log(&session(&reader)).iter().map(|record| record.entries().unwrap().len()).collect();
    assert_eq!(stored, [5], "all of it at once");
}

#[test]
fn a_batch_has_one_signature_of_each_device() {
    let mut rooms = strict();
    let mut one = Device::joined(1, &mut rooms);
    let mut two = Device::joined(2, &mut rooms);
    for number in 0..150 {
        one.send(&format!("{number}"));
        two.send(&format!("{number}"));
        one.talk(&mut rooms);
        two.talk(&mut rooms);
    }
    let mut reader = Device::joined(3, &mut rooms);
    reader.heard.retain(|frame| matches!(frame.body, Body::SyncResponse(_)));
    assert_eq!(texts(&reader).len(), 300);
    let counted: Vec<(usize, usize)> =
        answers(&reader).iter().map(|response| (response.messages.entries().unwrap().len(), response.signatures.len())).collect();
    assert_eq!(counted, [(300, 2)]);
    let bytes = |frame: &Frame| frame.to_bytes().unwrap().len();
    for frame in &mut reader.heard {
        if let Body::SyncResponse(response) = &mut frame.body {
            // One for each answer, however long that is.
            response.log_signature = None;
        }
    }
    let with: usize = reader.heard.iter().map(bytes).sum();
    for frame in &mut reader.heard {
        if let Body::SyncResponse(response) = &mut frame.body {
            response.signatures.clear();
        }
    }
    let without: usize = reader.heard.iter().map(bytes).sum();
    assert!(with - without <= 3 * 300, "{} bytes a message", (with - without) as f64 / 300.0);
}

#[test]
fn nothing_leaves_the_outbox_that_the_relay_did_not_sign() {
    let bends: [fn(&mut Frame); 3] = [
        |frame| {
            if let Body::SyncAck(ack) = &mut frame.body {
                ack.log_signature = None
            }
        },
        |frame| {
            if let Body::SyncAck(ack) = &mut frame.body {
                ack.log_signature = Some(HeadSignature { time: 1, signature: [1; 64] })
            }
        },
        |frame| {
            if let Body::SyncAck(ack) = &mut frame.body {
                ack.log = ack.log.map(|log| LogHead { hash: [1; 32], ..log })
            }
        },
    ];
    for bend in bends {
        let mut rooms = strict();
        let mut device = Device::joined(1, &mut rooms);
        device.bends = Some(bend);
        device.send("one");
        device.talk(&mut rooms);
        assert_eq!((device.queued(), device.warnings()), (1, vec![ErrorCode::RelayMisbehaved]));
        device.bends = None;
        device.again(&mut rooms);
        settle(&mut device);
        assert_eq!((device.queued(), texts(&device)), (0, vec!["one".into()]), "then it does");
    }
}

#[test]
fn what_the_relay_signed_of_an_earlier_place_takes_back_nothing() {
    let mut rooms = strict();
    let mut device = Device::over(drawing(Records::default(), 1), ClientConfig { max_batch_size: 1, ..config() }, 1);
    device.sign();
    device.talk(&mut rooms);
    // They are acknowledged, and the connection is lost before that is stored.
    let (connection, generation) = (device.connection, device.generation);
    let all = ["one", "two", "three", "four"];
    all[..3].iter().for_each(|text| device.send(text));
    device.talk(&mut rooms);
    rooms.feed(RelayInput::Closed { connection });
    device.is_connected = false;
    device.feed(Input::Disconnected { generation, reason: "lost".into() });
    // The next one is acknowledged while the log is still read, and each part of that is signed as of then.
    device.send(all[3]);
    rooms.restart();
    rooms.held = Some(VecDeque::new());
    device.again(&mut rooms);
    while rooms.held.as_ref().is_some_and(|held| !held.is_empty()) {
        // Behind the acknowledgement all comes while a commit is under way.
        device.is_slow = rooms.journal[&session(&device)].entries.len() == all.len();
        rooms.answer(false);
        device.talk(&mut rooms);
    }
    device.write();
    device.talk(&mut rooms);
    assert_eq!((texts(&device), device.queued()), (all.map(String::from).to_vec(), 0));
    assert_eq!(device.warnings(), []);
}

#[test]
fn a_relay_that_does_not_prove_its_key_is_left() {
    let mut rooms = strict();
    let mut device = Device::new(1);
    device.bends = Some(|frame| {
        if let Body::SignedIn(said) = &mut frame.body {
            said.greeting = [1; 64]
        }
    });
    device.talk(&mut rooms);
    device.sign();
    device.talk(&mut rooms);
    assert_eq!(device.warnings(), [ErrorCode::RelayMisbehaved]);
}

#[test]
fn what_the_relay_has_signed_is_kept() {
    let mut rooms = strict();
    let mut device = written(&mut rooms, 1, &["one"]);
    settle(&mut device);
    let id = session(&device);
    let proven = device.records.sessions[&id].proven.expect("a signed head");
    assert_eq!((proven.head.sequence, proven.head.hash), (1, rooms.journal[&id].entries[0].log_hash));
    assert_eq!(proven.signature.check(&account::key(100).public(), &id, &proven.head), Ok(()));
}

/// A relay that shows different logs to two devices, and to the one what the other wrote in its own.
#[test]
fn who_was_shown_another_log_tells_by_the_next_entry() {
    let mut rooms = strict();
    let mut one = written(&mut rooms, 1, &["one"]);
    let [mut two, mut three] = [2, 3].map(|number| Device::joined(number, &mut rooms));
    let id = session(&one);
    let swap = |rooms: &mut Rooms, rows: rooms::Rows| {
        let before = rooms.journal.insert(id.clone(), rows);
        rooms.restart();
        before.unwrap()
    };
    let common = rooms.journal[&id].clone();
    two.send("to the second");
    two.talk(&mut rooms);
    settle(&mut two);
    let mut shown_to_two = swap(&mut rooms, common);
    three.again(&mut rooms);
    three.send("to the third");
    three.talk(&mut rooms);
    one.again(&mut rooms);
    one.send("again");
    one.talk(&mut rooms);
    let spliced = rooms.journal[&id].entries[2].clone();
    assert_eq!(spliced.signature.as_ref().map(|signature| signature.seen.sequence), Some(2));
    shown_to_two.entries.push(spliced);
    swap(&mut rooms, shown_to_two);
    rewrite(&mut rooms, &id, |_| {});
    rooms.restart();
    two.again(&mut rooms);
    settle(&mut two);
    assert_eq!(two.warnings(), [ErrorCode::RelayForked]);
    assert_eq!(texts(&two), ["one", "to the second"]);
}

/// What a device can show of the relay.
fn evidence(device: &Device) -> Evidence {
    let id = session(device);
    let mut evidence = device.client.evidence(&id).expect("the relay has signed something");
    let mut log = Log::new(&id);
    for record in device.records.log(&id) {
        evidence.follow(&mut log, &record.entries().unwrap()).unwrap();
    }
    // As it is exported.
    Evidence::from_text(&evidence.to_text()).unwrap()
}

#[test]
fn two_devices_show_that_a_relay_signed_two_logs() {
    let mut rooms = strict();
    let mut one = written(&mut rooms, 1, &["one"]);
    let mut two = Device::joined(2, &mut rooms);
    let id = session(&one);
    let common = rooms.journal[&id].clone();
    one.send("two");
    one.talk(&mut rooms);
    settle(&mut one);
    assert_eq!(judge(&[evidence(&one)]), Ok(Verdict::Consistent(1)));
    rooms.journal.insert(id, common);
    rooms.restart();
    two.again(&mut rooms);
    for text in ["another", "and another"] {
        two.send(text);
        two.talk(&mut rooms);
    }
    settle(&mut two);
    one.again(&mut rooms);
    assert_eq!((one.warnings(), two.warnings()), (vec![ErrorCode::RelayForked], vec![]));
    assert!(matches!(judge(&[evidence(&one), evidence(&two)]), Ok(Verdict::Forked(..))));
}

#[test]
fn a_device_shows_that_a_relay_was_set_back() {
    let mut rooms = strict();
    let mut one = written(&mut rooms, 1, &["one"]);
    let id = session(&one);
    let before = rooms.journal[&id].clone();
    one.send("two");
    one.talk(&mut rooms);
    settle(&mut one);
    rooms.journal.insert(id, before);
    rooms.restart();
    one.again(&mut rooms);
    assert_eq!(one.warnings(), [ErrorCode::RelayRolledBack]);
    assert!(matches!(judge(&[evidence(&one)]), Ok(Verdict::SetBack(..))));
}

fn keeper(number: u8, earlier: Vec<EarlierKey>) -> Relay {
    Relay::with_sign_in(Doorkeeper { key: account::key(number), earlier, names: vec![RELAY.into()], is_required: true, secret: [3; 32] })
}

/// The relay of [`strict`], under a key that its first one names.
fn renewed() -> Relay {
    keeper(101, vec![EarlierKey::succeeded_by(&account::key(100), &account::key(101).public())])
}

/// One that shows the same, and has another key than was named.
fn usurped() -> Relay {
    keeper(102, vec![EarlierKey::succeeded_by(&account::key(100), &account::key(101).public())])
}

#[test]
fn a_device_goes_on_with_the_key_that_the_relays_own_names() {
    for (make, taken) in [(renewed as fn() -> Relay, true), (usurped, false)] {
        let mut rooms = strict();
        let mut one = written(&mut rooms, 1, &["one"]);
        settle(&mut one);
        let mut next = Rooms::over(make);
        next.journal = rooms.journal;
        one.again(&mut next);
        one.send("two");
        one.talk(&mut next);
        settle(&mut one);
        if taken {
            assert_eq!((texts(&one).len(), one.warnings()), (2, vec![]));
            assert_eq!(evidence(&one).relay, account::key(101).public());
        } else {
            assert_eq!((texts(&one).len(), one.warnings()), (1, vec![ErrorCode::RelayKeyChanged]));
        }
    }
}

/// Somebody's messages in the session with another, as they come on the wire, with the digest of the last.
fn messages(person: &Person, peer: &str, texts: &[&str]) -> (Vec<Value>, Digest) {
    let (session, device) = (person.session(peer), person.device_id());
    let mut digest = first_digest(&session, &device);
    let mut written = Vec::new();
    for (counter, text) in (1..).zip(texts) {
        let message = json!({ "id": message_id(&session, &device, "start0", counter), "sender_wallet": person.address(), "ciphertext": text,
            "session_id": session, "timestamp": "2023-11-14T22:13:20.000Z" });
        let entry = json!({ "message": message, "originalDeviceId": device, "counter": counter, "knows": 0, "serverTimestamp": 7 });
        digest = serde_json::from_value::<Entry>(entry.clone()).unwrap().digest(&digest);
        written.push(entry);
    }
    (written, digest)
}

#[test]
fn the_relay_takes_only_what_is_signed_and_has_seen_its_own_log() {
    let (one, peer) = (person(1), people::address(2));
    let session = one.session(&peer);
    let (written, digest) = messages(&one, &peer, &["one", "two"]);
    let seen = LogHead { sequence: 0, hash: first_log_hash(&session) };
    let update = |counter, digest: &Digest, seen| one.update(&peer, &written, counter, digest, seen);
    let mut bare = update(2, &digest, seen);
    bare.as_object_mut().unwrap().remove("signature");
    let mut wrong = update(2, &digest, seen);
    wrong["signature"]["signature"] = json!("01".repeat(64));
    let mut others = update(2, &digest, seen);
    others["signature"] = person(2).update(&peer, &written, 2, &digest, seen)["signature"].clone();
    let refused = [
        (bare, "INVALID_SIGNATURE"),
        (wrong, "INVALID_SIGNATURE"),
        (others, "INVALID_SIGNATURE"),
        (update(1, &digest, seen), "INVALID_SIGNATURE"),
        (update(2, &digest, LogHead { hash: [1; 32], ..seen }), "RELAY_FORKED"),
        (update(2, &digest, LogHead { sequence: 1, ..seen }), "RELAY_ROLLED_BACK"),
    ];
    for (frame, code) in refused {
        let mut rooms = Rooms::over(closed_relay);
        one.enter(&mut rooms, 1);
        rooms.say(1, &one.announce(&peer));
        rooms.hear(1);
        rooms.say(1, &frame);
        assert_eq!(rooms::the_error(&mut rooms, 1)["code"], code);
        assert!(rooms.journal.get(&session).is_none_or(|rows| rows.entries.is_empty()), "nothing of it is taken");
    }
}

#[test]
fn what_is_signed_is_taken_as_a_whole_or_not_at_all() {
    let (one, peer) = (person(1), people::address(2));
    let session = one.session(&peer);
    let (mut written, _) = messages(&one, &peer, &["one", "two", "three"]);
    written[1]["message"]["sender_wallet"] = json!(peer);
    let mut digest = first_digest(&session, &one.device_id());
    for entry in &written {
        digest = serde_json::from_value::<Entry>(entry.clone()).unwrap().digest(&digest);
    }
    let mut rooms = Rooms::over(closed_relay);
    one.enter(&mut rooms, 1);
    rooms.say(1, &one.announce(&peer));
    rooms.hear(1);
    rooms.say(1, &one.update(&peer, &written, 3, &digest, LogHead { sequence: 0, hash: first_log_hash(&session) }));
    let heard = rooms.hear(1);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0]["code"], "INVALID_MESSAGE_FORMAT");
    assert!(rooms.journal.get(&session).is_none_or(|rows| rows.entries.is_empty()));
}

#[test]
fn a_log_seen_before_the_relay_started_is_looked_up() {
    let mut rooms = strict();
    let mut one = written(&mut rooms, 1, &["one", "two", "three"]);
    settle(&mut one);
    rooms.restart();
    one.again(&mut rooms);
    one.send("four");
    one.talk(&mut rooms);
    settle(&mut one);
    assert_eq!((texts(&one).len(), one.warnings()), (4, vec![]));
}

/// A relay that lies says this of its log to a device.
fn lie(device: &mut Device, body: impl Fn(LogHead, HeadSignature) -> Body, (sequence, hash, time): (u64, Digest, u64)) {
    let (id, head) = (session(device), LogHead { sequence, hash });
    let body = body(head, HeadSignature::sign(&account::key(100), &id, &head, time));
    let frame = Frame { head: Head { session_id: id, ..Head::default() }, body };
    device.feed(Input::Received { generation: device.generation, frame: frame.to_bytes().unwrap().into() });
}

#[test]
fn a_part_of_a_log_that_was_set_back_is_kept() {
    let mut rooms = strict();
    let mut one = written(&mut rooms, 1, &["one", "two"]);
    settle(&mut one);
    one.again(&mut rooms);
    let part = |log, signature| {
        Body::SyncResponse(SyncResponse { latest_sequence: 1, log: Some(log), log_signature: Some(signature), ..SyncResponse::default() })
    };
    let hash = first_log_hash(&session(&one));
    lie(&mut one, part, (0, hash, 1_900_000_000_000));
    assert_eq!(one.warnings(), [ErrorCode::RelayRolledBack]);
    assert!(matches!(judge(&[evidence(&one)]), Ok(Verdict::SetBack(..))));
}

#[test]
fn a_part_that_is_signed_otherwise_than_shown_is_kept() {
    let mut rooms = strict();
    let mut two = Device::joined(2, &mut rooms);
    let mut one = Device::joined(1, &mut rooms);
    for text in ["one", "two", "three"] {
        two.send(text);
        two.talk(&mut rooms);
    }
    let entries = rooms.journal[&session(&two)].entries.clone();
    // It has signed its true log before.
    let end = |log: LogHead, signature| {
        Body::SyncHeartbeat(SyncHeartbeat {
            sequence_number: 3,
            log: Some(log),
            log_signature: Some(signature),
            ..SyncHeartbeat::default()
        })
    };
    lie(&mut one, end, (3, entries[2].log_hash, 1_700_000_000_003));
    let part = |log, signature| {
        Body::SyncResponse(SyncResponse {
            messages: entries[0].body.clone(),
            latest_sequence: 3,
            log: Some(log),
            log_signature: Some(signature),
            signatures: entries[0].signature.iter().cloned().collect(),
            ..SyncResponse::default()
        })
    };
    lie(&mut one, part, (1, [7; 32], 1_700_000_000_001));
    assert_eq!(one.warnings(), [ErrorCode::RelayForked]);
    let kept = one.records.sessions[&session(&one)].contradiction.as_deref().map(|signed| signed.head);
    assert_eq!(kept, Some(LogHead { sequence: 1, hash: [7; 32] }), "what it signed since contradicts nothing");
}
