//! Erases what a journal has of a wallet, while no relay uses it.
//!
//! What others wrote stays, and so must what its checks stand on: every entry of the wallet keeps its place, its device, its
//! counter and its digest, and loses the rest. What an encrypted session hangs on stays whole: its epochs, who is in it, and the
//! account logs of who is. They have keys, ids and places, and nothing that people wrote.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::ids::{is_account_id, is_sealed_id};
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::Kind;

use crate::place::Place;
use crate::store::{self, Reason, reason};

/// Entries that are read at once, and bytes of them.
const READ_COUNT_MAX: usize = 1_000;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Entries that lost their content.
    pub entries: u64,
    /// Account logs that were deleted.
    pub accounts: u64,
    /// Those that were kept, because encrypted sessions lean on them.
    pub kept_accounts: u64,
    /// Sessions in which the wallet wrote or was known.
    pub sessions: u64,
}

/// Erases what the journal has of a wallet, and overwrites the bytes on the disk where it was. All or nothing: where it ends with
/// an error, or is killed, the journal is as it was, or all is erased.
///
/// # Errors
/// A sentence for the operator: there is no journal, a relay uses it, its log cannot be read, the disk fails.
pub fn erase(path: &Path, wallet: &str) -> Result<Erased, Reason> {
    if !path.exists() {
        return Err(format!("there is no journal {}", path.display()));
    }
    let place = Place::take(path)?;
    let mut connection = store::open(&place, path)?;
    // What is deleted or replaced is overwritten, and not only forgotten.
    connection.pragma_update(None, "secure_delete", true).map_err(reason)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(reason)?;
    let mut erased = Erased::default();
    let sessions = store::sessions(&transaction).map_err(reason)?;
    let mut needed = BTreeSet::new();
    for (session, _) in sessions.iter().filter(|(_, session_id)| is_sealed_id(session_id)) {
        needed.extend(account_in(&transaction, *session, wallet).map_err(reason)?);
    }
    for (session, session_id) in sessions {
        if is_account_id(&session_id) {
            let is_its = is_account_of(&transaction, session, wallet).map_err(reason)?;
            if is_its && !needed.contains(&session_id) {
                erase_account(&transaction, session).map_err(reason)?;
                erased.accounts += 1;
            }
            erased.kept_accounts += u64::from(is_its && needed.contains(&session_id));
            continue;
        }
        let entries = erase_entries(&transaction, session, &session_id, wallet)?;
        let rows = erase_rows(&transaction, session, is_sealed_id(&session_id), wallet).map_err(reason)?;
        erased.entries += entries;
        erased.sessions += u64::from(entries > 0 || rows);
    }
    transaction.commit().map_err(reason)?;
    // Its log has the pages as they were.
    connection.execute_batch("VACUUM").map_err(reason)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(reason)?;
    store::close(connection, false).map_err(reason)?;
    Ok(erased)
}

/// The account log that a session leans on for the wallet, where it is in it or ever was.
fn account_in(connection: &Connection, session: i64, wallet: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT account FROM members WHERE session = ?1 AND wallet = ?2")?;
    let found: Option<Option<String>> = statement.query_row(params![session, wallet], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// Whether a log lists devices of the wallet.
fn is_account_of(connection: &Connection, session: i64, wallet: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM devices WHERE session = ?1 AND wallet = ?2)")?
        .query_row(params![session, wallet], |row| row.get(0))
}

/// Deletes a log.
fn erase_account(connection: &Connection, session: i64) -> rusqlite::Result<()> {
    for table in ["entries", "devices", "watermarks", "members"] {
        connection.execute(&format!("DELETE FROM {table} WHERE session = ?1"), [session])?;
    }
    connection.execute("DELETE FROM sessions WHERE id = ?1", [session])?;
    Ok(())
}

/// Takes the content of the wallet's entries.
fn erase_entries(connection: &Connection, session: i64, session_id: &str, wallet: &str) -> Result<u64, Reason> {
    let mut log = Log::new(session_id);
    let mut count = 0;
    loop {
        let stored = store::read(connection, session_id, log.end() + 1, READ_COUNT_MAX, READ_BYTES_MAX)?;
        if stored.is_empty() {
            return Ok(count);
        }
        for stored in stored {
            let unreadable = || format!("entry {} of session {session_id} cannot be read: nothing was erased", stored.sequence);
            let entry = stored.body.entries().ok().and_then(|mut entries| entries.pop()).ok_or_else(unreadable)?;
            log.take(&entry).map_err(|refusal| format!("{} ({refusal})", unreadable()))?;
            if log.hash() != stored.log_hash {
                return Err(format!("{} (its hash is another)", unreadable()));
            }
            // What it said of who is in a group, or can read an encrypted session, holds for all others.
            let kind = entry.message.kind;
            let is_needed = kind == Kind::GROUP || kind.is_of_epochs() && is_sealed_id(session_id);
            if entry.message.sender_wallet == wallet && !is_needed {
                let erased = entry.erased(&log.digest(session_id, &entry.device_id));
                let body = Batch::of(std::slice::from_ref(&erased)).map_err(|_| unreadable())?;
                let mut statement = connection
                    .prepare_cached("UPDATE entries SET body = ?3, key = NULL WHERE session = ?1 AND sequence = ?2")
                    .map_err(reason)?;
                statement.execute(params![session, stored.sequence, body.bytes()]).map_err(reason)?;
                count += 1;
            }
        }
    }
}

/// Takes what else is known of the wallet in a session. Its devices that wrote keep their places in the log, and are nobody's. Who
/// is in an encrypted session stays: that stands in its epochs too.
fn erase_rows(connection: &Connection, session: i64, is_sealed: bool, wallet: &str) -> rusqlite::Result<bool> {
    let mut count = 0;
    let statements = [
        "UPDATE devices SET wallet = '', platform = '', last_seen_ms = 0, last_synced_sequence = 0 WHERE session = ?1 AND wallet = ?2",
        "DELETE FROM watermarks WHERE session = ?1 AND wallet = ?2",
        "DELETE FROM members WHERE session = ?1 AND wallet = ?2",
    ];
    for statement in &statements[..if is_sealed { 2 } else { 3 }] {
        count += connection.prepare_cached(statement)?.execute(params![session, wallet])?;
    }
    Ok(count > 0)
}
