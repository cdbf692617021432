//! Serving what a connection lacks: answers to its requests first, then what happens live.

use std::sync::Arc;

use super::api::{Action, ConnectionId, JournalAnswer, JournalQuestion};
use super::chunks::{ChunkKey, Form};
use super::session::Attachment;
use super::{Connection, Purpose, Relay, print};
use crate::batch::Batch;
use crate::frame::{Body, Chat, Encoding, Frame, Head, Payload, Progress, SyncPhase, SyncResponse, SyncStatus};
use crate::ids::DeviceId;
use crate::limits::{INFLATED_BYTES_MAX, UNACKNOWLEDGED_MESSAGES_MAX};
use crate::message::Entry;
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// What to send next.
struct Next {
    from: u64,
    through: u64,
    live: bool,
}

/// A live message as seed clients are sent it.
pub(super) struct Live {
    sequence: u64,
    device_id: DeviceId,
    payload: Payload,
}

impl Relay {
    /// Sends a connection what it may have now: until its socket's queue is full, a v1 device has enough
    /// unacknowledged, or nothing is missing.
    pub(super) fn serve(&mut self, now: Now, session_id: &str, connection: ConnectionId, actions: &mut Vec<Action>) {
        loop {
            let form = match self.connections.get(&connection) {
                Some(socket) if !socket.is_full() => socket.form(),
                _ => return,
            };
            if self.attachment_of(session_id, connection).is_some_and(|attachment| std::mem::take(&mut attachment.devices_due)) {
                self.tell_all_devices(now, session_id, connection, actions);
                continue;
            }
            if self.end_answer(now, session_id, connection, actions) {
                continue;
            }
            let Some(session) = self.sessions.get_mut(session_id) else { return };
            let head = session.head;
            let Some(attachment) = session.attachments.get_mut(&connection).filter(|attachment| !attachment.reading) else {
                return;
            };
            let Some(mut next) = attachment.next(head) else { return };
            let key = ChunkKey { session_id: session_id.to_owned(), from: next.from, count_max: attachment.batch_max, form };
            next.through = next.through.min(key.boundary());
            if self.chunks.get(&key, next.through).is_none() {
                let Some(entries) = session.tail_from(next.from) else {
                    return self.read_for(connection, key, next.through, actions);
                };
                let Some(chunk) = key.encode(entries, next.through) else { return };
                self.chunks.insert(key.clone(), chunk);
            }
            if !self.send_chunk(now, connection, &key, &next, actions) {
                return;
            }
        }
    }

    /// Has the journal read a part of the log, once for all who wait for it.
    fn read_for(&mut self, connection: ConnectionId, key: ChunkKey, through: u64, actions: &mut Vec<Action>) {
        let session_id = key.session_id.clone();
        let Some(session) = self.sessions.get_mut(&session_id) else { return };
        if let Some(attachment) = session.attachments.get_mut(&connection) {
            attachment.reading = true;
        }
        if let Some(waiting) = session.reads.get_mut(&key) {
            return waiting.push(connection);
        }
        session.reads.insert(key.clone(), vec![connection]);
        let count_max = usize::try_from(through - key.from + 1).unwrap_or(usize::MAX);
        let question = JournalQuestion::Read { session_id: session_id.clone(), from: key.from, count_max, bytes_max: INFLATED_BYTES_MAX };
        self.ask(&session_id, Purpose::Read(key, through), question, actions);
    }

    /// The journal has read.
    pub(super) fn read(&mut self, now: Now, key: &ChunkKey, through: u64, answer: JournalAnswer, actions: &mut Vec<Action>) {
        let session_id = key.session_id.as_str();
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let waiting = session.reads.remove(key).unwrap_or_default();
        for connection in &waiting {
            if let Some(attachment) = session.attachments.get_mut(connection) {
                attachment.reading = false;
            }
        }
        let entries = match &answer {
            JournalAnswer::Entries(stored) => stored.iter().map(|stored| stored.body.entries()).collect::<Result<Vec<_>, _>>().ok(),
            _ => None,
        };
        let chunk = entries.and_then(|entries| {
            let entries: Vec<Entry> = entries.into_iter().flatten().collect();
            key.encode(entries.iter(), through)
        });
        match chunk {
            Some(chunk) => {
                self.chunks.insert(key.clone(), chunk);
                for connection in waiting {
                    self.serve(now, session_id, connection, actions);
                }
            }
            None => {
                let error = self.journal_failed(session_id, &answer, actions);
                for connection in waiting {
                    // The device asks again: its answer does not come in time.
                    if let Some(attachment) = self.sessions.get_mut(session_id).and_then(|session| session.attachments.get_mut(&connection))
                    {
                        attachment.answers.clear();
                    }
                    let body =
                        Body::SyncStatus(SyncStatus { status: SyncPhase::Failed, progress: None, error: Some(error.message.clone()) });
                    self.transmit(now, connection, session_id, body, actions);
                }
            }
        }
    }

    /// Sends a part that is at hand; `false` where it is not.
    fn send_chunk(&mut self, now: Now, connection: ConnectionId, key: &ChunkKey, next: &Next, actions: &mut Vec<Action>) -> bool {
        let session_id = key.session_id.as_str();
        let Some(chunk) = self.chunks.get(key, next.through) else { return false };
        let (through, batch) = (chunk.through, chunk.batch.clone());
        let Some(session) = self.sessions.get_mut(session_id) else { return false };
        let (latest_sequence, clock) = (session.head, session.heads.informing());
        let Some(attachment) = session.attachments.get_mut(&connection) else { return false };
        attachment.sent_through = attachment.sent_through.max(through);
        let v1 = attachment.v1;
        if next.live {
            if v1 {
                attachment.live = Some(through + 1);
                self.push(now, connection, key, next.through, actions);
            } else {
                self.forward(now, connection, key, through, &batch, actions);
            }
            return true;
        }
        let Some(answer) = attachment.answers.front_mut() else { return false };
        answer.begun = true;
        answer.sent += through - next.from + 1;
        let request_id = answer.request_id.clone();
        match answer.ranges.front_mut() {
            Some(range) if range.1 > through => range.0 = through + 1,
            _ => {
                answer.ranges.pop_front();
            }
        }
        let more = (!answer.ranges.is_empty()).then_some((answer.sent, answer.total));
        let server_vector_clock = if v1 { VectorClock::new() } else { clock };
        let response = SyncResponse { messages: batch, latest_sequence, server_vector_clock, in_reply_to: Some(request_id) };
        self.transmit(now, connection, session_id, Body::SyncResponse(response), actions);
        if let Some((sent, total)) = more.filter(|_| !v1) {
            self.tell_status(now, session_id, connection, SyncPhase::InProgress, sent, total, actions);
        }
        true
    }

    /// Ends the first answer, if it has nothing left to send; one that had nothing at all still gets an empty batch.
    fn end_answer(&mut self, now: Now, session_id: &str, connection: ConnectionId, actions: &mut Vec<Action>) -> bool {
        let Some(session) = self.sessions.get_mut(session_id) else { return false };
        let Some(attachment) = session.attachments.get_mut(&connection) else { return false };
        let v1 = attachment.v1;
        let Some(answer) = attachment.answers.pop_front_if(|answer| answer.ranges.is_empty()) else {
            return false;
        };
        if !answer.begun {
            let in_reply_to = Some(answer.request_id);
            let server_vector_clock = if v1 { VectorClock::new() } else { session.heads.informing() };
            let latest_sequence = session.head;
            let response = SyncResponse { messages: Batch::default(), latest_sequence, server_vector_clock, in_reply_to };
            self.transmit(now, connection, session_id, Body::SyncResponse(response), actions);
        }
        // v1 devices see by the sequence numbers how far they are.
        if !v1 {
            self.tell_status(now, session_id, connection, SyncPhase::Completed, answer.sent, answer.total, actions);
        }
        true
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

    /// A live batch for a v1 device: one frame for all that are at the same position.
    fn push(&mut self, now: Now, connection: ConnectionId, key: &ChunkKey, through: u64, actions: &mut Vec<Action>) {
        let Some(latest_sequence) = self.sessions.get(&key.session_id).map(|session| session.head) else { return };
        let head = self.head(now, &key.session_id);
        let Some(chunk) = self.chunks.get(key, through) else { return };
        let payload = chunk.push.take_if(|(head, _)| *head == latest_sequence).map(|(_, payload)| payload).or_else(|| {
            let response = SyncResponse { messages: chunk.batch.clone(), latest_sequence, ..SyncResponse::default() };
            print(key.form.encoding(), &Frame { head, body: Body::SyncResponse(response) })
        });
        chunk.push = payload.clone().map(|payload| (latest_sequence, payload));
        if let Some(payload) = payload {
            self.transmit_payload(now, connection, payload, actions);
        }
    }

    /// Live messages for a seed client: one chat frame each, its own left out, until its socket is full.
    fn forward(&mut self, now: Now, connection: ConnectionId, key: &ChunkKey, through: u64, batch: &Batch, actions: &mut Vec<Action>) {
        let chats = self.chats(key, through, batch);
        for Live { sequence, device_id, payload } in chats.iter() {
            if self.connections.get(&connection).is_none_or(Connection::is_full) {
                return;
            }
            let Some(attachment) = self.attachment_of(&key.session_id, connection) else { return };
            attachment.live = Some(sequence + 1);
            let own = attachment.own.remove(sequence) || (attachment.announced && attachment.device_id == *device_id);
            if !own {
                self.transmit_payload(now, connection, payload.clone(), actions);
            }
        }
        if let Some(attachment) = self.attachment_of(&key.session_id, connection) {
            attachment.live = Some(through + 1);
        }
    }

    fn attachment_of(&mut self, session_id: &str, connection: ConnectionId) -> Option<&mut Attachment> {
        self.sessions.get_mut(session_id)?.attachments.get_mut(&connection)
    }

    /// The chat frames of a part, encoded once for all seed clients that are at the same position: each on its own would be
    /// as many copies as sockets.
    fn chats(&mut self, key: &ChunkKey, through: u64, batch: &Batch) -> Arc<[Live]> {
        if let Some((known, known_through, chats)) = &self.chats
            && (known, *known_through) == (key, through)
        {
            return chats.clone();
        }
        let session_id = key.session_id.as_str();
        let live = |entry: Entry| {
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
            let payload = print(Encoding::Json, &Frame { head: Head::default(), body: Body::Chat(chat) })?;
            Some(Live { sequence: entry.sequence_number, device_id: entry.original_device_id, payload })
        };
        // The relay encoded them itself.
        let chats: Arc<[Live]> = batch.entries().unwrap_or_default().into_iter().filter_map(live).collect();
        self.chats = Some((key.clone(), through, chats.clone()));
        chats
    }
}

impl Connection {
    fn form(&self) -> Form {
        match self.encoding {
            Encoding::Json => Form::Json,
            Encoding::Binary if self.deflate => Form::Deflated,
            Encoding::Binary => Form::Binary,
        }
    }
}

impl super::session::Attachment {
    /// What this connection lacks and may have.
    fn next(&self, head: u64) -> Option<Next> {
        let unacknowledged = self.sent_through.saturating_sub(self.acknowledged_through);
        if self.v1 && unacknowledged >= UNACKNOWLEDGED_MESSAGES_MAX {
            return None;
        }
        if let Some(answer) = self.answers.front() {
            let (from, through) = *answer.ranges.front()?;
            return Some(Next { from, through, live: false });
        }
        let from = self.live.filter(|from| *from <= head)?;
        Some(Next { from, through: head, live: true })
    }
}
