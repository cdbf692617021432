//! What many inputs change together, on its way to disk.

use std::sync::Arc;

use super::api::{Action, Change, Event, Generation, Input, Reply, RequestId, Write};
use super::context::change_of;
use super::records::{NameRecord, OutboxRecord};
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, SessionId};
use crate::limits::BATCH_MESSAGES_MAX;
use crate::sorted::Sorted;

/// Collects the writes of many inputs. Every change of what is stored goes through one; what sessions make of it is their
/// next state until it is on disk.
#[derive(Default)]
pub(super) struct Transaction {
    writes: Vec<Write>,
    strict: bool,
    /// What may be said once it is on disk.
    pub after: Vec<Action>,
    /// What who observes is told before that; `None` where nobody does.
    changes: Option<Vec<Change>>,
    sessions: Sorted<SessionId, ()>,
    /// Sessions that miss something.
    pub catch_up: Sorted<SessionId, ()>,
    /// Sessions whose sync fails then, and why.
    pub failed: Vec<(SessionId, SyncError)>,
    /// Sessions that sync no more, and why. That is so whatever becomes of the transaction.
    pub halted: Vec<(SessionId, SyncError)>,
    /// The connection must be made anew then, and why.
    pub reconnect: Option<String>,
    /// The relay made no sense.
    pub is_distrustful: bool,
    /// Why it is dropped, as one that the store refuses.
    pub failure: Option<SyncError>,
    /// This device goes on under this id.
    pub new_device_id: Option<DeviceId>,
    /// New invitations, of which the application is told then.
    pub invited: Vec<SessionId>,
    /// The relay is asked then which sessions the wallet has.
    pub lists_sessions: bool,
    /// A session whose outbox loses its records up to this one.
    pub swept: Option<(SessionId, u64)>,
    /// The calls in it: each is made again, or answered, where it fails.
    pub calls: Vec<Input>,
    /// This device has account keys then that it had not before: it can read more.
    pub has_keys: bool,
    /// Whether something that the relay said is in it.
    pub from_relay: bool,
}

impl Transaction {
    /// An empty one. `observed`: somebody wants to hear of changes.
    pub fn new(observed: bool) -> Transaction {
        Transaction { changes: observed.then(Vec::new), ..Transaction::default() }
    }

    /// Sessions that have a part in it.
    pub fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.keys().cloned().collect()
    }

    /// Whether it neither writes nor says anything.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.after.is_empty()
            && self.sessions.is_empty()
            && self.reconnect.is_none()
            && self.failure.is_none()
            && self.failed.is_empty()
            && self.halted.is_empty()
            && self.catch_up.is_empty()
    }

    /// Whether more inputs may share it.
    pub fn has_room(&self) -> bool {
        self.writes.len().max(self.calls.len()) < BATCH_MESSAGES_MAX && self.reconnect.is_none() && self.failure.is_none()
    }

    /// All that it writes, and whether it must survive a power cut.
    pub fn take_writes(&mut self) -> (Vec<Write>, bool) {
        (std::mem::take(&mut self.writes), self.strict)
    }

    pub fn write(&mut self, write: Write, strict: bool) {
        self.writes.push(write);
        self.strict |= strict;
    }

    /// A session has a part in it.
    pub fn enlist(&mut self, session_id: &str, strict: bool) {
        if !self.sessions.contains_key(session_id) {
            self.sessions.insert(session_id.to_owned(), ());
        }
        self.strict |= strict;
    }

    /// The record of the outbox that was written last, where it is this session's: more can join it.
    pub fn last_outbox_record(&mut self, session_id: &str) -> Option<&mut OutboxRecord> {
        match self.writes.last_mut() {
            Some(Write::Outbox(record)) if record.session_id == session_id => Some(record),
            _ => None,
        }
    }

    /// What it says of a name that the application gave: another call may have used it since the store was asked.
    pub fn name(&self, session_id: &str, message_id: &str) -> Option<&NameRecord> {
        let told = |write: &'_ Write| match write {
            Write::Name(record) => record.session_id == session_id && record.message_id == message_id,
            Write::ForgetName { session_id: session, message_id: name } => session == session_id && name == message_id,
            _ => false,
        };
        match self.writes.iter().rev().find(|write| told(write)) {
            Some(Write::Name(record)) => Some(record),
            _ => None,
        }
    }

    /// The log leaves; batches that were to be joined would come back.
    pub fn clear_log(&mut self, session_id: &str) {
        self.writes.retain(|write| !matches!(write, Write::JoinLog { session_id: joined, .. } if joined == session_id));
        self.write(Write::ClearLog { session_id: session_id.to_owned() }, false);
    }

    /// An outbox is written anew: what this transaction has written of it leaves.
    pub fn clear_outbox(&mut self, session_id: &str) {
        self.writes.retain(|write| !matches!(write, Write::Outbox(record) if record.session_id == session_id));
    }

    /// Records of the outbox leave.
    pub fn sweep(&mut self, session_id: SessionId, first: u64, last: u64) {
        self.write(Write::DeleteOutbox { session_id: session_id.clone(), first, last }, false);
        self.swept = Some((session_id, last));
    }

    /// Another writes under this device's id: it takes another one, in all sessions.
    pub fn replace_device(&mut self, new_id: DeviceId) {
        self.new_device_id.get_or_insert(new_id);
        self.reconnect("this device has a new id".into());
    }

    pub fn transmit(&mut self, generation: Generation, frame: Arc<[u8]>) {
        self.after.push(Action::Transmit { generation, frame });
    }

    /// Tells who observes, once it is on disk.
    pub fn change(&mut self, change: impl FnOnce() -> Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change());
        }
    }

    /// Whether somebody observed when it began.
    pub fn is_observed(&self) -> bool {
        self.changes.is_some()
    }

    /// What who observes is told; `None` where nobody did when it began.
    pub fn take_changes(&mut self) -> Option<Vec<Change>> {
        self.changes.take()
    }

    pub fn tell(&mut self, event: Event) {
        if let Some(changes) = &mut self.changes {
            changes.extend(change_of(&event));
        }
        self.after.push(Action::Notify(event));
    }

    pub fn reply(&mut self, request: RequestId, result: Result<Reply, SyncError>) {
        self.after.push(Action::Reply { request, result });
    }

    pub fn catch_up(&mut self, session_id: &str) {
        self.catch_up.insert(session_id.to_owned(), ());
    }

    pub fn fail_sync(&mut self, session_id: &str, error: SyncError) {
        self.failed.push((session_id.to_owned(), error));
    }

    pub fn halt(&mut self, session_id: &str, error: SyncError) {
        self.halted.push((session_id.to_owned(), error));
    }

    /// Nothing of it is to be stored: what it is about is asked for again after a wait.
    pub fn fail(&mut self, error: SyncError) {
        self.from_relay = true;
        self.failure = Some(error);
    }

    pub fn reconnect(&mut self, reason: String) {
        self.reconnect = Some(reason);
    }

    /// The relay makes no sense: say so, and try again after a wait.
    pub fn distrust(&mut self, what: String) {
        let error = SyncError::new(ErrorCode::RelayMisbehaved, what);
        self.reconnect(error.message.clone());
        self.is_distrustful = true;
        self.tell(Event::Warning { error });
    }
}
