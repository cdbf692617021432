//! What a session machine may do beside changing itself: its effects, lent to it for one input.

use std::sync::Arc;

use super::ClientConfig;
use super::accounts::Accounts;
use super::api::{Action, Change, Event, RequestId};
use super::identity::Identity;
use super::link::Link;
use super::sync_calls::SyncCalls;
use super::vault::Vault;
use super::views::MessageStatus;
use crate::error::SyncError;
use crate::identity::{Account, PublicKey};
use crate::time::Now;

/// Lent to a session for one input.
pub(super) struct Context<'a> {
    pub now: Now,
    pub config: &'a ClientConfig,
    pub random: &'a mut fastrand::Rng,
    pub wallet: Option<&'a str>,
    /// The device's key, and the relay's; `None` where nobody signs.
    pub identity: Option<&'a Identity>,
    /// What it encrypts with, where the application does.
    pub vault: Option<&'a dyn Vault>,
    /// What keeps apart the ids that are made of equal counters.
    pub start: &'a mut String,
    pub link: &'a mut Link,
    /// Whose devices those of other wallets are.
    pub accounts: &'a mut Accounts,
    pub calls: &'a mut SyncCalls,
    pub actions: &'a mut Vec<Action>,
    /// Whether somebody wants to hear of changes.
    pub observed: bool,
}

impl Context<'_> {
    pub fn tell(&mut self, event: Event) {
        if self.observed {
            self.actions.extend(change_of(&event).map(|change| Action::Notify(Event::Changed(change))));
        }
        self.actions.push(Action::Notify(event));
    }

    /// Tells who observes.
    pub fn change(&mut self, change: impl FnOnce() -> Change) {
        if self.observed {
            self.actions.push(Action::Notify(Event::Changed(change())));
        }
    }

    pub fn transmit(&mut self, frame: Arc<[u8]>) {
        self.actions.push(Action::Transmit { generation: self.link.generation(), frame });
    }

    /// The relay's key, where this device knows it: then what the relay says of its log is signed.
    pub fn relay_key(&self) -> Option<PublicKey> {
        self.identity?.relay_key(self.config.relay_key)
    }

    /// Whether a wallet's account log has ever listed a device, as far as is known here.
    pub fn has_listed(&mut self, wallet: &str, device_id: &str) -> bool {
        match self.identity.filter(|_| self.wallet == Some(wallet)) {
            Some(identity) => identity.has_listed(wallet, device_id),
            None => self.accounts.has_listed(wallet, device_id),
        }
    }

    /// The account of a wallet, this one's or another's, as far as its log is known here.
    pub fn account(&self, wallet: &str) -> Option<&Account> {
        match self.identity.filter(|_| self.wallet == Some(wallet)) {
            Some(identity) => identity.known_account(wallet),
            None => self.accounts.get(wallet),
        }
    }

    /// Whether another wallet's device waits to be approved, as far as is known here.
    pub fn waits_elsewhere(&self, wallet: &str, device_id: &str) -> bool {
        let account = self.accounts.get(wallet).filter(|_| self.wallet != Some(wallet));
        account.and_then(|account| account.device(device_id)).is_some_and(|device| !device.is_approved)
    }

    /// One sync of a call has ended.
    pub fn answer(&mut self, request: RequestId, result: Result<u64, SyncError>) {
        self.calls.answer(request, result, self.actions);
    }
}

/// What an event of the application means for who observes. Messages that are heard are told in the order of the log, with
/// the own ones.
pub(super) fn change_of(event: &Event) -> Option<Change> {
    match event {
        Event::MessageChanged { session_id, message_id } => {
            Some(Change::Stale { session_id: session_id.clone(), message_id: message_id.clone() })
        }
        // Only what has its place in the log is further, of which receipts tell.
        Event::StatusChanged { session_id, message_id, status, error } if *status <= MessageStatus::Sent => {
            let (session_id, message_id, error) = (session_id.clone(), message_id.clone(), error.clone());
            Some(Change::Status { session_id, message_id, status: *status, error })
        }
        _ => None,
    }
}
