//! The account logs of the wallets that write to this device. Where an entry names a device that its wallet's log has never listed,
//! as far as it is known here, the relay is asked for more of that log. What its entries make of the account is found out here, by the
//! code that the relay has too, and is stored; so a device that is known costs nothing.

use super::Client;
use super::api::{Action, Event, Write};
use super::records::AccountRecord;
use super::transaction::Transaction;
use crate::error::{ErrorCode, SyncError};
use crate::frame::{Body, ErrorBody, SyncRequest, SyncResponse};
use crate::identity::{Account, DomainSet};
use crate::ids::{SessionId, WalletAddress};
use crate::limits::{INQUIRIES_MAX, PEER_DEVICES_MAX};
use crate::log::{LogHead, Refusal};
use crate::sorted::Sorted;
use crate::time::Now;

/// The accounts of other wallets, and what the relay is asked about accounts.
#[derive(Default)]
pub(super) struct Accounts {
    /// As they are stored.
    stored: Sorted<WalletAddress, Known>,
    /// What a transaction under way makes of them; `None`: it is forgotten.
    next: Sorted<WalletAddress, Option<Known>>,
    /// How often an account was of use, in all.
    uses: u64,
    /// What is asked on this connection, in the order in which it came up.
    inquiries: Vec<Inquiry>,
}

/// An account, and when it was of use last.
struct Known {
    account: Account,
    used: u64,
}

/// The relay is asked for what a wallet's log has that is not known here.
struct Inquiry {
    wallet: WalletAddress,
    /// The frame that is not answered.
    said: Option<String>,
    /// Something came up behind that frame: it is asked once more.
    again: bool,
    /// All was read that there was when it was asked, or why not.
    outcome: Option<Result<(), SyncError>>,
}

/// Where an inquiry is.
pub(super) enum Outcome {
    /// Under way.
    Open,
    /// Over.
    Closed(Result<(), SyncError>),
}

impl Accounts {
    /// Those that are stored, but for those of an application with other domains.
    pub fn load(records: Vec<AccountRecord>, domains: &DomainSet) -> Accounts {
        let mut accounts = Accounts::default();
        for AccountRecord { wallet, account } in records {
            if let Some(account) = Account::from_bytes(&account, domains).filter(|account| account.owner().wallet == wallet) {
                accounts.stored.insert(wallet, Known { account, used: 0 });
            }
        }
        accounts
    }

    /// The account of another wallet, as the transaction leaves it.
    pub fn get(&self, wallet: &str) -> Option<&Account> {
        let known = self.next.get(wallet).map_or_else(|| self.stored.get(wallet), Option::as_ref);
        known.map(|known| &known.account)
    }

    /// The same as it is stored.
    pub fn stored(&self, wallet: &str) -> Option<&Account> {
        self.stored.get(wallet).map(|known| &known.account)
    }

    /// Whether another wallet's log has ever listed a device.
    pub fn has_listed(&mut self, wallet: &str, device_id: &str) -> bool {
        self.uses += 1;
        let known = match self.next.get_mut(wallet) {
            Some(next) => next.as_mut(),
            None => self.stored.get_mut(wallet),
        };
        known.is_some_and(|known| {
            known.used = self.uses;
            known.account.was_listed(device_id)
        })
    }

    /// The relay is to be asked for the wallet's log as it is from now on.
    pub fn inquire(&mut self, wallet: &str) {
        let open = |inquiry: &&mut Inquiry| inquiry.wallet == wallet && inquiry.outcome.is_none();
        match self.inquiries.iter_mut().find(open) {
            Some(inquiry) => inquiry.again = inquiry.said.is_some(),
            None => self.inquiries.push(Inquiry { wallet: wallet.to_owned(), said: None, again: false, outcome: None }),
        }
    }

    /// What became of asking about a wallet.
    pub fn outcome(&self, wallet: &str) -> Outcome {
        let of_wallet = || self.inquiries.iter().filter(|inquiry| inquiry.wallet == wallet);
        match of_wallet().next_back().map(|inquiry| inquiry.outcome.clone()) {
            Some(None) => Outcome::Open,
            Some(Some(outcome)) => Outcome::Closed(outcome),
            None => Outcome::Closed(Ok(())),
        }
    }

    /// An account has gone on.
    fn follow(&mut self, account: Account, transaction: &mut Transaction) {
        let wallet = account.owner().wallet.clone();
        transaction.write(Write::Account(record(&account)), false);
        self.uses += 1;
        self.next.insert(wallet, Some(Known { account, used: self.uses }));
        while let Some(wallet) = self.least_needed(PEER_DEVICES_MAX) {
            transaction.write(Write::ForgetAccount { wallet: wallet.clone() }, false);
            self.next.insert(wallet, None);
        }
    }

    /// The relay's logs count: all are asked for again from the beginning.
    pub fn forget_all(&mut self, transaction: &mut Transaction) {
        let wallets: Vec<WalletAddress> = self.stored.keys().chain(self.next.keys()).cloned().collect();
        for wallet in wallets {
            transaction.write(Write::ForgetAccount { wallet: wallet.clone() }, false);
            self.next.insert(wallet, None);
        }
    }

    /// The account that is forgotten next, where they have listed more devices than that. What is being asked about is needed.
    fn least_needed(&self, devices_max: usize) -> Option<WalletAddress> {
        let stored = self.stored.iter().filter(|(wallet, _)| !self.next.contains_key(*wallet));
        let next = self.next.iter().filter_map(|(wallet, known)| Some((wallet, known.as_ref()?)));
        let all: Vec<(&WalletAddress, &Known)> = stored.chain(next).collect();
        if all.iter().map(|(_, known)| known.account.weight()).sum::<usize>() <= devices_max {
            return None;
        }
        let is_needed = |wallet: &WalletAddress| self.inquiries.iter().any(|inquiry| inquiry.wallet == *wallet);
        let spare = all.into_iter().filter(|(wallet, _)| !is_needed(wallet));
        spare.min_by_key(|(_, known)| known.used).map(|(wallet, _)| wallet.clone())
    }

    /// What was to be stored is stored; gives the wallets that have another number of approved devices.
    pub fn commit(&mut self) -> Vec<WalletAddress> {
        let approved = |known: &Known| known.account.devices().iter().filter(|device| device.is_approved).count();
        let mut changed = Vec::new();
        for (wallet, known) in std::mem::take(&mut self.next).into_iter() {
            if known.as_ref().map(approved) != self.stored.get(&wallet).map(approved) {
                changed.push(wallet.clone());
            }
            match known {
                Some(known) => drop(self.stored.insert(wallet, known)),
                None => drop(self.stored.remove(&wallet)),
            }
        }
        changed
    }

    /// It is not.
    pub fn roll_back(&mut self) {
        self.next = Sorted::default();
    }

    /// The connection is lost: what was asked is asked again where it comes up again.
    pub fn on_disconnect(&mut self) {
        self.inquiries.clear();
    }

    /// Into a store that has nothing of it.
    pub fn write_anew(&self, transaction: &mut Transaction) {
        self.stored.values().for_each(|known| transaction.write(Write::Account(record(&known.account)), false));
    }

    /// The wallet that is asked about by this frame.
    fn asked_by(&mut self, frame_id: Option<&String>) -> Option<&mut Inquiry> {
        self.inquiries.iter_mut().find(|inquiry| inquiry.said.is_some() && inquiry.said.as_ref() == frame_id)
    }
}

fn record(account: &Account) -> AccountRecord {
    AccountRecord { wallet: account.owner().wallet.clone(), account: account.to_bytes() }
}

impl Client {
    /// The account of a wallet, this one's or another's, as its log is known and stored here; `None` where nothing of it is.
    pub fn account_of(&self, wallet: &str) -> Option<&Account> {
        let own = self.identity.as_ref().and_then(|identity| identity.account(wallet));
        own.or_else(|| self.accounts.stored.get(wallet).map(|known| &known.account))
    }

    /// The same as the transaction leaves it; an empty one where nothing of it is known.
    fn latest_account_of(&self, wallet: &str) -> Option<Account> {
        let identity = self.identity.as_ref()?;
        if self.wallet.as_deref() == Some(wallet) {
            return identity.latest_account(wallet);
        }
        self.accounts.get(wallet).cloned().or_else(|| identity.owner(wallet).map(Account::new))
    }

    /// Asks what is to be asked, from what is on disk: what a transaction under way has of an account may still be lost.
    pub(super) fn advance_inquiries(&mut self, now: Now, actions: &mut Vec<Action>) {
        if !self.link.is_open() || self.under_way.is_some() {
            return;
        }
        for place in 0..self.accounts.inquiries.len() {
            let under_way = self.accounts.inquiries.iter().filter(|inquiry| inquiry.said.is_some()).count();
            let Inquiry { wallet, said, outcome, .. } = &self.accounts.inquiries[place];
            if under_way >= INQUIRIES_MAX || said.is_some() || outcome.is_some() {
                continue;
            }
            let Some(account) = self.latest_account_of(&wallet.clone()) else {
                // A name that is no wallet has no log, and no device.
                self.accounts.inquiries[place].outcome = Some(Ok(()));
                continue;
            };
            let head = account.head();
            let request = SyncRequest { last_synced_sequence: head.sequence, log: Some(head), ..SyncRequest::default() };
            let said = self.transmit_in(now, &account.owner().account_id, Body::SyncRequest(request), actions);
            self.accounts.inquiries[place].said = Some(said);
        }
    }

    /// A part of an account log that was asked for; says whether it was.
    pub(super) fn take_inquired(&mut self, response: &SyncResponse, transaction: &mut Transaction) -> bool {
        let Some(inquiry) = self.accounts.asked_by(response.in_reply_to.as_ref()) else { return false };
        inquiry.said = None;
        let wallet = inquiry.wallet.clone();
        let outcome = match self.follow_account(&wallet, response, transaction) {
            // There is more.
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        let open = |inquiry: &&mut Inquiry| inquiry.wallet == wallet && inquiry.outcome.is_none();
        if let Some(inquiry) = self.accounts.inquiries.iter_mut().find(open) {
            let is_over = !matches!(outcome, Some(Ok(()))) || !std::mem::take(&mut inquiry.again);
            inquiry.outcome = outcome.filter(|_| is_over);
        }
        true
    }

    /// Takes what a log has behind what is known of it; says whether that is all.
    fn follow_account(&mut self, wallet: &str, response: &SyncResponse, transaction: &mut Transaction) -> Result<bool, SyncError> {
        let Some(account) = self.latest_account_of(wallet) else { return Ok(true) };
        let (before, latest) = (account.head(), response.latest_sequence);
        if latest < before.sequence {
            let message = format!("the relay's log of the account of {wallet} ends at {latest}, and this device has it up to {before}");
            return Err(SyncError::new(ErrorCode::RelayRolledBack, message));
        }
        let head = if self.wallet.as_deref() == Some(wallet) {
            self.take_account(response.clone(), transaction);
            if let Some(error) = &self.devices.halted {
                return Err(error.clone());
            }
            self.latest_account_of(wallet).map_or(before, |account| account.head())
        } else {
            self.follow_other(account, response, transaction)?
        };
        if head == before && head.sequence < latest {
            transaction.distrust("the relay has less of an account's log than it said".into());
        }
        Ok(head.sequence >= latest)
    }

    /// The account of another wallet goes on; where its log is known up to then.
    fn follow_other(&mut self, mut account: Account, response: &SyncResponse, transaction: &mut Transaction) -> Result<LogHead, SyncError> {
        let before = account.head();
        let wallet = account.owner().wallet.clone();
        let forked = |refusal: Refusal| SyncError::new(ErrorCode::RelayForked, format!("the account of {wallet}: {refusal}"));
        let Ok(entries) = response.messages.entries() else {
            transaction.distrust("entries of an account cannot be read".into());
            return Ok(before);
        };
        for entry in entries.into_iter().filter(|entry| entry.sequence_number > before.sequence) {
            // One that does not count changes nothing, here as everywhere.
            let _ = account.take(&entry).map_err(forked)?;
        }
        account.log().compare(response.log).map_err(forked)?;
        let head = account.head();
        if head != before {
            self.accounts.follow(account, transaction);
        }
        Ok(head)
    }

    /// The relay does not answer what was asked; says whether that is what it refuses.
    pub(super) fn take_inquiry_refusal(&mut self, refusal: &ErrorBody, transaction: &mut Transaction) -> bool {
        if self.accounts.asked_by(refusal.in_reply_to.as_ref()).is_none() {
            return false;
        }
        transaction.reconnect(refusal.error.clone());
        transaction.tell(Event::Warning { error: SyncError::new(refusal.code, refusal.error.clone()) });
        true
    }

    /// What was asked is answered, and what was learned is stored: sessions that waited for it go on, or stop.
    pub(super) fn conclude_inquiries(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.accounts.inquiries.iter().all(|inquiry| inquiry.outcome.is_none()) {
            return;
        }
        let waiting = self.sessions.values().filter(|session| session.awaits_authors() || session.awaits_accounts());
        let waiting: Vec<SessionId> = waiting.map(|session| session.id().to_owned()).collect();
        let mut halted = Vec::new();
        let (sessions, mut context) = self.lend(now, actions);
        for session_id in waiting {
            sessions.visit_those(&[session_id], |session| {
                let concluded = session.conclude_accounts(&context);
                let error = concluded.and_then(|()| session.conclude_authors(&mut context)).err();
                halted.extend(error.map(|error| (session.id().to_owned(), error)));
            });
        }
        self.accounts.inquiries.retain(|inquiry| inquiry.outcome.is_none());
        self.tell_halted(now, halted, actions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::identity::{Certificate, Claim, DeviceKey, Offer, Owner, Purpose, Statement};
    use crate::ids::wallet_address;
    use crate::limits::OFFER_MS;

    fn wallet(number: u8) -> WalletAddress {
        wallet_address(&DeviceKey::from_secret(&[number; 32]).public())
    }

    /// The account of a wallet that has one device.
    fn account(number: u8) -> Account {
        let owner = Owner::new(&wallet(number), DomainSet::new(vec!["a.example".into()]).unwrap()).unwrap();
        let mut account = Account::new(owner.clone());
        let (key, purpose) = (DeviceKey::from_secret(&[number + 100; 32]), Purpose::Join);
        let Owner { wallet, account_id, .. } = owner.clone();
        let (issued_ms, expires_ms) = (1, 1 + OFFER_MS);
        let text = Offer { domain: "a.example".into(), wallet, account_id, device: key.public(), purpose, issued_ms, expires_ms }.text();
        let signature = DeviceKey::from_secret(&[number; 32]).sign(text.as_bytes());
        let claim = Claim::Join(Certificate { text, signature });
        let entry = Statement::sign(&key, &owner, account.head(), claim).entry(&owner, 1, 1);
        account.take(&Entry { sequence_number: 1, server_timestamp: 1, ..entry }).unwrap().unwrap();
        account
    }

    #[test]
    fn the_account_that_was_needed_the_longest_time_ago_is_forgotten() {
        let (mut accounts, mut transaction) = (Accounts::default(), Transaction::default());
        for number in 1..=3 {
            accounts.follow(account(number), &mut transaction);
        }
        assert_eq!((accounts.least_needed(3), accounts.least_needed(2)), (None, Some(wallet(1))));
        assert!(accounts.has_listed(&wallet(1), &DeviceKey::from_secret(&[101; 32]).device_id()));
        assert_eq!(accounts.least_needed(2), Some(wallet(2)));
        accounts.inquire(&wallet(2));
        assert_eq!(accounts.least_needed(2), Some(wallet(3)), "who is asked about is needed");
        accounts.commit();
        assert_eq!(accounts.least_needed(2), Some(wallet(3)));
    }

    #[test]
    fn what_comes_up_behind_a_question_is_asked_again() {
        let mut accounts = Accounts::default();
        accounts.inquire("w");
        accounts.inquire("w");
        assert!(accounts.inquiries.len() == 1 && !accounts.inquiries[0].again, "it is not said yet");
        accounts.inquiries[0].said = Some("1".into());
        accounts.inquire("w");
        assert!(accounts.inquiries[0].again && matches!(accounts.outcome("w"), Outcome::Open));
        accounts.inquiries[0].outcome = Some(Ok(()));
        accounts.inquire("w");
        assert!(matches!(accounts.outcome("w"), Outcome::Open), "the last one counts");
    }
}
