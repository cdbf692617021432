//! What the application asks of the account: what is to be said for each wish, and what it is answered.

use super::{Devices, not_approved};
use crate::client::Client;
use crate::client::api::{Action, Reply, RequestId};
use crate::client::identity::nobody_signs_in;
use crate::client::recovery::RecoveryKeys;
use crate::error::{ErrorCode, SyncError};
use crate::identity::{Account, Claim};
use crate::ids::DeviceId;
use crate::limits::ACCOUNT_WISHES_MAX;
use crate::time::Now;

/// What the application wants different.
pub(in crate::client) enum Wanted {
    /// This device is approved.
    Approved(DeviceId),
    /// This one is listed no longer.
    Removed(DeviceId),
    /// These recovery keys, of this code or of a passkey, are the only ones of their kind. `is_listed`: the account has said that they are
    /// there.
    Listed { keys: RecoveryKeys, code: Option<String>, is_listed: bool },
    /// This device has come back by a recovery code or a passkey.
    Recovered(RecoveryKeys),
    /// Nothing: it is asked whether a person is to give a passkey.
    Asked { makes: bool },
}

/// What is to be done next for a wish.
pub(in crate::client) enum Step {
    /// This is to be said.
    Say(Claim),
    /// The account is so.
    Done(Reply),
    /// The account's keys are opened with the next answer of the relay.
    Learn,
    /// First this device must have the account's key.
    Wait,
}

/// It is to be so.
pub(super) struct Wish {
    pub(super) request: RequestId,
    pub(super) wanted: Wanted,
    /// The frame that says so.
    pub(super) said: Option<String>,
    /// How often it was said.
    pub(super) tries: u8,
}

impl Client {
    /// The account is to be so, unless what was asked for is wrong.
    pub(in crate::client) fn wish(&mut self, now: Now, request: RequestId, wanted: Result<Wanted, SyncError>, actions: &mut Vec<Action>) {
        let refusal = wanted.as_ref().err().cloned().or_else(|| self.may_wish().err());
        match refusal.map_or(wanted, Err) {
            Ok(wanted) => {
                self.devices.wishes.push_back(Wish { request, wanted, said: None, tries: 0 });
                self.link.hurry(now);
                self.advance_devices(now, actions);
            }
            Err(error) => actions.push(Action::Reply { request, result: Err(error) }),
        }
    }

    /// Whether something may be asked for.
    ///
    /// # Errors
    /// Why not.
    pub(in crate::client) fn may_wish(&self) -> Result<(), SyncError> {
        self.wallet_for_call()?;
        let refusal = self.identity.is_none().then(nobody_signs_in);
        refusal.or_else(|| self.offline_reason()).or_else(|| self.devices.crowd()).map_or(Ok(()), Err)
    }

    pub(super) fn conclude_wish(&mut self, result: Result<Reply, SyncError>, actions: &mut Vec<Action>) {
        actions.extend(self.devices.wishes.pop_front().map(|wish| Action::Reply { request: wish.request, result }));
    }

    /// What is to be done next for a wish.
    pub(super) fn step_of(&self, now: Now, wish: &Wish, account: &Account, random: &[u8; 64]) -> Result<Step, SyncError> {
        if let Wanted::Asked { makes } = wish.wanted {
            return self.needs_passkey(now, account, makes).map(|is_needed| Step::Done(Reply::Needed(is_needed)));
        }
        let own = &self.device.device_id;
        let vault = self.identity.as_ref().and_then(|identity| Some((identity.keys()?, self.vault.as_deref()?, identity.key_of(own)?)));
        let (wanted, was_said) = (&wish.wanted, wish.said.is_some());
        let claim = claim_of(wanted, account, own)?;
        let Some((keys, vault, key)) = vault else { return Ok(claim.map_or(Step::Done(Reply::Done), Step::Say)) };
        Ok(match (wanted, claim) {
            (Wanted::Listed { keys: made, code, is_listed }, _) => made.list((code.as_ref(), *is_listed), keys, vault, account, random)?,
            (Wanted::Recovered(by), _) => by.recover(keys, account, key, was_said)?,
            (_, Some(Claim::Approve(devices))) => {
                Step::Say(keys.approval(vault, account, &devices, random)?.unwrap_or(Claim::Approve(devices)))
            }
            // Who removes itself makes no key.
            (_, Some(Claim::Remove { devices, kept })) if !kept.is_empty() && keys.leaves_renewing(account, own, (&devices, &kept)) => {
                Step::Wait
            }
            (_, Some(Claim::Remove { devices, kept })) if !kept.is_empty() && account.seal_key(own).is_some() => {
                let generation = keys.generation(vault, account, (&devices, &kept), random)?;
                Step::Say(Claim::RemoveAndRenew { devices, kept, generation })
            }
            (_, claim) => claim.map_or(Step::Done(Reply::Done), Step::Say),
        })
    }

    /// Nothing more of what was asked for is done.
    pub(in crate::client) fn fail_wishes(&mut self, error: &SyncError, actions: &mut Vec<Action>) {
        let wishes = std::mem::take(&mut self.devices.wishes);
        actions.extend(wishes.into_iter().map(|wish| Action::Reply { request: wish.request, result: Err(error.clone()) }));
    }
}

impl Devices {
    /// Why nothing more may be asked for now.
    pub(super) fn crowd(&self) -> Option<SyncError> {
        let message = || format!("{ACCOUNT_WISHES_MAX} changes of the account wait for the relay already: wait for their answers");
        (self.wishes.len() >= ACCOUNT_WISHES_MAX).then(|| SyncError::new(ErrorCode::LimitReached, message()))
    }

    /// What this device comes back by.
    pub(super) fn recovers_by(&self) -> Option<&RecoveryKeys> {
        self.wishes.iter().find_map(|wish| if let Wanted::Recovered(by) = &wish.wanted { Some(by) } else { None })
    }

    /// What is said for a new code or passkey beside that it is one is another statement.
    pub(super) fn see_listed(&mut self, account: &Account) {
        if let Some(Wish { wanted: Wanted::Listed { keys, is_listed, .. }, said, .. }) = self.wishes.front_mut()
            && !*is_listed
            && keys.is_listed(account)
        {
            (*is_listed, *said) = (true, None);
        }
    }
}

/// What is to be said for a wish, whoever has which key; `None` where the account is so already, or keys decide.
fn claim_of(wanted: &Wanted, account: &Account, own: &str) -> Result<Option<Claim>, SyncError> {
    let may_change = account.device(own).is_some_and(|own| own.is_approved);
    let (device_id, removes) = match wanted {
        Wanted::Approved(device_id) => (device_id, false),
        Wanted::Removed(device_id) => (device_id, true),
        Wanted::Listed { .. } if !may_change => return Err(not_approved()),
        Wanted::Listed { .. } | Wanted::Recovered(_) | Wanted::Asked { .. } => return Ok(None),
    };
    match account.device(device_id) {
        None if removes && account.was_removed(device_id) => Ok(None),
        None => Err(SyncError::new(ErrorCode::UnknownDevice, "the wallet has no device of this id: getDevices() lists them")),
        Some(device) if !removes && device.is_approved => Ok(None),
        Some(_) if !may_change => Err(not_approved()),
        Some(_) if removes => {
            // Who removes the device that approved it does not mean to leave too.
            let kept = if device_id == own { Vec::new() } else { vec![own.to_owned()] };
            Ok(Some(Claim::Remove { devices: vec![device_id.clone()], kept }))
        }
        Some(_) => Ok(Some(Claim::Approve(vec![device_id.clone()]))),
    }
}
