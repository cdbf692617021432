//! Secrets of epochs for members that were in them and cannot read them, because their account had no key then or they were sealed
//! rubbish: whoever has a secret seals it again, once there is a key.

use super::Session;
use super::opening::account_of;
use crate::client::context::Context;
use crate::client::identity::Identity;
use crate::client::records::{EpochSeal, SealedState};
use crate::client::transaction::Transaction;
use crate::client::vault::{AsksEntry, EpochEntry, EpochMember, Fault, KnownEpoch, ResealEntry, ResealTo, Resealed, if_opened};
use crate::identity::{Account, PublicKey};
use crate::ids::{DeviceId, public_key};
use crate::limits::{OUTBOX_MESSAGES_MAX, RESEAL_WAIT_MS};
use crate::message::Kind;

/// The other members that an epoch has no secret for, and the places of their account logs that it names.
pub(super) fn lacking(epoch: &EpochEntry, own: Option<PublicKey>) -> impl Iterator<Item = (PublicKey, u64)> {
    let others = epoch.members.iter().filter(move |member| member.sealed.is_none() && Some(member.wallet) != own);
    others.map(|member| (member.wallet, member.head.sequence))
}

/// An epoch is about to begin that names wallets behind a reset: those lack what was written before, which nobody gives them by itself.
pub(super) fn note_resets(context: &Context<'_>, state: &mut SealedState, epoch: &EpochEntry) {
    for EpochMember { wallet, .. } in &epoch.members {
        let before = state.epochs.named(wallet).map(|named| named.head.sequence);
        let reset = account_of(context, wallet).map_or(0, Account::last_reset);
        for unread in state.unread.iter_mut().filter(|_| before.is_some_and(|before| reset > before)) {
            unread.lack(*wallet, before.unwrap_or_default());
        }
    }
}

impl Session {
    /// A wallet that can be given secrets, and of which epochs.
    fn owed(&self, context: &Context<'_>) -> Option<(ResealTo, Vec<&EpochSeal>)> {
        let state = self.stored.sealed.as_ref().filter(|state| state.epochs.current().is_some())?;
        let has_moved = self.has_epoch_moved(context);
        let members = self.members(self.stored.group.as_ref());
        let lacking = state.unread.iter().flat_map(|unread| &unread.lacking).filter(|(wallet, _)| members.contains(wallet));
        let owed = lacking.filter_map(|(wallet, _)| {
            // Another epoch is begun for a wallet that takes part: the last one is sealed to it.
            let takes_part = state.epochs.named(wallet).is_some_and(|named| named.generation > 0);
            let account = account_of(context, wallet).filter(|_| takes_part || !has_moved)?;
            let newest = account.generation_at(account.head().sequence)?;
            // Behind a reset a person has to agree: who was tricked into one has not thereby given away the past.
            let may_have = |lacking: &&(PublicKey, u64)| lacking.0 == *wallet && account.last_reset() <= lacking.1;
            let was_in = |number: u64| state.epochs.named(wallet).is_some_and(|named| named.was_in(number));
            let given = state.unread.iter().filter(|unread| {
                let epoch = &unread.epoch;
                unread.unread_at.is_none()
                    && unread.lacking.iter().any(|lacking| may_have(&lacking))
                    && was_in(epoch.number)
                    && self.has_secret(context, epoch)
            });
            let epochs: Vec<&EpochSeal> = given.map(|unread| &unread.epoch).collect();
            let to = ResealTo { wallet: *wallet, generation: newest.number, account_key: newest.public };
            Some((to, epochs)).filter(|(_, epochs)| !epochs.is_empty())
        });
        // Who asks again and again keeps nobody else waiting.
        owed.min_by_key(|(to, _)| self.asked.doublings(&to.wallet))
    }

    /// Sees to it that what is owed is given: by the author at once, by others after a wait, in which one of them mostly has. What nobody
    /// gives in that time is asked for; by chance one of the wallet's devices mostly is the first.
    pub(super) fn prepare_reseal(&mut self, context: &mut Context<'_>) {
        let now_ms = context.now.monotonic_ms;
        if self.is_openable(context) {
            self.flow.reseal_at_ms = Some(now_ms);
            return;
        }
        let is_waiting = || self.outbox.iter().any(|entry| matches!(entry.message.kind, Kind::RESEAL | Kind::ASKS));
        let is_idle = |state: &SealedState| state.unread.iter().all(|unread| unread.lacking.is_empty() && unread.unread_at.is_none());
        if self.next.sealed.as_ref().is_none_or(is_idle) || self.in_transaction || self.gives_nothing || is_waiting() {
            return;
        }
        let (from_ms, doublings) = match self.owed(context) {
            Some((to, epochs)) => {
                let doublings = self.asked.doublings(&to.wallet);
                if doublings <= 1 && epochs.iter().any(|epoch| epoch.author == self.device) {
                    self.flow.reseal_at_ms = Some(now_ms);
                    return;
                }
                (0, doublings.saturating_sub(1))
            }
            None if self.unasked(context).is_empty() => {
                self.flow.reseal_at_ms = None;
                return;
            }
            None => (RESEAL_WAIT_MS, self.asked.doublings(&public_key(&self.next.wallet).unwrap_or_default())),
        };
        // What was to be asked for later does not hold up what is given.
        let drawn = self.flow.reseal_at_ms.filter(|at_ms| *at_ms < now_ms + ((from_ms + RESEAL_WAIT_MS) << doublings));
        self.flow.reseal_at_ms = drawn.or_else(|| Some(now_ms + (context.random.u64(from_ms..from_ms + RESEAL_WAIT_MS) << doublings)));
    }

    /// Whether secrets came before the account key that they are sealed to, and that is there now.
    fn is_openable(&self, context: &Context<'_>) -> bool {
        let has_key =
            |generation: u64| context.identity.and_then(Identity::keys).is_some_and(|keys| keys.account_key(generation).is_some());
        let state = self.stored.sealed.as_ref().filter(|_| !self.in_transaction);
        state.is_some_and(|state| state.waiting.iter().any(|(_, resealed)| has_key(resealed.generation)))
    }

    /// Gives it, opens what was given, or asks.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn reseal(&mut self, context: &mut Context<'_>, transaction: &mut Transaction) -> Result<(), Fault> {
        self.flow.reseal_at_ms = None;
        if self.is_openable(context)
            && let Some(mut state) = self.next.sealed.clone()
        {
            for (author, resealed) in std::mem::take(&mut state.waiting) {
                self.take_secrets(context, &mut state, &author, &resealed)?;
            }
            // Where it cannot be stored, it is opened again after a wait.
            transaction.from_relay = true;
            self.change(transaction, true).sealed = Some(state);
            return Ok(());
        }
        let (Some(vault), Some(identity), true) = (context.vault, context.identity, self.outbox.len() < OUTBOX_MESSAGES_MAX) else {
            return Ok(());
        };
        let (kind, bytes) = if let Some((to, epochs)) = self.owed(context) {
            let mut secrets = Vec::with_capacity(epochs.len());
            for epoch in epochs {
                secrets.extend(self.epoch_secret(context, epoch)?.map(|secret| (epoch.known(), secret)));
            }
            let resealed = vault.reseal(&self.device, &to, &secrets, &identity.draw_secret())?;
            (Kind::RESEAL, ResealEntry(vec![resealed]).to_bytes())
        } else {
            let epochs = self.unasked(context);
            if epochs.is_empty() {
                return Ok(());
            }
            (Kind::ASKS, AsksEntry(epochs).to_bytes())
        };
        self.say_of_epochs(context, kind, &bytes, transaction);
        Ok(())
    }

    /// The relay takes none of what is given or asked for: nothing is, before the next start.
    pub(super) fn give_nothing(&mut self, context: &mut Context<'_>, transaction: &mut Transaction) {
        self.gives_nothing = true;
        self.number_anew(context, |entry| !matches!(entry.message.kind, Kind::RESEAL | Kind::ASKS), transaction);
    }

    /// Somebody has given secrets: who has them lacks them no more. Those for this wallet are kept under a seal of its own.
    ///
    /// # Errors
    /// [`Fault::Failed`].
    pub(super) fn take_reseal(
        &mut self,
        context: &Context<'_>,
        state: &mut SealedState,
        (author, by): (&str, PublicKey),
        reseal: &ResealEntry,
    ) -> Result<(), Fault> {
        for resealed in &reseal.0 {
            let is_relied_on = self.asked.gave(resealed.wallet, by) || author == self.device;
            for unread in state.unread.iter_mut().filter(|unread| resealed.epochs.contains(&unread.epoch.number)) {
                unread.lacking.retain(|(wallet, _)| *wallet != resealed.wallet || !is_relied_on);
            }
            if Some(resealed.wallet) == public_key(&self.next.wallet) {
                self.take_secrets(context, state, author, resealed)?;
            }
        }
        state.forget_read();
        Ok(())
    }

    fn take_secrets(&self, context: &Context<'_>, state: &mut SealedState, author: &str, resealed: &Resealed) -> Result<(), Fault> {
        let (Some(vault), Some(identity)) = (context.vault, context.identity) else { return Ok(()) };
        let with = identity.latest_keys().and_then(|keys| keys.account_key(resealed.generation));
        // Where it is not what is lacked, that is asked for again.
        let given = state.unread.iter_mut().filter(|unread| resealed.epochs.contains(&unread.epoch.number));
        given.for_each(|unread| unread.is_asked = with.is_none() && unread.unread_at.is_some());
        let known = |number: &u64| state.unread.iter().find(|unread| unread.epoch.number == *number).map(|unread| unread.epoch.known());
        let Some(epochs) = resealed.epochs.iter().map(known).collect::<Option<Vec<KnownEpoch>>>() else { return Ok(()) };
        let Some(with) = with else {
            state.keep_waiting(author, resealed);
            return Ok(());
        };
        let Some(secrets) = if_opened(vault.open_reseal(resealed, author, with, &epochs))? else { return Ok(()) };
        let account_key = vault.public_of(with)?;
        let to = ResealTo { wallet: resealed.wallet, generation: resealed.generation, account_key };
        for (epoch, secret) in epochs.into_iter().zip(secrets) {
            let Some(unread) = state.unread.iter_mut().find(|unread| unread.epoch.number == epoch.number && unread.unread_at.is_some())
            else {
                continue;
            };
            let Some(secret) = secret else { continue };
            let own = vault.reseal(&self.device, &to, &[(epoch, secret)], &identity.draw_secret())?;
            let Ok(sealed) = own.sealed.try_into() else { continue };
            unread.epoch.sealed = Some((resealed.generation, sealed));
            unread.epoch.resealed_by = Some(DeviceId::from(&*self.device));
            if let Some(last) = state.last.as_mut().filter(|last| last.number == epoch.number) {
                *last = unread.epoch.clone();
            }
        }
        Ok(())
    }
}
