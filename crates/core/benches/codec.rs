//! What it costs to write and read messages: as a batch, and in both forms of a frame.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::frame::{Body, Frame, Head, PROTOCOL_VERSION, SyncUpdate, Unsent};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::message::{Entry, Message, Stamp};
use solconnect_sync_core::vector_clock::VectorClock;

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
    let mut heads = VectorClock::new();
    let entry = |number: u64| {
        let device = format!("3JhYcP8sVbE6u{:04}", number % devices);
        let counter = heads.tick(&device).expect("few devices");
        let ms = 1_700_000_000_000 + number * 17_321;
        let message = Message {
            id: message_id(SESSION, &device, counter),
            sender_wallet: WALLETS[(number % devices % 2) as usize].into(),
            ciphertext: format!("{} ({number})", TEXTS[(number % 5) as usize]),
            timestamp: Stamp::Iso(ms),
            session_id: SESSION.into(),
            ..Message::default()
        };
        Entry { message, sequence_number: number + 1, vector_clock: heads.clone(), server_timestamp: ms + 40, original_device_id: device }
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
    let unsent = |entry: Entry| Unsent {
        sequence_number: entry.counter(),
        local_timestamp: entry.message.timestamp.clone(),
        message: entry.message,
        vector_clock: entry.vector_clock,
        ..Unsent::default()
    };
    let entries = conversation(1);
    let unsent_entries: Vec<Entry> = entries.iter().map(|entry| Entry { sequence_number: 0, ..entry.clone() }).collect();
    let head = Head {
        session_id: SESSION.into(),
        device_id: entries[0].original_device_id.clone(),
        timestamp: Stamp::Millis(1_700_000_000_000),
        message_id: "1-1".into(),
        protocol_version: Some(PROTOCOL_VERSION),
    };
    let write_binary = |entries: &[Entry]| Frame::update_bytes(&head, &Batch::of(entries).expect("they follow each other"));
    let body = Body::SyncUpdate(SyncUpdate { messages: entries.into_iter().map(unsent).collect() });
    let frame = Frame { head: head.clone(), body };
    let json = frame.to_json();
    let binary = write_binary(&unsent_entries);
    println!("a frame of 100 messages: {} bytes in JSON, {} in binary", json.len(), binary.len());
    group.bench_function("write JSON", |bencher| bencher.iter(|| black_box(&frame).to_json()));
    group.bench_function("write binary", |bencher| bencher.iter(|| write_binary(black_box(&unsent_entries))));
    group.bench_function("read JSON", |bencher| bencher.iter(|| Frame::parse(black_box(&json))));
    group.bench_function("read binary", |bencher| bencher.iter(|| Frame::from_bytes(black_box(&binary))));
}

criterion_group!(benches, batch, frame);
criterion_main!(benches);
