//! Which faults a seed has, how often they strike, and how often they did.

use fastrand::Rng;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal, $rate_max:literal;)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[doc = $doc])+ $name,)+ }

        impl Fault {
            /// Every kind, in the order of the table.
            pub const ALL: &[Fault] = &[$(Fault::$name,)+];
            const FACTS: &[(&str, u64)] = &[$(($label, $rate_max),)+];
        }
    };
}

// The numbers are those of docs/numbers.md. The rate is per mille of the occasions of each: of frames, commits,
// journal groups, connections, actions, or operations of the script; 0 where it follows from other faults.
faults! {
    /// A connection is lost with a suffix of what is under way, either way.
    SuffixLost = "F1 suffix lost", 12;
    /// The relay gets a message a second time. Follows from lost acknowledgements.
    DuplicateResend = "F2 duplicate resend", 0;
    /// A frame of an older socket arrives after one of its successor.
    ReorderedSockets = "F3 reordered across sockets", 0;
    /// A direction is clogged for up to 5 seconds.
    Clogged = "F4 clogged", 15;
    /// Nothing passes between a device and the relay for a while, one way or both.
    Partition = "F5 partition", 12;
    /// A path dies and nobody is told.
    HalfOpen = "F6 half-open", 4;
    /// The connection ends in the middle of a frame.
    CutFrame = "F7 cut mid-frame", 8;
    /// The relay's side ends the connection with a code.
    CloseCode = "F8 close code", 4;
    /// The relay, or something before it, does not let the connection come about.
    HandshakeRefused = "F9 handshake refused", 200;
    /// The relay is killed.
    RelayKilled = "F10 relay killed", 15;
    /// The relay's machine goes down with what was not synced.
    UnsyncedLost = "F11 unsynced writes lost", 0;
    /// The last write of the journal is torn.
    TornWrite = "F12 torn write", 0;
    /// The journal's sync fails, and nobody knows what is on the disk.
    SyncFailed = "F13 fsync failed", 30;
    /// The journal cannot write or read.
    JournalFailed = "F14 journal I/O error", 30;
    /// The journal takes up to a second.
    JournalSlow = "F16 slow journal", 40;
    /// The relay stands still for up to a minute.
    RelayPaused = "F17 relay paused", 4;
    /// The relay's wall clock jumps.
    RelayClockJump = "F18 relay clock jump", 6;
    /// An older copy of the journal is put back.
    JournalSetBack = "F19 journal set back", 0;
    /// An older copy of the journal is put back, and the log grows another way from there.
    JournalForked = "F19 journal set back and grown again", 0;
    /// A commit succeeds and then aborts for want of space.
    QuotaAbort = "F27 quota abort", 40;
    /// The database takes long to open.
    OpenHangs = "F28 open hangs", 100;
    /// The connection to the database is lost.
    StorageLost = "F29 storage connection lost", 15;
    /// Everything stored is gone.
    Evicted = "F31 evicted", 3;
    /// The database is deleted under an open tab.
    DatabaseDeleted = "F32 database deleted under a tab", 12;
    /// The device's machine goes down with what was stored relaxed.
    RelaxedLost = "F33 relaxed writes lost", 10;
    /// The tab is killed.
    TabKilled = "F36 tab killed", 30;
    /// The tab is frozen and thaws.
    Frozen = "F37 frozen tab", 20;
    /// The tab's timers run once a minute.
    SlowTimers = "F38 timers once a minute", 80;
    /// A second tab opens the same profile.
    DuplicatedTab = "F39 duplicated tab", 25;
    /// The browser has no Web Locks.
    NoLocks = "F40 no Web Locks", 150;
    /// The profile is copied to another browser.
    ClonedProfile = "F41 cloned profile", 5;
    /// An older copy of the profile is put back.
    ProfileSetBack = "F42 profile set back", 8;
    /// The device's wall clock jumps.
    ClockJump = "F45 clock jump", 12;
    /// The browser says that the network is back when it is not, or that the page is seen again.
    OnlineWrong = "F46 online event", 20;
    /// A member sends what no honest one would.
    HostileFrame = "F47 hostile frame", 0;
    /// The relay lies.
    RelayLies = "F48 lying relay", 0;
    /// A member never reads.
    NeverReads = "F49 never-reading consumer", 0;
    /// A tab is put aside, as when its user goes to another page, and may come back.
    PutAside = "F52 tab put aside", 20;
    /// The last that a tab said when it ended does not arrive.
    LettersLost = "F53 last words lost", 0;
    /// What one tab says to another takes long.
    LettersSlow = "F54 slow channel", 20;
    /// A tab takes the lock of one that does not answer. Follows from others.
    LockStolen = "F55 lock stolen", 0;
    /// A frozen tab keeps the store from all others.
    StoreBlocked = "F56 store blocked", 400;
    /// The store does not open, and does later.
    StartFailed = "F57 start failed", 30;
    /// A tab runs another version of the application.
    OtherVersion = "F58 another version in a tab", 100;
    /// A tab has other settings.
    OtherSettings = "F59 other settings in a tab", 30;
    /// A tab is hidden or shown.
    Hidden = "F60 tab hidden or shown", 60;
    /// A database that was deleted cannot be made anew at first.
    NotMadeAnew = "F61 database not made anew", 250;
}

impl Fault {
    /// As it is printed.
    pub fn label(self) -> &'static str {
        Fault::FACTS[self as usize].0
    }

    fn rate_max_per_mille(self) -> u64 {
        Fault::FACTS[self as usize].1
    }
}

/// The faults of one seed.
#[derive(Clone)]
pub struct Faults {
    rates_per_mille: Vec<u64>,
    counts: Vec<u64>,
    active: bool,
}

impl Faults {
    /// None at all.
    pub fn none() -> Faults {
        Faults { rates_per_mille: vec![0; Fault::ALL.len()], counts: vec![0; Fault::ALL.len()], active: false }
    }

    /// Draws the rates of a seed. Each kind is left out in some seeds, so that others come to bear (swarm testing), and is
    /// far more frequent than usual in some.
    pub fn draw(random: &mut Rng) -> Faults {
        let mut faults = Faults { active: true, ..Faults::none() };
        for fault in Fault::ALL {
            let max = fault.rate_max_per_mille();
            faults.rates_per_mille[*fault as usize] = match random.u8(0..10) {
                _ if max == 0 => 0,
                0..3 => 0,
                3..9 => random.u64(1..=max),
                _ => (max * 4).min(500),
            };
        }
        faults
    }

    /// Whether the fault strikes on this occasion; counted where it does.
    pub fn strikes(&mut self, fault: Fault, random: &mut Rng) -> bool {
        let rate = self.rates_per_mille[fault as usize];
        let strikes = self.active && rate > 0 && random.u64(0..1_000) < rate;
        if strikes {
            self.count(fault);
        }
        strikes
    }

    /// Counts a fault that came about without being drawn, because another one caused it.
    pub fn count(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }

    /// From now on nothing fails any more.
    pub fn stop(&mut self) {
        self.active = false;
    }

    /// Whether things may still fail.
    pub fn active(&self) -> bool {
        self.active
    }

    /// How often each struck, in the order of [`Fault::ALL`].
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The rates of this seed, for people.
    pub fn rates(&self) -> String {
        let drawn = Fault::ALL.iter().zip(&self.rates_per_mille).filter(|(_, rate)| **rate > 0);
        drawn.map(|(fault, rate)| format!("{} {rate}‰", fault.label())).collect::<Vec<_>>().join(", ")
    }
}
