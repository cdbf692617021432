//! The list that an application keeps of a tab's sessions: read once, and kept by what the tab tells who observes.

use std::collections::BTreeMap;

use solconnect_sync_core::client::{Change, Client, MessageStatus, MessageView, SessionKind, SessionView};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::ReceiptStatus;
use solconnect_sync_core::ids::{MessageId, SessionId, WalletAddress};
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

fn without_readers(logged: &BTreeMap<u64, MessageView>) -> Vec<MessageView> {
    logged.values().map(|view| MessageView { read_by: None, ..view.clone() }).collect()
}

/// Whether a list names all readers that another one names. Who has left the group since may still be among them.
fn has_readers(list: &List, other: &List) -> bool {
    let names = |list: &List, sequence: u64| list.logged.get(&sequence).and_then(|view| view.read_by.clone()).unwrap_or_default();
    other.logged.keys().all(|sequence| names(other, *sequence).iter().all(|reader| names(list, *sequence).contains(reader)))
}

fn show(client: &Client, session_id: &str, entry: &Entry) -> Option<MessageView> {
    client.show(session_id, vec![(entry.clone(), None)], false).pop().map(without_clock)
}

/// A change with what the tab that tells of it shows then: what other pages of its profile are told.
pub enum Update {
    /// A message.
    Message {
        /// Its session.
        session_id: SessionId,
        /// It.
        entry: Box<Entry>,
        /// As it is shown.
        view: Box<MessageView>,
    },
    /// A message shows another text.
    Shown {
        /// Its session.
        session_id: SessionId,
        /// Its id.
        message_id: MessageId,
        /// Those of the id in the log.
        logged: Vec<MessageView>,
        /// Those that wait.
        unsent: Vec<MessageView>,
    },
    /// Everything.
    All(Lists),
    /// There is such a session.
    Session {
        /// Its id.
        session_id: SessionId,
    },
    /// How far a wallet is.
    Receipt {
        /// Its session.
        session_id: SessionId,
        /// Whose lists these are.
        own: WalletAddress,
        /// It is a group.
        is_group: bool,
        /// The wallet.
        wallet: WalletAddress,
        /// Whether it has read, or only has.
        status: ReceiptStatus,
        /// Up to where.
        through: u64,
        /// Up to where all others are.
        all_through: u64,
    },
    /// What says all that it means.
    Change(Change),
}

impl Update {
    /// What a change says, over what is stored; `None` where that is nothing.
    pub fn of(change: &Change, client: &Client, state: &State) -> Option<Update> {
        Some(match change {
            Change::Message { session_id, entry } => {
                let view = Box::new(show(client, session_id, entry)?);
                Update::Message { session_id: session_id.clone(), entry: entry.clone(), view }
            }
            Change::Stale { session_id, message_id } => {
                let is_it = |view: &MessageView| view.id == *message_id;
                let entries = state.entries(session_id).into_iter().filter(|entry| entry.message.id == *message_id);
                let logged = entries.filter_map(|entry| show(client, session_id, &entry)).collect();
                let unsent = client.show(session_id, Vec::new(), true).into_iter().map(without_clock).filter(is_it).collect();
                Update::Shown { session_id: session_id.clone(), message_id: message_id.clone(), logged, unsent }
            }
            Change::Missed => Update::All(Lists::read(client, state)),
            // Or only an invitation to it is stored.
            Change::Session { session_id } => {
                client.stored_sessions().iter().find(|session| session.session_id == *session_id)?;
                Update::Session { session_id: session_id.clone() }
            }
            Change::Receipt { session_id, wallet, status, through, all_through } => {
                let view = client.session(session_id)?;
                let (session_id, own, is_group) = (session_id.clone(), view.wallet, view.kind == SessionKind::Group);
                let (wallet, status, through, all_through) = (wallet.clone(), *status, *through, *all_through);
                Update::Receipt { session_id, own, is_group, wallet, status, through, all_through }
            }
            Change::Status { .. } | Change::Removed { .. } | Change::Cleared { .. } => Update::Change(change.clone()),
        })
    }
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
        if let Some(update) = Update::of(change, client, state) {
            self.apply(&update);
        }
    }

    /// Takes in what a change says.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Message { session_id, entry, view } => {
                let list = self.0.entry(session_id.clone()).or_default();
                let known = list.unsent.iter().position(|other| other.id == view.id);
                match (view.sequence_number, known) {
                    (Some(sequence), known) => {
                        let is_it = list.said.get(&view.id).is_some_and(|said| said.says_the_same(entry));
                        known.filter(|_| is_it).map(|place| list.unsent.remove(place));
                        list.logged.insert(sequence, MessageView::clone(view));
                        return;
                    }
                    (None, Some(place)) => list.unsent[place] = MessageView::clone(view),
                    (None, None) => {
                        let failed = list.unsent.iter().filter(|other| other.status == MessageStatus::Failed).count();
                        let place = if view.status == MessageStatus::Failed { failed } else { list.unsent.len() };
                        list.unsent.insert(place, MessageView::clone(view));
                    }
                }
                list.said.insert(entry.message.id.clone(), Entry::clone(entry));
            }
            Update::Shown { session_id, message_id, logged, unsent } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                if list.logged.values().any(|view| view.id == *message_id) {
                    list.logged.extend(logged.iter().map(|view| (view.sequence_number.unwrap_or(0), view.clone())));
                }
                for view in unsent {
                    list.unsent.iter_mut().filter(|other| other.id == view.id).for_each(|other| *other = view.clone());
                }
            }
            Update::All(lists) => *self = lists.clone(),
            Update::Session { session_id } => drop(self.0.entry(session_id.clone()).or_default()),
            Update::Receipt { session_id, own, is_group, wallet, status, through, all_through } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                let is_read = *status == ReceiptStatus::Read;
                let reached = if is_read { MessageStatus::Read } else { MessageStatus::Delivered };
                for (sequence, view) in &mut list.logged {
                    // In a group an own message is as far as all others are, another one as far as this wallet is.
                    let is_own = view.sender_wallet == *own;
                    let end = if *is_group && is_own { all_through } else { through };
                    let counts = if *is_group { is_own || wallet == own } else { view.sender_wallet != *wallet };
                    if counts && sequence <= end {
                        view.status = view.status.max(reached);
                    }
                    if let Some(read_by) = view.read_by.as_mut().filter(|_| is_read && wallet != own && sequence <= through)
                        && !read_by.contains(wallet)
                    {
                        read_by.push(wallet.clone());
                    }
                }
            }
            Update::Change(change) => self.change(change),
        }
    }

    /// Takes in a change that says all that it means.
    fn change(&mut self, change: &Change) {
        match change {
            Change::Status { session_id, message_id, status, .. } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                list.unsent.iter_mut().filter(|view| view.id == *message_id).for_each(|view| view.status = *status);
            }
            Change::Removed { session_id, message_id } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                list.unsent.retain(|view| view.id != *message_id);
            }
            Change::Cleared { session_id } => {
                let Some(list) = self.0.get_mut(session_id) else { return };
                list.logged.clear();
            }
            Change::Message { .. } | Change::Stale { .. } | Change::Receipt { .. } | Change::Missed | Change::Session { .. } => {}
        }
    }

    /// The first session of which the two show something else, and what.
    pub fn difference(&self, other: &Lists) -> Option<String> {
        let ids = self.0.keys().chain(other.0.keys());
        let other_list = ids.map(|id| (id, self.0.get(id), other.0.get(id))).find(|(_, one, other)| {
            let shown = |list: &Option<&List>| list.map(|list| (without_readers(&list.logged), list.unsent.clone()));
            shown(one) != shown(other) || one.zip(*other).is_some_and(|(one, other)| !has_readers(one, other))
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
