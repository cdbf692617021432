//! Whether a journal is what a relay may have made, and what files show that devices have kept: read, and nothing changed.

use std::path::Path;

use rusqlite::Connection;
use solconnect_sync_core::entry::Digest;
use solconnect_sync_core::identity::{Evidence, Verdict, is_key_id, judge};
use solconnect_sync_core::ids::{DeviceId, is_account_id};
use solconnect_sync_core::log::{DeviceHead, Log};
use solconnect_sync_core::relay::{StoredEntry, StoredSession};

use crate::place::Place;
use crate::store::{self, Reason, reason};

/// Entries that are read at once, and bytes of them.
const READ_COUNT_MAX: usize = 1_000;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is right in a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Sessions, account logs included.
    pub sessions: u64,
    /// Their entries.
    pub entries: u64,
    /// Signatures of devices.
    pub signatures: u64,
}

/// Computes every digest, log hash and signature of a journal again.
///
/// # Errors
/// A sentence for the operator: there is no journal, a relay uses it, or the first fault of it.
pub fn verify(path: &Path) -> Result<Verified, Reason> {
    if !path.exists() {
        return Err(format!("there is no journal {}", path.display()));
    }
    let place = Place::take(path)?;
    let connection = store::open(&place, path)?;
    let mut verified = Verified::default();
    for (_, session_id) in store::sessions(&connection).map_err(reason)? {
        verify_session(&connection, &session_id, &mut verified)?;
        verified.sessions += 1;
    }
    store::close(connection, false).map_err(reason)?;
    Ok(verified)
}

fn verify_session(connection: &Connection, session_id: &str, verified: &mut Verified) -> Result<(), Reason> {
    let mut log = Log::new(session_id);
    // The device whose last entries no signature covers yet.
    let mut bare: Option<DeviceId> = None;
    loop {
        let stored = store::read(connection, session_id, log.end() + 1, READ_COUNT_MAX, READ_BYTES_MAX)?;
        if stored.is_empty() {
            break;
        }
        for stored in stored {
            let fault = |what: &str| format!("entry {} of session {session_id}: {what}", stored.sequence);
            let entry = stored.body.entries().ok().and_then(|mut entries| entries.pop()).ok_or_else(|| fault("it cannot be read"))?;
            if (entry.sequence_number, &entry.device_id, entry.counter) != (stored.sequence, &stored.device_id, stored.counter) {
                return Err(fault("it is another one than its row says"));
            }
            if entry.message.session_id != session_id {
                return Err(fault("it belongs to another session"));
            }
            log.take(&entry).map_err(|refusal| fault(&refusal.to_string()))?;
            if log.hash() != stored.log_hash {
                return Err(fault("the hash of the log up to it is another"));
            }
            if !is_account_id(session_id) {
                bare =
                    verify_signature(&stored, &log.digest(session_id, &entry.device_id), session_id, bare).map_err(|what| fault(&what))?;
            }
            verified.entries += 1;
            verified.signatures += u64::from(stored.signature.is_some());
        }
    }
    if let Some(device) = bare {
        return Err(format!("session {session_id}: no signature covers the last entries of device {device}"));
    }
    let stored = store::load(connection, session_id)?;
    verify_rows(&log, session_id, &stored)
}

/// What was signed at once stands together, and ends with its signature; gives the device that a signature is awaited of.
fn verify_signature(stored: &StoredEntry, digest: &Digest, session_id: &str, bare: Option<DeviceId>) -> Result<Option<DeviceId>, Reason> {
    let StoredEntry { device_id, counter, signature, .. } = stored;
    if let Some(other) = bare.filter(|other| other != device_id) {
        return Err(format!("no signature covers the entries of device {other} before it"));
    }
    let Some(signature) = signature else { return Ok(is_key_id(device_id).then(|| device_id.clone())) };
    if signature.device_id() != *device_id || signature.counter != *counter || signature.check(session_id, digest).is_err() {
        return Err("its signature is not that of its device".into());
    }
    Ok(None)
}

/// What the journal says of the end of the log is its end.
fn verify_rows(log: &Log, session_id: &str, stored: &StoredSession) -> Result<(), Reason> {
    if stored.head != log.end() {
        return Err(format!("session {session_id}: it should end at {}, and its entries end at {}", stored.head, log.end()));
    }
    for row in stored.devices.iter().filter(|row| row.last_counter > 0) {
        let is_its =
            |head: &DeviceHead| (head.counter, head.sequence, head.digest) == (row.last_counter, row.last_sequence, row.last_digest);
        if !log.head(&row.device_id).is_some_and(is_its) {
            return Err(format!("session {session_id}: the last entry of device {} is another", row.device_id));
        }
    }
    Ok(())
}

/// What files of devices show of a relay, together.
///
/// # Errors
/// A sentence: a file cannot be read, or is no evidence.
pub fn verify_evidence(files: &[impl AsRef<Path>]) -> Result<Verdict, Reason> {
    let mut read = Vec::new();
    for file in files {
        let name = file.as_ref().display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name} cannot be read: {error}"))?;
        read.push(Evidence::from_text(&text).map_err(|error| format!("{name} is no evidence: {}", error.message))?);
    }
    judge(&read).map_err(|error| error.into_message())
}
