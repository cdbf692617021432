//! The recovery code of the connected wallet: what a person keeps to come back where no other device is. It is shown once, and
//! neither stored nor sent. What the account has of it is a recovery key.

use super::Client;
use super::api::Reply;
use super::devices::{Step, Wanted};
use super::identity::{Identity, nobody_signs_in};
use super::keys::{Keys, failed};
use super::vault::{Fault, Secret, Vault};
use super::views::RecoveryView;
use crate::error::{ErrorCode, SyncError};
use crate::identity::{Account, Claim, DeviceKey, NewRecoveryKey, Recovery, RecoveryKey, RecoveryKind};
use crate::ids::DeviceId;

/// The keys that a code is for the account.
pub(super) struct RecoveryKeys {
    /// The id of the recovery key.
    pub id: DeviceId,
    /// What is sealed to it opens with this.
    pub seal: Secret,
    signing: DeviceKey,
}

impl Client {
    /// The recovery code of the connected wallet; `None` where its account has none.
    pub fn recovery(&self) -> Option<RecoveryView> {
        recovery_of(self.identity.as_ref()?.account(self.wallet.as_deref()?)?)
    }

    /// A new code.
    pub(super) fn new_code(&self) -> Result<Wanted, SyncError> {
        let (identity, vault, _) = self.for_codes()?;
        let random = identity.draw_random();
        let random = random.first_chunk().copied().unwrap_or_default();
        let code = vault.recovery_code(&random).map_err(failed)?;
        let keys = self.keys_of(&code)?;
        Ok(Wanted::Code { code, keys, is_listed: false })
    }

    /// What a person has typed.
    pub(super) fn typed_code(&self, code: &str) -> Result<Wanted, SyncError> {
        self.keys_of(code).map(Wanted::Recovered)
    }

    fn for_codes(&self) -> Result<(&Identity, &dyn Vault, &str), SyncError> {
        let wallet = self.wallet_for_call()?;
        let identity = self.identity.as_ref().ok_or_else(nobody_signs_in)?;
        let unset = || SyncError::new(ErrorCode::InvalidArgument, "recovery codes are for encrypted sessions: set the option `encryption`");
        Ok((identity, self.vault.as_deref().ok_or_else(unset)?, wallet))
    }

    fn keys_of(&self, code: &str) -> Result<RecoveryKeys, SyncError> {
        let (identity, vault, wallet) = self.for_codes()?;
        let account_id = identity.owner(wallet).map(|owner| owner.account_id).unwrap_or_default();
        let (seal, signing) = vault.recovery_keys(code, &account_id).map_err(|fault| match fault {
            Fault::Failed => failed(fault),
            _ => mistyped(code),
        })?;
        let signing = DeviceKey::from_secret(&signing);
        Ok(RecoveryKeys { id: signing.device_id(), seal, signing })
    }
}

/// The code that an account has.
pub(super) fn recovery_of(account: &Account) -> Option<RecoveryView> {
    codes(account).next_back().map(|key| RecoveryView { created_at: key.listed_ms })
}

/// The recovery keys that are made of codes.
fn codes(account: &Account) -> impl DoubleEndedIterator<Item = &RecoveryKey> {
    account.recovery_keys().iter().filter(|key| key.kind == RecoveryKind::Code)
}

/// Which character it is cannot be said: two wrong ones look like another wrong one.
fn mistyped(code: &str) -> SyncError {
    let count = code.chars().filter(|typed| !matches!(typed, '-' | ' ')).count();
    let message = if count == 28 { "a character is wrong".into() } else { format!("it has {count} characters in place of 28") };
    SyncError::new(ErrorCode::InvalidRecoveryCode, format!("this is no recovery code: {message}"))
}

impl RecoveryKeys {
    /// Whether the account lists them.
    pub fn is_listed(&self, account: &Account) -> bool {
        codes(account).any(|key| key.id == self.id)
    }

    /// A code that has just been made is listed first, and the one before it leaves then: so there is always one that opens.
    pub fn list(
        &self,
        (code, was_listed): (&str, bool),
        keys: &Keys,
        vault: &dyn Vault,
        account: &Account,
        random: &[u8; 64],
    ) -> Result<Step, SyncError> {
        let earlier: Vec<DeviceId> = codes(account).map(|key| key.id.clone()).filter(|id| *id != self.id).collect();
        let holding = account.generation_at(account.head().sequence);
        let Some((newest, secret)) = holding.and_then(|newest| Some((newest, keys.account_key(newest.number)?))) else {
            return Ok(Step::Wait);
        };
        if !self.is_listed(account) {
            if was_listed {
                let message = "another device has made a recovery code at the same time: its code counts, or make another one";
                return Err(SyncError::new(ErrorCode::AccountMoved, message));
            }
            let seal_key = vault.public_of(&self.seal).map_err(failed)?;
            let random = random.first_chunk().copied().unwrap_or_default();
            let account_id = &account.owner().account_id;
            let sealed = vault.hand_over(account_id, newest.number, secret, &seal_key, &random).map_err(failed)?;
            let (kind, key) = (RecoveryKind::Code, self.signing.public());
            return Ok(Step::Say(Claim::RecoveryKey(NewRecoveryKey { kind, key, seal_key, sealed })));
        }
        if earlier.is_empty() {
            return Ok(Step::Done(Reply::RecoveryCode(code.into())));
        }
        // Who came back by it stays.
        let kept: Vec<DeviceId> = account.devices().iter().map(|device| device.id.clone()).collect();
        let generation = keys.generation(vault, account, (&earlier, &kept), random)?;
        Ok(Step::Say(Claim::RemoveAndRenew { devices: earlier, kept, generation }))
    }

    /// This device is approved by the code, and learns the account's keys by it.
    pub fn recover(&self, keys: &Keys, account: &Account, own: &DeviceKey, was_said: bool) -> Result<Step, SyncError> {
        let device = account.device(&own.device_id());
        let device = device.ok_or_else(|| SyncError::new(ErrorCode::SignInRequired, "this device has not signed in: call signIn()"))?;
        if !was_said && !self.is_listed(account) {
            let message = "the account has no such recovery code: another one took its place, or the device that made it was removed";
            return Err(SyncError::new(ErrorCode::UnknownRecoveryCode, message));
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
