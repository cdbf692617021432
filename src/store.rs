//! IndexedDB: the records of one device, written in transactions.
//!
//! Rules that the tests protect: only `complete` counts; a transaction that is dropped half-way is aborted (B8); all
//! that a commit writes is issued in one burst (B7); whoever claimed the database last owns it, and everyone else's
//! writes abort (I23); a dead connection is thrown away and opened again once (B6, B10).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, ArrayBuffer, Uint8Array};
use solconnect_sync_core::client::{
    Commit, DeviceRecord, FailedRecord, HeadsRecord, InvitationRecord, LogRecord, NameRecord, OutboxRecord, SessionRecord, Snapshot,
    VersionsRecord, Write,
};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{IdbCursorDirection, IdbCursorWithValue, IdbKeyRange, IdbObjectStore};

use crate::connection::{
    Connection, FAILED, HEADS, INVITATIONS, LOG, META, NAMES, OUTBOX, SESSIONS, STORES, Transaction, VERSIONS, result_of, to_error,
};
use crate::platform::random;
use crate::types::read_all;

/// Keys of `meta`.
const DEVICE: &str = "device";
const OWNER: &str = "owner";

/// An open database.
pub struct Store {
    /// Of the database.
    pub name: String,
    owner: String,
    /// Nobody else can claim the database: the owner of a connection is looked up once, not in every transaction.
    is_locked: Cell<bool>,
    connection: RefCell<Option<Rc<Connection>>>,
}

/// A request of a commit, ready to be issued.
enum Step {
    Put {
        store: &'static str,
        key: JsValue,
        value: JsValue,
    },
    /// One record, or a range of them.
    Delete {
        store: &'static str,
        key: JsValue,
    },
    Join {
        session_id: String,
        range: JsValue,
    },
}

impl Step {
    fn store(&self) -> &'static str {
        match self {
            Step::Put { store, .. } | Step::Delete { store, .. } => store,
            Step::Join { .. } => LOG,
        }
    }
}

impl Store {
    /// Opens a database. It can be read, and written once it is claimed; one that is not there is made then.
    ///
    /// # Errors
    /// `STORAGE_FOREIGN` for one that something else made, `STORAGE_VERSION` for one of another format, `STORAGE_FULL`, `STORAGE_REFUSED`, `STORAGE_ERROR` (also where it does not open within 5 seconds, twice).
    pub async fn open(name: &str) -> Result<Store, SyncError> {
        let connection = Connection::open_existing(name).await?;
        let owner = u64::from_ne_bytes(random()?).to_string();
        Ok(Store { name: name.to_owned(), owner, is_locked: Cell::new(false), connection: RefCell::new(connection) })
    }

    /// Makes this the one that may write (an earlier owner's next write fails) and reads what the machine holds in memory:
    /// everything but the log and the names.
    /// `is_locked`: until it is closed nobody else will claim it.
    ///
    /// Relaxed: the owner token keeps tabs apart that are alive, and none is after a power cut.
    ///
    /// # Errors
    /// `STORAGE_FULL`, `STORAGE_ERROR`, also for a record that cannot be read.
    pub async fn claim(&self, is_locked: bool) -> Result<Snapshot, SyncError> {
        self.is_locked.set(is_locked);
        self.run(async |connection| {
            let transaction = Transaction::begin(connection, &[META, SESSIONS, HEADS, OUTBOX, VERSIONS, FAILED, INVITATIONS], false)?;
            let meta = transaction.store(META)?;
            meta.put_with_key(&self.owner.as_str().into(), &OWNER.into()).map_err(|exception| to_error(&exception))?;
            let device = result_of(meta.get(&DEVICE.into()));
            let requests = [SESSIONS, HEADS, OUTBOX, VERSIONS, FAILED, INVITATIONS].map(|store| transaction.all(store));
            // It knows why, where a request failed.
            transaction.commit().await?;
            connection.is_owned.set(true);
            let device = device.await?;
            let mut stored: [Vec<Vec<u8>>; 6] = Default::default();
            // One after the other, in one place: a page loads code for each place that waits.
            for (records, request) in stored.iter_mut().zip(requests) {
                *records = read_all(list(request.await?), bytes_of)?;
            }
            let [sessions, heads, outbox, versions, failed, invitations] = stored;
            // Not knowing only costs time.
            let _ = connection.learn_to_commit().await;
            Ok(Snapshot {
                device: if device.is_undefined() { None } else { Some(DeviceRecord::from_bytes(&bytes_of(&device)?)?) },
                sessions: records(&sessions, SessionRecord::from_bytes)?,
                heads: records(&heads, HeadsRecord::from_bytes)?,
                outbox: records(&outbox, OutboxRecord::from_bytes)?,
                versions: records(&versions, VersionsRecord::from_bytes)?,
                failed: records(&failed, FailedRecord::from_bytes)?,
                invitations: records(&invitations, InvitationRecord::from_bytes)?,
            })
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
            // A new connection may lead to a database that was deleted and made again; while one is open it cannot be.
            let is_checked = self.is_locked.get() && connection.is_owned.get();
            // Fewer stores are quicker to lock.
            let stores: Vec<&str> = STORES
                .into_iter()
                .filter(|name| steps.iter().any(|step| step.store() == *name) || (*name == META && !is_checked))
                .collect();
            let transaction = Transaction::begin(connection, &stores, commit.strict)?;
            let owner = if is_checked { None } else { Some(result_of(transaction.store(META)?.get(&OWNER.into()))) };
            let mut joins = Vec::new();
            for step in &steps {
                let issued = match step {
                    Step::Put { store, key, value } => transaction.store(store)?.put_with_key(value, key).map(drop),
                    Step::Delete { store, key } => transaction.store(store)?.delete(key).map(drop),
                    Step::Join { session_id, range } => {
                        joins.push((session_id, range, result_of(transaction.store(LOG)?.get_all_with_key(range))));
                        Ok(())
                    }
                };
                issued.map_err(|exception| to_error(&exception))?;
            }
            // The answer comes before those to the writes; until then nothing is committed.
            if let Some(owner) = owner {
                if owner.await? != self.owner.as_str() {
                    return Err(SyncError::new(ErrorCode::ProfileInUse, "another tab has taken over this database"));
                }
                connection.is_owned.set(true);
            }
            for (session_id, range, small) in joins {
                // Where it failed, so has the transaction, and that knows why.
                let Ok(small) = small.await else { break };
                join(&transaction.store(LOG)?, session_id, range, list(small))?;
            }
            transaction.commit().await
        })
        .await
    }

    /// The newest batches of a session that begin before a sequence number (`None`: the newest of all), newest first:
    /// as many as hold `limit` entries, where there are so many, and those that tell the heads of them.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn page(&self, session_id: &str, before_sequence: Option<u64>, limit: u64) -> Result<Vec<LogRecord>, SyncError> {
        self.run(async |connection| {
            let range = log_range(session_id, before_sequence)?;
            let log = connection.read(LOG)?;
            let walk = log.open_cursor_with_range_and_direction(&range, IdbCursorDirection::Prev);
            let walk = walk.map_err(|exception| to_error(&exception))?;
            let (mut records, mut entries) = (Vec::<LogRecord>::new(), 0);
            while let Ok(cursor) = result_of(Ok(walk.clone())).await?.dyn_into::<IdbCursorWithValue>() {
                let value = cursor.value().map_err(|exception| to_error(&exception))?;
                let record = LogRecord::from_bytes(session_id, &bytes_of(&value)?)?;
                entries += record.last.saturating_sub(record.first) + 1;
                let has_heads = record.heads_before.is_some();
                records.push(record);
                if entries >= limit && has_heads {
                    break;
                }
                cursor.continue_().map_err(|exception| to_error(&exception))?;
            }
            for place in (1..records.len()).rev() {
                let (after, before) = records.split_at_mut(place);
                if let (Some(record), Some(before)) = (after.last_mut(), before.first()) {
                    record.follow(before)?;
                }
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
        let Some(newest) = self.page(session_id, None, 1).await?.into_iter().next() else {
            return Ok(None);
        };
        // The batch that holds it is the last one before which the device's head is lower.
        let mut holder = None;
        let (mut low, mut high) = (1, newest.first);
        while low <= high {
            let middle = low + (high - low) / 2;
            match self.page(session_id, Some(middle + 1), 1).await?.into_iter().next() {
                Some(record) if record.heads_before.as_ref().is_some_and(|heads| heads.get(device_id) >= counter) => {
                    high = record.first.min(middle).saturating_sub(1)
                }
                found => {
                    low = found.as_ref().map_or(0, |record| record.last).max(middle) + 1;
                    holder = found;
                }
            }
        }
        let Some(holder) = holder else { return Ok(None) };
        Ok(holder.entries()?.into_iter().find(|entry| entry.device_id == device_id && entry.counter == counter))
    }

    /// What the application sent in a session under a name of its own; `None` where it has not used the name.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn name(&self, session_id: &str, message_id: &str) -> Result<Option<NameRecord>, SyncError> {
        self.run(async |connection| {
            let value = result_of(connection.read(NAMES)?.get(&key(session_id, &message_id.into()))).await?;
            if value.is_undefined() { Ok(None) } else { NameRecord::from_bytes(&bytes_of(&value)?).map(Some) }
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
        let mut is_repeated = false;
        loop {
            let connection = self.connected().await?;
            let outcome = work(&connection).await;
            let Err(error) = &outcome else { return outcome };
            let may_be_dead = self.drop_after(error);
            if is_repeated || !may_be_dead {
                return outcome;
            }
            is_repeated = true;
        }
    }

    /// The open connection, or a new one.
    async fn connected(&self) -> Result<Rc<Connection>, SyncError> {
        let open = self.connection.borrow().clone().filter(|connection| connection.is_open());
        if let Some(connection) = open {
            return Ok(connection);
        }
        let connection = Connection::open(&self.name).await?;
        self.connection.replace(Some(connection.clone()));
        Ok(connection)
    }

    /// Throws the connection away after a failure that may lie in it; says whether a new one may do better.
    fn drop_after(&self, error: &SyncError) -> bool {
        let is_broken = error.code == ErrorCode::StorageError;
        if is_broken || error.code == ErrorCode::StorageFull {
            self.connection.take();
        }
        is_broken
    }
}

fn step(write: &Write) -> Result<Step, SyncError> {
    let put = |store, key: JsValue, value: Vec<u8>| Ok(Step::Put { store, key, value: Uint8Array::from(value.as_slice()).into() });
    let number = |number: u64| JsValue::from(number as f64);
    match write {
        Write::Device(record) => put(META, DEVICE.into(), record.to_bytes()),
        Write::Session(record) => put(SESSIONS, record.session_id.as_str().into(), record.to_bytes()),
        Write::Heads(record) => put(HEADS, record.session_id.as_str().into(), record.to_bytes()),
        Write::Outbox(record) => put(OUTBOX, key(&record.session_id, &number(record.first())), record.to_bytes()),
        Write::Log(record) => put(LOG, key(&record.session_id, &number(record.first)), record.to_bytes()),
        Write::Versions(record) => put(VERSIONS, key(&record.session_id, &record.message_id.as_str().into()), record.to_bytes()),
        Write::Failed(record) => put(FAILED, key(&record.session_id, &number(record.number)), record.to_bytes()),
        Write::DeleteFailed { session_id, number: failed } => Ok(Step::Delete { store: FAILED, key: key(session_id, &number(*failed)) }),
        Write::Name(record) => put(NAMES, key(&record.session_id, &record.message_id.as_str().into()), record.to_bytes()),
        Write::ForgetName { session_id, message_id } => {
            Ok(Step::Delete { store: NAMES, key: key(session_id, &message_id.as_str().into()) })
        }
        Write::Invitation(record) => put(INVITATIONS, record.session_id.as_str().into(), record.to_bytes()),
        Write::ForgetInvitation { session_id } => Ok(Step::Delete { store: INVITATIONS, key: session_id.as_str().into() }),
        Write::DeleteOutbox { session_id, first, last } => {
            Ok(Step::Delete { store: OUTBOX, key: range(&key(session_id, &number(*first)), &key(session_id, &number(*last)))?.into() })
        }
        Write::JoinLog { session_id, first, last } => {
            let range = range(&key(session_id, &number(*first)), &key(session_id, &number(*last)))?;
            Ok(Step::Join { session_id: session_id.clone(), range: range.into() })
        }
        Write::ClearLog { session_id } => Ok(Step::Delete { store: LOG, key: log_range(session_id, None)?.into() }),
    }
}

fn key(session_id: &str, second: &JsValue) -> JsValue {
    Array::of2(&session_id.into(), second).into()
}

/// Keys from `first` to `last`, both included.
fn range(first: &JsValue, last: &JsValue) -> Result<IdbKeyRange, SyncError> {
    IdbKeyRange::bound(first, last).map_err(|exception| to_error(&exception))
}

/// Batches of a session whose first sequence number is lower than `before_sequence`.
fn log_range(session_id: &str, before_sequence: Option<u64>) -> Result<IdbKeyRange, SyncError> {
    // An array sorts after every number.
    let end = before_sequence.map_or_else(|| Array::new().into(), |sequence| JsValue::from(sequence as f64));
    let start = Array::of1(&session_id.into());
    let range = IdbKeyRange::bound_with_lower_open_and_upper_open(&start, &key(session_id, &end), false, true);
    range.map_err(|exception| to_error(&exception))
}

/// Puts fewer batches in the place of small ones. What cannot be joined stays as it is.
fn join(log: &IdbObjectStore, session_id: &str, range: &JsValue, small: Array) -> Result<(), SyncError> {
    let small = read_all(small, |value| LogRecord::from_bytes(session_id, &bytes_of(value)?));
    let Ok(joined) = small.and_then(|small| LogRecord::join(&small)) else { return Ok(()) };
    // All is ready before the first request: what was issued is committed should memory run out in between.
    let joined = joined.into_iter().map(|record| step(&Write::Log(record))).collect::<Result<Vec<_>, _>>()?;
    log.delete(range).map_err(|exception| to_error(&exception))?;
    for record in joined {
        if let Step::Put { key, value, .. } = record {
            log.put_with_key(&value, &key).map_err(|exception| to_error(&exception))?;
        }
    }
    Ok(())
}

fn list(values: JsValue) -> Array {
    values.unchecked_into()
}

/// Stored records, in the order of their keys.
fn records<T>(stored: &[Vec<u8>], read: fn(&[u8]) -> Result<T, SyncError>) -> Result<Vec<T>, SyncError> {
    stored.iter().map(|bytes| read(bytes)).collect()
}

/// What is stored: bytes, whatever the record.
fn bytes_of(value: &JsValue) -> Result<Vec<u8>, SyncError> {
    // Not by its class, which is another one in each realm: jsdom's clones are of its own.
    let bytes = ArrayBuffer::is_view(value).then(|| value.unchecked_ref::<Uint8Array>().to_vec());
    bytes.ok_or_else(|| SyncError::new(ErrorCode::StorageError, "a stored record is of another kind"))
}
