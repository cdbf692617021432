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
use solconnect_sync_core::client::{Action, Client, ClientConfig, Event, Input, Reply, RequestId};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::EventTarget;

use crate::errors::not_initialized;
use crate::events::Listeners;
use crate::mark;
use crate::platform::{is_storage_persistent, now, random, scope};
use crate::store::Store;
use crate::tabs::{ProfileLock, lock_profile};
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
    pub store: Store,
    link: Link,
    listeners: Rc<Listeners>,
    inputs: RefCell<VecDeque<Input>>,
    is_running: Cell<bool>,
    is_stopped: Cell<bool>,
    replies: RefCell<Vec<(RequestId, Waiting)>>,
    last_request: Cell<RequestId>,
    timer: RefCell<Option<(u64, Timeout)>>,
    /// Ends with the write that is under way.
    writing: RefCell<Option<oneshot::Receiver<()>>>,
    /// Ends when the machine has the last message that was sent.
    last_send: RefCell<Option<oneshot::Receiver<()>>>,
    page_events: RefCell<Vec<PageEvent>>,
    lock: RefCell<Option<ProfileLock>>,
    is_persistent: Rc<Cell<bool>>,
    was_persistence_asked: Cell<bool>,
    is_marked: Cell<bool>,
}

impl Engine {
    /// Takes the profile, opens its store and starts its machine.
    ///
    /// # Errors
    /// `PROFILE_IN_USE`, `STORAGE_FULL`, `STORAGE_REFUSED`, `STORAGE_ERROR`, `CRYPTO_ERROR`.
    pub async fn start(database: &str, config: ClientConfig, route: Route, listeners: Rc<Listeners>) -> Result<Rc<Engine>, SyncError> {
        let lock = lock_profile(database);
        // Opening disturbs nobody, so it need not wait for the lock.
        let store = Store::open(database).await?;
        let lock = lock.await?;
        let snapshot = store.claim(lock.is_some()).await?;
        let is_lost = snapshot.device.is_none() && mark::take(database);
        let client = Client::new(config, snapshot, u64::from_le_bytes(random()?));
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
            page_events: RefCell::default(),
            lock: RefCell::new(lock),
            is_persistent: Rc::default(),
            was_persistence_asked: Cell::new(false),
            is_marked: Cell::new(false),
        });
        own.replace(Rc::downgrade(&engine));
        engine.observe();
        engine.watch_page();
        engine.learn_persistence(false);
        if is_lost {
            let error = SyncError::new(ErrorCode::StorageLost, "the browser has deleted the database");
            engine.run(Action::Notify(Event::Warning { error }));
        }
        Ok(engine)
    }

    /// Stops it: no input is taken, calls that wait fail, and the profile is free once the write under way is done.
    pub async fn stop(&self) {
        self.is_stopped.set(true);
        self.timer.take();
        self.page_events.take();
        self.link.close();
        self.replies.take();
        let writing = self.writing.take();
        if let Some(written) = writing {
            let _ = written.await;
        }
        self.store.close();
        self.lock.take();
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
                    let outcome = engine.store.write(&commit).await;
                    if outcome.is_ok() && !engine.is_marked.replace(true) {
                        mark::set(&engine.store.name);
                    }
                    let _ = done.send(());
                    let commit = commit.id;
                    engine.feed(match outcome {
                        Ok(()) => Input::Persisted { commit },
                        Err(error) => Input::PersistFailed { commit, error },
                    });
                });
            }
            Action::Connect { generation } => self.link.connect(generation),
            Action::Disconnect { generation } => self.link.disconnect(generation),
            Action::Transmit { generation, frame } => self.link.transmit(generation, &frame),
            Action::Reply { request, result } => {
                let mut replies = self.replies.borrow_mut();
                if let Some(place) = replies.iter().position(|(waiting, _)| *waiting == request) {
                    let (_, reply) = replies.swap_remove(place);
                    drop(replies);
                    let _ = reply.send(result);
                }
            }
            Action::Notify(event) => self.listeners.notify(&event, &self.client),
        }
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

    /// Asks the machine for something.
    pub fn call(self: &Rc<Self>, input: impl FnOnce(RequestId) -> Input) -> Answer {
        let request = self.last_request.get() + 1;
        self.last_request.set(request);
        self.ask(request, input(request))
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
        let answer = self.call(|request| Input::Send { request, session_id, text, content_type, message_id, known });
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

    fn watch_page(self: &Rc<Self>) {
        let window: EventTarget = scope().unchecked_into();
        let mut events = vec![
            PageEvent::on(&window, "online", self, |engine| engine.feed(Input::Awake)),
            PageEvent::on(&window, "pageshow", self, |engine| engine.feed(Input::Awake)),
            // A page that keeps connections is not kept for going back to it (B16). Both are opened again when needed.
            PageEvent::on(&window, "pagehide", self, |engine| {
                let reason = "the page is hidden".to_owned();
                engine.feed(Input::Disconnected { generation: engine.link.close(), reason });
                engine.store.close();
            }),
        ];
        if let Some(document) = scope().document() {
            events.push(PageEvent::on(&document, "visibilitychange", self, |engine| {
                if scope().document().is_some_and(|document| !document.hidden()) {
                    engine.feed(Input::Awake);
                }
            }));
        }
        self.page_events.replace(events);
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

/// An event listener; removed when dropped.
struct PageEvent {
    target: EventTarget,
    name: &'static str,
    listener: Closure<dyn Fn()>,
}

impl PageEvent {
    fn on(target: &EventTarget, name: &'static str, engine: &Rc<Engine>, react: fn(&Rc<Engine>)) -> PageEvent {
        let engine = Rc::downgrade(engine);
        let listener = Closure::<dyn Fn()>::new(move || {
            if let Some(engine) = engine.upgrade() {
                react(&engine);
            }
        });
        // Only a worker's missing events could fail here, and there they never happen.
        let _ = target.add_event_listener_with_callback(name, listener.as_ref().unchecked_ref());
        PageEvent { target: target.clone(), name, listener }
    }
}

impl Drop for PageEvent {
    fn drop(&mut self) {
        let _ = self.target.remove_event_listener_with_callback(self.name, self.listener.as_ref().unchecked_ref());
    }
}
