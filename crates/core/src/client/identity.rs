//! Who the device is to a relay: its key, what makes it a device of its wallet, and signing in.

use std::cell::Cell;

use sha2::{Digest as _, Sha256};

use super::Client;
use super::api::{Action, Event, Reply, Write};
use super::keys::{Keys, failed};
use super::records::IdentityRecord;
use super::transaction::Transaction;
use super::vault::{Fault, Secret, Vault};
use crate::batch::Batch;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ErrorBody, Hello, SignIn, SignedIn};
use crate::identity::{
    Account, Certificate, Challenge, Claim, DeviceKey, DomainSet, Offer, Owner, PublicKey, Purpose, Signature, Statement, Succession,
    check_greeting, is_successor,
};
use crate::ids::{DeviceId, SessionId, new_device_id, session_of, wallet_address};
use crate::limits::{OFFER_AHEAD_MS_MAX, OFFER_MS};
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
    /// What this device has last signed in with on this connection.
    proof: Option<Signature>,
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
}

impl Stored {
    fn record(&self) -> IdentityRecord {
        let claim = self.claim.as_ref().map(Claim::to_bytes).unwrap_or_default();
        let account = self.account.as_ref().map(Account::to_bytes).unwrap_or_default();
        let relay_key = self.relay_key.map(Vec::from).unwrap_or_default();
        let Stored { is_listed, was_removed, .. } = *self;
        let mut secret = self.key.secret().to_vec();
        self.keys.iter().for_each(|keys| keys.put(&mut secret));
        IdentityRecord { secret, claim, is_listed, account, was_removed, relay_key }
    }
}

impl Identity {
    /// The identity that is stored, or a new one; `None` where there is nothing to make keys of. One whose secret is lost goes on
    /// under a new key, and keeps what it knows of others.
    pub fn load(domains: &[String], record: Option<IdentityRecord>, entropy: Option<[u8; 32]>) -> Option<Identity> {
        let (domains, entropy) = (DomainSet::new(domains.to_vec()).ok()?, entropy?);
        let mut drawn = 0;
        let IdentityRecord { secret, claim, is_listed, account, was_removed, relay_key } = record.unwrap_or_default();
        let (account, relay_key) = (Account::from_bytes(&account, &domains), relay_key.try_into().ok());
        let (key, keys, claim, is_listed) = match secret.split_first_chunk() {
            Some((secret, keys)) => (DeviceKey::from_secret(secret), Keys::take(keys).ok(), Claim::from_bytes(&claim).ok(), is_listed),
            None => (draw(&entropy, &mut drawn), None, None, false),
        };
        Some(Identity {
            domains,
            entropy,
            drawn,
            secrets: Cell::new(0),
            stored: Stored { key, claim, is_listed, account, was_removed, relay_key, keys },
            keys_are_new: false,
            next: None,
            shuts_out: false,
            shut_out: None,
            is_entering: false,
            shown_key: None,
            proof: None,
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
    fn draw_secret(&self) -> Secret {
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
    fn learn_keys(&self, vault: &dyn Vault, account: &Account) -> Result<Option<Keys>, (DeviceId, Fault)> {
        let Some(mut keys) = self.latest().keys.clone() else { return Ok(None) };
        keys.learn(vault, account, &self.device_id())?;
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

    /// The account has gone on; says whether it lists this device no longer.
    pub fn follow(&mut self, account: Account, vault: Option<&dyn Vault>, transaction: &mut Transaction) -> bool {
        let is_out = self.latest().is_listed && account.was_removed(&self.device_id());
        let learned = vault.map_or(Ok(None), |vault| self.learn_keys(vault, &account));
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
        transaction.has_keys |= keys != self.latest().keys;
        let stored = Stored { account: Some(account), keys, ..self.latest().clone() };
        // The relay would tell it again.
        self.store(stored, false, transaction);
        is_out
    }

    /// What was known of the account is asked for from the beginning.
    pub fn forget_account(&mut self, transaction: &mut Transaction) {
        let stored = Stored { account: None, ..self.latest().clone() };
        self.store(stored, false, transaction);
    }

    /// A connection begins.
    pub fn meet(&mut self) {
        self.proof = None;
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
        self.store(Stored { key, claim, is_listed: false, keys, ..before }, true, transaction);
        device_id
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

impl Client {
    /// The session of two wallets: where devices have keys, that of the application.
    pub(super) fn session_of(&self, wallet: &str, peer_wallet: &str) -> SessionId {
        let own = self.identity.as_ref().and_then(|identity| identity.session_of(wallet, peer_wallet, self.vault.is_some()));
        own.unwrap_or_else(|| session_of(wallet, peer_wallet))
    }

    /// What the connected wallet must sign before this device can sign in, on a page of this domain; `None` where it need
    /// not: it has, or nobody signs in here. It may sign a reset at any time: where the device is known, that is for its next key.
    pub fn offer(&self, now: Now, domain: &str, purpose: Purpose) -> Option<Offer> {
        let identity = self.identity.as_ref().filter(|identity| identity.domains.has(domain))?;
        let is_known = identity.stored.claim.is_some() || identity.stored.is_listed;
        if is_known && purpose == Purpose::Join {
            return None;
        }
        let key = if is_known { identity.next_key() } else { identity.stored.key.clone() };
        let owner = identity.owner(self.wallet.as_deref()?)?;
        // A wallet that looks at the time looks at this device's clock, which only then is not asked where it is far off.
        let is_off = identity.ahead_ms.unsigned_abs() > OFFER_AHEAD_MS_MAX;
        let issued_ms = if is_off { identity.relay_ms(now) } else { now.wall_ms };
        let (device, expires_ms) = (key.public(), issued_ms + OFFER_MS);
        Some(Offer {
            domain: domain.to_owned(),
            wallet: owner.wallet,
            account_id: owner.account_id,
            device,
            purpose,
            issued_ms,
            expires_ms,
        })
    }

    /// The wallet has signed.
    pub(super) fn certify(&mut self, now: Now, certificate: &Certificate, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        let wallet = self.wallet_for_call()?.clone();
        let identity = self.identity.as_mut().ok_or_else(nobody_signs_in)?;
        let owner = Owner::new(&wallet, identity.domains.clone())?;
        let at_ms = identity.relay_ms(now);
        let (mut key, next) = (identity.latest().key.clone(), identity.next_key());
        let claim = match certificate.check(&owner, Purpose::Join, &key.public(), at_ms) {
            Ok(_) => Claim::Join(certificate.clone()),
            Err(error) => {
                if error.code == ErrorCode::WrongKey && certificate.check(&owner, Purpose::Reset, &next.public(), at_ms).is_ok() {
                    // It goes on under the key that the wallet has signed for.
                    key = draw(&identity.entropy, &mut identity.drawn);
                    transaction.replace_device(key.device_id());
                } else if error.code == ErrorCode::WrongPurpose {
                    certificate.check(&owner, Purpose::Reset, &key.public(), at_ms)?;
                } else {
                    return Err(error);
                }
                Claim::Reset(certificate.clone())
            }
        };
        let stored = Stored { key, claim: Some(claim), is_listed: false, was_removed: false, ..identity.latest().clone() };
        identity.store(stored, true, transaction);
        Ok(Reply::Done)
    }

    /// The device of a transaction takes a new id; the one that it gets.
    pub(super) fn new_id_for(&mut self, drawn: DeviceId, transaction: &mut Transaction) -> DeviceId {
        match &mut self.identity {
            // The key may have been there before, or was signed for: then it is the id that follows.
            Some(identity) if identity.latest().key.device_id() != drawn => identity.replace_key(self.wallet.as_deref(), transaction),
            Some(identity) => {
                identity.store(identity.latest().clone(), true, transaction);
                drawn
            }
            None => drawn,
        }
    }

    /// Whether the device before this one was removed from the account, and the wallet has not signed since.
    pub fn was_removed(&self) -> bool {
        self.writing_refusal().is_some()
    }

    /// Why the relay does not serve this device until its wallet signs: it has not (`SIGN_IN_REQUIRED`), or the device was removed
    /// (`DEVICE_REMOVED`). `None` where it need not.
    pub fn sign_in_needed(&self) -> Option<ErrorCode> {
        let identity = self.identity.as_ref().filter(|_| self.wallet.is_some())?;
        let refusal = identity.refusal().map(|refusal| refusal.code);
        refusal.filter(|code| matches!(code, ErrorCode::SignInRequired | ErrorCode::DeviceRemoved))
    }

    /// Why a device that was removed writes nothing: nobody shall wait for what it says. `None` where it may.
    pub(super) fn writing_refusal(&self) -> Option<SyncError> {
        self.identity.as_ref().and_then(Identity::refusal).filter(|error| error.code == ErrorCode::DeviceRemoved)
    }

    /// The account lists this device no longer, and never will again. It goes on as a new one, which the wallet must sign for.
    pub(super) fn leave_account(&mut self, transaction: &mut Transaction) {
        if let Some(identity) = &mut self.identity {
            let stored = Stored { claim: None, is_listed: false, was_removed: true, ..identity.latest().clone() };
            identity.store(stored, true, transaction);
            transaction.replace_device(new_device_id(&mut self.random));
            transaction.tell(Event::SignInNeeded { error: Some(removed()) });
        }
    }

    /// The relay says what to sign.
    pub(super) fn take_hello(&mut self, now: Now, hello: &Hello, transaction: &mut Transaction, actions: &mut Vec<Action>) {
        if !self.link.is_greeting() {
            return;
        }
        let Some(identity) = &mut self.identity else { return };
        if identity.device_id() != self.device.device_id {
            // The database is older than its key, or has lost it.
            return transaction.replace_device(identity.device_id());
        }
        let known = self.config.relay_key.or(identity.latest().relay_key);
        let is_it = |known: PublicKey| known == hello.relay_key || is_successor(&known, &hello.relay_key, &hello.earlier);
        if !known.is_none_or(is_it) {
            let key = wallet_address(&hello.relay_key);
            let message = format!("the relay has another key than it had: if its operator says so, set the option relayKey to {key}");
            let error = SyncError::new(ErrorCode::RelayKeyChanged, message);
            identity.shut_out = Some(error.clone());
            return actions.push(Action::Notify(Event::Warning { error }));
        }
        identity.shown_key = Some(hello.relay_key);
        if identity.latest().relay_key != Some(hello.relay_key) {
            let stored = Stored { relay_key: Some(hello.relay_key), ..identity.latest().clone() };
            identity.store(stored, false, transaction);
        }
        identity.ahead_ms = hello.time.cast_signed().saturating_sub(now.wall_ms.cast_signed());
        let Stored { key, claim, is_listed, .. } = &identity.stored;
        let owner = self.wallet.as_deref().and_then(|wallet| identity.owner(wallet));
        let can_prove = claim.is_some() || (*is_listed && hello.account.is_none());
        let Some(owner) = owner.filter(|_| can_prove) else {
            // Its sessions are of devices that have signed in, also where the relay serves others too.
            identity.shut_out = Some(unsigned());
            return actions.push(Action::Notify(Event::SignInNeeded { error: None }));
        };
        let challenge = Challenge { relay: self.config.relay_name.clone(), relay_key: hello.relay_key, nonce: hello.nonce };
        let after = hello.account.unwrap_or_else(|| Account::new(owner.clone()).head());
        identity.is_entering = !is_listed || hello.account.is_some();
        let entry = claim
            .clone()
            .filter(|_| identity.is_entering)
            .map(|claim| Statement::sign(key, &owner, after, claim).entry(&owner, 1, now.wall_ms));
        let said = SignIn {
            proof: challenge.prove(&owner.account_id, key),
            wallet: owner.wallet,
            domains: identity.domains.iter().map(str::to_owned).collect(),
            key: key.public(),
            relay: challenge.relay,
            nonce: challenge.nonce,
            messages: entry.and_then(|entry| Batch::of(&[entry]).ok()).unwrap_or_default(),
        };
        identity.proof = Some(said.proof);
        self.transmit(now, Body::SignIn(said), actions);
    }

    /// The relay knows the device.
    pub(super) fn take_signed_in(&mut self, now: Now, said: &SignedIn, transaction: &mut Transaction, actions: &mut Vec<Action>) {
        if !self.link.is_greeting() {
            return;
        }
        let known = self.identity.as_ref().and_then(|identity| identity.relay_key(self.config.relay_key).zip(identity.proof));
        if known.is_none_or(|(relay, proof)| check_greeting(&relay, &proof, &said.greeting).is_err()) {
            return transaction.distrust("the relay does not prove that it has the key that it shows".into());
        }
        if let Some(identity) = self.identity.as_mut().filter(|identity| !identity.latest().is_listed || identity.keys_are_new) {
            let stored = Stored { is_listed: true, ..identity.latest().clone() };
            // The relay would say it again.
            identity.store(stored, false, transaction);
        }
        self.hear_of_account(said.account, transaction);
        self.link.prove();
        self.begin(now, actions);
    }

    /// The relay refuses the device; says whether that is what it refuses.
    pub(super) fn take_sign_in_refusal(&mut self, refusal: &ErrorBody, transaction: &mut Transaction) -> bool {
        let is_greeting = self.link.is_greeting();
        let Some(identity) = self.identity.as_mut().filter(|_| is_greeting || refusal.code == ErrorCode::DeviceRemoved) else {
            return false;
        };
        let error = SyncError::new(refusal.code, refusal.error.clone());
        match refusal.code {
            // It says what to sign once more.
            ErrorCode::NonceExpired => return true,
            ErrorCode::DeviceRemoved => {
                self.leave_account(transaction);
                return true;
            }
            ErrorCode::InvalidCertificate
            | ErrorCode::WrongKey
            | ErrorCode::WrongDomain
            | ErrorCode::WrongPurpose
            | ErrorCode::CertificateExpired
            | ErrorCode::InvalidKey
            | ErrorCode::InvalidSignature
                if identity.is_entering =>
            {
                // Another certificate may be taken.
                let stored = Stored { claim: None, is_listed: false, ..identity.latest().clone() };
                identity.store(stored, false, transaction);
                // Only when that is stored and told: otherwise the relay refuses it once more.
                identity.shuts_out = true;
                transaction.tell(Event::SignInNeeded { error: Some(error) });
                transaction.reconnect("the relay did not take the certificate".into());
                return true;
            }
            _ => {}
        }
        transaction.reconnect(error.message.clone());
        transaction.tell(Event::Warning { error });
        true
    }
}
