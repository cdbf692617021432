//! Group sessions with real devices and a real relay: begun, joined, changed and left.

use crate::groups;
use crate::groups::{Club, address, again, begin, joined, shown};
use crate::memory;
use crate::memory::Records;
use crate::rooms::Rooms;
use crate::signer;
use crate::signer::{Device, drawing, relay, strict};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Change, Event, GroupWish, Input, Membership, MessageStatus, Reply, SessionKind, SyncScope};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, DeviceList, ReceiptStatus};
use solconnect_sync_core::group::Statement;
use solconnect_sync_core::identity::{DeviceKey, UpdateSignature};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::Message;
use solconnect_sync_core::relay::{Input as RelayInput, StoredEntry};

#[test]
fn a_group_is_begun_and_its_members_are_invited() {
    let mut rooms = strict();
    let mut people: Vec<Device> = (0..3).map(|number| joined(&mut rooms, number, number + 1)).collect();
    let view = begin(&mut people[0], "Walkers", &[1]).unwrap();
    assert_eq!((view.kind, view.name.as_deref(), shown(&view)), (SessionKind::Group, Some("Walkers"), "0! 1".into()), "before it is sent");
    let mut club = Club { rooms, people, session_id: view.session_id };
    club.write(0, "hello").unwrap();
    assert_eq!(club.invited(1), [(address(0), Some("Walkers".into()))]);
    assert_eq!(club.invited(2), []);
    club.accept(1);
    assert_eq!((club.members(1).as_str(), club.texts(1)), ("0! 1", vec!["hello".to_owned()]));
    club.write(1, "thanks").unwrap();
    assert_eq!(club.texts(0), ["hello", "thanks"]);
    assert!(club.people.iter().all(|person| person.warnings().is_empty()));
}

#[test]
fn what_admins_change_everybody_knows() {
    let mut club = Club::of(4, &[1]);
    club.add(0, &[2, 3]).unwrap();
    assert_eq!(club.invited(2), [(address(0), Some("Walkers".into()))]);
    club.accept(2);
    club.wish(0, GroupWish::SetAdmin(address(1), true)).unwrap();
    club.wish(1, GroupWish::Rename("Runners".into())).unwrap();
    club.remove(1, &[3]).unwrap();
    for number in 0..3 {
        assert_eq!((club.members(number).as_str(), club.view(number).name.as_deref()), ("0! 1! 2", Some("Runners")), "{number}");
    }
    club.wish(0, GroupWish::SetAdmin(address(1), false)).unwrap();
    assert_eq!(club.members(2), "0! 1 2");
    let told = |event: &Event| matches!(event, Event::MembersChanged { .. });
    assert!(club.people[2].events.iter().any(told));
}

#[test]
fn only_admins_change_a_group() {
    let mut club = Club::of(3, &[1]);
    for wish in [
        GroupWish::Add(vec![address(2)]),
        GroupWish::Remove(vec![address(0)]),
        GroupWish::Rename("Mine".into()),
        GroupWish::SetAdmin(address(1), true),
    ] {
        assert_eq!(club.wish(1, wish.clone()), Err(ErrorCode::NotAnAdmin), "{wish:?}");
    }
    for (wish, code) in [
        (GroupWish::Add(vec!["x".into()]), ErrorCode::InvalidWalletAddress),
        (GroupWish::Add(vec![]), ErrorCode::InvalidArgument),
        (GroupWish::Rename("\n".into()), ErrorCode::InvalidArgument),
        (GroupWish::SetAdmin(address(2), true), ErrorCode::NotAMember),
    ] {
        assert_eq!(club.wish(0, wish.clone()), Err(code), "{wish:?}");
    }
    assert_eq!(club.members(0), "0! 1");
}

#[test]
fn who_is_removed_hears_that_and_nothing_behind_it() {
    let mut club = Club::of(3, &[1, 2]);
    club.write(0, "one").unwrap();
    club.remove(0, &[1]).unwrap();
    club.write(0, "two").unwrap();
    assert_eq!((club.membership(1), club.texts(1)), (Membership::Removed, vec!["one".to_owned()]));
    assert!(!club.view(1).is_active && club.members(1) == "0! 2");
    assert_eq!(club.write(1, "still here"), Err(ErrorCode::MemberRemoved));
    assert_eq!(club.texts(2), ["one", "two"]);
    // Its own log says so: nothing is asked again.
    club.people[1].again(&mut club.rooms);
    assert_eq!(club.people[1].warnings(), []);
    assert_eq!(club.texts(1), ["one"]);
}

#[test]
fn a_removal_within_an_update_has_nobody_accuse_the_relay() {
    let mut club = Club::of(3, &[1, 2]);
    let (generation, connection) = (club.people[0].generation, club.people[0].connection);
    club.rooms.feed(RelayInput::Closed { connection });
    club.people[0].is_connected = false;
    club.people[0].feed(Input::Disconnected { generation, reason: "lost".into() });
    club.wishes(0, GroupWish::Remove(vec![address(1)])).unwrap();
    club.writes(0, "behind it").unwrap();
    // Both are signed at once, with the second.
    club.people[0].again(&mut club.rooms);
    club.talk();
    assert_eq!((club.membership(1), club.texts(1), club.people[1].warnings()), (Membership::Removed, vec![], vec![]));
    assert_eq!(club.texts(2), ["behind it"]);
}

#[test]
fn behind_a_leave_that_waits_nothing_is_written() {
    let mut club = Club::of(3, &[1, 2]);
    club.writes(1, "before").unwrap();
    club.wishes(1, GroupWish::Leave).unwrap();
    assert_eq!(club.writes(1, "behind it"), Err(ErrorCode::MemberRemoved));
    club.talk();
    assert_eq!((club.texts(0), club.membership(1)), (vec!["before".to_owned()], Membership::Left));
}

#[test]
fn who_is_out_is_told_so_when_it_syncs() {
    let mut club = Club::of(2, &[1]);
    club.remove(0, &[1]).unwrap();
    let session_id = Some(club.session_id.clone());
    club.people[1].feed(Input::Sync { request: 9, session_id, scope: SyncScope::Everything });
    club.talk();
    assert_eq!(club.people[1].refused(), Some(ErrorCode::MemberRemoved));
}

#[test]
fn who_was_away_when_it_was_removed_is_told_so() {
    let mut club = Club::of(2, &[1]);
    club.lose_connection(1);
    club.writes(1, "from the train").unwrap();
    club.remove(0, &[1]).unwrap();
    club.write(0, "behind its back").unwrap();
    club.people[1].again(&mut club.rooms);
    assert_eq!((club.membership(1), club.texts(1)), (Membership::Removed, vec![]));
    let unsent = club.people[1].client.unsent(&club.session_id)[0].clone();
    let (status, _) = club.people[1].client.unsent_message(&unsent.message.id).unwrap();
    assert_eq!((unsent.message.ciphertext.as_str(), status), ("from the train", MessageStatus::Failed), "it is not lost");
    // Also after a restart.
    let mut device = again(std::mem::replace(&mut club.people[1], joined(&mut club.rooms, 50, 60)), 70);
    device.talk(&mut club.rooms);
    let view = device.client.session(&club.session_id).unwrap();
    assert_eq!((view.membership, view.name.as_deref()), (Membership::Removed, Some("Walkers")));
}

/// Person 1 was removed, and hears of it: the relay has its "two", of which it has stored no place, and not its "three".
fn removed_behind_an_acknowledged_message() -> Club {
    let mut club = Club::of(3, &[1, 2]);
    // What the others write does not reach it, so its own message has no place in what it has stored.
    club.people[1].bends = Some(|frame| {
        if matches!(frame.body, Body::SyncResponse(_)) {
            frame.body = Body::DeviceList(DeviceList::default());
        }
    });
    club.writes(0, "one").unwrap();
    club.people[0].talk(&mut club.rooms);
    club.write(1, "two").unwrap();
    club.lose_connection(1);
    club.writes(1, "three").unwrap();
    club.remove(0, &[1]).unwrap();
    club.people[1].bends = None;
    club.people[1].again(&mut club.rooms);
    club
}

#[test]
fn what_the_relay_took_is_kept_until_the_log_brings_it() {
    let mut club = removed_behind_an_acknowledged_message();
    assert_eq!((club.membership(1), club.texts(1), club.texts(2)), (Membership::Removed, vec![], vec!["one".into(), "two".into()]));
    let kept: Vec<&str> =
        club.people[1].client.unsent(&club.session_id).into_iter().map(|entry| entry.message.ciphertext.as_str()).collect();
    assert_eq!(kept, ["two", "three"], "no text is lost");
    // The log brings it where its wallet comes in again.
    club.add(0, &[1]).unwrap();
    club.accept(1);
    let kept = club.people[1].client.unsent(&club.session_id).len();
    assert_eq!((club.texts(1), kept), (vec!["one".into(), "two".into()], 1));
}

#[test]
fn what_is_written_after_a_return_was_not_sent_before() {
    let mut club = removed_behind_an_acknowledged_message();
    club.add(0, &[1]).unwrap();
    // It accepts and writes before it reads, and is removed again.
    club.people[1].feed(Input::SetOffline { offline: true });
    club.people[1].feed(Input::AcceptSession { request: 6, session_id: club.session_id.clone() });
    club.writes(1, "four").unwrap();
    club.remove(0, &[1]).unwrap();
    club.people[1].feed(Input::SetOffline { offline: false });
    club.people[1].talk(&mut club.rooms);
    assert_eq!(club.membership(1), Membership::Removed);
    let kept: Vec<&str> =
        club.people[1].client.unsent(&club.session_id).into_iter().map(|entry| entry.message.ciphertext.as_str()).collect();
    assert_eq!(kept, ["two", "three", "four"]);
}

#[test]
fn an_edit_that_waits_is_told_as_failed_when_its_wallet_was_removed() {
    let mut club = Club::of(2, &[1]);
    let (session_id, content_type, message_id, known) = (club.session_id.clone(), None, Some("note".into()), None);
    club.people[1].feed(Input::Send { request: 4, session_id, text: "as it was".into(), content_type, message_id, known });
    club.talk();
    club.people[1].again(&mut club.rooms);
    club.people[1].feed(Input::SetOffline { offline: true });
    let session_id = club.session_id.clone();
    club.people[1].feed(Input::Edit { request: 9, session_id, message_id: "note".into(), text: Some("as it should be".into()) });
    let Some(Ok(Reply::Receipt(receipt))) = club.people[1].replies.pop() else { panic!("it waits") };
    club.remove(0, &[1]).unwrap();
    club.people[1].feed(Input::SetOffline { offline: false });
    club.talk();
    let told = club.people[1].events.iter().find_map(|event| match event {
        Event::StatusChanged { message_id, status: MessageStatus::Failed, error: Some(error), .. } => {
            Some((message_id.clone(), error.code))
        }
        _ => None,
    });
    assert_eq!(told, Some((receipt.message_id, ErrorCode::MemberRemoved)));
    assert!(club.people[1].client.unsent(&club.session_id).is_empty(), "the message shows its text as it was");
}

#[test]
fn who_was_removed_while_its_session_had_stopped_keeps_what_it_has() {
    let mut club = Club::of(3, &[1, 2]);
    club.write(0, "one").unwrap();
    club.write(1, "two").unwrap();
    // A backup without the last message is put back, and not everybody goes on with it.
    let rows = club.rooms.journal.get_mut(&club.session_id).unwrap();
    rows.entries.pop();
    rows.devices.remove(&club.people[1].id());
    club.rooms.restart();
    for person in &mut club.people {
        person.again(&mut club.rooms);
    }
    let stored = club.people[0].parted_logs();
    club.people[0].accept(stored);
    club.people[0].again(&mut club.rooms);
    club.remove(0, &[2]).unwrap();
    assert_eq!(club.membership(2), Membership::Removed);
    let stored = club.people[2].parted_logs();
    club.people[2].accept(stored);
    club.talk();
    assert_eq!((club.membership(2), club.texts(2)), (Membership::Removed, vec!["one".to_owned(), "two".into()]));
}

#[test]
fn who_leaves_is_out_and_an_admin_follows() {
    let mut club = Club::of(3, &[1, 2]);
    club.wish(0, GroupWish::Leave).unwrap();
    assert_eq!((club.membership(0), club.members(1).as_str()), (Membership::Left, "1! 2"));
    club.write(1, "without you").unwrap();
    assert_eq!((club.texts(0), club.texts(2)), (vec![], vec!["without you".to_owned()]));
    assert_eq!(club.people[0].warnings(), []);
    club.add(1, &[0]).unwrap();
    assert_eq!(club.invited(0), [(address(1), Some("Walkers".into()))], "who left is asked again");
    assert_eq!(club.membership(0), Membership::Left);
    club.accept(0);
    assert_eq!((club.membership(0), club.texts(0)), (Membership::Member, vec!["without you".to_owned()]));
    club.write(0, "back").unwrap();
    assert_eq!(club.texts(2), ["without you", "back"]);
}

#[test]
fn other_devices_of_a_wallet_come_in_and_go_with_it() {
    let mut club = Club::of(2, &[1]);
    let second = joined(&mut club.rooms, 1, 30);
    club.people.push(second);
    club.talk();
    assert_eq!(club.members(2), "0! 1", "it is in the session that its wallet has accepted");
    club.write(0, "one").unwrap();
    club.remove(0, &[1]).unwrap();
    club.write(0, "two").unwrap();
    for number in [1, 2] {
        assert_eq!((club.membership(number), club.texts(number)), (Membership::Removed, vec!["one".to_owned()]), "{number}");
    }
}

#[test]
fn who_declines_is_not_asked_before_it_is_added_again() {
    let mut club = Club::of(2, &[]);
    club.add(0, &[1]).unwrap();
    assert_eq!(club.invited(1).len(), 1);
    let session_id = club.session_id.clone();
    club.people[1].feed(Input::DeclineSession { request: 9, session_id });
    club.write(0, "come on").unwrap();
    club.people[1].again(&mut club.rooms);
    club.talk();
    assert_eq!(club.invited(1), []);
    club.remove(0, &[1]).unwrap();
    club.add(0, &[1]).unwrap();
    assert_eq!(club.invited(1).len(), 1);
}

#[test]
fn changes_made_while_offline_are_made_later() {
    let mut club = Club::of(3, &[1]);
    club.lose_connection(0);
    club.wishes(0, GroupWish::Add(vec![address(2)])).unwrap();
    club.wishes(0, GroupWish::SetAdmin(address(2), true)).unwrap();
    assert_eq!((club.members(0).as_str(), club.members(1).as_str()), ("0! 1 2!", "0! 1"));
    club.people[0].again(&mut club.rooms);
    club.talk();
    assert_eq!(club.members(1), "0! 1 2!");
}

#[test]
fn a_change_that_does_not_count_any_more_is_told_and_lost() {
    let mut club = Club::of(3, &[1, 2]);
    club.wish(0, GroupWish::SetAdmin(address(1), true)).unwrap();
    // Both at once: the relay puts the one before the other.
    club.wishes(0, GroupWish::SetAdmin(address(1), false)).unwrap();
    club.wishes(1, GroupWish::Rename("Mine".into())).unwrap();
    club.writes(1, "behind it").unwrap();
    club.talk();
    club.people[1].again(&mut club.rooms);
    club.talk();
    for number in 0..3 {
        assert_eq!((club.members(number).as_str(), club.view(number).name.as_deref()), ("0! 1 2", Some("Walkers")), "{number}");
    }
    assert_eq!((club.texts(0), club.people[1].queued()), (vec!["behind it".to_owned()], 0), "what was written behind it goes on");
    assert_eq!(club.people[1].warnings(), [ErrorCode::NotAnAdmin]);
}

#[test]
fn who_makes_an_admin_of_somebody_who_has_left_goes_on() {
    let mut club = Club::of(3, &[1, 2]);
    club.wish(0, GroupWish::SetAdmin(address(1), true)).unwrap();
    club.wishes(0, GroupWish::Remove(vec![address(2)])).unwrap();
    club.wishes(1, GroupWish::SetAdmin(address(2), true)).unwrap();
    club.writes(1, "behind it").unwrap();
    club.talk();
    club.people[1].again(&mut club.rooms);
    club.talk();
    assert_eq!((club.texts(0), club.people[1].queued()), (vec!["behind it".to_owned()], 0));
    assert_eq!((club.members(1).as_str(), club.people[1].warnings()), ("0! 1!", vec![ErrorCode::NotAMember]));
}

#[test]
fn who_lost_the_log_goes_on_behind_a_change_that_does_not_count() {
    // Who began the group, and who came in.
    for (number, other) in [(0, 1), (1, 0)] {
        let mut club = Club::of(3, &[1, 2]);
        club.wish(0, GroupWish::SetAdmin(address(1), true)).unwrap();
        club.lose_connection(number);
        club.wishes(number as u8, GroupWish::SetAdmin(address(2), true)).unwrap();
        club.writes(number as u8, "behind it").unwrap();
        club.remove(other, &[2]).unwrap();
        club.people[number].records = drawing(Records::default(), number as u8 + 1);
        club.people[number].feed(Input::StoreClosed { error: SyncError::new(ErrorCode::StorageLost, "gone") });
        // Whose devices the others' are is lost too: the refusal comes before the log can be taken.
        let mut device = club.people.remove(number);
        device.records.accounts.clear();
        club.people.insert(number, again(device, 90));
        for _ in 0..4 {
            club.people[number].again(&mut club.rooms);
            club.talk();
        }
        assert_eq!((club.texts(other), club.people[number].queued()), (vec!["behind it".to_owned()], 0), "{number}");
        assert_eq!((club.members(number as u8), club.membership(number as u8)), ("0! 1!".into(), Membership::Member));
    }
}

#[test]
fn an_own_message_is_read_when_all_have_read_it() {
    let mut club = Club::of(3, &[1, 2]);
    club.write(0, "hello").unwrap();
    club.rooms.timeout(50);
    club.talk();
    let status = |club: &Club| {
        let person = &club.people[0];
        let entries = club.entries(0).into_iter().map(|entry| (entry, None)).collect();
        let message = person.client.show(&club.session_id, entries, false).pop().unwrap();
        (message.status, message.read_by.unwrap())
    };
    assert_eq!(status(&club), (MessageStatus::Delivered, vec![]));
    for (number, expected) in [(1, MessageStatus::Delivered), (2, MessageStatus::Read)] {
        let entry = club.entries(number as u8).pop().unwrap();
        let (session_id, message_id, sequence_number) = (club.session_id.clone(), entry.message.id, entry.sequence_number);
        club.people[number].feed(Input::MarkRead { request: 5, session_id, message_id, sequence_number });
        club.talk();
        assert_eq!(status(&club), (expected, (1..=number as u8).map(address).collect()));
    }
    let told = |event: &Event| matches!(event, Event::StatusChanged { status: MessageStatus::Read, .. });
    assert_eq!(club.people[0].events.iter().filter(|event| told(event)).count(), 1);
}

#[test]
fn lists_hear_that_what_is_read_is_there() {
    let mut club = Club::of(3, &[1, 2]);
    club.write(0, "hello").unwrap();
    let entry = club.entries(1).pop().unwrap();
    club.people[0].feed(Input::Observe { observed: true });
    for number in [1, 2] {
        let (session_id, message_id, sequence_number) = (club.session_id.clone(), entry.message.id.clone(), entry.sequence_number);
        club.people[number].feed(Input::MarkRead { request: 5, session_id, message_id, sequence_number });
    }
    club.talk();
    // All have it as soon as the second has read it, though the first receipt of each says that it is read.
    let told = |event: &Event| match event {
        Event::Changed(Change::Receipt { status, all_through, .. }) if *all_through == entry.sequence_number => Some(*status),
        _ => None,
    };
    let told: Vec<ReceiptStatus> = club.people[0].events.iter().filter_map(told).collect();
    assert_eq!(told, [ReceiptStatus::Delivered, ReceiptStatus::Read]);
}

#[test]
fn who_is_removed_keeps_nobodys_message_from_being_read() {
    let mut club = Club::of(3, &[1, 2]);
    club.write(0, "hello").unwrap();
    let entry = club.entries(1).pop().unwrap();
    let (session_id, message_id, sequence_number) = (club.session_id.clone(), entry.message.id.clone(), entry.sequence_number);
    club.people[1].feed(Input::MarkRead { request: 5, session_id, message_id, sequence_number });
    club.talk();
    club.people[0].feed(Input::Observe { observed: true });
    club.remove(0, &[2]).unwrap();
    // What the relay has acknowledged is stored a little later.
    club.people[0].now.monotonic_ms += 100;
    club.people[0].feed(Input::Timeout);
    let told = club.people[0].events.iter().any(|event| {
        let Event::Changed(Change::Receipt { status, all_through, .. }) = event else { return false };
        (*status, *all_through) == (ReceiptStatus::Read, sequence_number)
    });
    assert!(told, "lists hear of it");
    let shown = club.people[0].client.show(&club.session_id, vec![(entry, None)], false).pop().unwrap();
    assert_eq!((shown.status, shown.read_by), (MessageStatus::Read, Some(vec![address(1)])));
}

#[test]
fn what_all_had_stays_so_when_others_come_and_go() {
    let mut club = Club::of(3, &[1]);
    club.write(0, "hello").unwrap();
    club.rooms.timeout(50);
    club.talk();
    let entry = club.entries(0).pop().unwrap();
    let status = |person: &Device| person.client.show(&club.session_id, vec![(entry.clone(), None)], false).pop().unwrap().status;
    assert_eq!(status(&club.people[0]), MessageStatus::Delivered);
    let session_id = club.session_id.clone();
    for wish in [GroupWish::Add(vec![address(2)]), GroupWish::Remove(vec![address(1)])] {
        club.people[0].feed(Input::Regroup { request: 8, session_id: session_id.clone(), wish });
        club.people[0].talk(&mut club.rooms);
        // What the relay has acknowledged is stored a little later.
        club.people[0].now.monotonic_ms += 100;
        club.people[0].feed(Input::Timeout);
    }
    let first = club.people.remove(0);
    assert_eq!((shown(&first.client.session(&session_id).unwrap()), status(&first)), ("0! 2".into(), MessageStatus::Delivered));
    assert_eq!(status(&again(first, 70)), MessageStatus::Delivered, "also after a restart");
}

#[test]
fn who_came_back_has_still_read_for_who_comes_later() {
    let mut club = Club::of(2, &[1]);
    club.remove(0, &[1]).unwrap();
    club.add(0, &[1]).unwrap();
    club.accept(1);
    club.write(0, "hello").unwrap();
    let entry = club.entries(1).pop().unwrap();
    let (session_id, message_id, sequence_number) = (club.session_id.clone(), entry.message.id.clone(), entry.sequence_number);
    club.people[1].feed(Input::MarkRead { request: 5, session_id, message_id, sequence_number });
    club.talk();
    // It hears of receipts before it has the log, in which the reader leaves and comes back.
    let second = joined(&mut club.rooms, 0, 40);
    club.people.push(second);
    club.talk();
    let shown = club.people[2].client.show(&club.session_id, vec![(entry, None)], false).pop().unwrap();
    assert_eq!((shown.status, shown.read_by), (MessageStatus::Read, Some(vec![address(1)])));
}

#[test]
fn a_group_that_the_relay_does_not_know_is_left() {
    let mut club = Club::of(2, &[]);
    club.add(0, &[1]).unwrap();
    // A relay that was set back has forgotten it.
    club.rooms.journal.remove(&club.session_id);
    club.rooms.restart();
    club.people[1].feed(Input::AcceptSession { request: 3, session_id: club.session_id.clone() });
    assert_eq!(club.writes(1, "waits"), Ok(()));
    club.people[1].is_connected = false;
    let generation = club.people[1].generation;
    club.people[1].feed(Input::Disconnected { generation, reason: "gone".into() });
    club.people[1].again(&mut club.rooms);
    assert_eq!(club.membership(1), Membership::Removed);
    assert_eq!(club.writes(1, "more"), Err(ErrorCode::MemberRemoved), "nothing waits for ever");
    let unsent = club.people[1].client.show(&club.session_id, vec![], true);
    assert_eq!(
        unsent.into_iter().map(|message| (message.text, message.status)).collect::<Vec<_>>(),
        [("waits".into(), MessageStatus::Failed)]
    );
}

#[test]
fn who_leaves_has_the_lists_know_what_the_others_have() {
    let mut club = Club::of(3, &[1, 2]);
    club.people[0].feed(Input::Observe { observed: true });
    club.write(0, "hello").unwrap();
    let store = |club: &mut Club| {
        // What the relay has acknowledged is stored a little later.
        club.people[0].now.monotonic_ms += 100;
        club.people[0].feed(Input::Timeout);
    };
    store(&mut club);
    let entry = club.entries(1).pop().unwrap();
    let (session_id, message_id, sequence_number) = (club.session_id.clone(), entry.message.id, entry.sequence_number);
    club.people[1].feed(Input::MarkRead { request: 5, session_id: session_id.clone(), message_id: message_id.clone(), sequence_number });
    club.people[0].feed(Input::MarkRead { request: 6, session_id, message_id, sequence_number });
    club.talk();
    let reached = |events: &[Event]| {
        let told = events.iter().filter_map(|event| match event {
            Event::Changed(Change::Receipt { status: ReceiptStatus::Read, all_through, .. }) => Some(*all_through),
            _ => None,
        });
        told.max()
    };
    assert_eq!(reached(&club.people[0].events), Some(0), "what the own wallet has read is not what all others have");
    club.remove(0, &[2]).unwrap();
    store(&mut club);
    assert_eq!(reached(&club.people[0].events), Some(sequence_number));
}

#[test]
fn a_new_member_reads_all_from_the_beginning() {
    let mut club = Club::of(3, &[1]);
    club.write(0, "one").unwrap();
    club.write(1, "two").unwrap();
    club.add(0, &[2]).unwrap();
    club.accept(2);
    assert_eq!((club.texts(2), club.members(2).as_str()), (vec!["one".to_owned(), "two".into()], "0! 1 2"));
}

#[test]
fn the_relay_knows_a_group_after_a_restart() {
    let mut club = Club::of(4, &[1, 2]);
    club.remove(0, &[2]).unwrap();
    club.rooms.restart();
    for person in &mut club.people {
        person.is_connected = false;
        let generation = person.generation;
        person.feed(Input::Disconnected { generation, reason: "lost".into() });
        person.again(&mut club.rooms);
    }
    club.talk();
    club.write(1, "after").unwrap();
    assert_eq!((club.texts(0), club.texts(2)), (vec!["after".to_owned()], vec![]));
    club.add(0, &[3]).unwrap();
    club.accept(3);
    assert_eq!(club.members(3), "0! 1 3");
}

#[test]
fn without_signing_in_there_are_no_groups() {
    let mut device = Device::of(groups::wallet(0), memory::Records::default(), Default::default(), 1);
    assert_eq!(begin(&mut device, "Walkers", &[1]).unwrap_err().code, ErrorCode::SignInRequired);
    for (name, others, code) in [("", &[1][..], ErrorCode::InvalidArgument), ("x", &[1, 1], ErrorCode::InvalidArgument)] {
        let mut device = joined(&mut strict(), 0, 1);
        assert_eq!(begin(&mut device, name, others).unwrap_err().code, code);
    }
    // The same where the relay lets strangers in, and the wallet has not signed.
    let mut rooms = Rooms::over(|| relay(false));
    let mut device = Device::of(groups::wallet(0), signer::drawing(memory::Records::default(), 1), signer::config(), 1);
    device.talk(&mut rooms);
    begin(&mut device, "Walkers", &[1]).unwrap();
    device.talk(&mut rooms);
    assert_eq!(device.needed(), [None]);
    device.sign();
    device.talk(&mut rooms);
    assert_eq!(device.queued(), 0, "it begins when the wallet has signed");
}

#[test]
fn a_session_of_two_stays_of_two() {
    let mut rooms = strict();
    let mut device = joined(&mut rooms, 0, 1);
    device.feed(Input::OpenSession { request: 2, peer_wallet: address(1) });
    device.replies.clear();
    let session_id = device.client.sessions()[0].session_id.clone();
    assert_eq!((device.client.sessions()[0].kind, shown(&device.client.sessions()[0])), (SessionKind::Pair, "0 1".into()));
    device.feed(Input::Regroup { request: 3, session_id, wish: GroupWish::Add(vec![address(2)]) });
    assert_eq!(device.refused(), Some(ErrorCode::InvalidArgument));
}

#[test]
fn what_a_relay_took_of_no_member_is_not_shown() {
    let mut club = Club::of(3, &[1]);
    club.write(0, "one").unwrap();
    // A relay that lies has an entry of wallet 2, which is not in the group, and one by which that wallet adds itself. Its device signs.
    let liar = club.people[2].id();
    let secret = club.people[2].records.identity.as_ref().unwrap().secret.clone();
    let (key, seen) = (DeviceKey::from_secret(&secret.try_into().unwrap()), Log::new(&club.session_id).log_head());
    let rows = club.rooms.journal.get_mut(&club.session_id).unwrap();
    let mut log = Log::new(&club.session_id);
    rows.entries.iter().for_each(|stored| log.take(&stored.body.entries().unwrap()[0]).unwrap());
    let messages = [Message { ciphertext: "hello".into(), ..Message::default() }, Statement::Add(vec![address(2)]).message()];
    for (message, counter) in messages.into_iter().zip(1..) {
        let id = message_id(&club.session_id, &liar, "start0", counter);
        let message = Message { id, sender_wallet: address(2), session_id: club.session_id.clone(), ..message };
        let entry = Entry { message, device_id: liar.clone(), counter, sequence_number: log.end() + 1, ..Entry::default() };
        log.take(&entry).unwrap();
        let (sequence, body) = (entry.sequence_number, Batch::of(&[entry]).unwrap());
        rows.entries.push(StoredEntry {
            sequence,
            device_id: liar.clone(),
            counter,
            key: None,
            log_hash: log.hash(),
            signature: Some(UpdateSignature::sign(&key, &club.session_id, counter, &log.digest(&club.session_id, &liar), seen)),
            body,
        });
    }
    club.rooms.restart();
    let person = &mut club.people[1];
    person.is_connected = false;
    let generation = person.generation;
    person.feed(Input::Disconnected { generation, reason: "lost".into() });
    person.again(&mut club.rooms);
    assert_eq!(club.entries(1).len() as u64, log.end(), "it has the log as the relay has it");
    assert_eq!((club.texts(1), club.members(1).as_str()), (vec!["one".to_owned()], "0! 1"));
    let heard = |event: &Event| matches!(event, Event::MessageReceived { entry, .. } if entry.device_id == liar);
    assert!(!club.people[1].events.iter().any(heard));
}
