//! The recovery code and the passkey of the connected wallet: what a person keeps to come back where no other device is. A code is shown
//! once, a passkey stays with what the person unlocks it by; neither is stored here or sent. What the account has of each is a recovery
//! key.

use super::Client;
use super::api::Reply;
use super::devices::{Step, Wanted, keyless, not_approved, unsigned};
use super::identity::{Identity, nobody_signs_in};
use super::keys::{Keys, failed};
use super::vault::{Fault, Secret, Vault};
use super::views::{RecoveryKeyView, RecoveryView};
use crate::error::{ErrorCode, SyncError};
use crate::identity::{Account, Claim, DeviceKey, NewRecoveryKey, Recovery, RecoveryKind};
use crate::ids::DeviceId;
use crate::time::Now;

/// The keys that a code or a passkey is for the account.
pub(super) struct RecoveryKeys {
    /// What they are made of.
    kind: RecoveryKind,
    /// The id of the recovery key.
    pub id: DeviceId,
    /// What is sealed to it opens with this.
    pub seal: Secret,
    signing: DeviceKey,
}

impl Client {
    /// The recovery code and the passkey of the connected wallet.
    pub fn recovery(&self) -> RecoveryView {
        let account = self.identity.as_ref().and_then(|identity| identity.account(self.wallet.as_deref()?));
        account.map(recovery_of).unwrap_or_default()
    }

    /// Somebody wants to know whether a person is to be asked for a passkey. They are there, and wait for no connection.
    pub(super) fn asking(&self, makes: bool) -> Result<Wanted, SyncError> {
        self.for_recovery()?;
        self.may_wish()?;
        if !self.link.is_open() {
            return Err(SyncError::new(ErrorCode::RelayDisconnected, "a passkey needs the relay"));
        }
        Ok(Wanted::Asked { makes })
    }

    /// Whether they are.
    pub(super) fn needs_passkey(&self, now: Now, account: &Account, makes: bool) -> Result<bool, SyncError> {
        let (identity, ..) = self.for_recovery()?;
        let is_approved = account.device(&self.device.device_id).is_some_and(|own| own.is_approved);
        let has_newest = identity.keys().is_some_and(|keys| keys.has_newest(account));
        if !makes {
            let is_there = || if recovery_of(account).passkey.is_some() { Ok(true) } else { Err(unlisted()) };
            return if is_approved && has_newest { Ok(false) } else { is_there() };
        }
        if !is_approved {
            return Err(not_approved());
        }
        if !has_newest {
            return Err(keyless());
        }
        if !account.takes_recovery_key(identity.relay_ms(now)) {
            return Err(SyncError::new(ErrorCode::LimitReached, "the account takes no more recovery codes and passkeys now"));
        }
        Ok(true)
    }

    /// A new code.
    pub(super) fn new_code(&self) -> Result<Wanted, SyncError> {
        let (identity, vault, _) = self.for_recovery()?;
        let random = identity.draw_random();
        let random = random.first_chunk().copied().unwrap_or_default();
        let code = vault.recovery_code(&random).map_err(failed)?;
        let keys = self.keys_of_code(&code)?;
        Ok(Wanted::Listed { keys, code: Some(code), is_listed: false })
    }

    /// A new passkey.
    pub(super) fn new_passkey(&self, output: &Secret) -> Result<Wanted, SyncError> {
        Ok(Wanted::Listed { keys: self.keys_of_passkey(output)?, code: None, is_listed: false })
    }

    /// What keys are made with, and the account that they are for.
    fn for_recovery(&self) -> Result<(&Identity, &dyn Vault, String), SyncError> {
        let wallet = self.wallet_for_call()?;
        let identity = self.identity.as_ref().ok_or_else(nobody_signs_in)?;
        let account_id = identity.owner(wallet).map(|owner| owner.account_id).unwrap_or_default();
        let message = "recovery codes and passkeys are for encrypted sessions: set the option `encryption`";
        let unset = || SyncError::new(ErrorCode::InvalidArgument, message);
        Ok((identity, self.vault.as_deref().ok_or_else(unset)?, account_id))
    }

    /// The keys of what a person has typed.
    pub(super) fn keys_of_code(&self, code: &str) -> Result<RecoveryKeys, SyncError> {
        let (_, vault, account_id) = self.for_recovery()?;
        let secrets = vault.recovery_keys(code, &account_id).map_err(|fault| match fault {
            Fault::Failed => failed(fault),
            _ => mistyped(code),
        })?;
        Ok(RecoveryKeys::new(RecoveryKind::Code, secrets))
    }

    /// The keys of what a passkey gives.
    pub(super) fn keys_of_passkey(&self, output: &Secret) -> Result<RecoveryKeys, SyncError> {
        let (_, vault, account_id) = self.for_recovery()?;
        Ok(RecoveryKeys::new(RecoveryKind::Passkey, vault.passkey_keys(output, &account_id).map_err(failed)?))
    }
}

/// What an account has to come back by.
pub(super) fn recovery_of(account: &Account) -> RecoveryView {
    let newest = |kind| {
        let key = account.recovery_keys().iter().rfind(|key| key.kind == kind);
        key.map(|key| RecoveryKeyView { created_at: key.listed_ms })
    };
    RecoveryView { code: newest(RecoveryKind::Code), passkey: newest(RecoveryKind::Passkey) }
}

fn unlisted() -> SyncError {
    let message = "the account has no such recovery code or passkey: another one took its place, or the device that made it was removed";
    SyncError::new(ErrorCode::UnknownRecoveryCode, message)
}

/// Which character it is cannot be said: two wrong ones look like another wrong one.
fn mistyped(code: &str) -> SyncError {
    let count = code.chars().filter(|typed| !matches!(typed, '-' | ' ')).count();
    let message = if count == 28 { "a character is wrong".into() } else { format!("it has {count} characters in place of 28") };
    SyncError::new(ErrorCode::InvalidRecoveryCode, format!("this is no recovery code: {message}"))
}

impl RecoveryKeys {
    fn new(kind: RecoveryKind, (seal, signing): (Secret, Secret)) -> RecoveryKeys {
        let signing = DeviceKey::from_secret(&signing);
        RecoveryKeys { kind, id: signing.device_id(), seal, signing }
    }

    /// Whether the account lists them.
    pub fn is_listed(&self, account: &Account) -> bool {
        account.recovery_keys().iter().any(|key| key.id == self.id)
    }

    /// What has just been made is listed first, and the one of its kind before it leaves then: so there is always one that opens.
    pub fn list(
        &self,
        (code, was_listed): (Option<&String>, bool),
        keys: &Keys,
        vault: &dyn Vault,
        account: &Account,
        random: &[u8; 64],
    ) -> Result<Step, SyncError> {
        // Of two that are made at once the newer one stays, whichever device is quicker, and a call that is made again removes no newer one.
        let earlier = account.recovery_keys().iter().take_while(|key| key.id != self.id).filter(|key| key.kind == self.kind);
        let earlier: Vec<DeviceId> = earlier.map(|key| key.id.clone()).collect();
        let holding = account.generation_at(account.head().sequence);
        let Some((newest, secret)) = holding.and_then(|newest| Some((newest, keys.account_key(newest.number)?))) else {
            return Ok(Step::Wait);
        };
        if !self.is_listed(account) {
            if was_listed {
                let message = "another device has made one at the same time: that one counts, or make another one";
                return Err(SyncError::new(ErrorCode::AccountMoved, message));
            }
            let seal_key = vault.public_of(&self.seal).map_err(failed)?;
            let random = random.first_chunk().copied().unwrap_or_default();
            let account_id = &account.owner().account_id;
            let sealed = vault.hand_over(account_id, newest.number, secret, &seal_key, &random).map_err(failed)?;
            let key = self.signing.public();
            return Ok(Step::Say(Claim::RecoveryKey(NewRecoveryKey { kind: self.kind, key, seal_key, sealed })));
        }
        if earlier.is_empty() {
            return Ok(Step::Done(code.map_or(Reply::Done, |code| Reply::RecoveryCode(code.clone()))));
        }
        // Who came back by it stays.
        let kept: Vec<DeviceId> = account.devices().iter().map(|device| device.id.clone()).collect();
        let generation = keys.generation(vault, account, (&earlier, &kept), random)?;
        Ok(Step::Say(Claim::RemoveAndRenew { devices: earlier, kept, generation }))
    }

    /// This device is approved by them, and learns the account's keys by them.
    pub fn recover(&self, keys: &Keys, account: &Account, own: &DeviceKey, was_said: bool) -> Result<Step, SyncError> {
        let device = account.device(&own.device_id());
        let device = device.ok_or_else(unsigned)?;
        if !was_said && !self.is_listed(account) {
            return Err(unlisted());
        }
        if !device.is_approved {
            let recovery = Recovery::sign(&self.signing, account.owner(), &account.head(), &own.public());
            return Ok(Step::Say(Claim::Recover(recovery)));
        }
        if keys.has_newest(account) {
            return Ok(Step::Done(Reply::Done));
        }
        // It was closed in the midst of it, maybe.
        if was_said { Err(failed(Fault::NotOpened)) } else { Ok(Step::Learn) }
    }
}
