//! Single behaviours of client and relay together, each with the faults that it is about.

use crate::calls;
use crate::world::{Device, Faults, WALLETS, World};
use solconnect_sync_core::client::{ClientConfig, ConnectionState, Event, Input, MessageStatus, Reply, SyncScope};
use solconnect_sync_core::conflict::{ConflictKind, Strategy};
use solconnect_sync_core::entry::{Entry, first_digest};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::ids::session_of;
use solconnect_sync_core::relay::DeviceRow;
use solconnect_sync_core::vector_clock::VectorClock;

type Call = Box<dyn Fn(u64) -> Input>;

const MINUTE_MS: u64 = 60_000;

fn session() -> String {
    session_of(WALLETS[0], WALLETS[1])
}

fn healthy(devices: usize) -> World {
    let mut world = World::new(1, Faults::default());
    for index in 0..devices {
        world.add_device(&format!("device-{index}"), WALLETS[index % 2], ClientConfig::default());
    }
    world.run_for(1_000);
    world
}

fn send(world: &mut World, index: usize, text: &str) -> String {
    let request = world.call(index, calls::send(&session(), text));
    match world.answer(index, request, MINUTE_MS) {
        Ok(Reply::Receipt(receipt)) => receipt.message_id,
        other => panic!("{other:?}"),
    }
}

fn sync(world: &mut World, index: usize, scope: SyncScope) -> Result<Reply, solconnect_sync_core::error::SyncError> {
    let request = world.call(index, |request| Input::Sync { request, session_id: None, scope });
    world.answer(index, request, 5 * MINUTE_MS)
}

fn entries(device: &Device) -> Vec<Entry> {
    device.records.log(&session()).iter().flat_map(|record| record.entries().unwrap()).collect()
}

fn with_no_clocks(device: &Device) -> Vec<(Entry, Option<VectorClock>)> {
    entries(device).into_iter().map(|entry| (entry, None)).collect()
}

fn shown(world: &World, index: usize) -> Vec<String> {
    let device = &world.devices[index];
    let shown = device.client.as_ref().unwrap().show(&session(), with_no_clocks(device), true);
    shown.into_iter().map(|message| message.text).collect()
}

#[test]
fn offline_messages_survive_their_tab_and_arrive_once() {
    let mut world = healthy(2);
    world.feed(0, Input::SetOffline { offline: true });
    send(&mut world, 0, "one");
    send(&mut world, 0, "two");
    world.kill(0);
    world.start(0);
    world.run_for(1);
    assert_eq!(world.devices[0].client.as_ref().unwrap().sync_status().queued_message_count, 2, "I13");
    assert_eq!(sync(&mut world, 0, SyncScope::Outbox), Ok(Reply::Count(2)));
    world.run_for(1_000);
    assert_eq!(shown(&world, 1), ["one", "two"]);
    assert_eq!(world.devices[1].heard.len(), 2, "I6");
    assert_eq!(world.devices[0].client.as_ref().unwrap().sync_status().queued_message_count, 0);
}

#[test]
fn a_new_device_gets_the_history_in_batches_with_progress() {
    let mut world = healthy(1);
    for number in 0..350 {
        send(&mut world, 0, &format!("message {number}"));
    }
    sync(&mut world, 0, SyncScope::Everything).unwrap();
    let late = world.add_device("late", WALLETS[1], ClientConfig { max_batch_size: 50, ..ClientConfig::default() });
    world.run_for(5_000);
    let progress: Vec<u64> = world.devices[late]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::SyncProgress { messages_synced, total_messages: 350, .. } => Some(*messages_synced),
            _ => None,
        })
        .collect();
    assert!(progress.is_sorted() && progress.last() == Some(&350), "I14: {progress:?}");
    assert_eq!(shown(&world, late), shown(&world, 0));
    assert_eq!(world.devices[late].records.log.len(), 7, "a batch is stored as it came");
}

#[test]
fn status_moves_from_queued_to_read() {
    let mut world = healthy(2);
    let id = send(&mut world, 0, "hello");
    world.run_for(1_000);
    assert_eq!(world.devices[0].statuses[&id], MessageStatus::Delivered);
    world.call(1, |request| Input::MarkRead { request, session_id: session(), message_id: id.clone(), sequence_number: 1 });
    world.run_for(1_000);
    assert_eq!(world.devices[0].statuses[&id], MessageStatus::Read);
    let client = world.devices[0].client.as_ref().unwrap();
    assert_eq!(client.show(&session(), with_no_clocks(&world.devices[0]), false)[0].status, MessageStatus::Read);
}

#[test]
fn every_device_of_a_wallet_follows_its_message_statuses() {
    let mut world = healthy(3);
    let id = send(&mut world, 0, "hello");
    world.run_for(1_000);
    assert_eq!(world.devices[2].statuses[&id], MessageStatus::Delivered);
    world.call(1, |request| Input::MarkRead { request, session_id: session(), message_id: id.clone(), sequence_number: 1 });
    world.run_for(1_000);
    assert_eq!(world.devices[2].statuses[&id], MessageStatus::Read);
}

#[test]
fn a_cloned_profile_becomes_its_own_device_and_loses_nothing() {
    // B26, F41: two browsers with one device id write different messages under one counter.
    let mut world = healthy(2);
    send(&mut world, 0, "before");
    world.run_for(1_000);
    let clone = world.add_device("clone", WALLETS[0], ClientConfig::default());
    world.kill(clone);
    world.devices[clone].records = world.devices[0].records.clone();
    world.feed(0, Input::SetOffline { offline: true });
    world.start(clone);
    world.run_for(1);
    world.feed(clone, Input::SetOffline { offline: true });
    world.run_for(1_000);
    send(&mut world, 0, "from the original");
    send(&mut world, clone, "from the clone");
    world.feed(0, Input::SetOffline { offline: false });
    world.run_for(5_000);
    world.feed(clone, Input::SetOffline { offline: false });
    world.run_for(MINUTE_MS);
    assert_eq!(shown(&world, 1), ["before", "from the original", "from the clone"]);
    assert_eq!(shown(&world, clone), shown(&world, 1));
    assert_eq!(world.devices[clone].replaced.len(), 1, "the application is told of the new id");
}

#[test]
fn messages_sent_behind_a_refused_one_are_stored_once() {
    // The clone's second frame would fit right behind what the original has written.
    let mut world = healthy(2);
    let clone = world.add_device("clone", WALLETS[0], ClientConfig::default());
    world.kill(clone);
    world.devices[clone].records = world.devices[0].records.clone();
    world.start(clone);
    world.run_for(1);
    for index in [0, clone] {
        world.feed(index, Input::SetOffline { offline: true });
    }
    for number in 0..100 {
        send(&mut world, 0, &format!("original {number}"));
    }
    for number in 0..150 {
        send(&mut world, clone, &format!("clone {number}"));
    }
    for index in [0, clone] {
        world.feed(index, Input::SetOffline { offline: false });
        world.run_for(MINUTE_MS);
    }
    let mut texts = shown(&world, 1);
    assert_eq!(texts.len(), 250);
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 250, "I3");
    assert_eq!(shown(&world, clone), shown(&world, 1));
}

#[test]
fn a_restored_backup_never_reuses_a_counter() {
    // F42, I11.
    let mut world = healthy(2);
    send(&mut world, 0, "one");
    world.run_for(1_000);
    let backup = world.devices[0].records.clone();
    send(&mut world, 0, "two");
    world.run_for(1_000);
    world.kill(0);
    world.devices[0].records = backup;
    world.start(0);
    world.run_for(0);
    world.call(0, calls::send(&session(), "three"));
    world.run_for(MINUTE_MS);
    assert_eq!(shown(&world, 1), ["one", "two", "three"]);
    assert_eq!(shown(&world, 0), shown(&world, 1));
}

#[test]
fn a_rolled_back_relay_is_reported_and_nothing_is_renumbered() {
    // F19, I19.
    let mut world = healthy(2);
    send(&mut world, 0, "one");
    send(&mut world, 0, "two");
    world.run_for(1_000);
    world.kill_relay();
    world.journal.get_mut(&session()).unwrap().0.truncate(1);
    let log = entries(&world.devices[0]);
    let set_back = |row: &mut DeviceRow| {
        if row.device_id == log[0].device_id {
            (row.last_counter, row.last_sequence) = (1, 1);
            row.last_digest = log[0].digest(&first_digest(&session(), &row.device_id));
        }
    };
    world.journal.get_mut(&session()).unwrap().1.values_mut().for_each(set_back);
    let failed = sync(&mut world, 0, SyncScope::Everything).unwrap_err();
    assert_eq!(failed.code, ErrorCode::RelayRolledBack);
    assert_eq!(shown(&world, 0), ["one", "two"]);
}

#[test]
fn manual_conflicts_show_one_winner_and_stay_open_until_resolved() {
    let mut world = World::new(3, Faults::default());
    let manual = ClientConfig { conflict_resolution_strategy: Strategy::Manual, ..ClientConfig::default() };
    for (name, wallet) in [("phone", WALLETS[0]), ("laptop", WALLETS[0]), ("peer", WALLETS[1])] {
        world.add_device(name, wallet, manual.clone());
    }
    world.run_for(1_000);
    let id = send(&mut world, 0, "draft");
    world.run_for(1_000);
    for (index, text) in [(0, "from the phone"), (1, "from the laptop")] {
        world.feed(index, Input::SetOffline { offline: true });
        let message_id = id.clone();
        world.call(index, |request| Input::Edit { request, session_id: session(), message_id, text: Some(text.into()) });
        world.run_for(100);
        assert_eq!(shown(&world, index), [text], "an own edit shows at once");
    }
    for index in [1, 0] {
        world.feed(index, Input::SetOffline { offline: false });
        world.run_for(MINUTE_MS);
    }
    let all: Vec<_> = (0..3).map(|index| shown(&world, index)).collect();
    assert!(all.iter().all(|list| list == &all[0]), "I12: {all:?}");
    let open = |world: &World, index: usize| {
        let device = &world.devices[index];
        device.client.as_ref().unwrap().show(&session(), with_no_clocks(device), true)[0].versions.len()
    };
    assert_eq!([0, 1, 2].map(|index| open(&world, index)), [2, 2, 2]);
    let reported = world.devices[2].conflicts.iter().find(|conflict| conflict.kind == ConflictKind::ConcurrentVersions).unwrap();
    assert_eq!((reported.message_id.as_str(), &reported.resolution), (id.as_str(), &None));

    world.call(1, |request| Input::Edit { request, session_id: session(), message_id: id, text: Some("agreed".into()) });
    world.run_for(MINUTE_MS);
    assert_eq!([0, 1, 2].map(|index| (shown(&world, index), open(&world, index))), [0, 1, 2].map(|_| (vec!["agreed".to_string()], 1)));
}

#[test]
fn a_full_disk_refuses_the_message_and_keeps_the_rest() {
    // B4, F27, I21.
    let mut world = healthy(1);
    world.feed(0, Input::SetOffline { offline: true });
    send(&mut world, 0, "kept");
    world.faults.storage_per_mille = 1_000;
    let request = world.call(0, calls::send(&session(), "too much"));
    assert_eq!(world.answer(0, request, MINUTE_MS).unwrap_err().code, ErrorCode::StorageFull);
    world.faults.storage_per_mille = 0;
    send(&mut world, 0, "after");
    assert_eq!(shown(&world, 0), ["kept", "after"]);
    assert_eq!(world.devices[0].client.as_ref().unwrap().sync_status().queued_message_count, 2);
}

#[test]
fn a_dead_path_is_found_by_silence_alone() {
    // B20, F6: no event ever says that it is dead.
    let mut world = healthy(2);
    world.faults.half_open_per_mille = 1_000;
    world.call(0, calls::send(&session(), "into the void"));
    world.run_for(1_000);
    world.faults.half_open_per_mille = 0;
    world.run_for(MINUTE_MS);
    assert_eq!(shown(&world, 1), ["into the void"]);
    assert_eq!(world.devices[0].client.as_ref().unwrap().connection(), ConnectionState::Connected);
}

#[test]
fn eight_hours_of_sleep_are_caught_up_within_2_seconds() {
    let mut world = healthy(3);
    send(&mut world, 0, "before");
    world.run_for(1_000);
    // The path dies, which neither side is told, and the device runs nothing.
    world.deaden(1);
    let asleep = world.devices[1].client.take();
    for hour in 0..8 {
        (0..20).for_each(|place| drop(send(&mut world, 2 * (place % 2), &format!("hour {hour}, {place}"))));
        world.run_for(60 * MINUTE_MS);
    }
    assert_eq!(world.devices[1].heard.len(), 1);
    world.devices[1].client = asleep;
    world.feed(1, Input::Timeout);
    world.run_for(2_000);
    assert_eq!(world.devices[1].heard.len(), 161);
    assert!(shown(&world, 1) == shown(&world, 0));
}

#[test]
fn a_sync_without_a_relay_fails_and_keeps_the_queue() {
    let mut world = healthy(1);
    world.feed(0, Input::SetOffline { offline: true });
    send(&mut world, 0, "waits");
    world.faults.cut_per_mille = 1_000;
    world.feed(0, Input::SetOffline { offline: false });
    let failed = sync(&mut world, 0, SyncScope::Everything).unwrap_err();
    assert!([ErrorCode::RelayDisconnected, ErrorCode::ConnectionFailed].contains(&failed.code), "{failed}");
    assert_eq!(world.devices[0].client.as_ref().unwrap().sync_status().queued_message_count, 1);
    world.faults.cut_per_mille = 0;
    assert_eq!(sync(&mut world, 0, SyncScope::Everything), Ok(Reply::Count(1)));
}

#[test]
fn auto_sync_asks_at_its_interval() {
    let mut world = healthy(1);
    world.call(0, |request| Input::AutoSync { request, session_id: session(), interval_ms: Some(5_000) });
    let started = |world: &World| world.devices[0].events.iter().filter(|event| matches!(event, Event::SyncStarted { .. })).count();
    let before = started(&world);
    world.run_for(26_000);
    assert_eq!(started(&world) - before, 5);
    world.call(0, |request| Input::AutoSync { request, session_id: session(), interval_ms: None });
    let before = started(&world);
    world.run_for(20_000);
    assert_eq!(started(&world), before);
}

#[test]
fn calls_that_make_no_sense_are_refused_with_a_code() {
    let mut world = healthy(1);
    let long = "x".repeat(8 * 1024 + 1);
    let unknown = || "no-such-session".to_string();
    let cases: Vec<(ErrorCode, Call)> = vec![
        (ErrorCode::UnknownSession, Box::new(calls::send(&unknown(), "x"))),
        (
            ErrorCode::UnknownSession,
            Box::new(move |request| Input::Sync { request, session_id: Some(unknown()), scope: SyncScope::Everything }),
        ),
        (ErrorCode::MessageTooLarge, Box::new(calls::send(&session(), &long))),
        (ErrorCode::InvalidMessageFormat, Box::new(calls::send(&session(), ""))),
        (ErrorCode::InvalidWalletAddress, Box::new(|request| Input::OpenSession { request, peer_wallet: "peer123".into() })),
        (ErrorCode::InvalidWalletAddress, Box::new(|request| Input::ConnectWallet { request, wallet: "0x12".into() })),
        (ErrorCode::InvalidArgument, Box::new(|request| Input::AutoSync { request, session_id: session(), interval_ms: Some(0) })),
        (
            ErrorCode::UnknownMessage,
            Box::new(|request| Input::MarkRead { request, session_id: session(), message_id: "m".into(), sequence_number: 9 }),
        ),
    ];
    for (code, input) in cases {
        let request = world.call(0, input);
        assert_eq!(world.answer(0, request, MINUTE_MS).unwrap_err().code, code);
    }
    assert_eq!(world.devices[0].client.as_ref().unwrap().sync_status().queued_message_count, 0);
}

fn send_named(world: &mut World, index: usize, id: &str, text: &str) {
    let known = world.devices[index].records.names.get(&(session(), id.to_owned())).cloned();
    let (session_id, text, message_id) = (session(), text.to_owned(), Some(id.to_owned()));
    let request = world.call(index, |request| Input::Send { request, session_id, text, content_type: None, message_id, known });
    world.answer(index, request, MINUTE_MS).unwrap();
}

/// Two devices of a wallet give one name, to the same message or to two.
#[test]
fn a_name_that_two_devices_give_is_one_message_and_all_else_arrives() {
    for (late_text, is_caught_up) in [("same", false), ("same", true), ("other", false), ("other", true)] {
        let mut world = healthy(3);
        world.feed(2, Input::SetOffline { offline: true });
        send_named(&mut world, 0, "order", "same");
        world.run_for(1_000);
        if is_caught_up {
            world.feed(2, Input::SetOffline { offline: false });
            world.run_for(1_000);
        }
        send(&mut world, 2, "before");
        send_named(&mut world, 2, "order", late_text);
        // More than one frame: those behind the refused message are refused too.
        for number in 0..350 {
            send(&mut world, 2, &format!("behind {number}"));
        }
        world.feed(2, Input::SetOffline { offline: false });
        world.run_for(10_000);
        let mut expected = vec!["same".to_owned(), "before".to_owned()];
        expected.extend((0..350).map(|number| format!("behind {number}")));
        for index in 0..2 {
            assert_eq!(shown(&world, index), expected, "{late_text} {is_caught_up} device {index}");
        }
        // What was refused is kept where it was written.
        expected.extend((late_text == "other").then(|| late_text.to_owned()));
        assert_eq!(shown(&world, 2), expected, "{late_text} {is_caught_up}");
        let failed = |event: &&Event| matches!(event, Event::StatusChanged { status: MessageStatus::Failed, .. });
        assert_eq!(world.devices[2].events.iter().filter(failed).count(), usize::from(late_text == "other"));
        assert_eq!(world.devices[2].replaced, Vec::<String>::new());
        assert_eq!(world.devices[2].client.as_ref().unwrap().sync_status().queued_message_count, 0);
        let warnings: Vec<_> = world.devices[2].events.iter().filter(|event| matches!(event, Event::Warning { .. })).collect();
        assert_eq!(warnings, Vec::<&Event>::new());
    }
}
