//! Messages of the outbox that are made anew, and what tells one log from another: names and texts stay for ever, counters
//! and digests follow what the log has.

use crate::desk;
use crate::desk::{Desk, PEER, WALLET, foreign, foreign_log, session};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Event, Input, MessageStatus, NameRecord, OutboxRecord, SyncScope, Write};
use solconnect_sync_core::entry::{Digest, Entry, Extensions, first_digest, short_hex};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Frame, SyncAck, SyncHeartbeat, SyncResponse};
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::limits::BACKOFF_MS_MAX;
use solconnect_sync_core::log::{Log, LogHead};
use solconnect_sync_core::message::{Kind, Message};

const OTHER_PEER: &str = "So11111111111111111111111111111111111111113";

/// A message of this wallet's device `device` at a place of the log, its `counter`th.
fn own(sequence_number: u64, device: &str, counter: u64, id: &str, text: &str) -> Entry {
    let (id, session_id, sender_wallet) = (id.to_owned(), session(), WALLET.to_owned());
    let message = Message { id, session_id, sender_wallet, ciphertext: text.to_owned(), ..Message::default() };
    Entry { message, sequence_number, counter, server_timestamp: 8, device_id: device.into(), ..Entry::default() }
}

/// What the device has queued, as it would be sent now on a new connection.
fn unsent(desk: &mut Desk) -> Vec<Entry> {
    desk.lose();
    desk.forget();
    desk.wait(BACKOFF_MS_MAX);
    desk.connect();
    desk.updates().into_iter().flat_map(|update| update.messages).collect()
}

fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.message.ciphertext.as_str()).collect()
}

fn counters(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.counter).collect()
}

/// The digest of the last of these, of which the first follows `before`.
fn digest_after(before: Digest, entries: &[Entry]) -> Digest {
    entries.iter().fold(before, |digest, entry| entry.digest(&digest))
}

fn received(desk: &mut Desk) -> Vec<String> {
    let heard = |event| match event {
        Event::MessageReceived { entry, .. } => Some(entry.message.ciphertext),
        _ => None,
    };
    desk.events().into_iter().filter_map(heard).collect()
}

fn status_of(message_id: &str, status: MessageStatus) -> Event {
    Event::StatusChanged { session_id: session(), message_id: message_id.to_owned(), status, error: None }
}

/// What was sent since the last time: an announcement, then what follows it.
fn announced_again(desk: &mut Desk) -> Vec<desk::Update> {
    let is_saying = |frame: &&Frame| matches!(frame.body, Body::DeviceAnnounce(_) | Body::SyncUpdate(_));
    let first = desk.sent.iter().find(is_saying);
    assert!(matches!(first.map(|frame| &frame.body), Some(Body::DeviceAnnounce(_))), "{first:?}");
    desk.updates()
}

#[test]
fn ids_times_and_texts_stay_however_often_a_message_is_queued_again() {
    let mut desk = Desk::new();
    desk.send("one");
    desk.call(|request| Input::Edit { request, session_id: session(), message_id: "m".into(), text: Some("two".into()) }).unwrap();
    desk.send_named("my own", "three").unwrap();
    let written: Vec<Message> = desk.updates().into_iter().flat_map(|update| update.messages).map(|entry| entry.message).collect();
    assert_eq!(written.len(), 3);
    for _ in 0..3 {
        let before = desk.device_id();
        desk.wait(1_000);
        desk.refuse(ErrorCode::CounterReused, |_| {});
        assert_ne!(desk.device_id(), before);
        let queued = unsent(&mut desk);
        assert_eq!(queued.iter().map(|entry| entry.message.clone()).collect::<Vec<_>>(), written);
        assert_eq!(counters(&queued), [1, 2, 3]);
        assert!(queued.iter().all(|entry| entry.device_id == desk.device_id()));
    }
}

#[test]
fn what_is_queued_again_under_a_new_id_is_not_sent_before_it_is_stored() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    desk.ask(|request| Input::OpenSession { request, peer_wallet: PEER.into() });
    // While one commit is under way, a message is written and another copy's message of the same counter arrives.
    desk.send_in(&session(), "mine");
    let name = desk.device_id();
    desk.push(&[own(1, &name, 1, "theirs", "theirs")]);
    desk.forget();
    desk.persist();
    assert!(desk.updates().is_empty(), "the message is not stored yet");
    desk.persist();
    let messages = unsent(&mut desk);
    assert_eq!(texts(&messages), ["mine"]);
    assert_eq!((messages[0].device_id == name, messages[0].counter), (false, 1));
    assert!(messages[0].message.id.starts_with(&format!("{}:{name}:", session())), "its name stays: {}", messages[0].message.id);
}

#[test]
fn a_refused_message_becomes_a_void_and_the_rest_goes_on() {
    let mut desk = Desk::new();
    let [first, bad, last] = ["one", "bad", "three"].map(|text| desk.send(text));
    let written = desk.updates();
    let device = desk.device_id();
    desk.acknowledge(&[(1, 1)]);
    desk.forget();
    desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(bad.clone()));
    let told = desk.events().into_iter().filter(|event| matches!(event, Event::StatusChanged { .. }));
    let is_queued = |event: &Event| matches!(event, Event::StatusChanged { status: MessageStatus::Queued, .. });
    let (waits, failed): (Vec<Event>, Vec<Event>) = told.partition(is_queued);
    assert_eq!(waits.len(), 2, "what was sent behind it waits again: {waits:?}");
    assert!(
        matches!(&failed[..], [Event::StatusChanged { message_id, status: MessageStatus::Failed, error: Some(error), .. }, ..]
            if *message_id == bad && error.code == ErrorCode::MessageTooLarge),
        "{failed:?}"
    );
    assert!(desk.commits.iter().any(|commit| commit.strict));
    let update = announced_again(&mut desk).remove(0);
    assert_eq!((counters(&update.messages), texts(&update.messages)), (vec![2, 3], vec!["", "three"]));
    let void = &update.messages[0];
    assert_eq!((void.message.kind, void.message.id.as_str(), void.device_id.as_str()), (Kind::VOID, bad.as_str(), device.as_str()));
    let [third] = &written[2].messages[..] else { panic!("{written:?}") };
    assert_eq!((&update.messages[1], update.messages[1].message.id.as_str()), (third, last.as_str()), "only its digest is another");
    let before = written[0].last_digest;
    assert_eq!(before, digest_after(first_digest(&session(), &device), &written[0].messages));
    assert_eq!(update.last_digest, digest_after(before, &update.messages));
    assert_ne!(update.last_digest, written[2].last_digest);
    desk.acknowledge(&[(2, 2), (3, 3)]);
    assert_eq!((desk.queued(), desk.shown()), (0, ["one", "three", "bad"].map(String::from).to_vec()));
    let events = desk.events();
    assert!(!events.iter().any(|event| matches!(event, Event::MessageSynced { message_id, .. } if *message_id == bad)), "{events:?}");
    assert!(!events.contains(&status_of(&bad, MessageStatus::Sent)));
    assert_eq!(desk.entries().iter().map(|entry| entry.message.id.clone()).collect::<Vec<_>>(), [first, bad, last]);
}

#[test]
fn a_void_that_is_refused_stops_the_session() {
    let mut desk = Desk::new();
    let bad = desk.send("bad");
    for code in [ErrorCode::MessageIdTaken, ErrorCode::InvalidMessageFormat] {
        desk.refuse(code, |error| error.refused_message_id = Some(bad.clone()));
    }
    assert_eq!(desk.warnings(), [ErrorCode::InvalidMessageFormat]);
    desk.forget();
    desk.send("behind it");
    desk.wait(BACKOFF_MS_MAX);
    assert!(desk.updates().is_empty());
    desk.sync(SyncScope::Everything);
    desk.connect();
    assert_eq!(desk.updates().iter().map(|update| update.messages.len()).sum::<usize>(), 2, "until the application asks again");
}

#[test]
fn a_voided_message_stays_one_after_a_restart() {
    let mut desk = Desk::new();
    let bad = desk.send("bad");
    desk.send("next");
    desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(bad.clone()));
    let before = announced_again_after_reload(&mut desk);
    assert_eq!((texts(&before.0), before.0[0].message.kind), (vec!["", "next"], Kind::VOID));
    assert_eq!(before.1, digest_after(first_digest(&session(), &desk.device_id()), &before.0));
}

fn announced_again_after_reload(desk: &mut Desk) -> (Vec<Entry>, Digest) {
    let mut again = Desk::unconnected(desk.config.clone(), desk.records.clone());
    again.connect();
    let update = again.updates().remove(0);
    (update.messages, update.last_digest)
}

#[test]
fn a_new_device_id_is_taken_in_all_sessions_in_one_commit() {
    for fails in [false, true] {
        let mut desk = Desk::new();
        desk.call(|request| Input::OpenSession { request, peer_wallet: OTHER_PEER.into() }).unwrap();
        let other = session_of(WALLET, OTHER_PEER);
        desk.send_in(&other, "elsewhere");
        desk.send("here");
        let name = desk.device_id();
        let names = |desk: &Desk| -> Vec<String> {
            let mut names: Vec<String> = desk.client.stored_sessions().into_iter().map(|session| session.device_id).collect();
            names.push(desk.client.device_id().to_owned());
            names.dedup();
            names
        };
        desk.forget();
        desk.held = Some(Default::default());
        desk.refuse(ErrorCode::CounterReused, |_| {});
        assert_eq!(names(&desk), std::slice::from_ref(&name), "it is not stored yet");
        if fails {
            desk.fail(ErrorCode::StorageFull);
            assert_eq!((names(&desk), desk.records.device.clone().unwrap().device_id), (vec![name.clone()], name.clone()));
            assert!(!desk.events().iter().any(|event| matches!(event, Event::DeviceReplaced { .. })));
            let counters = |record: OutboxRecord| record.entries.iter().map(|entry| (entry.device_id.clone(), entry.counter)).collect();
            let stored: Vec<Vec<(String, u64)>> = desk.records.snapshot().outbox.into_iter().map(counters).collect();
            assert_eq!(stored, [vec![(name.clone(), 1)], vec![(name.clone(), 1)]]);
            continue;
        }
        let writes = desk.held.as_ref().unwrap()[0].writes.clone();
        assert_eq!(writes.iter().filter(|write| matches!(write, Write::Device(_))).count(), 1);
        assert_eq!(writes.iter().filter(|write| matches!(write, Write::Outbox(_))).count(), 2);
        assert!(desk.held.as_ref().unwrap()[0].strict);
        desk.persist();
        let new_id = desk.device_id();
        assert_ne!(new_id, name);
        assert_eq!((names(&desk), desk.held.as_ref().unwrap().len()), (vec![new_id.clone()], 0));
        let replaced: Vec<Event> = desk.events().into_iter().filter(|event| matches!(event, Event::DeviceReplaced { .. })).collect();
        assert_eq!(replaced, [Event::DeviceReplaced { old_id: name, new_id: new_id.clone() }]);
        desk.held = None;
        let mut desk = desk.reload();
        desk.call(|request| Input::OpenSession { request, peer_wallet: OTHER_PEER.into() }).unwrap();
        desk.connect();
        let updates = desk.updates();
        assert_eq!(updates.len(), 2);
        assert!(updates.iter().all(|update| update.device_id == new_id && counters(&update.messages) == [1]), "{updates:?}");
    }
}

#[test]
fn another_message_under_own_device_and_counter_gives_a_new_id() {
    let mut desk = Desk::new();
    let id = desk.send("mine");
    let name = desk.device_id();
    desk.forget();
    desk.push(&[own(1, &name, 1, &id, "of a copy")]);
    assert_ne!(desk.device_id(), name);
    assert_eq!((received(&mut desk), desk.cursor()), (vec!["of a copy".to_owned()], 1));
    let queued = unsent(&mut desk);
    assert_eq!((texts(&queued), counters(&queued), queued[0].message.id.as_str()), (vec!["mine"], vec![1], id.as_str()));
}

#[test]
fn what_a_copy_wrote_is_heard_and_followed_i6_i11() {
    let mut desk = Desk::new();
    let name = desk.device_id();
    desk.send("before");
    desk.acknowledge(&[(1, 1)]);
    desk.forget();
    let copied = own(2, &name, 2, "of the copy", "of a copy");
    desk.push(std::slice::from_ref(&copied));
    assert_eq!(received(&mut desk), ["of a copy"]);
    desk.send("goes on behind it");
    let update = desk.updates().remove(0);
    assert_eq!(counters(&update.messages), [3]);
    let before = digest_after(first_digest(&session(), &name), &desk.entries());
    assert_eq!(update.last_digest, digest_after(before, &update.messages), "it follows what the log has");
}

#[test]
fn what_the_log_brings_under_another_device_leaves_and_the_gap_closes() {
    let mut desk = Desk::new();
    desk.send("one");
    desk.send_named("x", "two").unwrap();
    desk.send("three");
    let written = desk.updates();
    desk.forget();
    desk.push(&[own(1, "copy", 1, "x", "two")]);
    let events = desk.events();
    assert!(events.contains(&status_of("x", MessageStatus::Sent)), "{events:?}");
    assert!(events.contains(&Event::MessageSynced { session_id: session(), message_id: "x".into() }));
    assert!(!events.iter().any(|event| matches!(event, Event::MessageReceived { .. })), "I6");
    assert_eq!(desk.queued(), 2);
    let update = announced_again(&mut desk).remove(0);
    assert_eq!((texts(&update.messages), counters(&update.messages)), (vec!["one", "three"], vec![1, 2]));
    assert_eq!(update.messages[0], written[0].messages[0], "what is before it keeps its bytes");
    assert_eq!(update.messages[1].message, written[2].messages[0].message);
    assert_eq!(update.last_digest, digest_after(first_digest(&session(), &desk.device_id()), &update.messages));
    assert_eq!(announced_again_after_reload(&mut desk), (update.messages, update.last_digest));
    desk.acknowledge(&[(1, 2), (2, 3)]);
    assert_eq!((desk.shown(), desk.queued()), (["two", "one", "three"].map(String::from).to_vec(), 0));
}

#[test]
fn a_message_of_the_same_name_that_says_something_else_is_another() {
    let mut desk = Desk::new();
    desk.send_named("x", "mine").unwrap();
    let mut by_the_peer = own(2, "phone", 1, "x", "mine");
    by_the_peer.message.sender_wallet = PEER.into();
    desk.push(&[own(1, "copy", 1, "x", "of the copy"), by_the_peer]);
    assert_eq!((received(&mut desk), desk.queued()), (vec!["of the copy".to_owned(), "mine".to_owned()], 1));
    desk.refuse(ErrorCode::MessageIdTaken, |error| error.refused_message_id = Some("x".into()));
    let failed =
        |event: &Event| matches!(event, Event::StatusChanged { message_id, status: MessageStatus::Failed, .. } if message_id == "x");
    assert!(desk.events().iter().any(failed));
    assert_eq!((desk.status("x"), desk.records.names.len()), (Some(MessageStatus::Failed), 0), "its void has another name");
}

#[test]
fn a_name_read_before_it_was_refused_is_not_known() {
    let mut desk = Desk::new();
    desk.send_named("x", "mine").unwrap();
    let known = desk.records.names.get(&(session(), "x".to_owned())).cloned();
    desk.refuse(ErrorCode::MessageIdTaken, |error| error.refused_message_id = Some("x".into()));
    let (session_id, text, message_id) = (session(), "mine".to_owned(), Some("x".to_owned()));
    desk.call(|request| Input::Send { request, session_id, text, content_type: None, message_id, known }).unwrap();
    assert_eq!(texts(&unsent(&mut desk)), ["", "mine"], "it is sent, and refused again");
}

#[test]
fn an_own_entry_that_it_never_wrote_shows_a_copy() {
    let mut desk = Desk::new();
    let device = desk.device_id();
    desk.send_named("x", "shared").unwrap();
    desk.send("mine");
    // The copy closed the gap that the shared message left, and so its next one has the first counter.
    desk.push(&[own(1, "copy", 1, "x", "shared"), own(2, &device, 1, "y", "of the copy")]);
    assert_ne!(desk.device_id(), device);
    assert_eq!(texts(&unsent(&mut desk)), ["mine"]);
}

#[test]
fn the_void_of_a_copy_leaves_the_own_one_waiting() {
    let mut desk = Desk::new();
    desk.send("too much");
    let refused = desk.updates().remove(0).messages.remove(0).message.id;
    desk.refuse(ErrorCode::InvalidMessageFormat, |error| error.refused_message_id = Some(refused.clone()));
    let mut void = own(1, "copy", 1, &refused, "");
    void.message.kind = Kind::VOID;
    desk.push(&[void]);
    assert_eq!((desk.queued(), desk.records.outbox.len()), (0, 1), "the relay takes both, and nothing that was written waits");
}

#[test]
fn what_was_acknowledged_and_queued_again_leaves_with_the_log_i2_i6() {
    let mut desk = Desk::new();
    let first = desk.send("taken");
    desk.send("not taken");
    let name = desk.device_id();
    let taken = desk.updates().remove(0).messages.remove(0);
    // Its place does not follow what is stored: it stays in the outbox.
    desk.acknowledge(&[(1, 5)]);
    desk.refuse(ErrorCode::CounterReused, |_| {});
    assert_eq!((desk.queued(), desk.device_id() == name), (2, false));
    assert_eq!(unsent(&mut desk).len(), 2);

    // The relay knows it again by its name: nobody is warned, and the log is asked for.
    desk.refuse(ErrorCode::AlreadyStored, |error| {
        (error.refused_message_id, error.stored_sequence) = (Some(first.clone()), Some(5));
    });
    assert_eq!(desk.warnings(), []);
    desk.forget();
    desk.wait(BACKOFF_MS_MAX);
    assert_eq!(desk.requests().len(), 1);
    let mut log = foreign_log(1, 4);
    log.push(Entry { sequence_number: 5, server_timestamp: 8, ..taken });
    desk.answer(&log, 5);
    let events = desk.events();
    let heard = events.iter().filter(|event| matches!(event, Event::MessageReceived { .. }));
    assert_eq!(heard.count(), 4, "it is not told as another's");
    assert!(events.contains(&status_of(&first, MessageStatus::Sent)), "{events:?}");
    let rest = unsent(&mut desk);
    assert_eq!((texts(&rest), counters(&rest)), (vec!["not taken"], vec![1]));
    assert_eq!(desk.shown(), ["text 1", "text 2", "text 3", "text 4", "taken", "not taken"]);
}

/// The wallet's other device sent it under the same name, and this one has that already: the log does not bring it again.
#[test]
fn a_message_that_the_stored_log_has_already_leaves_the_outbox() {
    let mut desk = Desk::new();
    desk.push(&[own(1, "laptop", 1, "x", "said there"), foreign(2, 1, "theirs")]);
    desk.send_named("x", "said there").unwrap();
    desk.send("next");
    desk.forget();
    desk.refuse(ErrorCode::AlreadyStored, |error| {
        (error.refused_message_id, error.stored_sequence) = (Some("x".into()), Some(1));
    });
    let events = desk.events();
    assert!(events.contains(&status_of("x", MessageStatus::Sent)) && !events.iter().any(|event| matches!(event, Event::Warning { .. })));
    let update = announced_again(&mut desk).remove(0);
    assert_eq!((texts(&update.messages), counters(&update.messages)), (vec!["next"], vec![1]));
    assert_eq!((desk.queued(), desk.shown()), (1, ["said there", "theirs", "next"].map(String::from).to_vec()));
}

#[test]
fn refusals_of_frames_from_before_the_announcement_do_no_harm() {
    let mut desk = Desk::new();
    desk.send_named("x", "one").unwrap();
    let [second, third] = ["two", "three"].map(|text| desk.send(text));
    let frames: Vec<String> = desk.updates().into_iter().map(|update| update.frame_id).collect();
    desk.push(&[own(1, "copy", 1, "x", "one")]);
    let again = announced_again_in_all(&mut desk);
    assert_eq!(counters(&again.messages), [1, 2]);
    desk.forget();
    for (code, frame) in [
        (ErrorCode::MessageTooLarge, &frames[1]),
        (ErrorCode::NotAnnounced, &frames[1]),
        (ErrorCode::CounterGap, &frames[2]),
        (ErrorCode::CounterReused, &frames[2]),
        (ErrorCode::AlreadyStored, &frames[0]),
    ] {
        desk.refuse(code, |error| {
            (error.in_reply_to, error.refused_message_id, error.stored_sequence) = (Some(frame.clone()), Some(second.clone()), Some(1));
        });
    }
    assert_eq!((desk.sent().len(), desk.events().len(), desk.disconnects), (0, 0, 0));
    assert_eq!((desk.status(&second), desk.queued()), (Some(MessageStatus::Sending), 2));
    desk.refuse(ErrorCode::MessageTooLarge, |error| {
        (error.in_reply_to, error.refused_message_id) = (Some(again.frame_id.clone()), Some(third.clone()));
    });
    assert_eq!(desk.status(&third), Some(MessageStatus::Failed), "what is about the frames since counts");
}

fn announced_again_in_all(desk: &mut Desk) -> desk::Update {
    let at = desk.sent.iter().rposition(|frame| matches!(frame.body, Body::DeviceAnnounce(_))).expect("it has announced itself");
    desk.sent.drain(..at);
    desk.updates().remove(0)
}

#[test]
fn each_frame_behind_a_refused_one_is_refused_and_waits_only_once() {
    let mut desk = Desk::new();
    ["one", "two", "three", "four", "five"].iter().for_each(|text| drop(desk.send(text)));
    let frames: Vec<String> = desk.updates().into_iter().map(|update| update.frame_id).collect();
    desk.forget();
    let refuse = |desk: &mut Desk, code: ErrorCode, frame: &String| desk.refuse(code, |error| error.in_reply_to = Some(frame.clone()));
    refuse(&mut desk, ErrorCode::RelayBusy, &frames[0]);
    for frame in &frames[1..] {
        refuse(&mut desk, ErrorCode::NotAnnounced, frame);
    }
    assert_eq!(desk.warnings(), [ErrorCode::RelayBusy]);
    let wait_ms = desk.client.next_timeout_ms().unwrap() - desk.now.monotonic_ms;
    assert!(wait_ms <= desk.config.retry_delay_ms, "{wait_ms}");
}

#[test]
fn a_message_knows_what_was_stored_when_it_was_written() {
    let mut desk = Desk::new();
    desk.push(&foreign_log(1, 2));
    desk.held = Some(Default::default());
    desk.send_in(&session(), "first");
    // In one turn: a batch, and a message that was written before it could be seen.
    desk.push(&foreign_log(3, 4));
    desk.send_in(&session(), "second");
    desk.persist();
    desk.persist();
    desk.held = None;
    desk.send("third");
    let knows: Vec<u64> = desk.records.snapshot().outbox.iter().flat_map(|record| &record.entries).map(|entry| entry.knows).collect();
    assert_eq!(knows, [2, 2, 4]);
}

#[test]
fn a_repeat_is_the_same_bytes_after_a_reconnect_and_a_restart() {
    let mut desk = Desk::new();
    desk.push(&foreign_log(1, 2));
    desk.lose();
    ["one", "aGVsbG8gd29ybGQ="].iter().for_each(|text| drop(desk.send(text)));
    desk.send_named("x", "three").unwrap();
    let bodies = |desk: &mut Desk| -> Vec<Vec<u8>> {
        desk.forget();
        desk.wait(BACKOFF_MS_MAX);
        desk.connect();
        desk.updates().into_iter().map(|update| update.bytes).collect()
    };
    let first = bodies(&mut desk);
    assert_eq!(first.len(), 1);
    desk.push(&foreign_log(3, 4));
    desk.lose();
    assert_eq!(bodies(&mut desk), first);
    let mut desk = desk.reload();
    desk.connect();
    desk.lose();
    assert_eq!(bodies(&mut desk), first);
}

/// The head that the log has with these entries.
fn head_of(entries: &[Entry]) -> LogHead {
    let mut log = Log::new(&session());
    log.accept(entries.to_vec(), |_, _| Ok(())).unwrap();
    log.log_head()
}

#[test]
fn nothing_of_a_relay_with_another_log_is_stored() {
    let log = foreign_log(1, 3);
    let forged = |entries: &[Entry]| LogHead { hash: [0xab; 32], ..head_of(entries) };
    let response = |entries: &[Entry], latest_sequence, log| {
        let messages = Batch::of(entries).unwrap();
        Body::SyncResponse(SyncResponse { messages, latest_sequence, log, ..SyncResponse::default() })
    };
    let ack = |log| {
        let (acknowledged_counters, acknowledged_sequences, server_timestamps) = (vec![1], vec![3], vec![9]);
        Body::SyncAck(SyncAck { acknowledged_counters, acknowledged_sequences, server_timestamps, log, ..SyncAck::default() })
    };
    let heartbeat =
        |log: LogHead| Body::SyncHeartbeat(SyncHeartbeat { sequence_number: log.sequence, log: Some(log), ..SyncHeartbeat::default() });
    let mut desk = Desk::new();
    desk.push(&log[..2]);
    desk.send("mine");
    let mine = Entry { sequence_number: 3, server_timestamp: 9, ..desk.updates().remove(0).messages.remove(0) };
    let with_mine = [&log[..2], &[mine]].concat();
    for (said, is_true) in [
        (response(&log[2..], 3, Some(forged(&log))), false),
        (response(&[], 2, Some(forged(&log[..2]))), false),
        (heartbeat(forged(&log[..2])), false),
        (ack(Some(forged(&with_mine))), false),
        (response(&log[2..], 3, Some(head_of(&log))), true),
        (response(&[], 2, Some(head_of(&log[..2]))), true),
        (heartbeat(head_of(&log[..2])), true),
        (ack(Some(head_of(&with_mine))), true),
        // It is about another place: nothing to compare.
        (heartbeat(forged(&log)), true),
        (ack(Some(forged(&foreign_log(1, 4)))), true),
    ] {
        let mut desk = Desk::new();
        desk.push(&log[..2]);
        desk.send("mine");
        desk.forget();
        desk.hear(said.clone());
        desk.wait(50);
        let warnings: Vec<_> =
            desk.events().into_iter().filter_map(|event| if let Event::Warning { error } = event { Some(error) } else { None }).collect();
        if is_true {
            assert_eq!(warnings, [], "{said:?}");
            continue;
        }
        assert_eq!(warnings.iter().map(|error| error.code).collect::<Vec<_>>(), [ErrorCode::RelayForked], "{said:?}");
        let text = &warnings[0].message;
        assert!(text.contains(&short_hex(&[0xab; 32])) && text.matches('(').count() == 2, "both are named: {text}");
        assert_eq!((desk.cursor(), desk.entries().len(), desk.queued()), (2, 2, 1), "nothing of it is stored");
        desk.forget();
        desk.send("more");
        desk.push(&log[2..]);
        assert_eq!((desk.updates().len(), desk.cursor()), (0, 2), "it says and takes no more");
    }
}

#[test]
fn a_device_says_what_log_it_has_when_it_asks() {
    let mut desk = Desk::new();
    desk.push(&foreign_log(1, 3));
    desk.sync(SyncScope::Everything);
    assert_eq!(desk.requests().last().unwrap().log, Some(head_of(&foreign_log(1, 3))));
    let mut desk = desk.reload();
    desk.connect();
    assert_eq!(desk.requests().last().unwrap().log, Some(head_of(&foreign_log(1, 3))));
}

/// What a later version may add.
#[test]
fn kinds_and_extensions_of_the_future_are_kept_and_not_shown() {
    let mut desk = Desk::new();
    let mut later = foreign(2, 2, "of a later version");
    (later.message.kind, later.message.replaces) = (Kind(77), Some("m".into()));
    later.extensions = Extensions::from(&[9, 2, 1, 2][..]);
    let mut void = foreign(3, 3, "");
    void.message.kind = Kind::VOID;
    let extended = Entry { extensions: Extensions::from(&[5, 1, 7][..]), knows: 3, ..foreign(4, 4, "with more") };
    let mut tablet = Entry { device_id: "tablet".into(), ..foreign(5, 1, "") };
    (tablet.message.kind, tablet.message.id) = (Kind(3), "of the tablet".into());
    let log = [foreign(1, 1, "hello"), later, void, extended, tablet];
    desk.push(&log);
    let events = desk.events();
    assert!(!events.iter().any(|event| matches!(event, Event::ConflictDetected { .. } | Event::MessageChanged { .. })), "{events:?}");
    let heard: Vec<_> = events.iter().filter(|event| matches!(event, Event::MessageReceived { .. })).collect();
    assert_eq!((heard.len(), desk.shown()), (2, vec!["hello".to_owned(), "with more".to_owned()]));
    assert_eq!(desk.entries(), log, "all of it is stored as it came");
    assert_eq!(desk.cursor(), 5);
    let json = serde_json::to_string(&desk.entries()).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Entry>>(&json).unwrap(), log, "and goes into an export");
    let mut other = Desk::unconnected(Default::default(), Default::default());
    other.call(|request| Input::Import { request, peer_wallet: PEER.into(), entries: log.to_vec() }).unwrap();
    assert_eq!((other.entries(), other.shown()), (log.to_vec(), desk.shown()));
    assert!(other.records.snapshot().versions.is_empty());
}

#[test]
fn a_message_sent_again_under_its_name_is_the_same_message() {
    let mut desk = Desk::new();
    let receipt = desk.send_named("order 7", "three apples").unwrap();
    assert_eq!((receipt.message_id.as_str(), receipt.status), ("order 7", MessageStatus::Queued));
    let written = desk.commits.last().unwrap().writes.clone();
    assert!(written.iter().any(|write| matches!(write, Write::Name(NameRecord { message_id, .. }) if message_id == "order 7")));
    assert!(desk.commits.last().unwrap().strict);
    let commits = desk.commits.len();
    desk.wait(3);
    assert_eq!(desk.send_named("order 7", "three apples"), Ok(receipt.clone()), "of the outbox");
    assert_eq!(desk.send_named("order 7", "four apples").unwrap_err().code, ErrorCode::MessageIdTaken);
    desk.acknowledge(&[(1, 1)]);
    assert_eq!(desk.send_named("order 7", "three apples"), Ok(receipt.clone()), "of the record");
    assert_eq!(desk.send_named("order 7", "four apples").unwrap_err().code, ErrorCode::MessageIdTaken);
    assert_eq!((desk.queued(), desk.commits.len()), (0, commits + 1), "nothing was written but the log");
    let mut desk = desk.reload();
    assert_eq!(desk.send_named("order 7", "three apples"), Ok(receipt), "after a restart");
    assert_eq!(desk.send_named("order 7", "four apples").unwrap_err().code, ErrorCode::MessageIdTaken);
    assert_eq!(desk.queued(), 0);
}

#[test]
fn a_name_given_twice_in_one_commit_is_one_message() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    desk.send_in(&session(), "under way");
    let calls = ["same", "same", "other"].map(|text| {
        let (session_id, text, message_id) = (session(), text.to_owned(), Some("x".to_owned()));
        desk.ask(|request| Input::Send { request, session_id, text, content_type: None, message_id, known: None })
    });
    desk.persist();
    assert!(!calls.iter().any(|call| desk.replies.contains_key(call)), "they are answered when it is stored");
    desk.persist();
    let [first, second, third] = calls.map(|call| desk.replies[&call].clone());
    assert_eq!((first.is_ok(), &first), (true, &second));
    assert_eq!(third.unwrap_err().code, ErrorCode::MessageIdTaken);
    assert_eq!((desk.queued(), desk.records.names.len()), (2, 1));
}

/// The look-up for the call was made before the name was forgotten.
#[test]
fn a_forgotten_name_whose_new_message_was_not_stored_stays_free() {
    let mut desk = Desk::new();
    desk.send_named("x", "text").unwrap();
    let known = desk.records.names.values().next().cloned();
    desk.refuse(ErrorCode::MessageIdTaken, |error| error.refused_message_id = Some("x".to_owned()));
    let send = |desk: &mut Desk| {
        let (session_id, text, message_id, known) = (session(), "text".to_owned(), Some("x".to_owned()), known.clone());
        desk.ask(|request| Input::Send { request, session_id, text, content_type: None, message_id, known })
    };
    desk.held = Some(Default::default());
    send(&mut desk);
    desk.fail(ErrorCode::StorageFull);
    desk.held = None;
    let queued = desk.queued();
    let again = send(&mut desk);
    assert!(desk.replies[&again].is_ok());
    assert_eq!(desk.queued(), queued + 1, "what is said to be queued waits");
}

/// Between its calls the log brings the message: a copy of this profile sent it (found by the simulated world).
#[test]
fn a_name_is_known_in_the_commit_that_logs_its_message() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    desk.send_in(&session(), "under way");
    let send = |desk: &mut Desk| {
        let (session_id, text, message_id) = (session(), "text".to_owned(), Some("x".to_owned()));
        desk.ask(|request| Input::Send { request, session_id, text, content_type: None, message_id, known: None })
    };
    let first = send(&mut desk);
    desk.push(&[own(1, "copy", 1, "x", "text")]);
    let second = send(&mut desk);
    desk.persist();
    desk.persist();
    assert_eq!((desk.replies[&first].is_ok(), &desk.replies[&first]), (true, &desk.replies[&second]));
    assert_eq!((desk.cursor(), desk.queued()), (1, 1), "only the message that was under way waits");
}

#[test]
fn a_name_of_a_message_that_was_not_stored_is_free() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    let (session_id, text, message_id) = (session(), "lost".to_owned(), Some("x".to_owned()));
    desk.ask(|request| Input::Send { request, session_id, text, content_type: None, message_id, known: None });
    desk.fail(ErrorCode::StorageFull);
    desk.held = None;
    desk.send_named("x", "another").unwrap();
    assert_eq!((desk.queued(), desk.shown()), (1, vec!["another".to_owned()]));
}

#[test]
fn names_that_the_sdk_gives_are_not_the_applications() {
    let mut desk = Desk::new();
    let device = desk.device_id();
    let next = message_id(&session(), &device, "aB3xY9", 1);
    for id in [next.as_str(), &message_id(&session(), &device, "", 1), &message_id(&session(), "phone", "", 7)] {
        assert_eq!(desk.send_named(id, "text").unwrap_err().code, ErrorCode::InvalidArgument, "{id}");
    }
    let long = "x".repeat(201);
    for id in ["", &long] {
        assert_eq!(desk.send_named(id, "text").unwrap_err().code, ErrorCode::InvalidMessageFormat);
    }
    assert_eq!((desk.queued(), desk.records.names.len()), (0, 0));
    for id in [&long[1..], "a:b:1", "\u{1f34e}"] {
        desk.send_named(id, "text").unwrap();
    }
}

/// The application asks again for what failed: it is told the same, and nothing is sent.
#[test]
fn a_name_whose_message_was_refused_stays_given() {
    let mut desk = Desk::new();
    let receipt = desk.send_named("x", "refused").unwrap();
    desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some("x".into()));
    for _ in 0..2 {
        assert_eq!(desk.send_named("x", "refused"), Ok(receipt.clone()));
        assert_eq!(desk.send_named("x", "other").unwrap_err().code, ErrorCode::MessageIdTaken);
        desk.acknowledge(&[(1, 1)]);
    }
    assert_eq!((desk.queued(), desk.shown()), (0, vec!["refused".to_owned()]));
}

#[test]
fn messages_show_what_their_authors_knew() {
    let mut desk = Desk::new();
    let tablet = |sequence_number, counter, knows| {
        let mut entry = Entry { device_id: "tablet".into(), knows, ..foreign(sequence_number, counter, "t") };
        entry.message.id = format!("tablet {counter}");
        entry
    };
    desk.push(&[foreign(1, 1, "a"), tablet(2, 1, 1), Entry { knows: 2, ..foreign(3, 2, "b") }, tablet(4, 2, 1)]);
    desk.send("mine");
    let clocks = |desk: &Desk, passed: bool| -> Vec<String> {
        let records = desk.log();
        let entries = records.iter().flat_map(|record| {
            let entries = record.entries().unwrap();
            let clocks = record.clocks_of(entries.iter()).unwrap();
            entries.into_iter().zip(clocks.into_iter().map(|clock| clock.filter(|_| passed))).collect::<Vec<_>>()
        });
        desk.client.show(&session(), entries.collect(), true).into_iter().map(|view| view.vector_clock.to_string()).collect()
    };
    let mine = format!(r#"{{"{}":1,"phone":2,"tablet":2}}"#, desk.device_id());
    let expected = [r#"{"phone":1}"#, r#"{"phone":1,"tablet":1}"#, r#"{"phone":2,"tablet":1}"#, r#"{"phone":1,"tablet":2}"#, &mine];
    let sorted = |clocks: Vec<String>| -> Vec<std::collections::BTreeMap<String, u64>> {
        clocks.iter().map(|clock| serde_json::from_str(clock).unwrap()).collect()
    };
    let expected = sorted(expected.map(String::from).to_vec());
    assert_eq!(sorted(clocks(&desk, false)), expected, "by the window");
    assert_eq!(sorted(clocks(&desk, true)), expected, "by the stored batch");
    let desk = desk.reload();
    assert_eq!(sorted(clocks(&desk, true)), expected, "after a restart only that knows");
}
