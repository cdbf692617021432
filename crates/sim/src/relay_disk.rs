//! The relay's journal, like SQLite's with a write-ahead log: transactions that are applied whole or not at all, visible at
//! once, and on the disk when they are synced. A crash leaves a prefix of what was not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Digest, Entry, first_digest, first_log_hash, next_log_hash};
use solconnect_sync_core::frame::ListedSession;
use solconnect_sync_core::ids::{DeviceId, SessionId, WalletAddress, is_sealed_id};
use solconnect_sync_core::relay::{
    DeviceRow, GroupRow, JournalAnswer, JournalQuestion, Key, MemberRow, StoredEntry, StoredSession, WatermarkRow,
};
use solconnect_sync_core::vector_clock::VectorClock;

/// What the journal has of one session.
#[derive(Clone, Default)]
pub struct Rows {
    /// By sequence number, from 1.
    pub entries: Vec<StoredEntry>,
    devices: BTreeMap<DeviceId, DeviceRow>,
    watermarks: BTreeMap<WalletAddress, WatermarkRow>,
    members: BTreeMap<WalletAddress, MemberRow>,
    group: Option<GroupRow>,
    epochs: Option<Vec<u8>>,
    /// The session's place in the order in which sessions were made.
    number: usize,
    counters: HashMap<(DeviceId, u64), usize>,
    keys: HashMap<Key, usize>,
}

/// What is needed to undo a transaction: the session, how many entries it had, and the rows that were changed.
struct Undo {
    session_id: SessionId,
    count: usize,
    devices: Vec<(DeviceId, Option<DeviceRow>)>,
    watermarks: Vec<(WalletAddress, Option<WatermarkRow>)>,
    members: Vec<(WalletAddress, Option<MemberRow>)>,
    /// What it was as a group before, where that was changed.
    group: Option<Option<GroupRow>>,
    /// Its epochs before, where they were changed.
    epochs: Option<Option<Vec<u8>>>,
}

/// The journal's file.
#[derive(Default)]
pub struct Journal {
    sessions: BTreeMap<SessionId, Rows>,
    /// How to undo the transactions that are not synced, oldest first.
    undo: Vec<Undo>,
    /// A group whose sync failed: taken back, but perhaps on the disk, until the next one is written over it.
    ghost: Vec<JournalQuestion>,
}

impl Rows {
    fn last_written(&self) -> u64 {
        self.entries.iter().rfind(|entry| entry.is_written()).map_or(0, |entry| entry.sequence)
    }

    /// What is stored of the session's devices.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceRow> {
        self.devices.values()
    }

    /// What is stored of the session's wallets.
    pub fn members(&self) -> impl Iterator<Item = &MemberRow> {
        self.members.values()
    }

    fn append(&mut self, entries: Vec<StoredEntry>) -> Result<(), &'static str> {
        let (count, came) = (self.entries.len(), entries.len());
        for entry in entries {
            let place = self.entries.len();
            let refusal = if entry.sequence != place as u64 + 1 {
                Some("the append does not follow the log")
            } else if self.counters.contains_key(&(entry.device_id.clone(), entry.counter)) {
                Some("the counter stands in the log already")
            } else if entry.key.as_ref().is_some_and(|key| self.keys.contains_key(key)) {
                Some("the key stands in the log already")
            } else {
                None
            };
            if let Some(refusal) = refusal {
                self.truncate(count);
                return Err(refusal);
            }
            self.counters.insert((entry.device_id.clone(), entry.counter), place);
            if let Some(key) = entry.key {
                self.keys.insert(key, place);
            }
            self.entries.push(entry);
        }
        if came == 0 { Err("there is nothing to append") } else { Ok(()) }
    }

    fn truncate(&mut self, count: usize) {
        for entry in self.entries.drain(count..) {
            self.counters.remove(&(entry.device_id, entry.counter));
            if let Some(key) = entry.key {
                self.keys.remove(&key);
            }
        }
    }

    /// The highest counter of each device up to a sequence number.
    fn clock_at(&self, sequence: u64) -> VectorClock {
        let count = usize::try_from(sequence).unwrap_or(usize::MAX).min(self.entries.len());
        let mut clock = VectorClock::new();
        for StoredEntry { device_id, counter, .. } in &self.entries[..count] {
            clock.raise(device_id, *counter).expect("a stored counter is in range");
        }
        clock
    }

    fn put_device(&mut self, row: DeviceRow, undo: &mut Undo) {
        let id = row.device_id.clone();
        undo.devices.push((id.clone(), self.devices.insert(id, row)));
    }

    fn put_watermark(&mut self, row: WatermarkRow, undo: &mut Undo) {
        let wallet = row.wallet.clone();
        undo.watermarks.push((wallet.clone(), self.watermarks.insert(wallet, row)));
    }

    fn put_member(&mut self, row: MemberRow, undo: &mut Undo) {
        let wallet = row.wallet.clone();
        let row = self.members.get(&wallet).map_or_else(|| row.clone(), |known| row.clone().behind(known));
        undo.members.push((wallet.clone(), self.members.insert(wallet, row)));
    }
}

impl Journal {
    /// What it holds, by session.
    pub fn sessions(&self) -> &BTreeMap<SessionId, Rows> {
        &self.sessions
    }

    /// Answers a question; `None` for notes. What it writes is visible, but not synced.
    pub fn answer(&mut self, question: &JournalQuestion) -> Option<JournalAnswer> {
        let answer = match question {
            JournalQuestion::Load { session_id } => {
                let Some(rows) = self.sessions.get(session_id) else {
                    return Some(JournalAnswer::Session(StoredSession::default()));
                };
                JournalAnswer::Session(StoredSession {
                    head: rows.entries.len() as u64,
                    log_hash: rows.entries.last().map_or_else(Digest::default, |entry| entry.log_hash),
                    last_written: rows.last_written(),
                    has_keys: !rows.keys.is_empty(),
                    devices: rows.devices.values().cloned().collect(),
                    watermarks: rows.watermarks.values().cloned().collect(),
                    members: rows.members.values().filter(|row| !row.left).cloned().collect(),
                    group: rows.group.clone(),
                    epochs: rows.epochs.clone(),
                })
            }
            JournalQuestion::Append { session_id, entries, devices, members, group, epochs } => {
                match self.append(session_id, entries, devices, members, (group.as_ref(), epochs.as_ref())) {
                    Ok(()) => JournalAnswer::Appended,
                    Err(reason) => JournalAnswer::Failed { reason: reason.to_owned() },
                }
            }
            JournalQuestion::Sessions { wallet, after, count_max, account_id, sealed } => {
                let mut found: Vec<(&SessionId, &Rows, &MemberRow)> =
                    self.sessions.iter().filter_map(|(id, rows)| Some((id, rows, rows.members.get(wallet)?))).collect();
                found.retain(|(id, _, member)| !member.left && member.account_id == *account_id && is_sealed_id(id) == *sealed);
                found.sort_by_key(|(_, rows, member)| Reverse((member.joined, rows.number)));
                let place = |after: &SessionId| found.iter().position(|(id, ..)| *id == after).map_or(found.len(), |place| place + 1);
                let start = after.as_ref().map_or(0, place);
                let listed = |(id, rows, member): (&SessionId, &Rows, &MemberRow)| ListedSession {
                    session_id: id.clone(),
                    peer_wallet: member.peer_wallet.clone(),
                    latest_sequence: if member.since > 0 { member.since } else { rows.last_written() },
                    joined: member.joined,
                    name: rows.group.as_ref().map(|group| group.name.clone()),
                };
                JournalAnswer::Sessions(found.into_iter().skip(start).take(*count_max).map(listed).collect())
            }
            JournalQuestion::Read { session_id, from, count_max, bytes_max } => {
                let entries = self.sessions.get(session_id).map(|rows| rows.entries.as_slice()).unwrap_or_default();
                let start = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX).min(entries.len());
                let mut bytes = 0usize;
                let read = entries[start..].iter().take(*count_max).take_while(|entry| {
                    let is_first = bytes == 0;
                    bytes += entry.body.bytes().len();
                    is_first || bytes <= *bytes_max
                });
                JournalAnswer::Entries(read.cloned().collect())
            }
            JournalQuestion::Find { session_id, counters, keys, places } => {
                let Some(rows) = self.sessions.get(session_id) else { return Some(JournalAnswer::Entries(Vec::new())) };
                let by_counter = counters.iter().filter_map(|counter| rows.counters.get(counter));
                let by_key = keys.iter().filter_map(|key| rows.keys.get(key));
                let by_place = places.iter().filter_map(|place| usize::try_from(*place).ok()?.checked_sub(1));
                let by_place = by_place.filter(|place| *place < rows.entries.len());
                let mut places: Vec<usize> = by_counter.chain(by_key).copied().chain(by_place).collect();
                places.sort_unstable();
                places.dedup();
                JournalAnswer::Entries(places.into_iter().map(|place| rows.entries[place].clone()).collect())
            }
            JournalQuestion::Clocks { session_id, at } => {
                let clock = |sequence: &u64| self.sessions.get(session_id).map(|rows| rows.clock_at(*sequence)).unwrap_or_default();
                JournalAnswer::Clocks(at.iter().map(clock).collect())
            }
            JournalQuestion::Note { session_id, devices, watermarks, members } => {
                let rows = self.rows(session_id);
                let mut undo = Undo::new(session_id, rows);
                for row in devices {
                    let old = rows.devices.get(&row.device_id).cloned().unwrap_or_default();
                    let DeviceRow { last_counter, last_sequence, last_digest, .. } = old;
                    rows.put_device(DeviceRow { last_counter, last_sequence, last_digest, ..row.clone() }, &mut undo);
                }
                for row in watermarks {
                    rows.put_watermark(row.clone(), &mut undo);
                }
                for row in members {
                    rows.put_member(row.clone(), &mut undo);
                }
                self.undo.push(undo);
                return None;
            }
        };
        Some(answer)
    }

    /// The rows of a session, made where there are none.
    fn rows(&mut self, session_id: &str) -> &mut Rows {
        let number = self.sessions.len();
        self.sessions.entry(session_id.to_owned()).or_insert_with(|| Rows { number, ..Rows::default() })
    }

    fn append(
        &mut self,
        session_id: &str,
        entries: &[StoredEntry],
        devices: &[DeviceRow],
        members: &[MemberRow],
        (group, epochs): (Option<&GroupRow>, Option<&Vec<u8>>),
    ) -> Result<(), &'static str> {
        if entries.is_empty() {
            return Err("there is nothing to append");
        }
        let rows = self.rows(session_id);
        let mut undo = Undo::new(session_id, rows);
        rows.append(entries.to_vec())?;
        for row in devices {
            rows.put_device(row.clone(), &mut undo);
        }
        for row in members {
            rows.put_member(row.clone(), &mut undo);
        }
        if let Some(group) = group {
            undo.group = Some(rows.group.replace(group.clone()));
        }
        if let Some(epochs) = epochs {
            undo.epochs = Some(rows.epochs.replace(epochs.clone()));
        }
        self.undo.push(undo);
        self.ghost.clear();
        Ok(())
    }

    /// All that was written is on the disk.
    pub fn sync(&mut self) {
        self.undo.clear();
    }

    /// How many transactions are not synced.
    pub fn unsynced(&self) -> usize {
        self.undo.len()
    }

    /// Takes back all but the first `kept` transactions that are not synced: a crash, or a rollback.
    pub fn go_back(&mut self, kept: usize) {
        while self.undo.len() > kept
            && let Some(undo) = self.undo.pop()
        {
            self.undo(undo);
        }
    }

    fn undo(&mut self, undo: Undo) {
        let Some(rows) = self.sessions.get_mut(&undo.session_id) else { return };
        rows.truncate(undo.count);
        if let Some(group) = undo.group {
            rows.group = group;
        }
        if let Some(epochs) = undo.epochs {
            rows.epochs = epochs;
        }
        for (id, row) in undo.devices.into_iter().rev() {
            match row {
                Some(row) => rows.devices.insert(id, row),
                None => rows.devices.remove(&id),
            };
        }
        for (wallet, row) in undo.watermarks.into_iter().rev() {
            match row {
                Some(row) => rows.watermarks.insert(wallet, row),
                None => rows.watermarks.remove(&wallet),
            };
        }
        for (wallet, row) in undo.members.into_iter().rev() {
            match row {
                Some(row) => rows.members.insert(wallet, row),
                None => rows.members.remove(&wallet),
            };
        }
    }

    /// The sync of these failed: they are taken back, but a crash may find them on the disk.
    pub fn fail_sync(&mut self, group: Vec<JournalQuestion>) {
        self.go_back(0);
        self.ghost = group;
    }

    /// After a crash what was taken back may be there all the same.
    pub fn find_ghost(&mut self) {
        for question in std::mem::take(&mut self.ghost) {
            let _ = self.answer(&question);
        }
        self.sync();
    }

    /// A copy, as a backup takes it.
    pub fn backup(&self) -> BTreeMap<SessionId, Rows> {
        self.sessions.clone()
    }

    /// A session's log is this one from now on: places, hashes and what is known of its devices are made to fit, as who has the
    /// journal and the relay's key can.
    pub fn rewrite(&mut self, session_id: &str, entries: Vec<StoredEntry>) {
        let rows = self.rows(session_id);
        rows.truncate(0);
        let mut ends: BTreeMap<DeviceId, DeviceRow> = BTreeMap::new();
        for row in rows.devices.values() {
            let last_digest = first_digest(session_id, &row.device_id);
            ends.insert(row.device_id.clone(), DeviceRow { last_counter: 0, last_sequence: 0, last_digest, ..row.clone() });
        }
        let mut hash = first_log_hash(session_id);
        for (sequence, stored) in (1..).zip(entries) {
            let mut entry = read(&stored);
            entry.sequence_number = sequence;
            let new = || DeviceRow { last_digest: first_digest(session_id, &stored.device_id), ..DeviceRow::default() };
            let end = ends.entry(stored.device_id.clone()).or_insert_with(new);
            let last_digest = entry.digest(&end.last_digest);
            (end.last_counter, end.last_sequence, end.last_digest) = (stored.counter, sequence, last_digest);
            hash = next_log_hash(&hash, &last_digest, entry.server_timestamp);
            let body = written(&entry);
            rows.append(vec![StoredEntry { sequence, log_hash: hash, body, ..stored }]).unwrap_or_else(|what| panic!("{what}"));
        }
        ends.retain(|device_id, end| end.last_counter > 0 && rows.devices.contains_key(device_id));
        rows.devices = ends;
    }

    /// An older copy is put back.
    pub fn set_back(&mut self, backup: BTreeMap<SessionId, Rows>) {
        *self = Journal { sessions: backup, ..Journal::default() };
    }
}

/// What is written in a stored entry.
pub fn read(stored: &StoredEntry) -> Entry {
    stored.body.entries().ok().and_then(|mut entries| entries.pop()).unwrap_or_default()
}

/// An entry as it is stored.
pub fn written(entry: &Entry) -> Batch {
    Batch::of(std::slice::from_ref(entry)).unwrap_or_else(|error| panic!("{error:?}"))
}

impl Undo {
    fn new(session_id: &str, rows: &Rows) -> Undo {
        let (devices, watermarks, members) = (Vec::new(), Vec::new(), Vec::new());
        Undo { session_id: session_id.to_owned(), count: rows.entries.len(), devices, watermarks, members, group: None, epochs: None }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::conformance::{Ask, Crash, append, entry, journal_conformance, load, read_all};

    /// What is asked before is synced by then; the last write is not yet.
    fn open(journal: &Rc<RefCell<Journal>>) -> Ask {
        let journal = journal.clone();
        Box::new(move |question| {
            let mut journal = journal.borrow_mut();
            journal.sync();
            journal.answer(&question)
        })
    }

    /// A copy of the journal after a crash.
    fn crash(journal: &Rc<RefCell<Journal>>, crash: Crash) -> Ask {
        let mut after = journal.take();
        let before = Journal { sessions: after.backup(), ..Journal::default() };
        after.go_back(if crash == Crash::Killed { after.unsynced() } else { 0 });
        after.sync();
        *journal.borrow_mut() = before;
        open(&Rc::new(RefCell::new(after)))
    }

    #[test]
    fn the_simulated_journal_conforms() {
        let journal = Rc::new(RefCell::new(Journal::default()));
        journal_conformance(&|| open(&journal), &|how| crash(&journal, how));
    }

    #[test]
    fn an_unsynced_write_may_survive_a_crash_unless_overwritten() {
        for written_over in [false, true] {
            let mut journal = Journal::default();
            let question = |text: &str| JournalQuestion::Append {
                session_id: "s".into(),
                entries: vec![entry(1, text, None)],
                devices: Vec::new(),
                members: Vec::new(),
                group: None,
                epochs: None,
            };
            assert_eq!(journal.answer(&question("first")), Some(JournalAnswer::Appended));
            journal.fail_sync(vec![question("first")]);
            let ask = Rc::new(RefCell::new(journal));
            assert_eq!(load(&mut open(&ask), "s").head, 0);
            if written_over {
                assert_eq!(append(&mut open(&ask), "s", vec![entry(1, "second", None)]), JournalAnswer::Appended);
            }
            ask.borrow_mut().find_ghost();
            let expected = if written_over { "second" } else { "first" };
            assert_eq!(read_all(&mut open(&ask), "s"), [entry(1, expected, None)]);
        }
    }
}
