//! A device's records in memory, by the keys of the store's description (ARCHITECTURE.md) and as the bytes that are
//! stored: what is read was written and read back.

use std::collections::BTreeMap;

use solconnect_sync_core::client::{DeviceRecord, LogRecord, OutboxRecord, SessionRecord, Snapshot, VersionsRecord, Write};

/// All of them.
#[derive(Clone, Default)]
pub struct Records {
    device: Option<Vec<u8>>,
    sessions: BTreeMap<String, Vec<u8>>,
    outbox: BTreeMap<(String, u64), Vec<u8>>,
    log: BTreeMap<(String, u64), Vec<u8>>,
    versions: BTreeMap<(String, String), Vec<u8>>,
}

impl Records {
    /// One write of a transaction.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Device(record) => self.device = Some(record.to_bytes()),
            Write::Session(record) => drop(self.sessions.insert(record.session_id.clone(), record.to_bytes())),
            Write::Outbox(record) => drop(self.outbox.insert((record.session_id.clone(), record.first()), record.to_bytes())),
            Write::DeleteOutbox { session_id, first, last } => {
                self.outbox.retain(|(session, place), _| session != session_id || !(first..=last).contains(&place));
            }
            Write::Log(record) => drop(self.log.insert((record.session_id.clone(), record.first), record.to_bytes())),
            Write::JoinLog { session_id, first, last } => self.join(session_id, *first, *last),
            Write::ClearLog { session_id } => self.log.retain(|(session, _), _| session != session_id),
            Write::Versions(record) => {
                self.versions.insert((record.session_id.clone(), record.message_id.clone()), record.to_bytes());
            }
        }
    }

    fn join(&mut self, session_id: &str, first: u64, last: u64) {
        let is_small = |(session, place): &(String, u64)| session == session_id && (first..=last).contains(place);
        let small = self.log.iter().filter(|(key, _)| is_small(key)).map(|(_, bytes)| LogRecord::from_bytes(session_id, bytes));
        let Ok(joined) = small.collect::<Result<Vec<_>, _>>().and_then(|small| LogRecord::join(&small)) else { return };
        self.log.retain(|key, _| !is_small(key));
        joined.into_iter().for_each(|record| self.apply(&Write::Log(record)));
    }

    /// What a machine starts from.
    pub fn snapshot(&self) -> Snapshot {
        let device = self.device.as_ref().map(|bytes| DeviceRecord::from_bytes(bytes).expect("a device record"));
        let sessions = self.sessions.values().map(|bytes| SessionRecord::from_bytes(bytes).expect("a session record"));
        let outbox = self.outbox.values().map(|bytes| OutboxRecord::from_bytes(bytes).expect("unsent messages"));
        let versions = self.versions.values().map(|bytes| VersionsRecord::from_bytes(bytes).expect("versions of a message"));
        Snapshot { device, sessions: sessions.collect(), outbox: outbox.collect(), versions: versions.collect() }
    }

    /// One session.
    #[allow(dead_code, reason = "each test binary uses what it needs")]
    pub fn session(&self, session_id: &str) -> Option<SessionRecord> {
        self.sessions.get(session_id).map(|bytes| SessionRecord::from_bytes(bytes).expect("a session record"))
    }

    /// The log of a session, by first sequence number.
    pub fn log(&self, session_id: &str) -> Vec<LogRecord> {
        let log = self.log.iter().filter(|((session, _), _)| session == session_id);
        log.map(|(_, bytes)| LogRecord::from_bytes(session_id, bytes).expect("a part of the log")).collect()
    }
}
