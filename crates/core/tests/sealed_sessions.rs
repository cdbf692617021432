//! Encrypted sessions from end to end: the machines of devices and relay, with the real cryptography.

use crate::rooms::Rooms;
use crate::sealed::{address, again, joined, kinds, open, pair, relay_knows, settle, texts, write};
use crate::signer::{Device, strict};
use solconnect_sync_core::client::{Event, GroupWish, Input, MessageStatus, Reply};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::identity::Purpose;
use solconnect_sync_core::limits::{EPOCH_MS, UNCAUSED_EPOCH_MS};
use solconnect_sync_core::message::Kind;

#[test]
fn what_is_written_is_read_by_both_and_not_by_the_relay() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    assert!(session_id.starts_with("sealed:"), "{session_id}");
    write(&mut alice, &session_id, "the quick brown fox");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    write(&mut bob, &session_id, "jumps over");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let said = ["the quick brown fox", "jumps over"];
    assert_eq!(
        (texts(&alice, &session_id), texts(&bob, &session_id)),
        (said.map(str::to_owned).to_vec(), said.map(str::to_owned).to_vec())
    );
    assert_eq!(kinds(&rooms, &session_id), [Kind::EPOCH, Kind::MESSAGE, Kind::MESSAGE].map(|kind| kind.0), "one epoch for both");
    assert!(!said.iter().any(|text| relay_knows(&rooms, text)));
    assert_eq!((alice.warnings(), bob.warnings()), (vec![], vec![]));
    let heard = bob.events.iter().filter(|event| matches!(event, Event::MessageReceived { .. })).count();
    assert_eq!(heard, 1, "each is told once");
}

#[test]
fn what_was_written_offline_is_encrypted_when_it_is_sent() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    alice.feed(Input::SetOffline { offline: true });
    for text in ["one", "two", "three"] {
        write(&mut alice, &session_id, text);
    }
    write(&mut bob, &session_id, "meanwhile");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    // The page is closed and opened again.
    let mut alice = again(alice, 60);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    for device in [&alice, &bob] {
        assert_eq!(texts(device, &session_id), ["meanwhile", "one", "two", "three"]);
    }
    assert_eq!(kinds(&rooms, &session_id).iter().filter(|kind| **kind == Kind::EPOCH.0).count(), 1);
}

#[test]
fn a_new_device_that_is_approved_reads_all_that_was_written() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    write(&mut bob, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let mut phone = joined(&mut rooms, 0, 3);
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    open(&mut phone, 1);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["one", "two"]);
    // It writes once the epoch lists it.
    write(&mut phone, &session_id, "three");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    for device in [&alice, &bob, &phone] {
        assert_eq!(texts(device, &session_id), ["one", "two", "three"]);
    }
}

#[test]
fn a_removed_device_reads_nothing_that_is_written_behind() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let mut phone = joined(&mut rooms, 0, 3);
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    open(&mut phone, 1);
    write(&mut bob, &session_id, "before");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["before"]);
    let keys = phone.client.account_keys();
    alice.feed(Input::RemoveDevice { request: 7, device_id: phone.id() });
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    write(&mut bob, &session_id, "behind");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!((texts(&alice, &session_id), texts(&phone, &session_id).len()), (vec!["before".to_owned(), "behind".to_owned()], 1));
    let newest = alice.client.account_keys().pop().unwrap();
    assert!(!keys.contains(&newest), "also with the whole log it has no key for it");
}

#[test]
fn two_who_begin_an_epoch_at_once_end_up_in_one() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "a");
    write(&mut bob, &session_id, "b");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let mut said = texts(&alice, &session_id);
    assert_eq!(said, texts(&bob, &session_id));
    said.sort();
    assert_eq!(said, ["a", "b"]);
    assert_eq!(kinds(&rooms, &session_id).iter().filter(|kind| **kind == Kind::EPOCH.0).count(), 1);
}

#[test]
fn a_message_is_edited_and_deleted_unseen() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "frist");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let id = rooms.journal[&session_id].entries[1].body.entries().unwrap()[0].message.id.clone();
    for text in [Some("first"), None] {
        let (session_id, message_id) = (session_id.clone(), id.clone());
        alice.feed(Input::Edit { request: 5, session_id, message_id, text: text.map(str::to_owned) });
        settle(&mut rooms, &mut [&mut alice, &mut bob]);
        let session_id = alice.client.sessions()[0].session_id.clone();
        assert_eq!(
            (texts(&alice, &session_id), texts(&bob, &session_id)),
            (vec![text.unwrap_or("").into()], vec![text.unwrap_or("").into()])
        );
        assert!(!relay_knows(&rooms, "first") && !relay_knows(&rooms, &format!("replaces: Some({id:?})")));
    }
}

#[test]
fn statuses_and_receipts_are_those_of_other_sessions() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "hello");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let entry = bob.records.log(&session_id).into_iter().flat_map(|record| record.entries().unwrap()).last().unwrap();
    let (message_id, sequence_number) = (entry.message.id.clone(), entry.sequence_number);
    bob.feed(Input::MarkRead { request: 6, session_id: session_id.clone(), message_id, sequence_number });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let shown = alice.client.show(&session_id, vec![(entry, None)], false).pop().unwrap();
    assert_eq!(shown.status, MessageStatus::Read);
}

#[test]
fn in_a_group_who_comes_and_goes_ends_the_epoch() {
    let mut rooms = strict();
    let mut people: Vec<Device> = (0..3).map(|person| joined(&mut rooms, person, person + 1)).collect();
    people[0].feed(Input::OpenGroup { request: 2, name: "Walkers".into(), members: vec![address(1)] });
    let Some(Ok(Reply::Session(view))) = people[0].replies.pop() else { panic!() };
    let session_id = view.session_id;
    assert!(session_id.starts_with("sealed:"), "{session_id}");
    let settle_all = |rooms: &mut Rooms, people: &mut Vec<Device>| settle(rooms, &mut people.iter_mut().collect::<Vec<_>>());
    settle_all(&mut rooms, &mut people);
    people[1].feed(Input::AcceptSession { request: 3, session_id: session_id.clone() });
    settle_all(&mut rooms, &mut people);
    write(&mut people[0], &session_id, "for two");
    settle_all(&mut rooms, &mut people);
    let wish = GroupWish::Add(vec![address(2)]);
    people[0].feed(Input::Regroup { request: 4, session_id: session_id.clone(), wish });
    settle_all(&mut rooms, &mut people);
    people[2].feed(Input::AcceptSession { request: 3, session_id: session_id.clone() });
    settle_all(&mut rooms, &mut people);
    write(&mut people[1], &session_id, "for three");
    settle_all(&mut rooms, &mut people);
    let wish = GroupWish::Remove(vec![address(1)]);
    people[0].feed(Input::Regroup { request: 4, session_id: session_id.clone(), wish });
    settle_all(&mut rooms, &mut people);
    write(&mut people[2], &session_id, "for the others");
    settle_all(&mut rooms, &mut people);
    assert_eq!(texts(&people[0], &session_id), ["for two", "for three", "for the others"]);
    assert_eq!(texts(&people[1], &session_id), ["for two", "for three"]);
    assert_eq!(texts(&people[2], &session_id), ["for three", "for the others"], "it was not in the first epoch");
    assert_eq!(kinds(&rooms, &session_id), [6, 7, 0, 6, 7, 0, 6, 7, 0]);
}

#[test]
fn a_reset_of_the_other_side_begins_another_epoch() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let certificate = bob.signed(Purpose::Reset);
    bob.feed(Input::Certify { request: 3, certificate });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    bob.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    write(&mut alice, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    write(&mut bob, &session_id, "three");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&alice, &session_id), ["one", "two", "three"]);
    assert_eq!(texts(&bob, &session_id), ["one", "two", "three"]);
}

#[test]
fn the_relay_may_start_again_in_between() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    rooms.restart();
    for device in [&mut alice, &mut bob] {
        device.is_connected = false;
        device.feed(Input::Disconnected { generation: device.generation, reason: "gone".into() });
        device.again(&mut rooms);
    }
    write(&mut bob, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(
        (texts(&alice, &session_id), texts(&bob, &session_id)),
        (vec!["one".into(), "two".into()], vec!["one".into(), "two".into()])
    );
}

#[test]
fn an_encrypted_session_is_not_imported() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let entries: Vec<_> = alice.records.log(&session_id).into_iter().flat_map(|record| record.entries().unwrap()).collect();
    bob.feed(Input::Import { request: 8, peer_wallet: address(0), entries });
    assert_eq!(bob.replies.pop().unwrap().unwrap_err().code, ErrorCode::InvalidArgument);
}

#[test]
fn a_text_is_as_long_as_in_other_sessions() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let longest = "é".repeat(4 * 1024);
    write(&mut alice, &session_id, &longest);
    let (content_type, message_id, known) = (None, None, None);
    let text = format!("{longest}!");
    alice.feed(Input::Send { request: 4, session_id: session_id.clone(), text, content_type, message_id, known });
    assert_eq!(alice.replies.pop().unwrap().unwrap_err().code, ErrorCode::MessageTooLarge);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), [longest]);
}

/// Alice writes as many texts, and all is read by both; gives the places of the epochs.
fn epochs_after(rooms: &mut Rooms, (alice, bob): (&mut Device, &mut Device), session_id: &str, count: usize) -> Vec<usize> {
    let before = texts(bob, session_id).len();
    for number in 0..count {
        write(alice, session_id, &format!("text {number}"));
        if number % 100 == 99 {
            settle(rooms, &mut [&mut *alice, &mut *bob]);
        }
    }
    settle(rooms, &mut [&mut *alice, &mut *bob]);
    let wanted: Vec<String> = (0..count).map(|number| format!("text {number}")).collect();
    assert!(texts(bob, session_id)[before..] == wanted[..], "in the order in which they were written");
    assert!(texts(alice, session_id) == texts(bob, session_id));
    let epochs = kinds(rooms, session_id).into_iter().enumerate().filter(|(_, kind)| *kind == Kind::EPOCH.0);
    epochs.map(|(place, _)| place).collect()
}

#[test]
fn an_epoch_ends_after_a_thousand_entries() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    assert_eq!(epochs_after(&mut rooms, (&mut alice, &mut bob), &session_id, 1_000), [0]);
    assert_eq!(epochs_after(&mut rooms, (&mut alice, &mut bob), &session_id, 100), [0, 1_001]);
}

#[test]
fn an_epoch_ends_after_seven_days() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    assert_eq!(epochs_after(&mut rooms, (&mut alice, &mut bob), &session_id, 3), [0]);
    let later = |rooms: &mut Rooms, device: &mut Device, ms: u64| {
        (rooms.now.wall_ms, device.now.wall_ms) = (rooms.now.wall_ms + ms, device.now.wall_ms + ms);
    };
    later(&mut rooms, &mut alice, EPOCH_MS - 100_000);
    assert_eq!(epochs_after(&mut rooms, (&mut alice, &mut bob), &session_id, 3), [0]);
    later(&mut rooms, &mut alice, 100_000);
    assert_eq!(epochs_after(&mut rooms, (&mut alice, &mut bob), &session_id, 3), [0, 7]);
    assert_eq!(epochs_after(&mut rooms, (&mut alice, &mut bob), &session_id, 3), [0, 7], "once");
}

#[test]
fn where_no_epoch_may_begin_so_soon_texts_go_on_in_the_old_one() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let epochs = epochs_after(&mut rooms, (&mut alice, &mut bob), &session_id, 2_200);
    assert_eq!(epochs, [0, 1_001], "the relay takes a second one of the same wallet after ten minutes");
    (alice.now.monotonic_ms, rooms.now.wall_ms) = (alice.now.monotonic_ms + UNCAUSED_EPOCH_MS, rooms.now.wall_ms + UNCAUSED_EPOCH_MS);
    assert_eq!(epochs_after(&mut rooms, (&mut alice, &mut bob), &session_id, 3), [0, 1_001, 2_202]);
}
