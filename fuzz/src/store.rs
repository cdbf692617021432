//! A device's store in memory: what is written is read back from its bytes.

use std::collections::BTreeMap;

use solconnect_sync_core::client::{Commit, DeviceRecord, LogRecord, OutboxRecord, SessionRecord, Snapshot, VersionsRecord, Write};

/// Records by their keys, as bytes.
#[derive(Default)]
pub struct Store {
    device: Option<Vec<u8>>,
    sessions: BTreeMap<String, Vec<u8>>,
    outbox: BTreeMap<(String, u64), Vec<u8>>,
    log: BTreeMap<(String, u64), Vec<u8>>,
    versions: BTreeMap<(String, String), Vec<u8>>,
}

impl Store {
    /// Writes all of a commit, and checks that every record comes back as it was and that cursors move with what they
    /// cover (I7).
    pub fn write(&mut self, commit: Commit) {
        for write in &commit.writes {
            if let Write::Session(record) = write {
                let before = self.sessions.get(&record.session_id).map_or(0, |bytes| session(bytes).cursor);
                let covered = commit.writes.iter().filter_map(|write| match write {
                    Write::Log(log) if log.session_id == record.session_id => Some(log.last),
                    _ => None,
                });
                assert_eq!(record.cursor, covered.max().unwrap_or(before), "the cursor is the end of the log (I7)");
            }
        }
        for write in commit.writes {
            self.apply(write);
        }
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Device(record) => {
                assert_eq!(DeviceRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
                self.device = Some(record.to_bytes());
            }
            Write::Session(record) => {
                assert_eq!(SessionRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
                self.sessions.insert(record.session_id.clone(), record.to_bytes());
            }
            Write::Outbox(record) => {
                assert_eq!(OutboxRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
                self.outbox.insert((record.session_id.clone(), record.first()), record.to_bytes());
            }
            Write::DeleteOutbox { session_id, first, last } => {
                self.outbox.retain(|(session, place), _| *session != session_id || !(first..=last).contains(place));
            }
            Write::Log(record) => {
                assert_eq!(LogRecord::from_bytes(&record.session_id, &record.to_bytes()).as_ref(), Ok(&record));
                self.log.insert((record.session_id.clone(), record.first), record.to_bytes());
            }
            Write::JoinLog { session_id, first, last } => {
                let keys = (session_id.clone(), first)..=(session_id.clone(), last);
                let small = self.log.range(keys.clone()).map(|(_, bytes)| LogRecord::from_bytes(&session_id, bytes));
                let small: Vec<LogRecord> = small.collect::<Result<_, _>>().expect("what was written can be read");
                let joined = LogRecord::join(&small).expect("what was written can be joined");
                self.log.retain(|key, _| !keys.contains(key));
                joined.into_iter().for_each(|record| self.apply(Write::Log(record)));
            }
            Write::ClearLog { session_id } => self.log.retain(|(session, _), _| *session != session_id),
            Write::Versions(record) => {
                let key = (record.session_id.clone(), record.message_id.clone());
                let read = VersionsRecord::from_bytes(&record.to_bytes()).expect("what was written can be read");
                assert_eq!(read.versions.len(), record.versions.len());
                self.versions.insert(key, record.to_bytes());
            }
        }
    }

    /// What a machine starts from.
    pub fn snapshot(&self) -> Snapshot {
        let outbox = self.outbox.values().map(|bytes| OutboxRecord::from_bytes(bytes).expect("it was written"));
        let versions = self.versions.values().map(|bytes| VersionsRecord::from_bytes(bytes).expect("it was written"));
        Snapshot {
            device: self.device.as_ref().map(|bytes| DeviceRecord::from_bytes(bytes).expect("it was written")),
            sessions: self.sessions.values().map(|bytes| session(bytes)).collect(),
            outbox: outbox.collect(),
            versions: versions.collect(),
        }
    }
}

fn session(bytes: &[u8]) -> SessionRecord {
    SessionRecord::from_bytes(bytes).expect("it was written")
}
