//! What is stored, as the application asks for it: pages of messages, single messages, exports.

use std::rc::Rc;

use js_sys::Array;
use solconnect_sync_core::client::{CallKey, Input, LogRecord, MessageStatus, MessageView, RequestId, SessionKind, SessionView, StoredLog};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::ids::parse_message_id;
use solconnect_sync_core::limits::BATCH_MESSAGES_MAX;
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::Kind;
use solconnect_sync_core::vector_clock::VectorClock;
use wasm_bindgen::JsValue;

use crate::engine::Engine;
use crate::exports;
use crate::types::{read_all, to_js, with_clocks};

/// Entries read at once where the whole log is walked through.
const WALK_ENTRIES: u64 = 1_000;

/// A message that is stored here.
pub struct Found {
    /// As it is shown. `None`: it is not shown by itself, such as a version of another message.
    pub view: Option<MessageView>,
    /// How far it is.
    pub status: MessageStatus,
    /// Its session and its place in the log; `None` while it is queued.
    pub place: Option<(String, u64)>,
}

/// What is wished of a message that has to be looked up.
pub enum Wish {
    /// `getMessage`.
    View,
    /// `getMessageStatus`.
    Status,
    /// It and all before it were read. One that is queued is not to be read yet.
    MarkRead,
    /// Nothing: that is told by itself.
    MarkDelivered,
    /// `None`: it is deleted.
    #[allow(missing_docs, reason = "the fields are named after what they are")]
    Edit { session_id: String, text: Option<String> },
    /// `cancelMessage`.
    Cancel,
}

enum Granted {
    Value(JsValue),
    Call(Box<dyn FnOnce(RequestId) -> Input>),
}

impl Engine {
    /// A session that is stored here.
    ///
    /// # Errors
    /// `UNKNOWN_SESSION`.
    pub fn session(&self, session_id: &str) -> Result<SessionView, SyncError> {
        let session = self.read(|client| client.session(session_id));
        session.ok_or_else(|| {
            SyncError::new(
                ErrorCode::UnknownSession,
                "the session was not started on this device: call startSession, or acceptSession for an invitation",
            )
        })
    }

    /// `getStoredMessages`: the last `limit` messages before a sequence number, or of all with the queued ones.
    ///
    /// # Errors
    /// `UNKNOWN_SESSION`, `STORAGE_ERROR`.
    pub async fn stored_messages(&self, session_id: &str, limit: u64, before_sequence: Option<u64>) -> Result<Vec<MessageView>, SyncError> {
        // What the machine knows now is one moment: the outbox, and a log up to the cursor that no longer changes.
        let end = self.session(session_id)?.last_synced_sequence.saturating_add(1);
        let queued = match before_sequence {
            None => self.unsent(session_id, limit),
            Some(_) => Vec::new(),
        };
        let wanted = limit - queued.len() as u64;
        let mut before = before_sequence.unwrap_or(end).min(end);
        let (mut records, mut messages) = (Vec::new(), Vec::new());
        while (messages.len() as u64) < wanted {
            let page = self.store.page(session_id, Some(before), wanted).await?;
            let Some(oldest) = page.last() else { break };
            let end = std::mem::replace(&mut before, oldest.first);
            for record in &page {
                // Versions of other messages are entries too, so a page may hold fewer messages than entries.
                let entries = record.entries()?.into_iter().rev();
                messages.extend(entries.filter(|entry| entry.sequence_number < end && entry.message.kind.is_message()));
            }
            records.extend(page);
        }
        messages.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        messages.reverse();
        messages.extend(queued);
        self.show(session_id, messages, &records).await
    }

    /// The messages that wait in the outboxes, oldest first in each session.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn queued_messages(&self) -> Result<Vec<MessageView>, SyncError> {
        let mut shown = Vec::new();
        for session in self.read(|client| client.stored_sessions()) {
            let unsent = self.unsent(&session.session_id, u64::MAX);
            shown.extend(self.show(&session.session_id, unsent, &[]).await?);
        }
        shown.retain(|message| message.status != MessageStatus::Failed);
        Ok(shown)
    }

    /// The last `limit` messages of a session that have no place in its log: what failed, then what waits, oldest first.
    fn unsent(&self, session_id: &str, limit: u64) -> Vec<Entry> {
        self.read(|client| {
            let mut unsent = client.unsent(session_id);
            unsent.retain(|entry| entry.message.kind.is_message());
            let surplus = (unsent.len() as u64).saturating_sub(limit) as usize;
            unsent[surplus..].iter().copied().cloned().collect()
        })
    }

    /// Entries of a session as messages, with their vector clocks. `records` are batches that are at hand.
    async fn show(&self, session_id: &str, entries: Vec<Entry>, records: &[LogRecord]) -> Result<Vec<MessageView>, SyncError> {
        let clocks = self.clocks_of(session_id, &entries, records).await?;
        Ok(self.read(|client| client.show(session_id, entries.into_iter().zip(clocks).collect(), false)))
    }

    /// The vector clocks of entries, each from the batch that holds the last entry that its author knew: from those at hand,
    /// or from an older one, which is read once for all that need it. `None` where that is no longer in the log.
    async fn clocks_of(&self, session_id: &str, entries: &[Entry], records: &[LogRecord]) -> Result<Vec<Option<VectorClock>>, SyncError> {
        let mut clocks = vec![None; entries.len()];
        for record in records {
            fill_clocks(&mut clocks, record, entries)?;
        }
        let mut below = u64::MAX;
        loop {
            // Who knew nothing needs no batch.
            let missing = entries.iter().zip(&clocks).filter(|(entry, clock)| clock.is_none() && (1..below).contains(&entry.knows));
            let Some(known) = missing.map(|(entry, _)| entry.knows).max() else { return Ok(clocks) };
            let Some(record) = self.store.page(session_id, Some(known + 1), 1).await?.into_iter().next() else { return Ok(clocks) };
            fill_clocks(&mut clocks, &record, entries)?;
            below = known;
        }
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

    /// A message, by its id. An id of our own form names its place. What is there may still be another message: the
    /// application gave such an id itself, or the message was queued again under another device. Then, as for ids of other
    /// forms, the log is walked through.
    ///
    /// # Errors
    /// `UNKNOWN_MESSAGE`, `STORAGE_ERROR`.
    pub async fn find(&self, message_id: &str) -> Result<Found, SyncError> {
        if let Some((status, view)) = self.read(|client| client.unsent_message(message_id)) {
            return Ok(Found { view, status, place: None });
        }
        let named = parse_message_id(message_id);
        let at_place = match named {
            Some((session_id, device_id, counter)) => self.store.find(session_id, device_id, counter).await?,
            None => None,
        };
        // A void may have the name of a message that was refused, and that has come to another place since.
        let entry = match at_place.filter(|entry| entry.message.id == message_id && entry.message.kind != Kind::VOID) {
            Some(entry) => Some(entry),
            None => self.walk_to(message_id, named.map(|(session_id, ..)| session_id)).await?,
        };
        let entry = entry.ok_or_else(|| SyncError::new(ErrorCode::UnknownMessage, "the message is not stored on this device"))?;
        let (session_id, sequence_number, kind) = (entry.message.session_id.clone(), entry.sequence_number, entry.message.kind);
        let is_unopened = entry.is_unopened();
        let view = self.read(|client| client.show(&session_id, vec![(entry, None)], false)).pop();
        let status = match &view {
            Some(view) => view.status,
            None if kind == Kind::VOID => MessageStatus::Failed,
            // A version that is in the log is sent; who has seen it is told of the message that it changes.
            None if kind.is_version() && !is_unopened => MessageStatus::Sent,
            // What no list shows is not there for anybody: it is not marked as read either.
            None => return Err(SyncError::new(ErrorCode::UnknownMessage, "this device cannot show the message, or not yet")),
        };
        Ok(Found { view, status, place: Some((session_id, sequence_number)) })
    }

    /// Searches every log from its end, that of the named session first. A void is meant where no message has the id.
    async fn walk_to(&self, message_id: &str, named: Option<&str>) -> Result<Option<Entry>, SyncError> {
        let sessions = self.read(|client| client.stored_sessions());
        let is_named = |session: &SessionView| named == Some(&session.session_id);
        let (first, others): (Vec<SessionView>, Vec<SessionView>) = sessions.into_iter().partition(is_named);
        let mut void = None;
        for session in first.into_iter().chain(others) {
            let mut before = session.last_synced_sequence.saturating_add(1);
            loop {
                let entries = self.entries_before(&session.session_id, before, WALK_ENTRIES).await?;
                let Some(first) = entries.first() else { break };
                before = first.sequence_number;
                for entry in entries.into_iter().rev().filter(|entry| entry.message.id == message_id) {
                    if entry.message.kind != Kind::VOID {
                        return Ok(Some(entry));
                    }
                    void = Some(entry);
                }
            }
        }
        Ok(void)
    }

    /// Does what is wished of a message. One future for all wishes: a page loads a fraction of the code that one for each takes.
    ///
    /// # Errors
    /// `UNKNOWN_SESSION`, `UNKNOWN_MESSAGE`, `NOT_YOUR_MESSAGE`, `MESSAGE_SENT`, `STORAGE_ERROR`, and what the machine answers.
    pub async fn of_message(self: Rc<Self>, key: Option<CallKey>, message_id: String, wish: Wish) -> Result<JsValue, SyncError> {
        if let Wish::Edit { session_id, .. } = &wish {
            self.session(session_id)?;
        }
        if let Wish::Cancel = wish {
            let message_id = message_id.clone();
            match self.call(key, |request| Input::Cancel { request, message_id }).await {
                // One that was sent has left the outbox.
                Err(error) if error.code == ErrorCode::UnknownMessage => {}
                answer => return self.shown(answer?),
            }
        }
        let found = self.find(&message_id).await;
        match found.and_then(|found| self.grant(wish, message_id, found)) {
            Ok(Granted::Value(value)) => Ok(value),
            Ok(Granted::Call(input)) => self.shown(self.call(key, input).await?),
            // It may have been done before.
            Err(error) => match key.and_then(|key| self.read(|client| client.answer_to(&key))) {
                Some(reply) => self.shown(reply),
                None => Err(error),
            },
        }
    }

    /// What a wish comes to, for the message that was found.
    fn grant(&self, wish: Wish, message_id: String, Found { view, status, place }: Found) -> Result<Granted, SyncError> {
        let is_own = view.as_ref().is_some_and(|view| self.read(|client| client.wallet() == Some(&view.sender_wallet)));
        let unknown = |why| SyncError::new(ErrorCode::UnknownMessage, why);
        match wish {
            Wish::Edit { session_id, text } => {
                if view.is_none_or(|view| view.session_id != session_id) {
                    return Err(unknown("the message is not one of this session"));
                }
                if !is_own {
                    return Err(not_yours());
                }
                Ok(Granted::Call(Box::new(|request| Input::Edit { request, session_id, message_id, text })))
            }
            Wish::MarkRead => Ok(match place {
                Some((session_id, sequence_number)) => {
                    Granted::Call(Box::new(move |request| Input::MarkRead { request, session_id, message_id, sequence_number }))
                }
                None => Granted::Value(JsValue::NULL),
            }),
            Wish::MarkDelivered => Ok(Granted::Value(JsValue::NULL)),
            Wish::Status => to_js(&status).map(Granted::Value),
            Wish::Cancel | Wish::View => match view {
                None => Err(unknown("what has this id is not shown by itself")),
                Some(view) if matches!(wish, Wish::View) => with_clocks(&view).map(Granted::Value),
                Some(_) if is_own => Err(SyncError::new(ErrorCode::MessageSent, "the message was sent already; delete it instead")),
                Some(_) => Err(not_yours()),
            },
        }
    }

    /// `exportMessages`: the sessions of two wallets. Groups come from the relay, whose log says who is in them.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub async fn export(&self) -> Result<String, SyncError> {
        let sessions = Array::new();
        for session in self.read(|client| client.stored_sessions()) {
            if session.kind == SessionKind::Group {
                continue;
            }
            let end = session.last_synced_sequence.saturating_add(1);
            let entries = self.entries_before(&session.session_id, end, u64::MAX).await?;
            sessions.push(&exports::session_to_js(&session, &entries)?);
        }
        exports::to_text(&sessions)
    }

    /// `exportEvidence`: what the relay has signed of a session, with the digests of its log where all of that is stored.
    ///
    /// # Errors
    /// `UNKNOWN_SESSION` also where the relay has signed nothing, `STORAGE_ERROR`.
    pub async fn evidence(&self, session_id: &str) -> Result<String, SyncError> {
        let end = self.session(session_id)?.last_synced_sequence.saturating_add(1);
        let evidence = self.read(|client| client.evidence(session_id));
        let nothing = || SyncError::new(ErrorCode::UnknownSession, "the relay has signed nothing of this session that this device knows");
        let mut evidence = evidence.ok_or_else(nothing)?;
        let entries = self.entries_before(session_id, end, u64::MAX).await?;
        // Of a log whose beginning was cleared nothing can be computed.
        if entries.first().is_some_and(|entry| entry.sequence_number == 1) {
            let followed = evidence.follow(&mut Log::new(session_id), &entries);
            followed.map_err(|refusal| SyncError::new(ErrorCode::StorageError, refusal.to_string()))?;
        }
        Ok(evidence.to_text())
    }

    /// `acceptRelayLog`, with what is stored of the sessions that stopped.
    ///
    /// # Errors
    /// `WALLET_NOT_CONNECTED`, `OUTBOX_FULL`, `STORAGE_ERROR`, and other errors of the storage.
    pub async fn accept_relay_log(self: &Rc<Self>) -> Result<u64, SyncError> {
        let mut stored: Vec<StoredLog> = Vec::new();
        // Others stop while these are read: the relay was set back in all of them.
        let is_read = |stored: &[StoredLog], name: &str| stored.iter().any(|log| log.session_id == name);
        while let Some(session_id) = self.read(|client| client.parted()).into_iter().find(|name| !is_read(&stored, name)) {
            let end = self.session(&session_id)?.last_synced_sequence;
            let entries = self.entries_before(&session_id, end.saturating_add(1), u64::MAX).await?;
            stored.push(StoredLog { session_id, end, entries });
        }
        self.call(None, |request| Input::AcceptRelayLog { request, stored }).count().await
    }

    /// `importMessages`: the sessions of the connected wallet, from either side's export.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a text of another form, `WALLET_NOT_CONNECTED`, and what the machine answers; sessions
    /// before the one that fails are imported then.
    pub async fn import(self: &Rc<Self>, text: &str) -> Result<u64, SyncError> {
        // All of it is read before anything is stored.
        let sessions = read_all(exports::from_text(text)?, exports::session_of)?;
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
                count += self.call(None, |request| Input::Import { request, peer_wallet, entries }).count().await?;
            }
        }
        Ok(count)
    }
}

fn not_yours() -> SyncError {
    SyncError::new(ErrorCode::NotYourMessage, "only the wallet that wrote a message can change it")
}

/// Sets the clocks that are missing and that a batch gives.
fn fill_clocks(clocks: &mut [Option<VectorClock>], record: &LogRecord, entries: &[Entry]) -> Result<(), SyncError> {
    for (clock, found) in clocks.iter_mut().zip(record.clocks_of(entries.iter())?) {
        *clock = clock.take().or(found);
    }
    Ok(())
}
