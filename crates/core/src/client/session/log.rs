//! What enters the stored log of a session: batches of the relay, acknowledged own messages, imports.

use std::collections::BTreeMap;

use super::opening::Unopened;
use super::signatures::Signers;
use super::view::logged_status;
use super::{RECORD_HEADS_MAX, Session};
use crate::batch::Batch;
use crate::client::api::{Change, Event, Write};
use crate::client::context::Context;
use crate::client::keys::failed;
use crate::client::log_record::LogRecord;
use crate::client::records::{NameRecord, VersionsRecord};
use crate::client::transaction::Transaction;
use crate::client::views::MessageStatus;
use crate::conflict::{Conflict, Strategy, add_version, concurrent_messages, concurrent_versions};
use crate::entry::{Digest, Entry};
use crate::error::{ErrorCode, SyncError};
use crate::identity::SignedHead;
use crate::ids::{new_device_id, parse_message_id};
use crate::log::{LogHead, Refusal};
use crate::message::{Kind, Message};
use crate::vector_clock::VectorClock;

/// A batch of at most so many messages and fewer bytes is small: such ones are joined.
const SMALL_MESSAGES_MAX: usize = 32;
const SMALL_BYTES_MAX: usize = 8 * 1024;

/// Small batches in a row that are joined: as many records as a page of the list may have to read, and 256 KiB at most.
const SMALL_BATCHES_MAX: u64 = 32;

/// Entries that are to be stored.
#[derive(Default)]
pub(super) struct Arrived {
    pub entries: Vec<Entry>,
    /// The form in which they came, where they are all of it.
    pub batch: Option<Batch>,
    /// What the relay says of its log behind them.
    pub head: Option<LogHead>,
    /// The same where it has signed that.
    pub signed: Option<SignedHead>,
    /// What their devices signed.
    pub signers: Signers,
}

/// Own messages that enter the log in one transaction.
pub(super) struct OwnLog {
    heads_before: VectorClock,
    entries: Vec<Entry>,
}

impl Session {
    /// Stores the entries that follow what is stored, and returns how many. Own messages leave the outbox in the same
    /// transaction (I2), and the cursor moves with them (I7).
    pub(super) fn store_entries(
        &mut self,
        context: &mut Context<'_>,
        arrived: Arrived,
        transaction: &mut Transaction,
    ) -> Result<u64, Refusal> {
        let Arrived { entries, batch, head, signed, signers } = arrived;
        let strategy = context.config.conflict_resolution_strategy;
        if batch.is_some() {
            self.flush_own_log(transaction);
        }
        let session_id = self.id().to_owned();
        if entries.iter().any(|entry| entry.message.session_id != session_id) {
            return Err(Refusal::Broken("a message belongs to another session".into()));
        }
        let came = entries.len();
        let heads_before = self.next.log.clock();
        let mut log = self.next.log.clone();
        let proven = self.flow.proven.map(|proven| proven.head);
        let is_sealed = self.next.sealed.is_some();
        let (before, mut ends) = (self.next.log.clone(), BTreeMap::new());
        let mut chains: Vec<(Digest, Digest)> = Vec::new();
        let fresh = log.accept(entries, |entry, log| {
            if is_sealed {
                let digest = log.digest(&session_id, &entry.device_id);
                let previous = ends.insert(entry.device_id.clone(), digest);
                chains.push((previous.unwrap_or_else(|| before.digest(&session_id, &entry.device_id)), digest));
            }
            signers.check(entry, log)?;
            log.compare(proven)
        })?;
        if let Err(refusal) = log.compare(head) {
            // That is at odds with what it shows, not what it may have signed since.
            self.flow.proven = signed.or(self.flow.proven);
            return Err(refusal);
        }
        let mut untold = Vec::new();
        let (fresh, opened) = match self.open_entries(context, fresh, &chains) {
            Ok(Ok(opened)) => {
                untold = opened.untold;
                (opened.entries, Some((opened.state, opened.uncounted, opened.has_epoch)))
            }
            Ok(Err(fresh)) => (fresh, None),
            Err(Unopened::Refused(refusal)) => return Err(refusal),
            Err(Unopened::Unknown(wallet)) => {
                self.await_account(context, wallet);
                return Ok(0);
            }
            Err(Unopened::Failed(fault)) => {
                transaction.fail(failed(fault));
                return Ok(0);
            }
        };
        let (sealed, uncounted, has_epoch) = opened.map_or((None, Vec::new(), false), |(state, places, has)| (Some(state), places, has));
        let (Some((first, _)), Some((last, _))) = (fresh.first(), fresh.last()) else {
            return Ok(0);
        };
        let (first, last) = (first.sequence_number, last.sequence_number);

        let proven = self.flow.proven.filter(|proven| proven.head.sequence <= log.end());
        if sealed != self.next.sealed {
            transaction.tell(Event::EncryptionChanged { session_id: session_id.clone() });
        }
        let next = self.change(transaction, false);
        next.log = log;
        next.sealed = sealed;
        next.proven = proven.or(next.proven);
        let (fresh, concurrent): (Vec<Entry>, Vec<bool>) = fresh.into_iter().unzip();
        let mut conflicts = Vec::new();
        // The places of messages that were in the outbox, whether one of them was written by another device, and whether
        // another message is in the log under this device's id and counter.
        let mut own_places = Vec::new();
        let mut leaves_a_gap = false;
        let mut is_copied = false;
        let mut named = Vec::new();
        let mut regrouped = Vec::new();
        for (entry, is_concurrent) in fresh.iter().zip(concurrent) {
            is_copied |= self.is_copied(entry);
            let mut counts = self.take_in_group(entry, &mut regrouped, transaction);
            if counts && uncounted.contains(&entry.sequence_number) {
                counts = false;
                self.keep_uncounted(entry, "it is of no epoch at its place", transaction);
            }
            let origin = self.match_outbox(entry, transaction);
            leaves_a_gap |= origin == Origin::Elsewhere;
            let own = matches!(origin, Origin::Own | Origin::Elsewhere);
            if own {
                own_places.push(entry.sequence_number);
            } else if is_sealed && counts && entry.message.sender_wallet == self.next.wallet {
                named.push(entry.clone());
            }
            match &entry.message.replaces {
                // Of names that have no part in the session there may be any number.
                Some(target) if counts && entry.message.kind.is_version() && self.is_member(&entry.message.sender_wallet) => {
                    conflicts.extend(self.take_version(strategy, entry, target, transaction));
                }
                _ if entry.is_unopened() => {}
                _ if counts && entry.message.kind == Kind::MESSAGE => {
                    self.leave_unrefused(entry, transaction);
                    transaction.change(|| Change::Message { session_id: session_id.clone(), entry: Box::new(entry.clone()) });
                    if is_concurrent {
                        conflicts.push(concurrent_messages(entry, fresh.iter(), |version| self.next.log.clock_of(version)));
                    }
                    // Every device of a wallet follows how far the wallet's messages are.
                    if !own && entry.message.sender_wallet == self.next.wallet {
                        self.await_receipts(entry.sequence_number, entry.message.id.clone());
                    }
                }
                // Voids, and kinds that this version does not know.
                _ => {}
            }
            // A void counts as the message that it stands for.
            if !entry.message.kind.is_of_epochs() {
                let total = if own { &mut self.totals.sent } else { &mut self.totals.received };
                *total += 1;
            }
        }
        self.outbox.raise_counter(self.logged_counter());
        let count = fresh.len() as u64;
        let told_through = self.told_through;
        let uncounted = self.next.uncounted.clone();
        let is_heard = |entry: &Entry| {
            let is_own = own_places.binary_search(&entry.sequence_number).is_ok();
            let counts = uncounted.binary_search(&entry.sequence_number).is_err();
            let is_shown = counts && entry.message.kind == Kind::MESSAGE && !entry.is_unopened();
            !is_own && is_shown && (entry.sequence_number > told_through || untold.binary_search(&entry.sequence_number).is_ok())
        };
        let mut heard: Vec<Box<Entry>> = if let Some(batch) = batch.filter(|_| came == fresh.len() && !is_sealed) {
            let heads_before = Some(heads_before);
            self.log_batch(LogRecord { session_id: session_id.clone(), first, last, heads_before, batch }, transaction);
            fresh.into_iter().filter(is_heard).map(Box::new).collect()
        } else {
            let heard = fresh.iter().filter(|entry| is_heard(entry)).cloned().map(Box::new).collect();
            self.log_own(heads_before, fresh);
            heard
        };
        heard.retain(|entry| !self.told_names.contains_key(&entry.message.id));
        self.tell_regrouped(context, regrouped, transaction);
        for entry in heard {
            transaction.tell(Event::MessageReceived { session_id: session_id.clone(), entry });
        }
        // What comes again after a loss was told of.
        conflicts.retain(|_| last > told_through);
        if !conflicts.is_empty() {
            self.totals.conflicts_resolved += conflicts.iter().filter(|conflict| conflict.resolution.is_some()).count() as u64;
            transaction.tell(Event::ConflictDetected { session_id: session_id.clone(), conflicts });
        }
        if has_epoch {
            self.drop_own_epoch(context, transaction);
        }
        if is_copied {
            transaction.replace_device(new_device_id(context.random));
        } else if leaves_a_gap {
            self.close_gap(context, transaction);
        }
        named.iter().for_each(|entry| self.settle_name(context, entry, transaction));
        Ok(count)
    }

    /// An edit or a deletion: what it is at odds with.
    pub(super) fn take_version(
        &mut self,
        strategy: Strategy,
        entry: &Entry,
        target: &str,
        transaction: &mut Transaction,
    ) -> Option<Conflict> {
        let mut versions = self.next_versions_of(target);
        add_version(&mut versions, entry.clone());
        let conflict = concurrent_versions(entry, &versions, strategy, |version| self.next.log.clock_of(version));
        self.set_versions(target, versions, transaction);
        transaction.tell(Event::MessageChanged { session_id: self.id().to_owned(), message_id: target.to_owned() });
        conflict
    }

    /// A message that failed here is in the log: by a copy of this profile, which the relay did not refuse it to.
    pub(super) fn leave_unrefused(&mut self, entry: &Entry, transaction: &mut Transaction) {
        if self.failed_message(&entry.message.id).is_some_and(|failed| failed.entry.says_the_same(entry)) {
            self.leave_failed(&entry.message.id, transaction);
            self.tell_logged(&entry.message, entry.sequence_number, false, transaction);
        }
    }

    /// The relay cannot compare the names of messages where texts are encrypted: one that the application gave on another device of this
    /// wallet is recorded, and another message of that name that waits here is refused.
    pub(super) fn settle_name(&mut self, context: &mut Context<'_>, entry: &Entry, transaction: &mut Transaction) {
        let Entry { message, .. } = entry;
        if entry.is_unopened() || message.kind == Kind::VOID || message.kind.is_of_epochs() {
            return;
        }
        if let Some(queued) = self.outbox.named_as(entry).cloned() {
            let message = "this id belongs to another message of this wallet";
            self.void(context, &queued, SyncError::new(ErrorCode::MessageIdTaken, message), transaction);
        }
        let (session_id, message_id, sent_ms) = (self.id().to_owned(), message.id.clone(), message.timestamp.ms());
        if is_given(&message.id, self.id()) {
            self.names_given_again.push(message_id.clone());
            let record = NameRecord { session_id, message_id, fingerprint: message.fingerprint(), sent_ms };
            transaction.write(Write::Name(record), false);
        }
    }

    pub fn is_member(&self, wallet: &str) -> bool {
        if let Some(group) = &self.next.group {
            return group.member(wallet).is_some();
        }
        [&self.next.wallet, &self.next.peer_wallet].into_iter().any(|member| member == wallet)
    }

    /// Own messages enter the log.
    fn log_own(&mut self, heads_before: VectorClock, entries: Vec<Entry>) {
        let log = self.own_log.get_or_insert_with(|| OwnLog { heads_before, entries: Vec::new() });
        log.entries.extend(entries);
    }

    /// Own messages that have entered the log are written as batches, before anything else is written there.
    pub(super) fn flush_own_log(&mut self, transaction: &mut Transaction) {
        let Some(OwnLog { heads_before, entries }) = self.own_log.take() else { return };
        for record in LogRecord::of(&entries, heads_before) {
            self.log_batch(record, transaction);
        }
    }

    fn next_versions_of(&self, message_id: &str) -> Vec<Entry> {
        self.next_versions.get(message_id).or_else(|| self.versions.get(message_id)).cloned().unwrap_or_default()
    }

    pub(super) fn set_versions(&mut self, message_id: &str, versions: Vec<Entry>, transaction: &mut Transaction) {
        let (session_id, message_id) = (self.id().to_owned(), message_id.to_owned());
        let record = VersionsRecord { session_id, message_id: message_id.clone(), versions: versions.clone() };
        transaction.write(Write::Versions(record), false);
        self.next_versions.insert(message_id, versions);
    }

    /// Stores a batch, and joins the small ones before it when they are many, or it is not one of them.
    fn log_batch(&mut self, mut record: LogRecord, transaction: &mut Transaction) {
        let (first, last) = (record.first, record.last);
        let small = last - first < SMALL_MESSAGES_MAX as u64 && record.batch.bytes().len() < SMALL_BYTES_MAX;
        let next = self.change(transaction, false);
        if small && next.small_count > 0 {
            // Whoever reads it finds them by the batches before, which will be joined with it.
            record.heads_before.take_if(|heads| heads.len() > RECORD_HEADS_MAX);
        }
        transaction.write(Write::Log(record), false);
        let next = self.change(transaction, false);
        if small {
            if next.small_count == 0 {
                next.small_first = first;
            }
            next.small_count += 1;
        }
        let joined_through = if small { last } else { first - 1 };
        if next.small_count >= SMALL_BATCHES_MAX || (!small && next.small_count > 1) {
            let session_id = next.session_id.clone();
            transaction.write(Write::JoinLog { session_id, first: next.small_first, last: joined_through }, false);
            next.small_count = 0;
            self.join_batches();
        } else if !small {
            next.small_count = 0;
        }
    }

    /// Whether an entry shows that this device's storage was copied or set back (B26): it is of this device, and while
    /// messages wait, it is not one of them.
    fn is_copied(&self, entry: &Entry) -> bool {
        let is_known = || self.outbox.get(entry.counter).is_some_and(|queued| queued.is_repeat_of(entry));
        entry.device_id == self.device && !self.outbox.is_empty() && !is_known()
    }

    /// Where a message of the outbox is in the log, it leaves the outbox.
    fn match_outbox(&mut self, entry: &Entry, transaction: &mut Transaction) -> Origin {
        let own = self.outbox.get(entry.counter).filter(|queued| queued.is_repeat_of(entry));
        let origin = if own.is_some() { Origin::Own } else { Origin::Elsewhere };
        // Also by the copy that writes under this device's id.
        let is_named = |queued: &&Entry| queued.says_the_same(entry);
        // Messages of other wallets are not looked for: an outbox may be long.
        let named = || if entry.message.sender_wallet == self.next.wallet { self.outbox.named_as(entry).filter(is_named) } else { None };
        let Some(queued) = own.or_else(named) else {
            return Origin::Foreign;
        };
        let counter = queued.counter;
        let is_announced = origin == Origin::Own && counter <= self.outbox.acknowledged_counter();
        self.outbox.remove(counter);
        if origin == Origin::Own {
            self.outbox.acknowledge(counter);
        }
        self.tell_logged(&entry.message, entry.sequence_number, is_announced, transaction);
        origin
    }

    /// The relay says that a message of the outbox is in the log under another device. Where that place is stored already,
    /// the log does not bring it again; otherwise it does, and says whether it is so.
    pub(super) fn take_stored(
        &mut self,
        context: &mut Context<'_>,
        message_id: &str,
        sequence: u64,
        transaction: &mut Transaction,
    ) -> bool {
        let queued = self.outbox.named(message_id);
        let Some((message, counter)) = queued.map(|entry| (entry.message.clone(), entry.counter)) else { return false };
        if sequence == 0 || sequence > self.next.log.end() {
            return false;
        }
        if self.next.sealed.is_some() && is_given(&message.id, self.id()) {
            // Where the log brought it, it was not known again: this device could not read it. The relay knows no more than the name.
            let what = "a message of this name is in the log, and this device cannot read yet whether it says the same";
            let Some(queued) = self.outbox.get(counter).cloned() else { return false };
            self.void(context, &queued, SyncError::new(ErrorCode::MessageIdTaken, what), transaction);
            return true;
        }
        self.leave_stored(context, counter, &message, sequence, transaction);
        true
    }

    /// A message of the outbox is in the stored log under another device.
    pub(super) fn leave_stored(
        &mut self,
        context: &mut Context<'_>,
        counter: u64,
        message: &Message,
        sequence: u64,
        transaction: &mut Transaction,
    ) {
        self.outbox.remove(counter);
        self.tell_left(message, transaction);
        self.tell_logged(message, sequence, false, transaction);
        self.close_gap(context, transaction);
    }

    /// Tells who observes that a message left the outbox, and does not come with the log.
    pub(super) fn tell_left(&self, message: &Message, transaction: &mut Transaction) {
        let session_id = || self.next.session_id.clone();
        match &message.replaces {
            Some(target) if message.kind.is_version() => {
                transaction.change(|| Change::Stale { session_id: session_id(), message_id: target.clone() })
            }
            _ => transaction.change(|| Change::Removed { session_id: session_id(), message_id: message.id.clone() }),
        }
    }

    /// Tells that an own message is in the log. That a void is in its place was told when it came to stand there.
    fn tell_logged(&mut self, message: &Message, sequence: u64, is_announced: bool, transaction: &mut Transaction) {
        if !message.kind.has_status() {
            return;
        }
        let (session_id, message_id) = (self.next.session_id.clone(), message.id.clone());
        self.await_receipts(sequence, message_id.clone());
        let status = logged_status(&self.next, sequence, &message.sender_wallet);
        if !is_announced || status > MessageStatus::Sent {
            let (session_id, message_id) = (session_id.clone(), message_id.clone());
            transaction.tell(Event::StatusChanged { session_id, message_id, status, error: None });
        }
        transaction.tell(Event::MessageSynced { session_id, message_id });
    }
}

/// What an entry of the log is to this device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was in the outbox.
    Own,
    /// It was in the outbox, and another device of the wallet wrote it: a copy of this profile, or this device under an
    /// earlier id.
    Elsewhere,
    /// A message of another device, or of another that has this one's id.
    Foreign,
}

/// Whether the application gave a message of this session its id.
fn is_given(message_id: &str, session_id: &str) -> bool {
    parse_message_id(message_id).is_none_or(|(session, ..)| session != session_id)
}
