//! A second copy of the outbox, for the case that the browser deletes the database (B3, B12): in a database of its own, which
//! Chromium keeps in other files only where that is in another storage bucket. It is written behind each commit and never waited
//! for, so it may lack what was sent in the last milliseconds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gloo_timers::future::TimeoutFuture;
use js_sys::{Function, Promise, Reflect};
use solconnect_sync_core::client::SpareRecord;
use solconnect_sync_core::error::SyncError;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{IdbFactory, IdbObjectStore};

use crate::connection::{Connection, OUTBOX, Transaction, factory, to_error};
use crate::platform::{is_hidden, navigator};
use crate::store::{Step, records};

/// The bucket.
const BUCKET: &str = "solconnect-sync";

/// How long what was written waits for its copy: as long as a few messages take, and well below the 50 ms after which it must be
/// there.
const WAIT_MS: u32 = 20;

/// What is written next.
pub enum SpareStep {
    /// All leaves.
    Clear,
    /// Messages come or leave.
    Step(Step),
}

/// The copy of one database.
pub struct Spare {
    name: String,
    connection: RefCell<Option<Rc<Connection>>>,
    waiting: RefCell<Vec<SpareStep>>,
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

    /// Writes this with the next steps: it is not worth opening the copy for it.
    pub fn prepend(&self, step: SpareStep) {
        self.waiting.borrow_mut().push(step);
    }

    /// Writes these after all that waits already.
    pub fn write(self: &Rc<Self>, steps: Vec<SpareStep>) {
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
                let steps = spare.waiting.take();
                // What fails is in the database itself all the same.
                if steps.is_empty() || spare.write_now(steps).await.is_err() {
                    break;
                }
            }
            spare.is_writing.set(false);
        });
    }

    async fn write_now(&self, steps: Vec<SpareStep>) -> Result<(), SyncError> {
        let connection = self.connected().await?;
        let outcome = write(&connection, &steps).await;
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
        let connection = Rc::new(Connection::open_spare(bucket().await, &self.name).await?);
        if !self.is_closed.get() {
            self.connection.replace(Some(connection.clone()));
        }
        Ok(connection)
    }

    /// Closes it for good once what is under way is done.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.waiting.take();
        self.connection.take();
    }
}

async fn write(connection: &Connection, steps: &[SpareStep]) -> Result<(), SyncError> {
    let transaction = Transaction::begin(connection, &[OUTBOX], false)?;
    let outbox = transaction.store(OUTBOX)?;
    for step in steps {
        let issued = match step {
            SpareStep::Clear => outbox.clear(),
            SpareStep::Step(Step::Put { key, value, .. }) => outbox.put_with_key(value, key),
            SpareStep::Step(Step::Delete { key, .. }) => outbox.delete(key),
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
