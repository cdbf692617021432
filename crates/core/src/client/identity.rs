//! Who the device is to a relay: its key, what makes it a device of its wallet, and what it has stored of both.

mod sign_in;

use std::cell::Cell;

use sha2::{Digest as _, Sha256};

use super::api::{Event, Write};
use super::keys::{Keys, failed};
use super::records::{IdentityRecord, NumberRecord};
use super::recovery::RecoveryKeys;
use super::transaction::Transaction;
use super::vault::{Fault, Secret, Vault};
use crate::entry::{Digest, Entry};
use crate::error::{ErrorCode, SyncError};
use crate::identity::{Account, Claim, DeviceKey, DomainSet, Owner, PublicKey, Signature, Statement, Succession, device_id};
use crate::ids::{DeviceId, SessionId};
use crate::time::Now;

/// The device's own part of signing in.
pub(super) struct Identity {
    domains: DomainSet,
    /// What keys are made of, one after the other.
    entropy: [u8; 32],
    drawn: u64,
    /// How many other secrets were.
    secrets: Cell<u64>,
    stored: Stored,
    /// What a transaction under way stores.
    next: Option<Stored>,
    /// The keys for encrypted sessions were made at this start, and are not on disk.
    keys_are_new: bool,
    /// Whether that leaves nothing to sign in with.
    shuts_out: bool,
    /// Why nothing is said to the relay until somebody does something.
    shut_out: Option<SyncError>,
    /// The last `sign_in` of the connection had an entry that lists the device.
    is_entering: bool,
    /// The key of the relay that it has spoken with last: the one that was expected, or one that this names.
    shown_key: Option<PublicKey>,
    /// What this device has last signed in with on this connection, and the digest of the entry with it.
    proof: Option<(Signature, Digest)>,
    /// Why the relay refuses that, as who has its key has signed it.
    refused: Option<ErrorCode>,
    /// How far the relay's clock was ahead when it last said hello.
    ahead_ms: i64,
}

/// What is in the store.
#[derive(Clone)]
struct Stored {
    key: DeviceKey,
    /// What lists the device; `None` where the wallet must sign first.
    claim: Option<Claim>,
    /// A relay said that the account lists the device.
    is_listed: bool,
    /// The account, as far as its log is known here.
    account: Option<Account>,
    /// The device before this one was removed from the account, and the wallet has not signed since.
    was_removed: bool,
    /// The relay's.
    relay_key: Option<PublicKey>,
    /// What it reads encrypted sessions with; `None` where it never did.
    keys: Option<Keys>,
    /// The short numbers with other devices.
    numbers: Vec<NumberRecord>,
}

impl Stored {
    fn record(&self) -> IdentityRecord {
        let claim = self.claim.as_ref().map(Claim::to_bytes).unwrap_or_default();
        let account = self.account.as_ref().map(Account::to_bytes).unwrap_or_default();
        let relay_key = self.relay_key.map(Vec::from).unwrap_or_default();
        let Stored { is_listed, was_removed, .. } = *self;
        let mut secret = self.key.secret().to_vec();
        self.keys.iter().for_each(|keys| keys.put(&mut secret));
        IdentityRecord { secret, claim, is_listed, account, was_removed, relay_key, numbers: self.numbers.clone() }
    }

    fn number_with(&self, device_id: &str) -> NumberRecord {
        let known = self.numbers.iter().find(|number| number.device_id == device_id);
        known.cloned().unwrap_or_else(|| NumberRecord { device_id: device_id.into(), ..NumberRecord::default() })
    }
}

impl Identity {
    /// The identity that is stored, or a new one; `None` where there is nothing to make keys of. One whose secret is lost goes on
    /// under a new key, and keeps what it knows of others.
    pub fn load(domains: &[String], record: Option<IdentityRecord>, entropy: Option<[u8; 32]>) -> Option<Identity> {
        let (domains, entropy) = (DomainSet::new(domains.to_vec()).ok()?, entropy?);
        let mut drawn = 0;
        let IdentityRecord { secret, claim, is_listed, account, was_removed, relay_key, numbers } = record.unwrap_or_default();
        let (account, relay_key) = (Account::from_bytes(&account, &domains), relay_key.try_into().ok());
        let (key, keys, claim, is_listed, numbers) = match secret.split_first_chunk() {
            Some((secret, keys)) => {
                (DeviceKey::from_secret(secret), Keys::take(keys).ok(), Claim::from_bytes(&claim).ok(), is_listed, numbers)
            }
            None => (draw(&entropy, &mut drawn), None, None, false, Vec::new()),
        };
        Some(Identity {
            domains,
            entropy,
            drawn,
            secrets: Cell::new(0),
            stored: Stored { key, claim, is_listed, account, was_removed, relay_key, keys, numbers },
            keys_are_new: false,
            next: None,
            shuts_out: false,
            shut_out: None,
            is_entering: false,
            shown_key: None,
            proof: None,
            refused: None,
            ahead_ms: 0,
        })
    }

    pub fn device_id(&self) -> DeviceId {
        self.stored.key.device_id()
    }

    /// It reads encrypted sessions from now on.
    pub fn need_keys(&mut self) {
        if self.stored.keys.is_none() {
            self.stored.keys = Some(Keys::new(self.draw_secret()));
            self.keys_are_new = true;
        }
    }

    /// What it reads them with, as it is on disk.
    pub fn keys(&self) -> Option<&Keys> {
        self.stored.keys.as_ref().filter(|_| !self.keys_are_new)
    }

    /// The same as the transaction leaves it: what comes with a key is read with it.
    pub fn latest_keys(&self) -> Option<&Keys> {
        self.latest().keys.as_ref()
    }

    /// The relay's time, as far as this device knows it.
    pub fn relay_ms(&self, now: Now) -> u64 {
        now.wall_ms.saturating_add_signed(self.ahead_ms)
    }

    /// 32 bytes that nobody can guess.
    pub fn draw_secret(&self) -> Secret {
        let mut drawn = self.secrets.get();
        let secret = Secret::new(drawn_bytes(b"solconnect.secret.v1\0", &self.entropy, &mut drawn));
        self.secrets.set(drawn);
        secret
    }

    /// What a seal needs of randomness.
    pub fn draw_random(&self) -> [u8; 64] {
        let mut random = [0; 64];
        random.as_chunks_mut::<32>().0.iter_mut().for_each(|half| half.copy_from_slice(&self.draw_secret()[..]));
        random
    }

    /// Account keys that were sealed to this device are opened and stored with what the account's log says.
    fn learn_keys(&self, vault: &dyn Vault, account: &Account, by: Option<&RecoveryKeys>) -> Result<Option<Keys>, (DeviceId, Fault)> {
        let Some(mut keys) = self.latest().keys.clone() else { return Ok(None) };
        keys.learn(vault, account, &self.device_id(), by)?;
        Ok(Some(keys))
    }

    /// The key of the device that has this id: the stored one, or the next.
    pub fn key_of(&self, device_id: &str) -> Option<&DeviceKey> {
        [&self.stored, self.latest()].into_iter().map(|stored| &stored.key).find(|key| key.device_id() == device_id)
    }

    /// The relay's key, once it has shown one, or the application has named it.
    pub fn relay_key(&self, named: Option<PublicKey>) -> Option<PublicKey> {
        self.shown_key.or(named).or(self.latest().relay_key)
    }

    /// What a new store begins with.
    pub fn record(&self) -> IdentityRecord {
        self.stored.record()
    }

    pub fn owner(&self, wallet: &str) -> Option<Owner> {
        Owner::new(wallet, self.domains.clone()).ok()
    }

    /// Those of the application.
    pub fn domains(&self) -> &DomainSet {
        &self.domains
    }

    /// The session of two wallets in the application; `None` for what is no address of a wallet.
    pub fn session_of(&self, wallet: &str, peer_wallet: &str, is_sealed: bool) -> Option<SessionId> {
        let make = if is_sealed { DomainSet::sealed_session_of } else { DomainSet::session_of };
        make(&self.domains, wallet, peer_wallet)
    }

    /// As the transaction leaves it.
    fn latest(&self) -> &Stored {
        self.next.as_ref().unwrap_or(&self.stored)
    }

    /// The wallet's account as it is stored here; `None` where nothing of its log is.
    pub fn account(&self, wallet: &str) -> Option<&Account> {
        self.stored.account.as_ref().filter(|account| account.owner().wallet == wallet)
    }

    /// The same as the transaction leaves it; `None` where nothing of its log is known.
    pub fn known_account(&self, wallet: &str) -> Option<&Account> {
        self.latest().account.as_ref().filter(|account| account.owner().wallet == wallet)
    }

    /// The same, an empty one where nothing of its log is known.
    pub fn latest_account(&self, wallet: &str) -> Option<Account> {
        self.known_account(wallet).cloned().or_else(|| self.owner(wallet).map(Account::new))
    }

    /// Whether the wallet's account has ever listed a device, as the transaction leaves it.
    pub fn has_listed(&self, wallet: &str, device_id: &str) -> bool {
        let known = self.latest().account.as_ref().filter(|account| account.owner().wallet == wallet);
        known.is_some_and(|account| account.was_listed(device_id))
    }

    /// The account has gone on; says whether it lists this device no longer. What is sealed to what this device comes back by is opened too.
    pub fn follow(
        &mut self,
        account: Account,
        vault: Option<&dyn Vault>,
        by: Option<&RecoveryKeys>,
        transaction: &mut Transaction,
    ) -> bool {
        let is_out = !self.latest().was_removed && self.is_out(&account);
        let learned = vault.map_or(Ok(None), |vault| self.learn_keys(vault, &account, by));
        let keys = learned.unwrap_or_else(|(by, fault)| {
            if fault == Fault::Failed {
                // With the account stored, nobody would look for its keys again.
                transaction.fail(failed(fault));
            } else {
                let message = format!("the key of the account that device {by} has sealed for this one is of no use: {fault}");
                transaction.tell(Event::Warning { error: SyncError::new(ErrorCode::CryptoError, message) });
            }
            None
        });
        let keys = keys.or(self.latest().keys.clone());
        let waits = |account: &Account| account.device(&self.device_id()).is_some_and(|own| !own.is_approved);
        let has_waited = self.latest().account.as_ref().is_some_and(waits);
        // Who is listed and waits to be approved takes part in its sessions from then on.
        transaction.has_keys |= keys != self.latest().keys || waits(&account) && !has_waited;
        let stored = Stored { account: Some(account), keys, ..self.latest().clone() };
        // The relay would tell it again.
        self.store(stored, false, transaction);
        is_out
    }

    /// Whether the account lists this device no longer, and never will: its own key left, or the one that names it before it came.
    fn is_out(&self, account: &Account) -> bool {
        let own = self.device_id();
        let names = |claim: &Claim| if let Claim::Succeed(succession) = claim { Some(device_id(&succession.predecessor)) } else { None };
        let predecessor = self.stored.claim.as_ref().filter(|_| account.device(&own).is_none()).and_then(names);
        account.was_removed(&own) || predecessor.is_some_and(|predecessor| account.was_removed(&predecessor))
    }

    /// What was known of the account is asked for from the beginning.
    pub fn forget_account(&mut self, transaction: &mut Transaction) {
        // In another log each may have the other's part: of numbers only the tries count on.
        let tries = |number: NumberRecord| NumberRecord { device_id: number.device_id, tries: number.tries, ..NumberRecord::default() };
        let numbers = self.latest().numbers.iter().cloned().map(tries).collect();
        let stored = Stored { account: None, numbers, ..self.latest().clone() };
        self.store(stored, true, transaction);
    }

    /// A connection begins.
    pub fn meet(&mut self) {
        (self.proof, self.refused) = (None, None);
    }

    /// Why nothing is said to the relay until the wallet signs, or the application says something; `None` where nothing is in the way.
    pub fn refusal(&self) -> Option<SyncError> {
        if self.stored.was_removed { Some(removed()) } else { self.shut_out.clone() }
    }

    /// The device goes on under a new key, which the old one names where it is listed.
    fn replace_key(&mut self, wallet: Option<&str>, transaction: &mut Transaction) -> DeviceId {
        let key = draw(&self.entropy, &mut self.drawn);
        let before = self.latest().clone();
        let owner = wallet.and_then(|wallet| self.owner(wallet)).filter(|_| before.is_listed);
        let claim = owner.map(|owner| Claim::Succeed(Succession::sign(&before.key, &owner, &key.public())));
        let device_id = key.device_id();
        // Account keys go on with what the old key certifies, and no further.
        let seal = self.draw_secret();
        let keys = before.keys.as_ref().map(|keys| if claim.is_some() { keys.of_successor(seal) } else { Keys::new(seal) });
        self.store(Stored { key, claim, is_listed: false, keys, numbers: Vec::new(), ..before }, true, transaction);
        device_id
    }

    /// The short number with another device, as far as that is on disk.
    pub fn stored_number(&self, device_id: &str) -> NumberRecord {
        self.stored.number_with(device_id)
    }

    /// The same as the transaction leaves it.
    pub fn latest_number(&self, device_id: &str) -> NumberRecord {
        self.latest().number_with(device_id)
    }

    /// It is kept, and of the others those with devices that have one with this device still. What is said of it next counts once:
    /// whoever forgets it after a power cut would let it count twice.
    pub fn keep_number(&mut self, number: NumberRecord, account: &Account, transaction: &mut Transaction) {
        let mut numbers = self.latest().numbers.clone();
        let is_approved = |device_id: &str| account.device(device_id).map(|device| device.is_approved);
        let own = is_approved(&self.device_id());
        let differs = |other: &NumberRecord| is_approved(&other.device_id).is_some_and(|other| Some(other) != own);
        numbers.retain(|other| other.device_id != number.device_id && differs(other));
        numbers.push(number);
        let stored = Stored { numbers, ..self.latest().clone() };
        self.store(stored, true, transaction);
    }

    /// The key that is drawn next.
    fn next_key(&self) -> DeviceKey {
        draw(&self.entropy, &mut { self.drawn })
    }

    /// A statement of this device behind the head of its account, as its next entry.
    pub fn say(&self, account: &Account, claim: Claim, now: Now) -> Entry {
        let counter = account.log().counter(&self.device_id()) + 1;
        Statement::sign(&self.stored.key, account.owner(), account.head(), claim).entry(account.owner(), counter, now.wall_ms)
    }

    fn store(&mut self, stored: Stored, strict: bool, transaction: &mut Transaction) {
        transaction.write(Write::Identity(stored.record()), strict);
        self.next = Some(stored);
    }

    /// What was to be stored is stored.
    pub fn commit(&mut self) {
        let Some(stored) = self.next.take() else { return };
        self.keys_are_new = false;
        if std::mem::take(&mut self.shuts_out) {
            self.shut_out = Some(unsigned());
        }
        self.shut_out.take_if(|error| error.code == ErrorCode::SignInRequired && stored.claim.is_some());
        self.stored = stored;
    }

    /// It is not.
    pub fn roll_back(&mut self) {
        (self.next, self.shuts_out) = (None, false);
    }
}

/// Keys are made of what nobody can guess and of how many were.
fn draw(entropy: &[u8; 32], drawn: &mut u64) -> DeviceKey {
    DeviceKey::from_secret(&drawn_bytes(b"solconnect.device-key.v1\0", entropy, drawn))
}

fn drawn_bytes(label: &[u8], entropy: &[u8; 32], drawn: &mut u64) -> [u8; 32] {
    *drawn += 1;
    let mut hash = Sha256::new();
    for part in [label, entropy, &drawn.to_be_bytes()] {
        hash.update(part);
    }
    hash.finalize().into()
}

pub(super) fn nobody_signs_in() -> SyncError {
    SyncError::new(ErrorCode::InvalidArgument, "nobody signs in here: the option `domains` is missing")
}

fn unsigned() -> SyncError {
    SyncError::new(ErrorCode::SignInRequired, "the wallet must sign for this device first: call signIn()")
}

pub(super) fn removed() -> SyncError {
    let message = "this device was removed from the account: call signIn(), and it goes on as a new one when the wallet has signed";
    SyncError::new(ErrorCode::DeviceRemoved, message)
}

/// A session is encrypted and the application does not encrypt, or the other way round.
pub(super) fn mismatch(is_sealed: bool, peer_wallet: &str) -> SyncError {
    let session = if peer_wallet.is_empty() { "this session".to_owned() } else { format!("the session with {peer_wallet}") };
    let message = match is_sealed {
        true => format!("{session} is encrypted, and the application does not encrypt: set the option `encryption`"),
        false => format!("{session} is not encrypted, and the application writes in encrypted ones alone: begin another one"),
    };
    SyncError::new(ErrorCode::EncryptionMismatch, message)
}
