//! A device's records in memory, by the keys of the store's description (ARCHITECTURE.md): what is read was written as the
//! bytes that are stored, and read back.

use std::collections::BTreeMap;

use solconnect_sync_core::client::{
    AccountRecord, CallRecord, DeviceRecord, FailedRecord, HeadsRecord, IdentityRecord, InvitationRecord, LogRecord, NameRecord,
    OutboxRecord, SessionRecord, Snapshot, VersionsRecord, Write,
};
use solconnect_sync_core::error::SyncError;
use solconnect_sync_core::ids::{MessageId, SessionId, WalletAddress};

/// All of them.
#[derive(Clone, Default)]
pub struct Records {
    /// The device record.
    pub device: Option<DeviceRecord>,
    /// The record of its key.
    pub identity: Option<IdentityRecord>,
    /// What the next machine makes keys of.
    pub entropy: Option<[u8; 32]>,
    /// Accounts of other wallets, by wallet.
    pub accounts: BTreeMap<WalletAddress, AccountRecord>,
    /// Sessions by id, with all their heads.
    pub sessions: BTreeMap<SessionId, SessionRecord>,
    /// The same as they are stored, and heads by session.
    stored: BTreeMap<SessionId, SessionRecord>,
    heads: BTreeMap<SessionId, HeadsRecord>,
    /// Unsent messages by session and first counter.
    pub outbox: BTreeMap<(SessionId, u64), OutboxRecord>,
    /// The log by session and first sequence number.
    pub log: BTreeMap<(SessionId, u64), LogRecord>,
    /// Open versions by session and message.
    pub versions: BTreeMap<(SessionId, MessageId), VersionsRecord>,
    /// Messages that failed, by session and number.
    pub failed: BTreeMap<(SessionId, u64), FailedRecord>,
    /// Names that the application gave, by session and name.
    pub names: BTreeMap<(SessionId, MessageId), NameRecord>,
    /// Invitations by session.
    pub invitations: BTreeMap<SessionId, InvitationRecord>,
    /// Answers to keyed calls by tab and call.
    pub calls: BTreeMap<(u64, u64), CallRecord>,
}

impl Records {
    /// One write of a transaction.
    ///
    /// # Errors
    /// What cannot be read back as it was: a machine should not have written it.
    pub fn apply(&mut self, write: &Write) -> Result<(), String> {
        match write {
            Write::Device(record) => self.device = Some(same(record, DeviceRecord::from_bytes(&record.to_bytes()))?),
            Write::Identity(record) => self.identity = Some(same(record, IdentityRecord::from_bytes(&record.to_bytes()))?),
            Write::Account(record) => {
                let stored = same(record, AccountRecord::from_bytes(&record.to_bytes()))?;
                self.accounts.insert(record.wallet.clone(), stored);
            }
            Write::ForgetAccount { wallet } => drop(self.accounts.remove(wallet)),
            Write::Session(record) => {
                let stored = same(record, SessionRecord::from_bytes(&record.to_bytes()))?;
                let heads = self.heads.get(&record.session_id).map(|record| record.heads.clone()).unwrap_or_default();
                let whole = SessionRecord { log: stored.log.with(heads), ..stored.clone() };
                self.sessions.insert(record.session_id.clone(), whole);
                self.stored.insert(record.session_id.clone(), stored);
            }
            Write::Heads(record) => {
                let stored = same(record, HeadsRecord::from_bytes(&record.to_bytes()))?;
                self.heads.insert(record.session_id.clone(), stored);
            }
            Write::Outbox(record) => {
                let stored = same(record, OutboxRecord::from_bytes(&record.to_bytes()))?;
                self.outbox.insert((record.session_id.clone(), record.first()), stored);
            }
            Write::DeleteOutbox { session_id, first, last } => {
                self.outbox.retain(|(session, place), _| session != session_id || !(first..=last).contains(&place));
            }
            Write::Log(record) => {
                let stored = same(record, LogRecord::from_bytes(&record.session_id, &record.to_bytes()))?;
                self.log.insert((record.session_id.clone(), record.first), stored);
            }
            Write::JoinLog { session_id, first, last } => {
                let range = (session_id.clone(), *first)..=(session_id.clone(), *last);
                let small: Vec<LogRecord> = self.log.range(range.clone()).map(|(_, record)| record.clone()).collect();
                // Where it fails they stay as they are.
                if let Ok(joined) = LogRecord::join(&small) {
                    self.log.retain(|key, _| !range.contains(key));
                    self.log.extend(joined.into_iter().map(|record| ((session_id.clone(), record.first), record)));
                }
            }
            Write::ClearLog { session_id } => self.log.retain(|(session, _), _| session != session_id),
            Write::Versions(VersionsRecord { session_id, message_id, versions }) if versions.is_empty() => {
                self.versions.remove(&(session_id.clone(), message_id.clone()));
            }
            Write::Versions(record) => {
                let stored = same(record, VersionsRecord::from_bytes(&record.to_bytes()))?;
                self.versions.insert((record.session_id.clone(), record.message_id.clone()), stored);
            }
            Write::Failed(record) => {
                let stored = same(record, FailedRecord::from_bytes(&record.to_bytes()))?;
                self.failed.insert((record.session_id.clone(), record.number), stored);
            }
            Write::DeleteFailed { session_id, number } => {
                self.failed.remove(&(session_id.clone(), *number));
            }
            Write::ForgetName { session_id, message_id } => {
                self.names.remove(&(session_id.clone(), message_id.clone()));
            }
            Write::Invitation(record) => {
                let stored = same(record, InvitationRecord::from_bytes(&record.to_bytes()))?;
                self.invitations.insert(record.session_id.clone(), stored);
            }
            Write::ForgetInvitation { session_id } => drop(self.invitations.remove(session_id)),
            Write::Call(record) => {
                let stored = same(record, CallRecord::from_bytes(&record.to_bytes()))?;
                self.calls.insert((record.tab, record.call), stored);
            }
            Write::ForgetCall { tab, call } => drop(self.calls.remove(&(*tab, *call))),
            Write::ForgetCalls { tab, through } => self.calls.retain(|(other, call), _| other != tab || call > through),
            Write::Name(record) => {
                let stored = same(record, NameRecord::from_bytes(&record.to_bytes()))?;
                self.names.insert((record.session_id.clone(), record.message_id.clone()), stored);
            }
        }
        Ok(())
    }

    /// What a machine starts from.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            device: self.device.clone(),
            identity: self.identity.clone(),
            entropy: self.entropy,
            accounts: self.accounts.values().cloned().collect(),
            sessions: self.stored.values().cloned().collect(),
            heads: self.heads.values().cloned().collect(),
            outbox: self.outbox.values().cloned().collect(),
            versions: self.versions.values().cloned().collect(),
            failed: self.failed.values().cloned().collect(),
            invitations: self.invitations.values().cloned().collect(),
            calls: self.calls.values().cloned().collect(),
            spare: Vec::new(),
        }
    }

    /// The log of a session, by first sequence number, each batch with its heads.
    pub fn log(&self, session_id: &str) -> Vec<LogRecord> {
        let mut log: Vec<LogRecord> = Vec::new();
        for mut record in self.log_of(session_id).cloned() {
            // One that cannot be read gives none.
            let _ = log.last().map(|before| record.follow(before));
            log.push(record);
        }
        log
    }

    /// The same, as it is stored.
    pub fn log_of(&self, session_id: &str) -> impl DoubleEndedIterator<Item = &LogRecord> {
        self.log.range((session_id.to_owned(), 0)..=(session_id.to_owned(), u64::MAX)).map(|(_, record)| record)
    }
}

fn same<T: PartialEq + std::fmt::Debug>(written: &T, read: Result<T, SyncError>) -> Result<T, String> {
    match read {
        Ok(read) if read == *written => Ok(read),
        read => Err(unreadable(written, &read)),
    }
}

fn unreadable(written: &dyn std::fmt::Debug, read: &dyn std::fmt::Debug) -> String {
    format!("{written:?} cannot be read back: {read:?}")
}
