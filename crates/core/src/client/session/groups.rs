//! A group session as a device has it: who is in it, what this wallet wants different, and what becomes of it when it leaves.

use super::Session;
use crate::client::api::{Change, Event, GroupWish, Reply};
use crate::client::context::Context;
use crate::client::records::SessionRecord;
use crate::client::transaction::Transaction;
use crate::client::views::{Membership, MessageStatus};
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::ReceiptStatus;
use crate::group::{Group, GroupChange, GroupNonce, Statement};
use crate::ids::{WalletAddress, new_start};
use crate::limits::UNCOUNTED_MAX;
use crate::message::Kind;

impl Session {
    pub fn is_group(&self) -> bool {
        self.stored.group.is_some() || self.next.group.is_some()
    }

    /// Whether this wallet left it, or was removed.
    pub fn is_out(&self) -> bool {
        self.next.membership != Membership::Member
    }

    /// Whether this wallet may write here, and hear what is new.
    pub fn check_member(&self) -> Result<(), SyncError> {
        if self.is_out() {
            let message = "this wallet is no member of the group any more: what is stored here can be read";
            return Err(SyncError::new(ErrorCode::MemberRemoved, message));
        }
        Ok(())
    }

    /// Whether this wallet may write here behind what waits already.
    pub(super) fn check_writer(&self) -> Result<(), SyncError> {
        self.check_member()?;
        let leaves = |group: Group| group.has_begun() && group.member(&self.next.wallet).is_none();
        if self.next_group().is_some_and(leaves) {
            let message = "this wallet is about to leave the group: nothing is sent behind that";
            return Err(SyncError::new(ErrorCode::MemberRemoved, message));
        }
        Ok(())
    }

    /// The group as it is stored, and as what waits in the stored outbox would make it.
    pub(super) fn stored_group(&self) -> Option<Group> {
        let group = self.stored.group.clone()?;
        Some(foreseen(group, self.stored.log.end(), self.outbox.on_disk().into_iter()))
    }

    /// The same as the transaction leaves it.
    pub(super) fn next_group(&self) -> Option<Group> {
        let group = self.next.group.clone()?;
        Some(foreseen(group, self.next.log.end(), self.outbox.iter()))
    }

    /// What the session's id is made of, where this device is about to begin it.
    pub(super) fn founding_nonce(&self) -> Option<GroupNonce> {
        let is_begun = self.next.group.as_ref()?.has_begun();
        self.next_group().filter(|_| !is_begun)?.nonce()
    }

    /// `addMembers`, `removeMembers`, `leaveSession`, `renameSession`, `setAdmin`.
    pub fn regroup(&mut self, context: &mut Context<'_>, wish: &GroupWish, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        self.check_member()?;
        let Some(group) = self.next_group() else {
            let message = "the session is of two wallets, and stays so: start a group with `members`";
            return Err(SyncError::new(ErrorCode::InvalidArgument, message));
        };
        let wallet = self.next.wallet.clone();
        let statement = match wish {
            GroupWish::Add(wallets) => Statement::Add(wallets.clone()),
            GroupWish::Remove(wallets) => Statement::Remove(wallets.clone()),
            GroupWish::Leave => Statement::Remove(vec![wallet.clone()]),
            GroupWish::Rename(name) => Statement::Rename(name.clone()),
            GroupWish::SetAdmin(wallet, true) => Statement::Promote(vec![wallet.clone()]),
            GroupWish::SetAdmin(wallet, false) => Statement::Demote(vec![wallet.clone()]),
        };
        group.check(&wallet, self.next.log.end() + 1, &statement)?;
        self.say(context, &statement, transaction)?;
        Ok(Reply::Done)
    }

    /// Queues what is said of the group.
    pub fn say(&mut self, context: &Context<'_>, statement: &Statement, transaction: &mut Transaction) -> Result<(), SyncError> {
        self.queue(context, statement.message(), transaction)?;
        let session_id = self.id().to_owned();
        transaction.change(|| Change::Session { session_id: session_id.clone() });
        transaction.tell(Event::MembersChanged { session_id });
        Ok(())
    }

    /// Somebody added this wallet again.
    pub fn come_back(&mut self, transaction: &mut Transaction) {
        if self.is_out() {
            self.change(transaction, true).membership = Membership::Member;
        }
    }

    /// The group takes an entry of the log: whether it counts. What it changed goes to `regrouped`.
    pub(super) fn take_in_group(
        &mut self,
        entry: &Entry,
        regrouped: &mut Vec<(WalletAddress, GroupChange)>,
        transaction: &mut Transaction,
    ) -> bool {
        let is_said = entry.message.kind == Kind::GROUP && self.next.group.is_some();
        let before = is_said.then(|| [ReceiptStatus::Delivered, ReceiptStatus::Read].map(|status| (status, reached(&self.next, status))));
        let next = self.change(transaction, false);
        let Some(group) = &mut next.group else { return true };
        match group.take(entry) {
            Ok(changes) => {
                // What all had stays so, whoever comes or goes.
                for (status, through) in before.into_iter().flatten() {
                    next.all_reached.raise(status, through);
                }
                regrouped.extend(changes.into_iter().map(|change| (entry.message.sender_wallet.clone(), change)));
                true
            }
            Err(error) => {
                self.keep_uncounted(entry, &error.message, transaction);
                false
            }
        }
    }

    /// An entry does not count: it is kept out of what is shown.
    pub(super) fn keep_uncounted(&mut self, entry: &Entry, why: &str, transaction: &mut Transaction) {
        let next = self.change(transaction, false);
        if entry.message.kind != Kind::VOID {
            next.uncounted.push(entry.sequence_number);
        }
        if next.uncounted.len() > UNCOUNTED_MAX || next.group.as_ref().is_some_and(|group| !group.has_begun()) {
            let message = format!("the relay has taken entry {}, which does not count: {why}", entry.sequence_number);
            self.halt(SyncError::new(ErrorCode::RelayMisbehaved, message), transaction);
        }
    }

    /// Tells what entries of the log changed in the group, and leaves it where they say so.
    pub(super) fn tell_regrouped(
        &mut self,
        context: &mut Context<'_>,
        regrouped: Vec<(WalletAddress, GroupChange)>,
        transaction: &mut Transaction,
    ) {
        if regrouped.is_empty() {
            return;
        }
        let (session_id, wallet) = (self.id().to_owned(), self.next.wallet.clone());
        let (mut left, mut told) = (None, vec![wallet.clone()]);
        for (author, change) in regrouped {
            match change {
                GroupChange::Removed(removed) if removed == wallet => {
                    left = Some(if author == wallet { Membership::Left } else { Membership::Removed });
                }
                // It was added again behind that.
                GroupChange::Added(added) if added == wallet => left = None,
                // Of who came again behind that, the relay has told all that it knows: before what is in the log.
                GroupChange::Removed(removed) if self.is_member(&removed) => {}
                GroupChange::Removed(removed) => self.change(transaction, false).watermarks.forget(&removed),
                // What it has read may have been heard before.
                GroupChange::Added(added) => told.push(added),
                _ => {}
            }
        }
        // Who is out no longer keeps nobody's message from being read.
        for status in [ReceiptStatus::Delivered, ReceiptStatus::Read] {
            for wallet in &told {
                let (session_id, wallet, through) = (session_id.clone(), wallet.clone(), self.next.watermarks.get(wallet).of(status));
                let all_through = reached(&self.next, status);
                transaction.change(|| Change::Receipt { session_id, wallet, status, through, all_through });
            }
        }
        transaction.change(|| Change::Session { session_id: session_id.clone() });
        transaction.tell(Event::MembersChanged { session_id });
        if let Some(membership) = left {
            self.leave_group(context, membership, transaction);
        }
    }

    /// This wallet is in the group no more: what is stored stays, and what the log has not brought is told as failed: its text is kept,
    /// also where the relay says that it has it.
    pub(super) fn leave_group(&mut self, context: &mut Context<'_>, membership: Membership, transaction: &mut Transaction) {
        if self.is_out() {
            return;
        }
        let record = self.change(transaction, true);
        (record.membership, record.open) = (membership, false);
        self.ends_auto_sync = true;
        let session_id = self.id().to_owned();
        let error = SyncError::new(ErrorCode::MemberRemoved, "this wallet is no member of the group any more");
        let waiting: Vec<Entry> = self.outbox.iter().cloned().collect();
        for entry in &waiting {
            self.tell_left(&entry.message, transaction);
            if entry.message.kind.has_status() {
                let (session_id, message_id, told) = (session_id.clone(), entry.message.id.clone(), Some(error.clone()));
                transaction.tell(Event::StatusChanged { session_id, message_id, status: MessageStatus::Failed, error: told });
            }
            self.keep_failed(context, entry, &error, transaction);
        }
        if !waiting.is_empty() {
            // The next messages get counters that names were made of already.
            *context.start = new_start(context.random);
            // And nothing that is written later was taken by the relay before.
            let logged = self.logged_counter();
            self.make_anew(logged, logged, Vec::new(), |_| false, transaction);
        }
        transaction.fail_sync(&session_id, error);
        transaction.change(|| Change::Session { session_id: session_id.clone() });
        transaction.tell(Event::MembersChanged { session_id });
    }

    /// The wallets that have read an own message.
    pub(super) fn read_by(&self, entry: &Entry) -> Option<Vec<WalletAddress>> {
        let record = &self.stored;
        let group = record.group.as_ref().filter(|_| entry.sequence_number > 0 && entry.message.sender_wallet == record.wallet)?;
        let has_read = |wallet: &&String| **wallet != record.wallet && record.watermarks.get(wallet).read >= entry.sequence_number;
        Some(group.members().iter().map(|member| &member.wallet).filter(has_read).cloned().collect())
    }
}

/// A group as what waits to be sent would make it, behind the end of its log.
fn foreseen<'a>(mut group: Group, end: u64, waiting: impl Iterator<Item = &'a Entry>) -> Group {
    for (entry, sequence_number) in waiting.filter(|entry| entry.message.kind == Kind::GROUP).zip(end + 1..) {
        // What does not count will be refused.
        let _ = group.take(&Entry { sequence_number, ..entry.clone() });
    }
    group
}

/// Up to where all other wallets have what this one wrote, or one where it is no group. A member counts for what was written since
/// it came; the first one for all. What all had when others were in it stays so.
pub(super) fn reached(record: &SessionRecord, status: ReceiptStatus) -> u64 {
    let Some(group) = &record.group else {
        let others = record.watermarks.iter().filter(|(wallet, _)| *wallet != record.wallet);
        return others.map(|(_, watermark)| watermark.of(status)).max().unwrap_or(0);
    };
    let others = || group.members().iter().filter(|member| member.wallet != record.wallet);
    let first = others().next().map_or(0, |member| member.since);
    let through = |since: u64, wallet: &str| record.watermarks.get(wallet).of(status).max(if since > first { since } else { 0 });
    others().map(|member| through(member.since, &member.wallet)).min().unwrap_or(0).max(record.all_reached.of(status))
}
