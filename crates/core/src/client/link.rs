//! The connection: when to make it, how to tell that it is dead, what is said first on it.

use super::api::{Action, ConnectionState, Event, Generation, MessageStatus};
use super::session::Flow;
use super::view::Stored;
use super::{Client, ClientConfig, Session};
use crate::backoff::delay_ms;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, DeviceAnnounce, DeviceInfo, ReadReceipt, Receipt, ReceiptStatus, SyncHeartbeat, SyncState};
use crate::ids::SessionId;
use crate::limits::{ANSWER_TIMEOUT_MS, CONNECT_TIMEOUT_MS};
use crate::message::Stamp;
use crate::time::Now;

#[derive(Default)]
pub(super) struct Link {
    phase: Phase,
    generation: Generation,
    /// Attempts in a row without a sensible word from the relay.
    failures: u32,
    offline_by_wish: bool,
    /// The session that the last heartbeat was about: they take turns.
    heartbeat_session: SessionId,
    told: Option<ConnectionState>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    Waiting {
        until_ms: u64,
    },
    Connecting {
        deadline_ms: u64,
    },
    Open {
        heard_ms: u64,
        /// A heartbeat was sent and nothing was heard since.
        asked_ms: Option<u64>,
    },
}

impl Link {
    pub fn generation(&self) -> Generation {
        self.generation
    }

    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub fn is_current(&self, generation: Generation) -> bool {
        generation == self.generation && self.is_open()
    }

    /// Whether the application asked to work offline.
    pub fn is_offline_by_wish(&self) -> bool {
        self.offline_by_wish
    }

    /// Something arrived: the path is alive. Says whether it came over the present socket (B21).
    pub fn hear(&mut self, now: Now, generation: Generation) -> bool {
        if !self.is_current(generation) {
            return false;
        }
        self.phase = Phase::Open { heard_ms: now.monotonic_ms, asked_ms: None };
        true
    }

    /// The relay made sense: the next loss starts with a short wait again.
    pub fn prove(&mut self) {
        self.failures = 0;
    }

    pub fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::Idle => ConnectionState::Offline,
            Phase::Waiting { .. } => ConnectionState::Waiting,
            Phase::Connecting { .. } => ConnectionState::Connecting,
            Phase::Open { .. } => ConnectionState::Connected,
        }
    }

    pub fn timeout_ms(&self, config: &ClientConfig) -> Option<u64> {
        match self.phase {
            Phase::Idle => None,
            Phase::Waiting { until_ms } => Some(until_ms),
            Phase::Connecting { deadline_ms } => Some(deadline_ms),
            Phase::Open { asked_ms: Some(asked_ms), .. } => Some(asked_ms + ANSWER_TIMEOUT_MS),
            Phase::Open { heard_ms, asked_ms: None } => Some(heard_ms + config.heartbeat_interval_ms),
        }
    }

    /// An attempt that waits is made now: somebody asked, or the network is back.
    pub fn hurry(&mut self, now: Now) {
        if let Phase::Waiting { until_ms } = &mut self.phase {
            *until_ms = now.monotonic_ms;
        }
    }
}

impl Client {
    /// Connects where that is wanted, and disconnects where it is not.
    pub(super) fn steer(&mut self, now: Now, actions: &mut Vec<Action>) {
        let wanted = !self.link.offline_by_wish && self.fenced.is_none() && self.sessions.values().any(|session| self.is_linked(session));
        if wanted && matches!(self.link.phase, Phase::Idle) {
            self.connect(now, actions);
        } else if !wanted && !matches!(self.link.phase, Phase::Idle) {
            self.drop_link(now, "no connection is wanted", actions);
            self.link.phase = Phase::Idle;
        }
        let state = self.link.state();
        if self.link.told.replace(state).unwrap_or(ConnectionState::Offline) != state {
            actions.push(Action::Notify(Event::ConnectionChanged { state }));
        }
    }

    fn connect(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.link.generation += 1;
        self.link.phase = Phase::Connecting { deadline_ms: now.monotonic_ms + CONNECT_TIMEOUT_MS };
        actions.push(Action::Connect { generation: self.link.generation });
    }

    pub(super) fn connected(&mut self, now: Now, generation: Generation, actions: &mut Vec<Action>) {
        if generation != self.link.generation || !matches!(self.link.phase, Phase::Connecting { .. }) {
            return;
        }
        self.link.phase = Phase::Open { heard_ms: now.monotonic_ms, asked_ms: None };
        self.sessions_due_ms = 0;
        let linked: Vec<SessionId> =
            self.sessions.iter().filter(|(_, session)| self.is_linked(session)).map(|(id, _)| id.clone()).collect();
        for session_id in linked {
            self.pump(now, &session_id, actions);
        }
    }

    /// Says that this device is in the session, and what it has.
    pub(super) fn join(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        session.flow.joined = true;
        session.flow.floor.get_or_insert(session.record.cursor);
        let announce = DeviceAnnounce {
            device_info: DeviceInfo { platform: "web".into(), version: env!("CARGO_PKG_VERSION").into() },
            sync_state: SyncState { last_synced_sequence: session.record.cursor, ..SyncState::default() },
            wallet: Some(session.record.wallet.clone()),
            compression: self.config.enable_compression.then(|| "deflate".into()),
        };
        let read_mark = session.record.read_mark.clone();
        self.transmit(now, session_id, Body::DeviceAnnounce(announce), actions);
        if read_mark.sequence_number > 0 {
            self.transmit(now, session_id, read_receipt(now, read_mark.message_id, read_mark.sequence_number), actions);
        }
    }

    pub(super) fn disconnected(&mut self, now: Now, generation: Generation, reason: &str, actions: &mut Vec<Action>) {
        if generation == self.link.generation && matches!(self.link.phase, Phase::Connecting { .. } | Phase::Open { .. }) {
            self.lost(now, reason, actions);
        }
    }

    /// Gives up the present socket and makes a new one after a wait.
    pub(super) fn drop_link(&mut self, now: Now, reason: &str, actions: &mut Vec<Action>) {
        if matches!(self.link.phase, Phase::Connecting { .. } | Phase::Open { .. }) {
            actions.push(Action::Disconnect { generation: self.link.generation });
            self.lost(now, reason, actions);
        }
    }

    fn lost(&mut self, now: Now, reason: &str, actions: &mut Vec<Action>) {
        let code = if self.link.is_open() { ErrorCode::RelayDisconnected } else { ErrorCode::ConnectionFailed };
        let failures = self.link.failures.max(self.storage_failures);
        let wait_ms = delay_ms(self.config.retry_delay_ms, failures, &mut self.random);
        self.link.phase = Phase::Waiting { until_ms: now.monotonic_ms + wait_ms };
        self.link.failures = self.link.failures.saturating_add(1);
        for session in self.sessions.values_mut() {
            let flow = std::mem::take(&mut session.flow);
            if let Some(last) = flow.updates.back() {
                for (_, record) in session.outbox.between(&session.acknowledged_counter, &last.last_counter) {
                    actions.push(Action::Notify(Event::StatusChanged {
                        session_id: record.message.session_id.clone(),
                        message_id: record.message.id.clone(),
                        status: MessageStatus::Queued,
                        error: None,
                    }));
                }
            }
        }
        self.fail_attempts(now, &SyncError::new(code, reason), actions);
    }

    pub(super) fn set_offline(&mut self, now: Now, offline: bool, actions: &mut Vec<Action>) {
        self.link.offline_by_wish = offline;
        if offline {
            self.drop_link(now, "offline by wish", actions);
            let error = SyncError::new(ErrorCode::RelayDisconnected, "the application works offline (setOffline)");
            self.fail_operations(now, &error, actions);
        }
    }

    /// The page is seen again or the network is said to be back: an open path must prove itself (B17, B20), a waiting
    /// attempt is made.
    pub(super) fn awake(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.link.hurry(now);
        if let Phase::Open { asked_ms: None, .. } = self.link.phase {
            self.ask(now, actions);
        }
    }

    /// Sends a heartbeat. Sessions take turns, because the answer also tells whether one missed something.
    fn ask(&mut self, now: Now, actions: &mut Vec<Action>) {
        if let Phase::Open { asked_ms, .. } = &mut self.link.phase {
            *asked_ms = Some(now.monotonic_ms);
        }
        let linked = |session_id: &&SessionId| self.sessions.get(*session_id).is_some_and(|session| self.is_linked(session));
        let before = self.sessions.count_through(&self.link.heartbeat_session);
        let next = self.sessions.keys().skip(before).find(linked).or_else(|| self.sessions.keys().find(linked));
        let Some(session_id) = next.cloned() else { return };
        let Some(session) = self.sessions.get(&session_id) else { return };
        let sequence_number = Stored { session, group: self.group.as_ref() }.cursor();
        let heartbeat = SyncHeartbeat { sequence_number, ..SyncHeartbeat::default() };
        self.transmit(now, &session_id, Body::SyncHeartbeat(heartbeat), actions);
        self.link.heartbeat_session = session_id;
    }

    /// Does what is due by the clock. Judged by elapsed time: timers of hidden tabs come late or not at all (B17).
    pub(super) fn check_time(&mut self, now: Now, actions: &mut Vec<Action>) {
        let due = self.link.timeout_ms(&self.config).is_some_and(|at_ms| now.monotonic_ms >= at_ms);
        match self.link.phase {
            Phase::Waiting { .. } if due => self.connect(now, actions),
            Phase::Connecting { .. } if due => self.drop_link(now, "the relay did not open the connection in time", actions),
            Phase::Open { asked_ms: Some(_), .. } if due => self.drop_link(now, "the relay did not answer a heartbeat in time", actions),
            Phase::Open { asked_ms: None, .. } if due => self.ask(now, actions),
            _ => {}
        }
        if !self.link.is_open() || now.monotonic_ms < self.sessions_due_ms {
            return;
        }
        let due = |session: &&Session| self.session_timeout_ms(session).is_some_and(|at_ms| now.monotonic_ms >= at_ms);
        let linked = self.sessions.values().filter(|session| self.is_linked(session));
        let due: Vec<SessionId> = linked.filter(due).map(|session| session.record.session_id.clone()).collect();
        for session_id in due {
            self.check_session_time(now, &session_id, actions);
        }
        let linked = self.sessions.values().filter(|session| self.is_linked(session));
        self.sessions_due_ms = linked.filter_map(|session| self.session_timeout_ms(session)).min().unwrap_or(u64::MAX);
    }

    /// When a session is next due; `None` while it waits for nothing. Whatever makes that earlier lowers
    /// `sessions_due_ms`.
    fn session_timeout_ms(&self, session: &Session) -> Option<u64> {
        let flow: &Flow = &session.flow;
        let update = flow.updates.front().map(|update| update.deadline_ms);
        let request = flow.request.as_ref().map(|request| request.deadline_ms);
        let auto_sync = session.auto_sync.as_ref().map(|auto_sync| auto_sync.next_ms);
        [update, request, flow.retry_at_ms, auto_sync, session.sweep_at_ms].into_iter().flatten().min()
    }

    fn check_session_time(&mut self, now: Now, session_id: &str, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let past = |at_ms: u64| now.monotonic_ms >= at_ms;
        let flow = &mut session.flow;
        // Where our own disk holds up what has arrived, the relay is not to blame.
        let behind = self.waiting.iter().any(|input| matches!(input, super::Input::Received { .. }));
        let unanswered = flow.updates.front().is_some_and(|update| past(update.deadline_ms))
            || flow.request.as_ref().is_some_and(|request| past(request.deadline_ms));
        if unanswered && behind {
            let deadline_ms = now.monotonic_ms + ANSWER_TIMEOUT_MS;
            flow.updates.iter_mut().for_each(|update| update.deadline_ms = deadline_ms);
            flow.request.iter_mut().for_each(|request| request.deadline_ms = deadline_ms);
        } else if unanswered {
            self.drop_link(now, "the relay did not answer in time", actions);
            return;
        }
        flow.retry_at_ms = flow.retry_at_ms.filter(|at_ms| !past(*at_ms));
        if let Some(auto_sync) = session.auto_sync.as_mut().filter(|auto_sync| past(auto_sync.next_ms)) {
            auto_sync.next_ms = now.monotonic_ms + auto_sync.interval_ms;
            self.begin(now, session_id, actions);
        }
        if self.sessions.get(session_id).is_some_and(|session| session.sweep_at_ms.is_some_and(past)) {
            self.sweep(now, session_id, actions);
        }
        self.pump(now, session_id, actions);
    }
}

pub(super) fn read_receipt(now: Now, message_id: String, sequence: u64) -> Body {
    Body::ReadReceipt(ReadReceipt {
        receipts: vec![Receipt {
            message_id,
            status: ReceiptStatus::Read,
            timestamp: Stamp::Iso(now.wall_ms),
            reader_wallet: None,
            device_id: None,
            sequence_number: Some(sequence),
        }],
        ..ReadReceipt::default()
    })
}
