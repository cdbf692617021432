//! What the relay shows: what it asks of its journal, what it sends, and what it holds.

use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Encoding, Payload};
use solconnect_sync_core::ids::{SessionId, parse_message_id};
use solconnect_sync_core::limits::{
    BATCH_MESSAGES_MAX, FRAME_BYTES_MAX, INTEGER_MAX, SOCKET_QUEUE_BYTES_CUT, SOCKET_QUEUE_BYTES_MAX, SOCKET_STALL_MS_MAX,
    UNACKNOWLEDGED_MESSAGES_MAX, UPDATE_QUEUE_MESSAGES_MAX,
};
use solconnect_sync_core::message::{Entry, Message};
use solconnect_sync_core::relay::StoredEntry;

use crate::checker::{Checker, ConnectionView, Mark, Window};
use crate::faults::Fault;
use crate::hostile::QUEUED_AGAIN;
use crate::network::ConnectionId;
use crate::relay_disk::Journal;
use crate::world::Context;

impl Checker {
    /// The journal has stored these and the relay is told so: from now on they are in the log for ever.
    pub fn appended(&mut self, session_id: &str, stored: &[StoredEntry]) {
        for stored in stored {
            match stored.body.entries().map(|mut entries| (entries.len(), entries.pop())) {
                Ok((1, Some(entry))) => self.log_goes_on(session_id, entry, stored),
                _ => self.violate(22, format!("entry {} of the journal cannot be read", stored.sequence)),
            }
        }
    }

    fn log_goes_on(&mut self, session_id: &str, entry: Entry, stored: &StoredEntry) {
        let log = self.ledger.log(session_id);
        let (device, counter, sequence) = (entry.original_device_id.clone(), entry.counter(), entry.sequence_number);
        let follows = sequence == log.head() + 1 && sequence == stored.sequence;
        let own_head = log.head_of(&device, sequence);
        let repeats = log.place_of(&device, counter).is_some() || counter == 0 || stored.counter != counter || stored.device_id != device;
        let ahead = entry.vector_clock.iter().find(|(other, known)| *other != device && *known > log.head_of(other, sequence));
        let ahead = ahead.map(|(other, known)| (other.to_owned(), known));
        let head = log.head();
        let text = &entry.message.ciphertext;
        let queued_again = text.starts_with(QUEUED_AGAIN);
        let twice = queued_again && log.entries().iter().any(|before| before.message.ciphertext == *text);
        self.require(5, follows, || format!("the log of {session_id} goes on with {sequence} after {head}"));
        self.require(3, !repeats, || format!("counter {counter} of {device} stands twice in the log of {session_id}, again at {sequence}"));
        self.require(11, counter > own_head, || format!("counter {counter} of {device} comes after its counter {own_head}, at {sequence}"));
        let others = entry.vector_clock.iter().filter(|(other, _)| *other != device).count();
        self.require_none(10, others, ahead, |ahead| format!("entry {sequence} of {session_id} knows {ahead:?}, which is not before it"));
        if let Some((number, sent)) = self.ledger.sent(&entry.message.ciphertext) {
            let (profile, fits) = (sent.profile, sent.session_id == session_id);
            self.require(5, fits, || format!("message s{number} stands in another session than it was sent to"));
            let before = self.logged.insert((session_id.to_owned(), device.clone()), number);
            let ordered = before.is_none_or(|before| before < number);
            self.require_where(8, before.is_some(), ordered, || {
                format!("message s{number} of {device} stands behind s{} in the log", before.unwrap_or(0))
            });
            self.profiles[profile].pending.remove(&number);
            let places = &mut self.ledger.sent[number as usize].places;
            places.push((sequence, device));
            let places = places.clone();
            self.require(3, places.len() == 1, || format!("message s{number} stands in the log more than once: {places:?}"));
        }
        if text.starts_with(QUEUED_AGAIN) {
            self.mark(Mark::HostileTaken);
        }
        self.require_where(3, queued_again, !twice, || {
            format!("what was queued again stands twice in the log of {session_id}, again at {sequence}")
        });
        self.ledger.log_mut(session_id).push(entry);
    }

    /// The relay was started over a journal: all that was in the log is (I1), and what else is found is from now on.
    pub fn recovered(&mut self, journal: &Journal) {
        let known: Vec<(SessionId, u64)> = self.ledger.sessions().map(|(session_id, log)| (session_id.clone(), log.head())).collect();
        for (session_id, head) in known {
            let rows = journal.sessions().get(&session_id).map(|rows| rows.entries.as_slice()).unwrap_or_default();
            let log = self.ledger.log(&session_id);
            let kept = |(entry, stored): (&Entry, &StoredEntry)| {
                (&entry.original_device_id, entry.counter(), entry.sequence_number) == (&stored.device_id, stored.counter, stored.sequence)
            };
            let holds = rows.len() as u64 >= head && log.entries().iter().zip(rows).all(kept);
            let found = rows.len();
            self.require_where(1, !self.set_back && head > 0, holds, || {
                format!("{head} entries of {session_id} were in the log, {found} survive the crash, or others")
            });
        }
        for (session_id, rows) in journal.sessions() {
            let visitor = rows.devices().find(|row| row.last_counter == 0 && !row.retired).map(|row| row.device_id.clone());
            self.require_none(20, rows.devices().count(), visitor, |device| {
                format!("the journal has device {device:?} of {session_id}, which has written nothing")
            });
            let head = self.ledger.log(session_id).head() as usize;
            if rows.entries.len() > head {
                self.appended(session_id, &rows.entries[head..]);
            }
        }
    }

    /// The journal refused an append, and no fault made it do so.
    pub fn append_refused(&mut self, session_id: &str, reason: &str) {
        let invariant = if reason.contains("follow") { 5 } else { 3 };
        self.violate(invariant, format!("the relay asked for an append to {session_id} that no journal takes: {reason}"));
    }

    /// The relay hears a frame.
    pub fn relay_received(&mut self, ctx: &mut Context, connection: ConnectionId, honest: bool, payload: &Payload) {
        let Some(reading) = self.reader.read(payload) else { return };
        let frame = &reading.frame;
        let view = self.connections.entry(connection).or_default();
        view.honest = honest;
        let session_id = frame.head.session_id.clone();
        let spoken = view.spoken.entry(session_id.clone()).or_default();
        let is_v1 = frame.head.protocol_version.is_some();
        (spoken.v1, spoken.seed) = (spoken.v1 || is_v1, spoken.seed || !is_v1);
        match &frame.body {
            Body::DeviceAnnounce(_) if frame.head.protocol_version.is_some() => {
                view.v1.insert(session_id);
            }
            Body::SyncUpdate(update) => {
                let log = self.ledger.log(&session_id);
                for unsent in &update.messages {
                    let known = parse_message_id(&unsent.message.id).and_then(|(_, device, counter)| log.place_of(device, counter));
                    if known.is_some() {
                        ctx.faults.count(Fault::DuplicateResend);
                    }
                    let alike = view.unanswered.entry(unsent.message.id.clone()).or_default();
                    if !alike.contains(&unsent.message) {
                        alike.push(unsent.message.clone());
                        *self.held.entry(session_id.clone()).or_default() += 1;
                    }
                }
            }
            Body::SyncRequest(request) => {
                let head = self.ledger.log(&session_id).head();
                let window = view.windows.entry(session_id).or_default();
                let batch_max = request.max_batch_size.map_or(100, |count| count.clamp(1, BATCH_MESSAGES_MAX as u64) as usize);
                if request.missing_ranges.is_empty() {
                    *window = Window { stored: request.last_synced_sequence.min(head), batch_max, ..Window::default() };
                } else {
                    // Who asks for ranges does not say how much it has, and was sent some of it in larger batches.
                    window.batch_max = window.batch_max.max(batch_max);
                }
            }
            Body::SyncAck(ack) => {
                let through = ack.acknowledged_sequences.iter().copied().max().unwrap_or(0).min(self.ledger.log(&session_id).head());
                view.windows.entry(session_id).or_default().store(through);
            }
            _ => {}
        }
    }

    /// The relay gives a frame to a socket.
    pub fn relay_transmitted(&mut self, connection: ConnectionId, encoding: Encoding, payload: &Payload) {
        let bytes = payload.len();
        let view = self.connections.entry(connection).or_default();
        let was_full = view.outstanding_bytes >= SOCKET_QUEUE_BYTES_MAX;
        view.outstanding_bytes += bytes;
        self.require(20, bytes <= FRAME_BYTES_MAX, || format!("the relay sends a frame of {bytes} bytes"));
        let fits = matches!((encoding, payload), (Encoding::Json, Payload::Text(_)) | (Encoding::Binary, Payload::Binary(_)));
        let Some(reading) = self.reader.read(payload).filter(|_| fits) else {
            return self.violate(22, format!("the relay sends a frame that cannot be read on connection {connection}"));
        };
        let session_id = &reading.frame.head.session_id;
        self.told_after_announcement(connection, session_id, &reading.frame.body);
        match &reading.frame.body {
            Body::SyncAck(ack) => {
                let places = ack.acknowledged_message_ids.iter().zip(&ack.acknowledged_sequences);
                for (id, sequence) in places {
                    self.acknowledged(connection, session_id, id, *sequence);
                }
            }
            Body::SyncResponse(_) | Body::Chat(_) if was_full => {
                self.violate(20, format!("the log is served to connection {connection}, whose socket is full"));
            }
            Body::DeviceList(list) => {
                // The reader is the machines' own code, and may take what no device can.
                let largest = list.devices.iter().map(|device| device.sync_state.last_synced_sequence).max();
                self.require_where(22, largest.is_some(), largest.is_none_or(|largest| largest <= INTEGER_MAX), || {
                    format!("the relay passes on {largest:?}, which no device can read")
                });
            }
            Body::ReadReceiptSync(told) => {
                let head = self.ledger.log(session_id).head();
                let farthest = told.receipts.iter().filter_map(|receipt| receipt.sequence_number).max();
                self.require_where(5, farthest.is_some(), farthest.is_none_or(|place| place <= head), || {
                    format!("the relay tells of receipts up to {farthest:?} of {session_id}, the log ends at {head}")
                });
            }
            Body::SyncResponse(response) => match &reading.entries {
                Some(entries) => self.served(connection, session_id, entries, response.latest_sequence),
                None => self.violate(22, "the relay sends a batch that cannot be read".into()),
            },
            Body::Error(error) => {
                let Some(session_id) = &error.session_id else { return };
                self.refused(connection, session_id, error.code, error.refused_message_id.as_deref());
            }
            _ => {}
        }
    }

    /// What speaks by our rules hears nothing of a session but refusals before it has announced itself there.
    fn told_after_announcement(&mut self, connection: ConnectionId, session_id: &str, body: &Body) {
        let Some(view) = self.connections.get(&connection) else { return };
        let spoken = view.spoken.get(session_id).copied().unwrap_or_default();
        let announced = view.v1.contains(session_id);
        let tells = !matches!(body, Body::Error(_)) && !session_id.is_empty();
        self.require_where(16, tells && spoken.v1 && !spoken.seed, announced, || {
            format!("connection {connection} is told of {session_id}, where it has announced nothing")
        });
    }

    fn acknowledged(&mut self, connection: ConnectionId, session_id: &str, id: &str, sequence: u64) {
        let log = self.ledger.log(session_id);
        let entry = log.entry(sequence).cloned();
        let stands = entry.as_ref().is_some_and(|entry| entry.message.id == id);
        self.require(1, stands, || format!("{id} is acknowledged at {sequence} of {session_id}, where the journal does not have it"));
        let Some(view) = self.connections.get_mut(&connection) else { return };
        // Who has all before it has it by this acknowledgement.
        if let Some(window) = view.windows.get_mut(session_id).filter(|window| window.stored + 1 == sequence) {
            window.store(sequence);
        }
        let honest = view.honest;
        let (Some(sent), Some(entry)) = (view.unanswered.get_mut(id), entry) else { return };
        let same = |sent: &Message| sent.ciphertext == entry.message.ciphertext && sent.sender_wallet == entry.message.sender_wallet;
        let place = sent.iter().position(same);
        if let Some(place) = place {
            sent.swap_remove(place);
            if sent.is_empty() {
                view.unanswered.remove(id);
            }
            self.let_go(session_id);
        }
        self.require_where(4, honest, place.is_some(), || format!("{id} is acknowledged at {sequence}, where another content stands"));
    }

    fn let_go(&mut self, session_id: &str) {
        if let Some(held) = self.held.get_mut(session_id) {
            *held = held.saturating_sub(1);
        }
    }

    fn refused(&mut self, connection: ConnectionId, session_id: &str, code: ErrorCode, id: Option<&str>) {
        let Some(view) = self.connections.get_mut(&connection) else { return };
        if let (ErrorCode::CounterReused, Some(id)) = (code, id)
            && let Some(sent) = view.unanswered.get(id)
            && view.honest
            && let Some((_, device, counter)) = parse_message_id(id)
        {
            let log = self.ledger.log(session_id);
            let entry = log.place_of(device, counter).and_then(|sequence| log.entry(sequence));
            // Or nothing may stand under it any more, because a message that was first of that name has another.
            let moved = entry.is_none() && log.is_moved(device);
            let same = entry.is_none_or(|entry| sent.iter().all(|sent| entry.message == *sent));
            self.require(4, !same || moved, || format!("{id} is refused as used before, and nothing else stands under it"));
        }
        // What was sent before it is not answered any more.
        if let Some(view) = self.connections.get_mut(&connection) {
            let given_up = |_: &String, sent: &mut Vec<Message>| sent.iter().any(|sent| sent.session_id == session_id);
            let count: usize = view.unanswered.extract_if(.., given_up).map(|(_, sent)| sent.len()).sum();
            self.held.entry(session_id.to_owned()).and_modify(|held| *held = held.saturating_sub(count));
        }
    }

    fn served(&mut self, connection: ConnectionId, session_id: &str, entries: &[Entry], latest: u64) {
        let log = self.ledger.log(session_id);
        let wrong = entries.iter().find(|entry| log.entry(entry.sequence_number) != Some(*entry)).map(|entry| entry.sequence_number);
        let head = log.head();
        let count = entries.len();
        self.require_none(5, count, wrong, |wrong| format!("the relay serves {wrong} of {session_id} other than it stands in the log"));
        self.require(5, latest <= head, || format!("the relay names {latest} as the head of {session_id}, the log ends at {head}"));
        self.require(20, count <= BATCH_MESSAGES_MAX, || format!("a batch of {count} messages"));
        let Some(view) = self.connections.get_mut(&connection) else { return };
        if view.v1.contains(session_id) {
            let window = view.windows.entry(session_id.to_owned()).or_default();
            let stored = window.stored;
            window.ahead.extend(entries.iter().map(|entry| entry.sequence_number).filter(|sequence| *sequence > stored));
            let ahead = window.ahead.len();
            // One batch may begin below the limit and end above it.
            let limit = UNACKNOWLEDGED_MESSAGES_MAX as usize + window.batch_max;
            self.require(20, ahead < limit, || format!("{ahead} messages are sent ahead of what connection {connection} has stored"));
        }
    }

    /// The socket has taken so much.
    pub fn relay_sent(&mut self, now_ms: u64, connection: ConnectionId, bytes: usize) {
        if let Some(view) = self.connections.get_mut(&connection) {
            view.outstanding_bytes = view.outstanding_bytes.saturating_sub(bytes);
            view.full_since_ms = (view.outstanding_bytes >= SOCKET_QUEUE_BYTES_MAX).then_some(now_ms);
        }
    }

    /// The relay has handled an input: what it holds is bounded (I20).
    pub fn relay_handled(&mut self, now_ms: u64) {
        let (mut full, mut worst) = (false, None);
        for (connection, view) in &mut self.connections {
            if view.outstanding_bytes >= SOCKET_QUEUE_BYTES_MAX {
                let since_ms = *view.full_since_ms.get_or_insert(now_ms);
                let stalled = now_ms > since_ms + SOCKET_STALL_MS_MAX;
                if stalled || view.outstanding_bytes > SOCKET_QUEUE_BYTES_CUT {
                    worst = Some((*connection, view.outstanding_bytes, now_ms - since_ms));
                }
                full = true;
            }
        }
        if full {
            self.require(20, worst.is_none(), || format!("the relay holds for a socket that takes nothing: {worst:?}"));
        }
        // One append is under way beside what waits.
        let limit = UPDATE_QUEUE_MESSAGES_MAX + BATCH_MESSAGES_MAX;
        let over = self
            .held
            .iter()
            .find(|(session_id, held)| **held > limit && !self.loading.contains(*session_id))
            .map(|(session_id, held)| (session_id.clone(), *held));
        let sessions = self.held.len();
        self.require_none(20, sessions, over, |over| format!("the relay holds more unanswered messages than it may: {over:?}"));
    }

    /// A connection is gone for the relay.
    pub fn relay_forgot(&mut self, connection: ConnectionId) {
        if let Some(ConnectionView { unanswered, .. }) = self.connections.remove(&connection) {
            for message in unanswered.into_values().flatten() {
                self.let_go(&message.session_id);
            }
        }
    }

    /// The relay is a new process.
    pub fn relay_ended(&mut self) {
        self.connections.clear();
        self.held.clear();
        self.loading.clear();
    }
}
