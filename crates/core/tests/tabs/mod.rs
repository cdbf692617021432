//! A browser in small: tabs over one database, with a lock manager, a channel and a store that knows claims. Nothing takes time
//! but what is held.
use std::collections::{BTreeMap, VecDeque};

use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::tab::{Action, CallKey, Input, Kind, Message, Role, Tab, TabConfig, TabId};

/// What is called, answered and told.
pub type Body = String;

/// A tab as tests see it.
pub struct Page {
    pub machine: Tab<Body>,
    /// The page is frozen: it hears the channel alone.
    pub is_frozen: bool,
    /// Nor that, because its process stands still.
    is_halted: bool,
    held: Vec<Input<Body>>,
    pub hears: bool,
    /// The claim of its engine.
    pub engine: Option<u64>,
    /// Its engine is to start, with a claim above this one.
    starting: Option<u64>,
    /// What its engine has not done yet: whose, number, key, body.
    pub runs: VecDeque<(TabId, u64, Option<CallKey>, Body)>,
    /// Its engine does nothing until told.
    pub is_engine_held: bool,
    pub answers: Vec<(u64, Result<Body, ErrorCode>)>,
    pub heard: Vec<Body>,
    pub mirrors: Vec<Body>,
    pub renewed: usize,
    pub role: Role,
    pub gone: Vec<Body>,
    calls: u64,
}

/// Tabs over one database.
pub struct Browser {
    pub now_ms: u64,
    pub pages: BTreeMap<TabId, Page>,
    has_locks: bool,
    pub lock: Option<TabId>,
    pub queue: VecDeque<TabId>,
    /// The claim of the store.
    pub claim: u64,
    /// The store does not open.
    pub is_blocked: bool,
    /// What calls with effects have stored.
    pub stored: Vec<Body>,
    answers: BTreeMap<(TabId, u64), Body>,
    inputs: VecDeque<(TabId, Input<Body>)>,
    /// All that was said.
    pub said: Vec<Message<Body>>,
    /// All that was done.
    pub done: Vec<(TabId, Action<Body>)>,
}

pub fn config(id: TabId) -> TabConfig {
    TabConfig { id, protocol: 1, speaks: 1, has_locks: true, settings: "settings".into() }
}

impl Browser {
    pub fn new() -> Self {
        Browser {
            now_ms: 1_000,
            pages: BTreeMap::new(),
            has_locks: true,
            lock: None,
            queue: VecDeque::new(),
            claim: 0,
            is_blocked: false,
            stored: Vec::new(),
            answers: BTreeMap::new(),
            inputs: VecDeque::new(),
            said: Vec::new(),
            done: Vec::new(),
        }
    }

    pub fn without_locks() -> Self {
        Browser { has_locks: false, ..Browser::new() }
    }

    /// So many visible tabs: 1 owns, the others follow.
    pub fn with_tabs(count: u64) -> Self {
        let mut browser = Browser::new();
        (1..=count).for_each(|id| browser.open(id, true));
        browser
    }

    pub fn open(&mut self, id: TabId, visible: bool) {
        self.open_as(TabConfig { has_locks: self.has_locks, ..config(id) }, visible);
    }

    pub fn open_as(&mut self, config: TabConfig, visible: bool) {
        let id = config.id;
        let page = Page {
            machine: Tab::new(config),
            is_frozen: false,
            is_halted: false,
            held: Vec::new(),
            hears: false,
            engine: None,
            starting: None,
            runs: VecDeque::new(),
            is_engine_held: false,
            answers: Vec::new(),
            heard: Vec::new(),
            mirrors: Vec::new(),
            renewed: 0,
            role: Role::Joining,
            gone: Vec::new(),
            calls: 0,
        };
        self.pages.insert(id, page);
        self.feed(id, Input::Open { visible });
    }

    pub fn page(&self, id: TabId) -> &Page {
        &self.pages[&id]
    }

    pub fn page_mut(&mut self, id: TabId) -> &mut Page {
        self.pages.get_mut(&id).unwrap()
    }

    /// The process of a tab ends without a word.
    pub fn kill(&mut self, id: TabId) {
        self.pages.remove(&id);
        self.release(id);
        self.settle();
    }

    /// The page stands still. What it hears of the channel it handles (P21).
    pub fn freeze(&mut self, id: TabId) {
        self.page_mut(id).is_frozen = true;
    }

    /// Its process stands still.
    pub fn halt(&mut self, id: TabId) {
        let page = self.page_mut(id);
        (page.is_frozen, page.is_halted) = (true, true);
    }

    pub fn thaw(&mut self, id: TabId) {
        let page = self.page_mut(id);
        (page.is_frozen, page.is_halted) = (false, false);
        let held = std::mem::take(&mut self.page_mut(id).held);
        self.inputs.extend(held.into_iter().map(|input| (id, input)));
        self.settle();
    }

    /// Gives a tab an input, and does all that follows from it.
    pub fn feed(&mut self, id: TabId, input: Input<Body>) {
        self.inputs.push_back((id, input));
        self.settle();
    }

    /// The application of a tab calls; gives the number of the call. What begins with `read` has no effects.
    pub fn call(&mut self, id: TabId, body: &str) -> u64 {
        let page = self.page_mut(id);
        page.calls += 1;
        let call = page.calls;
        self.feed(id, Input::Call { call, is_keyed: !body.starts_with("read"), body: body.to_owned() });
        call
    }

    /// A tab is told something as if another had said it.
    pub fn hear(&mut self, id: TabId, message: Message<Body>) {
        self.feed(id, Input::Heard(message));
    }

    pub fn settle(&mut self) {
        let mut left = 20_000;
        while let Some((id, input)) = self.inputs.pop_front() {
            left -= 1;
            assert!(left > 0, "tabs never come to rest: {:#?}", self.done.iter().rev().take(40).rev().collect::<Vec<_>>());
            let now_ms = self.now_ms;
            let Some(page) = self.pages.get_mut(&id) else { continue };
            let is_heard = matches!(input, Input::Heard(_));
            if is_heard && !page.hears {
                continue;
            }
            if page.is_halted || (page.is_frozen && !is_heard) {
                page.held.push(input);
                continue;
            }
            if matches!(input, Input::Open { .. }) {
                page.hears = true;
            }
            let closes = matches!(input, Input::Close | Input::End);
            for action in page.machine.handle(now_ms, input) {
                self.run(id, action);
            }
            if closes {
                self.page_mut(id).hears = false;
            }
        }
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        let mut left = 20_000;
        while let Some((due_ms, id)) = self.next_timer().filter(|(due_ms, _)| *due_ms <= end_ms) {
            left -= 1;
            assert!(
                left > 0,
                "the timer of tab {id} is due again and again: {:#?}",
                self.done.iter().rev().take(14).rev().collect::<Vec<_>>()
            );
            self.now_ms = self.now_ms.max(due_ms);
            self.feed(id, Input::Timeout);
        }
        self.now_ms = end_ms;
    }

    fn next_timer(&self) -> Option<(u64, TabId)> {
        let awake = self.pages.iter().filter(|(_, page)| !page.is_frozen);
        awake.filter_map(|(id, page)| Some((page.machine.next_timeout_ms()?, *id))).min()
    }

    fn run(&mut self, id: TabId, action: Action<Body>) {
        self.done.push((id, action.clone()));
        match action {
            Action::Lock => {
                self.queue.push_back(id);
                self.grant();
            }
            Action::Steal => {
                self.queue.retain(|waiting| *waiting != id);
                if let Some(robbed) = self.lock.replace(id) {
                    self.inputs.push_back((robbed, Input::Unlocked));
                }
                self.inputs.push_back((id, Input::Locked));
            }
            Action::Unlock => {
                // What was granted meanwhile goes back unseen.
                self.forget_inputs(id, |input| matches!(input, Input::Locked | Input::Unlocked));
                self.release(id);
            }
            Action::Start { above } => {
                self.page_mut(id).starting = Some(above);
                if !self.is_blocked {
                    self.claim(id, above);
                }
            }
            Action::Stop => {
                self.forget_inputs(id, |input| matches!(input, Input::Started { .. } | Input::StartFailed { .. } | Input::Fenced));
                let page = self.page_mut(id);
                (page.engine, page.starting) = (None, None);
                let undone = std::mem::take(&mut page.runs);
                self.inputs.extend(undone.into_iter().map(|(from, call, ..)| (id, Input::Ran { from, call, result: None })));
            }
            Action::Run { from, call, key, body } => {
                self.page_mut(id).runs.push_back((from, call, key, body));
                if !self.page(id).is_engine_held {
                    self.work(id);
                }
            }
            Action::Say(mut message) => {
                if message.kind == Kind::Owner {
                    message.body = Some(format!("mirror of {id}"));
                }
                self.said.push(message.clone());
                let others: Vec<TabId> = self.pages.keys().copied().filter(|other| *other != id).collect();
                self.inputs.extend(others.into_iter().map(|other| (other, Input::Heard(message.clone()))));
            }
            Action::Answer { call, result } => {
                let page = self.page_mut(id);
                assert!(page.answers.iter().all(|(answered, _)| *answered != call), "call {call} of tab {id} is answered twice");
                page.answers.push((call, result.map_err(|error| error.code)));
            }
            Action::Mirror(body) => self.page_mut(id).mirrors.push(body),
            Action::Tell(body) => self.page_mut(id).heard.push(body),
            Action::Role(role) => self.page_mut(id).role = role,
            Action::Renewed => self.page_mut(id).renewed += 1,
            Action::Gone(body) => self.page_mut(id).gone.push(body),
        }
    }

    /// What is on its way to a tab and is no longer about anything never comes.
    fn forget_inputs(&mut self, id: TabId, is_old: impl Fn(&Input<Body>) -> bool) {
        self.inputs.retain(|(tab, input)| *tab != id || !is_old(input));
        self.page_mut(id).held.retain(|input| !is_old(input));
    }

    fn claim(&mut self, id: TabId, above: u64) {
        self.claim = self.claim.max(above) + 1;
        let claim = self.claim;
        let page = self.page_mut(id);
        (page.engine, page.starting) = (Some(claim), None);
        self.inputs.push_back((id, Input::Started { claim }));
    }

    /// The store opens, for those that wait for it.
    pub fn unblock(&mut self) {
        self.is_blocked = false;
        let starting: Vec<(TabId, u64)> = self.pages.iter().filter_map(|(id, page)| Some((*id, page.starting?))).collect();
        starting.into_iter().for_each(|(id, above)| self.claim(id, above));
        self.settle();
    }

    /// The database is deleted and made anew under whoever has it open; what was stored is not looked at.
    pub fn kill_database(&mut self) {
        self.claim = 0;
        self.pages.values_mut().filter(|page| page.engine.is_some()).for_each(|page| page.engine = Some(u64::MAX));
    }

    /// The engine of a tab does what it has.
    pub fn work(&mut self, id: TabId) {
        while let Some((from, call, key, body)) = self.page_mut(id).runs.pop_front() {
            let result = self.execute(id, key, &body);
            let is_fenced = result.is_none();
            self.inputs.push_back((id, Input::Ran { from, call, result }));
            if is_fenced {
                self.inputs.push_back((id, Input::Fenced));
            }
        }
    }

    /// A call takes effect in the store, once for a key; `None` where that is another's.
    fn execute(&mut self, id: TabId, key: Option<CallKey>, body: &str) -> Option<Body> {
        if self.page(id).engine != Some(self.claim) {
            return None;
        }
        if body.starts_with("read") {
            return Some(self.stored.join(" "));
        }
        if let Some(key) = key {
            self.answers.retain(|(tab, call), _| *tab != key.tab || *call > key.done_through);
            if let Some(answer) = self.answers.get(&(key.tab, key.call)) {
                return Some(answer.clone());
            }
        }
        self.stored.push(body.to_owned());
        let answer = format!("did {body}");
        if let Some(key) = key {
            self.answers.insert((key.tab, key.call), answer.clone());
        }
        Some(answer)
    }

    fn grant(&mut self) {
        if self.lock.is_none()
            && let Some(next) = self.queue.pop_front()
        {
            self.lock = Some(next);
            self.inputs.push_back((next, Input::Locked));
        }
    }

    fn release(&mut self, id: TabId) {
        self.queue.retain(|waiting| *waiting != id);
        if self.lock == Some(id) {
            self.lock = None;
        }
        self.grant();
    }

    /// Who owns the store, as the tabs themselves say.
    pub fn owners(&self) -> Vec<TabId> {
        let owning = self.pages.iter().filter(|(_, page)| matches!(page.role, Role::Owning { .. }));
        owning.map(|(id, _)| *id).collect()
    }

    /// How many messages of a kind a tab has said.
    pub fn said(&self, id: TabId, kind: Kind) -> usize {
        self.said.iter().filter(|message| message.from == id && message.kind == kind).count()
    }

    /// How often a tab has done something.
    pub fn did(&self, id: TabId, matches: impl Fn(&Action<Body>) -> bool) -> usize {
        self.done.iter().filter(|(tab, action)| *tab == id && matches(action)).count()
    }
}

impl Page {
    /// The answer of a call; `None` while there is none.
    pub fn answer(&self, call: u64) -> Option<Result<&str, ErrorCode>> {
        let (_, answer) = self.answers.iter().find(|(answered, _)| *answered == call)?;
        Some(answer.as_ref().map(String::as_str).map_err(|code| *code))
    }
}

/// A message as another tab would say it.
pub fn message(from: TabId, kind: Kind, claim: u64) -> Message<Body> {
    Message {
        protocol: 1,
        speaks: 1,
        from,
        to: None,
        kind,
        claim,
        number: 0,
        done_through: 0,
        is_keyed: false,
        visible: true,
        settings: matches!(kind, Kind::Hello | Kind::Owner).then(|| "settings".into()),
        error: None,
        body: None,
    }
}

pub fn error(code: ErrorCode) -> SyncError {
    SyncError::new(code, "as the test says")
}
