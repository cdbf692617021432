//! Values that others rely on: limits as PROTOCOL.md names them, errors by name, times, sizes and sums.

use solconnect_sync_core::entry::{Entry, Extensions};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Encoding, Payload};
use solconnect_sync_core::ids::{check_id, new_device_id, session_of};
use solconnect_sync_core::limits::*;
use solconnect_sync_core::message::{Extra, Kind, Message, Stamp};
use solconnect_sync_core::time::{iso_from_ms, ms_from_iso};
use solconnect_sync_core::vector_clock::VectorClock;

fn clock(text: &str) -> VectorClock {
    text.parse().unwrap()
}

#[test]
fn limits_are_those_of_the_protocol() {
    assert_eq!(INTEGER_MAX, 9_007_199_254_740_991);
    assert_eq!((FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, TEXT_BYTES_MAX), (65_536, 63_488, 8_192));
    assert_eq!((INFLATED_BYTES_MAX, ALSO_MAX, EXTENSIONS_BYTES_MAX, RECENT_ENTRIES_MAX), (262_144, 64, 4_096, 256));
    assert_eq!((BATCH_MESSAGES_MAX, CLOCK_DEVICES_MAX, ID_BYTES_MAX, NAME_BYTES_MAX), (1_000, 2_048, 200, 128));
    assert_eq!((OUTBOX_MESSAGES_MAX, SESSIONS_MAX, RECEIPT_WALLETS_MAX), (10_000, 1_000, 256));
    assert_eq!((SOCKET_QUEUE_BYTES_MAX, SOCKET_QUEUE_BYTES_CUT, SOCKET_STALL_MS_MAX), (65_536, 147_456, 5_000));
    assert_eq!(CONFLICT_TEXT_BYTES_MAX, 8_192);
}

#[test]
fn errors_are_known_by_their_names() {
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::named(code.as_str()), *code);
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
    assert_eq!(ErrorCode::named("OF_THE_FUTURE"), ErrorCode::UnknownError);
    let error = SyncError::new(ErrorCode::CounterGap, "7 does not follow 5");
    assert_eq!(error.to_string(), "COUNTER_GAP: 7 does not follow 5");
    assert!(ErrorCode::RelayBusy.recoverable() && !ErrorCode::MessageTooLarge.recoverable());
}

#[test]
fn times_keep_the_form_in_which_they_came() {
    let text = "2004-12-25T09:14:00.123Z";
    assert_eq!(Stamp::from(text.to_owned()), Stamp::Iso(1_103_966_040_123));
    for other in ["2004-12-25T09:14:00Z", "2004-12-25T10:14:00.123+01:00", "2016-12-31T23:59:60Z", "yesterday", ""] {
        let stamp = Stamp::from(other.to_owned());
        assert_eq!((&stamp, serde_json::to_value(&stamp).unwrap()), (&Stamp::Text(other.to_owned()), other.into()));
    }
    assert_eq!(Stamp::from("2004-12-25T09:14:00Z".to_owned()).ms(), 1_103_966_040_000);
    assert_eq!(Stamp::from("yesterday".to_owned()).ms(), 0);
    assert_eq!((Stamp::Millis(5).ms(), Stamp::Iso(6).ms(), Stamp::default()), (5, 6, Stamp::Millis(0)));
    assert_eq!((Stamp::Number(1732.5).ms(), Stamp::Number(-5.0).ms(), Stamp::Number(1e300).ms()), (1732, 0, INTEGER_MAX));
    assert_eq!(serde_json::to_value(Stamp::Iso(1_103_966_040_123)).unwrap(), text);
    for number in ["5", "1732.5", "-5", "-0.25", "18446744073709551615", "1e300", "-9007199254740993"] {
        let stamp: Stamp = serde_json::from_str(number).unwrap();
        let again: serde_json::Value = serde_json::from_str(&serde_json::to_string(&stamp).unwrap()).unwrap();
        assert_eq!(again.as_f64(), number.parse().ok(), "{number}");
    }
    for number in ["5", "1732.5", "-5", "18446744073709551615"] {
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Stamp>(number).unwrap()).unwrap(), number, "to the letter");
    }
    for same in ["1732.0", "1732"] {
        assert_eq!(serde_json::from_str::<Stamp>(same).unwrap(), Stamp::Millis(1732));
    }
    for nothing in ["null", "true", "[1]", r#"{"seconds":5}"#] {
        assert_eq!(serde_json::from_str::<Stamp>(nothing).unwrap(), Stamp::default(), "{nothing}");
    }
    assert_eq!((Stamp::from(f64::INFINITY), Stamp::from(f64::NAN)), (Stamp::default(), Stamp::default()));
    assert_eq!(iso_from_ms(253_402_300_799_998), "9999-12-31T23:59:59.998Z");
    assert_eq!(ms_from_iso("1969-12-31T23:59:59Z"), None);
}

#[test]
fn a_time_is_shown_as_iso_8601_whatever_was_written() {
    const SERVER_MS: u64 = 1_700_000_000_000;
    let readable = [
        (Stamp::Iso(1_103_966_040_123), 1_103_966_040_123),
        (Stamp::Millis(0), 0),
        (Stamp::Number(1732.5), 1732),
        (Stamp::Text("2004-12-25T09:14:00Z".into()), 1_103_966_040_000),
        (Stamp::Text("2004-12-25T10:14:00+01:00".into()), 1_103_966_040_000),
        (Stamp::Millis(253_402_300_799_999), 253_402_300_799_999),
    ];
    for (stamp, ms) in readable {
        assert_eq!(stamp.to_iso(SERVER_MS), iso_from_ms(ms), "{stamp:?}");
    }
    let unreadable = ["", "yesterday", "0", "2004-12-25", "1969-12-31T23:59:59Z", "2004-13-25T09:14:00Z", "2004-12-25T09:14:61Z"];
    let numbers = [Stamp::Number(-5.0), Stamp::Number(1e300), Stamp::Millis(253_402_300_800_000), Stamp::Iso(u64::MAX)];
    for stamp in unreadable.map(|text| Stamp::Text(text.into())).into_iter().chain(numbers) {
        assert_eq!(stamp.to_iso(SERVER_MS), iso_from_ms(SERVER_MS), "{stamp:?}");
    }
    let leap = Stamp::Text("2016-12-31T23:59:60Z".into()).to_iso(SERVER_MS);
    assert!(leap.starts_with("2016-12-31T23:59:59") || leap == "2017-01-01T00:00:00.000Z", "{leap}");
}

#[test]
fn a_message_is_measured_by_its_size_in_json() {
    let empty = Entry { sequence_number: 1, ..Entry::default() };
    let grown = |change: fn(&mut Entry)| {
        let mut entry = empty.clone();
        change(&mut entry);
        entry.json_bytes_max() - empty.json_bytes_max()
    };
    assert_eq!(grown(|entry| entry.message.ciphertext = "abc".into()), 3);
    assert_eq!(grown(|entry| entry.message.ciphertext = "\"\\\n\r\t\u{8}\u{c}".into()), 14);
    assert_eq!(grown(|entry| entry.message.ciphertext = "\0\u{1f}\u{b}".into()), 18);
    assert_eq!(grown(|entry| entry.message.ciphertext = "\u{7f} é".into()), 4);
    assert_eq!(grown(|entry| entry.message.content_type = Some("a/b".into())), 5);
    assert_eq!(grown(|entry| entry.message.replaces = Some("m".into())), 3);
    assert_eq!(grown(|entry| entry.message.timestamp = Stamp::Text("now".into())), 5);
    assert_eq!(grown(|entry| entry.message.timestamp = Stamp::Iso(5)), 0);
    assert_eq!(grown(|entry| entry.message.extra = Extra::from(r#"{"a":1}"#)), 7);
    assert_eq!(grown(|entry| entry.also = r#"{"a":1,"bb":2}"#.parse().unwrap()), 2 * 22 + 3);
    assert_eq!(grown(|entry| entry.extensions = Extensions::from(&[1; 4][..])), 8);
    let mut entry = empty.clone();
    entry.message.ciphertext = "x".repeat(TEXT_BYTES_MAX);
    entry.message.id = "m".repeat(ID_BYTES_MAX);
    (entry.device_id, entry.counter) = ("d".into(), INTEGER_MAX);
    (0..ALSO_MAX).for_each(|number| entry.also.raise(&format!("{number}"), INTEGER_MAX).unwrap());
    entry.extensions = Extensions::from(&[0xff; EXTENSIONS_BYTES_MAX][..]);
    assert!(entry.json_bytes_max() >= serde_json::to_string(&entry).unwrap().len(), "never less than it is");
    assert!(entry.check().is_ok());
    entry.message.extra = Extra::from(format!(r#"{{"a":"{}"}}"#, "x".repeat(MESSAGE_BYTES_MAX - entry.json_bytes_max() - 8)).as_str());
    assert_eq!(entry.json_bytes_max(), MESSAGE_BYTES_MAX);
    assert!(entry.check().is_ok());
    entry.message.id.push('m');
    assert_eq!(entry.check().unwrap_err().code, ErrorCode::MessageTooLarge);
}

#[test]
fn a_message_beyond_its_limits_is_refused() {
    let check = |change: fn(&mut Message)| {
        let mut message = Message::default();
        change(&mut message);
        message.check().map_err(|error| error.code)
    };
    assert_eq!(check(|message| message.ciphertext = "x".repeat(TEXT_BYTES_MAX)), Ok(()));
    assert_eq!(check(|message| message.ciphertext = "x".repeat(TEXT_BYTES_MAX + 1)), Err(ErrorCode::MessageTooLarge));
    assert_eq!(check(|message| message.content_type = Some("x".repeat(NAME_BYTES_MAX))), Ok(()));
    assert_eq!(check(|message| message.content_type = Some("x".repeat(NAME_BYTES_MAX + 1))), Err(ErrorCode::InvalidMessageFormat));
    assert_eq!(check(|message| message.replaces = Some(String::new())), Err(ErrorCode::InvalidMessageFormat));
    assert_eq!(check(|message| message.sender_wallet = "w".repeat(ID_BYTES_MAX + 1)), Err(ErrorCode::InvalidMessageFormat));
    assert!(check_id("id", &"x".repeat(ID_BYTES_MAX)).is_ok());
    assert!(check_id("id", "").is_err() && check_id("id", &"x".repeat(ID_BYTES_MAX + 1)).is_err());
}

#[test]
fn a_name_is_known_again_by_what_was_said_under_it() {
    let message = Message { id: "m".into(), sender_wallet: "w".into(), ciphertext: "x".into(), ..Message::default() };
    let entry = |message: &Message| Entry { message: message.clone(), device_id: "d".into(), counter: 1, ..Entry::default() };
    let changes: [fn(&mut Message); 4] = [
        |message| message.ciphertext = "y".into(),
        |message| message.content_type = Some("text/x".into()),
        |message| message.replaces = Some("o".into()),
        |message| message.kind = Kind::VOID,
    ];
    for change in changes {
        let mut changed = message.clone();
        change(&mut changed);
        assert_ne!(changed.fingerprint(), message.fingerprint());
        assert!(!entry(&changed).says_the_same(&entry(&message)) && !entry(&changed).is_repeat_of(&entry(&message)));
    }
    // Where one text ends and the next begins is part of what is said.
    let of = |replaces: &str, text: &str| Message { replaces: Some(replaces.into()), ciphertext: text.into(), ..Message::default() };
    assert_ne!(of("ab", "c").fingerprint(), of("a", "bc").fingerprint());
    // Queued again, or by another device of the wallet.
    let again = Message { timestamp: Stamp::Millis(7), extra: Extra::from(r#"{"a":1}"#), ..message.clone() };
    assert_eq!((again.fingerprint(), again.fingerprint().len()), (message.fingerprint(), 16));
    assert!(entry(&again).says_the_same(&Entry { device_id: "e".into(), counter: 9, knows: 3, ..entry(&message) }));
    assert!(!entry(&again).is_repeat_of(&entry(&message)));
    let named: [fn(&mut Message); 2] = [|message| message.id = "n".into(), |message| message.sender_wallet = "v".into()];
    for change in named {
        let mut changed = message.clone();
        change(&mut changed);
        assert!(!entry(&changed).says_the_same(&entry(&message)));
    }
}

#[test]
fn kinds_are_numbers_that_stay_as_they_are() {
    assert_eq!([Kind::MESSAGE, Kind::EDIT, Kind::DELETION, Kind::VOID].map(|kind| kind.0), [0, 1, 2, 4]);
    assert_eq!([0, 1, 2, 3, 4, 5].map(|kind| Kind(kind).is_version()), [false, true, true, false, false, false]);
    let written = |kind: u32| serde_json::to_value(Message { kind: Kind(kind), ..Message::default() }).unwrap().get("kind").cloned();
    assert_eq!((written(0), written(4), written(77)), (None, Some(4.into()), Some(77.into())));
    assert_eq!(serde_json::from_str::<Message>(r#"{"kind":null}"#).unwrap().kind, Kind::MESSAGE);
}

#[test]
fn unknown_fields_form_an_object_or_nothing() {
    assert!(Extra::from("").is_empty() && !Extra::from("{}").is_empty());
    assert_eq!(serde_json::from_str::<Extra>("{}").unwrap(), Extra::default());
    let extra: Extra = serde_json::from_str(r#"{"a":1}"#).unwrap();
    assert_eq!((extra.as_str(), serde_json::to_string(&extra).unwrap().as_str()), (r#"{"a":1}"#, r#"{"a":1}"#));
    assert_eq!(serde_json::to_string(&Extra::from("not JSON")).unwrap(), "{}");
    // As the SDK imports it.
    assert_eq!(serde_json::to_string(&Extra::from(r#"{"a":"\ud83d"}"#)).unwrap(), "{\"a\":\"\u{fffd}\"}");
    let extra = Extra::from(r#"{"id":"other","ciphertext":"other","__proto__":1}"#);
    let message = Message { id: "m".into(), ciphertext: "x".into(), extra, ..Message::default() };
    let json = serde_json::to_string(&message).unwrap();
    assert!(json.contains(r#""__proto__":1"#) && !json.contains("other"), "a field that we know is not written twice: {json}");
}

#[test]
fn clocks_count_no_further_than_javascript() {
    let mut clock = clock(r#"{"a":9007199254740990}"#);
    assert_eq!(clock.tick("a").unwrap(), INTEGER_MAX);
    assert_eq!(clock.tick("a").unwrap_err().code, ErrorCode::InvalidVectorClock);
    assert!(clock.raise("b", INTEGER_MAX).is_ok() && clock.raise("b", INTEGER_MAX + 1).is_err());
    assert_eq!(clock.sum(), INTEGER_MAX, "sums stay where they can be counted");
    clock.raise("c", 0).unwrap();
    assert_eq!(clock.len(), 2, "nothing known is nothing named");
    clock.raise("b", 1).unwrap();
    assert_eq!((clock.get("b"), clock.get("c"), clock.is_empty()), (INTEGER_MAX, 0, false));
    assert_eq!(self::clock(r#"{"a":2,"b":3}"#).sum(), 5);
    assert!(VectorClock::new().is_empty());
    for bad in [format!(r#"{{"{}":1}}"#, "x".repeat(ID_BYTES_MAX + 1)), r#"{"":1}"#.into(), "3".into()] {
        assert!(bad.parse::<VectorClock>().is_err(), "{bad}");
    }
    assert!(format!(r#"{{"{}":1}}"#, "x".repeat(ID_BYTES_MAX)).parse::<VectorClock>().is_ok());
    let message = "[]".parse::<VectorClock>().unwrap_err().into_message();
    assert!(message.contains("a vector clock"), "{message}");
}

#[test]
fn device_ids_are_random_and_payloads_have_a_length() {
    let mut random = fastrand::Rng::with_seed(1);
    let (one, other) = (new_device_id(&mut random), new_device_id(&mut random));
    assert!(one != other && one.len() >= 12, "{one} {other}");
    assert_eq!((Payload::Text("abc".into()).len(), Payload::Binary([1, 2][..].into()).len()), (3, 2));
    assert!(Payload::Text("".into()).is_empty() && !Payload::Binary([0][..].into()).is_empty());
    assert_eq!(Encoding::Json.subprotocol(), "solconnect.sync.v1.json");
    assert_eq!(Encoding::Binary.subprotocol(), "solconnect.sync.v1");
}

#[test]
fn a_session_has_the_name_that_the_protocol_gives_it() {
    let wallets = ["So11111111111111111111111111111111111111112", "11111111111111111111111111111111"];
    assert_eq!(session_of(wallets[0], wallets[1]), "367e38c3-2210-8af0-ba26-d5a1d7ea2ff1");
    assert_eq!(session_of("alice", "bob"), "e64a98d5-4b2a-837c-937c-fc400783ef34");
}
