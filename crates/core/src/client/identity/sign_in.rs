//! Signing in: what the application and its wallet give, what the relay asks and says, and what is said to it.

use super::{Identity, Stored, draw, mismatch, nobody_signs_in, removed, unsigned};
use crate::batch::Batch;
use crate::client::Client;
use crate::client::api::{Action, Event, Reply};
use crate::client::transaction::Transaction;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ErrorBody, Hello, SignIn, SignedIn};
use crate::identity::{
    Account, Certificate, Challenge, Claim, Offer, Owner, PublicKey, Purpose, Statement, check_greeting, is_successor, said_digest,
};
use crate::ids::{DeviceId, SessionId, is_sealed_id, is_session_id, new_device_id, session_of, wallet_address};
use crate::limits::{OFFER_AHEAD_MS_MAX, OFFER_MS};
use crate::time::Now;

impl Client {
    /// The session of two wallets: where devices have keys, that of the application, encrypted or not as the application wants it.
    pub(in crate::client) fn session_of(&self, wallet: &str, peer_wallet: &str) -> SessionId {
        let [plain, sealed] = self.sessions_of(wallet, peer_wallet);
        if self.vault.is_some() { sealed } else { plain }
    }

    /// The session of two wallets that is not encrypted, and the one that is.
    pub(in crate::client) fn sessions_of(&self, wallet: &str, peer_wallet: &str) -> [SessionId; 2] {
        let own = |is_sealed| self.identity.as_ref().and_then(|identity| identity.session_of(wallet, peer_wallet, is_sealed));
        [false, true].map(|is_sealed| own(is_sealed).unwrap_or_else(|| session_of(wallet, peer_wallet)))
    }

    /// Whether this application writes in a session that it has: in encrypted ones alone, or in others alone.
    ///
    /// # Errors
    /// `ENCRYPTION_MISMATCH`.
    pub(in crate::client) fn check_encryption(&self, session_id: &str) -> Result<(), SyncError> {
        // Another text names no session, of either kind.
        if !is_session_id(session_id) {
            return Ok(());
        }
        self.check_encryption_with(session_id, self.sessions.get(session_id).map_or("", |session| session.peer_wallet()))
    }

    /// The same of any session, with this wallet; empty where none is known, or many are in it.
    ///
    /// # Errors
    /// `ENCRYPTION_MISMATCH`.
    pub(in crate::client) fn check_encryption_with(&self, session_id: &str, peer_wallet: &str) -> Result<(), SyncError> {
        let is_sealed = is_sealed_id(session_id);
        if is_sealed == self.vault.is_some() { Ok(()) } else { Err(mismatch(is_sealed, peer_wallet)) }
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
    pub(in crate::client) fn certify(
        &mut self,
        now: Now,
        certificate: &Certificate,
        transaction: &mut Transaction,
    ) -> Result<Reply, SyncError> {
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
    pub(in crate::client) fn new_id_for(&mut self, drawn: DeviceId, transaction: &mut Transaction) -> DeviceId {
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
    pub(in crate::client) fn writing_refusal(&self) -> Option<SyncError> {
        self.identity.as_ref().and_then(Identity::refusal).filter(|error| error.code == ErrorCode::DeviceRemoved)
    }

    /// The account lists this device no longer, and never will again. It goes on as a new one, which the wallet must sign for.
    pub(in crate::client) fn leave_account(&mut self, transaction: &mut Transaction) {
        if let Some(identity) = &mut self.identity {
            let stored = Stored { claim: None, is_listed: false, was_removed: true, ..identity.latest().clone() };
            identity.store(stored, true, transaction);
            transaction.replace_device(new_device_id(&mut self.random));
            transaction.tell(Event::SignInNeeded { error: Some(removed()) });
        }
    }

    /// The relay says what to sign.
    pub(in crate::client) fn take_hello(&mut self, now: Now, hello: &Hello, transaction: &mut Transaction, actions: &mut Vec<Action>) {
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
        identity.ahead_ms = hello.time.cast_signed().saturating_sub(now.wall_ms.cast_signed());
        let Stored { key, claim, is_listed, .. } = &identity.stored;
        let owner = self.wallet.as_deref().and_then(|wallet| identity.owner(wallet));
        let can_prove = claim.is_some() || (*is_listed && hello.account.is_none());
        let Some(owner) = owner.filter(|_| can_prove) else {
            // Its sessions are of devices that have signed in, also where the relay serves others too.
            identity.shut_out = Some(unsigned());
            return actions.push(Action::Notify(Event::SignInNeeded { error: None }));
        };
        let mut device_nonce = [0; 16];
        self.random.fill(&mut device_nonce);
        let Hello { relay_key, nonce, .. } = *hello;
        let challenge = Challenge { relay: self.config.relay_name.clone(), relay_key, nonce, device_nonce };
        let after = hello.account.unwrap_or_else(|| Account::new(owner.clone()).head());
        identity.is_entering = !is_listed || hello.account.is_some();
        let entry = claim
            .clone()
            .filter(|_| identity.is_entering)
            .map(|claim| Statement::sign(key, &owner, after, claim).entry(&owner, 1, now.wall_ms));
        let known = identity.known_account(&owner.wallet).map_or(0, |account| account.head().sequence);
        let entry_digest = said_digest(entry.as_ref());
        let said = SignIn {
            proof: challenge.prove(&owner.account_id, key),
            wallet: owner.wallet,
            domains: identity.domains.iter().map(str::to_owned).collect(),
            key: key.public(),
            relay: challenge.relay,
            nonce,
            device_nonce,
            messages: entry.and_then(|entry| Batch::of(&[entry]).ok()).unwrap_or_default(),
            known,
        };
        (identity.proof, identity.refused) = (Some((said.proof, entry_digest)), None);
        self.transmit(now, Body::SignIn(said), actions);
    }

    /// The relay knows the device.
    pub(in crate::client) fn take_signed_in(
        &mut self,
        now: Now,
        said: &SignedIn,
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) {
        if !self.link.is_greeting() {
            return;
        }
        let relay_key = self.config.relay_key;
        let is_proven = |identity: &&mut Identity| {
            let known = identity.relay_key(relay_key).zip(identity.proof);
            known.is_some_and(|(relay, (proof, entry))| {
                let refused = said.refused.as_deref().map(|code| (code, &entry));
                check_greeting(&relay, &proof, said.account.as_ref(), refused, &said.greeting).is_ok()
            })
        };
        let Some(identity) = self.identity.as_mut().filter(is_proven) else {
            return transaction.distrust("the relay does not prove that it has the key that it shows".into());
        };
        if identity.latest().relay_key != identity.shown_key {
            let stored = Stored { relay_key: identity.shown_key, ..identity.latest().clone() };
            identity.store(stored, false, transaction);
        }
        if let Some(code) = &said.refused {
            identity.refused = Some(ErrorCode::named(code));
            // For who was removed, the log follows, which shows it.
            return self.hear_of_account(said.account, transaction);
        }
        if !identity.latest().is_listed || identity.keys_are_new {
            let stored = Stored { is_listed: true, ..identity.latest().clone() };
            // The relay would say it again.
            identity.store(stored, false, transaction);
        }
        self.hear_of_account(said.account, transaction);
        self.link.prove();
        self.begin(now, actions);
    }

    /// The relay refuses the device; says whether that is what it refuses.
    pub(in crate::client) fn take_sign_in_refusal(&mut self, refusal: &ErrorBody, transaction: &mut Transaction) -> bool {
        let is_greeting = self.link.is_greeting();
        let Some(identity) = self.identity.as_mut().filter(|_| is_greeting || refusal.code == ErrorCode::DeviceRemoved) else {
            return false;
        };
        let error = SyncError::new(refusal.code, refusal.error.clone());
        match refusal.code {
            // It says what to sign once more.
            ErrorCode::NonceExpired => return true,
            // The account's log has shown it before, or it is not so. On an open connection it may not have come so far.
            ErrorCode::DeviceRemoved => {
                if !identity.latest().was_removed {
                    let message = "the relay says that this device was removed, and does not show the entry that removes it";
                    if is_greeting && self.devices.halted.is_none() {
                        transaction.distrust(message.into());
                    } else {
                        transaction.reconnect(message.into());
                    }
                }
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
                if identity.refused != Some(refusal.code) {
                    transaction.distrust("the certificate is refused for a reason that the relay has not signed".into());
                    return true;
                }
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
