//! A device's store in memory, and what must be true of every commit.

#[path = "../../crates/core/tests/conformance/memory.rs"]
mod memory;

pub use memory::Records;
use solconnect_sync_core::client::{Commit, Write};

/// Writes all of a commit, and checks that every record comes back as it was and that cursors move with what they cover
/// (I7).
pub fn write(records: &mut Records, commit: &Commit) {
    for write in &commit.writes {
        if let Write::Log(record) = write {
            assert!(record.entries().is_ok_and(|entries| entries.len() as u64 == record.last - record.first + 1), "a log that can be read");
        }
        if let Write::Session(record) = write {
            let before = records.sessions.get(&record.session_id).map_or(0, |session| session.log.end());
            let covered = commit.writes.iter().filter_map(|write| match write {
                Write::Log(log) if log.session_id == record.session_id => Some(log.last),
                _ => None,
            });
            assert_eq!(record.log.end(), covered.max().unwrap_or(before), "the cursor is the end of the log (I7)");
        }
        records.apply(write).expect("it can be read back");
    }
}
