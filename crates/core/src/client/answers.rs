//! What keyed calls were answered. Who owns the store may change while a call is under way, and who asked then asks again:
//! the same call gets the same answer, and is done once.
//!
//! What is stored goes through the transaction like a session: `stored` is on disk, and `next` is what the transaction makes
//! of it. An answer is stored with what it is about, or neither is.

use super::Client;
use super::api::{CallKey, Input, Reply, Write};
use super::session::Session;
use super::transaction::Transaction;
use super::views::{DeliveryReceipt, SessionView};
use crate::error::SyncError;
use crate::ids::SessionId;
use crate::limits::CALLS_MAX;
use crate::sorted::Sorted;

/// The answer to a keyed call that changed what is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord {
    /// The tab that asked.
    pub tab: u64,
    /// Its number for the call.
    pub call: u64,
    /// In the order in which calls were done.
    pub number: u64,
    /// The answer.
    pub reply: StoredReply,
}

/// A [`Reply`], as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredReply {
    /// It is done.
    Done,
    /// It is done, for so many messages.
    Count(u64),
    /// The session. Who asks again is told how it is then.
    Session(SessionId),
    /// The message is stored.
    Receipt(DeliveryReceipt),
}

impl StoredReply {
    /// The reply. `None` for a session that is not there.
    fn shown(&self, view: impl FnOnce(&str) -> Option<SessionView>) -> Option<Reply> {
        Some(match self {
            StoredReply::Done => Reply::Done,
            StoredReply::Count(count) => Reply::Count(*count),
            StoredReply::Session(session_id) => Reply::Session(view(session_id)?),
            StoredReply::Receipt(receipt) => Reply::Receipt(receipt.clone()),
        })
    }
}

/// The answers of a database.
#[derive(Default)]
pub(super) struct Answers {
    stored: Sorted<(u64, u64), CallRecord>,
    /// What the transaction makes of some; `None`: it leaves.
    next: Sorted<(u64, u64), Option<CallRecord>>,
    last_number: u64,
}

impl Answers {
    /// Those of a database.
    pub fn load(records: Vec<CallRecord>) -> Answers {
        let mut answers = Answers::default();
        for record in records {
            answers.last_number = answers.last_number.max(record.number);
            answers.stored.insert((record.tab, record.call), record);
        }
        answers
    }

    /// As the transaction leaves it.
    fn get(&self, key: &CallKey) -> Option<&CallRecord> {
        let place = (key.tab, key.call);
        self.next.get(&place).map_or_else(|| self.stored.get(&place), Option::as_ref)
    }

    /// All of them, as the transaction leaves them.
    fn records(&self) -> impl Iterator<Item = &CallRecord> {
        let stored = self.stored.values().filter(|record| !self.next.contains_key(&(record.tab, record.call)));
        stored.chain(self.next.values().flatten())
    }

    /// A tab has these answers, and never asks for them again.
    fn forget(&mut self, tab: u64, through: u64, transaction: &mut Transaction) {
        let is_done = |record: &&CallRecord| record.tab == tab && record.call <= through;
        let done: Vec<(u64, u64)> = self.records().filter(is_done).map(|record| (record.tab, record.call)).collect();
        if !done.is_empty() {
            transaction.write(Write::ForgetCalls { tab, through }, false);
        }
        done.into_iter().for_each(|place| drop(self.next.insert(place, None)));
    }

    /// Keeps an answer. Where there are too many, the oldest leaves.
    fn keep(&mut self, key: &CallKey, reply: &Reply, transaction: &mut Transaction) {
        if self.records().count() >= CALLS_MAX
            && let Some(oldest) = self.records().min_by_key(|record| record.number)
        {
            let (tab, call) = (oldest.tab, oldest.call);
            transaction.write(Write::ForgetCall { tab, call }, false);
            self.next.insert((tab, call), None);
        }
        self.last_number += 1;
        let reply = match reply {
            // Of a code only its person keeps what it is.
            Reply::Done | Reply::RecoveryCode(_) | Reply::Needed(_) => StoredReply::Done,
            Reply::Count(count) => StoredReply::Count(*count),
            Reply::Session(session) => StoredReply::Session(session.session_id.clone()),
            Reply::Receipt(receipt) => StoredReply::Receipt(receipt.clone()),
        };
        let record = CallRecord { tab: key.tab, call: key.call, number: self.last_number, reply };
        transaction.write(Write::Call(record.clone()), false);
        self.next.insert((key.tab, key.call), Some(record));
    }

    /// All of them are written to a store that has none.
    pub fn write_anew(&self, transaction: &mut Transaction) {
        self.stored.values().for_each(|record| transaction.write(Write::Call(record.clone()), false));
    }

    /// The transaction is on disk.
    pub fn commit(&mut self) {
        for (place, record) in std::mem::take(&mut self.next).into_iter() {
            match record {
                Some(record) => self.stored.insert(place, record),
                None => self.stored.remove(&place),
            };
        }
    }

    /// Nothing of the transaction is on disk.
    pub fn roll_back(&mut self) {
        self.next = Sorted::default();
    }
}

impl Client {
    /// What a call was answered that was made before, also in an earlier life of the machine.
    pub fn answer_to(&self, key: &CallKey) -> Option<Reply> {
        let record = self.answers.stored.get(&(key.tab, key.call))?;
        record.reply.shown(|session_id| self.sessions.get(session_id).map(Session::view))
    }

    /// What a call was answered, where it has a key.
    pub(super) fn known_answer(&self, call: &Input) -> Option<Reply> {
        if let Input::Keyed { key, .. } = call { self.answer_to(key) } else { None }
    }

    /// Does a call, unless it was done before.
    pub(super) fn collect_keyed(
        &mut self,
        key: &CallKey,
        transaction: &mut Transaction,
        work: impl FnOnce(&mut Client, &mut Transaction) -> Result<Reply, SyncError>,
    ) -> Result<Reply, SyncError> {
        self.answers.forget(key.tab, key.done_through, transaction);
        let known = self.answers.get(key).map(|record| record.reply.clone());
        if let Some(reply) = known.and_then(|reply| reply.shown(|session_id| self.sessions.get(session_id).map(Session::next_view))) {
            return Ok(reply);
        }
        let reply = work(self, transaction)?;
        self.answers.keep(key, &reply, transaction);
        Ok(reply)
    }
}
