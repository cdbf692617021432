//! One device of a wallet: a state machine that takes inputs and returns the work it asks of its shell.
//!
//! How a message leaves: [`Input::Send`] is staged (calls), written (commit), then transmitted (link), acknowledged by
//! the relay (receive), and moves from the outbox to the log in one transaction. How one arrives: a batch is checked
//! against the log (receive), written with the cursor, then acknowledged and told to the application.

mod api;
mod calls;
mod commit;
mod config;
mod link;
mod operation;
mod receive;
mod records;
mod replace;
mod session;
mod sorted;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;

pub use api::*;
pub use config::ClientConfig;
pub use records::{DeviceRecord, LogRecord, OutboxRecord, ReadMark, SessionRecord, VersionsRecord, Watermarks};

use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, DeviceState, Frame, Head, PROTOCOL_VERSION};
use crate::ids::{SessionId, WalletAddress, new_device_id, parse_message_id};
use crate::message::{Entry, Stamp};
use crate::time::Now;
use commit::Group;
use link::Link;
use operation::{Call, Operation};
use session::Session;
use sorted::Sorted;
use view::Stored;

/// The client machine. Feed it every input in order; run the actions it returns in order.
pub struct Client {
    config: ClientConfig,
    random: fastrand::Rng,
    device: DeviceRecord,
    device_stored: bool,
    wallet: Option<WalletAddress>,
    sessions: Sorted<SessionId, Session>,
    link: Link,
    /// The commit that is under way.
    group: Option<Group>,
    last_commit: CommitId,
    /// Inputs that may write, held back until it is done.
    waiting: VecDeque<Input>,
    /// Commits in a row that the store refused.
    storage_failures: u32,
    /// Another tab owns the store: nothing can be written any more.
    fenced: Option<SyncError>,
    /// Calls that wait for the syncs of several sessions.
    calls: Sorted<RequestId, Call>,
    last_frame: u64,
    told_queue: u64,
    /// While connected: no linked session is due before this. Walking through all of them at every input would cost
    /// sessions times frames.
    sessions_due_ms: u64,
}

impl Client {
    /// A machine over what the store holds. `seed` feeds device ids and jitter; take it from a good source.
    pub fn new(config: ClientConfig, snapshot: Snapshot, seed: u64) -> Client {
        let mut random = fastrand::Rng::with_seed(seed);
        let device_stored = snapshot.device.is_some();
        let device = snapshot.device.unwrap_or_else(|| DeviceRecord { device_id: new_device_id(&mut random) });
        let mut sessions: Sorted<SessionId, Session> = Sorted::default();
        for mut record in snapshot.sessions {
            if record.device_id.is_empty() {
                // Stored by a version whose devices had one name everywhere.
                record.device_id.clone_from(&device.device_id);
            }
            sessions.insert(record.session_id.clone(), Session::new(record));
        }
        for record in snapshot.outbox {
            if let Some(session) = sessions.get_mut(&record.session_id) {
                session.load_outbox(record);
            }
        }
        for record in snapshot.versions {
            if let Some(session) = sessions.get_mut(&record.session_id) {
                session.versions.insert(record.message_id, record.versions);
            }
        }
        sessions.values_mut().for_each(|session| session.told_queue = session.queued_count());
        let told_queue = sessions.values().map(|session| session.told_queue).sum();
        Client {
            config,
            random,
            device,
            device_stored,
            wallet: None,
            sessions,
            link: Link::default(),
            group: None,
            last_commit: 0,
            waiting: VecDeque::new(),
            storage_failures: 0,
            fenced: None,
            calls: Sorted::default(),
            last_frame: 0,
            told_queue,
            sessions_due_ms: 0,
        }
    }

    /// Takes one input and returns what to do, in order.
    #[must_use]
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Persisted { commit } => self.persisted(now, commit, &mut actions),
            Input::PersistFailed { commit, error } => self.persist_failed(now, commit, error, &mut actions),
            Input::SetOffline { offline } => self.set_offline(now, offline, &mut actions),
            Input::Awake => self.awake(now, &mut actions),
            Input::Connected { generation } => self.connected(now, generation, &mut actions),
            Input::Disconnected { generation, reason } => self.disconnected(now, generation, &reason, &mut actions),
            Input::Received { generation, frame } => {
                if self.link.hear(now, generation) {
                    self.take_turn(now, Input::Received { generation, frame }, &mut actions);
                }
            }
            Input::Timeout => {}
            call => self.take_turn(now, call, &mut actions),
        }
        self.check_time(now, &mut actions);
        self.steer(now, &mut actions);
        actions
    }

    /// When [`Input::Timeout`] is due, on the monotonic clock; `None` while nothing waits for time. May name a moment at
    /// which there turns out to be nothing to do: what was waited for has come.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let sessions = Some(self.sessions_due_ms).filter(|at_ms| self.link.is_open() && *at_ms < u64::MAX);
        sessions.into_iter().chain(self.link.timeout_ms(&self.config)).min()
    }

    /// Who this database is. In a session where another writes under the same name it is called otherwise
    /// (`DeviceReplaced`).
    pub fn device_id(&self) -> &str {
        &self.device.device_id
    }

    /// The connected wallet.
    pub fn wallet(&self) -> Option<&str> {
        self.wallet.as_deref()
    }

    /// The open sessions of the connected wallet.
    pub fn sessions(&self) -> Vec<SessionView> {
        let open = self.stored().filter(|stored| stored.is_open() && self.owns(stored.session));
        open.map(Stored::view).collect()
    }

    /// Every session that is stored, whoever's.
    pub fn stored_sessions(&self) -> Vec<SessionView> {
        self.stored().map(Stored::view).collect()
    }

    /// All sessions, as they are on disk.
    fn stored(&self) -> impl Iterator<Item = Stored<'_>> {
        let all = self.sessions.values().map(|session| Stored { session, group: self.group.as_ref() });
        all.filter(|stored| stored.exists())
    }

    /// The connection to the relay.
    pub fn connection(&self) -> ConnectionState {
        self.link.state()
    }

    /// What `getSyncStatus` tells.
    pub fn sync_status(&self) -> SyncStatusView {
        let last_sync_ms = self.sessions.values().map(|session| session.record.last_sync_ms).max().filter(|ms| *ms > 0);
        SyncStatusView {
            sync_in_progress: self.sessions.values().any(|session| session.operation.is_some()),
            last_sync_ms,
            queued_message_count: self.told_queue,
        }
    }

    /// Of one session, since the machine started.
    pub fn stats(&self, session_id: &str) -> Option<SyncStats> {
        self.sessions.get(session_id).map(Session::stats)
    }

    /// The devices of a session, as the relay last told.
    pub fn devices(&self, session_id: &str) -> Vec<DeviceState> {
        self.sessions.get(session_id).map(|session| session.devices.clone()).unwrap_or_default()
    }

    /// The list to show for `entries` of the session's log, oldest first; then the outbox, where asked.
    pub fn show(&self, session_id: &str, entries: Vec<Entry>, with_outbox: bool) -> Vec<MessageView> {
        let Some(session) = self.sessions.get(session_id) else {
            return Vec::new();
        };
        let stored = Stored { session, group: self.group.as_ref() };
        stored.show(entries, with_outbox, self.config.conflict_resolution_strategy)
    }

    /// The messages that wait in the outboxes, oldest first in each session.
    pub fn queued(&self) -> Vec<MessageView> {
        self.sessions.keys().flat_map(|session_id| self.show(session_id, Vec::new(), true)).collect()
    }

    /// How far a message of the outbox is; `None` where it is not there.
    pub fn queued_status(&self, message_id: &str) -> Option<MessageStatus> {
        let (session_id, ..) = parse_message_id(message_id)?;
        let session = self.sessions.get(session_id)?;
        Stored { session, group: self.group.as_ref() }.queued_status(message_id)
    }

    fn owns(&self, session: &Session) -> bool {
        self.wallet.as_ref() == Some(&session.record.wallet)
    }

    /// Whether a session takes part in what the connection does: also one that has ended, while it sends or a call waits
    /// for its sync.
    fn is_linked(&self, session: &Session) -> bool {
        let is_awaited = session.operation.as_ref().is_some_and(Operation::is_awaited);
        self.owns(session) && session.halted.is_none() && (session.record.open || !session.outbox.is_empty() || is_awaited)
    }

    /// The session of a call, which must be one of the connected wallet.
    fn session_for_call(&mut self, session_id: &str) -> Result<&mut Session, SyncError> {
        if let Some(error) = &self.fenced {
            return Err(error.clone());
        }
        let Some(wallet) = &self.wallet else {
            return Err(SyncError::new(ErrorCode::WalletNotConnected, "connectWallet has not been called"));
        };
        match self.sessions.get_mut(session_id) {
            Some(session) if session.record.wallet == *wallet => Ok(session),
            _ => {
                let shown: String = session_id.chars().take(80).collect();
                Err(SyncError::new(ErrorCode::UnknownSession, format!("session {shown} was not started on this device")))
            }
        }
    }

    fn head(&mut self, now: Now, session_id: &str) -> Head {
        self.last_frame += 1;
        Head {
            session_id: session_id.to_owned(),
            device_id: self.sessions.get(session_id).map(|session| session.record.device_id.clone()).unwrap_or_default(),
            timestamp: Stamp::Millis(now.wall_ms),
            message_id: format!("{}-{}", self.link.generation(), self.last_frame),
            protocol_version: Some(PROTOCOL_VERSION),
        }
    }

    /// A frame's id and its bytes.
    fn frame(&mut self, now: Now, session_id: &str, body: Body) -> (String, Arc<[u8]>) {
        let frame = Frame { head: self.head(now, session_id), body };
        // Only frames that clients never send have no binary form.
        let bytes = frame.to_bytes().unwrap_or_default();
        (frame.head.message_id, bytes.into())
    }

    fn transmit(&mut self, now: Now, session_id: &str, body: Body, actions: &mut Vec<Action>) -> String {
        let (frame_id, frame) = self.frame(now, session_id, body);
        actions.push(Action::Transmit { generation: self.link.generation(), frame });
        frame_id
    }

    /// Tells the application how many messages wait, where that changed, which it can only have in these sessions.
    fn tell_queue(&mut self, changed: &Sorted<SessionId, ()>, actions: &mut Vec<Action>) {
        let mut queued_message_count = self.told_queue;
        for id in changed.keys() {
            if let Some(session) = self.sessions.get_mut(id) {
                let queued = session.queued_count();
                queued_message_count = queued_message_count + queued - session.told_queue;
                session.told_queue = queued;
            }
        }
        if queued_message_count != self.told_queue {
            self.told_queue = queued_message_count;
            actions.push(Action::Notify(Event::QueueChanged { queued_message_count }));
        }
    }
}
