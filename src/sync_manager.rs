//! The class `SyncManager`: the engine as the seed's protocol document uses it.

use std::rc::Rc;

use js_sys::{Function, Promise};
use solconnect_sync_core::client::SyncScope;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;

use crate::arguments::{optional_text, text, text_field};
use crate::errors::invalid_argument;
use crate::promises::deliver;
use crate::shell::{Options, Shell};
use crate::types::{thrown, to_js, with_clocks};

/// Keeps sessions in sync. Methods reject with an `SdkError`; the local wallet is connected where none was.
///
/// @example
/// ```ts
/// const manager = getSyncManager();
/// await manager.initialize('messages', 'wss://relay.example.org');
/// const session = await manager.startSync({ peer_wallet });
/// await manager.storage.storeMessage(session.session_id, 'Hello!');
/// ```
#[wasm_bindgen]
pub struct SyncManager(Rc<Shell>);

#[wasm_bindgen]
impl SyncManager {
    /// One that is not initialized. No errors.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Result<SyncManager, JsValue> {
        thrown(Options::of(&JsValue::UNDEFINED)).map(|options| SyncManager(Rc::new(Shell::new(options))))
    }

    /// Opens a database, and syncs through a transport or with the relay at a URL.
    ///
    /// Errors: `INVALID_ARGUMENT`, `PROFILE_IN_USE`, `STORAGE_VERSION`, `STORAGE_REFUSED`, `STORAGE_FULL`, `STORAGE_ERROR`,
    /// `CRYPTO_ERROR`.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn initialize(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | { name: string }")] database: JsValue,
        #[wasm_bindgen(unchecked_param_type = "SyncTransport | string")] transport: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        deliver(async move { shell.configure(&database, Some(&transport))?.initialize().await.map(|()| JsValue::UNDEFINED) })
    }

    /// Connects a wallet; without a provider the local one.
    ///
    /// Errors: `SDK_NOT_INITIALIZED`, `WALLET_CONNECTION_FAILED`, `INVALID_WALLET_ADDRESS`, `CRYPTO_ERROR`, `STORAGE_FULL`,
    /// `STORAGE_ERROR`.
    #[wasm_bindgen(js_name = connectWallet, unchecked_return_type = "Promise<WalletInfo>")]
    pub fn connect_wallet(&self, #[wasm_bindgen(unchecked_optional_param_type = "WalletProvider | null")] provider: JsValue) -> Promise {
        let shell = self.0.clone();
        deliver(async move { to_js(&shell.connect_wallet(&provider).await?) })
    }

    /// Starts a session with a peer and its auto-sync, at the configured `syncIntervalMs`.
    ///
    /// Errors: `SDK_NOT_INITIALIZED`, `INVALID_ARGUMENT`, `INVALID_WALLET_ADDRESS`, `SESSION_CREATION_FAILED` (also where
    /// `session_id` is not that of the two wallets), `LIMIT_REACHED`, `STORAGE_FULL`, `STORAGE_ERROR`, `PROFILE_IN_USE`;
    /// and what `connectWallet` of the local wallet gives, where none was connected.
    #[wasm_bindgen(js_name = startSync, unchecked_return_type = "Promise<SessionView>")]
    pub fn start_sync(
        &self,
        #[wasm_bindgen(unchecked_param_type = "{ session_id?: string; peer_wallet: string }")] session: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            let peer_wallet = text_field(&session, "peer_wallet")?;
            shell.engine_with_wallet().await?;
            let view = shell.start_session(peer_wallet).await?;
            if text_field(&session, "session_id").is_ok_and(|named| named != view.session_id) {
                let message = "session_id is not the session of these two wallets; see sessionIdOf";
                return Err(SyncError::new(ErrorCode::SessionCreationFailed, message));
            }
            shell.auto_sync(view.session_id.clone(), Some(shell.sync_interval_ms())).await?;
            with_clocks(&view)
        })
    }

    /// Ends the auto-sync of a session.
    ///
    /// Errors: `SDK_NOT_INITIALIZED`, `INVALID_ARGUMENT`, `WALLET_NOT_CONNECTED`, `UNKNOWN_SESSION`, `PROFILE_IN_USE`.
    #[wasm_bindgen(js_name = stopSync, unchecked_return_type = "Promise<void>")]
    pub fn stop_sync(&self, #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue) -> Promise {
        let shell = self.0.clone();
        deliver(async move { shell.auto_sync(text("sessionId", &session_id)?, None).await.map(|()| JsValue::UNDEFINED) })
    }

    /// Syncs a session or all; resolves with the same number as `syncMessages` of `SolConnectSDK`.
    ///
    /// Errors: as `syncMessages` of `SolConnectSDK`; and what `connectWallet` of the local wallet gives, where none was
    /// connected.
    #[wasm_bindgen(js_name = syncNow, unchecked_return_type = "Promise<number>")]
    pub fn sync_now(&self, #[wasm_bindgen(js_name = sessionId, unchecked_optional_param_type = "string")] session_id: JsValue) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            shell.engine_with_wallet().await?;
            shell.sync(optional_text("sessionId", &session_id)?, SyncScope::Everything).await
        })
    }

    /// Sends what is queued: all of it, in order, whichever messages are named. Resolves with the same number as
    /// `processQueuedMessages` of `SolConnectSDK`.
    ///
    /// Errors: as `syncMessages` of `SolConnectSDK`; and what `connectWallet` of the local wallet gives, where none was
    /// connected.
    #[wasm_bindgen(js_name = sendQueuedMessages, unchecked_return_type = "Promise<number>")]
    pub fn send_queued_messages(
        &self,
        #[wasm_bindgen(js_name = messages, unchecked_optional_param_type = "MessageView[]")] _messages: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            shell.engine_with_wallet().await?;
            shell.sync(None, SyncScope::Outbox).await
        })
    }

    /// How syncing a session went, since `initialize`; `null` for one that is not known.
    ///
    /// Errors, thrown: `SDK_NOT_INITIALIZED`.
    #[wasm_bindgen(js_name = getStats, unchecked_return_type = "SyncStats | null")]
    pub fn get_stats(&self, #[wasm_bindgen(js_name = sessionId)] session_id: &str) -> Result<JsValue, JsValue> {
        let engine = thrown(self.0.engine())?;
        engine.read(|client| client.stats(session_id)).map_or(Ok(JsValue::NULL), |stats| thrown(to_js(&stats)))
    }

    /// The outbox.
    #[wasm_bindgen(getter)]
    pub fn storage(&self) -> SyncStorage {
        SyncStorage(self.0.clone())
    }

    /// Adds a handler.
    ///
    /// Errors, thrown: `INVALID_ARGUMENT` for an event that there is not.
    #[wasm_bindgen(skip_typescript)]
    pub fn on(&self, event: &str, handler: &Function) -> Result<(), JsValue> {
        thrown(self.0.listeners.add(event, handler))
    }

    /// Removes a handler; also one that was not added. No errors.
    #[wasm_bindgen(skip_typescript)]
    pub fn off(&self, event: &str, handler: &Function) {
        self.0.listeners.remove(event, handler);
    }

    /// Closes everything. `initialize` may be called again. No errors.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn dispose(&self) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            shell.cleanup().await;
            Ok(JsValue::UNDEFINED)
        })
    }
}

/// The outbox of a `SyncManager`.
#[wasm_bindgen]
pub struct SyncStorage(Rc<Shell>);

#[wasm_bindgen]
impl SyncStorage {
    /// Queues a message; resolves when it is stored.
    ///
    /// Errors: `SDK_NOT_INITIALIZED`, `INVALID_ARGUMENT`, `UNKNOWN_SESSION`, `INVALID_MESSAGE_FORMAT`, `MESSAGE_TOO_LARGE`,
    /// `OUTBOX_FULL`, `LIMIT_REACHED`, `STORAGE_FULL`, `STORAGE_ERROR`, `PROFILE_IN_USE`; and what `connectWallet` of the
    /// local wallet gives, where none was connected.
    #[wasm_bindgen(js_name = storeMessage, unchecked_return_type = "Promise<DeliveryReceipt>")]
    pub fn store_message(
        &self,
        #[wasm_bindgen(js_name = sessionId, unchecked_param_type = "string")] session_id: JsValue,
        #[wasm_bindgen(unchecked_param_type = "string | { ciphertext: string; content_type?: string }")] message: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "'queued'")] status: JsValue,
    ) -> Promise {
        let shell = self.0.clone();
        deliver(async move {
            if optional_text("status", &status)?.is_some_and(|status| status != "queued") {
                return Err(invalid_argument("a message is stored as queued"));
            }
            let (content, content_type) = match message.as_string() {
                Some(content) => (content, None),
                None => (text_field(&message, "ciphertext")?, text_field(&message, "content_type").ok()),
            };
            shell.engine_with_wallet().await?;
            to_js(&shell.engine()?.send(text("sessionId", &session_id)?, content, content_type, None).await?)
        })
    }

    /// The messages that the relay has not acknowledged, oldest first in each session.
    ///
    /// Errors: `SDK_NOT_INITIALIZED`, `STORAGE_ERROR`.
    #[wasm_bindgen(js_name = getQueuedMessages, unchecked_return_type = "Promise<MessageView[]>")]
    pub fn get_queued_messages(&self) -> Promise {
        let shell = self.0.clone();
        deliver(async move { with_clocks(&shell.engine()?.queued_messages().await?) })
    }
}
