//! What the application asks of a session.

use super::groups::reached;
use super::log::Arrived;
use super::{AutoSync, Session};
use crate::client::api::{Change, Event, Input, Reply, Write};
use crate::client::context::Context;
use crate::client::records::{NameRecord, OutboxRecord, ReadMark};
use crate::client::transaction::Transaction;
use crate::client::views::{DeliveryReceipt, MessageStatus};
use crate::content::content_of;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::ReceiptStatus;
use crate::ids::{check_id, message_id, parse_message_id, uuid_bytes};
use crate::limits::{CONTENT_BYTES_MAX, INTEGER_MAX, OUTBOX_MESSAGES_MAX, TEXT_BYTES_MAX};
use crate::message::{Kind, Message, Stamp};
use crate::time::{ISO_MS_MAX, Now, iso_from_ms};

impl Session {
    /// A call that changes what is stored.
    pub fn on_call(&mut self, context: &mut Context<'_>, call: &Input, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        match call {
            Input::CloseSession { .. } => Ok(self.close(transaction)),
            Input::Send { text, content_type, message_id: None, .. } => {
                let message = Message { ciphertext: text.clone(), content_type: content_type.clone(), ..Message::default() };
                self.queue(context, message, transaction)
            }
            Input::Send { text, content_type, message_id: Some(id), known, .. } => {
                let (id, ciphertext, content_type) = (id.clone(), text.clone(), content_type.clone());
                let message = Message { id, ciphertext, content_type, ..Message::default() };
                self.queue_named(context, message, known.as_ref(), transaction)
            }
            Input::Edit { message_id, text, .. } => self.edit(context, message_id, text.as_deref(), transaction),
            Input::Cancel { message_id, .. } => self.cancel(context, message_id, transaction),
            Input::Retry { message_id, .. } => self.retry(context, message_id, transaction),
            Input::MarkRead { message_id, sequence_number, .. } => self.mark_read(context, message_id, *sequence_number, transaction),
            Input::ClearLog { .. } => Ok(self.clear_log(context, transaction)),
            _ => Err(SyncError::new(ErrorCode::InvalidArgument, "the call is not for one session")),
        }
    }

    /// `startSession`.
    ///
    /// # Errors
    /// `MEMBER_REMOVED`.
    pub fn open(&mut self, context: &mut Context<'_>, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        self.check_member()?;
        if !self.next.open {
            self.start_over(context);
        }
        self.change(transaction, true).open = true;
        transaction.change(|| Change::Session { session_id: self.id().to_owned() });
        self.resume(context);
        Ok(Reply::Session(self.next_view()))
    }

    /// `endSession`.
    pub fn close(&mut self, transaction: &mut Transaction) -> Reply {
        self.change(transaction, true).open = false;
        transaction.change(|| Change::Session { session_id: self.id().to_owned() });
        self.ends_auto_sync = true;
        Reply::Done
    }

    /// A message that the application named: sent again under that name it is the same message.
    fn queue_named(
        &mut self,
        context: &mut Context<'_>,
        message: Message,
        known: Option<&NameRecord>,
        transaction: &mut Transaction,
    ) -> Result<Reply, SyncError> {
        check_id("id", &message.id)?;
        if parse_message_id(&message.id).is_some_and(|(session, ..)| session == self.id()) {
            let error = "a name of your own must not have the form of the names that the SDK gives in this session";
            return Err(SyncError::new(ErrorCode::InvalidArgument, error));
        }
        let (session_id, message_id, fingerprint) = (self.id().to_owned(), message.id.clone(), message.fingerprint());
        let queued = || self.outbox.named(&message_id).filter(|entry| entry.message.kind != Kind::VOID);
        let failed = || self.failed_message(&message_id).map(|record| &record.entry).filter(|entry| entry.message.id == message_id);
        let is_forgotten = [&self.forgotten_names, &self.next_forgotten_names].iter().any(|names| names.contains(&message_id));
        let known = known.filter(|_| !is_forgotten);
        let known = known.or_else(|| transaction.name(&session_id, &message_id)).map(|record| (record.fingerprint.clone(), record.sent_ms));
        match known.or_else(|| queued().or_else(failed).map(|entry| (entry.message.fingerprint(), entry.message.timestamp.ms()))) {
            Some((known, sent_ms)) if known == fingerprint => {
                let timestamp = iso_from_ms(sent_ms);
                return Ok(Reply::Receipt(DeliveryReceipt { message_id, timestamp, status: MessageStatus::Queued }));
            }
            Some(_) => {
                let error = "this id belongs to another message of this session: give each message an id of its own";
                return Err(SyncError::new(ErrorCode::MessageIdTaken, error));
            }
            None => {}
        }
        let reply = self.queue(context, message, transaction)?;
        self.names_given_again.push(message_id.clone());
        let name = NameRecord { session_id, message_id, fingerprint, sent_ms: context.now.wall_ms };
        transaction.write(Write::Name(name), true);
        Ok(reply)
    }

    /// Gives a message its counter and what it knows, and a name where it has none, and puts it into the outbox.
    pub(super) fn queue(&mut self, context: &Context<'_>, message: Message, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        let now = context.now;
        self.check_writer()?;
        if !self.next.open {
            return Err(SyncError::new(ErrorCode::UnknownSession, "the session has ended; start it again"));
        }
        message.check()?;
        if message.ciphertext.is_empty() && message.kind != Kind::DELETION {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "a message needs a text"));
        }
        if message.ciphertext.len() > message.kind.text_bytes_max(false) {
            let message = format!("the text has {} bytes, the limit is {TEXT_BYTES_MAX}", message.ciphertext.len());
            return Err(SyncError::new(ErrorCode::MessageTooLarge, message));
        }
        if self.next.sealed.is_some() && content_of(&message).len() > CONTENT_BYTES_MAX {
            let message = format!("what is encrypted of the message has more than {CONTENT_BYTES_MAX} bytes");
            return Err(SyncError::new(ErrorCode::MessageTooLarge, message));
        }
        if self.outbox.len() >= OUTBOX_MESSAGES_MAX {
            return Err(SyncError::new(ErrorCode::OutboxFull, format!("{OUTBOX_MESSAGES_MAX} messages are waiting already")));
        }
        let counter = self.outbox.counter() + 1;
        if counter > INTEGER_MAX {
            return Err(SyncError::new(ErrorCode::LimitReached, "this device has written 2^53 - 1 messages here"));
        }
        let id = if message.id.is_empty() { message_id(self.id(), &self.device, context.start, counter) } else { message.id };
        let message = Message {
            id,
            sender_wallet: self.next.wallet.clone(),
            session_id: self.id().to_owned(),
            // A clock that is further ahead has no ISO 8601.
            timestamp: Stamp::Iso(now.wall_ms.min(ISO_MS_MAX)),
            ..message
        };
        let receipt =
            DeliveryReceipt { message_id: message.id.clone(), timestamp: iso_from_ms(now.wall_ms), status: MessageStatus::Queued };
        // Its author has seen what is stored, and not what is on its way to disk.
        let (device_id, knows) = (self.device.clone(), self.stored.log.end());
        let entry = Entry { message, device_id, counter, knows, server_timestamp: now.wall_ms, ..Entry::default() };
        entry.check()?;
        self.mark_sent_at_once(context, transaction);
        self.push_outbox(transaction, entry);
        Ok(Reply::Receipt(receipt))
    }

    /// What is queued now may be on its way once it is stored, or not before the session's record says so.
    pub(super) fn mark_sent_at_once(&mut self, context: &Context<'_>, transaction: &mut Transaction) {
        let is_sent_at_once = context.link.is_open();
        if is_sent_at_once != (self.next.sent_through == INTEGER_MAX) {
            let transmitted = self.outbox.transmitted_counter();
            self.change(transaction, true).sent_through = if is_sent_at_once { INTEGER_MAX } else { transmitted };
        }
    }

    /// Puts a message into the outbox. The session's record need not be written for its counter, which is at least that of
    /// the newest message in the outbox ([`Outbox::load`](super::outbox::Outbox::load)).
    pub(super) fn push_outbox(&mut self, transaction: &mut Transaction, entry: Entry) {
        self.enlist(transaction, false);
        if entry.message.kind == Kind::MESSAGE {
            transaction.change(|| Change::Message { session_id: self.id().to_owned(), entry: Box::new(entry.clone()) });
        }
        // What is queued in one transaction is one record.
        let last = transaction.last_outbox_record(self.id());
        let logged_digest = self.next.log.digest(self.id(), &self.device);
        if self.outbox.push(entry.clone(), last.is_some(), logged_digest) {
            if let Some(record) = last {
                record.entries.push(entry);
            }
        } else {
            let record = OutboxRecord { session_id: self.id().to_owned(), entries: vec![entry] };
            transaction.write(Write::Outbox(record), true);
        }
    }

    fn edit(&mut self, context: &Context<'_>, target: &str, text: Option<&str>, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        check_id("messageId", target)?;
        // A name of the application's own may have such a form too, but not begin with a session's id.
        if parse_message_id(target).is_some_and(|(session, ..)| uuid_bytes(session).is_some() && session != self.id()) {
            return Err(SyncError::new(ErrorCode::UnknownMessage, "the message belongs to another session"));
        }
        // By the id that it is shown with: another message may have the one that it was refused with.
        if self.failed_message(target).is_some_and(|record| record.entry.message.id == target) {
            if text.is_some() {
                let error = "the message was refused: send another one, or this one again with retryMessage";
                return Err(SyncError::new(ErrorCode::InvalidArgument, error));
            }
            self.give_up_failed(target, transaction);
            let timestamp = iso_from_ms(context.now.wall_ms.min(ISO_MS_MAX));
            return Ok(Reply::Receipt(DeliveryReceipt { message_id: target.to_owned(), timestamp, status: MessageStatus::Failed }));
        }
        let kind = if text.is_some() { Kind::EDIT } else { Kind::DELETION };
        let message =
            Message { ciphertext: text.unwrap_or_default().to_owned(), replaces: Some(target.to_owned()), kind, ..Message::default() };
        let reply = self.queue(context, message, transaction)?;
        transaction.tell(Event::MessageChanged { session_id: self.id().to_owned(), message_id: target.to_owned() });
        Ok(reply)
    }

    fn mark_read(
        &mut self,
        context: &mut Context<'_>,
        message_id: &str,
        sequence: u64,
        transaction: &mut Transaction,
    ) -> Result<Reply, SyncError> {
        if sequence == 0 || sequence > self.next.log.end() {
            return Err(SyncError::new(ErrorCode::UnknownMessage, format!("sequence {sequence} is not in the stored log")));
        }
        if self.next.read_mark.sequence_number >= sequence {
            return Ok(Reply::Done);
        }
        let record = self.change(transaction, false);
        record.read_mark = ReadMark { message_id: message_id.to_owned(), sequence_number: sequence };
        let wallet = record.wallet.clone();
        record.watermarks.of(&wallet).raise(ReceiptStatus::Read, sequence);
        let (session_id, status) = (self.id().to_owned(), ReceiptStatus::Read);
        let all_through = reached(&self.next, status);
        transaction.change(|| Change::Receipt { session_id, wallet, status, through: sequence, all_through });
        if self.flow.joined {
            let receipt = self.read_receipt(context.now);
            let (_, frame) = self.frame(context, receipt);
            transaction.transmit(context.link.generation(), frame);
        }
        Ok(Reply::Done)
    }

    /// `clearStoredMessages`.
    fn clear_log(&mut self, context: &mut Context<'_>, transaction: &mut Transaction) -> Reply {
        self.store_acknowledged(context, transaction);
        self.flush_own_log(transaction);
        let next = self.change(transaction, false);
        next.small_count = 0;
        let behind = next.log.end() + 1;
        // What is unread of the log goes on behind what leaves.
        let unread = next.sealed.iter_mut().flat_map(|state| &mut state.unread);
        unread.for_each(|unread| unread.epoch.sequence_number = unread.epoch.sequence_number.max(behind));
        self.join_batches();
        transaction.clear_log(self.id());
        transaction.change(|| Change::Cleared { session_id: self.id().to_owned() });
        Reply::Done
    }

    /// `enableAutoSync`, `disableAutoSync`.
    pub fn set_auto_sync(&mut self, now: Now, interval_ms: Option<u64>) {
        self.auto_sync = interval_ms.map(|interval_ms| AutoSync { interval_ms, next_ms: now.monotonic_ms + interval_ms });
    }

    /// `importMessages`.
    pub fn import(&mut self, context: &mut Context<'_>, entries: Vec<Entry>, transaction: &mut Transaction) -> Result<Reply, SyncError> {
        if self.next.sealed.is_some() {
            let message = "an encrypted session takes nothing but what its members have encrypted: its devices read it from the relay";
            return Err(SyncError::new(ErrorCode::InvalidArgument, message));
        }
        for entry in &entries {
            entry.message.check()?;
            entry.check()?;
        }
        self.store_acknowledged(context, transaction);
        let stored = self.store_entries(context, Arrived { entries, ..Arrived::default() }, transaction);
        stored.map(Reply::Count).map_err(|refusal| {
            SyncError::new(ErrorCode::InvalidMessageFormat, format!("the messages do not follow what is stored: {refusal}"))
        })
    }
}
