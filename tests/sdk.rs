//! The JavaScript surface, in a real browser without a relay.

use js_sys::{Array, Function, JSON, Object, Promise, Reflect, Uint8Array};
use solconnect_sync::connection::{Connection, result_of};
use solconnect_sync::store::Store;
use solconnect_sync::{SolConnectSDK, SyncManager, VectorClock, create_local_wallet, session_id_of, set_frame_codec_loader};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Commit, DeviceRecord, LogRecord, SessionRecord, Write};
use solconnect_sync_core::frame::Frame;
use solconnect_sync_core::ids::{message_id, public_key};
use solconnect_sync_core::message::{Entry, Message, Stamp};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{IdbFactory, IdbRequest};

wasm_bindgen_test_configure!(run_in_browser);

const PEER: &str = "So11111111111111111111111111111111111111112";

fn js(json: &str) -> JsValue {
    JSON::parse(json).unwrap()
}

fn get(value: &JsValue, path: &str) -> JsValue {
    path.split('.').fold(value.clone(), |value, name| Reflect::get(&value, &name.into()).unwrap())
}

fn text(value: &JsValue, path: &str) -> String {
    get(value, path).as_string().unwrap_or_else(|| panic!("no text at {path} of {:?}", JSON::stringify(value)))
}

async fn delete(database: &str) {
    let factory: IdbFactory = get(&js_sys::global(), "indexedDB").unchecked_into();
    result_of(factory.delete_database(database).map(IdbRequest::from)).await.unwrap();
}

/// A `Result`, of a method or of its promise.
trait Answer {
    fn answer(self) -> JsValue;
}

impl Answer for JsValue {
    fn answer(self) -> JsValue {
        self
    }
}

impl Answer for Result<JsValue, JsValue> {
    fn answer(self) -> JsValue {
        self.expect("methods of the SDK never reject")
    }
}

fn data(result: impl Answer) -> JsValue {
    let result = result.answer();
    assert!(get(&result, "success").is_truthy(), "{:?}", JSON::stringify(&result));
    get(&result, "data")
}

fn code(result: impl Answer) -> String {
    let result = result.answer();
    assert_eq!(get(&result, "success"), JsValue::FALSE, "{:?}", JSON::stringify(&result));
    for field in ["category", "message", "userMessage"] {
        assert!(!text(&get(&result, "error"), field).is_empty());
    }
    text(&result, "error.code")
}

fn nothing() -> JsValue {
    JsValue::UNDEFINED
}

/// A device that cannot reach any relay.
fn sdk(database: &str) -> SolConnectSDK {
    SolConnectSDK::new(js(&format!(r#"{{"databaseName":"{database}","relayEndpoint":"ws://127.0.0.1:9"}}"#))).unwrap()
}

async fn started(database: &str) -> (SolConnectSDK, JsValue) {
    delete(database).await;
    let sdk = sdk(database);
    data(sdk.initialize().await);
    data(sdk.set_offline(true));
    data(sdk.connect_wallet(nothing()).await);
    let session = data(sdk.start_session(js(&format!(r#"{{"peerWallet":"{PEER}"}}"#))).await);
    (sdk, get(&session, "session_id"))
}

fn thrown_code<T>(outcome: Result<T, JsValue>) -> String {
    let Err(error) = outcome else { panic!("it did not throw") };
    assert!(error.has_type::<js_sys::Error>());
    text(&error, "code")
}

#[wasm_bindgen_test]
async fn calls_before_initialize_say_so() {
    let sdk = sdk("sdk-early");
    assert_eq!(code(sdk.connect_wallet(nothing()).await), "SDK_NOT_INITIALIZED");
    assert_eq!(code(sdk.send_message("s".into(), "x".into(), nothing()).await), "SDK_NOT_INITIALIZED");
    assert_eq!(code(sdk.sync_messages(nothing()).await), "SDK_NOT_INITIALIZED");
    assert_eq!(code(sdk.get_sync_status()), "SDK_NOT_INITIALIZED");
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn wrong_arguments_have_codes() {
    let (sdk, session) = started("sdk-arguments").await;
    let short = js(r#"{"peerWallet":"peer123"}"#);
    assert_eq!(code(sdk.start_session(short).await), "INVALID_WALLET_ADDRESS");
    assert_eq!(code(sdk.start_session(nothing()).await), "INVALID_ARGUMENT");
    assert_eq!(code(sdk.send_message("nowhere".into(), "x".into(), nothing()).await), "UNKNOWN_SESSION");
    assert_eq!(code(sdk.send_message(session.clone(), 7.into(), nothing()).await), "INVALID_ARGUMENT");
    assert_eq!(code(sdk.send_message(session.clone(), "x".repeat(8 * 1024 + 1).into(), nothing()).await), "MESSAGE_TOO_LARGE");
    assert_eq!(code(sdk.enable_auto_sync(session.clone(), 0.into()).await), "INVALID_ARGUMENT");
    assert_eq!(code(sdk.enable_auto_sync(session.clone(), (-1).into()).await), "INVALID_ARGUMENT");
    assert_eq!(code(sdk.get_message_status("nothing".into()).await), "UNKNOWN_MESSAGE");
    assert_eq!(code(sdk.edit_message(session.clone(), "nothing".into(), "x".into()).await), "UNKNOWN_MESSAGE");
    assert_eq!(code(sdk.get_devices("nowhere".into())), "UNKNOWN_SESSION");
    assert_eq!(code(sdk.import_messages("{}".into()).await), "INVALID_ARGUMENT");
    assert_eq!(code(sdk.connect_wallet(js(r#"{"publicKey":"0OIl"}"#)).await), "INVALID_WALLET_ADDRESS");
    let provider = js("{}");
    Reflect::set(&provider, &"publicKey".into(), &Uint8Array::new_with_length(31)).unwrap();
    assert_eq!(code(sdk.connect_wallet(provider).await), "INVALID_WALLET_ADDRESS");
    assert_eq!(code(sdk.connect_wallet(js("{}")).await), "WALLET_CONNECTION_FAILED");
    data(sdk.disable_auto_sync(session.clone()).await);
    data(sdk.end_session(session).await);
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
fn a_wrong_configuration_throws() {
    let wrong = [
        r#"{"syncIntervalMs":249}"#,
        r#"{"maxBatchSize":1.5}"#,
        r#"{"conflictResolutionStrategy":"coin_toss"}"#,
        r#"{"relayEndpoint":"http://localhost"}"#,
        r#"{"relayEndpoint":"nowhere"}"#,
        r#"{"databaseName":""}"#,
        r#"{"transport":{}}"#,
        "7",
    ];
    for config in wrong {
        assert_eq!(thrown_code(SolConnectSDK::new(js(config))), "INVALID_ARGUMENT", "{config}");
    }
    let lenient = Object::new();
    Reflect::set(&lenient, &"maxRetries".into(), &JsValue::UNDEFINED).unwrap();
    assert!(SolConnectSDK::new(lenient.into()).is_ok(), "undefined is the default");
}

#[wasm_bindgen_test]
async fn what_is_sent_offline_is_queued_and_counted_after_reopening_i2_i13() {
    let database = "sdk-offline";
    let (sdk, session) = started(database).await;
    let counts = Array::new();
    let push = Function::new_with_args("", "return count => this.push(count)").call0(&counts).unwrap();
    sdk.on("onQueueChanged", push.unchecked_ref()).unwrap();
    let receipt = data(sdk.send_message(session.clone(), "first".into(), nothing()).await);
    assert_eq!(text(&receipt, "status"), "queued");
    data(sdk.send_message(session.clone(), "second".into(), js(r#"{"contentType":"text/x"}"#)).await);
    assert_eq!(String::from(counts.to_string()), "1,2");
    assert_eq!(get(&data(sdk.get_sync_status()), "queuedMessageCount"), 2);
    let device = data(sdk.get_device_id());
    data(sdk.cleanup().await);
    assert_eq!(code(sdk.get_device_id()), "SDK_NOT_INITIALIZED");

    data(sdk.initialize().await);
    assert_eq!(data(sdk.get_device_id()), device);
    assert_eq!(get(&data(sdk.get_sync_status()), "queuedMessageCount"), 2);
    let messages = data(sdk.get_stored_messages(session.clone(), nothing(), nothing()).await);
    let texts: Vec<String> = Array::from(&messages).iter().map(|message| text(&message, "text")).collect();
    assert_eq!(texts, ["first", "second"]);
    let id = get(&receipt, "messageId");
    assert_eq!(data(sdk.get_message_status(id.clone()).await), "queued");
    data(sdk.connect_wallet(nothing()).await);
    data(sdk.edit_message(session.clone(), id, "first, edited".into()).await);
    let messages = data(sdk.get_stored_messages(session, 2.into(), nothing()).await);
    assert_eq!(text(&messages, "0.text"), "first, edited");
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn a_profile_is_open_in_one_tab_at_a_time_i23() {
    let (first, session) = started("sdk-tabs").await;
    let second = sdk("sdk-tabs");
    assert_eq!(code(second.initialize().await), "PROFILE_IN_USE");
    data(first.send_message(session, "still mine".into(), nothing()).await);
    data(first.cleanup().await);
    data(second.initialize().await);
    assert_eq!(get(&data(second.get_sync_status()), "queuedMessageCount"), 1);
    data(second.cleanup().await);
}

#[wasm_bindgen_test]
async fn initialize_called_twice_opens_once() {
    let sdk = sdk("sdk-twice");
    let both = Promise::all(&Array::of2(&sdk.initialize(), &sdk.initialize())).await.unwrap();
    for result in Array::from(&both).iter() {
        data(result);
    }
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn a_hidden_page_lets_go_and_comes_back_b16() {
    let (sdk, session) = started("sdk-hidden").await;
    let window = js_sys::global().unchecked_into::<web_sys::EventTarget>();
    for event in ["pagehide", "pageshow"] {
        window.dispatch_event(&web_sys::Event::new(event).unwrap()).unwrap();
    }
    data(sdk.send_message(session, "after".into(), nothing()).await);
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn a_handler_that_throws_disturbs_nobody() {
    let (sdk, session) = started("sdk-throwing").await;
    let counts = Array::new();
    let push = Function::new_with_args("", "return count => this.push(count)").call0(&counts).unwrap();
    sdk.on("onQueueChanged", &Function::new_no_args("throw new Error('on purpose')")).unwrap();
    sdk.on("onQueueChanged", push.unchecked_ref()).unwrap();
    data(sdk.send_message(session.clone(), "x".into(), nothing()).await);
    sdk.off("onQueueChanged", push.unchecked_ref());
    data(sdk.send_message(session, "y".into(), nothing()).await);
    assert_eq!(String::from(counts.to_string()), "1");
    assert_eq!(thrown_code(sdk.on("onNothing", &Function::new_no_args(""))), "INVALID_ARGUMENT");
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn stored_messages_come_in_pages_oldest_first() {
    let database = "sdk-pages";
    delete(database).await;
    let wallet = create_local_wallet(database.to_owned()).await.unwrap().public_key();
    let session_id = session_id_of(&wallet, PEER).unwrap();
    seed(database, &wallet, &session_id).await;

    let sdk = sdk(database);
    data(sdk.initialize().await);
    data(sdk.set_offline(true));
    data(sdk.connect_wallet(nothing()).await);
    data(sdk.start_session(js(&format!(r#"{{"peerWallet":"{PEER}"}}"#))).await);
    data(sdk.send_message(session_id.clone().into(), "queued".into(), nothing()).await);
    let page = async |limit: u32, before: JsValue| -> String {
        let messages = data(sdk.get_stored_messages(session_id.clone().into(), limit.into(), before).await);
        let texts: Vec<String> = Array::from(&messages).iter().map(|message| text(&message, "text")).collect();
        texts.join(" ")
    };
    assert_eq!(page(4, nothing()).await, "t8 t9 t10 queued");
    assert_eq!(page(3, 8.into()).await, "t5 t6 t7");
    assert_eq!(page(100, 3.into()).await, "t1 t2");
    assert_eq!(page(1, nothing()).await, "queued");
    assert_eq!(page(0, nothing()).await, "");
    let third = message_id(&session_id, "peer-device", 3);
    assert_eq!(data(sdk.get_message_status(third.clone().into()).await), "sent");
    data(sdk.mark_message_as_read(third.into()).await);

    let export = data(sdk.export_messages().await);
    data(sdk.clear_stored_messages(session_id.clone().into()).await);
    assert_eq!(page(9, nothing()).await, "queued");
    data(sdk.cleanup().await);

    let other = "sdk-pages-imported";
    delete(other).await;
    let sdk = self::sdk(other);
    data(sdk.initialize().await);
    data(sdk.set_offline(true));
    let provider = Object::new();
    Reflect::set(&provider, &"publicKey".into(), &wallet.into()).unwrap();
    assert_eq!(text(&data(sdk.connect_wallet(provider.into()).await), "kind"), "provider");
    assert_eq!(data(sdk.import_messages(export.clone()).await), 10);
    assert_eq!(data(sdk.import_messages(export).await), 0, "again changes nothing");
    data(sdk.cleanup().await);
}

/// Ten messages of the peer in batches of one, two, three and four.
async fn seed(database: &str, wallet: &str, session_id: &str) {
    let store = Store::open(database).await.unwrap();
    store.claim(false).await.unwrap();
    let clock = |counter: u64| format!(r#"{{"peer-device":{counter}}}"#).parse().unwrap();
    let entry = |sequence_number: u64| Entry {
        message: Message {
            id: message_id(session_id, "peer-device", sequence_number),
            sender_wallet: PEER.to_owned(),
            ciphertext: format!("t{sequence_number}"),
            timestamp: Stamp::Iso(sequence_number),
            session_id: session_id.to_owned(),
            ..Message::default()
        },
        sequence_number,
        vector_clock: clock(sequence_number),
        server_timestamp: sequence_number,
        original_device_id: "peer-device".to_owned(),
    };
    let mut writes = vec![
        Write::Device(DeviceRecord { device_id: "own-device".to_owned() }),
        Write::Session(SessionRecord {
            session_id: session_id.to_owned(),
            wallet: wallet.to_owned(),
            peer_wallet: PEER.to_owned(),
            open: true,
            cursor: 10,
            heads: clock(10),
            ..SessionRecord::default()
        }),
    ];
    for (first, last) in [(1u64, 1u64), (2, 3), (4, 6), (7, 10)] {
        let entries: Vec<Entry> = (first..=last).map(entry).collect();
        let batch = Batch::of(&entries).unwrap();
        writes.push(Write::Log(LogRecord { session_id: session_id.to_owned(), first, last, heads_before: clock(first - 1), batch }));
    }
    store.write(&Commit { id: 1, strict: true, writes }).await.unwrap();
}

#[wasm_bindgen_test]
async fn the_local_wallet_signs_and_stays_the_same() {
    let database = "sdk-wallet";
    delete(database).await;
    let wallet = create_local_wallet(database.to_owned()).await.unwrap();
    let message = Uint8Array::from(&b"a message"[..]);
    let signature = wallet.sign_message(message.clone()).await.unwrap();
    let key = Uint8Array::from(&public_key(&wallet.public_key()).unwrap()[..]);
    let verify = Function::new_with_args(
        "key, signature, message",
        "return crypto.subtle.importKey('raw', key, 'Ed25519', false, ['verify']).then(key => crypto.subtle.verify('Ed25519', key, signature, message))",
    );
    let verified: Promise = verify.call3(&JsValue::UNDEFINED, &key, &signature, &message).unwrap().unchecked_into();
    assert_eq!(JsFuture::from(verified).await.unwrap(), JsValue::TRUE);
    let again = create_local_wallet(database.to_owned()).await.unwrap();
    assert_eq!(again.public_key(), wallet.public_key());
    drop(Connection::open(database).await.unwrap());
}

#[wasm_bindgen_test]
async fn an_application_transport_carries_frames_as_objects() {
    let database = "sdk-transport";
    delete(database).await;
    let transport = Function::new_no_args(
        "return { sent: [], sendSyncMessage(frame) { this.sent.push(frame); this.heard?.(frame.type) }, onSyncMessage(handler) {}, \
         isConnected: () => true, first: null, announced() { return new Promise((resolve) => { this.heard = resolve }) } }",
    )
    .call0(&JsValue::UNDEFINED)
    .unwrap();
    // The second module is loaded by the package's root; here the same code stands in for it.
    let to_json = Closure::<dyn Fn(Vec<u8>) -> String>::new(|frame: Vec<u8>| Frame::from_bytes(&frame).unwrap().to_json()).into_js_value();
    let from_json =
        Closure::<dyn Fn(String) -> Vec<u8>>::new(|text: String| Frame::parse(&text).unwrap().to_bytes().unwrap()).into_js_value();
    let codec = Object::new();
    Reflect::set(&codec, &"toJson".into(), &to_json).unwrap();
    Reflect::set(&codec, &"fromJson".into(), &from_json).unwrap();
    set_frame_codec_loader(Closure::<dyn Fn() -> Object>::new(move || codec.clone()).into_js_value().unchecked_into());
    let announced: Promise = get(&transport, "announced").unchecked_into::<Function>().call0(&transport).unwrap().unchecked_into();
    let manager = SyncManager::new().unwrap();
    manager.initialize(database.into(), transport.clone()).await.unwrap();
    manager.start_sync(js(&format!(r#"{{"peer_wallet":"{PEER}"}}"#))).await.unwrap();
    assert_eq!(JsFuture::from(announced).await.unwrap(), "device_announce");
    assert_eq!(text(&get(&transport, "sent"), "0.type"), "device_announce");
    manager.dispose().await.unwrap();
}

#[wasm_bindgen_test]
fn vector_clocks_tell_all_four_relations() {
    let one = VectorClock::new(js(r#"{"a":1}"#)).unwrap();
    let two = VectorClock::parse(r#"{"b":1}"#).unwrap();
    assert_eq!(one.compare(&two), "concurrent");
    two.merge(&one).unwrap();
    assert_eq!((one.compare(&two), two.compare(&one), two.compare(&two)), ("before".into(), "after".into(), "equal".into()));
    assert_eq!((one.tick("a").unwrap(), one.get("a"), one.text()), (2.0, 2.0, r#"{"a":2}"#.to_owned()));
    assert_eq!(JSON::stringify(&two.to_json()).unwrap(), r#"{"a":1,"b":1}"#);
    for bad in [r#"{"a":-1}"#, r#"{"a":1.5}"#, r#"{"a":"1"}"#, r#"{"a":9007199254740992}"#] {
        assert_eq!(thrown_code(VectorClock::new(js(bad))), "INVALID_VECTOR_CLOCK", "{bad}");
        assert_eq!(thrown_code(VectorClock::parse(bad)), "INVALID_VECTOR_CLOCK", "{bad}");
    }
}
