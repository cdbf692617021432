//! Messages that are given up before they are sent, and those that the relay refused for good.

use super::Session;
use super::outbox::Outbox;
use crate::client::api::{Change, Reply, Write};
use crate::client::calls::unknown_message;
use crate::client::context::Context;
use crate::client::records::{EpochSeal, FailedRecord};
use crate::client::transaction::Transaction;
use crate::client::views::{MessageStatus, MessageView};
use crate::conflict::Strategy;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{MessageId, message_id, new_start};
use crate::limits::{EPOCHS_KEPT, FAILED_MESSAGES_MAX};
use crate::message::{Kind, Message};

/// Which failed message is meant by this id. The id that one is shown with goes before the one that another was refused
/// with, which is another message's.
fn place_of(failed: &[FailedRecord], message_id: &str) -> Option<usize> {
    let shown = failed.iter().position(|record| record.entry.message.id == message_id);
    shown.or_else(|| failed.iter().position(|record| record.refused_id == message_id))
}

impl Session {
    /// Whether a message of this id failed or waits in the outbox, as the transaction has it.
    pub fn has_unsent(&self, message_id: &str) -> bool {
        self.failed_message(message_id).is_some() || self.outbox.iter().any(|entry| is_waiting(entry, message_id))
    }

    /// A message that failed, as the transaction has it.
    pub(super) fn failed_message(&self, message_id: &str) -> Option<&FailedRecord> {
        let failed = self.next_failed.as_ref().unwrap_or(&self.failed);
        place_of(failed, message_id).map(|place| &failed[place])
    }

    /// How far a stored message is that has no place in the log, and how it is shown.
    pub fn unsent_message(&self, message_id: &str, strategy: Strategy) -> Option<(MessageStatus, Option<MessageView>)> {
        let on_disk = self.outbox.on_disk();
        let waiting = on_disk.iter().copied().find(|entry| is_waiting(entry, message_id));
        let failed = || place_of(&self.failed, message_id).map(|place| &self.failed[place].entry);
        let void = || on_disk.iter().copied().find(|entry| entry.message.id == message_id && entry.message.kind == Kind::VOID);
        let entry = waiting.or_else(failed).or_else(void)?;
        let status = if waiting.is_some() { self.status_of(entry) } else { MessageStatus::Failed };
        Some((status, self.show(vec![(entry.clone(), None)], false, strategy).pop()))
    }

    /// A message was refused for good: it is kept. Where its id belongs to another message, under one of its own.
    pub(super) fn keep_failed(&mut self, context: &mut Context<'_>, refused: &Entry, error: &SyncError, transaction: &mut Transaction) {
        if refused.message.kind != Kind::MESSAGE {
            return;
        }
        let mut entry = refused.clone();
        if error.code == ErrorCode::MessageIdTaken {
            *context.start = new_start(context.random);
            entry.message.id = message_id(self.id(), &self.device, context.start, entry.counter);
        }
        let session_id = self.id().to_owned();
        let failed = self.next_failed.get_or_insert_with(|| self.failed.clone());
        if failed.len() >= FAILED_MESSAGES_MAX {
            let FailedRecord { number, entry, .. } = failed.remove(0);
            transaction.write(Write::DeleteFailed { session_id: session_id.clone(), number }, true);
            transaction.change(|| Change::Removed { session_id: session_id.clone(), message_id: entry.message.id.clone() });
            // Nobody can try it again: its name is free.
            self.forget_name(entry.message.id, transaction);
        }
        let failed = self.next_failed.get_or_insert_with(|| self.failed.clone());
        let number = failed.last().map_or(1, |last| last.number + 1);
        let (refused_id, error) = (refused.message.id.clone(), error.clone());
        let record = FailedRecord { session_id: session_id.clone(), number, entry: entry.clone(), refused_id, error };
        failed.push(record.clone());
        transaction.write(Write::Failed(record), true);
        transaction.change(|| Change::Message { session_id, entry: Box::new(entry) });
    }

    /// A message that failed is no longer kept; whether there was one.
    pub(super) fn leave_failed(&mut self, message_id: &str, transaction: &mut Transaction) -> bool {
        if self.failed_message(message_id).is_none() {
            return false;
        }
        self.enlist(transaction, true);
        let session_id = self.id().to_owned();
        let failed = self.next_failed.get_or_insert_with(|| self.failed.clone());
        let Some(place) = place_of(failed, message_id) else { return false };
        let FailedRecord { number, entry, .. } = failed.remove(place);
        transaction.write(Write::DeleteFailed { session_id: session_id.clone(), number }, true);
        transaction.change(|| Change::Removed { session_id, message_id: entry.message.id });
        true
    }

    /// A message that failed is not tried again; whether there was one.
    pub(super) fn give_up_failed(&mut self, message_id: &str, transaction: &mut Transaction) -> bool {
        let Some(name) = self.failed_message(message_id).map(|record| record.entry.message.id.clone()) else { return false };
        self.forget_name(name, transaction);
        self.leave_failed(message_id, transaction)
    }

    /// What waits here is no longer kept: gives it as it is shown, and edits as their messages with the new text.
    pub fn give_up(&mut self, strategy: Strategy) -> Vec<MessageView> {
        let given_up = std::mem::replace(&mut self.outbox, Outbox::new(0));
        let mut lost = Vec::new();
        for entry in given_up.on_disk() {
            let mut entry = entry.clone();
            let is_version = entry.message.kind.is_version();
            let deleted = entry.message.kind == Kind::DELETION;
            if let Some(target) = entry.message.replaces.take().filter(|_| is_version) {
                (entry.message.id, entry.message.kind) = (target, Kind::MESSAGE);
            }
            let shown = self.show(vec![(entry, None)], false, strategy);
            lost.extend(shown.into_iter().map(|view| MessageView { edited: is_version, deleted, pending_edit: is_version, ..view }));
        }
        lost
    }

    /// `retryMessage`.
    pub(super) fn retry(&mut self, context: &mut Context<'_>, message_id: &str, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        let failed = self.failed_message(message_id).ok_or_else(unknown_message)?;
        if failed.error.code == ErrorCode::MessageIdTaken && self.has_unread() {
            let what = "what is in the log under the id of this message may be this message, and this device cannot read it yet";
            return Err(SyncError::new(ErrorCode::AccountKeyMissing, what));
        }
        let message = failed.entry.message.clone();
        let reply = self.queue(context, message, transaction)?;
        self.leave_failed(message_id, transaction);
        // It stands behind all others now.
        let session_id = self.id().to_owned();
        if let Some(entry) = self.outbox.get(self.outbox.counter()) {
            transaction.change(|| Change::Message { session_id, entry: Box::new(entry.clone()) });
        }
        Ok(reply)
    }

    /// Whether something in its log cannot be read yet: an account key may come that opens it, or somebody gives its secret.
    fn has_unread(&self) -> bool {
        self.next.sealed.iter().any(|state| {
            let is_given = |number: u64| number + EPOCHS_KEPT > state.epochs.last();
            let comes = |epoch: &EpochSeal| epoch.sealed.is_some() || is_given(epoch.number);
            state.unread.iter().any(|unread| unread.unread_at.is_some() && comes(&unread.epoch))
        })
    }

    /// `cancelMessage`. What is behind it was not sent either, because messages are sent in their order: it moves up.
    pub(super) fn cancel(&mut self, context: &mut Context<'_>, id: &str, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        let waiting = self.outbox.named(id).filter(|entry| is_waiting(entry, id)).map(|entry| entry.counter);
        let Some(counter) = waiting else {
            return if self.give_up_failed(id, transaction) { Ok(Reply::Done) } else { Err(unknown_message()) };
        };
        if counter <= self.outbox.transmitted_counter() {
            return Err(message_sent());
        }
        // A version that waits in front of it is of an earlier message of its name, and may be on its way.
        let is_version = |message: &Message| message.kind.is_version() && message.replaces.as_deref() == Some(id);
        let leaves = |entry: &Entry| is_waiting(entry, id) || (entry.counter > counter && is_version(&entry.message));
        self.outbox.iter().filter(|entry| leaves(entry)).for_each(|entry| self.tell_left(&entry.message, transaction));
        self.forget_name(id.to_owned(), transaction);
        // The next messages get counters that names were made of already.
        *context.start = new_start(context.random);
        let (logged, acknowledged) = (self.logged_counter(), self.outbox.acknowledged_counter());
        self.make_anew(logged, acknowledged, Vec::new(), |entry| !leaves(entry), transaction);
        Ok(Reply::Done)
    }

    /// The application's name of a message is free again.
    pub(super) fn forget_name(&mut self, message_id: MessageId, transaction: &mut Transaction) {
        self.names_given_again.retain(|name| *name != message_id);
        self.next_forgotten_names.push(message_id.clone());
        transaction.write(Write::ForgetName { session_id: self.id().to_owned(), message_id }, true);
    }
}

fn is_waiting(entry: &Entry, message_id: &str) -> bool {
    entry.message.id == message_id && entry.message.kind.has_status()
}

/// What is asked of a message too late.
fn message_sent() -> SyncError {
    SyncError::new(ErrorCode::MessageSent, "the message was sent already; delete it instead")
}
