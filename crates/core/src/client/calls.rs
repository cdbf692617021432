//! What the application asks for.

use super::Client;
use super::api::{Action, DeliveryReceipt, Event, Input, MessageStatus, Reply};
use super::commit::Stage;
use super::config::check_interval;
use super::link::read_receipt;
use super::records::{ReadMark, SessionRecord};
use super::session::{AutoSync, Session};
use super::view::Stored;
use crate::error::{ErrorCode, SyncError};
use crate::frame::ReceiptStatus;
use crate::ids::{SessionId, check_id, check_wallet, message_id, parse_message_id, session_of};
use crate::limits::{BATCH_MESSAGES_MAX, INTEGER_MAX, OUTBOX_MESSAGES_MAX, SESSIONS_MAX};
use crate::message::{Entry, Message, Stamp};
use crate::time::{Now, iso_from_ms};

impl Client {
    /// Calls that change what is stored: answered when that is on disk.
    pub(super) fn stage_call(&mut self, now: Now, call: Input, stage: &mut Stage) {
        match call {
            Input::OpenSession { request, peer_wallet } => {
                let result = self.open_session(&peer_wallet, stage);
                stage.reply(request, result);
            }
            Input::CloseSession { request, session_id } => {
                let result = self.close_session(&session_id, stage);
                stage.reply(request, result);
            }
            Input::Send { request, session_id, text, content_type } => {
                let message = Message { ciphertext: text, content_type, ..Message::default() };
                let result = self.queue(now, &session_id, message, stage);
                stage.reply(request, result);
            }
            Input::Edit { request, session_id, message_id, text } => {
                let result = self.edit(now, &session_id, message_id, text, stage);
                stage.reply(request, result);
            }
            Input::MarkRead { request, session_id, message_id, sequence_number } => {
                let result = self.mark_read(now, &session_id, message_id, sequence_number, stage);
                stage.reply(request, result);
            }
            Input::ClearLog { request, session_id } => {
                let result = self.clear_log(session_id, stage);
                stage.reply(request, result);
            }
            Input::Import { request, peer_wallet, entries } => {
                let result = self.import(&peer_wallet, entries, stage);
                stage.reply(request, result);
            }
            _ => {}
        }
    }

    /// Calls that change nothing that is stored.
    pub(super) fn run_call(&mut self, now: Now, call: Input, actions: &mut Vec<Action>) {
        match call {
            Input::ConnectWallet { request, wallet } => {
                let result = check_wallet(&wallet).map(|()| Reply::Done);
                if result.is_ok() && self.wallet.as_ref() != Some(&wallet) {
                    self.leave_wallet(now, actions);
                    self.wallet = Some(wallet);
                }
                actions.push(Action::Reply { request, result });
            }
            Input::DisconnectWallet { request } => {
                self.leave_wallet(now, actions);
                actions.push(Action::Reply { request, result: Ok(Reply::Done) });
            }
            Input::Sync { request, session_id, scope } => self.sync(now, request, session_id, scope, actions),
            Input::AutoSync { request, session_id, interval_ms } => {
                let result = self.auto_sync(now, &session_id, interval_ms);
                actions.push(Action::Reply { request, result });
            }
            _ => {}
        }
    }

    fn leave_wallet(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.wallet.take().is_some() {
            self.drop_link(now, "the wallet was disconnected", actions);
            let error = SyncError::new(ErrorCode::WalletNotConnected, "the wallet was disconnected");
            self.fail_operations(now, &error, actions);
        }
    }

    /// The session with a peer, created where it is new.
    fn session_with(&mut self, peer_wallet: &str, stage: &mut Stage) -> Result<SessionId, SyncError> {
        if let Some(error) = &self.fenced {
            return Err(error.clone());
        }
        let Some(wallet) = self.wallet.clone() else {
            return Err(SyncError::new(ErrorCode::WalletNotConnected, "connectWallet has not been called"));
        };
        check_wallet(peer_wallet)?;
        let session_id = session_of(&wallet, peer_wallet);
        match self.sessions.get(&session_id) {
            Some(session) if session.record.wallet == wallet => return Ok(session_id),
            Some(_) => {
                let message = "this database already holds the other side of this session; give each wallet a database of its own";
                return Err(SyncError::new(ErrorCode::SessionCreationFailed, message));
            }
            None if self.sessions.len() >= SESSIONS_MAX => {
                return Err(SyncError::new(ErrorCode::LimitReached, format!("a device keeps at most {SESSIONS_MAX} sessions")));
            }
            None => {}
        }
        let session = Session::new(SessionRecord {
            session_id: session_id.clone(),
            wallet,
            peer_wallet: peer_wallet.to_owned(),
            device_id: self.device.device_id.clone(),
            ..SessionRecord::default()
        });
        stage.created(&session);
        self.sessions.insert(session_id.clone(), session);
        Ok(session_id)
    }

    fn open_session(&mut self, peer_wallet: &str, stage: &mut Stage) -> Result<Reply, SyncError> {
        let session_id = self.session_with(peer_wallet, stage)?;
        let session = self.session_for_call(&session_id)?;
        stage.touch(session, true);
        session.record.open = true;
        session.halted = None;
        let view = Stored { session, group: None }.view();
        self.sessions_due_ms = 0;
        Ok(Reply::Session(view))
    }

    fn close_session(&mut self, session_id: &str, stage: &mut Stage) -> Result<Reply, SyncError> {
        let session = self.session_for_call(session_id)?;
        stage.touch(session, true);
        session.record.open = false;
        stage.end_auto_sync(session);
        Ok(Reply::Done)
    }

    /// Gives a message its counter and clock, and puts it into the outbox.
    fn queue(&mut self, now: Now, session_id: &str, message: Message, stage: &mut Stage) -> Result<Reply, SyncError> {
        let session = self.session_for_call(session_id)?;
        let device = session.record.device_id.clone();
        if !session.record.open {
            return Err(SyncError::new(ErrorCode::UnknownSession, "the session has ended; start it again"));
        }
        message.check()?;
        if message.ciphertext.is_empty() && !message.deleted {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "a message needs a text"));
        }
        if session.outbox.len() >= OUTBOX_MESSAGES_MAX {
            return Err(SyncError::new(ErrorCode::OutboxFull, format!("{OUTBOX_MESSAGES_MAX} messages are waiting already")));
        }
        let counter = session.record.counter + 1;
        if counter > INTEGER_MAX {
            return Err(SyncError::new(ErrorCode::LimitReached, "this device has written 2^53 - 1 messages here"));
        }
        let mut vector_clock = session.record.heads.clone();
        vector_clock.raise(&device, counter)?;
        let message = Message {
            id: message_id(session_id, &device, counter),
            sender_wallet: session.record.wallet.clone(),
            session_id: session_id.to_owned(),
            timestamp: Stamp::Iso(now.wall_ms),
            ..message
        };
        let receipt =
            DeliveryReceipt { message_id: message.id.clone(), timestamp: iso_from_ms(now.wall_ms), status: MessageStatus::Queued };
        let entry = Entry { message, sequence_number: 0, vector_clock, server_timestamp: now.wall_ms, original_device_id: device };
        entry.check()?;
        stage.insert_outbox(session, entry);
        Ok(Reply::Receipt(receipt))
    }

    fn edit(&mut self, now: Now, session_id: &str, target: String, text: Option<String>, stage: &mut Stage) -> Result<Reply, SyncError> {
        check_id("messageId", &target)?;
        if parse_message_id(&target).is_some_and(|(session, ..)| session != session_id) {
            return Err(SyncError::new(ErrorCode::UnknownMessage, "the message belongs to another session"));
        }
        let deleted = text.is_none();
        let message = Message { ciphertext: text.unwrap_or_default(), replaces: Some(target.clone()), deleted, ..Message::default() };
        let reply = self.queue(now, session_id, message, stage)?;
        stage.tell(Event::MessageChanged { session_id: session_id.to_owned(), message_id: target });
        Ok(reply)
    }

    fn mark_read(&mut self, now: Now, session_id: &str, message_id: String, sequence: u64, stage: &mut Stage) -> Result<Reply, SyncError> {
        let session = self.session_for_call(session_id)?;
        if sequence == 0 || sequence > session.record.cursor {
            return Err(SyncError::new(ErrorCode::UnknownMessage, format!("sequence {sequence} is not in the stored log")));
        }
        if session.record.read_mark.sequence_number >= sequence {
            return Ok(Reply::Done);
        }
        stage.touch(session, false);
        session.record.read_mark = ReadMark { message_id: message_id.clone(), sequence_number: sequence };
        session.record.watermarks.of(&session.record.wallet).raise(ReceiptStatus::Read, sequence);
        if session.flow.joined {
            let (_, frame) = self.frame(now, session_id, read_receipt(now, message_id, sequence));
            stage.transmit(self.link.generation(), frame);
        }
        Ok(Reply::Done)
    }

    fn clear_log(&mut self, session_id: SessionId, stage: &mut Stage) -> Result<Reply, SyncError> {
        self.flush_log(stage);
        let session = self.session_for_call(&session_id)?;
        stage.touch(session, false);
        session.record.small_count = 0;
        stage.clear_log(session_id);
        Ok(Reply::Done)
    }

    fn auto_sync(&mut self, now: Now, session_id: &str, interval_ms: Option<u64>) -> Result<Reply, SyncError> {
        if let Some(interval_ms) = interval_ms {
            check_interval("intervalMs", interval_ms)?;
        }
        let session = self.session_for_call(session_id)?;
        session.auto_sync = interval_ms.map(|interval_ms| AutoSync { interval_ms, next_ms: now.monotonic_ms + interval_ms });
        self.sessions_due_ms = 0;
        Ok(Reply::Done)
    }

    fn import(&mut self, peer_wallet: &str, entries: Vec<Entry>, stage: &mut Stage) -> Result<Reply, SyncError> {
        if entries.len() > BATCH_MESSAGES_MAX {
            return Err(SyncError::new(ErrorCode::InvalidArgument, format!("import at most {BATCH_MESSAGES_MAX} messages at once")));
        }
        let session_id = self.session_with(peer_wallet, stage)?;
        for entry in &entries {
            entry.message.check()?;
            entry.check()?;
        }
        match self.store_entries(&session_id, entries, None, stage) {
            Ok(count) => Ok(Reply::Count(count)),
            Err(refusal) => {
                Err(SyncError::new(ErrorCode::InvalidMessageFormat, format!("the messages do not follow what is stored: {refusal}")))
            }
        }
    }
}
