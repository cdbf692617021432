//! One hostile connection a kind of frame, each at full rate, beside two honest devices.

mod support;

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::{Client, RelayProcess, announcement, frame, unsent};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

const SESSION: &str = "honest";

/// Rounds of which the times are taken.
const ROUNDS: u64 = 100;

/// The dearest frame of each kind; every other connection floods the honest session, the others one of their own.
fn hostile_frames() -> Vec<Value> {
    let clock: serde_json::Map<String, Value> = (0..290).map(|number| (format!("{number:0>180}"), json!(1))).collect();
    let ranges: Vec<Value> = (0..1_000).map(|_| json!({ "start": 1, "end": 9_000 })).collect();
    let receipts: Vec<Value> = (0..600).map(|number| json!({ "messageId": format!("m{number}"), "status": "read" })).collect();
    let same: Vec<Value> = (0..400).map(|_| json!({ "message": { "id": "same", "sender_wallet": "w", "ciphertext": "x" } })).collect();
    let fields = [
        ("device_announce", json!({ "syncState": { "vectorClock": clock } })),
        ("sync_request", json!({ "lastSyncedSequence": 0 })),
        ("sync_request", json!({ "missingRanges": ranges })),
        ("sync_update", json!({ "messages": same })),
        ("sync_ack", json!({ "acknowledgedSequences": [1] })),
        ("sync_heartbeat", json!({ "vectorClock": clock })),
        ("sync_heartbeat", json!({})),
        ("read_receipt", json!({ "receipts": receipts })),
        ("device_list", json!({})),
    ];
    let frame_of = |(number, (kind, fields)): (usize, (&str, Value))| {
        let session = if number % 2 == 0 { SESSION } else { "elsewhere" };
        frame(kind, session, &format!("hostile-{number}"), fields)
    };
    let chat = json!({ "roomId": SESSION, "message": "x".repeat(8_000), "sender": "mallory", "timestamp": "2020-02-20T20:20:20.020Z" });
    fields.into_iter().enumerate().map(frame_of).chain([chat]).collect()
}

/// Says the same frame as fast as it can, and takes what comes, until it is stopped or cut; then it comes again.
fn flood(address: std::net::SocketAddr, frame: Value) -> JoinHandle<()> {
    tokio::spawn(async move {
        let text = frame.to_string();
        loop {
            let Ok((socket, _)) = tokio_tungstenite::connect_async(format!("ws://{address}/")).await else { continue };
            let (mut out, mut back) = socket.split();
            let taking = tokio::spawn(async move { while let Some(Ok(_)) = back.next().await {} });
            while out.send(Message::text(text.clone())).await.is_ok() {}
            taking.abort();
        }
    })
}

/// How long a message takes from one device to the other, in the slowest of a hundred.
async fn p99(from: &mut Client, to: &mut Client, first: u64) -> Duration {
    let mut times = Vec::new();
    for count in first..first + ROUNDS {
        let began = Instant::now();
        from.send(frame("sync_update", SESSION, "alice", json!({ "messages": [unsent(SESSION, "alice", count, "hello")] }))).await;
        let id = format!("alice-{count}");
        while to.expect("chat").await["messageId"] != json!(id) {}
        times.push(began.elapsed());
        from.expect("sync_ack").await;
    }
    times.sort();
    times[times.len() * 99 / 100 - 1]
}

#[cfg(target_os = "linux")]
fn memory_kib(relay: &RelayProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures an optimized relay: cargo test --release -p solconnect-relay --test flood -- --ignored --nocapture"]
async fn floods_of_every_kind_slow_nobody_much_and_fill_no_memory() {
    let relay = RelayProcess::start().await;
    let mut alice = relay.connect().await;
    alice.send(announcement(SESSION, "alice")).await;
    let mut bob = relay.device(SESSION, "bob").await;
    let quiet = p99(&mut alice, &mut bob, 1).await;
    let before_kib = memory_kib(&relay);
    let floods: Vec<JoinHandle<()>> = hostile_frames().into_iter().map(|frame| flood(relay.address, frame)).collect();
    let flooded = p99(&mut alice, &mut bob, 1 + ROUNDS).await;
    let grown_kib = memory_kib(&relay).saturating_sub(before_kib);
    floods.iter().for_each(JoinHandle::abort);
    println!("p99 {quiet:?} quiet, {flooded:?} flooded; {grown_kib} KiB more memory");
    // The hostile clients share this machine's processors with the relay: what is asserted is looser than what is wanted.
    assert!(flooded < Duration::from_secs(1), "{flooded:?}, and {quiet:?} before");
    assert!(grown_kib <= 64 * 1024, "{grown_kib} KiB more");
}
