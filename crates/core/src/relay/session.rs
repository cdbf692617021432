//! One session, while somebody takes part in it: a machine that owns its rules and its state.
//!
//! It is handed what members ask for and what the journal answers, and does everything else through its [`Context`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::api::{ConnectionId, StoredEntry, StoredSession};
use super::append::Append;
use super::batch_cache::BatchKey;
use super::budget;
use super::context::Context;
use super::dialect::Dialect;
use super::fanout::{self, Answer};
use super::invitations::Members;
use super::presence::{Announcement, Devices};
use super::receipts::{Reader, Receipts};
use super::sealed::Sealed;
use super::update::{Knowledge, Update};
use crate::entry::{Digest, Entry, first_log_hash};
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Receipt, SyncHeartbeat};
use crate::group::Group;
use crate::identity::HeadSignature;
use crate::ids::{DeviceId, SessionId, WalletAddress, is_sealed_id};
use crate::limits::{BATCH_MESSAGES_DEFAULT, TAIL_ENTRIES_MAX};
use crate::log::{self, DeviceHead, LogHead};
use crate::wire::Malformed;

/// What a member asks for, whichever dialect it speaks.
pub(super) enum Ask {
    Announce(Announcement),
    Fetch(Fetch),
    Write(Update),
    /// It has stored everything up to here.
    Acknowledge(u64),
    /// It is there; the answer names what the log knows where it wants to hear that.
    Heartbeat {
        heartbeat: SyncHeartbeat,
        wants_clock: bool,
    },
    /// Its user has messages, or saw them; one of what it said cannot be read.
    Receipts {
        receipts: Vec<Receipt>,
        unreadable: Option<SyncError>,
    },
}

/// A request for what a member lacks.
pub(super) struct Fetch {
    pub request_id: String,
    /// It has everything up to here.
    pub cursor: u64,
    /// Only these, where any are named.
    pub ranges: Vec<(u64, u64)>,
    pub batch_max: usize,
    /// Its log up to there, where it says so.
    pub log: Option<LogHead>,
    /// It says where the member stands: earlier answers are superseded, and what happens from now on is sent live.
    pub restarts: bool,
}

pub(super) struct Session {
    pub log: Log,
    pub devices: Devices,
    pub receipts: Receipts,
    pub members: Members,
    /// Who is in it by its log, where it is a group: of one that is announced and not begun, its founder.
    pub group: Option<Group>,
    /// What is known of who can read it, where it is encrypted.
    pub sealed: Option<Sealed>,
    pub attachments: BTreeMap<ConnectionId, Attachment>,
    /// Updates that wait for their turn. One append is under way at most, and what waits shares the next.
    pub updates: VecDeque<Update>,
    pub append: Option<Append>,
    /// Whether an entry of the log is found by a key: then any message may be in it under another device.
    pub has_keys: bool,
}

/// The log, as far as memory has it.
pub(super) struct Log {
    pub session_id: SessionId,
    /// What is on disk: its end, its hash and the last entry of each device.
    pub state: log::Log,
    /// The last entries, up to its end.
    tail: VecDeque<Arc<TailEntry>>,
    /// The last entry that a person wrote, 0 for none.
    pub last_written: u64,
    /// The last head that was signed.
    signed: Option<(LogHead, HeadSignature)>,
    /// Parts that the journal is reading, and who waits for each.
    pub reads: BTreeMap<BatchKey, Vec<ConnectionId>>,
}

#[derive(Clone)]
pub(super) struct TailEntry {
    pub stored: StoredEntry,
    pub entry: Entry,
}

/// A connection that takes part in a session.
pub(super) struct Attachment {
    pub device_id: DeviceId,
    pub wallet: Option<WalletAddress>,
    pub dialect: Dialect,
    /// Where live delivery goes on; `None` for one that has not asked for it.
    pub live: Option<u64>,
    /// Requests that are not fully answered.
    pub answers: VecDeque<Answer>,
    /// The last entry sent to it, and the last that it says it has stored.
    pub sent_through: u64,
    pub acknowledged_through: u64,
    /// The last entry that was ever sent to it: what is sent again is charged.
    pub farthest: u64,
    pub batch_max: usize,
    /// The journal is reading for it.
    pub reading: bool,
    /// A message of it was not taken: what it sent behind that one is not taken either, because it will come again, and
    /// perhaps under other counters.
    pub refused: bool,
    /// What it was to hear while its socket had no room, and hears when it has.
    pub missed: Missed,
}

/// What is said again to one that could not take it.
#[derive(Default)]
pub(super) struct Missed {
    pub devices: bool,
    pub receipts: bool,
}

impl Session {
    /// A session as the journal has it.
    ///
    /// # Errors
    /// [`Malformed`]: who may take part cannot be read, and nobody shall be taken for a member by mistake.
    pub fn new(session_id: SessionId, stored: StoredSession) -> Result<Self, Malformed> {
        let heads = stored.devices.iter().filter(|row| row.last_counter > 0).map(|row| DeviceHead {
            device_id: row.device_id.as_str().into(),
            counter: row.last_counter,
            sequence: row.last_sequence,
            digest: row.last_digest,
        });
        let state = match stored.head {
            0 => log::Log::new(&session_id),
            head => log::Log::restore(head, stored.log_hash, heads.collect()),
        };
        let sealed = is_sealed_id(&session_id).then(|| Sealed::new(&session_id, stored.epochs.as_deref())).transpose()?;
        let group = stored.group.map(|row| Group::from_bytes(&row.state)).transpose()?;
        Ok(Session {
            receipts: Receipts::new(stored.watermarks, group.as_ref()),
            group,
            sealed,
            log: Log { session_id, state, tail: VecDeque::new(), last_written: stored.last_written, signed: None, reads: BTreeMap::new() },
            has_keys: stored.has_keys,
            devices: Devices::new(stored.devices),
            members: Members::new(stored.members),
            attachments: BTreeMap::new(),
            updates: VecDeque::new(),
            append: None,
        })
    }

    /// Nobody has written to it.
    pub fn is_unbegun(&self) -> bool {
        self.log.head() == 0 && self.append.is_none() && self.updates.is_empty()
    }

    /// Nobody takes part in it and nothing is under way: the journal has it.
    pub fn is_idle(&self) -> bool {
        let works = !self.updates.is_empty() || self.append.is_some() || !self.log.reads.is_empty();
        self.attachments.is_empty() && !works && self.next_timeout_ms().is_none()
    }

    /// When it has something to do by itself.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        self.receipts.due_ms().into_iter().chain(self.devices.due_ms()).min()
    }

    /// The time that it named has come.
    pub fn on_timeout(&mut self, ctx: &mut Context) {
        self.receipts.tell_delivered(ctx, &self.log, &mut self.attachments);
        self.devices.tell_changes(ctx, &self.log.session_id, &mut self.attachments);
    }

    /// A connection asks for something that it may ask for. One that was no member yet becomes one, as this device.
    pub fn on_ask(&mut self, ctx: &mut Context, connection: ConnectionId, device_id: &str, ask: Ask) -> Result<(), SyncError> {
        ctx.charge(connection, self.cost_us(&ask));
        match ask {
            Ask::Announce(announcement) => self.announce(ctx, connection, device_id, announcement),
            Ask::Fetch(fetch) => {
                self.log.compare(fetch.log)?;
                let attachment = member(&mut self.attachments, connection, device_id);
                fanout::fetch(ctx, &mut self.log, connection, attachment, fetch)?;
            }
            Ask::Write(update) => {
                let attachment = member(&mut self.attachments, connection, device_id);
                if update.listens {
                    attachment.live.get_or_insert(self.log.head() + 1);
                }
                if attachment.wallet.is_none() {
                    attachment.wallet.clone_from(&update.speaks_for);
                }
                self.enqueue(ctx, update)?;
            }
            Ask::Acknowledge(through) => {
                let attachment = member(&mut self.attachments, connection, device_id);
                let (before, through) = attachment.acknowledge(through.min(self.log.head()));
                self.devices.has_stored(ctx.now, &attachment.device_id, through);
                self.receipts.delivered(ctx.now, &self.log, connection, attachment, (before, through));
                fanout::serve(ctx, &mut self.log, connection, attachment);
            }
            Ask::Heartbeat { heartbeat, wants_clock } => {
                if let Some(attachment) = self.attachments.get(&connection) {
                    self.devices.heard_of(ctx.now, &attachment.device_id, heartbeat);
                }
                let sequence_number = self.log.head();
                let answer = match wants_clock {
                    true => SyncHeartbeat { sequence_number, vector_clock: self.log.state.clock().informing(), ..SyncHeartbeat::default() },
                    false => {
                        let (log, log_signature) = (Some(self.log.state.log_head()), self.log.signed_head(ctx));
                        SyncHeartbeat { sequence_number, log, log_signature, ..SyncHeartbeat::default() }
                    }
                };
                ctx.transmit(connection, &self.log.session_id, Body::SyncHeartbeat(answer));
            }
            Ask::Receipts { receipts, unreadable } => {
                let attachment = member(&mut self.attachments, connection, device_id);
                let reader = Reader::of(connection, attachment);
                self.receipts.take(ctx, &self.log, &mut self.attachments, reader, receipts);
                unreadable.map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// What it costs beside its own bytes.
    fn cost_us(&self, ask: &Ask) -> u64 {
        let members = self.attachments.len() as u64;
        match ask {
            // Lists are made of all devices, and of who is there.
            Ask::Announce(_) => 2 * members * budget::MEMBER_US + self.devices.len() as u64,
            Ask::Write(update) => {
                let messages = update.messages.len() as u64;
                let bytes: usize = update.messages.iter().map(|draft| draft.entry.message.ciphertext.len()).sum();
                let finds =
                    update.messages.iter().filter(|draft| matches!(draft.knowledge, Knowledge::Clock { key: Some(_), .. })).count() as u64;
                // Seed clients are told of each message by itself.
                let seeds = self.attachments.values().filter(|attachment| !attachment.dialect.is_v1()).count() as u64;
                let told_us = (members + seeds * messages) * budget::MEMBER_US + members * (bytes / budget::TOLD_BYTES_PER_US) as u64;
                let signatures = u64::from(update.signature.is_some());
                budget::APPEND_US
                    + signatures * budget::VERIFY_US
                    + messages * budget::MESSAGE_US
                    + finds * budget::FIND_US
                    + (bytes / budget::STORED_BYTES_PER_US) as u64
                    + told_us
            }
            Ask::Receipts { receipts, .. } => (receipts.len() as u64).div_ceil(8) * members * budget::MEMBER_US + receipts.len() as u64,
            Ask::Fetch(_) | Ask::Acknowledge(_) | Ask::Heartbeat { .. } => budget::MEMBER_US,
        }
    }

    /// A connection says which device it is. Nothing is stored of one that has not written: a session exists once it has
    /// an entry.
    fn announce(&mut self, ctx: &mut Context, connection: ConnectionId, device_id: &str, said: Announcement) {
        ctx.takes_compressed(connection, said.deflate);
        let attachment = member(&mut self.attachments, connection, device_id);
        let before = attachment.announce(device_id, &said, self.log.head());
        let hears_receipts = attachment.dialect.hears_stored_receipts();
        if before != device_id && self.attachments.values().all(|other| other.device_id != before) {
            self.devices.forget_visitor(&before);
        }
        let members = said.wallet.clone().zip(said.peer_wallet.clone());
        let row = self.devices.announced(ctx.now, device_id, said);
        let wallet = row.wallet.clone();
        ctx.note(&self.log.session_id, vec![row], Vec::new());
        self.devices.tell_arrival(ctx, &self.log.session_id, &self.attachments, connection, device_id);
        if hears_receipts {
            self.receipts.tell_stored(ctx, &self.log, connection, wallet.as_ref());
        }
        if let Some((wallet, peer_wallet)) = members {
            self.join(ctx, connection, &wallet, &peer_wallet);
        }
        self.join_group(ctx, connection);
    }

    /// The socket of a connection takes more again: it is served, and hears again what it could not take.
    pub fn on_drain(&mut self, ctx: &mut Context, connection: ConnectionId) {
        let Some(attachment) = self.attachments.get_mut(&connection) else { return };
        let missed = std::mem::take(&mut attachment.missed);
        let (whole, wallet) = (attachment.dialect.has_whole_lists(), attachment.wallet.clone());
        fanout::serve(ctx, &mut self.log, connection, attachment);
        let mut missed_again = Missed::default();
        if missed.devices {
            missed_again.devices = !self.devices.tell_all(ctx, &self.log.session_id, &self.attachments, connection, whole);
        }
        if missed.receipts {
            missed_again.receipts = !self.receipts.tell_stored(ctx, &self.log, connection, wallet.as_ref());
        }
        if let Some(attachment) = self.attachments.get_mut(&connection) {
            attachment.missed = missed_again;
        }
    }

    /// A connection is gone.
    pub fn on_leave(&mut self, ctx: &mut Context, connection: ConnectionId) {
        // One that was refused at the door never took part.
        let Some(attachment) = self.attachments.remove(&connection) else { return };
        if attachment.refused {
            // Now nothing says any more that what it sent behind the refused message is not to be taken.
            self.refuse_rest_of(connection);
        }
        if let Some(row) = self.devices.left(ctx.now, &attachment.device_id) {
            ctx.note(&self.log.session_id, vec![row], Vec::new());
        }
        self.devices.tell_departure(ctx.now, &self.attachments, &attachment.device_id);
    }
}

/// The attachment of a connection, made where there is none: seed clients need not announce themselves.
fn member<'a>(attachments: &'a mut BTreeMap<ConnectionId, Attachment>, connection: ConnectionId, device_id: &str) -> &'a mut Attachment {
    attachments.entry(connection).or_insert_with(|| Attachment::new(device_id))
}

impl Attachment {
    fn new(device_id: &str) -> Self {
        Attachment {
            device_id: device_id.to_owned(),
            wallet: None,
            dialect: Dialect::default(),
            live: None,
            answers: VecDeque::new(),
            sent_through: 0,
            acknowledged_through: 0,
            farthest: 0,
            batch_max: BATCH_MESSAGES_DEFAULT,
            reading: false,
            refused: false,
            missed: Missed::default(),
        }
    }

    /// Says which device it was before.
    fn announce(&mut self, device_id: &str, said: &Announcement, head: u64) -> DeviceId {
        let before = std::mem::replace(&mut self.device_id, device_id.to_owned());
        if said.wallet.is_some() {
            self.wallet.clone_from(&said.wallet);
        }
        if said.v1 && !self.dialect.is_v1() {
            // It asks for what it wants to hear, whatever it was as a seed client.
            self.live = None;
        }
        self.dialect.announce(said.v1);
        self.refused = false;
        if said.listens {
            self.live.get_or_insert(head + 1);
        }
        before
    }

    /// It has stored everything up to here; says from where to where that is news.
    fn acknowledge(&mut self, through: u64) -> (u64, u64) {
        let before = self.acknowledged_through;
        self.acknowledged_through = before.max(through);
        (before, through)
    }
}

impl TailEntry {
    /// An entry of the journal; `None` where it cannot be read.
    pub fn read(stored: StoredEntry) -> Option<TailEntry> {
        let entry = stored.body.entries().ok()?.pop()?;
        Some(TailEntry { stored, entry })
    }
}

impl Log {
    /// The last sequence number on disk.
    pub fn head(&self) -> u64 {
        self.state.end()
    }

    /// Compares with what a device says of its log, where memory knows of that place. The device compares at every place.
    fn compare(&self, other: Option<LogHead>) -> Result<(), SyncError> {
        let Some(other) = other else { return Ok(()) };
        let own = self.hash_at(other.sequence).map(|hash| LogHead { sequence: other.sequence, hash });
        match own {
            Some(own) if own != other => {
                let message = format!("the log of the device, up to {other}, is another than that of this relay, {own}");
                Err(SyncError::new(ErrorCode::RelayForked, message))
            }
            _ => Ok(()),
        }
    }

    /// The hash of the log up to this place, where memory has it.
    pub fn hash_at(&self, sequence: u64) -> Option<Digest> {
        if sequence == 0 {
            return Some(first_log_hash(&self.session_id));
        }
        self.state.hash_at(sequence).or_else(|| self.tail_from(sequence)?.next().map(|entry| entry.stored.log_hash))
    }

    /// Where the log ends, signed by the relay, where it has a key. Signed once, whoever is told.
    pub fn signed_head(&mut self, ctx: &mut Context) -> Option<HeadSignature> {
        let head = self.state.log_head();
        if self.signed.is_none_or(|(signed, _)| signed != head) {
            self.signed = ctx.sign_head(&self.session_id, &head).map(|signature| (head, signature));
        }
        self.signed.map(|(_, signature)| signature)
    }

    pub fn extend_tail(&mut self, entries: Vec<TailEntry>) {
        self.tail.extend(entries.into_iter().map(Arc::new));
        while self.tail.len() > TAIL_ENTRIES_MAX {
            self.tail.pop_front();
        }
    }

    /// The entries that memory has, oldest first.
    pub fn tail(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.tail.iter().map(|entry| &entry.entry)
    }

    /// The entries from `from` on, where the tail holds that one.
    pub fn tail_from(&self, from: u64) -> Option<impl Iterator<Item = &TailEntry>> {
        let first = self.tail.front()?.stored.sequence;
        let start = usize::try_from(from.checked_sub(first)?).ok().filter(|start| *start < self.tail.len())?;
        Some(self.tail.range(start..).map(|entry| &**entry))
    }

    /// Whether any of these entries was written by another wallet; the tail tells, and beyond it one is assumed.
    pub fn has_foreign(&self, from: u64, through: u64, wallet: &str) -> bool {
        let first = self.tail.front().map_or(u64::MAX, |entry| entry.stored.sequence);
        from < first || self.tail().any(|entry| (from..=through).contains(&entry.sequence_number) && entry.message.sender_wallet != wallet)
    }

    /// The id of the message at this place, where memory has it.
    pub fn id_at(&self, sequence: u64) -> Option<String> {
        self.tail_from(sequence)?.next().map(|entry| entry.entry.message.id.clone())
    }

    /// The same of a message that this wallet wrote.
    pub fn own_id_at(&self, sequence: u64, wallet: Option<&str>) -> Option<String> {
        let entry = &self.tail_from(sequence)?.next()?.entry;
        (Some(entry.message.sender_wallet.as_str()) == wallet).then(|| entry.message.id.clone())
    }

    /// The place of this message, where memory has it.
    pub fn sequence_of(&self, message_id: &str) -> Option<u64> {
        self.tail().rev().find(|entry| entry.message.id == message_id).map(|entry| entry.sequence_number)
    }
}
