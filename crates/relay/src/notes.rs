//! Devices as last seen, receipts, and who has taken part: state that may be lost in a crash, gathered to be written with other things.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use solconnect_sync_core::frame::ListedSession;
use solconnect_sync_core::ids::{DeviceId, SessionId, WalletAddress};
use solconnect_sync_core::relay::{DeviceRow, MemberRow, StoredSession, WatermarkRow};

use crate::store;

/// How long a note waits for an append to travel with.
const NOTE_DELAY_MS_MAX: u64 = 200;

/// What waits to be written: the last word on each device and wallet.
#[derive(Default)]
pub(crate) struct Notes {
    sessions: BTreeMap<SessionId, SessionNotes>,
    /// When it must be written; `None` while there is nothing.
    pub(crate) due: Option<Instant>,
}

#[derive(Default)]
struct SessionNotes {
    devices: BTreeMap<DeviceId, DeviceRow>,
    watermarks: BTreeMap<WalletAddress, WatermarkRow>,
    members: BTreeMap<WalletAddress, MemberRow>,
}

impl Notes {
    /// Takes in what is known of a session's devices and wallets now.
    pub(crate) fn add(&mut self, session_id: SessionId, devices: Vec<DeviceRow>, watermarks: Vec<WatermarkRow>, members: Vec<MemberRow>) {
        let notes = self.sessions.entry(session_id).or_default();
        notes.devices.extend(devices.into_iter().map(|row| (row.device_id.clone(), row)));
        notes.watermarks.extend(watermarks.into_iter().map(|row| (row.wallet.clone(), row)));
        notes.members.extend(members.into_iter().map(|row| (row.wallet.clone(), row)));
        self.due.get_or_insert_with(|| Instant::now() + Duration::from_millis(NOTE_DELAY_MS_MAX));
    }

    /// An append brought newer rows of these devices and wallets.
    pub(crate) fn supersede(&mut self, session_id: &str, devices: &[DeviceRow], members: &[MemberRow]) {
        if let Some(notes) = self.sessions.get_mut(session_id) {
            notes.devices.retain(|id, _| devices.iter().all(|device| device.device_id != *id));
            notes.members.retain(|wallet, noted| members.iter().all(|row| row.wallet != *wallet || row.since < noted.since));
        }
    }

    /// Adds what is not written yet to what was read.
    pub(crate) fn complete(&self, session_id: &str, stored: StoredSession) -> StoredSession {
        let Some(notes) = self.sessions.get(session_id) else {
            return stored;
        };
        let mut devices: BTreeMap<_, _> = stored.devices.into_iter().map(|row| (row.device_id.clone(), row)).collect();
        for (id, noted) in &notes.devices {
            let row = devices.entry(id.clone()).or_default();
            let (last_counter, last_sequence, last_digest) = (row.last_counter, row.last_sequence, row.last_digest);
            *row = DeviceRow { last_counter, last_sequence, last_digest, ..noted.clone() };
        }
        let mut watermarks: BTreeMap<_, _> = stored.watermarks.into_iter().map(|row| (row.wallet.clone(), row)).collect();
        watermarks.extend(notes.watermarks.clone());
        let mut members: BTreeMap<_, _> = stored.members.into_iter().map(|row| (row.wallet.clone(), row)).collect();
        for (wallet, noted) in &notes.members {
            let known = members.get(wallet).cloned().unwrap_or_default();
            members.insert(wallet.clone(), noted.clone().behind(&known));
        }
        StoredSession {
            devices: devices.into_values().collect(),
            watermarks: watermarks.into_values().collect(),
            members: members.into_values().collect(),
            ..stored
        }
    }

    /// The same for a list of a wallet's sessions.
    pub(crate) fn complete_list(&self, wallet: &str, mut sessions: Vec<ListedSession>) -> Vec<ListedSession> {
        for session in &mut sessions {
            let noted = self.sessions.get(&session.session_id).and_then(|notes| notes.members.get(wallet));
            // Of a group the place tells whether it is about the wallet's present membership.
            session.joined |= noted.is_some_and(|row| row.joined && [0, session.latest_sequence].contains(&row.since));
        }
        sessions
    }

    /// Writes all of it. Call it within a transaction or savepoint.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.sessions.iter().try_for_each(|(id, notes)| {
            let SessionNotes { devices, watermarks, members } = notes;
            store::note(connection, id, devices.values(), watermarks.values(), members.values())
        })
    }
}
