//! The list that an application keeps of a tab's sessions: read once, and kept by what the tab tells who observes.

use std::collections::BTreeMap;

use solconnect_sync_core::client::{Change, Client, MessageStatus, MessageView, SessionView};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::ReceiptStatus;
use solconnect_sync_core::ids::{MessageId, SessionId};
use solconnect_sync_core::vector_clock::VectorClock;

use crate::client_disk::State;

/// What one session shows.
#[derive(Default, Debug, Clone)]
pub struct List {
    /// By their places.
    logged: BTreeMap<u64, MessageView>,
    /// In their order.
    unsent: Vec<MessageView>,
    /// What those say, by their ids: another message of the wallet may have the id, until the relay refuses one of them.
    said: BTreeMap<MessageId, Entry>,
}

/// What is shown of every session, read or kept.
#[derive(Default, Debug, Clone)]
pub struct Lists(pub BTreeMap<SessionId, List>);

/// The clocks are left out: a list may have them less exactly than who reads the log, which is said where they are shown.
fn without_clock(view: MessageView) -> MessageView {
    MessageView { vector_clock: VectorClock::default(), ..view }
}

fn show(client: &Client, session_id: &str, entry: &Entry) -> Option<MessageView> {
    client.show(session_id, vec![(entry.clone(), None)], false).pop().map(without_clock)
}

impl Lists {
    /// All that a tab shows now, over what is stored.
    pub fn read(client: &Client, state: &State) -> Lists {
        let shown = |SessionView { session_id, .. }: SessionView| {
            let logged = state.entries(&session_id).into_iter().map(|entry| (entry, None)).collect();
            let logged = client.show(&session_id, logged, false).into_iter().map(without_clock);
            let unsent = client.show(&session_id, Vec::new(), true).into_iter().map(without_clock);
            let logged = logged.map(|view| (view.sequence_number.unwrap_or(0), view)).collect();
            let said = client.unsent(&session_id).into_iter().map(|entry| (entry.message.id.clone(), entry.clone())).collect();
            (session_id, List { logged, unsent: unsent.collect(), said })
        };
        Lists(client.stored_sessions().into_iter().map(shown).collect())
    }

    /// Takes in a change. What has to be read again is read of what is stored.
    pub fn take(&mut self, change: &Change, client: &Client, state: &State) {
        match change {
            Change::Message { session_id, entry } => {
                let Some(view) = show(client, session_id, entry) else { return };
                let list = self.0.entry(session_id.clone()).or_default();
                let known = list.unsent.iter().position(|other| other.id == view.id);
                match (view.sequence_number, known) {
                    (Some(sequence), known) => {
                        let is_it = list.said.get(&view.id).is_some_and(|said| said.says_the_same(entry));
                        known.filter(|_| is_it).map(|place| list.unsent.remove(place));
                        list.logged.insert(sequence, view);
                        return;
                    }
                    (None, Some(place)) => list.unsent[place] = view,
                    (None, None) => {
                        let failed = list.unsent.iter().filter(|other| other.status == MessageStatus::Failed).count();
                        let place = if view.status == MessageStatus::Failed { failed } else { list.unsent.len() };
                        list.unsent.insert(place, view);
                    }
                }
                list.said.insert(entry.message.id.clone(), Entry::clone(entry));
            }
            Change::Stale { session_id, message_id } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                if list.logged.values().any(|view| view.id == *message_id) {
                    for entry in state.entries(session_id).iter().filter(|entry| entry.message.id == *message_id) {
                        list.logged.extend(show(client, session_id, entry).map(|view| (entry.sequence_number, view)));
                    }
                }
                let unsent = client.show(session_id, Vec::new(), true).into_iter().map(without_clock);
                for view in unsent.filter(|view| view.id == *message_id) {
                    list.unsent.iter_mut().filter(|other| other.id == view.id).for_each(|other| *other = view.clone());
                }
            }
            Change::Status { session_id, message_id, status, .. } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                list.unsent.iter_mut().filter(|view| view.id == *message_id).for_each(|view| view.status = *status);
            }
            Change::Receipt { session_id, wallet, status, through } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                let reached = if *status == ReceiptStatus::Read { MessageStatus::Read } else { MessageStatus::Delivered };
                let others = list.logged.range_mut(..=through).filter(|(_, view)| view.sender_wallet != *wallet);
                others.for_each(|(_, view)| view.status = view.status.max(reached));
            }
            Change::Removed { session_id, message_id } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                list.unsent.retain(|view| view.id != *message_id);
            }
            Change::Cleared { session_id } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                list.logged.clear();
            }
            Change::Missed => *self = Lists::read(client, state),
            // Or only an invitation to it is stored.
            Change::Session { session_id } => {
                if client.stored_sessions().iter().any(|session| session.session_id == *session_id) {
                    self.0.entry(session_id.clone()).or_default();
                }
            }
        }
    }

    /// The first session of which the two show something else, and what.
    pub fn difference(&self, other: &Lists) -> Option<String> {
        let ids = self.0.keys().chain(other.0.keys());
        let other_list = ids.map(|id| (id, self.0.get(id), other.0.get(id))).find(|(_, one, other)| {
            let shown = |list: &Option<&List>| list.map(|list| (list.logged.clone(), list.unsent.clone()));
            shown(one) != shown(other)
        });
        let (id, Some(one), Some(other)) = other_list? else { return Some("one has a session that the other has not".into()) };
        let views = one.logged.values().chain(&one.unsent);
        let others = other.logged.values().chain(&other.unsent);
        let first = views.map(Some).chain(std::iter::repeat(None)).zip(others.map(Some).chain(std::iter::repeat(None)));
        let count = (one.logged.len() + one.unsent.len()).max(other.logged.len() + other.unsent.len());
        let first = first.take(count).find(|(one, other)| one != other);
        Some(format!("{id}: {first:?}"))
    }
}
