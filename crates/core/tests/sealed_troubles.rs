//! Encrypted sessions where something is in the way: others are quicker, the disk fails, the relay was set back or lies.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::memory::Records;
use crate::rooms::Rooms;
use crate::sealed::{address, approving, joined, kinds, open, pair, settle, texts, wallet, write};
use crate::signer::{Device, drawing, strict};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Event, GroupWish, Input, MessageStatus, Reply, SyncScope};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Frame};
use solconnect_sync_core::identity::Purpose;
use solconnect_sync_core::message::Kind;
use solconnect_sync_core::relay::JournalQuestion;

/// It writes a first message and has stored the epoch for it, of which the relay has not heard yet.
fn about_to_begin(rooms: &mut Rooms, device: &mut Device, session_id: &str, text: &str) {
    write(device, session_id, text);
    device.is_slow = true;
    device.talk(rooms);
    device.write();
    assert!(device.records.outbox.values().flat_map(|record| &record.entries).any(|entry| entry.message.kind == Kind::EPOCH));
}

/// The device's socket was lost with the relay's.
fn lost(device: &mut Device) {
    device.is_connected = false;
    device.feed(Input::Disconnected { generation: device.generation, reason: "gone".into() });
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// A device that says more than this without end.
fn no_more_frames_than(device: &mut Device, most: usize) {
    let said = Cell::new(0);
    device.says = Some(Box::new(move |_| {
        said.set(said.get() + 1);
        assert!(said.get() <= most, "it goes round without a wait");
    }));
}

fn send_named(device: &mut Device, session_id: &str, name: &str, text: &str) -> Result<Reply, ErrorCode> {
    let (session_id, message_id) = (session_id.to_owned(), name.to_owned());
    let known = device.records.names.get(&(session_id.clone(), message_id.clone())).cloned();
    let (text, message_id) = (text.to_owned(), Some(message_id));
    device.feed(Input::Send { request: 4, session_id, text, content_type: None, message_id, known });
    device.replies.pop().expect("an answer").map_err(|error| error.code)
}

fn remove(rooms: &mut Rooms, device: &mut Device, other: &Device) {
    device.feed(Input::RemoveDevice { request: 7, device_id: other.id() });
    device.talk(rooms);
    assert_eq!(device.replies.pop(), Some(Ok(Reply::Done)));
}

#[test]
fn messages_keep_apart_where_another_epoch_was_quicker() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    about_to_begin(&mut rooms, &mut alice, &session_id, "a");
    write(&mut alice, &session_id, "b");
    write(&mut bob, &session_id, "x");
    settle(&mut rooms, &mut [&mut bob]);
    alice.is_slow = true;
    alice.talk(&mut rooms);
    alice.write();
    write(&mut alice, &session_id, "c");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let all = ["a", "b", "c", "x"].map(str::to_owned).to_vec();
    assert_eq!((sorted(texts(&alice, &session_id)), sorted(texts(&bob, &session_id))), (all.clone(), all));
}

#[test]
fn what_comes_with_an_account_key_is_read_with_it() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let (mut phone, mut tablet) = (joined(&mut rooms, 0, 3), joined(&mut rooms, 0, 5));
    settle(&mut rooms, &mut [&mut alice, &mut phone, &mut tablet]);
    open(&mut phone, 1);
    write(&mut bob, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet]);
    // Its disk is slow: what comes meanwhile is stored together.
    phone.is_slow = true;
    write(&mut bob, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    remove(&mut rooms, &mut alice, &tablet);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    write(&mut bob, &session_id, "three");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    phone.write();
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&phone, &session_id), ["one", "two", "three"]);
}

#[test]
fn what_a_backup_forgot_is_sent_in_the_epoch_since() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let mut phone = joined(&mut rooms, 1, 4);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    let backup = rooms.journal[&session_id].clone();
    // It is acknowledged, and its place is not stored yet.
    write(&mut alice, &session_id, "two");
    alice.talk(&mut rooms);
    assert_eq!(kinds(&rooms, &session_id).len(), backup.entries.len() + 1);
    rooms.journal.insert(session_id.clone(), backup);
    rooms.restart();
    [&mut alice, &mut bob, &mut phone].into_iter().for_each(lost);
    bob.again(&mut rooms);
    remove(&mut rooms, &mut bob, &phone);
    write(&mut bob, &session_id, "three");
    settle(&mut rooms, &mut [&mut bob]);
    alice.again(&mut rooms);
    write(&mut alice, &session_id, "four");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let all = ["one", "three", "two", "four"].map(str::to_owned).to_vec();
    assert_eq!((texts(&alice, &session_id), texts(&bob, &session_id)), (all.clone(), all));
}

#[test]
fn a_doubt_about_the_epoch_holds_up_texts_alone() {
    let mut rooms = strict();
    let (mut alice, mut bob) = (joined(&mut rooms, 0, 1), joined(&mut rooms, 1, 2));
    let mut phone = joined(&mut rooms, 1, 4);
    alice.feed(Input::OpenGroup { request: 2, name: "Walkers".into(), members: vec![address(1)] });
    let Some(Ok(Reply::Session(view))) = alice.replies.pop() else { panic!() };
    let session_id = view.session_id;
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    about_to_begin(&mut rooms, &mut alice, &session_id, "never mind");
    let message_id = alice.client.queued().pop().expect("a message").id;
    remove(&mut rooms, &mut bob, &phone);
    alice.feed(Input::Cancel { request: 5, message_id });
    assert_eq!(alice.replies.pop(), Some(Ok(Reply::Done)));
    let wish = GroupWish::Rename("Runners".into());
    alice.feed(Input::Regroup { request: 6, session_id: session_id.clone(), wish });
    assert_eq!(alice.replies.pop(), Some(Ok(Reply::Done)));
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(kinds(&rooms, &session_id), [Kind::GROUP, Kind::GROUP].map(|kind| kind.0));
}

#[test]
fn an_epoch_that_cannot_be_stored_is_tried_after_a_wait() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "a");
    alice.is_slow = true;
    alice.talk(&mut rooms);
    alice.fails = true;
    alice.write();
    no_more_frames_than(&mut alice, 100);
    alice.talk(&mut rooms);
    alice.fails = false;
    alice.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["a"]);
}

/// The relay shows no more of an account than its beginning.
fn withhold(frame: &mut Frame) {
    let Body::SyncResponse(response) = &mut frame.body else { return };
    let entries = response.messages.entries().unwrap();
    if frame.head.session_id.starts_with("sealed:") || entries.is_empty() || response.in_reply_to.is_none() {
        return;
    }
    let known: Vec<_> = entries.into_iter().filter(|entry| entry.sequence_number <= 3).collect();
    response.messages = Batch::of(&known).unwrap();
    (response.latest_sequence, response.log) = (3, None);
}

#[test]
fn a_relay_that_refuses_every_epoch_is_asked_ever_less() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let mut phone = joined(&mut rooms, 1, 4);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    remove(&mut rooms, &mut bob, &phone);
    alice.bends = Some(withhold);
    no_more_frames_than(&mut alice, 200);
    write(&mut alice, &session_id, "a");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert!(!kinds(&rooms, &session_id).contains(&Kind::MESSAGE.0));
    alice.bends = None;
    for _ in 0..2 {
        alice.again(&mut rooms);
        settle(&mut rooms, &mut [&mut alice, &mut bob]);
    }
    assert_eq!(texts(&bob, &session_id), ["a"]);
}

/// The relay has forgotten what it knew of an account.
fn forget(frame: &mut Frame) {
    let Body::SyncResponse(response) = &mut frame.body else { return };
    if !frame.head.session_id.starts_with("sealed:") && response.in_reply_to.is_some() {
        response.messages = Batch::default();
        (response.latest_sequence, response.log) = (1, None);
    }
}

#[test]
fn nothing_is_sealed_to_an_account_that_was_set_back() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let mut phone = joined(&mut rooms, 1, 4);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    remove(&mut rooms, &mut bob, &phone);
    alice.bends = Some(forget);
    write(&mut alice, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(alice.client.parted(), [session_id]);
    assert!(alice.warnings().contains(&ErrorCode::RelayRolledBack));
}

#[test]
fn an_epoch_waits_for_what_is_on_its_way() {
    let mut rooms = strict();
    let (mut alice, mut phone) = (joined(&mut rooms, 0, 1), joined(&mut rooms, 0, 3));
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    // A session of its own needs nobody else's account.
    let session_id = open(&mut alice, 0);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut phone]);
    let (id, count) = (alice.id(), alice.warnings().len());
    rooms.held = Some(VecDeque::new());
    write(&mut alice, &session_id, "two");
    alice.talk(&mut rooms);
    let is_stored = |question: &JournalQuestion| matches!(question, JournalQuestion::Append { .. });
    while rooms.held.as_ref().and_then(VecDeque::front).is_some_and(|(_, question)| !is_stored(question)) {
        rooms.answer(false);
    }
    let entries = |rooms: &Rooms| rooms.journal.values().map(|rows| rows.entries.len()).sum::<usize>();
    let before = entries(&rooms);
    let account_is_stored = |rooms: &Rooms| entries(rooms) > before;
    alice.feed(Input::RemoveDevice { request: 7, device_id: phone.id() });
    alice.talk(&mut rooms);
    assert!(rooms.held.as_ref().is_some_and(|held| held.len() > 1));
    // The account is stored before the message.
    while !account_is_stored(&rooms) {
        rooms.held.as_mut().unwrap().rotate_left(1);
        rooms.answer(false);
    }
    alice.talk(&mut rooms);
    while rooms.held.as_ref().is_some_and(|held| !held.is_empty()) {
        rooms.answer(false);
    }
    rooms.held = None;
    write(&mut alice, &session_id, "three");
    for _ in 0..3 {
        settle(&mut rooms, &mut [&mut alice]);
    }
    assert_eq!(texts(&alice, &session_id), ["one", "two", "three"]);
    assert_eq!((alice.id(), alice.warnings().len()), (id, count));
    assert_eq!(kinds(&rooms, &session_id), [7, 0, 0, 7, 0]);
}

#[test]
fn what_is_taken_while_another_is_cancelled_is_the_same() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    // On its way while the disk is slow.
    write(&mut alice, &session_id, "two");
    alice.is_slow = true;
    for (name, text) in [("kept", "three"), ("dropped", "four")] {
        let (session_id, text, message_id) = (session_id.clone(), text.to_owned(), Some(name.to_owned()));
        alice.feed(Input::Send { request: 4, session_id, text, content_type: None, message_id, known: None });
    }
    alice.feed(Input::Cancel { request: 5, message_id: "dropped".into() });
    alice.talk(&mut rooms);
    alice.write();
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let all = ["one", "two", "three"].map(str::to_owned).to_vec();
    assert_eq!((texts(&alice, &session_id), texts(&bob, &session_id), alice.warnings()), (all.clone(), all, vec![]));
}

#[test]
fn when_a_text_was_written_is_not_told_to_the_relay() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let seen: Rc<RefCell<Vec<u64>>> = Rc::default();
    let told = seen.clone();
    alice.says = Some(Box::new(move |frame| {
        let Body::SyncUpdate(update) = &frame.body else { return };
        let texts = update.messages.entries().unwrap().into_iter().filter(|entry| entry.message.kind == Kind::MESSAGE);
        told.borrow_mut().extend(texts.map(|entry| entry.server_timestamp));
    }));
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(*seen.borrow(), [0]);
}

#[test]
fn another_text_of_one_name_is_told_as_failed() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let mut phone = joined(&mut rooms, 0, 3);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    open(&mut phone, 1);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    alice.feed(Input::SetOffline { offline: true });
    send_named(&mut alice, &session_id, "mine", "second").unwrap();
    send_named(&mut alice, &session_id, "ours", "the same").unwrap();
    send_named(&mut phone, &session_id, "mine", "first").unwrap();
    send_named(&mut phone, &session_id, "ours", "the same").unwrap();
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    alice.feed(Input::SetOffline { offline: false });
    for _ in 0..2 {
        alice.again(&mut rooms);
        settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    }
    assert_eq!(texts(&bob, &session_id), ["first", "the same"]);
    let failed = alice.events.iter().filter_map(|event| match event {
        Event::StatusChanged { message_id, status: MessageStatus::Failed, error: Some(error), .. } => {
            Some((message_id.as_str(), error.code))
        }
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), [("mine", ErrorCode::MessageIdTaken)]);
    assert_eq!(alice.queued(), 0);
    // What is in the log is known by its name when it is written.
    assert_eq!(send_named(&mut alice, &session_id, "mine", "second"), Err(ErrorCode::MessageIdTaken));
    send_named(&mut phone, &session_id, "theirs", "third").unwrap();
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(send_named(&mut alice, &session_id, "theirs", "another"), Err(ErrorCode::MessageIdTaken));
}

#[test]
fn who_accepts_the_relays_log_takes_one_new_id() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    write(&mut alice, &session_id, "one");
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    let backup = rooms.journal[&session_id].clone();
    for text in ["two", "three"] {
        write(&mut alice, &session_id, text);
        settle(&mut rooms, &mut [&mut alice, &mut bob]);
    }
    rooms.journal.insert(session_id.clone(), backup);
    rooms.restart();
    for device in [&mut alice, &mut bob] {
        lost(device);
        device.again(&mut rooms);
    }
    alice.events.clear();
    let stored = alice.parted_logs();
    assert_eq!(stored.len(), 1);
    alice.accept(stored);
    let stored = bob.parted_logs();
    bob.accept(stored);
    for _ in 0..4 {
        alice.again(&mut rooms);
        bob.again(&mut rooms);
        settle(&mut rooms, &mut [&mut alice, &mut bob]);
    }
    assert_eq!((texts(&alice, &session_id), texts(&bob, &session_id)), {
        let all = ["one", "two", "three"].map(str::to_owned).to_vec();
        (all.clone(), all)
    });
    let replaced = alice.events.iter().filter(|event| matches!(event, Event::DeviceReplaced { .. })).count();
    assert_eq!(replaced, 1);
}

#[test]
fn progress_does_not_fall_where_an_epoch_is_begun_again() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    let mut phone = joined(&mut rooms, 1, 4);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    about_to_begin(&mut rooms, &mut alice, &session_id, "one");
    remove(&mut rooms, &mut bob, &phone);
    let scope = SyncScope::Everything;
    alice.feed(Input::Sync { request: 5, session_id: Some(session_id.clone()), scope });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["one"]);
    let progress = alice.events.iter().filter_map(|event| match event {
        Event::SyncProgress { messages_synced, total_messages, .. } => Some((*messages_synced, *total_messages)),
        _ => None,
    });
    let progress: Vec<(u64, u64)> = progress.collect();
    assert!(progress.is_sorted_by_key(|(synced, _)| *synced) && !progress.is_empty(), "{progress:?}");
}

#[test]
fn a_name_whose_message_cannot_be_read_is_told_as_taken() {
    let mut rooms = strict();
    let (mut alice, mut bob, session_id) = pair(&mut rooms);
    send_named(&mut alice, &session_id, "mine", "first").unwrap();
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    // Alice has lost all her devices, and with them the keys of what was written.
    let mut phone = Device::encrypting(wallet(0), drawing(Records::default(), 9), approving(), 9);
    phone.talk(&mut rooms);
    let certificate = phone.signed(Purpose::Reset);
    phone.feed(Input::SetOffline { offline: true });
    phone.feed(Input::Certify { request: 3, certificate });
    open(&mut phone, 1);
    send_named(&mut phone, &session_id, "mine", "second").unwrap();
    phone.feed(Input::SetOffline { offline: false });
    for _ in 0..2 {
        phone.again(&mut rooms);
        settle(&mut rooms, &mut [&mut bob, &mut phone]);
    }
    assert_eq!(texts(&bob, &session_id), ["first"]);
    let failed = phone.events.iter().filter_map(|event| match event {
        Event::StatusChanged { status: MessageStatus::Failed, error: Some(error), .. } => Some(error.code),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), [ErrorCode::MessageIdTaken], "it is lost to nobody without a word");
    // What is in the log under its name may be this message: it is not sent under another name before that can be read.
    phone.feed(Input::Retry { request: 8, message_id: phone.records.failed.values().next().unwrap().entry.message.id.clone() });
    assert_eq!(phone.replies.last().unwrap().as_ref().map_err(|error| error.code), Err(ErrorCode::AccountKeyMissing));
}
