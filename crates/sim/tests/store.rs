//! The simulated disk of a device does what every store of a device must.

#![allow(clippy::disallowed_types, reason = "a store takes its time: only the machines do not wait")]

#[path = "../../core/tests/conformance/store.rs"]
mod suite;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use solconnect_sim::client_disk::ClientDisk;
use solconnect_sim::world::TabId;
use solconnect_sync_core::client::{Commit, LogRecord, NameRecord, Snapshot};
use solconnect_sync_core::error::{ErrorCode, SyncError};

thread_local! {
    static DISKS: RefCell<BTreeMap<String, Rc<RefCell<ClientDisk>>>> = RefCell::default();
}

/// A tab over a disk.
struct Simulated {
    disk: Rc<RefCell<ClientDisk>>,
    tab: TabId,
}

impl suite::Store for Simulated {
    async fn open(name: &str) -> Self {
        let disk = DISKS.with_borrow_mut(|disks| disks.entry(name.to_owned()).or_default().clone());
        let tab = disk.borrow().owner() + 1;
        let _ = disk.borrow_mut().claim(tab);
        Simulated { disk, tab }
    }

    /// As in the world, a commit is on its way for a while and then stored in one step.
    async fn write(&self, commit: &Commit) -> Result<(), SyncError> {
        wait().await;
        self.disk.borrow_mut().write(self.tab, commit.clone().into(), None)
    }

    async fn write_in_vain(&self, commit: &Commit) -> SyncError {
        let result = self.disk.borrow_mut().write(self.tab, commit.clone().into(), Some(ErrorCode::StorageFull));
        result.expect_err("the disk is full")
    }

    /// What a tab is given that opens over it.
    async fn snapshot(&self) -> Snapshot {
        self.disk.borrow_mut().claim(self.tab)
    }

    async fn name(&self, session_id: &str, message_id: &str) -> Option<NameRecord> {
        self.disk.borrow().state().records.names.get(&(session_id.to_owned(), message_id.to_owned())).cloned()
    }

    async fn log(&self, session_id: &str) -> Vec<LogRecord> {
        self.disk.borrow().state().records.log(session_id)
    }
}

/// Pending once.
async fn wait() {
    let mut is_over = false;
    poll_fn(|_| if std::mem::replace(&mut is_over, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[test]
fn the_simulated_disk_conforms() {
    let mut suite = pin!(suite::store_conformance::<Simulated>());
    while suite.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
}
