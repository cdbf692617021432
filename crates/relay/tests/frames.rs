//! Clients of the seed's protocol work against the relay unchanged: every frame they send, and what they expect.

use crate::support::{RelayProcess, announcement, frame, kind, soon, unsent};
use serde_json::json;

const SESSION: &str = "session-123";

#[tokio::test]
async fn an_announcement_sends_the_device_list_to_the_whole_session() {
    let relay = RelayProcess::start().await;
    let mut first = relay.device(SESSION, "device-a").await;
    let mut second = relay.connect().await;
    second.send(announcement(SESSION, "device-b")).await;
    for client in [&mut first, &mut second] {
        let list = client.expect("device_list").await;
        assert_eq!(list["sessionId"], SESSION);
        assert_eq!(list["deviceId"], "server");
        assert!(list["timestamp"].is_u64() && list["messageId"].is_string(), "{list}");
        let mut devices: Vec<_> = list["devices"].as_array().unwrap().iter().collect();
        devices.sort_by_key(|device| device["deviceId"].as_str());
        assert_eq!(devices.len(), 2, "{list}");
        for (device, id) in devices.iter().zip(["device-a", "device-b"]) {
            assert_eq!(device["deviceId"], id);
            assert_eq!(device["platform"], "web");
            assert_eq!(device["isOnline"], true);
            assert!(device["lastSeenAt"].is_u64());
            assert_eq!(device["syncState"]["lastSyncedSequence"], 0);
        }
    }
}

#[tokio::test]
async fn an_untyped_chat_frame_is_stored_and_forwarded() {
    let relay = RelayProcess::start().await;
    let mut listener = relay.device(SESSION, "device-b").await;
    let mut elsewhere = relay.device("another-session", "device-c").await;
    let mut sender = relay.connect().await;
    let sent =
        json!({"roomId": SESSION, "message": "hello", "sender": "wallet-a", "timestamp": "2026-11-22T12:00:00.000Z", "messageId": "m1"});
    sender.send(sent.clone()).await;

    let received = listener.expect("chat").await;
    for field in ["roomId", "message", "sender", "timestamp", "messageId"] {
        assert_eq!(received[field], sent[field], "{field} of {received}");
    }
    assert_eq!(received["sequenceNumber"], 1);
    assert!(received["serverTimestamp"].is_u64(), "{received}");

    // Sending one joins the room, and the other name of the room's field is known too.
    listener.send(json!({"sessionId": SESSION, "message": "hi", "sender": "wallet-b", "timestamp": 1_700_000_000_000_u64})).await;
    let answer = sender.expect("chat").await;
    assert_eq!((&answer["message"], &answer["sequenceNumber"], &answer["roomId"]), (&json!("hi"), &json!(2), &json!(SESSION)));

    assert!(sender.all(SESSION, "chat").await.is_empty(), "nobody gets an own message back");
    assert!(elsewhere.all("another-session", "chat").await.is_empty(), "other sessions hear nothing (I16)");
    let log = listener.log(SESSION, 0).await;
    assert_eq!(log.iter().map(|entry| entry["message"]["ciphertext"].as_str().unwrap()).collect::<Vec<_>>(), ["hello", "hi"]);
}

#[tokio::test]
async fn unannounced_sockets_of_one_wallet_hear_each_other() {
    let relay = RelayProcess::start().await;
    let chat = |text: &str| json!({"roomId": SESSION, "sessionId": SESSION, "message": text, "sender": "wallet-a", "timestamp": 1});
    let mut phone = relay.connect().await;
    let mut laptop = relay.connect().await;
    phone.send(chat("one")).await;
    // Chat frames are not acknowledged: the log tells when it is stored.
    soon("the first message is stored", async { while phone.log(SESSION, 0).await.is_empty() {} }).await;
    laptop.send(chat("two")).await;
    assert_eq!(phone.expect("chat").await["message"], "two");
    phone.send(chat("three")).await;
    let heard = laptop.expect("chat").await;
    assert_eq!((&heard["message"], &heard["sessionId"]), (&json!("three"), &json!(SESSION)));
    assert!(phone.all(SESSION, "chat").await.is_empty(), "nobody gets an own message back");
}

#[tokio::test]
async fn a_seed_readers_receipt_names_the_wallet_it_wrote_as() {
    let relay = RelayProcess::start().await;
    let mut writer = relay.device(SESSION, "device-a").await;
    let mut reader = relay.device(SESSION, "device-b").await;
    reader.send(json!({"roomId": SESSION, "message": "hi", "sender": "wallet-b", "timestamp": 1, "messageId": "m1"})).await;
    writer.expect("chat").await;
    reader
        .send(frame("read_receipt", SESSION, "device-b", json!({"receipts": [{"messageId": "m1", "status": "read", "timestamp": 2}]})))
        .await;
    let receipts = writer.expect("read_receipt_sync").await["receipts"].clone();
    assert_eq!((&receipts[0]["readerWallet"], &receipts[0]["deviceId"]), (&json!("wallet-b"), &json!("device-b")));
}

#[tokio::test]
async fn an_update_lacking_fields_is_acknowledged_and_forwarded() {
    let relay = RelayProcess::start().await;
    let mut listener = relay.device(SESSION, "device-b").await;
    let mut sender = relay.device(SESSION, "device-a").await;
    let messages = json!([
        {"message": {"sender_wallet": "wallet-a", "ciphertext": "one", "timestamp": "2026-11-22T12:00:00.000Z", "session_id": SESSION},
         "sequenceNumber": 1, "vectorClock": {"device-a": 1}, "localTimestamp": 1_700_000_000_000_u64},
        {"message": {"id": null, "sender_wallet": "wallet-a", "ciphertext": "two", "timestamp": null, "session_id": null, "content_type": null},
         "sequenceNumber": 2, "vectorClock": null, "localTimestamp": null},
    ]);
    let ack = sender.update(SESSION, "device-a", messages).await;
    assert_eq!(ack["acknowledgedSequences"], json!([1, 2]));
    assert_eq!(ack["deviceId"], "server");
    assert!(ack["vectorClock"].is_object(), "{ack}");
    let ids = ack["acknowledgedMessageIds"].as_array().unwrap();
    assert_eq!(ids.len(), 2);
    for (text, sequence) in [("one", 1), ("two", 2)] {
        let chat = listener.expect("chat").await;
        assert_eq!((&chat["message"], &chat["sequenceNumber"]), (&json!(text), &json!(sequence)));
        assert_eq!((&chat["roomId"], &chat["sender"]), (&json!(SESSION), &json!("wallet-a")));
        assert!(ids.contains(&chat["messageId"]), "{chat}");
        assert!(chat["vectorClock"].is_object());
    }
    assert!(sender.all(SESSION, "chat").await.is_empty(), "nobody gets an own message back");
}

#[tokio::test]
async fn a_repeated_update_is_stored_once_i3_i4() {
    let relay = RelayProcess::start().await;
    let mut listener = relay.device(SESSION, "device-b").await;
    let mut sender = relay.device(SESSION, "device-a").await;
    let messages = json!([unsent(SESSION, "device-a", 1, "one"), unsent(SESSION, "device-a", 2, "two")]);
    let first = sender.update(SESSION, "device-a", messages.clone()).await;
    let again = sender.update(SESSION, "device-a", messages.clone()).await;
    for field in ["acknowledgedSequences", "acknowledgedMessageIds"] {
        assert_eq!(first[field], again[field]);
    }
    // From another connection and after a restart too: there is no window of time (I3).
    let relay = relay.kill_and_restart().await;
    let mut sender = relay.connect().await;
    assert_eq!(sender.update(SESSION, "device-a", messages).await["acknowledgedSequences"], first["acknowledgedSequences"]);
    assert_eq!(sender.log(SESSION, 0).await.len(), 2);
    let mut texts = Vec::new();
    while let Some(frame) = listener.next().await {
        if kind(&frame) == "chat" {
            texts.push(frame["message"].clone());
        }
    }
    assert_eq!(texts, ["one", "two"], "a repeat is not forwarded again");
}

#[tokio::test]
async fn a_repeated_update_without_ids_is_stored_once_i3() {
    let relay = RelayProcess::start().await;
    let mut sender = relay.device(SESSION, "device-a").await;
    let mut message = unsent(SESSION, "device-a", 1, "one");
    message["message"].as_object_mut().unwrap().remove("id");
    let first = sender.update(SESSION, "device-a", json!([message])).await;
    let again = sender.update(SESSION, "device-a", json!([message])).await;
    assert_eq!(first["acknowledgedSequences"], again["acknowledgedSequences"]);
    assert_eq!(sender.log(SESSION, 0).await.len(), 1);
}

#[tokio::test]
async fn a_request_is_answered_with_missing_entries_and_a_status() {
    let relay = RelayProcess::start().await;
    let mut sender = relay.device(SESSION, "device-a").await;
    for start in [1, 101, 201] {
        let messages: Vec<_> = (start..start + 100).map(|count| unsent(SESSION, "device-a", count, &format!("text {count}"))).collect();
        sender.update(SESSION, "device-a", json!(messages)).await;
    }
    let mut reader = relay.device(SESSION, "device-b").await;
    reader.send(frame("sync_request", SESSION, "device-b", json!({"lastSyncedSequence": 297, "syncVector": {"device-a": 297}}))).await;
    let response = reader.expect("sync_response").await;
    assert_eq!(response["deviceId"], "server");
    assert_eq!(response["latestSequence"], 300);
    assert_eq!(response["serverVectorClock"]["device-a"], 300);
    let entries = response["messages"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0]["sequenceNumber"], 298);
    assert_eq!(entries[0]["message"]["ciphertext"], "text 298");
    assert_eq!(entries[0]["message"]["id"], "device-a-298");
    assert_eq!(entries[0]["originalDeviceId"], "device-a");
    assert_eq!(entries[0]["vectorClock"]["device-a"], 298);
    assert!(entries[0]["serverTimestamp"].is_u64());
    let status = reader.expect("sync_status").await;
    assert_eq!(status["status"], "completed");
    assert_eq!((&status["progress"]["messagesSynced"], &status["progress"]["totalMessages"]), (&json!(3), &json!(3)));

    // All of it, in as many batches as it takes (older than what the relay keeps in memory).
    assert_eq!(reader.log(SESSION, 0).await.len(), 300);
    // Nothing is missing: that is an answer too.
    reader.send(frame("sync_request", SESSION, "device-b", json!({"lastSyncedSequence": 300, "syncVector": null}))).await;
    assert_eq!(reader.expect("sync_response").await["messages"], json!([]));
    assert_eq!(reader.expect("sync_status").await["status"], "completed");
}

#[tokio::test]
async fn missing_ranges_are_answered_with_exactly_those() {
    let relay = RelayProcess::start().await;
    let mut client = relay.device(SESSION, "device-a").await;
    let messages: Vec<_> = (1..=20).map(|count| unsent(SESSION, "device-a", count, "text")).collect();
    client.update(SESSION, "device-a", json!(messages)).await;
    let ranges = json!([{"start": 3, "end": 5}, {"start": 19, "end": 1_000_000}, {"start": 9, "end": 8}]);
    let fields = json!({"lastSyncedSequence": 20, "syncVector": {}, "missingRanges": ranges});
    client.send(frame("sync_request", SESSION, "device-a", fields)).await;
    let mut sequences = Vec::new();
    loop {
        let frame = client.next().await.unwrap();
        match kind(&frame) {
            "sync_response" => {
                sequences.extend(frame["messages"].as_array().unwrap().iter().map(|entry| entry["sequenceNumber"].as_u64().unwrap()))
            }
            "sync_status" if frame["status"] == "completed" => break,
            _ => {}
        }
    }
    assert_eq!(sequences, [3, 4, 5, 19, 20]);
}

#[tokio::test]
async fn a_read_receipt_reaches_the_others_with_its_reader() {
    let relay = RelayProcess::start().await;
    let mut sender = relay.device(SESSION, "device-a").await;
    let mut reader = relay.device(SESSION, "device-b").await;
    sender.update(SESSION, "device-a", json!([unsent(SESSION, "device-a", 1, "one")])).await;
    reader.expect("chat").await;
    let receipts = json!([{"messageId": "device-a-1", "status": "read", "timestamp": 1_700_000_000_000_u64}]);
    reader.send(frame("read_receipt", SESSION, "device-b", json!({ "receipts": receipts }))).await;
    let told = sender.expect("read_receipt_sync").await;
    assert_eq!(told["deviceId"], "server");
    let receipt = &told["receipts"][0];
    assert_eq!(
        (&receipt["messageId"], &receipt["status"], &receipt["deviceId"]),
        (&json!("device-a-1"), &json!("read"), &json!("device-b"))
    );
    assert!(receipt["readerWallet"].is_string() && !receipt["timestamp"].is_null(), "{receipt}");
    assert!(reader.all(SESSION, "read_receipt_sync").await.is_empty(), "the reader knows");
}

#[tokio::test]
async fn a_heartbeat_is_answered_with_the_sessions_head() {
    let relay = RelayProcess::start().await;
    let mut client = relay.device(SESSION, "device-a").await;
    client.update(SESSION, "device-a", json!([unsent(SESSION, "device-a", 1, "one")])).await;
    client.send(frame("sync_heartbeat", SESSION, "device-a", json!({"sequenceNumber": 1, "vectorClock": {"device-a": 1}}))).await;
    let answer = client.expect("sync_heartbeat").await;
    assert_eq!((&answer["deviceId"], &answer["sequenceNumber"]), (&json!("server"), &json!(1)));
    assert_eq!(answer["vectorClock"]["device-a"], 1);
}

#[tokio::test]
async fn concurrent_messages_are_reported_as_a_conflict() {
    let relay = RelayProcess::start().await;
    let mut first = relay.device(SESSION, "device-a").await;
    let mut second = relay.device(SESSION, "device-b").await;
    first.update(SESSION, "device-a", json!([unsent(SESSION, "device-a", 1, "from a")])).await;
    second.update(SESSION, "device-b", json!([unsent(SESSION, "device-b", 1, "from b")])).await;
    let report = first.expect("sync_conflict").await;
    let conflict = &report["conflicts"][0];
    assert_eq!(conflict["messageId"], "device-b-1");
    let versions = conflict["conflictingVersions"].as_array().unwrap();
    let mut devices: Vec<_> = versions.iter().map(|version| version["deviceId"].as_str().unwrap()).collect();
    devices.sort_unstable();
    assert_eq!(devices, ["device-a", "device-b"], "{conflict}");
    assert!(versions.iter().all(|version| version["message"].is_object() && version["vectorClock"].is_object()));
    assert_eq!(first.log(SESSION, 0).await.len(), 2, "both are kept");
}

#[tokio::test]
async fn half_an_emoji_and_a_broken_message_cost_no_other() {
    let relay = RelayProcess::start().await;
    let mut listener = relay.device(SESSION, "device-b").await;
    let mut sender = relay.device(SESSION, "device-a").await;
    let mut messages = [1, 2, 3, 4].map(|count| unsent(SESSION, "device-a", count, &format!("text {count}")));
    messages[1]["message"]["ciphertext"] = json!("text HALF");
    messages[2]["vectorClock"] = json!({"device-a": -1});
    messages[3]["message"]["timestamp"] = json!(1732.5);
    let update = frame("sync_update", SESSION, "device-a", json!({ "messages": messages })).to_string().replace("HALF", r"\ud83d");
    for _ in 0..2 {
        sender.send_text(&update).await;
        let ack = sender.expect("sync_ack").await;
        assert_eq!(ack["acknowledgedMessageIds"], json!(["device-a-1", "device-a-2", "device-a-4"]), "also when it comes again");
        let error = sender.expect("error").await;
        assert_eq!((&error["code"], &error["refusedMessageId"]), (&json!("INVALID_VECTOR_CLOCK"), &json!("device-a-3")));
    }
    listener.expect("chat").await;
    assert_eq!(listener.expect("chat").await["message"], "text \u{fffd}");
    assert_eq!(listener.expect("chat").await["timestamp"], 1732.5);
    let relay = relay.kill_and_restart().await;
    assert_eq!(relay.device(SESSION, "device-c").await.log(SESSION, 0).await.len(), 3);
}
