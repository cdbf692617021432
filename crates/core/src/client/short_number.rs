//! The number that this device and another one of its account show while one of them waits to be approved: a person who sees the same on
//! both approves the device in their hand. `docs/encryption.md` says why it takes three messages.
//!
//! It is stored with the device's key: the page of a device begins anew whenever another tab takes the wallet over, and a number that
//! were another one then would cost a try each time. What is said for it is said once it is stored, and passed on by the relay to who is
//! there.

use super::Client;
use super::api::{Action, Event};
use super::records::NumberRecord;
use super::transaction::Transaction;
use super::views::DeviceView;
use crate::entry::Digest;
use crate::frame::{Body, ShortNumber};
use crate::identity::{Account, Device, verify};
use crate::ids::DeviceId;
use crate::limits::{NUMBER_FRAMES_MAX, NUMBER_TRIES_MAX};
use crate::sorted::Sorted;
use crate::time::Now;

/// What this device has said of numbers on one connection.
#[derive(Default)]
pub(super) struct ShortNumbers {
    /// As what it has greeted the others: as one that is approved, or as one that waits.
    greeted: Option<bool>,
    /// How many frames it has said to each.
    said: Sorted<DeviceId, u8>,
}

/// Nothing is said.
const NONE: Digest = [0; 32];

/// What is said next of a number: a commitment and random bytes.
type Said = Option<(Digest, Digest)>;

/// The number as people see it.
pub(super) fn shown(number: &NumberRecord) -> Option<String> {
    number.number.map(|number| format!("{number:06}"))
}

impl Client {
    /// Once on a connection this device says that it is there to those that it may share a number with; and once more when it is approved.
    pub(super) fn greet_devices(&mut self, now: Now, account: &Account, actions: &mut Vec<Action>) {
        let Some(own) = account.device(&self.device.device_id).filter(|own| own.seal_key.is_some() && self.vault.is_some()) else { return };
        if self.devices.numbers.greeted.replace(own.is_approved) == Some(own.is_approved) {
            return;
        }
        let others = account.devices().iter().filter(|other| other.is_approved != own.is_approved && other.seal_key.is_some());
        for other in others {
            let bound = self.identity.as_ref().filter(|_| !own.is_approved);
            let commitment = bound.map_or(NONE, |identity| identity.stored_number(&other.id).commitment);
            self.say_of_number(now, account, &other.id, (commitment, NONE), actions);
        }
    }

    /// Another device says something.
    pub(super) fn hear_number(&mut self, now: Now, heard: &ShortNumber, transaction: &mut Transaction) {
        let known = self.identity.as_ref().zip(self.wallet.as_deref()).and_then(|(identity, wallet)| identity.latest_account(wallet));
        let Some(account) = known else { return };
        let (Some(own), Some(other)) = (account.device(&self.device.device_id), account.device(&heard.from)) else { return };
        let is_signed = || verify(&other.key, &heard.signed_bytes(&account.owner().account_id, &other.id), &heard.signature).is_ok();
        if own.is_approved == other.is_approved || heard.to != own.id || !is_signed() {
            return;
        }
        let Some(before) = self.identity.as_ref().map(|identity| identity.latest_number(&other.id)) else { return };
        let mut pair = before.clone();
        let said = if own.is_approved {
            self.hear_who_waits(&account, other, heard, &mut pair)
        } else {
            self.hear_who_is_approved(&account, other, heard, &mut pair)
        };
        if pair.number != before.number {
            let device = DeviceView { number: shown(&pair), ..self.view(&account, other) };
            transaction.tell(Event::DeviceNumber { device });
        }
        if let Some(identity) = self.identity.as_mut().filter(|_| pair != before) {
            identity.keep_number(pair, &account, transaction);
        }
        if let Some(said) = said {
            self.say_of_number(now, &account, &other.id, said, &mut transaction.after);
        }
    }

    /// A device that waits is there, binds itself, or shows what it has bound itself to.
    fn hear_who_waits(&self, account: &Account, other: &Device, heard: &ShortNumber, pair: &mut NumberRecord) -> Said {
        let (Some(identity), Some(vault)) = (&self.identity, &self.vault) else { return None };
        let ShortNumber { commitment, random, .. } = *heard;
        if commitment == NONE {
            return Some((NONE, NONE));
        }
        if random == NONE {
            if commitment != pair.commitment {
                forget(pair);
                if pair.tries >= NUMBER_TRIES_MAX {
                    return None;
                }
                (pair.commitment, pair.own, pair.tries) = (commitment, *identity.draw_secret(), pair.tries + 1);
            }
            return Some((commitment, pair.own));
        }
        let seal_key = other.seal_key.filter(|_| commitment == pair.commitment)?;
        let account_id = &account.owner().account_id;
        // What it has bound itself to is its seal key as the account has it, and these bytes.
        let made = vault.commitment(account_id, &other.id, &seal_key, &random);
        let number = vault.short_number(account_id, &self.device.device_id, &commitment, &random, &pair.own);
        pair.number = pair.number.or(number.ok().filter(|_| made == Ok(commitment)).map(u64::from));
        None
    }

    /// An approved device is there, or answers.
    fn hear_who_is_approved(&self, account: &Account, other: &Device, heard: &ShortNumber, pair: &mut NumberRecord) -> Said {
        let vault = self.vault.as_ref()?;
        let ShortNumber { commitment, random, .. } = *heard;
        if commitment == NONE {
            return self.commit_to(account, pair, false);
        }
        if commitment != pair.commitment || random == NONE {
            return None;
        }
        if pair.answer == NONE
            && let Ok(number) = vault.short_number(&account.owner().account_id, &other.id, &commitment, &pair.own, &random)
        {
            (pair.answer, pair.number) = (random, Some(number.into()));
        }
        // Another answer could be made to fit what this device has shown already.
        if pair.answer == random { Some((commitment, pair.own)) } else { self.commit_to(account, pair, true) }
    }

    /// This device, which waits, binds itself to random bytes, `anew` where it has already, and says so.
    fn commit_to(&self, account: &Account, pair: &mut NumberRecord, anew: bool) -> Said {
        let (Some(identity), Some(vault)) = (&self.identity, &self.vault) else { return None };
        if anew || pair.commitment == NONE {
            // Where there is no other try, the number before is not shown either: the other device shows none.
            forget(pair);
            let (keys, account_id, own) = (identity.keys()?, &account.owner().account_id, *identity.draw_secret());
            let made = keys.seal_key(&**vault).and_then(|seal_key| vault.commitment(account_id, &self.device.device_id, &seal_key, &own));
            let (Ok(commitment), true) = (made, pair.tries < NUMBER_TRIES_MAX) else { return None };
            (pair.commitment, pair.own, pair.tries) = (commitment, own, pair.tries + 1);
        }
        Some((pair.commitment, NONE))
    }

    fn say_of_number(&mut self, now: Now, account: &Account, to: &str, said: (Digest, Digest), actions: &mut Vec<Action>) {
        let own = &self.device.device_id;
        let Some(key) = self.identity.as_ref().and_then(|identity| identity.key_of(own)) else { return };
        let count = self.devices.numbers.said.get(to).copied().unwrap_or(0);
        if count >= NUMBER_FRAMES_MAX {
            return;
        }
        self.devices.numbers.said.insert(to.into(), count + 1);
        let (commitment, random) = said;
        let mut said = ShortNumber { to: to.into(), commitment, random, ..ShortNumber::default() };
        let account_id = &account.owner().account_id;
        said.signature = key.sign(&said.signed_bytes(account_id, own));
        self.transmit_in(now, account_id, Body::ShortNumber(said), actions);
    }
}

/// Nothing of it counts any more but how many tries there were.
fn forget(pair: &mut NumberRecord) {
    let NumberRecord { device_id, tries, .. } = std::mem::take(pair);
    *pair = NumberRecord { device_id, tries, ..NumberRecord::default() };
}
