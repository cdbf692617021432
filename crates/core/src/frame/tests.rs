use super::*;

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
    let Body::SyncUpdate(update) = frame.body else { panic!() };
    assert_eq!(update.messages[0].message.ciphertext, "x");
    assert_eq!(update.messages[0].message.id, "");
    Frame::parse(r#"{"type":"device_announce","sessionId":"s","deviceId":"d","deviceInfo":null,"syncState":null}"#).unwrap();
}

#[test]
fn a_chat_frame_keeps_what_we_do_not_know() {
    let text = r#"{"roomId":"r","message":"hi","sender":"w","timestamp":5,"nonce":"abc"}"#;
    let Body::Chat(chat) = Frame::parse(text).unwrap().body else { panic!() };
    assert_eq!(chat.extra.as_str(), r#"{"nonce":"abc"}"#);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&Frame::parse(text).unwrap().to_json()).unwrap(),
        serde_json::from_str::<serde_json::Value>(text).unwrap()
    );
}

#[test]
fn a_chat_frame_names_its_session_by_one_name_or_the_other() {
    for names in [r#""roomId":"r""#, r#""sessionId":"r""#, r#""roomId":"r","sessionId":"s""#] {
        let head = Frame::parse(&format!(r#"{{{names},"message":"hi","timestamp":5}}"#)).unwrap().head;
        assert_eq!((head.session_id.as_str(), head.timestamp), ("r", Stamp::Millis(5)), "{names}");
    }
}

#[test]
fn bad_frames_are_refused_with_a_code() {
    let deep = format!("{}{}", r#"{"type":"sync_update","messages":"#, "[".repeat(200) + &"]".repeat(200) + "}");
    let cases = [
        ("", ErrorCode::InvalidMessageFormat),
        ("null", ErrorCode::InvalidMessageFormat),
        ("[]", ErrorCode::InvalidMessageFormat),
        (deep.as_str(), ErrorCode::InvalidMessageFormat),
        (r#"{"type":"sync_request","lastSyncedSequence":"42"}"#, ErrorCode::InvalidMessageFormat),
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
fn a_zero_that_is_written_is_read_as_one_that_is_not() {
    let (without, with) = ([0xa2, 0x01, 0], [0xa2, 0x01, 2, 0x08, 0]);
    assert_eq!(Frame::from_bytes(&with).unwrap(), Frame::from_bytes(&without).unwrap());
}
