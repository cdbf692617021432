//! Who is there: announcements, and the lists of devices that members are sent.

use std::collections::{BTreeMap, BTreeSet};

use super::api::{ConnectionId, DeviceRow};
use super::context::Context;
use super::session::Attachment;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, DeviceList, DeviceState, SyncHeartbeat, SyncState};
use crate::ids::{DeviceId, WalletAddress};
use crate::limits::{CLOCK_DEVICES_MAX, FRAME_BYTES_MAX};
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// What a device says of itself.
pub(super) struct Announcement {
    pub wallet: Option<WalletAddress>,
    pub platform: String,
    pub sync_state: SyncState,
    /// It takes compressed batches.
    pub deflate: bool,
    /// It keeps our rules.
    pub v1: bool,
    /// It is sent what happens from now on without asking.
    pub listens: bool,
}

type Attachments = BTreeMap<ConnectionId, Attachment>;

/// The devices of a session.
pub(super) struct Devices {
    rows: BTreeMap<DeviceId, DeviceRow>,
}

impl Devices {
    pub fn new(rows: Vec<DeviceRow>) -> Self {
        Devices { rows: rows.into_iter().map(|row| (row.device_id.clone(), row)).collect() }
    }

    pub fn get(&self, device_id: &str) -> Option<&DeviceRow> {
        self.rows.get(device_id)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// What the log says of a device now.
    pub fn insert(&mut self, row: DeviceRow) {
        self.rows.insert(row.device_id.clone(), row);
    }

    pub fn check_room_for(&self, device_id: &str) -> Result<(), SyncError> {
        if self.rows.len() >= CLOCK_DEVICES_MAX && !self.rows.contains_key(device_id) {
            return Err(SyncError::new(ErrorCode::LimitReached, format!("a session has at most {CLOCK_DEVICES_MAX} devices")));
        }
        Ok(())
    }

    /// A device has said who it is: its row now.
    pub fn announced(&mut self, now: Now, device_id: &str, said: Announcement) -> DeviceRow {
        let row = self.rows.entry(device_id.to_owned()).or_default();
        *row = DeviceRow {
            device_id: device_id.to_owned(),
            wallet: said.wallet.or_else(|| row.wallet.take()),
            platform: said.platform,
            last_counter: row.last_counter,
            retired: row.retired,
            last_seen_ms: now.wall_ms,
            sync_state: said.sync_state,
        };
        row.clone()
    }

    /// A device has a row where it announced itself or wrote.
    pub fn heard_of(&mut self, now: Now, device_id: &str, heartbeat: SyncHeartbeat) {
        if let Some(row) = self.rows.get_mut(device_id) {
            row.last_seen_ms = now.wall_ms;
            row.sync_state = SyncState { last_synced_sequence: heartbeat.sequence_number, vector_clock: heartbeat.vector_clock };
        }
    }

    /// A device has everything up to here.
    pub fn has_stored(&mut self, now: Now, device_id: &str, through: u64) {
        if let Some(row) = self.rows.get_mut(device_id) {
            row.last_seen_ms = now.wall_ms;
            row.sync_state.last_synced_sequence = row.sync_state.last_synced_sequence.max(through);
        }
    }

    /// A device is gone: its row now, where it has one.
    pub fn left(&mut self, now: Now, device_id: &str) -> Option<DeviceRow> {
        let row = self.rows.get_mut(device_id)?;
        row.last_seen_ms = now.wall_ms;
        Some(row.clone())
    }

    /// A device came. It is told of all devices; the others of it, or of all where their dialect has whole lists.
    pub fn tell_arrival(&self, ctx: &mut Context, session_id: &str, attachments: &Attachments, connection: ConnectionId, device_id: &str) {
        let others = || attachments.iter().filter(|(to, _)| **to != connection);
        let changed = self.states(attachments, Some(device_id), false);
        let newcomer = attachments.get(&connection).map(|attachment| self.list(attachments, attachment.dialect.has_whole_lists()));
        let has_whole = others().any(|(_, other)| other.dialect.has_whole_lists());
        let whole = if has_whole { self.list(attachments, true) } else { Vec::new() };
        tell(ctx, session_id, connection, newcomer.unwrap_or_default());
        for (to, other) in others() {
            tell(ctx, session_id, *to, if other.dialect.has_whole_lists() { whole.clone() } else { changed.clone() });
        }
    }

    /// A device left. Who has whole lists hears of it with the next one that comes.
    pub fn tell_departure(&self, ctx: &mut Context, session_id: &str, attachments: &Attachments, device_id: &str) {
        let changed = self.states(attachments, Some(device_id), false);
        for (to, _) in attachments.iter().filter(|(_, other)| !other.dialect.has_whole_lists()) {
            tell(ctx, session_id, *to, changed.clone());
        }
    }

    /// All devices, as many as fit a frame.
    fn list(&self, attachments: &Attachments, with_clocks: bool) -> Vec<DeviceState> {
        let mut bytes = 1_024;
        let mut devices = self.states(attachments, None, with_clocks);
        let fits = devices.iter().take_while(|device| {
            bytes += serde_json::to_string(device).map_or(0, |json| json.len() + 1);
            bytes <= FRAME_BYTES_MAX
        });
        let count = fits.count();
        devices.truncate(count);
        devices
    }

    /// Devices as `device_list` has them, those that are connected first: one of them, or all. Clocks only where asked:
    /// copies of all would be devices times devices.
    fn states(&self, attachments: &Attachments, one: Option<&str>, with_clocks: bool) -> Vec<DeviceState> {
        let online: BTreeSet<&str> = attachments.values().map(|attachment| attachment.device_id.as_str()).collect();
        let present = |row: &&DeviceRow| !row.retired || online.contains(row.device_id.as_str());
        let wanted = self.rows.values().filter(present).filter(|row| one.is_none_or(|device| row.device_id == device));
        let mut states: Vec<DeviceState> = wanted
            .map(|row| DeviceState {
                device_id: row.device_id.clone(),
                platform: row.platform.clone(),
                last_seen_at: row.last_seen_ms,
                is_online: online.contains(row.device_id.as_str()),
                sync_state: SyncState {
                    last_synced_sequence: row.sync_state.last_synced_sequence,
                    vector_clock: if with_clocks { row.sync_state.vector_clock.clone() } else { VectorClock::new() },
                },
                wallet: row.wallet.clone(),
            })
            .collect();
        states.sort_by_key(|state| !state.is_online);
        states
    }
}

fn tell(ctx: &mut Context, session_id: &str, connection: ConnectionId, devices: Vec<DeviceState>) {
    if !devices.is_empty() {
        ctx.transmit(connection, session_id, Body::DeviceList(DeviceList { devices }));
    }
}
