//! The store, in a real IndexedDB: what every store must do, and what is its own.

#[path = "../crates/core/tests/conformance/store.rs"]
mod suite;

use std::cell::RefCell;
use std::collections::BTreeSet;

use solconnect_sync::connection::{Connection, META, Transaction, result_of};
use solconnect_sync::store::Store;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Commit, DeviceRecord, LogRecord, Snapshot, Write};
use solconnect_sync_core::error::{ErrorCode, SyncError};
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

/// A database, for the suite that every store runs.
struct InIndexedDb {
    name: String,
    store: Store,
}

impl suite::Store for InIndexedDb {
    async fn open(name: &str) -> Self {
        if NAMED.with_borrow_mut(|named| named.insert(name.to_owned())) {
            rexie::Rexie::delete(name).await.unwrap();
        }
        let store = Store::open(name).await.unwrap();
        store.claim(false).await.unwrap();
        InIndexedDb { name: name.to_owned(), store }
    }

    async fn write(&self, commit: &Commit) -> Result<(), SyncError> {
        self.store.write(commit).await
    }

    /// Another claims the database: that is found out when all is issued.
    async fn write_in_vain(&self, commit: &Commit) -> SyncError {
        Store::open(&self.name).await.unwrap().claim(false).await.unwrap();
        let error = self.store.write(commit).await.unwrap_err();
        self.store.claim(false).await.unwrap();
        error
    }

    async fn snapshot(&self) -> Snapshot {
        self.store.claim(false).await.unwrap()
    }

    async fn log(&self, session_id: &str) -> Vec<LogRecord> {
        let mut log = self.store.page(session_id, None, u64::MAX).await.unwrap();
        log.reverse();
        log
    }
}

thread_local! {
    static NAMED: RefCell<BTreeSet<String>> = RefCell::default();
}

#[wasm_bindgen_test]
async fn indexeddb_conforms() {
    suite::store_conformance::<InIndexedDb>().await;
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
async fn a_commit_that_the_browser_refuses_is_an_error_i21() {
    let store = fresh("store-broken").await;
    // A range that ends before it begins.
    let broken = Write::JoinLog { session_id: SESSION.to_owned(), first: 2, last: 1 };
    let error = store.write(&commit(true, vec![device("a"), broken])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StorageError);
    assert_eq!(store.claim(false).await.unwrap().device, None);
}

#[wasm_bindgen_test]
async fn opening_its_connection_again_does_not_claim_i23() {
    let name = "store-fenced";
    let first = fresh(name).await;
    let second = Store::open(name).await.unwrap();
    second.claim(false).await.unwrap();
    first.close();
    let error = first.write(&commit(true, vec![device("late")])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ProfileInUse);
    second.write(&commit(true, vec![device("second")])).await.unwrap();
    assert_eq!(second.claim(false).await.unwrap().device.unwrap().device_id, "second");
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
