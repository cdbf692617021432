//! A device whose counters are no longer its own goes on under a new id.
//!
//! That is so where its storage was copied or set back (B26, F41, F42), and where the relay refuses one of its messages
//! for good: those after it cannot go out under their counters. What is unsent is queued again under the new id.

use super::api::{Event, Input, MessageStatus};
use super::commit::Stage;
use super::receive::own_counter;
use super::{Client, Session};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Frame};
use crate::ids::{MessageId, SessionId, message_id, new_device_id};
use crate::message::Entry;
use crate::vector_clock::VectorClock;

impl Client {
    /// What has been acknowledged and still waits to be looked at: the last counter, by session. It must not be queued
    /// again.
    fn waiting_acknowledgements(&self) -> Vec<(SessionId, u64)> {
        let frames = self.waiting.iter().filter_map(|input| match input {
            Input::Received { generation, frame } if self.link.is_current(*generation) => Frame::from_bytes(frame).ok(),
            _ => None,
        });
        let last = frames.filter_map(|frame| {
            let Body::SyncAck(ack) = frame.body else { return None };
            let own = |id: &MessageId| own_counter(id, &frame.head.session_id, &self.device.device_id);
            let counter = ack.acknowledged_message_ids.iter().filter_map(own).max()?;
            Some((frame.head.session_id, counter))
        });
        last.collect()
    }

    /// Takes a new id. `refused` names a message of the outbox that is given up, and why.
    pub(super) fn replace_device(&mut self, refused: Option<(SessionId, u64, SyncError)>, stage: &mut Stage) {
        let acknowledged = self.waiting_acknowledgements();
        let old_id = self.device.device_id.clone();
        let new_id = new_device_id(&mut self.random);
        stage.set_device(&mut self.device, new_id.clone());
        stage.tell(Event::DeviceReplaced { old_id: old_id.clone(), new_id: new_id.clone() });
        for session in self.sessions.values_mut() {
            let refused = refused.as_ref().filter(|(session_id, ..)| *session_id == session.record.session_id);
            if session.operation.is_some() {
                // Its progress was counted in the old id's messages. The next connection begins another.
                let error = SyncError::new(ErrorCode::CounterReused, "this device goes on under a new id");
                stage.failed.push((session.record.session_id.clone(), error));
            }
            let last = acknowledged.iter().filter(|(id, _)| *id == session.record.session_id).map(|(_, counter)| *counter).max();
            session.requeue(&old_id, &new_id, last.unwrap_or(0), refused.map(|(_, counter, error)| (*counter, error)), stage);
        }
        stage.relink = Some("this device has a new id".into());
    }
}

impl Session {
    fn requeue(&mut self, old_id: &str, new_id: &str, acknowledged: u64, refused: Option<(u64, &SyncError)>, stage: &mut Stage) {
        stage.touch(self, true);
        self.acknowledged_counter = self.acknowledged_counter.max(acknowledged);
        let session_id = self.record.session_id.clone();
        let unsent = stage.take_outbox(self);
        let mut renamed: Vec<(MessageId, MessageId)> = Vec::new();
        let mut counter = 0;
        for Entry { mut message, vector_clock: known, server_timestamp, .. } in unsent {
            let own = known.get(old_id);
            // It is in the relay's log under its old name, and the log will bring it: queued again it would show twice.
            if own <= self.acknowledged_counter {
                continue;
            }
            if let Some((_, error)) = refused.filter(|(refused, _)| *refused == own) {
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
                let known = if device == old_id { known.min(self.record.heads.get(old_id)) } else { known };
                // It fitted before, and one id takes the place of another.
                let _ = vector_clock.raise(device, known);
            }
            if vector_clock.raise(new_id, counter + 1).is_err() {
                vector_clock = self.record.heads.clone();
                let _ = vector_clock.raise(new_id, counter + 1);
            }
            counter += 1;
            let new_message_id = message_id(&session_id, new_id, counter);
            let old_message_id = std::mem::replace(&mut message.id, new_message_id.clone());
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
            let original_device_id = new_id.to_owned();
            stage.insert_outbox(self, Entry { message, sequence_number: 0, vector_clock, server_timestamp, original_device_id });
        }
        self.record.counter = counter;
        // Under the new id nothing is on disk yet.
        self.stored_counter = 0;
        self.acknowledged_counter = 0;
    }
}
