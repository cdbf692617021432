//! The devices of the connected wallet: its account log is followed, and changed where the application asks for it.
//!
//! The log comes in the frames of any session. The relay says where it ends when the device has signed in, and passes on what
//! comes then; what is missing is asked for. What the entries make of the account is found out here, by the same code as there.

mod wishes;

use std::collections::VecDeque;

use super::Client;
use super::api::{Action, Event, Reply};
use super::identity::{Identity, removed};
use super::keys::Keys;
use super::recovery::recovery_of;
use super::short_number::{ShortNumbers, shown};
use super::transaction::Transaction;
use super::views::DeviceView;
use crate::batch::Batch;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ErrorBody, SyncRequest, SyncResponse, SyncUpdate};
use crate::identity::{Account, Change, Claim, Device};
use crate::limits::ANSWER_TIMEOUT_MS;
use crate::log::{LogHead, Refusal};
use crate::time::Now;
use wishes::Wish;
pub(super) use wishes::{Step, Wanted};

/// What the relay and this device have to say to each other of the account, on one connection.
#[derive(Default)]
pub(super) struct Devices {
    /// The relay's log of the account ends here; `None` where the device has not signed in.
    end: Option<u64>,
    /// The request that is under way.
    asked: Option<String>,
    /// Why the account can be followed no further.
    pub(super) halted: Option<SyncError>,
    /// What the application asks for, one after the other: each statement names the one before it.
    wishes: VecDeque<Wish>,
    /// What this device says by itself of its keys: the frame that says so, and how often something was said on this connection.
    duty: Option<String>,
    duties: u8,
    /// When something was last said of it, and whether a tab that looked late for the answer has waited for it once more.
    said_ms: u64,
    was_late: bool,
    pub(super) numbers: ShortNumbers,
}

/// Who looks so long after the time was frozen, and waits so long for what has arrived.
const LATE_MS: u64 = 1_000;

/// How often something is said of an account that has moved each time: a relay that is honest has it at the second.
const TRIES_MAX: u8 = 8;

impl Client {
    /// The devices of the connected wallet, in the order in which they were listed; none before this one has signed in.
    pub fn account_devices(&self) -> Vec<DeviceView> {
        let account = self.identity.as_ref().and_then(|identity| identity.account(self.wallet.as_deref()?));
        account.map(|account| account.devices().iter().map(|device| self.view(account, device)).collect()).unwrap_or_default()
    }

    /// The generations of the account key that this device can read with; none where it does not encrypt.
    pub fn account_keys(&self) -> Vec<u64> {
        self.identity.as_ref().and_then(Identity::keys).map(Keys::generations).unwrap_or_default()
    }

    pub(super) fn view(&self, account: &Account, device: &Device) -> DeviceView {
        let Device { id, is_approved, listed_ms, .. } = device.clone();
        let own = account.device(&self.device.device_id).filter(|own| own.is_approved != is_approved);
        let number = own.zip(self.identity.as_ref()).and_then(|(_, identity)| shown(&identity.stored_number(&id)));
        DeviceView { is_this_device: id == self.device.device_id, id, is_approved, added_at: listed_ms, number }
    }

    /// The relay says where the account's log ends.
    pub(super) fn hear_of_account(&mut self, head: Option<LogHead>, transaction: &mut Transaction) {
        let known = self.wallet.as_deref().and_then(|wallet| self.identity.as_ref()?.latest_account(wallet));
        let (Some(head), Some(known)) = (head, known) else { return };
        self.devices.halted = None;
        self.devices.end = Some(head.sequence);
        if head.sequence < known.head().sequence {
            let message = format!("the relay's log of the account ends at {head}, and this device has it up to {}", known.head());
            self.halt_devices(ErrorCode::RelayRolledBack, message, transaction);
        } else if let Err(refusal) = known.log().compare(Some(head)) {
            self.halt_devices(ErrorCode::RelayForked, refusal.to_string(), transaction);
        }
    }

    /// The account is followed no further before the device signs in again.
    fn halt_devices(&mut self, code: ErrorCode, message: String, transaction: &mut Transaction) {
        let error = SyncError::new(code, message);
        self.devices.halted = Some(error.clone());
        transaction.tell(Event::Warning { error });
    }

    /// `acceptRelayLog`: the relay's log of the account counts, where this device has another.
    pub(super) fn accept_account(&mut self, transaction: &mut Transaction) {
        if let Some(identity) = self.identity.as_mut().filter(|_| self.devices.halted.is_some()) {
            identity.forget_account(transaction);
            transaction.reconnect("the relay's log of the account is accepted".into());
        }
    }

    /// Whether a session is the account of the connected wallet, which this device follows.
    pub(super) fn is_account(&self, session_id: &str) -> bool {
        let account = self.wallet.as_deref().and_then(|wallet| self.identity.as_ref()?.owner(wallet));
        self.devices.end.is_some() && account.is_some_and(|owner| owner.account_id == session_id)
    }

    /// Entries of the account's log.
    pub(super) fn take_account(&mut self, response: SyncResponse, transaction: &mut Transaction) {
        let devices = &mut self.devices;
        let is_answer = response.in_reply_to.is_some() && response.in_reply_to == devices.asked;
        devices.asked.take_if(|_| is_answer);
        devices.end = devices.end.max(Some(response.latest_sequence));
        let (Some(identity), Some(wallet), None) = (&self.identity, self.wallet.as_deref(), &devices.halted) else { return };
        let Some(mut account) = identity.latest_account(wallet) else { return };
        let entries = match response.messages.entries() {
            Ok(entries) => entries,
            Err(malformed) => return transaction.distrust((*malformed.0).into()),
        };
        let (before, own) = (account.head(), identity.device_id());
        let recovery_before = account.device(&own).map(|_| recovery_of(&account));
        for entry in entries {
            if entry.sequence_number <= account.head().sequence {
                continue;
            }
            // What is before it was asked for, or will be.
            if entry.sequence_number > account.head().sequence + 1 {
                break;
            }
            // What was so before this device came is no news to it.
            let was_there = account.device(&own).is_some();
            match account.take(&entry) {
                Ok(Ok(changes)) if was_there || account.device(&own).is_some() => self.tell_changes(&account, changes, transaction),
                // One that does not count changes nothing, here as everywhere.
                Ok(_) => {}
                // It goes on from something else than what is stored here.
                Err(refusal) => return self.halt_devices(ErrorCode::RelayForked, refusal.to_string(), transaction),
            }
        }
        if let Err(Refusal::Forked(message)) = account.log().compare(response.log) {
            return self.halt_devices(ErrorCode::RelayForked, message, transaction);
        }
        if is_answer && account.head() == before && Some(before.sequence) < self.devices.end {
            return transaction.distrust("the relay has less of the account's log than it said".into());
        }
        let recovery = recovery_of(&account);
        if recovery_before.is_some_and(|before| before != recovery) {
            transaction.tell(Event::RecoveryChanged { recovery });
        }
        if account.head() != before {
            // What is to be said of the keys is judged anew.
            self.devices.duty = None;
        }
        // Only who is approved learns anything by a code or passkey.
        let by = self.devices.recovers_by().filter(|_| account.device(&own).is_some_and(|own| own.is_approved));
        if (account.head() != before || by.is_some())
            && let Some(identity) = &mut self.identity
            && identity.follow(account, self.vault.as_deref(), by, transaction)
        {
            for wish in std::mem::take(&mut self.devices.wishes) {
                let is_done = matches!(&wish.wanted, Wanted::Removed(device_id) if *device_id == own);
                transaction.reply(wish.request, if is_done { Ok(Reply::Done) } else { Err(removed()) });
            }
            self.leave_account(transaction);
        }
    }

    /// The devices that wait to be approved, where this one may do it: a page that opens is told of them too.
    pub(super) fn tell_requests(&self, actions: &mut Vec<Action>) {
        let Some(account) = self.stored_account() else { return };
        if account.device(&self.device.device_id).is_some_and(|own| own.is_approved) {
            let waiting = account.devices().iter().filter(|device| !device.is_approved);
            actions.extend(waiting.map(|device| Action::Notify(Event::DeviceRequest { device: self.view(&account, device) })));
        }
    }

    fn tell_changes(&self, account: &Account, changes: Vec<Change>, transaction: &mut Transaction) {
        let may_approve = account.device(&self.device.device_id).is_some_and(|own| own.is_approved);
        for change in changes {
            match change {
                Change::Added(id) => {
                    let Some(device) = account.device(&id).map(|device| self.view(account, device)) else { continue };
                    let waits = !device.is_approved && may_approve;
                    transaction.tell(Event::DeviceAdded { device: device.clone() });
                    if waits {
                        transaction.tell(Event::DeviceRequest { device });
                    }
                }
                Change::Approved(device_id) => transaction.tell(Event::DeviceApproved { device_id }),
                Change::Removed(device_id) => transaction.tell(Event::DeviceRemoved { device_id }),
            }
        }
    }

    /// Says all that the present state allows: asks for what is missing, then does what the application asks for.
    pub(super) fn advance_devices(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some(account) = self.stored_account().filter(|_| self.link.is_open()) else { return };
        let head = account.head();
        let is_behind = match self.devices.end() {
            Ok(end) => head.sequence < end,
            Err(error) => return self.fail_wishes(&error, actions),
        };
        if is_behind && self.devices.asked.is_none() {
            self.ask_account(now, &account, actions);
        }
        if is_behind || self.devices.asked.is_some() {
            return;
        }
        self.greet_devices(now, &account, actions);
        if self.devices.duty.is_some() {
            return;
        }
        // Its first keys are on their way to disk.
        if self.vault.is_some() && self.identity.as_ref().and_then(Identity::keys).is_none() {
            return;
        }
        let random = self.identity.as_ref().map(Identity::draw_random).unwrap_or([0; 64]);
        self.devices.see_listed(&account);
        while let Some(wish) = self.devices.wishes.front() {
            let said = match self.step_of(now, wish, &account, &random) {
                Ok(Step::Wait) => break,
                Ok(Step::Say(_)) if wish.said.is_some() => return,
                Ok(Step::Say(claim)) => self.say(now, &account, claim, actions),
                Ok(Step::Learn) => {
                    self.ask_account(now, &account, actions);
                    self.devices.asked.clone().unwrap_or_default()
                }
                Ok(Step::Done(reply)) => {
                    self.conclude_wish(Ok(reply), actions);
                    continue;
                }
                Err(error) => {
                    self.conclude_wish(Err(error), actions);
                    continue;
                }
            };
            if let Some(wish) = self.devices.wishes.front_mut() {
                (wish.said, wish.tries) = (Some(said), wish.tries + 1);
            }
            return;
        }
        // What it says by itself may be of no use: somebody has other ideas of the account, again and again.
        let keys = self.identity.as_ref().and_then(Identity::keys).zip(self.vault.as_deref());
        let approves = self.config.approves_devices;
        // What the account takes only tomorrow waits for then, and nobody is told of a refusal.
        let takes_more = self.identity.as_ref().is_some_and(|identity| !account.is_spent(identity.relay_ms(now)));
        let duty = keys.and_then(|(keys, vault)| keys.duty(vault, &account, &self.device.device_id, (takes_more, approves), &random));
        if let Some(claim) = duty.filter(|_| self.devices.duties < TRIES_MAX) {
            self.devices.duties += 1;
            self.devices.duty = Some(self.say(now, &account, claim, actions));
        } else if !self.devices.wishes.is_empty() {
            self.conclude_wish(Err(keyless()), actions);
            self.advance_devices(now, actions);
        }
    }

    /// Says something of the account behind its head; gives the frame.
    fn say(&mut self, now: Now, account: &Account, claim: Claim, actions: &mut Vec<Action>) -> String {
        let entry = self.identity.as_ref().map(|identity| identity.say(account, claim, now));
        let messages = entry.and_then(|entry| Batch::of(&[entry]).ok()).unwrap_or_default();
        let update = SyncUpdate { messages, ..SyncUpdate::default() };
        self.devices.says(now);
        self.transmit_in(now, &account.owner().account_id, Body::SyncUpdate(update), actions)
    }

    /// The account as it is stored, or an empty one.
    fn stored_account(&self) -> Option<Account> {
        let (identity, wallet) = (self.identity.as_ref()?, self.wallet.as_deref()?);
        identity.account(wallet).cloned().or_else(|| identity.owner(wallet).map(Account::new))
    }

    fn ask_account(&mut self, now: Now, account: &Account, actions: &mut Vec<Action>) {
        let head = account.head();
        let request = SyncRequest { last_synced_sequence: head.sequence, log: Some(head), ..SyncRequest::default() };
        self.devices.says(now);
        self.devices.asked = Some(self.transmit_in(now, &account.owner().account_id, Body::SyncRequest(request), actions));
    }

    /// The relay refuses what was said of the account; says whether that is what it refuses.
    pub(super) fn take_account_refusal(
        &mut self,
        now: Now,
        refusal: &ErrorBody,
        transaction: &mut Transaction,
        actions: &mut Vec<Action>,
    ) -> bool {
        let is_meant = |frame: &Option<String>| frame.is_some() && *frame == refusal.in_reply_to;
        let error = SyncError::new(refusal.code, refusal.error.clone());
        if self.take_inquiry_refusal(refusal, transaction) {
            return true;
        }
        if is_meant(&self.devices.asked) {
            transaction.reconnect(error.message.clone());
            transaction.tell(Event::Warning { error });
            return true;
        }
        if is_meant(&self.devices.duty) {
            self.devices.duty = None;
            if matches!(refusal.code, ErrorCode::RelayBusy | ErrorCode::RelayStorageFailed) {
                // It is said again on the next connection, which is made after a wait.
                transaction.reconnect(error.message.clone());
                transaction.tell(Event::Warning { error });
            } else if refusal.code != ErrorCode::AccountMoved {
                self.devices.duties = TRIES_MAX;
                transaction.tell(Event::Warning { error });
            } else if let Some(account) = self.stored_account().filter(|_| self.devices.asked.is_none()) {
                self.ask_account(now, &account, actions);
            }
            return true;
        }
        let Some(wish) = self.devices.wishes.front_mut().filter(|wish| is_meant(&wish.said)) else {
            // The account has moved meanwhile here too, and what was said of it was judged anew.
            return refusal.code == ErrorCode::AccountMoved;
        };
        wish.said = None;
        if refusal.code == ErrorCode::AccountMoved && wish.tries < TRIES_MAX {
            // It is said again behind what came first.
            if let Some(account) = self.stored_account().filter(|_| self.devices.asked.is_none()) {
                self.ask_account(now, &account, actions);
            }
            return true;
        }
        let request = wish.request;
        self.devices.wishes.pop_front();
        transaction.reply(request, Err(error));
        true
    }

    /// The connection is lost: what was said on it may have been done or not.
    pub(super) fn lose_devices(&mut self, error: &SyncError, actions: &mut Vec<Action>) {
        self.fail_wishes(error, actions);
        // A person who accepts the relay's log may do so between two connections.
        self.devices = Devices { halted: self.devices.halted.take(), ..Devices::default() };
    }
}

impl Devices {
    /// Where the relay's log of the account ends.
    ///
    /// # Errors
    /// Why the account is not followed.
    pub(super) fn end(&self) -> Result<u64, SyncError> {
        match (self.end, &self.halted) {
            (Some(end), None) => Ok(end),
            (_, halted) => Err(halted.clone().unwrap_or_else(unsigned)),
        }
    }

    fn says(&mut self, now: Now) {
        (self.said_ms, self.was_late) = (now.monotonic_ms, false);
    }

    /// When the relay must have answered what was said last; `None` where it has.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let waits = self.asked.is_some() || self.duty.is_some() || self.wishes.front().is_some_and(|wish| wish.said.is_some());
        waits.then(|| self.said_ms + ANSWER_TIMEOUT_MS)
    }

    /// Whether the relay has left it unanswered. Who looks late, like a tab that was frozen, first hears what has arrived meanwhile.
    pub(super) fn is_unanswered(&mut self, now: Now) -> bool {
        let Some(at_ms) = self.deadline_ms().filter(|at_ms| now.monotonic_ms >= *at_ms) else { return false };
        let is_late = now.monotonic_ms > at_ms + LATE_MS && !self.was_late;
        if is_late {
            (self.said_ms, self.was_late) = (now.monotonic_ms + LATE_MS - ANSWER_TIMEOUT_MS, true);
        }
        !is_late
    }
}

pub(super) fn unsigned() -> SyncError {
    SyncError::new(ErrorCode::SignInRequired, "this device has not signed in: call signIn()")
}

pub(super) fn not_approved() -> SyncError {
    SyncError::new(ErrorCode::DeviceNotApproved, "only an approved device changes the account")
}

pub(super) fn keyless() -> SyncError {
    let message =
        "this device has not got the newest key of its account: another device of the wallet makes the next one when it is online";
    SyncError::new(ErrorCode::AccountKeyMissing, message)
}
