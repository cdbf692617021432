//! The world: devices, network, relay and checker on one agenda.

use std::collections::BTreeMap;

use fastrand::Rng;
use solconnect_sync_core::client::vault::Secret;
use solconnect_sync_core::client::{self, Commit};
use solconnect_sync_core::relay;

use crate::agenda::Agenda;
use crate::checker::Checker;
use crate::device::{Profile, Tab};
use crate::encryption::Encryption;
use crate::faults::{Fault, Faults};
use crate::hostile::Hostile;
use crate::network::{ConnectionId, Network, Parcel, Peer, Side};
use crate::page::{About, Body, Letter, Page};
use crate::relay_node::RelayNode;
use crate::signers::SignIn;
use crate::trace::Trace;

/// Names one life of a profile's machine: from a tab's claim of the database to its end.
pub type TabId = u64;

/// Names one tab as its user sees it.
pub type PageId = u64;

/// Names one browser profile: a database and the device that it is.
pub type ProfileId = usize;

/// The wall clock at the beginning.
pub const WALL_MS: u64 = 1_700_000_000_000;

/// How many steps one millisecond of virtual time may take. A machine that needs more would keep a processor busy for ever.
const STEPS_AT_ONCE_MAX: u64 = 50_000;

/// What happens.
pub enum Happening {
    /// The script goes on.
    Operation,
    /// Something may arrive at this side of a socket.
    Deliver(ConnectionId, Side),
    /// The relay's system gives up a dead socket.
    Reap(ConnectionId),
    /// A socket of the relay has taken so many bytes.
    Sent(ConnectionId, usize),
    /// A page opens.
    OpenPage(ProfileId),
    /// A page that was put aside comes back.
    ReopenPage(PageId),
    /// Something comes to a page.
    Page(PageId, About, solconnect_sync_core::tab::Input<Body>),
    /// What another page has said comes to one.
    Letter(Box<Letter>),
    /// A page's timer.
    PageTimer(PageId),
    /// A page's request for the store comes to it, in this start of its engine, with the claim that it must be above.
    Claim(PageId, u64, u64),
    /// A tab's input.
    Tab(TabId, client::Input),
    /// The disk gets to a tab's commit.
    Commit(TabId, Commit),
    /// A person signs with the wallet of a tab.
    Sign(TabId),
    /// A tab copies what it has stored of its outbox.
    Copy(TabId),
    /// A tab's timer.
    TabTimer(TabId),
    /// A frozen page thaws.
    Thaw(PageId),
    /// The relay process starts.
    StartRelay,
    /// An input for the relay, in this life of it.
    Relay(u64, relay::Input),
    /// The relay's timer.
    RelayTimer,
    /// The relay moves on after a pause.
    ResumeRelay,
    /// The journal takes what is in its queue as one group.
    Journal(u64),
    /// The journal has synced the group that it works on.
    JournalSynced(u64),
    /// A hostile member acts.
    Hostile(usize),
    /// People look at their devices, where sessions are encrypted.
    People,
}

/// What every part of the world needs.
pub struct Context {
    /// What will happen.
    pub agenda: Agenda<Happening>,
    /// All randomness.
    pub random: Rng,
    /// What fails.
    pub faults: Faults,
    /// What has happened.
    pub trace: Trace,
    latency_ms_max: u64,
}

impl Context {
    /// Whether a fault strikes.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        self.faults.strikes(fault, &mut self.random)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.random.usize(0..from.len())]
    }

    /// How long a frame takes now.
    pub fn latency_ms(&mut self) -> u64 {
        if self.faults.active() && self.random.u8(0..20) == 0 { self.random.u64(0..=self.latency_ms_max) } else { self.random.u64(1..=8) }
    }

    /// A line of the trace.
    pub fn line(&mut self, line: impl FnOnce() -> String) {
        self.trace.line(self.agenda.now_ms(), line);
    }
}

/// Everything that there is in one seed.
pub struct World {
    /// What every part needs.
    pub ctx: Context,
    /// The sockets.
    pub network: Network,
    /// The browser profiles.
    pub profiles: Vec<Profile>,
    /// The open pages.
    pub pages: BTreeMap<PageId, Page>,
    /// The machines of those that own their profiles, or did and are about to end.
    pub tabs: BTreeMap<TabId, Tab>,
    /// The relay.
    pub relay: RelayNode,
    /// Whether devices sign in.
    pub sign_in: SignIn,
    /// How sessions are encrypted, where they are.
    pub encryption: Option<Encryption>,
    /// Since when no device of a wallet has the key of its account.
    pub(crate) keyless_since_ms: BTreeMap<&'static str, u64>,
    /// What the passkey of a wallet gives, as its person's authenticator has it.
    pub(crate) passkeys: BTreeMap<&'static str, Secret>,
    /// The hostile members.
    pub hostiles: Vec<Hostile>,
    /// The checker, which judges what is seen.
    pub checker: Checker,
    pub(crate) last_tab: TabId,
    pub(crate) last_page: PageId,
    /// Frozen pages hear what others say (P21).
    pub(crate) frozen_pages_hear: bool,
    steps_at_once: u64,
    pub(crate) last_request: u64,
    /// How often somebody asked for a device to be approved or removed.
    pub(crate) device_changes: u8,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, lines_max: usize) -> World {
        let mut random = Rng::with_seed(seed);
        let faults = Faults::draw(&mut random);
        let frozen_pages_hear = random.bool();
        let latency_ms_max = *[20, 100, 400].get(random.usize(0..3)).unwrap_or(&20);
        World {
            ctx: Context { agenda: Agenda::default(), random, faults, trace: Trace::new(lines_max), latency_ms_max },
            network: Network::default(),
            profiles: Vec::new(),
            pages: BTreeMap::new(),
            tabs: BTreeMap::new(),
            relay: RelayNode::default(),
            sign_in: SignIn::Never,
            encryption: None,
            keyless_since_ms: BTreeMap::new(),
            passkeys: BTreeMap::new(),
            hostiles: Vec::new(),
            checker: Checker::default(),
            last_tab: 0,
            last_page: 0,
            frozen_pages_hear,
            steps_at_once: 0,
            last_request: 0,
            device_changes: 0,
        }
    }

    /// Lets the next thing happen, unless it is the script's turn, which the caller takes. `None` when nothing is left.
    pub fn step(&mut self) -> Option<Step> {
        let before_ms = self.ctx.agenda.now_ms();
        let happening = self.ctx.agenda.advance()?;
        self.ctx.trace.step(self.ctx.agenda.now_ms());
        self.steps_at_once = if self.ctx.agenda.now_ms() == before_ms { self.steps_at_once + 1 } else { 0 };
        if self.steps_at_once > STEPS_AT_ONCE_MAX {
            self.checker.violate(26, "time stands still: a machine asks again and again for a moment that has passed".into());
        }
        match happening {
            Happening::Operation => return Some(Step::Operation),
            Happening::Deliver(connection, side) => self.deliver(connection, side),
            Happening::Reap(connection) => self.network.reap(&mut self.ctx, connection),
            Happening::Sent(connection, bytes) => self.socket_took(connection, bytes),
            Happening::OpenPage(profile) => self.open_page(profile),
            Happening::ReopenPage(page) => self.reopen_page(page),
            Happening::Page(page, about, input) => self.page_input(page, about, input),
            Happening::Letter(letter) => self.deliver_letter(*letter),
            Happening::PageTimer(page) => self.page_timer(page),
            Happening::Claim(page, start, above) => self.claim(page, start, above),
            Happening::Tab(tab, input) => self.feed(tab, input),
            Happening::Commit(tab, commit) => self.store(tab, commit),
            Happening::Sign(tab) => self.sign(tab),
            Happening::Copy(tab) => self.copy_outbox(tab),
            Happening::TabTimer(tab) => self.tab_timer(tab),
            Happening::Thaw(page) => self.thaw(page),
            Happening::StartRelay => self.start_relay(),
            Happening::Relay(life, input) => self.feed_relay(life, input),
            Happening::RelayTimer => self.relay_timer(),
            Happening::ResumeRelay => self.resume_relay(),
            Happening::Journal(life) => self.journal_works(life),
            Happening::JournalSynced(life) => self.journal_synced(life),
            Happening::Hostile(index) => self.hostile_acts(index),
            Happening::People => self.people(),
        }
        Some(Step::World)
    }

    fn deliver(&mut self, connection: ConnectionId, side: Side) {
        if side == Side::Relay && self.relay.is_paused() {
            self.relay.hold(connection);
            return;
        }
        let Some(link) = self.network.link(connection) else { return };
        let (peer, relay_life, encoding) = (link.peer, link.relay_life, link.encoding);
        let Some(parcel) = self.network.arrive(&mut self.ctx, connection, side) else { return };
        self.ctx.trace.number(connection * 2 + side as u64);
        if let Parcel::Frame(payload) = &parcel {
            self.ctx.trace.bytes(match payload {
                solconnect_sync_core::frame::Payload::Text(text) => text.as_bytes(),
                solconnect_sync_core::frame::Payload::Binary(bytes) => bytes,
            });
        }
        if side == Side::Relay {
            let input = match parcel {
                Parcel::Opened => relay::Input::Opened { connection, encoding, source: None },
                Parcel::Frame(payload) => {
                    let same = |other: Peer| matches!((other, peer), (Peer::Tab(a, _), Peer::Tab(b, _)) if self.profile_of(a) == self.profile_of(b));
                    if self.network.has_newer(connection, same) {
                        self.ctx.faults.count(Fault::ReorderedSockets);
                    }
                    self.checker.relay_received(&mut self.ctx, connection, &payload);
                    relay::Input::Received { connection, payload }
                }
                Parcel::Closed(_) => relay::Input::Closed { connection },
            };
            self.feed_relay(relay_life, input);
        } else {
            match peer {
                Peer::Tab(tab, generation) => self.tab_hears(tab, generation, parcel),
                Peer::Hostile(index) => self.hostile_hears(index, connection, parcel),
            }
        }
    }

    /// The profile of a tab, where that is open.
    pub fn profile_of(&self, tab: TabId) -> Option<ProfileId> {
        Some(self.tabs.get(&tab)?.profile)
    }
}

/// Whose turn a step was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The script's turn.
    Operation,
    /// The world's own.
    World,
}
