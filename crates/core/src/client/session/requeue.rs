//! Messages of the outbox that are made anew: they keep their names, times and texts, and get other counters and digests.
//!
//! That happens where the relay cannot have taken them as they were: another device writes under this one's id, because its
//! storage was copied or set back (B26, F41, F42); a message before them was refused for good; or it is in the log already,
//! by a copy of this profile. The relay and this device know a message by its wallet and its name, so none is stored twice,
//! whatever became of the frames that are still on their way.

use super::Session;
use crate::client::api::{Change, Event, Write};
use crate::client::context::Context;
use crate::client::transaction::Transaction;
use crate::client::views::MessageStatus;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::group::Statement;
use crate::ids::{message_id, new_start};
use crate::limits::INTEGER_MAX;
use crate::message::{Kind, Message};

impl Session {
    /// Goes on under another device id.
    pub fn requeue(&mut self, new_id: &str, transaction: &mut Transaction) {
        self.device = new_id.to_owned();
        if self.operation.is_some() && !self.outbox.is_empty() {
            // Its progress was counted in messages of the old id. The next connection begins another.
            let error = SyncError::new(ErrorCode::CounterReused, "this device goes on under a new id");
            transaction.fail_sync(self.id(), error);
        }
        // Epochs and secrets that are given name the device whose they are.
        self.make_anew(0, 0, Vec::new(), |entry| !entry.message.kind.is_of_epochs(), transaction);
    }

    /// A message of the outbox was refused for good: what stands in its place says nothing, and the messages behind it
    /// go on.
    pub(super) fn void(&mut self, context: &mut Context<'_>, refused: &Entry, error: SyncError, transaction: &mut Transaction) {
        // A group that does not begin has nothing behind that either. One whose log is not here yet may have begun all the same.
        let begins = matches!(Statement::of(&refused.message), Ok(Statement::Begin { .. }));
        if refused.message.kind == Kind::VOID || begins {
            return self.halt(error, transaction);
        }
        // A name that belongs to another message is not the void's either.
        let (counter, is_taken) = (refused.counter, error.code == ErrorCode::MessageIdTaken);
        let id = if is_taken { message_id(self.id(), &self.device, context.start, counter) } else { refused.message.id.clone() };
        let (session_id, message_id, status) = (self.id().to_owned(), refused.message.id.clone(), MessageStatus::Failed);
        match refused.message.kind {
            Kind::GROUP => {
                transaction.change(|| Change::Session { session_id: session_id.clone() });
                transaction.tell(Event::MembersChanged { session_id });
                transaction.tell(Event::Warning { error: error.clone() });
            }
            _ => transaction.tell(Event::StatusChanged { session_id, message_id, status, error: Some(error.clone()) }),
        }
        if is_taken {
            self.forget_name(refused.message.id.clone(), transaction);
        }
        let empty = |entry: &mut Entry| {
            if entry.counter == counter {
                let Message { sender_wallet, timestamp, session_id, .. } = std::mem::take(&mut entry.message);
                let id = id.clone();
                entry.message = Message { id, sender_wallet, timestamp, session_id, kind: Kind::VOID, ..Message::default() };
            }
            true
        };
        self.tell_left(&refused.message, transaction);
        self.keep_failed(context, refused, &error, transaction);
        self.number_anew(context, empty, transaction);
    }

    /// A message left the outbox without having been taken under its counter. Those behind it move up, and so the next
    /// messages get counters that names were made of already: with another start their names are others.
    pub(super) fn close_gap(&mut self, context: &mut Context<'_>, transaction: &mut Transaction) {
        *context.start = new_start(context.random);
        self.number_anew(context, |_| true, transaction);
    }

    /// Numbers the messages of the outbox anew behind those that are in the log. What comes before the first change keeps
    /// its bytes. Nothing is sent before this device has announced itself again: frames with the old numbers may be on
    /// their way, and until then the relay takes nothing that follows the one it refused.
    pub(super) fn number_anew(&mut self, context: &mut Context<'_>, change: impl FnMut(&mut Entry) -> bool, transaction: &mut Transaction) {
        self.start_over(context);
        let logged = self.logged_counter();
        let waiting = self.outbox.iter().zip(logged + 1..).take_while(|(entry, counter)| entry.counter == *counter).count() as u64;
        let acknowledged = self.outbox.acknowledged_counter().min(logged + waiting);
        self.make_anew(logged, acknowledged, Vec::new(), change, transaction);
    }

    /// Those of `before_all` come first. `keep` may change a message, and says whether it stays.
    pub(super) fn make_anew(
        &mut self,
        before: u64,
        acknowledged: u64,
        before_all: Vec<Entry>,
        mut keep: impl FnMut(&mut Entry) -> bool,
        transaction: &mut Transaction,
    ) {
        let transmitted = self.outbox.transmitted_counter();
        let (entries, records) = self.outbox.replace(before, acknowledged);
        self.outbox.put_before(before_all.len() as u64);
        // Its record names the last counter, which was a higher one or the old id's.
        self.change(transaction, true);
        transaction.clear_outbox(self.id());
        if let Some((first, last)) = records {
            transaction.write(Write::DeleteOutbox { session_id: self.id().to_owned(), first, last }, true);
        }
        // What is queued later is not what a sync waits for, whatever counters were used before.
        let target_before = self.operation.as_ref().map_or(0, |operation| operation.target_counter());
        let (mut counter, mut target) = (before, before);
        let new = before_all.into_iter().map(|entry| (entry, None));
        let waiting = entries.into_iter().map(|(entry, is_sent)| (entry, Some(is_sent)));
        for (mut entry, was_sent) in new.chain(waiting) {
            if !keep(&mut entry) {
                if was_sent.is_some() && entry.counter <= transmitted {
                    self.outbox.leave_out();
                }
                continue;
            }
            counter += 1;
            if entry.counter <= target_before {
                target = counter;
            }
            // Which of several versions is shown may hang on what they are called.
            if let Some(target) = entry.message.replaces.clone().filter(|_| entry.message.kind.is_version()) {
                transaction.change(|| Change::Stale { session_id: self.id().to_owned(), message_id: target });
            }
            let device_id = self.device.clone();
            self.push_outbox(transaction, Entry { device_id, counter, ..entry });
            if was_sent == Some(true) {
                self.outbox.keep_sent(counter);
            }
        }
        let sent_through = self.outbox.transmitted_counter();
        let next = self.change(transaction, true);
        if next.sent_through < INTEGER_MAX {
            next.sent_through = sent_through;
        }
        if let Some(operation) = &mut self.operation {
            operation.move_target(target);
        }
    }
}
