//! The checker's own book of what devices and relay have shown, kept apart from the machines: the log of every session, and
//! every message that an application has sent.

use std::collections::{BTreeMap, BTreeSet};

use solconnect_sync_core::ids::{DeviceId, MessageId, SessionId, parse_message_id};
use solconnect_sync_core::message::Entry;

use crate::world::{ProfileId, TabId};

/// The number that a message of an application carries in its text; `None` for others'.
pub fn number_of(text: &str) -> Option<u64> {
    text.strip_prefix('s')?.split(' ').next()?.parse().ok()
}

/// The text of the message with this number. `filling` makes it longer.
pub fn text_of(number: u64, filling: &str) -> String {
    format!("s{number} {filling}")
}

/// A session's log, as the relay's journal has shown it.
#[derive(Default)]
pub struct Log {
    entries: Vec<Entry>,
    /// Counters and their places, both ascending.
    by_device: BTreeMap<DeviceId, Vec<(u64, u64)>>,
    /// The place of each message id; 0 for one that several messages have, which only a hostile member brings about.
    by_id: BTreeMap<MessageId, u64>,
    /// Devices whose messages stand under other names.
    moved: BTreeSet<DeviceId>,
}

impl Log {
    /// The last sequence number.
    pub fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Every entry.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at a place.
    pub fn entry(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(sequence.checked_sub(1)?).ok()?)
    }

    /// The highest counter of a device among the first `through` entries.
    pub fn head_of(&self, device: &str, through: u64) -> u64 {
        let Some(places) = self.by_device.get(device) else { return 0 };
        let count = places.partition_point(|(_, sequence)| *sequence <= through);
        if count == 0 { 0 } else { places[count - 1].0 }
    }

    /// Every device that wrote something.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.by_device.keys()
    }

    /// The place of a device's message.
    pub fn place_of(&self, device: &str, counter: u64) -> Option<u64> {
        let places = self.by_device.get(device)?;
        let index = places.binary_search_by_key(&counter, |(counter, _)| *counter).ok()?;
        Some(places[index].1)
    }

    /// The place of the message of that id; `Some(0)` where several have it.
    pub fn place_of_id(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    /// Whether a message of this device stands under another name.
    pub fn is_moved(&self, device: &str) -> bool {
        self.moved.contains(device)
    }

    /// What the writer of an entry did not know of, computed from the definition alone and not as the core does it: device,
    /// first and last counter.
    pub fn unknown_to(&self, entry: &Entry) -> Vec<(DeviceId, u64, u64)> {
        let before = entry.sequence_number - 1;
        let others = self.by_device.keys().filter(|device| **device != entry.original_device_id);
        let unknown = others.filter_map(|device| {
            let (known, head) = (entry.vector_clock.get(device), self.head_of(device, before));
            (known < head).then(|| (device.clone(), known + 1, head))
        });
        unknown.collect()
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: Entry) {
        self.by_device.entry(entry.original_device_id.clone()).or_default().push((entry.counter(), entry.sequence_number));
        let first = entry.message.first_id.as_ref().and_then(|id| parse_message_id(id));
        self.moved.extend(first.map(|(_, device, _)| device.to_owned()));
        let place = entry.sequence_number;
        self.by_id.entry(entry.message.id.clone()).and_modify(|other| *other = 0).or_insert(place);
        self.entries.push(entry);
    }

    /// The relay was set back: only the first so many entries are left.
    pub fn truncate(&mut self, head: u64) {
        self.entries.truncate(usize::try_from(head).unwrap_or(usize::MAX));
        self.by_id.retain(|_, sequence| *sequence <= head);
        for places in self.by_device.values_mut() {
            places.retain(|(_, sequence)| *sequence <= head);
        }
    }
}

/// What has become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its call is not answered.
    Pending,
    /// The application was told that it is stored.
    Accepted,
    /// The application was told that it is not, or that it was refused later.
    Refused,
    /// The storage that it was in was set back or evicted, or the tab was killed before it answered.
    Excused,
}

/// A message that an application sent.
pub struct Sent {
    /// The profile that sent it.
    pub profile: ProfileId,
    /// The tab that sent it.
    pub tab: TabId,
    /// The session that it was sent to.
    pub session_id: SessionId,
    /// What has become of it.
    pub fate: Fate,
    /// Its places in the log and the device that it stands under: one, where nothing is wrong.
    pub places: Vec<(u64, DeviceId)>,
}

/// See the module's description: the logs of all sessions and all messages that were sent.
#[derive(Default)]
pub struct Ledger {
    logs: BTreeMap<SessionId, Log>,
    /// Every message, by its number.
    pub sent: Vec<Sent>,
}

static EMPTY: Log = Log { entries: Vec::new(), by_device: BTreeMap::new(), by_id: BTreeMap::new(), moved: BTreeSet::new() };

impl Ledger {
    /// The log of a session.
    pub fn log(&self, session_id: &str) -> &Log {
        self.logs.get(session_id).unwrap_or(&EMPTY)
    }

    /// The same, to change it.
    pub fn log_mut(&mut self, session_id: &str) -> &mut Log {
        self.logs.entry(session_id.to_owned()).or_default()
    }

    /// Every session.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Log)> {
        self.logs.iter()
    }

    /// A message that carries a number.
    pub fn sent(&self, text: &str) -> Option<(u64, &Sent)> {
        let number = number_of(text)?;
        Some((number, self.sent.get(usize::try_from(number).ok()?)?))
    }
}
