//! A device that takes a new id in a session: what it has said and stored under the old one.

mod desk;

use desk::{Desk, PEER, WALLET, session};
use solconnect_sync_core::client::{Event, Input, MessageStatus, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::Body;
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::limits::{BACKOFF_MS_MAX, CLOCK_DEVICES_MAX};
use solconnect_sync_core::message::Message;
use solconnect_sync_core::vector_clock::VectorClock;

/// An entry of this wallet's device `device` at a place of the log, its `counter`th.
fn own(sequence_number: u64, device: &str, counter: u64, message: Message) -> Entry {
    let mut vector_clock = VectorClock::new();
    vector_clock.raise(device, counter).unwrap();
    let message = Message { id: message_id(&session(), device, counter), session_id: session(), sender_wallet: WALLET.into(), ..message };
    Entry { message, sequence_number, vector_clock, server_timestamp: 8, device_id: device.into() }
}

fn text(text: &str) -> Message {
    Message { ciphertext: text.into(), ..Message::default() }
}

/// What the device has queued, as it would be sent under the present name.
fn unsent(desk: &mut Desk) -> Vec<Message> {
    desk.lose();
    desk.forget();
    desk.wait(BACKOFF_MS_MAX);
    desk.connect();
    let unsent: Vec<Message> = desk.updates().into_iter().flat_map(|update| update.messages).map(|unsent| unsent.message).collect();
    desk.forget();
    unsent
}

fn received(desk: &mut Desk) -> Vec<String> {
    let heard = |event| match event {
        Event::MessageReceived { entry, .. } => Some(entry.message.ciphertext),
        _ => None,
    };
    desk.events().into_iter().filter_map(heard).collect()
}

#[test]
fn what_is_queued_again_under_a_new_id_is_not_sent_before_it_is_stored() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    desk.ask(|request| Input::OpenSession { request, peer_wallet: PEER.into() });
    // While one commit is under way, a message is written and another copy's message of the same counter arrives.
    desk.ask(|request| Input::Send {
        request,
        session_id: session(),
        text: "mine".into(),
        content_type: None,
        message_id: None,
        known: None,
    });
    let name = desk.device_id();
    desk.push(&[own(1, &name, 1, text("theirs"))]);
    desk.forget();
    desk.persist();
    assert!(desk.updates().is_empty(), "the message is not stored yet");
    desk.persist();
    let messages = unsent(&mut desk);
    assert_eq!((messages.len(), messages[0].ciphertext.as_str()), (1, "mine"));
    assert_eq!(messages[0].first_id, Some(message_id(&session(), &name, 1)));
}

#[test]
fn a_message_keeps_its_first_name_however_often_it_is_queued_again() {
    let mut desk = Desk::new();
    let first = desk.send("one");
    for _ in 0..3 {
        desk.refuse(ErrorCode::CounterReused, |_| {});
        let message = unsent(&mut desk).remove(0);
        assert_eq!(message.id, message_id(&session(), &desk.device_id(), 1));
        assert_eq!(message.first_id.as_ref(), Some(&first));
    }
}

#[test]
fn what_was_acknowledged_and_queued_again_leaves_the_outbox_when_the_log_brings_it_i2_i6() {
    let mut desk = Desk::new();
    let (first, second) = (desk.send("taken"), desk.send("not taken"));
    let name = desk.device_id();
    let taken = unsent(&mut desk).remove(0);
    // Its place does not follow what is stored: it stays in the outbox.
    desk.acknowledge(&[(1, 5)]);
    desk.refuse(ErrorCode::CounterReused, |_| {});
    assert_eq!((desk.queued(), desk.device_id() == name), (2, false));
    let again = unsent(&mut desk);
    assert_eq!(again.len(), 2);

    // The relay knows it again by its first name: nobody is warned, and the log is asked for.
    desk.refuse(ErrorCode::AlreadyStored, |error| error.refused_message_id = Some(again[0].id.clone()));
    assert_eq!(desk.warnings(), []);
    desk.forget();
    desk.wait(BACKOFF_MS_MAX);
    assert_eq!(desk.requests().len(), 1);
    let mut log = desk::foreign_log(1, 4);
    log.push(own(5, &name, 1, taken));
    desk.answer(&log, 5);
    let events = desk.events();
    let heard = events.iter().filter(|event| matches!(event, Event::MessageReceived { .. }));
    assert_eq!(heard.count(), 4, "it is not told as another's");
    let (session_id, old_id) = (session(), again[0].id.clone());
    let renamed = Event::MessageRenamed { session_id: session_id.clone(), old_id, new_id: first.clone() };
    assert!(events.contains(&renamed), "what it is called in the log: {events:?}");
    let sent = Event::StatusChanged { session_id, message_id: first, status: MessageStatus::Sent, error: None };
    assert!(events.contains(&sent));
    let rest = unsent(&mut desk);
    assert_eq!((rest.len(), rest[0].ciphertext.as_str(), rest[0].first_id.as_ref()), (1, "not taken", Some(&second)));
    assert_eq!(desk.shown(), ["text 1", "text 2", "text 3", "text 4", "taken", "not taken"]);
}

#[test]
fn a_profile_that_was_set_back_knows_its_messages_under_names_that_it_has_forgotten_f42() {
    let mut desk = Desk::new();
    let first = desk.send("before");
    desk.call(|request| Input::Edit { request, session_id: session(), message_id: first.clone(), text: Some("edited".into()) }).unwrap();
    let queued = unsent(&mut desk);
    // After the backup was made it was called otherwise, and sent the first of them under that name.
    let forgotten = Message { first_id: Some(first.clone()), ..queued[0].clone() };
    desk.push(&[own(1, "forgotten", 1, forgotten)]);
    let in_log = message_id(&session(), "forgotten", 1);
    let events = desk.events();
    assert!(events.contains(&Event::MessageRenamed { session_id: session(), old_id: first, new_id: in_log.clone() }));
    assert!(!events.iter().any(|event| matches!(event, Event::MessageReceived { .. })), "I6");
    let rest = unsent(&mut desk);
    assert_eq!((rest.len(), rest[0].replaces.as_ref()), (1, Some(&in_log)), "the edit goes to where the message is");
    assert_eq!(desk.shown(), ["edited"]);
    desk = desk.reload();
    assert_eq!(desk.shown(), ["edited"]);
}

#[test]
fn another_message_of_the_same_first_name_is_another_message_f41() {
    let mut desk = Desk::new();
    let first = desk.send("mine");
    desk.push(&[own(1, "copy", 1, Message { first_id: Some(first.clone()), ..text("of the copy") })]);
    assert_eq!((received(&mut desk), desk.queued()), (vec!["of the copy".to_owned()], 1));
    assert_eq!(unsent(&mut desk)[0].id, first, "and it keeps its name");
}

#[test]
fn what_another_wrote_under_this_devices_name_is_heard_i6() {
    let mut desk = Desk::new();
    let name = desk.device_id();
    desk.push(&[own(1, &name, 1, text("of a copy"))]);
    assert_eq!(received(&mut desk), ["of a copy"]);
    assert_eq!(desk.send("goes on behind it"), message_id(&session(), &name, 2), "I11");
}

#[test]
fn a_new_id_is_taken_in_one_session_and_the_others_keep_theirs() {
    let mut desk = Desk::new();
    let other_peer = "So11111111111111111111111111111111111111113";
    desk.call(|request| Input::OpenSession { request, peer_wallet: other_peer.into() }).unwrap();
    let other = session_of(WALLET, other_peer);
    let name = desk.device_id();
    desk.call(|request| Input::Send {
        request,
        session_id: other.clone(),
        text: "elsewhere".into(),
        content_type: None,
        message_id: None,
        known: None,
    })
    .unwrap();
    desk.send("here");
    desk.commits.clear();
    desk.refuse(ErrorCode::CounterReused, |_| {});
    let names = |desk: &Desk| -> Vec<(String, String)> {
        desk.client.stored_sessions().into_iter().map(|session| (session.session_id, session.device_id)).collect()
    };
    let before = names(&desk);
    assert!(before.contains(&(other.clone(), name.clone())) && !before.contains(&(session(), name.clone())));
    let written = desk.commits.iter().flat_map(|commit| &commit.writes);
    assert!(!written.into_iter().any(|write| matches!(write, Write::Device(_))));
    desk = desk.reload();
    assert_eq!(names(&desk), before);
    desk.connect();
    for frame in desk.sent() {
        if let Body::SyncUpdate(_) | Body::DeviceAnnounce(_) = frame.body {
            assert_eq!(frame.head.device_id == name, frame.head.session_id == other, "{frame:?}");
        }
    }
}

#[test]
fn where_there_is_no_room_for_a_new_id_nothing_is_renamed_and_nothing_lost_i2() {
    let mut desk = Desk::new();
    let mut record = desk.records.snapshot().sessions.remove(0);
    for number in 0..CLOCK_DEVICES_MAX - 1 {
        record.heads.raise(&format!("device-{number}"), 1).unwrap();
    }
    record.heads.raise(&record.device_id, 1).unwrap();
    (record.counter, record.cursor) = (1, CLOCK_DEVICES_MAX as u64);
    desk.records.apply(&Write::Session(record)).unwrap();
    let mut desk = desk.reload();
    let ids = [desk.send("one"), desk.send("two")];
    desk.connect();
    desk.forget();
    desk.refuse(ErrorCode::CounterReused, |_| {});
    assert_eq!(desk.warnings(), [ErrorCode::LimitReached]);
    let queued = desk.client.queued();
    assert_eq!(
        queued.iter().map(|view| (view.id.clone(), view.text.as_str())).collect::<Vec<_>>(),
        ids.into_iter().zip(["one", "two"]).collect::<Vec<_>>()
    );
}
