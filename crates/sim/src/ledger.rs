//! The checker's own book of what devices and relay have shown, kept apart from the machines: the log of every session, and
//! every message that an application has sent.

use std::collections::{BTreeMap, BTreeSet};

use solconnect_sync_core::entry::{Digest, Entry, first_digest, first_log_hash, next_log_hash};
use solconnect_sync_core::ids::{DeviceId, MessageId, SessionId, WalletAddress};
use solconnect_sync_core::message::{Kind, Message};

use crate::book::SharedBook;
use crate::world::{PageId, ProfileId, TabId};

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
    /// Those that are encrypted, as they stand there; `entries` has what they say.
    encrypted: BTreeMap<u64, Entry>,
    /// Of each entry: the digest of all that its device wrote up to it, and the hash of the log up to it.
    hashes: Vec<(Digest, Digest)>,
    /// Counters and their places, both ascending.
    by_device: BTreeMap<DeviceId, Vec<(u64, u64)>>,
    /// The place of each message id; 0 for one that several wallets have given.
    by_id: BTreeMap<MessageId, u64>,
    /// The place of each name: a wallet has one message of it.
    by_name: BTreeMap<(WalletAddress, MessageId), u64>,
    /// Places of entries that an edit or a deletion may have, by what they replace.
    versions: BTreeMap<MessageId, Vec<u64>>,
}

impl Log {
    /// The last sequence number.
    pub fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The last entry that a person wrote, 0 for none.
    pub fn last_written(&self) -> u64 {
        self.entries.iter().rfind(|entry| entry.message.kind.has_status()).map_or(0, |entry| entry.sequence_number)
    }

    /// Every entry.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at a place, as it stands there.
    pub fn as_stored(&self, sequence: u64) -> Option<&Entry> {
        self.encrypted.get(&sequence).or_else(|| self.entry(sequence))
    }

    /// The entry at a place; of one that is encrypted, what its author wrote.
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

    /// The place of the message of that id; `Some(0)` where several wallets have given it.
    pub fn place_of_id(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    /// The place of the message that a wallet has given this id.
    pub fn place_of_name(&self, wallet: &str, id: &str) -> Option<u64> {
        self.by_name.get(&(wallet.to_owned(), id.to_owned())).copied()
    }

    /// The hash of the log up to an entry.
    pub fn hash_at(&self, session_id: &str, sequence: u64) -> Option<Digest> {
        match usize::try_from(sequence).ok()?.checked_sub(1) {
            None => Some(first_log_hash(session_id)),
            Some(index) => self.hashes.get(index).map(|(_, hash)| *hash),
        }
    }

    /// The digest of all that a device wrote up to a counter that it has in the log; 0 for none yet.
    pub fn chain_at(&self, session_id: &str, device: &str, counter: u64) -> Option<Digest> {
        if counter == 0 {
            return Some(first_digest(session_id, device));
        }
        let place = self.place_of(device, counter)?;
        self.hashes.get(usize::try_from(place).ok()? - 1).map(|(digest, _)| *digest)
    }

    /// What the writer of an entry did not know of, computed from the definition alone and not as the core does it: the
    /// places of the entries of other devices before it.
    pub fn unknown_to(&self, entry: &Entry) -> Vec<u64> {
        let behind = entry.knows + 1..entry.sequence_number;
        let unknown = |other: &&Entry| other.device_id != entry.device_id && other.counter > entry.also.get(&other.device_id);
        behind.filter_map(|sequence| self.entry(sequence)).filter(unknown).map(|other| other.sequence_number).collect()
    }

    /// Whether there is any such entry.
    pub fn is_concurrent(&self, entry: &Entry) -> bool {
        !self.unknown_to(entry).is_empty()
    }

    /// The vector clock of an entry, computed from the definition alone: of each device the highest counter up to what the
    /// writer knew, what it knew beside that, and itself.
    pub fn clock_of(&self, entry: &Entry) -> BTreeMap<DeviceId, u64> {
        let mut clock: BTreeMap<DeviceId, u64> = BTreeMap::new();
        for device in self.by_device.keys() {
            clock.insert(device.clone(), self.head_of(device, entry.knows));
        }
        for (device, counter) in entry.also.iter().filter(|(device, _)| *device != entry.device_id) {
            let known = clock.entry(device.to_owned()).or_default();
            *known = counter.max(*known);
        }
        clock.insert(entry.device_id.clone(), entry.counter);
        clock.retain(|_, counter| *counter > 0);
        clock
    }

    /// The entries up to a place that are versions of a message.
    pub fn versions_of(&self, target: &str, through: u64) -> impl Iterator<Item = &Entry> {
        let places = self.versions.get(target).into_iter().flatten().filter(move |place| **place <= through);
        places.filter_map(|place| self.entry(*place))
    }

    /// Appends an entry that is not encrypted.
    pub fn push(&mut self, session_id: &str, entry: Entry) {
        self.push_opened(session_id, entry, None);
    }

    /// Appends an entry as it stands there, with what its author wrote where it is encrypted.
    fn push_opened(&mut self, session_id: &str, entry: Entry, opened: Option<Message>) {
        let place = entry.sequence_number;
        let before = self.by_device.get(&entry.device_id).and_then(|places| places.last()).map_or(0, |(counter, _)| *counter);
        let chain = self.chain_at(session_id, &entry.device_id, before).unwrap_or_default();
        let digest = entry.digest(&chain);
        let before = self.hash_at(session_id, place.saturating_sub(1)).unwrap_or_default();
        self.hashes.push((digest, next_log_hash(&before, &digest, entry.server_timestamp)));
        self.by_device.entry(entry.device_id.clone()).or_default().push((entry.counter, place));
        let entry = match opened {
            Some(message) => {
                let opened = Entry { message, ..entry.clone() };
                self.encrypted.insert(place, entry);
                opened
            }
            None => entry,
        };
        let (wallet, id) = (entry.message.sender_wallet.clone(), entry.message.id.clone());
        self.by_id.entry(id.clone()).and_modify(|other| *other = 0).or_insert(place);
        // A void has no name: it says nothing, and its message may have been refused because of its own.
        if entry.message.kind != Kind::VOID {
            self.by_name.entry((wallet, id)).or_insert(place);
        }
        if let Some(target) = entry.message.replaces.as_ref().filter(|_| entry.message.kind.is_version()) {
            self.versions.entry(target.clone()).or_default().push(place);
        }
        self.entries.push(entry);
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
    /// It was cancelled before it was sent.
    Cancelled,
    /// The storage that it was in was set back or evicted, or the tab was killed before it answered.
    Excused,
}

/// A message that an application sent.
pub struct Sent {
    /// The profile that sent it.
    pub profile: ProfileId,
    /// The page that sent it.
    pub page: PageId,
    /// The tab that was given it last; 0 while none was.
    pub tab: TabId,
    /// The session that it was sent to.
    pub session_id: SessionId,
    /// The id that the application was told, or gave itself: it is for ever.
    pub id: Option<MessageId>,
    /// The message that it is a version of.
    pub replaces: Option<MessageId>,
    /// It was sent more than once under its id, perhaps on several devices: it stands where the first of them came to.
    pub again: bool,
    /// Its database was deleted while its call was under way, and with it the memory of whether it was done: it may be done again.
    pub forgotten: bool,
    /// It waited in a profile that was copied or set back.
    pub copied: bool,
    /// The entries that its device had stored when it wrote it.
    pub seen: Option<u64>,
    /// What has become of it.
    pub fate: Fate,
    /// Its places in the log and the device that it stands under: one, where nothing is wrong.
    pub places: Vec<(u64, DeviceId)>,
}

/// See the module's description: the logs of all sessions and all messages that were sent.
#[derive(Default)]
pub struct Ledger {
    /// What was encrypted.
    pub book: SharedBook,
    logs: BTreeMap<SessionId, Log>,
    /// Every message, by its number.
    pub sent: Vec<Sent>,
    /// Ids under which an application has sent several messages, or one on several devices: which of them is meant, and
    /// how far it is, depends on who is asked.
    pub contested: BTreeSet<MessageId>,
    /// The messages that were sent under a name of the application's own.
    pub names: BTreeMap<(SessionId, MessageId), BTreeSet<u64>>,
}

static EMPTY: Log = Log {
    entries: Vec::new(),
    encrypted: BTreeMap::new(),
    hashes: Vec::new(),
    by_device: BTreeMap::new(),
    by_id: BTreeMap::new(),
    by_name: BTreeMap::new(),
    versions: BTreeMap::new(),
};

impl Ledger {
    /// The log of a session.
    pub fn log(&self, session_id: &str) -> &Log {
        self.logs.get(session_id).unwrap_or(&EMPTY)
    }

    /// The same, to change it.
    pub fn log_mut(&mut self, session_id: &str) -> &mut Log {
        self.logs.entry(session_id.to_owned()).or_default()
    }

    /// An entry is in the log of a session.
    pub fn push(&mut self, session_id: &str, entry: Entry) {
        let opened = self.book.borrow().opened(&entry.message);
        self.log_mut(session_id).push_opened(session_id, entry, opened);
    }

    /// What an entry says.
    pub fn opened(&self, entry: &Entry) -> Entry {
        match self.book.borrow().opened(&entry.message) {
            Some(message) => Entry { message, ..entry.clone() },
            None => entry.clone(),
        }
    }

    /// The relay's journal was replaced: its log is another one now.
    pub fn replace_logs(&mut self, logs: BTreeMap<SessionId, Vec<Entry>>) {
        self.logs.clear();
        for (session_id, entries) in logs {
            self.log_mut(&session_id);
            entries.into_iter().for_each(|entry| self.push(&session_id, entry));
        }
        let logs = &self.logs;
        for sent in &mut self.sent {
            let head = logs.get(&sent.session_id).map_or(0, Log::head);
            sent.places.retain(|(sequence, _)| *sequence <= head);
        }
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
