//! Recovery codes and passkeys: a device comes back by one, with no other device there, and by no other way than the account allows.

use std::collections::VecDeque;

use crate::account::DOMAIN;
use crate::memory::Records;
use crate::rooms::Rooms;
use crate::sealed;
use crate::sealed::{open, pair, relay_knows, settle, texts, wallet, write};
use crate::signer::{Device, config, drawing, strict};
use solconnect_sync_core::client::vault::Secret;
use solconnect_sync_core::client::{Event, Input, RecoveryKeyView, RecoveryView, Reply, Write};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Frame};
use solconnect_sync_core::identity::{DomainSet, Owner, Purpose};
use solconnect_sync_core::limits::{ACCOUNT_CHANGES_KEPT, ACCOUNT_CHANGES_MAX, ACCOUNT_DEVICES_MAX};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A device that signs in and waits to be approved.
fn waiting(rooms: &mut Rooms, number: u8) -> Device {
    let mut device = Device::encrypting(wallet(0), drawing(Records::default(), number), config(), number);
    device.talk(rooms);
    device.sign();
    device.talk(rooms);
    device
}

/// A code that this device has made.
fn code_of(device: &mut Device, rooms: &mut Rooms) -> String {
    device.feed(Input::CreateRecoveryCode { request: 20 });
    device.talk(rooms);
    match device.replies.pop() {
        Some(Ok(Reply::RecoveryCode(code))) => code,
        other => panic!("{other:?}"),
    }
}

/// What comes of a code that is typed here.
fn recover(device: &mut Device, rooms: &mut Rooms, code: &str) -> Option<ErrorCode> {
    device.feed(Input::Recover { request: 21, code: code.into() });
    device.talk(rooms);
    device.refused()
}

/// Alice with a session and a code; her only device is gone when this returns, as is Bob's.
fn lost(rooms: &mut Rooms) -> (String, String) {
    let (mut alice, mut bob, session_id) = pair(rooms);
    write(&mut alice, &session_id, "one");
    settle(rooms, &mut [&mut alice, &mut bob]);
    write(&mut bob, &session_id, "two");
    settle(rooms, &mut [&mut alice, &mut bob]);
    (code_of(&mut alice, rooms), session_id)
}

/// What it was told of what the account can be come back to by.
fn told(device: &Device) -> Vec<RecoveryView> {
    let told = device.events.iter().filter_map(|event| if let Event::RecoveryChanged { recovery } = event { Some(recovery) } else { None });
    told.cloned().collect()
}

/// The device reads all that was written there.
fn reads(rooms: &mut Rooms, device: &mut Device, session_id: &str) {
    open(device, 1);
    settle(rooms, &mut [&mut *device]);
    assert_eq!(texts(device, session_id), ["one", "two"]);
}

/// How many entries the log of Alice's account has.
fn claims(rooms: &Rooms) -> usize {
    let domains = DomainSet::new(vec![DOMAIN.into()]).unwrap();
    rooms.journal[&Owner::new(&sealed::address(0), domains).unwrap().account_id].entries.len()
}

#[test]
fn a_code_alone_brings_the_whole_history_to_a_new_device() {
    let mut rooms = strict();
    let (code, session_id) = lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    assert_eq!(phone.client.account_keys(), [] as [u64; 0]);
    assert_eq!(recover(&mut phone, &mut rooms, &code), None);
    assert!(phone.client.account_devices()[1].is_approved);
    reads(&mut rooms, &mut phone, &session_id);
    let again = Device::encrypting(wallet(0), drawing(phone.records.clone(), 50), config(), 50);
    assert_eq!(again.client.account_keys(), [1, 2], "also after a restart");
    assert!(!relay_knows(&rooms, &code) && !relay_knows(&rooms, &code.replace('-', "")));
}

#[test]
fn a_code_is_typed_as_people_type() {
    let mut rooms = strict();
    let (code, _) = lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    let typed = format!(" {} ", code.to_lowercase().replace('-', " "));
    assert_eq!(recover(&mut phone, &mut rooms, &typed), None);
    assert_eq!(phone.client.account_keys(), [1, 2]);
}

#[test]
fn a_mistyped_code_is_refused_before_anything_is_said() {
    let mut rooms = strict();
    let (code, _) = lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    phone.talk(&mut rooms);
    let other = |typed: char| if typed == 'A' { 'B' } else { 'A' };
    let wrong = code.chars().enumerate().filter(|(_, typed)| *typed != '-');
    let wrong: Vec<String> = wrong.map(|(place, typed)| format!("{}{}{}", &code[..place], other(typed), &code[place + 1..])).collect();
    for typed in wrong.into_iter().chain([code[1..].to_owned(), format!("{code}0"), String::new(), code.replace('-', "_")]) {
        phone.feed(Input::Recover { request: 21, code: typed.clone() });
        assert!(phone.sent.is_empty(), "{typed}");
        assert_eq!(phone.refused(), Some(ErrorCode::InvalidRecoveryCode), "{typed}");
    }
    phone.feed(Input::Recover { request: 21, code: code[1..].into() });
    let error = phone.replies.pop().unwrap().unwrap_err();
    assert!(error.message.contains("27 characters"), "{}", error.message);
}

#[test]
fn a_code_that_the_account_never_had_is_refused() {
    let mut rooms = strict();
    lost(&mut rooms);
    // A code of another wallet, which is well formed.
    let mut bob = Device::encrypting(wallet(1), drawing(Records::default(), 7), sealed::approving(), 7);
    bob.talk(&mut rooms);
    let certificate = bob.signed(Purpose::Reset);
    bob.feed(Input::Certify { request: 3, certificate });
    bob.again(&mut rooms);
    bob.replies.clear();
    let of_bob = code_of(&mut bob, &mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    let before = claims(&rooms);
    assert_eq!(recover(&mut phone, &mut rooms, &of_bob), Some(ErrorCode::UnknownRecoveryCode));
    assert_eq!((claims(&rooms), phone.client.account_keys()), (before, vec![]));
}

#[test]
fn a_new_code_takes_the_place_of_the_one_before() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    let first = code_of(&mut alice, &mut rooms);
    let second = code_of(&mut alice, &mut rooms);
    assert_ne!(first, second);
    let mut phone = waiting(&mut rooms, 3);
    assert_eq!(recover(&mut phone, &mut rooms, &first), Some(ErrorCode::UnknownRecoveryCode));
    assert_eq!(recover(&mut phone, &mut rooms, &second), None);
    alice.talk(&mut rooms);
    assert_eq!((alice.client.account_keys(), phone.client.account_keys()), (vec![1, 2, 3], vec![1, 2, 3]));
}

#[test]
fn who_came_back_by_a_code_stays_when_it_is_replaced() {
    let mut rooms = strict();
    let (code, _) = lost(&mut rooms);
    let (mut phone, mut tablet) = (waiting(&mut rooms, 3), waiting(&mut rooms, 4));
    assert_eq!(recover(&mut phone, &mut rooms, &code), None);
    assert_eq!(recover(&mut tablet, &mut rooms, &code), None);
    phone.talk(&mut rooms);
    code_of(&mut phone, &mut rooms);
    tablet.talk(&mut rooms);
    assert_eq!(phone.listed(&[&tablet]), "?! me! 0!");
    assert_eq!(phone.client.account_keys(), tablet.client.account_keys());
}

#[test]
fn whether_there_is_a_code_is_known_on_every_device() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    assert_eq!((alice.client.recovery(), phone.client.recovery()), (RecoveryView::default(), RecoveryView::default()));
    code_of(&mut alice, &mut rooms);
    phone.talk(&mut rooms);
    let made = alice.client.recovery();
    assert!(made.code.as_ref().is_some_and(|code| code.created_at <= alice.now.wall_ms) && made.passkey.is_none());
    assert_eq!(phone.client.recovery(), made);
    assert_eq!((told(&alice), told(&phone)), (vec![made.clone()], vec![made]));
}

#[test]
fn the_code_of_a_removed_device_opens_nothing() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    let mut laptop = waiting(&mut rooms, 3);
    alice.talk(&mut rooms);
    laptop.talk(&mut rooms);
    assert_eq!(laptop.client.account_keys(), [1], "it is approved by itself");
    let code = code_of(&mut laptop, &mut rooms);
    alice.talk(&mut rooms);
    alice.remove(&laptop.id());
    alice.talk(&mut rooms);
    assert_eq!(alice.refused(), None);
    assert_eq!((alice.client.recovery(), told(&alice).pop()), (RecoveryView::default(), Some(RecoveryView::default())));
    let mut phone = Device::encrypting(wallet(0), drawing(Records::default(), 4), config(), 4);
    phone.talk(&mut rooms);
    phone.sign();
    phone.talk(&mut rooms);
    assert_eq!(recover(&mut phone, &mut rooms, &code), Some(ErrorCode::UnknownRecoveryCode));
    assert_eq!(phone.client.account_keys(), [] as [u64; 0]);
}

#[test]
fn a_code_opens_what_was_made_after_it() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let mut laptop = waiting(&mut rooms, 3);
    settle(&mut rooms, &mut [&mut alice, &mut laptop]);
    let code = code_of(&mut alice, &mut rooms);
    alice.remove(&laptop.id());
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(alice.client.account_keys(), [1, 2]);
    write(&mut bob, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    drop(alice);
    let mut phone = waiting(&mut rooms, 4);
    assert_eq!(recover(&mut phone, &mut rooms, &code), None);
    assert_eq!(phone.client.account_keys(), [1, 2, 3]);
    reads(&mut rooms, &mut phone, &session_id);
}

#[test]
fn who_is_killed_before_it_has_the_keys_recovers_again() {
    let mut rooms = strict();
    let (code, session_id) = lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    let before = claims(&rooms);
    // The relay has taken it, and nothing of that is on disk.
    phone.is_slow = true;
    phone.replies.clear();
    phone.feed(Input::Recover { request: 21, code: code.clone() });
    phone.talk(&mut rooms);
    assert_eq!(claims(&rooms), before + 1);
    assert!(phone.unwritten.iter().flat_map(|commit| &commit.writes).any(|write| matches!(write, Write::Identity(_))));
    assert!(phone.replies.is_empty(), "it is not done before it is stored");
    let mut phone = Device::encrypting(wallet(0), drawing(phone.records, 51), config(), 51);
    phone.talk(&mut rooms);
    assert!(phone.client.account_devices()[1].is_approved);
    assert_eq!(phone.client.account_keys(), [] as [u64; 0], "the code is nowhere stored");
    phone.replies.clear();
    assert_eq!(recover(&mut phone, &mut rooms, &code), None);
    assert_eq!((claims(&rooms), phone.client.account_keys()), (before + 2, vec![1, 2]), "it is said once, and then the next key");
    reads(&mut rooms, &mut phone, &session_id);
}

#[test]
fn a_copy_of_who_came_back_has_the_keys_too() {
    let mut rooms = strict();
    let (code, session_id) = lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    let mut copy = Device::encrypting(wallet(0), drawing(phone.records.clone(), 50), config(), 50);
    copy.talk(&mut rooms);
    assert_eq!((copy.id(), recover(&mut phone, &mut rooms, &code)), (phone.id(), None));
    settle(&mut rooms, &mut [&mut phone, &mut copy]);
    assert_eq!(copy.client.account_keys(), phone.client.account_keys());
    reads(&mut rooms, &mut copy, &session_id);
}

#[test]
fn who_comes_back_on_a_full_day_makes_the_key_tomorrow() {
    let mut rooms = strict();
    let (code, _) = lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    for number in 0..ACCOUNT_CHANGES_MAX as u8 {
        let mut other = Device::encrypting(wallet(0), drawing(Records::default(), 30 + number), config(), 30 + number);
        other.talk(&mut rooms);
        other.sign();
        other.talk(&mut rooms);
    }
    assert_eq!(recover(&mut phone, &mut rooms, &code), None);
    phone.again(&mut rooms);
    assert_eq!((phone.client.account_keys(), phone.warnings()), (vec![1], vec![]));
    rooms.timeout(DAY_MS);
    phone.now.wall_ms += DAY_MS;
    phone.again(&mut rooms);
    assert_eq!((phone.client.account_keys(), phone.warnings()), (vec![1, 2], vec![]));
}

#[test]
fn a_lost_connection_leaves_a_code_that_is_typed_again() {
    let mut rooms = strict();
    let (code, session_id) = lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    phone.feed(Input::Recover { request: 21, code: code.clone() });
    // It is on its way.
    phone.is_connected = false;
    phone.feed(Input::Disconnected { generation: phone.generation, reason: "lost".into() });
    assert_eq!(phone.refused(), Some(ErrorCode::RelayDisconnected));
    phone.again(&mut rooms);
    assert_eq!(recover(&mut phone, &mut rooms, &code), None);
    reads(&mut rooms, &mut phone, &session_id);
}

#[test]
fn only_an_approved_device_makes_codes() {
    let mut rooms = strict();
    lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    let before = claims(&rooms);
    phone.feed(Input::CreateRecoveryCode { request: 20 });
    phone.talk(&mut rooms);
    assert_eq!((phone.refused(), claims(&rooms)), (Some(ErrorCode::DeviceNotApproved), before));
}

#[test]
fn codes_need_the_relay_and_an_application_that_encrypts() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    alice.feed(Input::SetOffline { offline: true });
    alice.replies.clear();
    alice.feed(Input::CreateRecoveryCode { request: 20 });
    assert_eq!(alice.refused(), Some(ErrorCode::RelayDisconnected));
    let mut plain = Device::joined(9, &mut rooms);
    plain.replies.clear();
    plain.feed(Input::CreateRecoveryCode { request: 20 });
    assert_eq!(plain.refused(), Some(ErrorCode::InvalidArgument));
}

#[test]
fn an_account_that_moves_meanwhile_changes_nothing() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    alice.replies.clear();
    alice.feed(Input::CreateRecoveryCode { request: 20 });
    // Another device is quicker.
    let mut laptop = waiting(&mut rooms, 3);
    alice.talk(&mut rooms);
    let Some(Ok(Reply::RecoveryCode(code))) = alice.replies.pop() else { panic!("a code") };
    laptop.talk(&mut rooms);
    assert_eq!(laptop.client.account_keys(), [1], "and is approved");
    let mut phone = Device::encrypting(wallet(0), drawing(Records::default(), 4), config(), 4);
    phone.talk(&mut rooms);
    phone.sign();
    phone.talk(&mut rooms);
    assert_eq!(recover(&mut phone, &mut rooms, &code), None);
}

/// A device that is approved by a code, and was killed before it had the keys.
fn keyless(rooms: &mut Rooms, code: &str, number: u8) -> Device {
    let mut phone = waiting(rooms, number);
    phone.is_slow = true;
    phone.feed(Input::Recover { request: 21, code: code.into() });
    phone.talk(rooms);
    let mut phone = Device::encrypting(wallet(0), drawing(phone.records, number + 50), config(), number + 50);
    phone.talk(rooms);
    phone.replies.clear();
    phone
}

#[test]
fn who_lacks_the_newest_key_leaves_removing_to_others() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let code = code_of(&mut alice, &mut rooms);
    alice.feed(Input::SetOffline { offline: true });
    let (mut phone, tablet) = (keyless(&mut rooms, &code, 3), waiting(&mut rooms, 4));
    phone.talk(&mut rooms);
    phone.remove(&tablet.id());
    phone.talk(&mut rooms);
    assert_eq!(phone.refused(), Some(ErrorCode::AccountKeyMissing), "with a key of its own it would cut off the history");
    assert_eq!(phone.client.account_devices().len(), 3);
    alice.feed(Input::SetOffline { offline: false });
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(phone.client.account_keys(), [1, 2], "another device gives it all keys");
    phone.remove(&tablet.id());
    phone.talk(&mut rooms);
    assert_eq!((phone.refused(), phone.client.account_keys()), (None, vec![1, 2, 3]));
}

#[test]
fn a_device_is_removed_also_where_nobody_else_has_the_key() {
    let mut rooms = strict();
    let (code, _) = lost(&mut rooms);
    let mut phone = keyless(&mut rooms, &code, 3);
    let stolen = phone.client.account_devices()[0].id.clone();
    phone.remove(&stolen);
    phone.talk(&mut rooms);
    assert_eq!((phone.refused(), phone.client.account_keys()), (None, vec![2]));
}

/// What the passkey of this number gives.
fn output(number: u8) -> Secret {
    Secret::new([number; 32])
}

/// Whether a person would be asked for a passkey.
fn asks(device: &mut Device, makes: bool) -> Result<bool, ErrorCode> {
    device.replies.clear();
    device.feed(Input::NeedsPasskey { request: 21, makes });
    match device.replies.pop() {
        Some(Ok(Reply::Needed(is_needed))) => Ok(is_needed),
        Some(Err(error)) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

/// What comes of a passkey that this device lists. What refuses it was known before, but for one that the account had.
fn list(device: &mut Device, rooms: &mut Rooms, number: u8) -> Option<ErrorCode> {
    let known = asks(device, true).err();
    device.replies.clear();
    device.feed(Input::CreatePasskey { request: 22, output: output(number) });
    device.talk(rooms);
    let refused = match device.replies.pop() {
        Some(Ok(Reply::Done)) => None,
        Some(Err(error)) => Some(error.code),
        other => panic!("{other:?}"),
    };
    assert_eq!(known, refused.filter(|refused| *refused != ErrorCode::UnknownRecoveryCode));
    refused
}

/// What comes of a passkey that is used here. Who is not asked for one would be refused for the same reason.
fn unlock(device: &mut Device, rooms: &mut Rooms, number: u8) -> Option<ErrorCode> {
    let known = asks(device, false).err();
    device.feed(Input::RecoverWithPasskey { request: 23, output: output(number) });
    device.talk(rooms);
    let refused = device.refused();
    assert!(known.is_none() || known == refused, "{known:?}, and then {refused:?}");
    refused
}

/// Whether the account has a code, and a passkey.
fn kinds(device: &Device) -> (bool, bool) {
    let RecoveryView { code, passkey } = device.client.recovery();
    (code.is_some(), passkey.is_some())
}

#[test]
fn a_passkey_alone_brings_the_whole_history_to_a_new_device() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(list(&mut alice, &mut rooms, 7), None);
    write(&mut bob, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    drop(alice);
    let mut phone = waiting(&mut rooms, 3);
    assert_eq!(unlock(&mut phone, &mut rooms, 8), Some(ErrorCode::UnknownRecoveryCode), "another one opens nothing");
    assert_eq!(phone.client.account_keys(), [] as [u64; 0]);
    assert_eq!(unlock(&mut phone, &mut rooms, 7), None);
    assert!(phone.client.account_devices()[1].is_approved);
    reads(&mut rooms, &mut phone, &session_id);
}

#[test]
fn code_and_passkey_are_kept_beside_each_other() {
    let mut rooms = strict();
    let (code, session_id) = lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    assert_eq!(recover(&mut phone, &mut rooms, &code), None);
    assert_eq!(list(&mut phone, &mut rooms, 7), None);
    assert_eq!(kinds(&phone), (true, true));
    assert_eq!(phone.client.account_keys(), [1, 2], "nothing was removed: there is only the key that was made when it came back");
    let mut tablet = waiting(&mut rooms, 4);
    assert_eq!(recover(&mut tablet, &mut rooms, &code), None, "the code still opens");
    phone.talk(&mut rooms);
    let later = code_of(&mut phone, &mut rooms);
    // One for each who came back, and one that the code before does not open.
    assert_eq!((kinds(&phone), phone.client.account_keys()), ((true, true), vec![1, 2, 3, 4]));
    for (number, by_passkey) in [(5, true), (6, false)] {
        let mut laptop = waiting(&mut rooms, number);
        let refused = if by_passkey { unlock(&mut laptop, &mut rooms, 7) } else { recover(&mut laptop, &mut rooms, &later) };
        assert_eq!(refused, None, "also behind later keys");
        reads(&mut rooms, &mut laptop, &session_id);
    }
}

#[test]
fn a_new_passkey_takes_the_place_of_the_one_before() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    for number in [7, 8] {
        assert_eq!(list(&mut alice, &mut rooms, number), None);
    }
    let mut phone = waiting(&mut rooms, 3);
    assert_eq!(unlock(&mut phone, &mut rooms, 7), Some(ErrorCode::UnknownRecoveryCode));
    assert_eq!(unlock(&mut phone, &mut rooms, 8), None);
    assert_eq!(list(&mut alice, &mut rooms, 7), Some(ErrorCode::UnknownRecoveryCode), "it never returns");
}

#[test]
fn a_passkey_that_is_listed_already_stays_as_it_is() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    assert_eq!(list(&mut alice, &mut rooms, 7), None);
    let before = claims(&rooms);
    assert_eq!(list(&mut alice, &mut rooms, 7), None, "a call that is made again behind a takeover");
    assert_eq!((claims(&rooms), told(&alice).len()), (before, 1));
}

#[test]
fn the_passkey_of_a_removed_device_falls_with_it_and_is_told() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    let mut laptop = waiting(&mut rooms, 3);
    settle(&mut rooms, &mut [&mut alice, &mut laptop]);
    code_of(&mut alice, &mut rooms);
    laptop.talk(&mut rooms);
    assert_eq!(list(&mut laptop, &mut rooms, 7), None);
    alice.talk(&mut rooms);
    alice.remove(&laptop.id());
    alice.talk(&mut rooms);
    assert_eq!((alice.refused(), kinds(&alice)), (None, (true, false)));
    let kept: Option<RecoveryKeyView> = alice.client.recovery().code;
    assert_eq!(told(&alice).pop(), Some(RecoveryView { code: kept, passkey: None }));
    let mut phone = waiting(&mut rooms, 4);
    alice.feed(Input::SetOffline { offline: true });
    assert_eq!(unlock(&mut phone, &mut rooms, 7), Some(ErrorCode::UnknownRecoveryCode));
}

#[test]
fn a_passkey_is_of_no_use_to_another_wallet() {
    let mut rooms = strict();
    let (mut alice, mut bob, _) = pair(&mut rooms);
    assert_eq!(list(&mut alice, &mut rooms, 7), None);
    code_of(&mut bob, &mut rooms);
    drop(bob);
    let mut phone = Device::encrypting(wallet(1), drawing(Records::default(), 3), config(), 3);
    phone.talk(&mut rooms);
    phone.sign();
    phone.talk(&mut rooms);
    assert_eq!(unlock(&mut phone, &mut rooms, 7), Some(ErrorCode::UnknownRecoveryCode));
}

#[test]
fn only_an_approved_device_that_encrypts_lists_a_passkey() {
    let mut rooms = strict();
    lost(&mut rooms);
    let mut phone = waiting(&mut rooms, 3);
    let before = claims(&rooms);
    assert_eq!((list(&mut phone, &mut rooms, 7), claims(&rooms)), (Some(ErrorCode::DeviceNotApproved), before));
    let mut plain = Device::joined(9, &mut rooms);
    assert_eq!(list(&mut plain, &mut rooms, 7), Some(ErrorCode::InvalidArgument));
}

#[test]
fn codes_without_end_leave_room_for_devices() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    let mut codes = 0;
    let refused = loop {
        alice.feed(Input::CreateRecoveryCode { request: 20 });
        alice.talk(&mut rooms);
        match alice.replies.pop().expect("an answer") {
            Ok(_) => codes += 1,
            Err(error) => break error.code,
        }
    };
    // Its join was a change of this day too.
    assert_eq!((codes, refused), (ACCOUNT_CHANGES_MAX - ACCOUNT_CHANGES_KEPT - 1, ErrorCode::LimitReached));
    let mut phone = waiting(&mut rooms, 3);
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    alice.replies.clear();
    alice.approve(&phone.id());
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    assert_eq!(alice.refused(), None);
    alice.remove(&phone.id());
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    assert_eq!(alice.refused(), None);
}

#[test]
fn nobody_is_asked_for_a_passkey_beyond_the_limits() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    let listed = (1..).take_while(|number| list(&mut alice, &mut rooms, *number).is_none()).count();
    assert_eq!((listed, asks(&mut alice, true)), (ACCOUNT_CHANGES_MAX - ACCOUNT_CHANGES_KEPT - 1, Err(ErrorCode::LimitReached)), "today");
    let next_day = |alice: &mut Device, rooms: &mut Rooms| {
        rooms.timeout(DAY_MS);
        alice.now.wall_ms += DAY_MS;
        alice.again(rooms);
    };
    for number in 0..ACCOUNT_DEVICES_MAX as u8 - 2 {
        // Each joins and is approved.
        if number % 10 == 0 {
            next_day(&mut alice, &mut rooms);
            assert_eq!(asks(&mut alice, true), Ok(true), "the next day");
        }
        waiting(&mut rooms, 100 + number);
        alice.talk(&mut rooms);
    }
    next_day(&mut alice, &mut rooms);
    assert_eq!(
        list(&mut alice, &mut rooms, 100),
        Some(ErrorCode::LimitReached),
        "with its passkey the account has all devices that it may have"
    );
    let other = alice.client.account_devices()[5].id.clone();
    alice.remove(&other);
    alice.talk(&mut rooms);
    alice.replies.clear();
    assert_eq!(list(&mut alice, &mut rooms, 100), None);
}

#[test]
fn nobody_is_asked_for_a_passkey_where_it_cannot_be_used() {
    let mut rooms = strict();
    let mut plain = Device::joined(9, &mut rooms);
    assert_eq!(asks(&mut plain, true), Err(ErrorCode::InvalidArgument), "its application does not encrypt");
    let (mut alice, _, _) = pair(&mut rooms);
    let mut without = waiting(&mut rooms, 3);
    assert_eq!(asks(&mut without, false), Err(ErrorCode::UnknownRecoveryCode), "there is none");
    alice.talk(&mut rooms);
    assert_eq!(list(&mut alice, &mut rooms, 7), None);
    let mut phone = waiting(&mut rooms, 4);
    assert_eq!((asks(&mut phone, true), asks(&mut phone, false)), (Err(ErrorCode::DeviceNotApproved), Ok(true)));
    assert_eq!(unlock(&mut phone, &mut rooms, 7), None);
    assert_eq!((asks(&mut phone, false), asks(&mut alice, false)), (Ok(false), Ok(false)), "who lacks nothing needs none");
    alice.feed(Input::SetOffline { offline: true });
    assert_eq!((asks(&mut alice, true), asks(&mut alice, false)), (Err(ErrorCode::RelayDisconnected), Err(ErrorCode::RelayDisconnected)));
    let mut tablet = Device::encrypting(wallet(0), drawing(Records::default(), 5), config(), 5);
    assert_eq!(asks(&mut tablet, false), Err(ErrorCode::RelayDisconnected), "it is not connected yet");
    tablet.talk(&mut rooms);
    assert_eq!(asks(&mut tablet, false), Err(ErrorCode::SignInRequired));
}

#[test]
fn whether_a_passkey_is_needed_is_said_once_the_account_is_known() {
    let mut rooms = strict();
    pair(&mut rooms);
    let mut phone = Device::encrypting(wallet(0), drawing(Records::default(), 4), config(), 4);
    phone.talk(&mut rooms);
    phone.sign();
    // The relay has let it in, and reads the account's log for it.
    rooms.held = Some(VecDeque::new());
    phone.talk(&mut rooms);
    while !matches!(phone.heard.last(), Some(Frame { body: Body::SignedIn(_), .. })) {
        rooms.answer(false);
        phone.talk(&mut rooms);
    }
    phone.replies.clear();
    phone.feed(Input::NeedsPasskey { request: 21, makes: true });
    assert_eq!(phone.replies, []);
    while rooms.held.as_ref().is_some_and(|held| !held.is_empty()) {
        rooms.answer(false);
        phone.talk(&mut rooms);
    }
    assert_eq!(phone.refused(), Some(ErrorCode::DeviceNotApproved), "it is not made in vain");
}

#[test]
fn who_lacks_the_newest_key_is_asked_for_no_new_passkey() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    assert_eq!(list(&mut alice, &mut rooms, 7), None);
    let code = code_of(&mut alice, &mut rooms);
    alice.feed(Input::SetOffline { offline: true });
    let mut phone = keyless(&mut rooms, &code, 3);
    assert_eq!(list(&mut phone, &mut rooms, 8), Some(ErrorCode::AccountKeyMissing));
    assert_eq!((asks(&mut phone, false), unlock(&mut phone, &mut rooms, 7)), (Ok(true), None), "the one that there is brings it");
    assert_eq!(list(&mut phone, &mut rooms, 8), None);
}

#[test]
fn nobody_is_asked_for_a_passkey_where_the_account_parted() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    assert_eq!(list(&mut alice, &mut rooms, 7), None);
    let domains = DomainSet::new(vec![DOMAIN.into()]).unwrap();
    rooms.journal.get_mut(&Owner::new(&sealed::address(0), domains).unwrap().account_id).unwrap().entries.pop();
    rooms.restart();
    alice.again(&mut rooms);
    for makes in [true, false] {
        assert_eq!(asks(&mut alice, makes), Err(ErrorCode::RelayRolledBack));
    }
}

#[test]
fn a_passkey_call_made_again_leaves_the_newer_one() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    let mut laptop = waiting(&mut rooms, 3);
    settle(&mut rooms, &mut [&mut alice, &mut laptop]);
    assert_eq!(list(&mut alice, &mut rooms, 7), None);
    laptop.talk(&mut rooms);
    // The laptop's newer one is listed; the laptop is killed before it has had the earlier one removed.
    laptop.is_slow = true;
    laptop.feed(Input::CreatePasskey { request: 22, output: output(8) });
    laptop.talk(&mut rooms);
    alice.talk(&mut rooms);
    assert_eq!(list(&mut alice, &mut rooms, 7), None, "the call that another tab has had is made again");
    let mut phone = waiting(&mut rooms, 4);
    assert_eq!(unlock(&mut phone, &mut rooms, 8), None, "the newest one still opens");
}

#[test]
fn of_two_passkeys_made_at_once_the_newer_one_stays() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    let mut laptop = waiting(&mut rooms, 3);
    settle(&mut rooms, &mut [&mut alice, &mut laptop]);
    assert_eq!(list(&mut alice, &mut rooms, 6), None);
    laptop.talk(&mut rooms);
    // Both list one; neither has had the earlier ones removed yet.
    alice.is_slow = true;
    alice.replies.clear();
    alice.feed(Input::CreatePasskey { request: 22, output: output(7) });
    alice.talk(&mut rooms);
    laptop.talk(&mut rooms);
    laptop.is_slow = true;
    laptop.feed(Input::CreatePasskey { request: 22, output: output(8) });
    laptop.talk(&mut rooms);
    alice.talk(&mut rooms);
    alice.write();
    for _ in 0..3 {
        alice.talk(&mut rooms);
    }
    laptop.replies.clear();
    laptop.write();
    laptop.talk(&mut rooms);
    alice.talk(&mut rooms);
    let mut phone = waiting(&mut rooms, 4);
    assert_eq!(unlock(&mut phone, &mut rooms, 8), None, "the newest one still opens");
}

/// A device that signed in before its application encrypted, and starts again where it does.
fn newly_encrypting(rooms: &mut Rooms) -> Device {
    let mut plain = Device::of(wallet(0), drawing(Records::default(), 1), config(), 1);
    plain.talk(rooms);
    plain.sign();
    plain.talk(rooms);
    let mut device = Device::encrypting(wallet(0), drawing(plain.records, 31), config(), 31);
    device.replies.clear();
    device
}

#[test]
fn a_code_that_is_asked_for_before_the_first_keys_is_given() {
    let mut rooms = strict();
    let mut device = newly_encrypting(&mut rooms);
    device.feed(Input::CreateRecoveryCode { request: 20 });
    device.talk(&mut rooms);
    assert!(matches!(device.replies.last(), Some(Ok(Reply::RecoveryCode(_)))), "{:?}", device.replies);
}

#[test]
fn a_passkey_that_is_said_to_be_there_is_there() {
    let mut rooms = strict();
    let mut device = newly_encrypting(&mut rooms);
    device.feed(Input::CreatePasskey { request: 20, output: Secret::new([8; 32]) });
    device.talk(&mut rooms);
    assert_eq!(device.replies.pop(), Some(Ok(Reply::Done)));
    assert!(device.client.recovery().passkey.is_some(), "the person relies on it");
}
