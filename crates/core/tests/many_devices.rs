//! A session in which many devices write: what a device stores of it, and that it is whole after a reload.

use crate::desk;
use crate::desk::{Desk, foreign, session};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Input, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::{Body, SyncResponse};
use solconnect_sync_core::log::Log;

/// Message `sequence` of a log that devices of the peer write in turn.
fn by_turns(sequence: u64, devices: u64) -> Entry {
    let (device, counter) = ((sequence - 1) % devices, (sequence - 1) / devices + 1);
    let entry = foreign(sequence, counter, "text");
    Entry { device_id: format!("device {device}"), knows: sequence - 1, ..entry }
}

/// The relay sends one message, and says which log it has then.
fn hear_one(desk: &mut Desk, log: &mut Log, entry: Entry) {
    log.take(&entry).unwrap();
    let messages = Batch::of(std::slice::from_ref(&entry)).unwrap();
    let (latest_sequence, head) = (entry.sequence_number, Some(log.log_head()));
    desk.hear(Body::SyncResponse(SyncResponse { messages, latest_sequence, log: head, ..SyncResponse::default() }));
}

fn heard(count: u64, devices: u64) -> (Desk, Log) {
    let (mut desk, mut log) = (Desk::new(), Log::new(&session()));
    for sequence in 1..=count {
        hear_one(&mut desk, &mut log, by_turns(sequence, devices));
    }
    (desk, log)
}

#[test]
fn a_session_of_many_devices_is_whole_after_each_reload() {
    let (mut desk, mut log) = heard(0, 100);
    for sequence in 1..=250 {
        hear_one(&mut desk, &mut log, by_turns(sequence, 100));
        if sequence % 7 == 0 {
            desk = desk.reload();
            desk.call(|request| Input::ConnectWallet { request, wallet: desk::WALLET.into() }).unwrap();
            desk.connect();
            desk.answer(&[], sequence);
            let clock = desk.client.stored_sessions().remove(0).vector_clock;
            assert_eq!(clock.to_string(), log.clock().to_string(), "after message {sequence}");
        }
    }
    assert_eq!((desk.cursor(), desk.warnings()), (250, vec![]));
}

#[test]
fn clocks_are_exact_in_joined_and_in_single_batches() {
    let (desk, log) = heard(149, 100);
    let records = desk.log();
    assert!(records.len() > 10 && records.iter().any(|record| record.last > record.first), "some are joined, and some are not yet");
    let entries = desk.entries();
    let mut clocks = vec![None; entries.len()];
    for record in &records {
        let found = record.clocks_of(entries.iter()).unwrap();
        clocks.iter_mut().zip(found).for_each(|(clock, found)| *clock = clock.take().or(found));
    }
    for (entry, clock) in entries.iter().zip(clocks).filter(|(entry, _)| entry.knows > 0) {
        assert_eq!(clock, Some(log.clock_of(entry)), "message {}", entry.sequence_number);
    }
}

#[test]
fn a_message_of_many_devices_stores_few_of_their_heads() {
    let (mut desk, mut log) = heard(1_000, 1_000);
    desk.forget();
    for sequence in 1_001..=1_320 {
        hear_one(&mut desk, &mut log, by_turns(sequence, 1_000));
    }
    let bytes = |write: &Write| match write {
        Write::Session(record) => record.to_bytes().len(),
        Write::Heads(record) => record.to_bytes().len(),
        Write::Log(record) => record.to_bytes().len(),
        _ => 0,
    };
    let written: usize = desk.commits.iter().flat_map(|commit| &commit.writes).map(bytes).sum();
    assert!(written / 320 < 6_000, "{} bytes a message", written / 320);
}
