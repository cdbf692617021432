//! Groups: who is in one by its log, as the checker reads it, and that nobody else writes, hears or shows anything.

use std::collections::BTreeMap;

use solconnect_sync_core::client::{Answer, Membership, SessionView};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::Body;
use solconnect_sync_core::group::Statement;
use solconnect_sync_core::ids::{SessionId, WalletAddress};
use solconnect_sync_core::message::Kind;

use crate::checker::{Checker, Mark};
use crate::network::ConnectionId;
use crate::signers::{SIGNERS, session_of};
use crate::world::World;

/// A group, by the definition alone and not as the core reads it.
#[derive(Default)]
pub(crate) struct GroupBook {
    /// Its wallets and whether each is an admin, in the order in which they came.
    members: Vec<(WalletAddress, bool)>,
    /// The places of the entries that made them members.
    since: BTreeMap<WalletAddress, u64>,
    /// Those that are out, and the place of the entry that says so.
    out: BTreeMap<WalletAddress, u64>,
}

impl GroupBook {
    fn is_member(&self, wallet: &str) -> bool {
        self.members.iter().any(|(member, _)| member == wallet)
    }

    fn is_admin(&self, wallet: &str) -> bool {
        self.members.iter().any(|(member, is_admin)| member == wallet && *is_admin)
    }

    /// Up to where a wallet may read.
    pub(crate) fn readable(&self, wallet: &str) -> u64 {
        if self.is_member(wallet) { u64::MAX } else { self.out.get(wallet).copied().unwrap_or(0) }
    }

    /// Up to where it is a wallet's invitation: what is written then is none of it.
    pub(crate) fn invites_through(&self, wallet: &str) -> u64 {
        self.since.get(wallet).copied().unwrap_or(0)
    }

    /// Who is in it.
    pub(crate) fn wallets(&self) -> impl Iterator<Item = &WalletAddress> {
        self.members.iter().map(|(wallet, _)| wallet)
    }

    /// Takes the next entry of the log; why it should not be there, where it should not.
    pub(crate) fn take(&mut self, entry: &Entry) -> Option<&'static str> {
        let author = &entry.message.sender_wallet;
        if entry.message.kind != Kind::GROUP {
            return (!self.is_member(author)).then_some("its author is no member at its place");
        }
        let Ok(statement) = Statement::of(&entry.message) else { return Some("what it says of the group cannot be read") };
        let is_own = matches!(&statement, Statement::Remove(wallets) if wallets == std::slice::from_ref(author) && self.is_member(author));
        let begins = matches!(statement, Statement::Begin { .. });
        if begins != (entry.sequence_number == 1) || !(begins || is_own || self.is_admin(author)) {
            return Some("its author may not say this");
        }
        match statement {
            Statement::Begin { members, .. } => {
                self.since.extend(members.iter().map(|(wallet, _)| (wallet.clone(), 1)));
                self.members = members;
            }
            Statement::Add(wallets) => {
                for wallet in wallets.into_iter().filter(|wallet| !self.is_member(wallet)).collect::<Vec<_>>() {
                    self.out.remove(&wallet);
                    self.since.insert(wallet.clone(), entry.sequence_number);
                    self.members.push((wallet, false));
                }
            }
            Statement::Remove(wallets) => {
                let place = entry.sequence_number;
                self.out.extend(self.members.extract_if(.., |(member, _)| wallets.contains(member)).map(|(wallet, _)| (wallet, place)));
            }
            Statement::Promote(wallets) => self.set_admins(&wallets, true),
            Statement::Demote(wallets) => self.set_admins(&wallets, false),
            Statement::Rename(_) => {}
        }
        if !self.members.iter().any(|(_, is_admin)| *is_admin) {
            let place = self.members.iter().position(|(wallet, _)| wallet != author).unwrap_or(0);
            self.members.iter_mut().skip(place).take(1).for_each(|(_, is_admin)| *is_admin = true);
        }
        None
    }

    fn set_admins(&mut self, wallets: &[WalletAddress], is_admin: bool) {
        self.members.iter_mut().filter(|(member, _)| wallets.contains(member)).for_each(|member| member.1 = is_admin);
    }
}

impl Checker {
    /// An entry is in a log: in that of a group it counts.
    pub(crate) fn group_goes_on(&mut self, session_id: &str, entry: &Entry) {
        if entry.message.kind == Kind::GROUP && entry.sequence_number == 1 {
            self.groups.insert(session_id.to_owned(), GroupBook::default());
        }
        let Some(book) = self.groups.get_mut(session_id) else { return };
        let (count, wrong) = (book.members.len(), book.take(entry));
        if book.members.len() < count {
            self.mark(Mark::LeftGroup);
        }
        let place = entry.sequence_number;
        self.require(16, wrong.is_none(), || format!("entry {place} of group {session_id} is stored, and {}", wrong.unwrap_or_default()));
    }

    /// The logs are others.
    pub(crate) fn groups_again(&mut self) {
        self.groups.clear();
        let logs: Vec<(SessionId, Vec<Entry>)> = self.ledger.sessions().map(|(id, log)| (id.clone(), log.entries().to_vec())).collect();
        for (session_id, entries) in
            logs.into_iter().filter(|(_, entries)| entries.first().is_some_and(|entry| entry.message.kind == Kind::GROUP))
        {
            let book = self.groups.entry(session_id).or_default();
            for entry in entries {
                book.take(&entry);
            }
        }
    }

    /// The relay tells a connection of a session: it is one of its wallets', and who is out of a group hears nothing behind that.
    pub(crate) fn told_as_member(&mut self, connection: ConnectionId, session_id: &str, body: &Body, last: Option<u64>) {
        if !self.all_sign || session_id.is_empty() || matches!(body, Body::Error(_)) {
            return;
        }
        let Some(view) = self.connections.get(&connection) else { return };
        let wallet = view.signed_in.clone().unwrap_or_default();
        let through = match body {
            Body::SyncResponse(_) => last.unwrap_or(0),
            Body::SyncAck(ack) => ack.acknowledged_sequences.iter().copied().max().unwrap_or(0),
            _ => u64::MAX,
        };
        let may = match self.groups.get(session_id) {
            Some(book) => through <= book.readable(&wallet),
            None => {
                SIGNERS.iter().any(|peer| session_of(&wallet, peer, self.encrypts) == session_id) || self.ledger.log(session_id).head() == 0
            }
        };
        self.require(16, may, || format!("connection {connection} of {wallet} is told of {session_id} up to {last:?}: {body:.60?}"));
    }

    /// A device has stored a log up to here: of a group no more than its wallet may read.
    pub(crate) fn stored_as_member(&mut self, session_id: &str, wallet: &str, cursor: u64) {
        let Some(book) = self.groups.get(session_id) else { return };
        let readable = book.readable(wallet);
        // What a journal has lost that was set back, its devices keep.
        self.require_where(16, !self.set_back, cursor <= readable, || {
            format!("a device of {wallet} has stored {session_id} up to {cursor}, it may read {readable}")
        });
    }
}

impl World {
    /// Which profile has another picture of a group than its log gives; `None` where all have the same.
    pub fn groups_unsettled(&self) -> Option<(u8, String)> {
        for (index, profile) in self.profiles.iter().enumerate() {
            let Some((id, tab)) = profile.tab.and_then(|id| Some((id, self.tabs.get(&id)?))) else { continue };
            for (session_id, book) in &self.checker.groups {
                let record = profile.disk.state().records.sessions.get(session_id);
                let is_member = book.is_member(profile.wallet);
                let head = self.checker.ledger.log(session_id).head();
                let Some(record) = record else {
                    // Somebody whom it has blocked may have added it.
                    let blocks = profile.disk.state().records.invitations.values().any(|record| record.answer == Answer::Blocked);
                    if blocks {
                        continue;
                    }
                    if let Some(what) = is_member.then(|| self.checker.invitation_missed(index, id, session_id, &profile.disk)).flatten() {
                        return Some((32, what));
                    }
                    continue;
                };
                let is_in = record.membership == Membership::Member;
                // One that has ended hears nothing.
                if is_in && record.open && !is_member {
                    return Some((26, format!("profile {index} takes itself for a member of {session_id}, and is none")));
                }
                if !is_in || !record.open {
                    continue;
                }
                let cursor = record.log.end();
                if cursor != head {
                    return Some((26, format!("profile {index} is at {cursor} of group {session_id}, the log ends at {head}")));
                }
                let shown = tab.client.session(session_id).map(|view: SessionView| view.members).unwrap_or_default();
                let shown: Vec<(WalletAddress, bool)> = shown.into_iter().map(|member| (member.wallet, member.is_admin)).collect();
                if shown != book.members {
                    return Some((
                        9,
                        format!("profile {index} shows the members {shown:?} of {session_id}, by its log they are {:?}", book.members),
                    ));
                }
            }
        }
        None
    }
}
