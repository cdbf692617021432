//! What a device's syncs count, and how much goes into a frame.

use crate::desk;
use crate::desk::{Desk, PEER, foreign_log, session};
use solconnect_sync_core::client::{ClientConfig, Event, Input, MessageStatus, Reply, SyncScope};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, SyncAck};
use solconnect_sync_core::limits::{BACKOFF_MS_MAX, TEXT_BYTES_MAX, UPDATES_IN_FLIGHT_MAX};

#[test]
fn a_sync_counts_only_what_came_after_its_call() {
    let mut desk = Desk::new();
    desk.send("one");
    desk.acknowledge(&[(1, 1)]);
    desk.push(&[desk::foreign(2, 1, "theirs")]);
    let (all, outbox) = (desk.sync(SyncScope::Everything), desk.sync(SyncScope::Outbox));
    desk.answer(&[desk::foreign(3, 2, "more")], 3);
    assert_eq!(desk.replies[&all], Ok(Reply::Count(1)));
    desk.send("two");
    desk.acknowledge(&[(2, 4)]);
    desk.answer(&[], 4);
    assert_eq!(desk.replies[&outbox], Ok(Reply::Count(1)));
}

#[test]
fn session_stats_show_sync_durations_and_pending_messages() {
    let mut desk = Desk::new();
    for duration_ms in [30, 60] {
        desk.sync(SyncScope::Everything);
        desk.wait(duration_ms);
        assert!(desk.client.sync_status().sync_in_progress);
        desk.answer(&[], 0);
        assert!(!desk.client.sync_status().sync_in_progress);
    }
    desk.send("one");
    let stats = desk.client.stats(&session()).unwrap();
    assert_eq!((stats.last_sync_duration, stats.average_sync_duration), (60, 30.0), "the first one took no time");
    assert_eq!(stats.pending_messages, 1);
}

#[test]
fn a_frame_takes_as_many_messages_as_fit_it() {
    let batches = |frames_in_json: bool, text: &str, count: usize| -> Vec<usize> {
        let mut desk = Desk::unconnected(ClientConfig { frames_in_json, ..ClientConfig::default() }, Default::default());
        (0..count).for_each(|_| drop(desk.send(text)));
        desk.connect();
        desk.updates().iter().map(|update| update.messages.len()).collect()
    };
    let (long, escaped) = ("~".repeat(TEXT_BYTES_MAX), "\u{1}".repeat(TEXT_BYTES_MAX));
    assert_eq!(batches(false, &long, 9), [7, 2]);
    assert_eq!(batches(false, &escaped, 9), [7, 2]);
    assert_eq!(batches(true, &escaped, 3), [1, 1, 1], "in JSON each letter takes six bytes");
    assert_eq!(batches(true, "short", 3), [3]);
}

#[test]
fn messages_under_way_are_sending_and_later_ones_queued() {
    let mut desk = Desk::with(ClientConfig { max_batch_size: 1, ..ClientConfig::default() });
    let ids: Vec<String> = (0..UPDATES_IN_FLIGHT_MAX + 2).map(|number| desk.send(&format!("{number}"))).collect();
    let statuses = |desk: &Desk| [0, 1, UPDATES_IN_FLIGHT_MAX, UPDATES_IN_FLIGHT_MAX + 1].map(|at| desk.status(&ids[at]).unwrap());
    let (queued, sending, sent) = (MessageStatus::Queued, MessageStatus::Sending, MessageStatus::Sent);
    assert_eq!(statuses(&desk), [sending, sending, queued, queued]);
    // Its place does not follow what is stored.
    desk.acknowledge(&[(1, 5)]);
    assert_eq!(statuses(&desk), [sent, sending, sending, queued]);
}

#[test]
fn a_busy_relay_is_asked_less_and_less_often() {
    let mut desk = Desk::new();
    let mut longest_ms = 0;
    for _ in 0..30 {
        desk.refuse(ErrorCode::RelayBusy, |_| {});
        desk.forget();
        let since_ms = desk.now.monotonic_ms;
        desk.sync(SyncScope::Everything);
        assert!(desk.sent().is_empty(), "whoever asks");
        while !desk.sent().iter().any(|frame| matches!(frame.body, Body::DeviceAnnounce(_))) {
            desk.wait(desk.client.next_timeout_ms().unwrap() - desk.now.monotonic_ms);
            desk.head_is(0);
        }
        longest_ms = longest_ms.max(desk.now.monotonic_ms - since_ms);
    }
    assert!(longest_ms > BACKOFF_MS_MAX / 2, "{longest_ms}");
}

#[test]
fn an_import_after_joining_causes_no_rollback_warning_i19() {
    for leaves in [true, false] {
        let mut desk = Desk::new();
        desk.call(|request| Input::OpenSession { request, peer_wallet: "11111111111111111111111111111112".into() }).unwrap();
        if leaves {
            desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
            desk.head_is(0);
        } else {
            desk.refuse(ErrorCode::RelayBusy, |_| {});
        }
        desk.call(|request| Input::Import { request, peer_wallet: PEER.into(), entries: foreign_log(1, 3) }).unwrap();
        desk.call(|request| Input::OpenSession { request, peer_wallet: PEER.into() }).unwrap();
        desk.wait(1_000);
        desk.forget();
        desk.head_is(0);
        assert_eq!(desk.warnings(), [], "the relay may have spoken before");
    }
}

/// Its messages were sent on the way out, so nothing keeps the connection.
#[test]
fn a_sync_ends_when_its_session_takes_no_part_any_more() {
    let mut desk = Desk::new();
    desk.lose();
    desk.send("mine");
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    desk.wait(BACKOFF_MS_MAX);
    desk.connect();
    desk.answer(&[], 0);
    desk.forget();
    desk.acknowledge(&[(1, 1)]);
    let ended = desk.events().into_iter().filter(|event| matches!(event, Event::SyncCompleted { .. })).count();
    assert_eq!((desk.client.sync_status().sync_in_progress, desk.queued(), ended), (false, 0, 1));
}

#[test]
fn a_sync_whose_session_ended_early_says_so() {
    let mut desk = Desk::new();
    desk.lose();
    desk.send("mine");
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    desk.wait(BACKOFF_MS_MAX);
    desk.connect();
    desk.forget();
    desk.acknowledge(&[(1, 1)]);
    let code =
        desk.events().into_iter().find_map(|event| if let Event::SyncFailed { error, .. } = event { Some(error.code) } else { None });
    assert_eq!((desk.client.sync_status().sync_in_progress, code), (false, Some(ErrorCode::UnknownSession)));
}

#[test]
fn progress_counts_an_acknowledged_message_once() {
    let mut desk = Desk::new();
    desk.send("mine");
    desk.hear(Body::SyncAck(SyncAck {
        acknowledged_sequences: vec![1],
        acknowledged_counters: vec![1],
        server_timestamps: vec![9],
        ..SyncAck::default()
    }));
    desk.forget();
    desk.sync(SyncScope::Everything);
    desk.answer(&[], 1);
    let told = |event| match event {
        Event::SyncProgress { messages_synced, total_messages, .. } => Some((messages_synced, total_messages)),
        _ => None,
    };
    assert_eq!(desk.events().into_iter().filter_map(told).last(), Some((1, 1)));
}
