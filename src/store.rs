//! IndexedDB: the records of one device, written in transactions.
//!
//! Rules that the tests protect: only `complete` counts; a transaction that is dropped half-way is aborted (B8); all
//! that a commit writes is issued in one burst (B7); whoever opened the database last owns it, and everyone else's
//! writes abort (I23); a dead connection is thrown away and opened again once (B6, B10).

use std::cell::RefCell;
use std::rc::Rc;

use idb::{CursorDirection, KeyRange, ObjectStore, Query};
use js_sys::Array;
use serde::de::DeserializeOwned;
use solconnect_sync_core::client::{Commit, LogRecord, Snapshot, Write};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::log;
use solconnect_sync_core::message::Entry;
use wasm_bindgen::JsValue;

use crate::connection::{Connection, LOG, META, OUTBOX, SESSIONS, STORES, Transaction, VERSIONS, to_error};
use crate::platform::random;
use crate::types::{from_js, to_js};

/// Keys of `meta`.
const DEVICE: &str = "device";
const OWNER: &str = "owner";
const WALLET: &str = "wallet";

/// An open database.
pub struct Store {
    name: String,
    owner: String,
    connection: RefCell<Option<Rc<Connection>>>,
}

/// A request of a commit, ready to be issued.
enum Step {
    Put { store: &'static str, value: JsValue, key: Option<JsValue> },
    Delete { store: &'static str, query: Query },
}

impl Store {
    /// Opens a database, creating it where it is new. It can be read, and written once it is claimed.
    ///
    /// # Errors
    /// `STORAGE_FULL`, `STORAGE_REFUSED`, `STORAGE_ERROR` (also where it does not open within 5 seconds, twice).
    pub async fn open(name: &str) -> Result<Store, SyncError> {
        let connection = Connection::open_patiently(name).await?;
        let token: [u8; 16] = random()?;
        let owner = bs58::encode(token).into_string();
        Ok(Store { name: name.to_owned(), owner, connection: RefCell::new(Some(connection)) })
    }

    /// Makes this the one that may write; an earlier owner's next write fails.
    ///
    /// # Errors
    /// As [`Store::write`], but for `PROFILE_IN_USE`.
    pub async fn claim(&self) -> Result<(), SyncError> {
        self.run(async |connection| {
            let transaction = Transaction::begin(connection, &[META], true)?;
            transaction.store(META)?.put(&self.owner.as_str().into(), Some(&OWNER.into())).map_err(to_error)?;
            transaction.commit().await
        })
        .await
    }

    /// Writes all of a commit, or nothing.
    ///
    /// # Errors
    /// `PROFILE_IN_USE` when another has claimed the database, `STORAGE_FULL`, `STORAGE_ERROR`.
    pub async fn write(&self, commit: &Commit) -> Result<(), SyncError> {
        let steps = commit.writes.iter().map(step).collect::<Result<Vec<_>, _>>()?;
        self.run(async |connection| {
            let transaction = Transaction::begin(connection, &STORES, commit.strict)?;
            let owner = transaction.store(META)?.get(JsValue::from(OWNER)).map_err(to_error)?.await.map_err(to_error)?;
            if owner != Some(self.owner.as_str().into()) {
                return Err(SyncError::new(ErrorCode::ProfileInUse, "another tab has taken over this database"));
            }
            for step in &steps {
                match step {
                    Step::Put { store, value, key } => {
                        transaction.store(store)?.put(value, key.as_ref()).map_err(to_error)?;
                    }
                    Step::Delete { store, query } => {
                        transaction.store(store)?.delete(query.clone()).map_err(to_error)?;
                    }
                }
            }
            transaction.commit().await
        })
        .await
    }

    /// Everything but the log.
    ///
    /// # Errors
    /// `STORAGE_ERROR`, also for a record that cannot be read.
    pub async fn load(&self) -> Result<Snapshot, SyncError> {
        self.run(async |connection| {
            let transaction = connection.read(&STORES)?;
            let store = |name| transaction.object_store(name).map_err(to_error);
            let device = store(META)?.get(JsValue::from(DEVICE)).map_err(to_error)?.await.map_err(to_error)?;
            Ok(Snapshot {
                device: device.map(read_record).transpose()?,
                sessions: read_all(store(SESSIONS)?).await?,
                outbox: read_all(store(OUTBOX)?).await?,
                versions: read_all(store(VERSIONS)?).await?,
            })
        })
        .await
    }

    /// The newest batches of a session that begin before a sequence number (`None`: the newest of all), newest first:
    /// as many as hold `limit` entries, where there are so many.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn page(&self, session_id: &str, before_sequence: Option<u64>, limit: u64) -> Result<Vec<LogRecord>, SyncError> {
        self.run(async |connection| {
            let transaction = connection.read(&[LOG])?;
            let log = transaction.object_store(LOG).map_err(to_error)?;
            let range = log_range(session_id, before_sequence)?;
            let cursor = log.open_cursor(Some(range.into()), Some(CursorDirection::Prev)).map_err(to_error)?;
            let Some(cursor) = cursor.await.map_err(to_error)? else {
                return Ok(Vec::new());
            };
            let mut cursor = cursor.into_managed();
            let (mut records, mut entries) = (Vec::<LogRecord>::new(), 0);
            while let Some(value) = cursor.value().map_err(to_error)? {
                let record: LogRecord = read_record(value)?;
                entries += record.last.saturating_sub(record.first) + 1;
                records.push(record);
                if entries >= limit {
                    break;
                }
                cursor.next(None).await.map_err(to_error)?;
            }
            Ok(records)
        })
        .await
    }

    /// The entry of a device's message, by a search through the batches.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn find(&self, session_id: &str, device_id: &str, counter: u64) -> Result<Option<Entry>, SyncError> {
        let Some(newest) = self.page(session_id, None, 1).await?.pop() else {
            return Ok(None);
        };
        // The batch that holds it is the last one before which the device's head is lower.
        let mut holder = None;
        let (mut low, mut high) = (1, newest.first);
        while low <= high {
            let middle = low + (high - low) / 2;
            match self.page(session_id, Some(middle + 1), 1).await?.pop() {
                Some(record) if record.heads_before.get(device_id) >= counter => high = record.first.min(middle).saturating_sub(1),
                found => {
                    low = found.as_ref().map_or(0, |record| record.last).max(middle) + 1;
                    holder = found;
                }
            }
        }
        let Some(holder) = holder else { return Ok(None) };
        let entries = log::decode(&holder.entries)?;
        Ok(entries.into_iter().find(|entry| entry.original_device_id == device_id && entry.counter() == counter))
    }

    /// The local wallet's key pair; `None` where there is none.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn key_pair(&self) -> Result<Option<JsValue>, SyncError> {
        self.run(async |connection| {
            let transaction = connection.read(&[META])?;
            let meta = transaction.object_store(META).map_err(to_error)?;
            meta.get(JsValue::from(WALLET)).map_err(to_error)?.await.map_err(to_error)
        })
        .await
    }

    /// Stores the local wallet's key pair, unless there is one, and returns the one that is there then. Needs no claim:
    /// whoever comes first wins.
    ///
    /// # Errors
    /// `STORAGE_FULL`, `STORAGE_ERROR`.
    pub async fn keep_key_pair(&self, key_pair: &JsValue) -> Result<JsValue, SyncError> {
        self.run(async |connection| {
            let transaction = Transaction::begin(connection, &[META], true)?;
            let meta = transaction.store(META)?;
            if let Some(kept) = meta.get(JsValue::from(WALLET)).map_err(to_error)?.await.map_err(to_error)? {
                return Ok(kept);
            }
            meta.put(key_pair, Some(&WALLET.into())).map_err(to_error)?;
            transaction.commit().await?;
            Ok(key_pair.clone())
        })
        .await
    }

    /// Closes the connection once what is under way is done. The next call opens it again.
    pub fn close(&self) {
        self.connection.take();
    }

    /// Runs one transaction. A connection that fails is not used again: browsers lose connections for good (B10), and
    /// Firefox keeps one read-only after the disk was full (B6). Everything here can be done twice, so a failure that
    /// may lie in the connection is tried once more on a new one.
    async fn run<T>(&self, work: impl AsyncFn(&Connection) -> Result<T, SyncError>) -> Result<T, SyncError> {
        let outcome = self.run_once(&work).await;
        match outcome {
            Err(error) if error.code == ErrorCode::StorageError => self.run_once(&work).await,
            other => other,
        }
    }

    async fn run_once<T>(&self, work: &impl AsyncFn(&Connection) -> Result<T, SyncError>) -> Result<T, SyncError> {
        let open = self.connection.borrow().clone().filter(|connection| connection.is_open());
        let connection = match open {
            Some(connection) => connection,
            None => {
                let connection = Connection::open_patiently(&self.name).await?;
                self.connection.replace(Some(connection.clone()));
                connection
            }
        };
        let outcome = work(&connection).await;
        if outcome.as_ref().is_err_and(|error| [ErrorCode::StorageError, ErrorCode::StorageFull].contains(&error.code)) {
            self.connection.take();
        }
        outcome
    }
}

fn step(write: &Write) -> Result<Step, SyncError> {
    let put = |store, value: Result<JsValue, SyncError>| Ok(Step::Put { store, value: value?, key: None });
    match write {
        Write::Device(record) => Ok(Step::Put { store: META, value: to_js(record)?, key: Some(DEVICE.into()) }),
        Write::Session(record) => put(SESSIONS, to_js(record)),
        Write::Outbox(record) => put(OUTBOX, to_js(record)),
        Write::Log(record) => put(LOG, to_js(record)),
        Write::Versions(record) => put(VERSIONS, to_js(record)),
        Write::DeleteOutbox { session_id, counter } => {
            Ok(Step::Delete { store: OUTBOX, query: JsValue::from(key(session_id, JsValue::from(*counter as f64))).into() })
        }
        Write::ClearLog { session_id } => Ok(Step::Delete { store: LOG, query: log_range(session_id, None)?.into() }),
    }
}

fn key(session_id: &str, last: JsValue) -> Array {
    Array::of2(&session_id.into(), &last)
}

/// Batches of a session whose first sequence number is lower than `before_sequence`.
fn log_range(session_id: &str, before_sequence: Option<u64>) -> Result<KeyRange, SyncError> {
    // An array sorts after every number.
    let end = before_sequence.map_or_else(|| Array::new().into(), |sequence| JsValue::from(sequence as f64));
    KeyRange::bound(&Array::of1(&session_id.into()), &key(session_id, end), None, Some(true)).map_err(to_error)
}

fn read_record<T: DeserializeOwned>(value: JsValue) -> Result<T, SyncError> {
    from_js(ErrorCode::StorageError, value)
}

async fn read_all<T: DeserializeOwned>(store: ObjectStore) -> Result<Vec<T>, SyncError> {
    let values = store.get_all(None, None).map_err(to_error)?.await.map_err(to_error)?;
    values.into_iter().map(read_record).collect()
}
