//! The store, in a real IndexedDB: what every store must do, and what is its own.

#[path = "../crates/core/tests/conformance/store.rs"]
mod suite;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use js_sys::{Array, Function, Promise, Reflect};
use solconnect_sync::connection::{Connection, META, STORES, Transaction, result_of};
use solconnect_sync::store::Store;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Commit, DeviceRecord, LogRecord, NameRecord, Snapshot, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::message::Message;
use solconnect_sync_core::vector_clock::VectorClock;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{IdbFactory, IdbRequest};

wasm_bindgen_test_configure!(run_in_browser);

const SESSION: &str = "room";

fn factory() -> IdbFactory {
    Reflect::get(&js_sys::global(), &"indexedDB".into()).unwrap().unchecked_into()
}

async fn delete(name: &str) {
    result_of(factory().delete_database(name).map(IdbRequest::from)).await.unwrap();
}

async fn fresh(name: &str) -> Store {
    delete(name).await;
    let store = Store::open(name).await.unwrap();
    store.claim(0).await.unwrap();
    store
}

fn commit(strict: bool, writes: Vec<Write>) -> Commit {
    Commit { id: 1, strict, writes }
}

fn device(device_id: &str) -> Write {
    Write::Device(DeviceRecord::new(device_id.to_owned()))
}

/// A database, for the suite that every store runs.
struct InIndexedDb {
    name: String,
    store: Store,
}

impl suite::Store for InIndexedDb {
    async fn open(name: &str) -> Self {
        if NAMED.with_borrow_mut(|named| named.insert(name.to_owned())) {
            delete(name).await;
        }
        let store = Store::open(name).await.unwrap();
        store.claim(0).await.unwrap();
        InIndexedDb { name: name.to_owned(), store }
    }

    async fn write(&self, commit: &Commit) -> Result<(), SyncError> {
        self.store.write(commit).await
    }

    /// Another claims the database: that is found out when all is issued.
    async fn write_in_vain(&self, commit: &Commit) -> SyncError {
        Store::open(&self.name).await.unwrap().claim(0).await.unwrap();
        let error = self.store.write(commit).await.unwrap_err();
        self.store.claim(0).await.unwrap();
        error
    }

    async fn snapshot(&self) -> Snapshot {
        self.store.claim(0).await.unwrap().1
    }

    async fn log(&self, session_id: &str) -> Vec<LogRecord> {
        let mut log = self.store.page(session_id, None, u64::MAX).await.unwrap();
        log.reverse();
        log
    }

    async fn name(&self, session_id: &str, message_id: &str) -> Option<NameRecord> {
        self.store.name(session_id, message_id).await.unwrap()
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
        let heads_before = Some(heads.clone());
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
    let counter = heads.tick(device).unwrap();
    let message = Message { id: format!("m{sequence_number}"), session_id: SESSION.to_owned(), ..Message::default() };
    Entry { message, device_id: device.to_owned(), counter, knows: sequence_number - 1, sequence_number, ..Entry::default() }
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
    assert_eq!(connection.read(META, |meta| meta.get(&half)).await.unwrap(), JsValue::UNDEFINED);
    store.write(&commit(true, vec![device("a")])).await.unwrap();
}

#[wasm_bindgen_test]
async fn a_commit_that_the_browser_refuses_is_an_error_i21() {
    let store = fresh("store-broken").await;
    // A range that ends before it begins.
    let broken = Write::JoinLog { session_id: SESSION.to_owned(), first: 2, last: 1 };
    let error = store.write(&commit(true, vec![device("a"), broken])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StorageError);
    assert_eq!(store.claim(0).await.unwrap().1.device, None);
}

#[wasm_bindgen_test]
async fn reopening_a_connection_does_not_claim_the_profile_i23() {
    let name = "store-fenced";
    let first = fresh(name).await;
    let second = Store::open(name).await.unwrap();
    second.claim(0).await.unwrap();
    first.close();
    let error = first.write(&commit(true, vec![device("late")])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ProfileInUse);
    second.write(&commit(true, vec![device("second")])).await.unwrap();
    assert_eq!(second.claim(0).await.unwrap().1.device.unwrap().device_id, "second");
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

/// A page is read by several requests.
#[wasm_bindgen_test]
async fn a_page_read_while_batches_are_joined_fits_together() {
    for waits in 0..8 {
        let store = fresh("store-page-joined").await;
        store.write(&commit(false, batches(1))).await.unwrap();
        let mut reading = Box::pin(store.page(SESSION, None, 12));
        let early = after_waits(&mut reading, waits).await;
        store.write(&commit(false, vec![Write::JoinLog { session_id: SESSION.to_owned(), first: 1, last: 12 }])).await.unwrap();
        let page = match early {
            Some(page) => page,
            None => reading.await,
        };
        let places: Vec<u64> = page.unwrap().iter().rev().flat_map(|record| record.first..=record.last).collect();
        assert_eq!(places, (1..=12).collect::<Vec<_>>(), "after {waits} waits");
    }
}

#[wasm_bindgen_test]
async fn batches_that_overlap_are_an_error() {
    let store = fresh("store-overlap").await;
    store.write(&commit(false, vec![Write::Log(suite::batch(SESSION, 1, 3)), Write::Log(suite::batch(SESSION, 2, 2))])).await.unwrap();
    assert_eq!(store.page(SESSION, None, 100).await.unwrap_err().code, ErrorCode::StorageError);
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

/// As small batches are stored in a session of many devices.
#[wasm_bindgen_test]
async fn a_message_is_found_in_batches_without_heads() {
    let store = fresh("store-find-headless").await;
    let mut writes = batches(1);
    for write in &mut writes[1..] {
        if let Write::Log(record) = write {
            record.heads_before = None;
        }
    }
    store.write(&commit(false, writes)).await.unwrap();
    for sequence in 1u64..=12 {
        let device = if sequence % 2 == 1 { "a" } else { "b" };
        let found = store.find(SESSION, device, sequence.div_ceil(2)).await.unwrap();
        assert_eq!(found.map(|entry| entry.sequence_number), Some(sequence));
        let newest = store.page(SESSION, Some(sequence + 1), 1).await.unwrap().into_iter().next().unwrap();
        assert_eq!((newest.first, newest.heads_before.is_some()), (sequence, true), "the newest comes first, with its heads");
    }
}

#[wasm_bindgen_test]
async fn a_name_is_found_in_its_session_alone() {
    let store = fresh("store-names").await;
    let writes = [("room", "a", 1), ("room", "b", 2), ("other", "a", 3)].map(|(session, name, ms)| Write::Name(named(session, name, ms)));
    store.write(&commit(true, writes.into())).await.unwrap();
    store.write(&commit(true, vec![Write::Name(named("room", "b", 4))])).await.unwrap();
    for (session, name, sent_ms) in [("room", "a", Some(1)), ("room", "b", Some(4)), ("other", "a", Some(3)), ("other", "b", None)] {
        let expected = sent_ms.map(|sent_ms| named(session, name, sent_ms));
        assert_eq!(store.name(session, name).await.unwrap(), expected, "{session} {name}");
    }
    let forget = Write::ForgetName { session_id: "room".to_owned(), message_id: "b".to_owned() };
    store.write(&commit(false, vec![Write::ClearLog { session_id: "room".to_owned() }, forget])).await.unwrap();
    assert_eq!(store.name("room", "a").await.unwrap(), Some(named("room", "a", 1)), "names outlive a cleared log");
    assert_eq!(store.name("room", "b").await.unwrap(), None);
}

#[wasm_bindgen_test]
async fn claim_is_checked_on_every_new_connection_i23() {
    let name = "store-reopened";
    let store = fresh(name).await;
    store.claim(0).await.unwrap();
    store.write(&commit(true, vec![device("a")])).await.unwrap();
    store.write(&commit(true, vec![device("b")])).await.unwrap();
    Store::open(name).await.unwrap().claim(0).await.unwrap();
    store.close();
    let error = store.write(&commit(true, vec![device("late")])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ProfileInUse);
    assert_eq!(Store::open(name).await.unwrap().claim(0).await.unwrap().1.device.unwrap().device_id, "b");
}

#[wasm_bindgen_test]
async fn a_lost_connection_is_opened_again_b10() {
    let store = fresh("store-lost").await;
    store.close();
    store.write(&commit(true, vec![device("a")])).await.unwrap();
    assert_eq!(store.claim(0).await.unwrap().1.device.unwrap().device_id, "a");
}

#[wasm_bindgen_test]
async fn an_open_store_does_not_block_others_from_deleting_it_b11() {
    let name = "store-deleted";
    let store = fresh(name).await;
    store.claim(0).await.unwrap();
    store.write(&commit(true, vec![device("a")])).await.unwrap();
    delete(name).await;
    let error = store.write(&commit(true, vec![device("a")])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StorageLost);
    assert_eq!(foreign(name, 0, &[]).await, "[1,[]]", "only who makes it anew makes it");
    delete(name).await;
}

#[wasm_bindgen_test]
async fn deleted_store_is_made_anew_under_a_higher_claim() {
    let name = "store-anew";
    let store = fresh(name).await;
    let (claim, _) = store.claim(0).await.unwrap();
    let late = Store::open(name).await.unwrap();
    delete(name).await;
    for code in [Err(ErrorCode::StorageLost), Err(ErrorCode::StorageLost)] {
        assert_eq!(store.check().await.map_err(|error| error.code), code);
    }
    store.write_anew(&commit(true, vec![device("anew")])).await.unwrap();
    store.write(&commit(true, vec![Write::Outbox(suite::outbox("room", &[1]))])).await.unwrap();
    let (next, snapshot) = late.claim(0).await.unwrap();
    assert_eq!((snapshot.device.unwrap().device_id.as_str(), snapshot.outbox.len()), ("anew", 1));
    assert!(next > claim + 1);
    assert_eq!(store.write(&commit(true, vec![device("b")])).await.unwrap_err().code, ErrorCode::ProfileInUse);
}

#[wasm_bindgen_test]
async fn deleted_store_that_another_has_made_is_the_others_i23() {
    let name = "store-anew-raced";
    let first = fresh(name).await;
    delete(name).await;
    let second = Store::open(name).await.unwrap();
    second.claim(0).await.unwrap();
    for _ in 0..2 {
        assert_eq!(first.write(&commit(true, vec![device("late")])).await.unwrap_err().code, ErrorCode::ProfileInUse);
        assert_eq!(first.write_anew(&commit(true, vec![device("late")])).await.unwrap_err().code, ErrorCode::ProfileInUse);
    }
    second.write(&commit(true, vec![device("second")])).await.unwrap();
}

/// Makes requests fail that a transaction makes to write, by their place among them, in the first transactions to come:
/// gives the function that ends it. A request that fails adds what is there already; `kind` `throw` throws instead, as
/// for a value that cannot be cloned; `prevented` keeps the browser from aborting by itself; `told` does what was asked and
/// says that it failed. What keeps others out is not among them; of that, `claim` throws.
const BREAK_REQUESTS: &str = r#"
    const prototype = IDBObjectStore.prototype;
    const { put, delete: remove, add } = prototype;
    const taken = { meta: 'device', sessions: 'taken', outbox: ['taken', 1], log: ['taken', 1], versions: ['taken', 'm'], names: ['taken', 'm'] };
    let transaction = null, count = 0, place = 0;
    const breaking = (request) => function (...values) {
        if (this.name === 'claims') {
            if (kind === 'claim' && request === put) throw new DOMException('it cannot be cloned', 'DataCloneError');
            return request.apply(this, values);
        }
        if (request === add) return add.apply(this, values);
        if (this.transaction !== transaction) [transaction, count, place] = [this.transaction, count + 1, 0];
        if (count > transactions || !places.includes(place++)) return request.apply(this, values);
        if (kind === 'throw') throw new DOMException('it cannot be cloned', 'DataCloneError');
        if (kind === 'told') {
            const done = request.apply(this, values);
            // Not by the request: in WebKit only its own events go on to the transaction.
            queueMicrotask(() => this.transaction.dispatchEvent(new Event('error')));
            return done;
        }
        const broken = add.call(this, new Uint8Array(1), taken[this.name]);
        if (kind === 'prevented') broken.addEventListener('error', (event) => event.preventDefault());
        return broken;
    };
    prototype.put = breaking(put);
    prototype.delete = breaking(remove);
    prototype.add = breaking(add);
    return () => Object.assign(prototype, { put, delete: remove, add });
"#;

/// Runs something while requests fail.
async fn while_broken<T>(kind: &str, places: &[u32], transactions: u32, work: impl Future<Output = T>) -> T {
    let places: Array = places.iter().map(|place| JsValue::from(*place)).collect();
    let install = Function::new_with_args("kind, places, transactions", BREAK_REQUESTS);
    let mend = install.call3(&JsValue::NULL, &kind.into(), &places, &transactions.into()).unwrap();
    let outcome = work.await;
    mend.unchecked_into::<Function>().call0(&JsValue::NULL).unwrap();
    outcome
}

/// What a database holds, in the sessions of these tests.
type Held = (Snapshot, Vec<LogRecord>, Option<NameRecord>);

/// What is there after opening it anew.
async fn held(name: &str) -> Held {
    let store = Store::open(name).await.unwrap();
    let log = store.page("room", None, u64::MAX).await.unwrap();
    (store.claim(0).await.unwrap().1, log, store.name("room", "m").await.unwrap())
}

/// What the application named a message.
fn named(session: &str, name: &str, sent_ms: u64) -> NameRecord {
    NameRecord { session_id: session.to_owned(), message_id: name.to_owned(), fingerprint: vec![7; 16], sent_ms }
}

/// A database with something of everything, and nothing else of what these tests write.
async fn filled(name: &str) -> Store {
    let store = Store::open(name).await.unwrap();
    store.claim(0).await.unwrap();
    let mut writes = vec![Write::Device(suite::device("a"))];
    for session in ["room", "taken"] {
        writes.extend([
            Write::DeleteOutbox { session_id: session.to_owned(), first: 1, last: 9 },
            Write::ClearLog { session_id: session.to_owned() },
            Write::Session(suite::session(session, 1)),
            Write::Outbox(suite::outbox(session, &[1])),
            Write::Log(suite::batch(session, 1, 1)),
            Write::Versions(suite::versions(session, "one")),
            Write::Name(named(session, "m", 1)),
        ]);
    }
    store.write(&commit(true, writes)).await.unwrap();
    store
}

/// Requests 0 to 7, and 8 and 9 where the batches are joined.
fn next_writes(is_joined: bool) -> Vec<Write> {
    let mut writes = vec![
        Write::Device(suite::device("b")),
        Write::Session(suite::session("room", 3)),
        Write::DeleteOutbox { session_id: "room".to_owned(), first: 1, last: 1 },
        Write::Outbox(suite::outbox("room", &[2])),
        Write::Log(suite::batch("room", 2, 2)),
        Write::Log(suite::batch("room", 3, 3)),
        Write::Versions(suite::versions("room", "two")),
        Write::Name(named("room", "m", 2)),
    ];
    if is_joined {
        writes.push(Write::JoinLog { session_id: "room".to_owned(), first: 1, last: 3 });
    }
    writes
}

/// What is held before and after the next writes.
async fn expected(is_joined: bool) -> (Held, Held) {
    let name = "store-expected";
    let store = filled(name).await;
    let before = held(name).await;
    store.claim(0).await.unwrap();
    store.write(&commit(true, next_writes(is_joined))).await.unwrap();
    (before, held(name).await)
}

/// First, middle, last; a delete; several; all but the last; all.
const PLACES: [&[u32]; 9] = [&[0], &[1], &[2], &[4], &[7], &[1, 4], &[0, 1, 2, 3, 4, 5, 6], &[4, 7], &[0, 1, 2, 3, 4, 5, 6, 7]];
/// The same where batches are joined: the last two requests come after an answer.
const PLACES_JOINED: [&[u32]; 5] = [&[4], &[7], &[8], &[9], &[4, 9]];

#[wasm_bindgen_test]
async fn failing_request_leaves_nothing_of_its_commit_i21() {
    let name = "store-failing";
    for (is_joined, all_places) in [(false, &PLACES[..]), (true, &PLACES_JOINED[..])] {
        let (before, after) = expected(is_joined).await;
        for (number, places) in all_places.iter().enumerate() {
            for kind in ["add", "throw"] {
                let case = format!("{kind} {places:?} joined {is_joined}");
                let store = filled(name).await;
                let next = commit(number % 2 == 0, next_writes(is_joined));
                let outcome = while_broken(kind, places, u32::MAX, store.write(&next)).await;
                assert_eq!(outcome.map_err(|error| error.code), Err(ErrorCode::StorageError), "{case}");
                assert!(held(name).await == before, "nothing is there: {case}");
                store.claim(0).await.unwrap();
                store.write(&next).await.unwrap();
                assert!(held(name).await == after, "the same commit can be written later: {case}");
            }
        }
    }
}

#[wasm_bindgen_test]
async fn request_that_fails_once_is_repeated_with_its_commit() {
    let name = "store-failing-once";
    for (is_joined, all_places) in [(false, &PLACES[..]), (true, &PLACES_JOINED[..])] {
        let (_, after) = expected(is_joined).await;
        for places in all_places {
            // `prevented`: the browser does not abort by itself.
            for kind in ["add", "throw", "prevented"] {
                let case = format!("{kind} {places:?} joined {is_joined}");
                let store = filled(name).await;
                let next = commit(false, next_writes(is_joined));
                while_broken(kind, places, 1, store.write(&next)).await.expect(&case);
                assert!(held(name).await == after, "all of it is there: {case}");
            }
        }
    }
}

/// Has another claim the database at one step of what a page does with IndexedDB: before and after a transaction begins, before
/// each request, before and after it is committed. Gives what ends that, and says whether there were so many steps.
const STEAL: &str = r#"
    const { transaction } = IDBDatabase.prototype, { add, put, delete: remove } = IDBObjectStore.prototype, { commit } = IDBTransaction.prototype;
    const request = indexedDB.open(name);
    return new Promise((resolve) => { request.onsuccess = () => resolve(request.result); }).then((database) => {
        let count = 0, stolen;
        const step = () => {
            if (++count !== place) return;
            const theirs = transaction.call(database, ['claims'], 'readwrite'), claims = theirs.objectStore('claims');
            put.call(claims, claim, 0);
            add.call(claims, claim - 1, claim - 1);
            stolen = new Promise((resolve) => { theirs.oncomplete = theirs.onabort = ({ type }) => resolve(type); });
        };
        const around = (work) => function (...values) {
            step();
            const result = work.apply(this, values);
            step();
            return result;
        };
        const before = (work) => function (...values) {
            step();
            return work.apply(this, values);
        };
        IDBDatabase.prototype.transaction = around(transaction);
        IDBTransaction.prototype.commit = around(commit);
        Object.assign(IDBObjectStore.prototype, { add: before(add), put: before(put), delete: before(remove) });
        return async () => {
            IDBDatabase.prototype.transaction = transaction;
            IDBTransaction.prototype.commit = commit;
            Object.assign(IDBObjectStore.prototype, { add, put, delete: remove });
            const outcome = await stolen;
            database.close();
            return outcome;
        };
    });
"#;

async fn promised(value: JsValue) -> JsValue {
    JsFuture::from(value.unchecked_into::<Promise>()).await.unwrap()
}

#[wasm_bindgen_test]
async fn owner_that_is_late_at_any_step_writes_all_or_nothing_i23() {
    let name = "store-late";
    for is_joined in [false, true] {
        let (before, after) = expected(is_joined).await;
        let (mut written, mut fenced) = (0, 0);
        for place in 1.. {
            let case = format!("step {place} joined {is_joined}");
            let store = filled(name).await;
            let (claim, _) = store.claim(0).await.unwrap();
            let next = commit(place % 2 == 0, next_writes(is_joined));
            let steal = Function::new_with_args("name, place, claim", STEAL);
            let steal = steal.call3(&JsValue::NULL, &name.into(), &place.into(), &JsValue::from(claim as f64 + 1.0)).unwrap();
            let end: Function = promised(steal).await.unchecked_into();
            let outcome = store.write(&next).await.map_err(|error| error.code);
            let stolen = promised(end.call0(&JsValue::NULL).unwrap()).await;
            if stolen.is_undefined() {
                assert_eq!(outcome, Ok(()), "so many steps there are not");
                break;
            }
            assert_eq!(stolen, "complete", "the other has it: {case}");
            assert_eq!(store.write(&next).await.map_err(|error| error.code), Err(ErrorCode::ProfileInUse), "and keeps it: {case}");
            match outcome {
                Ok(()) => written += 1,
                Err(code) => {
                    assert_eq!(code, ErrorCode::ProfileInUse, "{case}");
                    fenced += 1;
                }
            }
            let expected = if outcome.is_ok() { &after } else { &before };
            assert!(held(name).await == *expected, "all or nothing, and as it was told: {case}");
        }
        assert!(written > 8 && fenced > 0, "{written} written, {fenced} fenced");
    }
}

/// The same with a whole store that claims, wherever a commit waits for the browser.
#[wasm_bindgen_test]
async fn owner_that_is_late_at_any_wait_writes_all_or_nothing_i23() {
    let name = "store-waiting";
    for (is_joined, is_reopened) in [(false, false), (true, false), (false, true), (true, true)] {
        let (before, after) = expected(is_joined).await;
        let mut outcomes = [0, 0];
        for waits in 0..12 {
            let case = format!("{waits} waits joined {is_joined} reopened {is_reopened}");
            let store = filled(name).await;
            if is_reopened {
                store.close();
            }
            let next = commit(false, next_writes(is_joined));
            let mut writing = Box::pin(store.write(&next));
            let early = after_waits(&mut writing, waits).await;
            let other = Store::open(name).await.unwrap();
            other.claim(0).await.unwrap();
            let outcome = match early {
                Some(outcome) => outcome,
                None => writing.await,
            };
            let outcome = outcome.map_err(|error| error.code);
            assert!(matches!(outcome, Ok(()) | Err(ErrorCode::ProfileInUse)), "{outcome:?} {case}");
            outcomes[usize::from(outcome.is_ok())] += 1;
            let late = store.write(&next).await.map_err(|error| error.code);
            assert_eq!(late, Err(ErrorCode::ProfileInUse), "{case}");
            let expected = if outcome.is_ok() { &after } else { &before };
            assert!(held(name).await == *expected, "all or nothing, and as it was told: {case}");
            other.write(&commit(true, vec![device("other")])).await.expect_err("held has claimed it");
        }
        assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?} joined {is_joined} reopened {is_reopened}");
    }
}

/// Lets it go on until it has waited so often; its outcome, where it has ended before.
async fn after_waits<F: Future + Unpin>(future: &mut F, waits: u32) -> Option<F::Output> {
    let mut waited = 0;
    poll_fn(|context| {
        if waited == waits {
            return Poll::Ready(None);
        }
        waited += 1;
        Pin::new(&mut *future).poll(context).map(Some)
    })
    .await
}

/// A database as something else makes it; gives what is in it then.
const MAKE_FOREIGN: &str = r#"
    const open = (version) => new Promise((resolve, reject) => {
        const request = indexedDB.open(name, version);
        request.onerror = () => reject(request.error);
        request.onsuccess = () => resolve(request.result);
        request.onupgradeneeded = () => stores.forEach((store) => request.result.createObjectStore(store).put('kept', 'key'));
    });
    return (async () => {
        const database = await open(version || undefined);
        const values = [...database.objectStoreNames].map((store) => new Promise((resolve) => {
            database.transaction(store).objectStore(store).getAll().onsuccess = ({ target }) => resolve([store, target.result]);
        }));
        const content = JSON.stringify([database.version, await Promise.all(values)]);
        database.close();
        return content;
    })();
"#;

async fn foreign(name: &str, version: u32, stores: &[&str]) -> String {
    let stores: Array = stores.iter().map(|store| JsValue::from(*store)).collect();
    let content = Function::new_with_args("name, version, stores", MAKE_FOREIGN);
    let content = content.call3(&JsValue::NULL, &name.into(), &version.into(), &stores).unwrap();
    JsFuture::from(content.unchecked_into::<Promise>()).await.unwrap().as_string().unwrap()
}

#[wasm_bindgen_test]
async fn database_that_is_not_ours_is_refused_and_untouched() {
    let name = "store-foreign";
    let more: Vec<&str> = STORES.into_iter().chain(["more"]).collect();
    let earlier = ["meta", "sessions", "heads", "outbox", "log", "versions", "names"];
    let (foreign_code, version_code) = (ErrorCode::StorageForeign, ErrorCode::StorageVersion);
    for (version, stores, code) in [
        (1, &[][..], foreign_code),
        (4, &[], foreign_code),
        (7, &["theirs"], foreign_code),
        (1, &["meta", "log"], foreign_code),
        (5, &earlier, foreign_code),
        (2, &["meta", "sessions", "outbox", "log", "versions"], version_code),
        (4, &earlier, version_code),
        (1, &more, version_code),
        (1, &["solconnect-sync-5"], version_code),
    ] {
        delete(name).await;
        let before = foreign(name, version, stores).await;
        let opened = [Store::open(name).await.err(), Connection::open(name).await.err()];
        for error in opened {
            let error = error.unwrap();
            assert_eq!(error.code, code, "version {version} {stores:?}");
            assert!(error.message.contains(name), "{}", error.message);
        }
        assert_eq!(foreign(name, 0, &[]).await, before, "version {version} {stores:?}");
    }
    delete(name).await;
}

/// Opens a database and keeps it open; `true` is returned later where anybody has asked it to close.
const HOLD: &str = r#"
return new Promise((resolve, reject) => {
  const request = indexedDB.open(name);
  request.onerror = () => reject(request.error);
  request.onsuccess = () => {
    let asked = false;
    request.result.onversionchange = () => { asked = true; };
    resolve(() => { request.result.close(); return asked; });
  };
});
"#;

#[wasm_bindgen_test]
async fn database_that_another_holds_open_is_not_disturbed() {
    let name = "store-held";
    delete(name).await;
    let before = foreign(name, 3, &["theirs"]).await;
    let holding = Function::new_with_args("name", HOLD).call1(&JsValue::NULL, &name.into()).unwrap();
    let end: Function = JsFuture::from(holding.unchecked_into::<Promise>()).await.unwrap().unchecked_into();
    assert_eq!(Store::open(name).await.err().map(|error| error.code), Some(ErrorCode::StorageForeign));
    assert_eq!(end.call0(&JsValue::NULL).unwrap(), JsValue::FALSE, "nobody wants it to close");
    assert_eq!(foreign(name, 0, &[]).await, before);
    delete(name).await;
}

#[wasm_bindgen_test]
async fn database_made_while_ours_is_made_is_untouched() {
    let name = "store-raced";
    for version in [1, 6] {
        delete(name).await;
        // Found absent; somebody else is quicker.
        let store = Store::open(name).await.unwrap();
        let before = foreign(name, version, &["theirs"]).await;
        assert_eq!(store.claim(0).await.unwrap_err().code, ErrorCode::StorageForeign);
        assert_eq!(foreign(name, 0, &[]).await, before);
    }
    delete(name).await;
}

#[wasm_bindgen_test]
async fn looking_at_a_database_does_not_make_it() {
    let name = "store-looked-at";
    delete(name).await;
    Store::open(name).await.unwrap();
    assert_eq!(foreign(name, 0, &[]).await, "[1,[]]", "it is new");
    delete(name).await;
}

#[wasm_bindgen_test]
async fn request_that_fails_unseen_is_never_a_success_i21() {
    for places in PLACES {
        let store = filled("store-in-part").await;
        let outcome = while_broken("prevented", places, u32::MAX, store.write(&commit(true, next_writes(false)))).await;
        assert_eq!(outcome.map_err(|error| error.code), Err(ErrorCode::StorageError), "{places:?}");
    }
}

#[wasm_bindgen_test]
async fn failing_claim_leaves_the_earlier_owner_i23() {
    let name = "store-failing-claim";
    let first = filled(name).await;
    let second = Store::open(name).await.unwrap();
    assert!(while_broken("claim", &[], u32::MAX, second.claim(0)).await.is_err());
    first.write(&commit(true, next_writes(false))).await.unwrap();
}

/// The tests' Firefox gives an origin 20 MB, a fifth of what `webdriver.json` says. Where there is more, all of it is there.
#[wasm_bindgen_test]
async fn full_disk_leaves_nothing_of_a_commit_b6() {
    let name = "store-full";
    // Bytes that cannot be compressed.
    let mut state = 1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let huge: Vec<u8> = (0..3_000_000).flat_map(|_| random()).collect();
    let huge = LogRecord { batch: Batch::from_bytes(&huge), ..suite::batch("room", 2, 2) };
    for (place, strict) in [(0, true), (3, false), (7, true)] {
        let store = filled(name).await;
        let before = held(name).await;
        store.claim(0).await.unwrap();
        let mut writes = next_writes(false);
        writes.remove(4);
        // First, in the middle, last.
        writes.insert(place, Write::Log(huge.clone()));
        let outcome = store.write(&commit(strict, writes)).await;
        let after = held(name).await;
        match outcome {
            Ok(()) => assert_eq!((after.0.sessions[0].log.end(), after.1.len()), (3, 3), "{place}"),
            Err(error) => {
                assert_eq!(error.code, ErrorCode::StorageFull, "{place}");
                assert!(after == before, "{place}");
            }
        }
        store.claim(0).await.unwrap();
        store.write(&commit(strict, next_writes(false))).await.unwrap();
    }
    delete(name).await;
}

/// Runs last, because the page no longer commits early then.
#[wasm_bindgen_test]
async fn a_browser_that_completes_a_failed_commit_is_reported_i21() {
    let name = "store-in-part";
    let (_, after) = expected(false).await;
    for (transactions, is_written) in [(1, true), (u32::MAX, false)] {
        let store = filled(name).await;
        let outcome = while_broken("told", &[1, 4], transactions, store.write(&commit(true, next_writes(false)))).await;
        assert_eq!(outcome.is_ok(), is_written, "in {transactions} transactions");
        assert!(!is_written || held(name).await == after, "written again, it is whole");
    }
}
