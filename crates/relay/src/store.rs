//! The journal's tables in SQLite, and the statements on them. Blocking; see [`crate::journal`] for the thread.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Digest;
use solconnect_sync_core::error::SyncError;
use solconnect_sync_core::frame::{ListedSession, SyncState};
use solconnect_sync_core::identity::UpdateSignature;
use solconnect_sync_core::ids::DeviceId;
use solconnect_sync_core::limits::INTEGER_MAX;
use solconnect_sync_core::relay::{DeviceRow, GroupRow, Key, MemberRow, StoredEntry, StoredSession, WatermarkRow};
use solconnect_sync_core::vector_clock::VectorClock;
use solconnect_sync_core::watermark::Watermark;

use crate::place::{self, Place};

/// The newest form of the tables that this version knows (`user_version` of the file).
const SCHEMA_VERSION: i64 = 10;

/// Marks a SQLite file as a journal of ours ("SolC"), so that no other database is written to by mistake.
const APPLICATION_ID: i64 = 0x536f_6c43;

const SCHEMA: &str = "
CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY,
    session_id TEXT    NOT NULL UNIQUE,
    head       INTEGER NOT NULL,
    group_name TEXT,
    group_state BLOB,
    epochs     BLOB
) STRICT;
CREATE TABLE entries (
    session  INTEGER NOT NULL REFERENCES sessions (id),
    sequence INTEGER NOT NULL,
    device   TEXT    NOT NULL,
    counter  INTEGER NOT NULL,
    key      BLOB,
    log_hash BLOB    NOT NULL,
    signature BLOB,
    body     BLOB    NOT NULL,
    PRIMARY KEY (session, sequence)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entries_by_counter ON entries (session, device, counter);
CREATE UNIQUE INDEX entries_by_key ON entries (session, key) WHERE key IS NOT NULL;
CREATE TABLE devices (
    session              INTEGER NOT NULL REFERENCES sessions (id),
    device               TEXT    NOT NULL,
    wallet               TEXT,
    platform             TEXT    NOT NULL,
    last_counter         INTEGER NOT NULL DEFAULT 0,
    last_sequence        INTEGER NOT NULL DEFAULT 0,
    last_digest          BLOB    NOT NULL DEFAULT (zeroblob(32)),
    last_seen_ms         INTEGER NOT NULL,
    last_synced_sequence INTEGER NOT NULL,
    PRIMARY KEY (session, device)
) STRICT, WITHOUT ROWID;
CREATE TABLE watermarks (
    session   INTEGER NOT NULL REFERENCES sessions (id),
    wallet    TEXT    NOT NULL,
    delivered INTEGER NOT NULL,
    read      INTEGER NOT NULL,
    PRIMARY KEY (session, wallet)
) STRICT, WITHOUT ROWID;
CREATE TABLE members (
    session INTEGER NOT NULL REFERENCES sessions (id),
    wallet  TEXT    NOT NULL,
    peer    TEXT    NOT NULL,
    joined  INTEGER NOT NULL,
    account TEXT,
    since   INTEGER NOT NULL,
    gone    INTEGER NOT NULL,
    sealed  INTEGER NOT NULL,
    PRIMARY KEY (session, wallet)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX members_by_wallet ON members (wallet, account, sealed, gone, joined, session);
";

/// A list costs what it shows, however many sessions the wallet has of the other kind, in other applications or has left: the index
/// has them apart.
const LIST_SESSIONS: &str = "SELECT session_id, peer, since, joined, group_name, id, head
    FROM members JOIN sessions ON id = session
    WHERE wallet = ?1 AND account IS ?5 AND sealed = ?6 AND gone = 0 AND (joined, session) < (?2, ?3)
    ORDER BY joined DESC, session DESC LIMIT ?4";

/// How many entries behind the last one that a person wrote are looked at, for each session that is listed: a list has a hundred, and
/// whoever makes more of them is told of as if somebody had written.
const UNWRITTEN_MAX: usize = 64;

const ENTRY_COLUMNS: &str = "sequence, device, counter, key, log_hash, signature, body";

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
    // What is refused is left as it is, the log of a process that was killed too.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Exclusive: a second relay on the same file would give out the same sequence numbers.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let empty = tables == 0 && version == 0 && application == 0;
    if application != APPLICATION_ID && !empty {
        return Ok(Err(format!("{name} is a database of another program: choose another file with --journal")));
    }
    if !empty && version != SCHEMA_VERSION {
        let (written, help) = match version {
            ..=0 => ("by no version that is known", "move it away"),
            1..SCHEMA_VERSION => ("by a preview whose form is not read any more", "move it away"),
            _ => ("by a newer version", "use that version"),
        };
        return Ok(Err(format!(
            "the journal {name} was written {written} (tables {version}, this version knows {SCHEMA_VERSION}): {help}, or choose another file with --journal"
        )));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit returns only when the log is on the disk, and only then is anything acknowledged (I1).
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(32);
    // Immediate also where nothing is to be made: takes the file's lock now and not at the first message.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if empty {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(Ok(()))
}

/// Counts sessions and entries.
pub(crate) fn count(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    connection.query_row("SELECT count(*), coalesce(sum(head), 0) FROM sessions", [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Every session, by its number and its id.
pub(crate) fn sessions(connection: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut statement = connection.prepare_cached("SELECT id, session_id FROM sessions ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Everything of a session but its entries.
pub(crate) fn load(connection: &Connection, session_id: &str) -> Result<StoredSession, Reason> {
    let Some((id, head)) = find_session(connection, session_id).map_err(reason)? else {
        return Ok(StoredSession::default());
    };
    let log_hash = log_hash(connection, id, head).map_err(reason)?;
    let last_written = last_written(connection, id, head).map_err(reason)?;
    let has_keys = has_keys(connection, id).map_err(reason)?;
    let devices = devices(connection, id).map_err(reason)?;
    let watermarks = watermarks(connection, id).map_err(reason)?;
    let members = members(connection, id).map_err(reason)?;
    let group = group(connection, id).map_err(reason)?;
    let epochs = epochs(connection, id).map_err(reason)?;
    Ok(StoredSession { head, log_hash, last_written, has_keys, devices, watermarks, members, group, epochs })
}

/// The hash of the last entry; anything where there is none.
fn log_hash(connection: &Connection, session: i64, head: u64) -> rusqlite::Result<Digest> {
    let mut statement = connection.prepare_cached("SELECT log_hash FROM entries WHERE session = ?1 AND sequence = ?2")?;
    statement.query_row(params![session, head], |row| row.get(0)).optional().map(Option::unwrap_or_default)
}

/// The last entry that a person wrote, 0 for none. Behind too many others the last one that was looked at is taken for it.
fn last_written(connection: &Connection, session: i64, head: u64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {ENTRY_COLUMNS} FROM entries WHERE session = ?1 AND sequence <= ?2 ORDER BY sequence DESC LIMIT {UNWRITTEN_MAX}"
    ))?;
    let mut rows = statement.query(params![session, head])?;
    let mut last = 0;
    while let Some(row) = rows.next()? {
        let entry = entry_of(row)?;
        last = entry.sequence;
        if entry.is_written() {
            return Ok(last);
        }
    }
    // Only the log's first entry has none before it.
    Ok(if last == 1 { 0 } else { last })
}

fn has_keys(connection: &Connection, session: i64) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM entries WHERE session = ?1 AND key IS NOT NULL)")?;
    statement.query_row([session], |row| row.get(0))
}

fn devices(connection: &Connection, session: i64) -> rusqlite::Result<Vec<DeviceRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT device, wallet, platform, last_counter, last_sequence, last_digest, last_seen_ms, last_synced_sequence
         FROM devices WHERE session = ?1",
    )?;
    let rows = statement.query_map([session], |row| {
        Ok(DeviceRow {
            device_id: row.get(0)?,
            wallet: row.get(1)?,
            platform: row.get(2)?,
            last_counter: row.get(3)?,
            last_sequence: row.get(4)?,
            last_digest: row.get(5)?,
            last_seen_ms: row.get(6)?,
            sync_state: SyncState { last_synced_sequence: row.get(7)?, ..SyncState::default() },
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

fn members(connection: &Connection, session: i64) -> rusqlite::Result<Vec<MemberRow>> {
    let mut statement =
        connection.prepare_cached("SELECT wallet, peer, joined, account, since, gone FROM members WHERE session = ?1 AND gone = 0")?;
    let rows = statement.query_map([session], member_of)?;
    rows.collect()
}

fn member_of(row: &Row<'_>) -> rusqlite::Result<MemberRow> {
    Ok(MemberRow {
        wallet: row.get(0)?,
        peer_wallet: row.get(1)?,
        joined: row.get(2)?,
        account_id: row.get(3)?,
        since: row.get(4)?,
        left: row.get(5)?,
    })
}

fn group(connection: &Connection, session: i64) -> rusqlite::Result<Option<GroupRow>> {
    let mut statement = connection.prepare_cached("SELECT group_name, group_state FROM sessions WHERE id = ?1")?;
    statement.query_row([session], |row| {
        let (name, state): (Option<String>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
        Ok(name.zip(state).map(|(name, state)| GroupRow { name, state }))
    })
}

fn epochs(connection: &Connection, session: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.prepare_cached("SELECT epochs FROM sessions WHERE id = ?1")?.query_row([session], |row| row.get(0))
}

/// Sessions of a wallet: those in which it has taken part first, and of both kinds the newest first.
pub(crate) fn sessions_of(
    connection: &Connection,
    wallet: &str,
    after: Option<&str>,
    count_max: usize,
    account_id: Option<&str>,
    sealed: bool,
) -> Result<Vec<ListedSession>, Reason> {
    let limit = i64::try_from(count_max).unwrap_or(i64::MAX);
    let select = || -> rusqlite::Result<Vec<ListedSession>> {
        // All places are before this one.
        let mut begin = (2, 0);
        if let Some(after) = after {
            let Some((session, _)) = find_session(connection, after)? else { return Ok(Vec::new()) };
            let mut statement = connection.prepare_cached("SELECT joined FROM members WHERE session = ?1 AND wallet = ?2")?;
            let joined: Option<i64> = statement.query_row(params![session, wallet], |row| row.get(0)).optional()?;
            let Some(joined) = joined else { return Ok(Vec::new()) };
            begin = (joined, session);
        }
        let mut statement = connection.prepare_cached(LIST_SESSIONS)?;
        let rows = statement.query_map(params![wallet, begin.0, begin.1, limit, account_id, sealed], |row| {
            let latest_sequence = match row.get(2)? {
                0 => last_written(connection, row.get(5)?, row.get(6)?)?,
                since => since,
            };
            Ok(ListedSession { session_id: row.get(0)?, peer_wallet: row.get(1)?, latest_sequence, joined: row.get(3)?, name: row.get(4)? })
        })?;
        rows.collect()
    };
    select().map_err(reason)
}

fn write_members<'a>(connection: &Connection, session: i64, members: impl Iterator<Item = &'a MemberRow>) -> rusqlite::Result<()> {
    let mut read =
        connection.prepare_cached("SELECT wallet, peer, joined, account, since, gone FROM members WHERE session = ?1 AND wallet = ?2")?;
    let mut write = connection.prepare_cached(
        "INSERT OR REPLACE INTO members (session, wallet, peer, joined, account, since, gone, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT session_id GLOB 'sealed:*' FROM sessions WHERE id = ?1))",
    )?;
    for row in members {
        let known = read.query_row(params![session, row.wallet], member_of).optional()?;
        let row = known.map_or_else(|| row.clone(), |known| row.clone().behind(&known));
        let MemberRow { wallet, peer_wallet, joined, account_id, since, left } = row;
        write.execute(params![session, wallet, peer_wallet, joined, account_id, since, left])?;
    }
    Ok(())
}

/// Stores entries, the devices that wrote them, wallets of the session, and what it is as a group and of its epochs. Call it within a savepoint: on an error part of it may be written.
///
/// # Errors
/// Entries that do not follow the head without holes, a (device, counter) or key that is there already, a failing disk.
pub(crate) fn append(
    connection: &Connection,
    session_id: &str,
    entries: &[StoredEntry],
    devices: &[DeviceRow],
    members: &[MemberRow],
    group: Option<&GroupRow>,
    epochs: Option<&[u8]>,
) -> Result<(), Reason> {
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
    if let Some(GroupRow { name, state }) = group {
        connection
            .prepare_cached("UPDATE sessions SET group_name = ?2, group_state = ?3 WHERE id = ?1")
            .and_then(|mut statement| statement.execute(params![session, name, state]))
            .map_err(reason)?;
    }
    if let Some(epochs) = epochs {
        connection
            .prepare_cached("UPDATE sessions SET epochs = ?2 WHERE id = ?1")
            .and_then(|mut statement| statement.execute(params![session, epochs]))
            .map_err(reason)?;
    }
    for device in devices {
        write_device(connection, session, device).map_err(reason)?;
        connection
            .prepare_cached("UPDATE devices SET last_counter = ?3, last_sequence = ?4, last_digest = ?5 WHERE session = ?1 AND device = ?2")
            .and_then(|mut statement| {
                let DeviceRow { device_id, last_counter, last_sequence, last_digest, .. } = device;
                statement.execute(params![session, device_id, last_counter, last_sequence, last_digest])
            })
            .map_err(reason)?;
    }
    write_members(connection, session, members.iter()).map_err(reason)
}

fn insert_entry(connection: &Connection, session: i64, entry: &StoredEntry) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO entries (session, sequence, device, counter, key, log_hash, signature, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let StoredEntry { sequence, device_id, counter, key, log_hash, signature, body } = entry;
    let signature = signature.as_ref().map(UpdateSignature::to_bytes);
    statement.execute(params![session, sequence, device_id, counter, key, log_hash, signature, body.bytes()])?;
    Ok(())
}

/// Writes all of a device but its last entry, which only [`append`] may change: it is that of the log, or the device could
/// not go on after a crash. Of what it has only the place: its clock, which only informs, would be read with every start of
/// the session.
fn write_device(connection: &Connection, session: i64, device: &DeviceRow) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO devices (session, device, wallet, platform, last_seen_ms, last_synced_sequence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (session, device) DO UPDATE SET wallet = excluded.wallet, platform = excluded.platform,
            last_seen_ms = excluded.last_seen_ms, last_synced_sequence = excluded.last_synced_sequence",
    )?;
    let DeviceRow { device_id, wallet, platform, last_seen_ms, sync_state, .. } = device;
    statement.execute(params![session, device_id, wallet, platform, last_seen_ms, sync_state.last_synced_sequence])?;
    Ok(())
}

/// Writes devices as last seen, receipts, and wallets that have taken part.
pub(crate) fn note<'a>(
    connection: &Connection,
    session_id: &str,
    devices: impl Iterator<Item = &'a DeviceRow>,
    watermarks: impl Iterator<Item = &'a WatermarkRow>,
    members: impl Iterator<Item = &'a MemberRow>,
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
    write_members(connection, session, members)
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

/// The entries of these (device, counter) pairs, keys and places that exist, each once.
pub(crate) fn find(
    connection: &Connection,
    session_id: &str,
    counters: &[(DeviceId, u64)],
    keys: &[Key],
    places: &[u64],
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
        let mut by_place =
            connection.prepare_cached(&format!("SELECT {ENTRY_COLUMNS} FROM entries WHERE session = ?1 AND sequence = ?2"))?;
        for place in places {
            if let Some(entry) = by_place.query_row(params![session, place], entry_of).optional()? {
                found.insert(entry.sequence, entry);
            }
        }
        Ok(found.into_values().collect())
    };
    select().map_err(reason)
}

/// The highest counter of each device up to each of these sequence numbers. Of every device only the entries around these
/// places are looked at, in an index in which counters and places ascend together: never more than all of its entries.
pub(crate) fn clocks(connection: &Connection, session_id: &str, at: &[u64]) -> Result<Vec<VectorClock>, Reason> {
    let mut clocks = vec![VectorClock::new(); at.len()];
    let Some((session, _)) = find_session(connection, session_id).map_err(reason)? else {
        return Ok(clocks);
    };
    let mut ascending: Vec<(u64, &mut VectorClock)> = at.iter().copied().zip(&mut clocks).collect();
    ascending.sort_by_key(|(place, _)| *place);
    let mut device = String::new();
    while let Some(next) = device_after(connection, session, &device).map_err(reason)? {
        device = next;
        let mut walk = Walk::begin(connection, session, &device).map_err(reason)?;
        for (place, clock) in &mut ascending {
            let counter = walk.through(*place).map_err(reason)?;
            clock.raise(&device, counter).map_err(|error| error.into_message())?;
        }
    }
    Ok(clocks)
}

/// The next device that has entries, in the order of their names.
fn device_after(connection: &Connection, session: i64, device: &str) -> rusqlite::Result<Option<DeviceId>> {
    let mut statement = connection.prepare_cached("SELECT min(device) FROM entries WHERE session = ?1 AND device > ?2")?;
    statement.query_row(params![session, device], |row| row.get(0))
}

/// A device's entries, walked through from the first on.
struct Walk<'a> {
    connection: &'a Connection,
    session: i64,
    device: &'a str,
    /// The counter of the last entry that was passed.
    counter: u64,
    /// The counter and the place of the one behind it.
    next: Option<(u64, u64)>,
}

impl<'a> Walk<'a> {
    fn begin(connection: &'a Connection, session: i64, device: &'a str) -> rusqlite::Result<Walk<'a>> {
        let mut walk = Walk { connection, session, device, counter: 0, next: None };
        walk.next = walk.after(0)?;
        Ok(walk)
    }

    /// Passes the entries up to a place, which is not before the one asked for last; gives the counter of the last of them. In
    /// steps that double and then halve again, so that it takes no longer than to look at each.
    fn through(&mut self, place: u64) -> rusqlite::Result<u64> {
        let mut step = 1_u64;
        while let Some((counter, _)) = self.next.filter(|(_, sequence)| *sequence <= place) {
            self.counter = counter;
            // Far ahead: the last entry that is not behind the step.
            let ahead = self.up_to(counter.saturating_add(step).min(INTEGER_MAX))?;
            if ahead.1 <= place {
                self.counter = ahead.0;
                step = step.saturating_mul(2);
            } else {
                step = (step / 2).max(1);
            }
            self.next = self.after(self.counter)?;
        }
        Ok(self.counter)
    }

    fn after(&self, counter: u64) -> rusqlite::Result<Option<(u64, u64)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT counter, sequence FROM entries WHERE session = ?1 AND device = ?2 AND counter > ?3 ORDER BY counter LIMIT 1",
        )?;
        statement.query_row(params![self.session, self.device, counter], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    /// The last entry of the device up to a counter that is not below its first.
    fn up_to(&self, counter: u64) -> rusqlite::Result<(u64, u64)> {
        let mut statement = self.connection.prepare_cached(
            "SELECT counter, sequence FROM entries WHERE session = ?1 AND device = ?2 AND counter <= ?3 ORDER BY counter DESC LIMIT 1",
        )?;
        statement.query_row(params![self.session, self.device, counter], |row| Ok((row.get(0)?, row.get(1)?)))
    }
}

fn entry_of(row: &Row<'_>) -> rusqlite::Result<StoredEntry> {
    Ok(StoredEntry {
        sequence: row.get(0)?,
        device_id: row.get(1)?,
        counter: row.get(2)?,
        key: row.get(3)?,
        log_hash: row.get(4)?,
        signature: row.get_ref(5)?.as_blob_or_null()?.map(signature_of).transpose()?,
        body: Batch::from_bytes(row.get_ref(6)?.as_blob()?),
    })
}

fn signature_of(bytes: &[u8]) -> rusqlite::Result<UpdateSignature> {
    let unreadable = |error: SyncError| rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Blob, Box::new(error));
    UpdateSignature::from_bytes(bytes).map_err(unreadable)
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

#[cfg(test)]
mod tests {
    use super::{LIST_SESSIONS, SCHEMA};
    use rusqlite::Connection;

    #[test]
    fn a_list_reads_no_session_that_it_does_not_show() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {LIST_SESSIONS}")).unwrap();
        let plan = statement.query_map(rusqlite::params!["w", 2, 0, 100, "a", true], |row| row.get(3)).unwrap();
        let plan: Vec<String> = plan.map(Result::unwrap).collect();
        let index = "SEARCH members USING COVERING INDEX members_by_wallet (wallet=? AND account=? AND sealed=? AND gone=? AND (joined,session)<(?,?))";
        assert!(plan[0].starts_with(&index.replace("COVERING ", "")) || plan[0].starts_with(index), "{plan:?}");
        assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE") && !step.contains("SCAN")), "it is not sorted: {plan:?}");
    }
}
