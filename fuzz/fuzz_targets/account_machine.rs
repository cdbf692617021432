//! A script of entries into an account log, as a relay and a device take it. Every step signs and verifies, which is nearly
//! all that a step takes; what is signed twice is signed once.
#![no_main]

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::people::{DAY_MS, DOMAIN, NOW_MS, certificate, key, owner, succession};
use solconnect_fuzz::{bounded, script::Script};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::identity::{Account, Change, Claim, NewRecoveryKey, Purpose, Recovery, RecoveryKind, Statement};
use solconnect_sync_core::ids::DeviceId;
use solconnect_sync_core::limits::{ACCOUNT_CHANGES_MAX, ACCOUNT_DEVICES_MAX};
use solconnect_sync_core::log::LogHead;
use solconnect_sync_vault::layout::Generation;
use solconnect_sync_vault::seal::{PublicKey as SealKey, SealedKey};

/// Steps of an input: more of them say nothing that fewer do not, and each takes two signatures.
const STEPS_MAX: usize = 48;

/// Devices that take part; one may be any of them, and all may come at once. Any of their keys may be a recovery key too.
const DEVICES: u8 = 48;

/// No seal is opened here: all are of zeroes.
const SEALED: SealedKey = [0; 80];

thread_local! {
    static SIGNED: RefCell<HashMap<Vec<u8>, Claim>> = RefCell::default();
    static IDS: Vec<DeviceId> = (0..DEVICES).map(|number| key(number).device_id()).collect();
}

fuzz_target!(|bytes: &[u8]| {
    let mut desk = Desk::new();
    let mut script = Script(bytes);
    for _ in 0..STEPS_MAX {
        let Some(step) = script.step() else { break };
        desk.take_step(step, &mut script);
    }
    let mut again = Account::new(owner(0, DOMAIN));
    for entry in &desk.log {
        let _ = again.take(entry).expect("the relay's log goes on");
    }
    assert_eq!(again, desk.relay, "the same entries make the same account");
});

struct Desk {
    relay: Account,
    device: Account,
    log: Vec<Entry>,
    /// How much of the log the device has.
    taken: usize,
    removed: BTreeSet<DeviceId>,
    listed: BTreeSet<DeviceId>,
    now_ms: u64,
}

impl Desk {
    fn new() -> Desk {
        let account = Account::new(owner(0, DOMAIN));
        let (removed, listed) = (BTreeSet::new(), BTreeSet::new());
        Desk { relay: account.clone(), device: account, log: Vec::new(), taken: 0, removed, listed, now_ms: NOW_MS }
    }

    fn take_step(&mut self, step: u8, script: &mut Script<'_>) {
        let by = script.below(usize::from(DEVICES)) as u8;
        if step & 64 > 0 {
            let claim = self.said_of_keys(step & 7, by, script);
            return self.say(by, claim, script);
        }
        let ago_ms = script.one_of(&[0, 0, 0, 1, 60_000, 40 * DAY_MS]);
        match step & 15 {
            0..=2 => self.say(by, self.signed(by, Purpose::Join, ago_ms), script),
            3 => self.say(by, self.signed(by, Purpose::Reset, ago_ms), script),
            4 | 5 => {
                let old = script.below(usize::from(DEVICES)) as u8;
                let claim = kept(&[4, old, by], || succession(self.relay.owner(), old, by));
                self.say(by, claim, script);
            }
            6 | 7 => self.say(by, Claim::Approve(ids(script)), script),
            8 | 9 => self.say(by, Claim::Remove { devices: ids(script), kept: ids(script) }, script),
            10 => self.now_ms += script.number() * 1_000,
            11 => self.now_ms += DAY_MS,
            // As many as there may be in a day.
            12 if step & 16 == 0 => {
                for device in by..(by + ACCOUNT_CHANGES_MAX as u8).min(DEVICES) {
                    let after = self.relay.head();
                    self.put(device, self.signed(device, Purpose::Join, 0), after);
                }
            }
            12 => self.put_any(script),
            13 => self.catch_up(script),
            14 => self.now_ms = self.now_ms.saturating_sub(script.number() * 1_000),
            // The device is started anew.
            _ => {
                let stored = bounded(|| self.device.to_bytes());
                let read = bounded(|| Account::from_bytes(&stored, &self.device.owner().domains));
                assert_eq!(read.as_ref(), Some(&self.device), "an account that was stored is as it was");
            }
        }
    }

    /// Something of account and recovery keys.
    fn said_of_keys(&self, step: u8, by: u8, script: &mut Script<'_>) -> Claim {
        let other = script.below(usize::from(DEVICES)) as u8;
        match step {
            0 | 1 => Claim::SealKey(script.one_of(&[seal_key(by), seal_key(by), [0; 32]])),
            2 => Claim::Generation(self.generation(&[], &[], script)),
            3 | 4 => {
                let (devices, kept) = (ids(script), ids(script));
                let generation = self.generation(&devices, &kept, script);
                Claim::RemoveAndRenew { devices, kept, generation }
            }
            5 => Claim::ApproveWithKey(ids(script).into_iter().map(|id| (id, SEALED)).collect()),
            6 => {
                let kind = script.one_of(&[RecoveryKind::Code, RecoveryKind::Passkey]);
                Claim::RecoveryKey(NewRecoveryKey { kind, key: key(other).public(), seal_key: seal_key(other), sealed: SEALED })
            }
            _ => {
                let (owner, head) = (self.relay.owner(), self.relay.head());
                let name = [&[7, other, by], &head.hash[..]].concat();
                kept(&name, || Claim::Recover(Recovery::sign(&key(other), owner, &head, &key(by).public())))
            }
        }
    }

    /// The next generation, or one that is nearly so.
    fn generation(&self, removed: &[DeviceId], kept: &[DeviceId], script: &mut Script<'_>) -> Generation {
        let number = (self.relay.generations().len() as u64 + script.one_of(&[1, 1, 1, 1, 1, 2])).max(1);
        let count = self.relay.seal_recipients(removed, kept).len() + script.one_of(&[0, 0, 0, 0, 1]);
        let (public, earlier) = (seal_key(number as u8), script.one_of(&[None, Some(SEALED)]));
        Generation { number, public, earlier, seals: vec![SEALED; count.min(ACCOUNT_DEVICES_MAX)] }
    }

    fn signed(&self, device: u8, purpose: Purpose, ago_ms: u64) -> Claim {
        let issued_ms = self.now_ms.saturating_sub(ago_ms);
        let name = [&[1, purpose as u8, device], &issued_ms.to_be_bytes()[..]].concat();
        kept(&name, || {
            let certificate = certificate(self.relay.owner(), key(device).public(), purpose, issued_ms);
            if purpose == Purpose::Join { Claim::Join(certificate) } else { Claim::Reset(certificate) }
        })
    }

    /// A device says something, behind the log's end or elsewhere.
    fn say(&mut self, by: u8, claim: Claim, script: &mut Script<'_>) {
        let head = self.relay.head();
        let after = script.one_of(&[head, head, head, head, head, self.device.head(), LogHead { hash: [9; 32], ..head }]);
        self.put(by, claim, after);
    }

    fn put(&mut self, by: u8, claim: Claim, after: LogHead) {
        let statement = Statement::sign(&key(by), self.relay.owner(), after, claim);
        let counter = self.relay.log().counter(&key(by).device_id()) + 1;
        self.enter(statement.entry(self.relay.owner(), counter, self.now_ms));
    }

    /// An entry that was heard before, at another place, or of which a byte was changed.
    fn put_any(&mut self, script: &mut Script<'_>) {
        let Some(old) = self.log.get(script.below(self.log.len().clamp(1, 256))) else { return };
        let mut entry = Entry { counter: self.relay.log().counter(&old.device_id) + 1, ..old.clone() };
        let place = script.below(entry.message.ciphertext.len().clamp(1, 256));
        match script.below(4) {
            0 if entry.message.ciphertext.is_char_boundary(place + 1) => {
                entry.message.ciphertext.replace_range(place..place + 1, script.one_of(&["A", "B", "/", "="]));
            }
            1 => entry.device_id = IDS.with(|ids| ids[usize::from(DEVICES) - 1].clone()),
            _ => {}
        }
        entry.counter = self.relay.log().counter(&entry.device_id) + 1;
        self.enter(entry);
    }

    /// An entry enters the log, whatever it says.
    fn enter(&mut self, mut entry: Entry) {
        entry.sequence_number = self.relay.head().sequence + 1;
        entry.server_timestamp = self.now_ms;
        entry.knows = entry.knows.min(self.relay.head().sequence);
        let before = self.relay.clone();
        let checked = bounded(|| before.check(&entry)).map_err(|error| error.code);
        let taken = bounded(|| self.relay.take(&entry)).expect("it goes on").map_err(|error| error.code);
        assert_eq!(checked.err(), taken.as_ref().err().copied(), "the relay refuses what would not count");
        self.check(&before, taken.ok().as_deref());
        self.log.push(entry);
    }

    fn check(&mut self, before: &Account, changes: Option<&[Change]>) {
        let after = &self.relay;
        assert_eq!(after.head().sequence, before.head().sequence + 1);
        let count = after.devices().len() + after.recovery_keys().len();
        assert!(count <= ACCOUNT_DEVICES_MAX, "{count} devices and recovery keys");
        assert_eq!(after.place(after.head().sequence), Some(after.head().hash));
        let holds = |account: &Account| account.generation_at(account.head().sequence).map(|generation| generation.number);
        assert_eq!(after.generation_at(before.head().sequence).map(|generation| generation.number), holds(before), "the past stays");
        for device in before.devices() {
            assert!(after.was_listed_at(&device.id, before.head().sequence), "who was there was there");
        }
        let Some(changes) = changes else {
            assert_eq!(before.devices(), after.devices(), "what does not count changes nothing");
            let without_log =
                |account: &Account| (account.devices().to_vec(), self.listed.iter().map(|id| account.was_removed(id)).collect::<Vec<_>>());
            assert_eq!(without_log(before), without_log(after), "what does not count changes nothing");
            assert_eq!((before.recovery_keys(), before.generations()), (after.recovery_keys(), after.generations()));
            return;
        };
        if let Some(generation) = holds(after) {
            let is_new = after.generations().len() > before.generations().len();
            assert!(is_new || holds(before) == Some(generation), "only a new account key holds where none did");
            let left = |id: &DeviceId| after.device(id).is_none() && !after.recovery_keys().iter().any(|key| key.id == *id);
            let sealed = IDS.with(|ids| ids.iter().any(|id| left(id) && after.sealed_for(id).is_some()));
            assert!(!sealed, "an account key holds that is sealed to who has left");
        }
        for change in changes {
            match change {
                Change::Added(id) => {
                    assert!(self.listed.insert(id.clone()), "a key is listed once");
                    assert!(after.device(id).is_some());
                }
                Change::Approved(id) => assert!(after.device(id).is_some_and(|device| device.is_approved)),
                Change::Removed(id) => {
                    assert!(before.device(id).is_some() && after.was_removed(id), "it was there and is no more");
                    self.removed.insert(id.clone());
                }
            }
        }
        let there: BTreeSet<DeviceId> = after.devices().iter().map(|device| device.id.clone()).collect();
        assert_eq!(there, self.listed.difference(&self.removed).cloned().collect(), "a device comes and goes as it is told");
    }

    /// The device hears what it lacks, or a part of it, now and then in one batch with what it has.
    fn catch_up(&mut self, script: &mut Script<'_>) {
        let (from, count) = (self.taken, script.below(64));
        let part: Vec<Entry> = self.log[from..].iter().take(count).cloned().collect();
        let read = Batch::of(&part).ok().and_then(|batch| batch.entries().ok()).unwrap_or_default();
        for entry in &read {
            let _ = bounded(|| self.device.take(entry)).expect("the log goes on");
        }
        self.taken += read.len();
        if self.taken == self.log.len() {
            assert_eq!(self.device, self.relay, "relay and device come to the same");
        }
    }
}

/// What was signed once is not signed again.
fn kept(name: &[u8], sign: impl FnOnce() -> Claim) -> Claim {
    SIGNED.with_borrow_mut(|signed| {
        if signed.len() > 4_096 {
            signed.clear();
        }
        signed.entry(name.to_vec()).or_insert_with(sign).clone()
    })
}

/// A seal key by its number: any bytes are one that are not of low order.
fn seal_key(number: u8) -> SealKey {
    [number.max(2), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Some devices.
fn ids(script: &mut Script<'_>) -> Vec<DeviceId> {
    let numbers: BTreeSet<usize> = (0..script.below(4)).map(|_| script.below(usize::from(DEVICES))).collect();
    IDS.with(|ids| numbers.into_iter().map(|number| ids[number].clone()).collect())
}
