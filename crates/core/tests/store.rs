//! The suite of `conformance/store.rs` on a store in memory that takes its time, can fail, and knows its owner. The browser
//! runs it on IndexedDB.

use crate::suite;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::memory::Records;
use solconnect_sync_core::client::{Commit, LogRecord, NameRecord, Snapshot};
use solconnect_sync_core::error::{ErrorCode, SyncError};

/// A database and how often it was opened: whoever opened it last may write.
#[derive(Default)]
struct Database {
    records: Records,
    opened: u64,
}

thread_local! {
    static DATABASES: RefCell<BTreeMap<String, Rc<RefCell<Database>>>> = RefCell::default();
}

struct InMemory {
    database: Rc<RefCell<Database>>,
    token: u64,
}

impl InMemory {
    /// Everything is written to a copy, with a wait after each write.
    async fn written(&self, commit: &Commit) -> Result<Records, SyncError> {
        if self.database.borrow().opened != self.token {
            return Err(SyncError::new(ErrorCode::ProfileInUse, "another has opened it"));
        }
        let mut records = self.database.borrow().records.clone();
        for write in &commit.writes {
            records.apply(write).expect("it can be read back");
            wait().await;
        }
        Ok(records)
    }
}

impl suite::Store for InMemory {
    async fn open(name: &str) -> Self {
        let database = DATABASES.with_borrow_mut(|databases| databases.entry(name.to_owned()).or_default().clone());
        database.borrow_mut().opened += 1;
        let token = database.borrow().opened;
        InMemory { database, token }
    }

    async fn write(&self, commit: &Commit) -> Result<(), SyncError> {
        let records = self.written(commit).await?;
        self.database.borrow_mut().records = records;
        Ok(())
    }

    async fn write_in_vain(&self, commit: &Commit) -> SyncError {
        let full = SyncError::new(ErrorCode::StorageFull, "quota");
        self.written(commit).await.err().unwrap_or(full)
    }

    async fn snapshot(&self) -> Snapshot {
        self.database.borrow().records.snapshot()
    }

    async fn name(&self, session_id: &str, message_id: &str) -> Option<NameRecord> {
        self.database.borrow().records.names.get(&(session_id.to_owned(), message_id.to_owned())).cloned()
    }

    async fn log(&self, session_id: &str) -> Vec<LogRecord> {
        self.database.borrow().records.log(session_id)
    }
}

/// Pending once.
async fn wait() {
    let mut is_over = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut is_over, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_store_in_memory_conforms() {
    let mut suite = pin!(suite::store_conformance::<InMemory>());
    while suite.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
}
