//! A device whose store is gone: it is made anew of what the machine has in memory, or of the copy of its outbox.

use crate::calls;
use std::collections::VecDeque;

use crate::desk::{Desk, PEER, WALLET, foreign, session};
use solconnect_sync_core::client::{Change, Client, ClientConfig, Event, Input, OutboxRecord, Reply, SpareRecord};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::limits::{REBUILD_FAILURES_MAX, REBUILD_WAIT_MS_MAX};

/// The store is gone when the next commit comes.
fn lose(desk: &mut Desk) {
    desk.held.get_or_insert_with(VecDeque::new);
    desk.send_in(&session(), "finds it gone");
    desk.records = Default::default();
    desk.fail(ErrorCode::StorageLost);
}

/// Time passes, but not for ever.
fn pass(desk: &mut Desk) {
    assert!(desk.now.monotonic_ms < 3_600_000, "nothing happens for an hour");
    desk.wait(100);
}

/// A commit that waits fails; how many did.
fn fail_when_written(desk: &mut Desk) -> u32 {
    if desk.held.as_ref().is_some_and(VecDeque::is_empty) {
        pass(desk);
        return 0;
    }
    desk.fail(ErrorCode::StorageFull);
    1
}

fn texts_and_ids(desk: &Desk) -> Vec<(String, String)> {
    desk.client.queued().into_iter().map(|message| (message.text, message.id)).collect()
}

fn stored_texts(desk: &Desk) -> Vec<String> {
    let entries = desk.records.snapshot().outbox.into_iter().flat_map(|record| record.entries);
    entries.map(|entry| entry.message.ciphertext).collect()
}

#[test]
fn unsent_messages_are_written_again_and_sent_under_their_names() {
    let mut desk = Desk::new();
    desk.lose();
    let ids = [desk.send("one"), desk.send("two")];
    let device_id = desk.device_id();
    desk.forget();
    desk.held = Some(VecDeque::new());
    let call = desk.ask(calls::send(&session(), "three"));
    desk.records = Default::default();
    desk.fail(ErrorCode::StorageLost);
    assert_eq!((desk.warnings(), desk.replies.get(&call)), (vec![ErrorCode::StorageLost], None), "the call waits");
    desk.persist();
    assert_ne!(desk.device_id(), device_id, "the counters of the old one are in no store");
    assert_eq!(stored_texts(&desk), ["one", "two"]);
    desk.persist();
    assert!(matches!(desk.replies[&call], Ok(Reply::Receipt(_))), "it is done when there is a store again");
    let queued = texts_and_ids(&desk);
    assert_eq!(queued[..2], [("one".into(), ids[0].clone()), ("two".into(), ids[1].clone())]);
    assert_eq!((queued[2].0.as_str(), desk.queued()), ("three", 3));
    desk.held = None;
    desk.connect();
    let update = desk.updates().pop().unwrap();
    let sent: Vec<_> = update.messages.iter().map(|entry| (entry.counter, entry.message.ciphertext.as_str())).collect();
    assert_eq!((sent, update.device_id), (vec![(1, "one"), (2, "two"), (3, "three")], desk.device_id()));
    let desk = desk.reload();
    assert_eq!(texts_and_ids(&desk), queued, "it is all in the store");
}

#[test]
fn log_that_comes_again_is_not_told_again() {
    let mut desk = Desk::new();
    desk.push(&[foreign(1, 1, "first"), foreign(2, 2, "second")]);
    let told = |desk: &mut Desk| desk.events().into_iter().filter(|event| matches!(event, Event::MessageReceived { .. })).count();
    assert_eq!(told(&mut desk), 2);
    lose(&mut desk);
    desk.persist();
    desk.persist();
    desk.held = None;
    assert_eq!(desk.cursor(), 0);
    desk.connect();
    desk.answer(&[foreign(1, 1, "first"), foreign(2, 2, "second"), foreign(3, 3, "third")], 3);
    assert_eq!(told(&mut desk), 1, "only what is new");
    assert_eq!(desk.cursor(), 3);
    assert_eq!(desk.entries().len(), 3);
}

#[test]
fn message_that_the_relay_has_already_is_not_sent_twice() {
    let mut desk = Desk::new();
    let id = desk.send("arrived");
    let mut arrived = desk.updates().pop().unwrap().messages.pop().unwrap();
    arrived.sequence_number = 1;
    desk.lose();
    lose(&mut desk);
    desk.persist();
    desk.persist();
    desk.held = None;
    desk.connect();
    desk.answer(&[arrived], 1);
    assert_eq!(desk.entries().iter().map(|entry| entry.message.id.clone()).collect::<Vec<_>>(), [id]);
    let queued: Vec<String> = texts_and_ids(&desk).into_iter().map(|(text, _)| text).collect();
    assert_eq!(queued, ["finds it gone"]);
}

#[test]
fn everything_that_is_in_memory_is_written_anew() {
    let mut desk = Desk::new();
    desk.send("refused");
    desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(error.error.clone()));
    desk.call(|request| Input::BlockWallet { request, peer_wallet: "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA".into() }).unwrap();
    let before = desk.records.snapshot();
    desk.lose();
    lose(&mut desk);
    desk.persist();
    let after = desk.records.snapshot();
    assert_eq!((after.invitations, after.failed, after.calls), (before.invitations, before.failed, before.calls));
    assert_eq!((after.sessions[0].open, after.sessions[0].log.end()), (true, 0));
    assert!(after.device.is_some() && after.device != before.device);
}

#[test]
fn store_that_cannot_be_made_anew_costs_messages_that_are_named() {
    let mut desk = Desk::new();
    desk.lose();
    desk.feed(Input::Observe { observed: true });
    let id = desk.send("worth keeping");
    desk.call(|request| Input::Edit { request, session_id: session(), message_id: id.clone(), text: Some("edited".into()) }).unwrap();
    lose(&mut desk);
    desk.events();
    let mut failures = 0;
    let lost = loop {
        failures += fail_when_written(&mut desk);
        let lost = desk.events().into_iter().find_map(|event| if let Event::StorageLost { lost } = event { Some(lost) } else { None });
        if let Some(lost) = lost {
            break lost;
        }
    };
    assert_eq!(failures, REBUILD_FAILURES_MAX);
    let told: Vec<_> = lost.iter().map(|message| (message.text.as_str(), message.id == id, message.pending_edit)).collect();
    assert_eq!(told, [("worth keeping", true, false), ("edited", true, true)]);
    assert_eq!(desk.queued(), 0);
    let refused = desk.ask(calls::send(&session(), "not now"));
    while !desk.replies.contains_key(&refused) {
        fail_when_written(&mut desk);
    }
    assert_eq!(desk.replies[&refused].as_ref().map_err(|error| error.code), Err(ErrorCode::StorageFull));
    while desk.held.as_ref().is_some_and(VecDeque::is_empty) {
        pass(&mut desk);
    }
    desk.persist();
    desk.held = None;
    desk.send("it goes on");
    assert_eq!(stored_texts(&desk), ["it goes on"]);
}

#[test]
fn store_that_is_found_gone_is_made_anew_at_once() {
    let mut desk = Desk::new();
    desk.lose();
    desk.send("waiting");
    desk.feed(Input::Observe { observed: true });
    desk.records = Default::default();
    desk.events();
    desk.feed(Input::StoreClosed { error: SyncError::new(ErrorCode::StorageLost, "cleared") });
    assert_eq!(stored_texts(&desk), ["waiting"]);
    let events = desk.events();
    let is_told = |is: fn(&Event) -> bool| events.iter().any(is);
    assert!(is_told(|event| matches!(event, Event::Changed(Change::Missed))), "lists are read again");
    assert!(is_told(|event| matches!(event, Event::DeviceReplaced { .. })));
}

#[test]
fn store_that_another_made_anew_is_left_to_it() {
    let mut desk = Desk::new();
    desk.feed(Input::Observe { observed: true });
    desk.events();
    for _ in 0..2 {
        desk.feed(Input::StoreClosed { error: SyncError::new(ErrorCode::ProfileInUse, "another has claimed it") });
    }
    assert_eq!(desk.warnings(), [ErrorCode::ProfileInUse], "it is told once");
    let call = desk.ask(calls::send(&session(), "not here"));
    assert_eq!(desk.replies[&call].as_ref().unwrap_err().code, ErrorCode::ProfileInUse);
}

#[test]
fn call_that_waits_for_a_store_is_answered_when_another_has_it() {
    let mut desk = Desk::new();
    desk.send("one");
    desk.held = Some(VecDeque::new());
    desk.ask(calls::send(&session(), "two"));
    desk.records = Default::default();
    desk.fail(ErrorCode::StorageLost);
    desk.fail(ErrorCode::StorageFull);
    let call = desk.ask(calls::send(&session(), "three"));
    assert_eq!(desk.replies.get(&call), None, "it waits for the next attempt");
    desk.feed(Input::StoreClosed { error: SyncError::new(ErrorCode::ProfileInUse, "another has claimed it") });
    assert_eq!(desk.replies[&call].as_ref().unwrap_err().code, ErrorCode::ProfileInUse);
}

/// The copy that a shell has made of everything that was written to the outbox.
fn spare(desk: &Desk) -> Vec<SpareRecord> {
    let outbox = desk.records.snapshot().outbox;
    let spare: Vec<SpareRecord> = outbox.iter().map(|record| desk.client.spare_of(record).unwrap()).collect();
    spare.iter().map(|record| SpareRecord::from_bytes(&record.to_bytes()).unwrap()).collect()
}

#[test]
fn copy_of_the_outbox_leaves_out_what_the_relay_has() {
    let mut desk = Desk::new();
    desk.connect();
    desk.send("one");
    let first = desk.records.snapshot().outbox[0].clone();
    assert!(desk.client.spare_of(&first).is_some());
    desk.acknowledge(&[(1, 1)]);
    assert!(desk.client.spare_of(&first).is_none(), "nothing of it is lost with the store");
    desk.send("two");
    let both = OutboxRecord { entries: [first.entries.clone(), desk.records.snapshot().outbox[1].entries.clone()].concat(), ..first };
    assert!(desk.client.spare_of(&both).is_some(), "one of them is not there yet");
}

#[test]
fn new_store_begins_with_the_copy_of_the_outbox() {
    let mut desk = Desk::new();
    desk.lose();
    for text in ["one", "two", "three"] {
        desk.send(text);
    }
    let (queued, spare) = (texts_and_ids(&desk), spare(&desk));
    desk.records = Default::default();
    let mut snapshot = desk.records.snapshot();
    // It had one as it was first sent, and as it was sent again under its name.
    snapshot.spare = spare.iter().chain(&spare[..1]).cloned().collect();
    desk.client = Client::new(ClientConfig::default(), snapshot, 2);
    desk.call(|request| Input::ConnectWallet { request, wallet: WALLET.into() }).unwrap();
    assert_eq!(texts_and_ids(&desk), queued);
    assert_eq!(stored_texts(&desk), ["one", "two", "three"]);
    let view = &desk.client.sessions()[0];
    assert_eq!((view.session_id.as_str(), view.peer_wallet.as_str()), (session().as_str(), PEER), "the session is begun");
    let cancelled = desk.call(|request| Input::Cancel { request, message_id: queued[0].1.clone() });
    assert_eq!(cancelled.map_err(|error| error.code), Err(ErrorCode::MessageSent), "nobody knows whether it was sent");
    let mut snapshot = desk.records.snapshot();
    snapshot.spare = spare;
    let client = Client::new(ClientConfig::default(), snapshot, 3);
    assert_eq!(client.sync_status().queued_message_count, 3, "a copy counts only where the store is new");
}

#[test]
fn another_owner_keeps_a_lost_store() {
    let mut desk = Desk::new();
    desk.lose();
    lose(&mut desk);
    desk.fail(ErrorCode::ProfileInUse);
    desk.wait(100_000);
    assert!(desk.held.as_ref().is_some_and(VecDeque::is_empty), "it writes no more");
    let call = desk.ask(calls::send(&session(), "late"));
    assert_eq!(desk.replies[&call].as_ref().map_err(|error| error.code), Err(ErrorCode::ProfileInUse));
}

#[test]
fn call_waits_ten_seconds_at_most_for_the_next_attempt() {
    let mut desk = Desk::new();
    desk.lose();
    desk.send("waiting");
    lose(&mut desk);
    for _ in 0..20 {
        while fail_when_written(&mut desk) == 0 {}
        let call = desk.ask(calls::send(&session(), "now"));
        let asked_ms = desk.now.monotonic_ms;
        while desk.held.as_ref().is_some_and(VecDeque::is_empty) {
            pass(&mut desk);
        }
        assert!(desk.now.monotonic_ms - asked_ms <= REBUILD_WAIT_MS_MAX + 100);
        assert_eq!(desk.replies.get(&call), None);
    }
}
