//! A relay that is asked to stop while it is busy: nothing that it acknowledged is lost, and everybody comes back.

use crate::support::{Client, RelayProcess, announcement, frame, kind, soon, unsent};
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const SESSION: &str = "session-123";

/// Writes without an end until the relay closes: the counts that were acknowledged, and the close code.
async fn write_until_closed(mut client: Client, device: String) -> (Vec<u64>, u16) {
    use futures_util::StreamExt;
    let mut acknowledged = Vec::new();
    let mut close = 0;
    for count in 1.. {
        let update = frame("sync_update", SESSION, &device, json!({ "messages": [unsent(SESSION, &device, count, "x")] }));
        // Once the relay has said good-bye nothing is taken any more.
        if client.socket.send(Message::text(update.to_string())).await.is_err() {
            break;
        }
        let is_answered = loop {
            match soon("an answer or the end", client.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if kind(&frame) == "sync_ack" {
                        acknowledged.push(count);
                        break true;
                    }
                }
                Some(Ok(Message::Close(Some(frame)))) => close = frame.code.into(),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => break false,
            }
        };
        if !is_answered {
            break;
        }
    }
    (acknowledged, close)
}

#[tokio::test]
async fn a_busy_relay_that_stops_loses_nothing_acknowledged() {
    let mut relay = RelayProcess::start().await;
    for round in 0..3 {
        let names: Vec<String> = (0..8).map(|number| format!("device-{round}-{number}")).collect();
        let mut writers = Vec::new();
        for name in &names {
            let client = relay.device(SESSION, name).await;
            writers.push(tokio::spawn(write_until_closed(client, name.clone())));
        }
        let mut listener = relay.device(SESSION, "listener").await;
        for _ in 0..50 {
            listener.expect("chat").await;
        }
        relay.signal("TERM");
        let mut acknowledged = Vec::new();
        for (name, writer) in names.iter().zip(writers) {
            let (counts, close) = soon("a writer ends", writer).await.unwrap();
            assert_eq!(close, 1012, "{name} is told to come back");
            assert!(!counts.is_empty(), "{name} was at work");
            acknowledged.extend(counts.into_iter().map(|count| format!("{name}-{count}")));
        }
        let (status, log) = relay.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        // At the same address: clients find it again.
        relay = relay.restart_in_place().await;
        let entries = relay.connect().await.log(SESSION, 0).await;
        let stored: std::collections::BTreeSet<&str> = entries.iter().map(|entry| entry["message"]["id"].as_str().unwrap()).collect();
        assert_eq!(stored.len(), entries.len(), "nothing is there twice");
        for id in &acknowledged {
            assert!(stored.contains(id.as_str()), "{id} was acknowledged");
        }
        let mut client = relay.device(SESSION, &names[0]).await;
        let count = acknowledged.iter().filter(|id| id.starts_with(&names[0])).count() as u64;
        client.update(SESSION, &names[0], json!([unsent(SESSION, &names[0], count, "x")])).await;
        let again = client.log(SESSION, 0).await;
        assert_eq!(again.len(), entries.len(), "what is sent again is known");
    }
}

#[tokio::test]
async fn who_does_not_listen_keeps_no_relay_from_ending() {
    let mut relay = RelayProcess::start().await;
    // They read nothing: neither what they are told nor that the relay closes.
    let mut deaf = Vec::new();
    for number in 0..20 {
        let mut client = relay.connect().await;
        client.send(announcement(SESSION, &format!("deaf-{number}"))).await;
        deaf.push(client);
    }
    // And one that has said half of a request.
    let mut half = tokio::net::TcpStream::connect(relay.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    let mut writer = relay.device(SESSION, "writer").await;
    writer.update(SESSION, "writer", json!([unsent(SESSION, "writer", 1, &"x".repeat(8_000))])).await;
    relay.signal("TERM");
    let (status, log) = relay.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(tokio::net::TcpStream::connect(relay.address).await.is_err(), "nobody is let in any more");
    assert_eq!(relay.restart().await.connect().await.log(SESSION, 0).await.len(), 1);
    drop(deaf);
}
