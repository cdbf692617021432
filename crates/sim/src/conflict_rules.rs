//! Conflicts, winners and clocks, found anew from the log by their definition (I12).

use std::collections::BTreeSet;

use solconnect_sync_core::client::{MessageView, SessionRecord};
use solconnect_sync_core::conflict::{Conflict, ConflictKind, LogRange, Strategy};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::ids::{DeviceId, MessageId};
use solconnect_sync_core::limits::VERSIONS_MAX;
use solconnect_sync_core::message::Kind;

use crate::checker::Checker;
use crate::world::TabId;

/// Of these versions of a message, in their order, those by its author that no later one ends, the winner first.
pub fn open_versions<'a>(versions: impl Iterator<Item = &'a Entry>, author: &str, strategy: Strategy) -> Vec<&'a Entry> {
    let versions: Vec<&Entry> = versions.filter(|entry| entry.message.sender_wallet == author).collect();
    // Those that are not in the log yet are known to their own device alone.
    let in_log = |entry: &Entry, through: u64| (1..=through).contains(&entry.sequence_number);
    let ends = |one: &Entry, later: &Entry| {
        one.device_id == later.device_id || in_log(one, later.knows) || one.counter <= later.also.get(&one.device_id)
    };
    let superseded = |place: usize| versions[place + 1..].iter().any(|later| ends(versions[place], later));
    let rank = |place: usize| {
        let version = versions[place];
        let (knows, time_ms) = (version.knows, version.message.timestamp.ms());
        let (first, second) = if strategy == Strategy::Latest { (time_ms, knows) } else { (knows, time_ms) };
        (first, second, version.device_id.clone())
    };
    let mut open: Vec<usize> = (0..versions.len()).filter(|place| !superseded(*place)).collect();
    // More than so many are not kept: the first in the log go.
    open.drain(..open.len().saturating_sub(VERSIONS_MAX));
    open.sort_by_key(|place| std::cmp::Reverse(rank(*place)));
    open.into_iter().map(|place| versions[place]).collect()
}

impl Checker {
    /// A tab reports a conflict.
    pub(crate) fn conflict(&mut self, tab: TabId, session_id: &str, conflict: &Conflict) {
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        let profile = view.profile;
        let strategy = self.profiles[profile].strategy;
        let sequence = conflict.sequence_number;
        let log = self.ledger.log(session_id);
        if conflict.kind == ConflictKind::ConcurrentMessages {
            view.untold.remove(&(session_id.to_owned(), sequence));
        }
        let Some(entry) = log.entry(sequence) else {
            // Where the journal was set back, the device still tells of what it has stored.
            return self.require(12, self.set_back, || {
                format!("tab {tab} reports a conflict at {sequence} of {session_id}, which is not in the log")
            });
        };
        match conflict.kind {
            ConflictKind::ConcurrentMessages => {
                let expected = log.unknown_to(entry);
                let told = conflict.concurrent_with.map(|LogRange { from, to }| (from, to));
                let whole = (entry.knows + 1, sequence - 1);
                let named = conflict.conflicting_versions.iter().skip(1).map(|version| (&version.device_id, &version.message.id));
                let is_meant = |(device, id): (&DeviceId, &MessageId)| {
                    expected
                        .iter()
                        .any(|place| log.entry(*place).is_some_and(|other| (&other.device_id, &other.message.id) == (device, id)))
                };
                let agrees = !expected.is_empty() && told == Some(whole) && named.clone().all(is_meant);
                self.require_where(12, !self.set_back, agrees, || {
                    format!("entry {sequence} is said to conflict with {:?}, it does with {expected:?}", conflict.concurrent_with)
                });
            }
            ConflictKind::ConcurrentVersions => {
                let author = entry.message.sender_wallet.clone();
                let versions = log.versions_of(&conflict.message_id, sequence);
                let read = versions.filter(|entry| !self.is_unread(profile, session_id, entry.sequence_number));
                let open = open_versions(read, &author, strategy);
                let expected: Vec<String> = open.iter().map(|version| version.message.id.clone()).collect();
                let told = conflict.conflicting_versions.iter().map(|version| &version.message.id);
                let agrees = expected.len() >= 2 && told.eq(expected.iter().take(conflict.conflicting_versions.len()));
                let settled = conflict.resolution.is_some() != (strategy == Strategy::Manual);
                self.require_where(12, !self.set_back, agrees && settled, || {
                    format!("versions of {} at {sequence} are told in another order or number than {expected:?}", conflict.message_id)
                });
            }
        }
    }

    /// What a tab shows of a session's log from `from` up to its cursor: the same as the log says, with the new versions
    /// that it has not sent.
    pub fn shown(
        &mut self,
        tab: TabId,
        session: &SessionRecord,
        shown: &[MessageView],
        clocked: &BTreeSet<u64>,
        from: u64,
        unsent: &[&Entry],
    ) {
        let Some(view) = self.tabs.get(&tab) else { return };
        let SessionRecord { session_id, log: stored, wallet, peer_wallet, group, .. } = session;
        let cursor = stored.end();
        let profile = view.profile;
        let strategy = self.profiles[profile].strategy;
        let log = self.ledger.log(session_id);
        let is_read = |entry: &&Entry| !self.is_unread(profile, session_id, entry.sequence_number);
        let entries = log.entries().iter().filter(|entry| (from..=cursor).contains(&entry.sequence_number)).filter(is_read);
        let expected = entries.filter(|entry| entry.message.kind == Kind::MESSAGE);
        let (mut wrong, mut wrong_versions, mut wrong_clock) = (None, None, None);
        let (mut count, mut versioned) = (0, 0);
        for (entry, view) in expected.zip(shown.iter().map(Some).chain(std::iter::repeat(None))) {
            count += 1;
            let author = &entry.message.sender_wallet;
            let id = &entry.message.id;
            let is_version = |unsent: &&Entry| unsent.message.kind.is_version() && unsent.message.replaces.as_ref() == Some(id);
            let all = log.versions_of(id, cursor).filter(is_read).chain(unsent.iter().copied().filter(is_version));
            let mut versions = open_versions(all, author, strategy);
            if group.is_none() && ![wallet, peer_wallet].contains(&author) {
                // Who has no part in the session cannot change what stands there.
                versions.clear();
            }
            let text = match versions.first() {
                Some(winner) if winner.message.kind == Kind::DELETION => "",
                Some(winner) => winner.message.ciphertext.as_str(),
                None => entry.message.ciphertext.as_str(),
            };
            let agrees = view.is_some_and(|view| {
                (&view.id, view.sequence_number, view.text.as_str()) == (&entry.message.id, Some(entry.sequence_number), text)
            });
            let versions_shown: Vec<&String> = view.iter().flat_map(|view| &view.versions).map(|version| &version.id).collect();
            if !versions.is_empty() || !versions_shown.is_empty() {
                versioned += 1;
                let agree = versions_shown.iter().copied().eq(versions.iter().map(|version| &version.message.id));
                wrong_versions = wrong_versions.or((!agree).then_some(entry.sequence_number));
            }
            let clock = view.map(|view| &view.vector_clock);
            let is_clock = clock.is_some_and(|clock| log.clock_of(entry).iter().map(|(id, counter)| (&**id, *counter)).eq(clock.iter()));
            // Of one whose writer knew less than what is stored, only what it says itself.
            let own = entry.also.len() + usize::from(entry.also.get(&entry.device_id) == 0);
            let is_part = !clocked.contains(&entry.sequence_number)
                && clock.is_some_and(|clock| clock.len() == own && clock.get(&entry.device_id) == entry.counter);
            wrong_clock = wrong_clock.or((!is_clock && !is_part).then(|| (entry.sequence_number, clock.cloned())));
            if !agrees && wrong.is_none() {
                wrong = Some((entry.sequence_number, text.to_owned(), view.map(|view| (view.id.clone(), view.text.clone()))));
            }
        }
        let same = wrong.is_none() && count == shown.len();
        self.require_where(9, !self.set_back, same, || format!("tab {tab} shows another list of {session_id} than its log: {wrong:?}"));
        let wrong_clock = wrong_clock.filter(|_| !self.set_back);
        self.require_none(11, count, wrong_clock, |clock| format!("tab {tab} shows another clock of an entry of {session_id}: {clock:?}"));
        let wrong_versions = wrong_versions.filter(|_| !self.set_back);
        self.require_none(12, versioned, wrong_versions, |at| {
            format!("tab {tab} shows other versions of {at} of {session_id} than its log")
        });
    }
}
