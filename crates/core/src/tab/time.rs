//! What waits for time: whether the owner lives, when a hidden one gives way, how long a call waits.

use super::{Action, Actions, Engine, Kind, Lock, Tab};
use crate::error::{ErrorCode, SyncError};

/// So long may the holder of the lock take to show that its timers run.
const PONG_MS_MAX: u64 = 1_000;

/// A timer that comes so much too late says that this tab was asleep itself.
const LATE_MS_MAX: u64 = 500;

/// A visible tab that follows looks so often whether the owner lives.
const PING_MS: u64 = 2_000;

/// A call that takes longer makes its tab look whether the owner lives.
const CALL_MS: u64 = 1_000;

/// Without locks: so long a tab waits for one that owns or starts, and up to so much longer by its id, so that not all start.
pub(super) const ALONE_MS: u64 = 300;
const ALONE_SPREAD_MS: u64 = 200;

/// A hidden owner gives way to a visible tab after so long: browsers freeze hidden pages.
const HIDDEN_MS_MAX: u64 = 1_000;

/// A start that takes longer is told, and one that failed is tried again after so long.
pub(super) const START_MS_MAX: u64 = 1_000;

/// A call waits so long for an owner.
const CALL_WAIT_MS_MAX: u64 = 120_000;

impl<P: Clone> Tab<P> {
    /// When [`Input::Timeout`](super::Input::Timeout) is due; `None` while nothing waits for time.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        if !self.is_open || self.refusal.is_some() {
            return None;
        }
        let due = if self.is_holder() {
            let late = matches!(self.engine, Engine::Starting { .. } | Engine::Failed { .. }) && !self.is_start_late;
            let retry = if let Engine::Failed { retry_ms } = self.engine { Some(retry_ms) } else { None };
            let hidden = (!self.visible && self.better().is_some()).then_some(self.hidden_since_ms + HIDDEN_MS_MAX);
            [self.pong_ms, late.then_some(self.start_ms + START_MS_MAX), retry, hidden]
        } else {
            [self.asked_ms.map(|asked_ms| asked_ms + self.patience_ms()), self.ping_due_ms(), None, None]
        };
        due.into_iter().flatten().chain(self.expiry_ms()).min()
    }

    /// How long a tab waits for a pong.
    fn patience_ms(&self) -> u64 {
        if self.config.has_locks || self.owner.is_some() { PONG_MS_MAX } else { ALONE_MS + self.config.id % ALONE_SPREAD_MS }
    }

    /// When this tab looks again whether the holder of the lock lives.
    fn ping_due_ms(&self) -> Option<u64> {
        if self.asked_ms.is_some() {
            return None;
        }
        let seen = self.visible.then_some(self.sign_ms + PING_MS);
        let called = self.calls.oldest_ms().map(|made_ms| self.sign_ms.max(made_ms) + CALL_MS);
        seen.into_iter().chain(called).min()
    }

    /// When the oldest call has waited too long for an owner.
    fn expiry_ms(&self) -> Option<u64> {
        if self.owner.is_some() || matches!(self.engine, Engine::Running { .. }) {
            return None;
        }
        self.calls.oldest_undone_ms().map(|made_ms| self.ownerless_since_ms.max(made_ms) + CALL_WAIT_MS_MAX)
    }

    pub(super) fn check_time(&mut self, now_ms: u64, is_timeout: bool, actions: &mut Actions<P>) {
        if !self.is_open || self.refusal.is_some() {
            return;
        }
        if self.is_holder() {
            self.check_holder(now_ms, is_timeout, actions);
        } else if let Some(asked_ms) = self.asked_ms {
            let judged_ms = asked_ms + self.patience_ms();
            if is_timeout && now_ms >= judged_ms {
                // Who was asleep itself has not heard the answer yet.
                if now_ms - judged_ms > LATE_MS_MAX { self.ask(now_ms, actions) } else { self.take_over(now_ms, actions) }
            }
        } else if self.ping_due_ms().is_some_and(|due_ms| now_ms >= due_ms) {
            self.ask(now_ms, actions);
        }
        if self.expiry_ms().is_some_and(|due_ms| now_ms >= due_ms) {
            let error = SyncError::new(ErrorCode::StorageBlocked, "the store was not opened in 120 seconds; the call was not done");
            for call in self.calls.expire(now_ms.saturating_sub(CALL_WAIT_MS_MAX)) {
                actions.push(Action::Answer { call, result: Err(error.clone()) });
            }
        }
    }

    fn check_holder(&mut self, now_ms: u64, is_timeout: bool, actions: &mut Actions<P>) {
        // Channels are heard in frozen pages too: only a timer shows that this one runs.
        if is_timeout && self.pong_ms.take().is_some() {
            self.say(self.word(Kind::Pong, None), actions);
        }
        if let Engine::Failed { retry_ms } = self.engine
            && now_ms >= retry_ms
        {
            self.engine = Engine::Starting { is_asked: false };
            self.ask_to_start(actions);
        }
        let is_starting = matches!(self.engine, Engine::Starting { .. } | Engine::Failed { .. });
        if is_starting && !self.is_start_late && now_ms >= self.start_ms + START_MS_MAX {
            self.is_start_late = true;
            self.say(self.start_word(None), actions);
        }
        if let Some((better, protocol)) = self.better()
            && (protocol > self.config.protocol || now_ms >= self.hidden_since_ms + HIDDEN_MS_MAX)
        {
            self.let_go(now_ms, better, actions);
        }
    }

    pub(super) fn ask(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        self.asked_ms = Some(now_ms);
        self.say(self.word(Kind::Ping, None), actions);
    }

    /// Who holds the lock does not live.
    fn take_over(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        let dead = self.owner.map(|owner| owner.id).or(self.holder);
        dead.iter().for_each(|id| self.peers.forget(*id));
        if self.config.has_locks {
            self.lose_owner(now_ms);
            (self.holder, self.is_holder_blocked, self.sign_ms, self.asked_ms) = (None, false, now_ms, None);
            self.lock = Lock::Asked;
            actions.push(Action::Steal);
        } else {
            self.start(now_ms, actions);
        }
    }
}
