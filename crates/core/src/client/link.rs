//! The socket: when to make one, how to tell that it is dead, how long to wait for the next.

use super::ClientConfig;
use super::api::{Action, Event, Generation};
use super::views::ConnectionState;
use crate::backoff::delay_ms;
use crate::error::ErrorCode;
use crate::limits::{ANSWER_TIMEOUT_MS, CONNECT_TIMEOUT_MS, SILENCE_MS_MAX};
use crate::time::Now;

/// Why a path counts as dead on which what was asked is not answered.
pub(super) const UNANSWERED: &str = "the relay did not answer in time";

#[derive(Default)]
pub(super) struct Link {
    phase: Phase,
    generation: Generation,
    last_frame: u64,
    /// Attempts in a row without a sensible word from the relay.
    failures: u32,
    /// Connections that were given up because the relay made no sense, since one lasted.
    distrusts: u32,
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
    /// The socket is open, and the relay and the device find out who they are.
    Greeting {
        deadline_ms: u64,
    },
    Open {
        heard: Now,
        /// A heartbeat was sent and nothing was heard since.
        asked_ms: Option<u64>,
    },
}

/// What is due by the clock.
pub(super) enum Due {
    Connect,
    /// Something must be heard: a heartbeat is to be sent.
    Heartbeat,
    /// The socket is given up, and why.
    GiveUp(&'static str),
    /// The page slept: the socket is given up, and another one made at once, because nobody did anything wrong.
    Renew,
}

impl Link {
    pub fn generation(&self) -> Generation {
        self.generation
    }

    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Whether the relay and the device find out who they are.
    pub fn is_greeting(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. })
    }

    /// Whether there is neither a socket nor an attempt to come.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    fn has_socket(&self) -> bool {
        matches!(self.phase, Phase::Connecting { .. } | Phase::Greeting { .. } | Phase::Open { .. })
    }

    pub fn is_current(&self, generation: Generation) -> bool {
        generation == self.generation && (self.is_open() || self.is_greeting())
    }

    /// A name for the next frame, of which the relay may speak.
    pub fn next_frame_id(&mut self) -> String {
        self.last_frame += 1;
        format!("{}-{}", self.generation, self.last_frame)
    }

    /// Which frame of this connection was named so; `None` for a name that none was given.
    pub fn frame_number(&self, frame_id: &str) -> Option<u64> {
        let (generation, number) = frame_id.split_once('-')?;
        number.parse().ok().filter(|number| generation == self.generation.to_string() && *number <= self.last_frame)
    }

    /// The last frame of this connection that was given a name.
    pub fn last_frame(&self) -> u64 {
        self.last_frame
    }

    pub fn connect(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.generation += 1;
        self.phase = Phase::Connecting { deadline_ms: now.monotonic_ms + CONNECT_TIMEOUT_MS };
        actions.push(Action::Connect { generation: self.generation });
    }

    /// A socket is open; says whether it is the one that was asked for. The relay speaks first.
    pub fn opened(&mut self, now: Now, generation: Generation) -> bool {
        let expected = generation == self.generation && matches!(self.phase, Phase::Connecting { .. });
        if expected {
            self.phase = Phase::Greeting { deadline_ms: now.monotonic_ms + ANSWER_TIMEOUT_MS };
        }
        expected
    }

    /// Sessions may speak.
    pub fn enter(&mut self, now: Now) {
        self.phase = Phase::Open { heard: now, asked_ms: None };
    }

    /// Something arrived: the path is alive. Says whether it came over the present socket (B21).
    pub fn hear(&mut self, now: Now, generation: Generation) -> bool {
        if !self.is_current(generation) {
            return false;
        }
        if self.is_open() {
            self.enter(now);
        }
        true
    }

    /// The relay made sense: the next loss starts with a short wait again.
    pub fn prove(&mut self) {
        self.failures = 0;
    }

    /// The relay made no sense: what it said well before does not make the next wait a short one.
    pub fn distrust(&mut self) {
        self.distrusts = self.distrusts.saturating_add(1);
    }

    /// The connection has lasted until a heartbeat was answered.
    pub fn last(&mut self) {
        self.prove();
        self.distrusts = 0;
    }

    /// Whether this socket is the present one, open or not.
    pub fn owns_socket(&self, generation: Generation) -> bool {
        generation == self.generation && self.has_socket()
    }

    /// Closes the socket, where there is one; says whether there was.
    pub fn close(&self, actions: &mut Vec<Action>) -> bool {
        if self.has_socket() {
            actions.push(Action::Disconnect { generation: self.generation });
        }
        self.has_socket()
    }

    /// The socket is gone: the next is made after a wait. Says what that was.
    pub fn back_off(&mut self, now: Now, config: &ClientConfig, storage_failures: u32, random: &mut fastrand::Rng) -> ErrorCode {
        let code = if self.is_open() || self.is_greeting() { ErrorCode::RelayDisconnected } else { ErrorCode::ConnectionFailed };
        let wait_ms = delay_ms(config.retry_delay_ms, self.failures.max(storage_failures).max(self.distrusts), random);
        self.phase = Phase::Waiting { until_ms: now.monotonic_ms + wait_ms };
        self.failures = self.failures.saturating_add(1);
        code
    }

    /// No connection is wanted. Who wants one again is somebody who asks.
    pub fn rest(&mut self) {
        self.failures = 0;
        self.phase = Phase::Idle;
    }

    /// An attempt that waits is made now, and those that follow wait as after the first: somebody asked, or the network is
    /// back. What failed before says nothing of it.
    pub fn hurry(&mut self, now: Now) {
        self.failures = 0;
        if let Phase::Waiting { until_ms } = &mut self.phase {
            *until_ms = now.monotonic_ms;
        }
    }

    /// Whether the page slept for so long that the relay has ended the connection, and nothing came of that: asking would only
    /// cost the wait for an answer. By either clock: some browsers stop the monotonic one while the machine sleeps.
    pub fn has_slept(&self, now: Now, config: &ClientConfig) -> bool {
        let Phase::Open { heard, .. } = self.phase else { return false };
        let silent_ms = now.monotonic_ms.saturating_sub(heard.monotonic_ms).max(now.wall_ms.saturating_sub(heard.wall_ms));
        silent_ms >= config.heartbeat_interval_ms + SILENCE_MS_MAX
    }

    /// Whether it is open and no heartbeat is on its way.
    pub fn may_ask(&self) -> bool {
        matches!(self.phase, Phase::Open { asked_ms: None, .. })
    }

    /// A heartbeat is sent: something must be heard in time.
    pub fn asked(&mut self, now: Now) {
        if let Phase::Open { asked_ms, .. } = &mut self.phase {
            *asked_ms = Some(now.monotonic_ms);
        }
    }

    pub fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::Idle => ConnectionState::Offline,
            Phase::Waiting { .. } => ConnectionState::Waiting,
            Phase::Connecting { .. } | Phase::Greeting { .. } => ConnectionState::Connecting,
            Phase::Open { .. } => ConnectionState::Connected,
        }
    }

    /// Tells the application of the connection, where it changed.
    pub fn tell_state(&mut self, actions: &mut Vec<Action>) {
        let state = self.state();
        if self.told.replace(state).unwrap_or(ConnectionState::Offline) != state {
            actions.push(Action::Notify(Event::ConnectionChanged { state }));
        }
    }

    pub fn next_timeout_ms(&self, config: &ClientConfig) -> Option<u64> {
        match self.phase {
            Phase::Idle => None,
            Phase::Waiting { until_ms } => Some(until_ms),
            Phase::Connecting { deadline_ms } | Phase::Greeting { deadline_ms } => Some(deadline_ms),
            Phase::Open { asked_ms: Some(asked_ms), .. } => Some(asked_ms + ANSWER_TIMEOUT_MS),
            Phase::Open { heard, asked_ms: None } => Some(heard.monotonic_ms + config.heartbeat_interval_ms),
        }
    }

    /// What is due. Judged by elapsed time: timers of hidden tabs come late or not at all (B17).
    pub fn due(&self, now: Now, config: &ClientConfig) -> Option<Due> {
        self.next_timeout_ms(config).filter(|at_ms| now.monotonic_ms >= *at_ms)?;
        match self.phase {
            Phase::Idle => None,
            Phase::Waiting { .. } => Some(Due::Connect),
            Phase::Connecting { .. } => Some(Due::GiveUp("the relay did not open the connection in time")),
            Phase::Greeting { .. } => Some(Due::GiveUp("the relay did not sign the device in in time")),
            Phase::Open { .. } if self.has_slept(now, config) => Some(Due::Renew),
            Phase::Open { asked_ms: Some(_), .. } => Some(Due::GiveUp("the relay did not answer a heartbeat in time")),
            Phase::Open { asked_ms: None, .. } => Some(Due::Heartbeat),
        }
    }
}
