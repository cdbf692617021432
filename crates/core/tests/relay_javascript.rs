//! A device may hear frames by way of JavaScript, which writes some numbers otherwise: its log has the relay's hash all the
//! same.

use crate::rooms::{ROOM, Rooms, WALLETS, announce, chat, id_of, seed, the_error, v1};
use proptest::prelude::*;
use serde_json::{Value, json};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Entry, first_digest};
use solconnect_sync_core::frame::{Body, Frame, Head, Payload, SyncUpdate};
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::{Message, Stamp};
use solconnect_sync_core::relay::Input;

/// JSON texts, each with what Node.js writes of it.
const BY_NODE: &str = include_str!("javascript.txt");

/// `JSON.stringify(JSON.parse(json))`, but for the order of keys, which no reader of ours keeps.
fn by_javascript(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64().unwrap() {
            0.0 => json!(0),
            real if real.fract() == 0.0 && real.abs() < 1e21 => serde_json::from_str(&real.to_string()).unwrap(),
            real => json!(real),
        },
        Value::Array(items) => items.iter().map(by_javascript).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), by_javascript(value))).collect(),
        other => other.clone(),
    }
}

/// Whether a device that asks for all by way of JavaScript has the relay's hash.
fn agrees(rooms: &mut Rooms) -> bool {
    rooms.open(2);
    rooms.say(2, &announce("reader", WALLETS[0]));
    rooms.say(2, &v1("reader", "sync_request", json!({ "lastSyncedSequence": 0 })));
    let heard = by_javascript(&rooms.hear_only(2, "sync_response").remove(0));
    let Body::SyncResponse(response) = Frame::parse(&heard.to_string()).unwrap().body else { panic!("{heard}") };
    let mut log = Log::new(ROOM);
    assert_eq!(log.accept(response.messages.entries().unwrap(), |_, _| Ok(())).unwrap().len(), 1);
    log.compare(response.log).is_ok()
}

/// Both frames of a seed client that bring this field in a message.
fn writes(name: &str, value: &Value) -> [Value; 2] {
    let mut live = chat(WALLETS[1], "hi");
    live[name] = value.clone();
    let mut message = json!({ "sender_wallet": WALLETS[1], "ciphertext": "hi" });
    message[name] = value.clone();
    [live, seed("s", "sync_update", json!({ "messages": [{ "message": message, "sequenceNumber": 1 }] }))]
}

#[test]
fn fields_of_seed_clients_are_stored_as_node_writes_them() {
    for line in BY_NODE.lines().filter(|line| !line.starts_with('#')) {
        let (said, written) = line.split_once('\t').unwrap();
        let said: Value = serde_json::from_str(said).unwrap();
        let written: Value = serde_json::from_str(written).unwrap();
        assert_eq!(by_javascript(&said), written, "{line}");
        for frame in writes("x", &said) {
            let mut rooms = Rooms::new();
            rooms.open(1);
            rooms.say(1, &frame);
            let fields: Value = serde_json::from_str(rooms.log()[0].message.extra.as_str()).unwrap();
            assert_eq!(fields, json!({ "x": written }), "{line}");
            assert!(agrees(&mut rooms), "{line}");
        }
        for frame in writes("timestamp", &said) {
            let mut rooms = Rooms::new();
            rooms.open(1);
            rooms.say(1, &frame);
            assert!(agrees(&mut rooms), "{line}");
        }
    }
}

/// A message that device `d` writes in binary: whether hashes agree where it is taken, and why it is not.
fn taken(message: Message) -> Result<bool, String> {
    let mut rooms = Rooms::new();
    rooms.open_binary(1);
    rooms.say(1, &announce("d", WALLETS[1]));
    rooms.hear(1);
    let (id, sender_wallet, session_id) = (id_of("d", 1), WALLETS[1].to_owned(), ROOM.to_owned());
    let message = Message { id: id.clone(), sender_wallet, session_id, ..message };
    let entry = Entry { message, device_id: "d".into(), counter: 1, ..Entry::default() };
    let last_digest = entry.digest(&first_digest(ROOM, "d"));
    let head = Head { session_id: ROOM.into(), device_id: "d".into(), protocol_version: Some(1), ..Head::default() };
    let frame =
        Frame { head, body: Body::SyncUpdate(SyncUpdate { messages: Batch::of(&[entry]).unwrap(), last_digest, ..SyncUpdate::default() }) };
    rooms.feed(Input::Received { connection: 1, payload: Payload::Binary(frame.to_bytes().unwrap().into()) });
    if rooms.log().is_empty() {
        let error = the_error(&mut rooms, 1);
        assert_eq!(error["refusedMessageId"], json!(id));
        return Err(error["error"]
            .as_str()
            .unwrap()
            .split_once(" in JSON")
            .map_or_else(|| error["code"].to_string(), |(what, _)| what.into()));
    }
    Ok(agrees(&mut rooms))
}

#[test]
fn what_a_device_writes_must_survive_javascript() {
    let with = |extra: &str| Message { extra: extra.into(), ..Message::default() };
    for extra in [
        "no json",
        "{}",
        "[]",
        "1",
        r#"{"b":1,"a":2}"#,
        r#"{"a": 1}"#,
        r#"{"a":1.0}"#,
        r#"{"a":1e2}"#,
        r#"{"a":9007199254740993}"#,
        r#"{"a":-0}"#,
        r#"{"id":"z"}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"a":"\ud83d"}"#,
        r#"{"a":"\u0061"}"#,
        r#"{"a":1e999}"#,
    ] {
        assert_eq!(taken(with(extra)), Err("the unknown fields change".into()), "{extra}");
    }
    for extra in ["", r#"{"a":2,"b":[1,{"c":0.1,"d":null}]}"#, r#"{"10":1,"9":"é"}"#, r#"{"a":1234567890123456800}"#] {
        assert_eq!(taken(with(extra)), Ok(true), "{extra}");
    }
    let at = |timestamp: Stamp| Message { timestamp, ..Message::default() };
    let iso = "2020-02-20T20:20:20.020Z".to_owned();
    for stamp in
        [Stamp::Text(iso.clone()), Stamp::Iso(1 << 60), Stamp::Millis(u64::MAX), Stamp::Millis((1 << 53) + 1), Stamp::Number(1.5e18)]
    {
        assert_eq!(taken(at(stamp.clone())), Err("timestamp changes".into()), "{stamp:?}");
    }
    for stamp in
        [iso.into(), Stamp::Text("soon".into()), Stamp::Millis(1 << 53), Stamp::Number(-5.0), Stamp::Number(1e21), Stamp::Number(0.5)]
    {
        assert_eq!(taken(at(stamp.clone())), Ok(true), "{stamp:?}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<f64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<u64>().prop_map(|number| json!(number)),
        (-1e22..1e22f64).prop_map(|number| json!(number.trunc())),
        (0i64..100).prop_map(|number| json!(number as f64)),
    ];
    let leaf = prop_oneof![3 => number, 1 => any::<String>().prop_map(Value::String), 1 => any::<bool>().prop_map(Value::Bool), 1 => Just(Value::Null)];
    let key = prop_oneof!["[0-9]{1,3}", "[a-z_]{0,9}", ".{0,3}"];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let object = prop::collection::btree_map(key.clone(), inner.clone(), 0..4);
        prop_oneof![prop::collection::vec(inner, 0..4).prop_map(Value::Array), object.prop_map(|fields| fields.into_iter().collect())]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_a_seed_client_writes_leaves_one_hash(name in prop_oneof!["[a-z0-9]{1,3}", Just("timestamp".to_owned())], value in any_json()) {
        for frame in writes(&name, &value) {
            let mut rooms = Rooms::new();
            rooms.open(1);
            rooms.say(1, &frame);
            prop_assume!(rooms.log().len() == 1);
            prop_assert!(agrees(&mut rooms), "{}", frame);
        }
    }
}

/// In the frame that a device of our rules is sent they lie deeper than in the one that they came in.
#[test]
fn fields_too_deep_for_readers_are_refused() {
    let nested = |levels: usize| serde_json::from_str::<Value>(&format!("{}{}", "[".repeat(levels), "]".repeat(levels))).unwrap();
    let mut rooms = Rooms::new();
    rooms.open(1);
    for (levels, is_taken) in [(60, true), (64, false), (110, false)] {
        let mut frame = chat(WALLETS[1], "hi");
        frame["deep"] = nested(levels);
        let before = rooms.log().len();
        rooms.say(1, &frame);
        assert_eq!(rooms.log().len() > before, is_taken, "{levels}");
        let refused = rooms.hear(1).iter().any(|frame| frame["error"].as_str().is_some_and(|error| error.contains("64 levels")));
        assert_eq!(refused, !is_taken, "{levels}");
    }
}
