//! The account keys of a wallet's devices: made, handed over, renewed and kept by the machines of devices and relay.

use crate::signer;
use std::collections::VecDeque;

use crate::account::{DOMAIN, owner, wallet};
use crate::memory::Records;
use crate::rooms::Rooms;
use crate::signer::{Device, all_talk, config, drawing, strict};
use solconnect_sync_core::client::{ClientConfig, Input, Reply};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, ErrorBody, Head, SyncHeartbeat};
use solconnect_sync_core::identity::{Account, Purpose};
use solconnect_sync_core::relay::JournalQuestion;

fn approving() -> ClientConfig {
    ClientConfig { approves_devices: true, ..config() }
}

/// A device that encrypts and has signed in.
fn joined(rooms: &mut Rooms, number: u8, config: ClientConfig) -> Device {
    let mut device = Device::encrypting(wallet(), drawing(Records::default(), number), config, number);
    device.talk(rooms);
    device.sign();
    device.talk(rooms);
    device
}

/// It starts again over what it has stored.
fn again(device: Device, number: u8) -> Device {
    Device::encrypting(device.wallet, drawing(device.records, number), config(), number)
}

/// The account as the relay's journal has it.
fn account_of(rooms: &Rooms) -> Account {
    let mut account = Account::new(owner(DOMAIN));
    for stored in &rooms.journal[&owner(DOMAIN).account_id].entries {
        account.take(&stored.body.entries().unwrap()[0]).unwrap().unwrap();
    }
    account
}

/// The generations that a device can read with.
fn known(device: &Device) -> Vec<u64> {
    device.client.account_keys()
}

fn remove(device: &mut Device, rooms: &mut Rooms, device_id: String) {
    device.feed(Input::RemoveDevice { request: 7, device_id });
    device.talk(rooms);
    assert_eq!(device.replies.pop(), Some(Ok(Reply::Done)));
}

#[test]
fn the_first_device_makes_the_account_key_by_itself() {
    let mut rooms = strict();
    let device = joined(&mut rooms, 1, config());
    let account = account_of(&rooms);
    assert_eq!((account.head().sequence, account.generations().len()), (3, 1), "joined, seal key, account key");
    assert_eq!(known(&device), [1]);
    assert_eq!(known(&again(device, 50)), [1], "also after a restart");
}

#[test]
fn nobody_who_does_not_encrypt_makes_a_key() {
    let mut rooms = strict();
    let device = Device::joined(1, &mut rooms);
    assert_eq!((account_of(&rooms).head().sequence, known(&device)), (1, vec![]));
}

#[test]
fn who_is_approved_has_the_account_key() {
    let mut rooms = strict();
    let mut one = joined(&mut rooms, 1, config());
    let mut other = joined(&mut rooms, 2, config());
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    assert_eq!(known(&other), [] as [u64; 0], "a person says first that it is one of theirs");
    one.feed(Input::ApproveDevice { request: 7, device_id: other.id() });
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    assert_eq!((known(&one), known(&other)), (vec![1], vec![1]));
    assert_eq!(account_of(&rooms).generations().len(), 1);
}

#[test]
fn where_nobody_is_to_be_asked_devices_are_approved_at_once() {
    let mut rooms = strict();
    let mut one = joined(&mut rooms, 1, approving());
    let mut other = joined(&mut rooms, 2, approving());
    let mut third = joined(&mut rooms, 3, approving());
    all_talk(&mut rooms, &mut [&mut one, &mut other, &mut third]);
    assert_eq!([&one, &other, &third].map(known), [[1], [1], [1]]);
}

#[test]
fn who_removes_a_device_makes_a_key_that_it_does_not_have() {
    let mut rooms = strict();
    let mut one = joined(&mut rooms, 1, approving());
    let mut other = joined(&mut rooms, 2, config());
    let mut third = joined(&mut rooms, 3, config());
    all_talk(&mut rooms, &mut [&mut one, &mut other, &mut third]);
    remove(&mut one, &mut rooms, other.id());
    all_talk(&mut rooms, &mut [&mut one, &mut other, &mut third]);
    assert_eq!((known(&one), known(&third)), (vec![1, 2], vec![1, 2]));
    let account = account_of(&rooms);
    assert_eq!(account.generation_at(account.head().sequence).map(|key| key.number), Some(2), "in the entry that removes it");
    assert_eq!(known(&other), [] as [u64; 0], "it forgets what it had");
}

#[test]
fn a_removal_by_who_makes_no_key_is_followed_by_one() {
    let mut rooms = strict();
    let mut one = joined(&mut rooms, 1, approving());
    let mut other = joined(&mut rooms, 2, config());
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    assert_eq!(known(&other), [1]);
    // It removes itself.
    let own = other.id();
    remove(&mut other, &mut rooms, own);
    one.talk(&mut rooms);
    assert_eq!((known(&one), account_of(&rooms).generations().len()), (vec![1, 2], 2));
}

#[test]
fn behind_a_reset_there_is_another_key() {
    let mut rooms = strict();
    let mut one = joined(&mut rooms, 1, config());
    let mut other = joined(&mut rooms, 2, config());
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    let certificate = other.signed(Purpose::Reset);
    other.feed(Input::Certify { request: 3, certificate });
    other.again(&mut rooms);
    one.talk(&mut rooms);
    assert_eq!(known(&other), [2], "what was before is not for who only has the wallet");
}

#[test]
fn a_copy_goes_on_with_the_account_keys_that_it_has() {
    let mut rooms = strict();
    let mut one = joined(&mut rooms, 1, config());
    one.feed(Input::OpenSession { request: 2, peer_wallet: signer::PEER.into() });
    one.talk(&mut rooms);
    let mut copy = Device::encrypting(wallet(), drawing(one.records.clone(), 60), config(), 60);
    copy.talk(&mut rooms);
    one.send("one");
    one.talk(&mut rooms);
    copy.send("another");
    copy.talk(&mut rooms);
    for _ in 0..3 {
        copy.again(&mut rooms);
        all_talk(&mut rooms, &mut [&mut one, &mut copy]);
    }
    assert_ne!(copy.id(), one.id());
    assert!(known(&copy).contains(&1), "{:?}", known(&copy));
    assert_eq!(known(&one), known(&copy), "each has what the other makes");
}

#[test]
fn who_comes_later_has_the_earlier_keys_too() {
    let mut rooms = strict();
    let mut one = joined(&mut rooms, 1, approving());
    let mut other = joined(&mut rooms, 2, config());
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    remove(&mut one, &mut rooms, other.id());
    let mut third = joined(&mut rooms, 3, config());
    all_talk(&mut rooms, &mut [&mut one, &mut third]);
    assert_eq!(known(&third), [1, 2], "it reads what was written before it was there");
}

#[test]
fn what_the_relay_could_not_store_of_keys_is_said_again() {
    let mut rooms = strict();
    rooms.held = Some(VecDeque::new());
    let mut device = Device::encrypting(wallet(), drawing(Records::default(), 1), config(), 1);
    device.talk(&mut rooms);
    device.sign();
    device.talk(&mut rooms);
    // It is listed, and what it says of its seal key cannot be stored.
    let mut appends = 0;
    while let Some((_, question)) = rooms.held.as_ref().and_then(VecDeque::front) {
        appends += usize::from(matches!(question, JournalQuestion::Append { .. }));
        rooms.answer(appends == 2);
        device.talk(&mut rooms);
    }
    rooms.held = None;
    assert_eq!(appends, 2);
    assert!(known(&device).is_empty());
    device.now.monotonic_ms += 60_000;
    device.feed(Input::Timeout);
    device.talk(&mut rooms);
    assert_eq!(known(&device), [1]);
}

#[test]
fn who_was_quicker_with_the_account_is_no_warning() {
    let mut rooms = strict();
    let mut phone = joined(&mut rooms, 1, config());
    phone.events.clear();
    // What is refused was said before the account moved, and is awaited no more.
    phone.bends = Some(|frame| {
        if matches!(frame.body, Body::SessionList(_)) {
            let error = SyncError::new(ErrorCode::AccountMoved, "another was quicker");
            frame.body = Body::Error(ErrorBody { in_reply_to: Some("0-1".into()), ..ErrorBody::new(&error) });
        }
    });
    phone.again(&mut rooms);
    assert!(phone.heard.iter().any(|frame| matches!(&frame.body, Body::Error(error) if error.code == ErrorCode::AccountMoved)));
    assert_eq!(phone.warnings(), []);
}

#[test]
fn a_relay_that_leaves_a_duty_unanswered_is_asked_less_and_less() {
    let mut rooms = strict();
    let mut device = Device::encrypting(wallet(), drawing(Records::default(), 1), config(), 1);
    device.talk(&mut rooms);
    device.says = Some(Box::new(|frame| {
        if matches!(frame.body, Body::SyncUpdate(_)) {
            (frame.head, frame.body) = (Head::default(), Body::SyncHeartbeat(SyncHeartbeat::default()));
        }
    }));
    device.sign();
    let begun = device.generation;
    for _ in 0..6_000 {
        device.talk(&mut rooms);
        device.now.monotonic_ms += 100;
        device.now.wall_ms += 100;
        device.feed(Input::Timeout);
        rooms.timeout(100);
    }
    assert!(device.generation - begun < 30, "{} connections in 10 minutes", device.generation - begun);
}
