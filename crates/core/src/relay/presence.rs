//! Who is there: announcements, and the lists of devices that members are sent.

use std::collections::{BTreeMap, BTreeSet};

use super::api::{ConnectionId, DeviceRow};
use super::context::Context;
use super::session::Attachment;
use crate::frame::{Body, DeviceList, DeviceState, SyncHeartbeat, SyncState};
use crate::ids::{DeviceId, WalletAddress};
use crate::limits::{FRAME_BYTES_MAX, KEPT_CLOCK_DEVICES_MAX, VISITORS_MAX};
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// What a device says of itself.
pub(super) struct Announcement {
    pub wallet: Option<WalletAddress>,
    /// The other wallet of the session, where it said so.
    pub peer_wallet: Option<WalletAddress>,
    pub platform: String,
    pub sync_state: SyncState,
    /// It takes compressed batches.
    pub deflate: bool,
    /// It keeps our rules.
    pub v1: bool,
    /// It is sent what happens from now on without asking.
    pub listens: bool,
}

/// How long the relay waits with telling the others who came and left, so that many joins share one list: a relay that starts
/// again hears of all at once.
const LISTS_LINGER_MS: u64 = 50;

/// And how much longer for each member: a list to everybody costs so much more, and a thousand of them may wait for a second.
const LISTS_LINGER_MS_PER_MEMBER: u64 = 1;

type Attachments = BTreeMap<ConnectionId, Attachment>;

/// The devices of a session: those that wrote, which the journal has too, and visitors, which memory alone has.
pub(super) struct Devices {
    rows: BTreeMap<DeviceId, DeviceRow>,
    /// Devices that came or left, of which the others are not told yet.
    untold: BTreeSet<DeviceId>,
    /// One of them came.
    arrived: bool,
    /// When the others are told.
    due_ms: Option<u64>,
}

impl Devices {
    pub fn new(rows: Vec<DeviceRow>) -> Self {
        let rows = rows.into_iter().filter(has_written).map(|row| (row.device_id.clone(), row)).collect();
        Devices { rows, untold: BTreeSet::new(), arrived: false, due_ms: None }
    }

    pub fn get(&self, device_id: &str) -> Option<&DeviceRow> {
        self.rows.get(device_id)
    }

    /// Whether the device that wrote under this id keeps our rules: only such devices say whose they are, and all do.
    pub fn wrote_as_v1(&self, device_id: &str) -> Option<bool> {
        self.rows.get(device_id).filter(|row| has_written(row)).map(|row| row.wallet.is_some())
    }

    /// Whether devices of our rules have announced this wallet as theirs.
    pub fn is_wallet_of_v1(&self, wallet: &str) -> bool {
        self.rows.values().any(|row| row.wallet.as_deref() == Some(wallet))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// What the log says of a device now.
    pub fn insert(&mut self, row: DeviceRow) {
        self.rows.insert(row.device_id.clone(), row);
    }

    /// A device has said who it is; says its row now. A visitor beyond the limit takes the place of the one unseen for
    /// the longest time, so that nobody can keep others from reading by inventing devices.
    pub fn announced(&mut self, now: Now, device_id: &str, said: Announcement) -> DeviceRow {
        if !self.rows.contains_key(device_id) {
            let visitors: Vec<&DeviceRow> = self.rows.values().filter(|row| !has_written(row)).collect();
            if visitors.len() >= VISITORS_MAX
                && let Some(oldest) = visitors.into_iter().min_by_key(|row| row.last_seen_ms).map(|row| row.device_id.clone())
            {
                self.forget_visitor(&oldest);
            }
        }
        let row = self.rows.entry(device_id.to_owned()).or_default();
        *row = DeviceRow {
            device_id: device_id.to_owned(),
            wallet: said.wallet.or_else(|| row.wallet.take()),
            platform: said.platform,
            last_counter: row.last_counter,
            last_sequence: row.last_sequence,
            last_digest: row.last_digest,
            last_seen_ms: now.wall_ms,
            sync_state: kept(said.sync_state),
        };
        row.clone()
    }

    /// Forgets a device that wrote nothing.
    pub fn forget_visitor(&mut self, device_id: &str) {
        if self.rows.get(device_id).is_some_and(|row| !has_written(row)) {
            self.rows.remove(device_id);
        }
    }

    /// A device has a row where it announced itself or wrote.
    pub fn heard_of(&mut self, now: Now, device_id: &str, heartbeat: SyncHeartbeat) {
        if let Some(row) = self.rows.get_mut(device_id) {
            row.last_seen_ms = now.wall_ms;
            row.sync_state = kept(SyncState { last_synced_sequence: heartbeat.sequence_number, vector_clock: heartbeat.vector_clock });
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

    /// A device came. It is told of all devices at once, and the others of it a little later.
    pub fn tell_arrival(
        &mut self,
        ctx: &mut Context,
        session_id: &str,
        attachments: &Attachments,
        connection: ConnectionId,
        device_id: &str,
    ) {
        let with_clocks = attachments.get(&connection).is_some_and(|attachment| attachment.dialect.has_whole_lists());
        ctx.inform(connection, session_id, list_of(self.list(&online(attachments), with_clocks)));
        if attachments.len() > 1 {
            self.arrived = true;
            self.linger(ctx.now, attachments, device_id);
        }
    }

    /// A device left: those who are there are told a little later. Who has whole lists hears of it with the next one that comes.
    pub fn tell_departure(&mut self, now: Now, attachments: &Attachments, device_id: &str) {
        if attachments.values().any(|other| !other.dialect.has_whole_lists()) {
            self.linger(now, attachments, device_id);
        }
    }

    fn linger(&mut self, now: Now, attachments: &Attachments, device_id: &str) {
        self.untold.insert(device_id.to_owned());
        let linger_ms = LISTS_LINGER_MS + LISTS_LINGER_MS_PER_MEMBER * attachments.len() as u64;
        self.due_ms.get_or_insert(now.monotonic_ms + linger_ms);
    }

    /// When members are to be told who came and left.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Tells everybody who came and left, where the time for it has come: all devices to those whose dialect has whole lists.
    pub fn tell_changes(&mut self, ctx: &mut Context, session_id: &str, attachments: &mut Attachments) {
        if self.due_ms.is_none_or(|due_ms| due_ms > ctx.now.monotonic_ms) {
            return;
        }
        self.due_ms = None;
        let untold = std::mem::take(&mut self.untold);
        let arrived = std::mem::take(&mut self.arrived);
        let online = online(attachments);
        let is_news = |(_, other): &(&ConnectionId, &Attachment)| untold.iter().any(|device_id| *device_id != other.device_id);
        let told = |whole: bool| -> Vec<ConnectionId> {
            let others = attachments.iter().filter(is_news).filter(|(_, other)| other.dialect.has_whole_lists() == whole);
            others.map(|(connection, _)| *connection).collect()
        };
        let (of_all, of_changes) = (told(true), told(false));
        let mut missed = Vec::new();
        if arrived && !of_all.is_empty() {
            missed = ctx.inform_all(&of_all, session_id, list_of(self.list(&online, true)));
        }
        if !of_changes.is_empty() {
            for part in parts(untold.iter().filter_map(|device_id| self.state_of(&online, device_id))) {
                missed.extend(ctx.inform_all(&of_changes, session_id, list_of(part)));
            }
        }
        for (_, other) in attachments.iter_mut().filter(|(connection, _)| missed.contains(connection)) {
            other.missed.devices = true;
        }
    }

    /// All devices, for one that could not take what it was to hear of them.
    pub fn tell_all(
        &self,
        ctx: &mut Context,
        session_id: &str,
        attachments: &Attachments,
        connection: ConnectionId,
        with_clocks: bool,
    ) -> bool {
        ctx.inform(connection, session_id, list_of(self.list(&online(attachments), with_clocks)))
    }

    /// All devices, those that are connected first, as many as fit a frame.
    fn list(&self, online: &BTreeSet<DeviceId>, with_clocks: bool) -> Vec<DeviceState> {
        let mut rows: Vec<&DeviceRow> = self.rows.values().collect();
        rows.sort_by_key(|row| !online.contains(&row.device_id));
        let states = rows.into_iter().map(|row| state(online, row, with_clocks));
        parts(states).next().unwrap_or_default()
    }

    /// One device, where it has a row.
    fn state_of(&self, online: &BTreeSet<DeviceId>, device_id: &str) -> Option<DeviceState> {
        self.rows.get(device_id).map(|row| state(online, row, false))
    }
}

/// Whether the log knows of it.
pub(super) fn has_written(row: &DeviceRow) -> bool {
    row.last_counter > 0
}

impl DeviceRow {
    /// As the journal has it.
    pub(super) fn without_clock(mut self) -> DeviceRow {
        self.sync_state.vector_clock = VectorClock::new();
        self
    }
}

/// What is kept of what a device says that it has: a clock of many names would be kept for each of them.
fn kept(mut state: SyncState) -> SyncState {
    if state.vector_clock.len() > KEPT_CLOCK_DEVICES_MAX {
        state.vector_clock = VectorClock::new();
    }
    state
}

fn online(attachments: &Attachments) -> BTreeSet<DeviceId> {
    attachments.values().map(|attachment| attachment.device_id.clone()).collect()
}

/// A device as `device_list` has it. Clocks only where asked: copies of all would be devices times devices.
fn state(online: &BTreeSet<DeviceId>, row: &DeviceRow, with_clocks: bool) -> DeviceState {
    let vector_clock = if with_clocks { row.sync_state.vector_clock.clone() } else { VectorClock::new() };
    DeviceState {
        device_id: row.device_id.clone(),
        platform: row.platform.clone(),
        last_seen_at: row.last_seen_ms,
        is_online: online.contains(&row.device_id),
        sync_state: SyncState { last_synced_sequence: row.sync_state.last_synced_sequence, vector_clock },
        wallet: row.wallet.clone(),
    }
}

/// The devices in parts that fit a frame.
fn parts(states: impl Iterator<Item = DeviceState>) -> impl Iterator<Item = Vec<DeviceState>> {
    let mut states = states.peekable();
    std::iter::from_fn(move || {
        let mut bytes = 1_024;
        let fits = |device: &DeviceState| {
            bytes += serde_json::to_string(device).map_or(0, |json| json.len() + 1);
            bytes <= FRAME_BYTES_MAX
        };
        let part: Vec<DeviceState> = std::iter::from_fn({
            let mut fits = fits;
            let states = &mut states;
            move || states.next_if(|device| fits(device))
        })
        .collect();
        Some(part).filter(|part| !part.is_empty())
    })
}

fn list_of(devices: Vec<DeviceState>) -> Body {
    Body::DeviceList(DeviceList { devices })
}
