//! The number that this device and another one of its account show while one of them waits to be approved: a person who sees the same on
//! both approves the device in their hand. `docs/encryption.md` says why it takes three messages.
//!
//! It is known as long as both machines live, and stored nowhere. What is said for it is passed on by the relay to who is there.

use super::Client;
use super::api::{Action, Event};
use super::transaction::Transaction;
use crate::entry::Digest;
use crate::frame::{Body, ShortNumber};
use crate::identity::{Account, Device, verify};
use crate::ids::DeviceId;
use crate::limits::{NUMBER_FRAMES_MAX, NUMBER_TRIES_MAX};
use crate::time::Now;

/// Those of this device with others.
#[derive(Default)]
pub(super) struct ShortNumbers {
    pairs: Vec<(DeviceId, Pair)>,
    /// As what it has greeted the others on this connection: as one that is approved, or as one that waits.
    greeted: Option<bool>,
}

/// This device and another one.
#[derive(Default)]
struct Pair {
    /// What the one that waits has bound itself to last; zeroes: to nothing yet.
    commitment: Digest,
    /// This device's random bytes for that.
    own: Digest,
    /// Those of the approved device, where this one waits; zeroes before its answer.
    answer: Digest,
    number: Option<u32>,
    /// Commitments that there were.
    tries: u8,
    /// Frames that this device has said on this connection.
    said: u8,
}

/// Nothing is said.
const NONE: Digest = [0; 32];

impl ShortNumbers {
    /// The number with another device, as people see it.
    pub fn with(&self, device_id: &str) -> Option<String> {
        let (_, pair) = self.pairs.iter().find(|(known, _)| known == device_id)?;
        pair.number.map(|number| format!("{number:06}"))
    }

    /// Numbers stay: where the other one lives on, they are the same on the next connection.
    pub fn on_disconnect(&mut self) {
        self.greeted = None;
        self.pairs.iter_mut().for_each(|(_, pair)| pair.said = 0);
    }

    fn pair(&mut self, device_id: &str) -> &mut Pair {
        let place = self.pairs.iter().position(|(known, _)| known == device_id).unwrap_or(self.pairs.len());
        if place == self.pairs.len() {
            self.pairs.push((device_id.into(), Pair::default()));
        }
        &mut self.pairs[place].1
    }
}

impl Client {
    /// Once on a connection this device says that it is there to those that it may share a number with; and once more when it is approved.
    pub(super) fn greet_devices(&mut self, now: Now, account: &Account, actions: &mut Vec<Action>) {
        let Some(own) = account.device(&self.device.device_id).filter(|own| own.seal_key.is_some() && self.vault.is_some()) else { return };
        if self.numbers.greeted.replace(own.is_approved) == Some(own.is_approved) {
            return;
        }
        let others = account.devices().iter().filter(|other| other.is_approved != own.is_approved && other.seal_key.is_some());
        let others: Vec<DeviceId> = others.map(|other| other.id.clone()).collect();
        self.numbers.pairs.retain(|(id, _)| others.contains(id));
        for other in others {
            if own.is_approved {
                self.say_of_number(now, account, &other, NONE, NONE, actions);
            } else {
                self.commit_to(now, account, &other, false, actions);
            }
        }
    }

    /// Another device says something.
    pub(super) fn hear_number(&mut self, now: Now, heard: &ShortNumber, transaction: &mut Transaction, actions: &mut Vec<Action>) {
        let known = self.identity.as_ref().zip(self.wallet.as_deref()).and_then(|(identity, wallet)| identity.latest_account(wallet));
        let Some(account) = known else { return };
        let (Some(own), Some(other)) = (account.device(&self.device.device_id), account.device(&heard.from)) else { return };
        let is_signed = || verify(&other.key, &heard.signed_bytes(&account.owner().account_id, &other.id), &heard.signature).is_ok();
        if own.is_approved == other.is_approved || heard.to != own.id || !is_signed() {
            return;
        }
        let before = self.numbers.with(&other.id);
        if own.is_approved {
            self.hear_who_waits(now, &account, other, heard, actions);
        } else {
            self.hear_who_is_approved(now, &account, other, heard, actions);
        }
        if self.numbers.with(&other.id) != before {
            transaction.tell(Event::DeviceNumber { device: self.view(&account, other) });
        }
    }

    /// A device that waits binds itself, or shows what it has bound itself to.
    fn hear_who_waits(&mut self, now: Now, account: &Account, other: &Device, heard: &ShortNumber, actions: &mut Vec<Action>) {
        let (Some(identity), Some(vault)) = (&self.identity, &self.vault) else { return };
        let ShortNumber { commitment, random, .. } = *heard;
        let pair = self.numbers.pair(&other.id);
        if random == NONE && commitment != NONE {
            if commitment != pair.commitment {
                *pair = Pair { tries: pair.tries, said: pair.said, ..Pair::default() };
                if pair.tries >= NUMBER_TRIES_MAX {
                    return;
                }
                (pair.commitment, pair.own, pair.tries) = (commitment, *identity.draw_secret(), pair.tries + 1);
            }
            let own = pair.own;
            self.say_of_number(now, account, &other.id, commitment, own, actions);
        } else if let Some(seal_key) = other.seal_key.filter(|_| commitment == pair.commitment) {
            let account_id = &account.owner().account_id;
            // What it has bound itself to is its seal key as the account has it, and these bytes.
            let made = vault.commitment(account_id, &other.id, &seal_key, &random);
            let number = vault.short_number(account_id, &self.device.device_id, &commitment, &random, &pair.own);
            pair.number = pair.number.or(number.ok().filter(|_| made == Ok(commitment)));
        }
    }

    /// An approved device is there, or answers.
    fn hear_who_is_approved(&mut self, now: Now, account: &Account, other: &Device, heard: &ShortNumber, actions: &mut Vec<Action>) {
        let Some(vault) = &self.vault else { return };
        let ShortNumber { commitment, random, .. } = *heard;
        let pair = self.numbers.pair(&other.id);
        if commitment == NONE {
            return self.commit_to(now, account, &other.id, false, actions);
        }
        if commitment != pair.commitment || random == NONE {
            return;
        }
        if pair.answer == NONE
            && let Ok(number) = vault.short_number(&account.owner().account_id, &other.id, &commitment, &pair.own, &random)
        {
            (pair.answer, pair.number) = (random, Some(number));
        }
        if pair.answer == random {
            let own = pair.own;
            self.say_of_number(now, account, &other.id, commitment, own, actions);
        } else {
            // It has begun anew. This answer could be made to fit what this device has shown already.
            self.commit_to(now, account, &other.id, true, actions);
        }
    }

    /// This device, which waits, binds itself to random bytes, `anew` where it has already, and says so.
    fn commit_to(&mut self, now: Now, account: &Account, other: &str, anew: bool, actions: &mut Vec<Action>) {
        let (Some(identity), Some(vault)) = (&self.identity, &self.vault) else { return };
        let (Some(keys), account_id, own_id) = (identity.keys(), &account.owner().account_id, &self.device.device_id) else { return };
        let pair = self.numbers.pair(other);
        if anew || pair.commitment == NONE {
            // Where there is no other try, the number before is not shown either: the other device shows none.
            *pair = Pair { tries: pair.tries, said: pair.said, ..Pair::default() };
            let own = *identity.draw_secret();
            let made = keys.seal_key(&**vault).and_then(|seal_key| vault.commitment(account_id, own_id, &seal_key, &own));
            let (Ok(commitment), true) = (made, pair.tries < NUMBER_TRIES_MAX) else { return };
            (pair.commitment, pair.own, pair.tries) = (commitment, own, pair.tries + 1);
        }
        let commitment = pair.commitment;
        self.say_of_number(now, account, other, commitment, NONE, actions);
    }

    fn say_of_number(&mut self, now: Now, account: &Account, to: &str, commitment: Digest, random: Digest, actions: &mut Vec<Action>) {
        let pair = self.numbers.pair(to);
        let own = &self.device.device_id;
        let Some(key) = self.identity.as_ref().and_then(|identity| identity.key_of(own)).filter(|_| pair.said < NUMBER_FRAMES_MAX) else {
            return;
        };
        pair.said += 1;
        let mut said = ShortNumber { to: to.into(), commitment, random, ..ShortNumber::default() };
        let account_id = &account.owner().account_id;
        said.signature = key.sign(&said.signed_bytes(account_id, own));
        self.transmit_in(now, account_id, Body::ShortNumber(said), actions);
    }
}
