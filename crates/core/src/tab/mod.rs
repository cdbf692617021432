//! One tab among any number that share a database: a state machine that takes inputs and returns the work it asks of its shell.
//!
//! One tab owns the database: it holds the lock, and runs the engine over the store and the socket. The others follow: their
//! calls go to the owner, and what it tells comes back. What keeps the data right is the claim in the store, of which the
//! highest alone can write; the lock only spares tabs from fighting, and liveness only spares people from waiting.

mod api;
mod calls;
mod hear;
mod lock;
mod peers;
mod time;

pub use crate::client::CallKey;
pub use api::{Action, Input, Kind, Message, Role, TabConfig, TabId};

use crate::error::{ErrorCode, SyncError};
use crate::sorted::Sorted;
use calls::{Calls, Outgoing};
use peers::Peers;

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
    /// The calls of other tabs that the engine has, the claim that they came under, and whether they have effects.
    runs: Sorted<(TabId, u64), (u64, bool)>,
    /// What was answered to calls with effects, and under which claim: one that went to the bfcache and comes back sends its call again,
    /// and hears the first answer of the two.
    answers: Sorted<(TabId, u64), (u64, P)>,
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
            answers: Sorted::default(),
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
