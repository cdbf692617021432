//! What is stored, as the application asks for it: pages of messages, single messages, exports.

use std::rc::Rc;

use js_sys::Array;
use solconnect_sync_core::client::{Input, MessageStatus, MessageView, SessionView};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::ids::parse_message_id;
use solconnect_sync_core::limits::BATCH_MESSAGES_MAX;
use solconnect_sync_core::message::Entry;

use crate::engine::Engine;
use crate::errors::invalid_argument;
use crate::exports;

/// Entries read at once where the whole log is walked through.
const WALK_ENTRIES: u64 = 1_000;

/// A message that is stored here.
pub struct Found {
    /// As it is shown. `None`: it is a version of another message.
    pub view: Option<MessageView>,
    /// Its session.
    pub session_id: String,
    /// Its place in the log; `None` while it is queued.
    pub sequence_number: Option<u64>,
}

impl Engine {
    /// A session that is stored here.
    ///
    /// # Errors
    /// `UNKNOWN_SESSION`.
    pub fn session(&self, session_id: &str) -> Result<SessionView, SyncError> {
        let sessions = self.read(|client| client.stored_sessions());
        let session = sessions.into_iter().find(|session| session.session_id == session_id);
        session.ok_or_else(|| SyncError::new(ErrorCode::UnknownSession, "the session was not started on this device"))
    }

    /// `getStoredMessages`: the last `limit` messages before a sequence number, or of all with the queued ones.
    ///
    /// # Errors
    /// `UNKNOWN_SESSION`, `STORAGE_ERROR`.
    pub async fn stored_messages(&self, session_id: &str, limit: u64, before_sequence: Option<u64>) -> Result<Vec<MessageView>, SyncError> {
        // What the machine knows now is one moment: the outbox, and a log up to the cursor that no longer changes.
        let end = self.session(session_id)?.last_synced_sequence.saturating_add(1);
        let queued = match before_sequence {
            None => self.read(|client| client.show(session_id, Vec::new(), true)),
            Some(_) => Vec::new(),
        };
        let wanted = limit.saturating_sub(queued.len() as u64);
        let mut before = before_sequence.unwrap_or(end).min(end);
        let mut shown: Vec<MessageView> = Vec::new();
        while (shown.len() as u64) < wanted {
            let entries = self.entries_before(session_id, before, wanted).await?;
            let Some(first) = entries.first() else { break };
            before = first.sequence_number;
            // Versions of other messages are entries too, so a page may show less than it holds.
            let page = self.read(|client| client.show(session_id, entries, false));
            shown.splice(..0, page);
        }
        shown.extend(queued);
        let surplus = (shown.len() as u64).saturating_sub(limit) as usize;
        Ok(shown.split_off(surplus))
    }

    /// Some entries before a sequence number, oldest first: at least `limit`, where there are so many.
    async fn entries_before(&self, session_id: &str, before: u64, limit: u64) -> Result<Vec<Entry>, SyncError> {
        let records = self.store.page(session_id, Some(before), limit).await?;
        let mut entries = Vec::new();
        for record in records.iter().rev() {
            entries.extend(record.entries()?.into_iter().filter(|entry| entry.sequence_number < before));
        }
        Ok(entries)
    }

    /// A message, by its id. Ids that seed clients made have no place in them: for one of those the log is walked through.
    ///
    /// # Errors
    /// `UNKNOWN_MESSAGE`, `STORAGE_ERROR`.
    pub async fn find(&self, message_id: &str) -> Result<Found, SyncError> {
        let queued = self.read(|client| client.queued());
        if let Some(view) = queued.into_iter().find(|view| view.id == message_id) {
            return Ok(Found { session_id: view.session_id.clone(), sequence_number: None, view: Some(view) });
        }
        if self.read(|client| client.queued_status(message_id)).is_some() {
            let session_id = parse_message_id(message_id).map_or_else(String::new, |(session_id, ..)| session_id.to_owned());
            return Ok(Found { session_id, sequence_number: None, view: None });
        }
        let (session_id, entry) = match parse_message_id(message_id) {
            Some((session_id, device_id, counter)) => (session_id.to_owned(), self.store.find(session_id, device_id, counter).await?),
            None => self.walk_to(message_id).await?,
        };
        match entry.filter(|entry| entry.message.id == message_id) {
            Some(entry) => {
                let sequence_number = Some(entry.sequence_number);
                let view = self.read(|client| client.show(&session_id, vec![entry], false)).pop();
                Ok(Found { view, session_id, sequence_number })
            }
            None => Err(SyncError::new(ErrorCode::UnknownMessage, "the message is not stored on this device")),
        }
    }

    async fn walk_to(&self, message_id: &str) -> Result<(String, Option<Entry>), SyncError> {
        for session in self.read(|client| client.stored_sessions()) {
            let mut before = session.last_synced_sequence.saturating_add(1);
            loop {
                let entries = self.entries_before(&session.session_id, before, WALK_ENTRIES).await?;
                let Some(first) = entries.first() else { break };
                before = first.sequence_number;
                if let Some(entry) = entries.into_iter().find(|entry| entry.message.id == message_id) {
                    return Ok((session.session_id, Some(entry)));
                }
            }
        }
        Ok((String::new(), None))
    }

    /// `getMessageStatus`.
    ///
    /// # Errors
    /// `UNKNOWN_MESSAGE`, `STORAGE_ERROR`.
    pub async fn status(&self, message_id: &str) -> Result<MessageStatus, SyncError> {
        if let Some(status) = self.read(|client| client.queued_status(message_id)) {
            return Ok(status);
        }
        // A version that is in the log is sent; who has seen it is told of the message that it changes.
        Ok(self.find(message_id).await?.view.map_or(MessageStatus::Sent, |view| view.status))
    }

    /// Marks a message and all before it as read. One that is queued is not to be read yet.
    ///
    /// # Errors
    /// `UNKNOWN_MESSAGE`, `STORAGE_ERROR`.
    pub async fn mark_read(self: &Rc<Self>, message_id: String) -> Result<(), SyncError> {
        let Found { session_id, sequence_number, .. } = self.find(&message_id).await?;
        if let Some(sequence_number) = sequence_number {
            self.call(|request| Input::MarkRead { request, session_id, message_id, sequence_number }).await?;
        }
        Ok(())
    }

    /// Checks that a message is one that this wallet may change.
    ///
    /// # Errors
    /// `UNKNOWN_MESSAGE`, `INVALID_ARGUMENT` for one that someone else wrote, `STORAGE_ERROR`.
    pub async fn check_own(&self, session_id: &str, message_id: &str) -> Result<(), SyncError> {
        match self.find(message_id).await? {
            Found { view: Some(view), .. } if view.session_id == session_id => {
                if self.read(|client| client.wallet() == Some(&view.sender_wallet)) {
                    return Ok(());
                }
                Err(invalid_argument("only the wallet that wrote a message can change it"))
            }
            _ => Err(SyncError::new(ErrorCode::UnknownMessage, "the message is not one of this session")),
        }
    }

    /// `exportMessages`.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn export(&self) -> Result<String, SyncError> {
        let sessions = Array::new();
        for session in self.read(|client| client.stored_sessions()) {
            let end = session.last_synced_sequence.saturating_add(1);
            let entries = self.entries_before(&session.session_id, end, u64::MAX).await?;
            sessions.push(&exports::session_to_js(&session, &entries)?);
        }
        exports::to_text(&sessions)
    }

    /// `importMessages`: the sessions of the connected wallet, from either side's export.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a text of another form, `WALLET_NOT_CONNECTED`, and what the machine answers; sessions
    /// before the one that fails are imported then.
    pub async fn import(self: &Rc<Self>, text: &str) -> Result<u64, SyncError> {
        let sessions = exports::from_text(text)?.iter().map(|session| exports::session_of(&session)).collect::<Result<Vec<_>, _>>()?;
        let own = self.read(|client| client.wallet().map(str::to_owned));
        let own = own.ok_or_else(|| SyncError::new(ErrorCode::WalletNotConnected, "connect the wallet whose messages these are"))?;
        let mut count = 0;
        for session in sessions {
            let peer_wallet = match [&session.wallet, &session.peer_wallet] {
                [wallet, peer] if *wallet == own => peer.clone(),
                [peer, wallet] if *wallet == own => peer.clone(),
                _ => continue,
            };
            let mut entries = session.entries.into_iter().peekable();
            while entries.peek().is_some() {
                let (peer_wallet, entries) = (peer_wallet.clone(), entries.by_ref().take(BATCH_MESSAGES_MAX).collect());
                count += self.call(|request| Input::Import { request, peer_wallet, entries }).count().await?;
            }
        }
        Ok(count)
    }
}
