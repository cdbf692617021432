//! Encrypted sessions: what counts in their logs, by the definition and not as the core evaluates it, who could read it, and that
//! nobody else holds what it takes.

use std::collections::{BTreeMap, BTreeSet};

use solconnect_sync_core::client::vault::{Beginning, EpochEntry, SealedEpoch, Secret};
use solconnect_sync_core::client::{Client, Membership, Native, SealedState, SessionRecord, UnreadEpoch, Vault};
use solconnect_sync_core::entry::{Digest, Entry};
use solconnect_sync_core::frame::Payload;
use solconnect_sync_core::identity::{Account, Claim, Owner, PublicKey, Statement};
use solconnect_sync_core::ids::{DeviceId, SessionId, is_account_id, is_sealed_id, public_key, wallet_address};
use solconnect_sync_core::limits::{ACCOUNT_CHANGES_MAX, EPOCHS_KEPT};
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_core::relay::StoredEntry;
use solconnect_sync_vault::epoch::{after_epoch, after_membership, first_transcript};

use crate::book::Book;
use crate::checker::{Checker, Mark, e};
use crate::client_disk::State;
use crate::group_rules::GroupBook;
use crate::ledger::{Log, number_of};
use crate::reader::Reading;
use crate::signers::{SIGNERS, domains, session_of};
use crate::stand_in::StandIn;
use crate::store_rules::Before;
use crate::world::{ProfileId, TabId, World};

/// An epoch as it stands in the log.
struct Begun {
    place: u64,
    author: DeviceId,
    entry: EpochEntry,
    transcript: Digest,
}

impl Begun {
    /// The account head that it names of a wallet, where that is in it.
    fn head(&self, wallet: &PublicKey) -> Option<u64> {
        self.entry.member(wallet).map(|member| member.head.sequence)
    }
}

/// The epochs of a session.
pub(crate) struct EpochBook {
    group: Option<GroupBook>,
    wallets: Vec<PublicKey>,
    transcript: Digest,
    begun: Vec<Begun>,
    is_current: bool,
    /// Wallets that were given the secret of an epoch of this number; for which generation and at which place first.
    given: BTreeMap<(PublicKey, u64), (u64, u64)>,
    /// Behind which places the transcript changed: it, the number of the last epoch, and whether texts may be written in that.
    changes: Vec<(u64, (Digest, u64, bool))>,
}

impl EpochBook {
    fn new(session_id: &str) -> EpochBook {
        let pairs = SIGNERS.iter().flat_map(|one| SIGNERS.iter().map(move |other| (one, other)));
        let pair = pairs.into_iter().find(|(one, other)| session_of(one, other, true) == session_id);
        let wallets = pair.map(|(one, other)| keys_of([one, other].into_iter())).unwrap_or_default();
        let transcript = first_transcript(session_id);
        EpochBook {
            group: None,
            wallets,
            transcript,
            begun: Vec::new(),
            is_current: false,
            given: BTreeMap::new(),
            changes: vec![(0, (transcript, 0, false))],
        }
    }

    fn number(&self) -> u64 {
        self.begun.len() as u64
    }

    /// What held behind a place.
    fn at(&self, place: u64) -> (Digest, u64, bool) {
        let count = self.changes.partition_point(|(behind, _)| *behind <= place);
        self.changes[count - 1].1
    }

    /// The epoch that a text at a place was written in.
    fn of(&self, place: u64) -> Option<&Begun> {
        self.begun[..self.begun.partition_point(|begun| begun.place < place)].last()
    }

    fn give(&mut self, given: Vec<((PublicKey, u64), u64)>, place: u64) {
        for (to, generation) in given {
            self.given.entry(to).or_insert((generation, place));
        }
    }

    /// Takes the next entry, which has this digest.
    fn take(&mut self, entry: &Entry, epoch: Option<&EpochEntry>, digest: &Digest) {
        if entry.message.kind == Kind::GROUP {
            let group = self.group.get_or_insert_default();
            group.take(entry);
            let wallets = keys_of(group.wallets());
            if wallets != self.wallets {
                (self.wallets, self.is_current) = (wallets, false);
                self.transcript = after_membership(&self.transcript, digest);
            }
        }
        if let Some(epoch) = epoch {
            self.transcript = after_epoch(epoch, &entry.device_id);
            let (author, entry_of, transcript) = (entry.device_id.clone(), epoch.clone(), self.transcript);
            self.begun.push(Begun { place: entry.sequence_number, author, entry: entry_of, transcript });
            self.is_current = true;
        }
        self.changes.push((entry.sequence_number, (self.transcript, self.number(), self.is_current)));
    }
}

fn keys_of<'a>(wallets: impl Iterator<Item = &'a String>) -> Vec<PublicKey> {
    let mut keys: Vec<PublicKey> = wallets.filter_map(|wallet| public_key(wallet)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Whether entries of this kind are encrypted.
fn is_encrypted(kind: Kind) -> bool {
    !matches!(kind, Kind::VOID | Kind::GROUP) && !kind.is_of_epochs()
}

/// The account logs of the wallets, as the relay has stored them.
#[derive(Default)]
pub(crate) struct AccountBook {
    accounts: BTreeMap<PublicKey, Account>,
    /// Devices that were removed.
    gone: BTreeSet<DeviceId>,
    /// How often the wallet of an account, or a device for it, has said that its devices are others.
    changes: BTreeMap<PublicKey, u64>,
    /// Everybody has waited for the next day.
    is_next_day: bool,
}

impl AccountBook {
    fn account(&self, wallet: &PublicKey) -> Option<&Account> {
        self.accounts.get(wallet)
    }

    /// Takes the next entry of an account log; gives a device that is back though it was removed.
    fn take(&mut self, account_id: &str, entry: &Entry) -> Option<DeviceId> {
        let owners = SIGNERS.iter().filter_map(|wallet| Owner::new(wallet, domains()).ok());
        let owner = owners.into_iter().find(|owner| owner.account_id == account_id)?;
        let key = owner.key;
        let is_change = !matches!(Statement::of(entry), Ok(Statement { claim: Claim::SealKey(_), .. }));
        *self.changes.entry(key).or_default() += u64::from(is_change);
        let account = self.accounts.entry(key).or_insert_with(|| Account::new(owner));
        let before: Vec<DeviceId> = account.devices().iter().map(|device| device.id.clone()).collect();
        // What does not count is judged elsewhere.
        drop(account.take(entry));
        let after: Vec<DeviceId> = account.devices().iter().map(|device| device.id.clone()).collect();
        self.gone.extend(before.into_iter().filter(|id| !after.contains(id)));
        after.into_iter().find(|id| self.gone.contains(id))
    }
}

/// So many changes of an account a seed makes on purpose: of 20 in a day, what follows from them takes the rest.
const CHANGES_MAX: u64 = 10;

/// What is in an encrypted session, beside its log.
#[derive(Default)]
pub(crate) struct VaultBook {
    pub(crate) accounts: AccountBook,
    sessions: BTreeMap<SessionId, EpochBook>,
}

impl VaultBook {
    fn session(&mut self, session_id: &str) -> &mut EpochBook {
        self.sessions.entry(session_id.to_owned()).or_insert_with(|| EpochBook::new(session_id))
    }

    fn epoch(&self, session_id: &str, number: u64) -> Option<&Begun> {
        self.sessions.get(session_id)?.begun.get(number.checked_sub(1)? as usize)
    }

    /// How often somebody was given the secret of an epoch that he lacked.
    pub(crate) fn given_count(&self, session_id: &str) -> u64 {
        self.sessions.get(session_id).map_or(0, |book| book.given.len() as u64)
    }

    /// Members that were in an epoch of that number without its secret, could be given it, and were not. While nobody can write, nothing
    /// is given.
    fn lacking<'a>(&'a self, book_of: &'a Book) -> impl Iterator<Item = (&'a SessionId, u64, PublicKey, bool)> {
        let current = self.sessions.iter().filter(|(_, book)| book.is_current);
        current.flat_map(move |(session_id, book)| {
            let epochs = book.begun.iter().flat_map(|begun| {
                let is_kept = begun.entry.number + EPOCHS_KEPT > book.number();
                let is_rubbish = move |wallet: &PublicKey| is_kept && book_of.is_rubbish(&begun.transcript, wallet);
                begun.entry.members.iter().map(move |member| (begun.entry.number, member, is_rubbish(&member.wallet)))
            });
            let lacking = epochs.filter(|(number, member, is_rubbish)| {
                let may_have = |account: &Account| {
                    account.generation_at(account.head().sequence).is_some() && account.last_reset() <= member.head.sequence
                };
                let is_member = book.wallets.contains(&member.wallet) && !book.given.contains_key(&(member.wallet, *number));
                is_member && (member.sealed.is_none() || *is_rubbish) && self.accounts.account(&member.wallet).is_some_and(may_have)
            });
            let lacking = lacking.map(|(number, member, is_rubbish)| (session_id, number, member.wallet, is_rubbish));
            lacking.collect::<Vec<_>>()
        })
    }

    /// A member of an epoch whose account has had a removal, or another key, behind the place that it names.
    fn cut(&self, begun: &EpochEntry) -> Option<String> {
        let has_moved = |wallet: &PublicKey, head: u64| self.accounts.account(wallet).is_some_and(|account| account.last_cut() > head);
        let member = begun.members.iter().find(|member| has_moved(&member.wallet, member.head.sequence))?;
        Some(format!("the account of {} has moved on since {}", wallet_address(&member.wallet), member.head.sequence))
    }
}

/// The digest of all that a device wrote up to the entry before this one.
fn chain_before(log: &Log, session_id: &str, entry: &Entry) -> Digest {
    let before = log.head_of(&entry.device_id, entry.sequence_number - 1);
    log.chain_at(session_id, &entry.device_id, before).unwrap_or_default()
}

impl Checker {
    /// An entry is about to be in the log.
    pub(crate) fn vault_goes_on(&mut self, session_id: &str, entry: &Entry) {
        if !self.encrypts {
            return;
        }
        if is_account_id(session_id) {
            let back = self.vault.accounts.take(session_id, entry);
            return self.require(e(9), back.is_none(), || format!("device {back:?} was removed from {session_id}, and is in it again"));
        }
        let is_sealed = is_sealed_id(session_id);
        self.require(e(5), is_sealed, || format!("session {session_id} is not encrypted"));
        if !is_sealed {
            return;
        }
        let place = entry.sequence_number;
        let previous = chain_before(self.ledger.log(session_id), session_id, entry);
        let epoch = self.ledger.book.borrow().epoch(&entry.message.ciphertext).cloned();
        match entry.message.kind {
            Kind::EPOCH => match &epoch {
                Some(epoch) => self.epoch_begins(session_id, entry, epoch),
                None => self.violate(e(5), format!("nobody has begun the epoch at {place} of {session_id}")),
            },
            Kind::RESEAL => self.secrets_are_given(session_id, entry),
            kind if is_encrypted(kind) => self.text_stands(session_id, entry, &previous),
            _ => {}
        }
        let given = self.ledger.book.borrow().given_truly(&entry.message.ciphertext);
        let book = self.vault.session(session_id);
        book.give(given, entry.sequence_number);
        book.take(entry, epoch.as_ref(), &entry.digest(&previous));
    }

    fn epoch_begins(&mut self, session_id: &str, entry: &Entry, epoch: &EpochEntry) {
        let author = public_key(&entry.message.sender_wallet).unwrap_or_default();
        let book = self.vault.session(session_id);
        let before = |wallet: &PublicKey| book.begun.iter().rev().find_map(|begun| begun.head(wallet)).unwrap_or(0);
        let wrong = if epoch.number != book.number() + 1 {
            Some("it has not the next number")
        } else if epoch.after != book.transcript {
            Some("it does not follow what is before it")
        } else if !epoch.members.iter().map(|member| member.wallet).eq(book.wallets.iter().copied()) {
            Some("it is not for those who are in the session")
        } else if epoch.members.iter().any(|member| member.head.sequence < before(&member.wallet)) {
            Some("it names less of an account than the one before")
        } else if epoch.member(&author).is_none() {
            Some("its author is not in it")
        } else {
            None
        };
        let place = entry.sequence_number;
        self.require(e(5), wrong.is_none(), || format!("the epoch at {place} of {session_id} counts, and {}", wrong.unwrap_or_default()));
        let accounts = &self.vault.accounts;
        let other = epoch.members.iter().find(|member| {
            let named = member.sealed.map(|(generation, _)| generation);
            let account = accounts.account(&member.wallet);
            account.and_then(|account| account.generation_at(member.head.sequence)).map(|key| key.number) != named
        });
        let other = other.map(|member| wallet_address(&member.wallet));
        self.require(e(5), other.is_none(), || format!("the epoch at {place} of {session_id} names another key than {other:?} has there"));
    }

    fn secrets_are_given(&mut self, session_id: &str, entry: &Entry) {
        let given = self.ledger.book.borrow().given(&entry.message.ciphertext);
        let wrong = given.iter().find(|((wallet, number), _)| {
            let head = self.vault.epoch(session_id, *number).and_then(|begun| begun.head(wallet));
            let account = self.vault.accounts.account(wallet);
            head.is_none_or(|head| account.is_none_or(|account| account.last_reset() > head))
        });
        let is_wrong = given.is_empty() || wrong.is_some();
        let place = entry.sequence_number;
        self.require(e(2), !is_wrong, || format!("who may not have it is given a secret at {place} of {session_id}"));
    }

    fn text_stands(&mut self, session_id: &str, entry: &Entry, previous: &Digest) {
        let place = entry.sequence_number;
        let (mut is_placed, mut wrong) = (false, Some("nobody has encrypted it"));
        let book = self.vault.session(session_id);
        if let Some(text) = self.ledger.book.borrow().text(&entry.message.ciphertext) {
            is_placed = (&text.device, text.counter, text.knows) == (&entry.device_id, entry.counter, entry.knows)
                && (text.previous, text.kind, &text.id) == (*previous, u64::from(entry.message.kind.0), &entry.message.id);
            wrong = match book.begun.last() {
                _ if !book.is_current => Some("no epoch has begun"),
                Some(begun) if begun.transcript == text.transcript && begun.entry.number == text.epoch => None,
                _ => Some("it is encrypted in another epoch"),
            };
        }
        self.require(e(5), wrong.is_none(), || format!("the text at {place} of {session_id} counts, and {}", wrong.unwrap_or_default()));
        self.require(e(4), is_placed, || format!("the text at {place} of {session_id} was encrypted for another place"));
        let wallet = public_key(&entry.message.sender_wallet).unwrap_or_default();
        let Some(begun) = self.vault.sessions.get(session_id).and_then(|book| book.begun.last()) else { return };
        let account = self.vault.accounts.account(&wallet);
        let head = begun.head(&wallet).unwrap_or(0);
        let is_listed = account.is_some_and(|account| account.was_listed_at(&entry.device_id, head));
        let waits = account.and_then(|account| account.device(&entry.device_id)).is_some_and(|device| !device.is_approved);
        self.require(e(4), is_listed, || format!("the text at {place} of {session_id} is of a device that its epoch does not list"));
        if waits {
            self.mark(Mark::WroteWaiting);
        }
    }

    /// The relay has taken entries and is about to store them. Two logs have no common order: who was removed by then, as far as the
    /// relay knows, reads nothing of it.
    pub(crate) fn taken(&mut self, session_id: &str, entries: &[StoredEntry]) {
        if !self.encrypts || !is_sealed_id(session_id) {
            return;
        }
        for entry in entries.iter().flat_map(|stored| stored.body.entries().unwrap_or_default()) {
            let epoch = self.ledger.book.borrow().epoch_of(&entry.message.ciphertext).cloned();
            let cut = epoch.as_ref().and_then(|epoch| self.vault.cut(epoch));
            let place = entry.sequence_number;
            self.require_where(e(2), epoch.is_some(), cut.is_none(), || {
                format!("the relay takes {place} of {session_id}, and {}", cut.unwrap_or_default())
            });
        }
    }

    /// The logs are others: what counts in them is found anew.
    pub(crate) fn vault_again(&mut self) {
        if !self.encrypts {
            return;
        }
        self.vault = VaultBook::default();
        let sessions: Vec<SessionId> = self.ledger.sessions().map(|(id, _)| id.clone()).collect();
        for session_id in sessions {
            let log = self.ledger.log(&session_id);
            for place in 1..=log.head() {
                let Some(entry) = log.as_stored(place) else { continue };
                if is_account_id(&session_id) {
                    self.vault.accounts.take(&session_id, entry);
                } else if is_sealed_id(&session_id) {
                    let epoch = self.ledger.book.borrow().epoch(&entry.message.ciphertext).cloned();
                    let digest = entry.digest(&chain_before(log, &session_id, entry));
                    let given = self.ledger.book.borrow().given_truly(&entry.message.ciphertext);
                    let book = self.vault.session(&session_id);
                    book.give(given, entry.sequence_number);
                    book.take(entry, epoch.as_ref(), &digest);
                }
            }
        }
    }

    /// A device stores what it makes of a session's epochs, with its log up to here.
    pub(crate) fn stored_epochs(&mut self, session_id: &str, sealed: Option<&SealedState>, cursor: u64) {
        if !self.encrypts || self.set_back {
            return;
        }
        let Some(sealed) = sealed else {
            return self.violate(e(5), format!("a device stores {session_id} as one that is not encrypted"));
        };
        let book = self.vault.session(session_id);
        let (transcript, number, is_current) = book.at(cursor);
        let stored = (sealed.epochs.transcript(), sealed.epochs.last(), sealed.epochs.current().is_some());
        let begun = number.checked_sub(1).and_then(|place| book.begun.get(place as usize));
        let is_last = match (&sealed.last, begun) {
            (None, None) => true,
            (Some(last), Some(begun)) => {
                (last.sequence_number, last.number, last.transcript) == (begun.place, begun.entry.number, begun.transcript)
            }
            _ => false,
        };
        self.require(e(5), stored == (transcript, number, is_current), || {
            format!("a device has {session_id} up to {cursor} in epoch {} ({}), it is {number} ({is_current})", stored.1, stored.2)
        });
        self.require(e(7), is_last, || format!("a device stores {session_id} up to {cursor} with the secret of another epoch"));
    }

    /// What was encrypted since is encrypted with nonces of its own.
    pub(crate) fn nonces_are_new(&mut self) {
        if self.encrypts {
            let (count, repeated) = self.ledger.book.borrow_mut().nonces_used();
            self.require_none(e(3), count as usize, repeated, |what| what);
        }
    }

    /// Somebody on the way, or at the relay, looks at these bytes.
    pub(crate) fn seen_by_others(&mut self, bytes: &[u8], what: &str) {
        let Some(marker) = &self.marker else { return };
        let found = marker.found_in(bytes);
        self.require(e(2), found.is_none(), || format!("what somebody wrote stands {} in {what}", found.unwrap_or_default()));
    }

    /// The same of a frame, and of entries in it, which may travel compressed.
    pub(crate) fn frame_seen_by_others(&mut self, payload: &Payload, reading: &Reading) {
        if self.marker.is_none() {
            return;
        }
        let bytes = match payload {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        };
        self.seen_by_others(bytes, "a frame");
        let entries = reading.entries.as_deref().unwrap_or_default();
        for Message { id, ciphertext, content_type, replaces, extra, .. } in entries.iter().map(|entry| &entry.message) {
            let texts = [id.as_str(), ciphertext, content_type.as_deref().unwrap_or(""), replaces.as_deref().unwrap_or(""), extra.as_str()];
            texts.into_iter().for_each(|text| self.seen_by_others(text.as_bytes(), "an entry on its way"));
        }
    }

    /// Notes which entries of a batch a device could not read.
    pub(crate) fn stored_unread(&mut self, profile: ProfileId, session_id: &str, entries: &[Entry]) {
        if self.encrypts {
            let unread = self.profiles[profile].unread.entry(session_id.to_owned()).or_default();
            for entry in entries {
                match entry.is_unopened() {
                    true => unread.insert(entry.sequence_number),
                    false => unread.remove(&entry.sequence_number),
                };
            }
        }
    }

    /// Of what a device could not read it tells when it can.
    pub(crate) fn read_late(&mut self, tab: TabId, profile: ProfileId, session_id: &str, entries: &[Entry], before: &Before) {
        // What waited in the outbox is its own.
        let waited = |entry: &Entry| number_of(&entry.message.ciphertext).is_some_and(|number| before.unsent.contains(&number));
        let is_late = |entry: &&Entry| entry.message.kind == Kind::MESSAGE && !entry.is_unopened() && !waited(entry);
        let places = entries.iter().filter(is_late).map(|entry| entry.sequence_number);
        let late: Vec<u64> = places.filter(|place| self.is_unread(profile, session_id, *place)).collect();
        if let Some(view) = self.tabs.get_mut(&tab) {
            let late = late.into_iter().map(|place| (session_id.to_owned(), place));
            let was_told = |place: &(SessionId, u64)| {
                let is_before = view.heard_before.get(&place.0).is_some_and(|heard| place.1 <= *heard);
                view.heard.contains(place) || is_before && !view.unread_before.contains(place)
            };
            // What was cleared before it could be read counts as told, or as unread, when the log comes again.
            let was_cleared = |place: &(SessionId, u64)| view.cleared.get(&place.0).is_some_and(|through| place.1 <= *through);
            let (cleared, late): (Vec<_>, Vec<_>) = late.filter(|place| !was_told(place)).partition(was_cleared);
            view.tellable.extend(cleared);
            view.read_late.extend(late);
        }
    }

    /// Whether a device could not read an entry that it has stored.
    pub(crate) fn is_unread(&self, profile: ProfileId, session_id: &str, place: u64) -> bool {
        self.profiles[profile].unread.get(session_id).is_some_and(|unread| unread.contains(&place))
    }

    /// Whether a device has stored an entry as it stands in the log: as it was written, or unread.
    pub(crate) fn is_as_logged(&self, session_id: &str, entry: &Entry) -> bool {
        let log = self.ledger.log(session_id);
        let place = entry.sequence_number;
        let Some(stored) = log.as_stored(place) else { return false };
        match entry.is_unopened() {
            true => *stored == Entry { extensions: stored.extensions.clone(), ..entry.clone() },
            false => log.entry(place) == Some(entry),
        }
    }
}

/// The account keys of a device, by their generations, as they are stored behind its own key and its seal key.
fn keys_in(state: &State) -> BTreeMap<u64, Secret> {
    let mut keys = BTreeMap::new();
    let Some(identity) = &state.records.identity else { return keys };
    let mut rest = identity.secret.get(64..).unwrap_or_default();
    while !rest.is_empty() {
        let (mut number, mut shift) = (0_u64, 0);
        while let Some((byte, behind)) = rest.split_first() {
            rest = behind;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let Some((key, behind)) = rest.split_first_chunk::<32>() else { return keys };
        keys.insert(number, Secret::new(*key));
        rest = behind;
    }
    keys
}

/// The generations that follow from the newest key of an account.
fn reachable(account: &Account) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    if account.generation_at(account.head().sequence).is_some() {
        for key in account.generations().iter().rev() {
            numbers.insert(key.number);
            if key.earlier.is_none() {
                break;
            }
        }
    }
    numbers
}

impl World {
    /// Whether a wallet may still lose and get devices today. Where sessions are encrypted, each takes two changes of its account.
    pub(crate) fn may_change_devices(&self, profile: ProfileId) -> bool {
        self.account_changes(profile) < CHANGES_MAX
    }

    fn account_changes(&self, profile: ProfileId) -> u64 {
        let wallet = public_key(self.profiles[profile].wallet);
        wallet.and_then(|wallet| self.checker.vault.accounts.changes.get(&wallet)).copied().unwrap_or_default()
    }

    /// Where an account may have had all changes of a day, everybody waits for the next one, in which devices come and are approved; says
    /// whether that was so. A second time nobody waits: in 240 seconds nothing takes the changes of another day.
    pub(crate) fn has_waited_for_day(&mut self) -> bool {
        const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
        let accounts = &mut self.checker.vault.accounts;
        let is_spent = !accounts.is_next_day && accounts.changes.values().any(|changes| *changes >= ACCOUNT_CHANGES_MAX as u64);
        if is_spent {
            accounts.is_next_day = true;
            self.profiles.iter_mut().for_each(|profile| profile.skew_ms += DAY_MS);
            self.move_relay_clock(DAY_MS);
            self.ctx.line(|| "the next day begins".into());
        }
        is_spent
    }

    /// Which device cannot read yet what it should be able to: a person or another device has something to do first.
    pub(crate) fn readers_unsettled(&self) -> Option<(u8, String)> {
        if !self.checker.encrypts {
            return None;
        }
        for (index, profile) in self.profiles.iter().enumerate() {
            let tab = self.tabs.get(&profile.tab?)?;
            if !self.is_reader(&tab.client, profile.wallet) {
                let keys = tab.client.account_keys();
                return Some((e(8), format!("profile {index} is not approved, or has not the newest account key: {keys:?}")));
            }
        }
        if let Some(index) = (0..self.profiles.len()).find(|index| self.is_rereading(*index)) {
            return Some((e(8), format!("profile {index} has not read again what it has the secret of")));
        }
        // Others hear of its key when a device of it takes part.
        let takes_part = |wallet: &PublicKey, session_id: &str| {
            let own = self.profiles.iter().filter(|profile| public_key(profile.wallet) == Some(*wallet) && !profile.is_stolen);
            own.into_iter().any(|profile| profile.disk.state().records.sessions.get(session_id).is_some_and(|session| session.open))
        };
        let book = self.checker.ledger.book.borrow();
        let mut lacking = self.checker.vault.lacking(&book);
        let (session_id, number, wallet, is_rubbish) =
            lacking.find(|(id, number, wallet, _)| takes_part(wallet, id) && self.can_give(id, *number))?;
        Some((
            e(if is_rubbish { 10 } else { 8 }),
            format!("{} was not given the secret of epoch {number} of {session_id}", wallet_address(&wallet)),
        ))
    }

    /// Whether a device is about to read what it has stored unread.
    fn is_rereading(&self, index: ProfileId) -> bool {
        let profile = &self.profiles[index];
        let keys = keys_in(profile.disk.state());
        let opens = |unread: &UnreadEpoch| {
            unread.unread_at.is_some() && unread.epoch.sealed.is_some_and(|(generation, _)| keys.contains_key(&generation))
        };
        // Who is out of a group reads what it had of it all the same.
        let reads = |session: &&SessionRecord| session.open || session.membership != Membership::Member;
        let mut sessions = profile.disk.state().records.sessions.values().filter(|session| reads(session) && !profile.is_stolen);
        sessions.any(|session| session.sealed.iter().flat_map(|sealed| &sealed.unread).any(opens))
    }

    /// Whether somebody is there who has the secret of an epoch.
    fn can_give(&self, session_id: &str, number: u64) -> bool {
        self.profiles.iter().filter(|profile| !profile.is_stolen).any(|profile| {
            let session = profile.disk.state().records.sessions.get(session_id).filter(|session| session.open);
            let own = public_key(profile.wallet).unwrap_or_default();
            let is_honest = self.encryption.is_none_or(|encryption| encryption.dishonest != Some(profile.wallet));
            let begun = self.checker.vault.epoch(session_id, number).filter(|_| is_honest);
            let begun = begun.filter(|begun| !self.checker.ledger.book.borrow().is_rubbish(&begun.transcript, &own));
            let member = begun.and_then(|begun| begun.entry.member(&own));
            let account = self.checker.vault.accounts.account(&own);
            let has = |generation: u64| account.is_some_and(|account| reachable(account).contains(&generation));
            session.is_some() && member.and_then(|member| member.sealed).is_some_and(|(generation, _)| has(generation))
        })
    }

    /// Whether a device is approved and has the newest key of its account.
    pub(crate) fn is_reader(&self, client: &Client, wallet: &str) -> bool {
        let account = public_key(wallet).and_then(|wallet| self.checker.vault.accounts.account(&wallet));
        account.is_some_and(|account| {
            let newest = account.generation_at(account.head().sequence).map(|key| key.number);
            let is_approved = account.device(client.device_id()).is_some_and(|device| device.is_approved);
            is_approved && newest.is_some_and(|newest| client.account_keys().contains(&newest))
        })
    }

    /// What the keys of every device open, of all that stands in the journal, is what it may read, and all that it should.
    pub(crate) fn judge_secrets(&mut self) {
        if !self.checker.encrypts {
            return;
        }
        for profile in 0..self.profiles.len() {
            let verdicts = self.secrets_of(profile);
            let wrong = verdicts.iter().find_map(|(invariant, wrong)| Some((*invariant, wrong.clone()?)));
            for (invariant, wrong) in &verdicts {
                self.checker.require(*invariant, wrong.is_none(), || wrong.clone().unwrap_or_default());
            }
            if wrong.is_some() {
                return;
            }
        }
    }

    fn secrets_of(&self, index: ProfileId) -> Vec<(u8, Option<String>)> {
        let vault: &dyn Vault = if self.encryption.is_some_and(|encryption| encryption.is_real) { &Native } else { &StandIn };
        let profile = &self.profiles[index];
        let state = profile.disk.state();
        let own = public_key(profile.wallet).unwrap_or_default();
        let mut verdicts = Vec::new();
        let (Some(account), Some(device)) = (self.checker.vault.accounts.account(&own), &state.records.device) else { return verdicts };
        let keys = keys_in(state);
        let ids: Vec<&DeviceId> = device.earlier.iter().chain([&device.device_id]).collect();
        let reachable = reachable(account);
        // Who is still in it has what its devices share.
        let is_reader = account.device(&device.device_id).is_some_and(|device| device.is_approved) && !profile.is_stolen;
        for (session_id, book) in &self.checker.vault.sessions {
            let entries = state.entries(session_id);
            let unread: Vec<u64> = entries.iter().filter(|entry| entry.is_unopened()).map(|entry| entry.sequence_number).collect();
            // Nothing is given to who waits: it reads in epochs of its own.
            let waits = account.device(&device.device_id).is_some_and(|device| !device.is_approved) && device.earlier.is_empty();
            let is_own = |id: &DeviceId| ids.contains(&id);
            let given =
                entries.iter().filter(|entry| is_encrypted(entry.message.kind) && !entry.is_unopened() && !is_own(&entry.device_id));
            let is_plain = |entry: &&Entry| self.checker.ledger.book.borrow().text(&entry.message.ciphertext).is_none();
            let mut given = given.filter(is_plain).filter(|entry| book.of(entry.sequence_number).is_none_or(|of| !is_own(&of.author)));
            let given = given.next().filter(|_| waits).map(|entry| entry.sequence_number);
            verdicts.push((e(2), given.map(|place| format!("profile {index} waits to be approved, and has read {place} of {session_id}"))));
            for begun in &book.begun {
                let (after, number) = (begun.entry.after, begun.entry.number);
                let at = Beginning { after: &after, number, author: &begun.author };
                let opens = |member: &solconnect_sync_vault::layout::EpochMember| {
                    let Some((generation, sealed)) = &member.sealed else { return false };
                    let (transcript, tag) = (&begun.transcript, &begun.entry.tag);
                    let seal = SealedEpoch { at, wallet: &member.wallet, generation: *generation, sealed, transcript, tag };
                    keys.values().any(|key| vault.open_epoch(seal, key).is_ok())
                };
                let opened: Vec<PublicKey> =
                    begun.entry.members.iter().filter(|member| opens(member)).map(|member| member.wallet).collect();
                let was_in = |head: u64| {
                    let mut places = head..=account.head().sequence;
                    let is_waiting = |id: &str| account.device(id).is_some_and(|device| !device.is_approved);
                    places.any(|place| ids.iter().any(|id| account.was_listed_at(id, place) && !is_waiting(id)))
                };
                let may = begun.head(&own).is_some_and(was_in);
                let wrong = opened.iter().any(|wallet| *wallet != own) || !opened.is_empty() && !may;
                verdicts
                    .push((e(2), wrong.then(|| format!("profile {index} can open epoch {number} of {session_id}, and may not read it"))));
                let sealed = begun.entry.member(&own).and_then(|member| member.sealed);
                let is_rubbish = self.checker.ledger.book.borrow().is_rubbish(&begun.transcript, &own);
                let is_sealed = !is_rubbish && sealed.is_some_and(|(generation, _)| reachable.contains(&generation));
                let is_heard = |(generation, place): &(u64, u64)| reachable.contains(generation) && *place <= state.cursor(session_id);
                let is_given = book.given.get(&(own, number)).is_some_and(is_heard);
                if is_reader && (is_sealed || is_given) {
                    let lacks = || format!("profile {index} has no key for epoch {number} of {session_id}, which is sealed to it");
                    verdicts.push((e(8), (is_sealed && opened.is_empty()).then(lacks)));
                    let is_in = |place: &&u64| book.of(**place).is_some_and(|of| of.place == begun.place);
                    let unread: Vec<&u64> = unread.iter().filter(is_in).collect();
                    let unread =
                        (!unread.is_empty()).then(|| format!("profile {index} has not read {unread:?} of {session_id}, and could"));
                    verdicts.push((e(2), unread));
                }
            }
        }
        verdicts
    }
}
