//! What devices tell their applications: events, and how far messages are.

use std::collections::BTreeSet;

use solconnect_sync_core::client::{ConnectionState, Event, MessageStatus, MessageView};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::ids::is_sealed_id;

use crate::checker::{CallKind, Checker, Loss, Mark, Sync};
use crate::client_disk::ClientDisk;
use crate::ledger::{Fate, number_of};
use crate::world::{ProfileId, TabId};

impl Checker {
    /// A tab tells its application something.
    pub fn told(&mut self, tab: TabId, event: &Event, disk: &ClientDisk) {
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        match event {
            Event::MessageReceived { session_id, entry: told } => {
                let sequence = told.sequence_number;
                let key = (session_id.clone(), sequence);
                let skipped = view.unheard.range((session_id.clone(), 0)..key.clone()).next().cloned();
                view.heard.insert(key.clone());
                // What was unread before the store was lost may be in two of them.
                let (may_be_told, is_late) = (view.tellable.remove(&key), view.read_late.remove(&key));
                let due = view.unheard.remove(&key) && skipped.is_none() || may_be_told || is_late;
                let stands = self.ledger.log(session_id).entry(sequence).is_some_and(|entry| entry.message.id == told.message.id);
                self.shows_its_author(tab, session_id, told);
                self.require(6, due, || {
                    let before = skipped.map_or_else(String::new, |(_, place)| format!(", before {place}"));
                    format!("tab {tab} tells of {sequence} of {session_id} again, too early or out of order{before}")
                });
                self.require_where(9, !self.set_back, stands, || {
                    format!("tab {tab} tells of {} at {sequence}, where another stands", told.message.id)
                });
            }
            Event::StatusChanged { session_id, message_id, status, error } => {
                // Of what waits when its wallet leaves a group, messages are kept as failed, and edits and deletions are told of alone.
                let has_left = error.as_ref().is_some_and(|error| error.code == ErrorCode::MemberRemoved);
                let is_kept = view.kept_failed.contains(message_id);
                view.told_failed += usize::from(*status == MessageStatus::Failed && (!has_left || is_kept));
                self.status(tab, session_id, message_id, *status, true);
            }
            Event::DeviceReplaced { new_id, .. } => {
                let known = view.lost_store.is_none();
                let stored = disk.state().device_id() == new_id;
                self.require_where(21, known, stored, || format!("tab {tab} goes on as {new_id}, which is not stored"));
            }
            Event::MessageSynced { session_id, message_id } => {
                let logged = self.is_logged(session_id, message_id);
                self.require_where(21, !self.set_back, logged, || format!("{message_id} is said to be synced, and is not in the log"));
            }
            Event::SyncStarted { session_id } => {
                let head = self.ledger.log(session_id).head();
                view.syncs.insert(session_id.clone(), Sync { progress: None, head });
            }
            Event::SyncProgress { session_id, messages_synced, total_messages } => {
                let (synced, total) = (*messages_synced, *total_messages);
                let Some(sync) = view.syncs.get_mut(session_id) else {
                    return self.violate(14, format!("progress of {session_id} without a sync"));
                };
                let before = sync.progress.replace((synced, total)).map_or(0, |(synced, _)| synced);
                if synced == total {
                    view.whole.insert(session_id.clone());
                }
                self.require(14, synced >= before && synced <= total, || {
                    format!("progress of {session_id}: {before}, then {synced} of {total}")
                });
            }
            Event::SyncFailed { session_id, .. } => {
                view.syncs.remove(session_id);
                view.whole.remove(session_id);
            }
            Event::SyncCompleted { session_id, stats } => {
                view.whole.remove(session_id);
                let Some(sync) = view.syncs.remove(session_id) else {
                    return self.violate(14, format!("{session_id} is complete without a sync"));
                };
                let known = !view.disk_ahead && view.lost_store.is_none();
                let deleted = view.lost_store.is_some_and(|lost| lost.loss != Loss::Claimed);
                let cursor = disk.state().cursor(session_id);
                let at_end = sync.progress.is_none_or(|(synced, total)| synced == total);
                self.require_where(14, sync.progress.is_some(), at_end, || format!("a sync of {session_id} ends at {:?}", sync.progress));
                self.require_where(14, !self.set_back && !deleted, cursor >= sync.head, || {
                    format!("a sync of {session_id} is complete at {cursor}; the log ended at {} when it began", sync.head)
                });
                let stored = disk.state().unsent(session_id).filter(|entry| entry.message.kind.has_status()).count() as u64;
                self.require_where(13, known, stats.pending_messages == stored, || {
                    format!("{} messages of {session_id} are said to be queued, {stored} are stored", stats.pending_messages)
                });
            }
            Event::ConflictDetected { session_id, conflicts } => {
                for conflict in conflicts {
                    self.conflict(tab, session_id, conflict);
                }
            }
            Event::ConnectionChanged { state } => {
                let (fenced, offline) = (view.fenced, *state == ConnectionState::Offline);
                self.require_where(23, fenced, offline, || format!("tab {tab} becomes {state:?} though it is fenced"));
            }
            Event::Warning { .. } if self.profiles[view.profile].keeps_no_rules => {}
            Event::Warning { error } if [ErrorCode::EntryForged, ErrorCode::RelayMisbehaved].contains(&error.code) => {
                self.accuses(tab, error);
                // Where a relay has the account's log whole, it shows a device its removal before it says that there was one.
                let (text, is_shown) = (error.to_string(), !error.message.contains("does not show the entry that removes it"));
                self.require_where(18, !self.relay_lies && !self.set_back, is_shown, || {
                    format!("tab {tab} says of an honest relay: {text}")
                });
            }
            Event::Warning { error } if [ErrorCode::RelayRolledBack, ErrorCode::RelayForked].contains(&error.code) => {
                view.rolled_back = true;
                self.accuses(tab, error);
                if error.code == ErrorCode::RelayForked {
                    self.mark(Mark::Forked);
                }
                let text = error.to_string();
                self.require(19, self.set_back, || format!("tab {tab} says of a relay that was not set back: {text}"));
            }
            Event::SessionInvited { session_id, .. } => self.told_invitation(tab, session_id, disk),
            Event::StorageLost { lost } => self.told_lost(tab, lost),
            Event::DeviceApproved { .. } => self.mark(Mark::Approved),
            Event::DeviceNumber { device } if device.number.is_some() => self.mark(Mark::ShowedNumber),
            Event::SignInNeeded { error: Some(error) } if error.code == ErrorCode::DeviceRemoved => self.mark(Mark::Removed),
            Event::QueueChanged { queued_message_count } => {
                view.told_queue = *queued_message_count;
                let mut pending = self.profiles[view.profile].pending.difference(&self.cancelled);
                if *queued_message_count == 0 && pending.next().is_none() {
                    // Of a database that is given up: what waited stood for messages that had failed, and is no message to be told of.
                    view.lost_store.iter_mut().for_each(|store| store.unsent_count = 0);
                }
            }
            _ => {}
        }
    }

    /// Nobody keeps these messages any more: they are all that the tab remembered of a database that was deleted.
    fn told_lost(&mut self, tab: TabId, lost: &[MessageView]) {
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        view.lost_store.iter_mut().for_each(|store| store.unsent_count = 0);
        let profile = view.profile;
        let told: BTreeSet<u64> = lost.iter().filter_map(|message| number_of(&message.text)).collect();
        let pending = std::mem::take(&mut self.profiles[profile].pending);
        let untold = pending.difference(&self.cancelled).copied().find(|number| !told.contains(number) && self.is_unsent(*number));
        self.require_none(2, pending.len(), untold, |number| {
            format!("s{number} is in no store any more, and tab {tab} does not tell its application")
        });
        for number in pending {
            self.ledger.sent[number as usize].fate = Fate::Excused;
        }
        self.mark(Mark::ToldLost);
    }

    fn is_logged(&self, session_id: &str, message_id: &str) -> bool {
        self.ledger.log(session_id).place_of_id(message_id).is_some()
    }

    /// How far a message is said to be, in an event or in a list.
    pub(crate) fn status(&mut self, tab: TabId, session_id: &str, message_id: &str, status: MessageStatus, told: bool) {
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        if status == MessageStatus::Failed {
            // Only own messages fail, so that it is known which one is meant.
            let profile = view.profile;
            if let Some(number) = self.profiles[profile].ids.get(message_id).copied() {
                self.has_failed(profile, number);
            }
        }
        let Some(view) = self.tabs.get_mut(&tab) else { return };
        if self.ledger.log(session_id).place_of_id(message_id) == Some(0) {
            // A hostile member has given its message the id of another: which of them is meant is not known.
            return;
        }
        let log = self.ledger.log(session_id);
        let entry = log.place_of_id(message_id).and_then(|place| log.entry(place));
        // Or a hostile member has given its message the id that a device was about to give.
        let is_contested =
            self.ledger.contested.contains(message_id) || entry.is_some_and(|entry| !self.device_ids.contains(&entry.device_id));
        let before = view.statuses.get(session_id).and_then(|statuses| statuses.get(message_id)).copied();
        if told {
            view.statuses.entry(session_id.to_owned()).or_default().insert(message_id.to_owned(), status);
        }
        // Who was removed from a group before it heard that the relay had taken a message finds it in the log when it is in again; and
        // who could not read what stands in an encrypted log under a message's name, when it can.
        let is_found = before == Some(MessageStatus::Failed) && (self.groups.contains_key(session_id) || is_sealed_id(session_id));
        let back = is_found || (before, status) == (Some(MessageStatus::Sending), MessageStatus::Queued);
        self.require_where(15, before.is_some() && !is_contested, before.is_some_and(|before| before <= status) || back, || {
            format!("tab {tab}: {message_id} goes from {before:?} to {status:?}")
        });
        if (MessageStatus::Sent..MessageStatus::Failed).contains(&status) {
            let logged = self.is_logged(session_id, message_id);
            self.require_where(15, !self.set_back, logged, || format!("{message_id} is said to be {status:?}, and is not in the log"));
            if status > MessageStatus::Sent && !self.lies && !self.set_back {
                self.check_receipt(session_id, message_id, status);
            }
        }
    }

    /// A message of a profile was refused for good.
    pub(crate) fn has_failed(&mut self, profile: ProfileId, number: u64) {
        self.profiles[profile].pending.remove(&number);
        self.ledger.sent[number as usize].fate = Fate::Refused;
        // Sent again it is another message, which syncs that wait already do not wait for.
        for call in self.calls.values_mut() {
            if let CallKind::Sync(targets) = &mut call.kind {
                targets.iter_mut().for_each(|(_, unsent, _)| unsent.retain(|other| *other != number));
            }
        }
    }

    /// A receipt says that another wallet has the message: it has.
    fn check_receipt(&mut self, session_id: &str, message_id: &str, status: MessageStatus) {
        let log = self.ledger.log(session_id);
        let Some(entry) = log.place_of_id(message_id).and_then(|place| log.entry(place)) else { return };
        let (sequence, sender) = (entry.sequence_number, &entry.message.sender_wallet);
        let others = self.delivered.iter().filter(|((id, wallet), _)| id == session_id && wallet != sender);
        let reached = others.map(|(_, (delivered, read))| if status == MessageStatus::Read { *read } else { *delivered }).max();
        self.require(15, reached.unwrap_or(0) >= sequence, || {
            format!("{message_id} at {sequence} is said to be {status:?}, others are at {reached:?}")
        });
    }
}
