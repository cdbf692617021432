//! What a device shows and says while a commit is on its way to disk, and after one that failed.

use crate::calls;
use crate::desk::{Desk, PEER, WALLET, foreign, foreign_log, session};
use solconnect_sync_core::client::{ClientConfig, Event, Input, MessageStatus, OutboxRecord, SyncScope, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, ReadReceiptSync, Receipt, ReceiptStatus};
use solconnect_sync_core::ids::session_of;
use solconnect_sync_core::limits::{ANSWER_TIMEOUT_MS, BACKOFF_MS_MAX, BATCH_MESSAGES_MAX, UPDATES_IN_FLIGHT_MAX};
use solconnect_sync_core::message::{Kind, Stamp};

/// Commits wait from here on.
fn held(mut desk: Desk) -> Desk {
    desk.held = Some(Default::default());
    desk
}

const OTHER_PEER: &str = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";

fn other_session() -> String {
    session_of(WALLET, OTHER_PEER)
}

/// A message in a second session is on its way to disk.
fn while_another_session_is_stored(desk: &mut Desk) {
    desk.call(|request| Input::OpenSession { request, peer_wallet: OTHER_PEER.into() }).unwrap();
    desk.held = Some(Default::default());
    desk.send_in(&other_session(), "elsewhere");
    desk.forget();
}

/// What the outbox has on disk: sessions and counters, record by record.
fn outbox(desk: &Desk) -> Vec<(String, Vec<u64>)> {
    let counters = |record: OutboxRecord| (record.session_id, record.entries.iter().map(|entry| entry.counter).collect());
    desk.records.snapshot().outbox.into_iter().map(counters).collect()
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
    (edit.message.replaces, edit.message.kind) = (Some(target.message.id.clone()), Kind::EDIT);
    edit
}

#[test]
fn outbox_and_log_show_only_what_is_stored_i21() {
    let mut desk = Desk::new();
    let id = desk.send("mine");
    let mut desk = held(desk);
    desk.acknowledge(&[(1, 1)]);
    let before = (desk.cursor(), desk.shown(), desk.client.queued().len(), desk.client.stored_sessions()[0].queued_message_count);
    assert_eq!(before, (0, vec!["mine".into()], 1, 1));
    assert_eq!(desk.status(&id), Some(MessageStatus::Sent));
    desk.persist();
    assert_eq!((desk.cursor(), desk.shown(), desk.client.queued().len()), (1, vec!["mine".into()], 0));
    assert_eq!(desk.status(&id), None);
    desk.push(&[foreign(2, 1, "theirs")]);
    assert_eq!((desk.cursor(), desk.client.stored_sessions()[0].vector_clock.get("phone")), (1, 0));
    desk.persist();
    assert_eq!((desk.cursor(), desk.client.stored_sessions()[0].vector_clock.get("phone")), (2, 1));
}

#[test]
fn messages_entering_the_log_show_before_waiting_ones() {
    let mut desk = Desk::new();
    ["a", "b", "c"].iter().for_each(|text| drop(desk.send(text)));
    let mut desk = held(desk);
    desk.acknowledge(&[(1, 1), (2, 2)]);
    assert_eq!((desk.shown(), desk.cursor()), (vec!["a".into(), "b".into(), "c".into()], 0));
    desk.persist();
    assert_eq!((desk.shown(), desk.cursor()), (vec!["a".into(), "b".into(), "c".into()], 2));
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
fn an_edit_that_is_stored_shows_while_another_is_not_i21() {
    let mut desk = Desk::new();
    let log = foreign_log(1, 2);
    desk.push(&log);
    desk.push(&[edit_of(&log[0], 3, 3)]);
    let mut desk = held(desk);
    desk.push(&[edit_of(&log[1], 4, 4)]);
    assert_eq!(desk.shown(), ["edited", "text 2"]);
    desk.persist();
    assert_eq!(desk.shown(), ["edited", "edited"]);
}

#[test]
fn a_commit_of_one_session_does_not_hold_up_another() {
    let mut desk = Desk::new();
    desk.push(&foreign_log(1, 2));
    while_another_session_is_stored(&mut desk);
    desk.lose();
    desk.wait(60_000);
    desk.forget();
    desk.connect();
    let said = desk.sent().into_iter().map(|frame| frame.head.session_id);
    let said: Vec<String> = said.filter(|session_id| !session_id.is_empty()).collect();
    assert!(!said.is_empty() && said.iter().all(|session_id| *session_id == session()), "{said:?}");
}

#[test]
fn a_session_shows_as_it_is_stored_while_another_changes() {
    let mut desk = Desk::new();
    desk.push(&foreign_log(1, 2));
    desk.call(|request| Input::OpenSession { request, peer_wallet: OTHER_PEER.into() }).unwrap();
    let mut desk = held(desk);
    desk.ask(|request| Input::CloseSession { request, session_id: other_session() });
    let cursors: Vec<(String, u64)> =
        desk.client.stored_sessions().into_iter().map(|view| (view.session_id, view.last_synced_sequence)).collect();
    assert!(cursors.contains(&(session(), 2)) && cursors.contains(&(other_session(), 0)), "{cursors:?}");
}

#[test]
fn a_call_that_stores_nothing_waits_for_earlier_commits() {
    let calls: [fn(u64) -> Input; 2] =
        [|request| calls::send(&session(), "b")(request), |request| Input::CloseSession { request, session_id: session() }];
    for call in calls {
        let mut desk = held(Desk::new());
        desk.send_in(&session(), "a");
        desk.ask(call);
        let leaves = desk.ask(|request| Input::DisconnectWallet { request });
        desk.persist();
        assert_eq!((desk.client.wallet(), desk.replies.contains_key(&leaves)), (Some(WALLET), false));
        desk.persist();
        assert_eq!((desk.client.wallet(), desk.replies.contains_key(&leaves)), (None, true));
    }
}

#[test]
fn a_commit_takes_so_many_calls_and_no_more() {
    let mut desk = held(Desk::new());
    (0..BATCH_MESSAGES_MAX + 2).for_each(|_| desk.send_in(&session(), "text"));
    desk.persist();
    desk.persist();
    let answered = desk.replies.len();
    desk.persist();
    assert_eq!(desk.replies.len() - answered, 1, "the first went alone");
}

#[test]
fn a_commit_ends_only_with_its_own_confirmation() {
    let mut desk = held(Desk::new());
    let calls = ["a", "b"].map(|text| desk.ask(calls::send(&session(), text)));
    desk.persist();
    let first = desk.commits.last().unwrap().id;
    desk.feed(Input::Persisted { commit: first });
    assert_eq!(calls.map(|call| desk.replies.contains_key(&call)), [true, false]);
}

#[test]
fn messages_of_two_sessions_in_one_commit_stay_apart() {
    let mut desk = Desk::new();
    while_another_session_is_stored(&mut desk);
    for (session_id, text) in [(session(), "a"), (other_session(), "b"), (session(), "c")] {
        desk.send_in(&session_id, text);
    }
    desk.persist();
    desk.persist();
    assert!(desk.held.as_ref().unwrap().is_empty());
    let mut expected = [(session(), vec![1]), (session(), vec![2]), (other_session(), vec![1]), (other_session(), vec![2])];
    expected.sort();
    assert_eq!(outbox(&desk), expected);
}

#[test]
fn acknowledgements_close_together_form_one_batch_per_log() {
    let mut desk = Desk::new();
    desk.send("a");
    desk.send("b");
    while_another_session_is_stored(&mut desk);
    desk.persist();
    desk.send_in(&session(), "c");
    desk.acknowledge(&[(1, 1)]);
    desk.acknowledge(&[(2, 2)]);
    desk.acknowledge_in(&other_session(), &[(1, 1)]);
    for _ in 0..2 {
        desk.persist();
        desk.wait(100);
    }
    desk.persist();
    let stored =
        |write: &Write| if let Write::Log(record) = write { Some((record.session_id.clone(), record.first, record.last)) } else { None };
    let logs: Vec<_> = desk.commits.iter().flat_map(|commit| &commit.writes).filter_map(stored).collect();
    assert_eq!(logs, [(other_session(), 1, 1), (session(), 1, 2)]);
}

#[test]
fn clearing_a_log_skips_its_join_and_keeps_other_writes() {
    let mut desk = Desk::new();
    for sequence in 1..=31 {
        desk.push(&foreign_log(sequence, sequence));
    }
    let mut desk = held(desk);
    desk.send_in(&session(), "a");
    desk.push(&foreign_log(32, 32));
    desk.send_in(&session(), "b");
    desk.ask(|request| Input::ClearLog { request, session_id: session() });
    desk.persist();
    desk.persist();
    assert!(!desk.commits.last().unwrap().writes.iter().any(|write| matches!(write, Write::JoinLog { .. })));
    assert_eq!((desk.log().len(), outbox(&desk)), (0, vec![(session(), vec![1]), (session(), vec![2])]));
}

#[test]
fn new_ids_and_session_changes_are_stored_strictly() {
    let mut desk = Desk::new();
    desk.send("one");
    let strict = |desk: &Desk| desk.commits.last().unwrap().strict;
    desk.refuse(ErrorCode::CounterReused, |_| {});
    assert!(strict(&desk), "its new id");
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    assert!(strict(&desk), "that a session has ended");
    desk.call(|request| Input::OpenSession { request, peer_wallet: PEER.into() }).unwrap();
    assert!(strict(&desk), "that it has begun");
}

#[test]
fn a_failed_commit_does_not_hold_up_sweeps() {
    let mut desk = Desk::new();
    desk.send("one");
    let mut desk = held(desk);
    desk.send_in(&session(), "a");
    for text in ["b", "c", "d"] {
        desk.send_in(&session(), text);
    }
    desk.persist();
    desk.fail(ErrorCode::StorageFull);
    desk.held = None;
    desk.acknowledge(&[(1, 1), (2, 2)]);
    desk.wait(1_000);
    assert_eq!(outbox(&desk), []);
    desk.send("e");
    desk.acknowledge(&[(3, 3)]);
    desk.wait(1_000);
    assert_eq!(outbox(&desk), []);
}

#[test]
fn a_sweep_waits_only_for_the_commit_under_way() {
    let mut desk = Desk::new();
    desk.send("a");
    desk.acknowledge(&[(1, 1)]);
    desk.wait(600);
    desk.send("b");
    desk.wait(400);
    assert_eq!(outbox(&desk), [(session(), vec![2])]);
    desk.acknowledge(&[(2, 2)]);
    let mut desk = held(desk);
    desk.send_in(&session(), "c");
    desk.wait(1_000);
    desk.persist();
    assert_eq!(outbox(&desk), [(session(), vec![2]), (session(), vec![3])]);
    desk.wait(1_000);
    desk.persist();
    assert_eq!(outbox(&desk), [(session(), vec![3])]);
}

#[test]
fn a_device_that_cannot_store_asks_less_and_less_often() {
    let mut desk = held(Desk::new());
    let mut longest_ms = 0;
    for _ in 0..30 {
        desk.push(&foreign_log(1, 1));
        desk.fail(ErrorCode::StorageFull);
        let wait_ms = desk.client.next_timeout_ms().unwrap() - desk.now.monotonic_ms;
        longest_ms = longest_ms.max(wait_ms);
        desk.wait(wait_ms);
        desk.connect();
    }
    assert!(longest_ms > BACKOFF_MS_MAX / 2, "{longest_ms}");
}

#[test]
fn a_slow_disk_does_not_use_up_the_answer_timeout() {
    let mut desk = Desk::new();
    desk.send("a");
    let mut desk = held(desk);
    desk.send_in(&session(), "b");
    desk.head_is(0);
    desk.wait(ANSWER_TIMEOUT_MS);
    desk.persist();
    desk.wait(ANSWER_TIMEOUT_MS - 1);
    desk.head_is(0);
    assert_eq!(desk.disconnects, 0);
    desk.wait(1);
    assert_eq!(desk.disconnects, 1);
}

#[test]
fn an_unstored_acknowledgement_makes_room_unless_sending_is_barred() {
    for (refusal, sent) in [(None, 1), (Some(ErrorCode::RelayBusy), 0), (Some(ErrorCode::NotAMember), 0)] {
        let mut desk = Desk::with(ClientConfig { max_batch_size: 1, ..ClientConfig::default() });
        (0..=UPDATES_IN_FLIGHT_MAX).for_each(|number| drop(desk.send(&format!("{number}"))));
        let mut desk = held(desk);
        desk.send_in(&session(), "under way");
        desk.acknowledge(&[(1, 1)]);
        if let Some(code) = refusal {
            desk.refuse(code, |_| {});
        }
        desk.forget();
        desk.persist();
        assert_eq!(desk.updates().len(), sent);
    }
}

#[test]
fn a_sync_that_finds_nothing_tells_no_progress() {
    let mut desk = Desk::new();
    desk.sync(SyncScope::Everything);
    desk.answer(&[], 0);
    let events = desk.events();
    assert!(events.iter().any(|event| matches!(event, Event::SyncCompleted { .. })), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::SyncProgress { .. })), "{events:?}");
}

#[test]
fn a_reopened_session_no_longer_syncs_by_itself() {
    let mut desk = Desk::new();
    desk.call(|request| Input::AutoSync { request, session_id: session(), interval_ms: Some(5_000) }).unwrap();
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    desk.call(|request| Input::OpenSession { request, peer_wallet: PEER.into() }).unwrap();
    desk.connect();
    desk.answer(&[], 0);
    desk.forget();
    desk.wait(5_000);
    assert_eq!(desk.requests(), []);
}

#[test]
fn a_device_shows_its_old_id_until_the_new_one_is_stored_i21() {
    let mut desk = Desk::new();
    let old_device = desk.device_id();
    let id = desk.send("mine");
    let mut desk = held(desk);
    desk.refuse(ErrorCode::CounterReused, |_| {});
    assert_eq!((desk.device_id(), desk.client.queued()[0].id.clone(), desk.shown()), (old_device.clone(), id.clone(), vec!["mine".into()]));
    desk.persist();
    assert_ne!(desk.device_id(), old_device);
    assert_eq!((desk.client.queued()[0].id.clone(), desk.client.queued()[0].device_id.clone()), (id, desk.device_id()));
    assert_eq!((desk.shown(), desk.queued()), (vec!["mine".to_owned()], 1));
}

/// Seed 13081 of the simulated world.
#[test]
fn a_requeued_message_shows_only_when_it_is_stored_i21() {
    let mut desk = Desk::new();
    desk.send("first");
    let mut desk = held(desk);
    desk.push(&foreign_log(1, 1));
    desk.ask(calls::send(&session(), "second"));
    desk.refuse(ErrorCode::CounterReused, |_| {});
    desk.persist();
    assert_eq!((desk.client.queued().len(), desk.queued()), (1, 1), "the second is on its way to disk");
    desk.persist();
    assert_eq!((desk.client.queued().len(), desk.queued()), (2, 2));
}

#[test]
fn a_session_appears_only_when_it_is_stored_i21() {
    let mut desk = held(Desk::new());
    desk.ask(|request| Input::OpenSession { request, peer_wallet: OTHER_PEER.into() });
    assert_eq!((desk.client.sessions().len(), desk.client.stored_sessions().len()), (1, 1));
    desk.persist();
    assert_eq!((desk.client.sessions().len(), desk.client.stored_sessions().len()), (2, 2));
    desk.ask(|request| Input::CloseSession { request, session_id: session() });
    assert_eq!(desk.client.sessions().len(), 2, "it is open on disk");
    desk.persist();
    assert_eq!(desk.client.sessions().len(), 1);
}

#[test]
fn an_unstored_read_mark_is_not_sent_i21() {
    let mut desk = Desk::new();
    desk.push(&foreign_log(1, 1));
    desk.lose();
    let mut desk = held(desk);
    desk.forget();
    desk.ask(|request| Input::MarkRead { request, session_id: session(), message_id: String::new(), sequence_number: 1 });
    desk.wait(60_000);
    desk.connect();
    assert!(desk.sent().iter().all(|frame| frame.head.session_id.is_empty()), "nothing is said before it is known how the commit ends");
    desk.fail(ErrorCode::StorageError);
    let said = desk.sent();
    assert!(said.iter().any(|frame| matches!(frame.body, Body::DeviceAnnounce(_))), "what waited for the commit goes on");
    assert!(!said.iter().any(|frame| matches!(frame.body, Body::ReadReceipt(_))));
}

#[test]
fn a_failed_import_is_not_mistaken_for_a_relay_rollback() {
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
fn a_receipt_is_reported_when_its_second_commit_succeeds() {
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
fn a_conflict_whose_first_commit_failed_counts_once() {
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
fn a_session_that_failed_to_close_keeps_auto_syncing() {
    let mut desk = Desk::new();
    desk.call(|request| Input::AutoSync { request, session_id: session(), interval_ms: Some(20_000) }).unwrap();
    let mut desk = held(desk);
    desk.ask(|request| Input::CloseSession { request, session_id: session() });
    desk.fail(ErrorCode::StorageError);
    desk.forget();
    desk.wait(20_000);
    assert_eq!(desk.requests().len(), 1);
}

#[test]
fn versions_by_outsiders_of_the_session_are_not_kept() {
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
fn only_stored_cursors_are_sent_to_the_relay_i21() {
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
