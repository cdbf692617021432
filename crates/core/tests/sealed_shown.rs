//! What an application is told of a session's encryption.

use std::collections::BTreeSet;

use crate::memory::Records;
use crate::rooms::Rooms;
use crate::sealed::{address, again, approving, joined, open, pair, settle, texts, wallet, write};
use crate::signer::{Device, config, drawing, strict};
use solconnect_sync_core::client::{Change, EncryptionMode, EncryptionView, EpochMemberView, Event, GroupWish, Input, Reply, SyncScope};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, SyncHeartbeat};
use solconnect_sync_core::identity::Purpose;
use solconnect_sync_core::message::Kind;

fn shown(device: &Device, session_id: &str) -> EncryptionView {
    device.client.encryption(session_id).expect("a session that is stored")
}

/// What is told of a wallet: the generation, and how many approved devices it has.
fn member(device: &Device, session_id: &str, person: u8) -> (Option<u64>, Option<u64>) {
    let EpochMemberView { generation, approved_device_count, .. } =
        shown(device, session_id).members.into_iter().find(|member| member.wallet == address(person)).expect("a member");
    (generation, approved_device_count)
}

/// How often it was told that something has changed, since it was asked last.
fn told(device: &mut Device) -> usize {
    std::mem::take(&mut device.events).iter().filter(|event| matches!(event, Event::EncryptionChanged { .. })).count()
}

/// One more device of a person, which asks before it is approved.
fn asking(rooms: &mut Rooms, person: u8, number: u8) -> Device {
    let mut device = Device::encrypting(wallet(person), drawing(Records::default(), number), config(), number);
    device.talk(rooms);
    device.sign();
    device.talk(rooms);
    device
}

#[test]
fn an_epoch_and_its_members_are_shown() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let before = shown(&alice, &session_id);
    assert_eq!((before.encryption, before.epoch, before.missing), (EncryptionMode::Required, None, None));
    assert_eq!(member(&alice, &session_id, 1), (None, None), "nothing is known of who was not asked for");
    told(&mut alice);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    for device in [&mut alice, &mut bob] {
        let now = shown(device, &session_id);
        let epoch = now.epoch.unwrap();
        assert_eq!((epoch.number, now.missing, now.members.len()), (1, None, 2));
        assert!(epoch.began_at > 0);
        assert_eq!([0, 1].map(|person| member(device, &session_id, person)), [(Some(1), Some(1)); 2]);
        assert!(told(device) >= 1);
    }
    let stored = shown(&alice, &session_id);
    assert_eq!(shown(&again(alice, 60), &session_id).epoch, stored.epoch, "it is known after a new start");
}

#[test]
fn that_a_device_of_others_was_approved_is_known_when_it_writes() {
    let mut rooms = strict();
    let (mut alice, mut bob) = (asking(&mut rooms, 0, 1), joined(&mut rooms, 1, 2));
    let session_id = open(&mut alice, 1);
    open(&mut bob, 0);
    let mut phone = asking(&mut rooms, 0, 3);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    open(&mut phone, 1);
    write(&mut phone, &session_id, "from a phone that waits");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(member(&bob, &session_id, 0).1, Some(1));
    alice.feed(Input::ApproveDevice { request: 7, device_id: phone.id() });
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    told(&mut bob);
    write(&mut phone, &session_id, "approved");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!((member(&bob, &session_id, 0).1, told(&mut bob) > 0), (Some(2), true));
}

#[test]
fn who_left_a_group_lacks_what_is_new() {
    let mut rooms = strict();
    let (mut alice, mut bob) = (joined(&mut rooms, 0, 1), joined(&mut rooms, 1, 2));
    alice.feed(Input::OpenGroup { request: 3, name: "Walkers".into(), members: vec![address(1)] });
    let Some(Ok(Reply::Session(view))) = alice.replies.pop() else { panic!("a group") };
    write(&mut alice, &view.session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    bob.feed(Input::AcceptSession { request: 4, session_id: view.session_id.clone() });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(shown(&bob, &view.session_id).missing, None);
    alice.feed(Input::Regroup { request: 5, session_id: view.session_id.clone(), wish: GroupWish::Remove(vec![address(1)]) });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(shown(&bob, &view.session_id).missing, Some(ErrorCode::MemberRemoved));
}

#[test]
fn a_page_that_opens_hears_of_devices_that_wait() {
    let mut rooms = strict();
    let mut alice = asking(&mut rooms, 0, 1);
    let mut phone = asking(&mut rooms, 0, 3);
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    let now = alice.now;
    let mut alice = Device::encrypting(wallet(0), drawing(alice.records, 51), config(), 51);
    alice.now = now;
    let requests = alice.events.iter().filter(|event| matches!(event, Event::DeviceRequest { device } if device.id == phone.id())).count();
    assert_eq!(requests, 1);
}

#[test]
fn a_device_that_waits_is_told_what_is_missing() {
    let mut rooms = strict();
    let mut alice = asking(&mut rooms, 0, 1);
    let mut bob = joined(&mut rooms, 1, 2);
    let session_id = open(&mut alice, 1);
    open(&mut bob, 0);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let mut phone = asking(&mut rooms, 0, 3);
    open(&mut phone, 1);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(shown(&phone, &session_id).missing, Some(ErrorCode::DeviceNotApproved));
    assert_eq!((member(&alice, &session_id, 0), texts(&phone, &session_id).len()), ((Some(1), Some(1)), 0));
    told(&mut phone);
    alice.approve(&phone.id());
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!((shown(&phone, &session_id).missing, texts(&phone, &session_id)), (None, vec!["one".to_owned()]));
    assert!(told(&mut phone) >= 1);
    assert_eq!(member(&alice, &session_id, 0), (Some(1), Some(2)));

    alice.remove(&phone.id());
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(shown(&phone, &session_id).missing, Some(ErrorCode::DeviceRemoved));
    write(&mut bob, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!((member(&alice, &session_id, 0), shown(&alice, &session_id).epoch.unwrap().number), ((Some(2), Some(1)), 3));
}

#[test]
fn who_was_never_here_is_shown_to_read_nothing_yet() {
    let mut rooms = strict();
    let mut alice = joined(&mut rooms, 0, 1);
    settle(&mut rooms, &mut [&mut alice]);
    let session_id = open(&mut alice, 1);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice]);
    assert_eq!(member(&alice, &session_id, 1), (Some(0), None));
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut bob]);
    assert_eq!((shown(&bob, &session_id).missing, shown(&bob, &session_id).unread_epoch_count), (None, 1), "it reads what comes");
    told(&mut bob);
    // Who can read gives it the key.
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!((shown(&bob, &session_id).missing, shown(&bob, &session_id).unread_epoch_count), (None, 0));
    assert_eq!(member(&alice, &session_id, 1), (Some(1), Some(1)));
    assert!(told(&mut bob) >= 1);
    assert_eq!(texts(&bob, &session_id), ["one"]);
}

#[test]
fn who_gets_its_first_account_key_is_told() {
    let mut rooms = strict();
    let mut alice = Device::encrypting(wallet(0), drawing(Records::default(), 1), config(), 1);
    alice.talk(&mut rooms);
    let session_id = open(&mut alice, 1);
    assert_eq!(shown(&alice, &session_id).missing, Some(ErrorCode::SignInRequired));
    alice.sign();
    assert_eq!(shown(&alice, &session_id).missing, Some(ErrorCode::AccountKeyMissing));
    told(&mut alice);
    settle(&mut rooms, &mut [&mut alice]);
    assert_eq!((shown(&alice, &session_id).missing, told(&mut alice)), (None, 1));
}

#[test]
fn a_session_in_clear_is_shown_as_such() {
    let mut rooms = strict();
    let mut alice = Device::new(1);
    alice.talk(&mut rooms);
    alice.sign();
    alice.talk(&mut rooms);
    alice.feed(Input::OpenSession { request: 2, peer_wallet: address(1) });
    let session_id = alice.client.sessions()[0].session_id.clone();
    let off = EncryptionView {
        encryption: EncryptionMode::Off,
        epoch: None,
        members: vec![],
        unread_epoch_count: 0,
        lost_epoch_count: 0,
        missing: None,
    };
    assert_eq!((shown(&alice, &session_id), alice.client.encryption("none")), (off, None));
}

/// How many epochs wait for a key, and how many for one that never comes.
fn unread(device: &Device, session_id: &str) -> (u64, u64) {
    let EncryptionView { unread_epoch_count, lost_epoch_count, .. } = shown(device, session_id);
    (unread_epoch_count, lost_epoch_count)
}

/// A device of a person that is the only one from now on.
fn alone(rooms: &mut Rooms, person: u8, number: u8) -> Device {
    let mut device = joined(rooms, person, number);
    let certificate = device.signed(Purpose::Reset);
    device.feed(Input::Certify { request: 3, certificate });
    settle(rooms, &mut [&mut device]);
    device.again(rooms);
    device
}

#[test]
fn behind_a_reset_what_was_written_before_is_shown_as_lost() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    bob.feed(Input::SetOffline { offline: true });
    let mut phone = alone(&mut rooms, 1, 3);
    open(&mut phone, 0);
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    assert_eq!((unread(&phone, &session_id), texts(&phone, &session_id).len()), ((0, 1), 0));
    write(&mut alice, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    assert_eq!((unread(&phone, &session_id), texts(&phone, &session_id)), ((0, 1), vec!["two".to_owned()]), "it never comes");
    assert_eq!(unread(&again(phone, 60), &session_id), (0, 1), "it is known after a new start");
    assert_eq!(unread(&alice, &session_id), (0, 0));
}

#[test]
fn what_was_sealed_to_nobody_before_a_reset_is_lost() {
    let mut rooms = strict();
    let mut alice = joined(&mut rooms, 0, 1);
    settle(&mut rooms, &mut [&mut alice]);
    let session_id = open(&mut alice, 1);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice]);
    alice.feed(Input::SetOffline { offline: true });
    let mut bob = joined(&mut rooms, 1, 2);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut bob]);
    assert_eq!(unread(&bob, &session_id), (1, 0), "it comes, when Alice is here");
    let mut phone = alone(&mut rooms, 1, 3);
    open(&mut phone, 0);
    settle(&mut rooms, &mut [&mut phone]);
    // So was what the first device began: Alice gives neither to somebody behind a reset.
    assert_eq!(unread(&again(phone, 60), &session_id), (0, 2));
}

#[test]
fn an_approved_device_keeps_what_it_reads_through_a_reset() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let certificate = bob.signed(Purpose::Reset);
    bob.feed(Input::Certify { request: 3, certificate });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    bob.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!((unread(&bob, &session_id), shown(&bob, &session_id).missing), ((0, 0), None));
    // The wallet signs for the next device behind the reset.
    let mut phone = Device::encrypting(wallet(1), drawing(Records::default(), 3), approving(), 3);
    phone.now = bob.now;
    phone.talk(&mut rooms);
    phone.sign();
    phone.talk(&mut rooms);
    open(&mut phone, 0);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!((unread(&phone, &session_id), texts(&phone, &session_id)), ((0, 0), vec!["one".to_owned()]), "it gives the key to the next");
}

#[test]
fn only_what_people_wrote_waits_and_has_a_status() {
    let mut rooms = strict();
    let (mut alice, _, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    write(&mut alice, &session_id, "two");
    let written: BTreeSet<String> = alice.client.unsent(&session_id).into_iter().map(|entry| entry.message.id.clone()).collect();
    // The epoch is stored and on its way, and does not arrive.
    alice.says = Some(Box::new(|frame| {
        if matches!(frame.body, Body::SyncUpdate(_)) {
            frame.body = Body::SyncHeartbeat(SyncHeartbeat::default());
        }
    }));
    alice.feed(Input::Observe { observed: true });
    alice.talk(&mut rooms);
    let waiting = |device: &Device| device.client.unsent(&session_id).into_iter().cloned().collect::<Vec<Entry>>();
    let kinds: Vec<Kind> = waiting(&alice).iter().map(|entry| entry.message.kind).collect();
    assert_eq!(kinds, [Kind::EPOCH, Kind::MESSAGE, Kind::MESSAGE]);
    let counted = |device: &Device| {
        let (status, session) = (device.client.sync_status(), device.client.session(&session_id).unwrap());
        (status.queued_message_count, session.queued_message_count, device.client.stats(&session_id).unwrap().pending_messages)
    };
    assert_eq!(counted(&alice), (2, 2, 2));
    let epoch = waiting(&alice)[0].message.id.clone();
    assert_eq!(alice.client.unsent_message(&epoch), None, "an epoch is no message");
    alice.feed(Input::Cancel { request: 5, message_id: epoch });
    assert_eq!(alice.refused(), Some(ErrorCode::UnknownMessage));

    alice.says = None;
    alice.is_connected = false;
    alice.feed(Input::Disconnected { generation: alice.generation, reason: "lost".into() });
    let mut alice = again(alice, 60);
    assert_eq!(counted(&alice), (2, 2, 2));
    let told = alice.events.len();
    alice.feed(Input::Sync { request: 6, session_id: Some(session_id.clone()), scope: SyncScope::Outbox });
    settle(&mut rooms, &mut [&mut alice]);
    assert_eq!((counted(&alice), alice.replies.pop()), ((0, 0, 0), Some(Ok(Reply::Count(2)))));
    let of = |event: &Event| match event {
        Event::StatusChanged { message_id, .. } | Event::Changed(Change::Status { message_id, .. }) => Some(message_id.clone()),
        _ => None,
    };
    let named: BTreeSet<String> = alice.events[told..].iter().filter_map(of).collect();
    assert_eq!(named, written, "of nothing else it is told how far it is");
}
