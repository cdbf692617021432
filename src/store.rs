//! IndexedDB: the records of one device, written in transactions.
//!
//! Rules that the tests protect: only `complete` counts; a transaction that is dropped half-way is aborted (B8); all
//! that a commit writes is issued in one burst (B7); a dead connection is thrown away and opened again once (B6, B10).
//!
//! Whoever claimed the database last owns it, and everyone else's writes abort (I23). Claims are numbers, each one more than the
//! last. Who has claim n begins every transaction by adding claim n + 1 and taking it away again: where another has claimed the
//! database meanwhile, that is there already, and the transaction fails as a whole. Nothing is read first, because a page that is
//! frozen between a read and the writes keeps the stores from all others (P8).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;
use js_sys::{Array, ArrayBuffer, Promise, Uint8Array};
use solconnect_sync_core::client::{
    AccountRecord, CallRecord, Commit, DeviceRecord, FailedRecord, HeadsRecord, IdentityRecord, InvitationRecord, LogRecord, NameRecord,
    OutboxRecord, SessionRecord, Snapshot, VersionsRecord, Write,
};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;
use web_sys::{CryptoKey, IdbCursorDirection, IdbCursorWithValue, IdbKeyRange, IdbObjectStore, IdbRequest};

use crate::connection::{
    ACCOUNTS, CALLS, CLAIMS, Connection, FAILED, HEADS, INVITATIONS, LOG, META, NAMES, OPEN_TIMEOUT_MS, OUTBOX, SESSIONS, STORES,
    Transaction, VERSIONS, Watcher, number, to_error, within,
};
use crate::errors::not_initialized;
use crate::platform::now;
use crate::promises::settle;
use crate::types::read_all;
use crate::vault;

/// Keys of `meta`: the device record, that of its key, what seals this, and what is stored of what locks it.
const DEVICE: &str = "device";
const IDENTITY: &str = "identity";
const VAULT: &str = "vault";
const LOCK: &str = "lock";

/// Claims that are kept: a page that was frozen while so many others claimed the database is still kept out.
const CLAIMS_KEPT: u64 = 4_096;

/// The first claim of a database is the time, in so many parts of a millisecond: one that was deleted and made again has higher
/// ones than before.
const CLAIMS_PER_MS: u64 = 1_024;

/// Sequence numbers that are looked through at once for batches that tell the heads: those that do not stand in rows.
const PAGE_MIN: u64 = 32;

/// How often a page is read where batches are joined meanwhile, which happens once in many of them.
const PAGE_TRIES: u32 = 10;

/// How often a claim is tried where others are quicker.
const CLAIM_TRIES: u32 = 100;

/// What locks the device's key, beside what seals it.
pub struct Lock {
    /// Stored nowhere.
    pub key: CryptoKey,
    /// What a page makes the key of, with a passphrase or a passkey.
    pub record: Vec<u8>,
}

/// An open database.
pub struct Store {
    /// Of the database.
    pub name: String,
    /// 0: not claimed.
    claim: Cell<u64>,
    is_abandoned: Cell<bool>,
    /// What seals the device's key, where there is one.
    vault: RefCell<Option<CryptoKey>>,
    lock: Option<Lock>,
    /// What is stored is locked.
    is_locked: Cell<bool>,
    connection: RefCell<Option<Rc<Connection>>>,
    /// Hears that the browser has closed the connection.
    watcher: RefCell<Option<Watcher>>,
    /// Those that wait until the database is made anew.
    readers: RefCell<Vec<oneshot::Sender<()>>>,
}

/// A request of a commit, ready to be issued.
pub enum Step {
    /// One record.
    #[allow(missing_docs, reason = "the fields are named after what they are")]
    Put { store: &'static str, key: JsValue, value: JsValue },
    /// One record, or a range of them.
    #[allow(missing_docs, reason = "the fields are named after what they are")]
    Delete { store: &'static str, key: JsValue },
}

impl Step {
    fn store(&self) -> &'static str {
        match self {
            Step::Put { store, .. } | Step::Delete { store, .. } => store,
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
        Ok(Store {
            name: name.to_owned(),
            claim: Cell::new(0),
            is_abandoned: Cell::new(false),
            vault: RefCell::default(),
            lock: None,
            is_locked: Cell::new(false),
            connection: RefCell::new(connection),
            watcher: RefCell::default(),
            readers: RefCell::default(),
        })
    }

    /// The same with what locks the device's key, or unlocks it.
    #[must_use]
    pub fn locked_by(self, lock: Option<Lock>) -> Store {
        Store { lock, ..self }
    }

    /// Makes this the one that may write (an earlier owner's next write fails) and reads what the machine holds in memory:
    /// everything but the log and the names. Gives the claim with it, which is higher than all before it and than `above`: tabs may know
    /// of a higher one, of a database that is gone.
    ///
    /// Where it is to be locked and is not yet, the record of the lock is written with the claim: of those that come at once with another
    /// lock each, one has its way.
    ///
    /// Relaxed: claims keep tabs apart that are alive, and none is after a power cut.
    ///
    /// # Errors
    /// `DEVICE_LOCKED` where it is locked with another key, and then nothing is written, not even a claim; `STORAGE_FULL`, `STORAGE_ERROR`, also for a record that cannot be read.
    pub async fn claim(&self, above: u64) -> Result<(u64, Snapshot), SyncError> {
        let former = self.claim.take().max(above);
        self.run(true, async |connection| {
            self.check_lock(&connection.get(META, LOCK.into()).await?)?;
            // Not knowing only costs time.
            let _ = connection.learn_to_commit().await;
            for _ in 0..CLAIM_TRIES {
                let last = connection.last_claim().await?;
                let claim = if last > 0 { above.max(last) + 1 } else { first_claim(former) };
                match self.claim_as(connection, last, claim).await {
                    Err(error) if error.code == ErrorCode::ProfileInUse => {}
                    outcome => return outcome.map(|snapshot| (claim, snapshot)),
                }
            }
            Err(SyncError::new(ErrorCode::ProfileInUse, "others claim this database all the time"))
        })
        .await
    }

    async fn claim_as(&self, connection: &Connection, last: u64, claim: u64) -> Result<Snapshot, SyncError> {
        let stores = [CLAIMS, META, ACCOUNTS, SESSIONS, HEADS, OUTBOX, VERSIONS, FAILED, INVITATIONS, CALLS];
        let transaction = Transaction::begin(connection, &stores, false)?;
        transaction.claim(last, claim)?;
        // Of those that are over, never the last.
        let old = number(last.saturating_sub(CLAIMS_KEPT).max(1));
        transaction.store(CLAIMS)?.delete(&old).map_err(|exception| to_error(&exception))?;
        let meta = transaction.store(META)?;
        if !self.is_locked.get() {
            // Fails where another has locked it since it was looked at, and with it the claim: `run` looks again then. Who locks nothing
            // finds that out in the same way, and takes away again what it added.
            let record = self.lock.as_ref().map(|lock| Uint8Array::from(lock.record.as_slice()));
            meta.add_with_key(&record.into(), &LOCK.into()).map_err(|exception| to_error(&exception))?;
            if self.lock.is_none() {
                meta.delete(&LOCK.into()).map_err(|exception| to_error(&exception))?;
            }
        }
        let of = |name: &str| meta.get(&name.into()).map_err(|exception| to_error(&exception));
        let (device, identity, vault) = (of(DEVICE)?, of(IDENTITY)?, of(VAULT)?);
        let all = |store| transaction.store(store)?.get_all().map_err(|exception| to_error(&exception));
        let (sessions, heads, outbox, versions) = (all(SESSIONS)?, all(HEADS)?, all(OUTBOX)?, all(VERSIONS)?);
        let (failed, invitations, calls, accounts) = (all(FAILED)?, all(INVITATIONS)?, all(CALLS)?, all(ACCOUNTS)?);
        // All requests are done then.
        transaction.commit().await?;
        self.claim.set(claim);
        let mut snapshot = Snapshot::default();
        let device = result_now(&device)?;
        if !device.is_undefined() {
            snapshot.device = Some(DeviceRecord::from_bytes(&bytes_of(&device)?)?);
        }
        // It is sealed: see `Store::unsealed`.
        let identity = result_now(&identity)?;
        if !identity.is_undefined() {
            snapshot.identity = Some(IdentityRecord::from_bytes(&bytes_of(&identity)?)?);
        }
        self.vault.replace(result_now(&vault)?.dyn_into().ok());
        snapshot.accounts = records(result_now(&accounts)?, AccountRecord::from_bytes)?;
        snapshot.sessions = records(result_now(&sessions)?, SessionRecord::from_bytes)?;
        snapshot.heads = records(result_now(&heads)?, HeadsRecord::from_bytes)?;
        snapshot.outbox = records(result_now(&outbox)?, OutboxRecord::from_bytes)?;
        snapshot.versions = records(result_now(&versions)?, VersionsRecord::from_bytes)?;
        snapshot.failed = records(result_now(&failed)?, FailedRecord::from_bytes)?;
        snapshot.invitations = records(result_now(&invitations)?, InvitationRecord::from_bytes)?;
        snapshot.calls = records(result_now(&calls)?, CallRecord::from_bytes)?;
        Ok(snapshot)
    }

    fn check_lock(&self, stored: &JsValue) -> Result<(), SyncError> {
        self.is_locked.set(!stored.is_undefined());
        if !self.is_locked.get() || self.lock.as_ref().is_some_and(|lock| bytes_of(stored).is_ok_and(|stored| stored == lock.record)) {
            return Ok(());
        }
        Err(SyncError::new(
            ErrorCode::DeviceLocked,
            "the device's key is locked: connect the wallet in a page, with lockWith as it was then",
        ))
    }

    /// The record of a device's key as the machine has it.
    ///
    /// # Errors
    /// `CRYPTO_ERROR`.
    pub async fn unsealed(&self, record: IdentityRecord) -> Result<IdentityRecord, SyncError> {
        let vault = self.vault.borrow().clone();
        let vault = vault.ok_or_else(|| SyncError::new(ErrorCode::CryptoError, "what sealed the device's key is gone"))?;
        let mut record = record;
        if let Some(lock) = self.lock.as_ref().filter(|_| self.is_locked.get()) {
            match vault::open(&lock.key, &record.secret).await {
                Ok(secret) => record.secret = secret,
                // A page that ended right after it had chosen the lock has left it as it was.
                Err(_) => self.is_locked.set(false),
            }
        }
        record.secret = vault::open(&vault, &record.secret).await?;
        Ok(record)
    }

    /// Locks the device's key, where it is to be and is not yet.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn lock(&self, record: &IdentityRecord) -> Result<(), SyncError> {
        if self.lock.is_none() || self.is_locked.get() {
            return Ok(());
        }
        self.write(&Commit { id: 0, writes: vec![Write::Identity(record.clone())], strict: true }).await
    }

    /// The requests that write it. With what seals and locks it, in one transaction: neither is of use without the others.
    async fn sealed(&self, record: &IdentityRecord) -> Result<Vec<Step>, SyncError> {
        let vault = self.vault.borrow().clone();
        let vault = match vault {
            Some(vault) => vault,
            None => vault::make().await?,
        };
        self.vault.replace(Some(vault.clone()));
        let put = |key: &str, value| Step::Put { store: META, key: key.into(), value };
        let bytes = |bytes: &[u8]| Uint8Array::from(bytes).into();
        let mut record = record.clone();
        for key in std::iter::once(&vault).chain(self.lock.iter().map(|lock| &lock.key)) {
            record.secret = vault::seal(key, &record.secret).await?;
        }
        let mut steps = vec![put(VAULT, vault.into()), put(IDENTITY, bytes(&record.to_bytes()))];
        steps.extend(self.lock.iter().map(|lock| put(LOCK, bytes(&lock.record))));
        Ok(steps)
    }

    /// Writes all of a commit, or nothing.
    ///
    /// # Errors
    /// `PROFILE_IN_USE` when another has claimed the database, `STORAGE_LOST` where it is gone, `STORAGE_FULL`, `STORAGE_REFUSED`,
    /// `STORAGE_ERROR`.
    pub async fn write(&self, commit: &Commit) -> Result<(), SyncError> {
        self.write_to(commit, false).await
    }

    /// The same for a commit with all that shall be stored: where the database is gone, it is made and claimed with it.
    ///
    /// # Errors
    /// As [`Store::write`], but for `STORAGE_LOST`.
    pub async fn write_anew(&self, commit: &Commit) -> Result<(), SyncError> {
        self.write_to(commit, true).await
    }

    async fn write_to(&self, commit: &Commit, is_anew: bool) -> Result<(), SyncError> {
        self.run(is_anew, async |connection| {
            let claim = self.claim.get();
            let last = if is_anew { connection.last_claim().await? } else { claim };
            if last > 0 && last != claim {
                return Err(claimed());
            }
            // All is ready before the first request: what was issued is committed should memory run out in between.
            let mut steps = Vec::new();
            for (place, write) in commit.writes.iter().enumerate() {
                match write {
                    Write::JoinLog { session_id, first, last } => {
                        steps.extend(join(connection, session_id, (*first, *last), &commit.writes[..place]).await?);
                    }
                    Write::Identity(record) => steps.extend(self.sealed(record).await?),
                    write => steps.push(step(write)?),
                }
            }
            // Fewer stores are quicker to lock.
            let is_written = |name: &&str| *name == CLAIMS || steps.iter().any(|step| step.store() == *name);
            let stores: Vec<&str> = STORES.into_iter().filter(is_written).collect();
            let transaction = Transaction::begin(connection, &stores, commit.strict)?;
            let first_claim = (last == 0).then(|| first_claim(claim));
            match first_claim {
                Some(first) => transaction.claim(0, first)?,
                None => transaction.write_under(claim)?,
            }
            for step in &steps {
                let store = transaction.store(step.store())?;
                let issued = match step {
                    Step::Put { key, value, .. } => store.put_with_key(value, key),
                    Step::Delete { key, .. } => store.delete(key),
                };
                issued.map_err(|exception| to_error(&exception))?;
            }
            transaction.commit().await?;
            if let Some(first) = first_claim {
                self.claim.set(first);
                for reader in self.readers.take() {
                    let _ = reader.send(());
                }
            }
            Ok(())
        })
        .await
    }

    /// Says who hears that the browser has closed the connection.
    pub fn watch(&self, watcher: Watcher) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.watch(watcher.clone());
        }
        self.watcher.replace(Some(watcher));
    }

    /// Opens it again where it is not open.
    ///
    /// # Errors
    /// `STORAGE_LOST` where the database is gone, and those of all calls.
    pub async fn check(&self) -> Result<(), SyncError> {
        self.connected(false).await.map(drop)
    }

    /// The newest batches of a session that begin before a sequence number (`None`: the newest of all), newest first:
    /// as many as hold `limit` entries, where there are so many, and those that tell the heads of them.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn page(&self, session_id: &str, before_sequence: Option<u64>, limit: u64) -> Result<Vec<LogRecord>, SyncError> {
        self.read(async |connection| {
            for _ in 0..PAGE_TRIES {
                if let Some(records) = read_page(connection, session_id, before_sequence, limit).await? {
                    return Ok(records);
                }
            }
            Err(SyncError::new(ErrorCode::StorageError, "stored batches overlap"))
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
        self.read(async |connection| {
            let value = connection.get(NAMES, key(session_id, &message_id.into())).await?;
            if value.is_undefined() { Ok(None) } else { NameRecord::from_bytes(&bytes_of(&value)?).map(Some) }
        })
        .await
    }

    /// Closes the connection once what is under way is done. The next call opens it again.
    pub fn close(&self) {
        self.connection.take();
    }

    /// Closes it for good, at once. What is under way is written if its transaction commits already, and not otherwise: who
    /// waits for it is told when the page hears of it.
    pub fn abandon(&self) {
        self.is_abandoned.set(true);
        self.readers.take();
        if let Some(connection) = self.connection.take() {
            connection.abandon();
        }
    }

    /// Runs one transaction. A connection that fails is not used again: browsers lose connections for good (B10), and
    /// Firefox keeps one read-only after the disk was full (B6). Everything here can be done twice, so a failure that
    /// may lie in the connection is tried once more on a new one.
    ///
    /// `may_make`: where there is no database one is made, also where this store has claimed one.
    async fn run<T>(&self, may_make: bool, work: impl AsyncFn(&Connection) -> Result<T, SyncError>) -> Result<T, SyncError> {
        let mut is_repeated = false;
        loop {
            let connection = self.connected(may_make).await?;
            let outcome = work(&connection).await;
            let Err(error) = &outcome else { return outcome };
            let may_be_dead = self.drop_after(error);
            if may_make {
                // Whose database it leads to was not looked at.
                self.connection.take();
            }
            if is_repeated || !may_be_dead {
                return outcome;
            }
            is_repeated = true;
        }
    }

    /// Runs one transaction that reads. Where the database is gone, it waits until it is made anew, and reads that.
    async fn read<T>(&self, work: impl AsyncFn(&Connection) -> Result<T, SyncError>) -> Result<T, SyncError> {
        match self.run(false, &work).await {
            Err(error) if error.code == ErrorCode::StorageLost && self.is_made_anew().await => self.run(false, &work).await,
            outcome => outcome,
        }
    }

    async fn is_made_anew(&self) -> bool {
        let (sender, made) = oneshot::channel();
        self.readers.borrow_mut().push(sender);
        let watcher = self.watcher.borrow().clone();
        watcher.into_iter().for_each(|watcher| watcher());
        matches!(within(OPEN_TIMEOUT_MS, made).await, Some(Ok(())))
    }

    /// The open connection, or a new one.
    async fn connected(&self, may_make: bool) -> Result<Rc<Connection>, SyncError> {
        let open = self.connection.borrow().clone().filter(|connection| connection.is_open());
        let connection = match open {
            Some(connection) => connection,
            None if self.is_abandoned.get() => return Err(not_initialized()),
            None => {
                let claim = if may_make { 0 } else { self.claim.get() };
                let connection = match claim {
                    0 => Connection::open(&self.name).await?,
                    _ => Connection::open_existing(&self.name).await?.ok_or_else(lost)?,
                };
                // It may lead to a database that was deleted and made again, where the next claim is another. While it is
                // open that cannot be.
                if claim > 0 {
                    match connection.last_claim().await? {
                        0 => return Err(lost()),
                        last if last != claim => return Err(claimed()),
                        _ => {}
                    }
                }
                let watcher = self.watcher.borrow().clone();
                watcher.into_iter().for_each(|watcher| connection.watch(watcher));
                connection
            }
        };
        if self.is_abandoned.get() {
            return Err(not_initialized());
        }
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

fn lost() -> SyncError {
    SyncError::new(ErrorCode::StorageLost, "the browser has deleted the database")
}

fn claimed() -> SyncError {
    SyncError::new(ErrorCode::ProfileInUse, "another has claimed this database")
}

/// The first claim of a database: above those of one that is gone, whatever the clock says.
fn first_claim(former: u64) -> u64 {
    former.max(now().wall_ms * CLAIMS_PER_MS) + 1
}

/// The request that a write is.
///
/// # Errors
/// `STORAGE_ERROR` for one that is none by itself.
pub fn step(write: &Write) -> Result<Step, SyncError> {
    let put = |store, key: JsValue, value: Vec<u8>| Ok(Step::Put { store, key, value: Uint8Array::from(value.as_slice()).into() });
    match write {
        Write::Device(record) => put(META, DEVICE.into(), record.to_bytes()),
        Write::Account(record) => put(ACCOUNTS, record.wallet.as_str().into(), record.to_bytes()),
        Write::ForgetAccount { wallet } => Ok(Step::Delete { store: ACCOUNTS, key: wallet.as_str().into() }),
        Write::Session(record) => put(SESSIONS, record.session_id.as_str().into(), record.to_bytes()),
        Write::Heads(record) => put(HEADS, record.session_id.as_str().into(), record.to_bytes()),
        Write::Outbox(record) => put(OUTBOX, key(&record.session_id, &number(record.first())), record.to_bytes()),
        Write::Log(record) => put(LOG, key(&record.session_id, &number(record.first)), record.to_bytes()),
        Write::Versions(record) if record.versions.is_empty() => {
            Ok(Step::Delete { store: VERSIONS, key: key(&record.session_id, &record.message_id.as_str().into()) })
        }
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
        Write::Call(record) => put(CALLS, Array::of2(&number(record.tab), &number(record.call)).into(), record.to_bytes()),
        Write::ForgetCall { tab, call } => Ok(Step::Delete { store: CALLS, key: Array::of2(&number(*tab), &number(*call)).into() }),
        Write::ForgetCalls { tab, through } => {
            let (first, last) = (Array::of1(&number(*tab)), Array::of2(&number(*tab), &number(*through)));
            Ok(Step::Delete { store: CALLS, key: range(&first, &last)?.into() })
        }
        Write::Identity(_) => Err(SyncError::new(ErrorCode::StorageError, "the device's key was not sealed")),
        Write::JoinLog { .. } => Err(SyncError::new(ErrorCode::StorageError, "what is to be joined was not read")),
        Write::ClearLog { session_id } => Ok(Step::Delete { store: LOG, key: log_range(session_id, 0, None)?.into() }),
    }
}

/// A key of two parts, of which the first is the session.
pub fn key(session_id: &str, second: &JsValue) -> JsValue {
    Array::of2(&session_id.into(), second).into()
}

/// Keys from `first` to `last`, both included.
fn range(first: &JsValue, last: &JsValue) -> Result<IdbKeyRange, SyncError> {
    IdbKeyRange::bound(first, last).map_err(|exception| to_error(&exception))
}

/// Batches of a session whose first sequence number is at least `from` and lower than `before_sequence`.
fn log_range(session_id: &str, from: u64, before_sequence: Option<u64>) -> Result<IdbKeyRange, SyncError> {
    // An array sorts after every number.
    let end = before_sequence.map_or_else(|| Array::new().into(), |sequence| JsValue::from(sequence as f64));
    let start = key(session_id, &JsValue::from(from as f64));
    let range = IdbKeyRange::bound_with_lower_open_and_upper_open(&start, &key(session_id, &end), false, true);
    range.map_err(|exception| to_error(&exception))
}

/// See [`Store::page`]. `None` where the owner has joined batches meanwhile.
///
/// Each request is a transaction of its own: a page that is frozen between two steps of a cursor keeps others from writing (P5). In turns it reads the last batch, however large that is, and all those that begin within the
/// sequence numbers that are still wanted.
async fn read_page(
    connection: &Connection,
    session_id: &str,
    before_sequence: Option<u64>,
    limit: u64,
) -> Result<Option<Vec<LogRecord>>, SyncError> {
    let (mut records, mut entries, mut is_complete) = (Vec::<LogRecord>::new(), 0, false);
    let mut is_last_alone = true;
    while !is_complete {
        let end = records.last().map(|record| record.first).or(before_sequence);
        let found = if is_last_alone {
            let range = log_range(session_id, 0, end)?;
            let last = |log: &IdbObjectStore| log.open_cursor_with_range_and_direction(&range, IdbCursorDirection::Prev);
            let Ok(cursor) = connection.read(LOG, last).await?.dyn_into::<IdbCursorWithValue>() else { break };
            Array::of1(&cursor.value().map_err(|exception| to_error(&exception))?)
        } else {
            let wanted = limit.saturating_sub(entries).max(PAGE_MIN);
            let range = log_range(session_id, end.unwrap_or(u64::MAX).saturating_sub(wanted), end)?;
            list(connection.read(LOG, |log| log.get_all_with_key(&range)).await?).reverse()
        };
        is_last_alone = !is_last_alone;
        for record in read_all(found, |value| LogRecord::from_bytes(session_id, &bytes_of(value)?))? {
            if records.last().is_some_and(|after| record.last >= after.first) {
                return Ok(None);
            }
            entries += record.last.saturating_sub(record.first) + 1;
            is_complete = entries >= limit && record.heads_before.is_some();
            records.push(record);
            if is_complete {
                break;
            }
        }
    }
    for place in (1..records.len()).rev() {
        let (after, before) = records.split_at_mut(place);
        if let (Some(record), Some(before)) = (after.last_mut(), before.first()) {
            record.follow(before)?;
        }
    }
    Ok(Some(records))
}

/// The steps that put fewer batches in the place of small ones: those that are stored, and what the commit has made of them
/// before. None where they cannot be joined: they stay as they are.
///
/// Nobody changes them before the commit is written: who is not the owner cannot, and who no longer is fails as a whole.
async fn join(connection: &Connection, session_id: &str, (first, last): (u64, u64), earlier: &[Write]) -> Result<Vec<Step>, SyncError> {
    let number = |number: u64| JsValue::from(number as f64);
    let range = range(&key(session_id, &number(first)), &key(session_id, &number(last)))?;
    let stored = list(connection.read(LOG, |log| log.get_all_with_key(&range)).await?);
    let Ok(mut small) = read_all(stored, |value| LogRecord::from_bytes(session_id, &bytes_of(value)?)) else { return Ok(Vec::new()) };
    for write in earlier {
        match write {
            Write::Log(record) if record.session_id == session_id && (first..=last).contains(&record.first) => {
                match small.binary_search_by_key(&record.first, |record| record.first) {
                    Ok(place) => small[place] = record.clone(),
                    Err(place) => small.insert(place, record.clone()),
                }
            }
            Write::ClearLog { session_id: cleared } if cleared == session_id => small.clear(),
            Write::JoinLog { session_id: joined, first: other_first, last: other_last }
                if joined == session_id && *other_first <= last && first <= *other_last =>
            {
                return Ok(Vec::new());
            }
            _ => {}
        }
    }
    let Ok(joined) = LogRecord::join(&small) else { return Ok(Vec::new()) };
    let mut steps = vec![Step::Delete { store: LOG, key: range.into() }];
    for record in joined {
        steps.push(step(&Write::Log(record))?);
    }
    Ok(steps)
}

fn list(values: JsValue) -> Array {
    values.unchecked_into()
}

/// What is stored of what locks a database; `undefined` where it is not locked, or is not there.
#[wasm_bindgen(js_name = storedLock, unchecked_return_type = "Promise<Result<Uint8Array | undefined>>")]
pub fn stored_lock(name: String) -> Promise {
    settle(async move {
        match Connection::open_existing(&name).await? {
            Some(connection) => connection.get(META, LOCK.into()).await,
            None => Ok(JsValue::UNDEFINED),
        }
    })
}

/// The result of a request that is done.
fn result_now(request: &IdbRequest) -> Result<JsValue, SyncError> {
    request.result().map_err(|exception| to_error(&exception))
}

/// Stored records, in the order of their keys.
///
/// # Errors
/// `STORAGE_ERROR`.
pub fn records<T>(values: JsValue, read: fn(&[u8]) -> Result<T, SyncError>) -> Result<Vec<T>, SyncError> {
    read_all(list(values), |value| read(&bytes_of(value)?))
}

/// What is stored: bytes, whatever the record.
fn bytes_of(value: &JsValue) -> Result<Vec<u8>, SyncError> {
    // Not by its class, which is another one in each realm: jsdom's clones are of its own.
    let bytes = ArrayBuffer::is_view(value).then(|| value.unchecked_ref::<Uint8Array>().to_vec());
    bytes.ok_or_else(|| SyncError::new(ErrorCode::StorageError, "a stored record is of another kind"))
}
