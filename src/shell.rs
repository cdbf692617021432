//! What the three classes share: options before `initialize`, an engine after it.

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::oneshot;
use js_sys::Function;
use serde::Serialize;
use solconnect_sync_core::client::{ClientConfig, Input, Reply, SessionView, SyncScope};
use solconnect_sync_core::conflict::Strategy;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;

use crate::arguments::{count, field, text, text_field};
use crate::engine::{Engine, unexpected_reply};
use crate::errors::{invalid_argument, not_initialized};
use crate::events::Listeners;
use crate::transport::Route;
use crate::types::object;
use crate::wallet::{LocalWallet, address_of};

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
        };
        client.check()?;
        let relay = given("relayEndpoint").unwrap_or_else(|| "ws://localhost:8080".into());
        text("relayEndpoint", &relay)?;
        let route = Route::of(&given("transport").unwrap_or(relay))?;
        let database_name = given("databaseName").map_or_else(|| Ok("solconnect-sync".to_owned()), |name| text("databaseName", &name))?;
        Options { client, database_name: String::new(), route }.with_database(database_name)
    }

    /// The same for another database.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an empty name.
    pub fn with_database(self, database_name: String) -> Result<Options, SyncError> {
        if database_name.is_empty() {
            return Err(invalid_argument("the database needs a name"));
        }
        Ok(Options { database_name, ..self })
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

/// `WalletInfo`.
#[derive(Serialize)]
pub struct WalletInfo {
    address: String,
    kind: &'static str,
}

type Waiting = oneshot::Sender<Result<(), SyncError>>;

/// One of the three classes, inside.
pub struct Shell {
    options: RefCell<Options>,
    /// Who is told.
    pub listeners: Rc<Listeners>,
    engine: RefCell<Option<Rc<Engine>>>,
    /// Calls that wait for the `initialize` that is under way.
    starting: RefCell<Option<Vec<Waiting>>>,
}

impl Shell {
    /// One that is not initialized.
    pub fn new(options: Options) -> Shell {
        Shell { options: RefCell::new(options), listeners: Rc::default(), engine: RefCell::default(), starting: RefCell::default() }
    }

    /// Changes what the next `initialize` uses: the database, a name or an object with one, and the way to the relay.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`.
    pub fn configure(&self, database: &JsValue, transport: Option<&JsValue>) -> Result<&Shell, SyncError> {
        let mut options = self.options.borrow().clone();
        if let Some(name) = database.as_string() {
            options = options.with_database(name)?;
        } else if !database.is_undefined() {
            options = options.with_database(text_field(database, "name")?)?;
        }
        if let Some(transport) = transport {
            options.route = Route::of(transport)?;
        }
        self.options.replace(options);
        Ok(self)
    }

    /// The configured interval of auto-sync, in milliseconds.
    pub fn sync_interval_ms(&self) -> u64 {
        self.options.borrow().client.sync_interval_ms
    }

    /// The engine.
    ///
    /// # Errors
    /// `SDK_NOT_INITIALIZED` before `initialize` and after `cleanup`.
    pub fn engine(&self) -> Result<Rc<Engine>, SyncError> {
        self.engine.borrow().clone().ok_or_else(not_initialized)
    }

    /// The engine, with the local wallet where none was connected.
    ///
    /// # Errors
    /// `SDK_NOT_INITIALIZED`, and what making a local wallet gives.
    pub async fn engine_with_wallet(&self) -> Result<Rc<Engine>, SyncError> {
        let engine = self.engine()?;
        if engine.read(|client| client.wallet().is_none()) {
            self.connect_wallet(&JsValue::UNDEFINED).await?;
        }
        Ok(engine)
    }

    /// `initialize`: once; calls meanwhile wait for the same outcome, later ones do nothing.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn initialize(&self) -> Result<(), SyncError> {
        if self.engine.borrow().is_some() {
            return Ok(());
        }
        if let Some(outcome) = self.join_start() {
            return outcome.await.unwrap_or_else(|_| Err(not_initialized()));
        }
        self.starting.replace(Some(Vec::new()));
        let Options { client, database_name, mut route } = self.options.borrow().clone();
        let client = match &mut route {
            Route::Relay(_) => client,
            // Frames are handed over as objects.
            Route::Application(_) => ClientConfig { frames_in_json: true, ..client },
        };
        let outcome = Engine::start(&database_name, client, route, self.listeners.clone()).await;
        let outcome = outcome.map(|engine| drop(self.engine.replace(Some(engine))));
        for waiting in self.starting.take().unwrap_or_default() {
            let _ = waiting.send(outcome.clone());
        }
        outcome
    }

    fn join_start(&self) -> Option<oneshot::Receiver<Result<(), SyncError>>> {
        let mut starting = self.starting.borrow_mut();
        let (sender, outcome) = oneshot::channel();
        starting.as_mut()?.push(sender);
        Some(outcome)
    }

    /// `connectWallet`: a provider, or the local wallet where that is `undefined` or `null`.
    ///
    /// # Errors
    /// `WALLET_CONNECTION_FAILED`, `INVALID_WALLET_ADDRESS`, `CRYPTO_ERROR`, `STORAGE_ERROR`.
    pub async fn connect_wallet(&self, provider: &JsValue) -> Result<WalletInfo, SyncError> {
        let engine = self.engine()?;
        let info = if provider.is_object() {
            WalletInfo { address: address_of(provider).await?, kind: "provider" }
        } else if provider.is_undefined() || provider.is_null() {
            WalletInfo { address: LocalWallet::of(&engine.store).await?.public_key(), kind: "local" }
        } else {
            return Err(SyncError::new(ErrorCode::WalletConnectionFailed, "a wallet provider is an object"));
        };
        let wallet = info.address.clone();
        engine.call(|request| Input::ConnectWallet { request, wallet }).await?;
        Ok(info)
    }

    /// Starts the session with a peer.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub async fn start_session(&self, peer_wallet: String) -> Result<SessionView, SyncError> {
        match self.engine()?.call(|request| Input::OpenSession { request, peer_wallet }).await? {
            Reply::Session(session) => Ok(session),
            _ => Err(unexpected_reply()),
        }
    }

    /// Syncs a session or all; gives the number of messages.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub async fn sync(&self, session_id: Option<String>, scope: SyncScope) -> Result<JsValue, SyncError> {
        let count = self.engine()?.call(|request| Input::Sync { request, session_id, scope }).count().await?;
        Ok(JsValue::from(count as f64))
    }

    /// Switches a session's auto-sync on, or off with `None`.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub async fn auto_sync(&self, session_id: String, interval_ms: Option<u64>) -> Result<(), SyncError> {
        self.engine()?.call(|request| Input::AutoSync { request, session_id, interval_ms }).await?;
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

    /// `cleanup`: also where there is nothing to clean up.
    pub async fn cleanup(&self) {
        if let Some(outcome) = self.join_start() {
            let _ = outcome.await;
        }
        let engine = self.engine.take();
        if let Some(engine) = engine {
            engine.stop().await;
        }
    }
}
