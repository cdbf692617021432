//! The relay: a state machine that gives every session its one order and passes it on.
//!
//! How a message passes: frames of a session wait until it is loaded (here), updates are checked and numbered
//! (append), the journal stores them, then the sender is acknowledged and everybody else is served from the log
//! (deliver). What a device has been sent is a position in the log, so a slow one costs no memory.

mod api;
mod append;
mod attend;
mod chunks;
mod deliver;
mod draft;
mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use api::*;

use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Encoding, ErrorBody, Frame, Head, PROTOCOL_VERSION, Payload, RELAY_DEVICE_ID};
use crate::ids::SessionId;
use crate::limits::{ATTACHMENTS_MAX, SOCKET_QUEUE_BYTES_CUT, SOCKET_QUEUE_BYTES_MAX, SOCKET_STALL_MS_MAX};
use crate::message::Stamp;
use crate::time::Now;
use chunks::{ChunkKey, Chunks};
use deliver::Live;
use session::Session;

/// Frames that may wait while a session is read from the journal. Loading takes milliseconds; what comes beyond is
/// told to come again.
const LOADING_FRAMES_MAX: usize = 1_024;

/// Bytes of one connection that may wait for sessions to be read: more than a device with a thousand of them says first.
const LOADING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a waiting frame takes beside its bytes.
const LOADING_FRAME_BYTES: usize = 512;

/// A frame that waits for its session to be read.
struct Waiting {
    connection: ConnectionId,
    frame: Frame,
    bytes: usize,
}

/// The relay machine. Feed it every input in order; run the actions it returns in order.
#[derive(Default)]
pub struct Relay {
    connections: BTreeMap<ConnectionId, Connection>,
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions that the journal is asked for, and the frames that wait for them.
    loading: BTreeMap<SessionId, VecDeque<Waiting>>,
    tickets: BTreeMap<Ticket, (SessionId, Purpose)>,
    last_ticket: Ticket,
    last_frame: u64,
    /// Connections whose sockets are full.
    full: BTreeSet<ConnectionId>,
    /// Sessions with receipts to tell, and when.
    lingering: VecDeque<(u64, SessionId)>,
    chunks: Chunks,
    /// What seed clients were sent last: which part of the log, as chat frames.
    chats: Option<(ChunkKey, u64, Arc<[Live]>)>,
}

/// What a question to the journal was for.
enum Purpose {
    Load,
    /// To tell repeats from new messages.
    Find,
    Append,
    /// To serve every connection that waits for this part of the log.
    Read(ChunkKey, u64),
}

#[derive(Default)]
struct Connection {
    /// Transmitted and not yet taken by the socket.
    queued_bytes: usize,
    /// When the socket last took something, while its queue is full.
    stalled_since_ms: Option<u64>,
    attached: BTreeSet<SessionId>,
    encoding: Encoding,
    /// What of it waits for sessions to be read.
    loading_bytes: usize,
    /// It takes compressed batches.
    deflate: bool,
}

impl Connection {
    fn is_full(&self) -> bool {
        self.queued_bytes >= SOCKET_QUEUE_BYTES_MAX
    }
}

impl Relay {
    /// A machine that knows no session; the journal does.
    pub fn new() -> Relay {
        Relay::default()
    }

    /// Takes one input and returns what to do, in order.
    #[must_use]
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Opened { connection, encoding } => {
                self.connections.insert(connection, Connection { encoding, ..Connection::default() });
            }
            Input::Received { connection, payload } => {
                if let Some(Connection { encoding, .. }) = self.connections.get(&connection) {
                    match parse(*encoding, &payload) {
                        Ok(frame) => {
                            self.route(now, Waiting { connection, frame, bytes: payload.len() + LOADING_FRAME_BYTES }, &mut actions)
                        }
                        Err(error) => self.refuse(now, connection, ErrorBody::new(&error), &mut actions),
                    }
                }
            }
            Input::Sent { connection, bytes } => self.sent(now, connection, bytes, &mut actions),
            Input::Closed { connection } => self.closed(now, connection, &mut actions),
            Input::Journal { ticket, answer } => self.answered(now, ticket, answer, &mut actions),
            Input::Timeout => {}
        }
        self.cut_stalled(now, &mut actions);
        self.tell_delivered(now, &mut actions);
        actions
    }

    /// When [`Input::Timeout`] is due, on the monotonic clock; `None` while nothing waits for time.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let since_ms = self.full.iter().filter_map(|connection| self.connections.get(connection)?.stalled_since_ms).min();
        let stalled_ms = since_ms.map(|since_ms| since_ms + SOCKET_STALL_MS_MAX);
        let receipts_ms = self.lingering.front().map(|(due_ms, _)| *due_ms);
        stalled_ms.into_iter().chain(receipts_ms).min()
    }

    /// A frame goes to its session, once that is known.
    fn route(&mut self, now: Now, arrived: Waiting, actions: &mut Vec<Action>) {
        let Waiting { connection, frame, bytes } = arrived;
        let session_id = frame.head.session_id.clone();
        if session_id.is_empty() {
            match frame.body {
                Body::SyncHeartbeat(heartbeat) => {
                    self.transmit(now, connection, "", Body::SyncHeartbeat(heartbeat), actions);
                }
                _ => {
                    let error = SyncError::new(ErrorCode::InvalidMessageFormat, "the frame names no session");
                    self.refuse(now, connection, ErrorBody::new(&error), actions);
                }
            }
            return;
        }
        if self.sessions.contains_key(&session_id) {
            self.attend(now, connection, frame, actions);
            self.release(&session_id);
            return;
        }
        let Some(sender) = self.connections.get_mut(&connection) else { return };
        let waiting = self.loading.get(&session_id).map_or(0, VecDeque::len);
        if waiting >= LOADING_FRAMES_MAX || sender.loading_bytes + bytes > LOADING_BYTES_MAX {
            let error = SyncError::new(ErrorCode::RelayBusy, "too much waits for sessions to be read; send it again");
            return self.refuse(now, connection, refusal(&error, &frame.head), actions);
        }
        sender.loading_bytes += bytes;
        if !self.loading.contains_key(&session_id) {
            self.ask(&session_id, Purpose::Load, JournalQuestion::Load { session_id: session_id.clone() }, actions);
        }
        self.loading.entry(session_id).or_default().push_back(Waiting { connection, frame, bytes });
    }

    fn answered(&mut self, now: Now, ticket: Ticket, answer: JournalAnswer, actions: &mut Vec<Action>) {
        let Some((session_id, purpose)) = self.tickets.remove(&ticket) else {
            return;
        };
        match purpose {
            Purpose::Load => {
                let waiting = self.loading.remove(&session_id).unwrap_or_default();
                for Waiting { connection, bytes, .. } in &waiting {
                    if let Some(connection) = self.connections.get_mut(connection) {
                        connection.loading_bytes -= bytes;
                    }
                }
                match answer {
                    JournalAnswer::Session(stored) => {
                        self.sessions.insert(session_id.clone(), Session::new(stored));
                        for Waiting { connection, frame, .. } in waiting {
                            self.attend(now, connection, frame, actions);
                        }
                    }
                    other => {
                        let error = self.journal_failed(&session_id, &other, actions);
                        for Waiting { connection, frame, .. } in waiting {
                            self.refuse(now, connection, refusal(&error, &frame.head), actions);
                        }
                    }
                }
            }
            Purpose::Find => self.found(now, &session_id, answer, actions),
            Purpose::Append => self.appended(now, &session_id, answer, actions),
            Purpose::Read(key, through) => self.read(now, &key, through, answer, actions),
        }
        self.release(&session_id);
    }

    fn journal_failed(&self, session_id: &str, answer: &JournalAnswer, actions: &mut Vec<Action>) -> SyncError {
        let reason = match answer {
            JournalAnswer::Failed { reason } => reason.as_str(),
            _ => "the journal answered another question",
        };
        actions.push(Action::Log { text: format!("journal failed for session {session_id:?}: {reason}") });
        SyncError::new(ErrorCode::RelayStorageFailed, "the relay could not store or read; nothing was acknowledged")
    }

    /// Forgets a session that nobody is attached to: the journal has it.
    fn release(&mut self, session_id: &str) {
        if self.sessions.get(session_id).is_some_and(Session::is_idle) {
            self.sessions.remove(session_id);
        }
    }

    fn ask(&mut self, session_id: &str, purpose: Purpose, question: JournalQuestion, actions: &mut Vec<Action>) {
        self.last_ticket += 1;
        self.tickets.insert(self.last_ticket, (session_id.to_owned(), purpose));
        actions.push(Action::Journal { ticket: self.last_ticket, question });
    }

    /// State that may be lost in a crash.
    fn note(&mut self, session_id: &str, devices: Vec<DeviceRow>, watermarks: Vec<WatermarkRow>, actions: &mut Vec<Action>) {
        self.last_ticket += 1;
        let question = JournalQuestion::Note { session_id: session_id.to_owned(), devices, watermarks };
        actions.push(Action::Journal { ticket: self.last_ticket, question });
    }

    fn sent(&mut self, now: Now, id: ConnectionId, bytes: usize, actions: &mut Vec<Action>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let was_full = connection.is_full();
        connection.queued_bytes = connection.queued_bytes.saturating_sub(bytes);
        connection.stalled_since_ms = connection.is_full().then_some(now.monotonic_ms);
        if was_full && !connection.is_full() {
            self.full.remove(&id);
            for session_id in connection.attached.clone() {
                self.serve(now, &session_id, id, actions);
            }
        }
    }

    /// A socket that takes nothing of a full queue is cut (T12): what it lacks is in the log.
    fn cut_stalled(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.full.is_empty() {
            return;
        }
        let stalled = |connection: &Connection| {
            connection.stalled_since_ms.is_some_and(|since_ms| now.monotonic_ms >= since_ms + SOCKET_STALL_MS_MAX)
                || connection.queued_bytes > SOCKET_QUEUE_BYTES_CUT
        };
        let cut: Vec<ConnectionId> = self.full.iter().copied().filter(|id| self.connections.get(id).is_none_or(stalled)).collect();
        for connection in cut {
            actions.push(Action::Disconnect { connection, code: 1013, reason: "too slow: connect again to catch up".into() });
            self.closed(now, connection, actions);
        }
    }

    fn closed(&mut self, now: Now, id: ConnectionId, actions: &mut Vec<Action>) {
        self.full.remove(&id);
        let Some(connection) = self.connections.remove(&id) else { return };
        if connection.loading_bytes > 0 {
            self.loading.values_mut().for_each(|waiting| waiting.retain(|arrived| arrived.connection != id));
        }
        for session_id in connection.attached {
            self.leave(now, &session_id, id, actions);
            self.release(&session_id);
        }
    }

    /// Attaches a connection to a session; the limit is per connection.
    fn attach(&mut self, connection: ConnectionId, session_id: &str) -> Result<(), SyncError> {
        let Some(connection) = self.connections.get_mut(&connection) else {
            return Ok(());
        };
        if connection.attached.len() >= ATTACHMENTS_MAX && !connection.attached.contains(session_id) {
            return Err(SyncError::new(ErrorCode::LimitReached, format!("a connection takes part in at most {ATTACHMENTS_MAX} sessions")));
        }
        connection.attached.insert(session_id.to_owned());
        Ok(())
    }

    fn head(&mut self, now: Now, session_id: &str) -> Head {
        self.last_frame += 1;
        Head {
            session_id: session_id.to_owned(),
            device_id: RELAY_DEVICE_ID.into(),
            timestamp: Stamp::Millis(now.wall_ms),
            message_id: format!("r{}", self.last_frame),
            protocol_version: None,
        }
    }

    fn transmit(&mut self, now: Now, connection: ConnectionId, session_id: &str, body: Body, actions: &mut Vec<Action>) {
        let head = self.head(now, session_id);
        self.transmit_frame(now, connection, &Frame { head, body }, actions);
    }

    /// The same frame to several connections, encoded once: they share its bytes.
    fn broadcast(&mut self, now: Now, to: Vec<ConnectionId>, session_id: &str, body: Body, actions: &mut Vec<Action>) {
        let frame = Frame { head: self.head(now, session_id), body };
        let (mut json, mut binary) = (None, None);
        for id in to {
            let Some(encoding) = self.connections.get(&id).map(|connection| connection.encoding) else { continue };
            let printed = if encoding == Encoding::Json { &mut json } else { &mut binary };
            if let Some(payload) = printed.get_or_insert_with(|| print(encoding, &frame)).clone() {
                self.transmit_payload(now, id, payload, actions);
            }
        }
    }

    fn transmit_frame(&mut self, now: Now, connection: ConnectionId, frame: &Frame, actions: &mut Vec<Action>) {
        let encoding = self.connections.get(&connection).map(|connection| connection.encoding).unwrap_or_default();
        if let Some(payload) = print(encoding, frame) {
            self.transmit_payload(now, connection, payload, actions);
        }
    }

    fn transmit_payload(&mut self, now: Now, id: ConnectionId, payload: Payload, actions: &mut Vec<Action>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.queued_bytes += payload.len();
        if connection.is_full() {
            connection.stalled_since_ms.get_or_insert(now.monotonic_ms);
            self.full.insert(id);
        }
        actions.push(Action::Transmit { connection: id, payload });
    }

    fn refuse(&mut self, now: Now, connection: ConnectionId, error: ErrorBody, actions: &mut Vec<Action>) {
        self.transmit_frame(now, connection, &Frame { head: Head::default(), body: Body::Error(error) }, actions);
    }
}

fn parse(encoding: Encoding, payload: &Payload) -> Result<Frame, SyncError> {
    let frame = match (encoding, payload) {
        (Encoding::Json, Payload::Text(text)) => return Frame::parse(text),
        (Encoding::Binary, Payload::Binary(bytes)) => Frame::from_bytes(bytes)?,
        _ => return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "text and binary frames go by the subprotocol of the connection")),
    };
    if frame.head.protocol_version.is_none_or(|version| version < PROTOCOL_VERSION) {
        return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "a binary frame must name its protocol_version"));
    }
    Ok(frame)
}

/// `None` for the frames that only clients of the JSON form are sent.
fn print(encoding: Encoding, frame: &Frame) -> Option<Payload> {
    match encoding {
        Encoding::Json => Some(Payload::Text(frame.to_json().into())),
        Encoding::Binary => frame.to_bytes().map(|bytes| Payload::Binary(bytes.into())),
    }
}

/// An error that names the frame it is about.
fn refusal(error: &SyncError, head: &Head) -> ErrorBody {
    ErrorBody {
        session_id: Some(head.session_id.clone()),
        in_reply_to: Some(head.message_id.clone()).filter(|id| !id.is_empty()),
        ..ErrorBody::new(error)
    }
}
