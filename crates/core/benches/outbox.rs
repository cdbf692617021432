//! What a device's outbox costs, by the messages that wait in it.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use solconnect_sync_core::client::{Action, Client, ClientConfig, DeviceRecord, Input, OutboxRecord, SessionRecord, Snapshot};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::{Body, Frame, Head, SyncAck};
use solconnect_sync_core::ids::{message_id, session_of};
use solconnect_sync_core::message::{Message, Stamp};
use solconnect_sync_core::time::Now;

const NOW: Now = Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 };
const DEVICE: &str = "3JhYcP8sVbE6uGfKt";
const WALLET: &str = "So11111111111111111111111111111111111111112";
const PEER_WALLET: &str = "7Np41oeYqPefeNQEHSv1UDhYrehxin3NStELsSKCT4K2";
const MESSAGES: u64 = 100;

/// What a store holds with so many unsent messages in one session.
fn snapshot(queued: u64) -> Snapshot {
    let session_id = session_of(WALLET, PEER_WALLET);
    let unsent = |counter: u64| {
        let message = Message {
            id: message_id(&session_id, DEVICE, "aB3xY9", counter),
            sender_wallet: WALLET.into(),
            ciphertext: "does anybody know how to mount a usb stick on boot?".into(),
            timestamp: Stamp::Iso(NOW.wall_ms),
            session_id: session_id.clone(),
            ..Message::default()
        };
        Entry { message, counter, server_timestamp: NOW.wall_ms, device_id: DEVICE.into(), ..Entry::default() }
    };
    let record = |counter| OutboxRecord { session_id: session_id.clone(), entries: vec![unsent(counter)] };
    let outbox = (1..=queued).map(record).collect();
    let session = SessionRecord { open: true, counter: queued, ..SessionRecord::new(session_id, WALLET.into(), PEER_WALLET.into()) };
    Snapshot { device: Some(DeviceRecord::new(DEVICE.into())), sessions: vec![session], outbox, ..Snapshot::default() }
}

/// Hands the machine an input, and stores what it asks to store.
fn handle(client: &mut Client, input: Input) -> Option<u64> {
    let mut actions = client.handle(NOW, input);
    let mut connect = None;
    while let Some(action) = actions.pop() {
        match action {
            Action::Persist(commit) => actions.extend(client.handle(NOW, Input::Persisted { commit: commit.id })),
            Action::Connect { generation } => connect = Some(generation),
            _ => {}
        }
    }
    connect
}

fn offline(snapshot: &Snapshot) -> (Client, Option<u64>) {
    let mut client = Client::new(ClientConfig::default(), snapshot.clone(), 1);
    let connect = handle(&mut client, Input::ConnectWallet { request: 0, wallet: WALLET.into() });
    (client, connect)
}

fn send(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send 100 messages and have each stored");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(20);
    let session_id = session_of(WALLET, PEER_WALLET);
    for queued in [1, 1_000, 9_000] {
        let snapshot = snapshot(queued);
        group.bench_function(format!("offline, {queued} wait"), |bencher| {
            bencher.iter_batched_ref(
                || offline(&snapshot).0,
                |client| {
                    for request in 1..=MESSAGES {
                        let text = "put it into fstab, by its UUID, with nofail".into();
                        handle(
                            client,
                            Input::Send {
                                request,
                                session_id: session_id.clone(),
                                text,
                                content_type: None,
                                message_id: None,
                                known: None,
                            },
                        );
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
}

fn acknowledge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("take the acknowledgement of 100 messages");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(20);
    let session_id = session_of(WALLET, PEER_WALLET);
    let ack = SyncAck {
        acknowledged_sequences: (1..=MESSAGES).collect(),
        acknowledged_counters: (1..=MESSAGES).collect(),
        server_timestamps: vec![NOW.wall_ms; MESSAGES as usize],
        ..SyncAck::default()
    };
    let frame = Frame { head: Head { session_id, ..Head::default() }, body: Body::SyncAck(ack) };
    let frame: Arc<[u8]> = frame.to_bytes().expect("it has a binary form").into();
    for queued in [100, 1_000, 10_000] {
        let snapshot = snapshot(queued);
        group.bench_function(format!("{queued} wait"), |bencher| {
            bencher.iter_batched_ref(
                || {
                    let (mut client, connect) = offline(&snapshot);
                    let generation = connect.expect("it wants to connect");
                    handle(&mut client, Input::Connected { generation });
                    (client, generation)
                },
                |(client, generation)| handle(client, Input::Received { generation: *generation, frame: frame.clone() }),
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(benches, send, acknowledge);
criterion_main!(benches);
