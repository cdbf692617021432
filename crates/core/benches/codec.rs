//! What it costs to write and read messages: as a batch, and in both forms of a frame.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Entry, first_digest};
use solconnect_sync_core::frame::{Body, Frame, Head, PROTOCOL_VERSION, SyncUpdate};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::{Message, Stamp};

const MESSAGES: u64 = 100;
const SESSION: &str = "a3bb189e-8bf9-8888-9912-ace4e6543002";
const WALLETS: [&str; 2] = ["So11111111111111111111111111111111111111112", "7Np41oeYqPefeNQEHSv1UDhYrehxin3NStELsSKCT4K2"];
const TEXTS: [&str; 5] = [
    "does anybody know how to mount a usb stick on boot?",
    "yes",
    "put it into fstab, by its UUID, with nofail",
    "thanks, that works! one more thing: my sound is gone since the update, any idea?",
    "alsamixer, and look whether the channel is muted",
];

/// A log in which devices take turns, each knowing all that came before.
fn conversation(devices: u64) -> Vec<Entry> {
    let entry = |number: u64| {
        let device_id = format!("3JhYcP8sVbE6u{:04}", number % devices);
        let counter = number / devices + 1;
        let ms = 1_700_000_000_000 + number * 17_321;
        let message = Message {
            id: message_id(SESSION, &device_id, "aB3xY9", counter),
            sender_wallet: WALLETS[(number % devices % 2) as usize].into(),
            ciphertext: format!("{} ({number})", TEXTS[(number % 5) as usize]),
            timestamp: Stamp::Iso(ms),
            session_id: SESSION.into(),
            ..Message::default()
        };
        let (sequence_number, server_timestamp) = (number + 1, ms + 40);
        Entry { message, device_id, counter, knows: number, sequence_number, server_timestamp, ..Entry::default() }
    };
    (0..MESSAGES).map(entry).collect()
}

fn batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch of 100 messages");
    group.throughput(Throughput::Elements(MESSAGES));
    for devices in [2, 100] {
        let entries = conversation(devices);
        let plain = Batch::of(&entries).expect("they follow each other");
        let deflated = plain.deflate();
        println!("a batch of 100 messages of {devices} devices: {} bytes, deflated {}", plain.bytes().len(), deflated.bytes().len());
        group.bench_function(format!("encode, {devices} devices"), |bencher| bencher.iter(|| Batch::of(black_box(&entries))));
        group.bench_function(format!("decode, {devices} devices"), |bencher| bencher.iter(|| black_box(&plain).entries()));
        group.bench_function(format!("deflate, {devices} devices"), |bencher| bencher.iter(|| black_box(&plain).deflate()));
        group.bench_function(format!("inflate and decode, {devices} devices"), |bencher| bencher.iter(|| black_box(&deflated).entries()));
    }
}

/// The same messages in a `sync_update`, in both forms, as clients write it and the relay reads it.
fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame of 100 messages of one device");
    group.throughput(Throughput::Elements(MESSAGES));
    let entries: Vec<Entry> = conversation(1).into_iter().map(|entry| Entry { sequence_number: 0, ..entry }).collect();
    let head = Head {
        session_id: SESSION.into(),
        device_id: entries[0].device_id.clone(),
        timestamp: Stamp::Millis(1_700_000_000_000),
        message_id: "1-1".into(),
        protocol_version: Some(PROTOCOL_VERSION),
    };
    let update = |entries: &[Entry]| {
        let messages = Batch::of(entries).expect("they follow each other");
        Frame { head: head.clone(), body: Body::SyncUpdate(SyncUpdate { messages, last_digest: [7; 32], ..SyncUpdate::default() }) }
    };
    let write_binary = |entries: &[Entry]| update(entries).to_bytes().expect("it has a binary form");
    let frame = update(&entries);
    let json = frame.to_json();
    let binary = write_binary(&entries);
    println!("a frame of 100 messages: {} bytes in JSON, {} in binary", json.len(), binary.len());
    group.bench_function("write JSON", |bencher| bencher.iter(|| black_box(&frame).to_json()));
    group.bench_function("write binary", |bencher| bencher.iter(|| write_binary(black_box(&entries))));
    group.bench_function("read JSON", |bencher| bencher.iter(|| Frame::parse(black_box(&json))));
    group.bench_function("read binary", |bencher| bencher.iter(|| Frame::from_bytes(black_box(&binary))));
}

/// What every holder of a log computes for each entry.
fn digests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log of 100 messages");
    group.throughput(Throughput::Elements(MESSAGES));
    for devices in [2, 100] {
        let entries = conversation(devices);
        let accept = |entries: Vec<Entry>| Log::new(SESSION).accept(entries, |_, _| Ok(()));
        group.bench_function(format!("accept, {devices} devices"), |bencher| {
            bencher.iter_batched(|| entries.clone(), accept, BatchSize::SmallInput);
        });
    }
    let entries = conversation(1);
    let chain = |entries: &[Entry]| entries.iter().fold(first_digest(SESSION, "device"), |digest, entry| entry.digest(&digest));
    group.bench_function("digests alone", |bencher| bencher.iter(|| chain(black_box(&entries))));
}

criterion_group!(benches, batch, frame, digests);
criterion_main!(benches);
