//! The store, in a real IndexedDB.

use solconnect_sync::connection::{Connection, META, Transaction, result_of};
use solconnect_sync::store::Store;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Commit, DeviceRecord, LogRecord, OutboxRecord, SessionRecord, VersionsRecord, Write};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::message::{Entry, Message};
use solconnect_sync_core::vector_clock::VectorClock;
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const SESSION: &str = "room";

async fn fresh(name: &str) -> Store {
    rexie::Rexie::delete(name).await.unwrap();
    let store = Store::open(name).await.unwrap();
    store.claim(false).await.unwrap();
    store
}

fn commit(strict: bool, writes: Vec<Write>) -> Commit {
    Commit { id: 1, strict, writes }
}

fn device(device_id: &str) -> Write {
    Write::Device(DeviceRecord { device_id: device_id.to_owned() })
}

fn session(cursor: u64) -> SessionRecord {
    SessionRecord {
        session_id: SESSION.to_owned(),
        wallet: "me".to_owned(),
        peer_wallet: "you".to_owned(),
        open: true,
        cursor,
        counter: 3,
        heads: clock(r#"{"a":2,"b":1}"#),
        last_sync_ms: 1_795_000_000_000,
        ..SessionRecord::default()
    }
}

fn outbox(counter: u64) -> OutboxRecord {
    OutboxRecord { session_id: SESSION.to_owned(), entries: vec![unsent(counter)] }
}

fn unsent(counter: u64) -> Entry {
    let (id, session_id) = (format!("{SESSION}:a:{counter}"), SESSION.to_owned());
    let message = Message { id, session_id, ciphertext: "hello \u{1f44b}".to_owned(), ..Message::default() };
    let vector_clock = clock(&format!(r#"{{"a":{counter}}}"#));
    Entry { message, sequence_number: 0, vector_clock, server_timestamp: 7, original_device_id: "a".to_owned() }
}

fn clock(text: &str) -> VectorClock {
    text.parse().unwrap()
}

/// A log of 12 entries by two devices in turn, in batches of `size`.
fn batches(size: u64) -> Vec<Write> {
    let mut heads = VectorClock::new();
    let mut writes = Vec::new();
    for first in (1..=12).step_by(size as usize) {
        let heads_before = heads.clone();
        let entries: Vec<Entry> = (first..first + size).map(|sequence| entry(sequence, &mut heads)).collect();
        writes.push(Write::Log(LogRecord {
            session_id: SESSION.to_owned(),
            first,
            last: first + size - 1,
            heads_before,
            batch: Batch::of(&entries).unwrap(),
        }));
    }
    writes
}

fn entry(sequence_number: u64, heads: &mut VectorClock) -> Entry {
    let device = if sequence_number % 2 == 1 { "a" } else { "b" };
    heads.tick(device).unwrap();
    Entry {
        message: Message { id: format!("m{sequence_number}"), session_id: SESSION.to_owned(), ..Message::default() },
        sequence_number,
        vector_clock: heads.clone(),
        server_timestamp: 0,
        original_device_id: device.to_owned(),
    }
}

#[wasm_bindgen_test]
async fn a_commit_is_there_after_reopening_i22() {
    let name = "store-reopen";
    let store = fresh(name).await;
    let versions = VersionsRecord { session_id: SESSION.to_owned(), message_id: "m".to_owned(), versions: vec![unsent(9)] };
    let writes = vec![device("a"), Write::Session(session(2)), Write::Outbox(outbox(3)), Write::Versions(versions.clone())];
    store.write(&commit(true, writes)).await.unwrap();
    store.close();

    let snapshot = Store::open(name).await.unwrap().claim(false).await.unwrap();
    assert_eq!(snapshot.device.unwrap().device_id, "a");
    assert_eq!(snapshot.sessions, [session(2)]);
    assert_eq!(snapshot.outbox, [outbox(3)]);
    assert_eq!(snapshot.versions, [versions]);
}

#[wasm_bindgen_test]
async fn a_message_leaves_the_outbox_in_the_commit_that_logs_it_i2() {
    let store = fresh("store-move").await;
    store.write(&commit(true, vec![Write::Outbox(outbox(1)), Write::Outbox(outbox(2))])).await.unwrap();
    let mut writes = batches(12);
    writes.push(Write::DeleteOutbox { session_id: SESSION.to_owned(), first: 1, last: 1 });
    store.write(&commit(false, writes)).await.unwrap();
    assert_eq!(store.claim(false).await.unwrap().outbox, [outbox(2)]);
    assert_eq!(store.page(SESSION, None, 1).await.unwrap().len(), 1);
}

#[wasm_bindgen_test]
async fn a_transaction_dropped_half_way_is_aborted_b8() {
    let name = "store-dropped";
    let store = fresh(name).await;
    let connection = Connection::open(name).await.unwrap();
    let transaction = Transaction::begin(&connection, &[META], true).unwrap();
    let half = JsValue::from("half");
    result_of(transaction.store(META).unwrap().put_with_key(&half, &half)).await.unwrap();
    drop(transaction);
    assert_eq!(result_of(connection.read(META).unwrap().get(&half)).await.unwrap(), JsValue::UNDEFINED);
    store.write(&commit(true, vec![device("a")])).await.unwrap();
}

#[wasm_bindgen_test]
async fn a_commit_that_cannot_be_written_leaves_nothing_i21() {
    let store = fresh("store-broken").await;
    // A range that ends before it begins is refused by the browser.
    let broken = Write::JoinLog { session_id: SESSION.to_owned(), first: 2, last: 1 };
    let error = store.write(&commit(true, vec![device("a"), Write::Session(session(1)), broken])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StorageError);
    let snapshot = store.claim(false).await.unwrap();
    assert_eq!((snapshot.device, snapshot.sessions.len()), (None, 0));
}

#[wasm_bindgen_test]
async fn whoever_claimed_last_writes_and_nobody_else_i23() {
    let name = "store-fenced";
    let first = fresh(name).await;
    first.write(&commit(true, vec![device("first")])).await.unwrap();
    let second = Store::open(name).await.unwrap();
    second.claim(false).await.unwrap();
    let error = first.write(&commit(true, vec![device("late")])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ProfileInUse);
    assert_eq!(second.claim(false).await.unwrap().device.unwrap().device_id, "first");
    first.close();
    let error = first.write(&commit(true, vec![device("later")])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ProfileInUse, "opening its connection again does not claim");
    second.write(&commit(true, vec![device("second")])).await.unwrap();
    assert_eq!(second.claim(false).await.unwrap().device.unwrap().device_id, "second");
}

#[wasm_bindgen_test]
async fn under_a_lock_the_owner_is_asked_once_for_each_connection_i23() {
    let name = "store-locked";
    let store = fresh(name).await;
    store.claim(true).await.unwrap();
    store.write(&commit(true, vec![device("a")])).await.unwrap();
    store.write(&commit(true, vec![device("b")])).await.unwrap();
    // Only this one's lock could have kept it out.
    Store::open(name).await.unwrap().claim(true).await.unwrap();
    store.close();
    let error = store.write(&commit(true, vec![device("late")])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ProfileInUse);
    assert_eq!(Store::open(name).await.unwrap().claim(true).await.unwrap().device.unwrap().device_id, "b");
}

#[wasm_bindgen_test]
async fn pages_go_backwards_and_hold_no_more_than_needed_b28() {
    let store = fresh("store-pages").await;
    store.write(&commit(false, batches(3))).await.unwrap();
    let firsts =
        async |before, limit| -> Vec<u64> { store.page(SESSION, before, limit).await.unwrap().iter().map(|record| record.first).collect() };
    assert_eq!(firsts(None, 1).await, [10]);
    assert_eq!(firsts(None, 4).await, [10, 7]);
    assert_eq!(firsts(Some(10), 3).await, [7]);
    assert_eq!(firsts(Some(9), 100).await, [7, 4, 1]);
    assert_eq!(firsts(Some(1), 1).await, [] as [u64; 0]);
    assert!(store.page("other", None, 1).await.unwrap().is_empty());
}

#[wasm_bindgen_test]
async fn a_message_is_found_by_device_and_counter() {
    for size in [1, 3, 4, 12] {
        let store = fresh(&format!("store-find-{size}")).await;
        store.write(&commit(false, batches(size))).await.unwrap();
        for sequence in 1u64..=12 {
            let device = if sequence % 2 == 1 { "a" } else { "b" };
            let found = store.find(SESSION, device, sequence.div_ceil(2)).await.unwrap().unwrap();
            assert_eq!(found.sequence_number, sequence, "in batches of {size}");
        }
        for (session, device, counter) in [(SESSION, "a", 7), (SESSION, "c", 1), ("other", "a", 1)] {
            assert_eq!(store.find(session, device, counter).await.unwrap(), None);
        }
    }
}

#[wasm_bindgen_test]
async fn small_batches_become_one_and_what_cannot_be_joined_stays() {
    let store = fresh("store-join").await;
    let join = |first, last| Write::JoinLog { session_id: SESSION.to_owned(), first, last };
    let mut writes = batches(1);
    writes.push(join(4, 9));
    store.write(&commit(false, writes)).await.unwrap();
    let places = async || -> Vec<(u64, u64)> {
        store.page(SESSION, None, 100).await.unwrap().iter().rev().map(|record| (record.first, record.last)).collect()
    };
    let joined = [(1, 1), (2, 2), (3, 3), (4, 9), (10, 10), (11, 11), (12, 12)];
    assert_eq!(places().await, joined);
    for sequence in 1u64..=12 {
        let device = if sequence % 2 == 1 { "a" } else { "b" };
        assert_eq!(store.find(SESSION, device, sequence.div_ceil(2)).await.unwrap().unwrap().sequence_number, sequence);
    }
    let lost = Write::Log(LogRecord {
        session_id: SESSION.to_owned(),
        first: 2,
        last: 2,
        heads_before: VectorClock::new(),
        batch: Batch::from_bytes(b"damaged"),
    });
    store.write(&commit(false, vec![lost, join(1, 12)])).await.unwrap();
    assert_eq!(places().await, joined);
}

#[wasm_bindgen_test]
async fn a_cleared_log_is_empty_and_the_rest_stays() {
    let store = fresh("store-clear").await;
    let mut writes = batches(3);
    writes.push(Write::Session(session(12)));
    store.write(&commit(false, writes)).await.unwrap();
    store.write(&commit(false, vec![Write::ClearLog { session_id: SESSION.to_owned() }])).await.unwrap();
    assert!(store.page(SESSION, None, 1).await.unwrap().is_empty());
    assert_eq!(store.claim(false).await.unwrap().sessions.len(), 1);
}

#[wasm_bindgen_test]
async fn a_lost_connection_is_opened_again_b10() {
    let store = fresh("store-lost").await;
    store.close();
    store.write(&commit(true, vec![device("a")])).await.unwrap();
    assert_eq!(store.claim(false).await.unwrap().device.unwrap().device_id, "a");
}

#[wasm_bindgen_test]
async fn an_open_store_does_not_block_others_from_deleting_it_b11() {
    let name = "store-deleted";
    let store = fresh(name).await;
    store.claim(true).await.unwrap();
    store.write(&commit(true, vec![device("a")])).await.unwrap();
    rexie::Rexie::delete(name).await.unwrap();
    let error = store.write(&commit(true, vec![device("a")])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ProfileInUse, "a new database has another owner, or none");
}
