use super::*;
use crate::batch::Batch;
use crate::entry::Entry;
use crate::limits::BATCH_MESSAGES_MAX;
use crate::log::LogHead;
use crate::message::Extra;

#[test]
fn the_frames_of_the_seed_are_read() {
    let text = r#"{"type":"device_announce","sessionId":"session-123","deviceId":"device-abc","timestamp":1,"messageId":"m",
            "deviceInfo":{"platform":"web","version":"1.0.0"},"syncState":{"lastSyncedSequence":42,"vectorClock":{"device-abc":42}}}"#;
    let frame = Frame::parse(text).unwrap();
    let Body::DeviceAnnounce(announce) = &frame.body else { panic!("{frame:?}") };
    assert_eq!(announce.sync_state.last_synced_sequence, 42);
    assert_eq!(frame.head.device_id, "device-abc");
    assert_eq!(Frame::parse(&frame.to_json()).unwrap(), frame);
}

#[test]
fn missing_and_null_fields_are_read_as_nothing() {
    let frame = Frame::parse(
        r#"{"type":"sync_update","sessionId":"s","deviceId":"d","messages":[{"message":{"ciphertext":"x","id":null},"vectorClock":null}]}"#,
    )
    .unwrap();
    let Body::SeedUpdate(update) = frame.body else { panic!() };
    assert_eq!(update.messages[0].message.ciphertext, "x");
    assert_eq!(update.messages[0].message.id, "");
    Frame::parse(r#"{"type":"device_announce","sessionId":"s","deviceId":"d","deviceInfo":null,"syncState":null}"#).unwrap();
}

#[test]
fn a_chat_frame_keeps_unknown_fields() {
    let text = r#"{"roomId":"r","message":"hi","sender":"w","timestamp":5,"nonce":"abc"}"#;
    let Body::Chat(chat) = Frame::parse(text).unwrap().body else { panic!() };
    assert_eq!(chat.extra.as_str(), r#"{"nonce":"abc"}"#);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&Frame::parse(text).unwrap().to_json()).unwrap(),
        serde_json::from_str::<serde_json::Value>(text).unwrap()
    );
}

#[test]
fn a_chat_frames_session_is_its_roomid_or_sessionid() {
    for names in [r#""roomId":"r""#, r#""sessionId":"r""#, r#""roomId":"r","sessionId":"s""#] {
        let head = Frame::parse(&format!(r#"{{{names},"message":"hi","timestamp":5}}"#)).unwrap().head;
        assert_eq!((head.session_id.as_str(), head.timestamp), ("r", Stamp::Millis(5)), "{names}");
    }
}

#[test]
fn bad_frames_are_refused_with_a_code() {
    let deep = format!("{}{}", r#"{"roomId":"r","nonce":"#, "[".repeat(200) + &"]".repeat(200) + "}");
    let cases = [
        ("", ErrorCode::InvalidMessageFormat),
        ("null", ErrorCode::InvalidMessageFormat),
        ("[]", ErrorCode::InvalidMessageFormat),
        (deep.as_str(), ErrorCode::InvalidMessageFormat),
        (r#"{"type":"sync_request","missingRanges":[{"start":1.5,"end":2}]}"#, ErrorCode::InvalidMessageFormat),
        (r#"{"type":"sync_update","messages":"all"}"#, ErrorCode::InvalidMessageFormat),
        (r#"{"type":"sync_request","syncVector":{"a":-1}}"#, ErrorCode::InvalidVectorClock),
        (r#"{"type":"sync_request","syncVector":{"a":1.5}}"#, ErrorCode::InvalidVectorClock),
        (r#"{"type":"sync_request","syncVector":{"a":9007199254740993}}"#, ErrorCode::InvalidVectorClock),
        (r#"{"type":"of_the_future"}"#, ErrorCode::UnknownFrame),
    ];
    for (text, code) in cases {
        assert_eq!(Frame::parse(text).unwrap_err().code, code, "{text}");
    }
    let huge = format!(r#"{{"roomId":"r","message":"{}"}}"#, "x".repeat(FRAME_BYTES_MAX));
    assert_eq!(Frame::parse(&huge).unwrap_err().code, ErrorCode::FrameTooLarge);
}

#[test]
fn an_error_of_a_newer_relay_is_still_an_error() {
    let frame = Frame::parse(r#"{"error":"no","code":"OF_THE_FUTURE"}"#).unwrap();
    let Body::Error(error) = frame.body else { panic!() };
    assert_eq!(error.code, ErrorCode::UnknownError);
}

#[test]
fn an_explicit_zero_is_read_like_an_omitted_one() {
    let (without, with) = ([0xa2, 0x01, 0], [0xa2, 0x01, 2, 0x08, 0]);
    assert_eq!(Frame::from_bytes(&with).unwrap(), Frame::from_bytes(&without).unwrap());
}

fn unsent(messages: &str) -> Vec<Unsent> {
    let frame = Frame::parse(&format!(r#"{{"type":"sync_update","sessionId":"s","deviceId":"d","messages":[{messages}]}}"#)).unwrap();
    let Body::SeedUpdate(update) = frame.body else { panic!() };
    update.messages
}

#[test]
fn a_message_that_cannot_be_read_stays_in_its_place() {
    let deep = format!(r#"{{"message":{{"id":"m","nonce":{}{}}}}}"#, "[".repeat(200), "]".repeat(200));
    let broken = [
        (r#"{"message":{"id":"m","ciphertext":7}}"#, "m", ErrorCode::InvalidMessageFormat),
        (r#"{"message":{"id":"m"},"vectorClock":{"d":-1}}"#, "m", ErrorCode::InvalidVectorClock),
        (r#"{"message":{"id":"m"},"sequenceNumber":1.5}"#, "m", ErrorCode::InvalidMessageFormat),
        (r#"{"message":{"id":7}}"#, "", ErrorCode::InvalidMessageFormat),
        (r#"{"sequenceNumber":1}"#, "", ErrorCode::InvalidMessageFormat),
        ("null", "", ErrorCode::InvalidMessageFormat),
        ("[[]]", "", ErrorCode::InvalidMessageFormat),
        (&*deep, "m", ErrorCode::InvalidMessageFormat),
    ];
    for (json, id, code) in broken {
        let messages = unsent(&format!(r#"{{"message":{{"id":"a"}}}},{json},{{"message":{{"id":"b"}}}}"#));
        assert_eq!(messages.iter().map(|unsent| &*unsent.message.id).collect::<Vec<_>>(), ["a", id, "b"], "{json}");
        let codes: Vec<_> = messages.iter().map(|unsent| unsent.unreadable.as_ref().map(|error| error.code)).collect();
        assert_eq!(codes, [None, Some(code), None], "{json}");
        assert!(messages[1].unreadable.as_ref().unwrap().message.contains("message 2 of the update"));
    }
    let long = format!(r#"{{"message":{{"id":"{}","ciphertext":7}}}}"#, "m".repeat(201));
    assert_eq!(unsent(&long)[0].message.id, "", "an answer does not repeat it");
    let many = vec!["7"; BATCH_MESSAGES_MAX + 1].join(",");
    assert!(Frame::parse(&format!(r#"{{"type":"sync_update","messages":[{many}]}}"#)).is_err());
}

#[test]
fn numbers_are_read_in_every_json_form() {
    for three in ["3", "3.0", "\"3\"", "3e0"] {
        assert_eq!(unsent(&format!(r#"{{"message":{{}},"sequenceNumber":{three}}}"#))[0].sequence_number, 3, "{three}");
    }
    let clock = &unsent(r#"{"message":{},"vectorClock":{"a":3.0,"b":null}}"#)[0].vector_clock;
    assert_eq!((clock.get("a"), clock.len()), (3, 1));
    let cursor = |number: &str| {
        let text = format!(r#"{{"type":"sync_request","lastSyncedSequence":{number},"maxBatchSize":{number}}}"#);
        let Body::SyncRequest(request) = Frame::parse(&text).unwrap().body else { panic!() };
        (request.last_synced_sequence, request.max_batch_size)
    };
    assert_eq!([cursor("42"), cursor("42.0"), cursor("\"42\"")], [(42, Some(42)); 3]);
    assert_eq!([cursor("null"), cursor("-1"), cursor("{}"), cursor("\"all\""), cursor("\"NaN\"")], [(0, None); 5]);
    assert_eq!([cursor("42.5"), cursor("1e300")], [(42, None), (INTEGER_MAX, None)]);
}

#[test]
fn a_bad_informational_field_never_refuses_a_frame() {
    let platform = "é".repeat(NAME_BYTES_MAX);
    let text = format!(
        r#"{{"type":"device_announce","sessionId":"s","deviceId":"d","timestamp":-1.5,"messageId":7,
            "deviceInfo":{{"platform":"{platform}","version":1.25,"lastSeenAt":"yesterday"}},"syncState":{{"lastSyncedSequence":-1}}}}"#
    );
    let Frame { head, body: Body::DeviceAnnounce(announce) } = Frame::parse(&text).unwrap() else { panic!() };
    assert_eq!((&*head.message_id, head.timestamp), ("7", Stamp::Number(-1.5)));
    let DeviceInfo { platform, version } = announce.device_info;
    assert_eq!((platform.len(), &*version, announce.sync_state.last_synced_sequence), (NAME_BYTES_MAX, "1.25", 0));
    for timestamp in ["null", "{}", "1e300", "\"yesterday\"", "18446744073709551616", "true"] {
        let text = format!(r#"{{"type":"sync_heartbeat","sessionId":"s","deviceId":"d","timestamp":{timestamp},"sequenceNumber":"x"}}"#);
        let frame = Frame::parse(&text).unwrap();
        assert!(Frame::from_bytes(&frame.to_bytes().unwrap()).is_ok(), "{timestamp}");
        Frame::parse(&format!(r#"{{"roomId":"r","message":"m","timestamp":{timestamp},"sequenceNumber":-1,"serverTimestamp":[]}}"#))
            .unwrap();
    }
}

#[test]
fn an_unreadable_receipt_does_not_cost_the_others() {
    let broken = [r#"{"messageId":7}"#, r#"{"messageId":"b","status":"eaten"}"#, "null"];
    for receipt in broken {
        let text = format!(
            r#"{{"type":"read_receipt","sessionId":"s","deviceId":"d","receipts":[{{"messageId":"a","status":"read","timestamp":1e300}},{receipt},
                {{"messageId":"c","status":null,"timestamp":"soon","sequenceNumber":"x"}}]}}"#
        );
        let Body::ReadReceipt(read_receipt) = Frame::parse(&text).unwrap().body else { panic!() };
        let ids: Vec<_> = read_receipt.receipts.iter().map(|receipt| (&*receipt.message_id, receipt.status)).collect();
        assert_eq!(ids, [("a", ReceiptStatus::Read), ("c", ReceiptStatus::Delivered)], "{receipt}");
        assert!(read_receipt.unreadable.is_some());
    }
}

#[test]
fn half_a_character_is_replaced_wherever_it_stands() {
    let text = r#"{"type":"sync_update","sessionId":"s\ud83d","deviceId":"d\uDE00","messageId":"\ud83d","messages":[
        {"message":{"id":"m\ud83d","ciphertext":"\\ud83d \ud83d\ude00 \uD83D","nonce\ud83d":"\ud83d"},"vectorClock":{"d\ude00":2,"d\ud83d":3}}]}"#;
    let Frame { head, body: Body::SeedUpdate(update) } = Frame::parse(text).unwrap() else { panic!() };
    assert_eq!([&*head.session_id, &*head.device_id, &*head.message_id], ["s\u{fffd}", "d\u{fffd}", "\u{fffd}"]);
    let Unsent { message, vector_clock, .. } = &update.messages[0];
    assert_eq!((&*message.id, &*message.ciphertext), ("m\u{fffd}", "\\ud83d 😀 \u{fffd}"));
    assert_eq!(message.extra.as_str(), "{\"nonce\u{fffd}\":\"\u{fffd}\"}");
    assert_eq!((vector_clock.len(), vector_clock.get("d\u{fffd}")), (1, 3), "two halves of names are one name");
    let Body::Chat(chat) = Frame::parse(r#"{"roomId":"r","message":"half \ud83d","sender":"\ude00","messageId":"\ud83d"}"#).unwrap().body
    else {
        panic!()
    };
    assert_eq!([&*chat.message, &*chat.sender, chat.message_id.as_deref().unwrap()], ["half \u{fffd}", "\u{fffd}", "\u{fffd}"]);
}

#[test]
fn names_of_javascript_builtins_are_ordinary_names() {
    for name in ["__proto__", "constructor", "toString", "hasOwnProperty"] {
        let clock = format!(r#"{{"{name}":1}}"#);
        let text = format!(
            r#"{{"type":"sync_update","sessionId":"{name}","deviceId":"{name}","messages":[
                {{"message":{{"id":"{name}","session_id":"{name}","{name}":{{"{name}":1}}}},"sequenceNumber":1,"vectorClock":{clock}}}]}}"#
        );
        let frame = Frame::parse(&text).unwrap();
        let Body::SeedUpdate(update) = &frame.body else { panic!() };
        assert_eq!((frame.head.device_id.as_str(), update.messages[0].vector_clock.get(name)), (name, 1));
        assert_eq!(Frame::parse(&frame.to_json()).unwrap(), frame);
        let entry = Entry { message: update.messages[0].message.clone(), device_id: name.into(), counter: 1, ..Entry::default() };
        let body = Body::SyncUpdate(SyncUpdate { messages: Batch::of(&[entry]).unwrap(), last_digest: [1; 32], ..SyncUpdate::default() });
        let frame = Frame { head: Head { protocol_version: Some(PROTOCOL_VERSION), ..frame.head.clone() }, body };
        assert_eq!(Frame::from_bytes(&frame.to_bytes().unwrap()).unwrap().body, frame.body);
        assert_eq!(Frame::parse(&frame.to_json()).unwrap(), frame);
    }
}

/// What is ours says so: seed clients name no version, and only what is sent to them has clocks.
#[test]
fn frames_of_seed_clients_are_told_apart_from_ours() {
    let update = |version: &str| {
        let text =
            format!(r#"{{"type":"sync_update","sessionId":"s","deviceId":"d",{version}"messages":[],"lastDigest":"{}"}}"#, "0".repeat(64));
        Frame::parse(&text).unwrap().body
    };
    assert_eq!(update(""), Body::SeedUpdate(SeedUpdate::default()));
    assert_eq!(update(r#""protocolVersion":1,"#), Body::SyncUpdate(SyncUpdate::default()));
    let response = |clock: &str| Frame::parse(&format!(r#"{{"type":"sync_response","sessionId":"s",{clock}"messages":[]}}"#)).unwrap().body;
    assert_eq!(response(r#""serverVectorClock":{},"#), Body::SeedResponse(SeedResponse::default()));
    assert_eq!(response(""), Body::SyncResponse(SyncResponse::default()));
}

/// The digits of a hash are 64, and nothing stands for another value.
#[test]
fn a_hash_in_json_is_64_hex_digits() {
    let read = |hash: &str| {
        let text = format!(r#"{{"type":"sync_request","sessionId":"s","log":{{"sequence":3,"hash":"{hash}"}}}}"#);
        let Body::SyncRequest(request) = Frame::parse(&text).ok()?.body else { panic!() };
        request.log
    };
    assert_eq!(read(&"0f".repeat(32)), Some(LogHead { sequence: 3, hash: [15; 32] }));
    for other in ["", "0f", &"0f".repeat(31), &"0f".repeat(33), &"+f".repeat(32), &"0g".repeat(32), &"é".repeat(32), &"0f".repeat(32)[1..]]
    {
        assert_eq!(read(other), None, "{other}");
    }
}

#[test]
fn a_chat_frame_drops_extra_fields_with_reserved_names() {
    let extra = Extra::from(r#"{"type":"sync_ack","error":"no","roomId":"other","sender":"other","serverTimestamp":1,"nonce":2}"#);
    let chat = Chat { room_id: Some("r".into()), message: "hi".into(), extra, ..Chat::default() };
    let Body::Chat(read) = Frame::parse(&Frame { head: Head::default(), body: Body::Chat(chat) }.to_json()).unwrap().body else { panic!() };
    assert_eq!((read.room_id.as_deref(), &*read.sender, read.extra.as_str()), (Some("r"), "", r#"{"nonce":2}"#));
}
