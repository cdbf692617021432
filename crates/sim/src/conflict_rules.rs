//! Conflicts and winners, found anew from the log by their definition (I12).

use solconnect_sync_core::client::{MessageView, SessionRecord};
use solconnect_sync_core::conflict::{Conflict, ConflictKind, Strategy};
use solconnect_sync_core::message::Entry;

use crate::checker::Checker;
use crate::ledger::Log;
use crate::world::TabId;

/// Of these entries, in their order, the versions of a message by its author that no later one ends, the winner first.
pub fn open_versions<'a>(entries: impl Iterator<Item = &'a Entry>, target: &str, author: &str, strategy: Strategy) -> Vec<&'a Entry> {
    let versions = entries.filter(|entry| entry.message.replaces.as_deref() == Some(target) && entry.message.sender_wallet == author);
    let versions: Vec<&Entry> = versions.collect();
    let knows = |one: &Entry, other: &Entry| other.vector_clock.iter().all(|(device, counter)| one.vector_clock.get(device) >= counter);
    let ends = |one: &Entry, later: &Entry| knows(later, one) || knows(one, later) || one.original_device_id == later.original_device_id;
    let superseded = |place: usize| versions[place + 1..].iter().any(|later| ends(versions[place], later));
    let rank = |place: usize| {
        let version = versions[place];
        let sum: u64 = version.vector_clock.iter().map(|(_, counter)| counter).sum();
        let time_ms = version.message.timestamp.ms();
        let (first, second) = if strategy == Strategy::Latest { (time_ms, sum) } else { (sum, time_ms) };
        // Only a hostile device has two versions that tie in all of this: then the later one goes before.
        (first, second, version.original_device_id.clone(), place)
    };
    let mut open: Vec<usize> = (0..versions.len()).filter(|place| !superseded(*place)).collect();
    open.sort_by_key(|place| std::cmp::Reverse(rank(*place)));
    open.into_iter().map(|place| versions[place]).collect()
}

/// The first `through` entries of a log.
fn prefix(log: &Log, through: u64) -> impl Iterator<Item = &Entry> {
    log.entries().iter().take_while(move |entry| entry.sequence_number <= through)
}

impl Checker {
    /// A tab reports a conflict.
    pub(crate) fn conflict(&mut self, tab: TabId, session_id: &str, conflict: &Conflict) {
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        let strategy = self.profiles[view.profile].strategy;
        let sequence = conflict.sequence_number;
        let log = self.ledger.log(session_id);
        let Some(entry) = log.entry(sequence) else {
            return self.violate(12, format!("tab {tab} reports a conflict at {sequence} of {session_id}, which is not in the log"));
        };
        match conflict.kind {
            ConflictKind::ConcurrentMessages => {
                view.untold.remove(&(session_id.to_owned(), sequence));
                let expected = log.unknown_to(entry);
                let told = conflict.concurrent_with.iter().map(|range| (range.device_id.clone(), range.from, range.to));
                let agrees = told.eq(expected.iter().cloned());
                self.require_where(12, !self.set_back, agrees, || {
                    format!("entry {sequence} is said to conflict with {:?}, it does with {expected:?}", conflict.concurrent_with)
                });
            }
            ConflictKind::ConcurrentVersions => {
                let author = entry.message.sender_wallet.clone();
                let open = open_versions(prefix(log, sequence), &conflict.message_id, &author, strategy);
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
    pub fn shown(&mut self, tab: TabId, session: &SessionRecord, shown: &[MessageView], from: u64, unsent: &[&Entry]) {
        let Some(view) = self.tabs.get(&tab) else { return };
        let SessionRecord { session_id, cursor, wallet, peer_wallet, .. } = session;
        let cursor = *cursor;
        let strategy = self.profiles[view.profile].strategy;
        let log = self.ledger.log(session_id);
        let entries = log.entries().iter().filter(|entry| (from..=cursor).contains(&entry.sequence_number));
        let expected = entries.filter(|entry| entry.message.replaces.is_none());
        let (mut wrong, mut wrong_versions) = (None, None);
        let (mut count, mut versioned) = (0, 0);
        for (entry, view) in expected.zip(shown.iter().map(Some).chain(std::iter::repeat(None))) {
            count += 1;
            let author = &entry.message.sender_wallet;
            let mut versions = open_versions(prefix(log, cursor).chain(unsent.iter().copied()), &entry.message.id, author, strategy);
            if ![wallet, peer_wallet].contains(&author) {
                // Who has no part in the session cannot change what stands there.
                versions.clear();
            }
            let text = match versions.first() {
                Some(winner) if winner.message.deleted => "",
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
            if !agrees && wrong.is_none() {
                wrong = Some((entry.sequence_number, text.to_owned(), view.map(|view| (view.id.clone(), view.text.clone()))));
            }
        }
        let same = wrong.is_none() && count == shown.len();
        self.require_where(9, !self.set_back, same, || format!("tab {tab} shows another list of {session_id} than its log: {wrong:?}"));
        let wrong_versions = wrong_versions.filter(|_| !self.set_back);
        self.require_none(12, versioned, wrong_versions, |at| {
            format!("tab {tab} shows other versions of {at} of {session_id} than its log")
        });
    }
}
