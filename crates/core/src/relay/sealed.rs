//! Encrypted sessions at the relay: the epochs of their logs, and the account logs that these lean on. What a device says of them is
//! judged by the rules that every device has too; and what comes too late for an account that has changed is refused, which nobody
//! else can do, because two logs have no common order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::api::ConnectionId;
use super::budget::LOAD_US;
use super::context::Context;
use super::session::Session;
use crate::entry::{Digest, Entry};
use crate::epochs::{Epochs, Members, Said, Uncounted};
use crate::error::{ErrorCode, SyncError};
use crate::group::{Group, GroupChange, Role};
use crate::identity::{Account, DomainSet, Owner, PublicKey};
use crate::ids::{SessionId, public_key};

/// What an encrypted session has beside others.
pub(super) struct Sealed {
    pub epochs: Arc<Epochs>,
    /// Those of its application, once a member has written.
    pub domains: Option<DomainSet>,
    /// The account logs that are kept in memory for it.
    pub watched: Vec<SessionId>,
}

impl Sealed {
    pub fn new(session_id: &str, stored: Option<&[u8]>) -> Option<Sealed> {
        let epochs = match stored {
            Some(bytes) => Epochs::from_bytes(bytes).ok()?,
            None => Epochs::new(session_id),
        };
        Some(Sealed { epochs: Arc::new(epochs), domains: None, watched: Vec::new() })
    }
}

/// The epochs with the entries that are being numbered, and who is in the session.
#[derive(Clone)]
pub(super) struct Sealing {
    pub epochs: Arc<Epochs>,
    accounts: Arc<BTreeMap<PublicKey, Arc<Account>>>,
    /// The wallets of a session of two.
    pair: Vec<PublicKey>,
}

impl Sealing {
    /// Whether an entry counts as the next one, and may be written at this time.
    ///
    /// # Errors
    /// What the relay refuses it with.
    pub fn judge(&self, entry: &Entry, group: Option<&Group>) -> Result<Said, SyncError> {
        let wallets = match group {
            Some(group) => {
                let mut wallets: Vec<PublicKey> = group.members().iter().filter_map(|member| public_key(&member.wallet)).collect();
                wallets.sort_unstable();
                wallets
            }
            None => self.pair.clone(),
        };
        let role = |wallet: &str| group.map_or(Role::Admin, |group| group.role(wallet));
        let account = |wallet: &PublicKey| self.accounts.get(wallet).map(Arc::as_ref);
        let said = self.epochs.judge(entry, &Members { wallets, role: &role, account: &account }).map_err(|why| self.refusal(why))?;
        let is_behind = |(wallet, sequence): (&PublicKey, u64)| account(wallet).is_some_and(|account| account.last_cut() > sequence);
        let is_late = match &said {
            Said::Epoch(epoch) => epoch.members.iter().any(|member| is_behind((&member.wallet, member.head.sequence))),
            Said::Text(_) => self.epochs.wallets().any(|named| is_behind((&named.wallet, named.head.sequence))),
            _ => false,
        };
        if is_late {
            let message = "the devices or the key of a member have changed: another epoch must begin first";
            return Err(SyncError::new(ErrorCode::EpochMoved, message));
        }
        Ok(said)
    }

    fn refusal(&self, why: Uncounted) -> SyncError {
        match why {
            Uncounted::Unknown(wallet) if self.accounts.contains_key(&wallet) => {
                SyncError::new(ErrorCode::RelayRolledBack, "an epoch names more of an account log than this relay has")
            }
            Uncounted::Unknown(_) => SyncError::new(ErrorCode::RelayBusy, "the account of a member is not read yet; send it again"),
            Uncounted::Forked(_) => SyncError::new(ErrorCode::RelayForked, "an epoch names another account log than this relay has"),
            Uncounted::Moved => SyncError::new(ErrorCode::EpochMoved, "another epoch has begun, or must begin first"),
            Uncounted::Never(what) => SyncError::new(ErrorCode::InvalidMessageFormat, ["what is encrypted: ", what].concat()),
        }
    }

    /// The entry has its place.
    pub fn take(&mut self, entry: &Entry, said: &Said, digest: &Digest, changes: &[GroupChange]) {
        if *said != Said::Clear || !changes.is_empty() {
            Arc::make_mut(&mut self.epochs).take(entry, said, digest, changes);
        }
    }
}

impl Session {
    /// The application of who writes here is known.
    pub(super) fn learn_domains(&mut self, ctx: &Context, connection: ConnectionId) {
        if let (Some(sealed), Some(guest)) = (&mut self.sealed, ctx.guest(connection)) {
            sealed.domains.get_or_insert_with(|| guest.domains.clone());
        }
    }

    /// The wallets of the session.
    fn wallets(&self) -> Vec<String> {
        match &self.group {
            Some(group) => group.members().iter().map(|member| member.wallet.clone()).collect(),
            None => self.members.wallets().cloned().collect(),
        }
    }

    /// Whether the accounts of all members are in memory. Those that are not are read, and the session goes on then.
    pub(super) fn has_accounts(&mut self, ctx: &mut Context) -> bool {
        let wallets = self.wallets();
        let Some(sealed) = &mut self.sealed else { return true };
        let Some(domains) = sealed.domains.clone() else { return true };
        let writer = self.updates.front().map(|update| update.connection);
        let mut is_complete = true;
        for owner in wallets.iter().filter_map(|wallet| Owner::new(wallet, domains.clone()).ok()) {
            if !sealed.watched.contains(&owner.account_id) {
                sealed.watched.push(owner.account_id.clone());
                writer.into_iter().for_each(|writer| ctx.charge(writer, LOAD_US));
                ctx.watched.push((owner.clone(), self.log.session_id.clone()));
            }
            is_complete &= ctx.accounts.contains_key(&owner.account_id);
        }
        is_complete
    }

    /// The epochs, to number entries behind them.
    pub(super) fn sealing(&self, ctx: &Context) -> Option<Sealing> {
        let sealed = self.sealed.as_ref()?;
        let mut accounts = BTreeMap::new();
        let mut pair = Vec::new();
        for (wallet, key) in self.wallets().iter().filter_map(|wallet| Some((wallet, public_key(wallet)?))) {
            pair.push(key);
            let account_id = sealed.domains.as_ref().and_then(|domains| Some(domains.account_id(&public_key(wallet)?)));
            if let Some(account) = account_id.and_then(|account_id| ctx.accounts.get(&account_id)) {
                accounts.insert(key, account.clone());
            }
        }
        pair.sort_unstable();
        Some(Sealing { epochs: sealed.epochs.clone(), accounts: Arc::new(accounts), pair })
    }

    /// The accounts that it needs were read, or could not be.
    pub(super) fn on_accounts(&mut self, ctx: &mut Context, error: Option<&SyncError>) {
        if let Some(error) = error {
            if let Some(sealed) = &mut self.sealed {
                sealed.watched.clear();
            }
            return self.refuse_waiting(ctx, error);
        }
        self.start_append(ctx);
    }
}
