//! A connection to IndexedDB, and a transaction on it that is whole or nothing.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures_channel::oneshot;
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Promise, Reflect};
use rexie::{ObjectStore, Rexie};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Event, IdbDatabase, IdbFactory, IdbObjectStore, IdbRequest, IdbTransaction};

use crate::errors::{from_exception, name_of};
use crate::platform::scope;
use crate::types::object;

/// The device record, the owner token and the local wallet's key pair, by name.
pub const META: &str = "meta";
/// Sessions, by id.
pub const SESSIONS: &str = "sessions";
/// Unsent messages, by session and counter.
pub const OUTBOX: &str = "outbox";
/// Batches of the log, by session and first sequence number.
pub const LOG: &str = "log";
/// Open versions of edited messages, by session and message.
pub const VERSIONS: &str = "versions";
/// All of them.
pub const STORES: [&str; 5] = [META, SESSIONS, OUTBOX, LOG, VERSIONS];

/// The version of the stores. Every version declares all of them: an upgrade deletes what is not declared.
const SCHEMA_VERSION: u32 = 2;

/// Versions before this one had keys inside their records and were never released: such a database is made anew.
const OLDEST_VERSION: u32 = 2;

/// How long a database may take to open (B9, B11).
const OPEN_TIMEOUT_MS: u32 = 5_000;

#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase` with the option that stable `web-sys` has not.
    #[wasm_bindgen(extends = IdbDatabase)]
    #[derive(Clone)]
    type DurableDatabase;

    #[wasm_bindgen(method, catch)]
    fn transaction(this: &DurableDatabase, stores: &Array, mode: &str, options: &JsValue) -> Result<IdbTransaction, JsValue>;
}

/// An open database; closed when dropped, after what is under way.
pub struct Connection {
    database: DurableDatabase,
    is_open: Rc<Cell<bool>>,
    /// Whether its store has found itself the owner of this database.
    pub is_owned: Cell<bool>,
    _on_end: Closure<dyn Fn()>,
}

impl Connection {
    /// Opens a database, making its stores where it is new or older.
    ///
    /// # Errors
    /// `STORAGE_FULL`, `STORAGE_REFUSED`, `STORAGE_ERROR`.
    pub async fn open(name: &str) -> Result<Rc<Connection>, SyncError> {
        let opened = open_patiently(name, true).await?;
        opened.ok_or_else(|| SyncError::new(ErrorCode::StorageError, "the database was deleted while it was opened"))
    }

    /// Opens a database that needs no change; `None` where it is new or older. Disturbs no tab that has it open.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_current(name: &str) -> Result<Option<Rc<Connection>>, SyncError> {
        open_patiently(name, false).await
    }

    fn over(database: DurableDatabase) -> Connection {
        let is_open = Rc::new(Cell::new(true));
        let (ending, is_ending) = (database.clone(), is_open.clone());
        // The browser has closed it, or another tab wants to upgrade or delete it and waits for us (B11).
        let on_end = Closure::<dyn Fn()>::new(move || {
            ending.close();
            is_ending.set(false);
        });
        database.set_onclose(Some(on_end.as_ref().unchecked_ref()));
        database.set_onversionchange(Some(on_end.as_ref().unchecked_ref()));
        Connection { database, is_open, is_owned: Cell::new(false), _on_end: on_end }
    }

    /// Whether the browser has not closed it.
    pub fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// One store, only to be read.
    ///
    /// # Errors
    /// `STORAGE_ERROR` where the connection is dead.
    pub fn read(&self, store: &str) -> Result<IdbObjectStore, SyncError> {
        let transaction = self.database.transaction_with_str(store).map_err(|exception| to_error(&exception))?;
        transaction.object_store(store).map_err(|exception| to_error(&exception))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.database.set_onclose(None);
        self.database.set_onversionchange(None);
        self.database.close();
    }
}

/// Opens a database, waiting for it twice. Opening goes on when the wait is over: a request cannot be taken back. What
/// comes late is closed.
async fn open_patiently(name: &str, may_change: bool) -> Result<Option<Rc<Connection>>, SyncError> {
    for _ in 0..2 {
        let (sender, receiver) = oneshot::channel();
        let name = name.to_owned();
        spawn_local(async move {
            let _ = sender.send(open_once(&name, may_change).await);
        });
        if let Some(Ok(outcome)) = within(OPEN_TIMEOUT_MS, receiver).await {
            return outcome.map(|connection| connection.map(Rc::new));
        }
    }
    let waited = (OPEN_TIMEOUT_MS / 1_000).to_string();
    let message = ["the database did not open within ", &waited, " seconds, twice; another tab may keep an old version of it"];
    Err(SyncError::new(ErrorCode::StorageError, message.concat()))
}

async fn open_once(name: &str, may_change: bool) -> Result<Option<Connection>, SyncError> {
    let mut opened = open_existing(name).await?;
    if let (Opened::Older(version), true) = (&opened, may_change) {
        make_current(name, *version).await?;
        opened = open_existing(name).await?;
    }
    Ok(if let Opened::Current(connection) = opened { Some(connection) } else { None })
}

enum Opened {
    Current(Connection),
    /// It has this version, 0 where there is no such database.
    Older(u32),
}

/// Opens a database as it is. Asks for no version: that would close it for other tabs where it is older.
async fn open_existing(name: &str) -> Result<Opened, SyncError> {
    let factory = Reflect::get(&scope(), &"indexedDB".into()).and_then(JsCast::dyn_into::<IdbFactory>);
    let request = factory.and_then(|factory| factory.open(name)).map_err(|exception| to_open_error(&exception))?;
    let is_new = Rc::new(Cell::new(false));
    let (making, found) = (request.clone(), is_new.clone());
    let on_upgrade = Closure::<dyn Fn()>::new(move || {
        found.set(true);
        if let Some(transaction) = making.transaction() {
            let _ = transaction.abort();
        }
    });
    request.set_onupgradeneeded(Some(on_upgrade.as_ref().unchecked_ref()));
    let database: DurableDatabase = match settled(&request).await {
        Ok(database) => database.unchecked_into(),
        Err(_) if is_new.get() => return Ok(Opened::Older(0)),
        Err(exception) => return Err(to_open_error(&exception)),
    };
    let version = database.version() as u32;
    let connection = Connection::over(database);
    match version {
        SCHEMA_VERSION => Ok(Opened::Current(connection)),
        older if older < SCHEMA_VERSION => Ok(Opened::Older(older)),
        _ => Err(SyncError::new(ErrorCode::StorageError, "the database was made by a newer version of the SDK")),
    }
}

/// Makes the stores of the current version.
async fn make_current(name: &str, version: u32) -> Result<(), SyncError> {
    let to_error = |error| match error {
        rexie::Error::IdbError(idb::Error::DomException(exception)) => to_open_error(&exception),
        rexie::Error::IdbError(idb::Error::IndexedDbOpenFailed(exception)) => to_open_error(&exception),
        _ => SyncError::new(ErrorCode::StorageError, "the stores of the database could not be made"),
    };
    if (1..OLDEST_VERSION).contains(&version) {
        Rexie::delete(name).await.map_err(to_error)?;
    }
    let builder = STORES.into_iter().fold(Rexie::builder(name), |builder, store| builder.add_object_store(ObjectStore::new(store)));
    // Rexie does not give out what it opened.
    builder.version(SCHEMA_VERSION).build().await.map(Rexie::close).map_err(to_error)
}

/// A transaction that writes. Dropped before `commit`, it is aborted: by itself a browser would commit what was issued.
pub struct Transaction {
    inner: IdbTransaction,
    is_committed: bool,
    /// Resolves with the event that ends it.
    ended: Promise,
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
        Ok(Transaction { inner, is_committed: false, ended })
    }

    /// One of its stores.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn store(&self, name: &str) -> Result<IdbObjectStore, SyncError> {
        self.inner.object_store(name).map_err(|exception| to_error(&exception))
    }

    /// Commits, and waits until it is done. Requests are not waited for: one that fails aborts the transaction.
    ///
    /// # Errors
    /// `STORAGE_FULL` (which browsers tell only now), `STORAGE_ERROR`; nothing is written then.
    pub async fn commit(mut self) -> Result<(), SyncError> {
        // An exception means that it has ended already; how, is what the events tell. Every browser has had this method
        // for years, whatever web-sys marks it as.
        #[allow(deprecated)]
        let _ = self.inner.commit();
        self.is_committed = true;
        let event = JsFuture::from(self.ended.clone()).await;
        if event.is_ok_and(|event| event.unchecked_into::<Event>().type_() == "complete") {
            return Ok(());
        }
        Err(self
            .inner
            .error()
            .map_or_else(|| SyncError::new(ErrorCode::StorageError, "the transaction was aborted"), |exception| to_error(&exception)))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.inner.set_oncomplete(None);
        self.inner.set_onabort(None);
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
async fn within<F: Future + Unpin>(ms: u32, mut future: F) -> Option<F::Output> {
    let mut timeout = TimeoutFuture::new(ms);
    poll_fn(|context| match Pin::new(&mut future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Pin::new(&mut timeout).poll(context).map(|()| None),
    })
    .await
}
