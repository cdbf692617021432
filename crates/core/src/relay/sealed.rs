//! Encrypted sessions at the relay: the epochs of their logs, and the account logs that these lean on. What a device says of them is
//! judged by the rules that every device has too; and what comes too late for an account that has changed is refused, which nobody
//! else can do, because two logs have no common order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use solconnect_sync_vault::layout::ResealEntry;

use super::api::ConnectionId;
use super::budget::LOAD_US;
use super::context::{Context, Leaning};
use super::session::Session;
use crate::entry::{Digest, Entry};
use crate::epochs::{Epochs, Members, Said, Uncounted};
use crate::error::{ErrorCode, SyncError};
use crate::group::{Group, GroupChange, Role, Statement};
use crate::identity::{Account, DomainSet, Owner, PublicKey};
use crate::ids::{SessionId, WalletAddress, public_key};
use crate::limits::GROUP_MEMBERS_MAX;
use crate::wire::Malformed;

/// What an encrypted session has beside others.
pub(super) struct Sealed {
    pub epochs: Arc<Epochs>,
    /// Those of its application, once a member has written.
    domains: Option<DomainSet>,
    /// The wallets whose accounts are kept in memory for it, with their keys and account logs.
    watched: BTreeMap<WalletAddress, (PublicKey, SessionId)>,
}

impl Sealed {
    pub fn new(session_id: &str, stored: Option<&[u8]>) -> Result<Sealed, Malformed> {
        let epochs = stored.map_or_else(|| Ok(Epochs::new(session_id)), Epochs::from_bytes)?;
        Ok(Sealed { epochs: Arc::new(epochs), domains: None, watched: BTreeMap::new() })
    }

    /// The account logs that it leans on.
    pub fn leans_on(&self) -> impl Iterator<Item = &SessionId> {
        self.watched.values().map(|(_, account_id)| account_id)
    }
}

/// The epochs with the entries that are being numbered, and who is in the session.
#[derive(Clone)]
pub(super) struct Sealing {
    pub epochs: Arc<Epochs>,
    accounts: Arc<BTreeMap<PublicKey, Arc<Account>>>,
    /// The wallets of a session of two.
    pair: Vec<PublicKey>,
    /// Whether texts may be written in the last epoch, as far as it hangs on accounts: it is the same for all.
    texts: Result<(), SyncError>,
}

impl Sealing {
    /// Whether an entry counts as the next one, and may be written at this time.
    ///
    /// # Errors
    /// What the relay refuses it with.
    pub fn judge(&self, entry: &Entry, group: Option<&Group>) -> Result<Said, SyncError> {
        let wallets = match group {
            // To read the keys of a full group takes longer than all else, and texts do not depend on them.
            Some(group) if entry.message.kind.is_of_epochs() => {
                let mut wallets: Vec<PublicKey> = group.members().iter().filter_map(|member| public_key(&member.wallet)).collect();
                wallets.sort_unstable();
                wallets
            }
            Some(_) => Vec::new(),
            None => self.pair.clone(),
        };
        let role = |wallet: &str| group.map_or(Role::Member, |group| group.role(wallet));
        let account = |wallet: &PublicKey| self.accounts.get(wallet).map(Arc::as_ref);
        let members = Members { wallets, role: &role, account: &account };
        let said = self.epochs.judge(entry, &members).map_err(|why| self.refusal(why))?;
        match &said {
            Said::Epoch(epoch) => self.check_heads(epoch.members.iter().map(|member| (member.wallet, member.head.sequence)))?,
            Said::Text(_) => self.texts.clone()?,
            Said::Reseal(reseal) => self.check_keys(reseal, &members.wallets)?,
            Said::Asks(_) | Said::Clear => {}
        }
        Ok(said)
    }

    /// Whether an account has had a removal, a reset or another key behind one of these places.
    fn check_heads(&self, heads: impl Iterator<Item = (PublicKey, u64)>) -> Result<(), SyncError> {
        for (wallet, sequence) in heads {
            // One that was in memory may be read again meanwhile.
            let account = self.accounts.get(&wallet).ok_or_else(|| self.refusal(Uncounted::Unknown(wallet)))?;
            if account.last_cut() > sequence {
                let message = "the devices or the key of a member have changed: another epoch must begin first";
                return Err(SyncError::new(ErrorCode::EpochMoved, message));
            }
        }
        Ok(())
    }

    /// Whether secrets are given to members, and to the keys that they have now: earlier ones are known to devices that were removed.
    fn check_keys(&self, reseal: &ResealEntry, wallets: &[PublicKey]) -> Result<(), SyncError> {
        for item in &reseal.0 {
            let account = self.accounts.get(&item.wallet).filter(|_| wallets.binary_search(&item.wallet).is_ok());
            let newest = account.and_then(|account| account.generation_at(account.head().sequence));
            if newest.is_none_or(|newest| newest.number != item.generation) {
                return Err(SyncError::new(ErrorCode::EpochMoved, "the key that a secret is given to is another one by now"));
            }
        }
        Ok(())
    }

    fn check_last(&self) -> Result<(), SyncError> {
        self.check_heads(self.epochs.wallets().map(|named| (named.wallet, named.head.sequence)))
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
        // Nothing else changes them.
        if matches!(said, Said::Epoch(_)) || !changes.is_empty() {
            Arc::make_mut(&mut self.epochs).take(entry, said, digest, changes);
            self.texts = self.check_last();
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

    /// The wallets of the session, and those that are about to come in: their first epoch may stand in the update that adds them.
    fn wallets(&self) -> BTreeSet<WalletAddress> {
        let Some(group) = &self.group else { return self.members.wallets().cloned().collect() };
        let said = self.updates.iter().flat_map(|update| &update.messages).map(|draft| &draft.entry.message);
        // Others add nobody.
        let said = said.filter(|message| group.role(&message.sender_wallet) == Role::Admin);
        let coming = said.filter_map(|message| Statement::of(message).ok()).flat_map(|statement| match statement {
            Statement::Begin { members, .. } => members.into_iter().map(|(wallet, _)| wallet).collect(),
            Statement::Add(wallets) => wallets,
            _ => Vec::new(),
        });
        group.members().iter().map(|member| member.wallet.clone()).chain(coming.take(GROUP_MEMBERS_MAX)).collect()
    }

    /// Whether the accounts of all members are in memory. Those that are not are read, and the session goes on then.
    pub(super) fn has_accounts(&mut self, ctx: &mut Context) -> bool {
        let is_there = |ctx: &Context, sealed: &Sealed| sealed.leans_on().all(|account_id| ctx.accounts.contains_key(account_id));
        match &self.sealed {
            None => return true,
            // Whoever else is needed is seen then: what waits is not read through for each update that comes meanwhile.
            Some(sealed) if !is_there(ctx, sealed) => return false,
            Some(_) => {}
        }
        let wallets = self.wallets();
        let Some(sealed) = &mut self.sealed else { return true };
        let (Some(domains), Some(writer)) = (&sealed.domains, self.updates.front().map(|update| update.connection)) else { return true };
        let session_id = &self.log.session_id;
        sealed.watched.retain(|wallet, (_, account_id)| {
            let is_needed = wallets.contains(wallet);
            if !is_needed {
                ctx.lean(session_id, Leaning::Off(account_id.clone()));
            }
            is_needed
        });
        for wallet in wallets {
            let (false, Ok(owner)) = (sealed.watched.contains_key(&wallet), Owner::new(&wallet, domains.clone())) else { continue };
            if let Some(key) = public_key(&wallet) {
                sealed.watched.insert(wallet, (key, owner.account_id.clone()));
                ctx.charge(writer, LOAD_US);
                ctx.lean(session_id, Leaning::On(Box::new(owner), writer));
            }
        }
        is_there(ctx, sealed)
    }

    /// The epochs, to number entries behind them.
    pub(super) fn sealing(&self, ctx: &Context) -> Option<Sealing> {
        let sealed = self.sealed.as_ref()?;
        let accounts = sealed.watched.values().filter_map(|(key, account_id)| Some((*key, ctx.accounts.get(account_id)?.clone())));
        let mut pair: Vec<PublicKey> =
            self.members.wallets().filter(|_| self.group.is_none()).filter_map(|wallet| public_key(wallet)).collect();
        pair.sort_unstable();
        let sealing = Sealing { epochs: sealed.epochs.clone(), accounts: Arc::new(accounts.collect()), pair, texts: Ok(()) };
        Some(Sealing { texts: sealing.check_last(), ..sealing })
    }

    /// The accounts that it needs were read, or could not be.
    pub(super) fn on_accounts(&mut self, ctx: &mut Context, error: Option<&SyncError>) {
        let Some(error) = error else { return self.start_append(ctx) };
        if let Some(sealed) = &mut self.sealed {
            for (_, account_id) in std::mem::take(&mut sealed.watched).into_values() {
                ctx.lean(&self.log.session_id, Leaning::Off(account_id));
            }
        }
        self.refuse_waiting(ctx, error);
    }
}
