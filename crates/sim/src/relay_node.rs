//! The relay's process: the real machine, its sockets, its timer and the journal's thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use solconnect_sync_core::ids::SessionId;
use solconnect_sync_core::relay::{Action, Input, JournalAnswer, JournalQuestion, Relay, StoredEntry, Ticket};
use solconnect_sync_core::time::Now;

use crate::faults::Fault;
use crate::liar::repeated;
use crate::network::{ConnectionId, Peer, Side};
use crate::relay_disk::{Journal, Rows};
use crate::world::{Happening, WALL_MS, World};

/// Questions that the journal answers together at most.
const GROUP_QUESTIONS_MAX: usize = 16;

/// The relay's process and its disk.
#[derive(Default)]
pub struct RelayNode {
    machine: Option<Relay>,
    /// Counts processes: what belongs to an earlier one is dropped.
    life: u64,
    journal: Journal,
    /// Questions that the journal has not looked at.
    queue: VecDeque<(Ticket, JournalQuestion)>,
    /// The group that it works on, with its answers.
    group: Vec<(Ticket, JournalQuestion, Option<JournalAnswer>)>,
    journal_works: bool,
    timer_ms: Option<u64>,
    paused: bool,
    /// Sockets at which something waits for the end of a pause.
    held: BTreeSet<ConnectionId>,
    /// By how many milliseconds the wall clock is wrong.
    skew_ms: i64,
    /// It shows the last entry of each batch a second time.
    pub repeats: bool,
}

impl RelayNode {
    /// Whether a process is there to take connections.
    pub fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    /// Which process it is.
    pub fn life(&self) -> u64 {
        self.life
    }

    /// Whether it stands still.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Something waits at this socket.
    pub fn hold(&mut self, connection: ConnectionId) {
        self.held.insert(connection);
    }

    /// What is on its disk.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

impl World {
    fn relay_now(&self) -> Now {
        let now_ms = self.ctx.agenda.now_ms();
        Now { monotonic_ms: now_ms, wall_ms: (WALL_MS + now_ms).saturating_add_signed(self.relay.skew_ms) }
    }

    /// A process starts over the journal.
    pub fn start_relay(&mut self) {
        if self.relay.is_up() {
            return;
        }
        self.relay.life += 1;
        self.relay.machine = Some(self.sign_in.relay(&mut self.ctx.random));
        self.checker.recovered(&self.relay.journal);
        self.ctx.line(|| "the relay starts".into());
    }

    /// The process is killed; with its machine, what was not synced is lost too.
    pub fn kill_relay(&mut self, with_machine: bool) {
        if !self.relay.is_up() {
            return;
        }
        self.ctx.faults.count(Fault::RelayKilled);
        self.ctx.line(|| format!("the relay is killed{}", if with_machine { " with its machine" } else { "" }));
        self.relay.machine = None;
        self.relay.queue.clear();
        self.relay.group.clear();
        self.relay.journal_works = false;
        self.relay.timer_ms = None;
        let unsynced = self.relay.journal.unsynced();
        // Of a process, what it has written is with the system; of a machine, a prefix of it is on the disk.
        let kept = if with_machine { self.ctx.random.usize(0..=unsynced) } else { unsynced };
        if kept < unsynced {
            self.ctx.faults.count(Fault::UnsyncedLost);
            if self.ctx.random.bool() {
                // The first that is lost is there in part: its checksum tells.
                self.ctx.faults.count(Fault::TornWrite);
            }
        }
        self.relay.journal.go_back(kept);
        if self.ctx.random.bool() {
            self.relay.journal.find_ghost();
        }
        self.relay.journal.sync();
        for connection in self.network.sockets_of(|_| true) {
            self.network.vanish(&mut self.ctx, connection, Side::Relay);
        }
        self.relay.life += 1;
        self.checker.relay_ended();
        let down_ms = self.ctx.random.u64(0..3_000);
        self.ctx.agenda.after(down_ms, Happening::StartRelay);
    }

    /// An older copy of its journal is put back, and it is started over that (F19).
    pub fn set_relay_back(&mut self, backup: BTreeMap<SessionId, Rows>) {
        self.ctx.faults.count(Fault::JournalSetBack);
        self.kill_relay(false);
        self.relay.journal.set_back(backup);
        self.checker.expect_set_back(&self.relay.journal);
        self.ctx.line(|| "the relay's journal is set back".into());
    }

    /// The relay lies: it is started over a journal in which the log of a session is this one.
    pub fn rewrite_log(&mut self, session_id: &str, entries: Vec<StoredEntry>) {
        self.kill_relay(false);
        self.relay.journal.rewrite(session_id, entries);
        self.checker.expect_lie(&self.relay.journal);
        self.ctx.line(|| format!("the relay rewrites the log of {session_id}"));
    }

    /// The relay stands still for a while (F17).
    pub fn pause_relay(&mut self) {
        if !self.relay.paused {
            self.relay.paused = true;
            let pause_ms = self.ctx.random.u64(1_000..60_000);
            self.ctx.agenda.after(pause_ms, Happening::ResumeRelay);
            self.ctx.line(|| format!("the relay stands still for {pause_ms} ms"));
        }
    }

    /// The relay moves on after a pause.
    pub fn resume_relay(&mut self) {
        self.relay.paused = false;
        for connection in std::mem::take(&mut self.relay.held) {
            self.ctx.agenda.after(0, Happening::Deliver(connection, Side::Relay));
        }
        self.relay_timer();
    }

    /// Its wall clock jumps.
    pub fn jump_relay_clock(&mut self) {
        self.relay.skew_ms = jump_ms(&mut self.ctx.random);
    }

    /// The clock of the relay's machine goes on by so much.
    pub fn move_relay_clock(&mut self, by_ms: i64) {
        self.relay.skew_ms += by_ms;
    }

    /// A socket has taken bytes.
    pub fn socket_took(&mut self, connection: ConnectionId, bytes: usize) {
        let Some(life) = self.network.link(connection).map(|link| link.relay_life) else { return };
        if life == self.relay.life {
            self.checker.relay_sent(self.ctx.agenda.now_ms(), connection, bytes);
            self.feed_relay(life, Input::Sent { connection, bytes });
        }
    }

    /// Its timer.
    pub fn relay_timer(&mut self) {
        let now_ms = self.ctx.agenda.now_ms();
        self.relay.timer_ms = self.relay.timer_ms.filter(|at_ms| *at_ms > now_ms);
        if !self.relay.paused {
            self.feed_relay(self.relay.life, Input::Timeout);
        }
    }

    /// The machine takes an input.
    pub fn feed_relay(&mut self, life: u64, input: Input) {
        if life != self.relay.life || self.checker.violation().is_some() {
            return;
        }
        let now = self.relay_now();
        match &input {
            Input::Opened { connection, encoding, .. } => {
                let honest = self.network.link(*connection).is_some_and(|link| matches!(link.peer, Peer::Tab(..)));
                self.checker.relay_opened(*connection, *encoding, honest);
            }
            Input::Closed { connection } => self.checker.relay_forgot(*connection),
            Input::Journal { ticket, answer } => self.ctx.line(|| format!("journal answers {ticket}: {}", short(answer))),
            _ => {}
        }
        let Some(machine) = self.relay.machine.as_mut() else { return };
        let actions = machine.handle(now, input);
        for action in actions {
            if self.ctx.faults.active() && self.ctx.random.u32(0..4_000) == 0 {
                return self.kill_relay(true);
            }
            self.run_relay_action(action);
        }
        self.checker.relay_handled(now.monotonic_ms);
        if let Some(at_ms) = self.relay.machine.as_ref().and_then(Relay::next_timeout_ms)
            && self.relay.timer_ms.is_none_or(|timer_ms| at_ms < timer_ms)
        {
            self.relay.timer_ms = Some(at_ms);
            self.ctx.agenda.at(at_ms, Happening::RelayTimer);
        }
    }

    fn run_relay_action(&mut self, action: Action) {
        match action {
            Action::Transmit { connection, payload } => {
                self.ctx.line(|| format!("relay → {connection}: {}", crate::lines::describe(&payload)));
                self.checker.relay_transmitted(connection, &payload);
                let payload = if self.relay.repeats { repeated(&payload).unwrap_or(payload) } else { payload };
                self.network.send(&mut self.ctx, connection, Side::Peer, payload);
            }
            Action::Disconnect { connection, code, reason } => {
                self.ctx.line(|| format!("relay cuts {connection}: {code} {reason}"));
                self.checker.relay_forgot(connection);
                self.network.end(&mut self.ctx, connection, Side::Peer, &format!("{code} {reason}"));
                self.network.end(&mut self.ctx, connection, Side::Relay, "it was cut");
            }
            Action::Journal { ticket, question } => {
                if let JournalQuestion::Load { session_id } = &question {
                    self.checker.loading.insert(session_id.clone());
                }
                if let JournalQuestion::Append { session_id, entries, .. } = &question {
                    self.checker.taken(session_id, entries);
                }
                self.relay.queue.push_back((ticket, question));
                self.wake_journal();
            }
            Action::Log { .. } => {}
        }
    }

    fn wake_journal(&mut self) {
        if self.relay.journal_works || self.relay.queue.is_empty() {
            return;
        }
        self.relay.journal_works = true;
        let slow = self.ctx.strikes(Fault::JournalSlow);
        let wait_ms = if slow { self.ctx.random.u64(0..1_000) } else { self.ctx.random.u64(0..3) };
        self.ctx.agenda.after(wait_ms, Happening::Journal(self.relay.life));
    }

    /// The journal answers what waits, as one group. What it reads is said at once, what it writes when it is synced.
    pub fn journal_works(&mut self, life: u64) {
        if life != self.relay.life {
            return;
        }
        let count = self.relay.queue.len().min(GROUP_QUESTIONS_MAX);
        let group: Vec<(Ticket, JournalQuestion)> = self.relay.queue.drain(..count).collect();
        for (ticket, question) in group {
            let fails = !matches!(question, JournalQuestion::Note { .. }) && self.ctx.strikes(Fault::JournalFailed);
            let answer = if fails {
                Some(JournalAnswer::Failed { reason: "no space left on the device".into() })
            } else {
                self.relay.journal.answer(&question)
            };
            if let (JournalQuestion::Append { session_id, .. }, Some(JournalAnswer::Failed { reason }), false) = (&question, &answer, fails)
            {
                self.checker.append_refused(session_id, reason);
            }
            self.ctx.line(|| format!("journal is asked {ticket}: {}", ask(&question)));
            self.relay.group.push((ticket, question, answer));
        }
        if self.ctx.faults.active() && self.ctx.random.u32(0..400) == 0 {
            return self.kill_relay(true);
        }
        let slow = self.ctx.strikes(Fault::JournalSlow);
        let wait_ms = if slow { self.ctx.random.u64(0..1_000) } else { self.ctx.random.u64(0..4) };
        self.ctx.agenda.after(wait_ms, Happening::JournalSynced(life));
    }

    /// The group is on the disk, or its sync failed.
    pub fn journal_synced(&mut self, life: u64) {
        if life != self.relay.life {
            return;
        }
        let group = std::mem::take(&mut self.relay.group);
        let stored = |(_, question, answer): &(Ticket, JournalQuestion, Option<JournalAnswer>)| {
            matches!(question, JournalQuestion::Append { .. }) && *answer == Some(JournalAnswer::Appended)
        };
        let failed = group.iter().any(stored) && self.ctx.strikes(Fault::SyncFailed);
        if failed {
            let appends = group.iter().filter(|asked| stored(asked)).map(|(_, question, _)| question.clone()).collect();
            self.relay.journal.fail_sync(appends);
        } else {
            self.relay.journal.sync();
        }
        self.relay.journal_works = false;
        for asked in group {
            let was_stored = stored(&asked);
            let (ticket, question, answer) = asked;
            let Some(answer) = answer else { continue };
            if let JournalQuestion::Load { session_id } = &question {
                self.checker.loading.remove(session_id);
            }
            let answer = if failed && !matches!(question, JournalQuestion::Load { .. }) {
                JournalAnswer::Failed { reason: "the journal cannot be synced".into() }
            } else if failed {
                // It may have seen what was taken back.
                self.relay.journal.answer(&question).unwrap_or(answer)
            } else {
                answer
            };
            if let (JournalQuestion::Append { session_id, entries, .. }, true, false) = (&question, was_stored, failed) {
                self.checker.appended(session_id, entries);
            }
            self.feed_relay(life, Input::Journal { ticket, answer });
        }
        self.wake_journal();
    }

    /// Whether the relay lets a device connect now.
    pub fn accepts(&mut self) -> bool {
        self.relay.is_up() && !self.ctx.strikes(Fault::HandshakeRefused)
    }

    /// Between these devices and the relay nothing passes for a while, one way or both.
    pub fn partition(&mut self, is: impl Fn(Peer) -> bool) {
        let until_ms = self.ctx.agenda.now_ms() + self.ctx.random.u64(1_000..40_000);
        let ways = self.ctx.random.u8(0..3);
        for connection in self.network.sockets_of(is) {
            for (side, other) in [(Side::Relay, 1), (Side::Peer, 2)] {
                if ways != other {
                    self.network.block(connection, side, until_ms);
                }
            }
        }
    }
}

/// How far a wall clock jumps: seconds, days or years, either way.
pub fn jump_ms(random: &mut fastrand::Rng) -> i64 {
    let scale = [1_000, 86_400_000, 20 * 365 * 86_400_000][random.usize(0..3)];
    random.i64(-scale..=scale)
}

fn ask(question: &JournalQuestion) -> String {
    match question {
        JournalQuestion::Append { session_id, entries, .. } => {
            let first = entries.first().map_or(0, |entry| entry.sequence);
            format!("append {} to {} from {first}", entries.len(), &session_id[..session_id.len().min(4)])
        }
        JournalQuestion::Load { session_id } => format!("load {}", &session_id[..session_id.len().min(4)]),
        JournalQuestion::Read { from, count_max, .. } => format!("read {count_max} from {from}"),
        JournalQuestion::Find { counters, keys, places, .. } => format!("find {counters:?} {keys:?} {places:?}"),
        JournalQuestion::Clocks { at, .. } => format!("clocks at {at:?}"),
        JournalQuestion::Sessions { wallet, .. } => format!("sessions of {}", &wallet[..wallet.len().min(4)]),
        JournalQuestion::Note { .. } => "note".into(),
    }
}

fn short(answer: &JournalAnswer) -> String {
    match answer {
        JournalAnswer::Session(session) => format!("head {}", session.head),
        JournalAnswer::Appended => "appended".into(),
        JournalAnswer::Entries(entries) => format!("{} entries", entries.len()),
        JournalAnswer::Clocks(clocks) => format!("{} clocks", clocks.len()),
        JournalAnswer::Sessions(sessions) => format!("{} sessions", sessions.len()),
        JournalAnswer::Failed { reason } => format!("failed: {reason}"),
    }
}
