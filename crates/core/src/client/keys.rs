//! What this device reads encrypted sessions with: its own seal key, and the account keys that its wallet's devices share. What is to
//! be said of them in the account log it says by itself: no person sees a key.

use sha2::{Digest as _, Sha256};

use super::recovery::RecoveryKeys;
use super::vault::{Fault, KeyPlace, PublicKey, Secret, Vault, if_opened};
use crate::entry::Digest;
use crate::error::{ErrorCode, SyncError};
use crate::identity::{Account, Claim, Device};
use crate::ids::DeviceId;
use crate::limits::CLOCK_DEVICES_MAX;
use crate::wire::{Malformed, Reader, put_varint};

/// The private keys of a device.
#[derive(Clone, PartialEq)]
pub(super) struct Keys {
    /// What is sealed to this device opens with it.
    seal: Secret,
    /// Of each generation that is known, in their order.
    account: Vec<(u64, Secret)>,
}

impl Keys {
    /// Those of a device that has just been made.
    pub fn new(seal: Secret) -> Keys {
        Keys { seal, account: Vec::new() }
    }

    /// The same account keys for another device of the same database.
    pub fn of_successor(&self, seal: Secret) -> Keys {
        Keys { seal, account: self.account.clone() }
    }

    /// What account keys are sealed to, so that this device opens them.
    ///
    /// # Errors
    /// Only where the module fails.
    pub fn seal_key(&self, vault: &dyn Vault) -> Result<PublicKey, Fault> {
        vault.public_of(&self.seal)
    }

    /// What is stored behind the device's own secret.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seal[..]);
        for (number, secret) in &self.account {
            put_varint(out, *number);
            out.extend_from_slice(&secret[..]);
        }
    }

    /// Reads that.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn take(bytes: &[u8]) -> Result<Keys, Malformed> {
        let mut reader = Reader(bytes);
        let mut keys = Keys::new(Secret::new(*reader.array()?));
        while !reader.0.is_empty() {
            if keys.account.len() > CLOCK_DEVICES_MAX {
                return Err(Malformed(&"there are more account keys than an account makes"));
            }
            keys.account.push((reader.varint()?, Secret::new(*reader.array()?)));
        }
        Ok(keys)
    }

    /// The generations that are known.
    pub fn generations(&self) -> Vec<u64> {
        self.account.iter().map(|(number, _)| *number).collect()
    }

    /// The secret of an epoch that this device begins before it has an account key. It is made of the device's own key, so it is known again
    /// and stored nowhere; and of the epoch's plan, so who is to read no more, and has a key of an earlier one, does not know it.
    pub fn planned_secret(&self, plan: &Digest) -> Secret {
        let hash = Sha256::new_with_prefix(b"solconnect.planned-epoch.v1\0");
        Secret::new(hash.chain_update(&self.seal[..]).chain_update(plan).finalize().into())
    }

    /// The private key of a generation.
    pub fn account_key(&self, number: u64) -> Option<&Secret> {
        self.account.iter().find(|(known, _)| *known == number).map(|(_, secret)| secret)
    }

    /// Opens all that the account has sealed to this device, or to this code or passkey, and that is not known yet; says whether there was anything.
    ///
    /// # Errors
    /// The newest key does not open, or none can be opened now: who sealed it, and how.
    pub fn learn(&mut self, vault: &dyn Vault, account: &Account, own: &str, by: Option<&RecoveryKeys>) -> Result<bool, (DeviceId, Fault)> {
        let account_id = &account.owner().account_id;
        let generations = account.generations();
        let place = |number: u64| {
            let key = generations.iter().find(|key| key.number == number)?;
            Some(KeyPlace { account_id, number, public: &key.public })
        };
        let count = self.account.len();
        // What is sealed to a recovery key was sealed by another hand, maybe, than what is sealed to the device: one of them is enough.
        let (own_seal, mut refused) = (self.seal.clone(), None);
        for (to, with) in by.map(|by| (by.id.as_str(), &by.seal)).into_iter().chain([(own, &own_seal)]) {
            if let (Some(newest), Some(sealed)) = (generations.last(), account.sealed_for(to))
                && self.account_key(newest.number).is_none()
                && let Some(place) = place(newest.number)
            {
                match vault.open_key(place, with, &sealed.sealed) {
                    Ok(opened) => self.insert(newest.number, opened),
                    // Nothing is known of it then.
                    Err(Fault::Failed) => return Err((sealed.by.clone(), Fault::Failed)),
                    Err(fault) => refused = Some((sealed.by.clone(), fault)),
                }
            }
        }
        if let Some(refused) = refused.filter(|_| !self.has_newest(account)) {
            return Err(refused);
        }
        for next in generations.iter().rev() {
            let (Some(with), Some(sealed)) = (self.account_key(next.number), &next.earlier) else { continue };
            let Some(place) = place(next.number - 1).filter(|place| self.account_key(place.number).is_none()) else { continue };
            // Who sealed rubbish has only the history unreadable, which others may give again.
            let opened = vault.open_earlier(place, next.number, with, sealed);
            if let Some(opened) = if_opened(opened).map_err(|fault| (own.to_owned(), fault))? {
                self.insert(next.number - 1, opened);
            }
        }
        Ok(self.account.len() > count)
    }

    fn insert(&mut self, number: u64, secret: Secret) {
        let place = self.account.partition_point(|(known, _)| *known < number);
        self.account.insert(place, (number, secret));
    }

    /// Whether nothing is missing of what the account's newest key opens.
    pub fn has_newest(&self, account: &Account) -> bool {
        account.generations().last().is_none_or(|newest| self.account_key(newest.number).is_some())
    }

    /// Whether the next key, for who stays when some have left, is made by another device. Who has not got the newest one would cut off
    /// the history for all: one that has it makes the next, where one stays.
    pub fn leaves_renewing(&self, account: &Account, own: &str, (removed, kept): (&[DeviceId], &[DeviceId])) -> bool {
        let stays = |id: &str| account.seal_recipients(removed, kept).iter().any(|(stays, _)| stays == id);
        let has_it = |id: &str| id != own && account.sealed_for(id).is_some() && stays(id);
        !self.has_newest(account) && account.devices().iter().any(|device| has_it(&device.id))
    }

    /// What this device has to say by itself of the keys of its account, `None` where all is well. `takes_more`: the account takes more
    /// changes today; `approves`: the device approves those that the wallet has signed for, without asking a person.
    pub fn duty(
        &self,
        vault: &dyn Vault,
        account: &Account,
        own: &str,
        (takes_more, approves): (bool, bool),
        random: &[u8; 64],
    ) -> Option<Claim> {
        let device = account.device(own)?;
        if device.seal_key.is_none() {
            return self.seal_key(vault).ok().map(Claim::SealKey);
        }
        if !device.is_approved {
            return None;
        }
        let holds = account.generation_at(account.head().sequence).is_some();
        let has_newest = self.has_newest(account);
        // As this device itself where it came back: a copy of its profile has not got the key.
        let lacks = |device: &Device| device.is_approved && device.seal_key.is_some() && account.sealed_for(&device.id).is_none();
        let may_renew = holds && has_newest && takes_more;
        if !holds && !self.leaves_renewing(account, own, (&[], &[])) || may_renew && account.devices().iter().any(lacks) {
            let generation = self.generation(vault, account, (&[], &[]), random);
            return generation.ok().map(Claim::Generation);
        }
        if approves && may_renew {
            let waits = account.devices().iter().filter(|device| !device.is_approved && device.seal_key.is_some());
            let waiting: Vec<DeviceId> = waits.map(|device| device.id.clone()).collect();
            return self.approval(vault, account, &waiting, random).ok().flatten();
        }
        None
    }

    /// The next generation, for who stays when some have left.
    ///
    /// # Errors
    /// `CRYPTO_ERROR`.
    pub fn generation(
        &self,
        vault: &dyn Vault,
        account: &Account,
        (removed, kept): (&[DeviceId], &[DeviceId]),
        random: &[u8; 64],
    ) -> Result<solconnect_sync_vault::layout::Generation, SyncError> {
        let number = account.generations().len() as u64 + 1;
        let to: Vec<_> = account.seal_recipients(removed, kept).into_iter().map(|(_, key)| key).collect();
        let earlier = self.account_key(number - 1);
        vault.begin_generation(&account.owner().account_id, number, &to, earlier, random).map_err(failed)
    }

    /// Devices are approved, and have the newest account key; `None` where there is none that could be handed over, or nobody to have it.
    ///
    /// # Errors
    /// `CRYPTO_ERROR`.
    pub fn approval(
        &self,
        vault: &dyn Vault,
        account: &Account,
        devices: &[DeviceId],
        random: &[u8; 64],
    ) -> Result<Option<Claim>, SyncError> {
        let Some(newest) = account.generation_at(account.head().sequence) else { return Ok(None) };
        let Some(secret) = self.account_key(newest.number).filter(|_| !devices.is_empty()) else { return Ok(None) };
        let mut sealed = Vec::with_capacity(devices.len());
        for id in devices {
            let Some(to) = account.seal_key(id) else { return Ok(None) };
            let [random, _] = random.as_chunks().0 else { return Ok(None) };
            let account_id = &account.owner().account_id;
            sealed.push((id.clone(), vault.hand_over(account_id, newest.number, secret, &to, random).map_err(failed)?));
        }
        Ok(Some(Claim::ApproveWithKey(sealed)))
    }
}

pub(super) fn failed(fault: Fault) -> SyncError {
    SyncError::new(ErrorCode::CryptoError, fault.to_string())
}
