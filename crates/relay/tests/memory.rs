//! What sockets that never read cost the relay: a thousand of any kind stay below 256 MiB.
//!
//! `SOCKETS=1000 cargo test --release -p solconnect-relay --test memory -- --nocapture` prints it for more of them.

#![cfg(target_os = "linux")]

mod support;

use futures_util::SinkExt;
use serde_json::{Value, json};
use solconnect_sync_core::frame::Frame;
use support::{RelayProcess, frame, soon, unsent};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

const SESSION: &str = "session-123";

/// What one socket that never reads may cost.
const SOCKET_KIB_MAX: u64 = 256;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Dialect {
    Seed,
    Json,
    Binary,
}

impl Dialect {
    async fn connect(self, relay: &RelayProcess) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let mut request = format!("ws://{}/", relay.address).into_client_request().unwrap();
        let subprotocol = match self {
            Dialect::Seed => None,
            Dialect::Json => Some("solconnect.sync.v1.json"),
            Dialect::Binary => Some("solconnect.sync.v1"),
        };
        if let Some(name) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", name.parse().unwrap());
        }
        let small = WebSocketConfig::default().read_buffer_size(1_024);
        soon("a socket opens", connect_async_with_config(request, Some(small), true)).await.unwrap().0
    }

    fn message(self, mut frame: Value) -> Message {
        if self != Dialect::Seed {
            frame["protocolVersion"] = json!(1);
        }
        let text = frame.to_string();
        match self {
            Dialect::Binary => Message::binary(Frame::parse(&text).unwrap().to_bytes().unwrap()),
            _ => Message::text(text),
        }
    }
}

/// A line of the process's status, in KiB.
fn status_kib(relay: &RelayProcess, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

async fn flood(dialect: Dialect, sockets: u64) {
    let relay = RelayProcess::start().await;
    let mut sender = relay.device(SESSION, "device-a").await;
    let text = "x".repeat(8 * 1024);
    // A history to catch up on, too.
    for first in (1..30).step_by(5) {
        let messages: Vec<_> = (first..first + 5).map(|count| unsent(SESSION, "device-a", count, &text)).collect();
        sender.update(SESSION, "device-a", json!(messages)).await;
    }
    drop(sender);
    let before_kib = status_kib(&relay, "VmRSS");
    let mut silent = Vec::new();
    for number in 0..sockets {
        let mut socket = dialect.connect(&relay).await;
        let device = format!("silent-{number}");
        for frame in [
            support::announcement(SESSION, &device),
            frame("sync_request", SESSION, &device, json!({"lastSyncedSequence": 0, "syncVector": {}, "maxBatchSize": 100})),
        ] {
            soon("a frame leaves", socket.send(dialect.message(frame))).await.unwrap();
        }
        silent.push(socket);
    }
    let joined_kib = status_kib(&relay, "VmHWM");
    let mut sender = relay.device(SESSION, "device-b").await;
    // More than the system holds for a socket that is not read.
    for first in (1..150).step_by(5) {
        let messages: Vec<_> = (first..first + 5).map(|count| unsent(SESSION, "device-b", count, &text)).collect();
        sender.update(SESSION, "device-b", json!(messages)).await;
    }
    let peak_kib = status_kib(&relay, "VmHWM");
    println!(
        "{dialect:?}: {sockets} sockets: {before_kib} KiB before, {joined_kib} KiB at most when all have joined, {peak_kib} KiB after the flood"
    );
    assert!(peak_kib - before_kib <= sockets * SOCKET_KIB_MAX, "{dialect:?}: {} KiB a socket", (peak_kib - before_kib) / sockets);
    drop(silent);
}

fn sockets() -> u64 {
    std::env::var("SOCKETS").map_or(100, |count| count.parse().unwrap())
}

#[tokio::test]
async fn silent_seed_sockets_cost_a_bounded_amount_f49_t12_i20() {
    flood(Dialect::Seed, sockets()).await;
}

#[tokio::test]
async fn silent_json_sockets_cost_a_bounded_amount_f49_t12_i20() {
    flood(Dialect::Json, sockets()).await;
}

#[tokio::test]
async fn silent_binary_sockets_cost_a_bounded_amount_f49_t12_i20() {
    flood(Dialect::Binary, sockets()).await;
}
