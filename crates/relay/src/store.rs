//! The journal's tables in SQLite, and the statements on them. Blocking; see [`crate::journal`] for the thread.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::ids::DeviceId;
use solconnect_sync_core::relay::{DeviceRow, StoredEntry, StoredSession, WatermarkRow};
use solconnect_sync_core::watermark::Watermark;

use crate::place::{self, Place};

/// The newest form of the tables that this version knows (`user_version` of the file).
const SCHEMA_VERSION: i64 = 3;

/// Marks a SQLite file as a journal of ours ("SolC"), so that no other database is written to by mistake.
const APPLICATION_ID: i64 = 0x536f_6c43;

const SCHEMA: &str = "
CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY,
    session_id TEXT    NOT NULL UNIQUE,
    head       INTEGER NOT NULL
) STRICT;
CREATE TABLE entries (
    session  INTEGER NOT NULL REFERENCES sessions (id),
    sequence INTEGER NOT NULL,
    device   TEXT    NOT NULL,
    counter  INTEGER NOT NULL,
    key      TEXT,
    digest   BLOB    NOT NULL,
    body     BLOB    NOT NULL,
    PRIMARY KEY (session, sequence)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entries_by_counter ON entries (session, device, counter);
CREATE UNIQUE INDEX entries_by_key ON entries (session, key) WHERE key IS NOT NULL;
CREATE TABLE devices (
    session      INTEGER NOT NULL REFERENCES sessions (id),
    device       TEXT    NOT NULL,
    wallet       TEXT,
    platform     TEXT    NOT NULL,
    last_counter INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    sync_state   TEXT    NOT NULL,
    retired      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (session, device)
) STRICT, WITHOUT ROWID;
CREATE TABLE watermarks (
    session   INTEGER NOT NULL REFERENCES sessions (id),
    wallet    TEXT    NOT NULL,
    delivered INTEGER NOT NULL,
    read      INTEGER NOT NULL,
    PRIMARY KEY (session, wallet)
) STRICT, WITHOUT ROWID;
";

/// What makes tables of version 2 those of version 3.
const SCHEMA_SINCE_2: &str = "ALTER TABLE devices ADD COLUMN retired INTEGER NOT NULL DEFAULT 0";

const ENTRY_COLUMNS: &str = "sequence, device, counter, key, digest, body";

/// Why something was not stored or read. A sentence for the operator.
pub(crate) type Reason = String;

/// Opens the file of a place, making its tables where there are none. `named` is what the operator calls it.
///
/// # Errors
/// A file that cannot be opened, is in use by another process, is no journal, or was written by a newer version.
pub(crate) fn open(place: &Place, named: &Path) -> Result<Connection, Reason> {
    let name = named.display();
    let explain = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => place::in_use(named),
        Some(ErrorCode::NotADatabase) => format!("{name} is not a journal: choose another file with --journal"),
        Some(ErrorCode::ReadOnly) => format!("the journal {name} cannot be written: let the relay's user write to it and to its folder"),
        _ => format!("the journal {name} cannot be opened: {error}"),
    };
    // Never as a URI, which could name something other than a file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(place.file(), flags).map_err(explain)?;
    prepare(&mut connection, &name.to_string()).map_err(explain)??;
    Ok(connection)
}

/// Closes it. Where its files are `lost`, what is at their paths is somebody else's: it is neither written nor deleted,
/// as SQLite does when it closes a database.
pub(crate) fn close(connection: Connection, lost: bool) -> rusqlite::Result<()> {
    if lost {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    }
    connection.close().map_err(|(_, error)| error)
}

fn prepare(connection: &mut Connection, name: &str) -> rusqlite::Result<Result<(), Reason>> {
    // Exclusive: a second relay on the same file would give out the same sequence numbers.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let empty = tables == 0 && version == 0 && application == 0;
    if application != APPLICATION_ID && !empty {
        return Ok(Err(format!("{name} is a database of another program: choose another file with --journal")));
    }
    if version == 1 {
        return Ok(Err(format!(
            "the journal {name} was written by a preview whose form is not read any more: move it away, or choose another file"
        )));
    }
    if version > SCHEMA_VERSION {
        return Ok(Err(format!(
            "the journal {name} was written by a newer version (tables {version}, this version knows {SCHEMA_VERSION}): use that version, or another file"
        )));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit returns only when the log is on the disk, and only then is anything acknowledged (I1).
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(32);
    // Immediate also where nothing is to be made: takes the file's lock now and not at the first message.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if version < SCHEMA_VERSION {
        transaction.execute_batch(if version == 2 { SCHEMA_SINCE_2 } else { SCHEMA })?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(Ok(()))
}

/// Counts sessions and entries.
pub(crate) fn count(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    connection.query_row("SELECT count(*), coalesce(sum(head), 0) FROM sessions", [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Everything of a session but its entries.
pub(crate) fn load(connection: &Connection, session_id: &str) -> Result<StoredSession, Reason> {
    let Some((id, head)) = find_session(connection, session_id).map_err(reason)? else {
        return Ok(StoredSession::default());
    };
    let devices = devices(connection, id).map_err(reason)?;
    let watermarks = watermarks(connection, id).map_err(reason)?;
    Ok(StoredSession { head, devices, watermarks })
}

fn devices(connection: &Connection, session: i64) -> rusqlite::Result<Vec<DeviceRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT device, wallet, platform, last_counter, last_seen_ms, sync_state, retired FROM devices WHERE session = ?1",
    )?;
    let rows = statement.query_map([session], |row| {
        Ok(DeviceRow {
            device_id: row.get(0)?,
            wallet: row.get(1)?,
            platform: row.get(2)?,
            last_counter: row.get(3)?,
            last_seen_ms: row.get(4)?,
            // For display only: an unreadable one must not make its session unreadable.
            sync_state: serde_json::from_str(row.get_ref(5)?.as_str()?).unwrap_or_default(),
            retired: row.get(6)?,
        })
    })?;
    rows.collect()
}

fn watermarks(connection: &Connection, session: i64) -> rusqlite::Result<Vec<WatermarkRow>> {
    let mut statement = connection.prepare_cached("SELECT wallet, delivered, read FROM watermarks WHERE session = ?1")?;
    let rows = statement.query_map([session], |row| {
        Ok(WatermarkRow { wallet: row.get(0)?, watermark: Watermark { delivered: row.get(1)?, read: row.get(2)? } })
    })?;
    rows.collect()
}

/// Stores entries and the devices that wrote them. Call it within a savepoint: on an error part of it may be written.
///
/// # Errors
/// Entries that do not follow the head without holes, a (device, counter) or key that is there already, a failing disk.
pub(crate) fn append(connection: &Connection, session_id: &str, entries: &[StoredEntry], devices: &[DeviceRow]) -> Result<(), Reason> {
    let (session, head) = find_or_make_session(connection, session_id).map_err(reason)?;
    let mut next = head;
    for entry in entries {
        next += 1;
        if entry.sequence != next {
            return Err(format!("entry {} cannot follow: the session's next is {next}", entry.sequence));
        }
        insert_entry(connection, session, entry).map_err(reason)?;
    }
    if next == head {
        return Err("there is nothing to append".to_owned());
    }
    connection
        .prepare_cached("UPDATE sessions SET head = ?2 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![session, next]))
        .map_err(reason)?;
    for device in devices {
        write_device(connection, session, device).map_err(reason)?;
        connection
            .prepare_cached("UPDATE devices SET last_counter = ?3, retired = ?4 WHERE session = ?1 AND device = ?2")
            .and_then(|mut statement| statement.execute(params![session, device.device_id, device.last_counter, device.retired]))
            .map_err(reason)?;
    }
    Ok(())
}

fn insert_entry(connection: &Connection, session: i64, entry: &StoredEntry) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO entries (session, sequence, device, counter, key, digest, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let StoredEntry { sequence, device_id, counter, key, digest, body } = entry;
    statement.execute(params![session, sequence, device_id, counter, key, digest, body.bytes()])?;
    Ok(())
}

/// Writes all of a device but its `last_counter` and whether it is retired, which only [`append`] may change: they say
/// what the log says, or the device could not go on after a crash.
fn write_device(connection: &Connection, session: i64, device: &DeviceRow) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO devices (session, device, wallet, platform, last_counter, last_seen_ms, sync_state)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)
         ON CONFLICT (session, device) DO UPDATE SET wallet = excluded.wallet, platform = excluded.platform,
            last_seen_ms = excluded.last_seen_ms, sync_state = excluded.sync_state",
    )?;
    let sync_state = serde_json::to_string(&device.sync_state).unwrap_or_default();
    statement.execute(params![session, device.device_id, device.wallet, device.platform, device.last_seen_ms, sync_state])?;
    Ok(())
}

/// Writes devices as last seen and receipts.
pub(crate) fn note<'a>(
    connection: &Connection,
    session_id: &str,
    devices: impl Iterator<Item = &'a DeviceRow>,
    watermarks: impl Iterator<Item = &'a WatermarkRow>,
) -> rusqlite::Result<()> {
    let (session, _) = find_or_make_session(connection, session_id)?;
    for device in devices {
        write_device(connection, session, device)?;
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO watermarks (session, wallet, delivered, read) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (session, wallet) DO UPDATE SET delivered = excluded.delivered, read = excluded.read",
    )?;
    for WatermarkRow { wallet, watermark } in watermarks {
        statement.execute(params![session, wallet, watermark.delivered, watermark.read])?;
    }
    Ok(())
}

/// Entries from `from` on: at most `count_max`, and at most `bytes_max` of bodies but at least one.
pub(crate) fn read(
    connection: &Connection,
    session_id: &str,
    from: u64,
    count_max: usize,
    bytes_max: usize,
) -> Result<Vec<StoredEntry>, Reason> {
    let Some((session, _)) = find_session(connection, session_id).map_err(reason)? else {
        return Ok(Vec::new());
    };
    let limit = i64::try_from(count_max).unwrap_or(i64::MAX);
    let select = || -> rusqlite::Result<Vec<StoredEntry>> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {ENTRY_COLUMNS} FROM entries WHERE session = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT ?3"
        ))?;
        let mut rows = statement.query(params![session, from, limit])?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let entry = entry_of(row)?;
            bytes += entry.body.bytes().len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    };
    select().map_err(reason)
}

/// The entries of these (device, counter) pairs and keys that exist, each once.
pub(crate) fn find(
    connection: &Connection,
    session_id: &str,
    counters: &[(DeviceId, u64)],
    keys: &[String],
) -> Result<Vec<StoredEntry>, Reason> {
    let Some((session, _)) = find_session(connection, session_id).map_err(reason)? else {
        return Ok(Vec::new());
    };
    let select = || -> rusqlite::Result<Vec<StoredEntry>> {
        let mut found = BTreeMap::new();
        let mut by_counter = connection
            .prepare_cached(&format!("SELECT {ENTRY_COLUMNS} FROM entries WHERE session = ?1 AND device = ?2 AND counter = ?3"))?;
        for (device, counter) in counters {
            if let Some(entry) = by_counter.query_row(params![session, device, counter], entry_of).optional()? {
                found.insert(entry.sequence, entry);
            }
        }
        let mut by_key = connection.prepare_cached(&format!("SELECT {ENTRY_COLUMNS} FROM entries WHERE session = ?1 AND key = ?2"))?;
        for key in keys {
            if let Some(entry) = by_key.query_row(params![session, key], entry_of).optional()? {
                found.insert(entry.sequence, entry);
            }
        }
        Ok(found.into_values().collect())
    };
    select().map_err(reason)
}

fn entry_of(row: &Row<'_>) -> rusqlite::Result<StoredEntry> {
    Ok(StoredEntry {
        sequence: row.get(0)?,
        device_id: row.get(1)?,
        counter: row.get(2)?,
        key: row.get(3)?,
        digest: row.get(4)?,
        body: Batch::from_bytes(row.get_ref(5)?.as_blob()?),
    })
}

fn find_session(connection: &Connection, session_id: &str) -> rusqlite::Result<Option<(i64, u64)>> {
    let mut statement = connection.prepare_cached("SELECT id, head FROM sessions WHERE session_id = ?1")?;
    statement.query_row([session_id], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

fn find_or_make_session(connection: &Connection, session_id: &str) -> rusqlite::Result<(i64, u64)> {
    if let Some(found) = find_session(connection, session_id)? {
        return Ok(found);
    }
    connection.prepare_cached("INSERT INTO sessions (session_id, head) VALUES (?1, 0)")?.execute([session_id])?;
    Ok((connection.last_insert_rowid(), 0))
}

pub(crate) fn reason(error: rusqlite::Error) -> Reason {
    error.to_string()
}
