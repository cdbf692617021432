//! Asking for secrets of epochs: by who was sealed rubbish, or was given nothing. Whoever has them gives them as it gives others
//! (`reseal`).

use super::Session;
use crate::client::context::Context;
use crate::client::records::SealedState;
use crate::client::transaction::Transaction;
use crate::client::vault::AsksEntry;
use crate::identity::PublicKey;
use crate::ids::public_key;
use crate::limits::{ASK_DOUBLINGS_MAX, EPOCHS_KEPT, LACKING_WALLETS_MAX, OUTBOX_MESSAGES_MAX, RESEAL_WAIT_MS};
use crate::message::Kind;

/// Who asked and who gave, in this life of the machine. It only decides who gives and when.
#[derive(Default)]
pub(super) struct Asked {
    /// Wallets that asked, once for each time.
    by: Vec<PublicKey>,
    /// To whom, by whom, and whether the wallet has asked again since: that giver is not relied on any more.
    gifts: Vec<(PublicKey, PublicKey, bool)>,
}

impl Asked {
    /// How often the wait is doubled of who asks, or is given something.
    pub fn doublings(&self, wallet: &PublicKey) -> u32 {
        (self.by.iter().filter(|by| *by == wallet).count() as u32).min(ASK_DOUBLINGS_MAX)
    }

    /// Something was given; whether others may rely on that.
    pub fn gave(&mut self, to: PublicKey, by: PublicKey) -> bool {
        if let Some((_, _, is_false)) = self.gifts.iter().find(|gift| (gift.0, gift.1) == (to, by)) {
            return !is_false;
        }
        self.gifts.push((to, by, false));
        self.gifts.drain(..self.gifts.len().saturating_sub(LACKING_WALLETS_MAX));
        true
    }

    fn asks(&mut self, wallet: PublicKey) {
        self.gifts.iter_mut().filter(|(to, ..)| *to == wallet).for_each(|(_, _, is_false)| *is_false = true);
        self.by.push(wallet);
        self.by.drain(..self.by.len().saturating_sub(LACKING_WALLETS_MAX));
    }
}

impl Session {
    /// The epochs that this wallet may ask for.
    fn unasked(&self) -> Vec<u64> {
        let Some((state, own)) = self.stored.sealed.as_ref().zip(public_key(&self.stored.wallet)) else { return Vec::new() };
        let is_writing = state.epochs.current().is_some() && state.last.as_ref().is_some_and(|last| last.sealed.is_some());
        let is_lacking = state.unread.iter().filter(|unread| is_writing && unread.is_unread && !unread.is_asked);
        let numbers = is_lacking.filter(|unread| unread.epoch.sealed.is_none()).map(|unread| unread.epoch.number);
        // Of others nobody has more than their texts.
        let is_kept = |number: &u64| number + EPOCHS_KEPT > state.epochs.last();
        numbers.filter(|number| is_kept(number) && state.epochs.named(&own).is_some_and(|named| named.was_in(*number))).collect()
    }

    /// Sees to it that what nobody gives is asked for, behind the time in which others give by themselves. By chance one of the wallet's
    /// devices mostly is the first.
    pub(super) fn prepare_asks(&mut self, context: &mut Context<'_>) {
        if self.in_transaction || self.gives_nothing {
            return;
        }
        let is_waiting = || self.outbox.iter().any(|entry| entry.message.kind == Kind::ASKS);
        let (own, lacks) = (public_key(&self.stored.wallet), !self.unasked().is_empty() && !is_waiting());
        self.flow.ask_at_ms = self.flow.ask_at_ms.filter(|_| lacks).or_else(|| {
            let wait_ms = context.random.u64(RESEAL_WAIT_MS..2 * RESEAL_WAIT_MS) << self.asked.doublings(&own?);
            lacks.then_some(context.now.monotonic_ms + wait_ms)
        });
    }

    /// Asks.
    pub(super) fn ask(&mut self, context: &mut Context<'_>, transaction: &mut Transaction) {
        self.flow.ask_at_ms = None;
        let epochs = self.unasked();
        if !epochs.is_empty() && self.outbox.len() < OUTBOX_MESSAGES_MAX {
            self.say_of_epochs(context, Kind::ASKS, &AsksEntry(epochs).to_bytes(), transaction);
        }
    }

    /// A wallet has asked: it lacks what it may read. What this device does not know any more it does not give.
    pub(super) fn take_asks(&mut self, state: &mut SealedState, wallet: PublicKey, asks: &AsksEntry) {
        self.asked.asks(wallet);
        let is_own = Some(wallet) == public_key(&self.next.wallet);
        let Some(named) = state.epochs.named(&wallet) else { return };
        for unread in state.unread.iter_mut().filter(|unread| asks.0.contains(&unread.epoch.number)) {
            if is_own {
                unread.is_asked = true;
            } else if named.was_in(unread.epoch.number) && !unread.lacking.iter().any(|(lacking, _)| *lacking == wallet) {
                unread.lacking.push((wallet, named.head.sequence));
            }
        }
        state.forget_read();
    }
}
