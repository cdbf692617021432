//! The calls of this tab's application that are not answered yet.

use super::api::TabId;
use crate::client::CallKey;
use crate::limits::{CALLS_UNDER_WAY_MAX, CALLS_WAITING_MAX};
use crate::sorted::Sorted;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody has it now. `was_sent`: another tab has had it, and may have run it.
    Waiting { was_sent: bool },
    /// The owner of this claim has it.
    Sent { claim: u64 },
    /// This tab's engine has it.
    Running { was_sent: bool },
}

struct Call<P> {
    body: P,
    is_keyed: bool,
    made_ms: u64,
    state: State,
}

impl<P> Call<P> {
    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether its effects may be stored.
    fn may_be_done(&self) -> bool {
        self.is_keyed && self.state != State::Waiting { was_sent: false }
    }
}

/// See the module's description.
pub struct Calls<P> {
    calls: Sorted<u64, Call<P>>,
    /// Those of them that have keys.
    keyed: Sorted<u64, ()>,
    /// The highest number there was.
    last: u64,
    /// Up to here none waits, so that many calls do not cost a walk each.
    passed_on: u64,
    sent_keyed: usize,
    running: usize,
}

/// A call on its way.
pub struct Outgoing<P> {
    pub call: u64,
    pub is_keyed: bool,
    pub done_through: u64,
    pub body: P,
    was_sent: bool,
}

impl<P> Outgoing<P> {
    /// The key that it needs at this tab's own engine: another tab may have run it.
    pub fn key(&self, tab: TabId) -> Option<CallKey> {
        (self.is_keyed && self.was_sent).then_some(CallKey { tab, call: self.call, done_through: self.done_through })
    }
}

impl<P: Clone> Calls<P> {
    pub fn new() -> Self {
        Calls { calls: Sorted::default(), keyed: Sorted::default(), last: 0, passed_on: 0, sent_keyed: 0, running: 0 }
    }

    /// Takes a call in; `false` where there are too many.
    pub fn push(&mut self, call: u64, is_keyed: bool, body: P, now_ms: u64) -> bool {
        self.last = self.last.max(call);
        self.passed_on = self.passed_on.min(call.saturating_sub(1));
        if self.calls.len() >= CALLS_WAITING_MAX {
            return false;
        }
        self.calls.insert(call, Call { body, is_keyed, made_ms: now_ms, state: State::Waiting { was_sent: false } });
        if is_keyed {
            self.keyed.insert(call, ());
        }
        true
    }

    /// How many this tab's engine has.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether there are any that this tab's engine does not have.
    pub fn is_any_open(&self) -> bool {
        self.calls.len() > self.running
    }

    /// The next that waits; it goes to the owner of this claim. `None` where none waits, or too many are under way there.
    pub fn send_next(&mut self, claim: u64) -> Option<Outgoing<P>> {
        // What this tab's engine has not answered since it was stopped may be next.
        let number = self.next_waiting().filter(|_| self.running == 0)?;
        let is_keyed = self.keyed.contains_key(&number);
        if is_keyed && self.sent_keyed >= CALLS_UNDER_WAY_MAX {
            return None;
        }
        self.sent_keyed += usize::from(is_keyed);
        self.take(number, |_| State::Sent { claim })
    }

    /// The next that waits; it goes to this tab's engine.
    pub fn run_next(&mut self) -> Option<Outgoing<P>> {
        let number = self.next_waiting()?;
        self.running += 1;
        self.take(number, |was_sent| State::Running { was_sent })
    }

    fn next_waiting(&self) -> Option<u64> {
        let behind = self.calls.after(&self.passed_on);
        behind.filter(|(_, call)| call.is_waiting()).map(|(number, _)| *number).next()
    }

    fn take(&mut self, number: u64, next: impl FnOnce(bool) -> State) -> Option<Outgoing<P>> {
        let done_through = self.keyed.keys().next().map_or(self.last, |first| first - 1);
        let call = self.calls.get_mut(&number)?;
        let was_sent = call.state == State::Waiting { was_sent: true };
        call.state = next(was_sent);
        self.passed_on = number;
        Some(Outgoing { call: number, is_keyed: call.is_keyed, was_sent, done_through, body: call.body.clone() })
    }

    /// The owner is another, or there is none: what it has not answered is to be sent again, in order.
    pub fn recall(&mut self) {
        for call in self.calls.values_mut() {
            if matches!(call.state, State::Sent { .. }) {
                call.state = State::Waiting { was_sent: true };
            }
        }
        (self.passed_on, self.sent_keyed) = (0, 0);
    }

    /// The owner of a claim has answered. Says whether that counts: a call that has gone to another since is answered by that.
    pub fn answered(&mut self, call: u64, claim: u64) -> bool {
        let counts = self.calls.get(&call).is_some_and(|call| call.state == State::Sent { claim });
        if counts {
            self.calls.remove(&call);
            self.sent_keyed -= usize::from(self.keyed.remove(&call).is_some());
        }
        counts
    }

    /// This tab's engine has answered one.
    pub fn ran(&mut self, call: u64) -> bool {
        let counts = self.calls.get(&call).is_some_and(Call::is_running);
        if counts {
            self.calls.remove(&call);
            self.keyed.remove(&call);
            self.running -= 1;
        }
        counts
    }

    /// This tab's engine has not done one and will not: it waits again.
    pub fn undone(&mut self, number: u64) {
        if let Some(call) = self.calls.get_mut(&number)
            && let State::Running { was_sent } = call.state
        {
            call.state = State::Waiting { was_sent };
            self.running -= 1;
            self.passed_on = self.passed_on.min(number.saturating_sub(1));
        }
    }

    /// When the oldest call was made that this tab's engine does not have.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.calls.values().find(|call| !call.is_running()).map(|call| call.made_ms)
    }

    /// When the oldest call was made that nobody can have done.
    pub fn oldest_undone_ms(&self) -> Option<u64> {
        self.calls.values().find(|call| call.is_waiting() && !call.may_be_done()).map(|call| call.made_ms)
    }

    /// Takes out the calls made up to then that nobody can have done.
    pub fn expire(&mut self, made_ms_max: u64) -> Vec<u64> {
        self.take_out(|call| call.is_waiting() && !call.may_be_done() && call.made_ms <= made_ms_max)
            .into_iter()
            .map(|(call, _)| call)
            .collect()
    }

    /// Takes out all that this tab's engine does not have, and says of each whether it may have been done.
    pub fn drain(&mut self) -> Vec<(u64, bool)> {
        self.sent_keyed = 0;
        self.take_out(|call| !call.is_running())
    }

    fn take_out(&mut self, leaves: impl Fn(&Call<P>) -> bool) -> Vec<(u64, bool)> {
        let mut out = Vec::new();
        self.calls.retain(|number, call| {
            let leaves = leaves(call);
            if leaves {
                out.push((*number, call.may_be_done()));
            }
            !leaves
        });
        self.keyed.retain(|number, ()| self.calls.contains_key(number));
        out
    }
}
