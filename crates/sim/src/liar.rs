//! A relay that lies (F48). When all has converged, it changes its journal or what it says in one of these ways, with its own key.
//! Then two entries are exchanged.

use std::collections::BTreeSet;

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::Membership;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Frame, Payload};
use solconnect_sync_core::identity::UpdateSignature;
use solconnect_sync_core::ids::{SessionId, is_account_id};
use solconnect_sync_core::relay::StoredEntry;

use crate::faults::Fault;
use crate::relay_disk::{read, written};
use crate::scenario::Scenario;
use crate::signers::{account_id, key};
use crate::world::ProfileId;

/// By then devices have stored what they know, or are connected again.
const SETTLE_MS: u64 = 30_000;

/// What a relay does that lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// An entry that it has acknowledged is not there any more.
    Drops,
    /// An entry comes a second time, under another counter.
    Repeats,
    /// It is shown a second time.
    ShowsTwice,
    /// Two entries are in another order.
    Reorders,
    /// Each of two devices has its own log.
    Forks,
    /// The log ends earlier.
    RollsBack,
    /// There is an entry that nobody wrote.
    Invents,
    /// There is an entry of another session.
    Mixes,
    /// What happened last to a wallet's account is not there.
    WithholdsAccount,
    /// An entry was acknowledged, and is stored nowhere.
    StoresNothing,
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 10] = [
        Lie::Drops,
        Lie::Repeats,
        Lie::ShowsTwice,
        Lie::Reorders,
        Lie::Forks,
        Lie::RollsBack,
        Lie::Invents,
        Lie::Mixes,
        Lie::WithholdsAccount,
        Lie::StoresNothing,
    ];

    /// What a device says that has noticed it: one of these.
    pub(crate) fn codes(self) -> &'static [ErrorCode] {
        match self {
            Lie::Repeats | Lie::Invents | Lie::Mixes => &[ErrorCode::EntryForged],
            Lie::ShowsTwice => &[ErrorCode::RelayMisbehaved],
            _ => &[ErrorCode::RelayForked, ErrorCode::RelayRolledBack],
        }
    }
}

/// The last entry of a batch stands in it twice.
pub(crate) fn repeated(payload: &Payload) -> Option<Payload> {
    let Payload::Binary(bytes) = payload else { return None };
    let mut frame = Frame::from_bytes(bytes).ok()?;
    let Body::SyncResponse(response) = &mut frame.body else { return None };
    if is_account_id(&frame.head.session_id) {
        return None;
    }
    let mut entries = response.messages.entries().ok()?;
    let last = entries.last()?.clone();
    let sequence_number = last.sequence_number + 1;
    entries.push(Entry { sequence_number, ..last });
    (response.messages, response.latest_sequence) = (Batch::of(&entries).ok()?, sequence_number);
    Some(Payload::Binary(frame.to_bytes()?.into()))
}

/// Changes what is written in a stored entry, which has this counter then.
fn bent(stored: &StoredEntry, counter: u64, change: impl FnOnce(&mut Entry)) -> StoredEntry {
    let mut entry = read(stored);
    entry.counter = counter;
    change(&mut entry);
    StoredEntry { counter, key: None, body: written(&entry), ..stored.clone() }
}

fn next_counter(rows: &[StoredEntry], device_id: &str) -> u64 {
    rows.iter().filter(|stored| stored.device_id == device_id).map(|stored| stored.counter).max().unwrap_or(0) + 1
}

/// Whether no two entries are one device's under one counter: no journal takes them.
fn names_each_once(rows: &[StoredEntry]) -> bool {
    let names: BTreeSet<(&String, u64)> = rows.iter().map(|stored| (&stored.device_id, stored.counter)).collect();
    names.len() == rows.len()
}

impl Scenario {
    /// The relay lies, and what devices say of that is judged.
    pub(crate) fn lie(&mut self) {
        let Some((session_id, inside)) = self.victims() else { return };
        self.wait();
        let first = self.world.checker.ledger.sent.len();
        let lie = *self.world.ctx.pick(&Lie::ALL);
        self.world.checker.relay_lies = true;
        self.world.checker.accusations.clear();
        if !self.tell(lie, &session_id, &inside) {
            self.world.checker.relay_lies = false;
            return;
        }
        self.world.ctx.faults.count(Fault::RelayLies);
        self.wait();
        for _ in 0..2 {
            let writer = *self.world.ctx.pick(&inside);
            self.write(writer, &session_id);
            self.wait();
        }
        self.world.judge_lie(lie, &session_id, &inside, first);
    }

    /// A session in which several devices are and something was written, and they.
    pub(crate) fn victims(&mut self) -> Option<(SessionId, Vec<ProfileId>)> {
        let is_in = |profile: ProfileId, id: &str| {
            let session = self.world.profiles[profile].disk.state().records.sessions.get(id);
            session.is_some_and(|session| session.open && session.membership == Membership::Member)
        };
        let all = self.world.checker.ledger.sessions().filter(|(id, log)| log.head() > 1 && !is_account_id(id));
        let all = all.map(|(id, _)| (id.clone(), (0..self.world.profiles.len()).filter(|profile| is_in(*profile, id)).collect()));
        let all: Vec<(SessionId, Vec<ProfileId>)> = all.filter(|(_, inside): &(_, Vec<ProfileId>)| inside.len() > 1).collect();
        if all.is_empty() { None } else { Some(self.world.ctx.pick(&all).clone()) }
    }

    /// Long enough for all that is under way.
    pub(crate) fn wait(&mut self) {
        self.run_until(self.world.ctx.agenda.now_ms() + SETTLE_MS);
    }

    /// Somebody of this profile writes.
    pub(crate) fn write(&mut self, profile: ProfileId, session_id: &str) {
        if let Some(page) = self.world.newest_page_of(profile) {
            self.send(page, session_id);
        }
    }

    /// What the relay's journal has of a session.
    pub(crate) fn rows(&self, session_id: &str) -> Vec<StoredEntry> {
        self.world.relay.journal().sessions().get(session_id).map(|rows| rows.entries.clone()).unwrap_or_default()
    }

    fn rewrite(&mut self, session_id: &str, entries: Vec<StoredEntry>) {
        self.world.rewrite_log(session_id, entries);
        const START_MS: u64 = 4_000;
        self.run_until(self.world.ctx.agenda.now_ms() + START_MS);
    }

    /// Only these are online.
    fn only(&mut self, online: &[ProfileId]) {
        for profile in 0..self.world.profiles.len() {
            self.set_offline(profile, !online.contains(&profile));
        }
        self.wait();
    }

    /// Tells it. `false` where the log has nothing that it could be told of.
    fn tell(&mut self, lie: Lie, id: &str, inside: &[ProfileId]) -> bool {
        let mut rows = self.rows(id);
        let everybody: Vec<ProfileId> = (0..self.world.profiles.len()).collect();
        match lie {
            Lie::Drops => {
                // An entry cannot stand where it knows of itself.
                let fits = |place: &usize| rows[place + 1..].iter().all(|later| read(later).knows < later.sequence - 1);
                let places: Vec<usize> = (0..rows.len()).filter(fits).collect();
                drop(rows.remove(*self.world.ctx.pick(&places)));
            }
            Lie::RollsBack => rows.truncate(self.world.ctx.random.usize(0..rows.len())),
            Lie::Repeats => {
                let Some(last) = rows.last() else { return false };
                let counter = next_counter(&rows, &last.device_id);
                let mut again = bent(last, counter, |_| {});
                again.signature.iter_mut().for_each(|signature| signature.counter = counter);
                rows.push(again);
            }
            Lie::ShowsTwice => {
                self.world.relay.repeats = true;
                return true;
            }
            Lie::Reorders => {
                let two = self.two_of(inside);
                two.iter().for_each(|writer| self.write(*writer, id));
                self.wait();
                rows = self.rows(id);
                let [.., one, other] = rows.as_mut_slice() else { return false };
                if one.device_id == other.device_id || read(other).knows >= one.sequence {
                    return false;
                }
                std::mem::swap(one, other);
            }
            Lie::Forks => return self.fork(id, rows, inside),
            Lie::Invents => {
                let Some(last) = rows.last() else { return false };
                let counter = next_counter(&rows, &last.device_id);
                let mut invented = bent(last, counter, |entry| entry.message.ciphertext = "nobody wrote this".into());
                let seen = last.signature.as_ref().map(|signature| signature.seen);
                invented.signature = match (self.world.ctx.random.u8(0..3), seen) {
                    (0, _) | (_, None) => None,
                    (1, _) => invented.signature.map(|signature| UpdateSignature { counter, ..signature }),
                    // It signs with a key of its own.
                    (_, Some(seen)) => Some(UpdateSignature::sign(&key(200), id, counter, &[1; 32], seen)),
                };
                rows.push(invented);
            }
            Lie::Mixes => {
                let devices: BTreeSet<&String> = rows.iter().map(|stored| &stored.device_id).collect();
                let sessions = self.world.relay.journal().sessions().iter().filter(|(other, _)| *other != id && !is_account_id(other));
                let mut signed = sessions.flat_map(|(_, other)| &other.entries).filter(|stored| stored.signature.is_some());
                let Some(moved) = signed.rfind(|stored| devices.contains(&stored.device_id)) else { return false };
                let counter = next_counter(&rows, &moved.device_id);
                let mut moved = bent(moved, counter, |entry| {
                    entry.message.id = entry.message.id.replace(&entry.message.session_id, id);
                    entry.message.session_id = id.to_owned();
                    entry.knows = entry.knows.min(rows.len() as u64);
                });
                moved.signature.iter_mut().for_each(|signature| signature.counter = counter);
                rows.push(moved);
            }
            Lie::WithholdsAccount => {
                let profile = *self.world.ctx.pick(inside);
                let account = account_id(self.world.profiles[profile].wallet);
                let mut entries = self.rows(&account);
                if entries.pop().is_none() {
                    return false;
                }
                self.rewrite(&account, entries);
                return true;
            }
            Lie::StoresNothing => {
                let writer = *self.world.ctx.pick(inside);
                self.only(&[writer]);
                self.write(writer, id);
                self.wait();
                if self.rows(id).len() != rows.len() + 1 {
                    return false;
                }
                self.rewrite(id, rows);
                self.only(&everybody);
                return true;
            }
        }
        if !names_each_once(&rows) {
            return false;
        }
        self.rewrite(id, rows);
        true
    }

    fn two_of(&mut self, inside: &[ProfileId]) -> [ProfileId; 2] {
        let one = self.world.ctx.random.usize(0..inside.len());
        let other = (one + self.world.ctx.random.usize(1..inside.len())) % inside.len();
        [inside[one], inside[other]]
    }

    /// Each of two devices writes where the other cannot hear it. Then all hear both, in the log of the second.
    fn fork(&mut self, id: &str, common: Vec<StoredEntry>, inside: &[ProfileId]) -> bool {
        let [here, there] = self.two_of(inside);
        self.only(&[there]);
        for _ in 0..2 {
            self.write(there, id);
            self.wait();
        }
        let theirs = self.rows(id).split_off(common.len());
        self.only(&[]);
        self.rewrite(id, common.clone());
        self.only(&[here]);
        self.write(here, id);
        self.wait();
        let mut rows = self.rows(id);
        if theirs.len() != 2 || rows.len() != common.len() + 1 {
            return false;
        }
        self.only(&[]);
        rows.extend(theirs);
        if !names_each_once(&rows) {
            return false;
        }
        self.rewrite(id, rows);
        let everybody: Vec<ProfileId> = (0..self.world.profiles.len()).collect();
        self.only(&everybody);
        true
    }
}
