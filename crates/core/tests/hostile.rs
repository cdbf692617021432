//! What one member sends must not keep the others from reading what the relay passes on.

use serde_json::json;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Encoding, Frame, Payload};
use solconnect_sync_core::limits::FRAME_BYTES_MAX;
use solconnect_sync_core::relay::{Action, Input, JournalAnswer, JournalQuestion, Relay, StoredSession};
use solconnect_sync_core::time::Now;

/// A relay with a device of our rules on connection 1, in binary, and a member in JSON on connection 2.
struct Two {
    relay: Relay,
}

impl Two {
    fn new() -> Two {
        let mut two = Two { relay: Relay::new() };
        two.handle(Input::Opened { connection: 1, encoding: Encoding::Binary, source: None });
        two.handle(Input::Opened { connection: 2, encoding: Encoding::Json, source: None });
        let announce = json!({ "type": "device_announce", "sessionId": "s", "deviceId": "d", "protocolVersion": 1, "wallet": "w" });
        let frame = Frame::parse(&announce.to_string()).unwrap().to_bytes().unwrap();
        two.handle(Input::Received { connection: 1, payload: Payload::Binary(frame.into()) });
        two.says(json!({ "type": "device_announce", "sessionId": "s", "deviceId": "h" }));
        two
    }

    /// Handles an input and what the journal answers to it; returns what connection 1 is sent.
    fn handle(&mut self, input: Input) -> Vec<Frame> {
        let now = Now { monotonic_ms: 1, wall_ms: 1_700_000_000_000 };
        let mut told = Vec::new();
        for action in self.relay.handle(now, input) {
            match action {
                Action::Transmit { connection: 1, payload: Payload::Binary(bytes) } => {
                    assert!(bytes.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", bytes.len());
                    let frame = Frame::from_bytes(&bytes).expect("a device can read what the relay sends");
                    if let Body::SyncResponse(response) = &frame.body {
                        response.messages.entries().expect("and every batch");
                    }
                    told.push(frame);
                }
                Action::Journal { ticket, question } => {
                    let answer = match question {
                        JournalQuestion::Load { .. } => JournalAnswer::Session(StoredSession::default()),
                        JournalQuestion::Append { .. } => JournalAnswer::Appended,
                        JournalQuestion::Note { .. } => continue,
                        _ => JournalAnswer::Entries(Vec::new()),
                    };
                    told.extend(self.handle(Input::Journal { ticket, answer }));
                }
                _ => {}
            }
        }
        told
    }

    fn says(&mut self, frame: serde_json::Value) -> Vec<Frame> {
        self.handle(Input::Received { connection: 2, payload: Payload::Text(frame.to_string().into()) })
    }
}

#[test]
fn numbers_that_devices_cannot_read_do_not_reach_them() {
    let huge = u64::MAX;
    let frames = [
        json!({ "type": "device_announce", "sessionId": "s", "deviceId": "h", "syncState": { "lastSyncedSequence": huge } }),
        json!({ "type": "sync_heartbeat", "sessionId": "s", "deviceId": "h", "sequenceNumber": huge }),
        json!({ "type": "read_receipt", "sessionId": "s", "deviceId": "h",
            "receipts": [{ "messageId": "m", "status": "read", "sequenceNumber": huge }] }),
        json!({ "type": "read_receipt", "sessionId": "s", "deviceId": "h", "receipts": [{ "messageId": "m", "status": "read", "timestamp": huge }] }),
    ];
    let mut two = Two::new();
    for frame in frames {
        Frame::parse(&frame.to_string()).unwrap();
        // They only inform, so nobody is refused for them. What is told of them is read here in its binary form.
        two.says(frame);
    }
    let named = json!({ "type": "device_announce", "sessionId": "s", "deviceId": "h", "wallet": "w".repeat(201) });
    assert_eq!(Frame::parse(&named.to_string()).unwrap_err().code, ErrorCode::InvalidMessageFormat);
    assert_eq!(two.says(named), []);
    // The log is as it was.
    let joined = json!({ "type": "sync_request", "sessionId": "s", "deviceId": "d", "protocolVersion": 1, "wallet": "w" });
    let request = Frame::parse(&joined.to_string()).unwrap().to_bytes().unwrap();
    let told = two.handle(Input::Received { connection: 1, payload: Payload::Binary(request.into()) });
    assert!(matches!(&told[..], [Frame { body: Body::SyncResponse(response), .. }] if response.latest_sequence == 0));
}

#[test]
fn a_receipt_names_the_message_that_stands_at_its_place() {
    // Otherwise an old message, which was read long ago, would go back to `delivered` (I15).
    let mut two = Two::new();
    for text in ["first", "second"] {
        two.says(json!({ "type": "sync_update", "sessionId": "s", "deviceId": "h",
            "messages": [{ "message": { "id": text, "ciphertext": text, "sender_wallet": "w" } }] }));
    }
    let mut receipt = |id: &str, sequence: u64| {
        let told = two.says(json!({ "type": "read_receipt", "sessionId": "s", "deviceId": "h",
            "receipts": [{ "messageId": id, "status": "delivered", "sequenceNumber": sequence }] }));
        let [Frame { body: Body::ReadReceiptSync(sync), .. }] = &told[..] else { panic!("{told:?}") };
        sync.receipts[0].message_id.clone()
    };
    assert_eq!(receipt("first", 2), "second");
    assert_eq!(receipt("first", 9), "second", "a place beyond the log is its end");
}

#[test]
fn many_receipts_at_once_are_told_in_frames_that_fit() {
    let mut two = Two::new();
    let receipts: Vec<_> = (0..1_000).map(|number| json!({ "messageId": format!("m{number}"), "status": "read" })).collect();
    let told = two.says(json!({ "type": "read_receipt", "sessionId": "s", "deviceId": "h", "receipts": receipts }));
    let count: usize = told.iter().map(|frame| if let Body::ReadReceiptSync(sync) = &frame.body { sync.receipts.len() } else { 0 }).sum();
    assert_eq!(count, 1_000);
}
