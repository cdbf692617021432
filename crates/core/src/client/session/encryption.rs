//! What holds of a session's encryption, as the application is told: what is stored of it, also while a transaction changes it (I21).

use super::Session;
use crate::client::api::Event;
use crate::client::context::Context;
use crate::client::keys::Keys;
use crate::client::records::{SealedState, UnreadEpoch};
use crate::client::views::{EncryptionMode, EncryptionView, EpochMemberView, EpochView, Membership};
use crate::error::ErrorCode;
use crate::identity::Account;
use crate::ids::{public_key, wallet_address};

impl Session {
    /// What holds, by the accounts as they are stored and the keys of this device. `refusal`: why the relay does not serve it.
    pub fn encryption<'a>(
        &self,
        account: impl Fn(&str) -> Option<&'a Account>,
        keys: Option<&Keys>,
        refusal: Option<ErrorCode>,
    ) -> EncryptionView {
        let Some(sealed) = &self.stored.sealed else {
            return EncryptionView {
                encryption: EncryptionMode::Off,
                epoch: None,
                members: Vec::new(),
                unread_epoch_count: 0,
                lost_epoch_count: 0,
                missing: None,
            };
        };
        let last = sealed.epochs.last();
        let member = |key| {
            let wallet = wallet_address(key);
            let named = sealed.epochs.named(key).filter(|named| named.was_in(last));
            let known = account(&wallet).filter(|account| account.head().sequence > 0);
            let count = |account: &Account| account.devices().iter().filter(|device| device.is_approved).count() as u64;
            EpochMemberView { wallet, generation: named.map(|named| named.generation), approved_device_count: known.map(count) }
        };
        let own = account(&self.stored.wallet);
        let unread = || sealed.unread.iter().filter(|unread| unread.unread_at.is_some());
        let lost = unread().filter(|unread| is_lost(unread, own, keys)).count();
        EncryptionView {
            encryption: EncryptionMode::Required,
            epoch: sealed.last.as_ref().map(|last| EpochView { number: last.number, began_at: last.began_ms }),
            members: self.members(self.stored.group.as_ref()).iter().map(member).collect(),
            unread_epoch_count: (unread().count() - lost) as u64,
            lost_epoch_count: lost as u64,
            missing: refusal.or_else(|| self.missing(sealed, own, keys)),
        }
    }

    /// What this device lacks to read all that is written now. One that waits to be approved reads in epochs of its own alone.
    fn missing(&self, sealed: &SealedState, account: Option<&Account>, keys: Option<&Keys>) -> Option<ErrorCode> {
        if self.stored.membership != Membership::Member {
            return Some(ErrorCode::MemberRemoved);
        }
        let newest = || account.and_then(|account| account.generations().last()).map(|newest| newest.number);
        // Behind what changed who may read, the next text is in another epoch.
        let named = public_key(&self.stored.wallet).and_then(|key| sealed.epochs.named(&key)).map_or(0, |named| named.head.sequence);
        let is_over = account.is_some_and(|account| account.last_cut() > named);
        let last = sealed.last.as_ref().filter(|last| sealed.epochs.current() == Some(last.number) && !is_over);
        let needed = last.map_or_else(newest, |last| last.sealed.map(|(generation, _)| generation));
        if needed.zip(keys).is_some_and(|(needed, keys)| keys.account_key(needed).is_some()) {
            return None;
        }
        let waits = account.and_then(|account| account.device(&self.stored_device)).is_some_and(|device| !device.is_approved);
        Some(if waits { ErrorCode::DeviceNotApproved } else { ErrorCode::AccountKeyMissing })
    }

    /// This device has another account key.
    pub fn tell_encryption(&self, context: &mut Context<'_>) {
        if self.stored.sealed.is_some() && context.wallet == Some(self.wallet()) {
            context.tell(Event::EncryptionChanged { session_id: self.id().to_owned() });
        }
    }
}

/// Whether nobody gives the secret of an epoch that this device cannot read. What was sealed to an account key came, if ever, with the
/// newest key. What was sealed to nobody others give, but for what stands before a reset.
fn is_lost(unread: &UnreadEpoch, account: Option<&Account>, keys: Option<&Keys>) -> bool {
    let (Some(account), Some(keys)) = (account, keys) else { return false };
    match &unread.epoch.sealed {
        Some((generation, _)) => keys.has_newest(account) && keys.account_key(*generation).is_none(),
        None => unread.unread_at < Some(account.last_reset()),
    }
}
