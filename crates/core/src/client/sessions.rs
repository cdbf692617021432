//! The session machines by their ids, and when the first of them is due.

use std::ops::{Deref, DerefMut};

use super::session::Session;
use crate::ids::SessionId;
use crate::sorted::Sorted;

/// Walking through all sessions at every input would cost sessions times frames. So the earliest moment at which one may
/// be due is kept, and lowered by every session that was handed out.
#[derive(Default)]
pub(super) struct Sessions {
    all: Sorted<SessionId, Session>,
    due_ms: u64,
}

/// A session that was handed out: what it waits for counts when it comes back.
pub(super) struct Visit<'a> {
    session: &'a mut Session,
    due_ms: &'a mut u64,
}

impl Deref for Visit<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session
    }
}

impl DerefMut for Visit<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.session
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        *self.due_ms = self.session.next_timeout_ms().map_or(*self.due_ms, |at_ms| at_ms.min(*self.due_ms));
    }
}

impl Sessions {
    pub fn get(&self, id: &str) -> Option<&Session> {
        self.all.get(id)
    }

    pub fn visit(&mut self, id: &str) -> Option<Visit<'_>> {
        let Sessions { all, due_ms } = self;
        all.get_mut(id).map(|session| Visit { session, due_ms })
    }

    /// Those of a transaction. One that a failed transaction had made is no longer there, and waits for nothing.
    pub fn visit_those(&mut self, ids: &[SessionId], mut visit: impl FnMut(&mut Session)) {
        for id in ids {
            if let Some(mut session) = self.visit(id) {
                visit(&mut session);
            }
        }
    }

    /// Nothing of a transaction is on disk: its sessions are as they were before, and those that it made are not there.
    pub fn roll_back(&mut self, ids: &[SessionId]) {
        for id in ids {
            if self.visit(id).is_some_and(|mut session| !session.on_drop()) {
                self.all.remove(id);
            }
        }
    }

    /// All of them; any may be due at once then.
    pub fn visit_all(&mut self) -> impl Iterator<Item = &mut Session> {
        self.due_ms = 0;
        self.all.values_mut()
    }

    pub fn insert(&mut self, session: Session) {
        self.all.insert(session.id().to_owned(), session);
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn values(&self) -> impl Iterator<Item = &Session> {
        self.all.values()
    }

    /// The session after this one that is chosen, going round.
    pub fn next_after(&self, id: &str, chosen: impl Fn(&Session) -> bool) -> Option<&Session> {
        let next = self.values().find(|session| session.id() > id && chosen(session));
        next.or_else(|| self.values().find(|session| chosen(session)))
    }

    /// No session is due before this.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// Every session that was due has been visited.
    pub fn set_due(&mut self, due_ms: u64) {
        self.due_ms = due_ms;
    }
}
