//! What leaves in an encrypted session: epochs that this device begins, and texts that are encrypted when they are first sent. Until
//! then they wait as they were written; an epoch may pass meanwhile.

use base64ct::{Base64, Encoding as _};

use super::Session;
use super::opening::account_of;
use super::waiting::plan_of;
use crate::backoff::delay_ms;
use crate::client::accounts::Outcome;
use crate::client::api::Event;
use crate::client::context::Context;
use crate::client::identity::Identity;
use crate::client::records::EpochSeal;
use crate::client::transaction::Transaction;
use crate::client::vault::{AccountHead, Beginning, Fault, Place, Recipient};
use crate::content;
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::identity::PublicKey;
use crate::ids::{WalletAddress, message_id, new_start, wallet_address};
use crate::limits::{ANSWER_TIMEOUT_MS, EPOCH_ENTRIES, EPOCH_MS, UNCAUSED_EPOCH_MS, UPDATES_IN_FLIGHT_MAX};
use crate::message::{Kind, Message};

/// How long a session waits that cannot begin an epoch yet, because the store or the account is not so far.
const EPOCH_WAIT_MS: u64 = 1_000;

/// What is to be found out before texts are sent.
#[derive(Default)]
pub(super) struct EpochWish {
    /// The relay is asked how far these accounts are.
    asking: Vec<WalletAddress>,
    /// Until when it must have answered.
    pub deadline_ms: Option<u64>,
    /// Then it is decided whether an epoch must begin: at this time.
    pub due_ms: Option<u64>,
    /// The relay refused what was encrypted: something has changed that is not known here.
    pub is_doubted: bool,
}

impl EpochWish {
    /// Whether texts wait for what is found out.
    pub fn is_open(&self) -> bool {
        self.is_doubted || self.deadline_ms.is_some() || self.due_ms.is_some()
    }
}

impl Session {
    /// Whether it needs an epoch that it can write in: something waits that stands in one, and nothing before it that the log must have
    /// first; or the last epoch has no secret for this wallet, which has a key now, or none for this device, which waits to be approved.
    fn needs_epoch(&self, context: &Context<'_>) -> bool {
        let acknowledged = self.outbox.acknowledged_counter();
        let mut waiting = self.outbox.iter().filter(|entry| entry.counter > acknowledged).take_while(|entry| !ends_epoch(entry));
        waiting.any(|entry| match entry.message.kind {
            Kind::ASKS => !self.takes_part(context),
            kind => needs_current(kind),
        }) || self.is_left_out(context)
            || self.flow.outside_at_ms == Some(0)
    }

    fn is_left_out(&self, context: &Context<'_>) -> bool {
        let state = self.stored.sealed.as_ref().filter(|state| state.epochs.current().is_some());
        let is_sealed = state.and_then(|state| state.last.as_ref()).is_none_or(|last| last.sealed.is_some());
        let Some(account) = context.account(&self.next.wallet).filter(|_| !is_sealed) else { return false };
        let newest = account.generation_at(account.head().sequence);
        // Where its wallet may begin none now, it asks for the secret of this one.
        let may_begin = |identity: &Identity| {
            let is_early = state.is_some_and(|state| state.epochs.is_early(&account.owner().key, identity.relay_ms(context.now)));
            !is_early || self.has_epoch_moved(context)
        };
        let (Some(newest), Some(identity)) = (newest, context.identity) else { return false };
        identity.keys().is_some_and(|keys| keys.account_key(newest.number).is_some()) && may_begin(identity)
    }

    /// Asks how far the accounts of all members are, where an epoch may have to begin before this device writes.
    ///
    /// # Errors
    /// [`Fault::Failed`].
    pub(super) fn prepare_epoch(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        let is_idle = self.flow.epoch.deadline_ms.is_none() && self.flow.epoch.due_ms.is_none();
        if self.next.sealed.is_none() || context.vault.is_none() || !is_idle || self.in_transaction {
            return Ok(());
        }
        // What was refused is taken back, and given anew by what is found out.
        if !self.flow.epoch.is_doubted && (!self.needs_epoch(context) || !self.is_epoch_spent(context) && !self.lacks_epoch(context)?) {
            return Ok(());
        }
        // An epoch that this device does not know of may have begun already.
        if self.operation.as_ref().is_some_and(|operation| !operation.has_caught_up(self.cursor())) {
            return Ok(());
        }
        let own = &self.next.wallet;
        let others = self.members(self.next.group.as_ref()).iter().map(wallet_address).filter(|wallet| wallet != own).collect();
        self.flow.epoch.asking = others;
        self.flow.epoch.asking.iter().for_each(|wallet| context.accounts.inquire(wallet));
        match self.flow.epoch.asking.is_empty() {
            true => self.flow.epoch.due_ms = Some(context.now.monotonic_ms),
            false => self.flow.epoch.deadline_ms = Some(context.now.monotonic_ms + ANSWER_TIMEOUT_MS),
        }
        Ok(())
    }

    /// Whether the relay is asked how far accounts are.
    pub fn awaits_accounts(&self) -> bool {
        !self.flow.epoch.asking.is_empty()
    }

    /// The relay has answered of some wallets.
    ///
    /// # Errors
    /// It shows another log of an account than before: nothing is sealed to that.
    pub fn conclude_accounts(&mut self, context: &Context<'_>) -> Result<(), SyncError> {
        if !self.awaits_accounts() {
            return Ok(());
        }
        let mut is_open = false;
        for wallet in &self.flow.epoch.asking {
            match context.accounts.outcome(wallet) {
                Outcome::Open => is_open = true,
                Outcome::Closed(Ok(())) => {}
                Outcome::Closed(Err(error)) => {
                    self.halted = Some(error.clone());
                    self.parted_at = Some(self.next.log.log_head());
                    return Err(error);
                }
            }
        }
        if is_open {
            // Of many, some are answered at a time.
            self.flow.epoch.deadline_ms = Some(context.now.monotonic_ms + ANSWER_TIMEOUT_MS);
        } else {
            self.flow.epoch.asking.clear();
            self.flow.epoch.deadline_ms = None;
            self.flow.epoch.due_ms = Some(context.now.monotonic_ms);
        }
        Ok(())
    }

    /// Whether an epoch must begin before this device writes: there is none, it cannot read it, or somebody in it has other devices or
    /// another key since.
    ///
    /// # Errors
    /// [`Fault::Failed`]: one that it cannot read now it may read later.
    fn lacks_epoch(&mut self, context: &Context<'_>) -> Result<bool, Fault> {
        let Some(state) = &self.stored.sealed else { return Ok(false) };
        let (Some(_), Some(last)) = (state.epochs.current(), state.last.clone()) else { return Ok(true) };
        let device = self.device.clone();
        Ok(self.has_epoch_moved(context) || self.text_keys(context, &last, &device)?.is_none())
    }

    /// Whether somebody in the last epoch has other devices or another key since, as far as is known here.
    pub(super) fn has_epoch_moved(&self, context: &Context<'_>) -> bool {
        self.stored.sealed.iter().flat_map(|state| state.epochs.wallets()).any(|named| {
            let account = account_of(context, &named.wallet);
            let is_own = wallet_address(&named.wallet) == self.next.wallet;
            account.is_some_and(|account| {
                account.last_cut() > named.head.sequence || is_own && !account.was_listed_at(&self.device, named.head.sequence)
            })
        })
    }

    /// Whether so much was written in the epoch, or so long ago, that the next text is to have another secret.
    fn is_epoch_spent(&self, context: &Context<'_>) -> bool {
        let last = self.stored.sealed.as_ref().and_then(|state| state.last.as_ref());
        let Some((last, identity)) = last.zip(context.identity).filter(|_| context.now.monotonic_ms >= self.renews_from_ms) else {
            return false;
        };
        let entries = self.stored.log.end().saturating_sub(last.sequence_number);
        entries >= EPOCH_ENTRIES || identity.relay_ms(context.now).saturating_sub(last.began_ms) >= EPOCH_MS
    }

    /// It is known how far the accounts are: an epoch begins, where one must.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn consider_epoch(&mut self, context: &mut Context<'_>, transaction: &mut Transaction) -> Result<(), Fault> {
        self.flow.epoch.due_ms = None;
        self.flow.epoch.is_doubted = false;
        self.store_acknowledged(context, transaction);
        let renews = self.is_epoch_spent(context);
        if !self.needs_epoch(context) || !(renews || self.lacks_epoch(context)?) {
            self.keyless_at_ms = None;
            return Ok(());
        }
        let logged = self.logged_counter();
        // Names were made of these counters already.
        *context.start = new_start(context.random);
        // What is on its way may be taken yet: its counters are given to nothing else before the relay has answered.
        let is_known = self.outbox.acknowledged_counter() <= logged && self.flow.updates.is_empty();
        if renews && is_known {
            self.renews_from_ms = context.now.monotonic_ms + UNCAUSED_EPOCH_MS;
        }
        let entry = if is_known { self.new_epoch(context, logged + 1)? } else { None };
        let Some(entry) = entry else {
            if is_known {
                self.wait_for_key(context, transaction);
            }
            self.flow.epoch.due_ms = Some(context.now.monotonic_ms + EPOCH_WAIT_MS);
            return Ok(());
        };
        self.keyless_at_ms = None;
        // Where it cannot be stored, the connection is made anew, after a wait.
        transaction.from_relay = true;
        // It comes before all that waits. That the relay refuses what this device begins is not forgotten.
        let refusals = self.flow.refusals;
        self.start_over(context);
        self.flow.refusals = refusals;
        self.make_anew(logged, logged, vec![entry], |_| true, transaction);
        Ok(())
    }

    /// No epoch can begin, for lack of an account key. What the relay has for this device comes within the time that it has to answer;
    /// what then still waits may wait for another device for ever, and nobody else tells.
    fn wait_for_key(&mut self, context: &Context<'_>, transaction: &mut Transaction) {
        let now_ms = context.now.monotonic_ms;
        let at_ms = *self.keyless_at_ms.get_or_insert(now_ms + ANSWER_TIMEOUT_MS);
        let is_told = at_ms == u64::MAX;
        if now_ms < at_ms && !is_told {
            return;
        }
        let message = "what is written waits: this device has not got the newest key of its account";
        let error = SyncError::new(ErrorCode::AccountKeyMissing, message);
        transaction.fail_sync(self.id(), error.clone());
        if !is_told {
            self.keyless_at_ms = Some(u64::MAX);
            transaction.tell(Event::Warning { error });
        }
    }

    /// The entry that begins an epoch; `None` where this wallet has no account key, or one that this device should have and has not got,
    /// or its account log is not known far enough.
    ///
    /// # Errors
    /// [`Fault`].
    fn new_epoch(&self, context: &Context<'_>, counter: u64) -> Result<Option<Entry>, Fault> {
        let Some((vault, identity)) = context.vault.zip(context.identity) else { return Ok(None) };
        let Some(epochs) = self.next.sealed.as_ref().map(|sealed| &sealed.epochs) else { return Ok(None) };
        // Under a new id it is listed further on than the account may be known.
        let account = context.account(&self.next.wallet);
        let account = account.filter(|account| account.was_listed_at(&self.device, account.head().sequence));
        let newest = account.and_then(|account| account.generation_at(account.head().sequence));
        let (Some(newest), Some(keys)) = (newest, identity.keys()) else { return Ok(None) };
        let is_planned = keys.account_key(newest.number).is_none();
        if is_planned && !self.is_waiting(context) {
            return Ok(None);
        }
        let recipients: Vec<Recipient> = self.members(self.next.group.as_ref()).iter().map(|wallet| recipient(context, wallet)).collect();
        let after = epochs.transcript();
        let at = Beginning { after: &after, number: epochs.last() + 1, author: &self.device };
        let mut random = identity.draw_random();
        let mut epoch = vault.begin_epoch(at, &recipients, &random)?;
        if is_planned {
            random[..32].copy_from_slice(&keys.planned_secret(&plan_of(&epoch))[..]);
            epoch = vault.begin_epoch(at, &recipients, &random)?;
        }
        Ok(Some(self.entry_of_epochs(context, Kind::EPOCH, &epoch.to_bytes(), counter)))
    }

    fn entry_of_epochs(&self, context: &Context<'_>, kind: Kind, bytes: &[u8], counter: u64) -> Entry {
        let message = Message {
            id: message_id(self.id(), &self.device, context.start, counter),
            sender_wallet: self.next.wallet.clone(),
            session_id: self.id().to_owned(),
            kind,
            ciphertext: Base64::encode_string(bytes),
            ..Message::default()
        };
        let (device_id, knows) = (self.device.clone(), self.stored.log.end());
        Entry { message, device_id, counter, knows, server_timestamp: context.now.wall_ms, ..Entry::default() }
    }

    /// Queues what is given or asked for.
    pub(super) fn say_of_epochs(&mut self, context: &Context<'_>, kind: Kind, bytes: &[u8], transaction: &mut Transaction) {
        let entry = self.entry_of_epochs(context, kind, bytes, self.outbox.counter() + 1);
        self.mark_sent_at_once(context, transaction);
        self.push_outbox(transaction, entry);
    }

    /// Another epoch has begun than this device was about to begin, or what it named has moved: it begins none, before it has looked
    /// again.
    pub(super) fn drop_own_epoch(&mut self, context: &mut Context<'_>, transaction: &mut Transaction) {
        self.take_back(context, |entry| entry.message.kind == Kind::EPOCH, transaction);
    }

    /// What waits and is not to be said any more leaves the outbox.
    fn take_back(&mut self, context: &mut Context<'_>, is_void: impl Fn(&Entry) -> bool, transaction: &mut Transaction) {
        if self.outbox.iter().any(&is_void) {
            // What is behind it moves up: the next messages get counters that names were made of already.
            *context.start = new_start(context.random);
            self.number_anew(context, |entry| !is_void(entry), transaction);
        }
    }

    /// The relay takes nothing in the epoch as it is known here, or not the one that this device begins: what has changed is asked for
    /// before more is said, at once and then after longer and longer waits.
    pub(super) fn doubt_epoch(
        &mut self,
        context: &mut Context<'_>,
        refused: Option<&Entry>,
        error: &SyncError,
        transaction: &mut Transaction,
    ) {
        let refusals = self.flow.refusals;
        self.start_over(context);
        // Other secrets that were given may be in the log already.
        let given = refused.filter(|refused| refused.message.kind == Kind::RESEAL).map(|refused| refused.counter);
        self.take_back(context, |entry| entry.message.kind == Kind::EPOCH || Some(entry.counter) == given, transaction);
        let wait_ms = if refusals == 0 { 0 } else { delay_ms(context.config.retry_delay_ms, refusals, context.random) };
        // Others may be quicker once or twice, and that is no failure.
        if refusals > 0 && self.fail_attempt(context.config.max_retries) {
            transaction.fail_sync(self.id(), error.clone());
        }
        self.flow.retry_at_ms = Some(context.now.monotonic_ms + wait_ms);
        self.flow.refusals = refusals.saturating_add(1);
        self.flow.epoch.is_doubted = true;
        self.enlist(transaction, false);
        transaction.catch_up(self.id());
    }

    /// Fixes what is sent of the messages that wait, as far as their epoch has begun in the stored log, and as many as may be on their
    /// way at once.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn seal_waiting(&mut self, context: &Context<'_>) -> Result<(), Fault> {
        // What is on its way arrives first.
        if self.is_epoch_spent(context) && self.needs_epoch(context) {
            return Ok(());
        }
        let (Some(state), Some(next)) = (&self.stored.sealed, &self.next.sealed) else { return Ok(()) };
        // The epoch that is stored has ended already, where another state is on its way to disk.
        if state.epochs.transcript() != next.epochs.transcript() {
            return Ok(());
        }
        let epoch = state.last.clone().filter(|last| state.epochs.current() == Some(last.number));
        let logged = self.logged_counter();
        let (sealed_through, digest) = self.outbox.sealed_through(logged);
        let mut previous = digest.unwrap_or_else(|| self.next.log.digest(self.id(), &self.device));
        // What the log must have first.
        let mut is_barred = self.outbox.between(logged, sealed_through).any(ends_epoch);
        let count = UPDATES_IN_FLIGHT_MAX * context.config.max_batch_size;
        let waiting: Vec<Entry> = self.outbox.unsent(sealed_through).take(count).cloned().collect();
        for entry in waiting {
            let epoch = epoch.as_ref().filter(|_| !is_barred);
            let sealed = match entry.message.kind {
                Kind::RESEAL | Kind::ASKS => epoch.map(|_| entry.clone()),
                kind if needs_current(kind) => self.sealed(context, &entry, epoch, &previous)?,
                _ => Some(entry.clone()),
            };
            let Some(sealed) = sealed else { break };
            previous = sealed.digest(&previous);
            self.outbox.seal(entry.counter, sealed, previous);
            is_barred |= ends_epoch(&entry);
        }
        Ok(())
    }

    /// What encrypts failed itself: the connection is made anew, and nothing of what waits is sent before a wait.
    pub(super) fn doubt_vault(&mut self, context: &Context<'_>, fault: Fault) {
        self.flow.fault = Some(fault);
        self.flow.store_at_ms = Some(context.now.monotonic_ms);
    }

    /// A message as it stands in the log; `None` where no epoch has begun that this device can write in.
    ///
    /// # Errors
    /// [`Fault`].
    fn sealed(
        &mut self,
        context: &Context<'_>,
        entry: &Entry,
        epoch: Option<&EpochSeal>,
        previous: &[u8; 32],
    ) -> Result<Option<Entry>, Fault> {
        let Some(epoch) = epoch else { return Ok(None) };
        let device = self.device.clone();
        let Some(keys) = self.text_keys(context, epoch, &device)? else { return Ok(None) };
        let Entry { message, counter, knows, .. } = entry;
        let place = Place { previous, counter: *counter, knows: *knows, kind: u64::from(message.kind.0), id: &message.id };
        let text = keys.encrypt(epoch.number, place, &content::content_of(message))?;
        // What its author knew beside the log is for seed clients, and what stands outside says nothing, nor when it was written.
        Ok(Some(Entry { message: content::sealed(message, &text), also: Default::default(), server_timestamp: 0, ..entry.clone() }))
    }
}

/// Whether entries of this kind count only in the current epoch: all that are encrypted, and secrets that are given or asked for.
fn needs_current(kind: Kind) -> bool {
    !matches!(kind, Kind::VOID | Kind::GROUP | Kind::EPOCH)
}

/// Whether what is behind an entry may need another epoch.
fn ends_epoch(entry: &Entry) -> bool {
    matches!(entry.message.kind, Kind::GROUP | Kind::EPOCH)
}

fn recipient(context: &Context<'_>, wallet: &PublicKey) -> Recipient {
    let account = account_of(context, wallet).filter(|account| account.head().sequence > 0);
    let head = account.map(|account| account.head());
    let key = account.and_then(|account| account.generation_at(account.head().sequence));
    Recipient {
        wallet: *wallet,
        head: head.map_or(AccountHead::default(), |head| AccountHead { sequence: head.sequence, hash: head.hash }),
        account_key: key.map(|key| (key.number, key.public)),
    }
}
