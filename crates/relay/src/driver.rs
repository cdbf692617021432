//! The one task that owns the relay machine: inputs go in one after the other, and its actions are carried out.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use solconnect_sync_core::frame::{Encoding, Payload};
use solconnect_sync_core::relay::{Action, ConnectionId, Counts, Input, JournalQuestion, Reading, Relay, Source};
use solconnect_sync_core::time::Now;
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::info;

use crate::journal::{Answer, Journal};

/// Events that wait for the driver. Sockets that have more to say wait with reading, so that a flood ends in the
/// senders' own buffers (a frame has at most 64 KiB: 16 MiB here at most).
pub const EVENTS_MAX: usize = 256;

/// Events handled before the timer is looked at again.
const EVENTS_AT_ONCE_MAX: usize = 32;

/// How long a stopping relay waits for the journal to answer.
const ANSWERS_TIMEOUT_MS: u64 = 5_000;

/// How long a stopping relay waits for sockets to close.
const SOCKETS_TIMEOUT_MS: u64 = 3_000;

/// The close code of a relay that stops: come back later (RFC 6455, IANA registry).
pub const CLOSE_SERVICE_RESTART: u16 = 1012;

/// What sockets tell the driver.
#[derive(Debug)]
pub enum Event {
    /// A socket is open: this is how to reach it.
    Opened {
        /// Its name.
        connection: ConnectionId,
        /// How its frames are written.
        encoding: Encoding,
        /// Where it comes from, where that counts.
        source: Option<Source>,
        /// Its way out.
        outbox: Outbox,
    },
    /// A frame arrived on a socket that was opened.
    Received {
        /// The name of the socket.
        connection: ConnectionId,
        /// The frame.
        payload: Payload,
        /// What its socket needs to read on: it gets it back when the frame is handled and the machine will hear more of it.
        turn: OwnedSemaphorePermit,
    },
    /// Something else happened on a socket that was opened. The last is [`Input::Closed`].
    Input(Input),
    /// Somebody asks how the relay stands.
    Counts(oneshot::Sender<Counts>),
}

/// The way to one socket.
#[derive(Debug)]
pub struct Outbox {
    /// Frames to write. The channel has no bound of its own: the machine counts what it transmitted and what the
    /// socket took ([`Input::Sent`]), stops at its limit of queued bytes, and cuts who takes nothing.
    pub frames: mpsc::UnboundedSender<Payload>,
    /// Asks it to close, once what is in `frames` is written.
    pub close: oneshot::Sender<Goodbye>,
}

/// Why a socket is closed: code and words of the close frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// A close code of RFC 6455.
    pub code: u16,
    /// In words.
    pub reason: String,
}

/// What the task knows of a socket.
struct Socket {
    /// `None` once it was asked to close.
    outbox: Option<Outbox>,
    /// Kept while it must not read on: it has taken too little of what it was told.
    turn: Option<OwnedSemaphorePermit>,
}

/// The task's state.
pub struct Driver {
    relay: Relay,
    journal: Journal,
    started: Instant,
    /// Every open socket.
    sockets: HashMap<ConnectionId, Socket>,
    /// Questions that the journal has not answered yet.
    questions: usize,
}

impl Driver {
    /// A driver that has not started.
    pub fn new(relay: Relay, journal: Journal) -> Self {
        Driver { relay, journal, started: Instant::now(), sockets: HashMap::new(), questions: 0 }
    }

    /// Runs until `stop` resolves or is dropped. Then it takes nothing new, waits for the journal's answers so that
    /// what is stored is also acknowledged, closes every socket, and gives the journal back.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut answers: mpsc::UnboundedReceiver<Answer>,
        mut stop: oneshot::Receiver<()>,
    ) -> Journal {
        let mut some = Vec::with_capacity(EVENTS_AT_ONCE_MAX);
        loop {
            let next_timeout = self.relay.next_timeout_ms().map(|ms| self.started + Duration::from_millis(ms));
            let timeout = async {
                match next_timeout {
                    Some(moment) => sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            select! {
                _ = &mut stop => break,
                Some(answer) = answers.recv() => self.answered(answer),
                () = timeout => self.handle(Input::Timeout),
                1.. = events.recv_many(&mut some, EVENTS_AT_ONCE_MAX) => some.drain(..).for_each(|event| self.take(event)),
            }
        }
        self.finish(&mut events, &mut answers).await;
        self.journal
    }

    async fn finish(&mut self, events: &mut mpsc::Receiver<Event>, answers: &mut mpsc::UnboundedReceiver<Answer>) {
        let deadline = Instant::now() + Duration::from_millis(ANSWERS_TIMEOUT_MS);
        while self.questions > 0 {
            select! {
                Some(answer) = answers.recv() => self.answered(answer),
                Some(event) = events.recv() => self.take_while_stopping(event),
                () = sleep_until(deadline) => break,
            }
        }
        let connections: Vec<_> = self.sockets.keys().copied().collect();
        for connection in connections {
            self.disconnect(connection, CLOSE_SERVICE_RESTART, "the relay restarts".to_owned());
        }
        let deadline = Instant::now() + Duration::from_millis(SOCKETS_TIMEOUT_MS);
        while !self.sockets.is_empty() {
            match timeout_at(deadline, events.recv()).await {
                Ok(Some(event)) => self.take_while_stopping(event),
                Ok(None) | Err(_) => break,
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Counts(answer) => {
                // Who asked may have gone.
                let _ = answer.send(self.relay.counts());
            }
            Event::Opened { connection, encoding, source, outbox } => {
                self.sockets.insert(connection, Socket { outbox: Some(outbox), turn: None });
                self.handle(Input::Opened { connection, encoding, source });
            }
            Event::Received { connection, payload, turn } => {
                self.handle(Input::Received { connection, payload });
                self.give_back(connection, turn);
            }
            Event::Input(input) => {
                if let Input::Closed { connection } = &input {
                    self.sockets.remove(connection);
                }
                let sent = if let Input::Sent { connection, .. } = &input { Some(*connection) } else { None };
                self.handle(input);
                let turns = sent.and_then(|connection| self.sockets.get_mut(&connection)).and_then(|socket| socket.turn.take());
                if let (Some(connection), Some(turn)) = (sent, turns) {
                    self.give_back(connection, turn);
                }
            }
        }
    }

    /// What arrives now is not acknowledged, so its sender keeps it.
    fn take_while_stopping(&mut self, event: Event) {
        match event {
            Event::Opened { connection, outbox, .. } => {
                self.sockets.insert(connection, Socket { outbox: Some(outbox), turn: None });
                self.disconnect(connection, CLOSE_SERVICE_RESTART, "the relay restarts".to_owned());
            }
            Event::Input(Input::Closed { connection }) => {
                self.sockets.remove(&connection);
            }
            Event::Received { .. } | Event::Input(_) | Event::Counts(_) => {}
        }
    }

    /// Lets a socket read on, as soon as the machine will hear more of it.
    fn give_back(&mut self, connection: ConnectionId, turn: OwnedSemaphorePermit) {
        match self.relay.reading(connection) {
            Reading::Now => drop(turn),
            Reading::NotBefore(ms) => {
                let moment = self.started + Duration::from_millis(ms);
                tokio::spawn(async move {
                    sleep_until(moment).await;
                    drop(turn);
                });
            }
            Reading::NotBeforeSent => {
                // One that is gone reads nothing more.
                if let Some(socket) = self.sockets.get_mut(&connection) {
                    socket.turn = Some(turn);
                }
            }
        }
    }

    fn answered(&mut self, (ticket, answer): Answer) {
        self.questions -= 1;
        self.handle(Input::Journal { ticket, answer });
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        for action in self.relay.handle(now, input) {
            match action {
                Action::Transmit { connection, payload } => self.transmit(connection, payload),
                Action::Disconnect { connection, code, reason } => self.disconnect(connection, code, reason),
                Action::Journal { ticket, question } => {
                    self.questions += usize::from(!matches!(question, JournalQuestion::Note { .. }));
                    self.journal.ask(ticket, question);
                }
                Action::Log { text } => info!("{text}"),
            }
        }
    }

    fn transmit(&self, connection: ConnectionId, payload: Payload) {
        if let Some(outbox) = self.sockets.get(&connection).and_then(|socket| socket.outbox.as_ref()) {
            // A socket that is gone says so itself.
            let _ = outbox.frames.send(payload);
        }
    }

    fn disconnect(&mut self, connection: ConnectionId, code: u16, reason: String) {
        if let Some(outbox) = self.sockets.get_mut(&connection).and_then(|socket| socket.outbox.take()) {
            // A socket that is gone says so itself.
            let _ = outbox.close.send(Goodbye { code, reason });
        }
    }

    fn now(&self) -> Now {
        let monotonic_ms = millis(self.started.elapsed());
        // A wall clock before 1970 counts as 1970: it is for display only.
        let wall_ms = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        Now { monotonic_ms, wall_ms }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
