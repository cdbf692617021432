//! What is under way on the present connection, and what is said on it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Session;
use super::authors::Unproven;
use super::sealing::EpochWish;
use crate::client::api::Event;
use crate::client::context::Context;
use crate::client::vault::Fault;
use crate::client::views::MessageStatus;
use crate::entry::Entry;
use crate::frame::{Body, Frame, Head, PROTOCOL_VERSION, SyncHeartbeat};
use crate::identity::SignedHead;
use crate::log::LogHead;
use crate::message::Stamp;

/// What is under way on the present connection.
#[derive(Default)]
pub(super) struct Flow {
    /// The relay was told that this device is in the session.
    pub joined: bool,
    /// The frame that said so: what answers an earlier one is about what was said before all was said again.
    pub announced_frame: u64,
    /// Update frames that are not acknowledged, oldest first.
    pub updates: VecDeque<Update>,
    /// Messages wait to be sent that are stored as ones that can be cancelled: that they no longer can be is stored first.
    pub marks_sent: bool,
    /// Own messages with their places in the log, behind its stored end, that are to be stored then.
    pub acknowledged: Vec<Entry>,
    pub store_at_ms: Option<u64>,
    /// The time has come, and another transaction was under way.
    pub is_overdue: bool,
    /// What the relay says of its log behind them.
    pub acknowledged_log: Option<LogHead>,
    /// The relay could not take messages: the next attempt.
    pub retry_at_ms: Option<u64>,
    /// Refusals in a row.
    pub refusals: u32,
    /// Entries that came and that no signature covers yet: the rest of their device's update comes with the next batch.
    pub held: Vec<Entry>,
    /// What encrypts failed itself: the connection is made anew with the next transaction.
    pub fault: Option<Fault>,
    /// Whether an epoch must begin before texts are sent.
    pub epoch: EpochWish,
    /// This device waits to be approved, and is in no epoch that it can read: when it begins one, 0 for now.
    pub outside_at_ms: Option<u64>,
    /// When secrets are given to who lacks them, or asked for.
    pub reseal_at_ms: Option<u64>,
    /// What came is of devices of which the relay is asked whose they are.
    pub unproven: Option<Unproven>,
    /// The newest head of its log that the relay has signed on this connection.
    pub proven: Option<SignedHead>,
    /// The `sync_request` that is not fully answered.
    pub request: Option<Request>,
    /// The cursor when it first joined on this connection: a relay that has less was set back. What is imported since does
    /// not count, because the relay may have spoken before.
    pub floor: Option<u64>,
}

pub(super) struct Update {
    pub first_counter: u64,
    pub last_counter: u64,
    pub deadline_ms: u64,
}

pub(super) struct Request {
    pub frame_id: String,
    pub deadline_ms: u64,
    /// The relay's head when it answered first.
    pub head: Option<u64>,
}

impl Session {
    /// The connection is lost: what was sent on it and not acknowledged is queued again.
    pub fn on_disconnect(&mut self, context: &mut Context<'_>) {
        self.tell_waiting(context);
        self.flow = Flow::default();
    }

    /// Tells that what was sent and not acknowledged is queued again.
    pub(super) fn tell_waiting(&self, context: &mut Context<'_>) {
        if self.flow.updates.is_empty() {
            return;
        }
        let is_told = |entry: &&Entry| entry.message.kind.has_status() && self.status_of(entry) == MessageStatus::Sending;
        for entry in self.outbox.on_disk().into_iter().filter(is_told) {
            context.tell(Event::StatusChanged {
                session_id: entry.message.session_id.clone(),
                message_id: entry.message.id.clone(),
                status: MessageStatus::Queued,
                error: None,
            });
        }
    }

    /// Asks the relay for a sign of life, and where its log ends.
    pub fn send_heartbeat(&self, context: &mut Context<'_>) {
        let heartbeat = SyncHeartbeat { sequence_number: self.cursor(), ..SyncHeartbeat::default() };
        self.transmit(context, Body::SyncHeartbeat(heartbeat));
    }

    /// What was said on this connection may not have been taken: all of it is to be said again, and asked again.
    pub fn start_over(&mut self, context: &mut Context<'_>) {
        self.tell_waiting(context);
        self.flow = Flow { floor: self.flow.floor, ..Flow::default() };
        if let Some(operation) = &mut self.operation {
            operation.ask_again();
        }
    }

    /// It syncs again, where it had stopped: on the present connection too everything is said again.
    pub(super) fn resume(&mut self, context: &mut Context<'_>) {
        if self.halted.take().is_some() {
            self.start_over(context);
        }
    }

    pub(super) fn head(&self, context: &mut Context<'_>) -> Head {
        Head {
            session_id: self.id().to_owned(),
            device_id: self.device.clone(),
            timestamp: Stamp::Millis(context.now.wall_ms),
            message_id: context.link.next_frame_id(),
            protocol_version: Some(PROTOCOL_VERSION),
        }
    }

    /// A frame's id and its bytes.
    pub(super) fn frame(&self, context: &mut Context<'_>, body: Body) -> (String, Arc<[u8]>) {
        let frame = Frame { head: self.head(context), body };
        // Only frames that clients never send have no binary form.
        let bytes = frame.to_bytes().unwrap_or_default();
        (frame.head.message_id, bytes.into())
    }

    pub(super) fn transmit(&self, context: &mut Context<'_>, body: Body) -> String {
        let (frame_id, frame) = self.frame(context, body);
        context.transmit(frame);
        frame_id
    }
}
