//! What a session may do to the world: frames to sockets, questions to the journal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::account_logs::AccountRead;
use super::api::{
    Action, Cap, ConnectionId, DeviceRow, Doorkeeper, JournalAnswer, JournalQuestion, MemberRow, Reading, Source, Ticket, Totals,
    WatermarkRow,
};
use super::batch_cache::{BatchCache, BatchKey, Form};
use super::budget::Budget;
use super::caps::{Caps, Payer};
use super::door::{Door, Guest};
use super::presence::has_written;
use super::session::TailEntry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Encoding, ErrorBody, Frame, Head, Payload, RELAY_DEVICE_ID};
use crate::identity::{Account, HeadSignature, Owner};
use crate::ids::{SessionId, WalletAddress};
use crate::limits::{ATTACHMENTS_MAX, SOCKET_QUEUE_BYTES_CUT, SOCKET_QUEUE_BYTES_HEARD, SOCKET_QUEUE_BYTES_MAX, SOCKET_STALL_MS_MAX};
use crate::log::LogHead;
use crate::message::Stamp;
use crate::time::Now;

/// The close code of a connection that may not go on: a violation of the relay's policy (RFC 6455).
pub(super) const CLOSE_REFUSED: u16 = 1008;

/// The close code of a connection that may come again later (IANA registry).
pub(super) const CLOSE_TRY_LATER: u16 = 1013;

/// What a question to the journal was for.
pub(super) enum Purpose {
    Load,
    /// To tell repeats from new messages.
    Find,
    Append,
    /// To serve every connection that waits for this part of the log.
    Read(BatchKey, u64),
    /// To write this part of the log with vector clocks, up to these places.
    Clocks(BatchKey, u64, Vec<TailEntry>, Vec<u64>),
    /// To sign devices in: the session is an account log.
    Account,
    /// To answer with a part of an account log: where it ends, and then its entries.
    AccountHead(AccountRead),
    AccountEntries(AccountRead, LogHead),
    /// To answer this frame of a connection with the sessions of its wallet.
    Sessions(ConnectionId, String),
}

/// What there is between an encrypted session and an account.
pub(super) enum Leaning {
    /// The session needs it from now on, for what this connection wrote.
    On(Box<Owner>, ConnectionId),
    /// It needs it no longer.
    Off(SessionId),
    /// The account was read, is another now, or could not be read.
    Changed(Option<SyncError>),
}

/// The relay's side of one connection.
pub(super) struct Socket {
    /// Transmitted and not yet taken by the socket.
    queued_bytes: usize,
    /// When the socket last took something, while its queue is full.
    stalled_since_ms: Option<u64>,
    /// The sessions that it takes part in.
    pub attached: BTreeSet<SessionId>,
    pub encoding: Encoding,
    /// Where it comes from, where that counts.
    source: Option<Source>,
    /// What of it waits for sessions to be read.
    pub loading_bytes: usize,
    /// It takes compressed batches.
    pub deflate: bool,
    /// What it may still cost.
    pub budget: Budget,
    /// Whether it has signed in.
    pub door: Door,
    /// Whose it is, where it said so.
    pub wallet: Option<WalletAddress>,
    /// The journal looks for the wallet's sessions.
    pub is_listing: bool,
    /// Account logs that the journal reads for it.
    pub account_reads: usize,
    /// What of an account log it had no room for.
    pub waiting_read: Option<(SessionId, AccountRead, LogHead)>,
    /// It was to hear of a session of its wallet while it had no room.
    pub missed_session: bool,
}

impl Socket {
    pub fn new(now: Now, encoding: Encoding, source: Option<Source>) -> Self {
        Socket {
            queued_bytes: 0,
            stalled_since_ms: None,
            attached: BTreeSet::new(),
            encoding,
            source,
            loading_bytes: 0,
            deflate: false,
            budget: Budget::new(now),
            door: Door::default(),
            wallet: None,
            is_listing: false,
            account_reads: 0,
            waiting_read: None,
            missed_session: false,
        }
    }

    pub fn is_full(&self) -> bool {
        self.queued_bytes >= SOCKET_QUEUE_BYTES_MAX
    }

    pub fn reading(&self) -> Reading {
        if self.queued_bytes > SOCKET_QUEUE_BYTES_HEARD {
            return Reading::NotBeforeSent;
        }
        self.budget.spent_until_ms().map_or(Reading::Now, Reading::NotBefore)
    }

    /// Who pays for what it does.
    fn payer(&self) -> Payer {
        Payer { wallet: self.door.guest.as_ref().map(|guest| guest.wallet.clone()), source: self.source }
    }

    fn form(&self) -> Form {
        match self.encoding {
            Encoding::Json => Form::Json,
            Encoding::Binary if self.deflate => Form::Deflated,
            Encoding::Binary => Form::Binary,
        }
    }
}

/// The effects of one input, and what all sessions share.
#[derive(Default)]
pub(super) struct Context {
    pub now: Now,
    pub actions: Vec<Action>,
    pub sockets: BTreeMap<ConnectionId, Socket>,
    /// The connections that said whose they are, by wallet.
    pub wallets: BTreeMap<WalletAddress, BTreeSet<ConnectionId>>,
    pub cache: BatchCache,
    pub caps: Caps,
    pub totals: Totals,
    tickets: BTreeMap<Ticket, (SessionId, Purpose)>,
    last_ticket: Ticket,
    last_frame: u64,
    last_signed_ms: u64,
    /// Connections whose sockets are full.
    full: BTreeSet<ConnectionId>,
    /// Who may sign in, and who must; `None` where nobody can.
    pub keeper: Option<Arc<Doorkeeper>>,
    /// Who must sign in, and until when.
    pub unsigned: BTreeMap<ConnectionId, u64>,
    /// The accounts in memory, by their logs: as they are on disk.
    pub accounts: BTreeMap<SessionId, Arc<Account>>,
    /// What encrypted sessions want with accounts, in order.
    pub leanings: VecDeque<(SessionId, Leaning)>,
    /// Connections to end when the input is done, with code and reason.
    pub cut: Vec<(ConnectionId, u16, String)>,
}

impl Context {
    pub fn transmit(&mut self, connection: ConnectionId, session_id: &str, body: Body) {
        let head = self.head(session_id);
        self.transmit_frame(connection, &Frame { head, body });
    }

    /// Says what only informs, where the socket has room for it; says whether it had.
    pub fn inform(&mut self, connection: ConnectionId, session_id: &str, body: Body) -> bool {
        let has_room = self.has_room(connection);
        if has_room {
            self.transmit(connection, session_id, body);
        }
        has_room
    }

    /// Says to many what only informs, printed once for each encoding; says who had no room for it.
    pub fn inform_all(&mut self, connections: &[ConnectionId], session_id: &str, body: Body) -> Vec<ConnectionId> {
        let frame = Frame { head: self.head(session_id), body };
        let (mut json, mut binary) = (None, None);
        let mut had_no_room = Vec::new();
        for connection in connections {
            let Some(socket) = self.sockets.get(connection).filter(|socket| !socket.is_full()) else {
                had_no_room.push(*connection);
                continue;
            };
            let encoding = socket.encoding;
            let printed = if encoding == Encoding::Json { &mut json } else { &mut binary };
            if let Some(payload) = printed.get_or_insert_with(|| print(encoding, &frame)).clone() {
                self.transmit_payload(*connection, payload);
            }
        }
        had_no_room
    }

    pub fn has_room(&self, connection: ConnectionId) -> bool {
        self.sockets.get(&connection).is_some_and(|socket| !socket.is_full())
    }

    /// A connection made the relay do so much. One that has left pays nothing more.
    pub fn charge(&mut self, connection: ConnectionId, us: u64) {
        if let Some(socket) = self.sockets.get_mut(&connection) {
            socket.budget.charge(us);
        }
    }

    pub fn refuse(&mut self, connection: ConnectionId, error: ErrorBody) {
        *self.totals.errors.entry(error.code).or_default() += 1;
        self.transmit_frame(connection, &Frame { head: Head::default(), body: Body::Error(error) });
    }

    fn transmit_frame(&mut self, connection: ConnectionId, frame: &Frame) {
        let encoding = self.sockets.get(&connection).map(|socket| socket.encoding).unwrap_or_default();
        if let Some(payload) = print(encoding, frame) {
            self.transmit_payload(connection, payload);
        }
    }

    /// A connection that is gone takes nothing: who sent an update may leave before it is stored.
    pub fn transmit_payload(&mut self, connection: ConnectionId, payload: Payload) {
        let Some(socket) = self.sockets.get_mut(&connection) else { return };
        self.totals.frames_sent += 1;
        socket.queued_bytes += payload.len();
        if socket.is_full() {
            socket.stalled_since_ms.get_or_insert(self.now.monotonic_ms);
            self.full.insert(connection);
        }
        self.actions.push(Action::Transmit { connection, payload });
    }

    /// A connection may take part in so many sessions, and so may its wallet and all from its address.
    pub fn check_may_join(&mut self, connection: ConnectionId, session_id: &str) -> Result<(), SyncError> {
        let Some(socket) = self.sockets.get(&connection).filter(|socket| !socket.attached.contains(session_id)) else { return Ok(()) };
        if socket.attached.len() >= ATTACHMENTS_MAX {
            return Err(SyncError::new(ErrorCode::LimitReached, format!("a connection takes part in at most {ATTACHMENTS_MAX} sessions")));
        }
        let verdict = self.caps.may_attach(self.now.monotonic_ms, &socket.payer());
        verdict.map_err(|cap| self.capped(cap))
    }

    /// A connection begins a session, if it may.
    pub fn begin_session(&mut self, connection: ConnectionId) -> Result<(), SyncError> {
        // Who has left has begun it all the same.
        let payer = self.sockets.get(&connection).map(Socket::payer).unwrap_or_default();
        self.caps.begin(self.now.monotonic_ms, &payer).map_err(|cap| self.capped(cap))
    }

    /// A connection has its device listed, if it may.
    pub fn list_device(&mut self, connection: ConnectionId) -> Result<(), SyncError> {
        let payer = self.sockets.get(&connection).map(Socket::payer).unwrap_or_default();
        self.caps.list_device(self.now.monotonic_ms, &payer).map_err(|cap| self.capped(cap))
    }

    /// Something is too much for a wallet or an address: what is answered.
    pub fn capped(&mut self, cap: Cap) -> SyncError {
        let (error, line) = self.caps.refuse(self.now.monotonic_ms, cap);
        self.actions.extend(line.map(|text| Action::Log { text }));
        error
    }

    /// A connection, which is open, takes part in this session.
    pub fn joined(&mut self, connection: ConnectionId, session_id: &str) {
        if let Some(socket) = self.sockets.get_mut(&connection).filter(|socket| !socket.attached.contains(session_id)) {
            socket.attached.insert(session_id.to_owned());
            self.caps.attach(self.now.monotonic_ms, &socket.payer());
        }
    }

    /// A connection takes no part in it any more.
    pub fn left(&mut self, connection: ConnectionId, session_id: &str) {
        if let Some(socket) = self.sockets.get_mut(&connection).filter(|socket| socket.attached.contains(session_id)) {
            socket.attached.remove(session_id);
            self.caps.detach(self.now.monotonic_ms, &socket.payer(), 1);
        }
    }

    /// Who a connection has signed in as, where it has.
    pub fn guest(&self, connection: ConnectionId) -> Option<&Guest> {
        self.sockets.get(&connection)?.door.guest.as_ref()
    }

    /// The relay's signature under a head of a log, which is on disk; none where the relay has no key. No later head is signed
    /// with an earlier time, wherever the clock goes.
    pub fn sign_head(&mut self, session_id: &str, head: &LogHead) -> Option<HeadSignature> {
        let keeper = self.keeper.as_ref()?;
        self.last_signed_ms = self.last_signed_ms.max(self.now.wall_ms);
        Some(HeadSignature::sign(&keeper.key, session_id, head, self.last_signed_ms))
    }

    /// The same of a place where the log ended once: as of then, or it would look as if the log had been set back to it.
    pub fn sign_earlier(&self, session_id: &str, head: &LogHead, time_ms: u64) -> Option<HeadSignature> {
        Some(HeadSignature::sign(&self.keeper.as_ref()?.key, session_id, head, time_ms))
    }

    /// What a frame to say has beside its body.
    pub fn head(&mut self, session_id: &str) -> Head {
        self.last_frame += 1;
        Head {
            session_id: session_id.to_owned(),
            device_id: RELAY_DEVICE_ID.into(),
            timestamp: Stamp::Millis(self.now.wall_ms),
            message_id: format!("r{}", self.last_frame),
            protocol_version: None,
        }
    }

    /// How a connection reads parts of the log; `None` while it has enough to take.
    pub fn reads(&self, connection: ConnectionId) -> Option<Form> {
        self.sockets.get(&connection).filter(|socket| !socket.is_full()).map(Socket::form)
    }

    /// The socket took some bytes. The sessions are its own that may send it more now, and might not before.
    pub fn taken(&mut self, connection: ConnectionId, bytes: usize) -> BTreeSet<SessionId> {
        // The shell also tells of a socket that was cut meanwhile.
        let Some(socket) = self.sockets.get_mut(&connection) else { return BTreeSet::new() };
        let was_full = socket.is_full();
        socket.queued_bytes = socket.queued_bytes.saturating_sub(bytes);
        socket.stalled_since_ms = socket.is_full().then_some(self.now.monotonic_ms);
        if !was_full || socket.is_full() {
            return BTreeSet::new();
        }
        self.full.remove(&connection);
        socket.attached.clone()
    }

    /// A connection says whether it takes compressed batches. It is open: it is being heard.
    pub fn takes_compressed(&mut self, connection: ConnectionId, deflate: bool) {
        if let Some(socket) = self.sockets.get_mut(&connection) {
            socket.deflate = deflate;
        }
    }

    /// Sockets that take nothing of a full queue (T12).
    pub fn stalled(&self) -> Vec<ConnectionId> {
        let is_stalled = |socket: &Socket| {
            socket.stalled_since_ms.is_some_and(|since_ms| self.now.monotonic_ms >= since_ms + SOCKET_STALL_MS_MAX)
                || socket.queued_bytes > SOCKET_QUEUE_BYTES_CUT
        };
        self.full.iter().copied().filter(|connection| self.sockets.get(connection).is_some_and(is_stalled)).collect()
    }

    /// When the next of them will be.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let since_ms = self.full.iter().filter_map(|connection| self.sockets.get(connection)?.stalled_since_ms).min();
        since_ms.map(|since_ms| since_ms + SOCKET_STALL_MS_MAX).into_iter().chain(self.unsigned.values().copied()).min()
    }

    /// An encrypted session and an account have to do with each other.
    pub fn lean(&mut self, session_id: &str, leaning: Leaning) {
        self.leanings.push_back((session_id.to_owned(), leaning));
    }

    /// Ends a connection when this input is done, after what was transmitted.
    pub fn cut(&mut self, connection: ConnectionId, code: u16, reason: String) {
        self.cut.push((connection, code, reason));
    }

    /// Who has not signed in, in the time that there was.
    pub fn late(&self) -> Vec<ConnectionId> {
        self.unsigned.iter().filter(|(_, deadline_ms)| self.now.monotonic_ms >= **deadline_ms).map(|(connection, _)| *connection).collect()
    }

    /// The connection is gone.
    pub fn remove(&mut self, connection: ConnectionId) -> Option<Socket> {
        self.full.remove(&connection);
        self.unsigned.remove(&connection);
        self.leave_wallet(connection);
        let socket = self.sockets.remove(&connection)?;
        self.caps.leave(self.now.monotonic_ms, &socket.payer(), socket.attached.len());
        Some(socket)
    }

    pub fn ask(&mut self, session_id: &str, purpose: Purpose, question: JournalQuestion) {
        self.last_ticket += 1;
        self.tickets.insert(self.last_ticket, (session_id.to_owned(), purpose));
        self.actions.push(Action::Journal { ticket: self.last_ticket, question });
    }

    /// What was asked for under this ticket, once.
    pub fn asked(&mut self, ticket: Ticket) -> Option<(SessionId, Purpose)> {
        self.tickets.remove(&ticket)
    }

    /// State that may be lost in a crash: of devices that the log knows, and without their clocks, which would be read
    /// with every start of the session. What only an announcement says is not worth the disk.
    pub fn note(&mut self, session_id: &str, devices: Vec<DeviceRow>, watermarks: Vec<WatermarkRow>) {
        let devices: Vec<DeviceRow> = devices.into_iter().filter(has_written).map(DeviceRow::without_clock).collect();
        if devices.is_empty() && watermarks.is_empty() {
            return;
        }
        self.last_ticket += 1;
        let question = JournalQuestion::Note { session_id: session_id.to_owned(), devices, watermarks, members: Vec::new() };
        self.actions.push(Action::Journal { ticket: self.last_ticket, question });
    }

    /// The same of its wallets.
    pub fn note_members(&mut self, session_id: &str, members: Vec<MemberRow>) {
        self.last_ticket += 1;
        let question = JournalQuestion::Note { session_id: session_id.to_owned(), devices: Vec::new(), watermarks: Vec::new(), members };
        self.actions.push(Action::Journal { ticket: self.last_ticket, question });
    }

    pub fn log(&mut self, text: String) {
        self.actions.push(Action::Log { text });
    }

    pub fn journal_failed(&mut self, session_id: &str, answer: &JournalAnswer) -> SyncError {
        let reason = match answer {
            JournalAnswer::Failed { reason } => reason.as_str(),
            _ => "the journal answered another question",
        };
        self.log(format!("journal failed for session {session_id:?}: {reason}"));
        SyncError::new(ErrorCode::RelayStorageFailed, "the relay could not store or read; nothing was acknowledged")
    }
}

/// `None` for the frames that only clients of the JSON form are sent.
pub(super) fn print(encoding: Encoding, frame: &Frame) -> Option<Payload> {
    match encoding {
        Encoding::Json => Some(Payload::Text(frame.to_json().into())),
        Encoding::Binary => frame.to_bytes().map(|bytes| Payload::Binary(bytes.into())),
    }
}

/// An error that names the frame it is about.
pub(super) fn refusal(error: &SyncError, head: &Head) -> ErrorBody {
    ErrorBody {
        session_id: Some(head.session_id.clone()).filter(|id| !id.is_empty()),
        in_reply_to: Some(head.message_id.clone()).filter(|id| !id.is_empty()),
        ..ErrorBody::new(error)
    }
}
