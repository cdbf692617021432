//! Serving what a connection lacks: answers to its requests first, then what happens live.

use std::collections::VecDeque;
use std::sync::Arc;

use super::api::{Action, ConnectionId, JournalAnswer, JournalQuestion, StoredEntry};
use super::session::{Push, TailEntry};
use super::{Purpose, Relay};
use crate::compress::Payload;
use crate::frame::{Body, Chat, Frame, Progress, SyncPhase, SyncResponse, SyncStatus};
use crate::limits::{BATCH_MESSAGES_MAX, FRAME_BYTES_MAX, UNACKNOWLEDGED_MESSAGES_MAX};
use crate::message::Entry;
use crate::time::Now;

/// Bodies in one frame: the rest is for its own fields.
const BODIES_BYTES_MAX: usize = FRAME_BYTES_MAX - 8 * 1024;

/// What to send next.
struct Next {
    from: u64,
    through: u64,
    count_max: usize,
    live: bool,
}

impl Relay {
    /// Sends a connection what it may have now: until its socket's queue is full, a v1 device has enough
    /// unacknowledged, or nothing is missing.
    pub(super) fn serve(&mut self, now: Now, session_id: &str, connection: ConnectionId, actions: &mut Vec<Action>) {
        loop {
            if self.connections.get(&connection).is_none_or(super::Connection::is_full) {
                return;
            }
            self.end_answers(now, session_id, connection, actions);
            let Some(session) = self.sessions.get_mut(session_id) else { return };
            let head = session.head;
            let Some(attachment) = session.attachments.get_mut(&connection).filter(|attachment| !attachment.reading) else {
                return;
            };
            let Some(next) = attachment.next(head) else { return };
            if let Some(entries) = session.tail_range(next.from, next.through, next.count_max, BODIES_BYTES_MAX) {
                self.send_entries(now, session_id, connection, &next, Entries::Tail(entries), actions);
                continue;
            }
            if let Some(attachment) = session.attachments.get_mut(&connection) {
                attachment.reading = true;
            }
            let count_max = usize::try_from(next.through - next.from + 1).unwrap_or(usize::MAX).min(next.count_max);
            let question =
                JournalQuestion::Read { session_id: session_id.to_owned(), from: next.from, count_max, bytes_max: BODIES_BYTES_MAX };
            self.ask(session_id, Purpose::Read(connection), question, actions);
            return;
        }
    }

    /// The journal has read for a connection.
    pub(super) fn read(&mut self, now: Now, session_id: &str, connection: ConnectionId, answer: JournalAnswer, actions: &mut Vec<Action>) {
        let JournalAnswer::Entries(entries) = answer else {
            let error = self.journal_failed(session_id, &answer, actions);
            // The device asks again: its answer does not come in time.
            self.detach_reader(session_id, connection);
            let body = Body::SyncStatus(SyncStatus { status: SyncPhase::Failed, progress: None, error: Some(error.message) });
            return self.transmit(now, connection, session_id, body, actions);
        };
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let head = session.head;
        let Some(attachment) = session.attachments.get_mut(&connection) else {
            return;
        };
        attachment.reading = false;
        // A new request may have come while the journal was reading.
        let wanted = attachment.next(head).filter(|next| entries.first().is_some_and(|entry| entry.sequence == next.from));
        if let Some(next) = wanted {
            self.send_entries(now, session_id, connection, &next, Entries::Read(entries), actions);
        }
        self.serve(now, session_id, connection, actions);
    }

    fn detach_reader(&mut self, session_id: &str, connection: ConnectionId) {
        if let Some(attachment) = self.sessions.get_mut(session_id).and_then(|session| session.attachments.get_mut(&connection)) {
            attachment.reading = false;
            attachment.answers.clear();
        }
    }

    fn send_entries(
        &mut self,
        now: Now,
        session_id: &str,
        connection: ConnectionId,
        next: &Next,
        entries: Entries,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let Some(attachment) = session.attachments.get_mut(&connection) else {
            return;
        };
        let through = entries.last_sequence().unwrap_or(next.through);
        attachment.sent_through = attachment.sent_through.max(through);
        let v1 = attachment.v1;
        if next.live {
            attachment.live = Some(through + 1);
            if v1 {
                self.push(now, session_id, connection, next.from, through, &entries, actions);
            } else {
                self.forward(now, session_id, connection, entries, actions);
            }
            return;
        }
        let Some(answer) = attachment.answers.front_mut() else { return };
        answer.begun = true;
        answer.sent += entries.count() as u64;
        let request_id = answer.request_id.clone();
        match answer.ranges.front_mut() {
            Some(range) if range.1 > through => range.0 = through + 1,
            _ => {
                answer.ranges.pop_front();
            }
        }
        let more = (!answer.ranges.is_empty()).then_some((answer.sent, answer.total));
        let latest_sequence = session.head;
        let server_vector_clock = session.informing_clock();
        let response = SyncResponse { latest_sequence, server_vector_clock, in_reply_to: Some(request_id), messages: Vec::new() };
        let json = self.response_json(now, session_id, response, entries.bodies());
        let compress = self.connections.get(&connection).is_some_and(|connection| connection.compress);
        self.transmit_payload(now, connection, Payload::pack(json, compress), actions);
        if let Some((sent, total)) = more.filter(|_| !v1) {
            self.tell_status(now, session_id, connection, SyncPhase::InProgress, sent, total, actions);
        }
    }

    /// Ends answers that have nothing left to send; one that had nothing at all still gets an empty batch.
    fn end_answers(&mut self, now: Now, session_id: &str, connection: ConnectionId, actions: &mut Vec<Action>) {
        loop {
            let Some(session) = self.sessions.get_mut(session_id) else { return };
            let latest_sequence = session.head;
            let server_vector_clock = session.informing_clock();
            let Some(attachment) = session.attachments.get_mut(&connection) else {
                return;
            };
            let Some(answer) = attachment.answers.pop_front_if(|answer| answer.ranges.is_empty()) else {
                return;
            };
            if !answer.begun {
                let in_reply_to = Some(answer.request_id);
                let response = SyncResponse { messages: Vec::new(), latest_sequence, server_vector_clock, in_reply_to };
                self.transmit(now, connection, session_id, Body::SyncResponse(response), actions);
            }
            self.tell_status(now, session_id, connection, SyncPhase::Completed, answer.sent, answer.total, actions);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn tell_status(
        &mut self,
        now: Now,
        session_id: &str,
        connection: ConnectionId,
        status: SyncPhase,
        messages_synced: u64,
        total_messages: u64,
        actions: &mut Vec<Action>,
    ) {
        let progress = Some(Progress { messages_synced, total_messages, conflicts_resolved: 0 });
        self.transmit(now, connection, session_id, Body::SyncStatus(SyncStatus { status, progress, error: None }), actions);
    }

    /// A live batch for a v1 device. Encoded once for all that are at the same position.
    #[allow(clippy::too_many_arguments)]
    fn push(
        &mut self,
        now: Now,
        session_id: &str,
        connection: ConnectionId,
        from: u64,
        through: u64,
        entries: &Entries,
        actions: &mut Vec<Action>,
    ) {
        let compress = self.connections.get(&connection).is_some_and(|connection| connection.compress);
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        if session.push.as_ref().is_none_or(|push| (push.from, push.through) != (from, through)) {
            let response = SyncResponse { latest_sequence: session.head, ..SyncResponse::default() };
            let json = self.response_json(now, session_id, response, entries.bodies());
            let push = Push { from, through, plain: Payload::pack(json.clone(), false), compressed: Payload::pack(json, true) };
            if let Some(session) = self.sessions.get_mut(session_id) {
                session.push = Some(push);
            }
        }
        let Some(push) = self.sessions.get(session_id).and_then(|session| session.push.as_ref()) else {
            return;
        };
        let payload = if compress { push.compressed.clone() } else { push.plain.clone() };
        self.transmit_payload(now, connection, payload, actions);
    }

    /// Live messages for a seed client: one chat frame each, its own left out.
    fn forward(&mut self, now: Now, session_id: &str, connection: ConnectionId, entries: Entries, actions: &mut Vec<Action>) {
        for entry in entries.parsed() {
            let Some(attachment) = self.sessions.get_mut(session_id).and_then(|session| session.attachments.get_mut(&connection)) else {
                return;
            };
            let own =
                attachment.own.remove(&entry.sequence_number) || (attachment.announced && attachment.device_id == entry.original_device_id);
            if !own {
                let chat = Chat {
                    room_id: Some(session_id.to_owned()),
                    session_id: Some(session_id.to_owned()),
                    message: entry.message.ciphertext,
                    sender: entry.message.sender_wallet,
                    timestamp: entry.message.timestamp,
                    message_id: Some(entry.message.id),
                    vector_clock: Some(entry.vector_clock),
                    sequence_number: Some(entry.sequence_number),
                    server_timestamp: Some(entry.server_timestamp),
                    extra: entry.message.extra,
                };
                self.transmit(now, connection, session_id, Body::Chat(chat), actions);
            }
        }
    }

    /// A `sync_response` around bodies as they are stored.
    fn response_json(&mut self, now: Now, session_id: &str, response: SyncResponse, bodies: Vec<Arc<str>>) -> String {
        let frame = Frame { head: self.head(now, session_id), body: Body::SyncResponse(response) };
        // Quotes inside JSON strings are escaped, so only the empty list itself can match.
        frame.to_json().replacen("\"messages\":[]", &format!("\"messages\":[{}]", bodies.join(",")), 1)
    }
}

impl super::session::Attachment {
    /// What this connection lacks and may have.
    fn next(&self, head: u64) -> Option<Next> {
        let room = if self.v1 {
            UNACKNOWLEDGED_MESSAGES_MAX.saturating_sub(self.sent_through.saturating_sub(self.acknowledged_through))
        } else {
            BATCH_MESSAGES_MAX as u64
        };
        let count_max = usize::try_from(room).unwrap_or(usize::MAX).min(self.batch_max);
        if count_max == 0 {
            return None;
        }
        if let Some(answer) = self.answers.front() {
            let (from, through) = *answer.ranges.front()?;
            return Some(Next { from, through, count_max, live: false });
        }
        let from = self.live.filter(|from| *from <= head)?;
        Some(Next { from, through: head, count_max, live: true })
    }
}

/// Entries to send: recent ones are at hand, older ones come from the journal.
enum Entries {
    Tail(Vec<Arc<TailEntry>>),
    Read(Vec<StoredEntry>),
}

impl Entries {
    fn count(&self) -> usize {
        match self {
            Entries::Tail(entries) => entries.len(),
            Entries::Read(entries) => entries.len(),
        }
    }

    fn last_sequence(&self) -> Option<u64> {
        match self {
            Entries::Tail(entries) => entries.last().map(|entry| entry.stored.sequence),
            Entries::Read(entries) => entries.last().map(|entry| entry.sequence),
        }
    }

    fn bodies(&self) -> Vec<Arc<str>> {
        match self {
            Entries::Tail(entries) => entries.iter().map(|entry| entry.stored.body.clone()).collect(),
            Entries::Read(entries) => entries.iter().map(|entry| entry.body.clone()).collect(),
        }
    }

    fn parsed(self) -> VecDeque<Entry> {
        match self {
            Entries::Tail(entries) => entries.iter().map(|entry| entry.entry.clone()).collect(),
            // The relay wrote these bodies itself; one that cannot be read any more is left out.
            Entries::Read(entries) => entries.iter().filter_map(|entry| serde_json::from_str(&entry.body).ok()).collect(),
        }
    }
}
