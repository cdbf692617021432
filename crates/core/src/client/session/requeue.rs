//! A device whose counters are no longer its own goes on under a new id, in the session where that is so.
//!
//! Its storage was copied or set back (B26, F41, F42), or the relay refused one of its messages for good, and those after
//! it cannot go out under their counters. What is unsent is queued again under the new id. Some of it may be in the
//! relay's log already, under the old id or another, without this device knowing; so every message keeps the name that it
//! had first, by which the relay and this device know it again ([`Message::is_same`](crate::message::Message::is_same)).

use super::Session;
use crate::client::api::{Event, MessageStatus, Write};
use crate::client::context::Context;
use crate::client::transaction::Transaction;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, MessageId, message_id, new_device_id};
use crate::limits::CLOCK_DEVICES_MAX;
use crate::message::Entry;
use crate::vector_clock::VectorClock;

impl Session {
    /// Takes a new id, where there is room for one more device; otherwise the session syncs no more.
    /// `refused` is the counter of a message of the outbox that is given up, and why; `renamed` are messages that left
    /// the outbox because the log has them under another id: what edits them is to name that one.
    pub(super) fn replace_device(
        &mut self,
        context: &mut Context<'_>,
        refused: Option<(u64, SyncError)>,
        renamed: Vec<(MessageId, MessageId)>,
        transaction: &mut Transaction,
    ) {
        let new_id = new_device_id(context.random);
        if self.next.heads.len() >= CLOCK_DEVICES_MAX {
            let error = SyncError::new(ErrorCode::LimitReached, "this device needs a new id, and the session has no room for one more");
            return self.halt(error, transaction);
        }
        if self.operation.is_some() {
            // Its progress was counted in the old id's messages. The next connection begins another.
            let error = SyncError::new(ErrorCode::CounterReused, "this device goes on under a new id");
            transaction.fail_sync(self.id(), error);
        }
        self.requeue(new_id, refused, renamed, transaction);
        transaction.reconnect("this device has a new id".into());
    }

    fn requeue(
        &mut self,
        new_id: DeviceId,
        refused: Option<(u64, SyncError)>,
        mut renamed: Vec<(MessageId, MessageId)>,
        transaction: &mut Transaction,
    ) {
        let session_id = self.id().to_owned();
        let old_id = std::mem::replace(&mut self.change(transaction, true).device_id, new_id.clone());
        transaction.tell(Event::DeviceReplaced { session_id: session_id.clone(), old_id: old_id.clone(), new_id: new_id.clone() });
        let (entries, records) = self.outbox.replace();
        if let Some((first, last)) = records {
            transaction.write(Write::DeleteOutbox { session_id: session_id.clone(), first, last }, false);
        }
        let mut counter = 0;
        for Entry { mut message, vector_clock: known, server_timestamp, .. } in entries {
            if let Some((_, error)) = refused.as_ref().filter(|(refused, _)| *refused == known.get(&old_id)) {
                transaction.tell(Event::StatusChanged {
                    session_id: session_id.clone(),
                    message_id: message.id,
                    status: MessageStatus::Failed,
                    error: Some(error.clone()),
                });
                continue;
            }
            let mut vector_clock = VectorClock::new();
            for (device, known) in known.iter() {
                // Of the old id, only what is in the log is known: the rest has a new name now.
                let known = if device == old_id { known.min(self.next.heads.get(&old_id)) } else { known };
                // It fitted before, and one id takes the place of another.
                let _ = vector_clock.raise(device, known);
            }
            // There is room: what it knew is in the log's heads.
            let _ = vector_clock.raise(&new_id, counter + 1);
            counter += 1;
            let new_message_id = message_id(&session_id, &new_id, counter);
            let old_message_id = std::mem::replace(&mut message.id, new_message_id.clone());
            message.first_id.get_or_insert_with(|| old_message_id.clone());
            if let Some(replaces) = &mut message.replaces
                && let Some((_, new)) = renamed.iter().find(|(old, _)| old == replaces)
            {
                replaces.clone_from(new);
            }
            transaction.tell(Event::MessageRenamed {
                session_id: session_id.clone(),
                old_id: old_message_id.clone(),
                new_id: new_message_id.clone(),
            });
            renamed.push((old_message_id, new_message_id));
            let original_device_id = new_id.clone();
            self.push_outbox(transaction, Entry { message, sequence_number: 0, vector_clock, server_timestamp, original_device_id });
        }
    }
}
