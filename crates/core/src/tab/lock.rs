//! Who owns: the lock, and the engine that runs while a tab has it.

use super::time::{ALONE_MS, START_MS_MAX};
use super::{Action, Actions, Engine, Kind, Lock, Role, Tab, TabId};
use crate::error::SyncError;

impl<P: Clone> Tab<P> {
    /// Whether this tab holds the lock, or would if there were locks.
    pub(super) fn is_holder(&self) -> bool {
        self.lock == Lock::Held || self.engine != Engine::Off
    }

    pub(super) fn locked(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        self.lock = Lock::Held;
        if !self.is_open || self.refusal.is_some() {
            return self.unlock(actions);
        }
        // Whose lock this was is gone, or speaks up again.
        if let Some(owner) = self.owner {
            self.peers.forget(owner.id);
        }
        match self.better() {
            Some((better, _)) => self.let_go(now_ms, better, actions),
            None => self.start(now_ms, actions),
        }
    }

    pub(super) fn unlocked(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        if self.lock == Lock::Held {
            self.lock = Lock::Idle;
            self.stop(actions);
            self.seek(now_ms, actions);
        }
    }

    pub(super) fn unlock(&mut self, actions: &mut Actions<P>) {
        if std::mem::replace(&mut self.lock, Lock::Idle) != Lock::Idle {
            actions.push(Action::Unlock);
        }
    }

    pub(super) fn start(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        self.lose_owner(now_ms);
        (self.holder, self.is_holder_blocked, self.asked_ms) = (None, false, None);
        self.engine = Engine::Starting { is_asked: false };
        (self.start_ms, self.is_start_late) = (now_ms, false);
        self.ask_to_start(actions);
        self.say(self.start_word(None), actions);
    }

    /// The engine starts when its last life has said of every call what became of it: so no call of an application takes
    /// effect before one that was made earlier.
    pub(super) fn ask_to_start(&mut self, actions: &mut Actions<P>) {
        if self.engine == (Engine::Starting { is_asked: false }) && self.calls.running() == 0 && self.runs.is_empty() {
            self.engine = Engine::Starting { is_asked: true };
            actions.push(Action::Start { above: self.claim_max });
        }
    }

    pub(super) fn stop(&mut self, actions: &mut Actions<P>) {
        let engine = std::mem::replace(&mut self.engine, Engine::Off);
        self.pong_ms = None;
        if matches!(engine, Engine::Starting { is_asked: true } | Engine::Running { .. }) {
            actions.push(Action::Stop);
        }
    }

    pub(super) fn started(&mut self, now_ms: u64, claim: u64, actions: &mut Actions<P>) {
        if self.engine != (Engine::Starting { is_asked: true }) {
            return;
        }
        self.engine = Engine::Running { claim };
        if claim < self.claim_max {
            return self.restart(now_ms, actions);
        }
        (self.claim_max, self.news) = (claim, 0);
        self.tell_role(actions);
        self.say(self.owner_word(None), actions);
    }

    pub(super) fn start_failed(&mut self, now_ms: u64, error: SyncError, is_final: bool, actions: &mut Actions<P>) {
        if self.engine != (Engine::Starting { is_asked: true }) {
            return;
        }
        if is_final {
            self.engine = Engine::Off;
            return self.refuse(error, actions);
        }
        self.engine = Engine::Failed { retry_ms: now_ms + START_MS_MAX };
    }

    /// The engine's claim is not the highest one. Who holds the lock claims anew, unless it hears of an owner first, who has
    /// stolen the lock; others look for the owner.
    pub(super) fn restart(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        self.stop(actions);
        if self.lock == Lock::Held {
            self.lose_owner(now_ms);
            self.engine = Engine::Failed { retry_ms: now_ms + ALONE_MS };
            (self.start_ms, self.is_start_late) = (now_ms, false);
            self.say(self.hello_word(None), actions);
        } else {
            self.rejoin(now_ms, actions);
        }
    }

    pub(super) fn fenced(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        if matches!(self.engine, Engine::Running { .. }) {
            self.stop(actions);
            self.unlock(actions);
            self.rejoin(now_ms, actions);
        }
    }

    pub(super) fn rejoin(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        self.say(self.hello_word(None), actions);
        self.seek(now_ms, actions);
    }

    /// The tab that should own rather than this one.
    pub(super) fn better(&self) -> Option<(TabId, u32)> {
        self.peers.better(self.config.protocol, self.visible)
    }

    /// Lets another have the lock, and waits for it behind all who wait.
    pub(super) fn let_go(&mut self, now_ms: u64, better: TabId, actions: &mut Actions<P>) {
        self.peers.give_way_to(better);
        let was_said = self.engine != Engine::Off;
        self.stop(actions);
        if was_said {
            self.say(self.word(Kind::Free, None), actions);
        }
        self.unlock(actions);
        self.seek(now_ms, actions);
    }

    /// There is no owner: asks for the lock, and looks whether somebody holds it.
    pub(super) fn seek(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        self.lose_owner(now_ms);
        (self.holder, self.is_holder_blocked, self.sign_ms, self.asked_ms) = (None, false, now_ms, None);
        if self.config.has_locks && self.lock == Lock::Idle {
            self.lock = Lock::Asked;
            actions.push(Action::Lock);
        }
        if !self.config.has_locks || self.visible || self.calls.is_any_open() {
            self.ask(now_ms, actions);
        }
    }

    pub(super) fn lose_owner(&mut self, now_ms: u64) {
        if self.owner.take().is_some() || !matches!(self.told_role, Role::Joining | Role::Blocked) {
            self.ownerless_since_ms = now_ms;
        }
        self.calls.recall();
    }

    pub(super) fn refuse(&mut self, error: SyncError, actions: &mut Actions<P>) {
        self.stop(actions);
        self.unlock(actions);
        self.say(self.word(Kind::Bye, None), actions);
        (self.owner, self.holder, self.is_holder_blocked, self.asked_ms) = (None, None, false, None);
        self.refuse_calls(&error, actions);
        self.refusal = Some(error);
    }
}
