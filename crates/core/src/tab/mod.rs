//! One tab among any number that share a database: a state machine that takes inputs and returns the work it asks of its shell.
//!
//! One tab owns the database: it holds the lock, and runs the engine over the store and the socket. The others follow: their
//! calls go to the owner, and what it tells comes back. What keeps the data right is the claim in the store, of which the
//! highest alone can write; the lock only spares tabs from fighting, and liveness only spares people from waiting.

mod api;
mod calls;
mod peers;

pub use crate::client::CallKey;
pub use api::{Action, Input, Kind, Message, Role, TabConfig, TabId};

use crate::error::{ErrorCode, SyncError};
use crate::limits::{CALLS_WAITING_MAX, INTEGER_MAX};
use crate::sorted::Sorted;
use calls::{Calls, Outgoing};
use peers::Peers;

/// So long may the holder of the lock take to show that its timers run.
const PONG_MS_MAX: u64 = 1_000;

/// A timer that comes so much too late says that this tab was asleep itself.
const LATE_MS_MAX: u64 = 500;

/// A visible tab that follows looks so often whether the owner lives.
const PING_MS: u64 = 2_000;

/// A call that takes longer makes its tab look whether the owner lives.
const CALL_MS: u64 = 1_000;

/// Without locks: so long a tab waits for one that owns or starts, and up to so much longer by its id, so that not all start.
const ALONE_MS: u64 = 300;
const ALONE_SPREAD_MS: u64 = 200;

/// A hidden owner gives way to a visible tab after so long: browsers freeze hidden pages.
const HIDDEN_MS_MAX: u64 = 1_000;

/// A start that takes longer is told, and one that failed is tried again after so long.
const START_MS_MAX: u64 = 1_000;

/// A call waits so long for an owner.
const CALL_WAIT_MS_MAX: u64 = 120_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Idle,
    Asked,
    Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Off,
    /// It is to start, and was asked to unless calls of its last life are unanswered.
    Starting {
        is_asked: bool,
    },
    /// It did not start.
    Failed {
        retry_ms: u64,
    },
    Running {
        claim: u64,
    },
}

/// Whom a tab follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    id: TabId,
    claim: u64,
}

/// See the module's description.
pub struct Tab<P> {
    config: TabConfig,
    is_open: bool,
    is_ended: bool,
    refusal: Option<SyncError>,
    visible: bool,
    hidden_since_ms: u64,
    lock: Lock,
    engine: Engine,
    /// Since when the engine is to run.
    start_ms: u64,
    /// Others were told that it takes long.
    is_start_late: bool,
    owner: Option<Owner>,
    /// Who said last that it holds the lock, and whether the store does not open for it.
    holder: Option<TabId>,
    is_holder_blocked: bool,
    claim_max: u64,
    /// The number of the last news, said or heard.
    news: u64,
    peers: Peers,
    calls: Calls<P>,
    /// The calls of other tabs that the engine has, and the claim that they came under.
    runs: Sorted<(TabId, u64), u64>,
    /// Since when there is no owner.
    ownerless_since_ms: u64,
    /// When the holder last showed life, or the wait for one began.
    sign_ms: u64,
    /// Since when a pong is awaited.
    asked_ms: Option<u64>,
    /// A pong is due since then.
    pong_ms: Option<u64>,
    told_role: Role,
}

type Actions<P> = Vec<Action<P>>;

impl<P: Clone> Tab<P> {
    /// A tab that is not open.
    pub fn new(config: TabConfig) -> Self {
        Tab {
            config,
            is_open: false,
            is_ended: false,
            refusal: None,
            visible: false,
            hidden_since_ms: 0,
            lock: Lock::Idle,
            engine: Engine::Off,
            start_ms: 0,
            is_start_late: false,
            owner: None,
            holder: None,
            is_holder_blocked: false,
            claim_max: 0,
            news: 0,
            peers: Peers::default(),
            calls: Calls::new(),
            runs: Sorted::default(),
            ownerless_since_ms: 0,
            sign_ms: 0,
            asked_ms: None,
            pong_ms: None,
            told_role: Role::Joining,
        }
    }

    /// Takes one input and returns what to do, in order.
    #[must_use]
    pub fn handle(&mut self, now_ms: u64, input: Input<P>) -> Vec<Action<P>> {
        let mut actions = Vec::new();
        let is_timeout = matches!(input, Input::Timeout);
        match input {
            Input::Open { visible } => self.open(now_ms, visible, &mut actions),
            Input::Close => self.close(&mut actions),
            Input::End => self.end(&mut actions),
            Input::Visible { visible } => self.see(now_ms, visible, &mut actions),
            Input::Call { call, is_keyed, body } => self.call(now_ms, call, is_keyed, body, &mut actions),
            Input::Heard(message) => self.hear(now_ms, message, &mut actions),
            Input::Locked => self.locked(now_ms, &mut actions),
            Input::Unlocked => self.unlocked(now_ms, &mut actions),
            Input::Started { claim } => self.started(now_ms, claim, &mut actions),
            Input::StartFailed { error, is_final } => self.start_failed(now_ms, error, is_final, &mut actions),
            Input::Ran { from, call, result } => self.ran(now_ms, from, call, result, &mut actions),
            Input::Fenced => self.fenced(now_ms, &mut actions),
            Input::Told(body) => self.told(body, &mut actions),
            Input::Gone(body) => self.say(Message { body: Some(body), ..self.word(Kind::Gone, None) }, &mut actions),
            Input::Timeout => {}
        }
        self.check_time(now_ms, is_timeout, &mut actions);
        self.pass_on(&mut actions);
        self.tell_role(&mut actions);
        actions
    }

    /// When [`Input::Timeout`] is due; `None` while nothing waits for time.
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

    // What the page does.

    fn open(&mut self, now_ms: u64, visible: bool, actions: &mut Actions<P>) {
        if self.is_open {
            return self.see(now_ms, visible, actions);
        }
        (self.is_open, self.is_ended, self.refusal) = (true, false, None);
        (self.visible, self.hidden_since_ms, self.ownerless_since_ms) = (visible, now_ms, now_ms);
        self.say(self.hello_word(None), actions);
        self.seek(now_ms, actions);
    }

    fn close(&mut self, actions: &mut Actions<P>) {
        if !self.is_open {
            return;
        }
        self.stop(actions);
        self.unlock(actions);
        self.say(self.word(Kind::Bye, None), actions);
        self.is_open = false;
        self.peers.clear();
        self.calls.recall();
        (self.owner, self.holder, self.is_holder_blocked) = (None, None, false);
        (self.asked_ms, self.pong_ms) = (None, None);
    }

    fn end(&mut self, actions: &mut Actions<P>) {
        self.close(actions);
        self.is_ended = true;
        self.refuse_calls(&ended(), actions);
    }

    fn see(&mut self, now_ms: u64, visible: bool, actions: &mut Actions<P>) {
        if std::mem::replace(&mut self.visible, visible) != visible {
            self.hidden_since_ms = now_ms;
            self.say(self.word(Kind::Seen, None), actions);
        }
    }

    fn call(&mut self, now_ms: u64, call: u64, is_keyed: bool, body: P, actions: &mut Actions<P>) {
        let error = match &self.refusal {
            Some(refusal) => Some(refusal.clone()),
            None if self.is_ended => Some(ended()),
            None if self.calls.push(call, is_keyed, body, now_ms) => None,
            None => Some(SyncError::new(ErrorCode::LimitReached, "too many calls wait for their answers")),
        };
        if let Some(error) = error {
            actions.push(Action::Answer { call, result: Err(error) });
        }
    }

    /// No call can be answered any more, except by the engine that has it.
    fn refuse_calls(&mut self, error: &SyncError, actions: &mut Actions<P>) {
        for (call, may_be_done) in self.calls.drain() {
            let mut error = error.clone();
            if may_be_done {
                error.message.push_str("; another tab had the call, and may have done it");
            }
            actions.push(Action::Answer { call, result: Err(error) });
        }
    }

    // The lock and the engine.

    /// Whether this tab holds the lock, or would if there were locks.
    fn is_holder(&self) -> bool {
        self.lock == Lock::Held || self.engine != Engine::Off
    }

    fn locked(&mut self, now_ms: u64, actions: &mut Actions<P>) {
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

    fn unlocked(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        if self.lock == Lock::Held {
            self.lock = Lock::Idle;
            self.stop(actions);
            self.seek(now_ms, actions);
        }
    }

    fn unlock(&mut self, actions: &mut Actions<P>) {
        if std::mem::replace(&mut self.lock, Lock::Idle) != Lock::Idle {
            actions.push(Action::Unlock);
        }
    }

    fn start(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        self.lose_owner(now_ms);
        (self.holder, self.is_holder_blocked, self.asked_ms) = (None, false, None);
        self.engine = Engine::Starting { is_asked: false };
        (self.start_ms, self.is_start_late) = (now_ms, false);
        self.ask_to_start(actions);
        self.say(self.start_word(None), actions);
    }

    /// The engine starts when its last life has said of every call what became of it: so no call of an application takes
    /// effect before one that was made earlier.
    fn ask_to_start(&mut self, actions: &mut Actions<P>) {
        if self.engine == (Engine::Starting { is_asked: false }) && self.calls.running() == 0 && self.runs.is_empty() {
            self.engine = Engine::Starting { is_asked: true };
            actions.push(Action::Start { above: self.claim_max });
        }
    }

    fn stop(&mut self, actions: &mut Actions<P>) {
        let engine = std::mem::replace(&mut self.engine, Engine::Off);
        self.pong_ms = None;
        if matches!(engine, Engine::Starting { is_asked: true } | Engine::Running { .. }) {
            actions.push(Action::Stop);
        }
    }

    fn started(&mut self, now_ms: u64, claim: u64, actions: &mut Actions<P>) {
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

    fn start_failed(&mut self, now_ms: u64, error: SyncError, is_final: bool, actions: &mut Actions<P>) {
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
    fn restart(&mut self, now_ms: u64, actions: &mut Actions<P>) {
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

    fn fenced(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        if matches!(self.engine, Engine::Running { .. }) {
            self.stop(actions);
            self.unlock(actions);
            self.rejoin(now_ms, actions);
        }
    }

    fn rejoin(&mut self, now_ms: u64, actions: &mut Actions<P>) {
        self.say(self.hello_word(None), actions);
        self.seek(now_ms, actions);
    }

    /// The tab that should own rather than this one.
    fn better(&self) -> Option<(TabId, u32)> {
        self.peers.better(self.config.protocol, self.visible)
    }

    /// Lets another have the lock, and waits for it behind all who wait.
    fn let_go(&mut self, now_ms: u64, better: TabId, actions: &mut Actions<P>) {
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
    fn seek(&mut self, now_ms: u64, actions: &mut Actions<P>) {
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

    fn lose_owner(&mut self, now_ms: u64) {
        if self.owner.take().is_some() || !matches!(self.told_role, Role::Joining | Role::Blocked) {
            self.ownerless_since_ms = now_ms;
        }
        self.calls.recall();
    }

    fn refuse(&mut self, error: SyncError, actions: &mut Actions<P>) {
        self.stop(actions);
        self.unlock(actions);
        self.say(self.word(Kind::Bye, None), actions);
        (self.owner, self.holder, self.is_holder_blocked, self.asked_ms) = (None, None, false, None);
        self.refuse_calls(&error, actions);
        self.refusal = Some(error);
    }

    // Time.

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

    fn check_time(&mut self, now_ms: u64, is_timeout: bool, actions: &mut Actions<P>) {
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

    fn ask(&mut self, now_ms: u64, actions: &mut Actions<P>) {
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

    // What other tabs say.

    fn hear(&mut self, now_ms: u64, message: Message<P>, actions: &mut Actions<P>) {
        let Message { from, to, kind, claim, .. } = message;
        let is_ours = from != self.config.id && to.is_none_or(|to| to == self.config.id) && claim <= INTEGER_MAX;
        if !is_ours || !self.is_open || self.refusal.is_some() {
            return;
        }
        let is_other = message.settings.as_ref().is_some_and(|settings| *settings != self.config.settings);
        let is_peer = !is_other && !matches!(kind, Kind::Bye | Kind::Gone);
        let is_new = is_peer && self.peers.hear(&message, self.config.protocol);
        if kind != Kind::Owner {
            self.hear_of_claim(now_ms, claim, actions);
        }
        match kind {
            // A newer one is given way to.
            Kind::Hello if is_peer && message.protocol > self.config.protocol => {}
            Kind::Hello => self.introduce(from, actions),
            Kind::Owner => self.hear_owner(now_ms, message, actions),
            Kind::Start => self.hear_start(now_ms, &message, actions),
            Kind::Call => self.hear_call(message, actions),
            Kind::Answer => self.hear_answer(message, actions),
            Kind::News => self.hear_news(message, actions),
            Kind::Ping if self.is_holder() => self.pong_ms = self.pong_ms.or(Some(now_ms)),
            Kind::Pong => self.hear_pong(now_ms, from, actions),
            Kind::Bye | Kind::Free => self.hear_free(now_ms, from, kind, actions),
            Kind::Gone => actions.extend(message.body.map(Action::Gone)),
            // It was given way to, and follows: the lock came here before its own request did. It lives and can have another turn.
            Kind::Seen if to.is_some() => self.peers.give_another_turn(from),
            Kind::Ping | Kind::Seen => {}
        }
        // It has missed what this tab said when it began to own.
        if is_new && kind != Kind::Hello && matches!(self.engine, Engine::Running { .. }) {
            self.introduce(from, actions);
        }
    }

    /// Tells another what this tab is, where it holds the lock.
    fn introduce(&mut self, to: TabId, actions: &mut Actions<P>) {
        match self.engine {
            Engine::Running { .. } => {
                // The shell observes what followers want before it reads the mirror.
                self.tell_role(actions);
                self.say(self.owner_word(Some(to)), actions);
            }
            Engine::Starting { .. } | Engine::Failed { .. } => self.say(self.start_word(Some(to)), actions),
            Engine::Off => {}
        }
    }

    /// Another tab knows of a higher claim than this one has: another owns, or the database was deleted and made anew.
    fn hear_of_claim(&mut self, now_ms: u64, claim: u64, actions: &mut Actions<P>) {
        self.claim_max = self.claim_max.max(claim);
        if matches!(self.engine, Engine::Running { claim: own } if own < claim) {
            self.restart(now_ms, actions);
        }
    }

    fn hear_owner(&mut self, now_ms: u64, message: Message<P>, actions: &mut Actions<P>) {
        let (from, claim) = (message.from, message.claim);
        if claim < self.claim_max {
            // It hears so that its claim is not the highest.
            return self.say(self.word(Kind::Seen, Some(from)), actions);
        }
        match self.engine {
            // The word of one whose lock this tab has taken.
            Engine::Starting { .. } if self.lock == Lock::Held => return,
            Engine::Running { claim: own } if own == claim => return,
            Engine::Off => {}
            _ => {
                self.stop(actions);
                self.unlock(actions);
                self.seek(now_ms, actions);
            }
        }
        self.claim_max = claim;
        if message.settings.as_ref() != Some(&self.config.settings) {
            let text = "another tab uses this database with another relay, transport or strategy";
            return self.refuse(SyncError::new(ErrorCode::ConfigMismatch, text), actions);
        }
        if message.protocol < self.config.protocol {
            // It gives way to one that is newer.
            return self.say(self.hello_word(Some(from)), actions);
        }
        if message.speaks > self.config.protocol {
            let text = "another tab runs a newer version, which does not understand this one";
            return self.refuse(SyncError::new(ErrorCode::TabOutdated, text), actions);
        }
        self.follow(now_ms, message, actions);
    }

    fn follow(&mut self, now_ms: u64, message: Message<P>, actions: &mut Actions<P>) {
        let owner = Owner { id: message.from, claim: message.claim };
        let is_other = self.owner != Some(owner);
        if is_other {
            self.calls.recall();
            self.sign_ms = now_ms;
            (self.owner, self.holder, self.is_holder_blocked) = (Some(owner), Some(owner.id), false);
            if message.to.is_none() {
                self.say(self.word(Kind::Seen, Some(owner.id)), actions);
            }
        }
        let is_missing = is_other || message.number != self.news;
        self.news = message.number;
        actions.extend(message.body.map(Action::Mirror));
        self.tell_role(actions);
        if is_missing {
            actions.push(Action::Renewed);
        }
    }

    fn hear_start(&mut self, now_ms: u64, message: &Message<P>, actions: &mut Actions<P>) {
        if self.is_holder() {
            return;
        }
        if self.holder.replace(message.from) != Some(message.from) || self.owner.is_some() {
            self.lose_owner(now_ms);
            self.sign_ms = now_ms;
            // What was asked before may have found nobody.
            if self.asked_ms.is_some() {
                self.ask(now_ms, actions);
            }
        }
        self.is_holder_blocked = message.error.is_some();
    }

    fn hear_call(&mut self, message: Message<P>, actions: &mut Actions<P>) {
        let Message { from, number: call, claim, is_keyed, done_through, .. } = message;
        // Who has sent it under another claim hears that there is another owner, and sends it again.
        let (Some(body), true) = (message.body, self.engine == (Engine::Running { claim })) else { return };
        if self.runs.contains_key(&(from, call)) {
            return;
        }
        if self.runs.len() >= CALLS_WAITING_MAX {
            let error = SyncError::new(ErrorCode::LimitReached, "too many calls wait for their answers");
            let answer = Message { number: call, error: Some(error), ..self.word(Kind::Answer, Some(from)) };
            return self.say(answer, actions);
        }
        self.runs.insert((from, call), claim);
        let key = is_keyed.then_some(CallKey { tab: from, call, done_through });
        actions.push(Action::Run { from, call, key, body });
    }

    fn ran(&mut self, now_ms: u64, from: TabId, call: u64, result: Option<P>, actions: &mut Actions<P>) {
        let is_done = result.is_some();
        if from != self.config.id {
            if let (Some(claim), Some(body), true) = (self.runs.remove(&(from, call)), result, self.is_open) {
                self.say(Message { claim, number: call, body: Some(body), ..self.word(Kind::Answer, Some(from)) }, actions);
            }
        } else if let Some(result) = result {
            if self.calls.ran(call) {
                actions.push(Action::Answer { call, result: Ok(result) });
            }
        } else {
            self.calls.undone(call);
            if let Some(refusal) = self.refusal.clone() {
                self.refuse_calls(&refusal, actions);
            } else if self.is_ended {
                self.refuse_calls(&ended(), actions);
            }
        }
        // An engine that runs does what it is asked, unless the store is another's.
        if !is_done {
            self.fenced(now_ms, actions);
        }
        self.ask_to_start(actions);
    }

    fn hear_answer(&mut self, message: Message<P>, actions: &mut Actions<P>) {
        let call = message.number;
        let result = match (message.body, message.error) {
            (Some(body), _) => Ok(body),
            (None, Some(error)) => Err(error),
            (None, None) => return,
        };
        if self.calls.answered(call, message.claim) {
            actions.push(Action::Answer { call, result });
        }
    }

    fn told(&mut self, body: P, actions: &mut Actions<P>) {
        if matches!(self.engine, Engine::Running { .. }) {
            self.news += 1;
            if self.peers.count() > 0 {
                self.say(Message { number: self.news, body: Some(body), ..self.word(Kind::News, None) }, actions);
            }
        }
    }

    fn hear_news(&mut self, message: Message<P>, actions: &mut Actions<P>) {
        let is_owners = self.owner == Some(Owner { id: message.from, claim: message.claim });
        let (Some(body), true) = (message.body, is_owners && message.number > self.news) else { return };
        if message.number > self.news + 1 {
            // The mirror comes again, whole.
            self.say(self.hello_word(Some(message.from)), actions);
            actions.push(Action::Renewed);
        }
        self.news = message.number;
        actions.push(Action::Tell(body));
    }

    fn hear_pong(&mut self, now_ms: u64, from: TabId, actions: &mut Actions<P>) {
        if self.is_holder() || self.owner.is_some_and(|owner| owner.id != from) {
            return;
        }
        (self.sign_ms, self.asked_ms) = (now_ms, None);
        if self.owner.is_none() {
            self.say(self.hello_word(Some(from)), actions);
        }
    }

    fn hear_free(&mut self, now_ms: u64, from: TabId, kind: Kind, actions: &mut Actions<P>) {
        if kind == Kind::Bye {
            self.peers.forget(from);
        }
        let is_ownerless = match self.owner {
            Some(owner) => owner.id == from,
            None => self.holder == Some(from) || kind == Kind::Free,
        };
        if self.is_holder() || !is_ownerless {
            return;
        }
        self.seek(now_ms, actions);
        if !self.config.has_locks && self.better().is_none() {
            self.start(now_ms, actions);
        }
    }

    // What this tab says and asks.

    fn word(&self, kind: Kind, to: Option<TabId>) -> Message<P> {
        let TabConfig { id, protocol, speaks, .. } = self.config;
        Message {
            protocol,
            speaks,
            from: id,
            to,
            kind,
            claim: self.claim_max,
            number: 0,
            done_through: 0,
            is_keyed: false,
            visible: self.visible,
            settings: None,
            error: None,
            body: None,
        }
    }

    fn hello_word(&self, to: Option<TabId>) -> Message<P> {
        Message { settings: Some(self.config.settings.clone()), ..self.word(Kind::Hello, to) }
    }

    fn owner_word(&self, to: Option<TabId>) -> Message<P> {
        Message { number: self.news, settings: Some(self.config.settings.clone()), ..self.word(Kind::Owner, to) }
    }

    fn start_word(&self, to: Option<TabId>) -> Message<P> {
        let error = self.is_start_late.then(|| SyncError::new(ErrorCode::StorageBlocked, "the store does not open"));
        Message { error, ..self.word(Kind::Start, to) }
    }

    fn say(&self, message: Message<P>, actions: &mut Actions<P>) {
        actions.push(Action::Say(message));
    }

    /// Calls that wait go to who can run them.
    fn pass_on(&mut self, actions: &mut Actions<P>) {
        let id = self.config.id;
        if matches!(self.engine, Engine::Running { .. }) {
            while let Some(next) = self.calls.run_next() {
                actions.push(Action::Run { from: id, call: next.call, key: next.key(id), body: next.body });
            }
        } else if let Some(Owner { id: owner, claim }) = self.owner {
            while let Some(next) = self.calls.send_next(claim) {
                let Outgoing { call: number, is_keyed, done_through, body, .. } = next;
                let call = Message { claim, number, is_keyed, done_through, body: Some(body), ..self.word(Kind::Call, Some(owner)) };
                self.say(call, actions);
            }
        }
    }

    fn role(&self) -> Role {
        if let Some(error) = self.refusal.clone() {
            return Role::Refused { error };
        }
        match (self.engine, self.owner) {
            (Engine::Running { claim }, _) => Role::Owning { claim, follower_count: self.peers.count() },
            (Engine::Off, Some(owner)) => Role::Following { claim: owner.claim },
            (Engine::Off, None) if self.is_holder_blocked => Role::Blocked,
            (Engine::Starting { .. } | Engine::Failed { .. }, _) if self.is_start_late => Role::Blocked,
            _ => Role::Joining,
        }
    }

    fn tell_role(&mut self, actions: &mut Actions<P>) {
        let role = self.role();
        if role != self.told_role {
            self.told_role = role.clone();
            actions.push(Action::Role(role));
        }
    }
}

fn ended() -> SyncError {
    SyncError::new(ErrorCode::SdkNotInitialized, "this tab has ended")
}
