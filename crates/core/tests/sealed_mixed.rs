//! Applications that encrypt beside others that do not: each leaves the sessions of the other kind alone, and nothing leaves in clear
//! where an application encrypts.

use crate::memory::Records;
use crate::rooms::Rooms;
use crate::sealed::{address, again, approving, joined, open, pair, relay_knows, settle, texts, wallet, write};
use crate::signer::{Device, drawing, strict};
use solconnect_sync_core::client::{ConnectionState, Event, Input, Reply};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::Body;
use solconnect_sync_core::relay::Input as RelayInput;

/// A device of a person, signed in, that does not encrypt.
fn plain(rooms: &mut Rooms, person: u8, number: u8) -> Device {
    let mut device = Device::of(wallet(person), drawing(Records::default(), number), approving(), number);
    device.talk(rooms);
    device.sign();
    device.talk(rooms);
    device
}

/// The same device whose application does not encrypt any more, or never did.
fn without_encryption(device: Device, number: u8) -> Device {
    Device::of(device.wallet, drawing(device.records, number), approving(), number)
}

fn open_group(device: &mut Device, person: u8) -> String {
    device.feed(Input::OpenGroup { request: 3, name: "Walkers".into(), members: vec![address(person)] });
    match device.replies.pop() {
        Some(Ok(Reply::Session(view))) => view.session_id,
        other => panic!("{other:?}"),
    }
}

fn invitations(device: &Device) -> usize {
    device.events.iter().filter(|event| matches!(event, Event::SessionInvited { .. })).count()
}

/// Whether the last warning says whose session it is about.
fn names(device: &Device, person: u8) -> bool {
    let mut told = device.events.iter().rev();
    told.find_map(|event| if let Event::Warning { error } = event { Some(error.message.contains(&address(person))) } else { None })
        .expect("a warning")
}

fn refused(device: &mut Device, call: Input) -> Option<ErrorCode> {
    device.feed(call);
    device.refused()
}

fn send(session_id: &str) -> Input {
    let (content_type, message_id, known) = (None, None, None);
    Input::Send { request: 4, session_id: session_id.to_owned(), text: "in clear".into(), content_type, message_id, known }
}

#[test]
fn a_stranger_who_does_not_encrypt_cuts_nobody_off() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let mut stranger = plain(&mut rooms, 2, 5);
    let clear = open(&mut stranger, 0);
    write(&mut stranger, &clear, "hello");
    let group = open_group(&mut stranger, 0);
    settle(&mut rooms, &mut [&mut stranger, &mut alice, &mut bob]);
    assert_eq!(
        (alice.state(), alice.warnings(), invitations(&alice)),
        (ConnectionState::Connected, vec![ErrorCode::EncryptionMismatch], 0)
    );
    assert!(names(&alice, 2));
    for id in [&clear, &group] {
        let call = Input::AcceptSession { request: 5, session_id: id.clone() };
        assert_eq!(refused(&mut alice, call), Some(ErrorCode::EncryptionMismatch));
    }
    write(&mut bob, &session_id, "are you there?");
    write(&mut alice, &session_id, "yes");
    settle(&mut rooms, &mut [&mut stranger, &mut alice, &mut bob]);
    assert_eq!(texts(&alice, &session_id).len(), 2);
}

/// What a device that was away is listed when it comes back.
fn listed_on_return(rooms: &mut Rooms, device: &mut Device) -> Vec<String> {
    device.heard.clear();
    device.again(rooms);
    let lists = device.heard.iter().filter_map(|frame| if let Body::SessionList(list) = &frame.body { Some(list) } else { None });
    lists.flat_map(|list| &list.sessions).map(|listed| listed.session_id.clone()).collect()
}

#[test]
fn each_is_listed_sessions_of_its_own_kind_alone() {
    let mut rooms = strict();
    let (mut alice, mut bob) = (joined(&mut rooms, 0, 1), plain(&mut rooms, 1, 2));
    let (mut sealing, mut clear) = (joined(&mut rooms, 2, 3), plain(&mut rooms, 3, 4));
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut sealing, &mut clear]);
    for device in [&mut alice, &mut bob] {
        rooms.feed(RelayInput::Closed { connection: device.connection });
        device.is_connected = false;
        device.feed(Input::Disconnected { generation: device.generation, reason: "away".into() });
    }
    let sessions = [0, 1].map(|person| [open(&mut sealing, person), open(&mut clear, person)]);
    for [sealed, plain] in &sessions {
        write(&mut sealing, sealed, "a secret");
        write(&mut clear, plain, "hello");
    }
    settle(&mut rooms, &mut [&mut sealing, &mut clear]);
    assert_eq!((listed_on_return(&mut rooms, &mut alice), alice.warnings()), (vec![sessions[0][0].clone()], vec![]));
    assert_eq!((listed_on_return(&mut rooms, &mut bob), bob.warnings()), (vec![sessions[1][1].clone()], vec![]));
}

#[test]
fn nothing_is_told_of_a_blocked_stranger_who_does_not_encrypt() {
    let mut rooms = strict();
    let (mut alice, mut bob, _) = pair(&mut rooms);
    alice.feed(Input::BlockWallet { request: 5, peer_wallet: address(2) });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let mut stranger = plain(&mut rooms, 2, 5);
    let clear = open(&mut stranger, 0);
    write(&mut stranger, &clear, "hello");
    open_group(&mut stranger, 0);
    settle(&mut rooms, &mut [&mut stranger, &mut alice, &mut bob]);
    alice.again(&mut rooms);
    settle(&mut rooms, &mut [&mut stranger, &mut alice, &mut bob]);
    assert_eq!((alice.state(), alice.warnings(), invitations(&alice)), (ConnectionState::Connected, vec![], 0));
}

#[test]
fn who_does_not_encrypt_is_not_cut_off_by_who_does() {
    let mut rooms = strict();
    let (mut alice, mut bob) = (joined(&mut rooms, 0, 1), plain(&mut rooms, 1, 2));
    let (sealed, clear) = (open(&mut alice, 1), open(&mut bob, 0));
    let group = open_group(&mut alice, 1);
    write(&mut alice, &sealed, "a secret");
    write(&mut bob, &clear, "hello");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    for (device, ids) in [(&mut alice, [clear.clone(), clear]), (&mut bob, [sealed, group])] {
        assert_eq!((device.state(), device.warnings()), (ConnectionState::Connected, vec![ErrorCode::EncryptionMismatch]));
        for id in ids {
            let call = Input::AcceptSession { request: 5, session_id: id };
            assert_eq!((refused(device, call), invitations(device)), (Some(ErrorCode::EncryptionMismatch), 0));
        }
    }
}

#[test]
fn a_second_device_that_encrypts_leaves_earlier_sessions_out() {
    let mut rooms = strict();
    let (mut old, mut bob) = (plain(&mut rooms, 0, 1), plain(&mut rooms, 1, 2));
    let clear = open(&mut old, 1);
    write(&mut old, &clear, "in clear");
    settle(&mut rooms, &mut [&mut old, &mut bob]);
    let mut phone = joined(&mut rooms, 0, 3);
    settle(&mut rooms, &mut [&mut old, &mut phone]);
    old.feed(Input::ApproveDevice { request: 7, device_id: phone.id() });
    let mut bob = again(bob, 52);
    let sealed = open(&mut phone, 1);
    write(&mut phone, &sealed, "a secret");
    settle(&mut rooms, &mut [&mut old, &mut phone, &mut bob]);
    assert_eq!((phone.state(), phone.queued()), (ConnectionState::Connected, 0));
    assert!(!relay_knows(&rooms, "a secret"));
}

#[test]
fn an_application_that_encrypts_writes_nothing_in_clear() {
    let mut rooms = strict();
    let (mut alice, mut bob) = (plain(&mut rooms, 0, 1), plain(&mut rooms, 1, 2));
    let clear = open(&mut alice, 1);
    open(&mut bob, 0);
    write(&mut alice, &clear, "before");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let id =
        alice.client.show(&clear, alice.records.log(&clear)[0].entries().unwrap().into_iter().map(|entry| (entry, None)).collect(), true);
    let message_id = id[0].id.clone();
    let mut alice = again(alice, 51);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let calls = [send(&clear), Input::Edit { request: 6, session_id: clear.clone(), message_id, text: Some("in clear".into()) }];
    for call in calls {
        assert_eq!(refused(&mut alice, call), Some(ErrorCode::EncryptionMismatch));
    }
    // What comes there is still read.
    write(&mut bob, &clear, "I have not updated");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&alice, &clear), ["before", "I have not updated"]);
    assert!(!relay_knows(&rooms, "in clear"));
}

#[test]
fn an_id_of_no_form_is_of_no_session() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    for call in [send("nope"), Input::AcceptSession { request: 6, session_id: "nope".into() }] {
        assert_eq!(refused(&mut alice, call), Some(ErrorCode::UnknownSession));
    }
}

#[test]
fn an_application_that_does_not_encrypt_writes_nothing_sealed() {
    let mut rooms = strict();
    let (alice, _, session_id) = pair(&mut rooms);
    let mut alice = without_encryption(alice, 51);
    settle(&mut rooms, &mut [&mut alice]);
    alice.feed(send(&session_id));
    let error = alice.replies.pop().unwrap().unwrap_err();
    assert_eq!((error.code, error.message.contains(&address(1))), (ErrorCode::EncryptionMismatch, true), "{error}");
}

#[test]
fn a_relay_that_makes_no_sense_is_tried_more_and_more_seldom() {
    let mut rooms = strict();
    let (mut alice, _, _) = pair(&mut rooms);
    alice.bends = Some(|frame| {
        if let solconnect_sync_core::frame::Body::SessionList(list) = &mut frame.body {
            list.sessions.iter_mut().for_each(|listed| listed.session_id = "sealed:of-nobody".into());
        }
    });
    let mut stranger = joined(&mut rooms, 2, 5);
    let id = open(&mut stranger, 0);
    write(&mut stranger, &id, "hello");
    let before = alice.generation;
    for _ in 0..300 {
        settle(&mut rooms, &mut [&mut stranger, &mut alice]);
    }
    let attempts = alice.generation - before;
    assert!((3..20).contains(&attempts), "{attempts} connections in 4 minutes");
}
