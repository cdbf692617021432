//! The real relay in a process of its own, and clients that speak the frames of PROTOCOL.md in JSON.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long anything may take before a test gives up. No test waits for it to pass.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `future`, and fails with `what` when it takes too long.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}

/// The command with these options.
pub fn command(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_solconnect-relay"));
    command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a relay that must not start: its exit code and what it says on stderr.
pub async fn refusal(options: &[&str]) -> (i32, String) {
    let output = soon("the relay ends", command(options).output()).await.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A relay that runs.
pub struct RelayProcess {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    stderr: BufReader<ChildStderr>,
    folder: Arc<TempDir>,
}

impl RelayProcess {
    /// Starts one with an empty journal, for seed clients: they cannot sign in.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with an empty journal and these options.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), options).await
    }

    async fn start_in(folder: Arc<TempDir>, options: &[&str]) -> Self {
        let journal = journal_in(&folder);
        std::fs::create_dir_all(journal.parent().unwrap()).unwrap();
        let mut all = Vec::new();
        for (option, value) in
            [("--journal", journal.to_str().unwrap()), ("--log", "debug"), ("--listen", "127.0.0.1:0"), ("--auth", "open")]
        {
            if !options.contains(&option) {
                all.extend([option, value]);
            }
        }
        all.extend(options);
        let mut child = command(&all).spawn().unwrap();
        let mut line = String::new();
        soon("the relay is ready", BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)).await.unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("not ready: {line:?}")).parse().unwrap();
        RelayProcess { address, child, stderr, folder }
    }

    /// Its journal.
    pub fn journal(&self) -> PathBuf {
        journal_in(&self.folder)
    }

    /// A client.
    pub async fn connect(&self) -> Client {
        let (socket, _) = soon("a socket opens", connect_async(format!("ws://{}/", self.address))).await.unwrap();
        Client { socket }
    }

    /// A client whose device has announced itself in a session, and been told the devices.
    pub async fn device(&self, session: &str, device: &str) -> Client {
        let mut client = self.connect().await;
        client.send(announcement(session, device)).await;
        client.expect("device_list").await;
        client
    }

    /// SIGKILL, then start again on the same journal.
    pub async fn kill_and_restart(self) -> Self {
        self.kill_and_restart_with(&[]).await
    }

    /// The same with these options.
    pub async fn kill_and_restart_with(mut self, options: &[&str]) -> Self {
        self.child.kill().await.unwrap();
        check_integrity(&self.journal());
        Self::start_in(self.folder, options).await
    }

    /// Start again on the same journal, after it has ended.
    pub async fn restart(self) -> Self {
        Self::start_in(self.folder, &[]).await
    }

    /// The same at the address that it had.
    pub async fn restart_in_place(self) -> Self {
        let address = self.address.to_string();
        Self::start_in(self.folder, &["--listen", &address]).await
    }

    /// Starts another on the same journal, while this one runs.
    pub async fn start_another(&self) -> Self {
        Self::start_in(self.folder.clone(), &[]).await
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for its end: how it ended, and all it wrote to stderr.
    pub async fn ended(&mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        soon("the log ends", self.stderr.read_to_string(&mut log)).await.unwrap();
        assert!(!log.contains("panicked"), "{log}");
        (soon("the relay ends", self.child.wait()).await.unwrap(), log)
    }

    /// Asks for a page, with more header lines. The answer's head in lower case, and its body.
    pub async fn get(&self, path: &str, headers: &str) -> (String, Vec<u8>) {
        self.request("GET", path, headers).await
    }

    /// The same by another method.
    pub async fn request(&self, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
        Self::request_at(self.address, method, path, headers).await
    }

    /// The same of another address.
    pub async fn request_at(address: SocketAddr, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let host = if headers.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
        stream.write_all(format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{host}{headers}\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        soon("a page", stream.read_to_end(&mut answer)).await.unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the head ends");
        (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
    }
}

/// In a folder of its own, which tests may move and delete.
fn journal_in(folder: &TempDir) -> PathBuf {
    folder.path().join("data").join("journal.db")
}

/// Checks the journal's file.
pub fn check_integrity(journal: &Path) {
    let connection = rusqlite::Connection::open(journal).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

/// One WebSocket.
pub struct Client {
    /// The socket itself.
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Sends a frame.
    pub async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: &str) {
        soon("a frame leaves", self.socket.send(Message::text(text))).await.unwrap();
    }

    /// The next frame; `None` once the socket is closed or broken.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match soon("a frame arrives", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("frames are JSON")),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                None | Some(Ok(Message::Close(_)) | Err(_)) => return None,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next frame of a kind (see [`kind`]); what comes before it is skipped.
    pub async fn expect(&mut self, wanted: &str) -> Value {
        let mut skipped = Vec::new();
        while let Some(frame) = self.next().await {
            if kind(&frame) == wanted {
                return frame;
            }
            skipped.push(frame);
        }
        panic!("closed before {wanted}, after {skipped:#?}")
    }

    /// Every frame of a kind until a heartbeat sent now is answered: what is on its way now, and no more.
    pub async fn all(&mut self, session: &str, wanted: &str) -> Vec<Value> {
        self.send(frame("sync_heartbeat", session, "asking", json!({"sequenceNumber": 0, "vectorClock": {}}))).await;
        let mut found = Vec::new();
        loop {
            let frame = self.next().await.expect("open until the heartbeat is answered");
            match kind(&frame) {
                "sync_heartbeat" => return found,
                kind if kind == wanted => found.push(frame),
                _ => {}
            }
        }
    }

    /// The close frame with which the relay ends; frames before it are skipped.
    pub async fn closed(&mut self) -> CloseFrame {
        loop {
            match soon("the socket closes", self.socket.next()).await {
                Some(Ok(Message::Close(Some(close)))) => return close,
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    /// Sends messages as a `sync_update` and waits for its acknowledgement.
    pub async fn update(&mut self, session: &str, device: &str, messages: Value) -> Value {
        self.send(frame("sync_update", session, device, json!({ "messages": messages }))).await;
        self.expect("sync_ack").await
    }

    /// Everything of a session's log after `after`, put together from the answers; checks that there are no holes.
    pub async fn log(&mut self, session: &str, after: u64) -> Vec<Value> {
        self.send(frame("sync_request", session, "reader", json!({"lastSyncedSequence": after, "syncVector": {}}))).await;
        let mut entries = Vec::new();
        loop {
            let frame = self.next().await.expect("open until the answer is complete");
            match (kind(&frame), frame["status"].as_str()) {
                ("sync_response", _) => entries.extend(frame["messages"].as_array().unwrap().iter().cloned()),
                ("sync_status", Some("completed")) => break,
                ("error", _) => panic!("{frame}"),
                _ => {}
            }
        }
        for (entry, sequence) in entries.iter().zip(after + 1..) {
            assert_eq!(entry["sequenceNumber"], sequence, "{entry}");
        }
        entries
    }
}

/// What kind of frame it is: its `type`, `error`, or `chat` for live messages, which have none.
pub fn kind(frame: &Value) -> &str {
    match frame["type"].as_str() {
        Some(kind) => kind,
        None if frame.get("error").is_some() => "error",
        None => "chat",
    }
}

/// A frame as seed clients send it: the common fields and these.
pub fn frame(kind: &str, session: &str, device: &str, fields: Value) -> Value {
    let mut frame = json!({"type": kind, "sessionId": session, "deviceId": device, "timestamp": 1_700_000_000_000_u64, "messageId": format!("{device}-frame")});
    frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    frame
}

/// `device_announce` of a new device.
pub fn announcement(session: &str, device: &str) -> Value {
    let fields = json!({"deviceInfo": {"platform": "web", "version": "1.0.0"}, "syncState": {"lastSyncedSequence": 0, "vectorClock": {}}});
    frame("device_announce", session, device, fields)
}

/// One message of a `sync_update`: the device's own count and what it knows are `count`.
pub fn unsent(session: &str, device: &str, count: u64, text: &str) -> Value {
    let message = json!({
        "id": format!("{device}-{count}"), "sender_wallet": format!("wallet-of-{device}"), "ciphertext": text,
        "timestamp": "2026-11-22T12:00:00.000Z", "session_id": session, "content_type": "text/plain"
    });
    json!({"message": message, "sequenceNumber": count, "vectorClock": {device: count}, "localTimestamp": 1_700_000_000_000_u64})
}

/// The status with which the relay refuses a handshake with these header fields, or the response it accepts it with.
pub async fn handshake(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<tungstenite::handshake::client::Response, u16> {
    open(address, headers).await.map(|(_, response)| response).map_err(|refused| refused.status().as_u16())
}

/// The same with the socket that was opened, or the whole answer.
pub async fn open(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<(Client, tungstenite::handshake::client::Response), tungstenite::http::Response<Option<Vec<u8>>>> {
    use tungstenite::client::IntoClientRequest;
    let mut request = format!("ws://{address}/").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match soon("a handshake", connect_async(request)).await {
        Ok((socket, response)) => Ok((Client { socket }, response)),
        Err(tungstenite::Error::Http(response)) => Err(*response),
        Err(error) => panic!("{error}"),
    }
}
