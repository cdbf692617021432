//! Messages that are not in the stored log yet, and the records that they are stored in.
//!
//! An outbox has up to 10,000 messages and is not copied for a transaction: it has three parts. What is leaving is still
//! stored; what has a counter after the stored one is not stored yet; all between is in both states.

use std::collections::VecDeque;

use crate::client::records::OutboxRecord;
use crate::entry::{Digest, Entry};
use crate::ids::start_of;
use crate::message::Kind;
use crate::sorted::Sorted;

/// A message that waits, and its digest, which the next one's follows.
struct Queued {
    entry: Entry,
    digest: Digest,
    /// As it is sent in an encrypted session, once its epoch has begun; then the digest is that of this.
    sealed: Option<Box<Entry>>,
    /// The application was told that it is sent: the relay took it under another counter, before it was made anew.
    was_sent: bool,
}

/// A message that is to be made anew, and whether it is said to be sent.
type Waiting = (Entry, bool);

impl Queued {
    fn as_sent(&self) -> &Entry {
        self.sealed.as_deref().unwrap_or(&self.entry)
    }
}

#[derive(Default)]
pub(super) struct Outbox {
    /// By counter, without those that are leaving.
    entries: Sorted<u64, Queued>,
    /// By counter.
    leaving: Sorted<u64, Queued>,
    /// Whether one has a name that its place does not give it.
    has_names: bool,
    /// Whether one may be among them that people did not write.
    has_unwritten: bool,
    /// First and last counter of each record. One is swept from the store when all its messages are in the log; what of
    /// it is there by then is known by the log's heads.
    records: VecDeque<(u64, u64)>,
    /// Counters up to this one are on disk: only those are transmitted and shown.
    stored_counter: u64,
    /// The last counter that the device has used.
    counter: u64,
    /// The relay has this device's messages up to this counter, those included whose place in the log is not stored yet.
    acknowledged_counter: u64,
    /// The same, but for what the transaction under way found in the log.
    acknowledged_before: u64,
    /// Messages up to this counter were on their way to the relay, or may have been before this start.
    transmitted_counter: u64,
    /// The stored outbox, where the transaction queued all again under another id.
    replaced: Option<Box<Outbox>>,
}

impl Outbox {
    pub fn new(counter: u64) -> Outbox {
        Outbox { counter, stored_counter: counter, ..Outbox::default() }
    }

    /// Takes in stored messages, but for those that are in the stored log already.
    pub fn load(&mut self, record: OutboxRecord, device: &str, logged: u64, logged_digest: Digest) {
        let (first, last) = (record.first(), record.entries.last().map_or(0, |entry| entry.counter));
        self.records.push_back((first, last));
        for entry in record.entries.into_iter().filter(|entry| entry.device_id == device && entry.counter > logged) {
            self.counter = self.counter.max(entry.counter);
            self.insert(entry, logged_digest);
        }
        self.stored_counter = self.counter;
    }

    /// Messages up to this counter are on their way to the relay, or may be.
    pub fn transmit(&mut self, counter: u64) {
        self.transmitted_counter = self.transmitted_counter.max(counter);
    }

    /// Up to which counter that is so.
    pub fn transmitted_counter(&self) -> u64 {
        self.transmitted_counter
    }

    fn insert(&mut self, entry: Entry, logged_digest: Digest) {
        // Where nothing waits, it follows what is in the log.
        let digest = entry.digest(&self.entries.last().map_or(logged_digest, |last| last.digest));
        self.has_names |= is_named(&entry);
        let was_empty = self.entries.is_empty() && self.leaving.is_empty();
        self.has_unwritten = !entry.message.kind.has_status() || self.has_unwritten && !was_empty;
        self.entries.insert(entry.counter, Queued { entry, digest, sealed: None, was_sent: false });
    }

    /// The digest of the message with this counter.
    pub fn digest(&self, counter: u64) -> Option<Digest> {
        self.entries.get(&counter).map(|queued| queued.digest)
    }

    /// The last message behind this counter of which it is fixed what is sent, and its digest: from the first on they are, one after
    /// the other.
    pub fn sealed_through(&self, counter: u64) -> (u64, Option<Digest>) {
        let sealed = self.entries.between(&counter, &u64::MAX).take_while(|(_, queued)| queued.sealed.is_some());
        sealed.last().map_or((counter, None), |(counter, queued)| (*counter, Some(queued.digest)))
    }

    /// What is sent of a message in an encrypted session is fixed, and its digest with it.
    pub fn seal(&mut self, counter: u64, sealed: Entry, digest: Digest) {
        if let Some(queued) = self.entries.get_mut(&counter) {
            (queued.sealed, queued.digest) = (Some(Box::new(sealed)), digest);
        }
    }

    /// The epoch has ended: what the relay has not taken is encrypted anew.
    pub fn unseal(&mut self) {
        let acknowledged = self.acknowledged_counter;
        self.entries.values_mut().filter(|queued| queued.entry.counter > acknowledged).for_each(|queued| queued.sealed = None);
    }

    /// What waits as it is sent, after counter `sent`: in an encrypted session as far as that is fixed.
    pub fn sendable(&self, sent: u64, is_sealed: bool) -> impl Iterator<Item = &Entry> {
        let stored = self.stored_counter;
        let waiting = self.entries.between(&sent, &stored).map(|(_, queued)| queued);
        waiting.take_while(move |queued| !is_sealed || queued.sealed.is_some()).map(Queued::as_sent)
    }

    /// The message that was sent as this entry, in an encrypted session.
    pub fn sent_as(&self, entry: &Entry) -> Option<&Entry> {
        let queued = self.entries.get(&entry.counter).or_else(|| self.leaving.get(&entry.counter))?;
        queued.sealed.as_ref().filter(|sealed| sealed.is_repeat_of(entry)).map(|_| &queued.entry)
    }

    /// The message of this counter as it was sent, also one that the transaction under way takes away; `None` in an encrypted session
    /// where that is not fixed any more.
    pub fn as_sent(&self, counter: u64, is_sealed: bool) -> Option<&Entry> {
        let queued = self.entries.get(&counter).or_else(|| self.leaving.get(&counter))?;
        Some(queued).filter(|queued| !is_sealed || queued.sealed.is_some()).map(Queued::as_sent)
    }

    /// The message of this name; a void only where no message has it.
    pub fn named(&self, message_id: &str) -> Option<&Entry> {
        let mut named = self.iter().filter(|entry| entry.message.id == message_id);
        let first = named.next()?;
        let mut message = || named.find(|entry| entry.message.kind != Kind::VOID);
        if first.message.kind == Kind::VOID { message().or(Some(first)) } else { Some(first) }
    }

    /// The message that has the name of this entry, by another device of the wallet. That can only be where the one or the
    /// other has a name that its place does not give it. Voids have none: the relay takes the void of each copy of a profile.
    pub fn named_as(&self, other: &Entry) -> Option<&Entry> {
        let is_possible = (self.has_names || is_named(other)) && other.message.kind != Kind::VOID;
        if is_possible { self.named(&other.message.id) } else { None }
    }

    pub fn counter(&self) -> u64 {
        self.counter
    }

    pub fn raise_counter(&mut self, counter: u64) {
        self.counter = self.counter.max(counter);
    }

    pub fn stored_counter(&self) -> u64 {
        self.stored_counter
    }

    pub fn acknowledged_counter(&self) -> u64 {
        self.acknowledged_counter
    }

    /// The same, without what the transaction under way found in the log.
    pub fn answered_counter(&self) -> u64 {
        self.acknowledged_before
    }

    /// Whether the application was told that the message of this counter is sent.
    pub fn is_sent(&self, counter: u64) -> bool {
        counter <= self.acknowledged_counter || self.was_sent(counter)
    }

    /// The same of a message on disk, whose counter the transaction under way may change.
    pub fn is_sent_on_disk(&self, counter: u64) -> bool {
        let outbox = self.replaced.as_deref().unwrap_or(self);
        counter <= outbox.acknowledged_before || outbox.was_sent(counter)
    }

    fn was_sent(&self, counter: u64) -> bool {
        let queued = self.entries.get(&counter).or_else(|| self.leaving.get(&counter));
        queued.is_some_and(|queued| queued.was_sent)
    }

    /// The application is told that the message of this counter is sent, as it was under another one.
    pub fn keep_sent(&mut self, counter: u64) {
        if let Some(queued) = self.entries.get_mut(&counter) {
            queued.was_sent = true;
        }
    }

    /// Of nothing that waits it is known that the relay has it.
    pub fn forget_sent(&mut self) {
        self.entries.values_mut().for_each(|queued| queued.was_sent = false);
    }

    /// A message up to this counter is in the log that is about to be stored.
    pub fn acknowledge(&mut self, counter: u64) {
        self.acknowledged_counter = self.acknowledged_counter.max(counter);
    }

    /// The relay says that it has all up to this counter. That is so whatever becomes of the transaction.
    pub fn take_ack(&mut self, counter: u64) {
        self.acknowledge(counter);
        self.acknowledged_before = self.acknowledged_before.max(counter);
    }

    /// The relay says that it lacks what follows this counter.
    pub fn take_gap(&mut self, counter: u64) {
        self.acknowledged_counter = self.acknowledged_counter.min(counter);
        self.acknowledged_before = self.acknowledged_before.min(counter);
        // It may be of an epoch that ended meanwhile; in the same one it becomes the same again.
        self.unseal();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn get(&self, counter: u64) -> Option<&Entry> {
        self.entries.get(&counter).map(|queued| &queued.entry)
    }

    /// One that the transaction under way takes away.
    pub fn get_leaving(&self, counter: u64) -> Option<&Entry> {
        self.leaving.get(&counter).map(|queued| &queued.entry)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|queued| &queued.entry)
    }

    /// How many stored entries wait, up to this counter, whoever made them.
    pub fn stored_count_through(&self, counter: u64) -> u64 {
        self.entries.count_through(&counter.min(self.stored_counter)) as u64
    }

    /// How many stored messages, edits and deletions wait. An outbox may be long: it is walked through only where something else may
    /// be among them.
    pub fn written_count(&self) -> u64 {
        if !self.has_unwritten {
            return self.stored_count_through(u64::MAX);
        }
        self.unsent(0).filter(|entry| entry.message.kind.has_status()).count() as u64
    }

    /// Those after `counter`, up to `last` included.
    pub fn between(&self, counter: u64, last: u64) -> impl Iterator<Item = &Entry> {
        self.entries.between(&counter, &last).map(|(_, queued)| &queued.entry)
    }

    /// What is stored and was not sent yet, after counter `sent`.
    pub fn unsent(&self, sent: u64) -> impl Iterator<Item = &Entry> {
        self.between(sent, self.stored_counter)
    }

    /// Adds a message; whether its record follows the last one, so that both can be one. `logged_digest` is that of the
    /// device's last entry in the log.
    pub fn push(&mut self, entry: Entry, joins_last_record: bool, logged_digest: Digest) -> bool {
        let counter = entry.counter;
        self.counter = counter;
        self.insert(entry, logged_digest);
        match self.records.back_mut() {
            Some((_, last)) if joins_last_record && *last + 1 == counter => {
                *last = counter;
                true
            }
            _ => {
                self.records.push_back((counter, counter));
                false
            }
        }
    }

    /// A message is in the log. Its record stays until it is swept.
    pub fn remove(&mut self, counter: u64) {
        if let Some(queued) = self.entries.remove(&counter) {
            self.leaving.insert(counter, queued);
        }
    }

    /// Goes on with an empty one behind this counter; returns the messages, and the records that leave. What the relay has up to `acknowledged` it has still.
    pub fn replace(&mut self, counter: u64, acknowledged: u64) -> (Vec<Waiting>, Option<(u64, u64)>) {
        let transmitted_counter = counter + self.between(0, self.transmitted_counter).count() as u64;
        let empty = Outbox { counter, acknowledged_counter: acknowledged, transmitted_counter, ..Outbox::default() };
        let mut before = std::mem::replace(self, empty);
        let entries = before.iter().map(|entry| (entry.clone(), before.is_sent(entry.counter))).collect();
        let records = before.records.front().zip(before.records.back()).map(|((first, _), (_, last))| (*first, *last));
        self.replaced = before.replaced.take().or(Some(Box::new(before)));
        (entries, records)
    }

    /// So many messages come before all that were in it: none of them can be cancelled.
    pub fn put_before(&mut self, count: u64) {
        self.transmitted_counter += count;
    }

    /// One that was on its way to the relay is not made anew.
    pub fn leave_out(&mut self) {
        self.transmitted_counter -= 1;
    }

    /// Whether the transaction under way made the messages anew: where it is dropped, so is what the relay says of them.
    pub fn is_replaced(&self) -> bool {
        self.replaced.is_some()
    }

    /// Whether it has a record whose messages are all in the log.
    pub fn has_logged_records(&self, logged: u64) -> bool {
        self.records.front().is_some_and(|(_, last)| *last <= logged)
    }

    /// The records whose messages are all in the log: the first counter of the first and of the last one.
    pub fn logged_records(&self, logged: u64) -> Option<(u64, u64)> {
        let last = self.records.iter().take_while(|(_, last)| *last <= logged).last()?.0;
        self.records.front().map(|(first, _)| (*first, last))
    }

    /// Those records are no longer in the store.
    pub fn forget_records(&mut self, last: u64) {
        while self.records.pop_front_if(|(first, _)| *first <= last).is_some() {}
    }

    pub fn commit(&mut self) {
        self.leaving = Sorted::default();
        self.replaced = None;
        self.stored_counter = self.counter;
        self.acknowledged_before = self.acknowledged_counter;
    }

    pub fn roll_back(&mut self) {
        if let Some(replaced) = self.replaced.take() {
            *self = *replaced;
        }
        let stored_counter = self.stored_counter;
        for (counter, queued) in std::mem::take(&mut self.leaving).into_iter().rev() {
            self.entries.insert(counter, queued);
        }
        self.entries.remove_after(&stored_counter);
        while self.records.pop_back_if(|(first, _)| *first > stored_counter).is_some() {}
        self.counter = stored_counter;
        self.acknowledged_counter = self.acknowledged_before;
    }

    /// The messages on disk, in order.
    pub fn on_disk(&self) -> Vec<&Entry> {
        let outbox = self.replaced.as_deref().unwrap_or(self);
        let mut entries: Vec<&Entry> = outbox.between(0, outbox.stored_counter).collect();
        // What came and left in the same transaction was never stored.
        for (counter, queued) in outbox.leaving.between(&0, &outbox.stored_counter) {
            entries.insert(entries.partition_point(|other| other.counter < *counter), &queued.entry);
        }
        entries
    }

    /// The device's highest counter on disk.
    pub fn counter_on_disk(&self) -> u64 {
        self.replaced.as_deref().unwrap_or(self).stored_counter
    }
}

/// Whether its place does not give it its name: another device wrote it first, or the application named it.
fn is_named(entry: &Entry) -> bool {
    start_of(&entry.message.id, &entry.message.session_id, &entry.device_id, entry.counter).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(counter: u64) -> Entry {
        Entry { device_id: "d".into(), counter, ..Entry::default() }
    }

    fn counters(outbox: &Outbox) -> (Vec<u64>, Vec<u64>) {
        let stored = outbox.on_disk().iter().map(|entry| entry.counter).collect();
        (stored, outbox.iter().map(|entry| entry.counter).collect())
    }

    /// Three messages are stored; one leaves and one comes.
    fn changed() -> Outbox {
        let mut outbox = Outbox::new(0);
        for counter in 1..=3 {
            outbox.push(entry(counter), false, [0; 32]);
        }
        outbox.commit();
        outbox.remove(2);
        outbox.push(entry(4), false, [0; 32]);
        outbox
    }

    #[test]
    fn stored_messages_show_until_the_transaction_is_stored() {
        let mut outbox = changed();
        assert_eq!(counters(&outbox), (vec![1, 2, 3], vec![1, 3, 4]));
        assert_eq!((outbox.counter(), outbox.stored_counter()), (4, 3));
        outbox.commit();
        assert_eq!(counters(&outbox), (vec![1, 3, 4], vec![1, 3, 4]));
    }

    #[test]
    fn a_dropped_transaction_leaves_no_trace() {
        let mut outbox = changed();
        outbox.acknowledge(2);
        outbox.roll_back();
        assert_eq!(counters(&outbox), (vec![1, 2, 3], vec![1, 2, 3]));
        assert_eq!((outbox.counter(), outbox.stored_counter(), outbox.acknowledged_counter()), (3, 3, 0));
        assert_eq!(outbox.logged_records(9), Some((1, 3)));
    }

    #[test]
    fn what_was_told_as_sent_stays_so_under_another_counter() {
        let mut outbox = changed();
        outbox.commit();
        outbox.take_ack(3);
        let (entries, _) = outbox.replace(0, 0);
        assert_eq!(
            entries.iter().map(|(entry, is_sent)| (entry.counter, *is_sent)).collect::<Vec<_>>(),
            [(1, true), (3, true), (4, false)]
        );
        // An epoch comes first.
        for counter in 1..=4 {
            outbox.push(entry(counter), counter > 1, [0; 32]);
        }
        outbox.keep_sent(2);
        outbox.keep_sent(3);
        outbox.commit();
        assert_eq!((1..=4).map(|counter| outbox.is_sent_on_disk(counter)).collect::<Vec<_>>(), [false, true, true, false]);
        outbox.forget_sent();
        assert!(!outbox.is_sent(2));
    }

    #[test]
    fn an_outbox_replaced_twice_comes_back_as_it_was_stored() {
        let mut outbox = changed();
        for _ in 0..2 {
            let (entries, records) = outbox.replace(0, 0);
            assert_eq!((entries.len(), records.is_some()), (3, true));
            for counter in 1..=3 {
                outbox.push(entry(counter), counter > 1, [0; 32]);
            }
        }
        assert_eq!(counters(&outbox), (vec![1, 2, 3], vec![1, 2, 3]));
        assert_eq!((outbox.stored_counter(), outbox.logged_records(9)), (0, Some((1, 1))), "one record");
        outbox.roll_back();
        assert_eq!(counters(&outbox), (vec![1, 2, 3], vec![1, 2, 3]));
        assert_eq!((outbox.stored_counter(), outbox.logged_records(9)), (3, Some((1, 3))));
    }
}
