//! Calls that carry a key: made again they are done once and answered as the first time, whoever owns the store by then.

use crate::calls;
use crate::desk::{Desk, PEER, session};
use solconnect_sync_core::client::{CallKey, CallRecord, Input, MessageStatus, Reply, StoredReply, Write};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::limits::CALLS_MAX;

const TAB: u64 = (1 << 53) - 1;

fn key(call: u64) -> CallKey {
    CallKey { tab: TAB, call, done_through: 0 }
}

fn keyed(key: CallKey, call: impl FnOnce(u64) -> Input) -> impl FnOnce(u64) -> Input {
    move |request| Input::Keyed { key, call: Box::new(call(request)) }
}

fn send(desk: &mut Desk, key: CallKey, text: &str) -> Result<Reply, SyncError> {
    desk.call(keyed(key, calls::send(&session(), text)))
}

fn stored_calls(desk: &Desk) -> Vec<(u64, u64)> {
    desk.records.calls.keys().copied().collect()
}

#[test]
fn call_made_again_gives_its_first_answer() {
    let mut desk = Desk::new();
    let first = send(&mut desk, key(1), "once").unwrap();
    desk.wait(1_000);
    assert_eq!(send(&mut desk, key(1), "once"), Ok(first.clone()));
    assert_eq!(desk.client.answer_to(&key(1)), Some(first.clone()));
    assert_eq!(desk.queued(), 1);
    let mut desk = desk.reload();
    assert_eq!(send(&mut desk, key(1), "once"), Ok(first), "also in another life of the machine");
    assert_eq!(desk.queued(), 1);
    assert!(send(&mut desk, key(2), "twice").is_ok() && send(&mut desk, CallKey { tab: 1, ..key(1) }, "thrice").is_ok());
    assert_eq!(desk.queued(), 3, "other calls are others");
}

#[test]
fn call_made_again_in_the_same_commit_is_done_once() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    desk.send_in(&session(), "before");
    let requests = [1, 2].map(|_| desk.ask(keyed(key(1), calls::send(&session(), "once"))));
    desk.persist();
    assert!(requests.iter().all(|request| !desk.replies.contains_key(request)), "nothing is on disk");
    assert_eq!(desk.client.answer_to(&key(1)), None);
    desk.persist();
    assert!(desk.replies[&requests[0]].is_ok());
    assert_eq!(desk.replies[&requests[0]], desk.replies[&requests[1]]);
    assert_eq!(desk.queued(), 2);
}

#[test]
fn call_whose_commit_failed_is_done_when_made_again() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    let failed = desk.ask(keyed(key(1), calls::send(&session(), "once")));
    desk.fail(ErrorCode::StorageFull);
    assert_eq!(desk.replies[&failed].as_ref().map_err(|error| error.code), Err(ErrorCode::StorageFull));
    desk.held = None;
    assert!(send(&mut desk, key(1), "once").is_ok());
    assert_eq!((desk.queued(), stored_calls(&desk)), (1, vec![(TAB, 1)]));
}

#[test]
fn call_that_is_stored_is_answered_though_a_commit_fails() {
    let mut desk = Desk::new();
    let first = send(&mut desk, key(1), "once");
    let mut desk = desk.reload();
    desk.held = Some(Default::default());
    let other = desk.ask(keyed(key(2), calls::send(&session(), "twice")));
    let again = desk.ask(keyed(key(1), calls::send(&session(), "once")));
    let last = desk.ask(keyed(key(3), calls::send(&session(), "thrice")));
    desk.fail(ErrorCode::StorageFull);
    desk.fail(ErrorCode::StorageFull);
    assert!(desk.replies[&other].is_err() && desk.replies[&last].is_err());
    assert_eq!(desk.replies[&again], first);
}

#[test]
fn answer_is_stored_with_what_it_is_about() {
    let mut desk = Desk::new();
    send(&mut desk, key(1), "once").unwrap();
    let commit = desk.commits.last().unwrap();
    let has = |is: fn(&Write) -> bool| commit.writes.iter().any(is);
    assert!(has(|write| matches!(write, Write::Call(_))) && has(|write| matches!(write, Write::Outbox(_))));
}

#[test]
fn every_kind_of_answer_is_given_again() {
    let mut desk = Desk::new();
    let sent = send(&mut desk, key(1), "once").unwrap();
    let Reply::Receipt(receipt) = sent.clone() else { panic!("{sent:?}") };
    let message_id = receipt.message_id.clone();
    desk.client.handle(desk.now, Input::SetOffline { offline: true }).clear();
    desk.lose();
    let queued = desk.send("to be cancelled");
    let cancel = |desk: &mut Desk| {
        let message_id = queued.clone();
        desk.call(keyed(key(2), |request| Input::Cancel { request, message_id }))
    };
    assert_eq!((cancel(&mut desk), cancel(&mut desk)), (Ok(Reply::Done), Ok(Reply::Done)), "the second one finds nothing to cancel");
    let open = |desk: &mut Desk| desk.call(keyed(key(3), |request| Input::OpenSession { request, peer_wallet: PEER.into() })).unwrap();
    let Reply::Session(opened) = open(&mut desk) else { panic!() };
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    let Reply::Session(closed) = open(&mut desk) else { panic!() };
    assert!(opened.is_active && !closed.is_active, "it is not opened a second time");
    let import =
        |desk: &mut Desk| desk.call(keyed(key(4), |request| Input::Import { request, peer_wallet: PEER.into(), entries: Vec::new() }));
    assert_eq!((import(&mut desk), import(&mut desk)), (Ok(Reply::Count(0)), Ok(Reply::Count(0))));
    assert_eq!(desk.reload().client.answer_to(&key(1)), Some(sent));
    let failed = CallRecord { tab: 1, call: 2, number: 3, reply: StoredReply::Receipt(receipt.clone()) };
    assert_eq!(CallRecord::from_bytes(&failed.to_bytes()), Ok(failed.clone()));
    let mut deleted = receipt;
    (deleted.message_id, deleted.status) = (message_id, MessageStatus::Failed);
    let deleted = CallRecord { reply: StoredReply::Receipt(deleted), ..failed };
    assert_eq!(CallRecord::from_bytes(&deleted.to_bytes()), Ok(deleted));
}

#[test]
fn refusal_is_not_kept() {
    let mut desk = Desk::new();
    assert!(send(&mut desk, key(1), "").is_err());
    assert_eq!((desk.client.answer_to(&key(1)), stored_calls(&desk)), (None, Vec::new()));
    assert!(send(&mut desk, key(1), "now it is right").is_ok());
}

#[test]
fn answers_that_a_tab_has_leave() {
    let mut desk = Desk::new();
    for call in 1..=3 {
        send(&mut desk, key(call), "text").unwrap();
    }
    send(&mut desk, CallKey { tab: 1, ..key(1) }, "of another tab").unwrap();
    send(&mut desk, CallKey { done_through: 2, ..key(4) }, "text").unwrap();
    assert_eq!(stored_calls(&desk), [(1, 1), (TAB, 3), (TAB, 4)]);
    desk.forget();
    send(&mut desk, CallKey { done_through: 2, ..key(5) }, "text").unwrap();
    assert!(!desk.commits[0].writes.iter().any(|write| matches!(write, Write::ForgetCalls { .. })), "there is nothing to forget");
    let desk = desk.reload();
    assert_eq!(desk.client.answer_to(&key(2)), None);
    assert!(desk.client.answer_to(&key(3)).is_some());
}

#[test]
fn oldest_answers_leave_beyond_the_limit() {
    let mut desk = Desk::new();
    let close = |desk: &mut Desk, tab: u64| {
        let key = CallKey { tab, call: 1, done_through: 0 };
        desk.call(keyed(key, |request| Input::CloseSession { request, session_id: session() })).unwrap();
    };
    // The higher the tab, the older.
    for place in 0..CALLS_MAX as u64 {
        close(&mut desk, 10_000 - place);
    }
    assert_eq!(desk.records.calls.len(), CALLS_MAX);
    let mut desk = desk.reload();
    for place in 0..3 {
        close(&mut desk, 20_000 + place);
    }
    assert_eq!(desk.records.calls.len(), CALLS_MAX);
    let kept: Vec<u64> = desk.records.calls.keys().map(|(tab, _)| *tab).rev().take(4).collect();
    assert_eq!(kept, [20_002, 20_001, 20_000, 9_997]);
}

#[test]
fn key_does_not_matter_to_what_writes_nothing() {
    let mut desk = Desk::new();
    let stop = || keyed(key(1), |request| Input::AutoSync { request, session_id: session(), interval_ms: None });
    assert_eq!((desk.call(stop()), desk.call(stop())), (Ok(Reply::Done), Ok(Reply::Done)));
    assert_eq!(stored_calls(&desk), []);
}

#[test]
fn fenced_device_still_answers_what_is_stored() {
    let mut desk = Desk::new();
    let first = send(&mut desk, key(1), "once");
    desk.held = Some(Default::default());
    desk.send_in(&session(), "late");
    desk.fail(ErrorCode::ProfileInUse);
    assert_eq!(send(&mut desk, key(1), "once"), first);
    assert_eq!(send(&mut desk, key(2), "twice").map_err(|error| error.code), Err(ErrorCode::ProfileInUse));
}
