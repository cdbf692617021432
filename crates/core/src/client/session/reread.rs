//! What was stored as it came is read again from the store, once its secret is there.

use base64ct::{Base64, Encoding as _};

use super::Session;
use super::opening::account_key;
use crate::batch::Batch;
use crate::client::api::{Action, Change, Event, Write};
use crate::client::context::Context;
use crate::client::keys::failed;
use crate::client::log_record::LogRecord;
use crate::client::records::EpochSeal;
use crate::client::transaction::Transaction;
use crate::client::vault::{EncryptedText, Fault};
use crate::entry::Entry;
use crate::error::SyncError;
use crate::message::Kind;
use crate::wire::Malformed;

/// A walk through the stored log.
pub(super) struct Rereading {
    /// The epochs that are read, which could be when it began.
    epochs: Vec<EpochSeal>,
    /// The batch is asked for that has this place.
    place: u64,
    /// Batches were joined so often before that was asked: a batch that has been joined since is not the one that is stored.
    joined_count: u64,
}

impl Session {
    /// Begins where there is something that can be read now.
    pub(super) fn begin_rereading(&mut self, context: &mut Context<'_>) {
        let state = self.stored.sealed.as_ref().filter(|_| self.rereading.is_none() && !self.in_transaction);
        let readable = state.into_iter().flat_map(|state| &state.unread).filter(|unread| unread.is_unread);
        let epochs: Vec<EpochSeal> =
            readable.map(|unread| &unread.epoch).filter(|epoch| account_key(context, epoch).is_some()).cloned().collect();
        if let Some(place) = epochs.first().map(|first| first.sequence_number) {
            self.read_log(context, epochs, place);
        }
    }

    /// From where on an epoch is unread.
    pub(super) fn unread_from(&self, epoch: &EpochSeal) -> u64 {
        let is_read = |rereading: &&Rereading| rereading.epochs.iter().any(|read| read.number == epoch.number);
        self.rereading.as_ref().filter(is_read).map_or(0, |rereading| rereading.place).max(epoch.sequence_number)
    }

    fn read_log(&mut self, context: &mut Context<'_>, epochs: Vec<EpochSeal>, place: u64) {
        context.actions.push(Action::ReadLog { session_id: self.id().to_owned(), place });
        self.rereading = Some(Rereading { epochs, place, joined_count: self.joined_count });
    }

    /// A batch that was asked for.
    pub fn reread(
        &mut self,
        context: &mut Context<'_>,
        place: u64,
        record: Result<Option<LogRecord>, SyncError>,
        transaction: &mut Transaction,
    ) {
        let Some(Rereading { epochs, joined_count, .. }) = self.rereading.take_if(|rereading| rereading.place == place) else { return };
        if joined_count != self.joined_count {
            // What was cleared meanwhile has nothing to read: it goes on behind.
            let unread = self.next.sealed.iter().flat_map(|state| &state.unread).filter(|unread| unread.is_unread);
            let first = unread.map(|unread| unread.epoch.sequence_number).min().unwrap_or(place);
            return self.read_log(context, epochs, place.max(first));
        }
        // Where it cannot be stored, it is read again after a wait.
        transaction.from_relay = true;
        let reads = |record: LogRecord| record.entries().map(|entries| (record, entries));
        let next = match record.and_then(|record| record.filter(|record| record.last >= place).map(reads).transpose()) {
            Ok(Some((record, entries))) => {
                let next = record.last + 1;
                if let Err(error) = self.open_again(context, &epochs, record, entries, transaction) {
                    return transaction.fail(error);
                }
                next
            }
            // It was cleared.
            Ok(None) => u64::MAX,
            Err(error) => return transaction.fail(error),
        };
        if next <= self.next.log.end() {
            return self.read_log(context, epochs, next);
        }
        if let Err(fault) = self.end_rereading(context, &epochs, transaction) {
            transaction.fail(failed(fault));
        }
    }

    /// All of these epochs is read, but of those whose seal turned out to be rubbish.
    fn end_rereading(&mut self, context: &Context<'_>, epochs: &[EpochSeal], transaction: &mut Transaction) -> Result<(), Fault> {
        transaction.tell(Event::EncryptionChanged { session_id: self.id().to_owned() });
        let Some(mut state) = self.next.sealed.clone() else { return Ok(()) };
        for unread in state.unread.iter_mut().filter(|unread| epochs.iter().any(|epoch| epoch.number == unread.epoch.number)) {
            (unread.is_unread, unread.is_asked) = (self.epoch_secret(context, &unread.epoch)?.is_none(), false);
            if unread.is_unread {
                unread.epoch.sealed = None;
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
        epochs: &[EpochSeal],
        record: LogRecord,
        mut entries: Vec<Entry>,
        transaction: &mut Transaction,
    ) -> Result<(), SyncError> {
        let mut opened = Vec::new();
        for entry in &mut entries {
            if let Some(read) = self.opened_again(context, epochs, entry).map_err(failed)? {
                opened.push(read.clone());
                *entry = read;
            }
        }
        if opened.is_empty() {
            return Ok(());
        }
        let batch = Batch::of(&entries).map_err(Malformed::in_store)?;
        self.enlist(transaction, false);
        transaction.write(Write::Log(LogRecord { batch, ..record }), false);
        for entry in opened {
            let session_id = self.id().to_owned();
            let is_own = entry.message.sender_wallet == self.next.wallet;
            let same = self.outbox.named_as(&entry).filter(|queued| is_own && queued.says_the_same(&entry));
            let waiting = same.map(|queued| (queued.counter, queued.message.clone()));
            let was_waiting = waiting.is_some();
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
                let is_told = entry.sequence_number <= self.told_through.min(self.untold_from.saturating_sub(1));
                if !was_waiting && !is_told && !self.told_names.contains_key(&entry.message.id) {
                    transaction.tell(Event::MessageReceived { session_id, entry: Box::new(entry) });
                }
            }
        }
        Ok(())
    }

    /// What an entry says that was stored as it came; `None` where it was not, or cannot be opened.
    fn opened_again(&mut self, context: &Context<'_>, epochs: &[EpochSeal], entry: &Entry) -> Result<Option<Entry>, Fault> {
        let Some((entry, previous)) = entry.as_it_came() else { return Ok(None) };
        let text = Base64::decode_vec(&entry.message.ciphertext).ok().and_then(|bytes| EncryptedText::from_bytes(&bytes).ok());
        let of_epoch = |text: &EncryptedText| epochs.iter().find(|epoch| epoch.number == text.epoch);
        let Some((text, epoch)) = text.and_then(|text| of_epoch(&text).map(|epoch| (text, epoch))) else { return Ok(None) };
        let message = self.message_of(context, epoch, &entry, &previous, &text)?;
        Ok(message.map(|message| Entry { message, ..entry }))
    }
}
