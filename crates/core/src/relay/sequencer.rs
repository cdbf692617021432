//! Giving numbers: repeats are told from new messages, and new ones get the next sequence numbers.

use std::collections::BTreeSet;

use super::api::{ConnectionId, StoredEntry};
use super::append::Outcome;
use super::context::refusal;
use super::dialect::short_hex;
use super::gate::refused_before;
use super::session::{Session, TailEntry};
use super::update::{Draft, Identity, Update};
use crate::batch::Batch;
use crate::error::{ErrorCode, SyncError};
use crate::frame::ErrorBody;
use crate::ids::{DeviceId, check_id, message_id, parse_message_id};
use crate::limits::{CLOCK_DEVICES_MAX, INTEGER_MAX, REFUSALS_MAX};
use crate::message::{Entry, Message, Stamp};
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// How far a counter may jump that its own device gives where the relay counts for it; beyond it the next one is taken (T5).
const COUNTER_JUMP_MAX: u64 = 1 << 20;

/// The log as it will be with the entries that are being numbered.
pub(super) struct Sequencer<'a> {
    session: &'a Session,
    found: Vec<StoredEntry>,
    heads: VectorClock,
    pub entries: Vec<TailEntry>,
    /// Devices under whose names nothing more is taken, because of these entries.
    pub retired: BTreeSet<DeviceId>,
    /// Connections that were refused a message of a chain.
    pub refused: BTreeSet<ConnectionId>,
}

impl<'a> Sequencer<'a> {
    pub fn new(session: &'a Session, found: Vec<StoredEntry>, refused: BTreeSet<ConnectionId>) -> Self {
        let heads = session.log.heads.clone();
        Sequencer { session, found, heads, entries: Vec::new(), retired: BTreeSet::new(), refused }
    }

    pub fn take(&mut self, now: Now, update: &mut Update) -> Outcome {
        let mut outcome = Outcome::default();
        for Draft { message, clock, identity, unreadable } in std::mem::take(&mut update.messages) {
            let id = message.id.clone();
            let taken = match (unreadable, identity) {
                (Some(error), _) => Err(error),
                (None, Identity::Counter(counter)) => self.take_counted(now, update, counter, message, clock),
                (None, Identity::Key(key)) => self.take_keyed(now, update, key, message, clock),
            };
            match taken {
                Ok(place) => {
                    outcome.ack.acknowledged_sequences.push(place.sequence);
                    outcome.ack.acknowledged_message_ids.push(place.id);
                    outcome.ack.server_timestamps.push(place.server_timestamp);
                }
                Err(error) => {
                    let expected_counter = (error.code == ErrorCode::CounterGap).then(|| self.heads.get(&update.device_id) + 1);
                    let refused_message_id = Some(id).filter(|id| check_id("message.id", id).is_ok());
                    if outcome.errors.len() < REFUSALS_MAX {
                        outcome.errors.push(ErrorBody { expected_counter, refused_message_id, ..refusal(&error, &update.head) });
                    }
                    if update.is_chain {
                        if error.code != ErrorCode::CounterGap {
                            self.refused.insert(update.connection);
                        }
                        break;
                    }
                }
            }
        }
        outcome
    }

    /// Exactly its device's next counter, and a clock that knows nothing that is not in the log.
    fn take_counted(&mut self, now: Now, update: &Update, counter: u64, message: Message, clock: VectorClock) -> Result<Place, SyncError> {
        let device_id = &update.device_id;
        if self.refused.contains(&update.connection) {
            return Err(refused_before());
        }
        message.check()?;
        check_id("message.id", &message.id)?;
        if counter == 0 || counter > INTEGER_MAX || clock.get(device_id) != counter {
            let message = format!("sequenceNumber {counter} is not the device's own entry of the message's clock");
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
        }
        if message.session_id != update.head.session_id {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the message belongs to another session"));
        }
        if let Some(wallet) = self.session.attachments.get(&update.connection).and_then(|attachment| attachment.wallet.as_ref())
            && message.sender_wallet != *wallet
        {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "sender_wallet is not the wallet that the device announced"));
        }
        let last = self.heads.get(device_id);
        let digest = message.digest();
        if counter <= last {
            let known = self.known(|stored| stored.device_id == *device_id && stored.counter == counter);
            return match known {
                Some(place) if place.digest == digest => Ok(place),
                _ => Err(SyncError::new(ErrorCode::CounterReused, format!("counter {counter} of this device stands for another message"))),
            };
        }
        if self.is_retired(device_id) {
            let message = "messages of this device were queued again under another name: nothing more is taken under this one";
            return Err(SyncError::new(ErrorCode::CounterReused, message));
        }
        if counter != last + 1 {
            return Err(SyncError::new(ErrorCode::CounterGap, format!("counter {counter} does not follow {last}")));
        }
        let ahead = self.heads.behind(&clock).find(|(other, ..)| other != device_id);
        if let Some((other, _, known)) = ahead {
            let message = format!("the message knows message {known} of device {other:?}, which this relay does not have");
            return Err(SyncError::new(ErrorCode::RelayRolledBack, message));
        }
        let key = first_key(&message);
        if message.first_id.is_some() {
            self.take_over(&message, device_id)?;
        }
        self.append(now, device_id, counter, key, digest, message, clock)
    }

    /// A message that had another name first: it must not be in the log under that one, nor under a third, and will not be
    /// taken under them any more.
    fn take_over(&mut self, message: &Message, device_id: &str) -> Result<(), SyncError> {
        let (first, counter) = first_place(message)
            .filter(|(first, _)| *first != device_id)
            .ok_or_else(|| SyncError::new(ErrorCode::InvalidMessageFormat, "first_id is not the id of another device's message here"))?;
        let key = first_key(message);
        let known = self.found.iter().chain(self.entries.iter().map(|entry| &entry.stored));
        let mut namesakes = known.filter(|stored| stored.key == key || (stored.device_id == first && stored.counter == counter));
        let is_same =
            |stored: &StoredEntry| stored.body.entries().is_ok_and(|entries| entries.iter().any(|entry| entry.message.is_same(message)));
        if let Some(stored) = namesakes.find(|stored| is_same(stored)) {
            let text = format!("the message is in the log already, at {} under another name", stored.sequence);
            return Err(SyncError::new(ErrorCode::AlreadyStored, text));
        }
        // What stands at its first place is another message, and this one cannot come to stand there any more.
        if counter <= self.heads.get(first) {
            return Ok(());
        }
        let row = self.session.devices.get(first);
        if row.and_then(|row| row.wallet.as_ref()).is_some_and(|wallet| *wallet != message.sender_wallet) {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "first_id names the device of another wallet"));
        }
        if row.is_none() && self.heads.len() + self.session.devices.given_up() + self.retired.len() >= CLOCK_DEVICES_MAX {
            return Err(SyncError::new(
                ErrorCode::LimitReached,
                format!("at most {CLOCK_DEVICES_MAX} devices write in a session; this one may read"),
            ));
        }
        self.retired.insert(first.to_owned());
        Ok(())
    }

    fn is_retired(&self, device_id: &str) -> bool {
        self.retired.contains(device_id) || self.session.devices.get(device_id).is_some_and(|row| row.retired)
    }

    /// A message that a key tells from others; the relay keeps the counters of its device, and lowers entries of its clock
    /// that name what is not in the log.
    fn take_keyed(
        &mut self,
        now: Now,
        update: &Update,
        key: Option<String>,
        mut message: Message,
        given: VectorClock,
    ) -> Result<Place, SyncError> {
        message.check()?;
        if (message.replaces.is_some() || message.deleted) && self.session.devices.is_wallet_of_v1(&message.sender_wallet) {
            // A wallet may have devices of both dialects, and anybody may name any wallet; but versions are ours, and one by
            // a seed client would change what devices of our rules wrote.
            let message = "a seed client may not replace or delete messages of a wallet whose devices are of protocolVersion 1";
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
        }
        let digest = message.content_digest();
        if let Some(key) = &key
            && let Some(place) = self.known(|stored| stored.key.as_ref() == Some(key))
        {
            if place.digest == digest {
                return Ok(place);
            }
            return Err(SyncError::new(ErrorCode::CounterReused, "this message id stands for another message"));
        }
        let device_id = &update.device_id;
        let last = self.heads.get(device_id);
        let own = given.get(device_id);
        let counter = if own > last && own - last <= COUNTER_JUMP_MAX { own } else { last + 1 };
        let mut clock = VectorClock::new();
        if given.is_empty() {
            // It makes no claim about what it knew: nothing it might contradict.
            clock = self.heads.clone();
        }
        for (other, known) in given.iter().filter(|(other, _)| other != device_id) {
            clock.raise(other, known.min(self.heads.get(other)))?;
        }
        clock.raise(device_id, counter)?;
        if message.id.is_empty() {
            message.id = message_id(&update.head.session_id, device_id, counter);
        }
        check_id("message.id", &message.id)?;
        message.session_id.clone_from(&update.head.session_id);
        message.timestamp = stamp_or_now(message.timestamp, now);
        self.append(now, device_id, counter, key, digest, message, clock)
    }

    #[allow(clippy::too_many_arguments)]
    fn append(
        &mut self,
        now: Now,
        device_id: &str,
        counter: u64,
        key: Option<String>,
        digest: [u8; 32],
        message: Message,
        vector_clock: VectorClock,
    ) -> Result<Place, SyncError> {
        let sequence = self.session.log.head + 1 + self.entries.len() as u64;
        if sequence > INTEGER_MAX {
            return Err(SyncError::new(ErrorCode::LimitReached, "the session has 2^53 - 1 messages"));
        }
        if self.heads.get(device_id) == 0 && self.heads.len() >= CLOCK_DEVICES_MAX {
            return Err(SyncError::new(
                ErrorCode::LimitReached,
                format!("at most {CLOCK_DEVICES_MAX} devices write in a session; this one may read"),
            ));
        }
        let entry = Entry {
            message,
            sequence_number: sequence,
            vector_clock,
            server_timestamp: now.wall_ms,
            original_device_id: device_id.to_owned(),
        };
        entry.check()?;
        self.heads.raise(device_id, counter)?;
        let malformed = |_| SyncError::new(ErrorCode::InvalidMessageFormat, "the message cannot be stored");
        let body = Batch::of(std::slice::from_ref(&entry)).map_err(malformed)?;
        let stored = StoredEntry { sequence, device_id: device_id.to_owned(), counter, key, digest, body };
        let place = Place { sequence, id: entry.message.id.clone(), server_timestamp: now.wall_ms, digest };
        self.entries.push(TailEntry { stored, entry });
        Ok(place)
    }

    /// An entry that the journal found, or one that is being numbered.
    fn known(&self, matches: impl Fn(&StoredEntry) -> bool) -> Option<Place> {
        let stored = self.found.iter().chain(self.entries.iter().map(|entry| &entry.stored)).find(|stored| matches(stored))?;
        let entry = stored.body.entries().ok()?.pop()?;
        Some(Place { sequence: stored.sequence, id: entry.message.id, server_timestamp: entry.server_timestamp, digest: stored.digest })
    }
}

/// Where a message stands.
struct Place {
    sequence: u64,
    id: String,
    server_timestamp: u64,
    digest: [u8; 32],
}

/// What a message that was queued again under another name is known by, whatever name it comes under next.
pub(super) fn first_key(message: &Message) -> Option<String> {
    let first_id = message.first_id.as_ref()?;
    Some(format!("f:{first_id}:{}", short_hex(message.written_digest())))
}

/// The device and the counter that a message had first, where it was queued again under another name.
pub(super) fn first_place(message: &Message) -> Option<(&str, u64)> {
    let (session, device, counter) = parse_message_id(message.first_id.as_ref()?)?;
    (session == message.session_id).then_some((device, counter))
}

/// The stamp of entries whose writer gave none.
fn stamp_or_now(stamp: Stamp, now: Now) -> Stamp {
    match stamp {
        Stamp::Millis(0) => Stamp::Iso(now.wall_ms),
        Stamp::Text(text) if text.is_empty() => Stamp::Iso(now.wall_ms),
        stamp => stamp,
    }
}
