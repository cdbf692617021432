//! What holds of a session's encryption, as the application is told: what is stored of it, also while a transaction changes it (I21).

use super::Session;
use crate::client::api::Event;
use crate::client::context::Context;
use crate::client::keys::Keys;
use crate::client::records::SealedState;
use crate::client::views::{EncryptionMode, EncryptionView, EpochMemberView, EpochView};
use crate::error::ErrorCode;
use crate::identity::Account;
use crate::ids::wallet_address;

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
        EncryptionView {
            encryption: EncryptionMode::Required,
            epoch: sealed.last.as_ref().map(|last| EpochView { number: last.number, began_at: last.began_ms }),
            members: self.members(self.stored.group.as_ref()).iter().map(member).collect(),
            unread_epoch_count: sealed.unread.iter().filter(|unread| unread.is_unread).count() as u64,
            missing: refusal.or_else(|| self.missing(sealed, account(&self.stored.wallet), keys)),
        }
    }

    /// What this device lacks to read all that is written now. One that waits to be approved reads in epochs of its own alone.
    fn missing(&self, sealed: &SealedState, account: Option<&Account>, keys: Option<&Keys>) -> Option<ErrorCode> {
        let newest = || account.and_then(|account| account.generations().last()).map(|newest| newest.number);
        let last = sealed.last.as_ref().filter(|last| sealed.epochs.current() == Some(last.number));
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
