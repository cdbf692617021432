//! A device's store: transactions that are applied whole or not at all, of which a power cut takes back the relaxed ones,
//! and whose older states can be put back.

#[path = "../../core/tests/conformance/memory.rs"]
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use solconnect_sync_core::client::{Commit, Snapshot, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::ids::SessionId;
use solconnect_sync_core::vector_clock::VectorClock;

pub use memory::Records;

use crate::ledger::number_of;
use crate::world::TabId;

/// Claims begin above this one.
const FIRST_CLAIM: u64 = 1_000_000;

/// What is stored.
#[derive(Clone, Default)]
pub struct State {
    /// The records.
    pub records: Records,
    /// The commit that wrote each record of unsent messages.
    outbox_commits: BTreeMap<(SessionId, u64), usize>,
    /// Up to where the log of a session was cleared on purpose.
    pub cleared: BTreeMap<SessionId, u64>,
}

impl State {
    /// What the device is called.
    pub fn device_id(&self) -> &str {
        self.records.device.as_ref().map_or("", |device| &device.device_id)
    }

    /// The counter of the device's last entry in the stored log of a session.
    fn logged_counter(&self, session_id: &str) -> u64 {
        self.records.sessions.get(session_id).map_or(0, |session| session.log.counter(self.device_id()))
    }

    /// The unsent messages of a session: those in its outbox records that its stored log does not have.
    pub fn unsent<'a>(&'a self, session_id: &str) -> impl Iterator<Item = &'a Entry> {
        let (device, logged) = (self.device_id(), self.logged_counter(session_id));
        let records = self.records.outbox.range((session_id.to_owned(), 0)..=(session_id.to_owned(), u64::MAX));
        let entries = records.flat_map(|(_, record)| &record.entries);
        entries.filter(move |entry| entry.device_id == device && entry.counter > logged)
    }

    /// Where the stored log of a session ends, as its record says.
    pub fn cursor(&self, session_id: &str) -> u64 {
        self.records.sessions.get(session_id).map_or(0, |session| session.log.end())
    }

    /// The stored entries of a session, in order.
    pub fn entries(&self, session_id: &str) -> Vec<Entry> {
        self.records.log_of(session_id).flat_map(|record| record.entries().unwrap_or_default()).collect()
    }

    /// The vector clocks of entries, as the shell finds them: by the batch that holds the last entry which their writers
    /// knew. `None` where that has been cleared.
    pub fn clocks_of(&self, session_id: &str, entries: &[Entry]) -> Vec<Option<VectorClock>> {
        let mut clocks = vec![None; entries.len()];
        for record in self.records.log(session_id) {
            let found = record.clocks_of(entries.iter()).unwrap_or_default();
            clocks.iter_mut().zip(found).for_each(|(clock, found)| *clock = clock.take().or(found));
        }
        clocks
    }

    /// The end of a session's stored log, as its records have it.
    pub fn last_logged(&self, session_id: &str) -> u64 {
        self.records.log_of(session_id).last().map_or(self.cleared.get(session_id).copied().unwrap_or(0), |record| record.last)
    }

    fn apply(&mut self, writes: &[Write], commit: usize) -> Result<(), SyncError> {
        for write in writes {
            match write {
                Write::Outbox(record) => drop(self.outbox_commits.insert((record.session_id.clone(), record.first()), commit)),
                Write::ClearLog { session_id } => drop(self.cleared.insert(session_id.clone(), self.last_logged(session_id))),
                _ => {}
            }
            self.records.apply(write).map_err(|what| SyncError::new(ErrorCode::StorageError, what))?;
        }
        Ok(())
    }
}

/// A profile's database.
#[derive(Clone, Default)]
pub struct ClientDisk {
    /// Every commit, so that any older state can be put back.
    history: Vec<Rc<Commit>>,
    /// So many of them survive a power cut.
    synced: usize,
    state: State,
    /// Whose claim is the last one.
    owner: TabId,
    /// Its number. A database that was made anew begins with lower ones than the one before, which open pages remember.
    claim: u64,
    is_made_anew: bool,
    /// What was stored when it was deleted; `None` while it is there.
    lost: Option<State>,
    /// The numbers of the unsent messages, and whether those survive a power cut.
    unsent: BTreeMap<u64, bool>,
    unsent_count: u64,
}

impl ClientDisk {
    /// What is stored now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The last tab that claimed it. Only that one may write.
    pub fn owner(&self) -> TabId {
        self.owner
    }

    /// A tab claims it and reads all but the log.
    pub fn claim(&mut self, tab: TabId) -> Snapshot {
        self.claim_above(tab, 0);
        self.state.records.snapshot()
    }

    /// The last claim is a tab's, under a number above this one and above all others. A database that is not there is made.
    pub fn claim_above(&mut self, tab: TabId, above: u64) {
        self.lost = None;
        let first = if self.is_made_anew { 0 } else { FIRST_CLAIM };
        (self.owner, self.claim) = (tab, self.claim.max(above).max(first) + 1);
    }

    /// The number of the last claim.
    pub fn last_claim(&self) -> u64 {
        self.claim
    }

    /// All but the log.
    pub fn snapshot(&self) -> Snapshot {
        self.state.records.snapshot()
    }

    /// Stores a commit of a tab whole, or nothing of it. A strict one takes with it to the disk all that was stored before
    /// it. `fails` is a fault of the disk, with which nothing of it is stored.
    ///
    /// # Errors
    /// `STORAGE_LOST` where it was deleted, `PROFILE_IN_USE` where another tab has claimed it since, the fault, and what cannot be
    /// read back.
    pub fn write(&mut self, tab: TabId, commit: Rc<Commit>, fails: Option<ErrorCode>) -> Result<(), SyncError> {
        if self.lost.is_some() {
            return Err(SyncError::new(fails.unwrap_or(ErrorCode::StorageLost), "the database is gone"));
        }
        if tab != self.owner {
            return Err(SyncError::new(ErrorCode::ProfileInUse, "another tab has claimed the database"));
        }
        if let Some(code) = fails {
            return Err(SyncError::new(code, "the commit was aborted"));
        }
        if let Err(error) = self.state.apply(&commit.writes, self.history.len()) {
            self.go_back(self.history.len());
            return Err(error);
        }
        let concerns = |write: &Write| {
            !matches!(
                write,
                Write::Versions(_)
                    | Write::Failed(_)
                    | Write::DeleteFailed { .. }
                    | Write::Name(_)
                    | Write::ForgetName { .. }
                    | Write::JoinLog { .. }
                    | Write::ClearLog { .. }
                    | Write::Call(_)
                    | Write::ForgetCall { .. }
                    | Write::ForgetCalls { .. }
            )
        };
        let changed = commit.strict || commit.writes.iter().any(concerns);
        let strict = commit.strict;
        self.history.push(commit);
        if strict {
            self.synced = self.history.len();
        }
        if changed {
            self.count_unsent();
        }
        Ok(())
    }

    fn count_unsent(&mut self) {
        self.unsent.clear();
        self.unsent_count = 0;
        let records = &self.state.records;
        let sessions: BTreeSet<&SessionId> = records.outbox.keys().map(|(session, _)| session).collect();
        for session in sessions {
            let (device, logged) = (self.state.device_id(), self.state.logged_counter(session));
            for (key, record) in records.outbox.range((session.clone(), 0)..=(session.clone(), u64::MAX)) {
                let waiting = record.entries.iter().filter(|entry| entry.device_id == device && entry.counter > logged);
                let durable = self.state.outbox_commits.get(key).is_some_and(|commit| *commit < self.synced);
                for entry in waiting.filter(|entry| entry.message.kind.has_status()) {
                    self.unsent_count += 1;
                    self.unsent.extend(number_of(&entry.message.ciphertext).map(|number| (number, durable)));
                }
            }
        }
    }

    /// The numbers of the unsent messages, and whether each survives a power cut.
    pub fn unsent(&self) -> &BTreeMap<u64, bool> {
        &self.unsent
    }

    /// How many messages, edits and deletions are unsent.
    pub fn unsent_count(&self) -> u64 {
        self.unsent_count
    }

    /// How many commits there are to go back to.
    pub fn commits(&self) -> usize {
        self.history.len()
    }

    /// How many of them a power cut leaves.
    pub fn synced(&self) -> usize {
        self.synced
    }

    /// The database is deleted under whoever has it open: nothing is left, and nobody owns what is not there.
    pub fn delete(&mut self) {
        let lost = self.lost.take().unwrap_or_else(|| std::mem::take(&mut self.state));
        *self = ClientDisk { is_made_anew: true, lost: Some(lost), ..ClientDisk::default() };
    }

    /// What was stored when it was deleted; `None` while it is there.
    pub fn lost(&self) -> Option<&State> {
        self.lost.as_ref()
    }

    /// Only the first so many commits are left.
    pub fn go_back(&mut self, commits: usize) {
        self.history.truncate(commits);
        self.synced = self.synced.min(commits);
        self.state = State::default();
        for (index, commit) in self.history.iter().enumerate() {
            // They were read back when they were stored.
            let _ = self.state.apply(&commit.writes, index);
        }
        self.count_unsent();
    }
}
