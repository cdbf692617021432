//! Encrypted sessions at the relay: what it takes, what it refuses, and what it reads for that.

use crate::hall::{Hall, NONCE};
use crate::memory::Records;
use crate::rooms;
use crate::rooms::Rooms;
use crate::sealing;
use crate::sealing::{Vault, address, domains, generation, sealed, wallet};
use crate::signer::{Device, config, drawing, relay, strict};
use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::frame::{Body, Frame, Head, PROTOCOL_VERSION, Payload, SyncUpdate};
use solconnect_sync_core::group::{Group, Statement as GroupStatement, group_id, sealed_group_id};
use solconnect_sync_core::identity::{Account, Claim, Statement};
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_core::relay::{Input, Reading, Relay};
use solconnect_sync_vault::layout::{EncryptedText, EpochEntry};

#[test]
fn a_pair_writes_what_only_it_can_read() {
    let mut hall = Hall::begun();
    hall.text(0, "hello").unwrap();
    hall.text(1, "good morning").unwrap();
    hall.renew(1);
    assert_eq!(hall.text(0, "too late"), Err("EPOCH_MOVED".into()));
    hall.epoch(1).unwrap();
    hall.text(0, "in time").unwrap();
    let (epochs, texts) = hall.epochs();
    assert_eq!((epochs.last(), texts), (2, vec!["hello".to_owned(), "good morning".into(), "in time".into()]));
    let stored = format!("{:?}", hall.entries());
    assert!(!stored.contains("hello") && !stored.contains(&Base64::encode_string(b"hello")));
}

#[test]
fn an_epoch_is_no_news_to_who_takes_no_part() {
    let mut hall = Hall::of(2);
    hall.session_id = domains().sealed_session_of(&address(0), &address(1)).unwrap();
    let told = |hall: &mut Hall| {
        let heard = hall.rooms.hear(hall.connection(1)).into_iter().filter(|heard| heard["type"] == "session_list");
        heard.map(|list| list["sessions"][0]["latestSequence"].as_u64().unwrap()).collect::<Vec<u64>>()
    };
    hall.announce(0, Some(address(1)), None);
    hall.epoch(0).unwrap();
    assert_eq!(told(&mut hall), [0, 0], "it is announced, and kept from now on");
    hall.text(0, "one").unwrap();
    hall.renew(0);
    hall.epoch(0).unwrap();
    assert_eq!(told(&mut hall), [2]);
    hall.rooms.restart();
    [0, 1].into_iter().for_each(|person| hall.back(person));
    hall.announce(0, Some(address(1)), None);
    hall.renew(0);
    hall.epoch(0).unwrap();
    assert_eq!(told(&mut hall), [0; 0], "nor after a restart");
    hall.text(0, "two").unwrap();
    assert_eq!(told(&mut hall), [5]);
}

#[test]
fn nothing_plain_is_taken_into_an_encrypted_session() {
    let mut hall = Hall::begun();
    for (kind, replaces) in [(Kind::MESSAGE, None), (Kind::EDIT, Some("m")), (Kind::DELETION, Some("m")), (Kind(77), None)] {
        let message = Message { kind, replaces: replaces.map(Into::into), ciphertext: "plain".into(), ..Message::default() };
        assert_eq!(hall.update(0, vec![message]), Err("INVALID_MESSAGE_FORMAT".into()), "{kind:?}");
    }
    let text = EncryptedText { epoch: 1, nonce: [0; 12], ciphertext: vec![0; 48] }.to_bytes();
    let typed = Message { content_type: Some("text/plain".into()), ..sealed(Kind::MESSAGE, &text) };
    assert_eq!(hall.update(0, vec![typed]), Err("INVALID_MESSAGE_FORMAT".into()));
    hall.text(0, "encrypted").unwrap();
}

#[test]
fn an_epoch_is_refused_by_the_reason_that_it_has() {
    let mut hall = Hall::begun();
    let both = |hall: &Hall| vec![hall.recipient(0), hall.recipient(1)];
    let refused = |hall: &mut Hall, bend: &dyn Fn(&mut EpochEntry), code: &str| {
        let (mut epoch, _) = hall.draft(0, both(hall));
        bend(&mut epoch);
        let said = hall.update(0, vec![sealed(Kind::EPOCH, &epoch.to_bytes())]);
        assert_eq!(said, Err(code.into()));
    };
    hall.renew(1);
    refused(&mut hall, &|epoch| epoch.number += 1, "EPOCH_MOVED");
    refused(&mut hall, &|epoch| epoch.after[0] ^= 1, "EPOCH_MOVED");
    refused(&mut hall, &|epoch| epoch.members.truncate(1), "INVALID_MESSAGE_FORMAT");
    refused(&mut hall, &|epoch| epoch.members[0].sealed = None, "INVALID_MESSAGE_FORMAT");
    refused(&mut hall, &|epoch| epoch.members[0].head.hash[0] ^= 1, "RELAY_FORKED");
    refused(&mut hall, &|epoch| epoch.members[0].head.sequence += 1, "RELAY_ROLLED_BACK");
    hall.epoch(0).unwrap();
    assert_eq!(hall.epochs().0.last(), 2);
    // What a relay that lets a head go back would let in: the key that a removed device has.
    let older = {
        let (mut account, entries) = (Vault::new(1).account, hall.rooms.journal[&hall.account(1).owner().account_id].entries.clone());
        for stored in &entries[..entries.len() - 1] {
            account.take(&stored.body.entries().unwrap()[0]).unwrap().unwrap();
        }
        Vault { number: 1, account, entries: Vec::new() }.now()
    };
    let recipients = vec![hall.recipient(0), older];
    assert_eq!(hall.epoch_for(0, recipients), Err("EPOCH_MOVED".into()));
}

#[test]
fn nobody_writes_behind_a_removal_before_the_next_epoch() {
    for renews in [true, false] {
        for person in [0, 1] {
            let mut hall = Hall::begun();
            hall.text(1, "before").unwrap();
            let old = vec![hall.recipient(0), hall.recipient(1)];
            hall.removes(person, renews);
            for author in [0, 1] {
                assert_eq!(hall.text(author, "too late"), Err("EPOCH_MOVED".into()), "{author} behind a removal by {person}");
            }
            // Nor is an epoch begun that names the account as it was.
            assert_eq!(hall.epoch_for(1 - person, old), Err("EPOCH_MOVED".into()));
            hall.epoch(1 - person).unwrap();
            hall.text(1, "after").unwrap();
            assert_eq!(hall.epochs().1, ["before", "after"]);
        }
    }
}

#[test]
fn accounts_are_read_once_and_when_somebody_writes() {
    let mut hall = Hall::pair();
    assert_eq!(hall.reads(), 0, "announcing reads none");
    hall.epoch(0).unwrap();
    // Those of who is there are in memory.
    assert_eq!(hall.reads(), 0);
    let gone = hall.connection(1);
    hall.rooms.feed(Input::Closed { connection: gone });
    hall.rooms.asked.clear();
    hall.text(0, "one").unwrap();
    assert_eq!(hall.reads(), 0, "it is kept for the session");
    hall.rooms.restart();
    hall.back(0);
    assert_eq!(hall.announce(0, Some(address(1)), None), [""; 0]);
    hall.rooms.asked.clear();
    hall.text(0, "two").unwrap();
    assert_eq!(hall.reads(), 1, "that of who is away");
    hall.text(0, "three").unwrap();
    assert_eq!(hall.reads(), 0);
    assert_eq!(hall.epochs().1, ["one", "two", "three"], "the epochs were stored");
}

#[test]
fn a_session_that_ends_leaves_no_account_in_memory() {
    let mut hall = Hall::begun();
    for person in [0, 1] {
        let connection = hall.connection(person);
        hall.rooms.feed(Input::Closed { connection });
    }
    hall.rooms.timeout(2_000);
    assert_eq!(hall.rooms.counts().sessions, 0);
    hall.back(0);
    assert_eq!(hall.announce(0, Some(address(1)), None), [""; 0]);
    hall.rooms.asked.clear();
    hall.text(0, "again").unwrap();
    assert_eq!(hall.reads(), 1, "the account of who is away was forgotten");
}

#[test]
fn an_account_that_cannot_be_read_refuses_until_it_can() {
    let mut hall = Hall::begun();
    let gone = hall.connection(1);
    hall.rooms.feed(Input::Closed { connection: gone });
    hall.rooms.restart();
    hall.back(0);
    assert_eq!(hall.announce(0, Some(address(1)), None), [""; 0]);
    for fails_at in 0..2 {
        hall.rooms.held = Some(Default::default());
        assert_eq!(hall.text(0, "not yet"), Err("nothing yet".into()));
        for _ in 0..fails_at {
            hall.rooms.answer(false);
        }
        hall.rooms.answer(true);
        assert_eq!(hall.rooms.held.take().map(|held| held.len()), Some(0), "nothing else is asked for");
        assert_eq!(hall.heard(0), ["RELAY_STORAGE_FAILED"]);
        hall.announce(0, Some(address(1)), None);
    }
    // It leans on none of the others either meanwhile.
    let connection = hall.connection(0);
    hall.rooms.feed(Input::Closed { connection });
    hall.rooms.timeout(2_000);
    hall.rooms.asked.clear();
    hall.back(0);
    assert!(hall.rooms.asked.contains(&"load"), "the account of who was there is forgotten too");
    assert_eq!(hall.announce(0, Some(address(1)), None), [""; 0]);
    hall.text(0, "now").unwrap();
    assert_eq!(hall.epochs().1, ["now"]);
}

#[test]
fn who_leaves_while_accounts_are_read_has_written() {
    let mut hall = Hall::begun();
    hall.rooms.restart();
    hall.back(0);
    assert_eq!(hall.announce(0, Some(address(1)), None), [""; 0]);
    hall.rooms.held = Some(Default::default());
    assert_eq!(hall.text(0, "goodbye"), Err("nothing yet".into()));
    let connection = hall.connection(0);
    hall.rooms.feed(Input::Closed { connection });
    while !hall.rooms.held.as_ref().unwrap().is_empty() {
        hall.rooms.answer(false);
    }
    hall.rooms.held = None;
    assert_eq!(hall.epochs().1, ["goodbye"]);
    assert_eq!(hall.rooms.counts().sessions, 0);
}

#[test]
fn an_append_that_fails_begins_no_epoch() {
    let mut hall = Hall::pair();
    let (epoch, secret) = hall.draft(0, vec![hall.recipient(0), hall.recipient(1)]);
    hall.rooms.held = Some(Default::default());
    assert_eq!(hall.update(0, vec![sealed(Kind::EPOCH, &epoch.to_bytes())]), Err("nothing yet".into()));
    hall.rooms.answer(true);
    hall.rooms.held = None;
    assert_eq!(hall.heard(0), ["RELAY_STORAGE_FAILED"]);
    hall.announce(0, Some(address(1)), None);
    hall.secrets.push(secret);
    assert_eq!(hall.text(0, "in no epoch"), Err("EPOCH_MOVED".into()));
    hall.secrets.clear();
    hall.epoch(0).unwrap();
    hall.text(0, "in it").unwrap();
}

#[test]
fn a_removal_on_disk_counts_while_the_next_statement_is_stored() {
    let mut hall = Hall::begun();
    let mut other = Device::of(wallet(1), drawing(Records::default(), 60), config(), 60);
    other.talk(&mut hall.rooms);
    other.sign();
    other.talk(&mut hall.rooms);
    let key = hall.key(1);
    let mut account = hall.account(1);
    let owner = account.owner().clone();
    let say = |hall: &mut Hall, account: &mut Account, claim| {
        let counter = account.log().counter(&key.device_id()) + 1;
        let mut entry = Statement::sign(&key, &owner, account.head(), claim).entry(&owner, counter, hall.rooms.now.wall_ms);
        let messages = Batch::of(std::slice::from_ref(&entry)).unwrap();
        (entry.sequence_number, entry.server_timestamp) = (account.head().sequence + 1, hall.rooms.now.wall_ms);
        account.take(&entry).unwrap().unwrap();
        hall.hears(1, &owner.account_id, Body::SyncUpdate(SyncUpdate { messages, ..SyncUpdate::default() }));
    };
    hall.rooms.held = Some(Default::default());
    say(&mut hall, &mut account, Claim::Remove { devices: vec![other.id()], kept: Vec::new() });
    let renewed = Claim::Generation(generation(&account, &[]));
    say(&mut hall, &mut account, renewed);
    hall.rooms.answer(false);
    assert_eq!(hall.rooms.held.as_ref().unwrap().len(), 1, "the second is being stored");
    let head = hall.recipient(1).head;
    assert_eq!(hall.text(0, "too late"), Err("EPOCH_MOVED".into()));
    // What its devices have heard of is named, and nobody is taken for another relay.
    let (epoch, secret) = hall.draft(0, vec![hall.recipient(0), hall.recipient(1)]);
    assert_eq!(epoch.members.iter().find(|member| member.wallet == wallet(1).public()).unwrap().head, head);
    assert_eq!(hall.update(0, vec![sealed(Kind::EPOCH, &epoch.to_bytes())]), Err("nothing yet".into()));
    hall.rooms.answer(false);
    hall.rooms.answer(false);
    hall.rooms.held = None;
    assert_eq!(hall.heard(0), ["sync_ack"]);
    hall.secrets.push(secret);
    assert_eq!(hall.text(0, "behind the key"), Err("EPOCH_MOVED".into()));
    hall.epoch(0).unwrap();
    hall.text(0, "after").unwrap();
}

#[test]
fn a_second_message_of_a_name_is_told_and_compared_by_nobody() {
    let mut hall = Hall::begun();
    let named = |text: &str| Message { id: "name".into(), ciphertext: text.into(), ..Message::default() };
    let (entry, digest) = hall.text_entry(0, named("one"));
    hall.say(0, &[entry], digest).unwrap();
    for text in ["one", "another"] {
        let (entry, digest) = hall.text_entry(0, named(text));
        assert_eq!(hall.say(0, &[entry], digest), Err("ALREADY_STORED".into()), "{text}");
    }
    // Names belong to wallets.
    let (entry, digest) = hall.text_entry(1, named("of the other"));
    hall.say(1, &[entry], digest).unwrap();
}

#[test]
fn a_repeat_is_acknowledged_behind_the_next_epoch_too() {
    let mut hall = Hall::begun();
    let (entry, digest) = hall.text_entry(0, Message { ciphertext: "once".into(), ..Message::default() });
    hall.say(0, std::slice::from_ref(&entry), digest).unwrap();
    hall.renew(1);
    hall.epoch(1).unwrap();
    hall.say(0, &[entry], digest).unwrap();
    assert_eq!(hall.epochs().1, ["once"]);
}

#[test]
fn what_is_refused_of_an_update_leaves_nothing_of_it() {
    let mut hall = Hall::pair();
    let (epoch, _) = hall.draft(0, vec![hall.recipient(0), hall.recipient(1)]);
    let plain = Message { ciphertext: "plain".into(), ..Message::default() };
    assert_eq!(hall.update(0, vec![sealed(Kind::EPOCH, &epoch.to_bytes()), plain]), Err("INVALID_MESSAGE_FORMAT".into()));
    assert!(hall.entries().is_empty());
    hall.epoch(1).unwrap();
}

#[test]
fn a_group_begins_with_its_first_epoch_in_one_update() {
    let mut hall = Hall::group(3, &[1], true);
    hall.text(0, "hello").unwrap();
    hall.text(1, "you too").unwrap();
    // Who comes in is in the epoch that stands behind that, in the same update.
    hall.with_epoch(0, GroupStatement::Add(vec![address(2)]), &[1, 2]).unwrap();
    assert_eq!(hall.announce(2, None, None), [""; 0]);
    hall.text(2, "here I am").unwrap();
    assert_eq!(hall.epochs().1, ["hello", "you too", "here I am"]);
}

#[test]
fn who_comes_or_goes_ends_a_groups_epoch() {
    let mut hall = Hall::group(3, &[1, 2], false);
    assert_eq!(hall.update(0, vec![sealing::any_text(1)]), Err("EPOCH_MOVED".into()));
    hall.epoch(1).unwrap();
    hall.text(2, "all three").unwrap();
    hall.update(0, vec![GroupStatement::Rename("Runners".into()).message()]).unwrap();
    hall.text(2, "still").unwrap();
    hall.update(0, vec![GroupStatement::Remove(vec![address(2)]).message()]).unwrap();
    assert_eq!(hall.text(0, "too late"), Err("EPOCH_MOVED".into()));
    let three = [0, 1, 2].map(|person| hall.recipient(person)).to_vec();
    assert_eq!(hall.epoch_for(0, three), Err("INVALID_MESSAGE_FORMAT".into()));
    hall.epoch(0).unwrap();
    hall.text(1, "two").unwrap();
    assert_eq!(hall.text(2, "out"), Err("MEMBER_REMOVED".into()));
    // What its account says has no part in it any more.
    hall.renew(2);
    hall.text(1, "two still").unwrap();
    assert_eq!(hall.epochs().1, ["all three", "still", "two", "two still"]);
}

#[test]
fn who_left_a_group_is_followed_no_longer() {
    let mut hall = Hall::group(3, &[1, 2], true);
    let gone = hall.connection(2);
    hall.update(0, vec![GroupStatement::Remove(vec![address(2)]).message()]).unwrap();
    hall.epoch(0).unwrap();
    hall.rooms.feed(Input::Closed { connection: gone });
    hall.rooms.asked.clear();
    hall.back(2);
    let loads = hall.rooms.asked.iter().filter(|kind| **kind == "load").count();
    assert!(loads > 0, "its account was forgotten with its connection");
}

#[test]
fn an_encrypted_session_is_announced_by_its_own_id_alone() {
    for rooms in [strict as fn() -> Rooms, || Rooms::over(|| relay(false))] {
        let mut hall = Hall::of(3);
        hall.rooms = rooms();
        let mut people: Vec<Device> = Vec::new();
        for number in 0..3 {
            let mut person = Device::of(wallet(number), drawing(Records::default(), number + 1), config(), number + 1);
            person.talk(&mut hall.rooms);
            person.sign();
            person.talk(&mut hall.rooms);
            if !person.records.identity.as_ref().unwrap().is_listed {
                person.again(&mut hall.rooms);
            }
            people.push(person);
        }
        hall.people = people;
        let sealed_id = domains().sealed_session_of(&address(0), &address(1)).unwrap();
        let plain = domains().session_of(&address(0), &address(1)).unwrap();
        let bare = sealed_id.strip_prefix("sealed:").unwrap().to_owned();
        for (person, id, peer) in [
            (0, format!("sealed:{plain}"), Some(address(1))),
            (0, bare, Some(address(1))),
            (0, sealed_id.clone(), Some(address(2))),
            (2, sealed_id.clone(), Some(address(1))),
            (0, sealed_id.clone(), None),
            (0, "sealed:".into(), Some(address(1))),
        ] {
            assert_eq!(hall.announce_at(person, &id, peer, None), ["NOT_A_MEMBER"], "{person} as {id}");
        }
        let group = group_id(&domains(), &address(0), &NONCE);
        let sealed_group = sealed_group_id(&domains(), &address(0), &NONCE);
        let bare = sealed_group.strip_prefix("sealed:").unwrap().to_owned();
        for (person, id) in [(0, format!("sealed:{group}")), (0, bare), (1, sealed_group.clone())] {
            assert_eq!(hall.announce_at(person, &id, None, Some(NONCE)), ["NOT_A_MEMBER"], "{person} as {id}");
        }
        assert_eq!(hall.announce_at(0, &sealed_id, Some(address(1)), None), [""; 0]);
        assert_eq!(hall.announce_at(0, &sealed_group, None, Some(NONCE)), [""; 0]);
    }
}

#[test]
fn who_has_not_signed_in_has_no_part_in_encrypted_sessions() {
    let id = domains().sealed_session_of(&address(0), &address(1)).unwrap();
    for make in [Relay::new as fn() -> Relay, || relay(false)] {
        let mut rooms = Rooms::over(make);
        rooms.open(1);
        let frame = |kind: &str, version: Value, rest: Value| {
            let mut frame = json!({ "type": kind, "sessionId": id, "deviceId": "d", "messageId": "f", "protocolVersion": version });
            frame.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            frame
        };
        let message = json!({ "id": "m", "sender_wallet": address(0), "ciphertext": "plain", "session_id": id });
        let entry = json!([{ "message": message, "originalDeviceId": "d", "counter": 1 }]);
        for said in [
            frame("device_announce", json!(1), json!({ "wallet": address(0), "peerWallet": address(1) })),
            frame("device_announce", json!(1), json!({ "wallet": address(0), "groupNonce": "09".repeat(16) })),
            frame("device_announce", Value::Null, json!({ "deviceInfo": { "platform": "web" } })),
            frame("sync_request", Value::Null, json!({ "lastSyncedSequence": 0 })),
            frame("sync_update", Value::Null, json!({ "messages": entry })),
            json!({ "roomId": id, "message": "plain", "sender": address(0), "timestamp": "2020-02-20T20:20:20.020Z" }),
        ] {
            rooms.say(1, &said);
            let heard: Vec<Value> = rooms.hear(1).into_iter().map(|heard| heard["code"].clone()).collect();
            assert_eq!(heard, [json!("NOT_A_MEMBER")], "{said}");
        }
        assert!(rooms.journal.values().all(|rows| rows.entries.is_empty()));
    }
}

#[test]
fn epochs_stand_in_encrypted_sessions_alone() {
    let mut rooms = rooms::two();
    for kind in [7, 8, 9] {
        let message = json!({ "id": format!("m{kind}"), "sender_wallet": rooms::WALLETS[0], "ciphertext": "AQ==", "session_id": rooms::ROOM, "kind": kind });
        let entry = json!([{ "message": message, "originalDeviceId": "a", "counter": 1 }]);
        rooms.say(1, &rooms::v1("a", "sync_update", json!({ "messages": entry })));
        assert_eq!(rooms::the_error(&mut rooms, 1)["code"], "INVALID_MESSAGE_FORMAT", "{kind}");
        rooms.say(1, &rooms::announce("a", rooms::WALLETS[0]));
        rooms.hear(1);
    }
    // Nor is a long text one because its author calls the session so.
    rooms.open(3);
    let long = "a".repeat(20_000);
    let message = json!({ "id": "long", "sender_wallet": "w", "ciphertext": long, "session_id": "sealed:x", "kind": 7 });
    rooms.say(3, &rooms::seed("s", "sync_update", json!({ "messages": [{ "message": message, "originalDeviceId": "s", "counter": 1 }] })));
    assert_eq!(rooms::the_error(&mut rooms, 3)["code"], "MESSAGE_TOO_LARGE");
    assert!(rooms.log().is_empty());
}

#[test]
fn epochs_that_cannot_be_read_let_nobody_in() {
    let mut hall = Hall::begun();
    for person in [0, 1] {
        let connection = hall.connection(person);
        hall.rooms.feed(Input::Closed { connection });
    }
    hall.rooms.timeout(2_000);
    hall.rooms.journal.get_mut(&hall.session_id).unwrap().epochs = Some(vec![7]);
    hall.back(0);
    assert_eq!(hall.announce(0, Some(address(1)), None), ["RELAY_STORAGE_FAILED"]);
    let plain = Message { ciphertext: "plain".into(), ..Message::default() };
    hall.update(0, vec![plain]).unwrap_err();
    assert_eq!(hall.rooms.journal[&hall.session_id].entries.len(), 1);
    hall.rooms.open(9_000);
    hall.rooms.say(9_000, &rooms::seed("s", "sync_request", json!({ "sessionId": hall.session_id, "lastSyncedSequence": 0 })));
    assert!(hall.rooms.hear_only(9_000, "sync_response").is_empty());
}

#[test]
fn who_has_accounts_read_pays_for_it() {
    let mut hall = Hall::of(1);
    let others: Vec<String> = (0..255).map(|number| wallet_address(&[number; 32])).collect();
    for round in 0..12 {
        let (group, begin) = Group::draft(&address(0), domains(), [round; 16], "Walkers", &others, true).unwrap();
        hall.session_id = group.session_id().to_owned();
        assert_eq!(hall.announce(0, None, Some([round; 16])), [""; 0]);
        hall.update(0, vec![begin.message()]).unwrap();
    }
    assert!(matches!(hall.rooms.reading(hall.connection(0)), Reading::NotBefore(_)), "3,060 accounts were read for it");
}

#[test]
fn who_is_no_member_has_the_relay_read_nothing() {
    let mut hall = Hall::begun();
    let mut third = Device::of(wallet(7), drawing(Records::default(), 70), config(), 70);
    third.talk(&mut hall.rooms);
    third.sign();
    third.talk(&mut hall.rooms);
    hall.people.push(third);
    hall.rooms.asked.clear();
    let (entry, digest) = hall.text_entry(0, Message { ciphertext: "spliced".into(), ..Message::default() });
    let messages = Batch::of(&[entry]).unwrap();
    let session_id = hall.session_id.clone();
    let update = Body::SyncUpdate(SyncUpdate { last_digest: digest, messages, signature: None });
    let id = hall.people[2].id();
    let connection = hall.people[2].connection;
    let head = Head { session_id, device_id: id, message_id: "f".into(), protocol_version: Some(PROTOCOL_VERSION), ..Head::default() };
    hall.rooms.hear(connection);
    hall.rooms.feed(Input::Received { connection, payload: Payload::Binary(Frame { head, body: update }.to_bytes().unwrap().into()) });
    let heard: Vec<Value> = hall.rooms.hear(connection).into_iter().map(|heard| heard["code"].clone()).collect();
    assert_eq!(heard, [json!("NOT_A_MEMBER")]);
    assert!(hall.rooms.asked.is_empty(), "{:?}", hall.rooms.asked);
}
