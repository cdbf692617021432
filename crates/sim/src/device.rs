//! A device: a browser profile with its database, the tabs that are open over it, and their sockets and timers. The
//! machine in every tab is the real one.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use solconnect_sync_core::client::{Action, Client, ClientConfig, Commit, Event, Input};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Encoding, Payload};
use solconnect_sync_core::time::Now;

use crate::client_disk::ClientDisk;
use crate::faults::Fault;
use crate::lines::{brief, describe, writes};
use crate::list::Lists;
use crate::network::{ConnectionId, Parcel, Peer, Side};
use crate::world::{Happening, ProfileId, TabId, WALL_MS, World};

/// Every so many milliseconds the timers of a hidden tab run.
const SLOW_TIMER_MS: u64 = 60_000;

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
    /// The tab that the user works in.
    pub tab: Option<TabId>,
    /// By how many milliseconds its wall clock is wrong.
    pub skew_ms: i64,
    /// The application wants to be offline.
    pub offline: bool,
    /// A tab is about to open.
    pub opening: bool,
    /// Its user begins no session: it has those that others begin with it, and that it accepts.
    pub shy: bool,
}

/// A tab.
pub struct Tab {
    /// Over which profile.
    pub profile: ProfileId,
    /// The real machine.
    pub client: Client,
    link: Option<(ConnectionId, u64)>,
    timer_ms: Option<u64>,
    /// What came while it was frozen.
    frozen: Option<VecDeque<Input>>,
    slow_timers: bool,
    /// Where its monotonic clock begins.
    origin_ms: u64,
    commit_waits: bool,
    /// What its application keeps of its sessions.
    lists: Lists,
}

impl World {
    /// A new profile, and its first tab soon.
    pub fn add_profile(&mut self, wallet: &'static str, peers: Vec<&'static str>, config: ClientConfig) -> ProfileId {
        self.checker.profile_made(wallet, config.conflict_resolution_strategy, None);
        self.push_profile(Profile {
            wallet,
            peers,
            disk: ClientDisk::default(),
            config,
            tab: None,
            skew_ms: 0,
            offline: false,
            opening: false,
            shy: false,
        })
    }

    /// A copy of a profile, as it is on the disk now (F41).
    pub fn copy_profile(&mut self, source: ProfileId) -> ProfileId {
        let Profile { wallet, ref peers, ref disk, ref config, shy, .. } = self.profiles[source];
        let copy = Profile {
            wallet,
            peers: peers.clone(),
            disk: disk.clone(),
            config: config.clone(),
            tab: None,
            skew_ms: 0,
            offline: false,
            opening: false,
            shy,
        };
        self.checker.profile_made(wallet, copy.config.conflict_resolution_strategy, Some(source));
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
        if self.profiles[profile].tab.is_none() && !std::mem::replace(&mut self.profiles[profile].opening, true) {
            let hangs = self.ctx.strikes(Fault::OpenHangs);
            let wait_ms = if hangs { self.ctx.random.u64(0..6_000) } else { self.ctx.random.u64(0..50) };
            self.ctx.agenda.after(wait_ms, Happening::OpenTab(profile));
        }
    }

    /// A tab opens over a profile: it claims the database, and what an older tab has on its way there goes first.
    pub fn open_tab(&mut self, profile: ProfileId) {
        self.profiles[profile].opening = false;
        let older: Vec<TabId> = self.tabs.iter().filter(|(_, tab)| tab.profile == profile).map(|(id, _)| *id).collect();
        let waits = self.ctx.agenda.take(|happening| matches!(happening, Happening::Commit(tab, _) if older.contains(tab)));
        for happening in waits {
            if let Happening::Commit(tab, commit) = happening {
                self.store(tab, commit);
            }
        }
        for tab in older {
            self.checker.lost_store(tab, &self.profiles[profile].disk, false);
        }
        self.last_tab += 1;
        let id = self.last_tab;
        let seed = self.ctx.random.u64(..);
        let origin_ms = self.ctx.random.u64(0..1_000_000_000);
        let slow_timers = self.ctx.strikes(Fault::SlowTimers);
        let Profile { disk, config, wallet, peers, offline, shy, tab, .. } = &mut self.profiles[profile];
        let client = Client::new(config.clone(), disk.claim(id), seed);
        let (wallet, peers, offline) = (*wallet, if *shy { Vec::new() } else { peers.clone() }, *offline);
        *tab = Some(id);
        self.checker.tab_started(id, profile, &self.profiles[profile].disk, client.sync_status(), &client.stored_sessions());
        self.ctx.line(|| format!("tab {id} opens profile {profile}, device {}", client.device_id()));
        let lists = Lists::read(&client, self.profiles[profile].disk.state());
        let tab = Tab { profile, client, link: None, timer_ms: None, frozen: None, slow_timers, origin_ms, commit_waits: false, lists };
        self.tabs.insert(id, tab);
        if offline {
            self.feed(id, Input::SetOffline { offline });
        }
        self.feed(id, Input::Observe { observed: true });
        self.call(id, |request| Input::ConnectWallet { request, wallet: wallet.into() });
        for peer in peers {
            self.call(id, |request| Input::OpenSession { request, peer_wallet: peer.into() });
        }
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
        let current = &mut self.profiles[tab.profile].tab;
        if *current == Some(id) {
            *current = None;
        }
    }

    /// All tabs of a profile end.
    pub fn close_profile(&mut self, profile: ProfileId) {
        let tabs: Vec<TabId> = self.tabs.iter().filter(|(_, tab)| tab.profile == profile).map(|(id, _)| *id).collect();
        for tab in tabs {
            self.kill_tab(tab);
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
        self.checker.power_cut(profile, self.profiles[profile].disk.unsent());
    }

    /// An older state of a profile is put back (F42), or nothing at all (F31).
    pub fn set_profile_back(&mut self, profile: ProfileId, left: usize) {
        self.close_profile(profile);
        let disk = &mut self.profiles[profile].disk;
        disk.go_back(left);
        self.ctx.trace.line(self.ctx.agenda.now_ms(), || format!("profile {profile} goes back to commit {left}"));
        self.checker.profile_set_back(profile, disk.unsent());
    }

    /// The database of a profile is deleted while its tabs run (F32): what they write from now on fails.
    pub fn delete_database(&mut self, profile: ProfileId) {
        let tabs: Vec<TabId> = self.tabs.iter().filter(|(_, tab)| tab.profile == profile).map(|(id, _)| *id).collect();
        for tab in tabs {
            self.checker.lost_store(tab, &self.profiles[profile].disk, true);
        }
        self.ctx.line(|| format!("the database of profile {profile} is deleted"));
        let disk = &mut self.profiles[profile].disk;
        disk.delete();
        self.checker.profile_set_back(profile, disk.unsent());
    }

    /// The application makes a call.
    pub fn call(&mut self, tab: TabId, input: impl FnOnce(u64) -> Input) {
        let Some(profile) = self.profile_of(tab) else { return };
        self.last_request += 1;
        let input = input(self.last_request);
        self.checker.called(tab, &input, &self.profiles[profile].disk);
        self.feed(tab, input);
    }

    fn tab_now(&self, tab: &Tab) -> Now {
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
        if let Input::Send { session_id, message_id: Some(name), known, .. } = &mut input {
            let names = &self.profiles[profile].disk.state().records.names;
            *known = names.get(&(session_id.clone(), name.clone())).cloned();
        }
        let knows = matches!(input, Input::Persisted { .. } | Input::PersistFailed { .. });
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
        self.checker.fed(&input);
        let fenced = matches!(&input, Input::PersistFailed { error, .. } if error.code == ErrorCode::ProfileInUse);
        let actions = tab.client.handle(now, input);
        for action in actions {
            if self.ctx.faults.active() && self.ctx.random.u32(0..6_000) == 0 {
                self.ctx.faults.count(Fault::TabKilled);
                return self.kill_tab(id);
            }
            self.run_action(id, profile, action);
        }
        if fenced {
            self.checker.fenced(id);
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

    /// A tab stops in the middle of everything.
    pub fn freeze(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        if tab.frozen.is_none() {
            tab.frozen = Some(VecDeque::new());
            let wait_ms = self.ctx.random.u64(1_000..120_000);
            self.ctx.line(|| format!("tab {id} is frozen for {wait_ms} ms"));
            self.ctx.agenda.after(wait_ms, Happening::Thaw(id));
        }
    }

    /// It goes on, with all that came meanwhile.
    pub fn thaw(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let Some(held) = tab.frozen.take() else { return };
        for input in held {
            self.feed(id, input);
        }
        self.feed(id, Input::Awake);
    }

    /// Whether a tab runs.
    pub fn is_running(&self, id: TabId) -> bool {
        self.tabs.get(&id).is_some_and(|tab| tab.frozen.is_none())
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
                self.network.send(&mut self.ctx, connection, Side::Relay, payload);
            }
            Action::Reply { request, result } => {
                self.ctx.line(|| format!("tab {id} answers {request}: {result:?}"));
                self.checker.replied(id, request, &result, &self.profiles[profile].disk);
            }
            Action::Notify(event) => self.tell(id, profile, &event),
        }
    }

    fn tell(&mut self, id: TabId, profile: ProfileId, event: &Event) {
        if let (Event::Changed(change), Some(Tab { client, lists, .. })) = (event, self.tabs.get_mut(&id)) {
            lists.take(change, client, self.profiles[profile].disk.state());
        }
        self.ctx.line(|| format!("tab {id} tells {event:?}"));
        self.checker.told(id, event, &self.profiles[profile].disk);
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
        let fails = faults.into_iter().find(|(fault, _)| self.ctx.strikes(*fault)).map(|(_, code)| code);
        self.ctx.trace.line(self.ctx.agenda.now_ms(), || {
            format!("tab {id} commits {number}{}: {}", if commit.strict { " strictly" } else { "" }, writes(&commit))
        });
        let before = self.checker.commit_begins(&commit.writes, &self.profiles[profile].disk);
        let commit = Rc::new(commit);
        let disk = &mut self.profiles[profile].disk;
        let input = match disk.write(id, Rc::clone(&commit), fails) {
            Ok(()) => {
                self.checker.committed(id, profile, &commit.writes, &before, disk);
                Input::Persisted { commit: number }
            }
            Err(error) => {
                if error.code == ErrorCode::ProfileInUse {
                    self.ctx.faults.count(Fault::DuplicatedTab);
                } else if fails.is_none() {
                    // It is the machine that is to blame: it wrote what cannot be read back.
                    return self.checker.violate(22, error.message);
                }
                Input::PersistFailed { commit: number, error }
            }
        };
        let wait_ms = self.ctx.random.u64(0..3);
        self.ctx.agenda.after(wait_ms, Happening::Tab(id, input));
    }

    /// The application looks at what the tab shows.
    pub fn look(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get(&id).filter(|tab| tab.frozen.is_none()) else { return };
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
