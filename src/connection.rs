//! A connection to IndexedDB, and a transaction on it that is whole or nothing.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures_channel::oneshot;
use gloo_timers::future::TimeoutFuture;
use idb::{Event as _, Factory, Request as _, TransactionMode};
use js_sys::Array;
use rexie::{ObjectStore, Rexie};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::{IdbDatabase, IdbTransaction};

use crate::errors::{from_exception, name_of};
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
const SCHEMA_VERSION: u32 = 1;

/// How long a database may take to open (B9, B11).
const OPEN_TIMEOUT_MS: u32 = 5_000;

#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase` with the option that neither `idb` nor stable `web-sys` has.
    #[wasm_bindgen(extends = IdbDatabase)]
    type DurableDatabase;

    #[wasm_bindgen(method, catch)]
    fn transaction(this: &DurableDatabase, stores: &Array, mode: &str, options: &JsValue) -> Result<IdbTransaction, JsValue>;
}

/// An open database; closed when dropped, after what is under way.
pub struct Connection {
    database: idb::Database,
    raw: DurableDatabase,
    is_open: Rc<Cell<bool>>,
}

impl Connection {
    /// Opens a database, waiting for it twice.
    ///
    /// # Errors
    /// `STORAGE_FULL`, `STORAGE_REFUSED`, `STORAGE_ERROR`.
    pub async fn open_patiently(name: &str) -> Result<Rc<Connection>, SyncError> {
        for _ in 0..2 {
            let (sender, receiver) = oneshot::channel();
            let name = name.to_owned();
            // Opening goes on when the wait is over: a request cannot be taken back. What comes late is closed.
            spawn_local(async move {
                let _ = sender.send(Connection::open(&name).await);
            });
            if let Some(Ok(outcome)) = within(OPEN_TIMEOUT_MS, receiver).await {
                return outcome.map(Rc::new);
            }
        }
        let message = format!("the database did not open within {OPEN_TIMEOUT_MS} ms, twice; another tab may keep an old version of it");
        Err(SyncError::new(ErrorCode::StorageError, message))
    }

    async fn open(name: &str) -> Result<Connection, SyncError> {
        let by_session = |store: &str, second: &str| ObjectStore::new(store).key_path_array(["sessionId", second]);
        let rexie = Rexie::builder(name)
            .version(SCHEMA_VERSION)
            .add_object_store(ObjectStore::new(META))
            .add_object_store(ObjectStore::new(SESSIONS).key_path("sessionId"))
            .add_object_store(by_session(OUTBOX, "counter"))
            .add_object_store(by_session(LOG, "first"))
            .add_object_store(by_session(VERSIONS, "messageId"))
            .build()
            .await
            .map_err(|error| match error {
                rexie::Error::IdbError(error) => to_open_error(error),
                other => SyncError::new(ErrorCode::StorageError, other.to_string()),
            })?;
        // Rexie does not give out what it opened. Its stores exist now; another deleting them in between is noticed.
        let mut request = Factory::new().map_err(to_open_error)?.open(name, Some(SCHEMA_VERSION)).map_err(to_open_error)?;
        request.on_upgrade_needed(|event| {
            if let Some(transaction) = event.target().ok().and_then(|request| request.transaction()) {
                let _ = transaction.abort();
            }
        });
        let opened = request.await;
        rexie.close();
        let raw: DurableDatabase = JsValue::from(opened.map_err(to_open_error)?).unchecked_into();

        let is_open = Rc::new(Cell::new(true));
        let mut database = idb::Database::from(IdbDatabase::clone(&raw));
        let (on_close, on_change, changing) = (is_open.clone(), is_open.clone(), raw.clone());
        database.on_close(move |_| on_close.set(false));
        // Another tab wants to upgrade or delete it, and waits for us (B11).
        database.on_version_change(move |_| {
            changing.close();
            on_change.set(false);
        });
        Ok(Connection { database, raw, is_open })
    }

    /// Whether the browser has not closed it.
    pub fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// A transaction that only reads.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn read(&self, stores: &[&str]) -> Result<idb::Transaction, SyncError> {
        self.database.transaction(stores, TransactionMode::ReadOnly).map_err(to_error)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.raw.set_onclose(None);
        self.raw.set_onversionchange(None);
        self.raw.close();
    }
}

/// A transaction that writes. Dropped before `commit`, it is aborted: by itself a browser would commit what was issued.
pub struct Transaction {
    inner: idb::Transaction,
    raw: IdbTransaction,
    completed: oneshot::Receiver<bool>,
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
        let raw = connection.raw.transaction(&stores, "readwrite", &options).map_err(|exception| to_storage_error(&exception))?;
        let mut inner = idb::Transaction::from(raw.clone());
        let (sender, completed) = oneshot::channel();
        let sender = Rc::new(RefCell::new(Some(sender)));
        let tell = |sender: Rc<RefCell<Option<oneshot::Sender<bool>>>>, completed| {
            move |_event| {
                if let Some(sender) = sender.take() {
                    let _ = sender.send(completed);
                }
            }
        };
        inner.on_complete(tell(sender.clone(), true));
        inner.on_abort(tell(sender, false));
        Ok(Transaction { inner, raw, completed })
    }

    /// One of its stores.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn store(&self, name: &str) -> Result<idb::ObjectStore, SyncError> {
        self.inner.object_store(name).map_err(to_error)
    }

    /// Commits, and waits until it is done. Requests are not waited for: one that fails aborts the transaction.
    ///
    /// # Errors
    /// `STORAGE_FULL` (which browsers tell only now), `STORAGE_ERROR`; nothing is written then.
    pub async fn commit(mut self) -> Result<(), SyncError> {
        // An exception means that it has ended already; how, is what the events tell. Every browser has had this method
        // for years, whatever web-sys marks it as.
        #[allow(deprecated)]
        let _ = self.raw.commit();
        match (&mut self.completed).await {
            Ok(true) => Ok(()),
            _ => Err(self.raw.error().map_or_else(
                || SyncError::new(ErrorCode::StorageError, "the transaction was aborted"),
                |exception| to_storage_error(&exception),
            )),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.raw.set_oncomplete(None);
        self.raw.set_onabort(None);
        // After a commit this fails, as it should.
        let _ = self.raw.abort();
    }
}

/// What a failed request or a dead connection means.
pub fn to_error(error: idb::Error) -> SyncError {
    to_storage_error(&exception_of(error))
}

fn to_open_error(error: idb::Error) -> SyncError {
    let exception = exception_of(error);
    match name_of(&exception).as_str() {
        "SecurityError" | "InvalidStateError" | "" => from_exception(ErrorCode::StorageRefused, "IndexedDB", &exception),
        _ => to_storage_error(&exception),
    }
}

fn to_storage_error(exception: &JsValue) -> SyncError {
    let code = match name_of(exception).as_str() {
        "QuotaExceededError" => ErrorCode::StorageFull,
        _ => ErrorCode::StorageError,
    };
    from_exception(code, "IndexedDB", exception)
}

fn exception_of(error: idb::Error) -> JsValue {
    use idb::Error::*;
    match error {
        DomException(exception) => exception.into(),
        AddFailed(exception)
        | CursorContinueFailed(exception)
        | DeleteFailed(exception)
        | GetAllFailed(exception)
        | GetFailed(exception)
        | IndexedDbNotFound(exception)
        | IndexedDbOpenFailed(exception)
        | ObjectStoreNotFound(exception)
        | OpenCursorFailed(exception)
        | TransactionOpenFailed(exception)
        | UpdateFailed(exception) => exception,
        other => js_sys::Error::new(&other.to_string()).into(),
    }
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
