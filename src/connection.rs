//! A connection to IndexedDB, and a transaction on it that is whole or nothing.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures_channel::oneshot;
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Function, Promise, Reflect};
use rexie::Rexie;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Event, IdbDatabase, IdbFactory, IdbIndexParameters, IdbObjectStore, IdbRequest, IdbTransaction};

use crate::arguments::field;
use crate::errors::{from_exception, name_of};
use crate::platform::scope;
use crate::promises::settle;
use crate::types::object;

/// The device record and the local wallet's key pair, by name.
pub const META: &str = "meta";
/// The claim of who may write, as [`WRITER`], and all that are over, each by its own number. No two of them can be the same: an
/// index keeps a claim that is over from being written once more as the writer's.
pub const CLAIMS: &str = "claims";
const WRITER: f64 = 0.0;
/// Answers to keyed calls, by tab and call.
pub const CALLS: &str = "calls";
/// Sessions, by id.
pub const SESSIONS: &str = "sessions";
/// Heads of sessions with many devices, by session.
pub const HEADS: &str = "heads";
/// Unsent messages, by session and counter.
pub const OUTBOX: &str = "outbox";
/// Batches of the log, by session and first sequence number.
pub const LOG: &str = "log";
/// Open versions of edited messages, by session and message.
pub const VERSIONS: &str = "versions";
/// Messages that the relay refused for good, by session and number.
pub const FAILED: &str = "failed";
/// Names that the application gave its messages, by session and name.
pub const NAMES: &str = "names";
/// The accounts of other wallets, by wallet.
pub const ACCOUNTS: &str = "accounts";
/// Invitations and what the user said to them, by session.
pub const INVITATIONS: &str = "invitations";
/// Nothing is in it: its name says who made the database, and in which format the others are. The version of the database says
/// neither, because only who names none to open it changes nothing that is there.
pub const FORMAT: &str = "solconnect-sync-9";
/// All of them.
pub const STORES: [&str; 13] = [CLAIMS, META, ACCOUNTS, SESSIONS, HEADS, OUTBOX, LOG, VERSIONS, FAILED, NAMES, INVITATIONS, CALLS, FORMAT];

/// How the names of such stores begin.
const FORMAT_PREFIX: &str = "solconnect-sync-";

/// Formats before that had a version of the database each, and these stores.
const EARLIER_FORMAT_VERSION_MAX: u32 = 4;
const EARLIER_STORES: [&str; 4] = [META, SESSIONS, OUTBOX, LOG];

/// How long a database may take to open (B9, B11).
pub const OPEN_TIMEOUT_MS: u32 = 5_000;

/// A key of `meta` that is only ever there within a transaction.
const PROBE: &str = "probe";

thread_local! {
    /// Whether this browser aborts a transaction when one of its requests fails after `commit()`, as it must. Firefox
    /// looks at the last request alone: it drops the one that failed and completes the rest. `None`: not known yet.
    static ABORTS_AFTER_COMMIT: Cell<Option<bool>> = const { Cell::new(None) };
}

#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase` with the option that stable `web-sys` has not.
    #[wasm_bindgen(extends = IdbDatabase)]
    #[derive(Clone)]
    type DurableDatabase;

    #[wasm_bindgen(method, catch)]
    fn transaction(this: &DurableDatabase, stores: &Array, mode: &str, options: &JsValue) -> Result<IdbTransaction, JsValue>;
}

/// What hears that the browser has closed a database.
pub type Watcher = Rc<dyn Fn()>;

/// What waits for the browser's answer. Chromium gives none when it closes a database because the site's data is cleared, and WebKit
/// gives none for a transaction that is aborted before it began: then this answers.
#[derive(Default)]
struct UnderWay {
    /// The transaction that was begun last to write.
    transaction: RefCell<Option<IdbTransaction>>,
    reads: RefCell<Vec<IdbRequest>>,
}

impl UnderWay {
    /// The browser has closed the database.
    fn closed(&self) {
        if let Some(transaction) = self.transaction.take() {
            answer(transaction.onabort());
        }
        for request in self.reads.take() {
            answer(request.onerror());
        }
    }
}

fn answer(handler: Option<Function>) {
    if let Some(handler) = handler {
        let _ = handler.call0(&JsValue::UNDEFINED);
    }
}

/// An open database; closed when dropped, after what is under way.
pub struct Connection {
    database: DurableDatabase,
    is_open: Rc<Cell<bool>>,
    under_way: Rc<UnderWay>,
    /// Hears that the browser has closed it.
    watcher: Rc<RefCell<Option<Watcher>>>,
    _on_end: Closure<dyn Fn()>,
    _on_close: Closure<dyn Fn()>,
}

impl Connection {
    /// Opens a database, making it where there is none.
    ///
    /// # Errors
    /// `STORAGE_FOREIGN` for one that something else made, `STORAGE_VERSION` for one of another format, `STORAGE_FULL`, `STORAGE_REFUSED`, `STORAGE_ERROR`.
    pub async fn open(name: &str) -> Result<Rc<Connection>, SyncError> {
        open_patiently(name, true).await?.ok_or_else(vanished)
    }

    /// Opens a database; `None` where there is none. Disturbs no tab that has it open.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_existing(name: &str) -> Result<Option<Rc<Connection>>, SyncError> {
        open_patiently(name, false).await
    }

    fn over(database: DurableDatabase) -> Connection {
        let is_open = Rc::new(Cell::new(true));
        let (ending, is_ending) = (database.clone(), is_open.clone());
        // Another tab wants to upgrade or delete it and waits for us (B11).
        let on_end = Closure::<dyn Fn()>::new(move || {
            ending.close();
            is_ending.set(false);
        });
        database.set_onversionchange(Some(on_end.as_ref().unchecked_ref()));
        let watcher: Rc<RefCell<Option<Watcher>>> = Rc::default();
        let under_way: Rc<UnderWay> = Rc::default();
        let (is_closing, watching, waiting) = (is_open.clone(), watcher.clone(), under_way.clone());
        // The browser has closed it: it failed, or what the site has stored is cleared (P26).
        let on_close = Closure::<dyn Fn()>::new(move || {
            is_closing.set(false);
            waiting.closed();
            let watcher = watching.borrow().clone();
            if let Some(watcher) = watcher {
                watcher();
            }
        });
        database.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Connection { database, is_open, under_way, watcher, _on_end: on_end, _on_close: on_close }
    }

    /// Says who hears that the browser has closed it.
    pub fn watch(&self, watcher: Watcher) {
        self.watcher.replace(Some(watcher));
    }

    /// Opens a database with an outbox alone, making it where there is none.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_spare(factory: Result<IdbFactory, JsValue>, name: &str) -> Result<Connection, SyncError> {
        open_as_it_is(factory, name, &[OUTBOX]).await?.ok_or_else(vanished)
    }

    /// Whether the browser has not closed it.
    pub fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// Finds out, once for each page, whether transactions can be committed early (see [`Transaction::commit`]). Asks
    /// the browser itself: makes a request fail that is not the last one. Nothing of it stays, whatever the browser does.
    ///
    /// # Errors
    /// `STORAGE_ERROR`; it is not known then.
    pub async fn learn_to_commit(&self) -> Result<(), SyncError> {
        if ABORTS_AFTER_COMMIT.get().is_some() {
            return Ok(());
        }
        let mut transaction = Transaction::begin(self, &[META], false)?;
        // Only the browser's own rules shall abort it.
        transaction.inner.set_onerror(None);
        let meta = transaction.store(META)?;
        let key = JsValue::from(PROBE);
        let requests = [meta.delete(&key), meta.add_with_key(&key, &key), meta.add_with_key(&key, &key), meta.delete(&key)];
        requests.into_iter().collect::<Result<Vec<_>, _>>().map_err(|exception| to_error(&exception))?;
        transaction.commit_early();
        if transaction.completes().await {
            ABORTS_AFTER_COMMIT.set(Some(false));
        } else if transaction.inner.error().is_some_and(|exception| exception.name() == "ConstraintError") {
            ABORTS_AFTER_COMMIT.set(Some(true));
        }
        Ok(())
    }

    /// The last claim; 0 where there is none.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn last_claim(&self) -> Result<u64, SyncError> {
        let last = self.get(CLAIMS, WRITER.into()).await?;
        if last.is_undefined() {
            return Ok(0);
        }
        last.as_f64().map(|claim| claim as u64).ok_or_else(|| SyncError::new(ErrorCode::StorageError, "a claim is no number"))
    }

    /// Closes it at once. What is being written is aborted, unless it commits already: in a page that is frozen it would not end
    /// (P5).
    pub fn abandon(&self) {
        if let Some(transaction) = self.under_way.transaction.take() {
            // Fails where it commits or has ended, as it should.
            if transaction.abort().is_ok() {
                answer(transaction.onabort());
            }
        }
        self.database.close();
        self.is_open.set(false);
    }

    /// What a store has under a key; `undefined` where it has nothing.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn get(&self, store: &str, key: JsValue) -> Result<JsValue, SyncError> {
        self.read(store, |store| store.get(&key)).await
    }

    /// The result of one request to a store. Chromium ends its transaction by itself: a page that is frozen meanwhile keeps nobody
    /// from the store, as it would between two requests (P5).
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn read(&self, store: &str, ask: impl FnOnce(&IdbObjectStore) -> Result<IdbRequest, JsValue>) -> Result<JsValue, SyncError> {
        let transaction = self.database.transaction_with_str(store).map_err(|exception| to_error(&exception))?;
        let store = transaction.object_store(store).map_err(|exception| to_error(&exception))?;
        let request = ask(&store).map_err(|exception| to_error(&exception))?;
        self.under_way.reads.borrow_mut().push(request.clone());
        let result = result_of(Ok(request.clone()));
        // See `commit_early`.
        #[allow(deprecated)]
        let _ = transaction.commit();
        let result = result.await;
        self.under_way.reads.borrow_mut().retain(|read| *read != request);
        result
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.database.set_onclose(None);
        self.database.set_onversionchange(None);
        self.database.close();
    }
}

/// Opens a database, trying it twice: what is asked while a site's data is cleared fails then (P26), and any open may hang (B9).
/// Opening goes on when the wait is over: a request cannot be taken back. What comes late is closed.
async fn open_patiently(name: &str, may_make: bool) -> Result<Option<Rc<Connection>>, SyncError> {
    for is_last in [false, true] {
        let (sender, receiver) = oneshot::channel();
        let name = name.to_owned();
        spawn_local(async move {
            let _ = sender.send(open_once(&name, may_make).await);
        });
        match within(OPEN_TIMEOUT_MS, receiver).await {
            Some(Ok(Err(error))) if error.code == ErrorCode::StorageError && !is_last => {}
            Some(Ok(outcome)) => return outcome.map(|connection| connection.map(Rc::new)),
            _ => {}
        }
    }
    let waited = (OPEN_TIMEOUT_MS / 1_000).to_string();
    let message = ["the database did not open within ", &waited, " seconds, twice; another tab may keep it from opening"];
    Err(SyncError::new(ErrorCode::StorageError, message.concat()))
}

async fn open_once(name: &str, may_make: bool) -> Result<Option<Connection>, SyncError> {
    let opened = open_as_it_is(factory(), name, if may_make { &STORES } else { &[] }).await?;
    opened.map(|connection| check(connection, name)).transpose()
}

fn vanished() -> SyncError {
    SyncError::new(ErrorCode::StorageError, "the database was deleted while it was opened")
}

/// The databases of the page.
///
/// # Errors
/// The exception, where it may have none.
pub fn factory() -> Result<IdbFactory, JsValue> {
    Reflect::get(&scope(), &"indexedDB".into()).and_then(JsCast::dyn_into::<IdbFactory>)
}

/// Opens a database as it is. One that is not there is made with these stores, in the transaction that makes it; `None` where there
/// are no stores. No version is ever asked for: that would close a lower one for other tabs, and raise it.
async fn open_as_it_is(
    factory: Result<IdbFactory, JsValue>,
    name: &str,
    stores: &'static [&'static str],
) -> Result<Option<Connection>, SyncError> {
    let request = factory.and_then(|factory| factory.open(name)).map_err(|exception| to_open_error(&exception))?;
    let is_absent = Rc::new(Cell::new(false));
    let (making, found) = (request.clone(), is_absent.clone());
    // Without a version only a new database is upgraded.
    let on_upgrade = Closure::<dyn Fn()>::new(move || {
        let database = making.result().map(JsCast::unchecked_into::<IdbDatabase>);
        let made = database.and_then(|database| stores.iter().try_for_each(|store| make_store(&database, store)));
        found.set(stores.is_empty());
        // It shall not come to be.
        if (stores.is_empty() || made.is_err())
            && let Some(transaction) = making.transaction()
        {
            let _ = transaction.abort();
        }
    });
    request.set_onupgradeneeded(Some(on_upgrade.as_ref().unchecked_ref()));
    match settled(&request).await {
        Ok(database) => Ok(Some(Connection::over(database.unchecked_into()))),
        Err(_) if is_absent.get() => Ok(None),
        Err(exception) => Err(to_open_error(&exception)),
    }
}

fn make_store(database: &IdbDatabase, name: &str) -> Result<(), JsValue> {
    let store = database.create_object_store(name)?;
    if name == CLAIMS {
        let is_unique = IdbIndexParameters::new();
        is_unique.set_unique(true);
        store.create_index_with_str_and_optional_parameters("claim", "", &is_unique)?;
    }
    Ok(())
}

/// Passes on a connection to a database of our format.
fn check(connection: Connection, name: &str) -> Result<Connection, SyncError> {
    let version = connection.database.version() as u32;
    let names = connection.database.object_store_names();
    let found: Vec<String> = (0..names.length()).filter_map(|place| names.get(place)).collect();
    let has = |store: &&str| found.iter().any(|name| name == store);
    if found.len() == STORES.len() && STORES.iter().all(has) {
        return Ok(connection);
    }
    let is_earlier = version <= EARLIER_FORMAT_VERSION_MAX && EARLIER_STORES.iter().all(has);
    let is_ours = is_earlier || found.iter().any(|name| name.starts_with(FORMAT_PREFIX));
    Err(if is_ours { other_format(name) } else { foreign(name) })
}

/// Deletes a database. Resolves when it is gone, which other tabs can delay by keeping it open.
#[wasm_bindgen(js_name = deleteDatabase, unchecked_return_type = "Promise<Result<null>>")]
pub fn delete_database(name: String) -> Promise {
    settle(async move {
        match Rexie::delete(&name).await {
            Ok(()) => Ok(JsValue::NULL),
            Err(rexie::Error::IdbError(idb::Error::DomException(exception))) => Err(to_error(&exception)),
            Err(_) => Err(SyncError::new(ErrorCode::StorageError, "IndexedDB: the database could not be deleted")),
        }
    })
}

fn other_format(name: &str) -> SyncError {
    let message = [
        "another version of this SDK made the database \"",
        name,
        "\". It is left as it is: choose another databaseName, use the SDK that made it, or delete it",
    ];
    SyncError::new(ErrorCode::StorageVersion, message.concat())
}

fn foreign(name: &str) -> SyncError {
    let message = ["something else made the database \"", name, "\". It is left as it is: choose another databaseName"];
    SyncError::new(ErrorCode::StorageForeign, message.concat())
}

/// A number as a key or a value.
pub fn number(number: u64) -> JsValue {
    JsValue::from(number as f64)
}

/// A transaction that writes. Dropped before `commit`, it is aborted: by itself a browser would commit what was issued.
pub struct Transaction {
    inner: IdbTransaction,
    is_committed: bool,
    /// Resolves with the event that ends it.
    ended: Promise,
    /// Why the first of its requests failed that did.
    failure: Rc<RefCell<Option<SyncError>>>,
    /// The request that fails where another has claimed the database.
    claim: Rc<RefCell<Option<IdbRequest>>>,
    _on_error: Closure<dyn Fn(Event)>,
}

impl Transaction {
    /// Begins one. `strict`: it must survive a power cut.
    ///
    /// # Errors
    /// `STORAGE_ERROR` where the connection is dead.
    pub fn begin(connection: &Connection, stores: &[&str], strict: bool) -> Result<Transaction, SyncError> {
        let stores: Array = stores.iter().map(|store| JsValue::from(*store)).collect();
        let durability = if strict { "strict" } else { "relaxed" };
        let options = object(&[("durability", durability.into())]);
        let inner = connection.database.transaction(&stores, "readwrite", &options).map_err(|exception| to_error(&exception))?;
        let ended = Promise::new(&mut |resolve, _| {
            inner.set_oncomplete(Some(&resolve));
            inner.set_onabort(Some(&resolve));
        });
        connection.under_way.transaction.replace(Some(inner.clone()));
        let failure = Rc::new(RefCell::new(None));
        let claim: Rc<RefCell<Option<IdbRequest>>> = Rc::default();
        let (failing, failed, claiming) = (inner.clone(), failure.clone(), claim.clone());
        let on_error = Closure::<dyn Fn(Event)>::new(move |event: Event| {
            let request: Option<IdbRequest> = event.target().map(JsCast::unchecked_into);
            let exception = request.as_ref().and_then(|request| request.error().ok().flatten());
            let is_claimed =
                request == *claiming.borrow() && exception.as_ref().is_some_and(|exception| exception.name() == "ConstraintError");
            failed.borrow_mut().get_or_insert_with(|| match exception {
                _ if is_claimed => SyncError::new(ErrorCode::ProfileInUse, "another has claimed this database"),
                Some(exception) => to_error(&exception),
                None => aborted(),
            });
            // The browser does it by itself unless a page keeps it from that. Fails after `commit()`.
            let _ = failing.abort();
        });
        inner.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Ok(Transaction { inner, is_committed: false, ended, failure, claim, _on_error: on_error })
    }

    /// One of its stores.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn store(&self, name: &str) -> Result<IdbObjectStore, SyncError> {
        self.inner.object_store(name).map_err(|exception| to_error(&exception))
    }

    /// Writes under a claim. Where another has claimed the database since, the transaction fails as a whole, with `PROFILE_IN_USE`.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn write_under(&self, claim: u64) -> Result<(), SyncError> {
        self.fence(self.store(CLAIMS)?.put_with_key(&number(claim), &WRITER.into()))
    }

    /// Claims the database after the last claim (0: the first time). Where that is no longer the last one, fails alike.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn claim(&self, last: u64, claim: u64) -> Result<(), SyncError> {
        let claims = self.store(CLAIMS)?;
        if last == 0 {
            return self.fence(claims.add_with_key(&number(claim), &WRITER.into()));
        }
        claims.put_with_key(&number(claim), &WRITER.into()).map_err(|exception| to_error(&exception))?;
        self.fence(claims.add_with_key(&number(last), &number(last)))
    }

    fn fence(&self, request: Result<IdbRequest, JsValue>) -> Result<(), SyncError> {
        self.claim.replace(Some(request.map_err(|exception| to_error(&exception))?));
        Ok(())
    }

    /// Commits, and waits until it is done. Requests need not be waited for: one that fails aborts the transaction.
    ///
    /// `commit()` saves the wait for the answers to the requests, and a page that is frozen meanwhile blocks no other
    /// tab. It is called only in a browser that was seen to abort then; elsewhere a transaction commits by itself once
    /// its requests have succeeded.
    ///
    /// # Errors
    /// `PROFILE_IN_USE`, `STORAGE_FULL` (which browsers tell only now), `STORAGE_ERROR`; nothing is written then.
    pub async fn commit(mut self) -> Result<(), SyncError> {
        if ABORTS_AFTER_COMMIT.get() == Some(true) {
            self.commit_early();
        }
        self.is_committed = true;
        let is_complete = self.completes().await;
        let failure = self.failure.take();
        match (is_complete, failure) {
            (true, None) => Ok(()),
            (false, Some(failure)) if failure.code == ErrorCode::ProfileInUse => Err(failure),
            (true, Some(_)) => {
                // What the browser showed at the start does not hold. Written again, the commit is whole.
                ABORTS_AFTER_COMMIT.set(Some(false));
                Err(SyncError::new(ErrorCode::StorageError, "the browser has completed a transaction that failed in part"))
            }
            // Requests that fell with the transaction do not say why it fell.
            (false, failure) => Err(self.inner.error().map(|exception| to_error(&exception)).or(failure).unwrap_or_else(aborted)),
        }
    }

    fn commit_early(&mut self) {
        // An exception means that it has ended already; how, is what the events tell. Every browser has had this method
        // for years, whatever web-sys marks it as.
        #[allow(deprecated)]
        let _ = self.inner.commit();
        self.is_committed = true;
    }

    /// Waits until it has ended, and says whether it is complete.
    async fn completes(&self) -> bool {
        let event = JsFuture::from(self.ended.clone()).await.unwrap_or_default();
        // Not by its class: what stands in for IndexedDB in Node.js has events of its own.
        field(&event, "type").as_string().as_deref() == Some("complete")
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.inner.set_oncomplete(None);
        self.inner.set_onabort(None);
        self.inner.set_onerror(None);
        if !self.is_committed {
            // Fails where it has ended by itself, as it should.
            let _ = self.inner.abort();
        }
    }
}

/// The result of a request that was made, or the exception that it fails with. What it tells is heard from now on,
/// whenever the future is awaited.
fn settled(request: &IdbRequest) -> impl Future<Output = Result<JsValue, JsValue>> + use<> {
    let request = request.clone();
    let settled = Promise::new(&mut |resolve, _| {
        request.set_onsuccess(Some(&resolve));
        request.set_onerror(Some(&resolve));
    });
    async move {
        JsFuture::from(settled).await?;
        match request.error()? {
            Some(exception) => Err(exception.into()),
            None => request.result(),
        }
    }
}

/// The result of a request, or why it could not be made or failed.
///
/// # Errors
/// `STORAGE_FULL`, `STORAGE_ERROR`.
pub fn result_of(request: Result<IdbRequest, JsValue>) -> impl Future<Output = Result<JsValue, SyncError>> {
    let settled = request.map(|request| settled(&request));
    async move {
        match settled {
            Ok(settled) => settled.await.map_err(|exception| to_error(&exception)),
            Err(exception) => Err(to_error(&exception)),
        }
    }
}

fn aborted() -> SyncError {
    SyncError::new(ErrorCode::StorageError, "the transaction was aborted")
}

fn to_open_error(exception: &JsValue) -> SyncError {
    match name_of(exception).as_str() {
        "SecurityError" | "InvalidStateError" | "" => from_exception(ErrorCode::StorageRefused, "IndexedDB", exception),
        _ => to_error(exception),
    }
}

/// What a failed request, an aborted transaction or a dead connection means.
pub fn to_error(exception: &JsValue) -> SyncError {
    let code = match name_of(exception).as_str() {
        "QuotaExceededError" => ErrorCode::StorageFull,
        _ => ErrorCode::StorageError,
    };
    from_exception(code, "IndexedDB", exception)
}

/// What a future gives, or `None` after so many milliseconds. The future is dropped then.
pub async fn within<F: Future + Unpin>(ms: u32, mut future: F) -> Option<F::Output> {
    let mut timeout = TimeoutFuture::new(ms);
    poll_fn(|context| match Pin::new(&mut future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Pin::new(&mut timeout).poll(context).map(|()| None),
    })
    .await
}
