//! A device that waits to be approved has no account key. It writes, and reads what others write, in epochs that it begins itself: they
//! are sealed to the account keys of all wallets, its own among them, for which it takes public keys alone.

use sha2::{Digest as _, Sha256};

use super::Session;
use super::opening::{account_key, account_of};
use crate::client::context::Context;
use crate::client::identity::Identity;
use crate::client::records::EpochSeal;
use crate::client::vault::{EpochEntry, Fault, Secret, if_opened};
use crate::entry::Digest;
use crate::identity::PublicKey;
use crate::ids::public_key;
use crate::limits::ANSWER_TIMEOUT_MS;

/// What the secret of an epoch is made of, besides the device's own key: what it follows, and whom it is sealed to. The place of an
/// account log says which key that has.
pub(super) fn plan_of(epoch: &EpochEntry) -> Digest {
    let mut hash = Sha256::new_with_prefix(epoch.after);
    for member in &epoch.members {
        hash.update(member.wallet);
        hash.update(member.head.hash);
    }
    hash.finalize().into()
}

impl Session {
    /// Whether another device of its wallet must approve this one first.
    pub(super) fn is_waiting(&self, context: &Context<'_>) -> bool {
        let device = context.account(&self.next.wallet).and_then(|account| account.device(&self.device));
        device.is_some_and(|device| !device.is_approved) && context.identity.and_then(Identity::keys).is_some()
    }

    /// Whether the last epoch is one that others have begun, which this device cannot read, and another one may begin now. Of two devices
    /// that wait, the one that came later reads, until the other one writes: they would take turns without end.
    fn waits_outside(&self, context: &Context<'_>) -> bool {
        let Some(state) = self.stored.sealed.as_ref().filter(|_| self.is_waiting(context)) else { return false };
        let Some(last) = state.last.as_ref().filter(|last| state.epochs.current() == Some(last.number)) else { return false };
        let (Some(account), Some(own)) = (context.account(&self.next.wallet), public_key(&self.next.wallet)) else { return false };
        if last.author == self.device || account.generation_at(account.head().sequence).is_none() {
            return false;
        }
        let waits = |wallet: &PublicKey| account_of(context, wallet)?.device(&last.author).map(|author| !author.is_approved);
        let by_waiting = self.members(self.stored.group.as_ref()).iter().find_map(waits).unwrap_or(false);
        let relay_ms = context.identity.map_or(0, |identity| identity.relay_ms(context.now));
        self.has_epoch_moved(context) || !by_waiting && !state.epochs.is_early(&own, relay_ms)
    }

    /// It begins an epoch of its own at once, or, where others approve it without asking anybody, once they have had the time to.
    pub(super) fn prepare_waiting(&mut self, context: &Context<'_>) {
        let at_ms = if context.config.approves_devices { context.now.monotonic_ms + ANSWER_TIMEOUT_MS } else { 0 };
        self.flow.outside_at_ms = self.waits_outside(context).then(|| self.flow.outside_at_ms.unwrap_or(at_ms));
    }

    /// Whether the secret of an epoch can be had here.
    pub(super) fn has_secret(&self, context: &Context<'_>, epoch: &EpochSeal) -> bool {
        account_key(context, epoch).is_some() || epoch.plan.is_some() && epoch.author == self.device
    }

    /// The secret of an epoch that this device began while it waited.
    pub(super) fn planned_secret(&self, context: &Context<'_>, epoch: &EpochSeal) -> Result<Option<Secret>, Fault> {
        let keys = context.identity.and_then(Identity::latest_keys);
        let (Some(plan), Some(keys), Some(vault)) = (&epoch.plan, keys, context.vault) else { return Ok(None) };
        let secret = keys.planned_secret(plan);
        let is_true = if_opened(vault.text_keys(&secret, &epoch.transcript, &epoch.tag, &self.device))?.is_some();
        Ok(is_true.then_some(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::plan_of;
    use crate::client::Native;
    use crate::client::vault::{AccountHead, Beginning, Recipient, Secret, Vault as _};

    #[test]
    fn another_plan_for_whoever_else_is_to_read() {
        let to = |wallet: u8, sequence: u64, hash: u8, account_key: Option<(u64, u8)>| Recipient {
            wallet: [wallet; 32],
            head: AccountHead { sequence, hash: [hash; 32] },
            account_key: account_key.map(|(number, secret)| (number, Native.public_of(&Secret::new([secret; 32])).unwrap())),
        };
        let alice = || to(1, 3, 7, Some((1, 9)));
        let tries = [
            ([0; 32], vec![alice(), to(2, 4, 8, Some((2, 9)))]),
            ([1; 32], vec![alice(), to(2, 4, 8, Some((2, 9)))]),
            ([0; 32], vec![alice()]),
            ([0; 32], vec![alice(), to(3, 4, 8, Some((2, 9)))]),
            ([0; 32], vec![alice(), to(2, 5, 9, Some((3, 9)))]),
            ([0; 32], vec![alice(), to(2, 0, 0, None)]),
        ];
        let mut plans = Vec::new();
        for (after, recipients) in &tries {
            let at = Beginning { after, number: 5, author: "a-device" };
            let [one, other] = [3, 4].map(|random| plan_of(&Native.begin_epoch(at, recipients, &[random; 64]).unwrap()));
            assert_eq!(one, other, "whatever its secret is");
            plans.push(one);
        }
        plans.sort_unstable();
        plans.dedup();
        assert_eq!(plans.len(), tries.len());
    }
}
