//! What a device makes of what the application asks beside sending, rule by rule.

use crate::calls;
use crate::desk::{Desk, PEER, WALLET, foreign, foreign_log, session};
use solconnect_sync_core::client::{Action, Client, ClientConfig, Event, Input, Reply, SessionRecord, Snapshot, SyncScope, Write};
use solconnect_sync_core::conflict::Strategy;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Frame, ReceiptStatus};
use solconnect_sync_core::ids::{message_id, start_of};
use solconnect_sync_core::limits::{BATCH_MESSAGES_MAX, INTEGER_MAX, OUTBOX_MESSAGES_MAX, SESSIONS_MAX};
use solconnect_sync_core::message::Stamp;
use solconnect_sync_core::time::iso_from_ms;

#[test]
fn read_marks_are_sent_at_once_and_on_every_connection() {
    let mut desk = Desk::new();
    desk.push(&foreign_log(1, 3));
    desk.forget();
    let mark = |sequence_number: u64| {
        move |request| Input::MarkRead {
            request,
            session_id: session(),
            message_id: message_id(&session(), "phone", "", sequence_number),
            sequence_number,
        }
    };
    let told = |desk: &mut Desk| {
        let frames = desk.sent().into_iter();
        let receipts =
            frames.filter_map(|frame| if let Body::ReadReceipt(read) = frame.body { Some(read.receipts[0].clone()) } else { None });
        receipts.map(|receipt| (receipt.status, receipt.sequence_number)).collect::<Vec<_>>()
    };
    assert_eq!(desk.call(mark(2)), Ok(Reply::Done));
    assert_eq!(told(&mut desk), [(ReceiptStatus::Read, Some(2))]);
    assert_eq!(desk.call(mark(1)), Ok(Reply::Done));
    assert!(told(&mut desk).is_empty(), "it never falls");
    for bad in [0, 4] {
        assert_eq!(desk.call(mark(bad)).unwrap_err().code, ErrorCode::UnknownMessage);
    }
    desk.lose();
    desk.call(mark(3)).unwrap();
    assert!(told(&mut desk).is_empty());
    let mut desk = desk.reload();
    desk.connect();
    assert_eq!(told(&mut desk), [(ReceiptStatus::Read, Some(3))]);
}

#[test]
fn a_message_gets_its_type_and_time_from_the_call() {
    let mut desk = Desk::new();
    let call = |request| Input::Send {
        request,
        session_id: session(),
        text: "{}".into(),
        content_type: Some("application/json".into()),
        message_id: None,
        known: None,
    };
    let Ok(Reply::Receipt(receipt)) = desk.call(call) else { panic!() };
    let entry = desk.records.snapshot().outbox.remove(0).entries.remove(0);
    assert_eq!((entry.message.content_type.as_deref(), entry.message.id.as_str()), (Some("application/json"), receipt.message_id.as_str()));
    assert_eq!((entry.message.timestamp, entry.server_timestamp), (Stamp::Iso(desk.now.wall_ms), desk.now.wall_ms));
    assert_eq!(receipt.timestamp, iso_from_ms(desk.now.wall_ms));
}

#[test]
fn a_database_keeps_its_device_id_across_reloads() {
    let mut desk = Desk::new();
    assert_eq!((desk.client.device_id(), desk.client.wallet()), (desk.device_id().as_str(), Some(WALLET)));
    let device = desk.device_id();
    desk.send("one");
    assert_eq!(desk.reload().client.device_id(), device);
}

#[test]
fn a_device_that_never_synced_has_no_last_sync_time() {
    let mut desk = Desk::unconnected(ClientConfig::default(), Default::default());
    assert_eq!(desk.client.sync_status().last_sync_ms, None);
    desk.connect();
    desk.answer(&[], 0);
    assert_eq!(desk.client.sync_status().last_sync_ms, Some(desk.now.wall_ms));
}

#[test]
fn sending_beyond_the_largest_counter_is_refused() {
    let mut desk = Desk::new();
    let mut record = desk.records.snapshot().sessions.remove(0);
    record.counter = INTEGER_MAX - 1;
    desk.records.apply(&Write::Session(record)).unwrap();
    let mut desk = desk.reload();
    let last = desk.send("the last");
    assert!(start_of(&last, &session(), &desk.device_id(), INTEGER_MAX).is_some(), "{last}");
    let call = desk.call(calls::send(&session(), "one more"));
    assert_eq!(call.unwrap_err().code, ErrorCode::LimitReached);
}

#[test]
fn own_edits_and_deletions_show_at_once() {
    let mut desk = Desk::with(ClientConfig { conflict_resolution_strategy: Strategy::Latest, ..ClientConfig::default() });
    let id = desk.send("draft");
    let edit = |text: Option<&str>| {
        let (message_id, text) = (id.clone(), text.map(str::to_owned));
        move |request| Input::Edit { request, session_id: session(), message_id, text }
    };
    desk.forget();
    desk.call(edit(Some("final"))).unwrap();
    assert_eq!(desk.shown(), ["final"]);
    assert!(desk.events().iter().any(|event| matches!(event, Event::MessageChanged { message_id, .. } if *message_id == id)));
    desk.wait(5);
    desk.call(edit(None)).unwrap();
    assert_eq!(desk.shown(), [""]);
    assert_eq!(desk.queued(), 3, "each is a message of its own on the wire");
    let other = message_id(&solconnect_sync_core::ids::session_of(WALLET, "11111111111111111111111111111112"), "d", "", 1);
    let elsewhere = desk.call(|request| Input::Edit { request, session_id: session(), message_id: other, text: None });
    assert_eq!(elsewhere.unwrap_err().code, ErrorCode::UnknownMessage);
    let nameless = desk.call(|request| Input::Edit { request, session_id: session(), message_id: String::new(), text: None });
    assert_eq!(nameless.unwrap_err().code, ErrorCode::InvalidMessageFormat);
}

#[test]
fn an_import_stores_and_counts_only_new_entries() {
    let mut desk = Desk::unconnected(ClientConfig::default(), Default::default());
    let import = |entries: Vec<Entry>| move |request| Input::Import { request, peer_wallet: PEER.into(), entries };
    assert_eq!(desk.call(import(foreign_log(1, 3))), Ok(Reply::Count(3)));
    assert_eq!(desk.call(import(foreign_log(1, 4))), Ok(Reply::Count(1)));
    assert_eq!(desk.call(import(foreign_log(1, 4))), Ok(Reply::Count(0)));
    assert_eq!(desk.call(import(foreign_log(6, 6))).unwrap_err().code, ErrorCode::InvalidMessageFormat);
    assert_eq!(desk.call(import(foreign_log(1, BATCH_MESSAGES_MAX as u64 + 1))).unwrap_err().code, ErrorCode::InvalidArgument);
    assert_eq!(desk.call(import(foreign_log(5, BATCH_MESSAGES_MAX as u64 + 4))), Ok(Reply::Count(BATCH_MESSAGES_MAX as u64)));
    let mut long = foreign(1_005, 1_005, &"x".repeat(8 * 1024 + 1));
    assert_eq!(desk.call(import(vec![long.clone()])).unwrap_err().code, ErrorCode::MessageTooLarge);
    long.message.ciphertext.pop();
    assert_eq!(desk.call(import(vec![long])), Ok(Reply::Count(1)));
}

#[test]
fn auto_sync_keeps_its_interval_until_switched_off() {
    let mut desk = Desk::new();
    let every = |interval_ms: Option<u64>| move |request| Input::AutoSync { request, session_id: session(), interval_ms };
    desk.call(every(Some(5_000))).unwrap();
    for _ in 0..3 {
        desk.forget();
        desk.wait(4_999);
        assert!(desk.requests().is_empty());
        desk.wait(1);
        assert_eq!(desk.requests().len(), 1);
        desk.answer(&[], 0);
    }
    desk.call(every(None)).unwrap();
    desk.forget();
    desk.wait(20_000);
    assert!(desk.requests().is_empty());
    for bad in [0, 249, 24 * 60 * 60 * 1_000 + 1] {
        assert_eq!(desk.call(every(Some(bad))).unwrap_err().code, ErrorCode::InvalidArgument);
    }
}

#[test]
fn a_reopened_session_announces_itself_and_asks_again() {
    let mut desk = Desk::new();
    desk.call(|request| Input::OpenSession { request, peer_wallet: "11111111111111111111111111111112".into() }).unwrap();
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    desk.forget();
    desk.push(&foreign_log(1, 1));
    assert_eq!((desk.disconnects, desk.sent().len()), (0, 0), "what is said to it is not stored");
    desk.call(|request| Input::OpenSession { request, peer_wallet: PEER.into() }).unwrap();
    let sent = desk.sent();
    let said = |frame: &&Frame| frame.head.session_id == session();
    assert!(matches!(sent.iter().find(said).map(|frame| &frame.body), Some(Body::DeviceAnnounce(_))), "{sent:?}");
    assert!(sent.iter().any(|frame| frame.head.session_id == session() && matches!(frame.body, Body::SyncRequest(_))));
}

#[test]
fn an_outbox_that_is_full_takes_no_more() {
    let mut desk = Desk::unconnected(ClientConfig::default(), Default::default());
    desk.held = Some(Default::default());
    for _ in 0..OUTBOX_MESSAGES_MAX {
        desk.ask(calls::send(&session(), "x"));
    }
    while !desk.held.as_ref().unwrap().is_empty() {
        desk.persist();
    }
    desk.held = None;
    assert_eq!(desk.queued(), OUTBOX_MESSAGES_MAX as u64);
    let call = desk.call(calls::send(&session(), "x"));
    assert_eq!(call.unwrap_err().code, ErrorCode::OutboxFull);
}

#[test]
fn opening_more_sessions_than_allowed_is_refused() {
    let record = |number: usize| SessionRecord::new(format!("room {number}"), WALLET.into(), PEER.into());
    let open = |sessions: usize| {
        let snapshot = Snapshot { sessions: (0..sessions).map(record).collect(), ..Snapshot::default() };
        let mut client = Client::new(ClientConfig::default(), snapshot, 1);
        let now = Default::default();
        let _ = client.handle(now, Input::ConnectWallet { request: 1, wallet: WALLET.into() });
        client.handle(now, Input::OpenSession { request: 2, peer_wallet: PEER.into() })
    };
    let refused = |actions: Vec<Action>| {
        actions
            .into_iter()
            .any(|action| matches!(action, Action::Reply { result: Err(error), .. } if error.code == ErrorCode::LimitReached))
    };
    assert!(!refused(open(SESSIONS_MAX - 1)));
    assert!(refused(open(SESSIONS_MAX)));
}

#[test]
fn one_database_holds_one_side_of_a_session() {
    let mut desk = Desk::unconnected(ClientConfig::default(), Default::default());
    desk.call(|request| Input::ConnectWallet { request, wallet: PEER.into() }).unwrap();
    let call = desk.call(|request| Input::OpenSession { request, peer_wallet: WALLET.into() });
    assert_eq!(call.unwrap_err().code, ErrorCode::SessionCreationFailed);
    let call = desk.call(calls::send(&session(), "x"));
    assert_eq!(call.unwrap_err().code, ErrorCode::UnknownSession, "a session of another wallet");
    assert!(desk.client.sessions().is_empty());
    assert_eq!(desk.client.stored_sessions().len(), 1);
}

/// Another tab has taken the store while this device had a connection and wanted to write.
fn fenced(mut desk: Desk) -> Desk {
    desk.held = Some(Default::default());
    desk.send_in(&session(), "too late");
    desk.fail(ErrorCode::ProfileInUse);
    desk
}

#[test]
fn every_call_to_a_fenced_client_is_answered() {
    let calls: [fn(u64) -> Input; 11] = [
        |request| Input::OpenSession { request, peer_wallet: PEER.into() },
        |request| Input::CloseSession { request, session_id: session() },
        |request| calls::send(&session(), "x")(request),
        |request| Input::Edit { request, session_id: session(), message_id: "m".into(), text: None },
        |request| Input::MarkRead { request, session_id: session(), message_id: "m".into(), sequence_number: 1 },
        |request| Input::Sync { request, session_id: Some(session()), scope: SyncScope::Everything },
        |request| Input::Sync { request, session_id: None, scope: SyncScope::Everything },
        |request| Input::Sync { request, session_id: None, scope: SyncScope::Outbox },
        |request| Input::AutoSync { request, session_id: session(), interval_ms: Some(1_000) },
        |request| Input::ClearLog { request, session_id: session() },
        |request| Input::Import { request, peer_wallet: PEER.into(), entries: foreign_log(1, 1) },
    ];
    for (number, call) in calls.into_iter().enumerate() {
        let mut desk = fenced(Desk::new());
        assert_eq!(desk.call(call).unwrap_err().code, ErrorCode::ProfileInUse, "call {number}");
        // One that waits while the last commit is on its way.
        let mut desk = Desk::new();
        desk.held = Some(Default::default());
        desk.send_in(&session(), "too late");
        let waiting = desk.ask(call);
        desk.fail(ErrorCode::ProfileInUse);
        assert_eq!(desk.replies[&waiting].clone().unwrap_err().code, ErrorCode::ProfileInUse, "call {number}");
    }
    let mut desk = fenced(Desk::new());
    for call in [(|request| Input::ConnectWallet { request, wallet: PEER.into() }) as fn(u64) -> Input, |request| Input::DisconnectWallet {
        request,
    }] {
        assert_eq!(desk.call(call), Ok(Reply::Done));
    }
}

#[test]
fn a_sync_under_way_fails_when_another_takes_the_store() {
    for connected in [true, false] {
        let mut desk = Desk::new();
        if !connected {
            desk.lose();
        }
        let first = desk.sync(SyncScope::Everything);
        let late = desk.sync(SyncScope::Outbox);
        let desk = fenced(desk);
        assert_eq!([first, late].map(|call| desk.replies[&call].clone().unwrap_err().code), [ErrorCode::ProfileInUse; 2]);
        assert!(!desk.client.sync_status().sync_in_progress);
    }
}

#[test]
fn a_session_that_has_ended_can_be_synced() {
    let mut desk = Desk::new();
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    let sync = desk.ask(|request| Input::Sync { request, session_id: Some(session()), scope: SyncScope::Everything });
    desk.connect();
    desk.answer(&foreign_log(1, 2), 2);
    assert_eq!(desk.replies[&sync], Ok(Reply::Count(2)));
    assert_eq!(desk.disconnects, 0, "others may write to the wallet");
}

#[test]
fn a_sync_goes_on_when_its_session_ends() {
    let mut desk = Desk::new();
    desk.send("mine");
    let sync = desk.sync(SyncScope::Everything);
    desk.call(|request| Input::CloseSession { request, session_id: session() }).unwrap();
    desk.acknowledge(&[(1, 1)]);
    desk.answer(&[], 1);
    assert_eq!(desk.replies[&sync], Ok(Reply::Count(1)));
    assert_eq!(desk.disconnects, 0, "others may write to the wallet");
}

#[test]
fn a_sync_settles_when_a_halt_shares_a_failed_commit() {
    let mut desk = Desk::new();
    desk.push(&foreign_log(1, 1));
    desk.lose();
    desk.wait(60_000);
    desk.connect();
    desk.answer(&[], 1);
    let sync = desk.sync(SyncScope::Everything);
    desk.held = Some(Default::default());
    desk.send_in(&session(), "under way");
    desk.push(&foreign_log(2, 2));
    desk.head_is(0);
    desk.persist();
    desk.fail(ErrorCode::StorageError);
    desk.held = None;
    assert_eq!(desk.replies[&sync].clone().unwrap_err().code, ErrorCode::RelayRolledBack);
    assert!(desk.warnings().contains(&ErrorCode::RelayRolledBack));
}

#[test]
fn a_sync_fails_when_the_relay_stays_busy() {
    let mut desk = Desk::with(ClientConfig { max_retries: 2, ..ClientConfig::default() });
    let sync = desk.sync(SyncScope::Everything);
    for _ in 0..3 {
        assert!(!desk.replies.contains_key(&sync));
        desk.refuse(ErrorCode::RelayBusy, |_| {});
        desk.wait(60_000);
        desk.head_is(0);
    }
    assert_eq!(desk.replies[&sync].clone().unwrap_err().code, ErrorCode::RelayBusy);
}

#[test]
fn a_sync_of_an_unstored_session_is_refused() {
    let mut desk = Desk::new();
    desk.held = Some(Default::default());
    let opens = desk.ask(|request| Input::OpenSession { request, peer_wallet: "11111111111111111111111111111112".into() });
    let session_id = solconnect_sync_core::ids::session_of(WALLET, "11111111111111111111111111111112");
    let sync = desk.ask(|request| Input::Sync { request, session_id: Some(session_id), scope: SyncScope::Everything });
    desk.fail(ErrorCode::StorageFull);
    assert_eq!(desk.replies[&opens].clone().unwrap_err().code, ErrorCode::StorageFull);
    assert_eq!(desk.replies[&sync].clone().unwrap_err().code, ErrorCode::UnknownSession);
}

#[test]
fn a_message_with_any_name_of_its_own_can_be_edited() {
    let mut desk = Desk::new();
    desk.send_named("order:item:5", "text").unwrap();
    let edit = |request| Input::Edit { request, session_id: session(), message_id: "order:item:5".into(), text: Some("new".into()) };
    desk.call(edit).unwrap();
}

#[test]
fn an_import_that_fails_under_auto_sync_counts_nothing() {
    let mut desk = Desk::new();
    desk.call(|request| Input::AutoSync { request, session_id: session(), interval_ms: Some(1_000) }).unwrap();
    desk.held = Some(Default::default());
    desk.ask(|request| Input::Import { request, peer_wallet: PEER.into(), entries: foreign_log(1, 3) });
    desk.wait(1_000);
    desk.fail(ErrorCode::StorageError);
    desk.held = None;
    desk.answer(&[], 0);
    let counted = |event| if let Event::SyncCompleted { stats, .. } = event { Some(stats.total_messages_synced) } else { None };
    assert_eq!(desk.events().into_iter().filter_map(counted).collect::<Vec<_>>(), [0]);
}
