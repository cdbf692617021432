//! What the three classes share: options before `initialize`, an engine after it.

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::oneshot;
use js_sys::{Array, Function, JSON, Reflect};
use serde::{Deserialize, Serialize};
use solconnect_sync_core::client::{ClientConfig, DeliveryReceipt, Input, SessionView, SyncScope};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;

use crate::engine::Engine;
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

/// The options that the machine knows nothing of.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Places {
    relay_endpoint: String,
    database_name: String,
}

impl Default for Places {
    fn default() -> Self {
        Places { relay_endpoint: "ws://localhost:8080".to_owned(), database_name: "solconnect-sync".to_owned() }
    }
}

/// What is read of an `SdkConfig`, beside `transport`.
const OPTIONS: [&str; 9] = [
    "relayEndpoint",
    "databaseName",
    "maxBatchSize",
    "syncIntervalMs",
    "heartbeatIntervalMs",
    "conflictResolutionStrategy",
    "maxRetries",
    "retryDelayMs",
    "enableCompression",
];

impl Options {
    /// Reads an `SdkConfig`; `undefined` has the default of everything.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`.
    pub fn of(config: &JsValue) -> Result<Options, SyncError> {
        // As text, because that leaves out what is undefined.
        let names: Array = OPTIONS.into_iter().map(JsValue::from).collect();
        let text = JSON::stringify_with_replacer(config, &names).ok().and_then(|text| text.as_string());
        let text = text.unwrap_or_else(|| "{}".to_owned());
        let wrong = |error: serde_json::Error| invalid_argument(["the configuration: ", &error.to_string()].concat());
        let places: Places = serde_json::from_str(&text).map_err(wrong)?;
        let client: ClientConfig = serde_json::from_str(&text).map_err(wrong)?;
        client.check()?;
        let transport = if config.is_object() { Reflect::get(config, &"transport".into()).unwrap_or_default() } else { JsValue::UNDEFINED };
        let route = Route::of(&if transport.is_undefined() { JsValue::from(places.relay_endpoint) } else { transport })?;
        Options { client, database_name: String::new(), route }.with_database(places.database_name)
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
            Route::Application(_) => ClientConfig { enable_compression: false, ..client },
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

    /// Sends a message to a session that was started.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub async fn send(&self, session_id: String, text: String, content_type: Option<String>) -> Result<DeliveryReceipt, SyncError> {
        self.engine()?.queue(|request| Input::Send { request, session_id, text, content_type }).await
    }

    /// Starts the session with a peer.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub async fn start_session(&self, peer_wallet: String) -> Result<SessionView, SyncError> {
        self.engine()?.open_session(peer_wallet).await
    }

    /// Syncs a session or all.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub async fn sync(&self, session_id: Option<String>, scope: SyncScope) -> Result<u64, SyncError> {
        self.engine()?.count(|request| Input::Sync { request, session_id, scope }).await
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

/// A text argument that JavaScript gave.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming it.
pub fn text(name: &str, value: &JsValue) -> Result<String, SyncError> {
    value.as_string().ok_or_else(|| invalid_argument([name, " must be a text"].concat()))
}

/// A text field of an object that JavaScript gave.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming it.
pub fn text_field(object: &JsValue, name: &str) -> Result<String, SyncError> {
    let value = if object.is_object() { Reflect::get(object, &name.into()).unwrap_or_default() } else { JsValue::UNDEFINED };
    text(name, &value)
}

/// A text argument that may be left out.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming it.
pub fn optional_text(name: &str, value: &JsValue) -> Result<Option<String>, SyncError> {
    if value.is_undefined() || value.is_null() { Ok(None) } else { text(name, value).map(Some) }
}

/// A whole number that may be left out.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming it.
pub fn optional_count(name: &str, value: &JsValue) -> Result<Option<u64>, SyncError> {
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    match value.as_f64() {
        Some(number) if number >= 0.0 && number.fract() == 0.0 && number <= solconnect_sync_core::limits::INTEGER_MAX as f64 => {
            Ok(Some(number as u64))
        }
        _ => Err(invalid_argument([name, " must be a whole number"].concat())),
    }
}
