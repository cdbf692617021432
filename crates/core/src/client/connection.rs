//! What a connection that opens, falls silent or breaks means for the sessions.

use super::Client;
use super::api::{Action, Generation, Input};
use super::calls::offline_by_wish;
use super::identity::Identity;
use super::link::{Due, UNANSWERED};
use super::transaction::Transaction;
use crate::error::SyncError;
use crate::ids::SessionId;
use crate::time::Now;

impl Client {
    /// Connects where that is wanted, and disconnects where it is not.
    pub(super) fn steer(&mut self, now: Now, actions: &mut Vec<Action>) {
        // Also without a session: another wallet may begin one.
        let is_wanted = !self.is_offline_by_wish && self.fenced.is_none() && self.rebuild.is_none() && self.wallet.is_some();
        let refusal = self.identity.as_ref().and_then(Identity::refusal);
        let is_wanted = is_wanted && refusal.is_none();
        if is_wanted && self.link.is_idle() {
            self.link.connect(now, actions);
        } else if !is_wanted && !self.link.is_idle() {
            if let Some(error) = &refusal {
                self.fail_wishes(error, actions);
            }
            self.drop_connection(now, "no connection is wanted", actions);
            self.link.rest();
            if let Some(error) = refusal {
                self.fail_syncs(now, &error, actions);
            }
        }
        self.link.tell_state(actions);
    }

    pub(super) fn connected(&mut self, now: Now, generation: Generation, actions: &mut Vec<Action>) {
        if !self.link.opened(now, generation) {
            return;
        }
        match &mut self.identity {
            Some(identity) => identity.meet(),
            None => self.begin(now, actions),
        }
    }

    /// The sessions say what they have to say to the relay.
    pub(super) fn begin(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.link.enter(now);
        // Before the sessions ask: what they are told is of its devices.
        self.advance_devices(now, actions);
        let (sessions, mut context) = self.lend(now, actions);
        sessions.visit_all().for_each(|session| session.advance(&mut context));
        // Behind what the sessions say: they need not be listed.
        self.ask_sessions(now, None, actions);
    }

    pub(super) fn disconnected(&mut self, now: Now, generation: Generation, reason: &str, actions: &mut Vec<Action>) {
        if self.link.owns_socket(generation) {
            self.lost(now, reason, actions);
        }
    }

    /// Gives up the present socket, where there is one, and makes a new one after a wait.
    pub(super) fn drop_connection(&mut self, now: Now, reason: &str, actions: &mut Vec<Action>) {
        if self.link.close(actions) {
            self.lost(now, reason, actions);
        }
    }

    /// An attempt failed: syncs that have had more than `maxRetries` of them are reported as failed.
    fn lost(&mut self, now: Now, reason: &str, actions: &mut Vec<Action>) {
        let code = self.link.back_off(now, &self.config, self.storage_failures, &mut self.random);
        let error = SyncError::new(code, reason);
        self.invitations.on_disconnect();
        self.accounts.on_disconnect();
        self.lose_devices(&error, actions);
        let (sessions, mut context) = self.lend(now, actions);
        sessions.visit_all().for_each(|session| session.on_disconnect(&mut context));
        for session in sessions.visit_all() {
            if session.fail_attempt(context.config.max_retries) {
                session.fail_sync(&mut context, &error);
            }
        }
    }

    /// Every sync under way fails now.
    pub(super) fn fail_syncs(&mut self, now: Now, error: &SyncError, actions: &mut Vec<Action>) {
        let (sessions, mut context) = self.lend(now, actions);
        sessions.visit_all().for_each(|session| session.fail_sync(&mut context, error));
    }

    pub(super) fn set_offline(&mut self, now: Now, offline: bool, actions: &mut Vec<Action>) {
        self.is_offline_by_wish = offline;
        if offline {
            self.drop_connection(now, "offline by wish", actions);
            self.fail_syncs(now, &offline_by_wish(), actions);
        }
    }

    /// The page is seen again or the network is said to be back: an open path must prove itself (B17, B20), a waiting
    /// attempt is made. One that the relay has ended in a long sleep is made anew at once.
    pub(super) fn awake(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.link.has_slept(now, &self.config) {
            return self.renew(now, actions);
        }
        self.link.hurry(now);
        if self.link.may_ask() {
            self.send_heartbeat(now, actions);
        }
    }

    /// The page slept: the present socket is given up, and another one made at once.
    pub(super) fn renew(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.drop_connection(now, "nothing was heard for longer than the relay waits", actions);
        self.link.hurry(now);
        self.link.connect(now, actions);
    }

    /// Sends a heartbeat. Sessions take turns, because the answer also tells whether one missed something.
    fn send_heartbeat(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.link.asked(now);
        let wallet = self.wallet.as_deref();
        let next = self.sessions.next_after(&self.heartbeat_session, |session| session.is_linked(wallet));
        if let Some(session_id) = next.map(|session| session.id().to_owned()) {
            let (sessions, mut context) = self.lend(now, actions);
            sessions.visit_those(std::slice::from_ref(&session_id), |session| session.send_heartbeat(&mut context));
            self.heartbeat_session = session_id;
        } else {
            self.send_bare_heartbeat(now, actions);
        }
    }

    /// Does what is due by the clock.
    pub(super) fn check_time(&mut self, now: Now, actions: &mut Vec<Action>) {
        match self.link.due(now, &self.config) {
            Some(Due::Connect) => self.link.connect(now, actions),
            Some(Due::GiveUp(reason)) => self.drop_connection(now, reason, actions),
            Some(Due::Renew) => self.renew(now, actions),
            Some(Due::Heartbeat) => self.send_heartbeat(now, actions),
            None => {}
        }
        if self.link.is_open() && self.invitations.retry_at_ms().is_some_and(|at_ms| now.monotonic_ms >= at_ms) {
            self.ask_sessions(now, None, actions);
        }
        if self.may_judge_answers() && self.devices.is_unanswered(now) {
            self.link.distrust();
            return self.drop_connection(now, UNANSWERED, actions);
        }
        if !self.link.is_open() || now.monotonic_ms < self.sessions.due_ms() {
            return;
        }
        let wallet = self.wallet.as_deref();
        let is_due = |session: &&super::session::Session| session.due_ms(wallet).is_some_and(|at_ms| now.monotonic_ms >= at_ms);
        let due: Vec<SessionId> = self.sessions.values().filter(is_due).map(|session| session.id().to_owned()).collect();
        for session_id in due {
            self.check_session_time(now, session_id, actions);
        }
        let wallet = self.wallet.as_deref();
        let due_ms = self.sessions.values().filter_map(|session| session.due_ms(wallet)).min().unwrap_or(u64::MAX);
        self.sessions.set_due(due_ms);
    }

    /// What is on its way to disk may be the answer that is awaited of the account: that is judged when it is there.
    pub(super) fn may_judge_answers(&self) -> bool {
        self.under_way.is_none() && !self.is_behind()
    }

    /// Our own disk holds up what has arrived: the relay is not to blame then.
    fn is_behind(&self) -> bool {
        self.waiting.iter().any(|input| matches!(input, Input::Received { .. }))
    }

    fn check_session_time(&mut self, now: Now, session_id: SessionId, actions: &mut Vec<Action>) {
        let is_behind = self.is_behind();
        let may_write = self.under_way.is_none() && self.rebuild.is_none();
        let mut transaction = Transaction::new(self.observed);
        let mut timed_out = Ok(());
        let session_id = [session_id];
        let (sessions, mut context) = self.lend(now, actions);
        sessions.visit_those(&session_id, |session| {
            timed_out = session.on_timeout(&mut context, is_behind, may_write.then_some(&mut transaction));
        });
        if let Err(reason) = timed_out {
            return self.drop_connection(now, reason, actions);
        }
        if !transaction.is_empty() {
            self.write(now, transaction, actions);
        }
        let (sessions, mut context) = self.lend(now, actions);
        sessions.visit_those(&session_id, |session| session.advance(&mut context));
    }
}
