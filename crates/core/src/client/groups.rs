//! Groups of the connected wallet: begun here, or joined because somebody added the wallet.

use super::Client;
use super::api::{Action, Reply};
use super::records::SessionRecord;
use super::session::Session;
use super::transaction::Transaction;
use crate::error::{ErrorCode, SyncError};
use crate::group::{Group, GroupNonce};
use crate::ids::WalletAddress;
use crate::limits::SESSIONS_MAX;
use crate::time::Now;

impl Client {
    /// `startSession` of a group: its first entry is queued like a message, and the relay hears it when it is reached.
    pub(super) fn open_group(
        &mut self,
        now: Now,
        name: &str,
        others: &[WalletAddress],
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) -> Result<Reply, SyncError> {
        let wallet = self.wallet_for_call()?.clone();
        let owner = self
            .identity
            .as_ref()
            .and_then(|identity| identity.owner(&wallet))
            .ok_or_else(|| SyncError::new(ErrorCode::SignInRequired, "a group is of devices that sign in: set the option `domains`"))?;
        let mut nonce = GroupNonce::default();
        self.random.fill(&mut nonce);
        let (group, statement) = Group::draft(&wallet, owner.domains, nonce, name, others, self.vault.is_some())?;
        let session_id = group.session_id().to_owned();
        self.insert_group(SessionRecord::of_group(session_id.clone(), wallet, name), transaction)?;
        let (mut session, mut context) = self.session_for_call(now, &session_id, actions)?;
        session.open(&mut context, transaction)?;
        session.say(&context, &statement, transaction)?;
        Ok(Reply::Session(session.next_view()))
    }

    /// The wallet comes into a group, or comes back.
    pub(super) fn join_group(
        &mut self,
        now: Now,
        session_id: &str,
        name: &str,
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) -> Result<Reply, SyncError> {
        let wallet = self.wallet_for_call()?.clone();
        if self.sessions.get(session_id).is_none() {
            self.insert_group(SessionRecord::of_group(session_id.to_owned(), wallet, name), transaction)?;
        }
        self.sessions.visit_those(&[session_id.to_owned()], |session| session.come_back(transaction));
        self.open_stored(now, session_id, transaction, actions)
    }

    fn insert_group(&mut self, record: SessionRecord, transaction: &mut Transaction) -> Result<(), SyncError> {
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(SyncError::new(ErrorCode::LimitReached, format!("a device keeps at most {SESSIONS_MAX} sessions")));
        }
        self.sessions.insert(Session::create(record, self.device.device_id.clone(), transaction));
        Ok(())
    }
}
