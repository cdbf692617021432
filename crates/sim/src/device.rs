//! A device: a browser profile with its database, and the tabs that own it or did, with their sockets and timers. The
//! machine in every tab is the real one. What its user sees as a tab is a [`Page`](crate::page::Page); what is called a tab
//! here lives in one as long as that owns the database.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use solconnect_sync_core::client::{Action, CallKey, Client, ClientConfig, Commit, Event, Input, OutboxRecord, Reply, SpareRecord, Write};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Encoding, Payload};
use solconnect_sync_core::ids::SessionId;
use solconnect_sync_core::tab;
use solconnect_sync_core::time::Now;

use crate::adversaries::Garbage;
use crate::checker::{Loss, Mark};
use crate::client_disk::ClientDisk;
use crate::faults::Fault;
use crate::ledger::number_of;
use crate::lines::{brief, describe, writes};
use crate::list::{Lists, Update};
use crate::network::{ConnectionId, Parcel, Peer, Side};
use crate::page::{About, Body, Shared};
use crate::signers::SignIn;
use crate::world::{Happening, PageId, ProfileId, TabId, WALL_MS, World};

/// Every so many milliseconds the timers of a hidden tab run.
const SLOW_TIMER_MS: u64 = 60_000;

/// How long a person waits before the wallet is asked again.
const SIGN_AGAIN_MS: u64 = 1_000;
/// How long what is stored waits for its copy.
const COPY_WAIT_MS: u64 = 20;

/// A browser profile.
pub struct Profile {
    /// Whose it is.
    pub wallet: &'static str,
    /// The wallets that it talks with.
    pub peers: Vec<&'static str>,
    /// Its database.
    pub disk: ClientDisk,
    /// The options of its application.
    pub config: ClientConfig,
    /// The tab that claimed it last, while that lives.
    pub tab: Option<TabId>,
    /// What its pages share.
    pub shared: Shared,
    /// By how many milliseconds its wall clock is wrong.
    pub skew_ms: i64,
    /// The application wants to be offline.
    pub offline: bool,
    /// A page is about to open.
    pub opening: bool,
    /// Its user begins no session: it has those that others begin with it, and that it accepts.
    pub shy: bool,
    /// It is a copy that somebody has stolen, who has not the wallet.
    pub is_stolen: bool,
    /// How it signs what it writes, where it keeps no rules.
    pub garbage: Option<Garbage>,
    /// The tab that has in memory what was in the database that was deleted.
    pub remembered_by: Option<TabId>,
    /// The unsent messages of those that it has.
    remembered: Vec<Entry>,
    /// So many attempts to make that anew will fail.
    refusals: u32,
    /// The second copy of its outbox, which is kept elsewhere.
    spare: BTreeMap<(SessionId, u64), SpareRecord>,
}

/// A tab.
pub struct Tab {
    /// Over which profile.
    pub profile: ProfileId,
    /// In which page.
    pub page: PageId,
    /// The real machine.
    pub client: Client,
    /// The calls that it has, by their requests: whose they are and their numbers there.
    runs: BTreeMap<u64, (PageId, u64)>,
    /// Its page has given it up: what becomes of its last commit is heard, and nothing else.
    is_abandoned: bool,
    link: Option<(ConnectionId, u64)>,
    timer_ms: Option<u64>,
    /// What came while it was frozen.
    frozen: Option<VecDeque<Input>>,
    slow_timers: bool,
    /// Where its monotonic clock begins.
    origin_ms: u64,
    commit_waits: bool,
    /// What is stored of which it has not heard.
    stored: Option<Rc<Commit>>,
    /// What it has stored and not copied.
    uncopied: Vec<Rc<Commit>>,
    claim: u64,
    /// What its application keeps of its sessions.
    pub lists: Lists,
}

impl World {
    /// A new profile, and its first tab soon.
    pub fn add_profile(&mut self, wallet: &'static str, peers: Vec<&'static str>, config: ClientConfig) -> ProfileId {
        self.checker.profile_made(wallet, config.conflict_resolution_strategy, None);
        let no_locks = self.ctx.strikes(Fault::NoLocks);
        self.push_profile(Profile {
            wallet,
            peers,
            disk: ClientDisk::default(),
            config,
            tab: None,
            shared: Shared::new(no_locks),
            skew_ms: 0,
            offline: false,
            opening: false,
            shy: false,
            is_stolen: false,
            garbage: None,
            remembered_by: None,
            remembered: Vec::new(),
            refusals: 0,
            spare: BTreeMap::new(),
        })
    }

    /// A copy of a profile, as it is on the disk now (F41).
    pub fn copy_profile(&mut self, source: ProfileId) -> ProfileId {
        let no_locks = self.ctx.strikes(Fault::NoLocks);
        let Profile { wallet, ref peers, ref disk, ref config, shy, ref spare, .. } = self.profiles[source];
        let copy = Profile {
            wallet,
            peers: peers.clone(),
            disk: disk.clone(),
            config: config.clone(),
            tab: None,
            shared: Shared::new(no_locks),
            skew_ms: 0,
            offline: false,
            opening: false,
            shy,
            is_stolen: false,
            garbage: None,
            remembered_by: None,
            remembered: Vec::new(),
            refusals: 0,
            spare: spare.clone(),
        };
        self.checker.profile_made(wallet, copy.config.conflict_resolution_strategy, Some(source));
        self.checker.wait_elsewhere(self.kept(source).keys());
        self.push_profile(copy)
    }

    fn push_profile(&mut self, profile: Profile) -> ProfileId {
        self.profiles.push(profile);
        let profile = self.profiles.len() - 1;
        self.open_soon(profile);
        profile
    }

    /// The application is started, where it is not.
    pub fn open_soon(&mut self, profile: ProfileId) {
        if self.pages_of(profile).is_empty() && !std::mem::replace(&mut self.profiles[profile].opening, true) {
            let wait_ms = self.ctx.random.u64(0..50);
            self.ctx.agenda.after(wait_ms, Happening::OpenPage(profile));
        }
    }

    /// The database of a profile is claimed: what older tabs have on its way there goes first.
    fn before_claim(&mut self, profile: ProfileId) {
        let older: Vec<TabId> = self.tabs.iter().filter(|(_, tab)| tab.profile == profile).map(|(id, _)| *id).collect();
        let waits = self.ctx.agenda.take(|happening| matches!(happening, Happening::Commit(tab, _) if older.contains(tab)));
        for happening in waits {
            if let Happening::Commit(tab, commit) = happening {
                self.store(tab, commit);
            }
        }
        if self.profiles[profile].remembered_by.is_some() {
            self.forget_database(profile);
        }
        for tab in older {
            self.checker.lost_store(tab, &self.profiles[profile].disk, Loss::Claimed);
        }
        self.last_tab += 1;
    }

    /// It is claimed for a page that does not want it any more.
    pub fn claim_for_nobody(&mut self, profile: ProfileId, above: u64) {
        self.before_claim(profile);
        self.profiles[profile].disk.claim_above(self.last_tab, above);
        self.checker.claimed(profile, self.last_tab);
    }

    /// A page owns its profile: a machine claims the database.
    pub fn open_tab(&mut self, page: PageId, above: u64) {
        let Some(profile) = self.pages.get(&page).map(|page| page.profile) else { return };
        self.before_claim(profile);
        let id = self.last_tab;
        let seed = self.ctx.random.u64(..);
        let origin_ms = self.ctx.random.u64(0..1_000_000_000);
        let slow_timers = self.ctx.strikes(Fault::SlowTimers);
        let Profile { disk, spare, .. } = &mut self.profiles[profile];
        disk.claim_above(id, above);
        let claim = disk.last_claim();
        let mut snapshot = disk.snapshot();
        let (is_new, outbox) = (snapshot.device.is_none(), snapshot.outbox.clone());
        if is_new {
            snapshot.spare = spare.values().cloned().collect();
        }
        snapshot.entropy = self.sign_in.entropy(&mut self.ctx.random);
        let config = self.sign_in.config(self.profiles[profile].config.clone());
        let client = self.encrypting(self.profiles[profile].wallet, config, |config| Client::new(config, snapshot, seed));
        let Profile { wallet, peers, offline, shy, tab, spare, remembered_by, remembered, .. } = &mut self.profiles[profile];
        if !is_new {
            // It may be behind, or of another life.
            spare.clear();
            outbox.iter().for_each(|record| copy_record(spare, &client, record));
        }
        if client.is_rebuilding() {
            *remembered_by = Some(id);
            *remembered = spare.values().flat_map(|record| record.outbox.entries.clone()).collect();
        }
        let (wallet, peers, offline) = (*wallet, if *shy { Vec::new() } else { peers.clone() }, *offline);
        *tab = Some(id);
        let is_copied = client.is_rebuilding();
        self.checker.tab_started(id, profile, &self.profiles[profile].disk, client.sync_status(), &client.stored_sessions(), is_copied);
        self.ctx.line(|| format!("tab {id} opens profile {profile} in page {page} with claim {claim}, device {}", client.device_id()));
        let lists = Lists::read(&client, self.profiles[profile].disk.state());
        let tab = Tab {
            profile,
            page,
            client,
            runs: BTreeMap::new(),
            is_abandoned: false,
            link: None,
            timer_ms: None,
            frozen: None,
            slow_timers,
            origin_ms,
            commit_waits: false,
            stored: None,
            uncopied: Vec::new(),
            claim,
            lists,
        };
        self.tabs.insert(id, tab);
        let is_frozen = self.page_claimed(page, id);
        self.ctx.agenda.after(0, Happening::Page(page, About::Engine(id), tab::Input::Started { claim }));
        if is_frozen {
            self.freeze_tab(id);
        }
        if offline {
            self.feed(id, Input::SetOffline { offline });
        }
        self.feed(id, Input::Observe { observed: true });
        self.engine_call(id, |request| Input::ConnectWallet { request, wallet: wallet.into() });
        self.sign(id);
        for peer in peers {
            self.engine_call(id, |request| Input::OpenSession { request, peer_wallet: peer.into() });
        }
    }

    /// Its page gives a tab up at once. A commit that is under way may be aborted, and else is stored, which is heard later.
    pub fn abandon(&mut self, id: TabId) {
        let waits = self.ctx.agenda.take_timed(|happening| matches!(happening, Happening::Commit(tab, _) if *tab == id));
        let aborts = !waits.is_empty() && self.ctx.random.bool();
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        tab.is_abandoned = true;
        let (profile, link, knows) = (tab.profile, tab.link.take(), !tab.commit_waits || aborts);
        self.ctx.line(|| format!("tab {id} is given up"));
        if !aborts {
            waits.into_iter().for_each(|(at_ms, commit)| self.ctx.agenda.at(at_ms, commit));
        }
        if let Some((connection, _)) = link {
            self.network.end(&mut self.ctx, connection, Side::Relay, "1000");
            self.network.end(&mut self.ctx, connection, Side::Peer, "1000");
        }
        if self.profiles[profile].tab == Some(id) {
            self.profiles[profile].tab = None;
        }
        self.checker.tab_abandoned(id);
        if knows {
            self.forget_tab(id);
        }
    }

    /// What is known of an abandoned tab is known: what it has not answered it has not done.
    fn forget_tab(&mut self, id: TabId) {
        let Some(tab) = self.tabs.remove(&id) else { return };
        self.checker.tab_ended(id);
        self.forget_with(tab.profile, id);
        for (from, call) in tab.runs.into_values() {
            self.ran(tab.page, from, call, None);
        }
    }

    /// A tab is given a call of a page.
    pub fn run_call(&mut self, id: TabId, run: (PageId, u64), key: Option<CallKey>, mut input: Input) {
        let Some(profile) = self.profile_of(id) else { return };
        self.last_request += 1;
        request_of(&mut input).into_iter().for_each(|request| *request = self.last_request);
        if let Some(tab) = self.tabs.get_mut(&id) {
            tab.runs.insert(self.last_request, run);
        }
        self.checker.runs(id, &input, &self.profiles[profile].disk);
        let input = match key {
            Some(key) => Input::Keyed { key, call: Box::new(input) },
            None => input,
        };
        self.feed(id, input);
    }

    /// A tab is killed: what was under way to the disk is stored or not.
    pub fn kill_tab(&mut self, id: TabId) {
        let waits = self.ctx.agenda.take(|happening| matches!(happening, Happening::Commit(tab, _) if *tab == id));
        for happening in waits {
            if let Happening::Commit(tab, commit) = happening
                && self.ctx.random.bool()
            {
                self.store(tab, commit);
            }
        }
        let Some(tab) = self.tabs.remove(&id) else { return };
        self.ctx.line(|| format!("tab {id} of profile {} ends", tab.profile));
        if let Some((connection, _)) = tab.link {
            self.network.vanish(&mut self.ctx, connection, Side::Peer);
        }
        self.checker.tab_ended(id);
        self.forget_with(tab.profile, id);
        let current = &mut self.profiles[tab.profile].tab;
        if *current == Some(id) {
            *current = None;
        }
    }

    /// All pages of a profile end.
    pub fn close_profile(&mut self, profile: ProfileId) {
        for page in self.pages_of(profile) {
            self.kill_page(page);
        }
    }

    /// The machine of a device goes down: relaxed commits may be lost (F33).
    pub fn cut_power(&mut self, profile: ProfileId) {
        self.close_profile(profile);
        let disk = &mut self.profiles[profile].disk;
        let left = self.ctx.random.usize(disk.synced()..=disk.commits());
        if left < disk.commits() {
            self.ctx.faults.count(Fault::RelaxedLost);
        }
        self.ctx.trace.line(self.ctx.agenda.now_ms(), || format!("power cut at profile {profile}: {left} of {} commits", disk.commits()));
        disk.go_back(left);
        self.checker.power_cut(profile, &self.kept(profile));
    }

    /// An older state of a profile is put back (F42), or nothing at all (F31).
    pub fn set_profile_back(&mut self, profile: ProfileId, left: usize) {
        self.close_profile(profile);
        let disk = &mut self.profiles[profile].disk;
        disk.go_back(left);
        self.ctx.trace.line(self.ctx.agenda.now_ms(), || format!("profile {profile} goes back to commit {left}"));
        self.lose_copy(profile);
        self.checker.profile_set_back(profile, &self.kept(profile));
    }

    /// What kept a profile's database from being found may have met the second copy of its outbox too.
    fn lose_copy(&mut self, profile: ProfileId) {
        if self.ctx.random.u8(0..4) == 0 {
            self.profiles[profile].spare.clear();
        }
    }

    /// The numbers of the unsent messages that a profile begins with when it is opened next.
    fn kept(&self, profile: ProfileId) -> BTreeMap<u64, bool> {
        let Profile { disk, spare, .. } = &self.profiles[profile];
        if disk.state().records.device.is_some() {
            return disk.unsent().clone();
        }
        let entries = spare.values().flat_map(|record| &record.outbox.entries);
        entries.filter_map(|entry| number_of(&entry.message.ciphertext)).map(|number| (number, true)).collect()
    }

    /// The database of a profile is deleted while its tabs run (F32). The one that owned it has all but the log in memory, and
    /// makes it anew.
    pub fn delete_database(&mut self, profile: ProfileId) {
        let owner = self.profiles[profile].remembered_by.unwrap_or(self.profiles[profile].disk.owner());
        let remembers = |id: &TabId| self.tabs.get(id).is_some_and(|tab| tab.profile == profile && !tab.is_abandoned);
        let owner = Some(owner).filter(remembers);
        let tabs: Vec<TabId> = self.tabs.iter().filter(|(_, tab)| tab.profile == profile).map(|(id, _)| *id).collect();
        for tab in tabs {
            let loss = if owner == Some(tab) { Loss::Remembered } else { Loss::Deleted };
            self.checker.lost_store(tab, &self.profiles[profile].disk, loss);
        }
        self.ctx.line(|| format!("the database of profile {profile} is deleted"));
        let Profile { disk, remembered_by, remembered, .. } = &mut self.profiles[profile];
        if remembered_by.is_none() {
            let state = disk.state();
            *remembered = state.records.sessions.keys().flat_map(|id| state.unsent(id)).cloned().collect();
        }
        disk.delete();
        self.lose_copy(profile);
        self.profiles[profile].remembered_by = owner;
        if self.ctx.strikes(Fault::NotMadeAnew) {
            self.profiles[profile].refusals = self.ctx.random.u32(1..=8);
        }
        if owner.is_none() {
            self.forget_database(profile);
        }
        if self.ctx.random.bool() {
            self.tell_of_loss(profile);
        }
    }

    /// A tab is gone: what it alone had in memory is gone with it.
    fn forget_with(&mut self, profile: ProfileId, tab: TabId) {
        if self.profiles[profile].remembered_by == Some(tab) {
            self.forget_database(profile);
        }
    }

    /// What was in a database that was deleted is in no memory either.
    fn forget_database(&mut self, profile: ProfileId) {
        self.profiles[profile].remembered_by = None;
        for page in self.pages_of(profile) {
            self.checker.forgot(&self.pages[&page].calls);
        }
        self.checker.profile_set_back(profile, &self.kept(profile));
    }

    /// What a tab has stored is copied soon.
    fn wait_for_copy(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let Some(commit) = tab.stored.take() else { return };
        tab.uncopied.push(commit);
        if tab.uncopied.len() == 1 {
            self.ctx.agenda.after(COPY_WAIT_MS, Happening::Copy(id));
        }
    }

    /// The second copy of the outbox follows what a tab has stored.
    pub fn copy_outbox(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        if tab.frozen.is_some() {
            return self.ctx.agenda.after(1_000, Happening::Copy(id));
        }
        let commits = std::mem::take(&mut tab.uncopied);
        let spare = &mut self.profiles[tab.profile].spare;
        for commit in commits {
            if commit.writes.iter().any(|write| matches!(write, Write::Device(_))) {
                spare.clear();
            }
            for write in &commit.writes {
                match write {
                    Write::Outbox(record) => copy_record(spare, &tab.client, record),
                    Write::DeleteOutbox { session_id, first, last } => {
                        spare.retain(|(id, place), _| id != session_id || !(first..=last).contains(&place));
                    }
                    _ => {}
                }
            }
        }
    }

    /// The browser tells those whose database is gone, or another's.
    pub fn tell_of_loss(&mut self, profile: ProfileId) {
        let tabs = self.tabs.iter().filter(|(_, tab)| tab.profile == profile && !tab.is_abandoned);
        let tabs: Vec<TabId> = tabs.map(|(id, _)| *id).collect();
        for id in tabs {
            let error = SyncError::new(ErrorCode::StorageLost, "the database is gone");
            // By then it has heard of commits that were stored before.
            let wait_ms = self.ctx.random.u64(5..5_000);
            self.ctx.agenda.after(wait_ms, Happening::Tab(id, Input::StoreClosed { error }));
        }
    }

    /// The application of the page makes a call at the start of its machine.
    pub fn engine_call(&mut self, tab: TabId, input: impl FnOnce(u64) -> Input) {
        let Some(profile) = self.profile_of(tab) else { return };
        self.last_request += 1;
        let input = input(self.last_request);
        self.checker.called(tab, &input, &self.profiles[profile].disk);
        self.feed(tab, input);
    }

    pub(crate) fn tab_now(&self, tab: &Tab) -> Now {
        let now_ms = self.ctx.agenda.now_ms();
        let wall_ms = (WALL_MS + now_ms).saturating_add_signed(self.profiles[tab.profile].skew_ms);
        Now { monotonic_ms: tab.origin_ms + now_ms, wall_ms }
    }

    /// The machine of a tab takes an input.
    pub fn feed(&mut self, id: TabId, mut input: Input) {
        if self.checker.violation().is_some() {
            return;
        }
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        if let Some(held) = &mut tab.frozen {
            held.push_back(input);
            return;
        }
        let now = self.tab_now(&self.tabs[&id]);
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let profile = tab.profile;
        if let Input::StoreClosed { error } = &mut input
            && self.profiles[profile].disk.lost().is_none()
        {
            // It looks whether that is so, and it is there again. Where a commit is under way, that finds out.
            if self.profiles[profile].disk.owner() == id || tab.commit_waits {
                return;
            }
            *error = SyncError::new(ErrorCode::ProfileInUse, "another tab has made the database anew");
        }
        let knows = matches!(input, Input::Persisted { .. } | Input::PersistFailed { .. });
        if tab.is_abandoned {
            if knows {
                self.hear_last(id, now, input);
            }
            return;
        }
        let call = if let Input::Keyed { call, .. } = &mut input { &mut **call } else { &mut input };
        if let Input::Send { session_id, message_id: Some(name), known, .. } = call {
            let names = &self.profiles[profile].disk.state().records.names;
            *known = names.get(&(session_id.clone(), name.clone())).cloned();
        }
        if knows {
            tab.commit_waits = false;
            self.checker.disk_is_known(id);
        }
        self.ctx.trace.line(self.ctx.agenda.now_ms(), || format!("tab {id} ← {}", brief(&input)));
        if let Input::Received { generation, frame } = &input
            && tab.link.is_some_and(|link| link.1 == *generation)
        {
            self.checker.reached(id, &Payload::Binary(frame.clone()));
        }
        request_of(&mut input).into_iter().for_each(|request| self.checker.fed(*request));
        let fenced = match &input {
            Input::PersistFailed { error, .. } | Input::StoreClosed { error } => error.code == ErrorCode::ProfileInUse,
            _ => false,
        };
        let actions = tab.client.handle(now, input);
        if fenced {
            self.checker.fenced(id);
        }
        for action in actions {
            if self.ctx.faults.active() && self.ctx.random.u32(0..6_000) == 0 {
                self.ctx.faults.count(Fault::TabKilled);
                let page = self.tabs.get(&id).map(|tab| tab.page);
                return page.into_iter().for_each(|page| self.kill_page(page));
            }
            self.run_action(id, profile, action);
        }
        if fenced && let Some(page) = self.tabs.get(&id).map(|tab| tab.page) {
            self.ctx.agenda.after(0, Happening::Page(page, About::Engine(id), tab::Input::Fenced));
        }
        if knows {
            self.wait_for_copy(id);
        }
        self.checker.handled(id, knows, &self.profiles[profile].disk);
        if self.tabs.get(&id).is_some_and(|tab| !tab.commit_waits) {
            self.checker.owes_nothing_when_fenced(id);
        }
        self.set_timer(id);
    }

    fn set_timer(&mut self, id: TabId) {
        let now_ms = self.ctx.agenda.now_ms();
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let Some(due_ms) = tab.client.next_timeout_ms() else { return };
        let mut at_ms = due_ms.saturating_sub(tab.origin_ms).max(now_ms + 1);
        if tab.slow_timers {
            at_ms = at_ms.next_multiple_of(SLOW_TIMER_MS);
        }
        if tab.timer_ms.is_none_or(|timer_ms| at_ms < timer_ms) {
            tab.timer_ms = Some(at_ms);
            self.ctx.agenda.at(at_ms, Happening::TabTimer(id));
        }
    }

    /// The timer of a tab.
    pub fn tab_timer(&mut self, id: TabId) {
        let now_ms = self.ctx.agenda.now_ms();
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        if tab.timer_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            tab.timer_ms = None;
            if tab.client.next_timeout_ms().is_some_and(|due_ms| due_ms <= tab.origin_ms + now_ms) {
                self.feed(id, Input::Timeout);
            } else {
                self.set_timer(id);
            }
        }
    }

    /// A tab stops in the middle of everything, with its page.
    pub fn freeze_tab(&mut self, id: TabId) {
        if let Some(tab) = self.tabs.get_mut(&id) {
            tab.frozen.get_or_insert_default();
        }
    }

    /// It goes on, with all that came meanwhile.
    pub fn thaw_tab(&mut self, id: TabId) {
        let Some(held) = self.tabs.get_mut(&id).and_then(|tab| tab.frozen.take()) else { return };
        for input in held {
            self.feed(id, input);
        }
        self.feed(id, Input::Awake);
    }

    /// Whether a tab runs.
    pub fn is_tab_running(&self, id: TabId) -> bool {
        self.tabs.get(&id).is_some_and(|tab| tab.frozen.is_none() && !tab.is_abandoned)
    }

    /// An abandoned tab hears what became of its last commit: its calls are answered, and nothing else is done.
    fn hear_last(&mut self, id: TabId, now: Now, input: Input) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        self.ctx.trace.line(self.ctx.agenda.now_ms(), || format!("tab {id}, given up, ← {}", brief(&input)));
        self.checker.disk_is_known(id);
        let actions = tab.client.handle(now, input);
        for action in actions {
            if let Action::Reply { request, result: Ok(reply) } = action {
                self.reply(id, request, Ok(reply));
            }
        }
        self.forget_tab(id);
    }

    /// A tab answers a call, of its page or of another.
    fn reply(&mut self, id: TabId, request: u64, result: Result<Reply, SyncError>) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let (profile, page, run) = (tab.profile, tab.page, tab.runs.remove(&request));
        self.ctx.line(|| format!("tab {id} answers {request}: {result:?}"));
        self.checker.replied(id, request, &result, &self.profiles[profile].disk);
        if result.is_err() && self.sign_in != SignIn::Never {
            // It may be that what the wallet signed was not stored: the person tries again.
            self.ctx.agenda.after(SIGN_AGAIN_MS, Happening::Sign(id));
        }
        if let Some((from, call)) = run {
            // Nothing of it has happened, and another owner may do it.
            let is_undone = matches!(&result, Err(error) if error.code == ErrorCode::ProfileInUse);
            self.ran(page, from, call, (!is_undone).then(|| Body::Reply(Box::new(result))));
        }
    }

    /// Timers are exact again.
    pub fn quicken(&mut self, id: TabId) {
        if let Some(tab) = self.tabs.get_mut(&id) {
            tab.slow_timers = false;
            tab.timer_ms = None;
        }
        self.set_timer(id);
    }

    fn run_action(&mut self, id: TabId, profile: ProfileId, action: Action) {
        match action {
            Action::Persist(commit) => {
                let Some(tab) = self.tabs.get_mut(&id) else { return };
                if std::mem::replace(&mut tab.commit_waits, true) {
                    return self.checker.violate(21, format!("tab {id} asks for a second commit while one is under way"));
                }
                // Mostly at once; some while other tabs write, and a few behind a disk that is busy with something else.
                let wait_ms_max = match self.ctx.random.u16(0..400) {
                    0 => 10_000,
                    1..20 => 800,
                    _ => 4,
                };
                let wait_ms = self.ctx.random.u64(0..wait_ms_max);
                self.ctx.agenda.after(wait_ms, Happening::Commit(id, commit));
            }
            Action::Connect { generation } => self.connect(id, generation),
            Action::Disconnect { generation } => {
                let link = self.tabs.get_mut(&id).and_then(|tab| tab.link.take_if(|link| link.1 == generation));
                if let Some((connection, _)) = link {
                    self.network.end(&mut self.ctx, connection, Side::Relay, "1000");
                    self.network.end(&mut self.ctx, connection, Side::Peer, "1000");
                }
            }
            Action::Transmit { generation, frame } => {
                let link = self.tabs.get(&id).and_then(|tab| tab.link).filter(|link| link.1 == generation);
                let Some((connection, _)) = link else { return };
                let payload = Payload::Binary(frame);
                self.ctx.line(|| format!("tab {id} → {connection}: {}", describe(&payload)));
                self.checker.transmitted(id, connection, &payload, &self.profiles[profile].disk);
                let secret = self.profiles[profile].disk.state().records.identity.as_ref().map(|identity| &*identity.secret);
                let garbage = self.profiles[profile].garbage.zip(secret).and_then(|(garbage, secret)| garbage.of(&payload, secret));
                if garbage.is_some() {
                    self.checker.keeps_no_rules(profile, connection);
                }
                let payload = garbage.unwrap_or(payload);
                self.network.send(&mut self.ctx, connection, Side::Relay, payload);
            }
            Action::ReadLog { session_id, place } => {
                let record = self.profiles[profile].disk.state().records.log(&session_id).into_iter().rfind(|record| record.first <= place);
                self.ctx.agenda.after(1, Happening::Tab(id, Input::LogRead { session_id, place, record: Ok(record) }));
            }
            Action::Reply { request, result } => self.reply(id, request, result),
            Action::Notify(event) => self.tell(id, profile, &event),
        }
    }

    fn tell(&mut self, id: TabId, profile: ProfileId, event: &Event) {
        if let (Event::Changed(change), Some(Tab { client, lists, page, .. })) = (event, self.tabs.get_mut(&id))
            && let Some(update) = Update::of(change, client, self.profiles[profile].disk.state())
        {
            lists.apply(&update);
            let news = tab::Input::Told(Body::News(Rc::new(update)));
            self.ctx.agenda.after(0, Happening::Page(*page, About::Engine(id), news));
        }
        self.ctx.line(|| format!("tab {id} tells {event:?}"));
        self.checker.told(id, event, &self.profiles[profile].disk);
        if let Event::SignInNeeded { .. } = event {
            // The person takes a moment.
            let wait_ms = self.ctx.random.u64(100..2_000);
            self.ctx.agenda.after(wait_ms, Happening::Sign(id));
        }
    }

    fn connect(&mut self, id: TabId, generation: u64) {
        if !self.accepts() {
            let reason = *self.ctx.pick(&["429", "503", "1006", "a captive portal"]);
            let wait_ms = self.ctx.latency_ms();
            if reason == "a captive portal" {
                // It opens, and what comes is no frame of ours.
                let frame = Arc::from(&b"<html>sign in</html>"[..]);
                self.ctx.agenda.after(wait_ms, Happening::Tab(id, Input::Connected { generation }));
                self.ctx.agenda.after(wait_ms + 1, Happening::Tab(id, Input::Received { generation, frame }));
            }
            let input = Input::Disconnected { generation, reason: reason.into() };
            self.ctx.agenda.after(wait_ms + 2, Happening::Tab(id, input));
            return;
        }
        let life = self.relay.life();
        let connection = self.network.open(&mut self.ctx, Peer::Tab(id, generation), Encoding::Binary, life);
        if let Some(tab) = self.tabs.get_mut(&id) {
            tab.link = Some((connection, generation));
        }
    }

    /// Something arrives at a tab's socket.
    pub fn tab_hears(&mut self, id: TabId, generation: u64, parcel: Parcel) {
        let input = match parcel {
            Parcel::Opened => Input::Connected { generation },
            Parcel::Frame(Payload::Binary(frame)) => Input::Received { generation, frame },
            Parcel::Frame(Payload::Text(_)) => return self.checker.violate(22, format!("a text frame arrives at tab {id}")),
            Parcel::Closed(reason) => {
                if let Some(tab) = self.tabs.get_mut(&id) {
                    tab.link.take_if(|link| link.1 == generation);
                }
                Input::Disconnected { generation, reason }
            }
        };
        self.feed(id, input);
    }

    /// The disk gets to a commit.
    pub fn store(&mut self, id: TabId, commit: Commit) {
        let Some(profile) = self.profile_of(id) else { return };
        let number = commit.id;
        let faults = [(Fault::QuotaAbort, ErrorCode::StorageFull), (Fault::StorageLost, ErrorCode::StorageError)];
        let mut fails = faults.into_iter().find(|(fault, _)| self.ctx.strikes(*fault)).map(|(_, code)| code);
        self.ctx.trace.line(self.ctx.agenda.now_ms(), || {
            format!("tab {id} commits {number}{}: {}", if commit.strict { " strictly" } else { "" }, writes(&commit))
        });
        let Profile { disk, remembered_by, remembered, .. } = &self.profiles[profile];
        let is_anew = self.tabs.get(&id).is_some_and(|tab| tab.client.is_rebuilding());
        // One that was asleep makes it anew before the one that owned it.
        let is_stale = is_anew && *remembered_by != Some(id);
        let remembered = is_anew.then(|| if is_stale { unsent_of(&commit).cloned().collect() } else { remembered.clone() });
        let lost = disk.lost().filter(|_| is_anew && !is_stale);
        let mut before = self.checker.commit_begins(&commit.writes, disk, remembered);
        before.lost = lost.map(|lost| lost.records.clone());
        let commit = Rc::new(commit);
        if self.profiles[profile].disk.lost().is_some() {
            fails = self.make_anew(id, profile, &commit, fails);
        }
        let Profile { disk, remembered_by, .. } = &mut self.profiles[profile];
        let input = match disk.write(id, Rc::clone(&commit), fails) {
            Ok(()) => {
                if is_anew {
                    *remembered_by = None;
                }
                if let Some(tab) = self.tabs.get_mut(&id) {
                    tab.stored = Some(Rc::clone(&commit));
                }
                self.checker.committed(id, profile, &commit.writes, &before, disk);
                Input::Persisted { commit: number }
            }
            Err(error) => {
                if error.code == ErrorCode::ProfileInUse {
                    self.checker.mark(Mark::Fenced);
                } else if fails.is_none() && error.code != ErrorCode::StorageLost {
                    // It is the machine that is to blame: it wrote what cannot be read back.
                    return self.checker.violate(22, error.into_message());
                }
                Input::PersistFailed { commit: number, error }
            }
        };
        let wait_ms = self.ctx.random.u64(0..3);
        self.ctx.agenda.after(wait_ms, Happening::Tab(id, input));
    }

    /// The database is gone: a machine that makes it anew claims it with its commit. Gives what fails all the same.
    fn make_anew(&mut self, id: TabId, profile: ProfileId, commit: &Commit, fails: Option<ErrorCode>) -> Option<ErrorCode> {
        let tab = self.tabs.get(&id).filter(|tab| tab.client.is_rebuilding())?;
        let Profile { disk, remembered_by, refusals, .. } = &mut self.profiles[profile];
        if *refusals > 0 && self.ctx.faults.active() {
            *refusals -= 1;
            return Some(ErrorCode::StorageFull);
        }
        if fails.is_some() {
            return fails;
        }
        if *remembered_by != Some(id) {
            let numbers = unsent_of(commit).filter_map(|entry| number_of(&entry.message.ciphertext));
            self.checker.profile_set_back(profile, &numbers.map(|number| (number, true)).collect());
            self.checker.mark(Mark::MadeAnewByAnother);
            self.pages.values().filter(|page| page.profile == profile).for_each(|page| self.checker.forgot(&page.calls));
        }
        // Who makes it anew has claimed it, also where another had claimed the one that was deleted.
        disk.claim_above(id, tab.claim);
        self.checker.claimed(profile, id);
        for other in self.tabs.iter().filter(|(other, tab)| tab.profile == profile && **other != id).map(|(other, _)| *other) {
            self.checker.lost_store(other, disk, Loss::Claimed);
        }
        self.profiles[profile].tab = Some(id);
        None
    }

    /// The application looks at what the tab shows.
    pub fn look(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get(&id).filter(|tab| tab.frozen.is_none() && !tab.is_abandoned) else { return };
        let client = &tab.client;
        let disk = &self.profiles[tab.profile].disk;
        if disk.owner() == id && !self.checker.is_disk_ahead(id) {
            let difference = tab.lists.difference(&Lists::read(client, disk.state()));
            self.checker.require(31, difference.is_none(), || format!("the list of tab {id} is not what it shows: {difference:?}"));
        }
        self.checker.looked(id, client.sync_status(), client.queued().len(), &client.stored_sessions(), client.connection(), disk);
        for (session_id, session) in &disk.state().records.sessions {
            let entries = disk.state().entries(session_id);
            let cleared = disk.state().cleared.get(session_id).copied().unwrap_or(0);
            self.checker.stored(tab.profile, session, cleared, &entries);
            let clocks = disk.state().clocks_of(session_id, &entries);
            let known: BTreeSet<u64> =
                entries.iter().zip(&clocks).filter(|(_, clock)| clock.is_some()).map(|(entry, _)| entry.sequence_number).collect();
            let shown = client.show(session_id, entries.into_iter().zip(clocks).collect(), false);
            for message in &shown {
                self.checker.status(id, session_id, &message.id, message.status, false);
            }
            if disk.owner() != id {
                self.checker.shown_without_store(id, session_id, &shown);
            } else if !self.checker.is_disk_ahead(id) {
                let unsent: Vec<_> = disk.state().unsent(session_id).collect();
                self.checker.shown(id, session, &shown, &known, cleared + 1, &unsent);
            }
        }
    }
}

/// The messages that a commit puts into the outbox.
fn unsent_of(commit: &Commit) -> impl Iterator<Item = &Entry> {
    commit.writes.iter().filter_map(|write| if let Write::Outbox(record) = write { Some(&record.entries) } else { None }).flatten()
}

/// A record of the outbox is copied.
fn copy_record(spare: &mut BTreeMap<(SessionId, u64), SpareRecord>, client: &Client, record: &OutboxRecord) {
    if let Some(copy) = client.spare_of(record) {
        spare.insert((record.session_id.clone(), record.first()), copy);
    }
}

/// The number of a call; `None` for all other inputs.
pub fn request_of(input: &mut Input) -> Option<&mut u64> {
    match input {
        Input::ConnectWallet { request, .. }
        | Input::DisconnectWallet { request }
        | Input::OpenSession { request, .. }
        | Input::OpenGroup { request, .. }
        | Input::Regroup { request, .. }
        | Input::AcceptSession { request, .. }
        | Input::DeclineSession { request, .. }
        | Input::BlockWallet { request, .. }
        | Input::UnblockWallet { request, .. }
        | Input::CloseSession { request, .. }
        | Input::Send { request, .. }
        | Input::Edit { request, .. }
        | Input::Cancel { request, .. }
        | Input::Retry { request, .. }
        | Input::MarkRead { request, .. }
        | Input::Sync { request, .. }
        | Input::AutoSync { request, .. }
        | Input::ClearLog { request, .. }
        | Input::Certify { request, .. }
        | Input::AcceptRelayLog { request, .. }
        | Input::RemoveDevice { request, .. }
        | Input::ApproveDevice { request, .. }
        | Input::CreateRecoveryCode { request }
        | Input::NeedsPasskey { request, .. }
        | Input::CreatePasskey { request, .. }
        | Input::Recover { request, .. }
        | Input::RecoverWithPasskey { request, .. }
        | Input::Import { request, .. } => Some(request),
        Input::Keyed { call, .. } => request_of(call),
        Input::SetOffline { .. }
        | Input::LogRead { .. }
        | Input::Observe { .. }
        | Input::Awake
        | Input::Connected { .. }
        | Input::Received { .. }
        | Input::Disconnected { .. }
        | Input::Persisted { .. }
        | Input::PersistFailed { .. }
        | Input::StoreClosed { .. }
        | Input::Timeout => None,
    }
}
