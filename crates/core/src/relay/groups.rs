//! Group sessions at the relay: who begins one, who is in it by its log, and what becomes of who is added and removed.

use super::api::{ConnectionId, GroupRow, MemberRow};
use super::batch_cache::{BatchKey, Content, Part};
use super::budget::MEMBER_US;
use super::context::Context;
use super::door::Guest;
use super::gate::{Verdict, judge_role};
use super::invitations::Members;
use super::session::{Attachment, Log, Session};
use crate::entry::Entry;
use crate::frame::{Body, DeviceAnnounce, SyncResponse};
use crate::group::{Group, GroupChange, Role, is_group_of};
use crate::ids::{WalletAddress, is_sealed_id};
use crate::message::Kind;

/// An entry that says something of a group, and what it did.
#[derive(Clone)]
pub(super) struct GroupStep {
    sequence: u64,
    author: WalletAddress,
    changes: Vec<GroupChange>,
}

impl GroupStep {
    /// What it did.
    pub fn changes(&self) -> &[GroupChange] {
        &self.changes
    }

    /// The group takes an entry that was judged; `None` where it says nothing of it.
    pub fn of(group: &mut Group, entry: &Entry) -> Option<GroupStep> {
        let changes = group.take(entry).ok().filter(|_| entry.message.kind == Kind::GROUP)?;
        Some(GroupStep { sequence: entry.sequence_number, author: entry.message.sender_wallet.clone(), changes })
    }
}

/// What entries that are stored make of a group.
pub(super) struct Regrouped {
    pub group: Group,
    pub steps: Vec<GroupStep>,
}

impl Regrouped {
    /// What the journal keeps of it.
    pub fn row(&self) -> GroupRow {
        GroupRow { name: self.group.name().to_owned(), state: self.group.to_bytes() }
    }

    /// The last row of each wallet that came or went, given those of before.
    pub fn rows(&self, members: &Members) -> Vec<MemberRow> {
        let mut rows: Vec<MemberRow> = Vec::new();
        for GroupStep { sequence, author, changes } in &self.steps {
            for change in changes {
                let row = match change {
                    GroupChange::Added(wallet) => MemberRow {
                        wallet: wallet.clone(),
                        peer_wallet: author.clone(),
                        // Who begins it is there.
                        joined: wallet == author,
                        account_id: self.group.account_id(wallet),
                        since: *sequence,
                        left: false,
                    },
                    GroupChange::Removed(wallet) => {
                        let known = rows.iter().find(|row| row.wallet == *wallet).or_else(|| members.get(wallet));
                        MemberRow { left: true, ..known.cloned().unwrap_or_default() }
                    }
                    GroupChange::Admin(_) | GroupChange::Renamed => continue,
                };
                rows.retain(|other| other.wallet != row.wallet);
                rows.push(row);
            }
        }
        rows
    }
}

impl Session {
    /// A device that has signed in announces a session that its wallet is about to begin, as the id says: a group, or one with
    /// another wallet of its application. What strangers said of the session before is no proof.
    pub(super) fn found(&mut self, ctx: &mut Context, connection: ConnectionId, said: &Body) {
        let Body::DeviceAnnounce(said) = said else { return };
        let Some(guest) = ctx.guest(connection).cloned().filter(|_| self.is_unbegun() && self.group.is_none()) else { return };
        let id = &self.log.session_id;
        let pair = |peer: &str| match is_sealed_id(id) {
            true => guest.domains.sealed_session_of(&guest.wallet, peer),
            false => guest.domains.session_of(&guest.wallet, peer),
        };
        if let Some(nonce) = said.group_nonce.filter(|nonce| is_group_of(id, &guest.domains, &guest.wallet, nonce)) {
            self.group = Some(Group::founded(id, &guest.wallet, guest.domains, nonce));
            self.members = Members::default();
        } else if let Some(peer) = said.peer_wallet.as_ref().filter(|peer| pair(peer).as_ref() == Some(id)) {
            self.members.found(&guest, peer);
        } else {
            return;
        }
        self.send_away_strangers(ctx);
    }

    /// What a connection is in the session, by what it has proved.
    pub(super) fn role(&self, guest: Option<&Guest>) -> Role {
        match (&self.group, guest) {
            // Another application's devices are no members, though their wallets be.
            (Some(group), Some(guest)) if group.account_id(&guest.wallet).as_ref() == Some(&guest.account_id) => group.role(&guest.wallet),
            (None, guest) if self.members.admit(guest) && (guest.is_some() || self.sealed.is_none()) => Role::Member,
            _ => Role::Stranger,
        }
    }

    /// Whether an announcement says of the session what it is. Who has signed in comes into groups, and into the sessions whose ids are
    /// made of its wallet and application: their other wallet is known since one of them was announced first.
    fn is_named_by(&self, guest: Option<&Guest>, said: &DeviceAnnounce) -> bool {
        match guest {
            _ if self.group.is_some() => said.peer_wallet.is_none(),
            Some(guest) => said.peer_wallet.is_some() && said.peer_wallet.as_ref() == self.members.peer_of(&guest.wallet),
            None => said.group_nonce.is_none(),
        }
    }

    /// Whether a connection may say this in the session.
    pub(super) fn judge(&self, guest: Option<&Guest>, body: &Body) -> Verdict {
        match body {
            Body::DeviceAnnounce(said) if !self.is_named_by(guest, said) => Verdict::NotAMember,
            _ => judge_role(body, self.role(guest)),
        }
    }

    /// A device of a group's wallet takes part. The wallet's other devices hear of it, once.
    pub(super) fn join_group(&mut self, ctx: &mut Context, connection: ConnectionId) {
        let Some(wallet) = ctx.guest(connection).map(|guest| guest.wallet.clone()).filter(|_| self.group.is_some()) else { return };
        if self.members.take_part(&wallet) {
            self.tell_members(ctx, connection, |row| row.wallet == wallet);
            self.note_members(ctx);
        }
    }

    /// What entries that are stored say of the group is so. Who was removed hears the entry that says so, and nothing behind it.
    pub(super) fn regroup(&mut self, ctx: &mut Context, regrouped: Regrouped) -> Vec<GroupStep> {
        for row in regrouped.rows(&self.members) {
            if row.left {
                self.members.forget(&row.wallet);
                self.receipts.forget(&row.wallet);
            } else {
                self.members.put(row);
            }
        }
        let Regrouped { group, steps } = regrouped;
        self.group = Some(group);
        for GroupStep { sequence, changes, .. } in &steps {
            for wallet in changes.iter().filter_map(|change| if let GroupChange::Removed(wallet) = change { Some(wallet) } else { None }) {
                for (connection, attachment) in &self.attachments {
                    let guest = ctx.guest(*connection).filter(|guest| guest.wallet == *wallet);
                    if guest.is_some_and(|guest| !matches!(self.role(Some(guest)), Role::Member | Role::Admin)) {
                        say_farewell(ctx, &self.log, *connection, attachment, *sequence);
                    }
                }
            }
        }
        self.send_away_strangers(ctx);
        steps
    }

    /// Wallets that came into the group hear of it.
    pub(super) fn tell_added(&self, ctx: &mut Context, writer: ConnectionId, steps: &[GroupStep]) {
        let changes = || steps.iter().flat_map(|step| &step.changes);
        if changes().next().is_some() {
            ctx.charge(writer, changes().count() as u64 * MEMBER_US);
            self.tell_members(ctx, writer, |row| changes().any(|change| *change == GroupChange::Added(row.wallet.clone())));
        }
    }
}

/// The last that a connection hears of a group: the entries that it lacks up to the one that removes its wallet. One that is not
/// that far hears only that it is no member any more.
fn say_farewell(ctx: &mut Context, log: &Log, connection: ConnectionId, attachment: &Attachment, through: u64) {
    let Some(mut from) = attachment.live.filter(|_| attachment.answers.is_empty() && !attachment.reading) else { return };
    while let (true, Some(form)) = (from <= through, ctx.reads(connection)) {
        let form = attachment.dialect.form(form);
        let key = BatchKey { session_id: log.session_id.clone(), from, count_max: attachment.batch_max, form };
        let part = log.tail_from(from).and_then(|entries| key.encode(entries, through));
        let Some(Part { content: Content::Batch(messages), signatures, through: last, .. }) = part else { return };
        let signatures = signatures.to_vec();
        // The entry may stand within what its author signed at once: then nothing covers it here, and who hears it must not take it
        // for the end of the log.
        let response = SyncResponse { messages, latest_sequence: log.head(), signatures, ..SyncResponse::default() };
        ctx.transmit(connection, &log.session_id, Body::SyncResponse(response));
        from = last + 1;
    }
}
