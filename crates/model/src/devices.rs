//! Everything that can happen next: what honest devices do, and what the adversary does.

use std::collections::HashMap;
use std::rc::Rc;

use crate::log::{AccountEvent, Accounts, Current, Log};
use crate::rules::{Rule, Rules};
use crate::scenes::Scene;
use crate::terms::{Body, Device, Entry, EntryId, FALSE_GENERATION, ListId, Named, Secret, Terms, WALLETS, Wallet};

/// Honest devices of a scene at most.
pub const ACTORS_MAX: usize = 4;

/// A state of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// Every entry that was ever sent, in the order of their numbers. The adversary has all.
    pub sent: ListId,
    /// What each honest device was shown.
    pub shown: [ListId; ACTORS_MAX],
    /// What each has made last.
    pub last: [Option<EntryId>; ACTORS_MAX],
    /// How far each has seen the account log of each wallet.
    pub heads: [[u8; 3]; ACTORS_MAX],
    /// How long the log of the original was when the copy was made.
    pub copied_at: Option<u8>,
    /// The account logs.
    pub accounts: Accounts,
}

/// What was made of logs before: many states have the same.
pub type ReadLogs = HashMap<(ListId, Accounts), Rc<Log>>;

/// A state with what is made of it.
pub struct World<'a> {
    /// The state.
    pub state: State,
    /// The scene.
    pub scene: &'a Scene,
    /// The rules.
    pub rules: Rules,
    /// The terms of this search.
    pub terms: &'a Terms,
    /// What each honest device makes of what it was shown.
    pub logs: Vec<Rc<Log>>,
    /// Every entry that was ever sent.
    pub sent: Vec<(EntryId, Entry)>,
    /// The secrets that the adversary has.
    pub stolen: Vec<Secret>,
}

/// What comes first.
pub fn first(scene: &Scene) -> State {
    let accounts = Accounts { events: [None; 2], has_b: !scene.is_first_contact };
    let heads = [[1, accounts.end(Wallet::B), 1]; ACTORS_MAX];
    State { sent: 0, shown: [0; ACTORS_MAX], last: [None; ACTORS_MAX], heads, copied_at: None, accounts }
}

impl<'a> World<'a> {
    /// What a state is.
    pub fn new(state: State, scene: &'a Scene, rules: Rules, terms: &'a Terms, read: &mut ReadLogs) -> World<'a> {
        let mut log = |shown: ListId| {
            let make = || Rc::new(Log::read(&terms.list(shown), scene, rules, &state.accounts, terms));
            read.entry((shown, state.accounts)).or_insert_with(make).clone()
        };
        let logs = state.shown[..scene.actors.len()].iter().map(|shown| log(*shown)).collect();
        let sent: Vec<(EntryId, Entry)> = terms.list(state.sent).iter().map(|id| (*id, terms.entry(*id))).collect();
        let stolen = vec![Secret::Adversary(0), Secret::Adversary(1)];
        let mut world = World { state, scene, rules, terms, logs, sent, stolen };
        for place in 0..world.sent.len() {
            match world.sent[place].1.body {
                Body::Epoch { members, .. } => {
                    for (wallet, named) in WALLETS.into_iter().zip(members) {
                        world
                            .stolen
                            .extend(named.filter(|named| world.adversary_opens(wallet, named.generation)).and_then(|named| named.sealed));
                    }
                }
                Body::Reseal { to, generation, secret, .. } if world.adversary_opens(to, generation) => world.stolen.push(secret),
                _ => {}
            }
        }
        world
    }

    /// What a device was shown.
    pub fn shown(&self, index: usize) -> Rc<[EntryId]> {
        self.terms.list(self.state.shown[index])
    }

    fn adversary_opens(&self, wallet: Wallet, generation: u8) -> bool {
        wallet == Wallet::M || generation == FALSE_GENERATION || self.scene.is_stolen && wallet == Wallet::A && generation == 1
    }

    /// Whether the adversary has a secret, or one that it is made of.
    pub fn adversary_has(&self, secret: Secret) -> bool {
        let is_made_of = |known: &Secret| match (*known, secret) {
            (Secret::Fresh(by, number), Secret::Derived(base, of, _)) => (by, number) == (base, of),
            (Secret::Derived(by, number, depth), Secret::Derived(base, of, deeper)) => (by, number) == (base, of) && depth <= deeper,
            (Secret::Adversary(number), Secret::Derived(u8::MAX, of, _)) => number == of,
            (known, secret) => known == secret,
        };
        self.stolen.iter().any(is_made_of)
    }

    /// Whether a device is there: a copy is none until it is made.
    pub fn is_there(&self, index: usize) -> bool {
        !self.scene.actors[index].is_copy || self.state.copied_at.is_some()
    }

    /// Whether a device waits for an entry of its own, which would still count. One that would not is made anew.
    pub fn waits(&self, index: usize) -> bool {
        let Some(last) = self.state.last[index].filter(|last| !self.shown(index).contains(last)) else { return false };
        let (entry, log) = (self.terms.entry(last), &self.logs[index]);
        let is_current = match entry.body {
            // It was encrypted for another transcript where the number is the same only by a lie.
            Body::Text { key_of, .. } => log.current.is_some_and(|epoch| epoch.transcript == key_of),
            _ => true,
        };
        is_current && log.next(entry.by) == (entry.counter, entry.previous) && log.counts(&entry, self.rules, &self.state.accounts)
    }

    /// A device that is shown an entry under its key that it did not make takes another key, and is silent here.
    fn is_silent(&self, index: usize) -> bool {
        let actor = &self.scene.actors[index];
        let from = if actor.is_copy { self.state.copied_at.unwrap_or(0) } else { 0 };
        self.shown(index)[usize::from(from)..].iter().any(|id| {
            let entry = self.terms.entry(*id);
            entry.by == actor.key && entry.made_by != Some(index as u8)
        })
    }

    /// The secret of the epoch at the end of a device's log.
    pub fn current_secret(&self, index: usize) -> Option<(Current, Secret)> {
        let log = &self.logs[index];
        let current = log.current?;
        log.secret(&current, self.scene.actors[index].key.wallet(), self.rules).map(|secret| (current, secret))
    }

    /// Secrets that a device holds and others have none of: the epoch, the wallet.
    pub fn owed(&self, index: usize) -> Vec<(Current, Wallet)> {
        let (log, own) = (&self.logs[index], self.scene.actors[index].key.wallet());
        let mut owed = Vec::new();
        for epoch in log.epochs.iter().filter(|epoch| log.secret(epoch, own, self.rules).is_some()) {
            for wallet in WALLETS.into_iter().filter(|wallet| *wallet != own) {
                let was_member = epoch.members[wallet as usize].is_some();
                let has_none = epoch.members[wallet as usize].is_none_or(|named| named.sealed.is_none()) || self.asks(epoch, wallet);
                let is_done = log.reseals.iter().any(|(id, to, _, secret)| *id == epoch.id && *to == wallet && *secret == epoch.tag);
                if (was_member || !self.rules.has(Rule::ResealToMembers)) && has_none && !is_done {
                    owed.push((*epoch, wallet));
                }
            }
        }
        owed
    }

    /// Whether an honest device of a wallet has an epoch that it cannot open.
    fn asks(&self, epoch: &Current, wallet: Wallet) -> bool {
        self.logs.iter().zip(self.scene.actors).any(|(log, actor)| {
            let knows = log.epochs.iter().any(|known| known.id == epoch.id);
            actor.key.wallet() == wallet && knows && log.secret(epoch, wallet, self.rules).is_none()
        })
    }

    /// What of a wallet's account a device would name.
    fn named(&self, index: usize, wallet: Wallet) -> (u8, u8) {
        let head = self.state.heads[index][wallet as usize].max(self.logs[index].head(wallet));
        (head, self.state.accounts.generation(wallet, head))
    }

    /// Whether an epoch names less than a device knows.
    pub fn is_old(&self, index: usize, epoch: &Current) -> bool {
        WALLETS.into_iter().any(|wallet| epoch.members[wallet as usize].is_some_and(|named| named.head < self.named(index, wallet).0))
    }

    fn epochs_made(&self, index: usize) -> usize {
        let is_its = |(_, entry): &&(EntryId, Entry)| entry.made_by == Some(index as u8) && matches!(entry.body, Body::Epoch { .. });
        self.sent.iter().filter(is_its).count()
    }

    /// All states that may come next.
    pub fn next(&self) -> Vec<State> {
        let mut next = Vec::new();
        for index in (0..self.scene.actors.len()).filter(|index| self.is_there(*index)) {
            self.honest(index, &mut next);
            self.show(index, &mut next);
        }
        self.copy(&mut next);
        self.account(&mut next);
        self.lie(&mut next);
        next
    }

    fn send(&self, index: usize, body: Body, next: &mut Vec<State>) {
        let by = self.scene.actors[index].key;
        let (counter, previous) = self.logs[index].next(by);
        let id = self.terms.number(Entry { by, counter, previous, body, made_by: Some(index as u8) });
        let mut state = self.with_sent(id);
        state.last[index] = Some(id);
        next.push(state);
    }

    fn with_sent(&self, id: EntryId) -> State {
        let mut sent = self.terms.list(self.state.sent).to_vec();
        if let Err(place) = sent.binary_search(&id) {
            sent.insert(place, id);
        }
        State { sent: self.terms.list_number(&sent), ..self.state }
    }

    /// What an honest device does.
    fn honest(&self, index: usize, next: &mut Vec<State>) {
        let (actor, log) = (&self.scene.actors[index], &self.logs[index]);
        let own = actor.key.wallet();
        if self.waits(index) || self.is_silent(index) || !log.members[own as usize] || self.state.heads[index][own as usize] == 0 {
            return;
        }
        let secret = self.current_secret(index);
        let needs_epoch = secret.is_none_or(|(epoch, _)| self.is_old(index, &epoch));
        if needs_epoch && log.number < self.scene.epochs && self.epochs_made(index) < usize::from(actor.epochs) {
            self.send(index, self.epoch(index), next);
        }
        if index == 0 && self.scene.removes_member && log.members[Wallet::M as usize] {
            self.send(index, Body::RemoveMember, next);
        }
        let Some((epoch, secret)) = secret else { return };
        if !epoch.members[own as usize].is_some_and(|named| self.state.accounts.lists(actor.key, named.head)) {
            return;
        }
        if self.rules.has(Rule::ResealOwed) {
            for (earlier, to) in self.owed(index) {
                let (_, generation) = self.named(index, to);
                if let Some(secret) = log.secret(&earlier, own, self.rules).filter(|_| generation > 0) {
                    self.send(index, Body::Reseal { to, generation, epoch: earlier.id, secret }, next);
                }
            }
        }
        let which = log.texts.iter().filter(|text| text.entry.made_by == Some(index as u8)).count();
        if let Some(content) = actor.texts.get(which).filter(|_| !self.rules.has(Rule::EpochBeforeWriting) || !needs_epoch) {
            let knows_removal = self.state.accounts.was_removed(self.state.heads[index][Wallet::A as usize]);
            let body = Body::Text {
                secret,
                key_of: epoch.transcript,
                number: log.number,
                content: *content,
                which: which as u8,
                is_private: !log.members[Wallet::M as usize] && (!self.scene.is_stolen || knows_removal),
                written_after: log.transcript,
            };
            self.send(index, body, next);
        }
    }

    fn epoch(&self, index: usize) -> Body {
        let log = &self.logs[index];
        let fresh = Secret::Fresh(index as u8, self.epochs_made(index) as u8);
        let own = self.scene.actors[index].key.wallet();
        let earlier = log.epochs.last().and_then(|epoch| log.secret(epoch, own, self.rules)).filter(|_| !self.rules.has(Rule::FreshSecret));
        let tag = match earlier {
            None => fresh,
            Some(Secret::Fresh(by, number)) => Secret::Derived(by, number, 1),
            Some(Secret::Derived(by, number, depth)) => Secret::Derived(by, number, depth + 1),
            Some(Secret::Adversary(number)) => Secret::Derived(u8::MAX, number, 1),
        };
        let members = WALLETS.map(|wallet| {
            let (head, generation) = self.named(index, wallet);
            log.members[wallet as usize].then_some(Named { head, generation, sealed: (generation > 0).then_some(tag) })
        });
        Body::Epoch { after: log.transcript, number: log.number + 1, members, tag }
    }

    /// The adversary shows a device one more entry, or more of an account log.
    fn show(&self, index: usize, next: &mut Vec<State>) {
        for (id, _) in self.sent.iter().filter(|(_, entry)| self.may_be_shown(index, entry)) {
            let mut state = self.state;
            state.shown[index] = self.terms.longer(state.shown[index], *id);
            next.push(state);
        }
        for wallet in WALLETS {
            let known = self.state.heads[index][wallet as usize];
            let is_b = wallet == Wallet::B && known == 0;
            let mut told = Vec::new();
            told.extend((known < self.state.accounts.end(wallet)).then_some(known + 1));
            told.extend((is_b && !self.rules.has(Rule::CertifiedAccounts)).then_some(FALSE_GENERATION));
            for head in told {
                let mut state = self.state;
                state.heads[index][wallet as usize] = head;
                next.push(state);
            }
        }
    }

    /// Whether a device takes an entry as its next one.
    fn may_be_shown(&self, index: usize, entry: &Entry) -> bool {
        let heads = self.state.heads[index];
        let is_next = self.logs[index].next(entry.by) == (entry.counter, entry.previous);
        // Who lacks an account log up to where an epoch names it waits.
        let is_known = match entry.body {
            Body::Epoch { members, .. } => (0..3).all(|wallet| members[wallet].is_none_or(|named| named.head <= heads[wallet])),
            _ => true,
        };
        self.shown(index).len() < self.scene.actors[index].entries && is_known && (is_next || !self.rules.has(Rule::Chain))
    }

    /// Somebody copies the profile of a device that waits for nothing.
    fn copy(&self, next: &mut Vec<State>) {
        let Some(copy) = self.scene.actors.iter().position(|actor| actor.is_copy).filter(|_| self.state.copied_at.is_none()) else {
            return;
        };
        let is_original = |actor: &crate::scenes::Actor| actor.key == self.scene.actors[copy].key;
        let Some(original) = self.scene.actors.iter().position(is_original).filter(|original| !self.waits(*original)) else { return };
        let mut state = self.state;
        state.shown[copy] = state.shown[original];
        state.heads[copy] = state.heads[original];
        state.copied_at = Some(self.shown(original).len() as u8);
        next.push(state);
    }

    /// What happens to accounts: A1 removes A2, B comes, a removed device tries to come again.
    fn account(&self, next: &mut Vec<State>) {
        let accounts = &self.state.accounts;
        let mut push = |event: AccountEvent, is_known: bool| {
            let mut state = self.state;
            let free = state.accounts.events.iter().position(Option::is_none).expect("two events at most");
            state.accounts.events[free] = Some(event);
            if is_known {
                state.heads[0][Wallet::A as usize] = state.accounts.end(Wallet::A);
            }
            next.push(state);
        };
        if self.scene.removes_device {
            match accounts.events {
                [None, _] if self.rules.has(Rule::RemovalWithGeneration) => push(AccountEvent::RemovedWithGeneration, true),
                [None, _] => push(AccountEvent::Removed, true),
                [Some(AccountEvent::Removed), None] => push(AccountEvent::Generation, true),
                [Some(AccountEvent::RemovedWithGeneration), None] if !self.rules.has(Rule::NeverAgain) => {
                    push(AccountEvent::ListedAgain, false)
                }
                _ => {}
            }
        }
        if !accounts.has_b {
            let mut state = self.state;
            state.accounts.has_b = true;
            for (actor, heads) in self.scene.actors.iter().zip(&mut state.heads) {
                if actor.key.wallet() == Wallet::B {
                    heads[Wallet::B as usize] = 1;
                }
            }
            next.push(state);
        }
    }

    /// What the adversary makes itself.
    fn lie(&self, next: &mut Vec<State>) {
        let lies = self.sent.iter().map(|(_, entry)| *entry).filter(|entry| entry.made_by.is_none());
        let (epochs, texts): (Vec<Entry>, Vec<Entry>) = lies.partition(|entry| matches!(entry.body, Body::Epoch { .. }));
        let mut bodies: Vec<(usize, Device, Body)> = Vec::new();
        for index in 0..self.logs.len() {
            if epochs.len() < self.scene.adversary.0 {
                self.false_epochs(index, &mut bodies);
            }
            if texts.len() < self.scene.adversary.1 {
                self.false_texts(index, &mut bodies);
            }
        }
        for (index, by, body) in bodies {
            let (counter, previous) = self.logs[index].next(by);
            let entry = Entry { by, counter, previous, body, made_by: None };
            // What it shows to nobody changes nothing.
            if self.may_be_shown(index, &entry) {
                let id = self.terms.number(entry);
                let mut state = self.with_sent(id);
                state.shown[index] = self.terms.longer(state.shown[index], id);
                next.push(state);
            }
        }
    }

    /// Epochs by M: with each head of A that there is, with one secret for all, or with another for B.
    fn false_epochs(&self, index: usize, bodies: &mut Vec<(usize, Device, Body)>) {
        let (log, accounts) = (&self.logs[index], &self.state.accounts);
        if !log.members[Wallet::M as usize] || log.number >= self.scene.epochs {
            return;
        }
        for head_of_a in 1..=accounts.end(Wallet::A) {
            for for_b in [0, 1] {
                let members = WALLETS.map(|wallet| {
                    let head = if wallet == Wallet::A { head_of_a } else { accounts.end(wallet) };
                    let sealed = Some(Secret::Adversary(if wallet == Wallet::B { for_b } else { 0 }));
                    log.members[wallet as usize].then_some(Named { head, generation: accounts.generation(wallet, head), sealed })
                });
                let tag = Secret::Adversary(0);
                bodies.push((index, Device::M1, Body::Epoch { after: log.transcript, number: log.number + 1, members, tag }));
            }
        }
    }

    /// Texts of the stolen device; and, where nobody looks at signatures, of any.
    fn false_texts(&self, index: usize, bodies: &mut Vec<(usize, Device, Body)>) {
        let log = &self.logs[index];
        let mut authors = Vec::new();
        authors.extend(self.scene.is_stolen.then_some(Device::A2));
        authors.extend((!self.rules.has(Rule::Signatures)).then_some([Device::A1, Device::B1]).into_iter().flatten());
        for by in authors {
            for (number, epoch) in (1..).zip(&log.epochs).filter(|(_, epoch)| self.adversary_has(epoch.tag)) {
                let body = Body::Text {
                    secret: epoch.tag,
                    key_of: epoch.transcript,
                    number,
                    content: 0,
                    which: 0,
                    is_private: false,
                    written_after: epoch.transcript,
                };
                bodies.push((index, by, body));
            }
        }
    }
}
