//! What other tabs say, and what the own engine does.

use super::{Action, Actions, CallKey, Engine, Kind, Lock, Message, Owner, Tab, TabId, ended};
use crate::error::{ErrorCode, SyncError};
use crate::limits::{ANSWERS_KEPT_MAX, CALLS_WAITING_MAX, INTEGER_MAX};

impl<P: Clone> Tab<P> {
    pub(super) fn hear(&mut self, now_ms: u64, message: Message<P>, actions: &mut Actions<P>) {
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
            let theirs = message.settings.unwrap_or_default();
            let text = ["another tab has other options. There: ", &theirs, ". Here: ", &self.config.settings].concat();
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
        if let Some((_, body)) = self.answers.get(&(from, call)).filter(|(answered, _)| *answered == claim) {
            let body = Some(body.clone());
            return self.say(Message { claim, number: call, body, ..self.word(Kind::Answer, Some(from)) }, actions);
        }
        if self.runs.len() >= CALLS_WAITING_MAX {
            let error = SyncError::new(ErrorCode::LimitReached, "too many calls wait for their answers");
            let answer = Message { number: call, error: Some(error), ..self.word(Kind::Answer, Some(from)) };
            return self.say(answer, actions);
        }
        self.runs.insert((from, call), (claim, is_keyed));
        if is_keyed {
            self.answers.retain(|(tab, number), (answered, _)| *answered == claim && (*tab != from || *number > done_through));
        }
        let key = is_keyed.then_some(CallKey { tab: from, call, done_through });
        actions.push(Action::Run { from, call, key, body });
    }

    pub(super) fn ran(&mut self, now_ms: u64, from: TabId, call: u64, result: Option<P>, actions: &mut Actions<P>) {
        let is_done = result.is_some();
        if from != self.config.id {
            if let (Some((claim, is_keyed)), Some(body), true) = (self.runs.remove(&(from, call)), result, self.is_open) {
                if is_keyed {
                    self.answers.insert((from, call), (claim, body.clone()));
                }
                if self.answers.len() > ANSWERS_KEPT_MAX {
                    self.answers.pop_first();
                }
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

    pub(super) fn told(&mut self, body: P, actions: &mut Actions<P>) {
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
        if self.config.has_locks {
            return;
        }
        match self.better() {
            // It hears the same. Where it does not live, the next turn is not its.
            Some((better, _)) => self.peers.give_way_to(better),
            None => self.start(now_ms, actions),
        }
    }
}
