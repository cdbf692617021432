//! A world in which sessions are encrypted, and what people do there: they approve devices, come back by a passkey, and sign a reset
//! where none of theirs has the key any more.

use solconnect_sync_core::client::vault::Secret;
use solconnect_sync_core::client::{Client, ClientConfig, Input};
use solconnect_sync_core::ids::{is_sealed_id, public_key};
use solconnect_sync_core::message::Kind;

use crate::book::Watched;
use crate::checker::e;
use crate::marker::Marker;
use crate::signers::SIGNERS;
use crate::world::{Happening, ProfileId, TabId, World};

/// So often people look at their devices.
const PEOPLE_MS: u64 = 5_000;

/// So long they wait for another device before they sign a reset, once nothing fails any more.
const RESET_AFTER_MS: u64 = 40_000;

/// How a seed encrypts.
#[derive(Debug, Clone, Copy)]
pub struct Encryption {
    /// With the real cryptography.
    pub is_real: bool,
    /// A person approves each device.
    asks: bool,
    /// Some of them come back by a passkey.
    has_passkeys: bool,
    /// This wallet makes wrong epochs as long as things fail, and gives rubbish also then.
    pub dishonest: Option<&'static str>,
}

impl Encryption {
    /// That of a seed: a few have the real cryptography, which takes its time, and some have people who approve devices, and some of
    /// these have passkeys.
    pub fn of(seed: u64) -> Encryption {
        let dishonest = (seed % 5 < 2).then(|| &*SIGNERS[seed as usize % SIGNERS.len()]);
        Encryption { is_real: seed.is_multiple_of(20), asks: seed % 4 == 3, has_passkeys: seed % 16 == 3, dishonest }
    }
}

impl World {
    /// From now on all sessions are encrypted.
    pub fn encrypt(&mut self, seed: u64) {
        self.encryption = Some(Encryption::of(seed));
        self.checker.encrypts = true;
        self.checker.marker = Some(Marker::new(seed));
        self.ctx.agenda.after(PEOPLE_MS, Happening::People);
    }

    /// A machine as the application's options want it.
    pub(crate) fn encrypting(&self, wallet: &str, config: ClientConfig, make: impl FnOnce(ClientConfig) -> Client) -> Client {
        let Some(Encryption { is_real, asks, dishonest, .. }) = self.encryption else { return make(config) };
        let client = make(ClientConfig { encrypts: true, approves_devices: !asks, ..config });
        client.with_vault(Box::new(Watched::new(
            is_real,
            self.checker.ledger.book.clone(),
            dishonest.filter(|known| *known == wallet).and_then(public_key),
        )))
    }

    /// People look at their devices.
    pub(crate) fn people(&mut self) {
        self.ctx.agenda.after(PEOPLE_MS, Happening::People);
        for profile in 0..self.profiles.len() {
            if self.profiles[profile].is_stolen {
                continue;
            }
            let Some(id) = self.profiles[profile].tab else { continue };
            if self.encryption.is_some_and(|encryption| encryption.asks) && self.ctx.random.bool() {
                self.approve_one(id);
            }
            if self.encryption.is_some_and(|encryption| encryption.has_passkeys) && self.ctx.random.u8(0..4) == 0 {
                self.use_passkey(profile, id);
            }
            let (wallet, now_ms) = (self.profiles[profile].wallet, self.ctx.agenda.now_ms());
            if self.ctx.faults.active() || self.has_reader(wallet) {
                self.keyless_since_ms.remove(wallet);
            } else if now_ms >= *self.keyless_since_ms.entry(wallet).or_insert(now_ms) + RESET_AFTER_MS {
                self.keyless_since_ms.insert(wallet, now_ms);
                self.reset_account(profile);
            }
        }
    }

    fn approve_one(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get(&id) else { return };
        let devices = tab.client.account_devices();
        let may = devices.iter().any(|device| device.is_this_device && device.is_approved);
        let waiting = devices.into_iter().find(|device| !device.is_this_device && !device.is_approved);
        if let Some(device) = waiting.filter(|_| may) {
            self.engine_call(id, |request| Input::ApproveDevice { request, device_id: device.id });
        }
    }

    /// A person whose account has no passkey makes one, and whose device waits uses what the authenticator has. That has no older one,
    /// whatever became of the call.
    fn use_passkey(&mut self, profile: ProfileId, id: TabId) {
        let Some(tab) = self.tabs.get(&id) else { return };
        let wallet = self.profiles[profile].wallet;
        let is_listed = tab.client.recovery().passkey.is_some();
        let own = tab.client.account_devices().into_iter().find(|device| device.is_this_device);
        match own.map(|own| own.is_approved) {
            Some(true) if !is_listed => {
                let output = Secret::new(std::array::from_fn(|_| self.ctx.random.u8(..)));
                self.passkeys.insert(wallet, output.clone());
                self.engine_call(id, |request| Input::CreatePasskey { request, output });
            }
            Some(false) if is_listed => {
                let Some(output) = self.passkeys.get(wallet).cloned() else { return };
                self.engine_call(id, |request| Input::RecoverWithPasskey { request, output });
            }
            _ => {}
        }
    }

    /// Whether a device of a wallet that is open is approved and has the newest key of the account.
    fn has_reader(&self, wallet: &str) -> bool {
        let profiles = self.profiles.iter().filter(|profile| profile.wallet == wallet && !profile.is_stolen);
        let mut tabs = profiles.filter_map(|profile| self.tabs.get(&profile.tab?));
        tabs.any(|tab| self.is_reader(&tab.client, wallet))
    }

    /// All has converged: nobody goes on saying something that nobody has asked for.
    pub(crate) fn judge_rest(&mut self, before: &[(String, u64)]) {
        for (session_id, head) in before {
            let log = self.checker.ledger.log(session_id);
            // Who takes no part is given what it lacks all the same, after a wait, and an epoch may have to begin before.
            let is_gift =
                |place: &u64| log.entry(*place).is_some_and(|entry| matches!(entry.message.kind, Kind::EPOCH | Kind::RESEAL | Kind::ASKS));
            let gifts = (head + 1..=log.head()).take_while(is_gift).count() as u64;
            // Who was sealed rubbish asks again as long as rubbish is given.
            let is_deceived = self.encryption.is_some_and(|encryption| encryption.dishonest.is_some());
            let gifts_max = 2 * self.checker.vault.given_count(session_id) + self.profiles.len() as u64;
            let now = log.head() - if is_deceived { gifts } else { gifts.min(gifts_max) };
            let kind = log.entry(head + gifts + 1).map(|entry| entry.message.kind);
            self.checker.require(e(11), now == *head, || {
                format!("{session_id} had {head} entries when all had converged, and has {now} now; the next is of kind {kind:?}")
            });
        }
    }

    /// Where the log of every session ends.
    pub(crate) fn heads(&self) -> Vec<(String, u64)> {
        let sessions = self.checker.ledger.sessions().filter(|(id, _)| is_sealed_id(id));
        sessions.map(|(id, log)| (id.clone(), log.head())).collect()
    }

    /// All that stands in the relay's journal is looked at by somebody who should not read it.
    pub(crate) fn search_journal(&mut self) {
        let bodies = self.relay.journal().sessions().values().flat_map(|rows| &rows.entries).map(|row| row.body.bytes());
        let found = self.checker.marker.as_ref().and_then(|marker| bodies.filter_map(|bytes| marker.found_in(bytes)).next());
        self.checker.require_where(e(2), self.checker.encrypts, found.is_none(), || {
            format!("what somebody wrote stands {} in the journal", found.unwrap_or_default())
        });
    }
}
