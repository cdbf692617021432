//! A device whose counters are no longer its own goes on under a new id, in the session where that is so.
//!
//! Its storage was copied or set back (B26, F41, F42), or the relay refused one of its messages for good, and those after
//! it cannot go out under their counters. What is unsent is queued again under the new id. Some of it may be in the
//! relay's log already, under the old id or another, without this device knowing; so every message keeps the name that it
//! had first, by which the relay and this device know it again ([`Message::is_same`](crate::message::Message::is_same)).

use super::api::{Event, MessageStatus};
use super::commit::Stage;
use super::{Client, Session};
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, MessageId, message_id, new_device_id};
use crate::limits::CLOCK_DEVICES_MAX;
use crate::message::Entry;
use crate::vector_clock::VectorClock;

impl Client {
    /// Takes a new id in a session, where there is room for one more device; otherwise it syncs no more there.
    /// `refused` is the counter of a message of the outbox that is given up, and why; `renamed` are messages that left
    /// the outbox because the log has them under another id: what edits them is to name that one.
    pub(super) fn replace_device(
        &mut self,
        session_id: &str,
        refused: Option<(u64, SyncError)>,
        renamed: Vec<(MessageId, MessageId)>,
        stage: &mut Stage,
    ) {
        let new_id = new_device_id(&mut self.random);
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        if session.record.heads.len() >= CLOCK_DEVICES_MAX {
            let error = SyncError::new(ErrorCode::LimitReached, "this device needs a new id, and the session has no room for one more");
            return self.halt(session_id, error, stage);
        }
        if session.operation.is_some() {
            // Its progress was counted in the old id's messages. The next connection begins another.
            let error = SyncError::new(ErrorCode::CounterReused, "this device goes on under a new id");
            stage.failed.push((session_id.to_owned(), error));
        }
        session.queue_again(new_id, refused, renamed, stage);
        stage.relink = Some("this device has a new id".into());
    }
}

impl Session {
    fn queue_again(
        &mut self,
        new_id: DeviceId,
        refused: Option<(u64, SyncError)>,
        mut renamed: Vec<(MessageId, MessageId)>,
        stage: &mut Stage,
    ) {
        stage.touch(self, true);
        let session_id = self.record.session_id.clone();
        let old_id = std::mem::replace(&mut self.record.device_id, new_id.clone());
        stage.tell(Event::DeviceReplaced { session_id: session_id.clone(), old_id: old_id.clone(), new_id: new_id.clone() });
        let mut counter = 0;
        for Entry { mut message, vector_clock: known, server_timestamp, .. } in stage.take_outbox(self) {
            if let Some((_, error)) = refused.as_ref().filter(|(refused, _)| *refused == known.get(&old_id)) {
                stage.tell(Event::StatusChanged {
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
                let known = if device == old_id { known.min(self.record.heads.get(&old_id)) } else { known };
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
            stage.tell(Event::MessageRenamed {
                session_id: session_id.clone(),
                old_id: old_message_id.clone(),
                new_id: new_message_id.clone(),
            });
            renamed.push((old_message_id, new_message_id));
            let original_device_id = new_id.clone();
            stage.insert_outbox(self, Entry { message, sequence_number: 0, vector_clock, server_timestamp, original_device_id });
        }
        self.record.counter = counter;
        // Under the new id nothing is on disk yet.
        self.stored_counter = 0;
        self.acknowledged_counter = 0;
    }
}
