//! What must be so once faults have stopped for long enough.

use solconnect_sync_core::client::{ConnectionState, SessionRecord};
use solconnect_sync_core::group::Group;

use crate::checker::e;
use crate::client_disk::ClientDisk;
use crate::encryption::Encryption;
use crate::ledger::Fate;
use crate::signers::session_of;
use crate::world::World;

/// Within so much virtual time after the last fault everything must have converged.
pub const CONVERGE_MS_MAX: u64 = 240_000;

impl World {
    /// Who is not where it should be: the invariant, and what is wrong; `None` when all have converged.
    pub fn unsettled(&self) -> Option<(u8, String)> {
        for (index, profile) in self.profiles.iter().enumerate() {
            if let Some(unsettled) = self.pages_unsettled(index) {
                return Some(unsettled);
            }
            let tab = profile.tab.and_then(|tab| self.tabs.get(&tab));
            let Some(tab) = tab else { return Some((27, format!("profile {index} has no tab"))) };
            let state = tab.client.connection();
            if state != ConnectionState::Connected {
                return Some((27, format!("profile {index} is {state:?}")));
            }
            let state = profile.disk.state();
            let unsent = state.records.sessions.keys().flat_map(|id| state.unsent(id)).count();
            if unsent > 0 {
                return Some((25, format!("profile {index} still has {unsent} unsent entries")));
            }
            for peer in &profile.peers {
                let session_id = session_of(profile.wallet, peer, self.checker.encrypts);
                let session = profile.disk.state().records.sessions.get(&session_id);
                if session.is_none() && profile.shy {
                    let tab = profile.tab.unwrap_or_default();
                    match self.checker.invitation_missed(index, tab, &session_id, &profile.disk) {
                        Some(what) => return Some((32, what)),
                        None => continue,
                    }
                }
                let head = self.checker.ledger.log(&session_id).head();
                let cursor = profile.disk.state().cursor(&session_id);
                if cursor != head && session.is_none_or(|session| session.open) {
                    return Some((26, format!("profile {index} is at {cursor} of {session_id}, the log ends at {head}")));
                }
            }
        }
        self.devices_unsettled()
            .or_else(|| self.numbers_unsettled())
            .or_else(|| self.groups_unsettled())
            .or_else(|| self.readers_unsettled())
            .or_else(|| self.checker.unanswered().map(|call| (30, call)))
    }

    /// Everything has converged, or should have: the whole of it is looked at.
    pub fn judge(&mut self) {
        let unsettled = self.unsettled();
        let of_readers: &[u8] = match self.encryption {
            Some(Encryption { dishonest: Some(_), .. }) => &[e(8), e(10), e(12)],
            Some(_) => &[e(8), e(12)],
            None => &[],
        };
        for invariant in [9, 16, 23, 25, 26, 27, 30, 31, 32].iter().chain(of_readers).copied() {
            let broken = unsettled.as_ref().filter(|(broken, _)| *broken == invariant).map(|(_, what)| what.clone());
            self.checker.require(invariant, broken.is_none(), || {
                format!("{} s after the last fault {}", CONVERGE_MS_MAX / 1_000, broken.unwrap_or_default())
            });
        }
        self.compare_heads();
        self.judge_honest();
        self.judge_secrets();
        self.search_journal();
        for number in 0..self.checker.ledger.sent.len() {
            let sent = &self.checker.ledger.sent[number];
            let (accepted, logged) = (sent.fate == Fate::Accepted, !sent.places.is_empty());
            let session_id = sent.session_id.clone();
            self.checker.require_where(2, accepted && !self.checker.set_back, logged, || {
                format!("s{number} was accepted and is not in the log of {session_id}")
            });
            let sent = &self.checker.ledger.sent[number];
            let (places, is_once) = (sent.places.len(), self.checker.encrypts && accepted && !sent.forgotten);
            self.checker
                .require_where(e(1), is_once, places == 1, || format!("s{number} is encrypted {places} times in the log of {session_id}"));
        }
        let tabs: Vec<u64> = self.tabs.keys().copied().collect();
        for tab in tabs {
            self.look(tab);
        }
        let pages: Vec<u64> = self.pages.keys().copied().collect();
        for page in pages {
            self.look_at_page(page);
        }
    }

    /// The relay was set back, and may have grown since: who has stored anything that it has not, or has otherwise, says so
    /// and keeps what it has (I19).
    pub fn judge_set_back(&mut self, before: &[ClientDisk]) {
        for (index, before) in before.iter().enumerate() {
            let state = self.profiles[index].disk.state();
            let is_other = |session_id: &String, session: &SessionRecord| {
                let rows = self.relay.journal().sessions().get(session_id).map(|rows| rows.entries.as_slice()).unwrap_or_default();
                let Some(last) = session.log.end().checked_sub(1) else { return false };
                usize::try_from(last).ok().and_then(|last| rows.get(last)).is_none_or(|row| row.log_hash != session.log.hash())
            };
            let sessions = before.state().records.sessions.iter();
            let others: Vec<(&String, &SessionRecord)> = sessions.filter(|(id, session)| is_other(id, session)).collect();
            let account_is_other = self.account_is_other(index);
            let told = self.profiles[index].tab.is_some_and(|tab| self.checker.has_told_of_set_back(tab));
            // What the relay had acknowledged before may be stored only now.
            let kept = others.iter().all(|(id, _)| state.entries(id).starts_with(&before.state().entries(id)));
            // A session that has ended takes no part, and hears nothing of the relay's log. Of a group whose first entry is gone nobody is a
            // member: that is what its devices say then.
            let is_gone = |id: &String| self.relay.journal().sessions().get(id).is_none_or(|rows| rows.entries.is_empty());
            // The log was set back to where its wallet was not in the group: it hears that alone.
            let wallet = self.profiles[index].wallet;
            let is_out = |id: &String| {
                let mut group = Group::named(id, "");
                let rows = self.relay.journal().sessions().get(id).map(|rows| rows.entries.as_slice()).unwrap_or_default();
                // What does not count changes nothing.
                rows.iter().flat_map(|row| row.body.entries().unwrap_or_default()).for_each(|entry| drop(group.take(&entry)));
                group.member(wallet).is_none()
            };
            let is_of_members = |id: &String| is_gone(id) || is_out(id);
            let hears = |(id, session): &&(&String, &SessionRecord)| session.open && !(session.group.is_some() && is_of_members(id));
            let heard: Vec<&String> = others.iter().filter(hears).map(|(id, _)| *id).collect();
            let some = !heard.is_empty() || account_is_other;
            // Who was removed from a group is a member again by a log that was set back: its devices follow it again, and find out.
            let is_in_again = others.iter().any(|(_, session)| session.group.is_some() && !session.open);
            let may_tell = some || is_in_again || self.knows_other_account(index);
            self.checker.require(19, told == some || (told && may_tell), || match some {
                true => format!("the relay has another log than profile {index}, which does not say so: {heard:?}"),
                false => format!("profile {index} says that the relay was set back, and the relay has all that it has"),
            });
            self.checker.require_where(19, !others.is_empty(), kept, || {
                format!("profile {index} has changed its log because the relay was set back")
            });
        }
    }

    fn compare_heads(&mut self) {
        for (session_id, rows) in self.relay.journal().sessions() {
            let (head, stored) = (self.checker.ledger.log(session_id).head(), rows.entries.len() as u64);
            self.checker.require(1, head == stored, || format!("{head} entries of {session_id} were in the log, {stored} are"));
        }
    }
}
