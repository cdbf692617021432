//! Giving numbers: repeats are told from new messages, and new ones get the next sequence numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::api::{ConnectionId, Key, StoredEntry};
use super::append::Outcome;
use super::clocks::known_by;
use super::context::refusal;
use super::gate::refused_before;
use super::groups::{GroupStep, Regrouped};
use super::javascript::{check_depth, check_normal};
use super::names::{is_in_place, name_key};
use super::sealed::Sealing;
use super::session::{Session, TailEntry};
use super::update::{Draft, Knowledge, Update};
use crate::batch::Batch;
use crate::entry::{Digest, Entry};
use crate::epochs::Epochs;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{ErrorBody, SyncAck};
use crate::group::Group;
use crate::identity::{UpdateSignature, is_key_id};
use crate::ids::{DeviceId, check_id, message_id, parse_message_id, start_of};
use crate::limits::{CLOCK_DEVICES_MAX, INTEGER_MAX, REFUSALS_MAX, SEQUENCE_MAX};
use crate::log::{Log, LogHead};
use crate::message::{Kind, Message, Stamp};
use crate::time::Now;
use crate::vector_clock::VectorClock;

/// How far a counter may jump that its own device gives where the relay counts for it; beyond it the next one is taken (T5).
const COUNTER_JUMP_MAX: u64 = 1 << 20;

type Places = BTreeMap<DeviceId, BTreeMap<u64, u64>>;

/// The log as it will be with the entries that are being numbered.
pub(super) struct Sequencer<'a> {
    session: &'a Session,
    /// What the journal found: what may be there already.
    found: Vec<TailEntry>,
    /// The places of entries that are at hand, by their devices and counters, once a clock has to be read.
    places: Option<Places>,
    /// Whether an entry of the log is found by a key. Where none is, a name that tells its own place is no other entry's.
    has_keys: bool,
    log: Log,
    /// The group with the entries that were numbered, and what those that say something of it did.
    group: Option<Group>,
    steps: Vec<GroupStep>,
    /// The epochs with the entries that were numbered, where the session is encrypted.
    sealing: Option<Sealing>,
    pub entries: Vec<TailEntry>,
    /// Connections that were refused a message of a chain.
    pub refused: BTreeSet<ConnectionId>,
}

impl<'a> Sequencer<'a> {
    pub fn new(session: &'a Session, found: Vec<TailEntry>, refused: BTreeSet<ConnectionId>, sealing: Option<Sealing>) -> Self {
        let has_keys = session.has_keys;
        let (log, group) = (session.log.state.clone(), session.group.clone());
        Sequencer { session, found, places: None, has_keys, log, group, steps: Vec::new(), sealing, entries: Vec::new(), refused }
    }

    pub fn take(&mut self, now: Now, update: &mut Update) -> Outcome {
        let mut outcome = Outcome::default();
        let messages = std::mem::take(&mut update.messages);
        let chain = self.check_chain(update, &messages);
        let (log_before, had_keys) = (self.log.clone(), self.has_keys);
        let (group_before, steps_before, sealing_before) = (self.group.clone(), self.steps.len(), self.sealing.clone());
        for Draft { entry, knowledge, unreadable } in messages {
            let id = entry.message.id.clone();
            let taken = match (unreadable, knowledge) {
                (Some(error), _) => Err(error.into()),
                (None, Knowledge::Prefix) => chain.clone().and_then(|()| self.take_counted(now, update, entry)),
                (None, Knowledge::Clock { key, clock }) => self.take_keyed(now, update, key, entry, &clock),
            };
            match taken {
                Ok(place) => {
                    outcome.ack.acknowledged_sequences.push(place.sequence);
                    outcome.ack.acknowledged_counters.push(place.counter);
                    outcome.ack.acknowledged_message_ids.push(place.id);
                    outcome.ack.server_timestamps.push(place.server_timestamp);
                }
                Err(Refused { error, stored_sequence }) => {
                    let expected_counter = (error.code == ErrorCode::CounterGap).then(|| self.log.counter(&update.device_id) + 1);
                    let refused_message_id = Some(id).filter(|id| check_id("message.id", id).is_ok());
                    if outcome.errors.len() < REFUSALS_MAX {
                        let error = refusal(&error, &update.head);
                        outcome.errors.push(ErrorBody { expected_counter, refused_message_id, stored_sequence, ..error });
                    }
                    if update.is_chain {
                        if expected_counter.is_none() {
                            self.refused.insert(update.connection);
                        }
                        if update.signature.is_some() {
                            let end = log_before.end();
                            self.entries.retain(|entry| entry.stored.sequence <= end);
                            (self.log, self.has_keys, self.places) = (log_before.clone(), had_keys, None);
                            self.group.clone_from(&group_before);
                            self.steps.truncate(steps_before);
                            self.sealing.clone_from(&sealing_before);
                            outcome.ack = SyncAck::default();
                        }
                        break;
                    }
                }
            }
        }
        if let Some(last) = self.entries.last_mut().filter(|last| last.stored.sequence > log_before.end()) {
            last.stored.signature = update.signature.as_deref().cloned();
        }
        outcome
    }

    /// A device names the digest of the last message of its update, which covers all that it wrote. It is checked before
    /// anything is taken: another digest is that of a device which wrote other messages before, a copy of this one.
    fn check_chain(&self, update: &Update, messages: &[Draft]) -> Result<(), Refused> {
        if update.is_chain && self.refused.contains(&update.connection) {
            return Err(refused_before().into());
        }
        let Some(last_digest) = update.last_digest else { return Ok(()) };
        let invalid = |message: &str| Err(SyncError::new(ErrorCode::InvalidMessageFormat, message).into());
        if messages.iter().any(|draft| draft.entry.device_id != update.device_id) {
            return invalid("the message is of another device than the one that announced itself");
        }
        if messages.iter().any(|draft| draft.entry.message.session_id != update.head.session_id) {
            return invalid("the message belongs to another session");
        }
        if messages.iter().any(|draft| draft.entry.erased_digest().is_some()) {
            return invalid("only who keeps the log erases what is in it");
        }
        if update.signature.is_none() && is_key_id(&update.device_id) {
            let message = "a device whose id is made of a key signs what it writes";
            return Err(SyncError::new(ErrorCode::InvalidSignature, message).into());
        }
        let last = self.log.counter(&update.device_id);
        let mut digest = self.log.digest(&update.head.session_id, &update.device_id);
        let fresh = messages.iter().map(|draft| &draft.entry).filter(|entry| entry.counter > last);
        let mut next = last;
        for entry in fresh {
            next += 1;
            if entry.counter != next {
                // It will be refused for that, and where the update is signed, so will be all of it.
                return Ok(());
            }
            digest = entry.digest(&digest);
        }
        if next > last && digest != last_digest {
            let message = "the messages do not follow those that the relay has of this device";
            return Err(SyncError::new(ErrorCode::CounterReused, message).into());
        }
        match &update.signature {
            Some(signature) if next > last => self.check_signature(update, signature, next, &digest),
            _ => Ok(()),
        }
    }

    /// The device has signed the digest of its last message, and a log that is this one: what another device finds in it
    /// can be told to nobody but this relay.
    fn check_signature(&self, update: &Update, signature: &UpdateSignature, counter: u64, digest: &Digest) -> Result<(), Refused> {
        let wrong = |message: &str| Err(SyncError::new(ErrorCode::InvalidSignature, message).into());
        if signature.device_id() != update.device_id {
            return wrong("the signature is by another key than the one that the device's id is made of");
        }
        if signature.counter != counter {
            return wrong("the signature is not under the last message of the update");
        }
        signature.check(&update.head.session_id, digest)?;
        let seen = signature.seen;
        if seen.sequence > self.log.end() {
            let message = format!("the device has the log up to {seen}, this relay has it up to {}", self.log.log_head());
            return Err(SyncError::new(ErrorCode::RelayRolledBack, message).into());
        }
        match self.hash_at(seen.sequence) {
            Some(hash) if hash == seen.hash => Ok(()),
            Some(hash) => {
                let own = LogHead { sequence: seen.sequence, hash };
                let message = format!("the log of the device, up to {seen}, is another than that of this relay, {own}");
                Err(SyncError::new(ErrorCode::RelayForked, message).into())
            }
            // It was looked for.
            None => Err(SyncError::new(ErrorCode::RelayStorageFailed, "the relay could not read its log; nothing was taken").into()),
        }
    }

    /// The hash of the log up to a place, in memory or as the journal found it.
    fn hash_at(&self, sequence: u64) -> Option<Digest> {
        let found = self.found.iter().find(|found| found.stored.sequence == sequence).map(|found| found.stored.log_hash);
        found.or_else(|| self.session.log.hash_at(sequence)).or_else(|| self.log.hash_at(sequence))
    }

    /// Exactly its device's next counter, by an author who knows nothing that is not in the log.
    fn take_counted(&mut self, now: Now, update: &Update, entry: Entry) -> Result<Place, Refused> {
        let invalid = |message: &str| Err(SyncError::new(ErrorCode::InvalidMessageFormat, message).into());
        let Entry { message, counter, .. } = &entry;
        message.check()?;
        check_id("message.id", &message.id)?;
        if let Some(wallet) = self.session.attachments.get(&update.connection).and_then(|attachment| attachment.wallet.as_ref())
            && message.sender_wallet != *wallet
        {
            return invalid("sender_wallet is not the wallet that the device announced");
        }
        let last = self.log.counter(&entry.device_id);
        if *counter <= last {
            let known = self.known(|known| known.device_id == entry.device_id && known.counter == *counter);
            return match known {
                Some(known) if known.entry.is_repeat_of(&entry) => Ok(Place::of(&known.entry)),
                _ => {
                    let message = format!("counter {counter} of this device is that of another message");
                    Err(SyncError::new(ErrorCode::CounterReused, message).into())
                }
            };
        }
        if *counter != last + 1 {
            return Err(SyncError::new(ErrorCode::CounterGap, format!("counter {counter} does not follow {last}")).into());
        }
        if entry.knows > self.log.end() {
            let message = format!("the message knows the log up to {}, this relay has it up to {}", entry.knows, self.log.log_head());
            return Err(SyncError::new(ErrorCode::RelayRolledBack, message).into());
        }
        check_normal(message)?;
        if is_relays(message, &entry.device_id) {
            return invalid("the id is one that the relay gives to messages of a seed client: name the message otherwise");
        }
        // A void says nothing, and stands for one that was refused perhaps because its name is another's.
        let is_named = message.kind != Kind::VOID;
        let in_place = is_in_place(message, &entry.device_id, *counter);
        let is_looked_for = is_named && (self.has_keys || !in_place);
        if let Some(TailEntry { entry: named, .. }) = is_looked_for.then(|| self.known_name(message)).flatten() {
            // What is encrypted nobody compares but who can read it.
            if self.sealing.is_some() || named.says_the_same(&entry) {
                let text = format!("the message is in the log already, at {}", named.sequence_number);
                let error = SyncError::new(ErrorCode::AlreadyStored, text);
                return Err(Refused { error, stored_sequence: Some(named.sequence_number) });
            }
            let text = format!("this id belongs to another message of this wallet, at {}", named.sequence_number);
            return Err(SyncError::new(ErrorCode::MessageIdTaken, text).into());
        }
        let key = (is_named && !in_place).then(|| name_key(message));
        self.append(now, key, entry)
    }

    /// A message that a key tells from others; the relay keeps the counters of its device, and what its author knew is given
    /// as a vector clock.
    fn take_keyed(&mut self, now: Now, update: &Update, key: Option<Key>, mut entry: Entry, clock: &VectorClock) -> Result<Place, Refused> {
        // Some limits are those of its session, whatever its author called that.
        entry.message.session_id.clone_from(&update.head.session_id);
        entry.message.check()?;
        if entry.message.kind.is_version() && self.session.devices.is_wallet_of_v1(&entry.message.sender_wallet) {
            // A wallet may have devices of both dialects, and anybody may name any wallet; but versions are ours, and one by
            // a seed client would change what devices of our rules wrote.
            let message = "a seed client may not replace messages of a wallet whose devices are of protocolVersion 1";
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message).into());
        }
        let named = key.as_ref().and_then(|key| self.known_key(key)).or_else(|| self.known_name(&entry.message));
        if let Some(TailEntry { entry: named, .. }) = named {
            if entry.message.id.is_empty() {
                entry.message.id.clone_from(&named.message.id);
            }
            if named.says_the_same(&entry) {
                return Ok(Place::of(named));
            }
            return Err(SyncError::new(ErrorCode::MessageIdTaken, "this message id belongs to another message").into());
        }
        let device_id = &update.device_id;
        let last = self.log.counter(device_id);
        let own = clock.get(device_id);
        entry.counter = if own > last && own - last <= COUNTER_JUMP_MAX { own } else { last + 1 };
        entry.device_id.clone_from(device_id);
        if !clock.is_empty() && self.places.is_none() {
            self.places = Some(self.places_at_hand());
        }
        let place_of = |device: &str, counter| self.places.as_ref()?.get(device)?.get(&counter).copied();
        (entry.knows, entry.also) = known_by(&self.log, device_id, clock, place_of);
        let message = &mut entry.message;
        if message.id.is_empty() {
            message.id = message_id(&message.session_id, device_id, "", entry.counter);
        }
        check_id("message.id", &message.id)?;
        self.check_own_id(message, device_id)?;
        check_depth(message)?;
        message.timestamp = stamp_or_now(std::mem::take(&mut message.timestamp), now);
        self.append(now, key, entry)
    }

    /// A seed client gives ids as it likes, but not one that another device is about to give: who sees the last id of a
    /// device knows the next. Of one that has written nothing nobody knows it.
    fn check_own_id(&self, Message { id, session_id, .. }: &Message, device_id: &str) -> Result<(), SyncError> {
        match parse_message_id(id) {
            Some((session, device, _)) if session == session_id && device != device_id && self.log.counter(device) > 0 => {
                let message = format!("the id {id:?} is one that device {device:?} gives: name the message otherwise");
                Err(SyncError::new(ErrorCode::InvalidMessageFormat, message))
            }
            _ => Ok(()),
        }
    }

    fn append(&mut self, now: Now, key: Option<Key>, mut entry: Entry) -> Result<Place, Refused> {
        entry.sequence_number = self.log.end() + 1;
        entry.server_timestamp = now.wall_ms.min(INTEGER_MAX);
        if entry.sequence_number > SEQUENCE_MAX {
            return Err(SyncError::new(ErrorCode::LimitReached, "the session has as many messages as it may have").into());
        }
        if self.log.counter(&entry.device_id) == 0 && self.log.heads().len() >= CLOCK_DEVICES_MAX {
            let message = format!("at most {CLOCK_DEVICES_MAX} devices write in a session; this one may read");
            return Err(SyncError::new(ErrorCode::LimitReached, message).into());
        }
        self.check_kind(&entry)?;
        let said = self.sealing.as_ref().map(|sealing| sealing.judge(&entry, self.group.as_ref())).transpose()?;
        entry.check()?;
        let malformed = |_| SyncError::new(ErrorCode::InvalidMessageFormat, "the message cannot be stored");
        let body = Batch::of(std::slice::from_ref(&entry)).map_err(malformed)?;
        self.log.take(&entry).map_err(|refusal| SyncError::new(ErrorCode::InvalidMessageFormat, refusal.to_string()))?;
        let step = self.group.as_mut().and_then(|group| GroupStep::of(group, &entry));
        if let (Some(sealing), Some(said)) = (&mut self.sealing, said) {
            let digest = self.log.digest(&entry.message.session_id, &entry.device_id);
            sealing.take(&entry, &said, &digest, step.as_ref().map_or(&[], GroupStep::changes));
        }
        self.steps.extend(step);
        let Entry { device_id, counter, sequence_number: sequence, .. } = entry.clone();
        let stored = StoredEntry { sequence, device_id, counter, key, log_hash: self.log.hash(), signature: None, body };
        let place = Place::of(&entry);
        if let Some(places) = &mut self.places {
            places.entry(entry.device_id.clone()).or_default().insert(entry.counter, entry.sequence_number);
        }
        self.has_keys |= stored.key.is_some();
        self.entries.push(TailEntry { stored, entry });
        Ok(place)
    }

    /// In a group only members write, and what they say of it counts at its place or is refused. What is said of epochs stands in
    /// encrypted sessions alone.
    fn check_kind(&self, entry: &Entry) -> Result<(), SyncError> {
        if self.sealing.is_none() && entry.message.kind.is_of_epochs() {
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the session is not encrypted: it has no epochs"));
        }
        match &self.group {
            Some(group) => group.judge(entry),
            None if entry.message.kind == Kind::GROUP => {
                Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the session is no group that this connection has announced"))
            }
            None => Ok(()),
        }
    }

    /// What the entries that were numbered make of the group, where they say anything of it.
    pub fn regrouped(&mut self) -> Option<Regrouped> {
        let steps = std::mem::take(&mut self.steps);
        let group = self.group.clone().filter(|_| !steps.is_empty())?;
        Some(Regrouped { group, steps })
    }

    fn places_at_hand(&self) -> Places {
        let mut places = Places::new();
        let found = self.found.iter().map(|found| &found.entry);
        for entry in found.chain(self.session.log.tail()).chain(self.entries.iter().map(|taken| &taken.entry)) {
            places.entry(entry.device_id.clone()).or_default().insert(entry.counter, entry.sequence_number);
        }
        places
    }

    /// An entry that the journal found, or one that is being numbered.
    fn known(&self, matches: impl Fn(&Entry) -> bool) -> Option<&TailEntry> {
        self.found.iter().chain(&self.entries).find(|known| matches(&known.entry))
    }

    /// The entry of this name, where it is at hand: a name belongs to a wallet.
    fn known_name(&self, message: &Message) -> Option<&TailEntry> {
        let is_named = |known: &Message| known.id == message.id && known.sender_wallet == message.sender_wallet;
        self.known(|known| is_named(&known.message) && known.message.kind != Kind::VOID)
    }

    fn known_key(&self, key: &Key) -> Option<&TailEntry> {
        self.found.iter().chain(&self.entries).find(|known| known.stored.key.as_ref() == Some(key))
    }

    /// The epochs with the entries that were numbered, where the session is encrypted.
    pub fn epochs(&self) -> Option<Arc<Epochs>> {
        self.sealing.as_ref().map(|sealing| sealing.epochs.clone())
    }

    /// The log with the entries that were numbered.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

/// Why a message was not taken.
#[derive(Clone)]
struct Refused {
    error: SyncError,
    /// Where it is in the log already.
    stored_sequence: Option<u64>,
}

impl From<SyncError> for Refused {
    fn from(error: SyncError) -> Self {
        Refused { error, stored_sequence: None }
    }
}

/// Where a message is in the log.
struct Place {
    sequence: u64,
    counter: u64,
    id: String,
    server_timestamp: u64,
}

impl Place {
    fn of(entry: &Entry) -> Self {
        let Entry { sequence_number: sequence, counter, server_timestamp, .. } = *entry;
        Place { sequence, counter, id: entry.message.id.clone(), server_timestamp }
    }
}

/// Whether an id is of the form that the relay gives to messages of another device that is a seed client: it has no start.
fn is_relays(Message { id, session_id, .. }: &Message, device_id: &str) -> bool {
    let named = parse_message_id(id).filter(|(session, device, _)| session == session_id && *device != device_id);
    named.is_some_and(|(session, device, counter)| start_of(id, session, device, counter) == Some(""))
}

/// The stamp of entries whose writer gave none.
fn stamp_or_now(stamp: Stamp, now: Now) -> Stamp {
    match stamp {
        Stamp::Millis(0) => Stamp::Iso(now.wall_ms),
        Stamp::Text(text) if text.is_empty() => Stamp::Iso(now.wall_ms),
        stamp => stamp,
    }
}
