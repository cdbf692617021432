//! What the class stands on: options before `initialize`, an engine after it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;
use js_sys::{Array, Function};
use solconnect_sync_core::client::{CallKey, ClientConfig, Input};
use solconnect_sync_core::conflict::Strategy;
use solconnect_sync_core::error::SyncError;
use solconnect_sync_core::ids::public_key;
use wasm_bindgen::prelude::*;
use web_sys::Url;

use crate::arguments::{count, field, is_left_out, text};
use crate::engine::Engine;
use crate::errors::{invalid_argument, not_initialized};
use crate::events::Listeners;
use crate::store::{Lock, Store};
use crate::transport::Route;
use crate::types::object;

/// `SdkConfig`, checked.
#[derive(Clone)]
pub struct Options {
    /// The machine's.
    pub client: ClientConfig,
    /// The IndexedDB database.
    pub database_name: String,
    /// The way to the relay.
    pub route: Route,
}

impl Options {
    /// Reads an `SdkConfig`; what is `undefined` has its default.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the option.
    pub fn of(config: &JsValue) -> Result<Options, SyncError> {
        if !config.is_undefined() && !config.is_object() {
            return Err(invalid_argument("the configuration must be an object"));
        }
        let given = |name| Some(field(config, name)).filter(|value| !value.is_undefined());
        let number = |name, default| given(name).map_or(Ok(default), |value| count(name, &value));
        let defaults = ClientConfig::default();
        let client = ClientConfig {
            frames_in_json: false,
            max_batch_size: saturated(number("maxBatchSize", defaults.max_batch_size as u64)?) as usize,
            sync_interval_ms: number("syncIntervalMs", defaults.sync_interval_ms)?,
            heartbeat_interval_ms: number("heartbeatIntervalMs", defaults.heartbeat_interval_ms)?,
            conflict_resolution_strategy: given("conflictResolutionStrategy").map_or(Ok(Strategy::default()), |name| strategy(&name))?,
            max_retries: saturated(number("maxRetries", defaults.max_retries.into())?),
            retry_delay_ms: number("retryDelayMs", defaults.retry_delay_ms)?,
            enable_compression: match given("enableCompression") {
                None => defaults.enable_compression,
                Some(flag) => flag.as_bool().ok_or_else(|| invalid_argument("enableCompression must be true or false"))?,
            },
            domains: match given("domains") {
                None => Vec::new(),
                Some(domains) => {
                    let list: Array = domains.dyn_into().map_err(|_| invalid_argument("domains must be a list"))?;
                    list.iter().map(|domain| text("each of the domains", &domain)).collect::<Result<_, _>>()?
                }
            },
            relay_key: match given("relayKey") {
                None => None,
                Some(key) => {
                    let key = public_key(&text("relayKey", &key)?);
                    Some(key.ok_or_else(|| invalid_argument("relayKey must be 32 bytes in base58, as the relay tells it when it starts"))?)
                }
            },
            encrypts: match given("encryption") {
                None => false,
                Some(encryption) => match text("encryption", &encryption)?.as_str() {
                    "required" => true,
                    "off" => false,
                    _ => return Err(invalid_argument("encryption must be 'required' or 'off'")),
                },
            },
            approves_devices: match given("deviceApproval") {
                None => false,
                Some(approval) => match text("deviceApproval", &approval)?.as_str() {
                    "auto" => true,
                    "ask" => false,
                    _ => return Err(invalid_argument("deviceApproval must be 'ask' or 'auto'")),
                },
            },
            relay_name: String::new(),
        };
        if client.encrypts && client.domains.is_empty() {
            return Err(invalid_argument("encrypted sessions are of devices that sign in: set the option `domains`"));
        }
        client.check()?;
        let relay = given("relayEndpoint").unwrap_or_else(|| "ws://localhost:8080".into());
        let address = text("relayEndpoint", &relay)?;
        // What is no URL is refused where it is connected to.
        let client = ClientConfig { relay_name: Url::new(&address).map(|url| url.host()).unwrap_or_default(), ..client };
        let route = Route::of(&given("transport").unwrap_or(relay))?;
        let database_name = given("databaseName").map_or_else(|| Ok("solconnect-sync".to_owned()), |name| text("databaseName", &name))?;
        if database_name.is_empty() {
            return Err(invalid_argument("the database needs a name"));
        }
        Ok(Options { client, database_name, route })
    }
}

fn strategy(name: &JsValue) -> Result<Strategy, SyncError> {
    match name.as_string().as_deref() {
        Some("vector_clock") => Ok(Strategy::VectorClock),
        Some("latest") => Ok(Strategy::Latest),
        Some("manual") => Ok(Strategy::Manual),
        _ => Err(invalid_argument("conflictResolutionStrategy must be vector_clock, latest or manual")),
    }
}

/// What is above every limit anyway stays above it.
fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

type Waiting = oneshot::Sender<Result<u64, SyncError>>;

/// The class, inside.
pub struct Shell {
    options: Options,
    /// Who is told.
    pub listeners: Rc<Listeners>,
    engine: RefCell<Option<Rc<Engine>>>,
    /// Calls that wait for the `initialize` that is under way.
    starting: RefCell<Option<Vec<Waiting>>>,
    /// What that one has opened.
    store: RefCell<Option<Rc<Store>>>,
    /// Counts how often it was given up.
    run: Cell<u64>,
    /// Of the next call.
    key: Cell<Option<CallKey>>,
    /// Of the next `initialize`.
    lock: RefCell<Option<Lock>>,
}

impl Shell {
    /// One that is not initialized.
    pub fn new(options: Options) -> Shell {
        Shell {
            options,
            listeners: Rc::default(),
            engine: RefCell::default(),
            starting: RefCell::default(),
            store: RefCell::default(),
            run: Cell::default(),
            key: Cell::default(),
            lock: RefCell::default(),
        }
    }

    /// The configured interval of auto-sync, in milliseconds.
    pub fn sync_interval_ms(&self) -> u64 {
        self.options.client.sync_interval_ms
    }

    /// The engine.
    ///
    /// # Errors
    /// `SDK_NOT_INITIALIZED` before `initialize` and after `cleanup`.
    pub fn engine(&self) -> Result<Rc<Engine>, SyncError> {
        self.engine.borrow().clone().ok_or_else(not_initialized)
    }

    /// What locks the device's key from the next `initialize` on, or unlocks it.
    pub fn lock(&self, lock: Lock) {
        self.lock.replace(Some(lock));
    }

    /// The key of the next call.
    pub fn set_key(&self, key: CallKey) {
        self.key.set(Some(key));
    }

    /// The key of this call, where it has one.
    pub fn take_key(&self) -> Option<CallKey> {
        self.key.take()
    }

    /// Changes when everything is given up.
    pub fn run(&self) -> u64 {
        self.run.get()
    }

    /// `initialize`: once; calls meanwhile wait for the same outcome, later ones do nothing. `run`: as it was when it was called.
    /// Gives the claim.
    ///
    /// # Errors
    /// As [`Engine::start`], and `SDK_NOT_INITIALIZED` where it was given up meanwhile.
    pub async fn initialize(&self, run: u64, above: u64) -> Result<u64, SyncError> {
        if run != self.run.get() {
            return Err(not_initialized());
        }
        if let Some(engine) = &*self.engine.borrow() {
            return Ok(engine.claim);
        }
        if let Some(outcome) = self.join_start() {
            return outcome.await.unwrap_or_else(|_| Err(not_initialized()));
        }
        self.starting.replace(Some(Vec::new()));
        let outcome = self.start(run, above).await;
        if run != self.run.get() {
            // The claim may have come about: the next one takes it away again.
            let _ = outcome.map(|engine| engine.abandon());
            return Err(not_initialized());
        }
        self.store.take();
        let outcome = outcome.map(|engine| {
            let claim = engine.claim;
            self.engine.replace(Some(engine));
            claim
        });
        for waiting in self.starting.take().unwrap_or_default() {
            let _ = waiting.send(outcome.clone());
        }
        outcome
    }

    async fn start(&self, run: u64, above: u64) -> Result<Rc<Engine>, SyncError> {
        let Options { client, database_name, mut route } = self.options.clone();
        let client = match &mut route {
            Route::Relay(_) => client,
            // Frames are handed over as objects.
            Route::Application(_) => ClientConfig { frames_in_json: true, ..client },
        };
        let store = Rc::new(Store::open(&database_name).await?.locked_by(self.lock.take()));
        if run != self.run.get() {
            return Err(not_initialized());
        }
        self.store.replace(Some(store.clone()));
        Engine::start(store, above, client, route, self.listeners.clone()).await
    }

    fn join_start(&self) -> Option<oneshot::Receiver<Result<u64, SyncError>>> {
        let mut starting = self.starting.borrow_mut();
        let (sender, outcome) = oneshot::channel();
        starting.as_mut()?.push(sender);
        Some(outcome)
    }

    /// `observe`: also before `initialize`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what is no function.
    pub fn observe(&self, handler: JsValue) -> Result<(), SyncError> {
        let handler: Option<Function> = match is_left_out(&handler) {
            true => None,
            false => Some(handler.dyn_into().map_err(|_| invalid_argument("the handler is no function"))?),
        };
        self.listeners.observe(handler);
        // Before `initialize` there is none: it looks itself then.
        let engine = self.engine.borrow().clone();
        engine.iter().for_each(Engine::observe);
        Ok(())
    }

    /// Subscribes to the messages of a session; gives a `Subscription`.
    ///
    /// # Errors
    /// `SDK_NOT_INITIALIZED`, `UNKNOWN_SESSION`, `INVALID_ARGUMENT`.
    pub fn subscribe(&self, session_id: String, handler: JsValue) -> Result<JsValue, SyncError> {
        let handler: Function = handler.dyn_into().map_err(|_| invalid_argument("the handler is no function"))?;
        self.engine()?.session(&session_id)?;
        let id = self.listeners.subscribe(session_id, handler);
        let listeners = self.listeners.clone();
        let unsubscribe = Closure::<dyn Fn()>::new(move || listeners.unsubscribe(id)).into_js_value();
        Ok(object(&[("unsubscribe", unsubscribe)]))
    }

    /// The browser believes that the network came back, or the page is seen again.
    pub fn awake(&self) {
        let engine = self.engine.borrow().clone();
        engine.iter().for_each(|engine| engine.feed(Input::Awake));
    }

    /// Gives up everything at once; also where there is nothing to give up. Gives the engine that it stopped.
    pub fn abandon(&self) -> Option<Rc<Engine>> {
        self.run.set(self.run.get() + 1);
        self.starting.take();
        if let Some(store) = self.store.take() {
            store.abandon();
        }
        let engine = self.engine.take();
        engine.iter().for_each(|engine| engine.abandon());
        engine
    }

    /// `cleanup`: also where there is nothing to clean up.
    pub async fn cleanup(&self) {
        if let Some(engine) = self.abandon() {
            engine.stopped().await;
        }
    }
}
