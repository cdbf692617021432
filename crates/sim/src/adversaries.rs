//! Who attacks where devices sign in, once all has converged: a member that signs garbage, and a thief of a profile's copy.

use solconnect_sync_core::client::{ConnectionState, Input};
use solconnect_sync_core::frame::{Body, Frame, Payload};
use solconnect_sync_core::identity::{Certificate, DeviceKey, Purpose, UpdateSignature};
use solconnect_sync_core::log::LogHead;

use crate::checker::Mark;
use crate::relay_disk::read;
use crate::scenario::Scenario;
use crate::signers::{account_id, account_of, signed_by_wallet};
use crate::world::{ProfileId, World};

/// What a device signs that keeps no rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbage {
    /// Nothing.
    Unsigned,
    /// No signature stands where one should.
    NoSignature,
    /// Other entries than those that it sends.
    OtherEntries,
    /// That it has seen another log than the relay's.
    OtherLog,
    /// That it has seen a log that is longer.
    LongerLog,
}

impl Garbage {
    const ALL: [Garbage; 5] = [Garbage::Unsigned, Garbage::NoSignature, Garbage::OtherEntries, Garbage::OtherLog, Garbage::LongerLog];

    /// An update of a device that has this key, signed so.
    pub(crate) fn of(self, payload: &Payload, secret: &[u8]) -> Option<Payload> {
        let Payload::Binary(bytes) = payload else { return None };
        let mut frame = Frame::from_bytes(bytes).ok()?;
        let Body::SyncUpdate(update) = &mut frame.body else { return None };
        // Behind it stand the keys that it reads encrypted sessions with.
        let key = DeviceKey::from_secret(secret.first_chunk()?);
        let signature = update.signature.as_mut()?;
        let (counter, seen) = (signature.counter, signature.seen);
        let sign = |seen: LogHead| UpdateSignature::sign(&key, &frame.head.session_id, counter, &update.last_digest, seen);
        match self {
            Garbage::Unsigned => update.signature = None,
            Garbage::NoSignature => signature.signature = [7; 64],
            Garbage::OtherEntries => update.last_digest = [7; 32],
            Garbage::OtherLog => *signature = sign(LogHead { hash: [7; 32], ..seen }),
            Garbage::LongerLog => *signature = sign(LogHead { sequence: seen.sequence + 1_000, ..seen }),
        }
        Some(Payload::Binary(frame.to_bytes()?.into()))
    }
}

impl Scenario {
    /// How many entries of a log people wrote.
    fn written(&self, session_id: &str) -> usize {
        self.rows(session_id).iter().filter(|stored| !read(stored).message.kind.is_of_epochs()).count()
    }

    /// A member signs what it likes: an honest relay takes nothing of it, and nobody accuses the relay.
    pub(crate) fn sign_garbage(&mut self) {
        let Some((session_id, mut inside)) = self.victims() else { return };
        self.wait();
        let place = self.world.ctx.random.usize(0..inside.len());
        let bad = inside.swap_remove(place);
        let form = *self.world.ctx.pick(&Garbage::ALL);
        let before = self.written(&session_id);
        self.world.profiles[bad].garbage = Some(form);
        self.write(bad, &session_id);
        self.wait();
        let after = self.written(&session_id);
        self.world.checker.mark(Mark::GarbageSigned);
        self.world
            .checker
            .require(18, after == before, || format!("the relay takes an update of profile {bad} that is signed so: {form:?}"));
        self.world.close_profile(bad);
        let first = self.world.checker.ledger.sent.len();
        for _ in 0..2 {
            let writer = *self.world.ctx.pick(&inside);
            self.write(writer, &session_id);
            self.wait();
        }
        self.world.judge_honest();
        self.world.judge_writers(&session_id, first);
        let lengths: Vec<u64> = inside.iter().map(|profile| self.world.profiles[*profile].disk.state().cursor(&session_id)).collect();
        let end = self.rows(&session_id).len() as u64;
        self.world.checker.require(26, lengths.iter().all(|length| *length == end), || {
            format!("{session_id} has {end} entries, and its devices {lengths:?}, where one has signed garbage: {form:?}")
        });
    }

    /// Somebody has a copy of a profile, and not its wallet. The wallet signs all other devices out: the thief reads nothing any more.
    pub(crate) fn steal(&mut self) {
        let Some((session_id, inside)) = self.victims() else { return };
        self.wait();
        let owner = *self.world.ctx.pick(&inside);
        let thief = self.world.copy_profile(owner);
        self.world.profiles[thief].is_stolen = true;
        self.wait();
        for writer in [owner, thief] {
            if self.world.ctx.random.bool() {
                self.write(writer, &session_id);
                self.wait();
            }
        }
        let stolen = self.world.profiles[thief].disk.state().device_id().to_owned();
        self.world.reset_account(owner);
        self.wait();
        // A relay whose clock has jumped takes what is signed by another time for expired.
        let wallet = self.world.profiles[owner].wallet;
        let account = account_of(wallet, self.world.relay.journal().sessions().get(&account_id(wallet)));
        if !account.is_some_and(|account| account.was_removed(&stolen)) {
            return;
        }
        let is_connected = self.world.is_connected(thief);
        let cursor = |world: &World| world.profiles[thief].disk.state().cursor(&session_id);
        let read = cursor(&self.world);
        let end = self.written(&session_id);
        for _ in 0..2 {
            self.write(owner, &session_id);
            self.wait();
        }
        self.write(thief, &session_id);
        self.wait();
        let (read_after, end_after) = (cursor(&self.world), self.written(&session_id));
        self.world.checker.mark(Mark::Stolen);
        self.world.checker.require(16, end_after == end + 2, || {
            format!("{session_id} had {end} entries and has {end_after}, where its owner wrote two and a thief one")
        });
        self.world.checker.require(16, !is_connected && read_after == read, || {
            format!("a thief had read {read} of {session_id} when the wallet signed it out, and has read {read_after}; connected: {is_connected}")
        });
        self.world.judge_honest();
    }
}

impl World {
    fn is_connected(&self, profile: ProfileId) -> bool {
        let tab = self.profiles[profile].tab.and_then(|tab| self.tabs.get(&tab));
        tab.is_some_and(|tab| tab.client.connection() == ConnectionState::Connected)
    }

    /// The wallet of a profile signs that this device is the only one.
    pub(crate) fn reset_account(&mut self, profile: ProfileId) {
        let wallet = self.profiles[profile].wallet;
        let Some((id, tab)) = self.profiles[profile].tab.and_then(|id| Some((id, self.tabs.get(&id)?))) else { return };
        let Some(offer) = tab.client.offer(self.tab_now(tab), crate::signers::DOMAIN, Purpose::Reset) else { return };
        let text = offer.text();
        let Some(signature) = signed_by_wallet(wallet, text.as_bytes()) else { return };
        let before = self.relay.journal().sessions().get(&account_id(wallet)).map_or(0, |rows| rows.entries.len());
        self.ctx.line(|| format!("the wallet of profile {profile} signs all other devices out, behind {before}"));
        self.engine_call(id, |request| Input::Certify { request, certificate: Certificate { text, signature } });
    }
}
