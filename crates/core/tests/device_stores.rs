//! What a device shows and says while a commit is on its way to disk, and after one that failed.

mod desk;

use desk::{Desk, PEER, foreign, foreign_log, session};
use solconnect_sync_core::client::{Event, Input, MessageStatus};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, ReadReceiptSync, Receipt, ReceiptStatus};
use solconnect_sync_core::message::{Entry, Stamp};

/// Commits wait from here on.
fn held(mut desk: Desk) -> Desk {
    desk.held = Some(Default::default());
    desk
}

/// Nothing of it is left in the outbox's records.
fn with_a_message_in_the_log() -> Desk {
    let mut desk = Desk::new();
    desk.send("mine");
    desk.acknowledge(&[(1, 1)]);
    desk.wait(5_000);
    desk.forget();
    desk
}

fn read_by_the_peer(desk: &mut Desk, sequence: u64) {
    desk.hear(Body::ReadReceiptSync(ReadReceiptSync {
        receipts: vec![Receipt {
            message_id: String::new(),
            status: ReceiptStatus::Read,
            timestamp: Stamp::Millis(1),
            reader_wallet: Some(PEER.into()),
            device_id: None,
            sequence_number: Some(sequence),
        }],
    }));
}

fn edit_of(target: &Entry, sequence_number: u64, counter: u64) -> Entry {
    let mut edit = foreign(sequence_number, counter, "edited");
    edit.message.replaces = Some(target.message.id.clone());
    edit
}

#[test]
fn what_arrives_shows_when_it_is_stored_and_what_leaves_the_outbox_until_then_i21() {
    let mut desk = Desk::new();
    let id = desk.send("mine");
    let mut desk = held(desk);
    desk.acknowledge(&[(1, 1)]);
    let before = (desk.cursor(), desk.shown(), desk.client.queued().len(), desk.client.stored_sessions()[0].queued_message_count);
    assert_eq!(before, (0, vec!["mine".into()], 1, 1));
    assert_eq!(desk.client.queued_status(&id), Some(MessageStatus::Sent));
    desk.persist();
    assert_eq!((desk.cursor(), desk.shown(), desk.client.queued().len()), (1, vec!["mine".into()], 0));
    assert_eq!(desk.client.queued_status(&id), None);
    desk.push(&[foreign(2, 1, "theirs")]);
    assert_eq!((desk.cursor(), desk.client.stored_sessions()[0].vector_clock.get("phone")), (1, 0));
    desk.persist();
    assert_eq!((desk.cursor(), desk.client.stored_sessions()[0].vector_clock.get("phone")), (2, 1));
}

#[test]
fn an_edit_shows_when_it_is_stored_i21() {
    let mut desk = Desk::new();
    let log = foreign_log(1, 1);
    desk.push(&log);
    let mut desk = held(desk);
    desk.push(&[edit_of(&log[0], 2, 2)]);
    assert_eq!(desk.shown(), ["text 1"]);
    desk.persist();
    assert_eq!(desk.shown(), ["edited"]);
}

#[test]
fn what_is_queued_again_shows_under_its_old_name_until_that_is_stored_i21() {
    let mut desk = Desk::new();
    let old_device = desk.device_id();
    let id = desk.send("mine");
    let mut desk = held(desk);
    desk.refuse(ErrorCode::CounterReused, |_| {});
    assert_eq!((desk.device_id(), desk.client.queued()[0].id.clone(), desk.shown()), (old_device.clone(), id.clone(), vec!["mine".into()]));
    desk.persist();
    assert_ne!(desk.device_id(), old_device);
    assert_ne!(desk.client.queued()[0].id, id);
    assert_eq!((desk.shown(), desk.queued()), (vec!["mine".to_owned()], 1));
}

/// Seed 13081 of the simulated world.
#[test]
fn what_is_sent_and_queued_again_in_one_commit_shows_when_that_is_stored_i21() {
    let mut desk = Desk::new();
    desk.send("first");
    let mut desk = held(desk);
    desk.push(&foreign_log(1, 1));
    desk.ask(|request| Input::Send { request, session_id: session(), text: "second".into(), content_type: None });
    desk.refuse(ErrorCode::CounterReused, |_| {});
    desk.persist();
    assert_eq!((desk.client.queued().len(), desk.queued()), (1, 1), "the second is on its way to disk");
    desk.persist();
    assert_eq!((desk.client.queued().len(), desk.queued()), (2, 2));
}

#[test]
fn a_session_is_there_when_it_is_stored_i21() {
    let mut desk = held(Desk::new());
    desk.ask(|request| Input::OpenSession { request, peer_wallet: "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA".into() });
    assert_eq!((desk.client.sessions().len(), desk.client.stored_sessions().len()), (1, 1));
    desk.persist();
    assert_eq!((desk.client.sessions().len(), desk.client.stored_sessions().len()), (2, 2));
    desk.ask(|request| Input::CloseSession { request, session_id: session() });
    assert_eq!(desk.client.sessions().len(), 2, "it is open on disk");
    desk.persist();
    assert_eq!(desk.client.sessions().len(), 1);
}

#[test]
fn a_reading_that_is_not_stored_is_not_told_to_the_relay_i21() {
    let mut desk = Desk::new();
    desk.push(&foreign_log(1, 1));
    desk.lose();
    let mut desk = held(desk);
    desk.forget();
    desk.ask(|request| Input::MarkRead { request, session_id: session(), message_id: String::new(), sequence_number: 1 });
    desk.wait(60_000);
    desk.connect();
    assert_eq!(desk.sent().len(), 0, "nothing is said before it is known how the commit ends");
    desk.fail(ErrorCode::StorageError);
    let said = desk.sent();
    assert!(said.iter().any(|frame| matches!(frame.body, Body::DeviceAnnounce(_))), "what waited for the commit goes on");
    assert!(!said.iter().any(|frame| matches!(frame.body, Body::ReadReceipt(_))));
}

#[test]
fn a_relay_that_has_less_than_an_import_which_failed_was_not_set_back() {
    let mut desk = Desk::new();
    desk.lose();
    let mut desk = held(desk);
    desk.ask(|request| Input::Import { request, peer_wallet: PEER.into(), entries: foreign_log(1, 3) });
    desk.wait(60_000);
    desk.connect();
    desk.fail(ErrorCode::StorageFull);
    desk.forget();
    desk.head_is(0);
    assert_eq!(desk.warnings(), []);
}

#[test]
fn a_receipt_is_told_when_it_is_stored_at_the_second_attempt() {
    let mut desk = held(with_a_message_in_the_log());
    read_by_the_peer(&mut desk, 1);
    desk.fail(ErrorCode::StorageError);
    assert_eq!(desk.statuses(), []);
    desk.wait(60_000);
    desk.connect();
    read_by_the_peer(&mut desk, 1);
    desk.persist();
    assert_eq!(desk.statuses(), [("1".to_owned(), MessageStatus::Read)]);
}

#[test]
fn a_conflict_that_is_stored_at_the_second_attempt_counts_once() {
    let mut desk = held(with_a_message_in_the_log());
    desk.push(&[foreign(2, 1, "knows nothing of it")]);
    desk.fail(ErrorCode::StorageError);
    desk.wait(60_000);
    desk.connect();
    desk.push(&[foreign(2, 1, "knows nothing of it")]);
    desk.persist();
    assert!(desk.events().iter().any(|event| matches!(event, Event::ConflictDetected { .. })));
    assert_eq!(desk.client.stats(&session()).unwrap().total_conflicts_resolved, 1);
}

#[test]
fn a_session_that_could_not_be_closed_goes_on_syncing_by_itself() {
    let mut desk = Desk::new();
    desk.call(|request| Input::AutoSync { request, session_id: session(), interval_ms: Some(20_000) }).unwrap();
    let mut desk = held(desk);
    desk.ask(|request| Input::CloseSession { request, session_id: session() });
    desk.fail(ErrorCode::StorageError);
    desk.connect();
    desk.answer(&[], 0);
    desk.forget();
    desk.wait(20_000);
    assert_eq!(desk.requests().len(), 1);
}

#[test]
fn versions_by_who_has_no_part_in_the_session_are_not_kept() {
    let mut desk = Desk::new();
    let log = foreign_log(1, 1);
    desk.push(&log);
    let mut edit = edit_of(&log[0], 2, 2);
    edit.message.sender_wallet = "somebody".into();
    desk.push(&[edit]);
    assert_eq!(desk.shown(), ["text 1"]);
    assert_eq!(desk.records.snapshot().versions.len(), 0);
    assert_eq!(desk.cursor(), 2);
}

#[test]
fn the_relay_hears_of_a_cursor_that_is_stored_i21() {
    let mut desk = held(Desk::new());
    desk.push(&foreign_log(1, 2));
    desk.forget();
    desk.feed(Input::Awake);
    desk.persist();
    desk.head_is(2);
    desk.feed(Input::Awake);
    let said = desk.sent().into_iter().filter_map(|frame| match frame.body {
        Body::SyncHeartbeat(heartbeat) => Some(heartbeat.sequence_number),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [0, 2]);
}
