//! Encrypted sessions where the cryptography itself fails, as a module of its own does that traps or has no memory, and where a key is
//! missing.

use std::cell::Cell;
use std::rc::Rc;

use crate::memory::Records;
use crate::rooms::Rooms;
use crate::sealed::{approving, joined, kinds, open, settle, texts, wallet, write};
use crate::signer::{Device, drawing, strict};
use solconnect_sync_core::client::vault::{
    Beginning, EncryptedText, EpochEntry, Fault, Generation, KeyPlace, KnownEpoch, Place, PublicKey, Recipient, ResealTo, Resealed,
    SealedEpoch, SealedKey, Secret, TextKeys,
};
use solconnect_sync_core::client::{Event, Input, Native, SyncScope, Vault};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::message::Kind;

/// What fails of it, and as what.
#[derive(Clone, Copy, PartialEq)]
pub enum Broken {
    Nothing,
    /// All of it.
    Module,
    /// What encrypts and decrypts texts.
    Texts,
    /// Account keys that are sealed to this device do not open.
    Keys,
    /// The secret for Bob is sealed to a key that nobody has, in epochs.
    Seals,
    /// And where it is given later.
    Gifts,
}

pub type Switch = Rc<Cell<Broken>>;

/// The real cryptography, with a switch.
struct Faulty(Switch);

struct FaultyKeys(Switch, Box<dyn TextKeys>);

impl Faulty {
    fn seals_rubbish(&self, to: &[u8; 32]) -> bool {
        matches!(self.0.get(), Broken::Seals | Broken::Gifts) && *to == wallet(1).public()
    }

    fn check(&self) -> Result<(), Fault> {
        if self.0.get() == Broken::Module { Err(Fault::Failed) } else { Ok(()) }
    }
}

/// Nobody has the other half.
fn lost_key() -> PublicKey {
    Native.public_of(&Secret::new([7; 32])).unwrap()
}

impl FaultyKeys {
    fn check(&self) -> Result<(), Fault> {
        if matches!(self.0.get(), Broken::Module | Broken::Texts) { Err(Fault::Failed) } else { Ok(()) }
    }
}

impl Vault for Faulty {
    fn public_of(&self, secret: &Secret) -> Result<PublicKey, Fault> {
        self.check()?;
        Native.public_of(secret)
    }

    fn begin_generation(
        &self,
        account_id: &str,
        number: u64,
        to: &[PublicKey],
        earlier: Option<&Secret>,
        random: &[u8; 64],
    ) -> Result<Generation, Fault> {
        self.check()?;
        Native.begin_generation(account_id, number, to, earlier, random)
    }

    fn hand_over(&self, account_id: &str, number: u64, secret: &Secret, to: &PublicKey, random: &[u8; 32]) -> Result<SealedKey, Fault> {
        self.check()?;
        Native.hand_over(account_id, number, secret, to, random)
    }

    fn open_key(&self, place: KeyPlace<'_>, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        self.check()?;
        if self.0.get() == Broken::Keys { Err(Fault::NotOpened) } else { Native.open_key(place, with, sealed) }
    }

    fn open_earlier(&self, place: KeyPlace<'_>, next: u64, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        self.check()?;
        Native.open_earlier(place, next, with, sealed)
    }

    fn commitment(&self, account_id: &str, device: &str, seal_key: &PublicKey, random: &[u8; 32]) -> Result<[u8; 32], Fault> {
        self.check()?;
        Native.commitment(account_id, device, seal_key, random)
    }

    fn short_number(
        &self,
        account_id: &str,
        approver: &str,
        commitment: &[u8; 32],
        device_random: &[u8; 32],
        approver_random: &[u8; 32],
    ) -> Result<u32, Fault> {
        self.check()?;
        Native.short_number(account_id, approver, commitment, device_random, approver_random)
    }

    fn recovery_code(&self, random: &[u8; 17]) -> Result<String, Fault> {
        self.check()?;
        Native.recovery_code(random)
    }

    fn recovery_keys(&self, code: &str, account_id: &str) -> Result<(Secret, Secret), Fault> {
        self.check()?;
        Native.recovery_keys(code, account_id)
    }

    fn passkey_keys(&self, output: &Secret, account_id: &str) -> Result<(Secret, Secret), Fault> {
        self.check()?;
        Native.passkey_keys(output, account_id)
    }

    fn begin_epoch(&self, at: Beginning<'_>, recipients: &[Recipient], random: &[u8; 64]) -> Result<EpochEntry, Fault> {
        self.check()?;
        let mut recipients: Vec<Recipient> = recipients.iter().map(|to| Recipient { ..*to }).collect();
        for to in recipients.iter_mut().filter(|to| self.seals_rubbish(&to.wallet)) {
            to.account_key = to.account_key.map(|(generation, _)| (generation, lost_key()));
        }
        Native.begin_epoch(at, &recipients, random)
    }

    fn open_epoch(&self, epoch: SealedEpoch<'_>, with: &Secret) -> Result<Secret, Fault> {
        self.check()?;
        Native.open_epoch(epoch, with)
    }

    fn reseal(&self, author: &str, to: &ResealTo, secrets: &[(KnownEpoch, Secret)], random: &[u8; 32]) -> Result<Resealed, Fault> {
        self.check()?;
        let account_key = if self.0.get() == Broken::Gifts && self.seals_rubbish(&to.wallet) { lost_key() } else { to.account_key };
        Native.reseal(author, &ResealTo { account_key, ..*to }, secrets, random)
    }

    fn open_reseal(&self, resealed: &Resealed, author: &str, with: &Secret, epochs: &[KnownEpoch]) -> Result<Vec<Option<Secret>>, Fault> {
        self.check()?;
        Native.open_reseal(resealed, author, with, epochs)
    }

    fn text_keys(&self, secret: &Secret, transcript: &[u8; 32], tag: &[u8; 32], device: &str) -> Result<Box<dyn TextKeys>, Fault> {
        self.check()?;
        let keys = Native.text_keys(secret, transcript, tag, device)?;
        Ok(Box::new(FaultyKeys(self.0.clone(), keys)))
    }
}

impl TextKeys for FaultyKeys {
    fn encrypt(&self, epoch: u64, place: Place<'_>, content: &[u8]) -> Result<EncryptedText, Fault> {
        self.check()?;
        self.1.encrypt(epoch, place, content)
    }

    fn decrypt(&self, place: Place<'_>, text: &EncryptedText) -> Result<Vec<u8>, Fault> {
        self.check()?;
        self.1.decrypt(place, text)
    }
}

/// A device of a person, signed in, whose cryptography has a switch.
pub fn switched(rooms: &mut Rooms, person: u8, number: u8) -> (Device, Switch) {
    let switch = Switch::new(Cell::new(Broken::Nothing));
    let records = drawing(Records::default(), number);
    let mut device = Device::with_vault(wallet(person), records, approving(), number, Box::new(Faulty(switch.clone())));
    device.talk(rooms);
    device.sign();
    device.talk(rooms);
    (device, switch)
}

/// Alice, and Bob whose cryptography has a switch, with a session in which something was written.
fn begun(rooms: &mut Rooms) -> (Device, Device, Switch, String) {
    let (mut alice, (mut bob, switch)) = (joined(rooms, 0, 1), switched(rooms, 1, 2));
    let session_id = open(&mut alice, 1);
    open(&mut bob, 0);
    settle(rooms, &mut [&mut alice, &mut bob]);
    write(&mut alice, &session_id, "one");
    settle(rooms, &mut [&mut alice, &mut bob]);
    assert_eq!((texts(&bob, &session_id), bob.warnings()), (vec!["one".to_owned()], vec![]));
    (alice, bob, switch, session_id)
}

/// It fails no more, and time passes.
fn heal(rooms: &mut Rooms, switch: &Switch, device: &mut Device, other: &mut Device) {
    assert!(device.warnings().contains(&ErrorCode::CryptoError), "the application is told");
    switch.set(Broken::Nothing);
    device.again(rooms);
    settle(rooms, &mut [device, other]);
}

#[test]
fn what_could_not_be_opened_by_a_fault_is_read_later() {
    for broken in [Broken::Module, Broken::Texts] {
        let mut rooms = strict();
        let (mut alice, mut bob, switch, session_id) = begun(&mut rooms);
        switch.set(broken);
        write(&mut alice, &session_id, "two");
        settle(&mut rooms, &mut [&mut alice, &mut bob]);
        assert_eq!(texts(&bob, &session_id), ["one"], "nothing is stored unread");
        heal(&mut rooms, &switch, &mut bob, &mut alice);
        assert_eq!(texts(&bob, &session_id), ["one", "two"]);
        assert_eq!(bob.client.session(&session_id).unwrap().last_synced_sequence, 3);
    }
}

#[test]
fn a_fault_waits_longer_and_longer() {
    let mut rooms = strict();
    let (mut alice, mut bob, switch, session_id) = begun(&mut rooms);
    switch.set(Broken::Module);
    write(&mut alice, &session_id, "two");
    let generation = bob.generation;
    for _ in 0..100 {
        settle(&mut rooms, &mut [&mut alice, &mut bob]);
    }
    let attempts = bob.generation - generation;
    assert!((2..15).contains(&attempts), "{attempts} attempts in 80 seconds");
    // What a call wrote meanwhile is kept.
    write(&mut bob, &session_id, "three");
    heal(&mut rooms, &switch, &mut bob, &mut alice);
    assert_eq!((texts(&alice, &session_id), texts(&bob, &session_id)), {
        let all = ["one", "two", "three"].map(str::to_owned).to_vec();
        (all.clone(), all)
    });
}

#[test]
fn what_could_not_be_encrypted_by_a_fault_is_sent_later() {
    for broken in [Broken::Module, Broken::Texts] {
        let mut rooms = strict();
        let (mut alice, mut bob, switch, session_id) = begun(&mut rooms);
        switch.set(broken);
        write(&mut bob, &session_id, "two");
        settle(&mut rooms, &mut [&mut alice, &mut bob]);
        assert_eq!(texts(&alice, &session_id), ["one"]);
        heal(&mut rooms, &switch, &mut bob, &mut alice);
        assert_eq!(texts(&alice, &session_id), ["one", "two"]);
        assert_eq!(kinds(&rooms, &session_id), [Kind::EPOCH, Kind::MESSAGE, Kind::MESSAGE].map(|kind| kind.0), "in the same epoch");
    }
}

#[test]
fn an_account_key_that_a_fault_kept_back_is_learned_later() {
    let mut rooms = strict();
    let (mut alice, mut bob, switch, session_id) = begun(&mut rooms);
    let mut phone = joined(&mut rooms, 1, 4);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    let mut tablet = joined(&mut rooms, 1, 5);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet]);
    bob.events.clear();
    switch.set(Broken::Module);
    phone.feed(Input::RemoveDevice { request: 7, device_id: tablet.id() });
    settle(&mut rooms, &mut [&mut phone, &mut bob]);
    write(&mut alice, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    heal(&mut rooms, &switch, &mut bob, &mut alice);
    assert_eq!(bob.client.account_keys(), phone.client.account_keys());
    assert_eq!(texts(&bob, &session_id), ["one", "two"]);
    let removed = bob.events.iter().filter(|event| matches!(event, Event::DeviceRemoved { .. })).count();
    assert_eq!(removed, 1, "it is told once");
}

#[test]
fn who_lacks_the_account_key_is_told_once() {
    let mut rooms = strict();
    let (mut alice, mut bob, switch, session_id) = begun(&mut rooms);
    let mut phone = joined(&mut rooms, 1, 4);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    let mut tablet = joined(&mut rooms, 1, 5);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut tablet]);
    switch.set(Broken::Keys);
    phone.feed(Input::RemoveDevice { request: 7, device_id: tablet.id() });
    settle(&mut rooms, &mut [&mut phone, &mut bob]);
    bob.events.clear();
    write(&mut bob, &session_id, "two");
    let wait = |rooms: &mut Rooms, bob: &mut Device| (0..40).for_each(|_| settle(rooms, &mut [&mut *bob]));
    wait(&mut rooms, &mut bob);
    assert_eq!(bob.warnings(), [ErrorCode::AccountKeyMissing]);
    bob.feed(Input::Sync { request: 9, session_id: Some(session_id.clone()), scope: SyncScope::Everything });
    wait(&mut rooms, &mut bob);
    assert_eq!(bob.refused(), Some(ErrorCode::AccountKeyMissing), "nobody waits for it");
    assert_eq!(bob.warnings().len(), 1);
    // The account goes on, and with it the key opens.
    switch.set(Broken::Nothing);
    let mut watch = joined(&mut rooms, 1, 6);
    [&mut alice, &mut phone].into_iter().for_each(|device| device.again(&mut rooms));
    (0..3).for_each(|_| settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone, &mut watch]));
    assert_eq!(texts(&alice, &session_id), ["one", "two"]);
}

#[test]
fn what_is_given_waits_for_cryptography_that_works() {
    let mut rooms = strict();
    let mut alice = joined(&mut rooms, 0, 1);
    let session_id = open(&mut alice, 1);
    write(&mut alice, &session_id, "before");
    settle(&mut rooms, &mut [&mut alice]);
    let (mut bob, switch) = switched(&mut rooms, 1, 2);
    alice.feed(Input::SetOffline { offline: true });
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut bob]);
    switch.set(Broken::Texts);
    alice.feed(Input::SetOffline { offline: false });
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id).len(), 0);
    switch.set(Broken::Nothing);
    bob.again(&mut rooms);
    settle(&mut rooms, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["before"]);
}

/// The phone removes a device that has just joined: the account has another key, and with it whoever gets it has the one before.
fn renew(rooms: &mut Rooms, number: u8, phone: &mut Device, others: &mut [&mut Device]) {
    let removed = joined(rooms, 1, number);
    for is_removed in [false, true] {
        if is_removed {
            phone.feed(Input::RemoveDevice { request: 7, device_id: removed.id() });
        }
        let mut all: Vec<&mut Device> = others.iter_mut().map(|device| &mut **device).chain([&mut *phone]).collect();
        settle(rooms, &mut all);
    }
}

#[test]
fn what_is_sealed_to_a_key_that_is_missing_waits_for_it() {
    let mut rooms = strict();
    let (mut alice, mut bob, switch, session_id) = begun(&mut rooms);
    let mut phone = joined(&mut rooms, 1, 5);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    // The next key of the account is of no use to Bob's first device.
    switch.set(Broken::Keys);
    renew(&mut rooms, 6, &mut phone, &mut [&mut alice, &mut bob]);
    write(&mut alice, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&bob, &session_id), ["one"]);
    switch.set(Broken::Nothing);
    renew(&mut rooms, 7, &mut phone, &mut [&mut alice, &mut bob]);
    write(&mut alice, &session_id, "three");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert_eq!(texts(&bob, &session_id), ["one", "two", "three"]);
}

#[test]
fn what_is_given_for_a_key_that_is_missing_waits_for_it() {
    let mut rooms = strict();
    let mut alice = joined(&mut rooms, 0, 1);
    let session_id = open(&mut alice, 1);
    write(&mut alice, &session_id, "before");
    settle(&mut rooms, &mut [&mut alice]);
    alice.feed(Input::SetOffline { offline: true });
    let (mut bob, switch) = switched(&mut rooms, 1, 2);
    let mut phone = joined(&mut rooms, 1, 5);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    open(&mut bob, 0);
    settle(&mut rooms, &mut [&mut bob, &mut phone]);
    // The next key of the account is of no use to Bob's first device, and Alice gives the secret to that.
    switch.set(Broken::Keys);
    renew(&mut rooms, 6, &mut phone, &mut [&mut bob]);
    alice.feed(Input::SetOffline { offline: false });
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert!(texts(&bob, &session_id).is_empty());
    switch.set(Broken::Nothing);
    let records = bob.records.clone();
    assert_eq!(records.sessions[&session_id].sealed.as_ref().unwrap().waiting.len(), 1);
    renew(&mut rooms, 7, &mut phone, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["before"]);
}

#[test]
fn what_came_behind_a_cleared_log_is_read_late() {
    let mut rooms = strict();
    let (mut alice, mut bob, switch, session_id) = begun(&mut rooms);
    let mut phone = joined(&mut rooms, 1, 5);
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    switch.set(Broken::Keys);
    renew(&mut rooms, 6, &mut phone, &mut [&mut alice, &mut bob]);
    write(&mut alice, &session_id, "two");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    bob.feed(Input::ClearLog { request: 9, session_id: session_id.clone() });
    write(&mut alice, &session_id, "three");
    settle(&mut rooms, &mut [&mut alice, &mut bob, &mut phone]);
    assert!(texts(&bob, &session_id).is_empty());
    switch.set(Broken::Nothing);
    renew(&mut rooms, 7, &mut phone, &mut [&mut alice, &mut bob]);
    assert_eq!(texts(&bob, &session_id), ["three"]);
}
