//! What the application asks of the client, and of which session.

use super::Client;
use super::api::{Action, Event, Input, Reply, RequestId, StoredLog, SyncScope};
use super::config::check_interval;
use super::context::Context;
use super::devices::Wanted;
use super::identity::Identity;
use super::records::SessionRecord;
use super::session::Session;
use super::sessions::Visit;
use super::transaction::Transaction;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{SessionId, WalletAddress, check_wallet};
use crate::limits::{BATCH_MESSAGES_MAX, SESSIONS_MAX};
use crate::time::Now;

impl Client {
    /// The request of a call that changes what is stored; `None` for all other inputs.
    pub(super) fn writing_request(call: &Input) -> Option<RequestId> {
        match call {
            Input::OpenSession { request, .. }
            | Input::OpenGroup { request, .. }
            | Input::Regroup { request, .. }
            | Input::AcceptSession { request, .. }
            | Input::DeclineSession { request, .. }
            | Input::BlockWallet { request, .. }
            | Input::UnblockWallet { request, .. }
            | Input::CloseSession { request, .. }
            | Input::Send { request, .. }
            | Input::Edit { request, .. }
            | Input::Cancel { request, .. }
            | Input::Retry { request, .. }
            | Input::MarkRead { request, .. }
            | Input::ClearLog { request, .. }
            | Input::AcceptRelayLog { request, .. }
            | Input::Certify { request, .. }
            | Input::Import { request, .. } => Some(*request),
            Input::Keyed { call, .. } => Client::writing_request(call),
            _ => None,
        }
    }

    /// Calls that change what is stored: answered when that is on disk.
    pub(super) fn collect_call(
        &mut self,
        now: Now,
        call: &Input,
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) -> Result<Reply, SyncError> {
        let writes =
            matches!(call, Input::Send { .. } | Input::Edit { .. } | Input::Retry { .. } | Input::OpenGroup { .. } | Input::Regroup { .. });
        if let Some(error) = self.writing_refusal().filter(|_| writes) {
            return Err(error);
        }
        if let Input::Send { session_id, .. }
        | Input::Edit { session_id, .. }
        | Input::Regroup { session_id, .. }
        | Input::AcceptSession { session_id, .. } = call
        {
            self.check_encryption(session_id)?;
        }
        match call {
            Input::OpenSession { peer_wallet, .. } => self.open(now, peer_wallet, transaction, actions),
            Input::OpenGroup { name, members, .. } => self.open_group(now, name, members, transaction, actions),
            Input::Regroup { session_id, wish, .. } => {
                let (mut session, mut context) = self.session_for_call(now, session_id, actions)?;
                session.regroup(&mut context, wish, transaction)
            }
            Input::AcceptSession { session_id, .. } => self.accept(now, session_id, transaction, actions),
            Input::DeclineSession { session_id, .. } => self.decline(session_id, transaction),
            Input::BlockWallet { peer_wallet, .. } => self.block(now, peer_wallet, transaction),
            Input::UnblockWallet { peer_wallet, .. } => self.unblock(peer_wallet, transaction),
            Input::Certify { certificate, .. } => self.certify(now, certificate, transaction),
            Input::AcceptRelayLog { stored, .. } => self.accept_relay_log(now, stored, transaction, actions),
            Input::Import { peer_wallet, entries, .. } => {
                if entries.len() > BATCH_MESSAGES_MAX {
                    let message = format!("import at most {BATCH_MESSAGES_MAX} messages at once");
                    return Err(SyncError::new(ErrorCode::InvalidArgument, message));
                }
                let session_id = self.session_with(peer_wallet, transaction)?;
                let (mut session, mut context) = self.session_for_call(now, &session_id, actions)?;
                session.import(&mut context, entries.clone(), transaction)
            }
            Input::CloseSession { session_id, .. }
            | Input::Send { session_id, .. }
            | Input::Edit { session_id, .. }
            | Input::MarkRead { session_id, .. }
            | Input::ClearLog { session_id, .. } => {
                let (mut session, mut context) = self.session_for_call(now, session_id, actions)?;
                session.on_call(&mut context, call, transaction)
            }
            Input::Cancel { message_id, .. } | Input::Retry { message_id, .. } => {
                self.wallet_for_call()?;
                let (sessions, context) = self.lend(now, actions);
                let is_there = |session: &&Session| context.wallet == Some(session.wallet()) && session.has_unsent(message_id);
                let session_id = sessions.values().find(is_there).map(|session| session.id().to_owned());
                let session_id = session_id.ok_or_else(unknown_message)?;
                if matches!(call, Input::Retry { .. }) {
                    self.check_encryption(&session_id)?;
                }
                let (mut session, mut context) = self.session_for_call(now, &session_id, actions)?;
                session.on_call(&mut context, call, transaction)
            }
            Input::Keyed { key, call } => {
                self.collect_keyed(key, transaction, |client, transaction| client.collect_call(now, call, transaction, actions))
            }
            _ => Err(SyncError::new(ErrorCode::InvalidArgument, "the call writes nothing")),
        }
    }

    /// In one transaction, because the device takes another id in all sessions.
    fn accept_relay_log(
        &mut self,
        now: Now,
        stored: &[StoredLog],
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) -> Result<Reply, SyncError> {
        self.wallet_for_call()?;
        let names = self.parted();
        let mut parted = Vec::new();
        // Of one that has parted since these were read nothing would be offered.
        for stored in stored.iter().filter(|stored| names.contains(&stored.session_id)) {
            if let Some(session) = self.sessions.get(&stored.session_id).filter(|session| session.has_stored(stored)) {
                let agreed = session.agreed_through(stored);
                parted.push((stored, agreed, session.offer_again(&self.device, agreed, stored)?));
            }
        }
        self.accept_account(transaction);
        if !parted.is_empty() {
            self.accounts.forget_all(transaction);
        }
        let count = parted.iter().map(|(.., offered)| offered.len() as u64).sum();
        let (sessions, mut context) = self.lend(now, actions);
        for (stored, agreed, offered) in parted {
            if let Some(mut session) = sessions.visit(&stored.session_id) {
                session.accept_log(&mut context, agreed, offered, stored, transaction);
            }
        }
        Ok(Reply::Count(count))
    }

    /// Calls that change nothing that is stored.
    pub(super) fn run_call(&mut self, now: Now, call: Input, actions: &mut Vec<Action>) {
        match call {
            Input::ConnectWallet { request, wallet } => {
                let result = check_wallet(&wallet).map(|()| Reply::Done);
                if result.is_ok() && self.wallet.as_ref() != Some(&wallet) {
                    self.leave_wallet(now, actions);
                    self.wallet = Some(wallet);
                }
                actions.push(Action::Reply { request, result });
                let refusal = self.writing_refusal();
                actions.extend(refusal.map(|error| Action::Notify(Event::SignInNeeded { error: Some(error) })));
                self.tell_invitations(actions);
                self.tell_requests(actions);
            }
            Input::DisconnectWallet { request } => {
                self.leave_wallet(now, actions);
                actions.push(Action::Reply { request, result: Ok(Reply::Done) });
            }
            Input::Sync { request, session_id, scope } => {
                let result = match session_id {
                    Some(session_id) => self.sync_one(now, request, &session_id, scope, actions),
                    None => self.sync_all(now, request, scope, actions),
                };
                if let Err(error) = result {
                    actions.push(Action::Reply { request, result: Err(error) });
                }
            }
            Input::AutoSync { request, session_id, interval_ms } => {
                let result = self.auto_sync(now, &session_id, interval_ms, actions);
                actions.push(Action::Reply { request, result });
            }
            Input::RemoveDevice { request, device_id } => self.wish(now, request, Ok(Wanted::Removed(device_id)), actions),
            Input::ApproveDevice { request, device_id } => self.wish(now, request, Ok(Wanted::Approved(device_id)), actions),
            Input::CreateRecoveryCode { request } => self.wish(now, request, self.new_code(), actions),
            Input::NeedsPasskey { request, makes } => self.wish(now, request, self.asking(makes), actions),
            Input::CreatePasskey { request, output } => self.wish(now, request, self.new_passkey(&output), actions),
            Input::Recover { request, code } => self.wish(now, request, self.keys_of_code(&code).map(Wanted::Recovered), actions),
            Input::RecoverWithPasskey { request, output } => {
                self.wish(now, request, self.keys_of_passkey(&output).map(Wanted::Recovered), actions);
            }
            Input::Keyed { call, .. } => self.run_call(now, *call, actions),
            // Not calls.
            _ => {}
        }
    }

    /// Why no connection is wanted; `None` where one is.
    pub(super) fn offline_reason(&self) -> Option<SyncError> {
        let by_wish = self.is_offline_by_wish.then(offline_by_wish);
        by_wish.or_else(|| self.identity.as_ref().and_then(Identity::refusal))
    }

    fn leave_wallet(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.wallet.take().is_some() {
            self.drop_connection(now, "the wallet was disconnected", actions);
            self.fail_syncs(now, &SyncError::new(ErrorCode::WalletNotConnected, "the wallet was disconnected"), actions);
        }
    }

    /// The wallet of a call, which must be connected, to a client that may still write.
    pub(super) fn wallet_for_call(&self) -> Result<&WalletAddress, SyncError> {
        if let Some(error) = &self.fenced {
            return Err(error.clone());
        }
        self.wallet.as_ref().ok_or_else(|| SyncError::new(ErrorCode::WalletNotConnected, "connectWallet has not been called"))
    }

    /// The session of a call, which must be one of the connected wallet.
    pub(super) fn session_for_call<'a>(
        &'a mut self,
        now: Now,
        session_id: &str,
        actions: &'a mut Vec<Action>,
    ) -> Result<(Visit<'a>, Context<'a>), SyncError> {
        self.wallet_for_call()?;
        let (sessions, context) = self.lend(now, actions);
        match sessions.visit(session_id) {
            Some(session) if context.wallet == Some(session.wallet()) => Ok((session, context)),
            _ => {
                let shown: String = session_id.chars().take(80).collect();
                let message =
                    format!("session {shown} was not started on this device: call startSession, or acceptSession for an invitation");
                Err(SyncError::new(ErrorCode::UnknownSession, message))
            }
        }
    }

    /// The session with a peer, created where it is new.
    pub(super) fn session_with(&mut self, peer_wallet: &str, transaction: &mut Transaction) -> Result<SessionId, SyncError> {
        let wallet = self.wallet_for_call()?.clone();
        check_wallet(peer_wallet)?;
        let session_id = self.session_of(&wallet, peer_wallet);
        match self.sessions.get(&session_id) {
            Some(session) if session.wallet() == wallet => return Ok(session_id),
            Some(_) => {
                let message = "this database already holds the other side of this session; give each wallet a database of its own";
                return Err(SyncError::new(ErrorCode::SessionCreationFailed, message));
            }
            None if self.sessions.len() >= SESSIONS_MAX => {
                return Err(SyncError::new(ErrorCode::LimitReached, format!("a device keeps at most {SESSIONS_MAX} sessions")));
            }
            None => {}
        }
        let record = SessionRecord::new(session_id.clone(), wallet, peer_wallet.to_owned());
        self.sessions.insert(Session::create(record, self.device.device_id.clone(), transaction));
        Ok(session_id)
    }

    fn auto_sync(&mut self, now: Now, session_id: &str, interval_ms: Option<u64>, actions: &mut Vec<Action>) -> Result<Reply, SyncError> {
        if let Some(interval_ms) = interval_ms {
            check_interval("intervalMs", interval_ms)?;
        }
        let (mut session, _) = self.session_for_call(now, session_id, actions)?;
        session.set_auto_sync(now, interval_ms);
        Ok(Reply::Done)
    }

    /// `syncMessages` and `processQueuedMessages` of one session.
    fn sync_one(
        &mut self,
        now: Now,
        request: RequestId,
        session_id: &str,
        scope: SyncScope,
        actions: &mut Vec<Action>,
    ) -> Result<(), SyncError> {
        let refusal = self.offline_reason();
        let (mut session, mut context) = self.session_for_call(now, session_id, actions)?;
        session.check_member()?;
        if let Some(error) = refusal {
            return Err(error);
        }
        context.link.hurry(now);
        session.sync(&mut context, request, scope);
        Ok(())
    }

    /// Of all sessions that have something to sync.
    fn sync_all(&mut self, now: Now, request: RequestId, scope: SyncScope, actions: &mut Vec<Action>) -> Result<(), SyncError> {
        self.wallet_for_call()?;
        let refusal = self.offline_reason();
        let (sessions, mut context) = self.lend(now, actions);
        let wallet = context.wallet;
        let is_meant = |session: &Session| wallet == Some(session.wallet()) && session.has_work();
        let count = sessions.values().filter(|session| is_meant(session)).count();
        context.link.hurry(now);
        if count == 0 {
            context.actions.push(Action::Reply { request, result: Ok(Reply::Count(0)) });
            return Ok(());
        }
        if let Some(error) = refusal {
            return Err(error);
        }
        context.calls.insert(request, count);
        for session in sessions.visit_all().filter(|session| is_meant(session)) {
            session.sync(&mut context, request, scope);
        }
        Ok(())
    }
}

pub(super) fn offline_by_wish() -> SyncError {
    SyncError::new(ErrorCode::RelayDisconnected, "the application works offline (setOffline)")
}

pub(super) fn unknown_message() -> SyncError {
    SyncError::new(ErrorCode::UnknownMessage, "no message of this id waits to be sent here")
}
