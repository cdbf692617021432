//! What was stored as it came is read again from the store, once its secret is there.

use base64ct::{Base64, Encoding as _};

use super::Session;
use super::opening::account_key;
use crate::batch::Batch;
use crate::client::api::{Action, Change, Event, Write};
use crate::client::context::Context;
use crate::client::identity::Identity;
use crate::client::keys::failed;
use crate::client::log_record::LogRecord;
use crate::client::records::EpochSeal;
use crate::client::transaction::Transaction;
use crate::client::vault::{EncryptedText, EpochEntry, Fault};
use crate::entry::Entry;
use crate::error::SyncError;
use crate::ids::{MessageId, public_key};
use crate::message::Kind;
use crate::wire::Malformed;

/// A walk through the stored log.
pub(super) struct Rereading {
    /// The epochs that are read, which could be when it began; behind them those that the log begins, which were too many to keep.
    epochs: Vec<EpochSeal>,
    /// The batch is asked for that has this place.
    place: u64,
    /// Batches were joined so often before that was asked: a batch that has been joined since is not the one that is stored.
    joined_count: u64,
    /// The epochs of which something was opened; of others nothing is told.
    opened: Vec<u64>,
}

impl Session {
    /// Begins where there is something that can be read now, with keys that are on disk: others may be gone before it ends.
    pub(super) fn begin_rereading(&mut self, context: &mut Context<'_>) {
        let keys = context.identity.and_then(Identity::keys);
        let has_key = |epoch: &EpochSeal| epoch.sealed.and_then(|(generation, _)| keys?.account_key(generation)).is_some();
        let state = self.stored.sealed.as_ref().filter(|_| self.rereading.is_none() && !self.in_transaction);
        let readable = state.into_iter().flat_map(|state| &state.unread).filter(|unread| unread.unread_at.is_some());
        let epochs: Vec<EpochSeal> = readable.map(|unread| &unread.epoch).filter(|epoch| has_key(epoch)).cloned().collect();
        if let Some(place) = epochs.first().map(|first| first.sequence_number) {
            self.read_log(context, Rereading { epochs, place, joined_count: 0, opened: Vec::new() });
        }
    }

    /// From where on an epoch is unread.
    pub(super) fn unread_from(&self, epoch: &EpochSeal) -> u64 {
        let is_read = |rereading: &&Rereading| rereading.epochs.iter().any(|read| read.number == epoch.number);
        self.rereading.as_ref().filter(is_read).map_or(0, |rereading| rereading.place).max(epoch.sequence_number)
    }

    fn read_log(&mut self, context: &mut Context<'_>, rereading: Rereading) {
        context.actions.push(Action::ReadLog { session_id: self.id().to_owned(), place: rereading.place });
        self.rereading = Some(Rereading { joined_count: self.joined_count, ..rereading });
    }

    /// Batches are joined, or leave: one that was asked for before is not the one that is stored then.
    pub(super) fn join_batches(&mut self) {
        self.joined_count += 1;
        self.joins = true;
    }

    /// A batch that was asked for.
    pub fn reread(
        &mut self,
        context: &mut Context<'_>,
        place: u64,
        record: Result<Option<LogRecord>, SyncError>,
        transaction: &mut Transaction,
    ) {
        let Some(mut rereading) = self.rereading.take_if(|rereading| rereading.place == place) else { return };
        // What stands before is told of and on disk. It stays told where this transaction fails, and the log is lost with the database.
        for opened in &rereading.opened {
            match self.untold.iter_mut().find(|(number, _)| number == opened) {
                Some((_, from)) => *from = place.max(*from),
                None => self.untold.push((*opened, place.max(self.told_through + 1))),
            }
        }
        // A device that was removed meanwhile has lost its keys: it begins again when it has got them back.
        if rereading.epochs.first().is_some_and(|first| account_key(context, first).is_none()) {
            return;
        }
        if rereading.joined_count != self.joined_count {
            // What was cleared meanwhile has nothing to read: it goes on behind.
            let unread = self.next.sealed.iter().flat_map(|state| &state.unread).filter(|unread| unread.unread_at.is_some());
            let first = unread.map(|unread| unread.epoch.sequence_number).min().unwrap_or(place);
            return self.read_log(context, Rereading { place: place.max(first), ..rereading });
        }
        // Where it cannot be stored, it is read again after a wait.
        transaction.from_relay = true;
        let reads = |record: LogRecord| record.entries().map(|entries| (record, entries));
        let next = match record.and_then(|record| record.filter(|record| record.last >= place).map(reads).transpose()) {
            Ok(Some((record, entries))) => {
                let next = record.last + 1;
                if let Err(error) = self.open_again(context, &mut rereading, record, entries, transaction) {
                    return transaction.fail(error);
                }
                next
            }
            // It was cleared.
            Ok(None) => u64::MAX,
            Err(error) => return transaction.fail(error),
        };
        if next <= self.next.log.end() {
            return self.read_log(context, Rereading { place: next, ..rereading });
        }
        if let Err(fault) = self.end_rereading(context, &rereading.epochs, transaction) {
            transaction.fail(failed(fault));
        }
    }

    /// All of these epochs is read, but of those whose seal turned out to be rubbish.
    fn end_rereading(&mut self, context: &Context<'_>, epochs: &[EpochSeal], transaction: &mut Transaction) -> Result<(), Fault> {
        transaction.tell(Event::EncryptionChanged { session_id: self.id().to_owned() });
        let Some(mut state) = self.next.sealed.clone() else { return Ok(()) };
        for unread in state.unread.iter_mut().filter(|unread| epochs.iter().any(|epoch| epoch.number == unread.epoch.number)) {
            unread.is_asked = false;
            if self.epoch_secret(context, &unread.epoch)?.is_some() {
                unread.unread_at = None;
            } else {
                (unread.epoch.sealed, unread.epoch.plan) = (None, None);
            }
        }
        state.forget_read();
        self.change(transaction, false).sealed = Some(state);
        Ok(())
    }

    /// What can be opened of a stored batch is stored and told.
    fn open_again(
        &mut self,
        context: &mut Context<'_>,
        rereading: &mut Rereading,
        record: LogRecord,
        mut entries: Vec<Entry>,
        transaction: &mut Transaction,
    ) -> Result<(), SyncError> {
        let (mut opened, mut numbers) = (Vec::new(), Vec::new());
        for entry in &mut entries {
            if entry.message.kind == Kind::EPOCH && self.next.uncounted.binary_search(&entry.sequence_number).is_err() {
                let bytes = Base64::decode_vec(&entry.message.ciphertext).unwrap_or_default();
                let own = public_key(&self.next.wallet);
                let begun = EpochEntry::from_bytes(&bytes).map(|epoch| EpochSeal::of(&epoch, entry, own.as_ref()));
                let mut kept = self.next.sealed.iter().flat_map(|state| &state.unread);
                rereading.epochs.extend(begun.into_iter().filter(|begun| !kept.any(|kept| kept.epoch.number == begun.number)));
            }
            if let Some(read) = self.opened_again(context, rereading, entry, &mut numbers).map_err(failed)? {
                opened.push(read.clone());
                *entry = read;
            }
        }
        if opened.is_empty() {
            return Ok(());
        }
        for number in &numbers {
            if !rereading.opened.contains(number) {
                rereading.opened.push(*number);
            }
        }
        let batch = Batch::of(&entries).map_err(Malformed::in_store)?;
        self.enlist(transaction, false);
        transaction.write(Write::Log(LogRecord { batch, ..record }), false);
        // The relay may just have said of one that waits that it is in the log: it is told of as that.
        let is_opened = |waiting: &&Entry| opened.iter().any(|entry| waiting.says_the_same(entry));
        let unsent: Vec<MessageId> = self.outbox.on_disk().into_iter().filter(is_opened).map(|entry| entry.message.id.clone()).collect();
        for (entry, number) in opened.into_iter().zip(numbers) {
            let session_id = self.id().to_owned();
            let is_own = entry.message.sender_wallet == self.next.wallet;
            let same = self.outbox.named_as(&entry).filter(|queued| is_own && queued.says_the_same(&entry));
            let waiting = same.map(|queued| (queued.counter, queued.message.clone()));
            let was_waiting = is_own && unsent.contains(&entry.message.id);
            match waiting {
                // By a copy of this profile, or this device under an earlier id.
                Some((counter, message)) => self.leave_stored(context, counter, &message, entry.sequence_number, transaction),
                None if is_own => self.settle_name(context, &entry, transaction),
                None => {}
            }
            if let Some(target) = entry.message.replaces.as_ref().filter(|_| entry.message.kind.is_version()) {
                // What it is at odds with may stand behind it, and was told of as it was then: the message shows its versions.
                let _ = self.take_version(context.config.conflict_resolution_strategy, &entry, target, transaction);
            } else if entry.message.kind == Kind::MESSAGE {
                self.leave_unrefused(&entry, transaction);
                transaction.change(|| Change::Message { session_id: session_id.clone(), entry: Box::new(entry.clone()) });
                if is_own {
                    self.await_receipts(entry.sequence_number, entry.message.id.clone());
                }
                let is_told = entry.sequence_number <= self.told_through && !self.is_untold(number, entry.sequence_number);
                if !was_waiting && !is_told && !self.told_names.contains_key(&entry.message.id) {
                    transaction.tell(Event::MessageReceived { session_id, entry: Box::new(entry) });
                }
            }
        }
        Ok(())
    }

    /// What an entry says that was stored as it came; `None` where it was not, or cannot be opened. `numbers` has the epochs of what is.
    fn opened_again(
        &mut self,
        context: &Context<'_>,
        rereading: &Rereading,
        entry: &Entry,
        numbers: &mut Vec<u64>,
    ) -> Result<Option<Entry>, Fault> {
        let Some((entry, previous)) = entry.as_it_came() else { return Ok(None) };
        let text = Base64::decode_vec(&entry.message.ciphertext).ok().and_then(|bytes| EncryptedText::from_bytes(&bytes).ok());
        let of_epoch = |text: &EncryptedText| rereading.epochs.iter().find(|epoch| epoch.number == text.epoch);
        let Some((text, epoch)) = text.and_then(|text| of_epoch(&text).map(|epoch| (text, epoch))) else { return Ok(None) };
        let message = self.message_of(context, epoch, &entry, &previous, &text)?;
        numbers.extend(message.is_some().then_some(epoch.number));
        Ok(message.map(|message| Entry { message, ..entry }))
    }
}
