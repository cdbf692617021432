//! A page: what its user sees as a tab. The machine that says which page owns the profile's database is the real one; the lock, the
//! channel and the moments at which pages are hidden, frozen and killed are the world's. The engine of a page that owns is a
//! [`Tab`](crate::device::Tab), which lives from one claim of the database to the loss of it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use solconnect_sync_core::client::{Input, Reply};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::tab::{self, Action, Kind, Message, Role, TabConfig};

use crate::checker::Mark;
use crate::faults::Fault;
use crate::list::{Lists, Update};
use crate::world::{Happening, PageId, ProfileId, TabId, World};

/// Pages of one profile, at most.
pub const PAGES_MAX: usize = 4;

/// A call with effects of a page that is seen and runs is answered within so long, unless something keeps the store.
const ANSWER_MS_MAX: u64 = 25_000;

/// So long a frozen page may keep its profile's store from all others (P5).
const BLOCKED_MS_MAX: u64 = 60_000;

/// What passes between pages.
#[derive(Clone)]
pub enum Body {
    /// A call of an application, without its number.
    Call(Rc<Input>),
    /// The lists of all sessions are asked for.
    Read,
    /// What a machine answered.
    Reply(Box<Result<Reply, SyncError>>),
    /// The lists.
    Lists(Rc<Lists>),
    /// News for the lists.
    News(Rc<Update>),
    /// What getters show; nothing that is simulated.
    Mirror,
}

/// What an input is about: it is not reported when that is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Something that is true for ever.
    Ever,
    /// A life of the engine.
    Engine(TabId),
    /// A start of it.
    Start(u64),
    /// A request for the lock.
    Lock(u64),
}

/// A message on its way from page to page.
pub struct Letter {
    /// Who said it.
    pub from: PageId,
    /// To whom.
    pub to: PageId,
    /// Which opening of its channel hears it.
    opening: u64,
    message: Message<Body>,
}

/// What tabs that share a database must agree on.
#[derive(Clone)]
pub struct Terms {
    /// The version that it speaks.
    pub protocol: u32,
    /// The oldest one that it understands.
    pub speaks: u32,
    /// Its settings.
    pub settings: String,
}

/// A call that its application awaits the answer of.
#[derive(Default)]
pub struct AppCall {
    /// The message that it sends.
    pub number: Option<u64>,
    /// A machine has had it.
    pub has_run: bool,
    /// When it was made, where it has effects.
    pub made_ms: Option<u64>,
}

/// A page.
pub struct Page {
    /// Over which profile.
    pub profile: ProfileId,
    terms: Terms,
    /// Since when it is seen and runs.
    well_since_ms: u64,
    machine: tab::Tab<Body>,
    /// How often its channel was opened; it hears while that is so.
    opening: u64,
    is_open: bool,
    visible: bool,
    /// What came while it was frozen.
    frozen: Option<VecDeque<(About, tab::Input<Body>)>>,
    slow_timers: bool,
    timer_ms: Option<u64>,
    origin_ms: u64,
    /// Its engine.
    pub engine: Option<TabId>,
    start: u64,
    lock_request: u64,
    /// The calls of the application that wait for their answers, by their numbers.
    pub calls: BTreeMap<u64, AppCall>,
    last_call: u64,
    /// What it shows while another owns, when it has read it.
    list: Option<Lists>,
    /// The call that reads it.
    reading: Option<u64>,
    /// It is to read it.
    wants_lists: bool,
    /// What it is.
    pub role: Role,
}

/// The lock of a profile, and what else its pages share beside the disk.
#[derive(Default)]
pub struct Shared {
    /// The browser has no Web Locks.
    pub no_locks: bool,
    holder: Option<PageId>,
    queue: VecDeque<PageId>,
    /// Nobody else can claim the store until then.
    blocked_until_ms: u64,
    /// When the last letter of a pair arrives, and how many are on their way.
    letters: BTreeMap<(PageId, PageId), (u64, usize)>,
}

impl Shared {
    /// Nobody has the lock, and nothing is on its way.
    pub fn new(no_locks: bool) -> Shared {
        Shared { no_locks, ..Shared::default() }
    }
}

impl World {
    /// The pages of a profile.
    pub fn pages_of(&self, profile: ProfileId) -> Vec<PageId> {
        self.pages.iter().filter(|(_, page)| page.profile == profile).map(|(id, _)| *id).collect()
    }

    /// The first of those of the newest version: no other one shuts it out.
    pub fn newest_page_of(&self, profile: ProfileId) -> Option<PageId> {
        self.pages_of(profile).into_iter().rev().max_by_key(|id| self.pages.get(id).map(|page| page.terms.protocol))
    }

    /// A page opens over a profile.
    pub fn open_page(&mut self, profile: ProfileId) {
        self.profiles[profile].opening = false;
        if self.pages_of(profile).len() >= PAGES_MAX {
            return;
        }
        self.last_page += 1;
        let id = self.last_page;
        let has_locks = !self.profiles[profile].shared.no_locks;
        let is_odd = |world: &mut World, fault| world.ctx.strikes(fault);
        let protocol = 1 + u32::from(is_odd(self, Fault::OtherVersion));
        let speaks = if protocol == 2 && self.ctx.random.u8(0..4) == 0 { 2 } else { 1 };
        let settings = if is_odd(self, Fault::OtherSettings) { "others" } else { "settings" }.to_owned();
        let slow_timers = self.ctx.strikes(Fault::SlowTimers);
        let page = Page {
            profile,
            terms: Terms { protocol, speaks, settings: settings.clone() },
            well_since_ms: self.ctx.agenda.now_ms(),
            machine: tab::Tab::new(TabConfig { id, protocol, speaks, has_locks, settings }),
            opening: 1,
            is_open: true,
            visible: self.ctx.random.u8(0..4) > 0,
            frozen: None,
            slow_timers,
            timer_ms: None,
            origin_ms: self.ctx.random.u64(0..1_000_000_000),
            engine: None,
            start: 0,
            lock_request: 0,
            calls: BTreeMap::new(),
            last_call: 0,
            list: None,
            reading: None,
            wants_lists: false,
            role: Role::Joining,
        };
        self.ctx.line(|| format!("page {id} opens over profile {profile}, version {protocol}"));
        let visible = page.visible;
        self.pages.insert(id, page);
        self.feed_page(id, tab::Input::Open { visible });
    }

    /// The process of a page ends.
    pub fn kill_page(&mut self, id: PageId) {
        let Some(page) = self.pages.remove(&id) else { return };
        self.ctx.line(|| format!("page {id} of profile {} ends", page.profile));
        self.lose_letters(id);
        let engines: Vec<TabId> = self.tabs.iter().filter(|(_, tab)| tab.page == id).map(|(id, _)| *id).collect();
        for engine in engines {
            self.kill_tab(engine);
        }
        self.checker.page_ended(&page.calls);
        self.release(page.profile, id);
    }

    /// The page is hidden for good, or put aside: it says so and gives up everything at once.
    pub fn close_page(&mut self, id: PageId) {
        self.feed_page(id, tab::Input::Close);
        let Some(page) = self.pages.get_mut(&id).filter(|page| page.frozen.is_none()) else { return };
        if std::mem::replace(&mut page.is_open, false) {
            let wait_ms = self.ctx.random.u64(0..30_000);
            self.ctx.line(|| format!("page {id} is put aside for {wait_ms} ms"));
            self.ctx.agenda.after(wait_ms, Happening::ReopenPage(id));
            if self.ctx.random.u8(0..3) == 0 {
                self.lose_letters(id);
            }
        }
    }

    /// It comes back.
    pub fn reopen_page(&mut self, id: PageId) {
        let Some(page) = self.pages.get_mut(&id).filter(|page| page.frozen.is_none() && !page.is_open) else { return };
        (page.is_open, page.opening) = (true, page.opening + 1);
        page.well_since_ms = self.ctx.agenda.now_ms();
        let visible = page.visible;
        self.feed_page(id, tab::Input::Open { visible });
    }

    /// It is seen, or no longer.
    pub fn show_page(&mut self, id: PageId, visible: bool) {
        let Some(page) = self.pages.get_mut(&id).filter(|page| page.frozen.is_none()) else { return };
        page.visible = visible;
        page.well_since_ms = self.ctx.agenda.now_ms();
        self.feed_page(id, tab::Input::Visible { visible });
    }

    /// What a page said last may be lost where it ends.
    fn lose_letters(&mut self, from: PageId) {
        for to in self.pages.keys().copied().collect::<Vec<_>>() {
            if self.ctx.random.bool() {
                continue;
            }
            let is_its = |happening: &Happening| matches!(happening, Happening::Letter(letter) if (letter.from, letter.to) == (from, to));
            let mut letters = self.ctx.agenda.take_timed(is_its);
            let kept = self.ctx.random.usize(0..=letters.len());
            let lost = letters.len() - kept;
            letters.truncate(kept);
            letters.into_iter().for_each(|(at_ms, letter)| self.ctx.agenda.at(at_ms, letter));
            if lost > 0 {
                self.ctx.faults.count(Fault::LettersLost);
                if let Some(profile) = self.pages.get(&to).map(|page| page.profile) {
                    self.arrived(profile, from, to, lost);
                }
            }
        }
    }

    fn arrived(&mut self, profile: ProfileId, from: PageId, to: PageId, count: usize) {
        if let Some((_, under_way)) = self.profiles[profile].shared.letters.get_mut(&(from, to)) {
            *under_way -= count;
        }
    }

    /// A message arrives at a page.
    pub fn deliver_letter(&mut self, letter: Letter) {
        let Letter { from, to, opening, message } = letter;
        let Some((profile, is_heard)) = self.pages.get(&to).map(|page| (page.profile, page.is_open && page.opening == opening)) else {
            return;
        };
        self.arrived(profile, from, to, 1);
        if is_heard {
            self.feed_page(to, tab::Input::Heard(message));
        }
    }

    /// The application of a page makes a call.
    pub fn call(&mut self, id: PageId, input: impl FnOnce(u64) -> Input) {
        let Some(page) = self.pages.get_mut(&id) else { return };
        let input = input(0);
        page.last_call += 1;
        let (profile, call) = (page.profile, page.last_call);
        let number = self.checker.made(id, profile, &input);
        let is_keyed = !matches!(
            input,
            Input::Sync { .. }
                | Input::AutoSync { .. }
                | Input::ConnectWallet { .. }
                | Input::DisconnectWallet { .. }
                | Input::RemoveDevice { .. }
                | Input::ApproveDevice { .. }
                | Input::CreateRecoveryCode { .. }
                | Input::CreatePasskey { .. }
                | Input::Recover { .. }
                | Input::RecoverWithPasskey { .. }
                | Input::Import { .. }
        );
        let made_ms = is_keyed.then_some(self.ctx.agenda.now_ms());
        page.calls.insert(call, AppCall { number, has_run: false, made_ms });
        self.feed_page(id, tab::Input::Call { call, is_keyed, body: Body::Call(Rc::new(input)) });
    }

    /// Something that was on its way to a page comes, where it still is about anything.
    pub fn page_input(&mut self, id: PageId, about: About, input: tab::Input<Body>) {
        let Some(page) = self.pages.get_mut(&id) else { return };
        if let Some(held) = &mut page.frozen {
            return held.push_back((about, input));
        }
        let is_due = match about {
            About::Ever => true,
            About::Engine(engine) => page.engine == Some(engine),
            About::Start(start) => page.start == start,
            About::Lock(request) => page.lock_request == request,
        };
        if is_due {
            self.feed_page(id, input);
        }
    }

    fn feed_page(&mut self, id: PageId, input: tab::Input<Body>) {
        if self.checker.violation().is_some() {
            return;
        }
        let hears = self.frozen_pages_hear;
        let Some(page) = self.pages.get_mut(&id) else { return };
        if let Some(held) = &mut page.frozen
            && !(hears && matches!(input, tab::Input::Heard(_)))
        {
            return held.push_back((About::Ever, input));
        }
        self.ctx.trace.number(id);
        self.ctx.trace.line(self.ctx.agenda.now_ms(), || format!("page {id} ← {}", said(&input)));
        let profile = page.profile;
        for action in page.machine.handle(page.origin_ms + self.ctx.agenda.now_ms(), input) {
            if self.ctx.faults.active() && self.ctx.random.u32(0..6_000) == 0 {
                self.ctx.faults.count(Fault::TabKilled);
                return self.kill_page(id);
            }
            self.run_page_action(id, profile, action);
        }
        self.set_page_timer(id);
        self.read_lists(id);
    }

    /// What the page shows is read anew, where the owner is another or news were missed.
    fn read_lists(&mut self, id: PageId) {
        let Some(page) = self.pages.get_mut(&id).filter(|page| page.wants_lists) else { return };
        page.last_call += 1;
        let call = page.last_call;
        (page.wants_lists, page.reading) = (false, Some(call));
        page.calls.insert(call, AppCall { number: None, has_run: false, made_ms: None });
        self.feed_page(id, tab::Input::Call { call, is_keyed: false, body: Body::Read });
    }

    fn set_page_timer(&mut self, id: PageId) {
        let now_ms = self.ctx.agenda.now_ms();
        let Some(page) = self.pages.get_mut(&id) else { return };
        let Some(due_ms) = page.machine.next_timeout_ms() else { return };
        let due_ms = due_ms.saturating_sub(page.origin_ms);
        // What is due goes by a port, which no browser slows.
        let mut at_ms = due_ms.max(now_ms + 1);
        if due_ms > now_ms && page.slow_timers && !page.visible {
            at_ms = at_ms.next_multiple_of(60_000);
        }
        if page.timer_ms.is_none_or(|timer_ms| at_ms < timer_ms || timer_ms < now_ms) {
            page.timer_ms = Some(at_ms);
            self.ctx.agenda.at(at_ms, Happening::PageTimer(id));
        }
    }

    /// The timer of a page.
    pub fn page_timer(&mut self, id: PageId) {
        let now_ms = self.ctx.agenda.now_ms();
        let Some(page) = self.pages.get_mut(&id).filter(|page| page.frozen.is_none()) else { return };
        if page.timer_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            page.timer_ms = None;
            if page.machine.next_timeout_ms().is_some_and(|due_ms| due_ms <= page.origin_ms + now_ms) {
                self.feed_page(id, tab::Input::Timeout);
            } else {
                self.set_page_timer(id);
            }
        }
    }

    /// A page stops in the middle of everything.
    pub fn freeze(&mut self, id: PageId) {
        let Some(page) = self.pages.get_mut(&id).filter(|page| page.frozen.is_none()) else { return };
        page.frozen = Some(VecDeque::new());
        let (profile, wait_ms) = (page.profile, self.ctx.random.u64(1_000..120_000));
        self.ctx.line(|| format!("page {id} is frozen for {wait_ms} ms"));
        self.ctx.agenda.after(wait_ms, Happening::Thaw(id));
        let engines: Vec<TabId> = self.tabs.iter().filter(|(_, tab)| tab.page == id).map(|(id, _)| *id).collect();
        let is_its = |happening: &Happening| matches!(happening, Happening::Commit(tab, _) if engines.contains(tab));
        let commits = self.ctx.agenda.take_timed(is_its);
        let stuck = !commits.is_empty() && self.ctx.strikes(Fault::StoreBlocked);
        let now_ms = self.ctx.agenda.now_ms();
        let stuck_until_ms = now_ms + wait_ms.min(BLOCKED_MS_MAX);
        if stuck {
            self.profiles[profile].shared.blocked_until_ms = stuck_until_ms;
        }
        for (at_ms, commit) in commits {
            self.ctx.agenda.at(if stuck { stuck_until_ms } else { at_ms }, commit);
        }
        for engine in engines {
            self.freeze_tab(engine);
        }
    }

    /// It goes on, with all that came meanwhile: that its lock was stolen may come last (P22).
    pub fn thaw(&mut self, id: PageId) {
        let Some(held) = self.pages.get_mut(&id).and_then(|page| page.frozen.take()) else { return };
        let engines: Vec<TabId> = self.tabs.iter().filter(|(_, tab)| tab.page == id).map(|(id, _)| *id).collect();
        for engine in engines {
            self.thaw_tab(engine);
        }
        let late = self.ctx.random.bool();
        let (last, first): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, input)| late && matches!(input, tab::Input::Unlocked));
        for (about, input) in first.into_iter().chain(last) {
            self.page_input(id, about, input);
        }
        if let Some(page) = self.pages.get_mut(&id) {
            (page.timer_ms, page.well_since_ms) = (None, self.ctx.agenda.now_ms());
            if !page.is_open {
                self.reopen_page(id);
            }
        }
        self.set_page_timer(id);
    }

    /// Whether a page runs and hears.
    pub fn is_running(&self, id: PageId) -> bool {
        self.pages.get(&id).is_some_and(|page| page.frozen.is_none() && page.is_open)
    }

    /// Whether a page can take no part.
    pub fn is_refused(&self, id: PageId) -> bool {
        self.pages.get(&id).is_some_and(|page| matches!(page.role, Role::Refused { .. }))
    }

    /// Timers are exact again, and nothing keeps the store.
    pub fn quicken_page(&mut self, id: PageId) {
        if let Some(page) = self.pages.get_mut(&id) {
            (page.slow_timers, page.timer_ms) = (false, None);
            self.profiles[page.profile].shared.blocked_until_ms = 0;
        }
        self.set_page_timer(id);
    }

    fn grant(&mut self, profile: ProfileId) {
        let shared = &mut self.profiles[profile].shared;
        shared.queue.retain(|waiting| self.pages.contains_key(waiting));
        if shared.holder.is_some() {
            return;
        }
        let Some(next) = shared.queue.pop_front() else { return };
        shared.holder = Some(next);
        let request = self.pages[&next].lock_request;
        self.locked_soon(next, request);
    }

    fn locked_soon(&mut self, id: PageId, request: u64) {
        let wait_ms = self.ctx.random.u64(0..30);
        self.ctx.agenda.after(wait_ms, Happening::Page(id, About::Lock(request), tab::Input::Locked));
    }

    fn release(&mut self, profile: ProfileId, id: PageId) {
        let shared = &mut self.profiles[profile].shared;
        shared.queue.retain(|waiting| *waiting != id);
        if shared.holder == Some(id) {
            shared.holder = None;
        }
        self.grant(profile);
    }

    fn run_page_action(&mut self, id: PageId, profile: ProfileId, action: Action<Body>) {
        let Some(page) = self.pages.get_mut(&id) else { return };
        match action {
            Action::Lock => {
                page.lock_request += 1;
                self.profiles[profile].shared.queue.push_back(id);
                self.grant(profile);
            }
            Action::Steal => {
                page.lock_request += 1;
                let request = page.lock_request;
                self.ctx.line(|| format!("page {id} steals the lock"));
                self.ctx.faults.count(Fault::LockStolen);
                let shared = &mut self.profiles[profile].shared;
                shared.queue.retain(|waiting| *waiting != id);
                let robbed = shared.holder.replace(id).filter(|robbed| *robbed != id);
                if let Some((robbed, page)) = robbed.and_then(|robbed| Some((robbed, self.pages.get(&robbed)?))) {
                    let about = About::Lock(page.lock_request);
                    let wait_ms = self.ctx.random.u64(0..5);
                    self.ctx.agenda.after(wait_ms, Happening::Page(robbed, about, tab::Input::Unlocked));
                }
                self.locked_soon(id, request);
            }
            Action::Unlock => {
                page.lock_request += 1;
                self.release(profile, id);
            }
            Action::Start { above } => {
                page.start += 1;
                let start = page.start;
                let hangs = self.ctx.strikes(Fault::OpenHangs);
                let wait_ms = if hangs { self.ctx.random.u64(0..6_000) } else { self.ctx.random.u64(0..50) };
                self.ctx.agenda.after(wait_ms, Happening::Claim(id, start, above));
            }
            Action::Stop => {
                page.start += 1;
                if let Some(engine) = page.engine.take() {
                    self.abandon(engine);
                }
            }
            Action::Run { from, call, key, body } => match (page.engine, body) {
                (Some(engine), Body::Read) => {
                    let lists = self.tabs.get(&engine).map(|tab| Body::Lists(Rc::new(tab.lists.clone())));
                    self.ran(id, from, call, lists);
                }
                (Some(engine), Body::Call(input)) => {
                    if let Some(made) = self.pages.get_mut(&from).and_then(|page| page.calls.get_mut(&call))
                        && std::mem::replace(&mut made.has_run, true)
                    {
                        self.checker.mark(Mark::CallRepeated);
                    }
                    self.run_call(engine, (from, call), key, Input::clone(&input));
                }
                _ => self.ran(id, from, call, None),
            },
            Action::Say(message) => self.say(id, profile, message),
            Action::Answer { call, result } => self.answer(id, call, result),
            Action::Mirror(_) | Action::Gone(_) => {}
            Action::Tell(body) => {
                if let (Body::News(update), Some(list), None) = (body, &mut page.list, page.reading) {
                    list.apply(&update);
                }
            }
            Action::Role(role) => {
                self.ctx.trace.line(self.ctx.agenda.now_ms(), || format!("page {id} is {role:?}"));
                if matches!(role, Role::Owning { .. }) {
                    (page.list, page.reading) = (None, None);
                }
                page.role = role;
                self.look_at_role(id);
            }
            Action::Renewed => page.wants_lists = true,
        }
    }

    /// The engine of a page has answered; `None` where it has not done the call and will not.
    pub(crate) fn ran(&mut self, id: PageId, from: PageId, call: u64, result: Option<Body>) {
        self.ctx.agenda.after(0, Happening::Page(id, About::Ever, tab::Input::Ran { from, call, result }));
    }

    fn answer(&mut self, id: PageId, call: u64, result: Result<Body, SyncError>) {
        let Some(page) = self.pages.get_mut(&id) else { return };
        let made = page.calls.remove(&call);
        let is_read = page.reading == Some(call);
        if is_read {
            (page.list, page.reading) = (None, None);
        }
        let error = match result {
            Ok(Body::Lists(lists)) => {
                if is_read {
                    page.list = Some(Lists::clone(&lists));
                }
                None
            }
            Ok(Body::Reply(reply)) => reply.err(),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        self.ctx.trace.line(self.ctx.agenda.now_ms(), || format!("page {id} answers {call}: {error:?}"));
        self.checker.answered(id, call, made, error.as_ref());
    }

    fn say(&mut self, from: PageId, profile: ProfileId, message: Message<Body>) {
        let message = if message.kind == Kind::Owner { Message { body: Some(Body::Mirror), ..message } } else { message };
        let now_ms = self.ctx.agenda.now_ms();
        for to in self.pages_of(profile).into_iter().filter(|to| *to != from) {
            let Some(page) = self.pages.get(&to).filter(|page| page.is_open && message.to.is_none_or(|only| only == to)) else { continue };
            let slow = self.ctx.strikes(Fault::LettersSlow);
            let wait_ms = if slow { self.ctx.random.u64(0..400) } else { self.ctx.random.u64(0..3) };
            let (last_ms, under_way) = self.profiles[profile].shared.letters.entry((from, to)).or_default();
            *last_ms = (now_ms + wait_ms).max(*last_ms);
            *under_way += 1;
            let letter = Letter { from, to, opening: page.opening, message: message.clone() };
            self.ctx.agenda.at(*last_ms, Happening::Letter(Box::new(letter)));
        }
    }

    /// A page's request for the store comes to it.
    pub fn claim(&mut self, id: PageId, start: u64, above: u64) {
        let Some(page) = self.pages.get(&id) else { return };
        let profile = page.profile;
        let free_ms = self.profiles[profile].shared.blocked_until_ms;
        if free_ms > self.ctx.agenda.now_ms() {
            return self.ctx.agenda.at(free_ms, Happening::Claim(id, start, above));
        }
        if page.start == start {
            if self.ctx.strikes(Fault::StartFailed) {
                let error = SyncError::new(ErrorCode::StorageError, "the store does not open");
                return self.page_input(id, About::Start(start), tab::Input::StartFailed { error, is_final: false });
            }
            self.open_tab(id, above);
        } else if self.ctx.random.bool() {
            // It was on its way when the page gave it up.
            self.ctx.line(|| format!("page {id} has claimed profile {profile}, and does not want it any more"));
            self.claim_for_nobody(profile, above);
        }
    }

    /// Its machine has claimed the store. Says whether the page is frozen.
    pub fn page_claimed(&mut self, id: PageId, engine: TabId) -> bool {
        self.pages.get_mut(&id).is_some_and(|page| {
            page.engine = Some(engine);
            page.frozen.is_some()
        })
    }

    /// What is wrong with how the pages of a profile stand to each other, once faults have stopped.
    pub fn pages_unsettled(&self, profile: ProfileId) -> Option<(u8, String)> {
        let pages: Vec<(PageId, &Page)> =
            self.pages.iter().filter(|(_, page)| page.profile == profile).map(|(id, page)| (*id, page)).collect();
        let owners = pages.iter().filter(|(_, page)| matches!(page.role, Role::Owning { .. })).count();
        if owners != 1 {
            return Some((23, format!("{owners} pages of profile {profile} own it")));
        }
        for (id, page) in pages {
            // Who cannot take part says so, as when another version has come late.
            if !matches!(page.role, Role::Owning { .. } | Role::Following { .. } | Role::Refused { .. }) {
                return Some((30, format!("page {id} of profile {profile} is {:?}", page.role)));
            }
            if let Some((call, _)) = page.calls.first_key_value() {
                return Some((30, format!("call {call} of page {id} is not answered")));
            }
            if matches!(page.role, Role::Following { .. }) && page.list.is_none() {
                return Some((31, format!("page {id} has not read its lists")));
            }
        }
        None
    }

    /// The user looks at a page: it shows what the page that owns shows.
    pub fn look_at_page(&mut self, id: PageId) {
        let Some(page) = self.pages.get(&id).filter(|page| page.frozen.is_none() && page.is_open) else { return };
        let now_ms = self.ctx.agenda.now_ms();
        let well_since_ms = page.well_since_ms.max(self.profiles[page.profile].shared.blocked_until_ms);
        let oldest = page.calls.iter().find_map(|(call, made)| Some((*call, made.made_ms?))).filter(|_| page.visible);
        if let Some((call, made_ms)) = oldest {
            self.checker.require(30, now_ms <= made_ms.max(well_since_ms) + ANSWER_MS_MAX, || {
                format!("call {call} of page {id}, which is seen, is not answered in {} s", ANSWER_MS_MAX / 1_000)
            });
        }
        let Role::Following { claim } = page.role else { return };
        let owner = self.pages.iter().find(|(_, other)| other.profile == page.profile && other.role_claim() == Some(claim));
        let Some((owner_id, owner)) = owner else { return };
        let under_way = |from: PageId, to: PageId| {
            let letters = &self.profiles[page.profile].shared.letters;
            letters.get(&(from, to)).is_some_and(|(_, count)| *count > 0)
        };
        let (Some(list), None, false) = (&page.list, page.reading, under_way(*owner_id, id)) else { return };
        let Some(tab) = owner.engine.and_then(|engine| self.tabs.get(&engine)) else { return };
        if owner.frozen.is_some() || self.page_has_news(*owner_id) {
            return;
        }
        let difference = list.difference(&tab.lists);
        self.checker
            .require(31, difference.is_none(), || format!("the list of page {id} is not what page {owner_id} shows: {difference:?}"));
    }

    /// A page follows another: both have the same settings, and understand each other.
    fn look_at_role(&mut self, id: PageId) {
        let Some(page) = self.pages.get(&id) else { return };
        let Role::Following { claim } = page.role else { return };
        let is_owner = |other: &&Page| other.profile == page.profile && other.role_claim() == Some(claim);
        let Some(owner) = self.pages.values().find(is_owner) else { return };
        self.checker.follows(id, &page.terms, &owner.terms);
    }

    /// Whether news wait to be passed on by a page.
    fn page_has_news(&self, id: PageId) -> bool {
        self.ctx.agenda.any(|happening| matches!(happening, Happening::Page(page, _, tab::Input::Told(_)) if *page == id))
    }
}

impl Page {
    fn role_claim(&self) -> Option<u64> {
        if let Role::Owning { claim, .. } = self.role { Some(claim) } else { None }
    }
}

/// An input of a page, for people.
fn said(input: &tab::Input<Body>) -> String {
    match input {
        tab::Input::Open { visible } => format!("open, visible {visible}"),
        tab::Input::Close => "close".into(),
        tab::Input::End => "end".into(),
        tab::Input::Visible { visible } => format!("visible {visible}"),
        tab::Input::Call { call, body, .. } => match body {
            Body::Call(input) => format!("call {call}: {input:?}"),
            _ => format!("call {call}: read"),
        },
        tab::Input::Heard(message) => {
            format!("{:?} of {}, claim {}, number {}", message.kind, message.from, message.claim, message.number)
        }
        tab::Input::Locked => "locked".into(),
        tab::Input::Unlocked => "unlocked".into(),
        tab::Input::Started { claim } => format!("started with claim {claim}"),
        tab::Input::StartFailed { .. } => "start failed".into(),
        tab::Input::Ran { from, call, result } => format!("ran {call} of {from}: {}", result.is_some()),
        tab::Input::Fenced => "fenced".into(),
        tab::Input::Told(_) => "told".into(),
        tab::Input::Gone(_) => "gone".into(),
        tab::Input::Timeout => "timeout".into(),
    }
}
