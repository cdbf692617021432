//! Frames and clients that mean harm, or do it: each is answered or cut, and everybody else is served.

use crate::support;
use crate::support::{Client, DEADLINE, RelayProcess, frame, soon, unsent};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

const SESSION: &str = "session-123";

/// The relay still takes and passes on messages.
async fn assert_serves(relay: &RelayProcess, session: &str) {
    let mut listener = relay.device(session, "listening").await;
    let mut sender = relay.device(session, "sending").await;
    assert_eq!(
        sender.update(session, "sending", json!([unsent(session, "sending", 1, "still there")])).await["acknowledgedSequences"],
        json!([1])
    );
    assert_eq!(listener.expect("chat").await["message"], "still there");
}

async fn assert_refused(client: &mut Client, text: &str, code: &str) {
    client.send_text(text).await;
    let error = client.expect("error").await;
    let shown = &text[..text.len().min(100)];
    assert!(error["error"].as_str().is_some_and(|words| !words.is_empty()), "{shown}: {error}");
    assert_eq!(error["code"], code, "{shown}: {error}");
}

#[tokio::test]
async fn bad_frames_get_a_code_and_the_socket_stays_open_t5_t10() {
    let relay = RelayProcess::start().await;
    let mut client = relay.device(SESSION, "device-a").await;
    let deep = format!(r#"{{"type":"sync_update","sessionId":"s","deviceId":"d","messages":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for text in ["", "garbage", "null", "42", "[]", "\"text\"", "{\"type\":", "{\"type\":7}", "{}", deep.as_str(), "\u{0}\u{0}"] {
        assert_refused(&mut client, text, "INVALID_MESSAGE_FORMAT").await;
    }
    assert_refused(&mut client, &frame("of_the_future", SESSION, "device-a", json!({})).to_string(), "UNKNOWN_FRAME").await;
    for counter in ["-1", "1.5", "9007199254740993", "1e300", "18446744073709551616", "\"1\"", "{}"] {
        let text = format!(
            r#"{{"type":"sync_request","sessionId":"{SESSION}","deviceId":"device-a","lastSyncedSequence":0,"syncVector":{{"d":{counter}}}}}"#
        );
        assert_refused(&mut client, &text, "INVALID_VECTOR_CLOCK").await;
        let text = format!(
            r#"{{"type":"sync_update","sessionId":"{SESSION}","deviceId":"device-a","messages":[{{"message":{{"ciphertext":"x"}},"vectorClock":{{"d":{counter}}}}}]}}"#
        );
        assert_refused(&mut client, &text, "INVALID_VECTOR_CLOCK").await;
    }
    for fields in [
        json!({"type": "sync_request", "missingRanges": 7}),
        json!({"type": "sync_request", "missingRanges": [{"start": -1, "end": 2}]}),
        json!({"type": "sync_update", "messages": {"0": {}}}),
        json!({"type": "sync_update", "messages": [{}]}),
        json!({"type": "sync_update", "messages": [{"message": "text"}]}),
        json!({"type": "sync_update", "messages": [{"message": {"ciphertext": 7}}]}),
        json!({"type": "sync_ack", "acknowledgedSequences": "all"}),
        json!({"type": "read_receipt", "receipts": [{"messageId": "m", "status": "eaten"}]}),
        json!({"type": "device_announce", "deviceInfo": "phone"}),
        json!({"type": "device_list", "devices": []}),
        json!({"type": "sync_request", "sessionId": ["s"]}),
        json!({"type": "sync_request", "sessionId": "s".repeat(201)}),
    ] {
        let mut bad = frame("", SESSION, "device-a", json!({}));
        bad.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        assert_refused(&mut client, &bad.to_string(), "INVALID_MESSAGE_FORMAT").await;
    }
    soon("a bad binary frame leaves", client.socket.send(Message::binary(vec![0xff; 16]))).await.unwrap();
    assert!(client.expect("error").await["code"].is_string());
    assert_eq!(client.log(SESSION, 0).await.len(), 0, "nothing of it was stored");
    assert_serves(&relay, SESSION).await;
}

#[tokio::test]
async fn a_counter_far_ahead_does_no_harm_t5_t8() {
    let relay = RelayProcess::start().await;
    let mut client = relay.device(SESSION, "device-a").await;
    client
        .send(frame("sync_request", SESSION, "device-a", json!({"lastSyncedSequence": 9_007_199_254_740_991_u64, "syncVector": {}})))
        .await;
    client.expect("sync_status").await;
    let mut poisoned = unsent(SESSION, "device-a", 9_007_199_254_740_991, "poison");
    poisoned["vectorClock"] = json!({"device-a": 9_007_199_254_740_991_u64, "device-z": 9_007_199_254_740_991_u64});
    client.send(frame("sync_update", SESSION, "device-a", json!({"messages": [poisoned]}))).await;
    client.next().await.expect("it is answered, either way");
    let next = client.update(SESSION, "device-a", json!([unsent(SESSION, "device-a", 1, "next")])).await;
    assert!(next["acknowledgedSequences"][0].as_u64().is_some_and(|sequence| sequence <= 2), "{next}");
    assert_serves(&relay, "another-session").await;
}

#[tokio::test]
async fn an_oversized_frame_gets_an_error_and_close_1009_t9() {
    let relay = RelayProcess::start().await;
    let mut bystander = relay.device(SESSION, "device-b").await;
    for bytes in [64 * 1024 + 1, 10 * 1024 * 1024] {
        let mut client = relay.device(SESSION, "device-a").await;
        // The relay reads all of it away: a connection reset while it is sent would hide the reason from browsers.
        client.send_text(&"x".repeat(bytes)).await;
        let error = client.expect("error").await;
        assert_eq!(error["code"], "FRAME_TOO_LARGE");
        let close = client.closed().await;
        assert_eq!(u16::from(close.code), 1009);
    }
    let whole = json!({"roomId": SESSION, "message": "x", "sender": "w", "timestamp": 1, "padding": "p".repeat(60_000)}).to_string();
    let mut client = relay.device(SESSION, "device-a").await;
    client.send_text(&" ".repeat(64 * 1024 - whole.len()).chars().chain(whole.chars()).collect::<String>()).await;
    assert_eq!(bystander.expect("chat").await["message"], "x", "a frame of exactly the limit is taken");
    assert_serves(&relay, "another-session").await;
}

#[tokio::test]
async fn a_fragmented_message_beyond_the_limit_is_refused_t9() {
    let relay = RelayProcess::start().await;
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        relay.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A text of 32 fragments of 4 KiB, none of them the last.
    for opcode in std::iter::once(1).chain(std::iter::repeat_n(0, 31)) {
        let mut fragment = vec![opcode, 0x80 | 126, 0x10, 0x00, 0, 0, 0, 0];
        fragment.resize(8 + 4096, b'x');
        if stream.write_all(&fragment).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = soon("the relay closes", stream.read_to_end(&mut answer)).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("FRAME_TOO_LARGE"), "{text}");
    assert!(answer.windows(2).any(|bytes| bytes == 1009_u16.to_be_bytes()));
    assert_serves(&relay, SESSION).await;
}

#[tokio::test]
async fn a_client_that_breaks_websocket_itself_is_closed() {
    let relay = RelayProcess::start().await;
    let mut client = relay.device(SESSION, "device-a").await;
    soon("bytes leave", client.socket.get_mut().write_all(&[0x01, 0x02, b'h', b'i'])).await.unwrap();
    assert_eq!(u16::from(client.closed().await.code), 1002, "an unmasked frame");
    let mut client = relay.device(SESSION, "device-a").await;
    soon("bytes leave", client.socket.get_mut().write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff])).await.unwrap();
    assert_eq!(u16::from(client.closed().await.code), 1007, "a text that is no UTF-8");
    assert_serves(&relay, SESSION).await;
}

/// Reads nothing while others talk: it is cut, loses nothing, and slows down nobody.
#[tokio::test]
async fn a_client_that_never_reads_is_cut_and_catches_up_f49_t12_i20() {
    let relay = RelayProcess::start().await;
    let mut silent = relay.device(SESSION, "device-b").await;
    let mut sender = relay.device(SESSION, "device-a").await;
    let text = "x".repeat(8 * 1024);
    let mut sent = 0;
    // More than the kernel holds for a socket at both ends, and the relay's own queue.
    while sent < 2_000 {
        let messages: Vec<_> = (sent + 1..=sent + 5).map(|count| unsent(SESSION, "device-a", count, &text)).collect();
        sender.update(SESSION, "device-a", json!(messages)).await;
        sent += 5;
    }
    let mut watcher = relay.device(SESSION, "device-c").await;
    let started = std::time::Instant::now();
    loop {
        let list = {
            watcher.send(support::announcement(SESSION, "device-c")).await;
            watcher.expect("device_list").await
        };
        let online =
            list["devices"].as_array().unwrap().iter().any(|device| device["deviceId"] == "device-b" && device["isOnline"] == true);
        if !online {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "it is still connected");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let mut received = 0;
    while let Some(Ok(message)) = soon("what was sent before the cut", silent.socket.next()).await {
        received += usize::from(message.is_text());
    }
    assert!(received < 2_000, "it was cut");
    let mut again = relay.device(SESSION, "device-b").await;
    assert_eq!(again.log(SESSION, 0).await.len(), 2_000);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_is_cut_t15() {
    let relay = RelayProcess::start().await;
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon("the relay hangs up", stream.read_to_end(&mut answer)).await;
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    // It may hang up before all of it is written.
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(100_000)).as_bytes()).await;
    answer.clear();
    let _ = soon("the relay answers", stream.read_to_end(&mut answer)).await;
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 4"), "a head too large is refused");
    assert_serves(&relay, SESSION).await;
}
