//! How a device sends what it has written, and what it makes of the relay's answers, rule by rule.

use crate::calls;
use crate::desk::{Desk, PEER, WALLET, foreign, foreign_log, session};
use solconnect_sync_core::client::{ClientConfig, Event, Input, MessageStatus, Reply, SyncScope, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, PROTOCOL_VERSION, SyncAck};
use solconnect_sync_core::limits::{ANSWER_TIMEOUT_MS, BACKOFF_MS_MAX, UPDATES_IN_FLIGHT_MAX};

fn small_batches() -> ClientConfig {
    ClientConfig { max_batch_size: 2, ..ClientConfig::default() }
}

fn numbers(statuses: &[(String, MessageStatus)], wanted: MessageStatus) -> Vec<u64> {
    statuses.iter().filter(|(_, status)| *status == wanted).map(|(number, _)| number.parse().unwrap()).collect()
}

#[test]
fn a_connection_begins_with_an_announcement_and_a_request() {
    for enable_compression in [true, false] {
        let mut desk = Desk::with(ClientConfig { enable_compression, max_batch_size: 7, ..ClientConfig::default() });
        desk.push(&foreign_log(1, 3));
        desk.lose();
        desk.wait(BACKOFF_MS_MAX);
        desk.forget();
        desk.connect();
        let sent = desk.sent();
        let ids: Vec<&str> = sent.iter().map(|frame| frame.head.message_id.as_str()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
        assert!(sent.iter().all(|frame| frame.head.protocol_version == Some(PROTOCOL_VERSION)));
        assert_eq!(sent.iter().map(|frame| frame.head.session_id.clone()).collect::<Vec<_>>(), [session(), session(), String::new()]);
        let Body::DeviceAnnounce(announce) = &sent[0].body else { panic!("{sent:?}") };
        assert_eq!((announce.wallet.as_deref(), announce.peer_wallet.as_deref()), (Some(WALLET), Some(PEER)));
        assert_eq!(announce.sync_state.last_synced_sequence, 3);
        assert_eq!(announce.compression.as_deref(), enable_compression.then_some("deflate"));
        let Body::SyncRequest(request) = &sent[1].body else { panic!("{sent:?}") };
        assert_eq!((request.last_synced_sequence, request.max_batch_size), (3, Some(7)));
        let Body::WalletAnnounce(announce) = &sent[2].body else { panic!("{sent:?}") };
        assert_eq!((announce.wallet.as_str(), &announce.after), (WALLET, &None));
    }
}

#[test]
fn a_queued_message_enters_the_log_in_one_commit_i2_i7() {
    let mut desk = Desk::new();
    desk.send("hello");
    assert_eq!((desk.queued(), desk.cursor()), (1, 0));
    let update = desk.updates().remove(0);
    assert_eq!((update.messages.len(), update.messages[0].counter, update.messages[0].message.ciphertext.as_str()), (1, 1, "hello"));
    assert!(desk.commits.last().unwrap().strict, "what is queued survives a power cut");
    assert_eq!(desk.statuses(), [("1".into(), MessageStatus::Sending)]);
    desk.forget();
    desk.acknowledge(&[(1, 1)]);
    assert_eq!((desk.queued(), desk.cursor(), desk.shown()), (0, 1, vec!["hello".to_owned()]));
    assert_eq!(desk.log()[0].entries().unwrap()[0].server_timestamp, 9, "when the relay took it");
    assert_eq!(desk.commits.len(), 1);
    assert!(!desk.commits[0].strict, "where it is lost, the relay knows the message");
    let kinds = desk.commits[0].writes.iter().map(|write| match write {
        Write::DeleteOutbox { first, last, .. } => format!("outbox {first} to {last} leaves"),
        Write::Log(record) => format!("log {} to {}", record.first, record.last),
        Write::Session(record) => format!("cursor {}", record.log.end()),
        other => format!("{other:?}"),
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["log 1 to 1", "cursor 1"]);
    let events = desk.events();
    assert!(events.iter().any(|event| matches!(event, Event::MessageSynced { .. })));
    assert!(events.iter().any(|event| matches!(event, Event::QueueChanged { queued_message_count: 0 })));
    assert!(!events.iter().any(|event| matches!(event, Event::MessageReceived { .. })), "its own message is no news");
    assert!(desk.sent().is_empty(), "that its own message is stored need not be told");
}

#[test]
fn logged_messages_leave_the_outbox_later_even_after_a_reload() {
    let mut desk = Desk::new();
    for text in ["a", "b", "c"] {
        desk.send(text);
    }
    desk.acknowledge(&[(1, 1), (2, 2)]);
    let stored = |desk: &Desk| -> Vec<u64> { desk.records.snapshot().outbox.iter().map(|record| record.first()).collect() };
    assert_eq!((stored(&desk), desk.queued()), (vec![1, 2, 3], 1));
    let mut desk = desk.reload();
    assert_eq!((stored(&desk), desk.queued()), (vec![1, 2, 3], 1), "what the log has is not queued");
    desk.connect();
    desk.wait(1_000);
    assert_eq!((stored(&desk), desk.queued()), (vec![3], 1));
    desk.acknowledge(&[(3, 3)]);
    desk.wait(1_000);
    assert!(stored(&desk).is_empty());
    let receipt = desk.send("d");
    assert!(receipt.ends_with(":4"), "its counter went on: {receipt}");
}

#[test]
fn the_number_of_batches_under_way_is_limited() {
    let mut desk = Desk::unconnected(small_batches(), Default::default());
    for number in 0..25 {
        desk.send(&format!("message {number}"));
    }
    assert!(desk.sent().is_empty());
    desk.connect();
    let batches: Vec<Vec<u64>> =
        desk.updates().iter().map(|update| update.messages.iter().map(|unsent| unsent.counter).collect()).collect();
    assert_eq!(batches.len(), UPDATES_IN_FLIGHT_MAX);
    assert!(batches.iter().all(|batch| batch.len() == 2) && batches.concat() == (1..=20).collect::<Vec<_>>(), "{batches:?}");
    assert_eq!(numbers(&desk.statuses(), MessageStatus::Sending), (1..=20).collect::<Vec<_>>());
    desk.acknowledge(&[(1, 1)]);
    assert!(desk.updates().is_empty(), "the first is not whole yet");
    desk.acknowledge(&[(2, 2), (3, 3), (4, 4)]);
    let next: Vec<u64> = desk.updates().iter().flat_map(|update| update.messages.clone()).map(|unsent| unsent.counter).collect();
    assert_eq!(next, [21, 22, 23, 24]);
    assert_eq!(desk.queued(), 21);
    desk.lose();
    let back = numbers(&desk.statuses(), MessageStatus::Queued);
    assert_eq!(back, (5..=24).collect::<Vec<_>>(), "what was on its way waits again (I15)");
    desk.wait(BACKOFF_MS_MAX);
    desk.connect();
    let again: Vec<u64> = desk.updates().iter().flat_map(|update| update.messages.clone()).map(|unsent| unsent.counter).collect();
    assert_eq!(again, (5..=24).collect::<Vec<_>>(), "in the same order (I8)");
}

#[test]
fn an_acknowledged_message_beyond_a_gap_waits_for_the_log() {
    let mut desk = Desk::new();
    let id = desk.send("mine");
    desk.forget();
    desk.acknowledge(&[(1, 2)]);
    assert_eq!(desk.statuses(), [("1".into(), MessageStatus::Sent)]);
    assert_eq!((desk.queued(), desk.cursor()), (1, 0), "it stays in the outbox until its place is stored (I2)");
    assert_eq!(desk.status(&id), Some(MessageStatus::Sent));
    let own = Entry { sequence_number: 2, server_timestamp: 8, ..desk.records.snapshot().outbox.remove(0).entries.remove(0) };
    desk.forget();
    desk.push(&[foreign(1, 1, "theirs"), own]);
    assert_eq!((desk.queued(), desk.cursor(), desk.shown()), (0, 2, vec!["theirs".to_owned(), "mine".to_owned()]));
    assert!(desk.statuses().is_empty(), "it was told that it is sent already");
}

#[test]
fn a_reload_loses_nothing_that_was_queued() {
    let mut desk = Desk::new();
    for text in ["one", "two", "three"] {
        desk.send(text);
    }
    desk.acknowledge(&[(1, 1)]);
    let mut desk = desk.reload();
    assert_eq!((desk.queued(), desk.cursor(), desk.shown()), (2, 1, vec!["one".to_owned(), "two".to_owned(), "three".to_owned()]));
    desk.connect();
    let sent: Vec<u64> = desk.updates().iter().flat_map(|update| update.messages.clone()).map(|unsent| unsent.counter).collect();
    assert_eq!(sent, [2, 3]);
    assert!(desk.send("four").ends_with(":4"), "counters go on (I11)");
}

#[test]
fn a_commit_that_fails_leaves_no_trace_in_memory() {
    let mut desk = Desk::new();
    desk.send("kept");
    desk.forget();
    desk.held = Some(Default::default());
    let refused = desk.ask(calls::send(&session(), "refused"));
    assert_eq!(desk.queued(), 1, "what is not on disk does not count");
    desk.fail(ErrorCode::StorageFull);
    assert_eq!(desk.replies[&refused].as_ref().unwrap_err().code, ErrorCode::StorageFull);
    assert!(desk.updates().is_empty(), "and is not sent");
    desk.held = None;
    assert!(desk.send("after").ends_with(":2"), "its counter is free again");
    let records = desk.records.snapshot().outbox;
    assert_eq!(records.iter().map(|record| record.first()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(desk.shown(), ["kept", "after"]);
}

#[test]
fn an_acknowledgement_that_cannot_be_stored_is_asked_for_again() {
    let mut desk = Desk::new();
    desk.send("one");
    desk.send("two");
    desk.forget();
    desk.held = Some(Default::default());
    desk.acknowledge(&[(1, 1), (2, 2)]);
    let waits = desk.ask(calls::send(&session(), "three"));
    desk.fail(ErrorCode::StorageError);
    assert_eq!(desk.disconnects, 1, "what the relay said is thrown away with the connection");
    assert!(desk.warnings().contains(&ErrorCode::StorageError));
    desk.persist();
    assert!(desk.replies[&waits].is_ok(), "a message that waited behind it is stored");
    desk.held = None;
    assert_eq!((desk.queued(), desk.cursor()), (3, 0));
    desk.wait(BACKOFF_MS_MAX);
    desk.connect();
    let sent: Vec<u64> = desk.updates().iter().flat_map(|update| update.messages.clone()).map(|unsent| unsent.counter).collect();
    assert_eq!(sent, [3], "the relay has the others, and its log brings them");
    let mut log: Vec<_> = desk.records.snapshot().outbox.into_iter().flat_map(|record| record.entries).take(2).collect();
    log.iter_mut().zip(1..).for_each(|(entry, sequence)| entry.sequence_number = sequence);
    desk.push(&log);
    desk.acknowledge(&[(3, 3)]);
    assert_eq!((desk.queued(), desk.shown()), (0, vec!["one".to_owned(), "two".to_owned(), "three".to_owned()]));
}

#[test]
fn messages_that_wait_for_one_commit_share_the_next_one() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    for text in ["a", "b", "c", "d"] {
        desk.ask(calls::send(&session(), text));
    }
    assert_eq!(desk.held.as_ref().unwrap().len(), 1);
    desk.persist();
    desk.persist();
    assert!(desk.held.as_ref().unwrap().is_empty());
    let outbox = desk.records.snapshot().outbox;
    let counters: Vec<Vec<u64>> = outbox.iter().map(|record| record.entries.iter().map(|entry| entry.counter).collect()).collect();
    assert_eq!(counters, [vec![1], vec![2, 3, 4]], "one commit, one record");
    desk.held = None;
    desk.forget();
    desk.acknowledge(&[(1, 1), (2, 2), (3, 3)]);
    desk.wait(1_000);
    let left: Vec<u64> = desk.records.snapshot().outbox.iter().map(|record| record.first()).collect();
    assert_eq!((left, desk.queued()), (vec![2], 1), "a record leaves with its last message");
    desk.acknowledge(&[(4, 4)]);
    desk.wait(1_000);
    assert!(desk.records.snapshot().outbox.is_empty());
}

/// The commit of what was called also had something of the relay's, which came after it (found by the simulated world).
#[test]
fn a_message_whose_commit_failed_is_not_sent_unstored_i21() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    for text in ["a", "b"] {
        desk.ask(calls::send(&session(), text));
    }
    desk.push(&foreign_log(1, 1));
    desk.persist();
    assert_eq!(desk.updates().iter().map(|update| update.messages.len()).sum::<usize>(), 1, "only the first is stored");
    desk.fail(ErrorCode::StorageFull);
    desk.forget();
    desk.wait(60_000);
    desk.connect();
    assert_eq!(desk.updates().len(), 0, "the second is on its way to disk, and nothing is said before");
    desk.persist();
    desk.wait(0);
    desk.persist();
    assert_eq!(desk.updates().iter().map(|update| update.messages.len()).sum::<usize>(), 2, "that it is sent is stored first");
}

#[test]
fn a_profile_taken_over_stops_writing_and_connecting() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    let call = desk.ask(calls::send(&session(), "late"));
    desk.fail(ErrorCode::ProfileInUse);
    assert_eq!(desk.replies[&call].as_ref().unwrap_err().code, ErrorCode::ProfileInUse);
    assert_eq!(desk.disconnects, 1);
    let calls: [fn(u64) -> Input; 3] = [
        |request| calls::send(&session(), "x")(request),
        |request| Input::OpenSession { request, peer_wallet: PEER.into() },
        |request| Input::AutoSync { request, session_id: session(), interval_ms: Some(5_000) },
    ];
    for call in calls {
        assert_eq!(desk.call(call).unwrap_err().code, ErrorCode::ProfileInUse);
    }
    desk.wait(BACKOFF_MS_MAX);
    assert_eq!(desk.connects, 1);
}

#[test]
fn a_counter_gap_resends_from_the_expected_counter() {
    let mut desk = Desk::with(small_batches());
    for text in ["one", "two", "three", "four"] {
        desk.send(text);
    }
    desk.acknowledge(&[(1, 1), (2, 2)]);
    desk.forget();
    desk.refuse(ErrorCode::CounterGap, |error| error.expected_counter = Some(3));
    let sent: Vec<u64> = desk.updates().iter().flat_map(|update| update.messages.clone()).map(|unsent| unsent.counter).collect();
    assert_eq!(sent, [3, 4]);
    desk.refuse(ErrorCode::CounterGap, |error| error.expected_counter = Some(2));
    assert_eq!(desk.warnings(), [ErrorCode::RelayRolledBack], "the relay lacks what stands in the stored log (I19)");
    desk.forget();
    desk.push(&[foreign(3, 1, "unheard")]);
    assert_eq!(desk.cursor(), 2, "the session is halted");
    desk.sync(SyncScope::Everything);
    desk.connect();
    desk.push(&[foreign(3, 1, "heard")]);
    assert_eq!(desk.cursor(), 3, "until the application asks again");
}

#[test]
fn a_counter_taken_elsewhere_gives_the_device_a_new_id() {
    for refusal in [ErrorCode::CounterReused, ErrorCode::CounterGap] {
        let mut desk = Desk::new();
        let old_id = desk.device_id();
        desk.send("one");
        let id = desk.send("two");
        desk.acknowledge(&[(1, 1)]);
        let written = desk.updates().remove(1).messages.remove(0);
        desk.forget();
        desk.refuse(refusal, |error| error.expected_counter = Some(9));
        let new_id = desk.device_id();
        assert_ne!(old_id, new_id);
        assert!(desk.events().contains(&Event::DeviceReplaced { old_id: old_id.clone(), new_id: new_id.clone() }));
        assert_eq!((desk.disconnects, desk.queued()), (1, 1));
        desk.wait(BACKOFF_MS_MAX);
        desk.connect();
        let unsent = desk.updates().remove(0).messages.remove(0);
        assert_eq!((unsent.message.id.as_str(), unsent.counter, unsent.device_id.as_str()), (id.as_str(), 1, new_id.as_str()));
        assert_eq!((&unsent.message, unsent.knows), (&written.message, written.knows), "what it says and knew stays");
        assert_eq!(desk.reload().device_id(), new_id);
    }
}

#[test]
fn a_message_refused_for_good_fails_and_others_go_on() {
    let mut desk = Desk::new();
    let [_, id, _] = ["one", "bad", "three"].map(|text| desk.send(text));
    desk.forget();
    desk.acknowledge(&[(1, 1)]);
    desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(id.clone()));
    let failed: Vec<Event> =
        desk.events().into_iter().filter(|event| matches!(event, Event::StatusChanged { status: MessageStatus::Failed, .. })).collect();
    assert!(
        matches!(&failed[..], [Event::StatusChanged { message_id, error: Some(error), .. }] if *message_id == id && error.code == ErrorCode::MessageTooLarge),
        "{failed:?}"
    );
    assert_eq!((desk.queued(), desk.shown()), (1, ["one", "bad", "three"].map(String::from).to_vec()), "what failed waits no more");
    assert_eq!(desk.status(&id), Some(MessageStatus::Failed));
}

#[test]
fn a_busy_relay_is_sent_everything_again_after_a_wait() {
    for code in [ErrorCode::RelayBusy, ErrorCode::RelayStorageFailed, ErrorCode::NotAnnounced] {
        let mut desk = Desk::new();
        desk.send("one");
        desk.forget();
        desk.refuse(code, |_| {});
        assert_eq!(desk.warnings(), [code]);
        desk.send("two");
        assert!(desk.sent().is_empty(), "nothing is said before");
        let due_ms = desk.client.next_timeout_ms().unwrap();
        assert!(due_ms <= desk.now.monotonic_ms + desk.config.retry_delay_ms);
        desk.wait(due_ms - desk.now.monotonic_ms);
        let sent = desk.sent();
        assert!(matches!(sent[0].body, Body::DeviceAnnounce(_)), "{sent:?}");
        let messages = sent.iter().filter_map(|frame| {
            if let Body::SyncUpdate(update) = &frame.body { Some(update.messages.entries().unwrap().len()) } else { None }
        });
        assert_eq!(messages.sum::<usize>(), 2);
        assert_eq!(desk.disconnects, 0);
    }
}

#[test]
fn refusals_about_nothing_of_this_device_only_warn() {
    let mut desk = Desk::new();
    desk.send("one");
    let id = desk.device_id();
    desk.forget();
    desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some("room:other:1".into()));
    desk.refuse(ErrorCode::InvalidMessageFormat, |_| {});
    desk.refuse(ErrorCode::CounterReused, |error| error.session_id = None);
    desk.refuse(ErrorCode::CounterReused, |error| error.session_id = Some("another".into()));
    assert_eq!(desk.warnings().len(), 4);
    assert_eq!((desk.device_id(), desk.queued()), (id, 1));
    desk.refuse(ErrorCode::NotAMember, |_| {});
    let call = desk.call(calls::send(&session(), "still"));
    assert!(call.is_ok() && desk.updates().is_empty(), "one that is not let in keeps what it writes");
}

#[test]
fn an_update_without_an_answer_is_a_dead_path() {
    let mut desk = Desk::new();
    desk.send("one");
    desk.wait(ANSWER_TIMEOUT_MS - 1);
    desk.head_is(0);
    assert_eq!(desk.disconnects, 0);
    desk.wait(1);
    assert_eq!(desk.disconnects, 1, "whatever else is heard");
}

#[test]
fn a_sync_ends_when_everything_is_sent_and_stored() {
    let mut desk = Desk::new();
    desk.send("one");
    desk.send("two");
    desk.forget();
    let (all, outbox) = (desk.sync(SyncScope::Everything), desk.sync(SyncScope::Outbox));
    desk.answer(&foreign_log(1, 3), 4);
    assert!(!desk.replies.contains_key(&all), "entry 4 is missing, and the messages");
    desk.push(&[foreign(4, 4, "more")]);
    desk.acknowledge(&[(1, 5)]);
    assert!(!desk.replies.contains_key(&all));
    desk.acknowledge(&[(2, 6)]);
    assert_eq!(desk.replies[&all], Ok(Reply::Count(6)));
    let progress: Vec<(u64, u64)> = desk
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::SyncProgress { messages_synced, total_messages, .. } => Some((messages_synced, total_messages)),
            _ => None,
        })
        .collect();
    assert_eq!(progress, [(3, 6), (4, 6), (5, 6), (6, 6)], "I14");
    assert!(!desk.replies.contains_key(&outbox), "who asked later waits for a sync of its own");
    desk.answer(&[], 6);
    assert_eq!(desk.replies[&outbox], Ok(Reply::Count(2)), "since it asked, and only what was sent");
    let stats = desk.client.stats(&session()).unwrap();
    assert_eq!((stats.total_messages_synced, stats.pending_messages, stats.sync_failures), (6, 0, 0));
    assert_eq!(desk.client.sync_status().last_sync_ms, Some(desk.now.wall_ms));
}

#[test]
fn a_sync_succeeds_although_one_of_its_messages_was_refused() {
    let mut desk = Desk::new();
    let refused = desk.send("refused");
    desk.send("taken");
    let call = desk.sync(SyncScope::Everything);
    desk.answer(&[], 0);
    desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(refused));
    assert!(desk.statuses().contains(&("1".to_owned(), MessageStatus::Failed)));
    desk.acknowledge(&[(1, 1), (2, 2)]);
    desk.answer(&[], 2);
    assert_eq!(desk.replies[&call], Ok(Reply::Count(2)), "the empty entry in the place of the refused one counts too");
}

#[test]
fn a_sync_fails_after_its_retries_and_keeps_the_queue() {
    let mut desk = Desk::with(ClientConfig { max_retries: 2, ..ClientConfig::default() });
    desk.send("one");
    let call = desk.sync(SyncScope::Everything);
    desk.forget();
    for attempt in 1..=3 {
        assert!(!desk.replies.contains_key(&call), "attempt {attempt}");
        desk.lose();
        desk.wait(BACKOFF_MS_MAX);
        desk.connect();
    }
    assert_eq!(desk.replies[&call].as_ref().unwrap_err().code, ErrorCode::RelayDisconnected);
    assert_eq!((desk.queued(), desk.client.stats(&session()).unwrap().sync_failures), (1, 1));
    assert!(desk.events().iter().any(|event| matches!(event, Event::SyncFailed { .. })));
}

#[test]
fn a_sync_that_cannot_begin_says_why() {
    let mut desk = Desk::new();
    desk.feed(Input::SetOffline { offline: true });
    let call = desk.sync(SyncScope::Everything);
    assert_eq!(desk.replies[&call].as_ref().unwrap_err().code, ErrorCode::RelayDisconnected);
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    let call = desk.sync(SyncScope::Everything);
    assert_eq!(desk.replies[&call], Ok(Reply::Count(0)), "there is nothing to sync");
    desk.call(|request| Input::DisconnectWallet { request }).unwrap();
    let call = desk.sync(SyncScope::Everything);
    assert_eq!(desk.replies[&call].as_ref().unwrap_err().code, ErrorCode::WalletNotConnected);
}

#[test]
fn an_ended_session_sends_its_queue_but_takes_no_more() {
    let mut desk = Desk::unconnected(ClientConfig::default(), Default::default());
    desk.send("one");
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    let send = calls::send(&session(), "x");
    assert_eq!(desk.call(send).unwrap_err().code, ErrorCode::UnknownSession);
    desk.connect();
    assert_eq!(desk.updates().len(), 1);
    desk.acknowledge(&[(1, 1)]);
    assert_eq!((desk.queued(), desk.disconnects), (0, 0));
}

#[test]
fn a_wallet_that_leaves_ends_the_connection_and_its_syncs() {
    let mut desk = Desk::new();
    desk.send("one");
    let call = desk.sync(SyncScope::Everything);
    desk.call(|request| Input::DisconnectWallet { request }).unwrap();
    assert_eq!(desk.replies[&call].as_ref().unwrap_err().code, ErrorCode::WalletNotConnected);
    assert_eq!((desk.disconnects, desk.client.wallet()), (1, None));
    desk.wait(BACKOFF_MS_MAX);
    assert_eq!(desk.connects, 1);
    desk.call(|request| Input::ConnectWallet { request, wallet: WALLET.into() }).unwrap();
    assert_eq!(desk.connects, 2, "what waits is sent when it comes back");
}

#[test]
fn an_acknowledged_message_is_sent_at_once_and_stored_soon() {
    let mut desk = Desk::new();
    let _ = ["a", "b", "c"].map(|text| desk.send(text));
    desk.forget();
    for counter in 1..=3 {
        desk.hear(Body::SyncAck(SyncAck {
            acknowledged_sequences: vec![counter],
            acknowledged_counters: vec![counter],
            server_timestamps: vec![9],
            ..SyncAck::default()
        }));
        assert_eq!(desk.statuses(), [(counter.to_string(), MessageStatus::Sent)], "and not twice");
        assert_eq!((desk.commits.len(), desk.cursor()), (0, 0));
        desk.wait(10);
    }
    desk.wait(20);
    assert_eq!((desk.commits.len(), desk.cursor(), desk.queued()), (1, 3, 0), "all in one commit");
    assert_eq!(desk.events().iter().filter(|event| matches!(event, Event::MessageSynced { .. })).count(), 3);
}

/// What is behind them in the log does not wait, and finds them stored before it.
#[test]
fn what_follows_acknowledged_messages_is_stored_behind_them() {
    let mut desk = Desk::new();
    desk.send("mine");
    desk.hear(Body::SyncAck(SyncAck {
        acknowledged_sequences: vec![1],
        acknowledged_counters: vec![1],
        server_timestamps: vec![9],
        ..SyncAck::default()
    }));
    desk.push(&[foreign(2, 1, "theirs")]);
    assert_eq!((desk.cursor(), desk.shown()), (2, vec!["mine".to_owned(), "theirs".to_owned()]));
    let request = desk.sync(SyncScope::Everything);
    desk.answer(&[], 2);
    assert_eq!(desk.replies[&request], Ok(Reply::Count(0)), "nothing was missing");
}

/// The id is that of a client without our rules, for which the relay keeps it.
#[test]
fn an_announcement_refused_as_reused_gives_the_device_another_id() {
    let mut desk = Desk::new();
    desk.send("mine");
    desk.lose();
    desk.wait(BACKOFF_MS_MAX);
    desk.forget();
    desk.connect();
    let before = desk.device_id();
    let announcement = desk.sent().remove(0).head.message_id;
    desk.refuse(ErrorCode::CounterReused, |error| error.in_reply_to = Some(announcement));
    assert_ne!(desk.device_id(), before);
    desk.wait(BACKOFF_MS_MAX);
    desk.connect();
    let sent = desk.sent();
    assert!(sent.iter().all(|frame| frame.head.device_id == desk.device_id()), "{sent:?}");
    let kinds = [matches!(sent[0].body, Body::DeviceAnnounce(_)), matches!(sent[2].body, Body::SyncUpdate(_))];
    assert_eq!((kinds, desk.queued()), ([true; 2], 1), "with the message that waits");
}

/// The commit that made it anew failed: the relay's word was about a message that is not there (found by the simulated world).
#[test]
fn a_message_made_anew_in_vain_is_not_called_sent() {
    let mut desk = Desk::new();
    let _ = ["refused", "behind it"].map(|text| desk.send(text));
    let refused = desk.client.queued()[0].id.clone();
    desk.held = Some(Default::default());
    desk.send_in(&session(), "under way");
    desk.refuse(ErrorCode::MessageTooLarge, |error| error.refused_message_id = Some(refused));
    desk.hear(Body::SyncAck(SyncAck {
        acknowledged_sequences: vec![1, 2],
        acknowledged_counters: vec![1, 2],
        server_timestamps: vec![9; 2],
        ..SyncAck::default()
    }));
    desk.persist();
    desk.fail(ErrorCode::StorageFull);
    assert!(numbers(&desk.statuses(), MessageStatus::Sent).is_empty());
}

/// Two callers keep the store busy: each acknowledgement comes while another message is being stored.
#[test]
fn acknowledged_messages_are_stored_though_the_store_is_never_idle() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    let send = |desk: &mut Desk| {
        let (session_id, text) = (session(), "x".to_owned());
        desk.ask(|request| Input::Send { request, session_id, text, content_type: None, message_id: None, known: None });
    };
    send(&mut desk);
    for counter in 1..=100 {
        send(&mut desk);
        desk.persist();
        desk.hear(Body::SyncAck(SyncAck {
            acknowledged_sequences: vec![counter],
            acknowledged_counters: vec![counter],
            server_timestamps: vec![9],
            ..SyncAck::default()
        }));
        desk.wait(10);
    }
    assert!(desk.queued() < 20, "{} of 100 wait", desk.queued());
}
