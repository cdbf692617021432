//! What a reader makes of the log that it is shown, and of account logs: what counts, by the rules of docs/encryption.md.

use crate::rules::{Rule, Rules};
use crate::scenes::Scene;
use crate::terms::{Body, Device, Entry, EntryId, FALSE_GENERATION, Named, Secret, Terms, TranscriptId, WALLETS, Wallet};

/// What happened to A's account behind its first entry, which lists A1 and A2 and has generation 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountEvent {
    /// A2 is removed, and there is a new generation.
    RemovedWithGeneration,
    /// A2 is removed.
    Removed,
    /// A new generation.
    Generation,
    /// A2 is listed again, by its old certificate.
    ListedAgain,
}

/// The account logs of all wallets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Accounts {
    /// What happened to A's.
    pub events: [Option<AccountEvent>; 2],
    /// B was here.
    pub has_b: bool,
}

impl Accounts {
    /// Where a wallet's log ends.
    pub fn end(&self, wallet: Wallet) -> u8 {
        match wallet {
            Wallet::A => 1 + self.events.iter().flatten().count() as u8,
            Wallet::B => u8::from(self.has_b),
            Wallet::M => 1,
        }
    }

    fn events_at(&self, head: u8) -> impl DoubleEndedIterator<Item = AccountEvent> {
        self.events.into_iter().take(usize::from(head).saturating_sub(1)).flatten()
    }

    /// The newest generation at a head.
    pub fn generation(&self, wallet: Wallet, head: u8) -> u8 {
        match wallet {
            Wallet::A => {
                let is_new = |event: &AccountEvent| matches!(event, AccountEvent::RemovedWithGeneration | AccountEvent::Generation);
                1 + self.events_at(head).filter(is_new).count() as u8
            }
            _ => head,
        }
    }

    /// Whether a device is listed at a head.
    pub fn lists(&self, device: Device, head: u8) -> bool {
        if device != Device::A2 {
            return head > 0;
        }
        let is_about = |event: &AccountEvent| !matches!(event, AccountEvent::Generation);
        !matches!(self.events_at(head).rfind(is_about), Some(AccountEvent::Removed | AccountEvent::RemovedWithGeneration))
    }

    /// Whether A2 was removed somewhere up to a head.
    pub fn was_removed(&self, head: u8) -> bool {
        self.events_at(head).any(|event| matches!(event, AccountEvent::Removed | AccountEvent::RemovedWithGeneration))
    }
}

/// An epoch that counts.
#[derive(Debug, Clone, Copy)]
pub struct Current {
    /// Its entry.
    pub id: EntryId,
    /// The transcript behind it.
    pub transcript: TranscriptId,
    /// What it says of each wallet.
    pub members: [Option<Named>; 3],
    /// The secret that its tag is of.
    pub tag: Secret,
}

/// A text that counts.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// Its entry.
    pub entry: Entry,
    /// The transcript at its place.
    pub transcript: TranscriptId,
    /// The epoch at its place.
    pub epoch: Current,
    /// Who is in the session there.
    pub members: [bool; 3],
}

/// A log as far as somebody has read it.
#[derive(Debug, Clone)]
pub struct Log {
    /// The transcript at its end.
    pub transcript: TranscriptId,
    /// The number of the last epoch.
    pub number: u8,
    /// The epoch at its end; none behind an entry that changes who is in.
    pub current: Option<Current>,
    /// Who is in.
    pub members: [bool; 3],
    /// All epochs that counted.
    pub epochs: Vec<Current>,
    /// All texts that counted.
    pub texts: Vec<Counted>,
    /// Secrets that were resealed: the epoch's entry, the wallet, the generation, the secret.
    pub reseals: Vec<(EntryId, Wallet, u8, Secret)>,
    /// The counter and last entry of each device.
    chains: [(u8, Option<EntryId>); 4],
}

impl Log {
    /// What these entries make.
    pub fn read(entries: &[EntryId], scene: &Scene, rules: Rules, accounts: &Accounts, terms: &Terms) -> Log {
        let mut log = Log {
            transcript: 0,
            number: 0,
            current: None,
            members: WALLETS.map(|wallet| scene.members.contains(&wallet)),
            epochs: Vec::new(),
            texts: Vec::new(),
            reseals: Vec::new(),
            chains: [(0, None); 4],
        };
        entries.iter().for_each(|id| log.take(*id, rules, accounts, terms));
        log
    }

    /// What the next entry of a device has to name.
    pub fn next(&self, device: Device) -> (u8, Option<EntryId>) {
        let (counter, last) = self.chains[device as usize];
        (counter + 1, last)
    }

    fn take(&mut self, id: EntryId, rules: Rules, accounts: &Accounts, terms: &Terms) {
        let entry = terms.entry(id);
        let counts = self.counts(&entry, rules, accounts);
        self.chains[entry.by as usize] = (entry.counter, Some(id));
        if !counts {
            return;
        }
        match entry.body {
            Body::Epoch { members, tag, number, .. } => {
                self.transcript = terms.longer(self.transcript, id);
                self.number = number;
                self.current = Some(Current { id, transcript: self.transcript, members, tag });
                self.epochs.extend(self.current);
            }
            Body::RemoveMember => {
                self.transcript = terms.longer(self.transcript, id);
                self.members[Wallet::M as usize] = false;
                if rules.has(Rule::MembershipEndsEpoch) {
                    self.current = None;
                }
            }
            Body::Text { .. } => {
                let (transcript, members) = (self.transcript, self.members);
                self.texts.extend(self.current.map(|epoch| Counted { entry, transcript, epoch, members }));
            }
            Body::Reseal { to, generation, epoch, secret } => self.reseals.push((epoch, to, generation, secret)),
        }
    }

    /// Whether an entry would count as the next one. No secret has a part in it.
    pub fn counts(&self, entry: &Entry, rules: Rules, accounts: &Accounts) -> bool {
        let wallet = entry.by.wallet();
        if !self.members[wallet as usize] {
            return false;
        }
        match entry.body {
            Body::Epoch { after, number, members, .. } => {
                let is_good = |wallet: Wallet| {
                    let Some(named) = members[wallet as usize] else { return !self.members[wallet as usize] };
                    let is_newest = named.generation == FALSE_GENERATION || named.generation == accounts.generation(wallet, named.head);
                    let is_later = !rules.has(Rule::HeadsGrow) || named.head >= self.head(wallet);
                    self.members[wallet as usize] && is_newest && is_later
                };
                let is_listed = members[wallet as usize].is_some_and(|named| accounts.lists(entry.by, named.head));
                let is_next = !rules.has(Rule::Transcript) || after == self.transcript;
                number == self.number + 1 && is_next && WALLETS.into_iter().all(is_good) && (is_listed || !rules.has(Rule::Listed))
            }
            Body::RemoveMember => wallet == Wallet::A && self.members[Wallet::M as usize],
            Body::Text { .. } | Body::Reseal { .. } => {
                let Some(epoch) = self.current else { return false };
                let is_listed = epoch.members[wallet as usize].is_some_and(|named| accounts.lists(entry.by, named.head));
                let is_of_this = match entry.body {
                    Body::Text { number, .. } => number == self.number || !rules.has(Rule::StrictEpochs),
                    _ => true,
                };
                let is_first = !rules.has(Rule::Names) || self.texts.iter().all(|text| text.entry.name() != entry.name());
                is_of_this && (is_listed || !rules.has(Rule::Listed)) && (is_first || matches!(entry.body, Body::Reseal { .. }))
            }
        }
    }

    /// The secret of an epoch, as the devices of a wallet have it from this log.
    pub fn secret(&self, epoch: &Current, wallet: Wallet, rules: Rules) -> Option<Secret> {
        let sealed = epoch.members[wallet as usize].filter(|named| named.generation != FALSE_GENERATION).and_then(|named| named.sealed);
        let resealed = self.reseals.iter().filter(|(id, to, _, _)| *id == epoch.id && *to == wallet).map(|(_, _, _, secret)| *secret);
        sealed.into_iter().chain(resealed).find(|secret| *secret == epoch.tag || !rules.has(Rule::Tag))
    }

    /// Whether the devices of a wallet read a text that counts.
    pub fn opens(&self, text: &Counted, wallet: Wallet, rules: Rules) -> bool {
        let Body::Text { secret, key_of, .. } = text.entry.body else { return false };
        let has_key = |epoch: &Current| {
            let is_its = epoch.id == text.epoch.id || !rules.has(Rule::StrictEpochs);
            let is_of_transcript = key_of == epoch.transcript || !rules.has(Rule::Transcript);
            is_its && is_of_transcript && self.secret(epoch, wallet, rules) == Some(secret)
        };
        self.epochs.iter().any(has_key)
    }

    /// The account head that the last epoch which named a wallet named of it.
    pub fn head(&self, wallet: Wallet) -> u8 {
        self.epochs.iter().rev().find_map(|epoch| epoch.members[wallet as usize]).map_or(0, |named| named.head)
    }
}
