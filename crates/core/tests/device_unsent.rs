//! Messages that are taken back before they are sent, messages that failed, and what who observes is told.

use crate::calls::send;
use crate::desk::{Desk, PEER, WALLET, foreign, session};
use solconnect_sync_core::client::{Change, Event, Input, MessageStatus, NameRecord, Reply, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, ReadReceiptSync, Receipt, ReceiptStatus};
use solconnect_sync_core::ids::session_of;
use solconnect_sync_core::limits::FAILED_MESSAGES_MAX;
use solconnect_sync_core::message::{Kind, Message, Stamp};

fn cancel(desk: &mut Desk, message_id: &str) -> Result<Reply, ErrorCode> {
    desk.call(|request| Input::Cancel { request, message_id: message_id.into() }).map_err(|error| error.code)
}

fn retry(desk: &mut Desk, message_id: &str) -> Result<String, ErrorCode> {
    match desk.call(|request| Input::Retry { request, message_id: message_id.into() }) {
        Ok(Reply::Receipt(receipt)) => Ok(receipt.message_id),
        Ok(reply) => panic!("{reply:?}"),
        Err(error) => Err(error.code),
    }
}

fn edit(desk: &mut Desk, message_id: &str, text: &str) -> Result<Reply, ErrorCode> {
    let (session_id, text) = (session(), Some(text.to_owned()));
    desk.call(|request| Input::Edit { request, session_id, message_id: message_id.into(), text }).map_err(|error| error.code)
}

fn offline() -> Desk {
    let mut desk = Desk::new();
    desk.feed(Input::SetOffline { offline: true });
    desk
}

/// Texts and statuses of what has no place in the log.
fn unsent(desk: &Desk) -> Vec<(String, MessageStatus)> {
    let shown = desk.client.show(&session(), Vec::new(), true);
    shown.into_iter().map(|message| (message.text, message.status)).collect()
}

/// Connected again to a relay whose log is this long.
fn online(desk: &mut Desk, head: u64) -> Vec<(u64, String)> {
    desk.feed(Input::SetOffline { offline: false });
    desk.wait(2_000);
    desk.connect();
    desk.answer(&[], head);
    sent(desk)
}

fn sent(desk: &mut Desk) -> Vec<(u64, String)> {
    let messages = desk.updates().into_iter().flat_map(|update| update.messages);
    messages.map(|entry| (entry.counter, entry.message.ciphertext)).collect()
}

#[test]
fn a_cancelled_message_leaves_and_the_rest_moves_up() {
    let mut desk = offline();
    let [_, second, _] = ["one", "two", "three"].map(|text| desk.send(text));
    assert_eq!((cancel(&mut desk, &second), cancel(&mut desk, &second)), (Ok(Reply::Done), Err(ErrorCode::UnknownMessage)));
    assert_eq!((unsent(&desk).len(), desk.queued()), (2, 2));
    let mut desk = desk.reload();
    assert_eq!(online(&mut desk, 0), [(1, "one".to_owned()), (2, "three".to_owned())]);
}

#[test]
fn queued_edits_leave_with_their_message() {
    let mut desk = offline();
    let id = desk.send("one");
    edit(&mut desk, &id, "two").unwrap();
    cancel(&mut desk, &id).unwrap();
    assert_eq!((desk.queued(), online(&mut desk, 0)), (0, vec![]));
}

#[test]
fn versions_in_front_of_a_cancelled_message_stay() {
    let mut desk = offline();
    edit(&mut desk, "x", "edited").unwrap();
    desk.send_named("x", "one").unwrap();
    cancel(&mut desk, "x").unwrap();
    assert_eq!(online(&mut desk, 0), [(1, "edited".to_owned())], "they are of an earlier message of that name");
}

#[test]
fn a_message_on_its_way_cannot_be_cancelled() {
    let mut desk = Desk::new();
    let id = desk.send("one");
    assert_eq!(cancel(&mut desk, &id), Err(ErrorCode::MessageSent));
    desk.lose();
    assert_eq!((desk.status(&id), cancel(&mut desk, &id)), (Some(MessageStatus::Queued), Err(ErrorCode::MessageSent)));
    let mut desk = desk.reload();
    assert_eq!(cancel(&mut desk, &id), Err(ErrorCode::MessageSent), "nobody knows whether it arrived");
    let later = desk.send("two");
    assert_eq!(cancel(&mut desk, &later), Ok(Reply::Done));
}

#[test]
fn what_was_queued_offline_can_be_cancelled_until_it_is_sent() {
    let mut desk = offline();
    let id = desk.send("one");
    let mut desk = desk.reload();
    desk.held = Some(Default::default());
    assert_eq!(online(&mut desk, 0), [], "it is not sent before that is stored");
    desk.persist();
    assert_eq!(sent(&mut desk), [(1, "one".to_owned())]);
    desk.held = None;
    let mut desk = desk.reload();
    assert_eq!(cancel(&mut desk, &id), Err(ErrorCode::MessageSent));
}

#[test]
fn who_waits_for_the_disk_is_not_due_meanwhile() {
    let mut desk = offline();
    desk.send("one");
    desk.held = Some(Default::default());
    online(&mut desk, 0);
    desk.feed(Input::Timeout);
    assert!(desk.client.next_timeout_ms() > Some(desk.now.monotonic_ms), "it would be asked again and again");
    desk.persist();
    assert_eq!(sent(&mut desk).len(), 1);
    assert_eq!(desk.held, Some(Default::default()), "once is enough");
}

#[test]
fn a_cancel_that_is_not_stored_changes_nothing() {
    let mut desk = offline();
    let ids = ["one", "two"].map(|text| desk.send(text));
    desk.held = Some(Default::default());
    let request = desk.ask(|request| Input::Cancel { request, message_id: ids[0].clone() });
    assert_eq!(unsent(&desk).len(), 2, "it is shown until it has left");
    desk.fail(ErrorCode::StorageFull);
    assert_eq!(desk.replies[&request].as_ref().unwrap_err().code, ErrorCode::StorageFull);
    desk.held = None;
    assert_eq!(online(&mut desk, 0), [(1, "one".to_owned()), (2, "two".to_owned())]);
}

/// A copy of this profile had sent it: it is shown no more when the log brings it, also in the commit in which it leaves
/// (found by the simulated world).
#[test]
fn a_cancelled_message_that_a_copy_sent_is_told_i6() {
    for in_one_commit in [false, true] {
        let mut desk = offline();
        let (id, device_id) = (desk.send("one"), desk.device_id());
        desk.held = in_one_commit.then(Default::default);
        desk.send_in(&session(), "under way");
        let request = desk.ask(|request| Input::Cancel { request, message_id: id.clone() });
        desk.feed(Input::SetOffline { offline: false });
        desk.wait(2_000);
        desk.connect();
        let logged = foreign(1, 1, "one");
        let message = Message { id: id.clone(), sender_wallet: WALLET.into(), ..logged.message.clone() };
        desk.push(&[Entry { message, device_id, ..logged }]);
        (0..desk.held.as_ref().map_or(0, |_| 2)).for_each(|_| desk.persist());
        assert_eq!(desk.replies[&request], Ok(Reply::Done));
        let told =
            desk.events().into_iter().filter(|event| matches!(event, Event::MessageReceived { entry, .. } if entry.message.id == id));
        assert_eq!((told.count(), desk.cursor(), desk.queued()), (1, 1, 1), "in one commit: {in_one_commit}");
    }
}

#[test]
fn the_name_of_a_cancelled_message_is_free() {
    let mut desk = offline();
    desk.send_named("x", "one").unwrap();
    assert_eq!(desk.send_named("x", "two").unwrap_err().code, ErrorCode::MessageIdTaken);
    cancel(&mut desk, "x").unwrap();
    desk.send_named("x", "two").unwrap();
    assert_eq!(online(&mut desk, 0), [(1, "two".to_owned())]);
}

/// Its peer in a second session.
const OTHER_PEER: &str = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";

fn in_two_sessions() -> Desk {
    let mut desk = offline();
    desk.call(|request| Input::OpenSession { request, peer_wallet: OTHER_PEER.into() }).unwrap();
    desk
}

/// Sends under this name, with what was read of it before.
fn ask_named(desk: &mut Desk, session_id: String, name: &str, text: &str, known: Option<NameRecord>) -> u64 {
    let (text, message_id) = (text.to_owned(), Some(name.to_owned()));
    desk.ask(|request| Input::Send { request, session_id, text, content_type: None, message_id, known })
}

#[test]
fn names_are_judged_as_the_commit_under_way_leaves_them() {
    let mut desk = in_two_sessions();
    desk.held = Some(Default::default());
    desk.send_in(&session(), "under way");
    let mut sent = vec![
        ask_named(&mut desk, session(), "x", "one", None),
        ask_named(&mut desk, session_of(WALLET, OTHER_PEER), "x", "two", None),
        ask_named(&mut desk, session(), "y", "three", None),
    ];
    desk.ask(|request| Input::Cancel { request, message_id: "x".into() });
    sent.push(ask_named(&mut desk, session(), "x", "four", None));
    desk.ask(|request| Input::Cancel { request, message_id: "y".into() });
    let taken = ask_named(&mut desk, session(), "x", "five", None);
    desk.persist();
    desk.persist();
    assert!(sent.iter().all(|request| desk.replies[request].is_ok()), "{:?}", desk.replies);
    assert_eq!(desk.replies[&taken].as_ref().map_err(|error| error.code), Err(ErrorCode::MessageIdTaken));
    let written = desk.commits.pop().unwrap().writes.into_iter();
    let outboxes = written.filter(|write| matches!(write, Write::Outbox(record) if record.session_id == session()));
    assert_eq!(outboxes.count(), 1, "what is made anew is written once");
}

#[test]
fn a_name_that_was_read_before_it_was_free_stands_no_longer() {
    let mut desk = offline();
    desk.send_named("x", "one").unwrap();
    let read = desk.records.names[&(session(), "x".to_owned())].clone();
    desk.held = Some(Default::default());
    desk.send_in(&session(), "under way");
    let cancel = |desk: &mut Desk| desk.ask(|request| Input::Cancel { request, message_id: "x".into() });
    cancel(&mut desk);
    ask_named(&mut desk, session(), "x", "two", None);
    cancel(&mut desk);
    desk.persist();
    desk.persist();
    let sent = ask_named(&mut desk, session(), "x", "three", Some(read));
    desk.persist();
    assert!(desk.replies[&sent].is_ok(), "{:?}", desk.replies[&sent]);
}

#[test]
fn a_message_is_looked_for_in_each_session_by_its_id() {
    let mut desk = in_two_sessions();
    ask_named(&mut desk, session(), "x", "text", None);
    ask_named(&mut desk, session_of(WALLET, OTHER_PEER), "y", "text", None);
    assert_eq!(["x", "y"].map(|id| cancel(&mut desk, id)), [Ok(Reply::Done), Ok(Reply::Done)]);
    assert_eq!(desk.queued(), 0);
}

#[test]
fn versions_of_other_messages_stay_behind_a_cancelled_one() {
    let mut desk = offline();
    desk.send_named("y", "one").unwrap();
    desk.send_named("x", "two").unwrap();
    edit(&mut desk, "y", "three").unwrap();
    cancel(&mut desk, "x").unwrap();
    assert_eq!(online(&mut desk, 0), [(1, "one".to_owned()), (2, "three".to_owned())]);
}

/// Its second message was refused with this code.
fn refused(code: ErrorCode) -> (Desk, String) {
    let mut desk = Desk::new();
    desk.send("one");
    let id = desk.send_named("x", "two").unwrap().message_id;
    desk.refuse(code, |error| error.refused_message_id = Some(id.clone()));
    (desk, id)
}

#[test]
fn a_failed_message_keeps_its_text_over_a_reload() {
    let (desk, id) = refused(ErrorCode::MessageTooLarge);
    let desk = desk.reload();
    let (status, view) = desk.client.unsent_message(&id).unwrap();
    let view = view.unwrap();
    assert_eq!((status, view.status, view.text.as_str()), (MessageStatus::Failed, MessageStatus::Failed, "two"));
    assert_eq!(view.error.unwrap().code, ErrorCode::MessageTooLarge);
    assert_eq!(unsent(&desk)[0], ("two".to_owned(), MessageStatus::Failed), "before what waits");
    assert_eq!(desk.client.queued().len(), 1);
}

#[test]
fn a_failed_message_keeps_its_name_where_names_are_lost() {
    let (mut desk, id) = refused(ErrorCode::MessageTooLarge);
    // The database was made anew, of what its tab had in memory.
    desk.records.names.clear();
    let mut desk = desk.reload();
    assert_eq!(desk.send_named("x", "three").unwrap_err().code, ErrorCode::MessageIdTaken);
    assert_eq!(desk.send_named("x", "two").map(|receipt| receipt.message_id), Ok(id.clone()));
    assert_eq!(desk.status(&id), Some(MessageStatus::Failed), "it is the same message");
}

#[test]
fn a_retry_queues_a_failed_message_under_its_id() {
    let (desk, id) = refused(ErrorCode::MessageTooLarge);
    let mut desk = desk.reload();
    assert_eq!((retry(&mut desk, &id), retry(&mut desk, &id)), (Ok(id.clone()), Err(ErrorCode::UnknownMessage)));
    assert_eq!(desk.status(&id), Some(MessageStatus::Queued));
    let sent = online(&mut desk, 0);
    assert_eq!(sent, [(1, "one".to_owned()), (2, String::new()), (3, "two".to_owned())], "behind its own void");
    // Refused once more it fails once more.
    desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(id.clone()));
    assert_eq!(desk.status(&id), Some(MessageStatus::Failed));
    let voids = desk.client.unsent(&session()).iter().filter(|entry| entry.message.kind == Kind::VOID).count();
    assert_eq!(voids, 2);
}

#[test]
fn a_message_whose_name_was_taken_fails_under_another() {
    let (mut desk, id) = refused(ErrorCode::MessageIdTaken);
    assert_eq!((cancel(&mut desk, "nobody"), desk.status("nobody")), (Err(ErrorCode::UnknownMessage), None));
    let (_, view) = desk.client.unsent_message(&id).unwrap();
    let other = view.unwrap().id;
    assert_ne!(other, id);
    assert_eq!(retry(&mut desk, &id), Ok(other));
}

#[test]
fn an_id_means_what_waits_before_what_was_refused() {
    let (mut desk, id) = refused(ErrorCode::MessageIdTaken);
    desk.feed(Input::SetOffline { offline: true });
    desk.send_named(&id, "three").unwrap();
    let (status, view) = desk.client.unsent_message(&id).unwrap();
    assert_eq!((status, view.unwrap().text.as_str()), (MessageStatus::Queued, "three"));
    cancel(&mut desk, &id).unwrap();
    assert_eq!(unsent(&desk), [("two".to_owned(), MessageStatus::Failed), ("one".to_owned(), MessageStatus::Queued)]);
    cancel(&mut desk, &id).unwrap();
    assert_eq!(unsent(&desk).len(), 1);
}

#[test]
fn a_message_may_be_refused_any_number_of_times() {
    let (mut desk, id) = refused(ErrorCode::MessageTooLarge);
    for _ in 0..3 {
        retry(&mut desk, &id).unwrap();
        desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(id.clone()));
        assert_eq!(desk.status(&id), Some(MessageStatus::Failed));
        assert_eq!(unsent(&desk), [("two".to_owned(), MessageStatus::Failed), ("one".to_owned(), MessageStatus::Sending)]);
    }
}

#[test]
fn a_failed_message_leaves_when_it_is_given_up() {
    for delete in [false, true] {
        let (mut desk, id) = refused(ErrorCode::MessageTooLarge);
        if delete {
            let call = |request| Input::Edit { request, session_id: session(), message_id: id.clone(), text: None };
            desk.call(call).unwrap();
        } else {
            cancel(&mut desk, &id).unwrap();
        }
        assert_eq!(unsent(&desk), [("one".to_owned(), MessageStatus::Sending)]);
        desk.send_named("x", "three").unwrap();
        assert!(desk.reload().records.failed.is_empty());
    }
}

#[test]
fn of_many_failed_messages_the_last_hundred_are_kept() {
    let mut desk = Desk::new();
    for number in 1..=101 {
        let id = desk.send(&format!("text {number}"));
        desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(id.clone()));
    }
    let shown = unsent(&desk);
    assert_eq!((shown.len(), shown[0].0.as_str(), desk.records.failed.len()), (100, "text 2", 100));
}

fn changes(desk: &mut Desk) -> Vec<Change> {
    desk.events().into_iter().filter_map(|event| if let Event::Changed(change) = event { Some(change) } else { None }).collect()
}

#[test]
fn who_observes_is_told_before_all_others_of_a_commit() {
    let mut desk = Desk::new();
    desk.feed(Input::Observe { observed: true });
    desk.push(&[foreign(1, 1, "hello")]);
    let told = desk.events();
    assert!(
        matches!(&told[..], [Event::Changed(Change::Message { entry, .. }), Event::MessageReceived { .. }, ..] if entry.sequence_number == 1)
    );
    let id = desk.send("mine");
    let told = changes(&mut desk);
    assert!(
        matches!(&told[..], [Change::Message { entry, .. }, Change::Status { status: MessageStatus::Sending, .. }] if entry.message.id == id)
    );
    desk.acknowledge(&[(1, 2)]);
    let told = changes(&mut desk);
    assert!(
        matches!(&told[..], [Change::Status { status: MessageStatus::Sent, .. }, Change::Message { entry, .. }] if entry.sequence_number == 2)
    );
}

#[test]
fn who_observes_is_told_of_versions_that_leave() {
    let mut desk = offline();
    desk.send_named("x", "one").unwrap();
    edit(&mut desk, "x", "two").unwrap();
    desk.feed(Input::Observe { observed: true });
    desk.forget();
    cancel(&mut desk, "x").unwrap();
    let (session_id, message_id) = (session(), "x".to_owned());
    let removed = Change::Removed { session_id: session_id.clone(), message_id: message_id.clone() };
    // What is in the log under that name shows its own text again.
    assert_eq!(changes(&mut desk), [removed, Change::Stale { session_id, message_id }]);
}

#[test]
fn receipts_of_both_wallets_are_told_with_their_places() {
    let mut desk = Desk::new();
    desk.push(&[foreign(1, 1, "hello")]);
    desk.feed(Input::Observe { observed: true });
    desk.forget();
    for (wallet, status) in [(WALLET, ReceiptStatus::Read), (PEER, ReceiptStatus::Delivered)] {
        let message_id = String::from("any");
        let (timestamp, reader_wallet, sequence_number) = (Stamp::Millis(1), Some(wallet.into()), Some(1));
        let receipt = Receipt { message_id, status, timestamp, reader_wallet, device_id: None, sequence_number };
        desk.hear(Body::ReadReceiptSync(ReadReceiptSync { receipts: vec![receipt] }));
        // What the own wallet has read, the other one need not have.
        let all_through = u64::from(wallet == PEER);
        let expected = Change::Receipt { session_id: session(), wallet: wallet.into(), status, through: 1, all_through };
        assert_eq!(changes(&mut desk), [expected]);
    }
    assert_eq!(desk.client.stored_sessions()[0].read_through, 1);
}

#[test]
fn who_observes_is_told_of_versions_that_the_log_brings() {
    let mut desk = Desk::new();
    desk.push(&[foreign(1, 1, "hello")]);
    desk.feed(Input::Observe { observed: true });
    desk.forget();
    let mut version = foreign(2, 2, "edited");
    let message_id = foreign(1, 1, "hello").message.id;
    (version.message.kind, version.message.replaces) = (Kind::EDIT, Some(message_id.clone()));
    desk.push(&[version]);
    assert_eq!(changes(&mut desk), [Change::Stale { session_id: session(), message_id }]);
}

#[test]
fn who_observes_is_told_what_was_sent_and_waits_again() {
    let mut desk = Desk::new();
    let ids = ["one", "two"].map(|text| desk.send(text));
    desk.acknowledge(&[(1, 5), (2, 6)]);
    desk.feed(Input::Observe { observed: true });
    desk.forget();
    desk.refuse(ErrorCode::CounterGap, |error| error.expected_counter = Some(1));
    let told = changes(&mut desk).into_iter().filter_map(|change| match change {
        Change::Status { message_id, status: MessageStatus::Queued, .. } => Some(message_id),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ids, "the relay has lost them");
}

#[test]
fn a_receipt_of_an_own_message_is_one_change() {
    let mut desk = Desk::new();
    let id = desk.send("mine");
    desk.acknowledge(&[(1, 1)]);
    desk.feed(Input::Observe { observed: true });
    desk.forget();
    let (timestamp, reader_wallet, status) = (Stamp::Millis(1), Some(PEER.into()), ReceiptStatus::Read);
    let receipt = Receipt { message_id: id, status, timestamp, reader_wallet, device_id: None, sequence_number: Some(1) };
    desk.hear(Body::ReadReceiptSync(ReadReceiptSync { receipts: vec![receipt] }));
    assert!(matches!(&changes(&mut desk)[..], [Change::Receipt { through: 1, .. }]), "its status follows from that");
}

#[test]
fn nobody_is_told_of_changes_who_does_not_observe() {
    let mut desk = Desk::new();
    desk.ask(send(&session(), "mine"));
    desk.push(&[foreign(1, 1, "hello")]);
    assert_eq!(changes(&mut desk), []);
}

#[test]
fn who_begins_to_observe_during_a_commit_is_told_to_read_again() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    desk.push(&[foreign(1, 1, "on its way to disk")]);
    desk.feed(Input::Observe { observed: true });
    desk.persist();
    assert_eq!(changes(&mut desk)[0], Change::Missed);
    desk.held = None;
    desk.push(&[foreign(2, 2, "after it")]);
    assert!(matches!(&changes(&mut desk)[..], [Change::Message { .. }]), "told whole from then on");
}

#[test]
fn the_name_of_a_failed_message_that_was_pushed_out_is_free() {
    let mut desk = Desk::new();
    for number in 0..=FAILED_MESSAGES_MAX {
        let id = desk.send_named(&format!("x{number}"), "text").unwrap().message_id;
        desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(id.clone()));
        desk.answer(&[], 0);
    }
    assert_eq!((desk.status("x1"), desk.records.failed.len()), (Some(MessageStatus::Failed), FAILED_MESSAGES_MAX));
    // It is not kept any more: sent again it is a message that waits.
    desk.send_named("x0", "text").unwrap();
    assert_eq!(desk.queued(), 1);
}

#[test]
fn what_is_given_up_in_the_same_transaction_frees_its_name() {
    let (mut desk, id) = refused(ErrorCode::MessageTooLarge);
    desk.records.names.clear();
    let mut desk = desk.reload();
    desk.held = Some(Default::default());
    desk.send_in(&session(), "under way");
    desk.ask(|request| Input::Cancel { request, message_id: id.clone() });
    let sent = ask_named(&mut desk, session(), "x", "three", None);
    desk.persist();
    desk.persist();
    assert!(desk.replies[&sent].is_ok(), "{:?}", desk.replies[&sent]);
    assert_eq!(desk.status("x"), Some(MessageStatus::Queued));
}
