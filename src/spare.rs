//! A second copy of the outbox, for the case that the browser deletes the database (B3, B12): in a database of its own, which
//! Chromium keeps in other files only where that is in another storage bucket. It is written behind each commit and never waited
//! for, so it may lack what was sent in the last milliseconds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gloo_timers::future::TimeoutFuture;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use solconnect_sync_core::client::{OutboxRecord, SpareRecord, Write};
use solconnect_sync_core::error::SyncError;
use solconnect_sync_core::ids::SessionId;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{IdbFactory, IdbObjectStore};

use crate::connection::{Connection, OUTBOX, Transaction, factory, number, to_error};
use crate::errors::not_initialized;
use crate::platform::{is_hidden, navigator};
use crate::store::{Step, key, records, step as step_of};

/// The bucket.
const BUCKET: &str = "solconnect-sync";

/// How long what was written waits for its copy: as long as a few messages take, and well below the 50 ms after which it must be
/// there.
const WAIT_MS: u32 = 20;

/// What is written next.
pub enum SpareStep {
    /// All leaves.
    Clear,
    /// Messages come to the outbox or leave it.
    Write(Box<Write>),
}

/// A request to the copy.
enum Request {
    Clear,
    Put(JsValue, JsValue),
    Delete(JsValue),
}

/// The copy of one database.
pub struct Spare {
    name: String,
    connection: RefCell<Option<Rc<Connection>>>,
    waiting: RefCell<Vec<SpareStep>>,
    /// The records that were written since all left.
    held: RefCell<Vec<(SessionId, u64)>>,
    is_writing: Cell<bool>,
    is_closed: Cell<bool>,
}

impl Spare {
    /// The copy of a database; nothing is opened.
    pub fn of(database: &str) -> Spare {
        let name = [database, ".spare"].concat();
        Spare {
            name,
            connection: RefCell::default(),
            waiting: RefCell::default(),
            held: RefCell::default(),
            is_writing: Cell::new(false),
            is_closed: Cell::new(false),
        }
    }

    /// All that it has, in the order of its keys; nothing where it cannot be read.
    pub async fn read(&self) -> Vec<SpareRecord> {
        let read = async || {
            let connection = self.connected().await?;
            let all = connection.read(OUTBOX, IdbObjectStore::get_all).await?;
            records(all, SpareRecord::from_bytes)
        };
        read().await.unwrap_or_default()
    }

    /// Writes these after all that waits already. `copy` is what to keep of messages by then, if anything: what the relay has
    /// meanwhile is not worth it.
    pub fn write(self: &Rc<Self>, steps: Vec<SpareStep>, copy: impl Fn(&OutboxRecord) -> Option<SpareRecord> + 'static) {
        if steps.is_empty() || self.is_closed.get() {
            return;
        }
        self.waiting.borrow_mut().extend(steps);
        if self.is_writing.replace(true) {
            return;
        }
        let spare = self.clone();
        spawn_local(async move {
            loop {
                // Whatever is sent next comes first, and what is sent in quick succession is copied at once. Timers of a page
                // that nobody sees are late.
                if !is_hidden() {
                    TimeoutFuture::new(WAIT_MS).await;
                }
                let requests = spare.requests(&copy);
                if requests.is_empty() {
                    break;
                }
                // What fails is in the database itself all the same; what is to leave still is.
                if spare.write_now(&requests).await.is_err() {
                    if matches!(requests[0], Request::Clear) {
                        spare.waiting.borrow_mut().insert(0, SpareStep::Clear);
                    }
                    break;
                }
            }
            spare.is_writing.set(false);
        });
    }

    /// What there is to write now. That all leaves waits for something that comes: it is not worth opening the copy for it.
    fn requests(&self, copy: &impl Fn(&OutboxRecord) -> Option<SpareRecord>) -> Vec<Request> {
        let mut held = self.held.borrow_mut();
        let (mut clears, mut requests) = (false, Vec::new());
        for step in self.waiting.take() {
            match step {
                SpareStep::Clear => {
                    held.clear();
                    requests.clear();
                    clears = true;
                }
                SpareStep::Write(write) => match &*write {
                    Write::Outbox(record) => {
                        let Some(copy) = copy(record) else { continue };
                        let place = number(record.first());
                        let value = Uint8Array::from(copy.to_bytes().as_slice());
                        requests.push(Request::Put(key(&record.session_id, &place), value.into()));
                        held.push((record.session_id.clone(), record.first()));
                    }
                    Write::DeleteOutbox { session_id, first, last } => {
                        let count = held.len();
                        held.retain(|(id, place)| id != session_id || !(first..=last).contains(&place));
                        if held.len() < count
                            && let Ok(Step::Delete { key, .. }) = step_of(&write)
                        {
                            requests.push(Request::Delete(key));
                        }
                    }
                    _ => {}
                },
            }
        }
        if clears && requests.is_empty() {
            self.waiting.borrow_mut().push(SpareStep::Clear);
        } else if clears {
            requests.insert(0, Request::Clear);
        }
        requests
    }

    async fn write_now(&self, requests: &[Request]) -> Result<(), SyncError> {
        let connection = self.connected().await?;
        let outcome = write(&connection, requests).await;
        if outcome.is_err() {
            self.connection.take();
        }
        outcome
    }

    async fn connected(&self) -> Result<Rc<Connection>, SyncError> {
        let open = self.connection.borrow().clone().filter(|connection| connection.is_open());
        if let Some(connection) = open {
            return Ok(connection);
        }
        // What a tab that wipes everything has deleted is not to be made again.
        let factory = bucket().await;
        self.check_open()?;
        let connection = Rc::new(Connection::open_spare(factory, &self.name).await?);
        self.check_open()?;
        self.connection.replace(Some(connection.clone()));
        Ok(connection)
    }

    fn check_open(&self) -> Result<(), SyncError> {
        if self.is_closed.get() { Err(not_initialized()) } else { Ok(()) }
    }

    /// Closes it for good once what is under way is done. What waits is written at once, where it is open: there is no later in
    /// a page that goes away.
    pub fn close(&self, copy: impl Fn(&OutboxRecord) -> Option<SpareRecord>) {
        self.is_closed.set(true);
        let Some(connection) = self.connection.take() else { return };
        let requests = self.requests(&copy);
        if !requests.is_empty() {
            spawn_local(async move {
                let _ = write(&connection, &requests).await;
            });
        }
    }
}

async fn write(connection: &Connection, requests: &[Request]) -> Result<(), SyncError> {
    let transaction = Transaction::begin(connection, &[OUTBOX], false)?;
    let outbox = transaction.store(OUTBOX)?;
    for request in requests {
        let issued = match request {
            Request::Clear => outbox.clear(),
            Request::Put(key, value) => outbox.put_with_key(value, key),
            Request::Delete(key) => outbox.delete(key),
        };
        issued.map_err(|exception| to_error(&exception))?;
    }
    transaction.commit().await
}

/// The databases of the bucket; those of the page where the browser has no buckets.
async fn bucket() -> Result<IdbFactory, JsValue> {
    let buckets = navigator("storageBuckets");
    let Ok(open) = Reflect::get(&buckets, &"open".into()).and_then(JsCast::dyn_into::<Function>) else { return factory() };
    let bucket = JsFuture::from(open.call1(&buckets, &BUCKET.into())?.unchecked_into::<Promise>()).await?;
    Reflect::get(&bucket, &"indexedDB".into())?.dyn_into()
}
