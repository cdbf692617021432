//! The relay: a state machine that gives every session its one order and passes it on.
//!
//! How a message passes: a frame is read, the one gate says whether its sender may say it (here and in `gate`), the dialect
//! makes of it what a session understands, and the session does the rest: updates are numbered (`sequencer`), stored and
//! acknowledged (`append`), and everybody else is served from the log (`fanout`). What a device has been sent is a position
//! in the log, so a slow one costs no memory.

mod account_logs;
mod accounts;
mod api;
mod append;
mod batch_cache;
mod budget;
mod caps;
mod clocks;
mod context;
mod dialect;
mod door;
mod fanout;
mod gate;
mod groups;
mod invitations;
mod javascript;
mod names;
mod presence;
mod receipts;
mod sealed;
mod sequencer;
mod session;
mod update;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use api::*;

use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Encoding, ErrorBody, Frame, Head, PROTOCOL_VERSION, Payload};
use crate::ids::{SessionId, is_account_id};
use crate::limits::UNSIGNED_FRAME_BYTES_MAX;
use crate::time::Now;
use crate::wire::Malformed;
use accounts::Accounts;
use context::{Context, Leaning, Purpose, Socket, refusal};
use dialect::Translated;
use gate::{Signed, Verdict};
use sealed::Sealed;
use session::{Ask, Session};

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

/// A session that somebody spoke of.
enum Room {
    /// The journal reads it, and frames wait.
    Loading(VecDeque<Waiting>),
    Open(Box<Session>),
}

/// The relay machine. Feed it every input in order; run the actions it returns in order.
#[derive(Default)]
pub struct Relay {
    rooms: BTreeMap<SessionId, Room>,
    /// When sessions have something to do by themselves.
    timeouts: BTreeSet<(u64, SessionId)>,
    accounts: Accounts,
    ctx: Context,
}

impl Relay {
    /// A machine that knows no session; the journal does.
    pub fn new() -> Relay {
        Relay::default()
    }

    /// The same where devices can sign in.
    pub fn with_sign_in(keeper: Doorkeeper) -> Relay {
        let mut relay = Relay::default();
        relay.ctx.keeper = Some(Arc::new(keeper));
        relay
    }

    /// Takes one input and returns what to do, in order.
    #[must_use]
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Action> {
        self.ctx.now = now;
        match input {
            Input::Opened { connection, encoding, source } => {
                self.ctx.totals.connections += 1;
                self.ctx.sockets.insert(connection, Socket::new(now, encoding, source));
                // Seed clients do not know it, and cannot be where it is required.
                if let Some(keeper) = self.ctx.keeper.clone().filter(|keeper| keeper.is_required || encoding == Encoding::Binary) {
                    self.ctx.say_hello(&keeper, connection, None);
                }
            }
            Input::Received { connection, payload } => self.received(connection, &payload),
            Input::Sent { connection, bytes } => self.sent(connection, bytes),
            Input::Closed { connection } => self.closed(connection),
            Input::Journal { ticket, answer } => self.answered(ticket, answer),
            Input::Timeout => {}
        }
        for connection in self.ctx.stalled() {
            // What it lacks is in the log.
            self.ctx.cut(connection, 1013, "too slow: connect again to catch up".into());
        }
        for connection in self.ctx.late() {
            self.ctx.cut(connection, 1008, "it did not sign in in time".into());
        }
        while let Some((connection, code, reason)) = self.ctx.cut.pop() {
            // It may be cut for two reasons.
            if self.ctx.sockets.contains_key(&connection) {
                self.ctx.totals.cut += 1;
                self.ctx.actions.push(Action::Disconnect { connection, code, reason });
                self.closed(connection);
            }
        }
        self.lean_on_accounts();
        while let Some((due_ms, session_id)) = self.timeouts.first().filter(|(due_ms, _)| *due_ms <= now.monotonic_ms).cloned() {
            self.in_session(&session_id, Session::on_timeout);
            self.timeouts.remove(&(due_ms, session_id));
        }
        std::mem::take(&mut self.ctx.actions)
    }

    /// Encrypted sessions need accounts, or have those that they needed.
    fn lean_on_accounts(&mut self) {
        while let Some((session_id, leaning)) = self.ctx.leanings.pop_front() {
            // It may have ended meanwhile.
            let is_open = matches!(self.rooms.get(&session_id), Some(Room::Open(_)));
            match leaning {
                Leaning::On(owner, writer) if is_open => self.accounts.watch(&mut self.ctx, *owner, session_id, writer),
                Leaning::Changed(error) if is_open => self.in_session(&session_id, |session, ctx| session.on_accounts(ctx, error.as_ref())),
                Leaning::On(..) | Leaning::Changed(_) => {}
                Leaning::Off(account_id) => self.accounts.unwatch(&mut self.ctx, &account_id, &session_id),
            }
        }
    }

    /// When [`Input::Timeout`] is due, on the monotonic clock; `None` while nothing waits for time.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        self.ctx.next_timeout_ms().into_iter().chain(self.timeouts.first().map(|(due_ms, _)| *due_ms)).min()
    }

    /// Whether the shell shall read more of this connection. To be asked after each of its frames and, where its socket had
    /// to take more first, after that. The few frames that the shell has read already are handled all the same.
    pub fn reading(&self, connection: ConnectionId) -> Reading {
        self.ctx.sockets.get(&connection).map_or(Reading::Now, Socket::reading)
    }

    /// How it stands.
    pub fn counts(&self) -> Counts {
        let sockets = self.ctx.sockets.values();
        Counts {
            connections: self.ctx.sockets.len(),
            signed_in: sockets.clone().filter(|socket| socket.door.guest.is_some()).count(),
            sessions: self.rooms.len(),
            attachments: sockets.map(|socket| socket.attached.len()).sum(),
            totals: self.ctx.totals.clone(),
            capped: self.ctx.caps.refused().clone(),
        }
    }

    fn received(&mut self, connection: ConnectionId, payload: &Payload) {
        // The shell may pass on what a connection said before it learned that it was cut.
        let Some(socket) = self.ctx.sockets.get_mut(&connection) else { return };
        self.ctx.totals.frames_received += 1;
        socket.budget.charge_frame(self.ctx.now, payload.len());
        if payload.len() > UNSIGNED_FRAME_BYTES_MAX && socket.door.signed(self.ctx.keeper.as_deref()) == Signed::Required {
            let message = format!("a frame before sign-in has at most {UNSIGNED_FRAME_BYTES_MAX} bytes");
            self.ctx.refuse(connection, ErrorBody::new(&SyncError::new(ErrorCode::FrameTooLarge, message.clone())));
            return self.ctx.cut(connection, 1009, message);
        }
        let frame = match parse(socket.encoding, payload) {
            Ok(frame) => frame,
            Err(error) => return self.ctx.refuse(connection, ErrorBody::new(&error)),
        };
        let verdict = gate::judge_speaker(&frame, socket.door.signed(self.ctx.keeper.as_deref()));
        if verdict != Verdict::Allowed {
            return refuse_by(&mut self.ctx, connection, verdict, &frame.head);
        }
        match &frame.body {
            Body::SignIn(_) => return self.sign_in(connection, frame),
            Body::WalletAnnounce(_) => return self.announce_wallet(connection, frame),
            Body::SyncRequest(request) if is_account_id(&frame.head.session_id) => {
                return account_logs::ask(&mut self.ctx, connection, &frame.head, request);
            }
            _ if is_account_id(&frame.head.session_id) => return self.accounts.receive(&mut self.ctx, connection, frame),
            _ => {}
        }
        let session_id = frame.head.session_id.clone();
        if session_id.is_empty() {
            return match frame.body {
                Body::SyncHeartbeat(heartbeat) => self.ctx.transmit(connection, "", Body::SyncHeartbeat(heartbeat)),
                _ => {
                    let error = SyncError::new(ErrorCode::InvalidMessageFormat, "the frame names no session");
                    self.ctx.refuse(connection, ErrorBody::new(&error));
                }
            };
        }
        let room = self.rooms.get_mut(&session_id);
        if let Some(Room::Open(session)) = room {
            admit(&mut self.ctx, session, connection, frame);
            return self.tidy(&session_id);
        }
        if room.is_none() && gate::judge(&frame, None) != Verdict::Allowed {
            // This needs no session: its sender is not in it.
            return refuse_by(&mut self.ctx, connection, gate::judge(&frame, None), &frame.head);
        }
        let waiting = if let Some(Room::Loading(waiting)) = &room { waiting.len() } else { 0 };
        let bytes = payload.len() + LOADING_FRAME_BYTES;
        if waiting >= LOADING_FRAMES_MAX || socket.loading_bytes + bytes > LOADING_BYTES_MAX {
            let error = SyncError::new(ErrorCode::RelayBusy, "too much waits for sessions to be read; send it again");
            return self.ctx.refuse(connection, refusal(&error, &frame.head));
        }
        socket.loading_bytes += bytes;
        let arrived = Waiting { connection, frame, bytes };
        if let Some(Room::Loading(waiting)) = room {
            return waiting.push_back(arrived);
        }
        socket.budget.charge(budget::LOAD_US);
        self.ctx.ask(&session_id, Purpose::Load, JournalQuestion::Load { session_id: session_id.clone() });
        self.rooms.insert(session_id, Room::Loading(VecDeque::from([arrived])));
    }

    /// A connection says who it is.
    fn sign_in(&mut self, connection: ConnectionId, frame: Frame) {
        let verdict = gate::judge(&frame, None);
        let keeper = self.ctx.keeper.clone();
        match (frame.body, keeper) {
            (Body::SignIn(said), Some(keeper)) if verdict == Verdict::Allowed => {
                self.accounts.sign_in(&mut self.ctx, &keeper, connection, frame.head, said);
            }
            (_, None) => {
                let error = SyncError::new(ErrorCode::InvalidMessageFormat, "nobody can sign in here");
                self.ctx.refuse(connection, refusal(&error, &frame.head));
            }
            _ => refuse_by(&mut self.ctx, connection, verdict, &frame.head),
        }
    }

    /// A frame of the connection itself, whatever session it names.
    fn announce_wallet(&mut self, connection: ConnectionId, frame: Frame) {
        let Frame { head, body } = &frame;
        let verdict = gate::judge(&frame, None);
        match body {
            Body::WalletAnnounce(said) if verdict == Verdict::Allowed => {
                if let Err(error) = self.ctx.ask_sessions(connection, head, said) {
                    self.ctx.refuse(connection, refusal(&error, head));
                }
            }
            _ => refuse_by(&mut self.ctx, connection, verdict, head),
        }
    }

    fn answered(&mut self, ticket: Ticket, answer: JournalAnswer) {
        let Some((session_id, purpose)) = self.ctx.asked(ticket) else {
            return self.ctx.log(format!("the journal answered question {ticket}, which has no answer to come"));
        };
        match purpose {
            Purpose::Load => self.loaded(session_id, answer),
            Purpose::Find | Purpose::Append => self.in_session(&session_id, |session, ctx| session.on_append_answer(ctx, answer)),
            Purpose::Read(key, through) => self.in_session(&session_id, |session, ctx| session.on_read(ctx, key, through, answer)),
            Purpose::Clocks(key, through, entries, at) => {
                self.in_session(&session_id, |session, ctx| session.on_clocks(ctx, key, through, entries, at, answer));
            }
            Purpose::AccountHead(read) => account_logs::on_head(&mut self.ctx, &session_id, read, answer),
            Purpose::AccountEntries(read, head) => account_logs::on_read(&mut self.ctx, &session_id, read, head, answer),
            Purpose::Account => self.accounts.on_answer(&mut self.ctx, &session_id, answer),
            Purpose::Sessions(connection, frame_id) => {
                let rooms = &self.rooms;
                let has_joined = |session_id: &str, wallet: &str| matches!(rooms.get(session_id), Some(Room::Open(session)) if session.members.has_joined(wallet));
                self.ctx.list_sessions(connection, frame_id, answer, has_joined);
            }
        }
    }

    fn loaded(&mut self, session_id: SessionId, answer: JournalAnswer) {
        let waiting = match self.rooms.remove(&session_id) {
            Some(Room::Loading(waiting)) => waiting,
            room => {
                self.rooms.extend(room.map(|room| (session_id.clone(), room)));
                return self.ctx.log(format!("session {session_id:?} was read, and nobody waits for it"));
            }
        };
        for Waiting { connection, bytes, .. } in &waiting {
            if let Some(socket) = self.ctx.sockets.get_mut(connection) {
                socket.loading_bytes -= bytes;
            }
        }
        let session = match answer {
            JournalAnswer::Session(stored) => {
                Session::new(session_id.clone(), stored).map_err(|Malformed(reason)| JournalAnswer::Failed { reason: (*reason).into() })
            }
            other => Err(other),
        };
        match session {
            Ok(mut session) => {
                for Waiting { connection, frame, .. } in waiting {
                    admit(&mut self.ctx, &mut session, connection, frame);
                }
                self.rooms.insert(session_id.clone(), Room::Open(Box::new(session)));
                self.tidy(&session_id);
            }
            Err(answer) => {
                let error = self.ctx.journal_failed(&session_id, &answer);
                for Waiting { connection, frame, .. } in waiting {
                    self.ctx.refuse(connection, refusal(&error, &frame.head));
                }
            }
        }
    }

    /// Does something in a session that is open because it has members, or because something is under way in it.
    fn in_session(&mut self, session_id: &str, act: impl FnOnce(&mut Session, &mut Context)) {
        match self.rooms.get_mut(session_id) {
            Some(Room::Open(session)) => act(session, &mut self.ctx),
            _ => self.ctx.log(format!("session {session_id:?} is not open: a fault of the relay")),
        }
        self.tidy(session_id);
    }

    /// Forgets a session that is idle, because the journal has it; otherwise remembers when it has something to do.
    fn tidy(&mut self, session_id: &str) {
        let Some(Room::Open(session)) = self.rooms.get(session_id) else { return };
        if session.is_idle() {
            for account_id in session.sealed.iter().flat_map(Sealed::leans_on) {
                self.accounts.unwatch(&mut self.ctx, account_id, session_id);
            }
            self.rooms.remove(session_id);
        } else if let Some(due_ms) = session.next_timeout_ms() {
            self.timeouts.insert((due_ms, session_id.to_owned()));
        }
    }

    fn sent(&mut self, connection: ConnectionId, bytes: usize) {
        for session_id in self.ctx.taken(connection, bytes) {
            self.in_session(&session_id, |session, ctx| session.on_drain(ctx, connection));
        }
        self.ctx.tell_missed_sessions(connection);
        account_logs::go_on(&mut self.ctx, connection);
    }

    fn closed(&mut self, connection: ConnectionId) {
        // The shell also tells of a connection that was cut.
        let Some(socket) = self.ctx.remove(connection) else { return };
        if let Some(guest) = &socket.door.guest {
            self.accounts.leave(&mut self.ctx, connection, guest);
        }
        if socket.loading_bytes > 0 {
            for room in self.rooms.values_mut() {
                if let Room::Loading(waiting) = room {
                    waiting.retain(|arrived| arrived.connection != connection);
                }
            }
        }
        for session_id in socket.attached {
            self.in_session(&session_id, |session, ctx| session.on_leave(ctx, connection));
        }
    }
}

/// The one gate: who is this connection in this session, and may it say that?
fn admit(ctx: &mut Context, session: &mut Session, connection: ConnectionId, frame: Frame) {
    session.found(ctx, connection, &frame.body);
    let attachment = session.attachments.get(&connection);
    let verdict = match (gate::judge(&frame, attachment), session.judge(ctx.guest(connection), &frame.body)) {
        (Verdict::Ignored, _) => Verdict::Ignored,
        (verdict, Verdict::Allowed) => verdict,
        (_, refused) => refused,
    };
    if verdict != Verdict::Allowed {
        return refuse_by(ctx, connection, verdict, &frame.head);
    }
    let head = frame.head.clone();
    let result = dialect::translate(connection, frame, attachment, ctx.guest(connection).is_some()).and_then(|translated| {
        let Some(Translated { device_id, ask, joins }) = translated else { return Ok(()) };
        let v1 = gate::speaks_v1(&head);
        if !v1 || matches!(ask, Ask::Announce(_)) {
            gate::check_name(session, connection, &device_id, v1)?;
        }
        if joins {
            ctx.check_may_join(connection, &head.session_id)?;
        }
        session.on_ask(ctx, connection, &device_id, ask)
    });
    if session.attachments.contains_key(&connection) {
        ctx.joined(connection, &head.session_id);
    }
    if let Err(error) = result {
        ctx.refuse(connection, refusal(&error, &head));
    }
}

/// Answers a frame that the gate does not let through.
fn refuse_by(ctx: &mut Context, connection: ConnectionId, verdict: Verdict, head: &Head) {
    if let Some(error) = verdict.error() {
        ctx.refuse(connection, refusal(&error, head));
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
