//! Asking for secrets of epochs: by who was sealed rubbish, or was given nothing. Whoever has them gives them as it gives others
//! (`reseal`).

use super::Session;
use crate::client::context::Context;
use crate::client::records::{SealedState, UnreadEpoch};
use crate::client::vault::AsksEntry;
use crate::epochs::Named;
use crate::identity::PublicKey;
use crate::ids::public_key;
use crate::limits::{ASK_DOUBLINGS_MAX, EPOCHS_KEPT, LACKING_WALLETS_MAX};

/// Who asked and who gave, in this life of the machine, in their order: to whom, and by whom, or nobody where that wallet asked. It only
/// decides who gives and when.
#[derive(Default)]
pub(super) struct Asked(Vec<(PublicKey, PublicKey)>);

const NOBODY: PublicKey = [0; 32];

impl Asked {
    /// How often the wait is doubled of who asks, or is given something.
    pub fn doublings(&self, wallet: &PublicKey) -> u32 {
        (self.0.iter().filter(|known| **known == (*wallet, NOBODY)).count() as u32).min(ASK_DOUBLINGS_MAX)
    }

    /// Something was given; whether others may rely on that: not where the wallet asked again behind an earlier gift.
    pub fn gave(&mut self, to: PublicKey, by: PublicKey) -> bool {
        let Some(place) = self.0.iter().position(|known| *known == (to, by)) else {
            self.note(to, by);
            return true;
        };
        !self.0[place..].contains(&(to, NOBODY))
    }

    fn note(&mut self, to: PublicKey, by: PublicKey) {
        if self.0.len() < LACKING_WALLETS_MAX {
            self.0.push((to, by));
        }
    }
}

impl Session {
    /// What the last epoch says of this wallet, where it is sealed to it.
    fn own_part(&self) -> Option<&Named> {
        let state = self.stored.sealed.as_ref().filter(|state| state.epochs.current().is_some())?;
        state.epochs.named(&public_key(&self.stored.wallet)?).filter(|named| named.generation > 0)
    }

    /// Whether this device is in the last epoch, and may say in it what it lacks.
    pub(super) fn takes_part(&self, context: &Context<'_>) -> bool {
        let account = context.account(&self.stored.wallet).zip(self.own_part());
        account.is_some_and(|(account, named)| account.was_listed_at(&self.device, named.head.sequence))
    }

    /// Whether it is, or has the key to begin the one that it says it in: it came behind the last.
    fn may_ask(&self, context: &Context<'_>) -> bool {
        let has_key = || {
            let account = context.account(&self.stored.wallet)?;
            let newest = account.generation_at(account.head().sequence)?;
            context.identity?.keys()?.account_key(newest.number)
        };
        self.takes_part(context) || self.own_part().is_some() && has_key().is_some()
    }

    /// The epochs that this wallet may ask for. Of others than the last ones nobody has more than their texts.
    pub(super) fn unasked(&self, context: &Context<'_>) -> Vec<u64> {
        let (Some(state), true) = (&self.stored.sealed, self.may_ask(context)) else { return Vec::new() };
        let is_lacking = |unread: &&UnreadEpoch| {
            let is_kept = unread.epoch.number + EPOCHS_KEPT > state.epochs.last();
            is_kept && unread.unread_at.is_some() && !unread.is_asked && unread.epoch.sealed.is_none()
        };
        state.unread.iter().filter(is_lacking).map(|unread| unread.epoch.number).collect()
    }

    /// A wallet has asked: it lacks what it may read. What this device does not know any more it does not give.
    pub(super) fn take_asks(&mut self, state: &mut SealedState, wallet: PublicKey, asks: &AsksEntry) {
        self.asked.note(wallet, NOBODY);
        let is_own = Some(wallet) == public_key(&self.next.wallet);
        let Some(named) = state.epochs.named(&wallet) else { return };
        for unread in state.unread.iter_mut().filter(|unread| asks.0.contains(&unread.epoch.number)) {
            if is_own {
                unread.is_asked = unread.unread_at.is_some();
            } else if named.was_in(unread.epoch.number) {
                unread.lack(wallet, named.head.sequence);
            }
        }
        state.forget_read();
    }
}
