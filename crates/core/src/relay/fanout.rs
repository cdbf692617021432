//! Serving what a connection lacks: answers to its requests first, then what happens live.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::api::{ConnectionId, JournalAnswer, JournalQuestion};
use super::batch_cache::{BatchKey, Form, Part};
use super::budget::BATCH_AGAIN_US;
use super::context::{Context, Purpose};
use super::dialect::seed_entry;
use super::session::{Attachment, Fetch, Log, Session, TailEntry};
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, SyncPhase, SyncStatus};
use crate::limits::{CLOCK_PLACES_MAX, INFLATED_BYTES_MAX, RANGES_MAX, REQUESTS_WAITING_MAX};
use crate::vector_clock::VectorClock;

/// A request under way.
pub(super) struct Answer {
    /// The frame that asked.
    pub request_id: String,
    /// What is left to send, both ends included.
    pub ranges: VecDeque<(u64, u64)>,
    pub sent: u64,
    pub total: u64,
    /// Whether anything was said: also "nothing is missing" has to be.
    pub begun: bool,
}

/// What to send next.
struct Next {
    from: u64,
    through: u64,
}

/// A member asks for what it lacks.
pub(super) fn fetch(
    ctx: &mut Context,
    log: &mut Log,
    connection: ConnectionId,
    attachment: &mut Attachment,
    fetch: Fetch,
) -> Result<(), SyncError> {
    let cursor = fetch.cursor.min(log.head());
    attachment.batch_max = fetch.batch_max;
    if fetch.restarts {
        attachment.answers.clear();
        attachment.live = Some(log.head() + 1);
        attachment.sent_through = cursor;
        attachment.acknowledged_through = cursor;
    }
    if attachment.answers.len() >= REQUESTS_WAITING_MAX {
        return Err(SyncError::new(ErrorCode::RelayBusy, "too many requests at once"));
    }
    let ranges = if fetch.ranges.is_empty() { vec![(cursor + 1, log.head())] } else { fetch.ranges };
    let ranges = bounded(ranges.into_iter().map(|(start, end)| (start.max(1), end.min(log.head()))), log.head());
    let total = ranges.iter().map(|(start, end)| end - start + 1).sum();
    attachment.answers.push_back(Answer { request_id: fetch.request_id, ranges, sent: 0, total, begun: false });
    serve(ctx, log, connection, attachment);
    Ok(())
}

/// The ranges without empty ones, as they were asked for. Where they are too many, or overlap by more than the whole log,
/// they are put in order and joined, and the last has all that would come after it.
fn bounded(ranges: impl Iterator<Item = (u64, u64)>, head: u64) -> VecDeque<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = ranges.filter(|(start, end)| start <= end).collect();
    let total: u64 = ranges.iter().map(|(start, end)| end - start + 1).fold(0, u64::saturating_add);
    if ranges.len() <= RANGES_MAX && total <= head {
        return ranges.into();
    }
    ranges.sort_unstable();
    let mut merged: VecDeque<(u64, u64)> = VecDeque::new();
    for (start, end) in ranges {
        let is_last = merged.len() >= RANGES_MAX;
        match merged.back_mut() {
            Some((_, last)) if is_last || start <= *last + 1 => *last = end.max(*last),
            _ => merged.push_back((start, end)),
        }
    }
    merged
}

/// Sends a connection what it may have now: until its socket's queue is full, it has enough unacknowledged, or nothing
/// is missing.
pub(super) fn serve(ctx: &mut Context, log: &mut Log, connection: ConnectionId, attachment: &mut Attachment) {
    while let Some(form) = ctx.reads(connection) {
        if let Some(answer) = attachment.answers.pop_front_if(|answer| answer.ranges.is_empty()) {
            attachment.tell_end(ctx, log, connection, &answer);
            continue;
        }
        if attachment.reading {
            return;
        }
        let Some(next) = attachment.next(log.head()) else { return };
        let form = attachment.dialect.form(form);
        let key = BatchKey { session_id: log.session_id.clone(), from: next.from, count_max: attachment.batch_max, form };
        let through = next.through.min(key.boundary());
        let mut part = match ctx.cache.get(&key, through) {
            Some(part) => part.clone(),
            None => {
                let part = match log.tail_from(next.from) {
                    None => Err(Missing::Entries),
                    Some(entries) => encode(log, &key, entries, through, &BTreeMap::new()),
                };
                let part = match part {
                    Ok(Some(part)) => part,
                    Ok(None) => return fail(ctx, log, connection, attachment, "an entry of the log cannot be encoded"),
                    Err(Missing::Entries | Missing::Clocks(_)) => {
                        attachment.reading = true;
                        return read(ctx, log, connection, key, through);
                    }
                };
                ctx.cache.insert(key.clone(), part.clone());
                part
            }
        };
        attachment.send(ctx, log, connection, &key, &mut part);
        ctx.cache.keep_push(&key, part.push);
    }
}

/// What a part cannot be encoded without.
enum Missing {
    Entries,
    /// What was known up to these places.
    Clocks(Vec<u64>),
}

/// Encodes a part in the form of its key, with the clocks of the log up to some places, for the form that has clocks.
fn encode<'a>(
    log: &Log,
    key: &BatchKey,
    entries: impl Iterator<Item = &'a TailEntry>,
    through: u64,
    clocks: &BTreeMap<u64, VectorClock>,
) -> Result<Option<Part>, Missing> {
    if key.form != Form::Seed {
        return Ok(key.encode(entries, through));
    }
    let mut places = BTreeSet::new();
    let is_within = |TailEntry { entry, .. }: &&TailEntry| {
        places.insert(entry.knows);
        entry.sequence_number <= through && places.len() <= CLOCK_PLACES_MAX
    };
    let entries: Vec<&TailEntry> = entries.take_while(is_within).collect();
    let known = |entry: &Entry| clocks.get(&entry.knows).cloned().or_else(|| log.state.clock_at(entry.knows));
    let with_clocks: Option<Vec<_>> =
        entries.iter().map(|TailEntry { entry, stored }| Some((seed_entry(entry, known(entry)?), stored.log_hash))).collect();
    match with_clocks {
        Some(written) => Ok(key.encode_seed(written.into_iter(), through)),
        // All of them: until the journal answers, the log may go on, and memory may have lost those that it has now.
        None => Err(Missing::Clocks(entries.iter().map(|entry| entry.entry.knows).collect::<BTreeSet<u64>>().into_iter().collect())),
    }
}

/// Has the journal read a part of the log, once for all who wait for it.
fn read(ctx: &mut Context, log: &mut Log, connection: ConnectionId, key: BatchKey, through: u64) {
    if let Some(waiting) = log.reads.get_mut(&key) {
        return waiting.push(connection);
    }
    log.reads.insert(key.clone(), vec![connection]);
    let count_max = usize::try_from(through - key.from + 1).unwrap_or(usize::MAX);
    let question = JournalQuestion::Read { session_id: log.session_id.clone(), from: key.from, count_max, bytes_max: INFLATED_BYTES_MAX };
    ctx.ask(&log.session_id, Purpose::Read(key, through), question);
}

/// The connection asks again: its answer does not come in time.
fn fail(ctx: &mut Context, log: &Log, connection: ConnectionId, attachment: &mut Attachment, error: &str) {
    attachment.answers.clear();
    let status = SyncStatus { status: SyncPhase::Failed, progress: None, error: Some(error.to_owned()) };
    ctx.transmit(connection, &log.session_id, Body::SyncStatus(status));
}

impl Session {
    /// The journal has read a part of the log, or not.
    pub fn on_read(&mut self, ctx: &mut Context, key: BatchKey, through: u64, answer: JournalAnswer) {
        let entries = match &answer {
            JournalAnswer::Entries(stored) => stored.iter().cloned().map(TailEntry::read).collect::<Option<Vec<TailEntry>>>(),
            _ => None,
        };
        let Some(entries) = entries else { return self.read_failed(ctx, &key, &answer) };
        self.encode_read(ctx, key, through, entries, &BTreeMap::new());
    }

    /// The journal says what was known up to these places, or not.
    pub fn on_clocks(
        &mut self,
        ctx: &mut Context,
        key: BatchKey,
        through: u64,
        entries: Vec<TailEntry>,
        at: Vec<u64>,
        answer: JournalAnswer,
    ) {
        match answer {
            JournalAnswer::Clocks(clocks) if clocks.len() == at.len() => {
                self.encode_read(ctx, key, through, entries, &at.into_iter().zip(clocks).collect());
            }
            answer => self.read_failed(ctx, &key, &answer),
        }
    }

    fn encode_read(
        &mut self,
        ctx: &mut Context,
        key: BatchKey,
        through: u64,
        entries: Vec<TailEntry>,
        clocks: &BTreeMap<u64, VectorClock>,
    ) {
        match encode(&self.log, &key, entries.iter(), through, clocks) {
            Ok(Some(part)) => {
                ctx.cache.insert(key.clone(), part.clone());
                for connection in self.log.reads.remove(&key).unwrap_or_default() {
                    // It may have left meanwhile.
                    let Some(attachment) = self.attachments.get_mut(&connection) else { continue };
                    attachment.reading = false;
                    // Where the log has gone on since, it would be asked for again, and while others write without end.
                    if attachment.waits_for(ctx, &self.log, connection, &key, &part) {
                        attachment.send(ctx, &mut self.log, connection, &key, &mut part.clone());
                    }
                    serve(ctx, &mut self.log, connection, attachment);
                }
            }
            Err(Missing::Clocks(at)) if clocks.is_empty() => {
                let (session_id, places) = (self.log.session_id.clone(), at.clone());
                let purpose = Purpose::Clocks(key, through, entries, at);
                ctx.ask(&self.log.session_id, purpose, JournalQuestion::Clocks { session_id, at: places });
            }
            Ok(None) | Err(_) => {
                let reason = "what it read is no part of the log".to_owned();
                self.read_failed(ctx, &key, &JournalAnswer::Failed { reason });
            }
        }
    }

    fn read_failed(&mut self, ctx: &mut Context, key: &BatchKey, answer: &JournalAnswer) {
        let error = ctx.journal_failed(&self.log.session_id, answer);
        for connection in self.log.reads.remove(key).unwrap_or_default() {
            // It may have left meanwhile.
            let Some(attachment) = self.attachments.get_mut(&connection) else { continue };
            attachment.reading = false;
            fail(ctx, &self.log, connection, attachment, &error.message);
        }
    }

    /// Serves everybody.
    pub(super) fn serve_all(&mut self, ctx: &mut Context) {
        for (connection, attachment) in &mut self.attachments {
            serve(ctx, &mut self.log, *connection, attachment);
        }
    }
}

impl Attachment {
    /// What this connection lacks and may have.
    fn next(&self, head: u64) -> Option<Next> {
        let unacknowledged = self.sent_through.saturating_sub(self.acknowledged_through);
        if self.dialect.window().is_some_and(|window| unacknowledged >= window) {
            return None;
        }
        if let Some(answer) = self.answers.front() {
            let (from, through) = *answer.ranges.front()?;
            return Some(Next { from, through });
        }
        let from = self.live.filter(|from| *from <= head)?;
        Some(Next { from, through: head })
    }

    /// Whether this part is what it lacks, and it may have it.
    fn waits_for(&self, ctx: &Context, log: &Log, connection: ConnectionId, key: &BatchKey, part: &Part) -> bool {
        let form = ctx.reads(connection).map(|form| self.dialect.form(form));
        let is_next = |next: Next| next.from == key.from && part.through <= next.through;
        form == Some(key.form) && self.batch_max == key.count_max && self.next(log.head()).is_some_and(is_next)
    }

    /// Sends a part that is at hand: of the first answer or, where there is none, of what happens live.
    fn send(&mut self, ctx: &mut Context, log: &mut Log, connection: ConnectionId, key: &BatchKey, part: &mut Part) {
        self.sent_through = self.sent_through.max(part.through);
        if part.through <= self.farthest {
            ctx.charge(connection, BATCH_AGAIN_US);
        }
        self.farthest = self.farthest.max(part.through);
        let Some(mut answer) = self.answers.pop_front() else {
            self.live = Some(part.through + 1);
            return self.tell_live(ctx, log, connection, key, part);
        };
        answer.begun = true;
        answer.sent += part.through - key.from + 1;
        match answer.ranges.front_mut() {
            Some(range) if range.1 > part.through => range.0 = part.through + 1,
            _ => drop(answer.ranges.pop_front()),
        }
        let more = !answer.ranges.is_empty();
        self.tell_batch(ctx, log, connection, &answer, part, more);
        self.answers.push_front(answer);
    }
}
