//! Signing in: the accounts of who is there, read from their logs, and what their devices make of them.
//!
//! An account is in memory while a connection of one of its devices is open. Its log is in the journal like that of any
//! session, and is written here alone: by the first `sign_in` of a device, and by what devices that have signed in say of others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::api::{ConnectionId, DeviceRow, Doorkeeper, JournalAnswer, JournalQuestion, StoredEntry};
use super::context::{CLOSE_REFUSED, CLOSE_TRY_LATER, Context, Leaning, Purpose, refusal};
use super::door::Guest;
use super::{account_logs, budget};
use crate::batch::Batch;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Frame, Head, ShortNumber, SignIn, SignedIn, SyncResponse};
use crate::identity::{Account, Challenge, DomainSet, Owner, Signature, device_id, greet, said_digest};
use crate::ids::{DeviceId, SessionId, start_of};
use crate::limits::{SIGN_IN_TIMEOUT_MS, SIGN_INS_WAITING_MAX};
use crate::log::LogHead;

/// Entries of an account log that are read at once.
const READ_COUNT_MAX: usize = 1_000;
const READ_BYTES_MAX: usize = 1024 * 1024;

/// Somebody whose proof is right, and whose account is asked about the device; or who has signed in, and says something of others.
struct Asker {
    connection: ConnectionId,
    head: Head,
    device_id: DeviceId,
    /// What it has proved who it is with, where it signs in.
    proof: Option<Signature>,
    /// Up to where it has the account's log; 0 where it is asked of others.
    known: u64,
    /// The entry that lists the device, where it sent one, or the one that it says.
    entry: Option<Entry>,
}

/// What the journal is asked about an account.
enum Step {
    /// To say how long its log is.
    Loading,
    /// To read it, up to there.
    Reading(u64),
    /// Nothing.
    Ready,
    /// Nothing, and it must be asked again: what it has is not known.
    Unknown,
    /// To store an entry, by which the account becomes this one.
    Storing(Box<(Asker, StoredEntry, Account)>),
}

struct Room {
    account: Account,
    step: Step,
    askers: VecDeque<Asker>,
    /// Who has signed in.
    guests: BTreeMap<ConnectionId, DeviceId>,
    /// The encrypted sessions that lean on it, and for whom.
    watchers: BTreeMap<SessionId, ConnectionId>,
}

/// The accounts of who is there.
#[derive(Default)]
pub(super) struct Accounts(BTreeMap<SessionId, Room>);

impl Accounts {
    /// A connection says who it is. Its proof is checked now; whether the account lists it, where the account is known.
    pub fn sign_in(&mut self, ctx: &mut Context, keeper: &Doorkeeper, connection: ConnectionId, head: Head, said: SignIn) {
        ctx.charge(connection, budget::SIGN_IN_US);
        match check(ctx, keeper, connection, &said) {
            Ok((owner, entry)) => {
                if let Some(socket) = ctx.sockets.get_mut(&connection) {
                    socket.door.is_asking = true;
                }
                let asker = Asker { connection, head, device_id: device_id(&said.key), proof: Some(said.proof), known: said.known, entry };
                self.ask(ctx, owner, asker);
            }
            // It may be signed again.
            Err(error) if error.code == ErrorCode::NonceExpired => {
                ctx.refuse(connection, refusal(&error, &head));
                ctx.say_hello(keeper, connection, None);
            }
            Err(error) => turn_away(ctx, connection, &head, &error),
        }
    }

    fn ask(&mut self, ctx: &mut Context, owner: Owner, asker: Asker) {
        // The relay's own disk is not what it is late for.
        ctx.unsigned.remove(&asker.connection);
        let (account_id, connection) = (owner.account_id.clone(), asker.connection);
        let room = self.0.entry(account_id.clone()).or_insert_with(|| Room::new(owner));
        if room.askers.len() >= SIGN_INS_WAITING_MAX {
            let error = SyncError::new(ErrorCode::RelayBusy, "too many devices of this account ask for something at once; connect again");
            return room.refuse(ctx, &asker, &error);
        }
        room.askers.push_back(asker);
        if matches!(room.step, Step::Unknown) {
            ctx.charge(connection, budget::LOAD_US);
            room.load(ctx);
        }
        self.go_on(ctx, &account_id);
    }

    /// An encrypted session leans on this account from now on, and is woken when it is in memory.
    pub fn watch(&mut self, ctx: &mut Context, owner: Owner, session_id: SessionId, writer: ConnectionId) {
        let account_id = owner.account_id.clone();
        let room = self.0.entry(account_id.clone()).or_insert_with(|| Room::new(owner));
        room.watchers.insert(session_id, writer);
        if matches!(room.step, Step::Unknown) {
            room.load(ctx);
        }
        self.go_on(ctx, &account_id);
    }

    /// It does no more.
    pub fn unwatch(&mut self, ctx: &mut Context, account_id: &str, session_id: &str) {
        if let Some(room) = self.0.get_mut(account_id) {
            room.watchers.remove(session_id);
            self.go_on(ctx, account_id);
        }
    }

    /// A device that has signed in says something of its account.
    pub fn receive(&mut self, ctx: &mut Context, connection: ConnectionId, frame: Frame) {
        let Some(guest) = ctx.sockets.get(&connection).and_then(|socket| socket.door.guest.clone()) else { return };
        let Some(room) = self.0.get(&guest.account_id) else { return };
        let owner = room.account.owner().clone();
        let said = match frame.body {
            Body::ShortNumber(said) => return room.pass_on(ctx, connection, guest.device_id, said),
            Body::SyncUpdate(update) => update.messages.entries().map_err(crate::wire::Malformed::in_frame),
            _ => Err(SyncError::new(ErrorCode::InvalidMessageFormat, "an account log takes no such frame")),
        };
        ctx.charge(connection, budget::SIGN_IN_US);
        match said.and_then(|entries| own_entry(entries, &owner, &guest.device_id)) {
            Ok(Some(entry)) => {
                let asker = Asker { connection, head: frame.head, device_id: guest.device_id, proof: None, known: 0, entry: Some(entry) };
                self.ask(ctx, owner, asker);
            }
            Ok(None) => {
                let error = SyncError::new(ErrorCode::InvalidMessageFormat, "the update says nothing");
                ctx.refuse(connection, refusal(&error, &frame.head));
            }
            Err(error) => ctx.refuse(connection, refusal(&error, &frame.head)),
        }
    }

    /// The journal has read or stored, or not.
    pub fn on_answer(&mut self, ctx: &mut Context, account_id: &str, answer: JournalAnswer) {
        let Some(room) = self.0.get_mut(account_id) else {
            return ctx.log(format!("{account_id:?} is not open: a fault of the relay"));
        };
        match (std::mem::replace(&mut room.step, Step::Ready), answer) {
            (Step::Loading, JournalAnswer::Session(stored)) => {
                room.read_on(ctx, stored.head);
                room.cut_removed(ctx);
            }
            (Step::Reading(through), JournalAnswer::Entries(entries)) if !entries.is_empty() && room.take(ctx, &entries) => {
                // For the first of those who wait: an account is read again and again for who is not listed in it.
                let payer = room.askers.front().map(|asker| asker.connection).or(room.watchers.values().next().copied());
                if let Some(payer) = payer {
                    ctx.charge(payer, budget::SIGN_IN_US * entries.len() as u64);
                }
                room.read_on(ctx, through);
                room.cut_removed(ctx);
            }
            (Step::Storing(stored), JournalAnswer::Appended) => {
                let (asker, entry, account) = *stored;
                ctx.totals.entries += 1;
                room.account = account;
                room.tell(ctx, &entry);
                room.cut_removed(ctx);
                if !room.guests.contains_key(&asker.connection) {
                    room.welcome(ctx, asker);
                }
            }
            (step, answer) => {
                let error = ctx.journal_failed(account_id, &answer);
                (room.account, room.step) = (Account::new(room.account.owner().clone()), Step::Unknown);
                let mut askers = std::mem::take(&mut room.askers);
                if let Step::Storing(stored) = step {
                    askers.push_front(stored.0);
                    // It may be stored all the same, and then some of these are listed no longer.
                    room.load(ctx);
                } else {
                    for connection in room.guests.keys() {
                        ctx.cut(*connection, CLOSE_TRY_LATER, error.message.clone());
                    }
                }
                for asker in askers {
                    room.refuse(ctx, &asker, &error);
                }
                ctx.accounts.remove(account_id);
                if matches!(room.step, Step::Unknown) {
                    for session_id in std::mem::take(&mut room.watchers).into_keys() {
                        ctx.lean(&session_id, Leaning::Changed(Some(error.clone())));
                    }
                }
            }
        }
        self.go_on(ctx, account_id);
    }

    /// Answers who waits, and forgets the account where nobody needs it.
    fn go_on(&mut self, ctx: &mut Context, account_id: &str) {
        let Some(room) = self.0.get_mut(account_id) else { return };
        // Before the next of those who wait has it store something: its devices have heard of what is stored.
        if matches!(room.step, Step::Ready) {
            room.publish(ctx);
        }
        while matches!(room.step, Step::Ready) {
            let Some(asker) = room.askers.pop_front() else { break };
            room.answer(ctx, asker);
        }
        if room.watchers.is_empty() {
            ctx.accounts.remove(account_id);
        }
        if matches!(room.step, Step::Ready | Step::Unknown) && room.guests.is_empty() && room.watchers.is_empty() {
            self.0.remove(account_id);
        }
    }

    /// A connection has left.
    pub fn leave(&mut self, ctx: &mut Context, connection: ConnectionId, guest: &Guest) {
        if let Some(room) = self.0.get_mut(&guest.account_id) {
            room.guests.remove(&connection);
            self.go_on(ctx, &guest.account_id);
        }
    }
}

impl Room {
    fn new(owner: Owner) -> Room {
        let (askers, guests, watchers) = (VecDeque::new(), BTreeMap::new(), BTreeMap::new());
        Room { account: Account::new(owner), step: Step::Unknown, askers, guests, watchers }
    }

    /// What is on disk of it is in memory: sessions that wait for it go on.
    fn publish(&self, ctx: &mut Context) {
        let account_id = &self.account.owner().account_id;
        let is_news = ctx.accounts.get(account_id).is_none_or(|known| known.head() != self.account.head());
        if is_news && !self.watchers.is_empty() {
            ctx.accounts.insert(account_id.clone(), Arc::new(self.account.clone()));
            self.watchers.keys().for_each(|session_id| ctx.lean(session_id, Leaning::Changed(None)));
        }
    }

    fn load(&mut self, ctx: &mut Context) {
        self.step = Step::Loading;
        let account_id = &self.account.owner().account_id;
        ctx.ask(account_id, Purpose::Account, JournalQuestion::Load { session_id: account_id.clone() });
    }

    fn read_on(&mut self, ctx: &mut Context, through: u64) {
        let from = self.account.head().sequence + 1;
        if from > through {
            return;
        }
        self.step = Step::Reading(through);
        let account_id = &self.account.owner().account_id;
        let question = JournalQuestion::Read { session_id: account_id.clone(), from, count_max: READ_COUNT_MAX, bytes_max: READ_BYTES_MAX };
        ctx.ask(account_id, Purpose::Account, question);
    }

    /// Evaluates what the journal has. Says whether it can be read.
    fn take(&mut self, ctx: &mut Context, stored: &[StoredEntry]) -> bool {
        for stored in stored {
            let entry = stored.body.entries().ok().and_then(|mut entries| entries.pop());
            // What does not count changes nothing, here as everywhere.
            let taken = entry.is_some_and(|entry| self.account.take(&entry).is_ok());
            if !taken {
                ctx.log(format!("entry {} of {:?} cannot be read", stored.sequence, self.account.owner().account_id));
                return false;
            }
        }
        true
    }

    /// What becomes of somebody whose proof is right.
    fn answer(&mut self, ctx: &mut Context, asker: Asker) {
        if !ctx.sockets.contains_key(&asker.connection) {
            return;
        }
        let is_guest = self.guests.contains_key(&asker.connection);
        if self.account.device(&asker.device_id).is_some() && !is_guest {
            return self.welcome(ctx, asker);
        }
        if self.account.was_removed(&asker.device_id) {
            return self.refuse(ctx, &asker, &removed());
        }
        let head = self.account.head();
        let counter = self.account.log().counter(&asker.device_id) + 1;
        let moved = || SyncError::new(ErrorCode::AccountMoved, "the account is another than the entry names");
        let entry = asker.entry.clone().filter(|entry| entry.knows <= head.sequence && entry.counter == counter);
        let entry = entry.map(|entry| Entry { sequence_number: head.sequence + 1, server_timestamp: ctx.now.wall_ms, ..entry });
        match entry.ok_or_else(moved).and_then(|entry| self.account.check(&entry).map(|()| entry)) {
            Ok(entry) => self.store(ctx, asker, entry),
            Err(error) if error.code == ErrorCode::AccountMoved && !is_guest => ctx.ask_for_entry(asker.connection, head),
            Err(error) => self.refuse(ctx, &asker, &error),
        }
    }

    /// Says why. Who has signed in stays, but for who was removed meanwhile, which has heard of it.
    fn refuse(&self, ctx: &mut Context, asker: &Asker, error: &SyncError) {
        let (is_guest, is_out) = (self.guests.contains_key(&asker.connection), error.code == ErrorCode::DeviceRemoved);
        let refused = Some(error.code.as_str().to_owned());
        if is_guest {
            if is_out && self.account.was_removed(&asker.device_id) {
                turn_away(ctx, asker.connection, &asker.head, error);
            } else {
                ctx.refuse(asker.connection, refusal(error, &asker.head));
            }
        } else if is_out {
            answer_proof(ctx, asker, SignedIn { account: Some(self.account.head()), refused, ..SignedIn::default() });
            let account_id = &self.account.owner().account_id;
            account_logs::turn_out(ctx, asker.connection, account_id, (&asker.head, asker.known), error.clone());
        } else {
            answer_proof(ctx, asker, SignedIn { refused, ..SignedIn::default() });
            turn_away(ctx, asker.connection, &asker.head, error);
        }
    }

    fn store(&mut self, ctx: &mut Context, asker: Asker, entry: Entry) {
        if !self.guests.contains_key(&asker.connection)
            && let Err(error) = ctx.list_device(asker.connection)
        {
            return put_off(ctx, asker.connection, &asker.head, &error);
        }
        let mut account = self.account.clone();
        let account_id = account.owner().account_id.clone();
        let (Ok(Ok(_)), Ok(body)) = (account.take(&entry), Batch::of(std::slice::from_ref(&entry))) else {
            let error = SyncError::new(ErrorCode::InvalidMessageFormat, "the entry cannot be stored");
            return self.refuse(ctx, &asker, &error);
        };
        let Entry { sequence_number: sequence, device_id, counter, .. } = entry;
        let last_digest = account.log().digest(&account_id, &device_id);
        let device = DeviceRow {
            device_id: device_id.clone(),
            wallet: Some(account.owner().wallet.clone()),
            last_counter: counter,
            last_sequence: sequence,
            last_digest,
            last_seen_ms: ctx.now.wall_ms,
            ..DeviceRow::default()
        };
        let stored = StoredEntry { sequence, device_id, counter, key: None, log_hash: account.log().hash(), signature: None, body };
        ctx.charge(asker.connection, budget::APPEND_US);
        self.step = Step::Storing(Box::new((asker, stored.clone(), account)));
        let (entries, devices, members) = (vec![stored], vec![device], Vec::new());
        let question = JournalQuestion::Append { session_id: account_id.clone(), entries, devices, members, group: None, epochs: None };
        ctx.ask(&account_id, Purpose::Account, question);
    }

    /// The connection is one of the account from now on.
    fn welcome(&mut self, ctx: &mut Context, asker: Asker) {
        let Asker { connection, ref device_id, .. } = asker;
        let Owner { wallet, account_id, domains, .. } = self.account.owner().clone();
        // It may have left meanwhile.
        let Some(attached) = ctx.sockets.get(&connection).map(|socket| socket.attached.len()) else { return };
        if let Err(cap) = ctx.caps.enter(ctx.now.monotonic_ms, &wallet, attached) {
            let error = ctx.capped(cap);
            return put_off(ctx, connection, &asker.head, &error);
        }
        if let Some(socket) = ctx.sockets.get_mut(&connection) {
            socket.door.guest = Some(Guest { wallet, device_id: device_id.clone(), account_id, domains });
        }
        ctx.totals.sign_ins += 1;
        self.guests.insert(connection, device_id.clone());
        answer_proof(ctx, &asker, SignedIn { account: Some(self.account.head()), ..SignedIn::default() });
    }

    /// Every device hears of an entry, also those that it removes: it is why.
    fn tell(&self, ctx: &mut Context, stored: &StoredEntry) {
        let response = SyncResponse { messages: stored.body.clone(), latest_sequence: stored.sequence, ..SyncResponse::default() };
        for connection in self.guests.keys() {
            ctx.transmit(*connection, &self.account.owner().account_id, Body::SyncResponse(response.clone()));
        }
    }

    /// What a device says to another one of which one is approved and one waits: for who is there, and kept nowhere.
    fn pass_on(&self, ctx: &mut Context, connection: ConnectionId, from: DeviceId, said: ShortNumber) {
        let is_approved = |id: &str| self.account.device(id).map(|device| device.is_approved);
        let is_between = is_approved(&from).zip(is_approved(&said.to)).is_some_and(|(one, other)| one != other);
        let there = self.guests.iter().filter(|(_, device_id)| is_between && **device_id == said.to);
        let there: Vec<ConnectionId> = there.map(|(connection, _)| *connection).collect();
        ctx.charge(connection, budget::NUMBER_US);
        ctx.inform_all(&there, &self.account.owner().account_id, Body::ShortNumber(ShortNumber { from, ..said }));
    }

    /// Devices that are listed no longer are cut at once.
    fn cut_removed(&self, ctx: &mut Context) {
        let error = removed();
        for (connection, _) in self.guests.iter().filter(|(_, device_id)| self.account.was_removed(device_id)) {
            turn_away(ctx, *connection, &Head::default(), &error);
        }
    }
}

impl Context {
    /// A connection hears what it may sign.
    pub(super) fn say_hello(&mut self, keeper: &Doorkeeper, connection: ConnectionId, account: Option<LogHead>) {
        let now = self.now;
        if let Some(socket) = self.sockets.get_mut(&connection) {
            let Some(hello) = socket.door.hello(now, keeper, connection, account) else {
                return self.cut(connection, CLOSE_REFUSED, "it has tried to sign in too often; connect again".into());
            };
            if keeper.is_required {
                self.unsigned.insert(connection, now.monotonic_ms + SIGN_IN_TIMEOUT_MS);
            }
            self.transmit(connection, "", Body::Hello(hello));
        }
    }

    /// A device that is not listed hears behind which entry it may enter the account.
    fn ask_for_entry(&mut self, connection: ConnectionId, head: LogHead) {
        if let Some(keeper) = self.keeper.clone() {
            self.say_hello(&keeper, connection, Some(head));
        }
    }
}

fn removed() -> SyncError {
    SyncError::new(ErrorCode::DeviceRemoved, "this device was removed from the account")
}

/// The relay proves that it has the key that it shows, and says what becomes of the device.
fn answer_proof(ctx: &mut Context, asker: &Asker, said: SignedIn) {
    if let (Some(keeper), Some(proof)) = (ctx.keeper.clone(), asker.proof) {
        let entry = said_digest(asker.entry.as_ref());
        let greeting = greet(&keeper.key, &proof, said.account.as_ref(), said.refused.as_deref().map(|code| (code, &entry)));
        ctx.transmit(asker.connection, "", Body::SignedIn(SignedIn { greeting, ..said }));
    }
}

/// Says why, and ends the connection.
fn turn_away(ctx: &mut Context, connection: ConnectionId, head: &Head, error: &SyncError) {
    ctx.refuse(connection, refusal(error, head));
    ctx.cut(connection, CLOSE_REFUSED, error.message.clone());
}

/// The same where it may come again.
fn put_off(ctx: &mut Context, connection: ConnectionId, head: &Head, error: &SyncError) {
    ctx.refuse(connection, refusal(error, head));
    ctx.cut(connection, CLOSE_TRY_LATER, error.message.clone());
}

/// Checks all of a `sign_in` that does not depend on the account.
fn check(ctx: &mut Context, keeper: &Doorkeeper, connection: ConnectionId, said: &SignIn) -> Result<(Owner, Option<Entry>), SyncError> {
    let now = ctx.now;
    let door = ctx.sockets.get_mut(&connection).map(|socket| &mut socket.door);
    // Two who come in on one connection would both be guests, of whom one is forgotten when it ends.
    if door.as_ref().is_some_and(|door| door.is_asking || door.guest.is_some()) {
        return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the connection has signed in already, or is about to"));
    }
    if !door.is_some_and(|door| door.take_nonce(now, &said.nonce)) {
        return Err(SyncError::new(ErrorCode::NonceExpired, "the nonce is over, was used, or is another connection's"));
    }
    if !keeper.names.contains(&said.relay) {
        return Err(SyncError::new(ErrorCode::WrongRelay, format!("this relay is not called {:?}", said.relay)));
    }
    let owner = Owner::new(&said.wallet, DomainSet::new(said.domains.clone())?)?;
    let SignIn { nonce, device_nonce, .. } = *said;
    let challenge = Challenge { relay: said.relay.clone(), relay_key: keeper.key.public(), nonce, device_nonce };
    challenge.check(&owner.account_id, &said.key, &said.proof)?;
    let entries = said.messages.entries().map_err(crate::wire::Malformed::in_frame)?;
    let entry = own_entry(entries, &owner, &device_id(&said.key))?;
    if entry.as_ref().is_some_and(|entry| entry.counter != 1) {
        return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "a device lists itself by its first entry"));
    }
    Ok((owner, entry))
}

/// The one entry, where there is one, that a device says in its account.
fn own_entry(mut entries: Vec<Entry>, owner: &Owner, device_id: &str) -> Result<Option<Entry>, SyncError> {
    let entry = entries.pop();
    if let Some(entry) = &entry {
        let Entry { message, device_id: author, counter, .. } = entry;
        let is_own = author == device_id && message.sender_wallet == owner.wallet && message.session_id == owner.account_id;
        if !is_own || !entries.is_empty() || start_of(&message.id, &message.session_id, author, *counter).is_none() {
            return Err(SyncError::new(
                ErrorCode::InvalidMessageFormat,
                "a device says one entry of its account at once, under its own id",
            ));
        }
        entry.check()?;
    }
    Ok(entry)
}
