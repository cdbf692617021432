//! A seed's script: who there is, what they do and what fails; then nothing fails any more, and all must converge.

use std::collections::BTreeMap;

use solconnect_sync_core::client::{Answer, ClientConfig, Input, SyncScope};
use solconnect_sync_core::conflict::Strategy;
use solconnect_sync_core::ids::SessionId;
use solconnect_sync_core::limits::TEXT_BYTES_MAX;
use solconnect_sync_core::limits::UNCAUSED_EPOCH_MS;
use solconnect_sync_core::message::Kind;

use crate::checker::{Exercised, Violation};
use crate::client_disk::ClientDisk;
use crate::device::Profile;
use crate::faults::Fault;
use crate::final_rules::CONVERGE_MS_MAX;
use crate::ledger::text_of;
use crate::marker::Marker;
use crate::network::Peer;
use crate::relay_disk::Rows;
use crate::relay_node::jump_ms;
use crate::signers::{SIGNERS, SignIn, session_of};
use crate::world::{Happening, PageId, ProfileId, Step, TabId, World};

/// Three wallets, who talk pairwise.
const WALLETS: [&str; 3] =
    ["So11111111111111111111111111111111111111112", "11111111111111111111111111111111", "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"];

/// Operations of one seed, at least.
const OPERATIONS_MIN: u64 = 200;

/// Faults of one seed, at least.
const FAULTS_MIN: u64 = 10;

/// Profiles of one seed, at most.
const PROFILES_MAX: usize = 8;

/// What a seed showed.
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What devices did.
    pub setting: Setting,
    /// The hash of its whole trace.
    pub hash: u64,
    /// How many things happened.
    pub steps: u64,
    /// What the script did.
    pub operations: u64,
    /// How often each fault struck.
    pub faults: Vec<u64>,
    /// How often each invariant was put to the test.
    pub exercised: Exercised,
    /// How often each mark came up.
    pub marks: Vec<u64>,
    /// What does not hold.
    pub violation: Option<Violation>,
    /// The faults' rates, for people.
    pub rates: String,
    /// The last lines of the trace, where they are kept.
    pub lines: Vec<String>,
}

/// Runs a seed; so many of the last lines of its trace are kept.
pub fn run(seed: u64, lines_max: usize) -> Outcome {
    run_with(seed, lines_max, Setting::default())
}

/// What devices do in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setting {
    /// Whether they sign in.
    pub sign_in: SignIn,
    /// Whether they encrypt. Then they must sign in.
    pub encrypts: bool,
}

/// The same in such a world.
pub fn run_with(seed: u64, lines_max: usize, setting: Setting) -> Outcome {
    let mut world = World::new(seed, lines_max);
    world.sign_in = setting.sign_in;
    if setting.encrypts {
        world.encrypt(seed);
    }
    let mut scenario = Scenario {
        world,
        operations: 0,
        pace_ms: 0,
        stormy: false,
        backup: None,
        takes_backup: false,
        is_attacked: false,
        wordy: false,
        fickle: false,
        hasty: None,
        named: Vec::new(),
    };
    scenario.run();
    let Scenario { world, operations, .. } = scenario;
    Outcome {
        seed,
        setting,
        hash: world.ctx.trace.hash(),
        steps: world.ctx.trace.steps(),
        operations,
        faults: world.ctx.faults.counts().to_vec(),
        exercised: *world.checker.exercised(),
        marks: world.checker.marks().to_vec(),
        violation: world.checker.violation().cloned(),
        rates: world.ctx.faults.rates(),
        lines: world.ctx.trace.lines().map(str::to_owned).collect(),
    }
}

/// A message that an application named.
#[derive(Clone)]
struct Named {
    wallet: &'static str,
    session_id: SessionId,
    name: String,
    text: String,
}

/// A seed as it runs.
pub(crate) struct Scenario {
    pub(crate) world: World,
    operations: u64,
    pace_ms: u64,
    /// Faults are done on purpose until there are enough.
    stormy: bool,
    /// In some seeds the relay is set back to this in the end (F19).
    backup: Option<BTreeMap<SessionId, Rows>>,
    takes_backup: bool,
    /// In others somebody attacks in the end, mostly a relay that lies (F48).
    is_attacked: bool,
    named: Vec<Named>,
    /// Many long texts: frames and queues are filled.
    wordy: bool,
    /// People go offline and back, load pages again and take back what they wrote, all the time: so what is on its way is taken
    /// back too.
    fickle: bool,
    /// Where somebody is who has just gone online: there the page is loaded again at once, offline.
    hasty: Option<ProfileId>,
}

impl Scenario {
    fn run(&mut self) {
        self.begin();
        while self.world.checker.violation().is_none()
            && let Some(step) = self.world.step()
        {
            if step == Step::Operation {
                self.operations += 1;
                self.operate();
                let struck: u64 = self.world.ctx.faults.counts().iter().sum();
                self.stormy = self.operations >= OPERATIONS_MIN && struck < FAULTS_MIN;
                if self.operations >= OPERATIONS_MIN && !self.stormy {
                    break;
                }
                let wait_ms = self.world.ctx.random.u64(0..=self.pace_ms);
                self.world.ctx.agenda.after(wait_ms, Happening::Operation);
            }
        }
        if self.world.checker.violation().is_none() {
            self.heal();
            self.converge();
        }
        if let Some(backup) = self.backup.take().filter(|_| self.world.checker.violation().is_none()) {
            self.set_relay_back(backup);
        } else if self.is_attacked && self.world.checker.violation().is_none() {
            match self.world.ctx.random.u8(0..6) {
                0 => self.sign_garbage(),
                1 => self.steal(),
                _ => self.lie(),
            }
        }
    }

    fn set_relay_back(&mut self, backup: BTreeMap<SessionId, Rows>) {
        let before: Vec<ClientDisk> = self.world.profiles.iter().map(|profile| profile.disk.clone()).collect();
        self.world.set_relay_back(backup);
        if self.world.ctx.random.bool() {
            self.grow_another_log();
        }
        self.run_until(self.world.ctx.agenda.now_ms() + CONVERGE_MS_MAX);
        self.world.judge_set_back(&before);
    }

    /// Before anybody is back who has seen what the relay had, new devices write more there: at the same places stands
    /// something else then.
    fn grow_another_log(&mut self) {
        const GROWTH_MS: u64 = 60_000;
        let world = &mut self.world;
        world.ctx.faults.count(Fault::JournalForked);
        let known = world.profiles.len();
        for profile in 0..known {
            world.close_profile(profile);
        }
        let Profile { wallet, ref peers, ref config, .. } = world.profiles[0];
        let (peers, config) = (peers.clone(), config.clone());
        let newcomer = world.add_profile(wallet, peers.clone(), config);
        self.run_until(self.world.ctx.agenda.now_ms() + GROWTH_MS);
        for _ in 0..self.world.ctx.random.u8(1..100) {
            let peer = *self.world.ctx.pick(&peers);
            if let Some(page) = self.world.pages_of(newcomer).first() {
                self.send(*page, &session_of(wallet, peer, self.world.checker.encrypts));
            }
        }
        self.run_until(self.world.ctx.agenda.now_ms() + GROWTH_MS);
        for profile in 0..known {
            self.world.open_soon(profile);
        }
    }

    pub(crate) fn run_until(&mut self, deadline_ms: u64) {
        let world = &mut self.world;
        while world.checker.violation().is_none() && world.ctx.agenda.now_ms() < deadline_ms && world.step().is_some() {}
    }

    fn begin(&mut self) {
        let random = &mut self.world.ctx.random;
        self.pace_ms = [60, 400, 1_500][random.usize(0..3)];
        let devices = random.usize(3..=5);
        let config = ClientConfig {
            max_batch_size: if random.bool() { random.usize(1..20) } else { 100 },
            enable_compression: random.bool(),
            conflict_resolution_strategy: [Strategy::VectorClock, Strategy::Latest, Strategy::Manual][random.usize(0..3)],
            heartbeat_interval_ms: random.u64(5_000..30_000),
            retry_delay_ms: random.u64(100..1_500),
            max_retries: random.u32(0..5),
            frames_in_json: random.bool(),
            ..ClientConfig::default()
        };
        let wallets: [&'static str; 3] = match self.world.sign_in {
            SignIn::Never => WALLETS,
            SignIn::Open | SignIn::Required => std::array::from_fn(|place| &*SIGNERS[place]),
        };
        for index in 0..devices {
            let wallet = index % wallets.len();
            let peers = (0..wallets.len()).filter(|other| *other != wallet).map(|other| wallets[other]).collect();
            let profile = self.world.add_profile(wallets[wallet], peers, config.clone());
            self.world.profiles[profile].shy = self.world.ctx.random.u8(0..3) == 0;
        }
        // In some seeds every profile has several tabs from the beginning.
        for profile in 0..if self.world.ctx.random.u8(0..3) == 0 { devices } else { 0 } {
            for _ in 0..self.world.ctx.random.u8(1..3) {
                let wait_ms = self.world.ctx.random.u64(0..3_000);
                self.world.ctx.agenda.after(wait_ms, Happening::OpenPage(profile));
            }
        }
        self.wordy = self.world.ctx.random.u8(0..20) == 0;
        self.fickle = self.world.ctx.random.u8(0..8) == 0;
        self.takes_backup = self.world.ctx.random.u8(0..30) == 0;
        if self.world.sign_in == SignIn::Required {
            self.world.checker.expect_signatures();
            self.is_attacked = self.world.ctx.random.bool();
        }
        if self.world.ctx.random.u8(0..10) < 4 {
            self.world.add_hostile(wallets[0]);
        }
        self.world.start_relay();
        self.world.ctx.agenda.after(0, Happening::Operation);
    }

    /// A profile, and one of its pages where one runs. Where there is none, one is opened, sooner or later.
    fn someone(&mut self) -> (ProfileId, Option<PageId>) {
        let profile = self.world.ctx.random.usize(0..self.world.profiles.len());
        let pages = self.world.pages_of(profile);
        if pages.is_empty() {
            if self.world.ctx.random.bool() {
                self.world.open_soon(profile);
            }
            return (profile, None);
        }
        let page = *self.world.ctx.pick(&pages);
        (profile, Some(page).filter(|page| self.world.is_running(*page)))
    }

    /// A session of a profile: that with a peer, or a group.
    fn session(&mut self, profile_id: ProfileId) -> (&'static str, String) {
        let profile = &self.world.profiles[profile_id];
        let peer = *self.world.ctx.pick(&profile.peers);
        let group = self.some_group(profile_id);
        (peer, group.unwrap_or_else(|| session_of(self.world.profiles[profile_id].wallet, peer, self.world.checker.encrypts)))
    }

    fn operate(&mut self) {
        if self.takes_backup && self.world.ctx.random.u8(0..100) == 0 {
            self.backup = Some(self.world.relay.journal().backup());
        }
        if let Some(profile) = self.hasty.take_if(|_| self.world.ctx.random.bool()) {
            self.world.profiles[profile].offline = true;
            self.world.close_profile(profile);
            self.world.open_soon(profile);
        }
        let (profile, page) = self.someone();
        self.fail(profile, page);
        page.into_iter().for_each(|page| self.world.look_at_page(page));
        let Some(page) = page.filter(|page| self.world.is_running(*page)) else { return };
        if self.world.checker.encrypts
            && self.world.profiles.len() < PROFILES_MAX
            && self.world.may_change_devices(profile)
            && self.world.ctx.random.u8(0..100) == 0
        {
            // Somebody has another device.
            let Profile { wallet, ref peers, ref config, .. } = self.world.profiles[profile];
            let (peers, config) = (peers.clone(), config.clone());
            self.world.add_profile(wallet, peers, config);
        }
        if self.world.sign_in != SignIn::Never && self.world.ctx.random.u8(0..30) == 0 {
            return self.world.manage_devices(profile, page);
        }
        if self.world.checker.all_sign && self.world.ctx.random.u8(0..10) == 0 && self.regroup(profile, page) {
            return;
        }
        let owner = self.world.profiles[profile].tab;
        let (peer, session_id) = self.session(profile);
        let shy = self.world.profiles[profile].shy;
        if shy && self.world.ctx.random.u8(0..8) == 0 {
            return self.answer_invitation(profile, page, peer);
        }
        if self.fickle && self.world.ctx.random.u8(0..3) == 0 {
            return self.waver(profile, page, &session_id);
        }
        match self.world.ctx.random.u8(0..100) {
            0..45 => self.send(page, &session_id),
            45..52 => self.send_named(profile, page, &session_id),
            52 => self.cancel(profile, page, &session_id),
            53..55 => {
                for _ in 0..self.world.ctx.random.u8(2..if self.wordy { 60 } else { 20 }) {
                    self.send(page, &session_id);
                }
            }
            55..66 => self.edit(profile, page, &session_id),
            66..73 => self.mark_read(profile, page, &session_id),
            73..80 => {
                let scope = if self.world.ctx.random.bool() { SyncScope::Everything } else { SyncScope::Outbox };
                let session_id = self.world.ctx.random.bool().then_some(session_id);
                self.world.call(page, |request| Input::Sync { request, session_id, scope });
            }
            80..86 => {
                let offline = !self.world.profiles[profile].offline && self.world.ctx.random.bool();
                self.set_offline(profile, offline);
            }
            86 => {
                let interval_ms = self.world.ctx.random.bool().then(|| self.world.ctx.random.u64(1_000..20_000));
                self.world.call(page, |request| Input::AutoSync { request, session_id, interval_ms });
            }
            87 => self.world.call(page, |request| Input::CloseSession { request, session_id }),
            88..90 if !shy => self.world.call(page, |request| Input::OpenSession { request, peer_wallet: peer.into() }),
            90 => {
                self.world.call(page, |request| Input::DisconnectWallet { request });
                let wallet = self.world.profiles[profile].wallet;
                self.world.call(page, |request| Input::ConnectWallet { request, wallet: wallet.into() });
            }
            91 => self.world.call(page, |request| Input::ClearLog { request, session_id }),
            92 if !shy => self.import(profile, page, peer, &session_id),
            93 if !shy => self.retry(profile, page, &session_id),
            _ => {
                owner.into_iter().for_each(|owner| self.world.look(owner));
                self.world.look_at_page(page);
            }
        }
    }

    /// An invitation is accepted or declined; or a wallet is blocked, or no longer.
    fn answer_invitation(&mut self, profile: ProfileId, page: PageId, peer: &str) {
        let invitations = &self.world.profiles[profile].disk.state().records.invitations;
        let pending: Vec<SessionId> =
            invitations.values().filter(|record| record.answer == Answer::None).map(|record| record.session_id.clone()).collect();
        let peer_wallet = peer.to_owned();
        match self.world.ctx.random.u8(0..8) {
            0 => self.world.call(page, |request| Input::BlockWallet { request, peer_wallet }),
            1 => self.world.call(page, |request| Input::UnblockWallet { request, peer_wallet }),
            accepts if !pending.is_empty() => {
                let session_id = self.world.ctx.pick(&pending).clone();
                if accepts < 5 {
                    self.world.call(page, |request| Input::AcceptSession { request, session_id });
                } else {
                    self.world.call(page, |request| Input::DeclineSession { request, session_id });
                }
            }
            _ => {}
        }
    }

    pub(crate) fn send(&mut self, page: PageId, session_id: &str) {
        let text = self.text();
        let session_id = session_id.to_owned();
        self.world.call(page, |request| Input::Send { request, session_id, text, content_type: None, message_id: None, known: None });
    }

    /// A message under a name of the application's own: a new one, one that was sent before, here or on another device of
    /// the wallet, or another under the same name.
    fn send_named(&mut self, profile: ProfileId, page: PageId, session_id: &str) {
        let wallet = self.world.profiles[profile].wallet;
        let known: Vec<Named> =
            self.named.iter().rev().filter(|named| named.wallet == wallet && named.session_id == session_id).take(8).cloned().collect();
        let chosen = if known.is_empty() || self.world.ctx.random.bool() { None } else { Some(self.world.ctx.pick(&known).clone()) };
        let named = match chosen {
            Some(named) if self.world.ctx.random.u8(0..5) > 0 => named,
            Some(named) => Named { text: self.text(), ..named },
            None => {
                let name = format!("app-{}", self.world.checker.ledger.sent.len());
                Named { wallet, session_id: session_id.to_owned(), name, text: self.text() }
            }
        };
        self.named.push(named.clone());
        let Named { session_id, name, text, .. } = named;
        self.world.call(page, |request| Input::Send { request, session_id, text, content_type: None, message_id: Some(name), known: None });
    }

    pub(crate) fn set_offline(&mut self, profile: ProfileId, offline: bool) {
        self.world.profiles[profile].offline = offline;
        let owner = self.world.profiles[profile].tab;
        owner.into_iter().for_each(|owner| self.world.feed(owner, Input::SetOffline { offline }));
    }

    /// Somebody goes offline or back, loads the page again, or takes back what is not sent.
    fn waver(&mut self, profile: ProfileId, page: PageId, session_id: &str) {
        match self.world.ctx.random.u8(0..5) {
            0..2 => {
                let offline = !self.world.profiles[profile].offline;
                self.set_offline(profile, offline);
                self.hasty = (!offline).then_some(profile);
            }
            2 => {
                self.world.kill_page(page);
                self.world.open_soon(profile);
            }
            _ => self.cancel(profile, page, session_id),
        }
    }

    /// A message that waits is taken back, mostly the last one, which is the most likely not to be on its way.
    fn cancel(&mut self, profile: ProfileId, page: PageId, session_id: &str) {
        let unsent = self.world.profiles[profile].disk.state().unsent(session_id).filter(|entry| entry.message.kind == Kind::MESSAGE);
        let unsent: Vec<String> = unsent.map(|entry| entry.message.id.clone()).collect();
        let Some(last) = unsent.last() else { return };
        let message_id = if self.world.ctx.random.bool() { last.clone() } else { self.world.ctx.pick(&unsent).clone() };
        self.world.call(page, |request| Input::Cancel { request, message_id });
    }

    /// A message that failed is tried again, or given up. The application sends it under its old name no more.
    fn retry(&mut self, profile: ProfileId, page: PageId, session_id: &str) {
        let failed = self.world.profiles[profile].disk.state().records.failed.values();
        let failed = failed.filter(|record| record.session_id == session_id).map(|record| record.entry.message.clone());
        let sent = &self.world.checker.ledger;
        let is_ours = |text: &str| sent.sent(text).is_some_and(|(_, sent)| sent.profile == profile && !sent.again);
        let Some(message) = failed.into_iter().find(|message| is_ours(&message.ciphertext)) else { return };
        self.named.retain(|named| named.text != message.ciphertext);
        let message_id = message.id;
        if self.world.ctx.random.u8(0..4) == 0 {
            self.world.call(page, |request| Input::Cancel { request, message_id });
        } else {
            self.world.call(page, |request| Input::Retry { request, message_id });
        }
    }

    fn text(&mut self) -> String {
        let number = self.world.checker.ledger.sent.len() as u64;
        let random = &mut self.world.ctx.random;
        let long = random.u8(0..if self.wordy { 2 } else { 50 }) == 0;
        let marker = self.world.checker.marker.as_ref().map_or("", Marker::text);
        let long = if long { random.usize(0..TEXT_BYTES_MAX - 20 - marker.len()) >> random.u8(0..6) } else { random.usize(0..40) };
        let filling: String = (0..long).map(|_| random.alphanumeric()).collect();
        text_of(number, &[marker, &filling].concat())
    }

    /// Any message of this wallet may be edited on any of its devices: that is how versions come to compete.
    fn edit(&mut self, profile: ProfileId, page: PageId, session_id: &str) {
        let wallet = self.world.profiles[profile].wallet;
        let cursor = self.world.profiles[profile].disk.state().last_logged(session_id);
        let log = self.world.checker.ledger.log(session_id).entries();
        let own = log.iter().take(cursor as usize).rev().filter(|entry| entry.message.sender_wallet == wallet);
        let own: Vec<String> =
            own.filter(|entry| entry.message.kind == Kind::MESSAGE).take(4).map(|entry| entry.message.id.clone()).collect();
        if own.is_empty() {
            return;
        }
        let message_id = self.world.ctx.pick(&own).clone();
        let text = (self.world.ctx.random.u8(0..4) > 0).then(|| self.text());
        let session_id = session_id.to_owned();
        self.world.call(page, |request| Input::Edit { request, session_id, message_id, text });
    }

    fn mark_read(&mut self, profile: ProfileId, page: PageId, session_id: &str) {
        let cursor = self.world.profiles[profile].disk.state().last_logged(session_id);
        if cursor == 0 {
            return;
        }
        let sequence_number = self.world.ctx.random.u64(cursor.saturating_sub(5).max(1)..=cursor);
        let Some(entry) = self.world.checker.ledger.log(session_id).entry(sequence_number) else { return };
        let (message_id, session_id) = (entry.message.id.clone(), session_id.to_owned());
        self.world.call(page, |request| Input::MarkRead { request, session_id, message_id, sequence_number });
    }

    /// What another device exported is imported here.
    fn import(&mut self, profile: ProfileId, page: PageId, peer: &str, session_id: &str) {
        // Groups are not imported.
        if session_of(self.world.profiles[profile].wallet, peer, self.world.checker.encrypts) != session_id {
            return;
        }
        let source = self.world.ctx.random.usize(0..self.world.profiles.len());
        let cursor = self.world.profiles[profile].disk.state().last_logged(session_id);
        let exported = self.world.profiles[source].disk.state().entries(session_id);
        let begin = cursor.saturating_sub(self.world.ctx.random.u64(0..3));
        let entries = exported.into_iter().filter(|entry| entry.sequence_number > begin).take(20).collect();
        let peer_wallet = peer.to_owned();
        self.world.call(page, |request| Input::Import { request, peer_wallet, entries });
    }

    /// What fails by the script: once an operation, each at its rate.
    fn fail(&mut self, profile: ProfileId, page: Option<PageId>) {
        let world = &mut self.world;
        let on_purpose = self.stormy && world.ctx.random.bool();
        if on_purpose {
            world.ctx.faults.count(Fault::TabKilled);
        }
        if let Some(page) = page {
            if on_purpose || world.ctx.strikes(Fault::TabKilled) {
                return world.kill_page(page);
            }
            if world.ctx.strikes(Fault::PutAside) {
                world.close_page(page);
            }
            if world.ctx.strikes(Fault::Frozen) {
                world.freeze(page);
            }
            if world.ctx.strikes(Fault::Hidden) {
                let visible = world.ctx.random.bool();
                world.show_page(page, visible);
            }
            if world.ctx.strikes(Fault::DuplicatedTab) {
                world.open_page(profile);
            }
            if world.is_refused(page) && world.ctx.random.u8(0..4) == 0 {
                // Its user reads why, and loads it again.
                world.kill_page(page);
                world.open_soon(profile);
            }
        }
        if let Some(owner) = world.profiles[profile].tab {
            if world.ctx.strikes(Fault::OnlineWrong) {
                world.feed(owner, Input::Awake);
            }
            if world.ctx.strikes(Fault::ClockJump) {
                world.profiles[profile].skew_ms = jump_ms(&mut world.ctx.random);
            }
            if world.ctx.strikes(Fault::Partition) {
                world.partition(|peer| matches!(peer, Peer::Tab(other, _) if other == owner));
            }
        }
        if world.ctx.strikes(Fault::RelaxedLost) {
            return world.cut_power(profile);
        }
        // Who has lost too many devices today would have none for the rest of it.
        if world.may_change_devices(profile) {
            if world.ctx.strikes(Fault::ProfileSetBack) {
                let left = world.ctx.random.usize(0..=world.profiles[profile].disk.commits());
                return world.set_profile_back(profile, left);
            }
            if world.ctx.strikes(Fault::Evicted) {
                return world.set_profile_back(profile, 0);
            }
            if world.ctx.strikes(Fault::DatabaseDeleted) {
                world.delete_database(profile);
            }
            if world.profiles.len() < PROFILES_MAX && world.ctx.strikes(Fault::ClonedProfile) {
                world.copy_profile(profile);
            }
        }
        if world.ctx.strikes(Fault::RelayKilled) {
            let with_machine = world.ctx.random.bool();
            world.kill_relay(with_machine);
        }
        if world.ctx.strikes(Fault::RelayPaused) {
            world.pause_relay();
        }
        if world.ctx.strikes(Fault::RelayClockJump) {
            world.jump_relay_clock();
        }
    }

    /// Nothing fails any more, and every application is opened and online.
    fn heal(&mut self) {
        let world = &mut self.world;
        world.ctx.line(|| "nothing fails any more".into());
        world.ctx.faults.stop();
        world.checker.ledger.book.borrow_mut().is_quiet = true;
        world.network.heal(&mut world.ctx);
        world.start_relay();
        world.resume_relay();
        let pages: Vec<PageId> = world.pages.keys().copied().collect();
        for page in pages {
            world.quicken_page(page);
            world.thaw(page);
            world.reopen_page(page);
            if world.is_refused(page) {
                world.kill_page(page);
            } else {
                world.show_page(page, true);
            }
        }
        let tabs: Vec<TabId> = world.tabs.keys().copied().collect();
        for tab in tabs.iter().copied() {
            world.quicken(tab);
        }
        for profile in 0..world.profiles.len() {
            world.profiles[profile].offline = false;
            if world.checker.encrypts {
                // What a person signs by a clock that is ahead, a reset above all, makes older what others sign.
                world.profiles[profile].skew_ms = 0;
            }
            let pages = world.pages_of(profile);
            // Also one that another took the database from: where that is deleted, it may make it anew.
            for tab in tabs.iter().copied().filter(|tab| world.tabs.get(tab).is_some_and(|tab| tab.profile == profile)).collect::<Vec<_>>()
            {
                world.feed(tab, Input::SetOffline { offline: false });
            }
            world.tell_of_loss(profile);
            let Some(page) = pages.first().copied() else {
                world.open_soon(profile);
                continue;
            };
            let (wallet, peers) = (world.profiles[profile].wallet, world.profiles[profile].peers.clone());
            world.call(page, |request| Input::ConnectWallet { request, wallet: wallet.into() });
            for peer in peers {
                let shy = world.profiles[profile].shy;
                if shy
                    && !world.profiles[profile].disk.state().records.sessions.contains_key(&session_of(
                        wallet,
                        peer,
                        world.checker.encrypts,
                    ))
                {
                    continue;
                }
                world.call(page, |request| Input::UnblockWallet { request, peer_wallet: peer.into() });
                world.call(page, |request| Input::OpenSession { request, peer_wallet: peer.into() });
            }
        }
    }

    fn converge(&mut self) {
        const LOOK_MS: u64 = 4_000;
        let world = &mut self.world;
        // Who is sealed rubbish asks, is given rubbish, asks again; and begins an epoch of its own in 10 minutes only where it just has.
        let is_deceived = world.encryption.is_some_and(|encryption| encryption.dishonest.is_some());
        let patience_ms = if is_deceived { CONVERGE_MS_MAX + UNCAUSED_EPOCH_MS } else { CONVERGE_MS_MAX };
        let mut deadline_ms = world.ctx.agenda.now_ms() + patience_ms;
        let mut look_ms = world.ctx.agenda.now_ms() + LOOK_MS;
        while world.checker.violation().is_none() && world.ctx.agenda.now_ms() < deadline_ms && world.step().is_some() {
            if world.ctx.agenda.now_ms() >= look_ms {
                look_ms = world.ctx.agenda.now_ms() + LOOK_MS;
                if world.unsettled().is_none() {
                    break;
                }
                if world.has_waited_for_day() {
                    deadline_ms = world.ctx.agenda.now_ms() + patience_ms;
                }
            }
        }
        if world.checker.violation().is_none() {
            world.judge();
        }
        if self.world.checker.encrypts && self.world.checker.violation().is_none() {
            const REST_MS: u64 = 60_000;
            let before = self.world.heads();
            self.run_until(self.world.ctx.agenda.now_ms() + REST_MS);
            self.world.judge_rest(&before);
        }
    }
}
