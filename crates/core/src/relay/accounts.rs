//! Signing in: the accounts of who is there, read from their logs, and what a `sign_in` makes of them.
//!
//! An account is in memory while a connection of one of its devices is open. Its log is in the journal like that of any
//! session, and is written here alone: by the first `sign_in` of a device.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::api::{ConnectionId, DeviceRow, Doorkeeper, JournalAnswer, JournalQuestion, StoredEntry};
use super::budget;
use super::context::{Context, Purpose, refusal};
use super::door::Guest;
use crate::batch::Batch;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, Head, SignIn, SignedIn};
use crate::identity::{Account, Challenge, Change, DomainSet, Owner, device_id};
use crate::ids::{DeviceId, SessionId, start_of};
use crate::limits::{SIGN_IN_TIMEOUT_MS, SIGN_INS_WAITING_MAX};
use crate::log::LogHead;

/// The close code of a connection that may not go on: a violation of the relay's policy (RFC 6455).
const CLOSE_REFUSED: u16 = 1008;

/// Entries of an account log that are read at once.
const READ_COUNT_MAX: usize = 1_000;
const READ_BYTES_MAX: usize = 1024 * 1024;

/// Somebody whose proof is right, and whose account is asked about the device.
struct Asker {
    connection: ConnectionId,
    head: Head,
    device_id: DeviceId,
    /// The entry that lists the device, where it sent one.
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
    Storing(Box<(Asker, Account, Vec<Change>)>),
}

struct Room {
    account: Account,
    step: Step,
    askers: VecDeque<Asker>,
    /// Who has signed in.
    guests: BTreeMap<ConnectionId, DeviceId>,
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
                let asker = Asker { connection, head, device_id: device_id(&said.key), entry };
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
        let room = self.0.entry(account_id.clone()).or_insert_with(|| Room {
            account: Account::new(owner),
            step: Step::Unknown,
            askers: VecDeque::new(),
            guests: BTreeMap::new(),
        });
        if room.askers.len() >= SIGN_INS_WAITING_MAX {
            let error = SyncError::new(ErrorCode::RelayBusy, "too many devices of this account sign in at once; connect again");
            return turn_away(ctx, asker.connection, &asker.head, &error);
        }
        room.askers.push_back(asker);
        if matches!(room.step, Step::Unknown) {
            room.step = Step::Loading;
            ctx.charge(connection, budget::LOAD_US);
            ctx.ask(&account_id, Purpose::Account, JournalQuestion::Load { session_id: account_id.clone() });
        }
        self.go_on(ctx, &account_id);
    }

    /// The journal has read or stored, or not.
    pub fn on_answer(&mut self, ctx: &mut Context, account_id: &str, answer: JournalAnswer) {
        let Some(room) = self.0.get_mut(account_id) else {
            return ctx.log(format!("{account_id:?} is not open: a fault of the relay"));
        };
        match (std::mem::replace(&mut room.step, Step::Ready), answer) {
            (Step::Loading, JournalAnswer::Session(stored)) => room.read_on(ctx, stored.head),
            (Step::Reading(through), JournalAnswer::Entries(entries)) if !entries.is_empty() && room.take(ctx, &entries) => {
                room.read_on(ctx, through)
            }
            (Step::Storing(stored), JournalAnswer::Appended) => {
                let (asker, account, changes) = *stored;
                room.account = account;
                room.tell_removed(ctx, &changes);
                room.welcome(ctx, asker);
            }
            (step, answer) => {
                let error = ctx.journal_failed(account_id, &answer);
                if let Step::Storing(stored) = step {
                    room.askers.push_front(stored.0);
                }
                (room.account, room.step) = (Account::new(room.account.owner().clone()), Step::Unknown);
                for asker in std::mem::take(&mut room.askers) {
                    turn_away(ctx, asker.connection, &asker.head, &error);
                }
            }
        }
        self.go_on(ctx, account_id);
    }

    /// Answers who waits, and forgets the account where nobody needs it.
    fn go_on(&mut self, ctx: &mut Context, account_id: &str) {
        let Some(room) = self.0.get_mut(account_id) else { return };
        while matches!(room.step, Step::Ready) {
            let Some(asker) = room.askers.pop_front() else { break };
            room.answer(ctx, asker);
        }
        if matches!(room.step, Step::Ready | Step::Unknown) && room.guests.is_empty() {
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
        if self.account.device(&asker.device_id).is_some() {
            return self.welcome(ctx, asker);
        }
        if self.account.was_removed(&asker.device_id) {
            let error = SyncError::new(ErrorCode::DeviceRemoved, "this device was removed from the account");
            return turn_away(ctx, asker.connection, &asker.head, &error);
        }
        let head = self.account.head();
        let Some(entry) = asker.entry.clone().filter(|entry| entry.knows <= head.sequence) else {
            return ctx.ask_for_entry(asker.connection, head);
        };
        let entry = Entry { sequence_number: head.sequence + 1, server_timestamp: ctx.now.wall_ms, ..entry };
        match self.account.check(&entry) {
            Ok(()) => self.store(ctx, asker, entry),
            Err(error) if error.code == ErrorCode::AccountMoved => ctx.ask_for_entry(asker.connection, head),
            Err(error) => turn_away(ctx, asker.connection, &asker.head, &error),
        }
    }

    fn store(&mut self, ctx: &mut Context, asker: Asker, entry: Entry) {
        let mut account = self.account.clone();
        let account_id = account.owner().account_id.clone();
        let (Ok(Ok(changes)), Ok(body)) = (account.take(&entry), Batch::of(std::slice::from_ref(&entry))) else {
            let error = SyncError::new(ErrorCode::InvalidMessageFormat, "the entry cannot be stored");
            return turn_away(ctx, asker.connection, &asker.head, &error);
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
        let stored = StoredEntry { sequence, device_id, counter, key: None, log_hash: account.log().hash(), body };
        ctx.charge(asker.connection, budget::APPEND_US);
        self.step = Step::Storing(Box::new((asker, account, changes)));
        let (entries, devices, members) = (vec![stored], vec![device], Vec::new());
        let question = JournalQuestion::Append { session_id: account_id.clone(), entries, devices, members };
        ctx.ask(&account_id, Purpose::Account, question);
    }

    /// The connection is one of the account from now on.
    fn welcome(&mut self, ctx: &mut Context, asker: Asker) {
        let Asker { connection, device_id, .. } = asker;
        let Owner { wallet, account_id, .. } = self.account.owner().clone();
        // It may have left meanwhile.
        let Some(socket) = ctx.sockets.get_mut(&connection) else { return };
        socket.door.guest = Some(Guest { wallet, device_id: device_id.clone(), account_id });
        self.guests.insert(connection, device_id);
        ctx.transmit(connection, "", Body::SignedIn(SignedIn { account: Some(self.account.head()) }));
    }

    /// Devices that are listed no longer are cut at once.
    fn tell_removed(&mut self, ctx: &mut Context, changes: &[Change]) {
        let removed: BTreeSet<&DeviceId> =
            changes.iter().filter_map(|change| if let Change::Removed(id) = change { Some(id) } else { None }).collect();
        let error = SyncError::new(ErrorCode::DeviceRemoved, "this device was removed from the account");
        for (connection, _) in self.guests.iter().filter(|(_, device_id)| removed.contains(device_id)) {
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

/// Says why, and ends the connection.
fn turn_away(ctx: &mut Context, connection: ConnectionId, head: &Head, error: &SyncError) {
    ctx.refuse(connection, refusal(error, head));
    ctx.cut(connection, CLOSE_REFUSED, error.message.clone());
}

/// Checks all of a `sign_in` that does not depend on the account.
fn check(ctx: &mut Context, keeper: &Doorkeeper, connection: ConnectionId, said: &SignIn) -> Result<(Owner, Option<Entry>), SyncError> {
    let now = ctx.now;
    let door = ctx.sockets.get_mut(&connection).map(|socket| &mut socket.door);
    if door.as_ref().is_some_and(|door| door.guest.is_some()) {
        return Err(SyncError::new(ErrorCode::InvalidMessageFormat, "the connection has signed in already"));
    }
    if !door.is_some_and(|door| door.take_nonce(now, &said.nonce)) {
        return Err(SyncError::new(ErrorCode::NonceExpired, "the nonce is over, was used, or is another connection's"));
    }
    if !keeper.names.contains(&said.relay) {
        return Err(SyncError::new(ErrorCode::WrongRelay, format!("this relay is not called {:?}", said.relay)));
    }
    let owner = Owner::new(&said.wallet, DomainSet::new(said.domains.clone())?)?;
    let challenge = Challenge { relay: said.relay.clone(), relay_key: keeper.key, nonce: said.nonce };
    challenge.check(&owner.account_id, &said.key, &said.proof)?;
    let mut entries = said.messages.entries().map_err(crate::wire::Malformed::in_frame)?;
    let entry = entries.pop();
    if let Some(entry) = &entry {
        let Entry { message, device_id: author, counter, .. } = entry;
        let is_own = *author == device_id(&said.key)
            && *counter == 1
            && message.sender_wallet == owner.wallet
            && message.session_id == owner.account_id;
        if !is_own || !entries.is_empty() || start_of(&message.id, &message.session_id, author, 1).is_none() {
            let text = "a device lists itself by one entry, its first, under its own id";
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, text));
        }
        entry.check()?;
    }
    Ok((owner, entry))
}
