//! The JavaScript surface, in a real browser without a relay.

use js_sys::{Array, Function, JSON, Object, Promise, Reflect};
use solconnect_sync::connection::result_of;
use solconnect_sync::spare::Spare;
use solconnect_sync::store::Store;
use solconnect_sync::{SolConnectSDK, session_id_of, set_frame_codec_loader};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Commit, DeviceRecord, FailedRecord, LogRecord, NameRecord, OutboxRecord, SessionRecord, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::Frame;
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::message::{Kind, Message, Stamp};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{IdbFactory, IdbRequest};

wasm_bindgen_test_configure!(run_in_browser);

const OWN: &str = "11111111111111111111111111111112";
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
    assert!(!text(&result, "error.message").is_empty());
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
    data(sdk.initialize(None).await);
    data(sdk.set_offline(true));
    data(sdk.connect_wallet(OWN.into()).await);
    let session = data(sdk.start_session(js(&format!(r#"{{"peerWallet":"{PEER}"}}"#))).await);
    (sdk, get(&session, "session_id"))
}

fn thrown_code<T>(outcome: Result<T, JsValue>) -> String {
    let Err(error) = outcome else { panic!("it did not throw") };
    assert!(error.has_type::<js_sys::Error>());
    text(&error, "code")
}

#[wasm_bindgen_test]
async fn calls_before_initialize_get_sdk_not_initialized() {
    let sdk = sdk("sdk-early");
    assert_eq!(code(sdk.connect_wallet(OWN.into()).await), "SDK_NOT_INITIALIZED");
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
    for value in [nothing(), JsValue::NULL, 5.into(), js("{}")] {
        assert_eq!(code(sdk.cancel_message(value.clone()).await), "INVALID_ARGUMENT");
        assert_eq!(code(sdk.retry_message(value.clone()).await), "INVALID_ARGUMENT");
        assert_eq!(code(sdk.get_message(value).await), "INVALID_ARGUMENT");
    }
    for message_id in ["", "nothing"] {
        assert_eq!(code(sdk.cancel_message(message_id.into()).await), "UNKNOWN_MESSAGE");
        assert_eq!(code(sdk.retry_message(message_id.into()).await), "UNKNOWN_MESSAGE");
        assert_eq!(code(sdk.get_message(message_id.into()).await), "UNKNOWN_MESSAGE");
    }
    assert_eq!(thrown_code(sdk.observe(5.into())), "INVALID_ARGUMENT");
    assert_eq!(thrown_code(sdk.observe(js("{}"))), "INVALID_ARGUMENT");
    assert_eq!(code(sdk.connect_wallet("0OIl".into()).await), "INVALID_WALLET_ADDRESS");
    assert_eq!(code(sdk.connect_wallet(js("{}")).await), "INVALID_ARGUMENT");
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
async fn offline_messages_are_queued_and_counted_after_reopening_i2_i13() {
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

    data(sdk.initialize(None).await);
    assert_eq!(data(sdk.get_device_id()), device);
    assert_eq!(get(&data(sdk.get_sync_status()), "queuedMessageCount"), 2);
    let messages = data(sdk.get_stored_messages(session.clone(), nothing(), nothing()).await);
    let texts: Vec<String> = Array::from(&messages).iter().map(|message| text(&message, "text")).collect();
    assert_eq!(texts, ["first", "second"]);
    let id = get(&receipt, "messageId");
    assert_eq!(data(sdk.get_message_status(id.clone()).await), "queued");
    data(sdk.connect_wallet(OWN.into()).await);
    data(sdk.edit_message(session.clone(), id, "first, edited".into()).await);
    let messages = data(sdk.get_stored_messages(session, 2.into(), nothing()).await);
    assert_eq!(text(&messages, "0.text"), "first, edited");
    data(sdk.cleanup().await);
}

/// What was told since the last time, as the types of the changes.
fn told(changes: &Array) -> String {
    let types: Vec<String> = changes.iter().map(|change| text(&change, "type")).collect();
    changes.set_length(0);
    types.join(",")
}

#[wasm_bindgen_test]
async fn who_observes_is_told_of_every_change() {
    let database = "sdk-observe";
    let (sdk, session) = started(database).await;
    let changes = Array::new();
    let push: Function = Function::new_with_args("", "return change => this.push(change)").call0(&changes).unwrap().unchecked_into();
    let queue = Function::new_with_args("", "return count => this.push({ type: 'queue' })").call0(&changes).unwrap();
    sdk.on("onQueueChanged", queue.unchecked_ref()).unwrap();
    sdk.observe(push.clone().into()).unwrap();
    let id = get(&data(sdk.send_message(session.clone(), "first".into(), nothing()).await), "messageId");
    let message = get(&changes.get(0), "message");
    assert_eq!((text(&message, "text"), text(&message, "status")), ("first".to_owned(), "queued".to_owned()));
    assert_eq!(JSON::stringify(&message), JSON::stringify(&data(sdk.get_message(id.clone()).await)));
    assert_eq!(told(&changes), "message,queue");
    data(sdk.edit_message(session.clone(), id.clone(), "second".into()).await);
    assert_eq!(told(&changes), "stale,queue");
    assert_eq!(text(&data(sdk.get_message(id.clone()).await), "text"), "second");
    data(sdk.cancel_message(id.clone()).await);
    let removed = changes.get(0);
    assert_eq!((get(&removed, "messageId"), get(&removed, "sessionId")), (id.clone(), session.clone()));
    assert_eq!(told(&changes), "removed,stale,queue");
    assert_eq!(code(sdk.get_message(id).await), "UNKNOWN_MESSAGE");
    data(sdk.clear_stored_messages(session.clone()).await);
    data(sdk.end_session(session.clone()).await);
    assert_eq!(told(&changes), "cleared,session");
    let sessions = data(sdk.get_active_sessions());
    assert_eq!(get(&sessions, "length"), 0);
    sdk.observe(nothing()).unwrap();
    data(sdk.start_session(js(&format!(r#"{{"peerWallet":"{PEER}"}}"#))).await);
    assert_eq!(told(&changes), "");
    // It outlives the engine.
    sdk.observe(push.into()).unwrap();
    data(sdk.cleanup().await);
    data(sdk.initialize(None).await);
    data(sdk.connect_wallet(OWN.into()).await);
    let view = data(sdk.start_session(js(&format!(r#"{{"peerWallet":"{PEER}"}}"#))).await);
    assert_eq!((get(&view, "readThrough"), get(&view, "isActive")), (0.into(), JsValue::TRUE));
    assert_eq!(told(&changes), "session");
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn a_failed_message_is_shown_tried_again_and_given_up() {
    let database = "sdk-failed";
    let (wallet, session_id) = new_database(database).await;
    let message = Message { sender_wallet: wallet.clone(), ..entry(&session_id, 0, "d", 1, 0).message };
    let record = |number: u64, id: &str| {
        let message = Message { id: id.into(), ciphertext: format!("text {id}"), ..message.clone() };
        let entry = Entry { message, device_id: "d".into(), counter: number, ..Entry::default() };
        let error = SyncError::new(ErrorCode::MessageTooLarge, "no");
        Write::Failed(FailedRecord { session_id: session_id.clone(), number, entry, refused_id: id.into(), error })
    };
    seed(database, &wallet, Vec::new(), &[], vec![record(1, "one"), record(2, "two"), record(3, "three")]).await;
    let sdk = opened(database).await;
    data(sdk.connect_wallet(OWN.into()).await);
    let session = JsValue::from(&session_id);
    data(sdk.start_session(js(&format!(r#"{{"peerWallet":"{PEER}"}}"#))).await);
    let shown = data(sdk.get_stored_messages(session.clone(), nothing(), nothing()).await);
    assert_eq!((text(&shown, "0.text"), text(&shown, "0.status"), get(&shown, "length")), ("text one".into(), "failed".into(), 3.into()));
    assert_eq!((text(&shown, "0.error.code"), text(&shown, "0.error.message")), ("MESSAGE_TOO_LARGE".into(), "no".into()));
    assert_eq!(data(sdk.get_message_status("one".into()).await), "failed");
    assert_eq!(text(&data(sdk.retry_message("one".into()).await), "messageId"), "one");
    data(sdk.cancel_message("two".into()).await);
    assert_eq!(code(sdk.edit_message(session.clone(), "three".into(), "x".into()).await), "INVALID_ARGUMENT");
    data(sdk.delete_message(session.clone(), "three".into()).await);
    let shown = data(sdk.get_stored_messages(session, nothing(), nothing()).await);
    assert_eq!((text(&shown, "0.text"), text(&shown, "0.status"), get(&shown, "length")), ("text one".into(), "queued".into(), 1.into()));
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn whoever_is_initialized_last_writes_i23() {
    let (first, session) = started("sdk-tabs").await;
    data(first.send_message(session.clone(), "first".into(), nothing()).await);
    let claim = |claim: JsValue| claim.as_f64().unwrap();
    let former = claim(data(first.initialize(None).await));
    let second = sdk("sdk-tabs");
    assert_eq!(claim(data(second.initialize(None).await)), former + 1.0);
    assert_eq!(code(first.send_message(session.clone(), "late".into(), nothing()).await), "PROFILE_IN_USE");
    data(second.connect_wallet(OWN.into()).await);
    data(second.send_message(session, "second".into(), nothing()).await);
    assert_eq!(get(&data(second.get_sync_status()), "queuedMessageCount"), 2);
    for sdk in [first, second] {
        data(sdk.cleanup().await);
    }
}

#[wasm_bindgen_test]
async fn claim_above_one_remembered_still_fences_i23() {
    let (first, session) = started("sdk-above").await;
    let claim = |claim: JsValue| claim.as_f64().unwrap();
    let remembered = claim(data(first.initialize(None).await)) + 1_000_000.0;
    let second = sdk("sdk-above");
    assert_eq!(claim(data(second.initialize(Some(remembered)).await)), remembered + 1.0);
    assert_eq!(code(first.send_message(session.clone(), "late".into(), nothing()).await), "PROFILE_IN_USE");
    data(second.connect_wallet(OWN.into()).await);
    data(second.send_message(session.clone(), "second".into(), nothing()).await);
    let third = sdk("sdk-above");
    assert_eq!(claim(data(third.initialize(Some(remembered)).await)), remembered + 2.0);
    assert_eq!(code(second.send_message(session, "late".into(), nothing()).await), "PROFILE_IN_USE");
    for sdk in [first, second, third] {
        data(sdk.cleanup().await);
    }
}

#[wasm_bindgen_test]
async fn call_made_again_in_another_tab_is_done_once() {
    let (first, session) = started("sdk-keyed").await;
    let tab = 9_007_199_254_740_991.0;
    first.keyed(tab, 1.0, 0.0);
    let sent = data(first.send_message(session.clone(), "once".into(), nothing()).await);
    let message_id = get(&sent, "messageId");
    first.keyed(tab, 2.0, 0.0);
    data(first.cancel_message(message_id.clone()).await);
    let second = sdk("sdk-keyed");
    data(second.initialize(None).await);
    data(second.connect_wallet(OWN.into()).await);
    second.keyed(tab, 1.0, 0.0);
    let again = data(second.send_message(session.clone(), "once".into(), nothing()).await);
    assert_eq!(JSON::stringify(&again).unwrap(), JSON::stringify(&sent).unwrap());
    second.keyed(tab, 2.0, 1.0);
    data(second.cancel_message(message_id.clone()).await);
    assert_eq!(get(&data(second.get_sync_status()), "queuedMessageCount"), 0);
    assert_eq!(code(second.cancel_message(message_id).await), "UNKNOWN_MESSAGE", "a key is for one call");
    for sdk in [first, second] {
        data(sdk.cleanup().await);
    }
}

/// Events of this name, as they come.
fn heard(sdk: &SolConnectSDK, event: &str) -> Array {
    let told = Array::new();
    let push = Function::new_with_args("", "return (...values) => this.push(values)").call0(&told).unwrap();
    sdk.on(event, push.unchecked_ref()).unwrap();
    told
}

#[wasm_bindgen_test]
async fn deleted_database_is_made_anew_with_what_was_unsent() {
    let database = "sdk-deleted";
    let (sdk, session) = started(database).await;
    let (warnings, lost) = (heard(&sdk, "onWarning"), heard(&sdk, "onStorageLost"));
    let first = data(sdk.send_message(session.clone(), "first".into(), nothing()).await);
    delete(database).await;
    data(sdk.send_message(session.clone(), "second".into(), nothing()).await);
    assert_eq!(text(&warnings, "0.0.code"), "STORAGE_LOST");
    data(sdk.cleanup().await);
    let sdk = opened(database).await;
    let queued = data(sdk.get_queued_messages().await);
    assert_eq!((text(&queued, "0.text"), text(&queued, "1.text"), get(&queued, "length")), ("first".into(), "second".into(), 2.into()));
    assert_eq!(text(&queued, "0.id"), text(&first, "messageId"));
    assert_eq!(lost.length(), 0);
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn database_deleted_while_nobody_looks_comes_back_from_the_copy() {
    let database = "sdk-spare";
    let (sdk, session) = started(database).await;
    let mut sent = Vec::new();
    for message in ["one", "two"] {
        sent.push(text(&data(sdk.send_message(session.clone(), message.into(), nothing()).await), "messageId"));
    }
    // It is written behind the messages.
    while Spare::of(database).read().await.len() < 2 {}
    data(sdk.cleanup().await);
    delete(database).await;
    let sdk = self::sdk(database);
    let warnings = heard(&sdk, "onWarning");
    data(sdk.initialize(None).await);
    data(sdk.connect_wallet(OWN.into()).await);
    let queued = data(sdk.get_queued_messages().await);
    assert_eq!([text(&queued, "0.id"), text(&queued, "1.id")], sent[..]);
    assert_eq!(text(&warnings, "0.0.code"), "STORAGE_LOST");
    data(sdk.send_message(session, "three".into(), nothing()).await);
    while Spare::of(database).read().await.iter().map(|record| record.outbox.entries.len()).sum::<usize>() < 3 {}
    data(sdk.cleanup().await);
    let sdk = opened(database).await;
    assert_eq!(get(&data(sdk.get_sync_status()), "queuedMessageCount"), 3);
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn initialize_called_twice_opens_once() {
    let sdk = sdk("sdk-twice");
    let both = Promise::all(&Array::of2(&sdk.initialize(None), &sdk.initialize(None))).await.unwrap();
    for result in Array::from(&both).iter() {
        data(result);
    }
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn engine_that_was_given_up_can_be_initialized_again_b16() {
    let (sdk, session) = started("sdk-hidden").await;
    let former = data(sdk.initialize(None).await).as_f64().unwrap();
    sdk.abandon();
    assert_eq!(code(sdk.send_message(session.clone(), "while it is closed".into(), nothing()).await), "SDK_NOT_INITIALIZED");
    assert_eq!(data(sdk.initialize(None).await).as_f64(), Some(former + 1.0));
    data(sdk.connect_wallet(OWN.into()).await);
    data(sdk.send_message(session, "after".into(), nothing()).await);
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn calls_of_an_engine_that_is_given_up_are_answered_truly() {
    let (sdk, session) = started("sdk-given-up").await;
    let mut done = 0;
    for turns in 0..12 {
        let call = sdk.send_message(session.clone(), format!("after {turns} turns").into(), nothing());
        for _ in 0..turns {
            JsFuture::from(Promise::resolve(&nothing())).await.unwrap();
        }
        sdk.abandon();
        let answer = call.await.unwrap();
        if get(&answer, "success").is_truthy() {
            done += 1;
        } else {
            assert_eq!(code(answer), "SDK_NOT_INITIALIZED");
        }
        data(sdk.initialize(None).await);
        assert_eq!(get(&data(sdk.get_sync_status()), "queuedMessageCount"), done, "after {turns} turns");
        data(sdk.connect_wallet(OWN.into()).await);
    }
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn start_that_is_given_up_claims_nothing() {
    let (first, session) = started("sdk-start-given-up").await;
    for turns in 0..6 {
        let second = sdk("sdk-start-given-up");
        let starts = [second.initialize(None), second.initialize(None)];
        for _ in 0..turns {
            JsFuture::from(Promise::resolve(&nothing())).await.unwrap();
        }
        second.abandon();
        for start in starts {
            assert_eq!(code(start.await), "SDK_NOT_INITIALIZED");
        }
    }
    data(first.send_message(session, "still mine".into(), nothing()).await);
    data(first.cleanup().await);
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
    let (wallet, session_id) = new_database(database).await;
    seed(database, &wallet, ten_messages(&session_id), &[1, 3, 6, 10], Vec::new()).await;

    let sdk = opened(database).await;
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
    let third = message_id(&session_id, "peer-device", "start1", 3);
    assert_eq!(data(sdk.get_message_status(third.clone().into()).await), "sent");
    data(sdk.mark_message_as_read(third.into()).await);

    let export = data(sdk.export_messages().await);
    data(sdk.clear_stored_messages(session_id.clone().into()).await);
    assert_eq!(page(9, nothing()).await, "queued");
    data(sdk.cleanup().await);

    let other = "sdk-pages-imported";
    delete(other).await;
    let sdk = self::sdk(other);
    data(sdk.initialize(None).await);
    data(sdk.set_offline(true));
    data(sdk.connect_wallet(wallet.into()).await);
    assert_eq!(data(sdk.import_messages(export.clone()).await), 10);
    assert_eq!(data(sdk.import_messages(export).await), 0, "again changes nothing");
    data(sdk.cleanup().await);
}

/// A database with a session of the local wallet and the peer: its id, and the entries as they are stored, in batches that end
/// at these places.
async fn seed(database: &str, wallet: &str, entries: Vec<Entry>, batch_ends: &[usize], more: Vec<Write>) {
    let session_id = session_id_of(wallet, PEER, None).unwrap();
    let mut record = SessionRecord { open: true, ..SessionRecord::new(session_id.clone(), wallet.to_owned(), PEER.to_owned()) };
    let mut writes = vec![Write::Device(DeviceRecord::new("own-device".to_owned()))];
    let mut start = 0;
    for end in batch_ends {
        let (entries, heads_before) = (&entries[start..*end], Some(record.log.clock()));
        entries.iter().for_each(|entry| record.log.take(entry).unwrap());
        let (first, last, session_id) = (start as u64 + 1, *end as u64, session_id.clone());
        writes.push(Write::Log(LogRecord { session_id, first, last, heads_before, batch: Batch::of(entries).unwrap() }));
        start = *end;
    }
    writes.push(Write::Session(record));
    writes.extend(more);
    let store = Store::open(database).await.unwrap();
    store.claim(0).await.unwrap();
    store.write(&Commit { id: 1, strict: true, writes }).await.unwrap();
}

/// Ten messages of the peer.
fn ten_messages(session_id: &str) -> Vec<Entry> {
    (1..=10).map(|sequence| entry(session_id, sequence, "peer-device", sequence, sequence - 1)).collect()
}

/// An entry of the peer.
fn entry(session_id: &str, sequence_number: u64, device: &str, counter: u64, knows: u64) -> Entry {
    let message = Message {
        id: message_id(session_id, device, "start1", counter),
        sender_wallet: PEER.to_owned(),
        ciphertext: format!("t{sequence_number}"),
        timestamp: Stamp::Iso(sequence_number),
        session_id: session_id.to_owned(),
        ..Message::default()
    };
    let (device_id, server_timestamp) = (device.to_owned(), sequence_number);
    Entry { message, device_id, counter, knows, sequence_number, server_timestamp, ..Entry::default() }
}

/// A new database, the wallet, and the id of its session with the peer.
async fn new_database(database: &str) -> (String, String) {
    delete(database).await;
    (OWN.to_owned(), session_id_of(OWN, PEER, None).unwrap())
}

/// A device over what a database holds, offline.
async fn opened(database: &str) -> SolConnectSDK {
    let sdk = sdk(database);
    data(sdk.initialize(None).await);
    data(sdk.set_offline(true));
    data(sdk.connect_wallet(OWN.into()).await);
    sdk
}

fn clocks(messages: &JsValue) -> Vec<String> {
    let clock = |message: &JsValue| String::from(JSON::stringify(&get(message, "vectorClock")).unwrap());
    Array::from(messages).iter().map(|message| clock(&message)).collect()
}

#[wasm_bindgen_test]
async fn messages_show_what_their_authors_knew() {
    let database = "sdk-clocks";
    let (wallet, session) = new_database(database).await;
    // What authors knew is in the same batch, in the one before, further back, at the end of a batch, and nothing at all.
    let entries = [("a", 1, 0), ("b", 1, 0), ("a", 2, 2), ("a", 3, 3), ("b", 2, 1), ("c", 1, 4), ("c", 2, 6)];
    let entries = (1..).zip(entries).map(|(sequence, (device, counter, knows))| entry(&session, sequence, device, counter, knows));
    let unsent = Entry { sequence_number: 0, ..entry(&session, 0, "own-device", 1, 3) };
    let unsent = Write::Outbox(OutboxRecord { session_id: session.clone(), entries: vec![unsent] });
    seed(database, &wallet, entries.collect(), &[2, 3, 5, 7], vec![unsent]).await;
    let sdk = opened(database).await;
    let page =
        async |limit: u32, before: JsValue| clocks(&data(sdk.get_stored_messages(session.clone().into(), limit.into(), before).await));
    let all = [
        r#"{"a":1}"#,
        r#"{"b":1}"#,
        r#"{"a":2,"b":1}"#,
        r#"{"a":3,"b":1}"#,
        r#"{"a":1,"b":2}"#,
        r#"{"a":3,"b":1,"c":1}"#,
        r#"{"a":3,"b":2,"c":2}"#,
        r#"{"a":2,"b":1,"own-device":1}"#,
    ];
    assert_eq!(page(9, nothing()).await, all);
    assert_eq!(page(3, nothing()).await, all[5..]);
    assert_eq!(page(1, nothing()).await, all[7..]);
    for before in 2..=8u32 {
        assert_eq!(page(1, before.into()).await, [all[before as usize - 2]], "before {before}");
        assert_eq!(page(9, before.into()).await, all[..before as usize - 1], "all before {before}");
    }
    data(sdk.clear_stored_messages(session.clone().into()).await);
    assert_eq!(page(9, nothing()).await, [r#"{"own-device":1}"#], "what the log no longer tells is left out");
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn ids_of_every_form_are_found() {
    let database = "sdk-ids";
    let (wallet, session) = new_database(database).await;
    let mut entries = ten_messages(&session);
    // The application's own; one that looks like ours and is not at that place; the void of a message that was refused.
    entries[1].message.id = "order-7".to_owned();
    entries[3].message.id = message_id(&session, "peer-device", "start1", 9);
    entries[8].message.id = message_id("elsewhere", "device", "start1", 1);
    entries[5].message = Message { kind: Kind::VOID, ciphertext: String::new(), ..entries[5].message.clone() };
    let ids: Vec<String> = entries.iter().map(|entry| entry.message.id.clone()).collect();
    let unsent = |counter, kind| {
        let message = Message { id: format!("unsent-{counter}"), kind, ..entry(&session, 0, "own-device", counter, 0).message };
        Entry { message, sequence_number: 0, ..entry(&session, 0, "own-device", counter, 0) }
    };
    let outbox = OutboxRecord { session_id: session.clone(), entries: vec![unsent(1, Kind::VOID), unsent(2, Kind::MESSAGE)] };
    seed(database, &wallet, entries, &[1, 3, 6, 10], vec![Write::Outbox(outbox)]).await;
    let sdk = opened(database).await;
    for (place, id) in ids.iter().enumerate() {
        let status = data(sdk.get_message_status(id.into()).await);
        assert_eq!(status, if place == 5 { "failed" } else { "sent" }, "{id}");
    }
    assert_eq!(data(sdk.get_message_status("unsent-1".into()).await), "failed");
    assert_eq!(data(sdk.get_message_status("unsent-2".into()).await), "queued");
    for unknown in
        ["unsent-3".to_owned(), message_id(&session, "peer-device", "start2", 2), message_id(&session, "peer-device", "start1", 11)]
    {
        assert_eq!(code(sdk.get_message_status(unknown.into()).await), "UNKNOWN_MESSAGE");
    }
    data(sdk.mark_message_as_read("order-7".into()).await);
    data(sdk.cleanup().await);
}

/// `sendMessage` under a name of the application's own.
async fn send_named(sdk: &SolConnectSDK, session: &JsValue, content: &str, name: &str) -> JsValue {
    let options = Object::new();
    Reflect::set(&options, &"id".into(), &name.into()).unwrap();
    sdk.send_message(session.clone(), content.into(), options.into()).await.unwrap()
}

#[wasm_bindgen_test]
async fn a_message_sent_again_under_its_name_is_the_same() {
    let database = "sdk-names";
    let (sdk, session) = started(database).await;
    let first = data(send_named(&sdk, &session, "pay 5", "order-7").await);
    assert_eq!(text(&first, "messageId"), "order-7");
    let again = data(send_named(&sdk, &session, "pay 5", "order-7").await);
    assert_eq!(JSON::stringify(&again).unwrap(), JSON::stringify(&first).unwrap());
    assert_eq!(code(send_named(&sdk, &session, "pay 6", "order-7").await), "MESSAGE_ID_TAKEN");
    let twins = || sdk.send_message(session.clone(), "once".into(), js(r#"{"id":"twin"}"#));
    let twins = Array::from(&JsFuture::from(Promise::all(&Array::of2(&twins(), &twins()))).await.unwrap());
    let [one, two] = [0, 1].map(|place| data(twins.get(place)));
    assert_eq!(JSON::stringify(&one).unwrap(), JSON::stringify(&two).unwrap(), "at the same time");
    assert_eq!(get(&data(sdk.get_sync_status()), "queuedMessageCount"), 2);

    let own_form = message_id(&session.as_string().unwrap(), &data(sdk.get_device_id()).as_string().unwrap(), "start1", 9);
    assert_eq!(code(send_named(&sdk, &session, "x", &own_form).await), "INVALID_ARGUMENT");
    assert_eq!(code(send_named(&sdk, &session, "x", "").await), "INVALID_MESSAGE_FORMAT");
    assert_eq!(code(send_named(&sdk, &session, "x", &"n".repeat(1_000)).await), "INVALID_MESSAGE_FORMAT");
    assert_eq!(code(sdk.send_message(session.clone(), "x".into(), js(r#"{"id":7}"#)).await), "INVALID_ARGUMENT");
    assert_eq!(code(send_named(&sdk, &"nowhere".into(), "x", "order-8").await), "UNKNOWN_SESSION");
    data(sdk.cleanup().await);

    let sdk = opened(database).await;
    let again = data(send_named(&sdk, &session, "pay 5", "order-7").await);
    assert_eq!(JSON::stringify(&again).unwrap(), JSON::stringify(&first).unwrap(), "after a reload");
    assert_eq!(code(send_named(&sdk, &session, "pay 6", "order-7").await), "MESSAGE_ID_TAKEN");
    assert_eq!(get(&data(sdk.get_sync_status()), "queuedMessageCount"), 2);
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn a_name_is_known_when_its_message_has_left_the_outbox() {
    let database = "sdk-names-sent";
    let (wallet, session) = new_database(database).await;
    let fingerprint = Message { ciphertext: "pay 5".to_owned(), ..Message::default() }.fingerprint();
    let name = NameRecord { session_id: session.clone(), message_id: "order-7".to_owned(), fingerprint, sent_ms: 86_400_000 };
    seed(database, &wallet, ten_messages(&session), &[10], vec![Write::Name(name)]).await;
    let sdk = opened(database).await;
    let session = session.into();
    let receipt = data(send_named(&sdk, &session, "pay 5", "order-7").await);
    assert_eq!((text(&receipt, "messageId"), text(&receipt, "timestamp")), ("order-7".into(), "1970-01-02T00:00:00.000Z".into()));
    assert_eq!(code(send_named(&sdk, &session, "pay 6", "order-7").await), "MESSAGE_ID_TAKEN");
    assert_eq!(get(&data(sdk.get_sync_status()), "queuedMessageCount"), 0);
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn messages_are_queued_in_the_order_of_the_calls() {
    let (sdk, session) = started("sdk-order").await;
    let options = |name: Option<&str>| name.map_or_else(nothing, |name| js(&format!(r#"{{"id":"{name}"}}"#)));
    let sends = [("1", None), ("2", Some("b")), ("3", None), ("4", Some("a")), ("5", None)];
    let sends: Array = sends.into_iter().map(|(text, name)| sdk.send_message(session.clone(), text.into(), options(name))).collect();
    for result in Array::from(&JsFuture::from(Promise::all(&sends)).await.unwrap()).iter() {
        data(result);
    }
    let messages = data(sdk.get_stored_messages(session, nothing(), nothing()).await);
    let texts: Vec<String> = Array::from(&messages).iter().map(|message| text(&message, "text")).collect();
    assert_eq!(texts, ["1", "2", "3", "4", "5"]);
    data(sdk.cleanup().await);
}

#[wasm_bindgen_test]
async fn an_application_transport_carries_frames_as_objects() {
    let database = "sdk-transport";
    delete(database).await;
    let transport = Function::new_no_args(
        "return { sent: [], sendSyncMessage(frame) { this.sent.push(frame); if (frame.type === 'device_announce') this.heard?.(frame.type) }, onSyncMessage(handler) {}, \
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
    let config = Object::new();
    Reflect::set(&config, &"databaseName".into(), &database.into()).unwrap();
    Reflect::set(&config, &"transport".into(), &transport).unwrap();
    let sdk = SolConnectSDK::new(config.into()).unwrap();
    data(sdk.initialize(None).await);
    data(sdk.connect_wallet(OWN.into()).await);
    data(sdk.start_session(js(&format!(r#"{{"peerWallet":"{PEER}"}}"#))).await);
    assert_eq!(JsFuture::from(announced).await.unwrap(), "device_announce");
    assert_eq!(text(&get(&transport, "sent"), "0.type"), "wallet_announce");
    data(sdk.cleanup().await);
}
