//! One hostile connection, which says frames of one kind as fast as it can, beside two honest devices that talk: for every
//! kind the relay stays as quick for these, and keeps little of it in memory and on disk.
//!
//! `FLOOD_ROUNDS=200 cargo test --release -p solconnect-relay --test flood -- --nocapture` measures it. The hostile client
//! shares the machine's processors with the relay, so what is asserted of times is what nobody may wait for.

#![cfg(target_os = "linux")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Client, RelayProcess, announcement, frame, kind, unsent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const SESSION: &str = "honest";
const MALLORY: &str = "mallory";

/// Messages between the honest devices of which the times are taken, without and then with a hostile client.
const ROUNDS: usize = 20;

/// From one message to the next.
const PACE: Duration = Duration::from_millis(10);

/// Messages that the session has before: something to ask for.
const HISTORY: usize = 1_000;

/// What a message may take: less than an honest client waits before it gives the connection up. The hostile client and other
/// programs share the processors, and a relay that is not optimized takes ten times what it reckons with: how many times as
/// long it takes is printed, and means something on a machine that does nothing else.
const P99_MAX: Duration = Duration::from_secs(8);

/// What a flood may add to the relay's memory.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// What it may add to the disk at once, and in a second.
const DISK_KIB_MAX: u64 = 32 * 1024;
const DISK_KIB_PER_SECOND_MAX: f64 = 4.0 * 1024.0;

/// Different frames of a kind at most; then they begin again.
const FRAMES_MAX: u64 = 4_000;
const FRAMES_BYTES_MAX: usize = 1024 * 1024;

/// How long a flood may take to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

/// What a hostile client does.
struct Kind {
    name: &'static str,
    /// Said first on each connection.
    first: Vec<Value>,
    /// The frame of a number.
    frame: Box<dyn Fn(u64) -> Vec<u8>>,
    /// It takes what it is sent.
    takes: bool,
}

/// A frame of WebSocket as clients send it. The mask is 0, so that making it costs the hostile client nothing.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => bytes.push(0x80 | length),
        (_, Ok(length)) => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn text(frame: &Value) -> Vec<u8> {
    masked(1, frame.to_string().as_bytes())
}

fn v1(mut frame: Value) -> Value {
    frame["protocolVersion"] = json!(1);
    frame
}

fn raw(name: &'static str, bytes: Vec<u8>) -> Kind {
    Kind { name, first: Vec::new(), frame: Box::new(move |_| bytes.clone()), takes: true }
}

fn always(name: &'static str, first: &[Value], frame: Value) -> Kind {
    Kind { name, first: first.to_vec(), frame: Box::new(move |_| text(&frame)), takes: true }
}

fn numbered(name: &'static str, first: &[Value], frame: impl Fn(u64) -> Value + 'static) -> Kind {
    Kind { name, first: first.to_vec(), frame: Box::new(move |number| text(&frame(number))), takes: true }
}

/// Every kind of frame, and of each the dearest, most of them in the session of the honest.
fn kinds() -> Vec<Kind> {
    let said = |kind: &str, fields: Value| frame(kind, SESSION, MALLORY, fields);
    let seed = [announcement(SESSION, MALLORY)];
    let mut device = [v1(announcement(SESSION, MALLORY))];
    device[0]["wallet"] = json!("w");
    let clock: serde_json::Map<String, Value> = (0..290).map(|number| (format!("{number:0>180}"), json!(1))).collect();
    let overlapping: Vec<Value> = (0..1_000).map(|_| json!({ "start": 1, "end": 9_000 })).collect();
    let apart: Vec<Value> = (0..1_000).map(|number| json!({ "start": 1 + number, "end": 1 + number })).collect();
    let receipts: Vec<Value> = (0..600).map(|number| json!({ "messageId": format!("m{number}"), "status": "read" })).collect();
    let same: Vec<Value> = (0..400).map(|_| json!({ "message": { "id": "same", "sender_wallet": "w", "ciphertext": "x" } })).collect();
    let one = vec![same[0].clone()];
    let knows = json!({ "lastSyncedSequence": 0, "vectorClock": clock });
    let chat = |text: &str| json!({ "roomId": SESSION, "message": text, "sender": MALLORY, "timestamp": "2020-02-20T20:20:20.020Z" });
    let elsewhere = |name, kind: &'static str, fields: Value| {
        numbered(name, &[], move |number| frame(kind, &format!("elsewhere-{number}"), MALLORY, fields.clone()))
    };
    vec![
        raw("ping", masked(9, b"")),
        raw("malformed, short", masked(1, b"{")),
        raw("malformed, nested", masked(1, "[".repeat(60_000).as_bytes())),
        raw("malformed, binary", masked(2, &[0xff; 60_000])),
        raw("oversized, and comes again", masked(1, &[b'x'; 64 * 1024 + 1])),
        raw("no WebSocket, and comes again", b"hi".repeat(500)),
        always("announce", &seed, said("device_announce", json!({ "syncState": knows }))),
        always("announce, v1", &device, v1(said("device_announce", json!({ "syncState": knows, "wallet": "w" })))),
        numbered("announce, a new device each", &[], |number| announcement(SESSION, &format!("mallory-{number}"))),
        always("request of all", &seed, said("sync_request", json!({ "lastSyncedSequence": 0 }))),
        always("request of all, in ones", &seed, said("sync_request", json!({ "lastSyncedSequence": 0, "maxBatchSize": 1 }))),
        always("request of all, v1", &device, v1(said("sync_request", json!({ "lastSyncedSequence": 0 })))),
        always("request of ranges, the same", &seed, said("sync_request", json!({ "missingRanges": overlapping }))),
        always("request of ranges, apart", &seed, said("sync_request", json!({ "missingRanges": apart }))),
        always("request, not announced, v1", &[], v1(said("sync_request", json!({})))),
        always("update, the same again", &seed, said("sync_update", json!({ "messages": same }))),
        always("update, refused", &seed, said("sync_update", json!({ "messages": [{ "message": { "ciphertext": 7 } }] }))),
        numbered("update, new, v1", &device, |number| {
            v1(frame("sync_update", SESSION, MALLORY, json!({ "messages": [unsent(SESSION, MALLORY, number + 1, "x")] })))
        }),
        numbered("update, a hundred new", &seed, |number| {
            let messages: Vec<Value> = (1..=100).map(|count| unsent(SESSION, MALLORY, 100 * number + count, "x")).collect();
            frame("sync_update", SESSION, MALLORY, json!({ "messages": messages }))
        }),
        always("chat, long", &[], chat(&"x".repeat(8_000))),
        always("chat, short", &[], chat("x")),
        always("ack, v1", &device, v1(said("sync_ack", json!({ "acknowledgedSequences": [1] })))),
        always("ack, a thousand, v1", &device, v1(said("sync_ack", json!({ "acknowledgedSequences": (1..=1_000).collect::<Vec<u64>>() })))),
        always("heartbeat, long clock", &seed, said("sync_heartbeat", json!({ "vectorClock": knows["vectorClock"] }))),
        always("heartbeat, v1", &device, v1(said("sync_heartbeat", json!({})))),
        always("heartbeat, not announced, v1", &[], v1(said("sync_heartbeat", json!({})))),
        always("heartbeat of no session", &[], json!({ "type": "sync_heartbeat" })),
        always("receipts", &seed, said("read_receipt", json!({ "receipts": receipts }))),
        always("receipts, v1", &device, v1(said("read_receipt", json!({ "receipts": receipts })))),
        always("error", &seed, json!({ "error": "no" })),
        always("unknown", &seed, said("of_the_future", json!({}))),
        always("what only the relay says", &seed, said("device_list", json!({ "devices": [] }))),
        always("seed's frames of a v1 device", &device, said("sync_heartbeat", json!({}))),
        elsewhere("announce in new sessions", "device_announce", json!({})),
        elsewhere("request in new sessions", "sync_request", json!({})),
        elsewhere("heartbeat in new sessions", "sync_heartbeat", json!({})),
        elsewhere("receipt in new sessions", "read_receipt", json!({ "messageId": "m", "status": "read" })),
        elsewhere("update in new sessions", "sync_update", json!({ "messages": one })),
        Kind { takes: false, ..always("request, and takes nothing", &seed, said("sync_request", json!({}))) },
        Kind { takes: false, ..raw("malformed, and takes nothing", masked(1, b"{")) },
    ]
}

/// Says all of `bytes` again and again, until it is stopped or cut; then it comes again. Counts the bytes that left.
fn flood(address: SocketAddr, first: Vec<u8>, bytes: Vec<u8>, takes: bool, said: Arc<AtomicU64>) -> JoinHandle<()> {
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    tokio::spawn(async move {
        loop {
            let Ok(mut stream) = TcpStream::connect(address).await else { continue };
            // What follows the head at once would be taken for a part of the request.
            let mut answer = [0; 1_024];
            if stream.write_all(head.as_bytes()).await.is_err() || stream.read(&mut answer).await.is_err() {
                continue;
            }
            let (mut back, mut out) = stream.into_split();
            let taking = async {
                let mut taken = vec![0; 64 * 1024];
                while back.read(&mut taken).await.is_ok_and(|bytes| bytes > 0) {}
                // What is said into a closed socket goes on until it is refused.
                std::future::pending().await
            };
            let saying = async {
                out.write_all(&first).await?;
                loop {
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let count = out.write(rest).await?;
                        said.fetch_add(count as u64, Ordering::Relaxed);
                        rest = &rest[count..];
                    }
                }
            };
            let _: std::io::Result<()> = tokio::select! {
                ended = saying => ended,
                () = taking, if takes => Ok(()),
            };
        }
    })
}

/// How long a message takes from one device to the other: the median and the slowest of a hundred. Measured at the pace of a
/// lively conversation; who talks faster for long is slowed down itself.
async fn talk(from: &mut Client, to: &mut Client, count: &mut u64) -> (Duration, Duration) {
    let mut times = Vec::new();
    let mut pace = tokio::time::interval(if is_measured() { PACE } else { Duration::from_nanos(1) });
    for _ in 0..rounds() {
        pace.tick().await;
        *count += 1;
        let began = Instant::now();
        from.send(frame("sync_update", SESSION, "alice", json!({ "messages": [unsent(SESSION, "alice", *count, "hello")] }))).await;
        let id = json!(format!("alice-{count}"));
        let (mut is_heard, mut is_acknowledged) = (false, false);
        // Both read all the time, or the relay would cut the one that does not.
        while !(is_heard && is_acknowledged) {
            tokio::select! {
                frame = to.next() => {
                    let frame = frame.expect("the receiver is connected");
                    if kind(&frame) == "chat" && frame["messageId"] == id {
                        is_heard = true;
                        times.push(began.elapsed());
                    }
                }
                frame = from.next() => is_acknowledged |= kind(&frame.expect("the sender is connected")) == "sync_ack",
            }
        }
    }
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn rounds() -> usize {
    std::env::var("FLOOD_ROUNDS").map_or(ROUNDS, |count| count.parse().unwrap())
}

/// The kinds whose names begin so; all of them where nothing is said.
fn is_chosen(name: &str) -> bool {
    std::env::var("FLOOD_ONLY").map_or(true, |only| name.starts_with(&only))
}

fn memory_kib(relay: &RelayProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn is_measured() -> bool {
    std::env::var("FLOOD_ROUNDS").is_ok()
}

/// What the flood alone costs in the long run: hundredths of a processor.
async fn steady_cpu(relay: &RelayProcess) -> f64 {
    const SECONDS: u64 = 2;
    let before = cpu_hundredths(relay);
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    (cpu_hundredths(relay) - before) / SECONDS as f64
}

/// Processor time of the relay, in hundredths of a second.
fn cpu_hundredths(relay: &RelayProcess) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", relay.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap()).into()
}

fn disk_kib(journal: &Path) -> u64 {
    let files = std::fs::read_dir(journal.parent().unwrap()).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>() / 1024
}

/// Says what is wrong.
async fn measure(kind: Kind) -> Vec<String> {
    let Kind { name, first, frame, takes } = kind;
    let relay = RelayProcess::start().await;
    let mut alice = relay.device(SESSION, "alice").await;
    let mut count = 0;
    for _ in 0..HISTORY / 100 {
        let messages: Vec<Value> = (count + 1..=count + 100).map(|count| unsent(SESSION, "alice", count, "some words to read")).collect();
        alice.update(SESSION, "alice", json!(messages)).await;
        count += 100;
    }
    let mut bob = relay.device(SESSION, "bob").await;
    let (quiet_p50, quiet_p99) = talk(&mut alice, &mut bob, &mut count).await;
    let mut bytes = Vec::new();
    let mut frames = 0;
    while frames < FRAMES_MAX && bytes.len() < FRAMES_BYTES_MAX {
        bytes.extend(frame(frames));
        frames += 1;
    }
    let frame_bytes = bytes.len() as f64 / frames as f64;
    let (memory_before, disk_before) = (memory_kib(&relay), disk_kib(&relay.journal()));
    let said = Arc::new(AtomicU64::new(0));
    let first = first.iter().flat_map(text).collect();
    let began = Instant::now();
    let flood = flood(relay.address, first, bytes, takes, said.clone());
    // On a busy machine all messages may be there before it has said anything.
    while said.load(Ordering::Relaxed) == 0 && began.elapsed() < BEGINS_WITHIN {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if is_measured() {
        // What a connection may cost at once is spent by then.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (p50, p99) = talk(&mut alice, &mut bob, &mut count).await;
    let seconds = began.elapsed().as_secs_f64();
    let steady_cpu = if is_measured() { steady_cpu(&relay).await } else { 0.0 };
    flood.abort();
    let memory = memory_kib(&relay) - memory_before;
    let disk = disk_kib(&relay.journal()) - disk_before;
    let said = said.load(Ordering::Relaxed) as f64 / frame_bytes;
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "{name:<30} p50 {:6.2} -> {:6.2} ms  p99 {:6.2} -> {:6.2} ms ({:4.1} times)  {memory:6} KiB memory  {disk:6} KiB disk  {:8.0} frames/s  cpu {steady_cpu:5.1} %",
        ms(quiet_p50),
        ms(p50),
        ms(quiet_p99),
        ms(p99),
        ms(p99) / ms(quiet_p99),
        said / seconds
    );
    let wrong = [
        (said == 0.0, "it said nothing".to_owned()),
        (p99 > P99_MAX, format!("a message took {p99:?}, and {quiet_p99:?} without it")),
        (memory > MEMORY_KIB_MAX, format!("{memory} KiB more memory")),
        (disk as f64 > DISK_KIB_MAX as f64 + DISK_KIB_PER_SECOND_MAX * seconds, format!("{disk} KiB more disk in {seconds:.1} s")),
    ];
    wrong.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, why)| format!("{name}: {why}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_frame_at_full_rate_slows_or_fills_the_relay() {
    let mut wrong = Vec::new();
    for kind in kinds().into_iter().filter(|kind| is_chosen(kind.name)) {
        wrong.extend(measure(kind).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
