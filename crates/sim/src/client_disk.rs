//! A device's store: transactions that are applied whole or not at all, of which a power cut takes back the relaxed ones,
//! and whose older states can be put back.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use solconnect_sync_core::client::{Commit, DeviceRecord, LogRecord, OutboxRecord, SessionRecord, Snapshot, VersionsRecord, Write};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::ids::{MessageId, SessionId};
use solconnect_sync_core::message::Entry;

use crate::ledger::number_of;
use crate::world::TabId;

/// What is stored, record by record, each read back from its bytes.
#[derive(Clone, Default)]
pub struct State {
    /// The device record.
    pub device: Option<DeviceRecord>,
    /// Sessions by id.
    pub sessions: BTreeMap<SessionId, SessionRecord>,
    /// Unsent messages by session and first counter, and the commit that wrote them.
    pub outbox: BTreeMap<(SessionId, u64), (OutboxRecord, usize)>,
    /// The log by session and first sequence number.
    pub log: BTreeMap<(SessionId, u64), LogRecord>,
    /// Open versions by session and message.
    pub versions: BTreeMap<(SessionId, MessageId), VersionsRecord>,
    /// Up to where the log of a session was cleared on purpose.
    pub cleared: BTreeMap<SessionId, u64>,
}

impl State {
    /// What the device is called in a session.
    pub fn name_in(&self, session_id: &str) -> &str {
        self.sessions.get(session_id).map_or("", |session| &session.device_id)
    }

    /// The unsent messages of a session: those in its outbox records that its stored log does not have.
    pub fn unsent<'a>(&'a self, session_id: &str) -> impl Iterator<Item = &'a Entry> {
        let device = self.name_in(session_id);
        let logged = self.sessions.get(session_id).map_or(0, |session| session.heads.get(device));
        let records = self.outbox.range((session_id.to_owned(), 0)..=(session_id.to_owned(), u64::MAX));
        let entries = records.flat_map(|(_, (record, _))| &record.entries);
        entries.filter(move |entry| entry.original_device_id == device && entry.counter() > logged)
    }

    /// The stored log of a session, by first sequence number.
    pub fn log_of(&self, session_id: &str) -> impl DoubleEndedIterator<Item = &LogRecord> {
        self.log.range((session_id.to_owned(), 0)..=(session_id.to_owned(), u64::MAX)).map(|(_, record)| record)
    }

    /// The stored entries of a session, in order.
    pub fn entries(&self, session_id: &str) -> Vec<Entry> {
        self.log_of(session_id).flat_map(|record| record.entries().unwrap_or_default()).collect()
    }

    /// The end of a session's stored log, as its records have it.
    pub fn last_logged(&self, session_id: &str) -> u64 {
        self.log_of(session_id).last().map_or(self.cleared.get(session_id).copied().unwrap_or(0), |record| record.last)
    }

    fn apply(&mut self, writes: &[Write], commit: usize) -> Result<(), SyncError> {
        let refused = |what: &str, error: &dyn std::fmt::Display| {
            SyncError::new(ErrorCode::StorageError, format!("a stored {what} cannot be read back: {error}"))
        };
        for write in writes {
            match write {
                Write::Device(record) => {
                    let stored = DeviceRecord::from_bytes(&record.to_bytes()).map_err(|error| refused("device", &error))?;
                    self.device = Some(stored);
                }
                Write::Session(record) => {
                    let stored = SessionRecord::from_bytes(&record.to_bytes()).map_err(|error| refused("session", &error))?;
                    if stored != *record {
                        return Err(refused("session", &"it is another"));
                    }
                    self.sessions.insert(stored.session_id.clone(), stored);
                }
                Write::Outbox(record) => {
                    let stored = OutboxRecord::from_bytes(&record.to_bytes()).map_err(|error| refused("outbox record", &error))?;
                    if stored != *record {
                        return Err(refused("outbox record", &"it is another"));
                    }
                    self.outbox.insert((stored.session_id.clone(), stored.first()), (stored, commit));
                }
                Write::DeleteOutbox { session_id, first, last } => {
                    self.outbox.retain(|(session, counter), _| session != session_id || !(*first..=*last).contains(counter));
                }
                Write::Log(record) => {
                    let stored = LogRecord::from_bytes(&record.session_id, &record.to_bytes()).map_err(|error| refused("batch", &error))?;
                    if stored != *record {
                        return Err(refused("batch", &"it is another"));
                    }
                    self.log.insert((stored.session_id.clone(), stored.first), stored);
                }
                Write::JoinLog { session_id, first, last } => {
                    let range = (session_id.clone(), *first)..=(session_id.clone(), *last);
                    let small: Vec<LogRecord> = self.log.range(range.clone()).map(|(_, record)| record.clone()).collect();
                    // Where it fails they stay as they are.
                    if let Ok(joined) = LogRecord::join(&small) {
                        self.log.retain(|key, _| !range.contains(key));
                        self.log.extend(joined.into_iter().map(|record| ((session_id.clone(), record.first), record)));
                    }
                }
                Write::ClearLog { session_id } => {
                    let last = self.last_logged(session_id);
                    self.log.retain(|(session, _), _| session != session_id);
                    self.cleared.insert(session_id.clone(), last);
                }
                Write::Versions(record) => {
                    let stored = VersionsRecord::from_bytes(&record.to_bytes()).map_err(|error| refused("version", &error))?;
                    if stored.versions.len() != record.versions.len() {
                        return Err(refused("version", &"some are missing"));
                    }
                    self.versions.insert((record.session_id.clone(), record.message_id.clone()), stored);
                }
            }
        }
        Ok(())
    }
}

/// A profile's database.
#[derive(Clone, Default)]
pub struct ClientDisk {
    /// Every commit, so that any older state can be put back.
    history: Vec<Rc<Vec<Write>>>,
    /// So many of them survive a power cut.
    synced: usize,
    state: State,
    owner: TabId,
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
        self.owner = tab;
        let state = &self.state;
        Snapshot {
            device: state.device.clone(),
            sessions: state.sessions.values().cloned().collect(),
            outbox: state.outbox.values().map(|(record, _)| record.clone()).collect(),
            versions: state.versions.values().cloned().collect(),
        }
    }

    /// Stores a commit of a tab whole, or nothing of it. A strict one takes with it to the disk all that was stored before
    /// it. `fails` is a fault of the disk: it shows when all is written.
    ///
    /// # Errors
    /// `PROFILE_IN_USE` where another tab has claimed it since, the fault, and what cannot be read back.
    pub fn write(&mut self, tab: TabId, commit: Commit, fails: Option<ErrorCode>) -> Result<(), SyncError> {
        if tab != self.owner {
            return Err(SyncError::new(ErrorCode::ProfileInUse, "another tab has claimed the database"));
        }
        let mut state = self.state.clone();
        state.apply(&commit.writes, self.history.len())?;
        if let Some(code) = fails {
            return Err(SyncError::new(code, "the commit was aborted"));
        }
        self.state = state;
        let concerns = |write: &Write| !matches!(write, Write::Versions(_) | Write::JoinLog { .. } | Write::ClearLog { .. });
        let changed = commit.strict || commit.writes.iter().any(concerns);
        self.history.push(Rc::new(commit.writes));
        if commit.strict {
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
        let sessions: BTreeSet<&SessionId> = self.state.outbox.keys().map(|(session, _)| session).collect();
        for session in sessions {
            let device = self.state.name_in(session);
            let logged = self.state.sessions.get(session).map_or(0, |session| session.heads.get(device));
            for (record, commit) in self.state.outbox.range((session.clone(), 0)..=(session.clone(), u64::MAX)).map(|(_, value)| value) {
                let waiting = record.entries.iter().filter(|entry| entry.original_device_id == device && entry.counter() > logged);
                let durable = *commit < self.synced;
                for entry in waiting {
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

    /// How many messages are unsent.
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

    /// Only the first so many commits are left.
    pub fn go_back(&mut self, commits: usize) {
        self.history.truncate(commits);
        self.synced = self.synced.min(commits);
        self.state = State::default();
        for (index, writes) in self.history.iter().enumerate() {
            // They were read back when they were stored.
            let _ = self.state.apply(writes, index);
        }
        self.count_unsent();
    }
}
