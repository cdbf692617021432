//! The driver of the machine: feeds it what happens, does what it asks, in order.
//!
//! No borrow is held over an await or a call into JavaScript: what a handler does is queued and comes next.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use futures_channel::oneshot;
use gloo_timers::callback::Timeout;
use solconnect_sync_core::client::{
    Action, CallKey, Client, ClientConfig, Event, IdentityRecord, Input, OutboxRecord, Reply, RequestId, Write,
};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use crate::errors::not_initialized;
use crate::events::Listeners;
use crate::mark;
use crate::platform::{is_storage_persistent, now, random};
use crate::sealing;
use crate::spare::{Spare, SpareStep};
use crate::store::Store;
use crate::transport::{Link, Route};
use crate::types::{to_js, with_clocks};

/// The longest wait that timers of browsers take.
const TIMER_MS_MAX: u64 = i32::MAX as u64;

/// A call that waits for its answer.
type Waiting = oneshot::Sender<Result<Reply, SyncError>>;

/// A running machine over an open store.
pub struct Engine {
    client: RefCell<Client>,
    /// What the machine's log is read from.
    pub store: Rc<Store>,
    /// Under which it began to write.
    pub claim: u64,
    spare: Rc<Spare>,
    link: Link,
    listeners: Rc<Listeners>,
    inputs: RefCell<VecDeque<Input>>,
    is_running: Cell<bool>,
    is_stopped: Cell<bool>,
    replies: RefCell<Vec<(RequestId, Waiting)>>,
    last_request: Cell<RequestId>,
    timer: RefCell<Option<(u64, Timeout)>>,
    /// Ends with the write that is under way; `None` where none is.
    writing: RefCell<Option<oneshot::Receiver<()>>>,
    /// Ends when the machine has the last message that was sent.
    last_send: RefCell<Option<oneshot::Receiver<()>>>,
    is_persistent: Rc<Cell<bool>>,
    was_persistence_asked: Cell<bool>,
    is_marked: Cell<bool>,
}

impl Engine {
    /// Claims a store, as [`Store::claim`] does, and starts the machine over it.
    ///
    /// # Errors
    /// `DEVICE_LOCKED`, `PROFILE_IN_USE`, `STORAGE_FULL`, `STORAGE_REFUSED`, `STORAGE_ERROR`, `CRYPTO_ERROR`.
    pub async fn start(
        store: Rc<Store>,
        above: u64,
        config: ClientConfig,
        route: Route,
        listeners: Rc<Listeners>,
    ) -> Result<Rc<Engine>, SyncError> {
        let (claim, mut snapshot) = store.claim(above).await?;
        let mut unreadable = None;
        if !config.domains.is_empty() {
            snapshot.entropy = Some(random()?);
            if let Some(record) = snapshot.identity.take() {
                // Without its key the device goes on under a new one: what it has stored stays readable.
                let without = IdentityRecord { secret: Vec::new(), ..record.clone() };
                snapshot.identity = Some(match store.unsealed(record).await {
                    Ok(record) => {
                        store.lock(&record).await?;
                        record
                    }
                    Err(error) => {
                        unreadable = Some(error);
                        without
                    }
                });
            }
        }
        let is_new = snapshot.device.is_none();
        let spare = Rc::new(Spare::of(&store.name));
        if is_new {
            snapshot.spare = spare.read().await;
        }
        // The mark may have been set too late to be kept.
        let is_lost = is_new && (mark::take(&store.name) || !snapshot.spare.is_empty());
        let outbox = snapshot.outbox.clone();
        let encrypts = config.encrypts;
        let client = Client::new(config, snapshot, u64::from_le_bytes(random()?));
        let client = if encrypts { client.with_vault(sealing::vault()?) } else { client };
        let own: Rc<RefCell<Weak<Engine>>> = Rc::default();
        let feeding = own.clone();
        let feed = Rc::new(move |input| {
            let engine = feeding.borrow().upgrade();
            if let Some(engine) = engine {
                engine.feed(input);
            }
        });
        let engine = Rc::new(Engine {
            client: RefCell::new(client),
            store,
            claim,
            spare,
            link: Link::new(route, feed)?,
            listeners,
            inputs: RefCell::default(),
            is_running: Cell::new(false),
            is_stopped: Cell::new(false),
            replies: RefCell::default(),
            last_request: Cell::new(0),
            timer: RefCell::default(),
            writing: RefCell::default(),
            last_send: RefCell::default(),
            is_persistent: Rc::default(),
            was_persistence_asked: Cell::new(false),
            is_marked: Cell::new(false),
        });
        own.replace(Rc::downgrade(&engine));
        engine.observe();
        engine.learn_persistence(false);
        engine.watch_store();
        if !is_new {
            // It may be behind, or of another life.
            engine.spare_begins_with(outbox);
        }
        let lost = is_lost.then(|| SyncError::new(ErrorCode::StorageLost, "the browser has deleted the database"));
        for error in lost.into_iter().chain(unreadable) {
            engine.run(Action::Notify(Event::Warning { error }));
        }
        Ok(engine)
    }

    /// Stops it at once, as a page must that is about to be frozen: no input is taken, the socket and the database are closed.
    /// What commits already may be stored all the same, so calls wait for that, also over a freeze; all others are not done.
    pub fn abandon(&self) {
        self.is_stopped.set(true);
        self.timer.take();
        self.link.close();
        self.store.abandon();
        self.spare.close(|record| self.read(|client| client.spare_of(record)));
        if self.writing.borrow().is_none() {
            self.replies.take();
        }
    }

    /// Waits until what was under way when it was stopped is written, or is not.
    pub async fn stopped(&self) {
        let writing = self.writing.take();
        if let Some(written) = writing {
            let _ = written.await;
        }
    }

    /// The outcome of the commit that was under way when it was stopped.
    fn settle(&self, outcome: Input) {
        let actions = self.client.borrow_mut().handle(now(), outcome);
        for action in actions {
            if let Action::Reply { request, result } = action {
                self.reply(request, result);
            }
        }
        self.replies.take();
    }

    /// Reads the machine's state.
    pub fn read<T>(&self, read: impl FnOnce(&Client) -> T) -> T {
        read(&self.client.borrow())
    }

    /// Tells the machine whether somebody observes.
    pub fn observe(self: &Rc<Self>) {
        self.feed(Input::Observe { observed: self.listeners.is_observed() });
    }

    /// Whether the browser promises to keep what is stored.
    pub fn is_persistent(&self) -> bool {
        self.is_persistent.get()
    }

    /// Gives the machine an input and does all that follows from it at once.
    pub fn feed(self: &Rc<Self>, input: Input) {
        self.inputs.borrow_mut().push_back(input);
        if self.is_running.replace(true) {
            return;
        }
        while let Some(input) = self.next_input() {
            let actions = self.client.borrow_mut().handle(now(), input);
            for action in actions {
                self.run(action);
            }
        }
        self.is_running.set(false);
        self.arm_timer();
    }

    fn next_input(&self) -> Option<Input> {
        if self.is_stopped.get() {
            self.inputs.take();
        }
        self.inputs.borrow_mut().pop_front()
    }

    fn run(self: &Rc<Self>, action: Action) {
        // A handler may have stopped it between two actions.
        if self.is_stopped.get() {
            return;
        }
        match action {
            Action::Persist(commit) => {
                let engine = self.clone();
                let (done, written) = oneshot::channel();
                self.writing.replace(Some(written));
                spawn_local(async move {
                    let outcome = match engine.read(Client::is_rebuilding) {
                        true => engine.store.write_anew(&commit).await,
                        false => engine.store.write(&commit).await,
                    };
                    if outcome.is_ok() && !engine.is_marked.replace(true) {
                        mark::set(&engine.store.name);
                    }
                    let is_written = outcome.is_ok();
                    let outcome = match outcome {
                        Ok(()) => Input::Persisted { commit: commit.id },
                        Err(error) => Input::PersistFailed { commit: commit.id, error },
                    };
                    if engine.is_stopped.get() {
                        engine.settle(outcome);
                    } else {
                        engine.writing.take();
                        engine.feed(outcome);
                        if is_written {
                            engine.spare_follows(commit.writes);
                        }
                    }
                    let _ = done.send(());
                });
            }
            Action::Connect { generation } => self.link.connect(generation),
            Action::Disconnect { generation } => self.link.disconnect(generation),
            Action::Transmit { generation, frame } => self.link.transmit(generation, &frame),
            Action::ReadLog { session_id, place } => {
                let engine = self.clone();
                spawn_local(async move {
                    let page = engine.store.page(&session_id, Some(place.saturating_add(1)), 1).await;
                    let record = page.map(|records| records.into_iter().next());
                    engine.feed(Input::LogRead { session_id, place, record });
                });
            }
            Action::Reply { request, result } => self.reply(request, result),
            Action::Notify(event) => self.listeners.notify(&event, &self.client),
        }
    }

    fn reply(&self, request: RequestId, result: Result<Reply, SyncError>) {
        let mut replies = self.replies.borrow_mut();
        if let Some(place) = replies.iter().position(|(waiting, _)| *waiting == request) {
            let (_, reply) = replies.swap_remove(place);
            drop(replies);
            let _ = reply.send(result);
        }
    }

    /// Where the browser closes the database, it may be gone, or another's by now: that is found out now, and not with the next
    /// write, which may be long in coming.
    fn watch_store(self: &Rc<Self>) {
        let engine = Rc::downgrade(self);
        self.store.watch(Rc::new(move || {
            let Some(engine) = engine.upgrade() else { return };
            spawn_local(async move {
                if let Err(error) = engine.store.check().await
                    && [ErrorCode::StorageLost, ErrorCode::ProfileInUse].contains(&error.code)
                {
                    engine.feed(Input::StoreClosed { error });
                }
            });
        }));
    }

    /// The copy begins anew with these records.
    fn spare_begins_with(self: &Rc<Self>, outbox: Vec<OutboxRecord>) {
        self.copy(
            std::iter::once(SpareStep::Clear).chain(outbox.into_iter().map(Write::Outbox).map(Box::new).map(SpareStep::Write)).collect(),
        );
    }

    /// The copy follows what was written to the outbox. With the device's record all of it was written anew.
    fn spare_follows(self: &Rc<Self>, writes: Vec<Write>) {
        let is_anew = writes.iter().any(|write| matches!(write, Write::Device(_)));
        let clear = is_anew.then_some(SpareStep::Clear);
        let is_copied = |write: &Write| matches!(write, Write::Outbox(_) | Write::DeleteOutbox { .. });
        self.copy(clear.into_iter().chain(writes.into_iter().filter(is_copied).map(Box::new).map(SpareStep::Write)).collect());
    }

    fn copy(self: &Rc<Self>, steps: Vec<SpareStep>) {
        let engine = Rc::downgrade(self);
        self.spare.write(steps, move |record| engine.upgrade()?.read(|client| client.spare_of(record)));
    }

    fn arm_timer(self: &Rc<Self>) {
        let due_ms = if self.is_stopped.get() { None } else { self.client.borrow().next_timeout_ms() };
        let mut timer = self.timer.borrow_mut();
        if timer.as_ref().map(|(due_ms, _)| *due_ms) == due_ms {
            return;
        }
        *timer = due_ms.map(|due_ms| {
            let wait_ms = due_ms.saturating_sub(now().monotonic_ms).min(TIMER_MS_MAX);
            let engine = Rc::downgrade(self);
            let timeout = Timeout::new(wait_ms as u32, move || {
                let Some(engine) = engine.upgrade() else { return };
                let spent = engine.timer.take();
                engine.feed(Input::Timeout);
                drop(spent);
            });
            (due_ms, timeout)
        });
    }

    /// Asks the machine for something, under a key where there is one.
    pub fn call(self: &Rc<Self>, key: Option<CallKey>, input: impl FnOnce(RequestId) -> Input) -> Answer {
        let request = self.last_request.get() + 1;
        self.last_request.set(request);
        let call = input(request);
        self.ask(
            request,
            match key {
                Some(key) => Input::Keyed { key, call: Box::new(call) },
                None => call,
            },
        )
    }

    fn ask(self: &Rc<Self>, request: RequestId, input: Input) -> Answer {
        let (sender, reply) = oneshot::channel();
        if !self.is_stopped.get() {
            self.replies.borrow_mut().push((request, sender));
            self.feed(input);
        }
        Answer(reply)
    }

    /// `sendMessage`: queues a message, with `message_id` under a name of the application's own.
    ///
    /// Messages reach the machine in the order of the calls, also where a name takes time to look up. Nothing is missed
    /// in between: what an earlier call has queued under that name is in the outbox or on its way there, because its
    /// transaction waits for every look-up that began before it.
    ///
    /// # Errors
    /// `STORAGE_ERROR`, and what the machine answers.
    pub async fn send(
        self: &Rc<Self>,
        key: Option<CallKey>,
        session_id: String,
        text: String,
        content_type: Option<String>,
        message_id: Option<String>,
    ) -> Result<JsValue, SyncError> {
        let (is_given, given) = oneshot::channel::<()>();
        let earlier = self.last_send.replace(Some(given));
        let known = match &message_id {
            Some(name) => self.store.name(&session_id, name).await,
            None => Ok(None),
        };
        if let Some(earlier) = earlier {
            let _ = earlier.await;
        }
        let known = known?;
        let answer = self.call(key, |request| Input::Send { request, session_id, text, content_type, message_id, known });
        drop(is_given);
        self.shown(answer.await?)
    }

    /// An answer as JavaScript. The first message that is queued asks the browser to keep what is stored (B2).
    ///
    /// # Errors
    /// As [`to_js`].
    pub fn shown(&self, reply: Reply) -> Result<JsValue, SyncError> {
        match reply {
            Reply::Done => Ok(JsValue::NULL),
            Reply::Count(count) => Ok(JsValue::from(count as f64)),
            Reply::Session(session) => with_clocks(&session),
            Reply::Needed(is_needed) => Ok(JsValue::from(is_needed)),
            Reply::RecoveryCode(code) => Ok(JsValue::from(code)),
            Reply::Receipt(receipt) => {
                if !self.was_persistence_asked.replace(true) {
                    self.learn_persistence(true);
                }
                to_js(&receipt)
            }
        }
    }

    fn learn_persistence(&self, ask: bool) {
        let is_persistent = self.is_persistent.clone();
        spawn_local(async move { is_persistent.set(is_storage_persistent(ask).await) });
    }
}

/// What the machine answers, or `SDK_NOT_INITIALIZED` when it is stopped before.
pub struct Answer(oneshot::Receiver<Result<Reply, SyncError>>);

impl Answer {
    /// An answer that is a number; 0 where there is nothing to count.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub async fn count(self) -> Result<u64, SyncError> {
        Ok(if let Reply::Count(count) = self.await? { count } else { 0 })
    }
}

impl Future for Answer {
    type Output = Result<Reply, SyncError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|reply| reply.unwrap_or_else(|_| Err(not_initialized())))
    }
}
